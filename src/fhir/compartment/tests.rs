#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use super::*;

/// R4 compartmentdefinition-patient.html, types with one parameter.
const BY_ONE: [(&str, &str); 42] = [
    ("patient", "AuditEvent"),
    ("patient", "BodyStructure"),
    ("patient", "ClaimResponse"),
    ("patient", "Consent"),
    ("patient", "CoverageEligibilityRequest"),
    ("patient", "CoverageEligibilityResponse"),
    ("patient", "DetectedIssue"),
    ("patient", "Encounter"),
    ("patient", "EpisodeOfCare"),
    ("patient", "FamilyMemberHistory"),
    ("patient", "Flag"),
    ("patient", "Goal"),
    ("patient", "ImagingStudy"),
    ("patient", "Immunization"),
    ("patient", "ImmunizationEvaluation"),
    ("patient", "ImmunizationRecommendation"),
    ("patient", "MeasureReport"),
    ("patient", "MolecularSequence"),
    ("patient", "NutritionOrder"),
    ("patient", "Person"),
    ("patient", "Provenance"),
    ("patient", "RelatedPerson"),
    ("patient", "SupplyDelivery"),
    ("patient", "VisionPrescription"),
    ("subject", "Account"),
    ("subject", "AdverseEvent"),
    ("subject", "ChargeItem"),
    ("subject", "ClinicalImpression"),
    ("subject", "DeviceUseStatement"),
    ("subject", "DiagnosticReport"),
    ("subject", "EnrollmentRequest"),
    ("subject", "Media"),
    ("subject", "MedicationRequest"),
    ("subject", "MedicationStatement"),
    ("subject", "RiskAssessment"),
    ("subject", "Specimen"),
    ("subject", "SupplyRequest"),
    ("actor", "Appointment"),
    ("actor", "AppointmentResponse"),
    ("actor", "Schedule"),
    ("individual", "ResearchSubject"),
    ("member", "Group"),
];

/// The same, types with several parameters, the primary one first.
const BY_SEVERAL: [(&str, &[&str]); 23] = [
    ("AllergyIntolerance", &["patient", "recorder", "asserter"]),
    ("Basic", &["patient", "author"]),
    ("CarePlan", &["patient", "performer"]),
    ("CareTeam", &["patient", "participant"]),
    ("Claim", &["patient", "payee"]),
    ("Communication", &["subject", "sender", "recipient"]),
    ("CommunicationRequest", &["subject", "sender", "recipient", "requester"]),
    ("Composition", &["subject", "author", "attester"]),
    ("Condition", &["patient", "asserter"]),
    ("Coverage", &["beneficiary", "policy-holder", "subscriber", "payor"]),
    ("DeviceRequest", &["subject", "performer"]),
    ("DocumentManifest", &["subject", "author", "recipient"]),
    ("DocumentReference", &["subject", "author"]),
    ("ExplanationOfBenefit", &["patient", "payee"]),
    ("Invoice", &["patient", "subject", "recipient"]),
    ("List", &["subject", "source"]),
    ("MedicationAdministration", &["patient", "subject", "performer"]),
    ("MedicationDispense", &["patient", "subject", "receiver"]),
    ("Observation", &["subject", "performer"]),
    ("Procedure", &["patient", "performer"]),
    ("QuestionnaireResponse", &["subject", "author"]),
    ("RequestGroup", &["subject", "participant"]),
    ("ServiceRequest", &["subject", "performer"]),
];

fn names(name: &str) -> Vec<&'static str> {
    let compartment = patient_compartment(ResourceType::parse(name).unwrap()).unwrap();
    compartment.parameters.iter().map(|parameter| parameter.name).collect()
}

#[test]
fn the_patient_compartment_has_66_member_types() {
    let members = ResourceType::all().filter(|member| patient_compartment(*member).is_some()).count();
    assert_eq!(members, 66);
    assert_eq!(BY_ONE.len() + BY_SEVERAL.len() + 1, 66, "and Patient itself");
}

#[test]
fn members_by_one_parameter_are_those_of_the_definition() {
    for (parameter, member) in BY_ONE {
        assert_eq!(names(member), [parameter], "{member}");
    }
}

#[test]
fn members_by_several_parameters_have_the_primary_one_first() {
    for (member, parameters) in BY_SEVERAL {
        assert_eq!(names(member), parameters, "{member}");
    }
}

#[test]
fn a_patient_is_a_member_by_its_id_and_never_by_link() {
    let patient = patient_compartment(ResourceType::PATIENT).unwrap();
    assert_eq!(patient.membership, Membership::OwnId);
    assert_eq!(names("Patient"), ["_id"]);
    assert_eq!(patient.reference_paths().count(), 0);
}

#[test]
fn every_other_member_is_one_by_references_that_may_point_to_a_patient() {
    for member in ResourceType::all().filter(|member| *member != ResourceType::PATIENT) {
        let Some(compartment) = patient_compartment(member) else { continue };
        assert_eq!(compartment.membership, Membership::Reference, "{member}");
        assert!(compartment.reference_paths().count() >= compartment.parameters.len(), "{member}");
        for parameter in &compartment.parameters {
            assert_eq!(
                parameter.kind,
                crate::fhir::definitions::ParameterKind::Reference,
                "{member} {}",
                parameter.name
            );
            assert!(parameter.may_target(ResourceType::PATIENT), "{member} {}", parameter.name);
        }
    }
}

#[test]
fn types_without_a_compartment_have_none() {
    for name in ["Device", "Task", "Binary", "Bundle", "Practitioner", "Organization", "Medication", "Location"] {
        assert!(patient_compartment(ResourceType::parse(name).unwrap()).is_none(), "{name}");
    }
}

#[test]
fn the_gateway_adds_the_device_by_its_patient_and_nothing_else() {
    let added: Vec<_> = ResourceType::all().filter(|added| extension_compartment(*added).is_some()).collect();
    assert_eq!(added, [ResourceType::DEVICE]);
    let device = extension_compartment(ResourceType::DEVICE).unwrap();
    assert_eq!(device.primary().unwrap().name, "patient");
    assert_eq!(device.reference_paths().next().unwrap().elements, ["patient"]);
}

#[test]
fn members_that_name_other_people_are_unsafe_by_default() {
    let mut marked = ResourceType::all().filter(|marked| unsafe_by_default(*marked)).map(ResourceType::name);
    assert_eq!(
        marked.by_ref().collect::<Vec<_>>(),
        ["AuditEvent", "Group", "List", "MeasureReport", "Person", "Provenance", "Schedule"]
    );
    assert!(!unsafe_by_default(ResourceType::RELATED_PERSON));
    assert!(ResourceType::all().filter(|t| unsafe_by_default(*t)).all(|t| patient_compartment(t).is_some()));
}

#[test]
fn reference_types_are_no_members() {
    let reference_types: Vec<_> = ResourceType::all().filter(|t| is_reference_type(*t)).collect();
    assert_eq!(reference_types.len(), 5);
    assert!(reference_types.into_iter().all(|t| patient_compartment(t).is_none() && !unsafe_by_default(t)));
}
