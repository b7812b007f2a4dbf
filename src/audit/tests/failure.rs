//! When the log cannot be written: nothing is released, nothing waits for ever, nothing that can be kept is forgotten.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::recorded::Why;
use super::super::{OnFailure, Unaudited, VerifyOptions, last_word, verify};
use super::memory::Change;
use super::{EventKind, Memory, PATIENCE, entries, kinds, open, options, record, run, start, start_with, told};

#[test]
fn a_full_disk_denies_and_the_log_heals_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    run(async {
        memory.state().append_fails = Some(ErrorKind::StorageFull);
        assert_eq!(record(&audit, "denied").await.unwrap_err().why, Why::Failing);
        assert_eq!(record(&audit, "denied too").await.unwrap_err().why, Why::Failing);
        assert!(!audit.healthy());
        memory.state().append_fails = None;
        assert_eq!(record(&audit, "released").await.unwrap().seq(), Some(5));
        assert!(audit.healthy());
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let expected = [
        EventKind::Start,
        EventKind::Fhir,
        EventKind::Fhir,
        EventKind::Repair,
        EventKind::Fhir,
        EventKind::Unreleased,
        EventKind::Stop,
    ];
    assert_eq!(kinds(&entries), expected);
    assert_eq!(entries.get(5).unwrap().record.refers, [2, 3], "those two were not given");
    let repair = &entries.get(3).unwrap().record;
    assert_eq!((repair.counts.get("late"), repair.counts.get("lost")), (Some(&2), Some(&0)));
    memory.crash_into(directory.path(), 0);
    assert!(verify(directory.path(), &VerifyOptions::default()).unwrap().is_good());
}

#[test]
fn the_floor_of_the_disk_is_kept_by_what_is_written_too() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.floor_bytes = 10_000);
    run(async {
        memory.state().free = Some(10_050);
        assert_eq!(record(&audit, "longer than what is left").await.unwrap_err().why, Why::Failing);
        memory.state().free = None;
        audit.shutdown().await;
    });
}

#[test]
fn a_log_goes_on_in_its_old_segment_when_no_new_one_can_be_made() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.segment_bytes = 1);
    run(async {
        memory.state().refuses = Some(Change::Create);
        for id in ["one", "two"] {
            assert!(record(&audit, id).await.is_ok());
        }
        memory.state().refuses = None;
        assert!(record(&audit, "three").await.is_ok());
        audit.shutdown().await;
    });
    memory.crash_into(directory.path(), 0);
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert_eq!((report.records, report.segments, report.bad), (5, 3, None));
}

#[test]
fn a_log_that_nobody_writes_to_heals_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    let mut lines = audit.subscribe();
    run(async {
        memory.state().sync_fails = Some((0, 1));
        let _ = record(&audit, "denied").await.unwrap_err();
        assert!(!audit.healthy());
        // The record itself, written late, tells that the log was mended.
        for expected in ["denied", r#""kind":"repair""#, r#""kind":"unreleased","refers":[2]"#] {
            let line = timeout(PATIENCE / 2, lines.recv()).await.unwrap().unwrap();
            assert!(line.contains(expected), "{expected}: {line}");
        }
        audit.shutdown().await;
    });
}

#[test]
fn checkpoints_are_handed_out_although_their_position_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let mut options = options(directory.path());
    options.on_checkpoint = Some(Arc::new(move |note| listener.lock().unwrap().push(note.to_owned())));
    memory.state().refuses = Some(Change::Replace);
    let audit = start(&memory, options);
    run(async {
        let _ = record(&audit, "one").await.unwrap();
        audit.shutdown().await;
    });
    assert!(told.lock().unwrap().last().unwrap().starts_with("test.example/audit\n3\n"), "{told:?}");
    memory.crash_into(directory.path(), 0);
    assert_eq!(verify(directory.path(), &VerifyOptions::default()).unwrap().covered, 3);
}

/// The disk keeps a part of the checkpoint that failed: the next one must not come behind it.
#[test]
fn a_checkpoint_that_could_not_be_written_is_cut_before_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.checkpoint_records = 1);
    run(async {
        // The record's sync goes well, the checkpoint's does not.
        memory.state().sync_fails = Some((1, 1));
        let _ = record(&audit, "one").await.unwrap();
        let _ = record(&audit, "two").await.unwrap();
        audit.shutdown().await;
    });
    memory.crash_into(directory.path(), 0);
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert!(report.is_good() && report.covered == 4 && report.notices.is_empty(), "{report}");
}

#[test]
fn answers_leave_without_a_record_only_where_the_operator_wants_it() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.on_failure = OnFailure::DangerAllowAndAlarm);
    let told = told(|| {
        run(async {
            memory.state().append_fails = Some(ErrorKind::StorageFull);
            assert_eq!(record(&audit, "late").await.unwrap().seq(), None);
            assert!(!audit.healthy());
            memory.state().append_fails = None;
            audit.shutdown().await;
        });
    });
    assert!(told.contains("ERROR") && told.contains("an answer was released without a durable audit record"), "{told}");
    let entries = entries(&memory.lines());
    assert_eq!(kinds(&entries), [EventKind::Start, EventKind::Fhir, EventKind::Repair, EventKind::Stop]);
}

#[test]
fn a_disk_that_does_not_answer_denies_at_the_deadline_and_the_record_is_corrected() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.deadline = Duration::from_millis(50));
    run(async {
        memory.state().stalled = true;
        assert_eq!(record(&audit, "late").await.unwrap_err().why, Why::Deadline);
        assert!(!audit.healthy());
        memory.release();
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    assert_eq!(kinds(&entries), [EventKind::Start, EventKind::Fhir, EventKind::Unreleased, EventKind::Stop]);
    assert_eq!(entries.get(2).unwrap().record.refers, [2]);
}

/// The writer may finish in the very moment of the deadline: then the answer is given, or the writer is told that it was not.
#[test]
fn at_the_deadline_a_number_is_taken_or_the_writer_learns_that_nobody_waits() {
    let (writer, mut waiter) = oneshot::channel();
    assert_eq!(writer.send(2), Ok(()));
    assert_eq!(last_word(&mut waiter), Some(2));
    let (writer, mut waiter) = oneshot::channel();
    assert_eq!(last_word(&mut waiter), None);
    assert_eq!(writer.send(2), Err(2), "the waiter is still there, and does not wait any more");
}

/// The same for who waits: the record became durable after it was last looked for and before the deadline was over.
#[test]
fn a_record_that_becomes_durable_at_its_deadline_is_not_late() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    run(async {
        let (writer, waiter) = oneshot::channel();
        let at_the_deadline = async { assert_eq!(writer.send(2), Ok(())) };
        assert_eq!(audit.wait_until(waiter, at_the_deadline).await.unwrap(), 2);
        assert!(audit.healthy());
        let (writer, waiter) = oneshot::channel::<u64>();
        assert_eq!(audit.wait_until(waiter, async {}).await.unwrap_err().why, Why::Deadline);
        assert!(writer.is_closed());
        let healthy_again = async {
            while !audit.healthy() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE / 2, healthy_again).await.unwrap();
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    assert_eq!(kinds(&entries), [EventKind::Start, EventKind::Stop]);
}

#[test]
fn a_change_that_could_not_be_written_down_is_not_forwarded_unless_the_operator_wants_it() {
    for (on_failure, goes_on) in [(OnFailure::Deny, false), (OnFailure::DangerAllowAndAlarm, true)] {
        let directory = tempfile::tempdir().unwrap();
        let (memory, audit) = start_with(&directory, |options| options.on_failure = on_failure);
        run(async {
            memory.state().append_fails = Some(ErrorKind::StorageFull);
            let mut open = open(&audit, "change");
            assert_eq!(open.intend().await.is_ok(), goes_on, "{on_failure:?}");
            memory.state().append_fails = None;
            drop(open);
            audit.shutdown().await;
        });
    }
}

#[test]
fn a_shutdown_does_not_wait_for_ever_for_a_disk_that_does_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.deadline = Duration::from_millis(50));
    let told = told(|| {
        run(async {
            memory.state().stalled = true;
            let _ = record(&audit, "late").await.unwrap_err();
            audit.shutdown().await;
        });
    });
    assert!(told.contains("ERROR") && told.contains("did not close in time"), "{told}");
    memory.release();
}

#[test]
fn refusals_of_strangers_leave_the_reserve_alone_and_are_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| {
        options.floor_bytes = 10_000;
        options.reserve_bytes = 10_000;
        options.aggregate_every = Duration::from_millis(1);
    });
    run(async {
        memory.state().free = Some(15_000);
        for _ in 0..20 {
            let _ = audit.refused_unauthenticated([198, 51, 100, 1].into(), "no_token", ());
            let _ = audit.unaudited(Unaudited::Discovery, ());
            let _ = record(&audit, "authenticated").await.unwrap();
        }
        assert!(!kinds(&entries(&memory.lines())).contains(&EventKind::Refusals));
        memory.state().free = Some(9_000);
        let _ = record(&audit, "denied before the disk is full").await.unwrap_err();
        memory.state().free = None;
        let _ = record(&audit, "released").await.unwrap();
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let refused = entries.iter().filter(|entry| entry.record.kind == EventKind::Refusals);
    assert_eq!(refused.filter_map(|entry| entry.record.count).sum::<u64>(), 20);
    let counted = entries.iter().filter_map(|entry| entry.record.counts.get("discovery"));
    assert_eq!(counted.sum::<u64>(), 20);
}
