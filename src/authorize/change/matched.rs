//! Conditional changes (R4 http.html sections 3.1.0.4.3, 3.1.0.7.1, 3.1.0.8.1): the search is made here and what it finds is
//! changed by its id and in its version. The upstream resolves nothing.

use super::super::asked::Asked;
use super::super::denial::deny;
use super::super::inquiry::unusable;
use super::super::policy::Action;
use super::super::{Authorizer, DenialReason, Evidence, Obligations, UpstreamRequest};
use super::current::{Found, version};
use super::{Change, Existing, Ready, Step, Verb, Waiting};
use crate::error::{ChangeProblem, Refusal};
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::narrow::{Narrowed, narrow};
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::search::SearchQuery;
use crate::json::{Json, Limits, Value};
use crate::smart::scope::Letter;

impl Authorizer {
    /// Asks what matches the condition of `change`. Only for grants that reach everything of the type: to others the number
    /// of matches would tell of what they do not reach.
    pub(super) fn ask_for_match(&self, change: Change) -> Result<Step, Refusal> {
        let resource_type = change.resource_type;
        let searching = Asked::new(Action::SearchType, Letter::Search, resource_type);
        let searching = self.reach(&searching, &change.principal).map_err(Refusal::Denied)?;
        let all_readable = change.readable.as_ref().is_some_and(super::super::Reach::is_unrestricted);
        if change.is_restricted() || !searching.is_unrestricted() || change.is_create() && !all_readable {
            let diagnostics = format!("conditional changes are served to grants that reach every {resource_type}");
            return Err(Refusal::Denied(deny(DenialReason::InteractionNotServed, diagnostics)));
        }
        let query = change.condition();
        let own = SearchQuery { criteria: query.criteria.clone(), ..SearchQuery::default() };
        if *query != own {
            let diagnostics = "conditional changes are served by the type's own search parameters";
            return Err(Refusal::Denied(deny(DenialReason::ParameterNotServed, diagnostics)));
        }
        let mut parameters = self.parameters(query)?;
        // Other entries of a transaction may refer to what is created or found: only the upstream can tell them which.
        if change.graph.is_transaction() && change.is_create() {
            let body = change.body()?;
            let prepared = self.prepare(change.terms(), body, None)?;
            let ready = self.write(&change, Verb::Create, None, body, None)?;
            return Ok(super::after_lookups(change, prepared, ready.unless_found(parameters)));
        }
        parameters.push(("_count".to_owned(), "2".to_owned()));
        let search = UpstreamRequest::Search { resource_type, parameters };
        Ok(Step::Ask(vec![search], Box::new(Change { waiting: Waiting::Match, ..change })))
    }

    /// Goes on with what matched.
    pub(super) fn matched(&self, change: Change, evidence: &[Evidence]) -> Result<Step, Refusal> {
        let found = evidence.first().ok_or_else(|| unusable("no evidence"))?;
        if found.refused {
            return Err(Refusal::bad_request("expected search parameters that the FHIR server has for this type"));
        }
        let bundle = found.json()?.ok_or_else(|| unusable("no searchset"))?;
        let root = bundle.root();
        let is = |name: &str, text: &str| root.member(name).is_some_and(|value| value.is(text));
        if !is("resourceType", "Bundle") || !is("type", "searchset") {
            return Err(unusable("no searchset"));
        }
        let mut links = root.member("link").into_iter().flat_map(Value::elements);
        let more = links.any(|link| link.member("relation").is_some_and(|relation| relation.is("next")));
        let mut matches = resources(root);
        match (matches.next(), matches.next()) {
            (None, _) if more => Err(unusable("an empty page with another one after it")),
            (None, _) => self.none_matched(change),
            (Some(only), None) if !more => self.one_matched(change, only),
            (Some(_), _) => Err(Refusal::Change(ChangeProblem::MultipleMatches)),
        }
    }

    fn none_matched(&self, change: Change) -> Result<Step, Refusal> {
        let creates = match &change.request.interaction {
            Interaction::Create { .. } => true,
            Interaction::ConditionalUpdate { .. } => {
                let resource_type = change.resource_type;
                let asked = Asked::new(Action::Create, Letter::Create, resource_type);
                let may = self.reach(&asked, &change.principal).is_ok_and(|reach| reach.is_unrestricted());
                may && change.request.conditions.if_match.is_none()
            }
            _ => false,
        };
        if !creates {
            return Err(Refusal::NotFound);
        }
        let body = change.body()?;
        if !change.is_create() && body.root().member("id").is_some() {
            let expected = "expected no `id` in the body of a conditional update that finds nothing";
            return Err(Refusal::bad_request(expected));
        }
        let prepared = self.prepare(change.terms(), body, None)?;
        let parameters = self.parameters(change.condition())?;
        let ready = self.write(&change, Verb::Create, None, body, None)?;
        Ok(super::after_lookups(change, prepared, ready.unless_found(parameters)))
    }

    fn one_matched(&self, change: Change, only: Value<'_>) -> Result<Step, Refusal> {
        let facts = Facts::of(only).map_err(|_| unusable("not a resource"))?;
        if facts.resource_type() != change.resource_type {
            return Err(unusable("another resource than was searched for"));
        }
        let id = facts.id().ok_or_else(|| unusable("a match without an id"))?.to_logical_id();
        if change.is_create() {
            return Ok(Step::Ready(Box::new(read_instead(&change, id)?)));
        }
        let json = Json::parse(only.raw().to_vec(), Limits::default()).map_err(|_| unusable("not strict JSON"))?;
        let found = Found { version: change.meant(version(&json, None)?)?, json };
        if !matches!(change.request.interaction, Interaction::ConditionalUpdate { .. }) {
            return self.change_found(change, id, found);
        }
        let body = change.body()?;
        if body.root().member("id").is_some_and(|given| !given.is(id.as_str())) {
            return Err(Refusal::bad_request("expected `id` in the body to be the one of the resource that matches"));
        }
        let prepared = self.prepare(change.terms(), body, Some(&id))?.after(&change, &found.json, &self.bases);
        let ready = self.write(&change, Verb::Update, Some(&id), body, Some(found.version))?;
        let before = self.patients(&found.json)?;
        Ok(super::after_lookups(change, prepared, ready.about(before)))
    }

    fn parameters(&self, query: &SearchQuery) -> Result<Vec<(String, String)>, Refusal> {
        match narrow(query, None, &[], &self.bases, self.max_count) {
            Some(Narrowed::Search(parameters)) if !parameters.is_empty() => Ok(parameters),
            _ => Err(Refusal::bad_request("expected search parameters that say which resource is meant")),
        }
    }
}

impl Change {
    fn is_create(&self) -> bool {
        matches!(self.request.interaction, Interaction::Create { .. })
    }

    fn condition(&self) -> &SearchQuery {
        self.request.conditions.if_none_exist.as_ref().unwrap_or(&self.request.search)
    }
}

/// A conditional create that finds one stores nothing: the answer is the one that is there (R4 http.html section 3.1.0.8.1).
fn read_instead(change: &Change, id: Id) -> Result<Ready, Refusal> {
    let resource_type = change.resource_type;
    let reach = change.readable.clone().ok_or(Refusal::NotFound)?;
    let interaction = Interaction::Read { resource_type, id: id.clone() };
    let plain = Obligations::within(reach, interaction, std::sync::Arc::clone(&change.principal));
    let existing = Existing { representation: change.wants_representation() };
    let obligations = Obligations { existing: Some(existing), ..plain };
    Ok(Ready { upstream: UpstreamRequest::Read { resource_type, id }, obligations })
}

/// The resources that a searchset found: whatever is neither an include nor an outcome.
pub(in super::super) fn resources(bundle: Value<'_>) -> impl Iterator<Item = Value<'_>> {
    let entries = bundle.member("entry").into_iter().flat_map(Value::elements);
    entries.filter_map(|entry| {
        let mode = entry.member("search").and_then(|search| search.member("mode"));
        let beside = mode.is_some_and(|mode| mode.is("include") || mode.is("outcome"));
        entry.member("resource").filter(|_| !beside)
    })
}
