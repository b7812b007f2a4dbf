//! The keys while a process runs: what changed in their directory is taken up, and the next ones are made when it is time.
//!
//! Takes the keys and how long they sign; looks every second until it is told to stop. Promises: keys that do not load leave
//! those in force; a rotation is an act of administration like one by a command: noted in the store before it is done, so that
//! it stands in the audit log; of several processes on one directory one rotates. When the store cannot be written, nothing is
//! rotated, and it is tried again a second later.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::events::{self, AdministrationEvent, Operator};
use crate::clock::Clock;
use crate::keys::{Keys, KeysError, Rotated};
use crate::store::{Store, StoreError};

/// How often the directory is looked at.
const POLL: Duration = Duration::from_secs(1);

/// Keeps the keys up to date.
#[derive(Debug)]
pub struct KeyFollower {
    /// The keys.
    pub keys: Arc<Keys>,
    /// Where acts are noted.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// How long keys sign before the next ones are made; `None`: until somebody says so.
    pub rotate_after: Option<Duration>,
}

/// Why nothing was taken up or made.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    Keys(KeysError),
    Store(String),
    /// The thread that reads and writes files is gone.
    Ended,
}

impl KeyFollower {
    /// Looks every second until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let mut told = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            match self.look().await {
                Ok(changed) => {
                    told = None;
                    if changed {
                        tracing::info!(keys = ?self.keys, "keys taken up");
                    }
                }
                Err(failed) => {
                    // Once, not every second.
                    if told.as_ref() != Some(&failed) {
                        tracing::error!(%failed, "keys not taken up or not rotated; those in force stay");
                    }
                    told = Some(failed);
                }
            }
        }
    }

    /// Whether anything changed.
    async fn look(&self) -> Result<bool, Failed> {
        let changed = self.on_files(Keys::reload).await?;
        if !self.rotate_after.is_some_and(|after| self.keys.is_due(after)) {
            return Ok(changed);
        }
        let event = AdministrationEvent {
            action: "keys_rotated".to_owned(),
            target: None,
            client_id: None,
            user: None,
            failed: false,
            by: Operator::of_this_process(),
            because: Some("`tokens.rotate_keys_after` had passed".to_owned()),
            at: self.clock.unix_seconds(),
        };
        let noted = events::announce(&*self.store, &event).await?;
        let rotated = self.on_files(Keys::rotate).await;
        let changed = self.on_files(Keys::reload).await?;
        match rotated {
            Ok(Rotated { made, removed, .. }) => {
                tracing::info!(?made, ?removed, "the next keys are made");
                Ok(true)
            }
            Err(failed) => {
                events::withdraw(&*self.store, noted, &event).await?;
                // Another process on this directory was faster.
                if changed { Ok(true) } else { Err(failed) }
            }
        }
    }

    async fn on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Keys) -> Result<T, KeysError> + Send + 'static,
    ) -> Result<T, Failed> {
        let keys = Arc::clone(&self.keys);
        let done = tokio::task::spawn_blocking(move || work(&keys)).await;
        done.map_err(|_| Failed::Ended)?.map_err(Failed::Keys)
    }
}

impl From<StoreError> for Failed {
    fn from(StoreError(error): StoreError) -> Self {
        Self::Store(error)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keys(error) => error.fmt(f),
            Self::Store(error) => write!(f, "the rotation cannot be noted for the audit log: {error}"),
            Self::Ended => f.write_str("the files cannot be read any more"),
        }
    }
}

#[cfg(test)]
mod tests;
