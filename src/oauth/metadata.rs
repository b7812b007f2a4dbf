//! Client metadata: what a client says of itself when it registers (RFC 7591 section 2, SMART App Launch 2.2 "register app
//! with EHR").
//!
//! Takes JSON and the [`Terms`]; gives what is registered, with the defaults of the RFC filled in. Promises: only what works
//! here is registered; addresses are written out; nothing is fetched. What is not known is ignored, what is wrong is refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::redirect_uri;
use crate::jose::{ClientKeys, JwksProblem};
use crate::smart::scope::{Level, MOST as MOST_SCOPES, Scope};

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

const AUTHORIZATION_CODE: &str = "authorization_code";
const REFRESH_TOKEN: &str = "refresh_token";
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// Longest URI that is kept, in bytes.
const LONGEST_URI: usize = 2_000;

/// Longest text that is kept, in characters.
const LONGEST_TEXT: usize = 200;

/// Most redirect URIs or contacts.
const MOST: usize = 20;

const fn wrong(expected: &'static str) -> MetadataProblem {
    MetadataProblem { kind: ProblemKind::Metadata, expected }
}

fn authentication_method(sent: Option<Value>) -> Result<AuthenticationMethod, MetadataProblem> {
    let expected =
        "token_endpoint_auth_method is expected to be none, client_secret_basic, client_secret_post or private_key_jwt";
    sent.map_or(Ok(AuthenticationMethod::default()), |sent| serde_json::from_value(sent).map_err(|_| wrong(expected)))
}

/// A client acts for itself when it has a key and may have `system/` scopes.
fn grant_types(sent: Option<Value>, acts_for_itself: bool) -> Result<Vec<String>, MetadataProblem> {
    let expected = "grant_types is expected to hold authorization_code, and refresh_token beside it; client_credentials is \
                    for clients that authenticate by private_key_jwt and may have system/ scopes";
    let Some(sent) = sent else { return Ok(vec![AUTHORIZATION_CODE.to_owned()]) };
    let mut named = strings(sent).ok_or(wrong(expected))?;
    let has = |wanted: &str| named.iter().any(|name| name == wanted);
    let known = [AUTHORIZATION_CODE, REFRESH_TOKEN, CLIENT_CREDENTIALS];
    let useful = has(AUTHORIZATION_CODE) || (has(CLIENT_CREDENTIALS) && !has(REFRESH_TOKEN));
    let allowed = acts_for_itself || !has(CLIENT_CREDENTIALS);
    if !useful || !allowed || !named.iter().all(|name| known.contains(&name.as_str())) {
        return Err(wrong(expected));
    }
    named.sort();
    named.dedup();
    Ok(named)
}

fn response_types(sent: Option<Value>, redirects: bool) -> Result<Vec<String>, MetadataProblem> {
    let expected = "response_types is expected to be [\"code\"] with the grant type authorization_code, else empty";
    let fitting: &[&str] = if redirects { &["code"] } else { &[] };
    let named = match sent {
        None => return Ok(fitting.iter().map(|&name| name.to_owned()).collect()),
        // Seen in the wild: one string in the place of a list.
        Some(Value::String(one)) => vec![one],
        Some(sent) => strings(sent).ok_or(wrong(expected))?,
    };
    if named == fitting { Ok(named) } else { Err(wrong(expected)) }
}

fn redirect_uris(sent: Option<Value>, needed: bool) -> Result<Vec<String>, MetadataProblem> {
    let bad = |expected| MetadataProblem { kind: ProblemKind::RedirectUri, expected };
    let uris = match sent {
        None => Vec::new(),
        Some(sent) => strings(sent).ok_or(bad("redirect_uris is expected to be a list of strings"))?,
    };
    if uris.is_empty() && needed {
        return Err(bad("redirect_uris is expected to hold at least one redirect URI"));
    }
    if uris.len() > MOST || uris.iter().any(|uri| uri.len() > LONGEST_URI) {
        return Err(bad("at most 20 redirect URIs are expected, each of at most 2000 characters"));
    }
    for (position, uri) in uris.iter().enumerate() {
        if redirect_uri::acceptable(uri).is_err() {
            return Err(bad(
                "a redirect URI is expected to be written out, without wildcard, fragment and user: https, http on \
                 loopback, or a private scheme with a dot, as org.example.app:/callback",
            ));
        }
        if uris.iter().take(position).any(|before| before == uri) {
            return Err(bad("each redirect URI is expected once"));
        }
    }
    Ok(uris)
}

/// A launch URL (SMART App Launch 2.2 "register app with EHR"): fully specified.
fn launch_url(sent: Option<Value>) -> Result<Option<String>, MetadataProblem> {
    let expected =
        "initiate_login_uri is expected to be the launch URL: https, or http on loopback, without fragment and user";
    let Some(sent) = sent else { return Ok(None) };
    let text = string(sent).filter(|text| text.len() <= LONGEST_URI).ok_or(wrong(expected))?;
    let web = Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if web && redirect_uri::acceptable(&text).is_ok() { Ok(Some(text)) } else { Err(wrong(expected)) }
}

/// A page that a person might open.
fn page(sent: Option<Value>) -> Result<Option<String>, MetadataProblem> {
    let expected =
        "client_uri, logo_uri, tos_uri and policy_uri are expected to be https URLs of at most 2000 characters";
    let Some(sent) = sent else { return Ok(None) };
    let text = string(sent).filter(|text| text.len() <= LONGEST_URI && text.bytes().all(|b| b.is_ascii_graphic()));
    let text = text.filter(|text| Url::parse(text).is_ok_and(|url| url.scheme() == "https" && no_user(&url)));
    text.map(Some).ok_or(wrong(expected))
}

fn no_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Text that is shown to people: nothing that is invisible or turns the direction of what follows.
fn text(sent: Option<Value>, expected: &'static str) -> Result<Option<String>, MetadataProblem> {
    let Some(sent) = sent else { return Ok(None) };
    let text = string(sent).filter(|text| is_plain(text)).ok_or(wrong(expected))?;
    Ok(Some(text))
}

/// Whether a person sees what is there.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    // Control characters, those that turn the direction, and those that are blank (Default_Ignorable_Code_Point, fillers).
    let shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
    };
    // Those that choose the form of the sign before them show nothing without one.
    let stands_alone = |c: char| !c.is_whitespace() && !matches!(c, '\u{fe00}'..='\u{fe0f}');
    text.chars().any(stands_alone) && text.chars().count() <= LONGEST_TEXT && text.chars().all(shown)
}

fn contacts(sent: Option<Value>) -> Result<Vec<String>, MetadataProblem> {
    let expected = "contacts is expected to be a list of at most 20 texts of at most 200 visible characters";
    let contacts = sent.map_or(Some(Vec::new()), strings).ok_or(wrong(expected))?;
    let good = contacts.len() <= MOST && contacts.iter().all(|contact| is_plain(contact));
    if good { Ok(contacts) } else { Err(wrong(expected)) }
}

/// What of the scopes asked for is allowed; all that is allowed where none are asked for.
fn scope(sent: Option<Value>, allowed: &str, grant_types: &[String]) -> Result<String, MetadataProblem> {
    let expected = "scope is expected to be a text of at most 400 scopes of which at least one may be registered here";
    let asked = match sent {
        None => allowed.to_owned(),
        Some(sent) => string(sent).ok_or(wrong(expected))?,
    };
    let has = |wanted: &str| grant_types.iter().any(|name| name == wanted);
    let (refreshes, launches) = (has(REFRESH_TOKEN), has(AUTHORIZATION_CODE));
    let acts_for_itself = has(CLIENT_CREDENTIALS);
    let known: Vec<Scope> = allowed.split_ascii_whitespace().map(Scope::parse).collect();
    let mut kept: Vec<&str> = Vec::new();
    for text in asked.split_ascii_whitespace() {
        let scope = Scope::parse(text);
        let fits =
            if is_system(text) { acts_for_itself } else { launches && (refreshes || scope != Scope::OfflineAccess) };
        if fits && scope.is_covered_by(&known) && !kept.contains(&text) {
            kept.push(text);
        }
    }
    if kept.is_empty() || kept.len() > MOST_SCOPES { Err(wrong(expected)) } else { Ok(kept.join(" ")) }
}

/// Keys by value or by URL, never both (RFC 7591 section 2), and one of them for who authenticates by a key.
fn keys(
    method: AuthenticationMethod,
    jwks: Option<Value>,
    jwks_uri: Option<Value>,
    is_jwks_uri: fn(&str) -> bool,
) -> Result<(Option<Value>, Option<String>), MetadataProblem> {
    let needed = method == AuthenticationMethod::PrivateKeyJwt;
    match (jwks, jwks_uri) {
        (Some(_), Some(_)) => Err(wrong("either jwks or jwks_uri is expected, not both")),
        (None, None) if needed => Err(wrong("private_key_jwt is expected to come with jwks or jwks_uri")),
        (None, None) => Ok((None, None)),
        (Some(jwks), None) => match ClientKeys::parse(&jwks.to_string()) {
            Ok(_) => Ok((Some(jwks), None)),
            Err(problem) => Err(wrong(match problem {
                JwksProblem::NotAJwkSet => {
                    "jwks is expected to be an object with an array keys of keys with kty and kid"
                }
                JwksProblem::PrivateKey => {
                    "jwks is expected to hold public keys alone; the private or symmetric one in it is disclosed now"
                }
                JwksProblem::KidTwice => "each kid in jwks is expected once",
                JwksProblem::NoUsableKey => {
                    "jwks is expected to hold a key for RS384 (RSA of 2048 bits or more) or ES384 (P-384)"
                }
            })),
        },
        (None, Some(uri)) => {
            let text =
                string(uri).filter(|text| text.len() <= LONGEST_URI && text.bytes().all(|b| b.is_ascii_graphic()));
            let text = text.filter(|text| is_jwks_uri(text));
            let expected =
                "jwks_uri is expected to be an https URL without user and fragment, and not at a private address";
            text.map(|text| (None, Some(text))).ok_or(wrong(expected))
        }
    }
}

/// A boolean whose default is false.
fn flag(sent: Option<&Value>, expected: &'static str) -> Result<bool, MetadataProblem> {
    match sent {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(expected)),
    }
}

/// Whether a scope is one of backend services.
fn is_system(scope: &str) -> bool {
    matches!(Scope::parse(scope), Scope::Resource(scope) if scope.level == Level::System)
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn strings(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.into_iter().map(string).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
