//! Conditions that look at other resources on the way: chains, `_has`, `_list`, value sets and hierarchies (R4 search.html
//! sections 3.1.1.4.16, 3.1.1.4.17, 3.1.1.5.2 and 3.1.1.4.5).
//!
//! Takes a parameter's key and value, gives a [`Traversal`] that tells every type it looks at. Promises: what is sent upstream
//! is printed from it, and looks at no type that it does not tell; a chain that only one type can continue is sent with that
//! type named. What cannot be told by type has no traversal. Does not decide who may use it.

use super::{Criterion, Ending, SearchProblem, ending};
use crate::fhir::definitions::{ParameterKind, SearchParameter, search_parameter};
use crate::fhir::reference::{Id, LocalReference};
use crate::fhir::resource_type::ResourceType;

use super::escape::{split_alternatives, unescape};

/// How many steps a chain may have.
const MOST_STEPS: usize = 4;

/// How many of them without the type named, through references that may be to several.
const MOST_OPEN: usize = 2;

/// A condition on what other resources hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traversal {
    steps: Vec<Step>,
    end: End,
    /// Every type that is looked at on the way, the searched one only when it is reached again.
    looks_at: Vec<ResourceType>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `subject:Patient.`: to what a reference refers to; without a type when several can continue.
    Along(&'static SearchParameter, Option<ResourceType>),
    /// `_has:Observation:patient:`: to what refers to it.
    Back(ResourceType, &'static SearchParameter),
}

/// What is compared at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// The content of the resource that was reached.
    Own(Criterion),
    /// The same, in words of a value set or a hierarchy.
    Related(Related),
    /// `_list`: whether these lists hold the resource.
    Listed(Vec<String>),
}

/// `:in`, `:not-in`, `:above`, `:below`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Related {
    parameter: &'static SearchParameter,
    modifier: &'static str,
    alternatives: Vec<String>,
}

/// What came of reading a key.
#[derive(Debug)]
pub(super) enum Read {
    /// Nothing on the way: a condition on the searched resource itself.
    Own(Criterion),
    /// A traversal.
    Beyond(Traversal),
    /// What only the server could tell the types of, or would have to fetch from elsewhere.
    Opaque,
}

impl Traversal {
    /// Every type that it looks at on the way.
    #[must_use]
    pub fn looks_at(&self) -> &[ResourceType] {
        &self.looks_at
    }

    /// The parameter by which a resource refers to a Patient, when nothing but that Patient's own content is compared.
    #[must_use]
    pub fn to_own_content_of_patient(&self) -> Option<&'static SearchParameter> {
        match (self.steps.as_slice(), &self.end) {
            ([Step::Along(parameter, Some(ResourceType::PATIENT))], End::Own(_)) => Some(parameter),
            _ => None,
        }
    }

    /// The name as in a URL.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = self.way();
        match &self.end {
            End::Own(criterion) => key.push_str(&criterion.key()),
            End::Related(related) => key.extend([related.parameter.name, ":", related.modifier]),
            End::Listed(_) => key.push_str("_list"),
        }
        key
    }

    /// The steps, as they stand before the name at the end.
    #[must_use]
    pub fn way(&self) -> String {
        let mut key = String::new();
        for step in &self.steps {
            match step {
                Step::Along(parameter, None) => key.extend([parameter.name, "."]),
                Step::Along(parameter, Some(target)) => key.extend([parameter.name, ":", target.name(), "."]),
                Step::Back(source, parameter) => key.extend(["_has:", source.name(), ":", parameter.name, ":"]),
            }
        }
        key
    }

    /// The value as the client sent it, in FHIR's escaped form.
    #[must_use]
    pub fn value(&self) -> String {
        match &self.end {
            End::Own(criterion) => criterion.alternatives.join(","),
            End::Related(related) => related.alternatives.join(","),
            End::Listed(ids) => ids.join(","),
        }
    }

    /// The condition at the end, when it is one on content.
    #[must_use]
    pub fn end(&self) -> Option<&Criterion> {
        match &self.end {
            End::Own(criterion) => Some(criterion),
            End::Related(_) | End::Listed(_) => None,
        }
    }

    fn looking_at(mut self, step: Step, types: &[ResourceType]) -> Self {
        self.steps.insert(0, step);
        self.looks_at.extend_from_slice(types);
        self.looks_at.sort_unstable();
        self.looks_at.dedup();
        self
    }
}

/// Reads `key=value` as a condition on `searched`.
pub(super) fn read(searched: ResourceType, key: &str, value: &str) -> Result<Read, SearchProblem> {
    match key.split([':', '.']).next().unwrap_or_default() {
        "_filter" | "_query" | "_in" => return Ok(Read::Opaque),
        "_list" => return Ok(listed(key, value)),
        _ => {}
    }
    walk(searched, key, value, Reading { steps: 0, open: 0 })
}

/// How far the reading has come.
#[derive(Clone, Copy)]
struct Reading {
    steps: usize,
    /// How many of the steps have been through references that may be to several types.
    open: usize,
}

fn walk(of: ResourceType, key: &str, value: &str, so_far: Reading) -> Result<Read, SearchProblem> {
    if so_far.steps > MOST_STEPS {
        return Err(SearchProblem::new(format!("expected at most {MOST_STEPS} steps in a chain")));
    }
    let next = Reading { steps: so_far.steps + 1, ..so_far };
    if let Some(rest) = key.strip_prefix("_has:") {
        return back(of, rest, value, next);
    }
    let Some((head, rest)) = key.split_once('.') else { return end(of, key, value) };
    let (name, target) = head.split_once(':').map_or((head, None), |(name, target)| (name, Some(target)));
    let parameter = reference_parameter(of, name)?;
    if let Some(target) = target {
        let target = ResourceType::parse(target).filter(|target| parameter.may_target(*target)).ok_or_else(unknown)?;
        return Ok(continued(walk(target, rest, value, next)?, |traversal| {
            traversal.looking_at(Step::Along(parameter, Some(target)), &[target])
        }));
    }
    several(parameter, rest, value, next)
}

/// A step whose type is not named: to the one type that can go on from there, or to whatever the reference may be to.
fn several(
    parameter: &'static SearchParameter,
    rest: &str,
    value: &str,
    so_far: Reading,
) -> Result<Read, SearchProblem> {
    let name_it = || {
        SearchProblem::new(format!("expected the type in a chain through `{0}`, as in `{0}:Patient.`", parameter.name))
    };
    let alone = parameter.targets.len() == 1;
    let next = Reading { open: so_far.open + usize::from(!alone), ..so_far };
    if parameter.targets.len() == ResourceType::COUNT || next.open > MOST_OPEN {
        return Err(name_it());
    }
    let mut ways = Vec::new();
    for target in &parameter.targets {
        match walk(*target, rest, value, next) {
            Ok(way) => ways.push((*target, way)),
            // What goes wrong on the only way is what is wrong.
            Err(problem) if alone => return Err(problem),
            Err(_) => {}
        }
    }
    let mut ways = ways.into_iter();
    let Some((target, first)) = ways.next() else { return Err(unknown()) };
    let mut looks_at = vec![target];
    let mut on_one_way = true;
    for (target, other) in ways {
        on_one_way = false;
        looks_at.extend(other.looks_at());
        looks_at.push(target);
        if !first.says_what(&other) {
            return Err(name_it());
        }
    }
    if on_one_way {
        return Ok(continued(first, |traversal| traversal.looking_at(Step::Along(parameter, Some(target)), &looks_at)));
    }
    // The server may know more parameters than FHIR defines, so it may go by any of the types.
    looks_at.extend_from_slice(&parameter.targets);
    Ok(continued(first, |traversal| traversal.looking_at(Step::Along(parameter, None), &looks_at)))
}

/// `Observation:patient:code` after `_has:`.
fn back(of: ResourceType, key: &str, value: &str, so_far: Reading) -> Result<Read, SearchProblem> {
    let mut parts = key.splitn(3, ':');
    let (Some(source), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(SearchProblem::new("expected `_has:` with a type, a reference parameter and a parameter"));
    };
    let source = ResourceType::parse(source).ok_or_else(unknown)?;
    let parameter = reference_parameter(source, name)?;
    if !parameter.may_target(of) {
        return Err(unknown());
    }
    Ok(continued(walk(source, rest, value, so_far)?, |traversal| {
        traversal.looking_at(Step::Back(source, parameter), &[source])
    }))
}

fn end(of: ResourceType, key: &str, value: &str) -> Result<Read, SearchProblem> {
    Ok(match ending(of, key)? {
        Ending::Own(parameter, modifier) => Read::Own(Criterion::parse(parameter, modifier, value)?),
        Ending::Related(parameter, modifier) => related(parameter, modifier, value)?,
    })
}

fn related(parameter: &'static SearchParameter, modifier: &'static str, value: &str) -> Result<Read, SearchProblem> {
    let alternatives = split_alternatives(value).ok_or_else(|| SearchProblem::values(parameter.name))?;
    let looks_at = match (modifier, parameter.kind) {
        // A value set of another place would have to be fetched there, by whoever the client names.
        ("in" | "not-in", ParameterKind::Token) => match types_of(&alternatives, &[ResourceType::VALUE_SET]) {
            Some(types) => types,
            None => return Ok(Read::Opaque),
        },
        ("above" | "below", ParameterKind::Token) => vec![ResourceType::CODE_SYSTEM],
        ("above" | "below", ParameterKind::Uri) => Vec::new(),
        ("above" | "below", ParameterKind::Reference) => match types_of(&alternatives, &parameter.targets) {
            Some(types) => types,
            None => return Ok(Read::Opaque),
        },
        _ => return Err(SearchProblem::new(format!("expected a modifier that FHIR defines for `{}`", parameter.name))),
    };
    let end = End::Related(Related { parameter, modifier, alternatives });
    Ok(Read::Beyond(Traversal { steps: Vec::new(), end, looks_at }))
}

fn listed(key: &str, value: &str) -> Read {
    let ids = split_alternatives(value).filter(|ids| key == "_list" && ids.iter().all(|id| Id::parse(id).is_some()));
    // `$current-problems` and its like are the server's to resolve.
    ids.map_or(Read::Opaque, |ids| {
        Read::Beyond(Traversal { steps: Vec::new(), end: End::Listed(ids), looks_at: vec![ResourceType::LIST] })
    })
}

/// The types of `Type/id` that each of the values is, all of them among `possible`.
fn types_of(alternatives: &[String], possible: &[ResourceType]) -> Option<Vec<ResourceType>> {
    let type_of = |text: &String| {
        let text = unescape(text);
        let local = LocalReference::parse_relative(&text).filter(|local| local.version.is_none())?;
        possible.contains(&local.resource_type).then_some(local.resource_type)
    };
    alternatives.iter().map(type_of).collect()
}

fn continued(read: Read, step: impl FnOnce(Traversal) -> Traversal) -> Read {
    match read {
        Read::Own(criterion) => {
            Read::Beyond(step(Traversal { steps: Vec::new(), end: End::Own(criterion), looks_at: Vec::new() }))
        }
        Read::Beyond(traversal) => Read::Beyond(step(traversal)),
        Read::Opaque => Read::Opaque,
    }
}

impl Read {
    fn looks_at(&self) -> &[ResourceType] {
        match self {
            Self::Own(_) | Self::Opaque => &[],
            Self::Beyond(traversal) => traversal.looks_at(),
        }
    }

    /// Whether both are written alike, whatever type they are for.
    fn says_what(&self, other: &Self) -> bool {
        let alike = |one: &Criterion, other: &Criterion| {
            one.key() == other.key()
                && one.parameter.kind == other.parameter.kind
                && one.parameter.kind != ParameterKind::Reference
        };
        match (self, other) {
            (Self::Own(one), Self::Own(other)) => alike(one, other),
            (Self::Beyond(one), Self::Beyond(other)) => {
                one.key() == other.key()
                    && match (&one.end, &other.end) {
                        (End::Own(one), End::Own(other)) => alike(one, other),
                        (End::Related(one), End::Related(other)) => one.parameter.kind == other.parameter.kind,
                        _ => false,
                    }
            }
            (Self::Opaque, Self::Opaque) => true,
            _ => false,
        }
    }
}

/// One key of `_sort` that is about another resource: `patient.birthdate`, `subject:Patient.birthdate`.
pub(super) fn sort_key(searched: ResourceType, key: &str) -> Result<Traversal, SearchProblem> {
    // By what it is sorted is read as what it would be compared with.
    let is_chain = |traversal: &Traversal| matches!(traversal.steps.as_slice(), [Step::Along(..)]);
    match read(searched, key, "x")? {
        Read::Beyond(traversal)
            if is_chain(&traversal) && matches!(&traversal.end, End::Own(own) if own.modifier.is_none()) =>
        {
            Ok(traversal)
        }
        _ => Err(SearchProblem::new("expected `_sort` by a parameter of the type, or of one that it refers to")),
    }
}

fn reference_parameter(of: ResourceType, name: &str) -> Result<&'static SearchParameter, SearchProblem> {
    search_parameter(of, name).filter(|parameter| parameter.kind == ParameterKind::Reference).ok_or_else(unknown)
}

fn unknown() -> SearchProblem {
    SearchProblem::new(
        "expected a chain of search parameters that FHIR R4 defines, through references of fitting types",
    )
}
