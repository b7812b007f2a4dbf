//! What every command that administers shares: the store, opened beside whoever serves, and the audit log that hears of
//! each act.
//!
//! Takes the path of a configuration; gives the store for short transactions, and [`Administration::act`], which notes an
//! act in the store before it is done, so that none is done unseen. Promises: when a server runs, it records the act within a
//! second; when none runs, the command records it before it ends. Changes nothing that a running server holds in memory:
//! servers follow the store.

use std::future::Future;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::Failure;
use crate::admin::events::{self, AdministrationEvent, Operator};
use crate::audit::{Audit, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::origin::audit_options;
use crate::store::{Access, SqliteStore, Store, StoreError};

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::because("store", error)
    }
}

/// What is about to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Act {
    /// As a stable word of `docs/audit.md`, such as `grant_revoked`.
    pub(super) action: &'static str,
    /// What it is done to, by id; nothing about a patient.
    pub(super) target: Option<String>,
    /// The client that it concerns.
    pub(super) client_id: Option<String>,
    /// The user that it concerns: (iss, sub).
    pub(super) user: Option<(String, String)>,
}

/// An opened configuration with its store.
#[derive(Debug)]
pub(super) struct Administration {
    pub(super) config: Config,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    by: Operator,
}

impl Administration {
    /// Opens the store of the configuration at `path`, whether a server has it open or not.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let config = Config::load(path)?;
        owned(&config.state_directory)?;
        owned(&config.audit.directory)?;
        let store = SqliteStore::open_as(&config.state_directory, Access::Beside)
            .map_err(|error| Failure::because("store", error))?;
        Ok(Self { config, store: Arc::new(store), clock: Clock::system(), by: Operator::of_this_process() })
    }

    /// Does `change`, after `act` was noted where the audit log takes it from. An act that fails is told as failed.
    pub(super) async fn act<T, E>(&self, act: Act, change: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let failed = |error| Failure::because("store", error);
        let event = AdministrationEvent {
            action: act.action.to_owned(),
            target: act.target,
            client_id: act.client_id,
            user: act.user,
            failed: false,
            by: self.by.clone(),
            because: None,
            at: self.clock.unix_seconds(),
        };
        let key = events::announce(&*self.store, &event).await.map_err(failed)?;
        match change.await {
            Ok(done) => Ok(done),
            Err(error) => {
                events::withdraw(&*self.store, key, &event).await.map_err(failed)?;
                Err(error.into())
            }
        }
    }

    /// Records what was done, unless a server is there to do it. To be called once, at the end.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        let audit = match Audit::start(audit_options(&self.config), self.clock.clone()) {
            Ok(audit) => audit,
            // Whoever has the log locked takes what waits in the store.
            Err(StartError::Locked(_)) => return Ok(()),
            Err(error) => {
                return Err(Failure::Failed(format!(
                    "done, and not recorded yet: {error}; it is recorded when the audit log can be written"
                )));
            }
        };
        let recorded = events::record_pending(&*self.store, &audit, self.clock.unix_seconds()).await;
        audit.shutdown().await;
        recorded
            .map(drop)
            .map_err(|error| Failure::Failed(format!("done, and not recorded yet: {error}; it is recorded later")))
    }
}

/// What a server wrote belongs to its user; files of somebody else among them would stop it.
fn owned(directory: &Path) -> Result<(), Failure> {
    let Ok(metadata) = directory.metadata() else { return Ok(()) };
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == me {
        return Ok(());
    }
    let owner = events::user_name(owner).unwrap_or_else(|| owner.to_string());
    Err(Failure::Failed(format!(
        "`{}` belongs to the user `{owner}`; run this as that user, for instance with `sudo -u {owner}`",
        directory.display()
    )))
}
