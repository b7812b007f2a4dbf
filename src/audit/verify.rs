//! Checking a log from its first line to its last.
//!
//! Takes the directory of a log (running or not), and, to be worth something against whoever can write there, a
//! checkpoint that was kept elsewhere; gives a [`Report`] that names the first record that is not what it was. Reads
//! the files once, in constant memory. A changed, removed, inserted or reordered record breaks the chain or a signed
//! root. What it cannot see: a tail that was cut together with its checkpoints, and a log rewritten by one who has the
//! private key, unless an anchored checkpoint says otherwise. It repairs nothing.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use super::checkpoints::{Next, Stored};
use super::keys;
use super::line::{GENESIS, Head};
use super::log::segment_start;
use super::merkle::{self, Frontier, Hash};
use super::note::{Checkpoint, Note, PublicKey};
use super::storage::{Found, names, read_line, reader};

/// What to hold a log against.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The keys whose checkpoints count. When there are none, those beside the log count.
    pub keys: Vec<PublicKey>,
    /// The text of checkpoints that were kept elsewhere.
    pub anchored: Vec<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many records were read and found good.
    pub records: u64,
    /// How many segments they are in.
    pub segments: u64,
    /// How many checkpoints beside the log agree with it.
    pub checkpoints: u64,
    /// How many anchored checkpoints agree with it.
    pub anchored: u64,
    /// The last record that a checkpoint covers, of those that agree.
    pub covered: u64,
    /// The RFC 6962 root over the good records.
    pub root: [u8; 32],
    /// The first thing that is wrong, if any.
    pub bad: Option<Bad>,
    /// What is no damage, but should be known: repairs after crashes, a torn end, a clock that went back.
    pub notices: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.bad.is_none()
    }
}

/// Where a log stops being what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// The first record that is, or may be, wrong.
    pub seq: u64,
    /// The last one that it may be: the same as `seq` where the record is known.
    pub through: u64,
    /// What is wrong.
    pub what: String,
}

/// Checks the log in `directory`.
///
/// # Errors
/// When a file cannot be read; what is wrong in what can be read is in the report.
pub fn verify(directory: &Path, options: &VerifyOptions) -> io::Result<Report> {
    let keys = if options.keys.is_empty() { keys::public(directory)? } else { options.keys.clone() };
    let mut walk = Walk {
        tree: Frontier::default(),
        last: GENESIS,
        doubt: None,
        mismatch: None,
        time: String::new(),
        clock_steps: None,
        repairs: Vec::new(),
        stored: Stored::beside(directory)?,
        anchored: VecDeque::new(),
        keys,
        report: Report {
            records: 0,
            segments: 0,
            checkpoints: 0,
            anchored: 0,
            covered: 0,
            root: Frontier::default().root(),
            bad: None,
            notices: Vec::new(),
        },
    };
    let walked = walk.anchors(&options.anchored).and_then(|()| walk.segments(directory));
    match walked {
        Ok(()) => {}
        Err(Stop::Bad(bad)) => walk.report.bad = Some(bad),
        Err(Stop::Io(error)) => return Err(error),
    }
    Ok(walk.finish())
}

/// The command `firebreak audit verify`: the report as text, as an error when something is wrong. `anchored` is a file of
/// one or more checkpoints that were kept elsewhere.
///
/// # Errors
/// The report of a log that is not good, or why there is none.
pub fn command_verify(directory: &Path, anchored: Option<&Path>) -> Result<String, String> {
    let mut options = VerifyOptions::default();
    if let Some(path) = anchored {
        let unreadable = |error: io::Error| format!("the checkpoint `{}` cannot be read: {error}", path.display());
        let mut notes = Stored::kept(path).map_err(unreadable)?;
        loop {
            match notes.next().map_err(unreadable)? {
                Next::Note(note) | Next::Torn(note) if !note.trim().is_empty() => options.anchored.push(note),
                Next::Note(_) | Next::Torn(_) => {}
                Next::End => break,
            }
        }
        if options.anchored.is_empty() {
            return Err(format!("the file `{}` has no checkpoint", path.display()));
        }
    }
    let report = verify(directory, &options)
        .map_err(|error| format!("the audit log `{}` cannot be read: {error}", directory.display()))?;
    if report.is_good() { Ok(report.to_string()) } else { Err(report.to_string()) }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bad {
            None => {
                let records = if self.records == 1 { "record" } else { "records" };
                let segments = if self.segments == 1 { "segment" } else { "segments" };
                writeln!(f, "good: {} {records} in {} {segments}", self.records, self.segments)?;
            }
            Some(bad) if bad.seq == bad.through => writeln!(f, "BAD at record {}: {}", bad.seq, bad.what)?,
            Some(bad) => writeln!(f, "BAD in the records {} to {}: {}", bad.seq, bad.through, bad.what)?,
        }
        writeln!(f, "root: {}", crate::secret::Digest(self.root).to_hex())?;
        writeln!(f, "checkpoints that agree: {} beside the log, {} anchored", self.checkpoints, self.anchored)?;
        writeln!(f, "covered up to record: {}", self.covered)?;
        for notice in &self.notices {
            writeln!(f, "note: {notice}")?;
        }
        if self.anchored == 0 {
            writeln!(
                f,
                "note: without an anchored checkpoint a cut tail or a whole rewrite by the key's owner does not show"
            )?;
        }
        Ok(())
    }
}

/// Why the walk ends early.
enum Stop {
    Bad(Bad),
    Io(io::Error),
}

impl Stop {
    fn at(seq: u64, what: impl Into<String>) -> Self {
        Self::Bad(Bad { seq, through: seq, what: what.into() })
    }

    fn within(seq: u64, through: u64, what: impl Into<String>) -> Self {
        Self::Bad(Bad { seq, through: through.max(seq), what: what.into() })
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The state after the lines read so far.
struct Walk {
    tree: Frontier,
    last: Hash,
    /// A line whose `prev` is not the hash of the line before: one of the two was changed, and the next line tells which.
    doubt: Option<u64>,
    /// A signed root that does not fit, while the next line may still tell that it was the last record.
    mismatch: Option<Bad>,
    time: String,
    clock_steps: Option<(u64, u64)>,
    repairs: Vec<u64>,
    stored: Stored,
    /// By size.
    anchored: VecDeque<Checkpoint>,
    keys: Vec<PublicKey>,
    report: Report,
}

impl Walk {
    fn anchors(&mut self, texts: &[String]) -> Result<(), Stop> {
        let mut anchored = Vec::new();
        for text in texts {
            let note = Note::parse(&format!("{}\n", text.trim_matches('\n')))
                .ok_or_else(|| Stop::at(1, "the anchored text is not a checkpoint"))?;
            let size = note.checkpoint.size;
            let foreign = "the anchored checkpoint is not signed by a key of this log";
            anchored.push(note.verify(&self.keys).ok_or_else(|| Stop::within(1, size, foreign))?);
        }
        anchored.sort_by_key(|checkpoint| checkpoint.size);
        self.anchored = anchored.into();
        Ok(())
    }

    fn segments(&mut self, directory: &Path) -> Result<(), Stop> {
        let mut segments: Vec<_> =
            names(directory)?.into_iter().filter_map(|name| Some((segment_start(&name)?, name))).collect();
        segments.sort();
        let mut next = self.stored_checkpoint(None)?;
        self.compare(&mut next)?;
        let mut torn = None;
        for (first, name) in segments {
            let mut reader = reader(directory, &name, 0)?;
            if reader.fill_buf()?.is_empty() {
                continue;
            }
            let seq = self.next_seq();
            if let Some(bytes) = torn {
                return Err(Stop::at(seq, format!("the line is not whole ({bytes} bytes)")));
            }
            if first != seq {
                return Err(Stop::at(seq, format!("the record is missing: the next segment begins with {first}")));
            }
            self.report.segments += 1;
            torn = self.lines(&mut reader, &mut next)?;
        }
        if let Some(bad) = self.mismatch.take() {
            return Err(Stop::Bad(bad));
        }
        if let Some(seq) = self.doubt {
            return Err(Stop::within(seq - 1, seq, "the record, or the one after it, was changed"));
        }
        if let Some(size) = next.iter().chain(&self.anchored).map(|checkpoint| checkpoint.size).max() {
            let what = format!("the record is missing or not whole: a checkpoint covers the records up to {size}");
            return Err(Stop::at(self.next_seq(), what));
        }
        if let Some(bytes) = torn {
            let notice = "bytes at the end are not a whole record: a crash, or a log that is being written";
            self.report.notices.push(format!("{bytes} {notice}"));
        }
        Ok(())
    }

    /// Reads one segment. Gives the number of bytes at its end that are no whole line.
    fn lines(&mut self, reader: &mut dyn BufRead, next: &mut Option<Checkpoint>) -> Result<Option<usize>, Stop> {
        let mut line = Vec::new();
        loop {
            match read_line(reader, &mut line)? {
                Found::End => return Ok(None),
                Found::Torn => return Ok(Some(line.len())),
                Found::Line => self.line(&line)?,
            }
            if self.doubt.is_none() {
                self.compare(next)?;
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        let seq = self.next_seq();
        let head = Head::parse(line);
        if let Some(bad) = self.mismatch.take() {
            let changed = head.is_some_and(|head| head.seq == seq && head.prev != self.last);
            return Err(if changed { Stop::at(seq - 1, "the record was changed") } else { Stop::Bad(bad) });
        }
        if let Some(doubtful) = self.doubt {
            return Err(match head {
                Some(head) if head.prev == self.last => Stop::at(doubtful - 1, "the record was changed"),
                Some(_) => Stop::at(doubtful, "the record was changed"),
                None => Stop::within(doubtful - 1, doubtful, "the record was changed"),
            });
        }
        let Some(head) = head else { return Err(Stop::at(seq, "the line is not a record")) };
        if head.seq != seq {
            let what = format!("the record is missing, changed or in another place: its line says {}", head.seq);
            return Err(Stop::at(seq, what));
        }
        if head.prev != self.last {
            if seq == 1 {
                return Err(Stop::at(1, "the record was changed"));
            }
            self.doubt = Some(seq);
        }
        if head.time < self.time.as_str() {
            let (first, count) = self.clock_steps.unwrap_or((seq, 0));
            self.clock_steps = Some((first, count + 1));
        }
        self.time.clear();
        self.time.push_str(head.time);
        if head.kind == "repair" && self.repairs.len() < 20 {
            self.repairs.push(seq);
        }
        self.last = merkle::leaf(line);
        self.tree.push(self.last);
        Ok(())
    }

    /// Compares the root here with the checkpoints that speak of it.
    fn compare(&mut self, next: &mut Option<Checkpoint>) -> Result<(), Stop> {
        let size = self.tree.size();
        let wrong = |covered, which| {
            let what = format!("the records up to {size} are not those that {which} checkpoint was signed for");
            Bad { seq: covered + 1, through: size, what }
        };
        while let Some(checkpoint) = next.as_ref().filter(|checkpoint| checkpoint.size == size) {
            if checkpoint.root != self.tree.root() {
                self.mismatch = Some(wrong(self.report.covered, "a"));
                return Ok(());
            }
            self.report.checkpoints += 1;
            self.report.covered = size;
            *next = self.stored_checkpoint(Some(size))?;
        }
        while let Some(checkpoint) = self.anchored.front().filter(|checkpoint| checkpoint.size == size) {
            if checkpoint.root != self.tree.root() {
                self.mismatch = Some(wrong(self.report.covered, "the anchored"));
                return Ok(());
            }
            self.report.anchored += 1;
            self.report.covered = size;
            self.anchored.pop_front();
        }
        Ok(())
    }

    /// The next checkpoint beside the log. The first covers no record, so there is always one.
    fn stored_checkpoint(&mut self, before: Option<u64>) -> Result<Option<Checkpoint>, Stop> {
        let from = before.unwrap_or_default() + 1;
        let note = match self.stored.next()? {
            Next::Note(note) => note,
            Next::Torn(_) => {
                self.report.notices.push("the last checkpoint is not whole: a crash, or one being written".to_owned());
                return Ok(None);
            }
            Next::End if before.is_none() => return Err(Stop::at(1, "there is no checkpoint beside the log")),
            Next::End => return Ok(None),
        };
        let note = Note::parse(&note).ok_or_else(|| Stop::at(from, "the next checkpoint beside the log is not one"))?;
        let size = note.checkpoint.size;
        let checkpoint = note
            .verify(&self.keys)
            .ok_or_else(|| Stop::within(from, size, "the checkpoint over these is not signed by a key of this log"))?;
        match before {
            Some(before) if size < before => Err(Stop::at(from, "the checkpoints are not in order")),
            _ => Ok(Some(checkpoint)),
        }
    }

    fn next_seq(&self) -> u64 {
        self.tree.size() + 1
    }

    fn finish(mut self) -> Report {
        self.report.records = self.tree.size();
        self.report.root = self.tree.root();
        if let Some((first, count)) = self.clock_steps {
            self.report.notices.push(format!("the clock went back {count} times, first at record {first}"));
        }
        if !self.repairs.is_empty() {
            let list: Vec<_> = self.repairs.iter().map(u64::to_string).collect();
            self.report.notices.push(format!("repairs are told by the records {}", list.join(", ")));
        }
        self.report
    }
}
