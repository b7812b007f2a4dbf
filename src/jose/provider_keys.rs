//! The public keys of an OpenID provider, and the signatures of its ID tokens.
//!
//! Takes the provider's JWK Set (RFC 7517); gives the claims of a token that one of its keys signed. Promises: the algorithm
//! is one that fits the key, and the very one where the key names it; `none` and the symmetric algorithms fit no key (RFC
//! 8725 sections 2.1, 3.1). Whose token it is, and whether it still holds, is for the caller.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jws::{Jws, name};

/// Longest ID token that is looked at, in bytes: some providers list every group of the person.
const MAX_TOKEN: usize = 48 * 1024;
/// Keys of a set that are looked at.
const MAX_KEYS: usize = 100;
/// What an RSA key may be used with.
const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// The keys of one provider that can check signatures.
#[derive(Debug, Default)]
pub struct ProviderKeys(Vec<ProviderKey>);

#[derive(Debug)]
struct ProviderKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A token whose signature is right.
#[derive(Debug)]
pub struct Signed {
    /// What it says; nothing of it has been checked.
    pub claims: Map<String, Value>,
    /// By which algorithm.
    pub algorithm: Algorithm,
}

/// Why a token is not taken for signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureProblem {
    /// Not a JWS of three parts with a JSON object inside, too long, of another `typ`, or bringing its own key.
    Malformed,
    /// No key of this `kid`: perhaps the provider has a new one.
    UnknownKey,
    /// The key does not go with this algorithm.
    Algorithm,
    /// The signature is not the key's.
    Signature,
}

impl ProviderKeys {
    /// Reads a JWK Set; keys that cannot check signatures are left out. `None`: it is no JWK Set.
    #[must_use]
    pub fn parse(jwks: &[u8]) -> Option<Self> {
        let set: JwkSet = serde_json::from_slice(jwks).ok()?;
        let keys = set.keys.into_iter().take(MAX_KEYS);
        Some(Self(keys.filter_map(|jwk| serde_json::from_value::<Jwk>(jwk).ok()?.usable()).collect()))
    }

    /// How many of them there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the signature of `token`, whose `typ` is one of `types` or not said.
    ///
    /// # Errors
    /// [`SignatureProblem`]
    pub fn verify(&self, token: &str, types: &[&str]) -> Result<Signed, SignatureProblem> {
        let jws = Jws::parse_up_to(token, MAX_TOKEN).ok_or(SignatureProblem::Malformed)?;
        let is_type = |typ: &str| types.iter().any(|known| known.eq_ignore_ascii_case(typ));
        if jws.header.typ.as_deref().is_some_and(|typ| !is_type(typ)) {
            return Err(SignatureProblem::Malformed);
        }
        let named: Vec<&ProviderKey> = match &jws.header.kid {
            Some(kid) => self.0.iter().filter(|key| key.kid.as_ref() == Some(kid)).collect(),
            // Without a name there must be no choice (OpenID Connect Core section 10.1).
            None if self.0.len() == 1 => self.0.iter().collect(),
            None => Vec::new(),
        };
        if named.is_empty() {
            return Err(SignatureProblem::UnknownKey);
        }
        let fitting = |key: &&ProviderKey| key.algorithms.iter().copied().find(|alg| name(*alg) == jws.header.alg);
        let mut fitting = named.iter().filter_map(|key| fitting(key).map(|algorithm| (key, algorithm))).peekable();
        if fitting.peek().is_none() {
            return Err(SignatureProblem::Algorithm);
        }
        let (_, algorithm) = fitting
            .find(|(key, algorithm)| jws.is_signed_by(&key.key, *algorithm))
            .ok_or(SignatureProblem::Signature)?;
        let claims = jws.claims().ok_or(SignatureProblem::Malformed)?;
        Ok(Signed { claims, algorithm })
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Jwk {
    fn usable(self) -> Option<ProviderKey> {
        let for_signatures = self.public_key_use.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let (mut algorithms, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (RSA.to_vec(), self.rsa()?),
            ("EC", Some("P-256")) => (vec![Algorithm::ES256], self.point(32)?),
            ("EC", Some("P-384")) => (vec![Algorithm::ES384], self.point(48)?),
            _ => return None,
        };
        if let Some(alg) = &self.alg {
            algorithms.retain(|algorithm| name(*algorithm) == alg);
        }
        (!algorithms.is_empty()).then_some(ProviderKey { kid: self.kid, algorithms, key })
    }

    /// RSA of 2048 to 8192 bits.
    fn rsa(&self) -> Option<DecodingKey> {
        let (n, e) = (bytes(self.n.as_deref())?, bytes(self.e.as_deref())?);
        let modulus = n.iter().skip_while(|byte| **byte == 0).count();
        (256..=1024).contains(&modulus).then(|| DecodingKey::from_rsa_raw_components(&n, &e))
    }

    fn point(&self, length: usize) -> Option<DecodingKey> {
        let (x, y) = (bytes(self.x.as_deref())?, bytes(self.y.as_deref())?);
        (x.len() == length && y.len() == length)
            .then(|| DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
    }
}

fn bytes(encoded: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(encoded?).ok()
}

#[cfg(test)]
mod tests;
