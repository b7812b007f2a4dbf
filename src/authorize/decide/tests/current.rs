//! What is there, before it is changed.

use serde_json::{Value, json};

use super::bodies::{change, outcome, told};
use super::*;

#[test]
fn whom_a_patient_is_linked_to_stays_however_it_is_written() {
    let token = Token::launched("patient/Patient.cruds");
    let linked = |other: &str| {
        json!({"resourceType": "Patient", "id": "P1", "meta": {"versionId": "1"},
            "link": [{"other": {"reference": other}, "type": "seealso"}]})
    };
    let bare = json!({"resourceType": "Patient", "id": "P1", "meta": {"versionId": "1"}});
    let put = |before: &Value, after: &Value| {
        outcome(&told(change(&token, "PUT Patient/P1", after), &[Some(before.clone())]))
    };
    let ways = ["Patient/P2", "https://gw.example/fhir/Patient/P2", "http://up.internal/fhir/Patient/P2"];
    for before in ways {
        for after in ways {
            assert_eq!(put(&linked(before), &linked(after)), "permit", "{before} {after}");
        }
        assert_eq!(put(&linked(before), &linked("Patient/P3")), "body_outside_grant", "{before}");
        assert_eq!(put(&linked(before), &bare), "body_outside_grant", "{before}");
        assert_eq!(put(&bare, &linked(before)), "body_outside_grant", "{before}");
    }
}

#[test]
fn the_record_names_whose_data_it_was_and_whose_it_is() {
    let of = |patient: &str| {
        json!({"resourceType": "Observation", "id": "o1", "meta": {"versionId": "1"}, "status": "final",
            "category": [{"coding": [{"code": "a"}]}], "subject": {"reference": format!("Patient/{patient}")}})
    };
    let patients = |decision: Decision| match decision {
        Decision::Permit(permit) => permit.obligations.changed.unwrap().patients,
        other => panic!("{other:?}"),
    };
    let some = Token::clinician("user/Observation.cruds?category=a user/Patient.r");
    let put = patients(told(change(&some, "PUT Observation/o1", &of("P2")), &[Some(of("P1"))]));
    assert_eq!(put, ["P1", "P2"]);
    let operations = json!([{"op": "replace", "path": "/subject/reference", "value": "Patient/P2"}]);
    let patched = patients(told(change(&some, "PATCH Observation/o1", &operations), &[Some(of("P1"))]));
    assert_eq!(patched, ["P1", "P2"]);
    let deleted = patients(told(change(&some, "DELETE Observation/o1", &Value::Null), &[Some(of("P1"))]));
    assert_eq!(deleted, ["P1"]);
}

#[test]
fn a_binary_is_vouched_for_by_the_patient_of_the_scope_that_the_update_is_made_by() {
    let token = Token::launched("user/DocumentReference.cruds?_tag=x user/Patient.r patient/DocumentReference.cruds");
    let document = |patient: &str, content: Value| {
        json!({"resourceType": "DocumentReference", "id": "d1", "status": "current",
            "meta": {"versionId": "1", "tag": [{"code": "x"}]},
            "subject": {"reference": format!("Patient/{patient}")}, "content": content})
    };
    let after = document("P1", json!([{"attachment": {"url": "Binary/b1"}}]));
    let binary = json!({"resourceType": "Binary", "id": "b1", "contentType": "text/plain",
        "securityContext": {"reference": "Patient/P1"}});
    let put = |before: &str| {
        let current = Some(document(before, json!([{"attachment": {"url": "file.pdf"}}])));
        let decision = told(change(&token, "PUT DocumentReference/d1", &after), &[current]);
        assert_eq!(outcome(&decision), "reads Binary/b1", "{before}");
        outcome(&told(decision, &[Some(binary.clone())]))
    };
    // What was not the patient's comes to be by the other scope, which knows no patient.
    assert_eq!(put("P2"), "reference_not_permitted");
}

#[test]
fn a_binary_that_is_there_is_changed_by_who_reads_everything() {
    let binary = json!({"resourceType": "Binary", "id": "b1", "contentType": "text/plain"});
    let operations = json!([{"op": "replace", "path": "/contentType", "value": "text/html"}]);
    let some = Token::clinician("user/Binary.cruds user/Observation.cruds user/Patient.rs");
    let all = Token::clinician("user/*.cruds");
    for (line, body) in
        [("PUT Binary/b1", &binary), ("PATCH Binary/b1", &operations), ("DELETE Binary/b1", &Value::Null)]
    {
        assert_eq!(outcome(&change(&some, line, body)), "type_not_served", "{line}");
        assert_ne!(outcome(&change(&all, line, body)), "type_not_served", "{line}");
    }
    let new = json!({"resourceType": "Binary", "contentType": "text/plain"});
    assert_eq!(outcome(&change(&some, "POST Binary", &new)), "permit");
}
