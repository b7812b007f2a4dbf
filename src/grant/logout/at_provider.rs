//! The logout goes on at the OpenID provider (OpenID Connect RP-Initiated Logout 1.0): `GET /logout/callback/ID` takes the
//! browser back.
//!
//! Takes what the logout page was told; gives the way to the provider, and afterwards the way on to the app. Promises: the
//! session here is over before the browser leaves; where the browser goes on was checked before and waits in the store, under a
//! `state` that is good once, for ten minutes, in this browser, and for this provider; without it the browser is sent nowhere.

use http::Method;
use http::StatusCode;
use http::header::{HeaderValue, SET_COOKIE};
use url::Url;

use super::super::continuation::problem;
use super::super::facts::Facts;
use super::super::form::Form;
use super::super::grants::{from_json, to_json};
use super::super::pages::{Frame, Language, Problem, ProviderPage, render};
use super::super::records::ProviderLogout;
use super::super::session::{cookie, cookie_name, resume, set_cookie};
use super::super::{Answer, Grants, route};
use super::{Request, onward};
use crate::federation::RelyingParty;
use crate::listen::Inbound;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

/// Seconds that a person may take at the provider.
const LIFETIME: u32 = 600;

/// Sends the browser to the provider.
pub(super) async fn send(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    (provider, endpoint): (&RelyingParty, Url),
    request: &Request,
) -> Answer {
    let (state, browser) = (random::handle(), random::handle());
    let begun = ProviderLogout {
        provider: provider.config.id.clone(),
        browser: Digest::of(&browser).to_hex(),
        redirect_uri: request.redirect_uri.clone(),
        state: request.state.clone(),
    };
    if keep(grants, &state, &begun).await.is_err() {
        return problem(grants, inbound, facts, Problem::StoreUnavailable);
    }
    facts.detail = Some(format!("goes on at the provider `{}`", provider.config.id));
    let url = provider.end_session_url(&endpoint, &state);
    let page = ProviderPage {
        frame: Frame::new(&grants.config, request.language),
        provider: &provider.config.name,
        url: url.as_str(),
        out: true,
    };
    with_cookie(grants, render(&page, StatusCode::OK, None), &browser, LIFETIME)
}

async fn keep(grants: &Grants, state: &str, begun: &ProviderLogout) -> Result<(), StoreError> {
    let expires = grants.clock.unix_seconds().saturating_add(LIFETIME.into());
    let entry = Entry { value: to_json(begun)?, expires, owner: None };
    grants.store.put(Kind::ProviderLogout, Digest::of(state), entry).await
}

/// Answers `GET /logout/callback/ID`.
pub async fn callback(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("logout_returned");
    if inbound.method != Method::GET {
        return problem(grants, inbound, facts, Problem::MethodNotAllowed("GET"));
    }
    let form = Form::parse(inbound.query.as_deref().unwrap_or_default().as_bytes());
    let Some(form) = form.filter(|form| !form.has_repeated()) else {
        return problem(grants, inbound, facts, Problem::NotAForm);
    };
    let found = match taken(grants, inbound, form.only("state").unwrap_or_default()).await {
        Ok(found) => found,
        Err(StoreError(error)) => {
            tracing::error!(error, "a logout could not be looked up");
            return problem(grants, inbound, facts, Problem::StoreUnavailable);
        }
    };
    let language = Language::accepted(&inbound.headers);
    let answer = match found {
        Some(begun) => onward(grants, language, begun.redirect_uri.as_deref(), begun.state.as_deref()),
        None => match resume(grants, &inbound.headers).await {
            // Reloaded, or nobody of ours sent the browser here.
            Ok(None) => onward(grants, language, None, None),
            Ok(Some(_)) => super::see_other(route::LOGOUT),
            Err(_) => problem(grants, inbound, facts, Problem::StoreUnavailable),
        },
    };
    with_cookie(grants, answer, "", 0)
}

/// What waits under `state`, when this browser began it, with this provider.
async fn taken(grants: &Grants, inbound: &Inbound, state: &str) -> Result<Option<ProviderLogout>, StoreError> {
    let Some(browser) = cookie(&inbound.headers, &name(grants)) else { return Ok(None) };
    let (key, now) = (Digest::of(state), grants.clock.unix_seconds());
    let Some(entry) = grants.store.read(Kind::ProviderLogout, key, now).await? else { return Ok(None) };
    let begun: ProviderLogout = from_json(&entry.value)?;
    let provider = inbound.path.strip_prefix(route::LOGOUT_CALLBACK).unwrap_or_default();
    if begun.provider != provider || begun.browser != Digest::of(&browser).to_hex() {
        return Ok(None);
    }
    Ok(grants.store.take_once(Kind::ProviderLogout, key, now).await?.map(|_| begun))
}

fn name(grants: &Grants) -> String {
    cookie_name(&grants.config, "logout")
}

fn with_cookie(grants: &Grants, mut answer: Answer, value: &str, max_age: u32) -> Answer {
    if let Ok(cookie) = HeaderValue::from_str(&set_cookie(&grants.config, &name(grants), value, Some(max_age))) {
        answer.0.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}
