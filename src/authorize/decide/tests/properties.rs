//! Properties of decisions over generated tokens, with a naive decider as the oracle.

use proptest::prelude::*;

use super::*;

mod changes;
mod reference;

/// Scopes that say nothing about resources, and what looks like one and is none.
const OTHERS: [&str; 12] = [
    "openid",
    "fhirUser",
    "fhirUser",
    "launch/patient",
    "offline_access",
    "patient/observation.rs",
    "patient/Observation.sr",
    "Patient/Observation.rs",
    "patient/Observation.",
    "patient/Nonsense.rs",
    "user/*.rs?category=x",
    "patient/Observation.read?category=x",
];
const TYPES: [&str; 12] = [
    "*",
    "*",
    "Observation",
    "Observation",
    "Observation",
    "Condition",
    "Patient",
    "Practitioner",
    "Device",
    "Group",
    "RelatedPerson",
    "Organization",
];
const PERMISSIONS: [&str; 10] = ["rs", "rs", "r", "s", "cruds", "cud", "u", "read", "write", "*"];
const CONSTRAINTS: [&str; 9] =
    ["", "", "", "?category=x", "?code=y", "?category=x&code=y", "?code=z&category=x", "?category=", "?nosuch=x"];
const TARGETS: [&str; 46] = [
    "GET Observation/o1",
    "GET Observation",
    "POST Observation/_search",
    "GET Observation?code=x",
    "GET Observation?patient=P2",
    "GET Observation?patient.name=x",
    "GET Observation/o1/_history/2",
    "GET Condition/c1",
    "GET Condition?code=y",
    "GET Patient/P1",
    "GET Patient/P2",
    "GET Patient",
    "GET Patient/P1/_history/2",
    "GET Practitioner/d1",
    "GET Practitioner/d2",
    "GET Practitioner/d1/_history/1",
    "GET Practitioner",
    "GET Organization/x",
    "GET Group/g1",
    "GET Group",
    "GET Device/v1",
    "HEAD Device/v1",
    "GET Device?patient=P1",
    "GET RelatedPerson/r1",
    "GET RelatedPerson",
    "GET Bundle/b1",
    "GET Task?_summary=count",
    "GET Observation/_history",
    "GET Observation/o1/_history",
    "GET Patient/$match",
    "GET Patient/P1/Observation",
    "GET Patient/P2/Observation",
    "GET Patient/P1/Practitioner",
    "GET Encounter/e1/Observation",
    "GET ",
    "GET ?_type=Observation",
    "GET Observation?_text=x",
    "GET Patient?_has:Observation:subject:code=x",
    "GET Observation?_sort=patient.birthdate",
    "GET Observation?_include=*",
    "GET Observation?_include=Observation:subject:Patient",
    "GET Observation?_include=Observation:performer:Practitioner",
    "GET Patient?_revinclude=Observation:subject",
    "GET Group?_summary=count",
    "DELETE Observation/o1",
    "GET Parameters",
];

fn any_scope() -> impl Strategy<Value = String> {
    let resource = (
        prop::sample::select(vec!["patient", "patient", "user", "user", "system"]),
        prop::sample::select(TYPES.to_vec()),
        prop::sample::select(PERMISSIONS.to_vec()),
        prop::sample::select(CONSTRAINTS.to_vec()),
    )
        .prop_map(|(level, name, permissions, constraint)| format!("{level}/{name}.{permissions}{constraint}"));
    prop_oneof![4 => resource, 1 => prop::sample::select(OTHERS.to_vec()).prop_map(str::to_owned)]
}

fn any_token() -> impl Strategy<Value = Token> {
    (
        // Four at most: what takes more searches than four is another test's business.
        prop::collection::vec(any_scope(), 0..=4),
        prop::sample::select(vec![None, Some("P1"), Some("P1"), Some("P2"), Some("P1,P2"), Some("")]),
        prop::sample::select(vec![
            None,
            Some(("Practitioner", "d1")),
            Some(("PractitionerRole", "d1")),
            Some(("Patient", "P1")),
            Some(("RelatedPerson", "r1")),
            Some(("Person", "x")),
        ]),
        prop::sample::subsequence(vec!["clinician", "patient", "related_person", "backend", "visitor"], 0..=2),
        prop::sample::select(vec!["dr", "app"]),
    )
        .prop_map(|(scopes, patient, fhir_user, roles, subject)| Token {
            scope: scopes.join(" "),
            patient,
            fhir_user,
            roles,
            subject,
        })
}

fn any_target() -> impl Strategy<Value = &'static str> {
    prop::sample::select(TARGETS.to_vec())
}

/// What came of it, as far as the reference decider knows.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    /// Permitted within any of these, in words, sorted.
    Within(Vec<String>),
}

fn outcome(token: &Token, line: &str) -> Outcome {
    let (method, target) = line.split_once(' ').unwrap();
    let inbound = Inbound::for_test(method, &format!("/fhir/{target}"));
    let Ok(request) = FhirRequest::parse(inbound, "/fhir") else { return Outcome::Refused };
    match AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &no_pages()) {
        Decision::Permit(permit) => {
            let mut within: Vec<_> = permit.obligations.reach.allowances().iter().map(ToString::to_string).collect();
            within.sort();
            within.dedup();
            Outcome::Within(within)
        }
        Decision::Deny(_) | Decision::Refuse(_) | Decision::Inquire(_) | Decision::Batch(_) => Outcome::Refused,
    }
}

/// The same token without each one of its scopes.
fn with_one_scope_less(token: &Token) -> Vec<Token> {
    let scopes: Vec<&str> = token.scope.split(' ').collect();
    let without = |left_out: usize| {
        let fewer: Vec<&str> =
            scopes.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, scope)| *scope).collect();
        Token { scope: fewer.join(" "), ..token.clone() }
    };
    (0..scopes.len()).map(without).collect()
}

/// Whether the place `one` lies within `wide`, both in words: `Patient/P1 category=x`, `*`.
fn lies_within(one: &str, wide: &str) -> bool {
    let (mut of_one, mut of_wide) = (one.split(' '), wide.split(' '));
    let (place, wider) = (of_one.next(), of_wide.next());
    let conditions: Vec<&str> = of_one.collect();
    let same = wider == Some("*") || place == wider && !matches!(place, Some("own"));
    one == wide || same && of_wide.all(|condition| conditions.contains(&condition))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_reference_decider_agrees(token in any_token(), line in any_target()) {
        prop_assert_eq!(outcome(&token, line), reference::decide(&token, line), "{:?} {}", token, line);
    }

    #[test]
    fn removing_a_scope_never_turns_a_refusal_into_a_permit(token in any_token(), line in any_target()) {
        if outcome(&token, line) == Outcome::Refused {
            for fewer in with_one_scope_less(&token) {
                prop_assert_eq!(outcome(&fewer, line), Outcome::Refused, "{:?} {}", fewer, line);
            }
        }
    }

    #[test]
    fn removing_a_scope_never_widens_what_is_permitted(token in any_token(), line in any_target()) {
        if let Outcome::Within(more) = outcome(&token, line) {
            for fewer in with_one_scope_less(&token) {
                if let Outcome::Within(less) = outcome(&fewer, line) {
                    let narrower = less.iter().all(|one| more.iter().any(|wide| lies_within(one, wide)));
                    prop_assert!(narrower, "{:?} {}: {:?} instead of {:?}", fewer, line, less, more);
                }
            }
        }
    }

    #[test]
    fn without_a_role_that_a_policy_knows_nothing_is_permitted(token in any_token(), line in any_target()) {
        let nobody = Token { roles: token.roles.iter().copied().filter(|role| *role == "visitor").collect(), ..token };
        prop_assert_eq!(outcome(&nobody, line), Outcome::Refused, "{:?} {}", nobody, line);
    }
}
