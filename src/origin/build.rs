//! Puts the stages together from a configuration, and runs them until told to stop.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Beside, Origin};
use crate::admin::keys::KeyFollower;
use crate::admin::{Admin, Live, Metrics, Readiness, Searches, events};
use crate::admit::{FailedCredentials, HourlyBudget};
use crate::audit::{self, Audit};
use crate::authenticate::{Authenticator, Here};
use crate::authorize::Authorizer;
use crate::clients::Clients;
use crate::clients::key_sets::KeySets;
use crate::clock::Clock;
use crate::config::{Config, OnAuditFailure};
use crate::federation::Providers;
use crate::fhir::definitions;
use crate::fhir::reference::Bases;
use crate::fhir::software::Known;
use crate::filter::Filter;
use crate::filter::seal::Sealer;
use crate::filter::urls::Rebase;
use crate::forward::Upstream;
use crate::gateway::{Capabilities, Gateway};
use crate::grant::Grants;
use crate::grant::patients::Patients;
use crate::grant::revocations::Revocations;
use crate::grant::route;
use crate::keys::Keys;
use crate::listen::{Certificates, Drain, Listener};
use crate::outbound::Outbound;
use crate::store::{Access, SqliteStore, Store};

/// After how long an upstream that did not say what it is is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Why a process does not start; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    fn because(what: &str, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// Everything that runs, before it listens.
#[derive(Debug)]
pub struct Parts {
    /// The site behind the public listener.
    pub origin: Origin,
    /// The certificates, unless it is plain HTTP.
    pub certificates: Option<Arc<Certificates>>,
    /// Numbers for the admin listener.
    pub metrics: Metrics,
    /// The store's revocations, refreshed while the process runs.
    pub revocations: Arc<Revocations>,
}

/// Builds all stages from the configuration: reads keys and certificates, opens the audit log and the store.
///
/// # Errors
/// The first thing that is missing or wrong.
pub async fn build(config: Arc<Config>, clock: Clock, demo: Option<Box<dyn Beside>>) -> Result<Parts, StartError> {
    definitions::load();
    let metrics = Metrics::new();
    let issuer = config.issuer();
    let base = config.fhir_base();
    let clients = Clients::new(&config.clients).map_err(|problems| {
        let list: Vec<String> = problems
            .iter()
            .map(|problem| match &problem.jwks {
                Some(jwks) => format!("client `{}`: its JWK Set cannot be used: {jwks}", problem.client_id),
                None => format!("client_id `{}` occurs twice", problem.client_id),
            })
            .collect();
        StartError(list.join("\n"))
    })?;
    let clients = Arc::new(clients.beside(config.users.iter().map(|user| user.username.clone())));
    let certificates = match &config.tls {
        Some(tls) => Some(Arc::new(Certificates::load(tls).map_err(|error| StartError::because("tls", error))?)),
        None => None,
    };
    let keys_directory = config.state_directory.join("keys");
    let keys = Keys::open_at(&keys_directory, clock.clone()).map_err(|error| StartError::because("keys", error))?;
    let keys = Arc::new(keys);
    let access = if config.state_shared { Access::Shared } else { Access::Sole };
    let store = SqliteStore::open_as(&config.state_directory, access);
    let store: Arc<dyn Store> = Arc::new(store.map_err(|error| StartError::because("store", error))?);
    let audit =
        Audit::start(audit_options(&config), clock.clone()).map_err(|error| StartError::because("audit", error))?;
    let revocations = Arc::new(Revocations::new(clock.clone()));
    let failures = Arc::new(FailedCredentials::new(config.limits.failed_credentials_per_minute));
    let rebase = Rebase::new(&base, &upstream_bases(&config));
    let sealer = Sealer::rotating(Arc::clone(&keys), clock.clone());
    let bases = bases(&config)?;
    let authorizer = Authorizer::new(
        config.policies.as_deref(),
        bases.clone(),
        config.fhir.max_count,
        config.fhir.operations.clone(),
    )
    .map_err(|errors| {
        let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
        StartError(list.join("\n"))
    })?;
    let authorizer = authorizer
        .with_max_entries(config.fhir.max_entries)
        .with_search_by(config.fhir.search_by, &config.fhir.narrow_by)
        .with_software(Known::from(config.fhir.software));
    let gateway = Arc::new(Gateway {
        path: config.fhir.path.clone(),
        base: base.clone(),
        clients: Arc::clone(&clients),
        authenticator: Authenticator::new(
            Arc::clone(&keys),
            Arc::clone(&revocations),
            Arc::clone(&failures),
            clock.clone(),
            here(&config, Arc::clone(&clients), config.state_shared.then(|| Arc::clone(&store))),
        ),
        authorizer,
        upstream: Upstream::new(&config.fhir)
            .map_err(|error| StartError::because("upstream", error.0))?
            .with_clock(clock.clone()),
        filter: Filter::new(bases, rebase.clone(), sealer),
        audit: audit.clone(),
        metrics: metrics.clone(),
        capabilities: Capabilities::new(rebase, &issuer, clock.now().to_string())
            .with_registration(config.registration.as_ref().map(|_| format!("{issuer}{}", route::REGISTER)))
            .with_operations(config.fhir.operations.clone()),
    });
    let outbound = Outbound::new(config.outbound_ca.as_deref()).map_err(|error| StartError(error.0))?;
    let per_hour = config.registration.as_ref().map_or(1, |registration| registration.open_per_hour);
    let providers = Providers::new(&config, &clock).map_err(|error| StartError::because("configuration", error))?;
    let providers = Arc::new(providers);
    let grants = Grants {
        registrations: Arc::new(HourlyBudget::new(per_hour)),
        config,
        clock,
        store,
        patients: Arc::new(Patients(Arc::clone(&gateway))),
        keys,
        clients,
        revocations: Arc::clone(&revocations),
        failures,
        login: Arc::default(),
        providers,
        under_way: Arc::default(),
        key_sets: Arc::new(KeySets::new(outbound.clone())),
        outbound,
    };
    grants.follower().refresh().await.map_err(|error| StartError::because("store", error))?;
    let origin = Origin { gateway, grants, audit, demo, metrics: metrics.clone() };
    Ok(Parts { origin, certificates, metrics, revocations })
}

/// How the audit log of this configuration is run.
#[must_use]
pub fn audit_options(config: &Config) -> audit::Options {
    let mut options = audit::Options::new(config.audit.directory.clone(), config.audit.name.clone());
    options.key_file.clone_from(&config.audit.key_file);
    options.on_failure = match config.audit.on_failure {
        OnAuditFailure::Deny => audit::OnFailure::Deny,
        OnAuditFailure::DangerAllowAndAlarm => audit::OnFailure::DangerAllowAndAlarm,
    };
    options
}

/// Whose tokens this configuration takes, and for whom.
pub(crate) fn here(config: &Config, clients: Arc<Clients>, shared: Option<Arc<dyn Store>>) -> Here {
    Here {
        issuer: config.issuer(),
        audience: config.fhir_base(),
        clients,
        users: config.users.iter().map(|user| user.username.clone()).collect(),
        dpop_nonces: config.tokens.dpop_nonces,
        origin: config.server.origin.clone(),
        shared,
        issuers: foreign_issuers(config),
    }
}

/// The bases by which references are known as this server's.
///
/// # Errors
/// When the origin and the path make no URL.
pub(crate) fn bases(config: &Config) -> Result<Bases, StartError> {
    let public = config.server.origin.join(config.fhir.path.trim_start_matches('/'));
    let public = public.map_err(|error| StartError::because("fhir.path", error))?;
    Ok(Bases::new(&public, &config.fhir.upstream, &config.fhir.aliases))
}

/// Whose users may come besides our own.
fn foreign_issuers(config: &Config) -> HashSet<String> {
    let vouched = config.clients.iter().filter_map(|client| client.ehr.as_ref()).filter(|ehr| ehr.vouches_for_users);
    let vouched = vouched.flat_map(|ehr| ehr.user_issuers.iter().cloned());
    config.providers.iter().map(|provider| provider.issuer.clone()).chain(vouched).collect()
}

fn upstream_bases(config: &Config) -> Vec<&str> {
    std::iter::once(&config.fhir.upstream).chain(&config.fhir.aliases).map(url::Url::as_str).collect()
}

/// What the metrics tell of the upstream's searches.
fn searches(upstream: &Upstream) -> Searches {
    let [honoured, unusable, failed] = upstream.probes();
    let unconfined = upstream.unconfined().into_iter();
    Searches {
        probes: [("honoured", honoured), ("unusable", unusable), ("failed", failed)],
        unconfined: unconfined.map(|(resource_type, ways)| (resource_type.name(), ways)).collect(),
    }
}

/// A process that listens.
#[derive(Debug)]
pub struct Running {
    listener: Listener,
    origin: Origin,
    audit: Audit,
    admin: Option<Admin>,
    metrics: Metrics,
    readiness: Readiness,
    certificates: Option<Arc<Certificates>>,
    grace: Duration,
}

impl Parts {
    /// Binds the listeners. From here on connections queue; they are answered by [`Running::run`].
    ///
    /// # Errors
    /// When an address is taken or not allowed.
    pub async fn bind(self, config: &Config, drain: &Drain) -> Result<Running, StartError> {
        let Self { origin, certificates, metrics, revocations } = self;
        let address = config.server.listen;
        let listener = Listener::bind(address, certificates.clone(), config.limits.clone())
            .await
            .map_err(|error| StartError::because(&format!("server.listen {address}"), error))?;
        let admin = match config.server.admin {
            None => None,
            Some(address) => {
                let admin = Admin::bind(address).await;
                Some(admin.map_err(|error| StartError::because(&format!("server.admin {address}"), error))?)
            }
        };
        let upstream = origin.gateway.upstream.clone();
        metrics.watch(Live {
            open: listener.open(),
            certificates: certificates.clone(),
            audit: origin.audit.clone(),
            searches: Box::new(move || searches(&upstream)),
        });
        let (healthy, heard) = (origin.audit.clone(), Arc::clone(&revocations));
        let readiness = Readiness::new(drain.clone())
            .check("audit", move || if healthy.healthy() { Ok(()) } else { Err("the audit log cannot be written") })
            .check("store", move || if heard.heard_recently() { Ok(()) } else { Err("the store was not heard") });
        let audit = origin.audit.clone();
        Ok(Running {
            listener,
            origin,
            audit,
            admin,
            metrics,
            readiness,
            certificates,
            grace: config.server.drain_grace,
        })
    }
}

impl Running {
    /// The public address, with the port that the system chose.
    ///
    /// # Errors
    /// When the socket has none.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.address()
    }

    /// The admin address.
    #[must_use]
    pub fn admin_address(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().and_then(|admin| admin.address().ok())
    }

    /// Serves until `drain` has stopped the listener and what was under way is done, then closes the audit log.
    pub async fn run(self, drain: Drain) {
        let ended = CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        if let Some(certificates) = self.certificates {
            tasks.spawn(certificates.watch(ended.clone()));
        }
        if let Some(admin) = self.admin {
            tasks.spawn(admin.serve(self.metrics, self.readiness, ended.clone()));
        }
        let store = Arc::clone(&self.origin.grants.store);
        let clock = self.origin.grants.clock.clone();
        tasks.spawn(crate::store::sweep_regularly(Arc::clone(&store), clock.clone(), ended.clone()));
        tasks.spawn(events::follow(store, self.audit.clone(), clock, ended.clone()));
        tasks.spawn(self.origin.grants.follower().follow(ended.clone()));
        let keys = KeyFollower {
            keys: Arc::clone(&self.origin.grants.keys),
            store: Arc::clone(&self.origin.grants.store),
            clock: self.origin.grants.clock.clone(),
            rotate_after: self.origin.grants.config.tokens.rotate_keys_after,
        };
        tasks.spawn(keys.follow(ended.clone()));
        let (gateway, until) = (Arc::clone(&self.origin.gateway), ended.clone());
        tasks.spawn(async move {
            let software = gateway.authorizer.software().clone();
            until.run_until_cancelled(gateway.upstream.identify(software, ASK_AGAIN)).await;
        });
        let under_way = Arc::clone(&self.origin.grants.under_way);
        self.listener.serve(self.origin, drain, self.grace).await;
        if tokio::time::timeout(self.grace, under_way.finished()).await.is_err() {
            tracing::warn!("logins or tokens were still under way at the end of the grace period");
        }
        ended.cancel();
        tasks.close();
        tasks.wait().await;
        self.audit.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use std::path::Path;

    use super::*;

    #[test]
    fn the_upstream_is_known_by_its_aliases_too() {
        let text = "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"http://localhost\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"http://up/fhir\"\naliases = [\"http://other/fhir\"]\n";
        let config = Config::parse(text, Path::new(".")).unwrap();
        assert_eq!(upstream_bases(&config), ["http://up/fhir", "http://other/fhir"]);
    }

    #[test]
    fn what_happens_while_the_log_cannot_be_written_is_as_the_site_says() {
        let server = "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"http://localhost\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"http://up/fhir\"\n";
        for (section, on_failure) in [
            ("", audit::OnFailure::Deny),
            ("[audit]\non_failure = \"deny\"\n", audit::OnFailure::Deny),
            ("[audit]\non_failure = \"danger_allow_and_alarm\"\n", audit::OnFailure::DangerAllowAndAlarm),
        ] {
            let config = Config::parse(&format!("{server}{section}"), Path::new(".")).unwrap();
            assert_eq!(audit_options(&config).on_failure, on_failure, "{section}");
        }
    }
}
