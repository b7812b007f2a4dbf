//! The decision itself: scopes, contexts, policies, parameters, narrowing, in this order.

use std::path::Path;

use super::policy::{Action, Asker, Policies, PolicyError, Question, Verdict};
use super::{Decision, Denial, DenialReason, Obligations, OpenPage, Permit, UpstreamRequest};
use crate::authenticate::{Authenticated, Context, Principal};
use crate::error::Refusal;
use crate::fhir::compartment::{PatientCompartment, extension_compartment, patient_compartment, unsafe_by_default};
use crate::fhir::narrow::{Confinement, Narrowed, narrow};
use crate::fhir::reference::{Bases, LogicalId as Id};
use crate::fhir::request::{FhirRequest, Interaction};
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::Class;
use crate::smart::scope::{Letter, Level};

/// Decides. Made from one load of the configuration and the policies; a reload makes another one.
#[derive(Debug)]
pub struct Authorizer {
    policies: Policies,
    bases: Bases,
    max_count: u32,
}

/// The request as far as scopes and policies are concerned.
#[derive(Clone, Copy)]
struct Asked<'a> {
    action: Action,
    letter: Letter,
    resource_type: ResourceType,
    /// The logical id, for reads.
    id: Option<&'a Id>,
}

/// A context that suffices.
struct Granted<'a> {
    compartment: Option<(&'a Id, &'static PatientCompartment)>,
    policies: Vec<String>,
}

impl Authorizer {
    /// The shipped policies together with those of `policies` (a file there replaces the shipped one of the same name); `bases`
    /// by which references are known as ours; `max_count`, the largest `_count` that is passed on.
    ///
    /// # Errors
    /// Every mistake in the policies.
    pub fn new(policies: Option<&Path>, bases: Bases, max_count: u32) -> Result<Self, Vec<PolicyError>> {
        Ok(Self { policies: Policies::load(policies)?, bases, max_count })
    }

    /// Decides about one request. `pages` opens a sealed continuation, after everything else was decided.
    #[must_use]
    pub fn decide(&self, who: Authenticated<FhirRequest>, pages: &impl OpenPage) -> Decision {
        let Authenticated { request, principal, .. } = who;
        let judged =
            Asked::of(&request.interaction).and_then(|asked| Ok((asked, self.grant(&asked, &request, &principal)?)));
        let (asked, granted) = match judged {
            Ok(judged) => judged,
            Err(denial) => return Decision::Deny(denial),
        };
        let upstream = match self.rebuild(&asked, &granted, &request, &principal, pages) {
            Ok(upstream) => upstream,
            Err(Refusal::Denied(denial)) => return Decision::Deny(denial),
            Err(refusal) => return Decision::Refuse(refusal),
        };
        let resource_type = asked.resource_type;
        let self_link = match asked.action {
            Action::SearchType => request.search.self_link(resource_type, &request.projection),
            Action::Read | Action::Vread => String::new(),
        };
        let compartment = granted.compartment.map(|(patient, _)| patient.clone());
        let policies = granted.policies;
        let FhirRequest { interaction, projection, head, if_none_match, .. } = request;
        let obligations = Obligations {
            principal,
            interaction,
            types: vec![resource_type],
            compartment,
            projection,
            head,
            if_none_match,
            self_link,
            policies,
        };
        Decision::Permit(Permit { upstream, obligations, _decided: () })
    }

    /// The widest context that suffices, or why the one that came nearest does not.
    fn grant<'a>(
        &self,
        asked: &Asked<'_>,
        request: &FhirRequest,
        principal: &'a Principal,
    ) -> Result<Granted<'a>, Denial> {
        // A user who is bound to a patient reaches no further than the launch does, and the launch patient goes first.
        let levels = match user_patient(principal) {
            Ok(None) => [Level::System, Level::User, Level::Patient],
            Ok(Some(_)) | Err(_) => [Level::System, Level::Patient, Level::User],
        };
        let mut nearest: Option<Denial> = None;
        // One resource by its id, and that wholly: no other context reaches further for it.
        if is_own_entry(asked, principal) {
            match self.grant_own_entry(asked, principal) {
                Ok(granted) => return Ok(granted),
                Err(denial) => keep_nearest(&mut nearest, denial),
            }
        }
        for level in levels {
            if !principal.scopes.covers(level, asked.resource_type, asked.letter) {
                continue;
            }
            match self.grant_at(level, asked, principal) {
                Ok(granted) => return parameters_served(request).map(|()| granted),
                Err(denial) => keep_nearest(&mut nearest, denial),
            }
        }
        Err(nearest.unwrap_or_else(|| scope_insufficient(asked, principal)))
    }

    /// Whether this level suffices: its context is there, the type is served in it, and the policies permit it.
    fn grant_at<'a>(&self, level: Level, asked: &Asked<'_>, principal: &'a Principal) -> Result<Granted<'a>, Denial> {
        let patient = match level {
            Level::Patient => Some(launch_patient(principal)?),
            Level::User => user_patient(principal)?,
            Level::System => None,
        };
        let compartment = match patient {
            Some(patient) => Some((patient, served_compartment(asked.resource_type)?)),
            None => None,
        };
        let question = Question {
            asker: asker(level, principal),
            client_id: &principal.client_id,
            action: asked.action,
            resource_type: asked.resource_type,
            level,
            compartment: compartment.is_some(),
            fhir_user: is_own_entry(asked, principal),
        };
        Ok(Granted { compartment, policies: self.permitted(&question)? })
    }

    /// The scope `fhirUser`: by id, exactly the resource that the user is (SMART App Launch 2.2, "Scopes for requesting identity
    /// data").
    fn grant_own_entry<'a>(&self, asked: &Asked<'_>, principal: &'a Principal) -> Result<Granted<'a>, Denial> {
        let question = Question {
            asker: Asker::User(&principal.roles),
            client_id: &principal.client_id,
            action: asked.action,
            resource_type: asked.resource_type,
            level: Level::User,
            compartment: false,
            fhir_user: true,
        };
        Ok(Granted { compartment: None, policies: self.permitted(&question)? })
    }

    fn permitted(&self, question: &Question<'_>) -> Result<Vec<String>, Denial> {
        match &*self.policies.judge(question) {
            Verdict::Permit(policies) => Ok(policies.clone()),
            Verdict::Deny => {
                let resource_type = question.resource_type;
                let diagnostics =
                    format!("no policy of this site permits this role to {} {resource_type}", verb(question.action));
                Err(deny(DenialReason::PolicyDenied, diagnostics))
            }
            Verdict::Error => Err(deny(
                DenialReason::PolicyError,
                "a policy of this site could not be evaluated, so nothing is permitted",
            )),
        }
    }

    fn rebuild(
        &self,
        asked: &Asked<'_>,
        granted: &Granted<'_>,
        request: &FhirRequest,
        principal: &Principal,
        pages: &impl OpenPage,
    ) -> Result<UpstreamRequest, Refusal> {
        let resource_type = asked.resource_type;
        match &request.interaction {
            Interaction::Read { id, .. } => Ok(UpstreamRequest::Read { resource_type, id: id.clone() }),
            Interaction::Vread { id, version, .. } => {
                Ok(UpstreamRequest::Vread { resource_type, id: id.clone(), version: version.clone() })
            }
            _ => match &request.page {
                Some(token) => {
                    match pages.open_page(token, principal, granted.compartment.map(|(patient, _)| patient))? {
                        (of, path_and_query) if of == resource_type => {
                            Ok(UpstreamRequest::Page { resource_type, path_and_query })
                        }
                        _ => Err(Refusal::bad_request("expected `_page` on the resource type that it was given for")),
                    }
                }
                None => self.narrowed(resource_type, granted, request),
            },
        }
    }

    fn narrowed(
        &self,
        resource_type: ResourceType,
        granted: &Granted<'_>,
        request: &FhirRequest,
    ) -> Result<UpstreamRequest, Refusal> {
        let confinement =
            granted.compartment.map(|(patient, compartment)| Confinement { patient: patient.as_id(), compartment });
        match narrow(&request.search, confinement, &self.bases, self.max_count) {
            Some(Narrowed::Search(parameters)) => Ok(UpstreamRequest::Search { resource_type, parameters }),
            Some(Narrowed::Nothing) => Ok(UpstreamRequest::Nothing { resource_type }),
            None => Err(Refusal::Denied(type_not_served_for_one_patient(resource_type))),
        }
    }
}

impl<'a> Asked<'a> {
    fn of(interaction: &'a Interaction) -> Result<Self, Denial> {
        let (action, letter, resource_type, id) = match interaction {
            Interaction::Read { resource_type, id } => (Action::Read, Letter::Read, *resource_type, Some(id)),
            Interaction::Vread { resource_type, id, .. } => (Action::Vread, Letter::Read, *resource_type, Some(id)),
            Interaction::SearchType { resource_type } => (Action::SearchType, Letter::Search, *resource_type, None),
            Interaction::HistoryInstance { .. }
            | Interaction::HistoryType { .. }
            | Interaction::HistorySystem
            | Interaction::SearchSystem
            | Interaction::SearchCompartment { .. }
            | Interaction::Create { .. }
            | Interaction::Update { .. }
            | Interaction::Patch { .. }
            | Interaction::Delete { .. }
            | Interaction::ConditionalUpdate { .. }
            | Interaction::ConditionalPatch { .. }
            | Interaction::ConditionalDelete { .. }
            | Interaction::Batch
            | Interaction::Operation { .. }
            | Interaction::Capabilities => {
                let diagnostics = "served are read, vread and search on one type; this interaction is not";
                return Err(deny(DenialReason::InteractionNotServed, diagnostics));
            }
        };
        // Whatever scopes and policies say of the resources inside, nobody asked them.
        if holds_resources(resource_type) {
            let diagnostics = format!("{resource_type} is not served: it holds other resources");
            return Err(deny(DenialReason::TypeNotServed, diagnostics));
        }
        Ok(Self { action, letter, resource_type, id })
    }
}

/// Whether whole resources stand in resources of this type, other than contained ones (R4 bundle.html, parameters.html).
fn holds_resources(resource_type: ResourceType) -> bool {
    matches!(resource_type, ResourceType::BUNDLE | ResourceType::PARAMETERS)
}

/// The patient in context.
fn launch_patient(principal: &Principal) -> Result<&Id, Denial> {
    match &principal.patient {
        Context::Patient(id) => Ok(id),
        Context::Absent | Context::Unusable => Err(deny(
            DenialReason::ContextMissing,
            "scopes of the level `patient/` need exactly one patient in the token",
        )),
    }
}

/// The patient that `user/` scopes are bound to, when the user is a patient or somebody related to one.
fn user_patient(principal: &Principal) -> Result<Option<&Id>, Denial> {
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

/// How the type is confined to one patient, when it may be served to a grant for one patient at all.
fn served_compartment(resource_type: ResourceType) -> Result<&'static PatientCompartment, Denial> {
    let compartment = patient_compartment(resource_type).or_else(|| extension_compartment(resource_type));
    compartment
        .filter(|_| !unsafe_by_default(resource_type))
        .ok_or_else(|| type_not_served_for_one_patient(resource_type))
}

/// Who asks: under `system/` the client, with its own roles and never with those of somebody who logged in.
fn asker(level: Level, principal: &Principal) -> Asker<'_> {
    match level {
        Level::Patient | Level::User => Asker::User(&principal.roles),
        // RFC 9068 section 2.2: where no user is involved, the subject is the client.
        Level::System if principal.subject == principal.client_id => Asker::Client(&principal.roles),
        Level::System => Asker::Client(&[]),
    }
}

fn is_own_entry(asked: &Asked<'_>, principal: &Principal) -> bool {
    let own = principal.fhir_user.as_ref().is_some_and(|(of, id)| *of == asked.resource_type && Some(id) == asked.id);
    own && asked.action == Action::Read && principal.scopes.fhir_user()
}

fn parameters_served(request: &FhirRequest) -> Result<(), Denial> {
    let Some(class) = request.search.beyond.first() else { return Ok(()) };
    let diagnostics = format!(
        "not served: {}; served are {}, `_count`, `_sort` by them, `_elements` and `_summary`",
        class.members(),
        Class::Own.members()
    );
    Err(deny(DenialReason::ParameterNotServed, diagnostics))
}

fn scope_insufficient(asked: &Asked<'_>, principal: &Principal) -> Denial {
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
    }
}

fn type_not_served_for_one_patient(resource_type: ResourceType) -> Denial {
    deny(DenialReason::TypeNotServed, format!("{resource_type} is not served to a grant for one patient"))
}

fn deny(reason: DenialReason, diagnostics: impl Into<String>) -> Denial {
    Denial { reason, diagnostics: diagnostics.into(), missing_scope: None }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Read | Action::Vread => "read",
        Action::SearchType => "search",
    }
}

/// The reason of the context that came nearest to a permit is the one to tell.
fn keep_nearest(nearest: &mut Option<Denial>, denial: Denial) {
    let depth = |denial: &Denial| match denial.reason {
        DenialReason::ScopeInsufficient | DenialReason::InteractionNotServed => 0,
        DenialReason::ContextMissing => 1,
        DenialReason::TypeNotServed => 2,
        DenialReason::PolicyDenied | DenialReason::PolicyError => 3,
        DenialReason::ParameterNotServed => 4,
    };
    if nearest.as_ref().is_none_or(|kept| depth(kept) < depth(&denial)) {
        *nearest = Some(denial);
    }
}

#[cfg(test)]
mod tests;
