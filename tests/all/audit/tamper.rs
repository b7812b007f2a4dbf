//! Whatever is changed in a log, `verify` names it.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use firebreak::audit::{Audit, Bad, PublicKey, Report, VerifyOptions, command_verify, verify};
use firebreak::clock::Clock;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{lines, options, record, run, segments, start};

/// A log of some 60 records in some segments, closed in order.
fn write_log(directory: &Path, records: usize) {
    let mut options = options(directory);
    options.segment_bytes = 4_000;
    options.checkpoint_records = 7;
    let audit = start(options);
    run(async {
        for number in 0..records {
            record(&audit, &format!("request-{number}")).await.unwrap();
        }
        audit.shutdown().await;
    });
}

/// A fresh copy of one good log.
fn good_log() -> TempDir {
    static LOG: OnceLock<TempDir> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        write_log(directory.path(), 60);
        assert!(segments(directory.path()).len() >= 3);
        directory
    });
    copy(log.path())
}

fn copy(from: &Path) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    directory
}

fn report(directory: &Path) -> Report {
    verify(directory, &VerifyOptions::default()).unwrap()
}

fn bad(directory: &Path) -> Bad {
    report(directory).bad.unwrap()
}

/// Changes the lines of all segments, keeping each segment's number of lines where it can.
fn change_lines(directory: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let paths = segments(directory);
    let counts: Vec<_> = paths.iter().map(|path| fs::read_to_string(path).unwrap().lines().count()).collect();
    let mut lines = lines(directory);
    change(&mut lines);
    let mut lines = lines.into_iter();
    for (number, (path, count)) in paths.iter().zip(&counts).enumerate() {
        let count = if number + 1 == paths.len() { usize::MAX } else { *count };
        fs::write(path, lines.by_ref().take(count).map(|line| line + "\n").collect::<String>()).unwrap();
    }
}

/// Makes the chain fit again after a change, as one would who knows how it works but has no key.
fn chain_again(lines: &mut [String]) {
    let mut prev = [0_u8; 32];
    for line in lines {
        let (head, rest) = line.split_once("\"prev\":\"").unwrap();
        let (_, rest) = rest.split_once('"').unwrap();
        *line = format!("{head}\"prev\":\"{}\"{rest}", STANDARD.encode(prev));
        prev = Sha256::new().chain_update([0]).chain_update(line.as_bytes()).finalize().into();
    }
}

fn last_checkpoint(directory: &Path) -> String {
    let checkpoints = fs::read_to_string(directory.join("checkpoints")).unwrap();
    let parts: Vec<_> = checkpoints.trim_end().split("\n\n").collect();
    let [.., body, signature] = parts.as_slice() else { return String::new() };
    format!("{body}\n\n{signature}\n")
}

fn against(directory: &Path, anchored: &str) -> Report {
    verify(directory, &VerifyOptions { anchored: vec![anchored.to_owned()], ..VerifyOptions::default() }).unwrap()
}

#[test]
fn a_good_log_is_good_and_its_root_is_that_of_an_independent_tree() {
    let log = good_log();
    let report = against(log.path(), &last_checkpoint(log.path()));
    assert_eq!((report.bad.clone(), report.records, report.covered, report.anchored), (None, 62, 62, 1));
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for line in lines(log.path()) {
        oracle.push(line.into_bytes());
    }
    assert_eq!(&report.root[..], &oracle.root().as_bytes()[..]);
    assert!(last_checkpoint(log.path()).contains(&STANDARD.encode(report.root)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_byte_flipped_anywhere_is_noticed(place in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let log = good_log();
        let paths = segments(log.path());
        let sizes: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap().len()).collect();
        let mut place = place.index(sizes.iter().sum());
        let (mut line, mut segment) = (1, 0);
        while place >= *sizes.get(segment).unwrap() {
            place -= sizes.get(segment).unwrap();
            line += fs::read_to_string(paths.get(segment).unwrap()).unwrap().lines().count();
            segment += 1;
        }
        let path = paths.get(segment).unwrap();
        let mut bytes = fs::read(path).unwrap();
        line += bytes.iter().take(place).filter(|byte| **byte == b'\n').count();
        *bytes.get_mut(place).unwrap() ^= mask;
        fs::write(path, bytes).unwrap();
        let bad = bad(log.path());
        prop_assert!((bad.seq..=bad.through).contains(&(line as u64)), "line {}: {:?}", line, bad);
        // The chain tells which line it was, but for the last two: there is no line behind them to ask.
        if line < 61 {
            prop_assert!(bad.seq == bad.through, "line {}: {:?}", line, bad);
        }
    }

    #[test]
    fn a_deleted_line_is_named(seq in 1..=62_usize) {
        let log = good_log();
        change_lines(log.path(), |lines| drop(lines.remove(seq - 1)));
        prop_assert_eq!(bad(log.path()).seq, seq as u64);
    }

    #[test]
    fn two_swapped_lines_are_named(first in 1..=61_usize, distance in 1..=61_usize) {
        let second = (first + distance).min(62);
        let log = good_log();
        change_lines(log.path(), |lines| lines.swap(first - 1, second - 1));
        prop_assert_eq!(bad(log.path()).seq, first as u64);
    }

    #[test]
    fn a_cut_tail_is_named(left in 0..=61_usize) {
        let log = good_log();
        change_lines(log.path(), |lines| lines.truncate(left));
        prop_assert_eq!(bad(log.path()).seq, left as u64 + 1);
    }
}

#[test]
fn a_repeated_line_is_named() {
    let log = good_log();
    change_lines(log.path(), |lines| lines.insert(10, lines.get(9).unwrap().clone()));
    assert_eq!(bad(log.path()).seq, 11);
}

#[test]
fn a_missing_segment_is_named() {
    let log = good_log();
    let paths = segments(log.path());
    let lines_before = fs::read_to_string(paths.first().unwrap()).unwrap().lines().count() as u64;
    fs::remove_file(paths.get(1).unwrap()).unwrap();
    assert_eq!(bad(log.path()).seq, lines_before + 1);
}

#[test]
fn a_record_that_was_changed_and_chained_again_contradicts_a_signed_root() {
    let log = good_log();
    change_lines(log.path(), |lines| {
        let line = lines.get_mut(29).unwrap();
        *line = line.replace("\"patients\":[\"p1\"]", "\"patients\":[\"p2\"]");
        chain_again(lines);
    });
    let bad = bad(log.path());
    assert!(bad.seq <= 30 && bad.through >= 30 && bad.through - bad.seq < 10, "{bad:?}");
    assert!(bad.what.contains("signed"), "{bad:?}");
}

#[test]
fn chaining_again_changes_nothing_in_a_good_log() {
    let log = good_log();
    change_lines(log.path(), |lines| chain_again(lines));
    assert!(report(log.path()).is_good(), "so the test above shows what it says");
}

#[test]
fn a_tail_cut_together_with_its_checkpoints_shows_only_against_an_anchored_one() {
    let log = good_log();
    let anchored = last_checkpoint(log.path());
    let checkpoints = fs::read_to_string(log.path().join("checkpoints")).unwrap();
    let kept: Vec<_> = checkpoints.split_inclusive("\n\n").take(8).collect();
    fs::write(log.path().join("checkpoints"), kept.concat()).unwrap();
    let size: usize = kept.get(6).unwrap().lines().nth(1).unwrap().parse().unwrap();
    change_lines(log.path(), |lines| lines.truncate(size));
    let unanchored = report(log.path());
    assert!(unanchored.is_good() && unanchored.to_string().contains("cut tail"), "{unanchored}");
    assert_eq!(against(log.path(), &anchored).bad.unwrap().seq, size as u64 + 1);
}

#[test]
fn an_older_log_in_place_of_the_newer_shows_against_an_anchored_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    write_log(directory.path(), 10);
    let older = copy(directory.path());
    write_log(directory.path(), 10);
    let anchored = last_checkpoint(directory.path());
    assert!(against(directory.path(), &anchored).is_good());
    assert!(report(older.path()).is_good());
    assert_eq!(against(older.path(), &anchored).bad.unwrap().seq, 13);
}

#[test]
fn an_older_segment_in_place_of_the_newer_is_named() {
    let directory = tempfile::tempdir().unwrap();
    write_log(directory.path(), 3);
    let older = fs::read(segments(directory.path()).first().unwrap()).unwrap();
    write_log(directory.path(), 3);
    fs::write(segments(directory.path()).first().unwrap(), older).unwrap();
    assert_eq!(bad(directory.path()).seq, 6);
}

#[test]
fn a_wrong_signature_of_a_checkpoint_is_noticed() {
    let log = good_log();
    let path = log.path().join("checkpoints");
    let text = fs::read_to_string(&path).unwrap();
    let size = text.split_inclusive("\n\n").nth(4).unwrap().lines().nth(1).unwrap().to_owned();
    let signature = text.split_inclusive("\n\n").nth(5).unwrap().to_owned();
    let (before, after) = signature.split_at(signature.len() - 40);
    let changed = format!("{before}{}{}", if after.starts_with('A') { 'B' } else { 'A' }, after.split_at(1).1);
    let text = text.replace(&signature, &changed);
    fs::write(&path, text).unwrap();
    let bad = bad(log.path());
    assert!(bad.what.contains("not signed") && bad.through.to_string() == size, "{bad:?}");
}

#[test]
fn a_log_rewritten_under_another_key_shows_against_an_anchored_checkpoint() {
    let log = good_log();
    let anchored = last_checkpoint(log.path());
    let forged = tempfile::tempdir().unwrap();
    write_log(forged.path(), 60);
    assert!(report(forged.path()).is_good());
    let bad = against(forged.path(), &anchored).bad.unwrap();
    assert!(bad.what.contains("not signed by a key of this log"), "{bad:?}");
}

#[test]
fn the_command_tells_good_from_bad() {
    let log = good_log();
    let anchor = log.path().join("anchor");
    fs::write(&anchor, last_checkpoint(log.path())).unwrap();
    let text = command_verify(log.path(), Some(&anchor)).unwrap();
    assert!(text.starts_with("good: 62 records"), "{text}");
    assert!(!text.contains("without an anchored"), "{text}");
    assert!(command_verify(log.path(), None).unwrap().contains("without an anchored checkpoint"));
    change_lines(log.path(), |lines| drop(lines.remove(20)));
    let text = command_verify(log.path(), Some(&anchor)).unwrap_err();
    assert!(text.starts_with("BAD at record 21: the record is missing"), "{text}");
    fs::write(&anchor, "nothing").unwrap();
    assert!(command_verify(log.path(), Some(&anchor)).is_err());
}

#[test]
fn anchored_checkpoints_may_come_in_any_order_and_each_of_them_must_be_one() {
    let log = good_log();
    let checkpoints = fs::read_to_string(log.path().join("checkpoints")).unwrap();
    let parts: Vec<_> = checkpoints.split_inclusive("\n\n").collect();
    let mut notes: Vec<String> = parts.chunks(2).map(<[&str]>::concat).collect();
    notes.reverse();
    let anchor = log.path().join("anchor");
    let told = |text: &str| {
        fs::write(&anchor, text).unwrap();
        command_verify(log.path(), Some(&anchor))
    };
    let text = told(&notes.concat()).unwrap();
    assert!(text.contains(&format!("{} anchored", notes.len())), "{text}");
    for none in ["", "\n\n\n", "nothing", "a\nb\n\n— c d\n\n", &format!("{}\nnothing", notes.concat())] {
        assert!(told(none).is_err(), "{none}");
    }
    assert!(command_verify(log.path(), Some(&log.path().join("not there"))).is_err());
}

#[test]
fn the_keys_that_are_given_count_and_those_beside_the_log_do_not() {
    let log = good_log();
    let keys = |directory: &Path| -> Vec<PublicKey> {
        let text = fs::read_to_string(directory.join("checkpoint.pub")).unwrap();
        text.lines().map(|line| PublicKey::parse(line).unwrap()).collect()
    };
    let other = tempfile::tempdir().unwrap();
    write_log(other.path(), 1);
    let with = |keys| verify(log.path(), &VerifyOptions { keys, ..VerifyOptions::default() }).unwrap();
    assert!(with(keys(log.path())).is_good());
    assert!(with(keys(other.path())).bad.unwrap().what.contains("not signed by a key of this log"));
}

#[test]
fn a_log_rewritten_by_who_has_its_key_shows_against_an_anchored_checkpoint() {
    let log = good_log();
    let anchored = last_checkpoint(log.path());
    let forged = tempfile::tempdir().unwrap();
    fs::copy(log.path().join("checkpoint.key"), forged.path().join("checkpoint.key")).unwrap();
    write_log(forged.path(), 60);
    assert!(report(forged.path()).is_good());
    let bad = against(forged.path(), &anchored).bad.unwrap();
    assert!(bad.what.contains("the anchored checkpoint was signed for") && bad.through == 62, "{bad:?}");
}

#[test]
fn checkpoints_that_are_missing_in_disorder_or_none_are_noticed() {
    let log = good_log();
    let path = log.path().join("checkpoints");
    let good = fs::read_to_string(&path).unwrap();
    let parts: Vec<_> = good.split_inclusive("\n\n").collect();
    let notes: Vec<String> = parts.chunks(2).map(<[&str]>::concat).collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut notes = notes.clone();
        change(&mut notes);
        fs::write(&path, notes.concat()).unwrap();
        report(log.path())
    };
    assert!(with(&|_| {}).is_good());
    assert!(with(&|notes| notes.swap(3, 4)).bad.unwrap().what.contains("not in order"));
    assert!(with(&|notes| notes.insert(3, "a\nb\n\n— c d\n\n".to_owned())).bad.unwrap().what.contains("is not one"));
    assert!(!with(&|notes| notes.push("x\n".repeat(50_000))).is_good(), "nothing that long is read");
    assert!(with(&Vec::clear).bad.unwrap().what.contains("no checkpoint beside the log"));
    fs::remove_file(&path).unwrap();
    let bad = bad(log.path());
    assert_eq!((bad.seq, &*bad.what), (1, "there is no checkpoint beside the log"));
}

#[test]
fn a_changed_record_that_the_next_but_one_cannot_tell_of_is_within_what_is_named() {
    let log = good_log();
    change_lines(log.path(), |lines| {
        let line = lines.get_mut(19).unwrap();
        *line = line.replace("\"patients\":[\"p1\"]", "\"patients\":[\"p2\"]");
        *lines.get_mut(21).unwrap() = "nothing".to_owned();
    });
    let bad = bad(log.path());
    assert!(bad.seq <= 20 && bad.through >= 20 && bad.through - bad.seq <= 1, "{bad:?}");
}

#[test]
fn a_clock_that_went_back_is_told_and_the_order_is_right_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for seconds in [1_795_395_723, 1_795_395_423, 1_795_395_424] {
        let audit = Audit::start(options(directory.path()), Clock::fixed(seconds)).unwrap();
        run(async {
            record(&audit, "one").await.unwrap();
            audit.shutdown().await;
        });
    }
    let report = report(directory.path());
    assert!(report.is_good() && report.records == 9, "{report}");
    assert!(report.to_string().contains("the clock went back 1 times, first at record 4"), "{report}");
}

#[test]
fn repairs_are_told_by_number_and_not_without_end() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..25 {
        let audit = start(options(directory.path()));
        run(audit.shutdown());
        let last = segments(directory.path()).pop().unwrap();
        let torn = fs::read(&last).unwrap();
        fs::write(&last, [torn.as_slice(), b"torn"].concat()).unwrap();
    }
    let text = report(directory.path()).to_string();
    assert!(text.contains("4 bytes at the end are not a whole record"), "{text}");
    let (_, told) = text.split_once("repairs are told by the records ").unwrap();
    let numbers: Vec<u64> = told.lines().next().unwrap().split(", ").map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, (0..20).map(|number| 3 + 3 * number).collect::<Vec<u64>>());
}

#[test]
fn a_log_is_good_at_every_moment_while_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path());
    options.checkpoint_records = 2;
    options.segment_bytes = 5_000;
    let audit = start(options);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            run(async {
                for _ in 0..500 {
                    record(&audit, "one").await.unwrap();
                }
            });
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let report = report(directory.path());
            assert!(report.is_good(), "{report}");
        }
    });
    run(audit.shutdown());
}
