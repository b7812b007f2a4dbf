//! What is left of an upstream's OperationOutcome: how bad, and which kind (R4 operationoutcome.html).
//!
//! `diagnostics`, `details`, `location`, `expression`, `text` and extensions name resources, searches and stack frames of
//! the upstream, so they never leave. Severity and code leave only when they are codes of the required value sets.

use crate::json::Value;

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
