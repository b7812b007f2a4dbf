//! One condition of a granular scope, as something that can be checked on one resource alone (SMART App Launch 2.2,
//! "Finer-grained resource constraints using search parameters").
//!
//! Takes the name and the value of a search parameter; gives a [`Condition`] that tells of a resource whether it holds, and that
//! can be written into a search. Promises: it holds only when the resource, as it stands, says so. What would take another
//! resource, a value set, a subsumption or a guess has no condition: [`Condition::parse`] gives `None`, and whoever depends on
//! it must refuse. Codes are compared letter by letter, as the strictest server does.

use std::fmt::Write;

use super::definitions::{ParameterKind, SearchParameter, search_parameter};
use super::reference::{Bases, LocalReference, normalise};
use super::resource_type::ResourceType;
use super::search::escape;
use crate::json::{Kind, Value};

/// A search parameter and the values of which one must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    parameter: &'static SearchParameter,
    /// At least one.
    any_of: Vec<Wanted>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// `code`, `system|code`, `|code`, `system|` (R4 search.html section 3.1.1.4.10).
    Token {
        /// `None`: any; empty: there must be none.
        system: Option<String>,
        /// `None`: any of the system.
        code: Option<String>,
    },
    /// A relative reference.
    Reference(String),
    /// A URI, compared as text.
    Uri(String),
}

impl Condition {
    /// The condition that `name=value` stands for on `resource_type`; values are separated by commas and not escaped. `None`
    /// when it could not be checked: an unknown name, a modifier, a chain, a parameter whose values are not at plain elements,
    /// a kind other than token, reference and uri, an empty value.
    #[must_use]
    pub fn parse(resource_type: ResourceType, name: &str, value: &str) -> Option<Self> {
        let parameter = search_parameter(resource_type, name).filter(|parameter| !parameter.paths.is_empty())?;
        let any_of = value.split(',').map(|value| Wanted::parse(parameter, value)).collect::<Option<Vec<_>>>()?;
        Some(Self { parameter, any_of })
    }

    /// What is compared.
    #[must_use]
    pub fn parameter(&self) -> &'static SearchParameter {
        self.parameter
    }

    /// Whether `resource` says so.
    #[must_use]
    pub fn holds(&self, resource: Value<'_>, bases: &Bases) -> bool {
        let mut holds = false;
        for path in &self.parameter.paths {
            resource.visit(&path.elements, &mut |value| {
                holds = holds || self.any_of.iter().any(|wanted| wanted.is(value, path.reference_target, bases));
            });
        }
        holds
    }

    /// The value as a search has it, in FHIR's escaped form.
    #[must_use]
    pub fn value(&self) -> String {
        let mut text = String::new();
        for wanted in &self.any_of {
            if !text.is_empty() {
                text.push(',');
            }
            match wanted {
                Wanted::Token { system, code } => {
                    if let Some(system) = system {
                        text.push_str(&escape(system));
                        text.push('|');
                    }
                    text.push_str(&escape(code.as_deref().unwrap_or_default()));
                }
                Wanted::Reference(value) | Wanted::Uri(value) => text.push_str(&escape(value)),
            }
        }
        text
    }

    /// One condition that holds where either does; `None` when they look at different parameters.
    #[must_use]
    pub fn or(&self, other: &Self) -> Option<Self> {
        if self.parameter != other.parameter {
            return None;
        }
        let mut any_of = self.any_of.clone();
        any_of.extend(other.any_of.iter().filter(|wanted| !self.any_of.contains(wanted)).cloned());
        Some(Self { parameter: self.parameter, any_of })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.parameter.name)?;
        f.write_char('=')?;
        f.write_str(&self.value())
    }
}

impl Wanted {
    fn parse(parameter: &SearchParameter, value: &str) -> Option<Self> {
        if value.is_empty() {
            return None;
        }
        match parameter.kind {
            ParameterKind::Token => Self::token(value),
            ParameterKind::Reference => {
                LocalReference::parse_relative(value).filter(|local| local.version.is_none())?;
                Some(Self::Reference(value.to_owned()))
            }
            ParameterKind::Uri => Some(Self::Uri(value.to_owned())),
            ParameterKind::String
            | ParameterKind::Date
            | ParameterKind::Number
            | ParameterKind::Quantity
            | ParameterKind::Composite
            | ParameterKind::Special => None,
        }
    }

    fn token(value: &str) -> Option<Self> {
        let text = |part: &str| (!part.is_empty()).then(|| part.to_owned());
        let (system, code) = match value.split_once('|') {
            None => (None, value),
            Some((system, code)) => (Some(system.to_owned()), code),
        };
        // `|` alone would match whatever has no system.
        let says_something = !code.is_empty() || system.as_ref().is_some_and(|system| !system.is_empty());
        (says_something && !code.contains('|')).then(|| Self::Token { system, code: text(code) })
    }

    fn is(&self, value: Value<'_>, target: Option<ResourceType>, bases: &Bases) -> bool {
        match self {
            Self::Token { system, code } => token_is(value, system.as_deref(), code.as_deref()),
            Self::Uri(wanted) => value.is(wanted),
            Self::Reference(wanted) => value.text("reference").is_some_and(|reference| {
                normalise(&reference, bases).is_some_and(|local| {
                    target.is_none_or(|target| target == local.resource_type)
                        && LocalReference::parse_relative(wanted)
                            .is_some_and(|wanted| wanted.names(local.resource_type, local.id))
                })
            }),
        }
    }
}

/// A `code`, `boolean`, `Coding`, `CodeableConcept`, `Identifier` or `ContactPoint` against a token.
fn token_is(value: Value<'_>, system: Option<&str>, code: Option<&str>) -> bool {
    match value.kind() {
        // The system of a `code` is not written down, so nobody can say that it is the one wanted.
        Kind::String => system.is_none() && code.is_some_and(|code| value.is(code)),
        Kind::True => system.is_none() && code == Some("true"),
        Kind::False => system.is_none() && code == Some("false"),
        Kind::Object => {
            if let Some(codings) = value.member("coding") {
                return codings.flatten().any(|coding| coding_is(coding, system, code));
            }
            coding_is(value, system, code)
        }
        Kind::Array | Kind::Number | Kind::Null => false,
    }
}

fn coding_is(coding: Value<'_>, system: Option<&str>, code: Option<&str>) -> bool {
    let of_system = match system {
        None => true,
        Some("") => coding.member("system").is_none(),
        Some(wanted) => coding.member("system").is_some_and(|system| system.is(wanted)),
    };
    let says = coding.member("code").or_else(|| coding.member("value"));
    of_system && says.is_some_and(|says| says.is_string() && code.is_none_or(|code| says.is(code)))
}

#[cfg(test)]
mod tests;
