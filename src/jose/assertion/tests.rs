#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaKeyPair,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_900_000_000;
const TOKEN_URL: &str = "https://gateway.example.org/token";

/// A client's key of each kind, for tests of everything that takes assertions.
pub(crate) struct TestKeys {
    pub(crate) es384: EcdsaKeyPair,
    pub(crate) rs384: RsaKeyPair,
}

impl TestKeys {
    pub(crate) fn generate() -> Self {
        crate::jose::install_provider();
        Self {
            es384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            rs384: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// The public keys, under the kids `ec` and `rsa`, with members that servers must ignore (as real sets have them).
    pub(crate) fn jwks(&self) -> String {
        let (x, y) = self.es384.public_key().as_ref().split_at(49);
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rs384.public_key());
        json!({"keys": [
            {"kty": "EC", "kid": "ec", "crv": "P-384", "alg": "ES384", "key_ops": ["verify"], "ext": true,
             "x": encode(x.strip_prefix(&[4]).unwrap()), "y": encode(y)},
            {"kty": "RSA", "kid": "rsa", "alg": "RS384", "use": "sig", "n": encode(&rsa.n), "e": encode(&rsa.e)},
        ]})
        .to_string()
    }

    pub(crate) fn es384(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.es384.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }

    pub(crate) fn rsa(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let mut signature = vec![0; self.rs384.public_modulus_len()];
        let padding = if header["alg"] == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PKCS1_SHA384 };
        self.rs384.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", encode(signature))
    }

    /// A good assertion of `client_id`, as Inferno builds it: no `iat`, no `nbf`.
    pub(crate) fn assertion(&self, client_id: &str, audience: &str, now: i64) -> String {
        self.es384(&header("ES384", "ec"), &claims(client_id, audience, now))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn header(alg: &str, kid: &str) -> Value {
    json!({"alg": alg, "kid": kid, "typ": "JWT"})
}

pub(crate) fn claims(client_id: &str, audience: &str, now: i64) -> Value {
    json!({"iss": client_id, "sub": client_id, "aud": audience, "exp": now + 300, "jti": crate::random::handle()})
}

fn verify(keys: &ClientKeys, assertion: &str) -> Result<Assertion, NotProven> {
    verify_as(keys, assertion, &Expected { audiences: &AUDIENCES, ..Expected::default() })
}

const AUDIENCES: [&str; 2] = [TOKEN_URL, "https://gateway.example.org"];

fn verify_as(keys: &ClientKeys, assertion: &str, expected: &Expected<'_>) -> Result<Assertion, NotProven> {
    Unverified::parse(assertion)?.verify(keys, expected, NOW)
}

// C7, E9, B2 36
#[test]
fn a_jku_must_be_the_registered_url_exactly() {
    let test = TestKeys::generate();
    let keys = ClientKeys::parse(&test.jwks()).unwrap();
    let registered = "https://ehr.example.org/jwks";
    let expected = Expected { audiences: &AUDIENCES, jwks_uri: Some(registered), ..Expected::default() };
    let sent = |jku: Value| test.es384(&with(header("ES384", "ec"), "jku", jku), &claims("ehr", TOKEN_URL, NOW));
    assert!(verify_as(&keys, &sent(json!(registered)), &expected).is_ok());
    assert!(verify(&keys, &sent(json!(registered))).is_err(), "of a client that registered its keys inline");
    for other in [
        json!("https://ehr.example.org/jwks/"),
        json!("https://EHR.example.org/jwks"),
        json!("https://ehr.example.org/jwks?a"),
        json!("https://evil.example.org/jwks"),
        json!("http://169.254.169.254/"),
        json!(""),
        json!(null),
        json!([registered]),
    ] {
        assert_eq!(verify_as(&keys, &sent(other.clone()), &expected), Err(NotProven), "{other}");
    }
}

// C3
#[test]
fn a_client_registered_for_one_algorithm_may_not_use_the_other() {
    let test = TestKeys::generate();
    let keys = ClientKeys::parse(&test.jwks()).unwrap();
    let claims = claims("ehr", TOKEN_URL, NOW);
    let (es384, rs384) = (test.es384(&header("ES384", "ec"), &claims), test.rsa(&header("RS384", "rsa"), &claims));
    for (only, good, bad) in [(AssertionAlgorithm::Es384, &es384, &rs384), (AssertionAlgorithm::Rs384, &rs384, &es384)]
    {
        let expected = Expected { audiences: &AUDIENCES, algorithm: Some(only), ..Expected::default() };
        assert!(verify_as(&keys, good, &expected).is_ok());
        assert_eq!(verify_as(&keys, bad, &expected), Err(NotProven));
    }
}

// C7, B2 36
#[test]
fn one_kid_may_name_a_key_of_each_kind_and_not_two_of_one() {
    let (test, other) = (TestKeys::generate(), TestKeys::generate());
    let set = |sets: &[&TestKeys]| {
        let mut all = json!({"keys": []});
        for keys in sets {
            let jwks: Value = serde_json::from_str(&keys.jwks()).unwrap();
            for key in jwks["keys"].as_array().unwrap() {
                all["keys"].as_array_mut().unwrap().push(with(key.clone(), "kid", json!("k")));
            }
        }
        ClientKeys::parse_fetched(all.to_string().as_bytes()).unwrap()
    };
    let claims = claims("ehr", TOKEN_URL, NOW);
    let (es384, rs384) = (test.es384(&header("ES384", "k"), &claims), test.rsa(&header("RS384", "k"), &claims));
    assert!(verify(&set(&[&test]), &es384).is_ok());
    assert!(verify(&set(&[&test]), &rs384).is_ok());
    assert_eq!(verify(&set(&[&test, &other]), &es384), Err(NotProven));
    assert_eq!(verify(&set(&[&test, &other]), &rs384), Err(NotProven));
}

fn with(mut value: Value, member: &str, replacement: Value) -> Value {
    value[member] = replacement;
    value
}

fn without(mut value: Value, member: &str) -> Value {
    value.as_object_mut().unwrap().remove(member);
    value
}

// C2-C5
#[test]
fn rs384_and_es384_assertions_for_the_token_endpoint_or_the_issuer_are_accepted() {
    let test = TestKeys::generate();
    let keys = ClientKeys::parse(&test.jwks()).unwrap();
    for audience in [TOKEN_URL, "https://gateway.example.org"] {
        let claims = claims("ehr", audience, NOW);
        let assertion = verify(&keys, &test.es384(&header("ES384", "ec"), &claims)).unwrap();
        assert_eq!((assertion.client_id.as_str(), assertion.expires), ("ehr", NOW + 300));
        verify(&keys, &test.rsa(&header("RS384", "rsa"), &claims)).unwrap();
        let typed = with(header("ES384", "ec"), "typ", json!("client-authentication+jwt"));
        verify(&keys, &test.es384(&typed, &claims)).unwrap();
        verify(&keys, &test.es384(&without(header("ES384", "ec"), "typ"), &claims)).unwrap();
        let dated = with(with(claims, "iat", json!(NOW)), "nbf", json!(NOW - 1));
        verify(&keys, &test.es384(&header("ES384", "ec"), &dated)).unwrap();
    }
}

// C2, B2 35, 36, C7
#[test]
fn an_assertion_whose_header_is_not_exactly_right_is_refused() {
    let test = TestKeys::generate();
    let keys = ClientKeys::parse(&test.jwks()).unwrap();
    let good = header("ES384", "ec");
    let claims = claims("ehr", TOKEN_URL, NOW);
    assert!(verify(&keys, &test.es384(&good, &claims)).is_ok());
    for bad in [
        with(good.clone(), "alg", json!("none")),
        with(good.clone(), "alg", json!("HS256")),
        with(good.clone(), "alg", json!("ES256")),
        with(good.clone(), "alg", json!("RS384")),
        with(good.clone(), "alg", json!("es384")),
        with(good.clone(), "kid", json!("rsa")),
        with(good.clone(), "kid", json!("unknown")),
        with(good.clone(), "typ", json!("at+jwt")),
        with(good.clone(), "jku", json!("https://ehr.example.org/jwks")),
        with(good.clone(), "jwk", json!({})),
        with(good.clone(), "x5u", json!("https://ehr.example.org/cert")),
        with(good.clone(), "crit", json!(["exp"])),
        without(good.clone(), "kid"),
        without(good.clone(), "alg"),
    ] {
        assert_eq!(verify(&keys, &test.es384(&bad, &claims)), Err(NotProven), "{bad}");
    }
    assert_eq!(verify(&keys, &test.rsa(&header("RS256", "rsa"), &claims)), Err(NotProven));
    let unsigned = format!("{}.{}.", encode(header("none", "ec").to_string()), encode(claims.to_string()));
    assert_eq!(verify(&keys, &unsigned), Err(NotProven));
    let others = TestKeys::generate();
    assert_eq!(verify(&keys, &others.es384(&good, &claims)), Err(NotProven));
    for text in ["", "x", "a.b.c", "e30.e30.e30"] {
        assert_eq!(verify(&keys, text), Err(NotProven));
    }
}

// B2 35: the public key used as a secret of HS256
#[test]
fn an_hs256_assertion_keyed_with_the_public_key_is_refused() {
    let test = TestKeys::generate();
    let keys = ClientKeys::parse(&test.jwks()).unwrap();
    let signed =
        format!("{}.{}", encode(header("HS256", "ec").to_string()), encode(claims("ehr", TOKEN_URL, NOW).to_string()));
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, test.es384.public_key().as_ref());
    let tag = aws_lc_rs::hmac::sign(&secret, signed.as_bytes());
    assert_eq!(verify(&keys, &format!("{signed}.{}", encode(tag))), Err(NotProven));
}

// B2 37, C4, C5
#[test]
fn an_assertion_whose_claims_are_not_exactly_right_is_refused() {
    let test = TestKeys::generate();
    let keys = ClientKeys::parse(&test.jwks()).unwrap();
    let good = claims("ehr", TOKEN_URL, NOW);
    for bad in [
        with(good.clone(), "iss", json!("other")),
        with(good.clone(), "sub", json!("other")),
        with(with(good.clone(), "iss", json!("")), "sub", json!("")),
        with(good.clone(), "aud", json!("https://gateway.example.org/token/")),
        with(good.clone(), "aud", json!("https://gateway.example.org.evil.example/token")),
        with(good.clone(), "aud", json!([TOKEN_URL])),
        with(good.clone(), "aud", json!([TOKEN_URL, "https://evil.example"])),
        with(good.clone(), "exp", json!(NOW)),
        with(good.clone(), "exp", json!(NOW + 300 + SKEW + 1)),
        with(good.clone(), "exp", json!((NOW + 300).to_string())),
        with(good.clone(), "exp", json!(1e300)),
        with(good.clone(), "jti", json!("")),
        with(good.clone(), "jti", json!(" ")),
        with(good.clone(), "jti", json!(7)),
        with(good.clone(), "nbf", json!(NOW + SKEW + 1)),
        with(good.clone(), "iat", json!(NOW + SKEW + 1)),
        without(good.clone(), "iss"),
        without(good.clone(), "sub"),
        without(good.clone(), "aud"),
        without(good.clone(), "exp"),
        without(good.clone(), "jti"),
    ] {
        assert_eq!(verify(&keys, &test.es384(&header("ES384", "ec"), &bad)), Err(NotProven), "{bad}");
    }
    let fractional = with(good, "exp", json!(299.5 + 1_900_000_000.0));
    assert!(verify(&keys, &test.es384(&header("ES384", "ec"), &fractional)).is_ok());
}
