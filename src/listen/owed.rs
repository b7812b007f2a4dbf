//! What a connection still owes its client: the bodies of answers that the client has not taken yet.
//!
//! A client that takes its answer slowly holds memory. Each body of known length gets a time by which it must be taken, from
//! a floor on the rate; [`Debts::overdue`] tells the connection when one was not. Bodies are handed on in pieces, so that the
//! protocol's flow control reaches them, and in HTTP/2 so that one stream does not buffer what another waits for.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Instant;

use super::Body;

/// The bodies that one connection owes.
#[derive(Debug)]
pub(super) struct Debts {
    due: Mutex<BTreeSet<(Instant, u64)>>,
    next: AtomicU64,
    patience: Duration,
    slowest: u64,
    piece: usize,
}

/// A body that is owed until it is taken or dropped.
#[derive(Debug)]
pub(super) struct Owed {
    body: Body,
    rest: Bytes,
    debts: Arc<Debts>,
    entry: Option<(Instant, u64)>,
}

impl Debts {
    /// Debts that are due after `patience` and the time for their length at `slowest` bytes per second, paid in pieces of at
    /// most `piece` bytes.
    pub(super) fn new(patience: Duration, slowest: u64, piece: usize) -> Arc<Self> {
        Arc::new(Self { due: Mutex::default(), next: AtomicU64::new(0), patience, slowest: slowest.max(1), piece })
    }

    /// Owes `body`. One that is empty, or has no known length, is never overdue.
    pub(super) fn owe(self: &Arc<Self>, body: Body) -> Owed {
        let entry = body.size_hint().exact().filter(|length| *length > 0).map(|length| {
            let due = Instant::now() + self.patience + Duration::from_secs(length / self.slowest);
            (due, self.next.fetch_add(1, Ordering::Relaxed))
        });
        if let Some(entry) = entry {
            self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(entry);
        }
        Owed { body, rest: Bytes::new(), debts: Arc::clone(self), entry }
    }

    /// Whether nothing is owed.
    pub(super) fn is_settled(&self) -> bool {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether a body should have been taken by now.
    pub(super) fn overdue(&self) -> bool {
        self.overdue_at(Instant::now())
    }

    fn overdue_at(&self, now: Instant) -> bool {
        let first = self.due.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
        first.is_some_and(|(due, _)| due < now)
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.debts.due.lock().unwrap_or_else(PoisonError::into_inner).remove(&entry);
        }
    }
}

impl http_body::Body for Owed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(std::io::Error::other(error)))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
        let size = this.rest.len().min(this.debts.piece);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use http_body_util::BodyExt;

    use super::super::full;
    use super::*;

    #[tokio::test]
    async fn a_body_comes_in_pieces_and_keeps_its_length() {
        let debts = Debts::new(Duration::from_secs(1), 16 * 1024, 4);
        let mut owed = debts.owe(full("0123456789"));
        assert_eq!(owed.size_hint().exact(), Some(10));
        let first = owed.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "0123");
        assert_eq!(owed.size_hint().exact(), Some(6));
        assert_eq!(owed.collect().await.unwrap().to_bytes(), "456789");
        assert!(debts.is_settled());
    }

    #[test]
    fn a_body_that_is_not_taken_becomes_overdue_and_a_dropped_one_does_not() {
        let debts = Debts::new(Duration::from_secs(1), 16 * 1024, 4);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        let (owed, empty) = (debts.owe(full(vec![0; 10 * 16 * 1024])), debts.owe(full("")));
        assert!(!debts.overdue_at(later(10)));
        assert!(debts.overdue_at(later(12)));
        drop(owed);
        assert!(!debts.overdue_at(later(12)) && debts.is_settled());
        drop(empty);
    }
}
