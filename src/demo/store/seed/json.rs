//! FHIR data types as JSON: the few that the sample data uses.

use jiff::civil::{Date, DateTime};
use serde_json::{Value, json};

pub(super) const SNOMED: &str = "http://snomed.info/sct";
pub(super) const LOINC: &str = "http://loinc.org";
pub(super) const UCUM: &str = "http://unitsofmeasure.org";
pub(super) const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
pub(super) const CVX: &str = "http://hl7.org/fhir/sid/cvx";
pub(super) const ICD10: &str = "http://hl7.org/fhir/sid/icd-10-cm";

/// A Coding.
pub(super) fn coding(system: &str, (code, display): (&str, &str)) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

/// A `CodeableConcept` with one coding, whose display is also its text.
pub(super) fn concept(system: &str, term: (&str, &str)) -> Value {
    json!({ "coding": [coding(system, term)], "text": plain(term.1) })
}

/// A `CodeableConcept` from a code system of HL7 itself, `http://terminology.hl7.org/CodeSystem/{name}`.
pub(super) fn hl7(name: &str, code: &str, display: &str) -> Value {
    let system = format!("http://terminology.hl7.org/CodeSystem/{name}");
    json!({ "coding": [coding(&system, (code, display))] })
}

/// A reference by type and id, with a display text.
pub(super) fn reference(kind: &str, id: &str, display: &str) -> Value {
    json!({ "reference": format!("{kind}/{id}"), "display": display })
}

/// A Quantity in UCUM; `unit` is what people read.
pub(super) fn quantity(value: &Value, unit: &str, code: &str) -> Value {
    json!({ "value": value, "unit": unit, "system": UCUM, "code": code })
}

/// `number` divided by 10^`decimals`, as a JSON number with that many digits at most.
pub(super) fn decimal(number: i32, decimals: u8) -> Value {
    match decimals {
        0 => json!(number),
        1 => json!(f64::from(number) / 10.0),
        _ => json!(f64::from(number) / 100.0),
    }
}

/// The metadata every resource carries.
pub(super) fn meta(updated: DateTime) -> Value {
    json!({ "versionId": "1", "lastUpdated": instant(updated) })
}

/// An instant in UTC.
pub(super) fn instant(at: DateTime) -> String {
    format!("{at}Z")
}

/// A date.
pub(super) fn day(date: Date) -> String {
    date.to_string()
}

/// A SNOMED CT display without its semantic tag: `Asthma (disorder)` becomes `Asthma`.
pub(super) fn plain(display: &str) -> &str {
    match display.rsplit_once(" (") {
        Some((name, "disorder)" | "finding)" | "substance)" | "procedure)")) => name,
        _ => display,
    }
}
