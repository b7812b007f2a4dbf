//! The life of a grant: a code is issued, it becomes a grant when it is exchanged, and the grant can be revoked.
//!
//! Promises that a revoked grant gives no further token, whatever runs at the same time: revoking writes the mark first and
//! removes second; issuing writes first and looks for the mark second, so one of the two sees the other.

use super::Grants;
use super::records::{Code, Grant, LaunchContext, User};
use crate::federation;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, Placed, Store, StoreError};

/// Seconds that an authorization code lives (SMART App Launch 2.2 recommends about a minute).
pub const CODE_LIFETIME: i64 = 60;

/// Longest lifetime of an access token in seconds, whatever the configuration says (SMART App Launch 2.2: one hour).
pub const MAX_ACCESS_LIFETIME: i64 = 3_600;

/// A new grant id: 128 random bits in base64url.
#[must_use]
pub fn new_grant_id() -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random::bytes::<16>())
}

/// Stores what the user granted and gives the code that stands for it for [`CODE_LIFETIME`] seconds (RFC 6749 section 4.1.2).
///
/// # Errors
/// The store could not do it; no code exists then.
pub async fn issue_code(grants: &Grants, code: Code) -> Result<String, StoreError> {
    let handle = random::handle();
    let entry = Entry {
        value: to_json(&code)?,
        expires: grants.clock.unix_seconds() + CODE_LIFETIME,
        owner: Some(Digest::of(&code.grant.grant_id)),
    };
    grants.store.put(Kind::Code, Digest::of(&handle), entry).await?;
    Ok(handle)
}

/// Revokes a grant: its refresh tokens end at once, its access tokens on this replica at once and on others as soon as they
/// hear of it. Revoking what does not exist is no error.
///
/// # Errors
/// The store could not do it; try again.
pub async fn revoke(grants: &Grants, grant_id: &str) -> Result<(), StoreError> {
    let store = &*grants.store;
    let expires = mark_revoked(store, grant_id, grants.clock.unix_seconds()).await?;
    grants.revocations.note(grant_id, expires);
    clear(store, grant_id).await
}

/// As [`revoke`], where no gateway is at hand: every gateway that uses the store hears of it within a second or two.
///
/// # Errors
/// The store could not do it; try again.
pub async fn revoke_stored(store: &dyn Store, grant_id: &str, now: i64) -> Result<(), StoreError> {
    mark_revoked(store, grant_id, now).await?;
    clear(store, grant_id).await
}

async fn mark_revoked(store: &dyn Store, grant_id: &str, now: i64) -> Result<i64, StoreError> {
    let expires = now + MAX_ACCESS_LIFETIME + CODE_LIFETIME;
    let mark = Entry { value: to_json(&grant_id)?, expires, owner: None };
    store.put(Kind::RevokedGrant, Digest::of(grant_id), mark).await?;
    Ok(expires)
}

async fn clear(store: &dyn Store, grant_id: &str) -> Result<(), StoreError> {
    let owner = Digest::of(grant_id);
    store.remove(Kind::Grant, owner).await?;
    store.remove_owned(Kind::RefreshToken, owner).await?;
    store.remove_owned(Kind::Code, owner).await?;
    store.remove(Kind::GrantUse, owner).await?;
    Ok(())
}

/// A grant as the store has it until `expires`.
pub(super) fn placed(grant: &Grant, expires: i64) -> Result<Placed, StoreError> {
    let owner = Some(user_digest(&grant.user.iss, &grant.user.sub));
    let entry = Entry { value: to_json(grant)?, expires, owner };
    Ok((Kind::Grant, Digest::of(&grant.grant_id), entry))
}

/// The live grant, unless it was revoked.
pub(super) async fn find(grants: &Grants, grant_id: &str) -> Result<Option<Grant>, StoreError> {
    let now = grants.clock.unix_seconds();
    match grants.store.read(Kind::Grant, Digest::of(grant_id), now).await? {
        Some(entry) => from_json(&entry.value).map(Some),
        None => Ok(None),
    }
}

/// Whether the store knows the grant as revoked; to be asked after what the grant gave was written.
pub(super) async fn was_revoked(grants: &Grants, grant_id: &str) -> Result<bool, StoreError> {
    let now = grants.clock.unix_seconds();
    Ok(grants.store.read(Kind::RevokedGrant, Digest::of(grant_id), now).await?.is_some())
}

/// The user of `grant` as [`user_today`]; `None` as well once it may not have the patient of the grant in context any more.
pub(super) fn standing(grants: &Grants, grant: &Grant) -> Option<User> {
    let user = &grant.user;
    let now = user_today(grants, user, grant.launch.as_ref())?;
    let own = user.fhir_user.as_deref().and_then(|user| user.strip_prefix("Patient/"));
    let lost = |id: &String| user.patients.contains(id) && !now.patients.contains(id) && own != Some(id.as_str());
    (!grant.patient.as_ref().is_some_and(lost)).then_some(now)
}

/// A user, logged in for `launch` where there was one, as far as the site lets it act today, never with more than it had; `None`
/// once it may not act at all: a built-in user that was removed or is another person in FHIR now, or a user whose provider, or
/// the EHR that logged it in, no longer vouches for it.
pub(super) fn user_today(grants: &Grants, user: &User, launch: Option<&LaunchContext>) -> Option<User> {
    let config = &grants.config;
    let ours = user.iss == config.issuer();
    let mut now = user.clone();
    let vouched = launch.filter(|launch| launch.vouches && launch.user.is_some());
    if let Some(launch) = vouched {
        let client = grants.clients.find(&launch.ehr_client_id)?;
        let ehr =
            client.config.ehr.as_ref().filter(|ehr| ehr.vouches_for_users && ehr.names_users_of(&user.iss, ours))?;
        now.roles.retain(|role| ehr.roles.contains(role));
    } else if !ours {
        now = federation::standing(config, user)?;
    }
    if ours {
        let configured = config.users.iter().find(|configured| configured.username == user.sub)?;
        (configured.fhir_user == user.fhir_user).then_some(())?;
        now.roles.retain(|role| configured.roles.contains(role));
        now.patients.retain(|patient| configured.patients.contains(patient));
    }
    Some(now)
}

/// Who owns a grant: a user is (iss, sub), and no pair reads as another.
#[must_use]
pub fn user_digest(iss: &str, sub: &str) -> Digest {
    Digest::of(&format!("{}:{iss}{sub}", iss.len()))
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError(format!("a record cannot be written: {error}")))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError(format!("a record in the store cannot be read: {error}")))
}
