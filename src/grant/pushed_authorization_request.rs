//! `POST /par` (RFC 9126): an app hands its authorization request over before it sends a browser, and gets a name for it.
//!
//! Takes the parameters of an authorization request from a client that authenticates as at the token endpoint; gives a
//! `request_uri` that is good once, for a minute, for that client. Promises: what would be refused at the authorization
//! endpoint is refused here, before any person is involved; a browser can change nothing of what was pushed. A proof (RFC
//! 9449 section 10.1) binds the code to its key. The parameters are checked again when the browser comes: a registration may
//! have changed. Spends no launch handle. A reload of the authorization endpoint finds the `request_uri` used; what a
//! person reloads is the page after it, which has a name of its own.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::authorization_request::{Arrival, Refused, check};
use super::back_channel_form;
use super::client_authentication::Requester;
use super::facts::Facts;
use super::form::Form;
use super::grants::{from_json, to_json};
use super::pages::Problem;
use super::sender_constraint::{self, DPOP_NONCE, SenderConstraint};
use super::{Answer, CredentialsFailed, Grants, foreign, route};
use crate::config::ClientAuthentication;
use crate::listen::Inbound;
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind, uncacheable_json};
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind};

/// Seconds that a pushed request may wait for its browser.
const LIFETIME: i64 = 60;

/// What every `request_uri` of ours begins with (RFC 9126 section 2.2).
const URN: &str = "urn:ietf:params:oauth:request_uri:";

/// Parameters that authenticate the client and are no part of the request.
const CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

/// A request as it was pushed. Key: digest of the handle in its `request_uri`; taken once.
#[derive(Debug, Serialize, Deserialize)]
struct Pushed {
    client_id: String,
    parameters: Vec<(String, String)>,
}

/// Why a request is not taken.
enum NotTaken {
    /// As at the token endpoint.
    Back(OAuthError),
    /// As at the authorization endpoint.
    Request { error: &'static str, description: String },
}

impl From<OAuthError> for NotTaken {
    fn from(error: OAuthError) -> Self {
        Self::Back(error)
    }
}

/// Answers `POST /par`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("request_pushed");
    Answer(match push(grants, inbound, facts).await {
        Ok((request_uri, nonce)) => {
            let body = serde_json::json!({ "request_uri": request_uri, "expires_in": LIFETIME });
            let mut response = json(StatusCode::CREATED, &body);
            response.headers_mut().extend(nonce.map(|nonce| (DPOP_NONCE, nonce)));
            response
        }
        Err(NotTaken::Back(error)) => {
            facts.reason = Some(error.code());
            let mut response = sender_constraint::response(grants, &error);
            if error.is_failed_credentials() {
                response.extensions_mut().insert(CredentialsFailed);
            }
            response
        }
        Err(NotTaken::Request { error, description }) => {
            facts.reason = Some(error);
            json(StatusCode::BAD_REQUEST, &serde_json::json!({ "error": error, "error_description": description }))
        }
    })
}

/// The request that the `request_uri` in `form` stands for, and stands for no longer; `None` when there is none of ours.
pub(super) async fn take(grants: &Grants, form: &Form) -> Result<Option<Form>, Problem<'static>> {
    let Some(handle) = form.only("request_uri").and_then(|uri| uri.strip_prefix(URN)) else { return Ok(None) };
    let client_id = form.only("client_id").ok_or(Problem::UnknownClient)?;
    let now = grants.clock.unix_seconds();
    let taken = grants.store.take_once(Kind::PushedRequest, Digest::of(handle), now).await;
    let entry = taken.map_err(|_| Problem::StoreUnavailable)?.ok_or(Problem::RequestUriUnusable)?;
    let pushed: Pushed = from_json(&entry.value).map_err(|_| Problem::RequestUriUnusable)?;
    if pushed.client_id != client_id {
        return Err(Problem::RequestUriUnusable);
    }
    let pushed = Form::from(pushed.parameters);
    let mut beside = form.names().filter(|name| *name != "request_uri");
    if beside.all(|name| form.all(name).eq(pushed.all(name))) { Ok(Some(pushed)) } else { Err(Problem::RequestDiffers) }
}

async fn push(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
) -> Result<(String, Option<HeaderValue>), NotTaken> {
    let posted = back_channel_form::Form::posted(inbound)?;
    let now = grants.clock.unix_seconds();
    let authenticator = grants.authenticator(route::PAR);
    let Requester::Client(client) = authenticator.authenticate(inbound, &posted).await? else {
        return Err(OAuthError::invalid_client(Challenge::None).into());
    };
    let client_id = &client.config.client_id;
    if matches!(client.config.authentication, ClientAuthentication::None) {
        // Its name is a claim: what it may write to the store is counted as at the authorization endpoint.
        let admitted = grants.login.admit_request(foreign::presenter(inbound, &grants.clients));
        admitted.map_err(|seconds| OAuthError::throttled(u32::try_from(seconds).unwrap_or(u32::MAX)))?;
    } else {
        facts.client_id = Some(client_id.clone());
    }
    let sender = SenderConstraint::offered(grants, inbound, &client).await?;
    let mut form = Form::parse(&inbound.body).ok_or(OAuthError::invalid_request("a form is expected"))?.without_empty();
    if form.only("request_uri").is_some() {
        return Err(OAuthError::invalid_request("a pushed request cannot name another one by request_uri").into());
    }
    form.remove(&CREDENTIALS);
    form.default("client_id", client_id);
    if let Some(jkt) = sender.jkt() {
        form.default("dpop_jkt", &jkt);
        sender.must_be(form.only("dpop_jkt"))?;
    }
    let request = check(grants, &form, Arrival::Pushing).map_err(not_taken)?;
    facts.scopes = Some(request.transaction.scopes.join(" "));
    let pushed = Pushed { client_id: client_id.clone(), parameters: form.into() };
    let handle = random::handle();
    let value = to_json(&pushed).map_err(|_| OAuthError::unavailable())?;
    let entry = Entry { value, expires: now + LIFETIME, owner: None };
    let stored = grants.store.put(Kind::PushedRequest, Digest::of(&handle), entry).await;
    stored.map_err(|_| OAuthError::unavailable())?;
    Ok((format!("{URN}{handle}"), sender.next_nonce(grants)))
}

fn not_taken(refused: Refused) -> NotTaken {
    match refused {
        Refused::Page(Problem::UnknownRedirectUri) => {
            OAuthError::invalid_request("redirect_uri is expected, as it is registered").into()
        }
        Refused::Page(_) => OAuthError::new(
            OAuthErrorKind::UnauthorizedClient,
            "the client is not registered for authorization requests",
        )
        .into(),
        Refused::Redirect { error, description, .. } => NotTaken::Request { error: error.code(), description },
    }
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    uncacheable_json(response.headers_mut());
    response
}

#[cfg(test)]
mod tests;
