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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::canonicalise::FhirRequest;

    fn changed(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Result<FhirRequest, Refusal> {
        let mut inbound = Inbound::for_test(method, &format!("/fhir/{target}"));
        let media_type = if method == "PATCH" { "application/json-patch+json" } else { "application/fhir+json" };
        for (name, value) in headers.iter().chain(&[("content-type", media_type)]) {
            inbound.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        FhirRequest::parse(inbound, "/fhir")
    }

    fn conditions(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Result<Conditions, u16> {
        changed(method, target, headers).map(|request| request.conditions).map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn a_condition_that_could_prevent_nothing_is_refused() {
        let tag = [("if-match", "W/\"1\"")];
        let any = [("if-none-match", "*")];
        for (method, target) in [("PUT", "Observation/o1"), ("PATCH", "Observation/o1"), ("DELETE", "Observation/o1")] {
            assert!(conditions(method, target, &tag).unwrap().if_match.is_some(), "{method}");
        }
        assert!(conditions("PUT", "Observation/o1", &any).unwrap().if_none_match);
        for (method, target, headers) in [
            ("POST", "Observation", &tag[..]),
            ("POST", "", &tag),
            ("PUT", "Observation/o1", &[("if-none-match", "W/\"1\"")]),
            ("PUT", "Observation?identifier=1", &any),
            ("PUT", "Observation/o1", &[("if-match", "*")]),
            ("PUT", "Observation/o1", &[("if-match", "W/\"1\""), ("if-match", "W/\"1\"")]),
            ("POST", "Observation", &[("if-none-exist", "identifier=1"), ("if-none-exist", "identifier=2")]),
        ] {
            assert_eq!(conditions(method, target, headers), Err(400), "{method} {target} {headers:?}");
        }
    }

    #[test]
    fn which_resource_is_meant_is_said_by_what_it_holds_and_by_nothing_else() {
        let each = |criteria: &str| {
            let none_exist = conditions("POST", "Observation", &[("if-none-exist", criteria)]);
            let target = format!("Observation?{criteria}");
            let mut all: Vec<Option<u16>> =
                ["PUT", "PATCH", "DELETE"].iter().map(|method| conditions(method, &target, &[]).err()).collect();
            all.push(none_exist.err());
            all.dedup();
            all
        };
        assert_eq!(each("identifier=1&status=final"), [None]);
        for criteria in [
            "",
            "identifier=1&_sort=date",
            "identifier=1&_count=1",
            "identifier=1&_elements=status",
            "identifier=1&_summary=true",
            "_count=1",
            "_expunge=true&identifier=1",
            "no-such=1",
        ] {
            assert_eq!(each(criteria), [Some(400)], "{criteria:?}");
        }
        for method in ["PUT", "PATCH", "DELETE"] {
            assert_eq!(conditions(method, "Observation", &[]), Err(400), "{method} of whatever there is");
        }
    }

    #[test]
    fn if_none_exist_is_a_query_as_any() {
        let of = |text: &str| changed("POST", "Observation", &[("if-none-exist", text)]);
        let whole = of("Observation?identifier=1").unwrap().conditions;
        assert_eq!(whole, of("identifier=1").unwrap().conditions);
        assert_eq!(of("access_token=x&identifier=1").unwrap_err().reason(), "token_ambiguous");
        let long = |bytes: usize| of(&format!("identifier={}", "x".repeat(bytes - "identifier=".len())));
        assert!(long(form::MAX_BYTES).is_ok());
        assert_eq!(long(form::MAX_BYTES + 1).unwrap_err().status(), 400);
    }
}
