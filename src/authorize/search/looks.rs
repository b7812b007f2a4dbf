//! Chains, `_has` and their like: a predicate over other resources tells of their content, so every type on the way needs the
//! letter s for all of its resources.
//!
//! A restricted grant has none of them, with one exception: through the reference to the patient, where the resource has exactly one,
//! to that patient's own content, when the token may search that patient without conditions. What it tells is
//! what may be read.

use super::super::Denial;
use super::super::asked::{Asked, compartment_of};
use super::super::decide::Authorizer;
use super::super::policy::Action;
use super::super::reach::{Allowance, Reach, Within};
use super::not_for_this_grant;
use crate::authenticate::Principal;
use crate::fhir::compartment::PatientCompartment;
use crate::fhir::narrow::same_single_element;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::{Class, SearchQuery, SortBy, Traversal};
use crate::smart::scope::Letter;

/// What a continuation is asked again: at what the search looks, and whether only through references to the one patient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Looks {
    pub(super) at: Vec<ResourceType>,
    pub(super) confined: bool,
}

impl Authorizer {
    /// The part of the reach within which the conditions and sort keys of the query may look where they do.
    pub(super) fn looking(
        &self,
        asked: &Asked<'_>,
        search: &SearchQuery,
        reach: Reach,
        principal: &Principal,
    ) -> Result<(Reach, Looks), Denial> {
        let at = search.looks_at();
        let traverses =
            !search.traversals.is_empty() || search.sort.iter().any(|key| matches!(key.by, SortBy::Beyond(_)));
        if !traverses {
            return Ok((reach, Looks::default()));
        }
        let everywhere = Looks { at, confined: false };
        let wholly = self.look_again(asked, &everywhere, reach, principal);
        let Err(denial) = wholly else { return wholly.map(|reach| (reach, everywhere)) };
        let own = |traversal: &Traversal| reaches_the_patient_alone(traversal, asked.resource_type);
        if search.sort.iter().any(|key| matches!(key.by, SortBy::Beyond(_))) || !search.traversals.iter().all(own) {
            return Err(denial);
        }
        let confined = Looks { confined: true, ..everywhere };
        let reach = self.confined(asked, principal).ok_or(denial)?;
        Ok((self.look_again(asked, &confined, reach, principal)?, confined))
    }

    /// The same for a page of the answer, for what it looks at was sealed with it.
    pub(in super::super) fn look_again(
        &self,
        asked: &Asked<'_>,
        looks: &Looks,
        reach: Reach,
        principal: &Principal,
    ) -> Result<Reach, Denial> {
        let mut reach = reach;
        if looks.confined {
            reach = self.confined(asked, principal).ok_or_else(|| not_for_this_grant(Class::Traverse))?;
        } else if !reach.is_unrestricted() {
            return Err(not_for_this_grant(Class::Traverse));
        }
        for resource_type in &looks.at {
            let question = Asked::new(Action::SearchType, Letter::Search, *resource_type);
            let looked_at = self.reach(&question, principal).map_err(|denial| Denial {
                diagnostics: format!("the search looks at {resource_type}: {}", denial.diagnostics),
                ..denial
            })?;
            reach = if looks.confined {
                reach.only(|allowance| holds_patient_of(&looked_at, allowance))
            } else {
                Some(reach).filter(|_| looked_at.is_unrestricted())
            }
            .ok_or_else(|| not_for_this_grant(Class::Traverse))?;
        }
        Ok(reach)
    }
}

/// Whether the traversal goes, through the very element that the search is narrowed by, to that patient's own content.
fn reaches_the_patient_alone(traversal: &Traversal, searched: ResourceType) -> bool {
    let Some(parameter) = traversal.to_own_content_of_patient() else { return false };
    let Some(primary) = compartment_of(searched).and_then(PatientCompartment::primary) else { return false };
    same_single_element(primary, parameter)
}

/// Whether the one patient of the allowance is within the reach, under no condition.
fn holds_patient_of(patients: &Reach, allowance: &Allowance) -> bool {
    let Some(patient) = allowance.within.patient() else { return false };
    patients.allowances().iter().any(|of_patients| {
        let of_them = match &of_patients.within {
            Within::Everything => true,
            Within::Compartment(id) | Within::Own(id) => id == patient,
            Within::ReferenceType | Within::Attached(_) => false,
        };
        of_them && of_patients.conditions.is_empty()
    })
}
