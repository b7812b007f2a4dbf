#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::jose::IdTokenClaims;

const NOW: i64 = 1_900_000_000;

pub(in crate::jose) const EXPECTED: (&str, &str) = ("https://gateway.example.org", "https://gateway.example.org/fhir");

pub(in crate::jose) fn claims(now: i64) -> AccessTokenClaims {
    AccessTokenClaims {
        iss: EXPECTED.0.to_owned(),
        sub: "dr.smith".to_owned(),
        aud: EXPECTED.1.to_owned(),
        client_id: "app".to_owned(),
        iat: now,
        exp: now + 300,
        nbf: None,
        jti: "jti".to_owned(),
        scope: "launch/patient patient/*.rs".to_owned(),
        gid: "grant".to_owned(),
        patient: Some("p1".to_owned()),
        encounter: None,
        fhir_user: Some("Practitioner/d1".to_owned()),
        roles: vec!["clinician".to_owned()],
        user_iss: None,
        user_sub: None,
    }
}

fn verify(keys: &Keys, clock: &Clock, token: &str) -> Result<AccessTokenClaims, TokenProblem> {
    keys.verify_access_token(token, EXPECTED.0, EXPECTED.1, clock)
}

fn keys() -> (Keys, Clock, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(NOW);
    (Keys::open(directory.path()).unwrap(), clock, directory)
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

#[test]
fn a_token_comes_back_as_it_was_signed() {
    let (keys, clock, _directory) = keys();
    let token = keys.sign_access_token(&claims(NOW)).unwrap();
    assert_eq!(verify(&keys, &clock, &token), Ok(claims(NOW)));
    let header = part(&token, 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let body = part(&token, 1);
    assert_eq!(body["fhirUser"], "Practitioner/d1");
    assert!(body.get("encounter").is_none());
}

// E1: refused after expiry, by our clock
#[test]
fn a_token_is_expired_from_its_last_second_on() {
    let (keys, clock, _directory) = keys();
    let token = keys.sign_access_token(&claims(NOW)).unwrap();
    clock.advance(299);
    assert!(verify(&keys, &clock, &token).is_ok());
    clock.advance(1);
    assert_eq!(verify(&keys, &clock, &token), Err(TokenProblem::Expired));
    clock.advance(-400);
    assert_eq!(verify(&keys, &clock, &token), Err(TokenProblem::Invalid), "issued in the future");
}

// B3 61
#[test]
fn a_token_for_another_base_or_of_another_issuer_is_refused() {
    let (keys, clock, _directory) = keys();
    let token = keys.sign_access_token(&claims(NOW)).unwrap();
    for (issuer, audience) in [
        (EXPECTED.0, "https://gateway.example.org/fhir/"),
        (EXPECTED.0, "https://gateway.example.org/other"),
        ("https://gateway.example.org/", EXPECTED.1),
    ] {
        assert_eq!(keys.verify_access_token(&token, issuer, audience, &clock), Err(TokenProblem::Invalid));
    }
}

// B3 61: confusion of token types
#[test]
fn an_id_token_is_no_access_token_even_when_its_claims_would_do() {
    let (keys, clock, _directory) = keys();
    let id_token = keys
        .sign_id_token(&IdTokenClaims {
            iss: EXPECTED.0.to_owned(),
            sub: "dr.smith".to_owned(),
            aud: EXPECTED.1.to_owned(),
            exp: NOW + 300,
            iat: NOW,
            auth_time: NOW,
            nonce: None,
            at_hash: String::new(),
            fhir_user: None,
        })
        .unwrap();
    assert_eq!(part(&id_token, 0)["alg"], "RS256");
    assert_eq!(verify(&keys, &clock, &id_token), Err(TokenProblem::Invalid));
    let other_type = keys.sign_es256("JWT", &claims(NOW)).unwrap();
    assert_eq!(verify(&keys, &clock, &other_type), Err(TokenProblem::Invalid));
    let as_rs256 = keys.sign_rs256("at+jwt", &claims(NOW)).unwrap();
    assert_eq!(verify(&keys, &clock, &as_rs256), Err(TokenProblem::Invalid));
    for text in ["", "opaque-refresh-token", "a.b.c"] {
        assert_eq!(verify(&keys, &clock, text), Err(TokenProblem::Invalid));
    }
}

#[test]
fn a_token_that_was_changed_anywhere_is_refused() {
    let (keys, clock, _directory) = keys();
    let token = keys.sign_access_token(&claims(NOW)).unwrap();
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        let byte = bytes.get_mut(index).unwrap();
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(verify(&keys, &clock, &changed), Err(TokenProblem::Invalid), "{index}");
    }
    let mut parts: Vec<&str> = token.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    parts[0] = &none;
    assert_eq!(verify(&keys, &clock, &parts.join(".")), Err(TokenProblem::Invalid));
}

#[test]
fn a_token_without_a_claim_that_is_decided_by_is_refused() {
    let (keys, clock, _directory) = keys();
    let whole = serde_json::to_value(claims(NOW)).unwrap();
    for claim in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "gid"] {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(claim);
        let token = keys.sign_es256(TYPE, &without).unwrap();
        assert_eq!(verify(&keys, &clock, &token), Err(TokenProblem::Invalid), "{claim}");
    }
    let mut later = whole;
    later["nbf"] = json!(NOW + 60);
    let token = keys.sign_es256(TYPE, &later).unwrap();
    assert_eq!(verify(&keys, &clock, &token), Err(TokenProblem::Invalid));
}

// T12
#[test]
fn a_token_longer_than_4_kib_is_not_issued_and_one_longer_than_8_kib_not_looked_at() {
    let (keys, clock, _directory) = keys();
    let mut large = claims(NOW);
    large.scope = "patient/Observation.rs ".repeat(110);
    assert!(keys.sign_access_token(&large).unwrap().len() <= MAX_ACCESS_TOKEN_BYTES);
    large.scope = "patient/Observation.rs ".repeat(140);
    assert!(matches!(keys.sign_access_token(&large), Err(SignError::TooLarge { bytes: 4_097.. })));
    large.scope = "patient/Observation.rs ".repeat(400);
    let token = keys.sign_es256(TYPE, &large).unwrap();
    assert_eq!(verify(&keys, &clock, &token), Err(TokenProblem::Invalid));
}
