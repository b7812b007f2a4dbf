//! The grant path in order: what pages of strangers send, budget for failed credentials, the endpoint, the record, what the token endpoint has yet to do
//! (`Commit`), and only then the answer.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::facts::Facts;
use super::login::CREDENTIALS_WRONG;
use super::provider_login::ID_TOKEN_INVALID;
use super::records::User;
use super::route::Endpoint;
use super::token_endpoint::Commit;
use super::{
    Answer, CredentialsFailed, Grants, authorization_endpoint, consent, continuation, discovery, foreign, framing,
    introspection_endpoint, launch_contexts, login, logout, management, pages, patient_choice, provider_login,
    pushed_authorization_request, registration, revocation_endpoint, token_endpoint, userinfo_endpoint,
};
use crate::audit::{Audit, Decision, EventKind, Open, Outcome, Recorded, Unaudited};
use crate::cors::{self, Sharing};
use crate::listen::{Body, Inbound, full};
use crate::oauth::error::{ErrorCode, OAuthError};

/// Answers a request to `endpoint`. What may change state runs to its recorded outcome, also when the client hangs up.
pub async fn respond(grants: &Grants, audit: &Audit, endpoint: Endpoint, inbound: Inbound) -> Recorded<Response<Body>> {
    if sharing(endpoint) == Some(Sharing::Open) || endpoint == Endpoint::Asset {
        return Box::pin(exchange(grants, audit, endpoint, inbound)).await;
    }
    let (own, audit) = (grants.clone(), audit.clone());
    let from = inbound.peer.ip();
    let exchange = Box::pin(async move { exchange(&own, &audit, endpoint, inbound).await });
    grants.under_way.run(from, exchange).await
}

async fn exchange(grants: &Grants, audit: &Audit, endpoint: Endpoint, inbound: Inbound) -> Recorded<Response<Body>> {
    let address = inbound.peer.ip();
    let sharing = sharing(endpoint);
    if let Some(preflight) = sharing.and_then(|sharing| cors::preflight(sharing, &inbound, &grants.clients)) {
        return audit.unaudited(Unaudited::Preflight, preflight.map(full));
    }
    let takes_credentials = match endpoint {
        Endpoint::Token
        | Endpoint::PushedAuthorizationRequest
        | Endpoint::Login
        | Endpoint::ManageLogin
        | Endpoint::LaunchContexts
        | Endpoint::Introspect
        | Endpoint::BackChannelLogout
        | Endpoint::Revoke => inbound.method == Method::POST,
        Endpoint::Register | Endpoint::Registered | Endpoint::ProviderCallback | Endpoint::UserInfo => true,
        _ => false,
    };
    let is_counted = takes_credentials || endpoint == Endpoint::Authorize;
    if is_counted && foreign::is_of_foreign_page(endpoint, &inbound, &grants.clients) {
        let mut refused =
            OAuthError::invalid_request("a request of a page that is registered here is expected").response();
        *refused.status_mut() = StatusCode::FORBIDDEN;
        let mut refused = refused.map(full);
        share(grants, sharing, &inbound, &mut refused);
        return audit.refused_unauthenticated(address, "foreign_page", refused);
    }
    if takes_credentials && let Err(seconds) = grants.failures.admit(foreign::presenter(&inbound, &grants.clients)) {
        let mut refused = unavailable(StatusCode::TOO_MANY_REQUESTS, seconds);
        share(grants, sharing, &inbound, &mut refused);
        return audit.refused_unauthenticated(address, "throttled", refused);
    }
    let mut open = audit.open(kind(endpoint), &inbound.request_id, address, "public");
    open.record().inbound(&inbound);
    let mut facts = Facts::default();
    let (response, commit) = Box::pin(answer(grants, endpoint, &inbound, &mut facts)).await;
    let response = dressed(grants, endpoint, &inbound, &facts, response);
    let Some(commit) = commit else { return conclude(open, facts, endpoint, response).await };
    let recorded = match recorded(open, facts.clone(), response).await {
        Ok(recorded) => recorded,
        Err(answered) => return answered,
    };
    match commit.run(grants, &mut facts).await {
        Ok(()) => recorded,
        Err(error) => {
            audit.withdraw(recorded);
            let Answer(response) = token_endpoint::refused(grants, &error, &mut facts);
            let response = dressed(grants, endpoint, &inbound, &facts, response);
            let mut open = audit.open(kind(endpoint), &inbound.request_id, address, "public");
            open.record().inbound(&inbound);
            conclude(open, facts, endpoint, response).await
        }
    }
}

/// The answer as it goes out: what a browser may do with it, and what its address is charged for it.
fn dressed(
    grants: &Grants,
    endpoint: Endpoint,
    inbound: &Inbound,
    facts: &Facts,
    mut response: Response<Bytes>,
) -> Response<Body> {
    framing::permit(grants, facts, &mut response);
    let mut response = response.map(full);
    if response.extensions_mut().remove::<CredentialsFailed>().is_some() {
        grants.failures.failed(foreign::presenter(inbound, &grants.clients));
    }
    share(grants, sharing(endpoint), inbound, &mut response);
    response
}

/// Lets the browser hand the answer to an app whose origin may have it.
fn share(grants: &Grants, sharing: Option<Sharing>, inbound: &Inbound, response: &mut Response<Body>) {
    let Some(sharing) = sharing else { return };
    let mut shared = HeaderMap::new();
    cors::decorate(&mut shared, sharing, inbound, &grants.clients);
    response.headers_mut().extend(shared);
}

async fn answer(
    grants: &Grants,
    endpoint: Endpoint,
    inbound: &Inbound,
    facts: &mut Facts,
) -> (Response<Bytes>, Option<Commit>) {
    use discovery::Document;
    let answer = match endpoint {
        Endpoint::SmartConfiguration => discovery::respond(grants, Document::SmartConfiguration, inbound, facts),
        Endpoint::OpenIdConfiguration => discovery::respond(grants, Document::OpenIdConfiguration, inbound, facts),
        Endpoint::AuthorizationServerMetadata => {
            discovery::respond(grants, Document::AuthorizationServerMetadata, inbound, facts)
        }
        Endpoint::Jwks => discovery::respond(grants, Document::Jwks, inbound, facts),
        Endpoint::Brands => discovery::respond(grants, Document::Brands, inbound, facts),
        Endpoint::LaunchContexts => launch_contexts::respond(grants, inbound, facts).await,
        Endpoint::PushedAuthorizationRequest => pushed_authorization_request::respond(grants, inbound, facts).await,
        Endpoint::Authorize => authorization_endpoint::respond(grants, inbound, facts).await,
        Endpoint::Continue => continuation::respond(grants, inbound, facts).await,
        Endpoint::Login => login::respond(grants, inbound, facts).await,
        Endpoint::ProviderLogin => provider_login::start(grants, inbound, facts).await,
        Endpoint::ProviderCallback => provider_login::callback(grants, inbound, facts).await,
        Endpoint::PatientChoice => patient_choice::respond(grants, inbound, facts).await,
        Endpoint::Consent => consent::respond(grants, inbound, facts).await,
        Endpoint::Token => {
            let (Answer(response), commit) = token_endpoint::respond(grants, inbound, facts).await;
            return (response, commit);
        }
        Endpoint::Introspect => introspection_endpoint::respond(grants, inbound, facts).await,
        Endpoint::Revoke => revocation_endpoint::respond(grants, inbound, facts).await,
        Endpoint::UserInfo => userinfo_endpoint::respond(grants, inbound, facts).await,
        Endpoint::Register => registration::respond(grants, inbound, facts).await,
        Endpoint::Registered => registration::management::respond(grants, inbound, facts).await,
        Endpoint::Manage => management::respond(grants, inbound, facts).await,
        Endpoint::ManageLogin => management::log_in(grants, inbound, facts).await,
        Endpoint::ManageProvider => management::log_in_with_provider(grants, inbound, facts).await,
        Endpoint::Logout => logout::respond(grants, inbound, facts).await,
        Endpoint::LogoutCallback => logout::at_provider::callback(grants, inbound, facts).await,
        Endpoint::BackChannelLogout => logout::back_channel::respond(grants, inbound, facts).await,
        Endpoint::Asset => match pages::stylesheet(&inbound.path) {
            Some(sheet) => sheet,
            None => return (nothing_here(), None),
        },
    };
    (answer.0, None)
}

/// Records what is an event: an act of a known user or client, and every password that was checked. Pages that were only
/// shown, and refusals of strangers, are counted: those who prove nothing cannot fill the log.
async fn conclude(open: Open, facts: Facts, endpoint: Endpoint, response: Response<Body>) -> Recorded<Response<Body>> {
    let reason = facts.reason;
    let known = facts.user.is_some() || facts.grant_id.is_some() || facts.client_id.is_some() && !is_page(endpoint);
    if !known && !matches!(reason, Some(CREDENTIALS_WRONG | ID_TOKEN_INVALID)) {
        return match (reason, endpoint) {
            (Some(reason), _) => open.abandon_as_refused_unauthenticated(reason, response),
            (None, Endpoint::Asset) => open.abandon_as_unaudited(Unaudited::StaticPage, response),
            (None, _) if is_page(endpoint) || endpoint == Endpoint::PushedAuthorizationRequest => {
                open.abandon_as_unaudited(Unaudited::StaticPage, response)
            }
            (None, _) => open.abandon_as_unaudited(Unaudited::Discovery, response),
        };
    }
    recorded(open, facts, response).await.unwrap_or_else(|answered| answered)
}

/// The answer with its record. `Err`: there is none, and this 503 goes out.
async fn recorded(
    mut open: Open,
    facts: Facts,
    response: Response<Body>,
) -> Result<Recorded<Response<Body>>, Recorded<Response<Body>>> {
    let outcome = facts.reason.map_or(Outcome::Released, Outcome::Denied);
    note(&mut open, facts);
    open.record().answered(&response);
    let closed = open.close(outcome, response).await;
    closed.map_err(|unrecorded| unrecorded.answer(unavailable(StatusCode::SERVICE_UNAVAILABLE, 1)))
}

fn note(open: &mut Open, facts: Facts) {
    let record = open.record();
    let Facts {
        client_id,
        user,
        scopes,
        patient,
        encounter,
        grant_id,
        action,
        detail,
        reason,
        framed_by: _,
        language: _,
    } = facts;
    record.client_id = client_id;
    if let Some(User { iss, sub, fhir_user, roles, .. }) = user {
        record.iss = Some(iss);
        record.sub = Some(sub);
        record.fhir_user = fhir_user;
        record.roles = roles;
    }
    record.scopes = scopes;
    record.patients = patient.iter().cloned().collect();
    record.patient = patient;
    record.encounter = encounter;
    record.target = grant_id;
    record.action = action.map(Into::into);
    record.detail = detail;
    record.decision = Some(if reason.is_some() { Decision::Deny } else { Decision::Permit });
}

fn kind(endpoint: Endpoint) -> EventKind {
    match endpoint {
        Endpoint::SmartConfiguration
        | Endpoint::OpenIdConfiguration
        | Endpoint::AuthorizationServerMetadata
        | Endpoint::Jwks
        | Endpoint::Brands
        | Endpoint::Asset
        | Endpoint::PushedAuthorizationRequest
        | Endpoint::Authorize
        | Endpoint::Continue
        | Endpoint::PatientChoice => EventKind::Authorization,
        Endpoint::LaunchContexts => EventKind::Launch,
        Endpoint::Login
        | Endpoint::ManageLogin
        | Endpoint::ManageProvider
        | Endpoint::ProviderLogin
        | Endpoint::ProviderCallback => EventKind::Login,
        Endpoint::Consent | Endpoint::Manage => EventKind::Consent,
        Endpoint::Logout | Endpoint::LogoutCallback | Endpoint::BackChannelLogout => EventKind::Logout,
        Endpoint::Token => EventKind::Token,
        Endpoint::Introspect | Endpoint::UserInfo => EventKind::Introspection,
        Endpoint::Revoke => EventKind::Revocation,
        Endpoint::Register | Endpoint::Registered => EventKind::Registration,
    }
}

fn is_page(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Authorize
            | Endpoint::Continue
            | Endpoint::Login
            | Endpoint::ProviderLogin
            | Endpoint::ProviderCallback
            | Endpoint::PatientChoice
            | Endpoint::Consent
            | Endpoint::ManageLogin
            | Endpoint::ManageProvider
            | Endpoint::Manage
            | Endpoint::Logout
            | Endpoint::LogoutCallback
    )
}

/// Whose pages may read what the endpoint answers.
pub(super) fn sharing(endpoint: Endpoint) -> Option<Sharing> {
    match endpoint {
        Endpoint::SmartConfiguration
        | Endpoint::OpenIdConfiguration
        | Endpoint::AuthorizationServerMetadata
        | Endpoint::Jwks
        | Endpoint::Brands => Some(Sharing::Open),
        Endpoint::Token | Endpoint::PushedAuthorizationRequest | Endpoint::Revoke | Endpoint::UserInfo => {
            Some(Sharing::Token)
        }
        Endpoint::LaunchContexts
        | Endpoint::Introspect
        | Endpoint::Register
        | Endpoint::Registered
        | Endpoint::Authorize
        | Endpoint::Continue
        | Endpoint::Login
        | Endpoint::ProviderLogin
        | Endpoint::ProviderCallback
        | Endpoint::PatientChoice
        | Endpoint::Consent
        | Endpoint::Manage
        | Endpoint::ManageLogin
        | Endpoint::ManageProvider
        | Endpoint::Logout
        | Endpoint::LogoutCallback
        | Endpoint::BackChannelLogout
        | Endpoint::Asset => None,
    }
}

fn nothing_here() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// RFC 6749 JSON that holds for people and apps alike.
fn unavailable(status: StatusCode, retry_after: u32) -> Response<Body> {
    let body = r#"{"error":"temporarily_unavailable","error_description":"try again after the seconds that Retry-After names"}"#;
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.extensions_mut().insert(ErrorCode("temporarily_unavailable"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("pragma", HeaderValue::from_static("no-cache"));
    headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
    response
}
