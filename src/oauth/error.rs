//! Errors of the back-channel endpoints (RFC 6749 section 5.2), and the one place where they become a response.
//!
//! Descriptions are fixed sentences: they never repeat what was sent.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

/// Why a back-channel request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthError {
    /// Which answer it gets.
    pub kind: OAuthErrorKind,
    /// `error_description`: what was expected.
    pub description: &'static str,
}

/// The `error` of a response, in its extensions: for those who count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub &'static str);

/// The kinds of [`OAuthError`], each with its `error` code and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthErrorKind {
    /// 400 `invalid_request`
    InvalidRequest,
    /// 400 `invalid_request`, for a path that is served by POST alone: 405 with `Allow`.
    MethodNotAllowed,
    /// 400 `invalid_client`: the kind of the assertion is wrong (SMART test kits ask for this status).
    UnknownAssertionType,
    /// 401 `invalid_client`
    InvalidClient(Challenge),
    /// 400 `invalid_grant`
    InvalidGrant,
    /// 400 `unauthorized_client`
    UnauthorizedClient,
    /// 403 `unauthorized_client`: authenticated, and not one that may use this endpoint.
    ClientForbidden,
    /// 403 `access_denied`: may use the endpoint, and not for this.
    AccessDenied,
    /// 400 `unsupported_grant_type`
    UnsupportedGrantType,
    /// 400 `invalid_scope`
    InvalidScope,
    /// 400 `invalid_target` (RFC 8707 section 2)
    InvalidTarget,
    /// 400 `invalid_authorization_details` (RFC 9396 section 6)
    InvalidAuthorizationDetails,
    /// 400 `invalid_dpop_proof` (RFC 9449 section 5)
    InvalidDpopProof,
    /// 400 `use_dpop_nonce` (RFC 9449 section 8): goes out with a nonce.
    UseDpopNonce,
    /// 422 `invalid_launch_context`: well-formed, and says something that cannot be.
    InvalidLaunchContext,
    /// 400 `invalid_redirect_uri` (RFC 7591 section 3.2.2)
    InvalidRedirectUri,
    /// 400 `invalid_client_metadata` (RFC 7591 section 3.2.2)
    InvalidClientMetadata,
    /// 400 `invalid_software_statement` (RFC 7591 section 3.2.2)
    InvalidSoftwareStatement,
    /// 401 `invalid_token` (RFC 6750 section 3.1): a token of the registration endpoints that is missing or no good.
    InvalidToken,
    /// 429 `temporarily_unavailable`: too many requests of one address. Holds the whole seconds to wait.
    Throttled(u32),
    /// 503 `temporarily_unavailable`: the store cannot be written or read; nothing was given.
    Unavailable,
}

/// Which `WWW-Authenticate` a 401 carries: that of the scheme which was tried (RFC 6749 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// No `Authorization` header was used.
    None,
    /// HTTP Basic was tried.
    Basic,
    /// `Authorization: Bearer` is how this endpoint takes a client assertion.
    Bearer,
}

impl OAuthError {
    /// An error with its description.
    #[must_use]
    pub const fn new(kind: OAuthErrorKind, description: &'static str) -> Self {
        Self { kind, description }
    }

    /// 400 `invalid_request`
    #[must_use]
    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new(OAuthErrorKind::InvalidRequest, description)
    }

    /// 400 `invalid_grant`
    #[must_use]
    pub const fn invalid_grant(description: &'static str) -> Self {
        Self::new(OAuthErrorKind::InvalidGrant, description)
    }

    /// 401 `invalid_client`, one sentence for all reasons.
    #[must_use]
    pub const fn invalid_client(challenge: Challenge) -> Self {
        Self::new(
            OAuthErrorKind::InvalidClient(challenge),
            "the client is not known or did not authenticate as registered",
        )
    }

    /// 401 `invalid_token`, one sentence for all reasons.
    #[must_use]
    pub const fn invalid_token() -> Self {
        Self::new(OAuthErrorKind::InvalidToken, "a token that is good for this is expected as `Authorization: Bearer`")
    }

    /// 429 `temporarily_unavailable`
    #[must_use]
    pub const fn throttled(seconds: u32) -> Self {
        Self::new(
            OAuthErrorKind::Throttled(seconds),
            "too many requests: try again after the seconds that Retry-After names",
        )
    }

    /// 503 `temporarily_unavailable`
    #[must_use]
    pub const fn unavailable() -> Self {
        Self::new(OAuthErrorKind::Unavailable, "the request cannot be served now; nothing was changed, try again")
    }

    /// The value of `error`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.kind {
            OAuthErrorKind::InvalidRequest | OAuthErrorKind::MethodNotAllowed => "invalid_request",
            OAuthErrorKind::UnknownAssertionType | OAuthErrorKind::InvalidClient(_) => "invalid_client",
            OAuthErrorKind::InvalidGrant => "invalid_grant",
            OAuthErrorKind::UnauthorizedClient | OAuthErrorKind::ClientForbidden => "unauthorized_client",
            OAuthErrorKind::AccessDenied => "access_denied",
            OAuthErrorKind::UnsupportedGrantType => "unsupported_grant_type",
            OAuthErrorKind::InvalidScope => "invalid_scope",
            OAuthErrorKind::InvalidTarget => "invalid_target",
            OAuthErrorKind::InvalidAuthorizationDetails => "invalid_authorization_details",
            OAuthErrorKind::InvalidDpopProof => "invalid_dpop_proof",
            OAuthErrorKind::UseDpopNonce => "use_dpop_nonce",
            OAuthErrorKind::InvalidLaunchContext => "invalid_launch_context",
            OAuthErrorKind::InvalidRedirectUri => "invalid_redirect_uri",
            OAuthErrorKind::InvalidClientMetadata => "invalid_client_metadata",
            OAuthErrorKind::InvalidSoftwareStatement => "invalid_software_statement",
            OAuthErrorKind::InvalidToken => "invalid_token",
            OAuthErrorKind::Throttled(_) | OAuthErrorKind::Unavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.kind {
            OAuthErrorKind::InvalidRequest
            | OAuthErrorKind::UnknownAssertionType
            | OAuthErrorKind::InvalidGrant
            | OAuthErrorKind::UnauthorizedClient
            | OAuthErrorKind::UnsupportedGrantType
            | OAuthErrorKind::InvalidScope
            | OAuthErrorKind::InvalidTarget
            | OAuthErrorKind::InvalidAuthorizationDetails
            | OAuthErrorKind::InvalidDpopProof
            | OAuthErrorKind::UseDpopNonce
            | OAuthErrorKind::InvalidRedirectUri
            | OAuthErrorKind::InvalidClientMetadata
            | OAuthErrorKind::InvalidSoftwareStatement => StatusCode::BAD_REQUEST,
            OAuthErrorKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            OAuthErrorKind::InvalidClient(_) | OAuthErrorKind::InvalidToken => StatusCode::UNAUTHORIZED,
            OAuthErrorKind::ClientForbidden | OAuthErrorKind::AccessDenied => StatusCode::FORBIDDEN,
            OAuthErrorKind::InvalidLaunchContext => StatusCode::UNPROCESSABLE_ENTITY,
            OAuthErrorKind::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            OAuthErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether credentials or a grant were presented that are not good: what a budget for guessing counts.
    #[must_use]
    pub const fn is_failed_credentials(&self) -> bool {
        matches!(
            self.kind,
            OAuthErrorKind::InvalidClient(_)
                | OAuthErrorKind::InvalidGrant
                | OAuthErrorKind::InvalidToken
                | OAuthErrorKind::UnknownAssertionType
                | OAuthErrorKind::InvalidDpopProof
        )
    }

    /// The response: JSON that no cache keeps.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let body = serde_json::json!({ "error": self.code(), "error_description": self.description });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status();
        response.extensions_mut().insert(ErrorCode(self.code()));
        let headers = response.headers_mut();
        uncacheable_json(headers);
        match self.kind {
            OAuthErrorKind::InvalidClient(Challenge::Basic) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\", charset=\"UTF-8\""));
            }
            OAuthErrorKind::InvalidClient(Challenge::Bearer) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"launch-contexts\""));
            }
            OAuthErrorKind::InvalidToken => {
                let challenge = "Bearer realm=\"register\", error=\"invalid_token\"";
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            OAuthErrorKind::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            OAuthErrorKind::Throttled(seconds) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            OAuthErrorKind::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// The headers of every back-channel answer (RFC 6749 section 5.1).
pub(crate) fn uncacheable_json(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;

    // T5, B7
    #[test]
    fn an_error_is_json_that_no_cache_keeps() {
        let response = OAuthError::invalid_grant("a sentence").response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[PRAGMA], "no-cache");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body, serde_json::json!({"error": "invalid_grant", "error_description": "a sentence"}));
    }

    // E19
    #[test]
    fn a_challenge_is_sent_only_for_the_scheme_that_was_tried() {
        let challenge = |challenge| {
            let response = OAuthError::invalid_client(challenge).response();
            assert_eq!(response.status(), 401);
            response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(challenge(Challenge::None), None);
        assert!(challenge(Challenge::Basic).unwrap().starts_with("Basic "));
        assert!(challenge(Challenge::Bearer).unwrap().starts_with("Bearer "));
    }
}
