//! What a start finds: an end that is torn, files that do not fit together, a position that is not the end.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::line;
use super::super::log::{CHECKPOINTS, RESUME, segment_name};
use super::super::merkle;
use super::super::storage::Storage;
use super::super::{Report, StartError, VerifyOptions, verify};
use super::{Audit, Clock, EventKind, Memory, Options, entries, kinds, options, record, run, start, told};

/// What is changed in the position of the last line.
type Change<'a> = &'a dyn Fn(&Path, &mut Value);

/// A log of seven records, closed in order.
fn finished(options: Options) {
    let audit = Audit::start(options, Clock::system()).unwrap();
    run(async {
        for number in 0..5 {
            let _ = record(&audit, &number.to_string()).await.unwrap();
        }
        audit.shutdown().await;
    });
}

fn finished_log() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    finished(options(directory.path()));
    directory
}

fn segment(directory: &Path, first: u64) -> PathBuf {
    directory.join(segment_name(first))
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn starts(directory: &Path) -> Result<(), StartError> {
    Audit::start(options(directory), Clock::system()).map(|audit| run(audit.shutdown()))
}

fn report(directory: &Path) -> Report {
    verify(directory, &VerifyOptions::default()).unwrap()
}

fn last_leaf(path: &Path) -> merkle::Hash {
    merkle::leaf(fs::read_to_string(path).unwrap().lines().last().unwrap().as_bytes())
}

#[test]
fn a_checkpoint_that_a_crash_tore_is_told_and_cut() {
    let next = "test.example/audit\n9\nAAAA";
    for torn in [next, &format!("{next}\n\n"), &format!("{next}\n\n— test.example/audit AAAA"), "\u{0}\u{0}"] {
        let directory = finished_log();
        append(&directory.path().join(CHECKPOINTS), torn.as_bytes());
        let before = report(directory.path());
        assert!(
            before.is_good() && before.to_string().contains("the last checkpoint is not whole"),
            "{torn}: {before}"
        );
        starts(directory.path()).unwrap();
        let after = report(directory.path());
        assert!(after.is_good() && after.notices.is_empty(), "{torn}: {after}");
        assert_eq!((after.records, after.covered, after.checkpoints), (9, 9, before.checkpoints + 2));
    }
}

#[test]
fn a_checkpoint_whose_signature_was_changed_is_refused() {
    let directory = finished_log();
    let path = directory.path().join(CHECKPOINTS);
    let text = fs::read_to_string(&path).unwrap();
    let (kept, end) = text.split_at(text.len() - 12);
    let other = if end.starts_with('A') { "B" } else { "A" };
    fs::write(&path, format!("{kept}{other}{}", end.split_at(1).1)).unwrap();
    assert!(matches!(starts(directory.path()), Err(StartError::Damaged { .. })));
}

#[test]
fn lines_behind_the_last_checkpoint_that_do_not_belong_there_are_moved_aside() {
    let (good, zero) = (last_leaf as fn(&Path) -> merkle::Hash, (|_| line::GENESIS) as fn(&Path) -> merkle::Hash);
    for (seq, prev) in [(9, good), (7, good), (8, zero)] {
        let directory = finished_log();
        let path = segment(directory.path(), 1);
        let mut foreign = Vec::new();
        line::write(&mut foreign, seq, "2026-11-23T01:02:03.000Z", &prev(&path), br#"{"kind":"login"}"#);
        foreign.push(b'\n');
        append(&path, &foreign);
        starts(directory.path()).unwrap();
        let entries = entries(&fs::read(&path).unwrap());
        assert_eq!(kinds(entries.get(7..).unwrap()), [EventKind::Repair, EventKind::Start, EventKind::Stop], "{seq}");
        let repair = &entries.get(7).unwrap().record;
        let kept = fs::read(directory.path().join(repair.target.as_ref().unwrap())).unwrap();
        assert_eq!(kept, foreign, "as evidence");
        let digest = crate::secret::Digest::of_bytes(&foreign).to_hex();
        assert!(repair.detail.as_ref().unwrap().contains(&digest), "{repair:?}");
        assert!(report(directory.path()).is_good());
    }
    // One that does belong there was written, and nobody knows whether it was acknowledged: it stays.
    let directory = finished_log();
    let path = segment(directory.path(), 1);
    let mut own = Vec::new();
    line::write(&mut own, 8, "2026-11-23T01:02:03.000Z", &last_leaf(&path), br#"{"kind":"login"}"#);
    own.push(b'\n');
    append(&path, &own);
    starts(directory.path()).unwrap();
    let kinds = kinds(entries(&fs::read(&path).unwrap()).get(7..).unwrap());
    assert_eq!(kinds, [EventKind::Login, EventKind::Start, EventKind::Stop]);
}

/// Whenever the next crash comes: what was torn is in the segment or in its own file.
#[test]
fn what_is_moved_aside_is_durable_there_before_it_is_cut() {
    const TORN: &[u8] = b"{\"v\":1,\"seq\":4,\"torn";
    let mut moved = 0;
    for crash_after in 0..24 {
        let (directory, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let memory = Memory::default();
        run(start(&memory, options(directory.path())).shutdown());
        let mut disk = memory.clone();
        disk.append(&segment_name(1), TORN).unwrap();
        disk.sync(&segment_name(1)).unwrap();
        memory.state().crash_after = Some(crash_after);
        let started = Audit::start_on(Box::new(memory.clone()), options(directory.path()), Clock::fixed(1));
        memory.crash_into(left.path(), 0);
        let files = fs::read_dir(left.path()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        let holding: Vec<_> = files.filter(|bytes| bytes.ends_with(TORN)).collect();
        assert!(!holding.is_empty(), "a crash at operation {crash_after} loses it");
        moved += u32::from(holding.iter().any(|bytes| bytes.as_slice() == TORN));
        drop(started);
    }
    assert!(moved > 5, "{moved}");
}

#[test]
fn a_segment_that_is_missing_is_damage_also_when_no_checkpoint_tells_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.segment_bytes = 1;
    finished(options.clone());
    let checkpoints = fs::read_to_string(directory.path().join(CHECKPOINTS)).unwrap();
    // Text and signature of the first two.
    let kept: String = checkpoints.split_inclusive("\n\n").take(4).collect();
    fs::write(directory.path().join(CHECKPOINTS), kept).unwrap();
    fs::remove_file(directory.path().join(RESUME)).unwrap();
    fs::remove_file(segment(directory.path(), 4)).unwrap();
    let started = Audit::start(options, Clock::system()).map(drop);
    assert!(matches!(started, Err(StartError::Damaged { seq: 4, .. })), "{started:?}");
    assert!(segment(directory.path(), 5).exists(), "nothing was touched");
}

#[test]
fn an_empty_segment_behind_a_torn_end_is_what_a_crash_leaves() {
    let directory = finished_log();
    append(&segment(directory.path(), 1), b"{\"v\":1,");
    fs::write(segment(directory.path(), 9), b"").unwrap();
    starts(directory.path()).unwrap();
    assert!(report(directory.path()).is_good());
}

#[test]
fn a_last_record_that_was_changed_is_refused_by_the_signed_root_alone() {
    let directory = finished_log();
    let path = segment(directory.path(), 1);
    let text = fs::read_to_string(&path).unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&path, format!("{before}\n{}\n", last.replace("\"stop\"", "\"start\""))).unwrap();
    fs::remove_file(directory.path().join(RESUME)).unwrap();
    assert!(matches!(starts(directory.path()), Err(StartError::Damaged { seq: 7, .. })));
}

#[test]
fn a_start_reads_on_from_the_last_checkpoint_and_without_its_position_everything() {
    let directory = finished_log();
    let path = segment(directory.path(), 1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"kind\":\"start\"", "\"kind\":\"login\"", 1)).unwrap();
    starts(directory.path()).unwrap();
    assert_eq!(report(directory.path()).bad.unwrap().seq, 1, "that is for `verify`");
    fs::remove_file(directory.path().join(RESUME)).unwrap();
    assert!(matches!(starts(directory.path()), Err(StartError::Damaged { .. })));
}

#[test]
fn the_position_of_the_last_line_is_that_of_the_last_of_its_group() {
    let directory = finished_log();
    append(&segment(directory.path(), 1), b"torn");
    let mut audit = None;
    let said = told(|| audit = Some(Audit::start(options(directory.path()), Clock::system()).unwrap()));
    assert!(said.contains("WARN") && said.contains("the audit log had a torn end") && said.contains("seq=8"), "{said}");
    let audit = audit.unwrap();
    let resume: Value = serde_json::from_slice(&fs::read(directory.path().join(RESUME)).unwrap()).unwrap();
    let at = |name: &str| usize::try_from(resume.get(name).unwrap().as_u64().unwrap()).unwrap();
    let bytes = fs::read(segment(directory.path(), 1)).unwrap();
    let last = bytes.get(at("line")..at("offset")).unwrap();
    assert!(
        last.starts_with(b"{\"v\":1,\"seq\":9,") && last.ends_with(b"\n"),
        "the repair and the start are one group"
    );
    run(audit.shutdown());
}

#[test]
fn a_position_that_is_not_the_end_is_not_believed() {
    let line_of = |directory: &Path, number: usize| {
        let text = fs::read_to_string(segment(directory, 1)).unwrap();
        let from: usize = text.split_inclusive('\n').take(number - 1).map(str::len).sum();
        let line = text.lines().nth(number - 1).unwrap();
        (from, from + line.len() + 1, STANDARD.encode(merkle::leaf(line.as_bytes())))
    };
    let earlier = |directory: &Path, resume: &mut Value| {
        let (line, offset, last) = line_of(directory, 5);
        for (name, value) in [("line", json!(line)), ("offset", json!(offset)), ("last", json!(last))] {
            *resume.get_mut(name).unwrap() = value;
        }
    };
    let another_hash =
        |_: &Path, resume: &mut Value| *resume.get_mut("last").unwrap() = json!(STANDARD.encode([7; 32]));
    let other_peaks = |_: &Path, resume: &mut Value| resume.get_mut("peaks").unwrap().as_array_mut().unwrap().reverse();
    let other_size = |_: &Path, resume: &mut Value| *resume.get_mut("size").unwrap() = json!(11);
    let other_file = |directory: &Path, resume: &mut Value| {
        fs::copy(segment(directory, 1), directory.join("elsewhere.jsonl")).unwrap();
        *resume.get_mut("segment").unwrap() = json!("elsewhere.jsonl");
    };
    let changes: [Change<'_>; 5] = [&earlier, &another_hash, &other_peaks, &other_size, &other_file];
    for (number, change) in changes.iter().enumerate() {
        let directory = finished_log();
        let path = directory.path().join(RESUME);
        let mut resume = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(directory.path(), &mut resume);
        fs::write(&path, resume.to_string()).unwrap();
        starts(directory.path()).unwrap();
        let report = report(directory.path());
        assert_eq!((report.records, report.bad), (9, None), "change {number}");
    }
}

#[test]
fn a_log_that_is_called_otherwise_from_now_on_goes_on_under_the_same_key() {
    let directory = finished_log();
    let mut renamed = options(directory.path());
    renamed.origin = "test.example/another".to_owned();
    run(Audit::start(renamed, Clock::system()).unwrap().shutdown());
    let report = report(directory.path());
    assert_eq!((report.records, report.covered, report.bad), (9, 9, None));
    let checkpoints = fs::read_to_string(directory.path().join(CHECKPOINTS)).unwrap();
    assert!(checkpoints.contains("test.example/another\n9\n"), "{checkpoints}");
}

#[test]
fn no_log_starts_on_a_disk_that_has_no_more_than_its_floor() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.floor_bytes = 1 << 60;
    assert!(matches!(Audit::start(options, Clock::system()), Err(StartError::Io(_))));
}
