//! Consumes a [`Permit`], makes the one upstream request it stands for, and gives back an [`Unfiltered`] answer.
//!
//! The request is built from the permit alone: an empty header map, an allow-list of our own headers, the upstream's base
//! from the configuration. No byte of the client's request is copied. Nothing here follows a redirect, and nothing here can
//! release an answer: `Unfiltered` and [`Evidence`] have no way to become a response but through `filter`.
//!
//! What the gateway reads to decide can never be released:
//!
//! ```compile_fail,E0308
//! fn release_evidence(evidence: firebreak::forward::Evidence) -> firebreak::forward::Unfiltered {
//!     evidence
//! }
//! ```
//! ```
//! fn keep_evidence(evidence: firebreak::forward::Evidence) -> firebreak::forward::Evidence {
//!     evidence
//! }
//! ```
//!
//! nor does an inquiry go where a permit does:
//!
//! ```compile_fail,E0308
//! async fn send_inquiry(upstream: firebreak::forward::Upstream, inquiry: firebreak::authorize::Inquiry) {
//!     let _ = upstream.send(inquiry, "request").await;
//! }
//! ```
//! ```
//! async fn inquire(upstream: firebreak::forward::Upstream, inquiry: firebreak::authorize::Inquiry) {
//!     let _ = upstream.inquire(&inquiry, "request").await;
//! }
//! ```

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::StatusCode;

use crate::authorize::{Inquiry, Obligations, Permit, UpstreamRequest};
use crate::error::UpstreamFault;
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::way::Way;

mod client;
mod narrowing;
mod probe;
mod reliance;

mod operation;

mod target;

mod write;

pub use crate::authorize::Evidence;
pub use client::{Upstream, UpstreamSettingError};
pub use probe::{Probe, ProbeError};
pub use target::RequestLine;
pub(crate) use target::request_lines;
pub(crate) use write::Written;

/// What the upstream must honour for the permitted request to be confined, each once: of which type in which way. Nothing where nothing
/// is confined.
#[must_use]
pub fn relied_on(permit: &Permit) -> Vec<(ResourceType, Way)> {
    let mut ways: Vec<(ResourceType, Way)> = Vec::new();
    for way in reliance::relied_on(&permit.upstream, &permit.obligations) {
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways
}

/// On how many types is searched at the same time for one request.
const AT_A_TIME: usize = 4;
/// How much is read at the same time for one decision.
const READ_AT_A_TIME: usize = 16;

/// URL and form of the request that `request` becomes below `base`.
#[cfg(fuzzing)]
pub(crate) fn target_for_fuzzing(base: &str, request: &UpstreamRequest) -> Option<(String, Option<String>)> {
    target::target(base, request).map(|target| (target.uri.to_string(), target.form))
}

/// An upstream answer with the obligations it must still meet.
#[derive(Debug)]
pub struct Unfiltered {
    pub(crate) answer: Answered,
    pub(crate) obligations: Obligations,
    /// The current version, when an older one was asked for: both must be visible.
    pub(crate) current: Option<Evidence>,
    /// Whether the upstream was called, and how long it took, for the record.
    pub(crate) spent: Option<std::time::Duration>,
    _forwarded: (),
}

#[cfg(any(test, fuzzing))]
impl Unfiltered {
    /// What `send` would give, had the upstream answered with this; for tests of the stages behind this one.
    pub(crate) fn for_test(permit: Permit, answer: Answered, current: Option<Bytes>) -> Self {
        let obligations = permit.obligations;
        Self { answer, obligations, current: current.map(|body| Evidence::of(body, None)), spent: None, _forwarded: () }
    }
}

/// What the upstream said, as far as it can mean something here.
#[derive(Debug)]
pub(crate) enum Answered {
    /// 200 with FHIR JSON.
    Resource {
        body: Bytes,
        /// `ETag` as sent.
        etag: Option<String>,
        /// `Last-Modified` as sent.
        last_modified: Option<String>,
    },
    /// The answers of several searches, each with the place of its confines.
    Each(Vec<(usize, Answered)>),
    /// The answers of the searches on several types.
    PerType(Vec<(Option<ResourceType>, Answered)>),
    /// Nothing was asked: an empty searchset.
    Nothing,
    /// 404 or 410, or a read that it refused.
    Absent,
    /// A search that it refused with 400 or 422, and its OperationOutcome.
    Refused { body: Bytes },
    /// A write that it made.
    Written(Written),
    /// A write that it did not make (400, 409, 412, 422), and its OperationOutcome, if there is one.
    Declined { status: StatusCode, body: Bytes },
}

impl Upstream {
    /// Makes the permitted request, and beside it the evidence it needs. A search that is confined is made only where the upstream
    /// was found to honour what confines it.
    ///
    /// # Errors
    /// When the upstream cannot be reached, does not answer in time, or answers what cannot be judged.
    pub async fn send(&self, permit: Permit, request_id: &str) -> Result<Unfiltered, UpstreamFault> {
        let Permit { upstream, obligations, .. } = permit;
        self.rely(&upstream, &obligations).await?;
        let started = tokio::time::Instant::now();
        let (answer, current) = match &upstream {
            UpstreamRequest::Vread { resource_type, id, .. } => {
                let version = self.call(&upstream, request_id);
                let current = self.read_current(*resource_type, id, request_id);
                let (answer, current) = tokio::try_join!(version, current)?;
                (answer, Some(current))
            }
            UpstreamRequest::PerType { searches } => (self.per_type(searches, request_id).await?, None),
            UpstreamRequest::Each { .. }
            | UpstreamRequest::Nothing { .. }
            | UpstreamRequest::Read { .. }
            | UpstreamRequest::Search { .. }
            | UpstreamRequest::SearchCompartment { .. }
            | UpstreamRequest::History { .. }
            | UpstreamRequest::Page { .. }
            | UpstreamRequest::Write(_)
            | UpstreamRequest::Operation(_)
            | UpstreamRequest::Transaction(_) => (self.in_parts(&upstream, request_id).await?, None),
        };
        let spent = (!matches!(answer, Answered::Nothing)).then(|| started.elapsed());
        Ok(Unfiltered { answer, obligations, current, spent, _forwarded: () })
    }

    /// A few searches at a time, so that one request does not take all turns.
    async fn per_type(&self, searches: &[UpstreamRequest], request_id: &str) -> Result<Answered, UpstreamFault> {
        let mut answers = Vec::with_capacity(searches.len());
        for few in searches.chunks(AT_A_TIME) {
            let calls = few.iter().map(|search| self.in_parts(search, request_id));
            let types = few.iter().map(UpstreamRequest::searched_type);
            answers.extend(types.zip(try_join_all(calls).await?));
        }
        Ok(Answered::PerType(answers))
    }

    /// One request, or the parts that it is made of.
    async fn in_parts(&self, upstream: &UpstreamRequest, request_id: &str) -> Result<Answered, UpstreamFault> {
        match upstream {
            UpstreamRequest::Nothing { .. } => Ok(Answered::Nothing),
            UpstreamRequest::Each { parts, .. } => {
                let calls = parts.iter().map(|part| async move {
                    Ok::<_, UpstreamFault>((part.place, self.call(&part.request, request_id).await?))
                });
                Ok(Answered::Each(try_join_all(calls).await?))
            }
            UpstreamRequest::Write(write) => self.write(write, request_id).await,
            UpstreamRequest::Transaction(transaction) => self.transaction(transaction, request_id).await,
            UpstreamRequest::Operation(invocation) if invocation.body.is_some() => {
                self.invoke(invocation, request_id).await
            }
            one => self.call(one, request_id).await,
        }
    }

    async fn read_current(
        &self,
        resource_type: ResourceType,
        id: &LogicalId,
        request_id: &str,
    ) -> Result<Evidence, UpstreamFault> {
        let read = UpstreamRequest::Read { resource_type, id: id.clone() };
        self.evidence(&read, request_id).await
    }

    /// Reads what a decision needs, some at a time, so that one request does not take all turns.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn inquire(&self, inquiry: &Inquiry, request_id: &str) -> Result<Vec<Evidence>, UpstreamFault> {
        let mut evidence = Vec::with_capacity(inquiry.reads().len());
        for some in inquiry.reads().chunks(READ_AT_A_TIME) {
            evidence.extend(try_join_all(some.iter().map(|read| self.evidence(read, request_id))).await?);
        }
        Ok(evidence)
    }

    async fn evidence(&self, read: &UpstreamRequest, request_id: &str) -> Result<Evidence, UpstreamFault> {
        Ok(match self.call(read, request_id).await? {
            Answered::Resource { body, etag, .. } => Evidence::of(body, etag),
            Answered::Refused { .. } => Evidence::refused(),
            Answered::Nothing
            | Answered::Each(_)
            | Answered::PerType(_)
            | Answered::Absent
            | Answered::Written(_)
            | Answered::Declined { .. } => Evidence::absent(),
        })
    }
}
