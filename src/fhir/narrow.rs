//! Narrowing: a search is rebuilt for the upstream, confined to one patient where the grant is.
//!
//! Takes the client's query, gives the parameters that the upstream is asked with. It promises: when a patient is given, the
//! gateway's own parameter is among them (the first), naming exactly that patient by the type's primary compartment parameter,
//! whatever the client sent; the conditions of granular scopes follow it; references below our own base are relative; projections
//! are not among them, and totals only where nothing confines the search. It does not decide whether the search is allowed,
//! traversals and includes least of all, and what comes back is still tested: a server may ignore a parameter.

use crate::fhir::compartment::{Membership, PatientCompartment};
use crate::fhir::condition::Condition;
use crate::fhir::definitions::{ParameterKind, SearchParameter};
use crate::fhir::reference::{Bases, Id, LocalReference, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::{Criterion, Modifier, SearchQuery, Traversal, escape, print_sort, unescape};
use crate::fhir::way::Way;

/// A rebuilt search.
#[derive(Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// Ask the upstream with these names and values, in this order. Values are in FHIR's escaped form, not percent-encoded.
    Search(Vec<(String, String)>),
    /// Nothing can match: the client asks for what is not the patient's.
    Nothing,
}

/// The patient a search is confined to, and how the type belongs to a patient.
#[derive(Clone, Copy, Debug)]
pub struct Confinement<'a> {
    /// Whose resources.
    pub patient: Id<'a>,
    /// By which parameters; see [`patient_compartment`](crate::fhir::compartment::patient_compartment).
    pub compartment: &'static PatientCompartment,
}

/// Rebuilds `query`, confined where `confinement` is given and by all of `conditions`. `None` when the compartment names no parameter to confine by: then
/// the search must be refused.
#[must_use]
pub fn narrow(
    query: &SearchQuery,
    confinement: Option<Confinement<'_>>,
    conditions: &[Condition],
    bases: &Bases,
    max_count: u32,
) -> Option<Narrowed> {
    let confinement = match confinement {
        Some(confinement) => Some((confinement, Way::Parameter(confinement.compartment.primary()?))),
        None => None,
    };
    Some(narrow_by(query, confinement, conditions, bases, max_count))
}

/// The same, confined in this way. Of a search in the compartment itself the path says whose it is, and no parameter; a filter goes
/// first, as the gateway's own parameter does.
#[must_use]
pub fn narrow_by(
    query: &SearchQuery,
    confinement: Option<(Confinement<'_>, Way)>,
    conditions: &[Condition],
    bases: &Bases,
    max_count: u32,
) -> Narrowed {
    let mut parameters = Vec::with_capacity(query.criteria.len() + conditions.len() + 3);
    // Conditions are on elements that repeat or may be written in several ways: the client's own on the same parameter is sent
    // as well, and both must hold.
    let by_condition = conditions.iter().map(|condition| (condition.parameter().name.to_owned(), condition.value()));
    match confinement {
        None | Some((_, Way::Compartment | Way::Filter | Way::LastN)) => {
            let filter = confinement.filter(|(_, way)| *way == Way::Filter);
            parameters.extend(filter.map(|(Confinement { patient, compartment }, _)| by_filter(compartment, patient)));
            parameters.extend(by_condition);
            parameters.extend(query.criteria.iter().map(|criterion| rebuild(criterion, bases)));
        }
        Some((confinement, Way::Parameter(parameter))) => {
            parameters.push((parameter.name.to_owned(), confinement.value()));
            parameters.extend(by_condition);
            for criterion in &query.criteria {
                match confinement.meet(parameter, criterion, bases) {
                    Meeting::Elsewhere => parameters.push(rebuild(criterion, bases)),
                    Meeting::Included => {}
                    Meeting::Disjoint => return Narrowed::Nothing,
                }
            }
        }
    }
    parameters.extend(query.traversals.iter().map(|traversal| along(traversal, bases)));
    parameters.extend(query.full_text.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    if !query.sort.is_empty() {
        parameters.push(("_sort".to_owned(), print_sort(&query.sort)));
    }
    if let Some(count) = query.count {
        parameters.push(("_count".to_owned(), count.clamp(1, max_count.max(1)).to_string()));
    }
    parameters.extend(query.includes.iter().map(|include| (include.key(), include.value())));
    // A number counts what the client may not see as well.
    if confinement.is_none() && conditions.is_empty() {
        parameters.extend(query.total.map(|total| ("_total".to_owned(), total.as_str().to_owned())));
        parameters.extend(query.number_only.then(|| ("_summary".to_owned(), "count".to_owned())));
    }
    Narrowed::Search(parameters)
}

/// The filter that finds all of the patient's compartment: any of its parameters refers to the patient (R4 `search_filter.html`).
///
/// The references stand in quotes: servers were seen to end an unquoted value within a UUID, and to leave out what followed.
#[must_use]
pub fn by_filter(compartment: &PatientCompartment, patient: Id<'_>) -> (String, String) {
    let each = compartment.parameters.iter().map(|parameter| format!("{} eq \"Patient/{patient}\"", parameter.name));
    ("_filter".to_owned(), each.collect::<Vec<_>>().join(" or "))
}

/// A condition on other resources, with references to ours as relative ones.
fn along(traversal: &Traversal, bases: &Bases) -> (String, String) {
    match traversal.end() {
        Some(criterion) => {
            let (name, value) = rebuild(criterion, bases);
            (traversal.way() + &name, value)
        }
        None => (traversal.key(), traversal.value()),
    }
}

/// How a client's condition meets the gateway's own.
enum Meeting {
    /// It is about another element, or about one that repeats, or has a modifier: both conditions are sent and both must hold.
    Elsewhere,
    /// It is about the same single value and admits the patient: the gateway's own condition says it all.
    Included,
    /// It is about the same single value and does not admit the patient.
    Disjoint,
}

impl Confinement<'_> {
    fn value(&self) -> String {
        match self.compartment.membership {
            Membership::OwnId => self.patient.as_str().to_owned(),
            Membership::Reference => format!("Patient/{}", self.patient),
        }
    }

    fn meet(&self, ours: &'static SearchParameter, criterion: &Criterion, bases: &Bases) -> Meeting {
        let plain = matches!(criterion.modifier, None | Some(Modifier::Type(_)));
        if !plain || !same_single_element(ours, criterion.parameter) {
            return Meeting::Elsewhere;
        }
        let admits = criterion.alternatives.iter().any(|alternative| match self.compartment.membership {
            Membership::OwnId => alternative == self.patient.as_str(),
            Membership::Reference => self.is_patient(criterion, alternative, bases),
        });
        if admits { Meeting::Included } else { Meeting::Disjoint }
    }

    fn is_patient(&self, criterion: &Criterion, alternative: &str, bases: &Bases) -> bool {
        let text = unescape(alternative);
        match (normalise(&text, bases), criterion.modifier) {
            (Some(local), None) => local.version.is_none() && local.names(ResourceType::PATIENT, self.patient),
            (Some(local), Some(Modifier::Type(target))) => {
                local.version.is_none()
                    && target == local.resource_type
                    && local.names(ResourceType::PATIENT, self.patient)
            }
            // An id alone, of whatever type the parameter or its modifier allows.
            (None, None) => text == self.patient.as_str(),
            (None, Some(Modifier::Type(target))) => target == ResourceType::PATIENT && text == self.patient.as_str(),
            (_, Some(_)) => false,
        }
    }
}

/// Whether both parameters look at the same element, and that element has one value at most: `patient` and `subject` of an
/// Observation. Then two different values can never both match.
#[must_use]
pub fn same_single_element(one: &SearchParameter, other: &SearchParameter) -> bool {
    let elements =
        |parameter: &SearchParameter| parameter.paths.iter().map(|path| path.elements.clone()).collect::<Vec<_>>();
    !one.repeats && !other.repeats && !one.paths.is_empty() && elements(one) == elements(other)
}

/// The client's condition with its references in the form that the upstream knows.
fn rebuild(criterion: &Criterion, bases: &Bases) -> (String, String) {
    if criterion.parameter.kind != ParameterKind::Reference {
        return (criterion.key(), criterion.alternatives.join(","));
    }
    match criterion.modifier {
        None => {
            let sole_target = match *criterion.parameter.targets.as_slice() {
                [target] => Some(target),
                _ => None,
            };
            (criterion.parameter.name.to_owned(), references(criterion, sole_target, bases))
        }
        // `subject:Patient=1` says what `subject=Patient/1` says.
        Some(Modifier::Type(target)) => {
            (criterion.parameter.name.to_owned(), references(criterion, Some(target), bases))
        }
        Some(_) => (criterion.key(), criterion.alternatives.join(",")),
    }
}

/// The alternatives: an id alone becomes `Type/id` where only one type is possible, a URL below one of our bases relative.
fn references(criterion: &Criterion, sole_target: Option<ResourceType>, bases: &Bases) -> String {
    let mut value = String::new();
    for alternative in &criterion.alternatives {
        if !value.is_empty() {
            value.push(',');
        }
        let text = unescape(alternative);
        match (reference(&text, bases), sole_target) {
            (Some(local), _) => value.push_str(&escape(&local)),
            (None, Some(target)) if Id::parse(&text).is_some() => {
                value.push_str(target.name());
                value.push('/');
                value.push_str(&text);
            }
            (None, _) => value.push_str(alternative),
        }
    }
    value
}

/// A reference to a resource of ours as a relative one; also canonical URLs and anything else below one of our bases.
fn reference(text: &str, bases: &Bases) -> Option<String> {
    let relative = bases.strip(text).unwrap_or(text);
    LocalReference::parse_relative(relative).map(|local| local.to_string())
}

#[cfg(test)]
mod tests;
