//! For each (action, type) the policies that can have a say, cut once when policies are loaded.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicySet, ResourceConstraint};

use super::schema::{Action, parents, resource, uid};
use crate::fhir::resource_type::ResourceType;

/// The slices. Equal ones are shared.
#[derive(Debug)]
pub(super) struct Slices(Vec<Option<Arc<PolicySet>>>);

impl Slices {
    /// Cuts a validated set.
    pub(super) fn cut(set: &PolicySet) -> Self {
        let mut shared: HashMap<Vec<String>, Option<Arc<PolicySet>>> = HashMap::new();
        let within = |resource_type| Some(parents(resource_type)?.into_iter().chain(resource(resource_type)).collect());
        let places: Vec<Option<Vec<EntityUid>>> = ResourceType::all().map(within).collect();
        let mut slices = Vec::with_capacity(Action::ALL.len() * ResourceType::COUNT);
        for action in Action::ALL {
            let action = uid("Action", action.name());
            let policies = set.policies().filter(|policy| concerns_action(policy, action.as_ref()));
            let policies: Vec<_> = policies.map(|policy| (policy, policy.resource_constraint())).collect();
            for place in &places {
                slices.push(place.as_ref().and_then(|within| {
                    let policies = policies.iter().filter(|(_, constraint)| concerns_resource(constraint, within));
                    let policies: Vec<&Policy> = policies.map(|(policy, _)| *policy).collect();
                    let mut ids: Vec<String> = policies.iter().map(|policy| policy.id().to_string()).collect();
                    ids.sort_unstable();
                    // A set that cannot be made denies.
                    let make = || PolicySet::from_policies(policies.into_iter().cloned()).ok().map(Arc::new);
                    shared.entry(ids).or_insert_with(make).clone()
                }));
            }
        }
        Self(slices)
    }

    /// The policies that can have a say on this; `None` denies.
    pub(super) fn of(&self, action: Action, resource_type: ResourceType) -> Option<&PolicySet> {
        self.0.get(action as usize * ResourceType::COUNT + resource_type.index())?.as_deref()
    }
}

fn concerns_action(policy: &Policy, action: Option<&EntityUid>) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => action == Some(&one),
        // Actions are in no groups.
        ActionConstraint::In(any) => action.is_some_and(|action| any.contains(action)),
    }
}

fn concerns_resource(constraint: &ResourceConstraint, within: &[EntityUid]) -> bool {
    match constraint {
        // A policy `is` of any type is kept: it may have a say, and the whole set says which.
        ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            within.contains(uid)
        }
    }
}
