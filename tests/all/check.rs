//! `firebreak check`: what it says of each thing, where it is so and where it is not.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use firebreak::clock::Clock;
use firebreak::command::certificates;
use firebreak::keys::Keys;

use crate::commands::{Site, free, run};

const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Exit code, and all that is said of `name`.
fn check(site: &Site, name: &str) -> (i32, String) {
    let (code, told, _) = run(&["check", "--config", &site.config()]);
    let found: Vec<&str> =
        told.lines().filter(|line| line.get(8..).is_some_and(|rest| rest.starts_with(name))).collect();
    assert_eq!(found.len(), 1, "{name}: {told}");
    (code, found.concat())
}

fn add(site: &Site, sections: &str) {
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{text}\n{sections}\n")).unwrap();
}

#[test]
fn it_counts_clients_and_users_and_says_who_is_nobody_and_whose_keys_cannot_be_used() {
    let site = Site::new("0s");
    add(
        &site,
        &format!(
            "[[client]]\nclient_id = \"app\"\nredirect_uris = []\n[[user]]\nusername = \"ada\"\npassword_hash = \"{HASH}\""
        ),
    );
    let (code, told) = check(&site, "clients");
    let expected = "ok      clients: 1 registered, 1 built-in users; `ada` has no `fhir_user`, so `user/` scopes give this user nothing";
    assert_eq!((code, told.as_str()), (0, expected));
    site.edit("username = \"ada\"", "username = \"ada\"\nfhir_user = \"Practitioner/ada\"");
    assert_eq!(check(&site, "clients").1, "ok      clients: 1 registered, 1 built-in users");
    fs::write(site.path("keys.json"), "{\"keys\": []}").unwrap();
    add(&site, "[[client]]\nclient_id = \"keyed\"\njwks_file = \"keys.json\"\nredirect_uris = []");
    let (code, told) = check(&site, "clients");
    let expected =
        "FAILED  clients: the JWK Sets of these clients cannot be used: `keyed`; give keys of RS384 or ES384";
    assert_eq!((code, told.as_str()), (1, expected));
}

#[test]
fn it_says_which_version_the_server_speaks_and_that_a_server_that_offers_no_search_was_not_probed() {
    let site = Site::new("0s");
    let (code, told) = check(&site, "upstream");
    assert!(code == 0 && told.ends_with("/fhir speaks FHIR 4.0.1"), "{told}");
    let (code, told) = check(&site, "searches");
    assert!(code == 0 && told.ends_with(" is offered by the server, so none was probed"), "{told}");
}

#[test]
fn it_looks_at_the_keys_that_are_there_and_makes_none() {
    let site = Site::new("0s");
    let (keys, told) = (site.path("state/keys"), || check(&site, "keys"));
    let shown = keys.display().to_string();
    assert_eq!(told(), (0, format!("ok      keys: the first ones will be made in {shown}")));
    Keys::open(&keys).unwrap();
    assert_eq!(told(), (0, format!("ok      keys: 3 in {shown}")));
    fs::remove_file(keys.join("seal-0001.pem")).unwrap();
    assert_eq!(told(), (0, format!("ok      keys: 2 in {shown}")));
    fs::set_permissions(keys.join("id-0001.pem"), Permissions::from_mode(0o644)).unwrap();
    let (code, refused) = told();
    assert!(
        code == 1 && refused.starts_with("FAILED  keys: `") && refused.contains("id-0001.pem` has mode 0644"),
        "{refused}"
    );
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 3, "two keys and a lock");
}

#[test]
fn it_says_when_the_certificate_and_the_revocation_list_end() {
    let site = Site::new("0s");
    let ends = |before: i64| {
        let clock = Clock::fixed(Clock::system().unix_seconds() - before * 86_400);
        let made = certificates::make(&["localhost".to_owned()], &clock).unwrap();
        fs::write(site.path("tls/tls.crt"), made.chain).unwrap();
        fs::write(site.path("tls/tls.key"), made.key.expose()).unwrap();
        check(&site, "certificate").1
    };
    let (long, soon) = (ends(0), ends(780));
    assert!(long.ends_with("ends in 799 days"), "{long}");
    assert!(soon.ends_with("tls.crt ends in 19 days; renew it soon"), "{soon}");
    site.edit("[tls]\n", "[tls]\nclient_certificates = \"optional\"\ncrl = true\n");
    let pki = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs");
    fs::copy(pki.join("ca.crt"), site.path("tls/ca.crt")).unwrap();
    let lists = ["root.pem", "intermediate.pem"].map(|name| fs::read_to_string(pki.join("crl").join(name)).unwrap());
    fs::write(site.path("tls/crl.pem"), lists.concat()).unwrap();
    let told = check(&site, "certificate").1;
    assert!(told.contains("; crl.pem must be replaced within ") && told.ends_with(" hours"), "{told}");
    site.edit("[tls]\nclient_certificates = \"optional\"\ncrl = true\ndirectory = \"tls\"\n", "");
    site.edit("[server]\n", "[server]\ndanger_plain_http = true\n");
    assert_eq!(check(&site, "certificate").1, "ok      certificate: none: plain HTTP, as `danger_plain_http` says");
}

#[test]
fn it_says_whose_role_no_policy_speaks_of_and_how_many_mistakes_there_are() {
    let site = Site::new("0s");
    fs::write(site.path("keys.json"), "{\"keys\": []}").unwrap();
    add(
        &site,
        "[[client]]\nclient_id = \"bulk\"\njwks_file = \"keys.json\"\ngrant_types = [\"client_credentials\"]\nscope = \"system/*.rs\"\n\
         roles = [\"bulk\", \"backend\"]\n\
         [[client]]\nclient_id = \"ehr\"\njwks_file = \"keys.json\"\n[client.ehr]\nroles = [\"nurse\"]\n\
         [[provider]]\nid = \"p\"\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"c\"\nroles = [\"nurse\"]",
    );
    let (_, told) = check(&site, "policies");
    assert_eq!(
        told,
        "ok      policies: shipped; no policy speaks of the role `bulk` of client `bulk`; no policy speaks of the role `nurse` of \
         provider `p`, [client.ehr] of `ehr`"
    );
    fs::create_dir(site.path("policies")).unwrap();
    add(&site, "[policies]\ndirectory = \"policies\"");
    fs::write(site.path("policies/own.cedar"), "permit (principal, action, resource\n").unwrap();
    assert!(check(&site, "policies").1.starts_with("FAILED  policies: 1 mistake"));
    fs::write(site.path("policies/other.cedar"), "forbid (\n").unwrap();
    assert!(check(&site, "policies").1.starts_with("FAILED  policies: 2 mistakes"));
    let (code, told, _) = run(&["check", "--config", &site.config()]);
    assert_eq!(code, 1);
    assert!(told.contains("policies: 2 mistakes\n        policy file "), "indented below it: {told}");
}

/// A provider whose discovery document has `more`; without keys when it is `keyless`. Gives its issuer.
fn provider(more: &'static str, keyless: bool) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let own = issuer.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or_default();
            let asked = String::from_utf8_lossy(head.get(..read).unwrap()).into_owned();
            let body = if asked.starts_with("GET /.well-known/openid-configuration") {
                format!(
                    r#"{{"issuer":"{own}","authorization_endpoint":"{own}/a","token_endpoint":"{own}/t","jwks_uri":"{own}/jwks","response_types_supported":["code"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]{more}}}"#
                )
            } else if keyless {
                "{}".to_owned()
            } else {
                r#"{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"k1","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#.to_owned()
            };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let _ = stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    issuer
}

#[test]
fn it_asks_each_provider_and_says_what_is_to_be_registered_there() {
    let section = |id: &str, issuer: &str, more: &str| {
        format!("[[provider]]\nid = \"{id}\"\nissuer = \"{issuer}\"\nclient_id = \"c\"\n{more}\n")
    };
    let site = Site::new("0s");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    fs::write(site.path("key.pem"), key.serialize_pem()).unwrap();
    let whole = provider(
        r#","code_challenge_methods_supported":["S256"],"end_session_endpoint":"https://idp.example/logout""#,
        false,
    );
    let (poor, keyless) = (provider("", false), provider("", true));
    let nowhere: SocketAddr = free();
    add(
        &site,
        &[
            section("whole", &whole, "roles = [\"clinician\"]\nprivate_key_file = \"key.pem\""),
            section("poor", &poor, ""),
            section("keyless", &keyless, ""),
            section("gone", &format!("http://{nowhere}"), ""),
        ]
        .concat(),
    );
    let text = fs::read_to_string(site.config()).unwrap();
    let origin = text.split("origin = \"").nth(1).unwrap().split('"').next().unwrap();
    let (code, told) = check(&site, "provider `whole`");
    assert_eq!(code, 1);
    let expected = format!(
        "ok      provider `whole`: {whole}, 1 signing key; register {origin}/login/callback/whole there, and {origin}/logout/callback/whole \
         for the way back after a logout; our key there is `"
    );
    assert!(told.starts_with(&expected) && told.ends_with('`'), "{told}");
    let (_, told) = check(&site, "provider `poor`");
    let expected =
        "there; it does not say that it checks PKCE with S256; `roles` is empty, so nobody can log in with it";
    assert!(told.starts_with("ok      ") && told.ends_with(expected), "{told}");
    for id in ["keyless", "gone"] {
        let (_, told) = check(&site, &format!("provider `{id}`"));
        assert!(told.starts_with("FAILED  "), "{told}");
    }
}
