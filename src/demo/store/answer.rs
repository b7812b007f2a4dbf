//! One request to the sample store and its answer: reads with entity tags, searches as searchset
//! Bundles, errors as OperationOutcome.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::definitions::{Definition, definition};
use super::facts::Fact;
use super::outcome::Failure;
use super::pages::{Found, uuid};
use super::search::{Handling, Search};
use super::{Store, Stored, seed};

const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json;charset=utf-8");
const VERSION_1: HeaderValue = HeaderValue::from_static("W/\"1\"");

/// What the store looks at in a request; `path` is relative to the base, without a slash at the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Store {
    /// The answer, errors included.
    pub(super) fn answer(&self, asked: Asked<'_>) -> Response<Bytes> {
        let mut response = self.try_answer(asked).unwrap_or_else(|failure| {
            let mut response = respond(failure.status, failure.body());
            if failure.status == StatusCode::METHOD_NOT_ALLOWED {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            }
            response
        });
        if asked.method == Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        response
    }

    fn try_answer(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Failure> {
        refuse_other_formats(asked)?;
        let segments: Vec<&str> = asked.path.split('/').filter(|segment| !segment.is_empty()).collect();
        let reading = matches!(*asked.method, Method::GET | Method::HEAD);
        let type_of = |name: &str| definition(name).ok_or(Failure::not_found("this resource type is not here"));
        match segments.as_slice() {
            ["metadata"] if reading => Ok(respond(StatusCode::OK, self.capabilities.clone())),
            [] if reading => self.next_page(asked.query),
            [name] if reading => self.search_response(type_of(name)?, asked, &[]),
            [name, "_search"] if asked.method == Method::POST => {
                if !is_form(asked.headers) {
                    return Err(Failure::invalid("`_search` takes application/x-www-form-urlencoded"));
                }
                self.search_response(type_of(name)?, asked, asked.body)
            }
            [name, id] | [name, id, "_history", "1"] if reading => {
                let stored = self.find(type_of(name)?.name, id).ok_or(Failure::not_found("no such resource"))?;
                Ok(stored.response(asked.headers))
            }
            [_, _, "_history", _] if reading => Err(Failure::not_found("every resource has version 1 only")),
            _ if reading => Err(Failure::not_found("nothing is here")),
            _ => Err(Failure::read_only()),
        }
    }

    fn search_response(
        &self,
        definition: &Definition,
        asked: Asked<'_>,
        form: &[u8],
    ) -> Result<Response<Bytes>, Failure> {
        let pairs = form_urlencoded::parse(asked.query.as_bytes()).chain(form_urlencoded::parse(form));
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        let search = Search::parse(definition, pairs, handling(asked.headers))?;
        let found = Found { matches: self.matches(definition, &search), include: search.include, count: search.count };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&search.used).finish();
        let mark = if query.is_empty() { "" } else { "?" };
        let own = format!("{}/{}{mark}{query}", self.base, definition.name);
        Ok(respond(StatusCode::OK, self.bundle(&Arc::new(found), 0, &own, None)))
    }

    /// `?_getpages=<uuid>&_offset=50`: the next page of a search that was made before.
    fn next_page(&self, query: &str) -> Result<Response<Bytes>, Failure> {
        let value = |wanted: &str| {
            form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value)
        };
        let name = value("_getpages").ok_or(Failure::not_found("searches of all types are not supported"))?;
        let offset = value("_offset").and_then(|offset| offset.parse::<usize>().ok());
        let offset = offset.ok_or(Failure::invalid("`_offset` must be a number"))?;
        let found = self.pages.find(&name).ok_or(Failure::page_gone())?;
        let own = format!("{}?_getpages={name}&_offset={offset}", self.base);
        Ok(respond(StatusCode::OK, self.bundle(&found, offset, &own, Some(&name))))
    }

    /// One page of a search as a Bundle; `own` is its self link.
    fn bundle(&self, found: &Arc<Found>, offset: usize, own: &str, name: Option<&str>) -> Bytes {
        let page: Vec<&Stored> = found
            .matches
            .iter()
            .skip(offset)
            .take(found.count)
            .filter_map(|position| self.stored.get(*position))
            .collect();
        let mut text = String::with_capacity(400 + page.iter().map(|stored| stored.json.len() + 200).sum::<usize>());
        text.push_str(r#"{"resourceType":"Bundle","id":""#);
        text.push_str(&uuid());
        text.push_str(r#"","meta":{"lastUpdated":""#);
        text.push_str(&seed::TODAY.to_string());
        text.push_str(r#"T23:00:00Z"},"type":"searchset","total":"#);
        text.push_str(&found.matches.len().to_string());
        text.push_str(r#","link":["#);
        push_link(&mut text, "self", own);
        let next = offset.saturating_add(found.count);
        if found.count > 0 && next < found.matches.len() {
            let name = name.map_or_else(|| self.pages.keep(Arc::clone(found)), str::to_owned);
            text.push(',');
            push_link(&mut text, "next", &format!("{}?_getpages={name}&_offset={next}", self.base));
        }
        text.push(']');
        let included = self.included(&page, &found.include);
        let entries =
            page.iter().map(|stored| (*stored, "match")).chain(included.iter().map(|stored| (*stored, "include")));
        for (position, (stored, mode)) in entries.enumerate() {
            text.push_str(if position == 0 { r#","entry":["# } else { "," });
            stored.push_entry(&mut text, &self.base, mode);
        }
        text.push_str(if page.is_empty() { "}" } else { "]}" });
        Bytes::from(text)
    }

    /// The targets of the given reference parameters, each once, without those that matched.
    fn included(&self, page: &[&Stored], parameters: &[usize]) -> Vec<&Stored> {
        let mut seen: HashSet<(&str, &str)> =
            page.iter().map(|stored| (stored.definition.name, stored.id.as_str())).collect();
        let references = page.iter().flat_map(|stored| {
            parameters.iter().filter_map(|parameter| match stored.facts.get(*parameter) {
                Some(Fact::References(references)) => Some(references),
                _ => None,
            })
        });
        references
            .flatten()
            .filter_map(|reference| reference.split_once('/'))
            .filter_map(|(name, id)| self.find(name, id))
            .filter(|stored| seen.insert((stored.definition.name, stored.id.as_str())))
            .collect()
    }
}

impl Stored {
    fn response(&self, headers: &HeaderMap) -> Response<Bytes> {
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let unchanged =
            known.flat_map(|value| value.split(',')).any(|tag| matches!(tag.trim(), "W/\"1\"" | "\"1\"" | "*"));
        let mut response = respond(StatusCode::OK, self.json.clone());
        if unchanged {
            response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response.headers_mut().insert(ETAG, VERSION_1);
        if let Some(modified) = http_date(self.updated) {
            response.headers_mut().insert(LAST_MODIFIED, modified);
        }
        response
    }

    fn push_entry(&self, text: &mut String, base: &str, mode: &str) {
        for part in [r#"{"fullUrl":""#, base, "/", self.definition.name, "/", &self.id, r#"","resource":"#] {
            text.push_str(part);
        }
        text.push_str(str::from_utf8(&self.json).unwrap_or("{}"));
        for part in [r#","search":{"mode":""#, mode, r#""}}"#] {
            text.push_str(part);
        }
    }
}

fn push_link(text: &mut String, relation: &str, url: &str) {
    // The URL is our own base and percent-encoded text: it has no character that JSON would escape.
    for part in [r#"{"relation":""#, relation, r#"","url":""#, url, r#""}"#] {
        text.push_str(part);
    }
}

fn respond(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, FHIR_JSON);
    response
}

fn http_date(at: Timestamp) -> Option<HeaderValue> {
    let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()?;
    HeaderValue::try_from(text).ok()
}

/// `Prefer: handling=strict` (R4, 3.1.1.1.2).
fn handling(headers: &HeaderMap) -> Handling {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let strict = preferences.flat_map(|value| value.split([',', ';'])).any(|token| token.trim() == "handling=strict");
    if strict { Handling::Strict } else { Handling::Lenient }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type
        .split(';')
        .next()
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

fn refuse_other_formats(asked: Asked<'_>) -> Result<(), Failure> {
    let format = form_urlencoded::parse(asked.query.as_bytes()).find(|(name, _)| name == "_format");
    let acceptable = match format {
        Some((_, format)) => format.contains("json"),
        None => asked.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_none_or(|accept| {
            accept.contains("json") || accept.contains("*/*") || accept.contains("application/*") || accept.is_empty()
        }),
    };
    if acceptable { Ok(()) } else { Err(Failure::not_acceptable()) }
}
