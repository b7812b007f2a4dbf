//! Client assertions (RFC 7523 section 3, SMART App Launch 2.2 "asymmetric (private key JWT) client authentication").
//!
//! Takes the text of an assertion, gives who it says it is; then, with that client's registered keys, gives a verified
//! [`Assertion`]. That its `jti` is new is for the caller to ask of the store, after this.

use serde::Deserialize;

use super::jwk::{AssertionAlgorithm, ClientKeys};
use super::jws::{Jws, KeySetUrl, numeric_date, optional_numeric_date};

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

/// What must hold for an assertion of one client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// What `aud` may be.
    pub audiences: &'a [&'a str],
    /// Where the client registered its keys; what `jku` must be, where it is there.
    pub jwks_uri: Option<&'a str>,
    /// The one algorithm that the client registered, or any that is served.
    pub algorithm: Option<AssertionAlgorithm>,
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
    /// Reads an assertion: type `JWT` or `client-authentication+jwt`, or none (RFC 7523 asks for none, and strict OAuth clients
    /// send none; SMART clients send `JWT`), `iss` equal to `sub`, one `aud` that is a string, `exp`,
    /// `jti`; `iat` and `nbf` may be absent.
    ///
    /// # Errors
    /// It is not of that form, or its header brings a key along. A `jku` is left to [`Self::check`].
    pub fn parse(assertion: &'a str) -> Result<Self, NotProven> {
        let jws = Jws::parse_with_jku(assertion).ok_or(NotProven)?;
        let typ = jws.header.typ.as_deref().unwrap_or("JWT");
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

    /// The name of the key that it says it was signed with.
    ///
    /// # Errors
    /// There is none (SMART App Launch 2.2 requires `kid`).
    pub fn kid(&self) -> Result<&str, NotProven> {
        self.jws.header.kid.as_deref().filter(|kid| !kid.is_empty()).ok_or(NotProven)
    }

    /// All that can be checked without a key: algorithm, `kid`, `jku`, audience, and the lifetime at `now` (seconds since the
    /// epoch). To be asked before keys are fetched for it.
    ///
    /// # Errors
    /// One of them fails.
    pub fn check(&self, expected: &Expected<'_>, now: i64) -> Result<(), NotProven> {
        let Self { jws, claims } = self;
        self.kid()?;
        let algorithm = AssertionAlgorithm::ALL.into_iter().find(|known| known.name() == jws.header.alg);
        let algorithm = algorithm.filter(|algorithm| expected.algorithm.is_none_or(|only| only == *algorithm));
        let keys_registered = match &jws.header.jku {
            KeySetUrl::Absent => true,
            KeySetUrl::Named(url) => expected.jwks_uri == Some(url.as_str()),
            KeySetUrl::Unusable => false,
        };
        let timely = claims.exp > now
            && claims.exp <= now + LIFETIME + SKEW
            && claims.nbf.is_none_or(|not_before| not_before <= now + SKEW)
            && claims.iat.is_none_or(|issued| issued <= now + SKEW);
        let for_us = expected.audiences.contains(&claims.aud.as_str());
        if algorithm.is_some() && keys_registered && timely && for_us { Ok(()) } else { Err(NotProven) }
    }

    /// Refuses it with the work of [`Self::verify`]: for a client that is not there or has no keys.
    #[must_use]
    pub fn refuse(self, expected: &Expected<'_>, now: i64) -> NotProven {
        if self.check(expected, now).is_ok() {
            ClientKeys::pretend(&self.jws);
        }
        NotProven
    }

    /// [`Self::check`], and that one of `keys` made the signature.
    ///
    /// # Errors
    /// One of them fails.
    pub fn verify(self, keys: &ClientKeys, expected: &Expected<'_>, now: i64) -> Result<Assertion, NotProven> {
        self.check(expected, now)?;
        let Self { jws, claims } = self;
        if !keys.signed(&jws) {
            return Err(NotProven);
        }
        Ok(Assertion { client_id: claims.iss, jti: claims.jti, expires: claims.exp })
    }
}

#[cfg(test)]
pub(crate) mod tests;
