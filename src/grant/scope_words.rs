//! Scopes in the words of the consent page.
//!
//! Takes one scope; gives a short line, and a second one where there is something a person should know besides. The
//! technical name stands beside them on the page, so the words can be plain. The words are in the table of each language; this file
//! puts them together. SMART App Launch 2.2, "best practices": a wildcard is explained as "now and in the
//! future".

use super::categories::category_of;
use super::pages::{Item, Language, Scopes, Text};
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::{INTROSPECT, Letter, Level, Permissions, ResourceScope, Scope};

/// Where a scope stands on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Access to records: can be dropped one by one.
    Records,
    /// `offline_access`: can be dropped.
    Offline,
    /// Identity and context: comes with the rest.
    Context,
}

/// Where `scope` stands.
pub(super) fn part(scope: &str) -> Part {
    match Scope::parse(scope) {
        Scope::Resource(_) => Part::Records,
        Scope::OfflineAccess | Scope::OnlineAccess => Part::Offline,
        Scope::Launch
        | Scope::LaunchPatient
        | Scope::LaunchEncounter
        | Scope::Context(_)
        | Scope::OpenId
        | Scope::FhirUser
        | Scope::Profile
        | Scope::Unknown(_) => Part::Context,
    }
}

/// `scope` as an entry of the page.
pub(super) fn item(scope: &str, chosen: bool, language: Language) -> Item {
    let s = &language.words().scopes;
    let (title, detail) = match Scope::parse(scope) {
        Scope::Resource(resource) => return resource_item(scope, &resource, chosen, language),
        Scope::Context(context) => {
            let title = s.open_type.with(kind(context.resource_type.name(), s));
            return Item { scope: scope.to_owned(), title, detail: None, broad: false, chosen, parts: Vec::new() };
        }
        Scope::OfflineAccess => (s.offline, Some(s.offline_about)),
        Scope::OnlineAccess => (s.online, None),
        Scope::Launch => (s.launch, None),
        Scope::LaunchPatient => (s.launch_patient, None),
        Scope::LaunchEncounter => (s.launch_encounter, None),
        Scope::OpenId => (s.open_id, None),
        Scope::FhirUser => (s.fhir_user, None),
        Scope::Profile => (s.profile, None),
        Scope::Unknown(word) if word == INTROSPECT => (s.introspect, None),
        Scope::Unknown(_) => (s.unknown, None),
    };
    let (title, detail) = (title.to_string(), detail.map(|detail| detail.to_string()));
    Item { scope: scope.to_owned(), title, detail, broad: false, chosen, parts: Vec::new() }
}

fn resource_item(text: &str, scope: &ResourceScope, chosen: bool, language: Language) -> Item {
    let s = &language.words().scopes;
    let category = category_of(scope);
    let (noun, wildcard) = match (scope.resource_type, category, scope.level) {
        (Some(_), Some(category), _) => ((category.words)(s).to_string(), false),
        (Some(resource_type), None, _) => (noun(resource_type, s), false),
        (None, _, Level::Patient) => (s.everything_of_patient.to_string(), true),
        (None, _, Level::User | Level::System) => (s.everything_of_user.to_string(), true),
    };
    let mut details = Vec::new();
    if wildcard {
        details.push(s.now_and_in_future);
    }
    if scope.constraint.is_some() && category.is_none() {
        details.push(s.condition);
    }
    if scope.level == Level::User && !wildcard {
        details.push(s.all_patients);
    }
    if scope.permissions.contains(Letter::Read) != scope.permissions.contains(Letter::Search) {
        details.push(if scope.permissions.contains(Letter::Read) { s.one_at_a_time } else { s.by_searching });
    }
    let changes =
        [Letter::Create, Letter::Update, Letter::Delete].iter().any(|letter| scope.permissions.contains(*letter));
    if changes {
        details.push(s.changes_record);
    }
    let details: Vec<&str> = details.into_iter().map(Text::text).collect();
    let verbs = verbs(scope.permissions, s);
    let title = match language {
        Language::English => format!("{verbs} {noun}"),
        Language::German => format!("{noun} {verbs}"),
    };
    Item {
        scope: text.to_owned(),
        title: with_capital(&title),
        detail: (!details.is_empty()).then(|| details.join(". ")),
        broad: wildcard || changes,
        chosen,
        parts: Vec::new(),
    }
}

/// What is open in an EHR, as people call it.
fn kind(name: &str, s: &Scopes) -> String {
    match name {
        "Patient" => s.kind_patient.to_string(),
        "Encounter" => s.kind_encounter.to_string(),
        name => separated(name),
    }
}

/// `see, add and change`
fn verbs(permissions: Permissions, s: &Scopes) -> String {
    let sees = permissions.contains(Letter::Read) || permissions.contains(Letter::Search);
    let verbs: Vec<&str> = [
        (sees, s.see),
        (permissions.contains(Letter::Create), s.add),
        (permissions.contains(Letter::Update), s.change),
        (permissions.contains(Letter::Delete), s.delete),
    ]
    .into_iter()
    .filter_map(|(granted, verb)| granted.then_some(verb.text()))
    .collect();
    match verbs.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {} {last}", rest.join(", "), s.and),
        Some((last, _)) => (*last).to_owned(),
        None => String::new(),
    }
}

fn with_capital(line: &str) -> String {
    let mut letters = line.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// The types of US Core and what is common besides; any other type by its name, in words.
fn noun(resource_type: ResourceType, s: &Scopes) -> String {
    let known = match resource_type.name() {
        "AllergyIntolerance" => s.allergies,
        "Appointment" => s.appointments,
        "Binary" => s.files,
        "CarePlan" => s.care_plans,
        "CareTeam" => s.care_team,
        "Condition" => s.conditions,
        "Coverage" => s.coverage,
        "Device" => s.devices,
        "DiagnosticReport" => s.reports,
        "DocumentReference" => s.documents,
        "Encounter" => s.encounters,
        "FamilyMemberHistory" => s.family_history,
        "Goal" => s.goals,
        "Immunization" => s.immunizations,
        "Location" => s.locations,
        "Media" => s.media,
        "Medication" => s.medicines,
        "MedicationAdministration" => s.administrations,
        "MedicationDispense" => s.dispenses,
        "MedicationRequest" => s.prescriptions,
        "MedicationStatement" => s.medicines_in_use,
        "Observation" => s.observations,
        "Organization" => s.organizations,
        "Patient" => s.demographics,
        "Practitioner" | "PractitionerRole" => s.practitioners,
        "Procedure" => s.procedures,
        "Provenance" => s.provenance,
        "QuestionnaireResponse" => s.questionnaires,
        "RelatedPerson" => s.relatives,
        "ServiceRequest" => s.orders,
        "Specimen" => s.specimens,
        name => return s.of_kind.with(separated(name)),
    };
    known.to_string()
}

/// `nutrition order`
fn separated(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for (i, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && i > 0 {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scope: &str) -> String {
        let item = item(scope, true, Language::English);
        item.detail.map_or(item.title.clone(), |detail| format!("{}. {detail}", item.title))
    }

    #[test]
    fn a9_a_wildcard_is_explained_as_now_and_in_the_future() {
        assert_eq!(
            words("patient/*.rs"),
            "See everything in this patient’s record. Every kind of information, now and in the future"
        );
        assert!(item("patient/*.rs", true, Language::English).broad);
    }

    // A9, P7
    #[test]
    fn granular_scopes_are_named_by_their_category_or_point_to_their_condition() {
        let laboratory = "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
        assert_eq!(words(&format!("patient/Observation.rs?{laboratory}")), "See laboratory results");
        assert_eq!(
            words(&format!("user/Observation.r?{laboratory}")),
            "See laboratory results. For all patients you have access to. One at a time, without searching"
        );
        assert_eq!(
            words("patient/Observation.rs?code=http://loinc.org|8867-4"),
            "See test results, vital signs and other findings. Only those that meet the condition in the technical name below"
        );
    }

    // L4
    #[test]
    fn what_else_was_open_is_named_by_its_type() {
        assert_eq!(words("launch/imagingstudy?role=https://example.org/prior"), "which imaging study you had open");
        assert_eq!(part("launch/imagingstudy"), Part::Context);
    }

    #[test]
    fn german_says_what_first_and_then_what_is_done_with_it() {
        let title = |scope: &str| item(scope, true, Language::German).title;
        assert_eq!(title("patient/AllergyIntolerance.read"), "Allergien sehen");
        assert_eq!(
            title("patient/Condition.cruds"),
            "Gesundheitsprobleme und Diagnosen sehen, ergänzen, ändern und löschen"
        );
        assert_eq!(title("patient/*.rs"), "Alles in der Akte dieses Patienten sehen");
        assert_eq!(title("patient/NutritionOrder.rs"), "Einträge der Art „nutrition order“ sehen");
        assert_eq!(title("offline_access"), "Den Zugriff behalten, während Sie weg sind");
    }

    #[test]
    fn records_are_named_plainly() {
        assert_eq!(words("patient/AllergyIntolerance.read"), "See allergies");
        assert_eq!(
            words("patient/Condition.cruds"),
            "See, add, change and delete health problems and diagnoses. This changes the record"
        );
        assert_eq!(
            words("patient/Observation.c"),
            "Add test results, vital signs and other findings. This changes the record"
        );
        assert_eq!(words("patient/Immunization.r"), "See vaccinations. One at a time, without searching");
        assert_eq!(words("user/Encounter.rs"), "See visits and stays. For all patients you have access to");
        assert_eq!(words("patient/NutritionOrder.rs"), "See entries of the kind “nutrition order”");
    }

    #[test]
    fn only_records_and_offline_access_can_be_dropped() {
        assert_eq!(part("patient/*.rs"), Part::Records);
        assert_eq!(part("offline_access"), Part::Offline);
        for context in ["openid", "fhirUser", "launch", "launch/patient", "launch/encounter"] {
            assert_eq!(part(context), Part::Context);
        }
    }
}
