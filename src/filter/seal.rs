//! Sealed links: an upstream's paging link becomes a capability of ours that one principal can use, and so does the address of
//! a Binary (`BASE/Binary/id?gw=<sealed>`, over the resource that it was found in and the end of validity, bound to the Binary).
//!
//! `BASE/T?_page=<sealed>`: AES-256-GCM-SIV over (type, upstream path and query, end of validity), bound by the associated
//! data to issuer, subject, client and patient, and to the reach of the search. What comes back is
//! authorised anew with the token that brings it; the seal only proves that the cursor is one that this gateway was given for
//! this principal, as far as this principal may see now. The keys rotate with the signing keys: a link opens for as long as it
//! is valid, whatever is rotated meanwhile, and not longer than its key is there.

use std::fmt::Display;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::authenticate::{Context, Principal};
use crate::authorize::{Attachment, OpenPage};
use crate::clock::Clock;
use crate::error::{Malformed, MalformedKind, Refusal};
use crate::fhir::reference::{Id, LogicalId};
use crate::fhir::resource_type::ResourceType;
use crate::keys::{Keys, SealingKey};

/// How long a continuation or a link to a Binary can be used, seconds.
const VALIDITY: i64 = 3600;
/// What is sealed: a continuation,
const PAGE: &[u8] = b"firebreak page 3";
/// or a link to a Binary.
const BINARY: &[u8] = b"firebreak binary 1";

/// Seals and opens continuations.
pub struct Sealer {
    key: Key,
    clock: Clock,
}

/// What it seals with.
enum Key {
    /// One key, for ever.
    Alone(SealingKey),
    /// Those of the gateway, as they come and go.
    Rotating(Arc<Keys>),
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

/// What a continuation stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// The type that was searched.
    pub resource_type: ResourceType,
    /// Path below the upstream's base and query, as the upstream named them.
    pub path_and_query: String,
}

impl OpenPage for Sealer {
    fn open_page(&self, token: &str, principal: &Principal, bounds: &str) -> Result<(ResourceType, String), Refusal> {
        self.open(token, principal, bounds)
            .map(|continuation| (continuation.resource_type, continuation.path_and_query))
    }

    fn open_attachment(&self, token: &str, principal: &Principal, binary: &LogicalId) -> Result<Attachment, Refusal> {
        let foreign =
            || Refusal::bad_request("`gw` must be of a link that this server gave to this token's user and app");
        let (until, text) =
            self.unsealed(token, &bound_to(BINARY, principal, binary)).and_then(timed).ok_or_else(foreign)?;
        let (resource_type, id) = text.split_once(' ').ok_or_else(foreign)?;
        let parent = ResourceType::parse(resource_type).zip(LogicalId::parse(id)).ok_or_else(foreign)?;
        Ok(Attachment { parent, past: until < self.clock.unix_seconds() })
    }
}

/// A key that has not 32 bytes.
#[derive(Debug, Clone, Copy)]
pub struct SealKeyError;

impl Sealer {
    /// Seals with this key.
    ///
    /// # Errors
    /// When the key has not 32 bytes.
    pub fn new(key: &[u8], clock: Clock) -> Result<Self, SealKeyError> {
        let key = SealingKey::new(key).ok_or(SealKeyError)?;
        Ok(Self { key: Key::Alone(key), clock })
    }

    /// Seals with the gateway's keys.
    #[must_use]
    pub fn rotating(keys: Arc<Keys>, clock: Clock) -> Self {
        Self { key: Key::Rotating(keys), clock }
    }

    /// The sealed form of `continuation` for `principal` within `bounds` (the reaches of the search, as text), in base64url.
    #[must_use]
    pub fn seal(&self, continuation: &Continuation, principal: &Principal, bounds: &impl Display) -> Option<String> {
        let text = format!("{} {}", continuation.resource_type.name(), continuation.path_and_query);
        self.sealed(&text, &bound_to(PAGE, principal, bounds))
    }

    /// The seal of a link to `binary`, found in `parent`, for `principal`.
    #[must_use]
    pub fn seal_attachment(
        &self,
        binary: Id<'_>,
        parent: (ResourceType, Id<'_>),
        principal: &Principal,
    ) -> Option<String> {
        self.sealed(&format!("{} {}", parent.0.name(), parent.1), &bound_to(BINARY, principal, &binary))
    }

    fn sealed(&self, text: &str, bound_to: &[u8]) -> Option<String> {
        let text = format!("{} {text}", self.clock.unix_seconds() + VALIDITY).into_bytes();
        let sealed = match &self.key {
            Key::Alone(key) => key.seal(bound_to, text),
            Key::Rotating(keys) => keys.seal(bound_to, text),
        };
        sealed.map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
    }

    fn unsealed(&self, sealed: &str, bound_to: &[u8]) -> Option<Vec<u8>> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        match &self.key {
            Key::Alone(key) => key.unseal(bound_to, &sealed),
            Key::Rotating(keys) => keys.unseal(bound_to, &sealed),
        }
    }

    /// What `sealed` stands for, when it was sealed for `principal` within `bounds`: the link of a wider search
    /// would show a narrower grant whether there is more than it may see.
    ///
    /// # Errors
    /// 400 when it was not sealed here for this principal, 410 when it is past its validity.
    pub fn open(
        &self,
        sealed: &str,
        principal: &Principal,
        bounds: &(impl Display + ?Sized),
    ) -> Result<Continuation, Refusal> {
        let foreign =
            || Refusal::bad_request("`_page` must be a link that this server gave to this token's user and app");
        let (until, text) =
            self.unsealed(sealed, &bound_to(PAGE, principal, bounds)).and_then(timed).ok_or_else(foreign)?;
        let (resource_type, path_and_query) = text.split_once(' ').ok_or_else(foreign)?;
        if until < self.clock.unix_seconds() {
            return Err(Refusal::Malformed(Malformed {
                kind: MalformedKind::Gone,
                expected: "this page link is past its validity; repeat the search".to_owned(),
            }));
        }
        Ok(Continuation {
            resource_type: ResourceType::parse(resource_type).ok_or_else(foreign)?,
            path_and_query: path_and_query.to_owned(),
        })
    }
}

/// End of validity and text of what was sealed.
fn timed(sealed: Vec<u8>) -> Option<(i64, String)> {
    let text = String::from_utf8(sealed).ok()?;
    let (until, text) = text.split_once(' ')?;
    Some((until.parse().ok()?, text.to_owned()))
}

/// (purpose, iss, sub, client, patient, bounds), unambiguously.
fn bound_to(purpose: &[u8], principal: &Principal, bounds: &(impl Display + ?Sized)) -> Vec<u8> {
    let patient = match &principal.patient {
        Context::Patient(id) => id.as_str(),
        Context::Absent | Context::Unusable => "",
    };
    let mut bytes = purpose.to_vec();
    let bounds = bounds.to_string();
    for part in [&principal.issuer, &principal.subject, &principal.client_id, patient, &bounds] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use std::sync::Arc;

    use super::*;
    use crate::authorize::{Allowance, Reach, Within};
    use crate::smart::scope::Scopes;

    fn principal(subject: &str, client: &str, patient: &str) -> Principal {
        Principal {
            issuer: "https://gw.example".to_owned(),
            subject: subject.to_owned(),
            client_id: client.to_owned(),
            grant_id: String::new(),
            token_handle: String::new(),
            scopes: Arc::new(Scopes::compile("patient/*.rs")),
            scope_text: String::new(),
            patient: Context::Patient(LogicalId::parse(patient).unwrap()),
            encounter: None,
            fhir_user: None,
            roles: Vec::new(),
            expires: 0,
        }
    }

    fn reach(within: Within) -> Reach {
        let allowance = Allowance { within, conditions: Arc::default(), policies: Arc::default() };
        Reach::for_test(ResourceType::OBSERVATION, vec![allowance])
    }

    fn everything() -> Reach {
        reach(Within::Everything)
    }

    fn continuation() -> Continuation {
        Continuation {
            resource_type: ResourceType::parse("Observation").unwrap(),
            path_and_query: "?_getpages=abc&_offset=20".to_owned(),
        }
    }

    #[test]
    fn a_continuation_opens_for_its_principal_alone() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let sealed = seals.seal(&continuation(), &principal("u", "c", "P1"), &everything()).unwrap();
        assert_eq!(seals.open(&sealed, &principal("u", "c", "P1"), &everything()).unwrap(), continuation());
        for other in
            [principal("v", "c", "P1"), principal("u", "d", "P1"), principal("u", "c", "P2"), principal("uc", "", "P1")]
        {
            assert_eq!(seals.open(&sealed, &other, &everything()).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn a_continuation_opens_for_the_reach_that_the_search_had() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let who = principal("u", "c", "P1");
        let one_patient = reach(Within::Compartment(LogicalId::parse("P1").unwrap()));
        let wide = seals.seal(&continuation(), &who, &everything()).unwrap();
        assert_eq!(seals.open(&wide, &who, &one_patient).unwrap_err().status(), 400);
        let narrow = seals.seal(&continuation(), &who, &one_patient).unwrap();
        assert_eq!(seals.open(&narrow, &who, &one_patient).unwrap(), continuation());
        assert_eq!(seals.open(&narrow, &who, &everything()).unwrap_err().status(), 400);
    }

    #[test]
    fn a_link_is_of_one_issuer() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let who = principal("u", "c", "P1");
        let other = Principal { issuer: "https://other.example".to_owned(), ..principal("u", "c", "P1") };
        let sealed = seals.seal(&continuation(), &who, &everything()).unwrap();
        assert_eq!(seals.open(&sealed, &other, &everything()).unwrap_err().status(), 400);
        let binary = LogicalId::parse("b1").unwrap();
        let sealed = seals.seal_attachment(binary.as_id(), (ResourceType::OBSERVATION, binary.as_id()), &who).unwrap();
        assert_eq!(seals.open_attachment(&sealed, &other, &binary).unwrap_err().status(), 400);
        assert!(seals.open_attachment(&sealed, &who, &binary).is_ok());
    }

    #[test]
    fn a_page_is_no_link_to_a_binary_and_the_other_way_round() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let who = principal("u", "c", "P1");
        let binary = LogicalId::parse("b1").unwrap();
        // The text of both is a type and a word, and both are bound to `b1`.
        let page = Continuation { resource_type: ResourceType::OBSERVATION, path_and_query: "o1".to_owned() };
        let sealed = seals.seal(&page, &who, &"b1").unwrap();
        assert_eq!(seals.open(&sealed, &who, "b1").unwrap(), page);
        assert_eq!(seals.open_attachment(&sealed, &who, &binary).unwrap_err().status(), 400);
        let sealed = seals.seal_attachment(binary.as_id(), (ResourceType::OBSERVATION, binary.as_id()), &who).unwrap();
        assert_eq!(seals.open(&sealed, &who, "b1").unwrap_err().status(), 400);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let who = principal("u", "c", "P1");
        let sealed = seals.seal(&continuation(), &who, &everything()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            if let Some(byte) = bent.get_mut(at) {
                *byte ^= 1;
            }
            assert_eq!(seals.open(&URL_SAFE_NO_PAD.encode(bent), &who, &everything()).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn a_continuation_ends() {
        let clock = Clock::fixed(1_000);
        let seals = Sealer::new(&[7; 32], clock.clone()).unwrap();
        let who = principal("u", "c", "P1");
        let sealed = seals.seal(&continuation(), &who, &everything()).unwrap();
        clock.advance(VALIDITY + 1);
        assert_eq!(seals.open(&sealed, &who, &everything()).unwrap_err().status(), 410);
    }
}
