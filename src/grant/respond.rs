//! The grant path in order: budget for failed credentials, the endpoint, the record, and only then the answer.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::facts::Facts;
use super::login::CREDENTIALS_WRONG;
use super::records::User;
use super::route::Endpoint;
use super::{
    CredentialsFailed, Grants, authorization_endpoint, consent, continuation, discovery, launch_contexts, login, pages,
    patient_choice, token_endpoint,
};
use crate::audit::{Audit, Decision, EventKind, Open, Outcome, Recorded, Unaudited};
use crate::listen::{Body, Inbound, full};
use crate::oauth::cors::{self, Sharing};

/// Answers a request to `endpoint`. What may change state runs to its recorded outcome, also when the client hangs up.
pub async fn respond(grants: &Grants, audit: &Audit, endpoint: Endpoint, inbound: Inbound) -> Recorded<Response<Body>> {
    if sharing(endpoint) == Some(Sharing::Open) || endpoint == Endpoint::Asset {
        return Box::pin(exchange(grants, audit, endpoint, inbound)).await;
    }
    let (own, audit) = (grants.clone(), audit.clone());
    let exchange = Box::pin(async move { exchange(&own, &audit, endpoint, inbound).await });
    grants.under_way.run(exchange).await
}

async fn exchange(grants: &Grants, audit: &Audit, endpoint: Endpoint, inbound: Inbound) -> Recorded<Response<Body>> {
    let address = inbound.peer.ip();
    let sharing = sharing(endpoint);
    if let Some(preflight) = sharing.and_then(|sharing| cors::preflight(sharing, &inbound, &grants.clients)) {
        return audit.unaudited(Unaudited::Preflight, preflight.map(full));
    }
    let takes_credentials = inbound.method == Method::POST
        && matches!(endpoint, Endpoint::Token | Endpoint::Login | Endpoint::LaunchContexts);
    if takes_credentials && let Err(seconds) = grants.failures.admit(address) {
        let mut refused = unavailable(StatusCode::TOO_MANY_REQUESTS, seconds);
        share(grants, sharing, &inbound, &mut refused);
        return audit.refused_unauthenticated(address, "throttled", refused);
    }
    let mut open = audit.open(kind(endpoint), &inbound.request_id, address, "public");
    open.record().inbound(&inbound);
    let mut facts = Facts::default();
    let mut response = Box::pin(answer(grants, endpoint, &inbound, &mut facts)).await.map(full);
    if response.extensions_mut().remove::<CredentialsFailed>().is_some() {
        grants.failures.failed(address);
    }
    share(grants, sharing, &inbound, &mut response);
    conclude(open, facts, endpoint, response).await
}

/// Lets the browser hand the answer to an app whose origin may have it.
fn share(grants: &Grants, sharing: Option<Sharing>, inbound: &Inbound, response: &mut Response<Body>) {
    let Some(sharing) = sharing else { return };
    let mut shared = HeaderMap::new();
    cors::decorate(&mut shared, sharing, inbound, &grants.clients);
    response.headers_mut().extend(shared);
}

async fn answer(grants: &Grants, endpoint: Endpoint, inbound: &Inbound, facts: &mut Facts) -> Response<Bytes> {
    use discovery::Document;
    let answer = match endpoint {
        Endpoint::SmartConfiguration => discovery::respond(grants, Document::SmartConfiguration, inbound, facts),
        Endpoint::OpenIdConfiguration => discovery::respond(grants, Document::OpenIdConfiguration, inbound, facts),
        Endpoint::AuthorizationServerMetadata => {
            discovery::respond(grants, Document::AuthorizationServerMetadata, inbound, facts)
        }
        Endpoint::Jwks => discovery::respond(grants, Document::Jwks, inbound, facts),
        Endpoint::LaunchContexts => launch_contexts::respond(grants, inbound, facts).await,
        Endpoint::Authorize => authorization_endpoint::respond(grants, inbound, facts).await,
        Endpoint::Continue => continuation::respond(grants, inbound, facts).await,
        Endpoint::Login => login::respond(grants, inbound, facts).await,
        Endpoint::PatientChoice => patient_choice::respond(grants, inbound, facts).await,
        Endpoint::Consent => consent::respond(grants, inbound, facts).await,
        Endpoint::Token => token_endpoint::respond(grants, inbound, facts).await,
        Endpoint::Asset => match pages::stylesheet(&inbound.path) {
            Some(sheet) => sheet,
            None => return nothing_here(),
        },
    };
    answer.0
}

/// Records what is an event: an act of a known user or client, and every password that was checked. Pages that were only
/// shown, and refusals of strangers, are counted: those who prove nothing cannot fill the log.
async fn conclude(
    mut open: Open,
    facts: Facts,
    endpoint: Endpoint,
    response: Response<Body>,
) -> Recorded<Response<Body>> {
    let reason = facts.reason;
    let known = facts.user.is_some() || facts.grant_id.is_some() || facts.client_id.is_some() && !is_page(endpoint);
    if !known && reason != Some(CREDENTIALS_WRONG) {
        return match (reason, endpoint) {
            (Some(reason), _) => open.abandon_as_refused_unauthenticated(reason, response),
            (None, Endpoint::Asset) => open.abandon_as_unaudited(Unaudited::StaticPage, response),
            (None, _) if is_page(endpoint) => open.abandon_as_unaudited(Unaudited::StaticPage, response),
            (None, _) => open.abandon_as_unaudited(Unaudited::Discovery, response),
        };
    }
    note(&mut open, facts);
    open.record().answered(&response);
    let outcome = reason.map_or(Outcome::Released, Outcome::Denied);
    let closed = open.close(outcome, response).await;
    closed.unwrap_or_else(|unrecorded| unrecorded.answer(unavailable(StatusCode::SERVICE_UNAVAILABLE, 1)))
}

fn note(open: &mut Open, facts: Facts) {
    let record = open.record();
    let Facts { client_id, user, scopes, patient, encounter, grant_id, action, reason } = facts;
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
    record.decision = Some(if reason.is_some() { Decision::Deny } else { Decision::Permit });
}

fn kind(endpoint: Endpoint) -> EventKind {
    match endpoint {
        Endpoint::SmartConfiguration
        | Endpoint::OpenIdConfiguration
        | Endpoint::AuthorizationServerMetadata
        | Endpoint::Jwks
        | Endpoint::Asset
        | Endpoint::Authorize
        | Endpoint::Continue
        | Endpoint::PatientChoice => EventKind::Authorization,
        Endpoint::LaunchContexts => EventKind::Launch,
        Endpoint::Login => EventKind::Login,
        Endpoint::Consent => EventKind::Consent,
        Endpoint::Token => EventKind::Token,
    }
}

fn is_page(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Authorize | Endpoint::Continue | Endpoint::Login | Endpoint::PatientChoice | Endpoint::Consent
    )
}

fn sharing(endpoint: Endpoint) -> Option<Sharing> {
    match endpoint {
        Endpoint::SmartConfiguration
        | Endpoint::OpenIdConfiguration
        | Endpoint::AuthorizationServerMetadata
        | Endpoint::Jwks => Some(Sharing::Open),
        Endpoint::Token => Some(Sharing::Token),
        Endpoint::LaunchContexts
        | Endpoint::Authorize
        | Endpoint::Continue
        | Endpoint::Login
        | Endpoint::PatientChoice
        | Endpoint::Consent
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
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("pragma", HeaderValue::from_static("no-cache"));
    headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
    response
}
