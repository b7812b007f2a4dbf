//! A search as the client asked for it (R4 search.html): takes decoded names and values, gives a [`SearchQuery`] of known
//! parameters with their modifiers and values, and the projection.
//!
//! Every parameter falls into one [`Class`]; by it `authorize` decides who may use it. It is the *name* that is classified,
//! never the raw key: `_has:Observation:patient:code` is `_has`. What no definition of this type knows is refused here. Values are
//! kept in FHIR's escaped form (search.html section 3.1.1.4.1), validated; [`narrow`](super::narrow) rebuilds them. Nothing here
//! decides who may see what.

mod control;
mod escape;

pub use escape::{escape, split_alternatives, unescape};

use std::fmt::Write;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::Refusal;
use crate::fhir::definitions::{ParameterKind, SearchParameter, search_parameter};
use crate::fhir::projection::Projection;
use crate::fhir::reference::{Id, LocalReference};
use crate::fhir::resource_type::ResourceType;

/// A search on one type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// The conditions, in the order sent.
    pub(crate) criteria: Vec<Criterion>,
    /// `_sort`
    pub(crate) sort: Vec<SortKey>,
    /// `_count`, as asked.
    pub(crate) count: Option<u32>,
    /// Classes other than [`Class::Own`] that the query also uses.
    pub(crate) beyond: Vec<Class>,
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
    /// By what; one of the type's own parameters.
    pub(crate) parameter: &'static SearchParameter,
    /// Written with `-`.
    pub(crate) descending: bool,
}

/// What a parameter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The resource's own content.
    Own,
    /// Other resources, on the way: chains, `_has`, `_list`, `_filter`, `:in`, chained `_sort`, …
    Traverse,
    /// An index over the whole text, which may cover what is not released.
    FullText,
    /// What else comes back: `_include`, `_revinclude`.
    Shape,
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
            Self::Traverse => {
                "chained parameters, `_has`, `_list`, `_filter`, `_query`, `:above`, `:below`, `:in`, `:not-in`"
            }
            Self::FullText => "`_text`, `_content`",
            Self::Shape => "`_include`, `_revinclude`",
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

impl SearchQuery {
    /// Sorts the parameters of a search on `resource_type` into a query and a projection.
    ///
    /// # Errors
    /// 400 for parameters that the type does not have, for malformed values, and for what may occur only once and does not.
    pub fn parse(resource_type: ResourceType, pairs: &[(String, String)]) -> Result<(Self, Projection), Refusal> {
        let mut query = Self::default();
        let mut control = control::Control::default();
        for (key, value) in pairs {
            let (name, modifier) = key.split_once(':').map_or((key.as_str(), None), |(name, rest)| (name, Some(rest)));
            if control.takes(&mut query, resource_type, name, modifier, value)? {
                continue;
            }
            match classify(resource_type, name, modifier)? {
                Asked::Own(parameter, modifier) => query.criteria.push(Criterion::parse(parameter, modifier, value)?),
                Asked::Beyond(class) => query.beyond.push(class),
            }
        }
        Ok((query, control.projection()))
    }

    /// The client's own query in canonical form: `Observation?code=x&_count=10`, percent-encoded.
    #[must_use]
    pub fn self_link(&self, resource_type: ResourceType, projection: &Projection) -> String {
        let mut link = resource_type.name().to_owned();
        let mut separator = '?';
        let mut add = |name: &str, value: &str| {
            let value = utf8_percent_encode(value, ENCODED);
            let _ = write!(link, "{separator}{name}={value}");
            separator = '&';
        };
        for criterion in &self.criteria {
            add(&criterion.key(), &criterion.alternatives.join(","));
        }
        if !self.sort.is_empty() {
            add("_sort", &print_sort(&self.sort));
        }
        if let Some(count) = self.count {
            add("_count", &count.to_string());
        }
        match projection {
            Projection::Full => {}
            Projection::Elements(names) => add("_elements", &names.join(",")),
            Projection::SummaryTrue => add("_summary", "true"),
            Projection::SummaryText => add("_summary", "text"),
            Projection::SummaryData => add("_summary", "data"),
        }
        link
    }
}

/// What stays as it is in a query: the unreserved characters of RFC 3986, and what FHIR values are full of.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',')
    .remove(b'$');

/// `_sort`'s value.
pub(crate) fn print_sort(keys: &[SortKey]) -> String {
    let keys: Vec<String> =
        keys.iter().map(|key| format!("{}{}", if key.descending { "-" } else { "" }, key.parameter.name)).collect();
    keys.join(",")
}

impl Criterion {
    fn parse(parameter: &'static SearchParameter, modifier: Option<Modifier>, value: &str) -> Result<Self, Refusal> {
        let name = parameter.name;
        let alternatives = split_alternatives(value).ok_or_else(|| {
            Refusal::bad_request(format!(
                "expected values of `{name}` that are not empty, with `\\` only before `,`, `$`, `|` and `\\`"
            ))
        })?;
        let fits = match modifier {
            Some(Modifier::Missing) => matches!(value, "true" | "false"),
            Some(Modifier::Type(target)) => alternatives.iter().all(|alternative| is_id_of(target, alternative)),
            _ => true,
        };
        if !fits {
            return Err(Refusal::bad_request(format!(
                "expected values of `{name}` that its modifier can be applied to"
            )));
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

enum Asked {
    Own(&'static SearchParameter, Option<Modifier>),
    Beyond(Class),
}

fn classify(resource_type: ResourceType, name: &str, modifier: Option<&str>) -> Result<Asked, Refusal> {
    match name {
        "_has" | "_list" | "_in" | "_filter" | "_query" => return Ok(Asked::Beyond(Class::Traverse)),
        "_text" | "_content" => return Ok(Asked::Beyond(Class::FullText)),
        "_include" | "_revinclude" => return Ok(Asked::Beyond(Class::Shape)),
        "_contained" | "_containedType" => return Ok(Asked::Beyond(Class::Contained)),
        _ => {}
    }
    let (base, chain) = name.split_once('.').map_or((name, None), |(base, chain)| (base, Some(chain)));
    let parameter = search_parameter(resource_type, base).ok_or_else(|| {
        Refusal::bad_request(format!("expected search parameters that FHIR R4 defines for {resource_type}"))
    })?;
    if chain.is_some() || modifier.is_some_and(|modifier| modifier.contains('.')) {
        return Ok(Asked::Beyond(Class::Traverse));
    }
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
        Some("above" | "below" | "in" | "not-in") => return Ok(Asked::Beyond(Class::Traverse)),
        Some(other) => {
            let target = ResourceType::parse(other).filter(|target| parameter.may_target(*target));
            let target = target.ok_or_else(|| {
                Refusal::bad_request(format!("expected a modifier that FHIR defines for `{}`", parameter.name))
            })?;
            Some(Modifier::Type(target))
        }
    };
    Ok(Asked::Own(parameter, modifier))
}

#[cfg(test)]
mod tests;
