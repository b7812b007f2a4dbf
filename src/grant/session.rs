//! Cookies and login sessions.
//!
//! Takes the `Cookie` headers; gives the live session, if there is one. Promises: session ids are 256 random bits, new at
//! each login, stored as digests, bound to the user as the configuration has it *now*, idle for at most half an hour and
//! alive for at most `tokens.session` (OWASP ASVS 5.0 section 7.3). Does not check passwords.

use http::HeaderMap;
use http::header::COOKIE;

use super::Grants;
use super::grants::user_digest;
use super::records::{Session, User};
use crate::config::Config;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

/// Seconds without a request after which a session ends.
const IDLE: i64 = 30 * 60;

/// A session that the browser holds the cookie of.
#[derive(Clone, Debug)]
pub(super) struct LiveSession {
    /// The cookie's value.
    pub(super) cookie: String,
    pub(super) user: User,
    pub(super) auth_time: i64,
}

/// The session whose cookie the browser sent; it is kept alive by this.
pub(super) async fn resume(grants: &Grants, headers: &HeaderMap) -> Result<Option<LiveSession>, StoreError> {
    let Some(cookie) = cookie(headers, &session_cookie_name(&grants.config)) else { return Ok(None) };
    let now = grants.clock.unix_seconds();
    let key = Digest::of(&cookie);
    let Some(entry) = grants.store.read(Kind::Session, key, now).await? else { return Ok(None) };
    let Ok(session) = serde_json::from_slice::<Session>(&entry.value) else { return Ok(None) };
    if session.expires <= now {
        return Ok(None);
    }
    let Some(user) = as_configured_now(&grants.config, &session.user) else {
        grants.store.remove(Kind::Session, key).await?;
        return Ok(None);
    };
    // One write per half of the idle time, not one per request.
    if entry.expires - now < IDLE / 2 && entry.expires < session.expires {
        grants.store.put(Kind::Session, key, Entry { expires: idle_end(now, session.expires), ..entry }).await?;
    }
    Ok(Some(LiveSession { cookie, user, auth_time: session.auth_time }))
}

/// A new session for a user who has just proved who they are; ends the one that the browser had.
pub(super) async fn begin(grants: &Grants, user: User, headers: &HeaderMap) -> Result<LiveSession, StoreError> {
    if let Some(old) = cookie(headers, &session_cookie_name(&grants.config)) {
        grants.store.remove(Kind::Session, Digest::of(&old)).await?;
    }
    let now = grants.clock.unix_seconds();
    let lifetime = i64::try_from(grants.config.tokens.session.as_secs()).unwrap_or(i64::MAX);
    let expires = now.saturating_add(lifetime);
    let handle = random::handle();
    let session = Session { user: user.clone(), auth_time: now, expires };
    let value = serde_json::to_vec(&session).map_err(|error| StoreError(error.to_string()))?;
    let entry = Entry { value, expires: idle_end(now, expires), owner: Some(user_digest(&user.iss, &user.sub)) };
    grants.store.put(Kind::Session, Digest::of(&handle), entry).await?;
    Ok(LiveSession { cookie: handle, user, auth_time: now })
}

/// The `Set-Cookie` value that hands a session to the browser until it closes.
pub(super) fn session_cookie(config: &Config, session: &LiveSession) -> String {
    set_cookie(config, &session_cookie_name(config), &session.cookie, None)
}

/// A built-in user as a user of the grant path.
pub(super) fn built_in_user(config: &Config, user: &crate::config::User) -> User {
    User {
        iss: config.issuer(),
        sub: user.username.clone(),
        display_name: user.display_name.clone(),
        fhir_user: user.fhir_user.clone(),
        roles: user.roles.clone(),
        patients: user.patients.clone(),
    }
}

/// The value of the first cookie called `name`, when it has the form of a handle of ours. HTTP/2 clients may send each
/// cookie in a field of its own (RFC 9113 section 8.2.3).
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    pairs(headers)
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .filter(|value| is_handle(value))
        .map(str::to_owned)
}

/// The names of all cookies, where a name of ours could be among them.
pub(super) fn cookie_names(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    pairs(headers).map(|(name, _)| name).filter(move |name| plain(name)).map(str::to_owned)
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

/// A `Set-Cookie` value (RFC 6265bis): `HttpOnly`, `SameSite=Lax`, and `__Host-` and `Secure` unless the gateway speaks
/// plain HTTP. `max_age` in seconds; `None` lives as long as the browser, 0 deletes.
pub(super) fn set_cookie(config: &Config, name: &str, value: &str, max_age: Option<u32>) -> String {
    let secure = if config.server.danger_plain_http { "" } else { "; Secure" };
    let age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}")
}

/// `name` with the prefix that keeps other hosts and plain-text pages from setting it.
pub(super) fn cookie_name(config: &Config, name: &str) -> String {
    let prefix = if config.server.danger_plain_http { "" } else { "__Host-" };
    format!("{prefix}firebreak-{name}")
}

/// Whether `text` has the form of [`random::handle`].
pub(super) fn is_handle(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn session_cookie_name(config: &Config) -> String {
    cookie_name(config, "session")
}

fn idle_end(now: i64, absolute: i64) -> i64 {
    absolute.min(now.saturating_add(IDLE))
}

/// The user with the roles of today; `None` once the user was removed from the configuration.
fn as_configured_now(config: &Config, user: &User) -> Option<User> {
    if user.iss != config.issuer() {
        return None;
    }
    config.users.iter().find(|configured| configured.username == user.sub).map(|found| built_in_user(config, found))
}
