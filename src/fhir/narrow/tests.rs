#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use proptest::prelude::*;
use url::Url;

use super::*;
use crate::fhir::compartment::{extension_compartment, patient_compartment};
use crate::fhir::definitions::search_parameters;

fn bases() -> Bases {
    let url = |text| Url::parse(text).unwrap();
    Bases::new(&url("https://gw.example/fhir"), &url("http://up.internal:8080/r4"), &[])
}

fn rebuilt(type_name: &str, patient: Option<&str>, pairs: &[(&str, &str)]) -> Narrowed {
    let resource_type = ResourceType::parse(type_name).unwrap();
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (query, _) = SearchQuery::parse(resource_type, &pairs).unwrap();
    let compartment = patient_compartment(resource_type).or_else(|| extension_compartment(resource_type));
    let confinement =
        patient.map(|id| Confinement { patient: Id::parse(id).unwrap(), compartment: compartment.unwrap() });
    narrow(&query, confinement, &[], &bases(), 100).unwrap()
}

/// As `name=value&…`, or `EMPTY`.
fn text(narrowed: Narrowed) -> String {
    match narrowed {
        Narrowed::Nothing => "EMPTY".to_owned(),
        Narrowed::Search(parameters) => {
            parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
        }
    }
}

fn for_p1(type_name: &str, pairs: &[(&str, &str)]) -> String {
    text(rebuilt(type_name, Some("P1"), pairs))
}

fn unrestricted(type_name: &str, pairs: &[(&str, &str)]) -> String {
    text(rebuilt(type_name, None, pairs))
}

#[test]
fn a_search_is_confined_by_the_primary_parameter_of_its_type() {
    for (type_name, expected) in [
        ("Observation", "subject=Patient/P1"),
        ("Condition", "patient=Patient/P1"),
        ("Encounter", "patient=Patient/P1"),
        ("Appointment", "actor=Patient/P1"),
        ("Coverage", "beneficiary=Patient/P1"),
        ("Device", "patient=Patient/P1"),
        ("RelatedPerson", "patient=Patient/P1"),
        ("Patient", "_id=P1"),
    ] {
        assert_eq!(for_p1(type_name, &[]), expected, "{type_name}");
    }
}

#[test]
fn a_condition_on_the_same_single_value_is_intersected_here() {
    for (name, value, expected) in [
        ("patient", "P1", "subject=Patient/P1"),
        ("patient", "Patient/P1", "subject=Patient/P1"),
        ("subject", "P1", "subject=Patient/P1"),
        ("subject", "Patient/P1,Group/G1", "subject=Patient/P1"),
        ("patient", "Patient/P1,Patient/P2", "subject=Patient/P1"),
        ("subject:Patient", "P1", "subject=Patient/P1"),
        ("subject", "https://gw.example/fhir/Patient/P1", "subject=Patient/P1"),
        ("subject", "http://up.internal:8080/r4/Patient/P1", "subject=Patient/P1"),
        ("patient", "P2", "EMPTY"),
        ("subject", "Patient/P2", "EMPTY"),
        ("subject", "Group/G1", "EMPTY"),
        ("subject", "Group/P1", "EMPTY"),
        ("subject:Group", "P1", "EMPTY"),
        ("subject", "http://evil/Patient/P1", "EMPTY"),
        ("subject", "https://gw.example/fhir2/Patient/P1", "EMPTY"),
        ("subject", "patient/P1", "EMPTY"),
        ("subject", "Patient/P1/_history/1", "EMPTY"),
        ("subject", " Patient/P1", "EMPTY"),
        ("subject", "Patient/p1", "EMPTY"),
    ] {
        assert_eq!(for_p1("Observation", &[(name, value)]), expected, "{name}={value}");
    }
    assert_eq!(for_p1("Observation", &[("patient", "P1"), ("patient", "P2")]), "EMPTY");
    assert_eq!(for_p1("Observation", &[("patient", "P1"), ("subject", "Patient/P2")]), "EMPTY");
    assert_eq!(for_p1("Encounter", &[("subject", "Group/G1")]), "EMPTY");
}

#[test]
fn a_search_for_patients_is_a_search_for_the_one_patient() {
    assert_eq!(for_p1("Patient", &[("identifier", "ssn|P2")]), "_id=P1&identifier=ssn|P2");
    assert_eq!(for_p1("Patient", &[("link", "Patient/P1")]), "_id=P1&link=Patient/P1");
    assert_eq!(for_p1("Patient", &[("_id", "P1,P2")]), "_id=P1");
    assert_eq!(for_p1("Patient", &[("_id", "P2")]), "EMPTY");
    assert_eq!(for_p1("Patient", &[("_id", "Patient/P1")]), "EMPTY");
    assert_eq!(for_p1("Patient", &[("_id:not", "P1")]), "_id=P1&_id:not=P1");
}

#[test]
fn conditions_with_modifiers_and_on_repeating_elements_are_sent_beside_ours() {
    for (type_name, name, value, expected) in [
        ("Observation", "subject:identifier", "mrn|P2", "subject=Patient/P1&subject:identifier=mrn|P2"),
        ("Observation", "patient:not", "Patient/P1", "subject=Patient/P1&patient:not=Patient/P1"),
        ("Observation", "subject:missing", "true", "subject=Patient/P1&subject:missing=true"),
        ("Appointment", "actor", "Patient/P2", "actor=Patient/P1&actor=Patient/P2"),
        ("Appointment", "patient", "P2", "actor=Patient/P1&patient=Patient/P2"),
        ("Observation", "performer", "Practitioner/d1", "subject=Patient/P1&performer=Practitioner/d1"),
        ("Observation", "_id", "o1,o2", "subject=Patient/P1&_id=o1,o2"),
        ("Observation", "category", "vital-signs", "subject=Patient/P1&category=vital-signs"),
    ] {
        assert_eq!(for_p1(type_name, &[(name, value)]), expected, "{type_name}?{name}={value}");
    }
}

#[test]
fn conditions_of_the_grant_are_sent_however_the_search_is_confined() {
    let resource_type = ResourceType::OBSERVATION;
    let compartment = patient_compartment(resource_type).unwrap();
    let (query, _) = SearchQuery::parse(resource_type, &[("code".to_owned(), "x".to_owned())]).unwrap();
    let condition = Condition::parse(resource_type, "category", "laboratory").unwrap();
    let patient = Id::parse("P1").unwrap();
    for (way, before) in [
        (None, String::new()),
        (Some(Way::Compartment), String::new()),
        (Some(Way::Filter), format!("_filter={}&", by_filter(compartment, patient).1)),
        (Some(Way::Parameter(compartment.primary().unwrap())), "subject=Patient/P1&".to_owned()),
    ] {
        let confinement = way.map(|way| (Confinement { patient, compartment }, way));
        let sent = text(narrow_by(&query, confinement, std::slice::from_ref(&condition), &bases(), 100));
        assert_eq!(sent, format!("{before}category=laboratory&code=x"), "{way:?}");
    }
}

#[test]
fn references_are_written_as_the_upstream_knows_them() {
    for (name, value, expected) in [
        ("patient", "1", "patient=Patient/1"),
        ("patient", "1,Patient/2", "patient=Patient/1,Patient/2"),
        ("subject", "1", "subject=1"),
        ("subject:Patient", "1", "subject=Patient/1"),
        ("subject", "https://gw.example/fhir/Patient/1", "subject=Patient/1"),
        ("subject", "https://other.example/fhir/Patient/1", "subject=https://other.example/fhir/Patient/1"),
        ("code", "http://loinc.org|8867-4", "code=http://loinc.org|8867-4"),
        ("value-string", "a\\,b\\$c\\|d\\\\e+f", "value-string=a\\,b\\$c\\|d\\\\e+f"),
    ] {
        assert_eq!(unrestricted("Observation", &[(name, value)]), expected, "{name}={value}");
    }
}

#[test]
fn sort_and_a_clamped_count_follow_and_projections_do_not() {
    let pairs =
        [("_summary", "true"), ("_total", "accurate"), ("_sort", "-date"), ("code", "x"), ("_count", "1000000")];
    assert_eq!(for_p1("Observation", &pairs), "subject=Patient/P1&code=x&_sort=-date&_count=100");
    assert_eq!(unrestricted("Observation", &[("_count", "5")]), "_count=5");
    let totals = [("_total", "accurate"), ("_summary", "count")];
    assert_eq!(for_p1("Observation", &totals), "subject=Patient/P1");
    assert_eq!(unrestricted("Observation", &totals), "_total=accurate&_summary=count");
}

/// A parameter of the type with a plausible value.
fn any_parameter(resource_type: ResourceType) -> impl Strategy<Value = (String, String)> {
    let names: Vec<&'static str> = search_parameters(resource_type).iter().map(|parameter| parameter.name).collect();
    let modifier = prop::sample::select(vec![
        "",
        "",
        "",
        "",
        ":missing",
        ":not",
        ":identifier",
        ":Patient",
        ":exact",
        ".name",
        ":Patient.name",
        ".patient",
        ".identifier",
        ":Patient.general-practitioner:Practitioner.identifier",
        ":below",
    ]);
    let value = prop::sample::select(vec![
        "P1",
        "P2",
        "Patient/P1",
        "Patient/P2",
        "Patient/P1,Patient/P2",
        "Group/P1",
        "https://gw.example/fhir/Patient/P2",
        "true",
        "http://evil/Patient/P1",
        "a|b",
        "x\\,Patient/P1",
    ]);
    (prop::sample::select(names), modifier, value)
        .prop_map(|(name, modifier, value)| (format!("{name}{modifier}"), value.to_owned()))
}

fn any_search() -> impl Strategy<Value = (ResourceType, Vec<(String, String)>)> {
    let types: Vec<ResourceType> =
        ResourceType::all().filter(|resource_type| patient_compartment(*resource_type).is_some()).collect();
    prop::sample::select(types)
        .prop_flat_map(|resource_type| (Just(resource_type), prop::collection::vec(any_parameter(resource_type), 0..5)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_asked_the_upstream_is_asked_for_the_one_patient((resource_type, pairs) in any_search()) {
        let compartment = patient_compartment(resource_type).unwrap();
        let primary = compartment.primary().unwrap();
        let Ok((query, _)) = SearchQuery::parse(resource_type, &pairs) else { return Ok(()) };
        let confinement = Confinement { patient: Id::parse("P1").unwrap(), compartment };
        if let Narrowed::Search(parameters) = narrow(&query, Some(confinement), &[], &bases(), 50).unwrap() {
            let own = if resource_type == ResourceType::PATIENT { "P1" } else { "Patient/P1" };
            prop_assert_eq!(parameters.first(), Some(&(primary.name.to_owned(), own.to_owned())));
            // Where the value is single, nothing else is said about it without a modifier.
            let again = parameters.iter().skip(1).any(|(name, _)| name == primary.name);
            prop_assert!(primary.repeats || !again, "{:?}", parameters);
            for (name, value) in &parameters {
                prop_assert!(!matches!(name.as_str(), "_summary" | "_elements" | "_total"));
                prop_assert!(!value.contains("gw.example") || name.contains(':') || !name.starts_with("patient"));
            }
        }
    }

    #[test]
    fn what_is_sent_reads_back_as_what_was_meant((resource_type, pairs) in any_search()) {
        let Ok((query, _)) = SearchQuery::parse(resource_type, &pairs) else { return Ok(()) };
        let Narrowed::Search(once) = narrow(&query, None, &[], &bases(), 50).unwrap() else { return Err(TestCaseError::fail("empty")) };
        let (again, _) = SearchQuery::parse(resource_type, &once).unwrap();
        prop_assert_eq!(narrow(&again, None, &[], &bases(), 50).unwrap(), Narrowed::Search(once));
    }
}
