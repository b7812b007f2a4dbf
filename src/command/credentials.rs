//! Fresh credentials, and the forms in which the configuration keeps them.

use argon2::{Argon2, PasswordHasher};

use crate::random;
use crate::secret::Digest;

/// Letters and digits that are not mistaken for one another when they are read aloud or typed.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789-";

/// The argon2id hash of a password as PHC string, with the parameters of the login check.
///
/// # Errors
/// The hash cannot be computed.
pub(super) fn password_hash(password: &str) -> Result<String, String> {
    Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &random::bytes::<16>())
        .map(|hash| hash.to_string())
        .map_err(|error| format!("the password cannot be hashed: {error}"))
}

/// A password of 80 random bits in groups that can be typed.
pub(super) fn password() -> String {
    let mut text = String::new();
    for (position, byte) in random::bytes::<16>().into_iter().enumerate() {
        if position > 0 && position % 4 == 0 {
            text.push('-');
        }
        // 31 characters without the hyphen, which separates; the bias of one in 256 costs nothing here.
        let index = usize::from(byte) % (ALPHABET.len() - 1);
        text.push(ALPHABET.get(index).copied().map_or('x', char::from));
    }
    text
}

/// A client secret of 256 random bits in characters that pass unencoded through forms and headers, and its SHA-256 in hex.
pub(super) fn client_secret() -> (String, String) {
    let secret = random::handle();
    let digest = Digest::of(&secret).to_hex();
    (secret, digest)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use argon2::PasswordHash;
    use argon2::password_hash::PasswordVerifier;

    use super::*;

    #[test]
    fn a_password_verifies_against_its_hash_and_another_does_not() {
        let text = password_hash("correct horse").unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let hash = PasswordHash::new(&text).unwrap();
        assert!(Argon2::default().verify_password(b"correct horse", &hash).is_ok());
        assert!(Argon2::default().verify_password(b"correct hors", &hash).is_err());
        assert_ne!(text, password_hash("correct horse").unwrap(), "the salt differs");
    }

    #[test]
    fn passwords_are_long_typeable_and_different() {
        let (first, second) = (password(), password());
        assert_ne!(first, second);
        assert_eq!(first.len(), 19);
        assert_eq!(first.split('-').count(), 4);
        assert!(first.bytes().all(|byte| ALPHABET.contains(&byte)));
        // Of a thousand characters, one that is left out by chance is one in 10^12.
        let many: String = std::iter::repeat_with(password).take(64).collect();
        assert!(ALPHABET.iter().all(|byte| many.contains(char::from(*byte))), "{many}");
    }

    #[test]
    fn the_digest_of_a_client_secret_is_its_sha256() {
        let (secret, digest) = client_secret();
        assert_eq!(Digest::of(&secret).to_hex(), digest);
        assert_eq!(secret.len(), 43);
    }
}
