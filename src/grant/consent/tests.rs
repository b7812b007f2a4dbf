#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
use crate::grant::testing::{Browser, Page, changed, config, request};

const SCOPE: &str = "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Observation.rs";
const RECORDS: [&str; 2] = ["patient/Patient.rs", "patient/Observation.rs"];

async fn consent_page(browser: &mut Browser, username: &str, scope: &str) -> Page {
    let page = browser.authorize(&request(scope)).await;
    browser.log_in(&page, username).await
}

async fn granted(browser: &mut Browser, page: &Page, ticked: &[&str]) -> Vec<String> {
    let done = browser.allow(page, ticked).await;
    browser.code(&done).await.grant.scopes
}

#[tokio::test]
async fn the_page_names_app_user_patient_and_every_scope() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    assert!(page.text.contains("Growth &#60;Chart&#62;"));
    assert!(page.text.contains("Display of pat"));
    assert!(page.text.contains("app.example.org"));
    assert_eq!(page.fields("scope"), ["patient/Patient.rs", "patient/Observation.rs", "offline_access"]);
    for scope in SCOPE.split(' ') {
        assert!(page.text.contains(&format!("<code>{scope}</code>")), "{scope}");
    }
    assert!(page.text.contains("Keep this access while you are away"));
}

#[tokio::test]
async fn a8_scopes_can_be_dropped_one_by_one() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    let scopes = granted(&mut browser, &page, &["patient/Observation.rs"]).await;
    assert_eq!(scopes, ["openid", "fhirUser", "launch/patient", "patient/Observation.rs"]);
}

#[tokio::test]
async fn granted_scopes_keep_the_order_asked() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    let scopes =
        granted(&mut browser, &page, &["patient/Observation.rs", "offline_access", "patient/Patient.rs"]).await;
    assert_eq!(scopes.join(" "), SCOPE);
}

#[tokio::test]
async fn a_scope_that_was_not_offered_is_refused() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    for scope in ["user/*.cruds", "patient/Patient.cruds", ""] {
        assert_eq!(browser.allow(&page, &["patient/Patient.rs", scope]).await.status, 403, "{scope}");
        assert_eq!(browser.facts.reason, Some("choice_not_offered"));
    }
    // The page still works afterwards.
    assert_eq!(browser.allow(&page, &RECORDS).await.status, 303);
}

#[tokio::test]
async fn b1_13_denying_and_allowing_nothing_are_access_denied() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let deny =
        [("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("decision", "deny"), ("scope", RECORDS[0])];
    let denied = browser.post("/consent", &deny).await;
    assert_eq!((denied.refusal().as_str(), denied.returned("state").as_deref()), ("access_denied", Some("st4te")));
    let page = browser.authorize(&request(SCOPE)).await;
    assert_eq!(browser.allow(&page, &["offline_access"]).await.refusal(), "access_denied");
}

#[tokio::test]
async fn an_app_that_only_wants_to_know_who_you_are_can_be_allowed() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", "openid fhirUser").await;
    assert_eq!(granted(&mut browser, &page, &[]).await, ["openid", "fhirUser"]);
}

#[tokio::test]
async fn b1_18_consent_without_the_token_or_from_another_session_is_refused() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let without = [("transaction", transaction.as_str()), ("decision", "allow"), ("scope", RECORDS[0])];
    assert_eq!(browser.post("/consent", &without).await.status, 403);
    assert_eq!(browser.facts.reason, Some("csrf_token_invalid"));
    let wrong = csrf.replace(|c: char| c.is_ascii_digit(), "a");
    let with_wrong = [without.as_slice(), &[("csrf", wrong.as_str())]].concat();
    assert_eq!(browser.post("/consent", &with_wrong).await.status, 403);

    let right = [without.as_slice(), &[("csrf", csrf.as_str())]].concat();
    assert_eq!(browser.stranger().post("/consent", &right).await.status, 403, "another browser");
    assert_eq!(browser.post_from_elsewhere("/consent", &right).await.status, 403, "another site");

    // The same user in the same browser, in a new session.
    let second = browser.authorize(&changed(SCOPE, &[("prompt", Some("login"))])).await;
    browser.log_in(&second, "pat").await;
    assert_eq!(browser.post("/consent", &right).await.status, 403, "another session");
}

#[tokio::test]
async fn consent_to_one_patient_does_not_hold_for_another() {
    let mut browser = Browser::new();
    let picker = consent_page(&mut browser, "mum", SCOPE).await;
    let for_p1 = browser.pick(&picker, "p1").await;
    let for_p2 = browser.pick(&picker, "p2").await;
    assert!(for_p2.text.contains("Bea Bloom"));
    assert_eq!(browser.allow(&for_p1, &RECORDS).await.status, 403);
    let done = browser.allow(&for_p2, &RECORDS).await;
    assert_eq!(browser.code(&done).await.grant.patient.as_deref(), Some("p2"));
}

#[tokio::test]
async fn consent_before_the_page_was_shown_is_refused() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "mum", SCOPE).await;
    let transaction = page.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("decision", "allow"), ("scope", RECORDS[0])];
    assert_eq!(browser.post("/consent", &fields).await.status, 403);
}

#[tokio::test]
async fn an_answer_counts_once() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    assert!(browser.allow(&page, &RECORDS).await.returned("code").is_some());
    let again = browser.allow(&page, &RECORDS).await;
    assert_eq!((again.status, again.location()), (400, None));
}

#[tokio::test]
async fn two_answers_at_the_same_time_give_one_code() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    let mut twin = browser.stranger();
    twin.jar = browser.jar.clone();
    let (one, two) = tokio::join!(browser.allow(&page, &RECORDS), twin.allow(&page, &RECORDS));
    let codes = [&one, &two].iter().filter(|page| page.returned_code()).count();
    assert_eq!(codes, 1);
}

#[tokio::test]
async fn a_remembered_consent_is_not_asked_again_while_it_covers_what_is_asked() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    granted(&mut browser, &page, &["patient/Observation.rs"]).await;
    // The same again, and less: what was declined then stays declined.
    let page = browser.authorize(&request(SCOPE)).await;
    let scopes = browser.code(&page).await.grant.scopes;
    assert_eq!(scopes, ["openid", "fhirUser", "launch/patient", "patient/Observation.rs"]);
    let page = browser.authorize(&request("launch/patient patient/Observation.rs")).await;
    assert!(page.returned("code").is_some());
    // More, another app, or the wish to be asked: the page.
    for parameters in [
        request("openid fhirUser launch/patient patient/Observation.rs patient/Condition.rs"),
        request("launch/patient patient/Patient.rs"),
        changed(SCOPE, &[("prompt", Some("consent"))]),
        changed(SCOPE, &[("client_id", Some("native")), ("redirect_uri", Some("com.example.app:/cb"))]),
    ] {
        assert!(browser.authorize(&parameters).await.text.contains("asks for access"), "{parameters:?}");
    }
}

#[tokio::test]
async fn a_remembered_consent_is_for_one_user_and_one_patient() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "mum", SCOPE).await;
    let page = browser.pick(&page, "p1").await;
    granted(&mut browser, &page, &RECORDS).await;
    let page = browser.authorize(&request(SCOPE)).await;
    let page = browser.pick(&page, "p2").await;
    assert!(page.text.contains("asks for access"));
    let page = browser.authorize(&request(SCOPE)).await;
    assert!(browser.pick(&page, "p1").await.returned("code").is_some());
    let mut other = browser.stranger();
    assert!(consent_page(&mut other, "pat", SCOPE).await.text.contains("asks for access"));
}

#[tokio::test]
async fn a_remembered_consent_is_forgotten_after_half_a_year() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    granted(&mut browser, &page, &RECORDS).await;
    browser.grants.clock.advance(183 * 24 * 60 * 60);
    let page = consent_page(&mut browser, "pat", SCOPE).await;
    assert!(page.text.contains("asks for access"));
}

#[tokio::test]
async fn a_native_app_without_credentials_is_asked_about_each_time() {
    let native = changed(SCOPE, &[("client_id", Some("native")), ("redirect_uri", Some("com.example.app:/cb"))]);
    let mut browser = Browser::new();
    let page = browser.authorize(&native).await;
    let page = browser.log_in(&page, "pat").await;
    let done = browser.allow(&page, &RECORDS).await;
    assert!(done.location().unwrap().starts_with("com.example.app:/cb?code="));
    assert!(browser.authorize(&native).await.text.contains("asks for access"));
}

#[tokio::test]
async fn an_approved_app_is_not_asked_about_unless_it_wants_to() {
    let approved = [("client_id", Some("approved"))];
    let mut browser = Browser::new();
    let page = browser.authorize(&changed(SCOPE, &approved)).await;
    let page = browser.log_in(&page, "pat").await;
    assert_eq!(browser.code(&page).await.grant.scopes.join(" "), SCOPE);
    let asking = changed(SCOPE, &[approved[0], ("prompt", Some("consent"))]);
    assert!(browser.authorize(&asking).await.text.contains("asks for access"));
}

#[tokio::test]
async fn scopes_that_do_not_fit_into_a_token_are_named_and_never_granted() {
    let types = crate::fhir::resource_type::ResourceType::all().map(|kind| format!("patient/{kind}.rs"));
    let scope = types.collect::<Vec<_>>().join(" ");
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", &scope).await;
    let offered = page.fields("scope");
    assert!(offered.len() > 50 && offered.len() < scope.split(' ').count(), "{}", offered.len());
    assert!(page.text.contains("Not possible in one sign-in"));
    let left_out = scope.split(' ').find(|scope| !offered.iter().any(|offered| offered == scope)).unwrap();
    assert!(page.text.contains(&format!("<li><code>{left_out}</code>")));
    assert_eq!(browser.allow(&page, &[left_out]).await.status, 403);
    // Not even for an app that the site has approved.
    let mut config = config();
    config.clients.iter_mut().for_each(|client| client.approved = true);
    let mut browser = Browser::with(config);
    assert!(consent_page(&mut browser, "pat", &scope).await.text.contains("asks for access"));
}
