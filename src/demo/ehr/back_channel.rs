//! How the EHR's server calls the gateway: over TLS, trusting the demonstration's certificate authority and no other.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

const TIMEOUT: Duration = Duration::from_secs(10);
const MAXIMUM_REPLY: usize = 64 * 1024;

/// The call did not lead to an answer; the text is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackChannelError(pub String);

/// An answer of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// The body, at most 64 KiB.
    pub body: Bytes,
}

/// A way to post JSON to a URL. Tests have their own.
pub trait BackChannel: Send + Sync + fmt::Debug {
    /// Posts `json` to `url`.
    ///
    /// # Errors
    /// There was no answer, or it was too large or too late. An answer with an error status is an `Ok` here.
    fn post<'a>(
        &'a self,
        url: &'a str,
        assertion: &'a str,
        json: String,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, BackChannelError>> + Send + 'a>>;
}

/// The real one.
#[derive(Debug)]
pub struct TlsBackChannel(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl TlsBackChannel {
    /// Trusts `authority`, a CA certificate, alone.
    ///
    /// # Errors
    /// The certificate is unusable.
    pub fn new(authority: CertificateDer<'static>) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }
}

impl BackChannel for TlsBackChannel {
    fn post<'a>(
        &'a self,
        url: &'a str,
        assertion: &'a str,
        json: String,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, BackChannelError>> + Send + 'a>> {
        Box::pin(async move {
            let request = Request::post(url)
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "application/json")
                .header(AUTHORIZATION, format!("Bearer {assertion}"))
                .body(Full::from(json))
                .map_err(|error| BackChannelError(error.to_string()))?;
            let exchange = async {
                let response = self.0.request(request).await.map_err(|error| BackChannelError(error.to_string()))?;
                let (head, body) = response.into_parts();
                let body = Limited::new(body, MAXIMUM_REPLY).collect().await;
                let body = body.map_err(|error| BackChannelError(error.to_string()))?.to_bytes();
                Ok(Reply { status: head.status, body })
            };
            let late = |_| BackChannelError("no answer in time".to_owned());
            tokio::time::timeout(TIMEOUT, exchange).await.map_err(late)?
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use rustls::ServerConfig;
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server that answers once, with a body of this size: its URL, and the certificate to trust.
    async fn answering(size: usize) -> (String, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(tls)).accept(socket).await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
            answer.resize(answer.len() + size, b'a');
            let _ = stream.write_all(&answer).await;
        });
        (url, certificate)
    }

    #[tokio::test]
    async fn a_reply_is_at_most_64_kib() {
        for (size, is_taken) in [(65_536, true), (65_537, false)] {
            let (url, authority) = answering(size).await;
            let reply = TlsBackChannel::new(authority).unwrap().post(&url, "assertion", "{}".to_owned()).await;
            assert_eq!(reply.is_ok_and(|reply| reply.body.len() == size), is_taken, "{size}");
        }
    }
}
