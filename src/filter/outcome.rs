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
        if let Some(element) = elements.into_iter().find_map(|element| element_of(&element, of)) {
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

/// The element that is meant: of the resource itself where it was sent as a parameter, and without the comments that HAPI puts
/// between (`Parameters.parameter[0].resource/*Observation/null*/.code`).
fn element_of(text: &str, of: ResourceType) -> Option<String> {
    let goes_on = |rest: &str| rest.is_empty() || rest.starts_with('.');
    let mut pieces = text.split("/*");
    let mut path = pieces.next()?.to_owned();
    for piece in pieces {
        path.push_str(piece.split_once("*/").map(|(_, rest)| rest).filter(|rest| goes_on(rest))?);
    }
    let parameter = path.strip_prefix("Parameters.parameter[").and_then(|rest| rest.split_once("].resource"));
    if let Some((_, rest)) = parameter.filter(|(number, rest)| is_number(number) && goes_on(rest)) {
        path = format!("{of}{rest}");
    }
    is_element(&path, of).then_some(path)
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.len() < 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `Observation.component[0].valueQuantity`: the type, and elements of it.
fn is_element(text: &str, of: ResourceType) -> bool {
    let element = |part: &str| {
        let (name, rest) = part.split_once('[').map_or((part, None), |(name, rest)| (name, Some(rest)));
        let number = rest.is_none_or(|rest| rest.strip_suffix(']').is_some_and(is_number));
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
    fn the_element_is_told_of_a_resource_that_was_a_parameter() {
        let told = |element: &str| {
            let outcome = serde_json::json!({"resourceType": "OperationOutcome",
                "issue": [{"severity": "error", "code": "required", "expression": [element], "location": ["Line[1] Col[2]"]}]});
            let json = Json::parse(outcome.to_string().into_bytes(), Limits::default()).unwrap();
            let told: serde_json::Value =
                serde_json::from_slice(&of_validation(json.root(), ResourceType::OBSERVATION, None)).unwrap();
            told.pointer("/issue/0/expression/0").and_then(|text| text.as_str()).map(str::to_owned)
        };
        for (element, expected) in [
            ("Observation.code", "Observation.code"),
            ("Parameters.parameter[0].resource/*Observation/null*/.code", "Observation.code"),
            ("Parameters.parameter[12].resource/*Observation/null*/", "Observation"),
            (
                "Parameters.parameter[0].resource/*Observation/o1*/.component[3].valueQuantity",
                "Observation.component[3].valueQuantity",
            ),
            ("Parameters.parameter[0].resource.code", "Observation.code"),
            ("Observation.contained[0]/*Patient/p1*/.name[1]", "Observation.contained[0].name[1]"),
        ] {
            assert_eq!(told(element).as_deref(), Some(expected), "{element}");
        }
        for element in [
            "Parameters.parameter[0].resource/*Observation/null*/code",
            "Parameters.parameter[0].resource/*Observation/null",
            "Parameters.parameter[0].resource/*Patient P2*/.code P2",
            "Parameters.parameter[0].resource.code.where(id='P2')",
            "Parameters.parameter[0].resourceful",
            "Parameters.parameter[P2].resource.code",
            "Parameters.parameter[0].part[0].resource.code",
            "Parameters.parameter[0].name",
            "Patient.name",
            "/*Observation*/.code",
            "Obser/*x*/vation.code",
        ] {
            assert_eq!(told(element), None, "{element}");
        }
    }

    #[test]
    fn what_a_validation_found_is_bounded_and_names_no_upstream() {
        let rebase = Rebase::new("https://gw.example/fhir", &["http://up.internal:8080/fhir"]);
        let told = |issues: Vec<serde_json::Value>| -> serde_json::Value {
            let outcome = serde_json::json!({"resourceType": "OperationOutcome", "issue": issues}).to_string();
            let json = Json::parse(outcome.into_bytes(), Limits::default()).unwrap();
            serde_json::from_slice(&of_validation(json.root(), ResourceType::OBSERVATION, Some(&rebase))).unwrap()
        };
        let issue =
            |sentence: &str| serde_json::json!({"severity": "error", "code": "invalid", "diagnostics": sentence});
        let long = told(vec![issue(&"ä".repeat(5_000))]);
        assert_eq!(long.pointer("/issue/0/diagnostics").unwrap().as_str().unwrap().chars().count(), LONGEST);
        let many = told((0..MOST + 100).map(|number| issue(&number.to_string())).collect());
        assert_eq!(many.pointer("/issue").unwrap().as_array().unwrap().len(), MOST);
        for sentence in ["see http://up.internal:8080/fhir/x", "host UP.internal:8080 says no"] {
            assert_eq!(told(vec![issue(sentence)]).pointer("/issue/0/diagnostics"), None, "{sentence}");
        }
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
