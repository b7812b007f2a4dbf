//! What is left of an upstream's OperationOutcome: how bad, and which kind (R4 operationoutcome.html).
//!
//! `diagnostics`, `details`, `location`, `expression`, `text` and extensions name resources, searches and stack frames of
//! the upstream, so they never leave. Severity and code leave only when they are codes of the required value sets.

use super::urls::Rebase;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Value, quote};

/// An OperationOutcome that says no more than severities and codes, each pair once, in the order of `outcome`.
///
/// Anything that is no issue with both becomes `error` / `processing`, so that an answer never is without an issue.
#[must_use]
pub fn sanitise(outcome: Value<'_>) -> Vec<u8> {
    let code = |issue: Value<'_>, name: &str, known: &'static [&'static str]| {
        issue.member(name).and_then(|value| known.iter().find(|code| value.is(code)).copied())
    };
    let mut issues: Vec<(&str, &str)> = Vec::new();
    for issue in outcome.member("issue").into_iter().flat_map(Value::elements) {
        let severity = code(issue, "severity", SEVERITIES).unwrap_or("error");
        let pair = (severity, code(issue, "code", CODES).unwrap_or("processing"));
        if !issues.contains(&pair) {
            issues.push(pair);
        }
    }
    if issues.is_empty() {
        issues.push(("error", "processing"));
    }
    let issues: Vec<String> =
        issues.iter().map(|(severity, code)| format!(r#"{{"severity":"{severity}","code":"{code}"}}"#)).collect();
    format!(r#"{{"resourceType":"OperationOutcome","issue":[{}]}}"#, issues.join(",")).into_bytes()
}

/// Issues of a validation at most.
const MOST: usize = 500;
/// Longest sentence of an issue, in characters.
const LONGEST: usize = 1000;

/// What a validation of a resource of this type found: severities and codes, and the elements that are meant. Sentences leave only
/// for those to whom nothing is hidden (`in_words`), and none that names the upstream.
#[must_use]
pub fn of_validation(outcome: Value<'_>, of: ResourceType, in_words: Option<&Rebase>) -> Vec<u8> {
    let code = |issue: Value<'_>, name: &str, known: &'static [&'static str], otherwise: &'static str| {
        issue.member(name).and_then(|value| known.iter().find(|code| value.is(code)).copied()).unwrap_or(otherwise)
    };
    let mut issues = Vec::new();
    for issue in outcome.member("issue").into_iter().flat_map(Value::elements).take(MOST) {
        let severity = code(issue, "severity", SEVERITIES, "error");
        let mut text = format!(r#"{{"severity":"{severity}","code":"{}""#, code(issue, "code", CODES, "processing"));
        let elements = ["expression", "location"].into_iter().filter_map(|name| issue.member(name));
        let elements = elements.flat_map(Value::flatten).filter_map(Value::string);
        if let Some(element) = elements.into_iter().find(|element| is_element(element, of)) {
            text.push_str(r#","expression":[""#);
            text.push_str(&element);
            text.push_str("\"]");
        }
        let sentence = issue.text("diagnostics").or_else(|| issue.member("details")?.text("text"));
        if let (Some(rebase), Some(sentence)) = (in_words, sentence)
            && !rebase.names_theirs(&sentence)
        {
            let sentence: String = sentence.chars().take(LONGEST).collect();
            text.push_str(r#","diagnostics":"#);
            text.push_str(&String::from_utf8_lossy(&quote(&sentence)));
        }
        text.push('}');
        if !issues.contains(&text) {
            issues.push(text);
        }
    }
    if issues.is_empty() {
        issues.push(r#"{"severity":"information","code":"informational"}"#.to_owned());
    }
    format!(r#"{{"resourceType":"OperationOutcome","issue":[{}]}}"#, issues.join(",")).into_bytes()
}

/// `Observation.component[0].valueQuantity`: the type, and elements of it.
fn is_element(text: &str, of: ResourceType) -> bool {
    let element = |part: &str| {
        let (name, rest) = part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
        let number = rest.is_none_or(|rest| {
            let digits = rest.strip_suffix(']').unwrap_or_default();
            !digits.is_empty() && digits.len() < 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
        let lower = name.starts_with(|first: char| first.is_ascii_lowercase());
        lower && name.len() < 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && number
    };
    let mut parts = text.split('.');
    text.len() < 256 && parts.next() == Some(of.name()) && parts.all(element)
}

/// R4 valueset-issue-severity.html.
const SEVERITIES: &[&str] = &["fatal", "error", "warning", "information"];

/// R4 valueset-issue-type.html.
const CODES: &[&str] = &[
    "invalid",
    "structure",
    "required",
    "value",
    "invariant",
    "security",
    "login",
    "unknown",
    "expired",
    "forbidden",
    "suppressed",
    "processing",
    "not-supported",
    "duplicate",
    "multiple-matches",
    "not-found",
    "deleted",
    "too-long",
    "code-invalid",
    "extension",
    "too-costly",
    "business-rule",
    "conflict",
    "transient",
    "lock-error",
    "no-store",
    "exception",
    "timeout",
    "incomplete",
    "throttled",
    "informational",
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;
    use crate::json::{Json, Limits};

    fn sanitised(text: &str) -> String {
        let json = Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap();
        String::from_utf8(sanitise(json.root())).unwrap()
    }

    #[test]
    fn only_severity_and_code_of_an_outcome_leave() {
        let upstream = r#"{"resourceType":"OperationOutcome","id":"p2","text":{"status":"generated","div":"<div>P2</div>"},
            "issue":[{"severity":"error","code":"not-found","diagnostics":"HAPI-2001: Resource Patient/P2 is not known",
            "details":{"text":"P2"},"location":["Patient/P2"],"expression":["P2"]},{"code":"exception","severity":"fatal"},
            {"severity":"error","code":"not-found"}]}"#;
        assert_eq!(
            sanitised(upstream),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"},{"severity":"fatal","code":"exception"}]}"#
        );
    }

    #[test]
    fn codes_outside_the_value_sets_and_empty_outcomes_become_a_plain_error() {
        let plain = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing"}]}"#;
        for text in [
            r#"{"resourceType":"OperationOutcome"}"#,
            r#"{"resourceType":"OperationOutcome","issue":[]}"#,
            r#"{"issue":[{"severity":"Patient P2","code":"P2"},"P2",null]}"#,
            r#"{"issue":"P2"}"#,
            r#""P2""#,
            "[]",
        ] {
            assert_eq!(sanitised(text), plain, "{text}");
        }
    }
}
