//! What a body refers to and nobody can judge from the body alone: looked up, a type at a time, and judged together.
//!
//! Promises: a resource that is absent and one that is out of reach give the same answer, after the same reads. Whoever plants a
//! reference must not learn from it what there is, nor make the upstream's own integrity checks say it.

use super::super::denial::deny;
use super::super::{Company, DenialReason, Evidence, Reach, UpstreamRequest};
use super::matched::resources;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::reference::{Bases, Id, LogicalId};
use crate::fhir::resource_type::ResourceType;

/// Ids that are asked for in one search.
const AT_ONCE: usize = 50;
/// Resources that are looked up for one body.
const MOST: usize = 200;

/// Resources that must be within a reach.
#[derive(Debug, Default)]
pub(in crate::authorize) struct Lookups(Vec<(Reach, Vec<LogicalId>)>);

impl Lookups {
    /// The resource with this id must be within `reach`.
    ///
    /// # Errors
    /// When there are too many.
    pub(in super::super) fn add(&mut self, reach: Reach, id: Id<'_>) -> Result<(), Refusal> {
        if self.len() >= MOST {
            return Err(Refusal::bad_request(format!("expected references to at most {MOST} resources")));
        }
        self.put(reach, id);
        Ok(())
    }

    /// Whether the resource is looked up.
    pub(in super::super) fn has(&self, resource_type: ResourceType, id: &LogicalId) -> bool {
        self.0.iter().any(|(reach, ids)| reach.resource_type() == resource_type && ids.contains(id))
    }

    /// How many resources are looked up.
    pub(in super::super) fn len(&self) -> usize {
        self.0.iter().map(|(_, ids)| ids.len()).sum()
    }

    /// The resource with this id is looked up, however many there are.
    pub(in super::super) fn put(&mut self, reach: Reach, id: Id<'_>) {
        match self.0.iter_mut().find(|(known, _)| *known == reach) {
            Some((_, ids)) if ids.iter().any(|known| known.as_id() == id) => {}
            Some((_, ids)) => ids.push(id.to_logical_id()),
            None => self.0.push((reach, vec![id.to_logical_id()])),
        }
    }

    /// The reads: one resource by its id, several by a search for all of them.
    pub(in crate::authorize) fn reads(&self) -> Vec<UpstreamRequest> {
        self.parts()
            .map(|(reach, ids)| {
                let resource_type = reach.resource_type();
                match ids {
                    [id] => UpstreamRequest::Read { resource_type, id: id.clone() },
                    ids => {
                        let list: Vec<&str> = ids.iter().map(LogicalId::as_str).collect();
                        let parameters = [("_id", list.join(",")), ("_count", ids.len().to_string())];
                        let parameters = parameters.map(|(name, value)| (name.to_owned(), value)).to_vec();
                        UpstreamRequest::Search { resource_type, parameters }
                    }
                }
            })
            .collect()
    }

    /// Whether all that was read is within reach; `evidence` is in the order of [`Lookups::reads`].
    ///
    /// # Errors
    /// A denial that does not say which, nor why.
    pub(in crate::authorize) fn judge(&self, evidence: &[Evidence], bases: &Bases) -> Result<(), Refusal> {
        let mut evidence = evidence.iter();
        for (reach, ids) in self.parts() {
            let found = evidence.next().map(Evidence::json).transpose()?.flatten();
            let found = found.ok_or_else(not_permitted)?;
            let admitted = |id: &LogicalId| {
                let within = |facts: &Facts<'_>| facts.id() == Some(id.as_id()) && reach.admits(facts, bases).is_some();
                match ids {
                    [_] => Facts::of(found.root()).is_ok_and(|facts| within(&facts)),
                    _ => resources(found.root()).filter_map(|one| Facts::of(one).ok()).any(|facts| within(&facts)),
                }
            };
            if !ids.iter().all(admitted) {
                return Err(not_permitted());
            }
        }
        Ok(())
    }

    /// Adds to `company` what was read and is within reach; `evidence` is in the order of [`Lookups::reads`].
    ///
    /// # Errors
    /// When it is not strict JSON.
    pub(in super::super) fn join(
        &self,
        company: &mut Company,
        evidence: &[Evidence],
        bases: &Bases,
    ) -> Result<(), Refusal> {
        for ((reach, ids), evidence) in self.parts().zip(evidence) {
            let Some(found) = evidence.json()? else { continue };
            let mut add = |facts: &Facts<'_>| {
                let asked = ids.iter().any(|id| facts.id() == Some(id.as_id()));
                if asked && reach.admits(facts, bases).is_some() {
                    company.add(facts, bases);
                }
            };
            match ids {
                [_] => Facts::of(found.root()).iter().for_each(&mut add),
                _ => resources(found.root()).filter_map(|one| Facts::of(one).ok()).for_each(|facts| add(&facts)),
            }
        }
        Ok(())
    }

    fn parts(&self) -> impl Iterator<Item = (&Reach, &[LogicalId])> {
        self.0.iter().flat_map(|(reach, ids)| ids.chunks(AT_ONCE).map(move |ids| (reach, ids)))
    }
}

/// The same for what is hidden, for what is absent, and for what may never be referred to.
pub(super) fn not_permitted() -> Refusal {
    let diagnostics = "expected references only to resources that this grant has in reach, by `Type/id`";
    Refusal::Denied(deny(DenialReason::ReferenceNotPermitted, diagnostics))
}
