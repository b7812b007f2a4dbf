//! Cookies and login sessions.
//!
//! Takes the `Cookie` headers; gives the live session, if there is one. Promises: session ids are 256 random bits, new at
//! each login, stored as digests, bound to the user as the configuration has it *now*, idle for at most half an hour and
//! alive for at most `tokens.session` (OWASP ASVS 5.0 section 7.3). Does not check passwords.

use http::HeaderMap;
use http::header::COOKIE;

use super::Grants;
use super::grants::{from_json, revoke, user_digest};
use super::holdings;
use super::records::{Online, Session, User};
use crate::config::Config;
use crate::federation;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

/// Seconds without a request after which a session ends.
const IDLE: i64 = 30 * 60;

/// Sessions that are looked at, of one user or of all.
const MOST: usize = 1_000_000;

/// A session that the browser holds the cookie of.
#[derive(Clone, Debug)]
pub(super) struct LiveSession {
    /// The cookie's value.
    pub(super) cookie: String,
    pub(super) user: User,
    pub(super) auth_time: i64,
    /// When it is over at the latest, seconds since the epoch.
    pub(super) expires: i64,
}

/// A person who has just proved who they are.
#[derive(Clone, Debug)]
pub(super) struct Proved {
    pub(super) user: User,
    /// When, not later than now.
    pub(super) auth_time: i64,
    /// `sid` of the OpenID provider.
    pub(super) provider_session: Option<String>,
}

impl LiveSession {
    /// What a grant with `online_access` ends with.
    pub(super) fn online(&self) -> Online {
        Online { session: Some(self.key().to_hex()), ends: self.expires }
    }

    /// The anti-CSRF token of the form called `form`.
    pub(super) fn csrf(&self, form: &str) -> String {
        Digest::of(&format!("{form}\n{}", self.cookie)).to_hex()
    }

    /// Whether `token` is [`Self::csrf`], in constant time.
    pub(super) fn csrf_matches(&self, form: &str, token: &str) -> bool {
        Digest::of(&self.csrf(form)).matches(&Digest::of(token))
    }

    fn key(&self) -> Digest {
        Digest::of(&self.cookie)
    }
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
    let expires = session.expires;
    keep_alive(grants, key, entry, expires).await?;
    Ok(Some(LiveSession { cookie, user, auth_time: session.auth_time, expires }))
}

/// A new session for a user who has just proved who they are; ends the one that the browser had.
pub(super) async fn begin(grants: &Grants, proved: Proved, headers: &HeaderMap) -> Result<LiveSession, StoreError> {
    let Proved { user, auth_time, provider_session } = proved;
    if let Some(old) = cookie(headers, &session_cookie_name(&grants.config)) {
        end(grants, Digest::of(&old)).await?;
    }
    let now = grants.clock.unix_seconds();
    let lifetime = i64::try_from(grants.config.tokens.session.as_secs()).unwrap_or(i64::MAX);
    let expires = now.saturating_add(lifetime);
    let handle = random::handle();
    let session = Session { user: user.clone(), auth_time, expires, provider_session };
    let value = serde_json::to_vec(&session).map_err(|error| StoreError(error.to_string()))?;
    let entry = Entry { value, expires: idle_end(now, expires), owner: Some(user_digest(&user.iss, &user.sub)) };
    grants.store.put(Kind::Session, Digest::of(&handle), entry).await?;
    Ok(LiveSession { cookie: handle, user, auth_time, expires })
}

/// Ends a session, and the grants with `online_access` that were given in it.
pub(super) async fn end(grants: &Grants, key: Digest) -> Result<(), StoreError> {
    let now = grants.clock.unix_seconds();
    // INVARIANT: the session goes first; whoever asks [`is_open`] from now on is told that it is over.
    let Some(entry) = grants.store.take_once(Kind::Session, key, now).await? else { return Ok(()) };
    let Session { user, .. } = from_json(&entry.value)?;
    let name = key.to_hex();
    for given in holdings::given(&*grants.store, Some(user_digest(&user.iss, &user.sub)), now).await? {
        if given.grant.online.is_some_and(|online| online.session.as_ref() == Some(&name)) {
            revoke(grants, &given.grant.grant_id).await?;
        }
    }
    Ok(())
}

/// Ends the session that the browser has.
pub(super) async fn log_out(grants: &Grants, session: &LiveSession) -> Result<(), StoreError> {
    end(grants, session.key()).await
}

/// Ends the sessions of a provider's user: those of one session there where the provider named it, otherwise all. Of a session
/// whose name there is not known it is taken that it is meant. Returns whose they were, one entry for each.
pub(super) async fn end_of_provider(
    grants: &Grants,
    (iss, sub): (&str, Option<&str>),
    provider_session: Option<&str>,
) -> Result<Vec<User>, StoreError> {
    let now = grants.clock.unix_seconds();
    let owner = sub.map(|sub| user_digest(iss, sub));
    let mut ended = Vec::new();
    let open = grants.store.list(Kind::Session, owner, now, MOST).await?;
    if open.len() == MOST {
        return Err(StoreError(format!("more than {MOST} sessions are open: those of a logout cannot all be found")));
    }
    for (key, entry) in open {
        let session: Session = from_json(&entry.value)?;
        let of_user = session.user.iss == iss && sub.is_none_or(|sub| sub == session.user.sub);
        let of_session = match (provider_session, session.provider_session.as_deref()) {
            (Some(named), Some(known)) => named == known,
            (Some(_), None) => sub.is_some(),
            (None, _) => true,
        };
        if of_user && of_session {
            end(grants, key).await?;
            ended.push(session.user);
        }
    }
    Ok(ended)
}

/// Ends all other sessions of the same user. Returns how many.
pub(super) async fn end_others(grants: &Grants, session: &LiveSession) -> Result<usize, StoreError> {
    let (owner, now) = (user_digest(&session.user.iss, &session.user.sub), grants.clock.unix_seconds());
    let mut ended = 0;
    for (key, _) in grants.store.list(Kind::Session, Some(owner), now, MOST).await? {
        if key != session.key() {
            end(grants, key).await?;
            ended += 1;
        }
    }
    Ok(ended)
}

/// Until when the login of a grant with `online_access` goes on if nobody uses it, seconds since the epoch; `None` when it is
/// over. Using the grant keeps it alive, as opening a page does: an app that the person works with shows that they are there.
pub(super) async fn goes_on_until(grants: &Grants, online: &Online) -> Result<Option<i64>, StoreError> {
    match live(grants, online).await? {
        Live::Over => Ok(None),
        Live::WithoutSession => Ok(Some(online.ends)),
        Live::Session(key, entry) => keep_alive(grants, key, entry, online.ends).await.map(Some),
    }
}

/// Whether the login of a grant with `online_access` is over. Asking does not prolong it.
pub(super) async fn is_over(grants: &Grants, online: &Online) -> Result<bool, StoreError> {
    Ok(matches!(live(grants, online).await?, Live::Over))
}

/// The login of a grant with `online_access`.
enum Live {
    Over,
    /// An EHR logged the user in, for one launch.
    WithoutSession,
    Session(Digest, Entry),
}

async fn live(grants: &Grants, online: &Online) -> Result<Live, StoreError> {
    let now = grants.clock.unix_seconds();
    if online.ends <= now {
        return Ok(Live::Over);
    }
    let Some(name) = &online.session else { return Ok(Live::WithoutSession) };
    let Some(key) = Digest::from_hex(name) else { return Ok(Live::Over) };
    let entry = grants.store.read(Kind::Session, key, now).await?;
    Ok(entry.map_or(Live::Over, |entry| Live::Session(key, entry)))
}

/// Puts off the end for lack of use; one write per half of the idle time, not one per request. Returns the end.
async fn keep_alive(grants: &Grants, key: Digest, entry: Entry, expires: i64) -> Result<i64, StoreError> {
    let (now, ends) = (grants.clock.unix_seconds(), entry.expires);
    if ends - now >= IDLE / 2 || ends >= expires {
        return Ok(ends);
    }
    let longer = Entry { expires: idle_end(now, expires), ..entry };
    let later = longer.expires;
    // Taken and written in one step: a session that was ended meanwhile stays ended.
    grants.store.spend(Kind::Session, Kind::Session, key, longer, now).await?;
    Ok(later)
}

/// The `Set-Cookie` value that removes the session from the browser.
pub(super) fn no_session_cookie(config: &Config) -> String {
    set_cookie(config, &session_cookie_name(config), "", Some(0))
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

/// The user with the roles of today; `None` once the user was removed from the configuration, or the provider may not assert
/// this user any more.
fn as_configured_now(config: &Config, user: &User) -> Option<User> {
    if user.iss != config.issuer() {
        return federation::standing(config, user);
    }
    config.users.iter().find(|configured| configured.username == user.sub).map(|found| built_in_user(config, found))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use futures_util::future::join_all;

    use super::*;
    use crate::grant::back_channel_testing::{NOW, Site};

    #[tokio::test]
    async fn a_provider_ends_the_session_that_it_names_among_however_many() {
        let site = Site::new();
        let (store, iss) = (&*site.grants.store, "https://idp.example.org");
        let session = |name: &str| {
            let user = User { iss: iss.to_owned(), sub: format!("user-{name}"), ..User::default() };
            let provider_session = Some(name.to_owned());
            let session = Session { user, auth_time: NOW, expires: NOW + 3_600, provider_session };
            Entry { value: serde_json::to_vec(&session).unwrap(), expires: NOW + 600, owner: None }
        };
        join_all((0..10_500).map(|number| {
            let name = format!("s{number}");
            store.put(Kind::Session, Digest::of(&name), session(&name))
        }))
        .await
        .into_iter()
        .collect::<Result<Vec<()>, _>>()
        .unwrap();
        // The one that is listed last.
        let last = Digest([0xff; 32]);
        store.put(Kind::Session, last, session("named")).await.unwrap();
        let ended = end_of_provider(&site.grants, (iss, None), Some("named")).await.unwrap();
        assert_eq!(ended.iter().map(|user| user.sub.as_str()).collect::<Vec<_>>(), ["user-named"]);
        assert!(store.read(Kind::Session, last, NOW).await.unwrap().is_none());
    }
}
