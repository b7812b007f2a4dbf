#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use http::header::HeaderValue;
use serde_json::json;

use super::*;
use crate::clients::initial_access_token::{InitialAccessToken, mint};
use crate::grant::back_channel_testing::{ISSUER, KEYS, NOW, Reply, Site, grant, inbound, reply};
use crate::grant::holdings;
use crate::grant::records::Consent;
use crate::store::{Entry, Kind};

const SCOPE: &str = "openid fhirUser launch/patient offline_access patient/*.rs user/*.rs";

/// A site where both ways are on, and an initial access token for two clients.
async fn site() -> (Site, String) {
    let site = Site::with(|config| config.registration = Some(registration()));
    let token = InitialAccessToken { name: "lab".to_owned(), allowed_scope: SCOPE.to_owned(), roles: Vec::new() };
    let token = mint(&*site.grants.store, &token, 2, NOW + 100).await.unwrap();
    (site, token.expose().to_owned())
}

fn registration() -> Registration {
    Registration {
        initial_access_tokens: true,
        open: true,
        open_scope: "openid launch/patient patient/*.rs".to_owned(),
        open_clients: 3,
        open_unused: std::time::Duration::from_secs(1_000),
        open_per_hour: 1_000,
        clients: 5,
    }
}

fn app() -> Value {
    json!({
        "redirect_uris": ["https://new.example.org/cb"],
        "client_name": "New",
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    })
}

async fn send(site: &Site, method: &str, path: &str, token: Option<&str>, body: &str) -> Reply {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    let mut request = inbound(method, path, &headers, body.to_owned().into());
    request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut facts = Facts::default();
    let answer = if path == route::REGISTER {
        respond(&site.grants, &request, &mut facts).await
    } else {
        management::respond(&site.grants, &request, &mut facts).await
    };
    reply(answer, facts)
}

async fn register_as(site: &Site, token: Option<&str>, metadata: &Value) -> Reply {
    send(site, "POST", "/register", token, &metadata.to_string()).await
}

/// Path and token of a registration.
fn own(registered: &Reply) -> (String, String) {
    let uri = registered.text("registration_client_uri");
    (uri.strip_prefix(ISSUER).unwrap().to_owned(), registered.text("registration_access_token").to_owned())
}

// R4, R6
#[tokio::test]
async fn a_registration_is_answered_with_all_that_was_registered_and_usable_at_once() {
    let (site, token) = site().await;
    let registered = register_as(&site, Some(&token), &app()).await;
    assert_eq!(registered.status, 201, "{:?}", registered.json);
    assert_eq!((registered.header("cache-control"), registered.header("pragma")), ("no-store", "no-cache"));
    let client_id = registered.text("client_id");
    for (name, value) in app().as_object().unwrap() {
        assert_eq!(&registered.json[name], value, "{name}");
    }
    assert_eq!(registered.json["client_id_issued_at"], NOW);
    assert_eq!(registered.json["response_types"], json!(["code"]));
    assert_eq!(registered.text("scope"), SCOPE);
    assert_eq!(registered.json.get("client_secret"), None);
    assert_eq!(registered.text("registration_client_uri"), format!("{ISSUER}/register/{client_id}"));
    assert!(site.grants.clients.find(client_id).is_some_and(|client| !client.config.unverified));
    assert!(site.grants.clients.has_origin("https://new.example.org"));
    assert_eq!(registered.facts.client_id.as_deref(), Some(client_id));
    assert_eq!(registered.facts.detail.as_deref(), Some("let in by the initial access token `lab`"));
    // A secret is made where one is needed, and kept as a digest.
    let mut confidential = app();
    confidential["token_endpoint_auth_method"] = "client_secret_basic".into();
    let registered = register_as(&site, Some(&token), &confidential).await;
    let secret = registered.text("client_secret");
    assert_eq!((secret.len(), &registered.json["client_secret_expires_at"]), (43, &json!(0)));
    let stored = registry::find(&*site.grants.store, registered.text("client_id"), NOW).await.unwrap().unwrap();
    let record = serde_json::to_string(&stored.client).unwrap();
    assert!(!record.contains(secret) && !record.contains(registered.text("registration_access_token")));
}

// R6, B3 75, E18
#[tokio::test]
async fn without_a_good_initial_access_token_nobody_registers_where_one_is_needed() {
    let (mut site, token) = site().await;
    let refused = register_as(&site, Some("guess"), &app()).await;
    assert_eq!(refused.refusal(), (401, "invalid_token"), "although anybody may register without");
    assert!(refused.credentials_failed);
    assert!(refused.header("www-authenticate").starts_with("Bearer "));
    assert_eq!(refused.facts.client_id, None);
    site.configure(|config| config.registration = Some(Registration { open: false, ..registration() }));
    assert_eq!(register_as(&site, None, &app()).await.refusal(), (401, "invalid_token"));
    assert_eq!(register_as(&site, Some(""), &app()).await.refusal(), (401, "invalid_token"));
    for _ in 0..2 {
        // What cannot be registered does not use the token up.
        assert_eq!(register_as(&site, Some(&token), &json!({})).await.refusal(), (400, "invalid_redirect_uri"));
        assert_eq!(register_as(&site, Some(&token), &app()).await.status, 201);
    }
    assert_eq!(register_as(&site, Some(&token), &app()).await.refusal(), (401, "invalid_token"), "it is used up");
    site.configure(|config| config.registration = None);
    for (method, path) in [("POST", "/register"), ("GET", "/register"), ("GET", "/register/app")] {
        let off = send(&site, method, path, Some(&token), "{}").await;
        assert_eq!((off.status.as_u16(), off.facts.reason), (404, Some("path_unknown")), "{method} {path}");
    }
}

// B3 74
#[tokio::test]
async fn what_cannot_be_registered_is_refused_with_the_error_of_the_rfc() {
    let (site, _) = site().await;
    let with = |name: &str, value: Value| {
        let mut sent = app();
        sent[name] = value;
        sent
    };
    for (sent, error) in [
        (with("redirect_uris", json!(["https://*.example.org/cb"])), "invalid_redirect_uri"),
        (with("grant_types", json!(["client_credentials"])), "invalid_client_metadata"),
        (with("scope", json!("system/*.rs user/*.rs")), "invalid_client_metadata"),
        (with("software_statement", json!("eyJhbGciOiJub25lIn0.e30.")), "invalid_software_statement"),
        (json!([]), "invalid_client_metadata"),
    ] {
        let refused = register_as(&site, None, &sent).await;
        assert_eq!(refused.refusal(), (400, error), "{sent}");
        assert!(!refused.text("error_description").is_empty());
        assert!(!refused.credentials_failed);
    }
    assert_eq!(send(&site, "GET", "/register", None, "").await.status, 405);
    let mut form = inbound("POST", "/register", &[], "a=b".into());
    form.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let answer = respond(&site.grants, &form, &mut Facts::default()).await;
    assert_eq!(reply(answer, Facts::default()).refusal(), (400, "invalid_request"));
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_BYTES));
    assert_eq!(send(&site, "POST", "/register", None, &long).await.refusal(), (400, "invalid_request"));
    assert_eq!(site.grants.clients.of_the_store(), (0, 0));
}

// R6, E18, E21
#[tokio::test]
async fn open_registration_is_bounded_and_marks_its_clients() {
    let (mut site, token) = site().await;
    let first = register_as(&site, None, &app()).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.text("scope"), "openid launch/patient patient/*.rs");
    assert_eq!(first.facts.detail.as_deref(), Some("let in by open registration"));
    assert!(site.grants.clients.find(first.text("client_id")).unwrap().is_unverified());
    site.grants.registrations = std::sync::Arc::new(crate::admit::HourlyBudget::new(1));
    assert_eq!(register_as(&site, None, &app()).await.status, 201);
    let throttled = register_as(&site, None, &app()).await;
    assert_eq!(throttled.status, 429);
    assert!(throttled.header("retry-after").parse::<u32>().unwrap() >= 1);
    site.grants.registrations = std::sync::Arc::new(crate::admit::HourlyBudget::new(1_000));
    assert_eq!(register_as(&site, None, &app()).await.status, 201);
    assert_eq!(register_as(&site, None, &app()).await.refusal(), (503, "temporarily_unavailable"), "three are there");
    assert_eq!(register_as(&site, Some(&token), &app()).await.status, 201, "a token has its own bound");
    assert_eq!(register_as(&site, Some(&token), &app()).await.status, 201);
}

#[tokio::test]
async fn an_open_registration_that_nobody_uses_is_forgotten_and_one_that_is_used_stays() {
    let (site, _) = site().await;
    let (used, unused) = (register_as(&site, None, &app()).await, register_as(&site, None, &app()).await);
    let refresh = async || site.grants.clients.refresh(&*site.grants.store, site.clock.unix_seconds()).await.unwrap();
    site.clock.advance(600);
    refresh().await;
    let client_id = used.text("client_id");
    keep(&site.grants, &site.grants.clients.find(client_id).unwrap()).await;
    site.clock.advance(600);
    refresh().await;
    assert!(site.grants.clients.is_registered(client_id));
    assert!(!site.grants.clients.is_registered(unused.text("client_id")));
    let (path, token) = own(&unused);
    assert_eq!(send(&site, "GET", &path, Some(&token), "").await.refusal(), (401, "invalid_token"));
    let kept = site.grants.clients.find(client_id).unwrap();
    assert_eq!(kept.registration.as_ref().unwrap().expires, NOW + 600 + 1_000);
}

// The hook: a code that is exchanged keeps the client, and so does a refresh (F6: apps that are installed are not launched anew).
#[tokio::test]
async fn a_code_that_is_exchanged_and_a_refresh_keep_an_open_registration() {
    let (site, _) = site().await;
    let registered = register_as(&site, None, &app()).await;
    let client_id = registered.text("client_id");
    site.clock.advance(600);
    let grant = crate::grant::records::Grant { granted_at: NOW + 600, ..grant(client_id) };
    let code = crate::grant::grants::issue_code(
        &site.grants,
        crate::grant::records::Code {
            grant,
            redirect_uri: "https://new.example.org/cb".to_owned(),
            code_challenge: crate::grant::back_channel_testing::CHALLENGE.to_owned(),
            ..Default::default()
        },
    )
    .await
    .unwrap();
    let exchanged = site
        .token(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", "https://new.example.org/cb"),
            ("client_id", client_id),
            ("code_verifier", crate::grant::back_channel_testing::VERIFIER),
        ])
        .await;
    assert_eq!(exchanged.status, 200, "{:?}", exchanged.json);
    let kept_until = || site.grants.clients.find(client_id).unwrap().registration.as_ref().unwrap().expires;
    assert_eq!(kept_until(), NOW + 600 + 1_000);
    site.clock.advance(600);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", exchanged.text("refresh_token"))];
    let refreshed = site.token(&fields).await;
    assert_eq!(refreshed.status, 200, "{:?}", refreshed.json);
    assert_eq!(kept_until(), NOW + 1_200 + 1_000);
}

// R4, R6
#[tokio::test]
async fn a_client_reads_replaces_and_removes_its_registration() {
    let (site, token) = site().await;
    let registered = register_as(&site, Some(&token), &app()).await;
    let (path, own) = own(&registered);
    let client_id = registered.text("client_id");
    let read = send(&site, "GET", &path, Some(&own), "").await;
    assert_eq!((read.status.as_u16(), &read.json), (200, &registered.json));
    // The scope may not grow beyond what the token allowed; what is left out is gone.
    let update = json!({
        "client_id": client_id,
        "redirect_uris": ["https://moved.example.org/cb"],
        "token_endpoint_auth_method": "client_secret_post",
        "scope": "patient/Observation.rs system/*.cruds",
    });
    let updated = send(&site, "PUT", &path, Some(&own), &update.to_string()).await;
    assert_eq!(updated.status, 200, "{:?}", updated.json);
    assert_eq!(updated.text("scope"), "patient/Observation.rs");
    assert_eq!(updated.json.get("client_name"), None);
    assert_eq!(updated.text("registration_access_token"), own, "it stays the same");
    let secret = updated.text("client_secret").to_owned();
    let client = site.grants.clients.find(client_id).unwrap();
    assert_eq!(client.config.redirect_uris, ["https://moved.example.org/cb"]);
    assert!(!site.grants.clients.has_origin("https://new.example.org"));
    // The secret may be repeated, must be the right one, and is not made anew.
    let mut again = update.clone();
    again["client_secret"] = secret.clone().into();
    let kept = send(&site, "PUT", &path, Some(&own), &again.to_string()).await;
    assert_eq!((kept.status.as_u16(), kept.json.get("client_secret")), (200, None));
    assert_eq!(
        site.token(&[("client_id", client_id), ("client_secret", &secret), ("grant_type", "refresh_token")])
            .await
            .refusal()
            .0,
        400
    );
    for (name, value) in [
        ("client_id", json!("app")),
        ("client_id", Value::Null),
        ("client_secret", json!("another")),
        ("registration_access_token", json!(own)),
        ("client_secret_expires_at", json!(0)),
    ] {
        let mut wrong = update.clone();
        wrong[name] = value;
        let refused = send(&site, "PUT", &path, Some(&own), &wrong.to_string()).await;
        assert_eq!(refused.refusal(), (400, "invalid_client_metadata"), "{name}");
    }
    let other = send(&site, "POST", &path, Some(&own), "").await;
    assert_eq!((other.status.as_u16(), other.header("allow")), (405, "GET, PUT, DELETE"));
    let removed = send(&site, "DELETE", &path, Some(&own), "").await;
    assert_eq!(removed.status, 204);
    assert_eq!(removed.facts.client_id.as_deref(), Some(client_id));
    assert!(!site.grants.clients.is_registered(client_id));
}

// R6, B3 75
#[tokio::test]
async fn a_client_that_removes_itself_ends_every_grant_and_consent_that_it_was_given() {
    let (site, token) = site().await;
    let registered = register_as(&site, Some(&token), &app()).await;
    let (path, own) = own(&registered);
    let store = &*site.grants.store;
    let (its, anothers) = (grant(registered.text("client_id")), grant("app"));
    let codes = [site.code(its.clone()).await, site.code(anothers.clone()).await];
    for grant in [&its, &anothers] {
        let (kind, key, entry) = crate::grant::grants::placed(grant, NOW + 1_000).unwrap();
        store.put(kind, key, entry).await.unwrap();
        let (of_it, name) = (Some(Digest::of(&grant.grant_id)), format!("refresh token of {}", grant.client_id));
        let entry = Entry { value: b"{}".to_vec(), expires: NOW + 1_000, owner: of_it };
        store.put(Kind::RefreshToken, Digest::of(&name), entry).await.unwrap();
        let consent =
            Consent { client_id: grant.client_id.clone(), granted: Vec::new(), offered: Vec::new(), given_at: NOW };
        let entry = Entry { value: serde_json::to_vec(&consent).unwrap(), expires: NOW + 1_000, owner: None };
        store.put(Kind::Consent, Digest::of(&grant.client_id), entry).await.unwrap();
    }
    assert_eq!(send(&site, "DELETE", &path, Some(&own), "").await.status, 204);
    let left = holdings::given(store, None, NOW).await.unwrap();
    let left: Vec<&str> = left.iter().map(|given| given.grant.client_id.as_str()).collect();
    assert_eq!(left, ["app"]);
    for (kind, theirs) in [
        (Kind::RefreshToken, Digest::of("refresh token of app")),
        (Kind::Consent, Digest::of("app")),
        (Kind::Code, Digest::of(&codes[1])),
    ] {
        let keys: Vec<Digest> =
            store.list(kind, None, NOW, 10).await.unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [theirs], "{kind:?}");
    }
    assert!(site.grants.revocations.is_revoked(&its.grant_id));
    assert!(!site.grants.revocations.is_revoked(&anothers.grant_id));
}

// R6, B3 75
#[tokio::test]
async fn a_wrong_token_a_removed_client_and_a_disabled_one_are_answered_alike() {
    let (site, token) = site().await;
    let (first, second) =
        (register_as(&site, Some(&token), &app()).await, register_as(&site, Some(&token), &app()).await);
    let ((path, mine), (other_path, theirs)) = (own(&first), own(&second));
    let (live_path, live) = own(&register_as(&site, None, &app()).await);
    send(&site, "DELETE", &path, Some(&mine), "").await;
    registry::disable(&*site.grants.store, second.text("client_id"), NOW).await.unwrap();
    let mut answers = Vec::new();
    for method in ["GET", "PUT", "DELETE"] {
        for (path, token) in [
            (path.as_str(), Some(mine.as_str())),
            (&other_path, Some(&theirs)),
            (&other_path, Some("guess")),
            (&other_path, Some(&token)),
            (&other_path, None),
            (&live_path, Some("guess")),
            (&live_path, Some("")),
            (&live_path, Some(&mine)),
            (&live_path, Some(&theirs)),
            (&live_path, Some(&token)),
            (&live_path, None),
            ("/register/app", Some("guess")),
            ("/register/", Some("guess")),
            ("/register/app/x", Some("guess")),
        ] {
            let refused = send(&site, method, path, token, "{}").await;
            assert_eq!(refused.refusal(), (401, "invalid_token"), "{method} {path}");
            assert!(refused.credentials_failed);
            assert_eq!(refused.facts.client_id, None, "nobody is known");
            answers.push(refused.json);
        }
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    assert_eq!(send(&site, "GET", &live_path, Some(&live), "").await.status, 200, "nothing happened to it");
}

// R6, B3 75
#[tokio::test]
async fn nobody_manages_the_registration_of_another_client() {
    let (site, token) = site().await;
    let first = register_as(&site, Some(&token), &app()).await;
    let second = register_as(&site, Some(&token), &app()).await;
    let ((path, mine), (_, theirs)) = (own(&first), own(&second));
    let client_id = first.text("client_id");
    let update = json!({"client_id": client_id, "redirect_uris": ["https://evil.example/cb"]}).to_string();
    for wrong in [theirs.as_str(), &token, client_id, "guess", ""] {
        for (method, body) in [("GET", ""), ("PUT", &update), ("DELETE", "")] {
            let refused = send(&site, method, &path, Some(wrong), body).await;
            assert_eq!(refused.refusal(), (401, "invalid_token"), "{method} {wrong}");
            assert!(refused.credentials_failed && refused.facts.client_id.is_none());
        }
    }
    let kept = send(&site, "GET", &path, Some(&mine), "").await;
    assert_eq!((kept.status.as_u16(), &kept.json), (200, &first.json), "nothing was changed");
}

// R6: what was let in for less stays with less, and what is known as a digest is not shown
#[tokio::test]
async fn a_change_gives_no_scope_that_the_initial_access_token_did_not_and_reading_shows_no_secret() {
    let (site, token) = site().await;
    let mut sent = app();
    sent["token_endpoint_auth_method"] = "client_secret_basic".into();
    let registered = register_as(&site, Some(&token), &sent).await;
    assert!(!registered.text("client_secret").is_empty());
    let (path, mine) = own(&registered);
    let read = send(&site, "GET", &path, Some(&mine), "").await;
    assert_eq!((read.status.as_u16(), read.json.get("client_secret")), (200, None));
    sent["client_id"] = registered.json["client_id"].clone();
    sent["scope"] = "patient/*.rs patient/*.cruds user/*.cud offline_access".into();
    let updated = send(&site, "PUT", &path, Some(&mine), &sent.to_string()).await;
    assert_eq!((updated.status.as_u16(), updated.text("scope")), (200, "patient/*.rs offline_access"));
    assert_eq!(updated.json.get("client_secret"), None, "it is not made anew");
}

// R2
#[tokio::test]
async fn a_client_with_a_key_registers_it_and_authenticates_with_it() {
    let (site, token) = site().await;
    let jwks: Value = serde_json::from_str(&KEYS.1.jwks()).unwrap();
    let mut sent = app();
    sent["token_endpoint_auth_method"] = "private_key_jwt".into();
    sent["jwks"] = jwks.clone();
    let registered = register_as(&site, Some(&token), &sent).await;
    assert_eq!((registered.status.as_u16(), &registered.json["jwks"]), (201, &jwks));
    let client_id = registered.text("client_id");
    let assertion = site.assertion(client_id, &site.grants.token_endpoint());
    let known = site
        .token(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", "none"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ])
        .await;
    assert_eq!(known.refusal(), (400, "invalid_grant"), "the client is known, the token is not");
}
