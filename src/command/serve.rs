//! `firebreak serve`: builds everything from the configuration and runs until told to stop.
//!
//! On SIGTERM or SIGINT the process says that it leaves, goes on accepting for the drain delay, lets what is under way
//! finish within the grace, closes the audit log and ends with 0. A second signal closes the audit log and ends at once, with
//! 1: requests may have been cut.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::clock::Clock;
use crate::config::Config;
use crate::listen::Drain;
use crate::origin::{self, Running};

/// Serves as the file says.
pub(super) async fn serve(path: &Path) -> Result<(), Failure> {
    let config = Arc::new(Config::load(path)?);
    // Before anything listens: a signal from here on is answered in order.
    let signals = Signals::new()?;
    let drain = Drain::default();
    let parts = origin::build(Arc::clone(&config), Clock::system(), None).await;
    let parts = parts.map_err(|error| Failure::Failed(error.to_string()))?;
    let audit = parts.origin.audit.clone();
    let running = parts.bind(&config, &drain).await.map_err(|error| Failure::Failed(error.to_string()))?;
    tracing::info!(
        listen = %running.address()?,
        admin = running.admin_address().map(|address| address.to_string()),
        base = config.fhir_base(),
        upstream = %config.fhir.upstream,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    match run(running, drain, config.server.drain_delay, signals).await {
        Ended::Drained => {
            tracing::info!("ended");
            Ok(())
        }
        Ended::Cut => {
            audit.shutdown().await;
            Err(Failure::Failed("ended at once on a second signal; requests under way were cut".to_owned()))
        }
    }
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// What was under way finished, or its grace was over; the audit log is closed.
    Drained,
    /// A second signal came; the audit log is still open.
    Cut,
}

/// Runs until the process is told to end, and then to the end of the drain.
pub(super) async fn run(running: Running, drain: Drain, delay: Duration, mut signals: Signals) -> Ended {
    let leaving = async {
        let first = signals.next().await;
        tracing::info!(signal = first, delay_seconds = delay.as_secs_f64(), "leaving; a second signal ends at once");
        tokio::select! {
            () = drain.begin(delay) => {}
            _ = signals.next() => return,
        }
        signals.next().await;
    };
    tokio::select! {
        () = running.run(drain.clone()) => Ended::Drained,
        () = leaving => Ended::Cut,
    }
}

/// The signals that end the process.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the system's default.
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::because("signals cannot be received", error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
