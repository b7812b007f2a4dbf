//! HTTP/2 frames by hand: what no client library would send. RFC 9113 sections 3.4, 5.1.2, 6.5, 6.9, 8.2, 8.3.

use std::time::Duration;

use firebreak::config::Limits;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use super::harness::{PATIENCE, Raw, Served, limits, patient};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One frame: type, flags, stream, payload.
#[derive(Debug)]
struct Frame(u8, u8, u32, Vec<u8>);

struct Client(Raw<TlsStream<TcpStream>>);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals without indexing and without Huffman coding (RFC 7541 section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
}

impl Client {
    /// A connection with the preface and these settings sent.
    async fn connect(served: &Served, settings: &[u8]) -> Self {
        let mut raw = served.connect_tls(&["h2"]).await;
        assert_eq!(raw.0.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await;
        Self(raw)
    }

    async fn ask(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.0.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields))).await;
    }

    /// The next frame; `None` when the connection ended.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        timeout(PATIENCE, self.0.0.read_exact(&mut head)).await.unwrap().ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.0.read_exact(&mut payload).await.ok()?;
        Some(Frame(kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// The next frame of this type.
    async fn frame_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            match self.frame().await {
                Some(frame) if frame.0 == kind => return Some(frame),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Whether the stream was answered with 200: the indexed field 8 of the static table, which comes first (RFC 9113 section
    /// 8.3); further on any byte can stand, as in a request id.
    async fn answered_200(&mut self, stream: u32) -> bool {
        loop {
            match self.frame().await {
                Some(Frame(HEADERS, _, of, payload)) if of == stream => return payload.first() == Some(&0x88),
                Some(Frame(RST_STREAM, _, of, _)) if of == stream => return false,
                Some(Frame(GOAWAY, ..)) | None => return false,
                Some(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn a_request_in_http2_is_answered() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    client.ask(1, &get("/a")).await;
    assert!(client.answered_200(1).await);
    assert_eq!(served.seen(), ["GET /a 0"]);
}

#[tokio::test]
async fn a_client_that_never_sends_its_preface_is_closed_within_the_head_timeout() {
    let served = Served::tls(limits()).await;
    for begin in [&b""[..], b"PRI * HTTP/2.0\r\n"] {
        let mut raw = served.connect_tls(&["h2"]).await;
        let begun = Instant::now();
        raw.send(begin).await;
        raw.rest().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    served.all_closed().await;
}

#[tokio::test]
async fn a_client_that_sends_its_preface_and_no_request_is_closed() {
    let served = Served::tls(limits()).await;
    let mut client = Client::connect(&served, &[]).await;
    while client.frame().await.is_some() {}
    served.all_closed().await;
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_told_to_go_and_closed() {
    let served = Served::tls(limits()).await;
    let mut client = Client::connect(&served, &[]).await;
    client.ask(1, &get("/a")).await;
    assert!(client.answered_200(1).await);
    assert!(client.frame_of(GOAWAY).await.is_some());
    while client.frame().await.is_some() {}
    served.all_closed().await;
}

#[tokio::test]
async fn a_header_block_that_is_never_finished_does_not_hold_the_connection() {
    let served = Served::tls(limits()).await;
    let mut client = Client::connect(&served, &[]).await;
    client.ask(1, &get("/a")).await;
    assert!(client.answered_200(1).await);
    client.0.send(frame(HEADERS, END_STREAM, 3, &block(&get("/b")))).await;
    while client.frame().await.is_some() {}
    served.all_closed().await;
}

#[tokio::test]
async fn a_host_that_differs_from_the_authority_is_refused() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    let mut fields = get("/a");
    fields.push(("host", "evil.example"));
    client.ask(1, &fields).await;
    let Some(Frame(HEADERS, _, 1, payload)) = client.frame_of(HEADERS).await else { panic!("no answer") };
    assert!(payload.contains(&0x8c), "400: {payload:?}");
    assert!(served.seen().is_empty());
}

#[tokio::test]
async fn requests_that_http1_could_frame_differently_are_refused() {
    let served = Served::tls(patient()).await;
    let bad: &[&[(&str, &str)]] = &[
        &[("transfer-encoding", "chunked")],
        &[("connection", "close")],
        &[("content-length", "5")],
        &[("content-length", "0"), ("content-length", "1")],
        &[("x", "a\r\nhost: evil")],
        &[("x", "a\0b")],
        &[("X-Upper", "a")],
    ];
    for extra in bad {
        let mut client = Client::connect(&served, &[]).await;
        client.ask(1, &[&get("/a"), *extra].concat()).await;
        assert!(!client.answered_200(1).await, "{extra:?}");
    }
    for (name, fields) in [
        ("no path", vec![(":method", "GET"), (":scheme", "https"), (":authority", "localhost")]),
        ("no authority", vec![(":method", "GET"), (":scheme", "https"), (":path", "/a")]),
        ("two paths", [&get("/a")[..], &[(":path", "/b")]].concat()),
        ("path with a space", get("/a /b")),
        ("path with a line end", get("/a\r\nx: y")),
        ("path that is no path", get("evil")),
        ("asterisk", vec![(":method", "OPTIONS"), (":scheme", "https"), (":authority", "localhost"), (":path", "*")]),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "evil:443")]),
        ("trailing pseudo-header", [&get("/a")[..], &[("x", "y"), (":authority", "b")]].concat()),
    ] {
        let mut client = Client::connect(&served, &[]).await;
        client.ask(1, &fields).await;
        assert!(!client.answered_200(1).await, "{name}");
    }
    assert!(served.seen().is_empty(), "{:?}", served.seen());
}

/// CVE-2023-44487: requests that are reset at once. The connection is ended, and what it cost is bounded.
#[tokio::test]
async fn a_flood_of_rapid_resets_ends_the_connection_and_leaves_others_alone() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    let begun = Instant::now();
    for round in 0..5_000_u32 {
        let stream = 2 * round + 1;
        let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get("/slow")));
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        client.0.send([request, reset].concat()).await;
    }
    assert!(client.frame_of(GOAWAY).await.is_some(), "the flood was borne");
    assert!(begun.elapsed() < PATIENCE);
    let asked = served.seen().len();
    assert!(asked < 2_500, "{asked} of 5,000 requests reached the site");
    served.all_closed().await;
    let mut other = Client::connect(&served, &[]).await;
    other.ask(1, &get("/other")).await;
    assert!(other.answered_200(1).await);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    // The settings of the server must have been seen: until then more streams are a race, not a fault.
    let settings = client.frame_of(SETTINGS).await.unwrap();
    assert!(settings.3.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 100]), "{settings:?}");
    client.0.send(frame(SETTINGS, 1, 0, &[])).await;
    for number in 0..150 {
        client.ask(2 * number + 1, &get("/slow")).await;
    }
    assert!(client.frame_of(RST_STREAM).await.is_some(), "150 streams were open");
    assert!(served.seen().len() <= 100, "{}", served.seen().len());
    served.gate.cancel();
}

/// A window of zero holds the answer in memory for as long as the client likes, unless somebody looks.
#[tokio::test]
async fn a_client_that_opens_no_window_for_its_answer_is_cut_off() {
    let served = Served::tls(Limits { header_timeout: PATIENCE, ..limits() }).await;
    for window in [0_u32, 1] {
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        let mut client = Client::connect(&served, &settings).await;
        client.ask(1, &get("/small")).await;
        // The floor of 16 KiB/s gives 40 KiB two seconds, and the time to take anything at all comes before that.
        let begun = Instant::now();
        let (mut got, mut pings) = (0, 0_u32);
        let ended = loop {
            let Ok(next) = timeout(Duration::from_millis(200), client.frame()).await else {
                // Keeps the connection alive in every way but taking the answer.
                pings += 1;
                client.0.send(frame(PING, 0, 0, &u64::from(pings).to_be_bytes())).await;
                assert!(begun.elapsed() < 2 * PATIENCE, "still open after {:?}", begun.elapsed());
                continue;
            };
            match next {
                Some(Frame(DATA, _, _, payload)) => got += payload.len(),
                Some(Frame(PING, 0, 0, payload)) => client.0.send(frame(PING, 1, 0, &payload)).await,
                Some(_) => {}
                None => break begun.elapsed(),
            }
        };
        assert!(got <= 1, "{got} bytes");
        assert!((1..10).contains(&ended.as_secs()), "{ended:?}");
        served.all_closed().await;
    }
}
