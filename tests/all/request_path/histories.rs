//! Histories: of one's own resource the versions that were one's own; what is hidden looks like what is absent.

use serde_json::Value;

use super::{asked, assert_absent, header_names};
use crate::upstream::{Answer, Resource, data};
use crate::world::{Grant, Reply, World, run};

fn versions(reply: &Reply) -> Vec<String> {
    let bundle = reply.json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let version = |entry: &Value| match &entry["resource"]["meta"]["versionId"] {
        Value::String(version) => version.clone(),
        _ => entry["request"]["method"].as_str().unwrap().to_owned(),
    };
    entries.iter().map(version).collect()
}

fn clinician() -> Grant {
    Grant::user("user/*.rs", "Practitioner/d1", &["clinician"])
}

/// One version after another, each about the patient named; nothing is a deletion.
fn put(world: &World, id: &str, subjects: &[Option<&str>]) {
    let versions = subjects.iter().enumerate().map(|(index, subject)| {
        subject.map(|subject| {
            let canary = if subject == "P1" { "" } else { r#""language":"CANARY","# };
            format!(
                r#"{{"resourceType":"Observation","id":"{id}","meta":{{"versionId":"{}"}},{canary}"status":"final","subject":{{"reference":"{{BASE}}/Patient/{subject}"}}}}"#,
                index + 1
            )
        })
    });
    let versions = versions.collect();
    world.upstream.change(|store| store.put(Resource { versions, ..data::observation(id, "P1", r#""x":1"#, "1", "") }));
}

#[test]
fn a_history_shows_the_versions_that_were_ones_own() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        put(&world, "many", &[Some("P1"), Some("P2"), None, Some("P1"), Some("P1")]);
        let reply = world.get("/fhir/Observation/many/_history?_count=1000&_since=2020", &a).await;
        assert_eq!((reply.status, versions(&reply)), (200, vec!["5".to_owned(), "4".to_owned(), "1".to_owned()]));
        assert_eq!(
            asked(&world),
            ["GET Observation/many", "GET Observation/many/_history?_count=200&_since=2020"],
            "what is there now, and then the versions"
        );
        let bundle = reply.json();
        assert_eq!(bundle["type"], "history");
        assert_eq!((&bundle["total"], &bundle["id"]), (&Value::Null, &Value::Null));
        assert_eq!(
            bundle["link"][0]["url"],
            "https://gw.example.org/fhir/Observation/many/_history?_count=1000&_since=2020"
        );
        let first = &bundle["entry"][0];
        assert_eq!(first["fullUrl"], "https://gw.example.org/fhir/Observation/many");
        assert_eq!(first["request"], serde_json::json!({"method": "PUT", "url": "Observation/many"}));
        assert_eq!(first["response"]["etag"], "W/\"5\"");
        assert_eq!(first["response"]["location"], Value::Null);
        assert_eq!(first["resource"]["subject"]["reference"], "https://gw.example.org/fhir/Patient/P1");
        let records = world.finish().await;
        let mut records = records.iter().filter(|entry| entry.record.interaction.is_some());
        let (Some(record), None) = (records.next(), records.next()) else { panic!("one record") };
        assert_eq!(record.record.interaction.as_deref(), Some("history-instance"));
        assert_eq!(record.record.resource_ids, ["Observation/many"]);
        assert_eq!((&*record.record.patients, record.record.withheld), (&["P1".to_owned()][..], Some(2)));
    });
}

// case 110: the version that is current decides whether there is a history at all
#[test]
fn a_history_of_what_is_hidden_absent_or_deleted_is_absent() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        put(&world, "gone", &[Some("P1"), None]);
        let mut calls = Vec::new();
        for id in ["o2", "o3", "o4", "moved", "gone", "never", "O2"] {
            for query in ["", "?_count=1", "?_since=2020-01-01T00:00:00Z", "?_at=2024", "?_elements=code"] {
                asked(&world);
                let reply = world.get(&format!("/fhir/Observation/{id}/_history{query}"), &a).await;
                calls.push(asked(&world).iter().map(|line| line.replace(id, "X")).collect::<Vec<_>>());
                assert_eq!(reply.status, 404, "{id}{query}: {}", reply.all());
            }
            assert_absent(&world, &a, &format!("/fhir/Observation/{id}/_history")).await;
        }
        assert!(calls.iter().all(|lines| lines == &["GET Observation/X"]), "{calls:?}");
        let head = world.send("HEAD /fhir/Observation/o2/_history", &a, &[], "").await;
        let never = world.send("HEAD /fhir/Observation/never/_history", &a, &[], "").await;
        assert_eq!((head.status, header_names(&head)), (404, header_names(&never)));
        world.finish().await;
    });
}

#[test]
fn a_head_of_a_history_is_one_without_its_body() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let head = world.send("HEAD /fhir/Observation/mixed/_history", &a, &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(asked(&world), ["GET Observation/mixed", "GET Observation/mixed/_history"]);
        world.finish().await;
    });
}

#[test]
fn pages_of_a_history_are_sealed_and_judged_anew() {
    run(async {
        let world = World::new().await;
        let (a, b) = (world.token_a(), world.token(&Grant::patient("patient/*.rs", "P2")));
        put(&world, "many", &[Some("P1"), Some("P2"), Some("P1"), Some("P1")]);
        let first = world.get("/fhir/Observation/many/_history?_count=2&_elements=status", &a).await;
        assert_eq!(versions(&first), ["4", "3"]);
        let next = first.link("next").unwrap();
        assert!(
            next.starts_with("/fhir/Observation/many/_history?_page=") && next.ends_with("&_elements=status"),
            "{next}"
        );
        let second = world.get(&next, &a).await;
        assert_eq!((second.status, versions(&second)), (200, vec!["1".to_owned()]));
        assert!(second.text().contains("SUBSETTED"), "{}", second.text());
        assert_eq!(world.get(&next, &b).await.status, 400, "of another patient");
        for other in ["Observation/o1/_history", "Observation/_history", "Observation"] {
            let moved = next.replacen("Observation/many/_history", other, 1);
            assert!([400, 403].contains(&world.get(&moved, &a).await.status), "{moved}");
        }
        assert_eq!(world.get(&format!("{next}&_count=1"), &a).await.status, 400, "a page is what it is");
        put(&world, "many", &[Some("P1"), Some("P2"), Some("P1"), Some("P1"), Some("P2")]);
        assert_absent(&world, &a, &next).await;
        world.finish().await;
    });
}

#[test]
fn a_page_of_a_search_is_no_page_of_a_history() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let found = world.get("/fhir/Observation?_count=1", &a).await;
        let next = found.link("next").unwrap();
        let moved = next.replacen("/fhir/Observation?", "/fhir/Observation/o1/_history?", 1);
        assert_eq!(world.get(&moved, &a).await.status, 400);
        world.finish().await;
    });
}

// case 112
#[test]
fn histories_of_a_type_and_of_everything_are_for_those_who_reach_it_all() {
    run(async {
        let world = World::new().await;
        let refused = [
            (Grant::patient("patient/*.rs", "P1"), &["Observation/_history", "_history"][..]),
            (Grant::user("user/*.rs", "Patient/P1", &["patient"]), &["Observation/_history", "_history"]),
            (Grant::user("user/Observation.rs", "Practitioner/d1", &["clinician"]), &["Patient/_history", "_history"]),
            (Grant::user("user/*.r", "Practitioner/d1", &["clinician"]), &["Observation/_history", "_history"]),
            (Grant::user("user/*.rs", "Practitioner/d9", &["reception"]), &["Observation/_history", "_history"]),
            (
                Grant::user("user/Observation.rs?category=laboratory", "Practitioner/d1", &["clinician"]),
                &["Observation/_history"],
            ),
            (clinician(), &["Bundle/_history", "Parameters/_history"]),
        ];
        for (grant, targets) in refused {
            let token = world.token(&grant);
            for target in targets {
                let reply = world.get(&format!("/fhir/{target}"), &token).await;
                assert_eq!(reply.status, 403, "{target} {}: {}", grant.0.scope, reply.all());
            }
        }
        assert_eq!(world.upstream.seen(), 0);
        let e = world.token(&clinician());
        let of_type = world.get("/fhir/Observation/_history?_count=50", &e).await;
        assert_eq!(of_type.status, 200, "{}", of_type.all());
        assert!(versions(&of_type).contains(&"DELETE".to_owned()), "{}", of_type.text());
        assert_eq!(asked(&world), ["GET Observation/_history?_count=50"]);
        assert!(of_type.json()["total"].is_number());
        let all = world.get("/fhir/_history?_count=50", &e).await;
        assert_eq!(all.status, 200, "{}", all.all());
        assert!(!all.text().contains(r#""resourceType":"Bundle","id":"b1""#), "what holds others is left out");
        assert_eq!(all.json()["total"], Value::Null, "for then a total would tell");
        let next = all.link("next").unwrap();
        assert!(next.starts_with("/fhir/_history?_page="), "{next}");
        assert_eq!(world.get(&next, &e).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn a_deletion_is_told_to_those_who_reach_it_all_and_in_our_words() {
    run(async {
        let world = World::new().await;
        put(&world, "gone", &[Some("P1"), None]);
        let reply = world.get("/fhir/Observation/gone/_history", &world.token(&clinician())).await;
        assert_eq!(versions(&reply), ["DELETE", "1"]);
        assert_eq!(asked(&world), ["GET Observation/gone/_history"]);
        assert_eq!(
            reply.json()["entry"][0],
            serde_json::json!({
                "fullUrl": "https://gw.example.org/fhir/Observation/gone",
                "request": {"method": "DELETE", "url": "Observation/gone"},
                "response": {"status": "200 OK", "etag": "W/\"2\"", "lastModified": "2024-01-01T00:00:00Z"}
            })
        );
        let never = world.get("/fhir/Observation/never/_history", &world.token(&clinician())).await;
        assert_eq!(never.status, 404);
        world.finish().await;
    });
}

#[test]
fn a_history_that_lies_is_not_believed() {
    let own = |id: &str| {
        format!(
            r#"{{"resourceType":"Observation","id":"{id}","status":"final","subject":{{"reference":"Patient/P1"}}}}"#
        )
    };
    let entry = |resource: &str| format!(r#"{{"resource":{resource},"request":{{"method":"PUT","url":"x"}}}}"#);
    let history = |entries: &str| format!(r#"{{"resourceType":"Bundle","type":"history","entry":[{entries}]}}"#);
    let foreign =
        r#"{"resourceType":"Observation","id":"o1","language":"CANARY","subject":{"reference":"Patient/P2"}}"#;
    let cases = [
        (history(&entry(&own("o1"))), 200),
        (history(&entry(foreign)), 200),
        (history(&entry(&foreign.replace("\"o1\"", "\"o2\""))), 200),
        (history(&entry(r#"{"resourceType":"Nonsense","id":"o1","language":"CANARY"}"#)), 200),
        (history(r#"{"fullUrl":"x/Observation/o1","request":{"method":"DELETE","url":"Observation/o1"}}"#), 200),
        (history(&entry(&own("v1"))), 502),
        (history(&format!("{},{}", entry(&own("o1")), entry(&own("v1")))), 502),
        (history(r#"{"resource":{"resourceType":"Observation","id":"o1","id":"o2"}}"#), 502),
        (history("7"), 502),
        (history(&entry(&own("o1"))).replace("\"history\"", "\"searchset\""), 502),
        (own("o1"), 502),
        ("{".to_owned(), 502),
        (String::new(), 502),
    ];
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (body, status) in cases {
            let text = body.clone();
            world.upstream.answer(move |seen| {
                if seen.line.contains("_history") { Answer::fhir(text.clone()) } else { Answer::Honest }
            });
            let reply = world.get("/fhir/Observation/o1/_history", &a).await;
            assert_eq!(reply.status, status, "{body}: {}", reply.all());
            let shown = versions_shown(&reply);
            assert_eq!(shown, usize::from(body == history(&entry(&own("o1")))), "{body}: {}", reply.all());
        }
        // What is there now is another one, broken, or nothing that can be judged.
        for (current, status) in [
            (own("v1"), 502),
            (foreign.to_owned(), 404),
            (foreign.replace("\"o1\"", "\"o2\""), 404),
            (r#"{"resourceType":"Patient","id":"P1"}"#.to_owned(), 502),
            ("{".to_owned(), 502),
        ] {
            world.upstream.answer(move |seen| {
                if seen.line.contains("_history") { Answer::Honest } else { Answer::fhir(current.clone()) }
            });
            let reply = world.get("/fhir/Observation/o1/_history", &a).await;
            assert_eq!(reply.status, status, "{}", reply.all());
        }
        world.finish().await;
    });
}

fn versions_shown(reply: &Reply) -> usize {
    if reply.status == 200 { reply.json()["entry"].as_array().map_or(0, Vec::len) } else { 0 }
}

#[test]
fn a_history_stands_in_a_batch_and_not_in_a_transaction() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let json = ["Content-Type: application/fhir+json"];
        let bundle = |kind: &str| {
            format!(
                r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"request":{{"method":"GET","url":"Observation/mixed/_history"}}}},{{"request":{{"method":"GET","url":"Observation/moved/_history"}}}}]}}"#
            )
        };
        let batch = world.send("POST /fhir", &a, &json, &bundle("batch")).await.json();
        assert_eq!(batch["entry"][0]["response"]["status"], "200 OK", "{batch}");
        assert_eq!(batch["entry"][0]["resource"]["entry"].as_array().unwrap().len(), 2);
        assert_eq!(batch["entry"][1]["response"]["status"], "404 Not Found");
        let transaction = world.send("POST /fhir", &a, &json, &bundle("transaction")).await;
        assert_eq!(transaction.status, 403, "{}", transaction.all());
        world.finish().await;
    });
}

#[test]
fn a_history_takes_its_own_parameters_and_no_others() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for query in [
            "_list=x",
            "_sort=_lastUpdated",
            "_summary=count",
            "_count=0",
            "_count=1&_count=2",
            "_since=yesterday",
            "code=x",
            "_total=accurate",
            "_getpages=1",
            "_page=x&_page=y",
            "_page=x",
        ] {
            let reply = world.get(&format!("/fhir/Observation/o1/_history?{query}"), &a).await;
            assert_eq!(reply.status, 400, "{query}: {}", reply.all());
        }
        assert_eq!(world.upstream.seen(), 0);
        let summary = world.get("/fhir/Observation/o1/_history?_summary=true&_format=json", &a).await;
        assert_eq!(summary.status, 200);
        assert!(summary.text().contains("SUBSETTED"));
        world.finish().await;
    });
}
