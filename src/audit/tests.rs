//! The promises, on a storage that takes them word for word: what was not synced is lost in a crash.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

mod bounds;
mod crash;
mod failure;
mod memory;
mod opened;
mod ordinary;

use std::path::Path;
use std::time::Duration;

use super::{Audit, Entry, EventKind, Open, Options, Outcome, Recorded, Unrecorded};
use crate::clock::Clock;
use crate::testing::told;
use memory::Memory;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options under which nothing happens but what the test does.
fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory, "test.example/audit");
    options.floor_bytes = 0;
    options.reserve_bytes = 0;
    options.checkpoint_every = Duration::from_secs(3_600);
    options.aggregate_every = Duration::from_secs(3_600);
    options
}

/// Runs a test, which fails when it waits for something that does not come.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.unwrap() })
}

fn start(memory: &Memory, options: Options) -> Audit {
    Audit::start_on(Box::new(memory.clone()), options, Clock::fixed(1_795_395_723)).unwrap()
}

/// The same on a storage of its own, with the options set as the test needs them.
fn start_with(directory: &tempfile::TempDir, set: impl FnOnce(&mut Options)) -> (Memory, Audit) {
    let (memory, mut options) = (Memory::default(), options(directory.path()));
    set(&mut options);
    let audit = start(&memory, options);
    (memory, audit)
}

/// An exchange of somebody who is authenticated.
fn open(audit: &Audit, id: &str) -> Open {
    let mut open = audit.open(EventKind::Fhir, id, [203, 0, 113, 7].into(), "public");
    open.record().client_id = Some("my-app".to_owned());
    open
}

async fn record(audit: &Audit, id: &str) -> Result<Recorded<()>, Unrecorded> {
    open(audit, id).close(Outcome::Released, ()).await
}

fn entries(text: &[u8]) -> Vec<Entry> {
    str::from_utf8(text).unwrap().lines().map(|line| Entry::parse(line).unwrap()).collect()
}

fn kinds(entries: &[Entry]) -> Vec<EventKind> {
    entries.iter().map(|entry| entry.record.kind).collect()
}
