//! The token endpoint (RFC 6749 section 3.2, SMART App Launch 2.2 steps 5 and 7): exchanges an authorization code or a
//! refresh token for an access token.
//!
//! Promises: a code is spent once, whatever comes of it, and a replay revokes what its first use gave; a refresh token of a
//! public client is used once, and a reuse revokes its grant; nothing is given that was not granted, nor to a client or user
//! that is no longer configured; when the store cannot be written nothing is given. Counts nothing: an answer to bad
//! credentials carries [`CredentialsFailed`] in its extensions.

use bytes::Bytes;
use http::Response;
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::grants::{self, from_json, revoke, standing, to_json};
use super::records::{Code, Grant};
use super::token_response::{TokenResponse, access, access_lifetime, id_token};
use super::{Answer, CredentialsFailed, Grants};
use crate::config::{ClientAuthentication, GrantType};
use crate::listen::Inbound;
use crate::oauth::client_authentication::{Authenticator, Requester};
use crate::oauth::clients::RegisteredClient;
use crate::oauth::cors::{self, Sharing};
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind, uncacheable_json};
use crate::oauth::form::Form;
use crate::oauth::pkce;
use crate::random;
use crate::secret::Digest;
use crate::smart::scope::Scope;
use crate::store::{Entry, Kind, StoreError};

/// Seconds that a spent code is remembered, so that its replay is noticed.
const SPENT_CODE_MEMORY: i64 = 24 * 3_600;

/// Seconds after its use during which a second use of a refresh token is taken for a second browser tab or a lost answer.
const REUSE_GRACE: i64 = 10;

/// Answers `POST /token`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("token");
    if let Some(preflight) = cors::preflight(Sharing::Token, inbound, &grants.clients) {
        facts.action = Some("preflight");
        return Answer(preflight);
    }
    let mut response = match exchange(grants, inbound, facts).await {
        Ok(response) => response,
        Err(error) => {
            facts.reason.get_or_insert(error.code());
            let mut response = error.response();
            if error.is_failed_credentials() {
                response.extensions_mut().insert(CredentialsFailed);
            }
            response
        }
    };
    cors::decorate(response.headers_mut(), Sharing::Token, inbound, &grants.clients);
    Answer(response)
}

async fn exchange(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Response<Bytes>, OAuthError> {
    let form = Form::posted(inbound)?;
    let grant_type = match form.value("grant_type") {
        Some("authorization_code") => GrantType::AuthorizationCode,
        Some("refresh_token") => GrantType::RefreshToken,
        Some(_) => {
            let expected = "the grant types authorization_code and refresh_token are supported";
            return Err(OAuthError::new(OAuthErrorKind::UnsupportedGrantType, expected));
        }
        None => return Err(OAuthError::invalid_request("grant_type is expected")),
    };
    let (issuer, token_endpoint) = (grants.config.issuer(), grants.token_endpoint());
    let authenticator = Authenticator {
        clients: &grants.clients,
        store: &*grants.store,
        audiences: &[&token_endpoint, &issuer],
        now: grants.clock.unix_seconds(),
    };
    let requester = authenticator.authenticate(inbound, &form).await?;
    if let Requester::Client(client) = &requester {
        if !is_public(client) {
            facts.client_id = Some(client.config.client_id.clone());
        }
        if !client.config.grant_types.contains(&grant_type) {
            return Err(OAuthError::new(
                OAuthErrorKind::UnauthorizedClient,
                "the client is not registered for this grant type",
            ));
        }
    }
    match (grant_type, requester) {
        (GrantType::AuthorizationCode, Requester::Client(client)) => code(grants, &client, &form, facts).await,
        (GrantType::AuthorizationCode, Requester::Unnamed) => Err(OAuthError::invalid_client(Challenge::None)),
        (GrantType::RefreshToken, requester) => refresh(grants, &requester, &form, facts).await,
    }
}

// --- grant_type=authorization_code ---

async fn code(
    grants: &Grants,
    client: &RegisteredClient,
    form: &Form,
    facts: &mut Facts,
) -> Result<Response<Bytes>, OAuthError> {
    facts.action = Some("code_exchanged");
    let code = form.value("code").ok_or(OAuthError::invalid_request("code is expected"))?;
    let redirect_uri = form.value("redirect_uri").ok_or(OAuthError::invalid_request("redirect_uri is expected"))?;
    let found = spend_code(grants, code, facts).await;
    if found.is_ok() || facts.grant_id.is_some() {
        // Only now is a public client more than what it says.
        facts.client_id = Some(client.config.client_id.clone());
    }
    let Code { grant, redirect_uri: sent_before, code_challenge, nonce } = found?;
    note(facts, &grant);
    let verifier = form.value("code_verifier").unwrap_or_default();
    let reason = if grant.client_id != client.config.client_id {
        Some("code_of_other_client")
    } else if sent_before != redirect_uri {
        Some("redirect_uri_different")
    } else if !pkce::verifier_matches(verifier, &code_challenge) {
        Some("code_verifier_wrong")
    } else {
        None
    };
    if let Some(reason) = reason {
        facts.reason = Some(reason);
        return Err(OAuthError::invalid_grant(
            "the code, redirect_uri and code_verifier are expected as they were issued",
        ));
    }
    let grant = up_to_date(grants, client, grant, facts)?;
    let scope = grant.scopes.join(" ");
    let mut response = access(grants, &grant, &scope)?;
    response.id_token = id_token(grants, &grant, nonce, &response.access_token)?;
    let refreshable = grant.scopes.iter().any(|scope| scope == "offline_access")
        && client.config.grant_types.contains(&GrantType::RefreshToken);
    let now = grants.clock.unix_seconds();
    let ends = if refreshable { refresh_ends(grants, &grant) } else { now + access_lifetime(grants) };
    if refreshable {
        let (token, digest) = new_refresh_token();
        response.refresh_token = Some(token);
        let kept = grants::keep(grants, &grant, ends);
        tokio::try_join!(kept, put_refresh_token(grants, digest, &grant, ends)).map_err(unavailable)?;
    } else {
        grants::keep(grants, &grant, ends).await.map_err(unavailable)?;
    }
    // INVARIANT: what is given is written already. A concurrent revocation either is seen here, or removes it after this.
    if grants::was_revoked(grants, &grant.grant_id).await.map_err(unavailable)? {
        revoke(grants, &grant.grant_id).await.map_err(unavailable)?;
        facts.reason = Some("code_replayed");
        return Err(OAuthError::invalid_grant("the code was used twice"));
    }
    Ok(answer(&response))
}

/// Takes the code out of the store, whatever comes of it. A code that was spent before revokes what it gave.
async fn spend_code(grants: &Grants, code: &str, facts: &mut Facts) -> Result<Code, OAuthError> {
    let now = grants.clock.unix_seconds();
    let key = Digest::of(code);
    if let Some(entry) = grants.store.read(Kind::Code, key, now).await.map_err(unavailable)? {
        let stored: Code = from_json(&entry.value).map_err(unavailable)?;
        let value = to_json(&stored.grant.grant_id).map_err(unavailable)?;
        let marker = Entry { value, expires: now + SPENT_CODE_MEMORY, owner: None };
        let spent = grants.store.spend(Kind::Code, Kind::SpentCode, key, marker, now).await.map_err(unavailable)?;
        if spent.is_some() {
            return Ok(stored);
        }
    }
    facts.reason = Some("code_unknown_or_expired");
    if let Some(marker) = grants.store.read(Kind::SpentCode, key, now).await.map_err(unavailable)? {
        let grant_id: String = from_json(&marker.value).map_err(unavailable)?;
        revoke(grants, &grant_id).await.map_err(unavailable)?;
        facts.reason = Some("code_replayed");
        facts.grant_id = Some(grant_id);
    }
    Err(OAuthError::invalid_grant("the code is not known, expired or used"))
}

// --- grant_type=refresh_token ---

/// What a refresh token stands for, and, when `used` is set, stood for.
#[derive(Debug, Serialize, Deserialize)]
struct RefreshRecord {
    grant_id: String,
    client_id: String,
    /// When it was rotated away, seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<i64>,
}

async fn refresh(
    grants: &Grants,
    requester: &Requester,
    form: &Form,
    facts: &mut Facts,
) -> Result<Response<Bytes>, OAuthError> {
    facts.action = Some("token_refreshed");
    let token = form.value("refresh_token").ok_or(OAuthError::invalid_request("refresh_token is expected"))?;
    let key = Digest::of(token);
    let now = grants.clock.unix_seconds();
    let Some(entry) = grants.store.read(Kind::RefreshToken, key, now).await.map_err(unavailable)? else {
        return Err(reused(grants, key, now, facts).await?);
    };
    let record: RefreshRecord = from_json(&entry.value).map_err(unavailable)?;
    let client = holder(grants, requester, &record, facts)?;
    let found = grants::find(grants, &record.grant_id).await.map_err(unavailable)?;
    let grant = found.ok_or_else(|| invalid_refresh_token(facts, "grant_revoked"))?;
    note(facts, &grant);
    let grant = up_to_date(grants, &client, grant, facts)?;
    let scope = requested_scope(&grant, form.value("scope"))?;
    let mut response = access(grants, &grant, &scope)?;
    facts.scopes = Some(scope.clone());
    if is_public(&client) {
        let (successor, digest) = new_refresh_token();
        put_refresh_token(grants, digest, &grant, entry.expires).await.map_err(unavailable)?;
        if let Err(error) = rotate(grants, key, RefreshRecord { used: Some(now), ..record }, entry.expires, facts).await
        {
            grants.store.remove(Kind::RefreshToken, digest).await.map_err(unavailable)?;
            return Err(error);
        }
        response.refresh_token = Some(successor);
    }
    Ok(answer(&response))
}

/// Spends the token at `key`. To be called after its successor was written, and the successor taken back when this fails:
/// until then nothing is lost.
async fn rotate(
    grants: &Grants,
    key: Digest,
    used: RefreshRecord,
    expires: i64,
    facts: &mut Facts,
) -> Result<(), OAuthError> {
    let now = grants.clock.unix_seconds();
    let marker = Entry { value: to_json(&used).map_err(unavailable)?, expires, owner: None };
    // INVARIANT: the successor is written already. A revocation removes both: either the token is gone here, or the
    // successor goes after this.
    match grants
        .store
        .spend(Kind::RefreshToken, Kind::SpentRefreshToken, key, marker, now)
        .await
        .map_err(unavailable)?
    {
        Some(_) => Ok(()),
        None => Err(reused(grants, key, now, facts).await?),
    }
}

/// The client that may use the token: the one that authenticated, or, for a public client that did not name itself, the one
/// the token was issued to.
fn holder(
    grants: &Grants,
    requester: &Requester,
    record: &RefreshRecord,
    facts: &mut Facts,
) -> Result<std::sync::Arc<RegisteredClient>, OAuthError> {
    match requester {
        Requester::Client(client) => {
            facts.client_id = Some(client.config.client_id.clone());
            if client.config.client_id == record.client_id {
                Ok(client.clone())
            } else {
                Err(invalid_refresh_token(facts, "refresh_token_of_other_client"))
            }
        }
        Requester::Unnamed => {
            let client = grants
                .clients
                .find(&record.client_id)
                .filter(|client| is_public(client) && client.config.grant_types.contains(&GrantType::RefreshToken));
            facts.client_id = Some(record.client_id.clone());
            client.cloned().ok_or(OAuthError::invalid_client(Challenge::None))
        }
    }
}

/// What a token gets that cannot be used: when it was used before, more than a moment ago, its grant is revoked.
async fn reused(grants: &Grants, key: Digest, now: i64, facts: &mut Facts) -> Result<OAuthError, OAuthError> {
    let mut reason = "refresh_token_unknown_or_expired";
    if let Some(marker) = grants.store.read(Kind::SpentRefreshToken, key, now).await.map_err(unavailable)? {
        let record: RefreshRecord = from_json(&marker.value).map_err(unavailable)?;
        reason = "refresh_token_used_twice_at_once";
        if record.used.is_none_or(|used| now - used > REUSE_GRACE) {
            revoke(grants, &record.grant_id).await.map_err(unavailable)?;
            reason = "refresh_token_reused";
        }
        facts.grant_id = Some(record.grant_id);
        facts.client_id.get_or_insert(record.client_id);
    }
    Ok(invalid_refresh_token(facts, reason))
}

/// The scope text of the new token: what is asked for, or all that was granted (RFC 6749 section 6).
fn requested_scope(grant: &Grant, requested: Option<&str>) -> Result<String, OAuthError> {
    let Some(requested) = requested else { return Ok(grant.scopes.join(" ")) };
    let granted: Vec<Scope> = grant.scopes.iter().map(|scope| Scope::parse(scope)).collect();
    let mut scopes: Vec<&str> = Vec::new();
    for scope in requested.split(' ').filter(|scope| !scope.is_empty()) {
        let is_granted = grant.scopes.iter().any(|granted| granted == scope);
        if !is_granted && !Scope::parse(scope).is_covered_by(&granted) {
            return Err(OAuthError::new(OAuthErrorKind::InvalidScope, "no more than the granted scopes is expected"));
        }
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return Err(OAuthError::new(OAuthErrorKind::InvalidScope, "at least one of the granted scopes is expected"));
    }
    Ok(scopes.join(" "))
}

fn invalid_refresh_token(facts: &mut Facts, reason: &'static str) -> OAuthError {
    facts.reason = Some(reason);
    OAuthError::invalid_grant("the refresh token is not known, expired, used or revoked")
}

// --- both ---

/// Whether the client proves who it is by what it was given alone. Until it does, its name is a claim.
fn is_public(client: &RegisteredClient) -> bool {
    matches!(client.config.authentication, ClientAuthentication::None)
}

/// The grant with the roles the user has today and the resource scopes the client is registered for today.
fn up_to_date(
    grants: &Grants,
    client: &RegisteredClient,
    grant: Grant,
    facts: &mut Facts,
) -> Result<Grant, OAuthError> {
    let ehr = grant.launch.as_ref().map(|launch| launch.ehr_client_id.as_str());
    let Some(user) = standing(&grants.config, &grant.user, ehr) else {
        facts.reason = Some("user_not_configured");
        return Err(OAuthError::invalid_grant("the user may no longer act here"));
    };
    let registered: Vec<Scope> = client.config.scope.split_whitespace().map(Scope::parse).collect();
    let mut scopes = grant.scopes.clone();
    scopes.retain(|scope| match Scope::parse(scope) {
        parsed @ Scope::Resource(_) => parsed.is_covered_by(&registered),
        _ => true,
    });
    if scopes.is_empty() {
        facts.reason = Some("scopes_not_registered");
        return Err(OAuthError::invalid_grant("the client may no longer have what was granted"));
    }
    Ok(Grant { user, scopes, ..grant })
}

fn note(facts: &mut Facts, grant: &Grant) {
    facts.user = Some(grant.user.clone());
    facts.grant_id = Some(grant.grant_id.clone());
    facts.patient.clone_from(&grant.patient);
    facts.encounter.clone_from(&grant.encounter);
    facts.scopes = Some(grant.scopes.join(" "));
}

fn new_refresh_token() -> (String, Digest) {
    let token = random::handle();
    let digest = Digest::of(&token);
    (token, digest)
}

async fn put_refresh_token(grants: &Grants, key: Digest, grant: &Grant, expires: i64) -> Result<(), StoreError> {
    let record = RefreshRecord { grant_id: grant.grant_id.clone(), client_id: grant.client_id.clone(), used: None };
    let entry = Entry { value: to_json(&record)?, expires, owner: Some(Digest::of(&grant.grant_id)) };
    grants.store.put(Kind::RefreshToken, key, entry).await
}

/// When the last refresh token of the grant ends: counted from the grant, however often it is refreshed.
fn refresh_ends(grants: &Grants, grant: &Grant) -> i64 {
    let lifetime = i64::try_from(grants.config.tokens.refresh.as_secs()).unwrap_or(i64::MAX);
    grant.granted_at.saturating_add(lifetime)
}

fn answer(response: &TokenResponse<'_>) -> Response<Bytes> {
    match serde_json::to_vec(response) {
        Ok(body) => {
            let mut answer = Response::new(Bytes::from(body));
            uncacheable_json(answer.headers_mut());
            answer
        }
        Err(_) => OAuthError::unavailable().response(),
    }
}

fn unavailable(StoreError(error): StoreError) -> OAuthError {
    tracing::error!(error, "the token endpoint could not use the store");
    OAuthError::unavailable()
}

#[cfg(test)]
mod tests;
