//! What a process must hear from the store, every second: which grants were revoked, and which clients there are.
//!
//! Both or neither count as heard: [`Revocations::heard_recently`] speaks for both.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::revocations::Revocations;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::store::{Store, StoreError};

/// Hears from the store.
#[derive(Clone, Debug)]
pub struct Follower {
    /// The time.
    pub clock: Clock,
    /// What is followed.
    pub store: Arc<dyn Store>,
    /// Which grants were revoked.
    pub revocations: Arc<Revocations>,
    /// Which clients there are.
    pub clients: Arc<Clients>,
}

impl Follower {
    /// Takes up what changed.
    ///
    /// # Errors
    /// The store could not be read; what is known stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.clients.refresh(&*self.store, self.clock.unix_seconds()).await?;
        self.revocations.refresh(&*self.store).await
    }

    /// Refreshes every second until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(StoreError(error)) = self.refresh().await {
                tracing::error!(error, "the revoked grants and the clients could not be read");
            }
        }
    }
}
