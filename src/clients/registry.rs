//! What changes the clients of the store: one function for each act, for the endpoint and the command line alike.
//!
//! Promises: each change is atomic and durable when it returns, and every process that serves hears of it within a second.
//! The process that changed something calls [`super::Clients::refresh`] to know it at once.

use serde::de::DeserializeOwned;

use super::MOST;
use super::stored::{NEVER, StoredClient};
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, Store, StoreError};

/// Where the mark of the last change stands.
pub const CHANGE: Digest = Digest([0; 32]);

/// A client of the store, with the record it was read from.
#[derive(Clone, Debug)]
pub struct Found {
    /// The client.
    pub client: StoredClient,
    /// When it expires, seconds since the epoch.
    pub expires: i64,
    record: Vec<u8>,
}

/// Under which key a client stands.
#[must_use]
pub fn key(client_id: &str) -> Digest {
    Digest::of(client_id)
}

/// Adds a client; `false` when there is one of this id.
///
/// # Errors
/// The store could not do it.
pub async fn add(store: &dyn Store, client: &StoredClient, expires: i64, now: i64) -> Result<bool, StoreError> {
    let entry = Entry { value: record(client)?, expires, owner: None };
    let added = store.put_if_absent(Kind::Client, key(&client.client_id), entry, now).await?;
    if added {
        changed(store).await?;
    }
    Ok(added)
}

/// Puts `client` in the place of `found`; `false` when somebody else changed or removed that one since.
///
/// # Errors
/// The store could not do it.
pub async fn replace(
    store: &dyn Store,
    found: &Found,
    client: &StoredClient,
    expires: i64,
    now: i64,
) -> Result<bool, StoreError> {
    let entry = Entry { value: record(client)?, expires, owner: None };
    let replaced = store.replace(Kind::Client, key(&found.client.client_id), found.record.clone(), entry, now).await?;
    if replaced {
        changed(store).await?;
    }
    Ok(replaced)
}

/// Removes a client of the store and the mark that disabled it; `false` when there is none.
///
/// # Errors
/// The store could not do it.
pub async fn remove(store: &dyn Store, client_id: &str) -> Result<bool, StoreError> {
    let removed = store.remove(Kind::Client, key(client_id)).await?;
    if removed {
        store.remove(Kind::DisabledClient, key(client_id)).await?;
        changed(store).await?;
    }
    Ok(removed)
}

/// Takes a client, also one of the configuration, out of action; `false` when it was already.
///
/// # Errors
/// The store could not do it.
pub async fn disable(store: &dyn Store, client_id: &str, now: i64) -> Result<bool, StoreError> {
    let mark = Entry { value: record(&client_id)?, expires: NEVER, owner: None };
    let disabled = store.put_if_absent(Kind::DisabledClient, key(client_id), mark, now).await?;
    changed(store).await?;
    Ok(disabled)
}

/// Lets a client act again; `false` when nothing kept it from it.
///
/// # Errors
/// The store could not do it.
pub async fn enable(store: &dyn Store, client_id: &str) -> Result<bool, StoreError> {
    let enabled = store.remove(Kind::DisabledClient, key(client_id)).await?;
    changed(store).await?;
    Ok(enabled)
}

/// The client of this id.
///
/// # Errors
/// The store could not be read, or the record cannot.
pub async fn find(store: &dyn Store, client_id: &str, now: i64) -> Result<Option<Found>, StoreError> {
    match store.read(Kind::Client, key(client_id), now).await? {
        Some(entry) => found(entry).map(Some),
        None => Ok(None),
    }
}

/// All clients of the store, in the order of their ids.
///
/// # Errors
/// The store could not be read, or a record cannot.
pub async fn list(store: &dyn Store, now: i64) -> Result<Vec<Found>, StoreError> {
    let listed = store.list(Kind::Client, None, now, MOST).await?;
    let mut clients = listed.into_iter().map(|(_, entry)| found(entry)).collect::<Result<Vec<_>, _>>()?;
    clients.sort_by(|a, b| a.client.client_id.cmp(&b.client.client_id));
    Ok(clients)
}

/// Whether a client was disabled.
///
/// # Errors
/// The store could not be read.
pub async fn is_disabled(store: &dyn Store, client_id: &str, now: i64) -> Result<bool, StoreError> {
    Ok(store.read(Kind::DisabledClient, key(client_id), now).await?.is_some())
}

/// The ids of all clients that were disabled.
///
/// # Errors
/// The store could not be read, or a record cannot.
pub async fn disabled(store: &dyn Store, now: i64) -> Result<Vec<String>, StoreError> {
    let listed = store.list(Kind::DisabledClient, None, now, MOST).await?;
    listed.into_iter().map(|(_, entry)| read(&entry.value)).collect()
}

/// Leaves another mark than the last one, behind the change that it tells of.
async fn changed(store: &dyn Store) -> Result<(), StoreError> {
    let mark = Entry { value: random::handle().into_bytes(), expires: NEVER, owner: None };
    store.put(Kind::ClientChange, CHANGE, mark).await
}

fn found(entry: Entry) -> Result<Found, StoreError> {
    Ok(Found { client: read(&entry.value)?, expires: entry.expires, record: entry.value })
}

fn record<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(format!("a client cannot be written: {error}")))
}

fn read<T: DeserializeOwned>(record: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(record).map_err(|error| StoreError(format!("a client in the store cannot be read: {error}")))
}
