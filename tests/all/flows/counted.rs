//! The metrics tell what happened: what the clients were answered, and what the log records of it.

use super::*;
use crate::world::{Settings, World, audit_lines, run};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

async fn metrics(world: &World) -> String {
    world.operator("/metrics").await.text().to_owned()
}

/// The number behind a series; 0 when there is none.
fn count(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().unwrap())
}

async fn counting() -> World {
    World::with(Settings { server: "admin = \"127.0.0.1:0\"".to_owned(), ..settings() }).await
}

#[test]
fn each_request_is_counted_under_the_part_that_answered_it() {
    run(async {
        let world = counting().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let access = text(&given, "access_token");
        let before = metrics(&world).await;
        for (route, method, class, line, token, body) in [
            ("fhir", "GET", "2xx", "GET /fhir/Observation/o1", access, ""),
            ("fhir", "GET", "4xx", "GET /fhir/Observation/o2", access, ""),
            ("metadata", "GET", "2xx", "GET /fhir/metadata", "", ""),
            ("discovery", "GET", "2xx", "GET /fhir/.well-known/smart-configuration", "", ""),
            ("keys", "GET", "2xx", "GET /jwks", "", ""),
            ("token", "POST", "4xx", "POST /token", "", "grant_type=x"),
            ("introspect", "POST", "4xx", "POST /introspect", "", "token=x"),
            ("introspect", "GET", "2xx", "GET /userinfo", access, ""),
            ("revoke", "POST", "2xx", "POST /revoke", "", "token=x&client_id=app"),
            ("launch", "POST", "4xx", "POST /launch-contexts", "", "{}"),
            ("authorize", "GET", "4xx", "GET /authorize", "", ""),
            ("manage", "GET", "2xx", "GET /manage", "", ""),
            ("register", "POST", "4xx", "POST /register", "", "{}"),
            ("register", "GET", "4xx", "GET /register/app", "", ""),
            ("logout", "GET", "2xx", "GET /logout", "", ""),
            ("logout", "POST", "4xx", "POST /logout/back-channel/x", "", "{}"),
            ("other", "GET", "4xx", "GET /nothing", "", ""),
            ("other", "GET", "4xx", "GET /fhirX/Observation", "", ""),
            ("fhir", "GET", "4xx", "GET /fhir/Observation/o1", "", ""),
        ] {
            let headers = if body.is_empty() { [].as_slice() } else { &[FORM] };
            let reply = world.send(line, token, headers, body).await;
            let after = metrics(&world).await;
            let series =
                format!("firebreak_requests_total{{route=\"{route}\",method=\"{method}\",code_class=\"{class}\"}}");
            let expected = count(&before, &series) + 1;
            assert!(count(&after, &series) >= expected, "{line} was answered {}: {series} in {after}", reply.status);
            let duration = format!("firebreak_request_duration_seconds_count{{route=\"{route}\"}}");
            assert!(count(&after, &duration) > count(&before, &duration), "{duration} in {after}");
        }
        let missing = "firebreak_authz_decisions_total{decision=\"deny\",reason=\"token_missing\"}";
        assert_eq!(count(&metrics(&world).await, missing), 1);
        world.finish().await;
    });
}

#[test]
fn each_refusal_of_the_token_endpoint_is_counted_by_its_error() {
    run(async {
        let world = counting().await;
        let wrong = exchange("BAD_CODE");
        assert_eq!(refusal(&token(&world, &wrong, &[]).await), refused(400, "invalid_grant"));
        assert_eq!(refusal(&token(&world, &wrong, &[]).await), refused(400, "invalid_grant"));
        let unknown = [("grant_type", "password"), ("client_id", "app")];
        assert_eq!(refusal(&token(&world, &unknown, &[]).await), refused(400, "unsupported_grant_type"));
        tokens(&world, "pat", SCOPE).await;
        let told = metrics(&world).await;
        assert_eq!(count(&told, "firebreak_token_failures_total{error=\"invalid_grant\"}"), 2, "{told}");
        assert_eq!(count(&told, "firebreak_token_failures_total{error=\"unsupported_grant_type\"}"), 1, "{told}");
        assert_eq!(told.matches("firebreak_token_failures_total{").count(), 2, "{told}");
        world.finish().await;
    });
}

#[test]
fn each_record_of_the_log_is_counted_whatever_it_tells() {
    run(async {
        let world = counting().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let access = text(&given, "access_token");
        assert_eq!(world.get("/fhir/Observation/o1", access).await.status, 200);
        assert_eq!(world.get("/fhir/Observation/o2", access).await.status, 404);
        let told = metrics(&world).await;
        let records = audit_lines(&world.audit_directory()).len() as u64;
        assert!(records > 5, "a start, a login, a consent, a token, two reads");
        assert_eq!(count(&told, "firebreak_audit_records_total"), records, "{told}");
        assert_eq!(count(&told, "firebreak_authz_decisions_total{decision=\"permit\",reason=\"permitted\"}"), 1);
        let denied = "firebreak_authz_decisions_total{decision=\"deny\",reason=\"not_found_or_hidden\"}";
        assert_eq!(count(&told, denied), 1, "{told}");
        assert!(count(&told, "firebreak_upstream_duration_seconds_count") >= 1, "{told}");
        world.finish().await;
    });
}

#[test]
fn each_entry_of_a_batch_is_a_decision_of_its_own() {
    run(async {
        let world = counting().await;
        let token = world.token_a();
        let entry = |id: &str| serde_json::json!({"request": {"method": "GET", "url": format!("Observation/{id}")}});
        let entries = [entry("o1"), entry("o1"), entry("o2")];
        let bundle = serde_json::json!({"resourceType": "Bundle", "type": "batch", "entry": entries}).to_string();
        let permitted = "firebreak_authz_decisions_total{decision=\"permit\",reason=\"permitted\"}";
        let denied = "firebreak_authz_decisions_total{decision=\"deny\",reason=\"not_found_or_hidden\"}";
        let records = "firebreak_audit_records_total";
        let before = count(&metrics(&world).await, records);
        let reply = world.send("POST /fhir", &token, &["Content-Type: application/fhir+json"], &bundle).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        let told = metrics(&world).await;
        assert_eq!((count(&told, permitted), count(&told, denied)), (3, 1), "with the whole: {told}");
        assert_eq!(count(&told, records), before + 4, "with the whole: {told}");
        world.finish().await;
    });
}

#[test]
fn connections_are_counted_while_they_are_open_and_what_cannot_be_read_as_such() {
    run(async {
        let world = counting().await;
        let open = async || count(&metrics(&world).await, "firebreak_connections_open");
        assert_eq!(open().await, 0);
        let mut connections = [world.connect().await, world.connect().await];
        for connection in &mut connections {
            let reply = connection.exchange(b"GET /jwks HTTP/1.1\r\nHost: gw.example.org\r\n\r\n", false).await;
            assert_eq!(reply.status, 200);
        }
        assert_eq!(open().await, 2);
        drop(connections);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(10), async {
            while open().await > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        });
        ended.await.unwrap();
        let unreadable = b"GET /jwks HTTP/1.1\r\nHost: gw.example.org\r\nHost: other.example.org\r\n\r\n";
        assert_eq!(world.connect().await.exchange(unreadable, false).await.status, 400);
        let told = metrics(&world).await;
        let series = "firebreak_requests_total{route=\"unreadable\",method=\"other\",code_class=\"4xx\"}";
        assert_eq!(count(&told, series), 1, "{told}");
        world.finish().await;
    });
}
