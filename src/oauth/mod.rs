//! The words of OAuth 2.0 and OpenID Connect: error codes, client metadata, PKCE, redirect URIs (RFC 6749, RFC 6750, RFC 7591,
//! RFC 7636, RFC 8252, RFC 9700).
//!
//! Vocabulary only: nothing here knows who is registered, what is configured, or what came over the wire.

pub mod error;
pub mod metadata;
pub mod pkce;
pub mod redirect_uri;
