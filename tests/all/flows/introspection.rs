//! A resource server asks whether a token holds.

use super::*;
use crate::world::{Reply, Settings, World, run};
use firebreak::audit::EventKind;

async fn ask(world: &World, authorization: &str, asked: &str) -> Reply {
    let headers = ["Content-Type: application/x-www-form-urlencoded", authorization, "Accept: application/json"];
    world.send("POST /introspect", "", &headers, &encoded(&[("token", asked)])).await
}

// I1, I2, I3, I4, I5, V2: Inferno group 4
#[test]
fn a_token_is_active_as_it_was_given_until_its_grant_ends() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let server = basic("server", SECRET);
        let (access, refresh) = (text(&given, "access_token"), text(&given, "refresh_token"));
        let reply = ask(&world, &server, access).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
        let body = reply.json();
        assert_eq!((body["active"].as_bool(), text(&body, "client_id")), (Some(true), "app"));
        assert_eq!((text(&body, "scope"), text(&body, "patient")), (SCOPE, text(&given, "patient")));
        let id_token = claims(text(&given, "id_token"));
        for member in ["iss", "sub", "fhirUser"] {
            assert_eq!(body[member], id_token[member], "{member}");
        }
        assert!(body["exp"].is_i64() && body["exp"] == claims(access)["exp"]);
        assert_eq!(ask(&world, &server, refresh).await.json()["active"], true);
        assert_eq!(ask(&world, &server, "invalid_token_value").await.text(), r#"{"active":false}"#);

        let back = encoded(&[("token", refresh), ("client_id", "app")]);
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        assert_eq!(world.send("POST /revoke", "", &form, &back).await.status, 200);
        for token in [access, refresh] {
            assert_eq!(ask(&world, &server, token).await.text(), r#"{"active":false}"#);
        }
        let entries = world.finish().await;
        let asked: Vec<_> = entries.iter().filter(|entry| entry.record.kind == EventKind::Introspection).collect();
        assert_eq!(asked.len(), 5, "one record for each");
        assert!(asked.iter().all(|entry| entry.record.client_id.as_deref() == Some("server")));
    });
}

// I6, B3 71, 72
#[test]
fn a_bearer_may_ask_with_the_scope_and_nobody_without_credentials() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let access = text(&given, "access_token");
        let asked =
            request_of("server", "https://server.example.org/cb", "launch/patient patient/Patient.rs introspect");
        let code = code(&world, "dr", &asked).await;
        let fields =
            with(with(exchange(&code), "client_id", "server"), "redirect_uri", "https://server.example.org/cb");
        let watching = token(&world, &fields, &[&basic("server", SECRET)]).await.json();
        assert!(text(&watching, "scope").split(' ').any(|scope| scope == "introspect"), "{watching}");
        let bearer = format!("Authorization: Bearer {}", text(&watching, "access_token"));
        assert_eq!(ask(&world, &bearer, access).await.json()["active"], true);
        // The token that is asked about is no credential.
        let itself = ask(&world, &bearer, text(&watching, "access_token")).await;
        assert_eq!(refusal(&itself), refused(401, "invalid_token"));
        let nobody = ask(&world, "X-Nothing: here", access).await;
        assert_eq!(refusal(&nobody), refused(401, "invalid_client"));
        assert!(nobody.header("www-authenticate").starts_with("Bearer "));
        let other = ask(&world, &format!("Authorization: Bearer {access}"), access).await;
        assert_eq!(refusal(&other), refused(401, "invalid_token"));
        let second = tokens(&world, "pat", SCOPE).await;
        let other = ask(&world, &format!("Authorization: Bearer {}", text(&second, "access_token")), access).await;
        assert_eq!(refusal(&other), refused(403, "insufficient_scope"));
        assert_eq!(ask(&world, &basic("server", "wrong"), access).await.status, 401);
        // It opens nothing else.
        assert_eq!(world.get("/fhir/Observation?patient=P1", text(&watching, "access_token")).await.status, 403);
        world.finish().await;
    });
}

/// `server`, with what it needs to try an answer everywhere a token is taken.
async fn world_of_a_curious_server() -> World {
    let Settings { sections, .. } = settings();
    let more = "introspects = true\npost_logout_redirect_uris = [\"https://server.example.org/bye\"]\n\
                grant_types = [\"authorization_code\", \"refresh_token\", \"urn:ietf:params:oauth:grant-type:token-exchange\"]";
    World::with(Settings { sections: sections.replacen("introspects = true", more, 1), ..settings() }).await
}

// I7: RFC 9701 section 8.1
#[test]
fn a_signed_answer_passes_for_no_token() {
    run(async {
        let world = world_of_a_curious_server().await;
        let server = basic("server", SECRET);
        let given = tokens(&world, "pat", SCOPE).await;
        let headers = [
            "Content-Type: application/x-www-form-urlencoded",
            server.as_str(),
            "Accept: application/token-introspection+jwt",
        ];
        let asked = encoded(&[("token", text(&given, "access_token"))]);
        let reply = world.send("POST /introspect", "", &headers, &asked).await;
        assert_eq!(reply.header("content-type"), "application/token-introspection+jwt", "{}", reply.all());
        let signed = reply.text();
        assert_eq!(claims(signed)["token_introspection"]["active"], true);
        assert_eq!(claims(signed)["aud"], "server");

        assert_eq!(world.get("/fhir/Patient/P1", signed).await.status, 401, "an access token");
        assert_eq!(world.send("GET /userinfo", signed, &[], "").await.status, 401, "an access token");
        assert_eq!(ask(&world, &server, signed).await.text(), r#"{"active":false}"#);
        let bearer = ask(&world, &format!("Authorization: Bearer {signed}"), "x").await;
        assert_eq!(refusal(&bearer), refused(401, "invalid_token"), "a credential");
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", signed),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("scope", "patient/Patient.r"),
        ];
        let exchanged = token(&world, &fields, &[&server]).await;
        assert_eq!(refusal(&exchanged), refused(400, "invalid_grant"), "a subject token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", signed)];
        assert_eq!(
            refusal(&token(&world, &fields, &[&server]).await),
            refused(400, "invalid_grant"),
            "a refresh token"
        );

        let bye = "https://server.example.org/bye";
        let after = |named, value| encoded(&[(named, value), ("post_logout_redirect_uri", bye)]);
        let page = Browser::new(&world).get(&format!("/logout?{}", after("client_id", "server"))).await;
        assert_eq!(page.location().as_deref(), Some(bye));
        let page = Browser::new(&world).get(&format!("/logout?{}", after("id_token_hint", signed))).await;
        assert_eq!(page.location(), None, "an id_token");
        world.finish().await;
    });
}
