//! Answers that cannot be judged: nothing of them leaves, and nothing hangs.

use std::time::Duration;

use super::{asked, assert_absent};
use crate::upstream::Answer;
use crate::world::{Grant, Settings, World, run};

const OWN: &str =
    r#"{"resourceType":"Observation","id":"o1","language":"CANARY","subject":{"reference":"Patient/P1"}}"#;

fn headers(length: usize) -> String {
    format!("Content-Type: application/fhir+json\r\nContent-Length: {length}")
}

#[test]
fn case_199_what_cannot_be_judged_is_502_on_a_read() {
    let bundle = r#"{"resourceType":"Bundle","type":"searchset","entry":[]}"#;
    let bodies = [
        String::new(),
        " ".to_owned(),
        "CANARY".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        OWN[..OWN.len() - 1].to_owned(),
        OWN[..40].to_owned(),
        format!("{OWN}x"),
        format!("{OWN}{OWN}"),
        format!("\u{feff}{OWN}"),
        OWN.replace("\"id\":\"o1\"", "\"id\":\"o1\",\"id\":\"o1\""),
        OWN.replace("\"id\":\"o1\"", "\"id\":\"o1\",\"\\u0069d\":\"o2\""),
        OWN.replace("\"Patient/P1\"}", "\"Patient/P1\",\"reference\":\"Patient/P2\"}"),
        OWN.replace("\"CANARY\"", "\"CANARY\\ud800\""),
        OWN.replace("\"CANARY\"", "\"CANARY\u{1}\""),
        OWN.replace("\"CANARY\"", "NaN"),
        OWN.replace("\"CANARY\"", "01"),
        OWN.replace("\"CANARY\"", "'CANARY'"),
        OWN.replace("\"CANARY\",", "\"CANARY\",,"),
        OWN.replace("\"id\":\"o1\"", "\"id\":1"),
        OWN.replace("\"id\":\"o1\"", "\"id\":\"../o1\""),
        OWN.replace("\"id\":\"o1\",", ""),
        OWN.replace("\"resourceType\":\"Observation\",", ""),
        OWN.replace("\"Observation\"", "\"observation\""),
        OWN.replace("\"Observation\"", "\"Condition\""),
        OWN.replace("\"o1\"", "\"o5\""),
        format!(r#"{{"resourceType":"Observation","id":"o1","x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        format!(
            r#"{{"resourceType":"Observation","id":"o1","x":{}1{}}}"#,
            r#"{"a":"#.repeat(100_000),
            "}".repeat(100_000)
        ),
        "[".repeat(100_000),
        bundle.to_owned(),
    ];
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let mut connection = world.connect().await;
        for body in bodies {
            let text: String = body.chars().take(80).collect();
            let mut released = Vec::new();
            for line in [
                "GET /fhir/Observation/o1",
                "HEAD /fhir/Observation/o1",
                "GET /fhir/Observation/o1/_history/1",
                "GET /fhir/Observation",
            ] {
                if line == "GET /fhir/Observation" && body == bundle {
                    continue;
                }
                let answer = body.clone();
                world.upstream.answer(move |_| Answer::fhir(answer.clone()));
                let reply = world.send_on(&mut connection, line, &a, &[], "").await;
                assert!(matches!(reply.status, 502 | 404), "{line} {text}: {}", reply.all());
                released.push(reply.status);
            }
            assert!(released.contains(&502), "{text}: {released:?}");
        }
        let mut bytes = OWN.as_bytes().to_vec();
        bytes[50] = 0xff;
        let length = headers(bytes.len());
        world.upstream.answer(move |_| Answer::with(&length, &bytes));
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 502, "not UTF-8");
        world.finish().await;
    });
}

#[test]
fn case_199_heads_that_make_a_body_ambiguous_are_502() {
    let own = OWN.replace("CANARY", "en");
    let length = own.len();
    let ok = headers(length);
    // Header lines, and whether the answer may be released.
    let cases = [
        (ok.clone(), true),
        (format!("Content-Type: application/json; charset=\"UTF-8\"\r\nContent-Length: {length}"), true),
        (format!("Content-Type: text/html\r\nContent-Length: {length}"), false),
        (format!("Content-Type: application/fhir+xml\r\nContent-Length: {length}"), false),
        (format!("Content-Type: application/fhir+json; charset=utf-16\r\nContent-Length: {length}"), false),
        (format!("Content-Type: text/plain\r\nContent-Length: {length}"), false),
        (format!("Content-Length: {length}"), false),
        (format!("{ok}\r\nContent-Encoding: gzip"), false),
        (format!("{ok}\r\nContent-Encoding: identity\r\nContent-Encoding: gzip"), false),
        (format!("{ok}\r\nContent-Encoding: br, identity"), false),
        (format!("{ok}\r\nContent-Encoding: deflate\r\nContent-Type: application/fhir+json"), false),
        (headers(length + 10), false),
        (headers(length - 3), false),
        (format!("{ok}\r\nContent-Length: {}", length + 1), false),
        ("Content-Type: application/fhir+json\r\nContent-Length: x".to_owned(), false),
        ("Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked".to_owned(), false),
    ];
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (head, released) in cases {
            let (lines, body) = (head.clone(), own.clone());
            world.upstream.answer(move |_| Answer::with(&lines, body.as_bytes()));
            let reply = world.get("/fhir/Observation/o1", &a).await;
            assert_eq!(reply.status == 200, released, "{head}: {}", reply.all());
            assert!(released || reply.status == 502, "{head}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn statuses_of_the_upstream_become_ours_and_their_bodies_stay_behind() {
    let outcome = r#"{"resourceType":"OperationOutcome","text":{"div":"CANARY"},"issue":[{"severity":"error","code":"processing","diagnostics":"java.lang.CANARY at Patient/P2","details":{"text":"CANARY"},"location":["CANARY"]}]}"#;
    // Status, and what a read and a search become.
    let cases = [
        (201, 502, 502),
        (202, 502, 502),
        (204, 502, 502),
        (206, 502, 502),
        (301, 502, 502),
        (302, 502, 502),
        (303, 502, 502),
        (304, 502, 502),
        (307, 502, 502),
        (308, 502, 502),
        (400, 404, 400),
        (401, 502, 502),
        (403, 502, 502),
        (404, 404, 502),
        (405, 502, 502),
        (406, 502, 502),
        (410, 404, 502),
        (412, 502, 502),
        (422, 404, 400),
        (429, 503, 503),
        (500, 502, 502),
        (501, 502, 502),
        (502, 502, 502),
        (503, 503, 503),
        (504, 502, 502),
    ];
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for (status, read, search) in cases {
            let authority = world.upstream.authority();
            world.upstream.answer(move |_| {
                let body = if status == 204 || status == 304 { "" } else { outcome };
                Answer::Raw(
                    format!(
                        "HTTP/1.1 {status} CANARY\r\nContent-Type: application/fhir+json\r\nLocation: http://{authority}/CANARY\r\n\
                         WWW-Authenticate: Basic realm=\"CANARY\"\r\nSet-Cookie: CANARY=1\r\nRetry-After: 77\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    )
                    .into_bytes(),
                )
            });
            let reply = world.get("/fhir/Observation/o1", &a).await;
            assert_eq!(reply.status, read, "read, {status}: {}", reply.all());
            assert_eq!(reply.json()["resourceType"], "OperationOutcome");
            let reply = world.get("/fhir/Observation", &a).await;
            assert_eq!(reply.status, search, "search, {status}: {}", reply.all());
            let calls = asked(&world);
            assert_eq!(
                calls,
                ["GET Observation/o1", "GET Observation?subject=Patient/P1"],
                "{status}: no redirect, no repetition"
            );
        }
        world.finish().await;
    });
}

#[test]
fn case_194_an_outcome_of_the_upstream_keeps_severity_and_code_alone() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let outcome = r#"{"resourceType":"OperationOutcome","id":"CANARY","text":{"div":"CANARY"},"issue":[{"severity":"error","code":"processing","diagnostics":"CANARY Patient/P2 at com.example.Stack.trace(Stack.java:1)","details":{"coding":[{"code":"CANARY"}],"text":"CANARY"},"location":["CANARY"],"expression":["CANARY"],"extension":[{"url":"CANARY"}]},{"severity":"CANARY","code":"CANARY"}]}"#;
        world.upstream.answer(move |_| Answer::Given(400, "application/fhir+json", outcome.to_owned()));
        let reply = world.get("/fhir/Observation?code=secret-value", &a).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["issue"][0]["code"], "processing");
        assert!(!reply.text().contains("secret-value"), "{}", reply.text());
        world.upstream.answer(|_| Answer::Given(400, "text/html", "<h1>CANARY</h1>".to_owned()));
        assert_eq!(world.get("/fhir/Observation", &a).await.status, 502);
        world.upstream.answer(|_| Answer::Given(400, "application/fhir+json", "{\"CANARY\"".to_owned()));
        assert_eq!(world.get("/fhir/Observation", &a).await.status, 502);
        world.finish().await;
    });
}

#[test]
fn an_upstream_that_hangs_drips_resets_or_is_gone_is_told_apart_and_never_waited_for() {
    let settings = Settings { fhir: "timeout = \"600ms\"\nresponse_bytes = 65536".to_owned(), ..Default::default() };
    run(async {
        let world = World::with(settings).await;
        let a = world.token_a();
        let started = tokio::time::Instant::now();
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", headers(OWN.len()));
        for target in ["Observation/o1", "Observation", "Observation/o1/_history/1"] {
            let target = format!("/fhir/{target}");
            world.upstream.answer(|_| Answer::Hang);
            assert_eq!(world.get(&target, &a).await.status, 504, "hangs");
            world.upstream.answer(|_| Answer::Drip(OWN.to_owned(), Duration::from_millis(60)));
            assert_eq!(world.get(&target, &a).await.status, 504, "drips");
            for bytes in [String::new(), "HTTP/1.1".to_owned(), head.clone(), format!("{head}{}", &OWN[..60])] {
                let text = bytes.clone();
                world.upstream.answer(move |_| Answer::Reset(text.clone().into_bytes()));
                assert_eq!(world.get(&target, &a).await.status, 502, "resets after {bytes}");
                let text = bytes.clone();
                world.upstream.answer(move |_| Answer::Raw(text.clone().into_bytes()));
                assert_eq!(world.get(&target, &a).await.status, 502, "ends after {bytes}");
            }
            world.upstream.answer(|_| Answer::Raw(b"SSH-2.0-CANARY\r\n\r\n".to_vec()));
            assert_eq!(world.get(&target, &a).await.status, 502, "is no HTTP");
            world
                .upstream
                .answer(|_| Answer::Raw(format!("HTTP/1.1 200 OK\r\nX: {}", "CANARY".repeat(200_000)).into_bytes()));
            assert_eq!(world.get(&target, &a).await.status, 502, "an endless head");
            let huge = format!(r#"{{"resourceType":"Observation","id":"o1","x":"{}"}}"#, "CANARY".repeat(200_000));
            world.upstream.answer(move |_| Answer::fhir(huge.clone()));
            assert_eq!(world.get(&target, &a).await.status, 502, "larger than the limit");
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it hangs: {:?}", started.elapsed());
        world.upstream.answer(|_| Answer::Honest);
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200, "and heals");
        let records = world.finish().await;
        for reason in ["upstream_timeout", "upstream_unreachable", "upstream_unusable"] {
            assert!(records.iter().any(|entry| entry.record.reason.as_deref() == Some(reason)), "{reason}");
        }
    });
}

#[test]
fn a_second_answer_on_a_kept_connection_answers_nobody() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let answer = |id: &str, note: &str| {
            let body = format!(
                r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/P1"}},"note":"{note}"}}"#
            );
            format!("HTTP/1.1 200 OK\r\nX-Keep: 1\r\n{}\r\n\r\n{body}", headers(body.len()))
        };
        let two = answer("o1", "asked") + &answer("v1", "smuggled");
        world.upstream.answer(move |seen| {
            if seen.line.ends_with("/o1") { Answer::Raw(two.clone().into_bytes()) } else { Answer::Honest }
        });
        for _ in 0..20 {
            assert!(world.get("/fhir/Observation/o1", &a).await.text().contains("asked"));
            let next = world.get("/fhir/Observation/v1", &a).await;
            assert!(next.status == 200 && !next.text().contains("smuggled"), "{}", next.all());
        }
        world.finish().await;
    });
}

#[test]
fn an_unreachable_upstream_is_502_for_hidden_and_own_alike() {
    run(async {
        let mut world = World::new().await;
        let a = world.token_a();
        let gone = crate::upstream::Upstream::start(Vec::new()).await;
        // The one that the gateway knows ends; the other takes its place in this test only.
        drop(std::mem::replace(&mut world.upstream, gone));
        let mut bodies = Vec::new();
        for target in ["Observation/o1", "Observation/o2", "Observation/never", "Observation", "Patient"] {
            let reply = world.get(&format!("/fhir/{target}"), &a).await;
            assert_eq!(reply.status, 502, "{target}: {}", reply.all());
            bodies.push(reply.body);
        }
        bodies.dedup();
        assert_eq!(bodies.len(), 1);
        assert_eq!(world.get("/fhir/metadata", "").await.status, 502);
        world.finish().await;
    });
}

#[test]
fn more_requests_than_the_upstream_may_have_are_told_to_come_again() {
    let settings = Settings { fhir: "timeout = \"3s\"\nconcurrency = 1".to_owned(), ..Default::default() };
    run(async {
        let world = World::with(settings).await;
        let a = world.token_a();
        world.upstream.answer(|_| Answer::Hang);
        let (first, second) =
            tokio::join!(world.get("/fhir/Observation/o1", &a), world.get("/fhir/Observation/o1", &a));
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [503, 504]);
        let busy = if first.status == 503 { &first } else { &second };
        assert!(!busy.header("retry-after").is_empty());
        world.upstream.answer(|_| Answer::Honest);
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn what_one_decision_needs_to_know_does_not_take_all_turns() {
    let settings = Settings { fhir: "timeout = \"1s\"".to_owned(), ..Default::default() };
    run(async {
        let world = World::with(settings).await;
        let c = world.token(&Grant::patient("patient/*.cruds", "P1"));
        let content: Vec<_> =
            (0..50).map(|number| serde_json::json!({"attachment": {"url": format!("Binary/b{number}")}})).collect();
        let document = serde_json::json!({"resourceType": "DocumentReference", "status": "current",
            "subject": {"reference": "Patient/P1"}, "content": content});
        world.upstream.answer(|_| Answer::Hang);
        asked(&world);
        let json = "Content-Type: application/fhir+json";
        let reply = world.send("POST /fhir/DocumentReference", &c, &[json], &document.to_string()).await;
        assert_eq!((reply.status, asked(&world).len()), (504, 16), "{}", reply.all());
        world.finish().await;
    });
}

#[test]
fn case_193_the_capability_statement_is_ours() {
    run(async {
        let world = World::new().await;
        let reply = world.get("/fhir/metadata", "").await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        let statement = reply.json();
        assert_eq!(statement["resourceType"], "CapabilityStatement");
        for absent in ["_content", "OperationDefinition/CANARY", "xml", "multiple", "Subscription"] {
            assert!(!reply.text().contains(absent), "{absent}: {}", reply.text());
        }
        let rest = &statement["rest"][0];
        assert_eq!(rest["interaction"], serde_json::json!([{"code": "transaction"}, {"code": "batch"}]));
        for (number, served) in
            [&["delete", "patch", "read", "search-type", "update"][..], &["create", "history-instance", "read"]]
                .iter()
                .enumerate()
        {
            let interactions = rest["resource"][number]["interaction"].as_array().unwrap();
            let mut codes: Vec<&str> = interactions.iter().map(|one| one["code"].as_str().unwrap()).collect();
            codes.sort_unstable();
            assert_eq!(codes, *served);
        }
        assert_eq!(rest["resource"][0]["conditionalDelete"], "single");
        assert!(reply.text().contains("https://gw.example.org/authorize"));
        assert_eq!(world.get("/fhir/metadata?_format=xml", "").await.status, 406);
        assert_eq!(world.get("/fhir/metadata?_getpages=1", "").await.status, 400);
        assert_eq!(world.get("/fhir/.well-known/../Patient", "").await.status, 400);
        let head = world.send("HEAD /fhir/metadata", "", &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(asked(&world), ["GET metadata"], "asked once, by the gateway's own credential");
        let well_known = world.get("/fhir/.well-known/smart-configuration", "").await;
        assert_eq!(well_known.json()["token_endpoint"], "https://gw.example.org/token");
        world.finish().await;
    });
}

#[test]
fn case_197_answers_are_for_one_client_alone() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for target in ["/fhir/Observation/o1", "/fhir/Observation?_id=o1", "/fhir/Observation/o1?_elements=code"] {
            let reply = world.get(target, &a).await;
            assert_eq!(reply.header("cache-control"), "private, no-store", "{target}");
            let vary: Vec<_> =
                reply.headers.iter().filter(|(name, _)| name == "vary").map(|(_, value)| value.as_str()).collect();
            assert!(vary.join(", ").contains("Authorization"), "{target}: {vary:?}");
        }
        for target in ["/fhir/Observation/o2", "/fhir/Group/g1", "/fhir/Observation?x=1"] {
            assert_eq!(world.get(target, &a).await.header("cache-control"), "no-store", "{target}");
        }
        assert_absent(&world, &a, "/fhir/Observation/o2").await;
        world.finish().await;
    });
}
