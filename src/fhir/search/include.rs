//! `_include` and `_revinclude` (R4 search.html section 3.1.1.5.4): what else is to come with the matches.
//!
//! Takes a parameter's modifier and value, gives an [`Include`] by the definitions: which references it follows, and so which
//! types it can bring. Does not decide who may have them.

use std::fmt;

use super::SearchProblem;
use crate::fhir::definitions::{ParameterKind, SearchParameter, search_parameter, search_parameters};
use crate::fhir::resource_type::ResourceType;

/// One `_include` or `_revinclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    direction: Direction,
    /// `:iterate`, or `:recurse` as it was once called: also from what was included.
    iterated: bool,
    along: Along,
}

/// Which way the references are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `_include`: from the matches to what they refer to.
    Forward,
    /// `_revinclude`: to what refers to the matches.
    Reverse,
}

/// Which references are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Along {
    /// `*`: all of all types.
    Everything,
    /// `Observation:*`: all of one type.
    AllOf(ResourceType),
    /// `Observation:subject`, `Observation:subject:Patient`
    One { source: ResourceType, parameter: &'static SearchParameter, target: Option<ResourceType> },
}

impl Direction {
    fn of(name: &str) -> Option<Self> {
        match name {
            "_include" => Some(Self::Forward),
            "_revinclude" => Some(Self::Reverse),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Forward => "_include",
            Self::Reverse => "_revinclude",
        }
    }
}

impl Include {
    /// The include that `name:modifier=value` asks for in a search on `searched`; `None` when `name` is another parameter.
    ///
    /// # Errors
    /// When the value names no reference that FHIR R4 defines, or one that can neither begin nor end at what is searched.
    pub(super) fn parse(
        searched: ResourceType,
        (name, modifier): (&str, Option<&str>),
        value: &str,
    ) -> Result<Option<Self>, SearchProblem> {
        let Some(direction) = Direction::of(name) else { return Ok(None) };
        let iterated = match modifier {
            None => false,
            Some("iterate" | "recurse") => true,
            Some(_) => return Err(SearchProblem::new(format!("expected `{name}` without a modifier, or `:iterate`"))),
        };
        let unknown = || {
            SearchProblem::new(format!(
                "expected `{name}` to be a type and one of its reference parameters that FHIR R4 defines, such as `Observation:subject`, and to begin or end at {searched}"
            ))
        };
        let along = Along::parse(value).ok_or_else(unknown)?;
        if !iterated && !along.meets(direction, searched) {
            return Err(unknown());
        }
        Ok(Some(Self { direction, iterated, along }))
    }

    /// Which way.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Whether it says what it brings by itself: neither a wildcard nor repeated from what was included.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.iterated && matches!(self.along, Along::One { .. })
    }

    /// Whether exactly one type is named, or possible.
    #[must_use]
    pub fn is_of_one_type(&self, searched: ResourceType) -> bool {
        self.brings(searched).len() == 1
    }

    /// The types that can come by it, each once, by name.
    #[must_use]
    pub fn brings(&self, searched: ResourceType) -> Vec<ResourceType> {
        match (self.direction, &self.along) {
            (Direction::Reverse, Along::AllOf(source) | Along::One { source, .. }) => vec![*source],
            (Direction::Forward, Along::One { target: Some(target), .. }) => vec![*target],
            (Direction::Forward, Along::One { parameter, .. }) => parameter.targets.clone(),
            (Direction::Forward, Along::AllOf(source)) => targets_of(*source),
            (Direction::Forward, Along::Everything) if !self.iterated => targets_of(searched),
            (_, Along::Everything) => ResourceType::all().collect(),
        }
    }

    /// The name with its modifier, as in a URL.
    #[must_use]
    pub fn key(&self) -> String {
        let modifier = if self.iterated { ":iterate" } else { "" };
        format!("{}{modifier}", self.direction.name())
    }

    /// The value, as in a URL.
    #[must_use]
    pub fn value(&self) -> String {
        self.along.to_string()
    }
}

impl Along {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everything);
        }
        let (source, rest) = text.split_once(':')?;
        let source = ResourceType::parse(source)?;
        if rest == "*" {
            return Some(Self::AllOf(source));
        }
        let (name, target) = rest.split_once(':').map_or((rest, None), |(name, target)| (name, Some(target)));
        let parameter = search_parameter(source, name).filter(|one| one.kind == ParameterKind::Reference)?;
        let target = match target {
            None => None,
            Some(target) => Some(ResourceType::parse(target).filter(|target| parameter.may_target(*target))?),
        };
        Some(Self::One { source, parameter, target })
    }

    /// Whether it begins (or, in reverse, ends) at a resource of the type `searched`.
    fn meets(&self, direction: Direction, searched: ResourceType) -> bool {
        match (direction, self) {
            (_, Self::Everything) | (Direction::Reverse, Self::AllOf(_)) => true,
            (Direction::Forward, Self::AllOf(source) | Self::One { source, .. }) => *source == searched,
            (Direction::Reverse, Self::One { parameter, target, .. }) => {
                target.map_or_else(|| parameter.may_target(searched), |target| target == searched)
            }
        }
    }
}

impl fmt::Display for Along {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::AllOf(source) => write!(f, "{source}:*"),
            Self::One { source, parameter, target: None } => write!(f, "{source}:{}", parameter.name),
            Self::One { source, parameter, target: Some(target) } => write!(f, "{source}:{}:{target}", parameter.name),
        }
    }
}

fn targets_of(source: ResourceType) -> Vec<ResourceType> {
    let mut targets: Vec<ResourceType> =
        search_parameters(source).iter().flat_map(|parameter| &parameter.targets).copied().collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}
