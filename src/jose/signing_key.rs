//! The keys that our own tokens are signed with: ES256 for access tokens, RS256 for what clients verify.
//!
//! Takes a private key in PKCS#8; gives its public half as a JWK (RFC 7517) named by its thumbprint (RFC 7638), and signs. Where
//! the keys lie, and which of them signs at what time, is for [`keys`](crate::keys).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Serialize;
use serde_json::{Value, json};

use super::jwk::{ec_thumbprint, rsa_thumbprint};
use super::jws::{Jws, encode, name};

/// A token was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// The access token would be longer than [`super::MAX_ACCESS_TOKEN_BYTES`].
    TooLarge {
        /// How long it would be.
        bytes: usize,
    },
    /// The key or the serialiser failed.
    Failed,
}

/// A key of access tokens.
pub struct AccessTokenKey {
    kid: String,
    pair: EcdsaKeyPair,
    public: DecodingKey,
    jwk: Value,
}

/// A key of `id_token`s and of answers about tokens.
pub struct IdTokenKey {
    kid: String,
    pair: RsaKeyPair,
    jwk: Value,
}

impl AccessTokenKey {
    /// Reads a PKCS#8 key on the curve P-256.
    #[must_use]
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
        let point = pair.public_key().as_ref();
        let (x, y) = match point.split_first() {
            Some((4, coordinates)) if coordinates.len() == 64 => coordinates.split_at(32),
            _ => return None,
        };
        let (x, y) = (encode(x), encode(y));
        let kid = ec_thumbprint("P-256", &x, &y);
        let jwk = json!({ "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256", "x": x, "y": y });
        let public = DecodingKey::from_ec_der(point);
        Some(Self { kid, pair, public, jwk })
    }

    /// Its thumbprint, by which tokens name it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    #[must_use]
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    pub(super) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
        let signed = signed_part(Algorithm::ES256, typ, &self.kid, claims)?;
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| SignError::Failed)?;
        Ok(format!("{signed}.{}", encode(signature)))
    }

    /// Whether it made the signature, by ES256.
    pub(super) fn signed(&self, jws: &Jws<'_>) -> bool {
        jws.is_signed_by(&self.public, Algorithm::ES256)
    }
}

impl IdTokenKey {
    /// Reads a PKCS#8 RSA key of 2048 bits or more.
    #[must_use]
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = RsaKeyPair::from_pkcs8(der).ok()?;
        let components = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let (n, e) = (encode(&components.n), encode(&components.e));
        let kid = rsa_thumbprint(&n, &e);
        let jwk = json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e });
        Some(Self { kid, pair, jwk })
    }

    /// Its thumbprint, by which tokens name it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    #[must_use]
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    pub(super) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
        let signed = signed_part(Algorithm::RS256, typ, &self.kid, claims)?;
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| SignError::Failed)?;
        Ok(format!("{signed}.{}", encode(signature)))
    }
}

/// `base64url(header) . base64url(claims)`
fn signed_part(algorithm: Algorithm, typ: &str, kid: &str, claims: &impl Serialize) -> Result<String, SignError> {
    let header = json!({ "alg": name(algorithm), "typ": typ, "kid": kid });
    let claims = serde_json::to_vec(claims).map_err(|_| SignError::Failed)?;
    Ok(format!("{}.{}", encode(header.to_string()), encode(claims)))
}

/// Without the private half.
impl std::fmt::Debug for AccessTokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessTokenKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Without the private half.
impl std::fmt::Debug for IdTokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdTokenKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}
