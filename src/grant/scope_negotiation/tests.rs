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

// A4
#[test]
fn what_is_registered_is_offered_as_asked_and_in_the_order_asked() {
    let all = "launch/patient openid fhirUser offline_access patient/*.rs";
    assert_eq!(
        offered("openid patient/Observation.rs launch/patient fhirUser offline_access", all),
        "openid patient/Observation.rs launch/patient fhirUser offline_access"
    );
}

// A4
#[test]
fn nothing_is_offered_that_is_not_registered_whatever_the_kind_of_scope() {
    for scope in [
        "openid",
        "fhirUser",
        "profile",
        "offline_access",
        "online_access",
        "launch/patient",
        "launch/encounter",
        "launch/imagingstudy",
        "patient/Observation.rs",
        "user/Patient.rs",
        INTROSPECT,
    ] {
        assert_eq!(negotiate(scope, &client("user/Observation.rs")), Err(NegotiationError::NothingLeft), "{scope}");
    }
    let asked = "launch launch/imagingstudy openid offline_access online_access";
    let registered = "openid launch/imagingstudy offline_access online_access";
    let left = |client: Client| negotiate(asked, &client).unwrap().join(" ");
    assert_eq!(left(client(registered)), asked);
    let without_refresh = Client { grant_types: vec![GrantType::AuthorizationCode], ..client(registered) };
    assert_eq!(left(without_refresh), "launch launch/imagingstudy openid");
    let not_launched = Client { launch_urls: Vec::new(), ..client(registered) };
    assert_eq!(left(not_launched), "openid offline_access online_access");
}

// L3
#[test]
fn whoever_may_have_a_patients_data_may_ask_which_patient() {
    let scope = "launch/patient patient/Observation.rs";
    assert_eq!(offered(scope, "patient/Observation.rs"), scope);
}

// P2
#[test]
fn a_v1_scope_that_is_granted_comes_back_as_v1() {
    assert_eq!(offered("patient/Patient.read", "patient/*.rs"), "patient/Patient.read");
    assert_eq!(offered("patient/*.*", "patient/*.rs"), "patient/*.read");
    assert_eq!(offered("patient/*.*", "patient/*.r"), "patient/*.r");
}

// A4
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

// A4
#[test]
fn levels_never_cover_each_other() {
    assert_eq!(negotiate("user/*.rs", &client("patient/*.cruds system/*.cruds")), Err(NegotiationError::NothingLeft));
}

// B1 11
#[test]
fn nothing_known_is_invalid_scope() {
    let registered = client("patient/*.rs openid");
    assert_eq!(negotiate("", &registered), Err(NegotiationError::Empty));
    assert_eq!(negotiate("  ", &registered), Err(NegotiationError::Empty));
    assert_eq!(negotiate("nonsense patient/Obs.rs", &registered), Err(NegotiationError::NothingLeft));
    assert_eq!(negotiate("patient/Observation.dus", &registered), Err(NegotiationError::NothingLeft));
    assert_eq!(negotiate("openid system/*.rs", &registered), Err(NegotiationError::System));
    assert_eq!(negotiate("openid system/nonsense", &registered), Err(NegotiationError::System));
}

// B1 12
#[test]
fn a_granular_scope_that_cannot_be_checked_is_dropped_and_alone_refused() {
    let registered = client("patient/*.cruds user/*.rs");
    for bad in [
        "patient/Observation.rs?code:in=http://example.org/ValueSet/x",
        "patient/Observation.rs?subject.name=peter",
        "patient/Observation.rs?subject:Patient.name=peter",
        "patient/Observation.rs?_has:Group:member:_id=1",
        "patient/Observation.rs?_filter=x",
        "patient/Observation.rs?date=2026",
        "patient/Observation.rs?category=a,,b",
        "patient/Observation.rs?category=a&_count=1",
        "patient/*.rs?category=laboratory",
        "patient/Patient.rs?category=laboratory",
        "patient/Observation.read?category=laboratory",
    ] {
        assert_eq!(negotiate(bad, &registered), Err(NegotiationError::NothingLeft), "{bad}");
        assert_eq!(
            negotiate(&format!("{bad} patient/Patient.r"), &registered).unwrap(),
            ["patient/Patient.r"],
            "{bad}"
        );
    }
}

// P3, P7
#[test]
fn a_granular_scope_is_offered_as_asked_when_the_type_or_the_same_condition_is_registered() {
    let lab = "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
    for registered in ["patient/*.rs", "patient/Observation.cruds", "patient/*.read", lab, &format!("openid {lab}")] {
        assert_eq!(offered(lab, registered), lab, "{registered}");
    }
    assert_eq!(offered("patient/Observation.cruds?category=a", "patient/*.rs"), "patient/Observation.rs?category=a");
    assert_eq!(
        offered("patient/Observation.rs?category=a", "patient/Observation.r?category=a patient/Observation.s"),
        "patient/Observation.rs?category=a"
    );
    for registered in ["user/*.rs", "patient/Condition.rs", "patient/Observation.rs?category=b"] {
        let nothing = negotiate("patient/Observation.rs?category=a", &client(registered));
        assert_eq!(nothing, Err(NegotiationError::NothingLeft), "{registered}");
    }
}

// P3
#[test]
fn who_is_registered_for_a_part_of_a_type_is_offered_that_part() {
    let parts = "patient/Observation.rs?category=a patient/Observation.rs?category=b";
    assert_eq!(offered("patient/Observation.rs", parts), parts);
    assert_eq!(offered("patient/Observation.read", parts), parts);
    assert_eq!(
        offered("patient/*.cruds", &format!("patient/Patient.rs {parts}")),
        format!("patient/Patient.rs {parts}")
    );
    assert_eq!(
        offered("patient/Observation.rs", "patient/Observation.r patient/Observation.rs?category=a"),
        "patient/Observation.r patient/Observation.s?category=a"
    );
    assert_eq!(
        offered("patient/Observation.rs", "patient/*.rs patient/Observation.rs?category=a"),
        "patient/Observation.rs"
    );
}

// P3
#[test]
fn what_was_cut_down_is_written_in_the_shortest_form_and_what_was_not_as_asked() {
    let both = "patient/Observation.r patient/Observation.s";
    assert_eq!(offered(both, "patient/*.rs"), both, "unchanged");
    assert_eq!(
        offered("patient/Observation.read patient/Observation.rs", "patient/*.rs"),
        "patient/Observation.read patient/Observation.rs"
    );
    assert_eq!(offered("patient/Observation.cr patient/Observation.us", "patient/*.rs"), "patient/Observation.rs");
    assert_eq!(offered("patient/Observation.cr patient/Observation.rs", "patient/*.rs"), "patient/Observation.rs");
    assert_eq!(offered("patient/*.cruds patient/Patient.cruds", "patient/*.rs"), "patient/*.rs");
    assert_eq!(offered("patient/Patient.rs patient/*.cruds", "patient/*.rs"), "patient/Patient.rs patient/*.rs");
}

// P8
#[test]
fn scopes_written_as_uris_are_offered_in_the_short_form() {
    assert_eq!(
        offered(
            "http://openid.net/specs/openid-connect-core-1_0#openid http://smarthealthit.org/fhir/scopes/fhirUser \
             http://smarthealthit.org/fhir/scopes/patient/Patient.read patient/Patient.read",
            "openid fhirUser http://smarthealthit.org/fhir/scopes/patient/*.rs"
        ),
        "openid fhirUser patient/Patient.read"
    );
    let system = "http://smarthealthit.org/fhir/scopes/system/Patient.rs";
    assert_eq!(negotiate(system, &client("patient/*.rs")), Err(NegotiationError::System));
}

// L4
#[test]
fn a_context_scope_needs_a_launch_url_a_registration_and_a_context() {
    let asked = "launch launch/imagingstudy?role=https://example.org/prior launch/questionnaire";
    assert_eq!(offered(asked, "launch/imagingstudy launch/questionnaire"), asked);
    assert_eq!(offered(asked, "launch/questionnaire"), "launch launch/questionnaire");
    let standalone = Client { launch_urls: Vec::new(), ..client("launch/imagingstudy") };
    assert_eq!(negotiate("launch/imagingstudy", &standalone), Err(NegotiationError::NothingLeft));

    let mut scopes: Vec<String> = asked.split(' ').map(str::to_owned).collect();
    let entry = serde_json::json!({"reference": "ImagingStudy/7", "role": "https://example.org/other"});
    let launch = LaunchContext { fhir_context: vec![entry], ..LaunchContext::default() };
    drop_absent_context(&mut scopes, Some(&launch));
    assert_eq!(scopes, ["launch", "launch/imagingstudy?role=https://example.org/prior"]);
    drop_absent_context(&mut scopes, None);
    assert_eq!(scopes, ["launch"]);
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
    let constraint = proptest::sample::select(vec!["", "", "", "?category=a", "?category=b", "?code:in=c"]);
    (level, kind, letters, constraint)
        .prop_map(|(level, kind, letters, constraint)| format!("{level}/{kind}.{letters}{constraint}"))
}

proptest! {
    // A4
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
        // Nothing that both sides cover whole is lost, but what nobody could check.
        for text in &asked {
            let scope = Scope::parse(text);
            if scope.is_covered_by(&parse(&registered)) && checkable(&scope) {
                prop_assert!(scope.is_covered_by(&parse(&offered)));
            }
        }
    }

    // P3
    #[test]
    fn a_scope_that_is_granted_unchanged_is_returned_as_it_was_asked_for(
        asked in proptest::collection::vec(scope_text(), 1..5),
    ) {
        let all = client("patient/*.cruds user/*.cruds");
        let mut expected: Vec<String> = Vec::new();
        for text in asked.iter().filter(|text| checkable(&Scope::parse(text))) {
            if !expected.contains(text) {
                expected.push(text.clone());
            }
        }
        prop_assert_eq!(negotiate(&asked.join(" "), &all).unwrap_or_default(), expected);
    }

    #[test]
    fn being_registered_for_more_or_asking_for_more_never_takes_anything_away(
        asked in proptest::collection::vec(scope_text(), 1..5),
        registered in proptest::collection::vec(scope_text(), 1..5),
        more in scope_text(),
    ) {
        let parse = |texts: &[String]| texts.iter().map(|text| Scope::parse(text)).collect::<Vec<_>>();
        let of = |asked: &[String], registered: &[String]| {
            parse(&negotiate(&asked.join(" "), &client(&registered.join(" "))).unwrap_or_default())
        };
        let before = of(&asked, &registered);
        let more = std::slice::from_ref(&more);
        for after in [of(&asked, &[&registered, more].concat()), of(&[&asked, more].concat(), &registered)] {
            for scope in &before {
                prop_assert!(scope.is_covered_by(&after), "{scope} is not in {after:?}");
            }
        }
    }
}

fn checkable(scope: &Scope) -> bool {
    matches!(scope, Scope::Resource(resource) if resource.is_checkable())
}

// E29: what strangers send is compared with itself
#[test]
fn more_scopes_than_are_looked_at_are_refused_before_they_are_compared() {
    let registered = client("patient/*.rs");
    let granular = |count: usize| {
        (0..count).map(|code| format!("patient/Observation.cruds?code={code}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(negotiate(&granular(400), &registered).unwrap().len(), 400);
    assert_eq!(negotiate(&granular(401), &registered), Err(NegotiationError::TooMany));
    let long = format!("patient/Observation.rs?code={}", "x".repeat(32 * 1024));
    assert_eq!(negotiate(&long, &registered), Err(NegotiationError::TooMany));
    let system = client("system/*.rs");
    assert_eq!(negotiate_system(&granular(401), &system), Err(NegotiationError::TooMany));
}
