#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use super::*;

fn parameter(resource_type: ResourceType, name: &str) -> &'static SearchParameter {
    search_parameter(resource_type, name).unwrap()
}

fn paths(resource_type: ResourceType, name: &str) -> Vec<String> {
    parameter(resource_type, name).paths.iter().map(|path| path.elements.join(".")).collect()
}

fn lines(table: &str) -> usize {
    table.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn every_row_of_every_table_is_understood() {
    let everywhere = search_parameters(ResourceType::BUNDLE).iter().filter(|parameter| parameter.name.starts_with('_'));
    assert_eq!(everywhere.count(), 9, "Resource");
    let text = search_parameters(ResourceType::PATIENT).iter().filter(|parameter| parameter.name == "_text");
    assert_eq!(text.count(), 1, "DomainResource");
    let own =
        ResourceType::all().flat_map(search_parameters).filter(|parameter| !parameter.name.starts_with('_')).count();
    assert_eq!(own + 10, lines(include_str!("r4/search-parameters.tsv")));
    let elements = ResourceType::all().map(|resource_type| elements(resource_type).len()).sum::<usize>();
    assert_eq!(elements, lines(include_str!("r4/elements.tsv")));
    assert_eq!(patient_compartment_rows().count(), lines(include_str!("r4/patient-compartment.tsv")));
    assert_eq!(patient_compartment_rows().count(), 66);
}

#[test]
fn names_are_sorted_and_unique_so_that_they_can_be_searched() {
    for resource_type in ResourceType::all() {
        assert!(search_parameters(resource_type).is_sorted_by(|a, b| a.name < b.name), "{resource_type}");
        assert!(elements(resource_type).is_sorted_by(|a, b| a.name < b.name), "{resource_type}");
        assert!(!elements(resource_type).is_empty(), "{resource_type}");
    }
}

#[test]
fn the_number_of_search_parameters_is_that_of_r4() {
    // 10 more are common to all (`_text` not for Bundle). R4B has the same ones, and a few more for extensions.
    for (resource_type, own) in [
        (ResourceType::PATIENT, 23),
        (ResourceType::OBSERVATION, 38),
        (ResourceType::ENCOUNTER, 23),
        (ResourceType::CONDITION, 21),
        (ResourceType::DEVICE, 12),
        (ResourceType::MEDICATION_REQUEST, 16),
        (ResourceType::PROVENANCE, 10),
        (ResourceType::BINARY, 0),
    ] {
        let of_type = search_parameters(resource_type);
        assert_eq!(of_type.iter().filter(|p| !p.name.starts_with('_')).count(), own, "{resource_type}");
    }
}

#[test]
fn an_expression_for_many_types_is_specialised_to_one() {
    let patient = parameter(ResourceType::OBSERVATION, "patient");
    assert_eq!(
        patient.paths,
        [ElementPath { elements: vec!["subject"], reference_target: Some(ResourceType::PATIENT) }]
    );
    assert_eq!(patient.targets, [ResourceType::PATIENT]);
    assert_eq!(paths(ResourceType::SUPPLY_REQUEST, "subject"), ["deliverTo"]);
    assert_eq!(paths(ResourceType::ENROLLMENT_REQUEST, "subject"), ["candidate"]);
    assert_eq!(paths(ResourceType::APPOINTMENT, "actor"), ["participant.actor"]);
    assert_eq!(paths(ResourceType::CARE_TEAM, "participant"), ["participant.member"]);
    let audit = &parameter(ResourceType::AUDIT_EVENT, "patient").paths;
    assert_eq!(audit.len(), 2);
    assert!(audit.iter().all(|path| path.reference_target == Some(ResourceType::PATIENT)));
}

#[test]
fn choices_carry_the_names_they_have_in_json() {
    assert_eq!(paths(ResourceType::OBSERVATION, "value-concept"), ["valueCodeableConcept"]);
    assert_eq!(paths(ResourceType::MEDICATION_REQUEST, "medication"), ["medicationReference"]);
    assert_eq!(
        paths(ResourceType::OBSERVATION, "date"),
        ["effectiveDateTime", "effectiveInstant", "effectivePeriod", "effectiveTiming"]
    );
    assert_eq!(paths(ResourceType::IMMUNIZATION, "date"), ["occurrenceDateTime"]);
    assert_eq!(paths(ResourceType::ORGANIZATION, "name"), ["alias", "name"]);
}

#[test]
fn every_path_begins_with_an_element_of_its_type() {
    let common = ["id", "meta", "language"];
    for resource_type in ResourceType::all() {
        for path in search_parameters(resource_type).iter().flat_map(|parameter| &parameter.paths) {
            let first = path.elements.first().unwrap();
            let known = common.contains(first) || element_with_key(resource_type, first).is_some();
            assert!(known && path.elements.iter().all(|step| !step.is_empty()), "{resource_type} {path:?}");
        }
    }
}

#[test]
fn what_is_more_than_steps_has_no_path_and_counts_as_repeating() {
    for (resource_type, name) in [
        (ResourceType::PATIENT, "phone"),
        (ResourceType::PATIENT, "deceased"),
        (ResourceType::OBSERVATION, "code-value-quantity"),
        (ResourceType::BUNDLE, "composition"),
        (ResourceType::PATIENT, "_text"),
        (ResourceType::PATIENT, "_content"),
    ] {
        assert!(parameter(resource_type, name).paths.is_empty(), "{resource_type} {name}");
        assert!(parameter(resource_type, name).repeats, "{resource_type} {name}");
    }
}

#[test]
fn a_parameter_repeats_unless_everything_on_its_path_occurs_once() {
    for (resource_type, name, repeats) in [
        (ResourceType::OBSERVATION, "subject", false),
        (ResourceType::OBSERVATION, "patient", false),
        (ResourceType::OBSERVATION, "status", false),
        (ResourceType::OBSERVATION, "performer", true),
        (ResourceType::OBSERVATION, "category", true),
        (ResourceType::APPOINTMENT, "actor", true),
        (ResourceType::APPOINTMENT, "patient", true),
        (ResourceType::APPOINTMENT_RESPONSE, "actor", false),
        (ResourceType::CARE_TEAM, "participant", true),
        (ResourceType::CARE_TEAM, "patient", false),
        (ResourceType::GROUP, "member", true),
        (ResourceType::PROVENANCE, "target", true),
        (ResourceType::COMMUNICATION, "recipient", true),
        (ResourceType::ENCOUNTER, "class", false),
        (ResourceType::DEVICE, "patient", false),
        (ResourceType::PATIENT, "_id", false),
    ] {
        assert_eq!(parameter(resource_type, name).repeats, repeats, "{resource_type} {name}");
    }
}

#[test]
fn one_codeable_concept_holds_many_codings_and_therefore_repeats() {
    // Observation.code occurs once, yet `code=a&code=b` finds one whose code has both codings.
    assert!(parameter(ResourceType::OBSERVATION, "code").repeats);
}

#[test]
fn every_type_has_the_common_parameters() {
    for resource_type in ResourceType::all() {
        for name in ["_id", "_lastUpdated", "_profile", "_security", "_tag", "_source", "_language"] {
            assert!(search_parameter(resource_type, name).is_some(), "{resource_type} {name}");
        }
        let has_text = search_parameter(resource_type, "_text").is_some();
        assert_eq!(has_text, resource_type.is_domain_resource(), "{resource_type}");
    }
    assert_eq!(search_parameter(ResourceType::PATIENT, "_ID"), None);
    assert_eq!(search_parameter(ResourceType::PATIENT, "subject"), None);
}

#[test]
fn elements_and_parameters_that_r4_does_not_have_are_left_out() {
    assert_eq!(element(ResourceType::BINARY, "url"), None);
    assert_eq!(element(ResourceType::RESEARCH_STUDY, "comparisonGroup"), None);
    assert_eq!(search_parameter(ResourceType::SERVICE_REQUEST, "order-detail"), None);
    assert_eq!(search_parameter(ResourceType::DEVICE_DEFINITION, "classification"), None);
}

#[test]
fn elements_know_whether_they_are_mandatory_and_part_of_the_summary() {
    let status = element(ResourceType::OBSERVATION, "status").unwrap();
    assert!(status.mandatory && status.summary);
    let note = element(ResourceType::OBSERVATION, "note").unwrap();
    assert!(!note.mandatory && !note.summary);
    assert!(element(ResourceType::OBSERVATION, "id").is_none(), "common to all");
}

#[test]
fn a_choice_is_found_by_the_key_of_each_of_its_types() {
    let value = element(ResourceType::OBSERVATION, "value").unwrap();
    assert!(value.has_key("valueQuantity") && value.has_key("valueCodeableConcept"));
    for key in ["value", "valueAddress", "valuequantity", "valueQuantityX", "values"] {
        assert!(!value.has_key(key), "{key}");
    }
    let status = element(ResourceType::OBSERVATION, "status").unwrap();
    assert!(status.has_key("status") && !status.has_key("statusX"));
}
