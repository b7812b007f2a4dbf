//! Signed things: our access tokens, the assertions of clients, the proofs of keys, and the sets of keys that others publish.
//!
//! Two attackers. One has a good token and changes it: no changed token is accepted. The other has the key and says what it wants:
//! what is taken says what it must, by a naive look at it. The first byte chooses what is tried.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firebreak::clock::Clock;
use firebreak::jose::assertion::{self, Unverified};
use firebreak::jose::dpop::{self, Proof};
use firebreak::jose::{AccessTokenClaims, AccessTokenProblem, ClientKeys, JwksProblem, ProviderKeys};
use firebreak::keys::Keys;
use firebreak::secret::Digest;
use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use url::Url;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://gw.example";
const AUDIENCE: &str = "https://gw.example/fhir";
const TOKEN_ENDPOINT: &str = "https://gw.example/token";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let text = std::str::from_utf8(rest).unwrap_or_default();
    let (header, claims) = text.split_once('\n').unwrap_or((text, ""));
    match choice % 8 {
        0 => changed(&THERE.access_token, rest, |token| access_token(token).is_ok()),
        1 => changed(&THERE.assertion, rest, |token| verified(token).is_ok()),
        2 => changed(&THERE.proof, rest, |token| proven(token).is_ok()),
        3 => says_what_an_access_token_must(header, claims),
        4 => says_what_an_assertion_must(header, claims),
        5 => says_what_a_proof_must(header, claims),
        6 => key_sets(rest, text),
        _ => garbage(text),
    }
});

/// What a holder of keys starts from.
struct There {
    keys: Keys,
    clock: Clock,
    kid: String,
    access_key: EncodingKey,
    client_key: EncodingKey,
    client_keys: ClientKeys,
    provider_keys: ProviderKeys,
    proof_key: EncodingKey,
    proof_jwk: Value,
    access_token: String,
    assertion: String,
    proof: String,
}

static THERE: LazyLock<There> = LazyLock::new(|| {
    firebreak::jose::install_provider();
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Clock::fixed(NOW);
    let keys = Keys::open_at(directory.path(), clock.clone()).expect("keys");
    let pem = std::fs::read_to_string(directory.path().join("access-0001.pem")).expect("a key file");
    let (_, pem) = pem.split_once('\n').expect("a line before the armour");
    let access_key = EncodingKey::from_ec_pem(pem.as_bytes()).expect("a PEM key");
    let jwks: Value = serde_json::from_slice(&keys.jwks()).expect("a JWK Set");
    let kid = jwks["keys"][0]["kid"].as_str().expect("a kid").to_owned();
    let (client_key, client_jwk) = pair("P-384");
    let (proof_key, proof_jwk) = pair("P-256");
    let mut named = client_jwk;
    named["kid"] = json!("k");
    let set = json!({"keys": [named]}).to_string();
    let access_token = keys.sign_access_token(&claims()).expect("a token");
    let assertion =
        signed(r#"{"alg":"ES384","kid":"k","typ":"JWT"}"#, &assertion_claims(), &client_key, Algorithm::ES384);
    let proof = signed(&proof_header(&proof_jwk), &proof_claims(), &proof_key, Algorithm::ES256);
    let there = There {
        keys,
        clock,
        kid,
        access_key,
        client_key,
        client_keys: ClientKeys::parse(&set).expect("keys of a client"),
        provider_keys: ProviderKeys::parse(set.as_bytes()).expect("keys of a provider"),
        proof_key,
        proof_jwk,
        access_token,
        assertion,
        proof,
    };
    there.assert_good();
    there
});

impl There {
    /// What is changed by the target is good when it is not changed.
    fn assert_good(&self) {
        assert_eq!(self.keys.verify_access_token(&self.access_token, ISSUER, AUDIENCE, &self.clock), Ok(claims()));
        let unverified = Unverified::parse(&self.assertion).expect("an assertion");
        assert!(unverified.verify(&self.client_keys, &expected_assertion(), NOW).is_ok());
        assert!(Proof::verify(&self.proof, &expected_proof(&Digest::of("token"))).is_ok());
    }
}

fn pair(curve: &str) -> (EncodingKey, Value) {
    let algorithm = if curve == "P-256" { &ECDSA_P256_SHA256_FIXED_SIGNING } else { &ECDSA_P384_SHA384_FIXED_SIGNING };
    let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
    let der = pair.to_pkcs8v1().expect("a key");
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    let jwk = json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)});
    (EncodingKey::from_ec_der(der.as_ref()), jwk)
}

fn claims() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: ISSUER.to_owned(),
        sub: "dr".to_owned(),
        aud: AUDIENCE.to_owned(),
        client_id: "app".to_owned(),
        iat: NOW,
        exp: NOW + 300,
        jti: "j".to_owned(),
        scope: "patient/*.rs".to_owned(),
        gid: "g".to_owned(),
        patient: Some("P1".to_owned()),
        ..AccessTokenClaims::default()
    }
}

fn assertion_claims() -> String {
    json!({"iss": "c", "sub": "c", "aud": TOKEN_ENDPOINT, "exp": NOW + 100, "jti": "1"}).to_string()
}

fn proof_header(jwk: &Value) -> String {
    json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}).to_string()
}

fn proof_claims() -> String {
    let ath = encode(Digest::of("token").0);
    json!({"jti": "1", "htm": "GET", "htu": format!("{AUDIENCE}/Patient/P1"), "iat": NOW, "ath": ath}).to_string()
}

fn expected_assertion() -> assertion::Expected<'static> {
    assertion::Expected { audiences: &[TOKEN_ENDPOINT], jwks_uri: None, algorithm: None }
}

fn expected_proof(token: &Digest) -> dpop::Expected<'_> {
    static ORIGIN: LazyLock<Url> = LazyLock::new(|| Url::parse(ISSUER).expect("a URL"));
    dpop::Expected {
        method: &Method::GET,
        origin: &ORIGIN,
        path: "/fhir/Patient/P1",
        access_token: Some(token),
        key: None,
        nonces: None,
        now: NOW,
    }
}

fn access_token(token: &str) -> Result<AccessTokenClaims, AccessTokenProblem> {
    THERE.keys.verify_access_token(token, ISSUER, AUDIENCE, &THERE.clock)
}

fn verified(token: &str) -> Result<assertion::Assertion, assertion::NotProven> {
    Unverified::parse(token)?.verify(&THERE.client_keys, &expected_assertion(), NOW)
}

fn proven(token: &str) -> Result<Proof, dpop::ProofProblem> {
    Proof::verify(token, &expected_proof(&Digest::of("token")))
}

/// Puts other bytes into a good token, as `changes` says: pairs of two bytes of place and one of content; a last single byte
/// says how much of the end is cut off.
fn changed(token: &str, changes: &[u8], is_taken: impl Fn(&str) -> bool) {
    let mut bytes = token.as_bytes().to_vec();
    let mut chunks = changes.chunks_exact(3);
    for change in &mut chunks {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] = change[2];
    }
    if let [cut] = chunks.remainder() {
        bytes.truncate(bytes.len().saturating_sub(usize::from(*cut)));
    }
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    assert_eq!(is_taken(text), text == token, "{text}");
}

fn says_what_an_access_token_must(header: &str, claims: &str) {
    // Nobody can write the name of the key by chance.
    let header = header.replace("KID", &THERE.kid);
    let token = signed(&header, claims, &THERE.access_key, Algorithm::ES256);
    let Ok(accepted) = access_token(&token) else { return };
    let Some((header, claims)) = objects(&header, claims) else { return };
    assert!(is(&header, "alg", "ES256") && is(&header, "typ", "at+jwt") && is(&header, "kid", &THERE.kid));
    assert!(brings_nothing(&header, &[]), "{header:?}");
    assert!(is(&claims, "iss", ISSUER) && is(&claims, "aud", AUDIENCE), "{claims:?}");
    assert!(number(&claims, "exp").is_some_and(|exp| exp > NOW as f64), "{claims:?}");
    assert!(number(&claims, "iat").is_some_and(|iat| iat < (NOW + 60) as f64), "{claims:?}");
    for name in ["sub", "client_id", "jti", "gid"] {
        assert!(claims.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty()), "{name}: {claims:?}");
    }
    assert!(is(&claims, "sub", &accepted.sub) && is(&claims, "scope", &accepted.scope), "{claims:?}");
    assert_eq!(claims.get("patient").and_then(Value::as_str), accepted.patient.as_deref());
}

fn says_what_an_assertion_must(header: &str, claims: &str) {
    let token = signed(header, claims, &THERE.client_key, Algorithm::ES384);
    let Ok(accepted) = verified(&token) else { return };
    let Some((header, claims)) = objects(header, claims) else { return };
    assert!(is(&header, "alg", "ES384") && is(&header, "kid", "k") && brings_nothing(&header, &[]), "{header:?}");
    assert!(is(&claims, "iss", &accepted.client_id) && is(&claims, "sub", &accepted.client_id), "{claims:?}");
    assert!(is(&claims, "aud", TOKEN_ENDPOINT) && is(&claims, "jti", &accepted.jti), "{claims:?}");
    assert!(!accepted.client_id.is_empty() && !accepted.jti.trim().is_empty());
    let exp = number(&claims, "exp").expect("an assertion ends");
    assert!(exp > NOW as f64 && exp < (NOW + 600) as f64, "{claims:?}");
    assert!(number(&claims, "nbf").is_none_or(|nbf| nbf < (NOW + 60) as f64), "{claims:?}");
}

fn says_what_a_proof_must(header: &str, claims: &str) {
    // A proof brings its key, which nobody can write by chance.
    let header = header.replace("\"KEY\"", &THERE.proof_jwk.to_string());
    let token = signed(&header, claims, &THERE.proof_key, Algorithm::ES256);
    let Ok(accepted) = proven(&token) else { return };
    let Some((header, claims)) = objects(&header, claims) else { return };
    assert!(is(&header, "alg", "ES256") && is(&header, "typ", "dpop+jwt"), "{header:?}");
    assert!(brings_nothing(&header, &["jwk"]), "{header:?}");
    let jwk = header.get("jwk").and_then(Value::as_object).expect("a proof brings its key");
    assert!(!["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|private| jwk.contains_key(*private)), "{jwk:?}");
    assert!(is(&claims, "htm", "GET") && is(&claims, "ath", &encode(Digest::of("token").0)), "{claims:?}");
    let htu = claims.get("htu").and_then(Value::as_str).and_then(|htu| Url::parse(htu).ok()).expect("a URL");
    assert_eq!((htu.origin().ascii_serialization().as_str(), htu.path()), (ISSUER, "/fhir/Patient/P1"), "{claims:?}");
    let iat = number(&claims, "iat").expect("a proof has a time");
    assert!(iat > (NOW - 70) as f64 && iat < (NOW + 20) as f64, "{claims:?}");
    assert_eq!(accepted.issued, iat.floor() as i64);
}

/// No set with a private key is taken as a client's, and no set vouches for what somebody else's key signed.
fn key_sets(bytes: &[u8], text: &str) {
    let (client, fetched, provider) =
        (ClientKeys::parse(text), ClientKeys::parse_fetched(bytes), ProviderKeys::parse(bytes));
    // In members that nobody reads, half of a surrogate pair may stand, which no text can hold.
    let Ok(set) = serde_json::from_slice::<Value>(bytes) else { return };
    let keys = set.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    let private = |key: &Value| ["d", "k"].iter().any(|name| key.get(name).is_some_and(|value| !value.is_null()));
    for taken in [&client, &fetched] {
        assert!(taken.is_err() || !(keys.is_empty() || keys.iter().any(private)), "{text}");
    }
    assert!(client.err() != Some(JwksProblem::KidTwice) || keys.len() > 1, "{text}");
    if let Some(provider) = provider {
        assert!(provider.len() <= keys.len(), "{text}");
        // The keys are made anew in each process, so nobody can have written the one that signed this.
        assert!(provider.verify(&THERE.assertion, &["JWT"]).is_err(), "{text}");
    }
}

fn garbage(text: &str) {
    assert!(access_token(text).is_err() && verified(text).is_err() && proven(text).is_err());
    assert!(THERE.provider_keys.verify(text, &["JWT", "logout+jwt"]).is_err());
}

fn signed(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).expect("a signature");
    format!("{signed}.{signature}")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None`: it holds half of a surrogate pair in a member that nobody reads.
fn objects(header: &str, claims: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    Some((serde_json::from_str(header).ok()?, serde_json::from_str(claims).ok()?))
}

fn is(object: &Map<String, Value>, name: &str, text: &str) -> bool {
    object.get(name).and_then(Value::as_str) == Some(text)
}

fn number(object: &Map<String, Value>, name: &str) -> Option<f64> {
    object.get(name).and_then(Value::as_f64)
}

/// Nothing in the header brings a key or changes what the rest means.
fn brings_nothing(header: &Map<String, Value>, but: &[&str]) -> bool {
    let names = ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"];
    names.iter().filter(|name| !but.contains(name)).all(|name| !header.contains_key(*name))
}
