//! Calls over real sockets on loopback. Names are resolved by a table, since no test asks the network.

#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Type: application/json\r\nCache-Control: max-age=60\r\nContent-Length: 11\r\n\r\n{\"keys\":[]}";

/// A server for one connection: sends what it is told, gives back what it read. `tls` makes it one for that name.
async fn server(answer: impl Into<Vec<u8>>, tls: Option<&Pki>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (answer, acceptor) = (answer.into(), tls.map(Pki::acceptor));
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match acceptor {
            None => talk(stream, &answer).await,
            Some(acceptor) => match acceptor.accept(stream).await {
                Ok(stream) => talk(stream, &answer).await,
                Err(_) => "no TLS".to_owned(),
            },
        }
    });
    (port, task)
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(1..) => read.extend_from_slice(&buffer),
            _ => break,
        }
    }
    // The other side may have had enough before all is written.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    String::from_utf8_lossy(&read).trim_end_matches('\0').to_owned()
}

/// An authority of its own, and a certificate for one name.
struct Pki {
    directory: tempfile::TempDir,
    config: Arc<rustls::ServerConfig>,
}

impl Pki {
    fn of(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let own = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&own, &issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), authority.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], own.serialize_der().try_into().unwrap())
            .unwrap();
        // Who offers something else has no connection (RFC 7301 section 3.2).
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { directory, config: Arc::new(config) }
    }

    fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config).into()
    }

    fn outbound(&self) -> Outbound {
        named(Outbound::new(Some(&self.directory.path().join("ca.crt"))).unwrap())
    }
}

/// Resolves by the names of these tests alone.
fn named(outbound: Outbound) -> Outbound {
    let resolve: Resolve = |host, port| {
        let addresses: &[IpAddr] = match host {
            "keys.example.org" | "localhost" => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
            "mixed.example.org" => &[IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::LOCALHOST)],
            "metadata.example.org" => &[IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))],
            "six.example.org" => &[IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254))],
            "second.example.org" => &[IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)],
            _ => return Err(io::Error::other("not known")),
        };
        Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
    };
    Outbound { resolve, ..outbound }
}

fn plain() -> Outbound {
    named(Outbound::new(None).unwrap())
}

fn url(text: impl AsRef<str>) -> Url {
    Url::parse(text.as_ref()).unwrap()
}

#[tokio::test]
async fn a_document_is_fetched_with_its_status_and_headers() {
    let (port, server) = server(OK, None).await;
    let answer = plain().get(&url(format!("http://localhost:{port}/a/jwks?v=1")), Guard::Operator).await.unwrap();
    assert_eq!((answer.status().as_u16(), &**answer.body()), (200, &b"{\"keys\":[]}"[..]));
    assert_eq!(answer.headers()["cache-control"], "max-age=60");
    let sent = server.await.unwrap().to_ascii_lowercase();
    assert!(sent.starts_with("get /a/jwks?v=1 http/1.1\r\n"), "{sent}");
    // C8
    assert!(sent.contains("accept: application/json\r\n"), "{sent}");
    assert!(sent.contains(&format!("host: localhost:{port}\r\n")), "{sent}");
    assert!(sent.contains("accept-encoding: identity\r\n"), "{sent}");
    assert!(sent.contains("connection: close\r\n") && sent.contains("user-agent: firebreak\r\n"), "{sent}");
    assert!(!sent.contains("cookie") && !sent.contains("authorization"), "{sent}");
}

#[tokio::test]
async fn a_form_is_posted_and_an_error_of_the_other_side_is_an_answer() {
    let (port, server) = server("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", None).await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Basic YTpi"));
    let fields = [("grant_type", "authorization_code"), ("code", "a b&c")];
    let to = url(format!("http://127.0.0.1:{port}/token"));
    let answer = plain().post_form(&to, Guard::Operator, headers, &fields).await.unwrap();
    assert_eq!(answer.status(), 400);
    let sent = server.await.unwrap();
    assert!(sent.starts_with("POST /token HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("authorization: Basic YTpi\r\n"), "{sent}");
    assert!(sent.contains("content-type: application/x-www-form-urlencoded\r\n"), "{sent}");
    assert!(sent.contains("accept: application/json\r\n"), "{sent}");
}

#[tokio::test]
async fn the_crate_oauth2_can_use_it() {
    let (port, _server) = server(OK, None).await;
    let outbound = plain();
    let outbound = &outbound;
    let client = move |request: Request<Vec<u8>>| async move {
        outbound.send(request.map(Into::into), Guard::Operator).await.map(|answer| answer.map(Into::into))
    };
    let request = Request::get(format!("http://localhost:{port}/jwks")).body(Vec::new()).unwrap();
    let answer: Response<Vec<u8>> = oauth2::AsyncHttpClient::call(&client, request).await.unwrap();
    assert_eq!(answer.body(), b"{\"keys\":[]}");
}

#[tokio::test]
async fn the_certificate_must_be_of_the_host_of_the_url_and_of_a_known_authority() {
    let pki = Pki::of("keys.example.org");
    let call = async |outbound: Outbound, host: &str| {
        let (port, server) = server(OK, Some(&pki)).await;
        let answer = outbound.get(&url(format!("https://{host}:{port}/jwks")), Guard::Operator).await;
        server.abort();
        answer.map(|answer| answer.status().as_u16())
    };
    assert_eq!(call(pki.outbound(), "keys.example.org").await, Ok(200));
    // The same address by another name; the right name with an authority that nobody knows.
    assert_eq!(call(pki.outbound(), "localhost").await, Err(OutboundError::NotConnected));
    assert_eq!(call(plain(), "keys.example.org").await, Err(OutboundError::NotConnected));
}

// C8, E18, E30, B2 39
#[tokio::test]
async fn a_registered_url_is_not_called_when_one_of_its_addresses_is_not_public() {
    let pki = Pki::of("keys.example.org");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // A name has to be resolved first; an address is refused as it stands there.
    let (refused, at_once) = (OutboundError::AddressNotAllowed, OutboundError::UrlNotAllowed);
    for (host, expected) in [
        ("keys.example.org", refused),
        ("mixed.example.org", refused),
        ("metadata.example.org", refused),
        ("six.example.org", refused),
        ("localhost", at_once),
        ("127.0.0.1", at_once),
        ("2130706433", at_once),
        ("0x7f.1", at_once),
        ("[::ffff:127.0.0.1]", at_once),
        ("[::1]", at_once),
        ("10.1.2.3", at_once),
        ("absent.example.org", OutboundError::NameNotFound),
    ] {
        let answer = pki.outbound().get(&url(format!("https://{host}:{port}/")), Guard::Registered).await;
        assert_eq!(answer.unwrap_err(), expected, "{host}");
    }
    let http = pki.outbound().get(&url(format!("http://8.8.8.8:{port}/")), Guard::Registered).await;
    assert_eq!(http.unwrap_err(), OutboundError::UrlNotAllowed);
    let nobody_came = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody_came.is_err(), "no connection was made");
}

// E30: a name that changes its mind between the check and the connection
#[tokio::test]
async fn a_name_is_resolved_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let resolve: Resolve = |_, port| {
        ASKED.fetch_add(1, Ordering::SeqCst);
        Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])
    };
    let pki = Pki::of("rebinding.example.org");
    let (port, _server) = server(OK, Some(&pki)).await;
    let outbound = Outbound { resolve, ..pki.outbound() };
    let answer = outbound.get(&url(format!("https://rebinding.example.org:{port}/")), Guard::Operator).await;
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(ASKED.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_next_address_is_tried_when_the_first_does_not_answer() {
    let pki = Pki::of("second.example.org");
    let (port, _server) = server(OK, Some(&pki)).await;
    let answer = pki.outbound().get(&url(format!("https://second.example.org:{port}/")), Guard::Operator).await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn an_address_that_never_answers_leaves_time_for_the_next() {
    let full = tokio::net::TcpSocket::new_v4().unwrap();
    full.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let full = full.listen(1).unwrap();
    let port = full.local_addr().unwrap().port();
    // More than its backlog holds: who comes later waits.
    let mut held = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(full.local_addr().unwrap()))
            .await
    {
        held.push(stream.unwrap());
    }
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).await.unwrap();
    let server = tokio::spawn(async move { talk(listener.accept().await.unwrap().0, OK.as_bytes()).await });
    let resolve: Resolve = |_, port| Ok([1, 2].map(|last| (Ipv4Addr::new(127, 0, 0, last), port).into()).to_vec());
    let outbound =
        Outbound { resolve, ..plain() }.with(Allowance { time: Duration::from_secs(3), ..Allowance::default() });
    let answer = outbound.get(&url(format!("http://localhost:{port}/")), Guard::Operator).await;
    assert_eq!(answer.unwrap().status(), 200);
    server.await.unwrap();
}

/// The system's resolver cannot be told to stop: what is waited for no more still takes its place.
#[tokio::test]
async fn look_ups_are_bounded_and_those_of_registered_urls_hold_up_nobody_else() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let resolve: Resolve = |host, port| {
        if host == "localhost" {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
        }
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(600));
        NOW.fetch_sub(1, Ordering::SeqCst);
        Err(io::Error::other("not known"))
    };
    let outbound = Outbound { resolve, ..plain() };
    let hasty = outbound.clone().with(Allowance { time: Duration::from_millis(50), ..Allowance::default() });
    let slow = url("https://slow.example.org/");
    for _ in 0..2 {
        let calls = (0..2 * LOOKUPS).map(|_| hasty.get(&slow, Guard::Registered));
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.iter().all(|answer| *answer.as_ref().unwrap_err() == OutboundError::Timeout));
    }
    assert_eq!(MOST.load(Ordering::SeqCst), LOOKUPS);
    let (port, _server) = server(OK, None).await;
    let own = hasty.with(Allowance { time: Duration::from_millis(400), ..Allowance::default() });
    let answer = own.get(&url(format!("http://localhost:{port}/")), Guard::Operator).await;
    assert_eq!(answer.unwrap().status(), 200, "the operator's own");
}

// C8, B2 39
#[tokio::test]
async fn an_answer_that_is_none_is_an_error() {
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n{}", " ".repeat(70_000));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(70_000));
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for (answer, expected) in [
        (huge, OutboundError::TooLarge),
        (endless, OutboundError::TooLarge),
        (head, OutboundError::Broken),
        (String::new(), OutboundError::Broken),
        ("220 mail.example.org ESMTP\r\n".to_owned(), OutboundError::Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{".to_owned(), OutboundError::Broken),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n".to_owned(), OutboundError::Encoded),
        (redirect(301, "http://169.254.169.254/"), OutboundError::Redirected),
        (redirect(302, "/elsewhere"), OutboundError::Redirected),
        (redirect(307, "http://localhost/"), OutboundError::Redirected),
        (redirect(308, "https://keys.example.org/"), OutboundError::Redirected),
    ] {
        let shown: String = answer.chars().take(60).collect();
        let (port, _server) = server(answer, None).await;
        let answer = plain().get(&url(format!("http://localhost:{port}/")), Guard::Operator).await;
        assert_eq!(answer.unwrap_err(), expected, "{shown}");
    }
    // Nobody listens there any more.
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let answer = plain().get(&url(format!("http://{gone}/")), Guard::Operator).await;
    assert_eq!(answer.unwrap_err(), OutboundError::NotConnected);
}

fn redirect(status: u16, to: &str) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

// C8, B2 39
#[tokio::test]
async fn a_slow_answer_ends_at_the_time_limit_wherever_it_is_slow() {
    let limit = Allowance { time: Duration::from_millis(200), ..Allowance::default() };
    let outbound = plain().with(limit);
    // Accepts and says nothing; TLS never begins; begins a body and goes silent.
    for (scheme, says) in [("http", ""), ("https", ""), ("http", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let silent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if !says.is_empty() {
                assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            }
            stream.write_all(says.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
            drop(stream);
        });
        let answer = outbound.get(&url(format!("{scheme}://localhost:{port}/")), Guard::Operator).await;
        assert_eq!(answer.unwrap_err(), OutboundError::Timeout, "{scheme} {says}");
        silent.abort();
    }
    let resolve: Resolve = |_, _| {
        std::thread::sleep(Duration::from_secs(1));
        Ok(Vec::new())
    };
    let outbound = Outbound { resolve, ..outbound };
    let answer = outbound.get(&url("https://slow.example.org/"), Guard::Operator).await;
    assert_eq!(answer.unwrap_err(), OutboundError::Timeout);
}

#[test]
fn a_call_costs_five_seconds_and_64_kib_at_most_where_nothing_else_is_said() {
    let said = Outbound::new(None).unwrap().allowance;
    assert_eq!((said.time.as_secs(), said.bytes), (5, 64 * 1024));
}

#[test]
fn a_file_without_authorities_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.crt");
    assert!(Outbound::new(Some(&path)).is_err());
    std::fs::write(&path, "nothing").unwrap();
    let error = Outbound::new(Some(&path)).unwrap_err().to_string();
    assert!(error.contains("outbound.ca") && error.contains("PEM"), "{error}");
}
