//! Which included resources a searchset has a reason to hold: those that a released match refers to, or that refer to one.
//!
//! A match that fails the condition of a granular scope is left out; what came along with it would tell that it was there. Takes
//! the matches that are released, gives a test for what is included.

use std::collections::HashSet;

use crate::fhir::facts::Facts;
use crate::fhir::reference::{Bases, Id, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::json::Value;

/// The released matches of one searchset, and what they refer to, each as type and id.
#[derive(Debug, Default)]
pub(super) struct Linked {
    matches: HashSet<(ResourceType, String)>,
    referred: HashSet<(ResourceType, String)>,
}

impl Linked {
    /// Adds a match that is released.
    pub(super) fn add(&mut self, facts: &Facts<'_>, bases: &Bases) {
        self.matches.extend(facts.id().map(|id| (facts.resource_type(), id.as_str().to_owned())));
        references(facts.resource(), bases, &mut |reference| {
            self.referred.insert(reference);
        });
    }

    /// Whether a released match refers to the resource, or the resource to one.
    pub(super) fn has(&self, facts: &Facts<'_>, bases: &Bases) -> bool {
        let referred =
            facts.id().is_some_and(|id| self.referred.contains(&(facts.resource_type(), id.as_str().to_owned())));
        let mut refers = false;
        references(facts.resource(), bases, &mut |reference| refers |= self.matches.contains(&reference));
        referred || refers
    }
}

/// Whether the resource is the one of this type and id, or refers to it.
pub(super) fn is_about(facts: &Facts<'_>, (resource_type, id): (ResourceType, Id<'_>), bases: &Bases) -> bool {
    let mut about = facts.resource_type() == resource_type && facts.id() == Some(id);
    references(facts.resource(), bases, &mut |(of, text)| about |= of == resource_type && text == id.as_str());
    about
}

/// Every reference to a resource of ours in `value`, contained resources included.
fn references(value: Value<'_>, bases: &Bases, visit: &mut impl FnMut((ResourceType, String))) {
    for member in value.members() {
        if member.key.is("reference")
            && let Some(text) = member.value.string()
            && let Some(local) = normalise(&text, bases)
        {
            visit((local.resource_type, local.id.as_str().to_owned()));
        }
        references(member.value, bases, visit);
    }
    value.elements().for_each(|element| references(element, bases, visit));
}
