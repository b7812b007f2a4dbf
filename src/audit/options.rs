//! How an audit log is run, and why one does not start.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::log::Limits;

/// What happens to answers while the log cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Nothing is released: the fixed 503 goes out instead.
    #[default]
    Deny,
    /// Answers are released without a durable record; each failure is an error in the operational log, and what can be
    /// kept in memory is written when the log works again.
    DangerAllowAndAlarm,
}

/// Takes a checkpoint to where the log's owner cannot change it.
pub type Anchor = Arc<dyn Fn(&str) + Send + Sync>;

/// How an audit log is run. [`Options::new`] has the defaults.
#[derive(Clone)]
pub struct Options {
    /// The directory of the log; one per replica. It is made with mode 0700.
    pub directory: PathBuf,
    /// The name of the log in its checkpoints (C2SP `origin`) and of its key; one per replica, without white space and `+`.
    pub origin: String,
    /// The file of the private checkpoint key, mode 0600, made when it does not exist. By default `checkpoint.key` in the
    /// directory; elsewhere is better.
    pub key_file: Option<PathBuf>,
    /// A segment of this many bytes is followed by a new one. Default 256 MiB.
    pub segment_bytes: u64,
    /// A checkpoint is signed when the oldest uncovered record is this old. Default 30 s.
    pub checkpoint_every: Duration,
    /// A checkpoint is signed when so many records are uncovered. Default 20 000.
    pub checkpoint_records: u64,
    /// Gets each checkpoint, to anchor it outside. It is called by the writer and must not block.
    pub on_checkpoint: Option<Anchor>,
    /// The bytes of records that may wait; more wait for room, until their deadline. Default 16 MiB.
    pub queue_bytes: u32,
    /// How long a record may take to be durable. Default 2 s.
    pub deadline: Duration,
    /// What happens to answers while the log cannot be written.
    pub on_failure: OnFailure,
    /// Free bytes of the disk that aggregated refusals leave to the other records. Default 256 MiB.
    pub reserve_bytes: u64,
    /// Free bytes of the disk that no record touches: writing stops here, before the disk is full. Default 32 MiB.
    pub floor_bytes: u64,
    /// How often counted refusals and counted answers become records. Default one minute.
    pub aggregate_every: Duration,
    /// How many different (address, reason) pairs are counted apart between two such records. Default 1024.
    pub aggregate_entries: usize,
}

impl Options {
    /// The defaults, for a log in `directory` with the name `origin`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            origin: origin.into(),
            key_file: None,
            segment_bytes: 256 << 20,
            checkpoint_every: Duration::from_secs(30),
            checkpoint_records: 20_000,
            on_checkpoint: None,
            queue_bytes: 16 << 20,
            deadline: Duration::from_secs(2),
            on_failure: OnFailure::Deny,
            reserve_bytes: 256 << 20,
            floor_bytes: 32 << 20,
            aggregate_every: Duration::from_secs(60),
            aggregate_entries: 1024,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { segment: self.segment_bytes, floor: self.floor_bytes }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("directory", &self.directory)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Why a log did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Another process has the directory.
    Locked(PathBuf),
    /// The log is not what it was: a record that a checkpoint covers is missing or changed. `firebreak audit verify`
    /// tells more; nothing was written.
    Damaged {
        /// The first record that is wrong, as far as the start could see.
        seq: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The key file is not a private checkpoint key, or the origin cannot be the name of one.
    Key(String),
    /// A file could not be read or written.
    Io(io::Error),
}

impl StartError {
    pub(super) fn damaged(seq: u64, what: &'static str) -> Self {
        Self::Damaged { seq, what }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path) => write!(f, "the audit log `{}` is in use by another process", path.display()),
            Self::Damaged { seq, what } => write!(f, "the audit log is damaged at record {seq}: {what}"),
            Self::Key(what) => write!(f, "the audit log's checkpoint key cannot be used: {what}"),
            Self::Io(error) => write!(f, "the audit log cannot be opened: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Locked(_) | Self::Damaged { .. } | Self::Key(_) => None,
        }
    }
}
