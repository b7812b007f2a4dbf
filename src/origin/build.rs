//! Puts the stages together from a configuration, and runs them until told to stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Origin;
use crate::admin::{Admin, Live, Metrics, Readiness};
use crate::admit::FailedCredentials;
use crate::audit::{self, Audit};
use crate::authenticate::{Authenticator, Here};
use crate::authorize::Authorizer;
use crate::clock::Clock;
use crate::config::{Config, OnAuditFailure};
use crate::demo::DemoSite;
use crate::fhir::definitions;
use crate::fhir::reference::Bases;
use crate::filter::Filter;
use crate::filter::seal::Sealer;
use crate::filter::urls::Rebase;
use crate::forward::Upstream;
use crate::gateway::{Capabilities, Gateway};
use crate::grant::Grants;
use crate::grant::patients::Patients;
use crate::grant::revocations::Revocations;
use crate::jose::Keys;
use crate::listen::{Certificates, Drain, Listener};
use crate::oauth::clients::Clients;
use crate::store::{SqliteStore, Store};

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
pub async fn build(config: Arc<Config>, clock: Clock, demo: Option<DemoSite>) -> Result<Parts, StartError> {
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
    let clients = Arc::new(clients);
    let certificates = match &config.tls {
        Some(tls) => Some(Arc::new(Certificates::load(tls).map_err(|error| StartError::because("tls", error))?)),
        None => None,
    };
    let keys_directory = config.state_directory.join("keys");
    let keys = Arc::new(Keys::open(&keys_directory).map_err(|error| StartError::because("keys", error))?);
    let seal_key = crate::secret::file_key(&keys_directory.join("seal.key"))
        .map_err(|error| StartError::because("keys/seal.key", error))?;
    let store = SqliteStore::open(&config.state_directory).map_err(|error| StartError::because("store", error))?;
    let store: Arc<dyn Store> = Arc::new(store);
    let name = config.server.origin.host_str().unwrap_or("firebreak").to_owned();
    let mut options = audit::Options::new(config.audit.directory.clone(), name);
    options.on_failure = match config.audit.on_failure {
        OnAuditFailure::Deny => audit::OnFailure::Deny,
        OnAuditFailure::DangerAllowAndAlarm => audit::OnFailure::DangerAllowAndAlarm,
    };
    let audit = Audit::start(options, clock.clone()).map_err(|error| StartError::because("audit", error))?;
    let revocations = Arc::new(Revocations::new(clock.clone()));
    revocations.refresh(&*store).await.map_err(|error| StartError::because("store", error))?;
    let failures = Arc::new(FailedCredentials::new(config.limits.failed_credentials_per_minute));
    let rebase = Rebase::new(&base, &upstream_bases(&config));
    let public = config.server.origin.join(config.fhir.path.trim_start_matches('/'));
    let public = public.map_err(|error| StartError::because("fhir.path", error))?;
    let sealer =
        Sealer::new(&seal_key, clock.clone()).map_err(|_| StartError("keys/seal.key must hold 32 bytes".into()))?;
    let bases = Bases::new(&public, &config.fhir.upstream, &config.fhir.aliases);
    let authorizer =
        Authorizer::new(config.policies.as_deref(), bases.clone(), config.fhir.max_count).map_err(|errors| {
            let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
            StartError(list.join("\n"))
        })?;
    let gateway = Arc::new(Gateway {
        path: config.fhir.path.clone(),
        base: base.clone(),
        clients: Arc::clone(&clients),
        authenticator: Authenticator::new(
            Arc::clone(&keys),
            Arc::clone(&revocations),
            Arc::clone(&failures),
            clock.clone(),
            Here {
                issuer: issuer.clone(),
                audience: base.clone(),
                clients: Arc::clone(&clients),
                users: config.users.iter().map(|user| user.username.clone()).collect(),
            },
        ),
        authorizer,
        upstream: Upstream::new(&config.fhir).map_err(|error| StartError::because("upstream", error.0))?,
        filter: Filter::new(bases, rebase.clone(), sealer),
        audit: audit.clone(),
        metrics: metrics.clone(),
        capabilities: Capabilities::new(rebase, &issuer, clock.now().to_string()),
    });
    let grants = Grants {
        config,
        clock,
        store,
        patients: Arc::new(Patients(Arc::clone(&gateway))),
        keys,
        clients,
        revocations: Arc::clone(&revocations),
        failures,
        login: Arc::default(),
        under_way: Arc::default(),
    };
    let origin = Origin { gateway, grants, audit, demo, metrics: metrics.clone() };
    Ok(Parts { origin, certificates, metrics, revocations })
}

fn upstream_bases(config: &Config) -> Vec<&str> {
    std::iter::once(&config.fhir.upstream).chain(&config.fhir.aliases).map(url::Url::as_str).collect()
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
    revocations: Arc<Revocations>,
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
        let healthy = origin.audit.clone();
        metrics.watch(Live {
            open: listener.open(),
            certificates: certificates.clone(),
            audit_healthy: Box::new(move || healthy.healthy()),
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
            revocations,
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
        tasks.spawn(crate::store::sweep_regularly(Arc::clone(&store), clock, ended.clone()));
        tasks.spawn(self.revocations.follow(store, ended.clone()));
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
