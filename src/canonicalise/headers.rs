//! The header fields that mean something: representation, preference, media type. All others mean nothing here, and since the
//! upstream request is built anew, nothing behind the gateway sees them (`X-HTTP-Method-Override`, `Range`, `Upgrade`,
//! `X-Patient-Id`, …).

use crate::error::{Malformed, MalformedKind, Refusal, TokenProblem};
use crate::listen::Inbound;

/// Media types of FHIR JSON (R4 http.html section 3.1.0.1.10), and what people write for them.
const JSON: [&str; 4] = ["application/fhir+json", "application/json", "json", "text/json"];

/// What a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/fhir+json`, `application/json`
    Resource,
    /// `application/json-patch+json` (RFC 6902)
    JsonPatch,
}

/// Two credentials are none: which one would count is anybody's guess.
pub(super) fn one_credential(inbound: &Inbound) -> Result<(), Refusal> {
    if inbound.headers.get_all(http::header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Refusal::Unauthenticated(TokenProblem::Ambiguous));
    }
    Ok(())
}

/// Refuses `Prefer: respond-async` (R4 async.html); other preferences are met or not, as RFC 7240 allows.
pub(super) fn preferences(inbound: &Inbound) -> Result<(), Refusal> {
    for field in list(inbound, "prefer")? {
        for preference in field.split([',', ';']) {
            let token = preference.split('=').next().unwrap_or_default().trim();
            if token.eq_ignore_ascii_case("respond-async") {
                return Err(Refusal::bad_request(
                    "expected no `respond-async`: answers are given at once or not at all",
                ));
            }
        }
    }
    Ok(())
}

/// The value of `If-None-Match`, which the gateway answers itself.
pub(super) fn if_none_match(inbound: &Inbound) -> Result<Option<String>, Refusal> {
    match inbound.single_header("if-none-match") {
        Ok(value) => Ok(value.map(str::to_owned)),
        Err(name) => Err(Refusal::bad_request(format!("expected at most one `{name}` of visible characters"))),
    }
}

/// Whether JSON may be answered: `_format` counts, and only without it `Accept` (R4 http.html section 3.1.0.1.10).
pub(super) fn acceptable(inbound: &Inbound, format: Option<&str>) -> Result<(), Refusal> {
    let json = if let Some(format) = format {
        // An unescaped `+` of `application/fhir+json` arrives as a space.
        is_json(&format.replace("fhir json", "fhir+json"))
    } else {
        let fields = list(inbound, "accept")?;
        fields.is_empty() || fields.iter().flat_map(|field| field.split(',')).any(is_acceptable)
    };
    if json {
        return Ok(());
    }
    let expected = "expected `application/fhir+json` to be acceptable, of FHIR version 4.0".to_owned();
    Err(Refusal::Malformed(Malformed { kind: MalformedKind::NotAcceptable, expected }))
}

/// Whether a Binary is wanted as what it holds: no media type of FHIR is asked for, or another one rather (R4 binary.html#rest;
/// RFC 9110 section 12.5.1).
pub(super) fn prefers_content(inbound: &Inbound) -> Result<bool, Refusal> {
    let fields = list(inbound, "accept")?;
    if fields.is_empty() {
        return Ok(true);
    }
    let (mut of_fhir, mut of_content) = (0, 0);
    for range in fields.iter().flat_map(|field| field.split(',')) {
        let name = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let fhir = JSON.contains(&name.as_str()) || name.starts_with("application/fhir+");
        let best = if fhir { &mut of_fhir } else { &mut of_content };
        *best = quality(range).max(*best);
    }
    Ok(of_content > of_fhir)
}

/// The weight of a media range in thousandths; what is no weight is none.
fn quality(range: &str) -> u16 {
    let mut parameters = range.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let Some((_, text)) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) else { return 1000 };
    let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" if rest.bytes().all(|byte| byte == b'0') => 1000,
        "0" if digits => format!("{rest:0<3}").parse().unwrap_or_default(),
        _ => 0,
    }
}

/// Refuses a body of another media type or another character encoding than UTF-8.
pub(super) fn media_type(inbound: &Inbound, expected: BodyKind) -> Result<(), Refusal> {
    let (names, text): (&[&str], _) = match expected {
        BodyKind::Form => (&["application/x-www-form-urlencoded"], "application/x-www-form-urlencoded"),
        BodyKind::Resource => (&["application/fhir+json", "application/json"], "application/fhir+json"),
        BodyKind::JsonPatch => (&["application/json-patch+json"], "application/json-patch+json"),
    };
    let given = inbound.single_header("content-type").ok().flatten();
    let fits = given.is_some_and(|given| {
        let mut parts = given.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        names.iter().any(|known| known.eq_ignore_ascii_case(name)) && parts.all(is_known_parameter)
    });
    // Two different content codings of one body are as good as none.
    if fits && !inbound.headers.contains_key(http::header::CONTENT_ENCODING) {
        return Ok(());
    }
    let expected = format!("expected a body of media type `{text}` in UTF-8, not compressed");
    Err(Refusal::Malformed(Malformed { kind: MalformedKind::UnsupportedMediaType, expected }))
}

fn is_acceptable(range: &str) -> bool {
    let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
    let wanted = !parameters.split(';').any(|parameter| is_zero_quality(parameter.trim()));
    let name = name.trim();
    wanted && (matches!(name, "*/*" | "application/*") || is_json(range))
}

/// `q=0`, `q=0.000` (RFC 9110 section 12.4.2)
fn is_zero_quality(parameter: &str) -> bool {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    value.is_some_and(|value| value.starts_with('0') && value.bytes().all(|byte| matches!(byte, b'0' | b'.')))
}

/// A media type of FHIR JSON whose parameters are known.
fn is_json(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    JSON.iter().any(|known| known.eq_ignore_ascii_case(name)) && parts.all(is_known_parameter)
}

/// `charset=utf-8`, `fhirVersion=4.0`, `q=…`
fn is_known_parameter(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return parameter.is_empty() };
    let value = value.trim_matches('"');
    match name.trim().to_ascii_lowercase().as_str() {
        "charset" => value.eq_ignore_ascii_case("utf-8"),
        "fhirversion" => value == "4.0",
        "q" => true,
        _ => false,
    }
}

pub(super) fn list<'a>(inbound: &'a Inbound, name: &'static str) -> Result<Vec<&'a str>, Refusal> {
    let fields = inbound.headers.get_all(name).iter().map(|value| value.to_str().ok());
    fields
        .collect::<Option<_>>()
        .ok_or_else(|| Refusal::bad_request(format!("expected a `{name}` header of visible characters")))
}
