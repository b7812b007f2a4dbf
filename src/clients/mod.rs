//! The registered clients, made ready for lookup: those of the configuration, and those of the store, which registered
//! themselves or were added by an administrator.
//!
//! Takes the configuration once and the store again and again ([`Clients::refresh`]); gives a client by its id without
//! waiting. Promises: a client that was disabled or removed is not found any more, at once on the process that refreshed
//! after the change and as soon as they refresh on the others; of two clients of one id the configured one is the one; what
//! cannot be read is not found. Does not decide who may register: `grant::registration_endpoint`, `command::client`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use url::Url;

use crate::config::{Client, ClientAuthentication};
use crate::jose::{ClientKeys, JwksProblem};
use crate::oauth::redirect_uri::differs_in_port;
use crate::secret::Digest;
use crate::store::{Entry, Kind, Store, StoreError};

pub mod initial_access_token;
pub mod key_sets;
pub mod registry;
pub mod stored;

use self::stored::{Registration, StoredClient};

/// Most clients of the store that are kept in memory.
pub const MOST: usize = 100_000;

/// Seconds after which the store's clients are read again even when nobody said that they changed: for those that expired,
/// and for a change whose author died before saying so.
const UNASKED: i64 = 30;

/// The clients by their id. A client that is not in here does not exist: that is how one is disabled.
#[derive(Debug, Default)]
pub struct Clients {
    configured: HashMap<String, Arc<RegisteredClient>>,
    /// The built-in users: no client is called like one.
    users: HashSet<String>,
    current: ArcSwap<Current>,
    /// Held while the store is read, so that what was read later is in force later.
    heard: Mutex<Heard>,
}

/// A client with its keys.
#[derive(Debug)]
pub struct RegisteredClient {
    /// As configured, or as the store has it.
    pub config: Client,
    /// Of a client that authenticates by `private_key_jwt` with keys that it registered inline.
    pub keys: Option<ClientKeys>,
    /// Of a client of the store.
    pub registration: Option<Registration>,
}

/// A client cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProblem {
    /// Which one.
    pub client_id: String,
    /// What is wrong with its JWK Set; `None`: there are two clients of this id.
    pub jwks: Option<JwksProblem>,
}

/// Those that may act now.
#[derive(Debug, Default)]
struct Current {
    by_id: HashMap<String, Arc<RegisteredClient>>,
    /// Each with whether somebody of this site has looked at one of its apps.
    origins: HashMap<String, bool>,
    of_the_store: usize,
    unverified: usize,
}

/// What the store said last.
#[derive(Debug, Default)]
struct Heard {
    at: Option<i64>,
    change: Option<Vec<u8>>,
    /// What was made of each record, so that what did not change is not read again.
    clients: HashMap<Digest, Known>,
}

/// A record of the store, by its digest and its end, and what was made of it.
#[derive(Debug)]
struct Known {
    record: (Digest, i64),
    client: Option<Arc<RegisteredClient>>,
}

impl Clients {
    /// Registers all clients of the configuration.
    ///
    /// # Errors
    /// All that cannot be registered.
    pub fn new(configured: &[Client]) -> Result<Self, Vec<ClientProblem>> {
        let mut clients = HashMap::new();
        let mut problems = Vec::new();
        for config in configured {
            let client_id = config.client_id.clone();
            match RegisteredClient::new(config.clone(), None) {
                Ok(client) => {
                    if clients.insert(client_id.clone(), Arc::new(client)).is_some() {
                        problems.push(ClientProblem { client_id, jwks: None });
                    }
                }
                Err(problem) => problems.push(ClientProblem { client_id, jwks: Some(problem) }),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let current = Current::of(clients.values().cloned());
        let current = ArcSwap::from_pointee(current);
        Ok(Self { configured: clients, users: HashSet::new(), current, heard: Mutex::default() })
    }

    /// The same beside these built-in users. A token whose `sub` is its `client_id` is the client's own (RFC 9068 section 2.2), so
    /// a client of the store that is called like one of them is not served.
    #[must_use]
    pub fn beside(mut self, users: impl IntoIterator<Item = String>) -> Self {
        self.users.extend(users);
        self
    }

    /// Whether a new client may have this id, as far as the configuration goes.
    #[must_use]
    pub fn may_be_called(&self, client_id: &str) -> bool {
        !self.users.contains(client_id) && !self.is_configured(client_id)
    }

    /// The client of this id.
    #[must_use]
    pub fn find(&self, client_id: &str) -> Option<Arc<RegisteredClient>> {
        self.current.load().by_id.get(client_id).cloned()
    }

    /// Whether there is a client of this id; asked on every request.
    #[must_use]
    pub fn is_registered(&self, client_id: &str) -> bool {
        self.current.load().by_id.contains_key(client_id)
    }

    /// Whether a browser app of this origin is registered (SMART App Launch 2.2, "considerations for cross-origin resource
    /// sharing").
    #[must_use]
    pub fn has_origin(&self, origin: &str) -> bool {
        self.current.load().origins.contains_key(origin)
    }

    /// Whether the apps of this origin are registered, and nobody of this site has looked at any of them.
    #[must_use]
    pub fn is_unverified_origin(&self, origin: &str) -> bool {
        self.current.load().origins.get(origin).is_some_and(|verified| !verified)
    }

    /// Whether the configuration has this id, so that no client of the store can.
    #[must_use]
    pub fn is_configured(&self, client_id: &str) -> bool {
        self.configured.contains_key(client_id)
    }

    /// How many clients of the store may act, and how many of these registered themselves with nobody's leave.
    #[must_use]
    pub fn of_the_store(&self) -> (usize, usize) {
        let current = self.current.load();
        (current.of_the_store, current.unverified)
    }

    /// Takes up what changed in the store. To be called every second, and after each change that this process makes.
    ///
    /// # Errors
    /// The store could not be read, or holds more than can be kept; what is known stays.
    pub async fn refresh(&self, store: &dyn Store, now: i64) -> Result<(), StoreError> {
        let mut heard = self.heard.lock().await;
        // Before the clients: a change in between is read twice rather than never.
        let change = store.read(Kind::ClientChange, registry::CHANGE, now).await?.map(|entry| entry.value);
        if change == heard.change && heard.at.is_some_and(|at| now.saturating_sub(at) < UNASKED && at <= now) {
            return Ok(());
        }
        let listed = store.list(Kind::Client, None, now, MOST).await?;
        let disabled = store.list(Kind::DisabledClient, None, now, MOST).await?;
        if listed.len() == MOST || disabled.len() == MOST {
            return Err(StoreError(format!("more than {MOST} clients are registered or disabled")));
        }
        let disabled: HashSet<Digest> = disabled.into_iter().map(|(key, _)| key).collect();
        let mut before = std::mem::take(&mut heard.clients);
        for (key, entry) in listed {
            let record = (Digest::of_bytes(&entry.value), entry.expires);
            let unchanged = before.remove(&key).filter(|known| known.record == record);
            let client = unchanged.map_or_else(|| self.read(key, &entry), |known| known.client);
            heard.clients.insert(key, Known { record, client });
        }
        let of_the_store = heard.clients.values().filter_map(|known| known.client.as_ref());
        let may_act = self.configured.values().chain(of_the_store);
        let may_act = may_act.filter(|client| !disabled.contains(&registry::key(&client.config.client_id)));
        self.current.store(Arc::new(Current::of(may_act.cloned())));
        heard.change = change;
        heard.at = Some(now);
        Ok(())
    }

    /// What a record of the store says; nothing where it cannot be used, and the log says why.
    fn read(&self, key: Digest, entry: &Entry) -> Option<Arc<RegisteredClient>> {
        let stored = match serde_json::from_slice::<StoredClient>(&entry.value) {
            Ok(stored) if registry::key(&stored.client_id) == key => stored,
            Ok(_) => {
                tracing::error!(?key, "a client of the store stands under another's id; it is not served");
                return None;
            }
            Err(error) => {
                tracing::error!(?key, %error, "a client of the store cannot be read; it is not served");
                return None;
            }
        };
        let client_id = stored.client_id.clone();
        if self.is_configured(&client_id) {
            tracing::warn!(client_id, "a client of the store is not served: the configuration has one of this id");
            return None;
        }
        if self.users.contains(&client_id) {
            tracing::error!(client_id, "a client of the store is not served: a user is called so");
            return None;
        }
        match stored.registered(entry.expires) {
            Ok(client) => Some(Arc::new(client)),
            Err(problem) => {
                tracing::error!(client_id, problem, "a client of the store is not served");
                None
            }
        }
    }
}

impl RegisteredClient {
    /// Makes a client ready.
    ///
    /// # Errors
    /// Its JWK Set cannot be used.
    pub fn new(config: Client, registration: Option<Registration>) -> Result<Self, JwksProblem> {
        let keys = match &config.authentication {
            ClientAuthentication::PrivateKeyJwt { jwks } => Some(ClientKeys::parse(jwks)?),
            ClientAuthentication::None
            | ClientAuthentication::Secret(_)
            | ClientAuthentication::PrivateKeyJwtByUrl { .. } => None,
        };
        Ok(Self { config, keys, registration })
    }

    /// Whether `sent` is a redirect URI of it: byte by byte one that is registered (RFC 9700 section 2.1), or, for a public
    /// client, one on loopback that differs in its port alone (RFC 8252 section 7.3).
    #[must_use]
    pub fn has_redirect_uri(&self, sent: &str) -> bool {
        let native = matches!(self.config.authentication, ClientAuthentication::None);
        let mut registered = self.config.redirect_uris.iter();
        registered.any(|registered| registered == sent || (native && differs_in_port(registered, sent)))
    }

    /// Whether nobody of this site has looked at it.
    #[must_use]
    pub fn is_unverified(&self) -> bool {
        self.config.unverified
    }
}

impl Current {
    fn of(clients: impl Iterator<Item = Arc<RegisteredClient>>) -> Self {
        let mut current = Self::default();
        for client in clients {
            for origin in origins(&client.config) {
                *current.origins.entry(origin).or_default() |= !client.is_unverified();
            }
            current.of_the_store += usize::from(client.registration.is_some());
            current.unverified += usize::from(client.is_unverified());
            current.by_id.insert(client.config.client_id.clone(), client);
        }
        current
    }
}

/// The origins that are configured, or else, for a public client, those of its redirect URIs.
fn origins(client: &Client) -> Vec<String> {
    if !client.origins.is_empty() {
        return client.origins.clone();
    }
    if !matches!(client.authentication, ClientAuthentication::None) {
        return Vec::new();
    }
    let redirects = client.redirect_uris.iter().filter_map(|uri| Url::parse(uri).ok());
    redirects
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(|url| url.origin().ascii_serialization())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
