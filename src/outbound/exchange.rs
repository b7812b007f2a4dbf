//! One call from end to end: resolve, judge, connect, ask, collect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::address::{address_allowed, url_allowed};
use super::{Guard, Outbound, OutboundError};

/// Bytes of the head of an answer, and what is buffered at a time.
const HEAD_BYTES: usize = 16 * 1024;

/// The share of the time that one address of several may take to accept a connection.
const SHARE: u32 = 3;

/// Method, headers and body of a request.
pub(super) type Asked = (Method, HeaderMap, Bytes);

/// Makes one call.
pub(super) async fn call(
    outbound: &Outbound,
    url: &Url,
    guard: Guard,
    asked: Asked,
) -> Result<Response<Bytes>, OutboundError> {
    let time = outbound.allowance.time;
    timeout(time, within(outbound, url, guard, asked)).await.unwrap_or(Err(OutboundError::Timeout))
}

async fn within(outbound: &Outbound, url: &Url, guard: Guard, asked: Asked) -> Result<Response<Bytes>, OutboundError> {
    if !url_allowed(url, guard) {
        return Err(OutboundError::UrlNotAllowed);
    }
    let request = request(url, asked)?;
    let addresses = addresses(outbound, url, guard).await?;
    if !addresses.iter().all(|address| address_allowed(url, address.ip(), guard)) {
        return Err(OutboundError::AddressNotAllowed);
    }
    let stream = connect(&addresses, outbound.allowance.time / SHARE).await?;
    if url.scheme() == "http" {
        return exchange(stream, request, outbound.allowance.bytes).await;
    }
    let name = server_name(url)?;
    let stream = TlsConnector::from(Arc::clone(&outbound.tls))
        .connect(name, stream)
        .await
        .map_err(|_| OutboundError::NotConnected)?;
    exchange(stream, request, outbound.allowance.bytes).await
}

/// Every address of the host, in the resolver's order. A literal is its own address.
async fn addresses(outbound: &Outbound, url: &Url, guard: Guard) -> Result<Vec<SocketAddr>, OutboundError> {
    let port = url.port_or_known_default().ok_or(OutboundError::UrlNotAllowed)?;
    let name = match url.host() {
        Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Domain(name)) => name.to_owned(),
        None => return Err(OutboundError::UrlNotAllowed),
    };
    let [of_operator, of_registered] = &outbound.lookups;
    let lookups = match guard {
        Guard::Operator => of_operator,
        Guard::Registered => of_registered,
    };
    let turn = Arc::clone(lookups).acquire_owned().await.map_err(|_| OutboundError::NameNotFound)?;
    let resolve = outbound.resolve;
    // The turn goes along: a look-up that nobody waits for any more still counts.
    let looked_up = tokio::task::spawn_blocking(move || (resolve(&name, port), turn).0).await;
    let addresses = looked_up.ok().and_then(Result::ok).unwrap_or_default();
    if addresses.is_empty() { Err(OutboundError::NameNotFound) } else { Ok(addresses) }
}

async fn connect(addresses: &[SocketAddr], each: Duration) -> Result<TcpStream, OutboundError> {
    for address in addresses {
        if let Ok(Ok(stream)) = timeout(each, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    Err(OutboundError::NotConnected)
}

fn server_name(url: &Url) -> Result<ServerName<'static>, OutboundError> {
    match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|_| OutboundError::UrlNotAllowed),
        Some(Host::Ipv4(address)) => Ok(ServerName::IpAddress(std::net::IpAddr::from(address).into())),
        Some(Host::Ipv6(address)) => Ok(ServerName::IpAddress(std::net::IpAddr::from(address).into())),
        None => Err(OutboundError::UrlNotAllowed),
    }
}

fn request(url: &Url, (method, mut headers, body): Asked) -> Result<Request<Full<Bytes>>, OutboundError> {
    let wrong = |_| OutboundError::UrlNotAllowed;
    let host = url.host_str().unwrap_or_default();
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|_| OutboundError::UrlNotAllowed)?);
    headers.insert(USER_AGENT, HeaderValue::from_static("firebreak"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().map_err(wrong)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Sends the request and collects the answer, while the connection is driven beside; nothing outlives this call.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    request: Request<Full<Bytes>>,
    bytes: usize,
) -> Result<Response<Bytes>, OutboundError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| OutboundError::Broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|_| OutboundError::Broken)?;
        collect(response, bytes).await
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

async fn collect(response: Response<hyper::body::Incoming>, bytes: usize) -> Result<Response<Bytes>, OutboundError> {
    if response.status().is_redirection() {
        return Err(OutboundError::Redirected);
    }
    let mut encodings = response.headers().get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(OutboundError::Encoded);
    }
    let (parts, body) = response.into_parts();
    match Limited::new(body, bytes).collect().await {
        Ok(body) => Ok(Response::from_parts(parts, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(OutboundError::TooLarge),
        Err(_) => Err(OutboundError::Broken),
    }
}
