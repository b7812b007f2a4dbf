//! Removes what has expired, every minute, so that the store does not grow with every login.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Store, StoreError};
use crate::clock::Clock;

/// Time between two sweeps.
const INTERVAL: Duration = Duration::from_secs(60);

/// Sweeps `store` every minute until `stop`. A sweep that fails is logged, and tried again with the next.
pub async fn sweep_regularly(store: Arc<dyn Store>, clock: Clock, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match store.sweep(clock.unix_seconds()).await {
            Ok(removed) => tracing::debug!(removed, "expired entries of the store were removed"),
            Err(StoreError(error)) => tracing::error!(error, "expired entries of the store could not be removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;
    use crate::secret::Digest;
    use crate::store::{Entry, Kind, SqliteStore};

    #[tokio::test]
    async fn what_has_expired_goes_and_the_rest_stays_until_it_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
        for (name, expires) in [("old", 100), ("new", 101)] {
            let entry = Entry { value: Vec::new(), expires, owner: None };
            store.put(Kind::Code, Digest::of(name), entry).await.unwrap();
        }
        let stop = CancellationToken::new();
        let sweeping = tokio::spawn(sweep_regularly(Arc::clone(&store), Clock::fixed(100), stop.clone()));
        let left = async {
            // At time 0 nothing has expired: what is listed is what is there.
            while store.list(Kind::Code, None, 0, 10).await.unwrap().len() > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), left).await.unwrap();
        assert!(store.read(Kind::Code, Digest::of("new"), 0).await.unwrap().is_some());
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), sweeping).await.unwrap().unwrap();
    }
}
