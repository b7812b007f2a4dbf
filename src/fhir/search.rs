//! A search as the client asked for it (R4 search.html): takes decoded names and values, gives a [`SearchQuery`] of known
//! parameters with their modifiers and values, and the projection.
//!
//! Every parameter falls into one [`Class`]; by it `authorize` decides who may use it. It is the *name* that is classified,
//! never the raw key: `_has:Observation:patient:code` is `_has`. What no definition of this type knows is refused here. Values are
//! kept in FHIR's escaped form (search.html section 3.1.1.4.1), validated; [`narrow`](super::narrow) rebuilds them. Nothing here
//! decides who may see what.

mod control;
mod escape;
mod include;
mod link;
mod traversal;

pub use escape::{escape, split_alternatives, unescape};
pub use include::{Direction, Include};
pub use link::{print_link, print_sort};
pub use traversal::Traversal;

use crate::fhir::definitions::{ParameterKind, SearchParameter, search_parameter};
use crate::fhir::projection::Projection;
use crate::fhir::reference::{Id, LocalReference};
use crate::fhir::resource_type::ResourceType;

/// A search on one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// The conditions on the resource's own content, in the order sent.
    pub(crate) criteria: Vec<Criterion>,
    /// The conditions on what other resources hold.
    pub(crate) traversals: Vec<Traversal>,
    /// `_text` and `_content`, each with its value.
    pub(crate) full_text: Vec<(&'static str, String)>,
    /// `_include` and `_revinclude`
    pub(crate) includes: Vec<Include>,
    /// `_type`, in a search on several types.
    pub(crate) types: Vec<ResourceType>,
    /// `_sort`
    pub(crate) sort: Vec<SortKey>,
    /// `_count`, as asked.
    pub(crate) count: Option<u32>,
    /// `_total`, as asked.
    pub(crate) total: Option<Total>,
    /// `_summary=count`, `_count=0`: nothing but the number is asked for.
    pub(crate) number_only: bool,
    /// Classes other than [`Class::Own`] that the query also uses.
    pub(crate) beyond: Vec<Class>,
}

/// Why parameters are no search on their type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchProblem {
    /// What was expected, for the client; never repeats its values.
    pub(crate) expected: String,
}

/// One condition on the resource's own content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// What is compared.
    pub(crate) parameter: &'static SearchParameter,
    /// How.
    pub(crate) modifier: Option<Modifier>,
    /// With what: any of these, in FHIR's escaped form, none of them empty.
    pub(crate) alternatives: Vec<String>,
}

/// Modifiers that look at nothing but the resource's own content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "FHIR's own words")]
pub enum Modifier {
    Missing,
    Not,
    Exact,
    Contains,
    Text,
    CodeText,
    OfType,
    Identifier,
    Type(ResourceType),
}

/// One key of `_sort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// By what.
    pub(crate) by: SortBy,
    /// Written with `-`.
    pub(crate) descending: bool,
}

/// By what is sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// One of the type's own parameters.
    Own(&'static SearchParameter),
    /// What another resource holds.
    Beyond(Traversal),
}

/// `_total` (R4 search.html section 3.1.1.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "FHIR's own words")]
pub enum Total {
    None,
    Estimate,
    Accurate,
}

/// What a parameter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The resource's own content.
    Own,
    /// Other resources, on the way: chains, `_has`, `_list`, `:in`, chained `_sort`, …
    Traverse,
    /// What nobody can tell the types of, or what would be fetched from elsewhere: `_filter`, `_query`, foreign value sets.
    Opaque,
    /// An index over the whole text, which may cover what is not released.
    FullText,
    /// What else comes back: `_include`, `_revinclude`.
    Shape,
    /// Includes that do not say what they bring: `*`, `:iterate`.
    Wildcard,
    /// Contained resources as results.
    Contained,
    /// Nothing but a number comes back: `_summary=count`, `_count=0`.
    Total,
}

impl Class {
    /// The names of its members, for messages.
    #[must_use]
    pub const fn members(self) -> &'static str {
        match self {
            Self::Own => "the type's own search parameters",
            Self::Traverse => "chained parameters, `_has`, `_list`, `:above`, `:below`, `:in`, `:not-in`",
            Self::Opaque => "`_filter`, `_query`, `_in`, named lists, value sets by a URL",
            Self::FullText => "`_text`, `_content`",
            Self::Shape => "`_include`, `_revinclude`",
            Self::Wildcard => "`_include=*`, `_include=Observation:*`, `:iterate`",
            Self::Contained => "`_contained`, `_containedType`",
            Self::Total => "`_summary=count`, `_count=0`",
        }
    }
}

impl Modifier {
    /// As written after the `:`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Not => "not",
            Self::Exact => "exact",
            Self::Contains => "contains",
            Self::Text => "text",
            Self::CodeText => "code-text",
            Self::OfType => "of-type",
            Self::Identifier => "identifier",
            Self::Type(resource_type) => resource_type.name(),
        }
    }
}

impl Total {
    /// As written in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Estimate => "estimate",
            Self::Accurate => "accurate",
        }
    }
}

impl SearchProblem {
    pub(super) fn new(expected: impl Into<String>) -> Self {
        Self { expected: expected.into() }
    }

    fn values(name: &str) -> Self {
        Self::new(format!(
            "expected values of `{name}` that are not empty, with `\\` only before `,`, `$`, `|` and `\\`"
        ))
    }
}

impl SearchQuery {
    /// Sorts the parameters of a search on `resource_type` into a query and a projection.
    ///
    /// # Errors
    /// For parameters that the type does not have, for malformed values, and for what may occur only once and does not.
    pub fn parse(resource_type: ResourceType, pairs: &[(String, String)]) -> Result<(Self, Projection), SearchProblem> {
        let mut query = Self::default();
        let mut control = control::Control::default();
        for (key, value) in pairs {
            let (name, modifier) = key.split_once(':').map_or((key.as_str(), None), |(name, rest)| (name, Some(rest)));
            if control.takes(&mut query, resource_type, name, modifier, value)? {
                continue;
            }
            query.take(resource_type, (name, modifier), key, value)?;
        }
        control.check(&query)?;
        Ok((query, control.projection()))
    }

    /// Sorts the parameters of a search on several types into a query and a projection. What not every type has is
    /// [`Class::Opaque`].
    ///
    /// # Errors
    /// As [`SearchQuery::parse`].
    pub fn parse_common(pairs: &[(String, String)]) -> Result<(Self, Projection), SearchProblem> {
        const COMMON: [&str; 11] = [
            "_count",
            "_id",
            "_language",
            "_lastUpdated",
            "_profile",
            "_security",
            "_source",
            "_summary",
            "_tag",
            "_total",
            "_totalMethod",
        ];
        let name = |key: &str| key.split(':').next().unwrap_or_default().to_owned();
        let (common, others): (Vec<_>, Vec<_>) =
            pairs.iter().filter(|(key, _)| key != "_type").cloned().partition(|(key, _)| COMMON.contains(&&*name(key)));
        // Every type has these, whichever it is.
        let (mut query, projection) = Self::parse(ResourceType::BASIC, &common)?;
        query.beyond.extend((!others.is_empty()).then_some(Class::Opaque));
        for (_, value) in pairs.iter().filter(|(key, _)| key == "_type") {
            for name in value.split(',') {
                let known = ResourceType::parse(name)
                    .ok_or_else(|| SearchProblem::new("expected `_type` to name resource types of FHIR R4"))?;
                if !query.types.contains(&known) {
                    query.types.push(known);
                }
            }
        }
        Ok((query, projection))
    }

    /// Every type that a condition or a sort key looks at beside the searched one, each once.
    #[must_use]
    pub fn looks_at(&self) -> Vec<ResourceType> {
        let sorted = self.sort.iter().filter_map(|key| match &key.by {
            SortBy::Own(_) => None,
            SortBy::Beyond(traversal) => Some(traversal),
        });
        let mut types: Vec<ResourceType> =
            self.traversals.iter().chain(sorted).flat_map(Traversal::looks_at).copied().collect();
        types.sort_unstable();
        types.dedup();
        types
    }

    fn take(
        &mut self,
        resource_type: ResourceType,
        (name, modifier): (&str, Option<&str>),
        key: &str,
        value: &str,
    ) -> Result<(), SearchProblem> {
        if let Some(include) = Include::parse(resource_type, (name, modifier), value)? {
            self.beyond.push(Class::Shape);
            self.includes.push(include);
            return Ok(());
        }
        match name {
            "_contained" | "_containedType" => self.beyond.push(Class::Contained),
            "_text" | "_content" => self.take_full_text(name, modifier, value)?,
            _ => match traversal::read(resource_type, key, value)? {
                traversal::Read::Own(criterion) => self.criteria.push(criterion),
                traversal::Read::Beyond(traversal) => {
                    self.beyond.push(Class::Traverse);
                    self.traversals.push(traversal);
                }
                traversal::Read::Opaque => self.beyond.push(Class::Opaque),
            },
        }
        Ok(())
    }

    fn take_full_text(&mut self, name: &str, modifier: Option<&str>, value: &str) -> Result<(), SearchProblem> {
        if modifier.is_some() || value.is_empty() {
            return Err(SearchProblem::new(format!("expected `{name}` without a modifier, and with a value")));
        }
        self.beyond.push(Class::FullText);
        self.full_text.push((if name == "_text" { "_text" } else { "_content" }, value.to_owned()));
        Ok(())
    }
}

impl Criterion {
    fn parse(
        parameter: &'static SearchParameter,
        modifier: Option<Modifier>,
        value: &str,
    ) -> Result<Self, SearchProblem> {
        let name = parameter.name;
        let alternatives = split_alternatives(value).ok_or_else(|| SearchProblem::values(name))?;
        let fits = match modifier {
            Some(Modifier::Missing) => matches!(value, "true" | "false"),
            Some(Modifier::Type(target)) => alternatives.iter().all(|alternative| is_id_of(target, alternative)),
            _ => true,
        };
        if !fits {
            return Err(SearchProblem::new(format!("expected values of `{name}` that its modifier can be applied to")));
        }
        Ok(Self { parameter, modifier, alternatives })
    }

    /// Name and modifier as in a URL.
    #[must_use]
    pub fn key(&self) -> String {
        match self.modifier {
            Some(modifier) => format!("{}:{}", self.parameter.name, modifier.as_str()),
            None => self.parameter.name.to_owned(),
        }
    }
}

fn is_id_of(target: ResourceType, text: &str) -> bool {
    Id::parse(text).is_some()
        || LocalReference::parse_relative(text).is_some_and(|reference| reference.resource_type == target)
}

/// What stands at the end of a key.
enum Ending {
    /// A condition on content.
    Own(&'static SearchParameter, Option<Modifier>),
    /// One by `:above`, `:below`, `:in` or `:not-in`.
    Related(&'static SearchParameter, &'static str),
}

/// `name` or `name:modifier`, of the type.
fn ending(resource_type: ResourceType, key: &str) -> Result<Ending, SearchProblem> {
    let (name, modifier) = key.split_once(':').map_or((key, None), |(name, modifier)| (name, Some(modifier)));
    let evaluable = |_: &&SearchParameter| !matches!(name, "_text" | "_content" | "_query");
    let parameter = search_parameter(resource_type, name).filter(evaluable).ok_or_else(|| {
        SearchProblem::new(format!("expected search parameters that FHIR R4 defines for {resource_type}"))
    })?;
    let modifier = match modifier {
        None => None,
        Some("missing") => Some(Modifier::Missing),
        Some("not") => Some(Modifier::Not),
        Some("exact") => Some(Modifier::Exact),
        Some("contains") => Some(Modifier::Contains),
        Some("text") => Some(Modifier::Text),
        Some("code-text") => Some(Modifier::CodeText),
        Some("of-type") => Some(Modifier::OfType),
        Some("identifier") if parameter.kind == ParameterKind::Reference => Some(Modifier::Identifier),
        Some("above") => return Ok(Ending::Related(parameter, "above")),
        Some("below") => return Ok(Ending::Related(parameter, "below")),
        Some("in") => return Ok(Ending::Related(parameter, "in")),
        Some("not-in") => return Ok(Ending::Related(parameter, "not-in")),
        Some(other) => {
            let target = ResourceType::parse(other).filter(|target| parameter.may_target(*target));
            let target = target.ok_or_else(|| {
                SearchProblem::new(format!("expected a modifier that FHIR defines for `{}`", parameter.name))
            })?;
            Some(Modifier::Type(target))
        }
    };
    Ok(Ending::Own(parameter, modifier))
}

#[cfg(test)]
mod tests;
