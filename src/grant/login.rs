//! `/login`: user name and password of a built-in user.
//!
//! Takes the posted form (`username`, `password`, `transaction`, `decision`); gives a new session and the way on, the form
//! again with one and the same sentence for every wrong pair, or 429. Promises: the session id is new at each login, and a
//! launch that names a user accepts that user only; a wrong pair also counts against the budget of its address
//! ([`CredentialsFailed`]). Users an EHR vouches for never see this page.

use http::header::{HeaderValue, RETRY_AFTER, SET_COOKIE};
use http::{Method, StatusCode};

use super::authorization_response::AuthorizationError;
use super::continuation::{self, Known, Who, give_up, onward, opened, problem, same, settle};
use super::facts::Facts;
use super::form::Form;
use super::pages::{Frame, LoginPage, Problem, render};
use super::password::Verdict;
use super::session;
use super::transaction::OpenTransaction;
use super::{Answer, CredentialsFailed, Grants};
use crate::config::Client;
use crate::listen::Inbound;
use crate::secret::Secret;

/// The reason of a login with a password that is not right, for the audit log.
pub(super) const CREDENTIALS_WRONG: &str = "credentials_wrong";

const WRONG: &str = "The user name or the password is not right.";
const THROTTLED: &str = "Too many tries. Wait a minute, then try again.";
const BUSY: &str = "Too many people are signing in right now. Try again in a moment.";
const FOR_OTHER: &str = "This app was opened for another user. Sign in as the user who opened it.";

/// Answers `POST /login`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("login");
    if inbound.method != Method::POST {
        return problem(grants, inbound, facts, Problem::MethodNotAllowed("POST"));
    }
    let Some(form) = Form::posted(inbound) else { return problem(grants, inbound, facts, Problem::NotAForm) };
    let (open, present) = match opened(grants, inbound, form.only("transaction")).await {
        Ok(found) => found,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    facts.transaction(&open.state);
    let now = grants.clock.unix_seconds();
    if open.state.launch.is_some() && matches!(continuation::who(&open.state, None, now), Who::Known(_)) {
        // The EHR vouches: there is nobody to log in.
        return onward(&open);
    }
    drop(present);
    if form.only("decision") == Some("deny") {
        let denial = (AuthorizationError::AccessDenied, "the user did not log in");
        return give_up(grants, inbound, facts, &open, denial).await;
    }
    log_in(grants, inbound, facts, open, &form).await
}

async fn log_in(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    mut open: OpenTransaction,
    form: &Form,
) -> Answer {
    let client = match continuation::client(grants, &open.state) {
        Ok(client) => client,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    let username = form.only("username").unwrap_or_default();
    let password = Secret::new(form.only("password").unwrap_or_default());
    let user = match grants.login.check(&grants.config, username, password, inbound.peer.ip()).await {
        Verdict::Right(user) => session::built_in_user(&grants.config, &user),
        Verdict::Wrong => {
            facts.reason = Some(CREDENTIALS_WRONG);
            // A name that is nobody's is not noted: people type their password into that field.
            let named = grants.config.users.iter().find(|user| user.username == username);
            facts.user = named.map(|user| session::built_in_user(&grants.config, user));
            let mut answer = page_after(grants, client, &open, username, (StatusCode::FORBIDDEN, WRONG));
            answer.0.extensions_mut().insert(CredentialsFailed);
            return answer;
        }
        Verdict::Throttled(seconds) => {
            facts.reason = Some("login_throttled");
            let answer = page_after(grants, client, &open, username, (StatusCode::TOO_MANY_REQUESTS, THROTTLED));
            return later(answer, seconds);
        }
        Verdict::Busy => {
            facts.reason = Some("login_busy");
            let answer = page_after(grants, client, &open, username, (StatusCode::SERVICE_UNAVAILABLE, BUSY));
            return later(answer, 2);
        }
    };
    facts.user = Some(user.clone());
    let named = open.state.launch.as_ref().and_then(|launch| launch.user.as_ref());
    if named.is_some_and(|named| !same(named, &user)) {
        let denial = (AuthorizationError::AccessDenied, "the launch is for another user");
        return give_up(grants, inbound, facts, &open, denial).await;
    }
    let Ok(session) = session::begin(grants, user, &inbound.headers).await else {
        return problem(grants, inbound, facts, Problem::StoreUnavailable);
    };
    settle(&mut open.state, &Known { user: session.user.clone(), auth_time: session.auth_time });
    if let Err(found) = open.save(grants).await {
        return problem(grants, inbound, facts, found);
    }
    let mut answer = onward(&open);
    if let Ok(cookie) = HeaderValue::from_str(&session::session_cookie(&grants.config, &session)) {
        answer.0.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

/// The form.
pub(super) fn page(grants: &Grants, client: &Client, open: &OpenTransaction) -> Answer {
    let username = open.state.login_hint.as_deref().unwrap_or_default();
    rendered(grants, client, open, username, (StatusCode::OK, None, None))
}

/// The form for a browser in which somebody else is logged in than the launch names.
pub(super) fn page_for_other(grants: &Grants, client: &Client, open: &OpenTransaction) -> Answer {
    rendered(grants, client, open, "", (StatusCode::OK, None, Some(FOR_OTHER)))
}

fn page_after(
    grants: &Grants,
    client: &Client,
    open: &OpenTransaction,
    username: &str,
    (status, message): (StatusCode, &str),
) -> Answer {
    rendered(grants, client, open, username, (status, Some(message), None))
}

fn rendered(
    grants: &Grants,
    client: &Client,
    open: &OpenTransaction,
    username: &str,
    (status, problem, notice): (StatusCode, Option<&str>, Option<&str>),
) -> Answer {
    let page = LoginPage {
        frame: Frame::new(&grants.config),
        app: &client.client_name,
        transaction: &open.handle,
        username,
        problem,
        notice,
    };
    render(&page, status, Some(&open.state.redirect_uri))
}

fn later(mut answer: Answer, seconds: u64) -> Answer {
    answer.0.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

#[cfg(test)]
mod tests;
