//! The providers of the configuration.

use std::sync::Arc;

use super::RelyingParty;
use crate::clock::Clock;
use crate::config::Config;

/// The providers that people may log in with.
#[derive(Debug, Default)]
pub struct Providers(Vec<Arc<RelyingParty>>);

impl Providers {
    /// All providers of the configuration. Calls nobody.
    ///
    /// # Errors
    /// What keeps one from being used, with its name.
    pub fn new(config: &Config, clock: &Clock) -> Result<Self, String> {
        crate::jose::install_provider();
        let providers = config.providers.iter().map(|provider| {
            RelyingParty::new(config, provider, clock)
                .map(Arc::new)
                .map_err(|error| format!("provider `{}`: {error}", provider.id))
        });
        providers.collect::<Result<_, _>>().map(Self)
    }

    /// The one of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<RelyingParty>> {
        self.0.iter().find(|provider| provider.config.id == id)
    }

    /// The one that vouches for users of this issuer.
    #[must_use]
    pub fn of_issuer(&self, issuer: &str) -> Option<&Arc<RelyingParty>> {
        self.0.iter().find(|provider| provider.config.issuer == issuer)
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RelyingParty>> {
        self.0.iter()
    }
}
