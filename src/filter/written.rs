//! The answer to a write: takes what the upstream says, gives where the resource is now and which version, and the resource only
//! to those who may read it.
//!
//! `Location`, `ETag` and `Last-Modified` are rebuilt from their parsed parts, on our base. A body is tested like one that was
//! read; one that is not the resource, or not for this token, is left out, for the write was made all the same. Where the
//! upstream says of a write that it made what it did to another resource, or not to which, nothing is released.

use bytes::Bytes;
use http::header::{CONTENT_LOCATION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION};
use http::{HeaderMap, StatusCode};

use super::one::Asked;
use super::{Filter, Releasable, Told, note, outcome, unusable};
use crate::authorize::{Changed, Obligations, Verb};
use crate::error::{ChangeProblem, Refusal};
use crate::fhir::etag::EntityTag;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::outcome::{IssueType, OperationOutcome, Severity};
use crate::fhir::reference::{Id, LogicalId, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::forward::{Answered, Written};
use crate::json::{Edits, Json, Limits};

/// Which resource was written, in which version.
struct Place {
    id: LogicalId,
    version: Option<LogicalId>,
}

impl Filter {
    /// Reviews what was said to a write.
    pub(super) fn release_written(
        &self,
        answer: Answered,
        obligations: &Obligations,
        changed: &Changed,
    ) -> Result<Releasable, Refusal> {
        let written = match answer {
            Answered::Written(written) => written,
            Answered::Absent => return Err(Refusal::NotFound),
            Answered::Declined { status, body } => return Err(declined(status, body)),
            Answered::Resource { .. }
            | Answered::Refused { .. }
            | Answered::Each(_)
            | Answered::PerType(_)
            | Answered::Nothing => {
                return Err(unusable("no answer to a write"));
            }
        };
        let resource = if changed.verb == Verb::Delete { None } else { self.resource(&written, changed) };
        let place = self.place(&written, changed, resource.as_ref())?;
        let mut told = Told::default();
        told.resources.push(format!("{}/{}", changed.resource_type, place.id));
        changed.patients.iter().for_each(|patient| note(&mut told.patients, patient));
        // One that was found in place of what was sent may be somebody else's.
        let back = resource.as_ref().and_then(|json| Facts::of(json.root()).ok());
        let patients = back.map(|facts| facts.patients(&self.bases)).unwrap_or_default();
        for patient in &patients {
            note(&mut told.patients, patient.as_str());
        }
        let tag = written.etag.as_deref().and_then(EntityTag::parse);
        let tag = tag.or_else(|| place.version.as_ref().and_then(|version| EntityTag::of_version(version.as_str())));
        told.version = tag.as_ref().map(|tag| tag.version().to_owned());
        if changed.verb == Verb::Delete {
            return Ok(Releasable {
                status: StatusCode::NO_CONTENT,
                headers: HeaderMap::new(),
                body: Bytes::new(),
                told,
            });
        }
        let posted = changed.verb == Verb::Create;
        let created = written.status == StatusCode::CREATED || posted && !changed.conditional;
        // It stood for an update, and nothing matched a moment ago: what is there now was not changed.
        if posted && !created && matches!(obligations.interaction, Interaction::ConditionalUpdate { .. }) {
            return Err(Refusal::Change(ChangeProblem::PreconditionFailed));
        }
        let mut headers = HeaderMap::new();
        let here = self.here(changed.resource_type, &place);
        insert(&mut headers, if created || posted { LOCATION } else { CONTENT_LOCATION }, &here);
        let body = match resource.filter(|_| changed.representation) {
            Some(json) => self.shown(&json, obligations)?,
            None => Bytes::new(),
        };
        describe(&mut headers, tag.as_ref(), written.last_modified.as_deref(), &body);
        let status = if created { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Releasable { status, headers, body, told })
    }

    /// What is there already, in answer to a create that it makes needless. It was read and tested; `said`: its `ETag` and
    /// `Last-Modified` as sent.
    pub(super) fn release_existing(
        &self,
        facts: &Facts<'_>,
        asked: &Asked<'_>,
        said: (Option<&str>, Option<&str>),
        body: Bytes,
        told: Told,
    ) -> Releasable {
        let tag = said.0.and_then(EntityTag::parse);
        let by_tag = || LogicalId::parse(tag.as_ref()?.version());
        let place = Place { id: asked.id.clone(), version: facts.version_id().or_else(by_tag) };
        let tag = tag.or_else(|| place.version.as_ref().and_then(|version| EntityTag::of_version(version.as_str())));
        let mut headers = HeaderMap::new();
        insert(&mut headers, LOCATION, &self.here(asked.resource_type, &place));
        describe(&mut headers, tag.as_ref(), said.1, &body);
        Releasable { status: StatusCode::OK, headers, body, told }
    }

    /// The address, of the version where it is known.
    fn here(&self, resource_type: ResourceType, place: &Place) -> String {
        let here = format!("{}/{resource_type}/{}", self.rebase.ours(), place.id);
        let version = place.version.as_ref().map(|version| format!("{here}/_history/{version}"));
        version.unwrap_or(here)
    }

    /// The resource in the answer, when it is the one that was written and this grant may read it.
    fn resource(&self, written: &Written, changed: &Changed) -> Option<Json> {
        let readable = changed.readable.as_ref()?;
        let json = Json::parse(written.body.clone(), Limits::default()).ok()?;
        let admitted = {
            let facts = Facts::of(json.root()).ok()?;
            let same_id = changed.id.as_ref().is_none_or(|id| facts.id() == Some(id.as_id()));
            same_id && facts.id().is_some() && readable.admits(&facts, &self.bases).is_some()
        };
        admitted.then_some(json)
    }

    /// Where it is: as the upstream's `Location` says, without one as the resource itself says.
    fn place(&self, written: &Written, changed: &Changed, resource: Option<&Json>) -> Result<Place, Refusal> {
        let located = match written.location.as_deref() {
            None => None,
            Some(location) => {
                let local = normalise(location, &self.bases);
                let local = local.filter(|local| local.resource_type == changed.resource_type);
                let local = local.ok_or_else(|| unusable("a location that is not of what was written"))?;
                let version = local.version.map(Id::to_logical_id);
                Some(Place { id: local.id.to_logical_id(), version })
            }
        };
        let by_itself = || {
            let facts = Facts::of(resource?.root()).ok()?;
            Some(Place { id: facts.id()?.to_logical_id(), version: facts.version_id() })
        };
        match (located, &changed.id) {
            (Some(place), Some(id)) if place.id != *id => Err(unusable("another resource than was written")),
            (Some(place), _) => Ok(place),
            (None, Some(id)) => {
                let version = by_itself().and_then(|place| place.version);
                let tag = written.etag.as_deref().and_then(EntityTag::parse);
                let version = version.or_else(|| LogicalId::parse(tag?.version()));
                Ok(Place { id: id.clone(), version })
            }
            (None, None) => by_itself().ok_or_else(|| unusable("no location of what was created")),
        }
    }

    /// The resource with our addresses.
    fn shown(&self, json: &Json, obligations: &Obligations) -> Result<Bytes, Refusal> {
        let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
        let mut edits = Edits::new(json);
        self.shape(&facts, obligations, &mut edits);
        if edits.is_empty() {
            return Ok(json.bytes().clone());
        }
        edits.apply().map(Bytes::from).map_err(|_| unusable("edits contradict each other"))
    }
}

/// What the upstream refused, with no more of its words than severities and codes.
pub(super) fn declined(status: StatusCode, body: Bytes) -> Refusal {
    let outcome = match Json::parse(body, Limits::default()) {
        Ok(json) => outcome::sanitise(json.root()).into(),
        Err(_) => OperationOutcome::new(Severity::Error, IssueType::Processing, "").to_bytes(),
    };
    Refusal::UpstreamDeclined { status, outcome }
}

/// Version, date and type of what is answered.
fn describe(headers: &mut HeaderMap, tag: Option<&EntityTag>, last_modified: Option<&str>, body: &Bytes) {
    if let Some(tag) = tag {
        insert(headers, ETAG, &tag.to_string());
    }
    if let Some(date) = last_modified.filter(|date| is_http_date(date)) {
        insert(headers, LAST_MODIFIED, date);
    }
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// The form of RFC 9110 section 5.6.7 that is not obsolete, by its shape.
fn is_http_date(text: &str) -> bool {
    text.len() == 29
        && text.ends_with(" GMT")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b',' | b':'))
}
