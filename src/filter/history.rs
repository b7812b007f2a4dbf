//! The answer to a history: takes the upstream's Bundle, gives the versions that are within reach.
//!
//! A version that is not is left out; an older one may have been somebody else's. Deletions have no content to be tested, so
//! they are for grants that reach everything of the type. A version of another resource than was asked for, if it may be seen,
//! withholds the answer: it is told only of what may be seen that it is another one.

use std::collections::HashSet;

use http::HeaderMap;

use super::bundle::{self, BundleKind, Entry, Frame, Relation, Review, Total, Verdict};
use super::seal::Continuation;
use super::urls::Position;
use super::{Filter, Releasable, Told, outcome, strict, unusable};
use crate::authorize::{Obligations, Reach};
use crate::error::{Refusal, UpstreamFault};
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::Id;
use crate::fhir::resource_type::ResourceType;
use crate::forward::Answered;
use crate::json::Edits;

impl Filter {
    /// Reviews the versions that came.
    pub(super) fn release_history(&self, answer: Answered, obligations: &Obligations) -> Result<Releasable, Refusal> {
        let body = match answer {
            Answered::Resource { body, .. } => body,
            Answered::Refused { body } => {
                let json = strict(body)?;
                return Err(Refusal::UpstreamRefused { outcome: outcome::sanitise(json.root()).into() });
            }
            Answered::Absent if matches!(obligations.interaction, Interaction::HistoryInstance { .. }) => {
                return Err(Refusal::NotFound);
            }
            Answered::Absent => return Err(Refusal::Upstream(UpstreamFault::Status(404))),
            _ => return Err(unusable("no history")),
        };
        let json = strict(body)?;
        let mut versions = Versions { filter: self, obligations, told: Told::default(), other: false };
        let self_link = format!("{}/{}", self.rebase.ours(), obligations.self_link);
        let total = if versions.wholly() { Total::Keep } else { Total::Remove };
        let frame = Frame { kind: BundleKind::History, rebase: &self.rebase, self_link: &self_link, total };
        let reviewed = bundle::review(&json, &frame, &mut versions).map_err(|fault| unusable(fault.id()))?;
        let Versions { mut told, other, .. } = versions;
        if other {
            return Err(unusable("another resource than was asked for"));
        }
        told.withheld = reviewed.dropped as u64;
        let mut seen = HashSet::new();
        told.resources.retain(|resource| seen.insert(resource.clone()));
        Ok(Releasable::new(HeaderMap::new(), reviewed.body.into(), obligations, told))
    }
}

struct Versions<'f> {
    filter: &'f Filter,
    obligations: &'f Obligations,
    told: Told,
    /// Something of another resource came that may be seen.
    other: bool,
}

impl Versions<'_> {
    fn reaches(&self) -> impl Iterator<Item = &Reach> {
        std::iter::once(&self.obligations.reach).chain(self.obligations.beside.also())
    }

    fn wholly(&self) -> bool {
        self.reaches().all(Reach::is_unrestricted)
    }

    /// Whether it is one that was asked about.
    fn is_asked(&mut self, id: Option<Id<'_>>) -> bool {
        let asked = match &self.obligations.interaction {
            Interaction::HistoryInstance { id: asked, .. } => id == Some(asked.as_id()),
            _ => true,
        };
        self.other |= !asked;
        asked
    }
}

impl Review for Versions<'_> {
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict {
        let within = self.reaches().any(|reach| {
            reach.admits_among(&entry.facts, &self.filter.bases, Some(self.obligations.beside.company())).is_some()
        });
        if !within || !self.is_asked(entry.facts.id()) {
            return Verdict::Drop;
        }
        self.filter.tell(&mut self.told, &entry.facts, self.obligations);
        Verdict::Keep
    }

    fn judge_deletion(&mut self, resource_type: ResourceType, id: Id<'_>) -> Verdict {
        let wholly = self.reaches().any(|reach| reach.resource_type() == resource_type && reach.is_unrestricted());
        if !wholly || !self.is_asked(Some(id)) {
            return Verdict::Drop;
        }
        self.told.resources.push(format!("{resource_type}/{id}"));
        Verdict::Keep
    }

    fn shape(&mut self, entry: &Entry<'_>, edits: &mut Edits<'_>) {
        Filter::project(&entry.facts, self.obligations, edits);
    }

    fn address(&mut self, entry: &Entry<'_>, position: Position, url: &str) -> Option<String> {
        self.filter.attachment(&entry.facts, self.obligations, position, url)
    }

    fn seal(&mut self, _: Relation, url: &str) -> Option<String> {
        let Obligations { principal, interaction, reach, beside, .. } = self.obligations;
        let path_and_query = self.filter.rebase.continuation(url)?.to_owned();
        let continuation = Continuation { resource_type: reach.resource_type(), path_and_query };
        let sealed = self.filter.sealer.seal(&continuation, principal, &beside.bounds())?;
        let path = interaction.history_path()?;
        Some(format!("{}/{path}?_page={sealed}{}", self.filter.rebase.ours(), beside.carried()))
    }
}
