//! `_include` and `_revinclude`: every type that can come needs the letter r, and in reverse s as well, for then it is found.
//!
//! What comes is tested all the same, one by one, against these reaches. A reference that may be to several types brings
//! those that are served to the grant; one that no scope has is refused by name.

use super::super::asked::Asked;
use super::super::decide::Authorizer;
use super::super::denial::deny;
use super::super::policy::Action;
use super::super::reach::Reach;
use super::super::{Denial, DenialReason};
use super::not_for_this_grant;
use crate::authenticate::Principal;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::{Class, Direction, Include};
use crate::smart::scope::Letter;

impl Authorizer {
    /// The reaches of all that the includes can bring.
    pub(super) fn included(
        &self,
        includes: &[Include],
        matches: &Reach,
        principal: &Principal,
    ) -> Result<Vec<Reach>, Denial> {
        let mut reaches: Vec<Reach> = Vec::new();
        for include in includes {
            let found = self.brought_by(include, matches.resource_type(), principal)?;
            // Such an include goes on from what was included, withheld or not.
            let wide = include.is_plain() || matches.is_unrestricted() && found.iter().all(Reach::is_unrestricted);
            if !wide {
                return Err(not_for_this_grant(Class::Wildcard));
            }
            for reach in found {
                if !reaches.contains(&reach) {
                    reaches.push(reach);
                }
            }
        }
        Ok(reaches)
    }

    fn brought_by(
        &self,
        include: &Include,
        searched: ResourceType,
        principal: &Principal,
    ) -> Result<Vec<Reach>, Denial> {
        let mut found = Vec::new();
        let mut unserved = None;
        for resource_type in include.brings(searched).into_iter().filter(|brought| can_come(*brought)) {
            match self.reaches_of(include.direction(), resource_type, principal) {
                Ok(reaches) => found.extend(reaches),
                // It will not come, whatever the reference is to; others may.
                Err(denial) if matches!(denial.reason, DenialReason::TypeNotServed | DenialReason::PolicyDenied) => {
                    unserved = Some(named(denial, include, searched, resource_type));
                }
                Err(denial) => return Err(named(denial, include, searched, resource_type)),
            }
        }
        match unserved {
            Some(denial) if found.is_empty() => Err(denial),
            None if found.is_empty() => {
                Err(deny(DenialReason::TypeNotServed, "what this include could bring is not served as an include"))
            }
            _ => Ok(found),
        }
    }

    fn reaches_of(
        &self,
        direction: Direction,
        resource_type: ResourceType,
        principal: &Principal,
    ) -> Result<Vec<Reach>, Denial> {
        let asked = |action, letter| Asked::new(action, letter, resource_type);
        let read = self.reach(&asked(Action::Read, Letter::Read), principal)?;
        match direction {
            Direction::Forward => Ok(vec![read]),
            Direction::Reverse => {
                let found = self.reach(&asked(Action::SearchType, Letter::Search), principal)?;
                Ok(vec![read, found])
            }
        }
    }
}

/// Whether resources of the type are ever released beside others: not those that hold other resources, or bytes that only their
/// security context tells about.
fn can_come(resource_type: ResourceType) -> bool {
    !matches!(resource_type, ResourceType::BINARY | ResourceType::BUNDLE | ResourceType::PARAMETERS)
}

fn named(denial: Denial, include: &Include, searched: ResourceType, resource_type: ResourceType) -> Denial {
    let mut diagnostics = format!("`{}` can bring {resource_type}: {}", include.key(), denial.diagnostics);
    if !include.is_of_one_type(searched) {
        diagnostics.push_str("; or name one type, as in `Observation:subject:Patient`");
    }
    Denial { diagnostics, ..denial }
}
