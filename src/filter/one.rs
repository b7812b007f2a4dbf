//! One resource that was asked for by its id: takes the upstream's answer, gives it when it is what was asked for and within
//! reach. Whatever is not is answered like absence, byte for byte.

use bytes::Bytes;
use http::header::{ETAG, HeaderValue, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::{Filter, Releasable, Told, binary, strict, unusable};
use crate::authorize::Obligations;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::projection::Projection;
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::forward::{Answered, Evidence};
use crate::json::{Edits, Json};

/// What was asked for.
pub(super) struct Asked<'a> {
    pub(super) resource_type: ResourceType,
    pub(super) id: &'a LogicalId,
    pub(super) version: Option<&'a LogicalId>,
}

impl Filter {
    pub(super) fn release_one(
        &self,
        answer: Answered,
        obligations: &Obligations,
        asked: &Asked<'_>,
        current: Option<&Evidence>,
    ) -> Result<Releasable, Refusal> {
        let (body, etag, last_modified) = match answer {
            Answered::Resource { body, etag, last_modified } => (body, etag, last_modified),
            Answered::Absent
            | Answered::Refused { .. }
            | Answered::Each(_)
            | Answered::PerType(_)
            | Answered::Nothing
            | Answered::Written(_)
            | Answered::Declined { .. } => {
                return Err(Refusal::NotFound);
            }
        };
        if let Some(current) = current {
            let body = current.body.clone().ok_or(Refusal::NotFound)?;
            let json = strict(body)?;
            let latest = Asked { version: None, ..*asked };
            self.judge_one(&json, obligations, &latest)?;
        }
        let json = strict(body)?;
        let facts = self.judge_one(&json, obligations, asked)?;
        let mut told = Told::default();
        self.tell(&mut told, &facts, obligations);
        let mut edits = Edits::new(&json);
        let ends = self.shape(&facts, obligations, &mut edits);
        let (mut headers, body) = if obligations.projection == Projection::Content {
            binary::content(json.root())?
        } else if edits.is_empty() {
            (HeaderMap::new(), json.bytes().clone())
        } else {
            (HeaderMap::new(), Bytes::from(edits.apply().map_err(|_| unusable("edits contradict each other"))?))
        };
        if let Some(existing) = obligations.existing {
            let said = (etag.as_deref(), last_modified.as_deref());
            let body = if existing.representation { body } else { Bytes::new() };
            return Ok(self.release_existing(&facts, asked, said, body, told));
        }
        let whole = !obligations.projection.is_partial();
        if whole && let Some(etag) = etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
            let unchanged = obligations.if_none_match.as_deref().is_some_and(|tags| names_tag(tags, etag.as_bytes()));
            headers.insert(ETAG, etag);
            if unchanged && !ends {
                // They are about a body that is not sent.
                let headers = HeaderMap::from_iter(headers.remove(ETAG).map(|etag| (ETAG, etag)));
                return Ok(Releasable { status: StatusCode::NOT_MODIFIED, headers, body: Bytes::new(), told });
            }
        }
        if let Some(value) = last_modified.and_then(|date| HeaderValue::from_str(&date).ok()) {
            headers.insert(LAST_MODIFIED, value);
        }
        Ok(Releasable::new(headers, body, obligations, told))
    }

    /// Tests one resource that was asked for by id. What is asked for and what comes must be the same; whether it may be
    /// seen is answered like absence.
    fn judge_one<'j>(
        &self,
        json: &'j Json,
        obligations: &Obligations,
        asked: &Asked<'_>,
    ) -> Result<Facts<'j>, Refusal> {
        let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
        let other = || unusable("another resource than was asked for");
        if facts.resource_type() != asked.resource_type {
            return Err(other());
        }
        let same = facts.id().is_some_and(|id| id.as_str() == asked.id.as_str())
            && asked.version.is_none_or(|version| facts.version_id().is_none_or(|found| found == *version));
        // That it is another one is told only of what may be seen: an upstream that folds the case of ids must not show by a
        // 502 that it has one.
        if obligations.reach.admits_among(&facts, &self.bases, Some(obligations.beside.company())).is_none() {
            return Err(Refusal::NotFound);
        }
        if same { Ok(facts) } else { Err(other()) }
    }
}

/// `If-None-Match` (RFC 9110 section 13.1.2): weak comparison against one of the tags, or `*`.
fn names_tag(tags: &str, etag: &[u8]) -> bool {
    let weak = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    tags.trim() == "*" || tags.split(',').any(|tag| weak(tag.trim().as_bytes()) == weak(etag))
}
