//! Operations (R4 operations.html): the listed ones, each decided by what it gives and what it changes.
//!
//! Takes an authenticated request for an operation, gives a [`Step`]: the one invocation that may be made, or what must be read
//! first. Order as for everything else: is it listed, at this place; does a scope cover what it gives, and do the policies permit
//! it; are its parameters served. Promises: an operation that is not listed is refused without calling the upstream; the
//! invocation is rebuilt from the parsed parameters; what a restricted grant gets is confined to its reach, by the request
//! where that can be, and by the test of the answer always. Does not look at the answer: how it is judged stands in
//! [`Judged`].

mod codes;
mod document;
mod everything;
mod listed;
mod searches;
mod stored;

use std::sync::Arc;

use bytes::Bytes;

use super::asked::{Asked, serves};
use super::change::{Prepared, Ready};
use super::denial::{Denial, DenialReason, deny};
use super::inquiry::unusable;
use super::policy::Action;
use super::{Authorizer, Beside, Evidence, Obligations, OpenPage, Reach, UpstreamRequest};
use crate::authenticate::Principal;
use crate::canonicalise::FhirRequest;
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::links;
use crate::fhir::operation::{Arguments, Kind, Level, Operation, Returns, known};
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Edits, Json};
use crate::smart::scope::Letter;

/// An operation as the upstream will see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The type in the path.
    pub(crate) resource_type: Option<ResourceType>,
    /// The id in the path.
    pub(crate) id: Option<Id>,
    /// Its name, without the `$`.
    pub(crate) name: String,
    /// The query.
    pub(crate) parameters: Vec<(String, String)>,
    /// `Parameters`, or whatever the body is: then it is a POST.
    pub(crate) body: Option<Bytes>,
    /// Whether it changes anything.
    pub(crate) affects_state: bool,
}

/// How the answer to an operation is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Like that of a search: a match outside of reach withholds it.
    Matches,
    /// A searchset of whatever belongs to a record: what is outside of reach is left out.
    Record {
        /// Nothing is, for every type is wholly within reach.
        whole: bool,
    },
    /// A document: one resource outside of reach withholds it, for without that one it would be another document. The id is
    /// that of the Composition, where one was asked for.
    Document(Option<Id>),
    /// What the operation returns, and nothing else.
    Returned(Returns),
    /// An OperationOutcome: how bad, which kind and where.
    Outcome {
        /// Also in the words of the upstream, for who asks reads every resource of every type: a sentence may name any.
        in_words: bool,
    },
}

/// The next step of an operation.
pub(super) enum Step {
    /// These must be read first.
    Ask(Vec<UpstreamRequest>, Box<Pending>),
    /// It may be made.
    Ready(Box<Ready>),
}

/// An operation that waits for what must be read.
#[derive(Debug)]
pub(super) struct Pending {
    /// The resource in the path must be within this.
    within: Option<(Reach, Id)>,
    /// What a body refers to.
    lookups: Prepared,
    ready: Ready,
}

/// A request for an operation that is listed.
struct Called<'a> {
    request: FhirRequest,
    principal: Arc<Principal>,
    operation: &'a Operation,
    resource_type: Option<ResourceType>,
    id: Option<Id>,
}

impl Authorizer {
    /// Judges an operation as far as token, request and policies tell.
    ///
    /// # Errors
    /// A denial, 400 and 405 for what it does not take, 404 for what is known to lie outside.
    pub(super) fn operate(
        &self,
        request: FhirRequest,
        principal: Arc<Principal>,
        pages: &impl OpenPage,
    ) -> Result<Step, Refusal> {
        let Interaction::Operation { resource_type, id, name } = &request.interaction else {
            return Err(Refusal::NotFound);
        };
        let (resource_type, id) = (*resource_type, id.clone());
        let operation = self.listed(name, resource_type, id.as_ref()).map_err(Refusal::Denied)?;
        let called = Called { request, principal, operation, resource_type, id };
        if called.request.page.is_some() && !operation.has_pages() {
            return Err(Refusal::bad_request("expected no `_page` with this operation, which has none"));
        }
        match &operation.kind {
            Kind::Everything => self.everything(&called, pages),
            Kind::LastN => self.last_n(called, pages).map(ready_now),
            Kind::DocRef => self.doc_ref(called, pages).map(ready_now),
            Kind::Document => self.document(&called),
            Kind::Validate => self.validate(&called),
            Kind::Meta => self.meta(&called),
            Kind::MetaChange => self.meta_change(&called).map(ready_now),
            Kind::Terminology(returns) => self.about_codes(&called, returns).map(ready_now),
            Kind::Listed(listed) => self.as_listed(&called, listed, pages).map(ready_now),
        }
    }

    /// Goes on with what was read.
    ///
    /// # Errors
    /// 404 for a resource that is absent or out of reach, a denial for what a body refers to.
    pub(super) fn operate_with(&self, pending: Pending, evidence: &[Evidence]) -> Result<Ready, Refusal> {
        let Pending { within, lookups, ready } = pending;
        let mut rest = evidence;
        if let Some((reach, id)) = within {
            let (own, others) = evidence.split_first().ok_or_else(|| unusable("no evidence"))?;
            rest = others;
            let json = own.json()?.ok_or(Refusal::NotFound)?;
            let facts = Facts::of(json.root()).map_err(|_| unusable("not a resource"))?;
            if facts.id() != Some(id.as_id()) || reach.admits(&facts, &self.bases).is_none() {
                return Err(Refusal::NotFound);
            }
        }
        if !lookups.is_settled() {
            lookups.judge(rest, &self.bases, |_| true)?;
        }
        Ok(ready)
    }

    /// How an OperationOutcome is judged for them.
    fn outcome(&self, principal: &Principal) -> Judged {
        Judged::Outcome { in_words: self.reads_everything(principal) }
    }

    /// The operation of this name, at this place.
    fn listed(&self, name: &str, resource_type: Option<ResourceType>, id: Option<&Id>) -> Result<&Operation, Denial> {
        let level = match (resource_type, id) {
            (None, _) => Level::System,
            (Some(_), None) => Level::Type,
            (Some(_), Some(_)) => Level::Instance,
        };
        let of_name = || self.operations().filter(|operation| operation.name == name);
        if let Some(operation) = of_name().find(|operation| operation.is_at(level, resource_type)) {
            // Whatever scopes and policies say of the resources inside, nobody asked them.
            if resource_type.is_some_and(|one| !serves(one, operation.affects_state)) {
                return Err(deny(DenialReason::TypeNotServed, "operations on this type are not served"));
            }
            return Ok(operation);
        }
        let diagnostics = if let Some(operation) = of_name().next() {
            let levels: Vec<String> = operation.levels.iter().map(Level::to_string).collect();
            format!("`${name}` is served at the level {}, on the types that it is defined for", levels.join(", "))
        } else {
            let mut names: Vec<String> = self.operations().map(|operation| format!("`${}`", operation.name)).collect();
            names.dedup();
            format!("this operation is not served: served are {}", names.join(", "))
        };
        Err(deny(DenialReason::InteractionNotServed, diagnostics))
    }

    fn operations(&self) -> impl Iterator<Item = &Operation> {
        known().iter().chain(&self.operations)
    }

    /// What may be read of each type that is ever released beside others, and why nothing of the first that is not.
    fn readable(&self, operation: &Operation, principal: &Principal) -> (Vec<Reach>, Option<Denial>) {
        let mut nearest = None;
        let mut reaches = Vec::new();
        for resource_type in ResourceType::all().filter(|one| can_come(*one)) {
            match self.reach(&reading(resource_type, operation), principal) {
                Ok(reach) => reaches.push(reach),
                Err(denial) => super::denial::keep_nearest(&mut nearest, denial),
            }
        }
        (reaches, nearest)
    }

    /// A complex value or a resource as the upstream gets it: what names this server is relative.
    fn outgoing_value(&self, json: &Json) -> Option<Vec<u8>> {
        let mut edits = Edits::new(json);
        links::relative(json.root(), &self.bases, &mut edits);
        if edits.is_empty() { None } else { edits.apply().ok() }
    }

    /// Query and body of an invocation: what can stand in a query and changes nothing is asked by GET.
    fn invocation(&self, called: &Called<'_>, arguments: &Arguments) -> Invocation {
        let query = arguments.to_query().filter(|_| !called.operation.affects_state);
        let (parameters, body) = match query {
            Some(parameters) => (parameters, None),
            None => (Vec::new(), Some(arguments.to_parameters(|json| self.outgoing_value(json)).into())),
        };
        called.invocation(parameters, body)
    }
}

impl Called<'_> {
    fn invocation(&self, parameters: Vec<(String, String)>, body: Option<Bytes>) -> Invocation {
        Invocation {
            resource_type: self.resource_type,
            id: self.id.clone(),
            name: self.operation.name.to_string(),
            parameters,
            body,
            affects_state: self.operation.affects_state,
        }
    }

    fn arguments(&self) -> Result<Arguments, Refusal> {
        self.request.arguments(self.operation)
    }

    /// The type in the path.
    fn of(&self) -> Result<ResourceType, Refusal> {
        self.resource_type.ok_or(Refusal::NotFound)
    }

    /// The path below the base.
    fn path(&self) -> String {
        self.request.interaction.search_path()
    }

    /// The question whether the type in the path may be searched.
    fn searching(&self) -> Result<Asked<'_>, Refusal> {
        Ok(Asked::new(Action::SearchType, Letter::Search, self.of()?).by(self.operation))
    }

    /// What is asked, with what its answer must meet: the first of the reaches, or one of the others.
    fn ready(&self, upstream: UpstreamRequest, reaches: Vec<Reach>, beside: Beside) -> Result<Ready, Refusal> {
        let mut reaches = reaches.into_iter();
        let reach = reaches.next().ok_or(Refusal::NotFound)?;
        let plain = Obligations::within(reach, self.request.interaction.clone(), Arc::clone(&self.principal));
        let beside = Box::new(beside.with_also(reaches.collect()));
        let obligations = Obligations { beside, head: self.request.head, ..plain };
        Ok(Ready { upstream, obligations })
    }
}

/// The question whether a type may be read, as an operation asks it.
fn reading(resource_type: ResourceType, operation: &Operation) -> Asked<'_> {
    Asked::new(Action::Read, Letter::Read, resource_type).by(operation)
}

/// Whether resources of the type are ever released beside others: not those that hold other resources, or bytes that only their
/// security context tells about.
fn can_come(resource_type: ResourceType) -> bool {
    serves(resource_type, false) && resource_type != ResourceType::BINARY
}

fn not_for_this_grant(operation: &Operation) -> Refusal {
    let diagnostics =
        format!("`${}` here is served to a grant that reaches all resources of the types it touches", operation.name);
    Refusal::Denied(deny(DenialReason::InteractionNotServed, diagnostics))
}

fn ready_now(ready: Ready) -> Step {
    Step::Ready(Box::new(ready))
}
