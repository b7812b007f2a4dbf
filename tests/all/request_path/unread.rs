//! What the listener refuses before anybody reads it: how it is answered, and how it is counted; and what else is counted.

use firebreak::audit::EventKind;

use crate::world::client::Connection;
use crate::world::{Settings, World, run};

/// What the admin listener tells.
async fn metrics(world: &World) -> String {
    let mut scraper = Connection::open(world.admin.unwrap(), None).await;
    let told = scraper.exchange(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false).await;
    told.text().to_owned()
}

/// The sum of the lines that begin so and have these labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> u64 {
    let lines =
        metrics.lines().filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn admin() -> String {
    "admin = \"127.0.0.1:0\"".to_owned()
}

#[test]
fn what_could_not_be_read_is_answered_in_fhir_and_counted_by_reason() {
    run(async {
        // Stands below [limits].
        let sections = "body_bytes = 1024\nbody_timeout = \"300ms\"\n".to_owned();
        let world = World::with(Settings { sections, server: admin(), ..Default::default() }).await;
        let long = format!("GET /fhir/Patient/P1 HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(300_000));
        let post = "POST /fhir/Observation HTTP/1.1\r\nHost: a\r\n";
        let cases = [
            ("GET /fhir/Patient/P1 HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n".to_owned(), 400, "invalid", "head_unclear"),
            (long, 431, "too-long", "head_too_large"),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "invalid", "target_not_ours"),
            (format!("{post}Content-Length: 1025\r\n\r\n"), 413, "too-long", "request_too_large"),
            (format!("{post}Content-Length: 10\r\n\r\nhel"), 408, "invalid", "body_timeout"),
            (format!("{post}Transfer-Encoding: chunked\r\n\r\n5;x\r\n"), 400, "invalid", "body_broken"),
        ];
        for (wire, status, code, reason) in &cases {
            let mut connection = world.connect().await;
            let reply = connection.exchange(wire.as_bytes(), false).await;
            assert_eq!(reply.status, *status, "{reason}: {}", reply.all());
            assert_eq!(reply.json()["issue"][0]["code"], *code, "{reason}");
            assert_eq!(reply.header("content-type"), "application/fhir+json", "{reason}");
            assert_eq!((reply.header("cache-control"), reply.header("connection")), ("no-store", "close"), "{reason}");
            assert!(!reply.header("x-request-id").is_empty(), "{reason}");
        }
        let nowhere = world.get("/elsewhere", "").await;
        assert_eq!(nowhere.status, 404);
        assert!(nowhere.text().contains(crate::world::BASE), "it says where FHIR is: {}", nowhere.text());
        assert_eq!(sum(&metrics(&world).await, "firebreak_requests_total", &["route=\"unreadable\""]), 6);
        let records = world.finish().await;
        let counted = records.iter().filter(|entry| entry.record.kind == EventKind::Refusals);
        let mut counted: Vec<_> =
            counted.map(|entry| (entry.record.reason.as_deref().unwrap(), entry.record.count)).collect();
        counted.sort_unstable();
        let mut expected: Vec<_> = cases.iter().map(|(.., reason)| (*reason, Some(1))).collect();
        expected.push(("path_unknown", Some(1)));
        expected.sort_unstable();
        assert_eq!(counted, expected);
    });
}

#[test]
fn requests_decisions_records_and_the_upstream_are_counted() {
    run(async {
        let world = World::with(Settings { server: admin(), ..Default::default() }).await;
        let a = world.token_a();
        for (line, token, route) in [
            ("GET /fhir/Observation/o1", &*a, "fhir"),
            ("GET /fhir/Observation/o1", "", "fhir"),
            ("GET /fhir/metadata", "", "metadata"),
            ("GET /fhir/.well-known/smart-configuration", "", "discovery"),
            ("GET /jwks", "", "keys"),
            ("GET /authorize", "", "authorize"),
            ("POST /token", "", "token"),
            ("POST /introspect", "", "introspect"),
            ("POST /revoke", "", "revoke"),
            ("POST /launch-contexts", "", "launch"),
            ("GET /manage", "", "manage"),
            ("GET /elsewhere", "", "other"),
            ("GET /fhirX/Observation", "", "other"),
        ] {
            let label = format!("route=\"{route}\"");
            let before = sum(&metrics(&world).await, "firebreak_requests_total", &[&label]);
            let request = crate::world::request(line, token, &[], "", "");
            world.connect().await.exchange(request.as_bytes(), false).await;
            assert_eq!(sum(&metrics(&world).await, "firebreak_requests_total", &[&label]), before + 1, "{line}");
        }
        let batch = r#"{"resourceType":"Bundle","type":"batch","entry":[
            {"request":{"method":"GET","url":"Observation/o1"}},{"request":{"method":"GET","url":"Practitioner?name=x"}}]}"#;
        let before = metrics(&world).await;
        let sent = world.send("POST /fhir", &a, &["Content-Type: application/fhir+json"], batch).await;
        assert_eq!(sent.status, 200, "{}", sent.all());
        let after = metrics(&world).await;
        let more = |name: &str, labels: &[&str]| sum(&after, name, labels) - sum(&before, name, labels);
        assert_eq!(more("firebreak_authz_decisions_total", &["decision=\"permit\""]), 2, "the whole and an entry");
        assert_eq!(more("firebreak_authz_decisions_total", &["decision=\"deny\""]), 1);
        assert_eq!(more("firebreak_audit_records_total", &[]), 3);
        assert_eq!(more("firebreak_upstream_duration_seconds_count", &[]), 1);
        let missing = &["decision=\"deny\"", "reason=\"token_missing\""];
        assert_eq!(sum(&after, "firebreak_authz_decisions_total", missing), 1);
        world.finish().await;
    });
}

/// 64 MiB are for one address.
#[test]
fn a_body_for_which_there_is_no_room_is_told_to_come_again() {
    run(async {
        const LARGE: usize = 16 * 1024 * 1024;
        let sections = format!("body_bytes = {LARGE}\n");
        let world = World::with(Settings { sections, ..Default::default() }).await;
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let mut connection = world.connect().await;
            let head = format!("POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
            connection.send(&[head.as_bytes(), &vec![b' '; LARGE - 1]].concat()).await;
            waiting.push(connection);
        }
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(15);
        let reply = loop {
            // Until all was read of what the others sent.
            let reply = world.send("POST /fhir/Observation", "", &[], "{\"a\":1}").await;
            if reply.status != 401 && reply.status != 415 {
                break reply;
            }
            assert!(tokio::time::Instant::now() < until, "there is room: {}", reply.all());
        };
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"), "{}", reply.all());
        assert_eq!(reply.json()["issue"][0]["code"], "transient");
        assert!(reply.text().contains("no room for this body"), "{}", reply.all());
        drop(waiting);
        let records = world.finish().await;
        assert!(records.iter().any(|entry| entry.record.reason.as_deref() == Some("no_room_for_body")));
    });
}
