//! Changes before a FHIR server that lies, breaks off or keeps no versions, and a log that cannot be written.

use firebreak::audit::Ending;

use crate::upstream::Answer;
use crate::world::{Grant, Reply, World, run};

const JSON: &str = "Content-Type: application/fhir+json";

fn c() -> Grant {
    Grant::patient("patient/*.cruds", "P1")
}

fn own(id: &str) -> String {
    format!(r#"{{"resourceType":"Observation","id":"{id}","status":"final","subject":{{"reference":"Patient/P1"}}}}"#)
}

async fn put(world: &World, token: &str) -> Reply {
    world.send("PUT /fhir/Observation/o1", token, &[JSON], &own("o1")).await
}

/// How an upstream fails.
type Fault = Box<dyn Fn() -> Answer + Send + Sync>;

/// How often the upstream was asked to change something.
fn changes(world: &World) -> usize {
    world.upstream.take_seen().iter().filter(|seen| !seen.line.starts_with("GET")).count()
}

#[test]
fn without_versions_nothing_is_changed_that_had_to_be_judged() {
    run(async {
        let world = World::new().await;
        world.upstream.change(|store| store.tells_versions = false);
        let token = world.token(&c());
        for (line, headers, body) in [
            ("PUT /fhir/Observation/o1", &[JSON][..], own("o1")),
            ("DELETE /fhir/Observation/o1", &[], String::new()),
            (
                "PATCH /fhir/Observation/o1",
                &["Content-Type: application/json-patch+json"],
                r#"[{"op":"replace","path":"/status","value":"amended"}]"#.to_owned(),
            ),
        ] {
            let reply = world.send(line, &token, headers, &body).await;
            assert_eq!(reply.status, 403, "{line}: {}", reply.all());
            assert!(reply.text().contains("does not tell the version"), "{}", reply.text());
            // Hidden and absent stay the same.
            let hidden = world.send(&line.replace("o1", "o2"), &token, headers, &body.replace("o1", "o2")).await;
            assert_eq!(hidden.status, 404, "{line}: {}", hidden.all());
        }
        assert_eq!(changes(&world), 0);
        let records = world.finish().await;
        assert!(records.iter().any(|entry| entry.record.reason.as_deref() == Some("version_unknown")));
        assert!(records.iter().all(|entry| entry.record.outcome != Some(Ending::Intended)));
    });
}

#[test]
fn a_write_is_sent_once_whatever_becomes_of_it() {
    run(async {
        let world =
            World::with(crate::world::Settings { fhir: "timeout = \"1s\"".to_owned(), ..Default::default() }).await;
        let token = world.token(&c());
        let given = |status: u16| move || Answer::Given(status, "application/fhir+json", "{}".to_owned());
        let faults: [(&str, Fault, u16, &str); 8] = [
            ("reset after it was done", Box::new(|| Answer::DoneThenReset), 502, "upstream_unreachable"),
            ("reset before anything was said", Box::new(|| Answer::Reset(Vec::new())), 502, "upstream_unreachable"),
            ("no answer after it was done", Box::new(|| Answer::DoneThenHang), 504, "upstream_timeout"),
            ("an error", Box::new(given(500)), 502, "upstream_status"),
            ("a redirect", Box::new(given(307)), 502, "upstream_status"),
            ("later", Box::new(given(202)), 502, "upstream_status"),
            ("no credentials", Box::new(given(401)), 502, "upstream_status"),
            ("too busy", Box::new(given(429)), 503, "upstream_busy"),
        ];
        for (what, fault, status, reason) in faults {
            world.upstream.answer(move |seen| if seen.line.starts_with("PUT") { fault() } else { Answer::Honest });
            let reply = put(&world, &token).await;
            assert_eq!((reply.status, changes(&world)), (status, 1), "{what} ({reason}): {}", reply.all());
        }
        let records = world.finish().await;
        for reason in ["upstream_unreachable", "upstream_timeout", "upstream_status", "upstream_busy"] {
            let ends = records.iter().filter(|entry| entry.record.reason.as_deref() == Some(reason));
            for end in ends {
                assert_eq!(end.record.outcome, Some(Ending::Failed), "{reason}");
                let same = |entry: &&firebreak::audit::Entry| entry.record.request_id == end.record.request_id;
                assert_eq!(records.iter().filter(same).count(), 2, "{reason}: an intent and an outcome");
            }
        }
    });
}

#[test]
fn an_answer_about_something_else_is_not_released() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&c());
        for (what, location, status) in [
            ("another resource", "{BASE}/Observation/o2/_history/2", 502),
            ("another type", "{BASE}/Patient/P2", 502),
            ("another server", "https://evil.example/fhir/Observation/o1", 502),
            ("nothing that is one", "CANARY", 502),
            ("itself", "{BASE}/Observation/o1/_history/2", 200),
        ] {
            let base = world.upstream.base();
            world.upstream.answer(move |seen| {
                if seen.line.starts_with("GET") {
                    return Answer::Honest;
                }
                let location = location.replace("{BASE}", &base);
                let theirs = r#"{"resourceType":"Observation","id":"o2","status":"CANARY","subject":{"reference":"Patient/P2"}}"#;
                Answer::with(&format!("Content-Type: application/fhir+json\r\nLocation: {location}\r\nContent-Length: {}", theirs.len()), theirs.as_bytes())
            });
            let reply = put(&world, &token).await;
            assert_eq!(reply.status, status, "{what}: {}", reply.all());
            assert!(status != 200 || reply.body.is_empty(), "{what}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn what_the_upstream_declines_is_told_without_its_words() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&c());
        let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"business-rule","diagnostics":"CANARY Patient/P2"}]}"#;
        for status in [400, 409, 412, 422] {
            for (media_type, body) in [
                ("application/fhir+json", outcome),
                ("text/html", "<b>CANARY</b>"),
                ("application/fhir+json", "CANARY"),
            ] {
                world.upstream.answer(move |seen| {
                    if seen.line.starts_with("GET") {
                        Answer::Honest
                    } else {
                        Answer::Given(status, media_type, body.to_owned())
                    }
                });
                let reply = put(&world, &token).await;
                assert_eq!(reply.status, status, "{}", reply.all());
                assert_eq!(reply.json()["resourceType"], "OperationOutcome", "{}", reply.all());
                assert_eq!(reply.text().contains("business-rule"), body == outcome, "{}", reply.all());
            }
        }
        world.finish().await;
    });
}

#[test]
fn what_cannot_be_judged_before_it_is_changed_is_not_changed() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let current = |text: &str| text.to_owned();
        for (what, body, status) in [
            (
                "the same member twice",
                current(
                    r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P2"},"subject":{"reference":"Patient/P1"}}"#,
                ),
                502,
            ),
            ("broken off", current(r#"{"resourceType":"Observation","id":"o1""#), 502),
            (
                "another type",
                current(r#"{"resourceType":"Condition","id":"o1","subject":{"reference":"Patient/P1"}}"#),
                502,
            ),
            (
                "another resource",
                current(
                    r#"{"resourceType":"Observation","id":"o7","meta":{"versionId":"1"},"subject":{"reference":"Patient/P1"}}"#,
                ),
                502,
            ),
            (
                "another's",
                current(
                    r#"{"resourceType":"Observation","id":"o1","meta":{"versionId":"1"},"subject":{"reference":"Patient/P2"}}"#,
                ),
                404,
            ),
            ("no resource", current("[]"), 502),
        ] {
            world.upstream.answer(move |seen| {
                if seen.line.starts_with("GET") { Answer::fhir(body.clone()) } else { Answer::Honest }
            });
            let reply = put(&world, &token).await;
            assert_eq!((reply.status, changes(&world)), (status, 0), "{what}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn nothing_is_forwarded_whose_intent_cannot_be_recorded() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        world.audit.shutdown().await;
        let reply = put(&world, &token).await;
        assert_eq!((reply.status, changes(&world)), (503, 0), "{}", reply.all());
        let created = world.send("POST /fhir/Observation", &token, &[JSON], &own("x")).await;
        assert_eq!((created.status, changes(&world)), (503, 0), "{}", created.all());
    });
}
