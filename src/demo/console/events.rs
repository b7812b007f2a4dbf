//! The stream of records for one browser: what was kept and it did not see, then what comes, with a comment now and then
//! so that a browser that has gone is noticed.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::record::Row;

const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After so many quiet periods the stream ends and the browser comes again, so that none stays forever.
const QUIET_PERIODS: u32 = 240;

/// The body of `/console/events`.
pub(super) struct Events {
    ready: VecDeque<Bytes>,
    /// The number of the last record that was sent.
    last: u64,
    quiet: u32,
    waiting: Option<Waiting>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// Waits for the next record and gives the receiver back.
type Waiting = Pin<Box<dyn Future<Output = (Next, Receiver<Arc<str>>)> + Send>>;

/// What came of waiting.
enum Next {
    Line(Arc<str>),
    Quiet,
    End,
}

impl Events {
    /// Begins with those of `kept` whose number is greater than `after`.
    pub(super) fn new(
        kept: Vec<Arc<str>>,
        after: u64,
        receiver: Receiver<Arc<str>>,
        stop: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let ready = VecDeque::from([Bytes::from_static(b"retry: 2000\n\n")]);
        let waiting = Some(wait(receiver, stop.clone()));
        let mut events = Self { ready, last: after, quiet: 0, waiting, stop, _place: place };
        for line in kept {
            events.push(&line);
        }
        events
    }

    /// Makes ready a record that was not sent yet.
    fn push(&mut self, line: &str) {
        let row = Row::parse(line);
        let number = row.seq.parse::<u64>().ok();
        if number.is_some_and(|number| number <= self.last) {
            return;
        }
        self.last = number.unwrap_or(self.last);
        let Ok(html) = row.render() else { return };
        let mut text = format!("event: record\nid: {}\n", self.last);
        for line in html.lines() {
            text.push_str("data: ");
            text.push_str(line);
            text.push('\n');
        }
        text.push('\n');
        self.ready.push_back(Bytes::from(text));
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(waiting) = &mut self.waiting else { return Poll::Ready(None) };
            let Poll::Ready((next, receiver)) = waiting.as_mut().poll(context) else { return Poll::Pending };
            self.waiting = None;
            match next {
                Next::Line(line) => {
                    self.quiet = 0;
                    self.push(&line);
                }
                Next::Quiet if self.quiet < QUIET_PERIODS => {
                    self.quiet += 1;
                    self.ready.push_back(Bytes::from_static(b":\n\n"));
                }
                Next::Quiet | Next::End => continue,
            }
            self.waiting = Some(wait(receiver, self.stop.clone()));
        }
    }
}

fn wait(mut receiver: Receiver<Arc<str>>, stop: CancellationToken) -> Waiting {
    Box::pin(async move {
        let next = tokio::select! {
            line = receiver.recv() => match line {
                Ok(line) => Next::Line(line),
                Err(RecvError::Lagged(_)) => Next::Quiet,
                Err(RecvError::Closed) => Next::End,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => Next::Quiet,
            () = stop.cancelled() => Next::End,
        };
        (next, receiver)
    })
}
