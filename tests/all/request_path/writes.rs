//! Changes, end to end: what is stored, what is answered, what is recorded.

use std::sync::Arc;

use firebreak::audit::{Ending, Entry};
use tokio::sync::Barrier;

use super::{asked, assert_absent, header_names};
use crate::upstream::{Answer, Seen};
use crate::world::{BASE, Grant, Reply, World, request, run};

const JSON: &str = "Content-Type: application/fhir+json";
const PATCH: &str = "Content-Type: application/json-patch+json";

fn c() -> Grant {
    Grant::patient("patient/*.cruds", "P1")
}

fn u2() -> Grant {
    Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"])
}

fn observation(id: &str, more: &str) -> String {
    let id = if id.is_empty() { String::new() } else { format!(r#""id":"{id}","#) };
    format!(
        r#"{{"resourceType":"Observation",{id}"status":"final","code":{{"text":"x"}},"subject":{{"reference":"Patient/P1"}}{more}}}"#
    )
}

async fn send(world: &World, token: &str, line: &str, body: &str) -> Reply {
    let media_type = if line.starts_with("PATCH") { PATCH } else { JSON };
    let headers: &[&str] = if line.starts_with("DELETE") { &[] } else { &[media_type] };
    world.send(line, token, headers, body).await
}

/// The records of one request, by what it was.
fn of<'r>(records: &'r [Entry], method: &str, target: &str) -> Vec<&'r Entry> {
    let fits = |entry: &&Entry| {
        let record = &entry.record;
        let resource = record.resource_ids.first().map_or(record.resource_type.as_deref(), |id| Some(id.as_str()));
        record.method.as_deref() == Some(method) && resource == Some(target)
    };
    records.iter().filter(fits).collect()
}

#[test]
fn what_is_created_changed_and_deleted_is_stored_answered_and_recorded() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let body = observation(
            "",
            r#","valueQuantity":{"value":1.10},"performer":[{"reference":"https://gw.example.org/fhir/Patient/P1"}]"#,
        );
        let created = send(&world, &token, "POST /fhir/Observation", &body).await;
        assert_eq!(created.status, 201, "{}", created.all());
        assert_eq!(created.header("location"), format!("{BASE}/Observation/n1/_history/1"));
        assert_eq!((created.header("etag"), created.header("cache-control")), ("W/\"1\"", "private, no-store"));
        assert_eq!(created.header("last-modified"), "Mon, 01 Jan 2024 00:00:00 GMT");
        assert!(created.text().contains(r#""value":1.10"#) && created.text().contains(r#""id":"n1""#));
        let [seen] = &*world.upstream.take_seen() else { panic!("one call") };
        assert!(seen.body.contains(r#""performer":[{"reference":"Patient/P1"}]"#), "{}", seen.body);
        let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "accept-encoding",
                "authorization",
                "cache-control",
                "content-length",
                "content-type",
                "host",
                "prefer",
                "x-request-id"
            ],
            "an allow-list"
        );

        let changed =
            send(&world, &token, "PUT /fhir/Observation/n1", &observation("n1", r#","issued":"2024-01-01T00:00:00Z""#))
                .await;
        assert_eq!((changed.status, changed.header("etag")), (200, "W/\"2\""), "{}", changed.all());
        assert_eq!(changed.header("content-location"), format!("{BASE}/Observation/n1/_history/2"));
        let [read, put] = &*world.upstream.take_seen() else { panic!("two calls") };
        assert_eq!((read.below_base().as_str(), &put.line[..4]), ("GET Observation/n1", "PUT "));
        assert!(put.headers.contains(&("if-match".to_owned(), "W/\"1\"".to_owned())), "{:?}", put.headers);

        let patch = r#"[{"op":"test","path":"/status","value":"final"},{"op":"add","path":"/valueQuantity","value":{"value":2.50}}]"#;
        let patched = send(&world, &token, "PATCH /fhir/Observation/n1", patch).await;
        assert_eq!((patched.status, patched.header("etag")), (200, "W/\"3\""), "{}", patched.all());
        assert!(patched.text().contains(r#""value":2.50"#) && patched.text().contains("issued"), "{}", patched.text());
        assert!(world.upstream.take_seen().iter().all(|seen| !seen.line.starts_with("PATCH")), "sent as an update");

        let deleted = send(&world, &token, "DELETE /fhir/Observation/n1", "").await;
        assert_eq!((deleted.status, deleted.body.len()), (204, 0), "{}", deleted.all());
        assert_absent(&world, &token, "/fhir/Observation/n1").await;

        let records = world.finish().await;
        for (method, target, outcome_version) in [
            ("POST", "Observation/n1", Some("1")),
            ("PUT", "Observation/n1", Some("2")),
            ("PATCH", "Observation/n1", Some("3")),
            ("DELETE", "Observation/n1", None),
        ] {
            let of_it = of(&records, method, target);
            let end = of_it.last().unwrap_or_else(|| panic!("{method}"));
            assert_eq!(end.record.outcome, Some(Ending::Released), "{method}");
            assert_eq!(end.record.version_id.as_deref(), outcome_version, "{method}");
            assert_eq!(end.record.patients, ["P1"], "{method}");
            assert_eq!(end.record.query_raw, None, "a body is no query");
            let id = end.record.request_id.clone();
            let intended: Vec<_> = records.iter().filter(|entry| entry.record.request_id == id).collect();
            assert_eq!(intended.len(), 2, "{method}");
            assert_eq!(intended[0].record.outcome, Some(Ending::Intended), "{method}");
            assert_eq!(intended[0].record.patients, ["P1"], "{method}");
            assert!(intended[0].seq < end.seq);
        }
    });
}

// B3 66
#[test]
fn hidden_and_absent_are_the_same_to_every_change() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&c());
        let patch = r#"[{"op":"remove","path":"/nosuch"}]"#;
        let mut replies: Vec<(u16, Vec<String>, Vec<u8>)> = Vec::new();
        for id in ["o2", "o3", "moved", "never"] {
            let mut of_id = Vec::new();
            for (line, body) in [
                (format!("PUT /fhir/Observation/{id}"), observation(id, "")),
                (format!("PATCH /fhir/Observation/{id}"), patch.to_owned()),
                (format!("DELETE /fhir/Observation/{id}"), String::new()),
                // What the body alone decides is decided before anybody looks.
                (format!("PUT /fhir/Observation/{id}"), observation(id, r#","focus":[{"reference":"Patient/P2"}]"#)),
                (format!("PUT /fhir/Observation/{id}"), observation("other", "")),
            ] {
                let reply = send(&world, &token, &line, &body).await;
                of_id.push((reply.status, header_names(&reply).join(" "), reply.body));
            }
            let statuses: Vec<u16> = of_id.iter().map(|(status, ..)| *status).collect();
            assert_eq!(statuses, [404, 404, 404, 403, 400], "{id}");
            let calls: Vec<String> = asked(&world).iter().map(|line| line.replace(id, "X")).collect();
            assert_eq!(calls, ["GET Observation/X"; 3], "{id}");
            let all = of_id.iter().flat_map(|(_, _, body)| body.clone()).collect();
            replies.push((0, of_id.into_iter().map(|(_, names, _)| names).collect(), all));
        }
        assert!(replies.windows(2).all(|two| two[0] == two[1]), "to the byte");
        world.finish().await;
    });
}

#[test]
fn case_164_a_reference_does_not_tell_what_there_is() {
    run(async {
        let world = World::new().await;
        world.plant("CANARY");
        let token = world.token(&c());
        let mut seen = Vec::new();
        for (encounter, others) in [
            ("Encounter/e2", r#"{"reference":"Observation/o2"},{"reference":"Observation/o1"}"#),
            ("Encounter/never", r#"{"reference":"Observation/never"},{"reference":"Observation/o1"}"#),
        ] {
            for more in
                [format!(r#","encounter":{{"reference":"{encounter}"}}"#), format!(r#","derivedFrom":[{others}]"#)]
            {
                let reply = send(&world, &token, "POST /fhir/Observation", &observation("", &more)).await;
                let mut calls: Vec<String> = asked(&world)
                    .iter()
                    .map(|line| line.replace("e2", "X").replace("o2", "X").replace("never", "X"))
                    .collect();
                calls.sort();
                seen.push((reply.status, header_names(&reply).join(" "), reply.body, calls));
            }
        }
        assert_eq!(seen[0].0, 403);
        assert_eq!((&seen[0], &seen[1]), (&seen[2], &seen[3]));
        let own = observation(
            "",
            r#","encounter":{"reference":"Encounter/e1"},"derivedFrom":[{"reference":"Observation/o1"},{"reference":"Observation/v1"}]"#,
        );
        assert_eq!(send(&world, &token, "POST /fhir/Observation", &own).await.status, 201);
        let mut asked = asked(&world);
        asked.sort();
        assert_eq!(asked[..2], ["GET Encounter/e1", "GET Observation?_id=o1,v1&_count=2"]);
        world.finish().await;
    });
}

#[test]
fn case_145_of_two_updates_at_once_one_is_made() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let both = Arc::new(Barrier::new(2));
        // Both have read the same version before either is stored.
        world.upstream.answer(move |seen| {
            if seen.line.starts_with("PUT") { Answer::Held(Arc::clone(&both)) } else { Answer::Honest }
        });
        let (first, second) =
            (observation("o1", r#","note":[{"text":"one"}]"#), observation("o1", r#","note":[{"text":"two"}]"#));
        let (one, other) = tokio::join!(
            send(&world, &token, "PUT /fhir/Observation/o1", &first),
            send(&world, &token, "PUT /fhir/Observation/o1", &second),
        );
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{}\n{}", one.all(), other.all());
        let lost = if one.status == 412 { &one } else { &other };
        assert!(lost.text().contains("conflict") && !lost.text().contains("CANARY"), "{}", lost.all());
        world.upstream.answer(|_| Answer::Honest);
        let now = world.get("/fhir/Observation/o1", &token).await;
        let kept = if one.status == 200 { "one" } else { "two" };
        assert!(now.header("etag") == "W/\"2\"" && now.text().contains(kept), "{}", now.all());
        world.finish().await;
    });
}

#[test]
fn a_resource_that_leaves_the_compartment_meanwhile_is_not_changed() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let moved = |seen: &Seen| seen.line.starts_with("PUT");
        let theirs = crate::upstream::data::observation("o1", "P2", r#""x":1"#, "1", "");
        let gate = Arc::new(Barrier::new(2));
        let held = Arc::clone(&gate);
        world.upstream.answer(move |seen| if moved(seen) { Answer::Held(Arc::clone(&held)) } else { Answer::Honest });
        let body = observation("o1", "");
        let (reply, ()) = tokio::join!(send(&world, &token, "PUT /fhir/Observation/o1", &body), async {
            while !world.upstream.saw(|seen| seen.line.starts_with("PUT")) {
                tokio::task::yield_now().await;
            }
            world.upstream.change(|store| {
                let mut now = theirs;
                now.versions.insert(0, None);
                store.put(now);
            });
            gate.wait().await;
        });
        assert_eq!(reply.status, 412, "{}", reply.all());
        world.upstream.answer(|_| Answer::Honest);
        assert_absent(&world, &token, "/fhir/Observation/o1").await;
        world.finish().await;
    });
}

#[test]
fn what_is_changed_and_whose_it_is_is_recorded_before_it_is() {
    run(async {
        let world = World::new().await;
        let token = world.token(&u2());
        let moved = observation("o1", "").replace("Patient/P1", "Patient/P2");
        for (line, body) in [("PUT /fhir/Observation/o1", &*moved), ("DELETE /fhir/Observation?code=718-7", "")] {
            let media_type = (!body.is_empty()).then_some(JSON);
            let headers: Vec<&str> = media_type.into_iter().chain(["Prefer: return=minimal"]).collect();
            let reply = world.send(line, &token, &headers, body).await;
            assert!(matches!(reply.status, 200 | 204) && reply.body.is_empty(), "{line}: {}", reply.all());
        }
        let records = world.finish().await;
        for (method, resource, patient) in [("PUT", "Observation/o1", "P2"), ("DELETE", "Observation/o4", "P3")] {
            let of_it = of(&records, method, resource);
            let [intent, outcome] = of_it.as_slice() else { panic!("two records of {method}: {records:?}") };
            assert_eq!(intent.record.outcome, Some(Ending::Intended), "{method}");
            for entry in [intent, outcome] {
                assert!(entry.record.patients.iter().any(|id| id == patient), "{method}: {entry:?}");
            }
        }
    });
}

#[test]
fn only_what_may_be_read_comes_back() {
    run(async {
        let world = World::new().await;
        let without_r = world.token(&Grant::patient("patient/Observation.cud", "P1"));
        let lab = r#","category":[{"coding":[{"code":"laboratory"}]}]"#;
        let some_r =
            world.token(&Grant::patient("patient/Observation.cud patient/Observation.r?category=laboratory", "P1"));
        for (token, more, comes_back) in [(&without_r, "", false), (&some_r, "", false), (&some_r, lab, true)] {
            let created = send(&world, token, "POST /fhir/Observation", &observation("", more)).await;
            assert_eq!((created.status, !created.body.is_empty()), (201, comes_back), "{}", created.all());
            let [seen] = &*world.upstream.take_seen() else { panic!("one call") };
            let prefer = if comes_back { "return=representation" } else { "return=minimal" };
            assert!(seen.headers.contains(&("prefer".to_owned(), prefer.to_owned())), "{:?}", seen.headers);
        }
        // The upstream gives it though it was not asked to, and gives another's.
        let theirs = observation("n9", "").replace("P1", "P2").replace("final", "CANARY");
        world.plant("CANARY");
        for body in [observation("n9", ""), theirs, r#"{"resourceType":"OperationOutcome"}"#.to_owned(), "{".to_owned()]
        {
            world.upstream.answer(move |_| {
                let head = "HTTP/1.1 201 X\r\nContent-Type: application/fhir+json\r\nLocation: Observation/n9\r\n";
                Answer::Raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
            });
            for token in [&without_r, &some_r] {
                let created = send(&world, token, "POST /fhir/Observation", &observation("", "")).await;
                assert_eq!((created.status, created.body.len()), (201, 0), "{}", created.all());
                assert_eq!(created.header("location"), format!("{BASE}/Observation/n9"));
            }
        }
        world.finish().await;
    });
}

#[test]
fn a_client_that_hangs_up_leaves_an_intent_and_an_outcome() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        let gate = Arc::new(Barrier::new(2));
        let held = Arc::clone(&gate);
        world.upstream.answer(move |seen| {
            if seen.line.starts_with("GET") { Answer::Honest } else { Answer::Held(Arc::clone(&held)) }
        });
        let mut connection = world.connect().await;
        let body = observation("o1", r#","note":[{"text":"after"}]"#);
        let bytes = request("PUT /fhir/Observation/o1", &token, &[JSON], &body, "hung-up");
        connection.send(bytes.as_bytes()).await;
        while !world.upstream.saw(|seen| seen.line.starts_with("PUT")) {
            tokio::task::yield_now().await;
        }
        drop(connection);
        let opening = tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            gate.wait().await;
        });
        // The end of the process waits for the outcome.
        let records = world.finish().await;
        opening.await.unwrap();
        let of_it: Vec<_> =
            records.iter().filter(|entry| entry.record.request_id.as_deref() == Some("hung-up")).collect();
        let [intent, outcome] = of_it.as_slice() else { panic!("two records: {of_it:?}") };
        assert_eq!(intent.record.outcome, Some(Ending::Intended));
        assert_eq!(outcome.record.outcome, Some(Ending::Released));
        assert_eq!((outcome.record.status, outcome.record.version_id.as_deref()), (Some(200), Some("2")));
    });
}

#[test]
fn conditions_of_a_grant_without_restriction_are_resolved_here() {
    run(async {
        let world = World::new().await;
        let token = world.token(&u2());
        let sent = async |line: &str, condition: &[&str], body: &str| {
            let mut headers = condition.to_vec();
            if !line.starts_with("DELETE") {
                headers.push(if line.starts_with("PATCH") { PATCH } else { JSON });
            }
            let reply = world.send(line, &token, &headers, body).await;
            let calls = world.upstream.take_seen();
            assert!(calls.iter().all(|seen| seen.line.starts_with("GET") || !seen.line.contains('?')), "{calls:?}");
            (reply.status, calls)
        };
        let patient = r#"{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"7"}]}"#;
        let none_exist = ["If-None-Exist: identifier=urn:mrn|7"];
        let (status, calls) = sent("POST /fhir/Patient", &none_exist, patient).await;
        assert_eq!((status, calls.len()), (201, 2));
        assert_eq!(calls[0].line, "POST /upstream/r4/Patient/_search", "who somebody is stands in no URL");
        assert!(
            calls[1].headers.contains(&("if-none-exist".to_owned(), "identifier=urn:mrn%7C7".to_owned())),
            "{calls:?}"
        );
        let (status, calls) = sent("POST /fhir/Patient", &none_exist, patient).await;
        assert_eq!((status, calls[1].below_base().as_str()), (200, "GET Patient/n1"));
        let (status, _) = sent("PUT /fhir/Patient?identifier=urn:mrn|7", &[], patient).await;
        assert_eq!(status, 200);
        let (status, _) =
            sent("PATCH /fhir/Observation?code=718-7", &[], r#"[{"op":"replace","path":"/status","value":"amended"}]"#)
                .await;
        assert_eq!(status, 200);
        let (status, calls) = sent("DELETE /fhir/Observation?code=1234-5", &[], "").await;
        assert_eq!((status, calls.len()), (412, 1));
        let (status, calls) = sent("DELETE /fhir/Observation?code=718-7", &[], "").await;
        assert_eq!((status, &*calls[1].below_base()), (204, "DELETE Observation/o4"));
        assert!(calls[1].headers.contains(&("if-match".to_owned(), "W/\"2\"".to_owned())));
        let (status, _) = sent("DELETE /fhir/Observation?code=718-7", &[], "").await;
        assert_eq!(status, 404);
        world.finish().await;
    });
}

#[test]
fn a_create_that_finds_one_names_the_version_that_is_there() {
    run(async {
        let world = World::new().await;
        let token = world.token(&u2());
        let condition = "If-None-Exist: _id=o1";
        let body = observation("", "");
        let read = world.get("/fhir/Observation/o1", &token).await;
        world.upstream.take_seen();
        for (prefer, has_body) in [
            ("Prefer: return=representation", true),
            ("Prefer: handling=strict", true),
            ("Prefer: return=minimal", false),
            ("Prefer: return=OperationOutcome", false),
        ] {
            let reply = world.send("POST /fhir/Observation", &token, &[JSON, condition, prefer], &body).await;
            assert_eq!(reply.status, 200, "{prefer}: {}", reply.all());
            assert_eq!(reply.header("location"), format!("{BASE}/Observation/o1/_history/1"), "{prefer}");
            assert_eq!(
                (reply.header("etag"), reply.header("last-modified")),
                ("W/\"1\"", read.header("last-modified"))
            );
            assert_eq!(reply.text(), if has_body { read.text() } else { "" }, "{prefer}");
            assert_eq!(header_names(&reply).contains(&"content-type"), has_body, "{prefer}");
            let seen = world.upstream.take_seen();
            assert_eq!(seen[1].below_base(), "GET Observation/o1", "it stays a read: {seen:?}");
        }
        let records = world.finish().await;
        let created = records.iter().filter(|entry| entry.record.interaction.as_deref() == Some("create"));
        assert!(
            created.clone().count() == 4 && created.clone().all(|entry| entry.record.outcome == Some(Ending::Released))
        );
    });
}

#[test]
fn bodies_stay_out_of_every_log() {
    run(async {
        let world = World::new().await;
        let token = world.token(&c());
        world.secret("very-private");
        for (line, body) in [
            ("POST /fhir/Observation", observation("", r#","note":[{"text":"very-private"}]"#)),
            ("PUT /fhir/Observation/o1", observation("o1", r#","note":[{"text":"very-private"}]"#)),
            ("PUT /fhir/Observation/o2", observation("o2", r#","note":[{"text":"very-private"}]"#)),
            ("POST /fhir/Observation", r#"{"very-private"#.to_owned()),
            (
                "PATCH /fhir/Observation/o1",
                r#"[{"op":"add","path":"/very-private","value":"very-private"}]"#.to_owned(),
            ),
            (
                "POST /fhir",
                format!(
                    r#"{{"resourceType":"Bundle","type":"batch","entry":[{{"resource":{},"request":{{"method":"POST","url":"Observation"}}}}]}}"#,
                    observation("", r#","note":[{"text":"very-private"}]"#)
                ),
            ),
        ] {
            let reply = send(&world, &token, line, &body).await;
            assert!([200, 201, 400, 404].contains(&reply.status), "{line}: {}", reply.all());
        }
        world.finish().await;
    });
}
