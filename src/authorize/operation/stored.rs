//! Operations on one resource, stored or to be stored: `$validate` (R4 resource-operation-validate.html), `$meta`, `$meta-add` and
//! `$meta-delete`.
//!
//! `$validate` of a body is judged like the change that it rehearses: by the letters c or u, and for a restricted grant by the rules
//! for what may be stored, for what a server says of a body may tell what is there. Of a resource that is there it needs the
//! letter r, and the resource is read first. Labels and tags are changed by unrestricted grants alone: policies go by them.

use std::borrow::Cow;

use super::super::asked::Asked;
use super::super::change::Prepared;
use super::super::denial::{deny, keep_nearest};
use super::super::policy::Action;
use super::super::search::Beside;
use super::super::{Authorizer, DenialReason, Reach, UpstreamRequest};
use super::{Called, Invocation, Judged, Pending, Ready, Step, not_for_this_grant, reading, ready_now};
use crate::canonicalise::is_what_the_path_names;
use crate::error::Refusal;
use crate::fhir::operation::{Arguments, Returns, Type};
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::json::Value;
use crate::smart::scope::Letter;

impl Authorizer {
    pub(super) fn validate(&self, called: &Called<'_>) -> Result<Step, Refusal> {
        let of = called.of()?;
        // Whether a scope covers it is known before anything that was sent is read.
        if called.id.is_some() && !called.request.has_body() {
            let reach = self.reach(&reading(of, called.operation), &called.principal).map_err(Refusal::Denied)?;
            let arguments = called.arguments()?;
            profile_served(&reach, &arguments)?;
            self.mode_served(called, &arguments)?;
            let invocation = self.invocation(called, &arguments);
            return self.rehearsed(called, invocation, reach, Prepared::freely());
        }
        let reach = self.rehearsal(called, of)?;
        let arguments = called.arguments()?;
        profile_served(&reach, &arguments)?;
        self.mode_served(called, &arguments)?;
        let expected = || Refusal::bad_request("expected the resource that is to be validated");
        let body = arguments.complex("resource").ok_or_else(expected)?;
        is_what_the_path_names(body, of, called.id.as_ref())?;
        if !profiles_are_published(body.root()) {
            return Err(Refusal::bad_request(
                "expected `meta.profile` to name profiles by `urn:` or by the http(s) URL of a public host, without port and credentials",
            ));
        }
        let invocation = self.invocation(called, &arguments);
        let lookups = self.rehearse(&called.principal, &reach, body, called.id.as_ref())?;
        self.rehearsed(called, invocation, reach, lookups)
    }

    /// The invocation, after the resource in the path and what the body refers to were read, where they must be.
    fn rehearsed(
        &self,
        called: &Called<'_>,
        invocation: Invocation,
        reach: Reach,
        lookups: Prepared,
    ) -> Result<Step, Refusal> {
        let within = called.id.clone().filter(|_| !reach.is_unrestricted()).map(|id| (reach.clone(), id));
        let ready = called.answered(invocation, reach, self.outcome(&called.principal))?;
        Ok(after(within, lookups, ready))
    }

    /// What may be written of the type: by its first letter that covers anything, a new resource before a changed one.
    fn rehearsal(&self, called: &Called<'_>, of: ResourceType) -> Result<Reach, Refusal> {
        let changed = [(Action::Update, Letter::Update)];
        let new = [(Action::Create, Letter::Create), (Action::Update, Letter::Update)];
        let ways: &[_] = if called.id.is_some() { &changed } else { &new };
        let mut nearest = None;
        for (action, letter) in ways {
            match self.reach(&Asked::new(*action, *letter, of).by(called.operation), &called.principal) {
                Ok(reach) => return Ok(reach),
                Err(denial) => keep_nearest(&mut nearest, denial),
            }
        }
        Err(nearest.map_or(Refusal::NotFound, Refusal::Denied))
    }

    /// Whether something may be deleted depends on what refers to it, which may be of any type: the answer is for those who may
    /// read all of them.
    fn mode_served(&self, called: &Called<'_>, arguments: &Arguments) -> Result<(), Refusal> {
        match arguments.text("mode") {
            None | Some("create" | "update" | "profile") => Ok(()),
            Some(_) => self.everywhere(called).map(drop),
        }
    }

    pub(super) fn meta(&self, called: &Called<'_>) -> Result<Step, Refusal> {
        let reach = match (called.resource_type, &called.id) {
            (Some(of), _) => self.reach(&reading(of, called.operation), &called.principal).map_err(Refusal::Denied)?,
            (None, _) => self.everywhere(called)?,
        };
        if called.id.is_none() && !reach.is_unrestricted() {
            return Err(not_for_this_grant(called.operation));
        }
        let invocation = self.invocation(called, &called.arguments()?);
        let within = called.id.clone().filter(|_| !reach.is_unrestricted()).map(|id| (reach.clone(), id));
        let ready = called.answered(invocation, reach, values())?;
        Ok(after(within, Prepared::freely(), ready))
    }

    /// The reach of somebody who reads every resource of every type.
    fn everywhere(&self, called: &Called<'_>) -> Result<Reach, Refusal> {
        let mut first = None;
        for of in ResourceType::all() {
            let reach = self.reach(&reading(of, called.operation), &called.principal).map_err(Refusal::Denied)?;
            if !reach.is_unrestricted() {
                return Err(not_for_this_grant(called.operation));
            }
            first.get_or_insert(reach);
        }
        first.ok_or(Refusal::NotFound)
    }

    pub(super) fn meta_change(&self, called: &Called<'_>) -> Result<Ready, Refusal> {
        let asked = Asked::new(Action::Operation, Letter::Update, called.of()?).by(called.operation);
        let reach = self.reach(&asked, &called.principal).map_err(Refusal::Denied)?;
        if !reach.is_unrestricted() {
            return Err(not_for_this_grant(called.operation));
        }
        let invocation = self.invocation(called, &called.arguments()?);
        called.answered(invocation, reach, values())
    }
}

impl Called<'_> {
    /// The invocation, with an answer that is about no resource but the one in the path.
    pub(super) fn answered(&self, invocation: Invocation, reach: Reach, judged: Judged) -> Result<Ready, Refusal> {
        let reaches = vec![reach];
        let beside = Beside::of_operation(&reaches, &self.request.interaction, judged);
        self.ready(UpstreamRequest::Operation(Box::new(invocation)), reaches, beside)
    }
}

/// Whether every profile that is claimed, by the resource or by one inside of it, has a name that is published: a server may fetch
/// the ones that it does not know.
fn profiles_are_published(value: Value<'_>) -> bool {
    let claimed = value.member("meta").and_then(|meta| meta.member("profile"));
    let published = |one: Value<'_>| one.string().is_none_or(|name| Type::Canonical.admits(&name));
    claimed.into_iter().flat_map(Value::flatten).all(published)
        && value.elements().filter(|one| one.is_container()).all(profiles_are_published)
        && value.members().map(|member| member.value).filter(|one| one.is_container()).all(profiles_are_published)
}

fn values() -> Judged {
    Judged::Returned(Returns::Parameters(Cow::Borrowed(&[])))
}

/// What may be asked when the resource in the path is within this, and what a body refers to is too.
pub(super) fn after(within: Option<(Reach, Id)>, lookups: Prepared, ready: Ready) -> Step {
    let mut questions = Vec::new();
    if let Some((reach, id)) = &within {
        questions.push(UpstreamRequest::Read { resource_type: reach.resource_type(), id: id.clone() });
    }
    if !lookups.is_settled() {
        questions.extend(lookups.reads());
    }
    if questions.is_empty() {
        ready_now(ready)
    } else {
        Step::Ask(questions, Box::new(Pending { within, lookups, ready }))
    }
}

/// A profile is named by grants without restriction: some servers fetch one that they do not know.
fn profile_served(reach: &Reach, arguments: &Arguments) -> Result<(), Refusal> {
    if arguments.text("profile").is_none() || reach.is_unrestricted() {
        return Ok(());
    }
    let diagnostics = "`profile` is served to grants that reach all resources of the type";
    Err(Refusal::Denied(deny(DenialReason::ParameterNotServed, diagnostics)))
}
