//! `POST /logout/back-channel/ID`: an OpenID provider says that somebody logged out there (OpenID Connect Back-Channel Logout
//! 1.0), and their sessions here end with the grants with `online_access` that were given in them.
//!
//! Takes `logout_token`; gives 200, 400 for a token that is not good, or 503 where it cannot be checked or done now. Promises:
//! a provider ends sessions of its own users alone, and a token counts once. What the token must be is the business of
//! [`crate::federation::logout_token`].

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::super::facts::Facts;
use super::super::form::Form;
use super::super::session;
use super::super::{Answer, CredentialsFailed, Grants, route};
use crate::federation::{FederationError, RelyingParty};
use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind, uncacheable_json};
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

/// Answers `POST /logout/back-channel/ID`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("logged_out_at_provider");
    let mut response = match log_out(grants, inbound, facts).await {
        Ok(()) => Response::new(Bytes::new()),
        Err(error) => {
            facts.reason.get_or_insert(error.code());
            error.response()
        }
    };
    if facts.reason == Some("logout_token_invalid") {
        response.extensions_mut().insert(CredentialsFailed);
    }
    if response.status() == StatusCode::OK {
        uncacheable_json(response.headers_mut());
    }
    Answer(response)
}

async fn log_out(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<(), OAuthError> {
    if inbound.method != Method::POST {
        return Err(OAuthError::new(OAuthErrorKind::MethodNotAllowed, "the method POST is expected"));
    }
    let id = inbound.path.strip_prefix(route::BACK_CHANNEL_LOGOUT).unwrap_or_default();
    let form = Form::posted(inbound).filter(|form| !form.has_repeated());
    let token = form.as_ref().and_then(|form| form.only("logout_token"));
    let (Some(provider), Some(token)) = (grants.providers.find(id), token) else {
        return Err(OAuthError::invalid_request("a form with the logout_token of a provider of this path is expected"));
    };
    let out = provider.logged_out(token).await.map_err(|error| refused(provider, facts, &error))?;
    let issuer = &provider.config.issuer;
    facts.detail = Some(format!("said by the provider `{id}`"));
    let unavailable = |StoreError(error): StoreError| {
        tracing::error!(error, "sessions could not be ended");
        OAuthError::unavailable()
    };
    let seen = Entry { value: Vec::new(), expires: out.expires, owner: None };
    let key = Digest::of(&format!("{}:{issuer}{}", issuer.len(), out.id));
    let now = grants.clock.unix_seconds();
    // INVARIANT: ended before it is remembered: what failed half-way may be sent again.
    if grants.store.read(Kind::LogoutTokenId, key, now).await.map_err(unavailable)?.is_some() {
        facts.reason = Some("logout_token_invalid");
        return Err(OAuthError::invalid_request("a logout_token that was not sent before is expected"));
    }
    let whose = (issuer.as_str(), out.subject.as_deref());
    let ended = session::end_of_provider(grants, whose, out.session.as_deref()).await.map_err(unavailable)?;
    grants.store.put(Kind::LogoutTokenId, key, seen).await.map_err(unavailable)?;
    tracing::info!(provider = id, ended = ended.len(), "somebody logged out at a provider");
    facts.user = ended.into_iter().next();
    Ok(())
}

/// What the provider is told; what was wrong goes to the logs.
fn refused(provider: &RelyingParty, facts: &mut Facts, error: &FederationError) -> OAuthError {
    tracing::warn!(provider = provider.config.id, reason = error.reason(), "logout by a provider: {error}");
    facts.reason = Some(error.reason());
    match error {
        FederationError::LogoutToken(_) => OAuthError::invalid_request("a logout_token of this provider is expected"),
        _ => OAuthError::unavailable(),
    }
}
