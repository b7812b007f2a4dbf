//! What a clinician sees of a chart: short lines from the store's resources.

use std::collections::HashSet;

use jiff::civil::Date;
use serde_json::Value;

use crate::demo::store::Store;
use crate::demo::store::seed::TODAY;

/// A patient, as lists and banners show one.
#[derive(Debug)]
pub(super) struct Patient {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) born: String,
    pub(super) age: String,
    pub(super) sex: String,
    pub(super) record_number: String,
    pub(super) language: String,
}

/// A patient who is in the clinic now.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) since: String,
    pub(super) reason: String,
    pub(super) practitioner: String,
}

/// An encounter that a launch can hand over.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) id: String,
    pub(super) date: String,
    pub(super) kind: String,
    pub(super) open: bool,
}

/// A line and what is said beside it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) detail: String,
}

/// The latest value of one kind of observation.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) flag: String,
    pub(super) date: String,
}

/// Patients whose name begins with `name`, by family name.
pub(super) fn patients(store: &Store, name: &str) -> Vec<Patient> {
    search(store, "Patient", &[("name", &name.replace([',', '\\'], " ")), ("_sort", "family")])
        .iter()
        .map(summarise)
        .collect()
}

/// One patient.
pub(super) fn patient(store: &Store, id: &str) -> Option<Patient> {
    store.read("Patient", id).and_then(|json| serde_json::from_slice(&json).ok()).map(|patient| summarise(&patient))
}

/// Encounters that are in progress, by their start.
pub(super) fn in_clinic(store: &Store) -> Vec<Waiting> {
    search(store, "Encounter", &[("status", "in-progress"), ("_sort", "date")])
        .iter()
        .map(|encounter| Waiting {
            id: text(encounter, "/subject/reference").trim_start_matches("Patient/").to_owned(),
            name: text(encounter, "/subject/display"),
            since: text(encounter, "/period/start").get(11..16).unwrap_or_default().to_owned(),
            reason: text(encounter, "/reasonCode/0/text"),
            practitioner: text(encounter, "/participant/0/individual/display"),
        })
        .collect()
}

/// The latest encounters, newest first.
pub(super) fn visits(store: &Store, id: &str) -> Vec<Visit> {
    search(store, "Encounter", &[("patient", id), ("_sort", "-date")])
        .iter()
        .take(8)
        .map(|encounter| Visit {
            id: text(encounter, "/id"),
            date: day(&text(encounter, "/period/start")),
            kind: text(encounter, "/type/0/text"),
            open: text(encounter, "/status") == "in-progress",
        })
        .collect()
}

pub(super) fn problems(store: &Store, id: &str) -> Vec<Line> {
    let parameters = [("patient", id), ("category", "problem-list-item"), ("_sort", "onset-date")];
    lines(store, "Condition", &parameters, |condition| {
        (text(condition, "/code/text"), format!("since {}", day(&text(condition, "/onsetDateTime"))))
    })
}

pub(super) fn allergies(store: &Store, id: &str) -> Vec<Line> {
    lines(store, "AllergyIntolerance", &[("patient", id)], |allergy| {
        (text(allergy, "/code/text"), text(allergy, "/reaction/0/manifestation/0/text"))
    })
}

pub(super) fn medications(store: &Store, id: &str) -> Vec<Line> {
    lines(store, "MedicationRequest", &[("patient", id), ("status", "active")], |order| {
        (text(order, "/medicationCodeableConcept/text"), text(order, "/dosageInstruction/0/text"))
    })
}

pub(super) fn immunizations(store: &Store, id: &str) -> Vec<Line> {
    lines(store, "Immunization", &[("patient", id), ("_sort", "-date")], |dose| {
        (text(dose, "/vaccineCode/text"), day(&text(dose, "/occurrenceDateTime")))
    })
}

/// The latest observation of each code of a category.
pub(super) fn latest(store: &Store, id: &str, category: &str) -> Vec<Measurement> {
    let mut seen = HashSet::new();
    search(store, "Observation", &[("patient", id), ("category", category), ("_sort", "-date")])
        .iter()
        .filter(|observation| seen.insert(text(observation, "/code/coding/0/code")))
        .map(|observation| Measurement {
            name: short_name(&text(observation, "/code/text")),
            value: value(observation),
            flag: text(observation, "/interpretation/0/coding/0/display").replace("Normal", ""),
            date: day(&text(observation, "/effectiveDateTime")),
        })
        .collect()
}

fn summarise(patient: &Value) -> Patient {
    let given: Vec<&str> = patient
        .pointer("/name/0/given")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let born = text(patient, "/birthDate");
    Patient {
        id: text(patient, "/id"),
        name: format!("{} {}", given.join(" "), text(patient, "/name/0/family")),
        age: born.parse::<Date>().map(age).unwrap_or_default(),
        born: day(&born),
        sex: text(patient, "/gender"),
        record_number: text(patient, "/identifier/0/value"),
        language: text(patient, "/communication/0/language/text"),
    }
}

/// Whole years on the day of the sample data, as people say it.
fn age(born: Date) -> String {
    let had_birthday = (TODAY.month(), TODAY.day()) >= (born.month(), born.day());
    let years = TODAY.year() - born.year() - i16::from(!had_birthday);
    format!("{years} years")
}

fn value(observation: &Value) -> String {
    let number = |pointer: &str| observation.pointer(pointer).map(Value::to_string).unwrap_or_default();
    match observation.pointer("/component/1") {
        Some(_) => format!(
            "{}/{} mmHg",
            number("/component/0/valueQuantity/value"),
            number("/component/1/valueQuantity/value")
        ),
        None => format!(
            "{} {}",
            number("/valueQuantity/value"),
            text(observation, "/valueQuantity/unit").replace("{1.73_m2}", "1.73 m²").replace(['{', '}'], "")
        ),
    }
}

/// A LOINC display without what a clinician knows anyway.
fn short_name(display: &str) -> String {
    match display {
        "Blood pressure panel with all children optional" => "Blood pressure".to_owned(),
        "Body mass index (BMI) [Ratio]" => "Body mass index".to_owned(),
        other => other.to_owned(),
    }
}

fn lines(
    store: &Store,
    kind: &str,
    parameters: &[(&str, &str)],
    line: impl Fn(&Value) -> (String, String),
) -> Vec<Line> {
    search(store, kind, parameters).iter().map(line).map(|(text, detail)| Line { text, detail }).collect()
}

fn search(store: &Store, kind: &str, parameters: &[(&str, &str)]) -> Vec<Value> {
    store.search(kind, parameters).iter().filter_map(|json| serde_json::from_slice(json).ok()).collect()
}

fn text(resource: &Value, pointer: &str) -> String {
    resource.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// `16 Nov 2026` from a date or dateTime.
fn day(date: &str) -> String {
    let parsed = date.get(..10).and_then(|day| day.parse::<Date>().ok());
    parsed.map_or_else(|| date.to_owned(), |day| day.strftime("%-d %b %Y").to_string())
}
