//! Counting what gets no record of its own: refusals of strangers, and answers that say nothing about anybody.
//!
//! The memory is bounded: beyond the allowed number of (address, reason) pairs only the reasons are told apart, and
//! those are constants of this program.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::line::time_text;
use super::record::{Ending, EventKind, Record};

/// Answers that need no record of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaudited {
    /// A discovery document: smart-configuration, authorization server metadata, JWKS, CapabilityStatement.
    Discovery,
    /// A CORS preflight.
    Preflight,
    /// A page, script or style that is the same for everybody.
    StaticPage,
    /// A redirect that carries nothing.
    Redirect,
    /// Liveness, readiness and metrics.
    Health,
}

impl Unaudited {
    const ALL: [Self; 5] = [Self::Discovery, Self::Preflight, Self::StaticPage, Self::Redirect, Self::Health];

    fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Preflight => "preflight",
            Self::StaticPage => "static_page",
            Self::Redirect => "redirect",
            Self::Health => "health",
        }
    }
}

/// The counts since the last records were made of them.
pub(super) struct Aggregate {
    refusals: Mutex<HashMap<(Option<IpAddr>, &'static str), Count>>,
    entries: usize,
    unaudited: [AtomicU64; Unaudited::ALL.len()],
}

struct Count {
    times: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Aggregate {
    pub(super) fn new(entries: usize) -> Self {
        Self { refusals: Mutex::default(), entries, unaudited: Default::default() }
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, address: Option<IpAddr>, reason: &'static str, now: Timestamp) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let crowded = refusals.len() >= self.entries && !refusals.contains_key(&(address, reason));
        let address = if crowded { None } else { address };
        let count = refusals.entry((address, reason)).or_insert(Count { times: 0, first: now, last: now });
        count.times += 1;
        count.last = now;
    }

    /// Counts an answer.
    pub(super) fn unaudited(&self, what: Unaudited) {
        for (kind, count) in Unaudited::ALL.iter().zip(&self.unaudited) {
            if *kind == what {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The counts as records; counting starts anew.
    pub(super) fn take(&self) -> Vec<Record> {
        let refusals = std::mem::take(&mut *self.refusals.lock().unwrap_or_else(PoisonError::into_inner));
        let mut refusals: Vec<_> = refusals.into_iter().collect();
        refusals.sort_by_key(|((address, reason), _)| (*address, *reason));
        let mut records: Vec<_> = refusals
            .into_iter()
            .map(|((address, reason), count)| {
                let mut record = Record::new(EventKind::Refusals);
                record.client_ip = address;
                record.reason = Some(Cow::Borrowed(reason));
                record.outcome = Some(Ending::Denied);
                record.count = Some(count.times);
                record.first = Some(time_text(count.first));
                record.last = Some(time_text(count.last));
                record
            })
            .collect();
        let mut unaudited = Record::new(EventKind::Unaudited);
        for (kind, count) in Unaudited::ALL.iter().zip(&self.unaudited) {
            let count = count.swap(0, Ordering::Relaxed);
            if count > 0 {
                unaudited.counts.insert(Cow::Borrowed(kind.name()), count);
            }
        }
        if !unaudited.counts.is_empty() {
            records.push(unaudited);
        }
        records
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn refusals_are_counted_per_address_and_reason() {
        let counts = Aggregate::new(10);
        let at = |second| Timestamp::from_second(second).unwrap();
        counts.refused(Some(address(1)), "token_expired", at(60));
        counts.refused(Some(address(1)), "token_expired", at(62));
        counts.refused(Some(address(2)), "token_expired", at(63));
        let records = counts.take();
        assert_eq!(
            records.iter().map(|r| (r.client_ip, r.count)).collect::<Vec<_>>(),
            [(Some(address(1)), Some(2)), (Some(address(2)), Some(1))]
        );
        let first = records.first().unwrap();
        assert_eq!(first.first.as_deref(), Some("1970-01-01T00:01:00.000Z"));
        assert_eq!(first.last.as_deref(), Some("1970-01-01T00:01:02.000Z"));
        assert!(records.iter().all(|record| record.outcome == Some(Ending::Denied)));
        assert!(counts.take().is_empty());
    }

    #[test]
    fn a_million_addresses_take_no_more_memory_than_allowed_and_none_is_forgotten() {
        let counts = Aggregate::new(100);
        for number in 0..10_000 {
            counts.refused(Some(address(number)), "no_token", Timestamp::UNIX_EPOCH);
        }
        let records = counts.take();
        assert_eq!(records.len(), 101);
        assert_eq!(records.iter().filter_map(|record| record.count).sum::<u64>(), 10_000);
        assert_eq!(records.first().unwrap().client_ip, None);
    }

    #[test]
    fn who_was_there_before_the_crowd_is_still_told_apart() {
        let counts = Aggregate::new(1);
        for number in [1, 2, 1, 3, 1] {
            counts.refused(Some(address(number)), "no_token", Timestamp::UNIX_EPOCH);
        }
        let told: Vec<_> = counts.take().iter().map(|record| (record.client_ip, record.count)).collect();
        assert_eq!(told, [(None, Some(2)), (Some(address(1)), Some(3))]);
    }

    #[test]
    fn unaudited_answers_are_counted_by_kind() {
        let counts = Aggregate::new(1);
        counts.unaudited(Unaudited::Preflight);
        counts.unaudited(Unaudited::Preflight);
        counts.unaudited(Unaudited::Discovery);
        let records = counts.take();
        let told = serde_json::to_string(&records.first().unwrap().counts).unwrap();
        assert_eq!(told, r#"{"discovery":1,"preflight":2}"#);
        assert!(counts.take().is_empty(), "they were told");
    }
}
