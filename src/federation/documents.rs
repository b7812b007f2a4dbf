//! Documents of a provider that are kept: fetched when they are needed, by one request at a time, for as long as the provider
//! says within bounds, and the last good one for a day when it cannot be had.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::CACHE_CONTROL;
use tokio::sync::Mutex;
use url::Url;

use super::FederationError;
use crate::clock::Clock;
use crate::outbound::{Guard, Outbound};

/// Seconds that a document is kept at least, at most, and when the provider does not say.
const SHORTEST: i64 = 60;
const LONGEST: i64 = 86_400;
const OTHERWISE: i64 = 3_600;
/// Seconds between two requests that somebody else's token or a failure causes.
const PAUSE: i64 = 30;
/// Seconds after a failure without a good document before it is tried again.
const RETRY: i64 = 5;

/// One document, or what was made of it.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    good: Option<Good<T>>,
    /// When it could not be had, seconds since the epoch.
    failed: Option<i64>,
}

#[derive(Debug)]
struct Good<T> {
    document: Arc<T>,
    fetched: i64,
    fresh_until: i64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(State { good: None, failed: None }))
    }
}

impl<T> Kept<T> {
    /// The document, fetched when there is none or it is no longer fresh. `fetch` gives it with the seconds that its
    /// provider lets it be kept.
    pub(super) async fn current<F>(&self, clock: &Clock, fetch: impl FnOnce() -> F) -> Result<Arc<T>, FederationError>
    where
        F: Future<Output = Result<(T, Option<i64>), FederationError>>,
    {
        let mut state = self.0.lock().await;
        let now = clock.unix_seconds();
        match &state.good {
            Some(good) if now < good.fresh_until => return Ok(Arc::clone(&good.document)),
            Some(good) if lately(state.failed, now, PAUSE) && now < good.fetched + LONGEST => {
                return Ok(Arc::clone(&good.document));
            }
            None if lately(state.failed, now, RETRY) => return Err(FederationError::FailedLately),
            Some(_) | None => {}
        }
        state.fetched(clock, fetch().await)
    }

    /// The document, fetched anew unless that was tried half a minute ago or less.
    pub(super) async fn renewed<F>(&self, clock: &Clock, fetch: impl FnOnce() -> F) -> Result<Arc<T>, FederationError>
    where
        F: Future<Output = Result<(T, Option<i64>), FederationError>>,
    {
        let mut state = self.0.lock().await;
        let now = clock.unix_seconds();
        if let Some(good) = &state.good
            && (now < good.fetched + PAUSE || lately(state.failed, now, PAUSE))
        {
            return Ok(Arc::clone(&good.document));
        }
        state.fetched(clock, fetch().await)
    }
}

impl<T> State<T> {
    fn fetched(
        &mut self,
        clock: &Clock,
        fetched: Result<(T, Option<i64>), FederationError>,
    ) -> Result<Arc<T>, FederationError> {
        let now = clock.unix_seconds();
        match fetched {
            Ok((document, max_age)) => {
                let document = Arc::new(document);
                let fresh_until = now + max_age.unwrap_or(OTHERWISE).clamp(SHORTEST, LONGEST);
                self.good = Some(Good { document: Arc::clone(&document), fetched: now, fresh_until });
                self.failed = None;
                Ok(document)
            }
            Err(error) => {
                self.failed = Some(now);
                match &self.good {
                    Some(good) if now < good.fetched + LONGEST => {
                        tracing::warn!(%error, "a provider's document cannot be renewed; the last good one is used");
                        Ok(Arc::clone(&good.document))
                    }
                    Some(_) | None => Err(error),
                }
            }
        }
    }
}

fn lately(failed: Option<i64>, now: i64, seconds: i64) -> bool {
    failed.is_some_and(|failed| now < failed + seconds)
}

/// Gets a document, and the seconds that it may be kept (`Cache-Control: max-age`, RFC 9111 section 5.2.2.1).
pub(super) async fn fetch(
    outbound: &Outbound,
    url: &Url,
    what: &'static str,
) -> Result<(Bytes, Option<i64>), FederationError> {
    let answer = outbound.get(url, Guard::Operator).await.map_err(|error| FederationError::Unreachable(what, error))?;
    if answer.status() != StatusCode::OK {
        return Err(FederationError::Status(what, answer.status().as_u16()));
    }
    let directives = answer.headers().get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let max_age = directives.flat_map(|value| value.split(',')).find_map(max_age);
    Ok((answer.into_body(), max_age))
}

/// `no-store` and `no-cache` mean the shortest time: each login would ask otherwise.
fn max_age(directive: &str) -> Option<i64> {
    let directive = directive.trim();
    if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache") {
        return Some(0);
    }
    let (name, seconds) = directive.split_once('=')?;
    name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use std::future::{Ready, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Source {
        asked: AtomicUsize,
        clock: Clock,
        kept: Kept<usize>,
    }

    impl Source {
        fn new() -> Self {
            Self { asked: AtomicUsize::new(0), clock: Clock::fixed(1_800_000_000), kept: Kept::default() }
        }

        fn fetch(
            &self,
            answer: Result<Option<i64>, FederationError>,
        ) -> Ready<Result<(usize, Option<i64>), FederationError>> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            ready(answer.map(|max_age| (number, max_age)))
        }

        async fn current(&self, answer: Result<Option<i64>, FederationError>) -> Option<usize> {
            self.kept.current(&self.clock, || self.fetch(answer)).await.ok().map(|number| *number)
        }

        async fn renewed(&self) -> usize {
            *self.kept.renewed(&self.clock, || self.fetch(Ok(None))).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_document_is_kept_as_long_as_its_provider_says_within_bounds() {
        let source = Source::new();
        for (max_age, kept) in [(None, 3_600), (Some(600), 600), (Some(0), 60), (Some(1 << 40), 86_400)] {
            let number = source.current(Ok(max_age)).await.unwrap();
            source.clock.advance(kept - 1);
            assert_eq!(source.current(Ok(None)).await, Some(number), "{max_age:?}");
            source.clock.advance(1);
        }
    }

    // E23: unknown key names cost the provider one request in half a minute
    #[tokio::test]
    async fn it_is_renewed_before_its_time_at_most_every_half_minute() {
        let source = Source::new();
        assert_eq!(source.current(Ok(None)).await, Some(1));
        for _ in 0..10 {
            assert_eq!(source.renewed().await, 1);
        }
        source.clock.advance(30);
        assert_eq!((source.renewed().await, source.renewed().await), (2, 2));
    }

    #[tokio::test]
    async fn the_last_good_one_is_used_for_a_day_and_a_failure_is_not_repeated_at_once() {
        let source = Source::new();
        assert_eq!(source.current(Err(FederationError::Keys)).await, None);
        assert_eq!(source.current(Ok(None)).await, None, "a moment after the failure");
        source.clock.advance(5);
        assert_eq!(source.current(Ok(None)).await, Some(2));
        source.clock.advance(3_600);
        assert_eq!(source.current(Err(FederationError::Keys)).await, Some(2));
        assert_eq!(source.current(Err(FederationError::Keys)).await, Some(2));
        assert_eq!(source.asked.load(Ordering::SeqCst), 3);
        source.clock.advance(86_400);
        assert_eq!(source.current(Err(FederationError::Keys)).await, None);
    }

    #[test]
    fn max_age_is_read_from_cache_control() {
        assert_eq!(max_age(" max-age=300"), Some(300));
        assert_eq!(max_age("Max-Age=\"5\""), Some(5));
        assert_eq!(max_age("no-store"), Some(0));
        for other in ["public", "s-maxage=5", "max-age=x", ""] {
            assert_eq!(max_age(other), None, "{other}");
        }
    }
}
