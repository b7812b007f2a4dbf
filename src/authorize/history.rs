//! Histories: of one resource, of a type, of everything (R4 http.html section 3.1.0.10).
//!
//! The history of one resource has the letter r, as its versions have. A restricted grant must have the version that is current
//! within reach: it is read first, as evidence, and only when it is, the versions are asked for. So a history that is hidden
//! costs the upstream what an absent one costs. Each version is tested by itself afterwards. The histories of a type and of
//! everything have the letter s; there is no parameter that narrows them, so they are for grants that reach all of it.

use std::sync::Arc;

use super::asked::{Asked, serves};
use super::change::Ready;
use super::decide::{Authorizer, decided};
use super::denial::deny;
use super::inquiry::{Inquiry, Pending, unusable};
use super::policy::Action;
use super::search::Beside;
use super::{Decision, DenialReason, Evidence, Obligations, OpenPage, Reach, UpstreamRequest};
use crate::authenticate::Principal;
use crate::canonicalise::FhirRequest;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::print_link;
use crate::smart::scope::Letter;

/// A request that may be made when the version that is current is within reach.
#[derive(Debug)]
pub(super) struct Visit {
    id: Id,
    ready: Ready,
}

impl Authorizer {
    /// Decides about a history.
    pub(super) fn decide_history(
        &self,
        request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Decision {
        let of = match &request.interaction {
            Interaction::HistoryInstance { id, .. } => Some(id.clone()),
            _ => None,
        };
        let ready = match self.history(request, principal, pages) {
            Ok(ready) => ready,
            Err(refusal) => return decided(Err(refusal)),
        };
        if ready.aims() {
            return self.aim(ready);
        }
        let Some(id) = of.filter(|_| !ready.obligations.reach.is_unrestricted()) else { return decided(Ok(ready)) };
        let read = UpstreamRequest::Read { resource_type: ready.obligations.reach.resource_type(), id: id.clone() };
        match Inquiry::new(vec![read], Pending::Visit(Box::new(Visit { id, ready })), 0) {
            Ok(inquiry) => Decision::Inquire(inquiry),
            Err(refusal) => Decision::Refuse(refusal),
        }
    }

    /// Goes on when the version came that is current.
    pub(super) fn visit(&self, visit: Visit, evidence: &[Evidence]) -> Result<Ready, Refusal> {
        let Visit { id, ready } = visit;
        let current = evidence.first().ok_or_else(|| unusable("no evidence"))?;
        self.is_there(&ready.obligations.reach, &id, current)?;
        Ok(ready)
    }

    /// Whether the resource of this id is there and within reach.
    ///
    /// # Errors
    /// 404 for what is absent or hidden, 502 for another resource than was asked for.
    pub(super) fn is_there(&self, reach: &Reach, id: &Id, current: &Evidence) -> Result<(), Refusal> {
        let json = current.json()?.ok_or(Refusal::NotFound)?;
        let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
        let of_type = facts.resource_type() == reach.resource_type();
        if of_type && reach.admits(&facts, &self.bases).is_none() {
            return Err(Refusal::NotFound);
        }
        if of_type && facts.id() == Some(id.as_id()) {
            return Ok(());
        }
        Err(unusable("another resource than was asked for"))
    }

    fn history(
        &self,
        request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Result<Ready, Refusal> {
        let path = request.interaction.history_path().ok_or(Refusal::NotFound)?;
        let (reach, also) = self.versions_of(&request.interaction, &principal).map_err(Refusal::Denied)?;
        let bounds = match &request.interaction {
            Interaction::HistorySystem => path.clone(),
            _ => format!("{path}: {reach}"),
        };
        let carried = request.search.carried_by_pages(&request.projection);
        let beside = Beside::of_history(also, bounds).carrying(carried);
        let upstream = match &request.page {
            None => {
                UpstreamRequest::History { path: path.clone(), parameters: request.history.parameters(self.max_count) }
            }
            Some(token) => {
                let (resource_type, path_and_query) = pages.open_page(token, &principal, beside.bounds())?;
                UpstreamRequest::Page { resource_type, path_and_query }
            }
        };
        let self_link = print_link(&path, &request.history.told(), &request.projection);
        let beside = Box::new(beside);
        let obligations = Obligations { beside, self_link, ..Obligations::of(request, reach, principal) };
        Ok(Ready { upstream, obligations })
    }

    /// What the versions must be within: the reach of the type, and of further types.
    fn versions_of(
        &self,
        interaction: &Interaction,
        principal: &Principal,
    ) -> Result<(Reach, Vec<Reach>), super::Denial> {
        let wholly = |reach: Reach| {
            if reach.is_unrestricted() {
                return Ok(reach);
            }
            let diagnostics =
                "a grant that is restricted has the histories of single resources, not of a type or of everything";
            Err(deny(DenialReason::InteractionNotServed, diagnostics))
        };
        match interaction {
            Interaction::HistorySystem => {
                let mut reaches = Vec::with_capacity(ResourceType::COUNT);
                for resource_type in ResourceType::all().filter(|one| serves(*one, false)) {
                    let asked = Asked {
                        action: Action::HistorySystem,
                        letter: Letter::Search,
                        resource_type,
                        id: None,
                        operation: None,
                    };
                    reaches.push(wholly(self.reach(&asked, principal)?)?);
                }
                let first = reaches.remove(0);
                Ok((first, reaches))
            }
            Interaction::HistoryType { .. } => {
                Ok((wholly(self.reach(&Asked::of(interaction)?, principal)?)?, Vec::new()))
            }
            _ => Ok((self.reach(&Asked::of(interaction)?, principal)?, Vec::new())),
        }
    }
}
