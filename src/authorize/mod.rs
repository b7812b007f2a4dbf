//! Takes an authenticated request and gives a [`Decision`]: a [`Permit`] for one narrowed upstream request with the
//! obligations its answer must still meet, or a [`Denial`] with its reason. Reads and searches are decided from token, request
//! and policy alone. A change may depend on what is there: then the decision is an [`Inquiry`], and goes on when its
//! [`Evidence`] has come ([`Authorizer::resume`]). Nothing here talks to the upstream.
//!
//! Order: is the interaction served; does a scope cover type and letter, in a context that the token has; do the policies
//! permit it; are the parameters served; then the search is narrowed. Each scope must suffice alone, in its own context and under
//! its own conditions; what all of them allow together is the [`Reach`]. Does not look at the answer: what it must still meet
//! stands in the [`Obligations`].

mod allowances;
mod asked;
mod binary;
mod change;
mod company;
mod consider;
mod decide;
#[cfg(test)]
mod decisions;
mod denial;
mod history;
mod inquiry;
mod operation;
mod policy;
mod reach;
mod search;
mod targets;
mod transaction;

use std::sync::Arc;

pub use asked::serves;
pub use binary::{Access, Attachment};
pub use change::{Changed, Existing, Verb, Write};
pub use company::Company;
pub use decide::Authorizer;
pub use denial::{Denial, DenialReason};
pub use inquiry::{Evidence, Inquiry};
pub use operation::{Invocation, Judged};
pub use policy::{PolicyError, schema_text};
pub use reach::{Allowance, Confines, Reach, Within};
pub use search::Beside;
pub(crate) use search::write_pages;
pub use transaction::{Transaction, TransactionEntry};

use crate::authenticate::{Authenticated, Principal};
use crate::canonicalise::FhirRequest;
use crate::error::Refusal;
use crate::fhir::interaction::Interaction;
use crate::fhir::projection::Projection;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;

/// What came of asking.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each request, taken apart at once")]
pub enum Decision {
    /// One upstream request may be made.
    Permit(Permit),
    /// It depends on what is there.
    Inquire(Inquiry),
    /// The entries of a batch, each of which is a request of its own.
    Batch(Batch),
    /// Nothing may be made.
    Deny(Denial),
    /// The request could be allowed, but cannot be understood, or what it depends on does not hold.
    Refuse(Refusal),
}

/// A decision that is only looked at.
#[derive(Clone, Copy, Debug)]
pub enum Prospect<'a> {
    /// It would be permitted.
    Permit(&'a Permit),
    /// It would depend on what is read first.
    Inquiry(&'a Inquiry),
    /// Each entry would be decided by itself.
    Batch,
}

/// A batch, taken apart: what each entry asks for, in order, on behalf of whoever sent them.
#[derive(Debug)]
pub struct Batch {
    entries: Vec<Result<Authenticated<FhirRequest>, Refusal>>,
}

impl Batch {
    /// The requests, or why an entry is none.
    pub(crate) fn into_entries(self) -> Vec<Result<Authenticated<FhirRequest>, Refusal>> {
        self.entries
    }
}

/// Opens sealed continuations (`_page`) and links to Binaries (`gw`).
pub trait OpenPage {
    /// The type that was searched, and the upstream's path below its base with the query, when `token` was sealed for
    /// `principal` and a search with these `bounds`.
    ///
    /// # Errors
    /// 400 for what was not sealed for this principal and bounds, 410 for what is too old.
    fn open_page(&self, token: &str, principal: &Principal, bounds: &str) -> Result<(ResourceType, String), Refusal>;

    /// What refers to `binary`, when `token` was sealed for `principal` in a link to it.
    ///
    /// # Errors
    /// 400 for what was not sealed for this principal and this Binary.
    fn open_attachment(&self, token: &str, principal: &Principal, binary: &Id) -> Result<Attachment, Refusal>;
}

/// One permitted upstream request, consumed by `forward`. Only this module makes one:
///
/// ```compile_fail,E0451
/// use firebreak::authorize::{Obligations, Permit, UpstreamRequest};
///
/// fn forge(upstream: UpstreamRequest, obligations: Obligations) -> Permit {
///     Permit { upstream, obligations, _decided: () }
/// }
/// ```
///
/// One permit, one request: it is not `Clone`.
///
/// ```compile_fail,E0277
/// fn twice<T: Clone>() {}
/// twice::<firebreak::authorize::Permit>();
/// ```
///
/// The same programs without the crime compile, so that it is the crime that fails them:
///
/// ```
/// use firebreak::authorize::{Decision, Obligations, Permit, UpstreamRequest};
///
/// fn names(_: &UpstreamRequest, _: &Obligations) {}
/// fn hand_on(decision: Decision) -> Option<Permit> {
///     if let Decision::Permit(permit) = decision { Some(permit) } else { None }
/// }
/// fn twice<T: Send>() {}
/// twice::<Permit>();
/// ```
#[derive(Debug)]
pub struct Permit {
    pub(crate) upstream: UpstreamRequest,
    pub(crate) obligations: Obligations,
    _decided: (),
}

impl Permit {
    /// Whether it changes what is stored: then the record says so before it is forwarded.
    #[must_use]
    pub fn changes(&self) -> bool {
        match &self.upstream {
            UpstreamRequest::Write(_) => true,
            UpstreamRequest::Transaction(transaction) => transaction.changes(),
            UpstreamRequest::Operation(invocation) => invocation.affects_state,
            UpstreamRequest::Read { .. }
            | UpstreamRequest::Vread { .. }
            | UpstreamRequest::Search { .. }
            | UpstreamRequest::SearchCompartment { .. }
            | UpstreamRequest::History { .. }
            | UpstreamRequest::Page { .. }
            | UpstreamRequest::Each { .. }
            | UpstreamRequest::PerType { .. }
            | UpstreamRequest::Nothing { .. } => false,
        }
    }
}

/// The request as the upstream will see it, rebuilt from the parsed parts. Values are unescaped here; `forward` encodes.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the parts of the request above them")]
pub enum UpstreamRequest {
    /// `GET T/id`
    Read { resource_type: ResourceType, id: Id },
    /// `GET T/id/_history/v`, and the current version as evidence
    Vread { resource_type: ResourceType, id: Id, version: Id },
    /// `POST T/_search` with these parameters, in this order
    Search { resource_type: ResourceType, parameters: Vec<(String, String)> },
    /// `GET C/id/T` with these parameters: the upstream's own search within a compartment
    SearchCompartment {
        compartment: ResourceType,
        id: Id,
        resource_type: ResourceType,
        parameters: Vec<(String, String)>,
    },
    /// `GET T/id/_history`, `GET T/_history` or `GET _history` with these parameters
    History { path: String, parameters: Vec<(String, String)> },
    /// A continuation that the upstream itself named: path below its base and query, from a sealed link
    Page { resource_type: ResourceType, path_and_query: String },
    /// Several searches on one type, each of which finds a part of what may be seen
    Each { resource_type: ResourceType, parts: Vec<Part> },
    /// A search on each of several types
    PerType { searches: Vec<UpstreamRequest> },
    /// Nothing is sent: the answer is an empty searchset
    Nothing { resource_type: ResourceType },
    /// `POST T`, `PUT T/id` or `DELETE T/id`
    Write(Box<Write>),
    /// `POST` on the base, with a Bundle of all entries
    Transaction(Box<Transaction>),
    /// `GET` or `POST` of an operation
    Operation(Box<Invocation>),
}

impl UpstreamRequest {
    /// The type that is searched; `None` for what is no search, or one on several types.
    #[must_use]
    pub fn searched_type(&self) -> Option<ResourceType> {
        match self {
            Self::Search { resource_type, .. }
            | Self::SearchCompartment { resource_type, .. }
            | Self::Page { resource_type, .. }
            | Self::Each { resource_type, .. }
            | Self::Nothing { resource_type } => Some(*resource_type),
            Self::Read { .. }
            | Self::Vread { .. }
            | Self::History { .. }
            | Self::PerType { .. }
            | Self::Write(_)
            | Self::Transaction(_)
            | Self::Operation(_) => None,
        }
    }
}

/// One search of [`UpstreamRequest::Each`].
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Which of the reach's [`confines`](Reach::confines) it is confined to.
    pub(crate) place: usize,
    /// The search or its continuation.
    pub(crate) request: UpstreamRequest,
}

/// What the answer must still meet before it is released.
#[derive(Debug)]
pub struct Obligations {
    /// Who asked; continuations are sealed to this principal.
    pub(crate) principal: Arc<Principal>,
    /// The interaction as asked.
    pub(crate) interaction: Interaction,
    /// Every returned resource must be within this reach,
    pub(crate) reach: Reach,
    /// or one of these, where others were asked for as well.
    pub(crate) beside: Box<Beside>,
    /// Applied after the decision.
    pub(crate) projection: Projection,
    /// HEAD: the body is dropped.
    pub(crate) head: bool,
    /// Answered with 304 when the released representation has this `ETag`.
    pub(crate) if_none_match: Option<String>,
    /// `self` link of a searchset: the client's own query in canonical form, relative to our base.
    pub(crate) self_link: String,
    /// Of a change: what it makes of which resource.
    pub(crate) changed: Option<Changed>,
    /// Of a create that finds one: what is read stands for what would have been made.
    pub(crate) existing: Option<Existing>,
    /// Of a transaction: what each entry of the answer must meet.
    pub(crate) each: Vec<Obligations>,
}

impl Obligations {
    /// To be within `reach`, and nothing else.
    fn within(reach: Reach, interaction: Interaction, principal: Arc<Principal>) -> Self {
        Self {
            principal,
            interaction,
            reach,
            beside: Box::default(),
            projection: Projection::Full,
            head: false,
            if_none_match: None,
            self_link: String::new(),
            changed: None,
            existing: None,
            each: Vec::new(),
        }
    }

    /// To be within `reach`, and shown as the request has it.
    fn of(request: FhirRequest, reach: Reach, principal: Arc<Principal>) -> Self {
        let FhirRequest { interaction, projection, head, if_none_match, .. } = request;
        Self { projection, head, if_none_match, ..Self::within(reach, interaction, principal) }
    }
}
