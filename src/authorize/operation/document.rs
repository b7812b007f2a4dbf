//! `Composition/id/$document` (R4 composition-operation-document.html) and `Patient/id/$summary` (International Patient Summary):
//! resources that only mean something together.

use super::super::change::Prepared;
use super::super::denial::{deny, type_not_served_for_one_patient};
use super::super::search::Beside;
use super::super::{Authorizer, DenialReason, UpstreamRequest};
use super::stored::after;
use super::{Called, Judged, Step, reading};
use crate::error::Refusal;
use crate::fhir::resource_type::ResourceType;

impl Authorizer {
    /// A document is given whole or not at all. It is not stored: the Bundle would hold resources whose scopes nobody asked for.
    pub(super) fn document(&self, called: &Called<'_>) -> Result<Step, Refusal> {
        let composition = ResourceType::COMPOSITION;
        self.reach(&reading(composition, called.operation), &called.principal).map_err(Refusal::Denied)?;
        let mut reaches = self.record(called)?;
        let arguments = called.arguments()?;
        if arguments.text("persist") == Some("true") {
            let diagnostics = "`persist` is not served: a document that is stored holds other resources";
            return Err(Refusal::Denied(deny(DenialReason::ParameterNotServed, diagnostics)));
        }
        if !reaches.iter().any(|reach| reach.resource_type() == composition) {
            return Err(Refusal::Denied(type_not_served_for_one_patient(composition)));
        }
        // A Composition is judged again when it comes; before, a server would tell by what it says that one is there.
        let within = self.in_path(called, &reaches)?;
        reaches.sort_by_key(|reach| (reach.resource_type() != composition, reach.resource_type()));
        let id = called.id.clone().filter(|_| called.resource_type == Some(composition));
        let beside = Beside::of_operation(&reaches, &called.request.interaction, Judged::Document(id));
        let invocation = called.invocation(Vec::new(), None);
        let ready = called.ready(UpstreamRequest::Operation(Box::new(invocation)), reaches, beside)?;
        Ok(after(within, Prepared::freely(), ready))
    }
}
