//! Discovery: `smart-configuration` below the FHIR base (SMART App Launch 2.2, "conformance"), `openid-configuration`
//! (OpenID Connect Discovery section 3) and RFC 8414 metadata at the issuer, and the public keys.
//!
//! Open to everybody and every origin, JSON whatever `Accept` says. Names only what works here.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::authorization_details::SMART_ON_FHIR;
use super::facts::Facts;
use super::pages::Language;
use super::{Answer, Grants, route};
use crate::jose::{AssertionAlgorithm, dpop};
use crate::listen::Inbound;
use crate::secret::Digest;

/// Which document is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// `BASE/.well-known/smart-configuration`
    SmartConfiguration,
    /// `/.well-known/openid-configuration`
    OpenIdConfiguration,
    /// `/.well-known/oauth-authorization-server`
    AuthorizationServerMetadata,
    /// `/jwks`
    Jwks,
    /// `/brands`, when `[brands]` is configured
    Brands,
}

/// The SMART capabilities that work here (SMART App Launch 2.2, "SMART on FHIR capabilities").
const CAPABILITIES: [&str; 19] = [
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
];

/// Scopes that every client can be registered for and that work; resource scopes of single types work too.
const SCOPES: [&str; 13] = [
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "launch/encounter",
    "offline_access",
    "online_access",
    "patient/*.rs",
    "patient/*.read",
    "user/*.rs",
    "user/*.read",
    "system/*.rs",
    "system/*.read",
];

/// Answers a request for a document. Discovery has no facts to record but the document's name.
pub fn respond(grants: &Grants, document: Document, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("discovery");
    let response = if inbound.method == Method::GET || inbound.method == Method::HEAD {
        serve(grants, document, inbound)
    } else {
        let mut refused = Response::new(Bytes::from_static(b"{\"error\":\"invalid_request\"}"));
        *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        refused.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        refused
    };
    Answer(response)
}

fn serve(grants: &Grants, document: Document, inbound: &Inbound) -> Response<Bytes> {
    let body = match document {
        Document::SmartConfiguration => text(smart_configuration(grants)),
        Document::OpenIdConfiguration => text(openid_configuration(grants)),
        Document::AuthorizationServerMetadata => text(authorization_server(grants)),
        Document::Jwks => grants.keys.jwks(),
        Document::Brands => match &grants.config.brands {
            Some(brands) => brands.bundle.clone(),
            None => return absent(),
        },
    };
    let mut tag = Digest::of(&String::from_utf8_lossy(&body)).to_hex();
    tag.truncate(32);
    let opaque = format!("\"{tag}\"");
    let unchanged = inbound.headers.get_all(IF_NONE_MATCH).iter().any(|value| names(value, &opaque));
    let (kind, tag) = match document {
        Document::Brands => ("application/fhir+json", format!("W/{opaque}")),
        _ => ("application/json", opaque),
    };
    let mut response = Response::new(if unchanged || inbound.method == Method::HEAD { Bytes::new() } else { body });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

fn absent() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Whether an `If-None-Match` names the tag; weak comparison (RFC 9110 section 13.1.2).
fn names(value: &HeaderValue, tag: &str) -> bool {
    let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.map(|listed| listed.strip_prefix("W/").unwrap_or(listed)).any(|listed| listed == tag || listed == "*")
}

/// What all three metadata documents say.
fn common(grants: &Grants) -> Map<String, Value> {
    let issuer = grants.config.issuer();
    let mut common = members(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}{}", route::AUTHORIZE),
        "token_endpoint": grants.token_endpoint(),
        "pushed_authorization_request_endpoint": format!("{issuer}{}", route::PAR),
        "require_pushed_authorization_requests": grants.config.tokens.require_pushed_authorization_requests,
        "jwks_uri": format!("{issuer}{}", route::JWKS),
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": AssertionAlgorithm::ALL.map(AssertionAlgorithm::name),
        "introspection_endpoint": format!("{issuer}{}", route::INTROSPECT),
        "introspection_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": AssertionAlgorithm::ALL.map(AssertionAlgorithm::name),
        "introspection_signing_alg_values_supported": ["RS256"],
        "revocation_endpoint": format!("{issuer}{}", route::REVOKE),
        "revocation_endpoint_auth_methods_supported":
            ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
        "revocation_endpoint_auth_signing_alg_values_supported": AssertionAlgorithm::ALL.map(AssertionAlgorithm::name),
        "grant_types_supported": [
            "authorization_code", "refresh_token", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "scopes_supported": SCOPES,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "dpop_signing_alg_values_supported": dpop::ALGORITHMS,
    }));
    if grants.config.registration.is_some() {
        common.insert("registration_endpoint".to_owned(), format!("{issuer}{}", route::REGISTER).into());
    }
    common
}

fn smart_configuration(grants: &Grants) -> Map<String, Value> {
    let mut document = common(grants);
    document.extend(members(json!({
        "capabilities": CAPABILITIES,
        "management_endpoint": format!("{}{}", grants.config.issuer(), route::MANAGE),
    })));
    if let Some(brands) = &grants.config.brands {
        document.extend(members(json!({
            "user_access_brand_bundle": format!("{}{}", grants.config.issuer(), route::BRANDS),
            "user_access_brand_identifier": { "system": brands.system, "value": brands.value },
        })));
    }
    document
}

fn authorization_server(grants: &Grants) -> Map<String, Value> {
    let mut document = common(grants);
    document.extend(members(json!({
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "authorization_details_types_supported": [SMART_ON_FHIR],
        "ui_locales_supported": Language::ALL.map(Language::tag),
    })));
    document
}

fn openid_configuration(grants: &Grants) -> Map<String, Value> {
    let mut document = authorization_server(grants);
    document.extend(members(json!({
        "userinfo_endpoint": format!("{}{}", grants.config.issuer(), route::USERINFO),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "fhirUser"],
        "end_session_endpoint": format!("{}{}", grants.config.issuer(), route::LOGOUT),
        "claims_parameter_supported": false,
        "prompt_values_supported": ["none", "login", "consent"],
    })));
    document
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn text(document: Map<String, Value>) -> Bytes {
    Bytes::from(Value::Object(document).to_string())
}

#[cfg(test)]
mod tests;
