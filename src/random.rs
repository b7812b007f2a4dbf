//! Entropy, in one place: the operating system's generator through aws-lc-rs.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` random bytes.
///
/// # Panics
/// Never in practice: the process ends when the operating system has no entropy, since nothing here is safe without it.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        std::process::abort();
    }
    bytes
}

/// An unguessable handle of 256 bits in base64url, 43 characters of `[A-Za-z0-9_-]`, which pass unencoded through forms,
/// headers and URLs (real clients send codes without encoding them).
#[must_use]
pub fn handle() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// The id of a request that brought none: 96 bits, unique and no secret.
#[must_use]
pub fn request_id() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<12>())
}

/// The id of a client that registers: 128 random bits in hex, unique, and easy to type after an option of a command.
#[must_use]
pub fn client_id() -> String {
    use std::fmt::Write as _;
    bytes::<16>().into_iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn handles_are_long_url_safe_and_different() {
        let (a, b) = (handle(), handle());
        assert_ne!(a, b);
        assert_eq!(a.len(), 43);
        assert!(a.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn every_character_of_what_is_made_is_left_to_chance() {
        for make in [handle, request_id, client_id] {
            let made: Vec<String> = (0..64).map(|_| make()).collect();
            for place in 0..made[0].len() {
                // The last ones of base64 carry fewer bits; that all are alike is still as good as impossible.
                assert!(
                    made.iter().any(|one| one.as_bytes()[place] != made[0].as_bytes()[place]),
                    "{place} of {made:?}"
                );
            }
        }
        let lengths = (handle().len(), request_id().len(), client_id().len());
        assert_eq!(lengths, (43, 16, 32), "256, 96 and 128 bits");
        assert!(client_id().bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
