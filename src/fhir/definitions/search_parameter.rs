//! Search parameters per resource type, their expressions specialised to that type.

use std::sync::LazyLock;

use super::{rows, words};
use crate::fhir::resource_type::ResourceType;

static TABLE: LazyLock<Vec<Vec<SearchParameter>>> = LazyLock::new(read);

/// The search parameter `name` of `resource_type`, including those that every resource has (`_id`, `_tag`, …).
#[must_use]
pub fn search_parameter(resource_type: ResourceType, name: &str) -> Option<&'static SearchParameter> {
    let parameters = search_parameters(resource_type);
    let at = parameters.binary_search_by(|parameter| parameter.name.cmp(name)).ok()?;
    parameters.get(at)
}

/// All search parameters of `resource_type`, by name, including those that every resource has.
#[must_use]
pub fn search_parameters(resource_type: ResourceType) -> &'static [SearchParameter] {
    TABLE.get(resource_type.index()).map_or(&[], Vec::as_slice)
}

/// A search parameter, for one resource type (R4 searchparameter.html).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchParameter {
    /// The name in the URL: `SearchParameter.code`.
    pub name: &'static str,
    /// How its values are written and matched.
    pub kind: ParameterKind,
    /// Where its values are. Empty when the expression is more than steps through elements: then nothing may be concluded
    /// from it, except that it could look at anything.
    pub paths: Vec<ElementPath>,
    /// What its references may point to. Empty unless the kind is `Reference`.
    pub targets: Vec<ResourceType>,
    /// False only when one resource has at most one value, so that a reference cannot be to two targets at once. A
    /// `CodeableConcept` repeats, for it holds many codings; so does a parameter that is not evaluated. It does not say that
    /// two conditions exclude each other: `ab` and `abc` both match the string `abcd`.
    pub repeats: bool,
}

impl SearchParameter {
    /// Whether values may be references to `target`.
    #[must_use]
    pub fn may_target(&self, target: ResourceType) -> bool {
        self.targets.binary_search(&target).is_ok()
    }
}

/// `SearchParameter.type` (R4 search.html section 3.1.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "FHIR's own words")]
pub enum ParameterKind {
    Token,
    String,
    Date,
    Number,
    Quantity,
    Uri,
    Reference,
    Composite,
    Special,
}

/// Steps from the resource to an element, by JSON names: `["participant", "actor"]`, `["valueReference"]`.
///
/// An array on the way stands for each of its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementPath {
    /// The steps; at least one.
    pub elements: Vec<&'static str>,
    /// From `.where(resolve() is T)`: only references to this type count. Tested on the reference's type segment, never
    /// by resolving it.
    pub reference_target: Option<ResourceType>,
}

fn read() -> Vec<Vec<SearchParameter>> {
    let mut table: Vec<Vec<SearchParameter>> = vec![Vec::new(); ResourceType::COUNT];
    for [base, rest @ ..] in rows::<6>(include_str!("r4/search-parameters.tsv")) {
        let Some(parameter) = parse(rest) else { continue };
        if let Some(resource_type) = ResourceType::parse(base) {
            table.get_mut(resource_type.index()).into_iter().for_each(|of_type| of_type.push(parameter.clone()));
            continue;
        }
        for (of_type, resource_type) in table.iter_mut().zip(ResourceType::all()) {
            if base == "Resource" || base == "DomainResource" && resource_type.is_domain_resource() {
                of_type.push(parameter.clone());
            }
        }
    }
    for of_type in &mut table {
        of_type.sort_unstable_by_key(|parameter| parameter.name);
    }
    table
}

fn parse([name, kind, values, paths, targets]: [&'static str; 5]) -> Option<SearchParameter> {
    Some(SearchParameter {
        name,
        kind: kind_of(kind)?,
        paths: words(paths).map(path).collect::<Option<_>>()?,
        targets: match targets {
            "*" => ResourceType::all().collect(),
            some => words(some).map(ResourceType::parse).collect::<Option<_>>()?,
        },
        repeats: values != "1",
    })
}

fn path(word: &'static str) -> Option<ElementPath> {
    let (steps, reference_target) = match word.split_once(':') {
        Some((steps, target)) => (steps, Some(ResourceType::parse(target)?)),
        None => (word, None),
    };
    Some(ElementPath { elements: steps.split('.').collect(), reference_target })
}

fn kind_of(word: &str) -> Option<ParameterKind> {
    Some(match word {
        "token" => ParameterKind::Token,
        "string" => ParameterKind::String,
        "date" => ParameterKind::Date,
        "number" => ParameterKind::Number,
        "quantity" => ParameterKind::Quantity,
        "uri" => ParameterKind::Uri,
        "reference" => ParameterKind::Reference,
        "composite" => ParameterKind::Composite,
        "special" => ParameterKind::Special,
        _ => return None,
    })
}
