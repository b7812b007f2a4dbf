//! Compact JWS (RFC 7515 section 3.1), taken apart strictly before any signature is checked.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// Longest token that is looked at, in bytes.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// A JWS that is well-formed and asks for nothing that is not given here. Nothing in it is trusted yet.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    pub(super) header: Header,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

/// The header parameters that are read.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    #[serde(default)]
    crit: Presence,
    #[serde(default)]
    pub(super) jku: KeySetUrl,
    #[serde(default)]
    jwk: Presence,
    #[serde(default)]
    x5u: Presence,
    #[serde(default)]
    x5c: Presence,
    #[serde(default)]
    b64: Presence,
    #[serde(default)]
    zip: Presence,
    #[serde(default)]
    enc: Presence,
}

/// Whether a member is there, `null` included.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    #[default]
    Absent,
    Present,
}

/// The header parameter `jku` (RFC 7515 section 4.1.2), which is compared where it may be there and never fetched.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<serde_json::Value>")]
pub(super) enum KeySetUrl {
    /// Not there.
    #[default]
    Absent,
    /// As written.
    Named(String),
    /// There, and no string.
    Unusable,
}

impl From<Option<serde_json::Value>> for KeySetUrl {
    fn from(value: Option<serde_json::Value>) -> Self {
        match value {
            Some(serde_json::Value::String(url)) => Self::Named(url),
            _ => Self::Unusable,
        }
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self::Present)
    }
}

impl<'a> Jws<'a> {
    /// Takes `token` apart. `None`: too long, not three parts, not a JSON object in the header, a member of it doubled, or a
    /// parameter that brings a key along (`jwk`, `jku`, `x5u`, `x5c`) or changes the meaning (`crit`, `b64`, `zip`, `enc`).
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        Self::parse_up_to(token, MAX_BYTES)
    }

    /// As [`Self::parse`], with another limit of length.
    pub(super) fn parse_up_to(token: &'a str, bytes: usize) -> Option<Self> {
        let (jws, _) = Self::take_apart(token, bytes)?;
        (jws.header.jwk == Presence::Absent && jws.header.jku == KeySetUrl::Absent).then_some(jws)
    }

    /// As [`Self::parse`], for the one kind of JWS that proves possession of a key and so must bring it along: the header
    /// and its `jwk` (RFC 9449 section 4.2).
    pub(super) fn parse_with_key<K: DeserializeOwned>(token: &'a str) -> Option<(Self, K)> {
        #[derive(Deserialize)]
        struct Bringing<K> {
            jwk: K,
        }
        let (jws, encoded_header) = Self::take_apart(token, MAX_BYTES)?;
        let Bringing { jwk } = decode(encoded_header)?;
        (jws.header.jku == KeySetUrl::Absent).then_some((jws, jwk))
    }

    /// As [`Self::parse`], for the kind of JWS whose header may say by `jku` where its key is registered: the caller must
    /// compare it.
    pub(super) fn parse_with_jku(token: &'a str) -> Option<Self> {
        let (jws, _) = Self::take_apart(token, MAX_BYTES)?;
        (jws.header.jwk == Presence::Absent).then_some(jws)
    }

    /// The parts of `token`, `jwk` and `jku` still to be looked at, and its header as it is encoded.
    fn take_apart(token: &'a str, bytes: usize) -> Option<(Self, &'a str)> {
        if token.len() > bytes {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (encoded_header, payload) = signed.split_once('.')?;
        if payload.contains('.') || signature.is_empty() {
            return None;
        }
        let header: Header = decode(encoded_header)?;
        header.is_understood().then_some((Self { header, signed, payload, signature }, encoded_header))
    }

    /// Whether the signature is `key`'s by `algorithm`, and the header says so too.
    pub(super) fn is_signed_by(&self, key: &DecodingKey, algorithm: Algorithm) -> bool {
        self.header.alg == name(algorithm)
            && jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm).unwrap_or(false)
    }

    /// The claims; `None` when they are not of this form.
    pub(super) fn claims<T: DeserializeOwned>(&self) -> Option<T> {
        decode(self.payload)
    }
}

impl Header {
    /// Whether it brings no key along but perhaps by `jwk` or `jku`, and nothing changes the meaning.
    fn is_understood(&self) -> bool {
        [&self.crit, &self.x5u, &self.x5c, &self.b64, &self.zip, &self.enc]
            .into_iter()
            .all(|parameter| *parameter == Presence::Absent)
    }
}

/// The `alg` value of the algorithms used here (RFC 7518 section 3.1); empty for all others, which no header equals.
pub(super) const fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        _ => "",
    }
}

/// `base64url(bytes)` without padding (RFC 7515 section 2).
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A `NumericDate` (RFC 7519 section 2) in whole seconds; a fraction is cut off.
pub(super) fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    whole_seconds(&number)
        .ok_or_else(|| serde::de::Error::custom("a NumericDate within a 64-bit count of seconds is expected"))
}

/// As [`numeric_date`], for claims that may be absent.
pub(super) fn optional_numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    numeric_date(deserializer).map(Some)
}

fn whole_seconds(number: &serde_json::Number) -> Option<i64> {
    const LIMIT: f64 = 253_402_300_800.0; // the year 10000
    if let Some(seconds) = number.as_i64() {
        return Some(seconds);
    }
    let seconds = number.as_f64().filter(|seconds| seconds.abs() < LIMIT)?.floor();
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and within the limit above")]
    Some(seconds as i64)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use proptest::prelude::*;

    use super::*;

    fn jws(header: &str) -> String {
        format!("{}.{}.{}", encode(header), encode("{}"), encode("signature"))
    }

    #[test]
    fn a_header_that_brings_a_key_or_must_be_understood_is_refused() {
        assert!(Jws::parse(&jws(r#"{"alg":"ES256","typ":"at+jwt","x-unknown":1}"#)).is_some());
        for member in ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"] {
            for value in ["null", "false", "\"a\"", "[]", "{}"] {
                let header = format!(r#"{{"alg":"ES256","{member}":{value}}}"#);
                assert!(Jws::parse(&jws(&header)).is_none(), "{header}");
            }
        }
    }

    #[test]
    fn what_is_not_three_parts_of_strict_base64url_is_refused() {
        let good = jws(r#"{"alg":"ES256"}"#);
        assert!(Jws::parse(&good).is_some());
        let (rest, _) = good.rsplit_once('.').unwrap();
        for bad in [
            String::new(),
            "..".to_owned(),
            rest.to_owned(),
            format!("{rest}."),
            format!("{good}.x"),
            format!("{good}.x.y"),
            jws(r#"{"alg":"ES256","alg":"none"}"#),
            jws(r#"["alg"]"#),
            jws("{}"),
            jws(r#"{"alg":7}"#),
            format!("{}=.e30.AAAA", encode(r#"{"alg":"ES256"}"#)),
            format!("{good}{}", "A".repeat(MAX_BYTES)),
        ] {
            assert!(Jws::parse(&bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,300}", header in ".{0,100}") {
            let _ = Jws::parse(&text);
            if let Some(parsed) = Jws::parse(&jws(&header)) {
                let _ = parsed.claims::<serde_json::Value>();
            }
        }
    }
}
