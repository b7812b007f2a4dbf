//! `grant_type=refresh_token` (RFC 6749 section 6, SMART App Launch 2.2 step 7; rotation and reuse: RFC 9700 section 4.14).

use serde::{Deserialize, Serialize};

use super::super::Grants;
use super::super::back_channel_form::Form;
use super::super::client_authentication::Requester;
use super::super::facts::Facts;
use super::super::grants::{self, from_json, revoke, to_json};
use super::super::records::Grant;
use super::super::registration;
use super::super::sender_constraint::SenderConstraint;
use super::super::token_response::access;
use super::commit::Used;
use super::{Commit, Prepared, answer, is_public, must_be_online, note, unavailable, up_to_date};
use crate::clients::RegisteredClient;
use crate::config::GrantType;
use crate::listen::Inbound;
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind};
use crate::random;
use crate::secret::Digest;
use crate::smart::scope::Scope;
use crate::store::{Entry, Kind, Placed, Spent, StoreError};

/// Seconds after its use during which a second use of a refresh token is taken for a second browser tab or a lost answer.
pub(super) const REUSE_GRACE: i64 = 10;

/// What a refresh token stands for, and, when `used` is set, stood for.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::grant) struct RefreshRecord {
    pub(in crate::grant) grant_id: String,
    pub(in crate::grant) client_id: String,
    /// When it was rotated away, seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<i64>,
    /// The key that must be proven with it. A confidential client's is worth nothing without the client's credentials, and
    /// is not bound (RFC 9449 section 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::grant) jkt: Option<String>,
}

impl RefreshRecord {
    /// For a refresh token of `grant` that `client` gets with a request that `sender` proved.
    pub(super) fn new(grant: &Grant, client: &RegisteredClient, sender: SenderConstraint) -> Self {
        let jkt = if is_public(client) { sender.jkt() } else { None };
        Self { grant_id: grant.grant_id.clone(), client_id: grant.client_id.clone(), used: None, jkt }
    }

    /// As the store has it, for the token with the digest `key`.
    pub(super) fn placed(&self, key: Digest, expires: i64) -> Result<Placed, StoreError> {
        let entry = Entry { value: to_json(self)?, expires, owner: Some(Digest::of(&self.grant_id)) };
        Ok((Kind::RefreshToken, key, entry))
    }
}

/// Prepares a new access token for a refresh token, and for a public client a new refresh token.
pub(super) async fn exchange(
    grants: &Grants,
    requester: &Requester,
    inbound: &Inbound,
    form: &Form,
    facts: &mut Facts,
) -> Result<Prepared, OAuthError> {
    facts.action = Some("token_refreshed");
    let token = form.value("refresh_token").ok_or(OAuthError::invalid_request("refresh_token is expected"))?;
    let key = Digest::of(token);
    let now = grants.clock.unix_seconds();
    let Some(entry) = grants.store.read(Kind::RefreshToken, key, now).await.map_err(unavailable)? else {
        return Err(reused(grants, key, now, facts).await?);
    };
    let record: RefreshRecord = from_json(&entry.value).map_err(unavailable)?;
    let client = holder(grants, requester, &record, facts)?;
    let sender = SenderConstraint::prove(grants, inbound, &client).await?;
    sender.must_be(record.jkt.as_deref())?;
    let found = grants::find(grants, &record.grant_id).await.map_err(unavailable)?;
    let grant = found.ok_or_else(|| invalid_refresh_token(facts, "grant_revoked"))?;
    note(facts, &grant);
    let grant = up_to_date(grants, &client, grant, facts)?;
    let online_until = must_be_online(grants, &grant, facts).await?;
    let scope = requested_scope(&grant, form.value("scope"))?;
    let mut response = access(grants, &grant, &scope, sender, online_until)?;
    facts.scopes = Some(scope.clone());
    registration::keep(grants, &client).await;
    let used = Used { grant_id: grant.grant_id.clone(), ends: entry.expires };
    if !is_public(&client) {
        let response = answer(&response);
        return Ok((response, Some(Commit::Use(used))));
    }
    let (token, digest) = new_refresh_token();
    let successor = RefreshRecord::new(&grant, &client, sender).placed(digest, entry.expires).map_err(unavailable)?;
    let marker = RefreshRecord { used: Some(now), ..record };
    let marker = Entry { value: to_json(&marker).map_err(unavailable)?, expires: entry.expires, owner: None };
    let spent = Spent { from: Kind::RefreshToken, to: Kind::SpentRefreshToken, key, marker };
    response.refresh_token = Some(token);
    let response = answer(&response);
    Ok((response, Some(Commit::Rotation { spent, successor, used })))
}

/// The client that may use the token: the one that authenticated, or, for a public client that did not name itself, the one
/// the token was issued to.
fn holder(
    grants: &Grants,
    requester: &Requester,
    record: &RefreshRecord,
    facts: &mut Facts,
) -> Result<std::sync::Arc<RegisteredClient>, OAuthError> {
    match requester {
        Requester::Client(client) => {
            facts.client_id = Some(client.config.client_id.clone());
            if client.config.client_id == record.client_id {
                Ok(client.clone())
            } else {
                Err(invalid_refresh_token(facts, "refresh_token_of_other_client"))
            }
        }
        Requester::Unnamed => {
            let client = grants
                .clients
                .find(&record.client_id)
                .filter(|client| is_public(client) && client.config.grant_types.contains(&GrantType::RefreshToken));
            facts.client_id = Some(record.client_id.clone());
            client.ok_or(OAuthError::invalid_client(Challenge::None))
        }
    }
}

/// What a token gets that cannot be used: when it was used before, more than a moment ago, its grant is revoked.
pub(super) async fn reused(
    grants: &Grants,
    key: Digest,
    now: i64,
    facts: &mut Facts,
) -> Result<OAuthError, OAuthError> {
    let mut reason = "refresh_token_unknown_or_expired";
    if let Some(marker) = grants.store.read(Kind::SpentRefreshToken, key, now).await.map_err(unavailable)? {
        let record: RefreshRecord = from_json(&marker.value).map_err(unavailable)?;
        reason = "refresh_token_used_twice_at_once";
        if record.used.is_none_or(|used| now - used > REUSE_GRACE) {
            revoke(grants, &record.grant_id).await.map_err(unavailable)?;
            reason = "refresh_token_reused";
        }
        facts.grant_id = Some(record.grant_id);
        facts.client_id.get_or_insert(record.client_id);
    }
    Ok(invalid_refresh_token(facts, reason))
}

/// The scope text of the new token: what is asked for, or all that was granted (RFC 6749 section 6).
pub(super) fn requested_scope(grant: &Grant, requested: Option<&str>) -> Result<String, OAuthError> {
    let Some(requested) = requested else { return Ok(grant.scopes.join(" ")) };
    let granted: Vec<Scope> = grant.scopes.iter().map(|scope| Scope::parse(scope)).collect();
    let mut scopes: Vec<&str> = Vec::new();
    for scope in requested.split(' ').filter(|scope| !scope.is_empty()) {
        let is_granted = grant.scopes.iter().any(|granted| granted == scope);
        if !is_granted && !Scope::parse(scope).is_covered_by(&granted) {
            return Err(OAuthError::new(OAuthErrorKind::InvalidScope, "no more than the granted scopes is expected"));
        }
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return Err(OAuthError::new(OAuthErrorKind::InvalidScope, "at least one of the granted scopes is expected"));
    }
    Ok(scopes.join(" "))
}

fn invalid_refresh_token(facts: &mut Facts, reason: &'static str) -> OAuthError {
    facts.reason = Some(reason);
    OAuthError::invalid_grant("the refresh token is not known, expired, used or revoked")
}

pub(super) fn new_refresh_token() -> (String, Digest) {
    let token = random::handle();
    let digest = Digest::of(&token);
    (token, digest)
}

/// When the last refresh token of the grant ends: counted from the grant, however often it is refreshed.
pub(super) fn refresh_ends(grants: &Grants, grant: &Grant) -> i64 {
    let lifetime = i64::try_from(grants.config.tokens.refresh.as_secs()).unwrap_or(i64::MAX);
    let ends = grant.granted_at.saturating_add(lifetime);
    grant.online.as_ref().map_or(ends, |online| ends.min(online.ends))
}
