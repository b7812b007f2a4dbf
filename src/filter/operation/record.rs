//! A record (`$everything`), and other searchsets of operations: what is outside of reach is left out.
//!
//! Records refer to what is not theirs, and servers give that along. Whoever does not read every type gets it only when something
//! that leaves on the same page refers to it: else it would tell what is hidden, for instance who treats a patient.

use bytes::Bytes;
use http::HeaderMap;

use super::super::bundle::{self, BundleKind, Entry, Fault, Frame, Mode, Relation, Review, Total, Verdict};
use super::super::linked::{Linked, is_about};
use super::super::urls::Position;
use super::super::{Filter, Releasable, Told, strict, unusable};
use crate::authorize::{Allowance, Obligations, Reach, Within};
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Edits, Json, Value};

impl Filter {
    /// Reviews a searchset of which all of these types may leave; `None`: of whatever type is within reach.
    pub(super) fn release_record(
        &self,
        body: Bytes,
        obligations: &Obligations,
        types: Option<&[ResourceType]>,
        whole: bool,
    ) -> Result<Releasable, Refusal> {
        let json = strict(body)?;
        let self_link = format!("{}/{}", self.rebase.ours(), obligations.self_link);
        let mut reaches = [&obligations.reach].into_iter().chain(obligations.beside.also());
        let total = if reaches.all(Reach::is_unrestricted) { Total::Keep } else { Total::Remove };
        let frame = Frame { kind: BundleKind::Searchset, rebase: &self.rebase, self_link: &self_link, total };
        let linked = self.linked(&json, obligations, whole);
        let mut reviewer = Reviewer { filter: self, obligations, types, whole, linked, told: Told::default() };
        let released = bundle::review(&json, &frame, &mut reviewer).map_err(|fault: Fault| unusable(fault.id()))?;
        let Reviewer { mut told, .. } = reviewer;
        told.withheld += released.dropped as u64;
        Ok(Releasable::new(HeaderMap::new(), released.body.into(), obligations, told))
    }

    /// What is released for its own sake.
    fn linked(&self, json: &Json, obligations: &Obligations, whole: bool) -> Linked {
        let mut linked = Linked::default();
        for entry in json.root().member("entry").into_iter().flat_map(Value::elements) {
            let Some(Ok(facts)) = entry.member("resource").map(Facts::of) else { continue };
            let allowance = self.within(&facts, obligations);
            if allowance.is_some_and(|allowance| whole || self.by_itself(&facts, allowance, obligations)) {
                linked.add(&facts, &self.bases);
            }
        }
        linked
    }

    /// Whether it belongs to the record that was asked for by what it says itself, and does not only come along.
    fn by_itself(&self, facts: &Facts<'_>, allowance: &Allowance, obligations: &Obligations) -> bool {
        match (&allowance.within, &obligations.interaction) {
            (Within::ReferenceType, _) => false,
            (Within::Compartment(_) | Within::Attached(_) | Within::Own(_), _) => true,
            (
                Within::Everything,
                Interaction::Operation { resource_type: Some(ResourceType::PATIENT), id: Some(id), .. },
            ) => facts.member(id.as_id(), &self.bases),
            (Within::Everything, Interaction::Operation { resource_type: Some(of), id: Some(id), .. }) => {
                is_about(facts, (*of, id.as_id()), &self.bases)
            }
            (Within::Everything, _) => !facts.patients(&self.bases).is_empty(),
        }
    }
}

struct Reviewer<'f> {
    filter: &'f Filter,
    obligations: &'f Obligations,
    types: Option<&'f [ResourceType]>,
    whole: bool,
    linked: Linked,
    told: Told,
}

impl Review for Reviewer<'_> {
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict {
        let facts = &entry.facts;
        let of_type = self.types.is_none_or(|types| types.contains(&facts.resource_type()));
        let allowance = self.filter.within(facts, self.obligations).filter(|_| of_type);
        let released = match allowance {
            None => false,
            Some(allowance) => {
                self.whole
                    || self.filter.by_itself(facts, allowance, self.obligations)
                    || self.linked.has(facts, &self.filter.bases)
            }
        };
        if !released || entry.mode == Mode::Outcome {
            return Verdict::Drop;
        }
        self.filter.tell(&mut self.told, facts, self.obligations);
        Verdict::Keep
    }

    fn shape(&mut self, entry: &Entry<'_>, edits: &mut Edits<'_>) {
        Filter::project(&entry.facts, self.obligations, edits);
    }

    fn address(&mut self, entry: &Entry<'_>, position: Position, url: &str) -> Option<String> {
        self.filter.attachment(&entry.facts, self.obligations, position, url)
    }

    fn seal(&mut self, _: Relation, url: &str) -> Option<String> {
        let path_and_query = self.filter.rebase.continuation(url)?;
        self.filter.page_link(self.obligations, path_and_query)
    }
}
