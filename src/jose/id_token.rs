//! Our `id_token`s (OpenID Connect Core section 2): RS256, as SMART App Launch 2.2 asks of every server.

use serde::Serialize;

use super::jws::encode;
use super::signing_key::{IdTokenKey, SignError};
use crate::secret::Digest;

/// The claims of an `id_token`.
#[derive(Clone, Debug, Serialize)]
pub struct IdTokenClaims {
    /// Our issuer, equal to `issuer` of the discovery documents.
    pub iss: String,
    /// Subject, at most 255 characters; the same as in the access token.
    pub sub: String,
    /// The client.
    pub aud: String,
    /// Seconds since the epoch.
    pub exp: i64,
    /// Seconds since the epoch.
    pub iat: i64,
    /// When the user logged in.
    pub auth_time: i64,
    /// As sent to the authorization endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// See [`at_hash`].
    pub at_hash: String,
    /// Absolute URL of the user's resource, when the scope `fhirUser` was granted.
    #[serde(rename = "fhirUser", skip_serializing_if = "Option::is_none")]
    pub fhir_user: Option<String>,
}

impl IdTokenClaims {
    /// Signs an `id_token`.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, key: &IdTokenKey) -> Result<String, SignError> {
        key.sign("JWT", self)
    }
}

/// `at_hash` for RS256 and ES256: the left half of the SHA-256 of the access token (OpenID Connect Core section 3.1.3.6).
#[must_use]
pub fn at_hash(access_token: &str) -> String {
    let Digest(digest) = Digest::of(access_token);
    let (left, _) = digest.split_at(digest.len() / 2);
    encode(left)
}

#[cfg(test)]
mod tests {
    #[test]
    fn at_hash_is_that_of_the_openid_connect_core_example() {
        // OpenID Connect Core 1.0, appendix A.3.
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(super::at_hash(token), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
