//! A Bundle of requests, taken apart (R4 bundle.html, http.html section 3.1.0.11): every entry becomes a [`FhirRequest`] by the
//! same grammar as a request on the wire, or tells why it is none.
//!
//! Takes the body of a `POST` on the base, gives its [`Entry`]s in order. Promises: members that are not known here are refused,
//! for a server may know them; a method is one of FHIR's in upper case; a URL is relative to the base; no Bundle stands in a
//! Bundle. Of the conditions of an entry the same is understood as of the header fields that they stand for. It decides
//! nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::FhirRequest;
use crate::error::{Malformed, MalformedKind, Refusal};
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::links;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Json, Kind, Value};
use crate::listen::Inbound;

/// A batch or a transaction, taken apart.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) kind: BundleType,
    pub(crate) entries: Vec<Entry>,
}

/// `Bundle.type` of what can be posted on the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BundleType {
    Batch,
    Transaction,
}

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `fullUrl`, as written.
    pub(crate) full_url: Option<String>,
    /// Type and id of the resource in it, as they stand there.
    pub(crate) body_id: Option<(ResourceType, Id)>,
    /// Everything that the resource refers to, without versions.
    refers_to: Vec<String>,
    /// What it asks for, or why it asks for nothing.
    pub(crate) request: Result<FhirRequest, Refusal>,
    /// What it changes by id.
    target: Option<(ResourceType, Id)>,
}

impl Entry {
    /// The `urn:uuid:` name of what it creates.
    pub(crate) fn urn(&self) -> Option<&str> {
        self.full_url.as_deref().filter(|full_url| self.creates() && is_uuid(full_url))
    }

    /// Whether it creates a resource whose id the server chooses.
    pub(crate) fn creates(&self) -> bool {
        self.request.as_ref().is_ok_and(|request| matches!(request.interaction, Interaction::Create { .. }))
    }

    /// The resource that it changes, by its id.
    pub(crate) fn changes(&self) -> Option<&(ResourceType, Id)> {
        self.target.as_ref()
    }

    /// Whether the resource in it refers to `Type/id`, below whatever base.
    pub(crate) fn refers_to(&self, named: &str) -> bool {
        self.refers_to
            .iter()
            .any(|text| text.strip_suffix(named).is_some_and(|before| before.is_empty() || before.ends_with('/')))
    }
}

impl FhirRequest {
    /// Whether the Bundle in the body says that it is a transaction.
    pub(crate) fn is_transaction(&self) -> bool {
        let is = |json: &Json| kind(json.root()) == Some(BundleType::Transaction);
        self.interaction == Interaction::Batch && self.json().is_ok_and(is)
    }

    /// The entries of the Bundle in the body.
    ///
    /// # Errors
    /// 400 when it is no batch or transaction, 413 when it has more than `most` entries.
    pub(crate) fn bundle(&self, most: usize) -> Result<Bundle, Refusal> {
        let root = self.json()?.root();
        let expected = || Refusal::bad_request("expected a Bundle whose `type` is batch or transaction");
        let kind = kind(root).ok_or_else(expected)?;
        if !root.member("resourceType").is_some_and(|name| name.is("Bundle")) {
            return Err(Refusal::bad_request("expected a Bundle"));
        }
        known(root, &["resourceType", "id", "meta", "type", "timestamp", "identifier", "total", "link", "entry"])?;
        let entries = root.member("entry");
        if entries.is_some_and(|entries| entries.kind() != Kind::Array) {
            return Err(Refusal::bad_request("expected `entry` to be an array"));
        }
        let entries = entries.into_iter().flat_map(Value::elements);
        if entries.clone().nth(most).is_some() {
            let expected = format!("expected at most {most} entries");
            return Err(Refusal::Malformed(Malformed { kind: MalformedKind::TooLarge, expected }));
        }
        Ok(Bundle { kind, entries: entries.map(|value| entry(value, &self.inbound)).collect() })
    }
}

fn kind(bundle: Value<'_>) -> Option<BundleType> {
    match bundle.text("type").as_deref() {
        Some("batch") => Some(BundleType::Batch),
        Some("transaction") => Some(BundleType::Transaction),
        _ => None,
    }
}

fn entry(value: Value<'_>, whole: &Inbound) -> Entry {
    let request = request(value, whole);
    let resource = value.member("resource");
    let facts = resource.and_then(|resource| Facts::of(resource).ok());
    let mut refers_to = Vec::new();
    if let Some(resource) = resource {
        links::visit(resource, &mut |_, link| {
            let text = link.string().unwrap_or_default();
            refers_to.push(text.split("/_history/").next().unwrap_or_default().to_owned());
        });
    }
    let target = match request.as_ref().map(FhirRequest::interaction) {
        Ok(
            Interaction::Update { resource_type, id }
            | Interaction::Patch { resource_type, id }
            | Interaction::Delete { resource_type, id },
        ) => Some((*resource_type, id.clone())),
        _ => None,
    };
    let body_id = facts.and_then(|facts| Some((facts.resource_type(), facts.id()?.to_logical_id())));
    Entry { full_url: value.text("fullUrl").map(Into::into), body_id, refers_to, request, target }
}

fn request(entry: Value<'_>, whole: &Inbound) -> Result<FhirRequest, Refusal> {
    known(entry, &["fullUrl", "resource", "request"])?;
    if entry.member("fullUrl").is_some_and(|full_url| !full_url.is_string()) {
        return Err(Refusal::bad_request("expected `fullUrl` to be a string"));
    }
    let request = entry.member("request").filter(|request| request.kind() == Kind::Object);
    let request = request.ok_or_else(|| Refusal::bad_request("expected a `request` in every entry"))?;
    known(request, &["method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist"])?;
    let method = match request.text("method").as_deref() {
        Some("GET") => Method::GET,
        Some("POST") => Method::POST,
        Some("PUT") => Method::PUT,
        Some("PATCH") => Method::PATCH,
        Some("DELETE") => Method::DELETE,
        _ => return Err(Refusal::bad_request("expected `request.method` to be GET, POST, PUT, PATCH or DELETE")),
    };
    let url = request.text("url").filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| Refusal::bad_request("expected `request.url`, relative to the base"))?;
    let (path, query) = url.split_once('?').map_or((&*url, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    // In a Bundle there is nothing but resources.
    headers.insert(ACCEPT, HeaderValue::from_static("application/fhir+json"));
    for (name, header) in [("ifNoneMatch", "if-none-match"), ("ifMatch", "if-match"), ("ifNoneExist", "if-none-exist")]
    {
        if let Some(value) = request.member(name) {
            let text = value.string().and_then(|text| HeaderValue::from_str(&text).ok());
            let text = text.ok_or_else(|| Refusal::bad_request(format!("expected `request.{name}` to be text")))?;
            headers.insert(HeaderName::from_static(header), text);
        }
    }
    if let Some(prefer) = whole.headers.get("prefer") {
        headers.insert("prefer", prefer.clone());
    }
    let body = match entry.member("resource") {
        None => Bytes::new(),
        Some(resource) => {
            let (media_type, body) = content(resource, &method)?;
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            body
        }
    };
    let base = whole.path.trim_end_matches('/');
    let inbound = Inbound {
        method,
        path: format!("{base}/{path}"),
        query: query.map(str::to_owned),
        headers,
        body,
        peer: whole.peer.clone(),
        request_id: whole.request_id.clone(),
    };
    let request = FhirRequest::parse(inbound, base).map_err(|refusal| match refusal {
        Refusal::Malformed(Malformed { kind: MalformedKind::UnsupportedMediaType, .. })
            if entry.member("resource").is_none() && !path.ends_with("_search") =>
        {
            Refusal::bad_request("expected a `resource` in the entry, as its method and URL need one")
        }
        other => other,
    })?;
    match &request.interaction {
        Interaction::Batch => Err(Refusal::bad_request("expected no Bundle of requests in a Bundle of requests")),
        _ => Ok(request),
    }
}

/// The body that the resource of an entry stands for; a JSON Patch travels as a Binary (R4 http.html section 3.1.0.8.2).
fn content(resource: Value<'_>, method: &Method) -> Result<(&'static str, Bytes), Refusal> {
    if *method != Method::PATCH {
        return Ok(("application/fhir+json", Bytes::copy_from_slice(resource.raw())));
    }
    let is = |name: &str, text: &str| resource.member(name).is_some_and(|value| value.is(text));
    let data = resource.text("data").filter(|_| is("resourceType", "Binary") && is("contentType", PATCH));
    let decoded = data.and_then(|data| STANDARD.decode(data.as_bytes()).ok());
    let expected =
        || Refusal::bad_request(format!("expected a patch as a Binary of type `{PATCH}` with `data` in base64"));
    decoded.map(|data| (PATCH, Bytes::from(data))).ok_or_else(expected)
}

const PATCH: &str = "application/json-patch+json";

fn known(object: Value<'_>, names: &[&str]) -> Result<(), Refusal> {
    if object.kind() == Kind::Object && object.members().all(|member| names.iter().any(|name| member.key.is(name))) {
        return Ok(());
    }
    Err(Refusal::bad_request(format!("expected no members in a Bundle and its entries but {}", names.join(", "))))
}

/// `urn:uuid:` and a UUID in lower case (RFC 9562 section 4).
fn is_uuid(full_url: &str) -> bool {
    full_url.strip_prefix("urn:uuid:").is_some_and(|uuid| {
        uuid.len() == 36
            && uuid.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            })
    })
}
