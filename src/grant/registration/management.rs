//! The client configuration endpoint: `GET`, `PUT` and `DELETE` of `/register/<client_id>` (RFC 7592).
//!
//! Takes the registration access token that the client was given; gives what is registered, replaces it as a whole, or
//! removes the client, with all that it was granted. Promises: nothing wider than what the client was let in for; a client that is not there, one that was
//! disabled and a wrong token are answered alike. The registration access token stays the same: an answer that got lost must
//! not lock a client out.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value};

use super::{Refused, answered, bearer, hear, information, sent, usable};
use crate::clients::registry::{self, Found};
use crate::clients::stored::{StoredClient, terms};
use crate::grant::facts::Facts;
use crate::grant::{Answer, Grants, holdings, route};
use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind};
use crate::oauth::metadata::SentMetadata;
use crate::random;
use crate::secret::Digest;

/// Answers a request to a client's own registration.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    let result = match inbound.method {
        Method::GET => read(grants, inbound, facts).await,
        Method::PUT => update(grants, inbound, facts).await,
        Method::DELETE => remove(grants, inbound, facts).await,
        _ => {
            let expected = OAuthError::new(OAuthErrorKind::MethodNotAllowed, "GET, PUT or DELETE is expected");
            let mut answer = Refused::from(expected).answer(facts);
            answer.0.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, PUT, DELETE"));
            return answer;
        }
    };
    match result {
        Ok(Some(members)) => answered(StatusCode::OK, members),
        Ok(None) => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Answer(response)
        }
        Err(refused) => refused.answer(facts),
    }
}

type Result<T> = std::result::Result<T, Refused>;

async fn read(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Option<Map<String, Value>>> {
    facts.action = Some("registration_read");
    let (found, token) = own(grants, inbound, facts).await?;
    Ok(Some(information(&grants.config, &found.client, token, None)))
}

async fn update(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Option<Map<String, Value>>> {
    facts.action = Some("registration_changed");
    let (found, token) = own(grants, inbound, facts).await?;
    let sent = sent(inbound)?;
    as_the_rfc_wants(&sent, &found.client)?;
    let metadata = sent.checked(terms(&found.client.allowed_scope, found.client.registered_by.guard()))?;
    let mut client = found.client.clone();
    let secret = match (metadata.token_endpoint_auth_method.has_secret(), &client.client_secret) {
        (true, None) => Some(random::handle()),
        (true, Some(_)) | (false, _) => None,
    };
    if !metadata.token_endpoint_auth_method.has_secret() {
        client.client_secret = None;
    }
    if let Some(secret) = &secret {
        client.client_secret = Some(Digest::of(secret).to_hex());
    }
    client.metadata = metadata;
    usable(&client)?;
    let now = grants.clock.unix_seconds();
    if !registry::replace(&*grants.store, &found, &client, found.expires, now).await? {
        // Somebody else was faster; what they wrote has to be looked at first.
        return Err(OAuthError::unavailable().into());
    }
    hear(grants).await;
    facts.scopes = Some(client.metadata.scope.clone());
    Ok(Some(information(&grants.config, &client, token, secret.as_deref())))
}

async fn remove(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Option<Map<String, Value>>> {
    facts.action = Some("client_removed");
    let (found, _) = own(grants, inbound, facts).await?;
    let (store, client_id) = (&*grants.store, &found.client.client_id);
    let now = grants.clock.unix_seconds();
    // Before, because a client that is gone could not try again when this fails; and after, because something may have been
    // granted to it meanwhile.
    holdings::forget_client(store, client_id, now).await?;
    registry::remove(store, client_id).await?;
    hear(grants).await;
    holdings::forget_client(store, client_id, now).await?;
    grants.revocations.refresh(store).await?;
    Ok(None)
}

/// The client that the path names, when the token is its own.
async fn own<'a>(grants: &Grants, inbound: &'a Inbound, facts: &mut Facts) -> Result<(Found, &'a str)> {
    if grants.config.registration.is_none() {
        return Err(Refused::Off);
    }
    let token = bearer(inbound)?.ok_or_else(OAuthError::invalid_token)?;
    let client_id = inbound.path.strip_prefix(route::REGISTERED).unwrap_or_default();
    let now = grants.clock.unix_seconds();
    let found = registry::find(&*grants.store, client_id, now).await?;
    let disabled = registry::is_disabled(&*grants.store, client_id, now).await?;
    let expected = found.as_ref().and_then(|found| found.client.registration_access_token.as_deref());
    let matches = Digest::of(token).matches(&expected.and_then(Digest::from_hex).unwrap_or(Digest([0; 32])));
    let served = matches && !disabled && !grants.clients.is_configured(client_id);
    let found = found.filter(|_| served).ok_or_else(OAuthError::invalid_token)?;
    facts.client_id = Some(found.client.client_id.clone());
    Ok((found, token))
}

/// RFC 7592 section 2.2: the client names itself, may repeat its secret, and leaves out what the server says.
fn as_the_rfc_wants(sent: &SentMetadata, client: &StoredClient) -> Result<()> {
    let wrong = |expected| Err(OAuthError::new(OAuthErrorKind::InvalidClientMetadata, expected).into());
    if sent.client_id.as_ref().and_then(Value::as_str) != Some(&client.client_id) {
        return wrong("client_id is expected to be the client's own");
    }
    if sent.has_what_the_server_says() {
        return wrong(
            "registration_access_token, registration_client_uri, client_id_issued_at and client_secret_expires_at are \
             expected to be left out",
        );
    }
    let Some(secret) = &sent.client_secret else { return Ok(()) };
    let kept = client.client_secret.as_deref().and_then(Digest::from_hex);
    let same = secret.as_str().is_some_and(|secret| kept.is_some_and(|kept| Digest::of(secret).matches(&kept)));
    if same { Ok(()) } else { wrong("client_secret is expected to be the current one, or left out") }
}
