//! Operations that a site lists (`[[fhir.operation]]`): for grants without restriction alone, on the terms that the site says.
//!
//! The scopes must wholly cover what the site says it needs, and all that may come back; the policies are asked about the action
//! `operation`, with its name.

use super::super::asked::Asked;
use super::super::policy::Action;
use super::super::search::Beside;
use super::super::{Authorizer, OpenPage, Reach, UpstreamRequest};
use super::{Called, Judged, Ready, not_for_this_grant, reading};
use crate::error::Refusal;
use crate::fhir::operation::{Listed, Returns};
use crate::fhir::projection::Projection;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::print_link;
use crate::smart::scope::{Letter, Permissions};

impl Authorizer {
    pub(super) fn as_listed(
        &self,
        called: &Called<'_>,
        listed: &Listed,
        pages: &impl OpenPage,
    ) -> Result<Ready, Refusal> {
        let own = if called.operation.affects_state { Letter::Update } else { Letter::Read };
        let mut needs: Vec<(ResourceType, Letter)> = called.resource_type.into_iter().map(|of| (of, own)).collect();
        for (of, letters) in &listed.needs {
            let letters = Permissions::parse_letters(letters).ok_or(Refusal::NotFound)?;
            needs.extend(letters.letters().map(|letter| (*of, letter)));
        }
        let mut reach = None;
        for (of, letter) in needs {
            let asked = Asked::new(Action::Operation, letter, of).by(called.operation);
            let found = wholly(self.reach(&asked, &called.principal).map_err(Refusal::Denied)?, called)?;
            reach.get_or_insert(found);
        }
        let reach = reach.ok_or_else(|| not_for_this_grant(called.operation))?;
        let mut returned = Vec::new();
        for of in listed.returns.types() {
            let asked = reading(*of, called.operation);
            returned.push(wholly(self.reach(&asked, &called.principal).map_err(Refusal::Denied)?, called)?);
        }
        let reaches: Vec<Reach> = std::iter::once(reach).chain(returned).collect();
        let judged = match &listed.returns {
            Returns::OperationOutcome => self.outcome(&called.principal),
            returns => Judged::Returned(returns.clone()),
        };
        let beside = Beside::of_operation(&reaches, &called.request.interaction, judged);
        let (upstream, self_link) = if let Some(token) = &called.request.page {
            let (resource_type, path_and_query) = pages.open_page(token, &called.principal, beside.bounds())?;
            (UpstreamRequest::Page { resource_type, path_and_query }, called.path())
        } else {
            let arguments = called.arguments()?;
            let link = print_link(&called.path(), &arguments.to_query().unwrap_or_default(), &Projection::Full);
            (UpstreamRequest::Operation(Box::new(self.invocation(called, &arguments))), link)
        };
        let mut ready = called.ready(upstream, reaches, beside)?;
        ready.obligations.self_link = self_link;
        Ok(ready)
    }
}

fn wholly(reach: Reach, called: &Called<'_>) -> Result<Reach, Refusal> {
    if reach.is_unrestricted() { Ok(reach) } else { Err(not_for_this_grant(called.operation)) }
}
