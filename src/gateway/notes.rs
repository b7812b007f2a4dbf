//! What each stage of the request path tells the record.

use http::Response;
use http_body::Body as _;

use crate::audit::{Decision, Record, Upstream};
use crate::authenticate::{Context, Principal};
use crate::authorize::Permit;
use crate::canonicalise::FhirRequest;
use crate::error::Refusal;
use crate::fhir::interaction::Interaction;
use crate::filter::Releasable;
use crate::forward::Unfiltered;
use crate::gateway::explanation::{self, Explanation};
use crate::listen::{Body, Inbound};

impl Record {
    /// Where the request came from and what it says on its face.
    pub(crate) fn inbound(&mut self, inbound: &Inbound) {
        self.method = Some(inbound.method.as_str().to_owned().into());
        self.tls = inbound.peer.tls.map(Into::into);
        self.client_cert.clone_from(&inbound.peer.client_certificate);
        if let Some(query) = &inbound.query {
            self.query(query);
        }
    }

    /// The interaction that the canonicaliser found.
    pub(super) fn requested(&mut self, request: &FhirRequest) {
        self.interaction = Some(match request.interaction() {
            // By its name, as far as it is one.
            Interaction::Operation { name, .. } => format!("${}", name.get(..64).unwrap_or(name)).into(),
            other => other.code().into(),
        });
        self.resource_type = request.interaction().resource_type().map(|resource_type| resource_type.name().into());
        match request.interaction() {
            Interaction::Read { resource_type, id }
            | Interaction::HistoryInstance { resource_type, id }
            | Interaction::Update { resource_type, id }
            | Interaction::Patch { resource_type, id }
            | Interaction::Delete { resource_type, id } => self.resource_ids = vec![format!("{resource_type}/{id}")],
            Interaction::Vread { resource_type, id, version } => {
                self.resource_ids = vec![format!("{resource_type}/{id}")];
                self.version_id = Some(version.to_string());
            }
            Interaction::SearchType { .. } | Interaction::SearchSystem | Interaction::SearchCompartment { .. } => {
                self.search_by_post(&request.inbound);
            }
            // A body that is a resource is in no record.
            Interaction::HistoryType { .. }
            | Interaction::HistorySystem
            | Interaction::Create { .. }
            | Interaction::ConditionalUpdate { .. }
            | Interaction::ConditionalPatch { .. }
            | Interaction::ConditionalDelete { .. }
            | Interaction::Batch
            | Interaction::Transaction
            | Interaction::Operation { .. }
            | Interaction::Capabilities => {}
        }
    }

    /// Which of the two a Bundle of requests is, as it says itself.
    pub(super) fn bundled(&mut self, request: &FhirRequest) {
        if request.is_transaction() {
            self.interaction = Some(Interaction::Transaction.code().into());
        }
    }

    /// The form of a search is a part of its query (R4 http.html section 3.1.0.9). It was checked to be UTF-8.
    fn search_by_post(&mut self, inbound: &Inbound) {
        if inbound.body.is_empty() {
            return;
        }
        let form = String::from_utf8_lossy(&inbound.body);
        match &inbound.query {
            Some(query) => self.query(&format!("{query}&{form}")),
            None => self.query(&form),
        }
    }

    /// Who asks.
    pub(super) fn principal(&mut self, principal: &Principal) {
        self.client_id = Some(principal.client_id.clone());
        self.iss = Some(principal.issuer.clone());
        self.sub = Some(principal.subject.clone());
        self.fhir_user = principal.fhir_user.as_ref().map(|(resource_type, id)| format!("{resource_type}/{id}"));
        self.roles.clone_from(&principal.roles);
        self.jti = Some(principal.token_handle.clone()).filter(|handle| !handle.is_empty());
        self.scopes = Some(principal.scope_text.clone());
        self.patient = match &principal.patient {
            Context::Patient(id) => Some(id.to_string()),
            Context::Absent | Context::Unusable => None,
        };
        self.encounter = principal.encounter.as_ref().map(ToString::to_string);
        // Until a permit says otherwise.
        self.decision = Some(Decision::Deny);
    }

    /// That it was permitted, and by which policies.
    pub(super) fn permitted(&mut self, permit: &Permit) {
        self.decision = Some(Decision::Permit);
        let obligations = &permit.obligations;
        let all = || std::iter::once(obligations).chain(&obligations.each);
        let changed = || all().filter_map(|one| one.changed.as_ref());
        for policy in all().flat_map(explanation::policies) {
            if !self.policies.contains(&policy) {
                self.policies.push(policy);
            }
        }
        self.patients = all().flat_map(|one| one.reach.patients()).map(ToString::to_string).collect();
        self.patients.extend(changed().flat_map(|changed| changed.patients.iter().cloned()));
        self.patients.sort_unstable();
        self.patients.dedup();
        let written =
            changed().filter_map(|changed| Some(format!("{}/{}", changed.resource_type, changed.id.as_ref()?)));
        let written: Vec<String> = written.collect();
        if !written.is_empty() {
            self.resource_ids = written;
        }
        self.explanation = Explanation::of_permit(permit).recorded();
    }

    /// Why it was refused; when it had been permitted, the explanation stays that of the permit.
    pub(super) fn refused(&mut self, refusal: &Refusal) {
        if self.explanation.is_empty() {
            self.explanation = Explanation::of_refusal(refusal).recorded();
            if let Refusal::Denied(denial) = refusal {
                self.policies.clone_from(&denial.policies);
            }
        }
    }

    /// That the upstream was called, and how long it took.
    pub(super) fn forwarded(&mut self, unfiltered: &Unfiltered) {
        self.upstream = unfiltered.spent.map(|spent| Upstream {
            name: "fhir".to_owned(),
            ms: u64::try_from(spent.as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Whom and what the answer tells of.
    pub(super) fn released(&mut self, releasable: &Releasable) {
        let told = &releasable.told;
        self.resource_ids.clone_from(&told.resources);
        if told.version.is_some() {
            self.version_id.clone_from(&told.version);
        }
        let mut patients = told.patients.clone();
        patients.extend(self.patients.drain(..));
        self.patients = patients.into_iter().collect();
        self.withheld = (told.withheld > 0).then_some(told.withheld);
    }

    /// Status and size of the answer.
    pub(crate) fn answered(&mut self, response: &Response<Body>) {
        self.status = Some(response.status().as_u16());
        self.bytes = response.body().size_hint().exact();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::EventKind;

    #[test]
    fn the_record_names_the_certificate_of_the_client() {
        let mut inbound = Inbound::for_test("GET", "/fhir/Patient/P1");
        inbound.peer.client_certificate = Some("ab12".to_owned());
        let mut record = Record::new(EventKind::Fhir);
        record.inbound(&inbound);
        assert_eq!(record.client_cert.as_deref(), Some("ab12"));
    }
}
