//! `[[client]]`: the registered clients (RFC 7591 section 2).

use std::path::Path;
use std::time::Duration;

use url::Url;

use super::raw::values;
use super::reader::{At, Reader, Section, plain_url};
use super::scope::unknown_scopes;
use super::{
    AssertionAudience, Client, ClientAuthentication, Dpop, Ehr, FhirContextForm, GrantType, JwksUri, SecretSent,
};
use crate::jose::AssertionAlgorithm;
use crate::oauth::redirect_uri;
use crate::outbound::Guard;
use crate::secret::Digest;
use crate::smart::scope::MOST;

pub(super) fn client<'t>(reader: &mut Reader<'t>, mut section: Section<'t>, directory: &Path) -> Client {
    let line = section.line();
    let client_id = section.required(reader, "client_id", "\"my-app\"");
    if !client_id.value.is_empty() && !is_client_id(&client_id.value) {
        reader.mistake(
            client_id.line,
            "`client_id` must be at most 200 visible ASCII characters without quotes, backslash and colon",
        );
    }
    let client_name = section.string(reader, "client_name").map_or_else(|| client_id.value.clone(), |name| name.value);
    let before = reader.told();
    let authentication = authentication(reader, &mut section, directory);
    let mut written = Written { authentication: reader.told() > before, ..Written::default() };
    let secret_sent = section.choice(
        reader,
        "token_endpoint_auth_method",
        &[("client_secret_basic", SecretSent::Basic), ("client_secret_post", SecretSent::Post)],
        SecretSent::default(),
    );
    let (token_endpoint_auth_signing_alg, assertion_audience) = assertions(reader, &mut section);
    let mut ehr_section = section.table(reader, "ehr");
    if let Some(ehr) = &mut ehr_section {
        "[client.ehr]".clone_into(&mut ehr.name);
    }
    let redirect_uris = redirect_uris(reader, &mut section, "redirect_uris");
    let post_logout_redirect_uris = self::redirect_uris(reader, &mut section, "post_logout_redirect_uris");
    let introspects = section.flag(reader, "introspects").unwrap_or(false);
    let launch_urls = launch_urls(reader, &mut section);
    let origins = origins(reader, &mut section);
    let before = reader.told();
    let scope = scope(reader, &mut section);
    written.scope = reader.told() > before;
    let roles = section.strings(reader, "roles");
    let has_lifetime = section.has("access_token_lifetime");
    let (least, most, otherwise) = (Duration::from_secs(30), Duration::from_secs(3600), Duration::from_secs(300));
    // Asked for even when it is not there, so that a typing error in it is answered with it.
    let access_token_lifetime = section.duration(reader, "access_token_lifetime", (least, most), otherwise);
    let access_token_lifetime = has_lifetime.then_some(access_token_lifetime);
    let approved = section.flag(reader, "approved").unwrap_or(false);
    let dpop = section.choice(
        reader,
        "dpop",
        &[("off", Dpop::Off), ("optional", Dpop::Optional), ("required", Dpop::Required)],
        Dpop::default(),
    );
    let dpop_nonces = section.flag(reader, "dpop_nonces").unwrap_or(false);
    let require_pushed_authorization_requests =
        section.flag(reader, "require_pushed_authorization_requests").unwrap_or(false);
    let fhir_context_form = section.choice(
        reader,
        "fhir_context_form",
        &[("objects", FhirContextForm::Objects), ("strings", FhirContextForm::Strings)],
        FhirContextForm::default(),
    );
    let before = reader.told();
    let grant_types = grant_types(reader, &mut section);
    written.grant_types = reader.told() > before;
    let ehr = ehr_section.map(|section| ehr(reader, section));
    written.redirects = section.has("redirect_uris");
    reader.close(&section);
    let client = Client {
        client_id: client_id.value,
        client_name,
        authentication,
        secret_sent,
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
        unverified: false,
        ehr,
        fhir_context_form,
        introspects,
        post_logout_redirect_uris,
        dpop,
        dpop_nonces,
        require_pushed_authorization_requests,
        token_endpoint_auth_signing_alg,
        assertion_audience,
        access_token_lifetime,
        roles: values(roles),
    };
    agree(reader, line, &client, written);
    client
}

/// What of a client was written at all, and what was told of already: what follows from that is not told beside it.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
struct Written {
    redirects: bool,
    authentication: bool,
    scope: bool,
    grant_types: bool,
}

/// The scopes, each of which is one.
fn scope<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> String {
    let Some(scope) = section.string(reader, "scope") else { return String::new() };
    let number = scope.value.split_whitespace().count();
    if number > MOST {
        reader.mistake(scope.line, format!("`scope` may hold at most {MOST} scopes, not {number}"));
    }
    for problem in unknown_scopes(&scope.value, true) {
        reader.mistake(scope.line, problem);
    }
    scope.value
}

/// What the keys of one client say must go together.
fn agree(reader: &mut Reader<'_>, line: usize, client: &Client, told: Written) {
    let has_keys = client.authentication.is_private_key_jwt();
    let acts_for_itself = client.grant_types.contains(&GrantType::ClientCredentials);
    let has_no_users = client.ehr.is_some() || client.introspects || (acts_for_itself && client.grant_types.len() == 1);
    let requirements = [
        (
            told.grant_types || has_no_users || told.redirects,
            "lacks `redirect_uris`; for instance `redirect_uris = [\"https://app.example/callback\"]`",
        ),
        (
            told.authentication || !client.introspects || !matches!(client.authentication, ClientAuthentication::None),
            "has `introspects` and cannot authenticate; give `client_secret_sha256`, `jwks_file` or `jwks_uri`",
        ),
        (
            told.authentication
                || client.secret_sent == SecretSent::Either
                || matches!(client.authentication, ClientAuthentication::Secret(_)),
            "has `token_endpoint_auth_method`, which says where a secret is sent, and lacks `client_secret_sha256`",
        ),
        (
            !client.dpop_nonces || client.dpop != Dpop::Off,
            "has `dpop_nonces` and `dpop = \"off\"`: its proofs are not looked at",
        ),
        (
            told.authentication || client.ehr.is_none() || has_keys,
            "has [client.ehr] and lacks `jwks_file` or `jwks_uri`: an EHR authenticates by its key",
        ),
        (
            told.authentication || !acts_for_itself || has_keys,
            "may use \"client_credentials\" and lacks `jwks_file` or `jwks_uri`: a backend service authenticates by its key",
        ),
        (
            told.scope || !acts_for_itself || client.scope.split_whitespace().any(|scope| scope.starts_with("system/")),
            "may use \"client_credentials\" and has no `system/` scope in `scope`, which is the most it can be granted",
        ),
        (
            told.grant_types || acts_for_itself || (client.roles.is_empty() && client.access_token_lifetime.is_none()),
            "has `roles` or `access_token_lifetime`, which are for \"client_credentials\" among its `grant_types`",
        ),
    ];
    for (_, lacking) in requirements.into_iter().filter(|(fulfilled, _)| !fulfilled) {
        reader.mistake(line, format!("client `{}` {lacking}", client.client_id));
    }
}

/// What the client's assertions must be like besides signed by its key.
fn assertions<'t>(
    reader: &mut Reader<'t>,
    section: &mut Section<'t>,
) -> (Option<AssertionAlgorithm>, AssertionAudience) {
    let (rs384, es384) = (AssertionAlgorithm::Rs384, AssertionAlgorithm::Es384);
    let known = [("RS384", Some(rs384)), ("ES384", Some(es384))];
    let algorithm = section.choice(reader, "token_endpoint_auth_signing_alg", &known, None);
    let known = [("endpoint", AssertionAudience::Endpoint), ("issuer", AssertionAudience::Issuer)];
    (algorithm, section.choice(reader, "assertion_audience", &known, AssertionAudience::default()))
}

fn grant_types<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<GrantType> {
    let listed = section.strings(reader, "grant_types");
    let mut read = |text: At<String>| match &*text.value {
        "authorization_code" => Some(GrantType::AuthorizationCode),
        "refresh_token" => Some(GrantType::RefreshToken),
        "client_credentials" => Some(GrantType::ClientCredentials),
        "urn:ietf:params:oauth:grant-type:token-exchange" => Some(GrantType::TokenExchange),
        _ => {
            reader.mistake(
                text.line,
                "`grant_types` may hold \"authorization_code\", \"refresh_token\", \"client_credentials\" and \"urn:ietf:params:oauth:grant-type:token-exchange\"",
            );
            None
        }
    };
    listed.into_iter().filter_map(&mut read).collect()
}

/// Whether a client may be called so: at most 200 visible ASCII characters (RFC 6749 appendix A.1), without what Basic
/// authentication and quoting give a meaning of their own.
#[must_use]
pub fn is_client_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b':');
    (1..=200).contains(&text.len()) && text.bytes().all(plain)
}

fn redirect_uris<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>, key: &'static str) -> Vec<String> {
    section
        .strings(reader, key)
        .into_iter()
        .filter_map(|uri| match redirect_uri::acceptable(&uri.value) {
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
                let no_user = url.username().is_empty() && url.password().is_none();
                let written_out = url.fragment().is_none() && !text.value.contains('*');
                matches!(url.scheme(), "http" | "https") && no_user && written_out
            });
            if url.is_none() {
                reader.mistake(
                    text.line,
                    "a launch URL must be an absolute http or https URL, written out, without wildcard, user and fragment",
                );
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

fn authentication<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>, directory: &Path) -> ClientAuthentication {
    let secret = section.string(reader, "client_secret_sha256");
    let file = section.string(reader, "jwks_file");
    let uri = section.string(reader, "jwks_uri");
    let (line, expected) = match (secret, file, uri) {
        (None, None, None) => return ClientAuthentication::None,
        (Some(secret), None, None) => match Digest::from_hex(&secret.value) {
            Some(digest) => return ClientAuthentication::Secret(digest),
            None => (
                secret.line,
                "`client_secret_sha256` must be 64 hexadecimal digits: the SHA-256 of the secret".to_owned(),
            ),
        },
        (None, Some(path), None) => match jwk_set(&directory.join(&path.value)) {
            Some(jwks) => return ClientAuthentication::PrivateKeyJwt { jwks },
            None => (path.line, format!("`{}` must be a readable JWK Set: {{\"keys\": [...]}}", path.value)),
        },
        (None, None, Some(uri)) => match JwksUri::parse(&uri.value, Guard::Operator) {
            Some(jwks_uri) => return ClientAuthentication::PrivateKeyJwtByUrl { jwks_uri, guard: Guard::Operator },
            None => (
                uri.line,
                "`jwks_uri` must be an https URL without user and fragment, not at a link-local address; http is for this machine alone".to_owned(),
            ),
        },
        (secret, file, uri) => (
            [secret, file, uri].iter().flatten().map(|at| at.line).max().unwrap_or_default(),
            "a client has one of `client_secret_sha256`, `jwks_file` and `jwks_uri`".to_owned(),
        ),
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

/// Written out, so that the list says who it is: no wildcards, no paths.
fn frame_ancestors<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<String> {
    let loopback = |url: &Url| matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let listed = section.strings(reader, "frame_ancestors");
    let mut read = |text: At<String>| {
        let url = plain_url(&text.value).filter(|url| url.path() == "/" && !text.value.contains('*'));
        let origin =
            url.filter(|url| url.scheme() == "https" || loopback(url)).map(|url| url.origin().ascii_serialization());
        if origin.is_none() {
            reader.mistake(
                text.line,
                "each of `frame_ancestors` must be an origin written out, https or on loopback, for instance \"https://ehr.example\"",
            );
        }
        origin
    };
    listed.into_iter().filter_map(&mut read).collect()
}

fn ehr<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> Ehr {
    let frame_ancestors = frame_ancestors(reader, &mut section);
    let partitioned_cookies = section.flag(reader, "partitioned_cookies").unwrap_or(false);
    if partitioned_cookies && frame_ancestors.is_empty() {
        reader.mistake(
            section.line(),
            "`partitioned_cookies` in [client.ehr] needs `frame_ancestors`: the origins of the pages that show apps in a frame",
        );
    }
    let ehr = Ehr {
        vouches_for_users: section.flag(reader, "vouches_for_users").unwrap_or(false),
        user_issuers: values(section.strings(reader, "user_issuers")),
        user_types: values(section.strings(reader, "user_types")),
        roles: values(section.strings(reader, "roles")),
        frame_ancestors,
        partitioned_cookies,
    };
    reader.close(&section);
    ehr
}
