//! The conditions of a granular scope: what follows the `?`.
//!
//! Takes their text; gives the [`Condition`]s for one resource type, or nothing when any of them could not be checked on one
//! resource alone. A scope with such a condition is never granted and grants nothing: nobody could keep it. SMART App Launch
//! 2.2, "Finer-grained resource constraints using search parameters": modifiers such as `:in`, chains, `_filter` and the like are
//! experimental there.

use percent_encoding::percent_decode_str;

use crate::fhir::condition::Condition;
use crate::fhir::resource_type::ResourceType;

/// What every resource has, whichever type it is: all that a scope for `*` may ask.
const COMMON: [&str; 4] = ["_id", "_profile", "_security", "_tag"];

/// The conditions of `constraint` on `resource_type`, all of which must hold: pairs joined by `&`, names and values
/// percent-decoded once. `None` when one cannot be checked.
#[must_use]
pub(super) fn conditions(resource_type: ResourceType, constraint: &str) -> Option<Vec<Condition>> {
    let decode = |text| percent_decode_str(text).decode_utf8().ok();
    constraint
        .split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (decode(name)?, decode(value)?);
            let plain = value.chars().all(|character| !character.is_control() && character != '\\');
            Condition::parse(resource_type, &name, &value).filter(|_| plain)
        })
        .collect()
}

/// Whether a scope for every type may have this constraint.
#[must_use]
pub(super) fn is_common(constraint: &str) -> bool {
    constraint.split('&').all(|pair| pair.split_once('=').is_some_and(|(name, _)| COMMON.contains(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // P7, B1 12
    #[test]
    fn a_constraint_is_kept_as_a_whole_or_not_at_all() {
        let observation = ResourceType::OBSERVATION;
        for (good, count) in [
            ("category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory", 1),
            ("category=a&code=http://loinc.org|8867-4", 2),
            ("category=a&category=b", 2),
            ("category=a%7Cb,c", 1),
            ("_tag=x", 1),
        ] {
            assert_eq!(conditions(observation, good).map(|found| found.len()), Some(count), "{good}");
        }
        for bad in ["category=a&date=2026", "category", "category=a%FF", "category=a%5Cb", "category=a%00", "", "&"] {
            assert_eq!(conditions(observation, bad), None, "{bad}");
        }
        assert!(is_common("_tag=x&_security=y"));
        assert!(!is_common("_tag=x&category=y"));
    }
}
