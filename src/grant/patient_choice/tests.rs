#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
use std::sync::atomic::Ordering;

use crate::grant::records::LaunchContext;
use crate::grant::testing::{Browser, Page, changed, request};

const SCOPE: &str = "launch/patient patient/*.rs";
const WITH_ENCOUNTER: &str = "launch/patient launch/encounter patient/*.rs";

async fn picker(browser: &mut Browser, username: &str, scope: &str) -> Page {
    let page = browser.authorize(&request(scope)).await;
    browser.log_in(&page, username).await
}

#[tokio::test]
async fn the_only_patient_of_a_user_is_chosen_without_asking() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "pat", SCOPE).await;
    assert!(page.text.contains("asks for access"));
    assert!(page.text.contains("Ada &#34;A&#34; &#60;Lovelace&#62;"), "{}", page.text);
}

#[tokio::test]
async fn somebody_who_acts_for_several_chooses_among_them() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", SCOPE).await;
    assert_eq!(page.fields("patient"), ["p1", "p2"]);
    assert!(!page.text.contains("name=\"query\""));
    assert!(page.text.contains("born 3 May 1974 · female · no.\u{a0}MRN-p1"));
    let page = browser.pick(&page, "p2").await;
    assert!(page.text.contains("Bea Bloom") && page.text.contains("asks for access"));
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    assert_eq!(browser.code(&page).await.grant.patient.as_deref(), Some("p2"));
}

#[tokio::test]
async fn a_clinician_searches_by_post() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "amy", SCOPE).await;
    assert_eq!(page.fields("patient"), ["p1", "p2", "p3"]);
    let transaction = page.field("transaction");
    let page = browser.post("/patient", &[("transaction", &transaction), ("query", " Cole ")]).await;
    assert_eq!((page.status, page.fields("patient")), (200, vec!["p3".to_owned()]));
    assert!(page.text.contains("value=\"Cole\""));
    let none = browser.post("/patient", &[("transaction", &transaction), ("query", "Zed")]).await;
    assert!(none.text.contains("No patient was found"));
    // p3 is not on the page that is shown now.
    assert_eq!(browser.post("/patient", &[("transaction", &transaction), ("patient", "p3")]).await.status, 403);
}

#[tokio::test]
async fn a_patient_that_was_not_offered_is_refused() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", SCOPE).await;
    let page = browser.pick(&page, "p3").await;
    assert_eq!(page.status, 403);
    assert_eq!(browser.facts.reason, Some("choice_not_offered"));
    let mut browser = Browser::new();
    let page = picker(&mut browser, "pat", SCOPE).await;
    assert_eq!(browser.pick(&page, "p1").await.status, 403, "nothing was offered at all");
}

#[tokio::test]
async fn who_may_not_search_cannot_search() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", SCOPE).await;
    let transaction = page.field("transaction");
    assert_eq!(browser.post("/patient", &[("transaction", &transaction), ("query", "Cole")]).await.status, 403);
}

#[tokio::test]
async fn b1_13_no_available_patient_is_access_denied() {
    let mut browser = Browser::new();
    assert_eq!(picker(&mut browser, "nil", SCOPE).await.refusal(), "access_denied");
}

#[tokio::test]
async fn b1_13_the_patient_of_a_launch_must_be_one_the_user_may_see() {
    let mut browser = Browser::new();
    let context = LaunchContext {
        client_id: "app".to_owned(),
        ehr_client_id: "ehr".to_owned(),
        patient: Some("p99".to_owned()),
        ..LaunchContext::default()
    };
    let handle = browser.launch(context).await;
    let page = browser.authorize(&changed("launch user/*.rs", &[("launch", Some(&handle))])).await;
    assert_eq!(browser.log_in(&page, "amy").await.refusal(), "access_denied");
}

#[tokio::test]
async fn b1_13_cancelling_the_choice_is_access_denied() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", SCOPE).await;
    let transaction = page.field("transaction");
    let page = browser.post("/patient", &[("transaction", &transaction), ("decision", "deny")]).await;
    assert_eq!(page.refusal(), "access_denied");
}

#[tokio::test]
async fn choosing_nothing_shows_the_page_again_with_the_reason() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", SCOPE).await;
    let transaction = page.field("transaction");
    let page = browser.post("/patient", &[("transaction", &transaction), ("decision", "allow")]).await;
    assert!(page.text.contains("role=\"alert\"") && page.text.contains("Choose one to continue."));
}

#[tokio::test]
async fn launch_encounter_asks_for_a_visit_of_the_patient() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "pat", WITH_ENCOUNTER).await;
    assert_eq!(page.fields("encounter"), ["e1", "e2", ""]);
    assert!(page.text.contains("14 November 2026"));
    let transaction = page.field("transaction");
    let refused = browser.post("/patient", &[("transaction", &transaction), ("encounter", "e9")]).await;
    assert_eq!(refused.status, 403);
    let page = browser.post("/patient", &[("transaction", &transaction), ("encounter", "e2")]).await;
    let page = browser.follow(page).await;
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    let grant = browser.code(&page).await.grant;
    assert_eq!(grant.encounter.as_deref(), Some("e2"));
    assert!(grant.scopes.contains(&"launch/encounter".to_owned()));
}

#[tokio::test]
async fn no_particular_visit_takes_the_scope_away() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "pat", WITH_ENCOUNTER).await;
    let transaction = page.field("transaction");
    let page = browser.post("/patient", &[("transaction", &transaction), ("encounter", "")]).await;
    let page = browser.follow(page).await;
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    let grant = browser.code(&page).await.grant;
    assert_eq!((grant.encounter, grant.scopes), (None, vec!["launch/patient".to_owned(), "patient/*.rs".to_owned()]));
}

#[tokio::test]
async fn a_patient_without_visits_is_not_asked_about_them() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", WITH_ENCOUNTER).await;
    let page = browser.pick(&page, "p2").await;
    assert!(page.text.contains("asks for access"));
}

#[tokio::test]
async fn when_patients_cannot_be_looked_up_the_person_may_try_again() {
    let mut browser = Browser::new();
    browser.directory.down.store(true, Ordering::SeqCst);
    let page = picker(&mut browser, "amy", SCOPE).await;
    assert_eq!((page.status, page.header("retry-after")), (503, "5"));
    let again = page.text.split("href=\"/authorize").nth(1).unwrap().split('"').next().unwrap().to_owned();
    browser.directory.down.store(false, Ordering::SeqCst);
    let page = browser.get(&format!("/authorize{again}")).await;
    assert_eq!(page.fields("patient").len(), 3);
}

#[tokio::test]
async fn a_choice_without_a_session_leads_to_the_login() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", SCOPE).await;
    browser.jar.remove("__Host-firebreak-session");
    let page = browser.pick(&page, "p1").await;
    assert!(page.text.contains("<h1>Sign in</h1>"));
}

#[tokio::test]
async fn what_one_user_chose_does_not_hold_for_the_next() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "mum", SCOPE).await;
    let page = browser.pick(&page, "p2").await;
    let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
    let switch = [("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("decision", "switch")];
    let page = browser.post("/consent", &switch).await;
    let page = browser.follow(page).await;
    assert!(page.text.contains("<h1>Sign in</h1>"));
    let page = browser.log_in(&page, "pat").await;
    assert!(page.text.contains("Ada") && !page.text.contains("Bea"));
}
