//! The canonicaliser: takes an [`Inbound`] below the FHIR base and gives a [`FhirRequest`] that names exactly one FHIR
//! interaction, or refuses. What it accepts is still subject to `authorize`; what it does not know, nobody behind it sees.
//!
//! Order: method and path (closed grammar), headers, query and form body (decoded once), parameters. It decides nothing from who
//! asks. Resources in bodies are parsed when they are asked for (`content`), which `authorize` does after it knows that
//! a scope covers the change: a stranger's body costs no more than its bytes.

mod bundle;
mod conditions;
pub(crate) mod content;
mod form;
mod headers;
mod operation;
mod path;

use std::sync::OnceLock;

use crate::error::{Malformed, MalformedKind, Refusal, TokenProblem};
use crate::fhir::history::HistoryQuery;
use crate::fhir::interaction::Interaction;
use crate::fhir::projection::Projection;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::SearchQuery;
use crate::json::Json;
use crate::listen::Inbound;

pub(crate) use bundle::{Bundle, BundleType, Entry};
pub(crate) use conditions::{Conditions, Return};
pub(crate) use content::is_what_the_path_names;

/// A request that names exactly one FHIR interaction, with its parameters parsed. Only [`FhirRequest::parse`] makes one.
#[derive(Debug)]
pub struct FhirRequest {
    pub(crate) interaction: Interaction,
    /// The query, parsed; for searches by POST merged with the body.
    pub(crate) search: SearchQuery,
    /// `_elements` and `_summary`, taken out of the query: applied after the decision, never sent upstream.
    pub(crate) projection: Projection,
    /// HEAD: executed as GET, the body is dropped.
    pub(crate) head: bool,
    /// `If-None-Match`, answered by the gateway after the decision.
    pub(crate) if_none_match: Option<String>,
    /// What is asked about a history.
    pub(crate) history: HistoryQuery,
    /// A sealed continuation (`_page`) instead of a query, or the seal of a link to a Binary (`gw`).
    pub(crate) page: Option<String>,
    /// The query of an operation, decoded: read against what the operation takes when it is known which one it is.
    arguments: form::Pairs,
    /// What a change depends on.
    pub(crate) conditions: Conditions,
    pub(crate) inbound: Inbound,
    /// The body, once it was parsed whole.
    json: OnceLock<Json>,
    _parsed: (),
}

impl FhirRequest {
    /// Reads the request below `base_path` (for instance `/fhir`).
    ///
    /// # Errors
    /// 404 for paths outside the grammar, 405 for methods that a path does not have, 406 when JSON is not acceptable, 413 and
    /// 414 for what is too long, 415 for bodies of another media type, 400 for everything else that is not well-formed,
    /// credentials in the query or twice included.
    pub fn parse(inbound: Inbound, base_path: &str) -> Result<Self, Refusal> {
        let verb = path::Verb::of(&inbound.method)?;
        let interaction = path::interaction(verb, &inbound.path, base_path)?;
        headers::one_credential(&inbound)?;
        headers::preferences(&inbound)?;
        let if_none_match = headers::if_none_match(&inbound)?;
        let mut pairs = query(&inbound)?;
        body(&inbound, verb, &interaction, &mut pairs)?;
        let pairs = without_foreign_powers(pairs)?;
        let (format, pairs) = take_representation(pairs)?;
        let content = is_binary(&interaction) && format.is_none() && headers::prefers_content(&inbound)?;
        if !content {
            headers::acceptable(&inbound, format.as_deref())?;
        }
        let head = inbound.method == http::Method::HEAD;
        let conditions = Conditions::of(&inbound, &interaction)?;
        let (history, mut pairs) = history(&interaction, pairs)?;
        let (continued, arguments) = operation::query(verb, &interaction, &mut pairs)?;
        let (page, search, projection) = parameters(verb, &interaction, pairs)?;
        let projection = match projection {
            Projection::Full if content => Projection::Content,
            // A part of a resource is a resource.
            part if content => headers::acceptable(&inbound, None).map(|()| part)?,
            other => other,
        };
        if page.is_some() && !history.is_plain() {
            return Err(not_that_page());
        }
        let page = page.or(continued);
        Ok(Self {
            interaction,
            search,
            projection,
            head,
            if_none_match,
            history,
            page,
            arguments,
            conditions,
            inbound,
            json: OnceLock::new(),
            _parsed: (),
        })
    }

    /// The interaction that the request names.
    #[must_use]
    pub fn interaction(&self) -> &Interaction {
        &self.interaction
    }
}

/// Parameters by which servers are told to act differently or to continue somebody's search: never a client's to set, on any
/// interaction.
const VENDOR: [&str; 20] = [
    "_assoc",
    "_bundletype",
    "_cascade",
    "_cursor",
    "_expunge",
    "_getpages",
    "_getpagesoffset",
    "_graph",
    "_mdm",
    "_method",
    "_offset",
    "_pageId",
    "_page_token",
    "_pretty-print",
    "_skip",
    "_with",
    "ct",
    "includesCt",
    "page",
    "revincludesCt",
];

fn query(inbound: &Inbound) -> Result<form::Pairs, Refusal> {
    let mut pairs = form::Pairs::new();
    let raw = inbound.query.as_deref().unwrap_or_default();
    if raw.len() > form::MAX_BYTES {
        let expected = format!("expected a query of at most {} bytes", form::MAX_BYTES);
        return Err(Refusal::Malformed(Malformed { kind: MalformedKind::TargetTooLong, expected }));
    }
    form::decode(raw, &mut pairs)?;
    Ok(pairs)
}

/// Checks the body's media type, and merges a form with the query, so that both are policed as one.
fn body(
    inbound: &Inbound,
    verb: path::Verb,
    interaction: &Interaction,
    pairs: &mut form::Pairs,
) -> Result<(), Refusal> {
    match (verb, interaction) {
        (path::Verb::Get | path::Verb::Delete, _) => {
            if inbound.body.is_empty() {
                Ok(())
            } else {
                Err(Refusal::bad_request("expected no body for this method"))
            }
        }
        (_, Interaction::SearchType { .. } | Interaction::SearchSystem | Interaction::SearchCompartment { .. }) => {
            search_form(inbound, pairs)
        }
        (_, Interaction::Patch { .. } | Interaction::ConditionalPatch { .. }) => {
            headers::media_type(inbound, headers::BodyKind::JsonPatch)
        }
        (_, Interaction::Operation { .. }) if inbound.body.is_empty() => Ok(()),
        _ => headers::media_type(inbound, headers::BodyKind::Resource),
    }
}

fn search_form(inbound: &Inbound, pairs: &mut form::Pairs) -> Result<(), Refusal> {
    // Without a body there is nothing whose type could matter: all parameters are in the URL.
    if inbound.body.is_empty() && !inbound.headers.contains_key(http::header::CONTENT_TYPE) {
        return Ok(());
    }
    headers::media_type(inbound, headers::BodyKind::Form)?;
    if inbound.body.len() > form::MAX_BYTES {
        let expected = format!("expected a form of at most {} bytes", form::MAX_BYTES);
        return Err(Refusal::Malformed(Malformed { kind: MalformedKind::TooLarge, expected }));
    }
    let raw = std::str::from_utf8(&inbound.body).map_err(|_| Refusal::bad_request("expected a form in UTF-8"))?;
    form::decode(raw, pairs)
}

/// Refuses credentials and the switches of other servers. Names are compared without their modifiers.
fn without_foreign_powers(pairs: form::Pairs) -> Result<form::Pairs, Refusal> {
    for (key, _) in &pairs {
        let name = key.split(':').next().unwrap_or_default();
        if name == "access_token" {
            return Err(Refusal::Unauthenticated(TokenProblem::Ambiguous));
        }
        if VENDOR.contains(&name) {
            return Err(Refusal::bad_request(
                "expected parameters of FHIR R4, none that only some server products know",
            ));
        }
    }
    Ok(pairs)
}

/// Takes out `_format` and `_pretty`, which the gateway answers itself.
fn take_representation(mut pairs: form::Pairs) -> Result<(Option<String>, form::Pairs), Refusal> {
    let mut format = None;
    let mut contradictory = false;
    pairs.retain_mut(|(name, value)| match name.as_str() {
        "_format" => {
            contradictory |= format.replace(std::mem::take(value)).is_some();
            false
        }
        "_pretty" => {
            contradictory |= !matches!(value.as_str(), "true" | "false");
            false
        }
        _ => true,
    });
    if contradictory {
        return Err(Refusal::bad_request("expected `_format` once, and `_pretty` to be true or false"));
    }
    Ok((format, pairs))
}

/// Takes out what only a history is asked.
fn history(interaction: &Interaction, mut pairs: form::Pairs) -> Result<(HistoryQuery, form::Pairs), Refusal> {
    if interaction.history_path().is_none() {
        return Ok((HistoryQuery::default(), pairs));
    }
    let query = HistoryQuery::take(&mut pairs).map_err(|problem| Refusal::bad_request(problem.expected))?;
    Ok((query, pairs))
}

/// Whether it is the read of a Binary, which has another representation beside FHIR's.
fn is_binary(interaction: &Interaction) -> bool {
    matches!(interaction, Interaction::Read { resource_type: ResourceType::BINARY, .. })
}

fn not_that_page() -> Refusal {
    Refusal::bad_request("expected `_page` as in the link that was given")
}

type Parameters = (Option<String>, SearchQuery, Projection);

/// Sorts the parameters into a query and a projection; what the type does not have is a 400.
fn search(resource_type: ResourceType, pairs: &[(String, String)]) -> Result<(SearchQuery, Projection), Refusal> {
    SearchQuery::parse(resource_type, pairs).map_err(|problem| Refusal::bad_request(problem.expected))
}

/// What the parameters mean for this interaction.
fn parameters(verb: path::Verb, interaction: &Interaction, pairs: form::Pairs) -> Result<Parameters, Refusal> {
    match interaction {
        Interaction::SearchType { .. } | Interaction::SearchCompartment { .. } | Interaction::SearchSystem => {
            let (mut pages, others): (form::Pairs, form::Pairs) =
                pairs.into_iter().partition(|(name, _)| name == "_page");
            let (search, projection) = match interaction.resource_type() {
                Some(resource_type) => search(resource_type, &others)?,
                None => SearchQuery::parse_common(&others).map_err(|problem| Refusal::bad_request(problem.expected))?,
            };
            match (pages.pop(), pages.is_empty()) {
                (None, _) => Ok((None, search, projection)),
                // The query is the upstream's; what the gateway applies itself goes along from page to page.
                (Some((_, page)), true) if verb == path::Verb::Get && search.is_carried_by_pages() => {
                    Ok((Some(page), search, projection))
                }
                _ => Err(not_that_page()),
            }
        }
        Interaction::HistoryInstance { .. } | Interaction::HistoryType { .. } | Interaction::HistorySystem => {
            let (mut pages, others): (form::Pairs, form::Pairs) =
                pairs.into_iter().partition(|(name, _)| name == "_page");
            if others.iter().any(|(name, _)| !matches!(name.as_str(), "_summary" | "_elements")) {
                let expected = "expected no parameters on a history but `_count`, `_since`, `_at`, `_format`, `_pretty`, `_summary` and `_elements`";
                return Err(Refusal::bad_request(expected));
            }
            // What every type has, where several may come.
            let (search, projection) = search(interaction.resource_type().unwrap_or(ResourceType::BASIC), &others)?;
            match (pages.pop(), pages.is_empty()) {
                _ if !search.beyond.is_empty() => {
                    Err(Refusal::bad_request("expected `_summary` to be true, text, data or false on a history"))
                }
                (page, true) => Ok((page.map(|(_, page)| page), search, projection)),
                (_, false) => Err(not_that_page()),
            }
        }
        Interaction::Read { resource_type, .. } | Interaction::Vread { resource_type, .. } => {
            let (mut seals, pairs): (form::Pairs, form::Pairs) =
                pairs.into_iter().partition(|(name, _)| name == "gw" && is_binary(interaction));
            let seal = seals.pop().map(|(_, seal)| seal);
            if !seals.is_empty() {
                return Err(Refusal::bad_request("expected `gw` once, as in the link that was given"));
            }
            if pairs.iter().any(|(name, _)| !matches!(name.as_str(), "_summary" | "_elements")) {
                let expected = "expected no parameters on a read but `_format`, `_pretty`, `_summary` and `_elements`";
                return Err(Refusal::bad_request(expected));
            }
            let (search, projection) = search(*resource_type, &pairs)?;
            if search.beyond.is_empty() {
                Ok((seal, search, projection))
            } else {
                Err(Refusal::bad_request("expected `_summary` to be true, text, data or false on a read"))
            }
        }
        Interaction::Capabilities
            if pairs.iter().any(|(name, _)| !matches!(name.as_str(), "_summary" | "_elements" | "mode")) =>
        {
            Err(Refusal::bad_request("expected no parameters but `_format` and `mode`"))
        }
        Interaction::ConditionalUpdate { resource_type }
        | Interaction::ConditionalPatch { resource_type }
        | Interaction::ConditionalDelete { resource_type } => {
            Ok((None, conditions::criteria(*resource_type, &pairs)?, Projection::Full))
        }
        Interaction::Create { .. }
        | Interaction::Update { .. }
        | Interaction::Patch { .. }
        | Interaction::Delete { .. }
        | Interaction::Batch
        | Interaction::Transaction
            if !pairs.is_empty() =>
        {
            Err(Refusal::bad_request("expected no parameters on this change but `_format` and `_pretty`"))
        }
        // These have none, or none that stand in a query of search parameters.
        Interaction::Capabilities
        | Interaction::Create { .. }
        | Interaction::Update { .. }
        | Interaction::Patch { .. }
        | Interaction::Delete { .. }
        | Interaction::Batch
        | Interaction::Transaction
        | Interaction::Operation { .. } => Ok((None, SearchQuery::default(), Projection::Full)),
    }
}

#[cfg(test)]
mod tests;
