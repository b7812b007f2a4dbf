//! The userinfo endpoint (OpenID Connect Core section 5.3): who gave an access token.
//!
//! Takes GET or POST with an access token in `Authorization`; gives `sub` and, where the scope was granted, `fhirUser`, as the
//! `id_token` has them. Promises: the token was issued here and holds at this moment, as introspection would say, and has the scope
//! `openid`; one that is bound to a key (RFC 9449) comes with a proof for this request and this token that was never seen
//! before. Tokens in the URL are refused and those in a form not read (RFC 9700 section 4.3.2).

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::facts::Facts;
use super::presented_token::PresentedToken;
use super::records::Grant;
use super::sender_constraint::{self, DPOP_NONCE, SenderConstraint};
use super::token_response::{fhir_user, subject};
use super::{Answer, CredentialsFailed, Grants};
use crate::jose::dpop;
use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind, uncacheable_json};
use crate::secret::Digest;
use crate::store::StoreError;

/// Why nothing is told.
#[derive(Debug)]
enum Refused {
    /// The request is none, or cannot be served now.
    Request(OAuthError),
    /// 401 without an error code: no token was sent (RFC 6750 section 3.1).
    NoToken,
    /// 401 `invalid_token`
    Token,
    /// 401 `invalid_dpop_proof` or `use_dpop_nonce` (RFC 9449 section 7.1)
    Proof(OAuthError),
    /// 403 `insufficient_scope`
    Scope,
}

/// Answers `GET` and `POST /userinfo`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("user_info");
    Answer(match tell(grants, inbound, facts).await {
        Ok(response) => response,
        Err(refused) => refused.response(grants, facts),
    })
}

async fn tell(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Response<Bytes>, Refused> {
    if ![Method::GET, Method::POST].contains(&inbound.method) {
        return Err(OAuthError::new(OAuthErrorKind::MethodNotAllowed, "GET or POST is expected").into());
    }
    let (is_bound, token) = presented(inbound)?;
    let recognised = PresentedToken::recognise(grants, token).await?;
    let Some(presented @ PresentedToken::Access(_)) = recognised else { return Err(Refused::Token) };
    let live = presented.live(grants).await?.ok_or(Refused::Token)?;
    let PresentedToken::Access(claims) = presented else { return Err(Refused::Token) };
    let client = grants.clients.find(&claims.client_id).ok_or(Refused::Token)?;
    let mut next_nonce = None;
    match claims.cnf.as_ref().map(|cnf| cnf.jkt.as_str()) {
        None if !is_bound => {}
        Some(jkt) if is_bound => {
            let sender = SenderConstraint::with_token(grants, inbound, &client, &Digest::of(token)).await;
            let sender = sender.map_err(Refused::Proof)?;
            sender.must_be(Some(jkt)).map_err(Refused::Proof)?;
            next_nonce = sender.next_nonce(grants);
        }
        None | Some(_) => return Err(Refused::Token),
    }
    facts.client_id = Some(claims.client_id.clone());
    facts.grant_id = Some(claims.gid.clone());
    facts.user = live.grant.as_ref().map(|grant| grant.user.clone());
    let scopes = claims.scope.split(' ').map(str::to_owned).collect();
    let grant = live.grant.map(|grant| Grant { scopes, ..grant });
    let grant = grant.filter(|grant| grant.scopes.iter().any(|scope| scope == "openid")).ok_or(Refused::Scope)?;
    let mut members = Map::new();
    members.insert("sub".to_owned(), subject(&grants.config.issuer(), &grant.user).into());
    members.extend(fhir_user(grants, &grant).map(|user| ("fhirUser".to_owned(), user.into())));
    let mut response = Response::new(Bytes::from(Value::Object(members).to_string()));
    uncacheable_json(response.headers_mut());
    response.headers_mut().extend(next_nonce.map(|nonce| (DPOP_NONCE, nonce)));
    Ok(response)
}

/// The token, and whether it is presented as one that is bound to a key.
fn presented(inbound: &Inbound) -> Result<(bool, &str), Refused> {
    let query = inbound.query.as_deref().unwrap_or_default();
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
        return Err(OAuthError::invalid_request("the access token is expected in Authorization, never in a URL").into());
    }
    let header = inbound
        .single_header(AUTHORIZATION.as_str())
        .map_err(|_| OAuthError::invalid_request("at most one Authorization header is expected"))?;
    let (scheme, token) = header.and_then(|header| header.split_once(' ')).ok_or(Refused::NoToken)?;
    let is = |name| scheme.eq_ignore_ascii_case(name);
    if is("Bearer") || is("DPoP") { Ok((is("DPoP"), token.trim_matches(' '))) } else { Err(Refused::NoToken) }
}

impl Refused {
    fn response(self, grants: &Grants, facts: &mut Facts) -> Response<Bytes> {
        let (status, code, description) = match &self {
            Self::Request(error) => {
                facts.reason.get_or_insert(error.code());
                let mut response = error.response();
                if error.kind == OAuthErrorKind::MethodNotAllowed {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
                }
                return response;
            }
            Self::Proof(error) if error.kind == OAuthErrorKind::Unavailable => return error.response(),
            Self::Proof(error) => (StatusCode::UNAUTHORIZED, error.code(), error.description),
            Self::NoToken => (StatusCode::UNAUTHORIZED, "invalid_token", "an access token is expected"),
            Self::Token => (
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "an access token that holds is expected, with the scheme that it was given with",
            ),
            Self::Scope => {
                (StatusCode::FORBIDDEN, "insufficient_scope", "an access token with the scope openid is expected")
            }
        };
        facts.reason.get_or_insert(code);
        let body = json!({ "error": code, "error_description": description }).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        uncacheable_json(headers);
        let challenge = match &self {
            Self::Proof(error) => {
                headers.extend(
                    sender_constraint::response(grants, error)
                        .headers_mut()
                        .remove(DPOP_NONCE)
                        .map(|nonce| (DPOP_NONCE, nonce)),
                );
                format!("DPoP realm=\"userinfo\", error=\"{code}\", algs=\"{}\"", dpop::ALGORITHMS.join(" "))
            }
            Self::NoToken => "Bearer realm=\"userinfo\"".to_owned(),
            Self::Scope => format!("Bearer realm=\"userinfo\", error=\"{code}\", scope=\"openid\""),
            Self::Token | Self::Request(_) => format!("Bearer realm=\"userinfo\", error=\"{code}\""),
        };
        headers.extend(HeaderValue::from_str(&challenge).ok().map(|challenge| (WWW_AUTHENTICATE, challenge)));
        let guessed = match &self {
            Self::Token => true,
            Self::Proof(error) => error.is_failed_credentials(),
            Self::Request(_) | Self::NoToken | Self::Scope => false,
        };
        if guessed {
            response.extensions_mut().insert(CredentialsFailed);
        }
        response
    }
}

impl From<OAuthError> for Refused {
    fn from(error: OAuthError) -> Self {
        Self::Request(error)
    }
}

impl From<StoreError> for Refused {
    fn from(StoreError(error): StoreError) -> Self {
        tracing::error!(error, "the userinfo endpoint could not use the store");
        Self::Request(OAuthError::unavailable())
    }
}
