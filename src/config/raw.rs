//! What the file says, section by section, turned into what the program uses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::brands::brands as brands_of;
use super::client::client;
use super::operation::operations;
use super::provider::providers;
use super::reader::{At, Reader, Section, plain_url};
use super::registration::registration;
use super::user::user;
use super::{Audit, Client, ClientCertificates, Config, Fhir, Limits, OnAuditFailure, Server, Tls, Tokens, User};
use crate::fhir::definitions::SearchParameter;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::software::{Named, TABLE};
use crate::fhir::way::{SearchBy, confining};
use crate::secret::Secret;

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

/// Reads all sections; relative paths are taken from `directory`, the one that the file lies in.
pub(super) fn read<'t>(reader: &mut Reader<'t>, mut root: Section<'t>, directory: &Path) -> Config {
    let at = root.line();
    let server = if let Some(section) = root.table(reader, "server") {
        server(reader, section)
    } else {
        reader.mistake(at, "the section [server] is missing; it needs at least `listen` and `origin`");
        placeholder_server()
    };
    let tls = root.table(reader, "tls").map(|section| tls(reader, section, directory));
    if tls.is_none() && !server.danger_plain_http {
        reader.mistake(
            at,
            "the section [tls] is missing; give `directory = \"...\"` with tls.crt and tls.key in it, or set `danger_plain_http = true` in [server]",
        );
    }
    let limits = root.table(reader, "limits");
    let limits = limits_of(reader, limits);
    let fhir = if let Some(section) = root.table(reader, "fhir") {
        fhir(reader, section, directory)
    } else {
        reader.mistake(at, "the section [fhir] is missing; it needs at least `upstream = \"http://...\"`");
        None
    };
    let (state_directory, state_shared) = match root.table(reader, "state") {
        Some(mut section) => {
            let path = section.required(reader, "directory", "\"/var/lib/firebreak\"");
            let shared = section.flag(reader, "shared").unwrap_or(false);
            reader.close(&section);
            (directory.join(path.value), shared)
        }
        None => (directory.join("state"), false),
    };
    let audit = root.table(reader, "audit");
    if state_shared && !audit.as_ref().is_some_and(|section| section.has("directory")) {
        reader.mistake(
            at,
            "`shared = true` in [state] needs `directory` in [audit]: each process writes an audit log of its own",
        );
    }
    let audit = audit_of(reader, audit, directory, (&state_directory, state_shared), &server.origin);
    let policies = root.table(reader, "policies").map(|mut section| {
        let path = section.required(reader, "directory", "\"policies\"");
        reader.close(&section);
        directory.join(path.value)
    });
    let outbound_ca = root.table(reader, "outbound").and_then(|mut section| {
        let path = section.string(reader, "ca");
        reader.close(&section);
        path.map(|path| directory.join(path.value))
    });
    let base = fhir.as_ref().map(|fhir| format!("{}{}", server.origin.as_str().trim_end_matches('/'), fhir.path));
    let brands = root.table(reader, "brands");
    let brands = brands.and_then(|section| brands_of(reader, section, directory, &base.unwrap_or_default()));
    let tokens = root.table(reader, "tokens");
    let tokens = tokens_of(reader, tokens);
    let registration = root.table(reader, "registration").and_then(|section| registration(reader, section));
    let mut clients: Vec<Client> = Vec::new();
    for section in root.tables(reader, "client") {
        let line = section.line();
        let client = client(reader, section, directory);
        if !client.client_id.is_empty() && clients.iter().any(|other| other.client_id == client.client_id) {
            reader.mistake(line, format!("client_id `{}` occurs twice; each client needs its own", client.client_id));
        }
        clients.push(client);
    }
    let mut users: Vec<User> = Vec::new();
    for section in root.tables(reader, "user") {
        let line = section.line();
        let user = user(reader, section);
        if !user.username.is_empty() && users.iter().any(|other| other.username == user.username) {
            reader.mistake(line, format!("username `{}` occurs twice; each user needs their own", user.username));
        }
        // Both are subjects of tokens (RFC 9700 section 4.15): a client that acts for itself must be nobody.
        if clients.iter().any(|client| !client.client_id.is_empty() && client.client_id == user.username) {
            reader.mistake(
                line,
                format!("username `{}` is a client_id too; tokens would not tell them apart", user.username),
            );
        }
        users.push(user);
    }
    let providers = providers(reader, &mut root, directory, &server.origin);
    reader.close(&root);
    let fhir = fhir.unwrap_or_else(placeholder_fhir);
    Config {
        server,
        tls,
        limits,
        fhir,
        state_directory,
        state_shared,
        audit,
        policies,
        outbound_ca,
        tokens,
        registration,
        brands,
        clients,
        users,
        providers,
    }
}

fn placeholder_server() -> Server {
    Server {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin: None,
        origin: placeholder_url(),
        danger_plain_http: false,
        drain_delay: Duration::ZERO,
        drain_grace: Duration::ZERO,
    }
}

fn placeholder_fhir() -> Fhir {
    Fhir {
        path: "/fhir".to_owned(),
        upstream: placeholder_url(),
        upstream_ca: None,
        upstream_authorization: None,
        aliases: Vec::new(),
        connect_timeout: Duration::ZERO,
        timeout: Duration::ZERO,
        concurrency: 1,
        response_bytes: 1,
        max_count: 1,
        max_entries: 1,
        software: Named::Auto,
        search_by: SearchBy::Primary,
        narrow_by: Vec::new(),
        operations: Vec::new(),
    }
}

/// Stands where a mistake was reported; a configuration with mistakes is never used.
#[expect(clippy::expect_used, reason = "a constant that is a URL")]
fn placeholder_url() -> Url {
    Url::parse("https://invalid.example").expect("a constant that is a URL")
}

fn server<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> Server {
    let listen = section.required(reader, "listen", "\"0.0.0.0:8443\"");
    let listen = address(reader, &listen, "listen").unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
    let admin = section.string(reader, "admin").and_then(|text| address(reader, &text, "admin"));
    let danger_plain_http = section.flag(reader, "danger_plain_http").unwrap_or(false);
    let origin = section.required(reader, "origin", "\"https://fhir.example.org\"");
    let url = plain_url(&origin.value).filter(|url| url.path() == "/");
    let origin = match url {
        Some(url) if url.scheme() == "https" || danger_plain_http => url,
        Some(_) => {
            reader.mistake(origin.line, "`origin` in [server] must be https; browsers and apps see this address");
            placeholder_url()
        }
        None if origin.value.is_empty() => placeholder_url(),
        None => {
            reader.mistake(
                origin.line,
                "`origin` in [server] must be scheme, host and port alone, for instance \"https://fhir.example.org\"",
            );
            placeholder_url()
        }
    };
    let drain_delay = section.duration(reader, "drain_delay", (MS(0), S(120)), S(5));
    let drain_grace = section.duration(reader, "drain_grace", (MS(0), S(600)), S(30));
    reader.close(&section);
    Server { listen, admin, origin, danger_plain_http, drain_delay, drain_grace }
}

fn address(reader: &mut Reader<'_>, text: &At<String>, key: &str) -> Option<SocketAddr> {
    let address = text.value.parse().ok();
    if address.is_none() && !text.value.is_empty() {
        reader.mistake(
            text.line,
            format!("`{key}` in [server] must be address and port, for instance \"127.0.0.1:8443\""),
        );
    }
    address
}

fn tls<'t>(reader: &mut Reader<'t>, mut section: Section<'t>, directory: &Path) -> Tls {
    let path = section.required(reader, "directory", "\"/etc/firebreak/tls\"");
    let client_certificates = section.choice(
        reader,
        "client_certificates",
        &[
            ("off", ClientCertificates::Off),
            ("optional", ClientCertificates::Optional),
            ("required", ClientCertificates::Required),
        ],
        ClientCertificates::Off,
    );
    let crl = section.flag(reader, "crl").unwrap_or(false);
    if crl && client_certificates == ClientCertificates::Off {
        reader.mistake(section.line(), "`crl` in [tls] is for client certificates; give `client_certificates` as well");
    }
    reader.close(&section);
    Tls { directory: directory.join(path.value), client_certificates, crl }
}

fn empty_section<'t>(reader: &Reader<'t>, name: &str) -> Section<'t> {
    static NOTHING: std::sync::OnceLock<toml::de::DeTable<'static>> = std::sync::OnceLock::new();
    reader.section(name, NOTHING.get_or_init(toml::de::DeTable::new), 0)
}

#[expect(clippy::cast_possible_truncation, reason = "the ranges fit")]
fn limits_of<'t>(reader: &mut Reader<'t>, section: Option<Section<'t>>) -> Limits {
    let mut section = section.unwrap_or_else(|| empty_section(reader, "[limits]"));
    let limits = Limits {
        connections: section.integer(reader, "connections", 1..1_000_001, 20_000) as usize,
        connections_per_address: section.integer(reader, "connections_per_address", 1..1_000_001, 1_000) as usize,
        header_timeout: section.duration(reader, "header_timeout", (MS(100), S(300)), S(15)),
        body_timeout: section.duration(reader, "body_timeout", (MS(100), S(600)), S(30)),
        header_bytes: section.integer(reader, "header_bytes", 8_192..1_048_577, 32_768) as usize,
        body_bytes: section.integer(reader, "body_bytes", 1_024..1_073_741_825, 8 * 1024 * 1024) as usize,
        failed_credentials_per_minute: section.integer(reader, "failed_credentials_per_minute", 1..100_001, 60) as u32,
    };
    reader.close(&section);
    limits
}

#[expect(clippy::cast_possible_truncation, reason = "the ranges fit")]
fn fhir<'t>(reader: &mut Reader<'t>, mut section: Section<'t>, directory: &Path) -> Option<Fhir> {
    let line = section.line();
    let path = section.string(reader, "path").unwrap_or(At { value: "/fhir".to_owned(), line });
    let segments_are_plain = path.value.strip_prefix('/').is_some_and(|rest| {
        rest.split('/').all(|segment| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        })
    });
    if !segments_are_plain {
        reader.mistake(path.line, "`path` in [fhir] must be segments of letters, digits, `-`, `_` and `.` without a trailing slash, for instance \"/fhir\"");
    }
    let given = section.string(reader, "upstream").map(|text| (plain_url(&text.value), text.line));
    let upstream = match given {
        Some((Some(url), _)) => Some(url),
        Some((None, line)) => {
            reader.mistake(
                line,
                "`upstream` in [fhir] must be an absolute http or https URL without user, query and fragment",
            );
            None
        }
        None if section.has("upstream") => None,
        None => {
            reader.mistake(line, "[fhir] lacks `upstream`; for instance `upstream = \"http://127.0.0.1:8080/fhir\"`");
            None
        }
    };
    let upstream_ca = section.string(reader, "upstream_ca").map(|path| directory.join(path.value));
    let upstream_authorization =
        section.string(reader, "upstream_authorization_file").and_then(|path| secret_file(reader, &path, directory));
    let aliases = section
        .strings(reader, "aliases")
        .into_iter()
        .filter_map(|alias| {
            let url = plain_url(&alias.value);
            if url.is_none() {
                reader.mistake(alias.line, "each of `aliases` in [fhir] must be an absolute http or https URL");
            }
            url
        })
        .collect();
    let narrow_by = narrow_by(reader, &mut section);
    let fhir = Fhir {
        path: path.value,
        upstream: upstream.clone().unwrap_or_else(placeholder_url),
        upstream_ca,
        upstream_authorization,
        aliases,
        connect_timeout: section.duration(reader, "connect_timeout", (MS(10), S(60)), S(3)),
        timeout: section.duration(reader, "timeout", (MS(100), S(600)), S(30)),
        concurrency: section.integer(reader, "concurrency", 1..100_001, 256) as usize,
        response_bytes: section.integer(reader, "response_bytes", 65_536..1_073_741_825, 16 * 1024 * 1024) as usize,
        max_count: section.integer(reader, "max_count", 1..10_001, 200) as u32,
        max_entries: section.integer(reader, "max_entries", 1..10_001, 100) as usize,
        software: software(reader, &mut section),
        search_by: section.choice(reader, "search_by", &SearchBy::ALL, SearchBy::Primary),
        narrow_by,
        operations: operations(reader, &mut section),
    };
    reader.close(&section);
    upstream.map(|_| fhir)
}

fn software<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Named {
    let rows = TABLE.iter().map(|row| (row.word, Named::Software(row)));
    let choices: Vec<_> = std::iter::once(("auto", Named::Auto)).chain(rows).chain([("other", Named::Other)]).collect();
    section.choice(reader, "software", &choices, Named::Auto)
}

/// `["Condition.subject"]`
fn narrow_by<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Vec<(ResourceType, &'static SearchParameter)> {
    let mut known: Vec<(ResourceType, &'static SearchParameter)> = Vec::new();
    for At { value, line } in section.strings(reader, "narrow_by") {
        let named = value.split_once('.').and_then(|(name, parameter)| Some((ResourceType::parse(name)?, parameter)));
        let found = named.and_then(|(resource_type, name)| Some((resource_type, confining(resource_type, name)?)));
        match found {
            Some((resource_type, _)) if known.iter().any(|(other, _)| *other == resource_type) => {
                reader.mistake(line, format!("`narrow_by` in [fhir] names {resource_type} twice; one parameter of each type is enough"));
            }
            Some(found) => known.push(found),
            None => reader.mistake(
                line,
                format!("`{value}` in `narrow_by` of [fhir] must be a type and one of its search parameters that finds nothing but what belongs to a patient, for instance \"Condition.subject\""),
            ),
        }
    }
    known
}

/// The trimmed content of a file that holds a secret.
pub(super) fn secret_file(reader: &mut Reader<'_>, path: &At<String>, directory: &Path) -> Option<Secret> {
    let full: PathBuf = directory.join(&path.value);
    match std::fs::read_to_string(&full) {
        Ok(text) => Some(Secret::new(text.trim())),
        Err(error) => {
            reader.mistake(path.line, format!("`{}` cannot be read: {error}", full.display()));
            None
        }
    }
}

fn audit_of<'t>(
    reader: &mut Reader<'t>,
    section: Option<Section<'t>>,
    directory: &Path,
    state: (&Path, bool),
    origin: &Url,
) -> Audit {
    let mut section = section.unwrap_or_else(|| empty_section(reader, "[audit]"));
    let path = section.string(reader, "directory");
    let name = section.string(reader, "name");
    let key_file = section.string(reader, "key_file").map(|path| directory.join(path.value));
    let on_failure = section.choice(
        reader,
        "on_failure",
        &[("deny", OnAuditFailure::Deny), ("danger_allow_and_alarm", OnAuditFailure::DangerAllowAndAlarm)],
        OnAuditFailure::Deny,
    );
    reader.close(&section);
    let (state_directory, shared) = state;
    let directory = path.map_or_else(|| state_directory.join("audit"), |path| directory.join(path.value));
    let host = origin.host_str().unwrap_or("firebreak");
    let name = name.map_or_else(|| log_name(host, &directory, shared), |name| name.value);
    Audit { directory, name, key_file, on_failure }
}

/// The name of a log that nobody named: that of the host, and of the directory too where the host has several.
fn log_name(host: &str, directory: &Path, shared: bool) -> String {
    match directory.file_name().filter(|_| shared) {
        Some(own) => format!("{host}/{}", own.to_string_lossy()),
        None => host.to_owned(),
    }
}

fn tokens_of<'t>(reader: &mut Reader<'t>, section: Option<Section<'t>>) -> Tokens {
    let mut section = section.unwrap_or_else(|| empty_section(reader, "[tokens]"));
    let default = Tokens::default();
    let rotates = section.has("rotate_keys_after");
    let rotate_keys_after =
        section.duration(reader, "rotate_keys_after", (S(2 * 3600), S(1000 * 86_400)), S(90 * 86_400));
    let tokens = Tokens {
        access: section.duration(reader, "access", (S(30), S(3600)), default.access),
        refresh: section.duration(reader, "refresh", (S(300), S(366 * 86_400)), default.refresh),
        session: section.duration(reader, "session", (S(60), S(86_400)), default.session),
        require_pushed_authorization_requests: section
            .flag(reader, "require_pushed_authorization_requests")
            .unwrap_or(default.require_pushed_authorization_requests),
        dpop_nonces: section.flag(reader, "dpop_nonces").unwrap_or(default.dpop_nonces),
        rotate_keys_after: rotates.then_some(rotate_keys_after),
    };
    reader.close(&section);
    tokens
}

pub(super) fn values(list: Vec<At<String>>) -> Vec<String> {
    list.into_iter().map(|at| at.value).collect()
}
