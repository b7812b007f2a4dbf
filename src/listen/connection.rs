//! One connection: handshake, protocol by ALPN, deadlines, and each of its requests turned into an [`Inbound`].

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::framing::{self, StrictFraming};
use super::owed::{Debts, Owed};
use super::room::{Room, Share};
use super::{Inbound, Peer, Problem, Site, Unreadable};
use crate::config::Limits;
use crate::random;

/// HTTP/2: streams a client may have open at once.
const STREAMS: u32 = 100;
/// Bytes of an answer that are handed to the protocol at once, HTTP/1 and HTTP/2.
const PIECES: (usize, usize) = (64 * 1024, 16 * 1024);

/// What clients are held to beside the [`Limits`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The slowest rate at which an answer may be taken, bytes per second.
    slowest: u64,
    /// How often an HTTP/2 client whose request is under way is asked whether it is there, and how long it may take to say so.
    ping: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { slowest: 16 * 1024, ping: Duration::from_secs(20) }
    }
}

/// What every connection of a listener shares.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) site: S,
    pub(super) limits: Limits,
    pub(super) pace: Pace,
    /// Memory for bodies.
    pub(super) room: Arc<Room>,
    /// Cancelled when connections shall finish what they have and end.
    pub(super) closing: CancellationToken,
}

/// Serves one plain connection until it ends.
pub(super) async fn serve_plain<S: Site>(shared: Arc<Shared<S>>, stream: TcpStream, address: SocketAddr) {
    let peer = Peer { address, tls: None, client_certificate: None };
    serve_http1(shared, stream, peer).await;
}

/// Performs the TLS handshake within its deadline, then serves the connection until it ends.
pub(super) async fn serve_tls<S: Site>(
    shared: Arc<Shared<S>>,
    stream: TcpStream,
    address: SocketAddr,
    config: Arc<rustls::ServerConfig>,
) {
    let accept = tokio_rustls::TlsAcceptor::from(config).accept(stream);
    let Ok(Ok(stream)) = timeout(shared.limits.header_timeout, accept).await else { return };
    let (_, session) = stream.get_ref();
    let peer = Peer {
        address,
        tls: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
            Some(rustls::ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
            _ => return,
        },
        client_certificate: session.peer_certificates().and_then(<[_]>::first).map(|leaf| fingerprint(leaf)),
    };
    match session.alpn_protocol() {
        Some(b"h2") => serve_http2(shared, stream, peer).await,
        _ => serve_http1(shared, stream, peer).await,
    }
}

async fn serve_http1<S: Site>(shared: Arc<Shared<S>>, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer) {
    let stream = StrictFraming::new(Box::pin(stalling(stream, &shared.limits)), shared.limits.header_bytes);
    let traffic = Traffic::new(&shared.limits, shared.pace, PIECES.0);
    let service = service_fn(|request| answer(Arc::clone(&shared), request, peer.clone(), Arc::clone(&traffic)));
    let mut connection = pin!(http1(&shared.limits).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = traffic.overdue(shared.limits.body_timeout) => return,
        () = traffic.told_to_close(&shared.closing) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = traffic.overdue(shared.limits.body_timeout) => {}
    }
}

/// How hyper reads HTTP/1 behind the framing check.
pub(super) fn http1(limits: &Limits) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.header_bytes)
        .max_headers(framing::MOST_FIELDS)
        .half_close(false);
    builder
}

async fn serve_http2<S: Site>(
    shared: Arc<Shared<S>>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
) {
    let stream = Box::pin(stalling(stream, &shared.limits));
    let traffic = Traffic::new(&shared.limits, shared.pace, PIECES.1);
    let service = {
        let (shared, traffic) = (Arc::clone(&shared), Arc::clone(&traffic));
        service_fn(move |request| answer(Arc::clone(&shared), request, peer.clone(), Arc::clone(&traffic)))
    };
    let mut connection = pin!(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(shared.limits.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .max_send_buf_size(256 * 1024)
            .keep_alive_interval(shared.pace.ping)
            .keep_alive_timeout(shared.pace.ping)
            .serve_connection(TokioIo::new(stream), service)
    );
    // hyper waits for the preface, for a first request and for a next one without a deadline of its own.
    let limits = &shared.limits;
    tokio::select! {
        _ = connection.as_mut() => return,
        () = traffic.silent(limits.header_timeout) => return,
        () = traffic.overdue(limits.body_timeout) => return,
        () = traffic.idle(limits.header_timeout) => {}
        () = traffic.told_to_close(&shared.closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = traffic.overdue(limits.body_timeout) => {}
        () = traffic.settled(limits.header_timeout) => {}
    }
}

/// A stream on which a client that takes no byte for as long as a request body may take is cut off.
fn stalling<T: AsyncRead + AsyncWrite>(stream: T, limits: &Limits) -> TimeoutStream<T> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.body_timeout));
    stream
}

/// What goes on on one connection.
#[derive(Debug)]
struct Traffic {
    /// Cancelled when the first request came.
    first: CancellationToken,
    requests: AtomicU64,
    running: AtomicUsize,
    debts: Arc<Debts>,
}

/// One request that is being answered.
struct Running(Arc<Traffic>);

impl Traffic {
    fn new(limits: &Limits, pace: Pace, piece: usize) -> Arc<Self> {
        Arc::new(Self {
            first: CancellationToken::new(),
            requests: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            debts: Debts::new(limits.body_timeout, pace.slowest, piece),
        })
    }

    fn begin(self: &Arc<Self>) -> Running {
        if self.requests.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first.cancel();
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// Ends when connections are told to close. One that was accepted and has not brought its first request yet is told when
    /// that came, and until then has the time that a first request may take.
    async fn told_to_close(&self, closing: &CancellationToken) {
        closing.cancelled().await;
        self.first.cancelled().await;
    }

    /// Ends after `deadline` when no request came by then; otherwise never.
    async fn silent(&self, deadline: Duration) {
        if timeout(deadline, self.first.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends when for the time of `quiet` (at most twice that) no request was running and none came.
    async fn idle(&self, quiet: Duration) {
        loop {
            let before = self.requests.load(Ordering::Relaxed);
            sleep(quiet).await;
            if self.running.load(Ordering::Relaxed) == 0
                && self.requests.load(Ordering::Relaxed) == before
                && before > 0
            {
                return;
            }
        }
    }

    /// Ends when nothing is running and nothing is owed, looking every `pause`, one `pause` later.
    async fn settled(&self, pause: Duration) {
        loop {
            let quiet = self.running.load(Ordering::Relaxed) == 0 && self.debts.is_settled();
            sleep(pause).await;
            if quiet {
                return;
            }
        }
    }

    /// Ends when an answer was not taken in time, looking every `pause`.
    async fn overdue(&self, pause: Duration) {
        while !self.debts.overdue() {
            sleep(pause).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn answer<S: Site>(
    shared: Arc<Shared<S>>,
    request: Request<Incoming>,
    peer: Peer,
    traffic: Arc<Traffic>,
) -> Result<Response<Owed>, Infallible> {
    let _running = traffic.begin();
    let version = request.version();
    // Its share of the room is given back when it was answered.
    let (inbound, _share) = match read(request, peer, &shared).await {
        Ok((inbound, share)) => (Ok(inbound), share),
        Err(unreadable) => (Err(unreadable), None),
    };
    let (broken, request_id) = match &inbound {
        Ok(inbound) => (false, inbound.request_id.clone()),
        Err(unreadable) => (true, unreadable.head.request_id.clone()),
    };
    // On the heap: hyper keeps room for this future in every connection, idle ones too.
    let mut response = Box::pin(shared.site.respond(inbound)).await.into_inner();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    if broken && version != Version::HTTP_2 {
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| traffic.debts.owe(body)))
}

/// Collects one request within the limits.
pub(super) async fn read<S>(
    request: Request<Incoming>,
    peer: Peer,
    shared: &Shared<S>,
) -> Result<(Inbound, Option<Share>), Unreadable> {
    let (mut parts, body) = request.into_parts();
    let refused = match parts.version {
        Version::HTTP_2 => None,
        _ => framing::refused(&parts.uri),
    };
    let problem = refused.or((!target_is_ours(&parts)).then_some(Problem::Target));
    // Set by hyper from `:authority`, or checked against it; nobody behind here uses it.
    parts.headers.remove(http::header::HOST);
    let head = Inbound {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        request_id: request_id(&parts.headers),
        headers: parts.headers,
        body: Bytes::new(),
        peer,
    };
    if let Some(problem) = problem {
        return Err(Unreadable { head, problem });
    }
    match collect(body, shared, head.peer.ip()).await {
        Ok((body, share)) => Ok((Inbound { body, ..head }, share)),
        Err(problem) => Err(Unreadable { head, problem }),
    }
}

/// The whole body, when it is within the limits.
async fn collect<S>(body: Incoming, shared: &Shared<S>, address: IpAddr) -> Result<(Bytes, Option<Share>), Problem> {
    if http_body::Body::is_end_stream(&body) {
        return Ok((Bytes::new(), None));
    }
    let limits = &shared.limits;
    if http_body::Body::size_hint(&body).lower() > limits.body_bytes as u64 {
        return Err(Problem::BodyTooLarge);
    }
    let gathered = timeout(limits.body_timeout, shared.room.gather(body, limits.body_bytes, address)).await;
    let (bytes, share) = gathered.unwrap_or(Err(Problem::BodyTimeout))?;
    Ok((bytes, Some(share)))
}

/// HTTP/1: origin-form only (RFC 9112 section 3.2.1), with exactly one `Host`. HTTP/2: `:authority`, and a `Host` that is the
/// same (RFC 9113 section 8.3.1).
fn target_is_ours(head: &http::request::Parts) -> bool {
    let mut hosts = head.headers.get_all(http::header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || head.method == http::Method::CONNECT {
        return false;
    }
    if !head.uri.path().starts_with('/') {
        return false;
    }
    match head.version {
        Version::HTTP_2 => match (head.uri.authority(), host) {
            (Some(authority), Some(host)) => host.as_bytes() == authority.as_str().as_bytes(),
            (Some(_), None) | (None, Some(_)) => true,
            (None, None) => false,
        },
        Version::HTTP_11 => head.uri.authority().is_none() && host.is_some_and(|host| !host.is_empty()),
        _ => head.uri.authority().is_none(),
    }
}

fn request_id(headers: &HeaderMap) -> String {
    headers
        .get("x-request-id")
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        })
        .map_or_else(random::request_id, str::to_owned)
}

fn fingerprint(certificate: &[u8]) -> String {
    use std::fmt::Write;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
