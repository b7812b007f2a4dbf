//! Administration by commands, beside a running server and without one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::fs;
use std::time::{Duration, Instant};

use firebreak::grant::grants::user_digest;
use firebreak::grant::records::{Code, Consent, Details, Grant, Session, User};
use firebreak::secret::Digest;
use firebreak::store::{Access, Entry, Kind, SqliteStore, Store};
use serde_json::Value;

use crate::commands::{Site, run};

const FAR: i64 = 4_000_000_000;

fn user(sub: &str) -> User {
    User {
        iss: "https://localhost".to_owned(),
        sub: sub.to_owned(),
        display_name: sub.to_owned(),
        fhir_user: Some("Practitioner/p1".to_owned()),
        roles: Vec::new(),
        patients: Vec::new(),
    }
}

fn grant(grant_id: &str, sub: &str, client_id: &str) -> Grant {
    Grant {
        grant_id: grant_id.to_owned(),
        client_id: client_id.to_owned(),
        user: user(sub),
        scopes: vec!["patient/*.rs".to_owned(), "offline_access".to_owned()],
        patient: Some("p7".to_owned()),
        encounter: None,
        launch: None,
        auth_time: 1_795_395_723,
        granted_at: 1_795_395_723,
        online: None,
        details: Details::Unasked,
    }
}

fn put<T: serde::Serialize>(store: &SqliteStore, kind: Kind, key: &str, value: &T, owner: Option<Digest>) {
    let entry = Entry { value: serde_json::to_vec(value).unwrap(), expires: FAR, owner };
    futures(store.put(kind, Digest::of(key), entry)).unwrap();
}

fn futures<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn has(store: &SqliteStore, kind: Kind, key: &str) -> bool {
    futures(store.read(kind, Digest::of(key), 0)).unwrap().is_some()
}

/// Three grants of two users to two apps, a refresh token, and a login.
fn fill(store: &SqliteStore) {
    for (id, sub, client) in [("g1", "ada", "growth"), ("g2", "ada", "chart"), ("g3", "ben", "growth")] {
        let owner = user_digest("https://localhost", sub);
        put(store, Kind::Grant, id, &grant(id, sub, client), Some(owner));
        put(store, Kind::RefreshToken, &format!("refresh {id}"), &"", Some(Digest::of(id)));
    }
    let session = Session { user: user("ada"), auth_time: 1, expires: FAR, provider_session: None };
    put(store, Kind::Session, "login", &session, Some(user_digest("https://localhost", "ada")));
}

/// The records of administration: action, target, outcome.
fn recorded(site: &Site) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for file in fs::read_dir(site.path("state/audit")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            let lines = fs::read_to_string(file).unwrap();
            for line in lines.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                if line["kind"] == "administration" {
                    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                    assert!(text("detail").contains("(uid "), "who did it is told: {line}");
                    found.push((text("action"), text("target"), text("outcome")));
                }
            }
        }
    }
    found
}

fn told(action: &str, target: &str) -> (String, String, String) {
    (action.to_owned(), target.to_owned(), "released".to_owned())
}

#[test]
fn grants_are_listed_and_revoked_without_a_server_and_each_act_is_in_the_log() {
    let site = Site::new("0s");
    let state = site.path("state");
    let store = SqliteStore::open(&state).unwrap();
    fill(&store);
    let list = |more: &[&str]| {
        let mut arguments = vec!["grant", "list", "--config"];
        let config = site.config();
        arguments.push(&config);
        arguments.extend(more);
        let (code, out, err) = run(&arguments);
        assert_eq!(code, 0, "{err}");
        out
    };
    let table = list(&[]);
    assert_eq!(table.lines().count(), 4, "{table}");
    for part in ["GRANT", "g1", "ada", "growth", "p7", "2026-11-23T01:02:03Z", "patient/*.rs offline_access"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let json: Value = serde_json::from_str(&list(&["--json", "--user", "ben"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(
        (&json[0]["grant_id"], &json[0]["sub"], &json[0]["last_used"]),
        (&"g3".into(), &"ben".into(), &Value::Null)
    );
    assert_eq!(list(&["--client", "nobody's"]).trim(), "no grants");

    let revoke = |more: &[&str]| {
        let config = site.config();
        let mut arguments = vec!["grant", "revoke", "--config", &config];
        arguments.extend(more);
        run(&arguments)
    };
    let (code, out, err) = revoke(&["g3"]);
    assert_eq!((code, out.trim()), (0, "1 grant revoked"), "{err}");
    assert!(has(&store, Kind::RevokedGrant, "g3"));
    assert!(!has(&store, Kind::Grant, "g3") && !has(&store, Kind::RefreshToken, "refresh g3"));
    let (code, out, err) = revoke(&["--user", "ada"]);
    assert_eq!((code, out.trim()), (0, "2 grants revoked; 1 login ended"), "{err}");
    assert!(!has(&store, Kind::Session, "login"));
    let (code, _, err) = revoke(&["g3"]);
    assert_eq!(code, 1);
    assert!(err.contains("there is no live grant `g3`"), "{err}");
    assert_eq!(revoke(&[]).0, 2, "it must say which");
    assert_eq!(revoke(&["g1", "--user", "ada"]).0, 2, "one or the other");

    let recorded = recorded(&site);
    assert_eq!(recorded.iter().filter(|(action, ..)| action == "grants_listed").count(), 3);
    for id in ["g1", "g2", "g3"] {
        assert_eq!(recorded.iter().filter(|record| **record == told("grant_revoked", id)).count(), 1, "{recorded:?}");
    }
    assert!(recorded.iter().any(|(action, ..)| action == "sessions_ended"), "{recorded:?}");
}

/// A code that `growth` has not exchanged yet, and consents that are remembered for apps without a grant.
fn fill_more(store: &SqliteStore, sub: &str) {
    let (id, owner) = (format!("pending {sub}"), user_digest("https://localhost", sub));
    let code = Code { grant: grant(&id, sub, "growth"), ..Code::default() };
    put(store, Kind::Code, &format!("code {sub}"), &code, Some(Digest::of(&id)));
    for client in ["growth", "chart"] {
        let (client_id, nothing) = (client.to_owned(), Vec::new());
        let consent = Consent { client_id, granted: nothing.clone(), offered: nothing, given_at: 1 };
        put(store, Kind::Consent, &format!("{client} {sub}"), &consent, Some(owner));
    }
}

// An app that has a code and no token yet has access in a moment; one whose consent is remembered has it without asking.
#[test]
fn what_an_app_has_not_fetched_yet_and_what_is_remembered_ends_with_the_grants() {
    let site = Site::new("0s");
    let store = SqliteStore::open(&site.path("state")).unwrap();
    let config = site.config();
    let revoke = |more: &[&str]| {
        let (code, out, err) = run(&[&["grant", "revoke", "--config", &config], more].concat());
        assert_eq!(code, 0, "{err}");
        out.trim().to_owned()
    };
    for sub in ["ada", "ben", "eve"] {
        fill_more(&store, sub);
    }
    assert_eq!(revoke(&["--user", "ada", "--client", "growth"]), "1 grant revoked");
    assert!(has(&store, Kind::RevokedGrant, "pending ada") && !has(&store, Kind::Code, "code ada"));
    assert!(!has(&store, Kind::Consent, "growth ada") && has(&store, Kind::Consent, "chart ada"));
    assert_eq!(revoke(&["--user", "ben"]), "1 grant revoked; 0 logins ended");
    assert!(has(&store, Kind::RevokedGrant, "pending ben") && !has(&store, Kind::Code, "code ben"));
    assert!(!has(&store, Kind::Consent, "growth ben") && !has(&store, Kind::Consent, "chart ben"));
    assert!(has(&store, Kind::Code, "code eve") && has(&store, Kind::Consent, "growth eve"), "somebody else's");
    assert_eq!(revoke(&["--client", "growth"]), "1 grant revoked");
    assert!(!has(&store, Kind::Code, "code eve") && !has(&store, Kind::Consent, "growth eve"));
    assert!(has(&store, Kind::Consent, "chart eve") && has(&store, Kind::Consent, "chart ada"));
}

#[test]
fn a_running_server_records_what_a_command_did_within_seconds_and_once() {
    let site = Site::new("0s");
    let serving = site.serve();
    let store = SqliteStore::open_as(&site.path("state"), Access::Beside).unwrap();
    fill(&store);
    let (code, out, err) = run(&["grant", "revoke", "--config", &site.config(), "--client", "growth"]);
    assert_eq!((code, out.trim()), (0, "2 grants revoked"), "{err}");
    let begun = Instant::now();
    while recorded(&site).len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", recorded(&site));
        std::thread::sleep(Duration::from_millis(20));
    }
    serving.signal("TERM");
    assert_eq!(serving.code(), 0);
    let mut recorded = recorded(&site);
    recorded.sort();
    assert_eq!(recorded, [told("consents_forgotten", ""), told("grant_revoked", "g1"), told("grant_revoked", "g3")]);
}

#[test]
fn a_state_directory_of_two_owners_is_refused_before_anything_is_touched() {
    let site = Site::new("0s");
    fs::create_dir(site.path("state")).unwrap();
    if std::process::Command::new("chown").arg("nobody").arg(site.path("state")).output().unwrap().status.success() {
        let (code, _, err) = run(&["grant", "list", "--config", &site.config()]);
        assert_eq!(code, 1);
        assert!(err.contains("belongs to the user `nobody`; run this as that user"), "{err}");
        assert_eq!(fs::read_dir(site.path("state")).unwrap().count(), 0);
    }
}
