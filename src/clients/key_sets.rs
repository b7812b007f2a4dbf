//! The JWK Sets that clients publish at a URL (`jwks_uri`; SMART App Launch 2.2 "asymmetric (private key JWT) client
//! authentication", RFC 7517 section 5).
//!
//! Takes the registered URL and the `kid` that is needed, gives the keys. Promises: a set is used no longer than its
//! `Cache-Control` says, within `AT_LEAST` and `AT_MOST`; a `kid` that is not in it makes it be fetched again, at most once
//! in `AT_LEAST` seconds whoever asks; of many who ask at once one fetches and the others wait for that; when a fetch fails,
//! the set that is there serves until its own end, and a failure is not repeated at once. Whoever waits, waits no longer than
//! one fetch may take. Fetches registered URLs alone: never one that an assertion names. Does not check signatures.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::header::{AGE, CACHE_CONTROL};
use http::{HeaderMap, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use crate::jose::ClientKeys;
use crate::outbound::{Guard, Outbound};

/// Seconds that a set is used at least, and between two fetches of it: so that nobody makes the gateway fetch with each request.
const AT_LEAST: i64 = 10;

/// Seconds that a set is used at most: how long a key that was withdrawn may go on working.
const AT_MOST: i64 = 3_600;

/// Seconds that a set is used when its server says nothing.
const UNSAID: i64 = 300;

/// Sets that are kept at most.
const SETS: u64 = 2_000;

/// The sets of all clients that have a URL.
#[derive(Debug)]
pub struct KeySets {
    outbound: Outbound,
    sets: moka::sync::Cache<(Url, Guard), Arc<KeySet>>,
}

/// The set could not be had, or lacks the key. What was wrong is in the log, not in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchKey;

/// The set at one URL.
#[derive(Debug, Default)]
struct KeySet {
    kept: ArcSwapOption<Kept>,
    /// When it was last asked for. Held while that is under way.
    asked: Mutex<Option<i64>>,
}

#[derive(Clone, Debug)]
struct Kept {
    keys: Arc<ClientKeys>,
    /// Seconds since the epoch.
    from: i64,
    until: i64,
}

impl KeySets {
    /// Sets that are fetched by `outbound`.
    #[must_use]
    pub fn new(outbound: Outbound) -> Self {
        Self { outbound, sets: moka::sync::Cache::new(SETS) }
    }

    /// The set at `url`, with a key named `kid` in it. `now` in seconds since the epoch.
    ///
    /// # Errors
    /// There is none at this time.
    pub async fn with_key(&self, url: &Url, guard: Guard, kid: &str, now: i64) -> Result<Arc<ClientKeys>, NoSuchKey> {
        let set = self.sets.get_with((url.clone(), guard), Arc::default);
        let known = || set.current(now).filter(|keys| keys.has(kid));
        if let Some(keys) = known() {
            return Ok(keys);
        }
        let mut asked = set.asked.lock().await;
        if let Some(keys) = known() {
            return Ok(keys);
        }
        if asked.is_some_and(|at| (0..AT_LEAST).contains(&(now - at))) {
            return Err(NoSuchKey);
        }
        *asked = Some(now);
        match self.fetch(url, guard, now).await {
            Ok(kept) => set.kept.store(Some(Arc::new(kept))),
            Err(reason) => {
                tracing::warn!(host = url.host_str(), reason, "the JWK Set of a client could not be fetched");
            }
        }
        known().ok_or(NoSuchKey)
    }

    async fn fetch(&self, url: &Url, guard: Guard, now: i64) -> Result<Kept, String> {
        let answer = self.outbound.get(url, guard).await.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("status 200 is expected, not {}", answer.status().as_u16()));
        }
        let keys = ClientKeys::parse_fetched(answer.body()).map_err(|problem| problem.to_string())?;
        Ok(Kept { keys: Arc::new(keys), from: now, until: now + lifetime(answer.headers()) })
    }
}

impl KeySet {
    fn current(&self, now: i64) -> Option<Arc<ClientKeys>> {
        let kept = self.kept.load();
        kept.as_ref().filter(|kept| (kept.from..kept.until).contains(&now)).map(|kept| Arc::clone(&kept.keys))
    }
}

/// How long an answer may be kept (RFC 9111 section 4.2, as a private cache).
fn lifetime(headers: &HeaderMap) -> i64 {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut said = None;
    for directive in values.flat_map(|value| value.split(',')).map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return AT_LEAST,
            "max-age" => {
                let seconds: i64 = value.trim().trim_matches('"').parse().unwrap_or(0);
                said = Some(said.map_or(seconds, |least: i64| least.min(seconds)));
            }
            _ => {}
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse::<i64>().ok()).unwrap_or(0).max(0);
    said.map_or(UNSAID, |seconds| seconds.saturating_sub(age)).clamp(AT_LEAST, AT_MOST)
}

#[cfg(test)]
pub(crate) mod tests;
