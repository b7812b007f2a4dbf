//! `/authorize` (RFC 6749 section 3.1; SMART App Launch 2.2 "obtain authorization code").
//!
//! Takes an app's authorization request by GET or POST, with the same meaning; gives a redirect to
//! `/authorize/continue?transaction=…` with a cookie that binds the transaction to this browser, or a refusal. It never looks
//! at a session: an app may post from its own page, and a browser sends no `SameSite=Lax` cookie with such a request. The
//! page it redirects to is a plain GET that carries the cookies and may be reloaded. The handle in that URL is opaque and
//! useless in any other browser. Spends the launch handle of an EHR launch: once, within 5 minutes, or within one minute
//! where the EHR vouches for the user.

use http::Method;
use http::header::{HeaderValue, SET_COOKIE};

use super::authorization_request::{self, Arrival, Refused};
use super::authorization_response::{AuthorizationError, see_other};
use super::facts::Facts;
use super::form::Form;
use super::framing::{self, Place};
use super::launch_contexts::with_launch;
use super::pages::{Language, Problem};
use super::records::{LaunchContext, ShownIn, Transaction};
use super::scope_negotiation::drop_absent_context;
use super::transaction::OpenTransaction;
use super::{Answer, Grants, pushed_authorization_request};
use crate::admit::Presenter;
use crate::listen::Inbound;
use crate::secret::Digest;
use crate::store::Kind;

/// Seconds that a launch handle is good for.
const LAUNCH_LIFETIME: i64 = 300;
/// Seconds that a launch handle is good for when it logs its user in.
const VOUCHING_LIFETIME: i64 = 60;

/// Answers one authorization request.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("authorization_requested");
    match begin(grants, inbound, facts).await {
        Ok(Begun::OutOfFrame(page)) => page,
        Ok(Begun::Transaction(open)) => {
            facts.transaction(&open.state);
            let mut answer = see_other(&open.path());
            if let Ok(cookie) = HeaderValue::from_str(&open.binding(&grants.config)) {
                answer.0.headers_mut().append(SET_COOKIE, cookie);
            }
            answer
        }
        Err(refused) => {
            facts.reason = Some(refused.reason());
            refused.answer(&grants.config, Language::accepted(&inbound.headers), &inbound.request_id)
        }
    }
}

/// What a good request leads to.
#[derive(Debug)]
enum Begun {
    Transaction(Box<OpenTransaction>),
    /// The browser keeps no cookie of ours where it shows this: nothing is spent.
    OutOfFrame(Answer),
}

async fn begin(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<Begun, Refused> {
    // Anybody's page can show this in frames, as often as it likes.
    let from = Presenter::new(inbound.peer.ip(), framing::is_framed(&inbound.headers));
    if let Err(seconds) = grants.login.admit_request(from) {
        return Err(Refused::Page(Problem::TooMany(seconds)));
    }
    let form = match inbound.method {
        Method::GET => Form::parse(inbound.query.as_deref().unwrap_or_default().as_bytes()),
        Method::POST => Form::posted(inbound),
        _ => return Err(Refused::Page(Problem::MethodNotAllowed("GET, POST"))),
    }
    .ok_or(Refused::Page(Problem::NotAForm))?
    .without_empty();
    let (form, arrival) = match pushed_authorization_request::take(grants, &form).await.map_err(Refused::Page)? {
        Some(pushed) => (pushed, Arrival::Pushed),
        None => (form, Arrival::Direct),
    };
    let request = authorization_request::check(grants, &form, arrival)?;
    let mut transaction = request.transaction;
    facts.client_id = Some(transaction.client_id.clone());
    if let Some(handle) = request.launch {
        if let Some(page) = way_out(grants, inbound, facts, &handle).await {
            return Ok(Begun::OutOfFrame(page));
        }
        match launch_context(grants, &transaction.client_id, &handle).await {
            Ok(context) => {
                if framing::place(grants, inbound, &context) == Place::Frame {
                    transaction.shown_in = ShownIn::Frame;
                }
                transaction.launch = Some(context);
            }
            Err((error, description)) => return Err(refusal(grants, transaction, error, description)),
        }
    }
    drop_absent_context(&mut transaction.scopes, transaction.launch.as_ref());
    if transaction.scopes.is_empty() {
        let description = "none of the requested scopes can be granted: there is no context of this type";
        return Err(refusal(grants, transaction, AuthorizationError::InvalidScope, description));
    }
    let open = OpenTransaction::begin(grants, transaction, inbound.peer.ip()).await;
    open.map(|open| Begun::Transaction(Box::new(open))).map_err(|_| Refused::Page(Problem::StoreUnavailable))
}

/// The page that leads out of a frame, for a launch that cannot go on there. The handle is looked at and not spent: the link
/// launches the app anew.
async fn way_out(grants: &Grants, inbound: &Inbound, facts: &mut Facts, handle: &str) -> Option<Answer> {
    let client = grants.clients.find(facts.client_id.as_deref()?)?;
    let entry = grants.store.read(Kind::Launch, Digest::of(handle), grants.clock.unix_seconds()).await.ok()??;
    let context: LaunchContext = serde_json::from_slice(&entry.value).ok()?;
    let usable = is_usable(&context, &client.config.client_id, grants.clock.unix_seconds());
    if !usable || framing::place(grants, inbound, &context) != Place::NewWindow {
        return None;
    }
    let launch_url = with_launch(client.config.launch_urls.first()?.clone(), grants, handle);
    facts.framed_by = Some(context.ehr_client_id);
    let language = Language::accepted(&inbound.headers);
    Some(framing::way_out(grants, language, &client.config, &launch_url))
}

/// Spends the handle; whatever is wrong with it, the app is told the same.
async fn launch_context(
    grants: &Grants,
    client_id: &str,
    handle: &str,
) -> Result<LaunchContext, (AuthorizationError, &'static str)> {
    const UNUSABLE: (AuthorizationError, &str) = (
        AuthorizationError::InvalidRequest,
        "launch is unknown, used, expired or for another client; launch again from the EHR",
    );
    let now = grants.clock.unix_seconds();
    let entry = grants
        .store
        .take_once(Kind::Launch, Digest::of(handle), now)
        .await
        .map_err(|_| (AuthorizationError::TemporarilyUnavailable, "the launch cannot be looked up now"))?
        .ok_or(UNUSABLE)?;
    let context: LaunchContext = serde_json::from_slice(&entry.value).map_err(|_| UNUSABLE)?;
    if is_usable(&context, client_id, now) { Ok(context) } else { Err(UNUSABLE) }
}

/// Whether the handle is for this app and still good.
fn is_usable(context: &LaunchContext, client_id: &str, now: i64) -> bool {
    let logs_in = context.vouches && context.user.is_some();
    let lifetime = if logs_in { VOUCHING_LIFETIME } else { LAUNCH_LIFETIME };
    context.client_id == client_id && now.saturating_sub(context.created) <= lifetime
}

fn refusal(grants: &Grants, transaction: Transaction, error: AuthorizationError, description: &str) -> Refused {
    let client = grants.clients.find(&transaction.client_id);
    Refused::Redirect {
        unverified: client.is_none_or(|client| client.config.unverified),
        redirect_uri: transaction.redirect_uri,
        state: Some(transaction.state),
        error,
        description: description.to_owned(),
    }
}

#[cfg(test)]
mod tests;
