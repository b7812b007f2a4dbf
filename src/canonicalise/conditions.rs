//! What a change is made dependent on, and what it is answered with: `If-Match`, `If-None-Match`, `If-None-Exist` (R4 http.html
//! sections 3.1.0.5 and 3.1.0.8) and `Prefer: return=…` (section 3.1.0.1.4).
//!
//! Takes the header fields of a request that changes something, gives [`Conditions`]. A condition that cannot be understood is a
//! 400: it was meant to prevent something. Nothing of it is sent on as it came.

use super::{form, headers, search, without_foreign_powers};
use crate::error::Refusal;
use crate::fhir::etag::EntityTag;
use crate::fhir::interaction::Interaction;
use crate::fhir::projection::Projection;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::search::SearchQuery;
use crate::listen::Inbound;

/// The conditions of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// `If-Match`: the version that must be current.
    pub(crate) if_match: Option<EntityTag>,
    /// `If-None-Match: *`: there must be nothing yet.
    pub(crate) if_none_match: bool,
    /// `If-None-Exist`: nothing may match this search.
    pub(crate) if_none_exist: Option<SearchQuery>,
    /// What the answer should hold; `None`: the server chooses.
    pub(crate) prefer: Option<Return>,
}

/// `Prefer: return=…`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// No body.
    Minimal,
    /// The resource as it is now.
    Representation,
    /// An account of what was done.
    OperationOutcome,
}

impl Conditions {
    /// Of a request with this interaction; none for one that changes nothing.
    pub(super) fn of(inbound: &Inbound, interaction: &Interaction) -> Result<Self, Refusal> {
        if matches!(interaction, Interaction::Operation { .. }) {
            for name in ["if-match", "if-none-exist"] {
                if inbound.headers.contains_key(name) {
                    return Err(Refusal::bad_request("expected no `If-Match` and `If-None-Exist` with an operation"));
                }
            }
        }
        if !interaction.changes() {
            return Ok(Self::default());
        }
        let if_match = single(inbound, "if-match")?;
        let if_match =
            match (if_match, interaction) {
                (None, _) => None,
                (Some(_), Interaction::Create { .. } | Interaction::Batch) => {
                    return Err(Refusal::bad_request("expected no `If-Match` where nothing is there yet"));
                }
                (Some(text), _) => Some(EntityTag::parse(text).ok_or_else(|| {
                    Refusal::bad_request("expected `If-Match` to name one version, such as `W/\"3\"`")
                })?),
            };
        let if_none_match = match (single(inbound, "if-none-match")?, interaction) {
            (Some(text), Interaction::Update { .. }) if text.trim() == "*" => true,
            (Some(_), Interaction::Update { .. } | Interaction::ConditionalUpdate { .. }) => {
                return Err(Refusal::bad_request("expected `If-None-Match` of an update by id to be `*`"));
            }
            _ => false,
        };
        let if_none_exist = match (single(inbound, "if-none-exist")?, interaction) {
            (Some(text), Interaction::Create { resource_type }) => Some(nothing_like(*resource_type, text)?),
            _ => None,
        };
        Ok(Self { if_match, if_none_match, if_none_exist, prefer: prefer(inbound)? })
    }
}

/// The search of `If-None-Exist`, or of a conditional update, patch or delete: by the resource's content, and nothing that only
/// shapes an answer.
pub(super) fn criteria(resource_type: ResourceType, pairs: &[(String, String)]) -> Result<SearchQuery, Refusal> {
    let (query, projection) = search(resource_type, pairs)?;
    let only_criteria = query.sort.is_empty() && query.count.is_none() && projection == Projection::Full;
    if only_criteria && query != SearchQuery::default() {
        return Ok(query);
    }
    Err(Refusal::bad_request("expected search parameters that say which resource is meant, and no others"))
}

fn nothing_like(resource_type: ResourceType, text: &str) -> Result<SearchQuery, Refusal> {
    let raw = text.split_once('?').map_or(text, |(_, query)| query);
    if raw.len() > form::MAX_BYTES {
        return Err(Refusal::bad_request(format!("expected `If-None-Exist` of at most {} bytes", form::MAX_BYTES)));
    }
    let mut pairs = form::Pairs::new();
    form::decode(raw, &mut pairs)?;
    criteria(resource_type, &without_foreign_powers(pairs)?)
}

fn single<'a>(inbound: &'a Inbound, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let value = inbound.single_header(name);
    value.map_err(|name| Refusal::bad_request(format!("expected at most one `{name}` of visible characters")))
}

/// The first `return` counts (RFC 7240 section 2); what is not understood is as good as not said.
fn prefer(inbound: &Inbound) -> Result<Option<Return>, Refusal> {
    let fields = headers::list(inbound, "prefer")?;
    let mut preferences = fields.iter().flat_map(|field| field.split([',', ';'])).filter_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("return").then(|| value.trim().trim_matches('"').to_owned())
    });
    Ok(preferences.next().and_then(|value| match &*value {
        "minimal" => Some(Return::Minimal),
        "representation" => Some(Return::Representation),
        "OperationOutcome" => Some(Return::OperationOutcome),
        _ => None,
    }))
}
