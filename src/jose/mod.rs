//! The words of JOSE: compact JWS (RFC 7515), JWK sets (RFC 7517), JWTs (RFC 7519), and the five kinds of them that are spoken
//! here: our access tokens (RFC 9068), our `id_token`s (OpenID Connect Core section 2), our answers about tokens (RFC 9701), the
//! assertions that clients authenticate with (RFC 7523), and the proofs that they hold a key (RFC 9449).
//!
//! The algorithm is pinned by the key, never taken from the token; a header that brings its own key, or parameters that must
//! be understood, is refused, but for the key of a proof, which is what it is about. The time is an argument. Fetches nothing and stores nothing.

mod access_token;
pub mod assertion;
mod assertion_key;
pub mod dpop;
mod id_token;
mod introspection;
mod jwk;
mod jws;
mod provider_keys;
mod signing_key;

pub use access_token::{AccessTokenClaims, AccessTokenProblem, Confirmation, MAX_ACCESS_TOKEN_BYTES};
pub use assertion_key::{AssertionClaims, AssertionKey};
pub use id_token::{IdTokenClaims, at_hash};
pub use introspection::IntrospectionClaims;
pub use jwk::{AssertionAlgorithm, ClientKeys, JwksProblem, ec_thumbprint, rsa_thumbprint};
pub use provider_keys::{ProviderKeys, SignatureProblem, Signed};
pub use signing_key::{AccessTokenKey, IdTokenKey, SignError};

/// Chooses aws-lc-rs for the JOSE library. To be called once, early in `main` and in tests; calling it again does nothing.
pub fn install_provider() {
    // An error says that a provider is installed already, which is what is wanted.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
