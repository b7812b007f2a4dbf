//! What waits for the disk, what is held while it fails, and what one record may be long: all of it is bounded, and what finds no
//! room is counted.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::timeout;

use super::super::log::segment_name;
use super::super::record::Ending;
use super::super::recorded::Why;
use super::super::{VerifyOptions, verify};
use super::{
    Audit, Entry, EventKind, Memory, Outcome, PATIENCE, entries, open, options, record, run, start, start_with,
};

#[test]
fn what_is_held_while_the_log_fails_is_bounded_and_the_rest_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| {
        options.queue_bytes = 500;
        options.aggregate_every = Duration::from_millis(1);
    });
    run(async {
        memory.state().append_fails = Some(ErrorKind::StorageFull);
        for number in 0..20 {
            let _ = record(&audit, &number.to_string()).await.unwrap_err();
            let _ = audit.refused_unauthenticated([198, 51, 100, 1].into(), "no_token", ());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        memory.state().append_fails = None;
        let _ = record(&audit, "released").await.unwrap();
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let of = |kind| entries.iter().map(|entry| &entry.record).filter(move |record| record.kind == kind);
    let repair = of(EventKind::Repair).next().unwrap();
    let told = |name| *repair.counts.get(name).unwrap();
    assert!((1..5).contains(&told("late")), "{repair:?}");
    assert_eq!(told("late") + told("lost"), 20);
    assert_eq!(of(EventKind::Fhir).count() as u64, told("late") + 1);
    assert!(repair.first.as_ref().is_some_and(|since| since.starts_with("2026-11-23T01:02:03")), "{repair:?}");
    assert_eq!(repair.detail.as_deref(), Some("the log could not be written for a time"));
    let refused: Vec<_> = of(EventKind::Refusals).filter_map(|record| record.count).collect();
    assert_eq!(refused.iter().sum::<u64>(), 20);
    assert!(refused.len() < 5, "they stay counts while the log fails: {refused:?}");
}

/// 300 kB of names: the held ones are not one group.
async fn long(audit: &Audit, id: &str) -> bool {
    let mut open = open(audit, id);
    open.record().patients = vec!["p".repeat(100); 3_000];
    open.close(Outcome::Released, ()).await.is_ok()
}

#[test]
fn a_log_that_heals_only_for_a_moment_loses_nothing_and_writes_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.queue_bytes = 2 << 20);
    run(async {
        memory.state().append_fails = Some(ErrorKind::StorageFull);
        for number in 0..6 {
            assert!(!long(&audit, &number.to_string()).await);
        }
        // The first group of what is held is written, the next one is not.
        memory.state().append_fails = None;
        memory.state().sync_fails = Some((1, 2));
        assert!(!long(&audit, "6").await);
        let durable = tempfile::tempdir().unwrap();
        memory.crash_into(durable.path(), 0);
        let segment = std::fs::read(durable.path().join(segment_name(1))).unwrap();
        let written = entries(&segment).iter().filter(|entry| entry.record.kind == EventKind::Fhir).count();
        assert_eq!(written, 3, "of 300 kB each make a group of a megabyte");
        memory.state().sync_fails = None;
        memory.state().append_fails = Some(ErrorKind::StorageFull);
        for number in 7..9 {
            assert!(!long(&audit, &number.to_string()).await);
        }
        memory.state().append_fails = None;
        assert!(long(&audit, "9").await);
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let of = |kind| entries.iter().filter(move |entry| entry.record.kind == kind);
    let ids: Vec<_> = of(EventKind::Fhir).map(|entry| entry.record.request_id.clone().unwrap()).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let repair = &of(EventKind::Repair).next().unwrap().record;
    // What corrects the first ones may have had to wait, too.
    assert!(repair.counts.get("late").is_some_and(|late| *late >= 9), "{repair:?}");
    assert_eq!(repair.counts.get("lost"), Some(&0));
    let corrected: usize = of(EventKind::Unreleased).map(|entry| entry.record.refers.len()).sum();
    assert_eq!(corrected, 9);
    memory.crash_into(directory.path(), 0);
    assert!(verify(directory.path(), &VerifyOptions::default()).unwrap().is_good());
}

#[test]
fn room_is_given_back_by_records_that_were_written_and_by_those_that_were_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.queue_bytes = 1_000);
    run(async {
        for number in 0..20 {
            assert!(record(&audit, &number.to_string()).await.is_ok());
        }
        memory.state().append_fails = Some(ErrorKind::StorageFull);
        for number in 0..20 {
            assert_eq!(record(&audit, &number.to_string()).await.unwrap_err().why, Why::Failing);
        }
        memory.state().append_fails = None;
        for number in 0..20 {
            drop(open(&audit, &format!("aborted {number}")));
            assert!(record(&audit, &number.to_string()).await.is_ok());
        }
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let aborted = entries.iter().filter(|entry| entry.record.outcome == Some(Ending::Aborted)).count();
    assert_eq!(aborted, 20);
}

#[test]
fn a_correction_names_a_bounded_number_of_records_and_does_not_wait_for_the_next_one() {
    const MANY: usize = 1_200;
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.deadline = Duration::from_millis(200));
    let mut lines = audit.subscribe();
    run(async {
        memory.state().stalled = true;
        let mut closing = tokio::task::JoinSet::new();
        for number in 0..MANY {
            let audit = audit.clone();
            closing.spawn(async move { record(&audit, &number.to_string()).await.is_err() });
        }
        assert!(closing.join_all().await.into_iter().all(|late| late));
        memory.release();
        let mut corrected = 0;
        while corrected < MANY {
            let line = match timeout(PATIENCE / 2, lines.recv()).await.unwrap() {
                Ok(line) => Entry::parse(&line).unwrap().record,
                // One who reads too slowly misses some; what matters here comes last.
                Err(_) => continue,
            };
            assert!(line.refers.len() <= 500, "{}", line.refers.len());
            corrected += line.refers.len();
        }
        audit.shutdown().await;
    });
}

#[test]
fn the_queue_is_bounded_and_a_record_that_finds_no_room_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| {
        options.deadline = Duration::from_millis(50);
        options.queue_bytes = 500;
    });
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
    let told = entries.iter().find(|entry| entry.record.counts.contains_key("lost")).unwrap();
    assert_eq!(told.record.detail.as_deref(), Some("records could not be queued in time"));
    assert!((1..10).contains(&recorded), "{recorded}");
    assert_eq!(recorded as u64 + lost, 100);
}

#[test]
fn an_answer_given_up_while_its_record_waits_for_room_or_for_the_disk_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| options.queue_bytes = 200);
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
    let (_, audit) = start_with(&directory, |options| options.queue_bytes = 500);
    run(async {
        let mut open = open(&audit, "long");
        open.record().patients = vec!["p".to_owned(); 500];
        assert_eq!(open.close(Outcome::Released, ()).await.unwrap_err().why, Why::TooLong);
        let _ = record(&audit, "short").await.unwrap();
        audit.shutdown().await;
    });
}

/// Nobody waits for what a client left behind, and it is bounded all the same.
#[test]
fn exchanges_that_are_dropped_while_the_disk_does_not_answer_are_bounded_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (memory, audit) = start_with(&directory, |options| {
        options.deadline = Duration::from_millis(50);
        options.queue_bytes = 500;
    });
    run(async {
        memory.state().stalled = true;
        for number in 0..100 {
            drop(open(&audit, &number.to_string()));
        }
        assert!(audit.healthy(), "nobody was told yet that it is late");
        let late = record(&audit, "finds no room").await.unwrap_err();
        assert_eq!((late.why, audit.healthy()), (Why::Deadline, false));
        memory.release();
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let aborted = entries.iter().filter(|entry| entry.record.outcome == Some(Ending::Aborted)).count();
    let lost: u64 = entries.iter().filter_map(|entry| entry.record.counts.get("lost")).sum();
    assert!((1..10).contains(&aborted), "{aborted}");
    assert_eq!(aborted as u64 + lost, 101);
}

/// Longer than `read_line` reads: it would make the log unreadable from there on.
#[test]
fn a_record_longer_than_a_line_may_be_is_never_written() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    let endless = |id| {
        let mut open = open(&audit, id);
        open.record().patients = vec!["p".repeat(1_000); 5_000];
        open
    };
    run(async {
        assert_eq!(endless("closed").close(Outcome::Released, ()).await.unwrap_err().why, Why::TooLong);
        drop(endless("dropped"));
        let _ = record(&audit, "short").await.unwrap();
        audit.shutdown().await;
    });
    memory.crash_into(directory.path(), 0);
    assert!(verify(directory.path(), &VerifyOptions::default()).unwrap().is_good());
    let entries = entries(&memory.lines());
    let lost: u64 = entries.iter().filter_map(|entry| entry.record.counts.get("lost")).sum();
    assert_eq!((entries.iter().filter(|entry| entry.record.kind == EventKind::Fhir).count(), lost), (1, 2));
}
