//! One HTTP/1 connection whose bytes a fuzz target made up; see [`crate::fuzzing`].

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::connection::{Pace, Shared, http1, read};
use super::framing::StrictFraming;
use super::room::Room;
use super::{Inbound, Peer, Unreadable};
use crate::config::Limits;

/// The requests that a client brings who sends `bytes` and closes its side, as a site would be handed them: through the framing
/// check, through hyper, collected within the limits. Nothing comes after one that is unreadable.
pub async fn read_connection(bytes: &[u8], header_bytes: usize, body_bytes: usize) -> Vec<Result<Inbound, Unreadable>> {
    let limits = Limits {
        connections: 1,
        connections_per_address: 1,
        header_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(60),
        header_bytes,
        body_bytes,
        failed_credentials_per_minute: 1,
    };
    let shared = Arc::new(Shared {
        site: (),
        room: Room::new(limits.body_bytes),
        limits,
        pace: Pace::default(),
        closing: CancellationToken::new(),
    });
    let came = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, came) = (Arc::clone(&shared), Arc::clone(&came));
        async move {
            let peer = Peer { address: SocketAddr::from(([192, 0, 2, 1], 4711)), tls: None, client_certificate: None };
            let inbound = read(request, peer, &shared).await.map(|(inbound, _)| inbound);
            let mut response = Response::new(Empty::<Bytes>::new());
            if inbound.is_err() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            came.lock().unwrap_or_else(PoisonError::into_inner).push(inbound);
            Ok::<_, Infallible>(response)
        }
    });
    let stream = StrictFraming::new(Sent { bytes }, shared.limits.header_bytes);
    // How the connection ends is the client's doing.
    let _ = http1(&shared.limits).serve_connection(TokioIo::new(stream), service).await;
    std::mem::take(&mut *came.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A client that sent these bytes, closed its side, and reads whatever comes.
struct Sent<'b> {
    bytes: &'b [u8],
}

impl AsyncRead for Sent<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, rest) = self.bytes.split_at(self.bytes.len().min(out.remaining()));
        out.put_slice(now);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sent<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
