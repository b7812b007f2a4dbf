#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use super::*;
use crate::json::{Json, Limits};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap()
}

fn bases() -> Bases {
    let url = |text: &str| text.parse().unwrap();
    Bases::new(&url("https://gw.example/fhir"), &url("http://up:8080/fhir"), &[url("https://alias.example/r4")])
}

fn member(text: &str, patient: &str) -> bool {
    Facts::of(json(text).root()).unwrap().member(Id::parse(patient).unwrap(), &bases())
}

fn observation(subject: &str) -> String {
    format!(r#"{{"resourceType":"Observation","id":"o1","subject":{subject}}}"#)
}

#[test]
fn facts_are_found_wherever_they_stand() {
    let json = json(
        r#"{"meta":{"lastUpdated":"2026-03-04T05:06:07.890Z","versionId":"7",
            "security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"},{}],
            "tag":[{"code":"t"}]},"contained":[{"resourceType":"Patient","id":"p9"}],"id":"o1","resourceType":"Observation"}"#,
    );
    let facts = Facts::of(json.root()).unwrap();
    assert_eq!(facts.resource_type(), ResourceType::parse("Observation").unwrap());
    assert_eq!(facts.id().unwrap().as_str(), "o1");
    assert_eq!(facts.version_id().unwrap().as_str(), "7");
    assert_eq!(facts.last_updated().unwrap(), "2026-03-04T05:06:07.890Z");
    assert_eq!(facts.security().map(|label| label.code).collect::<Vec<_>>(), [Some("R".into()), None]);
    assert_eq!(facts.tags().map(|tag| tag.system).collect::<Vec<_>>(), [None]);
}

#[test]
fn what_is_no_resource_has_no_facts() {
    for text in [
        "[]",
        "null",
        "\"Patient\"",
        "{}",
        r#"{"id":"p1"}"#,
        r#"{"resourceType":"patient"}"#,
        r#"{"resourceType":["Patient"]}"#,
        r#"{"resourceType":"Patient","id":1}"#,
        r#"{"resourceType":"Patient","id":"a/b"}"#,
        r#"{"resourceType":"Patient","id":""}"#,
        r#"{"resourceType":"Patient","id":".."}"#,
        r#"{"resourceType":"Patient","id":null}"#,
    ] {
        assert!(Facts::of(json(text).root()).is_err(), "{text}");
    }
}

#[test]
fn versions_and_known_bases_are_normalised() {
    for reference in [
        "Patient/P1",
        "Patient/P1/_history/2",
        "http://up:8080/fhir/Patient/P1",
        "https://gw.example/fhir/Patient/P1",
        "https://alias.example/r4/Patient/P1/_history/3",
    ] {
        assert!(member(&observation(&format!(r#"{{"reference":"{reference}"}}"#)), "P1"), "{reference}");
    }
    assert!(member(&observation(r#"{"refer\u0065nce":"\u0050atient\/P1"}"#), "P1"));
}

/// Cases 118 and 121 of the attack list, and their neighbours.
#[test]
fn only_a_local_reference_to_the_patient_makes_a_member() {
    for subject in [
        r##"{"reference":"#p"}"##,
        r#"{"reference":"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}"#,
        r#"{"reference":"patient/P1"}"#,
        r#"{"reference":" Patient/P1"}"#,
        r#"{"reference":"Patient/P1 "}"#,
        r#"{"reference":"Patient/p1"}"#,
        r#"{"reference":"Patient/P1/"}"#,
        r#"{"reference":"/Patient/P1"}"#,
        r#"{"reference":"Patient/P11"}"#,
        r#"{"reference":"Patient/P1/_history"}"#,
        r#"{"reference":"Patient?identifier=P1"}"#,
        r#"{"reference":"Group/P1","type":"Patient"}"#,
        r#"{"reference":"http://other/fhir/Patient/P1"}"#,
        r#"{"reference":"http://up:8080/fhirX/Patient/P1"}"#,
        r#"{"reference":"http://up:8080/fhir/../fhir/Patient/P1"}"#,
        r#"{"reference":["Patient/P1"]}"#,
        r#"{"reference":{"reference":"Patient/P1"}}"#,
        r#"{"reference":null}"#,
        r#"{"_reference":{"extension":[{"url":"x","valueString":"Patient/P1"}]}}"#,
        r#"{"identifier":{"system":"mrn","value":"P1"},"type":"Patient"}"#,
        r#"{"type":"Patient","display":"Patient/P1"}"#,
        r#""Patient/P1""#,
        "null",
        r#"[[{"reference":"Patient/P1"}]]"#,
        r#"{"extension":[{"valueReference":{"reference":"Patient/P1"}}]}"#,
    ] {
        assert!(!member(&observation(subject), "P1"), "{subject}");
    }
}

#[test]
fn any_parameter_of_the_compartment_confers_membership_and_nothing_else_does() {
    let with = |member_text: &str| {
        format!(r#"{{"resourceType":"Observation","id":"o1","subject":{{"reference":"Patient/P2"}},{member_text}}}"#)
    };
    assert!(member(&with(r#""performer":[{"reference":"Practitioner/d"},{"reference":"Patient/P1"}]"#), "P1"));
    assert!(!member(&with(r#""focus":[{"reference":"Patient/P1"}]"#), "P1"));
    assert!(!member(
        &with(r#""contained":[{"resourceType":"Observation","subject":{"reference":"Patient/P1"}}]"#),
        "P1"
    ));
    assert!(!member(&with(r#""extension":[{"subject":{"reference":"Patient/P1"}}]"#), "P1"));
    assert!(!member(r#"{"resourceType":"Observation","id":"P1"}"#, "P1"));
}

#[test]
fn arrays_on_a_path_are_walked() {
    let appointment = r#"{"resourceType":"Appointment","id":"a","participant":[{"actor":{"reference":"Practitioner/d"}},
        {"status":"accepted"},{"actor":{"reference":"Patient/P1"}}]}"#;
    assert!(member(appointment, "P1"));
    assert!(!member(appointment, "d"));
}

/// Case 122: the container decides.
#[test]
fn a_contained_or_focussed_other_patient_does_not_matter() {
    let text = r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P1"},"focus":[{"reference":"Patient/P2"}],
        "contained":[{"resourceType":"Patient","id":"P2"}]}"#;
    assert!(member(text, "P1"));
    assert!(!member(text, "P2"));
}

/// Case 100: R4 lists only `link` for Patient, which would admit the linked ones.
#[test]
fn a_patient_is_a_member_by_its_id_and_never_by_a_link() {
    let text = r#"{"resourceType":"Patient","id":"P1","link":[{"other":{"reference":"Patient/P2"},"type":"seealso"}]}"#;
    assert!(member(text, "P1"));
    assert!(!member(text, "P2"));
    assert!(!member(r#"{"resourceType":"Patient","link":[{"other":{"reference":"Patient/P1"}}]}"#, "P1"));
}

#[test]
fn a_device_is_a_member_by_the_extension_table() {
    assert!(member(r#"{"resourceType":"Device","id":"d","patient":{"reference":"Patient/P1"}}"#, "P1"));
    assert!(!member(r#"{"resourceType":"Device","id":"d","owner":{"reference":"Patient/P1"}}"#, "P1"));
}

#[test]
fn types_without_a_compartment_have_no_members() {
    for name in
        ["Practitioner", "Organization", "Task", "Binary", "Bundle", "Parameters", "OperationOutcome", "Medication"]
    {
        let text = format!(
            r#"{{"resourceType":"{name}","id":"P1","subject":{{"reference":"Patient/P1"}},"for":{{"reference":"Patient/P1"}}}}"#
        );
        assert!(!member(&text, "P1"), "{name}");
    }
}

/// Case 82.
#[test]
fn a_provenance_is_a_member_when_every_target_is_the_patient() {
    let provenance = |targets: &str| format!(r#"{{"resourceType":"Provenance","id":"v","target":{targets}}}"#);
    assert!(member(&provenance(r#"[{"reference":"Patient/P1"}]"#), "P1"));
    assert!(member(&provenance(r#"[{"reference":"Patient/P1"},{"reference":"Patient/P1/_history/1"}]"#), "P1"));
    assert!(!member(&provenance(r#"[{"reference":"Patient/P1"},{"reference":"Observation/o2"}]"#), "P1"));
    assert!(!member(&provenance(r#"[{"reference":"Patient/P1"},{"identifier":{"value":"x"}}]"#), "P1"));
    assert!(!member(&provenance(r#"[{"reference":"Patient/P1"},null]"#), "P1"));
    assert!(!member(&provenance(r#"[{"reference":"Patient/P1"},[]]"#), "P1"));
    assert!(!member(&provenance("[]"), "P1"));
    assert!(!member(r#"{"resourceType":"Provenance","id":"v"}"#, "P1"));
}

#[test]
fn the_patients_of_a_resource_are_those_it_is_a_member_for() {
    let patients = |text: &str| {
        let json = json(text);
        let patients = Facts::of(json.root()).unwrap().patients(&bases());
        patients.iter().map(|patient| patient.as_str().to_owned()).collect::<Vec<_>>()
    };
    let shared = r#"{"resourceType":"Appointment","participant":[{"actor":{"reference":"Patient/P1"}},{"actor":{"reference":"Patient/P2"}},
        {"actor":{"reference":"Patient/P1"}},{"actor":{"reference":"Location/P3"}}]}"#;
    assert_eq!(patients(shared), ["P1", "P2"]);
    assert_eq!(
        patients(r#"{"resourceType":"Patient","id":"P1","link":[{"other":{"reference":"Patient/P2"}}]}"#),
        ["P1"]
    );
    assert_eq!(
        patients(r#"{"resourceType":"Provenance","target":[{"reference":"Patient/P1"},{"reference":"Patient/P2"}]}"#),
        [""; 0]
    );
    assert_eq!(patients(r#"{"resourceType":"Provenance","target":[{"reference":"Patient/P1"}]}"#), ["P1"]);
    assert_eq!(patients(r#"{"resourceType":"Practitioner","id":"P1"}"#), [""; 0]);
}
