//! The audit log from outside: processes that are killed, disks that are full, files that are tampered with.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

mod kill;
mod tamper;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firebreak::audit::{Audit, Entry, EventKind, Options, Outcome};
use firebreak::clock::Clock;

fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory, "test.example/audit");
    options.floor_bytes = 0;
    options.reserve_bytes = 0;
    options.checkpoint_every = Duration::from_secs(3_600);
    options
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
}

fn start(options: Options) -> Audit {
    Audit::start(options, Clock::system()).unwrap()
}

/// Records one exchange; gives its number if it was acknowledged.
async fn record(audit: &Audit, id: &str) -> Option<u64> {
    let mut open = audit.open(EventKind::Fhir, id, [203, 0, 113, 7].into(), "public");
    let record = open.record();
    record.client_id = Some("my-app".to_owned());
    record.interaction = Some("read".into());
    record.resource_type = Some("Observation".into());
    record.patients = vec!["p1".to_owned()];
    open.close(Outcome::Released, ()).await.ok().and_then(|recorded| recorded.seq())
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths
}

fn lines(directory: &Path) -> Vec<String> {
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    segments(directory).iter().flat_map(|path| read(path).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn entries(directory: &Path) -> Vec<Entry> {
    lines(directory).iter().map(|line| Entry::parse(line).unwrap()).collect()
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_told() {
    const TOLD: &str = "the audit log could not write a checkpoint";
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(&directory.path().join("log"));
    // Each group begins a segment, and with it the files are opened anew.
    (options.segment_bytes, options.checkpoint_records) = (1, 1);
    let checkpoints = options.directory.join("checkpoints");
    crate::world::run(async {
        let audit = start(options);
        assert!(record(&audit, "one").await.is_some());
        fs::rename(&checkpoints, directory.path().join("kept")).unwrap();
        fs::create_dir(&checkpoints).unwrap();
        assert!(record(&audit, "two").await.is_some(), "it is the record that counts");
        audit.shutdown().await;
    });
    assert!(crate::world::told().contains(TOLD));
}
