//! The words of OAuth 2.0 and OpenID Connect: error codes, form requests, clients and how they authenticate, PKCE, redirect
//! URIs, and the CORS rules that SMART adds (RFC 6749, RFC 6750, RFC 7636, RFC 8252, RFC 9700).

pub mod client_authentication;
pub mod clients;
pub mod cors;
pub mod error;
pub mod form;
pub mod pkce;
pub mod redirect_uri;
