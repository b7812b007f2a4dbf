//! Client assertions (RFC 7523 section 3, SMART App Launch 2.2 "asymmetric (private key JWT) client authentication").
//!
//! Takes the text of an assertion, gives who it says it is; then, with that client's registered keys, gives a verified
//! [`Assertion`]. That its `jti` is new is for the caller to ask of the store, after this.

use serde::Deserialize;

use super::jwk::ClientKeys;
use super::jws::{Jws, numeric_date, optional_numeric_date};

/// Longest lifetime of an assertion from now, in seconds.
const LIFETIME: i64 = 300;

/// Seconds by which the client's clock may be ahead.
pub const SKEW: i64 = 30;

/// A well-formed assertion whose signature has not been checked.
#[derive(Debug)]
pub struct Unverified<'a> {
    jws: Jws<'a>,
    claims: Claims,
}

/// An assertion that the client made, for us, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// `iss`, equal to `sub`.
    pub client_id: String,
    /// Unique per client.
    pub jti: String,
    /// Seconds since the epoch; [`SKEW`] later no copy of it is accepted.
    pub expires: i64,
}

/// The assertion proves nothing. Why is told to nobody: all reasons get the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotProven;

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    #[serde(deserialize_with = "numeric_date")]
    exp: i64,
    #[serde(default, deserialize_with = "optional_numeric_date")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "optional_numeric_date")]
    iat: Option<i64>,
    jti: String,
}

impl<'a> Unverified<'a> {
    /// Reads an assertion: type `JWT` or `client-authentication+jwt`, `iss` equal to `sub`, one `aud` that is a string, `exp`,
    /// `jti`; `iat` and `nbf` may be absent.
    ///
    /// # Errors
    /// It is not of that form, or its header brings a key along.
    pub fn parse(assertion: &'a str) -> Result<Self, NotProven> {
        let jws = Jws::parse(assertion).ok_or(NotProven)?;
        let typ = jws.header.typ.as_deref().ok_or(NotProven)?;
        if !["JWT", "client-authentication+jwt"].into_iter().any(|known| typ.eq_ignore_ascii_case(known)) {
            return Err(NotProven);
        }
        let claims: Claims = jws.claims().ok_or(NotProven)?;
        let usable = claims.iss == claims.sub && !claims.iss.is_empty() && !claims.jti.trim().is_empty();
        if usable { Ok(Self { jws, claims }) } else { Err(NotProven) }
    }

    /// Who it says it is: where to find the keys, nothing more.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.claims.iss
    }

    /// Checks the signature, that it is for one of `audiences`, and its lifetime at `now` (seconds since the epoch).
    ///
    /// # Errors
    /// One of them fails.
    pub fn verify(self, keys: &ClientKeys, audiences: &[&str], now: i64) -> Result<Assertion, NotProven> {
        let Self { jws, claims } = self;
        let timely = claims.exp > now
            && claims.exp <= now + LIFETIME + SKEW
            && claims.nbf.is_none_or(|not_before| not_before <= now + SKEW)
            && claims.iat.is_none_or(|issued| issued <= now + SKEW);
        if !keys.signed(&jws) || !audiences.contains(&claims.aud.as_str()) || !timely {
            return Err(NotProven);
        }
        Ok(Assertion { client_id: claims.iss, jti: claims.jti, expires: claims.exp })
    }
}

#[cfg(test)]
pub(crate) mod tests;
