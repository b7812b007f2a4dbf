//! What is left out of the answers to operations, and what is not believed: the permit is a real one, the answer made up.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use std::borrow::Cow;

use serde_json::{Value, json};

use super::*;
use crate::authenticate::Authenticated;
use crate::authorize::{Authorizer, Decision, Evidence, Permit};
use crate::canonicalise::FhirRequest;
use crate::fhir::operation::{Kind, Level, Listed, Operation, Returns};
use crate::fhir::resource_type::ResourceType;
use crate::filter::given::{GATEWAY, NoPages, UPSTREAM, bases, filter, principal};
use crate::forward::Unfiltered;
use crate::listen::Inbound;

/// An operation on Observation, as a site lists it.
fn listed(name: &str, returns: Returns) -> Operation {
    Operation {
        name: Cow::Owned(name.to_owned()),
        definition: Cow::Borrowed("http://example.org/OperationDefinition/x"),
        levels: Cow::Borrowed(&[Level::Type]),
        resource_types: Cow::Borrowed(&[ResourceType::OBSERVATION]),
        affects_state: false,
        parameters: Vec::new(),
        kind: Kind::Listed(Listed { needs: Vec::new(), returns }),
    }
}

fn permit(scope: &str, target: &str) -> Permit {
    let of: Cow<'static, [ResourceType]> = Cow::Borrowed(&[ResourceType::OBSERVATION]);
    let operations = vec![
        listed("one", Returns::Resource(of.clone())),
        listed("found", Returns::Searchset(of.clone())),
        listed("values", Returns::Parameters(of)),
        listed("wrong", Returns::OperationOutcome),
        listed("conditions", Returns::Searchset(Cow::Borrowed(&[ResourceType::CONDITION]))),
    ];
    let authorizer = Authorizer::new(None, bases(), 50, operations).unwrap();
    let request = FhirRequest::parse(Inbound::for_test("GET", &format!("/fhir/{target}")), "/fhir").unwrap();
    match authorizer.decide(Authenticated::for_test(request, principal(scope)), &NoPages) {
        Decision::Permit(permit) => permit,
        // The Composition of a document, which is the patient's.
        Decision::Inquire(inquiry) => {
            let there = Evidence::of(composition("c1", "P1").to_string().into(), None);
            match authorizer.resume(inquiry, &[there]) {
                Decision::Permit(permit) => permit,
                other => panic!("{target}: {other:?}"),
            }
        }
        other => panic!("{target}: {other:?}"),
    }
}

fn release(permit: Permit, answer: Answered) -> Result<Value, Refusal> {
    let released = filter().release(Unfiltered::for_test(permit, answer, None))?;
    Ok(serde_json::from_slice(released.body()).unwrap_or(Value::Null))
}

fn resource(value: &Value) -> Answered {
    Answered::Resource { body: value.to_string().into(), etag: None, last_modified: None }
}

fn launched(target: &str, answer: &Value) -> Result<Value, Refusal> {
    release(permit("patient/*.rs", target), resource(answer))
}

fn wholly(target: &str, answer: &Value) -> Result<Value, Refusal> {
    release(permit("user/*.cruds", target), resource(answer))
}

fn status(released: &Result<Value, Refusal>) -> u16 {
    released.as_ref().map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
}

fn composition(id: &str, patient: &str) -> Value {
    json!({"resourceType": "Composition", "id": id, "subject": {"reference": format!("Patient/{patient}")}})
}

fn observation(id: &str, patient: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "subject": {"reference": format!("Patient/{patient}")},
        "performer": [{"reference": format!("Practitioner/of-{patient}")}]})
}

fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    entries.iter().map(|entry| entry.pointer("/resource/id").and_then(Value::as_str).unwrap().to_owned()).collect()
}

fn searchset(resources: &[Value]) -> Value {
    let entries: Vec<Value> =
        resources.iter().map(|one| json!({"resource": one, "search": {"mode": "match"}})).collect();
    json!({"resourceType": "Bundle", "type": "searchset", "total": resources.len(), "entry": entries})
}

#[test]
fn a_record_is_left_without_what_is_not_the_patients_and_what_came_along_with_that() {
    let practitioner = |id: &str| json!({"resourceType": "Practitioner", "id": id});
    let bundle = searchset(&[
        json!({"resourceType": "Patient", "id": "P1"}),
        observation("o1", "P1"),
        observation("o2", "P2"),
        json!({"resourceType": "Patient", "id": "P2"}),
        practitioner("of-P1"),
        practitioner("of-P2"),
        practitioner("of-nobody"),
        json!({"resourceType": "Binary", "id": "b"}),
        json!({"resourceType": "Group", "id": "g", "member": [{"entity": {"reference": "Patient/P1"}}]}),
    ]);
    let released = launched("Patient/P1/$everything", &bundle).unwrap();
    assert_eq!(ids(&released), ["P1", "o1", "of-P1"]);
    assert_eq!(released.get("total"), None);
    let of_one_type = launched("Patient/P1/$everything?_type=Observation", &bundle).unwrap();
    assert_eq!(ids(&of_one_type), ["o1"], "what was not asked for comes neither");
}

#[test]
fn a_record_that_is_none_is_not_believed() {
    for answer in [
        json!({"resourceType": "Bundle", "type": "collection", "entry": []}),
        json!({"resourceType": "Patient", "id": "P1"}),
        json!([]),
    ] {
        assert_eq!(status(&launched("Patient/P1/$everything", &answer)), 502, "{answer}");
    }
    let told = json!({"resourceType": "Bundle", "type": "searchset", "entry": [
        {"resource": {"resourceType": "OperationOutcome", "id": "P2", "issue": [{"severity": "error", "code": "invalid",
            "diagnostics": "P2"}]}, "search": {"mode": "outcome"}}]});
    let released = launched("Patient/P1/$everything", &told).unwrap();
    assert!(!released.to_string().contains("P2"), "{released}");
}

#[test]
fn a_document_is_given_whole_or_not_at_all() {
    let document = |resources: &[Value]| {
        let entries: Vec<Value> = resources
            .iter()
            .map(|one| json!({"fullUrl": format!("{UPSTREAM}/x/1"), "resource": one, "request": {"url": "x"}}))
            .collect();
        json!({"resourceType": "Bundle", "type": "document", "id": "d", "signature": {}, "link": [], "entry": entries})
    };
    let target = "Composition/c1/$document";
    let released = launched(target, &document(&[composition("c1", "P1"), observation("o1", "P1")])).unwrap();
    assert_eq!(ids(&released), ["c1", "o1"]);
    assert_eq!((released.get("signature"), released.get("link")), (None, None));
    let entry = released.pointer("/entry/0").unwrap();
    assert_eq!(entry.get("request"), None);
    assert_eq!(entry.get("fullUrl"), Some(&json!(format!("{GATEWAY}/x/1"))));
    for (answer, expected) in [
        (document(&[composition("c1", "P1"), observation("o2", "P2")]), 403),
        (document(&[composition("c1", "P2"), observation("o1", "P1")]), 404),
        (document(&[composition("c2", "P1")]), 502),
        (document(&[observation("o1", "P1"), composition("c1", "P1")]), 502),
        (document(&[]), 502),
        (json!({"resourceType": "Bundle", "type": "document", "entry": [{"fullUrl": "x"}]}), 502),
        (searchset(&[composition("c1", "P1")]), 502),
        (composition("c1", "P1"), 502),
    ] {
        assert_eq!(status(&launched(target, &answer)), expected, "{answer}");
    }
}

#[test]
fn what_an_operation_does_not_return_withholds_the_answer() {
    let own = observation("o1", "P1");
    let patient = json!({"resourceType": "Patient", "id": "P1"});
    let parameters = |parts: Value| json!({"resourceType": "Parameters", "parameter": parts});
    for (name, answer, expected) in [
        ("one", own.clone(), 200),
        ("one", patient.clone(), 502),
        ("one", searchset(std::slice::from_ref(&own)), 502),
        ("one", json!({"id": "o1"}), 502),
        ("found", searchset(std::slice::from_ref(&own)), 200),
        ("found", own.clone(), 502),
        ("values", parameters(json!([{"name": "return", "resource": own}])), 200),
        (
            "values",
            parameters(
                json!([{"name": "a", "part": [{"name": "b", "resource": own}, {"name": "c", "valueString": "x"}]}]),
            ),
            200,
        ),
        ("values", json!({"resourceType": "Parameters"}), 200),
        ("values", parameters(json!([{"name": "return", "resource": patient}])), 502),
        ("values", parameters(json!([{"name": "a", "part": [{"name": "b", "resource": patient}]}])), 502),
        ("values", parameters(json!([{"name": "a", "valueReference": patient}])), 502),
        ("values", parameters(json!([{"name": "a", "extension": [{"url": "x", "valueX": {"y": [patient]}}]}])), 502),
        ("values", parameters(json!([{"name": "a", "contained": []}])), 502),
        ("values", parameters(json!([{"valueString": "x"}])), 502),
        ("values", parameters(json!({"name": "a"})), 502),
        ("values", json!({"resourceType": "Parameters", "contained": [patient]}), 502),
        ("values", own.clone(), 502),
        ("wrong", json!({"resourceType": "OperationOutcome", "issue": []}), 200),
        ("wrong", own.clone(), 502),
        ("wrong", parameters(json!([])), 502),
    ] {
        let released = wholly(&format!("Observation/${name}"), &answer);
        assert_eq!(status(&released), expected, "{name}: {answer}: {released:?}");
    }
    let mixed = wholly("Observation/$found", &searchset(&[own, patient])).unwrap();
    assert_eq!((ids(&mixed), mixed.get("total")), (vec!["o1".to_owned()], None), "{mixed}");
    assert_eq!(mixed.pointer("/link/0/url"), Some(&json!(format!("{GATEWAY}/Observation/$found"))));
}

#[test]
fn labels_hold_values_and_no_resource() {
    let meta =
        json!({"resourceType": "Parameters", "parameter": [{"name": "return", "valueMeta": {"versionId": "1"}}]});
    assert_eq!(wholly("Observation/o1/$meta", &meta).unwrap(), meta);
    let with =
        json!({"resourceType": "Parameters", "parameter": [{"name": "return", "resource": observation("o1", "P1")}]});
    assert_eq!(status(&wholly("Observation/o1/$meta", &with)), 502);
}

#[test]
fn what_is_found_wrong_is_told_in_words_to_who_reads_everything() {
    let outcome = json!({"resourceType": "OperationOutcome", "text": {"div": "P2"}, "issue": [
        {"severity": "error", "code": "invariant", "diagnostics": "as in Condition/c2",
            "expression": ["Observation.code", "Patient/P2"], "extension": [{"url": "x", "valueString": "P2"}]},
        {"severity": "odd", "code": "odd", "details": {"text": "see http://up.internal/fhir/Patient/P2"}, "location": ["P2"]}]});
    let without = json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": "invariant", "expression": ["Observation.code"]},
        {"severity": "error", "code": "processing"}]});
    let target = "Observation/o1/$validate";
    let in_words = wholly(target, &outcome).unwrap();
    assert_eq!(in_words.pointer("/issue/0/diagnostics"), Some(&json!("as in Condition/c2")));
    assert!(!in_words.to_string().contains("P2"), "{in_words}");
    for scope in ["user/Observation.rs", "user/Observation.cruds user/Condition.cruds"] {
        let of_some_types = permit(scope, target);
        assert_eq!(release(of_some_types, resource(&outcome)).unwrap(), without, "{scope}");
    }
    // It comes with the status of an error, too.
    for declined in [
        Answered::Refused { body: outcome.to_string().into() },
        Answered::Declined { status: StatusCode::UNPROCESSABLE_ENTITY, body: outcome.to_string().into() },
    ] {
        let of_one_type = permit("user/Observation.rs", target);
        assert_eq!(release(of_one_type, declined).unwrap(), without);
    }
}

#[test]
fn what_is_no_answer_is_told_as_such() {
    let refused = || Answered::Refused {
        body:
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid","diagnostics":"P2"}]}"#
                .into(),
    };
    for (target, answer, expected) in [
        ("Observation/$one", Answered::Absent, 501),
        ("Observation/o1/$meta", Answered::Absent, 404),
        ("Observation/$one", refused(), 400),
        ("Observation/$one", Answered::Nothing, 204),
        ("Observation/$wrong", Answered::Nothing, 204),
        ("Observation/$one", Answered::Each(Vec::new()), 502),
        ("Observation/$one", Answered::PerType(Vec::new()), 502),
        ("Observation/o1/$validate", Answered::Refused { body: "no json".into() }, 502),
    ] {
        let said = format!("{answer:?}");
        let released = release(permit("user/*.cruds", target), answer);
        let status = if matches!(released, Ok(Value::Null)) { 204 } else { status(&released) };
        assert_eq!(status, expected, "{target} {said}: {released:?}");
        let told = released.as_ref().err().map(|refusal| format!("{refusal:?}")).unwrap_or_default();
        assert!(!told.contains("P2"), "{told}");
    }
}

#[test]
fn a_document_begins_with_the_composition_that_was_asked_for() {
    let document = |entries: &[Value]| {
        let entries: Vec<Value> = entries.iter().map(|resource| json!({"resource": resource})).collect();
        json!({"resourceType": "Bundle", "type": "document", "entry": entries})
    };
    let observation = json!({"resourceType": "Observation", "id": "c1", "subject": {"reference": "Patient/P1"}});
    let status = |answer: &Value| {
        launched("Composition/c1/$document", answer).map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
    };
    assert_eq!(status(&document(&[composition("c1", "P1"), observation.clone()])), 200);
    for bad in [document(&[observation.clone(), composition("c1", "P1")]), document(&[observation]), document(&[])] {
        assert_eq!(status(&bad), 502, "{bad}");
    }
}

#[test]
fn a_record_of_a_restricted_grant_tells_no_number() {
    let own = json!({"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/P1"}});
    let answer = json!({"resourceType": "Bundle", "type": "searchset", "total": 7, "entry": [{"resource": own}]});
    let released = launched("Patient/P1/$everything", &answer).unwrap();
    assert_eq!(released.pointer("/entry/0/resource"), Some(&own));
    assert_eq!(released.get("total"), None);
    assert_eq!(wholly("Patient/P1/$everything", &answer).unwrap().get("total"), Some(&json!(7)));
}

#[test]
fn a_listed_operation_gives_what_it_is_listed_with_and_nothing_else() {
    let of =
        |name: &str| json!({"resource": {"resourceType": name, "id": "x", "subject": {"reference": "Patient/P1"}}});
    let answer = json!({"resourceType": "Bundle", "type": "searchset", "entry": [of("Observation"), of("Condition"), of("Encounter")]});
    let released = wholly("Observation/$conditions", &answer).unwrap();
    let entries = released.pointer("/entry").unwrap().as_array().unwrap();
    let names: Vec<&Value> = entries.iter().filter_map(|entry| entry.pointer("/resource/resourceType")).collect();
    assert_eq!(names, ["Condition"]);
    for other in ["Observation", "Bundle", "OperationOutcome"] {
        let answer = json!({"resourceType": other, "id": "x", "parameter": [{"name": "x", "valueString": "y"}]});
        let refused = wholly("Observation/$values", &answer).unwrap_err();
        assert_eq!(refused.status().as_u16(), 502, "{other}");
    }
}
