//! Requested scopes against what a client is registered for: what may be offered to the person.
//!
//! Takes the `scope` parameter and the registration; gives the scopes that may be granted, in the order asked and written as
//! asked wherever nothing had to be taken away (a v1 scope stays v1; a scope written as a URI becomes the short form). Promises:
//! never more than was asked, never more than is registered, nothing that is asked for twice after it was cut down. What is
//! unknown or not registered is dropped, and so is a granular scope (`?…`) with a condition that could not be checked on one
//! resource. Does not ask policies: those apply to every request. SMART App Launch 2.2 "scopes for requesting FHIR
//! resources"; docs/scopes.md.

use std::collections::HashSet;

use super::records::LaunchContext;
use crate::config::{Client, GrantType};
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::{ContextScope, INTROSPECT, Letter, Level, MOST, Permissions, ResourceScope, Scope};

/// Why nothing can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NegotiationError {
    /// No scope was asked for.
    Empty,
    /// A `system/` scope was asked for: no person can grant it.
    System,
    /// Nothing that was asked for can be granted.
    NothingLeft,
    /// More was asked for than is looked at.
    TooMany,
}

/// Longest `scope` parameter that is looked at, in bytes: as much as fits into the head of a request.
const LONGEST: usize = 32 * 1024;

/// What of `requested` may be offered.
pub(super) fn negotiate(requested: &str, client: &Client) -> Result<Vec<String>, NegotiationError> {
    let registered: Vec<Scope> = client.scope.split_ascii_whitespace().map(Scope::parse).collect();
    let asked = asked(requested)?;
    let is_system = |scope: &Scope| match scope {
        Scope::Resource(resource) => resource.level == Level::System,
        Scope::Unknown(unknown) => unknown.starts_with("system/") || unknown.contains("/scopes/system/"),
        _ => false,
    };
    if asked.iter().any(is_system) {
        return Err(NegotiationError::System);
    }
    let offered = distinct(asked.iter().flat_map(|asked| narrowed(asked, client, &registered)));
    let offered = shortest(offered, &asked);
    if offered.is_empty() {
        Err(NegotiationError::NothingLeft)
    } else {
        Ok(offered.iter().map(Scope::to_string).collect())
    }
}

/// What of `requested` a client may be granted that acts for itself: `system/` scopes as far as it is registered for them. No
/// other scope means anything where there is no person and no launch.
pub(super) fn negotiate_system(requested: &str, client: &Client) -> Result<Vec<String>, NegotiationError> {
    let registered: Vec<Scope> = client.scope.split_ascii_whitespace().map(Scope::parse).collect();
    let asked = asked(requested)?;
    let granted = distinct(asked.iter().flat_map(|scope| match scope {
        Scope::Resource(resource) if resource.level == Level::System => {
            narrowed_resource(resource, &registered).into_iter().map(Scope::Resource).collect()
        }
        _ => Vec::new(),
    }));
    let granted = shortest(granted, &asked);
    if granted.is_empty() {
        Err(NegotiationError::NothingLeft)
    } else {
        Ok(granted.iter().map(Scope::to_string).collect())
    }
}

/// The scopes of a `scope` parameter, each once.
fn asked(requested: &str) -> Result<Vec<Scope>, NegotiationError> {
    let texts = || requested.split(' ').filter(|text| !text.is_empty());
    if requested.len() > LONGEST || texts().count() > MOST {
        return Err(NegotiationError::TooMany);
    }
    let asked = distinct(texts().map(Scope::parse));
    if asked.is_empty() { Err(NegotiationError::Empty) } else { Ok(asked) }
}

/// Each scope once, in the order in which they come.
fn distinct(scopes: impl Iterator<Item = Scope>) -> Vec<Scope> {
    let mut seen = HashSet::new();
    scopes.filter(|scope| seen.insert(scope.clone())).collect()
}

/// Whether a granted scope makes sense only with a patient in context (`launch/patient`, `patient/…`). An encounter belongs to
/// a patient, so `launch/encounter` needs one too.
pub(super) fn needs_patient(scopes: &[String]) -> bool {
    scopes.iter().any(|text| match Scope::parse(text) {
        Scope::LaunchPatient | Scope::LaunchEncounter => true,
        Scope::Resource(scope) => scope.level == Level::Patient,
        Scope::Launch
        | Scope::Context(_)
        | Scope::OpenId
        | Scope::FhirUser
        | Scope::Profile
        | Scope::OfflineAccess
        | Scope::OnlineAccess
        | Scope::Unknown(_) => false,
    })
}

/// Drops scopes for a context that is not there: `launch/<type>` is answered from what the EHR handed over, whichever role it
/// gave it, and from nothing else.
pub(super) fn drop_absent_context(scopes: &mut Vec<String>, launch: Option<&LaunchContext>) {
    scopes.retain(|text| match Scope::parse(text) {
        Scope::Context(ContextScope { resource_type, .. }) => {
            launch.is_some_and(|launch| launch.context_types().any(|present| present == resource_type))
        }
        _ => true,
    });
}

/// What of one scope is left; a wildcard may come apart into several.
fn narrowed(asked: &Scope, client: &Client, registered: &[Scope]) -> Vec<Scope> {
    let granted = match asked {
        Scope::Resource(scope) => {
            return narrowed_resource(scope, registered).into_iter().map(Scope::Resource).collect();
        }
        // Registered by its launch URLs.
        Scope::Launch => !client.launch_urls.is_empty(),
        // Whoever may be granted a patient's data may ask which patient.
        Scope::LaunchPatient => registered.contains(asked) || registered.iter().any(is_patient_level),
        Scope::Context(_) => !client.launch_urls.is_empty() && asked.is_covered_by(registered),
        Scope::OfflineAccess | Scope::OnlineAccess => {
            registered.contains(asked) && client.grant_types.contains(&GrantType::RefreshToken)
        }
        Scope::OpenId | Scope::FhirUser | Scope::Profile | Scope::LaunchEncounter => registered.contains(asked),
        Scope::Unknown(word) if word == INTROSPECT => client.introspects && registered.contains(asked),
        Scope::Unknown(_) => false,
    };
    granted.then(|| asked.clone()).into_iter().collect()
}

fn is_patient_level(scope: &Scope) -> bool {
    matches!(scope, Scope::Resource(scope) if scope.level == Level::Patient)
}

/// The letters that are left for one type (`None`: all) under one condition (`None`: unconditionally).
struct Left<'a> {
    resource_type: Option<ResourceType>,
    constraint: Option<&'a String>,
    letters: Vec<Letter>,
}

/// The intersection of one asked scope with all registered ones of its level: letters per type and condition, where `*` is a
/// type of its own that all others include.
fn narrowed_resource(asked: &ResourceScope, registered: &[Scope]) -> Vec<ResourceScope> {
    let mut left: Vec<Left<'_>> = Vec::new();
    for scope in registered {
        let Scope::Resource(scope) = scope else { continue };
        let Some((resource_type, constraint)) = intersection(asked, scope) else { continue };
        let letters = asked.permissions.letters().filter(|letter| scope.permissions.contains(*letter));
        match left.iter_mut().find(|known| known.resource_type == resource_type && known.constraint == constraint) {
            Some(known) => known.letters.extend(letters),
            None => left.push(Left { resource_type, constraint, letters: letters.collect() }),
        }
    }
    let of = |resource_type: Option<ResourceType>| -> Vec<Letter> {
        let wide = left.iter().filter(|known| known.constraint.is_none() && known.resource_type == resource_type);
        wide.flat_map(|known| known.letters.clone()).collect()
    };
    let everywhere = of(None);
    left.iter()
        .filter_map(|known| {
            let mut letters = known.letters.clone();
            match (known.resource_type, known.constraint) {
                (None, None) => {}
                // What is granted for everything anyway needs no scope of its own.
                (Some(_), None) if asked.resource_type.is_none() && letters.iter().all(|l| everywhere.contains(l)) => {
                    return None;
                }
                (Some(_), None) => letters.extend(everywhere.iter().copied()),
                (resource_type, Some(_)) => {
                    let unconditional = of(resource_type);
                    letters.retain(|letter| !unconditional.contains(letter) && !everywhere.contains(letter));
                }
            }
            let permissions = permissions(&letters)?;
            let (resource_type, constraint) = (known.resource_type, known.constraint.cloned());
            let v1_words = [Permissions::READ, Permissions::WRITE, Permissions::ALL].contains(&permissions);
            let v1 = asked.v1 && v1_words && constraint.is_none();
            Some(ResourceScope { level: asked.level, resource_type, permissions, v1, constraint })
        })
        .filter(ResourceScope::is_checkable)
        .collect()
}

/// Type and condition of what both cover; `None` when that is nothing, or nothing that one scope could say.
fn intersection<'a>(
    asked: &'a ResourceScope,
    registered: &'a ResourceScope,
) -> Option<(Option<ResourceType>, Option<&'a String>)> {
    if registered.level != asked.level {
        return None;
    }
    let resource_type = match (asked.resource_type, registered.resource_type) {
        (asked, None) => asked,
        (None, specific) => specific,
        (asked, specific) if asked == specific => asked,
        (Some(_), Some(_)) => return None,
    };
    let constraint = match (&asked.constraint, &registered.constraint) {
        (asked, None) => asked.as_ref(),
        (None, registered) => registered.as_ref(),
        (asked, registered) if asked == registered => asked.as_ref(),
        (Some(_), Some(_)) => return None,
    };
    Some((resource_type, constraint))
}

/// Scopes add up (SMART App Launch 2.2, "scope equivalence"): what was cut down is put together where one scope says it, and left
/// out where the others say it already. What is granted as it was asked for stays as it was written.
fn shortest(offered: Vec<Scope>, asked: &[Scope]) -> Vec<Scope> {
    let asked: HashSet<&Scope> = asked.iter().collect();
    let mut kept: Vec<Scope> = Vec::new();
    for scope in offered {
        if !asked.contains(&scope)
            && let Scope::Resource(cut) = &scope
            && let Some(Scope::Resource(known)) =
                kept.iter_mut().find(|known| !asked.contains::<Scope>(known) && same_resources(known, cut))
            && let Some(both) =
                permissions(&known.permissions.letters().chain(cut.permissions.letters()).collect::<Vec<_>>())
        {
            *known = ResourceScope { permissions: both, v1: false, ..cut.clone() };
        } else {
            kept.push(scope);
        }
    }
    let mut at = 0;
    while at < kept.len() {
        let scope = kept.remove(at);
        if asked.contains(&scope) || !scope.is_covered_by(&kept) {
            kept.insert(at, scope);
            at += 1;
        }
    }
    kept
}

fn same_resources(a: &Scope, b: &ResourceScope) -> bool {
    matches!(a, Scope::Resource(a) if (a.level, a.resource_type, &a.constraint) == (b.level, b.resource_type, &b.constraint))
}

/// The letters as a set; `None` without any.
fn permissions(letters: &[Letter]) -> Option<Permissions> {
    let written: String =
        Letter::ALL.into_iter().filter(|letter| letters.contains(letter)).map(Letter::as_char).collect();
    Permissions::parse_letters(&written)
}

#[cfg(test)]
mod tests;
