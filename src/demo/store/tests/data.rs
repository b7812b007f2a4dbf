//! The sample data is valid, whole and clinically coherent.

use std::collections::{BTreeMap, HashSet};

use jiff::civil::Date;
use serde_json::Value;

use super::super::seed;

fn identity(resource: &Value) -> (String, String) {
    (resource["resourceType"].as_str().unwrap().to_owned(), resource["id"].as_str().unwrap().to_owned())
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("reference").and_then(Value::as_str));
            fields.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn of_patient<'a>(all: &'a [Value], kind: &str, patient: &str) -> Vec<&'a Value> {
    let reference = format!("Patient/{patient}");
    all.iter()
        .filter(|resource| resource["resourceType"] == kind)
        .filter(|resource| {
            resource["subject"]["reference"] == reference || resource["patient"]["reference"] == reference
        })
        .collect()
}

fn codes(resources: &[&Value], member: &str) -> HashSet<String> {
    let codings = resources.iter().flat_map(|resource| resource[member]["coding"].as_array().unwrap());
    codings.map(|coding| coding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn ids_are_unique_and_valid_and_all_resources_are_stored() {
    let all = seed::resources();
    let ids: HashSet<_> = all.iter().map(identity).collect();
    assert_eq!(ids.len(), all.len());
    for (_, id) in &ids {
        assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
    }
    assert_eq!(super::store().len(), all.len());
}

#[test]
fn every_reference_resolves() {
    let all = seed::resources();
    let ids: HashSet<_> = all.iter().map(identity).map(|(kind, id)| format!("{kind}/{id}")).collect();
    for resource in &all {
        let mut found = Vec::new();
        references(resource, &mut found);
        for reference in found {
            assert!(ids.contains(reference), "{reference} in {}", resource["id"]);
        }
    }
}

#[test]
fn every_start_makes_the_same_data() {
    assert_eq!(seed::resources(), seed::resources());
}

#[test]
fn every_stored_resource_is_json_that_says_what_it_is() {
    let store = super::store();
    for stored in &store.stored {
        let parsed: Value = serde_json::from_slice(&stored.json).unwrap();
        assert_eq!(identity(&parsed), (stored.definition.name.to_owned(), stored.id.clone()));
    }
    let originals: BTreeMap<_, _> =
        seed::resources().into_iter().map(|resource| (identity(&resource), resource)).collect();
    let parsed: Value = serde_json::from_slice(&store.read("Patient", "amina-diallo").unwrap()).unwrap();
    assert_eq!(originals[&("Patient".to_owned(), "amina-diallo".to_owned())], parsed);
}

#[test]
fn every_patient_has_a_series_of_vital_signs_over_two_years_or_more() {
    let all = seed::resources();
    let patients: Vec<_> = all.iter().filter(|resource| resource["resourceType"] == "Patient").collect();
    assert!(patients.len() >= 20);
    for patient in patients {
        let id = patient["id"].as_str().unwrap();
        let observations = of_patient(&all, "Observation", id);
        for code in ["85354-9", "29463-7", "8302-2", "39156-5", "8867-4", "8310-5"] {
            let series: Vec<_> =
                observations.iter().filter(|observation| observation["code"]["coding"][0]["code"] == code).collect();
            assert!(series.len() >= 6, "{id} {code}");
            let day = |observation: &Value| {
                observation["effectiveDateTime"].as_str().unwrap().get(..10).unwrap().parse::<Date>().unwrap()
            };
            let (first, last) = (day(series[0]), day(series[series.len() - 1]));
            assert!((last - first).get_days() >= 700, "{id} {code}: {first} to {last}");
            assert!(last <= seed::TODAY);
        }
    }
}

#[test]
fn blood_pressure_and_body_mass_are_plausible() {
    for observation in seed::resources().iter().filter(|resource| resource["resourceType"] == "Observation") {
        let id = observation["id"].as_str().unwrap();
        if let Some(components) = observation["component"].as_array() {
            let value = |at: usize| components[at]["valueQuantity"]["value"].as_i64().unwrap();
            assert!(value(0) > value(1) + 20 && value(0) < 190 && value(1) > 45, "{id}");
        }
        let value = observation["valueQuantity"]["value"].as_f64();
        match observation["code"]["coding"][0]["code"].as_str().unwrap() {
            "39156-5" => assert!((13.0..40.0).contains(&value.unwrap()), "{id} {value:?}"),
            "8310-5" => assert!((36.0..39.5).contains(&value.unwrap()), "{id}"),
            _ => {}
        }
    }
}

#[test]
fn charts_are_coherent() {
    let all = seed::resources();
    let expected: &[(&str, &[&str], &[&str])] = &[
        ("44054006", &["4548-4"], &["861007", "861004", "311041"]),
        ("46635009", &["4548-4"], &["311041"]),
        ("40930008", &["3016-3"], &["966222"]),
        ("433144002", &["2160-0", "98979-8"], &[]),
        ("87522002", &["718-7", "2276-4"], &["310325"]),
        ("55822004", &["13457-7"], &["617311", "312961"]),
        ("49436004", &[], &["1364445", "855332"]),
    ];
    let mut charts = 0;
    for patient in all.iter().filter(|resource| resource["resourceType"] == "Patient") {
        let id = patient["id"].as_str().unwrap();
        let conditions = codes(&of_patient(&all, "Condition", id), "code");
        let observations = codes(&of_patient(&all, "Observation", id), "code");
        let medications = codes(&of_patient(&all, "MedicationRequest", id), "medicationCodeableConcept");
        for (condition, labs, drugs) in expected.iter().filter(|(condition, ..)| conditions.contains(*condition)) {
            assert!(labs.iter().all(|lab| observations.contains(*lab)), "{id} {condition}");
            assert!(drugs.is_empty() || drugs.iter().any(|drug| medications.contains(*drug)), "{id} {condition}");
            charts += 1;
        }
        assert!(!of_patient(&all, "AllergyIntolerance", id).is_empty());
        assert!(!of_patient(&all, "Immunization", id).is_empty());
        let born = patient["birthDate"].as_str().unwrap();
        for condition in of_patient(&all, "Condition", id) {
            let (onset, recorded) =
                (condition["onsetDateTime"].as_str().unwrap(), condition["recordedDate"].as_str().unwrap());
            assert!(born < onset && onset <= recorded && recorded <= "2026-11-16", "{id} {onset} {recorded}");
        }
    }
    assert!(charts > 15);
}

#[test]
fn instants_and_dates_are_well_formed() {
    fn check(value: &Value) {
        if let Value::Object(fields) = value {
            for (name, member) in fields {
                let instant =
                    ["lastUpdated", "effectiveDateTime", "start", "end", "authoredOn"].contains(&name.as_str());
                if let (true, Some(text)) = (instant, member.as_str()) {
                    assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(), "{name} {text}");
                }
                check(member);
            }
        } else if let Value::Array(items) = value {
            items.iter().for_each(check);
        }
    }
    seed::resources().iter().for_each(check);
}
