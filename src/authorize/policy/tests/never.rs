//! What can never apply is refused, and nothing else for that reason.

use super::*;

#[test]
fn a_policy_that_never_applies_is_refused_and_told_what_to_write() {
    for (text, expected) in [
        (
            "forbid (principal in Role::\"clinician\", action == Action::\"read\", resource == ResourceType::\"Observation\");",
            "`no-obs`: it never applies, for no resource is like that; write `resource in ResourceType::\"Observation\"`",
        ),
        (
            "forbid (principal == Role::\"clinician\", action, resource);",
            "`no-obs`: it never applies, for no principal is like that; write `principal in Role::\"clinician\"`",
        ),
        (
            "forbid (principal, action, resource == TypeGroup::\"terminology\");",
            "`resource in TypeGroup::\"terminology\"`",
        ),
        ("forbid (principal, action, resource is ResourceType);", "`resource in ResourceType::\"...\"`"),
        ("forbid (principal is Role, action, resource);", "`principal is User`"),
        ("forbid (principal, action in [], resource);", "`no-obs`, empty set literals"),
        ("forbid (principal, action, resource) when { false };", "`no-obs`: it never applies"),
        ("forbid (principal is User, action, resource) when { context.compartment && false };", "it never applies"),
        (
            "forbid (principal, action, resource) when { resource == ResourceType::\"Observation\" };",
            "`resource == ResourceType::\"Observation\"` is never true here",
        ),
        (
            "forbid (principal is User, action, resource) when { context.compartment || principal is Client };",
            "`principal is Client` is never true here",
        ),
        // These apply, to what they were to leave out as well.
        (
            "permit (principal, action, resource) unless { resource == ResourceType::\"Observation\" };",
            "`resource == ResourceType::\"Observation\"` is never true here",
        ),
        (
            "permit (principal, action, resource) when { resource != ResourceType::\"Observation\" };",
            "`resource == ResourceType::\"Observation\"` is never true here",
        ),
        (
            "permit (principal, action, resource) unless { principal == Role::\"nurse\" };",
            "`principal == Role::\"nurse\"`",
        ),
        ("permit (principal, action, resource) unless { resource is ResourceType };", "`resource is ResourceType`"),
        (
            "permit (principal, action, resource) unless { resource in Role::\"nurse\" };",
            "`resource in Role::\"nurse\"`",
        ),
        ("forbid (principal in Role::\"nur\u{202e}se\", action, resource);", "BIDI control characters"),
    ] {
        let problems = problems(&format!("@id(\"no-obs\") {text}"));
        assert!(problems.contains(expected), "{text}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{text}: {problems}");
    }
}

#[test]
fn what_can_apply_is_not_refused() {
    for text in [
        "forbid (principal in Role::\"nurse\", action, resource in ResourceType::\"Observation\");",
        "permit (principal, action, resource) unless { resource in ResourceType::\"Observation\" };",
        "forbid (principal, action, resource) when { principal is Client || context.compartment && principal is User };",
        "forbid (principal, action, resource) unless { principal in Role::\"nurse\" };",
        "forbid (principal, action, resource) when { action == Action::\"read\" && context.operation == \"everything\" };",
        "forbid (principal, action, resource) when { context.client == Client::\"app\" };",
        "forbid (principal, action, resource) when { [Client::\"app\", Client::\"other\"].contains(context.client) };",
        "forbid (principal, action, resource) when { [\"lastn\", \"everything\"].contains(context.operation) };",
        "forbid (principal == Client::\"app\", action, resource is Resource) when { context.level != \"system\" };",
        "forbid (principal, action, resource) when { true };",
        "forbid (principal in Role::\"\u{c4}rztin-\u{3b2}\", action, resource);",
    ] {
        let loaded = with_files(&[("own.cedar", &format!("@id(\"a\") {text}"))]);
        assert!(loaded.is_ok(), "{text}: {loaded:?}");
    }
}

/// Policies of which some never apply; as `permit`, so that it shows whether they did.
fn any_permit() -> impl Strategy<Value = String> {
    let pick = |list: &[&'static str]| prop::sample::select(list.to_vec());
    (
        pick(&[
            "principal",
            "principal is User in Role::\"a\"",
            "principal == Client::\"app\"",
            "principal == Role::\"a\"",
            "principal is Role",
            "principal in ResourceType::\"Patient\"",
        ]),
        pick(&[
            "action",
            "action == Action::\"read\"",
            "action in [Action::\"vread\", Action::\"create\"]",
            "action in []",
        ]),
        pick(&[
            "resource",
            "resource is Resource",
            "resource in ResourceType::\"Patient\"",
            "resource is Resource in TypeGroup::\"reference_type\"",
            "resource == ResourceType::\"Patient\"",
            "resource == TypeGroup::\"reference_type\"",
            "resource is ResourceType",
            "resource is ResourceType in TypeGroup::\"reference_type\"",
            "resource in Role::\"a\"",
        ]),
        pick(&[
            "",
            " when { context.compartment }",
            " when { principal is User }",
            " when { principal == Role::\"a\" }",
        ]),
    )
        .prop_map(|(principal, action, resource, when)| format!("permit ({principal}, {action}, {resource}){when};"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_policy_loads_exactly_when_it_can_apply_and_no_slice_leaves_it_out(text in any_permit()) {
        let text = format!("@id(\"own\") {text}");
        let (schema, _) = load::parse(&BTreeMap::new(), &[], Vec::new()).unwrap();
        let loads = load::parse(&[("own.cedar".to_owned(), text.clone())].into(), &[], Vec::new()).is_ok();
        // Unvalidated, as slices must not depend on it.
        let set: cedar_policy::PolicySet = text.parse().unwrap();
        let policies = sliced(&set, &schema);
        let held = roles(&["a"]);
        let mut applied = false;
        for asker in [Asker::User(&held), Asker::Client(&held)] {
            for action in Action::ALL {
                for type_name in ["Patient", "Practitioner"] {
                    for compartment in [false, true] {
                        let question = Question { compartment, ..question(asker, action, type_name) };
                        let expected = evaluate(&question, &set, &schema);
                        prop_assert_eq!(&*policies.judge(&question), &expected);
                        applied |= matches!(expected, Verdict::Permit(_));
                    }
                }
            }
        }
        prop_assert_eq!(loads, applied);
    }
}

#[test]
fn a_word_that_never_comes_is_refused_and_told_what_to_write() {
    let when =
        |condition: &str| format!("@id(\"no-obs\") forbid (principal, action, resource) when {{ {condition} }};");
    for (condition, expected) in [
        ("context.operation == \"$everything\"", "`context.operation` is never \"$everything\": write the name"),
        ("\"everythin\" == context.operation", "`context.operation` is never \"everythin\""),
        ("context.compartment && !(context.operation != \"Everything\")", "never \"Everything\""),
        ("[\"everything\", \"lastn \"].contains(context.operation)", "`context.operation` is never \"lastn \""),
        (
            "context.level == \"System\"",
            "`context.level` is never \"System\": write \"patient\", \"user\" or \"system\"",
        ),
        ("[\"patients\"].contains(context.level)", "`context.level` is never \"patients\""),
        ("if context.level != \"\" then true else false", "`context.level` is never \"\""),
    ] {
        let problems = problems(&when(condition));
        assert!(problems.contains(expected), "{condition}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{condition}: {problems}");
    }
    let listed = Operation { name: "own".into(), ..crate::fhir::operation::known().first().unwrap().clone() };
    for condition in [
        "context.operation == \"everything\"",
        "context.operation != \"\"",
        "context.operation like \"ever*\"",
        "context.operation == context.level",
        "[\"lastn\", \"own\"].contains(context.operation)",
        "context.level == \"patient\" || context.level == \"user\" || context.level == \"system\"",
        "context.client == Client::\"everythin\"",
    ] {
        let files = BTreeMap::from([("own.cedar".to_owned(), when(condition))]);
        let parsed = load::parse(&files, std::slice::from_ref(&listed), Vec::new());
        assert!(parsed.is_ok(), "{condition}: {:?}", parsed.err());
    }
}
