//! Why an exchange on the request path was refused, and the one place where that becomes a response.
//!
//! Every kind has a stable reason id (for the audit log and the metrics), a status, a FHIR issue type, and a public
//! sentence. What depends on upstream data is always [`Refusal::NotFound`], byte-identical to "absent"; 403 is decided from
//! token and request alone. An exhaustive `match` makes a new kind a compile error until it has all of these.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::audit::Outcome;
use crate::authorize::Denial;
use crate::fhir::outcome::{IssueType, OperationOutcome, Severity};

/// Why the request path gave no resource.
#[derive(Debug)]
pub enum Refusal {
    /// The request is not well-formed or names something that no FHIR interaction is.
    Malformed(Malformed),
    /// No usable access token.
    Unauthenticated(TokenProblem),
    /// The token and the request alone decide: not allowed.
    Denied(Denial),
    /// Absent, or present and not for this token: the two look the same.
    NotFound,
    /// The upstream failed or answered something that cannot be judged.
    Upstream(UpstreamFault),
    /// The upstream refused the search as such (its 400): the request is at fault.
    UpstreamRefused {
        /// Sanitised OperationOutcome of the upstream: severities and codes only.
        outcome: Bytes,
    },
    /// A limit was reached.
    Throttled {
        /// Whole seconds until another try makes sense.
        retry_after: u32,
    },
    /// The audit log or the store cannot be written: nothing is released.
    Unavailable(&'static str),
}

/// Requests that are refused before any policy is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Which answer it gets.
    pub kind: MalformedKind,
    /// What was expected, for the client; never repeats values of the request.
    pub expected: String,
}

/// The statuses of [`Malformed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedKind {
    /// 400
    BadRequest,
    /// 404: the path names no resource type or base of ours.
    UnknownPath,
    /// 405 with `Allow`
    MethodNotAllowed,
    /// 406
    NotAcceptable,
    /// 410: a page link past its validity.
    Gone,
    /// 413
    TooLarge,
    /// 414
    TargetTooLong,
    /// 415
    UnsupportedMediaType,
}

/// What was wrong with the credentials (RFC 6750 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenProblem {
    /// No `Authorization` header: 401 without an error code.
    Missing,
    /// A header of another scheme.
    WrongScheme,
    /// Two headers, a token in the query or the body: 400 `invalid_request`.
    Ambiguous,
    /// Signature, issuer, audience, type or form: 401 `invalid_token`.
    Invalid,
    /// Past its `exp`: 401 `invalid_token`.
    Expired,
    /// Its grant, client or user was revoked: 401 `invalid_token`.
    Revoked,
}

/// What the upstream did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFault {
    /// No connection: 502.
    Unreachable,
    /// No answer in time: 504.
    Timeout,
    /// Too many requests under way towards it: 503.
    Busy,
    /// A status that makes no sense here, a redirect, 5xx, 401 or 403: 502.
    Status(u16),
    /// Not FHIR JSON, not parseable, too large, or not what was asked for: 502.
    Unusable(&'static str),
    /// A match that lies outside what was asked for: 502, nothing of it is released.
    Foreign,
}

impl Refusal {
    /// A 400 that says what was expected.
    pub fn bad_request(expected: impl Into<String>) -> Self {
        Self::Malformed(Malformed { kind: MalformedKind::BadRequest, expected: expected.into() })
    }

    /// The stable id of the reason, as it stands in the audit log and the metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => match malformed.kind {
                MalformedKind::BadRequest => "request_malformed",
                MalformedKind::UnknownPath => "path_unknown",
                MalformedKind::MethodNotAllowed => "method_not_allowed",
                MalformedKind::NotAcceptable => "representation_not_acceptable",
                MalformedKind::Gone => "page_gone",
                MalformedKind::TooLarge => "request_too_large",
                MalformedKind::TargetTooLong => "target_too_long",
                MalformedKind::UnsupportedMediaType => "media_type_unsupported",
            },
            Self::Unauthenticated(problem) => match problem {
                TokenProblem::Missing => "token_missing",
                TokenProblem::WrongScheme => "token_scheme_wrong",
                TokenProblem::Ambiguous => "token_ambiguous",
                TokenProblem::Invalid => "token_invalid",
                TokenProblem::Expired => "token_expired",
                TokenProblem::Revoked => "token_revoked",
            },
            Self::Denied(denial) => denial.reason.id(),
            Self::NotFound => "not_found_or_hidden",
            Self::Upstream(fault) => match fault {
                UpstreamFault::Unreachable => "upstream_unreachable",
                UpstreamFault::Timeout => "upstream_timeout",
                UpstreamFault::Busy => "upstream_busy",
                UpstreamFault::Status(_) => "upstream_status",
                UpstreamFault::Unusable(_) => "upstream_unusable",
                UpstreamFault::Foreign => "upstream_foreign_match",
            },
            Self::UpstreamRefused { .. } => "upstream_refused",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable(reason) => reason,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(malformed) => match malformed.kind {
                MalformedKind::BadRequest => StatusCode::BAD_REQUEST,
                MalformedKind::UnknownPath => StatusCode::NOT_FOUND,
                MalformedKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
                MalformedKind::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
                MalformedKind::Gone => StatusCode::GONE,
                MalformedKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                MalformedKind::TargetTooLong => StatusCode::URI_TOO_LONG,
                MalformedKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            },
            Self::Unauthenticated(TokenProblem::Ambiguous) | Self::UpstreamRefused { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Upstream(UpstreamFault::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(UpstreamFault::Busy) | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// How the record of the exchange ends: denied by us, or failed because of the upstream or ourselves.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let reason = self.reason();
        match self {
            Self::Upstream(_) | Self::Unavailable(_) => Outcome::Failed(reason),
            Self::Malformed(_)
            | Self::Unauthenticated(_)
            | Self::Denied(_)
            | Self::NotFound
            | Self::UpstreamRefused { .. }
            | Self::Throttled { .. } => Outcome::Denied(reason),
        }
    }

    /// The response: an OperationOutcome, and for token problems the challenge of RFC 6750 section 3.
    #[must_use]
    pub fn into_response(self, challenge: &Challenge<'_>) -> Response<Bytes> {
        let status = self.status();
        let mut response = Response::new(self.operation_outcome());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match &self {
            Self::Unauthenticated(problem) => insert(headers, WWW_AUTHENTICATE, &challenge.text(*problem)),
            Self::Denied(denial) => {
                if let Some(scope) = &denial.missing_scope {
                    let text = format!(
                        "Bearer realm=\"{}\", error=\"insufficient_scope\", scope=\"{scope}\"",
                        challenge.realm
                    );
                    insert(headers, WWW_AUTHENTICATE, &text);
                }
            }
            Self::Throttled { retry_after } => insert(headers, RETRY_AFTER, &retry_after.to_string()),
            Self::Upstream(UpstreamFault::Busy) | Self::Unavailable(_) => insert(headers, RETRY_AFTER, "1"),
            Self::Malformed(Malformed { kind: MalformedKind::MethodNotAllowed, .. }) => {
                insert(headers, ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            }
            Self::Malformed(_) | Self::NotFound | Self::Upstream(_) | Self::UpstreamRefused { .. } => {}
        }
        response
    }

    fn operation_outcome(&self) -> Bytes {
        let (issue, text): (IssueType, &str) = match self {
            Self::Malformed(malformed) => (
                match malformed.kind {
                    MalformedKind::BadRequest => IssueType::Invalid,
                    MalformedKind::UnknownPath | MalformedKind::Gone => IssueType::NotFound,
                    MalformedKind::MethodNotAllowed
                    | MalformedKind::NotAcceptable
                    | MalformedKind::UnsupportedMediaType => IssueType::NotSupported,
                    MalformedKind::TooLarge | MalformedKind::TargetTooLong => IssueType::TooLong,
                },
                &malformed.expected,
            ),
            Self::Unauthenticated(problem) => match problem {
                TokenProblem::Missing => (IssueType::Login, "an access token is required: `Authorization: Bearer ...`"),
                TokenProblem::WrongScheme => {
                    (IssueType::Login, "the `Authorization` header must be of the scheme Bearer")
                }
                TokenProblem::Ambiguous => (
                    IssueType::Invalid,
                    "credentials are taken from exactly one `Authorization` header, never from the query or the body",
                ),
                TokenProblem::Invalid => (IssueType::Login, "the access token is not valid here"),
                TokenProblem::Expired => (IssueType::Expired, "the access token has expired"),
                TokenProblem::Revoked => (IssueType::Login, "the access token is no longer valid"),
            },
            Self::Denied(denial) => (denial.reason.issue(), &denial.diagnostics),
            Self::NotFound => (IssueType::NotFound, "no such resource is available to this token"),
            Self::Upstream(fault) => match fault {
                UpstreamFault::Unreachable => (IssueType::Transient, "the FHIR server cannot be reached"),
                UpstreamFault::Timeout => (IssueType::Timeout, "the FHIR server did not answer in time"),
                UpstreamFault::Busy => {
                    (IssueType::Throttled, "too many requests towards the FHIR server are under way")
                }
                UpstreamFault::Status(_) | UpstreamFault::Unusable(_) | UpstreamFault::Foreign => {
                    (IssueType::Exception, "the FHIR server gave an answer that cannot be released")
                }
            },
            Self::UpstreamRefused { outcome } => return outcome.clone(),
            Self::Throttled { .. } => (IssueType::Throttled, "too many requests; wait as long as `Retry-After` says"),
            Self::Unavailable(_) => {
                (IssueType::Transient, "the gateway cannot record this exchange now, so nothing is released")
            }
        };
        OperationOutcome::new(Severity::Error, issue, text).to_bytes()
    }
}

/// What the `WWW-Authenticate` header needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Challenge<'a> {
    /// The public FHIR base.
    pub realm: &'a str,
}

impl Challenge<'_> {
    fn text(&self, problem: TokenProblem) -> String {
        let realm = self.realm;
        match problem {
            TokenProblem::Missing | TokenProblem::WrongScheme => format!("Bearer realm=\"{realm}\""),
            TokenProblem::Ambiguous => format!("Bearer realm=\"{realm}\", error=\"invalid_request\""),
            TokenProblem::Invalid | TokenProblem::Revoked => {
                format!("Bearer realm=\"{realm}\", error=\"invalid_token\"")
            }
            TokenProblem::Expired => {
                format!(
                    "Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"the token has expired\""
                )
            }
        }
    }
}

fn insert(headers: &mut http::HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
