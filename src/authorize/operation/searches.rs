//! `Observation/$lastn` (R4 observation-operation-lastn.html) and `DocumentReference/$docref` (US Core 6.1): searches by another
//! name, narrowed and judged like those.
//!
//! `$docref` is always answered by the search that it is defined by: documents that exist. None is made on demand, which a server
//! need not do.

use super::super::denial::deny;
use super::super::search::Beside;
use super::super::{Authorizer, DenialReason, OpenPage, UpstreamRequest};
use super::{Called, Judged, Ready};
use crate::error::Refusal;
use crate::fhir::operation::Arguments;
use crate::fhir::projection::Projection;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::{SearchQuery, escape, print_link};
use crate::fhir::way::SearchBy;
use crate::json::{Json, Value};

type Pairs = Vec<(String, String)>;

impl Authorizer {
    pub(super) fn last_n(&self, called: Called<'_>, pages: &impl OpenPage) -> Result<Ready, Refusal> {
        self.may_search(&called)?;
        let mut most = None;
        let mut search = (Vec::new(), String::new());
        if called.request.page.is_none() {
            let arguments = called.arguments()?;
            most = arguments.text("max").map(str::to_owned);
            search = (
                arguments.criteria(),
                print_link(&called.path(), &arguments.to_query().unwrap_or_default(), &Projection::Full),
            );
        }
        let invocation = called.invocation(Vec::new(), None);
        let mut ready = self.as_search(called, search, pages)?;
        ready.upstream = match ready.upstream {
            UpstreamRequest::Search { mut parameters, .. } => {
                parameters.extend(most.map(|most| ("max".to_owned(), most)));
                UpstreamRequest::Operation(Box::new(super::Invocation { parameters, ..invocation }))
            }
            UpstreamRequest::Each { .. } => {
                let diagnostics = "the scopes of this token have Observation in parts, of which there are no last ones";
                return Err(Refusal::Denied(deny(DenialReason::InteractionNotServed, diagnostics)));
            }
            other => other,
        };
        Ok(ready)
    }

    pub(super) fn doc_ref(&self, called: Called<'_>, pages: &impl OpenPage) -> Result<Ready, Refusal> {
        self.may_search(&called)?;
        if called.request.page.is_some() {
            return self.as_search(called, (Vec::new(), String::new()), pages);
        }
        let arguments = called.arguments()?;
        let link = print_link(&called.path(), &arguments.to_query().unwrap_or_default(), &Projection::Full);
        self.as_search(called, (documents(&arguments)?, link), pages)
    }

    /// Whether it may be searched at all, before anything that was sent is read.
    fn may_search(&self, called: &Called<'_>) -> Result<(), Refusal> {
        let asked = called.searching()?;
        self.reach(&asked, &called.principal).map(drop).map_err(Refusal::Denied)
    }

    /// The search with these parameters on the type in the path, with this `self` link.
    fn as_search(
        &self,
        called: Called<'_>,
        (pairs, self_link): (Pairs, String),
        pages: &impl OpenPage,
    ) -> Result<Ready, Refusal> {
        let of = called.of()?;
        let (search, projection) = parsed(of, &pairs)?;
        let Called { mut request, principal, operation, .. } = called;
        request.search = search;
        request.projection = projection;
        let mut ready = self.judge_as(SearchBy::Primary, request, principal, Some((of, operation)), pages)?;
        ready.obligations.self_link = self_link;
        let beside = std::mem::take(&mut *ready.obligations.beside);
        *ready.obligations.beside = Beside::judged_as(beside, Judged::Matches);
        Ok(ready)
    }
}

/// Conditions on the type's own content, and how many; the rest of a search has no meaning here.
fn parsed(of: ResourceType, pairs: &[(String, String)]) -> Result<(SearchQuery, Projection), Refusal> {
    let (search, projection) =
        SearchQuery::parse(of, pairs).map_err(|problem| Refusal::bad_request(problem.expected))?;
    let own = SearchQuery { criteria: search.criteria.clone(), count: search.count, ..SearchQuery::default() };
    if search == own {
        return Ok((search, projection));
    }
    let diagnostics = "this operation is served by the type's own search parameters and `_count`";
    Err(Refusal::Denied(deny(DenialReason::ParameterNotServed, diagnostics)))
}

/// The search that `$docref` stands for.
fn documents(arguments: &Arguments) -> Result<Pairs, Refusal> {
    let mut pairs = Vec::new();
    let mut add = |name: &str, value: String| pairs.push((name.to_owned(), value));
    arguments.text("patient").into_iter().for_each(|patient| add("patient", patient.to_owned()));
    let (start, end) = (arguments.text("start"), arguments.text("end"));
    if let Some(start) = start {
        add("period", format!("ge{start}"));
    }
    if let Some(end) = end {
        add("period", format!("le{end}"));
    }
    if start.is_none() && end.is_none() {
        add("status", "current".to_owned());
    }
    match (arguments.text("type"), arguments.complex("type")) {
        (Some(text), _) => add("type", text.to_owned()),
        (None, Some(concept)) => add("type", tokens(concept)?),
        (None, None) => {}
    }
    Ok(pairs)
}

/// Any of the codings of a concept, or the one coding that it is.
fn tokens(concept: &Json) -> Result<String, Refusal> {
    let root = concept.root();
    let codings: Vec<Value<'_>> = match root.member("coding") {
        Some(codings) => codings.elements().collect(),
        None => vec![root],
    };
    let token = |coding: Value<'_>| {
        let code = coding.text("code")?;
        let system = coding.text("system").map(|system| format!("{}|", escape(&system))).unwrap_or_default();
        Some(format!("{system}{}", escape(&code)))
    };
    let tokens: Option<Vec<String>> = codings.into_iter().map(token).collect();
    tokens
        .filter(|tokens| !tokens.is_empty())
        .map(|tokens| tokens.join(","))
        .ok_or_else(|| Refusal::bad_request("expected `type` to have codings with a `code`"))
}
