//! `/login`: user name and password of a built-in user; the page offers the OpenID providers besides.
//!
//! Takes the posted form (`username`, `password`, `transaction`, `decision`); gives a new session and the way on, the form
//! again with one and the same sentence for every wrong pair, or 429. Promises: the session id is new at each login, and a
//! launch that names a user accepts that user only; a wrong pair also counts against the budget of its address
//! ([`CredentialsFailed`]). Users an EHR vouches for never see this page.

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER, SET_COOKIE};

use super::authorization_response::AuthorizationError;
use super::continuation::{self, Known, Who, give_up, onward, posted_for, problem, same, settle};
use super::facts::Facts;
use super::form::Form;
use super::pages::{Frame, Language, LoginPage, Pages, Problem, Text, render};
use super::password::Verdict;
use super::session::{self, Proved};
use super::transaction::OpenTransaction;
use super::{Answer, CredentialsFailed, Grants};
use crate::config::Client;
use crate::listen::Inbound;
use crate::secret::Secret;

/// The reason of a login with a password that is not right, for the audit log.
pub(super) const CREDENTIALS_WRONG: &str = "credentials_wrong";

/// Answers `POST /login`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("login");
    let (form, open, _) = match posted_for(grants, inbound).await {
        Ok(found) => found,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    facts.transaction(&open.state);
    let now = grants.clock.unix_seconds();
    if open.state.launch.is_some() && matches!(continuation::who(&open.state, None, now), Who::Known(_)) {
        // The EHR vouches: there is nobody to log in, and nobody did.
        facts.action = Some("authorization_continued");
        return onward(&open);
    }
    if form.only("decision") == Some("deny") {
        let denial = (AuthorizationError::AccessDenied, "the user did not log in");
        return give_up(grants, inbound, facts, &open, denial).await;
    }
    // Who was known before is not who is tried.
    facts.user = None;
    log_in(grants, inbound, facts, open, &form).await
}

async fn log_in(grants: &Grants, inbound: &Inbound, facts: &mut Facts, open: OpenTransaction, form: &Form) -> Answer {
    let client = match continuation::client(grants, &open.state) {
        Ok(client) => client,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    match with_password(grants, inbound, facts, form).await {
        Ok(proved) => succeed(grants, inbound, facts, open, proved).await,
        Err(again) => {
            let shown = (again.status, Some(again.message(open.language)), None);
            again.on(rendered(grants, &client.config, &open, username(form), shown))
        }
    }
}

/// What a person typed.
pub(super) fn username(form: &Form) -> &str {
    form.only("username").unwrap_or_default()
}

/// Nobody is logged in: the form has to be shown again.
pub(super) struct Again {
    pub(super) status: StatusCode,
    message: fn(&Pages) -> Text,
    /// Seconds to wait.
    wait: Option<u64>,
}

/// Who gave a user name and a password that belong together.
pub(super) async fn with_password(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    form: &Form,
) -> Result<Proved, Again> {
    let username = username(form);
    let password = Secret::new(form.only("password").unwrap_or_default());
    let (reason, again) = match grants.login.check(&grants.config, username, password, inbound.peer.ip()).await {
        Verdict::Right(user) => {
            let (user, auth_time) = (session::built_in_user(&grants.config, &user), grants.clock.unix_seconds());
            return Ok(Proved { user, auth_time, provider_session: None });
        }
        Verdict::Wrong => {
            // A name that is nobody's is not noted: people type their password into that field.
            let named = grants.config.users.iter().find(|user| user.username == username);
            facts.user = named.map(|user| session::built_in_user(&grants.config, user));
            let again = Again { status: StatusCode::FORBIDDEN, message: |t| t.wrong, wait: None };
            (CREDENTIALS_WRONG, again)
        }
        Verdict::Throttled(seconds) => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            ("login_throttled", Again { status, message: |t| t.throttled, wait: Some(seconds) })
        }
        Verdict::Busy => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            ("login_busy", Again { status, message: |t| t.busy, wait: Some(2) })
        }
    };
    facts.reason = Some(reason);
    Err(again)
}

impl Again {
    /// What the form says.
    pub(super) fn message(&self, language: Language) -> Text {
        (self.message)(&language.words().pages)
    }

    /// The page with the form as it is answered: a wrong pair counts against its address, for the others there is a time to wait.
    pub(super) fn on(&self, mut page: Answer) -> Answer {
        match self.wait {
            Some(seconds) => drop(page.0.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds))),
            None => drop(page.0.extensions_mut().insert(CredentialsFailed)),
        }
        page
    }
}

/// Begins the session of a user.
pub(super) async fn succeed(
    grants: &Grants,
    inbound: &Inbound,
    facts: &mut Facts,
    mut open: OpenTransaction,
    proved: Proved,
) -> Answer {
    let Proved { user, auth_time, .. } = &proved;
    facts.user = Some(user.clone());
    let named = open.state.launch.as_ref().and_then(|launch| launch.user.as_ref());
    if named.is_some_and(|named| !same(named, user)) {
        let denial = (AuthorizationError::AccessDenied, "the launch is for another user");
        return give_up(grants, inbound, facts, &open, denial).await;
    }
    if open.state.embedded() {
        // A frame gets no session: the login is for this transaction alone.
        settle(&mut open.state, &Known { user: user.clone(), auth_time: *auth_time, session: None });
        return match open.save(grants).await {
            Ok(()) => onward(&open),
            Err(found) => problem(grants, inbound, facts, found),
        };
    }
    let Ok(session) = session::begin(grants, proved, &inbound.headers).await else {
        return problem(grants, inbound, facts, Problem::StoreUnavailable);
    };
    settle(&mut open.state, &Known::from(&session));
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
    rendered(grants, client, open, "", (StatusCode::OK, None, Some(open.language.words().pages.for_other)))
}

fn rendered(
    grants: &Grants,
    client: &Client,
    open: &OpenTransaction,
    username: &str,
    (status, problem, notice): (StatusCode, Option<Text>, Option<Text>),
) -> Answer {
    let page = LoginPage {
        frame: Frame::new(&grants.config, open.language),
        app: &client.client_name,
        transaction: &open.handle,
        username,
        built_in: !grants.config.users.is_empty() || grants.config.providers.is_empty(),
        providers: &grants.config.providers,
        problem,
        notice,
    };
    render(&page, status, Some(&open.state.redirect_uri))
}

#[cfg(test)]
mod tests;
