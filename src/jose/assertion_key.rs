//! The key by which we authenticate as a client of somebody else's token endpoint: `private_key_jwt` (RFC 7523 section 3,
//! OpenID Connect Core section 9).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::jwk::{ec_thumbprint, rsa_thumbprint};
use super::jws::encode;
use crate::secret::Secret;

/// A private key with its algorithm, and the thumbprint (RFC 7638) by which assertions name it.
pub struct AssertionKey {
    pair: Pair,
    kid: String,
}

enum Pair {
    Ec(EcdsaKeyPair, &'static str),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AssertionKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// What an assertion says.
#[derive(Clone, Copy, Debug)]
pub struct AssertionClaims<'a> {
    /// `iss` and `sub`
    pub client_id: &'a str,
    /// `aud`
    pub audience: &'a str,
    /// Seconds since the epoch.
    pub now: i64,
    /// Seconds until `exp`.
    pub lifetime: i64,
    /// `jti`
    pub id: &'a str,
}

impl AssertionKey {
    /// Reads a PKCS#8 key in PEM: P-256 (ES256), P-384 (ES384), or RSA (RS256).
    #[must_use]
    pub fn parse(pem: &Secret) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).ok()?;
        let der = der.secret_pkcs8_der();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            let kid = ec_kid("P-256", pair.public_key().as_ref())?;
            return Some(Self { pair: Pair::Ec(pair, "ES256"), kid });
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der) {
            let kid = ec_kid("P-384", pair.public_key().as_ref())?;
            return Some(Self { pair: Pair::Ec(pair, "ES384"), kid });
        }
        let pair = RsaKeyPair::from_pkcs8(der).ok()?;
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let kid = rsa_thumbprint(&encode(&public.n), &encode(&public.e));
        Some(Self { pair: Pair::Rsa(pair), kid })
    }

    /// The thumbprint of the public key.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs an assertion; `None` when the key cannot sign.
    #[must_use]
    pub fn sign(&self, claims: AssertionClaims<'_>) -> Option<String> {
        let alg = match &self.pair {
            Pair::Ec(_, alg) => alg,
            Pair::Rsa(_) => "RS256",
        };
        let header = json!({ "alg": alg, "typ": "JWT", "kid": self.kid });
        let claims = json!({
            "iss": claims.client_id, "sub": claims.client_id, "aud": claims.audience, "jti": claims.id,
            "iat": claims.now, "exp": claims.now.saturating_add(claims.lifetime),
        });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match &self.pair {
            Pair::Ec(pair, _) => pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
                signature
            }
        };
        Some(format!("{signed}.{}", encode(signature)))
    }
}

fn ec_kid(curve: &str, point: &[u8]) -> Option<String> {
    let (4, coordinates) = point.split_first()? else { return None };
    let (x, y) = coordinates.split_at_checked(coordinates.len() / 2)?;
    Some(ec_thumbprint(curve, &encode(x), &encode(y)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::super::jws::Jws;
    use super::*;

    #[test]
    fn an_assertion_verifies_with_the_public_key_of_its_curve() {
        super::super::install_provider();
        for (kind, alg) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, jsonwebtoken::Algorithm::ES256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, jsonwebtoken::Algorithm::ES384),
        ] {
            let pair = rcgen::KeyPair::generate_for(kind).unwrap();
            let key = AssertionKey::parse(&Secret::new(pair.serialize_pem())).unwrap();
            let claims = AssertionClaims {
                client_id: "c",
                audience: "https://idp.example/token",
                now: 1,
                lifetime: 60,
                id: "j",
            };
            let token = key.sign(claims).unwrap();
            let jws = Jws::parse(&token).unwrap();
            assert_eq!(jws.header.kid.as_deref(), Some(key.kid()));
            assert!(jws.is_signed_by(&jsonwebtoken::DecodingKey::from_ec_der(pair.public_key_raw()), alg));
            let said: serde_json::Value = jws.claims().unwrap();
            let claim = |name: &str| said.get(name).cloned().unwrap();
            assert_eq!((claim("iss"), claim("sub"), claim("exp")), (json!("c"), json!("c"), json!(61)));
        }
        assert!(
            AssertionKey::parse(&Secret::new("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----")).is_none()
        );
    }
}
