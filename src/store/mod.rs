//! State that outlives a request: codes, launches, transactions, sessions, grants, refresh families, consents.
//!
//! One trait whose operations are atomic, so that a code is spent once even when two replicas see it in the same
//! millisecond. Keys are digests of what travels.

use std::future::Future;
use std::pin::Pin;

use crate::secret::Digest;

mod sqlite;
mod sweep;

#[cfg(test)]
pub(crate) mod conformance;

pub use sqlite::SqliteStore;
pub use sweep::sweep_regularly;

/// What a stored entry is. Keys of different kinds never collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Authorization codes, unspent.
    Code,
    /// Authorization codes that were spent: value is the grant id, so that a replay revokes what the first use gave.
    SpentCode,
    /// Launch contexts.
    Launch,
    /// Authorization transactions.
    Transaction,
    /// Login sessions.
    Session,
    /// Refresh tokens that may be used.
    RefreshToken,
    /// Refresh tokens that were rotated away: value is the grant id.
    SpentRefreshToken,
    /// Grants, by grant id.
    Grant,
    /// Grants that were revoked; an entry lives as long as a token of the grant could.
    RevokedGrant,
    /// Remembered consents.
    Consent,
    /// `jti` of client assertions that were seen.
    AssertionId,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// JSON.
    pub value: Vec<u8>,
    /// Seconds since the epoch after which it is as if it were not there.
    pub expires: i64,
    /// For listing: digest of the (iss, sub) or of the grant it belongs to.
    pub owner: Option<Digest>,
}

/// The store could not do it; the caller answers 503 and spends nothing.
#[derive(Debug, Clone)]
pub struct StoreError(pub String);

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// A boxed future, so that the trait can be used as `dyn Store`.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Atomic operations on entries. `now` is seconds since the epoch, from [`crate::clock::Clock`]; expired entries are absent.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Writes when there is no live entry; tells whether it wrote. Durable when it returns.
    fn put_if_absent(&self, kind: Kind, key: Digest, entry: Entry, now: i64) -> Pending<'_, bool>;
    /// Writes, replacing. Durable when it returns.
    fn put(&self, kind: Kind, key: Digest, entry: Entry) -> Pending<'_, ()>;
    /// The live entry.
    fn read(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>>;
    /// Removes and returns the live entry: of any number of callers one gets it. Durable when it returns.
    fn take_once(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>>;
    /// In one transaction: removes the live entry at (`from`, `key`), writes `marker` at (`to`, `key`); returns the removed
    /// one. Used to spend a code or a refresh token and remember that it was spent.
    fn spend(&self, from: Kind, to: Kind, key: Digest, marker: Entry, now: i64) -> Pending<'_, Option<Entry>>;
    /// Removes; tells whether there was one.
    fn remove(&self, kind: Kind, key: Digest) -> Pending<'_, bool>;
    /// Removes all entries of a kind that belong to `owner`; returns how many.
    fn remove_owned(&self, kind: Kind, owner: Digest) -> Pending<'_, u64>;
    /// Live entries of a kind, with their keys, of one owner or of all; at most `limit`.
    fn list(&self, kind: Kind, owner: Option<Digest>, now: i64, limit: usize) -> Pending<'_, Vec<(Digest, Entry)>>;
    /// Removes what has expired; returns how many.
    fn sweep(&self, now: i64) -> Pending<'_, u64>;
}
