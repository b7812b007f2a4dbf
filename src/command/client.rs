//! `firebreak client`: the clients of the store, and the tokens by which others may register.
//!
//! Works beside a running server, which hears of each change within a second. What the configuration file registers is shown,
//! and can be disabled and enabled; it is changed and removed in the file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

mod known;

use self::known::{Known, everything, known, table};
use super::administration::{Act, Administration};
use super::{Configured, Failure, say};
use crate::clients::initial_access_token::{self, InitialAccessToken, MOST_USES};
use crate::clients::registry::{self, Found};
use crate::clients::stored::{NEVER, RegisteredBy, StoredClient, terms};
use crate::config::{is_client_id, parse_duration, unknown_scopes};
use crate::grant::holdings;
use crate::oauth::metadata::{ClientMetadata, SentMetadata, is_plain};
use crate::oauth::redirect_uri;
use crate::random;
use crate::secret::Digest;
use crate::store::StoreError;

/// What those may register for at most who hold an initial access token that says nothing else.
const TOKEN_SCOPE: &str =
    "openid fhirUser launch launch/patient launch/encounter offline_access patient/*.rs user/*.rs";

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

/// A client to register.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(group = clap::ArgGroup::new("authentication").required(true))]
pub(super) struct Added {
    #[command(flatten)]
    configured: Configured,
    /// Its id [default: a random one].
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What people see.
    #[arg(long)]
    name: String,
    /// A redirect URI, written out; may be repeated.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// Where an EHR starts it.
    #[arg(long, value_name = "URL")]
    launch_url: Option<String>,
    /// The most that it can be granted, separated by spaces.
    #[arg(long, value_name = "SCOPES")]
    scope: String,
    /// A grant type; may be repeated [default: `authorization_code` and `refresh_token`].
    #[arg(long = "grant-type", value_name = "TYPE")]
    grant_types: Vec<String>,
    /// A role of the policies in which it acts for itself (`client_credentials`); may be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// It keeps no secret: an app in the browser or on a device.
    #[arg(long, group = "authentication")]
    public: bool,
    /// It authenticates by a secret, which is made and printed once.
    #[arg(long, group = "authentication")]
    secret: bool,
    /// How it sends its secret: `client_secret_basic` or `client_secret_post`; the other way is refused [default: either].
    #[arg(long, value_name = "METHOD", conflicts_with_all = ["public", "jwks", "jwks_uri"], value_parser = ["client_secret_basic", "client_secret_post"])]
    auth_method: Option<String>,
    /// It authenticates by a key whose public half is in this JWK Set.
    #[arg(long, value_name = "FILE", group = "authentication")]
    jwks: Option<PathBuf>,
    /// It authenticates by a key whose public half is at this https URL.
    #[arg(long, value_name = "URL", group = "authentication")]
    jwks_uri: Option<String>,
    /// Approved by the site: its users are not asked.
    #[arg(long)]
    approved: bool,
    /// It gets no token that is not bound to a key of its own (DPoP).
    #[arg(long)]
    dpop_bound_access_tokens: bool,
    /// Its authorization requests must be pushed.
    #[arg(long)]
    require_pushed_authorization_requests: bool,
    /// Print JSON, one object.
    #[arg(long)]
    json: bool,
}

/// An initial access token to make.
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(flatten)]
    configured: Configured,
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

async fn add(administration: &Administration, added: Added) -> Result<String, Failure> {
    let client_id = added.id.clone().unwrap_or_else(random::client_id);
    let mut mistakes = Vec::new();
    if !is_client_id(&client_id) {
        mistakes.push(format!(
            "client id `{client_id}` must be at most 200 visible ASCII characters without quotes, backslash and colon"
        ));
    }
    if administration.config.clients.iter().any(|client| client.client_id == client_id) {
        mistakes.push(format!("client `{client_id}` is in the configuration file; give another id"));
    }
    if administration.config.users.iter().any(|user| user.username == client_id) {
        mistakes.push(format!("`{client_id}` is the name of a user; tokens would not tell them apart"));
    }
    let metadata = metadata(&added, &mut mistakes);
    let (Some(metadata), true) = (metadata, mistakes.is_empty()) else {
        return Err(Failure::Usage(mistakes.join("\nfirebreak: ")));
    };
    let now = administration.clock.unix_seconds();
    let secret = added.secret.then(random::handle);
    let client = StoredClient {
        client_id: client_id.clone(),
        registered_at: now,
        registered_by: RegisteredBy::Administrator,
        allowed_scope: metadata.scope.clone(),
        metadata,
        either_secret_method: added.secret && added.auth_method.is_none(),
        client_secret: secret.as_deref().map(|secret| Digest::of(secret).to_hex()),
        registration_access_token: None,
        approved: added.approved,
        roles: added.roles,
    };
    client.registered(NEVER).map_err(|problem| Failure::Usage(format!("the client cannot be used: {problem}")))?;
    let store = &*administration.store;
    let act = act("client_added", &client_id);
    if !administration.act(act, registry::add(store, &client, NEVER, now)).await? {
        return Err(Failure::Failed(format!("there is a client `{client_id}` already; give another id")));
    }
    if added.json {
        let mut members = everything(&client);
        if let (Some(object), Some(secret)) = (members.as_object_mut(), secret) {
            object.insert("client_secret".to_owned(), secret.into());
        }
        return pretty(&members);
    }
    let mut lines = vec![format!("client_id     = {client_id}")];
    lines.extend(secret.map(|secret| format!("client_secret = {secret}    (shown this once)")));
    Ok(lines.join("\n"))
}

/// What the options say, checked like what clients say of themselves; what is wrong goes to `mistakes`.
fn metadata(added: &Added, mistakes: &mut Vec<String>) -> Option<ClientMetadata> {
    let before = mistakes.len();
    for uri in &added.redirect_uris {
        let acceptable = redirect_uri::acceptable(uri);
        mistakes.extend(acceptable.err().map(|expected| format!("redirect URI `{uri}` {expected}")));
    }
    mistakes.extend(unknown_scopes(&added.scope, false));
    let method = match (added.public, added.secret) {
        (true, _) => "none",
        (_, true) => added.auth_method.as_deref().unwrap_or("client_secret_basic"),
        _ => "private_key_jwt",
    };
    let grant_types = if added.grant_types.is_empty() {
        vec!["authorization_code".to_owned(), "refresh_token".to_owned()]
    } else {
        added.grant_types.clone()
    };
    let jwks =
        added.jwks.as_deref().map(read_jwks).transpose().map_err(|problem| mistakes.push(problem)).ok().flatten();
    let told = mistakes.len() > before;
    let sent = json!({
        "client_name": added.name,
        "redirect_uris": added.redirect_uris,
        "initiate_login_uri": added.launch_url,
        "scope": added.scope,
        "grant_types": grant_types,
        "token_endpoint_auth_method": method,
        "jwks": jwks,
        "jwks_uri": added.jwks_uri,
        "dpop_bound_access_tokens": added.dpop_bound_access_tokens,
        "require_pushed_authorization_requests": added.require_pushed_authorization_requests,
    });
    let read = SentMetadata::read(sent.to_string().as_bytes())
        .and_then(|sent| sent.checked(terms(&added.scope, RegisteredBy::Administrator.guard())));
    match read {
        Ok(metadata) => Some(metadata),
        // It would be told a second time, in other words.
        Err(_) if told => None,
        Err(problem) => {
            mistakes.push(problem.expected.to_owned());
            None
        }
    }
}

fn read_jwks(path: &Path) -> Result<Value, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|_| format!("`{}` must be a JWK Set: {{\"keys\": [...]}}", path.display()))
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

async fn mint(administration: &Administration, token: Token) -> Result<String, Failure> {
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
            "registration_endpoint": format!("{}{}", administration.config.issuer(), crate::grant::route::REGISTER),
        }));
    }
    let clients = if token.uses == 1 { "client" } else { "clients" };
    Ok(format!(
        "{}    (shown this once)\nregisters {} {clients} at {}{} until {}",
        secret.expose(),
        token.uses,
        administration.config.issuer(),
        crate::grant::route::REGISTER,
        time(expires)
    ))
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

fn lifetime(text: &str) -> Result<Duration, String> {
    let most = Duration::from_secs(366 * 86_400);
    let time = parse_duration(text).filter(|time| *time >= Duration::from_secs(60) && *time <= most);
    time.ok_or_else(|| "a length of time from 1m to 366d is expected, for instance `7d`".to_owned())
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

fn pretty(value: &Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::Failed(error.to_string()))
}
