//! An ID token of a provider, checked (OpenID Connect Core sections 3.1.3.6 and 3.1.3.7, RFC 8725).
//!
//! Takes claims whose signature is right, and what this login expects; gives who it is and since when, or what is wrong. Does
//! not look at what the claims say about the person.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use crate::jose::Signed;

/// Seconds that the provider's clock may differ from ours.
const SKEW: i64 = 30;
/// Seconds since an ID token was issued: it comes straight from the token endpoint.
const MAX_AGE: i64 = 600;
/// Longest subject (OpenID Connect Core section 2).
const MAX_SUBJECT: usize = 255;

/// What the token must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// That came with it, for `at_hash`.
    pub(super) access_token: &'a str,
    pub(super) freshness: Freshness,
    /// Seconds since the epoch.
    pub(super) now: i64,
}

/// How lately the person must have logged in at the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Not before this time: a new login was asked for then.
    pub since: Option<i64>,
    /// Not longer ago than so many seconds.
    pub max_age: Option<i64>,
}

/// Who it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) sub: String,
    /// When the person logged in; now, when the provider does not say.
    pub(super) auth_time: i64,
}

/// What is wrong with an ID token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdTokenProblem {
    /// None came with the token response.
    Missing,
    /// Not signed by one of the provider's keys, with an algorithm of that key.
    Signature(crate::jose::SignatureProblem),
    /// `iss` is not the provider's issuer.
    Issuer,
    /// `aud` does not hold our client id, or others besides without `azp`.
    Audience,
    /// `azp` is somebody else.
    AuthorizedParty,
    /// `exp` is missing or past.
    Expired,
    /// `nbf` or `iat` lies in the future.
    NotYet,
    /// `iat` is missing or long ago.
    Old,
    /// `nonce` is not that of this login.
    Nonce,
    /// `at_hash` is not that of the access token beside it.
    AccessTokenHash,
    /// `sub` is missing, empty or too long.
    Subject,
    /// `auth_time` is missing where a new login was asked for, or not new enough.
    NotFresh,
}

impl IdTokenProblem {
    /// For the operational log and for `firebreak check`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        use crate::jose::SignatureProblem as Problem;
        match self {
            Self::Missing => "an id_token is expected in the token response; is the scope openid allowed there?",
            Self::Signature(Problem::Malformed) => {
                "a JWS in three parts is expected, of typ JWT and without keys in its header"
            }
            Self::Signature(Problem::UnknownKey) => "a kid that names a signing key of the provider is expected",
            Self::Signature(Problem::Algorithm) => {
                "an algorithm is expected that goes with the key, and no symmetric one"
            }
            Self::Signature(Problem::Signature) => "a signature by the provider's key is expected",
            Self::Issuer => "iss is expected to be the configured issuer",
            Self::Audience => "aud is expected to be our client_id",
            Self::AuthorizedParty => "azp is expected to be our client_id",
            Self::Expired => "exp is expected to lie in the future",
            Self::NotYet => "nbf and iat are expected to lie in the past",
            Self::Old => "iat is expected to be of the last minutes",
            Self::Nonce => "nonce is expected to be that of this login",
            Self::AccessTokenHash => "at_hash is expected to be that of the access token",
            Self::Subject => "sub of 1 to 255 characters is expected",
            Self::NotFresh => "auth_time is expected to show a new login, as was asked for",
        }
    }
}

/// Checks the claims of a signed token.
pub(super) fn check(signed: &Signed, expected: &Expected<'_>) -> Result<Subject, IdTokenProblem> {
    let claims = &signed.claims;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(IdTokenProblem::Issuer);
    }
    audience(claims, expected.client_id)?;
    let now = expected.now;
    if seconds(claims.get("exp")).is_none_or(|exp| exp <= now - SKEW) {
        return Err(IdTokenProblem::Expired);
    }
    if claims.contains_key("nbf") && seconds(claims.get("nbf")).is_none_or(|nbf| nbf > now + SKEW) {
        return Err(IdTokenProblem::NotYet);
    }
    match seconds(claims.get("iat")) {
        Some(iat) if iat > now + SKEW => return Err(IdTokenProblem::NotYet),
        Some(iat) if iat >= now - MAX_AGE => {}
        Some(_) | None => return Err(IdTokenProblem::Old),
    }
    if text("nonce") != Some(expected.nonce) {
        return Err(IdTokenProblem::Nonce);
    }
    if claims.contains_key("at_hash") && text("at_hash") != Some(&at_hash(signed.algorithm, expected.access_token)) {
        return Err(IdTokenProblem::AccessTokenHash);
    }
    let sub = text("sub").filter(|sub| !sub.is_empty() && sub.len() <= MAX_SUBJECT).ok_or(IdTokenProblem::Subject)?;
    Ok(Subject { sub: sub.to_owned(), auth_time: auth_time(claims.get("auth_time"), expected)? })
}

/// OpenID Connect Core section 3.1.3.7, 3 to 5: we are the audience, and where there are others, we are who asked.
fn audience(claims: &serde_json::Map<String, Value>, client_id: &str) -> Result<(), IdTokenProblem> {
    let (ours, others) = match claims.get("aud") {
        Some(Value::String(aud)) => (aud == client_id, false),
        Some(Value::Array(list)) => (
            list.iter().any(|aud| aud.as_str() == Some(client_id)),
            list.iter().any(|aud| aud.as_str() != Some(client_id)),
        ),
        _ => (false, false),
    };
    if !ours {
        return Err(IdTokenProblem::Audience);
    }
    match claims.get("azp") {
        Some(azp) if azp.as_str() != Some(client_id) => Err(IdTokenProblem::AuthorizedParty),
        None if others => Err(IdTokenProblem::Audience),
        Some(_) | None => Ok(()),
    }
}

fn auth_time(claim: Option<&Value>, expected: &Expected<'_>) -> Result<i64, IdTokenProblem> {
    let Freshness { since, max_age } = expected.freshness;
    match (claim, seconds(claim)) {
        (None, _) if since.is_none() && max_age.is_none() => Ok(expected.now),
        (Some(_), Some(auth_time)) if auth_time <= expected.now + SKEW => {
            let too_early = since.is_some_and(|since| auth_time < since - SKEW);
            let too_old = max_age.is_some_and(|max_age| expected.now.saturating_sub(auth_time) > max_age + SKEW);
            if too_early || too_old { Err(IdTokenProblem::NotFresh) } else { Ok(auth_time.min(expected.now)) }
        }
        _ => Err(IdTokenProblem::NotFresh),
    }
}

/// A `NumericDate` in whole seconds, within the years that there are.
pub(super) fn seconds(value: Option<&Value>) -> Option<i64> {
    let number = value?.as_number()?;
    #[expect(clippy::cast_possible_truncation, reason = "it is within the limits")]
    let cut =
        || number.as_f64().filter(|seconds| (0.0..253_402_300_800.0).contains(seconds)).map(|seconds| seconds as i64);
    number.as_i64().filter(|seconds| (0..253_402_300_800).contains(seconds)).or_else(cut)
}

/// The left half of the digest that goes with the algorithm (OpenID Connect Core section 3.1.3.6).
fn at_hash(algorithm: Algorithm, access_token: &str) -> String {
    let algorithm = match algorithm {
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        Algorithm::RS512 | Algorithm::PS512 => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let digest = digest::digest(algorithm, access_token.as_bytes());
    let (left, _) = digest.as_ref().split_at(digest.as_ref().len() / 2);
    URL_SAFE_NO_PAD.encode(left)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn claims() -> Value {
        json!({
            "iss": "https://idp.example", "sub": "s1", "aud": "us", "exp": NOW + 60, "iat": NOW - 1, "nonce": "n",
            "at_hash": at_hash(Algorithm::RS256, "access"),
        })
    }

    fn checked(changes: &[(&str, Value)], freshness: Freshness) -> Result<Subject, IdTokenProblem> {
        let mut claims = claims();
        for (name, value) in changes {
            let object = claims.as_object_mut().unwrap();
            if value == &json!("absent") {
                object.remove(*name);
            } else {
                object.insert((*name).to_owned(), value.clone());
            }
        }
        let signed = Signed { claims: claims.as_object().unwrap().clone(), algorithm: Algorithm::RS256 };
        let expected = Expected {
            issuer: "https://idp.example",
            client_id: "us",
            nonce: "n",
            access_token: "access",
            freshness,
            now: NOW,
        };
        check(&signed, &expected)
    }

    fn with(name: &str, value: Value) -> Result<Subject, IdTokenProblem> {
        checked(&[(name, value)], Freshness::default())
    }

    #[test]
    fn a_token_that_nothing_is_wrong_with_names_its_subject() {
        let subject = checked(&[], Freshness::default()).unwrap();
        assert_eq!(subject, Subject { sub: "s1".to_owned(), auth_time: NOW });
        assert_eq!(with("auth_time", json!(NOW - 500)).unwrap().auth_time, NOW - 500);
        assert!(with("aud", json!(["us"])).is_ok());
        assert!(with("at_hash", json!("absent")).is_ok());
        assert!(checked(&[("aud", json!(["us", "account"])), ("azp", json!("us"))], Freshness::default()).is_ok());
    }

    // M3, E23
    #[test]
    fn every_claim_that_is_not_as_expected_refuses_the_token() {
        use IdTokenProblem as P;
        for (name, value, problem) in [
            ("iss", json!("https://idp.example/"), P::Issuer),
            ("iss", json!("absent"), P::Issuer),
            ("aud", json!("them"), P::Audience),
            ("aud", json!([]), P::Audience),
            ("aud", json!("absent"), P::Audience),
            ("aud", json!(["us", "them"]), P::Audience),
            ("aud", json!({"us": 1}), P::Audience),
            ("azp", json!("them"), P::AuthorizedParty),
            ("azp", json!(null), P::AuthorizedParty),
            ("exp", json!(NOW - 31), P::Expired),
            ("exp", json!("absent"), P::Expired),
            ("exp", json!("2100-01-01"), P::Expired),
            ("exp", json!(-1), P::Expired),
            ("nbf", json!(NOW + 31), P::NotYet),
            ("nbf", json!("soon"), P::NotYet),
            ("iat", json!(NOW + 31), P::NotYet),
            ("iat", json!(NOW - 601), P::Old),
            ("iat", json!("absent"), P::Old),
            ("nonce", json!("other"), P::Nonce),
            ("nonce", json!("absent"), P::Nonce),
            ("at_hash", json!("other"), P::AccessTokenHash),
            ("at_hash", json!(null), P::AccessTokenHash),
            ("sub", json!("absent"), P::Subject),
            ("sub", json!(""), P::Subject),
            ("sub", json!("x".repeat(256)), P::Subject),
            ("sub", json!(7), P::Subject),
            ("auth_time", json!("yesterday"), P::NotFresh),
            ("auth_time", json!(NOW + 31), P::NotFresh),
        ] {
            assert_eq!(with(name, value.clone()).unwrap_err(), problem, "{name} {value}");
        }
    }

    // A14: prompt=login and max_age are the provider's to do, and ours to see done
    #[test]
    fn a_new_login_that_was_asked_for_must_be_shown() {
        let asked = Freshness { since: Some(NOW - 5), max_age: None };
        assert_eq!(checked(&[], asked).unwrap_err(), IdTokenProblem::NotFresh);
        assert_eq!(checked(&[("auth_time", json!(NOW - 36))], asked).unwrap_err(), IdTokenProblem::NotFresh);
        assert!(checked(&[("auth_time", json!(NOW - 3))], asked).is_ok());
        let lately = Freshness { since: None, max_age: Some(100) };
        assert_eq!(checked(&[], lately).unwrap_err(), IdTokenProblem::NotFresh);
        assert_eq!(checked(&[("auth_time", json!(NOW - 131))], lately).unwrap_err(), IdTokenProblem::NotFresh);
        assert!(checked(&[("auth_time", json!(NOW - 100))], lately).is_ok());
    }

    #[test]
    fn at_hash_is_that_of_the_openid_connect_core_example() {
        // OpenID Connect Core 1.0, appendix A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(at_hash(Algorithm::RS256, token), "77QmUPtjPfzWtF2AnpK9RQ");
        assert_ne!(at_hash(Algorithm::ES384, token), at_hash(Algorithm::RS256, token));
    }

    proptest! {
        #[test]
        fn no_number_makes_it_panic(exp in any::<f64>(), iat in any::<i64>(), time in any::<i64>(), age in any::<u32>()) {
            let freshness = Freshness { since: Some(time), max_age: Some(i64::from(age)) };
            let since = Freshness { since: Some(time.clamp(0, NOW)), ..freshness };
            let _ = checked(&[("exp", json!(exp)), ("iat", json!(iat)), ("auth_time", json!(time))], since);
        }
    }
}
