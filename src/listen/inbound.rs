//! One request as it came in: its head was parsed and its limits were applied, nothing in it is trusted yet.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

/// A request whose head was parsed by hyper, whose body was collected within the limits, and whose target was seen to be
/// in origin-form (RFC 9112 section 3.2.1). Only the listener makes one of what a client sent.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The method as sent (case-sensitive, RFC 9110 section 9.1).
    pub(crate) method: Method,
    /// The path as on the wire: not decoded, not normalised, beginning with `/`.
    pub(crate) path: String,
    /// The query as on the wire, without the `?`; `None` when there was no `?`.
    pub(crate) query: Option<String>,
    /// All header fields.
    pub(crate) headers: HeaderMap,
    /// The whole body; empty when there was none.
    pub(crate) body: Bytes,
    /// Who is at the other end of the connection.
    pub(crate) peer: Peer,
    /// `X-Request-Id` of the client where it has the form `[A-Za-z0-9._-]{1,64}`, otherwise one of ours.
    pub(crate) request_id: String,
}

/// The other end of a connection, as the socket and the TLS session tell it; never taken from a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address and port of the socket.
    pub address: SocketAddr,
    /// `TLSv1.2` or `TLSv1.3`; `None` on a plain-text listener.
    pub tls: Option<&'static str>,
    /// SHA-256 of the verified client certificate in lower-case hex, when one was asked for and given.
    pub client_certificate: Option<String>,
}

impl Peer {
    /// The address that budgets and records are kept by.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

impl Inbound {
    /// The method as sent.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path as on the wire.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The value of a header that must occur at most once; `Err` when it occurs twice or is not visible ASCII.
    ///
    /// # Errors
    /// The name of the header.
    pub(crate) fn single_header(&self, name: &'static str) -> Result<Option<&str>, &'static str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(Some).map_err(|_| name),
            (Some(_), Some(_)) => Err(name),
        }
    }

    /// A search of the gateway's own, for a browser at `from`.
    pub(crate) fn own_search(path: String, form: &str, from: IpAddr) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        Self {
            method: Method::POST,
            path,
            query: None,
            headers,
            body: Bytes::copy_from_slice(form.as_bytes()),
            peer: Peer { address: SocketAddr::new(from, 0), tls: None, client_certificate: None },
            request_id: crate::random::request_id(),
        }
    }

    /// A request that nobody sent, for `firebreak explain`: `target` is path and query.
    pub(crate) fn supposed(method: Method, target: &str, headers: HeaderMap, body: Bytes) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target.to_owned(), None),
        };
        Self {
            method,
            path,
            query,
            headers,
            body,
            peer: Peer { address: SocketAddr::from(([127, 0, 0, 1], 0)), tls: None, client_certificate: None },
            request_id: crate::random::request_id(),
        }
    }

    /// A request for tests of the stages behind the listener: `method` and `target` (path and query), no body.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn for_test(method: &str, target: &str) -> Self {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (target.to_owned(), None),
        };
        Self {
            method: Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET),
            path,
            query,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: Peer { address: SocketAddr::from(([192, 0, 2, 1], 4711)), tls: None, client_certificate: None },
            request_id: "test-request".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;

    #[test]
    fn an_ipv4_client_of_a_listener_for_both_is_known_by_its_ipv4_address() {
        let address = "[::ffff:192.0.2.1]:4711".parse().unwrap();
        let peer = Peer { address, tls: None, client_certificate: None };
        assert_eq!(peer.ip(), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_header_that_must_be_single_is_refused_when_it_occurs_twice() {
        let mut inbound = Inbound::for_test("GET", "/");
        assert_eq!(inbound.single_header("dpop"), Ok(None));
        inbound.headers.append("dpop", HeaderValue::from_static("a"));
        assert_eq!(inbound.single_header("dpop"), Ok(Some("a")));
        inbound.headers.append("dpop", HeaderValue::from_static("a"));
        assert_eq!(inbound.single_header("dpop"), Err("dpop"));
    }
}
