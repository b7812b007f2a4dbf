//! The introspection endpoint (RFC 7662, SMART App Launch 2.2 "token introspection"): whether a token holds, and for what.
//!
//! Takes a posted `token` from a resource server: a client that is configured with `introspects` and authenticates, or the
//! bearer of an access token of such a client with the scope `introspect`. Gives the launch context exactly as the token
//! response had it. Promises: whatever does not hold gets the same `{"active":false}` with the same work; the token that is
//! asked about is never the credential, in whichever place it came; who asks for a signed answer gets the same one as a JWT for
//! itself (RFC 9701), which is no token.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::authorization_details::AuthorizationDetails;
use super::back_channel_form::Form;
use super::client_authentication::Requester;
use super::facts::Facts;
use super::grants;
use super::presented_token::{Live, PresentedToken};
use super::quality::{MOST, weight};
use super::records::Grant;
use super::token_response::{LaunchMembers, fhir_user, subject};
use super::{Answer, CredentialsFailed, Grants, route};
use crate::config::ClientAuthentication;
use crate::jose::{AccessTokenClaims, Confirmation, IntrospectionClaims};
use crate::listen::Inbound;
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind, uncacheable_json};
use crate::smart::scope::INTROSPECT;
use crate::store::StoreError;

/// Parameters of a client that authenticates; not to be sent beside a bearer token (RFC 6749 section 2.3).
const CLIENT_CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

/// What a signed answer is asked for by, and is (RFC 9701 sections 4 and 5).
const SIGNED: &str = "application/token-introspection+jwt";

/// Why there is no answer.
#[derive(Debug)]
enum Refused {
    OAuth(OAuthError),
    /// 401 without an error code: no credentials were sent (RFC 6750 section 3.1).
    NoCredentials,
    /// 401 `invalid_token`
    InvalidToken,
    /// 403 `insufficient_scope`
    InsufficientScope,
}

/// Answers `POST /introspect`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("token_introspected");
    Answer(match introspect(grants, inbound, facts).await {
        Ok(response) => response,
        Err(refused) => refused.response(facts),
    })
}

async fn introspect(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Response<Bytes>, Refused> {
    let form = Form::posted(inbound)?;
    let asking = authorise(grants, inbound, &form, facts).await?;
    let token = form.value("token").ok_or(OAuthError::invalid_request("token is expected"))?;
    let told = tell(grants, token, facts).await?;
    let signed = prefers_signed(&inbound.headers);
    let mut response = Response::new(if signed { sign(grants, &asking, &told)? } else { told });
    uncacheable_json(response.headers_mut());
    if signed {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(SIGNED));
    }
    Ok(response)
}

/// What there is to tell of `token`, as JSON.
async fn tell(grants: &Grants, token: &str, facts: &mut Facts) -> Result<Bytes, Refused> {
    let Some(presented) = PresentedToken::recognise(grants, token).await? else { return Ok(inactive()) };
    let Some(live) = presented.live(grants).await? else { return Ok(inactive()) };
    facts.grant_id = Some(presented.grant_id().to_owned());
    if let Some(grant) = &live.grant {
        facts.patient.clone_from(&grant.patient);
        facts.encounter.clone_from(&grant.encounter);
    }
    // The grant of a client that acts for itself gives no context, only whether it asked for details.
    let own = if live.grant.is_none() { grants::find(grants, presented.grant_id()).await? } else { None };
    let mut holding = Holding::of(grants, &presented, &live);
    let grant = live.grant.as_ref().or(own.as_ref());
    holding.authorization_details = grant.and_then(|grant| AuthorizationDetails::of(grants, grant, &holding.scope));
    let body = serde_json::to_vec(&holding);
    body.map(Bytes::from).map_err(|_| OAuthError::unavailable().into())
}

/// What was told, as a JWT for the client `asking`.
fn sign(grants: &Grants, asking: &str, told: &[u8]) -> Result<Bytes, OAuthError> {
    let token_introspection: &RawValue = serde_json::from_slice(told).map_err(|_| OAuthError::unavailable())?;
    let (iss, iat) = (&grants.config.issuer(), grants.clock.unix_seconds());
    let claims = IntrospectionClaims { iss, aud: asking, iat, token_introspection };
    grants.keys.sign_introspection(&claims).map(Bytes::from).map_err(|_| OAuthError::unavailable())
}

/// Whether the signed answer is named in `Accept`, and JSON is not wanted as much.
fn prefers_signed(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
    let ranges: Vec<(String, u16)> = fields.flat_map(|field| field.split(',')).take(MOST).filter_map(range).collect();
    let weight_of = |name: &str| ranges.iter().find(|(range, _)| range == name).map(|(_, weight)| *weight);
    let signed = weight_of(SIGNED).unwrap_or_default();
    if let Some(json) = weight_of("application/json") {
        return signed > json;
    }
    // What is named comes before what a wildcard lets in.
    signed > 0 && weight_of("application/*").or_else(|| weight_of("*/*")).is_none_or(|json| signed >= json)
}

/// A media range in lower case and its weight (RFC 9110 section 12.5.1).
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let q = parts.find(|part| part.starts_with("q=") || part.starts_with("Q="));
    Some((name, q.map_or(Some(1_000), weight)?))
}

/// The client that may ask, whose request it is.
async fn authorise(grants: &Grants, inbound: &Inbound, form: &Form, facts: &mut Facts) -> Result<String, Refused> {
    let header = inbound
        .single_header(AUTHORIZATION.as_str())
        .map_err(|_| OAuthError::invalid_request("at most one Authorization header is expected"))?;
    if let Some((scheme, bearer)) = header.and_then(|header| header.split_once(' '))
        && scheme.eq_ignore_ascii_case("Bearer")
    {
        if CLIENT_CREDENTIALS.into_iter().any(|name| form.value(name).is_some()) {
            return Err(OAuthError::invalid_request("exactly one kind of credentials is expected").into());
        }
        return authorise_bearer(grants, bearer.trim_matches(' '), form.value("token"), facts).await;
    }
    let authenticator = grants.authenticator(route::INTROSPECT);
    let Requester::Client(client) = authenticator.authenticate(inbound, form).await? else {
        return Err(Refused::NoCredentials);
    };
    if matches!(client.config.authentication, ClientAuthentication::None) {
        return Err(OAuthError::invalid_client(Challenge::None).into());
    }
    facts.client_id = Some(client.config.client_id.clone());
    if client.config.introspects {
        Ok(client.config.client_id.clone())
    } else {
        Err(OAuthError::new(OAuthErrorKind::ClientForbidden, "the client is not one that may introspect tokens").into())
    }
}

/// The client whose access token lets its bearer ask. A token that is bound to a key is no bearer token.
async fn authorise_bearer(
    grants: &Grants,
    bearer: &str,
    asked_about: Option<&str>,
    facts: &mut Facts,
) -> Result<String, Refused> {
    if asked_about == Some(bearer) {
        return Err(Refused::InvalidToken);
    }
    let Some(presented) = PresentedToken::recognise(grants, bearer).await? else { return Err(Refused::InvalidToken) };
    let PresentedToken::Access(claims) = &presented else { return Err(Refused::InvalidToken) };
    let Some(live) = presented.live(grants).await?.filter(|_| claims.cnf.is_none()) else {
        return Err(Refused::InvalidToken);
    };
    facts.client_id = Some(claims.client_id.clone());
    facts.user = live.grant.map(|grant| grant.user);
    let may = grants.clients.find(&claims.client_id).is_some_and(|client| client.config.introspects);
    if may && claims.scope.split(' ').any(|scope| scope == INTROSPECT) {
        Ok(claims.client_id.clone())
    } else {
        Err(Refused::InsufficientScope)
    }
}

fn inactive() -> Bytes {
    Bytes::from_static(b"{\"active\":false}")
}

/// The answer about a token that holds (RFC 7662 section 2.2).
#[derive(Debug, Serialize)]
struct Holding<'a> {
    active: bool,
    client_id: &'a str,
    scope: String,
    exp: i64,
    iat: i64,
    iss: String,
    sub: String,
    aud: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(rename = "fhirUser", skip_serializing_if = "Option::is_none")]
    fhir_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encounter: Option<&'a str>,
    #[serde(flatten)]
    launch: Option<LaunchMembers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_details: Option<[AuthorizationDetails<'a>; 1]>,
}

impl<'a> Holding<'a> {
    fn of(grants: &Grants, presented: &'a PresentedToken, live: &'a Live) -> Self {
        let grant = live.grant.as_ref();
        let iss = grants.config.issuer();
        let mut holding = Self {
            active: true,
            client_id: presented.client_id(),
            scope: grant.map(|grant| grant.scopes.join(" ")).unwrap_or_default(),
            exp: 0,
            iat: grant.map_or(0, |grant| grant.granted_at),
            sub: grant.map_or_else(|| presented.client_id().to_owned(), |grant| subject(&iss, &grant.user)),
            iss,
            aud: grants.config.fhir_base(),
            token_type: None,
            jti: None,
            cnf: None,
            fhir_user: grant.and_then(|grant| fhir_user(grants, grant)),
            patient: grant.and_then(|grant| grant.patient.as_deref()),
            encounter: grant.and_then(|grant| grant.encounter.as_deref()),
            launch: grant.and_then(|Grant { launch, .. }| launch.as_ref()).map(LaunchMembers::of),
            authorization_details: None,
        };
        match presented {
            PresentedToken::Access(claims) => holding.access(claims),
            PresentedToken::Refresh { record, expires } => {
                holding.exp = expires.unwrap_or_default();
                holding.cnf = record.jkt.clone().map(|jkt| Confirmation { jkt });
            }
        }
        holding
    }

    fn access(&mut self, claims: &'a AccessTokenClaims) {
        self.scope.clone_from(&claims.scope);
        self.exp = claims.exp;
        self.iat = claims.iat;
        self.token_type = Some(if claims.cnf.is_some() { "DPoP" } else { "Bearer" });
        self.jti = Some(&claims.jti);
        self.cnf.clone_from(&claims.cnf);
        // The grant may have the scope where a token that was narrowed has not.
        self.fhir_user = self.fhir_user.take().filter(|_| claims.scope.split(' ').any(|scope| scope == "fhirUser"));
    }
}

impl Refused {
    fn response(&self, facts: &mut Facts) -> Response<Bytes> {
        let (status, code, description, challenge) = match self {
            Self::OAuth(error) => {
                facts.reason.get_or_insert(error.code());
                let mut response = error.response();
                if error.is_failed_credentials() {
                    response.extensions_mut().insert(CredentialsFailed);
                }
                return response;
            }
            Self::NoCredentials => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "client authentication or an access token is expected",
                "Bearer realm=\"introspection\"",
            ),
            Self::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "an access token that is good, and not the one that is asked about, is expected",
                "Bearer realm=\"introspection\", error=\"invalid_token\"",
            ),
            Self::InsufficientScope => (
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "an access token with the scope introspect is expected",
                "Bearer realm=\"introspection\", error=\"insufficient_scope\", scope=\"introspect\"",
            ),
        };
        facts.reason.get_or_insert(code);
        let body = serde_json::json!({ "error": code, "error_description": description }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        uncacheable_json(response.headers_mut());
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        if matches!(self, Self::InvalidToken) {
            response.extensions_mut().insert(CredentialsFailed);
        }
        response
    }
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self::OAuth(error)
    }
}

impl From<StoreError> for Refused {
    fn from(StoreError(error): StoreError) -> Self {
        tracing::error!(error, "the introspection endpoint could not use the store");
        Self::OAuth(OAuthError::unavailable())
    }
}

#[cfg(test)]
mod tests;
