#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

const SCHEMA_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/schema/firebreak.cedarschema");

/// A case beside a shipped policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    description: String,
    user: Option<Vec<String>>,
    client: Option<Vec<String>>,
    action: String,
    #[serde(rename = "type")]
    resource_type: String,
    #[serde(default)]
    compartment: bool,
    #[serde(default)]
    referenced: bool,
    #[serde(default)]
    fhir_user: bool,
    #[serde(default)]
    operation: Option<String>,
    /// Ids of the policies that permit it; none: denied.
    expect: Vec<String>,
}

fn action(name: &str) -> Action {
    Action::ALL.into_iter().find(|action| action.name() == name).unwrap()
}

fn question<'a>(asker: Asker<'a>, action: Action, type_name: &str) -> Question<'a> {
    let resource_type = ResourceType::parse(type_name).unwrap();
    Question {
        asker,
        client_id: "app",
        action,
        resource_type,
        level: Level::User,
        compartment: false,
        referenced: false,
        fhir_user: false,
        operation: None,
    }
}

fn roles(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn forbidden_by(policy: &str) -> Verdict {
    Verdict::Deny([policy.to_owned()].into())
}

/// Policies from a directory with these files beside the shipped ones.
fn with_files(files: &[(&str, &str)]) -> Result<Policies, Vec<PolicyError>> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    Policies::load(Some(directory.path()), &[])
}

fn problems(text: &str) -> String {
    let errors = with_files(&[("own.cedar", text)]).unwrap_err();
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The oracle: all policies at once, nothing sliced, nothing remembered.
fn whole(directory: Option<&Path>, question: &Question<'_>) -> Verdict {
    let (schema, set) = load::load(directory, &[]).unwrap();
    evaluate(question, &set, &schema)
}

#[test]
fn the_schema_in_the_source_is_the_one_that_is_generated() {
    let generated = schema_text();
    if std::env::var_os("FIREBREAK_REGENERATE").is_some() {
        fs::write(SCHEMA_FILE, &generated).unwrap();
    }
    let kept = fs::read_to_string(SCHEMA_FILE).unwrap_or_default();
    assert!(kept == generated, "run the tests with FIREBREAK_REGENERATE=1 and look at the difference");
}

#[test]
fn the_shipped_policies_decide_the_cases_beside_them() {
    let policies = Policies::load(None, &[]).unwrap();
    let mut count = 0;
    for file in ["backend", "clinician", "patient", "related_person"] {
        let path = format!("{}/policies/{file}.test.json", env!("CARGO_MANIFEST_DIR"));
        let cases: Vec<Case> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        for case in &cases {
            let asker = match (&case.user, &case.client) {
                (Some(roles), None) => Asker::User(roles),
                (None, Some(roles)) => Asker::Client(roles),
                _ => panic!("{}: expected `user` or `client`", case.description),
            };
            let (compartment, referenced, fhir_user) = (case.compartment, case.referenced, case.fhir_user);
            let question = Question {
                compartment,
                referenced,
                fhir_user,
                operation: case.operation.as_deref(),
                ..question(asker, action(&case.action), &case.resource_type)
            };
            let expected =
                if case.expect.is_empty() { Verdict::denied() } else { Verdict::Permit(case.expect.clone().into()) };
            assert_eq!(*policies.judge(&question), expected, "{file}: {}", case.description);
            assert_eq!(whole(None, &question), expected, "{file}: {}", case.description);
            count += 1;
        }
    }
    assert!(count >= 19, "{count}");
}

#[test]
fn the_readme_has_a_line_for_every_shipped_policy() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/policies/README.md")).unwrap();
    let (_, set) = load::load(None, &[]).unwrap();
    for policy in set.policies() {
        assert!(readme.contains(&format!("| `{}` |", policy.id())), "{}", policy.id());
        assert!(policy.annotation("description").is_some(), "{}", policy.id());
    }
}

#[test]
fn a_forbid_of_the_site_wins() {
    let own = "@id(\"no-audit-events\") forbid (principal, action, resource in ResourceType::\"AuditEvent\");";
    let policies = with_files(&[("own.cedar", own)]).unwrap();
    let clinician = roles(&["clinician"]);
    assert_eq!(
        *policies.judge(&question(Asker::User(&clinician), Action::Read, "AuditEvent")),
        forbidden_by("no-audit-events")
    );
    let other = policies.judge(&question(Asker::User(&clinician), Action::Read, "Patient"));
    assert_eq!(*other, Verdict::Permit(["clinician-reads-everything".to_owned()].into()));
}

#[test]
fn a_file_of_the_site_replaces_the_shipped_one_of_its_name() {
    let policies = with_files(&[("clinician.cedar", ""), ("notes.txt", "not a policy")]).unwrap();
    let (clinician, backend) = (roles(&["clinician"]), roles(&["backend"]));
    assert_eq!(*policies.judge(&question(Asker::User(&clinician), Action::Read, "Patient")), Verdict::denied());
    let kept = policies.judge(&question(Asker::Client(&backend), Action::Read, "Patient"));
    assert_eq!(*kept, Verdict::Permit(["backend-client-reads-everything".to_owned()].into()));
}

#[test]
fn a_policy_may_name_a_client() {
    let own = "@id(\"bulk1\") permit (principal == Client::\"bulk1\", action == Action::\"search-type\", resource);";
    let policies = with_files(&[("own.cedar", own)]).unwrap();
    let ask = |client_id| {
        let question = question(Asker::Client(&[]), Action::SearchType, "Observation");
        policies.judge(&Question { client_id, level: Level::System, ..question })
    };
    assert_eq!(*ask("bulk1"), Verdict::Permit(["bulk1".to_owned()].into()));
    assert_eq!(*ask("bulk2"), Verdict::denied());
}

#[test]
fn a_policy_that_fails_to_evaluate_denies_also_when_it_would_forbid() {
    for effect in ["permit", "forbid"] {
        let own =
            format!("@id(\"overflow\") {effect} (principal, action, resource) when {{ 9223372036854775807 + 1 < 0 }};");
        let policies = with_files(&[("own.cedar", &own)]).unwrap();
        let clinician = roles(&["clinician"]);
        assert_eq!(
            *policies.judge(&question(Asker::User(&clinician), Action::Read, "Patient")),
            Verdict::Error,
            "{effect}"
        );
    }
}

#[test]
fn what_would_not_do_what_it_says_is_refused_when_it_is_loaded() {
    for (text, expected) in [
        ("permit (principal, action, resource);", "expected an `@id"),
        ("@id(\"a\") permit (principal == User::\"jane\", action, resource);", "single users cannot be named"),
        (
            "@id(\"a\") forbid (principal, action, resource == Resource::\"Patient\");",
            "single resources cannot be named",
        ),
        ("@id(\"a\") forbid (principal, action, resource in ResourceType::\"Obsrvation\");", "Obsrvation"),
        ("@id(\"a\") forbid (principal, action == Action::\"destroy\", resource);", "destroy"),
        ("@id(\"a\") permit (principal, action, resource) when { context.network == \"inside\" };", "network"),
        ("@id(\"a\") @redact(\"Patient.telecom\") permit (principal, action, resource);", "`@redact` is not known"),
        ("@id(\"a\") permit (principal == ?principal, action, resource);", "without slots"),
        ("@id(\"clinician-reads-everything\") permit (principal, action, resource);", "is taken"),
        ("\n@id(\"a\") permit (principal action, resource);", "`own.cedar`: line 2, column 28: "),
        ("@id(\"a\")\npermit (principal, action, resource) when { context.nope };", "line 2, column "),
    ] {
        let problems = problems(text);
        assert!(problems.contains(expected), "{text}: {problems}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let errors = with_files(&[
        ("one.cedar", "permit (principal, action, resource);"),
        ("two.cedar", "nonsense"),
        ("three.cedar", "@id(\"x\") permit (principal, action, resource) when { context.nope };"),
    ])
    .unwrap_err();
    let files: Vec<_> = errors.iter().map(|error| error.file.as_str()).collect();
    for file in ["one.cedar", "two.cedar", "three.cedar"] {
        assert!(files.contains(&file), "{errors:?}");
    }
    assert!(Policies::load(Some(Path::new("/nonexistent")), &[]).is_err());
}

#[test]
fn a_verdict_is_remembered_by_everything_a_policy_can_read() {
    let policies = Policies::load(None, &[]).unwrap();
    let (patient, both) = (roles(&["patient"]), roles(&["patient", "clinician"]));
    let alone = question(Asker::User(&patient), Action::Read, "Observation");
    assert_eq!(*policies.judge(&alone), Verdict::denied());
    assert!(matches!(*policies.judge(&Question { compartment: true, ..alone }), Verdict::Permit(_)));
    assert!(matches!(*policies.judge(&Question { asker: Asker::User(&both), ..alone }), Verdict::Permit(_)));
    assert_eq!(*policies.judge(&Question { asker: Asker::Client(&both), ..alone }), Verdict::denied());
    assert!(Arc::ptr_eq(&policies.judge(&alone), &policies.judge(&alone)));
}

fn any_policy() -> impl Strategy<Value = String> {
    let pick = |list: &[&'static str]| prop::sample::select(list.to_vec());
    (
        pick(&["permit", "forbid"]),
        pick(&[
            "principal",
            "principal is User",
            "principal in Role::\"a\"",
            "principal is User in Role::\"b\"",
            "principal == Client::\"app\"",
        ]),
        pick(&["action", "action == Action::\"read\"", "action in [Action::\"vread\", Action::\"search-type\"]"]),
        pick(&[
            "resource",
            "resource is Resource",
            "resource in ResourceType::\"Patient\"",
            "resource in TypeGroup::\"patient_compartment\"",
            "resource is Resource in TypeGroup::\"reference_type\"",
        ]),
        pick(&[
            "",
            " when { context.compartment }",
            " unless { context.level == \"user\" }",
            " when { context.client == Client::\"app\" }",
        ]),
    )
        .prop_map(|(effect, principal, action, resource, when)| {
            format!("{effect} ({principal}, {action}, {resource}){when};")
        })
}

fn sliced(set: &cedar_policy::PolicySet, schema: &Schema) -> Policies {
    let (slices, schema) = (Slices::cut(set), schema.clone());
    Policies { roles: load::roles(set), slices, schema, verdicts: Cache::new(100) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn slices_and_memory_say_what_the_whole_set_says(own in prop::collection::vec(any_policy(), 0..6), held in prop::sample::subsequence(vec!["a", "b", "clinician"], 0..=3)) {
        let files: BTreeMap<String, String> =
            own.iter().enumerate().map(|(at, text)| (format!("{at}.cedar"), format!("@id(\"p{at}\") {text}"))).collect();
        let (schema, set) = load::parse(&files, &[], Vec::new()).unwrap();
        let policies = sliced(&set, &schema);
        let held = roles(&held);
        for asker in [Asker::User(&held), Asker::Client(&held)] {
            for action in Action::ALL {
                for type_name in ["Patient", "Observation", "Practitioner", "Task"] {
                    for (level, compartment) in [(Level::User, false), (Level::Patient, true)] {
                        let question = Question { level, compartment, ..question(asker, action, type_name) };
                        let expected = evaluate(&question, &set, &schema);
                        prop_assert_eq!(&*policies.judge(&question), &expected);
                        prop_assert_eq!(&*policies.judge(&question), &expected);
                    }
                }
            }
        }
    }
}

#[test]
fn what_a_policy_says_of_one_question_is_not_remembered_of_another() {
    let text = r#"
        @id("own") permit (principal is User in Role::"guest", action == Action::"read", resource) when { context.fhir_user };
        @id("named") permit (principal is User in Role::"guest", action == Action::"read", resource) when { context.referenced };
        @id("about") permit (principal is User in Role::"guest", action == Action::"read", resource) when { context.compartment };
        @id("launched") permit (principal is User in Role::"guest", action == Action::"read", resource) when { context.level == "patient" };
        @id("by-app") permit (principal is User in Role::"guest", action == Action::"read", resource) when { context.client == Client::"trusted" };
    "#;
    let policies = with_files(&[("own.cedar", text)]).unwrap();
    let guest = ["guest".to_owned()];
    let plain = question(Asker::User(&guest), Action::Read, "Practitioner");
    for (permitted, policy) in [
        (Question { fhir_user: true, ..plain }, "own"),
        (Question { referenced: true, ..plain }, "named"),
        (Question { compartment: true, ..plain }, "about"),
        (Question { level: Level::Patient, ..plain }, "launched"),
        (Question { client_id: "trusted", ..plain }, "by-app"),
    ] {
        for _ in 0..2 {
            assert_eq!(*policies.judge(&permitted), Verdict::Permit([policy.to_owned()].into()), "{policy}");
            assert_eq!(*policies.judge(&plain), Verdict::denied(), "{policy}");
        }
    }
}

#[test]
fn a_policy_can_tell_one_operation_from_another() {
    let text = r#"
        @id("no-records") forbid (principal, action, resource) when { context.operation == "everything" };
        @id("merges") permit (principal is Client in Role::"merger", action == Action::"operation", resource) when { context.operation == "meta-add" };
    "#;
    let policies = with_files(&[("own.cedar", text)]).unwrap();
    let clinician = ["clinician".to_owned()];
    let read = question(Asker::User(&clinician), Action::Read, "Observation");
    let by = |operation| Question { operation, ..read };
    assert!(matches!(*policies.judge(&by(None)), Verdict::Permit(_)));
    assert_eq!(*policies.judge(&by(Some("everything"))), forbidden_by("no-records"));
    assert!(matches!(*policies.judge(&by(Some("lastn"))), Verdict::Permit(_)));
    let merger = ["merger".to_owned()];
    let merge = question(Asker::Client(&merger), Action::Operation, "Patient");
    assert!(matches!(*policies.judge(&Question { operation: Some("meta-add"), ..merge }), Verdict::Permit(_)));
    assert_eq!(*policies.judge(&Question { operation: Some("expunge"), ..merge }), Verdict::denied());
    assert_eq!(*policies.judge(&merge), Verdict::denied());
}

mod never;

#[test]
fn nothing_of_what_is_shipped_can_never_hold() {
    let (schema, set) = load::load(None, &[]).unwrap();
    let validator = cedar_policy::Validator::new(schema);
    let found: Vec<String> = set.policies().flat_map(|policy| super::never::never_holds(policy, &validator)).collect();
    assert_eq!((set.policies().count() > 3, found), (true, Vec::new()));
    // A file in the place of a shipped one is the site's own.
    let text = r#"@id("clinician") forbid (principal == Role::"clinician", action, resource);"#;
    let own = BTreeMap::from([("clinician.cedar".to_owned(), text.to_owned())]);
    let problems = load::parse(&own, &[], Vec::new()).unwrap_err();
    assert!(problems.iter().any(|problem| problem.problem.contains("never applies")), "{problems:?}");
}
