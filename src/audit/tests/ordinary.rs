//! What happens when nothing goes wrong, and when a log is opened again.

use std::fs;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::super::log::{CHECKPOINTS, RESUME};
use super::super::record::Ending;
use super::super::recorded::Why;
use super::super::{OnFailure, Options, StartError, Unaudited, VerifyOptions, verify};
use super::{Audit, Clock, EventKind, Memory, Outcome, PATIENCE, entries, kinds, open, options, record, run, start};

#[test]
fn records_that_queue_during_a_sync_share_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    run(async {
        memory.state().stalled = true;
        let mut closing = tokio::task::JoinSet::new();
        let first = audit.clone();
        closing.spawn(async move { record(&first, "first").await.unwrap().seq() });
        tokio::task::yield_now().await;
        memory.wait_until_stalled();
        let before = memory.state().syncs;
        for number in 0..100 {
            let audit = audit.clone();
            closing.spawn(async move { record(&audit, &number.to_string()).await.unwrap().seq() });
        }
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        memory.release();
        assert_eq!(closing.join_all().await.len(), 101);
        assert_eq!(memory.state().syncs, before + 1);
        audit.shutdown().await;
    });
}

#[test]
fn an_exchange_that_is_dropped_is_recorded_as_aborted() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    drop(open(&audit, "hung up"));
    run(audit.shutdown());
    let entries = entries(&memory.lines());
    let version = format!("firebreak {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(entries.first().unwrap().record.detail, Some(version), "who wrote it");
    let aborted = &entries.get(1).unwrap().record;
    let whence = (aborted.listener.as_deref(), aborted.client_ip);
    assert_eq!(whence, (Some("public"), Some([203, 0, 113, 7].into())));
    assert_eq!((aborted.request_id.as_deref(), aborted.outcome), (Some("hung up"), Some(Ending::Aborted)));
}

#[test]
fn strangers_who_hang_up_or_turn_out_to_be_strangers_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    for _ in 0..3 {
        drop(audit.open(EventKind::Fhir, "r", [198, 51, 100, 1].into(), "public"));
    }
    let stranger = audit.open(EventKind::Fhir, "r", [198, 51, 100, 1].into(), "public");
    assert_eq!(stranger.abandon_as_refused_unauthenticated("token_expired", 401).into_inner(), 401);
    let page = audit.open(EventKind::Authorization, "r", [198, 51, 100, 1].into(), "public");
    assert_eq!(page.abandon_as_unaudited(Unaudited::StaticPage, 200).into_inner(), 200);
    run(audit.shutdown());
    let entries = entries(&memory.lines());
    let unaudited = entries.iter().find(|entry| entry.record.kind == EventKind::Unaudited).unwrap();
    assert_eq!(unaudited.record.counts.get("static_page"), Some(&1));
    let counted = entries.iter().map(|entry| (entry.record.reason.as_deref(), entry.record.count));
    let counted: Vec<_> = counted.filter(|(reason, _)| reason.is_some()).collect();
    assert_eq!(counted, [(Some("aborted"), Some(3)), (Some("token_expired"), Some(1))]);
    let refusals = entries.iter().filter(|entry| entry.record.kind == EventKind::Refusals);
    for refusal in refusals.map(|entry| &entry.record) {
        let now = Some("2026-11-23T01:02:03.000Z");
        assert_eq!((refusal.first.as_deref(), refusal.last.as_deref()), (now, now));
    }
}

#[test]
fn a_change_is_written_down_before_it_is_forwarded() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    run(async {
        let mut open = open(&audit, "change");
        open.intend().await.unwrap();
        let intended = entries(&memory.lines()).pop().unwrap();
        assert_eq!(intended.record.outcome, Some(Ending::Intended));
        let _ = open.close(Outcome::Failed("upstream_timeout"), ()).await.unwrap();
        audit.shutdown().await;
    });
    let outcome = entries(&memory.lines()).get(2).unwrap().record.clone();
    assert_eq!((outcome.outcome, outcome.reason.as_deref()), (Some(Ending::Failed), Some("upstream_timeout")));
}

#[test]
fn an_answer_that_is_taken_back_is_told_as_one_that_did_not_leave() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    run(async {
        audit.withdraw(record(&audit, "given").await.unwrap());
        audit.withdraw(audit.unaudited(Unaudited::Discovery, ()));
        audit.shutdown().await;
    });
    let entries = entries(&memory.lines());
    let corrected = entries.iter().filter(|entry| entry.record.kind == EventKind::Unreleased);
    assert_eq!(corrected.map(|entry| entry.record.refers.clone()).collect::<Vec<_>>(), [[2]]);
}

/// What `docs/audit.md` promises.
#[test]
fn a_log_is_run_as_it_is_documented_unless_somebody_says_otherwise() {
    let options = Options::new("log", "gw.example");
    assert_eq!(options.on_failure, OnFailure::Deny);
    assert_eq!(options.deadline, Duration::from_secs(2));
    assert_eq!((options.checkpoint_every, options.checkpoint_records), (Duration::from_secs(30), 20_000));
    assert_eq!((options.floor_bytes, options.reserve_bytes), (32 << 20, 256 << 20));
    assert_eq!((options.aggregate_every, options.aggregate_entries), (Duration::from_secs(60), 1_024));
    assert_eq!((options.queue_bytes, options.segment_bytes), (16 << 20, 256 << 20));
}

#[test]
fn after_the_shutdown_nothing_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let audit = start(&memory, options(directory.path()));
    run(async {
        audit.shutdown().await;
        let unrecorded = record(&audit, "late").await.unwrap_err();
        assert_eq!(unrecorded.why, Why::Closed);
        assert_eq!(unrecorded.answer(503).into_inner(), 503);
        assert!(!audit.healthy());
        audit.shutdown().await;
    });
}

#[test]
fn each_checkpoint_is_handed_out_and_the_last_covers_everything() {
    let directory = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut options = options(directory.path());
    options.checkpoint_records = 2;
    let listener = Arc::clone(&told);
    options.on_checkpoint = Some(Arc::new(move |note| listener.lock().unwrap().push(note.to_owned())));
    let audit = Audit::start(options, Clock::system()).unwrap();
    run(async {
        for number in 0..5 {
            let _ = record(&audit, &number.to_string()).await.unwrap();
        }
        audit.shutdown().await;
    });
    let anchored = told.lock().unwrap().clone();
    let sizes: Vec<u64> = anchored.iter().map(|note| note.lines().nth(1).unwrap().parse().unwrap()).collect();
    assert!(sizes.windows(2).all(|pair| matches!(pair, [a, b] if a < b && b - a <= 2)), "{sizes:?}");
    assert!(anchored.last().unwrap().starts_with("test.example/audit\n7\n"), "{anchored:?}");
    let report = verify(directory.path(), &VerifyOptions { anchored: anchored.clone(), ..Default::default() }).unwrap();
    assert_eq!((report.covered, report.anchored, report.bad), (7, anchored.len() as u64, None));
}

#[test]
fn a_checkpoint_is_due_some_time_after_the_oldest_record_that_none_covers() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, notes) = mpsc::channel();
    let mut options = options(directory.path());
    options.checkpoint_every = Duration::from_millis(50);
    options.on_checkpoint = Some(Arc::new(move |note| sender.send(note.to_owned()).unwrap()));
    let audit = Audit::start(options, Clock::system()).unwrap();
    let _ = run(record(&audit, "the only one")).unwrap();
    let mut covered = 0;
    while covered < 2 {
        let note = notes.recv_timeout(PATIENCE).unwrap();
        covered = note.lines().nth(1).unwrap().parse().unwrap();
    }
    run(audit.shutdown());
}

#[test]
fn no_two_checkpoints_say_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.segment_bytes = 1;
    options.checkpoint_records = 1;
    let audit = Audit::start(options, Clock::system()).unwrap();
    run(async {
        for number in 0..5 {
            let _ = record(&audit, &number.to_string()).await.unwrap();
        }
        audit.shutdown().await;
    });
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert_eq!((report.records, report.checkpoints), (7, 8), "the first is over nothing");
}

#[test]
fn a_log_goes_on_where_it_ended_over_many_segments() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let mut options = options(directory.path());
        options.segment_bytes = 1_000;
        let audit = Audit::start(options, Clock::system()).unwrap();
        run(async {
            for number in 0..7 {
                let recorded = record(&audit, &format!("{round}-{number}")).await.unwrap();
                assert_eq!(recorded.seq(), Some(round * 9 + number + 2));
            }
            audit.shutdown().await;
        });
        if round == 2 {
            fs::remove_file(directory.path().join(RESUME)).unwrap();
        }
    }
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert_eq!((report.records, report.bad.clone()), (45, None));
    assert!(report.segments > 5, "{report}");
}

#[test]
fn each_segment_ends_with_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.segment_bytes = 1_000;
    let audit = Audit::start(options, Clock::system()).unwrap();
    run(async {
        for number in 0..20 {
            let _ = record(&audit, &number.to_string()).await.unwrap();
        }
        audit.shutdown().await;
    });
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    // Those over nothing, over the start and over everything come on top.
    assert!(report.segments > 2 && report.checkpoints == report.segments - 1 + 3, "{report}");
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let audit = Audit::start(options(directory.path()), Clock::system()).unwrap();
    assert!(matches!(Audit::start(options(directory.path()), Clock::system()), Err(StartError::Locked(_))));
    run(audit.shutdown());
    assert!(Audit::start(options(directory.path()), Clock::system()).is_ok());
}

fn finished_log() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let audit = Audit::start(options(directory.path()), Clock::system()).unwrap();
    run(async {
        for number in 0..5 {
            let _ = record(&audit, &number.to_string()).await.unwrap();
        }
        audit.shutdown().await;
    });
    directory
}

fn segment(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join(super::super::log::segment_name(1))
}

#[test]
fn a_copy_of_a_segment_under_a_name_of_its_own_is_no_part_of_the_log() {
    let directory = finished_log();
    for name in ["segment-1.jsonl", "segment-00000000000000000008.jsonl.bak", "segment-+0000000000000000008.jsonl"] {
        fs::copy(segment(&directory), directory.path().join(name)).unwrap();
    }
    run(Audit::start(options(directory.path()), Clock::system()).unwrap().shutdown());
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert_eq!((report.records, report.bad), (9, None));
}

#[test]
fn a_torn_end_is_moved_aside_and_told() {
    let directory = finished_log();
    let mut bytes = fs::read(segment(&directory)).unwrap();
    bytes.extend_from_slice(b"{\"v\":1,\"seq\":8,\"ti\0\0\0\0");
    fs::write(segment(&directory), bytes).unwrap();
    run(Audit::start(options(directory.path()), Clock::system()).unwrap().shutdown());
    let entries = entries(&fs::read(segment(&directory)).unwrap());
    assert_eq!(kinds(entries.get(7..).unwrap()), [EventKind::Repair, EventKind::Start, EventKind::Stop]);
    let repair = &entries.get(7).unwrap().record;
    assert_eq!((repair.bytes, repair.reason.as_deref()), (Some(22), Some("torn_tail")));
    let kept = fs::read(directory.path().join(repair.target.as_ref().unwrap())).unwrap();
    assert!(kept.starts_with(b"{\"v\":1,\"seq\":8"));
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert!(report.is_good() && report.to_string().contains("repairs are told by the records 8"), "{report}");
}

#[test]
fn a_position_that_is_off_is_not_believed() {
    let directory = finished_log();
    let path = directory.path().join(RESUME);
    let resume = fs::read_to_string(&path).unwrap();
    let offset = fs::metadata(segment(&directory)).unwrap().len();
    assert!(resume.contains(&format!("\"offset\":{offset}")), "{resume}");
    fs::write(&path, resume.replace(&offset.to_string(), &(offset - 1).to_string())).unwrap();
    run(Audit::start(options(directory.path()), Clock::system()).unwrap().shutdown());
    let entries = entries(&fs::read(segment(&directory)).unwrap());
    assert_eq!(kinds(entries.get(7..).unwrap()), [EventKind::Start, EventKind::Stop]);
}

#[test]
fn a_log_that_lost_what_a_checkpoint_covers_is_refused() {
    for resumable in [true, false] {
        let directory = finished_log();
        let bytes = fs::read(segment(&directory)).unwrap();
        fs::write(segment(&directory), bytes.get(..bytes.len() - 10).unwrap()).unwrap();
        if !resumable {
            fs::remove_file(directory.path().join(RESUME)).unwrap();
        }
        let started = Audit::start(options(directory.path()), Clock::system()).map(drop);
        assert!(matches!(started, Err(StartError::Damaged { seq: 7, .. })), "{started:?}");
    }
}

#[test]
fn a_log_without_its_checkpoints_or_with_foreign_ones_is_refused() {
    let directory = finished_log();
    let checkpoints = directory.path().join(CHECKPOINTS);
    let foreign = finished_log();
    fs::copy(foreign.path().join(CHECKPOINTS), &checkpoints).unwrap();
    let refused = |directory: &tempfile::TempDir| {
        matches!(Audit::start(options(directory.path()), Clock::system()), Err(StartError::Damaged { .. }))
    };
    assert!(refused(&directory));
    fs::remove_file(&checkpoints).unwrap();
    assert!(refused(&directory));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = finished_log();
    let key = directory.path().join("checkpoint.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let refused = Audit::start(options(directory.path()), Clock::system());
        assert!(matches!(refused, Err(StartError::Key(told)) if told.contains("checkpoint.key` has mode 06")));
    }
}

#[test]
fn the_key_may_lie_elsewhere() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = options(directory.path());
    options.key_file = Some(elsewhere.path().join("log.key"));
    for _ in 0..2 {
        run(Audit::start(options.clone(), Clock::system()).unwrap().shutdown());
    }
    assert!(elsewhere.path().join("log.key").exists() && !directory.path().join("checkpoint.key").exists());
    let public = fs::read_to_string(directory.path().join("checkpoint.pub")).unwrap();
    assert_eq!(public.lines().count(), 1, "the same key signs after the next start: {public}");
}

/// A device that knows no sync says so when it is asked for one: what a crash could take away is not used.
#[test]
fn a_key_is_durable_before_anything_is_signed_with_it() {
    for (name, private) in [("checkpoint.new", false), ("checkpoint.pub", true)] {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", directory.path().join(name)).unwrap();
        assert!(matches!(Audit::start(options(directory.path()), Clock::system()), Err(StartError::Io(_))), "{name}");
        assert_eq!(directory.path().join("checkpoint.key").exists(), private, "{name}");
        assert!(!directory.path().join(CHECKPOINTS).exists());
    }
}

#[test]
fn a_new_key_goes_on_and_the_checkpoints_of_the_old_one_still_count() {
    let directory = finished_log();
    fs::remove_file(directory.path().join("checkpoint.key")).unwrap();
    run(Audit::start(options(directory.path()), Clock::system()).unwrap().shutdown());
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert!(report.is_good(), "{report}");
}
