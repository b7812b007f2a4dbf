//! Choosing a patient: searched by POST, and nobody is chosen who was not on the page.

use firebreak::audit::EventKind;

use super::*;
use crate::world::{Settings, World, run};

#[test]
fn a_clinician_searches_by_post_and_no_name_stands_in_a_url() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let picker = browser.log_in(&page, "dr").await;
        assert_eq!(picker.fields("patient"), ["P1", "P2", "P3"]);
        world.upstream.take_seen();
        let transaction = picker.field("transaction");
        let found = browser.post("/patient", &[("transaction", &transaction), ("query", "Chal")]).await;
        assert_eq!((found.status(), found.fields("patient")), (200, vec!["P1".to_owned()]), "{}", found.reply.all());
        for seen in world.upstream.take_seen() {
            assert!(!seen.line.contains("Chal"), "{}", seen.line);
        }
        // P2 was on the page before, and is not on the one that was shown last.
        let refused = browser.pick(&found, "P2").await;
        assert_eq!((refused.status(), refused.location()), (403, None));
        let page = browser.pick(&found, "P1").await;
        assert!(page.asks_for_consent() && page.text().contains("Chalmers"));
        world.finish().await;
    });
}

#[test]
fn a_patient_or_encounter_that_was_not_offered_is_refused() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        // Before anybody is logged in, there is nothing to choose from.
        let early = browser.pick(&page, "P1").await;
        assert!(early.asks_for_login(), "{}", early.reply.all());
        let picker = browser.log_in(&page, "mum").await;
        assert_eq!(picker.status(), 200, "{}", picker.reply.all());
        for bad in ["P3", "nobody", "", "P1,P3", "../P1", "Patient/P1"] {
            assert_eq!(browser.pick(&picker, bad).await.status(), 403, "{bad}");
        }
        let transaction = picker.field("transaction");
        for fields in [[("encounter", "e1")], [("encounter", "")], [("query", "Chalmers")]] {
            let [field] = fields;
            let page = browser.post("/patient", &[("transaction", &transaction), field]).await;
            assert_eq!(page.status(), 403, "{field:?}");
        }
        let doubled =
            browser.post("/patient", &[("transaction", &transaction), ("patient", "P1"), ("patient", "P3")]).await;
        assert!(doubled.location().is_none(), "{}", doubled.reply.all());
        // One whom the user may choose, and the token is for that one alone.
        assert_eq!(picker.fields("patient"), ["P1", "P2"]);
        let page = browser.pick(&picker, "P2").await;
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        let given = token(&world, &exchange(&code), &[]).await.json();
        assert_eq!(text(&given, "patient"), "P2");
        assert_eq!(world.get("/fhir/Patient/P2", text(&given, "access_token")).await.status, 200);
        assert_eq!(world.get("/fhir/Patient/P1", text(&given, "access_token")).await.status, 404);
        world.finish().await;
    });
}

#[test]
fn an_encounter_of_the_chosen_patient_comes_with_the_token() {
    run(async {
        let world = world().await;
        let scope = "launch/patient launch/encounter patient/Encounter.rs";
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request_of("spa", "https://spa.example.org/cb", scope)).await;
        let picker = browser.log_in(&page, "dr").await;
        let visits = browser.pick(&picker, "P1").await;
        assert!(visits.fields("encounter").contains(&"e1".to_owned()), "{}", visits.reply.all());
        let transaction = visits.field("transaction");
        let foreign = browser.post("/patient", &[("transaction", &transaction), ("encounter", "e2")]).await;
        assert_eq!(foreign.status(), 403);
        let page = browser.post("/patient", &[("transaction", &transaction), ("encounter", "e1")]).await;
        let page = browser.follow(page).await;
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", "https://spa.example.org/cb");
        let given = token(&world, &fields, &[]).await.json();
        assert_eq!((text(&given, "patient"), text(&given, "encounter")), ("P1", "e1"));
        assert_eq!(world.get("/fhir/Encounter/e1", text(&given, "access_token")).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn changing_the_patient_in_another_tab_makes_the_open_consent_page_void() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let picker = browser.log_in(&page, "dr").await;
        let first = browser.pick(&picker, "P1").await;
        let second = browser.pick(&picker, "P2").await;
        assert!(first.asks_for_consent() && second.asks_for_consent());
        let stale = browser.allow_all(&first).await;
        assert_eq!((stale.status(), stale.location()), (403, None));
        assert!(browser.allow_all(&second).await.returned("code").is_some());
        world.finish().await;
    });
}

#[test]
fn who_may_not_look_up_patients_is_sent_back_to_the_app_and_the_record_says_why() {
    run(async {
        let sections = sections().replace(r#"roles = ["clinician", "auditor"]"#, r#"roles = ["visitor"]"#);
        let world = World::with(Settings { sections, ..settings() }).await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let back = browser.log_in(&page, "dr2").await;
        assert_eq!(back.returned("error").as_deref(), Some("access_denied"), "{}", back.reply.all());
        let records = world.finish().await;
        let refused = records.iter().filter(|entry| entry.record.kind == EventKind::Fhir);
        let explained: Vec<_> = refused.map(|entry| entry.record.explanation.concat()).collect();
        assert!(!explained.is_empty() && explained.iter().all(|why| why.contains("refused: ")), "{explained:?}");
    });
}
