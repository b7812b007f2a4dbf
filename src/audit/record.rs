//! The canonical record: what one line of the log says, in this project's own schema, version 1.
//!
//! Takes what the stages learn; gives one line of JSON with the fields in the order of the struct, absent ones left out.
//! The writer puts `v`, `seq`, `time` and `prev` in front of it. Projections (FHIR `AuditEvent`, syslog) are made from
//! these lines and never the other way round. A record never holds a token, a code, a password or a cookie; it may hold
//! patient identifiers and search values, which is why the log is mode 0600.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Text that is usually a constant of this program.
pub type Text = Cow<'static, str>;

/// What kind of event a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A FHIR interaction on the request path.
    Fhir,
    /// A request to the authorization endpoint.
    Authorization,
    /// A login or a refused login.
    Login,
    /// A session that ended.
    Logout,
    /// What a person allowed or refused on the consent page.
    Consent,
    /// A request to the token endpoint (RFC 6749 section 3.2).
    Token,
    /// A request to the introspection endpoint (RFC 7662).
    Introspection,
    /// A request to the revocation endpoint (RFC 7009).
    Revocation,
    /// A client that was registered or changed.
    Registration,
    /// A launch context that was made or used (SMART App Launch).
    Launch,
    /// An act of administration: users, clients, keys, grants, configuration.
    Administration,
    /// The log itself was read, searched or exported.
    AuditAccess,
    /// Refused requests of strangers, counted per address, reason and minute.
    Refusals,
    /// Answers that need no record of their own (discovery, preflights), counted per minute.
    Unaudited,
    /// The log was opened.
    Start,
    /// The log was closed in order.
    Stop,
    /// The log was mended: a torn tail after a crash, or a time when it could not be written.
    Repair,
    /// The answers that the records named in `refers` speak of were not given: a 503 went out instead, or the client
    /// had gone.
    Unreleased,
}

/// What the decision was, where there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Scopes and policy allowed it.
    Permit,
    /// Scopes or policy did not allow it.
    Deny,
}

/// How an exchange ended, as its stages say it when they close the record. The text is a reason id of `docs/audit.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer that was asked for goes out.
    Released,
    /// The gateway refuses.
    Denied(&'static str),
    /// The gateway or the upstream could not do it.
    Failed(&'static str),
    /// The exchange ended before an answer was made.
    Aborted,
}

/// How an exchange ended, as the record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// See [`Outcome::Released`].
    Released,
    /// See [`Outcome::Denied`].
    Denied,
    /// See [`Outcome::Failed`].
    Failed,
    /// See [`Outcome::Aborted`].
    Aborted,
    /// Written before a change is forwarded: it is about to be tried, and another record tells what came of it.
    Intended,
}

/// The call to the FHIR server behind the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// The upstream's name in the configuration.
    pub name: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// One event. Every field but the kind may be unknown; what is unknown is absent from the line.
///
/// The order of the fields is the order in the line and part of the schema: new fields go to the end of their group and
/// are optional, anything else is a new schema version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What happened.
    pub kind: EventKind,
    /// The identifier of the exchange, the one in the answer's `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The listener's name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<Text>,
    /// The client's address, after trusted proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// The TLS version: `TLSv1.2` or `TLSv1.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Text>,
    /// The SHA-256 fingerprint of the client certificate, in lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    /// The authenticated OAuth client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The issuer that vouches for `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The authenticated subject; a user is (iss, sub).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The `fhirUser` claim, such as `Practitioner/7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fhir_user: Option<String>,
    /// The roles the policies saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// A handle of the access token: see [`Digest::handle`](crate::secret::Digest::handle). Never the token, never its `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The granted scopes, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<String>,
    /// The launch patient's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// The launch encounter's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encounter: Option<String>,
    /// The FHIR interaction, in FHIR's words (`read`, `search-type`, …), or the operation (`$everything`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction: Option<Text>,
    /// The HTTP method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Text>,
    /// The FHIR resource type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<Text>,
    /// The ids of the resources that were asked for, or released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_ids: Vec<String>,
    /// The version that was asked for or made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The names of the query parameters: see [`Record::query`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_names: Vec<String>,
    /// The query in base64, without the values of credentials: see [`Record::query`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_raw: Option<String>,
    /// The patients whose data the exchange touched, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<String>,
    /// How many resources the filter took out of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<u64>,
    /// What scopes and policy said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Why, as a stable id of `docs/audit.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
    /// The policies that decided, and those whose obligations were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The decision in sentences, the same that `firebreak explain` prints for this request and token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanation: Vec<String>,
    /// The call to the upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The size of the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// From the opening of the record to its closing, in milliseconds; set by [`super::Open::close`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How it ended; set by [`super::Open::close`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Ending>,
    /// Login, consent, launch and administration: what was done, as a stable word (`client_disabled`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Text>,
    /// Login, consent, launch and administration: what it was done to, by id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Aggregates: how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Aggregates: the first of them (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// Aggregates: the last of them (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Aggregates: how many of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<Text, u64>,
    /// [`EventKind::Unreleased`]: the sequence numbers it speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refers: Vec<u64>,
    /// A sentence for a person, without anything about a patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Record {
    /// A record that says no more than what kind of event it tells.
    #[must_use]
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            request_id: None,
            listener: None,
            client_ip: None,
            tls: None,
            client_cert: None,
            client_id: None,
            iss: None,
            sub: None,
            fhir_user: None,
            roles: Vec::new(),
            jti: None,
            scopes: None,
            patient: None,
            encounter: None,
            interaction: None,
            method: None,
            resource_type: None,
            resource_ids: Vec::new(),
            version_id: None,
            query_names: Vec::new(),
            query_raw: None,
            patients: Vec::new(),
            withheld: None,
            decision: None,
            reason: None,
            policies: Vec::new(),
            explanation: Vec::new(),
            upstream: None,
            status: None,
            bytes: None,
            duration_ms: None,
            outcome: None,
            action: None,
            target: None,
            count: None,
            first: None,
            last: None,
            counts: BTreeMap::new(),
            refers: Vec::new(),
            detail: None,
        }
    }

    /// Whether somebody was authenticated when this was recorded.
    pub(super) fn is_authenticated(&self) -> bool {
        self.client_id.is_some() || self.sub.is_some()
    }

    /// Notes how it ended.
    pub(super) fn end(&mut self, outcome: Outcome, duration_ms: u64) {
        self.duration_ms = Some(duration_ms);
        let (ending, reason) = match outcome {
            Outcome::Released => (Ending::Released, None),
            Outcome::Denied(reason) => (Ending::Denied, Some(reason)),
            Outcome::Failed(reason) => (Ending::Failed, Some(reason)),
            Outcome::Aborted => (Ending::Aborted, None),
        };
        self.outcome = Some(ending);
        if let Some(reason) = reason {
            self.reason = Some(Cow::Borrowed(reason));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn absent_fields_are_not_written_and_the_order_is_fixed() {
        let mut record = Record::new(EventKind::Fhir);
        record.status = Some(200);
        record.request_id = Some("r1".to_owned());
        record.end(Outcome::Denied("scope_insufficient"), 3);
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            r#"{"kind":"fhir","request_id":"r1","reason":"scope_insufficient","status":200,"duration_ms":3,"outcome":"denied"}"#
        );
    }

    #[test]
    fn whoever_is_known_by_client_or_by_user_is_no_stranger() {
        let mut record = Record::new(EventKind::Login);
        assert!(!record.is_authenticated());
        record.sub = Some("ada".to_owned());
        assert!(record.is_authenticated());
        (record.sub, record.client_id) = (None, Some("app".to_owned()));
        assert!(record.is_authenticated());
    }
}
