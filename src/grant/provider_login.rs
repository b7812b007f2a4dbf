//! Login with an OpenID provider: `POST /login/provider` sends the browser there, `GET /login/callback/ID` takes it back.
//!
//! Takes the form of the login page (`provider`, `transaction`), later the provider's authorization response (`state`, `code`
//! or `error`, `iss`); gives the way to the provider, a new session and the way on, or a page with a way back. The management
//! page has its own form and comes here, too; what a login is for is its `Errand`. Promises: a
//! state is good once, for ten minutes, in the browser whose errand it belongs to, and for the provider it was made for;
//! each provider has a redirect URI of its own (RFC 9700 section 4.4.2.1), and `iss` must be its own where it is sent (RFC
//! 9207); nonce and PKCE verifier are made from the state and the cookie that binds the browser, so that neither the store
//! nor the URL gives them away. Error texts of the provider are not shown. What a provider may say about a person is the
//! business of [`crate::federation`].

use std::sync::Arc;

use http::{Method, StatusCode};

use super::authorization_response::see_other;
use super::continuation::{self, Who, onward, posted_for, problem};
use super::facts::Facts;
use super::form::Form;
use super::grants::to_json;
use super::login;
use super::management;
use super::pages::{Frame, Problem, ProviderPage, render};
use super::records::ProviderLogin;
use super::session::{self, LiveSession, Proved};
use super::transaction::OpenTransaction;
use super::{Answer, CredentialsFailed, Grants, route};
use super::{foreign, framing};
use crate::admit::Presenter;
use crate::federation::id_token::Freshness;
use crate::federation::{FederationError, LoggedIn, RelyingParty, Return, Start};
use crate::listen::Inbound;
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

mod errand;

pub(super) use errand::{Errand, ManageBrowser};

/// Seconds that a person may take at the provider.
const LIFETIME: i64 = 600;
/// Longest `state`, `code` and `iss` that are looked at, in bytes.
const MAX_PARAMETER: usize = 4_096;

/// The reason of a login with an ID token that is not good, for the audit log.
pub(super) const ID_TOKEN_INVALID: &str = "id_token_invalid";

/// How the browser is sent to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a redirect, where the browser came by a plain GET.
    Redirect,
    /// By a page, where it sent a form: Chromium would hold every address that the provider redirects to against the
    /// `form-action` of the page with the form, and nobody can list those.
    Page,
}

/// Answers `POST /login/provider`.
pub async fn start(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("login_started");
    let (form, open, session) = match posted_for(grants, inbound).await {
        Ok(found) => found,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    facts.transaction(&open.state);
    if let Err(seconds) = grants.login.admit_request(Presenter::new(inbound.peer.ip(), false)) {
        return problem(grants, inbound, facts, Problem::TooMany(seconds));
    }
    let who = continuation::who(&open.state, session.as_ref(), grants.clock.unix_seconds());
    if open.state.prompt_none || matches!(who, Who::Known(_)) {
        facts.action = Some("authorization_continued");
        return onward(&open);
    }
    match form.only("provider").and_then(|id| grants.providers.find(id)) {
        Some(provider) => send(grants, inbound, facts, (&open, session.as_ref()), provider, Way::Page).await,
        None => problem(grants, inbound, facts, Problem::NotOffered),
    }
}

/// Sends the browser to `provider` for an app; out of a frame first, where the transaction is in one.
pub(super) async fn send(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    (open, session): (&OpenTransaction, Option<&LiveSession>),
    provider: &Arc<RelyingParty>,
    way: Way,
) -> Answer {
    if open.state.embedded() {
        let out = framing::way_out_of(grants, open).await;
        return out.unwrap_or_else(|found| problem(grants, inbound, facts, found));
    }
    let now = grants.clock.unix_seconds();
    // Somebody else is logged in than the launch names: without a new login the provider would give the same person again.
    let other = matches!(continuation::who(&open.state, session, now), Who::Other);
    let asked = Asked {
        anew: open.state.prompt_login || other,
        max_age: open.state.max_age,
        login_hint: open.state.login_hint.as_deref(),
    };
    send_for(grants, inbound, facts, Errand::App(open), provider, (asked, way)).await
}

/// What is asked of the provider besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// A new login.
    pub(super) anew: bool,
    /// `max_age`
    pub(super) max_age: Option<i64>,
    /// `login_hint`
    pub(super) login_hint: Option<&'a str>,
}

/// Sends the browser to `provider`.
pub(super) async fn send_for(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    errand: Errand<'_>,
    provider: &Arc<RelyingParty>,
    (asked, way): (Asked<'_>, Way),
) -> Answer {
    let now = grants.clock.unix_seconds();
    let state = errand.state();
    let (nonce, verifier) = (errand.bound("nonce", &state), errand.bound("verifier", &state));
    let begun = ProviderLogin {
        provider: provider.config.id.clone(),
        since: asked.anew.then_some(now),
        max_age: asked.max_age,
        browser: errand.browser(),
    };
    let start = Start {
        state: &state,
        nonce: &nonce,
        verifier: &verifier,
        anew: asked.anew,
        max_age: asked.max_age,
        login_hint: asked.login_hint,
    };
    let url = match provider.authorization_url(&start).await {
        Ok(url) => url,
        Err(error) => return failed(grants, facts, errand, provider, &error),
    };
    if keep(grants, &state, &begun, now).await.is_err() {
        return problem(grants, inbound, facts, Problem::StoreUnavailable);
    }
    match way {
        Way::Redirect => see_other(url.as_str()),
        Way::Page => {
            let page = ProviderPage {
                frame: Frame::new(&grants.config, errand.language()),
                provider: &provider.config.name,
                url: url.as_str(),
                out: false,
            };
            render(&page, StatusCode::OK, None)
        }
    }
}

async fn keep(grants: &Grants, state: &str, begun: &ProviderLogin, now: i64) -> Result<(), StoreError> {
    let entry = Entry { value: to_json(begun)?, expires: now.saturating_add(LIFETIME), owner: None };
    grants.store.put(Kind::ProviderLogin, Digest::of(state), entry).await
}

/// Answers `GET /login/callback/ID`.
pub async fn callback(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("login");
    if inbound.method != Method::GET {
        return problem(grants, inbound, facts, Problem::MethodNotAllowed("GET"));
    }
    let query = inbound.query.as_deref().unwrap_or_default();
    let form = Form::parse(query.as_bytes()).filter(|form| !form.has_repeated());
    let Some(form) = form else { return problem(grants, inbound, facts, Problem::NotAForm) };
    let short = |name: &str| form.only(name).filter(|value| !value.is_empty() && value.len() <= MAX_PARAMETER);
    let response = AuthorizationResponse {
        provider: inbound.path.strip_prefix(route::LOGIN_CALLBACK).unwrap_or_default(),
        state: short("state").unwrap_or_default(),
        code: short("code"),
        error: form.only("error").is_some(),
        iss: form.only("iss"),
    };
    let bound = match Bound::of(grants, inbound, response.state).await {
        Ok(bound) => bound,
        // The login was done in this browser: the person reloaded the page, or went back.
        Err(Problem::OtherBrowser) if errand::is_of_page(response.state) && is_signed_in(grants, inbound).await => {
            return see_other(route::MANAGE);
        }
        // A page of anybody's can send a browser here: nobody behind its address guesses, nor could this be guessed.
        Err(found) if foreign::is_sent_by_a_page(&inbound.headers) => return problem(grants, inbound, facts, found),
        Err(found) => return guessed(problem(grants, inbound, facts, found)),
    };
    if let Err(seconds) = grants.login.admit_request(Presenter::new(inbound.peer.ip(), false)) {
        return problem(grants, inbound, facts, Problem::TooMany(seconds));
    }
    if let Bound::App(open) = &bound {
        facts.transaction(&open.state);
        // Who was known before is not who logs in.
        facts.user = None;
    }
    match accepted(grants, &bound, &response).await {
        Ok(Some(accepted)) => finish(grants, inbound, facts, (bound, accepted), &response).await,
        // The person went back, or reloaded: what comes next is decided by what is known already.
        Ok(None) => see_other(&bound.errand().path()),
        Err(found) => guessed(problem(grants, inbound, facts, found)),
    }
}

async fn is_signed_in(grants: &Grants, inbound: &Inbound) -> bool {
    session::resume(grants, &inbound.headers).await.is_ok_and(|session| session.is_some())
}

/// What the provider sent the browser back with.
struct AuthorizationResponse<'a> {
    provider: &'a str,
    state: &'a str,
    code: Option<&'a str>,
    error: bool,
    iss: Option<&'a str>,
}

/// A response to a login that began in this browser, with this provider.
struct Accepted {
    begun: ProviderLogin,
    provider: Arc<RelyingParty>,
}

/// What the login was for, as far as the browser still knows.
enum Bound {
    App(Box<OpenTransaction>),
    Manage(ManageBrowser),
}

impl Bound {
    /// Whose login `state` is, when the browser sent the cookie that belongs to it.
    async fn of(grants: &Grants, inbound: &Inbound, state: &str) -> Result<Self, Problem<'static>> {
        let (handle, _) = state.split_once('.').ok_or(Problem::NoTransaction)?;
        if errand::is_of_page(state) {
            return ManageBrowser::of(grants, inbound).map(Self::Manage).ok_or(Problem::OtherBrowser);
        }
        OpenTransaction::resume(grants, Some(handle), inbound).await.map(|open| Self::App(Box::new(open)))
    }

    fn errand(&self) -> Errand<'_> {
        match self {
            Self::App(open) => Errand::App(open),
            Self::Manage(browser) => Errand::Manage(browser),
        }
    }
}

/// Spends the state, which was seen to be this browser's. `None`: it is used or too old.
async fn accepted(
    grants: &Grants,
    bound: &Bound,
    response: &AuthorizationResponse<'_>,
) -> Result<Option<Accepted>, Problem<'static>> {
    let now = grants.clock.unix_seconds();
    let taken = grants.store.take_once(Kind::ProviderLogin, Digest::of(response.state), now).await;
    let Some(entry) = taken.map_err(|_| Problem::StoreUnavailable)? else { return Ok(None) };
    let begun: ProviderLogin = serde_json::from_slice(&entry.value).map_err(|_| Problem::NoTransaction)?;
    if begun.browser != bound.errand().browser() {
        return Err(Problem::OtherBrowser);
    }
    let provider = grants.providers.find(&begun.provider).filter(|provider| provider.config.id == response.provider);
    let provider = Arc::clone(provider.ok_or(Problem::MixedUp)?);
    Ok(Some(Accepted { begun, provider }))
}

async fn finish(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    (bound, accepted): (Bound, Accepted),
    response: &AuthorizationResponse<'_>,
) -> Answer {
    let Accepted { begun, provider } = accepted;
    match provider.is_response_of(response.iss).await {
        Ok(true) => {}
        Ok(false) => return guessed(problem(grants, inbound, facts, Problem::MixedUp)),
        Err(error) => return failed(grants, facts, bound.errand(), &provider, &error),
    }
    let Some(code) = response.code.filter(|_| !response.error) else {
        facts.reason = Some("provider_refused_login");
        return bound.errand().problem_page(
            grants,
            &provider,
            (StatusCode::FORBIDDEN, bound.errand().t().nobody_signed_in),
        );
    };
    let back = Return {
        code,
        nonce: &bound.errand().bound("nonce", response.state),
        verifier: &bound.errand().bound("verifier", response.state),
        freshness: Freshness { since: begun.since, max_age: begun.max_age },
    };
    match provider.log_in(&back).await {
        Ok(LoggedIn { user, auth_time, provider_session }) => {
            let proved = Proved { user, auth_time, provider_session };
            match bound {
                Bound::App(open) => login::succeed(grants, inbound, facts, *open, proved).await,
                Bound::Manage(_) => management::succeed(grants, inbound, facts, proved).await,
            }
        }
        Err(error) => {
            let mut bound = bound;
            if let (FederationError::NotAllowed(_), Bound::App(open)) = (&error, &mut bound) {
                // Another try is for another account.
                open.state.prompt_login = true;
                if let Err(found) = open.save(grants).await {
                    return problem(grants, inbound, facts, found);
                }
            }
            failed(grants, facts, bound.errand(), &provider, &error)
        }
    }
}

/// The page for a login that did not come about; what went wrong goes to the logs, for those who run this.
fn failed(
    grants: &Grants,
    facts: &mut Facts,
    errand: Errand<'_>,
    provider: &RelyingParty,
    error: &FederationError,
) -> Answer {
    tracing::warn!(provider = provider.config.id, reason = error.reason(), "login with a provider: {error}");
    facts.reason = Some(error.reason());
    let t = errand.t();
    let page = |status, message| errand.problem_page(grants, provider, (status, message));
    match error {
        FederationError::NotAllowed(refused) => {
            facts.user = Some(refused.user.clone());
            errand.other_account_page(grants, provider, (StatusCode::FORBIDDEN, t.not_allowed))
        }
        FederationError::IdToken(_) | FederationError::LogoutToken(_) => {
            guessed(page(StatusCode::FORBIDDEN, t.not_proved))
        }
        FederationError::Refused | FederationError::TokenResponse => {
            guessed(page(StatusCode::BAD_GATEWAY, t.provider_unavailable))
        }
        FederationError::Busy | FederationError::FailedLately => {
            page(StatusCode::SERVICE_UNAVAILABLE, t.provider_unavailable)
        }
        FederationError::Unreachable(..)
        | FederationError::Status(..)
        | FederationError::Metadata(_)
        | FederationError::Keys => page(StatusCode::BAD_GATEWAY, t.provider_unavailable),
    }
}

/// Counts against the budget of the address: a state, code or token that is not good.
fn guessed(mut answer: Answer) -> Answer {
    answer.0.extensions_mut().insert(CredentialsFailed);
    answer
}
