#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};

use crate::config::ClientAuthentication;
use crate::grant::records::{LaunchContext, User};
use crate::grant::testing::{Browser, changed, config, encoded, form, request};
use crate::listen::Inbound;
use crate::secret::Digest;

const SCOPE: &str = "launch/patient patient/*.rs openid fhirUser";

/// What the app, or the person, is told when these parameters are changed.
async fn refusal(changes: &[(&str, Option<&str>)]) -> String {
    Browser::new().authorize(&changed(SCOPE, changes)).await.refusal()
}

async fn refusal_of(parameters: &[(&str, &str)]) -> String {
    Browser::new().authorize(parameters).await.refusal()
}

fn ehr_launch() -> LaunchContext {
    LaunchContext {
        client_id: "app".to_owned(),
        ehr_client_id: "ehr".to_owned(),
        patient: Some("p1".to_owned()),
        ..LaunchContext::default()
    }
}

fn vouched() -> User {
    User {
        iss: "https://ehr.example.org".to_owned(),
        sub: "dr".to_owned(),
        display_name: "Dr. Dee".to_owned(),
        fhir_user: Some("Practitioner/dr".to_owned()),
        roles: vec!["clinician".to_owned()],
        patients: Vec::new(),
    }
}

#[tokio::test]
async fn a1_get_and_post_lead_to_the_same_page() {
    let mut browser = Browser::new();
    let got = browser.authorize(&request(SCOPE)).await;
    let posted = browser.post_from_elsewhere("/authorize", &request(SCOPE)).await;
    assert_eq!(posted.status, 303);
    let posted = browser.follow(posted).await;
    assert!(got.text.contains("<h1>Sign in</h1>") && posted.text.contains("<h1>Sign in</h1>"));
}

#[tokio::test]
async fn a1_a_post_from_another_site_finds_the_session_after_its_redirect() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let page = browser.log_in(&page, "pat").await;
    assert!(page.text.contains("asks for access"));
    let posted = browser.post_from_elsewhere("/authorize", &request(SCOPE)).await;
    let page = browser.follow(posted).await;
    assert!(page.text.contains("asks for access"), "{}", page.text);
}

#[tokio::test]
async fn nothing_but_an_opaque_handle_stands_in_urls_of_ours() {
    let mut browser = Browser::new();
    let page = browser.get(&format!("/authorize?{}", encoded(&request(SCOPE)))).await;
    let location = page.location().unwrap();
    let handle = location.strip_prefix("/authorize/continue?transaction=").unwrap();
    assert_eq!(handle.len(), 43);
}

// A3, B1 15
#[tokio::test]
async fn b1_1_an_unknown_missing_or_doubled_client_gets_a_page_and_no_redirect() {
    assert_eq!(refusal(&[("client_id", Some("nobody"))]).await, "400");
    assert_eq!(refusal(&[("client_id", None)]).await, "400");
    assert_eq!(refusal(&[("client_id", Some("ehr"))]).await, "400");
    let mut doubled = request(SCOPE);
    doubled.push(("client_id", "app"));
    assert_eq!(refusal_of(&doubled).await, "400");
}

// A3, B1 15
#[tokio::test]
async fn b1_2_a_redirect_uri_that_is_not_the_registered_one_gets_a_page_and_no_redirect() {
    for other in [
        "https://app.example.org/cb/",
        "https://app.example.org/CB",
        "https://app.example.org:443/cb",
        "https://app.example.org/cb?x=1",
        "https://app.example.org/x/../cb",
        "https://app.example.org/cb#f",
        "https://u@app.example.org/cb",
        "http://app.example.org/cb",
        "https://evil.example/cb",
        "",
    ] {
        assert_eq!(refusal(&[("redirect_uri", Some(other))]).await, "400", "{other}");
    }
    assert_eq!(refusal(&[("redirect_uri", None)]).await, "400");
    let mut doubled = request(SCOPE);
    doubled.push(("redirect_uri", "https://app.example.org/cb"));
    assert_eq!(refusal_of(&doubled).await, "400");
}

// A2, B1 3
#[tokio::test]
async fn b1_3_only_response_type_code_is_supported() {
    assert_eq!(refusal(&[("response_type", None)]).await, "invalid_request");
    for other in ["token", "id_token", "code id_token"] {
        assert_eq!(refusal(&[("response_type", Some(other))]).await, "unsupported_response_type");
    }
    assert_eq!(refusal(&[("response_mode", Some("fragment"))]).await, "invalid_request");
}

// RFC 6749 section 3.1: without a value it is as if it had been omitted, and twice is once too often all the same
#[tokio::test]
async fn a_parameter_without_a_value_is_as_good_as_none() {
    let empty =
        ["response_mode", "request", "request_uri", "prompt", "max_age", "launch", "dpop_jkt", "nonce", "display"];
    for name in empty {
        let page = Browser::new().authorize(&changed(SCOPE, &[(name, Some(""))])).await;
        assert!(page.text.contains("<h1>Sign in</h1>"), "{name}: {} {:?}", page.status, page.location());
    }
    for name in ["client_id", "redirect_uri"] {
        let mut doubled = request(SCOPE);
        doubled.push((name, ""));
        assert_eq!(refusal_of(&doubled).await, "400", "{name}");
    }
    let mut doubled = request(SCOPE);
    doubled.push(("scope", ""));
    assert_eq!(refusal_of(&doubled).await, "invalid_request");
}

// A5, A12
#[tokio::test]
async fn b1_4_state_is_required_and_a_missing_one_is_not_returned() {
    for missing in [None, Some("")] {
        let page = Browser::new().authorize(&changed(SCOPE, &[("state", missing)])).await;
        assert_eq!(page.returned("error").as_deref(), Some("invalid_request"));
        assert_eq!(page.returned("state"), None);
        assert_eq!(page.returned("iss").as_deref(), Some("https://gw.example.org"));
    }
}

// A6
#[tokio::test]
async fn a12_an_error_comes_back_with_its_description_the_state_and_the_issuer() {
    for (change, error) in [
        (("aud", None), "invalid_request"),
        (("response_type", Some("token")), "unsupported_response_type"),
        (("scope", Some("nonsense")), "invalid_scope"),
        (("prompt", Some("none")), "login_required"),
    ] {
        let page = Browser::new().authorize(&changed(SCOPE, &[change])).await;
        assert_eq!((page.status, page.returned("error").as_deref()), (303, Some(error)));
        assert!(page.returned("error_description").is_some_and(|description| description.len() > 10), "{change:?}");
        assert_eq!(page.returned("state").as_deref(), Some("st4te"));
        assert_eq!(page.returned("iss").as_deref(), Some("https://gw.example.org"));
    }
}

// A6
#[tokio::test]
async fn b1_5_and_6_aud_must_be_our_fhir_base() {
    assert_eq!(refusal(&[("aud", None)]).await, "invalid_request");
    for other in [
        "https://inferno.healthit.gov/invalid_aud",
        "https://gw.example.org/fhirx",
        "https://gw.example.org/fhir//",
        "https://gw.example.org",
        "https://gw.example.org/fhir?x",
        "https://gw.example.org.evil.example/fhir",
        "https://gw.example.org/FHIR",
        "HTTPS://gw.example.org/fhir",
    ] {
        assert_eq!(refusal(&[("aud", Some(other))]).await, "invalid_request", "{other}");
    }
    let page = Browser::new().authorize(&changed(SCOPE, &[("aud", Some("https://gw.example.org/fhir/"))])).await;
    assert_eq!(page.status, 200);
}

// A6
#[tokio::test]
async fn b1_7_resource_is_a_synonym_and_must_not_contradict() {
    let ours = Some("https://gw.example.org/fhir");
    let page = Browser::new().authorize(&changed(SCOPE, &[("aud", None), ("resource", ours)])).await;
    assert_eq!(page.status, 200);
    assert_eq!(refusal(&[("resource", Some("https://other.example/fhir"))]).await, "invalid_target");
    assert_eq!(refusal(&[("aud", None), ("resource", Some("https://other.example/fhir"))]).await, "invalid_target");
}

// A7
#[tokio::test]
async fn b1_8_pkce_with_s256_is_required() {
    assert_eq!(refusal(&[("code_challenge", None)]).await, "invalid_request");
    assert_eq!(refusal(&[("code_challenge_method", None)]).await, "invalid_request");
    assert_eq!(refusal(&[("code_challenge_method", Some("plain"))]).await, "invalid_request");
    assert_eq!(refusal(&[("code_challenge_method", Some("s256"))]).await, "invalid_request");
    for bad in ["short", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cMA"]
    {
        assert_eq!(refusal(&[("code_challenge", Some(bad))]).await, "invalid_request", "{bad}");
    }
}

// A7
#[tokio::test]
async fn b1_8_pkce_with_s256_is_required_of_a_confidential_client_too() {
    for change in [
        ("code_challenge", None),
        ("code_challenge", Some("")),
        ("code_challenge", Some("short")),
        ("code_challenge_method", None),
        ("code_challenge_method", Some("plain")),
    ] {
        let mut config = config();
        config.clients[0].authentication = ClientAuthentication::Secret(Digest::of("secret"));
        let page = Browser::with(config).authorize(&changed(SCOPE, &[change])).await;
        assert_eq!(page.refusal(), "invalid_request", "{change:?}");
    }
}

// L2
#[tokio::test]
async fn b1_9_the_launch_scope_needs_a_good_handle() {
    let scope = "launch patient/*.rs";
    let mut browser = Browser::new();
    for launch in [None, Some(""), Some("unknown")] {
        let page = browser.authorize(&changed(scope, &[("launch", launch)])).await;
        assert_eq!(page.refusal(), "invalid_request", "{launch:?}");
    }
    let used = browser.launch(ehr_launch()).await;
    let page = browser.authorize(&changed(scope, &[("launch", Some(&used))])).await;
    assert_eq!(page.status, 200);
    let page = browser.authorize(&changed(scope, &[("launch", Some(&used))])).await;
    assert_eq!(page.refusal(), "invalid_request", "used");

    let other = browser.launch(LaunchContext { client_id: "approved".to_owned(), ..ehr_launch() }).await;
    let page = browser.authorize(&changed(scope, &[("launch", Some(&other))])).await;
    assert_eq!(page.refusal(), "invalid_request", "of another client");

    let expired = browser.launch(ehr_launch()).await;
    browser.grants.clock.advance(301);
    let page = browser.authorize(&changed(scope, &[("launch", Some(&expired))])).await;
    assert_eq!(page.refusal(), "invalid_request", "expired");
}

// L2
#[tokio::test]
async fn b1_9_a_handle_that_logs_in_is_good_for_a_minute() {
    let vouching = LaunchContext { user: Some(vouched()), vouches: true, ..ehr_launch() };
    let mut browser = Browser::new();
    let scope = "launch patient/*.rs";
    let late = browser.launch(vouching.clone()).await;
    browser.grants.clock.advance(61);
    assert_eq!(browser.authorize(&changed(scope, &[("launch", Some(&late))])).await.refusal(), "invalid_request");
    let in_time = browser.launch(vouching).await;
    browser.grants.clock.advance(60);
    assert_eq!(browser.authorize(&changed(scope, &[("launch", Some(&in_time))])).await.status, 200);
}

#[tokio::test]
async fn b1_9_a_request_with_another_flaw_does_not_spend_the_handle() {
    let mut browser = Browser::new();
    let handle = browser.launch(ehr_launch()).await;
    let scope = "launch patient/*.rs";
    let page = browser.authorize(&changed(scope, &[("launch", Some(&handle)), ("state", None)])).await;
    assert_eq!(page.refusal(), "invalid_request");
    assert_eq!(browser.authorize(&changed(scope, &[("launch", Some(&handle))])).await.status, 200);
}

#[tokio::test]
async fn b1_10_launch_by_a_client_without_launch_url_is_unauthorized() {
    let mut config = config();
    for client in &mut config.clients {
        client.launch_urls.clear();
    }
    let mut browser = Browser::with(config);
    let handle = browser.launch(ehr_launch()).await;
    let page = browser.authorize(&changed("launch patient/*.rs", &[("launch", Some(&handle))])).await;
    assert_eq!(page.refusal(), "unauthorized_client");
}

#[tokio::test]
async fn launch_without_its_scope_is_refused() {
    let mut browser = Browser::new();
    let handle = browser.launch(ehr_launch()).await;
    let page = browser.authorize(&changed("patient/*.rs", &[("launch", Some(&handle))])).await;
    assert_eq!(page.refusal(), "invalid_request");
}

#[tokio::test]
async fn b1_11_and_12_scopes_that_leave_nothing_are_invalid() {
    for scope in
        ["", "nonsense", "system/*.rs", "openid system/*.rs", "patient/Obs.dus", "patient/Observation.rs?code:in=x"]
    {
        assert_eq!(refusal(&[("scope", Some(scope))]).await, "invalid_scope", "{scope}");
    }
    assert_eq!(refusal(&[("scope", None)]).await, "invalid_scope");
}

// A14
#[tokio::test]
async fn b1_14_prompt_none_says_what_is_missing() {
    let mut browser = Browser::new();
    let silent = changed(SCOPE, &[("prompt", Some("none"))]);
    assert_eq!(browser.authorize(&silent).await.refusal(), "login_required");
    let page = browser.authorize(&request(SCOPE)).await;
    let page = browser.log_in(&page, "pat").await;
    assert_eq!(browser.authorize(&silent).await.refusal(), "consent_required");
    browser.allow(&page, &["patient/*.rs"]).await;
    assert!(browser.authorize(&silent).await.returned("code").is_some());

    let mut browser = browser.stranger();
    let page = browser.authorize(&request(SCOPE)).await;
    browser.log_in(&page, "amy").await;
    assert_eq!(browser.authorize(&silent).await.refusal(), "interaction_required");
    assert_eq!(refusal(&[("prompt", Some("none login"))]).await, "invalid_request");
    assert_eq!(refusal(&[("prompt", Some("dance"))]).await, "invalid_request");
}

#[tokio::test]
async fn b1_15_a_doubled_parameter_is_refused() {
    let mut doubled = request(SCOPE);
    doubled.push(("scope", "openid"));
    assert_eq!(refusal_of(&doubled).await, "invalid_request");
    let mut doubled = request(SCOPE);
    doubled.push(("state", "other"));
    let page = Browser::new().authorize(&doubled).await;
    assert_eq!((page.refusal().as_str(), page.returned("state")), ("invalid_request", None));
}

// A14
#[tokio::test]
async fn b1_16_request_objects_are_not_supported() {
    assert_eq!(refusal(&[("request", Some("eyJ"))]).await, "request_not_supported");
    assert_eq!(refusal(&[("request_uri", Some("https://a.example/r"))]).await, "request_uri_not_supported");
}

#[tokio::test]
async fn b1_17_other_methods_and_bodies_are_refused() {
    let mut browser = Browser::new();
    for method in [Method::PUT, Method::DELETE, Method::HEAD] {
        let mut inbound = Inbound::for_test("GET", &format!("/authorize?{}", encoded(&request(SCOPE))));
        inbound.method = method;
        let page = browser.send(inbound).await;
        assert_eq!((page.status, page.header("allow")), (405, "GET, POST"));
    }
    let mut json = form("/authorize", &request(SCOPE));
    json.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    assert_eq!(browser.send(json).await.status, 400);
}

#[tokio::test]
async fn a14_unknown_parameters_and_optional_ones_are_ignored_or_carried() {
    let parameters = changed(
        SCOPE,
        &[
            ("nonce", Some("n0")),
            ("claims", Some("{}")),
            ("ui_locales", Some("de")),
            ("max_age", Some("3600")),
            ("x", Some("y")),
        ],
    );
    let mut browser = Browser::new();
    let page = browser.authorize(&parameters).await;
    let page = browser.log_in(&page, "pat").await;
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    assert_eq!(browser.code(&page).await.nonce.as_deref(), Some("n0"));
    assert_eq!(refusal(&[("max_age", Some("-1"))]).await, "invalid_request");
    assert_eq!(refusal(&[("max_age", Some("soon"))]).await, "invalid_request");
}

#[tokio::test]
async fn a10_and_a11_the_code_is_bound_to_what_was_asked_and_chosen() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let page = browser.log_in(&page, "pat").await;
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    assert_eq!(page.status, 303);
    assert_eq!(page.returned("state").as_deref(), Some("st4te"));
    assert_eq!(page.returned("iss").as_deref(), Some("https://gw.example.org"));
    assert_eq!(page.returned("error"), None);
    assert_eq!(page.returned("code").unwrap().len(), 43, "256 bits in base64url");
    let code = browser.code(&page).await;
    assert_eq!(code.redirect_uri, "https://app.example.org/cb");
    assert_eq!(code.code_challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    assert_eq!(code.grant.client_id, "app");
    assert_eq!((code.grant.user.iss.as_str(), code.grant.user.sub.as_str()), ("https://gw.example.org", "pat"));
    assert_eq!(code.grant.patient.as_deref(), Some("p1"));
    assert_eq!(code.grant.scopes, ["launch/patient", "patient/*.rs", "openid", "fhirUser"]);
    assert_eq!(browser.facts.action, Some("authorized"));
    assert_eq!(browser.facts.patient.as_deref(), Some("p1"));
}

#[tokio::test]
async fn l3_a_patient_scope_without_launch_patient_has_a_patient_all_the_same() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request("patient/Observation.rs")).await;
    let page = browser.log_in(&page, "pat").await;
    let page = browser.allow(&page, &["patient/Observation.rs"]).await;
    let grant = browser.code(&page).await.grant;
    assert_eq!((grant.patient.as_deref(), grant.scopes), (Some("p1"), vec!["patient/Observation.rs".to_owned()]));
}

#[tokio::test]
async fn a_user_scope_alone_asks_for_no_patient() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request("user/Observation.rs")).await;
    let page = browser.log_in(&page, "amy").await;
    let page = browser.allow(&page, &["user/Observation.rs"]).await;
    assert_eq!(browser.code(&page).await.grant.patient, None);
}

#[tokio::test]
async fn an_ehr_that_vouches_logs_its_user_in_for_this_launch_alone() {
    let mut browser = Browser::new();
    let vouching = LaunchContext {
        user: Some(vouched()),
        vouches: true,
        encounter: Some("e2".to_owned()),
        intent: Some("reconcile".to_owned()),
        ..ehr_launch()
    };
    let handle = browser.launch(vouching).await;
    let scope = "launch openid fhirUser patient/*.rs";
    let page = browser.authorize(&changed(scope, &[("launch", Some(&handle))])).await;
    assert!(page.text.contains("Dr. Dee") && page.text.contains("asks for access"), "{}", page.text);
    assert!(!page.text.contains("Use another account"));
    for path in ["/login", "/login/provider"] {
        let fields = [("transaction", page.field("transaction")), ("username", "amy".to_owned())];
        let sent = browser.post(path, &fields.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
        assert_eq!((sent.status, browser.facts.action), (303, Some("authorization_continued")), "no login: {path}");
    }
    let done = browser.allow(&page, &["patient/*.rs"]).await;
    let grant = browser.code(&done).await.grant;
    assert_eq!(grant.user, vouched());
    assert_eq!((grant.patient.as_deref(), grant.encounter.as_deref()), (Some("p1"), Some("e2")));
    assert_eq!(grant.launch.unwrap().intent.as_deref(), Some("reconcile"));
    assert_eq!(grant.auth_time, 1_800_000_000);
    assert!(browser.jar.is_empty(), "no session is left behind: {:?}", browser.jar);
    // Consent was remembered, the login was not.
    assert!(browser.authorize(&request("patient/*.rs")).await.text.contains("<h1>Sign in</h1>"));
}

// L2, B1 9
#[tokio::test]
async fn a_launch_that_names_a_user_accepts_no_other() {
    let mut browser = Browser::new();
    let amy = User { iss: "https://gw.example.org".to_owned(), sub: "amy".to_owned(), ..vouched() };
    let named = LaunchContext { user: Some(amy), ..ehr_launch() };
    let scope = "launch patient/*.rs";
    // Somebody else's session leads to the login page, and somebody else's login back to the app.
    let page = browser.authorize(&request("patient/*.rs")).await;
    browser.log_in(&page, "pat").await;
    let handle = browser.launch(named.clone()).await;
    let page = browser.authorize(&changed(scope, &[("launch", Some(&handle))])).await;
    assert!(page.text.contains("opened for another user"));
    assert_eq!(browser.log_in(&page, "pat").await.refusal(), "access_denied");

    let handle = browser.launch(named).await;
    let page = browser.authorize(&changed(scope, &[("launch", Some(&handle))])).await;
    let page = browser.log_in(&page, "amy").await;
    assert!(page.text.contains("asks for access"), "{}", page.text);
    assert!(page.text.contains("Ada"));
}

// B1 18, M1
#[tokio::test]
async fn a_transaction_of_another_browser_and_one_that_is_over_are_pages() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let target = format!("/authorize/continue?transaction={}", page.field("transaction"));
    assert_eq!(browser.stranger().get(&target).await.status, 403);
    // The right cookie with another value.
    let mut forger = browser.stranger();
    forger.jar = browser.jar.keys().map(|name| (name.clone(), crate::random::handle())).collect();
    assert_eq!(forger.get(&target).await.status, 403);
    let page = browser.log_in(&page, "pat").await;
    let done = browser.allow(&page, &["patient/*.rs"]).await;
    assert!(done.returned("code").is_some());
    assert_eq!(browser.get(&target).await.status, 400);
    assert_eq!(browser.get("/authorize/continue?transaction=x").await.status, 400);

    let page = browser.authorize(&request(SCOPE)).await;
    let _ = page;
    let late = browser.get(&format!("/authorize?{}", encoded(&changed(SCOPE, &[("prompt", Some("consent"))])))).await;
    browser.grants.clock.advance(901);
    assert_eq!(browser.get(&late.location().unwrap()).await.status, 400, "expired");
}

// B2 48: here, too
#[tokio::test]
async fn too_many_requests_of_one_address_are_told_when_to_come_back() {
    let mut browser = Browser::new();
    let mut throttled = None;
    for _ in 0..1_000 {
        let page = browser.get("/authorize").await;
        if page.status != 400 {
            throttled = Some(page);
            break;
        }
    }
    let page = throttled.unwrap();
    assert_eq!((page.status, page.header("retry-after").is_empty()), (429, false));
}

// L4
#[tokio::test]
async fn a_context_scope_is_granted_when_the_launch_has_a_resource_of_that_type() {
    let mut config = config();
    for client in &mut config.clients {
        client.scope.push_str(" launch/imagingstudy launch/questionnaire");
    }
    let mut browser = Browser::with(config);
    let entry = serde_json::json!({"reference": "ImagingStudy/7", "role": "https://example.org/other"});
    let launch = LaunchContext { fhir_context: vec![entry.clone()], ..ehr_launch() };
    let handle = browser.launch(launch).await;
    let scope = "launch launch/imagingstudy?role=https://example.org/prior launch/questionnaire patient/*.rs";
    let page = browser.authorize(&changed(scope, &[("launch", Some(&handle))])).await;
    let page = browser.log_in(&page, "amy").await;
    assert!(page.text.contains("which imaging study you had open"), "{}", page.text);
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    let grant = browser.code(&page).await.grant;
    // An unsupported role: whatever context of that type exists comes back.
    assert_eq!(grant.scopes, ["launch", "launch/imagingstudy?role=https://example.org/prior", "patient/*.rs"]);
    assert_eq!(grant.launch.unwrap().fhir_context, [entry]);
    // Started by itself there is no such context.
    let page = browser.authorize(&request("launch/imagingstudy openid")).await;
    let page = browser.allow(&page, &[]).await;
    assert_eq!(browser.code(&page).await.grant.scopes, ["openid"]);
    let nothing = browser.authorize(&request("launch/imagingstudy")).await;
    assert_eq!(nothing.refusal(), "invalid_scope");
}

// RFC 9700 section 4.11.2: whoever registers here gets no way to redirect from our address to theirs
#[tokio::test]
async fn before_a_person_has_answered_nobody_is_sent_to_an_app_that_registered_itself() {
    let browser = || {
        let mut config = config();
        config.clients[0].unverified = true;
        Browser::with(config)
    };
    for changes in [
        [("scope", Some("system/*.rs"))],
        [("state", None)],
        [("aud", Some("https://elsewhere.example/fhir"))],
        [("prompt", Some("none"))],
        [("launch", Some("unknown"))],
        [("scope", Some("launch/imagingstudy"))],
    ] {
        let page = browser().authorize(&changed(SCOPE, &changes)).await;
        assert_eq!((page.status, page.location()), (400, None), "{changes:?}");
        assert!(page.text.contains("cannot be answered") && page.text.contains("For the makers of the app"));
    }
    let mut browser = browser();
    let page = browser.authorize(&request(SCOPE)).await;
    let fields = [("transaction", page.field("transaction")), ("decision", "deny".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let denied = browser.post("/login", &fields).await;
    assert!(
        denied.location().unwrap().starts_with("https://app.example.org/cb?error=access_denied"),
        "a person answered"
    );
}

// RFC 9700 section 4.11.2: somebody who is signed in already has answered nothing
#[tokio::test]
async fn a_session_alone_sends_nobody_to_an_app_that_registered_itself() {
    let mut config = config();
    config.clients[0].unverified = true;
    let mut browser = Browser::with(config);
    let page = browser.authorize(&changed("openid", &[("client_id", Some("approved"))])).await;
    let page = browser.log_in(&page, "nil").await;
    assert!(page.returned_code(), "signed in: {}", page.text);
    // This user has no patient that could be chosen.
    let page = browser.authorize(&request(SCOPE)).await;
    assert_eq!((page.status, page.location()), (400, None));
    assert!(page.text.contains("cannot be answered") && page.text.contains("no patient is available"));
    assert_eq!(browser.facts.reason, Some("access_denied"));
    let page = browser.authorize(&changed(SCOPE, &[("client_id", Some("approved"))])).await;
    assert_eq!(page.refusal(), "access_denied", "an app that somebody looked at is told");
}
