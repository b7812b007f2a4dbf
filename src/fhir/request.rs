//! The canonicaliser: takes an [`Inbound`] below the FHIR base and gives a [`FhirRequest`] that names exactly one FHIR
//! interaction, or refuses. What it accepts is still subject to `authorize`; what it does not know, nobody behind it sees.
//!
//! Order: method and path (closed grammar), headers, query and form body (decoded once), parameters. It does not parse resources
//! in bodies, and decides nothing from who asks.

mod form;
mod headers;
mod path;

use crate::error::{Malformed, MalformedKind, Refusal, TokenProblem};
use crate::fhir::projection::Projection;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::SearchQuery;
use crate::listen::Inbound;

/// Every interaction of the FHIR REST API that the path grammar can name (R4 http.html). Which of them are served is
/// decided in `authorize`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the parts of the path above them")]
pub enum Interaction {
    /// `GET T/id`
    Read { resource_type: ResourceType, id: Id },
    /// `GET T/id/_history/v`
    Vread { resource_type: ResourceType, id: Id, version: Id },
    /// `GET T/id/_history`
    HistoryInstance { resource_type: ResourceType, id: Id },
    /// `GET T/_history`
    HistoryType { resource_type: ResourceType },
    /// `GET _history`
    HistorySystem,
    /// `GET T?…`, `POST T/_search`
    SearchType { resource_type: ResourceType },
    /// `GET ?…`, `POST _search`
    SearchSystem,
    /// `GET C/id/T?…`, `POST C/id/T/_search`; `None`: `C/id/*`
    SearchCompartment { compartment: ResourceType, id: Id, resource_type: Option<ResourceType> },
    /// `POST T`
    Create { resource_type: ResourceType },
    /// `PUT T/id`
    Update { resource_type: ResourceType, id: Id },
    /// `PATCH T/id`
    Patch { resource_type: ResourceType, id: Id },
    /// `DELETE T/id`
    Delete { resource_type: ResourceType, id: Id },
    /// `PUT T?…`
    ConditionalUpdate { resource_type: ResourceType },
    /// `PATCH T?…`
    ConditionalPatch { resource_type: ResourceType },
    /// `DELETE T?…`
    ConditionalDelete { resource_type: ResourceType },
    /// `POST` on the base
    Batch,
    /// `$op`, `T/$op`, `T/id/$op`
    Operation { resource_type: Option<ResourceType>, id: Option<Id>, name: String },
    /// `GET metadata`
    Capabilities,
}

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
    /// A sealed continuation (`_page`) instead of a query.
    pub(crate) page: Option<String>,
    pub(crate) inbound: Inbound,
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
        headers::acceptable(&inbound, format.as_deref())?;
        let head = inbound.method == http::Method::HEAD;
        let (page, search, projection) = parameters(verb, &interaction, pairs)?;
        Ok(Self { interaction, search, projection, head, if_none_match, page, inbound, _parsed: () })
    }

    /// The interaction that the request names.
    #[must_use]
    pub fn interaction(&self) -> &Interaction {
        &self.interaction
    }
}

impl Interaction {
    /// FHIR's code for it where there is one (R4 valueset-restful-interaction.html), for records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Vread { .. } => "vread",
            Self::HistoryInstance { .. } => "history-instance",
            Self::HistoryType { .. } => "history-type",
            Self::HistorySystem => "history-system",
            Self::SearchType { .. } | Self::SearchCompartment { .. } => "search-type",
            Self::SearchSystem => "search-system",
            Self::Create { .. } => "create",
            Self::Update { .. } | Self::ConditionalUpdate { .. } => "update",
            Self::Patch { .. } | Self::ConditionalPatch { .. } => "patch",
            Self::Delete { .. } | Self::ConditionalDelete { .. } => "delete",
            Self::Batch => "batch",
            Self::Operation { .. } => "operation",
            Self::Capabilities => "capabilities",
        }
    }

    /// The resource type that the path names.
    #[must_use]
    pub fn resource_type(&self) -> Option<ResourceType> {
        match self {
            Self::Read { resource_type, .. }
            | Self::Vread { resource_type, .. }
            | Self::HistoryInstance { resource_type, .. }
            | Self::HistoryType { resource_type }
            | Self::SearchType { resource_type }
            | Self::Create { resource_type }
            | Self::Update { resource_type, .. }
            | Self::Patch { resource_type, .. }
            | Self::Delete { resource_type, .. }
            | Self::ConditionalUpdate { resource_type }
            | Self::ConditionalPatch { resource_type }
            | Self::ConditionalDelete { resource_type } => Some(*resource_type),
            Self::SearchCompartment { resource_type, .. } | Self::Operation { resource_type, .. } => *resource_type,
            Self::HistorySystem | Self::SearchSystem | Self::Batch | Self::Capabilities => None,
        }
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

type Parameters = (Option<String>, SearchQuery, Projection);

/// What the parameters mean for this interaction.
fn parameters(verb: path::Verb, interaction: &Interaction, pairs: form::Pairs) -> Result<Parameters, Refusal> {
    match interaction {
        Interaction::SearchType { resource_type } => {
            let (mut pages, others): (form::Pairs, form::Pairs) =
                pairs.into_iter().partition(|(name, _)| name == "_page");
            let (search, projection) = SearchQuery::parse(*resource_type, &others)?;
            match (pages.pop(), pages.is_empty()) {
                (None, _) => Ok((None, search, projection)),
                // The query is the upstream's; what the gateway applies itself goes along from page to page.
                (Some((_, page)), true) if verb == path::Verb::Get && search == SearchQuery::default() => {
                    Ok((Some(page), search, projection))
                }
                _ => Err(Refusal::bad_request("expected `_page` as in the link that was given")),
            }
        }
        Interaction::Read { resource_type, .. } | Interaction::Vread { resource_type, .. } => {
            if pairs.iter().any(|(name, _)| !matches!(name.as_str(), "_summary" | "_elements")) {
                let expected = "expected no parameters on a read but `_format`, `_pretty`, `_summary` and `_elements`";
                return Err(Refusal::bad_request(expected));
            }
            let (search, projection) = SearchQuery::parse(*resource_type, &pairs)?;
            if search.beyond.is_empty() {
                Ok((None, search, projection))
            } else {
                Err(Refusal::bad_request("expected `_summary` to be true, text, data or false on a read"))
            }
        }
        Interaction::Capabilities
            if pairs.iter().any(|(name, _)| !matches!(name.as_str(), "_summary" | "_elements" | "mode")) =>
        {
            Err(Refusal::bad_request("expected no parameters but `_format` and `mode`"))
        }
        // None of these is served so far, whatever its parameters say.
        Interaction::Capabilities
        | Interaction::HistoryInstance { .. }
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
        | Interaction::Operation { .. } => Ok((None, SearchQuery::default(), Projection::Full)),
    }
}

#[cfg(test)]
mod tests;
