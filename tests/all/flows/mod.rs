//! The grant path end to end, over real sockets: how apps and EHRs launch, what people decide, and what attackers try. A
//! story per file. Codes, tokens, passwords and the like are kept in mind by the world: none of them may turn up in its logs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

mod apps;
mod attacks;
mod audited;
mod browser;
mod consents;
mod discovery;
mod ehr;
mod patients;
mod refresh;
mod setting;
mod token_endpoint;

use browser::Browser;
use setting::*;
