//! The text of the configuration that `init` writes: short, commented, and complete.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Failure, credentials};
use super::Options;

/// The first client.
pub(super) const CLIENT_ID: &str = "my-app";
/// The most it can be granted.
const SCOPE: &str = "openid fhirUser launch launch/patient launch/encounter offline_access patient/*.rs user/*.rs";
/// Where it returns when nothing else was named.
const REDIRECTS: [&str; 2] = ["http://localhost:3000/callback", "http://127.0.0.1:3000/"];

/// A built-in user with a password that was just made.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) username: &'static str,
    pub(super) password: String,
    pub(super) role: &'static str,
    pub(super) fhir_user: Option<String>,
    hash: String,
}

impl Login {
    pub(super) fn new(username: &'static str, role: &'static str, fhir_user: Option<String>) -> Result<Self, Failure> {
        let password = credentials::password();
        let hash = credentials::password_hash(&password).map_err(Failure::Failed)?;
        Ok(Self { username, password, role, fhir_user, hash })
    }

    pub(super) fn json(&self) -> Value {
        json!({"username": self.username, "password": self.password, "role": self.role, "fhir_user": self.fhir_user})
    }
}

/// What the options say, in the words of the configuration.
#[derive(Debug)]
pub(super) struct Template {
    listen: String,
    origin: String,
    upstream: String,
    upstream_ca: Option<PathBuf>,
    upstream_authorization_file: Option<PathBuf>,
    redirect_uris: Vec<String>,
    launch_urls: Vec<String>,
    ehr_jwks: Option<PathBuf>,
}

pub(super) fn redirect_uris(options: &Options) -> Vec<String> {
    if options.redirect_uris.is_empty() {
        REDIRECTS.iter().map(|&uri| uri.to_owned()).collect()
    } else {
        options.redirect_uris.clone()
    }
}

impl Template {
    pub(super) fn new(options: &Options) -> Result<Self, Failure> {
        let listen = options.listen();
        if listen.port() == 0 {
            return Err(Failure::Usage("the port must be named: apps need an address that stays".to_owned()));
        }
        let origin = options.origin.as_ref().map_or_else(
            || format!("https://localhost:{}", listen.port()),
            |url| url.as_str().trim_end_matches('/').to_owned(),
        );
        // Relative to where the command runs; the configuration would take them from its own directory.
        let full = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        Ok(Self {
            listen: listen.to_string(),
            origin,
            upstream: options.upstream.as_str().trim_end_matches('/').to_owned(),
            upstream_ca: full(&options.upstream_ca)?,
            upstream_authorization_file: full(&options.upstream_authorization_file)?,
            redirect_uris: redirect_uris(options),
            launch_urls: options.launch_urls.clone(),
            ehr_jwks: full(&options.ehr_jwks)?,
        })
    }

    /// The configuration with these users.
    pub(super) fn text(&self, logins: &[Login]) -> Result<String, Failure> {
        let mut out = String::new();
        self.write(&mut out, logins).map_err(|error| Failure::because("the configuration cannot be written", error))?;
        Ok(out)
    }

    fn write(&self, out: &mut String, logins: &[Login]) -> std::fmt::Result {
        writeln!(out, "# Firebreak in front of {}", self.upstream)?;
        writeln!(out, "# After a change: `firebreak check --config FILE` says what is wrong, then restart.")?;
        writeln!(out, "# Paths are taken from the directory of this file. docs/configuration.md lists every key.\n")?;
        writeln!(out, "[server]")?;
        writeln!(out, "listen = {}    # \"0.0.0.0:8443\" to be reached from other machines", text(&self.listen))?;
        writeln!(out, "origin = {}    # what browsers and apps see; the issuer of all tokens", text(&self.origin))?;
        writeln!(out, "# admin = \"127.0.0.1:9090\"    # /livez, /readyz, /metrics; never public\n")?;
        writeln!(out, "[tls]")?;
        writeln!(out, "directory = \"tls\"    # tls.crt and tls.key; new files are taken up while it runs\n")?;
        writeln!(out, "[fhir]")?;
        writeln!(out, "upstream = {}", text(&self.upstream))?;
        match &self.upstream_ca {
            Some(path) => writeln!(out, "upstream_ca = {}", text(&path.to_string_lossy()))?,
            None => writeln!(
                out,
                "# upstream_ca = \"upstream-ca.crt\"    # for an https upstream with a private authority"
            )?,
        }
        match &self.upstream_authorization_file {
            Some(path) => writeln!(out, "upstream_authorization_file = {}", text(&path.to_string_lossy()))?,
            None => writeln!(
                out,
                "# upstream_authorization_file = \"upstream.secret\"    # holds the whole header value, `Basic ...`"
            )?,
        }
        writeln!(out, "# aliases = []    # other base URLs by which the server calls itself in its data\n")?;
        writeln!(out, "[state]")?;
        writeln!(out, "directory = \"state\"    # sessions, grants, keys, and below it the audit log; back it up\n")?;
        self.write_clients(out)?;
        if !logins.is_empty() {
            writeln!(
                out,
                "\n# Built-in users. `firebreak password` makes a hash. Roles are what the policies speak of:"
            )?;
            writeln!(out, "# a clinician reads everything, a patient what is their own.")?;
        }
        for login in logins {
            writeln!(out, "[[user]]\nusername = {}", text(login.username))?;
            writeln!(out, "password_hash = {}", text(&login.hash))?;
            match &login.fhir_user {
                Some(user) => writeln!(out, "fhir_user = {}", text(user))?,
                None => writeln!(out, "# fhir_user = \"Practitioner/...\"    # who this is on the FHIR server")?,
            }
            writeln!(out, "roles = [{}]\n", text(login.role))?;
        }
        Ok(())
    }

    fn write_clients(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "# A public client: an app in a browser or on a phone. It has no secret; PKCE is required of every client."
        )?;
        writeln!(out, "[[client]]\nclient_id = {}\nclient_name = \"My app\"", text(CLIENT_ID))?;
        writeln!(out, "redirect_uris = {}", list(&self.redirect_uris))?;
        if self.launch_urls.is_empty() {
            writeln!(out, "# launch_urls = [\"http://localhost:3000/launch\"]    # to be launched from an EHR")?;
        } else {
            writeln!(out, "launch_urls = {}", list(&self.launch_urls))?;
        }
        writeln!(out, "# The most it can be granted; a user may grant less, and policies may allow less.")?;
        writeln!(out, "scope = {}", text(SCOPE))?;
        writeln!(
            out,
            "# A client with a secret: add `client_secret_sha256 = \"...\"`; `firebreak secret` makes both halves."
        )?;
        if let Some(path) = &self.ehr_jwks {
            writeln!(
                out,
                "\n# The EHR: posts launch contexts to {}/launch-contexts, authenticated by its key.",
                self.origin
            )?;
            writeln!(out, "[[client]]\nclient_id = \"ehr\"\nclient_name = \"EHR\"")?;
            writeln!(out, "jwks_file = {}", text(&path.to_string_lossy()))?;
            writeln!(out, "[client.ehr]")?;
            writeln!(out, "vouches_for_users = false    # true: its launch contexts log their user in")?;
        }
        Ok(())
    }
}

/// A TOML string.
fn text(value: &str) -> String {
    toml::Value::from(value).to_string()
}

/// A TOML array of strings.
fn list(values: &[String]) -> String {
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    format!("[{}]", values.join(", "))
}
