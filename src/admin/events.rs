//! Acts of administration on their way into the audit log.
//!
//! A command writes what it is about to do into the store, before it does it; here that becomes a record of the audit log:
//! by the process that serves, within a second, or, when none does, by the command itself. Promises: of several processes
//! that share the store one records an act; an act whose recording process died is recorded by another one after
//! [`ABANDONED`] seconds, so that it may stand in the log twice and never not at all; an act stays in the store until its
//! record is durable. Does not decide who may administer: that is whoever may write the store's file.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, EventKind, Outcome, Record};
use crate::clock::Clock;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, Store, StoreError};

/// Seconds after which an act that a process took to record it, and did not, is taken by another.
pub const ABANDONED: i64 = 60;

/// Acts that are recorded in one go.
const MOST: usize = 1_000;

/// An act of administration: what, to what, by whom, when. Without anything about a patient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdministrationEvent {
    /// What was done, as a stable word of `docs/audit.md`, such as `grant_revoked`.
    pub action: String,
    /// What it was done to, by id.
    pub target: Option<String>,
    /// The client that it concerns.
    pub client_id: Option<String>,
    /// The user that it concerns: (iss, sub).
    pub user: Option<(String, String)>,
    /// Whether it was tried and failed.
    pub failed: bool,
    /// The person at the machine, or whom the process runs as that did it by itself.
    pub by: Operator,
    /// Why a process did it by itself; `None`: a person did.
    #[serde(default)]
    pub because: Option<String>,
    /// Seconds since the epoch.
    pub at: i64,
}

/// Who administers, as the operating system knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The real user id.
    pub uid: u32,
    /// Its name, where the machine's user file has one.
    pub name: Option<String>,
    /// The user who became `root` by `sudo`; what the environment says.
    pub sudo: Option<String>,
    /// The machine.
    pub host: String,
}

impl Operator {
    /// Who runs this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self {
            uid,
            name: user_name(uid),
            sudo: std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty()).map(|name| short(&name)),
            host: short(&rustix::system::uname().nodename().to_string_lossy()),
        }
    }
}

/// The name that the machine's user file has for this id.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| short(name))
    })
}

/// Text of the environment in a form that a record can hold.
fn short(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '`' | '"' | '\\')).take(64).collect()
}

/// Notes an act in the store, and gives its key.
///
/// # Errors
/// The store could not do it; then the act must not be done.
pub async fn announce(store: &dyn Store, event: &AdministrationEvent) -> Result<Digest, StoreError> {
    let key = Digest::of(&random::handle());
    store.put(Kind::AdministrationEvent, key, pending(event)?).await?;
    Ok(key)
}

/// Takes an act back that was not done, unless it was recorded already: then it is followed by one that says it failed.
///
/// # Errors
/// The store could not do it.
pub async fn withdraw(store: &dyn Store, key: Digest, event: &AdministrationEvent) -> Result<(), StoreError> {
    if store.take_once(Kind::AdministrationEvent, key, event.at).await?.is_none() {
        announce(store, &AdministrationEvent { failed: true, ..event.clone() }).await?;
    }
    Ok(())
}

/// Records every act that waits. Returns how many.
///
/// # Errors
/// The store or the audit log could not do it; what was not recorded waits on.
pub async fn record_pending(store: &dyn Store, audit: &Audit, now: i64) -> Result<usize, StoreError> {
    for (key, taken) in store.list(Kind::AdministrationEventTaken, None, now, MOST).await? {
        let Taken { event, at } = parse(&taken)?;
        if now - at >= ABANDONED {
            let again = pending(&event)?;
            store.spend(Kind::AdministrationEventTaken, Kind::AdministrationEvent, key, again, now).await?;
        }
    }
    let mut recorded = 0;
    for (key, entry) in store.list(Kind::AdministrationEvent, None, now, MOST).await? {
        let event: AdministrationEvent = parse(&entry)?;
        let taken = keep(&Taken { event: event.clone(), at: now })?;
        let ours = store.spend(Kind::AdministrationEvent, Kind::AdministrationEventTaken, key, taken, now).await?;
        if ours.is_none() {
            continue;
        }
        let durable = write(audit, &event).await;
        if !durable {
            let again = pending(&event)?;
            store.spend(Kind::AdministrationEventTaken, Kind::AdministrationEvent, key, again, now).await?;
            return Err(StoreError("an act of administration could not be written to the audit log".to_owned()));
        }
        store.remove(Kind::AdministrationEventTaken, key).await?;
        recorded += 1;
    }
    Ok(recorded)
}

/// Records what waits, every second, until `stop`; and once more then.
pub async fn follow(store: Arc<dyn Store>, audit: Audit, clock: Clock, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            _ = ticks.tick() => false,
        };
        if let Err(StoreError(error)) = record_pending(&*store, &audit, clock.unix_seconds()).await {
            tracing::error!(error, "acts of administration are not in the audit log yet");
        }
        if stopped {
            return;
        }
    }
}

/// An act that a process has begun to record.
#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    event: AdministrationEvent,
    /// When, seconds since the epoch.
    at: i64,
}

/// Whether the record is durable.
async fn write(audit: &Audit, event: &AdministrationEvent) -> bool {
    let mut record = Record::new(EventKind::Administration);
    record.action = Some(event.action.clone().into());
    record.target.clone_from(&event.target);
    record.client_id.clone_from(&event.client_id);
    if let Some((iss, sub)) = &event.user {
        record.iss = Some(iss.clone());
        record.sub = Some(sub.clone());
    }
    record.detail = Some(event.detail());
    let outcome = if event.failed { Outcome::Failed("administration_failed") } else { Outcome::Released };
    audit.event(record, outcome).await.is_ok_and(|recorded| recorded.seq().is_some())
}

impl AdministrationEvent {
    fn detail(&self) -> String {
        let Operator { uid, name, sudo, host } = &self.by;
        let at = jiff::Timestamp::from_second(self.at).unwrap_or_default();
        let name = name.as_deref().unwrap_or("?");
        let sudo = sudo.as_ref().map(|user| format!(", sudo by `{user}`")).unwrap_or_default();
        match &self.because {
            None => format!("by the user `{name}` (uid {uid}{sudo}) of `{host}` at {at}"),
            Some(because) => {
                format!("by the server itself, because {because}: as `{name}` (uid {uid}) of `{host}` at {at}")
            }
        }
    }
}

/// Waits until it is recorded, however long that takes.
fn pending(event: &AdministrationEvent) -> Result<Entry, StoreError> {
    keep(event)
}

fn keep<T: Serialize>(value: &T) -> Result<Entry, StoreError> {
    let value = serde_json::to_vec(value).map_err(|error| StoreError(format!("an act cannot be written: {error}")))?;
    Ok(Entry { value, expires: i64::MAX, owner: None })
}

fn parse<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T, StoreError> {
    serde_json::from_slice(&entry.value)
        .map_err(|error| StoreError(format!("an act of administration in the store cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
