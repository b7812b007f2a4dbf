//! Sealed continuations: an upstream's paging link becomes a capability of ours that one principal can use.
//!
//! `BASE/T?_page=<sealed>`: AES-256-GCM-SIV over (type, upstream path and query, end of validity), bound by the associated
//! data to issuer, subject, client and patient, and to the patient that the search was confined to, if any. What comes back is
//! authorised anew with the token that brings it; the seal only proves that the cursor is one that this gateway was given for
//! this principal, as far as this principal may see now.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::authenticate::{Context, Principal};
use crate::authorize::OpenPage;
use crate::clock::Clock;
use crate::error::{Malformed, MalformedKind, Refusal};
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::random;

/// How long a continuation can be used, seconds.
const VALIDITY: i64 = 3600;

/// Seals and opens continuations.
pub struct Sealer {
    key: LessSafeKey,
    clock: Clock,
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
    fn open_page(
        &self,
        token: &str,
        principal: &Principal,
        compartment: Option<&LogicalId>,
    ) -> Result<(ResourceType, String), Refusal> {
        self.open(token, principal, compartment)
            .map(|continuation| (continuation.resource_type, continuation.path_and_query))
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
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).map_err(|_| SealKeyError)?;
        Ok(Self { key: LessSafeKey::new(key), clock })
    }

    /// The sealed form of `continuation` for `principal` as confined to `compartment`, in base64url.
    #[must_use]
    pub fn seal(
        &self,
        continuation: &Continuation,
        principal: &Principal,
        compartment: Option<&LogicalId>,
    ) -> Option<String> {
        let until = self.clock.unix_seconds() + VALIDITY;
        let mut text =
            format!("{until} {} {}", continuation.resource_type.name(), continuation.path_and_query).into_bytes();
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let aad = Aad::from(bound_to(principal, compartment));
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text).ok()?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut text);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What `sealed` stands for, when it was sealed for `principal` as confined to `compartment`: the link of a wider search
    /// would show a narrower grant whether there is more than it may see.
    ///
    /// # Errors
    /// 400 when it was not sealed here for this principal, 410 when it is past its validity.
    pub fn open(
        &self,
        sealed: &str,
        principal: &Principal,
        compartment: Option<&LogicalId>,
    ) -> Result<Continuation, Refusal> {
        let foreign =
            || Refusal::bad_request("`_page` must be a link that this server gave to this token's user and app");
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| foreign())?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN).ok_or_else(foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| foreign())?;
        let text =
            self.key.open_in_place(nonce, Aad::from(bound_to(principal, compartment)), text).map_err(|_| foreign())?;
        let text = std::str::from_utf8(text).map_err(|_| foreign())?;
        let mut parts = text.splitn(3, ' ');
        let (Some(until), Some(resource_type), Some(path_and_query)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(foreign());
        };
        if until.parse::<i64>().map_err(|_| foreign())? < self.clock.unix_seconds() {
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

/// (iss, sub, client, patient, compartment), unambiguously.
fn bound_to(principal: &Principal, compartment: Option<&LogicalId>) -> Vec<u8> {
    let patient = match &principal.patient {
        Context::Patient(id) => id.as_str(),
        Context::Absent | Context::Unusable => "",
    };
    let mut bytes = b"firebreak page 2".to_vec();
    let compartment = compartment.map_or("", LogicalId::as_str);
    for part in [&principal.issuer, &principal.subject, &principal.client_id, patient, compartment] {
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

    fn continuation() -> Continuation {
        Continuation {
            resource_type: ResourceType::parse("Observation").unwrap(),
            path_and_query: "?_getpages=abc&_offset=20".to_owned(),
        }
    }

    #[test]
    fn a_continuation_opens_for_its_principal_alone() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let sealed = seals.seal(&continuation(), &principal("u", "c", "P1"), None).unwrap();
        assert_eq!(seals.open(&sealed, &principal("u", "c", "P1"), None).unwrap(), continuation());
        for other in
            [principal("v", "c", "P1"), principal("u", "d", "P1"), principal("u", "c", "P2"), principal("uc", "", "P1")]
        {
            assert_eq!(seals.open(&sealed, &other, None).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn a_continuation_opens_for_the_reach_that_the_search_had() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let who = principal("u", "c", "P1");
        let patient = LogicalId::parse("P1");
        let wide = seals.seal(&continuation(), &who, None).unwrap();
        assert_eq!(seals.open(&wide, &who, patient.as_ref()).unwrap_err().status(), 400);
        let narrow = seals.seal(&continuation(), &who, patient.as_ref()).unwrap();
        assert_eq!(seals.open(&narrow, &who, patient.as_ref()).unwrap(), continuation());
        assert_eq!(seals.open(&narrow, &who, None).unwrap_err().status(), 400);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused() {
        let seals = Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap();
        let who = principal("u", "c", "P1");
        let sealed = seals.seal(&continuation(), &who, None).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            if let Some(byte) = bent.get_mut(at) {
                *byte ^= 1;
            }
            assert_eq!(seals.open(&URL_SAFE_NO_PAD.encode(bent), &who, None).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn a_continuation_ends() {
        let clock = Clock::fixed(1_000);
        let seals = Sealer::new(&[7; 32], clock.clone()).unwrap();
        let who = principal("u", "c", "P1");
        let sealed = seals.seal(&continuation(), &who, None).unwrap();
        clock.advance(VALIDITY + 1);
        assert_eq!(seals.open(&sealed, &who, None).unwrap_err().status(), 410);
    }
}
