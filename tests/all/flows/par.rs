//! Requests that an app pushes before it sends a browser (RFC 9126), from the first byte to the token.

use super::dpop::ProvingKey;
use super::*;
use crate::world::{Reply, World, run};
use firebreak::clock::Clock;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

async fn push(world: &World, headers: &[&str], fields: &[(&str, &str)]) -> Reply {
    let mut all = vec![FORM];
    all.extend(headers);
    let reply = world.send("POST /par", "", &all, &encoded(fields)).await;
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"), "{}", reply.all());
    reply
}

async fn pushed(world: &World, headers: &[&str], fields: &[(&str, &str)]) -> String {
    let reply = push(world, headers, fields).await;
    assert_eq!(reply.status, 201, "{}", reply.all());
    assert_eq!(reply.json()["expires_in"], 60);
    text(&reply.json(), "request_uri").to_owned()
}

// N1, N4: state and iss come back
#[test]
fn an_app_pushes_its_request_and_gets_its_code_and_token() {
    run(async {
        let world = world().await;
        let request_uri = pushed(&world, &[], &request(SCOPE)).await;
        let parameters = [("client_id", "app"), ("request_uri", request_uri.as_str())];
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&parameters).await;
        // The page may be reloaded; the request_uri may not be used again.
        let page = browser.log_in(&page, "pat").await;
        let page = browser.pick_if_asked(&page, "P1").await;
        let page = browser.allow_all(&page).await;
        assert_eq!(page.returned("state").as_deref(), Some("st4te"));
        assert_eq!(page.returned("iss").as_deref(), Some(ISSUER));
        let code = page.returned("code").unwrap();
        let reply = token(&world, &exchange(&code), &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        let again = Browser::new(&world).authorize(&parameters).await;
        assert_eq!((again.reply.status, again.location()), (400, None));
        world.finish().await;
    });
}

// N1, N2: what an app of the high-security kind does
#[test]
fn a_confidential_app_pushes_with_a_proof_and_its_code_needs_the_key() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let parameters = request_of("server", "https://server.example.org/cb", SCOPE);
        let authorization = basic("server", SECRET);
        assert_eq!(refusal(&push(&world, &[], &parameters).await), refused(401, "invalid_client"));
        let proof = key.proof(&world, "POST /par");
        let request_uri = pushed(&world, &[&authorization, &proof], &parameters).await;
        let code = code(&world, "pat", &[("client_id", "server"), ("request_uri", &request_uri)]).await;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", "https://server.example.org/cb"),
            ("code_verifier", VERIFIER),
        ];
        let proof = key.proof(&world, "POST /token");
        let reply = token(&world, &fields, &[&authorization, &proof]).await;
        assert_eq!(text(&reply.json(), "token_type"), "DPoP", "{}", reply.all());
        let entries = world.finish().await;
        let pushed = entries.iter().filter(|entry| entry.record.action.as_deref() == Some("request_pushed"));
        assert_eq!(pushed.count(), 1, "the act of a client that proved who it is; the one that did not is counted");
    });
}

// N1, B1 16
#[test]
fn a_pushed_request_is_for_one_browser_for_a_minute_and_unchanged() {
    run(async {
        let clock = Clock::fixed(1_900_000_000);
        let world = world_at(&clock).await;
        let uri = pushed(&world, &[], &request(SCOPE)).await;
        let late = pushed(&world, &[], &request(SCOPE)).await;
        let changed = pushed(&world, &[], &request(SCOPE)).await;
        for parameters in [
            vec![("client_id", "spa"), ("request_uri", uri.as_str())],
            vec![("client_id", "app"), ("request_uri", uri.as_str())],
            vec![("client_id", "app"), ("request_uri", changed.as_str()), ("scope", "patient/*.cruds")],
            vec![("request_uri", changed.as_str())],
        ] {
            let page = Browser::new(&world).authorize(&parameters).await;
            assert_eq!((page.reply.status, page.location()), (400, None), "{parameters:?}");
            assert!(page.reply.header("content-type").starts_with("text/html"));
        }
        world.advance(60).await;
        let page = Browser::new(&world).authorize(&[("client_id", "app"), ("request_uri", &late)]).await;
        assert_eq!(page.reply.status, 400);
        world.finish().await;
    });
}

// N1, T6: a browser app pushes from its own origin
#[test]
fn a_registered_origin_may_push_and_another_reads_nothing() {
    run(async {
        let world = world().await;
        for (origin, allowed) in [("https://app.example.org", "https://app.example.org"), ("https://evil.example", "")]
        {
            let origin = format!("Origin: {origin}");
            let ask = [origin.as_str(), "Access-Control-Request-Method: POST"];
            let preflight = world.send("OPTIONS /par", "", &ask, "").await;
            assert_eq!(preflight.status, 204);
            assert_eq!(preflight.header("access-control-allow-origin"), allowed);
            assert_eq!(preflight.header("access-control-allow-headers").contains("DPoP"), !allowed.is_empty());
            let reply = push(&world, &[&origin], &request(SCOPE)).await;
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (201, allowed));
        }
        // N6: the authorization endpoint itself is for browsers to go to, not for scripts to read.
        let target = format!("GET /authorize?{}", encoded(&request(SCOPE)));
        let reply = world.send(&target, "", &["Origin: https://app.example.org"], "").await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (303, ""));
        world.finish().await;
    });
}

// N1, D12
#[test]
fn discovery_names_the_endpoint_and_whether_it_must_be_used() {
    run(async {
        let world = world().await;
        let document = world.get("/.well-known/oauth-authorization-server", "").await.json();
        assert_eq!(document["pushed_authorization_request_endpoint"], format!("{ISSUER}/par"));
        assert_eq!(document["require_pushed_authorization_requests"], false);
        world.finish().await;
    });
}
