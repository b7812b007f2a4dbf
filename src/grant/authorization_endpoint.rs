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

use super::authorization_request::{self, Refused};
use super::authorization_response::{AuthorizationError, see_other};
use super::facts::Facts;
use super::form::Form;
use super::pages::Problem;
use super::records::{LaunchContext, Transaction};
use super::transaction::OpenTransaction;
use super::{Answer, Grants};
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
        Ok(open) => {
            facts.transaction(&open.state);
            let mut answer = see_other(&open.path());
            if let Ok(cookie) = HeaderValue::from_str(&open.binding(&grants.config)) {
                answer.0.headers_mut().append(SET_COOKIE, cookie);
            }
            answer
        }
        Err(refused) => {
            facts.reason = Some(refused.reason());
            refused.answer(&grants.config, &inbound.request_id)
        }
    }
}

async fn begin(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Result<OpenTransaction, Refused> {
    if let Err(seconds) = grants.login.admit_request(inbound.peer.ip()) {
        return Err(Refused::Page(Problem::TooMany(seconds)));
    }
    let form = match inbound.method {
        Method::GET => Form::parse(inbound.query.as_deref().unwrap_or_default().as_bytes()),
        Method::POST => Form::posted(inbound),
        _ => return Err(Refused::Page(Problem::MethodNotAllowed("GET, POST"))),
    }
    .ok_or(Refused::Page(Problem::NotAForm))?;
    let request = authorization_request::check(grants, &form)?;
    let mut transaction = request.transaction;
    facts.client_id = Some(transaction.client_id.clone());
    if let Some(handle) = request.launch {
        match launch_context(grants, &transaction.client_id, &handle).await {
            Ok(context) => {
                transaction.encounter.clone_from(&context.encounter);
                transaction.launch = Some(context);
            }
            Err((error, description)) => return Err(refusal(transaction, error, description)),
        }
    }
    OpenTransaction::begin(grants, transaction, inbound.peer.ip())
        .await
        .map_err(|_| Refused::Page(Problem::StoreUnavailable))
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
    let logs_in = context.vouches && context.user.is_some();
    let lifetime = if logs_in { VOUCHING_LIFETIME } else { LAUNCH_LIFETIME };
    let usable = context.client_id == client_id && now.saturating_sub(context.created) <= lifetime;
    usable.then_some(context).ok_or(UNUSABLE)
}

fn refusal(transaction: Transaction, error: AuthorizationError, description: &str) -> Refused {
    Refused::Redirect {
        redirect_uri: transaction.redirect_uri,
        state: Some(transaction.state),
        error,
        description: description.to_owned(),
    }
}

#[cfg(test)]
mod tests;
