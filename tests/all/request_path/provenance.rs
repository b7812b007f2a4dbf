//! Provenance of a grant for one patient: every target is looked at, and what is hidden is on no page.

use super::{asked, assert_absent};
use crate::upstream::{Answer, Resource, data};
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

// cases 109 and 110, of what a Provenance is about
#[test]
fn a_version_that_was_somebody_elses_hides_what_is_about_it() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (id, targets) in [
            ("theirs", &["Observation/mixed/_history/2"][..]),
            ("theirs-too", &["Observation/mixed/_history/1", "{BASE}/Observation/mixed/_history/2"]),
            ("beside", &["Patient/P1", "Observation/mixed/_history/2"]),
            ("never", &["Observation/mixed/_history/9"]),
            ("moved", &["Observation/moved/_history/1"]),
        ] {
            put(&world, id, targets);
            for target in ["", "/_history", "/_history/1"] {
                assert_absent(&world, &a, &format!("/fhir/Provenance/{id}{target}")).await;
            }
            let found = world.get(&format!("/fhir/Provenance?_id={id}"), &a).await;
            assert_eq!((found.status, found.ids().len()), (200, 0), "{id}: {}", found.all());
        }
        put(&world, "own", &["Observation/mixed/_history/1"]);
        put(&world, "now", &["Observation/mixed/_history/3"]);
        asked(&world);
        assert_eq!(world.get("/fhir/Provenance/own", &a).await.status, 200);
        assert_eq!(
            asked(&world),
            ["GET Provenance/own", "GET Observation/mixed", "GET Observation/mixed/_history/1", "GET Provenance/own"]
        );
        assert_eq!(world.get("/fhir/Provenance/now", &a).await.status, 200);
        assert_eq!(
            asked(&world),
            ["GET Provenance/now", "GET Observation/mixed", "GET Provenance/now"],
            "the version that is current is read already"
        );
        let found = world.get("/fhir/Provenance?target=Observation/mixed", &a).await;
        let mut ids = found.ids();
        ids.sort();
        assert_eq!(ids, ["now", "own"], "{}", found.all());
        world.finish().await;
    });
}

#[test]
fn a_version_that_fails_the_condition_of_the_scope_hides_what_is_about_it() {
    run(async {
        let world = World::new().await;
        let version = |number: usize, code: &str| {
            format!(
                r#"{{"resourceType":"Observation","id":"lab","meta":{{"versionId":"{number}"}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"{code}"}}]}}],"subject":{{"reference":"Patient/P1"}}}}"#
            )
        };
        let versions = vec![Some(version(1, "social-history")), Some(version(2, "laboratory"))];
        world.upstream.change(|store| {
            store.put(Resource { versions, ..data::observation("lab", "P1", r#""x":1"#, "1", "") });
        });
        put(&world, "before", &["Observation/lab/_history/1"]);
        put(&world, "now", &["Observation/lab/_history/2"]);
        let scope = "patient/Provenance.rs patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
        let lab = world.token(&Grant::patient(scope, "P1"));
        assert_eq!(world.get("/fhir/Provenance/now", &lab).await.status, 200);
        assert_absent(&world, &lab, "/fhir/Provenance/before").await;
        assert_eq!(world.get("/fhir/Provenance/before", &world.token_a()).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn a_grant_that_is_for_no_patient_needs_no_targets() {
    run(async {
        let world = World::new().await;
        put(&world, "theirs", &["Observation/mixed/_history/2", "Observation/o2"]);
        let scope = "user/Provenance.rs?_id=theirs";
        let token = world.token(&Grant::user(scope, "Practitioner/d1", &["clinician"]));
        asked(&world);
        assert_eq!(world.get("/fhir/Provenance/theirs", &token).await.status, 200);
        assert_eq!(asked(&world), ["GET Provenance/theirs"]);
        assert_eq!(world.get("/fhir/Provenance/pr2", &token).await.status, 404);
        let found = world.get("/fhir/Provenance", &token).await;
        assert_eq!((found.status, found.ids()), (200, vec!["theirs".to_owned()]), "{}", found.all());
        let calls = asked(&world);
        assert!(calls.iter().all(|call| !call.contains("_count=200")), "nothing is counted: {calls:?}");
        world.finish().await;
    });
}

#[test]
fn a_version_that_comes_along_is_the_one_that_is_in_the_answer() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let provenance = |id: &str, version: &str| {
            format!(
                r#",{{"resource":{{"resourceType":"Provenance","id":"{id}","target":[{{"reference":"Observation/mixed/_history/{version}"}}]}},"search":{{"mode":"include"}}}}"#
            )
        };
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{{"resourceType":"Observation","id":"mixed","meta":{{"versionId":"3"}},"subject":{{"reference":"Patient/P1"}}}},"search":{{"mode":"match"}}}}{}{}]}}"#,
            provenance("now", "3"),
            provenance("CANARY", "2"),
        );
        world.upstream.answer(move |_| Answer::fhir(bundle.clone()));
        let found = world.get("/fhir/Observation?_id=mixed&_revinclude=Provenance:target", &a).await;
        assert_eq!((found.status, found.ids()), (200, vec!["mixed".to_owned(), "now".to_owned()]), "{}", found.all());
        world.finish().await;
    });
}

#[test]
fn the_version_that_is_read_is_the_one_that_is_named() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        put(&world, "own", &["Observation/mixed/_history/1"]);
        let own = |id: &str, version: &str, patient: &str| {
            format!(
                r#"{{"resourceType":"Observation","id":"{id}","meta":{{"versionId":"{version}"}},"subject":{{"reference":"Patient/{patient}"}}}}"#
            )
        };
        for (answer, status) in [
            (own("mixed", "1", "P1"), 200),
            (own("mixed", "2", "P1"), 404),
            (own("v1", "1", "P1"), 404),
            (own("mixed", "1", "P2"), 404),
            (r#"{"resourceType":"Patient","id":"P1"}"#.to_owned(), 404),
            ("{".to_owned(), 502),
        ] {
            let text = answer.clone();
            world.upstream.answer(move |seen| {
                if seen.line.ends_with("Observation/mixed/_history/1") {
                    Answer::fhir(text.clone())
                } else {
                    Answer::Honest
                }
            });
            let reply = world.get("/fhir/Provenance/own", &a).await;
            assert_eq!(reply.status, status, "{answer}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn how_much_is_about_what_is_hidden_is_not_told() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for number in 0..210 {
            put(&world, &format!("h{number}"), &["Observation/o2"]);
            put(&world, &format!("v{number}"), &["Observation/mixed/_history/2"]);
        }
        for (hidden, absent) in [
            ("target=Observation/o2", "target=Observation/ox"),
            ("target=Patient/P2", "target=Patient/Px"),
            ("target=Observation/mixed/_history/2", "target=Observation/mixed/_history/9"),
            ("target=Observation/o2,Observation/o4", "target=Observation/ox,Observation/oy"),
            ("target=Observation/o2&target=Observation/o1", "target=Observation/ox&target=Observation/o1"),
        ] {
            asked(&world);
            let one = world.get(&format!("/fhir/Provenance?{hidden}"), &a).await;
            let calls = asked(&world);
            let other = world.get(&format!("/fhir/Provenance?{absent}"), &a).await;
            assert_eq!((one.status, one.ids().len()), (200, 0), "{hidden}: {}", one.all());
            assert_eq!(one.text().replace(hidden, absent), other.text());
            assert_eq!(calls.len(), asked(&world).len(), "{hidden}: {calls:?}");
            assert!(calls.iter().all(|call| !call.contains("Provenance")), "{hidden}: {calls:?}");
        }
        let mixed = world.get("/fhir/Provenance?target=Observation/o2,Observation/o1", &a).await;
        assert_eq!((mixed.status, mixed.ids()), (200, vec!["pr2".to_owned()]), "{}", mixed.all());
        for number in 0..210 {
            put(&world, &format!("own{number}"), &["Observation/o1"]);
        }
        let own = world.get("/fhir/Provenance?target=Observation/o1", &a).await;
        assert_eq!(own.status, 400, "more than are looked at, and they are about what may be seen: {}", own.all());
        asked(&world);
        let versions: Vec<String> = (0..101).map(|number| format!("Observation/o1/_history/{number}")).collect();
        let many = world.get(&format!("/fhir/Provenance?target={}", versions.join(",")), &a).await;
        assert_eq!(many.status, 400, "{}", many.all());
        assert!(asked(&world).is_empty(), "more than are read");
        let type_unknown = world.get("/fhir/Provenance?target=o1", &a).await;
        assert_eq!(type_unknown.status, 400, "{}", type_unknown.all());
        world.finish().await;
    });
}

#[test]
fn how_many_ids_exist_and_how_much_they_are_about_is_not_told() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let ids = |letter: char, many: usize| {
            (0..many).map(|number| format!("{letter}{number}")).collect::<Vec<_>>().join(",")
        };
        for number in 0..210 {
            put(&world, &format!("h{number}"), &["Observation/o2"]);
        }
        for (many, status) in [(50, 200), (51, 400)] {
            for letter in ['h', 'n'] {
                let found = world.get(&format!("/fhir/Provenance?_id={}", ids(letter, many)), &a).await;
                assert_eq!(found.status, status, "{many} {letter}: {}", found.all());
            }
        }
        let targets: Vec<String> = (0..1001).map(|number| format!("Observation/t{number}")).collect();
        put(&world, "wide", &targets.iter().map(String::as_str).collect::<Vec<_>>());
        put(&world, "old", &["Observation/o1/_history/2"]);
        for id in ["wide", "old", "never", "wide,never", "old,never"] {
            let found = world.get(&format!("/fhir/Provenance?_id={id}"), &a).await;
            assert_eq!((found.status, found.ids().len()), (200, 0), "{id}: {}", found.all());
        }
        assert_absent(&world, &a, "/fhir/Provenance/wide").await;
        assert_absent(&world, &a, "/fhir/Provenance/old").await;
        let found = world.get("/fhir/Provenance?_id=wide,pr2", &a).await;
        assert_eq!((found.status, found.ids()), (200, vec!["pr2".to_owned()]), "{}", found.all());
        world.finish().await;
    });
}
