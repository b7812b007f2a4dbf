//! `firebreak grant`: what users have allowed apps, and taking it back.
//!
//! Works beside a running server: what is revoked here gives no token from this moment on, and its access tokens are refused
//! by every gateway that uses the store as soon as it has looked there, which it does every second.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::administration::{Act, Administration};
use super::{Configured, Failure, cell, say};
use crate::grant::grants::revoke_stored;
use crate::grant::holdings::{self, Given};
use crate::grant::records as record;
use crate::store::StoreError;

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(super) enum Grant {
    /// List the grants that are alive: app, user, patient, scopes, since when, last used.
    List {
        #[command(flatten)]
        configured: Configured,
        #[command(flatten)]
        which: Which,
        /// Print JSON, one array of objects.
        #[arg(long)]
        json: bool,
    },
    /// End grants: their tokens are good for nothing, and the user is asked before the app gets new ones.
    Revoke {
        #[command(flatten)]
        configured: Configured,
        /// The grant, as `grant list` names it.
        #[arg(required_unless_present_any = ["user", "client"], conflicts_with_all = ["user", "client", "issuer"])]
        grant_id: Option<String>,
        #[command(flatten)]
        which: Which,
    },
}

/// Whose grants.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Which {
    /// Those of this user: the login name, or the subject at another issuer. Revoking ends the user's logins, too.
    #[arg(long, value_name = "SUB")]
    user: Option<String>,
    /// Of users of this issuer only.
    #[arg(long, value_name = "ISS", requires = "user")]
    issuer: Option<String>,
    /// Those to this app.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
}

/// Runs the command.
pub(super) async fn grant(command: Grant) -> Result<(), Failure> {
    match command {
        Grant::List { configured, which, json } => {
            let administration = Administration::open(&configured.config)?;
            let found = list(&administration, &which).await?;
            administration.finish().await?;
            say(&if json { as_json(&found)? } else { as_table(&found) })
        }
        Grant::Revoke { configured, grant_id, which } => {
            let administration = Administration::open(&configured.config)?;
            let done = revoke(&administration, grant_id.as_deref(), &which).await;
            administration.finish().await?;
            say(&done?)
        }
    }
}

async fn list(administration: &Administration, which: &Which) -> Result<Vec<Given>, Failure> {
    let act =
        Act { action: "grants_listed", client_id: which.client.clone(), target: which.user.clone(), ..Act::default() };
    let now = administration.clock.unix_seconds();
    let mut found = administration.act(act, holdings::given(&*administration.store, None, now)).await?;
    found.retain(|given| which.holds(&given.grant));
    Ok(found)
}

/// Revokes, and tells what was done.
async fn revoke(administration: &Administration, grant_id: Option<&str>, which: &Which) -> Result<String, Failure> {
    let (store, now) = (&*administration.store, administration.clock.unix_seconds());
    let held = async || {
        let failed = |error| Failure::because("store", error);
        let mut found = holdings::pending(store, now).await.map_err(failed)?;
        found.extend(holdings::given(store, None, now).await.map_err(failed)?.into_iter().map(|given| given.grant));
        found.retain(|grant| grant_id.map_or_else(|| which.holds(grant), |id| grant.grant_id == id));
        Ok::<_, Failure>(found)
    };
    let mut found = held().await?;
    if found.is_empty()
        && let Some(grant_id) = grant_id
    {
        return Err(Failure::Failed(format!("there is no live grant `{grant_id}`; `firebreak grant list` names them")));
    }
    let mut users: BTreeSet<(String, String)> =
        found.iter().map(|grant| (grant.user.iss.clone(), grant.user.sub.clone())).collect();
    if let Some(sub) = &which.user {
        // Also those of a user who has no grant at the moment: our own issuer's, where none is named.
        users.insert((which.issuer.clone().unwrap_or_else(|| administration.config.issuer()), sub.clone()));
    }
    // The consents first: an app that comes back at once must find the user asked, and what it got just before is looked for after.
    if grant_id.is_none() {
        forget(administration, which, &users, now).await?;
        found = held().await?;
    }
    for grant in &found {
        let user = (grant.user.iss.clone(), grant.user.sub.clone());
        let act = Act {
            action: "grant_revoked",
            target: Some(grant.grant_id.clone()),
            client_id: Some(grant.client_id.clone()),
            user: Some(user.clone()),
        };
        let change = async {
            holdings::forget_consents(store, (&user.0, &user.1), Some(&grant.client_id), now).await?;
            revoke_stored(store, &grant.grant_id, now).await
        };
        administration.act(act, change).await?;
    }
    let mut text = match found.len() {
        1 => "1 grant revoked".to_owned(),
        count => format!("{count} grants revoked"),
    };
    if which.user.is_some() && which.client.is_none() {
        let mut ended = 0;
        for user in users {
            let act = Act { action: "sessions_ended", user: Some(user.clone()), ..Act::default() };
            ended += administration.act(act, holdings::end_sessions(store, (&user.0, &user.1))).await?;
        }
        let _ = write!(text, "; {ended} {} ended", if ended == 1 { "login" } else { "logins" });
    }
    Ok(text)
}

/// Forgets what is remembered of consents, also of those to apps that have no grant at the moment.
async fn forget(
    administration: &Administration,
    which: &Which,
    users: &BTreeSet<(String, String)>,
    now: i64,
) -> Result<(), Failure> {
    let store = &*administration.store;
    let (target, client_id) = (which.user.clone(), which.client.clone());
    let act = Act { action: "consents_forgotten", target, client_id, ..Act::default() };
    let change = async {
        let client_id = which.client.as_deref();
        match client_id.filter(|_| which.user.is_none()) {
            Some(client_id) => holdings::forget_consents_to(store, client_id, now).await?,
            None => {
                for (iss, sub) in users {
                    holdings::forget_consents(store, (iss, sub), client_id, now).await?;
                }
            }
        }
        Ok::<_, StoreError>(())
    };
    administration.act(act, change).await
}

impl Which {
    fn holds(&self, grant: &record::Grant) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.user, &grant.user.sub) && is(&self.issuer, &grant.user.iss) && is(&self.client, &grant.client_id)
    }
}

fn as_json(found: &[Given]) -> Result<String, Failure> {
    let list: Vec<_> = found
        .iter()
        .map(|Given { grant, expires, last_used }| {
            json!({
                "grant_id": grant.grant_id,
                "client_id": grant.client_id,
                "iss": grant.user.iss,
                "sub": grant.user.sub,
                "fhirUser": grant.user.fhir_user,
                "patient": grant.patient,
                "encounter": grant.encounter,
                "scope": grant.scopes.join(" "),
                "since": time(grant.granted_at),
                "last_used": last_used.map(time),
                "expires": time(*expires),
            })
        })
        .collect();
    serde_json::to_string_pretty(&list).map_err(|error| Failure::Failed(error.to_string()))
}

fn as_table(found: &[Given]) -> String {
    if found.is_empty() {
        return "no grants".to_owned();
    }
    let mut rows = vec![["GRANT", "USER", "APP", "PATIENT", "SINCE", "LAST USED", "SCOPES"].map(str::to_owned)];
    rows.extend(found.iter().map(|Given { grant, last_used, .. }| {
        [
            grant.grant_id.clone(),
            cell(&grant.user.sub),
            grant.client_id.clone(),
            grant.patient.clone().unwrap_or_else(|| "-".to_owned()),
            time(grant.granted_at),
            last_used.map_or_else(|| "-".to_owned(), time),
            grant.scopes.join(" "),
        ]
    }));
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
