//! The grant path end to end, over real sockets: how apps and EHRs launch, what people decide, and what attackers try. A
//! story per file. Codes, tokens, passwords and the like are kept in mind by the world: none of them may turn up in its logs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

mod advertised;
mod apps;
mod attacks;
mod audited;
mod authorization_details;
mod backend_services;
mod best_practice;
mod browser;
mod consents;
mod counted;
mod discovery;
mod dpop;
mod ehr;
mod federation;
mod frames;
mod guessing;
mod introspection;
mod managing;
mod online;
mod par;
mod patients;
mod refresh;
mod registration;
mod revocation;
mod rotation;
mod setting;
mod sharing;
pub(crate) mod story;
mod token_endpoint;
mod token_exchange;
mod userinfo;

use browser::{Browser, Page};
use setting::*;
