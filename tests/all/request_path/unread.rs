//! What the listener refuses before anybody reads it: how it is answered, and how it is counted.

use firebreak::audit::EventKind;

use crate::world::{Settings, World, run};

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
        assert_eq!(
            sum(world.operator("/metrics").await.text(), "firebreak_requests_total", &["route=\"unreadable\""]),
            6
        );
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

/// 64 MiB are for one address.
#[test]
fn a_body_for_which_there_is_no_room_is_told_to_come_again() {
    run(async {
        const LARGE: usize = 16 * 1024 * 1024;
        let sections = format!("body_bytes = {LARGE}\nbody_timeout = \"120s\"\n");
        let world = World::with(Settings { sections, ..Default::default() }).await;
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let mut connection = world.connect().await;
            let head = format!("POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
            connection.send(&[head.as_bytes(), &vec![b' '; LARGE - 1]].concat()).await;
            waiting.push(connection);
        }
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(100);
        let reply = loop {
            // Until all was read of what the others sent. A busy disk has a 503 of its own.
            let reply = world.send("POST /fhir/Observation", "", &[], "{\"a\":1}").await;
            if reply.text().contains("no room for this body") {
                break reply;
            }
            assert!(tokio::time::Instant::now() < until, "there is room: {}", reply.all());
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        };
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"), "{}", reply.all());
        assert_eq!(reply.json()["issue"][0]["code"], "transient");
        drop(waiting);
        let records = world.finish().await;
        assert!(records.iter().any(|entry| entry.record.reason.as_deref() == Some("no_room_for_body")));
    });
}
