//! `GET Patient/P1/Observation?…` (R4 compartmentdefinition.html, http.html section 3.1.0.12): a search within one compartment.
//!
//! An unrestricted grant has the upstream's own compartment search. For a restricted one it becomes the narrowed search on the
//! type, when the compartment is one that the grant is for; otherwise it is as absent as the patient.

use super::super::asked::compartment_of;
use super::super::decide::Authorizer;
use super::super::denial::{deny, type_not_served_for_one_patient};
use super::super::reach::{Confines, Reach, Within};
use super::super::{DenialReason, UpstreamRequest};
use crate::error::Refusal;
use crate::fhir::interaction::Interaction;
use crate::fhir::narrow::{Confinement, Narrowed, narrow};
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::SearchQuery;

/// A compartment: its kind and whose it is.
pub(in super::super) type Compartment<'a> = (ResourceType, &'a Id);

/// The compartment that the path names.
pub(in super::super) fn compartment(interaction: &Interaction) -> Option<Compartment<'_>> {
    match interaction {
        Interaction::SearchCompartment { compartment, id, .. } => Some((*compartment, id)),
        _ => None,
    }
}

/// The part of the reach that lies in the compartment; `None` when nothing does.
pub(in super::super) fn part_within((compartment, id): Compartment<'_>, reach: Reach) -> Option<Reach> {
    if reach.is_unrestricted() || compartment != ResourceType::PATIENT {
        return Some(reach);
    }
    reach.only(|allowance| match &allowance.within {
        Within::Compartment(patient) => patient == id,
        Within::Everything => true,
        Within::ReferenceType | Within::Own(_) | Within::Attached(_) => false,
    })
}

impl Authorizer {
    /// The search on the reach's type within the compartment. The reach is the part of it that lies there.
    pub(in super::super) fn within(
        &self,
        (compartment, id): Compartment<'_>,
        reach: &Reach,
        search: &SearchQuery,
    ) -> Result<UpstreamRequest, Refusal> {
        if reach.is_unrestricted() {
            return self.wholly_within((compartment, id), reach.resource_type(), search);
        }
        if compartment != ResourceType::PATIENT {
            let diagnostics = format!("a grant that is restricted does not search the compartment of a {compartment}");
            return Err(Refusal::Denied(deny(DenialReason::InteractionNotServed, diagnostics)));
        }
        let confines = if search.sort.is_empty() { reach.confines() } else { reach.confines_sorted() };
        let of_it = |confines: Confines| confines.of(id, reach.primary_way());
        let confines: Vec<(usize, Confines)> = confines.into_iter().map(of_it).enumerate().collect();
        if confines.is_empty() {
            return Err(Refusal::NotFound);
        }
        self.searches(reach.resource_type(), &confines, search).map_err(Refusal::Denied)
    }

    fn wholly_within(
        &self,
        (compartment, id): Compartment<'_>,
        resource_type: ResourceType,
        search: &SearchQuery,
    ) -> Result<UpstreamRequest, Refusal> {
        // Of the patients, only the one: the definition also has those who link to it.
        let itself = (compartment, resource_type) == (ResourceType::PATIENT, ResourceType::PATIENT);
        let confinement = compartment_of(resource_type)
            .filter(|_| itself)
            .map(|compartment| Confinement { patient: id.as_id(), compartment });
        Ok(match narrow(search, confinement, &[], self.bases(), self.max_count()) {
            None => return Err(Refusal::Denied(type_not_served_for_one_patient(resource_type))),
            Some(Narrowed::Nothing) => UpstreamRequest::Nothing { resource_type },
            Some(Narrowed::Search(parameters)) if itself => UpstreamRequest::Search { resource_type, parameters },
            Some(Narrowed::Search(parameters)) => {
                UpstreamRequest::SearchCompartment { compartment, id: id.clone(), resource_type, parameters }
            }
        })
    }
}
