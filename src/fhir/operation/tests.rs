#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use super::*;
use crate::json::{Json, Limits};

fn operation(name: &str) -> &'static Operation {
    known().iter().find(|operation| operation.name == name).unwrap()
}

fn read(name: &str, query: &[(&str, &str)], body: &str) -> Result<Arguments, ArgumentProblem> {
    let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let json = (!body.is_empty()).then(|| Json::parse(body.as_bytes().to_vec(), Limits::default()).unwrap());
    Arguments::read(operation(name), &query, json.as_ref().map(Json::root))
}

#[test]
fn each_operation_is_listed_once_for_a_place_and_has_a_definition() {
    let all = known();
    for (at, one) in all.iter().enumerate() {
        assert!(one.definition.starts_with("http://hl7.org/fhir/"), "{}", one.name);
        assert!(!one.levels.is_empty() && is_taken(&one.name));
        for other in all.iter().skip(at + 1).filter(|other| other.name == one.name) {
            for level in one.levels.iter() {
                for of in ResourceType::all() {
                    assert!(!(one.is_at(*level, Some(of)) && other.is_at(*level, Some(of))), "{} {of}", one.name);
                }
            }
        }
    }
    assert!(is_taken("graphql") && is_taken("export") && !is_taken("apply"));
}

#[test]
fn an_operation_is_where_it_is_defined() {
    let everything = operation("everything");
    assert!(everything.is_at(Level::Instance, Some(ResourceType::PATIENT)));
    assert!(everything.is_at(Level::Type, Some(ResourceType::PATIENT)));
    assert!(!everything.is_at(Level::Instance, Some(ResourceType::OBSERVATION)));
    assert!(!everything.is_at(Level::System, None));
    assert!(operation("meta").is_at(Level::System, None));
}

#[test]
fn what_an_operation_does_not_take_is_refused() {
    for (name, query, body) in [
        ("everything", &[("_typeFilter", "x")][..], ""),
        ("everything", &[("_count", "20"), ("_count", "30")], ""),
        ("everything", &[("_count", "-1")], ""),
        ("everything", &[("start", "yesterday")], ""),
        ("docref", &[], ""),
        ("docref", &[("patient", "Patient/P1")], ""),
        ("docref", &[("patient", "P1"), ("profile", "http://hl7.org/x")], ""),
        ("docref", &[], r#"{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"P1"}]}"#),
        (
            "docref",
            &[],
            r#"{"resourceType":"Parameters","parameter":[{"name":"patient","valueId":"P1","valueString":"P2"}]}"#,
        ),
        (
            "docref",
            &[],
            r#"{"resourceType":"Parameters","parameter":[{"name":"patient","valueId":"P1"},{"name":"patient","valueId":"P2"}]}"#,
        ),
        (
            "docref",
            &[("patient", "P1")],
            r#"{"resourceType":"Parameters","parameter":[{"name":"patient","valueId":"P2"}]}"#,
        ),
        (
            "docref",
            &[],
            r#"{"resourceType":"Parameters","parameter":[{"name":"patient","resource":{"resourceType":"Patient"}}]}"#,
        ),
        ("docref", &[], r#"{"resourceType":"Parameters","parameter":{"name":"patient","valueId":"P1"}}"#),
        ("docref", &[], r#"{"resourceType":"Parameters","parameter":["patient"]}"#),
        ("docref", &[], r#"{"resourceType":"Parameters","more":1,"parameter":[{"name":"patient","valueId":"P1"}]}"#),
        ("docref", &[], r#"{"resourceType":"Patient"}"#),
        ("docref", &[], "[]"),
        ("expand", &[("url", "http://internal/ValueSet/x")], ""),
        (
            "expand",
            &[],
            r#"{"resourceType":"Parameters","parameter":[{"name":"valueSet","resource":{"resourceType":"ValueSet"}}]}"#,
        ),
        ("expand", &[], r#"{"resourceType":"Parameters","parameter":[{"name":"count","valueInteger":"5"}]}"#),
        ("expand", &[], r#"{"resourceType":"Parameters","parameter":[{"name":"activeOnly","valueBoolean":"true"}]}"#),
        ("meta-add", &[], ""),
        ("meta-add", &[("meta", "x")], ""),
        ("meta-add", &[], r#"{"resourceType":"Parameters","parameter":[{"name":"meta","valueMeta":"x"}]}"#),
        ("meta", &[("x", "y")], ""),
    ] {
        assert!(read(name, query, body).is_err(), "{name} {query:?} {body}");
    }
}

#[test]
fn what_is_given_is_written_again_from_its_parts() {
    let body = r#"{"resourceType":"Parameters","id":"x","parameter":[ {"valueCoding": {"system":"http://loinc.org", "code":"1"}, "name":"coding"},
        {"name":"abstract","valueBoolean":true},{"name":"display","valueString":"a \"b\""}]}"#;
    let arguments = read("validate-code", &[("url", "http://hl7.org/fhir/ValueSet/x")], body).unwrap();
    assert_eq!(arguments.to_query(), None);
    assert_eq!(
        String::from_utf8(arguments.to_parameters(|_| None)).unwrap(),
        r#"{"resourceType":"Parameters","parameter":[{"name":"url","valueUri":"http://hl7.org/fhir/ValueSet/x"},{"name":"coding","valueCoding":{"system":"http://loinc.org", "code":"1"}},{"name":"abstract","valueBoolean":true},{"name":"display","valueString":"a \"b\""}]}"#
    );
    let simple = read("expand", &[("url", "http://hl7.org/fhir/ValueSet/x"), ("count", "5")], "").unwrap();
    assert_eq!(simple.to_query().unwrap().len(), 2);
    assert_eq!(
        String::from_utf8(simple.to_parameters(|_| None)).unwrap(),
        r#"{"resourceType":"Parameters","parameter":[{"name":"url","valueUri":"http://hl7.org/fhir/ValueSet/x"},{"name":"count","valueInteger":5}]}"#
    );
    assert_eq!(Arguments::default().to_parameters(|_| None), br#"{"resourceType":"Parameters"}"#);
}

#[test]
fn one_resource_may_be_the_body_itself() {
    let arguments = read("validate", &[("mode", "create")], r#"{"resourceType":"Observation"}"#).unwrap();
    assert!(arguments.complex("resource").is_some() && arguments.text("mode") == Some("create"));
    let inside =
        r#"{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{"resourceType":"Observation"}}]}"#;
    assert!(read("validate", &[], inside).unwrap().complex("resource").is_some());
    let both = read(
        "validate",
        &[],
        r#"{"resourceType":"Parameters","parameter":[{"name":"resource","resource":{}},{"name":"resource","resource":{}}]}"#,
    );
    assert!(both.is_err());
}

#[test]
fn a_coding_is_of_a_published_system_wherever_it_stands() {
    let of = |element: &str, value: &str| {
        let parameter = format!(
            r#"{{"name":"{element}","{}":{value}}}"#,
            match element {
                "coding" => "valueCoding",
                _ => "valueCodeableConcept",
            }
        );
        let body = format!(r#"{{"resourceType":"Parameters","parameter":[{parameter}]}}"#);
        read("validate-code", &[("url", "http://hl7.org/fhir/ValueSet/x")], &body).is_ok()
    };
    let coding = |system: &str| format!(r#"{{"system":{system},"code":"1"}}"#);
    let concept = |system: &str| format!(r#"{{"coding":[{},{}]}}"#, coding("\"http://loinc.org\""), coding(system));
    for (system, published) in [
        ("\"http://loinc.org\"", true),
        ("\"urn:oid:1.2.3\"", true),
        ("\"http://internal/x\"", false),
        ("\"http://loinc.org:8080\"", false),
        ("\"http://10.0.0.1/x\"", false),
        ("[\"http://internal/x\"]", false),
        ("{}", false),
    ] {
        assert_eq!(of("coding", &coding(system)), published, "{system}");
        assert_eq!(of("codeableConcept", &concept(system)), published, "{system}");
    }
}

#[test]
fn more_than_sixty_four_arguments_are_too_many() {
    let body = |count: usize| {
        let one = r#"{"name":"code","valueString":"x"}"#;
        format!(r#"{{"resourceType":"Parameters","parameter":[{}]}}"#, vec![one; count].join(","))
    };
    assert!(read("lastn", &[], &body(64)).is_ok());
    assert!(read("lastn", &[], &body(65)).is_err());
    assert!(read("lastn", &[("code", "x")], &body(64)).is_err(), "query and body are counted together");
}

#[test]
fn search_parameters_are_inputs_of_a_search() {
    let arguments = read("lastn", &[("max", "2"), ("code", "http://loinc.org|1")], "").unwrap();
    assert_eq!(
        (arguments.text("max"), arguments.criteria()),
        (Some("2"), vec![("code".to_owned(), "http://loinc.org|1".to_owned())])
    );
    let body = r#"{"resourceType":"Parameters","parameter":[{"name":"patient","valueString":"P1"},{"name":"max","valueInteger":3}]}"#;
    let arguments = read("lastn", &[], body).unwrap();
    assert_eq!(
        (arguments.text("max"), arguments.criteria()),
        (Some("3"), vec![("patient".to_owned(), "P1".to_owned())])
    );
}
