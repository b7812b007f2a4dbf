//! The writer: one thread that turns what is queued into durable groups, and answers those who wait.
//!
//! A group is whatever queued while the group before was being synced; there is no timer. When a group cannot be written,
//! those who wait for it are told so at once and its records are held, as far as memory allows, until the log can be
//! written again. Then they are written first, with a `repair` record, and an `unreleased` record that says which of
//! them tell of answers that were not given. The same record corrects one that became durable when nobody waited for it
//! any more.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Semaphore, broadcast, oneshot};
use tokio::time::{Instant, sleep_until};

use super::aggregate::Aggregate;
use super::line::time_text;
use super::log::Log;
use super::options::{OnFailure, Options};
use super::record::{EventKind, Record};
use crate::clock::Clock;

/// What the writer is told.
pub(super) enum Message {
    /// A record's body, and who waits for its number.
    Record { body: Vec<u8>, ack: Option<oneshot::Sender<u64>> },
    /// Somebody was told that the log is late: when this is read, it is not any more.
    Probe,
    /// Write what is queued, and end.
    Shutdown(oneshot::Sender<()>),
}

/// What the writer and the handles share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) healthy: AtomicBool,
    /// The bytes that may still be queued.
    pub(super) room: Semaphore,
    pub(super) aggregate: Aggregate,
    /// Records that became durable.
    pub(super) records: AtomicU64,
    /// Answers and changes that went on without a durable record, because the operator wants it so.
    pub(super) unrecorded: AtomicU64,
    /// Records that could not be queued.
    pub(super) lost: AtomicU64,
    pub(super) tap: broadcast::Sender<Arc<str>>,
}

/// So many records at most make a group.
const GROUP: usize = 8 * 1024;
/// So many bytes of held records are written at once.
const HELD_GROUP: usize = 1 << 20;
/// An `unreleased` record names at most so many others.
const REFERS: usize = 500;
/// How often a log that cannot be written is tried again when nobody asks.
const RETRY: Duration = Duration::from_secs(1);

/// A record of a group.
struct Item {
    body: Vec<u8>,
    ack: Option<oneshot::Sender<u64>>,
}

pub(super) struct Writer {
    log: Log,
    shared: Arc<Shared>,
    options: Options,
    inbox: UnboundedReceiver<Message>,
    /// What the writer itself has to say in the next group.
    own: Vec<Record>,
    failure: Option<Failure>,
    next_aggregate: Instant,
    next_checkpoint: Option<Instant>,
}

/// A time in which the log cannot be written.
struct Failure {
    since: String,
    next_try: Instant,
    /// Bodies, and whether somebody was refused an answer for it.
    held: VecDeque<(Vec<u8>, bool)>,
    held_bytes: usize,
    late: u64,
    lost: u64,
}

impl Writer {
    pub(super) fn new(log: Log, shared: Arc<Shared>, options: Options, inbox: UnboundedReceiver<Message>) -> Self {
        let next_aggregate = Instant::now() + options.aggregate_every;
        Self { log, shared, options, inbox, own: Vec::new(), failure: None, next_aggregate, next_checkpoint: None }
    }

    /// Writes until it is told to end, or nobody is left who could tell it anything.
    pub(super) async fn run(mut self) -> Vec<oneshot::Sender<()>> {
        let mut messages = Vec::with_capacity(GROUP);
        let mut ending = Vec::new();
        let mut open = true;
        while open {
            let wake = self.wake();
            tokio::select! {
                biased;
                count = self.inbox.recv_many(&mut messages, GROUP) => open = count > 0,
                () = sleep_until(wake) => {}
            }
            let mut group = Vec::with_capacity(messages.len());
            let mut probed = false;
            for message in messages.drain(..) {
                match message {
                    Message::Record { body, ack } => group.push(Item { body, ack }),
                    Message::Probe => probed = true,
                    Message::Shutdown(done) => {
                        // What is queued already still comes; what is sent from now on is refused.
                        self.inbox.close();
                        ending.push(done);
                    }
                }
            }
            self.group(group);
            if probed && self.failure.is_none() {
                self.shared.healthy.store(true, Ordering::Release);
            }
            self.tend(!open);
        }
        self.finish();
        ending
    }

    /// When there is something to do without being told.
    fn wake(&self) -> Instant {
        let own = (!self.own.is_empty() && self.failure.is_none()).then(Instant::now);
        let retry = self.failure.as_ref().map(|failure| failure.next_try);
        [own, retry, self.next_checkpoint].into_iter().flatten().fold(self.next_aggregate, Instant::min)
    }

    /// Writes one group and tells those who wait.
    fn group(&mut self, mut group: Vec<Item>) {
        let queued: usize = group.iter().map(|item| item.body.len()).sum();
        group.extend(self.own.drain(..).filter_map(|record| Some(Item { body: encode(&record)?, ack: None })));
        if group.is_empty() {
            return;
        }
        if !self.recovered() {
            return self.refuse(group, queued);
        }
        match self.append(group.iter().map(|item| item.body.as_slice())) {
            Ok(first) => {
                let mut unreleased = Vec::new();
                for (item, seq) in group.into_iter().zip(first..) {
                    if item.ack.is_some_and(|ack| ack.send(seq).is_err()) {
                        unreleased.push(seq);
                    }
                }
                self.correct(&unreleased);
                self.shared.room.add_permits(queued);
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be written");
                self.failure = Some(Failure {
                    since: time_text(self.shared.clock.now()),
                    next_try: Instant::now() + RETRY,
                    held: VecDeque::new(),
                    held_bytes: 0,
                    late: 0,
                    lost: 0,
                });
                self.refuse(group, queued);
            }
        }
    }

    /// Appends to the log, and shows the lines to the subscribers.
    fn append<'a>(&mut self, bodies: impl Iterator<Item = &'a [u8]>) -> io::Result<u64> {
        let time = time_text(self.shared.clock.now());
        let first = self.log.append(&time, bodies);
        self.shared.healthy.store(first.is_ok(), Ordering::Release);
        if let Ok(first) = &first {
            self.shared.records.fetch_add(self.log.size() + 1 - first, Ordering::Relaxed);
        }
        if first.is_ok() && self.shared.tap.receiver_count() > 0 {
            for line in self.log.lines() {
                let _ = self.shared.tap.send(Arc::from(line));
            }
        }
        first
    }

    /// Keeps the records of a group that could not be written; dropping their `ack` tells those who wait.
    fn refuse(&mut self, group: Vec<Item>, queued: usize) {
        self.shared.room.add_permits(queued);
        let Some(failure) = &mut self.failure else { return };
        let limit = usize::try_from(self.options.queue_bytes).unwrap_or(usize::MAX);
        for item in group {
            if failure.held_bytes + item.body.len() > limit {
                failure.lost += 1;
            } else {
                failure.held_bytes += item.body.len();
                failure.held.push_back((item.body, item.ack.is_some()));
            }
        }
    }

    /// Whether the log can be written, after trying to mend it where it could not.
    fn recovered(&mut self) -> bool {
        let Some(mut failure) = self.failure.take() else { return true };
        let mut unreleased = Vec::new();
        let mut written = true;
        while written && !failure.held.is_empty() {
            let mut bytes = 0;
            let fits = |(body, _): &&(Vec<u8>, bool)| {
                bytes += body.len();
                bytes <= HELD_GROUP
            };
            let count = failure.held.iter().take_while(fits).count().max(1);
            match self.append(failure.held.iter().take(count).map(|(body, _)| body.as_slice())) {
                Ok(first) => {
                    for ((body, refused), seq) in failure.held.drain(..count).zip(first..) {
                        failure.held_bytes -= body.len();
                        failure.late += 1;
                        if refused {
                            unreleased.push(seq);
                        }
                    }
                }
                Err(_) => written = false,
            }
        }
        self.correct(&unreleased);
        if written {
            let mut mended = Record::new(EventKind::Repair);
            mended.first = Some(failure.since.clone());
            mended.counts.insert("late".into(), failure.late);
            mended.counts.insert("lost".into(), failure.lost);
            mended.detail = Some("the log could not be written for a time".to_owned());
            written = encode(&mended).is_some_and(|body| self.append(std::iter::once(body.as_slice())).is_ok());
        }
        if written {
            tracing::info!(late = failure.late, lost = failure.lost, "the audit log can be written again");
        } else {
            failure.next_try = Instant::now() + RETRY;
            self.failure = Some(failure);
        }
        written
    }

    /// Says in the next group that the answers these records tell of were not given.
    fn correct(&mut self, unreleased: &[u64]) {
        // Where answers leave without a record, it is not known which of them did.
        if self.options.on_failure == OnFailure::DangerAllowAndAlarm {
            return;
        }
        for refers in unreleased.chunks(REFERS) {
            let mut record = Record::new(EventKind::Unreleased);
            record.refers = refers.to_vec();
            self.own.push(record);
        }
    }

    /// Does what is due: another try, the aggregates, a checkpoint.
    fn tend(&mut self, ending: bool) {
        let now = Instant::now();
        if self.failure.as_ref().is_some_and(|failure| failure.next_try <= now || ending) {
            self.recovered();
        }
        if self.next_aggregate <= now || ending {
            self.next_aggregate = now + self.options.aggregate_every;
            self.count();
        }
        if self.log.uncovered() == 0 {
            self.next_checkpoint = None;
        } else {
            let due = *self.next_checkpoint.get_or_insert(now + self.options.checkpoint_every);
            if due <= now || self.log.uncovered() >= self.options.checkpoint_records {
                self.next_checkpoint = None;
                self.checkpoint();
            }
        }
        self.tell();
    }

    /// Turns the counts into records, if they would not eat the space of other records.
    fn count(&mut self) {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut record = Record::new(EventKind::Repair);
            record.counts.insert("lost".into(), lost);
            record.detail = Some("records could not be queued in time".to_owned());
            self.own.push(record);
        }
        let room = self.log.room().unwrap_or_default();
        if self.failure.is_none() && room >= self.options.reserve_bytes {
            self.own.extend(self.shared.aggregate.take());
        }
        self.group(Vec::new());
    }

    fn checkpoint(&mut self) {
        if let Err(error) = self.log.checkpoint() {
            tracing::error!(%error, "the audit log could not write a checkpoint");
        }
    }

    /// Hands out new checkpoints.
    fn tell(&mut self) {
        for note in self.log.take_notes() {
            tracing::info!(target: "firebreak::audit::checkpoint", note, "audit checkpoint");
            if let Some(anchor) = &self.options.on_checkpoint {
                anchor(&note);
            }
        }
    }

    /// The last words: what is still to say, the end, and a checkpoint over all.
    fn finish(&mut self) {
        self.own.push(Record::new(EventKind::Stop));
        self.group(Vec::new());
        self.checkpoint();
        self.tell();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.healthy.store(false, Ordering::Release);
    }
}

/// A record of the writer's own as the body of a line.
pub(super) fn encode(record: &Record) -> Option<Vec<u8>> {
    serde_json::to_vec(record).ok()
}
