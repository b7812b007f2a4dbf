//! The proof that an answer was recorded, and the record of one exchange while it runs.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::options::OnFailure;
use super::record::{Ending, EventKind, Outcome, Record};
use super::{Audit, Unaudited};

/// An answer that may leave: it was recorded, or counted where no record is due. Only this module makes one, and nothing
/// can change the answer afterwards.
///
/// ```
/// use firebreak::audit::{Audit, EventKind, Options, Outcome, Recorded};
/// # let directory = tempfile::tempdir()?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// # runtime.block_on(async {
/// # let mut options = Options::new(directory.path(), "example");
/// # options.floor_bytes = 0;
/// let audit = Audit::start(options, firebreak::clock::Clock::system())?;
/// let open = audit.open(EventKind::Fhir, "request-1", [127, 0, 0, 1].into(), "public");
/// let recorded: Recorded<&str> = open.close(Outcome::Released, "answer").await?;
/// assert_eq!(*recorded.peek(), "answer");
/// # audit.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It cannot be built elsewhere:
///
/// ```compile_fail,E0451
/// use firebreak::audit::Recorded;
/// let forged: Recorded<&str> = Recorded { answer: "answer", seq: None };
/// ```
///
/// nor be changed:
///
/// ```compile_fail,E0616
/// fn change(mut recorded: firebreak::audit::Recorded<&str>) {
///     recorded.answer = "another answer";
/// }
/// ```
///
/// nor be made of another by mapping:
///
/// ```compile_fail,E0599
/// fn change(recorded: firebreak::audit::Recorded<&str>) -> firebreak::audit::Recorded<usize> {
///     recorded.map(str::len)
/// }
/// ```
///
/// and outside this crate nobody takes the answer out to send it otherwise:
///
/// ```compile_fail,E0624
/// fn take(recorded: firebreak::audit::Recorded<&str>) -> &str {
///     recorded.into_inner()
/// }
/// ```
#[must_use = "a recorded answer is to be sent"]
#[derive(Debug)]
pub struct Recorded<T> {
    answer: T,
    seq: Option<u64>,
}

impl<T> Recorded<T> {
    pub(super) fn counted(answer: T) -> Self {
        Self { answer, seq: None }
    }

    /// The number of the record, `None` where the answer was only counted.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// A look at the answer.
    #[must_use]
    pub fn peek(&self) -> &T {
        &self.answer
    }

    /// The answer, for the listener that writes it.
    pub(crate) fn into_inner(self) -> T {
        self.answer
    }
}

/// The answer must not leave, because its record is not durable. What leaves instead is a fixed 503.
#[must_use = "the fixed 503 is to be sent"]
#[derive(Debug)]
pub struct Unrecorded {
    pub(super) why: Why,
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was not durable in time.
    Deadline,
    /// The log cannot be written at the moment.
    Failing,
    /// The log was shut down.
    Closed,
    /// It is longer than a line may be.
    TooLong,
}

impl Unrecorded {
    /// The one way for an answer to leave without a record: `fixed` must be the constant 503 (with `Retry-After`), the
    /// same for everybody, with nothing in it of the request, the upstream or the answer that was withheld.
    #[expect(clippy::unused_self, reason = "it is spent: one failure, one fixed answer")]
    pub(crate) fn answer<T>(self, fixed: T) -> Recorded<T> {
        Recorded::counted(fixed)
    }
}

impl fmt::Display for Unrecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::Deadline => "the audit record was not durable in time",
            Why::Failing => "the audit log cannot be written",
            Why::Closed => "the audit log is closed",
            Why::TooLong => "the audit record is too long",
        })
    }
}

impl std::error::Error for Unrecorded {}

/// The record of an exchange that is under way.
///
/// When it is dropped without being closed (the client hung up, or a stage panicked), the exchange is recorded as
/// aborted; if nobody was authenticated by then, it is counted instead, so that strangers cannot fill the disk by
/// hanging up. A drop does no I/O and does not wait.
#[must_use = "an exchange is closed, or it is recorded as aborted"]
pub struct Open {
    audit: Audit,
    record: Box<Record>,
    opened: Instant,
    done: bool,
}

impl Open {
    pub(super) fn new(audit: Audit, record: Record) -> Self {
        Self { audit, record: Box::new(record), opened: Instant::now(), done: false }
    }

    /// The record, for the stages to note what they learn.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Writes down, durably, that a change is about to be forwarded. Its outcome follows with [`Open::close`], or with
    /// the drop.
    ///
    /// # Errors
    /// [`Unrecorded`] when that is not possible; then nothing may be forwarded.
    pub async fn intend(&mut self) -> Result<(), Unrecorded> {
        self.record.outcome = Some(Ending::Intended);
        let body = encode(&self.record);
        self.record.outcome = None;
        let recorded = match self.audit.queue(body?).await {
            Ok(queued) => self.audit.wait(queued).await,
            Err(unrecorded) => Err(unrecorded),
        };
        match recorded {
            Ok(_) => Ok(()),
            Err(unrecorded) => self.audit.unless_dangerous((), unrecorded).map(|_| ()),
        }
    }

    /// Closes the record, and gives the answer back when the record is durable.
    ///
    /// # Errors
    /// [`Unrecorded`] when the record was not durable before the deadline, or cannot be written; the answer is dropped.
    pub async fn close<T>(mut self, outcome: Outcome, answer: T) -> Result<Recorded<T>, Unrecorded> {
        self.record.end(outcome, self.milliseconds());
        let body = encode(&self.record)?;
        let queued = self.audit.queue(body).await;
        // From here on the log knows whether somebody still waits for the record; the drop has nothing to add.
        self.done = true;
        let recorded = match queued {
            Ok(queued) => self.audit.wait(queued).await,
            Err(unrecorded) => Err(unrecorded),
        };
        match recorded {
            Ok(seq) => Ok(Recorded { answer, seq: Some(seq) }),
            Err(unrecorded) => self.audit.unless_dangerous(answer, unrecorded),
        }
    }

    /// Ends an exchange in which nobody turned out to be authenticated: it is counted, not recorded.
    pub fn abandon_as_refused_unauthenticated<T>(mut self, reason: &'static str, answer: T) -> Recorded<T> {
        self.done = true;
        self.audit.refused(self.record.client_ip, reason);
        Recorded::counted(answer)
    }

    /// Ends an exchange that turned out to say nothing about anybody: it is counted, not recorded.
    pub fn abandon_as_unaudited<T>(mut self, what: Unaudited, answer: T) -> Recorded<T> {
        self.done = true;
        self.audit.unaudited(what, answer)
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if !self.record.is_authenticated() {
            self.audit.refused(self.record.client_ip, "aborted");
            return;
        }
        self.record.end(Outcome::Aborted, self.milliseconds());
        match encode(&self.record) {
            Ok(body) => self.audit.write_soon(body),
            Err(_) => self.audit.lost(),
        }
    }
}

impl Audit {
    /// Opens the record of an exchange, before its first stage.
    pub fn open(&self, kind: EventKind, request_id: &str, client_ip: IpAddr, listener: &'static str) -> Open {
        let mut record = Record::new(kind);
        record.request_id = Some(request_id.to_owned());
        record.client_ip = Some(client_ip);
        record.listener = Some(listener.into());
        Open::new(self.clone(), record)
    }

    /// Records an event that is no exchange, such as an act of administration.
    ///
    /// # Errors
    /// As of [`Open::close`].
    pub async fn event(&self, record: Record, outcome: Outcome) -> Result<Recorded<()>, Unrecorded> {
        Open::new(self.clone(), record).close(outcome, ()).await
    }

    /// Says that an answer which was recorded does not leave after all. What leaves instead is to be recorded after this: then
    /// both records are durable when it does.
    pub(crate) fn withdraw<T>(&self, recorded: Recorded<T>) {
        let Recorded { answer, seq } = recorded;
        drop(answer);
        let Some(seq) = seq else { return };
        let mut record = Record::new(EventKind::Unreleased);
        record.refers = vec![seq];
        match encode(&record) {
            Ok(body) => self.write_soon(body),
            Err(_) => self.lost(),
        }
    }

    /// What an answer without a record is worth: nothing, unless the operator wants it otherwise.
    fn unless_dangerous<T>(&self, answer: T, unrecorded: Unrecorded) -> Result<Recorded<T>, Unrecorded> {
        match self.on_failure() {
            OnFailure::Deny => Err(unrecorded),
            OnFailure::DangerAllowAndAlarm => {
                tracing::error!(why = %unrecorded, "an answer was released without a durable audit record");
                self.0.shared.unrecorded.fetch_add(1, Ordering::Relaxed);
                Ok(Recorded::counted(answer))
            }
        }
    }
}

fn encode(record: &Record) -> Result<Vec<u8>, Unrecorded> {
    let mut body = Vec::with_capacity(768);
    match serde_json::to_writer(&mut body, record) {
        Ok(()) => Ok(body),
        Err(_) => Err(Unrecorded { why: Why::TooLong }),
    }
}
