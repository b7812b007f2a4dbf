#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use serde_json::json;

use super::super::jws::encode;
use super::*;

struct Provider {
    pem: String,
    jwk: Value,
}

fn provider(kid: &str) -> Provider {
    crate::jose::install_provider();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (x, y) = pair.public_key_raw().get(1..).unwrap().split_at(32);
    let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "x": encode(x), "y": encode(y)});
    Provider { pem: pair.serialize_pem(), jwk }
}

impl Provider {
    fn sign(&self, kid: Option<&str>) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_pem(self.pem.as_bytes()).unwrap();
        jsonwebtoken::encode(&header, &json!({"sub": "u"}), &key).unwrap()
    }
}

fn keys(jwks: &[&Value]) -> ProviderKeys {
    ProviderKeys::parse(json!({"keys": jwks}).to_string().as_bytes()).unwrap()
}

fn problem(keys: &ProviderKeys, token: &str) -> SignatureProblem {
    keys.verify(token, &["JWT"]).unwrap_err()
}

#[test]
fn a_token_of_the_providers_key_is_signed() {
    let provider = provider("a");
    let signed = keys(&[&provider.jwk]).verify(&provider.sign(Some("a")), &["JWT"]).unwrap();
    assert_eq!((signed.claims.get("sub"), signed.algorithm), (Some(&json!("u")), Algorithm::ES256));
}

// E23
#[test]
fn another_key_of_the_same_name_and_an_unknown_name_are_refused() {
    let (ours, other) = (provider("a"), provider("a"));
    let keys = keys(&[&ours.jwk]);
    assert_eq!(problem(&keys, &other.sign(Some("a"))), SignatureProblem::Signature);
    assert_eq!(problem(&keys, &ours.sign(Some("b"))), SignatureProblem::UnknownKey);
}

// M3
#[test]
fn without_a_name_there_must_be_one_key() {
    let (a, b) = (provider("a"), provider("b"));
    assert!(keys(&[&a.jwk]).verify(&a.sign(None), &["JWT"]).is_ok());
    assert_eq!(problem(&keys(&[&a.jwk, &b.jwk]), &a.sign(None)), SignatureProblem::UnknownKey);
}

// E23: algorithm confusion
#[test]
fn no_algorithm_but_the_keys_own_is_taken() {
    let provider = provider("a");
    let keys = keys(&[&provider.jwk]);
    let payload = encode(r#"{"sub":"u"}"#);
    let token = |header: &str| format!("{}.{payload}.{}", encode(header), encode("signature"));
    for alg in ["none", "None", "HS256", "RS256", "ES384", "EdDSA", ""] {
        let found = problem(&keys, &token(&format!(r#"{{"alg":"{alg}","kid":"a"}}"#)));
        assert_eq!(found, SignatureProblem::Algorithm, "{alg}");
    }
    // HS256 with the public key as the secret, in the forms that it is published and kept in.
    for secret in [provider.jwk.to_string(), provider.jwk.get("x").unwrap().to_string()] {
        let header = Header { kid: Some("a".to_owned()), ..Header::new(Algorithm::HS256) };
        let forged =
            jsonwebtoken::encode(&header, &json!({"sub": "u"}), &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        assert_eq!(problem(&keys, &forged), SignatureProblem::Algorithm);
    }
    for header in [
        r#"{"alg":"ES256","kid":"a","jwk":{}}"#,
        r#"{"alg":"ES256","kid":"a","crit":["x"]}"#,
        r#"{"alg":"ES256","kid":"a","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","kid":"a","typ":"logout+jwt"}"#,
    ] {
        assert_eq!(problem(&keys, &token(header)), SignatureProblem::Malformed, "{header}");
    }
}

#[test]
fn a_key_that_names_its_algorithm_is_for_that_one() {
    let jwk = |more: Value| {
        let mut jwk = provider("a").jwk;
        jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        keys(&[&jwk]).len()
    };
    assert_eq!(jwk(json!({"alg": "ES256"})), 1);
    assert_eq!(jwk(json!({"key_ops": ["verify"]})), 1);
    assert_eq!(jwk(json!({"alg": "RS256"})), 0);
    assert_eq!(jwk(json!({"use": "enc"})), 0);
    assert_eq!(jwk(json!({"key_ops": ["encrypt"]})), 0);
    assert_eq!(jwk(json!({"crv": "P-384"})), 0);
    assert_eq!(jwk(json!({"kty": "oct", "k": "AAAA"})), 0);
}

#[test]
fn an_rsa_key_shorter_than_2048_bits_is_left_out_and_the_others_stay() {
    let weak = json!({"kty": "RSA", "kid": "w", "n": encode([0xff; 128]), "e": "AQAB"});
    let odd = json!({"kty": 7});
    let good = provider("a");
    assert_eq!(keys(&[&weak, &odd, &good.jwk]).len(), 1);
    assert!(ProviderKeys::parse(b"[]").is_none());
}

proptest! {
    #[test]
    fn nothing_makes_the_readers_panic(jwks in ".{0,200}", token in ".{0,200}") {
        let _ = ProviderKeys::parse(jwks.as_bytes());
        let _ = ProviderKeys::default().verify(&token, &["JWT"]);
    }
}
