//! Requested scopes against what a client is registered for: what may be offered to the person.
//!
//! Takes the `scope` parameter and the registration; gives the scopes that may be granted, in the order asked and written as
//! asked wherever nothing had to be taken away (a v1 scope stays v1). Promises: never more than was asked, never more than is
//! registered. What is unknown, granular (`?…`) or not registered is dropped. Does not ask policies: those apply to every
//! request. SMART App Launch 2.2 "scopes for requesting FHIR resources".

use crate::config::{Client, GrantType};
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::{Letter, Level, Permissions, ResourceScope, Scope};

/// Why nothing can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NegotiationError {
    /// No scope was asked for.
    Empty,
    /// A `system/` scope was asked for: no person can grant it.
    System,
    /// Nothing that was asked for can be granted.
    NothingLeft,
}

/// What of `requested` may be offered.
pub(super) fn negotiate(requested: &str, client: &Client) -> Result<Vec<String>, NegotiationError> {
    let registered: Vec<Scope> = client.scope.split_ascii_whitespace().map(Scope::parse).collect();
    let mut offered: Vec<String> = Vec::new();
    let mut asked_for_anything = false;
    for text in requested.split(' ').filter(|text| !text.is_empty()) {
        asked_for_anything = true;
        for granted in narrowed(text, client, &registered)? {
            if !offered.contains(&granted) {
                offered.push(granted);
            }
        }
    }
    match (asked_for_anything, offered.is_empty()) {
        (false, _) => Err(NegotiationError::Empty),
        (true, true) => Err(NegotiationError::NothingLeft),
        (true, false) => Ok(offered),
    }
}

/// Whether a granted scope makes sense only with a patient in context (`launch/patient`, `patient/…`). An encounter belongs to
/// a patient, so `launch/encounter` needs one too.
pub(super) fn needs_patient(scopes: &[String]) -> bool {
    scopes.iter().any(|text| match Scope::parse(text) {
        Scope::LaunchPatient | Scope::LaunchEncounter => true,
        Scope::Resource(scope) => scope.level == Level::Patient,
        Scope::Launch
        | Scope::OpenId
        | Scope::FhirUser
        | Scope::Profile
        | Scope::OfflineAccess
        | Scope::OnlineAccess
        | Scope::Unknown(_) => false,
    })
}

/// What of one scope is left; a wildcard may come apart into several.
fn narrowed(text: &str, client: &Client, registered: &[Scope]) -> Result<Vec<String>, NegotiationError> {
    let asked = Scope::parse(text);
    let granted = match &asked {
        Scope::Resource(scope) if scope.level == Level::System => return Err(NegotiationError::System),
        Scope::Resource(scope) if scope.constraint.is_none() => return Ok(narrowed_resource(text, scope, registered)),
        // Registered by its launch URLs.
        Scope::Launch => !client.launch_urls.is_empty(),
        // Whoever may be granted a patient's data may ask which patient.
        Scope::LaunchPatient => registered.contains(&asked) || registered.iter().any(is_patient_level),
        Scope::OfflineAccess => registered.contains(&asked) && client.grant_types.contains(&GrantType::RefreshToken),
        Scope::OpenId | Scope::FhirUser | Scope::Profile | Scope::LaunchEncounter => registered.contains(&asked),
        Scope::Unknown(unknown) if unknown.starts_with("system/") => return Err(NegotiationError::System),
        // Granular scopes are not enforced yet, and no refresh token of ours ends with the session.
        Scope::Resource(_) | Scope::OnlineAccess | Scope::Unknown(_) => false,
    };
    Ok(granted.then(|| text.to_owned()).into_iter().collect())
}

fn is_patient_level(scope: &Scope) -> bool {
    matches!(scope, Scope::Resource(scope) if scope.level == Level::Patient)
}

/// The intersection of one asked scope with all registered ones of its level: letters per type, where `*` is a type of its
/// own that all others include.
fn narrowed_resource(text: &str, asked: &ResourceScope, registered: &[Scope]) -> Vec<String> {
    let mut left: Vec<(Option<ResourceType>, Vec<Letter>)> = Vec::new();
    for scope in registered {
        let Scope::Resource(scope) = scope else { continue };
        if scope.level != asked.level || scope.constraint.is_some() {
            continue;
        }
        let resource_type = match (asked.resource_type, scope.resource_type) {
            (asked, None) => asked,
            (None, specific) => specific,
            (asked, specific) if asked == specific => asked,
            (Some(_), Some(_)) => continue,
        };
        let letters = asked.permissions.letters().filter(|letter| scope.permissions.contains(*letter));
        if let Some((_, known)) = left.iter_mut().find(|(known, _)| *known == resource_type) {
            known.extend(letters);
        } else {
            left.push((resource_type, letters.collect()));
        }
    }
    let wildcard: Vec<Letter> = left.iter().filter(|(kind, _)| kind.is_none()).flat_map(|(_, l)| l.clone()).collect();
    left.into_iter()
        .filter_map(|(resource_type, mut letters)| {
            if resource_type.is_some() && asked.resource_type.is_none() && letters.iter().all(|l| wildcard.contains(l))
            {
                return None;
            }
            if resource_type.is_some() {
                letters.extend(wildcard.iter().copied());
            }
            let permissions = Permissions::parse_letters(&written(&letters))?;
            if resource_type == asked.resource_type && permissions == asked.permissions {
                return Some(text.to_owned());
            }
            let v1 = asked.v1 && [Permissions::READ, Permissions::WRITE, Permissions::ALL].contains(&permissions);
            Some(ResourceScope { level: asked.level, resource_type, permissions, v1, constraint: None }.to_string())
        })
        .collect()
}

fn written(letters: &[Letter]) -> String {
    Letter::ALL.into_iter().filter(|letter| letters.contains(letter)).map(Letter::as_char).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use proptest::prelude::*;

    use super::*;
    use crate::grant::testing::app;

    fn client(scope: &str) -> Client {
        Client { scope: scope.to_owned(), ..app() }
    }

    fn offered(requested: &str, registered: &str) -> String {
        negotiate(requested, &client(registered)).unwrap().join(" ")
    }

    #[test]
    fn what_is_registered_is_offered_as_asked_and_in_the_order_asked() {
        let all = "launch/patient openid fhirUser offline_access patient/*.rs";
        assert_eq!(
            offered("openid patient/Observation.rs launch/patient fhirUser offline_access", all),
            "openid patient/Observation.rs launch/patient fhirUser offline_access"
        );
    }

    #[test]
    fn p2_a_v1_scope_that_is_granted_comes_back_as_v1() {
        assert_eq!(offered("patient/Patient.read", "patient/*.rs"), "patient/Patient.read");
        assert_eq!(offered("patient/*.*", "patient/*.rs"), "patient/*.read");
        assert_eq!(offered("patient/*.*", "patient/*.r"), "patient/*.r");
    }

    #[test]
    fn a_wildcard_comes_apart_into_what_is_registered() {
        assert_eq!(
            offered("patient/*.cruds", "patient/Patient.rs patient/Observation.cruds"),
            "patient/Patient.rs patient/Observation.cruds"
        );
        assert_eq!(
            offered("patient/*.cruds", "patient/*.rs patient/Observation.cud"),
            "patient/*.rs patient/Observation.cruds"
        );
        assert_eq!(offered("patient/*.rs", "patient/*.rs patient/Observation.rs"), "patient/*.rs");
    }

    #[test]
    fn levels_never_cover_each_other() {
        assert_eq!(
            negotiate("user/*.rs", &client("patient/*.cruds system/*.cruds")),
            Err(NegotiationError::NothingLeft)
        );
    }

    #[test]
    fn b1_11_nothing_known_is_invalid_scope() {
        let registered = client("patient/*.rs openid");
        assert_eq!(negotiate("", &registered), Err(NegotiationError::Empty));
        assert_eq!(negotiate("  ", &registered), Err(NegotiationError::Empty));
        assert_eq!(negotiate("nonsense patient/Obs.rs", &registered), Err(NegotiationError::NothingLeft));
        assert_eq!(negotiate("patient/Observation.dus", &registered), Err(NegotiationError::NothingLeft));
        assert_eq!(negotiate("openid system/*.rs", &registered), Err(NegotiationError::System));
        assert_eq!(negotiate("openid system/nonsense", &registered), Err(NegotiationError::System));
    }

    #[test]
    fn b1_12_a_granular_scope_is_dropped_and_alone_refused() {
        let granular = "patient/Observation.rs?category=vital-signs";
        let registered = client("patient/*.rs patient/Observation.rs?category=vital-signs");
        assert_eq!(negotiate(granular, &registered), Err(NegotiationError::NothingLeft));
        assert_eq!(negotiate(&format!("{granular} patient/Patient.r"), &registered).unwrap(), ["patient/Patient.r"]);
    }

    #[test]
    fn offline_access_needs_a_client_that_may_refresh() {
        let mut registered = client("openid offline_access");
        assert_eq!(negotiate("openid offline_access", &registered).unwrap(), ["openid", "offline_access"]);
        registered.grant_types = vec![GrantType::AuthorizationCode];
        assert_eq!(negotiate("openid offline_access", &registered).unwrap(), ["openid"]);
    }

    #[test]
    fn doubled_scopes_are_offered_once() {
        assert_eq!(offered("openid openid patient/*.rs patient/*.rs", "openid patient/*.rs"), "openid patient/*.rs");
    }

    fn scope_text() -> impl Strategy<Value = String> {
        let letters = proptest::sample::select(vec!["r", "s", "rs", "cruds", "cud", "u", "read", "write", "*"]);
        let kind = proptest::sample::select(vec!["*", "Patient", "Observation", "Condition"]);
        let level = proptest::sample::select(vec!["patient", "user"]);
        (level, kind, letters).prop_map(|(level, kind, letters)| format!("{level}/{kind}.{letters}"))
    }

    proptest! {
        #[test]
        fn what_is_offered_is_covered_by_what_was_asked_and_by_what_is_registered(
            asked in proptest::collection::vec(scope_text(), 1..5),
            registered in proptest::collection::vec(scope_text(), 1..5),
        ) {
            let parse = |texts: &[String]| texts.iter().map(|text| Scope::parse(text)).collect::<Vec<_>>();
            let offered = negotiate(&asked.join(" "), &client(&registered.join(" "))).unwrap_or_default();
            for scope in parse(&offered) {
                prop_assert!(scope.is_covered_by(&parse(&asked)));
                prop_assert!(scope.is_covered_by(&parse(&registered)));
            }
            // Nothing that both sides cover whole is lost.
            for text in &asked {
                if Scope::parse(text).is_covered_by(&parse(&registered)) {
                    prop_assert!(Scope::parse(text).is_covered_by(&parse(&offered)));
                }
            }
        }
    }
}
