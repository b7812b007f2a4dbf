//! DPoP proofs (RFC 9449 section 4): a JWT by which a client shows, for one request, that it holds a key.
//!
//! Takes the text of a `DPoP` header field and what the request is; gives the thumbprint of the key that was proven. Promises:
//! the key is public, of an algorithm that is listed, and made the signature; method, URL, time and, where there is one, the
//! access token are those of this request, and so is the nonce where one is asked for ([`Nonces`]). That the proof is new is for
//! the caller to ask, after this, by [`Proof::id`].

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use url::{Position, Url};

use super::jwk::{ec_digest, rsa_digest};
use super::jws::{Jws, Presence, encode, name, numeric_date, optional_numeric_date};
use crate::secret::Digest;

/// `alg` values that a proof may have (RFC 7518 section 3.1), as metadata and challenges list them.
pub const ALGORITHMS: [&str; 3] = ["ES256", "ES384", "RS256"];

/// Seconds that a proof is good for, from its `iat`.
pub const LIFETIME: i64 = 60;

/// Seconds by which the client's clock may be ahead.
pub const AHEAD: i64 = 10;

/// Longest `jti`, in bytes.
const MAX_ID: usize = 256;

/// The SHA-256 thumbprint of a public key (RFC 7638): what `jkt` and `dpop_jkt` hold. Shown as base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint(Digest);

impl Thumbprint {
    /// Reads 43 characters of base64url.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(|bytes| Self(Digest(bytes)))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(self.0.0))
    }
}

/// The request that a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// `htm`
    pub method: &'a Method,
    /// Scheme, host and port of `htu`.
    pub origin: &'a Url,
    /// Path of `htu`, as it is on the wire.
    pub path: &'a str,
    /// SHA-256 of the access token that comes with it; `None` where none does.
    pub access_token: Option<&'a Digest>,
    /// The key it must be; `None` where any will do.
    pub key: Option<Thumbprint>,
    /// Who knows the nonces, where the proof must have one.
    pub nonces: Option<&'a dyn Nonces>,
    /// Seconds since the epoch.
    pub now: i64,
}

/// Knows the nonces that were given lately (RFC 9449 section 8).
pub trait Nonces: fmt::Debug + Sync {
    /// Whether `nonce` is one of them.
    fn is_good(&self, nonce: &str) -> bool;
}

/// A proof that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The key that was proven.
    pub key: Thumbprint,
    /// Names the proof: key and `jti`. To be accepted once.
    pub id: Digest,
    /// `iat`, seconds since the epoch.
    pub issued: i64,
}

impl Proof {
    /// From when on, in seconds since the epoch, no copy of it is accepted, so that its id may be forgotten.
    #[must_use]
    pub fn expires(&self) -> i64 {
        self.issued.saturating_add(LIFETIME + 1)
    }

    /// Checks everything that RFC 9449 section 4.3 lists but replay.
    ///
    /// # Errors
    /// What is wrong with it, as far as anybody is told.
    pub fn verify(proof: &str, expected: &Expected<'_>) -> Result<Self, ProofProblem> {
        let (jws, jwk): (Jws<'_>, ProofJwk) = Jws::parse_with_key(proof).ok_or(ProofProblem::Invalid)?;
        let key = jwk.key().ok_or(ProofProblem::Invalid)?;
        let claims: Claims = jws.claims().ok_or(ProofProblem::Invalid)?;
        let is_ours = jws.header.typ.as_deref() == Some("dpop+jwt")
            && jws.header.alg == name(key.algorithm)
            && (1..=MAX_ID).contains(&claims.jti.len())
            && claims.htm == expected.method.as_str()
            && is_same_target(&claims.htu, expected)
            && expected.access_token.is_none_or(|token| claims.ath.as_deref() == Some(encode(token.0).as_str()))
            && expected.key.is_none_or(|expected| expected == key.thumbprint);
        if !is_ours {
            return Err(ProofProblem::Invalid);
        }
        if !claims.is_timely(expected.now) {
            return Err(ProofProblem::Untimely);
        }
        if !jws.is_signed_by(&key.key, key.algorithm) {
            return Err(ProofProblem::Invalid);
        }
        if let Some(nonces) = expected.nonces
            && !nonces.is_good(claims.nonce.as_deref().unwrap_or_default())
        {
            return Err(ProofProblem::Nonce);
        }
        let id = Digest::of(&format!("{}{}", key.thumbprint, claims.jti));
        Ok(Self { key: key.thumbprint, id, issued: claims.iat })
    }
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofProblem {
    /// Form, key, signature, method, URL, token, or more than one proof.
    Invalid,
    /// Not made within the last [`LIFETIME`] seconds by our clock: a client learns that its own is wrong.
    Untimely,
    /// It has no nonce of ours, or one that is too old.
    Nonce,
    /// It was used before.
    Replayed,
}

/// The claims that are read.
#[derive(Debug, Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    #[serde(deserialize_with = "numeric_date")]
    iat: i64,
    ath: Option<String>,
    nonce: Option<String>,
    #[serde(default, deserialize_with = "optional_numeric_date")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "optional_numeric_date")]
    exp: Option<i64>,
}

impl Claims {
    fn is_timely(&self, now: i64) -> bool {
        self.iat >= now.saturating_sub(LIFETIME)
            && self.iat <= now.saturating_add(AHEAD)
            && self.nbf.is_none_or(|not_before| not_before <= now.saturating_add(AHEAD))
            && self.exp.is_none_or(|expires| expires > now)
    }
}

/// The public key of a proof (RFC 7517), with the members that must not be there.
#[derive(Deserialize)]
struct ProofJwk {
    kty: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    #[serde(default)]
    d: Presence,
    #[serde(default)]
    p: Presence,
    #[serde(default)]
    q: Presence,
    #[serde(default)]
    dp: Presence,
    #[serde(default)]
    dq: Presence,
    #[serde(default)]
    qi: Presence,
    #[serde(default)]
    oth: Presence,
    #[serde(default)]
    k: Presence,
}

struct ProofKey {
    algorithm: Algorithm,
    key: DecodingKey,
    thumbprint: Thumbprint,
}

impl ProofJwk {
    /// The key, with the one algorithm it is for. `None`: private, of another kind, or not written in its one canonical form,
    /// so that a key has one thumbprint.
    fn key(&self) -> Option<ProofKey> {
        let private = [&self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi, &self.oth, &self.k];
        if private.into_iter().any(|member| *member == Presence::Present) {
            return None;
        }
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => self.ec(Algorithm::ES256, "P-256", 32),
            ("EC", Some("P-384")) => self.ec(Algorithm::ES384, "P-384", 48),
            ("RSA", None) => self.rsa(),
            _ => None,
        }?;
        let fits = self.alg.as_deref().is_none_or(|alg| alg == name(key.algorithm))
            && self.public_key_use.as_deref().is_none_or(|purpose| purpose == "sig");
        fits.then_some(key)
    }

    fn ec(&self, algorithm: Algorithm, crv: &str, coordinate: usize) -> Option<ProofKey> {
        let (x, y) = (self.x.as_deref()?, self.y.as_deref()?);
        let (first, second) = (decode(x)?, decode(y)?);
        if first.len() != coordinate || second.len() != coordinate {
            return None;
        }
        let key = DecodingKey::from_ec_der(&[&[4], first.as_slice(), second.as_slice()].concat());
        Some(ProofKey { algorithm, key, thumbprint: Thumbprint(ec_digest(crv, x, y)) })
    }

    fn rsa(&self) -> Option<ProofKey> {
        let (n, e) = (self.n.as_deref()?, self.e.as_deref()?);
        let (modulus, exponent) = (decode(n)?, decode(e)?);
        let canonical = [&modulus, &exponent].into_iter().all(|number| number.first().is_some_and(|byte| *byte != 0));
        if !canonical || !(256..=512).contains(&modulus.len()) || exponent.len() > 4 {
            return None;
        }
        let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
        Some(ProofKey { algorithm: Algorithm::RS256, key, thumbprint: Thumbprint(rsa_digest(n, e)) })
    }
}

/// Strict: one text per value.
fn decode(encoded: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(encoded).ok()
}

/// Whether `htu` is the URL of this request: normalised as RFC 3986 section 6.2.2 and 6.2.3 say, without query and fragment.
fn is_same_target(htu: &str, expected: &Expected<'_>) -> bool {
    let Ok(claimed) = Url::parse(htu) else { return false };
    let mut here = expected.origin.clone();
    here.set_path(expected.path);
    claimed[..Position::AfterPath] == here[..Position::AfterPath]
}

#[cfg(test)]
pub(crate) mod tests;
