//! Why nobody is logged in.

use super::claims::NotAllowed;
use super::id_token::IdTokenProblem;
use super::logout_token::LogoutTokenProblem;
use super::metadata::MetadataProblem;
use crate::outbound::OutboundError;

/// Why nobody is logged in.
#[derive(Debug)]
pub enum FederationError {
    /// A document or the token endpoint cannot be had; the name says which.
    Unreachable(&'static str, OutboundError),
    /// It answered with a status that is not 200.
    Status(&'static str, u16),
    /// The discovery document cannot be used.
    Metadata(MetadataProblem),
    /// The JWK Set holds no key that can check a signature.
    Keys,
    /// It failed a moment ago and is not asked again yet.
    FailedLately,
    /// Too many people log in there at the same time.
    Busy,
    /// The token endpoint refused the code, or us.
    Refused,
    /// The token response cannot be read.
    TokenResponse,
    /// The ID token is not good.
    IdToken(IdTokenProblem),
    /// The logout token is not good.
    LogoutToken(LogoutTokenProblem),
    /// The person may not come in.
    NotAllowed(Box<NotAllowed>),
}

impl FederationError {
    /// The stable id of the reason, for the audit log.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(..)
            | Self::Status(..)
            | Self::Metadata(_)
            | Self::Keys
            | Self::FailedLately
            | Self::Busy => "provider_unavailable",
            Self::Refused | Self::TokenResponse => "provider_refused_code",
            Self::IdToken(_) => "id_token_invalid",
            Self::LogoutToken(_) => "logout_token_invalid",
            Self::NotAllowed(refused) => refused.why.reason(),
        }
    }
}

impl std::fmt::Display for FederationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(what, error) => write!(f, "the {what} cannot be had: {error}"),
            Self::Status(what, status) => write!(f, "the {what} was answered with status {status}, 200 is expected"),
            Self::Metadata(problem) => f.write_str(problem.words()),
            Self::Keys => f.write_str("the jwks_uri must hold a signing key: RSA of 2048 bits or more, P-256 or P-384"),
            Self::FailedLately => f.write_str("it failed a moment ago and is not asked again yet"),
            Self::Busy => f.write_str("too many people log in there at the same time"),
            Self::Refused => {
                f.write_str("the token endpoint refused the code, or does not know client_id and credentials")
            }
            Self::TokenResponse => f.write_str("the token endpoint answered with what is no token response"),
            Self::IdToken(problem) => write!(f, "the id_token cannot be used: {}", problem.words()),
            Self::LogoutToken(problem) => write!(f, "the logout token cannot be used: {}", problem.words()),
            Self::NotAllowed(refused) => f.write_str(refused.why.reason()),
        }
    }
}

impl std::error::Error for FederationError {}
