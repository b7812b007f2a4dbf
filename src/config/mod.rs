//! What the program uses: the configuration with its defaults filled in, files read and values checked.
//!
//! [`Config::load`] turns what the file says into this in one fallible step and reports all mistakes at once, each with its
//! line and the fix. No other module reads configuration files or environment variables.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::fhir::definitions::SearchParameter;
use crate::fhir::operation::Operation;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::software::Named;
use crate::fhir::way::SearchBy;
use crate::secret::Secret;

mod brands;
mod client;
mod clients;
mod error;
mod operation;
mod provider;
mod raw;
mod reader;
mod registration;
mod scope;
#[cfg(test)]
mod tests;
mod user;

pub use brands::Brands;
pub use client::is_client_id;
pub use clients::{
    AssertionAudience, Client, ClientAuthentication, Dpop, Ehr, FhirContextForm, GrantType, JwksUri, SecretSent,
};
pub use error::ConfigError;
pub use provider::{ClaimMapping, FhirUserClaim, Provider, ProviderAuthentication};
pub use reader::{Mistake, parse_duration};
pub use scope::{meant_scopes, unknown_scopes};
#[cfg(test)]
pub(crate) use tests::providers as providers_for_test;

impl Config {
    /// Reads the file at `path`; relative paths inside are taken from its directory.
    ///
    /// # Errors
    /// When the file cannot be read, or with all its mistakes at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable(format!("`{}` cannot be read: {error}", path.display())))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads configuration text; relative paths inside are taken from `directory`.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, ConfigError> {
        let mut reader = reader::Reader::new(text);
        let table = match toml::de::DeTable::parse(text) {
            Ok(table) => table,
            Err(error) => {
                let line = reader.line_at(error.span().map_or(0, |span| span.start));
                reader.mistake(line, format!("this is not TOML: {}", error.message().replace('\n', " ")));
                return Err(ConfigError::Mistakes(reader.finish()));
            }
        };
        let root = reader.section("the file", table.get_ref(), 0);
        let config = raw::read(&mut reader, root, directory);
        let mistakes = reader.finish();
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Mistakes(mistakes)) }
    }

    /// The issuer: the public origin without a trailing slash.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.server.origin.as_str().trim_end_matches('/').to_owned()
    }

    /// The public FHIR base: issuer and path.
    #[must_use]
    pub fn fhir_base(&self) -> String {
        format!("{}{}", self.issuer(), self.fhir.path)
    }
}

/// The whole configuration of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[tls]`; `None` only with `server.danger_plain_http = true`.
    pub tls: Option<Tls>,
    /// `[limits]`
    pub limits: Limits,
    /// `[fhir]`: the FHIR base that is protected.
    pub fhir: Fhir,
    /// Directory of the store, `[state] directory`; holds `firebreak.db` and `keys/`, mode 0700.
    pub state_directory: PathBuf,
    /// `[state] shared`: other gateway processes of this host, that say so too, use the same directory.
    pub state_shared: bool,
    /// `[audit]`
    pub audit: Audit,
    /// Directory of `*.cedar` files; `None` uses the shipped policies alone.
    pub policies: Option<PathBuf>,
    /// `[outbound] ca`: PEM file with certification authorities that are trusted, besides the system's, when documents are
    /// fetched from others (JWK Sets, OpenID providers).
    pub outbound_ca: Option<PathBuf>,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[registration]`; `None`: clients are registered by the operator alone.
    pub registration: Option<Registration>,
    /// `[brands]`: the organization as patients look for it; `None`: no bundle is published.
    pub brands: Option<Brands>,
    /// `[[client]]`: the registered clients.
    pub clients: Vec<Client>,
    /// `[[user]]`: the built-in users.
    pub users: Vec<User>,
    /// `[[provider]]`: the OpenID providers that people may log in with.
    pub providers: Vec<Provider>,
}

/// Where the gateway listens and what it calls itself.
#[derive(Clone, Debug)]
pub struct Server {
    /// The public listener, for instance `0.0.0.0:8443`.
    pub listen: SocketAddr,
    /// The admin listener (`/livez`, `/readyz`, `/metrics`), for instance `127.0.0.1:9090`; never public.
    pub admin: Option<SocketAddr>,
    /// The public origin and issuer, for instance `https://fhir.example.org`: scheme, host and port, no path.
    pub origin: Url,
    /// Plain HTTP on the public listener. Only for a loopback address or behind a mesh that terminates TLS.
    pub danger_plain_http: bool,
    /// How long the gateway goes on accepting after SIGTERM while it reports itself unready.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain_grace: Duration,
}

/// TLS of the public listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Directory with `tls.crt`, `tls.key` and, for client certificates, `ca.crt` and `crl.pem`; watched and reloaded.
    pub directory: PathBuf,
    /// Whether client certificates are asked for.
    pub client_certificates: ClientCertificates,
    /// Whether client certificates are looked up in the revocation lists of `crl.pem`.
    pub crl: bool,
}

/// Whether the TLS handshake asks for a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    Off,
    /// Asked for; one that is given must verify against `ca.crt`.
    Optional,
    /// Asked for and required.
    Required,
}

/// Bounds on what one client may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at the same time in all.
    pub connections: usize,
    /// Connections open at the same time from one address (IPv6: from one /64).
    pub connections_per_address: usize,
    /// Time for the TLS handshake, for a request head, and between requests on a connection.
    pub header_timeout: Duration,
    /// Time for a whole request body.
    pub body_timeout: Duration,
    /// Bytes of a request head.
    pub header_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Failed credentials per address and minute, before more are refused with 429.
    pub failed_credentials_per_minute: u32,
}

/// The protected FHIR base.
#[derive(Clone, Debug)]
pub struct Fhir {
    /// Path of the public base below the origin, for instance `/fhir`; no trailing slash.
    pub path: String,
    /// The upstream's base URL, for instance `http://127.0.0.1:8080/fhir`; no trailing slash.
    pub upstream: Url,
    /// PEM file with the certification authorities the upstream's certificate is checked against; `None`: the system's.
    pub upstream_ca: Option<PathBuf>,
    /// `Authorization` header for the upstream, when it wants one.
    pub upstream_authorization: Option<Secret>,
    /// Other base URLs by which the upstream calls itself in its data.
    pub aliases: Vec<Url>,
    /// Time to connect to the upstream.
    pub connect_timeout: Duration,
    /// Time for a whole upstream exchange.
    pub timeout: Duration,
    /// Requests to the upstream at the same time.
    pub concurrency: usize,
    /// Bytes of an upstream answer that is buffered.
    pub response_bytes: usize,
    /// Largest `_count` that is passed on.
    pub max_count: u32,
    /// Largest number of entries of a batch or transaction.
    pub max_entries: usize,
    /// Which software the upstream is.
    pub software: Named,
    /// By what searches for one patient are made.
    pub search_by: SearchBy,
    /// On these types by these parameters in the place of the primary ones.
    pub narrow_by: Vec<(ResourceType, &'static SearchParameter)>,
    /// `[[fhir.operation]]`: the operations that the site lists.
    pub operations: Vec<Operation>,
}

/// The audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Directory of the log's segments and checkpoints, and of its key unless that is elsewhere.
    pub directory: PathBuf,
    /// What the log is called in its checkpoints: no two logs have one name.
    pub name: String,
    /// The private checkpoint key, where it does not lie in the directory.
    pub key_file: Option<PathBuf>,
    /// Whether answers are released that could not be recorded.
    pub on_failure: OnAuditFailure,
}

/// What happens to an answer that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// It is not released (503).
    Deny,
    /// It is released, and that is logged as an error and counted in `firebreak_audit_unrecorded_total`.
    DangerAllowAndAlarm,
}

/// Lifetimes of what the grant path issues, and how it is asked for.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Access tokens, at most one hour.
    pub access: Duration,
    /// Refresh tokens, from the first grant.
    pub refresh: Duration,
    /// Login sessions.
    pub session: Duration,
    /// Authorization requests of every client must be pushed (RFC 9126 section 4).
    pub require_pushed_authorization_requests: bool,
    /// Every DPoP proof must have a nonce of ours (RFC 9449 section 8).
    pub dpop_nonces: bool,
    /// How long signing keys sign before the next ones are made; `None`: until somebody says `firebreak keys rotate`.
    pub rotate_keys_after: Option<Duration>,
}

impl Default for Tokens {
    /// What holds where the file says nothing.
    fn default() -> Self {
        Self {
            access: Duration::from_secs(900),
            refresh: Duration::from_secs(100 * 86_400),
            session: Duration::from_secs(8 * 3600),
            require_pushed_authorization_requests: false,
            dpop_nonces: false,
            rotate_keys_after: None,
        }
    }
}

/// How clients may register themselves (RFC 7591).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whether the holder of an initial access token may.
    pub initial_access_tokens: bool,
    /// Whether anybody may.
    pub open: bool,
    /// The most that anybody can be granted, as scope text: nothing but a patient's own data.
    pub open_scope: String,
    /// How many clients there may be that nobody looked at.
    pub open_clients: usize,
    /// After how long one of those is forgotten that nobody used.
    pub open_unused: Duration,
    /// Open registrations per address and hour.
    pub open_per_hour: u32,
    /// How many clients the store may hold in all.
    pub clients: usize,
}

/// A built-in user.
#[derive(Clone, Debug)]
pub struct User {
    /// Login name, unique; also the `sub`.
    pub username: String,
    /// Shown on pages.
    pub display_name: String,
    /// argon2id hash in PHC string form.
    pub password_hash: String,
    /// `Type/id`, for instance `Practitioner/p1`.
    pub fhir_user: Option<String>,
    /// Roles of the policies, for instance `clinician`, `patient`.
    pub roles: Vec<String>,
    /// Ids of the patients this user may have in context without searching: the user's own, or those a related person
    /// acts for. For a user whose `fhir_user` is a Patient this is that patient.
    pub patients: Vec<String>,
}
