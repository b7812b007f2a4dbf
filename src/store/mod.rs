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

pub use sqlite::{Access, SqliteStore};
pub use sweep::sweep_regularly;

/// What a stored entry is. Keys of different kinds never collide: each has a number of its own, which stays what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Authorization codes, unspent.
    Code = 1,
    /// Authorization codes that were spent: value is the grant id, so that a replay revokes what the first use gave.
    SpentCode = 2,
    /// Launch contexts.
    Launch = 3,
    /// Authorization transactions.
    Transaction = 4,
    /// Login sessions.
    Session = 5,
    /// Refresh tokens that may be used.
    RefreshToken = 6,
    /// Refresh tokens that were rotated away: value is the grant id.
    SpentRefreshToken = 7,
    /// Grants, by grant id.
    Grant = 8,
    /// Grants that were revoked; an entry lives as long as a token of the grant could.
    RevokedGrant = 9,
    /// Remembered consents.
    Consent = 10,
    /// `jti` of client assertions that were seen.
    AssertionId = 11,
    /// Logins that began at an OpenID provider, by their `state`.
    ProviderLogin = 31,
    /// Logouts that go on at an OpenID provider, by their `state`.
    ProviderLogout = 32,
    /// `jti` of logout tokens that were seen.
    LogoutTokenId = 33,
    /// Acts of administration that are not in the audit log yet.
    AdministrationEvent = 12,
    /// Acts of administration that a process is writing into its audit log.
    AdministrationEventTaken = 13,
    /// When a grant was last used, by grant id.
    GrantUse = 14,
    /// Clients that registered or were added, by client id.
    Client = 20,
    /// Clients, of the configuration too, that may not act, by client id.
    DisabledClient = 21,
    /// One entry, another one after each change of the two above.
    ClientChange = 22,
    /// Initial access tokens (RFC 7591 section 3).
    InitialAccessToken = 23,
    /// Each time that an initial access token may still be used; owned by the token.
    InitialAccessTokenUse = 24,
    /// DPoP proofs that were seen at an endpoint of the grant path.
    ProofId = 40,
    /// Pushed authorization requests, not yet used.
    PushedRequest = 41,
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

/// An entry that is spent: removed at (`from`, `key`), and `marker` at (`to`, `key`) remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// What it is.
    pub from: Kind,
    /// What remembers it.
    pub to: Kind,
    /// Of both.
    pub key: Digest,
    /// Written in its place.
    pub marker: Entry,
}

/// An entry with its place.
pub type Placed = (Kind, Digest, Entry);

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
    /// Writes when the live entry's value is `expected`; tells whether it wrote. Durable when it returns.
    fn replace(&self, kind: Kind, key: Digest, expected: Vec<u8>, entry: Entry, now: i64) -> Pending<'_, bool>;
    /// Writes, replacing. Durable when it returns.
    fn put(&self, kind: Kind, key: Digest, entry: Entry) -> Pending<'_, ()>;
    /// The live entry.
    fn read(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>>;
    /// Removes and returns the live entry: of any number of callers one gets it. Durable when it returns.
    fn take_once(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>>;
    /// In one transaction: removes the live entry that is spent, writes its marker and all that it `gives`; returns the
    /// removed one. When there is none, nothing is written. Used to exchange a code or a refresh token. Durable when it returns.
    fn rotate(&self, spent: Spent, gives: Vec<Placed>, now: i64) -> Pending<'_, Option<Entry>>;
    /// As [`Store::rotate`], giving nothing.
    fn spend(&self, from: Kind, to: Kind, key: Digest, marker: Entry, now: i64) -> Pending<'_, Option<Entry>> {
        self.rotate(Spent { from, to, key, marker }, Vec::new(), now)
    }
    /// Removes; tells whether there was one.
    fn remove(&self, kind: Kind, key: Digest) -> Pending<'_, bool>;
    /// Removes all entries of a kind that belong to `owner`; returns how many.
    fn remove_owned(&self, kind: Kind, owner: Digest) -> Pending<'_, u64>;
    /// Live entries of a kind, with their keys, of one owner or of all; at most `limit`.
    fn list(&self, kind: Kind, owner: Option<Digest>, now: i64, limit: usize) -> Pending<'_, Vec<(Digest, Entry)>>;
    /// Removes what has expired; returns how many.
    fn sweep(&self, now: i64) -> Pending<'_, u64>;
}
