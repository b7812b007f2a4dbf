//! Whose record a resource is in: what stands where its type's primary reference does.
//!
//! Takes a resource and a patient; tells whether it is that patient's, and whether what is there may be changed for the sake of
//! that patient. Promises that what a server might read as another patient is never taken for this one. Does not say who may read
//! it: that is membership of the compartment, which is wider.

use super::super::asked::compartment_of;
use super::super::reach::Within;
use super::super::{Allowance, Authorizer};
use crate::fhir::compartment::Membership;
use crate::fhir::facts::Facts;
use crate::fhir::reference::{LogicalId as Id, Reference};
use crate::fhir::resource_type::ResourceType;

/// What stands where a reference to a patient may, as far as one of them is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    This,
    Another,
    /// Nothing, or something of this server that is no patient.
    NoPatient,
    /// What a server might read as one.
    Unclear,
}

impl Authorizer {
    /// Whether the reference by which a resource of this type belongs to a patient names this one. Where several may stand,
    /// this one is among them, and each of the others is none or names something of this server.
    pub(super) fn is_primarily_of(&self, facts: &Facts<'_>, patient: &Id) -> bool {
        self.primary(facts, patient)
            .is_some_and(|names| names.contains(&Names::This) && !names.contains(&Names::Unclear))
    }

    /// Whether this allowance lets what is there be changed: it lies within, and where that is the compartment of one patient, it
    /// is of no other record. Who measured, pays or takes part has no say over what is another patient's.
    pub(super) fn may_change(&self, allowance: &Allowance, facts: &Facts<'_>) -> bool {
        let of_this_record = |patient: &Id| {
            let names = self.primary(facts, patient);
            names.is_some_and(|names| {
                names.is_empty() || names.contains(&Names::This) && !names.contains(&Names::Another)
            })
        };
        let within = match &allowance.within {
            Within::Compartment(patient) => of_this_record(patient),
            Within::Everything | Within::ReferenceType | Within::Own(_) | Within::Attached(_) => true,
        };
        within && allowance.admits(facts, &self.bases)
    }

    /// What stands where the type's primary reference does; `None` for a type without one.
    fn primary(&self, facts: &Facts<'_>, patient: &Id) -> Option<Vec<Names>> {
        let compartment = compartment_of(facts.resource_type())?;
        if compartment.membership == Membership::OwnId {
            return Some(vec![if facts.id() == Some(patient.as_id()) { Names::This } else { Names::Another }]);
        }
        let mut names = Vec::new();
        for path in &compartment.primary()?.paths {
            facts.resource().visit(&path.elements, &mut |value| {
                let Some(text) = value.text("reference") else {
                    let unclear = value.member("reference").is_some();
                    return names.push(if unclear { Names::Unclear } else { Names::NoPatient });
                };
                names.push(match Reference::parse(&text, &self.bases) {
                    Reference::Local(local) if local.names(ResourceType::PATIENT, patient.as_id()) => Names::This,
                    Reference::Local(local) if local.resource_type == ResourceType::PATIENT => Names::Another,
                    Reference::Local(_) => Names::NoPatient,
                    Reference::Contained(_)
                    | Reference::Urn(_)
                    | Reference::Conditional(_)
                    | Reference::Foreign(_)
                    | Reference::Unclear(_) => Names::Unclear,
                });
            });
        }
        Some(names)
    }
}
