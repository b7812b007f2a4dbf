//! Our access tokens: `at+jwt` (RFC 9068), ES256, at most 4 KiB with everything inside that the request path decides by.

use serde::{Deserialize, Serialize};

use super::jws::Jws;
use super::signing_key::{AccessTokenKey, SignError};

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
    /// The key whose possession must be proven with each use; none for a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// Why a text is no access token of ours that is good now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessTokenProblem {
    /// Signature, issuer, audience, type or form.
    Invalid,
    /// Past its `exp`.
    Expired,
}

/// `cnf` (RFC 7800 section 3.1). A method of confirmation that is not known makes the token unusable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// Thumbprint of the key of the DPoP proofs (RFC 9449 section 6.1), base64url.
    pub jkt: String,
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

    /// Signs an access token.
    ///
    /// # Errors
    /// [`SignError::TooLarge`] when it would exceed [`MAX_ACCESS_TOKEN_BYTES`]: fewer scopes must be granted.
    pub fn sign(&self, key: &AccessTokenKey) -> Result<String, SignError> {
        let token = key.sign(TYPE, self)?;
        if token.len() > MAX_ACCESS_TOKEN_BYTES {
            return Err(SignError::TooLarge { bytes: token.len() });
        }
        Ok(token)
    }

    /// Checks form, type, signature by the one of `keys` that the token names, issuer, audience (the FHIR base) and lifetime at
    /// `now` (seconds since the epoch), in this order. Whether the grant was revoked is the caller's to ask, for every request,
    /// also when it remembers the result of this.
    ///
    /// # Errors
    /// [`AccessTokenProblem::Expired`] for a token that was ours and good once, [`AccessTokenProblem::Invalid`] for all others.
    pub fn verify<'k>(
        token: &str,
        mut keys: impl Iterator<Item = &'k AccessTokenKey>,
        (issuer, audience): (&str, &str),
        now: i64,
    ) -> Result<Self, AccessTokenProblem> {
        let jws = Jws::parse(token).ok_or(AccessTokenProblem::Invalid)?;
        let named = jws.header.kid.as_deref().and_then(|kid| keys.find(|key| key.kid() == kid));
        if jws.header.typ.as_deref() != Some(TYPE) || !named.is_some_and(|key| key.signed(&jws)) {
            return Err(AccessTokenProblem::Invalid);
        }
        let claims: Self = jws.claims().ok_or(AccessTokenProblem::Invalid)?;
        let required = [&claims.sub, &claims.client_id, &claims.jti, &claims.gid];
        if claims.iss != issuer || claims.aud != audience || required.into_iter().any(String::is_empty) {
            return Err(AccessTokenProblem::Invalid);
        }
        if claims.iat > now + AHEAD || claims.nbf.is_some_and(|not_before| not_before > now + AHEAD) {
            return Err(AccessTokenProblem::Invalid);
        }
        if claims.exp <= now {
            return Err(AccessTokenProblem::Expired);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests;
