//! Client metadata: what a client says of itself when it registers (RFC 7591 section 2, SMART App Launch 2.2 "register app
//! with EHR").
//!
//! Takes JSON and the [`Terms`]; gives what is registered, with the defaults of the RFC filled in. Promises: only what works
//! here is registered; addresses are written out; nothing is fetched. What is not known is ignored, what is wrong is refused.

mod members;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::members::is_plain;
use self::members::{
    AUTHORIZATION_CODE, authentication_method, contacts, flag, grant_types, is_system, keys, launch_url, page,
    redirect_uris, response_types, scope, text, wrong,
};

/// What a client registered, by the names of RFC 7591 section 2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientMetadata {
    /// Exact redirect URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// How it authenticates at the token endpoint.
    pub token_endpoint_auth_method: AuthenticationMethod,
    /// What it may ask the token endpoint for.
    pub grant_types: Vec<String>,
    /// What it may ask the authorization endpoint for.
    pub response_types: Vec<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// A page about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// Its logo. Kept and returned; never fetched and never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// The most it can be granted.
    pub scope: String,
    /// How to reach those responsible.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// Its terms of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// Its privacy policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// Where its public keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Its public keys (RFC 7517).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// The software that it is an instance of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Which version of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// The launch URL of SMART App Launch, by the name that OpenID Connect Dynamic Client Registration gives to a URL by which
    /// others start a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiate_login_uri: Option<String>,
    /// It gets no token that is not bound to a key (RFC 9449 section 5.2).
    pub dpop_bound_access_tokens: bool,
    /// Its authorization requests must be pushed (RFC 9126 section 6).
    pub require_pushed_authorization_requests: bool,
}

/// `token_endpoint_auth_method` (RFC 7591 section 2; `private_key_jwt` of OpenID Connect Core section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthenticationMethod {
    /// `none`: a public client.
    None,
    /// `client_secret_basic`, the default of RFC 7591.
    #[default]
    ClientSecretBasic,
    /// `client_secret_post`
    ClientSecretPost,
    /// `private_key_jwt`
    PrivateKeyJwt,
}

/// What a client may register at most.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Scope text; what it does not cover is not registered.
    pub allowed_scope: &'a str,
    /// Whether keys may be fetched from a URL.
    pub is_jwks_uri: fn(&str) -> bool,
}

/// Why metadata cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataProblem {
    /// Which error it is (RFC 7591 section 3.2.2).
    pub kind: ProblemKind,
    /// What was expected, a fixed sentence.
    pub expected: &'static str,
}

/// The errors of RFC 7591 section 3.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// `invalid_redirect_uri`
    RedirectUri,
    /// `invalid_client_metadata`
    Metadata,
    /// `invalid_software_statement`
    SoftwareStatement,
}

/// A registration as sent: any JSON for each member that is known here. Others are ignored; a member twice, or `null` for
/// absent, is what serde makes of it: an error, and absent.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SentMetadata {
    redirect_uris: Option<Value>,
    token_endpoint_auth_method: Option<Value>,
    grant_types: Option<Value>,
    response_types: Option<Value>,
    client_name: Option<Value>,
    client_uri: Option<Value>,
    logo_uri: Option<Value>,
    scope: Option<Value>,
    contacts: Option<Value>,
    tos_uri: Option<Value>,
    policy_uri: Option<Value>,
    jwks_uri: Option<Value>,
    jwks: Option<Value>,
    software_id: Option<Value>,
    software_version: Option<Value>,
    software_statement: Option<Value>,
    initiate_login_uri: Option<Value>,
    dpop_bound_access_tokens: Option<Value>,
    require_pushed_authorization_requests: Option<Value>,
    /// Of an update (RFC 7592 section 2.2).
    pub client_id: Option<Value>,
    /// Of an update.
    pub client_secret: Option<Value>,
    /// Must not be in an update.
    pub registration_access_token: Option<Value>,
    /// Must not be in an update.
    pub registration_client_uri: Option<Value>,
    /// Must not be in an update.
    pub client_secret_expires_at: Option<Value>,
    /// Must not be in an update.
    pub client_id_issued_at: Option<Value>,
}

impl SentMetadata {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// It is none, or has a member twice.
    pub fn read(json: &[u8]) -> Result<Self, MetadataProblem> {
        serde_json::from_slice(json)
            .map_err(|_| wrong("a JSON object of client metadata is expected, each member once (RFC 7591 section 2)"))
    }

    /// Whether it says what only the server may say (RFC 7592 section 2.2).
    #[must_use]
    pub fn has_what_the_server_says(&self) -> bool {
        self.registration_access_token.is_some()
            || self.registration_client_uri.is_some()
            || self.client_secret_expires_at.is_some()
            || self.client_id_issued_at.is_some()
    }

    /// What is registered of it.
    ///
    /// # Errors
    /// The first thing that cannot be registered.
    pub fn checked(self, terms: Terms<'_>) -> Result<ClientMetadata, MetadataProblem> {
        let (metadata, problems) = self.looked_at(terms);
        problems.into_iter().next().map_or(Ok(metadata), Err)
    }

    /// What is registered of it, and everything that cannot be: where there is any of that, nothing is.
    #[must_use]
    pub fn looked_at(self, terms: Terms<'_>) -> (ClientMetadata, Vec<MetadataProblem>) {
        let mut found = Problems::default();
        if self.software_statement.is_some() {
            found.0.push(MetadataProblem {
                kind: ProblemKind::SoftwareStatement,
                expected: "no software_statement is expected: none is trusted here",
            });
        }
        let token_endpoint_auth_method = found.none_in(authentication_method(self.token_endpoint_auth_method));
        let acts_for_itself = token_endpoint_auth_method == AuthenticationMethod::PrivateKeyJwt
            && terms.allowed_scope.split_ascii_whitespace().any(is_system);
        let grant_types = grant_types(self.grant_types, acts_for_itself);
        // Without grant types there is nothing to hold these against.
        let held = grant_types.is_ok();
        let grant_types = found.none_in(grant_types);
        let redirects = grant_types.iter().any(|name| name == AUTHORIZATION_CODE);
        let (jwks, jwks_uri) =
            found.none_in(keys(token_endpoint_auth_method, self.jwks, self.jwks_uri, terms.is_jwks_uri));
        let metadata = ClientMetadata {
            redirect_uris: found.none_in(redirect_uris(self.redirect_uris, redirects)),
            token_endpoint_auth_method,
            response_types: found.none_in(if held {
                response_types(self.response_types, redirects)
            } else {
                Ok(Vec::new())
            }),
            client_name: found
                .none_in(text(self.client_name, "client_name is expected to be at most 200 visible characters")),
            client_uri: found.none_in(page(self.client_uri)),
            logo_uri: found.none_in(page(self.logo_uri)),
            scope: found.none_in(if held {
                scope(self.scope, terms.allowed_scope, &grant_types)
            } else {
                Ok(String::new())
            }),
            contacts: found.none_in(contacts(self.contacts)),
            tos_uri: found.none_in(page(self.tos_uri)),
            policy_uri: found.none_in(page(self.policy_uri)),
            jwks_uri,
            jwks,
            software_id: found
                .none_in(text(self.software_id, "software_id is expected to be at most 200 visible characters")),
            software_version: found.none_in(text(
                self.software_version,
                "software_version is expected to be at most 200 visible characters",
            )),
            initiate_login_uri: found.none_in(launch_url(self.initiate_login_uri)),
            dpop_bound_access_tokens: found.none_in(flag(
                self.dpop_bound_access_tokens.as_ref(),
                "dpop_bound_access_tokens is expected to be true or false",
            )),
            require_pushed_authorization_requests: found.none_in(flag(
                self.require_pushed_authorization_requests.as_ref(),
                "require_pushed_authorization_requests is expected to be true or false",
            )),
            grant_types,
        };
        (metadata, found.0)
    }
}

/// What was found wrong.
#[derive(Default)]
struct Problems(Vec<MetadataProblem>);

impl Problems {
    /// What was checked; nothing, where it was found wrong.
    fn none_in<T: Default>(&mut self, checked: Result<T, MetadataProblem>) -> T {
        checked.unwrap_or_else(|problem| {
            self.0.push(problem);
            T::default()
        })
    }
}

impl AuthenticationMethod {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// Whether it needs a secret.
    #[must_use]
    pub fn has_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }
}

#[cfg(test)]
mod tests;
