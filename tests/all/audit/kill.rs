//! Processes that end in the middle: this executable starts itself again as a child that records, and ends it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use firebreak::audit::{Entry, EventKind, VerifyOptions, verify};
use tokio::task::JoinSet;

use super::{entries, lines, options, record, run, segments, start};

/// The variable that tells the child where its log is.
const DIRECTORY: &str = "FIREBREAK_TEST_AUDIT_DIRECTORY";
/// The variable that tells the child how its acknowledged records begin.
const NAME: &str = "FIREBREAK_TEST_AUDIT_NAME";
const CHILD: &str = "audit::kill::child";

/// Not a test by itself: the child. It records until it is killed or denied, and prints what was acknowledged.
#[test]
fn child() {
    let (Ok(directory), Ok(name)) = (std::env::var(DIRECTORY), std::env::var(NAME)) else { return };
    let mut options = options(Path::new(&directory));
    options.segment_bytes = 64 * 1024;
    options.checkpoint_records = 40;
    // A disk that is busy with something else is not what this is about: it would deny, and the child would end by itself.
    options.deadline = Duration::from_secs(120);
    if name == "limited" {
        options.segment_bytes = u64::MAX;
    }
    let audit = start(options);
    run(async {
        let mut recording = JoinSet::new();
        for task in 0..6 {
            let (audit, name) = (audit.clone(), name.clone());
            recording.spawn(async move {
                // Far more than fits into the time or the limit that the parent gives.
                for number in 0..200_000 {
                    let id = format!("{name}-{task}-{number}");
                    let Some(seq) = record(&audit, &id).await else { return };
                    let mut out = std::io::stdout().lock();
                    out.write_all(format!("ack {seq} {id}\n").as_bytes()).unwrap();
                    out.flush().unwrap();
                }
            });
        }
        recording.join_all().await;
        std::io::stdout().write_all(format!("denied {}\n", !audit.healthy()).as_bytes()).unwrap();
        audit.shutdown().await;
    });
}

fn acknowledged(line: &str, into: &mut BTreeMap<u64, String>) -> bool {
    let mut words = line.split_once("ack ").map(|(_, rest)| rest).unwrap_or_default().split(' ');
    let (Some(Ok(seq)), Some(id)) = (words.next().map(str::parse), words.next()) else { return false };
    assert_eq!(into.insert(seq, id.to_owned()), None, "the number {seq} was given twice");
    true
}

fn all_are_there(directory: &Path, acknowledged: &BTreeMap<u64, String>) {
    let lines = lines(directory);
    for (seq, id) in acknowledged {
        let line = lines.get(usize::try_from(*seq).unwrap() - 1).and_then(|line| Entry::parse(line).ok());
        assert_eq!(line.and_then(|entry| entry.record.request_id).as_ref(), Some(id), "record {seq}");
    }
}

/// Gives whether the log ends in what is not a whole record, which is no damage.
fn is_good(directory: &Path, round: usize) -> bool {
    let report = verify(directory, &VerifyOptions::default()).unwrap();
    assert!(report.is_good(), "round {round}: {report}");
    report.notices.iter().any(|notice| notice.contains("not a whole record"))
}

#[test]
fn what_was_acknowledged_survives_kill_9_thirty_times() {
    let directory = tempfile::tempdir().unwrap();
    let mut known = BTreeMap::new();
    let mut torn = 0;
    for round in 0..30 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(NAME, format!("round{round}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let [random, ..] = firebreak::random::bytes::<1>();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acks = 0;
        while acks <= u32::from(random) {
            acks += u32::from(acknowledged(&out.next().unwrap().unwrap(), &mut known));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        out.for_each(|line| {
            acknowledged(&line.unwrap(), &mut known);
        });
        // A kill ends a write between two pages, so that now and then it leaves the beginning of a line; a power cut leaves more.
        let mut is_torn = is_good(directory.path(), round);
        if round % 3 == 0 {
            let last = segments(directory.path()).pop().unwrap();
            OpenOptions::new().append(true).open(last).unwrap().write_all(b"{\"v\":1,\"seq\":").unwrap();
            is_torn = is_good(directory.path(), round);
            assert!(is_torn, "round {round}");
        }
        torn += usize::from(is_torn);
        all_are_there(directory.path(), &known);
    }
    run(start(options(directory.path())).shutdown());
    assert!(!is_good(directory.path(), 30));
    all_are_there(directory.path(), &known);
    let repairs = entries(directory.path());
    let repairs = repairs.iter().filter(|entry| entry.record.kind == EventKind::Repair);
    assert_eq!(repairs.count(), torn, "each torn end is told once");
}

#[test]
fn a_file_that_may_not_grow_denies_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // 128 blocks of 512 bytes; the signal that the limit sends is ignored, so that writes fail.
    let script = r#"trap '' 25; ulimit -f 128; exec "$0" "$@""#;
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env(DIRECTORY, directory.path())
        .env(NAME, "limited")
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let mut known = BTreeMap::new();
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().for_each(|line| {
        acknowledged(line, &mut known);
    });
    assert!(told.contains("denied true"), "{told}");
    assert!(known.len() > 20, "{told}");
    run(start(options(directory.path())).shutdown());
    assert!(!is_good(directory.path(), 0));
    all_are_there(directory.path(), &known);
}
