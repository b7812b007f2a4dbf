#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
use std::sync::Arc;

use crate::clients::Clients;
use crate::config::{Client, ClientAuthentication};
use crate::grant::categories::parts;
use crate::grant::records::{LaunchContext, User};
use crate::grant::testing::{Browser, Page, changed, config, request};
use crate::smart::scope::Scope;

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

// P5, A8
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

// A8, A12
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

// A10
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

// A14
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

// A8
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

// RFC 8252 section 8.6
#[tokio::test]
async fn an_approved_app_that_cannot_prove_who_it_is_is_asked_about_each_time() {
    for redirect_uri in ["com.example.app:/cb", "http://127.0.0.1/cb"] {
        let mut config = config();
        for client in &mut config.clients {
            client.approved = true;
            client.redirect_uris.push(redirect_uri.to_owned());
            client.redirect_uris.dedup();
        }
        let asked = changed(SCOPE, &[("client_id", Some("native")), ("redirect_uri", Some(redirect_uri))]);
        let mut browser = Browser::with(config.clone());
        let page = browser.authorize(&asked).await;
        let page = browser.log_in(&page, "pat").await;
        assert!(page.text.contains("asks for access"), "{redirect_uri}");
        assert!(browser.allow(&page, &RECORDS).await.returned_code());
        assert!(browser.authorize(&asked).await.text.contains("asks for access"), "again: {redirect_uri}");
        let silent = [("client_id", Some("native")), ("redirect_uri", Some(redirect_uri)), ("prompt", Some("none"))];
        let silent = changed(SCOPE, &silent);
        assert_eq!(browser.authorize(&silent).await.refusal(), "consent_required");
        // With credentials it proves it when it exchanges the code.
        config.clients.iter_mut().for_each(|client| {
            client.authentication = ClientAuthentication::Secret(crate::secret::Digest::of("secret"));
        });
        let mut browser = Browser::with(config);
        let page = browser.authorize(&asked).await;
        assert!(browser.log_in(&page, "pat").await.returned_code(), "{redirect_uri}");
    }
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

const WHOLE: &str = "launch/patient patient/Condition.rs patient/Observation.rs patient/Patient.rs";

/// Sends the consent form with these boxes and these parts ticked.
async fn allow_parts(browser: &mut Browser, page: &Page, ticked: &[&str], only: &[&str]) -> Page {
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let mut fields = vec![("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("decision", "allow")];
    fields.extend(ticked.iter().map(|scope| ("scope", *scope)));
    fields.extend(only.iter().map(|scope| ("only", *scope)));
    browser.post("/consent", &fields).await
}

fn problem_list() -> &'static str {
    "patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item"
}

fn laboratory() -> &'static str {
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
}

// A8, P6: the assertions of Inferno's `g10_smart_granular_scope_selection`
#[tokio::test]
async fn parts_are_granted_instead_of_the_whole_scope_whether_its_box_is_ticked_or_not() {
    for ticked in
        [["patient/Condition.rs", "patient/Observation.rs", "patient/Patient.rs"].as_slice(), &["patient/Patient.rs"]]
    {
        let mut browser = Browser::new();
        let page = consent_page(&mut browser, "pat", WHOLE).await;
        let offered = page.fields("only");
        assert_eq!(offered, [parts("patient/Condition.rs"), parts("patient/Observation.rs")].concat());
        for part in &offered {
            let (_, code) = part.split_once('|').unwrap();
            assert!(page.text.contains(&format!("<code>{code}</code>")), "{part}");
        }
        let done = allow_parts(&mut browser, &page, ticked, &[laboratory(), problem_list()]).await;
        let granted = browser.code(&done).await.grant.scopes;
        assert_eq!(granted, ["launch/patient", problem_list(), laboratory(), "patient/Patient.rs"]);
        let resources: Vec<&String> = granted.iter().filter(|scope| scope.contains('.')).collect();
        for name in ["patient/Condition.", "patient/Observation."] {
            assert!(resources.iter().all(|scope| !scope.starts_with(name) || scope.contains(".rs?")), "{granted:?}");
            assert!(resources.iter().any(|scope| scope.starts_with(&format!("{name}rs?"))), "{granted:?}");
        }
        assert!(granted.iter().any(|scope| scope == "patient/Patient.rs"));
    }
}

// A8, P5: the assertions of Inferno's `g10_limited_scope_grant`
#[tokio::test]
async fn the_types_that_were_left_on_are_granted_and_no_others() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", WHOLE).await;
    let granted = granted(&mut browser, &page, &["patient/Patient.rs", "patient/Condition.rs"]).await;
    let mut types: Vec<&str> = granted.iter().filter_map(|scope| scope.strip_prefix("patient/")).collect();
    types.sort_unstable();
    assert_eq!(types, ["Condition.rs", "Patient.rs"]);
}

// A8: dropped by name, also with parts
#[tokio::test]
async fn a_part_can_be_allowed_without_offline_access() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", &format!("{WHOLE} offline_access")).await;
    assert!(page.text.contains("<code>offline_access</code>"));
    let done = allow_parts(&mut browser, &page, &[], &[laboratory()]).await;
    assert_eq!(browser.code(&done).await.grant.scopes, ["launch/patient", laboratory()]);
}

#[tokio::test]
async fn a_part_that_was_not_offered_is_refused() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", "launch/patient patient/Condition.rs patient/Patient.rs").await;
    for only in [
        laboratory(),
        "patient/Condition.rs",
        "patient/Condition.cruds?category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item",
        "user/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item",
        "patient/Condition.rs?category=x",
        "",
    ] {
        let refused = allow_parts(&mut browser, &page, &["patient/Patient.rs"], &[only]).await;
        assert_eq!((refused.status, browser.facts.reason), (403, Some("choice_not_offered")), "{only}");
        let refused = browser.allow(&page, &["patient/Patient.rs", problem_list()]).await;
        assert_eq!(refused.status, 403, "a part is no scope of its own");
    }
    assert!(allow_parts(&mut browser, &page, &[], &[problem_list()]).await.returned_code());
}

#[tokio::test]
async fn parts_are_offered_where_they_mean_something() {
    for (scope, count) in [
        ("patient/*.rs", 0),
        ("patient/*.rs patient/Observation.rs", 0),
        ("patient/Observation.rs patient/Observation.read", 0),
        ("patient/Observation.c", 0),
        ("patient/Observation.read", 6),
        ("patient/Observation.cruds patient/Observation.rs", 6),
        ("user/Condition.rs patient/Condition.rs", 6),
        (laboratory(), 0),
    ] {
        let mut browser = Browser::new();
        let page = consent_page(&mut browser, "pat", scope).await;
        assert_eq!(page.fields("only").len(), count, "{scope}");
    }
}

// A8
#[tokio::test]
async fn chosen_parts_are_remembered_and_what_is_asked_anew_is_asked_about() {
    let mut browser = Browser::new();
    let page = consent_page(&mut browser, "pat", WHOLE).await;
    allow_parts(&mut browser, &page, &["patient/Patient.rs"], &[laboratory()]).await;
    let again = browser.authorize(&request(WHOLE)).await;
    let expected = ["launch/patient", laboratory(), "patient/Patient.rs"];
    assert_eq!(browser.code(&again).await.grant.scopes, expected);
    // Asked again, the person allows the whole, then nothing of it: the parts of then do not come back.
    let anew = changed(WHOLE, &[("prompt", Some("consent"))]);
    let page = browser.authorize(&anew).await;
    let done = browser.allow(&page, &["patient/Observation.rs", "patient/Patient.rs"]).await;
    assert_eq!(
        browser.code(&done).await.grant.scopes,
        ["launch/patient", "patient/Observation.rs", "patient/Patient.rs"]
    );
    let page = browser.authorize(&anew).await;
    browser.allow(&page, &["patient/Patient.rs"]).await;
    let again = browser.authorize(&request(WHOLE)).await;
    assert_eq!(browser.code(&again).await.grant.scopes, ["launch/patient", "patient/Patient.rs"]);
    // A granular scope was never asked for by the app itself.
    let page = browser.authorize(&request(&format!("launch/patient {}", laboratory()))).await;
    assert!(page.text.contains("asks for access"));
}

// T12
#[tokio::test]
async fn parts_that_would_not_fit_into_a_token_are_not_offered_and_all_that_are_offered_fit() {
    let types = crate::fhir::resource_type::ResourceType::all().map(|kind| format!("patient/{kind}.rs"));
    let types: Vec<String> = types.collect();
    for count in [40, 80, 100, 110, 120] {
        let mut scopes: Vec<String> = types.iter().take(count).cloned().collect();
        scopes.extend(["patient/Observation.rs".to_owned(), "launch/patient".to_owned()]);
        let mut browser = Browser::new();
        let page = consent_page(&mut browser, "pat", &scopes.join(" ")).await;
        let (offered, only) = (page.fields("scope"), page.fields("only"));
        let ticked: Vec<&str> = offered.iter().map(String::as_str).collect();
        let parts: Vec<&str> = only.iter().map(String::as_str).collect();
        let done = allow_parts(&mut browser, &page, &ticked, &parts).await;
        let grant = browser.code(&done).await.grant;
        assert!(crate::grant::token_response::fits(&browser.grants, &grant).is_ok(), "{count}");
        assert_eq!(only.is_empty(), count > 80, "{count}: {}", only.len());
    }
}

// P1, P3, P7
#[tokio::test]
async fn a_granular_scope_that_is_asked_for_is_offered_and_granted_as_asked() {
    let mut browser = Browser::new();
    let scope = format!("launch/patient {} patient/Patient.read", laboratory());
    let page = consent_page(&mut browser, "pat", &scope).await;
    assert!(page.text.contains("See laboratory results"));
    let done = browser.allow(&page, &[laboratory(), "patient/Patient.read"]).await;
    let granted = browser.code(&done).await.grant.scopes;
    assert_eq!(granted.join(" "), scope);
    assert!(granted.iter().all(|scope| !matches!(Scope::parse(scope), Scope::Unknown(_))));
}

/// The clients after a change that this process heard of.
fn change_clients(browser: &mut Browser, change: impl FnOnce(&mut Vec<Client>)) {
    let mut clients = config().clients;
    change(&mut clients);
    browser.grants.clients = Arc::new(Clients::new(&clients).unwrap());
}

// A3
#[tokio::test]
async fn an_address_that_was_taken_from_the_registration_meanwhile_gets_neither_code_nor_error() {
    for decision in ["allow", "deny"] {
        let mut browser = Browser::new();
        let page = consent_page(&mut browser, "pat", SCOPE).await;
        change_clients(&mut browser, |clients| {
            for client in clients {
                client.redirect_uris = vec!["https://new.example.org/cb".to_owned()];
            }
        });
        let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
        let fields = [("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("decision", decision)];
        let done = browser.post("/consent", &[fields.as_slice(), &[("scope", RECORDS[0])]].concat()).await;
        assert_eq!((done.status, done.location()), (400, None), "{decision}");
        assert_eq!(browser.facts.reason, Some("redirect_uri_unknown"));
    }
}

// A3
#[tokio::test]
async fn an_app_that_is_registered_no_more_is_sent_nobody() {
    for path in ["/login", "/patient", "/consent"] {
        let mut browser = Browser::new();
        let page = browser.authorize(&request(SCOPE)).await;
        let page = if path == "/login" { page } else { browser.log_in(&page, "mum").await };
        let page = if path == "/consent" { browser.pick(&page, "p1").await } else { page };
        change_clients(&mut browser, |clients| clients.retain(|client| client.client_id != "app"));
        let transaction = page.field("transaction");
        let csrf = if path == "/consent" { page.field("csrf") } else { String::new() };
        let fields = [("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("decision", "deny")];
        let done = browser.post(path, &fields).await;
        assert_eq!((done.status, done.location()), (400, None), "{path}");
    }
}

// L2
#[tokio::test]
async fn a_launch_ends_with_the_ehr_that_vouched_for_its_user() {
    let user = User {
        iss: "https://ehr.example.org".to_owned(),
        sub: "dr".to_owned(),
        fhir_user: Some("Practitioner/dr".to_owned()),
        roles: vec!["clinician".to_owned()],
        ..User::default()
    };
    let context = LaunchContext {
        client_id: "app".to_owned(),
        ehr_client_id: "ehr".to_owned(),
        user: Some(user),
        vouches: true,
        ..LaunchContext::default()
    };
    let mut browser = Browser::new();
    let handle = browser.launch(context).await;
    let page = browser.authorize(&changed("launch launch/patient patient/*.rs", &[("launch", Some(&handle))])).await;
    assert!(page.text.contains("Bea Bloom"), "{}", page.text);
    change_clients(&mut browser, |clients| clients.retain(|client| client.client_id != "ehr"));
    let transaction = page.field("transaction");
    for fields in [("query", "Bea"), ("patient", "p2")] {
        let page = browser.post("/patient", &[("transaction", transaction.as_str()), fields]).await;
        assert_eq!(page.status, 400, "{}", page.text);
        assert!(!page.text.contains("Bea Bloom"));
    }
    let page = browser.get(&format!("/authorize/continue?transaction={transaction}")).await;
    assert_eq!((page.status, page.location()), (400, None));
}
