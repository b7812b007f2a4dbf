//! Searches on several types at once: `GET Patient/P1/*` and `GET ?_type=A,B`. Each type is a search of its own, with its own
//! reach, and the answers are joined; what the types have in common can be asked, nothing else.
//!
//! The system is searched by unrestricted grants alone. In a compartment, types that are not within reach are left out, unless
//! they were asked for by name.

use std::sync::Arc;

use super::super::asked::{Asked, compartment_of};
use super::super::decide::{Authorizer, continued};
use super::super::denial::deny;
use super::super::reach::Reach;
use super::super::{Decision, Denial, DenialReason, Obligations, OpenPage, Permit, UpstreamRequest};
use super::Beside;
use super::compartment::{Compartment, compartment, part_within};
use crate::authenticate::Principal;
use crate::canonicalise::FhirRequest;
use crate::error::Refusal;
use crate::fhir::interaction::Interaction;
use crate::fhir::resource_type::ResourceType;

/// On how many types is searched at most.
const MOST_TYPES: usize = 16;

/// Where several types are searched.
pub(in super::super) enum Several<'a> {
    System,
    Compartment(Compartment<'a>),
}

impl<'a> Several<'a> {
    /// `None`: the request is no such search.
    pub(in super::super) fn of(interaction: &'a Interaction) -> Option<Self> {
        match interaction {
            Interaction::SearchSystem => Some(Self::System),
            Interaction::SearchCompartment { resource_type: None, .. } => {
                compartment(interaction).map(Self::Compartment)
            }
            _ => None,
        }
    }
}

impl Authorizer {
    /// Decides about a search on several types.
    pub(in super::super) fn decide_several(
        &self,
        mut request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Decision {
        request.search.total = None;
        let built = match Several::of(&request.interaction) {
            Some(several) => self.build(&several, &request, &principal, pages),
            None => Err(Refusal::NotFound),
        };
        let Built { reach, beside, searches, self_link } = match built {
            Ok(built) => built,
            Err(Refusal::Denied(denial)) => return Decision::Deny(denial),
            Err(refusal) => return Decision::Refuse(refusal),
        };
        let beside = Box::new(beside);
        let obligations = Obligations { beside, self_link, ..Obligations::of(request, reach, principal) };
        Decision::Permit(Permit { upstream: UpstreamRequest::PerType { searches }, obligations, _decided: () })
    }

    fn build(
        &self,
        several: &Several<'_>,
        request: &FhirRequest,
        principal: &Principal,
        pages: &impl OpenPage,
    ) -> Result<Built, Refusal> {
        let reaches = self.reaches(several, request, principal).map_err(Refusal::Denied)?;
        let self_link = request.search.self_link(&request.interaction.search_path(), &request.projection);
        let (mut within, mut searches) = (Vec::new(), Vec::new());
        for reach in reaches {
            let reach = match several {
                Several::System => reach,
                Several::Compartment(compartment) => match part_within(*compartment, reach) {
                    Some(reach) => reach,
                    None => continue,
                },
            };
            let search = match several {
                Several::System => self.narrowed(&reach, &request.search).map_err(Refusal::Denied),
                Several::Compartment(compartment) => self.within(*compartment, &reach, &request.search),
            };
            searches.push(search?);
            within.push(reach);
        }
        let mut within = within.into_iter();
        let reach = within.next().ok_or(Refusal::NotFound)?;
        let beside = Beside { also: within.collect(), ..Beside::default() }
            .in_compartment_of(&request.interaction)
            .bound_to(&reach)
            .carrying(request.search.carried_by_pages(&request.projection));
        if let Some(token) = &request.page {
            let (of, text) = pages.open_page(token, principal, beside.bounds())?;
            if of != reach.resource_type() {
                return Err(Refusal::bad_request("expected `_page` on the path that it was given for"));
            }
            searches = read_pages(&text)?;
        }
        Ok(Built { reach, beside, searches, self_link })
    }

    /// The reaches of the types to search, in the order of their names or as they were asked for.
    fn reaches(
        &self,
        several: &Several<'_>,
        request: &FhirRequest,
        principal: &Principal,
    ) -> Result<Vec<Reach>, Denial> {
        let named = &request.search.types;
        if named.len() > MOST_TYPES || named.is_empty() && matches!(several, Several::System) {
            return Err(too_many());
        }
        let mut reaches = Vec::new();
        let mut nearest = None;
        let candidates: Vec<ResourceType> = if named.is_empty() {
            ResourceType::all().filter(|one| compartment_of(*one).is_some()).collect()
        } else {
            named.clone()
        };
        for resource_type in candidates {
            match self.reach_of_one(several, resource_type, request, principal) {
                Ok(reach) => reaches.push(reach),
                Err(denial) if named.is_empty() && denial.reason != DenialReason::ParameterNotServed => {
                    nearest.get_or_insert(denial);
                }
                Err(denial) => return Err(denial),
            }
        }
        match nearest {
            _ if reaches.len() > MOST_TYPES => Err(too_many()),
            Some(denial) if reaches.is_empty() => Err(denial),
            _ => Ok(reaches),
        }
    }

    fn reach_of_one(
        &self,
        several: &Several<'_>,
        resource_type: ResourceType,
        request: &FhirRequest,
        principal: &Principal,
    ) -> Result<Reach, Denial> {
        let interaction = Interaction::SearchType { resource_type };
        let asked = Asked::of(&interaction)?;
        let reach = self.reach(&asked, principal)?;
        if matches!(several, Several::System) && !reach.is_unrestricted() {
            let diagnostics = "a grant that is restricted does not search the system; search each type";
            return Err(deny(DenialReason::InteractionNotServed, diagnostics));
        }
        if resource_type == ResourceType::PROVENANCE && !reach.is_unrestricted() {
            let diagnostics = "a grant for one patient has Provenance by a search of its own, not among other types";
            return Err(deny(DenialReason::TypeNotServed, diagnostics));
        }
        let (reach, _) = self.beside(&asked, &request.search, reach, principal)?;
        if request.search.number_only {
            let diagnostics = "several types have no number together; search each type";
            return Err(deny(DenialReason::ParameterNotServed, diagnostics));
        }
        Ok(reach)
    }
}

struct Built {
    reach: Reach,
    beside: Beside,
    searches: Vec<UpstreamRequest>,
    self_link: String,
}

fn too_many() -> Denial {
    deny(DenialReason::ParameterNotServed, format!("expected `_type` with at most {MOST_TYPES} types"))
}

/// Continuations on several types, a line for each: the type, a space, and what the search on it alone would be continued by.
#[must_use]
pub(crate) fn write_pages(continued: &[(ResourceType, String)]) -> String {
    let lines = continued
        .iter()
        .flat_map(|(resource_type, text)| text.lines().map(move |line| format!("{resource_type} {line}")));
    lines.collect::<Vec<_>>().join("\n")
}

fn read_pages(text: &str) -> Result<Vec<UpstreamRequest>, Refusal> {
    let foreign = || Refusal::bad_request("expected `_page` as in the link that was given");
    let mut of_types: Vec<(ResourceType, String)> = Vec::new();
    for line in text.lines() {
        let (name, rest) = line.split_once(' ').ok_or_else(foreign)?;
        let resource_type = ResourceType::parse(name).ok_or_else(foreign)?;
        match of_types.last_mut() {
            Some((last, lines)) if *last == resource_type => {
                lines.push('\n');
                lines.push_str(rest);
            }
            _ => of_types.push((resource_type, rest.to_owned())),
        }
    }
    Ok(of_types.into_iter().map(|(resource_type, text)| continued(resource_type, &text)).collect())
}
