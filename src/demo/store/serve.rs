//! The sample store on a socket: plain HTTP/1.1, as a FHIR server behind a gateway speaks it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Store;
use super::answer::Asked;

/// The largest request body: a search form.
const MAXIMUM_BODY: usize = 64 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `store` on `listener`, which should be bound to loopback, until `stop` is cancelled; connections are then closed
/// when their current answer is written. The path of [`Store::base`] is where the resources are.
pub async fn serve(listener: TcpListener, store: Arc<Store>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        // A failed accept concerns one connection, or the lack of descriptors, which ends by itself.
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let (store, stop) = (Arc::clone(&store), stop.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| respond(Arc::clone(&store), request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let connection = http.serve_connection(TokioIo::new(socket), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    connections.close();
    connections.wait().await;
}

async fn respond(store: Arc<Store>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAXIMUM_BODY).collect().await else {
        return Ok(bare(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let Some(path) = head.uri.path().strip_prefix(path_of(store.base())) else {
        return Ok(bare(StatusCode::NOT_FOUND));
    };
    let body = body.to_bytes();
    let asked = Asked {
        method: &head.method,
        path: path.trim_start_matches('/'),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body: &body,
    };
    Ok(store.answer(asked).map(Full::new))
}

/// The path of an absolute URL: `/fhir` of `http://127.0.0.1:4711/fhir`.
fn path_of(base: &str) -> &str {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or_default()
}

fn bare(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
