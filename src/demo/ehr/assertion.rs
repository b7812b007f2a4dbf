//! The EHR's key and its client assertions (RFC 7523; SMART App Launch 2.2, `client-confidential-asymmetric`).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::json;

use crate::clock::Clock;
use crate::random;

/// Seconds that an assertion is good for; SMART allows 300.
const LIFETIME: i64 = 120;

/// A P-384 key for ES384, made anew at every start of the demonstration.
pub struct EhrKey {
    key: EncodingKey,
    key_id: String,
    jwks: String,
}

/// The claims of an assertion.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
}

impl EhrKey {
    /// A new key; `None` when the library cannot make one.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).ok()?;
        let private = pair.to_pkcs8v1().ok()?;
        // An uncompressed point: 4, then x and y of 48 bytes each (SEC 1, 2.3.3).
        let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(48)?;
        let key_id = random::handle();
        let key = json!({
            "kty": "EC", "crv": "P-384", "use": "sig", "alg": "ES384", "kid": key_id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        let jwks = json!({ "keys": [key] }).to_string();
        Some(Self { key: EncodingKey::from_ec_der(private.as_ref()), key_id, jwks })
    }

    /// The public key as a JWK Set (RFC 7517), for the client's registration.
    #[must_use]
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// A client assertion of `client_id` for `audience`; `None` when it cannot be signed.
    pub(super) fn assertion(&self, client_id: &str, audience: &str, clock: &Clock) -> Option<String> {
        let now = clock.unix_seconds();
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: audience,
            iat: now,
            exp: now + LIFETIME,
            jti: random::handle(),
        };
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES384) };
        jsonwebtoken::encode(&header, &claims, &self.key).ok()
    }
}

impl fmt::Debug for EhrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EhrKey({})", self.key_id)
    }
}
