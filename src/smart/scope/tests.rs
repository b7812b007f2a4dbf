#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use proptest::prelude::*;

use super::*;

fn rt(name: &str) -> ResourceType {
    ResourceType::parse(name).unwrap()
}

fn scopes(text: &str) -> Vec<Scope> {
    text.split(' ').map(Scope::parse).collect()
}

/// All 31 non-empty subsets of `cruds`, written in order.
fn suffixes() -> Vec<String> {
    (1..32u8)
        .map(|bits| "cruds".chars().zip(0..).filter(|(_, bit)| bits >> bit & 1 == 1).map(|(c, _)| c).collect())
        .collect()
}

#[test]
fn each_of_the_31_suffixes_means_its_letters() {
    let suffixes = suffixes();
    assert_eq!(suffixes.len(), 31);
    for suffix in suffixes {
        let text = format!("user/Observation.{suffix}");
        let Scope::Resource(scope) = Scope::parse(&text) else { panic!("{text}") };
        for letter in Letter::ALL {
            assert_eq!(scope.permissions.contains(letter), suffix.contains(letter.as_char()), "{text} {letter:?}");
        }
        assert_eq!(scope.to_string(), text);
    }
}

// P1
#[test]
fn every_other_arrangement_of_the_letters_is_unknown() {
    let good = suffixes();
    let letters = ["c", "r", "u", "d", "s"];
    let mut all = vec![String::new()];
    for _ in 0..4 {
        all = all
            .iter()
            .flat_map(|head| letters.iter().map(move |l| format!("{head}{l}")).chain([head.clone()]))
            .collect();
    }
    for suffix in all.iter().filter(|suffix| !good.contains(suffix)) {
        let text = format!("patient/Patient.{suffix}");
        assert_eq!(Scope::parse(&text), Scope::Unknown(text.clone()), "{text}");
    }
    for suffix in ["dus", "sr", "cc", "Rs", "rs ", "rsx", "reads", "READ", "cruds*", "*r", ""] {
        assert!(matches!(Scope::parse(&format!("patient/Patient.{suffix}")), Scope::Unknown(_)), "{suffix}");
    }
}

// P2
#[test]
fn v1_words_mean_their_v2_letters_and_stay_as_written() {
    for (word, letters) in [("read", "rs"), ("write", "cud"), ("*", "cruds")] {
        let Scope::Resource(scope) = Scope::parse(&format!("patient/*.{word}")) else { panic!("{word}") };
        assert_eq!(scope.permissions.to_string(), letters);
        assert_eq!(scope.to_string(), format!("patient/*.{word}"));
    }
}

// L4, P1, P8
#[test]
fn what_is_not_in_the_grammar_is_unknown() {
    for text in [
        "patient/observation.rs",
        "Patient/Observation.rs",
        "patient/Observation",
        "patient.Observation.rs",
        "patient/.rs",
        "patient/Observation.read?category=lab",
        "patient/Observation.rs?",
        "patient/Observation.rs?category=",
        "patient/Observation.rs?=x",
        "patient/Observation.rs?category",
        "patient/NoSuchType.rs",
        "patient/**.rs",
        "practitioner/Observation.rs",
        "patient/Observation.rs\tpatient/Patient.rs",
        "patient/Observation.rs\u{a0}x",
        "LAUNCH",
        "launch/",
        "launch/Patient",
        "launch/imagingStudy",
        "launch/nosuchtype",
        "launch/imagingstudy?role=",
        "launch/imagingstudy?role=a&role=b",
        "launch/imagingstudy?other=a",
        "http://smarthealthit.org/fhir/scopes/openid",
        "http://smarthealthit.org/fhir/scopes/patient/Observation",
        "https://smarthealthit.org/fhir/scopes/patient/Observation.rs",
        "http://smarthealthit.org/fhir/scopes/http://smarthealthit.org/fhir/scopes/launch",
        "http://openid.net/specs/openid-connect-core-1_0#launch",
        "http://openid.net/specs/openid-connect-core-1_0#patient/*.rs",
        "fhiruser",
        "",
        "patient/Observation.rs?a=b&",
        "patient/Observation.rs?a=\"",
        "patient/Observation.rs?a=\\",
    ] {
        assert_eq!(Scope::parse(text), Scope::Unknown(text.to_owned()), "{text}");
    }
}

#[test]
fn scopes_that_are_no_resource_scopes_are_recognised() {
    let text = "launch launch/patient launch/encounter openid fhirUser profile offline_access online_access";
    assert_eq!(
        scopes(text),
        [
            Scope::Launch,
            Scope::LaunchPatient,
            Scope::LaunchEncounter,
            Scope::OpenId,
            Scope::FhirUser,
            Scope::Profile,
            Scope::OfflineAccess,
            Scope::OnlineAccess
        ]
    );
}

// P8
#[test]
fn a_scope_written_as_a_uri_is_the_same_scope_printed_short() {
    for (uri, scope) in [
        ("http://smarthealthit.org/fhir/scopes/patient/Observation.rs", "patient/Observation.rs"),
        ("http://smarthealthit.org/fhir/scopes/user/*.read", "user/*.read"),
        (
            "http://smarthealthit.org/fhir/scopes/patient/Observation.rs?category=x|y",
            "patient/Observation.rs?category=x|y",
        ),
        ("http://smarthealthit.org/fhir/scopes/launch/patient", "launch/patient"),
        ("http://smarthealthit.org/fhir/scopes/fhirUser", "fhirUser"),
        ("http://smarthealthit.org/fhir/scopes/offline_access", "offline_access"),
        ("http://openid.net/specs/openid-connect-core-1_0#openid", "openid"),
        ("http://openid.net/specs/openid-connect-core-1_0#profile", "profile"),
    ] {
        assert_eq!(Scope::parse(uri), Scope::parse(scope), "{uri}");
        assert_eq!(Scope::parse(uri).to_string(), scope);
    }
    let compiled = Scopes::compile("http://smarthealthit.org/fhir/scopes/patient/Observation.r");
    assert!(compiled.covers(Level::Patient, rt("Observation"), Letter::Read));
    assert!(!compiled.covers(Level::Patient, rt("Observation"), Letter::Search));
}

// L4
#[test]
fn other_resources_in_context_have_a_type_in_lower_case_and_at_most_one_role() {
    let role = "launch/imagingstudy?role=https://example.org/role/prior";
    let Scope::Context(scope) = Scope::parse(role) else { panic!("{role}") };
    assert_eq!(
        (scope.resource_type, scope.role.as_deref()),
        (rt("ImagingStudy"), Some("https://example.org/role/prior"))
    );
    let Scope::Context(scope) = Scope::parse("launch/patient?role=friend") else { panic!("patient with a role") };
    assert_eq!((scope.resource_type, scope.role.as_deref()), (ResourceType::PATIENT, Some("friend")));
    assert_eq!(Scope::parse("launch/patient"), Scope::LaunchPatient);
    for (requested, registered, covered) in [
        ("launch/imagingstudy", "launch/imagingstudy", true),
        ("launch/imagingstudy?role=a", "launch/imagingstudy", true),
        ("launch/imagingstudy?role=a", "launch/imagingstudy?role=a", true),
        ("launch/imagingstudy?role=a", "launch/imagingstudy?role=b", false),
        ("launch/imagingstudy", "launch/imagingstudy?role=a", false),
        ("launch/imagingstudy", "launch launch/patient", false),
        ("launch/patient?role=friend", "launch/patient", true),
        ("launch/encounter?role=prior", "launch/patient", false),
    ] {
        assert_eq!(Scope::parse(requested).is_covered_by(&scopes(registered)), covered, "{requested} in {registered}");
    }
}

// P7, B1 12
#[test]
fn a_granular_scope_for_every_type_cannot_be_checked() {
    for (text, checkable) in [
        ("patient/Observation.rs", true),
        ("patient/*.rs", true),
        ("patient/Observation.rs?category=laboratory", true),
        ("patient/*.rs?category=laboratory", false),
        ("patient/Observation.rs?category:in=x", false),
    ] {
        let Scope::Resource(scope) = Scope::parse(text) else { panic!("{text}") };
        assert_eq!(scope.is_checkable(), checkable, "{text}");
    }
}

#[test]
fn a_wildcard_covers_every_type_and_only_its_own_level_and_letters() {
    let compiled = Scopes::compile("patient/*.rs user/Observation.c");
    for resource_type in ResourceType::all() {
        assert!(compiled.covers(Level::Patient, resource_type, Letter::Read));
        assert!(compiled.covers(Level::Patient, resource_type, Letter::Search));
        assert!(!compiled.covers(Level::Patient, resource_type, Letter::Create));
        assert!(!compiled.covers(Level::User, resource_type, Letter::Read));
        assert!(!compiled.covers(Level::System, resource_type, Letter::Read));
    }
    assert!(compiled.covers(Level::User, rt("Observation"), Letter::Create));
    assert!(!compiled.covers(Level::User, rt("Patient"), Letter::Create));
    assert!(compiled.ineffective().is_empty());
}

#[test]
fn unknown_and_uncheckable_scopes_grant_nothing_and_are_reported() {
    let text = "patient/Observation.rs?date=2026 patient/*.rs?category=laboratory patient/Observation.dus  fhirUser";
    let compiled = Scopes::compile(text);
    assert!(!compiled.covers(Level::Patient, rt("Observation"), Letter::Read));
    assert!(compiled.conditions(Level::Patient, rt("Observation"), Letter::Read).is_empty());
    assert_eq!(compiled.ineffective(), [Ineffective::Uncheckable, Ineffective::Uncheckable, Ineffective::Unknown]);
    assert!(compiled.fhir_user());
}

// P7
#[test]
fn a_granular_scope_covers_its_letters_under_its_conditions_alone() {
    let compiled =
        Scopes::compile("patient/Observation.rs?category=a patient/Observation.s?category=b user/*.r?_tag=x");
    let conditions = |level, of, letter| {
        let sets = compiled.conditions(level, rt(of), letter).iter();
        sets.map(|set| set.iter().map(ToString::to_string).collect::<Vec<_>>().join("&")).collect::<Vec<_>>()
    };
    assert_eq!(conditions(Level::Patient, "Observation", Letter::Read), ["category=a"]);
    assert_eq!(conditions(Level::Patient, "Observation", Letter::Search), ["category=a", "category=b"]);
    assert_eq!(conditions(Level::User, "Patient", Letter::Read), ["_tag=x"]);
    assert!(conditions(Level::User, "Observation", Letter::Search).is_empty());
    assert!(conditions(Level::Patient, "Condition", Letter::Read).is_empty());
    assert!(!compiled.covers(Level::Patient, rt("Observation"), Letter::Read), "not wholly");
}

#[test]
fn a_granular_scope_for_every_type_asks_what_every_resource_has() {
    for (constraint, granted) in [
        ("_tag=x&_security=y", true),
        ("_profile=http://example.org/p", true),
        ("_id=x", true),
        ("category=x", false),
        ("_tag=x&status=final", false),
        ("_source=http://example.org", false),
    ] {
        let compiled = Scopes::compile(&format!("patient/*.rs?{constraint}"));
        let conditions = compiled.conditions(Level::Patient, rt("Observation"), Letter::Read);
        assert_eq!(!conditions.is_empty(), granted, "{constraint}");
        assert_eq!(compiled.ineffective().is_empty(), granted, "{constraint}");
    }
}

#[test]
fn a_scope_text_over_the_bounds_grants_nothing_at_all() {
    let long = format!("patient/*.cruds {}", "x".repeat(9 * 1024));
    let many = "openid ".repeat(5000) + "patient/*.cruds";
    let few_bytes = "a ".repeat(600) + "patient/*.cruds";
    for text in [long, many, few_bytes] {
        let compiled = Scopes::compile(&text);
        assert!(!compiled.covers(Level::Patient, rt("Patient"), Letter::Read));
        assert_eq!(compiled.ineffective(), [Ineffective::TooLarge]);
    }
}

#[test]
fn only_a_space_separates_scopes() {
    for separator in ["\t", "\n", "\u{a0}", ",", "\u{2003}"] {
        let compiled = Scopes::compile(&format!("patient/Patient.rs{separator}patient/Observation.rs"));
        assert!(!compiled.covers(Level::Patient, rt("Patient"), Letter::Read), "{separator:?}");
        assert!(!compiled.covers(Level::Patient, rt("Observation"), Letter::Read), "{separator:?}");
    }
}

#[test]
fn a_requested_scope_is_covered_across_versions_and_wildcards() {
    for (requested, registered, covered) in [
        ("patient/Observation.rs", "patient/*.read", true),
        ("patient/Observation.read", "patient/Observation.r patient/*.s", true),
        ("patient/*.rs", "patient/Observation.rs", false),
        ("patient/Observation.cruds", "patient/*.rs", false),
        ("patient/Observation.*", "patient/*.cruds", true),
        ("user/Observation.rs", "patient/*.cruds", false),
        ("patient/Observation.rs", "user/*.cruds system/*.cruds", false),
        ("patient/Observation.rs?category=a", "patient/Observation.rs", true),
        ("patient/Observation.rs?category=a", "patient/Observation.rs?category=a", true),
        ("patient/Observation.rs?category=a", "patient/Observation.rs?category=b", false),
        ("patient/Observation.rs", "patient/Observation.rs?category=a", false),
        ("openid", "openid fhirUser", true),
        ("offline_access", "online_access", false),
        ("launch", "launch/patient", false),
        ("unheard-of", "unheard-of", false),
    ] {
        assert_eq!(Scope::parse(requested).is_covered_by(&scopes(registered)), covered, "{requested} in {registered}");
    }
}

fn any_scope() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = ResourceType::all().map(ResourceType::name).chain(["*"]).collect();
    let permissions: Vec<String> = suffixes().into_iter().chain(["read", "write", "*"].map(str::to_owned)).collect();
    (
        prop::sample::select(vec!["patient", "user", "system"]),
        prop::sample::select(names),
        prop::sample::select(permissions),
        prop::option::of("[a-z]{1,8}=[!#-%'-\\[\\]-~]{1,20}"),
    )
        .prop_map(|(level, name, letters, constraint)| match constraint {
            Some(constraint) => format!("{level}/{name}.{letters}?{constraint}"),
            None => format!("{level}/{name}.{letters}"),
        })
}

proptest! {
    #[test]
    fn printing_gives_back_what_was_parsed(text in any_scope().boxed().prop_union("\\PC{0,40}".boxed())) {
        let scope = Scope::parse(&text);
        prop_assert_eq!(Scope::parse(&scope.to_string()), scope.clone());
        prop_assert_eq!(scope.to_string(), text.clone());
        // P8
        let uri = format!("http://smarthealthit.org/fhir/scopes/{text}");
        if matches!(scope, Scope::Resource(_) | Scope::Context(_)) {
            prop_assert_eq!(Scope::parse(&uri), scope);
        } else {
            prop_assert_eq!(Scope::parse(&Scope::parse(&uri).to_string()), Scope::parse(&uri));
        }
    }

    // P1, L4
    #[test]
    fn a_context_scope_is_printed_as_it_was_written(name in "[a-z]{3,20}|patient|imagingstudy", role in prop::option::of("[!#-%'-\\[\\]-~]{1,20}")) {
        let text = role.map_or_else(|| format!("launch/{name}"), |role| format!("launch/{name}?role={role}"));
        prop_assert_eq!(Scope::parse(&text).to_string(), text);
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in "\\PC*") {
        let _ = Scopes::compile(&text);
    }
}
