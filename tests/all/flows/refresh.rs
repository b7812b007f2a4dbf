//! Refresh tokens and replayed codes: what is used twice takes everything with it.

use super::*;
use crate::world::{Reply, World, run};
use firebreak::clock::Clock;

async fn refresh(world: &World, refresh_token: &str, more: &[(&str, &str)]) -> Reply {
    let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", "app")];
    fields.extend(more);
    token(world, &fields, &[]).await
}

#[test]
fn a_replayed_code_ends_what_its_first_use_gave() {
    run(async {
        let world = world().await;
        let code = code(&world, "pat", &request(SCOPE)).await;
        let first = token(&world, &exchange(&code), &[]).await.json();
        let access = text(&first, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        assert_eq!(refusal(&token(&world, &exchange(&code), &[]).await), refused(400, "invalid_grant"));
        let ended = world.get("/fhir/Patient/P1", access).await;
        assert_eq!(ended.status, 401);
        assert!(ended.header("www-authenticate").contains("invalid_token"), "{}", ended.all());
        let again = refresh(&world, text(&first, "refresh_token"), &[]).await;
        assert_eq!(refusal(&again), refused(400, "invalid_grant"));
        let entries = world.finish().await;
        let replay = entries.iter().find(|entry| entry.record.reason.as_deref() == Some("code_replayed")).unwrap();
        assert_eq!(replay.record.client_id.as_deref(), Some("app"));
        assert_eq!(replay.record.target.as_deref(), Some(text(&claims(access), "gid")), "the grant it ended");
    });
}

#[test]
fn a_reused_refresh_token_ends_its_family_and_a_second_try_at_once_does_not() {
    run(async {
        let clock = Clock::fixed(1_900_000_000);
        let world = world_at(&clock).await;
        let first = tokens(&world, "pat", SCOPE).await;
        let old = text(&first, "refresh_token").to_owned();
        let second = refresh(&world, &old, &[]).await.json();
        assert_eq!(text(&second, "patient"), "P1");
        assert_eq!(refusal(&refresh(&world, &old, &[]).await), refused(400, "invalid_grant"));
        let third = refresh(&world, text(&second, "refresh_token"), &[]).await;
        assert_eq!(third.status, 200, "two tabs at once: {}", third.all());
        let third = third.json();
        assert_eq!(world.get("/fhir/Patient/P1", text(&third, "access_token")).await.status, 200);
        clock.advance(11);
        assert_eq!(refusal(&refresh(&world, &old, &[]).await), refused(400, "invalid_grant"));
        for access in [&first, &second, &third] {
            assert_eq!(world.get("/fhir/Patient/P1", text(access, "access_token")).await.status, 401);
        }
        assert_eq!(refusal(&refresh(&world, text(&third, "refresh_token"), &[]).await), refused(400, "invalid_grant"));
        world.finish().await;
    });
}

#[test]
fn a_refresh_of_another_client_or_for_more_is_refused_and_for_less_is_given() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let mut held = text(&given, "refresh_token").to_owned();
        let stolen = [("grant_type", "refresh_token"), ("refresh_token", held.as_str())];
        for (client, headers) in [("other", vec![]), ("spa", vec![])] {
            let mut fields = stolen.to_vec();
            fields.push(("client_id", client));
            assert_eq!(refusal(&token(&world, &fields, &headers).await), refused(400, "invalid_grant"), "{client}");
        }
        let authorization = basic("server", SECRET);
        assert_eq!(refusal(&token(&world, &stolen, &[&authorization]).await), refused(400, "invalid_grant"));
        for more in ["patient/*.rs", "user/Patient.rs", "openid patient/Patient.cruds", "nonsense", "system/*.rs", " "]
        {
            let reply = refresh(&world, &held, &[("scope", more)]).await;
            assert_eq!(refusal(&reply), refused(400, "invalid_scope"), "{more}");
        }
        let same = "offline_access patient/Patient.rs patient/Observation.rs launch/patient fhirUser openid";
        for scope in [same, "patient/Patient.r"] {
            let reply = refresh(&world, &held, &[("scope", scope)]).await.json();
            assert_eq!(text(&reply, "scope"), scope);
            held = text(&reply, "refresh_token").to_owned();
            let access = text(&reply, "access_token");
            let expected = if scope == same { 200 } else { 403 };
            assert_eq!(world.get("/fhir/Observation?patient=P1", access).await.status, expected);
        }
        // Less this time is not less for ever; without client_id the token tells whose it is.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", held.as_str())];
        assert_eq!(text(&token(&world, &fields, &[]).await.json(), "scope"), SCOPE);
        world.finish().await;
    });
}

// T7
#[test]
fn an_access_token_expires_to_the_second_and_the_refresh_token_goes_on() {
    run(async {
        let clock = Clock::fixed(1_900_000_000);
        let world = world_at(&clock).await;
        let given = tokens(&world, "pat", SCOPE).await;
        let life = given["expires_in"].as_i64().unwrap();
        // The store is heard every second of the real time, and that of the clock may not get away from it.
        for _ in 0..(life - 1) / 20 {
            clock.advance(20);
            world.grants.revocations.refresh(&*world.grants.store).await.unwrap();
        }
        clock.advance((life - 1) % 20);
        let access = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        clock.advance(1);
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 401);
        let again = refresh(&world, text(&given, "refresh_token"), &[]).await.json();
        assert_eq!(world.get("/fhir/Patient/P1", text(&again, "access_token")).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn no_other_token_of_ours_opens_fhir_or_gives_tokens() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        for name in ["refresh_token", "id_token"] {
            let reply = world.get("/fhir/Patient/P1", text(&given, name)).await;
            assert_eq!(reply.status, 401, "{name}");
        }
        for name in ["access_token", "id_token"] {
            assert_eq!(
                refusal(&refresh(&world, text(&given, name), &[]).await),
                refused(400, "invalid_grant"),
                "{name}"
            );
        }
        world.finish().await;
    });
}
