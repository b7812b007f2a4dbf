//! When the log cannot be written: nothing is released, nothing waits for ever, nothing that can be kept is forgotten.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::recorded::Why;
use super::super::{OnFailure, Unaudited, VerifyOptions, last_word, verify};
use super::{EventKind, Memory, Outcome, entries, kinds, open, options, record, run, start};

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
        assert!(lines.recv().await.unwrap().contains("denied"));
        assert!(lines.recv().await.unwrap().contains(r#""kind":"repair""#));
        audit.shutdown().await;
    });
}

#[test]
fn answers_leave_without_a_record_only_where_the_operator_wants_it() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let mut options = options(directory.path());
    options.on_failure = OnFailure::DangerAllowAndAlarm;
    let audit = start(&memory, options);
    run(async {
        memory.state().append_fails = Some(ErrorKind::StorageFull);
        assert_eq!(record(&audit, "late").await.unwrap().seq(), None);
        assert!(!audit.healthy());
        memory.state().append_fails = None;
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    assert_eq!(kinds(&entries), [EventKind::Start, EventKind::Fhir, EventKind::Repair, EventKind::Stop]);
}

#[test]
fn a_disk_that_does_not_answer_denies_at_the_deadline_and_the_record_is_corrected() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let mut options = options(directory.path());
    options.deadline = Duration::from_millis(50);
    let audit = start(&memory, options);
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
        assert!(writer.is_closed() && !audit.healthy());
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    assert_eq!(kinds(&entries), [EventKind::Start, EventKind::Stop]);
}

#[test]
fn the_queue_is_bounded_and_a_record_that_finds_no_room_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let mut options = options(directory.path());
    options.deadline = Duration::from_millis(50);
    options.queue_bytes = 500;
    let audit = start(&memory, options);
    run(async {
        memory.state().stalled = true;
        let mut closing = tokio::task::JoinSet::new();
        for number in 0..100 {
            let audit = audit.clone();
            closing.spawn(async move { record(&audit, &number.to_string()).await.unwrap_err().why });
        }
        assert!(closing.join_all().await.iter().all(|why| *why == Why::Deadline));
        memory.release();
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let recorded = entries.iter().filter(|entry| entry.record.kind == EventKind::Fhir).count();
    let lost: u64 = entries.iter().filter_map(|entry| entry.record.counts.get("lost")).sum();
    assert!((1..10).contains(&recorded), "{recorded}");
    assert_eq!(recorded as u64 + lost, 100);
}

#[test]
fn an_answer_given_up_while_its_record_waits_for_room_or_for_the_disk_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let mut options = options(directory.path());
    options.queue_bytes = 200;
    let audit = start(&memory, options);
    run(async {
        memory.state().stalled = true;
        let mut waiting = Vec::new();
        for id in ["for the disk", "for room", "for room"] {
            let audit = audit.clone();
            waiting.push(tokio::spawn(async move { record(&audit, id).await.is_ok() }));
            tokio::task::yield_now().await;
        }
        for task in waiting {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        memory.release();
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let lost: u64 = entries.iter().filter_map(|entry| entry.record.counts.get("lost")).sum();
    let unreleased: usize = entries.iter().map(|entry| entry.record.refers.len()).sum();
    assert_eq!((unreleased, lost), (1, 2), "{entries:#?}");
}

#[test]
fn a_record_longer_than_the_queue_is_refused_and_does_not_wait() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let mut options = options(directory.path());
    options.queue_bytes = 500;
    let audit = start(&memory, options);
    run(async {
        let mut open = open(&audit, "long");
        open.record().patients = vec!["p".to_owned(); 500];
        assert_eq!(open.close(Outcome::Released, ()).await.unwrap_err().why, Why::TooLong);
        let _ = record(&audit, "short").await.unwrap();
        audit.shutdown().await;
    });
}

#[test]
fn refusals_of_strangers_leave_the_reserve_alone_and_are_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let mut options = options(directory.path());
    options.floor_bytes = 10_000;
    options.reserve_bytes = 10_000;
    options.aggregate_every = Duration::from_millis(1);
    let audit = start(&memory, options);
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
