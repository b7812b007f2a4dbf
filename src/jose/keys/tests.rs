#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use serde_json::Value;

use super::*;
use crate::clock::Clock;

fn jwks(keys: &Keys) -> Vec<Value> {
    let set: Value = serde_json::from_slice(&keys.jwks()).unwrap();
    set["keys"].as_array().unwrap().clone()
}

#[test]
fn keys_are_generated_once_in_private_files_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let first = jwks(&Keys::open(&path).unwrap());
    let again = jwks(&Keys::open(&path).unwrap());
    assert_eq!(first, again);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let files: Vec<_> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

// O4
#[test]
fn the_published_set_has_an_rsa_and_an_ec_key_named_by_thumbprint_and_nothing_private() {
    let directory = tempfile::tempdir().unwrap();
    let keys = jwks(&Keys::open(directory.path()).unwrap());
    let names = |key: &Value| {
        let mut names = key.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        names.sort();
        names
    };
    let ec = keys.iter().find(|key| key["kty"] == "EC").unwrap();
    let rsa = keys.iter().find(|key| key["kty"] == "RSA").unwrap();
    assert_eq!(names(ec), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(names(rsa), ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!((&ec["alg"], &rsa["alg"]), (&Value::from("ES256"), &Value::from("RS256")));
    for key in &keys {
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.clone()).unwrap();
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
        assert_eq!(key["kid"].as_str().unwrap(), thumbprint);
        assert_eq!(key["use"], "sig");
    }
}

#[test]
fn an_added_key_signs_and_the_one_before_still_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_000);
    let old = Keys::open(directory.path()).unwrap();
    let claims = crate::jose::access_token::tests::claims(1_000);
    let before = old.sign_access_token(&claims).unwrap();
    let other = tempfile::tempdir().unwrap();
    Keys::open(other.path()).unwrap();
    std::fs::copy(other.path().join("access-0001.pem"), directory.path().join("access-0002.pem")).unwrap();
    let new = Keys::open(directory.path()).unwrap();
    let after = new.sign_access_token(&claims).unwrap();
    let (issuer, audience) = crate::jose::access_token::tests::EXPECTED;
    assert!(new.verify_access_token(&before, issuer, audience, &clock).is_ok());
    assert!(new.verify_access_token(&after, issuer, audience, &clock).is_ok());
    assert!(old.verify_access_token(&after, issuer, audience, &clock).is_err());
    assert_eq!(jwks(&new).len(), 3);
}

#[test]
fn a_key_file_that_others_may_read_or_that_is_no_key_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    Keys::open(directory.path()).unwrap();
    let (ec, rsa) = (directory.path().join("access-0001.pem"), directory.path().join("id-0001.pem"));
    let problem = || Keys::open(directory.path()).unwrap_err().to_string();
    std::fs::set_permissions(&ec, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(problem().ends_with("access-0001.pem` has mode 0640, expected 0600: others than its owner may use it"));
    std::fs::set_permissions(&ec, std::fs::Permissions::from_mode(0o600)).unwrap();
    let good = std::fs::read(&ec).unwrap();
    std::fs::write(&ec, std::fs::read(&rsa).unwrap()).unwrap();
    assert!(problem().ends_with("access-0001.pem` is no PKCS#8 key on the curve P-256"));
    std::fs::write(&ec, "-----BEGIN NOTHING-----").unwrap();
    assert!(problem().ends_with("access-0001.pem` is no PEM file with a PKCS#8 `PRIVATE KEY`"));
    std::fs::write(&ec, good).unwrap();
    assert!(Keys::open(directory.path()).is_ok());
}
