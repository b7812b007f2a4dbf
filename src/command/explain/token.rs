//! An access token, looked at without a server: whose it is, and why it is not good.
//!
//! Promises that it is verified as on the request path, with the keys, the clients and the revocations of the configuration's
//! state directory, which is only read. The one thing that is not checked is the proof of a key that a token is bound to. What
//! an expired token would have been good for is told too: who asks has seldom one that is alive.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Asker, contents};
use crate::admit::FailedCredentials;
use crate::authenticate::{Authenticator, Principal};
use crate::clients::Clients;
use crate::clock::Clock;
use crate::command::Failure;
use crate::config::Config;
use crate::error::{Refusal, TokenProblem};
use crate::grant::follower::Follower;
use crate::grant::revocations::Revocations;
use crate::keys::Keys;
use crate::origin::here;
use crate::store::{Access, SqliteStore, Store};

/// Whose token it is, or why it is refused.
pub(super) async fn examine(config: &Config, token: &str) -> Result<Asker, Failure> {
    let token = match token {
        "-" => String::from_utf8_lossy(&contents(Path::new("-"))?).into_owned(),
        token => token.to_owned(),
    };
    let token = token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let store = store(config)?;
    let now = Clock::system();
    let remark = |principal: &Principal, bound: bool| {
        let bound = bound
            .then(|| "the token is bound to a key: each request must prove it, which is not checked here".to_owned());
        whose(principal).into_iter().chain(bound).collect::<Vec<_>>()
    };
    match authenticator(config, &now, store.as_ref()).await?.examine(token) {
        Ok((principal, bound)) => Ok(Asker { remarks: remark(&principal, bound), principal: Ok(principal) }),
        Err(refusal) => {
            let mut remarks = Vec::new();
            let claims = claims(token);
            match (&refusal, claims) {
                (Refusal::Unauthenticated(TokenProblem::Expired), Some(claims)) => {
                    let expired = claims.get("exp").and_then(Value::as_i64).unwrap_or_default();
                    let at = jiff::Timestamp::from_second(expired).unwrap_or_default();
                    remarks.push(format!("the token expired at {at}"));
                    let before = Clock::fixed(expired.saturating_sub(1));
                    if let Ok((principal, bound)) = authenticator(config, &before, store.as_ref()).await?.examine(token)
                    {
                        remarks.extend(remark(&principal, bound));
                        remarks.push(suggestion(&principal));
                    }
                }
                (Refusal::Unauthenticated(TokenProblem::Revoked), _) => {
                    remarks.push(
                        "its grant was revoked, or its client or user is not registered here any more".to_owned(),
                    );
                }
                (_, Some(claims)) => remarks.extend(foreign(config, &claims)),
                (_, None) => remarks.push("it is no JWT: expected an access token of this gateway".to_owned()),
            }
            Ok(Asker { principal: Err(refusal), remarks })
        }
    }
}

async fn authenticator(
    config: &Config,
    clock: &Clock,
    store: Option<&Arc<dyn Store>>,
) -> Result<Authenticator, Failure> {
    let directory = config.state_directory.join("keys");
    let keys = Keys::read_at(&directory, clock.clone()).map_err(|error| {
        Failure::Usage(format!("{error}; a token is verified with the keys of the gateway that issued it"))
    })?;
    let clients = Clients::new(&config.clients).map_err(|_| {
        Failure::Usage("the clients of the configuration cannot be used; see `firebreak check`".to_owned())
    })?;
    let (clients, revocations) = (Arc::new(clients), Arc::new(Revocations::new(clock.clone())));
    match store {
        Some(store) => {
            let follower = Follower {
                clock: clock.clone(),
                store: Arc::clone(store),
                revocations: Arc::clone(&revocations),
                clients: Arc::clone(&clients),
            };
            follower.refresh().await?;
        }
        None => revocations.nothing_was_revoked(),
    }
    let failures = Arc::new(FailedCredentials::new(u32::MAX));
    Ok(Authenticator::new(Arc::new(keys), revocations, failures, clock.clone(), here(config, clients, None)))
}

/// The store, where a gateway made one.
fn store(config: &Config) -> Result<Option<Arc<dyn Store>>, Failure> {
    if !config.state_directory.join("firebreak.db").exists() {
        return Ok(None);
    }
    Ok(Some(Arc::new(SqliteStore::open_as(&config.state_directory, Access::Beside)?)))
}

/// Who asks, in a sentence.
fn whose(principal: &Principal) -> Vec<String> {
    let mut text = format!("the token is `{}`'s, for the client `{}`", principal.subject, principal.client_id);
    if !principal.roles.is_empty() {
        let _ = write!(text, ", in the roles {}", principal.roles.join(", "));
    }
    vec![text, format!("its scopes: {}", principal.scope_text)]
}

/// The options that ask the same question without the token.
fn suggestion(principal: &Principal) -> String {
    let mut text = format!(
        "to see what a live token of this content would do: --scope '{}' --client {}",
        principal.scope_text, principal.client_id
    );
    if let crate::authenticate::Context::Patient(id) = &principal.patient {
        let _ = write!(text, " --patient {id}");
    }
    if let Some((resource_type, id)) = &principal.fhir_user {
        let _ = write!(text, " --fhir-user {resource_type}/{id}");
    }
    for role in &principal.roles {
        let _ = write!(text, " --role {role}");
    }
    text
}

/// What the token says of itself, unverified.
fn claims(token: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()
}

/// What of its claims says that it is somebody else's.
fn foreign(config: &Config, claims: &Value) -> Vec<String> {
    let mut remarks = Vec::new();
    for (name, what, ours) in [("iss", "issuer", config.issuer()), ("aud", "audience", config.fhir_base())] {
        let said = claims.get(name).and_then(Value::as_str).unwrap_or("none");
        if said != ours {
            remarks.push(format!("the token is foreign: its {what} is `{said}`, expected `{ours}`"));
        }
    }
    if remarks.is_empty() {
        remarks.push("its signature is not by a key of this gateway, or it is no access token".to_owned());
    }
    remarks
}
