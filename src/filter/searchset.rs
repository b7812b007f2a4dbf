//! The answer to a search, whether it was asked in one piece or in several.
//!
//! Takes the upstream's searchsets, gives one in which every match is within reach. A match that is not withholds the whole
//! answer, except that one which only fails the condition of a granular scope is left out: servers differ in how they compare
//! codes. What was included leaves only when it is of a type that was asked for, within that type's reach, and linked to a
//! match that leaves. Of several pieces each resource is taken once, from the first piece that has it, on this page and on all
//! others: for it is the earlier piece that finds it, whether or not it was on this page.

use std::collections::HashSet;

use bytes::Bytes;
use http::HeaderMap;

use super::bundle::{self, BundleKind, Entry, Fault, Frame, Mode, Relation, Review, Total, Verdict};
use super::linked::Linked;
use super::seal::Continuation;
use super::urls::Position;
use super::{Filter, Releasable, Told, outcome, strict, unusable};
use crate::authorize::{Company, Confines, Obligations, Part, Reach, write_pages};
use crate::error::{Refusal, UpstreamFault};
use crate::fhir::facts::Facts;
use crate::fhir::projection::Projection;
use crate::fhir::resource_type::ResourceType;
use crate::forward::Answered;
use crate::json::{Edits, Json, Limits, Value, quote_into};

impl Filter {
    /// Reviews what a search gave.
    pub(super) fn release_searchset(&self, answer: Answered, obligations: &Obligations) -> Result<Releasable, Refusal> {
        let self_link = format!("{}/{}", self.rebase.ours(), obligations.self_link);
        let mut reviewer = Reviewer::new(self, obligations, &self_link);
        let body = match answer {
            Answered::Each(answers) => {
                let Piece { entries, continued } = reviewer.pieces(answers)?;
                let next = continued.and_then(|text| reviewer.sealed(&text));
                joined(&self_link, next.as_deref(), &entries)
            }
            Answered::PerType(answers) => {
                let Piece { entries, continued } = reviewer.of_types(answers)?;
                let next = continued.and_then(|text| reviewer.sealed(&text));
                joined(&self_link, next.as_deref(), &entries)
            }
            Answered::Nothing => empty_searchset(&self_link, reviewer.total() == Total::Keep),
            other => reviewer.review(searchset(other)?)?.into(),
        };
        Ok(Releasable::new(HeaderMap::new(), body, obligations, reviewer.told))
    }

    /// Our link to a continuation of the upstream's, below its base.
    pub(super) fn page_link(&self, obligations: &Obligations, path_and_query: &str) -> Option<String> {
        let Obligations { principal, interaction, reach, beside, .. } = obligations;
        let continuation =
            Continuation { resource_type: reach.resource_type(), path_and_query: beside.write_page(path_and_query) };
        let sealed = self.sealer.seal(&continuation, principal, &beside.bounds())?;
        Some(format!("{}/{}?_page={sealed}{}", self.rebase.ours(), interaction.search_path(), beside.carried()))
    }
}

struct Reviewer<'f> {
    filter: &'f Filter,
    obligations: &'f Obligations,
    /// What matches must be within.
    reach: &'f Reach,
    told: Told,
    self_link: &'f str,
    /// Of a search in several pieces: where the pieces before this one look.
    part: Option<Vec<Confines>>,
    /// Of a piece: its continuation, below the upstream's base.
    next: Option<String>,
    /// Of a piece: the included resources that are in the answer already.
    included: HashSet<(ResourceType, String)>,
    /// The matches that are released, where some may be left out.
    linked: Option<Linked>,
    /// What is released, where Provenance of it may be included.
    company: Company,
}

/// Entries, separated by commas, and what would be sealed to go on from them.
#[derive(Default)]
struct Piece {
    entries: Vec<u8>,
    continued: Option<String>,
}

impl<'f> Reviewer<'f> {
    fn new(filter: &'f Filter, obligations: &'f Obligations, self_link: &'f str) -> Self {
        Self {
            filter,
            obligations,
            reach: &obligations.reach,
            told: Told::default(),
            self_link,
            part: None,
            next: None,
            included: HashSet::new(),
            linked: None,
            company: obligations.beside.company().clone(),
        }
    }

    /// The pages that searches on several types gave.
    fn of_types(&mut self, answers: Vec<(Option<ResourceType>, Answered)>) -> Result<Piece, Refusal> {
        let mut all = Piece::default();
        let mut continued: Vec<(ResourceType, String)> = Vec::new();
        for (resource_type, answer) in answers {
            let mut reaches = [&self.obligations.reach].into_iter().chain(self.obligations.beside.also());
            let reach = reaches.find(|reach| Some(reach.resource_type()) == resource_type);
            self.reach = reach.ok_or_else(|| unusable("an answer to a search that was not made"))?;
            let piece = match answer {
                Answered::Each(answers) => self.pieces(answers)?,
                Answered::Nothing => Piece::default(),
                other => {
                    // One piece that looks everywhere that its type's search does.
                    let mut piece = self.pieces(vec![(0, other)])?;
                    piece.continued = self.next.take();
                    piece
                }
            };
            add(&mut all.entries, &piece.entries);
            continued.extend(piece.continued.map(|text| (self.reach.resource_type(), text)));
        }
        self.reach = &self.obligations.reach;
        all.continued = (!continued.is_empty()).then(|| write_pages(&continued));
        Ok(all)
    }

    /// The pages that several searches on one type gave.
    fn pieces(&mut self, answers: Vec<(usize, Answered)>) -> Result<Piece, Refusal> {
        let confines = self.reach.confines();
        let mut all = Piece::default();
        let mut continued: Vec<(usize, String)> = Vec::new();
        for (place, answer) in answers {
            self.part = confines.get(..place).map(<[Confines]>::to_vec);
            self.next = None;
            let piece = self.review(searchset(answer)?)?;
            let json =
                Json::parse(Bytes::from(piece), Limits::default()).map_err(|_| unusable("edits broke the json"))?;
            for entry in json.root().member("entry").into_iter().flat_map(Value::elements) {
                add(&mut all.entries, entry.raw());
            }
            continued.extend(self.next.clone().map(|path_and_query| (place, path_and_query)));
        }
        all.continued = (!continued.is_empty()).then(|| Part::write_all(&continued));
        Ok(all)
    }

    fn review(&mut self, body: Bytes) -> Result<Vec<u8>, Refusal> {
        let json = strict(body)?;
        self.linked = self.links(&json);
        self.keep_company(&json);
        let frame = Frame {
            kind: BundleKind::Searchset,
            rebase: &self.filter.rebase,
            self_link: self.self_link,
            total: self.total(),
        };
        let released = bundle::review(&json, &frame, self).map_err(|fault| match fault {
            Fault::Violation(_) => Refusal::Upstream(UpstreamFault::Foreign(self.reach.resource_type())),
            Fault::NotTheBundle | Fault::Malformed(_) | Fault::NotAResource | Fault::Contradiction => {
                unusable(fault.id())
            }
        })?;
        self.told.withheld += released.dropped as u64;
        Ok(released.body)
    }

    /// A total leaves only where nothing that it counts, or that its absence would tell of, can be left out.
    fn total(&self) -> Total {
        let wholly = |reaches: &[Reach]| reaches.iter().all(Reach::is_unrestricted);
        if self.reach.is_unrestricted() && wholly(self.obligations.beside.included()) {
            Total::Keep
        } else {
            Total::Remove
        }
    }

    /// The matches that will be released, when there are includes and a match may be left out.
    fn links(&self, json: &Json) -> Option<Linked> {
        let conditional = self.reach.allowances().iter().any(|allowance| !allowance.conditions.is_empty());
        if !conditional || self.obligations.beside.included().is_empty() {
            return None;
        }
        let mut linked = Linked::default();
        for entry in json.root().member("entry").into_iter().flat_map(Value::elements) {
            let Some(Ok(facts)) = entry.member("resource").map(Facts::of) else { continue };
            if BundleKind::Searchset.mode(entry) == Mode::Match
                && self.reach.admits(&facts, &self.filter.bases).is_some()
            {
                linked.add(&facts, &self.filter.bases);
            }
        }
        Some(linked)
    }

    /// What is released of this page, by which included Provenance is judged.
    fn keep_company(&mut self, json: &Json) {
        let judged = |reach: &Reach| reach.resource_type() == ResourceType::PROVENANCE && !reach.is_unrestricted();
        if !self.obligations.beside.included().iter().any(judged) {
            return;
        }
        let bases = &self.filter.bases;
        for entry in json.root().member("entry").into_iter().flat_map(Value::elements) {
            let Some(Ok(facts)) = entry.member("resource").map(Facts::of) else { continue };
            let released = match BundleKind::Searchset.mode(entry) {
                Mode::Match => self.reach.admits_among(&facts, bases, Some(&self.company)).is_some(),
                Mode::Include => self.may_include(&facts),
                Mode::Outcome => false,
            };
            if released && facts.resource_type() != ResourceType::PROVENANCE {
                self.company.add(&facts, bases);
            }
        }
    }

    fn may_include(&self, facts: &Facts<'_>) -> bool {
        let bases = &self.filter.bases;
        self.linked.as_ref().is_none_or(|linked| linked.has(facts, bases))
            && self.obligations.beside.admits(facts, bases, &self.company)
    }

    /// Our link to a continuation of the upstream's.
    fn sealed(&self, path_and_query: &str) -> Option<String> {
        self.filter.page_link(self.obligations, path_and_query)
    }

    fn judge_match(&mut self, entry: &Entry<'_>) -> Verdict {
        let (reach, bases) = (self.reach, &self.filter.bases);
        let by_an_earlier_part = || self.part.iter().flatten().any(|confines| confines.admits(&entry.facts, bases));
        if reach.admits_among(&entry.facts, bases, Some(&self.company)).is_none() {
            // What it is about may be somebody else's meanwhile.
            let of_targets = entry.facts.resource_type() == ResourceType::PROVENANCE
                && reach.resource_type() == ResourceType::PROVENANCE;
            return if of_targets || reach.admits_but_for_conditions(&entry.facts, bases) {
                Verdict::Drop
            } else {
                Verdict::Violation("upstream_foreign_match")
            };
        }
        if by_an_earlier_part() {
            return Verdict::Drop;
        }
        self.filter.tell(&mut self.told, &entry.facts, self.obligations);
        Verdict::Keep
    }

    fn judge_included(&mut self, entry: &Entry<'_>) -> Verdict {
        if !self.may_include(&entry.facts) {
            return Verdict::Drop;
        }
        let Some(id) = entry.facts.id() else { return Verdict::Drop };
        if self.part.is_some() && !self.included.insert((entry.facts.resource_type(), id.as_str().to_owned())) {
            return Verdict::Drop;
        }
        self.filter.tell(&mut self.told, &entry.facts, self.obligations);
        Verdict::Keep
    }
}

impl Review for Reviewer<'_> {
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict {
        match entry.mode {
            Mode::Match => self.judge_match(entry),
            Mode::Include => self.judge_included(entry),
            Mode::Outcome => Verdict::Drop,
        }
    }

    fn shape(&mut self, entry: &Entry<'_>, edits: &mut Edits<'_>) {
        let for_matches = matches!(self.obligations.projection, Projection::Elements(_));
        if entry.mode == Mode::Match || !for_matches {
            Filter::project(&entry.facts, self.obligations, edits);
        }
    }

    fn address(&mut self, entry: &Entry<'_>, position: Position, url: &str) -> Option<String> {
        self.filter.attachment(&entry.facts, self.obligations, position, url)
    }

    fn seal(&mut self, relation: Relation, url: &str) -> Option<String> {
        let path_and_query = self.filter.rebase.continuation(url)?.to_owned();
        if self.part.is_some() {
            self.next = (relation == Relation::Next).then_some(path_and_query).or_else(|| self.next.take());
            return None;
        }
        self.sealed(&path_and_query)
    }
}

fn add(entries: &mut Vec<u8>, more: &[u8]) {
    if !entries.is_empty() && !more.is_empty() {
        entries.push(b',');
    }
    entries.extend_from_slice(more);
}

/// The body of a search's answer.
fn searchset(answer: Answered) -> Result<Bytes, Refusal> {
    match answer {
        Answered::Resource { body, .. } => Ok(body),
        Answered::Refused { body } => {
            let json = strict(body)?;
            Err(Refusal::UpstreamRefused { outcome: outcome::sanitise(json.root()).into() })
        }
        Answered::Absent => Err(Refusal::Upstream(UpstreamFault::Status(404))),
        Answered::Nothing
        | Answered::Each(_)
        | Answered::PerType(_)
        | Answered::Written(_)
        | Answered::Declined { .. } => Err(unusable("no searchset")),
    }
}

fn empty_searchset(self_link: &str, total: bool) -> Bytes {
    let mut text = br#"{"resourceType":"Bundle","type":"searchset","#.to_vec();
    if total {
        text.extend_from_slice(br#""total":0,"#);
    }
    text.extend_from_slice(br#""link":[{"relation":"self","url":"#);
    quote_into(self_link, &mut text);
    text.extend_from_slice(b"}]}");
    text.into()
}

/// A searchset of these entries, separated by commas.
fn joined(self_link: &str, next: Option<&str>, entries: &[u8]) -> Bytes {
    let mut text = br#"{"resourceType":"Bundle","type":"searchset","link":[{"relation":"self","url":"#.to_vec();
    quote_into(self_link, &mut text);
    if let Some(next) = next {
        text.extend_from_slice(br#"},{"relation":"next","url":"#);
        quote_into(next, &mut text);
    }
    text.extend_from_slice(b"}]");
    if !entries.is_empty() {
        text.extend_from_slice(br#","entry":["#);
        text.extend_from_slice(entries);
        text.push(b']');
    }
    text.push(b'}');
    text.into()
}
