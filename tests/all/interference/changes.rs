//! Changes over the whole surface: bodies, patches, conditions and Bundles, of one's own, of others', of nobody's.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::grammar::{Ask, Dice};

const JSON: &str = "Content-Type: application/fhir+json";
const PATCH: &str = "Content-Type: application/json-patch+json";

const TYPES: &[&str] = &[
    "Observation",
    "Observation",
    "Observation",
    "Observation",
    "Condition",
    "Encounter",
    "MedicationRequest",
    "AllergyIntolerance",
    "Device",
    "Appointment",
    "Patient",
    "RelatedPerson",
    "Practitioner",
    "Group",
    "Provenance",
    "Binary",
    "Subscription",
];
const IDS: &[&str] = &[
    "o1", "v1", "x00", "x01", "x02", "x03", "n1", "n2", "n3", "o2", "v2", "o3", "o4", "mixed", "moved", "y00", "y05",
    "z1", "z2", "never", "O1", "O2", "P1", "P2", "c1", "c2", "e1", "e2", "m1", "m2", "al1", "al2", "dev1", "dev2",
    "a1", "a2",
];
/// Observations of one's own: there from the beginning, or created meanwhile.
const OWN: &[&str] = &["o1", "v1", "x00", "x01", "x02", "x03", "x04", "x05", "n1", "n2", "n3", "n4"];
const SUBJECTS: &[&str] = &[
    "Patient/P1",
    "https://gw.example.org/fhir/Patient/P1",
    "Patient/P2",
    "Patient/P3",
    "patient/P1",
    "Patient?identifier=urn:mrn|2",
    "urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55",
    "#p",
    "http://other.example/fhir/Patient/P1",
    "Group/g1",
];
const REFERENCES: &[&str] = &[
    "Encounter/e1",
    "Encounter/e2",
    "Encounter/never",
    "Observation/o1",
    "Observation/o2",
    "Observation/o3",
    "Observation/z1",
    "Observation/never",
    "Observation/n1",
    "Practitioner/d1",
    "Practitioner/d2",
    "Practitioner/never",
    "Patient/P1",
    "Patient/P2",
    "Group/g1",
    "Observation?code=1234-5",
    "https://gw.example.org/fhir/Observation/y05",
    "Condition/c2/_history/1",
    "urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55",
];
const TAGS: &[&str] = &["W/\"1\"", "W/\"1\"", "\"1\"", "W/\"2\"", "W/\"3\"", "*", "W/\"1\", W/\"2\"", "x"];
const OPERATIONS: &[&str] = &[
    r#"{"op":"replace","path":"/status","value":"final"}"#,
    r#"{"op":"replace","path":"/status","value":"registered"}"#,
    r#"{"op":"replace","path":"/status","value":"amended"}"#,
    r#"{"op":"add","path":"/note","value":[{"text":"n"}]}"#,
    r#"{"op":"test","path":"/status","value":"final"}"#,
    r#"{"op":"test","path":"/language","value":"CANARY-Observation-o2"}"#,
    r#"{"op":"replace","path":"/subject/reference","value":"Patient/P2"}"#,
    r#"{"op":"remove","path":"/performer/0"}"#,
    r#"{"op":"add","path":"/encounter","value":{"reference":"Encounter/e2"}}"#,
    r#"{"op":"add","path":"/encounter","value":{"reference":"Encounter/never"}}"#,
    r#"{"op":"add","path":"/encounter","value":{"reference":"Encounter/e1"}}"#,
    r#"{"op":"copy","from":"/subject","path":"/focus"}"#,
    r#"{"op":"move","from":"/subject","path":"/performer"}"#,
    r#"{"op":"add","path":"/meta/tag","value":[{"code":"x"}]}"#,
    r#"{"op":"replace","path":"/id","value":"o2"}"#,
];

/// One change: method, target below the base, and body.
struct Change {
    method: &'static str,
    target: String,
    body: String,
    condition: Option<(&'static str, String)>,
}

/// A request that may change something.
pub(super) fn any(dice: &mut Dice) -> Ask {
    if dice.one_in(6) {
        return bundle(dice);
    }
    let change = change(dice);
    let mut headers = Vec::new();
    if change.method != "DELETE" {
        headers.push(if change.method == "PATCH" { PATCH } else { JSON }.to_owned());
    }
    headers.extend(change.condition.map(|(name, value)| format!("{name}: {value}")));
    if dice.one_in(6) {
        headers.push(format!("Prefer: return={}", dice.of(&["minimal", "representation"])));
    }
    Ask::change(change.method, format!("/fhir/{}", change.target), headers, change.body)
}

fn change(dice: &mut Dice) -> Change {
    let of = if dice.one_in(6) { dice.of(TYPES) } else { "Observation" };
    let id = if dice.one_in(2) { dice.of(OWN) } else { dice.of(IDS) };
    let condition = dice.one_in(4).then(|| {
        let name = dice.of(&["If-Match", "If-Match", "If-Match", "If-None-Match", "If-None-Exist"]);
        (name, if name == "If-None-Exist" { "_id=o2".to_owned() } else { dice.of(TAGS).to_owned() })
    });
    let (method, target, body) = match dice.below(10) {
        0..=2 => ("POST", of.to_owned(), resource(dice, of, None)),
        3..=5 => ("PUT", format!("{of}/{id}"), resource(dice, of, Some(id))),
        6 | 7 => ("PATCH", format!("{of}/{id}"), patch(dice)),
        8 => ("DELETE", format!("{of}/{id}"), String::new()),
        _ => {
            let query = dice.of(&["code=1234-5", "_id=o2", "_id=o1", "subject=Patient/P2", ""]);
            match dice.below(3) {
                0 => ("PUT", format!("{of}?{query}"), resource(dice, of, None)),
                1 => ("PATCH", format!("{of}?{query}"), patch(dice)),
                _ => ("DELETE", format!("{of}?{query}"), String::new()),
            }
        }
    };
    Change { method, target, body, condition }
}

fn resource(dice: &mut Dice, of: &str, id: Option<&str>) -> String {
    let mut text = format!(r#"{{"resourceType":"{}""#, if dice.one_in(30) { "Observation" } else { of });
    if let Some(id) = id {
        let id = if dice.one_in(20) { "o2" } else { id };
        write!(text, r#","id":"{id}""#).unwrap();
    }
    text.push_str(r#","status":"final""#);
    let subject = if dice.one_in(3) { dice.of(SUBJECTS) } else { "Patient/P1" };
    match of {
        "AllergyIntolerance" | "Device" | "RelatedPerson" => {
            write!(text, r#","patient":{{"reference":"{subject}"}}"#).unwrap();
        }
        "Appointment" => {
            let other = dice.of(REFERENCES);
            write!(
                text,
                r#","participant":[{{"actor":{{"reference":"{subject}"}}}},{{"actor":{{"reference":"{other}"}}}}]"#
            )
            .unwrap();
        }
        "Patient" => write!(text, r#","link":[{{"other":{{"reference":"{subject}"}},"type":"seealso"}}]"#).unwrap(),
        _ => write!(text, r#","subject":{{"reference":"{subject}"}}"#).unwrap(),
    }
    while dice.one_in(5) {
        let reference = dice.of(REFERENCES);
        let name = dice.of(&["encounter", "derivedFrom", "performer", "focus"]);
        if !text.contains(name) {
            let other = dice.of(REFERENCES);
            write!(text, r#","{name}":[{{"reference":"{reference}"}},{{"reference":"{other}"}}]"#).unwrap();
        }
    }
    if dice.one_in(8) {
        text.push_str(r#","meta":{"tag":[{"code":"x"}]}"#);
    }
    if dice.one_in(8) {
        text.push_str(r#","category":[{"coding":[{"code":"laboratory"}]}]"#);
    }
    text.push('}');
    text
}

fn patch(dice: &mut Dice) -> String {
    let operations: Vec<&str> = (0..=dice.below(2)).map(|_| dice.of(OPERATIONS)).collect();
    format!("[{}]", operations.join(","))
}

fn bundle(dice: &mut Dice) -> Ask {
    let kind = dice.of(&["batch", "transaction", "transaction"]);
    let mut entries = Vec::new();
    for number in 0..=dice.below(3) {
        if dice.one_in(4) {
            let url =
                dice.of(&["Observation/o2", "Observation/o1", "Observation/never", "Observation?code=1234-5&_count=2"]);
            entries.push(format!(r#"{{"request":{{"method":"GET","url":"{url}"}}}}"#));
            continue;
        }
        let Change { method, target, body, condition } = change(dice);
        let mut entry = String::new();
        if method == "POST" && dice.one_in(2) {
            write!(entry, r#""fullUrl":"urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a5{}","#, 5 + number).unwrap();
        }
        if method == "PATCH" {
            let data = base64_of(&body);
            write!(
                entry,
                r#""resource":{{"resourceType":"Binary","contentType":"application/json-patch+json","data":"{data}"}},"#
            )
            .unwrap();
        } else if !body.is_empty() {
            write!(entry, r#""resource":{body},"#).unwrap();
        }
        write!(entry, r#""request":{{"method":"{method}","url":"{target}""#).unwrap();
        if let Some((name, value)) = condition {
            let name = match name {
                "If-Match" => "ifMatch",
                "If-None-Match" => "ifNoneMatch",
                _ => "ifNoneExist",
            };
            write!(entry, r#","{name}":{}"#, serde_json::Value::from(value)).unwrap();
        }
        entries.push(format!("{{{entry}}}}}"));
    }
    let body = format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{}]}}"#, entries.join(","));
    Ask::change("POST", "/fhir".to_owned(), vec![JSON.to_owned()], body)
}

/// Base64, as a Binary has its data.
fn base64_of(text: &str) -> String {
    STANDARD.encode(text)
}
