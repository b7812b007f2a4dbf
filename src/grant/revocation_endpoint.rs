//! The revocation endpoint (RFC 7009): an app says that it needs a token no more.
//!
//! Takes a posted `token` from the client it was issued to, authenticated as registered (a public one by its `client_id`).
//! Promises: an access token and a refresh token, used before or not, both end the whole grant, with all its tokens, at once
//! (section 2.1 leaves open what else a revocation ends; an app that gives one token back is done with the access, and a
//! stolen one must not be replaced by what its sibling gives). A token of another client is not revoked; that, what is
//! unknown and what had ended already is answered alike: 200 and nothing. `token_type_hint` is not needed.

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue, PRAGMA};

use super::back_channel_form::Form;
use super::client_authentication::Requester;
use super::facts::Facts;
use super::grants::revoke;
use super::presented_token::PresentedToken;
use super::{Answer, CredentialsFailed, Grants, route};
use crate::config::ClientAuthentication;
use crate::listen::Inbound;
use crate::oauth::error::{Challenge, OAuthError};
use crate::store::StoreError;

/// Answers `POST /revoke`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("token_revoked");
    Answer(match take_back(grants, inbound, facts).await {
        Ok(()) => {
            let mut response = Response::new(Bytes::new());
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
            response
        }
        Err(error) => {
            facts.reason.get_or_insert(error.code());
            let mut response = error.response();
            if error.is_failed_credentials() {
                response.extensions_mut().insert(CredentialsFailed);
            }
            response
        }
    })
}

async fn take_back(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<(), OAuthError> {
    let form = Form::posted(inbound)?;
    let requester = grants.authenticator(route::REVOKE).authenticate(inbound, &form).await?;
    let Requester::Client(client) = requester else {
        return Err(OAuthError::invalid_client(Challenge::None));
    };
    let client_id = &client.config.client_id;
    let public = matches!(client.config.authentication, ClientAuthentication::None);
    if !public {
        facts.client_id = Some(client_id.clone());
    }
    let token = form.value("token").ok_or(OAuthError::invalid_request("token is expected"))?;
    let presented = PresentedToken::recognise(grants, token).await.map_err(unavailable)?;
    let Some(presented) = presented.filter(|presented| presented.client_id() == client_id) else {
        facts.action = Some("token_not_revoked");
        return Ok(());
    };
    // Only now is a public client more than what it says.
    facts.client_id = Some(client_id.clone());
    facts.grant_id = Some(presented.grant_id().to_owned());
    revoke(grants, presented.grant_id()).await.map_err(unavailable)
}

fn unavailable(StoreError(error): StoreError) -> OAuthError {
    tracing::error!(error, "the revocation endpoint could not use the store");
    OAuthError::unavailable()
}

#[cfg(test)]
mod tests;
