//! Calls that the gateway makes to others on its own account: JWK Sets of clients, metadata and token endpoints of OpenID
//! providers. Not the way to the FHIR server, which is `forward`.
//!
//! Takes a URL and how far it is trusted, gives the answer as it is: status, headers, body. Promises: https, or http to this
//! machine where the site's operator wrote it down; the name is resolved once, every address it has is judged, and the
//! connection goes to one of the addresses that were judged, so that a name cannot change its mind in between (E18, E30);
//! resolving, connecting, TLS and the whole answer together end in time and within a size. Follows no redirect, one to the
//! same origin neither; decodes no content coding; keeps no connection and no cookie; reads no proxy variables. What the
//! answer means, and how long it may be kept, is for the caller.
//!
//! As the client of the crate `oauth2`, where the functions that take an `AsyncHttpClient` take a closure:
//!
//! ```no_run
//! # use firebreak::outbound::{Guard, Outbound, OutboundError};
//! # async fn call(outbound: &Outbound, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, OutboundError> {
//! let client = |request: http::Request<Vec<u8>>| async move {
//!     let answer = outbound.send(request.map(Into::into), Guard::Operator).await?;
//!     Ok::<_, OutboundError>(answer.map(Into::into))
//! };
//! # client(request).await
//! # }
//! ```

mod address;
mod exchange;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper_rustls::ConfigBuilderExt;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio::sync::Semaphore;
use url::Url;

/// Names that are resolved at the same time; the system's resolver cannot be told to stop.
const LOOKUPS: usize = 16;

/// How far the origin of a URL is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The site's operator wrote it into the configuration: private addresses are fine, http is for this machine alone.
    /// Link-local addresses, where clouds keep their metadata service, are not reached.
    Operator,
    /// It came with a registration: https, and public unicast addresses alone.
    Registered,
}

impl Guard {
    /// Whether the URL may be called at all, whatever its name resolves to: https without a user, or, for
    /// [`Guard::Operator`], http to this machine.
    #[must_use]
    pub fn allows(self, url: &Url) -> bool {
        address::url_allowed(url, self)
    }
}

/// What one call may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// From the first look at the name to the last byte of the answer.
    pub time: Duration,
    /// Bytes of the answer's body.
    pub bytes: usize,
}

impl Default for Allowance {
    /// Five seconds and 64 KiB: ample for a JWK Set, a metadata document or a token response.
    fn default() -> Self {
        Self { time: Duration::from_secs(5), bytes: 64 * 1024 }
    }
}

/// Why there is no answer. Says nothing of what is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundError {
    /// Not https (or http to this machine), or with user or password.
    UrlNotAllowed,
    /// The name is not known.
    NameNotFound,
    /// One of the addresses is not one that may be reached.
    AddressNotAllowed,
    /// No address answered, or TLS failed there.
    NotConnected,
    /// Not all of it arrived in time.
    Timeout,
    /// A redirect; none is followed.
    Redirected,
    /// More than the limit.
    TooLarge,
    /// A content coding although none was accepted.
    Encoded,
    /// Not HTTP, or broken off.
    Broken,
}

impl fmt::Display for OutboundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UrlNotAllowed => "the URL must be https and without a user; http is for this machine alone",
            Self::NameNotFound => "the name of the host was not found",
            Self::AddressNotAllowed => "the host has an address that may not be reached from here",
            Self::NotConnected => "no TLS connection to the host could be made",
            Self::Timeout => "the answer did not arrive in time",
            Self::Redirected => "the answer was a redirect, and none is followed",
            Self::TooLarge => "the answer was larger than the limit",
            Self::Encoded => "the answer was compressed though that was not accepted",
            Self::Broken => "the answer was not HTTP, or broke off",
        })
    }
}

impl std::error::Error for OutboundError {}

/// Why no calls can be made: the file of certification authorities cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundSettingError(pub String);

impl fmt::Display for OutboundSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OutboundSettingError {}

/// Makes the calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    tls: Arc<rustls::ClientConfig>,
    resolve: Resolve,
    /// For URLs of the operator and for registered ones, so that the latter cannot hold up the former.
    lookups: [Arc<Semaphore>; 2],
    allowance: Allowance,
}

/// All addresses of a host, with the port.
type Resolve = fn(&str, u16) -> std::io::Result<Vec<SocketAddr>>;

impl Outbound {
    /// Trusts the authorities of the system, and those in the PEM file `ca` besides.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate.
    pub fn new(ca: Option<&Path>) -> Result<Self, OutboundSettingError> {
        Ok(Self {
            tls: Arc::new(tls(ca)?),
            resolve: |host, port| (host, port).to_socket_addrs().map(Iterator::collect),
            lookups: [(); 2].map(|()| Arc::new(Semaphore::new(LOOKUPS))),
            allowance: Allowance::default(),
        })
    }

    /// The same with another allowance for each call.
    #[must_use]
    pub fn with(self, allowance: Allowance) -> Self {
        Self { allowance, ..self }
    }

    /// Gets a JSON document.
    ///
    /// # Errors
    /// [`OutboundError`]; a status of 400 and above is an answer.
    pub async fn get(&self, url: &Url, guard: Guard) -> Result<Response<Bytes>, OutboundError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        exchange::call(self, url, guard, (Method::GET, headers, Bytes::new())).await
    }

    /// Posts a form and gets JSON; `headers` (for instance `Authorization`) are sent besides.
    ///
    /// # Errors
    /// [`OutboundError`]; a status of 400 and above is an answer.
    pub async fn post_form(
        &self,
        url: &Url,
        guard: Guard,
        mut headers: HeaderMap,
        fields: &[(&str, &str)],
    ) -> Result<Response<Bytes>, OutboundError> {
        let form: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        exchange::call(self, url, guard, (Method::POST, headers, form.into())).await
    }

    /// Sends a request as it is, to its absolute URI.
    ///
    /// # Errors
    /// [`OutboundError`]; a status of 400 and above is an answer.
    pub async fn send(&self, request: Request<Bytes>, guard: Guard) -> Result<Response<Bytes>, OutboundError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|_| OutboundError::UrlNotAllowed)?;
        exchange::call(self, &url, guard, (parts.method, parts.headers, body)).await
    }
}

/// TLS 1.2 and 1.3 with HTTP/1.1 inside; no client certificate.
fn tls(ca: Option<&Path>) -> Result<rustls::ClientConfig, OutboundSettingError> {
    let wrong = |error: &dyn fmt::Display| OutboundSettingError(format!("TLS for outbound calls: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    let mut tls = match ca {
        Some(path) => {
            let verifier =
                Verifier::new_with_extra_roots(authorities(path)?, provider).map_err(|error| wrong(&error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
        None => match builder.clone().try_with_platform_verifier() {
            Ok(builder) => builder.with_no_client_auth(),
            Err(error) => {
                // A container without a trust store still serves; only calls to others fail, each with its reason.
                tracing::warn!(%error, "this system has no certification authorities: outbound calls will fail");
                builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
            }
        },
    };
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, OutboundSettingError> {
    let wrong = |what: &dyn fmt::Display| OutboundSettingError(format!("outbound.ca `{}`: {what}", path.display()));
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error: rustls_pki_types::pem::Error| wrong(&error))?;
    if certificates.is_empty() { Err(wrong(&"a PEM file with certificates is expected")) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests;
