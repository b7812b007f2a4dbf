//! A client as the store keeps it: its metadata and who registered it (RFC 7591).

use serde::{Deserialize, Serialize};

use super::RegisteredClient;
use crate::config::{Client, ClientAuthentication, Dpop, GrantType, JwksUri, SecretSent};
use crate::oauth::metadata::{AuthenticationMethod, ClientMetadata, Terms};
use crate::outbound::Guard;
use crate::secret::Digest;

/// The end of an entry that never expires: the last second of the year 9999.
pub const NEVER: i64 = 253_402_300_799;

/// The record under [`crate::store::Kind::Client`]. Secrets are there as digests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredClient {
    /// `client_id`
    pub client_id: String,
    /// `client_id_issued_at`, seconds since the epoch.
    pub registered_at: i64,
    /// Who let it in.
    pub registered_by: RegisteredBy,
    /// The most it may register for, as scope text.
    pub allowed_scope: String,
    /// What it registered.
    pub metadata: ClientMetadata,
    /// Whether the secret may also be sent by the other method than the one in the metadata: nobody said.
    #[serde(default)]
    pub either_secret_method: bool,
    /// SHA-256 of the client secret, in hex.
    pub client_secret: Option<String>,
    /// SHA-256 of the registration access token (RFC 7592), in hex.
    pub registration_access_token: Option<String>,
    /// Approved by the site: the consent page is skipped.
    pub approved: bool,
    /// Roles of the policies in which it acts for itself.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// Who let a client in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisteredBy {
    /// Whoever may write the store's file.
    Administrator,
    /// The holder of an initial access token of this name (RFC 7591 section 3).
    InitialAccessToken(String),
    /// Anybody: open registration.
    Anybody,
}

/// What is known of the registration of a client of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// When, seconds since the epoch.
    pub at: i64,
    /// Who let it in.
    pub by: RegisteredBy,
    /// When it will be forgotten unless it is used; [`NEVER`] for most.
    pub expires: i64,
}

impl StoredClient {
    /// The client, ready for use.
    ///
    /// # Errors
    /// What of the record cannot be used.
    pub fn registered(&self, expires: i64) -> Result<RegisteredClient, &'static str> {
        let metadata = &self.metadata;
        let grant_types = metadata.grant_types.iter().map(|name| grant_type(name));
        let launch_urls = metadata.initiate_login_uri.iter().map(|url| url.parse());
        let config = Client {
            client_id: self.client_id.clone(),
            client_name: metadata.client_name.clone().unwrap_or_else(|| self.client_id.clone()),
            authentication: self.authentication()?,
            secret_sent: self.secret_sent(),
            dpop: if metadata.dpop_bound_access_tokens { Dpop::Required } else { Dpop::default() },
            require_pushed_authorization_requests: metadata.require_pushed_authorization_requests,
            redirect_uris: metadata.redirect_uris.clone(),
            launch_urls: launch_urls.collect::<Result<_, _>>().map_err(|_| "its initiate_login_uri is no URL")?,
            scope: metadata.scope.clone(),
            grant_types: grant_types.collect::<Option<_>>().ok_or("it has a grant type that is not known")?,
            approved: self.approved,
            roles: self.roles.clone(),
            unverified: self.registered_by == RegisteredBy::Anybody,
            ..Client::default()
        };
        let registration = Registration { at: self.registered_at, by: self.registered_by.clone(), expires };
        RegisteredClient::new(config, Some(registration)).map_err(|_| "its JWK Set cannot be used")
    }

    /// Where it sends its secret.
    #[must_use]
    pub fn secret_sent(&self) -> SecretSent {
        match self.metadata.token_endpoint_auth_method {
            _ if self.either_secret_method => SecretSent::Either,
            AuthenticationMethod::ClientSecretBasic => SecretSent::Basic,
            AuthenticationMethod::ClientSecretPost => SecretSent::Post,
            AuthenticationMethod::None | AuthenticationMethod::PrivateKeyJwt => SecretSent::Either,
        }
    }

    fn authentication(&self) -> Result<ClientAuthentication, &'static str> {
        match self.metadata.token_endpoint_auth_method {
            AuthenticationMethod::None => Ok(ClientAuthentication::None),
            AuthenticationMethod::ClientSecretBasic | AuthenticationMethod::ClientSecretPost => {
                let digest = self.client_secret.as_deref().and_then(Digest::from_hex);
                digest.map(ClientAuthentication::Secret).ok_or("it has no secret")
            }
            AuthenticationMethod::PrivateKeyJwt => {
                if let Some(jwks) = &self.metadata.jwks {
                    return Ok(ClientAuthentication::PrivateKeyJwt { jwks: jwks.to_string() });
                }
                let (text, guard) = (self.metadata.jwks_uri.as_deref(), self.registered_by.guard());
                let jwks_uri = text.and_then(|text| JwksUri::parse(text, guard)).ok_or("it has no JWK Set")?;
                Ok(ClientAuthentication::PrivateKeyJwtByUrl { jwks_uri, guard })
            }
        }
    }
}

impl RegisteredBy {
    /// How far URLs are trusted that such a client registered.
    #[must_use]
    pub fn guard(&self) -> Guard {
        match self {
            Self::Administrator => Guard::Operator,
            Self::InitialAccessToken(_) | Self::Anybody => Guard::Registered,
        }
    }
}

impl std::fmt::Display for RegisteredBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Administrator => f.write_str("an administrator"),
            Self::InitialAccessToken(name) => write!(f, "the initial access token `{name}`"),
            Self::Anybody => f.write_str("open registration"),
        }
    }
}

/// What may be registered with these scopes, and keys at URLs that `guard` lets be called.
#[must_use]
pub fn terms(allowed_scope: &str, guard: Guard) -> Terms<'_> {
    let is_jwks_uri = match guard {
        Guard::Operator => |text: &str| JwksUri::parse(text, Guard::Operator).is_some(),
        Guard::Registered => |text: &str| JwksUri::parse(text, Guard::Registered).is_some(),
    };
    Terms { allowed_scope, is_jwks_uri }
}

/// The grant type of this name, when it is served here.
#[must_use]
pub fn grant_type(name: &str) -> Option<GrantType> {
    match name {
        "authorization_code" => Some(GrantType::AuthorizationCode),
        "refresh_token" => Some(GrantType::RefreshToken),
        "client_credentials" => Some(GrantType::ClientCredentials),
        _ => None,
    }
}
