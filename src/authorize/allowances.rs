//! What a token's scopes and the policies allow of one question: each level by itself, in its own context and under its own
//! conditions, all of them together as a [`Reach`].

use std::sync::Arc;

use super::asked::{
    Asked, asker, is_own_entry, launch_patient, scope_insufficient, user_patient, verb, within_reach_of,
};
use super::decide::Authorizer;
use super::denial::{Denial, DenialReason, deny, keep_nearest};
use super::policy::{Asker, Question, Verdict};
use super::reach::{Allowance, Reach, Within};
use crate::authenticate::Principal;
use crate::smart::scope::Level;

impl Authorizer {
    /// Everything that the token's scopes and the policies allow of this together, or why the context that came nearest
    /// does not suffice.
    pub(super) fn reach(&self, asked: &Asked<'_>, principal: &Principal) -> Result<Reach, Denial> {
        let mut allowances = self.allowances(asked, principal)?;
        if let Some(denial) = self.needs_contexts(asked, principal) {
            return Err(denial);
        }
        if let Some(all) = allowances.iter().position(Allowance::is_unrestricted) {
            allowances = vec![allowances.swap_remove(all)];
        }
        let mut narrow_by = self.narrow_by.iter();
        let named = narrow_by.find(|(of, _)| *of == asked.resource_type).map(|(_, parameter)| *parameter);
        let instead = named.or_else(|| self.software.get()?.instead(asked.resource_type));
        let reach = Reach::new(asked.resource_type, allowances)
            .map(|reach| reach.searched_by(self.search_by).narrowed_by(instead));
        reach.ok_or_else(|| scope_insufficient(asked, principal))
    }

    /// What is allowed within one patient's compartment, whatever else is.
    pub(super) fn confined(&self, asked: &Asked<'_>, principal: &Principal) -> Option<Reach> {
        let mut allowances = self.allowances(asked, principal).ok()?;
        allowances.retain(|allowance| allowance.within.patient().is_some());
        Reach::new(asked.resource_type, allowances)
    }

    fn allowances(&self, asked: &Asked<'_>, principal: &Principal) -> Result<Vec<Allowance>, Denial> {
        // A user who is bound to a patient reaches no further than the launch does, and the launch patient goes first.
        let levels = match user_patient(principal) {
            Ok(None) => [Level::System, Level::User, Level::Patient],
            Ok(Some(_)) | Err(_) => [Level::System, Level::Patient, Level::User],
        };
        let mut nearest: Option<Denial> = None;
        let mut allowances: Vec<Allowance> = Vec::new();
        // One resource by its id, and that wholly: no other context reaches further for it.
        if is_own_entry(asked, principal) {
            match self.allow_own_entry(asked, principal) {
                Ok(allowance) => allowances.push(allowance),
                Err(denial) => keep_nearest(&mut nearest, denial),
            }
        }
        for level in levels {
            match self.allow_at(level, asked, principal) {
                Ok(found) => {
                    for allowance in found {
                        if !allowances.contains(&allowance) {
                            allowances.push(allowance);
                        }
                    }
                }
                Err(denial) => keep_nearest(&mut nearest, denial),
            }
        }
        if allowances.is_empty() {
            return Err(nearest.unwrap_or_else(|| scope_insufficient(asked, principal)));
        }
        Ok(allowances)
    }

    /// What this level allows: nothing without a scope; else its context must be there, the type served in it, and the
    /// policies must permit it.
    fn allow_at(&self, level: Level, asked: &Asked<'_>, principal: &Principal) -> Result<Vec<Allowance>, Denial> {
        let wholly = principal.scopes.covers(level, asked.resource_type, asked.letter);
        let conditions = principal.scopes.conditions(level, asked.resource_type, asked.letter);
        if !wholly && conditions.is_empty() {
            return Ok(Vec::new());
        }
        let patient = match level {
            Level::Patient => Some(launch_patient(principal)?),
            Level::User => user_patient(principal)?,
            Level::System => None,
        };
        let within = match patient {
            Some(patient) => within_reach_of(patient, asked)?,
            None => Within::Everything,
        };
        let question = Question {
            asker: asker(level, principal),
            client_id: &principal.client_id,
            action: asked.action,
            resource_type: asked.resource_type,
            level,
            compartment: matches!(within, Within::Compartment(_)),
            referenced: within == Within::ReferenceType,
            fhir_user: false,
            operation: asked.operation.map(|operation| &*operation.name),
        };
        let policies = self.permitted(&question)?;
        let allow = |conditions| Allowance { within: within.clone(), conditions, policies: Arc::clone(&policies) };
        if wholly {
            return Ok(vec![allow(Arc::default())]);
        }
        Ok(conditions.iter().map(|conditions| allow(Arc::clone(conditions))).collect())
    }

    /// The scope `fhirUser`: by id, exactly the resource that the user is (SMART App Launch 2.2, "Scopes for requesting identity
    /// data").
    fn allow_own_entry(&self, asked: &Asked<'_>, principal: &Principal) -> Result<Allowance, Denial> {
        let question = Question {
            asker: Asker::User(&principal.roles),
            client_id: &principal.client_id,
            action: asked.action,
            resource_type: asked.resource_type,
            level: Level::User,
            compartment: false,
            referenced: false,
            fhir_user: true,
            operation: asked.operation.map(|operation| &*operation.name),
        };
        let within = asked.id.cloned().map_or(Within::Everything, Within::Own);
        Ok(Allowance { within, conditions: Arc::default(), policies: self.permitted(&question)? })
    }

    fn permitted(&self, question: &Question<'_>) -> Result<Arc<[String]>, Denial> {
        match &*self.policies.judge(question) {
            Verdict::Permit(policies) => Ok(Arc::clone(policies)),
            Verdict::Deny(forbidding) => {
                let resource_type = question.resource_type;
                let diagnostics =
                    format!("no policy of this site permits this role to {} {resource_type}", verb(question.action));
                Err(Denial { policies: forbidding.to_vec(), ..deny(DenialReason::PolicyDenied, diagnostics) })
            }
            Verdict::Error => Err(deny(
                DenialReason::PolicyError,
                "a policy of this site could not be evaluated, so nothing is permitted",
            )),
        }
    }
}
