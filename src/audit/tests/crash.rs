//! Every acknowledged record survives a crash, whenever it comes.

use std::fs;

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::super::log::segment_start;
use super::super::{Audit, VerifyOptions, verify};
use super::{Clock, Entry, Memory, entries, open, options, record, run};

/// A story: what is recorded, and what happens to the disk.
#[derive(Clone, Debug)]
struct Story {
    /// How many records are closed at once; one more exchange is aborted each time.
    steps: Vec<usize>,
    /// The disk crashes at this operation after the start.
    crash_after: u32,
    /// How many bytes that were not synced a crash leaves.
    torn: usize,
    sync_fails: Option<(u32, u32)>,
    segment_bytes: u64,
    checkpoint_records: u64,
    lies: bool,
}

fn story() -> impl Strategy<Value = Story> {
    let steps = prop::collection::vec(1..6_usize, 1..10);
    let fails = prop::option::of((0..8_u32, 1..4_u32));
    (steps, 1..60_u32, 0..3_000_usize, fails, 300..4_000_u64, 1..20_u64).prop_map(
        |(steps, crash_after, torn, sync_fails, segment_bytes, checkpoint_records)| Story {
            steps,
            crash_after,
            torn,
            sync_fails,
            segment_bytes,
            checkpoint_records,
            lies: false,
        },
    )
}

/// Plays a story, and holds what was acknowledged against what is there after the crash and a new start. Gives how many
/// records were acknowledged.
fn play(story: &Story) -> Result<usize, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.segment_bytes = story.segment_bytes;
    options.checkpoint_records = story.checkpoint_records;
    let memory = Memory::default();
    memory.state().lies = story.lies;
    let audit = super::start(&memory, options.clone());
    memory.state().crash_after = Some(story.crash_after);
    memory.state().sync_fails = story.sync_fails;
    let acknowledged = run(async {
        let mut acknowledged = Vec::new();
        for (step, count) in story.steps.iter().enumerate() {
            let mut closing = JoinSet::new();
            for number in 0..*count {
                let audit = audit.clone();
                closing.spawn(async move {
                    let id = format!("{step}-{number}");
                    let recorded = record(&audit, &id).await.ok()?;
                    Some((recorded.seq().unwrap(), id))
                });
            }
            drop(open(&audit, "aborted"));
            acknowledged.extend(closing.join_all().await.into_iter().flatten());
        }
        audit.shutdown().await;
        acknowledged
    });
    memory.crash_into(directory.path(), story.torn);
    let audit = Audit::start(options, Clock::fixed(1_795_395_800)).map_err(|error| error.to_string())?;
    run(audit.shutdown());
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    if !report.is_good() {
        return Err(report.to_string());
    }
    let mut names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| segment_start(path.file_name().unwrap().to_str().unwrap()).is_some());
    names.sort();
    let entries: Vec<Entry> = names.iter().flat_map(|path| entries(&fs::read(path).unwrap())).collect();
    for (seq, id) in &acknowledged {
        let there = entries.iter().find(|entry| entry.seq == *seq).and_then(|entry| entry.record.request_id.as_ref());
        if there != Some(id) {
            return Err(format!("record {seq} of `{id}` was acknowledged and is gone"));
        }
    }
    Ok(acknowledged.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_acknowledged_record_survives_a_crash(story in story()) {
        if let Err(problem) = play(&story) {
            prop_assert!(false, "{}", problem);
        }
    }
}

fn plain() -> Story {
    Story {
        steps: vec![3, 3, 3],
        crash_after: 1_000,
        torn: 0,
        sync_fails: None,
        segment_bytes: 1_000_000,
        checkpoint_records: 1_000,
        lies: false,
    }
}

#[test]
fn records_are_acknowledged_when_nothing_goes_wrong() {
    assert_eq!(play(&plain()), Ok(9));
}

#[test]
fn acknowledging_before_the_sync_would_be_noticed() {
    // A sync that does nothing is what acknowledging without one would be.
    let problem = play(&Story { lies: true, ..plain() }).unwrap_err();
    assert!(problem.contains("was acknowledged and is gone"), "{problem}");
}

#[test]
fn a_second_sync_after_a_failed_one_is_not_believed() {
    // The disk drops what a failed sync should have written; only cutting and writing anew brings it back.
    assert!(play(&Story { sync_fails: Some((0, 2)), ..plain() }).unwrap() >= 3);
}
