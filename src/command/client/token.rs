//! `firebreak client token`: makes an initial access token, by which others register clients.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Administration, Configured, Failure, pretty, time};
use crate::clients::initial_access_token::{self, InitialAccessToken, MOST_USES};
use crate::command::administration::Act;
use crate::config::{parse_duration, unknown_scopes};
use crate::grant::route;
use crate::oauth::metadata::is_plain;

/// What those may register for at most who hold one that says nothing else.
const TOKEN_SCOPE: &str =
    "openid fhirUser launch launch/patient launch/encounter offline_access patient/*.rs user/*.rs";

/// An initial access token to make.
#[derive(Debug, Args)]
pub(in crate::command) struct Token {
    #[command(flatten)]
    pub(super) configured: Configured,
    /// What the audit log calls it: whom it is for.
    #[arg(long)]
    name: String,
    /// How many clients may be registered with it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_USES)))]
    uses: u32,
    /// How long it is good: `"30m"`, `"8h"`, `"7d"`; at most 366 days.
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = lifetime)]
    expires: Duration,
    /// The most that its clients may register for, separated by spaces.
    #[arg(long, value_name = "SCOPES", default_value = TOKEN_SCOPE)]
    scope: String,
    /// A role of the policies in which its clients act for themselves, with `system/` scopes; may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Print JSON, one object.
    #[arg(long)]
    json: bool,
}

/// Makes it.
pub(super) async fn mint(administration: &Administration, token: Token) -> Result<String, Failure> {
    if !administration.config.registration.as_ref().is_some_and(|site| site.initial_access_tokens) {
        return Err(Failure::Usage(
            "nobody can register with a token; add the section [registration] to the configuration".to_owned(),
        ));
    }
    if !is_plain(&token.name) {
        return Err(Failure::Usage("`--name` must be at most 200 visible characters".to_owned()));
    }
    let scopes: Vec<&str> = token.scope.split_whitespace().collect();
    let unknown = unknown_scopes(&token.scope, false);
    if !unknown.is_empty() {
        return Err(Failure::Usage(unknown.join("\nfirebreak: ")));
    }
    let now = administration.clock.unix_seconds();
    let expires = now.saturating_add(i64::try_from(token.expires.as_secs()).unwrap_or(i64::MAX));
    let made =
        InitialAccessToken { name: token.name.clone(), allowed_scope: scopes.join(" "), roles: token.roles.clone() };
    let act = Act { action: "initial_access_token_made", target: Some(token.name.clone()), ..Act::default() };
    let secret =
        administration.act(act, initial_access_token::mint(&*administration.store, &made, token.uses, expires)).await?;
    if token.json {
        return pretty(&json!({
            "initial_access_token": secret.expose(), "name": made.name, "uses": token.uses, "expires": time(expires),
            "scope": made.allowed_scope,
            "registration_endpoint": format!("{}{}", administration.config.issuer(), route::REGISTER),
        }));
    }
    let clients = if token.uses == 1 { "client" } else { "clients" };
    Ok(format!(
        "{}    (shown this once)\nregisters {} {clients} at {}{} until {}",
        secret.expose(),
        token.uses,
        administration.config.issuer(),
        route::REGISTER,
        time(expires)
    ))
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let most = Duration::from_secs(366 * 86_400);
    let time = parse_duration(text).filter(|time| *time >= Duration::from_secs(60) && *time <= most);
    time.ok_or_else(|| "a length of time from 1m to 366d is expected, for instance `7d`".to_owned())
}
