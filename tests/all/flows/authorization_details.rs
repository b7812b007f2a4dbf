//! An app asks to be told where its token is good (RFC 9396, type `smart_on_fhir`).

use serde_json::{Value, json};

use super::*;
use crate::world::{Reply, World, run};

const DETAILS: &str =
    r#"[{"type":"smart_on_fhir","locations":["https://gw.example.org/fhir/"],"fhirVersions":["4.0.1"]}]"#;
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// What is told of a grant of these scopes, with what is beside them.
fn told(scope: &str, beside: &Value) -> Value {
    let mut one = json!({"type": "smart_on_fhir", "locations": [BASE], "fhirVersions": ["4.0.1"], "scope": scope});
    one.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
    json!([one])
}

async fn asked_about(world: &World, token: &str) -> Value {
    let headers = [FORM, &basic("server", SECRET)];
    world.send("POST /introspect", "", &headers, &encoded(&[("token", token)])).await.json()
}

async fn push(world: &World, fields: &[(&str, &str)]) -> Reply {
    world.send("POST /par", "", &[FORM], &encoded(fields)).await
}

// T10, N9
#[test]
fn what_was_granted_comes_as_details_through_login_picker_consent_and_refresh() {
    run(async {
        let world = world().await;
        // More than the client may have, of which the person allows less.
        let scope = "openid offline_access launch/patient patient/Patient.cruds patient/Observation.rs";
        let request = with(with(request(scope), "prompt", "consent"), "authorization_details", DETAILS);
        let pushed = push(&world, &request).await.json();
        let named = [("client_id", "app"), ("request_uri", text(&pushed, "request_uri"))];
        for parameters in [request.as_slice(), &named] {
            let mut browser = Browser::new(&world);
            let page = browser.authorize(parameters).await;
            let page = browser.log_in(&page, "dr").await;
            let page = browser.pick(&page, "P1").await;
            assert_eq!(page.fields("scope"), ["patient/Patient.rs", "patient/Observation.rs", "offline_access"]);
            let page = browser.decide(&page, "allow", &["patient/Patient.rs", "offline_access"]).await;
            let code = page.returned("code").unwrap();
            world.secret(&code);
            let given = token(&world, &exchange(&code), &[]).await.json();
            let granted = "openid offline_access launch/patient patient/Patient.rs";
            let patient = json!({"patient": "P1"});
            assert_eq!((text(&given, "scope"), text(&given, "patient")), (granted, "P1"));
            assert_eq!(given["authorization_details"], told(granted, &patient));
            for token in ["access_token", "refresh_token"] {
                let about = asked_about(&world, text(&given, token)).await;
                assert_eq!(about["authorization_details"], told(granted, &patient), "{token}");
            }
            let refresh = [
                ("grant_type", "refresh_token"),
                ("refresh_token", text(&given, "refresh_token")),
                ("client_id", "app"),
                ("scope", "patient/Patient.r"),
            ];
            let again = token(&world, &refresh, &[]).await.json();
            assert_eq!(again["authorization_details"], told("patient/Patient.r", &patient));
            let about = asked_about(&world, text(&again, "access_token")).await;
            assert_eq!(about["authorization_details"], told("patient/Patient.r", &patient));
            assert_eq!(world.get("/fhir/Patient/P1", text(&again, "access_token")).await.status, 200);
        }
        let without = tokens(&world, "pat", SCOPE).await;
        assert_eq!(without.get("authorization_details"), None, "nobody asked");
        assert_eq!(asked_about(&world, text(&without, "access_token")).await.get("authorization_details"), None);
        world.finish().await;
    });
}

// T10
#[test]
fn the_context_of_an_ehr_launch_is_in_the_details() {
    run(async {
        let world = world().await;
        let context = json!([{"reference": "Observation/o1", "role": "https://example.org/why"}]);
        let launched = json!({
            "client_id": "spa", "patient": "P1", "encounter": "e1", "fhirContext": context,
            "user": {"iss": "https://idp.example.org", "sub": "nurse-joy", "fhirUser": "Practitioner/d1"},
        });
        let launch = handle(&world, "ehr", &launched).await;
        let spa = "https://spa.example.org/cb";
        let scope = "launch patient/Patient.rs";
        let request = with(request_of("spa", spa, scope), "launch", &launch);
        let code =
            code(&world, "nobody", &with(request, "authorization_details", r#"[{"type":"smart_on_fhir"}]"#)).await;
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", spa);
        let given = token(&world, &fields, &[]).await.json();
        let beside = json!({"patient": "P1", "encounter": "e1", "fhirContext": context});
        assert_eq!(given["authorization_details"], told(scope, &beside));
        world.finish().await;
    });
}

// N9, T10: a scope in them is refused, too, and so widens nothing
#[test]
fn details_that_are_not_understood_are_refused_wherever_they_are_sent() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        for bad in [
            "[",
            "{}",
            "[]",
            "null",
            "[7]",
            "[{}]",
            r#"{"type":"smart_on_fhir"}"#,
            r#"[["smart_on_fhir"]]"#,
            r#"[{"type":"payment_initiation"}]"#,
            r#"[{"type":"SMART_ON_FHIR"}]"#,
            r#"[{"type":"smart_on_fhir"},{"type":"openid_credential"}]"#,
            r#"[{"type":"openid_credential","type":"smart_on_fhir"}]"#,
            r#"[{"type":"smart_on_fhir","locations":["https://other.example/fhir"]}]"#,
            r#"[{"type":"smart_on_fhir","locations":["https://gw.example.org/fhir","https://other.example/fhir"]}]"#,
            r#"[{"type":"smart_on_fhir","locations":[]}]"#,
            r#"[{"type":"smart_on_fhir","locations":null}]"#,
            r#"[{"type":"smart_on_fhir","locations":"https://gw.example.org/fhir"}]"#,
            r#"[{"type":"smart_on_fhir","fhirVersions":["4.0.1","5.0.0"]}]"#,
            r#"[{"type":"smart_on_fhir","fhirVersions":["4.0"]}]"#,
            r#"[{"type":"smart_on_fhir","scope":"patient/*.cruds"}]"#,
            r#"[{"type":"smart_on_fhir","scope":"patient/Patient.rs"}]"#,
            r#"[{"type":"smart_on_fhir","patient":"P2"}]"#,
            r#"[{"type":"smart_on_fhir","actions":["read"]}]"#,
        ] {
            let flawed = with(request(SCOPE), "authorization_details", bad);
            let page = Browser::new(&world).authorize(&flawed).await;
            assert_eq!(page.refusal(), "invalid_authorization_details", "{bad}");
            assert_eq!(page.returned("state").as_deref(), Some("st4te"));
            assert_eq!(refusal(&push(&world, &flawed).await), refused(400, "invalid_authorization_details"), "{bad}");
            let refresh = [
                ("grant_type", "refresh_token"),
                ("refresh_token", text(&given, "refresh_token")),
                ("client_id", "app"),
                ("authorization_details", bad),
            ];
            let reply = token(&world, &refresh, &[]).await;
            assert_eq!(refusal(&reply), refused(400, "invalid_authorization_details"), "{bad}");
        }
        // Nothing was spent; asking at a refresh adds nothing that was not asked for with the grant.
        let refresh = [
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&given, "refresh_token")),
            ("client_id", "app"),
            ("authorization_details", DETAILS),
        ];
        let again = token(&world, &refresh, &[]).await.json();
        assert_eq!((text(&again, "scope"), again.get("authorization_details")), (SCOPE, None));
        assert!(
            Browser::new(&world).authorize(&with(request(SCOPE), "authorization_details", "")).await.asks_for_login()
        );
        world.finish().await;
    });
}
