//! Provenance of a grant for one patient: every target is looked at, and what is hidden is on no page.

use super::{asked, assert_absent};
use crate::upstream::{Answer, data};
use crate::world::{Grant, World, run};

fn put(world: &World, id: &str, targets: &[&str]) {
    let targets: Vec<String> = targets.iter().map(|one| format!(r#"{{"reference":"{one}"}}"#)).collect();
    let rest = format!(r#""target":[{}],"recorded":"2024-01-01T00:00:00Z""#, targets.join(","));
    let own = targets.iter().all(|one| !one.contains("P2") && !one.contains("o2"));
    world.upstream.change(|store| store.put(data::resource("Provenance", id, own.then_some("P1"), &rest)));
}

// case 82
#[test]
fn case_82_every_target_must_be_within_reach() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let read = world.get("/fhir/Provenance/pr2", &a).await;
        assert_eq!(read.status, 200, "{}", read.all());
        assert_eq!(asked(&world), ["GET Provenance/pr2", "GET Observation/o1", "GET Provenance/pr2"]);
        for (id, targets) in [
            ("two", &["Patient/P1", "Observation/o2"][..]),
            ("theirs", &["Observation/o2"]),
            ("nobody", &["Observation/never"]),
            ("both", &["Patient/P1", "Patient/P2"]),
            ("who", &["Practitioner/d1"]),
            ("elsewhere", &["Patient/P1", "http://elsewhere.example/fhir/Observation/o1"]),
            ("inside", &["Patient/P1", "#o1"]),
        ] {
            put(&world, id, targets);
            for target in ["", "/_history", "/_history/1"] {
                assert_absent(&world, &a, &format!("/fhir/Provenance/{id}{target}")).await;
            }
        }
        for (id, targets) in [
            ("three", &["Patient/P1", "{BASE}/Observation/o1", "Condition/c1/_history/1", "Practitioner/d1"][..]),
            ("patient", &["{BASE}/Patient/P1"]),
        ] {
            put(&world, id, targets);
            for target in ["", "/_history", "/_history/1"] {
                let reply = world.get(&format!("/fhir/Provenance/{id}{target}"), &a).await;
                assert_eq!(reply.status, 200, "{id}{target}: {}", reply.all());
            }
        }
        let alone = world.token(&Grant::patient("patient/Provenance.rs", "P1"));
        assert_eq!(world.get("/fhir/Provenance/pr2", &alone).await.status, 404, "its target is in no scope");
        assert_eq!(world.get("/fhir/Provenance/patient", &alone).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn a_search_finds_what_is_about_nothing_that_is_hidden() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        put(&world, "patient", &["Patient/P1"]);
        for number in 0..30 {
            put(&world, &format!("hidden{number}"), &["Patient/P1", "Observation/o2"]);
        }
        asked(&world);
        let found = world.get("/fhir/Provenance?_count=1", &a).await;
        assert_eq!((found.ids(), found.link("next")), (vec!["patient".to_owned()], None), "{}", found.all());
        assert_eq!(
            asked(&world),
            [
                "GET Provenance?patient=Patient/P1&_count=200",
                "GET Observation/o2",
                "GET Provenance?_id=patient&_count=1"
            ]
        );
        put(&world, "other", &["Patient/P1", "Observation/v1"]);
        let first = world.get("/fhir/Provenance?_count=1", &a).await;
        let next = first.link("next").unwrap();
        let second = world.get(&next, &a).await;
        assert_eq!(second.status, 200, "{}", second.all());
        let mut both = [first.ids(), second.ids()].concat();
        both.sort();
        assert_eq!(both, ["other", "patient"]);
        for (query, ids) in [
            ("target=Observation/o1", vec!["pr2".to_owned()]),
            ("target=Observation/o2", vec![]),
            ("target=Observation/never", vec![]),
            ("_id=pr1,pr2,hidden3", vec!["pr2".to_owned()]),
            ("patient=P2", vec![]),
        ] {
            let found = world.get(&format!("/fhir/Provenance?{query}"), &a).await;
            assert_eq!((found.status, found.ids()), (200, ids), "{query}: {}", found.all());
        }
        let many = world.get("/fhir/Provenance?_id=pr2", &a).await;
        assert!(many.json()["total"].is_null());
        for number in 30..210 {
            put(&world, &format!("hidden{number}"), &["Patient/P1", "Observation/o2"]);
        }
        assert_eq!(world.get("/fhir/Provenance", &a).await.status, 400, "more than are looked at");
        world.finish().await;
    });
}

#[test]
fn evidence_that_lies_lets_nothing_out() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let searchset = |entry: &str| format!(r#"{{"resourceType":"Bundle","type":"searchset","entry":[{entry}]}}"#);
        let theirs =
            r#"{"resourceType":"Observation","id":"o1","language":"CANARY","subject":{"reference":"Patient/P2"}}"#;
        let cases = [
            ("Observation/o1", theirs.to_owned(), 404),
            (
                "Observation/o1",
                r#"{"resourceType":"Observation","id":"v1","subject":{"reference":"Patient/P1"}}"#.to_owned(),
                404,
            ),
            ("Observation/o1", r#"{"resourceType":"Patient","id":"P1"}"#.to_owned(), 404),
            ("Observation/o1", "{".to_owned(), 502),
            (
                "Provenance/pr2",
                r#"{"resourceType":"Provenance","id":"pr2","target":[{"reference":"Observation/o2"}]}"#.to_owned(),
                404,
            ),
            (
                "Provenance/pr2",
                r#"{"resourceType":"Provenance","id":"pr9","target":[{"reference":"Observation/o1"}]}"#.to_owned(),
                502,
            ),
            ("Provenance/pr2", r#"{"resourceType":"Provenance","id":"pr2"}"#.to_owned(), 404),
            ("Provenance/pr2", r#"{"resourceType":"Patient","id":"P1"}"#.to_owned(), 502),
            ("Provenance/pr2", searchset(theirs), 404),
            ("Provenance/pr2", "[]".to_owned(), 502),
        ];
        for (at, answer, status) in cases {
            let text = answer.clone();
            world.upstream.answer(
                move |seen| {
                    if seen.line.ends_with(at) { Answer::fhir(text.clone()) } else { Answer::Honest }
                },
            );
            let reply = world.get("/fhir/Provenance/pr2", &a).await;
            assert_eq!(reply.status, status, "{at} {answer}: {}", reply.all());
        }
        // It is about somebody else's when it is asked for in the end.
        let moved = r#"{"resourceType":"Provenance","id":"pr2","language":"CANARY","target":[{"reference":"Observation/o1"},{"reference":"Observation/o2"}]}"#;
        let count = std::sync::atomic::AtomicUsize::new(0);
        world.upstream.answer(move |seen| {
            let again =
                seen.line.ends_with("Provenance/pr2") && count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0;
            if again { Answer::fhir(moved) } else { Answer::Honest }
        });
        assert_eq!(world.get("/fhir/Provenance/pr2", &a).await.status, 404);
        let entry = format!(r#"{{"resource":{moved}}}"#);
        let found = searchset(&entry);
        world.upstream.answer(move |seen| {
            if seen.line.contains("_id=pr2&_count=1") { Answer::fhir(found.clone()) } else { Answer::Honest }
        });
        let reply = world.get("/fhir/Provenance?target=Observation/o1&_count=1", &a).await;
        assert_eq!((reply.status, reply.ids().len()), (200, 0), "{}", reply.all());
        world.finish().await;
    });
}

#[test]
fn what_comes_along_is_about_what_is_in_the_same_answer() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let observation = r#"{"resource":{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P1"}},"search":{"mode":"match"}}"#;
        let provenance = |id: &str, targets: &str| {
            format!(
                r#",{{"resource":{{"resourceType":"Provenance","id":"{id}","target":[{targets}]}},"search":{{"mode":"include"}}}}"#
            )
        };
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"searchset","entry":[{observation}{}{}{}{}]}}"#,
            provenance("own", r#"{"reference":"Observation/o1"}"#),
            provenance("CANARY1", r#"{"reference":"Observation/o1"},{"reference":"Observation/o2"}"#),
            provenance("CANARY2", r#"{"reference":"Observation/v1"}"#),
            provenance("CANARY3", r#"{"reference":"Provenance/own"},{"reference":"Observation/o1"}"#),
        );
        world.plant("CANARY");
        world.upstream.answer(move |_| Answer::fhir(bundle.clone()));
        let reply = world.get("/fhir/Observation?_revinclude=Provenance:target", &a).await;
        assert_eq!((reply.status, reply.ids()), (200, vec!["o1".to_owned(), "own".to_owned()]), "{}", reply.all());
        world.finish().await;
    });
}
