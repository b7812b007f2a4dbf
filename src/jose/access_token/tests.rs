#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::jose::{IdTokenClaims, IdTokenKey, install_provider};

const NOW: i64 = 1_900_000_000;

const EXPECTED: (&str, &str) = ("https://gateway.example.org", "https://gateway.example.org/fhir");

fn claims(now: i64) -> AccessTokenClaims {
    AccessTokenClaims {
        iss: EXPECTED.0.to_owned(),
        sub: "dr.smith".to_owned(),
        aud: EXPECTED.1.to_owned(),
        client_id: "app".to_owned(),
        iat: now,
        exp: now + 300,
        jti: "jti".to_owned(),
        scope: "launch/patient patient/*.rs".to_owned(),
        gid: "grant".to_owned(),
        patient: Some("p1".to_owned()),
        encounter: None,
        fhir_user: Some("Practitioner/d1".to_owned()),
        roles: vec!["clinician".to_owned()],
        ..AccessTokenClaims::default()
    }
}

fn verify(key: &AccessTokenKey, now: i64, token: &str) -> Result<AccessTokenClaims, AccessTokenProblem> {
    AccessTokenClaims::verify(token, [key].into_iter(), EXPECTED, now)
}

fn key() -> AccessTokenKey {
    install_provider();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    AccessTokenKey::from_pkcs8(pair.serialized_der()).unwrap()
}

fn id_key() -> IdTokenKey {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    IdTokenKey::from_pkcs8(AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref()).unwrap()
}

fn part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

#[test]
fn a_token_comes_back_as_it_was_signed() {
    let key = key();
    let token = claims(NOW).sign(&key).unwrap();
    assert_eq!(verify(&key, NOW, &token), Ok(claims(NOW)));
    let header = part(&token, 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let body = part(&token, 1);
    assert_eq!(body["fhirUser"], "Practitioner/d1");
    assert!(body.get("encounter").is_none());
}

// T7, E1: refused after expiry, by our clock
#[test]
fn a_token_is_expired_from_its_last_second_on() {
    let key = key();
    let token = claims(NOW).sign(&key).unwrap();
    assert!(verify(&key, NOW + 299, &token).is_ok());
    assert_eq!(verify(&key, NOW + 300, &token), Err(AccessTokenProblem::Expired));
    assert_eq!(verify(&key, NOW - 100, &token), Err(AccessTokenProblem::Invalid), "issued in the future");
}

// B3 61
#[test]
fn a_token_for_another_base_or_of_another_issuer_is_refused() {
    let key = key();
    let token = claims(NOW).sign(&key).unwrap();
    for (issuer, audience) in [
        (EXPECTED.0, "https://gateway.example.org/fhir/"),
        (EXPECTED.0, "https://gateway.example.org/other"),
        ("https://gateway.example.org/", EXPECTED.1),
    ] {
        assert_eq!(
            AccessTokenClaims::verify(&token, [&key].into_iter(), (issuer, audience), NOW),
            Err(AccessTokenProblem::Invalid)
        );
    }
}

// B3 61: confusion of token types
#[test]
fn an_id_token_is_no_access_token_even_when_its_claims_would_do() {
    let key = key();
    let id_key = id_key();
    let id_claims = IdTokenClaims {
        iss: EXPECTED.0.to_owned(),
        sub: "dr.smith".to_owned(),
        aud: EXPECTED.1.to_owned(),
        exp: NOW + 300,
        iat: NOW,
        auth_time: NOW,
        nonce: None,
        at_hash: String::new(),
        fhir_user: None,
    };
    let id_token = id_claims.sign(&id_key).unwrap();
    assert_eq!(part(&id_token, 0)["alg"], "RS256");
    assert_eq!(verify(&key, NOW, &id_token), Err(AccessTokenProblem::Invalid));
    let other_type = key.sign("JWT", &claims(NOW)).unwrap();
    assert_eq!(verify(&key, NOW, &other_type), Err(AccessTokenProblem::Invalid));
    let as_rs256 = id_key.sign("at+jwt", &claims(NOW)).unwrap();
    assert_eq!(verify(&key, NOW, &as_rs256), Err(AccessTokenProblem::Invalid));
    for text in ["", "opaque-refresh-token", "a.b.c"] {
        assert_eq!(verify(&key, NOW, text), Err(AccessTokenProblem::Invalid));
    }
}

#[test]
fn a_token_that_was_changed_anywhere_is_refused() {
    let key = key();
    let token = claims(NOW).sign(&key).unwrap();
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        let byte = bytes.get_mut(index).unwrap();
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_eq!(verify(&key, NOW, &changed), Err(AccessTokenProblem::Invalid), "{index}");
    }
    let mut parts: Vec<&str> = token.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    parts[0] = &none;
    assert_eq!(verify(&key, NOW, &parts.join(".")), Err(AccessTokenProblem::Invalid));
}

#[test]
fn a_token_without_a_claim_that_is_decided_by_is_refused() {
    let key = key();
    let whole = serde_json::to_value(claims(NOW)).unwrap();
    for claim in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "scope", "gid"] {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(claim);
        let token = key.sign(TYPE, &without).unwrap();
        assert_eq!(verify(&key, NOW, &token), Err(AccessTokenProblem::Invalid), "{claim}");
    }
    let mut later = whole;
    later["nbf"] = json!(NOW + 60);
    let token = key.sign(TYPE, &later).unwrap();
    assert_eq!(verify(&key, NOW, &token), Err(AccessTokenProblem::Invalid));
}

// T12
#[test]
fn a_token_longer_than_4_kib_is_not_issued_and_one_longer_than_8_kib_not_looked_at() {
    let key = key();
    let mut large = claims(NOW);
    large.scope = "patient/Observation.rs ".repeat(110);
    assert!(large.sign(&key).unwrap().len() <= MAX_ACCESS_TOKEN_BYTES);
    large.scope = "patient/Observation.rs ".repeat(140);
    assert!(matches!(large.sign(&key), Err(SignError::TooLarge { bytes: 4_097.. })));
    large.scope = "patient/Observation.rs ".repeat(400);
    let token = key.sign(TYPE, &large).unwrap();
    assert_eq!(verify(&key, NOW, &token), Err(AccessTokenProblem::Invalid));
}
