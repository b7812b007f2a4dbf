//! What `client list` and `client show` tell of clients, wherever they are registered.

use serde_json::{Value, json};

use super::{Administration, Failure, time};
use crate::clients::registry::{self, Found};
use crate::clients::stored::{NEVER, StoredClient};
use crate::command::administration::Act;
use crate::config::{self, ClientAuthentication, Dpop, SecretSent};
use crate::store::StoreError;

/// A client, wherever it is registered.
pub(super) enum Known {
    Configured { client: Box<config::Client>, disabled: bool },
    Stored { found: Box<Found>, disabled: bool, hidden: bool },
}

pub(super) async fn known(administration: &Administration) -> Result<Vec<Known>, Failure> {
    let (store, now) = (&*administration.store, administration.clock.unix_seconds());
    let act = Act { action: "clients_listed", ..Act::default() };
    let listed =
        async { Ok::<_, StoreError>((registry::list(store, now).await?, registry::disabled(store, now).await?)) };
    let (stored, disabled) = administration.act(act, listed).await?;
    let is_disabled = |client_id: &str| disabled.iter().any(|disabled| disabled == client_id);
    let configured = &administration.config.clients;
    let hidden = |client_id: &str| configured.iter().any(|client| client.client_id == client_id);
    let from_file = configured
        .iter()
        .map(|client| Known::Configured { client: Box::new(client.clone()), disabled: is_disabled(&client.client_id) });
    let from_store = stored.into_iter().map(|found| Known::Stored {
        disabled: is_disabled(&found.client.client_id),
        hidden: hidden(&found.client.client_id),
        found: Box::new(found),
    });
    Ok(from_file.chain(from_store).collect())
}

impl Known {
    pub(super) fn client_id(&self) -> &str {
        match self {
            Self::Configured { client, .. } => &client.client_id,
            Self::Stored { found, .. } => &found.client.client_id,
        }
    }

    fn state(&self) -> &'static str {
        match self {
            Self::Configured { disabled: true, .. } | Self::Stored { disabled: true, .. } => "disabled",
            Self::Stored { hidden: true, .. } => "not served: the configuration file has this id",
            Self::Configured { .. } | Self::Stored { .. } => "active",
        }
    }

    fn from(&self) -> String {
        match self {
            Self::Configured { .. } => "the configuration file".to_owned(),
            Self::Stored { found, .. } => found.client.registered_by.to_string(),
        }
    }

    fn row(&self) -> [String; 6] {
        let (name, method, since) = match self {
            Self::Configured { client, .. } => (client.client_name.clone(), method(client), "-".to_owned()),
            Self::Stored { found, .. } => {
                let client = &found.client;
                let name = client.metadata.client_name.clone().unwrap_or_else(|| "-".to_owned());
                (name, stored_method(client), time(client.registered_at))
            }
        };
        [self.client_id().to_owned(), name, method.to_owned(), self.state().to_owned(), self.from(), since]
    }

    pub(super) fn summary(&self) -> Value {
        let [client_id, client_name, method, state, from, since] = self.row();
        json!({
            "client_id": client_id, "client_name": client_name, "token_endpoint_auth_method": method,
            "state": state, "registered_by": from, "registered_at": since,
        })
    }

    pub(super) fn everything(&self) -> Value {
        let mut members = match self {
            Self::Configured { client, .. } => json!({
                "client_id": client.client_id,
                "client_name": client.client_name,
                "redirect_uris": client.redirect_uris,
                "launch_urls": client.launch_urls,
                "scope": client.scope,
                "token_endpoint_auth_method": method(client),
                "dpop_bound_access_tokens": client.dpop == Dpop::Required,
                "require_pushed_authorization_requests": client.require_pushed_authorization_requests,
                "approved": client.approved,
            }),
            Self::Stored { found, .. } => {
                let mut members = everything(&found.client);
                if let Some(object) = members.as_object_mut()
                    && found.expires != NEVER
                {
                    object.insert("forgotten_unless_used_before".to_owned(), time(found.expires).into());
                }
                members
            }
        };
        if let Some(object) = members.as_object_mut() {
            object.insert("state".to_owned(), self.state().into());
            object.insert("registered_by".to_owned(), self.from().into());
        }
        members
    }

    /// One line for each member.
    pub(super) fn text(&self) -> String {
        let everything = self.everything();
        let members = || everything.as_object().into_iter().flatten();
        let width = members().map(|(name, _)| name.len()).max().unwrap_or_default();
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        members().map(|(name, value)| format!("{name:width$}  {}", shown(value))).collect::<Vec<_>>().join("\n")
    }
}

/// What the store has of a client, without its secrets.
pub(super) fn everything(client: &StoredClient) -> Value {
    let mut members = serde_json::to_value(&client.metadata).unwrap_or_default();
    if let Some(object) = members.as_object_mut() {
        object.insert("client_id".to_owned(), client.client_id.clone().into());
        object.insert("token_endpoint_auth_method".to_owned(), stored_method(client).into());
        object.insert("registered_at".to_owned(), time(client.registered_at).into());
        object.insert("approved".to_owned(), client.approved.into());
        object.insert("roles".to_owned(), client.roles.clone().into());
    }
    members
}

/// What a client is called that may send its secret either way.
const EITHER: &str = "client_secret_basic or client_secret_post";

fn stored_method(client: &StoredClient) -> &'static str {
    if client.either_secret_method { EITHER } else { client.metadata.token_endpoint_auth_method.name() }
}

fn method(client: &config::Client) -> &'static str {
    match client.authentication {
        ClientAuthentication::None => "none",
        ClientAuthentication::Secret(_) => match client.secret_sent {
            SecretSent::Either => EITHER,
            SecretSent::Basic => "client_secret_basic",
            SecretSent::Post => "client_secret_post",
        },
        ClientAuthentication::PrivateKeyJwt { .. } | ClientAuthentication::PrivateKeyJwtByUrl { .. } => {
            "private_key_jwt"
        }
    }
}

pub(super) fn table(known: &[Known]) -> String {
    if known.is_empty() {
        return "no clients".to_owned();
    }
    let mut rows = vec![["CLIENT", "NAME", "AUTHENTICATION", "STATE", "REGISTERED BY", "SINCE"].map(str::to_owned)];
    rows.extend(known.iter().map(Known::row));
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 6]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
