//! Opening a log: where does it end, and is the end whole?
//!
//! Takes the files as a crash may have left them; gives a [`Log`] that goes on after the last good line. Lines behind
//! the last checkpoint that are cut or broken are what a crash leaves: they are moved to a `torn-…` file and reported.
//! A broken line that a checkpoint covers was durable and good once, so it is no crash, and the log is refused.
//! Does not check the whole log: that is [`verify()`](super::verify()).

use std::io::{self, Read};

use jiff::Timestamp;
use serde::Deserialize;

use super::StartError;
use super::line::{GENESIS, Head};
use super::log::{CHECKPOINTS, End, Limits, Log, RESUME, Resume, segment_name, segment_start};
use super::merkle::{self, Frontier};
use super::note::{Checkpoint, Note, PublicKey, Signer};
use super::storage::{Found, Storage, read_line};

/// What was cut from the end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Torn {
    /// The first line that was not whole.
    pub(super) seq: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
    /// The file that has the bytes now.
    pub(super) kept_as: String,
}

/// Opens the log, or makes a new one.
pub(super) fn open(
    mut storage: Box<dyn Storage>,
    signer: Signer,
    keys: &[PublicKey],
    limits: Limits,
    now: Timestamp,
) -> Result<(Log, Option<Torn>), StartError> {
    let checkpoint = last_checkpoint(storage.as_mut(), keys)?;
    let segments = segments(storage.as_mut())?;
    let Some((checkpoint, length)) = checkpoint else {
        return begin(storage, signer, limits, &segments);
    };
    let (end, broken_at) = scan(storage.as_mut(), &segments, &checkpoint)?;
    let torn = match broken_at {
        Some(at) => Some(cut(storage.as_mut(), &at, &end, now)?),
        None => None,
    };
    Ok((Log::new(storage, signer, limits, end, (checkpoint.size, length)), torn))
}

/// A place in a segment.
struct Place {
    segment: String,
    offset: u64,
}

/// A new log: its first checkpoint is over no line, so that there is always one.
fn begin(
    mut storage: Box<dyn Storage>,
    signer: Signer,
    limits: Limits,
    segments: &[(u64, String)],
) -> Result<(Log, Option<Torn>), StartError> {
    for (start, name) in segments {
        if storage.size(name)?.unwrap_or_default() > 0 {
            return Err(StartError::damaged(*start, "there are records, but no checkpoint"));
        }
    }
    let segment = segment_name(1);
    storage.create(&segment)?;
    if storage.size(CHECKPOINTS)?.is_none() {
        storage.create(CHECKPOINTS)?;
    }
    let end = End { segment, offset: 0, line: 0, tree: Frontier::default(), last: GENESIS };
    let mut log = Log::new(storage, signer, limits, end, (0, 0));
    log.checkpoint()?;
    Ok((log, None))
}

/// The last whole checkpoint and the length of the file up to its end. `None` for a log that has none yet.
fn last_checkpoint(storage: &mut dyn Storage, keys: &[PublicKey]) -> Result<Option<(Checkpoint, u64)>, StartError> {
    const ENOUGH: u64 = 64 * 1024;
    let size = storage.size(CHECKPOINTS)?.unwrap_or_default();
    if size == 0 {
        return Ok(None);
    }
    let from = size.saturating_sub(ENOUGH);
    let mut bytes = Vec::new();
    storage.reader(CHECKPOINTS, from)?.take(ENOUGH).read_to_end(&mut bytes)?;
    let skip = if from == 0 { 0 } else { bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| n + 1) };
    let tail = bytes.get(skip..).unwrap_or_default();
    let text = match str::from_utf8(tail) {
        Ok(text) => text,
        Err(error) => str::from_utf8(tail.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default(),
    };
    let (mut position, mut body, mut last) = (from + skip as u64, "", None);
    for part in text.split_inclusive("\n\n") {
        position += part.len() as u64;
        if part.starts_with("— ") && part.ends_with("\n\n") {
            last = Some((format!("{body}{}", part.strip_suffix('\n').unwrap_or_default()), position));
        }
        body = part;
    }
    let Some((note, length)) = last else {
        // The very first checkpoint was not finished: then there is no record either, see `begin`.
        return if from == 0 { Ok(None) } else { Err(StartError::damaged(1, "the checkpoints cannot be read")) };
    };
    match Note::parse(&note).and_then(|note| note.verify(keys)) {
        Some(checkpoint) => Ok(Some((checkpoint, length))),
        None => Err(StartError::damaged(1, "the last checkpoint is not signed by a key of this log")),
    }
}

/// The segments that hold something, and the empty last one, by the number of their first line.
fn segments(storage: &mut dyn Storage) -> Result<Vec<(u64, String)>, StartError> {
    let mut segments: Vec<_> =
        storage.names()?.into_iter().filter_map(|name| Some((segment_start(&name)?, name))).collect();
    segments.sort();
    Ok(segments)
}

/// Reads on from the last checkpoint, or from the first line when that is not possible, to the end of what is whole.
fn scan(
    storage: &mut dyn Storage,
    segments: &[(u64, String)],
    checkpoint: &Checkpoint,
) -> Result<(End, Option<Place>), StartError> {
    let start = End { segment: segment_name(1), offset: 0, line: 0, tree: Frontier::default(), last: GENESIS };
    let mut end = resume(storage, checkpoint).unwrap_or(start);
    let mut broken = None;
    let mut line = Vec::new();
    let from = end.segment.clone();
    for (first, name) in segments.iter().filter(|(_, name)| *name >= from) {
        let expected = end.tree.size() + 1;
        if broken.is_some() || (*name != from && *first != expected) {
            if storage.size(name)?.unwrap_or_default() == 0 {
                continue;
            }
            return Err(StartError::damaged(expected, "a segment is missing, or one that is not the last is cut"));
        }
        if *name != from {
            end.segment.clone_from(name);
            end.offset = 0;
        }
        let mut reader = storage.reader(name, end.offset)?;
        loop {
            let found = read_line(reader.as_mut(), &mut line)?;
            let seq = end.tree.size() + 1;
            let fits = Head::parse(&line).is_some_and(|head| head.seq == seq && head.prev == end.last);
            match found {
                Found::End => break,
                Found::Line if fits => {
                    end.last = merkle::leaf(&line);
                    end.tree.push(end.last);
                    end.line = end.offset;
                    end.offset += line.len() as u64 + 1;
                }
                Found::Line | Found::Torn => {
                    broken = Some(Place { segment: name.clone(), offset: end.offset });
                    break;
                }
            }
            if end.tree.size() == checkpoint.size && end.tree.root() != checkpoint.root {
                return Err(StartError::damaged(seq, "the records up to here are not those that were signed"));
            }
        }
    }
    if end.tree.size() < checkpoint.size {
        return Err(StartError::damaged(
            end.tree.size() + 1,
            "the record is missing or broken, and a checkpoint covers it",
        ));
    }
    Ok((end, broken))
}

/// The position of the last checkpoint, if the file that tells it agrees with what was signed.
fn resume(storage: &mut dyn Storage, checkpoint: &Checkpoint) -> Option<End> {
    let mut bytes = Vec::new();
    storage.reader(RESUME, 0).ok()?.take(64 * 1024).read_to_end(&mut bytes).ok()?;
    let end = Resume::deserialize(&mut serde_json::Deserializer::from_slice(&bytes)).ok()?.end()?;
    if end.tree.size() != checkpoint.size || end.tree.root() != checkpoint.root {
        return None;
    }
    // A position that is off by a byte would make good lines look torn.
    let mut line = Vec::new();
    let found = read_line(storage.reader(&end.segment, end.line).ok()?.as_mut(), &mut line).ok()?;
    let ends_here = end.line + line.len() as u64 + 1 == end.offset;
    let is_last = Head::parse(&line).is_some_and(|head| head.seq == end.tree.size());
    (found == Found::Line && ends_here && is_last && merkle::leaf(&line) == end.last).then_some(end)
}

/// Moves what follows the last whole line aside.
fn cut(storage: &mut dyn Storage, at: &Place, end: &End, now: Timestamp) -> io::Result<Torn> {
    let seq = end.tree.size() + 1;
    let mut bytes = Vec::new();
    storage.reader(&at.segment, at.offset)?.read_to_end(&mut bytes)?;
    let kept_as = format!("torn-{seq:020}-{}", now.as_millisecond());
    storage.create(&kept_as)?;
    storage.append(&kept_as, &bytes)?;
    storage.sync(&kept_as)?;
    storage.truncate(&at.segment, at.offset)?;
    let sha256 = crate::secret::Digest(merkle::hash(&[&bytes])).to_hex();
    Ok(Torn { seq, bytes: bytes.len() as u64, sha256, kept_as })
}
