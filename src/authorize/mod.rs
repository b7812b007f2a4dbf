//! Takes an authenticated request and gives a [`Decision`]: a [`Permit`] for one narrowed upstream request with the
//! obligations its answer must still meet, or a [`Denial`] with its reason. Decided from token, request and policy alone;
//! nothing here talks to the upstream.
//!
//! Order: is the interaction served; does a scope cover type and letter, in a context that the token has; do the policies
//! permit it; are the parameters served; then the search is narrowed. Each context (`system/`, `user/`, `patient/`) must suffice
//! alone; the widest that does is taken. Does not look at the answer: what it must still meet stands in the [`Obligations`].

mod decide;
#[cfg(test)]
mod decisions;
mod policy;

use std::sync::Arc;

pub use decide::Authorizer;
pub use policy::{PolicyError, schema_text};

use crate::authenticate::Principal;
use crate::error::Refusal;
use crate::fhir::outcome::IssueType;
use crate::fhir::projection::Projection;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::request::Interaction;
use crate::fhir::resource_type::ResourceType;

/// What came of asking.
#[derive(Debug)]
pub enum Decision {
    /// One upstream request may be made.
    Permit(Permit),
    /// Nothing may be made.
    Deny(Denial),
    /// The request could be allowed, but its sealed continuation cannot be opened.
    Refuse(Refusal),
}

/// Opens sealed continuations (`_page`).
pub trait OpenPage {
    /// The type that was searched, and the upstream's path below its base with the query, when `token` was sealed for
    /// `principal` and a search confined to `compartment`.
    ///
    /// # Errors
    /// 400 for what was not sealed for this principal and reach, 410 for what is too old.
    fn open_page(
        &self,
        token: &str,
        principal: &Principal,
        compartment: Option<&Id>,
    ) -> Result<(ResourceType, String), Refusal>;
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
    /// A continuation that the upstream itself named: path below its base and query, from a sealed link
    Page { resource_type: ResourceType, path_and_query: String },
    /// Nothing is sent: the answer is an empty searchset
    Nothing { resource_type: ResourceType },
}

/// What the answer must still meet before it is released.
#[derive(Debug)]
pub struct Obligations {
    /// Who asked; continuations are sealed to this principal.
    pub(crate) principal: Arc<Principal>,
    /// The interaction as asked.
    pub(crate) interaction: Interaction,
    /// Every returned resource must be of one of these types …
    pub(crate) types: Vec<ResourceType>,
    /// … and, where set, in the compartment of this patient.
    pub(crate) compartment: Option<Id>,
    /// Applied after the decision.
    pub(crate) projection: Projection,
    /// HEAD: the body is dropped.
    pub(crate) head: bool,
    /// Answered with 304 when the released representation has this `ETag`.
    pub(crate) if_none_match: Option<String>,
    /// `self` link of a searchset: the client's own query in canonical form, relative to our base.
    pub(crate) self_link: String,
    /// Ids of the policies that permitted, for the record.
    pub(crate) policies: Vec<String>,
}

/// Why not.
#[derive(Debug)]
pub struct Denial {
    /// Stable reason.
    pub reason: DenialReason,
    /// For the client: what was expected. Never repeats values.
    pub diagnostics: String,
    /// For `WWW-Authenticate: … error="insufficient_scope", scope="…"`.
    pub missing_scope: Option<String>,
}

/// Reasons of a [`Denial`]; each has a stable id, an issue type, a line in `docs/audit.md` and at least one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialReason {
    /// No scope covers this type and interaction.
    ScopeInsufficient,
    /// A `patient/` scope, and the token names no usable patient.
    ContextMissing,
    /// No policy permits this.
    PolicyDenied,
    /// A policy failed to evaluate.
    PolicyError,
    /// The interaction is not served.
    InteractionNotServed,
    /// The search parameter, modifier or class is not served for this grant.
    ParameterNotServed,
    /// The resource type is not served for this grant.
    TypeNotServed,
}

impl DenialReason {
    /// The stable id.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::ScopeInsufficient => "scope_insufficient",
            Self::ContextMissing => "context_missing",
            Self::PolicyDenied => "policy_denied",
            Self::PolicyError => "policy_error",
            Self::InteractionNotServed => "interaction_not_served",
            Self::ParameterNotServed => "parameter_not_served",
            Self::TypeNotServed => "type_not_served",
        }
    }

    /// The FHIR issue type of the answer.
    #[must_use]
    pub fn issue(self) -> IssueType {
        match self {
            Self::ScopeInsufficient | Self::ContextMissing | Self::PolicyDenied | Self::PolicyError => {
                IssueType::Forbidden
            }
            Self::InteractionNotServed | Self::ParameterNotServed | Self::TypeNotServed => IssueType::NotSupported,
        }
    }
}
