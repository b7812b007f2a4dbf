//! The graceful end: what was accepted is answered, what is idle is closed, and nothing new comes in.

use std::io::ErrorKind;
use std::time::Duration;

use firebreak::config::Limits;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::harness::{PATIENCE, Served, patient};

#[tokio::test]
async fn requests_in_flight_finish_and_idle_connections_close() {
    let served = Served::plain(patient()).await;
    let (mut busy, mut idle) = (served.connect().await, served.connect().await);
    idle.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.response().await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen_times(2).await;
    served.drain.begin(Duration::ZERO).await;
    assert_eq!(idle.rest().await, "", "an idle connection closes at once");
    let refused = || {
        // A socket that nobody accepts from takes connections until its queue is full, and then lets them wait.
        let connected = std::net::TcpStream::connect_timeout(&served.address, Duration::from_secs(1));
        connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    served.until("refused connection", refused).await;
    assert!(!served.done.is_finished(), "the request is still under way");
    served.gate.cancel();
    let (head, body) = busy.response().await;
    assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
    assert_eq!(body, "GET /slow 0");
    timeout(PATIENCE, served.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn new_connections_are_served_while_the_process_only_says_that_it_leaves() {
    let served = Served::plain(patient()).await;
    let drain = served.drain.clone();
    let leaving = tokio::spawn(async move { drain.begin(PATIENCE).await });
    served.until("leaving", || served.drain.is_leaving()).await;
    let mut client = served.connect().await;
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response().await.1, "GET /a 0");
    leaving.abort();
}

#[tokio::test]
async fn a_connection_that_has_not_asked_yet_is_still_served_once() {
    let served = Served::tls(patient()).await;
    let mut fresh = served.connect_tls(&["http/1.1"]).await;
    served.until("open connection", || served.open.count() == 1).await;
    served.drain.begin(Duration::ZERO).await;
    fresh.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(fresh.response().await.1, "GET /a 0");
    fresh.rest().await;
    timeout(PATIENCE, served.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_that_outlast_the_grace_are_cut() {
    let grace = Duration::from_millis(300);
    let served = Served::plain_with_grace(patient(), grace).await;
    let mut stuck = served.connect().await;
    stuck.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen_times(1).await;
    let begun = Instant::now();
    served.drain.begin(Duration::ZERO).await;
    timeout(PATIENCE, served.done).await.unwrap().unwrap();
    assert!(begun.elapsed() >= grace);
    assert!(!stuck.rest().await.contains("200"));
    assert_eq!(served.open.count(), 0);
}

#[tokio::test]
async fn a_process_that_is_full_stops_accepting_too() {
    let served = Served::plain_with_grace(Limits { connections: 1, ..patient() }, Duration::from_millis(300)).await;
    let mut stuck = served.connect().await;
    stuck.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen_times(1).await;
    served.drain.begin(Duration::ZERO).await;
    assert!(timeout(Duration::from_secs(5), served.done).await.is_ok(), "it waits for a connection to end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_was_sent_before_the_end_goes_unanswered() {
    let served = Served::tls(patient()).await;
    let mut clients: Vec<_> = Vec::new();
    for _ in 0..20 {
        clients.push(served.connect_tls(&["http/1.1"]).await);
    }
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    served.seen_times(20).await;
    served.drain.begin(Duration::ZERO).await;
    served.gate.cancel();
    for mut client in clients {
        assert_eq!(client.response().await.1, "GET /slow 0");
    }
    timeout(PATIENCE, served.done).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
