#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::os::unix::fs::PermissionsExt;

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
    assert_eq!(files.len(), 4, "three keys, and the lock under which they were made");
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

/// Keys at a time that the test owns, in a directory of their own.
fn rotating() -> (tempfile::TempDir, Clock, Keys) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_800_000_000);
    let keys = Keys::open_at(directory.path(), clock.clone()).unwrap();
    (directory, clock, keys)
}

const EXPECTED: (&str, &str) = ("https://gateway.example.org", "https://gateway.example.org/fhir");

fn token(keys: &Keys, clock: &Clock) -> String {
    keys.sign_access_token(&claims(clock)).unwrap()
}

fn claims(clock: &Clock) -> AccessTokenClaims {
    let text = |text: &str| text.to_owned();
    AccessTokenClaims {
        iss: text(EXPECTED.0),
        aud: text(EXPECTED.1),
        sub: text("dr.smith"),
        client_id: text("app"),
        iat: clock.unix_seconds(),
        exp: clock.unix_seconds() + 300,
        jti: text("jti"),
        gid: text("grant"),
        ..AccessTokenClaims::default()
    }
}

/// An `id_token` and an answer about a token.
fn by_the_id_key(keys: &Keys, clock: &Clock) -> [String; 2] {
    let (text, now) = (|text: &str| text.to_owned(), clock.unix_seconds());
    let id_token = IdTokenClaims {
        iss: text(EXPECTED.0),
        sub: text("dr.smith"),
        aud: text("app"),
        exp: now + 300,
        iat: now,
        auth_time: now,
        nonce: None,
        at_hash: String::new(),
        fhir_user: None,
    };
    let told = serde_json::value::RawValue::from_string(text("{}")).unwrap();
    let told = IntrospectionClaims { iss: EXPECTED.0, aud: "app", iat: now, token_introspection: &told };
    [keys.sign_id_token(&id_token).unwrap(), keys.sign_introspection(&told).unwrap()]
}

fn verifies(keys: &Keys, token: &str, clock: &Clock) -> bool {
    keys.verify_access_token(token, EXPECTED.0, EXPECTED.1, clock).is_ok()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

fn published(keys: &Keys) -> Vec<String> {
    jwks(keys).iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

// O9, E22
#[test]
fn the_next_key_is_published_before_it_signs_and_the_old_one_until_its_last_token_expired() {
    let (directory, clock, keys) = rotating();
    let elsewhere = Keys::open_at(directory.path(), clock.clone()).unwrap();
    let (first, first_kids) = (token(&keys, &clock), published(&keys));
    let rotated = rotate(directory.path(), &clock, Rotation::InTurn).unwrap();
    assert_eq!(
        (rotated.made, rotated.removed),
        (vec!["access-0002.pem".into(), "id-0002.pem".into(), "seal-0002.pem".into()], vec![])
    );
    assert!(keys.reload().unwrap());
    let sealed = keys.seal(b"here", b"text".to_vec()).unwrap();
    assert!(elsewhere.unseal(b"here", &sealed).is_some(), "by a process that has not looked yet");
    assert!(elsewhere.reload().unwrap());
    assert!(!keys.reload().unwrap(), "nothing changed since");
    assert_eq!(published(&keys).len(), 4);
    assert_eq!(published(&keys), published(&elsewhere));
    clock.advance(PUBLISHED_BEFORE - 1);
    let before = token(&keys, &clock);
    assert_eq!(kid(&before), kid(&first), "published and not used yet");
    let rs256 = by_the_id_key(&keys, &clock);
    clock.advance(1);
    let after = token(&keys, &clock);
    for (before, after) in rs256.iter().zip(by_the_id_key(&keys, &clock)) {
        assert_ne!(kid(before), kid(&after));
        assert!(first_kids.contains(&kid(before)) && !first_kids.contains(&kid(&after)));
    }
    assert_ne!(kid(&after), kid(&first));
    assert!(published(&keys).contains(&kid(&after)));
    assert!(verifies(&elsewhere, &before, &clock) && verifies(&elsewhere, &after, &clock));
    clock.advance(VERIFIES_AFTER - 1);
    assert!(!keys.reload().unwrap());
    assert!(published(&keys).contains(&kid(&first)));
    clock.advance(1);
    assert!(keys.reload().unwrap());
    assert_eq!(published(&keys).len(), 2);
    assert!(!published(&keys).contains(&kid(&first)), "retired without anybody doing anything");
    let phases: Vec<_> = keys.list().iter().map(|key| (key.file.clone(), key.phase)).collect();
    assert_eq!(phases.first().unwrap(), &("access-0001.pem".to_owned(), Phase::Retired));
    let rotated = rotate(directory.path(), &clock, Rotation::InTurn).unwrap();
    assert_eq!(rotated.removed, ["access-0001.pem", "id-0001.pem", "seal-0001.pem"]);
}

#[test]
fn a_key_that_is_retired_verifies_nothing_however_long_a_token_would_live() {
    let (directory, clock, keys) = rotating();
    let far = clock.unix_seconds() + 100_000;
    let claims = AccessTokenClaims { exp: far, ..claims(&clock) };
    let token = keys.sign_access_token(&claims).unwrap();
    let sealed = keys.seal(b"here", b"text".to_vec()).unwrap();
    assert_ne!(keys.seal(b"here", b"text".to_vec()).unwrap(), sealed, "nobody sees that two texts are one");
    rotate(directory.path(), &clock, Rotation::InTurn).unwrap();
    clock.advance(PUBLISHED_BEFORE + VERIFIES_AFTER - 1);
    keys.reload().unwrap();
    assert!(verifies(&keys, &token, &clock) && keys.unseal(b"here", &sealed).is_some());
    clock.advance(1);
    keys.reload().unwrap();
    assert!(!verifies(&keys, &token, &clock) && keys.unseal(b"here", &sealed).is_none());
}

// A clock that was put right after the keys were made.
#[test]
fn keys_that_begin_later_sign_when_there_are_no_others() {
    let (directory, clock, _) = rotating();
    let behind = Clock::fixed(clock.unix_seconds() - 5_000);
    let keys = Keys::open_at(directory.path(), behind.clone()).unwrap();
    assert!(verifies(&keys, &token(&keys, &behind), &behind));
}

#[test]
fn a_key_is_durable_before_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    // What cannot be synced: there is no key that a crash could take away.
    std::os::unix::fs::symlink("/dev/null", directory.path().join("access-0001.new")).unwrap();
    assert!(Keys::open(directory.path()).is_err());
    assert!(!directory.path().join("access-0001.pem").exists());
}

#[test]
fn a_rotation_under_way_is_not_overtaken_by_another() {
    let (directory, clock, _) = rotating();
    rotate(directory.path(), &clock, Rotation::InTurn).unwrap();
    let again = rotate(directory.path(), &clock, Rotation::InTurn).unwrap_err().to_string();
    assert_eq!(again, "a rotation is under way already: the next keys sign from 2027-01-15T08:10:00Z on");
    clock.advance(PUBLISHED_BEFORE);
    assert!(rotate(directory.path(), &clock, Rotation::InTurn).is_ok());
}

// O9
#[test]
fn compromised_keys_are_gone_at_once_and_so_is_what_they_signed() {
    let (directory, clock, keys) = rotating();
    let stolen = token(&keys, &clock);
    rotate(directory.path(), &clock, Rotation::InTurn).unwrap();
    keys.reload().unwrap();
    let generation = keys.generation();
    let rotated = rotate(directory.path(), &clock, Rotation::Compromised).unwrap();
    assert_eq!(rotated.removed.len(), 6, "those that wait to sign may be known too");
    assert_eq!(rotated.signs_from, clock.unix_seconds());
    assert!(keys.reload().unwrap());
    assert_ne!(keys.generation(), generation);
    assert!(!verifies(&keys, &stolen, &clock));
    let new = token(&keys, &clock);
    assert!(verifies(&keys, &new, &clock));
    assert_eq!(published(&keys).len(), 2);
}

#[test]
fn keys_that_do_not_load_leave_those_in_force() {
    let (directory, clock, keys) = rotating();
    let before = published(&keys);
    std::fs::write(directory.path().join("access-0002.pem"), "-----BEGIN NOTHING-----").unwrap();
    assert!(keys.reload().is_err());
    assert_eq!(published(&keys), before);
    assert!(verifies(&keys, &token(&keys, &clock), &clock));
    std::fs::remove_file(directory.path().join("access-0002.pem")).unwrap();
    assert!(!keys.reload().unwrap());
    std::fs::remove_dir_all(directory.path()).unwrap();
    assert!(keys.reload().is_err());
    assert_eq!(published(&keys), before);
}

#[test]
fn keys_are_due_when_they_have_signed_for_long_enough() {
    let (directory, clock, keys) = rotating();
    let after = Duration::from_secs(7200);
    assert!(!keys.is_due(after));
    clock.advance(7200 - PUBLISHED_BEFORE);
    assert!(keys.is_due(after));
    rotate(directory.path(), &clock, Rotation::InTurn).unwrap();
    keys.reload().unwrap();
    assert!(!keys.is_due(after), "the next ones are there");
}

#[test]
fn a_key_says_from_when_it_signs_and_without_that_its_file_does() {
    let (directory, clock, _) = rotating();
    let path = directory.path().join("access-0001.pem");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("signs from 2027-01-15T08:00:00Z\n-----BEGIN PRIVATE KEY-----\n"));
    let wrong = text.replace("2027-01-15T08:00:00Z", "tomorrow");
    std::fs::write(&path, wrong).unwrap();
    let problem = Keys::open_at(directory.path(), clock.clone()).unwrap_err().to_string();
    assert!(problem.ends_with("has `signs from` without a time such as `2026-01-31T12:00:00Z`"), "{problem}");
    let (_, bare) = text.split_once('\n').unwrap();
    let from = clock.unix_seconds() + 1_000;
    let modified = std::time::UNIX_EPOCH + Duration::from_secs(from.try_into().unwrap());
    let next = directory.path().join("access-0002.pem");
    // What comes behind the key says nothing.
    std::fs::write(&next, format!("{bare}signs from 1970-01-01T00:00:00Z\n")).unwrap();
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::File::open(&next).unwrap().set_modified(modified).unwrap();
    std::fs::write(&path, text).unwrap();
    let keys = Keys::open_at(directory.path(), clock).unwrap();
    let phases: Vec<_> = keys.list().iter().map(|key| key.phase).take(2).collect();
    assert_eq!(phases, [Phase::Signing, Phase::Next { from }]);
}

#[test]
fn a_key_file_that_others_may_read_or_that_is_no_key_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    Keys::open(directory.path()).unwrap();
    let (ec, rsa) = (directory.path().join("access-0001.pem"), directory.path().join("id-0001.pem"));
    let problem = || Keys::open(directory.path()).unwrap_err().to_string();
    std::fs::set_permissions(&ec, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(problem().ends_with("access-0001.pem` has mode 0640, expected 0600, or 0440 where another user owns it: others than its owner may use it"));
    std::fs::set_permissions(&ec, std::fs::Permissions::from_mode(0o600)).unwrap();
    let good = std::fs::read(&ec).unwrap();
    std::fs::write(&ec, std::fs::read(&rsa).unwrap()).unwrap();
    assert!(problem().ends_with("access-0001.pem` is no PKCS#8 key on the curve P-256"));
    std::fs::write(&ec, "-----BEGIN NOTHING-----").unwrap();
    assert!(problem().ends_with("access-0001.pem` is no PEM file with a PKCS#8 `PRIVATE KEY`"));
    std::fs::write(&ec, &good).unwrap();
    let seal = directory.path().join("seal-0001.pem");
    let sealing = std::fs::read(&seal).unwrap();
    for bad in
        [&good, &sealing[..sealing.len() / 2], &b"-----BEGIN SEALING KEY-----\nAAAA\n-----END SEALING KEY-----\n"[..]]
    {
        std::fs::write(&seal, bad).unwrap();
        assert!(problem().ends_with("seal-0001.pem` is no PEM file with a `SEALING KEY` of 32 bytes"));
    }
    std::fs::write(&seal, sealing).unwrap();
    std::fs::write(&ec, good).unwrap();
    assert!(Keys::open(directory.path()).is_ok());
}

// What is sealed lasts an hour: that long its key opens, on every process, whoever rotates when.
#[test]
fn what_was_sealed_opens_for_an_hour_whatever_is_rotated_meanwhile() {
    let (directory, clock, keys) = rotating();
    let elsewhere = Keys::open_at(directory.path(), clock.clone()).unwrap();
    let mut sealed = Vec::new();
    for step in 0..60 {
        if step % 12 == 3 {
            rotate(directory.path(), &clock, Rotation::InTurn).unwrap();
        }
        // Only one of the two has looked at the directory.
        if step % 3 != 0 {
            elsewhere.reload().unwrap();
        }
        keys.reload().unwrap();
        let text = format!("sealed at {}", clock.unix_seconds());
        let by = if step % 2 == 0 { &keys } else { &elsewhere };
        sealed.push((clock.unix_seconds(), text.clone(), by.seal(b"here", text.into_bytes()).unwrap()));
        for (at, text, sealed) in &sealed {
            if clock.unix_seconds() - at <= 3_600 {
                for process in [&keys, &elsewhere] {
                    assert_eq!(
                        process.unseal(b"here", sealed).as_deref(),
                        Some(text.as_bytes()),
                        "{text}, now {}",
                        clock.unix_seconds()
                    );
                }
            }
        }
        clock.advance(300);
    }
    let (_, _, first) = sealed.first().unwrap();
    assert_eq!(keys.unseal(b"here", first), None, "its key is retired");
    let (_, _, last) = sealed.last().unwrap();
    assert_eq!(keys.unseal(b"there", last), None, "for another purpose");
    rotate(directory.path(), &clock, Rotation::Compromised).unwrap();
    keys.reload().unwrap();
    assert_eq!(keys.unseal(b"here", last), None, "somebody else may have made it");
}

// Whoever mounts the keys writes none.
#[test]
fn keys_that_are_there_are_only_read() {
    let directory = tempfile::tempdir().unwrap();
    Keys::open(directory.path()).unwrap();
    std::fs::remove_file(directory.path().join("rotation.lock")).unwrap();
    Keys::open(directory.path()).unwrap();
    assert!(!directory.path().join("rotation.lock").exists());
}

#[test]
fn a_directory_without_keys_of_every_use_is_told_when_nothing_may_be_written() {
    let (directory, clock, _) = rotating();
    for name in ["access-0001.pem", "id-0001.pem", "seal-0001.pem"] {
        let (path, aside) = (directory.path().join(name), directory.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        let problem = Keys::read_at(directory.path(), clock.clone()).unwrap_err().to_string();
        assert!(problem.ends_with("holds no keys for some use"), "{problem}");
        std::fs::rename(&aside, &path).unwrap();
    }
    assert!(Keys::read_at(directory.path(), clock).is_ok());
}

#[test]
fn another_key_of_the_same_size_is_taken_up() {
    let (directory, _, keys) = rotating();
    let (other, _, _) = rotating();
    let name = "access-0001.pem";
    let size = |directory: &tempfile::TempDir| directory.path().join(name).metadata().unwrap().len();
    assert_eq!(size(&directory), size(&other));
    std::fs::rename(other.path().join(name), directory.path().join(name)).unwrap();
    assert!(keys.reload().unwrap());
}

// A file that another process removes between the listing and the reading.
#[test]
fn a_key_that_is_gone_when_it_is_read_is_not_there() {
    let (directory, clock, keys) = rotating();
    std::os::unix::fs::symlink("/nonexistent", directory.path().join("access-0002.pem")).unwrap();
    let again = Keys::open_at(directory.path(), clock).unwrap();
    assert_eq!(published(&again), published(&keys));
}

#[test]
fn of_many_that_rotate_at_once_one_does() {
    let (directory, clock, _) = rotating();
    let rotated: Vec<bool> = std::thread::scope(|scope| {
        let rotating = || rotate(directory.path(), &clock, Rotation::InTurn).is_ok();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(rotating)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(rotated.iter().filter(|rotated| **rotated).count(), 1);
    assert_eq!(Keys::open_at(directory.path(), clock).unwrap().list().len(), 6);
}

#[test]
fn whoever_rotates_waits_for_another_that_does() {
    let (directory, clock, _) = rotating();
    let rotating = std::fs::File::open(directory.path().join("rotation.lock")).unwrap();
    rotating.lock().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rotate(directory.path(), &clock, Rotation::InTurn).is_ok());
        std::thread::sleep(Duration::from_millis(300));
        assert!(!directory.path().join("access-0002.pem").exists(), "not before the other one is done");
        drop(rotating);
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn of_processes_that_start_at_once_one_makes_the_keys_and_the_others_find_them() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(1_800_000_000);
    let all: Vec<_> = std::thread::scope(|scope| {
        let open = || published(&Keys::open_at(directory.path(), clock.clone()).unwrap());
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let last = published(&Keys::open_at(directory.path(), clock.clone()).unwrap());
    assert!(all.iter().all(|one| *one == last), "{all:?}");
}

#[test]
fn a_nonce_is_good_for_five_minutes_on_every_process_and_nothing_else_is_one() {
    use crate::jose::dpop::{AHEAD, Nonces as _};
    let (directory, clock, keys) = rotating();
    let nonce = keys.nonce().unwrap();
    assert_ne!(keys.nonce().unwrap(), nonce);
    let behind = |seconds: i64| {
        let clock = Clock::fixed(clock.unix_seconds() - seconds);
        Keys::open_at(directory.path(), clock).unwrap()
    };
    assert!(keys.is_good(&nonce) && behind(AHEAD).is_good(&nonce));
    assert!(!behind(AHEAD + 1).is_good(&nonce), "it was not given yet");
    let sealed = keys.seal(b"something else", clock.unix_seconds().to_be_bytes().to_vec()).unwrap();
    let another = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, sealed);
    let (shorter, _) = nonce.split_at(nonce.len() - 4);
    for none in ["", "nonce", shorter, &another] {
        assert!(!keys.is_good(none), "{none}");
    }
    clock.advance(300);
    assert!(keys.is_good(&nonce));
    clock.advance(1);
    assert!(!keys.is_good(&nonce));
}
