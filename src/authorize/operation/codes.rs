//! Questions about codes: `$expand`, `$validate-code`, `$lookup`, `$subsumes`, `$translate` (R4 terminology-service.html). They tell
//! nothing of any patient, so a grant for one patient asks them as it reads what its patient's data refer to.
//!
//! What names a value set or code system is a name that is published (`fhir::operation`): a server that went to fetch what it
//! does not know would be sent nowhere inside of the site's own network. Resources in the question are not served.

use super::super::search::Beside;
use super::super::{Authorizer, UpstreamRequest};
use super::{Called, Judged, Ready, not_for_this_grant, reading};
use crate::error::Refusal;
use crate::fhir::operation::Returns;

impl Authorizer {
    pub(super) fn about_codes(&self, called: &Called<'_>, returns: &Returns) -> Result<Ready, Refusal> {
        let reach = self.reach(&reading(called.of()?, called.operation), &called.principal).map_err(Refusal::Denied)?;
        // What the answer came from is not in it: whether that meets a condition cannot be tested.
        if reach.allowances().iter().all(|allowance| !allowance.conditions.is_empty()) {
            return Err(not_for_this_grant(called.operation));
        }
        let invocation = self.invocation(called, &called.arguments()?);
        let reaches = vec![reach];
        let judged = Judged::Returned(returns.clone());
        let beside = Beside::of_operation(&reaches, &called.request.interaction, judged);
        called.ready(UpstreamRequest::Operation(Box::new(invocation)), reaches, beside)
    }
}
