//! Narrowing: a search is rebuilt for the upstream, confined to one patient where the grant is.
//!
//! Takes the client's query, gives the parameters that the upstream is asked with. It promises: when a patient is given, the
//! gateway's own parameter is among them (the first), naming exactly that patient by the type's primary compartment parameter,
//! whatever the client sent; references below our own base are relative; projections and totals are not among them. It does not
//! decide whether the search is allowed, and what comes back is still tested: a server may ignore a parameter.

use crate::fhir::compartment::{Membership, PatientCompartment};
use crate::fhir::definitions::{ParameterKind, SearchParameter};
use crate::fhir::reference::{Bases, Id, LocalReference, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::{Criterion, Modifier, SearchQuery, escape, print_sort, unescape};

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

/// Rebuilds `query`, confined where `confinement` is given. `None` when the compartment names no parameter to confine by: then
/// the search must be refused.
#[must_use]
pub fn narrow(
    query: &SearchQuery,
    confinement: Option<Confinement<'_>>,
    bases: &Bases,
    max_count: u32,
) -> Option<Narrowed> {
    let mut parameters = Vec::with_capacity(query.criteria.len() + 3);
    match confinement {
        None => parameters.extend(query.criteria.iter().map(|criterion| rebuild(criterion, bases))),
        Some(confinement) => {
            let primary = confinement.compartment.primary()?;
            parameters.push((primary.name.to_owned(), confinement.value()));
            for criterion in &query.criteria {
                match confinement.meet(primary, criterion, bases) {
                    Meeting::Elsewhere => parameters.push(rebuild(criterion, bases)),
                    Meeting::Included => {}
                    Meeting::Disjoint => return Some(Narrowed::Nothing),
                }
            }
        }
    }
    if !query.sort.is_empty() {
        parameters.push(("_sort".to_owned(), print_sort(&query.sort)));
    }
    if let Some(count) = query.count {
        parameters.push(("_count".to_owned(), count.clamp(1, max_count.max(1)).to_string()));
    }
    Some(Narrowed::Search(parameters))
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

    fn meet(&self, primary: &'static SearchParameter, criterion: &Criterion, bases: &Bases) -> Meeting {
        let plain = matches!(criterion.modifier, None | Some(Modifier::Type(_)));
        if !plain || !same_single_element(primary, criterion.parameter) {
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
fn same_single_element(one: &SearchParameter, other: &SearchParameter) -> bool {
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
