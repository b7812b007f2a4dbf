//! What may be stored: the rules for a body, whether it came as such or out of a patch.
//!
//! For a grant in the compartment of one patient: the primary reference is there and names that patient; every reference to a
//! Patient, at any depth, names that patient; nothing is referred to by a search, nothing by a name that a server might read
//! otherwise; whatever else of this server it refers to lies in the compartment too, or describes who, where and what care is
//! given with. For a grant under conditions: they hold. For everybody: no reference by a search, no part of a resource.
//! A rule is decided from the body as far as it can be; the rest is looked up.

use super::super::asked::compartment_of;
use super::super::denial::deny;
use super::super::inquiry::unusable;
use super::super::policy::Action;
use super::super::reach::Within;
use super::super::{Allowance, Authorizer, DenialReason, Evidence, Reach, UpstreamRequest};
use super::attachments::Attachments;
use super::lookups::{Lookups, not_permitted};
use super::{Change, Graph};
use crate::authenticate::Principal;
use crate::authorize::asked::Asked;
use crate::error::Refusal;
use crate::fhir::compartment::{is_reference_type, unsafe_by_default};
use crate::fhir::facts::{Coding, Facts};
use crate::fhir::links::{self, Place};
use crate::fhir::reference::{Bases, LocalReference, LogicalId as Id, Reference, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::json::patch::same;
use crate::json::{Json, Value};
use crate::smart::scope::Letter;

/// A body that may be stored in one of these ways, once what it refers to was looked up.
#[derive(Debug)]
pub(in crate::authorize) struct Prepared(Vec<Way>);

/// One allowance that would let a body be stored, and what must be looked up for it.
#[derive(Debug)]
struct Way {
    within: Within,
    lookups: Lookups,
    /// Binaries that somebody must vouch for.
    attachments: Attachments,
}

impl Way {
    fn reads(&self) -> Vec<UpstreamRequest> {
        let mut reads = self.lookups.reads();
        reads.extend(self.attachments.reads());
        reads
    }

    fn judge(&self, evidence: &[Evidence], bases: &Bases) -> Result<(), Refusal> {
        let (others, binaries) =
            evidence.split_at_checked(self.lookups.reads().len()).ok_or_else(|| unusable("no evidence"))?;
        self.lookups.judge(others, bases)?;
        self.attachments.judge(binaries, bases)
    }
}

impl Prepared {
    /// What nothing has to be looked up for.
    pub(in crate::authorize) fn freely() -> Self {
        Self::with(Attachments::default())
    }

    /// What nothing has to be looked up for but these.
    fn with(attachments: Attachments) -> Self {
        Self(vec![Way { within: Within::Everything, lookups: Lookups::default(), attachments }])
    }

    /// What is looked up at once, and the Binaries, which may be there before.
    pub(super) fn parted(self) -> (Self, Self) {
        let parts = self.0.into_iter().map(|Way { within, lookups, attachments }| {
            let now = Way { within: within.clone(), lookups, attachments: Attachments::default() };
            (now, Way { within, lookups: Lookups::default(), attachments })
        });
        let (now, later) = parts.unzip();
        (Self(now), Self(later))
    }

    /// The same, when this is there, as far as it may be read: the Binaries that it refers to need nobody.
    pub(super) fn after(mut self, change: &Change, before: &Json, bases: &Bases) -> Self {
        let readable = |facts: &Facts<'_>| change.readable.as_ref().is_some_and(|it| it.admits(facts, bases).is_some());
        if Facts::of(before.root()).is_ok_and(|facts| readable(&facts)) {
            self.0.iter_mut().for_each(|way| way.attachments.leave(before, bases));
        }
        self
    }

    /// The same, by the allowances that hold there alone.
    ///
    /// # Errors
    /// A denial when none is left.
    pub(super) fn only(mut self, holds: impl Fn(&Within) -> bool) -> Result<Self, Refusal> {
        self.0.retain(|way| holds(&way.within));
        if self.0.is_empty() { Err(outside()) } else { Ok(self) }
    }

    /// Whether nothing has to be looked up.
    pub(in crate::authorize) fn is_settled(&self) -> bool {
        self.0.iter().any(|way| way.reads().is_empty())
    }

    /// The reads for all ways together.
    pub(in crate::authorize) fn reads(&self) -> Vec<UpstreamRequest> {
        self.0.iter().flat_map(Way::reads).collect()
    }

    /// The first way that holds in which all that was read is within reach; `evidence` is in the order of [`Prepared::reads`].
    ///
    /// # Errors
    /// A denial that does not say which, nor why.
    pub(in crate::authorize) fn judge(
        &self,
        evidence: &[Evidence],
        bases: &Bases,
        holds: impl Fn(&Within) -> bool,
    ) -> Result<Within, Refusal> {
        let mut rest = evidence;
        let mut nearest = None;
        for way in &self.0 {
            let count = way.reads().len().min(rest.len());
            let (own, others) = rest.split_at(count);
            rest = others;
            if holds(&way.within) {
                match way.judge(own, bases) {
                    Ok(()) => return Ok(way.within.clone()),
                    Err(refusal) => nearest = nearest.or(Some(refusal)),
                }
            }
        }
        Err(nearest.unwrap_or_else(outside))
    }
}

/// On what terms a body is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    /// What may be stored.
    pub(super) reach: &'a Reach,
    pub(super) graph: &'a Graph,
    pub(super) principal: &'a Principal,
}

impl Authorizer {
    /// Judges what would be stored under `id`.
    ///
    /// # Errors
    /// The denial of the allowance that came nearest, or 400.
    pub(super) fn prepare(&self, terms: Terms<'_>, body: &Json, id: Option<&Id>) -> Result<Prepared, Refusal> {
        if has_nameless_member(body.root()) {
            return Err(Refusal::bad_request("expected members that have a name"));
        }
        let facts = Facts::of(body.root()).map_err(|problem| Refusal::bad_request(problem.to_string()))?;
        if facts.tags().any(|tag| is_subsetted(&tag)) {
            let diagnostics = "expected a whole resource, not one of which `_elements` or `_summary` left a part";
            return Err(Refusal::Denied(deny(DenialReason::PartialCopy, diagnostics)));
        }
        if terms.reach.is_unrestricted() {
            self.refers_soundly(&facts, terms.graph)?;
            return Ok(Prepared::with(self.attachments(terms, &facts, id)?));
        }
        let mut nearest = None;
        let mut ways: Vec<Way> = Vec::new();
        for allowance in terms.reach.allowances() {
            // In one place the same is looked up, whatever the conditions.
            if ways.iter().any(|way| way.within == allowance.within) {
                continue;
            }
            match self.prepare_within(allowance, terms, &facts, id) {
                Ok((lookups, attachments)) => ways.push(Way { within: allowance.within.clone(), lookups, attachments }),
                Err(refusal) => nearest = nearest.or(Some(refusal)),
            }
        }
        if ways.is_empty() { Err(nearest.unwrap_or_else(outside)) } else { Ok(Prepared(ways)) }
    }

    fn prepare_within(
        &self,
        allowance: &Allowance,
        terms: Terms<'_>,
        facts: &Facts<'_>,
        id: Option<&Id>,
    ) -> Result<(Lookups, Attachments), Refusal> {
        let patient = match &allowance.within {
            Within::Compartment(patient) => Some(patient),
            Within::Everything => None,
            Within::ReferenceType | Within::Own(_) | Within::Attached(_) => return Err(outside()),
        };
        if let Some(patient) = patient
            && !self.is_primarily_of(facts, patient)
        {
            return Err(outside());
        }
        if !allowance.admits(facts, &self.bases) {
            let diagnostics = "expected a resource that meets the conditions of a scope of this token";
            return Err(Refusal::Denied(deny(DenialReason::BodyOutsideGrant, diagnostics)));
        }
        if patient.is_some() && contains_patient(facts.resource(), true) {
            return Err(outside());
        }
        let mut lookups = Lookups::default();
        let itself = (facts.resource_type(), id);
        let own = id.map(|id| (itself.0, id.clone()));
        let mut attachments =
            Attachments::of(own.into_iter().chain(patient.map(|patient| (ResourceType::PATIENT, patient.clone()))));
        let mut problem = None;
        let mut each = |place: Place, value: Value<'_>| {
            if problem.is_none() {
                problem = match self.binary(place, value, &mut attachments) {
                    Some(added) => added.err(),
                    None => self.look_at(place, value, patient, terms, itself, &mut lookups).err(),
                };
            }
        };
        // Links of a Patient to others must stay as they are, which is compared with what is there.
        let links_apart = facts.resource_type() == ResourceType::PATIENT;
        for member in facts.resource().members() {
            let name = member.name_bytes();
            if !(links_apart && *name == *b"link") {
                links::visit_member(&name, member.value, &mut each);
            }
        }
        problem.map_or(Ok((lookups, attachments)), Err)
    }

    /// Notes the address of a Binary; `None` for whatever else it is.
    fn binary(&self, place: Place, value: Value<'_>, attachments: &mut Attachments) -> Option<Result<(), Refusal>> {
        let text = value.string().filter(|_| place == Place::Address)?;
        let local = normalise(&text, &self.bases).filter(|local| local.resource_type == ResourceType::BINARY)?;
        Some(attachments.add(&local))
    }

    /// The Binaries that a grant without restriction must have vouched for.
    fn attachments(&self, terms: Terms<'_>, facts: &Facts<'_>, id: Option<&Id>) -> Result<Attachments, Refusal> {
        let mut attachments = Attachments::of(id.map(|id| (facts.resource_type(), id.clone())));
        let mut problem = None;
        let resource_type = ResourceType::BINARY;
        let reading = Asked::new(Action::Read, Letter::Read, resource_type);
        if !self.reach(&reading, terms.principal).is_ok_and(|reach| reach.is_unrestricted()) {
            links::visit(facts.resource(), &mut |place, value| {
                if let Some(added) = self.binary(place, value, &mut attachments) {
                    problem = problem.take().or(added.err());
                }
            });
        }
        problem.map_or(Ok(attachments), Err)
    }

    /// Judges one thing that the body points to.
    fn look_at(
        &self,
        place: Place,
        value: Value<'_>,
        patient: Option<&Id>,
        terms: Terms<'_>,
        itself: (ResourceType, Option<&Id>),
        lookups: &mut Lookups,
    ) -> Result<(), Refusal> {
        let text = value.string().ok_or_else(not_permitted)?;
        match (Reference::parse(&text, &self.bases), place) {
            (Reference::Local(local), _) => self.look_up(&local, patient, terms, itself, lookups),
            (Reference::Contained(_) | Reference::Foreign(_), _) | (Reference::Urn(_), Place::Address) => Ok(()),
            (Reference::Urn(urn), Place::Reference) => match terms.graph.get(urn) {
                Some(created) if patient.is_none_or(|patient| self.is_created_for(created, patient)) => Ok(()),
                _ => Err(not_permitted()),
            },
            (Reference::Unclear(text), Place::Address) if !may_be_ours(text) => Ok(()),
            (Reference::Conditional(_) | Reference::Unclear(_), _) => Err(not_permitted()),
        }
    }

    fn look_up(
        &self,
        local: &LocalReference<'_>,
        patient: Option<&Id>,
        terms: Terms<'_>,
        (own_type, own_id): (ResourceType, Option<&Id>),
        lookups: &mut Lookups,
    ) -> Result<(), Refusal> {
        let resource_type = local.resource_type;
        if own_id.is_some_and(|id| local.names(own_type, id.as_id())) || is_reference_type(resource_type) {
            return Ok(());
        }
        let Some(patient) = patient else {
            let asked = Asked::new(Action::Read, Letter::Read, resource_type);
            let readable = self.reach(&asked, terms.principal).map_err(|_| not_permitted())?;
            return if readable.is_unrestricted() { Ok(()) } else { lookups.add(readable, local.id) };
        };
        if resource_type == ResourceType::PATIENT {
            return if local.id == patient.as_id() { Ok(()) } else { Err(not_permitted()) };
        }
        if compartment_of(resource_type).is_none() || unsafe_by_default(resource_type) {
            return Err(not_permitted());
        }
        let compartment = Allowance {
            within: Within::Compartment(patient.clone()),
            conditions: std::sync::Arc::default(),
            policies: std::sync::Arc::default(),
        };
        let reach = Reach::new(resource_type, vec![compartment]).ok_or_else(not_permitted)?;
        lookups.add(reach, local.id)
    }

    /// What holds for a grant without restriction too: nothing is referred to by a search, and in a transaction nothing by a
    /// name that no entry has.
    fn refers_soundly(&self, facts: &Facts<'_>, graph: &Graph) -> Result<(), Refusal> {
        let mut problem = None;
        links::visit(facts.resource(), &mut |place, value| {
            let Some(text) = value.string() else { return };
            let refusal = match (Reference::parse(&text, &self.bases), place) {
                (Reference::Conditional(_), Place::Reference) => Some(conditional_references()),
                (Reference::Urn(urn), Place::Reference) if graph.has(urn) == Some(false) => {
                    Some(Refusal::bad_request("expected every `urn:` reference to name an entry of the transaction"))
                }
                _ => None,
            };
            problem = problem.take().or(refusal);
        });
        problem.map_or(Ok(()), Err)
    }
}

/// A body of a restricted grant that is new has no labels and tags: what they would mean is not for the client to say.
///
/// # Errors
/// A denial when it has.
pub(super) fn no_labels(body: &Json) -> Result<(), Refusal> {
    let meta = body.root().member("meta");
    let any = |name: &str| meta.and_then(|meta| meta.member(name)).is_some_and(|list| list.elements().next().is_some());
    if any("security") || any("tag") { Err(labels_changed()) } else { Ok(()) }
}

/// Whether what would be there has the labels and tags of what is there.
///
/// # Errors
/// A denial when not.
pub(super) fn same_labels(before: &Json, after: &Json) -> Result<(), Refusal> {
    let same = ["security", "tag"].into_iter().all(|name| same_codings(before, after, name));
    if same { Ok(()) } else { Err(labels_changed()) }
}

fn same_codings(before: &Json, after: &Json, name: &str) -> bool {
    fn of<'j>(json: &'j Json, name: &str) -> Vec<Value<'j>> {
        let list = json.root().member("meta").and_then(|meta| meta.member(name));
        list.into_iter().flat_map(Value::flatten).collect()
    }
    let (before, after) = (of(before, name), of(after, name));
    before.len() == after.len()
        && before.iter().all(|one| after.iter().any(|other| same(*one, *other)))
        && after.iter().all(|one| before.iter().any(|other| same(*one, *other)))
}

/// The denial of references that the upstream would resolve by a search of its own.
fn conditional_references() -> Refusal {
    let diagnostics = "expected references by `Type/id`: one by a search is not served";
    Refusal::Denied(deny(DenialReason::ReferenceNotPermitted, diagnostics))
}

fn labels_changed() -> Refusal {
    let diagnostics = "expected `meta.security` and `meta.tag` to stay as they are, and a new resource to have none";
    Refusal::Denied(deny(DenialReason::LabelsChanged, diagnostics))
}

pub(super) fn outside() -> Refusal {
    let diagnostics = "expected a resource of the patient in context: its primary reference names that patient, \
                       and no reference names another";
    Refusal::Denied(deny(DenialReason::BodyOutsideGrant, diagnostics))
}

/// Whether a Patient stands inside of the resource: contained, or wherever a server might find one.
fn contains_patient(value: Value<'_>, root: bool) -> bool {
    let is_patient = value.member("resourceType").is_some_and(|name| name.is("Patient"));
    !root && is_patient
        || value.elements().any(|element| element.is_container() && contains_patient(element, false))
        || value.members().any(|member| member.value.is_container() && contains_patient(member.value, false))
}

/// Whether a member at any depth has the empty string for a name: JSON allows it, FHIR has none (R4 json.html), and servers stumble.
fn has_nameless_member(value: Value<'_>) -> bool {
    value.elements().any(|element| element.is_container() && has_nameless_member(element))
        || value.members().any(|member| {
            member.name_bytes().is_empty() || member.value.is_container() && has_nameless_member(member.value)
        })
}

fn is_subsetted(tag: &Coding<'_>) -> bool {
    let of_system = tag.system.as_deref().is_none_or(|system| system.ends_with("/v3-ObservationValue"));
    of_system && tag.code.as_deref() == Some("SUBSETTED")
}

/// Whether a server might take an address, which is no clear URL of another one, for something of its own.
fn may_be_ours(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    text.starts_with('/') || text.starts_with('.') || text.starts_with("http") || text.contains("binary")
}
