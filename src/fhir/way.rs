//! The ways by which a search is confined: a search parameter that the gateway writes, the search of a patient's compartment, or a
//! filter (R4 search.html, compartmentdefinition.html, `search_filter.html`).
//!
//! Takes a resource type and what the site chose; gives the ways that a search for one patient takes, the primary one first.
//! Knows nothing of any server: whether one honours a way is found out elsewhere.

use std::fmt;

use super::compartment::{Membership, PatientCompartment, extension_compartment, patient_compartment};
use super::definitions::{ElementPath, ParameterKind, SearchParameter, search_parameter};
use super::resource_type::ResourceType;

/// How a search is confined, as something that a server does or does not honour.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// `T?parameter=…`
    Parameter(&'static SearchParameter),
    /// `Patient/id/T`
    Compartment,
    /// `T?_filter=…`: any parameter of the compartment.
    Filter,
    /// `Observation/$lastn?subject=…`: some servers honour the parameter in a search and not there.
    LastN,
}

impl PartialEq for Way {
    /// Parameters are the same when they are the same row of the definitions.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Parameter(one), Self::Parameter(other)) => std::ptr::eq(*one, *other),
            (Self::Compartment, Self::Compartment) | (Self::Filter, Self::Filter) | (Self::LastN, Self::LastN) => true,
            (Self::Parameter(_) | Self::Compartment | Self::Filter | Self::LastN, _) => false,
        }
    }
}

impl Eq for Way {}

impl Way {
    /// The parameter's name, `compartment`, `_filter` or `$lastn`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parameter(parameter) => parameter.name,
            Self::Compartment => "compartment",
            Self::Filter => "_filter",
            Self::LastN => "$lastn",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By what a site's searches for one patient are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SearchBy {
    /// The primary parameter of the type: finds a subset of the compartment.
    #[default]
    Primary,
    /// The upstream's own search of the compartment; the primary parameter for what HL7's compartment leaves out.
    Compartment,
    /// One search by a filter of all parameters of the compartment; the primary parameter where it is the only one.
    Filter,
    /// One search for each parameter of the compartment.
    EveryParameter,
}

impl SearchBy {
    /// Each with its word in a configuration. The first finds a part of the compartment, the others all of it, in the order in
    /// which they burden a server less.
    pub const ALL: [(&'static str, Self); 4] = [
        ("primary", Self::Primary),
        ("compartment", Self::Compartment),
        ("filter", Self::Filter),
        ("every-parameter", Self::EveryParameter),
    ];

    /// Its word in a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }
}

/// A parameter that a site narrows by in the place of the type's primary one.
pub type Instead = Option<&'static SearchParameter>;

/// The ways that a search on `resource_type` for one patient takes, all of them together; none for a type without a compartment.
/// `instead` is the first of them in the place of the primary parameter.
pub fn ways(resource_type: ResourceType, search_by: SearchBy, instead: Instead) -> impl Iterator<Item = Way> {
    let of_hl7 = patient_compartment(resource_type);
    let by_reference = of_hl7.is_some_and(|compartment| compartment.membership == Membership::Reference);
    let parameters: &'static [&'static SearchParameter] =
        compartment_of(resource_type).map_or(&[], |compartment| &compartment.parameters);
    let whole = match search_by {
        SearchBy::Compartment => by_reference.then_some(Way::Compartment),
        SearchBy::Filter => (by_reference && parameters.len() > 1).then_some(Way::Filter),
        SearchBy::Primary | SearchBy::EveryParameter => None,
    };
    let (first, others) = parameters.split_first().map_or((None, &[][..]), |(first, others)| (Some(*first), others));
    let first = first.map(|primary| instead.unwrap_or(primary)).filter(|_| whole.is_none());
    let others = if search_by == SearchBy::EveryParameter { others } else { &[] };
    let others = others.iter().copied().filter(move |other| !first.is_some_and(|first| std::ptr::eq(first, *other)));
    whole.into_iter().chain(first.into_iter().chain(others).map(Way::Parameter))
}

/// The parameter of this name, when a search by it for a patient finds nothing but members of the patient's compartment.
#[must_use]
pub fn confining(resource_type: ResourceType, name: &str) -> Instead {
    let compartment = compartment_of(resource_type).filter(|one| one.membership == Membership::Reference)?;
    let parameter = search_parameter(resource_type, name)?;
    let at_member = |path: &ElementPath| compartment.reference_paths().any(|known| known.elements == path.elements);
    let confines = parameter.kind == ParameterKind::Reference
        && parameter.may_target(ResourceType::PATIENT)
        && !parameter.paths.is_empty()
        && parameter.paths.iter().all(at_member);
    confines.then_some(parameter)
}

fn compartment_of(resource_type: ResourceType) -> Option<&'static PatientCompartment> {
    patient_compartment(resource_type).or_else(|| extension_compartment(resource_type))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    fn names(resource_type: &str, search_by: SearchBy) -> Vec<&'static str> {
        ways(ResourceType::parse(resource_type).unwrap(), search_by, None).map(Way::name).collect()
    }

    #[test]
    fn a_type_is_searched_as_the_site_chose() {
        for (resource_type, primary, compartment, filter, every) in [
            ("Observation", &["subject"][..], &["compartment"][..], &["_filter"][..], &["subject", "performer"][..]),
            ("Condition", &["patient"], &["compartment"], &["_filter"], &["patient", "asserter"]),
            // One parameter needs no filter.
            ("Immunization", &["patient"], &["compartment"], &["patient"], &["patient"]),
            // The patient itself is its id, whatever its links say.
            ("Patient", &["_id"], &["_id"], &["_id"], &["_id"]),
            // Not in HL7's compartment.
            ("Device", &["patient"], &["patient"], &["patient"], &["patient"]),
            ("Organization", &[], &[], &[], &[]),
        ] {
            assert_eq!(names(resource_type, SearchBy::Primary), primary, "{resource_type}");
            assert_eq!(names(resource_type, SearchBy::Compartment), compartment, "{resource_type}");
            assert_eq!(names(resource_type, SearchBy::Filter), filter, "{resource_type}");
            assert_eq!(names(resource_type, SearchBy::EveryParameter), every, "{resource_type}");
        }
    }

    #[test]
    fn another_parameter_stands_in_only_when_it_finds_members_alone() {
        let of = |resource_type: &str, name: &str| confining(ResourceType::parse(resource_type).unwrap(), name);
        for (resource_type, name) in [
            ("Condition", "subject"),
            ("Encounter", "subject"),
            ("Observation", "performer"),
            ("Observation", "patient"),
        ] {
            assert!(of(resource_type, name).is_some_and(|found| found.name == name), "{resource_type} {name}");
        }
        for (resource_type, name) in [
            ("Observation", "focus"),
            ("Observation", "encounter"),
            ("Observation", "category"),
            ("Observation", "none"),
            ("Patient", "link"),
            ("Organization", "partof"),
        ] {
            assert_eq!(of(resource_type, name), None, "{resource_type} {name}");
        }
        let condition = ResourceType::parse("Condition").unwrap();
        let named =
            |search_by| ways(condition, search_by, of("Condition", "subject")).map(Way::name).collect::<Vec<_>>();
        assert_eq!(named(SearchBy::Primary), ["subject"]);
        assert_eq!(named(SearchBy::EveryParameter), ["subject", "asserter"]);
        assert_eq!(named(SearchBy::Compartment), ["compartment"]);
        assert_eq!(named(SearchBy::Filter), ["_filter"]);
        let again = ways(condition, SearchBy::EveryParameter, of("Condition", "asserter")).map(Way::name);
        assert_eq!(again.collect::<Vec<_>>(), ["asserter"]);
    }
}
