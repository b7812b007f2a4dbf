//! `firebreak client add`: registers a client in the store.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::known::everything;
use super::{Administration, Configured, Failure, act, pretty};
use crate::clients::registry;
use crate::clients::stored::{NEVER, RegisteredBy, StoredClient, terms};
use crate::config::{is_client_id, meant_scopes, unknown_scopes};
use crate::oauth::metadata::{ClientMetadata, SentMetadata};
use crate::oauth::redirect_uri;
use crate::random;
use crate::secret::Digest;

/// A client to register.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(group = clap::ArgGroup::new("authentication").required(true))]
pub(in crate::command) struct Added {
    #[command(flatten)]
    pub(super) configured: Configured,
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

/// Registers it.
pub(super) async fn add(administration: &Administration, added: Added) -> Result<String, Failure> {
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

/// A URL of nobody.
const GOOD_URL: &str = "https://app.invalid/";

/// What the options say, checked like what clients say of themselves; what is wrong goes to `mistakes`.
fn metadata(added: &Added, mistakes: &mut Vec<String>) -> Option<ClientMetadata> {
    let before = mistakes.len();
    // What is told of here has something good in its place below: it is told once, and the rest is looked at.
    let (mut redirect_uris, mut scope) = (added.redirect_uris.clone(), added.scope.clone());
    let (mut jwks, mut jwks_uri) = (None, added.jwks_uri.as_deref());
    for uri in &added.redirect_uris {
        if let Err(expected) = redirect_uri::acceptable(uri) {
            mistakes.push(format!("redirect URI `{uri}` {expected}"));
            redirect_uris = vec![GOOD_URL.to_owned()];
        }
    }
    let unknown = unknown_scopes(&added.scope, false);
    if !unknown.is_empty() {
        mistakes.extend(unknown);
        scope = meant_scopes(&added.scope, "openid system/*.rs");
    }
    match added.jwks.as_deref().map(read_jwks).transpose() {
        Ok(read) => jwks = read,
        Err(problem) => {
            mistakes.push(problem);
            jwks_uri = Some(GOOD_URL);
        }
    }
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
    let sent = json!({
        "client_name": added.name,
        "redirect_uris": redirect_uris,
        "initiate_login_uri": added.launch_url,
        "scope": scope,
        "grant_types": grant_types,
        "token_endpoint_auth_method": method,
        "jwks": jwks,
        "jwks_uri": jwks_uri,
        "dpop_bound_access_tokens": added.dpop_bound_access_tokens,
        "require_pushed_authorization_requests": added.require_pushed_authorization_requests,
    });
    let terms = terms(&scope, RegisteredBy::Administrator.guard());
    match SentMetadata::read(sent.to_string().as_bytes()).map(|sent| sent.looked_at(terms)) {
        Ok((metadata, problems)) => {
            mistakes.extend(problems.iter().map(|problem| problem.expected.to_owned()));
            (mistakes.len() == before).then_some(metadata)
        }
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
