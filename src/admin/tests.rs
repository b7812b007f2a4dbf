#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::listen::Drain;

struct Served {
    address: SocketAddr,
    drain: Drain,
    audit: Arc<AtomicBool>,
    metrics: Metrics,
    stop: CancellationToken,
}

async fn served() -> Served {
    let (drain, audit, metrics) = (Drain::default(), Arc::new(AtomicBool::new(true)), Metrics::new());
    let healthy = Arc::clone(&audit);
    let readiness = Readiness::new(drain.clone()).check("audit", move || {
        if healthy.load(Ordering::Relaxed) { Ok(()) } else { Err("the log cannot be written") }
    });
    let admin = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (address, stop) = (admin.address().unwrap(), CancellationToken::new());
    tokio::spawn(admin.serve(metrics.clone(), readiness, stop.clone()));
    Served { address, drain, audit, metrics, stop }
}

impl Served {
    async fn ask(&self, line: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn a_process_that_leaves_is_alive_and_not_ready() {
    let served = served().await;
    assert!(served.ask("GET /readyz").await.starts_with("HTTP/1.1 200"));
    served.drain.begin(Duration::ZERO).await;
    let answer = served.ask("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("leaving"), "{answer}");
    assert!(served.ask("GET /livez").await.starts_with("HTTP/1.1 200"));
    served.stop.cancel();
}

#[tokio::test]
async fn a_failing_check_is_named_with_its_reason_and_forgotten_when_it_passes() {
    let served = served().await;
    served.audit.store(false, Ordering::Relaxed);
    let answer = served.ask("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("audit: the log cannot be written\n"), "{answer}");
    served.audit.store(true, Ordering::Relaxed);
    assert!(served.ask("GET /readyz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn only_the_three_pages_are_served_and_only_read() {
    let served = served().await;
    assert!(served.ask("GET /").await.starts_with("HTTP/1.1 404"));
    assert!(served.ask("GET /fhir/Patient/P1").await.starts_with("HTTP/1.1 404"));
    let refused = served.ask("POST /metrics").await;
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("allow: GET, HEAD\r\n"), "{refused}");
    for page in ["/livez", "/readyz", "/metrics", "/"] {
        let answer = served.ask(&format!("GET {page}")).await;
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn when_all_connections_are_taken_one_more_is_closed_and_one_that_ends_makes_room() {
    let served = served().await;
    let mut taken = Vec::new();
    for _ in 0..CONNECTIONS {
        taken.push(TcpStream::connect(served.address).await.unwrap());
    }
    let mut one_more = TcpStream::connect(served.address).await.unwrap();
    let closed = timeout(HEAD, one_more.read(&mut [0])).await.unwrap();
    assert!(!closed.is_ok_and(|bytes| bytes > 0), "nothing is answered");
    drop(taken);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    while stream.write_all(b"GET /livez HTTP/1.1\r\nHost: admin\r\n\r\n").await.is_err()
        || stream.read(&mut [0; 8]).await.is_ok_and(|bytes| bytes == 0)
    {
        stream = TcpStream::connect(served.address).await.unwrap();
    }
}

#[tokio::test]
async fn a_head_that_is_slow_or_long_is_not_waited_for() {
    let served = served().await;
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.unwrap();
    for (length, status) in [(7 * 1024, "200"), (9 * 1024, "431"), (64 * 1024, "431")] {
        let long = served.ask(&format!("GET /livez HTTP/1.1\r\nX-Long: {}\r\nX-End: ", "x".repeat(length))).await;
        assert!(long.starts_with(&format!("HTTP/1.1 {status}")), "{length}: {long}");
    }
    let closed = timeout(HEAD * 3, slow.read(&mut [0])).await;
    assert!(closed.is_ok_and(|read| read.is_ok_and(|bytes| bytes == 0)), "it is closed, and nothing answered");
}

#[tokio::test]
async fn the_listener_ends_when_it_is_told() {
    let (metrics, readiness) = (Metrics::new(), Readiness::new(Drain::default()));
    let admin = Admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let (address, stop) = (admin.address().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(admin.serve(metrics, readiness, stop.clone()));
    drop(TcpStream::connect(address).await.unwrap());
    stop.cancel();
    timeout(HEAD, serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_metrics_are_openmetrics_text_with_our_prefix() {
    let served = served().await;
    served.metrics.request(Route::Fhir, Some(&Method::GET), StatusCode::OK, Duration::from_millis(3));
    served.metrics.refused("scope_insufficient");
    served.metrics.permitted();
    served.metrics.token_failure("invalid_grant");
    served.metrics.upstream(Duration::from_millis(2));
    served.metrics.request(Route::Token, Some(&Method::POST), StatusCode::FOUND, Duration::from_millis(3));
    served.metrics.request(Route::Token, Some(&Method::POST), StatusCode::NOT_FOUND, Duration::from_millis(3));
    served.metrics.request(Route::Token, Some(&Method::POST), StatusCode::BAD_GATEWAY, Duration::from_millis(3));
    served.metrics.request(Route::Demo, Some(&Method::OPTIONS), StatusCode::OK, Duration::ZERO);
    served.metrics.request(Route::Unreadable, None, StatusCode::BAD_REQUEST, Duration::ZERO);
    let answer = served.ask("GET /metrics").await;
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    for line in [
        "firebreak_requests_total{route=\"fhir\",method=\"GET\",code_class=\"2xx\"} 1",
        "firebreak_requests_total{route=\"token\",method=\"POST\",code_class=\"3xx\"} 1",
        "firebreak_requests_total{route=\"token\",method=\"POST\",code_class=\"4xx\"} 1",
        "firebreak_requests_total{route=\"token\",method=\"POST\",code_class=\"5xx\"} 1",
        "firebreak_request_duration_seconds_bucket{le=\"0.005\",route=\"fhir\"} 1",
        "firebreak_requests_total{route=\"demo\",method=\"OPTIONS\",code_class=\"2xx\"} 1",
        "firebreak_requests_total{route=\"unreadable\",method=\"other\",code_class=\"4xx\"} 1",
        "firebreak_upstream_duration_seconds_count 1",
        "firebreak_authz_decisions_total{decision=\"deny\",reason=\"scope_insufficient\"} 1",
        "firebreak_authz_decisions_total{decision=\"permit\",reason=\"permitted\"} 1",
        "firebreak_token_failures_total{error=\"invalid_grant\"} 1",
        "firebreak_build_info{version=",
        "# EOF",
    ] {
        assert!(answer.contains(line), "{line}\n{answer}");
    }
}

#[test]
fn the_number_of_series_does_not_grow_with_what_arrives() {
    let metrics = Metrics::new();
    let series = |metrics: &Metrics| metrics.text().unwrap().lines().filter(|line| !line.starts_with('#')).count();
    let mut before = 0;
    for round in 0..2_000_u16 {
        let method = Method::from_bytes(format!("M{round}").as_bytes()).unwrap();
        let status = StatusCode::from_u16(100 + round % 500).unwrap();
        metrics.request(Route::Other, Some(&method), status, Duration::from_millis(u64::from(round)));
        if round == 500 {
            before = series(&metrics);
        }
    }
    assert_eq!(series(&metrics), before);
}
