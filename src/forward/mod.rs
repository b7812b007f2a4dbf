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

use bytes::Bytes;

use crate::authorize::{Obligations, Permit, UpstreamRequest};
use crate::error::UpstreamFault;
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;

mod client;
mod probe;

mod target;

pub use client::{Upstream, UpstreamSettingError};
pub use probe::{Probe, ProbeError};

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

#[cfg(test)]
impl Unfiltered {
    /// What `send` would give, had the upstream answered with this; for tests of the stages behind this one.
    pub(crate) fn for_test(permit: Permit, answer: Answered, current: Option<Bytes>) -> Self {
        let obligations = permit.obligations;
        Self {
            answer,
            obligations,
            current: current.map(|body| Evidence { body: Some(body) }),
            spent: None,
            _forwarded: (),
        }
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
    /// Nothing was asked: an empty searchset.
    Nothing,
    /// 404 or 410, or a read that it refused.
    Absent,
    /// A search that it refused with 400 or 422, and its OperationOutcome.
    Refused { body: Bytes },
}

/// What the gateway itself read from the upstream in order to decide. It can be judged; it can never become [`Unfiltered`].
#[derive(Debug)]
pub struct Evidence {
    /// `None`: absent.
    pub(crate) body: Option<Bytes>,
}

impl Upstream {
    /// Makes the permitted request, and beside it the evidence it needs.
    ///
    /// # Errors
    /// When the upstream cannot be reached, does not answer in time, or answers what cannot be judged.
    pub async fn send(&self, permit: Permit, request_id: &str) -> Result<Unfiltered, UpstreamFault> {
        let Permit { upstream, obligations, .. } = permit;
        let started = tokio::time::Instant::now();
        let (answer, current) = match &upstream {
            UpstreamRequest::Nothing { .. } => (Answered::Nothing, None),
            UpstreamRequest::Vread { resource_type, id, .. } => {
                let version = self.call(&upstream, request_id);
                let current = self.read_current(*resource_type, id, request_id);
                let (answer, current) = tokio::try_join!(version, current)?;
                (answer, Some(current))
            }
            UpstreamRequest::Read { .. } | UpstreamRequest::Search { .. } | UpstreamRequest::Page { .. } => {
                (self.call(&upstream, request_id).await?, None)
            }
        };
        let spent = (!matches!(answer, Answered::Nothing)).then(|| started.elapsed());
        Ok(Unfiltered { answer, obligations, current, spent, _forwarded: () })
    }

    async fn read_current(
        &self,
        resource_type: ResourceType,
        id: &LogicalId,
        request_id: &str,
    ) -> Result<Evidence, UpstreamFault> {
        let read = UpstreamRequest::Read { resource_type, id: id.clone() };
        Ok(match self.call(&read, request_id).await? {
            Answered::Resource { body, .. } => Evidence { body: Some(body) },
            Answered::Nothing | Answered::Absent | Answered::Refused { .. } => Evidence { body: None },
        })
    }
}
