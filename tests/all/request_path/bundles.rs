//! Batch and transaction, end to end.

use std::fmt::Write as _;
use std::sync::Arc;

use firebreak::audit::Ending;
use serde_json::{Value, json};

use super::asked;
use crate::upstream::Answer;
use crate::world::{BASE, Grant, Reply, World, run};

const JSON: &str = "Content-Type: application/fhir+json";
const ONE: &str = "urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55";
const TWO: &str = "urn:uuid:3f3f0c58-0c25-4c1c-9f0e-0e7a3f3d2b11";

fn c() -> Grant {
    Grant::patient("patient/*.cruds", "P1")
}

fn observation(id: &str, subject: &str) -> Value {
    let mut resource = json!({"resourceType": "Observation", "status": "final", "subject": {"reference": subject}});
    if !id.is_empty() {
        resource["id"] = id.into();
    }
    resource
}

fn entry(method: &str, url: &str, resource: Option<Value>) -> Value {
    let mut entry = json!({"request": {"method": method, "url": url}});
    if let Some(resource) = resource {
        entry["resource"] = resource;
    }
    entry
}

fn named(full_url: &str, mut entry: Value) -> Value {
    entry["fullUrl"] = full_url.into();
    entry
}

async fn post(world: &World, token: &str, kind: &str, entries: &[Value]) -> Reply {
    let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    world.send("POST /fhir", token, &[JSON], &bundle.to_string()).await
}

fn statuses(reply: &Reply) -> String {
    let mut all = String::new();
    for entry in reply.json()["entry"].as_array().unwrap() {
        write!(all, "{} ", &entry["response"]["status"].as_str().unwrap()[..3]).unwrap();
    }
    all.trim_end().to_owned()
}

// B3 67
#[test]
fn case_166_each_entry_of_a_batch_is_a_request_of_its_own() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&c());
        let reply = post(
            &world,
            &token,
            "batch",
            &[
                entry("GET", "Patient/P2", None),
                entry("GET", "Observation/o1", None),
                entry("POST", "Observation", Some(observation("", "Patient/P1"))),
                entry("POST", "Observation", Some(observation("", "Patient/P2"))),
                entry("GET", "Observation?code=2093-3", None),
                entry("DELETE", "Observation/o2", None),
                entry("PUT", "Observation/v1", Some(observation("v1", "Patient/P1"))),
            ],
        )
        .await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert_eq!(reply.json()["type"], "batch-response");
        assert_eq!(statuses(&reply), "404 200 201 403 200 404 200");
        let answers = reply.json()["entry"].clone();
        assert_eq!(answers[1]["resource"]["id"], "o1");
        assert_eq!(answers[2]["response"]["location"], format!("{BASE}/Observation/n1/_history/1"));
        assert_eq!(answers[2]["response"]["etag"], "W/\"1\"");
        assert_eq!(answers[3]["response"]["outcome"]["issue"][0]["code"], "forbidden");
        assert_eq!(answers[4]["resource"]["type"], "searchset");
        let alone = world.get("/fhir/Observation/never", &token).await;
        assert_eq!(answers[0]["response"]["outcome"], alone.json(), "as alone");
        assert_eq!(answers[5]["response"]["outcome"], alone.json());
        let records = world.finish().await;
        let of_entries: Vec<_> = records
            .iter()
            .filter(|entry| entry.record.request_id.as_deref().is_some_and(|id| id.contains('.')))
            .map(|entry| (entry.record.interaction.clone().unwrap().into_owned(), entry.record.outcome.unwrap()))
            .collect();
        for (interaction, ending) in [
            ("read", Ending::Denied),
            ("read", Ending::Released),
            ("create", Ending::Intended),
            ("create", Ending::Released),
            ("create", Ending::Denied),
            ("search-type", Ending::Released),
            ("delete", Ending::Denied),
            ("update", Ending::Intended),
            ("update", Ending::Released),
        ] {
            assert!(of_entries.contains(&(interaction.to_owned(), ending)), "{interaction} {ending:?}: {of_entries:?}");
        }
        assert_eq!(of_entries.len(), 9);
        let whole = records.iter().filter(|entry| entry.record.interaction.as_deref() == Some("batch"));
        let [whole] = whole.collect::<Vec<_>>()[..] else { panic!("one record of the whole") };
        assert_eq!((whole.record.status, whole.record.outcome), (Some(200), Some(Ending::Released)));
        // Whom an answer tells of stands in the records of its entries, and once.
        assert!(whole.record.patients.is_empty() && whole.record.resource_ids.is_empty(), "{whole:?}");
        let created = records.iter().filter(|entry| entry.record.interaction.as_deref() == Some("create"));
        let created = created.filter(|entry| entry.record.outcome == Some(Ending::Released));
        let [created] = created.collect::<Vec<_>>()[..] else { panic!("one was created") };
        assert_eq!(
            (&*created.record.patients, &*created.record.resource_ids),
            (&["P1".to_owned()][..], &["Observation/n1".to_owned()][..])
        );
    });
}

#[test]
fn case_167_one_denied_entry_denies_the_transaction_and_the_upstream_is_not_called() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let good = || named(ONE, entry("POST", "Observation", Some(observation("", "Patient/P1"))));
        for bad in [
            entry("POST", "Observation", Some(observation("", "Patient/P2"))),
            entry("POST", "Patient", Some(json!({"resourceType": "Patient"}))),
            entry("GET", "Observation?encounter.status=x", None),
            entry("DELETE", "Patient/P1", None),
        ] {
            let reply = post(&world, &token, "transaction", &[good(), bad.clone()]).await;
            assert_eq!(reply.status, 403, "{bad}: {}", reply.all());
        }
        assert_eq!(world.upstream.seen(), 0);
        let reply = post(&world, &token, "transaction", &[good(), entry("DELETE", "Observation/o2", None)]).await;
        assert_eq!(reply.status, 404, "{}", reply.all());
        assert_eq!(asked(&world), ["GET Observation/o2"], "what had to be read, and no more");
        world.finish().await;
    });
}

#[test]
fn a_transaction_of_one_patients_is_sent_once_and_judged_entry_by_entry() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let mut derived = observation("", "https://gw.example.org/fhir/Patient/P1");
        derived["derivedFrom"] = json!([{"reference": TWO}]);
        let entries = [
            named(ONE, entry("POST", "Observation", Some(derived))),
            named(TWO, entry("POST", "Observation", Some(observation("", "Patient/P1")))),
            entry("PUT", "Observation/o1", Some(observation("o1", "Patient/P1"))),
            entry("DELETE", "Observation/v1", None),
            entry("GET", "Observation?code=1234-5&_count=1", None),
            entry("GET", "Patient/P1", None),
        ];
        let reply = post(&world, &token, "transaction", &entries).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert_eq!(statuses(&reply), "201 201 200 204 200 200");
        assert!(!reply.text().contains("CANARY"), "{}", reply.text());
        let answers = reply.json()["entry"].clone();
        assert_eq!(answers[0]["resource"]["derivedFrom"][0]["reference"], "Observation/n2");
        assert_eq!(answers[0]["response"]["location"], format!("{BASE}/Observation/n1/_history/1"));
        assert_eq!(answers[2]["response"]["etag"], "W/\"2\"");
        assert!(
            answers[4]["resource"]["link"][1]["url"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{BASE}/Observation?_page="))
        );
        let calls = world.upstream.take_seen();
        let lines: Vec<&str> = calls.iter().map(|seen| seen.line.as_str()).collect();
        assert_eq!(lines.iter().filter(|line| line.starts_with("POST")).count(), 1, "{lines:?}");
        let sent: Value = serde_json::from_str(&calls.last().unwrap().body).unwrap();
        assert_eq!(calls.last().unwrap().line, "POST /upstream/r4");
        assert_eq!(sent["entry"][0]["resource"]["subject"]["reference"], "Patient/P1");
        assert_eq!(
            sent["entry"][2]["request"],
            json!({"method": "PUT", "url": "Observation/o1", "ifMatch": "W/\"1\""})
        );
        assert_eq!(
            sent["entry"][3]["request"],
            json!({"method": "DELETE", "url": "Observation/v1", "ifMatch": "W/\"1\""})
        );
        assert_eq!(sent["entry"][4]["request"]["url"], "Observation?subject=Patient/P1&code=1234-5&_count=1");
        let records = world.finish().await;
        let of_it: Vec<_> =
            records.iter().filter(|entry| entry.record.interaction.as_deref() == Some("transaction")).collect();
        let [intent, outcome] = of_it.as_slice() else { panic!("an intent and an outcome") };
        assert_eq!((intent.record.outcome, outcome.record.outcome), (Some(Ending::Intended), Some(Ending::Released)));
        assert_eq!(outcome.record.patients, ["P1"]);
        assert!(outcome.record.resource_ids.contains(&"Observation/n1".to_owned()), "{outcome:?}");
    });
}

#[test]
fn a_transaction_that_loses_a_race_changes_nothing() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        world.upstream.answer(|seen| {
            if seen.line.ends_with("Observation/o1") {
                let earlier = r#"{"resourceType":"Observation","id":"o1","meta":{"versionId":"7"},"subject":{"reference":"Patient/P1"}}"#;
                return Answer::fhir(earlier);
            }
            Answer::Honest
        });
        let entries = [
            named(ONE, entry("POST", "Observation", Some(observation("", "Patient/P1")))),
            entry("PUT", "Observation/o1", Some(observation("o1", "Patient/P1"))),
        ];
        let reply = post(&world, &token, "transaction", &entries).await;
        assert_eq!(reply.status, 412, "{}", reply.all());
        assert!(!reply.text().contains("CANARY"), "{}", reply.text());
        world.upstream.answer(|_| Answer::Honest);
        assert_eq!(world.get("/fhir/Observation/n1", &token).await.status, 404);
        world.finish().await;
    });
}

#[test]
fn case_175_a_grant_without_restriction_creates_a_patient_and_what_belongs_to_it() {
    run(async {
        let world = World::new().await;
        let token = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let entries = [
            named(ONE, entry("POST", "Patient", Some(json!({"resourceType": "Patient", "name": [{"family": "New"}]})))),
            named(TWO, entry("POST", "Observation", Some(observation("", ONE)))),
        ];
        let reply = post(&world, &token, "transaction", &entries).await;
        assert_eq!((reply.status, &*statuses(&reply)), (200, "201 201"), "{}", reply.all());
        assert_eq!(reply.json()["entry"][1]["resource"]["subject"]["reference"], "Patient/n1");
        assert_eq!(world.get("/fhir/Observation/n2", &token).await.json()["subject"]["reference"], "Patient/n1");
        world.finish().await;
    });
}

#[test]
fn an_answer_to_a_transaction_that_is_not_one_is_not_released() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&c());
        let done = |resource: &str, location: &str| {
            format!(r#"{{"resource":{resource},"response":{{"status":"201 Created","location":"{location}"}}}}"#)
        };
        let own = r#"{"resourceType":"Observation","id":"n1","subject":{"reference":"Patient/P1"}}"#;
        let theirs =
            r#"{"resourceType":"Observation","id":"n1","status":"CANARY","subject":{"reference":"Patient/P2"}}"#;
        let bundle =
            |kind: &str, entries: &str| format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#);
        for (what, answer, status) in [
            ("too few", bundle("transaction-response", ""), 502),
            (
                "too many",
                bundle("transaction-response", &[done(own, "Observation/n1"), done(own, "Observation/n1")].join(",")),
                502,
            ),
            ("another Bundle", bundle("batch-response", &done(own, "Observation/n1")), 502),
            ("another type", bundle("transaction-response", &done(own, "Patient/P2")), 502),
            ("no response", bundle("transaction-response", own), 502),
            ("a failure in it", bundle("transaction-response", r#"{"response":{"status":"422 CANARY"}}"#), 502),
            ("another's", bundle("transaction-response", &done(theirs, "Observation/n1")), 200),
            ("all well", bundle("transaction-response", &done(own, "Observation/n1/_history/1")), 200),
        ] {
            let body = answer.clone();
            world.upstream.answer(move |_| Answer::fhir(body.clone()));
            let entries = [entry("POST", "Observation", Some(observation("", "Patient/P1")))];
            let reply = post(&world, &token, "transaction", &entries).await;
            assert_eq!(reply.status, status, "{what}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn case_179_the_number_of_entries_is_bounded() {
    run(async {
        let world =
            World::with(crate::world::Settings { fhir: "max_entries = 3".to_owned(), ..Default::default() }).await;
        let token = world.token(&c());
        let read = || entry("GET", "Observation/o1", None);
        assert_eq!(post(&world, &token, "batch", &[read(), read(), read()]).await.status, 200);
        assert_eq!(asked(&world).len(), 3);
        for kind in ["batch", "transaction"] {
            let reply = post(&world, &token, kind, &[read(), read(), read(), read()]).await;
            assert_eq!(reply.status, 413, "{}", reply.all());
        }
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn what_token_and_request_decide_about_a_transaction_names_the_entry() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let good = || named(ONE, entry("POST", "Observation", Some(observation("", "Patient/P1"))));
        for (bad, status) in [
            (entry("POST", "Observation", Some(observation("", "Patient/P2"))), 403),
            (entry("DELETE", "Patient/P1", None), 403),
            (entry("GET", "Observation?nosuch=x", None), 400),
            (entry("PUT", "Observation/o1", Some(observation("v1", "Patient/P1"))), 400),
            (entry("POST", "Observation", None), 400),
            (named("urn:uuid:1", entry("POST", "Observation", Some(observation("", "Patient/P1")))), 400),
        ] {
            let reply = post(&world, &token, "transaction", &[good(), bad.clone(), good()]).await;
            assert_eq!(reply.status, status, "{bad}: {}", reply.all());
            let outcome = reply.json();
            let told = outcome["issue"][0]["diagnostics"].as_str().unwrap();
            assert!(told.starts_with("Bundle.entry[1]: "), "{bad}: {told}");
        }
        assert_eq!(world.upstream.seen(), 0);
        // What depends on what is there has no number: it would tell which of several is.
        for target in ["Observation/o2", "Observation/never"] {
            let entries = [entry("DELETE", "Observation/o1", None), entry("DELETE", target, None)];
            let reply = post(&world, &token, "transaction", &entries).await;
            assert_eq!((reply.status, reply.all().contains("entry[")), (404, false), "{}", reply.all());
        }
        let mut referring = observation("", "Patient/P1");
        referring["hasMember"] = json!([{"reference": "Observation/o2"}]);
        let reply = post(&world, &token, "transaction", &[good(), entry("POST", "Observation", Some(referring))]).await;
        assert_eq!((reply.status, reply.all().contains("entry[")), (403, false), "{}", reply.all());
        world.finish().await;
    });
}

#[test]
fn an_entry_that_lacks_what_it_is_to_store_is_told_so() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let lacking = [
            entry("POST", "Observation", None),
            entry("PUT", "Observation/o1", None),
            entry("PATCH", "Observation/o1", None),
        ];
        let reply = post(&world, &token, "batch", &lacking).await;
        assert_eq!(statuses(&reply), "400 400 400", "{}", reply.all());
        for answer in reply.json()["entry"].as_array().unwrap() {
            let told = &answer["response"]["outcome"]["issue"][0]["diagnostics"];
            assert!(told.as_str().unwrap().contains("a `resource` in the entry"), "{told}");
        }
        world.finish().await;
    });
}

#[test]
fn the_record_of_a_transaction_says_that_it_is_one() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let mine = || entry("POST", "Observation", Some(observation("", "Patient/P1")));
        let theirs = || entry("POST", "Observation", Some(observation("", "Patient/P2")));
        assert_eq!(post(&world, &token, "transaction", &[mine()]).await.status, 200);
        assert_eq!(post(&world, &token, "transaction", &[theirs()]).await.status, 403);
        assert_eq!(post(&world, &token, "collection", &[mine()]).await.status, 400);
        let records = world.finish().await;
        let of = |name: &str| records.iter().filter(|entry| entry.record.interaction.as_deref() == Some(name)).count();
        // One says what is intended, one what came of it, one that the other was denied.
        assert_eq!((of("transaction"), of("batch"), of("create")), (3, 1, 0));
        let told: Vec<_> = records.iter().filter(|entry| !entry.record.explanation.is_empty()).collect();
        assert!(told.iter().any(|entry| entry.record.explanation[0] == "allowed: transaction"), "{told:?}");
    });
}

#[test]
fn a_conditional_create_in_a_transaction_that_finds_one_creates_nothing() {
    run(async {
        let world = World::new().await;
        let token = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let create = |condition: &str| {
            let mut create = entry("POST", "Observation", Some(observation("", "Patient/P1")));
            create["request"]["ifNoneExist"] = condition.into();
            create
        };
        let reply = post(&world, &token, "transaction", &[create("_id=o1"), create("_id=never")]).await;
        assert_eq!(statuses(&reply), "200 201", "{}", reply.all());
        let answers = reply.json()["entry"].clone();
        assert_eq!(answers[0]["response"]["location"], format!("{BASE}/Observation/o1/_history/1"));
        assert_eq!(answers[0]["response"]["etag"], "W/\"1\"");
        assert_eq!(answers[1]["response"]["location"], format!("{BASE}/Observation/n1/_history/1"));
        world.finish().await;
    });
}

#[test]
fn what_a_transaction_reads_comes_back_whatever_is_preferred_of_what_it_writes() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let read = || entry("GET", "Observation/o1", None);
        let write = || entry("POST", "Observation", Some(observation("", "Patient/P1")));
        let bundle = |entries: &[Value]| json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        let (reader, writer) =
            (world.token(&c()), world.token(&Grant::patient("patient/Observation.c patient/Patient.r", "P1")));
        for (token, entries, prefer, written) in [
            (&reader, vec![write(), read()], "Prefer: return=minimal", false),
            (&reader, vec![write(), read()], "Prefer: return=representation", true),
            (&writer, vec![write(), entry("GET", "Patient/P1", None)], "Prefer: return=representation", false),
            (&reader, vec![write()], "Prefer: return=minimal", false),
        ] {
            let reply = world.send("POST /fhir", token, &[JSON, prefer], &bundle(&entries).to_string()).await;
            assert_eq!(reply.status, 200, "{}", reply.all());
            let answers = reply.json()["entry"].clone();
            assert_eq!(answers[0].get("resource").is_some(), written, "{prefer}: {}", reply.all());
            assert!(entries.len() == 1 || answers[1]["resource"]["id"].is_string(), "{prefer}: {}", reply.all());
            let preferred = if entries.len() == 1 { "return=minimal" } else { "return=representation" };
            let seen = world.upstream.take_seen().pop().unwrap();
            assert!(seen.headers.contains(&("prefer".into(), preferred.into())), "{:?}", seen.headers);
        }
        let reply = post(&world, &reader, "transaction", &[read()]).await;
        assert_eq!(reply.json()["entry"][0]["resource"]["id"], "o1", "{}", reply.all());
        world.finish().await;
    });
}

// R4 http.html section 3.1.0.11.2: all entries or none. For some servers what is read and not there is one that fails.
#[test]
fn a_server_that_ends_a_transaction_for_what_is_absent_does_not_tell_what_is_hidden() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        world.upstream.answer(|seen| {
            let ends = seen.line.starts_with("POST") && seen.body.contains("/never");
            let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}"#;
            if ends { Answer::Given(404, "application/fhir+json", outcome.to_owned()) } else { Answer::Honest }
        });
        let token = world.token(&c());
        let mut answers = Vec::new();
        for id in ["never", "o2"] {
            let entries = [
                entry("POST", "Observation", Some(observation("", "Patient/P1"))),
                entry("GET", &format!("Observation/{id}"), None),
            ];
            let reply = post(&world, &token, "transaction", &entries).await;
            assert_eq!(asked(&world), [format!("GET Observation/{id}")], "nothing is made of it");
            answers.push((reply.status, reply.text().to_owned()));
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(answers[0].0, 404);
        // Whoever reads all of them is told that one is not there.
        let all = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let reply = post(&world, &all, "transaction", &[entry("GET", "Observation/never", None)]).await;
        assert_eq!(reply.status, 404, "{}", reply.all());
        world.finish().await;
    });
}

/// Posts a batch of two entries of which the second waits for the answer to the first; says their statuses.
async fn one_by_one(world: &Arc<World>, token: &str, entries: [Value; 2]) -> String {
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let held = Arc::clone(&both);
    // Neither is answered before the other came.
    world.upstream.answer(move |_| Answer::Held(Arc::clone(&held)));
    let (waiting, also) = (Arc::clone(world), token.to_owned());
    let posting = tokio::spawn(async move { post(&waiting, &also, "batch", &entries).await });
    while world.upstream.seen() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(world.upstream.seen() == 1 && !posting.is_finished(), "the second waits for the first");
    world.upstream.answer(|_| Answer::Honest);
    both.wait().await;
    let statuses = statuses(&posting.await.unwrap());
    assert_eq!(asked(world).len(), 2);
    statuses
}

#[test]
fn a_batch_that_changes_is_done_one_after_the_other_and_one_that_reads_at_once() {
    run(async {
        let world = Arc::new(World::new().await);
        let token = world.token(&c());
        let both = Arc::new(tokio::sync::Barrier::new(2));
        // Neither is answered before the other came.
        world.upstream.answer(move |_| Answer::Held(Arc::clone(&both)));
        let reads = [entry("GET", "Observation/o1", None), entry("GET", "Observation/v1", None)];
        assert_eq!(statuses(&post(&world, &token, "batch", &reads).await), "200 200");
        asked(&world);
        let create = || entry("POST", "Observation", Some(observation("", "Patient/P1")));
        assert_eq!(one_by_one(&world, &token, [create(), create()]).await, "201 201");
        // Of an operation it is not known.
        let patient = json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueId": "P1"}]});
        let operation = || entry("POST", "DocumentReference/$docref", Some(patient.clone()));
        assert_eq!(one_by_one(&world, &token, [operation(), operation()]).await, "200 200");
        Arc::try_unwrap(world).ok().unwrap().finish().await;
    });
}

#[test]
fn a_batch_has_a_few_reads_under_way_at_once() {
    run(async {
        let world = Arc::new(World::new().await);
        let token = world.token(&c());
        world.upstream.answer(|_| Answer::Hang);
        let (waiting, also) = (Arc::clone(&world), token.clone());
        let reads = vec![entry("GET", "Observation/o1", None); 20];
        let posting = tokio::spawn(async move { post(&waiting, &also, "batch", &reads).await });
        while world.upstream.seen() < 8 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(world.upstream.seen(), 8);
        posting.abort();
        let _ = posting.await;
        world.upstream.answer(|_| Answer::Honest);
        Arc::try_unwrap(world).ok().unwrap().finish().await;
    });
}

#[test]
fn the_record_of_an_entry_says_what_that_of_a_request_says() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let entries = [entry("GET", "Observation?code=2093-3", None), entry("GET", "Observation/o2", None)];
        assert_eq!(statuses(&post(&world, &token, "batch", &entries).await), "200 404");
        let told: Vec<String> = world
            .upstream
            .take_seen()
            .iter()
            .flat_map(|seen| seen.headers.iter().filter(|(name, _)| name == "x-request-id").map(|(_, id)| id.clone()))
            .collect();
        let records = world.finish().await;
        let [whole] =
            &records.iter().filter(|one| one.record.interaction.as_deref() == Some("batch")).collect::<Vec<_>>()[..]
        else {
            panic!("one record of the whole: {records:?}")
        };
        assert_eq!(whole.record.decision, None, "each entry has its own");
        let id = whole.record.request_id.as_deref().unwrap();
        let of = |number: usize| {
            let id = format!("{id}.{number}");
            assert!(told.contains(&id), "{id}: {told:?}");
            &records.iter().find(|one| one.record.request_id.as_ref() == Some(&id)).unwrap().record
        };
        let (search, read) = (of(1), of(2));
        assert_eq!(
            (search.method.as_deref(), search.status, &*search.query_names),
            (Some("GET"), Some(200), &["code".to_owned()][..])
        );
        assert_eq!(
            (read.method.as_deref(), read.status, &*read.resource_ids),
            (Some("GET"), Some(404), &["Observation/o2".to_owned()][..])
        );
    });
}
