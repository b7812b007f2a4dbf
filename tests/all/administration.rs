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
                    let me = format!("(uid {}", rustix::process::getuid().as_raw());
                    assert!(
                        text("detail").contains(&me) && !text("detail").contains("of ``"),
                        "who, and where: {line}"
                    );
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
    put(&store, Kind::GrantUse, "g1", &1_795_400_000_i64, None);
    let table = list(&[]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert_eq!(table.matches("2026-11-23T02:13:20Z").count(), 1, "when it was used: {table}");
    assert!(table.lines().skip(1).all(|row| row.contains("2026-11-23T01:02:03Z")), "since when: {table}");
    for part in ["GRANT", "g1", "ada", "growth", "p7", "2026-11-23T01:02:03Z", "patient/*.rs offline_access"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let json: Value = serde_json::from_str(&list(&["--json", "--user", "ben"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(
        (&json[0]["grant_id"], &json[0]["sub"], &json[0]["last_used"]),
        (&"g3".into(), &"ben".into(), &Value::Null)
    );
    let used: Value = serde_json::from_str(&list(&["--json", "--client", "growth", "--user", "ada"])).unwrap();
    assert_eq!(used[0]["last_used"], "2026-11-23T02:13:20Z");
    let members: Vec<_> =
        ["iss", "fhirUser", "patient", "scope", "since", "expires"].map(|name| json[0][name].as_str()).into();
    let expected = [
        "https://localhost",
        "Practitioner/p1",
        "p7",
        "patient/*.rs offline_access",
        "2026-11-23T01:02:03Z",
        "2096-10-02T07:06:40Z",
    ];
    assert_eq!(members, expected.map(Some));
    assert_eq!(list(&["--client", "nobody's"]).trim(), "no grants");
    assert_eq!(list(&["--user", "ben", "--issuer", "https://elsewhere.example"]).trim(), "no grants");
    assert_eq!(list(&["--user", "ben", "--issuer", "https://localhost"]).lines().count(), 2);

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
    assert_eq!(recorded.iter().filter(|(action, ..)| action == "grants_listed").count(), 6);
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
    for sub in ["ada", "ben", "eve", "zoe\u{1b}[2J"] {
        fill_more(&store, sub);
    }
    assert_eq!(revoke(&["pending zoe\u{1b}[2J"]), "1 grant revoked");
    assert!(
        !has(&store, Kind::Consent, "growth zoe\u{1b}[2J") && has(&store, Kind::Consent, "chart zoe\u{1b}[2J"),
        "to this app"
    );
    put(
        &store,
        Kind::Grant,
        "odd",
        &grant("odd", "zoe\u{1b}[2J", "growth"),
        Some(user_digest("https://localhost", "zoe\u{1b}[2J")),
    );
    let (_, table, _) = run(&["grant", "list", "--config", &config]);
    assert!(table.contains("zoe\u{fffd}[2J") && !table.contains('\u{1b}'), "it does not steer the terminal: {table}");
    assert_eq!(revoke(&["odd"]), "1 grant revoked");
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

// A user of a provider has their subject there, which may be the name of somebody else here.
#[test]
fn the_logins_of_a_user_without_a_grant_end_at_the_issuer_that_is_named_and_else_at_our_own() {
    let site = Site::new("0s");
    let store = SqliteStore::open(&site.path("state")).unwrap();
    let text = fs::read_to_string(site.config()).unwrap();
    let origin = text.split("origin = \"").nth(1).unwrap().split('"').next().unwrap();
    let (here, there) = (user_digest(origin, "eve"), user_digest("https://idp.example", "eve"));
    for (login, owner) in [("here", here), ("there", there)] {
        put(&store, Kind::Session, login, &"", Some(owner));
        put(&store, Kind::Consent, login, &"", Some(owner));
    }
    let is_left = |name: &str| [Kind::Session, Kind::Consent].map(|kind| has(&store, kind, name));
    let revoke = |more: &[&str]| {
        let (code, out, err) = run(&[&["grant", "revoke", "--config", &site.config(), "--user", "eve"], more].concat());
        assert_eq!((code, out.trim()), (0, "0 grants revoked; 1 login ended"), "{err}");
    };
    revoke(&["--issuer", "https://idp.example"]);
    assert_eq!((is_left("there"), is_left("here")), ([false; 2], [true; 2]));
    revoke(&[]);
    assert_eq!(is_left("here"), [false; 2]);
}

// An app that comes back while the consents are forgotten was asked nobody: what it got is revoked with the rest.
#[test]
fn what_an_app_gets_while_its_user_takes_everything_back_is_revoked_too() {
    let site = Site::new("0s");
    let store = SqliteStore::open(&site.path("state")).unwrap();
    fill_more(&store, "ada");
    let owner = user_digest("https://localhost", "ada");
    // Until the consent is gone the grant is none.
    put(&store, Kind::LogoutTokenId, "late", &grant("late", "ada", "growth"), Some(owner));
    let (none, there, consent) = (Kind::LogoutTokenId as i64, Kind::Grant as i64, Kind::Consent as i64);
    let database = rusqlite::Connection::open(site.path("state/firebreak.db")).unwrap();
    let meanwhile = format!("UPDATE entry SET kind = {there} WHERE kind = {none}");
    database
        .execute_batch(&format!(
            "CREATE TRIGGER meanwhile AFTER DELETE ON entry WHEN OLD.kind = {consent} BEGIN {meanwhile}; END"
        ))
        .unwrap();
    let (code, out, err) = run(&["grant", "revoke", "--config", &site.config(), "--user", "ada", "--client", "growth"]);
    assert_eq!((code, out.trim()), (0, "2 grants revoked"), "{err}");
    assert!(has(&store, Kind::RevokedGrant, "late") && !has(&store, Kind::Grant, "late"));
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

/// What is done to the audit log in the meantime is told, and so is an act that failed.
#[test]
fn an_act_that_is_not_recorded_yet_is_told_and_waits() {
    let site = Site::new("0s");
    let store = SqliteStore::open(&site.path("state")).unwrap();
    fill(&store);
    fs::write(site.path("state/audit"), "a file").unwrap();
    let (code, out, err) = run(&["grant", "revoke", "--config", &site.config(), "g3"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(
        err.contains("done, and not recorded yet: ")
            && err.contains("it is recorded when the audit log can be written"),
        "{err}"
    );
    assert!(has(&store, Kind::RevokedGrant, "g3"));
    fs::remove_file(site.path("state/audit")).unwrap();
    let (code, _, err) = run(&["grant", "list", "--config", &site.config()]);
    assert_eq!(code, 0, "{err}");
    assert!(
        recorded(&site).contains(&told("grant_revoked", "g3")),
        "the next command records it: {:?}",
        recorded(&site)
    );
}

#[test]
fn an_act_that_cannot_be_recorded_for_another_in_the_store_is_told_and_waits() {
    let site = Site::new("0s");
    let store = SqliteStore::open(&site.path("state")).unwrap();
    fill(&store);
    put(&store, Kind::AdministrationEvent, "damaged", &"no act", None);
    let (code, out, err) = run(&["grant", "revoke", "--config", &site.config(), "g3"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let expected = "done, and not recorded yet: an act of administration in the store cannot be read: ";
    assert!(err.contains(expected) && err.contains("; it is recorded later"), "{err}");
    assert!(has(&store, Kind::RevokedGrant, "g3"));
    futures(store.remove(Kind::AdministrationEvent, Digest::of("damaged"))).unwrap();
    assert_eq!(run(&["grant", "list", "--config", &site.config()]).0, 0);
    assert!(recorded(&site).contains(&told("grant_revoked", "g3")), "{:?}", recorded(&site));
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
        // Nor is an audit log of somebody else touched.
        site.edit("[fhir]", "[audit]\ndirectory = \"state\"\n[state]\ndirectory = \"own\"\n[fhir]");
        let (code, _, err) = run(&["grant", "list", "--config", &site.config()]);
        assert!(code == 1 && err.contains("belongs to the user `nobody`") && !site.path("own").exists(), "{err}");
    }
}
