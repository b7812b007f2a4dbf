//! Provenance for a grant for one patient: first what it is about, then itself.
//!
//! A resource read by id, and what a search finds, is read as evidence; then its targets, those of a type at once, and the versions
//! that it names; and only what is about nothing but what is within reach is asked for in the end, a search by the ids of what was
//! found. So what is hidden is on no page and in no number. A search is confined to the patient as a target, unless it names
//! targets or ids itself. The targets that it names are looked at before it is made, and those out of reach are as good as absent:
//! whether too much is found depends on nothing that is about them alone.

mod named;
mod versions;

use super::asked::Asked;
use super::change::{Lookups, Ready, resources};
use super::company::Company;
use super::decide::{Authorizer, decided};
use super::denial::deny;
use super::inquiry::{Inquiry, Pending, unusable};
use super::policy::Action;
use super::reach::Reach;
use super::{Decision, DenialReason, Evidence, UpstreamRequest};
use crate::authenticate::Principal;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::{Id as IdText, LocalReference, LogicalId as Id};
use crate::fhir::resource_type::ResourceType;
use crate::json::{Json, Value};
use crate::smart::scope::Letter;
use named::named_ids;
pub(super) use named::names_few;
use versions::Versions;

/// How many a search may find.
const MOST: usize = 200;
/// How many a search may name by their ids: no more than a server gives on one page, or it would be told whether they are there.
const MOST_IDS: usize = 50;
/// How many targets are looked up.
const MOST_TARGETS: usize = 1000;
/// How many versions of them, which are read one by one.
const MOST_VERSIONS: usize = 100;

/// A request for Provenance that waits for what it is about.
#[derive(Debug)]
pub(super) struct Aimed {
    ready: Ready,
    /// What was found to be within reach.
    company: Company,
    awaited: Awaited,
}

/// What is being read.
#[derive(Debug)]
enum Awaited {
    /// What the search names as targets.
    Named(Lookups, Versions),
    /// The Provenance itself.
    Found,
    /// Of each that was found by its id, the first that it is about;
    First(Json, Lookups),
    /// of what was found, what it is about,
    Targets(Json, Lookups),
    /// and the versions that it is about.
    Versions(Json, Versions),
}

impl Ready {
    /// Whether it is for Provenance of a patient, and every target must be known first.
    pub(super) fn aims(&self) -> bool {
        let reach = &self.obligations.reach;
        reach.resource_type() == ResourceType::PROVENANCE
            && !reach.is_unrestricted()
            && reach.patients().next().is_some()
            && !matches!(self.upstream, UpstreamRequest::Nothing { .. })
    }
}

impl Awaited {
    fn reads(&self) -> Vec<UpstreamRequest> {
        match self {
            Self::Named(lookups, versions) => lookups.reads().into_iter().chain(versions.reads()).collect(),
            Self::Found => Vec::new(),
            Self::First(_, lookups) | Self::Targets(_, lookups) => lookups.reads(),
            Self::Versions(_, versions) => versions.reads().collect(),
        }
    }
}

impl Authorizer {
    /// Asks what a request for Provenance would find, and before that for the targets that it names.
    pub(super) fn aim(&self, ready: Ready) -> Decision {
        let (lookups, versions) = match self.named(&ready) {
            Ok(named) => named,
            Err(refusal) => return decided(Err(refusal)),
        };
        let (company, awaited) = (Company::default(), Awaited::Named(lookups, versions));
        let first = awaited.reads();
        if first.is_empty() {
            self.seek(ready, company, 0)
        } else {
            inquire(first, Aimed { ready, company, awaited }, 0)
        }
    }

    /// Goes on with what was found, or with what it is about.
    pub(super) fn go_on_aiming(&self, aimed: Aimed, evidence: &[Evidence], round: u8) -> Decision {
        let Aimed { ready, mut company, awaited } = aimed;
        let next = match awaited {
            Awaited::Named(lookups, versions) => {
                let (current, others) = evidence.split_at_checked(lookups.reads().len()).unwrap_or((evidence, &[]));
                let joined = lookups.join(&mut company, current, &self.bases);
                return match joined.and_then(|()| versions.join(&mut company, others, &self.bases)) {
                    Ok(()) => self.seek(ready, company, round),
                    Err(refusal) => decided(Err(refusal)),
                };
            }
            Awaited::Found => self.found(&ready, &company, evidence),
            Awaited::First(json, lookups) => {
                let joined = lookups.join(&mut company, evidence, &self.bases);
                joined.and_then(|()| self.targets(&ready, json, &company, Some(&lookups)))
            }
            Awaited::Targets(json, lookups) => {
                let joined = lookups.join(&mut company, evidence, &self.bases);
                let versions = joined.and_then(|()| self.versions_aimed_at(&ready, &json, &company));
                versions.map(|versions| Awaited::Versions(json, versions))
            }
            Awaited::Versions(json, versions) => {
                let joined = versions.join(&mut company, evidence, &self.bases);
                return decided(joined.and_then(|()| self.aimed(ready, &json, company)));
            }
        };
        let awaited = match next {
            Ok(awaited) => awaited,
            Err(refusal) => return decided(Err(refusal)),
        };
        let reads = awaited.reads();
        let aimed = Aimed { ready, company, awaited };
        // What needs nothing is gone on with at once: there are four such steps at most.
        if reads.is_empty() { self.go_on_aiming(aimed, &[], round) } else { inquire(reads, aimed, round) }
    }

    /// Asks for what the request would find, as far as it names what is within reach.
    fn seek(&self, mut ready: Ready, company: Company, round: u8) -> Decision {
        if judged_by_targets(&ready) && !self.aim_within_reach(&mut ready, &company) {
            ready.upstream = UpstreamRequest::Nothing { resource_type: ResourceType::PROVENANCE };
            return decided(Ok(ready));
        }
        let Some(read) = sought(&ready) else {
            let diagnostics = "expected scopes that have Provenance in one part";
            return Decision::Deny(deny(DenialReason::ParameterNotServed, diagnostics));
        };
        inquire(vec![read], Aimed { ready, company, awaited: Awaited::Found }, round)
    }

    /// What was found.
    fn found(&self, ready: &Ready, company: &Company, evidence: &[Evidence]) -> Result<Awaited, Refusal> {
        let found = evidence.first().ok_or_else(|| unusable("no evidence"))?;
        if found.refused {
            return Err(Refusal::bad_request("expected search parameters that the FHIR server has for this type"));
        }
        let json = found.json()?.ok_or(Refusal::NotFound)?;
        if !judged_by_targets(ready) || named_ids(ready).is_none() {
            return self.targets(ready, json, company, None);
        }
        // What was found by its id may be about nothing that is within reach. How much it is about must not be told.
        let mut lookups = Lookups::default();
        for one in provenances(&json)? {
            for (resource_type, id, _) in self.targets_of(one)?.unwrap_or_default().iter().take(1) {
                self.find_out(&mut lookups, ready, company, &local(*resource_type, id, None));
            }
        }
        Ok(Awaited::First(json, lookups))
    }

    /// What must be looked up of what was found. Where the `first` of the targets were, what is about one that is hidden is left out.
    fn targets(
        &self,
        ready: &Ready,
        json: Json,
        company: &Company,
        first: Option<&Lookups>,
    ) -> Result<Awaited, Refusal> {
        let mut lookups = Lookups::default();
        for one in provenances(&json)? {
            let targets = self.targets_of(one)?.unwrap_or_default();
            let known = |(resource_type, id, _): &Target| {
                let local = local(*resource_type, id, None);
                is_own(ready, &local) || company.has_current(&local)
            };
            if let Some(first) = first {
                let hidden = |target: &Target| first.has(target.0, &target.1) && !known(target);
                if !targets.first().is_some_and(known) || targets.iter().any(hidden) {
                    continue;
                }
            }
            for (resource_type, id, _) in &targets {
                self.find_out(&mut lookups, ready, company, &local(*resource_type, id, None));
            }
            if lookups.len() > MOST_TARGETS {
                return Err(too_many(ready, "targets", MOST_TARGETS));
            }
        }
        Ok(Awaited::Targets(json, lookups))
    }

    /// Looks up what is not known. What cannot be looked up is not within reach, and neither is what is about it.
    fn find_out(&self, lookups: &mut Lookups, ready: &Ready, company: &Company, target: &LocalReference<'_>) {
        if is_own(ready, target) || company.has_current(target) {
            return;
        }
        let principal = &ready.obligations.principal;
        if let Some(reach) = self.reach_of_targets(Action::Read, target.resource_type, principal) {
            lookups.put(reach, target.id);
        }
    }

    /// The versions of targets that must be looked up: where the version that is named is not the one that is current, and nothing
    /// else that the Provenance is about is out of reach.
    fn versions_aimed_at(&self, ready: &Ready, json: &Json, company: &Company) -> Result<Versions, Refusal> {
        let mut versions = Versions::default();
        for one in provenances(json)? {
            let mut of_this = Some(Versions::default());
            for (resource_type, id, version) in &self.targets_of(one)?.unwrap_or_default() {
                let local = local(*resource_type, id, version.as_ref());
                if is_own(ready, &local) || company.has(&local) {
                    continue;
                }
                let version = self.readable_version(&local, &ready.obligations.principal);
                match (version.filter(|_| company.has_current(&local)), &mut of_this) {
                    (Some((version, reach)), Some(of_this)) => of_this.put(reach, local.id, version),
                    _ => of_this = None,
                }
            }
            versions.extend(of_this.unwrap_or_default());
            if versions.len() > MOST_VERSIONS {
                return Err(too_many(ready, "earlier versions as targets", MOST_VERSIONS));
            }
        }
        Ok(versions)
    }

    /// What a Provenance is about; `None` when something of it is no resource of this server.
    fn targets_of(&self, provenance: Value<'_>) -> Result<Option<Vec<Target>>, Refusal> {
        let facts = Facts::of(provenance).map_err(|_| unusable("not a resource"))?;
        let mut targets = Some(Vec::new());
        facts.references(&["target"], &self.bases, |local| match (local, &mut targets) {
            (Some(local), Some(targets)) => {
                let version = local.version.map(IdText::to_logical_id);
                targets.push((local.resource_type, local.id.to_logical_id(), version));
            }
            _ => targets = None,
        });
        Ok(targets)
    }

    fn reach_of_targets(&self, action: Action, resource_type: ResourceType, principal: &Principal) -> Option<Reach> {
        self.reach(&Asked::new(action, Letter::Read, resource_type), principal).ok()
    }

    /// The version that a reference names, and what of its type may be read by version.
    fn readable_version<'l>(&self, local: &LocalReference<'l>, principal: &Principal) -> Option<(IdText<'l>, Reach)> {
        Some((local.version?, self.reach_of_targets(Action::Vread, local.resource_type, principal)?))
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

/// What one Provenance is about: type, id, and the version that is meant.
type Target = (ResourceType, Id, Option<Id>);

/// What is read to know what the request would find; `None` where it would be found in several parts.
fn sought(ready: &Ready) -> Option<UpstreamRequest> {
    let resource_type = ResourceType::PROVENANCE;
    let found_by = |parameters: &[(String, String)]| {
        let mut parameters: Vec<_> = parameters.iter().filter(|(name, _)| !shapes(name)).cloned().collect();
        parameters.push(("_count".to_owned(), MOST.to_string()));
        parameters
    };
    if let Some(id) = asked_id(&ready.obligations.interaction) {
        return Some(UpstreamRequest::Read { resource_type, id: id.clone() });
    }
    match &ready.upstream {
        UpstreamRequest::Search { parameters, .. } => {
            Some(UpstreamRequest::Search { resource_type, parameters: found_by(parameters) })
        }
        UpstreamRequest::SearchCompartment { compartment, id, parameters, .. } => {
            let (compartment, id, parameters) = (*compartment, id.clone(), found_by(parameters));
            Some(UpstreamRequest::SearchCompartment { compartment, id, resource_type, parameters })
        }
        UpstreamRequest::Page { path_and_query, .. } => {
            Some(UpstreamRequest::Page { resource_type, path_and_query: path_and_query.clone() })
        }
        _ => None,
    }
}

/// Whether all that may be found is the patient's by what it is about.
fn judged_by_targets(ready: &Ready) -> bool {
    ready.obligations.reach.allowances().iter().all(|allowance| allowance.within.patient().is_some())
}

fn is_own(ready: &Ready, local: &LocalReference<'_>) -> bool {
    ready.obligations.reach.patients().any(|patient| local.names(ResourceType::PATIENT, patient.as_id()))
}

/// One resource is as good as absent; a search is told so.
fn too_many(ready: &Ready, what: &str, most: usize) -> Refusal {
    if asked_id(&ready.obligations.interaction).is_some() {
        return Refusal::NotFound;
    }
    let expected =
        format!("expected a search for Provenance with {most} {what} at most: name what it is about by `target`");
    Refusal::bad_request(expected)
}

fn local<'i>(resource_type: ResourceType, id: &'i Id, version: Option<&'i Id>) -> LocalReference<'i> {
    LocalReference { resource_type, id: id.as_id(), version: version.map(Id::as_id) }
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
