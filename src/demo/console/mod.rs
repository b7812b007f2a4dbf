//! The audit console: the latest records as a page, and new ones as Server-Sent Events (HTML, section 9.2).
//!
//! Takes the lines that the audit log publishes after it wrote them. It keeps the last [`KEPT`] in memory and none on
//! disk: the log itself is elsewhere, and this is a window on it.

mod events;
mod record;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Either;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use self::events::Events;
use self::record::Row;
use super::Settings;
use super::page::{self, Body, Kind, full};

/// How many records are kept.
const KEPT: usize = 200;
/// How many browsers may watch at the same time.
const WATCHERS: usize = 32;

/// The records that were published since the demonstration began.
#[derive(Debug)]
pub(super) struct Console {
    recent: Mutex<Recent>,
    watchers: Arc<Semaphore>,
}

/// The kept lines, oldest first. They are taken from the channel when somebody looks: what the channel itself has
/// forgotten by then is older than what it still has.
#[derive(Debug)]
struct Recent {
    receiver: Receiver<Arc<str>>,
    lines: VecDeque<Arc<str>>,
}

#[derive(Debug, Template)]
#[template(path = "demo/pages/console.html")]
struct ConsolePage {
    rows: Vec<String>,
    last: String,
}

impl Console {
    pub(super) fn new(receiver: Receiver<Arc<str>>) -> Self {
        let recent = Recent { receiver, lines: VecDeque::with_capacity(KEPT) };
        Self { recent: Mutex::new(recent), watchers: Arc::new(Semaphore::new(WATCHERS)) }
    }

    /// The page with the kept records, newest first.
    pub(super) fn page(&self, settings: &Settings) -> Response<Body> {
        let rows: Vec<Row> = self.lines().iter().rev().map(|line| Row::parse(line)).collect();
        let last = rows.first().map(|row| row.seq.clone()).unwrap_or_default();
        let rows = rows.iter().filter_map(|row| row.render().ok()).collect();
        page::html(settings, Kind::Page, &ConsolePage { rows, last })
    }

    /// The stream of records that come after the one that the browser saw last: `Last-Event-ID`, or `after` in the query.
    pub(super) fn events(&self, settings: &Settings, query: &str, headers: &HeaderMap) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.watchers).try_acquire_owned() else {
            let mut busy = page::file("text/plain; charset=utf-8", full("too many watch already"));
            *busy.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return busy;
        };
        // Subscribed first, so that no record falls between what was kept and what comes.
        let receiver = (settings.audit)();
        let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let after = resumed.or_else(|| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(name, _)| name == "after")
                .map(|(_, value)| value.into_owned())
        });
        let after = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        let events = Events::new(self.lines(), after, receiver, settings.stop.clone(), place);
        page::file("text/event-stream", Either::Right(UnsyncBoxBody::new(events)))
    }

    fn lines(&self) -> Vec<Arc<str>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match recent.receiver.try_recv() {
                Ok(line) => {
                    if recent.lines.len() == KEPT {
                        recent.lines.pop_front();
                    }
                    recent.lines.push_back(line);
                }
                // Some were forgotten; the next call gives the oldest that is left.
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        recent.lines.iter().cloned().collect()
    }
}
