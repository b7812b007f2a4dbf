//! What a person decides, and what is remembered of it.

use super::*;
use crate::world::run;

const PATIENT: &str = "patient/Patient.rs";

#[test]
fn a_person_drops_single_scopes_and_the_token_is_that_much_smaller() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        assert_eq!(page.fields("scope"), ["patient/Observation.rs", PATIENT, "offline_access"]);
        let page = browser.decide(&page, "allow", &[PATIENT]).await;
        let code = page.returned("code").unwrap();
        world.secret(&code);
        let given = token(&world, &exchange(&code), &[]).await.json();
        assert_eq!(text(&given, "scope"), "openid fhirUser launch/patient patient/Patient.rs");
        assert!(given.get("refresh_token").is_none());
        let access = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        assert_eq!(world.get("/fhir/Observation?patient=P1", access).await.status, 403);
        world.finish().await;
    });
}

#[test]
fn a_choice_is_remembered_for_this_app_user_and_patient_until_the_app_wants_to_ask() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        let page = browser.decide(&page, "allow", &[PATIENT]).await;
        assert!(page.returned("code").is_some());
        let code = browser.authorize(&request(SCOPE)).await.returned("code").unwrap();
        let given = token(&world, &exchange(&code), &[]).await.json();
        assert_eq!(
            text(&given, "scope"),
            "openid fhirUser launch/patient patient/Patient.rs",
            "what was declined stays so"
        );
        assert!(browser.authorize(&with(request(SCOPE), "prompt", "none")).await.returned("code").is_some());
        assert!(browser.authorize(&with(request(SCOPE), "prompt", "consent")).await.asks_for_consent());
        assert!(browser.authorize(&with(request(SCOPE), "prompt", "login")).await.asks_for_login());
        let more = format!("{SCOPE} patient/Condition.rs");
        assert!(browser.authorize(&request(&more)).await.asks_for_consent());
        let none = with(request(&more), "prompt", "none");
        assert_eq!(browser.authorize(&none).await.refusal(), "consent_required");
        let other = request_of("other", CALLBACK, SCOPE);
        assert!(browser.authorize(&other).await.asks_for_consent(), "the same redirect URI, another app");
        // Somebody else in the same browser.
        let page = browser.authorize(&with(request(SCOPE), "prompt", "login")).await;
        assert!(browser.log_in(&page, "dr").await.fields("patient").contains(&"P1".to_owned()));
        world.finish().await;
    });
}

#[test]
fn prompt_none_never_shows_a_page() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let none = with(request(SCOPE), "prompt", "none");
        assert_eq!(browser.authorize(&none).await.refusal(), "login_required");
        let page = browser.authorize(&request(SCOPE)).await;
        browser.log_in(&page, "dr").await;
        assert_eq!(browser.authorize(&none).await.refusal(), "interaction_required");
        assert_eq!(browser.authorize(&with(request(SCOPE), "prompt", "none login")).await.refusal(), "invalid_request");
        assert_eq!(browser.authorize(&with(request(SCOPE), "prompt", "create")).await.refusal(), "invalid_request");
        world.finish().await;
    });
}

#[test]
fn an_app_that_the_site_approved_is_not_asked_about() {
    run(async {
        let world = world().await;
        let redirect = "https://approved.example.org/cb";
        let mut browser = Browser::new(&world);
        let asked = request_of("approved", redirect, SCOPE);
        let page = browser.authorize(&asked).await;
        let page = browser.log_in(&page, "pat").await;
        assert!(
            page.location().unwrap().starts_with(redirect) && page.returned("code").is_some(),
            "{}",
            page.reply.all()
        );
        assert!(browser.authorize(&with(asked.clone(), "prompt", "none")).await.returned("code").is_some());
        assert!(browser.authorize(&with(asked, "prompt", "consent")).await.asks_for_consent());
        world.finish().await;
    });
}

#[test]
fn a_person_denies_at_every_step() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let login = browser.authorize(&request(SCOPE)).await;
        let transaction = login.field("transaction");
        let denied = browser.post("/login", &[("transaction", &transaction), ("decision", "deny")]).await;
        assert_eq!((denied.refusal().as_str(), denied.returned("state").as_deref()), ("access_denied", Some("st4te")));
        let gone = browser.log_in(&login, "dr").await;
        assert_eq!((gone.status(), gone.location()), (400, None), "it is over");
        let page = browser.authorize(&request(SCOPE)).await;
        let picker = browser.log_in(&page, "dr").await;
        let transaction = picker.field("transaction");
        let denied = browser.post("/patient", &[("transaction", &transaction), ("decision", "deny")]).await;
        assert_eq!(denied.refusal(), "access_denied");
        for scopes in [vec![], vec![PATIENT], vec!["offline_access"]] {
            let decision = if scopes == ["offline_access"] { "allow" } else { "deny" };
            let page = browser.authorize(&request(SCOPE)).await;
            let page = browser.pick(&page, "P1").await;
            let denied = browser.decide(&page, decision, &scopes).await;
            assert_eq!(denied.refusal(), "access_denied", "{decision} {scopes:?}");
        }
        let entries = world.finish().await;
        let denials = entries.iter().filter(|entry| entry.record.reason.as_deref() == Some("access_denied"));
        let records: Vec<_> = denials.filter(|entry| entry.record.sub.as_deref() == Some("dr")).collect();
        assert_eq!(records.len(), 4, "{records:?}");
    });
}

// A8, P5, P6, B3 65: what was allowed is read, what was not is as if absent
#[test]
fn a_person_allows_only_some_categories_and_the_token_reads_nothing_more_widely() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let scope = "launch/patient patient/Condition.rs patient/Observation.rs patient/Patient.rs";
        let page = browser.authorize(&request(scope)).await;
        let page = browser.log_in(&page, "pat").await;
        let offered = page.fields("only");
        let laboratory = offered.iter().find(|part| part.ends_with("|laboratory")).unwrap();
        let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
        let fields = [
            ("transaction", transaction.as_str()),
            ("csrf", csrf.as_str()),
            ("decision", "allow"),
            ("scope", "patient/Patient.rs"),
            ("scope", "patient/Observation.rs"),
            ("only", laboratory.as_str()),
        ];
        let page = browser.post("/consent", &fields).await;
        let given = token(&world, &exchange(&page.returned("code").unwrap()), &[]).await.json();
        assert_eq!(text(&given, "scope"), format!("launch/patient {laboratory} patient/Patient.rs"));
        let access = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        world.upstream.take_seen();
        assert_eq!(world.get("/fhir/Observation/o1", access).await.status, 200);
        assert_eq!(world.get("/fhir/Observation/v1", access).await.status, 404, "a vital sign");
        world.upstream.take_seen();
        let found = world.get("/fhir/Observation?_count=50", access).await;
        let (_, category) = laboratory.split_once('?').unwrap();
        let category = category.replace('|', "%7C");
        let seen: Vec<String> = world.upstream.take_seen().iter().map(crate::upstream::Seen::below_base).collect();
        assert_eq!(seen, [format!("GET Observation?subject=Patient/P1&{category}&_count=50")]);
        let mut expected: Vec<String> = (0..23).step_by(2).map(|number| format!("x{number:02}")).collect();
        expected.insert(0, "o1".to_owned());
        assert_eq!(found.ids(), expected);
        let refused = world.get("/fhir/Condition?patient=P1", access).await;
        assert_eq!(refused.status, 403, "nothing of it was allowed");
        assert!(world.upstream.take_seen().is_empty(), "the upstream was asked");
        world.finish().await;
    });
}

// P2, P8, F2
#[test]
fn scopes_come_back_in_the_words_of_the_request_whatever_version() {
    run(async {
        let world = world().await;
        let scope = "launch/patient openid patient/Patient.read patient/Observation.rs offline_access";
        let given = tokens(&world, "pat", scope).await;
        assert_eq!(text(&given, "scope"), scope);
        assert_eq!(world.get("/fhir/Patient?_id=P1", text(&given, "access_token")).await.status, 200);
        let uris = "http://smarthealthit.org/fhir/scopes/patient/Patient.rs http://openid.net/specs/openid-connect-core-1_0#openid";
        let given = tokens(&world, "pat", uris).await;
        assert_eq!(text(&given, "scope"), "patient/Patient.rs openid");
        assert!(given["id_token"].is_string());
        world.finish().await;
    });
}
