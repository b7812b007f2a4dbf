//! The pooled HTTP client towards one upstream, with its deadlines and bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, LAST_MODIFIED,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::narrowing::Narrowing;
use super::target::{Target, base_text, target};
use super::{Answered, Evidence};
use crate::authorize::UpstreamRequest;
use crate::clock::Clock;
use crate::config::Fhir;
use crate::error::UpstreamFault;

/// How long a request waits for its turn before the upstream counts as busy.
const TURN: Duration = Duration::from_secs(2);

/// One upstream FHIR server.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub(super) client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    pub(super) base: Arc<str>,
    authorization: Option<HeaderValue>,
    turns: Arc<Semaphore>,
    pub(super) timeout: Duration,
    response_bytes: usize,
    pub(super) narrowing: Arc<Narrowing>,
}

/// Why a client towards the upstream cannot be made.
#[derive(Debug)]
pub struct UpstreamSettingError(pub String);

impl Upstream {
    /// A client for the upstream of `settings`. Connects when first used.
    ///
    /// # Errors
    /// When the certification authorities cannot be read, or the credential is no header value.
    pub fn new(settings: &Fhir) -> Result<Self, UpstreamSettingError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| UpstreamSettingError(format!("TLS towards the upstream cannot be set up: {error}")))?;
        let tls = match (&settings.upstream_ca, settings.upstream.scheme()) {
            (Some(path), _) => {
                let wrong = |error: &dyn std::fmt::Display| {
                    UpstreamSettingError(format!("fhir.upstream_ca `{}`: {error}", path.display()))
                };
                let mut roots = rustls::RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
                    let certificate = certificate.map_err(|error| wrong(&error))?;
                    roots.add(certificate).map_err(|error| wrong(&error))?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
            // No authority is asked, and a system without any will do.
            (None, "http") => builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
            (None, _) => builder
                .try_with_platform_verifier()
                .map_err(|error| {
                    UpstreamSettingError(format!(
                        "the system's certification authorities cannot be used: {error}; name the upstream's own as `fhir.upstream_ca`"
                    ))
                })?
                .with_no_client_auth(),
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(settings.connect_timeout));
        http.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(settings.concurrency)
            .build(connector);
        let authorization = settings
            .upstream_authorization
            .as_ref()
            .map(|secret| {
                let mut value = HeaderValue::from_str(secret.expose())
                    .map_err(|_| UpstreamSettingError("fhir.upstream_authorization is no header value".to_owned()))?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        Ok(Self {
            client,
            base: base_text(&settings.upstream).into(),
            authorization,
            turns: Arc::new(Semaphore::new(settings.concurrency)),
            timeout: settings.timeout,
            response_bytes: settings.response_bytes,
            narrowing: Arc::new(Narrowing::new(Clock::system())),
        })
    }

    /// The same, which knows by this clock how old is what it knows of the upstream.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { narrowing: Arc::new(Narrowing::new(clock)), ..self }
    }

    /// The upstream's CapabilityStatement, as evidence of what it is.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn capabilities(&self) -> Result<Evidence, UpstreamFault> {
        let uri = format!("{}/metadata", self.base).parse().map_err(|_| UpstreamFault::Unreachable)?;
        let target = Target { uri, form: None };
        match self.exchange(&target, "capabilities", true).await?.0 {
            Answered::Resource { body, .. } => Ok(Evidence::of(body, None)),
            Answered::Nothing
            | Answered::Each(_)
            | Answered::PerType(_)
            | Answered::Absent
            | Answered::Refused { .. }
            | Answered::Written(_)
            | Answered::Declined { .. } => Err(UpstreamFault::Unusable("no CapabilityStatement")),
        }
    }

    pub(super) async fn call(&self, request: &UpstreamRequest, request_id: &str) -> Result<Answered, UpstreamFault> {
        let Some(target) = target(&self.base, request) else {
            return match request {
                UpstreamRequest::Nothing { .. } => Ok(Answered::Nothing),
                _ => Err(UpstreamFault::Unusable("the request cannot be written as a URL")),
            };
        };
        let read = matches!(request, UpstreamRequest::Read { .. } | UpstreamRequest::Vread { .. });
        let (answer, _) = self.exchange(&target, request_id, read).await?;
        Ok(answer)
    }

    async fn exchange(
        &self,
        target: &Target,
        request_id: &str,
        read: bool,
    ) -> Result<(Answered, Instant), UpstreamFault> {
        let deadline = Instant::now() + self.timeout;
        let Ok(Ok(_turn)) = timeout(TURN.min(self.timeout), self.turns.acquire()).await else {
            return Err(UpstreamFault::Busy);
        };
        let exchange = async {
            let response = match self.client.request(self.request(target, request_id)).await {
                Ok(response) => response,
                // A kept connection that the upstream had closed: nothing was answered, everything here is safe to repeat.
                Err(error) if !error.is_connect() => self
                    .client
                    .request(self.request(target, request_id))
                    .await
                    .map_err(|_| UpstreamFault::Unreachable)?,
                Err(_) => return Err(UpstreamFault::Unreachable),
            };
            self.judge(response, read).await
        };
        let answer = timeout_at(deadline, exchange).await.map_err(|_| UpstreamFault::Timeout)??;
        Ok((answer, deadline))
    }

    /// One exchange that is not repeated whatever becomes of it: status, header fields and the whole body.
    pub(super) async fn once(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), UpstreamFault> {
        let Ok(Ok(_turn)) = timeout(TURN.min(self.timeout), self.turns.acquire()).await else {
            return Err(UpstreamFault::Busy);
        };
        let exchange = async {
            let response = self.client.request(request).await.map_err(|_| UpstreamFault::Unreachable)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = self.collect(response).await?;
            Ok((status, headers, body))
        };
        timeout(self.timeout, exchange).await.map_err(|_| UpstreamFault::Timeout)?
    }

    /// The header fields that every request has.
    pub(super) fn headers(&self, request_id: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/fhir+json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert("prefer", HeaderValue::from_static("handling=strict"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(value) = HeaderValue::from_str(request_id) {
            headers.insert("x-request-id", value);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers
    }

    /// The request from nothing but the target and our own headers.
    pub(super) fn request(&self, target: &Target, request_id: &str) -> Request<Full<Bytes>> {
        let mut headers = self.headers(request_id);
        let (method, body) = match &target.form {
            None => (Method::GET, Bytes::new()),
            Some(form) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                (Method::POST, Bytes::from(form.clone()))
            }
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.uri.clone();
        *request.headers_mut() = headers;
        request
    }

    async fn judge(&self, response: Response<Incoming>, read: bool) -> Result<Answered, UpstreamFault> {
        let status = response.status();
        let headers = response.headers();
        match status {
            StatusCode::OK => {
                fhir_json(headers)?;
                let (etag, last_modified) = (text(headers, ETAG), text(headers, LAST_MODIFIED));
                let body = self.collect(response).await?;
                Ok(Answered::Resource { body, etag, last_modified })
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answered::Absent),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if read => Ok(Answered::Absent),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                fhir_json(headers)?;
                Ok(Answered::Refused { body: self.collect(response).await? })
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(UpstreamFault::Busy),
            other => Err(UpstreamFault::Status(other.as_u16())),
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, UpstreamFault> {
        match Limited::new(response.into_body(), self.response_bytes).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(UpstreamFault::Unusable("larger than the limit")),
            Err(_) => Err(UpstreamFault::Unusable("broken off")),
        }
    }
}

/// Only FHIR JSON in UTF-8 that is not encoded can be judged.
pub(super) fn fhir_json(headers: &HeaderMap) -> Result<(), UpstreamFault> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(UpstreamFault::Unusable("encoded though not asked for"));
    }
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(UpstreamFault::Unusable("of two media types"));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let json = ["application/fhir+json", "application/json", "application/json+fhir"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if json && utf8 { Ok(()) } else { Err(UpstreamFault::Unusable("not FHIR JSON in UTF-8")) }
}

pub(super) fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

#[cfg(test)]
impl Upstream {
    /// A client for the upstream at `base`, which has two seconds to answer.
    pub(super) fn for_test(base: &str) -> Self {
        #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"http://localhost\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"{base}\"\ntimeout = \"2s\"\n"
        );
        Self::new(&crate::config::Config::parse(&text, std::path::Path::new(".")).unwrap().fhir).unwrap()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::authorize::{Transaction, TransactionEntry, Verb, Write};
    use crate::fhir::etag::EntityTag;
    use crate::fhir::reference::LogicalId;
    use crate::fhir::resource_type::ResourceType;

    /// A write of an Observation without conditions, of which nothing comes back.
    fn plain(verb: Verb, id: Option<&str>) -> Write {
        Write {
            verb,
            resource_type: ResourceType::OBSERVATION,
            id: id.map(|id| LogicalId::parse(id).unwrap()),
            body: Some(Bytes::from_static(b"{}")),
            if_match: None,
            if_none_match: false,
            if_none_exist: None,
            representation: false,
        }
    }

    #[test]
    fn a_request_has_the_header_fields_that_are_ours_and_no_others() {
        let target =
            |form: Option<&str>| Target { uri: "http://up/fhir/x".parse().unwrap(), form: form.map(str::to_owned) };
        for (form, more) in [(None, None), (Some("name=x"), Some("content-type: application/x-www-form-urlencoded"))] {
            let request = Upstream::for_test("http://up/fhir").request(&target(form), "r1");
            let mut fields: Vec<String> =
                request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            fields.sort_unstable();
            let mut expected = vec![
                "accept-encoding: identity",
                "accept: application/fhir+json",
                "cache-control: no-cache",
                "prefer: handling=strict",
                "x-request-id: r1",
            ];
            expected.extend(more);
            expected.sort_unstable();
            assert_eq!(fields, expected);
        }
    }

    #[tokio::test]
    async fn each_status_means_one_thing_and_none_is_followed() {
        let resource_type = ResourceType::OBSERVATION;
        let id = LogicalId::parse("o1").unwrap();
        let read = UpstreamRequest::Read { resource_type, id: id.clone() };
        let version = UpstreamRequest::Vread { resource_type, id: id.clone(), version: id };
        let search = UpstreamRequest::Search { resource_type, parameters: Vec::new() };
        let told = async |status: u16, request: &UpstreamRequest| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let here = listener.local_addr().unwrap();
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/fhir+json\r\nLocation: http://{here}/fhir/elsewhere\r\n\
                 Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
            let served = tokio::spawn(async move {
                let mut count = 0;
                while let Ok((mut stream, _)) = listener.accept().await {
                    count += 1;
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    if count > 1 {
                        return;
                    }
                }
            });
            let told = match Upstream::for_test(&format!("http://{here}/fhir")).call(request, "r1").await {
                Ok(Answered::Resource { .. }) => "resource".to_owned(),
                Ok(Answered::Absent) => "absent".to_owned(),
                Ok(Answered::Refused { .. }) => "refused".to_owned(),
                Ok(_) => "something else".to_owned(),
                Err(fault) => format!("{fault:?}"),
            };
            // A second request would have ended it.
            assert!(!served.is_finished(), "{status}");
            served.abort();
            told
        };
        for (status, one, found) in [
            (200, "resource", "resource"),
            (404, "absent", "absent"),
            (410, "absent", "absent"),
            (400, "absent", "refused"),
            (422, "absent", "refused"),
            (429, "Busy", "Busy"),
            (503, "Busy", "Busy"),
            (201, "Status(201)", "Status(201)"),
            (301, "Status(301)", "Status(301)"),
            (302, "Status(302)", "Status(302)"),
            (307, "Status(307)", "Status(307)"),
            (401, "Status(401)", "Status(401)"),
            (403, "Status(403)", "Status(403)"),
            (500, "Status(500)", "Status(500)"),
        ] {
            assert_eq!(told(status, &read).await, one, "{status}");
            assert_eq!(told(status, &version).await, one, "{status}");
            assert_eq!(told(status, &search).await, found, "{status}");
        }
    }

    #[tokio::test]
    async fn a_write_carries_its_conditions_and_asks_back_only_what_may_be_read() {
        let sent = async |write: Write| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let base = format!("http://{}/fhir", listener.local_addr().unwrap());
            let served = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 4096];
                let length = stream.read(&mut bytes).await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n").await;
                bytes.truncate(length);
                String::from_utf8(bytes).unwrap()
            });
            Upstream::for_test(&base).write(&write, "r1").await.unwrap();
            let text = served.await.unwrap();
            let ours = ["if-match", "if-none-match", "if-none-exist", "prefer", "content-type"];
            let line = text.lines().next().unwrap().to_owned();
            let fields = text.lines().filter(|line| line.split_once(':').is_some_and(|(name, _)| ours.contains(&name)));
            let mut all: Vec<String> = fields.map(str::to_owned).collect();
            all.sort_unstable();
            all.insert(0, line);
            all
        };
        let (media_type, minimal) = ("content-type: application/fhir+json", "prefer: return=minimal");
        let create = Write {
            if_none_exist: Some(vec![("identifier".to_owned(), "a|b&c".to_owned())]),
            representation: true,
            ..plain(Verb::Create, None)
        };
        let condition = "if-none-exist: identifier=a%7Cb%26c";
        let all = ["POST /fhir/Observation HTTP/1.1", media_type, condition, "prefer: return=representation"];
        assert_eq!(sent(create).await, all);
        let update = Write { if_match: EntityTag::parse("W/\"3\""), ..plain(Verb::Update, Some("o1")) };
        let all = ["PUT /fhir/Observation/o1 HTTP/1.1", media_type, "if-match: W/\"3\"", minimal];
        assert_eq!(sent(update).await, all);
        let upsert = Write { if_none_match: true, ..plain(Verb::Update, Some("o1")) };
        assert_eq!(sent(upsert).await, ["PUT /fhir/Observation/o1 HTTP/1.1", media_type, "if-none-match: *", minimal]);
        let delete = Write { if_match: EntityTag::parse("\"3\""), body: None, ..plain(Verb::Delete, Some("o1")) };
        assert_eq!(sent(delete).await, ["DELETE /fhir/Observation/o1 HTTP/1.1", "if-match: \"3\"", minimal]);
    }

    #[tokio::test]
    async fn a_transaction_carries_the_conditions_of_its_entries() {
        let write = |verb, id, representation| Write { representation, ..plain(verb, id) };
        let sent = async |writes: Vec<Write>| {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let base = format!("http://{}/fhir", listener.local_addr().unwrap());
            let served = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut text = String::new();
                while !text.ends_with("]}") {
                    let mut bytes = vec![0; 4096];
                    let length = stream.read(&mut bytes).await.unwrap();
                    bytes.truncate(length);
                    text.push_str(&String::from_utf8(bytes).unwrap());
                }
                let _ = stream.write_all(b"HTTP/1.1 409 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                text
            });
            let entry = |write| TransactionEntry { full_url: None, request: UpstreamRequest::Write(Box::new(write)) };
            let transaction = Transaction { entries: writes.into_iter().map(entry).collect() };
            Upstream::for_test(&base).transaction(&transaction, "r1").await.unwrap();
            served.await.unwrap()
        };
        let text = sent(vec![
            Write { if_match: EntityTag::parse("W/\"3\""), ..write(Verb::Update, Some("o1"), true) },
            Write { if_none_match: true, ..write(Verb::Update, Some("o2"), false) },
            Write { if_match: EntityTag::parse("W/\"4\""), body: None, ..write(Verb::Delete, Some("o3"), false) },
            Write {
                if_none_exist: Some(vec![("identifier".to_owned(), "a|b&c".to_owned())]),
                ..write(Verb::Create, None, false)
            },
        ])
        .await;
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let entries = [
            r#"{"resource":{},"request":{"method":"PUT","url":"Observation/o1","ifMatch":"W/\"3\""}}"#,
            r#"{"resource":{},"request":{"method":"PUT","url":"Observation/o2","ifNoneMatch":"*"}}"#,
            r#"{"request":{"method":"DELETE","url":"Observation/o3","ifMatch":"W/\"4\""}}"#,
            r#"{"resource":{},"request":{"method":"POST","url":"Observation","ifNoneExist":"identifier=a%7Cb%26c"}}"#,
        ];
        assert_eq!(
            body,
            format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","))
        );
        // One of them may not be read.
        assert!(text.contains("prefer: return=minimal\r\n"), "{text}");
    }

    #[test]
    fn what_is_said_of_a_write_is_where_it_is_and_a_body_of_fhir_json() {
        let said = |fields: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            match super::super::write::judge(StatusCode::CREATED, &headers, Bytes::from_static(b"{}")) {
                Ok(Answered::Written(written)) => (written.location, written.body.len()),
                other => (Some(format!("{other:?}")), 0),
            }
        };
        let place = |text: &str| Some(text.to_owned());
        assert_eq!(said(&[("location", "a"), ("content-location", "b")]), (place("a"), 0));
        assert_eq!(said(&[("content-location", "b"), ("content-type", "application/fhir+json")]), (place("b"), 2));
        assert_eq!(said(&[("content-type", "text/html")]), (None, 0));
        assert_eq!(said(&[("content-type", "application/fhir+json"), ("content-encoding", "gzip")]), (None, 0));
    }

    fn is_judged(fields: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        fhir_json(&headers).is_ok()
    }

    #[test]
    fn an_answer_is_judged_when_it_is_fhir_json_in_utf_8_and_nothing_else() {
        for media_type in [
            "application/fhir+json",
            "application/json",
            "application/json+fhir",
            "Application/FHIR+json; charset=UTF-8",
            "application/fhir+json;fhirVersion=4.0; charset=\"utf-8\"",
        ] {
            assert!(is_judged(&[("content-type", media_type)]), "{media_type}");
            assert!(is_judged(&[("content-type", media_type), ("content-encoding", "Identity")]), "{media_type}");
            for encoding in ["gzip", "br", "identity, gzip", ""] {
                assert!(!is_judged(&[("content-type", media_type), ("content-encoding", encoding)]), "{encoding}");
            }
            let encoded_twice = [("content-encoding", "identity"), ("content-encoding", "gzip")];
            assert!(!is_judged(&[&[("content-type", media_type)][..], &encoded_twice[..]].concat()));
            for other in [media_type, "text/html"] {
                assert!(!is_judged(&[("content-type", media_type), ("content-type", other)]), "{other}");
            }
        }
        for media_type in [
            "",
            "text/html",
            "text/json",
            "application/fhir+xml",
            "application/fhir+ndjson",
            "application/fhir+json; charset=utf-16",
            "application/fhir+json; charset=utf-8; charset=latin1",
            "application/fhir+json, text/html",
        ] {
            assert!(!is_judged(&[("content-type", media_type)]), "{media_type}");
        }
        assert!(!is_judged(&[]));
    }
}
