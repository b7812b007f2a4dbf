//! Secret bytes: wiped when dropped, compared in constant time, and never printed.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

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
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
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

/// The 32 bytes of the key file at `path`; made with mode 0600 when there is none.
///
/// # Errors
/// When the file cannot be read or made, has another size, or can be read by others than its owner.
pub fn file_key(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(key) => {
            let mode = std::fs::metadata(path)?.permissions().mode();
            if key.len() != 32 || mode & 0o077 != 0 {
                return Err(io::Error::other("must hold 32 bytes and be readable by its owner alone (mode 0600)"));
            }
            Ok(Zeroizing::new(key))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = Zeroizing::new(crate::random::bytes::<32>().to_vec());
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&key)?;
            file.sync_all()?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(secret.matches("s3cret"));
        assert!(!secret.matches("s3cret "));
    }

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seal.key");
        let made = file_key(&path).unwrap();
        assert_eq!(made.len(), 32);
        assert_eq!(file_key(&path).unwrap(), made);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(file_key(&path).is_err());
    }

    #[test]
    fn a_digest_is_sha256() {
        let hex = Digest::of("abc").to_hex();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
