//! What would be decided, for explanations: looked at, and thrown away. Nobody gets the permit.

use std::sync::Arc;

use super::change::Graph;
use super::decide::step;
use super::transaction::graph;
use super::{Authorizer, Decision, OpenPage, Prospect};
use crate::authenticate::{Authenticated, Principal};
use crate::canonicalise::{BundleType, FhirRequest};
use crate::error::Refusal;
use crate::fhir::interaction::Interaction;

impl Authorizer {
    /// What would be decided if `principal` asked.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn consider<T>(
        &self,
        request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
        look: impl FnOnce(Prospect<'_>) -> T,
    ) -> Result<T, Refusal> {
        looked_at(self.decide(Authenticated::supposed(request, principal), pages), look)
    }

    /// The same of each entry of a batch or transaction, in order; nothing of another request.
    pub fn consider_entries<T>(
        &self,
        request: &FhirRequest,
        principal: &Arc<Principal>,
        pages: &impl OpenPage,
        look: impl Fn(Prospect<'_>) -> T,
    ) -> Vec<Result<T, Refusal>> {
        if *request.interaction() != Interaction::Batch {
            return Vec::new();
        }
        let Ok(bundle) = request.bundle(self.max_entries) else { return Vec::new() };
        let graph: Option<Graph> = (bundle.kind == BundleType::Transaction).then(|| graph(&bundle.entries));
        let decide = |request| match &graph {
            Some(graph) => step(self.judge_entry(request, principal, graph, pages), 0),
            None => self.decide(Authenticated::supposed(request, Arc::clone(principal)), pages),
        };
        bundle.entries.into_iter().map(|entry| looked_at(decide(entry.request?), &look)).collect()
    }
}

fn looked_at<T>(decision: Decision, look: impl FnOnce(Prospect<'_>) -> T) -> Result<T, Refusal> {
    match decision {
        Decision::Permit(permit) => Ok(look(Prospect::Permit(&permit))),
        Decision::Inquire(inquiry) => Ok(look(Prospect::Inquiry(&inquiry))),
        Decision::Batch(_) => Ok(look(Prospect::Batch)),
        Decision::Deny(denial) => Err(Refusal::Denied(denial)),
        Decision::Refuse(refusal) => Err(refusal),
    }
}
