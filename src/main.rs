//! Reads the command line, runs one command, ends with its exit code: 0 done, 1 failed, 2 wrong usage or configuration.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use firebreak::command::{self, Cli};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The first to install wins; nobody else does before this line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tell(cli.log_level());
    command::run(cli)
}

/// The operational log goes to standard error: lines for people on a terminal, JSON otherwise. `FIREBREAK_LOG` names levels,
/// for instance `info,firebreak::listen=debug`; `level` holds where it names none.
fn tell(level: &str) {
    let filter = EnvFilter::try_from_env("FIREBREAK_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().init();
    }
}
