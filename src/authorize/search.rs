//! What a search asks beyond the content of the searched type: includes, other resources on the way, full text, numbers.
//!
//! Takes the parsed query and the reach of the search, gives the [`Beside`]: what may come with the matches, and what the search
//! looks at. Every type it touches needs a reach of its own. Promises: a grant that is restricted in any way gets nothing
//! that could tell it of what it may not read: no predicate over other resources (but over the one patient's own), no index over
//! whole texts, no number. Does not narrow the search itself.

mod compartment;
mod includes;
mod looks;
mod several;

use super::asked::Asked;
use super::decide::Authorizer;
use super::denial::deny;
use super::operation::Judged;
use super::reach::Reach;
use super::{Company, Denial, DenialReason};
use crate::authenticate::Principal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::Bases;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::{Class, SearchQuery};

pub(super) use compartment::{compartment, part_within};
pub(super) use looks::Looks;
pub(super) use several::Several;
pub(crate) use several::write_pages;

/// Before what a search looks at, in its sealed continuation.
const LOOKS: &str = "looks ";

/// What an answer may hold beside matches of the search's reach, and what the search looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The reaches of further types that are searched along with the first.
    also: Vec<Reach>,
    /// The reaches of what may be included.
    included: Vec<Reach>,
    /// What predicates and sort keys look at.
    looks: Looks,
    /// What Provenance may be about beside the patient.
    company: Company,
    /// The compartment or operation that the path names: `Patient/P1`, `Patient/P1/$everything`.
    compartment: Option<String>,
    /// What continuations are sealed to: told from token and path alone, for a page does not tell the conditions of its search.
    bounds: String,
    /// What links to further pages say beside the page: `&_include=…`.
    carried: String,
    /// Of an operation: how its answer is judged.
    judged: Option<Judged>,
}

impl Beside {
    /// Beside a history: the reaches of further types, and what continuations are sealed to.
    pub(super) fn of_history(also: Vec<Reach>, bounds: String) -> Self {
        Self { also, bounds, ..Self::default() }
    }

    /// Whether an included resource may be released: it is of a type that was asked for, and within every reach of it, in
    /// this company.
    #[must_use]
    pub fn admits(&self, facts: &Facts<'_>, bases: &Bases, company: &Company) -> bool {
        let mut of_type =
            self.included.iter().filter(|reach| reach.resource_type() == facts.resource_type()).peekable();
        of_type.peek().is_some() && of_type.all(|reach| reach.admits_among(facts, bases, Some(company)).is_some())
    }

    /// What Provenance may be about beside the patient, as far as it was looked up.
    #[must_use]
    pub fn company(&self) -> &Company {
        &self.company
    }

    /// Keeps what was looked up.
    pub(super) fn keep(&mut self, company: Company) {
        self.company = company;
    }

    /// The reaches of further types that are searched along with the first.
    #[must_use]
    pub fn also(&self) -> &[Reach] {
        &self.also
    }

    /// The reaches of what may be included.
    #[must_use]
    pub fn included(&self) -> &[Reach] {
        &self.included
    }

    /// The same, of a search that looks there.
    pub(super) fn looking(self, looks: Looks) -> Self {
        Self { looks, ..self }
    }

    /// The same, of a search in this compartment.
    pub(super) fn in_compartment_of(self, interaction: &Interaction) -> Self {
        let compartment = match interaction {
            Interaction::Operation { .. } => Some(interaction.search_path()),
            _ => compartment(interaction).map(|(compartment, id)| format!("{compartment}/{id}")),
        };
        Self { compartment, ..self }
    }

    /// What an operation gives: whatever is within any of these reaches.
    pub(super) fn of_operation(reaches: &[Reach], interaction: &Interaction, judged: Judged) -> Self {
        let beside = Self { judged: Some(judged), ..Self::default() }.in_compartment_of(interaction);
        match reaches.split_first() {
            Some((first, also)) => beside.with_also(also.to_vec()).bound_to(first),
            None => beside,
        }
    }

    /// The same, with these reaches besides the first.
    pub(super) fn with_also(self, also: Vec<Reach>) -> Self {
        Self { also, ..self }
    }

    /// The same, of an operation whose answer is judged so.
    pub(super) fn judged_as(self, judged: Judged) -> Self {
        Self { judged: Some(judged), ..self }
    }

    /// How the answer to an operation is judged; `None` for FHIR's own interactions.
    #[must_use]
    pub(crate) fn judged(&self) -> Option<&Judged> {
        self.judged.as_ref()
    }

    /// The same, with what continuations are sealed to: the reaches of the matches and of what is included.
    pub(super) fn bound_to(mut self, reach: &Reach) -> Self {
        self.bounds = reach.to_string();
        for (word, reaches) in [("; and ", &self.also), ("; with ", &self.included)] {
            for reach in reaches {
                self.bounds.push_str(word);
                self.bounds.push_str(&reach.to_string());
            }
        }
        if let Some(compartment) = &self.compartment {
            self.bounds.push_str("; in ");
            self.bounds.push_str(compartment);
        }
        self
    }

    /// The same, with what links to further pages say beside the page.
    pub(super) fn carrying(self, carried: String) -> Self {
        Self { carried, ..self }
    }

    /// What continuations are sealed to.
    #[must_use]
    pub(crate) fn bounds(&self) -> &str {
        &self.bounds
    }

    /// What links to further pages say beside the page.
    #[must_use]
    pub(crate) fn carried(&self) -> &str {
        &self.carried
    }

    /// A continuation together with what the search looks at, which every page is asked again.
    #[must_use]
    pub(crate) fn write_page(&self, text: &str) -> String {
        if self.looks == Looks::default() {
            return text.to_owned();
        }
        let names: Vec<&str> = self.looks.at.iter().map(|one| one.name()).collect();
        let confined = if self.looks.confined { "patient" } else { "everywhere" };
        format!("{LOOKS}{confined}:{}\n{text}", names.join(","))
    }

    /// What [`Beside::write_page`] wrote; `None` when it did not.
    #[must_use]
    pub(super) fn read_page(text: &str) -> Option<(Option<Looks>, &str)> {
        let Some((looks, text)) = text.strip_prefix(LOOKS).and_then(|rest| rest.split_once('\n')) else {
            return Some((None, text));
        };
        let (confined, names) = looks.split_once(':')?;
        let names = names.split(',').filter(|name| !name.is_empty());
        let at = names.map(ResourceType::parse).collect::<Option<_>>()?;
        Some((Some(Looks { at, confined: confined == "patient" }), text))
    }
}

impl Authorizer {
    /// Decides on everything in the query but the conditions on the searched type's own content. Gives the part of the
    /// reach that remains under it.
    pub(super) fn beside(
        &self,
        asked: &Asked<'_>,
        search: &SearchQuery,
        reach: Reach,
        principal: &Principal,
    ) -> Result<(Reach, Beside), Denial> {
        for class in &search.beyond {
            if matches!(class, Class::Opaque | Class::Contained) {
                return Err(never_served(*class));
            }
        }
        let (reach, looks) = self.looking(asked, search, reach, principal)?;
        for class in &search.beyond {
            if matches!(class, Class::FullText | Class::Total) && !reach.is_unrestricted() {
                return Err(not_for_this_grant(*class));
            }
        }
        if search.number_only && !search.includes.is_empty() {
            let diagnostics = "a number comes without `_include` and `_revinclude`";
            return Err(deny(DenialReason::ParameterNotServed, diagnostics));
        }
        let included = self.included(&search.includes, &reach, principal)?;
        Ok((reach, Beside { included, looks, ..Beside::default() }))
    }
}

fn never_served(class: Class) -> Denial {
    deny(DenialReason::ParameterNotServed, format!("not served to anybody: {}", class.members()))
}

fn not_for_this_grant(class: Class) -> Denial {
    let diagnostics = format!(
        "not served to a grant that does not reach all resources of the type: {}; served are {}, `_count`, `_sort` by them, `_include` and `_revinclude` of types within reach, `_elements` and `_summary`",
        class.members(),
        Class::Own.members()
    );
    deny(DenialReason::ParameterNotServed, diagnostics)
}
