//! The wall clock, in one place, so that tests own the time.
//!
//! Timers and deadlines inside one process use `tokio::time`; what is written down or compared with a claim (`exp`, `iat`,
//! audit timestamps) comes from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// A source of the current time. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The operating system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `unix_seconds` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn fixed(unix_seconds: i64) -> Self {
        Self(Source::Fixed(Arc::new(AtomicI64::new(unix_seconds))))
    }

    /// Moves a fixed clock by `seconds`; the system clock stays as it is.
    pub fn advance(&self, seconds: i64) {
        if let Source::Fixed(now) = &self.0 {
            now.fetch_add(seconds, Ordering::SeqCst);
        }
    }

    /// The current instant.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Fixed(now) => Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z, as in `NumericDate` of RFC 7519 section 2.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        self.now().as_second()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = Clock::fixed(1_000);
        let shared = clock.clone();
        assert_eq!(clock.unix_seconds(), 1_000);
        shared.advance(5);
        assert_eq!(clock.unix_seconds(), 1_005);
    }
}
