//! The answer to a Bundle of requests: one entry for each, in their order, each of which was released or refused by itself (R4
//! http.html section 3.1.0.11.2).
//!
//! Of a transaction the upstream's Bundle must have as many entries as were sent; each is judged like the answer to the same
//! request alone. Every body in the result has passed this filter.

use bytes::Bytes;
use http::header::{CONTENT_LOCATION, ETAG, LOCATION};
use http::{HeaderMap, HeaderName, StatusCode};

use super::{Filter, Releasable, Told, strict, unusable};
use crate::authorize::{Changed, Obligations};
use crate::error::{Challenge, Refusal, Scheme};
use crate::forward::{Answered, Written};
use crate::json::{Value, quote_into};

/// What came of one entry.
pub(crate) type Ended = Result<Releasable, Refusal>;

impl Filter {
    /// The answer to a batch.
    #[must_use]
    pub(crate) fn batch(&self, entries: Vec<Ended>) -> Releasable {
        self.bundle("batch-response", entries)
    }

    /// Reviews what was said to a transaction.
    pub(super) fn release_transaction(
        &self,
        answer: Answered,
        obligations: &mut Obligations,
    ) -> Result<Releasable, Refusal> {
        let body = match answer {
            Answered::Resource { body, .. } => body,
            Answered::Declined { status, body } => return Err(super::written::declined(status, body)),
            Answered::Absent => return Err(Refusal::NotFound),
            _ => return Err(unusable("no answer to a transaction")),
        };
        let json = strict(body)?;
        let root = json.root();
        let is = |name: &str, text: &str| root.member(name).is_some_and(|value| value.is(text));
        if !is("resourceType", "Bundle") || !is("type", "transaction-response") {
            return Err(unusable("no answer to a transaction"));
        }
        let entries: Vec<Value<'_>> = root.member("entry").into_iter().flat_map(Value::elements).collect();
        let each = std::mem::take(&mut obligations.each);
        if entries.len() != each.len() {
            return Err(unusable("another number of entries than were sent"));
        }
        let mut ended = Vec::with_capacity(each.len());
        for (entry, obligations) in entries.into_iter().zip(each) {
            let answer = answered(entry, obligations.changed.as_ref())?;
            ended.push(match self.release_answer(answer, obligations, None) {
                // An entry of a transaction that was made cannot have failed.
                Err(Refusal::Upstream(fault)) => return Err(Refusal::Upstream(fault)),
                other => other,
            });
        }
        Ok(self.bundle("transaction-response", ended))
    }

    fn bundle(&self, kind: &str, entries: Vec<Ended>) -> Releasable {
        let mut told = Told::default();
        let mut text = format!(r#"{{"resourceType":"Bundle","type":"{kind}""#).into_bytes();
        for (at, ended) in entries.into_iter().enumerate() {
            text.extend_from_slice(if at == 0 { br#","entry":["# } else { b"," });
            self.entry(ended, &mut text, &mut told);
            text.extend_from_slice(b"}}");
        }
        let any = text.ends_with(b"}}");
        text.extend_from_slice(if any { b"]}" } else { b"}" });
        Releasable::json(Bytes::from(text), told)
    }

    /// One entry, up to its two last brackets.
    fn entry(&self, ended: Ended, text: &mut Vec<u8>, told: &mut Told) {
        text.push(b'{');
        match ended {
            Ok(released) => {
                let Releasable { status, headers, body, told: more } = released;
                if !body.is_empty() {
                    text.extend_from_slice(br#""resource":"#);
                    text.extend_from_slice(&body);
                    text.push(b',');
                }
                response(text, status, &headers);
                told.resources.extend(more.resources);
                told.patients.extend(more.patients);
                told.withheld += more.withheld;
            }
            Err(refusal) => {
                let realm = self.rebase.ours();
                let (head, outcome) = refusal.into_response(&Challenge { realm, scheme: Scheme::Bearer }).into_parts();
                response(text, head.status, &HeaderMap::new());
                text.extend_from_slice(br#","outcome":"#);
                text.extend_from_slice(&outcome);
            }
        }
    }
}

fn response(text: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    text.extend_from_slice(br#""response":{"status":"#);
    quote_into(&format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default()), text);
    let mut member = |name: &str, header: HeaderName| {
        if let Some(value) = headers.get(header).and_then(|value| value.to_str().ok()) {
            text.extend_from_slice(format!(r#","{name}":"#).as_bytes());
            quote_into(value, text);
            return true;
        }
        false
    };
    if !member("location", LOCATION) {
        member("location", CONTENT_LOCATION);
    }
    member("etag", ETAG);
}

/// One entry of the upstream's answer as the answer to the same request alone.
fn answered(entry: Value<'_>, changed: Option<&Changed>) -> Result<Answered, Refusal> {
    let response = entry.member("response").ok_or_else(|| unusable("an entry without a response"))?;
    let status = response.text("status").and_then(|status| status.get(..3)?.parse::<u16>().ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or_else(|| unusable("an entry without a status"))?;
    let body = entry.member("resource").map_or(Bytes::new(), |resource| Bytes::copy_from_slice(resource.raw()));
    let text = |name: &str| response.text(name).map(Into::into);
    match (status.as_u16(), changed) {
        (200 | 201 | 204, Some(_)) => {
            let (location, etag) = (text("location"), text("etag"));
            Ok(Answered::Written(Written { status, location, etag, last_modified: None, body }))
        }
        (200, None) => Ok(Answered::Resource { body, etag: text("etag"), last_modified: None }),
        (404 | 410, None) => Ok(Answered::Absent),
        _ => Err(unusable("an entry of a transaction that failed")),
    }
}
