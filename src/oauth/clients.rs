//! The registered clients, made ready for lookup: their keys parsed, the origins of browser clients collected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use url::Url;

use crate::config::{Client, ClientAuthentication};
use crate::jose::{ClientKeys, JwksProblem};

/// The clients by their id. A client that is not in the configuration does not exist: that is how one is disabled.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: HashMap<String, Arc<RegisteredClient>>,
    origins: HashSet<String>,
}

/// A client of the configuration with its keys.
#[derive(Debug)]
pub struct RegisteredClient {
    /// As configured.
    pub config: Client,
    /// Of a client that authenticates by `private_key_jwt`.
    pub keys: Option<ClientKeys>,
}

/// A client cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProblem {
    /// Which one.
    pub client_id: String,
    /// What is wrong with its JWK Set; `None`: there are two clients of this id.
    pub jwks: Option<JwksProblem>,
}

impl Clients {
    /// Registers all clients of the configuration.
    ///
    /// # Errors
    /// All that cannot be registered.
    pub fn new(configured: &[Client]) -> Result<Self, Vec<ClientProblem>> {
        let mut clients = Self::default();
        let mut problems = Vec::new();
        for config in configured {
            let client_id = config.client_id.clone();
            let keys = match &config.authentication {
                ClientAuthentication::PrivateKeyJwt { jwks } => match ClientKeys::parse(jwks) {
                    Ok(keys) => Some(keys),
                    Err(problem) => {
                        problems.push(ClientProblem { client_id, jwks: Some(problem) });
                        continue;
                    }
                },
                ClientAuthentication::None | ClientAuthentication::Secret(_) => None,
            };
            clients.origins.extend(origins(config));
            let client = Arc::new(RegisteredClient { config: config.clone(), keys });
            if clients.by_id.insert(client_id.clone(), client).is_some() {
                problems.push(ClientProblem { client_id, jwks: None });
            }
        }
        if problems.is_empty() { Ok(clients) } else { Err(problems) }
    }

    /// The client of this id.
    #[must_use]
    pub fn find(&self, client_id: &str) -> Option<&Arc<RegisteredClient>> {
        self.by_id.get(client_id)
    }

    /// Whether a browser app of this origin is registered (SMART App Launch 2.2, "considerations for cross-origin resource
    /// sharing").
    #[must_use]
    pub fn has_origin(&self, origin: &str) -> bool {
        self.origins.contains(origin)
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
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;
    use crate::config::GrantType;
    use crate::secret::Digest;

    /// A client for tests: one redirect URI `https://<id>.example.org/cb`, both grant types.
    pub(crate) fn client(client_id: &str, authentication: ClientAuthentication) -> Client {
        Client {
            client_id: client_id.to_owned(),
            client_name: client_id.to_owned(),
            authentication,
            redirect_uris: vec![format!("https://{client_id}.example.org/cb")],
            launch_urls: Vec::new(),
            origins: Vec::new(),
            scope: "openid fhirUser offline_access launch launch/patient patient/*.rs".to_owned(),
            grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            approved: false,
            ehr: None,
        }
    }

    // R5
    #[test]
    fn origins_are_those_configured_or_those_of_a_public_clients_redirect_uris() {
        let mut custom = client("native", ClientAuthentication::None);
        custom.redirect_uris = vec!["org.example.app:/cb".to_owned()];
        let mut named = client("named", ClientAuthentication::Secret(Digest::of("s")));
        named.origins = vec!["https://spa.example.org".to_owned()];
        let clients = Clients::new(&[
            client("public", ClientAuthentication::None),
            client("server", ClientAuthentication::Secret(Digest::of("s"))),
            custom,
            named,
        ])
        .unwrap();
        assert!(clients.has_origin("https://public.example.org"));
        assert!(clients.has_origin("https://spa.example.org"));
        for other in
            ["https://server.example.org", "https://named.example.org", "null", "", "https://public.example.org/"]
        {
            assert!(!clients.has_origin(other), "{other}");
        }
    }

    #[test]
    fn two_clients_of_one_id_and_unusable_keys_are_all_reported() {
        let bad = ClientAuthentication::PrivateKeyJwt { jwks: "{}".to_owned() };
        let twice = client("twice", ClientAuthentication::None);
        let problems = Clients::new(&[twice.clone(), twice, client("bad", bad)]).unwrap_err();
        let ids: Vec<_> = problems.iter().map(|problem| (problem.client_id.as_str(), problem.jwks)).collect();
        assert_eq!(ids, [("twice", None), ("bad", Some(JwksProblem::NotAJwkSet))]);
    }
}
