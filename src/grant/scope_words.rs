//! Scopes in the words of the consent page.
//!
//! Takes one scope; gives a short line, and a second one where there is something a person should know besides. The
//! technical name stands beside them on the page, so the words can be plain. SMART App Launch 2.2, "best practices": a wildcard is
//! explained as "now and in the future".

use super::pages::Item;
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::{Letter, Level, Permissions, ResourceScope, Scope};

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
        | Scope::OpenId
        | Scope::FhirUser
        | Scope::Profile
        | Scope::Unknown(_) => Part::Context,
    }
}

/// `scope` as an entry of the page.
pub(super) fn item(scope: &str, chosen: bool) -> Item {
    let (title, detail, broad) = match Scope::parse(scope) {
        Scope::Resource(resource) => return resource_item(scope, &resource, chosen),
        Scope::OfflineAccess => (
            "Keep this access while you are away",
            Some("Until you or this site withdraw it. Without it, the app has to ask you to sign in again."),
            false,
        ),
        Scope::OnlineAccess => ("Keep this access while you are signed in", None, false),
        Scope::Launch => ("where you opened it, and for which patient", None, false),
        Scope::LaunchPatient => ("which patient is chosen", None, false),
        Scope::LaunchEncounter => ("which visit is chosen", None, false),
        Scope::OpenId => ("that it is you who signed in", None, false),
        Scope::FhirUser => ("who you are: your own entry, with your name", None, false),
        Scope::Profile => ("your name", None, false),
        Scope::Unknown(_) => ("something that is not known here", None, false),
    };
    Item { scope: scope.to_owned(), title: title.to_owned(), detail: detail.map(str::to_owned), broad, chosen }
}

fn resource_item(text: &str, scope: &ResourceScope, chosen: bool) -> Item {
    let (noun, wildcard) = match (scope.resource_type, scope.level) {
        (Some(resource_type), _) => (noun(resource_type), false),
        (None, Level::Patient) => ("everything in this patient’s record".to_owned(), true),
        (None, Level::User | Level::System) => ("everything you have access to".to_owned(), true),
    };
    let mut details = Vec::new();
    if wildcard {
        details.push("Every kind of information, now and in the future");
    }
    if scope.level == Level::User && !wildcard {
        details.push("For all patients you have access to");
    }
    if scope.permissions.contains(Letter::Read) != scope.permissions.contains(Letter::Search) {
        details.push(if scope.permissions.contains(Letter::Read) {
            "One at a time, without searching"
        } else {
            "By searching"
        });
    }
    let changes =
        [Letter::Create, Letter::Update, Letter::Delete].iter().any(|letter| scope.permissions.contains(*letter));
    if changes {
        details.push("This changes the record");
    }
    Item {
        scope: text.to_owned(),
        title: format!("{} {noun}", verbs(scope.permissions)),
        detail: (!details.is_empty()).then(|| details.join(". ")),
        broad: wildcard || changes,
        chosen,
    }
}

/// `See, add and change`
fn verbs(permissions: Permissions) -> String {
    let sees = permissions.contains(Letter::Read) || permissions.contains(Letter::Search);
    let verbs: Vec<&str> = [
        (sees, "see"),
        (permissions.contains(Letter::Create), "add"),
        (permissions.contains(Letter::Update), "change"),
        (permissions.contains(Letter::Delete), "delete"),
    ]
    .into_iter()
    .filter_map(|(granted, verb)| granted.then_some(verb))
    .collect();
    let line = match verbs.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => String::new(),
    };
    let mut letters = line.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// The types of US Core and what is common besides; any other type by its name, in words.
fn noun(resource_type: ResourceType) -> String {
    let known = match resource_type.name() {
        "AllergyIntolerance" => "allergies",
        "Appointment" => "appointments",
        "Binary" => "files",
        "CarePlan" => "care plans",
        "CareTeam" => "the care team",
        "Condition" => "health problems and diagnoses",
        "Coverage" => "insurance",
        "Device" => "medical devices and implants",
        "DiagnosticReport" => "reports of examinations",
        "DocumentReference" => "documents and notes",
        "Encounter" => "visits and stays",
        "FamilyMemberHistory" => "family history",
        "Goal" => "health goals",
        "Immunization" => "vaccinations",
        "Location" => "places of care",
        "Media" => "pictures and recordings",
        "Medication" => "medicines",
        "MedicationAdministration" => "medicines that were given",
        "MedicationDispense" => "medicines that were handed out",
        "MedicationRequest" => "prescriptions",
        "MedicationStatement" => "medicines in use",
        "Observation" => "test results, vital signs and other findings",
        "Organization" => "organisations",
        "Patient" => "name, birth date, address and contacts",
        "Practitioner" | "PractitionerRole" => "doctors, nurses and other staff",
        "Procedure" => "procedures and operations",
        "Provenance" => "where entries come from",
        "QuestionnaireResponse" => "filled-in questionnaires",
        "RelatedPerson" => "relatives and contacts",
        "ServiceRequest" => "orders and referrals",
        "Specimen" => "samples",
        name => return in_words(name),
    };
    known.to_owned()
}

/// `entries of the kind “nutrition order”`
fn in_words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    for (i, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && i > 0 {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    format!("entries of the kind “{words}”")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scope: &str) -> String {
        let item = item(scope, true);
        item.detail.map_or(item.title.clone(), |detail| format!("{}. {detail}", item.title))
    }

    #[test]
    fn a9_a_wildcard_is_explained_as_now_and_in_the_future() {
        assert_eq!(
            words("patient/*.rs"),
            "See everything in this patient’s record. Every kind of information, now and in the future"
        );
        assert!(item("patient/*.rs", true).broad);
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
