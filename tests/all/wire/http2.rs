//! HTTP/2 frames by hand: what no client library would send. RFC 9113 sections 3.4, 5.1.2, 6.5, 6.9, 8.2, 8.3.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use firebreak::config::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::harness::{BIG, PATIENCE, Raw, SMALL, Served, client_config, limits, patient};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
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

/// Connections that fall silent end soon, and a machine that does much else is fast enough.
fn brief() -> Limits {
    Limits { header_timeout: Duration::from_secs(1), ..patient() }
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

/// A connection whose receive buffer is so small that the server soon cannot write.
async fn narrow(served: &Served) -> Raw<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(served.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(&["h2"], None)));
    Raw::new(connector.connect("localhost".try_into().unwrap(), stream).await.unwrap())
}

#[tokio::test]
async fn a_request_in_http2_is_answered() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    client.ask(1, &get("/a")).await;
    assert!(client.answered_200(1).await);
    assert_eq!(served.seen(), ["GET /a 0"]);
}

/// What stands for a refused head is known over HTTP/1 alone; and who may be named by either field (RFC 9113 section 8.3.1).
#[tokio::test]
async fn a_path_by_the_name_of_a_stand_in_and_a_host_without_an_authority_are_served() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    client.ask(1, &get("/REFUSED-HEAD")).await;
    assert!(client.answered_200(1).await);
    client.ask(3, &[(":method", "GET"), (":scheme", "https"), (":path", "/a"), ("host", "localhost")]).await;
    assert!(client.answered_200(3).await);
    assert_eq!(served.seen(), ["GET /REFUSED-HEAD 0", "GET /a 0"]);
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
    for (stream, hosts) in
        [(1, &["evil.example"][..]), (3, &["localhost", "evil.example"]), (5, &["localhost", "localhost"])]
    {
        let mut fields = get("/a");
        fields.extend(hosts.iter().map(|host| ("host", *host)));
        client.ask(stream, &fields).await;
        let Some(Frame(HEADERS, _, of, payload)) = client.frame_of(HEADERS).await else { panic!("no answer") };
        assert_eq!(of, stream);
        assert!(payload.contains(&0x8c), "400 to {hosts:?}: {payload:?}");
    }
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
    for (window, draining) in [(0_u32, false), (1, false), (0, true)] {
        let served = Served::tls(Limits { header_timeout: PATIENCE, ..limits() }).await;
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        let mut client = Client::connect(&served, &settings).await;
        client.ask(1, &get("/small")).await;
        if draining {
            served.seen_times(1).await;
            served.drain.begin(Duration::ZERO).await;
        }
        // The floor of 16 KiB/s gives 40 KiB two seconds, and the time to take anything at all comes before that.
        let begun = Instant::now();
        let (mut got, mut pings) = (0, 0_u32);
        let ended = loop {
            let Ok(next) = timeout(Duration::from_millis(200), client.frame()).await else {
                // Keeps the connection alive in every way but taking the answer.
                pings += 1;
                client.0.send(frame(PING, 0, 0, &u64::from(pings).to_be_bytes())).await;
                assert!(begun.elapsed() < PATIENCE / 2, "still open after {:?}", begun.elapsed());
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

/// What is not taken stays where it was, but for what the protocol holds ready.
#[tokio::test]
async fn little_of_an_answer_that_nobody_reads_is_gathered_however_large_the_window() {
    let served = Served::tls(patient()).await;
    let mut raw = narrow(&served).await;
    let most = (i32::MAX as u32).to_be_bytes();
    let settings = frame(SETTINGS, 0, 0, &[&[0, 4][..], &most].concat());
    let update = frame(WINDOW_UPDATE, 0, 0, &(i32::MAX as u32 - 65_535).to_be_bytes());
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&get("/counted")));
    raw.send([PREFACE, &settings, &update, &request].concat()).await;
    served.seen_times(1).await;
    // Until no more is taken.
    let mut before = 0;
    let taken = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        match served.taken.load(Ordering::Relaxed) {
            taken if taken == before && taken > 0 => break taken,
            taken => before = taken,
        }
    };
    assert!(taken < BIG / 2, "{taken} bytes");
}

#[tokio::test]
async fn a_request_that_runs_for_long_is_no_silence() {
    let served = Served::tls(brief()).await;
    let mut client = Client::connect(&served, &[]).await;
    client.ask(1, &get("/slow")).await;
    let told = timeout(3 * brief().header_timeout, client.frame_of(GOAWAY)).await;
    assert!(told.is_err(), "told to go: {told:?}");
    served.gate.cancel();
    assert!(client.answered_200(1).await);
}

#[tokio::test]
async fn a_connection_on_which_something_is_asked_now_and_then_is_kept() {
    let served = Served::tls(brief()).await;
    let mut client = Client::connect(&served, &[]).await;
    for number in 0..12 {
        client.ask(2 * number + 1, &get("/a")).await;
        assert!(client.answered_200(2 * number + 1).await, "request {number}");
        tokio::time::sleep(brief().header_timeout / 4).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_late_and_in_time_is_taken_whole() {
    let served = Served::tls(brief()).await;
    let mut client = Client::connect(&served, &[0, 4, 0, 0, 0, 0]).await;
    client.ask(1, &get("/small")).await;
    assert!(client.answered_200(1).await);
    // By then it was told to go, since it asks nothing more.
    assert!(client.frame_of(GOAWAY).await.is_some());
    assert!(timeout(3 * brief().header_timeout, client.frame_of(DATA)).await.is_err(), "nothing is taken");
    client.0.send(frame(WINDOW_UPDATE, 0, 1, &u32::try_from(SMALL).unwrap().to_be_bytes())).await;
    let mut got = 0;
    while let Some(Frame(DATA, _, 1, payload)) = client.frame_of(DATA).await {
        got += payload.len();
    }
    assert_eq!(got, SMALL);
}

#[tokio::test]
async fn at_the_drain_a_stream_under_way_is_answered_and_the_connection_closed() {
    let served = Served::tls(brief()).await;
    let mut client = Client::connect(&served, &[]).await;
    client.ask(1, &get("/slow")).await;
    served.seen_times(1).await;
    served.drain.begin(Duration::ZERO).await;
    assert!(client.frame_of(GOAWAY).await.is_some());
    // Longer than the connection is looked at for whether it is done.
    let ending = async { while client.frame().await.is_some() {} };
    assert!(timeout(3 * brief().header_timeout, ending).await.is_err(), "the request is still under way");
    served.gate.cancel();
    assert!(client.answered_200(1).await);
    while client.frame().await.is_some() {}
    timeout(PATIENCE, served.done).await.unwrap().unwrap();
}

/// RFC 9113 sections 6.5.2 and 6.9.2: how much a client may send before it is read.
#[tokio::test]
async fn the_windows_are_64_kib_a_stream_and_1_mib_a_connection() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    let settings = client.frame_of(SETTINGS).await.unwrap();
    assert!(settings.3.chunks(6).any(|setting| setting == [0, 4, 0, 1, 0, 0]), "{settings:?}");
    let Some(Frame(_, _, 0, added)) = client.frame_of(WINDOW_UPDATE).await else { panic!("of the connection") };
    assert_eq!(added, (1024 * 1024 - 65_535_u32).to_be_bytes());
}

/// RFC 9113 section 10.5.1, RFC 7541 section 7.3
#[tokio::test]
async fn a_header_list_above_the_limit_is_not_served_however_small_it_is_on_the_wire() {
    let served = Served::tls(patient()).await;
    let value = "x".repeat(100);
    for (fields, served_too) in [(40, true), (120, false)] {
        let mut client = Client::connect(&served, &[]).await;
        client.ask(1, &[get("/plain"), vec![("x", &*value); fields]].concat()).await;
        assert_eq!(client.answered_200(1).await, served_too, "{fields} fields");
    }
    let mut client = Client::connect(&served, &[]).await;
    // One field that is kept in the table, and 15,000 times a byte that stands for it.
    let kept = [&[0x40, 1, b'x', 100][..], value.as_bytes()].concat();
    let payload = [block(&get("/bomb")), kept, vec![0xbe; 15_000]].concat();
    client.0.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &payload)).await;
    assert!(!client.answered_200(1).await);
    assert_eq!(served.seen(), ["GET /plain 0"]);
}

/// Frames without end that ask nothing.
#[tokio::test]
async fn a_flood_of_continuations_pings_or_settings_ends_the_connection_and_leaves_others_alone() {
    for (what, first, again) in [
        ("continuations", frame(HEADERS, 0, 3, &block(&get("/a"))), frame(CONTINUATION, 0, 3, &block(&[("x", "y")]))),
        ("empty continuations", frame(HEADERS, 0, 3, &block(&get("/a"))), frame(CONTINUATION, 0, 3, &[])),
        ("pings that are not read", Vec::new(), frame(PING, 0, 0, &[7; 8])),
        ("settings that are not read", Vec::new(), frame(SETTINGS, 0, 0, &[])),
    ] {
        let served = Served::tls(Limits { header_timeout: PATIENCE, ..limits() }).await;
        let mut client = Client(narrow(&served).await);
        client.0.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        client.ask(1, &get("/slow")).await;
        client.0.send(first).await;
        let (begun, many) = (Instant::now(), again.repeat(1_000));
        let writing = async { while client.0.0.write_all(&many).await.is_ok() {} };
        assert!(timeout(PATIENCE, writing).await.is_ok(), "{what} were borne for {:?}", begun.elapsed());
        served.all_closed().await;
        let mut other = Client::connect(&served, &[]).await;
        other.ask(1, &get("/other")).await;
        assert!(other.answered_200(1).await, "{what}");
    }
}

/// What is refused costs as much as what is served.
#[tokio::test]
async fn malformed_requests_one_after_the_other_end_the_connection() {
    let served = Served::tls(patient()).await;
    let mut client = Client::connect(&served, &[]).await;
    let no_path = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost")];
    for number in 0..300 {
        client.ask(2 * number + 1, &no_path).await;
    }
    client.ask(601, &get("/sentinel")).await;
    assert!(!client.answered_200(601).await);
    assert!(served.seen().is_empty());
}
