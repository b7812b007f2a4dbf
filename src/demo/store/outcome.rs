//! The errors of the sample store, as OperationOutcome (R4, 3.1.0.1.9).

use bytes::Bytes;
use http::StatusCode;

/// Why the store does not answer with a resource. The text is fixed: it repeats nothing of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    code: &'static str,
    text: &'static str,
}

impl Failure {
    pub(super) const fn invalid(text: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "invalid", text }
    }

    pub(super) const fn not_supported(text: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "not-supported", text }
    }

    pub(super) const fn not_found(text: &'static str) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not-found", text }
    }

    pub(super) const fn read_only() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "not-supported",
            text: "the sample store can be read and searched, not written",
        }
    }

    pub(super) const fn not_acceptable() -> Self {
        Self { status: StatusCode::NOT_ACCEPTABLE, code: "not-supported", text: "only JSON is available" }
    }

    pub(super) const fn page_gone() -> Self {
        Self { status: StatusCode::GONE, code: "not-found", text: "this page is no longer kept, search again" }
    }

    /// The OperationOutcome.
    pub(super) fn body(self) -> Bytes {
        let Self { code, text, .. } = self;
        let outcome = format!(
            r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"{code}","diagnostics":"{text}"}}]}}"#
        );
        Bytes::from(outcome)
    }
}
