//! Why an exchange on the request path was refused, and the one place where that becomes a response.
//!
//! Every kind has a stable reason id (for the audit log and the metrics), a status, a FHIR issue type, and a public
//! sentence. What depends on upstream data is always [`Refusal::NotFound`], byte-identical to "absent"; 403 is decided from
//! token and request alone. An exhaustive `match` makes a new kind a compile error until it has all of these.

mod challenge;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

pub use self::challenge::{Challenge, Scheme};
use crate::audit::Outcome;
use crate::authorize::Denial;
use crate::fhir::outcome::{IssueType, OperationOutcome, Severity};
use crate::fhir::resource_type::ResourceType;
use crate::jose::AccessTokenProblem;
use crate::jose::dpop::ProofProblem;
use crate::json::patch::PatchError;

/// Why the request path gave no resource.
#[derive(Debug)]
pub enum Refusal {
    /// The request is not well-formed or names something that no FHIR interaction is.
    Malformed(Malformed),
    /// No usable access token.
    Unauthenticated(TokenProblem),
    /// A token of the scheme `DPoP`, or one that is bound to a key, and not what makes it usable.
    UnprovenSender(SenderProblem),
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
    /// What the change depends on does not hold.
    Change(ChangeProblem),
    /// The upstream refused the change as such (its 400, 409, 412 or 422).
    UpstreamDeclined {
        /// Its status.
        status: StatusCode,
        /// Sanitised OperationOutcome of the upstream: severities and codes only.
        outcome: Bytes,
    },
    /// A limit was reached.
    Throttled {
        /// Whole seconds until another try makes sense.
        retry_after: u32,
    },
    /// The audit log, the store or memory for the request is not to be had: nothing is released.
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

/// Why a permitted change was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeProblem {
    /// The version that was meant is not current, or something is there where nothing should be: 412.
    PreconditionFailed,
    /// A conditional change finds several: 412.
    MultipleMatches,
    /// The patch does not fit what is there: 422.
    PatchInapplicable(PatchError),
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

impl From<AccessTokenProblem> for TokenProblem {
    fn from(problem: AccessTokenProblem) -> Self {
        match problem {
            AccessTokenProblem::Invalid => Self::Invalid,
            AccessTokenProblem::Expired => Self::Expired,
        }
    }
}

/// What was wrong with a token that a key must be proven with (RFC 9449 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderProblem {
    /// The token itself.
    Token(TokenProblem),
    /// A bound token without the scheme `DPoP`, or a bearer token with it: 401 `invalid_token`.
    Binding,
    /// The proof is missing or not good: 401 `invalid_dpop_proof`; without the nonce that is asked for: `use_dpop_nonce`.
    Proof(ProofProblem),
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
    /// A match of a search on this type that lies outside what was asked for: 502, nothing of it is released.
    Foreign(ResourceType),
    /// It does not confine searches on the type as it is asked to, so none is made: 502.
    NotConfined,
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
            Self::UnprovenSender(SenderProblem::Binding) => "token_binding_wrong",
            Self::UnprovenSender(SenderProblem::Proof(problem)) => match problem {
                ProofProblem::Invalid => "dpop_proof_invalid",
                ProofProblem::Untimely => "dpop_proof_untimely",
                ProofProblem::Replayed => "dpop_proof_replayed",
                ProofProblem::Nonce => "dpop_nonce_missing",
            },
            Self::Unauthenticated(problem) | Self::UnprovenSender(SenderProblem::Token(problem)) => match problem {
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
                UpstreamFault::Foreign(_) => "upstream_foreign_match",
                UpstreamFault::NotConfined => "upstream_search_not_confined",
            },
            Self::UpstreamRefused { .. } | Self::UpstreamDeclined { .. } => "upstream_refused",
            Self::Change(problem) => match problem {
                ChangeProblem::PreconditionFailed => "precondition_failed",
                ChangeProblem::MultipleMatches => "multiple_matches",
                ChangeProblem::PatchInapplicable(_) => "patch_inapplicable",
            },
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
            Self::Unauthenticated(_) | Self::UnprovenSender(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Change(ChangeProblem::PreconditionFailed | ChangeProblem::MultipleMatches) => {
                StatusCode::PRECONDITION_FAILED
            }
            Self::Change(ChangeProblem::PatchInapplicable(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::UpstreamDeclined { status, .. } => *status,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Upstream(UpstreamFault::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(UpstreamFault::Busy) | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// Whether the client is to come again with a nonce in its proof (RFC 9449 section 9).
    #[must_use]
    pub fn asks_nonce(&self) -> bool {
        matches!(self, Self::UnprovenSender(SenderProblem::Proof(ProofProblem::Nonce)))
    }

    /// How the record of the exchange ends: denied by us, or failed because of the upstream or ourselves.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let reason = self.reason();
        match self {
            Self::Upstream(_) | Self::Unavailable(_) => Outcome::Failed(reason),
            Self::Malformed(_)
            | Self::Unauthenticated(_)
            | Self::UnprovenSender(_)
            | Self::Denied(_)
            | Self::NotFound
            | Self::UpstreamRefused { .. }
            | Self::UpstreamDeclined { .. }
            | Self::Change(_)
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
            Self::Unauthenticated(problem) => {
                insert(headers, WWW_AUTHENTICATE, &challenge.text(*problem));
                if matches!(problem, TokenProblem::Missing | TokenProblem::WrongScheme)
                    && let Ok(value) = HeaderValue::from_str(&challenge.dpop(None))
                {
                    headers.append(WWW_AUTHENTICATE, value);
                }
            }
            Self::UnprovenSender(problem) => {
                insert(headers, WWW_AUTHENTICATE, &challenge.dpop(Some(*problem)));
            }
            Self::Denied(denial) => {
                if let Some(scope) = &denial.missing_scope {
                    insert(headers, WWW_AUTHENTICATE, &challenge.insufficient_scope(scope));
                }
            }
            Self::Throttled { retry_after } => insert(headers, RETRY_AFTER, &retry_after.to_string()),
            Self::Upstream(UpstreamFault::Busy) | Self::Unavailable(_) => insert(headers, RETRY_AFTER, "1"),
            Self::Malformed(Malformed { kind: MalformedKind::MethodNotAllowed, .. }) => {
                insert(headers, ALLOW, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            }
            Self::Malformed(_)
            | Self::NotFound
            | Self::Upstream(_)
            | Self::UpstreamRefused { .. }
            | Self::UpstreamDeclined { .. }
            | Self::Change(_) => {}
        }
        response
    }

    /// What the client is told, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.told().1
    }

    fn operation_outcome(&self) -> Bytes {
        if let Self::UpstreamRefused { outcome } | Self::UpstreamDeclined { outcome, .. } = self {
            return outcome.clone();
        }
        let (issue, text) = self.told();
        OperationOutcome::new(Severity::Error, issue, text).to_bytes()
    }

    fn told(&self) -> (IssueType, &str) {
        match self {
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
            Self::UnprovenSender(SenderProblem::Binding) => (
                IssueType::Login,
                "a token that is bound to a key must come with the scheme DPoP and a proof, and no other token may",
            ),
            Self::UnprovenSender(SenderProblem::Proof(problem)) => match problem {
                ProofProblem::Invalid => {
                    (IssueType::Login, "one DPoP proof for this method, URL and token, by the token's key, is required")
                }
                ProofProblem::Nonce => (IssueType::Login, "the DPoP proof must have the nonce that `DPoP-Nonce` names"),
                ProofProblem::Untimely => (IssueType::Login, "the DPoP proof must be of the last minute"),
                ProofProblem::Replayed => (IssueType::Login, "a new DPoP proof is required with each request"),
            },
            Self::Unauthenticated(problem) | Self::UnprovenSender(SenderProblem::Token(problem)) => match problem {
                TokenProblem::Missing => (IssueType::Login, "an access token is required: `Authorization: Bearer ...`"),
                TokenProblem::WrongScheme => {
                    (IssueType::Login, "the `Authorization` header must be of the scheme Bearer or DPoP")
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
                UpstreamFault::Status(_) | UpstreamFault::Unusable(_) | UpstreamFault::Foreign(_) => {
                    (IssueType::Exception, "the FHIR server gave an answer that cannot be released")
                }
                UpstreamFault::NotConfined => (
                    IssueType::NotSupported,
                    "the FHIR server does not confine searches on this type to what this token may see, so none is made",
                ),
            },
            Self::UpstreamRefused { .. } => (IssueType::Processing, "the FHIR server refused the search"),
            Self::UpstreamDeclined { .. } => (IssueType::Processing, "the FHIR server declined the change"),
            Self::Change(problem) => match problem {
                ChangeProblem::PreconditionFailed => {
                    (IssueType::Conflict, "expected another version to be current: read the resource again")
                }
                ChangeProblem::MultipleMatches => {
                    (IssueType::MultipleMatches, "expected search parameters that one resource at most matches")
                }
                ChangeProblem::PatchInapplicable(problem) => (IssueType::Processing, problem.as_str()),
            },
            Self::Throttled { .. } => (IssueType::Throttled, "too many requests; wait as long as `Retry-After` says"),
            Self::Unavailable("audit_unavailable") => {
                (IssueType::Transient, "the gateway cannot record this exchange now, so nothing is released")
            }
            Self::Unavailable("no_room_for_body") => {
                (IssueType::Transient, "the gateway has no room for this body now; send it again later")
            }
            Self::Unavailable(_) => (
                IssueType::Transient,
                "the gateway cannot tell now whether this token is still good, so nothing is released",
            ),
        }
    }
}

fn insert(headers: &mut http::HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
