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

// L3
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

// L3
#[tokio::test]
async fn who_acts_for_many_finds_each_of_them_in_the_picker() {
    let mut browser = Browser::new();
    let page = picker(&mut browser, "home", SCOPE).await;
    assert_eq!(page.fields("patient"), crate::grant::testing::residents());
    let page = browser.pick(&page, "r25").await;
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    assert_eq!(browser.code(&page).await.grant.patient.as_deref(), Some("r25"));
}

#[tokio::test]
async fn b1_13_no_available_patient_is_access_denied() {
    let mut browser = Browser::new();
    assert_eq!(picker(&mut browser, "nil", SCOPE).await.refusal(), "access_denied");
}

// L3: an app that nobody is asked about is held to it as well
#[tokio::test]
async fn b1_13_the_patient_of_a_launch_must_be_one_the_user_may_see() {
    for client_id in ["app", "approved"] {
        let mut browser = Browser::new();
        let context = LaunchContext {
            client_id: client_id.to_owned(),
            ehr_client_id: "ehr".to_owned(),
            patient: Some("p99".to_owned()),
            ..LaunchContext::default()
        };
        let handle = browser.launch(context).await;
        let asked = changed("launch user/*.rs", &[("launch", Some(&handle)), ("client_id", Some(client_id))]);
        let page = browser.authorize(&asked).await;
        assert_eq!(browser.log_in(&page, "amy").await.refusal(), "access_denied", "{client_id}");
    }
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

// L3
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

// L3, T8: decision 7
#[tokio::test]
async fn the_encounter_of_a_launch_must_be_one_of_its_patient() {
    for (patient, encounter, granted) in
        [(Some("p1"), "e2", true), (Some("p1"), "e9", false), (Some("p2"), "e1", false), (None, "e1", false)]
    {
        let mut browser = Browser::new();
        let context = LaunchContext {
            client_id: "app".to_owned(),
            patient: patient.map(str::to_owned),
            encounter: Some(encounter.to_owned()),
            ..LaunchContext::default()
        };
        let handle = browser.launch(context).await;
        let page = browser.authorize(&changed("launch user/*.rs", &[("launch", Some(&handle))])).await;
        let page = browser.log_in(&page, "amy").await;
        if granted {
            let page = browser.allow(&page, &["user/*.rs"]).await;
            assert_eq!(browser.code(&page).await.grant.encounter.as_deref(), Some("e2"));
        } else {
            assert_eq!(page.refusal(), "invalid_request", "{patient:?} {encounter}");
        }
    }
}

#[tokio::test]
async fn an_encounter_that_cannot_be_looked_up_now_is_not_taken_on_trust() {
    let mut browser = Browser::new();
    let context = LaunchContext {
        client_id: "app".to_owned(),
        patient: Some("p1".to_owned()),
        encounter: Some("e1".to_owned()),
        ..LaunchContext::default()
    };
    let handle = browser.launch(context).await;
    let page = browser.authorize(&changed("launch patient/*.rs", &[("launch", Some(&handle))])).await;
    browser.directory.down.store(true, Ordering::SeqCst);
    assert_eq!(browser.log_in(&page, "amy").await.status, 503);
}

// T9: fhirContext of 2.2 and of 2.0
#[tokio::test]
async fn an_app_of_the_older_form_gets_the_references_as_strings() {
    use serde_json::json;

    use crate::config::FhirContextForm;
    let entries = vec![
        json!({"reference": "ImagingStudy/7", "role": "https://example.org/prior"}),
        json!({"canonical": "http://example.org/Questionnaire/q", "type": "Questionnaire"}),
        json!({"reference": "Patient/baby", "role": "https://example.org/newborn"}),
        json!({"identifier": {"value": "7"}, "type": "ServiceRequest"}),
        json!({"reference": "DiagnosticReport/8"}),
    ];
    for (form, expected) in [
        (FhirContextForm::Objects, entries.clone()),
        (FhirContextForm::Strings, vec![json!("ImagingStudy/7"), json!("DiagnosticReport/8")]),
    ] {
        let mut config = crate::grant::testing::config();
        config.clients.iter_mut().for_each(|client| client.fhir_context_form = form);
        let mut browser = Browser::with(config);
        let context = LaunchContext {
            client_id: "app".to_owned(),
            patient: Some("p1".to_owned()),
            fhir_context: entries.clone(),
            ..LaunchContext::default()
        };
        let handle = browser.launch(context).await;
        let page = browser.authorize(&changed("launch patient/*.rs", &[("launch", Some(&handle))])).await;
        let page = browser.log_in(&page, "amy").await;
        let page = browser.allow(&page, &["patient/*.rs"]).await;
        assert_eq!(browser.code(&page).await.grant.launch.unwrap().fhir_context, expected);
    }
}

// A related person or guardian chooses whom, and is not asked about one alone.
#[tokio::test]
async fn who_acts_for_one_patient_is_not_asked_and_who_acts_for_nobody_has_none() {
    for (fhir_user, patients, expected) in [
        ("RelatedPerson/m1", vec!["p2"], Some("p2")),
        ("Person/g1", vec!["p3"], Some("p3")),
        // Somebody's own record alone.
        ("Patient/p1", vec![], Some("p1")),
        ("RelatedPerson/m1", vec![], None),
    ] {
        let mut config = crate::grant::testing::config();
        for user in config.users.iter_mut().filter(|user| user.username == "mum") {
            user.fhir_user = Some(fhir_user.to_owned());
            user.patients = patients.iter().map(|id| (*id).to_owned()).collect();
        }
        let mut browser = Browser::with(config);
        let page = picker(&mut browser, "mum", SCOPE).await;
        let Some(expected) = expected else {
            assert_eq!(page.refusal(), "access_denied", "{fhir_user}");
            continue;
        };
        assert!(page.text.contains("asks for access"), "{fhir_user}: {}", page.text);
        let page = browser.allow(&page, &["patient/*.rs"]).await;
        assert_eq!(browser.code(&page).await.grant.patient.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_parent_with_a_record_of_their_own_chooses_between_it_and_the_childs() {
    let mut config = crate::grant::testing::config();
    // Their own record is theirs, whether it is on the list or not, and comes first.
    for patients in [vec!["p2", "p1"], vec!["p2"]] {
        for user in config.users.iter_mut().filter(|user| user.username == "pat") {
            user.patients = patients.iter().map(|id| (*id).to_owned()).collect();
        }
        let mut browser = Browser::with(config.clone());
        let page = picker(&mut browser, "pat", SCOPE).await;
        assert_eq!(page.fields("patient"), ["p1", "p2"]);
        let page = browser.pick(&page, "p2").await;
        let page = browser.allow(&page, &["patient/*.rs"]).await;
        assert_eq!(browser.code(&page).await.grant.patient.as_deref(), Some("p2"));
    }
}

#[tokio::test]
async fn the_record_names_no_choice_that_was_not_made_and_nobody_who_did_not_make_it() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request("launch/patient patient/*.rs")).await;
    let picker = browser.log_in(&page, "mum").await;
    let transaction = picker.field("transaction");
    for (name, value) in [("query", ""), ("other", "")] {
        browser.post("/patient", &[("transaction", transaction.as_str()), (name, value)]).await;
        assert_ne!(browser.facts.action, Some("patient_chosen"), "{name}");
    }
    // Whoever it is, they are not signed in any more.
    browser.jar.retain(|name, _| !name.contains("session"));
    let page = browser.post("/patient", &[("transaction", transaction.as_str()), ("patient", "p1")]).await;
    assert_eq!(page.status, 303);
    assert_eq!((browser.facts.action, browser.facts.user.as_ref()), (Some("authorization_continued"), None));
}

#[tokio::test]
async fn the_record_of_a_login_names_nobody_but_who_was_named_in_it() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request("launch/patient patient/*.rs")).await;
    let transaction = browser.log_in(&page, "mum").await.field("transaction");
    for _ in 0..6 {
        let fields = [("transaction", transaction.as_str()), ("username", "amy"), ("password", "wrong")];
        browser.post("/login", &fields).await;
    }
    assert_eq!((browser.facts.reason, browser.facts.user.as_ref()), (Some("login_throttled"), None));
}
