//! `/logout`: ends the browser's session, and with it the grants with `online_access` that were given in it (OpenID Connect
//! RP-Initiated Logout 1.0). Where an OpenID provider logged the person in, they may sign out there, too ([`at_provider`]); and
//! it tells us when they signed out there ([`back_channel`]).
//!
//! Takes `client_id` or `id_token_hint`, `post_logout_redirect_uri` and `state`, by GET or by POST; gives a page that asks,
//! and after the answer the way back to the app. Promises: nobody is signed out but by the form on that page; the browser is
//! sent nowhere but to a URI that is registered for that very client, compared as strings. A hint is no proof: whose it is
//! only tells which client's URIs count.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderValue, SET_COOKIE};
use http::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::authorization_response::see_other;
use super::continuation::problem;
use super::facts::Facts;
use super::form::Form;
use super::pages::{Frame, Language, LoggedOutPage, LogoutPage, Problem, render};
use super::session::{self, LiveSession};
use super::{Answer, Grants, route};
use crate::federation::RelyingParty;
use crate::listen::Inbound;
use crate::store::StoreError;

pub mod at_provider;
pub mod back_channel;

/// The name that binds the anti-CSRF token of this form; see [`LiveSession::csrf`].
pub(super) const FORM: &str = "logout";

/// Bytes of `state` that are carried along.
const MAX_STATE: usize = 4096;

/// Where to go afterwards.
#[derive(Debug, Default)]
struct Request {
    /// The app that asked, when it is registered.
    client: Option<(String, String)>,
    /// Verified.
    redirect_uri: Option<String>,
    state: Option<String>,
    /// `ui_locales`, or what the browser prefers.
    language: Language,
}

/// Answers `GET` and `POST /logout`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("logout_asked");
    let form = match inbound.method {
        Method::GET => Form::parse(inbound.query.as_deref().unwrap_or_default().as_bytes()),
        Method::POST => Form::posted(inbound),
        _ => return problem(grants, inbound, facts, Problem::MethodNotAllowed("GET, POST")),
    };
    let Some(form) = form.filter(|form| !form.has_repeated()) else {
        return problem(grants, inbound, facts, Problem::NotAForm);
    };
    let language = form.only("ui_locales").and_then(Language::of_ui_locales);
    let language = language.unwrap_or_else(|| Language::accepted(&inbound.headers));
    let request = Request::of(grants, &form, language);
    let Ok(session) = session::resume(grants, &inbound.headers).await else {
        return problem(grants, inbound, facts, Problem::StoreUnavailable);
    };
    let Some(session) = session else {
        if inbound.method == Method::POST {
            // From another site a browser sends a form without our cookie, and the GET after it with the cookie.
            return see_other(&request.path());
        }
        // Nobody is signed in: what is asked for is so already.
        return onward(grants, language, request.redirect_uri.as_deref(), request.state.as_deref());
    };
    facts.user = Some(session.user.clone());
    match form.only("csrf").filter(|_| inbound.method == Method::POST) {
        // An app may post here, too (section 2): it is asked about like a GET.
        None => request.page(grants, &session).await,
        Some(token) if session.csrf_matches(FORM, token) => {
            facts.action = Some("logged_out");
            if let Err(StoreError(error)) = session::log_out(grants, &session).await {
                tracing::error!(error, "a session could not be ended");
                return problem(grants, inbound, facts, Problem::StoreUnavailable);
            }
            let mut answer = match provider(grants, &session).await {
                Some(there) if form.only("where") == Some("provider") => {
                    at_provider::send(grants, inbound, facts, there, &request).await
                }
                Some(_) | None => onward(grants, language, request.redirect_uri.as_deref(), request.state.as_deref()),
            };
            if let Ok(cookie) = HeaderValue::from_str(&session::no_session_cookie(&grants.config)) {
                answer.0.headers_mut().append(SET_COOKIE, cookie);
            }
            answer
        }
        Some(_) => problem(grants, inbound, facts, Problem::Forged),
    }
}

impl Request {
    fn of(grants: &Grants, form: &Form, language: Language) -> Self {
        let hinted = form.only("id_token_hint").and_then(audience);
        let named = form.only("client_id").map(str::to_owned);
        let client_id = match (named, hinted) {
            // They must be the same where both are sent (section 2).
            (Some(named), Some(hinted)) if named != hinted => None,
            (named, hinted) => named.or(hinted),
        };
        let Some(client) = client_id.and_then(|client_id| grants.clients.find(&client_id)) else {
            return Self { language, ..Self::default() };
        };
        let registered = &client.config.post_logout_redirect_uris;
        let asked = form.only("post_logout_redirect_uri");
        Self {
            client: Some((client.config.client_id.clone(), client.config.client_name.clone())),
            redirect_uri: asked.filter(|asked| registered.iter().any(|known| known == asked)).map(str::to_owned),
            state: form.only("state").filter(|state| state.len() <= MAX_STATE).map(str::to_owned),
            language,
        }
    }

    /// What the app asked for, as far as it may.
    fn parameters(&self) -> Vec<(&'static str, &str)> {
        let parameters = [
            ("client_id", self.client.as_ref().map(|(client_id, _)| client_id.as_str())),
            ("post_logout_redirect_uri", self.redirect_uri.as_deref()),
            ("state", self.state.as_deref()),
        ];
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// This page, asked by GET for the same.
    fn path(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.parameters()).append_pair("ui_locales", self.language.tag());
        format!("{}?{}", route::LOGOUT, query.finish())
    }

    async fn page(&self, grants: &Grants, session: &LiveSession) -> Answer {
        let provider = provider(grants, session).await;
        let page = LogoutPage {
            frame: Frame::new(&grants.config, self.language),
            user: &session.user.display_name,
            csrf: &session.csrf(FORM),
            app: self.client.as_ref().map(|(_, name)| name.as_str()),
            provider: provider.map(|(provider, _)| provider.config.name.as_str()),
            parameters: &self.parameters(),
        };
        render(&page, StatusCode::OK, self.redirect_uri.as_deref())
    }
}

/// The OpenID provider that logged the person in, and where they sign out there.
pub(super) async fn provider<'a>(grants: &'a Grants, session: &LiveSession) -> Option<(&'a RelyingParty, Url)> {
    let provider = grants.providers.of_issuer(&session.user.iss)?;
    Some((provider, provider.end_session_endpoint().await?))
}

/// Back to the app, or a page that says that it is done.
fn onward(grants: &Grants, language: Language, redirect_uri: Option<&str>, state: Option<&str>) -> Answer {
    let Some(redirect_uri) = redirect_uri else {
        return render(&LoggedOutPage { frame: Frame::new(&grants.config, language) }, StatusCode::OK, None);
    };
    let mut target = redirect_uri.to_owned();
    if let Some(state) = state {
        let separator = if target.contains('?') { '&' } else { '?' };
        target.push(separator);
        let state = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
        target.push_str(&state);
    }
    see_other(&target)
}

/// `aud` of an `id_token` that is not verified; `None` for another kind of JWT.
fn audience(hint: &str) -> Option<String> {
    let mut parts = hint.split('.').map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok());
    let (header, claims): (Value, Value) = (parts.next()??, parts.next()??);
    let aud = claims.get("aud").filter(|_| header.get("typ").is_some_and(|typ| typ == "JWT"));
    aud?.as_str().map(str::to_owned)
}
