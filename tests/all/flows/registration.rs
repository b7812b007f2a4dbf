//! Clients that register themselves, from the first request to the last, and clients that are disabled.

use serde_json::{Value, json};

use super::dpop::ProvingKey;
use super::*;
use crate::world::{Reply, Settings, World, run};
use firebreak::audit::EventKind;
use firebreak::clients::initial_access_token::{InitialAccessToken, mint};
use firebreak::clients::registry;

const JSON: &str = "Content-Type: application/json";

async fn registering(section: &str) -> World {
    let ordinary = settings();
    World::with(Settings { sections: format!("[registration]\n{section}\n{}", ordinary.sections), ..ordinary }).await
}

/// An initial access token of the name `lab`, for one client.
async fn initial_token(world: &World) -> String {
    initial_token_for(world, &format!("{SCOPE} user/*.rs"), &[]).await
}

async fn initial_token_for(world: &World, allowed_scope: &str, roles: &[&str]) -> String {
    let token = InitialAccessToken {
        name: "lab".to_owned(),
        allowed_scope: allowed_scope.to_owned(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
    };
    let far = world.clock.unix_seconds() + 1_000;
    let token = mint(&*world.grants.store, &token, 1, far).await.unwrap().expose().to_owned();
    world.secret(&token);
    token
}

fn metadata(method: &str) -> Value {
    json!({
        "redirect_uris": ["https://new.example.org/cb"],
        "client_name": "A new app",
        "token_endpoint_auth_method": method,
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": SCOPE,
        "logo_uri": "https://new.example.org/logo.png",
        "software_id": "new",
    })
}

async fn send(world: &World, line: &str, token: &str, body: &str) -> Reply {
    let authorization = format!("Authorization: Bearer {token}");
    let headers = if token.is_empty() { vec![JSON] } else { vec![JSON, &authorization] };
    let reply = world.send(line, "", &headers, body).await;
    if !reply.body.is_empty() {
        for name in ["client_secret", "registration_access_token"] {
            if let Some(secret) = reply.json()[name].as_str() {
                world.secret(secret);
            }
        }
    }
    reply
}

async fn register(world: &World, token: &str, metadata: &Value) -> Value {
    let reply = send(world, "POST /register", token, &metadata.to_string()).await;
    assert_eq!(reply.status, 201, "{}", reply.all());
    assert_eq!((reply.header("content-type"), reply.header("cache-control")), ("application/json", "no-store"));
    reply.json()
}

/// The public key of [`EHR`], as a client publishes it: with members that servers ignore.
fn jwks() -> Value {
    let (x, y) = EHR.point[1..].split_at(48);
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
    json!({"keys": [{
        "kty": "EC", "kid": "ehr-key", "crv": "P-384", "alg": "ES384", "key_ops": ["verify"], "ext": true,
        "x": encode(x), "y": encode(y),
    }]})
}

fn assertion(world: &World, client_id: &str) -> String {
    let mut claims = assertion_claims(client_id, world.clock.unix_seconds());
    claims["aud"] = format!("{ISSUER}/token").into();
    let assertion = sign(&header(), &claims);
    world.secret(&assertion);
    assertion
}

/// From the authorization request to the first read, with these credentials at the token endpoint.
async fn launch_and_read(world: &World, client_id: &str, credentials: &[(&str, &str)], headers: &[&str]) -> Value {
    let callback = "https://new.example.org/cb";
    let code = code(world, "pat", &request_of(client_id, callback, SCOPE)).await;
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", callback),
        ("code_verifier", VERIFIER),
    ];
    fields.extend(credentials);
    let given = token(world, &fields, headers).await;
    assert_eq!(given.status, 200, "{}", given.all());
    let given = given.json();
    let read = world.get("/fhir/Patient/P1", text(&given, "access_token")).await;
    assert_eq!(read.status, 200, "{}", read.all());
    given
}

// R4, R6, C10
#[test]
fn a_symmetric_client_registers_launches_reads_changes_its_registration_and_removes_it() {
    run(async {
        let world = registering("").await;
        let initial = initial_token(&world).await;
        let registered = register(&world, &initial, &metadata("client_secret_basic")).await;
        let (client_id, secret) = (text(&registered, "client_id"), text(&registered, "client_secret"));
        let given = launch_and_read(&world, client_id, &[], &[&basic(client_id, secret)]).await;
        assert_eq!(text(&given, "scope"), SCOPE);
        let own = text(&registered, "registration_access_token");
        let path = text(&registered, "registration_client_uri").strip_prefix(ISSUER).unwrap().to_owned();
        let read = send(&world, &format!("GET {path}"), own, "").await;
        assert_eq!((read.status, &read.json()["software_id"]), (200, &json!("new")));
        let mut update = metadata("client_secret_basic");
        update["client_id"] = client_id.into();
        update["scope"] = "launch/patient patient/Patient.rs user/Patient.rs system/*.rs".into();
        let updated = send(&world, &format!("PUT {path}"), own, &update.to_string()).await;
        assert_eq!(updated.status, 200, "{}", updated.all());
        assert_eq!(text(&updated.json(), "scope"), "launch/patient patient/Patient.rs user/Patient.rs");
        let access = text(&given, "access_token");
        assert_eq!(send(&world, &format!("DELETE {path}"), own, "").await.status, 204);
        // B3 75
        for line in ["GET", "PUT", "DELETE"] {
            let gone = send(&world, &format!("{line} {path}"), own, "{}").await;
            assert_eq!(refusal(&gone), refused(401, "invalid_token"), "{line}");
        }
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 401, "its token is no good any more");
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token"))];
        assert_eq!(
            refusal(&token(&world, &refresh, &[&basic(client_id, secret)]).await),
            refused(401, "invalid_client")
        );
        let entries = world.finish().await;
        let told = |action: &str| {
            let entry = entries.iter().find(|entry| entry.record.action.as_deref() == Some(action));
            let record = &entry.unwrap_or_else(|| panic!("no {action}")).record;
            assert_eq!((record.kind, record.client_id.as_deref()), (EventKind::Registration, Some(client_id)));
            record.detail.clone().unwrap_or_default()
        };
        assert_eq!(told("client_registered"), "let in by the initial access token `lab`");
        told("registration_read");
        told("registration_changed");
        told("client_removed");
    });
}

// R2, R6, C1, C4
#[test]
fn a_client_with_a_key_registers_launches_and_reads() {
    run(async {
        let world = registering("").await;
        let initial = initial_token(&world).await;
        let mut sent = metadata("private_key_jwt");
        sent["jwks"] = jwks();
        let registered = register(&world, &initial, &sent).await;
        assert_eq!(registered["jwks"], sent["jwks"]);
        assert_eq!(registered.get("client_secret"), None);
        let client_id = text(&registered, "client_id");
        let assertion = assertion(&world, client_id);
        let credentials = [
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        launch_and_read(&world, client_id, &credentials, &[]).await;
        world.finish().await;
    });
}

// R2, B1, B4: backend services register like others, as far as their token lets them
#[test]
fn a_backend_service_registers_and_reads_with_the_roles_of_its_token() {
    run(async {
        let world = registering("").await;
        let initial = initial_token_for(&world, "system/Patient.rs", &["backend"]).await;
        let sent = json!({
            "client_name": "Nightly", "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(),
            "grant_types": ["client_credentials"], "scope": "system/*.rs system/Patient.r",
        });
        let registered = register(&world, &initial, &sent).await;
        assert_eq!((text(&registered, "scope"), &registered["response_types"]), ("system/Patient.r", &json!([])));
        let assertion = assertion(&world, text(&registered, "client_id"));
        let fields = [
            ("grant_type", "client_credentials"),
            ("scope", "system/Patient.r"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        let given = token(&world, &fields, &[]).await;
        assert_eq!(given.status, 200, "{}", given.all());
        assert_eq!(world.get("/fhir/Patient/P1", text(&given.json(), "access_token")).await.status, 200);
        world.finish().await;
        let world = registering("open = true").await;
        let refused_open = send(&world, "POST /register", "", &sent.to_string()).await;
        assert_eq!(refusal(&refused_open), refused(400, "invalid_client_metadata"));
        world.finish().await;
    });
}

// R6, E18, E33
#[test]
fn a_public_app_that_registered_itself_is_called_unverified_each_time_and_reads_a_patients_data() {
    run(async {
        let world = registering("open = true").await;
        let mut sent = metadata("none");
        sent["scope"] = format!("{SCOPE} user/*.rs").into();
        let registered = register(&world, "", &sent).await;
        let client_id = text(&registered, "client_id");
        assert_eq!(text(&registered, "scope"), SCOPE, "and not user/*.rs");
        assert_eq!(text(&registered, "logo_uri"), "https://new.example.org/logo.png");
        let parameters = request_of(client_id, "https://new.example.org/cb", SCOPE);
        let mut browser = Browser::new(&world);
        for round in 0..2 {
            let page = browser.authorize(&parameters).await;
            let page = if page.asks_for_login() { browser.log_in(&page, "pat").await } else { page };
            let page = browser.pick_if_asked(&page, "P1").await;
            assert!(page.asks_for_consent(), "asked again: round {round}");
            assert!(page.text().contains("This app is not verified"), "{}", page.text());
            assert!(!page.text().contains("logo.png") && !page.text().contains("is remembered"));
            assert!(browser.allow_all(&page).await.returned("code").is_some());
        }
        launch_and_read(&world, client_id, &[("client_id", client_id)], &[]).await;
        // Of its own origin, as the redirect URI has it.
        let origin = "Origin: https://new.example.org";
        let asked = world.send("OPTIONS /token", "", &[origin, "Access-Control-Request-Method: POST"], "").await;
        assert_eq!(asked.header("access-control-allow-origin"), "https://new.example.org");
        let page = Browser::new(&world).authorize(&request(SCOPE)).await;
        assert!(!page.text().contains("not verified"), "the site's own app");
        world.finish().await;
    });
}

// B1 1, B1 2, B3 74, B3 75
#[test]
fn what_cannot_be_registered_is_refused_and_leaves_nothing() {
    run(async {
        let world = registering("").await;
        let initial = initial_token(&world).await;
        let mut fragment = metadata("none");
        fragment["redirect_uris"] = json!(["https://new.example.org/cb#x"]);
        let mut stated = metadata("none");
        stated["software_statement"] = "eyJhbGciOiJub25lIn0.e30.".into();
        for (sent, error) in [
            (fragment, "invalid_redirect_uri"),
            (metadata("client_secret_jwt"), "invalid_client_metadata"),
            (stated, "invalid_software_statement"),
        ] {
            let reply = send(&world, "POST /register", &initial, &sent.to_string()).await;
            assert_eq!(refusal(&reply), refused(400, error));
        }
        for token in ["", "guess"] {
            let reply = send(&world, "POST /register", token, &metadata("none").to_string()).await;
            assert_eq!(refusal(&reply), refused(401, "invalid_token"));
            assert!(reply.header("www-authenticate").starts_with("Bearer "));
        }
        let registered = register(&world, &initial, &metadata("none")).await;
        let again = send(&world, "POST /register", &initial, &metadata("none").to_string()).await;
        assert_eq!(refusal(&again), refused(401, "invalid_token"), "one client was one too many");
        let client_id = text(&registered, "client_id");
        for redirect_uri in
            ["https://new.example.org/cb/", "https://new.example.org/CB", "https://new.example.org/cb?x"]
        {
            let page = Browser::new(&world).authorize(&request_of(client_id, redirect_uri, SCOPE)).await;
            assert_eq!((page.status(), page.location()), (400, None), "{redirect_uri}");
        }
        let entries = world.finish().await;
        let registrations = entries.iter().filter(|entry| entry.record.kind == EventKind::Registration);
        assert_eq!(registrations.count(), 1, "strangers are counted, not recorded");
    });
}

// D6, D10
#[test]
fn the_registration_endpoint_is_named_where_it_works_and_nowhere_else() {
    run(async {
        for (world, expected) in [
            (registering("").await, Some("https://gw.example.org/register")),
            (registering("initial_access_tokens = false\nopen = true").await, Some("https://gw.example.org/register")),
            (registering("initial_access_tokens = false").await, None),
            (world().await, None),
        ] {
            for document in [
                "/fhir/.well-known/smart-configuration",
                "/.well-known/openid-configuration",
                "/.well-known/oauth-authorization-server",
            ] {
                let named = world.get(document, "").await.json();
                assert_eq!(named["registration_endpoint"].as_str(), expected, "{document}");
            }
            let metadata = world.get("/fhir/metadata", "").await.json();
            let uris = metadata["rest"][0]["security"]["extension"][0]["extension"].as_array().unwrap().clone();
            let register = uris.iter().find(|uri| uri["url"] == "register");
            assert_eq!(register.and_then(|uri| uri["valueUri"].as_str()), expected);
            let status = send(&world, "POST /register", "", "{}").await.status;
            assert_eq!(status == 404, expected.is_none(), "{status}");
            world.finish().await;
        }
    });
}

// B1 1, B2 31, B3 61
#[test]
fn a_disabled_client_is_unknown_everywhere_and_its_verified_tokens_are_refused() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let access = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200, "and is remembered as verified");
        let (store, clients) = (&*world.grants.store, &world.grants.clients);
        registry::disable(store, "app", world.clock.unix_seconds()).await.unwrap();
        clients.refresh(store, world.clock.unix_seconds()).await.unwrap();
        let refused_read = world.get("/fhir/Patient/P1", access).await;
        assert_eq!(refused_read.status, 401);
        assert!(refused_read.header("www-authenticate").contains("invalid_token"), "{}", refused_read.all());
        let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token"))];
        let with_id = [&fields[..], &[("client_id", "app")]].concat();
        assert_eq!(refusal(&token(&world, &with_id, &[]).await), refused(401, "invalid_client"));
        let page = Browser::new(&world).authorize(&request(SCOPE)).await;
        assert_eq!(page.reply.status, 400, "a page of our own: {}", page.reply.all());
        assert_eq!(page.reply.header("location"), "");
        registry::enable(store, "app").await.unwrap();
        clients.refresh(store, world.clock.unix_seconds()).await.unwrap();
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        assert_eq!(token(&world, &with_id, &[]).await.status, 200);
        world.finish().await;
    });
}

// B1 1: the other processes hear of it by themselves
#[test]
fn a_client_that_another_process_disabled_is_refused_within_seconds() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let access = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        registry::disable(&*world.grants.store, "app", world.clock.unix_seconds()).await.unwrap();
        let begun = std::time::Instant::now();
        while world.get("/fhir/Patient/P1", access).await.status == 200 {
            assert!(begun.elapsed() < std::time::Duration::from_secs(5), "it must be refused within 5 seconds");
            tokio::task::yield_now().await;
        }
        world.finish().await;
    });
}

// R6, N1, N2: RFC 9449 section 5.2, RFC 9126 section 6
#[test]
fn an_app_that_registers_for_bound_tokens_and_pushed_requests_is_held_to_both() {
    run(async {
        let (world, key) = (registering("").await, ProvingKey::generate());
        let initial = initial_token(&world).await;
        let mut wanted = metadata("none");
        wanted["dpop_bound_access_tokens"] = true.into();
        wanted["require_pushed_authorization_requests"] = true.into();
        let registered = register(&world, &initial, &wanted).await;
        for member in ["dpop_bound_access_tokens", "require_pushed_authorization_requests"] {
            assert_eq!(registered[member], true, "{registered}");
        }
        let client_id = text(&registered, "client_id");
        let callback = "https://new.example.org/cb";
        let parameters = request_of(client_id, callback, SCOPE);
        let direct = Browser::new(&world).authorize(&parameters).await;
        assert_eq!(direct.returned("error").as_deref(), Some("invalid_request"), "{:?}", direct.location());
        let form = encoded(&parameters);
        let pushed = world.post("/par", "", &form).await;
        assert_eq!(pushed.status, 201, "{}", pushed.all());
        let request_uri = text(&pushed.json(), "request_uri").to_owned();
        let code = code(&world, "pat", &[("client_id", client_id), ("request_uri", &request_uri)]).await;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", callback),
            ("client_id", client_id),
            ("code_verifier", VERIFIER),
        ];
        assert_eq!(refusal(&token(&world, &fields, &[]).await), refused(400, "invalid_dpop_proof"));
        let given = token(&world, &fields, &[&key.proof(&world, "POST /token")]).await;
        assert_eq!((given.status, text(&given.json(), "token_type")), (200, "DPoP"), "{}", given.all());
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", text(&given.json(), "refresh_token"))]
            .map(|(name, value)| (name, value.to_owned()));
        let refresh: Vec<(&str, &str)> = refresh.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(refusal(&token(&world, &refresh, &[]).await), refused(400, "invalid_dpop_proof"));

        // What is left out of an update is gone; what is no boolean is no metadata.
        let path = format!("/register/{client_id}");
        let own = text(&registered, "registration_access_token");
        let mut update = metadata("none");
        update["client_id"] = client_id.into();
        let mut wrong = update.clone();
        wrong["dpop_bound_access_tokens"] = "true".into();
        let refused_update = send(&world, &format!("PUT {path}"), own, &wrong.to_string()).await;
        assert_eq!(refusal(&refused_update), refused(400, "invalid_client_metadata"));
        let updated = send(&world, &format!("PUT {path}"), own, &update.to_string()).await.json();
        assert_eq!(updated["dpop_bound_access_tokens"], false, "{updated}");
        let direct = Browser::new(&world).authorize(&parameters).await;
        assert_eq!(direct.returned("error"), None, "{:?}", direct.location());
        world.finish().await;
    });
}

// C11
#[test]
fn a_secret_is_taken_from_where_it_was_registered_for_and_from_nowhere_else() {
    run(async {
        for method in ["client_secret_basic", "client_secret_post"] {
            let world = registering("").await;
            let initial = initial_token(&world).await;
            let registered = register(&world, &initial, &metadata(method)).await;
            assert_eq!(text(&registered, "token_endpoint_auth_method"), method);
            let (client_id, secret) = (text(&registered, "client_id"), text(&registered, "client_secret"));
            let in_header = basic(client_id, secret);
            let by_basic =
                token(&world, &[("grant_type", "refresh_token"), ("refresh_token", "x")], &[&in_header]).await;
            let by_post = token(
                &world,
                &[
                    ("grant_type", "refresh_token"),
                    ("refresh_token", "x"),
                    ("client_id", client_id),
                    ("client_secret", secret),
                ],
                &[],
            )
            .await;
            let (registered_for, other) =
                if method == "client_secret_basic" { (by_basic, by_post) } else { (by_post, by_basic) };
            assert_eq!(refusal(&registered_for), refused(400, "invalid_grant"), "{method}: it authenticated");
            assert_eq!(refusal(&other), refused(401, "invalid_client"), "{method}");
            world.finish().await;
        }
    });
}

#[test]
fn so_many_apps_an_hour_register_themselves_as_the_site_says() {
    run(async {
        let world = registering("open = true\nopen_per_hour = 2").await;
        let sent = metadata("none").to_string();
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(send(&world, "POST /register", "", &sent).await.status);
        }
        assert_eq!(statuses, [201, 201, 429]);
        world.finish().await;
    });
}

/// Anybody may register a page of theirs, and then lure the people behind one address to it.
#[test]
fn pages_of_apps_that_nobody_has_looked_at_lock_out_nobody_but_themselves() {
    run(async {
        let ordinary = settings();
        let sections = format!("[registration]\nopen = true\n{}", ordinary.sections);
        let world = World::with(Settings { sections, failed_credentials: 5, ..ordinary }).await;
        let mut sent = metadata("none");
        sent["redirect_uris"] = json!(["https://evil.example/cb"]);
        assert_eq!(send(&world, "POST /register", "", &sent.to_string()).await.status, 201);
        let evil = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: https://evil.example"];
        let bearer = ["Authorization: Bearer nothing"];
        let read = "GET /fhir/Patient/P1";
        let mut statuses = Vec::new();
        for _ in 0..7 {
            statuses.push(token(&world, &exchange("BAD_CODE"), &evil).await.status);
        }
        assert_eq!(statuses, [400, 400, 400, 400, 400, 400, 429]);
        for _ in 0..7 {
            let reply = world.send(read, "", &[evil.as_slice(), &bearer].concat(), "").await;
            assert_eq!(reply.status, 429, "one budget for both: {}", reply.all());
        }
        assert_eq!(token(&world, &exchange("BAD_CODE"), &[]).await.status, 400, "the people behind the same address");
        let app = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: https://app.example.org"];
        assert_eq!(token(&world, &exchange("BAD_CODE"), &app).await.status, 400, "and an app of the site");
        assert_eq!(world.send(read, "", &bearer, "").await.status, 401);
        world.finish().await;
    });
}
