//! Versions that must be within reach, for what is about them: each is read by itself and judged as one that was asked for.

use super::super::{Company, Evidence, Reach, UpstreamRequest};
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::reference::{Bases, Id, LogicalId};

/// Versions that are looked up, each once.
#[derive(Debug, Default)]
pub(super) struct Versions(Vec<Version>);

#[derive(Debug, PartialEq, Eq)]
struct Version {
    reach: Reach,
    id: LogicalId,
    number: LogicalId,
}

impl Versions {
    /// This version must be within `reach`.
    pub(super) fn put(&mut self, reach: Reach, id: Id<'_>, version: Id<'_>) {
        let new = Version { reach, id: id.to_logical_id(), number: version.to_logical_id() };
        if !self.0.contains(&new) {
            self.0.push(new);
        }
    }

    /// How many are looked up.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of these too.
    pub(super) fn extend(&mut self, others: Self) {
        for one in others.0 {
            if !self.0.contains(&one) {
                self.0.push(one);
            }
        }
    }

    /// The reads, one for each.
    pub(super) fn reads(&self) -> impl Iterator<Item = UpstreamRequest> {
        self.0.iter().map(|Version { reach, id, number }| UpstreamRequest::Vread {
            resource_type: reach.resource_type(),
            id: id.clone(),
            version: number.clone(),
        })
    }

    /// Adds to `company` those that are within reach; `evidence` is in the order of [`Versions::reads`].
    ///
    /// # Errors
    /// When it is not strict JSON.
    pub(super) fn join(&self, company: &mut Company, evidence: &[Evidence], bases: &Bases) -> Result<(), Refusal> {
        for (Version { reach, id, number }, evidence) in self.0.iter().zip(evidence) {
            let Some(json) = evidence.json()? else { continue };
            let Ok(facts) = Facts::of(json.root()) else { continue };
            let named = facts.id() == Some(id.as_id()) && facts.version_id().is_none_or(|found| found == *number);
            if named && reach.admits(&facts, bases).is_some() {
                company.add_version(&facts, number, bases);
            }
        }
        Ok(())
    }
}
