//! Our answers about tokens as JWTs (RFC 9701 section 5): RS256, the algorithm of resource servers that registered none
//! (section 6).

use serde::Serialize;
use serde_json::value::RawValue;

use super::signing_key::{IdTokenKey, SignError};

const TYPE: &str = "token-introspection+jwt";

/// The claims of an answer. Without `sub` and `exp`, so that nobody takes it for a token (RFC 9701 section 8.1).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct IntrospectionClaims<'a> {
    /// Our issuer.
    pub iss: &'a str,
    /// The client that asked.
    pub aud: &'a str,
    /// When it was answered, seconds since the epoch.
    pub iat: i64,
    /// The answer.
    pub token_introspection: &'a RawValue,
}

impl IntrospectionClaims<'_> {
    /// Signs the answer.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, key: &IdTokenKey) -> Result<String, SignError> {
        key.sign(TYPE, self)
    }
}
