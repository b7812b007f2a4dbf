//! All scopes of one token, compiled: one look-up in a bit set answers whether a scope covers a type and a letter wholly, a
//! second look-up gives the conditions under which granular scopes cover it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Letter, Level, ResourceScope, Scope};
use crate::fhir::condition::Condition;
use crate::fhir::resource_type::ResourceType;

/// Longer scope texts are unusable as a whole.
const MAX_BYTES: usize = 8 * 1024;
/// More scopes are unusable as a whole.
const MAX_SCOPES: usize = 512;

/// What the scopes of one token grant, each in its own context. Compiled once per distinct scope text.
#[derive(Debug, Default)]
pub struct Scopes {
    grants: [[Types; Letter::ALL.len()]; Level::ALL.len()],
    granular: HashMap<(Level, ResourceType, Letter), Alternatives>,
    fhir_user: bool,
    ineffective: Vec<Ineffective>,
}

/// Sets of conditions; all of one set must hold.
type Alternatives = Vec<Arc<[Condition]>>;

/// Why (part of) a scope text grants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ineffective {
    /// A granular scope with a condition that cannot be checked on one resource alone.
    Uncheckable,
    /// Not a scope that is known here: wrong letter case, letters out of order, unknown type, white space other than U+0020.
    Unknown,
    /// More than 8 KiB or 512 scopes: the whole text grants nothing.
    TooLarge,
}

impl Scopes {
    /// Compiles a scope text (RFC 6749 section 3.3: scopes separated by U+0020 and nothing else). Never fails: what is not
    /// understood grants nothing and is in [`Scopes::ineffective`]; a text over the bounds grants nothing at all.
    #[must_use]
    pub fn compile(text: &str) -> Self {
        if text.len() > MAX_BYTES || text.bytes().filter(|byte| *byte == b' ').count() >= MAX_SCOPES {
            return Self { ineffective: vec![Ineffective::TooLarge], ..Self::default() };
        }
        let mut scopes = Self::default();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            match Scope::parse(scope) {
                Scope::Resource(resource) if resource.constraint.is_some() => scopes.grant_granular(&resource),
                Scope::Resource(resource) => scopes.grant(&resource),
                Scope::FhirUser => scopes.fhir_user = true,
                Scope::Unknown(_) => scopes.ineffective.push(Ineffective::Unknown),
                Scope::Launch
                | Scope::LaunchPatient
                | Scope::LaunchEncounter
                | Scope::Context(_)
                | Scope::OpenId
                | Scope::Profile
                | Scope::OfflineAccess
                | Scope::OnlineAccess => {}
            }
        }
        scopes
    }

    /// Whether one scope of this level covers the type and the letter wholly.
    #[must_use]
    #[inline]
    pub fn covers(&self, level: Level, resource_type: ResourceType, letter: Letter) -> bool {
        self.types(level, letter).is_some_and(|types| types.contains(resource_type))
    }

    /// What granular scopes of this level cover of the type for the letter: resources on which all conditions of one of
    /// these hold.
    #[must_use]
    pub fn conditions(&self, level: Level, resource_type: ResourceType, letter: Letter) -> &[Arc<[Condition]>] {
        self.granular.get(&(level, resource_type, letter)).map_or(&[], Vec::as_slice)
    }

    /// Whether `fhirUser` was granted: the user's own resource may be read by id.
    #[must_use]
    pub const fn fhir_user(&self) -> bool {
        self.fhir_user
    }

    /// What of the text grants nothing and why, in the order of the text.
    #[must_use]
    pub fn ineffective(&self) -> &[Ineffective] {
        &self.ineffective
    }

    fn types(&self, level: Level, letter: Letter) -> Option<&Types> {
        self.grants.get(level.index())?.get(letter.index())
    }

    fn grant_granular(&mut self, scope: &ResourceScope) {
        let Some(conditions) = scope.conditions() else {
            return self.ineffective.push(Ineffective::Uncheckable);
        };
        for (resource_type, conditions) in conditions {
            for letter in scope.permissions.letters() {
                let of_type = self.granular.entry((scope.level, resource_type, letter)).or_default();
                if !of_type.contains(&conditions) {
                    of_type.push(Arc::clone(&conditions));
                }
            }
        }
    }

    fn grant(&mut self, scope: &ResourceScope) {
        let Some(by_letter) = self.grants.get_mut(scope.level.index()) else { return };
        for letter in scope.permissions.letters() {
            let Some(types) = by_letter.get_mut(letter.index()) else { continue };
            match scope.resource_type {
                Some(resource_type) => types.insert(resource_type),
                None => ResourceType::all().for_each(|resource_type| types.insert(resource_type)),
            }
        }
    }
}

/// A set of resource types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Types([u64; Types::WORDS]);

impl Types {
    const WORDS: usize = ResourceType::COUNT.div_ceil(64);

    fn insert(&mut self, resource_type: ResourceType) {
        if let Some(word) = self.0.get_mut(resource_type.index() / 64) {
            *word |= 1 << (resource_type.index() % 64);
        }
    }

    #[inline]
    fn contains(&self, resource_type: ResourceType) -> bool {
        self.0.get(resource_type.index() / 64).is_some_and(|word| word & (1 << (resource_type.index() % 64)) != 0)
    }
}
