//! The real listener on a port of the system's choice with a site that says what it was asked, and clients of raw bytes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use firebreak::audit::{Audit, Options, Recorded, Unaudited};
use firebreak::clock::Clock;
use firebreak::config::{ClientCertificates, Limits, Tls};
use firebreak::listen::{Body, Certificates, Drain, Inbound, Listener, Open, Problem, Site, Unreadable, full};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Either};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// No test waits longer for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The body of `/big`.
pub(super) const BIG: usize = 24 * 1024 * 1024;
/// The body of `/medium`: less than the buffers of hyper, more than those of a socket that is made small.
pub(super) const MEDIUM: usize = 300 * 1024;

/// The body of `/small`: more than the piece of a body that is handed to HTTP/2 at once.
pub(super) const SMALL: usize = 40 * 1024;

/// Answers by path: `/slow` when the gate opens, `/big` with [`BIG`] bytes, `/medium` with [`MEDIUM`], `/small` with [`SMALL`],
/// `/counted` with a stream of [`BIG`] bytes, `/certificate` and `/tls` with what the connection has of it, anything
/// else with method, path and length of the body.
#[derive(Clone)]
pub(super) struct Echo {
    audit: Audit,
    seen: Arc<Mutex<Vec<String>>>,
    gate: CancellationToken,
    big: Bytes,
    taken: Arc<AtomicUsize>,
}

/// A body of [`BIG`] bytes in pieces that counts what is taken of it.
struct Counted {
    left: Bytes,
    taken: Arc<AtomicUsize>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let size = self.left.len().min(16 * 1024);
        self.taken.fetch_add(size, Ordering::Relaxed);
        Poll::Ready((size > 0).then(|| Ok(Frame::data(self.left.split_to(size)))))
    }
}

impl Site for Echo {
    async fn respond(&self, inbound: Result<Inbound, Unreadable>) -> Recorded<Response<Body>> {
        let (status, body) = match inbound {
            Ok(inbound) => {
                let text = format!("{} {} {}", inbound.method(), inbound.path(), inbound.body().len());
                self.seen.lock().unwrap().push(text.clone());
                if inbound.path() == "/counted" {
                    let counted = Counted { left: self.big.clone(), taken: Arc::clone(&self.taken) };
                    let response = Response::new(Either::Right(counted.boxed_unsync()));
                    return self.audit.unaudited(Unaudited::StaticPage, response);
                }
                let body = match inbound.path() {
                    "/slow" => {
                        self.gate.cancelled().await;
                        text.into()
                    }
                    "/big" => self.big.clone(),
                    "/small" => self.big.slice(..SMALL),
                    "/medium" => self.big.slice(..MEDIUM),
                    "/certificate" => inbound.peer().client_certificate.clone().unwrap_or_default().into(),
                    "/tls" => inbound.peer().tls.unwrap_or_default().into(),
                    _ => text.into(),
                };
                (StatusCode::OK, body)
            }
            Err(unreadable) => {
                let status = match unreadable.problem {
                    Problem::Head | Problem::Target | Problem::BodyBroken => StatusCode::BAD_REQUEST,
                    Problem::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    Problem::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    Problem::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
                    Problem::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
                };
                (status, format!("{:?}", unreadable.problem).into())
            }
        };
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        self.audit.unaudited(Unaudited::StaticPage, response)
    }
}

/// A listener that is being served.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) drain: Drain,
    pub(super) gate: CancellationToken,
    pub(super) open: Open,
    /// Bytes of `/counted` that were taken.
    pub(super) taken: Arc<AtomicUsize>,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) done: JoinHandle<()>,
    seen: Arc<Mutex<Vec<String>>>,
    _directory: TempDir,
}

/// Limits so small that the tests are quick.
pub(super) fn limits() -> Limits {
    Limits {
        connections: 200,
        connections_per_address: 100,
        header_timeout: Duration::from_millis(400),
        body_timeout: Duration::from_millis(400),
        header_bytes: 8 * 1024,
        body_bytes: 64 * 1024,
        failed_credentials_per_minute: 60,
    }
}

/// Limits for tests in which nothing shall run into one of time.
pub(super) fn patient() -> Limits {
    Limits { header_timeout: PATIENCE, body_timeout: PATIENCE, ..limits() }
}

/// A file of the test PKI.
pub(super) fn pki(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certs").join(name)
}

impl Served {
    pub(super) async fn plain(limits: Limits) -> Self {
        Self::start(limits, None, PATIENCE).await
    }

    pub(super) async fn plain_with_grace(limits: Limits, grace: Duration) -> Self {
        Self::start(limits, None, grace).await
    }

    pub(super) async fn tls(limits: Limits) -> Self {
        Self::tls_at(limits, &pki("server"), ClientCertificates::Off).await
    }

    pub(super) async fn tls_at(limits: Limits, directory: &Path, client_certificates: ClientCertificates) -> Self {
        let settings = Tls { directory: directory.to_owned(), client_certificates, crl: false };
        Self::tls_of(limits, Certificates::load(&settings).unwrap()).await
    }

    pub(super) async fn tls_of(limits: Limits, certificates: Certificates) -> Self {
        Self::start(limits, Some(Arc::new(certificates)), PATIENCE).await
    }

    async fn start(limits: Limits, certificates: Option<Arc<Certificates>>, grace: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path(), "wire-tests");
        (options.floor_bytes, options.reserve_bytes) = (0, 0);
        let echo = Echo {
            audit: Audit::start(options, Clock::system()).unwrap(),
            seen: Arc::default(),
            gate: CancellationToken::new(),
            big: vec![b'x'; BIG].into(),
            taken: Arc::default(),
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(address, certificates.clone(), limits).await.unwrap();
        let (address, open, drain) = (listener.address().unwrap(), listener.open(), Drain::default());
        let (seen, gate, taken) = (Arc::clone(&echo.seen), echo.gate.clone(), Arc::clone(&echo.taken));
        let done = tokio::spawn(listener.serve(echo, drain.clone(), grace));
        Self { address, drain, gate, open, taken, certificates, done, seen, _directory: directory }
    }

    /// What the site was asked, in order.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until the site was asked `count` times.
    pub(super) async fn seen_times(&self, count: usize) {
        self.until("requests", || self.seen().len() >= count).await;
    }

    /// Waits until no connection is open.
    pub(super) async fn all_closed(&self) {
        self.until("closed connections", || self.open.count() == 0).await;
    }

    /// Waits until something is so; fails after [`PATIENCE`].
    pub(super) async fn until(&self, what: &str, so: impl Fn() -> bool) {
        let waiting = async {
            while !so() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "no {what}: {:?}", self.seen());
    }

    pub(super) async fn connect(&self) -> Raw<TcpStream> {
        Raw::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// A TLS connection that verifies the server against the test root, with ALPN.
    pub(super) async fn connect_tls(&self, alpn: &[&str]) -> Raw<TlsStream<TcpStream>> {
        Raw::new(handshake(self.address, client_config(alpn, None)).await.unwrap())
    }
}

/// Performs a TLS handshake for `localhost`.
pub(super) async fn handshake(address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    tokio::time::timeout(PATIENCE, connecting).await.unwrap()
}

/// A client that trusts the test root, with the client certificate of this name when one is given.
pub(super) fn client_config(alpn: &[&str], certificate: Option<&str>) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let file = |end: &str| pki(&format!("clients/{name}.{end}"));
            let chain = CertificateDer::pem_file_iter(file("crt")).unwrap().map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file("key")).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

/// A connection on which the test writes bytes as it likes.
pub(super) struct Raw<T>(pub(super) T);

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    pub(super) fn new(stream: T) -> Self {
        Self(stream)
    }

    /// Writes bytes; a peer that closed meanwhile is no failure.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref()).await;
        let _ = self.0.flush().await;
    }

    /// All bytes until the peer closes; a reset ends them too. Fails when it does not close.
    pub(super) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let reading = self.0.read_to_end(&mut bytes);
        assert!(tokio::time::timeout(PATIENCE, reading).await.is_ok(), "the connection was not closed");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// One HTTP/1 response with `Content-Length`: its head, and its body as text.
    pub(super) async fn response(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = tokio::time::timeout(PATIENCE, self.0.read_u8()).await.unwrap();
            head.push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&head))));
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next())
            .map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut body)).await.unwrap().unwrap();
        (head, String::from_utf8(body).unwrap())
    }
}
