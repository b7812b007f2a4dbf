//! The audit log: one record for every authenticated exchange and every login, token and administration event, durable
//! before the first byte of the answer leaves (stage `audit` of the request path).
//!
//! Takes what the stages note in an [`Open`] record and how the exchange ended; gives a [`Recorded`] answer, the only
//! kind the listener writes. Promises: when there is a [`Recorded`] answer of an authenticated exchange, its record is
//! on the disk, chained to all before it and part of an RFC 6962 tree under signed checkpoints (C2SP `tlog-checkpoint`);
//! when the log cannot be written, nothing is released ([`Unrecorded`]), unless the operator wants it otherwise, and
//! nothing waits longer than the deadline. [`verify()`] finds what was changed, removed or reordered.
//!
//! It does not decide anything, does not send the records anywhere, and a log without an anchored checkpoint cannot show
//! that its tail was cut: see `docs/audit.md`. Refusals of strangers are counted, not recorded.

mod aggregate;
mod checkpoints;
mod keys;
mod line;
mod log;
mod merkle;
mod note;
mod options;
mod query;
mod record;
mod recorded;
mod recover;
mod storage;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, broadcast, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::clock::Clock;

pub use aggregate::Unaudited;
pub use line::Entry;
pub use note::{Checkpoint, PublicKey};
pub use options::{Anchor, OnFailure, Options, StartError};
pub use record::{Decision, Ending, EventKind, Outcome, Record, Text, Upstream};
pub use recorded::{Open, Recorded, Unrecorded};
pub use verify::{Bad, Report, VerifyOptions, command_verify, verify};

use aggregate::Aggregate;
use line::time_text;
use recorded::Why;
use storage::{Directory, MAX_LINE, Storage};
use writer::{Message, Shared, Writer};

/// The audit log of this process. Cloning is cheap and shares it. When the last clone is dropped the log is closed in
/// order, as by [`Audit::shutdown`], but nobody waits for it.
#[derive(Clone)]
pub struct Audit(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    sender: UnboundedSender<Message>,
    deadline: Duration,
    on_failure: OnFailure,
    /// No body is longer: it must fit the queue and a line.
    longest: usize,
}

/// A record that the writer will write, and nobody knows yet whether in time.
struct Queued {
    durable: oneshot::Receiver<u64>,
    deadline: Instant,
}

/// How many lines a slow subscriber may be behind before it misses some.
const TAP: usize = 1024;
/// The room that a line's head needs at most.
const HEAD: u64 = 256;

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("healthy", &self.healthy()).finish_non_exhaustive()
    }
}

impl Audit {
    /// Opens the log: makes what is missing, locks it, mends the end that a crash tore, writes the `start` record and a
    /// checkpoint, and starts the writer.
    ///
    /// # Errors
    /// See [`StartError`]; then nothing runs.
    pub fn start(options: Options, clock: Clock) -> Result<Self, StartError> {
        let storage = Directory::open(&options.directory).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StartError::Locked(options.directory.clone()),
            _ => StartError::Io(error),
        })?;
        Self::start_on(Box::new(storage), options, clock)
    }

    fn start_on(storage: Box<dyn Storage>, options: Options, clock: Clock) -> Result<Self, StartError> {
        let (signer, keys) = keys::open(&options)?;
        let (mut log, torn) = recover::open(storage, signer, &keys, options.limits(), clock.now())?;
        let mut first = Vec::new();
        if let Some(torn) = torn {
            tracing::warn!(seq = torn.seq, bytes = torn.bytes, kept_as = torn.kept_as, "the audit log had a torn end");
            first.extend(writer::encode(&torn.record()));
        }
        let mut start = Record::new(EventKind::Start);
        start.detail = Some(format!("firebreak {}", env!("CARGO_PKG_VERSION")));
        first.extend(writer::encode(&start));
        log.append(&time_text(clock.now()), first.iter().map(Vec::as_slice))?;
        log.checkpoint()?;

        let (sender, inbox) = unbounded_channel();
        let shared = Arc::new(Shared {
            clock,
            healthy: AtomicBool::new(true),
            room: Semaphore::new(options.queue_bytes.try_into().unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)),
            aggregate: Aggregate::new(options.aggregate_entries),
            records: AtomicU64::new(first.len() as u64),
            unrecorded: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            tap: broadcast::Sender::new(TAP),
        });
        let handle = Handle {
            shared: Arc::clone(&shared),
            sender,
            deadline: options.deadline,
            on_failure: options.on_failure,
            longest: usize::try_from(u64::from(options.queue_bytes).min(MAX_LINE - HEAD)).unwrap_or(usize::MAX),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("audit-writer".to_owned()).spawn(move || {
            let writer = Writer::new(log, shared, options, inbox);
            // The log is dropped, and with it its lock, before those are told who wait for the end.
            for done in runtime.block_on(writer.run()) {
                let _ = done.send(());
            }
        })?;
        Ok(Self(Arc::new(handle)))
    }

    /// A refusal of somebody who is not authenticated: counted per address, reason and minute.
    pub fn refused_unauthenticated<T>(&self, client_ip: IpAddr, reason: &'static str, answer: T) -> Recorded<T> {
        self.refused(Some(client_ip), reason);
        Recorded::counted(answer)
    }

    /// An answer that says nothing about anybody: counted.
    pub fn unaudited<T>(&self, what: Unaudited, answer: T) -> Recorded<T> {
        self.0.shared.aggregate.unaudited(what);
        Recorded::counted(answer)
    }

    /// Whether records can be written, as far as is known: for the readiness check, and to refuse before work is done in
    /// vain. It turns false when a write fails or is late, and true with the next that does not.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.0.shared.healthy.load(Ordering::Acquire)
    }

    /// How many records became durable since the log was opened.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.shared.records.load(Ordering::Relaxed)
    }

    /// How many answers and changes went on without a durable record: none but where [`OnFailure::DangerAllowAndAlarm`] is chosen.
    #[must_use]
    pub fn unrecorded(&self) -> u64 {
        self.0.shared.unrecorded.load(Ordering::Relaxed)
    }

    /// The lines, as they become durable, from now on. One who reads too slowly misses some and is told so.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<str>> {
        self.0.shared.tap.subscribe()
    }

    /// Writes what is queued, the `stop` record and a last checkpoint, and unlocks the directory. Records that come later
    /// are refused. Waits no longer than 10 s and the deadline.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.0.sender.send(Message::Shutdown(done)).is_ok() {
            let patience = Instant::now() + self.0.deadline + Duration::from_secs(10);
            if timeout_at(patience, ended).await.is_err() {
                tracing::error!("the audit log did not close in time");
            }
        }
    }

    fn on_failure(&self) -> OnFailure {
        self.0.on_failure
    }

    /// Queues a body, waiting for room. When this is dropped before it is done, nothing was queued.
    async fn queue(&self, body: Vec<u8>) -> Result<Queued, Unrecorded> {
        let Handle { shared, sender, .. } = &*self.0;
        let deadline = Instant::now() + self.0.deadline;
        let length = match u32::try_from(body.len()) {
            Ok(length) if body.len() <= self.0.longest => length,
            _ => return Err(self.not_queued(Why::TooLong)),
        };
        let permit = match shared.room.try_acquire_many(length) {
            Ok(permit) => permit,
            Err(_) => match timeout_at(deadline, shared.room.acquire_many(length)).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(self.not_queued(Why::Deadline)),
            },
        };
        permit.forget();
        let (ack, durable) = oneshot::channel();
        match sender.send(Message::Record { body, ack: Some(ack) }) {
            Ok(()) => Ok(Queued { durable, deadline }),
            Err(_) => Err(Unrecorded { why: Why::Closed }),
        }
    }

    /// Waits until what was queued is durable, and gives its number. When this is dropped before it is done, the writer
    /// notes that nobody waits any more.
    async fn wait(&self, queued: Queued) -> Result<u64, Unrecorded> {
        let Queued { durable, deadline } = queued;
        self.wait_until(durable, sleep_until(deadline)).await
    }

    /// The same, until `deadline` is over.
    async fn wait_until(
        &self,
        mut durable: oneshot::Receiver<u64>,
        deadline: impl Future<Output = ()>,
    ) -> Result<u64, Unrecorded> {
        tokio::select! {
            biased;
            answer = &mut durable => answer.map_err(|_| Unrecorded { why: Why::Failing }),
            () = deadline => last_word(&mut durable).ok_or_else(|| self.late()),
        }
    }

    fn not_queued(&self, why: Why) -> Unrecorded {
        self.lost();
        if why == Why::Deadline { self.late() } else { Unrecorded { why } }
    }

    /// A record was not durable in time. The log counts as unhealthy until the writer has seen to what is queued.
    fn late(&self) -> Unrecorded {
        if self.0.shared.healthy.swap(false, Ordering::AcqRel) {
            let _ = self.0.sender.send(Message::Probe);
        }
        Unrecorded { why: Why::Deadline }
    }

    /// Queues a body for which nobody waits, if there is room.
    fn write_soon(&self, body: Vec<u8>) {
        let room = u32::try_from(body.len()).ok().and_then(|length| self.0.shared.room.try_acquire_many(length).ok());
        let Some(permit) = room.filter(|_| body.len() <= self.0.longest) else { return self.lost() };
        permit.forget();
        let _ = self.0.sender.send(Message::Record { body, ack: None });
    }

    fn refused(&self, client_ip: Option<IpAddr>, reason: &'static str) {
        self.0.shared.aggregate.refused(client_ip, reason, self.0.shared.clock.now());
    }

    /// Counts a record that could not be queued.
    fn lost(&self) {
        self.0.shared.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// The number, when it came in this very moment. If not, it cannot come any more: the writer learns that nobody waits, and
/// corrects the record. First closed and then looked, so that one of the two is so, whatever the writer does at the same time.
fn last_word(durable: &mut oneshot::Receiver<u64>) -> Option<u64> {
    durable.close();
    durable.try_recv().ok()
}

impl recover::Torn {
    fn record(&self) -> Record {
        let mut record = Record::new(EventKind::Repair);
        record.bytes = Some(self.bytes);
        record.target = Some(self.kept_as.clone());
        record.reason = Some(Cow::Borrowed("torn_tail"));
        record.detail = Some(format!("the end of the log was not whole; sha256 of what was moved: {}", self.sha256));
        record
    }
}
