//! The front door: accepts connections, terminates TLS, applies limits and deadlines, and turns each request into an
//! [`Inbound`]; writes nothing to a client but what `audit` recorded.
//!
//! Promises: every wait on a client has a deadline and every buffer a bound (handshake, head, body, a client that does not
//! read, an HTTP/2 client that never sends its preface). An HTTP/1 message that two readers could frame differently is
//! answered 400 and the connection closed. (In HTTP/2 nothing depends on it, and the library cuts a fragment off a path before
//! anybody sees it: it is neither looked at nor passed on.) On shutdown no request that was accepted is lost.

use std::future::Future;

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};

use crate::audit::Recorded;

mod connection;
mod framing;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod inbound;
mod owed;
mod room;
mod server;
mod tls;

pub use inbound::{Inbound, Peer};
pub use server::{Drain, Listener, Open};
pub use tls::{CertificateError, Certificates};

/// A response body: bytes, or a stream for the few answers that go on for long.
pub type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, std::io::Error>>;

/// What stands behind the listener and answers every request.
pub trait Site: Send + Sync + 'static {
    /// Answers one request, or one that could not be read.
    fn respond(&self, inbound: Result<Inbound, Unreadable>) -> impl Future<Output = Recorded<Response<Body>>> + Send;
}

/// A request whose head was parsed and that is refused before anybody looks at what it wants.
#[derive(Debug)]
pub struct Unreadable {
    /// Its head, with no body.
    pub head: Inbound,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an [`Unreadable`] request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The head is no HTTP, or two readers could read it differently: 400.
    Head,
    /// The head, its target or the number of its fields is above the limit: 431.
    HeadTooLarge,
    /// The target is not in origin-form, or `:authority` and `Host` differ: 400.
    Target,
    /// The body is larger than the limit: 413.
    BodyTooLarge,
    /// There is no memory for the body now: 503.
    NoRoom,
    /// The body did not come in time: 408.
    BodyTimeout,
    /// The body broke off or was framed wrongly: 400.
    BodyBroken,
}

/// A body of bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}
