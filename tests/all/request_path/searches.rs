//! Searches: narrowed by the gateway's own parameter, whatever the client sent, and every entry tested.

use super::{asked, b};
use crate::upstream::Answer;
use crate::world::{Grant, Settings, World, run};

/// Target below the base, the ids that come, and what the upstream is asked.
type Case = (u16, &'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    (37, "Observation?patient=P1&patient=P2&_id=o1", &[], &[]),
    (
        38,
        "Observation?patient=Patient/P1,Patient/P2&_id=o1,o2",
        &["o1"],
        &["GET Observation?subject=Patient/P1&_id=o1,o2"],
    ),
    (40, "Observation?code=x;patient=P2", &[], &["GET Observation?subject=Patient/P1&code=x%3Bpatient%3DP2"]),
    (
        41,
        "Observation?value-string=a%2Bb+c%5C,d%5C$e",
        &[],
        &["GET Observation?subject=Patient/P1&value-string=a%2Bb%20c%5C,d%5C%24e"],
    ),
    (
        50,
        "Observation?_id=o1,v1,o2,o4,moved,mixed",
        &["mixed", "o1", "v1"],
        &["GET Observation?subject=Patient/P1&_id=o1,v1,o2,o4,moved,mixed"],
    ),
    (52, "Observation?patient=P2", &[], &[]),
    (52, "Observation?subject=Patient/P2", &[], &[]),
    (53, "Observation?subject=Group/G1", &[], &[]),
    (53, "Observation?subject=Patient/P1,Group/G1&_id=o1", &["o1"], &["GET Observation?subject=Patient/P1&_id=o1"]),
    (55, "Observation?subject=http://evil/Patient/P1", &[], &[]),
    (
        55,
        "Observation?subject=https://gw.example.org/fhir/Patient/P1&_id=o1",
        &["o1"],
        &["GET Observation?subject=Patient/P1&_id=o1"],
    ),
    (
        56,
        "Observation?subject:identifier=mrn%7CP2",
        &[],
        &["GET Observation?subject=Patient/P1&subject:identifier=mrn%7CP2"],
    ),
    (56, "Observation?patient:not=Patient/P1", &[], &["GET Observation?subject=Patient/P1&patient:not=Patient/P1"]),
    (56, "Observation?subject:missing=true", &[], &["GET Observation?subject=Patient/P1&subject:missing=true"]),
    (56, "Observation?subject:Patient=P2", &[], &[]),
    (56, "Observation?subject:Patient=P1&_id=o1", &["o1"], &["GET Observation?subject=Patient/P1&_id=o1"]),
    (58, "Appointment?actor=Patient/P2", &["a1"], &["GET Appointment?actor=Patient/P1&actor=Patient/P2"]),
    (71, "Observation?_id=o1,o2", &["o1"], &["GET Observation?subject=Patient/P1&_id=o1,o2"]),
    (
        74,
        "Observation?category:not=laboratory&_id=o1,v1,o2,v2",
        &["v1"],
        &["GET Observation?subject=Patient/P1&category:not=laboratory&_id=o1,v1,o2,v2"],
    ),
    (89, "Observation?_sort=-date&_count=1", &["x22"], &["GET Observation?subject=Patient/P1&_sort=-date&_count=1"]),
    (91, "Observation?_id=o1&_count=1000000", &["o1"], &["GET Observation?subject=Patient/P1&_id=o1&_count=200"]),
    (100, "Patient", &["P1"], &["GET Patient?_id=P1"]),
    (100, "Patient?identifier=urn:mrn%7C2", &[], &["POST Patient/_search _id=P1&identifier=urn:mrn%7C2"]),
    (100, "Patient?link=Patient/P2", &["P1"], &["POST Patient/_search _id=P1&link=Patient/P2"]),
    (100, "Patient?link=Patient/P1", &[], &["POST Patient/_search _id=P1&link=Patient/P1"]),
    (100, "Patient?_id=P2", &[], &[]),
    (100, "Patient?_id=P1,P2", &["P1"], &["GET Patient?_id=P1"]),
    (103, "Device", &["dev1"], &["GET Device?patient=Patient/P1"]),
];

#[test]
fn cases_37_to_103_every_search_is_narrowed() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let mut connection = world.connect().await;
        for (number, search, ids, wanted) in CASES {
            let reply = world.send_on(&mut connection, &format!("GET /fhir/{search}"), &a, &[], "").await;
            assert_eq!(reply.status, 200, "case {number} {search}: {}", reply.all());
            assert_eq!(reply.ids(), *ids, "case {number} {search}");
            assert_eq!(asked(&world), *wanted, "case {number} {search}");
            assert_eq!(reply.json()["total"], serde_json::Value::Null, "case {number} {search}: {}", reply.text());
            let own = reply.link("self").unwrap();
            assert!(
                own.starts_with(&format!("/fhir/{}", search.split('?').next().unwrap())),
                "self below our base: {own}"
            );
        }
        world.finish().await;
    });
}

#[test]
fn case_97_query_and_form_are_policed_as_one() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (target, form) in [
            ("/fhir/Observation/_search?patient=P1", "patient=P2"),
            ("/fhir/Observation/_search?patient=P2", "patient=P1"),
            ("/fhir/Observation/_search", "patient=P1&patient=P2"),
        ] {
            let reply = world.post(target, &a, form).await;
            assert_eq!(reply.status, 200, "{}", reply.all());
            assert!(reply.ids().is_empty());
            assert_eq!(asked(&world), [""; 0]);
        }
        let reply = world.post("/fhir/Observation/_search?_id=o1,o2", &a, "category=laboratory").await;
        assert_eq!(reply.ids(), ["o1"]);
        assert_eq!(asked(&world), ["GET Observation?subject=Patient/P1&_id=o1,o2&category=laboratory"]);
        let both = world.post("/fhir/Observation/_search", &a, "access_token=abc").await;
        assert_eq!(both.status, 400);
        let records = world.finish().await;
        assert!(records.iter().any(|entry| entry.record.query_names == ["_id", "category"]));
    });
}

#[test]
fn a_long_search_travels_in_a_form_and_stays_narrowed() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let ids: Vec<String> = (0..300).map(|number| format!("not-there-{number}")).collect();
        let reply = world.post("/fhir/Observation/_search", &a, &format!("_id=o1,o2,{}", ids.join(","))).await;
        assert_eq!(reply.ids(), ["o1"]);
        let seen = world.upstream.take_seen();
        let [seen] = seen.as_slice() else { panic!("one request") };
        assert!(seen.below_base().starts_with("POST Observation/_search "));
        assert!(seen.body.starts_with("subject=Patient/P1&_id=o1,o2,not-there-0"), "{}", seen.body);
        world.finish().await;
    });
}

#[test]
fn case_85_what_came_without_being_asked_for_never_leaves() {
    let own = r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P1"}}"#;
    let theirs = r#"{"resourceType":"Observation","id":"o2","language":"CANARY","subject":{"reference":"Patient/P2"}}"#;
    let kin = r#"{"resourceType":"Patient","id":"P2","language":"CANARY"}"#;
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"informational","diagnostics":"CANARY Patient/P2","details":{"text":"CANARY"},"expression":["CANARY"]}]}"#;
    // The second entry, and the status of the answer.
    let cases = [
        (format!(r#"{{"resource":{theirs},"search":{{"mode":"include"}}}}"#), 200),
        (format!(r#"{{"resource":{kin},"search":{{"mode":"include"}}}}"#), 200),
        (format!(r#"{{"resource":{theirs},"search":{{"mode":"match"}}}}"#), 502),
        (format!(r#"{{"resource":{theirs}}}"#), 502),
        (format!(r#"{{"resource":{theirs},"search":{{"mode":"INCLUDE"}}}}"#), 502),
        (format!(r#"{{"resource":{theirs},"search":{{"mode":null}}}}"#), 502),
        (format!(r#"{{"resource":{kin},"search":{{"mode":"match"}}}}"#), 502),
        (format!(r#"{{"resource":{theirs},"search":{{"mode":"outcome"}}}}"#), 200),
        (format!(r#"{{"resource":{outcome},"search":{{"mode":"outcome"}}}}"#), 200),
        (r#"{"resource":{"resourceType":"Nonsense","id":"CANARY"}}"#.to_owned(), 502),
        (
            r#"{"resource":{"resourceType":"Observation","subject":{"reference":"Patient/P1"},"note":"CANARY"}}"#
                .to_owned(),
            502,
        ),
        (r#"{"resource":"CANARY"}"#.to_owned(), 502),
        (r#"{"fullUrl":"CANARY","response":{"location":"CANARY","outcome":{"x":"CANARY"}}}"#.to_owned(), 200),
        (r#""CANARY""#.to_owned(), 502),
    ];
    run(async {
        let world = World::new().await;
        let token = world.token(&b());
        for (second, status) in cases {
            let body = format!(
                r#"{{"resourceType":"Bundle","type":"searchset","id":"CANARY","total":17,"CANARY":"x","entry":[{{"fullUrl":"http://evil.example/CANARY","link":[{{"relation":"x","url":"CANARY"}}],"resource":{own},"search":{{"mode":"match","extension":[{{"url":"CANARY"}}]}}}},{second}]}}"#
            );
            world.upstream.answer(move |_| Answer::fhir(body.clone()));
            let reply = world.get("/fhir/Observation", &token).await;
            assert_eq!(reply.status, status, "{second}: {}", reply.all());
            if status == 200 {
                let released = reply.json();
                assert_eq!(released["entry"][0]["resource"]["id"], "o1");
                assert_eq!(released["entry"][0]["fullUrl"], "https://gw.example.org/fhir/Observation/o1");
                assert_eq!(released["total"], serde_json::Value::Null);
                let entries = released["entry"].as_array().unwrap();
                assert!(entries[1..].iter().all(|entry| entry["search"]["mode"] == "outcome"), "{}", reply.text());
            }
        }
        let records = world.finish().await;
        let foreign = records.iter().filter(|entry| entry.record.reason.as_deref() == Some("upstream_foreign_match"));
        assert_eq!(foreign.count(), 5);
        assert!(records.iter().any(|entry| entry.record.withheld == Some(1)), "the record tells what was left out");
    });
}

#[test]
fn case_85_an_upstream_that_ignores_the_narrowing_releases_nothing() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        world.upstream.change(|store| store.ignored = vec!["subject", "patient"]);
        for search in ["Observation", "Observation?code=2093-3", "Condition", "Device"] {
            let reply = world.get(&format!("/fhir/{search}"), &a).await;
            assert_eq!(reply.status, 502, "{search}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn case_86_no_total_leaves_and_none_is_asked_for() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for total in ["accurate", "estimate", "none"] {
            let reply = world.get(&format!("/fhir/Observation?_id=o1&_total={total}"), &a).await;
            assert_eq!((reply.status, &reply.json()["total"]), (200, &serde_json::Value::Null));
            assert_eq!(asked(&world), ["GET Observation?subject=Patient/P1&_id=o1"]);
        }
        for count in ["_count=0", "_summary=count"] {
            assert_eq!(world.get(&format!("/fhir/Observation?{count}"), &a).await.status, 403);
        }
        assert_eq!(world.get("/fhir/Observation?_count=-1", &a).await.status, 400);
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn types_are_searched_only_as_far_as_scope_and_policy_reach() {
    run(async {
        let world = World::new().await;
        let reception = world.token(&Grant::user("user/*.rs", "Practitioner/d2", &["reception"]));
        let bulk = world.token(&Grant::system("system/Observation.rs", "bulk1"));
        let patient = world.token(&Grant::user("user/*.cruds", "Patient/P1", &["patient"]));
        for (token, target, status) in [
            (&reception, "Observation", 403),
            (&reception, "Observation/o1", 403),
            (&bulk, "Patient", 403),
            (&bulk, "Patient/P1", 403),
            (&patient, "Observation/o1", 200),
            (&patient, "Observation/o2", 404),
            (&patient, "Patient/P2", 404),
            (&patient, "Practitioner/d1", 200),
            (&patient, "Practitioner?name=x", 403),
            (&patient, "Practitioner?_id=d1", 403),
        ] {
            let reply = world.get(&format!("/fhir/{target}"), token).await;
            assert_eq!(reply.status, status, "{target}: {}", reply.all());
        }
        asked(&world);
        let found = world.get("/fhir/Observation?_id=o1,o2", &patient).await;
        assert_eq!(found.ids(), ["o1"]);
        assert_eq!(asked(&world), ["GET Observation?subject=Patient/P1&_id=o1,o2"]);
        world.finish().await;
    });
}

#[test]
fn an_unrestricted_grant_keeps_its_total_and_is_not_narrowed() {
    run(async {
        let plain = |text: &str| text.replace("CANARY", "data");
        let mut resources = Settings::default().resources;
        for version in resources.iter_mut().flat_map(|one| &mut one.versions).flatten() {
            *version = plain(version);
        }
        let world = World::with(Settings { resources, ..Default::default() }).await;
        let token = world.token(&Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]));
        let reply = world.get("/fhir/Observation?_id=o1,o2", &token).await;
        assert_eq!((reply.ids(), &reply.json()["total"]), (vec!["o1".to_owned(), "o2".to_owned()], &2.into()));
        assert_eq!(asked(&world), ["GET Observation?_id=o1,o2"]);
        let records = world.finish().await;
        let record = &records.iter().find(|entry| entry.record.status == Some(200)).unwrap().record;
        assert_eq!(
            (record.patients.as_slice(), record.resource_ids.len()),
            (["P1".to_owned(), "P2".to_owned()].as_slice(), 2)
        );
    });
}

#[test]
fn the_record_names_the_encounter_of_the_launch_and_every_place_that_was_searched() {
    run(async {
        let world = World::new().await;
        let clinician = Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]);
        let token = world.token(&clinician.with(|claims| claims.encounter = Some("e1".to_owned())));
        assert_eq!(world.get("/fhir?_type=Observation,Patient", &token).await.status, 200);
        world.get(&format!("/fhir/Patient/${}", "x".repeat(100)), &token).await;
        let records = world.finish().await;
        let of = |name: &str| {
            let named = |record: &&firebreak::audit::Record| record.interaction.as_deref() == Some(name);
            records.iter().map(|entry| &entry.record).find(named).unwrap_or_else(|| panic!("{name}: {records:?}"))
        };
        let (search, operation) = (of("search-system"), of(&format!("${}", "x".repeat(64))));
        assert_eq!([search.encounter.as_deref(), operation.encounter.as_deref()], [Some("e1"); 2]);
        let told = search.explanation.join("\n");
        assert!(told.contains("every Observation") && told.contains("every Patient"), "{told}");
    });
}
