//! What is advertised works, and who may read what from a browser.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::world::{Reply, Settings, World, run};

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The test of this folder that shows each capability; what has none may not be advertised.
fn shown() -> BTreeMap<&'static str, &'static str> {
    let ehr = "an_ehr_that_vouches_launches_without_a_login_and_its_context_comes_with_every_token";
    let public = "a_public_app_launches_reads_and_refreshes";
    BTreeMap::from([
        ("launch-ehr", ehr),
        ("launch-standalone", public),
        ("authorize-post", "an_app_posts_its_request_from_its_own_page"),
        ("client-public", public),
        ("client-confidential-symmetric", "a_confidential_app_launches_with_basic_and_with_its_secret_in_the_body"),
        ("client-confidential-asymmetric", "an_asymmetric_app_exchanges_its_code_and_refreshes_with_fresh_assertions"),
        ("sso-openid-connect", public),
        ("context-banner", ehr),
        ("context-style", ehr),
        ("context-ehr-patient", ehr),
        ("context-ehr-encounter", ehr),
        ("context-standalone-patient", public),
        ("context-standalone-encounter", "an_encounter_of_the_chosen_patient_comes_with_the_token"),
        ("permission-offline", public),
        ("permission-online", "online_access_ends_with_the_logout_and_offline_access_does_not"),
        ("permission-patient", public),
        ("permission-user", "every_advertised_scope_is_granted_and_works"),
        ("permission-v1", "every_advertised_scope_is_granted_and_works"),
        ("permission-v2", public),
    ])
}

// D7
#[test]
fn every_advertised_capability_is_shown_by_a_test() {
    run(async {
        let world = world().await;
        let document = world.get("/fhir/.well-known/smart-configuration", "").await.json();
        let mut advertised = strings(&document["capabilities"]);
        advertised.sort_unstable();
        assert_eq!(advertised, shown().into_keys().collect::<Vec<_>>());
        let sources = [
            include_str!("apps.rs"),
            include_str!("backend_services.rs"),
            include_str!("ehr.rs"),
            include_str!("attacks.rs"),
            include_str!("online.rs"),
            include_str!("patients.rs"),
            include_str!("discovery.rs"),
        ];
        for (capability, test) in shown() {
            assert!(sources.iter().any(|source| source.contains(&format!("fn {test}()"))), "{capability}: {test}");
        }
        world.finish().await;
    });
}

// D6
#[test]
fn every_advertised_scope_is_granted_and_works() {
    run(async {
        let world = world().await;
        let document = world.get("/fhir/.well-known/smart-configuration", "").await.json();
        for scope in strings(&document["scopes_supported"]) {
            // Shown by the EHR launch, and by backend services.
            if scope == "launch" || scope.starts_with("system/") {
                continue;
            }
            let asked = if matches!(scope, "launch/encounter" | "offline_access" | "online_access") {
                format!("launch/patient {scope}")
            } else {
                scope.to_owned()
            };
            let mut browser = Browser::new(&world);
            let page = browser.authorize(&request_of("spa", "https://spa.example.org/cb", &asked)).await;
            let page = browser.log_in(&page, "dr").await;
            let page = browser.pick_if_asked(&page, "P1").await;
            let page = if page.fields("encounter").is_empty() {
                page
            } else {
                let transaction = page.field("transaction");
                let next = browser.post("/patient", &[("transaction", &transaction), ("encounter", "e1")]).await;
                browser.follow(next).await
            };
            let code = browser
                .allow_all(&page)
                .await
                .returned("code")
                .unwrap_or_else(|| panic!("{scope}: {}", page.reply.all()));
            let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", "https://spa.example.org/cb");
            let given = token(&world, &fields, &[]).await.json();
            assert_eq!(text(&given, "scope"), asked, "granted as asked");
            let access = text(&given, "access_token");
            if scope.contains(".rs") || scope.contains(".read") {
                let other = if scope.starts_with("user/") { 200 } else { 404 };
                assert_eq!(world.get("/fhir/Observation?patient=P1", access).await.status, 200, "{scope}");
                assert_eq!(world.get("/fhir/Observation/o1", access).await.status, 200, "{scope}");
                assert_eq!(world.get("/fhir/Observation/o2", access).await.status, other, "{scope}");
            } else {
                assert!(!scope.contains('/') || scope.starts_with("launch/"), "nothing shows that `{scope}` works");
            }
        }
        world.finish().await;
    });
}

#[test]
fn every_url_of_the_discovery_documents_is_ours_and_answers() {
    run(async {
        let world = world().await;
        for document in [
            "/fhir/.well-known/smart-configuration",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
        ] {
            for accept in ["Accept: */*", "Accept: application/fhir+xml", "X-Nothing: here"] {
                let reply = world.send(&format!("GET {document}"), "", &[accept], "").await;
                assert_eq!(
                    (reply.status, reply.header("content-type")),
                    (200, "application/json"),
                    "{document} {accept}"
                );
                assert_eq!(reply.header("access-control-allow-origin"), "*");
            }
            let document = world.get(document, "").await.json();
            for (name, value) in document.as_object().unwrap() {
                let Some(url) = value.as_str().filter(|value| value.contains("://") && name != "issuer") else {
                    continue;
                };
                let path = url.strip_prefix(ISSUER).unwrap_or_else(|| panic!("{name}: {url}"));
                let reply = world.get(path, "").await;
                let expected = match name.as_str() {
                    "jwks_uri" | "management_endpoint" | "end_session_endpoint" => 200,
                    "authorization_endpoint" => 400,
                    "userinfo_endpoint" => 401,
                    "token_endpoint"
                    | "pushed_authorization_request_endpoint"
                    | "introspection_endpoint"
                    | "revocation_endpoint" => 405,
                    other => panic!("nothing shows that `{other}` works"),
                };
                assert_eq!(reply.status, expected, "{name}");
            }
            assert_eq!(text(&document, "issuer"), ISSUER);
        }
        let keys = world.get("/jwks", "").await.json();
        for key in keys["keys"].as_array().unwrap() {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key.get(private).is_none(), "{private}");
            }
        }
        // A client that looks here must not take another page for the document.
        assert_eq!(world.get("/fhir/.well-known/openid-configuration", "").await.status, 404);
        world.finish().await;
    });
}

async fn from(world: &World, line: &str, origin: &str, token: &str, headers: &[&str]) -> Reply {
    let origin = format!("Origin: {origin}");
    let mut all = vec![origin.as_str()];
    all.extend(headers);
    world.send(line, token, &all, "").await
}

fn shared_with(reply: &Reply) -> &str {
    assert_eq!(reply.header("access-control-allow-credentials"), "");
    reply.header("access-control-allow-origin")
}

// D9, R5, O7, T6, B3 76
#[test]
fn a_registered_origin_reads_tokens_and_fhir_and_another_discovery_alone() {
    run(async {
        let world = world().await;
        let access = text(&tokens(&world, "pat", SCOPE).await, "access_token").to_owned();
        let app = "https://app.example.org";
        let asks = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"];
        for path in ["/token", "/fhir/Observation/_search"] {
            let reply = from(&world, &format!("OPTIONS {path}"), app, "", &asks).await;
            assert_eq!((reply.status, shared_with(&reply)), (204, app), "{path}");
            assert!(reply.header("access-control-allow-headers").contains("Authorization"));
            let strange = from(&world, &format!("OPTIONS {path}"), "https://evil.example", "", &asks).await;
            assert_eq!((strange.status, shared_with(&strange)), (204, ""), "{path}");
        }
        for (line, token, status) in [
            ("GET /fhir/Patient/P1", access.as_str(), 200),
            ("GET /fhir/Condition/c1", &access, 403),
            ("GET /fhir/Patient/P2", &access, 404),
            ("GET /fhir/Patient/P1", "", 401),
            ("GET /token", "", 405),
            ("GET /par", "", 405),
            ("GET /revoke", "", 405),
            ("GET /userinfo", "", 401),
        ] {
            let reply = from(&world, line, app, token, &[]).await;
            assert_eq!((reply.status, shared_with(&reply)), (status, app), "{line}");
            assert!(reply.header("vary").contains("Origin"), "{line}");
            assert!(reply.header("access-control-expose-headers").contains("WWW-Authenticate"), "{line}");
            for strange in ["https://evil.example", "null", "https://app.example.org.evil.example"] {
                assert_eq!(shared_with(&from(&world, line, strange, token, &[]).await), "", "{line} {strange}");
            }
        }
        for path in
            ["/fhir/.well-known/smart-configuration", "/.well-known/openid-configuration", "/jwks", "/fhir/metadata"]
        {
            assert_eq!(
                shared_with(&from(&world, &format!("GET {path}"), "https://any.example", "", &[]).await),
                "*",
                "{path}"
            );
            let asks = ["Access-Control-Request-Method: GET"];
            let preflight = from(&world, &format!("OPTIONS {path}"), "https://any.example", "", &asks).await;
            assert_eq!((preflight.status, shared_with(&preflight)), (204, "*"), "{path}");
        }
        for path in
            ["/authorize", "/login", "/consent", "/patient", "/authorize/continue", "/launch-contexts", "/introspect"]
        {
            assert_eq!(shared_with(&from(&world, &format!("GET {path}"), app, "", &[]).await), "", "{path}");
        }
        world.finish().await;
    });
}

// B2 48, T5, T6
#[test]
fn a_browser_app_is_told_that_it_is_throttled() {
    run(async {
        let world = World::with(Settings { failed_credentials: 1, ..settings() }).await;
        let mut last = None;
        for _ in 0..4 {
            let headers = ["Origin: https://app.example.org", "Content-Type: application/x-www-form-urlencoded"];
            last = Some(world.send("POST /token", "", &headers, &encoded(&exchange("BAD_CODE"))).await);
        }
        let reply = last.unwrap();
        assert_eq!((reply.status, shared_with(&reply)), (429, "https://app.example.org"));
        assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
        assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
        world.finish().await;
    });
}

#[test]
fn metadata_has_no_body_for_head_and_is_one_path_alone() {
    run(async {
        let world = world().await;
        let head = world.send("HEAD /fhir/metadata", "", &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{}", head.all());
        assert_eq!(head.header("content-type"), "application/fhir+json");
        assert_eq!(head.header("cache-control"), "public, max-age=300");
        for beside in ["/fhir/metadata/", "/fhir/metadata/1", "/fhir/metadatas", "/fhir/Metadata"] {
            let reply = world.get(beside, "").await;
            assert!(matches!(reply.status, 400 | 401 | 404), "{beside}: {}", reply.all());
        }
        world.finish().await;
    });
}
