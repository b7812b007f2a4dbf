//! Public keys of clients as JWK Sets (RFC 7517), and the names of keys (RFC 7638).

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::jws::{Jws, encode, name};
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

/// The algorithms that a client may sign its assertions with (SMART App Launch 2.2, "asymmetric (private key JWT) client
/// authentication").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssertionAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-384
    Rs384,
    /// ECDSA with P-384 and SHA-384
    Es384,
}

impl AssertionAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Rs384, Self::Es384];

    /// The value of `alg` (RFC 7518 section 3.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs384 => "RS384",
            Self::Es384 => "ES384",
        }
    }
}

/// Most keys of a set that is fetched.
const MOST_KEYS: usize = 64;

/// Keys of nobody: the generator of P-384, and the example of RFC 7638. Whoever knows their private halves gains nothing, since
/// what they verify is thrown away.
static NOBODYS: LazyLock<ClientKeys> = LazyLock::new(|| {
    let set = format!(
        r#"{{"keys":[{{"kty":"EC","kid":"ec","crv":"P-384","x":"qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3","y":"NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f"}},
            {{"kty":"RSA","kid":"rsa","n":"{EXAMPLE_N}","e":"AQAB"}}]}}"#
    );
    ClientKeys::parse(&set).unwrap_or_default()
});

/// RFC 7638 section 3.1.
const EXAMPLE_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

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
            let kid = jwk.kid.as_deref().ok_or(JwksProblem::NotAJwkSet)?;
            if kids.contains(&kid) {
                return Err(JwksProblem::KidTwice);
            }
            kids.push(kid);
        }
        Self::of(&set)
    }

    /// Reads a JWK Set that was fetched from a client: as [`Self::parse`], but a key without `kid` or with another's is
    /// passed over rather than the whole set, since it is the client's to put right; no more than 64 keys.
    ///
    /// # Errors
    /// [`JwksProblem`]
    pub fn parse_fetched(jwks: &[u8]) -> Result<Self, JwksProblem> {
        let set: JwkSet = serde_json::from_slice(jwks).map_err(|_| JwksProblem::NotAJwkSet)?;
        if set.keys.len() > MOST_KEYS { Err(JwksProblem::NotAJwkSet) } else { Self::of(&set) }
    }

    fn of(set: &JwkSet) -> Result<Self, JwksProblem> {
        if set.keys.iter().any(|jwk| jwk.d.is_some() || jwk.k.is_some()) {
            return Err(JwksProblem::PrivateKey);
        }
        let keys: Vec<ClientKey> = set.keys.iter().filter_map(Jwk::usable).collect();
        if keys.is_empty() { Err(JwksProblem::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// The work of checking a signature, for where there is no key to check it with, so that the time says nothing.
    pub(super) fn pretend(jws: &Jws<'_>) {
        for key in &NOBODYS.0 {
            // INVARIANT: the result is not used.
            let _ = jws.is_signed_by(&key.key, key.algorithm);
        }
    }

    /// Whether there is a key of this `kid`.
    #[must_use]
    pub fn has(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid == kid)
    }

    /// Whether the one key that the header's `kid` names, and that is of the kind its `alg` needs, made the signature. Two
    /// such keys are as bad as none.
    pub(super) fn signed(&self, jws: &Jws<'_>) -> bool {
        let Some(kid) = jws.header.kid.as_deref() else { return false };
        let mut fitting = self.0.iter().filter(|key| key.kid == kid && name(key.algorithm) == jws.header.alg);
        if let (Some(key), None) = (fitting.next(), fitting.next()) {
            return jws.is_signed_by(&key.key, key.algorithm);
        }
        Self::pretend(jws);
        false
    }
}

/// The thumbprint of an EC key (RFC 7638 section 3) in base64url; `x` and `y` as in its JWK.
#[must_use]
pub fn ec_thumbprint(crv: &str, x: &str, y: &str) -> String {
    encode(ec_digest(crv, x, y).0)
}

/// The thumbprint of an RSA key (RFC 7638 section 3) in base64url; `n` and `e` as in its JWK.
#[must_use]
pub fn rsa_thumbprint(n: &str, e: &str) -> String {
    encode(rsa_digest(n, e).0)
}

pub(super) fn ec_digest(crv: &str, x: &str, y: &str) -> Digest {
    Digest::of(&format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#))
}

pub(super) fn rsa_digest(n: &str, e: &str) -> Digest {
    Digest::of(&format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
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
        let kid = self.kid.clone()?;
        fits.then_some(ClientKey { kid, algorithm, key })
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
        assert_eq!(rsa_thumbprint(EXAMPLE_N, "AQAB"), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn nobodys_keys_are_of_both_kinds() {
        assert_eq!(NOBODYS.0.len(), 2);
    }

    // C7, R3
    #[test]
    fn a_fetched_set_is_read_as_far_as_it_is_good() {
        let p384 = |kid: &str| {
            let (x, y) = (encode([1; 48]), encode([2; 48]));
            format!(r#"{{"kty":"EC"{kid},"crv":"P-384","x":"{x}","y":"{y}","ext":true,"key_ops":["verify"]}}"#)
        };
        let set = |keys: &[String]| ClientKeys::parse_fetched(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes());
        let (a, nameless) = (p384(r#","kid":"a""#), p384(""));
        let good = set(&[nameless.clone(), a.clone(), r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#.to_owned()]).unwrap();
        assert!(good.has("a") && !good.has(""));
        assert_eq!(set(&[a.clone(), a.clone()]).unwrap().0.len(), 2, "and none of the two will do");
        assert_eq!(set(&[nameless]).unwrap_err(), JwksProblem::NoUsableKey);
        assert_eq!(set(&vec![a; MOST_KEYS + 1]).unwrap_err(), JwksProblem::NotAJwkSet);
        assert_eq!(set(&[r#"{"kty":"EC","d":"AQAB"}"#.to_owned()]).unwrap_err(), JwksProblem::PrivateKey);
    }

    // C3, C7, R3
    #[test]
    fn a_key_for_another_algorithm_for_encryption_or_too_short_verifies_nothing() {
        let (x, y) = (encode([1; 48]), encode([2; 48]));
        let ec = |more: &str| format!(r#"{{"kty":"EC","kid":"a","crv":"P-384","x":"{x}","y":"{y}"{more}}}"#);
        let rsa = |bytes: usize, more: &str| {
            let n = encode(vec![255; bytes]);
            format!(r#"{{"kty":"RSA","kid":"a","n":"{n}","e":"AQAB"{more}}}"#)
        };
        let usable = |key: &str| ClientKeys::parse(&format!(r#"{{"keys":[{key}]}}"#)).map(|keys| keys.0.len());
        for good in [ec(""), ec(r#","alg":"ES384","use":"sig""#), rsa(256, ""), rsa(256, r#","alg":"RS384""#)] {
            assert_eq!(usable(&good), Ok(1), "{good}");
        }
        for bad in [
            ec(r#","alg":"ES256""#),
            ec(r#","use":"enc""#),
            ec("").replace("P-384", "P-256"),
            rsa(256, r#","alg":"RS256""#),
            rsa(256, r#","use":"enc""#),
            rsa(255, ""),
            rsa(128, ""),
        ] {
            assert_eq!(usable(&bad), Err(JwksProblem::NoUsableKey), "{bad}");
        }
    }

    // R3
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
