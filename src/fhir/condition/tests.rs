#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use bytes::Bytes;
use url::Url;

use super::*;
use crate::json::{Json, Limits};

const LABORATORY: &str = r#"{"resourceType":"Observation","status":"final","category":[
    {"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory"}]},
    {"coding":[{"code":"local"}],"text":"vital-signs"}],
    "subject":{"reference":"http://up.internal/fhir/Patient/P1/_history/3"},
    "meta":{"tag":[{"system":"http://x","code":"a"}],"profile":["http://example.org/p"]}}"#;

fn holds(resource: &'static str, name: &str, value: &str) -> bool {
    let url = |text| Url::parse(text).unwrap();
    let bases = Bases::new(&url("https://gw.example/fhir"), &url("http://up.internal/fhir"), &[]);
    let json = Json::parse(Bytes::from_static(resource.as_bytes()), Limits::default()).unwrap();
    Condition::parse(ResourceType::OBSERVATION, name, value).unwrap().holds(json.root(), &bases)
}

#[test]
fn a_condition_holds_when_the_resource_says_so_to_the_letter() {
    for (name, value) in [
        ("category", "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"),
        ("category", "laboratory"),
        ("category", "vital-signs,laboratory"),
        ("category", "http://terminology.hl7.org/CodeSystem/observation-category|"),
        ("category", "|local"),
        ("status", "final"),
        ("_tag", "http://x|a"),
        ("subject", "Patient/P1"),
        ("patient", "Patient/P1"),
        ("_profile", "http://example.org/p"),
    ] {
        assert!(holds(LABORATORY, name, value), "{name}={value}");
    }
    for (name, value) in [
        ("category", "Laboratory"),
        ("category", "http://terminology.hl7.org/CodeSystem/observation-category|local"),
        ("category", "|laboratory"),
        ("category", "vital-signs"),
        ("category", "lab"),
        ("status", "http://hl7.org/fhir/observation-status|final"),
        ("_tag", "http://y|a"),
        ("subject", "Patient/p1"),
        ("subject", "Group/P1"),
    ] {
        assert!(!holds(LABORATORY, name, value), "{name}={value}");
    }
    assert!(!holds(r#"{"resourceType":"Observation"}"#, "category", "laboratory"), "nothing says so");
    assert!(!holds(
        r#"{"resourceType":"Observation","category":"laboratory","subject":"Patient/P1"}"#,
        "subject",
        "Patient/P1"
    ));
}

// P7, B1 12
#[test]
fn what_one_resource_cannot_tell_is_no_condition() {
    for (name, value) in [
        ("category:in", "http://example.org/ValueSet/x"),
        ("category:not", "laboratory"),
        ("subject.name", "peter"),
        ("_has:Group:member:_id", "1"),
        ("_filter", "x"),
        ("_count", "1"),
        ("date", "2026"),
        ("value-quantity", "5"),
        ("value-string", "x"),
        ("code-value-concept", "a$b"),
        ("no-such-parameter", "1"),
        ("category", ""),
        ("category", "|"),
        ("category", "a,,b"),
        ("category", "a|b|c"),
        ("subject", "P1"),
        ("subject", "Patient/P1/_history/2"),
        ("subject", "http://other/Patient/P1"),
    ] {
        assert_eq!(Condition::parse(ResourceType::OBSERVATION, name, value), None, "{name}={value}");
    }
    assert_eq!(Condition::parse(ResourceType::PATIENT, "category", "laboratory"), None, "a patient has no category");
}

#[test]
fn conditions_on_one_parameter_join_and_print_as_a_search_has_them() {
    let parse = |name, value| Condition::parse(ResourceType::OBSERVATION, name, value).unwrap();
    let joined = parse("category", "http://x|a").or(&parse("category", "b$c,http://x|a")).unwrap();
    assert_eq!(joined.value(), "http://x|a,b\\$c");
    assert_eq!(joined.to_string(), "category=http://x|a,b\\$c");
    assert_eq!(parse("category", "a").or(&parse("code", "a")), None);
}

#[test]
fn a_reference_is_of_the_type_that_the_parameter_refers_to() {
    let of_a_group = r#"{"resourceType":"Observation","subject":{"reference":"Group/G1"}}"#;
    assert!(holds(of_a_group, "subject", "Group/G1"));
    assert!(!holds(of_a_group, "patient", "Group/G1"), "who is no patient");
}
