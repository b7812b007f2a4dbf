//! The public attack cases that need an upstream, end to end. The numbers are those of the cases in `tests/decisions/`,
//! letters are the tokens there. "Not called" and the rebuilt request are read off the recording upstream.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a failed assumption fails the test"
)]

mod answers;
mod attacks;
mod binary;
mod bundles;
mod faults;
mod histories;
mod narrowing;
mod operations;
mod pages;
mod provenance;
mod reads;
mod refusals;
mod search_by;
mod searches;
mod sizes;
mod told;
mod unread;
mod writes;

use crate::world::{Grant, Reply, World};

/// What the upstream was asked since the last time, without its base.
fn asked(world: &World) -> Vec<String> {
    world.upstream.take_seen().iter().map(crate::upstream::Seen::below_base).collect()
}

/// 404 as for a resource that never existed, to the byte.
async fn assert_absent(world: &World, token: &str, target: &str) {
    let never = world.get("/fhir/Observation/never-existed", token).await;
    let reply = world.get(target, token).await;
    assert_eq!((reply.status, reply.body.as_slice()), (404, never.body.as_slice()), "{target}: {}", reply.all());
    assert_eq!(header_names(&reply), header_names(&never), "{target}");
}

fn header_names(reply: &Reply) -> Vec<&str> {
    reply.headers.iter().map(|(name, _)| name.as_str()).collect()
}

fn b() -> Grant {
    Grant::patient("patient/Patient.r patient/Observation.rs", "P1")
}
