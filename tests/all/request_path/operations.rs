//! Operations, end to end: what the upstream is asked and is not asked, and what leaves of what it says.

use firebreak::audit::Ending;
use serde_json::{Value, json};

use super::{asked, assert_absent, b};
use crate::upstream::Answer;
use crate::world::{Grant, Settings, World, run};

const JSON: &str = "Content-Type: application/fhir+json";

fn a() -> Grant {
    Grant::patient("patient/*.rs", "P1")
}

fn clinician() -> Grant {
    Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"])
}

#[test]
fn case_181_a_record_has_the_types_that_the_token_may_read_and_nothing_of_others() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let reply = world.get("/fhir/Patient/P1/$everything", &world.token(&b())).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert_eq!(asked(&world), ["GET Patient/P1/$everything?_type=Patient,Observation&_count=200"]);
        let types: std::collections::BTreeSet<String> = reply.json()["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["resource"]["resourceType"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(types.into_iter().collect::<Vec<_>>(), ["Observation", "Patient"]);
        assert!(!reply.text().contains("CANARY") && reply.json().get("total").is_none(), "{}", reply.text());
        let whole = world.get("/fhir/Patient/P1/$everything", &world.token(&a())).await;
        assert!(whole.ids().len() >= reply.ids().len() && !whole.text().contains("CANARY"), "{}", whole.text());
        let records = world.finish().await;
        let operations: Vec<_> =
            records.iter().filter(|entry| entry.record.interaction.as_deref() == Some("$everything")).collect();
        assert_eq!(operations.len(), 2);
        assert!(operations.iter().all(|entry| entry.record.patients == ["P1"]), "{operations:?}");
        assert!(operations[0].record.explanation[0].contains("$everything"), "{operations:?}");
    });
}

#[test]
fn case_182_a_record_that_is_not_in_reach_is_absent() {
    run(async {
        let world = World::new().await;
        let token = world.token(&a());
        assert_absent(&world, &token, "/fhir/Patient/P2/$everything").await;
        assert_eq!(asked(&world), ["GET Observation/never-existed"], "nothing is asked of another's record");
        assert_absent(&world, &token, "/fhir/Encounter/e2/$everything").await;
        assert_eq!(asked(&world), ["GET Observation/never-existed", "GET Encounter/e2"], "read, and no more");
        assert_eq!(world.get("/fhir/Patient/$everything", &token).await.status, 403);
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn a_record_is_paged_by_sealed_links_that_are_for_nothing_else() {
    run(async {
        let world = World::new().await;
        let token = world.token(&b());
        let base = world.upstream.base();
        world.upstream.answer(move |seen| {
            if seen.line.contains("_getpages") || !seen.line.contains("$everything") {
                return Answer::Honest;
            }
            Answer::fhir(format!(
                r#"{{"resourceType":"Bundle","type":"searchset","link":[{{"relation":"next","url":"{base}?_getpages=9&_getpagesoffset=5"}},{{"relation":"previous","url":"http://elsewhere/x"}}],"entry":[{{"resource":{{"resourceType":"Patient","id":"P1"}},"search":{{"mode":"match"}}}}]}}"#
            ))
        });
        let reply = world.get("/fhir/Patient/P1/$everything?_type=Patient", &token).await;
        let next = reply.link("next").unwrap();
        assert!(
            next.starts_with("/fhir/Patient/P1/$everything?_page=") && !reply.text().contains("elsewhere"),
            "{next}"
        );
        world.upstream.take_seen();
        world.get(&next, &token).await;
        let seen = world.upstream.take_seen();
        assert!(seen[0].line.ends_with("?_getpages=9&_getpagesoffset=5"), "{seen:?}");
        let sealed = next.split_once('?').unwrap().1;
        for other in ["Patient", "Observation", "Patient/P1/Observation", "Observation/$lastn"] {
            let reply = world.get(&format!("/fhir/{other}?{sealed}"), &token).await;
            assert!(matches!(reply.status, 400 | 403), "{other}: {}", reply.all());
        }
        let wider = world.get(&next, &world.token(&a())).await;
        assert_eq!(wider.status, 400, "{}", wider.all());
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn case_184_the_last_observations_are_those_of_the_patient() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&a());
        let reply = world.get("/fhir/Observation/$lastn?patient=P2", &token).await;
        assert_eq!((reply.status, reply.ids().len()), (200, 0), "{}", reply.all());
        assert_eq!(world.upstream.seen(), 0, "nothing is asked");
        let reply = world.get("/fhir/Observation/$lastn?max=3&code=2093-3", &token).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert_eq!(asked(&world), ["GET Observation/$lastn?subject=Patient/P1&code=2093-3&max=3"]);
        world.upstream.change(|store| store.ignored.push("subject"));
        let reply = world.get("/fhir/Observation/$lastn", &token).await;
        assert_eq!(reply.status, 502, "one that ignores the patient is not believed: {}", reply.all());
        world.finish().await;
    });
}

#[test]
fn documents_are_found_by_the_search_that_the_operation_stands_for() {
    run(async {
        let world = World::new().await;
        let token = world.token(&a());
        let reply = world.get("/fhir/DocumentReference/$docref?patient=P1", &token).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        let body =
            json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueId": "P1"}]}).to_string();
        let posted = world.send("POST /fhir/DocumentReference/$docref", &token, &[JSON], &body).await;
        assert_eq!(posted.json()["entry"], reply.json()["entry"]);
        let query = "GET DocumentReference?subject=Patient/P1&status=current";
        assert_eq!(asked(&world), [query, query]);
        let reply = world.get("/fhir/DocumentReference/$docref?patient=P2", &token).await;
        assert_eq!((reply.status, reply.ids().len(), world.upstream.seen()), (200, 0, 0), "{}", reply.all());
        let records = world.finish().await;
        let told = &records.iter().rfind(|entry| !entry.record.explanation.is_empty()).unwrap().record.explanation;
        let nothing = "upstream: nothing is asked; the answer is an empty searchset";
        assert!(told.iter().any(|sentence| sentence == nothing), "{told:?}");
    });
}

#[test]
fn case_190_what_is_validated_may_be_written_and_nothing_is_learned_from_it() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&Grant::patient("patient/*.cruds", "P1"));
        let post = |body: Value| body.to_string();
        let own = post(json!({"resourceType": "Observation", "subject": {"reference": "Patient/P1"}}));
        let reply = world.send("POST /fhir/Observation/$validate", &token, &[JSON], &own).await;
        assert_eq!((reply.status, &reply.json()["issue"][0]["code"]), (200, &json!("required")), "{}", reply.all());
        let seen = world.upstream.take_seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].line, "POST /upstream/r4/Observation/$validate");
        assert_eq!(
            seen[0].body,
            r#"{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Observation","subject":{"reference":"Patient/P1"}}}]}"#
        );
        for body in [
            json!({"resourceType": "Observation", "subject": {"reference": "Patient/P2"}}),
            json!({"resourceType": "Observation", "subject": {"reference": "Patient?identifier=x"}}),
        ] {
            let reply = world.send("POST /fhir/Observation/$validate", &token, &[JSON], &post(body)).await;
            assert_eq!(reply.status, 403, "{}", reply.all());
        }
        assert_eq!(world.upstream.seen(), 0);
        for encounter in ["Encounter/e2", "Encounter/never"] {
            let body = json!({"resourceType": "Observation", "subject": {"reference": "Patient/P1"}, "encounter": {"reference": encounter}});
            let reply = world.send("POST /fhir/Observation/$validate", &token, &[JSON], &post(body)).await;
            assert_eq!(reply.status, 403, "{}", reply.all());
            assert_eq!(asked(&world), [format!("GET {encounter}")], "looked up, and not sent on");
        }
        assert_absent(&world, &token, "/fhir/Observation/o2/$validate").await;
        assert_absent(&world, &token, "/fhir/Observation/o2/$meta").await;
        world.finish().await;
    });
}

#[test]
fn the_words_of_a_validation_are_for_those_who_read_everything() {
    run(async {
        let world = World::new().await;
        world.upstream.answer(|seen| {
            if !seen.line.contains("$validate") {
                return Answer::Honest;
            }
            Answer::fhir(
                r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invariant","diagnostics":"Condition/c2 of Bob has the same identifier","details":{"text":"Condition/c2"},"expression":["Observation.identifier[0]"]}]}"#,
            )
        });
        let new = json!({"resourceType": "Observation", "subject": {"reference": "Patient/P2"}});
        let stored = json!({"resourceType": "Observation", "id": "o2", "subject": {"reference": "Patient/P2"}});
        let of_one_type = Grant::user("user/Observation.cruds", "Practitioner/d1", &["clinician"]);
        for (grant, in_words) in [(of_one_type, false), (clinician(), true)] {
            let token = world.token(&grant);
            for (target, body) in [("Observation/$validate", &new), ("Observation/o2/$validate", &stored)] {
                let reply = world.send(&format!("POST /fhir/{target}"), &token, &[JSON], &body.to_string()).await;
                let issue = &reply.json()["issue"][0];
                assert_eq!(issue["code"], "invariant", "{}", reply.all());
                assert_eq!(issue["expression"][0], "Observation.identifier[0]");
                assert_eq!(reply.text().contains("c2"), in_words, "{target}: {}", reply.text());
            }
        }
        world.finish().await;
    });
}

#[test]
fn labels_are_changed_by_grants_without_restriction_and_recorded_before() {
    run(async {
        let world = World::new().await;
        let body = json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}).to_string();
        let restricted = world.token(&Grant::patient("patient/*.cruds", "P1"));
        for name in ["meta-add", "meta-delete"] {
            let reply = world.send(&format!("POST /fhir/Observation/o1/${name}"), &restricted, &[JSON], &body).await;
            assert_eq!(reply.status, 403, "{}", reply.all());
        }
        assert_eq!(world.upstream.seen(), 0);
        world.upstream.answer(|_| {
            Answer::fhir(r#"{"resourceType":"Parameters","parameter":[{"name":"return","valueMeta":{}}]}"#)
        });
        let token = world.token(&clinician());
        let reply = world.send("POST /fhir/Observation/o1/$meta-add", &token, &[JSON], &body).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert_eq!(asked(&world), [format!("POST Observation/o1/$meta-add {body}")]);
        let records = world.finish().await;
        let of_it = records.iter().filter(|entry| entry.record.interaction.as_deref() == Some("$meta-add"));
        let endings: Vec<_> = of_it.map(|entry| entry.record.outcome.unwrap()).collect();
        assert_eq!(endings, [Ending::Denied, Ending::Intended, Ending::Released]);
    });
}

#[test]
fn what_is_not_listed_is_not_asked() {
    run(async {
        let world = World::new().await;
        for token in [world.token(&a()), world.token(&clinician())] {
            for target in [
                "$graphql?query=x",
                "$export",
                "Patient/$export",
                "Group/g1/$export",
                "Patient/$match",
                "Patient/$merge",
                "$import",
                "$expunge",
                "Patient/P1/$expunge",
                "$reindex",
                "$process-message",
                "PlanDefinition/x/$apply",
                "Measure/$evaluate-measure",
                "Observation/$everything",
                "Observation/o1/$lastn",
                "$validate",
                "$foo",
            ] {
                let reply = world.get(&format!("/fhir/{target}"), &token).await;
                assert_eq!(reply.status, 403, "{target}: {}", reply.all());
            }
        }
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn faults_of_the_upstream_release_nothing() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&a());
        let foreign = r#"{"resourceType":"Patient","id":"P2","gender":"CANARY"}"#;
        let bundle =
            |kind: &str, entry: &str| format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entry}]}}"#);
        let entry = |mode: &str| format!(r#"{{"resource":{foreign},"search":{{"mode":"{mode}"}}}}"#);
        for (target, body, status) in [
            ("Patient/P1/$everything", bundle("searchset", &entry("match")), 200),
            ("Patient/P1/$everything", bundle("searchset", &entry("include")), 200),
            ("Patient/P1/$everything", bundle("searchset", &format!(r#"{{"resource":{foreign}}}"#)), 200),
            ("Patient/P1/$everything", bundle("document", &entry("match")), 502),
            ("Patient/P1/$everything", foreign.to_owned(), 502),
            (
                "Patient/P1/$everything",
                "{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"type\":\"x\"}".to_owned(),
                502,
            ),
            ("Patient/P1/$everything", "CANARY".to_owned(), 502),
            ("Observation/$lastn", bundle("searchset", &entry("match")), 502),
            ("Observation/o1/$meta", foreign.to_owned(), 502),
            ("CodeSystem/$lookup?code=x", foreign.to_owned(), 502),
            ("ValueSet/$expand?url=http://hl7.org/x", bundle("searchset", &entry("match")), 502),
            ("Patient/P1/$summary", bundle("searchset", &entry("match")), 502),
        ] {
            let answer = body.clone();
            world.upstream.answer(
                move |seen| {
                    if seen.line.contains('$') { Answer::fhir(answer.clone()) } else { Answer::Honest }
                },
            );
            let reply = world.get(&format!("/fhir/{target}"), &token).await;
            assert_eq!(reply.status, status, "{target} {body}: {}", reply.all());
            assert!(
                !reply.text().contains("CANARY") && (status != 200 || reply.ids().is_empty()),
                "{target}: {}",
                reply.text()
            );
        }
        world.upstream.answer(|_| Answer::Given(404, "application/fhir+json", "{}".to_owned()));
        let reply = world.get("/fhir/CodeSystem/$lookup?code=x", &token).await;
        assert_eq!(
            (reply.status, &reply.json()["issue"][0]["code"]),
            (501, &json!("not-supported")),
            "{}",
            reply.all()
        );
        world.finish().await;
    });
}

const MATCH: &str = r#"
[[fhir.operation]]
name = "match"
definition = "http://hl7.org/fhir/OperationDefinition/Patient-match"
levels = ["type"]
resource_types = ["Patient"]
needs = ["Patient.rs"]
returns = "searchset"
returned_types = ["Patient"]
[[fhir.operation.input]]
name = "resource"
type = "Resource"
min = 1
[[fhir.operation.input]]
name = "count"
type = "integer"
"#;

#[test]
fn an_operation_that_the_site_lists_is_for_grants_without_restriction() {
    run(async {
        let world = World::with(Settings { fhir: MATCH.to_owned(), ..Default::default() }).await;
        let body = json!({"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": {"resourceType": "Patient", "name": [{"family": "x"}]}}, {"name": "count", "valueInteger": 3}]}).to_string();
        let restricted = world.send("POST /fhir/Patient/$match", &world.token(&a()), &[JSON], &body).await;
        assert_eq!((restricted.status, world.upstream.seen()), (403, 0), "{}", restricted.all());
        let token = world.token(&clinician());
        world.upstream.answer(|_| {
            Answer::fhir(r#"{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Patient","id":"P2"}},{"resource":{"resourceType":"Observation","id":"o2"}}]}"#)
        });
        let reply = world.send("POST /fhir/Patient/$match", &token, &[JSON], &body).await;
        assert_eq!((reply.status, reply.ids().len()), (200, 1), "only what it returns: {}", reply.all());
        assert_eq!(asked(&world), [format!("POST Patient/$match {body}")]);
        let unknown = body.replace("\"count\"", "\"onlyCertainMatches\"");
        assert_eq!(world.send("POST /fhir/Patient/$match", &token, &[JSON], &unknown).await.status, 400);
        assert_eq!(world.get("/fhir/Patient/$match", &token).await.status, 400, "a resource is needed");
        world.upstream.answer(|_| {
            Answer::fhir(r#"{"resourceType":"CapabilityStatement","status":"active","kind":"instance","fhirVersion":"4.0.1","format":["json"],"rest":[{"mode":"server","resource":[{"type":"Patient","interaction":[{"code":"read"}],"operation":[{"name":"match","definition":"x"}]}]}]}"#)
        });
        let statement = world.get("/fhir/metadata", "").await;
        assert!(statement.text().contains("OperationDefinition/Patient-match"), "{}", statement.text());
        asked(&world);
        let narrow = world.token(&Grant::user("user/Patient.r", "Practitioner/d1", &["clinician"]));
        assert_eq!(world.send("POST /fhir/Patient/$match", &narrow, &[JSON], &body).await.status, 403);
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}
