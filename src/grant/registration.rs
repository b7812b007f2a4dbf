//! The registration endpoint: `POST /register` (RFC 7591 section 3).
//!
//! Takes client metadata as JSON, from the holder of an initial access token or, where the site lets anybody register, from
//! anybody; gives the client its id and credentials, once. Promises: a token that is presented and no good is refused also
//! where anybody may register; an initial access token is used as often as it says; who registers without one gets a
//! patient's own data at most, is bounded per address and in all, and is forgotten unless used. Nothing that is registered is
//! fetched here. [`management`] is what the client does afterwards (RFC 7592).

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::facts::Facts;
use super::{Answer, CredentialsFailed, Grants, route};
use crate::clients::initial_access_token::{self, Presented};
use crate::clients::stored::{NEVER, RegisteredBy, StoredClient, terms};
use crate::clients::{RegisteredClient, registry};
use crate::config::{self, Registration};
use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind, uncacheable_json};
use crate::oauth::metadata::{MetadataProblem, ProblemKind, SentMetadata};
use crate::outbound::Guard;
use crate::random;
use crate::secret::Digest;
use crate::store::StoreError;

pub mod management;

/// Longest body that is read, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Why nothing is registered.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// Registration is off: nothing is served here.
    Off,
    /// An error of the RFC.
    Error(OAuthError),
    /// The address registered too often; the seconds to wait.
    TooOften(u32),
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self::Error(error)
    }
}

impl From<MetadataProblem> for Refused {
    fn from(problem: MetadataProblem) -> Self {
        let kind = match problem.kind {
            ProblemKind::RedirectUri => OAuthErrorKind::InvalidRedirectUri,
            ProblemKind::Metadata => OAuthErrorKind::InvalidClientMetadata,
            ProblemKind::SoftwareStatement => OAuthErrorKind::InvalidSoftwareStatement,
        };
        Self::Error(OAuthError::new(kind, problem.expected))
    }
}

impl From<StoreError> for Refused {
    fn from(StoreError(error): StoreError) -> Self {
        tracing::error!(error, "registration could not use the store");
        Self::Error(OAuthError::unavailable())
    }
}

/// Answers `POST /register`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("client_registered");
    match register(grants, inbound, facts).await {
        Ok(members) => answered(StatusCode::CREATED, members),
        Err(refused) => refused.answer(facts),
    }
}

async fn register(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Map<String, Value>, Refused> {
    let site = grants.config.registration.as_ref().ok_or(Refused::Off)?;
    if inbound.method != Method::POST {
        return Err(OAuthError::new(OAuthErrorKind::MethodNotAllowed, "the method POST is expected").into());
    }
    let presented = admitted(grants, site, inbound).await?;
    let allowed_scope = presented.as_ref().map_or(&site.open_scope, |presented| &presented.token.allowed_scope);
    let metadata = sent(inbound)?.checked(terms(allowed_scope, Guard::Registered))?;
    room(grants, site, presented.is_some())?;
    let now = grants.clock.unix_seconds();
    if let Some(presented) = &presented
        && !presented.spend(&*grants.store, now).await?
    {
        return Err(OAuthError::invalid_token().into());
    }
    let (registered_by, expires) = match &presented {
        Some(presented) => (RegisteredBy::InitialAccessToken(presented.token.name.clone()), NEVER),
        None => (RegisteredBy::Anybody, now.saturating_add(unused(site))),
    };
    let secret = metadata.token_endpoint_auth_method.has_secret().then(random::handle);
    let token = random::handle();
    let client = StoredClient {
        client_id: unused_id(grants)?,
        registered_at: now,
        registered_by,
        allowed_scope: allowed_scope.clone(),
        metadata,
        either_secret_method: false,
        client_secret: secret.as_deref().map(|secret| Digest::of(secret).to_hex()),
        registration_access_token: Some(Digest::of(&token).to_hex()),
        approved: false,
        roles: presented.map(|presented| presented.token.roles).unwrap_or_default(),
    };
    usable(&client)?;
    if !registry::add(&*grants.store, &client, expires, now).await? {
        return Err(OAuthError::unavailable().into());
    }
    hear(grants).await;
    facts.client_id = Some(client.client_id.clone());
    facts.scopes = Some(client.metadata.scope.clone());
    facts.detail = Some(format!("let in by {}", client.registered_by));
    Ok(information(&grants.config, &client, &token, secret.as_deref()))
}

/// Who may register: the holder of the token that was presented, or anybody where none was and the site says so.
async fn admitted(grants: &Grants, site: &Registration, inbound: &Inbound) -> Result<Option<Presented>, Refused> {
    match bearer(inbound)? {
        Some(token) if site.initial_access_tokens => {
            let now = grants.clock.unix_seconds();
            let found = initial_access_token::find(&*grants.store, token, now).await?;
            found.map(Some).ok_or(OAuthError::invalid_token().into())
        }
        None if site.open => match grants.registrations.spend(inbound.peer.ip()) {
            Ok(()) => Ok(None),
            Err(seconds) => Err(Refused::TooOften(seconds)),
        },
        Some(_) | None => Err(OAuthError::invalid_token().into()),
    }
}

/// Whether one more client finds room.
fn room(grants: &Grants, site: &Registration, has_token: bool) -> Result<(), Refused> {
    let (all, unverified) = grants.clients.of_the_store();
    if all < site.clients && (has_token || unverified < site.open_clients) {
        return Ok(());
    }
    tracing::warn!(all, unverified, "a registration was refused: there are as many clients as [registration] allows");
    Err(OAuthError::unavailable().into())
}

/// The one bearer token of the request.
fn bearer(inbound: &Inbound) -> Result<Option<&str>, Refused> {
    let header = inbound
        .single_header(AUTHORIZATION.as_str())
        .map_err(|_| OAuthError::invalid_request("at most one Authorization header is expected"))?;
    let Some(header) = header else { return Ok(None) };
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(Some(token.trim())),
        _ => Err(OAuthError::invalid_token().into()),
    }
}

/// The metadata in the body.
fn sent(inbound: &Inbound) -> Result<SentMetadata, Refused> {
    let content_type = inbound.single_header(CONTENT_TYPE.as_str()).ok().flatten().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") || inbound.body.len() > MAX_BYTES {
        return Err(OAuthError::invalid_request("a body of application/json of at most 64 KiB is expected").into());
    }
    Ok(SentMetadata::read(&inbound.body)?)
}

/// A new id that is nobody's name.
fn unused_id(grants: &Grants) -> Result<String, Refused> {
    let mut ids = std::iter::repeat_with(random::client_id).take(8);
    Ok(ids.find(|id| grants.clients.may_be_called(id)).ok_or_else(OAuthError::unavailable)?)
}

/// What is stored must be found again: a record that could not be used would be a client that nobody can use.
fn usable(client: &StoredClient) -> Result<(), Refused> {
    client.registered(NEVER).map(drop).map_err(|problem| {
        tracing::error!(problem, "a registration passed the checks and cannot be used");
        OAuthError::new(OAuthErrorKind::InvalidClientMetadata, "metadata that can be used here is expected").into()
    })
}

/// The client information response (RFC 7591 section 3.2.1, RFC 7592 section 3). A secret is in it when it was just made: it
/// is not kept.
fn information(
    config: &config::Config,
    client: &StoredClient,
    token: &str,
    secret: Option<&str>,
) -> Map<String, Value> {
    let mut members = match serde_json::to_value(&client.metadata) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("client_id", json!(client.client_id));
    set("client_id_issued_at", json!(client.registered_at));
    if let Some(secret) = secret {
        set("client_secret", json!(secret));
        set("client_secret_expires_at", json!(0));
    }
    set("registration_access_token", json!(token));
    let uri = format!("{}{}{}", config.issuer(), route::REGISTERED, client.client_id);
    set("registration_client_uri", json!(uri));
    members
}

fn answered(status: StatusCode, members: Map<String, Value>) -> Answer {
    let mut response = Response::new(Bytes::from(Value::Object(members).to_string()));
    *response.status_mut() = status;
    uncacheable_json(response.headers_mut());
    Answer(response)
}

/// This process knows at once what it changed; the others hear of it.
async fn hear(grants: &Grants) {
    if let Err(StoreError(error)) = grants.clients.refresh(&*grants.store, grants.clock.unix_seconds()).await {
        tracing::error!(error, "a change of the clients could not be read back; it is read again within a second");
    }
}

fn unused(site: &Registration) -> i64 {
    i64::try_from(site.open_unused.as_secs()).unwrap_or(i64::MAX)
}

/// Keeps a client that would be forgotten unless it is used: it is used. Written at most twice in the time that it is kept
/// unused.
pub(super) async fn keep(grants: &Grants, client: &RegisteredClient) {
    let Some(site) = &grants.config.registration else { return };
    let now = grants.clock.unix_seconds();
    let expires = client.registration.as_ref().map_or(NEVER, |registration| registration.expires);
    if expires == NEVER || expires.saturating_sub(now) > unused(site) / 2 {
        return;
    }
    let kept = async {
        let Some(found) = registry::find(&*grants.store, &client.config.client_id, now).await? else { return Ok(()) };
        registry::replace(&*grants.store, &found, &found.client, now.saturating_add(unused(site)), now).await?;
        grants.clients.refresh(&*grants.store, now).await
    };
    if let Err(StoreError(error)) = kept.await {
        tracing::error!(error, "a client that was used could not be kept");
    }
}

impl Refused {
    fn answer(self, facts: &mut Facts) -> Answer {
        let (reason, mut response) = match &self {
            Self::Off => ("path_unknown", nothing_here()),
            Self::Error(error) => (error.code(), error.response()),
            Self::TooOften(seconds) => {
                let mut response = OAuthError::unavailable().response();
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
                ("throttled", response)
            }
        };
        if matches!(&self, Self::Error(error) if error.is_failed_credentials()) {
            response.extensions_mut().insert(CredentialsFailed);
        }
        facts.reason = Some(reason);
        Answer(response)
    }
}

fn nothing_here() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[cfg(test)]
mod tests;
