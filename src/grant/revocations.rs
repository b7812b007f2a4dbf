//! Which grants were revoked, in memory, so that every request can ask.
//!
//! Told at once of what is revoked here, and hears of what is revoked elsewhere from the store, every second. When the store
//! was not heard for [`LONGEST_SILENCE`] seconds nothing is known any more, and the request path answers 503.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::Mutex;

use super::grants::from_json;
use crate::clock::Clock;
use crate::store::{Kind, Store, StoreError};

/// Seconds without hearing from the store after which revocations count as unknown.
pub const LONGEST_SILENCE: i64 = 30;

/// Most revoked grants that are kept; one is kept for little more than an hour.
const MOST: usize = 1_000_000;

/// The grants that were revoked and whose tokens may still live.
#[derive(Debug)]
pub struct Revocations {
    clock: Clock,
    /// Grant id, and when its last token has expired.
    revoked: RwLock<HashMap<String, i64>>,
    last_heard: AtomicI64,
    /// Held while the store is read: what was read earlier is noted earlier.
    hearing: Mutex<()>,
}

impl Revocations {
    /// Knows nothing, and says so, until the first [`Self::refresh`].
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, revoked: RwLock::default(), last_heard: AtomicI64::new(i64::MIN), hearing: Mutex::new(()) }
    }

    /// Whether the grant is known as revoked.
    #[must_use]
    pub fn is_revoked(&self, grant_id: &str) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains_key(grant_id)
    }

    /// When the store was last heard, seconds since the epoch; `i64::MIN` for never.
    #[must_use]
    pub fn last_heard(&self) -> i64 {
        self.last_heard.load(Ordering::Acquire)
    }

    /// Whether what [`Self::is_revoked`] says can be relied on.
    #[must_use]
    pub fn heard_recently(&self) -> bool {
        self.clock.unix_seconds().saturating_sub(self.last_heard()) <= LONGEST_SILENCE
    }

    /// Reads the revoked grants from the store.
    ///
    /// # Errors
    /// The store could not be read, or holds more than can be kept; what is known stays.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _hearing = self.hearing.lock().await;
        let now = self.clock.unix_seconds();
        let listed = store.list(Kind::RevokedGrant, None, now, MOST).await?;
        if listed.len() == MOST {
            return Err(StoreError(format!("more than {MOST} grants were revoked within an hour")));
        }
        let mut heard = Vec::with_capacity(listed.len());
        for (_, entry) in listed {
            heard.push((from_json::<String>(&entry.value)?, entry.expires));
        }
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        revoked.retain(|_, expires| *expires > now);
        revoked.extend(heard);
        drop(revoked);
        self.last_heard.store(now, Ordering::Release);
        Ok(())
    }

    /// There is no store that could know of any: no gateway has run here yet.
    pub fn nothing_was_revoked(&self) {
        self.last_heard.store(self.clock.unix_seconds(), Ordering::Release);
    }

    /// Notes a grant as revoked at once.
    pub(super) fn note(&self, grant_id: &str, expires: i64) {
        self.revoked.write().unwrap_or_else(PoisonError::into_inner).insert(grant_id.to_owned(), expires);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::grant::back_channel_testing::Site;
    use crate::grant::grants::revoke;

    // V1
    #[tokio::test]
    async fn a_revoked_grant_is_known_at_once_here_and_after_a_refresh_elsewhere() {
        let site = Site::new();
        let elsewhere = Revocations::new(site.clock.clone());
        elsewhere.refresh(&*site.grants.store).await.unwrap();
        revoke(&site.grants, "g1").await.unwrap();
        assert!(site.grants.revocations.is_revoked("g1"));
        assert!(!site.grants.revocations.is_revoked("g2"));
        assert!(!elsewhere.is_revoked("g1"));
        elsewhere.refresh(&*site.grants.store).await.unwrap();
        assert!(elsewhere.is_revoked("g1"));
    }

    #[tokio::test]
    async fn a_refresh_forgets_nothing_that_can_still_matter() {
        let site = Site::new();
        let revocations = &site.grants.revocations;
        revocations.note("only noted", site.clock.unix_seconds() + 10);
        revocations.refresh(&*site.grants.store).await.unwrap();
        assert!(revocations.is_revoked("only noted"));
        site.clock.advance(10);
        revocations.refresh(&*site.grants.store).await.unwrap();
        assert!(!revocations.is_revoked("only noted"), "its tokens have expired");
    }

    #[tokio::test]
    async fn what_was_read_earlier_is_noted_earlier() {
        let site = Site::new();
        let revocations = &site.grants.revocations;
        revocations.refresh(&*site.grants.store).await.unwrap();
        // While another one is under way, the clock goes on.
        let another = revocations.hearing.lock().await;
        let mut next = Box::pin(revocations.refresh(&*site.grants.store));
        assert!(poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_pending())).await, "it waits its turn");
        site.clock.advance(LONGEST_SILENCE + 1);
        drop(another);
        next.await.unwrap();
        assert!(revocations.heard_recently());
    }

    #[tokio::test]
    async fn a_store_not_heard_for_longer_than_30_seconds_makes_revocations_unknown() {
        let site = Site::new();
        let revocations = Revocations::new(site.clock.clone());
        assert!(!revocations.heard_recently(), "before the first refresh");
        revocations.refresh(&*site.grants.store).await.unwrap();
        site.clock.advance(LONGEST_SILENCE);
        assert!(revocations.heard_recently());
        site.clock.advance(1);
        assert!(!revocations.heard_recently());
    }
}
