//! What each member of client metadata may be (RFC 7591 section 2): takes it as sent, gives what is registered of it, or what was
//! expected.

use serde_json::Value;
use url::Url;

use super::{AuthenticationMethod, MetadataProblem, ProblemKind};
use crate::jose::{ClientKeys, JwksProblem};
use crate::oauth::redirect_uri;
use crate::smart::scope::{Level, MOST as MOST_SCOPES, Scope};

pub(super) const AUTHORIZATION_CODE: &str = "authorization_code";
const REFRESH_TOKEN: &str = "refresh_token";
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// Longest URI that is kept, in bytes.
const LONGEST_URI: usize = 2_000;

/// Longest text that is kept, in characters.
const LONGEST_TEXT: usize = 200;

/// Most redirect URIs or contacts.
const MOST: usize = 20;

pub(super) const fn wrong(expected: &'static str) -> MetadataProblem {
    MetadataProblem { kind: ProblemKind::Metadata, expected }
}

pub(super) fn authentication_method(sent: Option<Value>) -> Result<AuthenticationMethod, MetadataProblem> {
    let expected =
        "token_endpoint_auth_method is expected to be none, client_secret_basic, client_secret_post or private_key_jwt";
    sent.map_or(Ok(AuthenticationMethod::default()), |sent| serde_json::from_value(sent).map_err(|_| wrong(expected)))
}

/// A client acts for itself when it has a key and may have `system/` scopes.
pub(super) fn grant_types(sent: Option<Value>, acts_for_itself: bool) -> Result<Vec<String>, MetadataProblem> {
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

pub(super) fn response_types(sent: Option<Value>, redirects: bool) -> Result<Vec<String>, MetadataProblem> {
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

pub(super) fn redirect_uris(sent: Option<Value>, needed: bool) -> Result<Vec<String>, MetadataProblem> {
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
pub(super) fn launch_url(sent: Option<Value>) -> Result<Option<String>, MetadataProblem> {
    let expected =
        "initiate_login_uri is expected to be the launch URL: https, or http on loopback, without fragment and user";
    let Some(sent) = sent else { return Ok(None) };
    let text = string(sent).filter(|text| text.len() <= LONGEST_URI).ok_or(wrong(expected))?;
    let web = Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if web && redirect_uri::acceptable(&text).is_ok() { Ok(Some(text)) } else { Err(wrong(expected)) }
}

/// A page that a person might open.
pub(super) fn page(sent: Option<Value>) -> Result<Option<String>, MetadataProblem> {
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
pub(super) fn text(sent: Option<Value>, expected: &'static str) -> Result<Option<String>, MetadataProblem> {
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

pub(super) fn contacts(sent: Option<Value>) -> Result<Vec<String>, MetadataProblem> {
    let expected = "contacts is expected to be a list of at most 20 texts of at most 200 visible characters";
    let contacts = sent.map_or(Some(Vec::new()), strings).ok_or(wrong(expected))?;
    let good = contacts.len() <= MOST && contacts.iter().all(|contact| is_plain(contact));
    if good { Ok(contacts) } else { Err(wrong(expected)) }
}

/// What of the scopes asked for is allowed; all that is allowed where none are asked for.
pub(super) fn scope(sent: Option<Value>, allowed: &str, grant_types: &[String]) -> Result<String, MetadataProblem> {
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
pub(super) fn keys(
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
pub(super) fn flag(sent: Option<&Value>, expected: &'static str) -> Result<bool, MetadataProblem> {
    match sent {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(wrong(expected)),
    }
}

/// Whether a scope is one of backend services.
pub(super) fn is_system(scope: &str) -> bool {
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
