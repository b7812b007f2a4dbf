//! The log itself, without threads: lines into segments, synced group by group, and checkpoints over them.
//!
//! Takes the bodies of records; gives them numbers and makes them durable. Promises: when [`Log::append`] returns `Ok`,
//! all of the group is durable; when it returns an error, none of it counts, its numbers are given out again, and before
//! anything else is written the file is cut back to what was synced last. Does not retry and does not know of requests.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::line;
use super::merkle::{self, Frontier, Hash};
use super::note::Signer;
use super::storage::Storage;

/// The file of checkpoints: signed notes, each followed by an empty line.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// Where the last checkpoint stands in the segments, so that a start need not read the whole log.
pub(super) const RESUME: &str = "resume.json";

/// The name of the segment whose first line is `seq`.
pub(super) fn segment_name(seq: u64) -> String {
    format!("segment-{seq:020}.jsonl")
}

/// The number of the first line of a segment, by its name.
pub(super) fn segment_start(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".jsonl")?;
    let seq = digits.parse().ok()?;
    (segment_name(seq) == name).then_some(seq)
}

/// The sizes a log keeps to, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A segment of this size gets no more groups.
    pub(super) segment: u64,
    /// So much of the disk stays free: writing stops before the disk is full.
    pub(super) floor: u64,
}

/// A position at the end of the log.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) segment: String,
    /// The length of the segment up to here.
    pub(super) offset: u64,
    /// Where its last line begins.
    pub(super) line: u64,
    pub(super) tree: Frontier,
    /// The leaf hash of the last line.
    pub(super) last: Hash,
}

/// An open log.
pub(super) struct Log {
    storage: Box<dyn Storage>,
    signer: Signer,
    limits: Limits,
    /// The end of what is durable.
    end: End,
    /// Whether there may be bytes after `end`, from a group that failed.
    torn: bool,
    /// The size of the tree at the last checkpoint.
    checkpointed: u64,
    /// The durable length of the file of checkpoints, and whether there may be bytes after it.
    checkpoints: (u64, bool),
    /// The last group as it was written.
    buffer: Vec<u8>,
    /// Checkpoints that nobody took yet.
    notes: Vec<String>,
}

impl Log {
    /// A log that goes on at `end`.
    pub(super) fn new(
        storage: Box<dyn Storage>,
        signer: Signer,
        limits: Limits,
        end: End,
        checkpoint: (u64, u64),
    ) -> Self {
        let (checkpointed, length) = checkpoint;
        Self {
            storage,
            signer,
            limits,
            end,
            torn: false,
            checkpointed,
            checkpoints: (length, true),
            buffer: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Appends a group and makes it durable. Gives the number of its first line.
    pub(super) fn append<'a>(&mut self, time: &str, bodies: impl Iterator<Item = &'a [u8]>) -> io::Result<u64> {
        self.buffer.clear();
        if self.torn {
            self.storage.truncate(&self.end.segment, self.end.offset)?;
            self.torn = false;
        }
        if self.end.offset >= self.limits.segment
            && let Err(error) = self.rotate()
        {
            tracing::warn!(%error, "the audit log goes on in its old segment");
        }
        let first = self.end.tree.size() + 1;
        let mut tree = self.end.tree.clone();
        let mut last = self.end.last;
        let mut start = 0;
        for body in bodies {
            start = self.buffer.len();
            line::write(&mut self.buffer, tree.size() + 1, time, &last, body);
            last = merkle::leaf(self.buffer.get(start..).unwrap_or_default());
            tree.push(last);
            self.buffer.push(b'\n');
        }
        let length = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        if self.storage.available()? < self.limits.floor.saturating_add(length) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk has no more than its floor free"));
        }
        self.torn = true;
        self.storage.append(&self.end.segment, &self.buffer)?;
        self.storage.sync(&self.end.segment)?;
        self.torn = false;
        self.end.tree = tree;
        self.end.last = last;
        self.end.line = self.end.offset + u64::try_from(start).unwrap_or(u64::MAX);
        self.end.offset += length;
        Ok(first)
    }

    /// The lines of the last group, if it was written.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let text = if self.torn { "" } else { str::from_utf8(&self.buffer).unwrap_or_default() };
        text.split_terminator('\n')
    }

    /// Signs and stores a checkpoint over all that is durable, if there is anything new.
    pub(super) fn checkpoint(&mut self) -> io::Result<()> {
        let size = self.end.tree.size();
        let (length, torn) = self.checkpoints;
        if size == self.checkpointed && length > 0 {
            return Ok(());
        }
        if torn {
            self.storage.truncate(CHECKPOINTS, length)?;
        }
        let note = self.signer.sign(size, self.end.tree.root());
        self.checkpoints.1 = true;
        self.storage.append(CHECKPOINTS, format!("{note}\n").as_bytes())?;
        self.storage.sync(CHECKPOINTS)?;
        self.checkpoints = (length + u64::try_from(note.len() + 1).unwrap_or_default(), false);
        self.checkpointed = size;
        if let Err(error) = self.storage.replace(RESUME, &Resume::of(&self.end).to_json()) {
            tracing::debug!(%error, "the next start will read the whole audit log");
        }
        self.notes.push(note);
        Ok(())
    }

    /// The checkpoints since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The number of lines.
    pub(super) fn size(&self) -> u64 {
        self.end.tree.size()
    }

    /// How many lines no checkpoint covers yet.
    pub(super) fn uncovered(&self) -> u64 {
        self.size() - self.checkpointed
    }

    /// The free space above the floor.
    pub(super) fn room(&mut self) -> io::Result<u64> {
        Ok(self.storage.available()?.saturating_sub(self.limits.floor))
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.checkpoint()?;
        let name = segment_name(self.size() + 1);
        self.storage.create(&name)?;
        self.end.segment = name;
        self.end.offset = 0;
        self.end.line = 0;
        Ok(())
    }
}

/// The file [`RESUME`]. It is believed only as far as a signed checkpoint has the same root, and the last line is where it
/// says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    pub(super) size: u64,
    segment: String,
    offset: u64,
    line: u64,
    peaks: Vec<String>,
    last: String,
}

impl Resume {
    fn of(end: &End) -> Self {
        Self {
            size: end.tree.size(),
            segment: end.segment.clone(),
            offset: end.offset,
            line: end.line,
            peaks: end.tree.peaks().iter().map(|hash| STANDARD.encode(hash)).collect(),
            last: STANDARD.encode(end.last),
        }
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The position, if it makes sense.
    pub(super) fn end(&self) -> Option<End> {
        let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
        let peaks = self.peaks.iter().map(hash).collect::<Option<Vec<Hash>>>()?;
        segment_start(&self.segment)?;
        Some(End {
            segment: self.segment.clone(),
            offset: self.offset,
            line: self.line,
            tree: Frontier::resume(self.size, peaks)?,
            last: hash(&self.last)?,
        })
    }
}
