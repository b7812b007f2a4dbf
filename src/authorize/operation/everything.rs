//! `Patient/id/$everything`, `Patient/$everything` and `Encounter/id/$everything` (R4 patient-operation-everything.html): the
//! record, as far as its types may be read.
//!
//! The types are forced: those that may be read, and of these the ones that were asked for. The patient in the path is one that the
//! grant is for or may read, or is as absent as any other; a patient and an encounter that are restricted otherwise are read
//! first. What lies outside of reach is left out of the answer, since records refer to it.

use super::super::change::Prepared;
use super::super::denial::deny;
use super::super::search::Beside;
use super::super::{Allowance, Authorizer, DenialReason, OpenPage, Reach, UpstreamRequest, Within};
use super::stored::after;
use super::{Called, Judged, Step, can_come, not_for_this_grant, reading};
use crate::error::Refusal;
use crate::fhir::compartment::is_reference_type;
use crate::fhir::operation::Arguments;
use crate::fhir::projection::Projection;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::print_link;

impl Authorizer {
    pub(super) fn everything(&self, called: &Called<'_>, pages: &impl OpenPage) -> Result<Step, Refusal> {
        let whole = self.record(called)?;
        // Every page is sealed to all that may come, whatever types the first was asked for.
        let judged = Judged::Record { whole: is_all(&whole) };
        let beside = Beside::of_operation(&whole, &called.request.interaction, judged);
        let within = self.in_path(called, &whole)?;
        let (upstream, reaches, self_link) = if let Some(token) = &called.request.page {
            let (resource_type, path_and_query) = pages.open_page(token, &called.principal, beside.bounds())?;
            (UpstreamRequest::Page { resource_type, path_and_query }, whole, called.path())
        } else {
            let arguments = called.arguments()?;
            let link = print_link(&called.path(), &arguments.to_query().unwrap_or_default(), &Projection::Full);
            let reaches = self.asked_for(called, &arguments, whole)?;
            let invocation = called.invocation(self.of_record(&arguments, &reaches), None);
            (UpstreamRequest::Operation(Box::new(invocation)), reaches, link)
        };
        let mut ready = called.ready(upstream, reaches, beside)?;
        ready.obligations.self_link = self_link;
        Ok(after(within, Prepared::freely(), ready))
    }

    /// What of the record may be read, the type in the path first.
    pub(super) fn record(&self, called: &Called<'_>) -> Result<Vec<Reach>, Refusal> {
        let of = called.of()?;
        let (all, denial) = self.readable(called.operation, &called.principal);
        let any = !all.is_empty();
        let wholly = |one: &Reach| one.is_unrestricted();
        let mut reaches: Vec<Reach> = match (of, &called.id) {
            (ResourceType::PATIENT, Some(id)) => all.into_iter().filter_map(|reach| part_about(id, reach)).collect(),
            (_, Some(_)) => all,
            // Of all patients: by nobody who is confined to some.
            (_, None) if all.iter().any(|reach| reach.resource_type() == of && wholly(reach)) => {
                all.into_iter().filter(wholly).collect()
            }
            (_, None) if any => return Err(not_for_this_grant(called.operation)),
            (_, None) => Vec::new(),
        };
        // What is referred to comes with what refers to it, or not at all, however much of the type may be read: whom a record
        // names is of the record.
        let by_itself = |reach: &Reach| {
            let refers = |one: &Allowance| one.within != Within::ReferenceType;
            !is_reference_type(reach.resource_type()) && reach.allowances().iter().any(refers)
        };
        if !reaches.iter().any(by_itself) {
            return Err(match denial {
                Some(denial) if !any => Refusal::Denied(denial),
                _ => Refusal::NotFound,
            });
        }
        reaches.sort_by_key(|reach| (reach.resource_type() != of, reach.resource_type()));
        Ok(reaches)
    }

    /// Those of the types that were asked for; all when none was.
    fn asked_for(
        &self,
        called: &Called<'_>,
        arguments: &Arguments,
        mut reaches: Vec<Reach>,
    ) -> Result<Vec<Reach>, Refusal> {
        let words = arguments.texts("_type").flat_map(|names| names.split(','));
        let types: Option<Vec<ResourceType>> = words.map(ResourceType::parse).collect();
        let types = types.ok_or_else(|| Refusal::bad_request("expected `_type` to name resource types of FHIR R4"))?;
        let Some(asked) = types.first() else { return Ok(reaches) };
        reaches.retain(|reach| types.contains(&reach.resource_type()));
        if reaches.is_empty() {
            let denied = self.reach(&reading(*asked, called.operation), &called.principal);
            return Err(denied.map_or_else(Refusal::Denied, |_| {
                Refusal::Denied(deny(DenialReason::TypeNotServed, "none of the types in `_type` is served here"))
            }));
        }
        Ok(reaches)
    }

    /// The query: the types that may come, unless that is every one.
    fn of_record(&self, arguments: &Arguments, reaches: &[Reach]) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        if !is_all(reaches) {
            let names: Vec<&str> = reaches.iter().map(|reach| reach.resource_type().name()).collect();
            parameters.push(("_type".to_owned(), names.join(",")));
        }
        for name in ["_since", "start", "end"] {
            parameters.extend(arguments.text(name).map(|text| (name.to_owned(), text.to_owned())));
        }
        let most = self.max_count().max(1);
        let asked =
            arguments.text("_count").and_then(|text| text.parse::<u32>().ok()).map(|count| count.clamp(1, most));
        // Where something is left out, pages as large as may be tell the least of it. What fails a condition is of the same record, and
        // nothing that is seen refers to it: pages of the client's size would count it, day by day.
        let restricted = !reaches.iter().all(Reach::is_unrestricted);
        let conditional = |reach: &Reach| reach.allowances().iter().all(|allowance| !allowance.conditions.is_empty());
        let asked = asked.filter(|_| !reaches.iter().any(conditional));
        let count = asked.or_else(|| restricted.then_some(most));
        parameters.extend(count.map(|count| ("_count".to_owned(), count.to_string())));
        parameters
    }

    /// The patient or encounter in the path, when not every one may be read. The patient whom the grant is for is known; any other,
    /// and an encounter, must be one that may be read: that there is a record tells that there is somebody.
    pub(super) fn in_path(&self, called: &Called<'_>, reaches: &[Reach]) -> Result<Option<(Reach, Id)>, Refusal> {
        let (of, Some(id)) = (called.of()?, &called.id) else { return Ok(None) };
        let is_for = |reach: &Reach| reach.patients().any(|patient| patient == id);
        if of == ResourceType::PATIENT && reaches.iter().any(is_for) {
            return Ok(None);
        }
        let reach = self.reach(&reading(of, called.operation), &called.principal).map_err(Refusal::Denied)?;
        Ok((!reach.is_unrestricted()).then(|| (reach, id.clone())))
    }
}

/// Whether every type that may come is wholly within reach.
fn is_all(reaches: &[Reach]) -> bool {
    let served = ResourceType::all().filter(|one| can_come(*one)).count();
    reaches.len() == served && reaches.iter().all(Reach::is_unrestricted)
}

/// The part of the reach in which something of this patient's record can lie.
fn part_about(id: &Id, reach: Reach) -> Option<Reach> {
    if reach.is_unrestricted() {
        return Some(reach);
    }
    reach.only(|allowance| match &allowance.within {
        Within::Compartment(patient) => patient == id,
        Within::Everything | Within::ReferenceType => true,
        Within::Own(_) | Within::Attached(_) => false,
    })
}
