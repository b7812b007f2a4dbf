//! Proof Key for Code Exchange (RFC 7636), method S256 alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::secret::Digest;

/// Whether `verifier` is a code verifier (RFC 7636 section 4.1: 43 to 128 unreserved characters) whose SHA-256 is `challenge`.
#[must_use]
pub fn verifier_matches(verifier: &str, challenge: &str) -> bool {
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(is_unreserved);
    let computed = URL_SAFE_NO_PAD.encode(Digest::of(verifier).0);
    well_formed && computed.as_bytes().ct_eq(challenge.as_bytes()).into()
}

/// Whether `challenge` has the form of an S256 challenge: 43 characters that are the base64url of 32 bytes.
#[must_use]
pub fn is_challenge(challenge: &str) -> bool {
    URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|bytes| bytes.len() == 32)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636 appendix B
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_rfc_7636_matches_and_nothing_else_does() {
        assert!(verifier_matches(VERIFIER, CHALLENGE));
        // B2 27: the challenge itself, another verifier, another case
        assert!(!verifier_matches(CHALLENGE, CHALLENGE));
        assert!(!verifier_matches(&VERIFIER.replace('d', "e"), CHALLENGE));
        assert!(!verifier_matches(VERIFIER, &CHALLENGE.to_lowercase()));
        assert!(!verifier_matches("", ""));
        // B2 28: no challenge was given at the authorization endpoint
        assert!(!verifier_matches(VERIFIER, ""));
    }

    // T2, B2 29
    #[test]
    fn a_verifier_too_short_too_long_or_of_other_characters_never_matches() {
        for bad in ["a".repeat(42), "a".repeat(129), "a".repeat(42) + "+", "a".repeat(42) + " ", "ä".repeat(43)] {
            let challenge = URL_SAFE_NO_PAD.encode(Digest::of(&bad).0);
            assert!(!verifier_matches(&bad, &challenge), "{bad}");
        }
        for good in ["a".repeat(43), "a".repeat(128), "-._~".repeat(12)] {
            let challenge = URL_SAFE_NO_PAD.encode(Digest::of(&good).0);
            assert!(verifier_matches(&good, &challenge), "{good}");
        }
    }

    #[test]
    fn a_challenge_is_43_characters_of_base64url() {
        assert!(is_challenge(CHALLENGE));
        for bad in ["", "a", &CHALLENGE.replace('-', "+"), &format!("{CHALLENGE}="), &format!("{CHALLENGE}A")] {
            assert!(!is_challenge(bad), "{bad}");
        }
    }
}
