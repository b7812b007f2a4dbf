//! The token endpoint (RFC 6749 section 3.2, SMART App Launch 2.2 steps 5 and 7): exchanges an authorization code, a
//! refresh token or a wider token for an access token, or gives one to a backend service for itself.
//!
//! Promises: a code is spent by the first request that gets an answer for it, whatever the answer is, and a replay revokes
//! what its first use gave; a refresh token of a public client is used once, and a reuse revokes its grant; nothing is given
//! that was not granted, nor to a client or user that is no longer configured; when the store cannot be written nothing is
//! given, and when the answer cannot be recorded nothing is spent: a success comes with what has yet to be done for it, a
//! `Commit`. Counts nothing: an answer to bad credentials carries [`CredentialsFailed`] in its extensions.

mod authorization_code;
mod client_credentials;
mod commit;
pub(super) mod refresh_token;
pub(super) mod token_exchange;

use bytes::Bytes;
use http::Response;

use super::authorization_request::is_fhir_base;
use super::back_channel_form::Form;
use super::client_authentication::Requester;
use super::facts::Facts;
use super::grants::{revoke, standing};
use super::records::{Grant, User};
use super::sender_constraint::{self, DPOP_NONCE};
use super::session;
use super::token_response::TokenResponse;
use super::{Answer, CredentialsFailed, Grants, authorization_details, registration, route};
use crate::clients::RegisteredClient;
use crate::config::{ClientAuthentication, GrantType};
use crate::listen::Inbound;
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind, uncacheable_json};
use crate::smart::scope::Scope;
use crate::store::StoreError;

pub(super) use commit::Commit;

/// A success, and what has yet to be done for it.
type Prepared = (Response<Bytes>, Option<Commit>);

/// Answers `POST /token`. The answer may leave when it is recorded and what comes with it was done.
pub(super) async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> (Answer, Option<Commit>) {
    facts.action = Some("token");
    match exchange(grants, inbound, facts).await {
        Ok((response, commit)) => (Answer(response), commit),
        Err(error) => (refused(grants, &error, facts), None),
    }
}

/// The answer to what was refused.
pub(super) fn refused(grants: &Grants, error: &OAuthError, facts: &mut Facts) -> Answer {
    facts.reason.get_or_insert(error.code());
    let mut response = sender_constraint::response(grants, error);
    if error.is_failed_credentials() {
        response.extensions_mut().insert(CredentialsFailed);
    }
    Answer(response)
}

async fn exchange(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Prepared, OAuthError> {
    let form = Form::posted(inbound)?;
    let grant_type = match form.value("grant_type") {
        Some("authorization_code") => GrantType::AuthorizationCode,
        Some("refresh_token") => GrantType::RefreshToken,
        Some("client_credentials") => GrantType::ClientCredentials,
        Some("urn:ietf:params:oauth:grant-type:token-exchange") => GrantType::TokenExchange,
        Some(_) => {
            let expected = "the grant types authorization_code, refresh_token, client_credentials and token-exchange are supported";
            return Err(OAuthError::new(OAuthErrorKind::UnsupportedGrantType, expected));
        }
        None => return Err(OAuthError::invalid_request("grant_type is expected")),
    };
    let requester = grants.authenticator(route::TOKEN).authenticate(inbound, &form).await?;
    if let Requester::Client(client) = &requester {
        if is_public(client) && grant_type == GrantType::ClientCredentials {
            return Err(OAuthError::invalid_client(Challenge::None));
        }
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
    // RFC 8707 section 2.2: whatever is asked for, there is one resource server.
    if form.values("resource").any(|resource| !is_fhir_base(&grants.config, resource)) {
        return Err(invalid_target());
    }
    let details = form.value(authorization_details::PARAMETER);
    let details = authorization_details::asked(&grants.config, details)
        .map_err(|expected| OAuthError::new(OAuthErrorKind::InvalidAuthorizationDetails, expected))?;
    match (grant_type, requester) {
        (GrantType::AuthorizationCode, Requester::Client(client)) => {
            let prepared = authorization_code::exchange(grants, &client, inbound, &form, facts).await?;
            registration::keep(grants, &client).await;
            Ok(prepared)
        }
        (GrantType::ClientCredentials, Requester::Client(client)) => {
            client_credentials::exchange(grants, &client, inbound, &form, details, facts).await
        }
        (GrantType::TokenExchange, Requester::Client(client)) => {
            let response = token_exchange::exchange(grants, &client, inbound, &form, facts).await?;
            Ok((response, None))
        }
        (
            GrantType::AuthorizationCode | GrantType::ClientCredentials | GrantType::TokenExchange,
            Requester::Unnamed,
        ) => Err(OAuthError::invalid_client(Challenge::None)),
        (GrantType::RefreshToken, requester) => {
            refresh_token::exchange(grants, &requester, inbound, &form, facts).await
        }
    }
}

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
    let Some(user) = own(grants, client, &grant).or_else(|| standing(grants, &grant)) else {
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

/// The client as the user of what it was given for itself, with the roles that it has today, as long as it may still act for
/// itself. No user of ours has the name of a client.
fn own(grants: &Grants, client: &RegisteredClient, grant: &Grant) -> Option<User> {
    let config = &client.config;
    let acts = config.grant_types.contains(&GrantType::ClientCredentials) && config.authentication.is_private_key_jwt();
    let itself = grant.client_id == config.client_id
        && grant.is_of_client_itself(&grants.config.issuer())
        && grant.scopes.iter().all(|scope| scope.starts_with("system/"));
    if !acts || !itself {
        return None;
    }
    let mut user = grant.user.clone();
    user.roles.retain(|role| config.roles.contains(role));
    Some(user)
}

fn invalid_target() -> OAuthError {
    OAuthError::new(OAuthErrorKind::InvalidTarget, "the FHIR base URL of this server is expected, and no other")
}

/// Ends a grant with `online_access` whose login is over (SMART App Launch 2.2, "scopes for requesting a refresh token"). Until
/// when it goes on if nobody uses it, where it is such a grant.
async fn must_be_online(grants: &Grants, grant: &Grant, facts: &mut Facts) -> Result<Option<i64>, OAuthError> {
    let Some(online) = &grant.online else { return Ok(None) };
    if let Some(until) = session::goes_on_until(grants, online).await.map_err(unavailable)? {
        return Ok(Some(until));
    }
    revoke(grants, &grant.grant_id).await.map_err(unavailable)?;
    facts.reason = Some("session_ended");
    Err(OAuthError::invalid_grant("the login that this access was given in is over"))
}

fn note(facts: &mut Facts, grant: &Grant) {
    facts.user = Some(grant.user.clone());
    facts.grant_id = Some(grant.grant_id.clone());
    facts.patient.clone_from(&grant.patient);
    facts.encounter.clone_from(&grant.encounter);
    facts.scopes = Some(grant.scopes.join(" "));
}

fn answer(response: &TokenResponse<'_>) -> Response<Bytes> {
    match serde_json::to_vec(response) {
        Ok(body) => {
            let mut answer = Response::new(Bytes::from(body));
            uncacheable_json(answer.headers_mut());
            if let Some(nonce) = &response.next_nonce {
                answer.headers_mut().insert(DPOP_NONCE, nonce.clone());
            }
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
