//! Whether this process should be sent requests: named checks, each of which says why not.

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

use crate::listen::Drain;

type Ask = dyn Fn() -> Result<(), &'static str> + Send + Sync;

/// The checks behind `/readyz`. Cloning shares them.
#[derive(Clone)]
pub struct Readiness {
    drain: Drain,
    checks: Vec<(&'static str, Arc<Ask>)>,
}

impl Readiness {
    /// Ready unless `drain` has begun.
    #[must_use]
    pub fn new(drain: Drain) -> Self {
        Self { drain, checks: Vec::new() }
    }

    /// Adds a check. It is asked on every probe, must not wait, and says in a fixed sentence why not.
    #[must_use]
    pub fn check(
        mut self,
        name: &'static str,
        ask: impl Fn() -> Result<(), &'static str> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name, Arc::new(ask)));
        self
    }

    /// Asks all checks.
    ///
    /// # Errors
    /// One line for each reason not to be ready.
    pub fn ask(&self) -> Result<(), String> {
        let mut reasons = String::new();
        if self.drain.is_leaving() {
            reasons.push_str("leaving: the process was asked to end\n");
        }
        for (name, ask) in &self.checks {
            if let Err(reason) = ask() {
                let _ = writeln!(reasons, "{name}: {reason}");
            }
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.checks.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Readiness").field("checks", &names).finish_non_exhaustive()
    }
}
