//! `firebreak client`: the clients of the store, and the tokens by which others may register.
//!
//! Works beside a running server, which hears of each change within a second. What the configuration file registers is shown,
//! and can be disabled and enabled; it is changed and removed in the file.

use std::path::Path;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

mod added;
mod known;
mod token;

use self::added::{Added, add};
use self::known::{Known, known, table};
use self::token::{Token, mint};
use super::administration::{Act, Administration};
use super::{Configured, Failure, say};
use crate::clients::registry::{self, Found};
use crate::grant::holdings;
use crate::store::StoreError;

/// What to do with clients.
#[derive(Debug, Subcommand)]
pub(super) enum Client {
    /// Register a client; prints its id, and its secret once.
    Add(Box<Added>),
    /// List all clients, those of the configuration file too.
    List {
        #[command(flatten)]
        configured: Configured,
        /// Print JSON, one array of objects.
        #[arg(long)]
        json: bool,
    },
    /// Show everything that is known of a client.
    Show {
        #[command(flatten)]
        named: Named,
        /// Print JSON, one object.
        #[arg(long)]
        json: bool,
    },
    /// Take a client out of action: it is unknown, and its tokens are refused, until it is enabled.
    Disable(Named),
    /// Let a disabled client act again.
    Enable(Named),
    /// Remove a client of the store, with all that users granted to it.
    Remove(Named),
    /// Make an initial access token, by which others may register a client themselves; prints it once.
    Token(Token),
}

/// A client of a configuration.
#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    configured: Configured,
    /// The client's id.
    client_id: String,
}

/// Runs the command.
pub(super) async fn client(command: Client) -> Result<(), Failure> {
    let path = command.configured().to_owned();
    let administration = Administration::open(&path)?;
    let done = run(command, &administration).await;
    administration.finish().await?;
    say(&done?)
}

async fn run(command: Client, administration: &Administration) -> Result<String, Failure> {
    match command {
        Client::Add(added) => add(administration, *added).await,
        Client::List { json, .. } => {
            let known = known(administration).await?;
            if json { pretty(&known.iter().map(Known::summary).collect()) } else { Ok(table(&known)) }
        }
        Client::Show { named, json } => {
            let mut known = known(administration).await?;
            known.retain(|known| known.client_id() == named.client_id);
            if known.is_empty() {
                return Err(nobody(&named.client_id));
            }
            if json {
                return pretty(&known.iter().map(Known::everything).collect::<Vec<_>>().pop().unwrap_or_default());
            }
            Ok(known.iter().map(Known::text).collect::<Vec<_>>().join("\n\n"))
        }
        Client::Disable(named) => disable(administration, &named.client_id).await,
        Client::Enable(named) => enable(administration, &named.client_id).await,
        Client::Remove(named) => remove(administration, &named.client_id).await,
        Client::Token(token) => mint(administration, token).await,
    }
}

impl Client {
    fn configured(&self) -> &Path {
        let configured = match self {
            Self::Add(added) => &added.configured,
            Self::List { configured, .. } => configured,
            Self::Show { named, .. } | Self::Disable(named) | Self::Enable(named) | Self::Remove(named) => {
                &named.configured
            }
            Self::Token(token) => &token.configured,
        };
        &configured.config
    }
}

async fn disable(administration: &Administration, client_id: &str) -> Result<String, Failure> {
    exists(administration, client_id).await?;
    let now = administration.clock.unix_seconds();
    let change = registry::disable(&*administration.store, client_id, now);
    let disabled = administration.act(act("client_disabled", client_id), change).await?;
    let what = if disabled { "is disabled: every gateway refuses it within seconds" } else { "was disabled already" };
    Ok(format!("client `{client_id}` {what}"))
}

async fn enable(administration: &Administration, client_id: &str) -> Result<String, Failure> {
    let change = registry::enable(&*administration.store, client_id);
    let enabled = administration.act(act("client_enabled", client_id), change).await?;
    Ok(format!("client `{client_id}` {}", if enabled { "is enabled" } else { "was not disabled" }))
}

async fn remove(administration: &Administration, client_id: &str) -> Result<String, Failure> {
    if found(administration, client_id).await?.is_none() {
        exists(administration, client_id).await?;
        return Err(Failure::Failed(format!(
            "client `{client_id}` is in the configuration file: remove it there, or `firebreak client disable {client_id}`"
        )));
    }
    let (store, now) = (&*administration.store, administration.clock.unix_seconds());
    let change = async {
        // The client first: nothing new is granted to it while what there is goes.
        registry::remove(store, client_id).await?;
        holdings::forget_client(store, client_id, now).await
    };
    let ended = administration.act(act("client_removed", client_id), change).await?;
    let grants = if ended == 1 { "grant" } else { "grants" };
    Ok(format!("client `{client_id}` is removed; {ended} {grants} ended"))
}

async fn found(administration: &Administration, client_id: &str) -> Result<Option<Found>, Failure> {
    let now = administration.clock.unix_seconds();
    let failed = |error: StoreError| Failure::because("store", error);
    registry::find(&*administration.store, client_id, now).await.map_err(failed)
}

async fn exists(administration: &Administration, client_id: &str) -> Result<(), Failure> {
    let configured = administration.config.clients.iter().any(|client| client.client_id == client_id);
    if configured || found(administration, client_id).await?.is_some() { Ok(()) } else { Err(nobody(client_id)) }
}

fn nobody(client_id: &str) -> Failure {
    Failure::Failed(format!("there is no client `{client_id}`; `firebreak client list` names them"))
}

fn act(action: &'static str, client_id: &str) -> Act {
    Act { action, target: Some(client_id.to_owned()), client_id: Some(client_id.to_owned()), ..Act::default() }
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

fn pretty(value: &Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))
}
