//! Operations (R4 operations.html) as data: what each is called, where it is invoked, what it takes, whether it changes anything,
//! and what comes back.
//!
//! Takes a name, a level and a type, gives the [`Operation`] that is listed for them: those of this module's table, and those that
//! a site adds. What is not listed is not known. The words are those of `OperationDefinition`. Decides nothing.

mod arguments;
mod table;
mod value;

use std::borrow::Cow;
use std::fmt;

pub use arguments::{Argument, ArgumentProblem, Arguments, Given};
pub use value::Type;

use crate::fhir::resource_type::ResourceType;

/// One operation, with what a request for it must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// `OperationDefinition.code`, without the `$`.
    pub name: Cow<'static, str>,
    /// The canonical URL of its definition.
    pub definition: Cow<'static, str>,
    /// Where it is invoked.
    pub levels: Cow<'static, [Level]>,
    /// On which types; empty: on all.
    pub resource_types: Cow<'static, [ResourceType]>,
    /// Whether it changes anything.
    pub affects_state: bool,
    /// What it takes.
    pub parameters: Vec<Parameter>,
    /// What it does, as far as a decision depends on it.
    pub kind: Kind,
}

/// Where an operation is invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// `$op`
    System,
    /// `T/$op`
    Type,
    /// `T/id/$op`
    Instance,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its type.
    pub of: Type,
    /// How often it must be there at least.
    pub min: u32,
    /// How often it may be there at most; `None`: any number of times.
    pub max: Option<u32>,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Gives a patient's or an encounter's whole record.
    Everything,
    /// Searches, in groups.
    LastN,
    /// Finds documents.
    DocRef,
    /// Gives a document that holds resources.
    Document,
    /// Judges a resource that nobody stores.
    Validate,
    /// Tells labels, tags and profiles.
    Meta,
    /// Changes them.
    MetaChange,
    /// Answers a question about codes, from what is no patient's.
    Terminology(Returns),
    /// Whatever the site says it does.
    Listed(Listed),
}

/// What a site says of an operation that it lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What scopes must cover, wholly: types and letters.
    pub needs: Vec<(ResourceType, String)>,
    /// What comes back.
    pub returns: Returns,
}

/// What comes back. Each resource in it is tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returns {
    /// One resource of one of these types.
    Resource(Cow<'static, [ResourceType]>),
    /// A Bundle of type searchset, with resources of these types.
    Searchset(Cow<'static, [ResourceType]>),
    /// Parameters, with values, and with resources of these types.
    Parameters(Cow<'static, [ResourceType]>),
    /// An OperationOutcome.
    OperationOutcome,
}

/// Refused whatever a site lists: nothing that stands in the request tells what they give.
const NEVER: [&str; 2] = ["export", "graphql"];

impl Operation {
    /// Whether it is invoked so.
    #[must_use]
    pub fn is_at(&self, level: Level, resource_type: Option<ResourceType>) -> bool {
        let of_type = |one: ResourceType| self.resource_types.is_empty() || self.resource_types.contains(&one);
        self.levels.contains(&level) && resource_type.is_none_or(of_type)
    }

    /// The input of this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Whether search parameters are inputs as well.
    #[must_use]
    pub fn is_search(&self) -> bool {
        self.kind == Kind::LastN
    }

    /// Whether its answer may go on on further pages.
    #[must_use]
    pub fn has_pages(&self) -> bool {
        match &self.kind {
            Kind::Everything | Kind::LastN | Kind::DocRef => true,
            Kind::Listed(listed) => matches!(listed.returns, Returns::Searchset(_)),
            Kind::Document | Kind::Validate | Kind::Meta | Kind::MetaChange | Kind::Terminology(_) => false,
        }
    }

    /// The one input that can be the body itself.
    #[must_use]
    pub fn body(&self) -> Option<&Parameter> {
        let mut resources = self.parameters.iter().filter(|parameter| parameter.of == Type::Resource);
        resources.next().filter(|_| resources.next().is_none())
    }
}

/// Those that the program knows.
#[must_use]
pub fn known() -> &'static [Operation] {
    table::known()
}

/// Whether a site may not list an operation of this name: what it does is known here, or can never be told.
#[must_use]
pub fn is_taken(name: &str) -> bool {
    NEVER.contains(&name) || known().iter().any(|operation| operation.name == name)
}

impl Returns {
    /// The types of resources that may come.
    #[must_use]
    pub fn types(&self) -> &[ResourceType] {
        match self {
            Self::Resource(types) | Self::Searchset(types) | Self::Parameters(types) => types,
            Self::OperationOutcome => &[],
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Type => "type",
            Self::Instance => "instance",
        })
    }
}

#[cfg(test)]
mod tests;
