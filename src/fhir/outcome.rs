//! `OperationOutcome`, the body of every FHIR refusal (R4 operationoutcome.html, http.html section 3.1.0.1.5).
//!
//! Takes what went wrong as a closed code and a sentence, gives the JSON resource. Whatever is written here reaches the client:
//! the caller keeps people, tokens and upstream addresses out of the sentences. It does not choose HTTP status codes.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::resource_type::ResourceType;

/// An `OperationOutcome` with at least one issue. It serialises as the resource, so it can also be an entry of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OperationOutcome<'a> {
    #[serde(rename = "resourceType", serialize_with = "as_name")]
    resource_type: ResourceType,
    issue: Vec<Issue<'a>>,
}

impl<'a> OperationOutcome<'a> {
    /// An outcome with one issue. `diagnostics` is left out when it is empty.
    #[must_use]
    pub fn new(severity: Severity, code: IssueType, diagnostics: impl Into<Cow<'a, str>>) -> Self {
        let issue = Issue::new(severity, code, diagnostics);
        Self { resource_type: ResourceType::OPERATION_OUTCOME, issue: vec![issue] }
    }

    /// The same outcome with one more issue after the others.
    #[must_use]
    pub fn with(mut self, issue: Issue<'a>) -> Self {
        self.issue.push(issue);
        self
    }

    /// The same outcome, the last issue telling a person what to do: `details.text`.
    #[must_use]
    pub fn with_details(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        if let Some(last) = self.issue.last_mut() {
            last.details = Some(Details { text: text.into() });
        }
        self
    }

    /// The same outcome, the last issue naming the element at fault, such as `Patient.birthDate` or `http.name`.
    #[must_use]
    pub fn with_expression(mut self, expression: impl Into<Cow<'a, str>>) -> Self {
        if let Some(last) = self.issue.last_mut() {
            last.expression.push(expression.into());
        }
        self
    }

    /// The JSON resource, `application/fhir+json`.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        // INVARIANT: serialising strings and closed enums into memory does not fail; the other arm is an outcome too.
        serde_json::to_vec(self).map_or(Bytes::from_static(FALLBACK), Bytes::from)
    }
}

/// One thing that went wrong: `OperationOutcome.issue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Issue<'a> {
    severity: Severity,
    code: IssueType,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    diagnostics: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expression: Vec<Cow<'a, str>>,
}

impl<'a> Issue<'a> {
    /// An issue. `diagnostics` is left out when it is empty.
    #[must_use]
    pub fn new(severity: Severity, code: IssueType, diagnostics: impl Into<Cow<'a, str>>) -> Self {
        Self { severity, code, details: None, diagnostics: diagnostics.into(), expression: Vec::new() }
    }
}

/// `OperationOutcome.issue.severity` (R4 valueset-issue-severity.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The request was not even begun, or was broken off.
    Fatal,
    /// The request failed.
    Error,
    /// The request succeeded, with a caveat.
    Warning,
    /// The request succeeded; nothing to do.
    Information,
}

/// `OperationOutcome.issue.code`: all of R4's codes (R4 valueset-issue-type.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "FHIR's own words")]
pub enum IssueType {
    Invalid,
    Structure,
    Required,
    Value,
    Invariant,
    Security,
    Login,
    Unknown,
    Expired,
    Forbidden,
    Suppressed,
    Processing,
    NotSupported,
    Duplicate,
    MultipleMatches,
    NotFound,
    Deleted,
    TooLong,
    CodeInvalid,
    Extension,
    TooCostly,
    BusinessRule,
    Conflict,
    Transient,
    LockError,
    NoStore,
    Exception,
    Timeout,
    Incomplete,
    Throttled,
    Informational,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Details<'a> {
    text: Cow<'a, str>,
}

const FALLBACK: &[u8] = br#"{"resourceType":"OperationOutcome","issue":[{"severity":"fatal","code":"exception"}]}"#;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn as_name<S: serde::Serializer>(resource_type: &ResourceType, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(resource_type.name())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_outcome_has_the_shape_of_the_resource() {
        let outcome = OperationOutcome::new(Severity::Error, IssueType::NotFound, "no such resource");
        assert_eq!(
            outcome.to_bytes(),
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found","diagnostics":"no such resource"}]}"#
        );
    }

    #[test]
    fn details_and_expression_belong_to_the_last_issue() {
        let outcome = OperationOutcome::new(Severity::Error, IssueType::Invalid, "")
            .with(Issue::new(Severity::Warning, IssueType::MultipleMatches, "two"))
            .with_details("ask for one")
            .with_expression("Patient.name");
        assert_eq!(
            outcome.to_bytes(),
            concat!(
                r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"},"#,
                r#"{"severity":"warning","code":"multiple-matches","details":{"text":"ask for one"},"#,
                r#""diagnostics":"two","expression":["Patient.name"]}]}"#,
            )
        );
    }

    #[test]
    fn every_code_is_written_as_in_the_value_set() {
        for (code, text) in [
            (IssueType::Login, "login"),
            (IssueType::Expired, "expired"),
            (IssueType::Forbidden, "forbidden"),
            (IssueType::NotSupported, "not-supported"),
            (IssueType::Structure, "structure"),
            (IssueType::Throttled, "throttled"),
            (IssueType::Transient, "transient"),
            (IssueType::TooLong, "too-long"),
            (IssueType::TooCostly, "too-costly"),
            (IssueType::CodeInvalid, "code-invalid"),
            (IssueType::BusinessRule, "business-rule"),
            (IssueType::LockError, "lock-error"),
            (IssueType::NoStore, "no-store"),
        ] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{text}\""));
        }
    }

    proptest! {
        #[test]
        fn whatever_the_diagnostics_the_body_is_json_that_gives_them_back(diagnostics in "\\PC+|[\\x00-\\x7f]+") {
            let body = OperationOutcome::new(Severity::Error, IssueType::Value, diagnostics.as_str()).to_bytes();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(value.pointer("/issue/0/diagnostics"), Some(&serde_json::Value::from(diagnostics)));
        }
    }
}
