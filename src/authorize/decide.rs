//! The decision itself: scopes, contexts, policies, parameters, narrowing, in this order.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::asked::{Asked, compartment_of};
use super::change::{Graph, Ready, Step};
use super::denial::{Denial, DenialReason, deny, type_not_served_for_one_patient};
use super::inquiry::{Inquiry, Pending};
use super::operation;
use super::policy::{Action, Policies, PolicyError};
use super::reach::{Confines, MOST_PARTS, Reach};
use super::search::{Beside, Several, compartment, part_within};
use super::targets::names_few;
use super::{Decision, Evidence, Obligations, OpenPage, Part, Permit, UpstreamRequest};
use crate::authenticate::{Authenticated, Principal};
use crate::canonicalise::FhirRequest;
use crate::error::Refusal;
use crate::fhir::definitions::SearchParameter;
use crate::fhir::interaction::Interaction;
use crate::fhir::narrow::{Confinement, Narrowed, narrow_by};
use crate::fhir::operation::Operation;
use crate::fhir::reference::Bases;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::SearchQuery;
use crate::fhir::software::{Known, Named};
use crate::fhir::way::{SearchBy, Way};
use crate::smart::scope::Letter;

/// Decides. Made from one load of the configuration and the policies; a reload makes another one.
#[derive(Debug)]
pub struct Authorizer {
    pub(super) policies: Policies,
    pub(super) bases: Bases,
    pub(super) max_count: u32,
    pub(super) max_entries: usize,
    pub(super) search_by: SearchBy,
    pub(super) narrow_by: Vec<(ResourceType, &'static SearchParameter)>,
    /// By which parameters it is narrowed where the site names none.
    pub(super) software: Known,
    /// The operations that the site lists.
    pub(super) operations: Vec<Operation>,
}

/// Entries of a batch or transaction, unless it is said otherwise.
const MAX_ENTRIES: usize = 100;

/// What a request was found to reach.
struct Grasp {
    /// What matches must be within: under the request's own conditions perhaps less than the token has of the type.
    reach: Reach,
    beside: Beside,
}

impl Authorizer {
    /// The shipped policies together with those of `policies` (a file there replaces the shipped one of the same name); `bases`
    /// by which references are known as ours; `max_count`, the largest `_count` that is passed on; `operations`, what the site
    /// serves besides the known ones.
    ///
    /// # Errors
    /// Every mistake in the policies.
    pub fn new(
        policies: Option<&Path>,
        bases: Bases,
        max_count: u32,
        operations: Vec<Operation>,
    ) -> Result<Self, Vec<PolicyError>> {
        Ok(Self {
            policies: Policies::load(policies, &operations)?,
            bases,
            max_count,
            max_entries: MAX_ENTRIES,
            search_by: SearchBy::Primary,
            narrow_by: Vec::new(),
            software: Known::from(Named::Other),
            operations,
        })
    }

    /// The roles that the policies speak of.
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<String> {
        self.policies.roles()
    }

    /// The same, with another bound on the entries of a batch or transaction.
    #[must_use]
    pub fn with_max_entries(self, max_entries: usize) -> Self {
        Self { max_entries, ..self }
    }

    /// The same, which searches for one patient so, and on these types by these parameters in the place of the primary ones.
    #[must_use]
    pub fn with_search_by(self, search_by: SearchBy, narrow_by: &[(ResourceType, &'static SearchParameter)]) -> Self {
        Self { search_by, narrow_by: narrow_by.to_vec(), ..self }
    }

    /// The same, in front of this software, which may become known later.
    #[must_use]
    pub fn with_software(self, software: Known) -> Self {
        Self { software, ..self }
    }

    /// Which software it decides in front of.
    #[must_use]
    pub fn software(&self) -> &Known {
        &self.software
    }

    /// Decides about one request. `pages` opens a sealed continuation, after everything else was decided.
    #[must_use]
    pub fn decide(&self, who: Authenticated<FhirRequest>, pages: &impl OpenPage) -> Decision {
        if who.request.interaction == Interaction::Batch {
            return self.decide_bundle(&who, pages);
        }
        let Authenticated { request, principal, .. } = who;
        if request.interaction.changes() {
            return step(self.begin(request, principal, &Graph::default(), pages), 0);
        }
        if request.interaction.history_path().is_some() {
            return self.decide_history(request, principal, pages);
        }
        if matches!(request.interaction, Interaction::Operation { .. }) {
            return operated(self.operate(request, principal, pages));
        }
        if Several::of(&request.interaction).is_some() {
            return self.decide_several(request, principal, pages);
        }
        if let Interaction::Read { resource_type: ResourceType::BINARY, id } = &request.interaction {
            let id = id.clone();
            return self.decide_binary(&id, request, principal, pages);
        }
        match self.judge(request, principal, pages) {
            Ok(ready) if ready.aims() => self.aim(ready),
            judged => decided(judged),
        }
    }

    /// Goes on with a decision that had to know what is there.
    #[must_use]
    pub fn resume(&self, inquiry: Inquiry, evidence: &[Evidence]) -> Decision {
        let Inquiry { pending, round, .. } = inquiry;
        match pending {
            Pending::Change(change) => step(self.go_on(*change, evidence), round),
            Pending::Transaction(transaction) => self.resume_transaction(*transaction, evidence, round),
            Pending::Targets(aimed) => self.go_on_aiming(*aimed, evidence, round),
            Pending::Attached(attached) => self.go_on_attached(*attached, evidence, round),
            Pending::Visit(visit) => decided(self.visit(*visit, evidence)),
            Pending::Operation(operation) => decided(self.operate_with(*operation, evidence)),
        }
    }

    /// Decides about a read or a search on one type: all of it stands in token, request and policies.
    pub(super) fn judge(
        &self,
        request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Result<Ready, Refusal> {
        self.judge_by(self.search_by, request, principal, pages)
    }

    /// The same, searched so.
    pub(super) fn judge_by(
        &self,
        search_by: SearchBy,
        request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Result<Ready, Refusal> {
        self.judge_as(search_by, request, principal, None, pages)
    }

    /// The same, where an operation is a search on a type.
    pub(super) fn judge_as(
        &self,
        search_by: SearchBy,
        mut request: FhirRequest,
        principal: Arc<Principal>,
        searching: Option<(ResourceType, &Operation)>,
        pages: &impl OpenPage,
    ) -> Result<Ready, Refusal> {
        let asked = match searching {
            None => Asked::of(&request.interaction).map_err(Refusal::Denied)?,
            Some((of, operation)) => Asked::new(Action::SearchType, Letter::Search, of).by(operation),
        };
        let whole = self.reach(&asked, &principal).map_err(Refusal::Denied)?.searched_by(search_by);
        let beside = self.beside(&asked, &request.search, whole.clone(), &principal);
        let (reach, beside) = beside.map_err(Refusal::Denied)?;
        let beside = beside
            .in_compartment_of(&request.interaction)
            .bound_to(&whole)
            .carrying(request.search.carried_by_pages(&request.projection));
        let grasp = Grasp { reach, beside };
        // A total counts what a restricted grant does not reach as well: the wish is taken and not passed on.
        request.search.total = request.search.total.filter(|_| grasp.reach.is_unrestricted());
        let (upstream, Grasp { reach, beside }) = self.rebuild(&asked, grasp, &request, &principal, pages)?;
        let self_link = match asked.action {
            Action::SearchType => request.search.self_link(&request.interaction.search_path(), &request.projection),
            _ => String::new(),
        };
        let beside = Box::new(beside);
        let obligations = Obligations { beside, self_link, ..Obligations::of(request, reach, principal) };
        Ok(Ready { upstream, obligations })
    }

    /// The upstream request, and the part of the reach that it looks for.
    fn rebuild(
        &self,
        asked: &Asked<'_>,
        grasp: Grasp,
        request: &FhirRequest,
        principal: &Principal,
        pages: &impl OpenPage,
    ) -> Result<(UpstreamRequest, Grasp), Refusal> {
        let resource_type = asked.resource_type;
        match &request.interaction {
            Interaction::Read { id, .. } => Ok((UpstreamRequest::Read { resource_type, id: id.clone() }, grasp)),
            Interaction::Vread { id, version, .. } => {
                Ok((UpstreamRequest::Vread { resource_type, id: id.clone(), version: version.clone() }, grasp))
            }
            // Some operations are searches by another name.
            Interaction::SearchType { .. } | Interaction::SearchCompartment { .. } | Interaction::Operation { .. } => {
                let within = compartment(&request.interaction);
                let reach = match within {
                    None => grasp.reach,
                    Some(compartment) => part_within(compartment, grasp.reach).ok_or(Refusal::NotFound)?,
                };
                let grasp = Grasp { reach, ..grasp };
                match (&request.page, within) {
                    (Some(token), _) => self.page(asked, grasp, token, principal, pages),
                    (None, Some(compartment)) => Ok((self.within(compartment, &grasp.reach, &request.search)?, grasp)),
                    (None, None) => Ok((self.narrowed(&grasp.reach, &request.search).map_err(Refusal::Denied)?, grasp)),
                }
            }
            // Whatever else there is has a decision of its own.
            _ => Err(Refusal::Denied(deny(DenialReason::InteractionNotServed, "expected a read or a search here"))),
        }
    }

    /// The continuation, when the search may still look where it does.
    fn page(
        &self,
        asked: &Asked<'_>,
        grasp: Grasp,
        token: &str,
        principal: &Principal,
        pages: &impl OpenPage,
    ) -> Result<(UpstreamRequest, Grasp), Refusal> {
        let (of, text) = pages.open_page(token, principal, grasp.beside.bounds())?;
        let read = Beside::read_page(&text).filter(|_| of == asked.resource_type);
        let (looks, text) =
            read.ok_or_else(|| Refusal::bad_request("expected `_page` on the path that it was given for"))?;
        let Grasp { mut reach, mut beside } = grasp;
        if let Some(looks) = looks {
            reach = self.look_again(asked, &looks, reach, principal).map_err(Refusal::Denied)?;
            beside = beside.looking(looks);
        }
        Ok((continued(asked.resource_type, text), Grasp { reach, beside }))
    }

    /// The search, or one for each part of the reach that one search cannot be confined to.
    pub(super) fn narrowed(&self, reach: &Reach, search: &SearchQuery) -> Result<UpstreamRequest, Denial> {
        let confines = if search.sort.is_empty() { reach.confines() } else { reach.confines_sorted() };
        let confines: Vec<_> = confines.into_iter().enumerate().collect();
        self.searches(reach.resource_type(), &confines, search)
    }

    /// The searches that are confined so, each with its place among the parts of the reach.
    pub(super) fn searches(
        &self,
        resource_type: ResourceType,
        confines: &[(usize, Confines)],
        search: &SearchQuery,
    ) -> Result<UpstreamRequest, Denial> {
        if confines.len() > MOST_PARTS || confines.len() > 1 && !search.sort.is_empty() {
            let diagnostics = format!(
                "the scopes of this token have {resource_type} in parts that are searched one by one: expected at most {MOST_PARTS} of them, and no `_sort`"
            );
            return Err(deny(DenialReason::ParameterNotServed, diagnostics));
        }
        let mut parts = Vec::with_capacity(confines.len());
        for (place, confines) in confines {
            let unserved = || type_not_served_for_one_patient(resource_type);
            let few = resource_type == ResourceType::PROVENANCE && names_few(search);
            let confinement = match (&confines.patient, confines.way) {
                (None, _) => None,
                // Whether it is the patient's is found out from the targets that it names, or has.
                _ if few => None,
                (Some(_), None) => return Err(unserved()),
                (Some(patient), Some(way)) => {
                    let compartment = compartment_of(resource_type).ok_or_else(unserved)?;
                    Some((Confinement { patient: patient.as_id(), compartment }, way))
                }
            };
            match narrow_by(search, confinement, &confines.conditions, &self.bases, self.max_count) {
                Narrowed::Search(parameters) => {
                    let request = match &confines.patient {
                        Some(patient) if confines.way == Some(Way::Compartment) && !few => {
                            UpstreamRequest::SearchCompartment {
                                compartment: ResourceType::PATIENT,
                                id: patient.clone(),
                                resource_type,
                                parameters,
                            }
                        }
                        _ => UpstreamRequest::Search { resource_type, parameters },
                    };
                    parts.push(Part { place: *place, request });
                }
                Narrowed::Nothing => {}
            }
        }
        Ok(match (parts.pop(), parts.is_empty()) {
            (None, _) => UpstreamRequest::Nothing { resource_type },
            (Some(only), true) if confines.len() == 1 => only.request,
            (Some(last), _) => {
                parts.push(last);
                UpstreamRequest::Each { resource_type, parts }
            }
        })
    }

    pub(super) fn bases(&self) -> &Bases {
        &self.bases
    }

    pub(super) fn max_count(&self) -> u32 {
        self.max_count
    }
}

/// What a change comes to.
pub(super) fn step(step: Result<Step, Refusal>, round: u8) -> Decision {
    let ready = match step {
        Ok(Step::Ready(ready)) => Ok(*ready),
        Ok(Step::Ask(reads, change)) => match Inquiry::new(reads, Pending::Change(change), round) {
            Ok(inquiry) => return Decision::Inquire(inquiry),
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    decided(ready)
}

/// What an operation comes to.
fn operated(step: Result<operation::Step, Refusal>) -> Decision {
    let ready = match step {
        Ok(operation::Step::Ready(ready)) => Ok(*ready),
        Ok(operation::Step::Ask(reads, pending)) => match Inquiry::new(reads, Pending::Operation(pending), 0) {
            Ok(inquiry) => return Decision::Inquire(inquiry),
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    };
    decided(ready)
}

pub(super) fn decided(ready: Result<Ready, Refusal>) -> Decision {
    match ready {
        Ok(Ready { upstream, obligations }) => Decision::Permit(Permit { upstream, obligations, _decided: () }),
        Err(Refusal::Denied(denial)) => Decision::Deny(denial),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// The continuation of one search, or of several.
pub(super) fn continued(resource_type: ResourceType, sealed: &str) -> UpstreamRequest {
    match Part::read_all(resource_type, sealed) {
        Some(parts) => UpstreamRequest::Each { resource_type, parts },
        None => UpstreamRequest::Page { resource_type, path_and_query: sealed.to_owned() },
    }
}

#[cfg(test)]
mod tests;
