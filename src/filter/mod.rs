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

mod binary;

pub mod bundle;

pub mod capabilities;

mod entries;

#[cfg(test)]
mod given;

mod history;

mod linked;

mod one;

mod operation;

pub mod outcome;

pub mod projection;

pub mod seal;

mod searchset;

pub mod urls;

mod written;

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use self::seal::Sealer;
use self::urls::Rebase;
use crate::authorize::{Evidence, Obligations, Within};
use crate::error::{Refusal, UpstreamFault};
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::projection::kept_elements;
use crate::fhir::reference::Bases;
use crate::forward::{Answered, Unfiltered};
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
    /// The version that a change made.
    pub(crate) version: Option<String>,
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
        self.release_answer(answer, obligations, current)
    }

    fn release_answer(
        &self,
        answer: Answered,
        mut obligations: Obligations,
        current: Option<Evidence>,
    ) -> Result<Releasable, Refusal> {
        if !obligations.each.is_empty() {
            return self.release_transaction(answer, &mut obligations);
        }
        if let Some(changed) = &obligations.changed {
            return self.release_written(answer, &obligations, changed);
        }
        if let Some(judged) = obligations.beside.judged() {
            return self.release_operation(answer, &obligations, judged);
        }
        match &obligations.interaction {
            Interaction::Read { resource_type, id } => {
                let asked = one::Asked { resource_type: *resource_type, id, version: None };
                self.release_one(answer, &obligations, &asked, None)
            }
            Interaction::Vread { resource_type, id, version } => {
                let asked = one::Asked { resource_type: *resource_type, id, version: Some(version) };
                // Without the current version nobody can say that the resource is still visible.
                let current = current.ok_or(Refusal::NotFound)?;
                self.release_one(answer, &obligations, &asked, Some(&current))
            }
            Interaction::SearchType { .. } | Interaction::SearchCompartment { .. } | Interaction::SearchSystem => {
                self.release_searchset(answer, &obligations)
            }
            Interaction::HistoryInstance { .. } | Interaction::HistoryType { .. } | Interaction::HistorySystem => {
                self.release_history(answer, &obligations)
            }
            _ => Err(unusable("an answer to an interaction that is not served")),
        }
    }

    /// Returns whether a link in it ends, so that a copy of it is not good for as long as the resource is.
    fn shape(&self, facts: &Facts<'_>, obligations: &Obligations, edits: &mut Edits<'_>) -> bool {
        let mut ends = false;
        urls::rewrite(facts.resource(), edits, &mut |position, url| {
            let link = self.attachment(facts, obligations, position, url);
            ends |= link.is_some();
            link.or_else(|| self.rebase.outward(url))
        });
        Self::project(facts, obligations, edits);
        ends
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
        let mut reaches = [&obligations.reach].into_iter().chain(obligations.beside.also());
        let within =
            reaches.find_map(|reach| reach.admits_among(facts, &self.bases, Some(obligations.beside.company())));
        match within.map(|allowance| &allowance.within) {
            Some(Within::Compartment(patient)) => note(&mut told.patients, patient.as_str()),
            Some(Within::Attached(access)) => {
                access.patients().iter().for_each(|patient| note(&mut told.patients, patient.as_str()));
            }
            _ => facts.patients(&self.bases).iter().for_each(|patient| note(&mut told.patients, patient.as_str())),
        }
    }
}

impl Releasable {
    fn new(mut headers: HeaderMap, body: Bytes, obligations: &Obligations, told: Told) -> Self {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/fhir+json"));
        let body = if obligations.head { Bytes::new() } else { body };
        Self { status: StatusCode::OK, headers, body, told }
    }

    /// An answer without a body.
    fn nothing() -> Self {
        let (headers, body, told) = (HeaderMap::new(), Bytes::new(), Told::default());
        Self { status: StatusCode::NO_CONTENT, headers, body, told }
    }

    /// An answer with this body.
    fn json(body: Bytes, told: Told) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        Self { status: StatusCode::OK, headers, body, told }
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
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

#[cfg(test)]
mod tests;
