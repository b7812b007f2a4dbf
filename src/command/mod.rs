//! The commands: what the program does when it is called by name.
//!
//! Takes a parsed command line, gives an exit code: 0 done, 1 failed, 2 wrong usage or configuration. What a command tells
//! goes to standard output; why it failed goes to standard error, in lines that say what was expected.

use std::fmt;
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::audit;
use crate::config::ConfigError;

mod administration;
pub mod certificates;
mod check;
mod client;
mod credentials;
mod demo;
mod explain;
mod grant;
mod init;
mod keys;
mod serve;

/// A SMART on FHIR gateway: launch, token exchange, enforcement and provable audit in front of any FHIR server.
#[derive(Debug, Parser)]
#[command(name = "firebreak", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// The level of the operational log unless something else is said. What these find they tell on standard output themselves.
    #[must_use]
    pub fn log_level(&self) -> &'static str {
        match self.command {
            Command::Check(_) | Command::Explain(_) | Command::Init(_) => "error",
            // Commands that record write checkpoints, and each of those is in the operational log, so that it can be kept elsewhere.
            _ => "info",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; a second one ends at once.
    Serve(Configured),
    /// Look at everything that `serve` needs, and say what is wrong with it.
    Check(Configured),
    /// Tell what would be decided about a request, and why, without asking the FHIR server.
    Explain(Box<explain::Options>),
    /// Write a configuration, certificates, a first user and a first client for a FHIR server that you have.
    Init(Box<init::Options>),
    /// Run everything embedded on loopback: gateway, sample FHIR store, EHR simulator, sample app.
    Demo(demo::Options),
    /// Look into the audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// Register clients, look at them, disable and remove them; also while the server runs.
    #[command(subcommand)]
    Client(client::Client),
    /// Look at what users have allowed apps, and take it back; also while the server runs.
    #[command(subcommand)]
    Grant(grant::Grant),
    /// Look at the signing keys, or make the next ones.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Read a password from standard input and print its argon2id hash, for `password_hash` of a user.
    Password,
    /// Make a client secret; print it and its SHA-256, for `client_secret_sha256` of a client.
    Secret,
}

#[derive(Debug, Clone, Args)]
struct Configured {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "firebreak.toml")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Check that no record was changed, removed or reordered.
    Verify {
        /// The directory of the audit log.
        directory: PathBuf,
        /// A file of checkpoints that were kept elsewhere: they show whether the tail was cut.
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
}

/// Why a command did not do what it should.
#[derive(Debug)]
enum Failure {
    /// It was tried and failed: exit code 1.
    Failed(String),
    /// The command line or the configuration is wrong: exit code 2.
    Usage(String),
}

impl Failure {
    fn because(what: &str, error: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs the command and tells on standard error why it failed, if it did.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let (text, code) = match dispatch(cli.command) {
        Ok(code) => return code,
        Err(Failure::Failed(text)) => (text, 1),
        Err(Failure::Usage(text)) => (text, 2),
    };
    let _ = writeln!(io::stderr().lock(), "firebreak: {text}");
    ExitCode::from(code)
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    let done = match command {
        Command::Explain(options) => {
            let allowed = block_on(explain::explain(*options))?;
            return Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        Command::Serve(Configured { config }) => block_on(serve::serve(&config)),
        Command::Check(Configured { config }) => block_on(check::check(&config)),
        Command::Init(options) => block_on(init::init(&options)),
        Command::Demo(options) => block_on(demo::demo(&options)),
        Command::Audit(Audit::Verify { directory, anchor }) => {
            let report = audit::command_verify(&directory, anchor.as_deref()).map_err(Failure::Failed)?;
            say(&report)
        }
        Command::Client(client) => block_on(client::client(client)),
        Command::Grant(grant) => block_on(grant::grant(grant)),
        Command::Keys(command) => block_on(keys::keys(&command)),
        Command::Password => password(),
        Command::Secret => {
            let (secret, digest) = credentials::client_secret();
            say(&format!("client_secret        = \"{secret}\"\nclient_secret_sha256 = \"{digest}\""))
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn password() -> Result<(), Failure> {
    let mut text = String::new();
    io::stdin().lock().take(4096).read_to_string(&mut text)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(Failure::Usage(
            "standard input held no password; for instance `firebreak password < file`".to_owned(),
        ));
    }
    say(&credentials::password_hash(password).map_err(Failure::Failed)?)
}

/// Writes to standard output, with a line end.
/// A cell of a table: what others wrote may not steer the terminal or turn the direction of the line.
fn cell(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    // Nothing that still runs may keep the process: what had to be waited for was waited for.
    runtime.shutdown_background();
    result
}

/// The URL of a server as a command line names it: absolute, http or https, nothing behind the path.
fn server_url(text: &str) -> Result<Url, String> {
    let expected = || "must be an absolute http or https URL without user, query and fragment".to_owned();
    let url = Url::parse(text).map_err(|_| expected())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(expected()) }
}

/// A loopback address with this port.
fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_server_url_has_a_scheme_of_http_and_no_query() {
        assert!(server_url("http://127.0.0.1:8080/fhir").is_ok());
        for bad in
            ["127.0.0.1:8080", "ftp://a/b", "http://a/b?c", "http://u@a/", "http://:p@a/", "http://a/#b", "/fhir"]
        {
            assert!(server_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_others_wrote_does_not_steer_the_terminal() {
        assert_eq!(cell("ada\u{1b}[2J\r\n\u{202e}x"), "ada\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x");
        assert_eq!(cell("Zoë Müller-日本"), "Zoë Müller-日本");
    }

    #[test]
    fn serving_takes_a_configuration_and_nothing_else() {
        assert!(Cli::try_parse_from(["firebreak", "serve", "--config", "a.toml"]).is_ok());
        assert!(Cli::try_parse_from(["firebreak", "serve", "a.toml"]).is_err());
        assert!(Cli::try_parse_from(["firebreak"]).is_err());
        assert_eq!(Cli::try_parse_from(["firebreak", "bogus"]).unwrap_err().exit_code(), 2);
    }
}
