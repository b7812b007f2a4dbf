//! Reads and versions: what is hidden looks like what is absent.

use super::{asked, assert_absent, b, header_names};
use crate::upstream::{Answer, data};
use crate::world::{Grant, World, run};

// B3 64
#[test]
fn case_106_own_hidden_absent_and_deleted() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let own = world.get("/fhir/Observation/o1", &a).await;
        assert_eq!(own.status, 200, "{}", own.all());
        assert_eq!(own.header("cache-control"), "private, no-store");
        assert_eq!(own.header("etag"), "W/\"1\"");
        assert_eq!(asked(&world), ["GET Observation/o1"]);
        for hidden in ["o2", "o3", "o4", "moved", "nope"] {
            assert_absent(&world, &a, &format!("/fhir/Observation/{hidden}")).await;
        }
        for hidden in ["Patient/P2", "Condition/c2", "Encounter/e2", "Appointment/a2", "Device/dev2", "Patient/P2/"] {
            assert_absent(&world, &a, &format!("/fhir/{hidden}")).await;
        }
        let records = world.finish().await;
        let of_own: Vec<_> = records.iter().filter(|entry| entry.record.status == Some(200)).collect();
        let [of_own] = of_own.as_slice() else { panic!("one record of one release") };
        assert_eq!(of_own.record.resource_ids, ["Observation/o1"]);
        assert_eq!(of_own.record.patients, ["P1"]);
        assert_eq!(of_own.record.reason, None);
        let hidden = records.iter().filter(|entry| entry.record.status == Some(404));
        for hidden in hidden {
            assert_eq!(hidden.record.reason.as_deref(), Some("not_found_or_hidden"));
        }
    });
}

#[test]
fn case_196_hidden_and_absent_cost_the_same_upstream_calls() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let mut shapes = Vec::new();
        for id in ["o2", "o3", "never"] {
            for target in [format!("/fhir/Observation/{id}"), format!("/fhir/Observation/{id}/_history/1")] {
                world.get(&target, &a).await;
                let mut asked: Vec<_> = asked(&world).iter().map(|line| line.replace(id, "X")).collect();
                asked.sort();
                shapes.push(asked);
            }
        }
        let read = vec!["GET Observation/X".to_owned()];
        let vread = vec!["GET Observation/X".to_owned(), "GET Observation/X/_history/1".to_owned()];
        assert_eq!(shapes, [&read, &vread, &read, &vread, &read, &vread].map(Clone::clone));
        world.finish().await;
    });
}

#[test]
fn case_107_head_is_a_read_without_its_body() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let get = world.get("/fhir/Observation/o1", &a).await;
        let head = world.send("HEAD /fhir/Observation/o1", &a, &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        // RFC 9110 section 9.3.2: the length may be left out, and must not be another one.
        assert!(["", get.header("content-length")].contains(&head.header("content-length")), "{}", head.all());
        assert_eq!(head.header("etag"), get.header("etag"));
        let hidden = world.send("HEAD /fhir/Observation/o2", &a, &[], "").await;
        let absent = world.send("HEAD /fhir/Observation/nope", &a, &[], "").await;
        assert_eq!((hidden.status, absent.status), (404, 404));
        assert_eq!(header_names(&hidden), header_names(&absent));
        assert_eq!(hidden.header("content-length"), absent.header("content-length"));
        assert!(asked(&world).iter().all(|line| line.starts_with("GET ")), "never sent as HEAD");
        world.finish().await;
    });
}

#[test]
fn cases_109_and_110_versions_are_judged_with_the_current_one() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (version, status) in [("1", 200), ("2", 404), ("3", 200), ("4", 404)] {
            let reply = world.get(&format!("/fhir/Observation/mixed/_history/{version}"), &a).await;
            assert_eq!(reply.status, status, "{version}: {}", reply.all());
        }
        asked(&world);
        for version in ["1", "2", "9"] {
            assert_absent(&world, &a, &format!("/fhir/Observation/moved/_history/{version}")).await;
        }
        let mut asked = asked(&world);
        asked.retain(|line| line.contains("/moved") && !line.contains("_history/2") && !line.contains("_history/9"));
        assert_eq!(asked.len(), 4, "each version with the current one: {asked:?}");
        // The version is one's own, and nobody can say what became of it.
        world.upstream.answer(|seen| {
            let failed = || Answer::Given(500, "application/fhir+json", "{}".to_owned());
            if seen.line.contains("_history") { Answer::Honest } else { failed() }
        });
        assert_eq!(world.get("/fhir/Observation/mixed/_history/1", &a).await.status, 502);
        world.finish().await;
    });
}

#[test]
fn a_validator_tells_nothing_of_what_is_hidden() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for tags in ["W/\"1\"", "\"1\"", "*", "W/\"0\", W/\"1\""] {
            let header = format!("If-None-Match: {tags}");
            let own = world.send("GET /fhir/Observation/o1", &a, &[&header], "").await;
            assert_eq!((own.status, own.body.len(), own.header("etag")), (304, 0, "W/\"1\""), "{tags}");
            for hidden in ["o2", "nope", "moved"] {
                let reply = world.send(&format!("GET /fhir/Observation/{hidden}"), &a, &[&header], "").await;
                assert_eq!(
                    (reply.status, reply.header("etag"), reply.header("last-modified")),
                    (404, "", ""),
                    "{tags}"
                );
            }
        }
        let other = world.send("GET /fhir/Observation/o1", &a, &["If-None-Match: W/\"2\""], "").await;
        assert_eq!(other.status, 200);
        assert!(
            world.upstream.take_seen().iter().all(|seen| seen.headers.iter().all(|(name, _)| name != "if-none-match"))
        );
        let records = world.finish().await;
        assert_eq!(records.iter().filter(|entry| entry.record.status == Some(304)).count(), 4);
    });
}

#[test]
fn case_88_projections_are_ours_and_come_after_the_decision() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for projection in ["_elements=id,code", "_summary=true", "_summary=text", "_summary=data", "_summary=false"] {
            let own = world.get(&format!("/fhir/Observation/o1?{projection}"), &a).await;
            assert_eq!(own.status, 200, "{projection}: {}", own.all());
            let partial = projection != "_summary=false";
            assert_eq!(own.text().contains("SUBSETTED"), partial, "{projection}: {}", own.text());
            assert_eq!(own.header("etag").is_empty(), partial, "a part has not the validator of the whole");
            assert_eq!(asked(&world), ["GET Observation/o1"], "the upstream is asked for the whole");
            assert_absent(&world, &a, &format!("/fhir/Observation/o2?{projection}")).await;
            asked(&world);
            let found = world.get(&format!("/fhir/Observation?_id=o1,o2&{projection}"), &a).await;
            assert_eq!(found.ids(), ["o1"]);
            assert_eq!(found.text().contains("SUBSETTED"), partial);
            assert_eq!(asked(&world), ["GET Observation?subject=Patient/P1&_id=o1,o2"]);
        }
        let elements = world.get("/fhir/Observation/o1?_elements=code", &a).await.json();
        assert_eq!(elements["valueQuantity"], serde_json::Value::Null);
        assert!(elements["code"].is_object());
        world.finish().await;
    });
}

#[test]
fn cases_118_to_121_only_a_local_reference_makes_a_member() {
    let subjects = [
        (r#"{"identifier":{"system":"urn:mrn","value":"P1"}}"#, 404),
        (r##"{"reference":"#p"}"##, 404),
        (r#"{"reference":"urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55"}"#, 404),
        (r#"{"reference":"patient/P1"}"#, 404),
        (r#"{"reference":" Patient/P1"}"#, 404),
        (r#"{"reference":"Patient/p1"}"#, 404),
        (r#"{"reference":"Patient/P1/"}"#, 404),
        (r#"{"reference":"Patient/P1#x"}"#, 404),
        (r#"{"reference":"Patient/P1?x=1"}"#, 404),
        (r#"{"reference":"http://evil.example/fhir/Patient/P1"}"#, 404),
        (r#"{"reference":"{BASE}2/Patient/P1"}"#, 404),
        (r#"{"reference":"{BASE}/../r4/Patient/P1"}"#, 404),
        (r#"{"reference":"Group/P1","type":"Patient"}"#, 404),
        (r#"{"_reference":{"extension":[{"url":"http://x","valueString":"Patient/P1"}]}}"#, 404),
        (r#"{"reference":"Patient/P1/_history/2"}"#, 200),
        (r#"{"reference":"{BASE}/Patient/P1"}"#, 200),
        (r#"{"reference":"https://gw.example.org/fhir/Patient/P1"}"#, 200),
        (r#"{"reference":"\u0050atient\/P1"}"#, 200),
    ];
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (subject, status) in subjects {
            let text = format!(r#"{{"resourceType":"Observation","id":"odd","status":"final","subject":{subject}}}"#);
            let mut odd = data::observation("odd", "P1", r#""x":1"#, "1", "");
            odd.versions = vec![Some(text)];
            world.upstream.change(|store| store.put(odd));
            let reply = world.get("/fhir/Observation/odd", &a).await;
            assert_eq!(reply.status, status, "{subject}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn case_122_the_container_decides_about_what_it_contains() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let contained = r#","contained":[{"resourceType":"Patient","id":"p","name":[{"family":"Kin"}]}],"focus":[{"reference":"Patient/P2"}]"#;
        world.upstream.change(|store| store.put(data::observation("own", "P1", r#""x":1"#, "1", contained)));
        let contained = r#","contained":[{"resourceType":"Patient","id":"P1"}],"focus":[{"reference":"Patient/P1"}]"#;
        world.upstream.change(|store| store.put(data::observation("theirs", "P2", r#""x":1"#, "1", contained)));
        assert_eq!(world.get("/fhir/Observation/own", &a).await.status, 200);
        assert_eq!(world.get("/fhir/Observation/theirs", &a).await.status, 404);
        world.finish().await;
    });
}

#[test]
fn resources_that_hold_other_resources_are_not_served_to_anybody() {
    run(async {
        let world = World::new().await;
        let grants = [
            Grant::patient("patient/*.rs", "P1"),
            Grant::user("user/*.rs", "Practitioner/d1", &["clinician"]),
            Grant::user("user/Bundle.rs user/Parameters.rs", "Practitioner/d1", &["clinician"]),
            Grant::system("system/*.rs", "backend").with(|claims| claims.roles = vec!["backend".to_owned()]),
        ];
        for grant in grants {
            let token = world.token(&grant);
            for target in ["Bundle/b1", "Bundle?_id=b1", "Bundle", "Bundle/b1/_history/1", "Parameters/p"] {
                let reply = world.get(&format!("/fhir/{target}"), &token).await;
                assert_eq!(reply.status, 403, "{target} {}: {}", grant.0.scope, reply.all());
            }
        }
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn case_200_numbers_keep_their_digits() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let value = r#","valueQuantity":{"value":1.10},"component":[{"valueQuantity":{"value":1e400}},{"valueQuantity":{"value":12345678901234567890.10}},{"valueQuantity":{"value":-0.0E+5}}]"#;
        let digits =
            format!(r#"{{"resourceType":"Observation","id":"digits","subject":{{"reference":"Patient/P1"}}{value}}}"#);
        let bundle = format!(r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{digits}}}]}}"#);
        world.upstream.answer(move |seen| Answer::fhir(if seen.line.contains('?') { &*bundle } else { &*digits }));
        for target in ["Observation/digits", "Observation?_id=digits"] {
            let reply = world.get(&format!("/fhir/{target}"), &a).await;
            assert!(reply.text().contains(value), "{}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn an_id_in_another_letter_case_does_not_tell_that_a_hidden_resource_exists() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        // An upstream that folds case, as some databases do.
        let folds =
            r#"{"resourceType":"Observation","id":"o2","language":"CANARY","subject":{"reference":"Patient/P2"}}"#;
        world
            .upstream
            .answer(move |seen| if seen.line.ends_with("/O2") { Answer::fhir(folds) } else { Answer::Honest });
        assert_absent(&world, &a, "/fhir/Observation/O2").await;
        world.finish().await;
    });
}

#[test]
fn case_23_headers_of_the_client_say_nothing_about_who_asks() {
    run(async {
        let world = World::new().await;
        let token = world.token(&b());
        let headers = [
            "X-Patient-Id: P2",
            "X-Consent-Scope: btg/Patient/P2",
            "X-User-Role: admin",
            "X-HTTP-Method-Override: DELETE",
            "X-Forwarded-Host: evil.example",
            "Forwarded: host=evil.example",
            "X-Request-Tenant: b",
            "Range: bytes=0-3",
            "Cookie: session=x",
            "X-Security-Context: Patient/P2",
            "If-Modified-Since: Mon, 01 Jan 2029 00:00:00 GMT",
            "Prefer: return=minimal",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "Accept-Encoding: gzip",
            "Accept: application/fhir+json;q=0.9, */*;q=0.1",
        ];
        let plain = world.get("/fhir/Observation?_count=2", &token).await;
        let seen = world.upstream.take_seen();
        let dressed = world.send("GET /fhir/Observation?_count=2", &token, &headers, "").await;
        assert_eq!(dressed.status, 200);
        assert_eq!(dressed.ids(), plain.ids());
        assert!(!dressed.all().contains("evil.example"));
        let without_id = |seen: &[crate::upstream::Seen]| {
            let mut seen = seen.to_vec();
            for seen in &mut seen {
                seen.headers.retain(|(name, _)| name != "x-request-id");
            }
            seen
        };
        assert_eq!(without_id(&world.upstream.take_seen()), without_id(&seen), "the upstream sees no difference");
        let [seen] = seen.as_slice() else { panic!("one request") };
        let mut names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["accept", "accept-encoding", "authorization", "cache-control", "host", "prefer", "x-request-id"],
            "an allow-list"
        );
        assert_eq!(seen.headers.iter().find(|(name, _)| name == "host").unwrap().1, world.upstream.authority());
        world.finish().await;
    });
}

#[test]
fn a_request_id_is_reflected_only_where_it_cannot_hurt() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let good = world.send("GET /fhir/Observation/o1", &a, &["X-Request-Id: abc.DEF_1-2"], "").await;
        assert_eq!(good.header("x-request-id"), "abc.DEF_1-2");
        let long = "x".repeat(65);
        for bad in ["a b", "a\"b", "a<b>", "", "ä", "a,b", "a;b", "{jndi}", &long] {
            let reply = world.send("GET /fhir/Observation/o1", &a, &[&format!("X-Request-Id: {bad}")], "").await;
            if reply.status == 200 {
                let id = reply.header("x-request-id");
                assert!(
                    id != bad && !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
                    "{id}"
                );
            }
            for seen in world.upstream.take_seen() {
                assert!(seen.headers.iter().filter(|(name, _)| name == "x-request-id").all(|(_, id)| id != bad));
            }
        }
        let twice = world.send("GET /fhir/Observation/o1", &a, &["X-Request-Id: one", "X-Request-Id: two"], "").await;
        assert_eq!(twice.headers.iter().filter(|(name, _)| name == "x-request-id").count(), 1);
        world.finish().await;
    });
}

#[test]
fn the_whole_path_holds_under_tls() {
    run(async {
        let world = World::with(crate::world::Settings { tls: true, ..Default::default() }).await;
        let a = world.token_a();
        let mut connection = world.connect().await;
        let own = world.send_on(&mut connection, "GET /fhir/Observation/o1", &a, &[], "").await;
        let hidden = world.send_on(&mut connection, "GET /fhir/Observation/o2", &a, &[], "").await;
        assert_eq!((own.status, hidden.status), (200, 404));
        let records = world.finish().await;
        let tls: Vec<_> = records.iter().filter_map(|entry| entry.record.tls.as_deref()).collect();
        assert_eq!(tls, ["TLSv1.3", "TLSv1.3"]);
    });
}
