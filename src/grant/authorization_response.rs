//! The way back to the app: a 303 redirect to the verified redirect URI, with a code or with an error.
//!
//! Takes an address that was already compared with the registered ones; gives an [`Answer`]. Promises: the query that the
//! redirect URI has is kept, `state` comes back byte for byte, `iss` is always there (RFC 9207), and the status is 303 so
//! that nothing that was posted to us is posted on (RFC 9700 section 4.12). RFC 6749 section 4.1.2.

use bytes::Bytes;
use http::header::{HeaderValue, LOCATION};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Answer;
use super::pages::{Problem, harden};
use super::records::Transaction;
use crate::config::Config;

/// Everything but the unreserved characters of RFC 3986: a space becomes `%20`, which every decoder understands.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Error codes of the authorization response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthorizationError {
    /// RFC 6749 section 4.1.2.1
    InvalidRequest,
    /// RFC 6749 section 4.1.2.1
    UnauthorizedClient,
    /// RFC 6749 section 4.1.2.1
    AccessDenied,
    /// RFC 6749 section 4.1.2.1
    UnsupportedResponseType,
    /// RFC 6749 section 4.1.2.1
    InvalidScope,
    /// RFC 6749 section 4.1.2.1
    TemporarilyUnavailable,
    /// RFC 8707 section 2
    InvalidTarget,
    /// OpenID Connect Core section 3.1.2.6
    LoginRequired,
    /// OpenID Connect Core section 3.1.2.6
    ConsentRequired,
    /// OpenID Connect Core section 3.1.2.6
    InteractionRequired,
    /// OpenID Connect Core section 3.1.2.6
    RequestNotSupported,
    /// OpenID Connect Core section 3.1.2.6
    RequestUriNotSupported,
}

impl AuthorizationError {
    /// The code on the wire, which is also the reason in the audit log.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::InvalidTarget => "invalid_target",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::InteractionRequired => "interaction_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
        }
    }
}

/// A verified redirect URI and the `state` that goes with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReturnAddress<'a> {
    pub(super) redirect_uri: &'a str,
    /// `None` when the request had none.
    pub(super) state: Option<&'a str>,
}

impl<'a> From<&'a Transaction> for ReturnAddress<'a> {
    fn from(transaction: &'a Transaction) -> Self {
        Self { redirect_uri: &transaction.redirect_uri, state: Some(&transaction.state) }
    }
}

impl ReturnAddress<'_> {
    /// The successful response.
    pub(super) fn code(self, config: &Config, code: &str) -> Answer {
        self.with(config, &[("code", code)])
    }

    /// The error response. `description` is a fixed sentence of ours, or one with scope names in it, for the developer of
    /// the app.
    pub(super) fn error(self, config: &Config, error: AuthorizationError, description: &str) -> Answer {
        self.with(config, &[("error", error.code()), ("error_description", description)])
    }

    fn with(self, config: &Config, parameters: &[(&str, &str)]) -> Answer {
        let mut target = self.redirect_uri.to_owned();
        let mut separator = match target.rsplit_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        let issuer = config.issuer();
        let state = self.state.map(|state| ("state", state));
        for (name, value) in parameters.iter().copied().chain(state).chain([("iss", issuer.as_str())]) {
            target.push_str(separator);
            target.push_str(name);
            target.push('=');
            target.extend(utf8_percent_encode(value, VALUE));
            separator = "&";
        }
        see_other(&target)
    }
}

/// A 303 to `target`. A target that is no header value is an error of ours and becomes 500.
pub(super) fn see_other(target: &str) -> Answer {
    let mut response = Response::new(Bytes::new());
    match HeaderValue::from_str(target) {
        Ok(location) => {
            *response.status_mut() = StatusCode::SEE_OTHER;
            response.headers_mut().insert(LOCATION, location);
        }
        Err(_) => *response.status_mut() = Problem::Internal.status(),
    }
    harden(&mut response);
    Answer(response)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use crate::grant::testing::config;

    fn location(redirect_uri: &str, state: &str) -> String {
        let to = ReturnAddress { redirect_uri, state: Some(state) };
        let answer = to.code(&config(), "c0de");
        assert_eq!(answer.0.status(), 303);
        answer.0.headers().get(LOCATION).unwrap().to_str().unwrap().to_owned()
    }

    // A11, N4
    #[test]
    fn a11_code_state_and_issuer_are_added_to_the_redirect_uri() {
        assert_eq!(
            location("https://app.example.org/cb", "s1"),
            "https://app.example.org/cb?code=c0de&state=s1&iss=https%3A%2F%2Fgw.example.org"
        );
    }

    #[test]
    fn a11_the_query_of_the_redirect_uri_is_kept() {
        assert!(location("https://a.example/cb?x=1", "s").starts_with("https://a.example/cb?x=1&code=c0de&"));
        assert!(location("https://a.example/cb?", "s").starts_with("https://a.example/cb?code=c0de&"));
        assert!(location("https://a.example/cb?x=1&", "s").starts_with("https://a.example/cb?x=1&code=c0de&"));
    }

    #[test]
    fn a5_state_comes_back_byte_for_byte() {
        let state = " a b+c%20&d=\u{e9}\"\\~\t\n ";
        let url = url::Url::parse(&location("https://a.example/cb", state)).unwrap();
        let back = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        assert_eq!(back, state);
    }
}
