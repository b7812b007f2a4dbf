//! Changes: create, update, patch, delete and their conditional forms, judged before they are forwarded (R4 http.html sections
//! 3.1.0.4 to 3.1.0.8).
//!
//! Takes an authenticated request, gives a [`Step`]: what must be read first, or the one write that may be made. A grant that is
//! restricted to a patient or by conditions must reach both what is there and what would be there, and the write is tied by
//! `If-Match` to the version that was judged. A patch is applied here and sent as an update, so what was judged is what is
//! stored. Promises: what depends on a resource out of reach is answered as for an absent one; the body that is sent is
//! rebuilt from the parsed text, with relative references. Does not talk to the upstream.

mod attachments;
mod body;
mod compose;
mod current;
mod graph;
mod lookups;
mod matched;
mod primary;

use std::sync::Arc;

use bytes::Bytes;

pub(super) use self::body::Prepared;
use self::body::Terms;
pub(super) use self::graph::{Created, Graph};
pub(super) use self::lookups::Lookups;
pub(super) use self::matched::resources;
use super::asked::Asked;
use super::denial::deny;
use super::policy::Action;
use super::{Authorizer, Denial, DenialReason, Evidence, Obligations, OpenPage, Reach, UpstreamRequest};
use crate::authenticate::Principal;
use crate::canonicalise::{FhirRequest, Return};
use crate::error::Refusal;
use crate::fhir::etag::EntityTag;
use crate::fhir::interaction::Interaction;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::json::Json;
use crate::json::patch::Patch;
use crate::smart::scope::Letter;

/// Whether resources of this type change what the server itself does: what it sends to whom, what its searches mean, what it
/// holds for valid. Who may do that does it at the server.
pub(super) fn alters_the_server(resource_type: ResourceType) -> bool {
    matches!(
        resource_type,
        ResourceType::CAPABILITY_STATEMENT
            | ResourceType::COMPARTMENT_DEFINITION
            | ResourceType::GRAPH_DEFINITION
            | ResourceType::IMPLEMENTATION_GUIDE
            | ResourceType::MESSAGE_DEFINITION
            | ResourceType::OPERATION_DEFINITION
            | ResourceType::SEARCH_PARAMETER
            | ResourceType::STRUCTURE_DEFINITION
            | ResourceType::STRUCTURE_MAP
            | ResourceType::SUBSCRIPTION
    )
}

/// Whether a grant for one patient may do this to resources of the type. A Patient neither comes into being nor ends by it;
/// what says who else there is, and who may see what, is not written by it at all.
pub(super) fn may_be_written_for_one_patient(action: Action, resource_type: ResourceType) -> bool {
    match resource_type {
        ResourceType::PATIENT => matches!(action, Action::Update | Action::Patch),
        ResourceType::CONSENT | ResourceType::RELATED_PERSON => false,
        _ => true,
    }
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `POST T`
    Create,
    /// `PUT T/id`
    Update,
    /// `DELETE T/id`
    Delete,
}

/// One write as the upstream will see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    /// What it does.
    pub(crate) verb: Verb,
    /// To which type.
    pub(crate) resource_type: ResourceType,
    /// To which resource; `None` for a create.
    pub(crate) id: Option<Id>,
    /// The resource to store, rebuilt.
    pub(crate) body: Option<Bytes>,
    /// The version that must be current.
    pub(crate) if_match: Option<EntityTag>,
    /// There must be nothing yet (`If-None-Match: *`).
    pub(crate) if_none_match: bool,
    /// Nothing may match this search (`If-None-Exist`).
    pub(crate) if_none_exist: Option<Vec<(String, String)>>,
    /// Whether the resource is asked back: whoever asked may read it.
    pub(crate) representation: bool,
}

/// What the answer to a write must be about.
#[derive(Debug)]
pub struct Changed {
    pub(crate) verb: Verb,
    pub(crate) resource_type: ResourceType,
    /// `None` for a create: the upstream chooses it.
    pub(crate) id: Option<Id>,
    /// Whether it is a create that finds one instead where one matches (`If-None-Exist`): the upstream tells which.
    pub(crate) conditional: bool,
    /// What the grant may read of the type: only that is shown.
    pub(crate) readable: Option<Reach>,
    /// Whether the resource was asked back.
    pub(crate) representation: bool,
    /// Whose data it is, before and after, for the record.
    pub(crate) patients: Vec<String>,
}

/// A resource that makes a create needless: it is told where it is (R4 http.html section 3.1.0.8.1).
#[derive(Clone, Copy, Debug)]
pub struct Existing {
    /// Whether it comes back itself (`Prefer: return=…`).
    pub(crate) representation: bool,
}

/// The next step of a change.
pub(super) enum Step {
    /// These must be read first.
    Ask(Vec<UpstreamRequest>, Box<Change>),
    /// This may be done.
    Ready(Box<Ready>),
}

/// A request that may be made, with what its answer must meet.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) upstream: UpstreamRequest,
    pub(super) obligations: Obligations,
}

/// A change that is being judged.
#[derive(Debug)]
pub(super) struct Change {
    principal: Arc<Principal>,
    request: FhirRequest,
    resource_type: ResourceType,
    /// What may be written.
    reach: Reach,
    /// What may be read.
    readable: Option<Reach>,
    /// The resource or the patch.
    content: Option<Json>,
    graph: Graph,
    waiting: Waiting,
}

/// What a change waits for.
#[derive(Debug)]
enum Waiting {
    /// The version that is current; and what the body refers to, where there is a body.
    Current(Option<(Prepared, Prepared)>),
    /// What the outcome refers to.
    References(Prepared, Box<Ready>),
    /// What matches its search.
    Match,
}

impl Authorizer {
    /// Judges a change as far as token, request and policies tell.
    ///
    /// # Errors
    /// A denial, or 400 for a body that is not what it should be.
    pub(super) fn begin(
        &self,
        request: FhirRequest,
        principal: Arc<Principal>,
        graph: &Graph,
        pages: &impl OpenPage,
    ) -> Result<Step, Refusal> {
        let asked = Asked::of(&request.interaction).map_err(Refusal::Denied)?;
        let resource_type = asked.resource_type;
        let reach = self.reach(&asked, &principal).map_err(Refusal::Denied)?;
        let reading = Asked::new(Action::Read, Letter::Read, resource_type);
        let readable = self.reach(&reading, &principal).ok();
        let content = match &request.interaction {
            Interaction::Create { .. } | Interaction::Update { .. } | Interaction::ConditionalUpdate { .. } => {
                Some(self.with_addresses(request.resource()?, resource_type, &principal, pages)?)
            }
            Interaction::Patch { id, .. } => {
                let own = Some((resource_type, id.clone()));
                Some(self.with_addresses_in_patch(request.patch()?, own, &principal, pages)?)
            }
            Interaction::ConditionalPatch { .. } => {
                Some(self.with_addresses_in_patch(request.patch()?, None, &principal, pages)?)
            }
            _ => None,
        };
        let graph = graph.clone();
        let waiting = Waiting::Match;
        let change = Change { principal, request, resource_type, reach, readable, content, graph, waiting };
        change.may_patch()?;
        match &change.request.interaction {
            _ if change.request.conditions.if_none_exist.is_some() => self.ask_for_match(change),
            Interaction::ConditionalUpdate { .. }
            | Interaction::ConditionalPatch { .. }
            | Interaction::ConditionalDelete { .. } => self.ask_for_match(change),
            Interaction::Create { .. } => self.create(change),
            Interaction::Update { id, .. } => {
                let id = id.clone();
                self.update(change, &id)
            }
            Interaction::Delete { id, .. } if !change.needs_current() => {
                let ready =
                    compose::delete(&change, id.clone(), change.request.conditions.if_match.clone(), Vec::new());
                Ok(Step::Ready(Box::new(ready)))
            }
            Interaction::Patch { id, .. } | Interaction::Delete { id, .. } => {
                let read = UpstreamRequest::Read { resource_type, id: id.clone() };
                Ok(Step::Ask(vec![read], Box::new(Change { waiting: Waiting::Current(None), ..change })))
            }
            _ => Err(Refusal::Denied(deny(DenialReason::InteractionNotServed, "expected a change"))),
        }
    }

    /// Goes on with what was read.
    ///
    /// # Errors
    /// A denial; 404 for what is absent or out of reach; 412 and 422 when what the change depends on does not hold; 502 when
    /// what was read cannot be judged.
    pub(super) fn go_on(&self, change: Change, evidence: &[Evidence]) -> Result<Step, Refusal> {
        let Change { waiting, .. } = change;
        let change = Change { waiting: Waiting::Match, ..change };
        match waiting {
            Waiting::Match => self.matched(change, evidence),
            Waiting::Current(prepared) => self.judge_current(change, prepared, evidence),
            Waiting::References(prepared, ready) => {
                prepared.judge(evidence, &self.bases, |_| true)?;
                Ok(Step::Ready(ready))
            }
        }
    }

    /// Judges a body that nobody stores as if it were to be stored under `id`; gives what must be looked up for it.
    ///
    /// # Errors
    /// As for a change.
    pub(super) fn rehearse(
        &self,
        principal: &Principal,
        reach: &Reach,
        body: &Json,
        id: Option<&Id>,
    ) -> Result<Prepared, Refusal> {
        self.prepare(Terms { reach, graph: &Graph::default(), principal }, body, id)
    }

    fn create(&self, change: Change) -> Result<Step, Refusal> {
        let body = change.body()?;
        let prepared = self.prepare(change.terms(), body, None)?;
        if change.is_restricted() {
            body::no_labels(body)?;
        }
        let ready = self.write(&change, Verb::Create, None, body, None)?;
        Ok(after_lookups(change, prepared, ready))
    }

    fn update(&self, change: Change, id: &Id) -> Result<Step, Refusal> {
        let prepared = self.prepare(change.terms(), change.body()?, Some(id))?;
        let resource_type = change.resource_type;
        let read = UpstreamRequest::Read { resource_type, id: id.clone() };
        if change.is_restricted() || !prepared.is_settled() {
            let parted = prepared.parted();
            let mut reads = vec![read];
            reads.extend(parted.0.reads());
            let waiting = Waiting::Current(Some(parted));
            return Ok(Step::Ask(reads, Box::new(Change { waiting, ..change })));
        }
        let conditions = &change.request.conditions;
        let creates = self.reach_of_creation(&change);
        let may_create = creates.as_ref().is_ok_and(Reach::is_unrestricted);
        if conditions.if_none_match && !may_create {
            let diagnostics = format!("no policy of this site permits this role to create {resource_type}");
            let policies = creates.err().map(|denial| denial.policies).unwrap_or_default();
            return Err(Refusal::Denied(Denial { policies, ..deny(DenialReason::PolicyDenied, diagnostics) }));
        }
        if conditions.if_none_match || conditions.if_match.is_none() && !may_create {
            return Ok(Step::Ask(
                vec![read],
                Box::new(Change { waiting: Waiting::Current(Some(prepared.parted())), ..change }),
            ));
        }
        let ready = self.write(&change, Verb::Update, Some(id), change.body()?, conditions.if_match.clone())?;
        Ok(Step::Ready(Box::new(ready)))
    }

    /// What an update may bring into being: by its own letter (SMART App Launch 2.2 counts it as an update), if a policy permits
    /// the role to create.
    fn reach_of_creation(&self, change: &Change) -> Result<Reach, Denial> {
        let asked = Asked::new(Action::Create, Letter::Update, change.resource_type);
        self.reach(&asked, &change.principal)
    }
}

/// The write, when nothing has to be looked up for it.
fn after_lookups(change: Change, prepared: Prepared, ready: Ready) -> Step {
    let ready = Box::new(ready);
    if prepared.is_settled() {
        return Step::Ready(ready);
    }
    Step::Ask(prepared.reads(), Box::new(Change { waiting: Waiting::References(prepared, ready), ..change }))
}

impl Change {
    fn terms(&self) -> Terms<'_> {
        Terms { reach: &self.reach, graph: &self.graph, principal: &self.principal }
    }

    /// Whether the resource is to come back, as far as the client says (`Prefer: return=…`).
    fn wants_representation(&self) -> bool {
        !matches!(self.request.conditions.prefer, Some(Return::Minimal | Return::OperationOutcome))
    }

    /// Whether not everything of the type may be written.
    fn is_restricted(&self) -> bool {
        !self.reach.is_unrestricted()
    }

    /// Whether the current version must be known: to be judged, or to be compared with the one that the client means.
    fn needs_current(&self) -> bool {
        self.is_restricted() || self.request.conditions.if_match.is_some()
    }

    fn body(&self) -> Result<&Json, Refusal> {
        self.content.as_ref().ok_or_else(|| Refusal::bad_request("expected a body"))
    }

    /// Whether a patch may be looked at: one keeps what it does not name, so it is for those who read as well. It may ask what is
    /// there when whatever may be written may be read: decided without looking, or the answer would tell.
    fn may_patch(&self) -> Result<(), Refusal> {
        let interaction = &self.request.interaction;
        if !matches!(interaction, Interaction::Patch { .. } | Interaction::ConditionalPatch { .. }) {
            return Ok(());
        }
        let Some(readable) = &self.readable else { return Err(self.unreadable("a patch")) };
        let tests = Patch::parse(self.body()?.root()).is_ok_and(|patch| patch.tests());
        if tests && !readable.covers(&self.reach) {
            Err(self.unreadable("the operation `test` of a patch"))
        } else {
            Ok(())
        }
    }

    fn unreadable(&self, what: &str) -> Refusal {
        let diagnostics = format!("{what} needs a scope that reads {}", self.resource_type);
        Refusal::Denied(deny(DenialReason::ScopeInsufficient, diagnostics))
    }
}
