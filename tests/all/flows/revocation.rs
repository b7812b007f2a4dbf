//! An app gives its tokens back, and what another process revoked ends here.

use super::*;
use crate::world::{Reply, World, run};
use firebreak::audit::EventKind;
use firebreak::grant::grants::revoke_stored;

async fn give_back(world: &World, fields: &[(&str, &str)], more: &[&str]) -> Reply {
    let mut headers = vec!["Content-Type: application/x-www-form-urlencoded"];
    headers.extend(more);
    world.send("POST /revoke", "", &headers, &encoded(fields)).await
}

async fn refresh(world: &World, token: &str) -> Reply {
    super::token(world, &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")], &[]).await
}

// V1, V2, E8: at once
#[test]
fn what_an_app_gives_back_opens_nothing_from_then_on() {
    run(async {
        let world = world().await;
        for name in ["refresh_token", "access_token"] {
            let given = tokens(&world, "pat", SCOPE).await;
            let access = text(&given, "access_token");
            assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
            let reply = give_back(&world, &[("token", text(&given, name)), ("client_id", "app")], &[]).await;
            assert_eq!((reply.status, reply.text(), reply.header("cache-control")), (200, "", "no-store"));
            let refused_read = world.get("/fhir/Patient/P1", access).await;
            assert_eq!(refused_read.status, 401, "{name}");
            assert!(refused_read.header("www-authenticate").contains("invalid_token"));
            assert_eq!(refusal(&refresh(&world, text(&given, "refresh_token")).await), refused(400, "invalid_grant"));
        }
        let entries = world.finish().await;
        let revoked = entries.iter().filter(|entry| {
            entry.record.kind == EventKind::Revocation && entry.record.action.as_deref() == Some("token_revoked")
        });
        assert_eq!(revoked.filter(|entry| entry.record.target.is_some()).count(), 2);
    });
}

// V1, B3 73
#[test]
fn nobody_gives_back_what_is_not_theirs() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let (access, held) = (text(&given, "access_token"), text(&given, "refresh_token"));
        for token in [access, held, "unknown"] {
            assert_eq!(give_back(&world, &[("token", token), ("client_id", "spa")], &[]).await.status, 200);
            let server = basic("server", SECRET);
            assert_eq!(give_back(&world, &[("token", token)], &[&server]).await.status, 200);
            let unnamed = give_back(&world, &[("token", token)], &[]).await;
            assert_eq!(refusal(&unnamed), refused(401, "invalid_client"));
        }
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        assert_eq!(refresh(&world, held).await.status, 200);
        let from_app = give_back(&world, &[("token", "x"), ("client_id", "app")], &["Origin: https://app.example.org"]);
        assert_eq!(from_app.await.header("access-control-allow-origin"), "https://app.example.org");
        world.finish().await;
    });
}

// F7, V2: `firebreak grant revoke`, or another process that shares the store
#[test]
fn a_grant_that_another_process_revoked_is_refused_here_within_five_seconds() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let access = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        let gid = claims(access)["gid"].as_str().unwrap().to_owned();
        revoke_stored(&*world.grants.store, &gid, world.clock.unix_seconds()).await.unwrap();
        assert_eq!(refusal(&refresh(&world, text(&given, "refresh_token")).await), refused(400, "invalid_grant"));
        let begun = tokio::time::Instant::now();
        while world.get("/fhir/Patient/P1", access).await.status != 401 {
            assert!(begun.elapsed() < std::time::Duration::from_secs(5));
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        world.finish().await;
    });
}
