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
    /// `system|code`
    pub(super) token: &'static str,
    /// What it is.
    pub(super) words: fn(&Scopes) -> Text,
}

const CONDITION: [Category; 3] = [
    Category {
        token: "http://terminology.hl7.org/CodeSystem/condition-category|encounter-diagnosis",
        words: |s| s.encounter_diagnoses,
    },
    Category {
        token: "http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item",
        words: |s| s.problem_list,
    },
    Category {
        token: "http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
        words: |s| s.health_concerns,
    },
];

const OBSERVATION: [Category; 6] = [
    Category {
        token: "http://hl7.org/fhir/us/core/CodeSystem/us-core-observation-category|clinical-test",
        words: |s| s.clinical_tests,
    },
    Category {
        token: "http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
        words: |s| s.laboratory,
    },
    Category {
        token: "http://terminology.hl7.org/CodeSystem/observation-category|social-history",
        words: |s| s.social_history,
    },
    Category { token: "http://hl7.org/fhir/us/core/CodeSystem/us-core-category|sdoh", words: |s| s.living_conditions },
    Category { token: "http://terminology.hl7.org/CodeSystem/observation-category|survey", words: |s| s.surveys },
    Category {
        token: "http://terminology.hl7.org/CodeSystem/observation-category|vital-signs",
        words: |s| s.vital_signs,
    },
];

/// The categories of a type.
pub(super) fn categories(resource_type: ResourceType) -> &'static [Category] {
    match resource_type {
        ResourceType::CONDITION => &CONDITION,
        ResourceType::OBSERVATION => &OBSERVATION,
        _ => &[],
    }
}

/// The category that a granular scope is about, when it is about one alone.
pub(super) fn category_of(scope: &ResourceScope) -> Option<&'static Category> {
    let token = scope.constraint.as_deref()?.strip_prefix("category=")?;
    categories(scope.resource_type?).iter().find(|category| category.token == token)
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
        constraint: Some(format!("category={}", category.token)),
    };
    categories(resource_type).iter().map(|category| part(category).to_string()).collect()
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
