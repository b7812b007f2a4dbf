//! The admin listener: `/livez`, `/readyz` and `/metrics` over plain HTTP, on an address of its own that is never public.
//!
//! Takes what the process knows of itself, gives it to probes and scrapers. `/livez` says that the event loop turns and
//! nothing about dependencies; `/readyz` is 503 while the process is leaving or one of its [`Readiness`] checks fails, and
//! says which in a line each; `/metrics` is `OpenMetrics` text. No patient, user, token or path appears here. It
//! authenticates nobody.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub mod events;
pub mod keys;
mod live;
mod metrics;
mod readiness;
#[cfg(test)]
mod tests;

pub use live::{Live, Searches};
pub use metrics::{Metrics, Route};
pub use readiness::Readiness;

/// Connections at the same time: probes and a scraper or two.
const CONNECTIONS: usize = 64;
/// Time for a request head, and for one whole connection.
const HEAD: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(60);

/// A bound admin listener that is not served yet.
#[derive(Debug)]
pub struct Admin {
    socket: TcpListener,
}

#[derive(Debug)]
struct Pages {
    metrics: Metrics,
    readiness: Readiness,
}

impl Admin {
    /// Binds `address`.
    ///
    /// # Errors
    /// When the address is taken or not allowed.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// The bound address, with the port that the system chose.
    ///
    /// # Errors
    /// When the socket has none.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop`: to the very end of the process, so that probes are told that it leaves.
    pub async fn serve(self, metrics: Metrics, readiness: Readiness, stop: CancellationToken) {
        let pages = Arc::new(Pages { metrics, readiness });
        let (open, tasks) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors: wait a moment instead of spinning.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&open).try_acquire_owned() else { continue };
            let (pages, stop) = (Arc::clone(&pages), stop.clone());
            tasks.spawn(async move {
                let _ = stop.run_until_cancelled(timeout(CONNECTION, connection(pages, stream))).await;
                drop(permit);
            });
        }
    }
}

async fn connection(pages: Arc<Pages>, stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = pages.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(8 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        const TEXT: &str = "text/plain; charset=utf-8";
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/livez" => page(StatusCode::OK, TEXT, "alive\n".to_owned()),
            "/readyz" => match self.readiness.ask() {
                Ok(()) => page(StatusCode::OK, TEXT, "ready\n".to_owned()),
                Err(reasons) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready\n{reasons}")),
            },
            "/metrics" => match self.metrics.text() {
                Ok(text) => page(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
                Err(_) => {
                    page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the metrics could not be written\n".to_owned())
                }
            },
            _ => page(StatusCode::NOT_FOUND, TEXT, "here are /livez, /readyz and /metrics\n".to_owned()),
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
