//! `firebreak init`: puts a gateway in front of a FHIR server that exists already.
//!
//! Asks the server what it is, then writes a directory: a commented configuration, certificates of its own making, a first
//! user or two and a first client. What it wrote passes `firebreak check`. It overwrites nothing unless told to, and prints
//! the passwords once: the file holds hashes.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use url::Url;

use super::{Failure, certificates, loopback, say, server_url};
use crate::clock::Clock;
use crate::config::Config;
use crate::forward::Upstream;

mod template;

use template::{Login, Template};

/// The port of the gateway when none is named.
const PORT: u16 = 8443;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The FHIR R4 base URL of your server, for instance `http://127.0.0.1:8080/fhir`.
    #[arg(long, value_name = "URL", value_parser = server_url)]
    upstream: Url,
    /// The directory to write.
    #[arg(long, value_name = "DIR", default_value = "firebreak")]
    directory: PathBuf,
    /// What browsers and apps see: scheme, host and port [default: `https://localhost` and the port].
    #[arg(long, value_name = "URL", value_parser = server_url)]
    origin: Option<Url>,
    /// Address and port to listen on [default: 127.0.0.1:8443].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Listen on loopback with this port.
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    port: Option<u16>,
    /// A redirect URI of the first client; may be repeated.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// A launch URL of the first client, for launches from an EHR; may be repeated.
    #[arg(long = "launch-url", value_name = "URL")]
    launch_urls: Vec<String>,
    /// Register an EHR that may post launch contexts, with the JWK Set in this file.
    #[arg(long, value_name = "FILE")]
    ehr_jwks: Option<PathBuf>,
    /// Certification authorities to check the upstream's certificate against, in PEM.
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// A file whose content is sent to the upstream as `Authorization`.
    #[arg(long, value_name = "FILE")]
    upstream_authorization_file: Option<PathBuf>,
    /// Overwrite what is there.
    #[arg(long)]
    force: bool,
    /// Also print what was made as one line of JSON.
    #[arg(long)]
    print_json: bool,
}

/// What is written, by its path below the directory.
struct Files(Vec<(&'static str, u32, String)>);

pub(super) async fn init(options: &Options) -> Result<(), Failure> {
    let directory = std::path::absolute(&options.directory)?;
    let template = Template::new(options)?;
    // The text before anybody is known in it serves to reach the upstream, and shows what is wrong with the options.
    let config = parse(&template.text(&[])?, &directory)?;
    let names = names(&config);
    let (patient, practitioner) = ask(&config, options).await?;
    let logins = logins(patient, practitioner)?;
    let text = template.text(&logins)?;
    let config = parse(&text, &directory)?;
    let made = certificates::make(&names, &Clock::system()).map_err(|error| Failure::because("certificates", error))?;
    let files = Files(vec![
        ("firebreak.toml", 0o600, text),
        ("tls/ca.crt", 0o644, made.authority),
        ("tls/tls.crt", 0o644, made.chain),
        ("tls/tls.key", 0o600, made.key.expose().to_owned()),
    ]);
    files.write(&directory, options.force)?;
    tell(&config, options, &directory, &logins)
}

fn parse(text: &str, directory: &Path) -> Result<Config, Failure> {
    Config::parse(text, directory)
        .map_err(|error| Failure::Usage(format!("these options do not make a configuration:\n{error}")))
}

/// The names that the certificate is for.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if let Some(host) = config.server.origin.host_str() {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !names.contains(&host) {
            names.push(host);
        }
    }
    names
}

/// Asks the upstream what it is, and for any one patient and practitioner to bind the first users to.
async fn ask(config: &Config, options: &Options) -> Result<(Option<String>, Option<String>), Failure> {
    let upstream = Upstream::new(&config.fhir).map_err(|error| Failure::because("upstream", error.0))?;
    let probe = upstream.probe().await.map_err(|error| Failure::Failed(error.to_string()))?;
    let software = probe.software.map(|name| format!(" ({name})")).unwrap_or_default();
    say(&format!("{} speaks FHIR {}{software}", options.upstream, probe.version))?;
    // That somebody is there is nice to have: what cannot be told is not there.
    let patient = upstream.any("Patient").await.unwrap_or_default();
    let practitioner = upstream.any("Practitioner").await.unwrap_or_default();
    Ok((patient, practitioner))
}

fn logins(patient: Option<String>, practitioner: Option<String>) -> Result<Vec<Login>, Failure> {
    let mut logins = vec![Login::new("clinician", "clinician", practitioner.map(|id| format!("Practitioner/{id}")))?];
    if let Some(id) = patient {
        logins.push(Login::new("patient", "patient", Some(format!("Patient/{id}")))?);
    }
    Ok(logins)
}

impl Files {
    /// Writes all, or nothing when one is there already and may not be overwritten.
    fn write(&self, directory: &Path, force: bool) -> Result<(), Failure> {
        let there: Vec<_> = self
            .0
            .iter()
            .map(|(name, ..)| directory.join(name))
            .filter(|path| path.symlink_metadata().is_ok())
            .collect();
        if let (false, Some(first)) = (force, there.first()) {
            return Err(Failure::Usage(format!(
                "`{}` is there already; name another --directory, or overwrite with --force",
                first.display()
            )));
        }
        for (name, mode, text) in &self.0 {
            let path = directory.join(name);
            write(&path, *mode, text)
                .map_err(|error| Failure::because(&format!("`{}` cannot be written", path.display()), error))?;
        }
        Ok(())
    }
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    // A file that was there keeps its mode otherwise.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Says what was made and what to run next.
fn tell(config: &Config, options: &Options, directory: &Path, logins: &[Login]) -> Result<(), Failure> {
    let file = directory.join("firebreak.toml");
    let authority = directory.join("tls/ca.crt");
    let (base, issuer) = (config.fhir_base(), config.issuer());
    let mut text = format!(
        "\nWritten to {}: configuration, certificates, {} and the client `{}`.\n\n",
        directory.display(),
        if logins.len() == 1 { "a user" } else { "two users" },
        template::CLIENT_ID
    );
    text += "Logins (shown this once; the file holds hashes):\n";
    for login in logins {
        let bound = login.fhir_user.as_ref().map(|user| format!("   {user}")).unwrap_or_default();
        let _ = writeln!(text, "  {:<12}{}{bound}", login.username, login.password);
    }
    if logins.len() == 1 {
        text += "  (the server has no Patient yet, so there is no patient login)\n";
    }
    if logins.iter().any(|login| login.fhir_user.is_none()) {
        text += "  (the server has no Practitioner yet: `clinician` has no `fhir_user`, so `user/` scopes give nothing; \
                 `patient/` scopes work. Add a Practitioner and name it in the file)\n";
    }
    let _ = write!(
        text,
        "\nNext:\n  firebreak serve --config {file}\n  curl --cacert {authority} {base}/.well-known/smart-configuration\n\n\
         FHIR base for apps:  {base}\nIssuer:              {issuer}\nClient:              {client} (public, PKCE), redirecting to {redirects}\n",
        file = quoted(&file),
        authority = quoted(&authority),
        client = template::CLIENT_ID,
        redirects = template::redirect_uris(options).join(" or "),
    );
    if config.fhir.upstream.scheme() == "http" && !config.fhir.upstream.host_str().is_some_and(is_loopback) {
        text += "\nThe way to your server is not encrypted: see that only the gateway can use it.\n";
    }
    text += "\nWhoever can reach your server directly passes by the gateway: let it listen to the gateway alone.";
    say(&text)?;
    if options.print_json {
        let apps = json!([{"client_id": template::CLIENT_ID, "redirect_uris": template::redirect_uris(options), "launch_url": options.launch_urls.first()}]);
        let people: Vec<_> = logins.iter().map(Login::json).collect();
        say(&json!({
            "origin": issuer, "issuer": issuer, "fhir_base": base, "upstream": config.fhir.upstream.as_str(),
            "config": file, "ca_file": authority, "logins": people, "apps": apps,
        })
        .to_string())?;
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

impl Options {
    fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| loopback(self.port.unwrap_or(PORT)))
    }
}

#[cfg(test)]
mod tests;
