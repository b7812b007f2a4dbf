//! Provenance for a grant for one patient: first what it is about, then itself.
//!
//! A resource read by id, and what a search finds, is read as evidence; then its targets, those of a type at once; and only what is
//! about nothing but what is within reach is asked for in the end, a search by the ids of what was found. So what is hidden is
//! on no page and in no number. A search is confined to the patient as a target, unless it names targets or ids itself.

use super::asked::Asked;
use super::change::{Lookups, Ready, resources};
use super::company::Company;
use super::decide::{Authorizer, decided};
use super::denial::deny;
use super::inquiry::{Inquiry, Pending, unusable};
use super::policy::Action;
use super::{Decision, DenialReason, Evidence, UpstreamRequest};
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::SearchQuery;
use crate::json::{Json, Value};
use crate::smart::scope::Letter;

/// How many a search may find.
const MOST: usize = 200;
/// How many targets are looked up.
const MOST_TARGETS: usize = 1000;

/// A request for Provenance that waits for what it is about.
#[derive(Debug)]
pub(super) struct Aimed {
    ready: Ready,
    /// What was found, and which targets of it are looked up.
    found: Option<(Json, Lookups)>,
}

/// Whether the search says by itself which few it is about.
pub(super) fn names_few(search: &SearchQuery) -> bool {
    search.criteria.iter().any(|one| one.modifier.is_none() && matches!(one.parameter.name, "_id" | "target"))
}

impl Ready {
    /// Whether it is for Provenance, and every target must be known first.
    pub(super) fn aims(&self) -> bool {
        let reach = &self.obligations.reach;
        reach.resource_type() == ResourceType::PROVENANCE
            && !reach.is_unrestricted()
            && !matches!(self.upstream, UpstreamRequest::Nothing { .. })
    }
}

impl Authorizer {
    /// Asks what a request for Provenance would find.
    pub(super) fn aim(ready: Ready) -> Decision {
        let resource_type = ResourceType::PROVENANCE;
        let by_id = |id: &Id| UpstreamRequest::Read { resource_type, id: id.clone() };
        let read = match (&ready.obligations.interaction, &ready.upstream) {
            (
                Interaction::Read { id, .. } | Interaction::Vread { id, .. } | Interaction::HistoryInstance { id, .. },
                _,
            ) => by_id(id),
            (_, UpstreamRequest::Search { parameters, .. }) => {
                let mut parameters: Vec<_> = parameters.iter().filter(|(name, _)| !shapes(name)).cloned().collect();
                parameters.push(("_count".to_owned(), MOST.to_string()));
                UpstreamRequest::Search { resource_type, parameters }
            }
            (_, UpstreamRequest::SearchCompartment { compartment, id, parameters, .. }) => {
                let mut parameters: Vec<_> = parameters.iter().filter(|(name, _)| !shapes(name)).cloned().collect();
                parameters.push(("_count".to_owned(), MOST.to_string()));
                let (compartment, id) = (*compartment, id.clone());
                UpstreamRequest::SearchCompartment { compartment, id, resource_type, parameters }
            }
            (_, UpstreamRequest::Page { path_and_query, .. }) => {
                UpstreamRequest::Page { resource_type, path_and_query: path_and_query.clone() }
            }
            _ => {
                let diagnostics = "expected scopes that have Provenance in one part";
                return Decision::Deny(deny(DenialReason::ParameterNotServed, diagnostics));
            }
        };
        inquire(vec![read], Aimed { ready, found: None }, 0)
    }

    /// Goes on with what was found, or with what it is about.
    pub(super) fn go_on_aiming(&self, aimed: Aimed, evidence: &[Evidence], round: u8) -> Decision {
        let Aimed { ready, found } = aimed;
        let next = match found {
            None => self.found(&ready, evidence).map(|(json, lookups)| {
                let reads = lookups.reads();
                if reads.is_empty() { Ok((json, Company::default())) } else { Err((json, lookups, reads)) }
            }),
            Some((json, lookups)) => lookups.company(evidence, &self.bases).map(|company| Ok((json, company))),
        };
        match next {
            Err(refusal) => decided(Err(refusal)),
            Ok(Ok((json, company))) => decided(self.aimed(ready, &json, company)),
            Ok(Err((json, lookups, reads))) => inquire(reads, Aimed { ready, found: Some((json, lookups)) }, round),
        }
    }

    /// What was found, and what of its targets must be looked up.
    fn found(&self, ready: &Ready, evidence: &[Evidence]) -> Result<(Json, Lookups), Refusal> {
        let found = evidence.first().ok_or_else(|| unusable("no evidence"))?;
        if found.refused {
            return Err(Refusal::bad_request("expected search parameters that the FHIR server has for this type"));
        }
        let json = found.json()?.ok_or(Refusal::NotFound)?;
        let mut lookups = Lookups::default();
        for one in provenances(&json)? {
            let facts = Facts::of(one).map_err(|_| unusable("not a resource"))?;
            let mut targets = Some(Vec::new());
            facts.references(&["target"], &self.bases, |local| match (local, &mut targets) {
                (Some(local), Some(targets)) => {
                    targets.push((local.resource_type, local.id.to_logical_id()));
                }
                _ => targets = None,
            });
            for (resource_type, id) in targets.unwrap_or_default() {
                let own = |patient: &Id| resource_type == ResourceType::PATIENT && *patient == id;
                if ready.obligations.reach.patients().any(own) {
                    continue;
                }
                let asked =
                    Asked { action: Action::Read, letter: Letter::Read, resource_type, id: None, operation: None };
                // What cannot be looked up is not within reach, and neither is what is about it.
                if let Ok(reach) = self.reach(&asked, &ready.obligations.principal) {
                    lookups.put(reach, id.as_id());
                }
                if lookups.len() > MOST_TARGETS {
                    return Err(too_many_targets(ready));
                }
            }
        }
        Ok((json, lookups))
    }

    /// The request for what is about nothing but what is within reach.
    fn aimed(&self, mut ready: Ready, json: &Json, company: Company) -> Result<Ready, Refusal> {
        let mut ids = Vec::new();
        for one in provenances(json)? {
            let facts = Facts::of(one).map_err(|_| unusable("not a resource"))?;
            if ready.obligations.reach.admits_among(&facts, &self.bases, Some(&company)).is_some() {
                ids.extend(facts.id().map(|id| id.as_str().to_owned()));
            }
        }
        ready.obligations.beside.keep(company);
        match &mut ready.upstream {
            UpstreamRequest::Search { parameters, .. } | UpstreamRequest::SearchCompartment { parameters, .. } => {
                let resource_type = ResourceType::PROVENANCE;
                if has_more(json) {
                    let expected =
                        format!("expected a search that finds {MOST} at most: name what it is about by `target`");
                    return Err(Refusal::bad_request(expected));
                }
                if ids.is_empty() {
                    ready.upstream = UpstreamRequest::Nothing { resource_type };
                } else {
                    parameters.retain(|(name, _)| shapes(name));
                    parameters.insert(0, ("_id".to_owned(), ids.join(",")));
                    let parameters = std::mem::take(parameters);
                    ready.upstream = UpstreamRequest::Search { resource_type, parameters };
                }
                Ok(ready)
            }
            UpstreamRequest::Page { .. }
                if !matches!(ready.obligations.interaction, Interaction::HistoryInstance { .. }) =>
            {
                Ok(ready)
            }
            _ => match (ids.as_slice(), asked_id(&ready.obligations.interaction)) {
                ([], _) => Err(Refusal::NotFound),
                ([id], Some(asked)) if id == asked.as_str() => Ok(ready),
                _ => Err(unusable("another resource than was asked for")),
            },
        }
    }
}

/// One resource is as good as absent; a search is told so.
fn too_many_targets(ready: &Ready) -> Refusal {
    if asked_id(&ready.obligations.interaction).is_some() {
        return Refusal::NotFound;
    }
    let expected = format!(
        "expected a search for Provenance with {MOST_TARGETS} targets at most: name what it is about by `target`"
    );
    Refusal::bad_request(expected)
}

fn asked_id(interaction: &Interaction) -> Option<&Id> {
    match interaction {
        Interaction::Read { id, .. } | Interaction::Vread { id, .. } | Interaction::HistoryInstance { id, .. } => {
            Some(id)
        }
        _ => None,
    }
}

/// Whether a parameter says how the answer looks and not what is found.
fn shapes(name: &str) -> bool {
    matches!(name, "_count" | "_sort") || name.starts_with("_include") || name.starts_with("_revinclude")
}

/// The one resource, or those that a searchset found: nothing else may be there.
fn provenances(json: &Json) -> Result<Vec<Value<'_>>, Refusal> {
    let root = json.root();
    let is = |value: Value<'_>, name: &str| value.member("resourceType").is_some_and(|of| of.is(name));
    let found = if is(root, "Bundle") { resources(root).collect() } else { vec![root] };
    if found.iter().all(|one| is(*one, "Provenance")) {
        Ok(found)
    } else {
        Err(unusable("another type than was asked for"))
    }
}

fn has_more(json: &Json) -> bool {
    let mut links = json.root().member("link").into_iter().flat_map(Value::elements);
    links.any(|link| link.member("relation").is_some_and(|relation| relation.is("next")))
}

fn inquire(reads: Vec<UpstreamRequest>, aimed: Aimed, round: u8) -> Decision {
    match Inquiry::new(reads, Pending::Targets(Box::new(aimed)), round) {
        Ok(inquiry) => Decision::Inquire(inquiry),
        Err(refusal) => Decision::Refuse(refusal),
    }
}
