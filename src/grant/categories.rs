//! The parts of a resource-level scope that a person may allow instead of the whole: one granular scope per category.
//!
//! Takes a scope that was offered; gives the scopes for its parts, in the order of the page. Promises that each part is covered
//! by the whole. The categories are those that US Core and ONC's HTI-1 name for Condition and Observation. A wildcard has no
//! parts: to say "everything but some observations" would take a scope for each of the other 145 types, which is neither
//! simple to read nor short enough for a token.

use super::pages::{Scopes, Text};
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::{Letter, ResourceScope, Scope};

/// One category of a resource type.
#[derive(Debug)]
pub(super) struct Category {
    resource_type: ResourceType,
    system: &'static str,
    code: &'static str,
    /// What it is.
    pub(super) words: fn(&Scopes) -> Text,
}

const CONDITIONS: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
const CORE_CONDITIONS: &str = "http://hl7.org/fhir/us/core/CodeSystem/condition-category";
const OBSERVATIONS: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const CORE_OBSERVATIONS: &str = "http://hl7.org/fhir/us/core/CodeSystem/us-core-observation-category";
const CORE: &str = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category";

/// All of them, in the order of the page.
const CATEGORIES: [Category; 9] = [
    Category::of(ResourceType::CONDITION, CONDITIONS, "encounter-diagnosis", |s| s.encounter_diagnoses),
    Category::of(ResourceType::CONDITION, CONDITIONS, "problem-list-item", |s| s.problem_list),
    Category::of(ResourceType::CONDITION, CORE_CONDITIONS, "health-concern", |s| s.health_concerns),
    Category::of(ResourceType::OBSERVATION, CORE_OBSERVATIONS, "clinical-test", |s| s.clinical_tests),
    Category::of(ResourceType::OBSERVATION, OBSERVATIONS, "laboratory", |s| s.laboratory),
    Category::of(ResourceType::OBSERVATION, OBSERVATIONS, "social-history", |s| s.social_history),
    Category::of(ResourceType::OBSERVATION, CORE, "sdoh", |s| s.living_conditions),
    Category::of(ResourceType::OBSERVATION, OBSERVATIONS, "survey", |s| s.surveys),
    Category::of(ResourceType::OBSERVATION, OBSERVATIONS, "vital-signs", |s| s.vital_signs),
];

impl Category {
    const fn of(
        resource_type: ResourceType,
        system: &'static str,
        code: &'static str,
        words: fn(&Scopes) -> Text,
    ) -> Self {
        Self { resource_type, system, code, words }
    }
}

/// The categories of a type.
fn categories(resource_type: ResourceType) -> impl Iterator<Item = &'static Category> {
    CATEGORIES.iter().filter(move |category| category.resource_type == resource_type)
}

/// The category that a granular scope is about, when it is about one alone.
pub(super) fn category_of(scope: &ResourceScope) -> Option<&'static Category> {
    let token = scope.constraint.as_deref()?.strip_prefix("category=")?.split_once('|')?;
    categories(scope.resource_type?).find(|category| (category.system, category.code) == token)
}

/// The scopes for the parts of `scope`: the same level, type and permissions (in the words of v2), one category each. Empty when
/// it is about no type with categories, is granular already, or only adds to the record without seeing it.
pub(super) fn parts(scope: &str) -> Vec<String> {
    let Scope::Resource(ResourceScope {
        level, resource_type: Some(resource_type), permissions, constraint: None, ..
    }) = Scope::parse(scope)
    else {
        return Vec::new();
    };
    if !permissions.contains(Letter::Read) && !permissions.contains(Letter::Search) {
        return Vec::new();
    }
    let part = |category: &Category| ResourceScope {
        level,
        resource_type: Some(resource_type),
        permissions,
        v1: false,
        constraint: Some(format!("category={}|{}", category.system, category.code)),
    };
    categories(resource_type).map(|category| part(category).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // A8, P6
    #[test]
    fn the_parts_of_conditions_and_observations_are_their_categories() {
        let conditions = parts("patient/Condition.rs");
        assert_eq!(conditions.len(), 3);
        assert_eq!(
            conditions.first().map(String::as_str),
            Some(
                "patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|encounter-diagnosis"
            )
        );
        assert_eq!(parts("user/Observation.read").len(), 6);
        for (whole, permissions) in [("patient/Observation.read", ".rs?"), ("user/Observation.cruds", ".cruds?")] {
            for part in parts(whole) {
                assert!(part.contains(permissions), "{part}");
                assert!(Scope::parse(&part).is_covered_by(&[Scope::parse(whole)]), "{part} of {whole}");
                let Scope::Resource(scope) = Scope::parse(&part) else { continue };
                assert!(scope.is_checkable() && category_of(&scope).is_some(), "{part}");
            }
        }
        for none in [
            "patient/*.rs",
            "patient/Patient.rs",
            "patient/Observation.c",
            "patient/Observation.rs?category=a",
            "openid",
        ] {
            assert!(parts(none).is_empty(), "{none}");
        }
    }
}
