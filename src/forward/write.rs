//! Writes: the one request that changes something, sent once (R4 http.html sections 3.1.0.4 to 3.1.0.8 and 3.1.0.11).
//!
//! Takes a permitted write or transaction, gives what the upstream says to it. Promises: it is never repeated, for without an
//! answer nobody knows whether it was done; the headers are ours alone (`If-Match`, `If-None-Match`, `If-None-Exist` and
//! `Prefer` are rebuilt); the resource is asked back only where the permit says so.

use bytes::Bytes;
use http::header::{
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;

use super::client::{fhir_json, text};
use super::target::{RequestLine, below, encode};
use super::{Answered, Upstream};
use crate::authorize::{Transaction, TransactionEntry, UpstreamRequest, Verb, Write};
use crate::error::UpstreamFault;
use crate::json::quote_into;

const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What the upstream says of a write that it made.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) status: StatusCode,
    /// `Location`, or without it `Content-Location`, as sent.
    pub(crate) location: Option<String>,
    /// `ETag` as sent.
    pub(crate) etag: Option<String>,
    /// `Last-Modified` as sent.
    pub(crate) last_modified: Option<String>,
    /// Whatever was in the body, of whatever type; nothing unless it is FHIR JSON.
    pub(crate) body: Bytes,
}

impl Upstream {
    pub(super) async fn write(&self, write: &Write, request_id: &str) -> Result<Answered, UpstreamFault> {
        let (method, path) = line(write);
        let mut headers = HeaderMap::new();
        if let Some(tag) = &write.if_match {
            headers.insert(IF_MATCH, header(&tag.to_string())?);
        }
        if write.if_none_match {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        if let Some(parameters) = &write.if_none_exist {
            headers.insert(IF_NONE_EXIST, header(&encode(parameters))?);
        }
        let request = self.changing(method, &path, headers, write.body.clone(), write.representation, request_id)?;
        let (status, headers, body) = self.once(request).await?;
        judge(status, &headers, body)
    }

    pub(super) async fn transaction(
        &self,
        transaction: &Transaction,
        request_id: &str,
    ) -> Result<Answered, UpstreamFault> {
        let body = bundle(transaction);
        // One preference for all. What is read must come back, and then what is written does too: the filter drops it where
        // it was not to. Without reads, nothing is asked back unless everything may be.
        let reads = |entry: &TransactionEntry| !matches!(entry.request, UpstreamRequest::Write(_));
        let mut writes = transaction.entries.iter().filter_map(|entry| match &entry.request {
            UpstreamRequest::Write(write) if write.verb != Verb::Delete => Some(write.representation),
            _ => None,
        });
        let representation =
            transaction.entries.iter().any(reads) || writes.next() == Some(true) && writes.all(|one| one);
        let request = self.changing(Method::POST, "", HeaderMap::new(), Some(body), representation, request_id)?;
        let (status, headers, body) = self.once(request).await?;
        if status == StatusCode::OK {
            fhir_json(&headers)?;
            return Ok(Answered::Resource { body, etag: None, last_modified: None });
        }
        match judge(status, &headers, body)? {
            declined @ Answered::Declined { .. } => Ok(declined),
            // What it reads is not there, and so nothing of it was done.
            Answered::Absent if transaction.entries.iter().any(reads) => Ok(Answered::Absent),
            _ => Err(UpstreamFault::Status(status.as_u16())),
        }
    }

    fn changing(
        &self,
        method: Method,
        path: &str,
        more: HeaderMap,
        body: Option<Bytes>,
        representation: bool,
        request_id: &str,
    ) -> Result<Request<Full<Bytes>>, UpstreamFault> {
        let unwritable = |_| UpstreamFault::Unusable("the request cannot be written as a URL");
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(unwritable)?;
        let mut headers = self.headers(request_id);
        headers.extend(more);
        let prefer = if representation { "return=representation" } else { "return=minimal" };
        headers.insert(PREFER, HeaderValue::from_static(prefer));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        }
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn line(write: &Write) -> (Method, String) {
    let resource_type = write.resource_type.name();
    let method = match write.verb {
        Verb::Create => Method::POST,
        Verb::Update => Method::PUT,
        Verb::Delete => Method::DELETE,
    };
    match &write.id {
        Some(id) => (method, format!("/{resource_type}/{id}")),
        None => (method, format!("/{resource_type}")),
    }
}

/// The line that a write is sent with.
pub(super) fn request_line(write: &Write) -> RequestLine {
    let method = match write.verb {
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Delete => "DELETE",
    };
    RequestLine { method, target: line(write).1, form: None }
}

pub(super) fn judge(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Result<Answered, UpstreamFault> {
    match status {
        StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => {
            let location = text(headers, LOCATION).or_else(|| text(headers, http::header::CONTENT_LOCATION));
            let body = if fhir_json(headers).is_ok() { body } else { Bytes::new() };
            let (etag, last_modified) = (text(headers, ETAG), text(headers, LAST_MODIFIED));
            Ok(Answered::Written(Written { status, location, etag, last_modified, body }))
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answered::Absent),
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PRECONDITION_FAILED
        | StatusCode::UNPROCESSABLE_ENTITY => {
            let body = if fhir_json(headers).is_ok() { body } else { Bytes::new() };
            Ok(Answered::Declined { status, body })
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(UpstreamFault::Busy),
        other => Err(UpstreamFault::Status(other.as_u16())),
    }
}

/// The Bundle of a transaction, from its judged entries.
fn bundle(transaction: &Transaction) -> Bytes {
    let mut text = br#"{"resourceType":"Bundle","type":"transaction","entry":["#.to_vec();
    for (at, entry) in transaction.entries.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.push(b'{');
        if let Some(full_url) = &entry.full_url {
            member(&mut text, "fullUrl", full_url);
            text.push(b',');
        }
        let (method, url) = match &entry.request {
            UpstreamRequest::Write(write) => {
                if let Some(body) = &write.body {
                    text.extend_from_slice(br#""resource":"#);
                    text.extend_from_slice(body);
                    text.push(b',');
                }
                line(write)
            }
            other => (Method::GET, below(other).unwrap_or_default()),
        };
        text.extend_from_slice(br#""request":{"#);
        member(&mut text, "method", method.as_str());
        text.push(b',');
        member(&mut text, "url", url.trim_start_matches('/'));
        if let UpstreamRequest::Write(write) = &entry.request {
            if let Some(tag) = &write.if_match {
                text.push(b',');
                member(&mut text, "ifMatch", &tag.to_string());
            }
            if write.if_none_match {
                text.push(b',');
                member(&mut text, "ifNoneMatch", "*");
            }
            if let Some(parameters) = &write.if_none_exist {
                text.push(b',');
                member(&mut text, "ifNoneExist", &encode(parameters));
            }
        }
        text.extend_from_slice(b"}}");
    }
    text.extend_from_slice(b"]}");
    text.into()
}

fn member(text: &mut Vec<u8>, name: &str, value: &str) {
    quote_into(name, text);
    text.push(b':');
    quote_into(value, text);
}

fn header(text: &str) -> Result<HeaderValue, UpstreamFault> {
    HeaderValue::from_str(text).map_err(|_| UpstreamFault::Unusable("a condition that is no header value"))
}
