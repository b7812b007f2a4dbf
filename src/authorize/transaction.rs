//! Bundles: a batch is as many requests as it has entries; a transaction is one, and all of its entries are judged before any
//! of it is forwarded (R4 http.html section 3.1.0.11).
//!
//! Promises for a transaction: one entry that is denied denies the whole, and the upstream is not called; what is read for the
//! entries is read for all of them at once; each resource has one entry at most; what is created is known by
//! `urn:uuid:` names alone, so that no entry can take the place of a resource that exists and that others refer to; every
//! change carries the version that was judged; what a restricted grant reads is there and within reach, or nothing is done, for
//! some servers end a transaction that reads what is absent. The Bundle that is sent is rebuilt from the judged requests.

use std::collections::HashSet;
use std::sync::Arc;

use super::change::{Change, Created, Graph, Ready, Step};
use super::denial::{Denial, deny};
use super::inquiry::{Inquiry, Pending as Waiting, unusable};
use super::search::Several;
use super::{Authorizer, Batch, Decision, DenialReason, Evidence, Obligations, OpenPage, Permit, UpstreamRequest};
use crate::authenticate::{Authenticated, Principal};
use crate::canonicalise::{Bundle, BundleType, Entry, FhirRequest};
use crate::error::{Malformed, Refusal};
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::way::SearchBy;

/// All entries of a permitted transaction, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Transaction {
    pub(crate) entries: Vec<TransactionEntry>,
}

/// One entry as the upstream will see it.
#[derive(Debug, PartialEq, Eq)]
pub struct TransactionEntry {
    /// The `urn:uuid:` name of what it creates.
    pub(crate) full_url: Option<String>,
    /// A read, a search or a write.
    pub(crate) request: UpstreamRequest,
}

impl Transaction {
    /// Whether any entry changes something.
    pub(super) fn changes(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.request, UpstreamRequest::Write(_)))
    }
}

/// A transaction that waits for what must be read.
#[derive(Debug)]
pub(super) struct Pending {
    principal: Arc<Principal>,
    entries: Vec<(Option<String>, State)>,
}

/// How far an entry is.
#[derive(Debug)]
enum State {
    /// It waits for so many pieces of evidence.
    Asking(Box<Change>, usize),
    /// It reads this, if that is there and within reach.
    Looking(Box<Ready>, Id),
    Ready(Box<Ready>),
}

impl State {
    /// After this step; what it must know is asked with the rest.
    fn of(step: Step, questions: &mut Vec<UpstreamRequest>) -> Self {
        match step {
            Step::Ask(more, change) => {
                let asking = Self::Asking(change, more.len());
                questions.extend(more);
                asking
            }
            Step::Ready(ready) => match &ready.upstream {
                UpstreamRequest::Read { resource_type, id } if !ready.obligations.reach.is_unrestricted() => {
                    let id = id.clone();
                    questions.push(UpstreamRequest::Read { resource_type: *resource_type, id: id.clone() });
                    Self::Looking(ready, id)
                }
                _ => Self::Ready(ready),
            },
        }
    }
}

impl Authorizer {
    /// Takes a Bundle apart and judges it, or hands on its entries to be judged one by one.
    pub(super) fn decide_bundle(&self, who: &Authenticated<FhirRequest>, pages: &impl OpenPage) -> Decision {
        let bundle = match who.request.bundle(self.max_entries) {
            Ok(bundle) => bundle,
            Err(refusal) => return Decision::Refuse(refusal),
        };
        match bundle.kind {
            BundleType::Batch => {
                let entries = bundle.entries.into_iter().map(|entry| Ok(who.part(entry.request?))).collect();
                Decision::Batch(Batch { entries })
            }
            BundleType::Transaction => match self.transaction(who, bundle, pages) {
                Ok(decision) => decision,
                Err(refusal) => refused(refusal),
            },
        }
    }

    fn transaction(
        &self,
        who: &Authenticated<FhirRequest>,
        bundle: Bundle,
        pages: &impl OpenPage,
    ) -> Result<Decision, Refusal> {
        distinct(&bundle.entries)?;
        let graph = graph(&bundle.entries);
        let named = names(&bundle.entries);
        let (mut entries, mut questions) = (Vec::with_capacity(bundle.entries.len()), Vec::new());
        for (number, entry) in bundle.entries.into_iter().enumerate() {
            let urn = entry.urn().map(str::to_owned);
            let judged = entry.request.and_then(|request| self.judge_entry(request, &who.principal, &graph, pages));
            entries.push((urn, State::of(judged.map_err(|refusal| at(number, refusal))?, &mut questions)));
        }
        named?;
        next(Pending { principal: Arc::clone(&who.principal), entries }, questions, 0)
    }

    /// One entry, as far as token, request and policies tell.
    pub(super) fn judge_entry(
        &self,
        request: FhirRequest,
        principal: &Arc<Principal>,
        graph: &Graph,
        pages: &impl OpenPage,
    ) -> Result<Step, Refusal> {
        if request.interaction.changes() {
            return self.begin(request, Arc::clone(principal), graph, pages);
        }
        self.in_transaction(request, principal, pages).map(|ready| Step::Ready(Box::new(ready)))
    }

    /// A read or search within a transaction: one that the upstream can answer as one entry.
    fn in_transaction(
        &self,
        request: FhirRequest,
        principal: &Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Result<Ready, Refusal> {
        let unserved = || {
            let diagnostics = "a transaction serves reads and searches that are one request, and changes";
            Refusal::Denied(deny(DenialReason::InteractionNotServed, diagnostics))
        };
        if matches!(request.interaction, Interaction::Operation { .. }) {
            let diagnostics = "a transaction serves no operations: send it alone or in a batch";
            return Err(Refusal::Denied(deny(DenialReason::InteractionNotServed, diagnostics)));
        }
        let by_link = matches!(request.interaction, Interaction::Read { .. }) && request.page.is_some();
        if by_link || Several::of(&request.interaction).is_some() {
            return Err(unserved());
        }
        // An entry is one search, by one parameter.
        let ready = self.judge_by(SearchBy::Primary, request, Arc::clone(principal), pages)?;
        match &ready.upstream {
            UpstreamRequest::Read { resource_type: ResourceType::BINARY, .. } if !self.reads_everything(principal) => {
                Err(unserved())
            }
            UpstreamRequest::Read { .. } | UpstreamRequest::Search { .. } if !ready.aims() => Ok(ready),
            _ => Err(unserved()),
        }
    }

    /// Goes on with what was read for all entries.
    pub(super) fn resume_transaction(&self, pending: Pending, evidence: &[Evidence], round: u8) -> Decision {
        let judged =
            self.with_evidence(pending, evidence).and_then(|(pending, questions)| next(pending, questions, round));
        judged.unwrap_or_else(refused)
    }

    fn with_evidence(
        &self,
        pending: Pending,
        mut evidence: &[Evidence],
    ) -> Result<(Pending, Vec<UpstreamRequest>), Refusal> {
        let Pending { principal, entries } = pending;
        let (mut judged, mut questions) = (Vec::with_capacity(entries.len()), Vec::new());
        for (urn, state) in entries {
            let state = match state {
                State::Ready(ready) => State::Ready(ready),
                State::Looking(ready, id) => {
                    let (own, rest) = evidence.split_first().ok_or_else(|| unusable("no evidence"))?;
                    evidence = rest;
                    self.is_there(&ready.obligations.reach, &id, own)?;
                    State::Ready(ready)
                }
                State::Asking(change, count) => {
                    let (own, rest) = evidence.split_at_checked(count).ok_or_else(|| unusable("no evidence"))?;
                    evidence = rest;
                    // Without its number: which of several is there would be told by it.
                    State::of(self.go_on(*change, own)?, &mut questions)
                }
            };
            judged.push((urn, state));
        }
        Ok((Pending { principal, entries: judged }, questions))
    }
}

fn next(pending: Pending, questions: Vec<UpstreamRequest>, round: u8) -> Result<Decision, Refusal> {
    if !questions.is_empty() {
        let waiting = Waiting::Transaction(Box::new(pending));
        return Inquiry::new(questions, waiting, round).map(Decision::Inquire);
    }
    let Pending { principal, entries } = pending;
    let (mut requests, mut each) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
    for (urn, state) in entries {
        let State::Ready(ready) = state else { return Err(unusable("an entry without its evidence")) };
        let Ready { upstream, obligations } = *ready;
        requests.push(TransactionEntry { full_url: urn, request: upstream });
        each.push(obligations);
    }
    one_entry_each(&requests)?;
    let Some(reach) = each.first().map(|first: &Obligations| first.reach.clone()) else {
        return Err(Refusal::bad_request("expected a transaction with at least one entry"));
    };
    let transaction = Transaction { entries: requests };
    let obligations = Obligations { each, ..Obligations::within(reach, Interaction::Transaction, principal) };
    let upstream = UpstreamRequest::Transaction(Box::new(transaction));
    Ok(Decision::Permit(Permit { upstream, obligations, _decided: () }))
}

/// The same refusal, naming its entry. Only for what the request and the token decide: nothing was read yet.
fn at(number: usize, refusal: Refusal) -> Refusal {
    let named = |text: &str| format!("Bundle.entry[{number}]: {text}");
    match refusal {
        Refusal::Denied(denial) => Refusal::Denied(Denial { diagnostics: named(&denial.diagnostics), ..denial }),
        Refusal::Malformed(malformed) => {
            Refusal::Malformed(Malformed { expected: named(&malformed.expected), ..malformed })
        }
        other => other,
    }
}

/// What the entries create, by its names.
pub(super) fn graph(entries: &[Entry]) -> Graph {
    let created = entries.iter().filter_map(|entry| {
        let (urn, request) = entry.urn().zip(entry.request.as_ref().ok())?;
        let Interaction::Create { resource_type } = request.interaction else { return None };
        let conditional = request.conditions.if_none_exist.is_some();
        Some((urn.to_owned(), Created::new(resource_type, request.inbound.body.clone(), conditional)))
    });
    Graph::of(created.collect())
}

fn refused(refusal: Refusal) -> Decision {
    match refusal {
        Refusal::Denied(denial) => Decision::Deny(denial),
        other => Decision::Refuse(other),
    }
}

/// Each resource has one entry at most, whatever the entry does with it; and what is created has no id that anybody refers to:
/// some servers would put it in that resource's place.
fn distinct(entries: &[Entry]) -> Result<(), Refusal> {
    let mut targets: HashSet<(ResourceType, &Id)> = HashSet::new();
    for (number, entry) in entries.iter().enumerate() {
        let target = entry.changes().or(entry.body_id.as_ref());
        if target.is_some_and(|(resource_type, id)| !targets.insert((*resource_type, id))) {
            let expected = Refusal::bad_request("expected one entry at most for each resource");
            return Err(at(number, expected));
        }
    }
    let created = entries.iter().filter(|entry| entry.creates()).filter_map(|entry| entry.body_id.as_ref());
    for (resource_type, id) in created {
        let named = format!("{resource_type}/{id}");
        if entries.iter().any(|entry| entry.refers_to(&named)) {
            return Err(Refusal::bad_request("expected no reference to the id in the body of what is created"));
        }
    }
    Ok(())
}

/// What is created is named by a `urn:uuid:` of its own or not at all; what is changed, by its own URL or not at all.
fn names(entries: &[Entry]) -> Result<(), Refusal> {
    let mut urns = HashSet::new();
    for (number, entry) in entries.iter().enumerate() {
        let fits = match (&entry.full_url, entry.creates()) {
            (None, _) => true,
            (Some(full_url), true) => entry.urn().is_some() && urns.insert(full_url),
            (Some(full_url), false) => entry.changes().is_some_and(|(resource_type, id)| {
                let named = format!("{resource_type}/{id}");
                *full_url == named || full_url.ends_with(&format!("/{named}"))
            }),
        };
        if !fits {
            let expected =
                "expected `fullUrl` to be a `urn:uuid:` of its own for what is created, and the URL of what is changed";
            return Err(at(number, Refusal::bad_request(expected)));
        }
    }
    Ok(())
}

/// The same again, when it is known what conditional entries have found.
fn one_entry_each(entries: &[TransactionEntry]) -> Result<(), Refusal> {
    let mut targets = HashSet::new();
    let written = entries.iter().filter_map(|entry| match &entry.request {
        UpstreamRequest::Write(write) => Some((write.resource_type, write.id.as_ref()?)),
        _ => None,
    });
    for target in written {
        if !targets.insert(target) {
            return Err(Refusal::bad_request("expected one entry at most for each resource"));
        }
    }
    Ok(())
}
