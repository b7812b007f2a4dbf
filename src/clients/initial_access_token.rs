//! Initial access tokens (RFC 7591 section 3): who holds one may register a client, as often as it says, until it expires.
//!
//! Kept as digests. Each use is an entry of its own that is taken once, so that a token is never used more often than it
//! says, however many registrations arrive at the same time.

use serde::{Deserialize, Serialize};

use crate::random;
use crate::secret::{Digest, Secret};
use crate::store::{Entry, Kind, Store, StoreError};

/// Most uses of one token.
pub const MOST_USES: u32 = 1_000;

/// How many uses are looked at to take one of them.
const HANDFUL: usize = 16;

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialAccessToken {
    /// What the audit log calls it.
    pub name: String,
    /// The most that its clients may register for, as scope text.
    pub allowed_scope: String,
    /// Roles of the policies in which its clients act for themselves.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A token that was presented and is good.
#[derive(Clone, Debug)]
pub struct Presented {
    /// What it stands for.
    pub token: InitialAccessToken,
    digest: Digest,
}

/// Makes a token that can be used `uses` times until `expires`.
///
/// # Errors
/// The store could not do it; no token exists then.
pub async fn mint(
    store: &dyn Store,
    token: &InitialAccessToken,
    uses: u32,
    expires: i64,
) -> Result<Secret, StoreError> {
    let value = serde_json::to_vec(token).map_err(|error| StoreError(format!("a token cannot be written: {error}")))?;
    let handle = random::handle();
    let digest = Digest::of(&handle);
    // The uses first: the token is good when it is there.
    for _ in 0..uses.min(MOST_USES) {
        let entry = Entry { value: Vec::new(), expires, owner: Some(digest) };
        store.put(Kind::InitialAccessTokenUse, Digest(random::bytes()), entry).await?;
    }
    store.put(Kind::InitialAccessToken, digest, Entry { value, expires, owner: None }).await?;
    Ok(Secret::new(handle))
}

/// The token of this text, when it has not expired and can still be used.
///
/// # Errors
/// The store could not be read.
pub async fn find(store: &dyn Store, handle: &str, now: i64) -> Result<Option<Presented>, StoreError> {
    let digest = Digest::of(handle);
    let Some(entry) = store.read(Kind::InitialAccessToken, digest, now).await? else { return Ok(None) };
    if store.list(Kind::InitialAccessTokenUse, Some(digest), now, 1).await?.is_empty() {
        return Ok(None);
    }
    let token = serde_json::from_slice(&entry.value)
        .map_err(|error| StoreError(format!("a token in the store cannot be read: {error}")))?;
    Ok(Some(Presented { token, digest }))
}

impl Presented {
    /// Uses it once; `false` when others have used it up since.
    ///
    /// # Errors
    /// The store could not do it.
    pub async fn spend(&self, store: &dyn Store, now: i64) -> Result<bool, StoreError> {
        loop {
            let uses = store.list(Kind::InitialAccessTokenUse, Some(self.digest), now, HANDFUL).await?;
            if uses.is_empty() {
                return Ok(false);
            }
            // Each round either takes a use or finds that others took all of these: there are fewer every time.
            for (key, _) in uses {
                if store.take_once(Kind::InitialAccessTokenUse, key, now).await?.is_some() {
                    return Ok(true);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use std::sync::Arc;

    use super::*;
    use crate::store::SqliteStore;

    fn token() -> InitialAccessToken {
        InitialAccessToken { name: "lab".to_owned(), allowed_scope: "patient/*.rs".to_owned(), roles: Vec::new() }
    }

    // R6, B3 75
    #[tokio::test]
    async fn a_token_is_good_until_it_expires_or_is_used_up() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let handle = mint(&store, &token(), 2, 100).await.unwrap();
        assert!(find(&store, "another", 1).await.unwrap().is_none());
        assert!(find(&store, handle.expose(), 100).await.unwrap().is_none(), "it has expired");
        for _ in 0..2 {
            let presented = find(&store, handle.expose(), 1).await.unwrap().unwrap();
            assert_eq!(presented.token, token());
            assert!(presented.spend(&store, 1).await.unwrap());
        }
        assert!(find(&store, handle.expose(), 1).await.unwrap().is_none(), "it is used up");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_who_use_a_token_at_the_same_time_as_many_succeed_as_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let handle = mint(&*store, &token(), 20, 100).await.unwrap();
        let presented = find(&*store, handle.expose(), 1).await.unwrap().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (store, presented) = (Arc::clone(&store), presented.clone());
            tasks.spawn(async move { presented.spend(&*store, 1).await.unwrap() });
        }
        let used = tasks.join_all().await.into_iter().filter(|used| *used).count();
        assert_eq!(used, 20);
    }
}
