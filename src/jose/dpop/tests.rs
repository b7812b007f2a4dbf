#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaPublicKeyComponents,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jose::assertion::tests::TestKeys;

const NOW: i64 = 1_900_000_000;
const TOKEN_URL: &str = "https://gateway.example.org/token";

/// A client's key for proofs.
pub(crate) struct ProvingKey(EcdsaKeyPair);

impl ProvingKey {
    pub(crate) fn generate() -> Self {
        crate::jose::install_provider();
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.0.public_key().as_ref().split_at(33);
        // As browsers export it, with members that say nothing here.
        json!({"kty": "EC", "crv": "P-256", "ext": true, "key_ops": ["verify"],
            "x": encode(x.strip_prefix(&[4]).unwrap()), "y": encode(y)})
    }

    pub(crate) fn jkt(&self) -> String {
        let jwk = self.jwk();
        crate::jose::ec_thumbprint("P-256", jwk["x"].as_str().unwrap(), jwk["y"].as_str().unwrap())
    }

    /// A good proof for one request.
    pub(crate) fn proof(&self, method: &str, url: &str, now: i64) -> String {
        self.sign(&self.header(), &claims(method, url, now))
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()})
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }
}

pub(crate) fn claims(method: &str, url: &str, now: i64) -> Value {
    json!({"jti": crate::random::handle(), "htm": method, "htu": url, "iat": now})
}

fn origin(text: &str) -> Url {
    text.parse().unwrap()
}

fn verify_at(proof: &str, now: i64) -> Result<Proof, ProofProblem> {
    let origin = origin("https://gateway.example.org");
    let expected = Expected {
        method: &Method::POST,
        origin: &origin,
        path: "/token",
        access_token: None,
        key: None,
        nonces: None,
        now,
    };
    Proof::verify(proof, &expected)
}

fn verify(proof: &str) -> Result<Proof, ProofProblem> {
    verify_at(proof, NOW)
}

// N2: RFC 9449 sections 4.1, 6.1 and 7.1
#[test]
fn the_examples_of_rfc_9449_are_proofs() {
    crate::jose::install_provider();
    let at_the_token_endpoint = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let at_the_resource = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let jkt = Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    assert!(jkt.is_some());
    let mut expected = Expected {
        nonces: None,
        method: &Method::POST,
        origin: &origin("https://server.example.com"),
        path: "/token",
        access_token: None,
        key: jkt,
        now: 1_562_262_616,
    };
    let proof = Proof::verify(at_the_token_endpoint, &expected).unwrap();
    assert_eq!((Some(proof.key), proof.issued), (jkt, 1_562_262_616));
    let token = Digest::of("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
    let resource = origin("https://resource.example.org");
    expected = Expected {
        method: &Method::GET,
        origin: &resource,
        path: "/protectedresource",
        access_token: Some(&token),
        ..expected
    };
    assert_eq!(Proof::verify(at_the_resource, &expected).map(|proof| proof.key), jkt.ok_or(ProofProblem::Invalid));
    let other = Digest::of("another token");
    expected.access_token = Some(&other);
    assert_eq!(Proof::verify(at_the_resource, &expected), Err(ProofProblem::Invalid));
}

// N2
#[test]
fn a_proof_by_each_listed_algorithm_is_good() {
    let (es256, keys) = (ProvingKey::generate(), TestKeys::generate());
    let proven = verify(&es256.proof("POST", TOKEN_URL, NOW)).unwrap();
    assert_eq!(proven.key.to_string(), es256.jkt());
    assert_eq!(proven.expires(), NOW + LIFETIME + 1);

    let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(keys.rs384.public_key());
    let rs256 =
        json!({"typ": "dpop+jwt", "alg": "RS256", "jwk": {"kty": "RSA", "n": encode(&rsa.n), "e": encode(&rsa.e)}});
    let proven = verify(&keys.rsa(&rs256, &claims("POST", TOKEN_URL, NOW))).unwrap();
    assert_eq!(proven.key.to_string(), crate::jose::rsa_thumbprint(&encode(&rsa.n), &encode(&rsa.e)));

    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let (x, y) = pair.public_key().as_ref().split_at(49);
    let jwk = json!({"kty": "EC", "crv": "P-384", "x": encode(x.strip_prefix(&[4]).unwrap()), "y": encode(y)});
    let header = json!({"typ": "dpop+jwt", "alg": "ES384", "jwk": jwk});
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims("POST", TOKEN_URL, NOW).to_string()));
    let signature = encode(pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap());
    assert!(verify(&format!("{signed}.{signature}")).is_ok());
}

// N2, B2 46: typ, alg, embedded key
#[test]
fn a_header_that_is_no_proofs_or_brings_a_private_key_is_refused() {
    let key = ProvingKey::generate();
    let refuse = |change: &dyn Fn(&mut Value)| {
        let mut header = key.header();
        change(&mut header);
        assert_eq!(verify(&key.sign(&header, &claims("POST", TOKEN_URL, NOW))), Err(ProofProblem::Invalid), "{header}");
    };
    for typ in [json!("JWT"), json!("at+jwt"), json!("dpop"), json!("DPOP+JWT"), Value::Null] {
        refuse(&|header| header["typ"] = typ.clone());
    }
    for alg in ["none", "HS256", "ES384", "RS256", "PS256", "es256", ""] {
        refuse(&|header| header["alg"] = json!(alg));
    }
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for value in [json!("AA"), Value::Null] {
            refuse(&|header| header["jwk"][private] = value.clone());
        }
    }
    for other in ["crit", "jku", "x5u", "x5c", "b64", "zip", "enc"] {
        refuse(&|header| header[other] = json!([]));
    }
    refuse(&|header| header["jwk"] = ProvingKey::generate().jwk());
    refuse(&|header| header["jwk"] = json!({"kty": "oct", "k": "c2VjcmV0"}));
    refuse(&|header| header["jwk"] = Value::Null);
    refuse(&|header| drop(header.as_object_mut().unwrap().remove("jwk")));
    refuse(&|header| header["jwk"]["use"] = json!("enc"));
    refuse(&|header| header["jwk"]["alg"] = json!("ES384"));
    refuse(&|header| header["jwk"]["crv"] = json!("secp256k1"));
    refuse(&|header| header["jwk"]["x"] = json!("AA"));
    // The same number written otherwise would be the same key under another thumbprint.
    refuse(&|header| header["jwk"]["x"] = json!(format!("{}=", header["jwk"]["x"].as_str().unwrap())));
    refuse(&|header| {
        let x = URL_SAFE_NO_PAD.decode(header["jwk"]["x"].as_str().unwrap()).unwrap();
        header["jwk"]["x"] = json!(encode([&[0], x.as_slice()].concat()));
    });
}

// N2, B2 46
#[test]
fn a_proof_for_another_method_or_url_or_without_a_claim_is_refused() {
    let key = ProvingKey::generate();
    let refuse = |change: &dyn Fn(&mut Value)| {
        let mut claims = claims("POST", TOKEN_URL, NOW);
        change(&mut claims);
        assert_eq!(verify(&key.sign(&key.header(), &claims)), Err(ProofProblem::Invalid), "{claims}");
    };
    for claim in ["jti", "htm", "htu", "iat"] {
        refuse(&|claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        refuse(&|claims| claims[claim] = json!([1]));
    }
    for method in ["GET", "post", ""] {
        refuse(&|claims| claims["htm"] = json!(method));
    }
    for url in [
        "",
        "/token",
        "https://gateway.example.org",
        "https://gateway.example.org/token/",
        "https://gateway.example.org/Token",
        "https://gateway.example.org/token2",
        "https://gateway.example.org:8443/token",
        "https://gateway.example.org.evil.example/token",
        "https://user@gateway.example.org/token",
        "http://gateway.example.org/token",
    ] {
        refuse(&|claims| claims["htu"] = json!(url));
    }
    refuse(&|claims| claims["jti"] = json!(""));
    refuse(&|claims| claims["jti"] = json!("j".repeat(MAX_ID + 1)));
    refuse(&|claims| claims["iat"] = json!("now"));
}

// N2: RFC 9449 section 4.3 item 9, RFC 3986 sections 6.2.2 and 6.2.3
#[test]
fn a_url_is_compared_without_query_fragment_case_of_the_host_and_default_port() {
    let key = ProvingKey::generate();
    for url in [
        "https://gateway.example.org/token",
        "HTTPS://Gateway.Example.ORG/token",
        "https://gateway.example.org:443/token",
        "https://gateway.example.org/token?client_id=app",
        "https://gateway.example.org/token#x",
        "https://gateway.example.org/a/../token",
    ] {
        assert!(verify(&key.proof("POST", url, NOW)).is_ok(), "{url}");
    }
}

// N2, B2 46: old iat
#[test]
fn a_proof_is_good_for_a_minute_and_from_clocks_that_are_ten_seconds_ahead() {
    let key = ProvingKey::generate();
    let proof = key.proof("POST", TOKEN_URL, NOW);
    for (now, good) in
        [(NOW - AHEAD - 1, false), (NOW - AHEAD, true), (NOW + LIFETIME, true), (NOW + LIFETIME + 1, false)]
    {
        assert_eq!(verify_at(&proof, now).is_ok(), good, "{}", now - NOW);
    }
    assert_eq!(verify_at(&proof, NOW + LIFETIME + 1), Err(ProofProblem::Untimely));
    let sign = |claim: &str, value: i64| {
        let mut claims = claims("POST", TOKEN_URL, NOW);
        claims[claim] = json!(value);
        verify(&key.sign(&key.header(), &claims))
    };
    assert_eq!(sign("exp", NOW), Err(ProofProblem::Untimely));
    assert_eq!(sign("nbf", NOW + AHEAD + 1), Err(ProofProblem::Untimely));
    assert_eq!(sign("iat", i64::MAX), Err(ProofProblem::Untimely));
    assert_eq!(sign("iat", i64::MIN), Err(ProofProblem::Untimely));
    assert!(sign("exp", NOW + 1).is_ok());
}

// N2: signature and key
#[test]
fn a_changed_proof_and_one_by_another_key_than_expected_are_refused() {
    let (key, other) = (ProvingKey::generate(), ProvingKey::generate());
    let proof = key.proof("POST", TOKEN_URL, NOW);
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let changed = encode(claims("POST", TOKEN_URL, NOW).to_string());
    assert_eq!(verify(&format!("{head}.{changed}.{signature}")), Err(ProofProblem::Invalid));
    let origin = origin("https://gateway.example.org");
    let mut expected = Expected {
        nonces: None,
        method: &Method::POST,
        origin: &origin,
        path: "/token",
        access_token: None,
        key: Thumbprint::parse(&other.jkt()),
        now: NOW,
    };
    assert_eq!(Proof::verify(&proof, &expected), Err(ProofProblem::Invalid));
    expected.key = Thumbprint::parse(&key.jkt());
    assert!(Proof::verify(&proof, &expected).is_ok());
}

#[test]
fn the_id_of_a_proof_is_its_key_and_jti() {
    let (one, other) = (ProvingKey::generate(), ProvingKey::generate());
    let claims = claims("POST", TOKEN_URL, NOW);
    let id = |key: &ProvingKey| verify(&key.sign(&key.header(), &claims)).unwrap().id;
    assert_eq!(id(&one), id(&one), "two signatures of one proof are one proof");
    assert_ne!(id(&one), id(&other), "another client's jti is no concern");
}

#[test]
fn a_thumbprint_is_43_characters_of_base64url() {
    let jkt = ProvingKey::generate().jkt();
    assert_eq!(Thumbprint::parse(&jkt).map(|thumbprint| thumbprint.to_string()), Some(jkt.clone()));
    for bad in ["", "AA", &format!("{jkt}="), &format!("{jkt}A"), &format!("+{}", jkt.split_at(1).1)] {
        assert_eq!(Thumbprint::parse(bad), None, "{bad}");
    }
}

/// JSON as attackers write it: members of proofs, with anything in them.
fn any_member() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!("POST")),
        Just(json!(TOKEN_URL)),
        Just(json!("P-256")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,4}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_or_is_a_proof(text in ".{0,300}", header in ".{0,200}", claims in ".{0,200}") {
        prop_assert!(verify(&text).is_err());
        let made = format!("{}.{}.AAAA", encode(header), encode(claims));
        prop_assert!(verify(&made).is_err());
    }

    // One member of a good proof replaced by anything: signed all the same, it is good only when it says the same.
    #[test]
    fn a_proof_with_any_other_member_is_refused_without_panic(
        place in 0_usize..9,
        value in any_member(),
    ) {
        let key = ProvingKey::generate();
        let (mut header, mut body) = (key.header(), claims("POST", TOKEN_URL, NOW));
        let member = match place {
            0 => &mut header["typ"],
            1 => &mut header["alg"],
            2 => &mut header["jwk"],
            3 => &mut header["jwk"]["x"],
            4 => &mut header["jwk"]["crv"],
            5 => &mut header["jwk"]["kty"],
            6 => &mut body["htm"],
            7 => &mut body["htu"],
            _ => &mut body["iat"],
        };
        let same = *member == value;
        *member = value;
        prop_assert_eq!(verify(&key.sign(&header, &body)).is_ok(), same, "{} {}", header, body);
    }

    // Any one character of a good proof changed.
    #[test]
    fn a_proof_with_any_byte_changed_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]") {
        let proof = ProvingKey::generate().proof("POST", TOKEN_URL, NOW);
        let at = at.index(proof.len());
        let (before, rest) = proof.split_at(at);
        let changed = format!("{before}{to}{}", rest.split_at(1).1);
        prop_assert!(changed == proof || verify(&changed).is_err());
    }
}
