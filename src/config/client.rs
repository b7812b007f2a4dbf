//! `[[client]]`: the registered clients (RFC 7591 section 2).

use std::path::Path;

use url::Url;

use super::raw::values;
use super::reader::{At, Reader, Section, plain_url};
use super::{Client, ClientAuthentication, Ehr, GrantType};
use crate::secret::Digest;

pub(super) fn client<'t>(reader: &mut Reader<'t>, mut section: Section<'t>, directory: &Path) -> Client {
    let line = section.line();
    let client_id = section.required(reader, "client_id", "\"my-app\"");
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b':'));
    if !plain(&client_id.value) || client_id.value.len() > 200 {
        reader.mistake(
            client_id.line,
            "`client_id` must be at most 200 visible ASCII characters without quotes, backslash and colon",
        );
    }
    let client_name = section.string(reader, "client_name").map_or_else(|| client_id.value.clone(), |name| name.value);
    let secret = section.string(reader, "client_secret_sha256");
    let jwks = section.string(reader, "jwks_file");
    let ehr_section = section.table(reader, "ehr");
    let authentication = authentication(reader, secret, jwks, directory);
    let redirect_uris = redirect_uris(reader, &mut section);
    let launch_urls = launch_urls(reader, &mut section);
    let origins = origins(reader, &mut section);
    let scope = section.string(reader, "scope").map_or_else(String::new, |scope| scope.value);
    let approved = section.flag(reader, "approved").unwrap_or(false);
    let grant_types = section
        .strings(reader, "grant_types")
        .into_iter()
        .filter_map(|text| match &*text.value {
            "authorization_code" => Some(GrantType::AuthorizationCode),
            "refresh_token" => Some(GrantType::RefreshToken),
            _ => {
                reader.mistake(text.line, "`grant_types` may hold \"authorization_code\" and \"refresh_token\"");
                None
            }
        })
        .collect::<Vec<_>>();
    let ehr = ehr_section.map(|section| ehr(reader, section));
    if ehr.is_none() && redirect_uris.is_empty() && !section.has("redirect_uris") {
        reader.mistake(
            line,
            format!(
                "client `{}` lacks `redirect_uris`; for instance `redirect_uris = [\"https://app.example/callback\"]`",
                client_id.value
            ),
        );
    }
    if ehr.is_some() && !matches!(authentication, ClientAuthentication::PrivateKeyJwt { .. }) {
        reader.mistake(
            line,
            format!(
                "client `{}` has [client.ehr] and lacks `jwks_file`: an EHR authenticates by its key",
                client_id.value
            ),
        );
    }
    reader.close(&section);
    Client {
        client_id: client_id.value,
        client_name,
        authentication,
        redirect_uris,
        launch_urls,
        origins,
        scope,
        grant_types: if grant_types.is_empty() {
            vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
        } else {
            grant_types
        },
        approved,
        ehr,
    }
}

fn redirect_uris<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<String> {
    section
        .strings(reader, "redirect_uris")
        .into_iter()
        .filter_map(|uri| match redirect_uri(&uri.value) {
            Ok(()) => Some(uri.value),
            Err(expected) => {
                reader.mistake(uri.line, format!("a redirect URI {expected}"));
                None
            }
        })
        .collect()
}

fn launch_urls<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<Url> {
    section
        .strings(reader, "launch_urls")
        .into_iter()
        .filter_map(|text| {
            let url = Url::parse(&text.value).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https") && url.fragment().is_none() && url.username().is_empty()
            });
            if url.is_none() {
                reader
                    .mistake(text.line, "a launch URL must be an absolute http or https URL without user and fragment");
            }
            url
        })
        .collect()
}

fn origins<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<String> {
    section
        .strings(reader, "origins")
        .into_iter()
        .filter_map(|text| {
            let origin =
                plain_url(&text.value).filter(|url| url.path() == "/").map(|url| url.origin().ascii_serialization());
            if origin.is_none() {
                reader.mistake(
                    text.line,
                    "an origin must be scheme, host and port alone, for instance \"https://app.example\"",
                );
            }
            origin
        })
        .collect()
}

fn authentication(
    reader: &mut Reader<'_>,
    secret: Option<At<String>>,
    jwks: Option<At<String>>,
    directory: &Path,
) -> ClientAuthentication {
    let (line, expected) = match (secret, jwks) {
        (None, None) => return ClientAuthentication::None,
        (Some(secret), None) => match digest(&secret.value) {
            Some(digest) => return ClientAuthentication::Secret(digest),
            None => (
                secret.line,
                "`client_secret_sha256` must be 64 hexadecimal digits: the SHA-256 of the secret".to_owned(),
            ),
        },
        (None, Some(path)) => match jwk_set(&directory.join(&path.value)) {
            Some(jwks) => return ClientAuthentication::PrivateKeyJwt { jwks },
            None => (path.line, format!("`{}` must be a readable JWK Set: {{\"keys\": [...]}}", path.value)),
        },
        (Some(secret), Some(_)) => {
            (secret.line, "a client has either `client_secret_sha256` or `jwks_file`, not both".to_owned())
        }
    };
    reader.mistake(line, expected);
    ClientAuthentication::None
}

/// The text of a JWK Set file (RFC 7517 section 5); its keys are looked at when the client is registered.
fn jwk_set(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let set: serde_json::Value = serde_json::from_str(&text).ok()?;
    set.get("keys")?.is_array().then_some(text)
}

/// Absolute, no fragment, no user; https, or http on loopback, or a private scheme of a native app (RFC 8252 section 7).
fn redirect_uri(text: &str) -> Result<(), &'static str> {
    let url = Url::parse(text).map_err(|_| "must be an absolute URI")?;
    if url.fragment().is_some() {
        return Err("must have no fragment");
    }
    if text.contains('*') {
        return Err("must be written out: wildcards are not served");
    }
    match url.scheme() {
        "https" if url.username().is_empty() => Ok(()),
        "http" if matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) && url.username().is_empty() => {
            Ok(())
        }
        "http" | "https" => Err("must be https without a user, or http on loopback"),
        scheme if scheme.contains('.') => Ok(()),
        _ => Err("must be https, http on loopback, or a private scheme with a dot, as `org.example.app:/callback`"),
    }
}

fn ehr<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> Ehr {
    let ehr = Ehr {
        vouches_for_users: section.flag(reader, "vouches_for_users").unwrap_or(false),
        user_issuers: values(section.strings(reader, "user_issuers")),
        user_types: values(section.strings(reader, "user_types")),
        roles: values(section.strings(reader, "roles")),
    };
    reader.close(&section);
    ehr
}

fn digest(hex: &str) -> Option<Digest> {
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(Digest(bytes))
}
