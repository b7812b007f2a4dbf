//! What users hold with us: the grants they gave to apps, the consents that are remembered, and their logins.
//!
//! Takes the store and the time, so that commands use it as well as endpoints. Lists, and takes back what is remembered;
//! revoking a grant is [`super::grants`]'s.

use super::grants::{from_json, revoke_stored, to_json, user_digest};
use super::records::{Code, Consent, Grant};
use crate::secret::Digest;
use crate::store::{Entry, Kind, Store, StoreError};

/// Most grants that are listed at once.
const MOST: usize = 1_000_000;

/// Seconds between two notes that a grant is in use.
const USE_NOTED_EVERY: i64 = 3_600;

/// A grant that is alive.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// What was granted.
    pub grant: Grant,
    /// When it ends by itself, seconds since the epoch.
    pub expires: i64,
    /// When a token was last given for it, to the hour; `None` when that was at the beginning only.
    pub last_used: Option<i64>,
}

/// The live grants of one user, a digest by [`user_digest`], or of all; the newest first.
///
/// # Errors
/// The store could not be read.
pub async fn given(store: &dyn Store, owner: Option<Digest>, now: i64) -> Result<Vec<Given>, StoreError> {
    let mut found = Vec::new();
    for (key, entry) in store.list(Kind::Grant, owner, now, MOST).await? {
        let used = store.read(Kind::GrantUse, key, now).await?;
        let last_used = used.map(|used| from_json(&used.value)).transpose()?;
        found.push(Given { grant: from_json(&entry.value)?, expires: entry.expires, last_used });
    }
    found.sort_by(|a, b| {
        b.grant.granted_at.cmp(&a.grant.granted_at).then_with(|| a.grant.grant_id.cmp(&b.grant.grant_id))
    });
    Ok(found)
}

/// What users allowed and no app has fetched yet: an authorization code stands for it. To be asked before [`given`], so that one
/// that becomes a grant meanwhile is in one of the two.
///
/// # Errors
/// The store could not be read.
pub async fn pending(store: &dyn Store, now: i64) -> Result<Vec<Grant>, StoreError> {
    let codes = store.list(Kind::Code, None, now, MOST).await?;
    codes.into_iter().map(|(_, entry)| from_json::<Code>(&entry.value).map(|code| code.grant)).collect()
}

/// Notes that a token was given for a grant, once an hour.
///
/// # Errors
/// The store could not do it.
pub(super) async fn note_use(store: &dyn Store, grant_id: &str, now: i64, expires: i64) -> Result<(), StoreError> {
    let key = Digest::of(grant_id);
    if let Some(noted) = store.read(Kind::GrantUse, key, now).await?
        && now - from_json::<i64>(&noted.value)? < USE_NOTED_EVERY
    {
        return Ok(());
    }
    store.put(Kind::GrantUse, key, Entry { value: to_json(&now)?, expires, owner: None }).await
}

/// Forgets what a user consented to: for one app, or for all.
///
/// # Errors
/// The store could not do it.
pub async fn forget_consents(
    store: &dyn Store,
    (iss, sub): (&str, &str),
    client_id: Option<&str>,
    now: i64,
) -> Result<(), StoreError> {
    let owner = user_digest(iss, sub);
    let Some(client_id) = client_id else {
        return store.remove_owned(Kind::Consent, owner).await.map(drop);
    };
    for (key, entry) in store.list(Kind::Consent, Some(owner), now, MOST).await? {
        let consent: Consent = from_json(&entry.value)?;
        // One that does not say whose it is goes too: the person is asked once more.
        if consent.client_id == client_id || consent.client_id.is_empty() {
            store.remove(Kind::Consent, key).await?;
        }
    }
    Ok(())
}

/// Forgets what all users consented to for one app.
///
/// # Errors
/// The store could not do it.
pub async fn forget_consents_to(store: &dyn Store, client_id: &str, now: i64) -> Result<(), StoreError> {
    for (key, entry) in store.list(Kind::Consent, None, now, MOST).await? {
        if from_json::<Consent>(&entry.value)?.client_id == client_id {
            store.remove(Kind::Consent, key).await?;
        }
    }
    Ok(())
}

/// Ends every grant that a client was given or has a code for, and forgets every consent: a client of the same id that comes
/// later is another.
/// Returns how many grants.
///
/// # Errors
/// The store could not do it.
pub async fn forget_client(store: &dyn Store, client_id: &str, now: i64) -> Result<usize, StoreError> {
    forget_consents_to(store, client_id, now).await?;
    for grant in pending(store, now).await?.iter().filter(|grant| grant.client_id == client_id) {
        revoke_stored(store, &grant.grant_id, now).await?;
    }
    // All grants of everybody are in memory no longer than it takes to look at them: anybody who registered a client may ask
    // for this, as often at once as they like.
    let mut ends = Vec::new();
    for (_, entry) in store.list(Kind::Grant, None, now, MOST).await? {
        let grant: Grant = from_json(&entry.value)?;
        if grant.client_id == client_id {
            ends.push(grant.grant_id);
        }
    }
    for grant_id in &ends {
        revoke_stored(store, grant_id, now).await?;
    }
    Ok(ends.len())
}

/// Ends every login of a user. Returns how many.
///
/// # Errors
/// The store could not do it.
pub async fn end_sessions(store: &dyn Store, (iss, sub): (&str, &str)) -> Result<u64, StoreError> {
    store.remove_owned(Kind::Session, user_digest(iss, sub)).await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use crate::grant::back_channel_testing::{NOW, Site, grant};
    use crate::grant::grants::placed;

    // Whoever registered a client may remove it, and somebody else's grants are many.
    #[tokio::test]
    async fn who_forgets_a_client_looks_no_further_into_the_grants_of_others() {
        let site = Site::new();
        let store = &*site.grants.store;
        let (mine, other) = (grant("app"), grant("other"));
        for given in [&mine, &other] {
            let (kind, key, entry) = placed(given, NOW + 600).unwrap();
            store.put(kind, key, entry).await.unwrap();
        }
        let unreadable = Entry { value: b"?".to_vec(), expires: NOW + 600, owner: None };
        store.put(Kind::GrantUse, Digest::of(&other.grant_id), unreadable).await.unwrap();
        assert_eq!(forget_client(store, "app", NOW).await.unwrap(), 1);
        assert!(store.read(Kind::Grant, Digest::of(&mine.grant_id), NOW).await.unwrap().is_none());
        assert!(store.read(Kind::Grant, Digest::of(&other.grant_id), NOW).await.unwrap().is_some());
    }
}
