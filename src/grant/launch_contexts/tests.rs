#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use serde_json::json;

use super::*;
use crate::grant::back_channel_testing::{BASE, ISSUER, NOW, Reply, Site, inbound, reply};
use crate::grant::grants::from_json;

const HERE: &str = "https://gateway.example.org/launch-contexts";

async fn post_with(site: &Site, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut facts = Facts::default();
    let request = inbound("POST", "/launch-contexts", headers, Bytes::copy_from_slice(body.as_bytes()));
    let answer = respond(&site.grants, &request, &mut facts).await;
    reply(answer, facts)
}

async fn post(site: &Site, body: &Value) -> Reply {
    let authorization = format!("Bearer {}", site.assertion("ehr", HERE));
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    post_with(site, &headers, &body.to_string()).await
}

async fn stored(site: &Site, reply: &Reply) -> LaunchContext {
    let key = Digest::of(reply.text("launch"));
    let entry = site.grants.store.take_once(Kind::Launch, key, site.clock.unix_seconds()).await.unwrap().unwrap();
    from_json(&entry.value).unwrap()
}

fn full() -> Value {
    json!({
        "client_id": "app",
        "patient": "patient-lovelace",
        "encounter": "encounter-of-today",
        "fhirContext": [
            {"reference": "ImagingStudy/123", "role": "https://example.org/role"},
            {"canonical": "http://example.org/Questionnaire/q|1", "type": "Questionnaire"},
            {"identifier": {"system": "urn:x", "value": "7"}, "type": "ServiceRequest"},
            {"reference": "Patient/baby", "role": "https://example.org/newborn"},
        ],
        "intent": "reconcile-medications",
        "need_patient_banner": true,
        "smart_style_url": "https://ehr.example.org/style.json",
        "tenant": "ward 7",
        "user": {"iss": "https://idp.example.org", "sub": "user-turing", "fhirUser": "Practitioner/practitioner-turing"},
    })
}

// L1, L2: decision 7
#[tokio::test]
async fn a_launch_context_becomes_an_opaque_handle_and_the_apps_launch_url() {
    let site = Site::new();
    let reply = post(&site, &json!({"client_id": "app", "patient": "p1"})).await;
    assert_eq!(reply.status, 201, "{}", reply.json);
    assert_eq!((reply.header("cache-control"), reply.header("content-type")), ("no-store", "application/json"));
    let handle = reply.text("launch");
    assert_eq!((handle.len(), reply.json["expires_in"].as_i64()), (43, Some(300)));
    let expected = format!(
        "https://app.example.org/launch?theme=dark&iss={}&launch={handle}",
        form_urlencoded::byte_serialize(BASE.as_bytes()).collect::<String>()
    );
    assert_eq!(reply.text("launch_url"), expected);
    assert_eq!(reply.json.as_object().unwrap().len(), 3);
    let context = stored(&site, &reply).await;
    assert_eq!((context.client_id.as_str(), context.ehr_client_id.as_str()), ("app", "ehr"));
    assert_eq!((context.patient.as_deref(), context.user, context.vouches), (Some("p1"), None, false));
    assert_eq!(reply.facts.client_id.as_deref(), Some("ehr"));
}

#[tokio::test]
async fn every_member_is_kept_and_a_vouched_for_user_shortens_the_handle() {
    let site = Site::new();
    let reply = post(&site, &full()).await;
    assert_eq!((reply.status.as_u16(), reply.json["expires_in"].as_i64()), (201, Some(60)));
    for person in ["patient-lovelace", "encounter-of-today", "turing"] {
        assert!(!reply.text("launch_url").contains(person), "nothing about a person stands in a URL");
    }
    let context = stored(&site, &reply).await;
    assert_eq!(json!(context.fhir_context), full()["fhirContext"]);
    assert_eq!((context.intent.as_deref(), context.tenant.as_deref()), (Some("reconcile-medications"), Some("ward 7")));
    assert_eq!((context.need_patient_banner, context.created, context.vouches), (Some(true), NOW, true));
    let user = context.user.unwrap();
    assert_eq!((user.iss.as_str(), user.sub.as_str()), ("https://idp.example.org", "user-turing"));
    assert_eq!(
        (user.fhir_user.as_deref(), user.roles),
        (Some("Practitioner/practitioner-turing"), vec!["clinician".to_owned()])
    );
}

// L2: out of a frame into a window
#[tokio::test]
async fn a_context_that_is_handed_over_again_logs_in_no_longer_than_before() {
    let site = Site::new();
    for (vouches, created) in [(true, NOW - 50), (false, NOW)] {
        let context = LaunchContext { vouches, created: NOW - 50, ..LaunchContext::default() };
        let handle = hand_over_again(&site.grants, &context).await.unwrap();
        let entry = site.grants.store.take_once(Kind::Launch, Digest::of(&handle), NOW).await.unwrap().unwrap();
        assert_eq!(from_json::<LaunchContext>(&entry.value).unwrap().created, created, "{vouches}");
    }
}

// L2
#[tokio::test]
async fn a_handle_is_gone_after_its_lifetime() {
    let site = Site::new();
    for (body, lifetime) in [(json!({"client_id": "app"}), 300), (full(), 60)] {
        let reply = post(&site, &body).await;
        let key = Digest::of(reply.text("launch"));
        let now = site.clock.unix_seconds();
        assert!(site.grants.store.read(Kind::Launch, key, now + lifetime - 1).await.unwrap().is_some());
        assert!(site.grants.store.read(Kind::Launch, key, now + lifetime).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_user_of_ours_is_who_is_configured_here_with_no_more_roles_than_the_ehr_may_give() {
    let site = Site::new();
    for fhir_user in ["Practitioner/d1", "https://gateway.example.org/fhir/Practitioner/d1"] {
        let user = json!({"iss": ISSUER, "sub": "dr.smith", "fhirUser": fhir_user});
        let reply = post(&site, &json!({"client_id": "app", "user": user})).await;
        let user = stored(&site, &reply).await.user.unwrap();
        assert_eq!(user.fhir_user.as_deref(), Some("Practitioner/d1"));
        assert_eq!((user.display_name.as_str(), user.roles), ("Dr. Smith", vec!["clinician".to_owned()]));
    }
    let other = json!({"iss": ISSUER, "sub": "dr.smith", "fhirUser": "Practitioner/d2"});
    let unknown = json!({"iss": ISSUER, "sub": "nobody"});
    for user in [other, unknown] {
        let reply = post(&site, &json!({"client_id": "app", "user": user})).await;
        assert_eq!(reply.refusal(), (422, "invalid_launch_context"));
    }
}

// Decision 7: an EHR vouches for those it is registered for, also among the users of this gateway
#[tokio::test]
async fn a_user_of_ours_of_another_type_or_without_a_role_that_the_ehr_may_give_is_not_logged_in() {
    let named = json!({"client_id": "app", "user": {"iss": ISSUER, "sub": "dr.smith"}});
    let post_with = async |fhir_user: Option<&str>, role: &str, change: fn(&mut Ehr)| {
        let site = Site::with(|config| {
            config.users[0].fhir_user = fhir_user.map(str::to_owned);
            config.users[0].roles = vec![role.to_owned()];
            change(config.clients[3].ehr.as_mut().unwrap());
        });
        post(&site, &named).await.status.as_u16()
    };
    assert_eq!(post_with(Some("Practitioner/d1"), "clinician", |_| {}).await, 201);
    assert_eq!(post_with(Some("Patient/p1"), "clinician", |_| {}).await, 403);
    assert_eq!(post_with(None, "clinician", |_| {}).await, 403);
    assert_eq!(post_with(Some("Practitioner/d1"), "patient", |_| {}).await, 403);
    // Where the EHR is held to no types, who somebody is here is the site's word alone.
    assert_eq!(post_with(None, "clinician", |ehr| ehr.user_types.clear()).await, 201);
    // An EHR that does not vouch only says who must log in.
    assert_eq!(post_with(Some("Patient/p1"), "patient", |ehr| ehr.vouches_for_users = false).await, 201);
}

#[tokio::test]
async fn an_ehr_that_does_not_vouch_names_who_must_log_in_and_gives_no_roles() {
    let site = Site::with(|config| config.clients[3].ehr.as_mut().unwrap().vouches_for_users = false);
    let reply = post(&site, &full()).await;
    assert_eq!(reply.json["expires_in"], json!(300));
    let context = stored(&site, &reply).await;
    assert!(!context.vouches);
    assert!(context.user.unwrap().roles.is_empty());
}

// 403
#[tokio::test]
async fn an_ehr_names_only_users_of_its_issuers_and_types() {
    let site = Site::new();
    for user in [
        json!({"iss": "https://other.example.org", "sub": "u1"}),
        json!({"iss": "https://idp.example.org/", "sub": "u1"}),
        json!({"iss": "https://idp.example.org", "sub": "u1", "fhirUser": "Patient/p1"}),
    ] {
        let reply = post(&site, &json!({"client_id": "app", "user": user})).await;
        assert_eq!(reply.refusal(), (403, "access_denied"), "{user}");
    }
    let only_ours = Site::with(|config| config.clients[3].ehr.as_mut().unwrap().user_issuers.clear());
    assert_eq!(post(&only_ours, &full()).await.refusal(), (403, "access_denied"));
}

// 401, 403; B2 33-38 at this endpoint
#[tokio::test]
async fn only_a_registered_ehr_that_proves_itself_is_heard() {
    let site = Site::new();
    let body = r#"{"client_id":"app"}"#;
    let json = ("content-type", "application/json");
    let good = site.assertion("ehr", HERE);
    for authorization in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer garbage".to_owned(),
        format!("Basic {good}"),
        format!("Bearer {}", site.assertion("unknown", HERE)),
        format!("Bearer {}", site.assertion("server", HERE)),
        format!("Bearer {}", site.assertion("ehr", "https://gateway.example.org/launch-contexts/")),
        format!("Bearer {}", site.assertion("ehr", BASE)),
    ] {
        let reply = post_with(&site, &[("authorization", &authorization), json], body).await;
        assert_eq!(reply.refusal(), (401, "invalid_client"), "{authorization}");
        assert!(reply.header("www-authenticate").starts_with("Bearer "));
        assert!(reply.credentials_failed);
    }
    let machine = format!("Bearer {}", site.assertion("machine", HERE));
    let reply = post_with(&site, &[("authorization", &machine), json], body).await;
    assert_eq!(reply.refusal(), (403, "unauthorized_client"));
    let twice = format!("Bearer {good}");
    assert_eq!(post_with(&site, &[("authorization", &twice), json], body).await.status, 201);
    assert_eq!(post_with(&site, &[("authorization", &twice), json], body).await.refusal(), (401, "invalid_client"));
    for audience in [ISSUER, "https://gateway.example.org/token"] {
        let authorization = format!("Bearer {}", site.assertion("ehr", audience));
        assert_eq!(post_with(&site, &[("authorization", &authorization), json], body).await.status, 201);
    }
}

// 400, 405
#[tokio::test]
async fn what_is_no_json_request_is_an_invalid_request() {
    let site = Site::new();
    for (content_type, body) in [
        ("application/json", ""),
        ("application/json", "{"),
        ("application/json", "client_id=app"),
        ("application/x-www-form-urlencoded", "client_id=app"),
        ("", r#"{"client_id":"app"}"#),
    ] {
        let authorization = format!("Bearer {}", site.assertion("ehr", HERE));
        let headers = [("authorization", authorization.as_str()), ("content-type", content_type)];
        assert_eq!(post_with(&site, &headers, body).await.refusal(), (400, "invalid_request"), "{body}");
    }
    let mut facts = Facts::default();
    let get = respond(&site.grants, &Inbound::for_test("GET", "/launch-contexts"), &mut facts).await;
    assert_eq!(reply(get, facts).refusal(), (405, "invalid_request"));
}

// R1, T9: 422
#[tokio::test]
async fn what_cannot_be_a_launch_context_is_refused_and_nothing_is_kept() {
    let site = Site::new();
    let with = |name: &str, value: Value| {
        let mut body = full();
        body[name] = value;
        body
    };
    for body in [
        json!([]),
        json!({}),
        json!({"client_id": "app", "unknown": 1}),
        json!({"client_id": "app", "launch_url": "https://evil.example"}),
        with("client_id", json!("unknown")),
        with("client_id", json!("server")),
        with("patient", json!("Patient/p1")),
        with("patient", json!("p1/../p2")),
        with("patient", json!("")),
        with("patient", json!(7)),
        with("encounter", json!("a b")),
        with("intent", json!("")),
        with("appContext", json!("")),
        with("appContext", json!({"a": 1})),
        with("appContext", json!("x".repeat(8_193))),
        with("tenant", json!("x".repeat(MAX_TEXT + 1))),
        with("need_patient_banner", json!("true")),
        with("smart_style_url", json!("/style.json")),
        with("smart_style_url", json!("http://ehr.example.org/style.json")),
        with("smart_style_url", json!("javascript:alert(1)")),
        with("user", json!({"iss": "https://idp.example.org"})),
        with("user", json!({"iss": "https://idp.example.org", "sub": ""})),
        with("user", json!({"iss": "https://idp.example.org", "sub": "u", "roles": ["admin"]})),
        with(
            "user",
            json!({"iss": "https://idp.example.org", "sub": "u", "fhirUser": "https://x.example/Practitioner/1"}),
        ),
        with("fhirContext", json!({})),
        with("fhirContext", json!(["ImagingStudy/1"])),
        with("fhirContext", json!([{}])),
        with("fhirContext", json!([{"role": "launch"}])),
        with("fhirContext", json!([{"reference": "https://x.example/ImagingStudy/1"}])),
        with("fhirContext", json!([{"reference": "NoType/1"}])),
        with("fhirContext", json!([{"reference": "ImagingStudy/1", "role": ""}])),
        with("fhirContext", json!([{"reference": "ImagingStudy/1", "role": "relative"}])),
        with("fhirContext", json!([{"reference": "ImagingStudy/1", "type": "Nothing"}])),
        with("fhirContext", json!([{"reference": "Patient/p2"}])),
        with("fhirContext", json!([{"reference": "Encounter/e2", "role": "launch"}])),
        with("fhirContext", json!([{"identifier": {"value": "7"}, "type": "Patient"}])),
        with("fhirContext", json!([{"identifier": "7"}])),
        with("fhirContext", json!([{"canonical": "not a url"}])),
        with("fhirContext", json!([{"canonical": "urn:uuid:7"}])),
        with("fhirContext", json!([{"canonical": "http://example.org/q|1"}])),
        with("fhirContext", json!([{"canonical": "http://example.org/Nothing/q"}])),
        with("fhirContext", json!([{"canonical": "http://example.org/Questionnaire/q", "type": "PlanDefinition"}])),
        with(
            "fhirContext",
            json!([{"reference": "ImagingStudy/1", "type": "Patient", "role": "https://example.org/r"}]),
        ),
        with("fhirContext", json!([{"reference": null, "identifier": {"value": "7"}}])),
        with("fhirContext", json!([{"identifier": {}}])),
        json!({"client_id": "app", "encounter": "e1"}),
        with("fhirContext", json!([{"reference": "ImagingStudy/1", "extra": 1}])),
    ] {
        let reply = post(&site, &body).await;
        assert_eq!(reply.refusal(), (422, "invalid_launch_context"), "{body}");
        assert!(reply.json["error_description"].is_string());
    }
    assert!(site.grants.store.list(Kind::Launch, None, NOW, 10).await.unwrap().is_empty());
}
