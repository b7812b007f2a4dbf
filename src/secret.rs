//! Secret bytes: wiped when dropped, compared in constant time, and never printed.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret string (password, client secret, token). `Debug` shows nothing of it and there is no `Display`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text into custody.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself; the name makes every use easy to find in review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in time that depends on the lengths alone.
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// The SHA-256 digest of a high-entropy secret: what the store and the caches keep instead of codes, tokens and client
/// secrets. Human passwords go through argon2id instead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `secret`.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self::of_bytes(secret.as_bytes())
    }

    /// The digest of bytes that need not be text.
    #[must_use]
    pub fn of_bytes(secret: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, secret).as_ref());
        Self(bytes)
    }

    /// What [`Self::to_hex`] wrote; upper case is read too.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The first 128 bits in hexadecimal: names a token in records without being it. Tokens have at least 128 bits of entropy.
    #[must_use]
    pub fn handle(self) -> String {
        let mut hex = self.to_hex();
        hex.truncate(32);
        hex
    }

    /// Lower-case hexadecimal, 64 characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "Digest({first:02x}{second:02x}..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(secret.matches("s3cret"));
        assert!(!secret.matches("s3cret ") && !secret.matches("s3cre") && !secret.matches(""));
    }

    #[test]
    fn a_digest_is_sha256() {
        let hex = Digest::of("abc").to_hex();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::from_hex(&hex), Some(Digest::of("abc")));
        assert_eq!(Digest::of("abc").handle(), "ba7816bf8f01cfea414140de5dae2223");
        assert!(Digest::of("abc").matches(&Digest::of("abc")) && !Digest::of("abc").matches(&Digest::of("abd")));
        assert_eq!(format!("{:?}", Digest::of("abc")), "Digest(ba78..)", "too little to look anything up by");
        for bad in ["", "ba78", &hex.replace('b', "+"), &format!("{hex}00")] {
            assert_eq!(Digest::from_hex(bad), None, "{bad}");
        }
    }
}
