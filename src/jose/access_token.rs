//! Our access tokens: `at+jwt` (RFC 9068), ES256, at most 4 KiB with everything inside that the request path decides by.

use serde::{Deserialize, Serialize};

use super::jws::Jws;
use super::keys::{Keys, SignError};
use crate::clock::Clock;
use crate::error::TokenProblem;

/// Longest access token that is issued, in bytes; leaves room in the 8 KiB that servers commonly allow a request head.
pub const MAX_ACCESS_TOKEN_BYTES: usize = 4 * 1024;

/// Seconds that a clock of another replica may be ahead when `nbf` and `iat` are checked. `exp` has no leeway.
const AHEAD: i64 = 5;

const TYPE: &str = "at+jwt";

/// The claims of an access token (RFC 9068 section 2.2, and ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenClaims {
    /// Our issuer.
    pub iss: String,
    /// Subject, unique at our issuer: the user name of a built-in user, a digest for a user of another issuer.
    pub sub: String,
    /// The FHIR base.
    pub aud: String,
    /// The client it was issued to.
    pub client_id: String,
    /// Seconds since the epoch.
    pub iat: i64,
    /// Seconds since the epoch; not valid at or after it.
    pub exp: i64,
    /// Not valid before it, where present; seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Unique per token.
    pub jti: String,
    /// Granted scopes, separated by spaces.
    pub scope: String,
    /// Grant id, the unit of revocation.
    pub gid: String,
    /// Launch patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// Launch encounter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encounter: Option<String>,
    /// `Type/id` of the user, whether or not the scope `fhirUser` was granted: policies decide by it.
    #[serde(default, rename = "fhirUser", skip_serializing_if = "Option::is_none")]
    pub fhir_user: Option<String>,
    /// Roles of the policies.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Issuer of the user, when it is not ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_iss: Option<String>,
    /// Subject of the user at `user_iss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_sub: Option<String>,
}

impl AccessTokenClaims {
    /// The user as (iss, sub), whichever issuer vouches for it.
    #[must_use]
    pub fn user(&self) -> (&str, &str) {
        match (&self.user_iss, &self.user_sub) {
            (Some(iss), Some(sub)) => (iss, sub),
            _ => (&self.iss, &self.sub),
        }
    }
}

impl Keys {
    /// Signs an access token.
    ///
    /// # Errors
    /// [`SignError::TooLarge`] when it would exceed [`MAX_ACCESS_TOKEN_BYTES`]: fewer scopes must be granted.
    pub fn sign_access_token(&self, claims: &AccessTokenClaims) -> Result<String, SignError> {
        let token = self.sign_es256(TYPE, claims)?;
        if token.len() > MAX_ACCESS_TOKEN_BYTES {
            return Err(SignError::TooLarge { bytes: token.len() });
        }
        Ok(token)
    }

    /// Checks form, type, signature, `issuer`, `audience` (the FHIR base) and lifetime, in this order. Whether the grant was revoked is the
    /// caller's to ask, for every request, also when it remembers the result of this.
    ///
    /// # Errors
    /// [`TokenProblem::Expired`] for a token that was ours and good once, [`TokenProblem::Invalid`] for all others.
    pub fn verify_access_token(
        &self,
        token: &str,
        issuer: &str,
        audience: &str,
        clock: &Clock,
    ) -> Result<AccessTokenClaims, TokenProblem> {
        let jws = Jws::parse(token).ok_or(TokenProblem::Invalid)?;
        if jws.header.typ.as_deref() != Some(TYPE) || !self.signed_es256(&jws) {
            return Err(TokenProblem::Invalid);
        }
        let claims: AccessTokenClaims = jws.claims().ok_or(TokenProblem::Invalid)?;
        let required = [&claims.sub, &claims.client_id, &claims.jti, &claims.gid];
        if claims.iss != issuer || claims.aud != audience || required.into_iter().any(String::is_empty) {
            return Err(TokenProblem::Invalid);
        }
        let now = clock.unix_seconds();
        if claims.iat > now + AHEAD || claims.nbf.is_some_and(|not_before| not_before > now + AHEAD) {
            return Err(TokenProblem::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenProblem::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
pub(in crate::jose) mod tests;
