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
use crate::jose::AssertionAlgorithm;
use crate::outbound::Guard;
use crate::secret::{Digest, Secret};

mod brands;
mod client;
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
pub use provider::{ClaimMapping, FhirUserClaim, Provider, ProviderAuthentication};
pub use reader::{Mistake, parse_duration};
pub use scope::unknown_scopes;
#[cfg(test)]
pub(crate) use tests::providers as providers_for_test;

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable(String),
    /// Everything that is wrong in it, in the order of its lines.
    Mistakes(Vec<Mistake>),
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(text) => f.write_str(text),
            Self::Mistakes(mistakes) => {
                for (number, mistake) in mistakes.iter().enumerate() {
                    if number > 0 {
                        f.write_str("\n")?;
                    }
                    write!(f, "{mistake}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

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
    /// Directory of the log's segments, checkpoints and key.
    pub directory: PathBuf,
    /// Whether answers are released that could not be recorded.
    pub on_failure: OnAuditFailure,
}

/// What happens to an answer that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAuditFailure {
    /// It is not released (503).
    Deny,
    /// It is released, and an alarm is logged and counted.
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

/// A registered client (RFC 7591 section 2 names). The default has no name and may do nothing.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct Client {
    /// `client_id`
    pub client_id: String,
    /// `client_name`, shown at consent.
    pub client_name: String,
    /// How it authenticates.
    pub authentication: ClientAuthentication,
    /// Where it sends its secret, when it has one.
    pub secret_sent: SecretSent,
    /// Exact redirect URIs.
    pub redirect_uris: Vec<String>,
    /// Launch URLs; empty: not registered for EHR launch.
    pub launch_urls: Vec<Url>,
    /// Origins for CORS; derived from the redirect URIs when empty.
    pub origins: Vec<String>,
    /// The most this client can be granted, as scope text (`launch/patient patient/*.rs openid fhirUser offline_access`).
    pub scope: String,
    /// What it may present at the token endpoint.
    pub grant_types: Vec<GrantType>,
    /// Approved by the site: the consent page is skipped.
    pub approved: bool,
    /// Registered itself, and nobody of this site has looked at it: said at consent, which is asked for each time.
    pub unverified: bool,
    /// An EHR that may post launch contexts.
    pub ehr: Option<Ehr>,
    /// How it reads `fhirContext`.
    pub fhir_context_form: FhirContextForm,
    /// May look up whether tokens of any client are good (RFC 7662).
    pub introspects: bool,
    /// Where a browser may be sent after its logout (OpenID Connect RP-Initiated Logout 1.0 section 3.1); compared exactly.
    pub post_logout_redirect_uris: Vec<String>,
    /// Whether its tokens are bound to a key of its own (RFC 9449).
    pub dpop: Dpop,
    /// Its proofs must have a nonce of ours (RFC 9449 section 8).
    pub dpop_nonces: bool,
    /// Its authorization requests must be pushed (RFC 9126 section 6).
    pub require_pushed_authorization_requests: bool,
    /// The one algorithm that it signs its assertions with (RFC 7591 registry); `None`: any that is served.
    pub token_endpoint_auth_signing_alg: Option<AssertionAlgorithm>,
    /// Whom its assertions must be addressed to.
    pub assertion_audience: AssertionAudience,
    /// Lifetime of the access tokens that it gets for itself (`client_credentials`); `None`: five minutes.
    pub access_token_lifetime: Option<Duration>,
    /// Roles of the policies in which it acts for itself.
    pub roles: Vec<String>,
}

/// Whom a client's assertions must be addressed to by `aud`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The URL of the endpoint or the token endpoint (SMART App Launch 2.2), or the issuer.
    #[default]
    Endpoint,
    /// The issuer alone (the revision of RFC 7523, FAPI 2.0).
    Issuer,
}

/// How an app reads `fhirContext`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FhirContextForm {
    /// Objects (SMART App Launch 2.1 and later).
    #[default]
    Objects,
    /// Relative references as strings (2.0 and earlier).
    Strings,
}

/// Whether a client's tokens are bound to a key that the client proves with each request (RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dpop {
    /// Proofs are ignored: all its tokens are bearer tokens.
    Off,
    /// A token that is asked for with a proof is bound to its key.
    #[default]
    Optional,
    /// Without a proof no token is given (`dpop_bound_access_tokens` of RFC 9449 section 5.2).
    Required,
}

/// OAuth grant types that a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// RFC 6749 section 4.1
    AuthorizationCode,
    /// RFC 6749 section 6
    RefreshToken,
    /// RFC 6749 section 4.4, for the client itself (SMART App Launch 2.2, "backend services")
    ClientCredentials,
    /// RFC 8693, of the client's own access tokens for narrower ones
    TokenExchange,
}

/// How a client authenticates at the back channel (RFC 7591 `token_endpoint_auth_method`).
#[derive(Clone, Debug, Default)]
pub enum ClientAuthentication {
    /// `none`: a public client.
    #[default]
    None,
    /// `client_secret_basic` or `client_secret_post`: the digest of a high-entropy secret.
    Secret(Digest),
    /// `private_key_jwt`: an inline JWK Set (RFC 7517) as JSON text.
    PrivateKeyJwt {
        /// The client's public keys.
        jwks: String,
    },
    /// `private_key_jwt`: the URL of a JWK Set (`jwks_uri`, RFC 7591 section 2).
    PrivateKeyJwtByUrl {
        /// Where the client publishes its keys.
        jwks_uri: JwksUri,
        /// How far the URL is trusted: by who wrote it down.
        guard: Guard,
    },
}

/// Where a client sends its secret (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretSent {
    /// Nobody said: one place of the two with each request.
    #[default]
    Either,
    /// `client_secret_basic`: the `Authorization` header.
    Basic,
    /// `client_secret_post`: the form.
    Post,
}

impl SecretSent {
    /// Whether a secret that came in `place` came where it should.
    #[must_use]
    pub fn covers(self, place: Self) -> bool {
        self == Self::Either || self == place
    }
}

/// A `jwks_uri`, and its text as registered, which is what a `jku` is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUri {
    /// As written.
    pub text: String,
    /// As called.
    pub url: Url,
}

impl JwksUri {
    /// Reads the URL; `None`: it is none, or one that `guard` would not let be called whatever its name resolves to.
    #[must_use]
    pub fn parse(text: &str, guard: Guard) -> Option<Self> {
        let url = Url::parse(text).ok().filter(|url| guard.allows(url) && url.fragment().is_none())?;
        Some(Self { text: text.to_owned(), url })
    }
}

impl ClientAuthentication {
    /// Whether the client proves the possession of a private key.
    #[must_use]
    pub fn is_private_key_jwt(&self) -> bool {
        matches!(self, Self::PrivateKeyJwt { .. } | Self::PrivateKeyJwtByUrl { .. })
    }

    /// Where the client publishes its keys, as it registered it.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        match self {
            Self::PrivateKeyJwtByUrl { jwks_uri, .. } => Some(&jwks_uri.text),
            Self::None | Self::Secret(_) | Self::PrivateKeyJwt { .. } => None,
        }
    }
}

/// What an EHR client may do.
#[derive(Clone, Debug, Default)]
pub struct Ehr {
    /// Its launch contexts may log their user in.
    pub vouches_for_users: bool,
    /// Issuers of users that it may name; empty: only our own.
    pub user_issuers: Vec<String>,
    /// fhirUser resource types that it may assert. A user of ours whom it logs in is of one of them, too, unless it is empty.
    pub user_types: Vec<String>,
    /// Roles that users it vouches for receive.
    pub roles: Vec<String>,
    /// Origins of its pages that may show our pages in a frame, in launches of this EHR.
    pub frame_ancestors: Vec<String>,
    /// A launch in a frame is bound by a partitioned cookie (CHIPS) and goes on there; otherwise it leads to a new window.
    pub partitioned_cookies: bool,
}

impl Ehr {
    /// Whether it may name users of this issuer; `ours`: it is our own.
    #[must_use]
    pub fn names_users_of(&self, issuer: &str, ours: bool) -> bool {
        if self.user_issuers.is_empty() { ours } else { self.user_issuers.iter().any(|known| known == issuer) }
    }

    /// Whether it may assert a user of this type.
    #[must_use]
    pub fn asserts_type(&self, resource_type: &str) -> bool {
        self.user_types.iter().any(|allowed| allowed == resource_type)
    }
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
