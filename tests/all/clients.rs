//! `firebreak client`, beside a running server and without one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::fs;

use firebreak::clients::{Clients, registry};
use firebreak::config::{Dpop, SecretSent};
use firebreak::grant::grants::user_digest;
use firebreak::grant::records::{Consent, Grant, User};
use firebreak::secret::Digest;
use firebreak::store::{Access, Entry, Kind, SqliteStore, Store};
use serde_json::Value;

use crate::commands::{Site, run};

const FAR: i64 = 4_000_000_000;

/// A site with the client `filed` in its configuration file.
fn site(more: &str) -> Site {
    let site = Site::new("0s");
    let filed = "[[client]]\nclient_id = \"filed\"\nredirect_uris = [\"https://filed.example.org/cb\"]\n";
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{text}{more}\n{filed}")).unwrap();
    site
}

fn client(site: &Site, command: &str, more: &[&str]) -> (i32, String, String) {
    let config = site.config();
    let mut arguments = vec!["client", command, "--config", &config];
    arguments.extend(more);
    run(&arguments)
}

fn done(site: &Site, command: &str, more: &[&str]) -> String {
    let (code, out, err) = client(site, command, more);
    assert_eq!(code, 0, "{command}: {err}");
    out
}

fn json(site: &Site, command: &str, more: &[&str]) -> Value {
    serde_json::from_str(&done(site, command, &[more, &["--json"]].concat())).unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn store(site: &Site) -> SqliteStore {
    SqliteStore::open_as(&site.path("state"), Access::Beside).unwrap()
}

const APP: [&str; 6] =
    ["--name", "Growth chart", "--redirect-uri", "https://growth.example.org/cb", "--scope", "openid patient/*.rs"];

// RFC 9700 section 4.15: both are subjects of tokens
#[test]
fn no_client_is_called_like_a_user() {
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI";
    let site = site(&format!("[[user]]\nusername = \"ada\"\npassword_hash = \"{hash}\"\n"));
    let (code, _, err) = client(&site, "add", &[&APP[..], &["--public", "--id", "ada"]].concat());
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("`ada` is the name of a user"), "{err}");
}

// R1, R4
#[test]
fn clients_of_every_kind_are_added_listed_and_shown() {
    let site = site("");
    let public = done(&site, "add", &[&APP[..], &["--public", "--id", "growth"]].concat());
    assert_eq!(public.trim(), "client_id     = growth");
    let confidential = json(&site, "add", &[&APP[..], &["--secret"]].concat());
    let (id, secret) = (confidential["client_id"].as_str().unwrap(), confidential["client_secret"].as_str().unwrap());
    assert_eq!((id.len(), secret.len()), (32, 43));
    let strict = [
        "--secret",
        "--id",
        "strict",
        "--auth-method",
        "client_secret_post",
        "--dpop-bound-access-tokens",
        "--require-pushed-authorization-requests",
    ];
    let strict = json(&site, "add", &[&APP[..], &strict].concat());
    assert_eq!(
        (&strict["dpop_bound_access_tokens"], &strict["require_pushed_authorization_requests"]),
        (&true.into(), &true.into())
    );
    let jwks = site.path("jwks.json");
    let bad = r#"{"keys":[{"kty":"EC","kid":"a","crv":"P-384","d":"x","x":"x","y":"x"}]}"#;
    fs::write(&jwks, bad).unwrap();
    let with_key = [&APP[..], &["--jwks", jwks.to_str().unwrap(), "--id", "keyed"]].concat();
    let (code, _, err) = client(&site, "add", &with_key);
    assert_eq!(code, 2);
    assert!(err.contains("public keys alone"), "{err}");
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let (x, y) = pair.public_key_raw()[1..].split_at(48);
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
    let key = serde_json::json!({"kty": "EC", "kid": "a", "crv": "P-384", "x": encode(x), "y": encode(y)});
    fs::write(&jwks, serde_json::json!({ "keys": [key] }).to_string()).unwrap();
    done(&site, "add", &with_key);

    let told = done(&site, "add", &[&APP[..], &["--secret", "--id", "told", "--approved"]].concat());
    let secret_told = told.split("client_secret = ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(secret_told.len() == 43 && told.contains("(shown this once)"), "{told}");
    let backend = [
        "--name",
        "Registry",
        "--scope",
        "system/*.rs",
        "--jwks",
        jwks.to_str().unwrap(),
        "--id",
        "registry",
        "--grant-type",
        "client_credentials",
        "--role",
        "backend",
    ];
    done(&site, "add", &backend);
    let launched =
        [&APP[..], &["--public", "--id", "launched", "--launch-url", "https://growth.example.org/launch"]].concat();
    done(&site, "add", &launched);
    let (shown, registry) = (json(&site, "show", &["told"]), json(&site, "show", &["registry"]));
    assert_eq!((&shown["approved"], &json(&site, "show", &["growth"])["approved"]), (&true.into(), &false.into()));
    assert_eq!(shown["grant_types"], serde_json::json!(["authorization_code", "refresh_token"]));
    assert_eq!(registry["roles"], serde_json::json!(["backend"]));
    assert_eq!(registry["grant_types"], serde_json::json!(["client_credentials"]));
    assert_eq!(json(&site, "show", &["launched"])["initiate_login_uri"], "https://growth.example.org/launch");
    for id in ["told", "registry", "launched"] {
        done(&site, "remove", &[id]);
    }

    let list = json(&site, "list", &[]);
    let column =
        |name: &str| list.as_array().unwrap().iter().map(|row| row[name].as_str().unwrap()).collect::<Vec<_>>();
    let mut methods = column("token_endpoint_auth_method");
    methods.sort_unstable();
    assert_eq!(
        methods,
        ["client_secret_basic or client_secret_post", "client_secret_post", "none", "none", "private_key_jwt"]
    );
    assert!(column("state").iter().all(|state| *state == "active"));
    assert_eq!(column("registered_by")[0], "the configuration file");
    let table = done(&site, "list", &[]);
    for part in ["CLIENT", "growth", "Growth chart", "filed", "an administrator", id] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let shown = done(&site, "show", &[id]);
    assert!(shown.contains("require_pushed_authorization_requests  "), "{shown}");
    assert!(shown.contains("https://growth.example.org/cb") && !shown.contains(secret), "{shown}");
    assert_eq!(json(&site, "show", &["growth"])["scope"], "openid patient/*.rs");
    assert_eq!(json(&site, "show", &["filed"])["registered_by"], "the configuration file");
    // What the commands wrote is what a server reads.
    let clients = Clients::default();
    wait(clients.refresh(&store(&site), 1)).unwrap();
    let strict = clients.find("strict").unwrap();
    assert_eq!((strict.config.secret_sent, strict.config.dpop), (SecretSent::Post, Dpop::Required));
    assert!(strict.config.require_pushed_authorization_requests);
    assert_eq!(clients.find(id).unwrap().config.secret_sent, SecretSent::Either, "nobody said");
    assert!(clients.is_registered("growth") && clients.is_registered(id) && clients.is_registered("keyed"));
}

#[test]
fn what_cannot_be_added_is_refused_with_what_was_expected() {
    let site = site("");
    let refused = |more: &[&str]| {
        let (code, out, err) = client(&site, "add", more);
        assert_eq!((code != 0, out.as_str()), (true, ""), "{more:?}");
        err
    };
    let with = |from: &str, to: &'static str| {
        let mut all: Vec<&str> = APP.iter().map(|part| if *part == from { to } else { part }).collect();
        all.push("--public");
        all
    };
    assert!(refused(&APP).contains("--public"), "it must say how it authenticates");
    assert!(refused(&[&APP[..], &["--public", "--secret"]].concat()).contains("cannot be used with"));
    let no_secret = [&APP[..], &["--public", "--auth-method", "client_secret_post"]].concat();
    assert!(refused(&no_secret).contains("cannot be used with"), "it says where a secret is sent");
    let uri = refused(&with("https://growth.example.org/cb", "http://growth.example.org/cb"));
    assert!(uri.contains("redirect URI `http://growth.example.org/cb` must be https"), "{uri}");
    let scope = refused(&with("openid patient/*.rs", "openid patient/Observation.dus"));
    assert!(scope.contains("scope `patient/Observation.dus` is not known"), "{scope}");
    let all = [
        &with("openid patient/*.rs", "patient/Observaton.rs bogus")[..],
        &["--id", "a:b", "--redirect-uri", "ftp://x"],
    ];
    let all = refused(&all.concat());
    for expected in ["`a:b`", "`ftp://x`", "did you mean `patient/Observation.rs`?", "scope `bogus` is not known"] {
        assert!(all.contains(expected), "lacks `{expected}`: {all}");
    }
    let all = [
        &with("openid patient/*.rs", "openid bogus")[..],
        &["--redirect-uri", "ftp://x", "--launch-url", "ftp://y", "--grant-type", "password"],
    ];
    let all = refused(&all.concat());
    for expected in
        ["`ftp://x`", "scope `bogus` is not known", "grant_types is expected", "initiate_login_uri is expected"]
    {
        assert!(all.contains(expected), "lacks `{expected}`: {all}");
    }
    assert_eq!(all.matches("firebreak: ").count(), 4, "each once: {all}");
    let text = fs::read_to_string(site.config()).unwrap();
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    fs::write(site.config(), format!("{text}\n[[user]]\nusername = \"bob\"\npassword_hash = \"{hash}\"\n")).unwrap();
    for (id, expected) in
        [("a:b", "must be at most 200"), ("filed", "is in the configuration file"), ("bob", "is the name of a user")]
    {
        let err = refused(&[&APP[..], &["--public", "--id", id]].concat());
        assert!(err.contains(expected), "{err}");
    }
    done(&site, "add", &[&APP[..], &["--public", "--id", "taken"]].concat());
    assert!(refused(&[&APP[..], &["--public", "--id", "taken"]].concat()).contains("already"));
    for command in ["show", "disable", "remove"] {
        let (code, _, err) = client(&site, command, &["nobody"]);
        assert_eq!(code, 1);
        assert!(err.contains("there is no client `nobody`; `firebreak client list` names them"), "{err}");
    }
}

#[test]
fn what_is_wrong_with_a_jwk_set_file_is_told_beside_the_rest() {
    let site = site("");
    let file = site.path("jwks.json");
    fs::write(&file, "no JSON").unwrap();
    for (file, expected) in
        [(file.to_str().unwrap(), "must be a JWK Set: {\"keys\": [...]}"), ("/no/such/file", "cannot be read")]
    {
        let rest = ["--jwks", file, "--redirect-uri", "ftp://x"];
        let (code, _, err) = client(&site, "add", &[&APP[..], &rest].concat());
        assert_eq!(code, 2);
        assert!(
            err.contains(&format!("`{file}` {expected}")) && err.contains("redirect URI `ftp://x` must be"),
            "{err}"
        );
        assert_eq!(err.matches("firebreak: ").count(), 2, "{err}");
    }
}

// All at once: what is wrong once the scopes are as they were meant is told with them.
#[test]
fn what_a_scope_was_meant_to_be_is_held_against_the_rest() {
    let site = site("");
    let add = |scope: &'static str, more: &[&'static str]| {
        let (code, _, err) = client(&site, "add", &[&["--name", "X", "--scope", scope][..], more].concat());
        assert_eq!(code, 2, "{scope}: {err}");
        err.lines().filter(|line| line.starts_with("firebreak: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let backend = ["--jwks-uri", "https://x.example/jwks", "--grant-type", "client_credentials"];
    let told = add("patient/*.sr", &backend);
    assert!(told.len() == 2 && told[1].contains("grant_types is expected"), "it has no system/ scope: {told:?}");
    assert_eq!(add("systm/*.rs", &backend).len(), 1, "it was meant to have one");
    assert_eq!(add("bogus", &backend).len(), 1, "nobody knows what was meant");
    let app = ["--public", "--redirect-uri", "https://x.example/cb"];
    let told = add("system/*.sr", &app);
    assert!(told.len() == 2 && told[1].contains("of which at least one may be registered here"), "{told:?}");
    assert_eq!(add("openid patient/Observaton.rs", &app).len(), 1);
}

#[test]
fn the_tables_say_what_is_so() {
    let site = site(
        "[registration]\n[[client]]\nclient_id = \"posts\"\nredirect_uris = [\"https://p.example/cb\"]\ndpop = \"required\"\napproved = true\n\
        token_endpoint_auth_method = \"client_secret_post\"\nclient_secret_sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
        [[client]]\nclient_id = \"keyed\"\njwks_uri = \"https://k.example/jwks\"\nredirect_uris = []\n",
    );
    let shown = json(&site, "show", &["posts"]);
    assert_eq!(shown["redirect_uris"], serde_json::json!(["https://p.example/cb"]));
    assert_eq!((&shown["dpop_bound_access_tokens"], &shown["approved"]), (&true.into(), &true.into()));
    assert_eq!(shown["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(json(&site, "show", &["keyed"])["token_endpoint_auth_method"], "private_key_jwt");
    assert_eq!(json(&site, "show", &["filed"])["dpop_bound_access_tokens"], false);
    done(&site, "add", &[&APP[..], &["--public", "--id", "growth"]].concat());
    let table = done(&site, "list", &[]);
    let row = table.lines().find(|line| line.starts_with("growth ")).unwrap();
    assert!(row.ends_with('Z') && row.contains(" an administrator "), "since when: {row}");
    assert_eq!(json(&site, "show", &["growth"])["forgotten_unless_used_before"], Value::Null, "never");
    let (kept, key) = (store(&site), Digest::of("growth"));
    let entry = wait(kept.read(Kind::Client, key, 1)).unwrap().unwrap();
    wait(kept.put(Kind::Client, key, Entry { expires: FAR, ..entry })).unwrap();
    assert_eq!(json(&site, "show", &["growth"])["forgotten_unless_used_before"], "2096-10-02T07:06:40Z");
    // One that is registered in the file too is not served from the store.
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{text}\n[[client]]\nclient_id = \"growth\"\nredirect_uris = []\n")).unwrap();
    let states = json(&site, "list", &[]);
    let states: Vec<_> = states.as_array().unwrap().iter().filter(|row| row["client_id"] == "growth").collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(states.iter().any(|row| row["state"] == "not served: the configuration file has this id"), "{states:?}");
    let bare = Site::new("0s");
    assert_eq!(done(&bare, "list", &[]).trim(), "no clients");
    let token = done(&site, "token", &["--name", "the lab", "--expires", "1h"]);
    assert!(token.trim_end().ends_with('Z') && token.contains(" until 2"), "until when: {token}");
    let (code, _, err) = client(&site, "token", &["--name", "a\u{202e}b"]);
    assert_eq!(code, 2, "{err}");
    let made = json(&site, "token", &["--name", "bulk", "--scope", "system/*.rs", "--role", "backend"]);
    let found = wait(firebreak::clients::initial_access_token::find(
        &store(&site),
        made["initial_access_token"].as_str().unwrap(),
        1,
    ));
    let found = found.unwrap().unwrap();
    assert_eq!(
        (found.token.roles.as_slice(), found.token.allowed_scope.as_str()),
        (&["backend".to_owned()][..], "system/*.rs")
    );
}

// B1 1
#[test]
fn a_client_is_disabled_enabled_and_removed_with_what_it_was_given() {
    let site = site("");
    done(&site, "add", &[&APP[..], &["--public", "--id", "growth"]].concat());
    for id in ["growth", "filed"] {
        assert!(done(&site, "disable", &[id]).contains("is disabled"), "{id}");
        assert!(done(&site, "disable", &[id]).contains("already"), "{id}");
        assert_eq!(json(&site, "show", &[id])["state"], "disabled", "{id}");
        assert!(done(&site, "enable", &[id]).contains("is enabled"), "{id}");
        assert!(done(&site, "enable", &[id]).contains("was not disabled"), "{id}");
    }
    let store = store(&site);
    let owner = Some(user_digest("https://localhost", "ada"));
    let user = User { iss: "https://localhost".to_owned(), sub: "ada".to_owned(), ..User::default() };
    for (id, client_id) in [("g1", "growth"), ("g2", "filed")] {
        let grant =
            Grant { grant_id: id.to_owned(), client_id: client_id.to_owned(), user: user.clone(), ..Grant::default() };
        let entry = |value: Vec<u8>| Entry { value, expires: FAR, owner };
        wait(store.put(Kind::Grant, Digest::of(id), entry(serde_json::to_vec(&grant).unwrap()))).unwrap();
        let consent =
            Consent { client_id: client_id.to_owned(), granted: Vec::new(), offered: Vec::new(), given_at: 1 };
        wait(store.put(Kind::Consent, Digest::of(id), entry(serde_json::to_vec(&consent).unwrap()))).unwrap();
    }
    let (code, _, err) = client(&site, "remove", &["filed"]);
    assert_eq!(code, 1);
    assert!(err.contains("remove it there"), "{err}");
    assert_eq!(done(&site, "remove", &["growth"]).trim(), "client `growth` is removed; 1 grant ended");
    let is_there = |kind, id: &str| wait(store.read(kind, Digest::of(id), 1)).unwrap().is_some();
    assert!(!is_there(Kind::Grant, "g1") && !is_there(Kind::Consent, "g1") && is_there(Kind::RevokedGrant, "g1"));
    assert!(is_there(Kind::Grant, "g2") && is_there(Kind::Consent, "g2"));
    assert!(wait(registry::find(&store, "growth", 1)).unwrap().is_none());
    let records = crate::world::audit_lines(&site.path("state/audit"));
    for (action, times) in [
        ("client_added", 1),
        ("client_disabled", 4),
        ("client_enabled", 4),
        ("client_removed", 1),
        ("clients_listed", 2),
    ] {
        let told = records.iter().filter(|line| line.contains(&format!("\"action\":\"{action}\""))).collect::<Vec<_>>();
        assert_eq!(told.len(), times, "{action}: {told:?}");
        assert!(action == "clients_listed" || told.iter().all(|line| line.contains("\"client_id\":\"")), "{told:?}");
    }
}

// R6
#[test]
fn a_token_is_made_where_one_can_be_used() {
    let closed = site("");
    let (code, _, err) = client(&closed, "token", &["--name", "the lab"]);
    assert_eq!(code, 2);
    assert!(err.contains("add the section [registration]"), "{err}");
    let site = site("[registration]\n");
    let made =
        json(&site, "token", &["--name", "the lab", "--uses", "2", "--expires", "7d", "--scope", "patient/*.rs"]);
    assert_eq!((&made["name"], &made["uses"], &made["scope"]), (&"the lab".into(), &2.into(), &"patient/*.rs".into()));
    assert!(made["registration_endpoint"].as_str().unwrap().ends_with("/register"));
    let token = made["initial_access_token"].as_str().unwrap();
    let store = store(&site);
    let found = wait(firebreak::clients::initial_access_token::find(&store, token, 1)).unwrap().unwrap();
    assert_eq!(found.token.name, "the lab");
    let spent = [1, 2, 3].map(|_| wait(found.spend(&store, 1)).unwrap());
    assert_eq!(spent, [true, true, false], "as often as it was made for");
    let records = crate::world::audit_lines(&site.path("state/audit"));
    let told = records.iter().find(|line| line.contains("\"action\":\"initial_access_token_made\"")).unwrap();
    assert!(told.contains("\"target\":\"the lab\"") && !told.contains(token), "{told}");
    done(&site, "token", &["--name", "for a leap year", "--expires", "366d"]);
    let shown = done(&site, "token", &["--name", "the lab"]);
    assert!(shown.contains("registers 1 client at https://localhost"), "{shown}");
    for bad in
        [["--uses", "0"], ["--uses", "1001"], ["--expires", "10s"], ["--expires", "367d"], ["--scope", "nonsense"]]
    {
        let (code, _, err) = client(&site, "token", &[&["--name", "x"][..], &bad].concat());
        assert_eq!(code, 2, "{bad:?}: {err}");
    }
}

#[test]
fn a_running_server_hears_of_it_and_records_it() {
    let site = site("");
    let serving = site.serve();
    done(&site, "add", &[&APP[..], &["--public", "--id", "growth"]].concat());
    done(&site, "disable", &["growth"]);
    let begun = std::time::Instant::now();
    let recorded = |site: &Site| -> String {
        let files = fs::read_dir(site.path("state/audit")).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        logs.map(|log| fs::read_to_string(log).unwrap()).collect()
    };
    let told = |log: &str| log.contains("client_added") && log.contains("client_disabled");
    while !told(&recorded(&site)) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    serving.signal("TERM");
    assert_eq!(serving.code(), 0);
}
