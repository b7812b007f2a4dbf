use super::*;

fn kept<'a>(resource_type: ResourceType, projection: &Projection, keys: &[&'a str]) -> Vec<&'a str> {
    let kept = kept_elements(resource_type, projection);
    keys.iter().copied().filter(|key| kept.keeps(key)).collect()
}

fn elements(names: &[&str]) -> Projection {
    Projection::Elements(names.iter().map(|name| (*name).into()).collect())
}

/// The keys of a realistic laboratory result (R4 observation-example-f001-glucose.json and more).
const OBSERVATION: [&str; 18] = [
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "contained",
    "extension",
    "modifierExtension",
    "identifier",
    "status",
    "_status",
    "category",
    "code",
    "subject",
    "effectiveDateTime",
    "valueQuantity",
    "note",
];

#[test]
fn full_keeps_everything() {
    assert_eq!(kept(ResourceType::OBSERVATION, &Projection::Full, &OBSERVATION), OBSERVATION);
    assert!(!Projection::Full.is_partial());
}

#[test]
fn the_summary_keeps_what_the_definition_marks() {
    assert_eq!(
        kept(ResourceType::OBSERVATION, &Projection::SummaryTrue, &OBSERVATION),
        [
            "resourceType",
            "id",
            "meta",
            "implicitRules",
            "modifierExtension",
            "identifier",
            "status",
            "_status",
            "code",
            "subject",
            "effectiveDateTime",
            "valueQuantity",
        ]
    );
    // R4 patient.html marks these with Σ, and not photo, contact and communication.
    let patient = ["name", "birthDate", "_birthDate", "deceasedBoolean", "link", "photo", "contact", "communication"];
    assert_eq!(
        kept(ResourceType::PATIENT, &Projection::SummaryTrue, &patient),
        ["name", "birthDate", "_birthDate", "deceasedBoolean", "link"]
    );
}

#[test]
fn the_text_summary_keeps_the_narrative_and_what_is_mandatory() {
    assert_eq!(
        kept(ResourceType::OBSERVATION, &Projection::SummaryText, &OBSERVATION),
        ["resourceType", "id", "meta", "implicitRules", "text", "modifierExtension", "status", "_status", "code"]
    );
}

#[test]
fn the_data_summary_drops_the_narrative_only() {
    let all_but_text: Vec<_> = OBSERVATION.into_iter().filter(|key| *key != "text").collect();
    assert_eq!(kept(ResourceType::OBSERVATION, &Projection::SummaryData, &OBSERVATION), all_but_text);
}

#[test]
fn elements_keep_what_is_named_and_what_is_mandatory() {
    let always = ["resourceType", "id", "meta", "implicitRules", "modifierExtension"];
    let projection = elements(&["subject", "note"]);
    let wanted = kept(ResourceType::OBSERVATION, &projection, &OBSERVATION);
    assert_eq!(wanted, [&always[..], &["status", "_status", "code", "subject", "note"]].concat());
    let wanted = kept(ResourceType::PATIENT, &elements(&["birthDate"]), &["birthDate", "_birthDate", "name", "_name"]);
    assert_eq!(wanted, ["birthDate", "_birthDate"]);
}

#[test]
fn a_choice_is_named_with_or_without_its_type() {
    for name in ["value", "value[x]", "valueQuantity"] {
        let projection = elements(&[name]);
        let kept = kept_elements(ResourceType::OBSERVATION, &projection);
        assert!(kept.keeps("valueQuantity"), "{name}");
        assert!(!kept.keeps("values") && !kept.keeps("note"), "{name}");
    }
    assert!(!kept_elements(ResourceType::OBSERVATION, &elements(&["valueQuantity"])).keeps("valueString"));
    // A mandatory choice remains, whatever its type.
    let immunization = kept_elements(ResourceType::IMMUNIZATION, &Projection::SummaryText);
    assert!(immunization.keeps("occurrenceDateTime") && immunization.keeps("_occurrenceString"));
}

#[test]
fn what_r4_does_not_know_is_in_no_summary() {
    for projection in [Projection::SummaryTrue, Projection::SummaryText, elements(&["status"])] {
        let kept = kept_elements(ResourceType::BINARY, &projection);
        assert!(!kept.keeps("url") && !kept.keeps("") && !kept.keeps("_") && !kept.keeps("__id"));
    }
}

#[test]
fn only_elements_below_the_root_can_be_named() {
    for name in ["resourceType", "status", "value", "value[x]", "valueQuantity", "text", "id", "extension"] {
        assert!(is_element_name(ResourceType::OBSERVATION, name), "{name}");
    }
    for name in ["", "name", "status[x]", "subject.reference", "Observation.status", "valueAddress", "_status", "_id"] {
        assert!(!is_element_name(ResourceType::OBSERVATION, name), "{name}");
    }
    assert!(!is_element_name(ResourceType::BUNDLE, "text"));
}

#[test]
fn every_summary_is_within_the_type_and_has_its_mandatory_elements() {
    for resource_type in ResourceType::all() {
        for own in crate::fhir::definitions::elements(resource_type).iter().filter(|own| own.mandatory) {
            for key in own.keys() {
                for projection in [Projection::SummaryTrue, Projection::SummaryText, elements(&[])] {
                    assert!(kept_elements(resource_type, &projection).keeps(&key), "{resource_type} {key}");
                }
            }
        }
    }
}
