//! How far a grant reaches: for a type and a letter, the [`Allowance`]s of which any one suffices alone.
//!
//! A resource is within reach when one scope, in its own context and under its own conditions, allows it and the policies do
//! too; nothing is ever taken from two scopes together. Built by `authorize`, tested by whoever holds a resource. Promises
//! that a reach is [unrestricted](Reach::is_unrestricted) only when every resource of the type is within it.

use std::fmt;
use std::sync::Arc;

use super::{Access, Company, Part, UpstreamRequest};
use crate::fhir::condition::Condition;
use crate::fhir::definitions::{ParameterKind, SearchParameter};
use crate::fhir::facts::Facts;
use crate::fhir::reference::{Bases, LogicalId as Id};
use crate::fhir::resource_type::ResourceType;
use crate::fhir::way::{Instead, SearchBy, Way, ways};

/// In how many parts a search is made at most.
pub(super) const MOST_PARTS: usize = 4;

/// What one scope allows of one type, with the policies' consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Where.
    pub(crate) within: Within,
    /// Under which conditions, all of which must hold.
    pub(crate) conditions: Arc<[Condition]>,
    /// Ids of the policies that permitted it, for the record.
    pub(crate) policies: Arc<[String]>,
}

/// Where an allowance holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Within {
    /// Every resource of the type.
    Everything,
    /// The compartment of this patient.
    Compartment(Id),
    /// Whatever patient data refer to, of a type that describes who, where and what care is given with: by its id and as an
    /// include, never found by a search.
    ReferenceType,
    /// This one resource: the user's own entry.
    Own(Id),
    /// One Binary, for what refers to it or for its security context.
    Attached(Box<Access>),
}

/// The allowances for one type and letter; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    resource_type: ResourceType,
    any_of: Vec<Allowance>,
    /// By what it is searched,
    search_by: SearchBy,
    /// and what that narrows by in the place of the type's primary parameter.
    instead: Instead,
}

/// What a search of one type is confined by, so that it finds nothing outside of the allowances it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confines {
    /// The patient.
    pub(super) patient: Option<Id>,
    /// How it is confined to the patient, when there is one and the type has a way.
    pub(super) way: Option<Way>,
    /// What else must hold.
    pub(super) conditions: Vec<Condition>,
}

impl Reach {
    /// `None` without any allowance, which is no reach.
    pub(super) fn new(resource_type: ResourceType, any_of: Vec<Allowance>) -> Option<Self> {
        let (search_by, instead) = (SearchBy::Primary, None);
        (!any_of.is_empty()).then_some(Self { resource_type, any_of, search_by, instead })
    }

    /// The same, searched so.
    pub(super) fn searched_by(self, search_by: SearchBy) -> Self {
        Self { search_by, ..self }
    }

    /// The same, narrowed by another parameter than the primary one of the type.
    pub(super) fn narrowed_by(self, instead: Instead) -> Self {
        Self { instead, ..self }
    }

    /// A reach for tests of the stages that hold resources.
    #[cfg(test)]
    pub(crate) fn for_test(resource_type: ResourceType, any_of: Vec<Allowance>) -> Self {
        Self { resource_type, any_of, search_by: SearchBy::Primary, instead: None }
    }

    /// The part of it that these allowances make; `None` when there are none.
    pub(super) fn only(self, keep: impl Fn(&Allowance) -> bool) -> Option<Self> {
        let Self { resource_type, mut any_of, search_by, instead } = self;
        any_of.retain(keep);
        Self::new(resource_type, any_of).map(|reach| reach.searched_by(search_by).narrowed_by(instead))
    }

    /// The type.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// The allowances.
    #[must_use]
    pub fn allowances(&self) -> &[Allowance] {
        &self.any_of
    }

    /// Whether every resource of the type is within reach.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.any_of.iter().any(Allowance::is_unrestricted)
    }

    /// Whether whatever is within the other reach is within this one, as far as can be told without a resource.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.resource_type == other.resource_type
            && other.any_of.iter().all(|theirs| {
                self.any_of.iter().any(|ours| {
                    (ours.within == Within::Everything || ours.within == theirs.within)
                        && ours.conditions.iter().all(|condition| theirs.conditions.contains(condition))
                })
            })
    }

    /// The allowance that has the resource within reach.
    #[must_use]
    pub fn admits(&self, facts: &Facts<'_>, bases: &Bases) -> Option<&Allowance> {
        self.admits_among(facts, bases, None)
    }

    /// The same for a resource in this company, which counts for what is judged by what it is about.
    #[must_use]
    pub fn admits_among(&self, facts: &Facts<'_>, bases: &Bases, company: Option<&Company>) -> Option<&Allowance> {
        let of_type = facts.resource_type() == self.resource_type;
        self.any_of.iter().find(|allowance| of_type && allowance.admits_among(facts, bases, company))
    }

    /// Whether the resource would be within reach if it met the conditions of granular scopes: it lies where the upstream
    /// was asked to look, and only codes differ.
    #[must_use]
    pub fn admits_but_for_conditions(&self, facts: &Facts<'_>, bases: &Bases) -> bool {
        facts.resource_type() == self.resource_type
            && self.any_of.iter().any(|allowance| allowance.within.holds(facts, bases, None))
    }

    /// The patients whose compartments the reach is made of; empty when it is wider.
    pub fn patients(&self) -> impl Iterator<Item = &Id> {
        self.any_of.iter().filter_map(|allowance| allowance.within.patient())
    }

    /// Ids of the policies that permitted any of it, each once.
    #[must_use]
    pub fn policies(&self) -> Vec<String> {
        let mut policies: Vec<String> = Vec::new();
        for policy in self.any_of.iter().flat_map(|allowance| &*allowance.policies) {
            if !policies.contains(policy) {
                policies.push(policy.clone());
            }
        }
        policies
    }

    /// What a search for all of it relies on the upstream to honour. Nothing where nothing is confined.
    pub fn relies_on(&self) -> impl Iterator<Item = Way> {
        let confined =
            self.any_of.iter().filter(|_| !self.is_unrestricted()).filter(|allowance| allowance.is_searched());
        confined.flat_map(|allowance| {
            let patient = allowance.within.patient().map(|_| ways(self.resource_type, self.search_by, self.instead));
            let conditions = allowance.conditions.iter().map(|condition| Way::Parameter(condition.parameter()));
            patient.into_iter().flatten().chain(conditions)
        })
    }

    /// What searches must be confined to in order to find all of it and nothing else: one when it can be said in one search,
    /// otherwise one for each part, and for each way that the site chose, if these are not too many. An allowance that no search
    /// can find is left out.
    #[must_use]
    pub fn confines(&self) -> Vec<Confines> {
        let parts = self.parts();
        let by_each_way = |part: &Confines| {
            let each = ways(self.resource_type, self.search_by, self.instead).filter(|_| part.patient.is_some());
            let mut each: Vec<Confines> = each.map(|way| Confines { way: Some(way), ..part.clone() }).collect();
            if each.is_empty() {
                each.push(part.clone());
            }
            each
        };
        let all: Vec<Confines> = parts.iter().flat_map(by_each_way).collect();
        if all.len() > MOST_PARTS { self.primary(parts) } else { all }
    }

    /// The same, one for each part: what is sorted cannot be put together from several searches.
    pub(super) fn confines_sorted(&self) -> Vec<Confines> {
        let confines = self.confines();
        let parts = self.parts();
        if confines.len() > parts.len() { self.primary(parts) } else { confines }
    }

    /// The one parameter that a search for a patient is made by.
    pub(super) fn primary_way(&self) -> Option<Way> {
        ways(self.resource_type, SearchBy::Primary, self.instead).next()
    }

    fn primary(&self, parts: Vec<Confines>) -> Vec<Confines> {
        let primary = self.primary_way();
        parts.into_iter().map(|part| part.in_way(primary)).collect()
    }

    fn parts(&self) -> Vec<Confines> {
        let mut confines: Vec<Confines> = Vec::new();
        for allowance in &self.any_of {
            let patient = match &allowance.within {
                Within::Everything => None,
                Within::Compartment(patient) => Some(patient.clone()),
                Within::ReferenceType | Within::Own(_) | Within::Attached(_) => continue,
            };
            let new = Confines { patient, way: None, conditions: allowance.conditions.to_vec() };
            if confines.iter().any(|known| known.covers(&new)) {
                continue;
            }
            confines.retain(|known| !new.covers(known));
            match confines.iter_mut().find_map(|known| known.join(&new).map(|joined| (known, joined))) {
                Some((known, joined)) => *known = joined,
                None => confines.push(new),
            }
        }
        confines
    }
}

impl Allowance {
    /// Whether every resource of the type is within it.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.within == Within::Everything && self.conditions.is_empty()
    }

    /// Whether a search can find what it allows.
    fn is_searched(&self) -> bool {
        match self.within {
            Within::Everything | Within::Compartment(_) => true,
            Within::ReferenceType | Within::Own(_) | Within::Attached(_) => false,
        }
    }

    /// Whether the resource, of the allowance's type, is within it.
    #[must_use]
    pub fn admits(&self, facts: &Facts<'_>, bases: &Bases) -> bool {
        self.admits_among(facts, bases, None)
    }

    fn admits_among(&self, facts: &Facts<'_>, bases: &Bases, company: Option<&Company>) -> bool {
        self.within.holds(facts, bases, company)
            && self.conditions.iter().all(|condition| condition.holds(facts.resource(), bases))
    }
}

impl Within {
    fn holds(&self, facts: &Facts<'_>, bases: &Bases, company: Option<&Company>) -> bool {
        match self {
            Self::Everything | Self::ReferenceType => true,
            Self::Compartment(patient) => {
                let about = |company: &Company| company.admits_provenance(facts, patient.as_id(), bases);
                let by_targets = facts.resource_type() == ResourceType::PROVENANCE && company.is_some_and(about);
                by_targets || facts.member(patient.as_id(), bases)
            }
            Self::Own(id) => facts.id() == Some(id.as_id()),
            Self::Attached(access) => access.admits(facts, bases),
        }
    }

    /// The patient whose compartment it is.
    pub(super) fn patient(&self) -> Option<&Id> {
        match self {
            Self::Compartment(patient) => Some(patient),
            Self::Everything | Self::ReferenceType | Self::Own(_) | Self::Attached(_) => None,
        }
    }
}

impl Confines {
    /// The patient whose compartment it is confined to.
    #[must_use]
    pub fn patient(&self) -> Option<&Id> {
        self.patient.as_ref()
    }

    /// The same, in the compartment of this patient, by `primary` where no way was chosen.
    pub(super) fn of(self, patient: &Id, primary: Option<Way>) -> Self {
        Self { patient: Some(patient.clone()), ..self }.in_way(primary)
    }

    fn in_way(self, primary: Option<Way>) -> Self {
        Self { way: self.way.or(primary).filter(|_| self.patient.is_some()), ..self }
    }

    /// Whether a search confined so finds the resource.
    #[must_use]
    pub fn admits(&self, facts: &Facts<'_>, bases: &Bases) -> bool {
        self.patient.as_ref().is_none_or(|patient| self.finds(patient, facts, bases))
            && self.conditions.iter().all(|condition| condition.holds(facts.resource(), bases))
    }

    fn finds(&self, patient: &Id, facts: &Facts<'_>, bases: &Bases) -> bool {
        let by_reference = |parameter: &&'static SearchParameter| parameter.kind == ParameterKind::Reference;
        match self.way {
            Some(Way::Parameter(parameter)) if by_reference(&parameter) => {
                let mut found = false;
                for path in &parameter.paths {
                    facts.references(&path.elements, bases, |local| {
                        found |= local.is_some_and(|local| local.names(ResourceType::PATIENT, patient.as_id()));
                    });
                }
                found
            }
            _ => facts.member(patient.as_id(), bases),
        }
    }

    /// Whether whatever the other finds is found by this one.
    fn covers(&self, other: &Self) -> bool {
        (self.patient.is_none() || self.patient == other.patient)
            && self.conditions.iter().all(|condition| other.conditions.contains(condition))
    }

    /// One search for both, when they differ in one condition on one parameter.
    fn join(&self, other: &Self) -> Option<Self> {
        match (self.conditions.as_slice(), other.conditions.as_slice()) {
            ([one], [another]) if self.patient == other.patient => {
                Some(Self { patient: self.patient.clone(), way: None, conditions: vec![one.or(another)?] })
            }
            _ => None,
        }
    }
}

impl Part {
    /// Continuations of several searches as one text: `0:?page=2` on a line for each.
    #[must_use]
    pub(crate) fn write_all(continued: &[(usize, String)]) -> String {
        let lines: Vec<String> = continued.iter().map(|(place, path)| format!("{place}:{path}")).collect();
        lines.join("\n")
    }

    /// Reads what [`Part::write_all`] wrote; `None` for the continuation of a single search, which is the path alone.
    pub(super) fn read_all(resource_type: ResourceType, text: &str) -> Option<Vec<Self>> {
        text.lines()
            .map(|line| {
                let (place, path_and_query) = line.split_once(':')?;
                let request = UpstreamRequest::Page { resource_type, path_and_query: path_and_query.to_owned() };
                Some(Self { place: place.parse().ok()?, request })
            })
            .collect::<Option<Vec<_>>>()
            .filter(|parts| !parts.is_empty())
    }
}

impl fmt::Display for Reach {
    /// In words of the REST API, the same for equal reaches: `Observation Patient/P1 category=x, *`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.resource_type.name())?;
        for (at, allowance) in self.any_of.iter().enumerate() {
            f.write_str(if at == 0 { " " } else { ", " })?;
            allowance.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.within {
            Within::Everything => f.write_str("*")?,
            Within::Compartment(patient) => write!(f, "Patient/{patient}")?,
            Within::ReferenceType => f.write_str("referenced")?,
            Within::Own(id) => write!(f, "own {id}")?,
            Within::Attached(access) => access.fmt(f)?,
        }
        self.conditions.iter().try_for_each(|condition| write!(f, " {condition}"))
    }
}

#[cfg(test)]
mod tests;
