//! Public keys of clients as JWK Sets (RFC 7517), and the names of keys (RFC 7638).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::jws::{Jws, encode};
use crate::secret::Digest;

/// The keys of one client that can check its assertions: RS384 and ES384, as SMART App Launch 2.2 names them.
#[derive(Debug, Default)]
pub struct ClientKeys(Vec<ClientKey>);

#[derive(Debug)]
struct ClientKey {
    kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Why a JWK Set cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwksProblem {
    /// Not a JSON object with an array `keys` of objects with `kty` and `kid`.
    NotAJwkSet,
    /// A private or symmetric key; it must be considered disclosed.
    PrivateKey,
    /// The same `kid` twice.
    KidTwice,
    /// No key that RS384 (RSA of 2048 bits or more) or ES384 (P-384) can use.
    NoUsableKey,
}

impl std::fmt::Display for JwksProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAJwkSet => "it must be a JSON object with an array `keys` of keys with `kty` and `kid`",
            Self::PrivateKey => "it must hold public keys alone; the private or symmetric one in it is disclosed now",
            Self::KidTwice => "each `kid` must occur once",
            Self::NoUsableKey => "it must hold a key for RS384 (RSA of 2048 bits or more) or ES384 (P-384)",
        })
    }
}

impl ClientKeys {
    /// Reads a JWK Set. Members that are not known are ignored, and so are keys for other algorithms.
    ///
    /// # Errors
    /// [`JwksProblem`]
    pub fn parse(jwks: &str) -> Result<Self, JwksProblem> {
        let set: JwkSet = serde_json::from_str(jwks).map_err(|_| JwksProblem::NotAJwkSet)?;
        let mut kids: Vec<&str> = Vec::new();
        for jwk in &set.keys {
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err(JwksProblem::PrivateKey);
            }
            if kids.contains(&jwk.kid.as_str()) {
                return Err(JwksProblem::KidTwice);
            }
            kids.push(&jwk.kid);
        }
        let keys: Vec<ClientKey> = set.keys.iter().filter_map(Jwk::usable).collect();
        if keys.is_empty() { Err(JwksProblem::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// Whether the key that the header's `kid` names made the signature, by that key's own algorithm.
    pub(super) fn signed(&self, jws: &Jws<'_>) -> bool {
        let Some(kid) = jws.header.kid.as_deref() else { return false };
        self.0.iter().find(|key| key.kid == kid).is_some_and(|key| jws.is_signed_by(&key.key, key.algorithm))
    }
}

/// The thumbprint of an EC key (RFC 7638 section 3) in base64url; `x` and `y` as in its JWK.
#[must_use]
pub fn ec_thumbprint(crv: &str, x: &str, y: &str) -> String {
    encode(Digest::of(&format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)).0)
}

/// The thumbprint of an RSA key (RFC 7638 section 3) in base64url; `n` and `e` as in its JWK.
#[must_use]
pub fn rsa_thumbprint(n: &str, e: &str) -> String {
    encode(Digest::of(&format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)).0)
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

impl Jwk {
    fn usable(&self) -> Option<ClientKey> {
        if self.public_key_use.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (name, algorithm, key) = match self.kty.as_str() {
            "RSA" => ("RS384", Algorithm::RS384, self.rsa()?),
            "EC" => ("ES384", Algorithm::ES384, self.p384()?),
            _ => return None,
        };
        let fits = self.alg.as_deref().is_none_or(|alg| alg == name);
        fits.then(|| ClientKey { kid: self.kid.clone(), algorithm, key })
    }

    fn rsa(&self) -> Option<DecodingKey> {
        let (n, e) = (bytes(self.n.as_deref())?, bytes(self.e.as_deref())?);
        let modulus = n.iter().skip_while(|byte| **byte == 0).count();
        (256..=1024).contains(&modulus).then(|| DecodingKey::from_rsa_raw_components(&n, &e))
    }

    fn p384(&self) -> Option<DecodingKey> {
        let (x, y) = (bytes(self.x.as_deref())?, bytes(self.y.as_deref())?);
        if self.crv.as_deref() != Some("P-384") || x.len() != 48 || y.len() != 48 {
            return None;
        }
        Some(DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
    }
}

fn bytes(encoded: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(encoded?).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_the_rfc_7638_example() {
        // RFC 7638 section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(rsa_thumbprint(n, "AQAB"), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_jwk_set_with_private_or_doubled_or_no_usable_keys_is_refused() {
        let problem = |jwks: &str| ClientKeys::parse(jwks).unwrap_err();
        assert_eq!(problem("[]"), JwksProblem::NotAJwkSet);
        assert_eq!(problem(r#"{"keys":[{"kty":"EC"}]}"#), JwksProblem::NotAJwkSet);
        assert_eq!(problem(r#"{"keys":[]}"#), JwksProblem::NoUsableKey);
        assert_eq!(problem(r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#), JwksProblem::NoUsableKey);
        assert_eq!(problem(r#"{"keys":[{"kty":"oct","kid":"a","k":"AQAB"}]}"#), JwksProblem::PrivateKey);
        assert_eq!(problem(r#"{"keys":[{"kty":"EC","kid":"a","d":"AQAB"}]}"#), JwksProblem::PrivateKey);
        let twice = r#"{"keys":[{"kty":"EC","kid":"a"},{"kty":"RSA","kid":"a"}]}"#;
        assert_eq!(problem(twice), JwksProblem::KidTwice);
    }
}
