//! What a search for Provenance names: targets, which are looked at before anything is searched, and ids.

use super::super::change::{Lookups, Ready};
use super::super::policy::Action;
use super::super::{Authorizer, Company, UpstreamRequest};
use super::versions::Versions;
use super::{MOST_IDS, MOST_VERSIONS, is_own, judged_by_targets, too_many};
use crate::error::Refusal;
use crate::fhir::reference::{Id, normalise};
use crate::fhir::search::{SearchQuery, split_alternatives, unescape};

/// Whether the search says by itself which few it is about.
pub(in super::super) fn names_few(search: &SearchQuery) -> bool {
    search.criteria.iter().any(|one| one.modifier.is_none() && matches!(one.parameter.name, "_id" | "target"))
}

impl Authorizer {
    /// What the search names as targets and is not the patient: whatever else is found must be within reach.
    pub(super) fn named(&self, ready: &Ready) -> Result<(Lookups, Versions), Refusal> {
        let (mut lookups, mut versions) = (Lookups::default(), Versions::default());
        if named_ids(ready).is_some_and(|many| many > MOST_IDS) {
            return Err(Refusal::bad_request(format!("expected at most {MOST_IDS} ids of Provenance")));
        }
        if !judged_by_targets(ready) {
            return Ok((lookups, versions));
        }
        for value in targets(&ready.upstream) {
            for text in split_alternatives(value).unwrap_or_default() {
                let text = unescape(&text);
                match normalise(&text, &self.bases) {
                    Some(local) if is_own(ready, &local) => {}
                    Some(local) => {
                        let principal = &ready.obligations.principal;
                        if let Some(reach) = self.reach_of_targets(Action::Read, local.resource_type, principal) {
                            lookups.add(reach, local.id)?;
                        }
                        if let Some((version, reach)) = self.readable_version(&local, principal) {
                            versions.put(reach, local.id, version);
                            if versions.len() > MOST_VERSIONS {
                                return Err(too_many(ready, "versions as targets", MOST_VERSIONS));
                            }
                        }
                    }
                    None if Id::parse(&text).is_some() => {
                        return Err(Refusal::bad_request("expected `target` to name resources by `Type/id`"));
                    }
                    // Elsewhere nothing is within reach.
                    None => {}
                }
            }
        }
        Ok((lookups, versions))
    }

    /// Leaves of the targets that the search names those within reach; whether any is left, where some are named.
    pub(super) fn aim_within_reach(&self, ready: &mut Ready, company: &Company) -> bool {
        let within = |text: &str, ready: &Ready| {
            normalise(&unescape(text), &self.bases).is_some_and(|local| is_own(ready, &local) || company.has(&local))
        };
        let mut kept = Vec::new();
        for value in targets(&ready.upstream) {
            let mut alternatives = split_alternatives(value).unwrap_or_default();
            alternatives.retain(|text| within(text, ready));
            if alternatives.is_empty() {
                return false;
            }
            kept.push(alternatives.join(","));
        }
        let mut kept = kept.into_iter();
        if let UpstreamRequest::Search { parameters, .. } | UpstreamRequest::SearchCompartment { parameters, .. } =
            &mut ready.upstream
        {
            for (_, value) in parameters.iter_mut().filter(|(name, _)| name == "target") {
                *value = kept.next().unwrap_or_default();
            }
        }
        true
    }
}

fn parameters(upstream: &UpstreamRequest) -> &[(String, String)] {
    match upstream {
        UpstreamRequest::Search { parameters, .. } | UpstreamRequest::SearchCompartment { parameters, .. } => {
            parameters
        }
        _ => &[],
    }
}

/// The values of `target` that a search has.
fn targets(upstream: &UpstreamRequest) -> impl Iterator<Item = &String> {
    parameters(upstream).iter().filter(|(name, _)| name == "target").map(|(_, value)| value)
}

/// How many Provenances a search names by their ids, if it does.
pub(super) fn named_ids(ready: &Ready) -> Option<usize> {
    let ids = parameters(&ready.upstream).iter().filter(|(name, _)| name == "_id");
    ids.map(|(_, value)| value.split(',').count()).min()
}
