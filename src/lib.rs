//! Firebreak: a SMART on FHIR gateway.
//!
//! Reading rule: **verbs are stages, nouns are vocabularies.** Start with [`gateway`]: its one function is the request
//! path in order. The modules below stand in that order: first the stages of the request path, then the grant path that
//! issues what the first one spends, then what both know of keys and clients, then the vocabularies both speak. Which module
//! may import which is a test: `tests/all/layering/`.

pub mod gateway;

pub mod origin;

pub mod listen;

pub mod admit;

pub mod canonicalise;

pub mod authenticate;

pub mod authorize;

pub mod forward;

pub mod outbound;

pub mod filter;

pub mod audit;

pub mod grant;

pub mod federation;

pub mod keys;

pub mod clients;

pub mod cors;

pub mod fhir;

pub mod smart;

pub mod oauth;

pub mod jose;

pub mod json;

pub mod error;

pub mod config;

pub mod store;

pub mod admin;

pub mod command;

pub mod demo;

pub mod clock;

pub mod random;

pub mod secret;

pub mod files;

#[cfg(test)]
mod testing;

#[cfg(fuzzing)]
pub mod fuzzing;
