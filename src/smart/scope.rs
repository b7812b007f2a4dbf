//! SMART scopes, v1 and v2: one scope as it is written.
//!
//! Takes the text of one scope, gives a [`Scope`]. It promises that printing gives back what was parsed. It does not decide
//! anything: what a token's scopes grant together is [`Scopes`], and whether that suffices is `authorize`.
//!
//! The grammar is that of SMART App Launch 2.2, "Scopes for requesting FHIR Resources":
//!
//! ```text
//! scope       = level "/" resource "." permissions [ "?" constraint ]
//! level       = "patient" / "user" / "system"
//! resource    = "*" / the name of a FHIR resource type, case-sensitive
//! permissions = v1 / v2
//! v1          = "read" / "write" / "*"              ; means rs, cud and cruds
//! v2          = [ "c" ] [ "r" ] [ "u" ] [ "d" ] [ "s" ]  ; at least one, in this order
//! constraint  = name "=" value *( "&" name "=" value )    ; v2 only
//! ```
//!
//! Scopes with letters out of that order, as `.dus`, are never read leniently (the guide allows to ignore or reject them): they
//! are [`Scope::Unknown`].
//!
//! Scopes written as URIs (the guide's appendix, "URI representation of scopes") are the same scopes; they are printed short.

mod compiled;
mod constraint;
mod context;

pub use compiled::{Ineffective, Scopes};
pub use context::ContextScope;

use std::fmt;
use std::sync::Arc;

use crate::fhir::condition::Condition;
use crate::fhir::resource_type::ResourceType;

/// The scope of an access token whose bearer may look up other tokens (RFC 7662); ours, and outside of SMART's grammar.
pub const INTROSPECT: &str = "introspect";

/// Most scopes that one request or one registration may have: each type at two levels, and more. They are compared with each
/// other.
pub const MOST: usize = 400;

/// One scope of an authorization request or a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `patient/Observation.rs`
    Resource(ResourceScope),
    /// `launch`: the app was launched from an EHR.
    Launch,
    /// `launch/patient`: a patient is to be chosen.
    LaunchPatient,
    /// `launch/encounter`: an encounter is to be chosen.
    LaunchEncounter,
    /// `launch/imagingstudy?role=…`: another resource in context.
    Context(ContextScope),
    /// `openid` (OpenID Connect Core section 3.1.2.1)
    OpenId,
    /// `fhirUser`: who the user is, as a resource, and permission to read that one resource.
    FhirUser,
    /// `profile` (OpenID Connect Core section 5.4)
    Profile,
    /// `offline_access`: a refresh token that outlives the session.
    OfflineAccess,
    /// `online_access`: a refresh token as long as the session lasts.
    OnlineAccess,
    /// Anything else, as written. It grants nothing.
    Unknown(String),
}

/// A scope for FHIR resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceScope {
    /// In whose context.
    pub level: Level,
    /// Which type; `None` is `*`, every type, those that are defined later included.
    pub resource_type: Option<ResourceType>,
    /// What may be done.
    pub permissions: Permissions,
    /// Whether `permissions` were written in the words of v1.
    pub v1: bool,
    /// What follows the `?`: the resources are restricted by these search parameters (a granular scope).
    pub constraint: Option<String>,
}

/// The context a resource scope applies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The compartment of the patient in context.
    Patient,
    /// What the user may do.
    User,
    /// What the client itself may do.
    System,
}

impl Level {
    /// All of them; the position is [`Level::index`].
    pub const ALL: [Self; 3] = [Self::Patient, Self::User, Self::System];

    /// As written before the `/`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::User => "user",
            Self::System => "system",
        }
    }

    /// Position in [`Level::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One of the five permissions of SMART v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Letter {
    /// `c`: create
    Create,
    /// `r`: read, vread, history of an instance
    Read,
    /// `u`: update and patch
    Update,
    /// `d`: delete
    Delete,
    /// `s`: search, history of a type
    Search,
}

impl Letter {
    /// All of them in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    /// As written.
    #[must_use]
    pub const fn as_char(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }

    /// Position in [`Letter::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A set of [`Letter`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// `rs`, in v1 `read`
    pub const READ: Self = Self(1 << Letter::Read as u8 | 1 << Letter::Search as u8);
    /// `cud`, in v1 `write`
    pub const WRITE: Self = Self(1 << Letter::Create as u8 | 1 << Letter::Update as u8 | 1 << Letter::Delete as u8);
    /// `cruds`, in v1 `*`
    pub const ALL: Self = Self(Self::READ.0 | Self::WRITE.0);

    /// A non-empty subset of `cruds` in that order; `None` for anything else.
    #[must_use]
    pub fn parse_letters(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut found = 0;
        for letter in Letter::ALL {
            if let Some(after) = rest.strip_prefix(letter.as_char()) {
                found |= 1 << letter as u8;
                rest = after;
            }
        }
        (found != 0 && rest.is_empty()).then_some(Self(found))
    }

    /// Whether the letter is among them.
    #[must_use]
    pub const fn contains(self, letter: Letter) -> bool {
        self.0 & (1 << letter as u8) != 0
    }

    /// The letters, in the order in which they are written.
    pub fn letters(self) -> impl Iterator<Item = Letter> {
        Letter::ALL.into_iter().filter(move |letter| self.contains(*letter))
    }
}

impl Scope {
    /// Tells what a scope is. Never fails: what is not understood is [`Scope::Unknown`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match short(text) {
            "launch" => Self::Launch,
            "launch/patient" => Self::LaunchPatient,
            "launch/encounter" => Self::LaunchEncounter,
            "openid" => Self::OpenId,
            "fhirUser" => Self::FhirUser,
            "profile" => Self::Profile,
            "offline_access" => Self::OfflineAccess,
            "online_access" => Self::OnlineAccess,
            other => ResourceScope::parse(other)
                .map(Self::Resource)
                .or_else(|| ContextScope::parse(other).map(Self::Context))
                .unwrap_or_else(|| Self::Unknown(text.to_owned())),
        }
    }

    /// Whether everything this scope stands for is also in `allowed` (for instance, what a client is registered for).
    ///
    /// Resource scopes are compared by type and letter, whichever version they are written in, and `*` covers every type; a
    /// granular scope is covered by the same type without a constraint, or by the same constraint. Levels never cover each
    /// other. Other scopes cover only themselves, and unknown ones not even that.
    #[must_use]
    pub fn is_covered_by(&self, allowed: &[Self]) -> bool {
        match self {
            Self::Unknown(_) => false,
            Self::Resource(requested) => requested.permissions.letters().all(|letter| {
                allowed
                    .iter()
                    .any(|scope| matches!(scope, Self::Resource(allowed) if allowed.covers(requested, letter)))
            }),
            Self::Context(requested) => allowed.iter().any(|scope| match scope {
                Self::Context(allowed) => allowed.covers(requested),
                Self::LaunchPatient => requested.resource_type == ResourceType::PATIENT,
                Self::LaunchEncounter => requested.resource_type == ResourceType::ENCOUNTER,
                _ => false,
            }),
            other => allowed.contains(other),
        }
    }
}

/// The scope without the URI that may stand before it: SMART's for its own, OpenID Connect's for those of its Core
/// specification. What would be another scope's URI stays as it is.
fn short(text: &str) -> &str {
    const SMART: &str = "http://smarthealthit.org/fhir/scopes/";
    const OPENID: &str = "http://openid.net/specs/openid-connect-core-1_0#";
    let of_openid = |scope: &str| matches!(scope, "openid" | "profile" | "offline_access");
    let smart = text.strip_prefix(SMART).filter(|scope| !matches!(*scope, "openid" | "profile"));
    smart.or_else(|| text.strip_prefix(OPENID).filter(|scope| of_openid(scope))).unwrap_or(text)
}

impl ResourceScope {
    /// The grammar above; `None` for what does not follow it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (level, rest) = text.split_once('/')?;
        let level = Level::ALL.into_iter().find(|known| known.as_str() == level)?;
        let (resource, rest) = rest.split_once('.')?;
        let resource_type = match resource {
            "*" => None,
            name => Some(ResourceType::parse(name)?),
        };
        let (letters, constraint) = match rest.split_once('?') {
            Some((letters, constraint)) => (letters, Some(constraint)),
            None => (rest, None),
        };
        let (permissions, v1) = match letters {
            "read" => (Permissions::READ, true),
            "write" => (Permissions::WRITE, true),
            "*" => (Permissions::ALL, true),
            v2 => (Permissions::parse_letters(v2)?, false),
        };
        let well_formed = constraint.is_none_or(|constraint| !v1 && is_constraint(constraint));
        well_formed.then(|| Self { level, resource_type, permissions, v1, constraint: constraint.map(str::to_owned) })
    }

    /// Whether each condition of a granular scope is one that can be checked on one resource alone; true without any.
    #[must_use]
    pub fn is_checkable(&self) -> bool {
        self.conditions().is_some()
    }

    /// For each type that the scope covers the conditions that must all hold; empty where there are none. `None` when one of
    /// them cannot be checked on one resource alone: then the scope gives nothing. A scope for `*` may ask only what every
    /// resource has.
    #[must_use]
    pub fn conditions(&self) -> Option<Vec<(ResourceType, Arc<[Condition]>)>> {
        let of = |resource_type| match &self.constraint {
            None => Some((resource_type, Arc::default())),
            Some(text) => Some((resource_type, constraint::conditions(resource_type, text)?.into())),
        };
        match self.resource_type {
            Some(resource_type) => Some(vec![of(resource_type)?]),
            None if self.constraint.as_deref().is_none_or(constraint::is_common) => {
                ResourceType::all().map(of).collect()
            }
            None => None,
        }
    }

    fn covers(&self, requested: &Self, letter: Letter) -> bool {
        self.level == requested.level
            && (self.resource_type.is_none() || self.resource_type == requested.resource_type)
            && self.permissions.contains(letter)
            && (self.constraint.is_none() || self.constraint == requested.constraint)
    }
}

/// `name=value`, joined by `&`, of visible ASCII, no name or value empty.
fn is_constraint(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        && text
            .split('&')
            .all(|pair| pair.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty()))
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(scope) => scope.fmt(f),
            Self::Launch => f.write_str("launch"),
            Self::LaunchPatient => f.write_str("launch/patient"),
            Self::LaunchEncounter => f.write_str("launch/encounter"),
            Self::Context(scope) => scope.fmt(f),
            Self::OpenId => f.write_str("openid"),
            Self::FhirUser => f.write_str("fhirUser"),
            Self::Profile => f.write_str("profile"),
            Self::OfflineAccess => f.write_str("offline_access"),
            Self::OnlineAccess => f.write_str("online_access"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for ResourceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.", self.level.as_str(), self.resource_type.map_or("*", ResourceType::name))?;
        match (self.v1, self.permissions) {
            (true, Permissions::READ) => f.write_str("read")?,
            (true, Permissions::WRITE) => f.write_str("write")?,
            (true, Permissions::ALL) => f.write_str("*")?,
            (_, permissions) => permissions.fmt(f)?,
        }
        match &self.constraint {
            Some(constraint) => write!(f, "?{constraint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().try_for_each(|letter| fmt::Write::write_char(f, letter.as_char()))
    }
}

#[cfg(test)]
mod tests;
