//! Scopes that ask for other resources in context: `launch/imagingstudy?role=https://example.org/role/prior`.

use std::fmt;

use crate::fhir::resource_type::ResourceType;

/// A scope for a resource in context besides `launch/patient` and `launch/encounter` (SMART App Launch 2.2, "requesting
/// context with scopes"; experimental there).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContextScope {
    /// Which type; written in lower case.
    pub resource_type: ResourceType,
    /// The part the resource is to play, as written after `?role=`.
    pub role: Option<String>,
}

impl ContextScope {
    /// `launch/`, a type in lower case, and at most one role; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("launch/")?;
        let (name, role) = match rest.split_once("?role=") {
            Some((name, role)) => (name, Some(role)),
            None => (rest, None),
        };
        let lower_case = name.bytes().all(|byte| byte.is_ascii_lowercase());
        let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'&');
        let well_formed = role.is_none_or(|role| !role.is_empty() && role.bytes().all(visible));
        let resource_type = ResourceType::all().find(|known| known.name().eq_ignore_ascii_case(name))?;
        (lower_case && well_formed).then(|| Self { resource_type, role: role.map(str::to_owned) })
    }

    /// Whether being registered for this scope is being registered for `requested`: a role narrows what is asked for.
    #[must_use]
    pub(super) fn covers(&self, requested: &Self) -> bool {
        self.resource_type == requested.resource_type && (self.role.is_none() || self.role == requested.role)
    }
}

impl fmt::Display for ContextScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "launch/{}", self.resource_type.name().to_ascii_lowercase())?;
        match &self.role {
            Some(role) => write!(f, "?role={role}"),
            None => Ok(()),
        }
    }
}
