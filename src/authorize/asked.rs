//! What is asked, as far as scopes and policies are concerned, and in which context: who asks, for which patient, and where a
//! grant for one patient reaches in a type at all. Decides nothing.

use super::change::{alters_the_server, may_be_written_for_one_patient};
use super::denial::{Denial, DenialReason, deny, type_not_served_for_one_patient};
use super::policy::{Action, Asker};
use super::reach::Within;
use crate::authenticate::{Context, Principal};
use crate::fhir::compartment::{
    PatientCompartment, extension_compartment, is_reference_type, is_terminology, patient_compartment,
    unsafe_by_default,
};
use crate::fhir::interaction::Interaction;
use crate::fhir::operation::{Kind, Operation};
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::{Letter, Level};

/// The request as far as scopes and policies are concerned.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) action: Action,
    pub(super) letter: Letter,
    pub(super) resource_type: ResourceType,
    /// The logical id, for reads.
    pub(super) id: Option<&'a Id>,
    /// The operation that asks; `None` for FHIR's own interactions.
    pub(super) operation: Option<&'a Operation>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(interaction: &'a Interaction) -> Result<Self, Denial> {
        let (action, letter, resource_type, id) = match interaction {
            Interaction::Read { resource_type, id } => (Action::Read, Letter::Read, *resource_type, Some(id)),
            Interaction::Vread { resource_type, id, .. } => (Action::Vread, Letter::Read, *resource_type, Some(id)),
            Interaction::SearchType { resource_type }
            | Interaction::SearchCompartment { resource_type: Some(resource_type), .. } => {
                (Action::SearchType, Letter::Search, *resource_type, None)
            }
            Interaction::Create { resource_type } => (Action::Create, Letter::Create, *resource_type, None),
            Interaction::Update { resource_type, .. } | Interaction::ConditionalUpdate { resource_type } => {
                (Action::Update, Letter::Update, *resource_type, None)
            }
            Interaction::Patch { resource_type, .. } | Interaction::ConditionalPatch { resource_type } => {
                (Action::Patch, Letter::Update, *resource_type, None)
            }
            Interaction::Delete { resource_type, .. } | Interaction::ConditionalDelete { resource_type } => {
                (Action::Delete, Letter::Delete, *resource_type, None)
            }
            Interaction::HistoryInstance { resource_type, id } => {
                (Action::HistoryInstance, Letter::Read, *resource_type, Some(id))
            }
            Interaction::HistoryType { resource_type } => (Action::HistoryType, Letter::Search, *resource_type, None),
            Interaction::HistorySystem
            | Interaction::SearchSystem
            | Interaction::SearchCompartment { .. }
            | Interaction::Batch
            | Interaction::Transaction
            | Interaction::Operation { .. }
            | Interaction::Capabilities => {
                let diagnostics = "served are read, vread, histories, search, changes, operations, batch and transaction; this interaction is not";
                return Err(deny(DenialReason::InteractionNotServed, diagnostics));
            }
        };
        // Whatever scopes and policies say of the resources inside, nobody asked them.
        if holds_resources(resource_type) {
            let diagnostics = format!("{resource_type} is not served: it holds other resources");
            return Err(deny(DenialReason::TypeNotServed, diagnostics));
        }
        if action.changes() && alters_the_server(resource_type) {
            let diagnostics =
                format!("{resource_type} is not written through this gateway: it changes what the server does");
            return Err(deny(DenialReason::TypeNotServed, diagnostics));
        }
        Ok(Self { action, letter, resource_type, id, operation: None })
    }

    /// The question whether `letter` covers this of the type, whatever its id.
    pub(super) fn new(action: Action, letter: Letter, resource_type: ResourceType) -> Self {
        Self { action, letter, resource_type, id: None, operation: None }
    }

    /// The same, asked by an operation.
    pub(super) fn by(self, operation: &'a Operation) -> Self {
        Self { operation: Some(operation), ..self }
    }
}

/// Whether resources of this type are served at all, to be read and searched or to be changed.
#[must_use]
pub fn serves(resource_type: ResourceType, changes: bool) -> bool {
    !(holds_resources(resource_type) || changes && alters_the_server(resource_type))
}

/// Whether whole resources stand in resources of this type, other than contained ones (R4 bundle.html, parameters.html).
fn holds_resources(resource_type: ResourceType) -> bool {
    matches!(resource_type, ResourceType::BUNDLE | ResourceType::PARAMETERS)
}

/// The patient in context.
pub(super) fn launch_patient(principal: &Principal) -> Result<&Id, Denial> {
    match &principal.patient {
        Context::Patient(id) => Ok(id),
        Context::Absent | Context::Unusable => Err(deny(
            DenialReason::ContextMissing,
            "scopes of the level `patient/` need exactly one patient in the token",
        )),
    }
}

/// The patient that `user/` scopes are bound to, when the user is a patient or somebody related to one.
pub(super) fn user_patient(principal: &Principal) -> Result<Option<&Id>, Denial> {
    match &principal.fhir_user {
        Some((ResourceType::PRACTITIONER | ResourceType::PRACTITIONER_ROLE, _)) => Ok(None),
        Some((ResourceType::PATIENT, id)) => Ok(Some(id)),
        Some((ResourceType::RELATED_PERSON, _)) => launch_patient(principal).map(Some),
        Some(_) | None => {
            let diagnostics = "scopes of the level `user/` need a `fhirUser` in the token that is a Practitioner, \
                               PractitionerRole, Patient or RelatedPerson of this server";
            Err(deny(DenialReason::ContextMissing, diagnostics))
        }
    }
}

/// Where a grant for this patient reaches in the type, when it may be served to such a grant at all.
pub(super) fn within_reach_of(patient: &Id, asked: &Asked<'_>) -> Result<Within, Denial> {
    let resource_type = asked.resource_type;
    if asked.action.changes() && !may_be_written_for_one_patient(asked.action, resource_type) {
        let diagnostics = format!("{resource_type} is not written by a grant for one patient");
        return Err(deny(DenialReason::TypeNotServed, diagnostics));
    }
    // Every target of it is looked at as well.
    let judged_by_targets = resource_type == ResourceType::PROVENANCE && !asked.action.changes();
    if compartment_of(resource_type).is_some() && (judged_by_targets || !unsafe_by_default(resource_type)) {
        return Ok(Within::Compartment(patient.clone()));
    }
    match asked.action {
        Action::Read | Action::Vread | Action::HistoryInstance if is_reference_type(resource_type) => {
            Ok(Within::ReferenceType)
        }
        // A question about codes is no read: what it is about, nobody is.
        Action::Read if is_about_codes(asked) => Ok(Within::ReferenceType),
        Action::SearchType if is_reference_type(resource_type) => {
            let diagnostics =
                format!("a grant for one patient has {resource_type} by id and as an include, not by search");
            Err(deny(DenialReason::TypeNotServed, diagnostics))
        }
        _ => Err(type_not_served_for_one_patient(resource_type)),
    }
}

fn is_about_codes(asked: &Asked<'_>) -> bool {
    let terminology = asked.operation.is_some_and(|operation| matches!(operation.kind, Kind::Terminology(_)));
    terminology && is_terminology(asked.resource_type)
}

pub(super) fn compartment_of(resource_type: ResourceType) -> Option<&'static PatientCompartment> {
    patient_compartment(resource_type).or_else(|| extension_compartment(resource_type))
}

/// Who asks: under `system/` the client, with its own roles and never with those of somebody who logged in.
pub(super) fn asker(level: Level, principal: &Principal) -> Asker<'_> {
    match level {
        Level::Patient | Level::User => Asker::User(&principal.roles),
        // RFC 9068 section 2.2: where no user is involved, the subject is the client.
        Level::System if principal.subject == principal.client_id => Asker::Client(&principal.roles),
        Level::System => Asker::Client(&[]),
    }
}

pub(super) fn is_own_entry(asked: &Asked<'_>, principal: &Principal) -> bool {
    let own = principal.fhir_user.as_ref().is_some_and(|(of, id)| *of == asked.resource_type && Some(id) == asked.id);
    own && asked.action == Action::Read && principal.scopes.fhir_user()
}

pub(super) fn scope_insufficient(asked: &Asked<'_>, principal: &Principal) -> Denial {
    let level = match (&principal.patient, &principal.fhir_user) {
        (Context::Patient(_), _) => Level::Patient,
        (_, Some(_)) => Level::User,
        (_, None) => Level::System,
    };
    let missing = format!("{}/{}.{}", level.as_str(), asked.resource_type, asked.letter.as_char());
    Denial {
        reason: DenialReason::ScopeInsufficient,
        diagnostics: format!("expected a scope that covers it, such as `{missing}`"),
        missing_scope: Some(missing),
        policies: Vec::new(),
    }
}

pub(super) fn verb(action: Action) -> &'static str {
    match action {
        Action::Read | Action::Vread => "read",
        Action::HistoryInstance | Action::HistoryType | Action::HistorySystem => "read the history of",
        Action::SearchType | Action::SearchSystem => "search",
        Action::Create => "create",
        Action::Update | Action::Patch => "change",
        Action::Delete => "delete",
        Action::Operation => "run operations on",
    }
}
