//! Why something is not permitted: the reasons, each with its stable id, and which of several to tell.

use crate::fhir::outcome::IssueType;
use crate::fhir::resource_type::ResourceType;

/// Why not.
#[derive(Debug)]
pub struct Denial {
    /// Stable reason.
    pub reason: DenialReason,
    /// For the client: what was expected. Never repeats values.
    pub diagnostics: String,
    /// For `WWW-Authenticate: … error="insufficient_scope", scope="…"`.
    pub missing_scope: Option<String>,
    /// The policies that forbid it, by id. Not for the client.
    pub policies: Vec<String>,
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
    /// What would be stored lies outside of what the grant may write.
    BodyOutsideGrant,
    /// What would be stored refers to what the grant may not refer to, hidden or absent alike.
    ReferenceNotPermitted,
    /// What would be stored has other labels or tags than before.
    LabelsChanged,
    /// What would be stored is a part of a resource (`SUBSETTED`): the rest would be lost.
    PartialCopy,
    /// The server keeps no versions of it, so a change cannot be tied to what was judged.
    VersionUnknown,
    /// A document has a part that the grant does not reach.
    DocumentOutsideGrant,
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
            Self::BodyOutsideGrant => "body_outside_grant",
            Self::ReferenceNotPermitted => "reference_not_permitted",
            Self::LabelsChanged => "labels_changed",
            Self::PartialCopy => "partial_copy",
            Self::VersionUnknown => "version_unknown",
            Self::DocumentOutsideGrant => "document_outside_grant",
        }
    }

    /// The FHIR issue type of the answer.
    #[must_use]
    pub fn issue(self) -> IssueType {
        match self {
            Self::ScopeInsufficient
            | Self::ContextMissing
            | Self::PolicyDenied
            | Self::PolicyError
            | Self::BodyOutsideGrant
            | Self::ReferenceNotPermitted
            | Self::LabelsChanged
            | Self::DocumentOutsideGrant => IssueType::Forbidden,
            Self::PartialCopy => IssueType::Incomplete,
            Self::InteractionNotServed | Self::ParameterNotServed | Self::TypeNotServed | Self::VersionUnknown => {
                IssueType::NotSupported
            }
        }
    }
}

pub(super) fn type_not_served_for_one_patient(resource_type: ResourceType) -> Denial {
    deny(DenialReason::TypeNotServed, format!("{resource_type} is not served to a grant for one patient"))
}

pub(super) fn deny(reason: DenialReason, diagnostics: impl Into<String>) -> Denial {
    Denial { reason, diagnostics: diagnostics.into(), missing_scope: None, policies: Vec::new() }
}

/// The reason of the context that came nearest to a permit is the one to tell.
pub(super) fn keep_nearest(nearest: &mut Option<Denial>, denial: Denial) {
    let depth = |denial: &Denial| match denial.reason {
        DenialReason::ScopeInsufficient | DenialReason::InteractionNotServed => 0,
        DenialReason::ContextMissing => 1,
        DenialReason::TypeNotServed => 2,
        DenialReason::PolicyDenied | DenialReason::PolicyError => 3,
        DenialReason::ParameterNotServed
        | DenialReason::BodyOutsideGrant
        | DenialReason::ReferenceNotPermitted
        | DenialReason::LabelsChanged
        | DenialReason::PartialCopy
        | DenialReason::DocumentOutsideGrant
        | DenialReason::VersionUnknown => 4,
    };
    match nearest {
        Some(kept) if depth(kept) > depth(&denial) => {}
        // Each of these contexts would have sufficed, so all that forbid one of them decided.
        Some(kept) if depth(kept) == depth(&denial) => {
            let more = denial.policies.into_iter().filter(|policy| !kept.policies.contains(policy));
            let more: Vec<String> = more.collect();
            kept.policies.extend(more);
        }
        _ => *nearest = Some(denial),
    }
}
