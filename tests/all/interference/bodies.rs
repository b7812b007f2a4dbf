//! Bodies of changes, bundles and operations: of one patient, of another, of both, and malformed ones.

use serde_json::{Value, json};

use super::grammar::{Ask, Dice};
use super::vocabulary::IDS;

/// References that confer nothing, something, or are none.
const REFERENCES: &[&str] = &[
    "Patient/P1",
    "Patient/P1",
    "Patient/P1",
    "Patient/P2",
    "Patient/P3",
    "https://gw.example.org/fhir/Patient/P1",
    "https://gw.example.org/fhir/Patient/P2",
    "Patient/P1/_history/1",
    "Patient?identifier=urn:mrn|2",
    "urn:uuid:11111111-1111-4111-8111-111111111111",
    "#p",
    "patient/P1",
    " Patient/P1",
    "Encounter/e1",
    "Encounter/e2",
    "Encounter/never",
    "Observation/o1",
    "Observation/o2",
    "Practitioner/d1",
    "Group/g1",
    "http://evil.example/Patient/P1",
];

/// A resource of type `of`, mostly with `id`, about somebody.
pub(super) fn resource(dice: &mut Dice, of: &str, id: &str) -> Value {
    let reference = |dice: &mut Dice| json!({ "reference": dice.of(REFERENCES) });
    let mut value = json!({ "resourceType": of, "status": "final", "code": { "coding": [{ "code": "1234-5" }] } });
    let members = value.as_object_mut().unwrap();
    if !dice.one_in(4) {
        members.insert("id".to_owned(), json!(if dice.one_in(6) { dice.of(IDS) } else { id }));
    }
    let subject = if matches!(of, "AllergyIntolerance" | "Device" | "RelatedPerson") { "patient" } else { "subject" };
    if !dice.one_in(8) {
        members.insert(subject.to_owned(), reference(dice));
    }
    for _ in 0..dice.below(3) {
        let (name, extra) = match dice.below(9) {
            0 => ("performer", json!([reference(dice)])),
            1 => ("encounter", reference(dice)),
            2 => ("derivedFrom", json!([reference(dice)])),
            3 => ("focus", json!([reference(dice)])),
            4 => ("link", json!([{ "other": reference(dice), "type": "seealso" }])),
            5 => (
                "meta",
                json!({ "security": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R" }] }),
            ),
            6 => ("extension", json!([{ "url": "urn:x", "valueReference": reference(dice) }])),
            7 => {
                ("contained", json!([{ "resourceType": "Patient", "id": "p", "link": [{ "other": reference(dice) }] }]))
            }
            _ => ("category", json!([{ "coding": [{ "code": dice.of(&["laboratory", "vital-signs"]) }] }])),
        };
        members.insert(name.to_owned(), extra);
    }
    value
}

/// A JSON Patch (RFC 6902).
pub(super) fn patch(dice: &mut Dice) -> Value {
    let operations = (0..=dice.below(2)).map(|_| {
        let path = dice.of(&[
            "/status",
            "/subject/reference",
            "/performer/0",
            "/subject",
            "/note/-",
            "/sub~0ject",
            "/",
            "/id",
            "/meta",
        ]);
        match dice.below(5) {
            0 => json!({ "op": "test", "path": path, "value": dice.of(&["final", "amended", "Patient/P2"]) }),
            1 => json!({ "op": "remove", "path": path }),
            2 => {
                json!({ "op": dice.of(&["move", "copy"]), "from": dice.of(&["/performer/0", "/status"]), "path": path })
            }
            3 => json!({ "op": dice.of(&["replace", "add"]), "path": path, "value": dice.of(REFERENCES) }),
            _ => json!({ "op": "replace", "path": "/status", "value": dice.of(&["amended", "final"]) }),
        }
    });
    Value::Array(operations.collect())
}

/// A bundle whose entries ask what a request could ask alone; nested at most `depth` times.
pub(super) fn bundle(dice: &mut Dice, depth: usize) -> Value {
    let kind =
        dice.of(&["batch", "batch", "batch", "transaction", "transaction", "history", "searchset", "document", ""]);
    let entries = (0..=dice.below(3)).map(|_| entry(dice, depth));
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries.collect::<Vec<_>>() })
}

fn entry(dice: &mut Dice, depth: usize) -> Value {
    let ask = Ask::any(dice);
    let url = ask.targets[0].trim_start_matches("/fhir").trim_start_matches('/');
    let url = match dice.below(12) {
        0 => ask.targets[0].clone(),
        1 => format!("https://gw.example.org/fhir/{url}"),
        2 => format!("/{url}"),
        _ => url.to_owned(),
    };
    let mut request = json!({ "method": ask.method, "url": url });
    if dice.one_in(6) {
        let (name, value) =
            [("ifMatch", "W/\"1\""), ("ifNoneMatch", "*"), ("ifNoneExist", "identifier=urn:mrn|2")][dice.below(3)];
        request[name] = json!(value);
    }
    let mut entry = json!({ "request": request });
    if dice.one_in(3) {
        entry["fullUrl"] = json!(dice.of(&[
            "urn:uuid:11111111-1111-4111-8111-111111111111",
            "urn:uuid:22222222-2222-4222-8222-222222222222",
            "https://gw.example.org/fhir/Patient/P1",
            "Patient/P2",
        ]));
    }
    if depth > 0 && dice.one_in(12) {
        entry["resource"] = bundle(dice, depth - 1);
    } else if let Ok(body) = serde_json::from_str::<Value>(&ask.body) {
        entry["resource"] = body;
    }
    entry
}

/// The body of an operation.
pub(super) fn parameters(dice: &mut Dice) -> Value {
    let parameter = match dice.below(4) {
        0 => json!({ "name": "resource", "resource": resource(dice, "Observation", "o2") }),
        1 => json!({ "name": "patient", "valueId": dice.of(&["P1", "P2"]) }),
        2 => json!({ "name": "meta", "valueMeta": { "tag": [{ "code": "x" }] } }),
        _ => json!({ "name": "_type", "valueString": dice.of(&["Observation", "Patient,Group"]) }),
    };
    json!({ "resourceType": "Parameters", "parameter": [parameter] })
}
