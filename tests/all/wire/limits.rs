//! Clients that send too much, too slowly, or do not read.

use std::time::Duration;

use firebreak::config::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::harness::{BIG, MEDIUM, PATIENCE, Served, limits, patient};

#[tokio::test]
async fn a_head_above_the_limit_is_answered_431() {
    let served = Served::plain(patient()).await;
    for head in [
        format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000)),
        format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(9000)),
        format!("GET /a HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(101)),
    ] {
        let mut client = served.connect().await;
        client.send(&head).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?} to {} bytes", head.len());
    }
    assert!(served.seen().is_empty());
}

#[tokio::test]
async fn a_head_of_just_the_limit_and_one_of_a_hundred_fields_are_served() {
    let served = Served::plain(patient()).await;
    let around = "GET /a HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    for fields in [format!("X: {}\r\n", "x".repeat(limits().header_bytes - around)), "A: b\r\n".repeat(99)] {
        let mut client = served.connect().await;
        client.send(format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        assert_eq!(client.response().await.1, "GET /a 0");
    }
}

/// Else everybody who goes away leaves a request that is worked on for nobody.
#[tokio::test]
async fn a_client_that_closes_its_side_is_taken_for_gone() {
    let served = Served::plain(patient()).await;
    let mut client = served.connect().await;
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.seen_times(1).await;
    client.0.shutdown().await.unwrap();
    served.all_closed().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_declared_body_above_the_limit_is_answered_413_before_it_is_sent() {
    let served = Served::plain(patient()).await;
    let mut client = served.connect().await;
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n").await;
    let (head, body) = client.response().await;
    assert!(head.starts_with("http/1.1 413") && head.contains("connection: close"), "{head}");
    assert_eq!(body, "BodyTooLarge");
    drop(client);
    let mut client = served.connect().await;
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n").await;
    client.send(vec![b'x'; 65536]).await;
    assert_eq!(client.response().await.1, "POST /a 65536");
}

#[tokio::test]
async fn a_chunked_body_above_the_limit_is_answered_413() {
    let served = Served::plain(patient()).await;
    let mut client = served.connect().await;
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()].concat();
    for _ in 0..5 {
        client.send(&chunk).await;
    }
    let (head, body) = client.response().await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
    assert_eq!(body, "BodyTooLarge");
    assert!(served.seen().is_empty());
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_ends_the_connection() {
    let served = Served::plain(limits()).await;
    let begun = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(served.connect().await.0);
    let dripping = tokio::spawn(async move {
        // Each byte would renew a deadline that counted from the last byte.
        for byte in b"GET /a HTTP/1.1\r\nHost: a\r\nX: ".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    served.all_closed().await;
    dripping.abort();
}

#[tokio::test]
async fn empty_lines_without_end_do_not_hold_a_connection() {
    let served = Served::plain(limits()).await;
    let mut client = served.connect().await;
    let begun = Instant::now();
    while client.0.write_all(&b"\r\n".repeat(500)).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "still served after {:?}", begun.elapsed());
    }
    served.all_closed().await;
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_answered_408() {
    let served = Served::plain(limits()).await;
    let mut client = served.connect().await;
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel").await;
    let (head, body) = client.response().await;
    assert!(head.starts_with("http/1.1 408") && head.contains("connection: close"), "{head}");
    assert_eq!(body, "BodyTimeout");
    served.all_closed().await;
}

/// A quarter of 256 MiB is for one address.
#[tokio::test]
async fn bodies_hold_their_room_until_they_are_answered() {
    let body = vec![b'x'; 16 * 1024 * 1024];
    let served = Served::plain(Limits { body_bytes: body.len(), ..patient() }).await;
    let head = |length: usize| format!("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let mut waiting = Vec::new();
    for count in 1..=4 {
        let mut client = served.connect().await;
        client.send(head(body.len())).await;
        client.send(&body).await;
        served.seen_times(count).await;
        waiting.push(client);
    }
    let mut more = served.connect().await;
    more.send(head(1)).await;
    more.send("x").await;
    let (answer, problem) = more.response().await;
    assert!(answer.starts_with("http/1.1 503") && answer.contains("connection: close"), "{answer}");
    assert_eq!(problem, "NoRoom");
    served.gate.cancel();
    for client in &mut waiting {
        assert!(client.response().await.0.starts_with("http/1.1 200"));
    }
    let mut again = served.connect().await;
    again.send(head(1)).await;
    again.send("x").await;
    assert_eq!(again.response().await.1, "POST /slow 1");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_served() {
    let served = Served::plain(patient()).await;
    let mut client = served.connect().await;
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel").await;
    client.0.shutdown().await.unwrap();
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(served.seen().is_empty());
    served.all_closed().await;
}

#[tokio::test]
async fn an_idle_connection_ends_after_the_time_between_requests() {
    let served = Served::plain(limits()).await;
    let mut client = served.connect().await;
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.response().await;
    assert_eq!(client.rest().await, "");
    let mut never_spoke = served.connect().await;
    never_spoke.rest().await;
    served.all_closed().await;
}

/// A connection whose receive buffer is so small that the server soon cannot write.
async fn narrow(served: &Served) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(served.address).await.unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let served = Served::plain(limits()).await;
    let mut client = narrow(&served).await;
    client.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    served.seen_times(1).await;
    served.all_closed().await;
    let mut taken = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, client.read_to_end(&mut taken)).await.unwrap();
    assert!(taken.len() < BIG, "{} bytes", taken.len());
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_its_whole_answer() {
    let slow = Limits { body_timeout: PATIENCE, header_timeout: Duration::from_millis(300), ..limits() };
    let served = Served::plain(slow).await;
    let mut client = narrow(&served).await;
    client.write_all(b"GET /medium HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut taken = Vec::new();
    // Longer than the time between requests, which must not begin before the answer is taken.
    let mut buffer = vec![0; 16 * 1024];
    while taken.len() < MEDIUM {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let size = tokio::time::timeout(PATIENCE, client.read(&mut buffer)).await.unwrap().unwrap();
        assert!(size > 0, "cut off after {} bytes", taken.len());
        taken.extend_from_slice(&buffer[..size]);
    }
}

#[tokio::test]
async fn one_address_has_a_bounded_number_of_connections_and_gets_them_back() {
    let served = Served::plain(Limits { connections_per_address: 3, ..patient() }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = served.connect().await;
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.response().await;
        held.push(client);
    }
    let mut refused = served.connect().await;
    refused.send("GET /refused HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(refused.rest().await, "");
    held.pop();
    served.until("free connection", || served.open.count() == 2).await;
    let mut again = served.connect().await;
    again.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(again.response().await.1, "GET /again 0");
    assert!(!served.seen().iter().any(|request| request.contains("refused")));
}

#[tokio::test]
async fn beyond_the_connections_of_the_process_clients_wait_and_are_served() {
    let served = Served::plain(Limits { connections: 2, ..patient() }).await;
    let (first, mut second) = (served.connect().await, served.connect().await);
    second.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    second.response().await;
    let mut waiting = served.connect().await;
    waiting.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Long enough for a connection that is not held back.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((served.open.count(), served.seen().len()), (2, 1));
    drop(first);
    assert_eq!(waiting.response().await.1, "GET /waiting 0");
}
