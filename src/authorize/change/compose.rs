//! The write itself, rebuilt from what was judged, with what its answer must be about.

use bytes::Bytes;

use super::super::denial::deny;
use super::super::inquiry::unusable;
use super::super::{Authorizer, DenialReason, Obligations, UpstreamRequest};
use super::{Change, Changed, Ready, Verb, Write};
use crate::error::Refusal;
use crate::fhir::etag::EntityTag;
use crate::fhir::facts::Facts;
use crate::fhir::links;
use crate::fhir::reference::LogicalId as Id;
use crate::json::{Edits, Json, quote};

impl Authorizer {
    /// Stores `body`, under `id` when it has one, while `if_match` is current.
    pub(super) fn write(
        &self,
        change: &Change,
        verb: Verb,
        id: Option<&Id>,
        body: &Json,
        if_match: Option<EntityTag>,
    ) -> Result<Ready, Refusal> {
        let facts = Facts::of(body.root()).map_err(|problem| Refusal::bad_request(problem.to_string()))?;
        let may_read = change.readable.as_ref().is_some_and(|readable| readable.admits(&facts, &self.bases).is_some());
        let write = Write {
            verb,
            resource_type: change.resource_type,
            id: id.cloned(),
            body: Some(self.outgoing(body, id)?),
            if_match,
            if_none_match: false,
            if_none_exist: None,
            representation: change.wants_representation() && may_read,
        };
        let patients = facts.patients(&self.bases).iter().map(ToString::to_string).collect();
        Ok(ready(change, write, patients))
    }

    /// The body as the upstream gets it: what names this server is relative, and the id is the one that was decided on, or
    /// none where the upstream is to choose one.
    fn outgoing(&self, body: &Json, id: Option<&Id>) -> Result<Bytes, Refusal> {
        let mut edits = Edits::new(body);
        links::relative(body.root(), &self.bases, &mut edits);
        let own = body.root().members().find(|member| member.key.is("id"));
        match (own, id) {
            (Some(member), None) => edits.remove_member(body.root(), &member),
            (None, Some(id)) => edits.add_member(body.root(), "id", &quote(id.as_str())),
            (Some(member), Some(id)) if !member.value.is(id.as_str()) => {
                edits.replace_string(member.value, id.as_str());
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        if edits.is_empty() {
            return Ok(body.bytes().clone());
        }
        edits.apply().map(Bytes::from).map_err(|_| unusable("edits contradict each other"))
    }
}

/// Removes the resource, while `if_match` is current.
pub(super) fn delete(change: &Change, id: Id, if_match: Option<EntityTag>, patients: Vec<String>) -> Ready {
    let write = Write {
        verb: Verb::Delete,
        resource_type: change.resource_type,
        id: Some(id),
        body: None,
        if_match,
        if_none_match: false,
        if_none_exist: None,
        representation: false,
    };
    ready(change, write, patients)
}

fn ready(change: &Change, write: Write, patients: Vec<String>) -> Ready {
    let changed = Changed {
        verb: write.verb,
        resource_type: write.resource_type,
        id: write.id.clone(),
        conditional: false,
        representation: write.representation,
        readable: change.readable.clone(),
        patients,
    };
    let interaction = change.request.interaction.clone();
    let plain = Obligations::within(change.reach.clone(), interaction, std::sync::Arc::clone(&change.principal));
    let obligations = Obligations { changed: Some(changed), ..plain };
    Ready { upstream: UpstreamRequest::Write(Box::new(write)), obligations }
}

impl Ready {
    /// The same write, on further terms.
    pub(super) fn with(mut self, terms: impl FnOnce(&mut Write)) -> Self {
        if let UpstreamRequest::Write(write) = &mut self.upstream {
            terms(write);
        }
        self
    }

    /// The same create, unless this search finds one (R4 http.html section 3.1.0.8.1).
    pub(super) fn unless_found(mut self, parameters: Vec<(String, String)>) -> Self {
        if let Some(changed) = &mut self.obligations.changed {
            changed.conditional = true;
        }
        self.with(|write| write.if_none_exist = Some(parameters))
    }

    /// The same, about the data of these patients too.
    pub(super) fn about(mut self, patients: impl IntoIterator<Item = String>) -> Self {
        if let Some(changed) = &mut self.obligations.changed {
            changed.patients.extend(patients);
            changed.patients.sort_unstable();
            changed.patients.dedup();
        }
        self
    }
}

/// A change that cannot be tied to the version that was judged would hit whatever is there by then.
pub(super) fn version_unknown() -> Refusal {
    let diagnostics = "the FHIR server does not tell the version of this resource, so a change cannot be tied to it";
    Refusal::Denied(deny(DenialReason::VersionUnknown, diagnostics))
}
