//! Who gave a token, for clients that know OpenID Connect and no FHIR.

use super::dpop::{ProvingKey, bound, fetch};
use super::*;
use crate::world::{Reply, World, run};
use firebreak::audit::EventKind;
use serde_json::json;

const LINE: &str = "GET /userinfo";

async fn ask(world: &World, line: &str, headers: &[&str]) -> Reply {
    world.send(line, "", headers, "").await
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn challenge(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.header("www-authenticate"))
}

// O8
#[test]
fn a_bearer_is_told_who_gave_the_token_as_the_id_token_says_it() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let id_token = claims(text(&given, "id_token"));
        let expected = json!({"sub": id_token["sub"], "fhirUser": id_token["fhirUser"]});
        let access = bearer(text(&given, "access_token"));
        for line in [LINE, "POST /userinfo"] {
            let reply = ask(&world, line, &[&access, "Origin: https://app.example.org"]).await;
            assert_eq!((reply.status, reply.json()), (200, expected.clone()), "{}", reply.all());
            assert_eq!((reply.header("content-type"), reply.header("cache-control")), ("application/json", "no-store"));
            assert_eq!(reply.header("access-control-allow-origin"), "https://app.example.org");
        }
        assert!(expected["fhirUser"].as_str().is_some_and(|user| user == format!("{BASE}/Patient/P1")), "{expected}");
        // A token that was made for less says less.
        let fields = |scope| {
            let refresh = text(&given, "refresh_token").to_owned();
            [
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", refresh),
                ("client_id", "app".to_owned()),
                ("scope", scope),
            ]
        };
        let narrow = fields("openid launch/patient".to_owned());
        let narrow = token(&world, &narrow.each_ref().map(|(name, value)| (*name, value.as_str())), &[]).await.json();
        let reply = ask(&world, LINE, &[&bearer(text(&narrow, "access_token"))]).await;
        assert_eq!(reply.json(), json!({"sub": id_token["sub"]}));
        let without = [
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&narrow, "refresh_token")),
            ("client_id", "app"),
            ("scope", "launch/patient"),
        ];
        let without = token(&world, &without, &[]).await.json();
        let reply = ask(&world, LINE, &[&bearer(text(&without, "access_token"))]).await;
        assert_eq!(refusal(&reply), refused(403, "insufficient_scope"));
        assert!(reply.header("www-authenticate").contains("scope=\"openid\""));
        let entries = world.finish().await;
        let told: Vec<_> = entries.iter().filter(|entry| entry.record.action.as_deref() == Some("user_info")).collect();
        assert_eq!(told.len(), 4, "one record for each");
        assert!(told.iter().all(|entry| entry.record.kind == EventKind::Introspection));
        assert!(
            told.iter().all(|entry| entry.record.client_id.as_deref() == Some("app") && entry.record.sub.is_some())
        );
    });
}

// O8: what the FHIR base refuses is refused here
#[test]
fn what_is_no_token_that_holds_is_told_nothing() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let nobody = ask(&world, LINE, &[]).await;
        assert_eq!(challenge(&nobody), (401, "Bearer realm=\"userinfo\""));
        for bad in ["garbage", text(&given, "refresh_token"), text(&given, "id_token")] {
            let reply = ask(&world, LINE, &[&bearer(bad)]).await;
            assert_eq!(challenge(&reply), (401, "Bearer realm=\"userinfo\", error=\"invalid_token\""), "{bad}");
        }
        let access = text(&given, "access_token").to_owned();
        let twice = [bearer(&access), bearer(&access)];
        let twice = ask(&world, LINE, &twice.each_ref().map(String::as_str)).await;
        assert_eq!(refusal(&twice), refused(400, "invalid_request"));
        let in_url = ask(&world, &format!("GET /userinfo?access_token={access}"), &[&bearer(&access)]).await;
        assert_eq!(refusal(&in_url), refused(400, "invalid_request"));
        let put = ask(&world, "PUT /userinfo", &[&bearer(&access)]).await;
        assert_eq!((put.status, put.header("allow")), (405, "GET, POST"));
        let back = encoded(&[("token", access.as_str()), ("client_id", "app")]);
        let form = ["Content-Type: application/x-www-form-urlencoded"];
        assert_eq!(world.send("POST /revoke", "", &form, &back).await.status, 200);
        assert_eq!(ask(&world, LINE, &[&bearer(&access)]).await.status, 401, "revoked");
        world.finish().await;
    });
}

// O8, N2
#[test]
fn a_bound_token_needs_its_proof_here_too() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let given = bound(&world, &key).await;
        let access = text(&given, "access_token");
        let stolen = ask(&world, LINE, &[&bearer(access)]).await;
        assert!(challenge(&stolen).1.contains("invalid_token"), "{}", stolen.all());
        let proven = key.with(&world, LINE, access);
        assert_eq!(fetch(&world, LINE, &proven).await.status, 200);
        let refused = [
            ("used before", proven.to_vec()),
            ("another key", ProvingKey::generate().with(&world, LINE, access).to_vec()),
            ("another token", [&key.with(&world, LINE, access)[..1], &key.with(&world, LINE, "x")[1..]].concat()),
            ("another url", key.with(&world, "GET /fhir/Patient/P1", access).to_vec()),
            ("no proof", vec![format!("Authorization: DPoP {access}")]),
        ];
        for (why, headers) in refused {
            let reply = fetch(&world, LINE, &headers).await;
            let (status, challenge) = challenge(&reply);
            assert_eq!(status, 401, "{why}");
            assert!(challenge.starts_with("DPoP ") && challenge.contains("invalid_dpop_proof"), "{why}: {challenge}");
        }
        let unbound = tokens(&world, "mum", SCOPE).await;
        let unbound = text(&unbound, "access_token");
        assert_eq!(
            fetch(&world, LINE, &key.with(&world, LINE, unbound)).await.status,
            401,
            "a bearer token is not bound"
        );
        world.finish().await;
    });
}
