//! Nonces for DPoP proofs (RFC 9449 sections 8 and 9): a client that puts one into its proof cannot have made the proof before it
//! was given.
//!
//! Nothing is kept: a nonce is the time at which it was given, sealed. So every process with the same keys knows it, also after a
//! restart, and the keys may rotate meanwhile. It may be used more than once; that a proof is used once is asked of its `jti`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Keys;
use crate::jose::dpop::{AHEAD, Nonces};

/// Seconds that a nonce is good for. Shorter than a sealing key that was rotated away opens.
const LIFETIME: i64 = 300;

const PURPOSE: &[u8] = b"firebreak dpop nonce 1";

impl Keys {
    /// A nonce, given now; `None`: the key failed.
    #[must_use]
    pub fn nonce(&self) -> Option<String> {
        let now = self.clock.unix_seconds();
        self.seal(PURPOSE, now.to_be_bytes().to_vec()).map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
    }
}

impl Nonces for Keys {
    fn is_good(&self, nonce: &str) -> bool {
        let now = self.clock.unix_seconds();
        let given = URL_SAFE_NO_PAD.decode(nonce).ok().and_then(|sealed| self.unseal(PURPOSE, &sealed));
        let given = given.and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        // Another process's clock may be a little ahead.
        given.is_some_and(|given| now.saturating_sub(given) <= LIFETIME && given <= now.saturating_add(AHEAD))
    }
}
