//! Takes an [`Unfiltered`] upstream answer and gives a [`Releasable`] one, or withholds it.
//!
//! Promises: every resource that leaves was tested, whole, against what the permit allows: its type, its id, and where the
//! grant is bound to a patient, that patient's compartment. A resource read by id that fails is [`Refusal::NotFound`],
//! the same as an absent one; a match in a searchset that fails withholds the whole answer. Projections (`_elements`,
//! `_summary`), links and addresses are worked on afterwards, by splicing; what is not changed is copied byte for byte.
//! Does not decide what is allowed: that stands in the [`Obligations`].
//!
//! Only this module makes a `Releasable`, and nobody changes one:
//!
//! ```compile_fail,E0616
//! fn forge(mut releasable: firebreak::filter::Releasable, body: bytes::Bytes) -> firebreak::filter::Releasable {
//!     releasable.body = body;
//!     releasable
//! }
//! ```
//! ```
//! fn hand_on(releasable: firebreak::filter::Releasable) -> firebreak::filter::Releasable {
//!     releasable
//! }
//! ```

pub mod bundle;

pub mod capabilities;

pub mod facts;

pub mod outcome;

pub mod projection;

pub mod seal;

pub mod urls;

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, LAST_MODIFIED};
use http::{HeaderMap, Response, StatusCode};

use self::bundle::{BundleKind, Entry, Fault, Frame, Mode, Relation, Review, Total, Verdict};
use self::facts::Facts;
use self::seal::{Continuation, Sealer};
use self::urls::Rebase;
use crate::authorize::Obligations;
use crate::error::{Refusal, UpstreamFault};
use crate::fhir::projection::kept_elements;
use crate::fhir::reference::{Bases, LogicalId};
use crate::fhir::request::Interaction;
use crate::fhir::resource_type::ResourceType;
use crate::forward::{Answered, Evidence, Unfiltered};
use crate::json::{Edits, Json, Limits};
use crate::listen::{Body, full};

/// What the stage knows of its surroundings.
#[derive(Debug)]
pub struct Filter {
    bases: Bases,
    rebase: Rebase,
    sealer: Sealer,
}

/// An answer that may leave. Only the listener turns it into bytes on a socket, after it was recorded.
#[derive(Debug)]
pub struct Releasable {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// What it tells of, for the record.
    pub(crate) told: Told,
}

/// Whom and what an answer tells of.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// `Type/id` of every resource.
    pub(crate) resources: Vec<String>,
    /// Ids of the patients whose data it is.
    pub(crate) patients: BTreeSet<String>,
    /// Entries that were left out.
    pub(crate) withheld: u64,
}

impl Filter {
    /// A filter between our base and the upstream's.
    #[must_use]
    pub fn new(bases: Bases, rebase: Rebase, sealer: Sealer) -> Self {
        Self { bases, rebase, sealer }
    }

    /// Opens sealed continuations.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Tests the answer against its obligations and makes it fit to leave.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for what is absent or hidden, [`Refusal::Upstream`] when the answer cannot be judged or holds
    /// what it should not.
    pub fn release(&self, unfiltered: Unfiltered) -> Result<Releasable, Refusal> {
        let Unfiltered { answer, obligations, current, .. } = unfiltered;
        let search = match &obligations.interaction {
            Interaction::Read { resource_type, id } => {
                return self.release_one(
                    answer,
                    &obligations,
                    &Asked { resource_type: *resource_type, id, version: None },
                    None,
                );
            }
            Interaction::Vread { resource_type, id, version } => {
                let asked = Asked { resource_type: *resource_type, id, version: Some(version) };
                // Without the current version nobody can say that the resource is still visible.
                let current = current.ok_or(Refusal::NotFound)?;
                return self.release_one(answer, &obligations, &asked, Some(&current));
            }
            Interaction::SearchType { resource_type } => *resource_type,
            _ => return Err(unusable("an answer to an interaction that is not served")),
        };
        self.release_searchset(answer, &obligations, search)
    }

    fn release_one(
        &self,
        answer: Answered,
        obligations: &Obligations,
        asked: &Asked<'_>,
        current: Option<&Evidence>,
    ) -> Result<Releasable, Refusal> {
        let (body, etag, last_modified) = match answer {
            Answered::Resource { body, etag, last_modified } => (body, etag, last_modified),
            Answered::Absent | Answered::Refused { .. } | Answered::Nothing => return Err(Refusal::NotFound),
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
        self.shape(&facts, obligations, &mut edits);
        let body = if edits.is_empty() {
            json.bytes().clone()
        } else {
            Bytes::from(edits.apply().map_err(|_| unusable("edits contradict each other"))?)
        };
        let mut headers = HeaderMap::new();
        let whole = !obligations.projection.is_partial();
        if whole && let Some(etag) = etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
            let unchanged = obligations.if_none_match.as_deref().is_some_and(|tags| names_tag(tags, etag.as_bytes()));
            headers.insert(ETAG, etag);
            if unchanged {
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
        if !self.within_compartment(&facts, obligations) {
            return Err(Refusal::NotFound);
        }
        if !same {
            return Err(other());
        }
        if self.allowed(&facts, obligations) { Ok(facts) } else { Err(Refusal::NotFound) }
    }

    fn allowed(&self, facts: &Facts<'_>, obligations: &Obligations) -> bool {
        obligations.types.contains(&facts.resource_type()) && self.within_compartment(facts, obligations)
    }

    fn within_compartment(&self, facts: &Facts<'_>, obligations: &Obligations) -> bool {
        obligations.compartment.as_ref().is_none_or(|patient| facts.member(patient.as_id(), &self.bases))
    }

    fn shape(&self, facts: &Facts<'_>, obligations: &Obligations, edits: &mut Edits<'_>) {
        urls::rewrite(facts.resource(), edits, &mut |_, url| self.rebase.outward(url));
        Self::project(facts, obligations, edits);
    }

    fn project(facts: &Facts<'_>, obligations: &Obligations, edits: &mut Edits<'_>) {
        if obligations.projection.is_partial() {
            let kept = kept_elements(facts.resource_type(), &obligations.projection);
            projection::project(facts.resource(), edits, |element| kept.keeps(element));
        }
    }

    fn tell(&self, told: &mut Told, facts: &Facts<'_>, obligations: &Obligations) {
        if let Some(id) = facts.id() {
            told.resources.push(format!("{}/{}", facts.resource_type(), id));
        }
        match &obligations.compartment {
            Some(patient) => note(&mut told.patients, patient.as_str()),
            None => facts.patients(&self.bases).iter().for_each(|patient| note(&mut told.patients, patient.as_str())),
        }
    }

    fn release_searchset(
        &self,
        answer: Answered,
        obligations: &Obligations,
        resource_type: ResourceType,
    ) -> Result<Releasable, Refusal> {
        let self_link = format!("{}/{}", self.rebase.ours(), obligations.self_link);
        let body = match answer {
            Answered::Resource { body, .. } => body,
            Answered::Nothing => {
                let body = empty_searchset(&self_link, obligations.compartment.is_none());
                return Ok(Releasable::new(HeaderMap::new(), body, obligations, Told::default()));
            }
            Answered::Absent => return Err(Refusal::Upstream(UpstreamFault::Status(404))),
            Answered::Refused { body } => {
                let json = strict(body)?;
                return Err(Refusal::UpstreamRefused { outcome: outcome::sanitise(json.root()).into() });
            }
        };
        let json = strict(body)?;
        let frame = Frame {
            kind: BundleKind::Searchset,
            rebase: &self.rebase,
            self_link: &self_link,
            total: if obligations.compartment.is_some() { Total::Remove } else { Total::Keep },
        };
        let mut reviewer = Reviewer { filter: self, obligations, resource_type, told: Told::default() };
        let released = bundle::review(&json, &frame, &mut reviewer).map_err(|fault| match fault {
            Fault::Violation(_) => Refusal::Upstream(UpstreamFault::Foreign),
            Fault::NotTheBundle | Fault::Malformed(_) | Fault::NotAResource | Fault::Contradiction => {
                unusable(fault.id())
            }
        })?;
        let mut told = reviewer.told;
        told.withheld = released.dropped as u64;
        Ok(Releasable::new(HeaderMap::new(), released.body.into(), obligations, told))
    }
}

struct Asked<'a> {
    resource_type: ResourceType,
    id: &'a LogicalId,
    version: Option<&'a LogicalId>,
}

struct Reviewer<'f> {
    filter: &'f Filter,
    obligations: &'f Obligations,
    resource_type: ResourceType,
    told: Told,
}

impl Review for Reviewer<'_> {
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict {
        let allowed = self.filter.allowed(&entry.facts, self.obligations);
        match entry.mode {
            Mode::Match if allowed && entry.facts.resource_type() == self.resource_type => {
                self.filter.tell(&mut self.told, &entry.facts, self.obligations);
                Verdict::Keep
            }
            Mode::Match => Verdict::Violation("upstream_foreign_match"),
            // Nothing is included that was not asked for, and includes are not served.
            Mode::Include | Mode::Outcome => Verdict::Drop,
        }
    }

    fn shape(&mut self, entry: &Entry<'_>, edits: &mut Edits<'_>) {
        Filter::project(&entry.facts, self.obligations, edits);
    }

    fn seal(&mut self, _relation: Relation, url: &str) -> Option<String> {
        let path_and_query = self.filter.rebase.below(url)?.to_owned();
        if path_and_query.contains('#') {
            return None;
        }
        let continuation = Continuation { resource_type: self.resource_type, path_and_query };
        let Obligations { principal, compartment, projection, .. } = self.obligations;
        let sealed = self.filter.sealer.seal(&continuation, principal, compartment.as_ref())?;
        let mut link = format!("{}/{}?_page={sealed}", self.filter.rebase.ours(), self.resource_type.name());
        if let Some(parameter) = projection.parameter() {
            link.push('&');
            link.push_str(&parameter);
        }
        Some(link)
    }
}

impl Releasable {
    fn new(mut headers: HeaderMap, body: Bytes, obligations: &Obligations, told: Told) -> Self {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        let body = if obligations.head { Bytes::new() } else { body };
        Self { status: StatusCode::OK, headers, body, told }
    }

    /// The body, for the patient picker, which shows a part of it on our own page.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The response; still to be recorded.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(full(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        response
    }
}

fn strict(body: Bytes) -> Result<Json, Refusal> {
    Json::parse(body, Limits::default()).map_err(|_| unusable("not strict JSON"))
}

fn unusable(what: &'static str) -> Refusal {
    Refusal::Upstream(UpstreamFault::Unusable(what))
}

fn note(patients: &mut BTreeSet<String>, patient: &str) {
    if !patients.contains(patient) {
        patients.insert(patient.to_owned());
    }
}

/// `If-None-Match` (RFC 9110 section 13.1.2): weak comparison against one of the tags, or `*`.
fn names_tag(tags: &str, etag: &[u8]) -> bool {
    let weak = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    tags.trim() == "*" || tags.split(',').any(|tag| weak(tag.trim().as_bytes()) == weak(etag))
}

fn empty_searchset(self_link: &str, total: bool) -> Bytes {
    let mut text = br#"{"resourceType":"Bundle","type":"searchset","#.to_vec();
    if total {
        text.extend_from_slice(br#""total":0,"#);
    }
    text.extend_from_slice(br#""link":[{"relation":"self","url":"#);
    crate::json::quote_into(self_link, &mut text);
    text.extend_from_slice(b"}]}");
    text.into()
}
