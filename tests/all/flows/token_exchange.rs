//! A client exchanges a token of its own for one that may do less (RFC 8693), and both end together.

use super::*;
use crate::world::{Settings, World, run};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

async fn world_with_a_splitter() -> World {
    let mut settings = settings();
    settings.sections.push_str(
        "[[client]]\nclient_id = \"splitter\"\nredirect_uris = [\"https://splitter.example.org/cb\"]\n\
         scope = \"openid fhirUser offline_access launch/patient patient/*.rs\"\n\
         grant_types = [\"authorization_code\", \"urn:ietf:params:oauth:grant-type:token-exchange\"]\n",
    );
    World::with(Settings { ..settings }).await
}

fn narrow<'a>(token: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "splitter"),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("scope", scope),
    ]
}

// N8, B2 47
#[test]
fn a_narrower_token_reads_less_and_ends_with_the_grant() {
    run(async {
        let world = world_with_a_splitter().await;
        let parameters = request_of("splitter", "https://splitter.example.org/cb", SCOPE);
        let code = code(&world, "pat", &parameters).await;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", "https://splitter.example.org/cb"),
            ("client_id", "splitter"),
            ("code_verifier", VERIFIER),
        ];
        let wide = token(&world, &fields, &[]).await.json();
        let wide = text(&wide, "access_token");
        let reply = token(&world, &narrow(wide, "patient/Patient.r"), &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert_eq!(text(&reply.json(), "issued_token_type"), ACCESS_TOKEN);
        let given = reply.json();
        let less = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", less).await.status, 200);
        assert_eq!(world.get("/fhir/Observation?patient=P1", wide).await.status, 200);
        assert_eq!(world.get("/fhir/Observation?patient=P1", less).await.status, 403);
        assert_eq!(world.get("/fhir/Patient?_id=P1", less).await.status, 403);
        let wider = token(&world, &narrow(less, "patient/Observation.rs"), &[]).await;
        assert_eq!(refusal(&wider), refused(400, "invalid_scope"));
        // Another client's token, and a client that is not registered for it.
        let other = tokens(&world, "pat", SCOPE).await;
        let foreign = token(&world, &narrow(text(&other, "access_token"), "patient/Patient.r"), &[]).await;
        assert_eq!(refusal(&foreign), refused(400, "invalid_grant"));
        let not_registered = with(narrow(text(&other, "access_token"), "patient/Patient.r"), "client_id", "app");
        assert_eq!(refusal(&token(&world, &not_registered, &[]).await), refused(400, "unauthorized_client"));
        // The grant is the unit of revocation: a replayed code ends both.
        assert_eq!(refusal(&token(&world, &fields, &[]).await), refused(400, "invalid_grant"));
        for access in [wide, less] {
            assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 401);
        }
        let entries = world.finish().await;
        let exchanged = entries.iter().filter(|entry| entry.record.action.as_deref() == Some("token_exchanged"));
        let of_splitter: Vec<_> =
            exchanged.filter(|entry| entry.record.client_id.as_deref() == Some("splitter")).collect();
        assert_eq!(of_splitter.len(), 2, "the one that was given and the one that asked for more");
        assert!(of_splitter.iter().all(|entry| entry.record.sub.is_some() && entry.record.target.is_some()));
    });
}
