//! What is counted. Label values come from closed sets alone: no path, id, user, client or patient ever becomes one, so the
//! number of series is bounded whatever arrives.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::Live;

/// Seconds; the boundaries that the HTTP conventions of OpenTelemetry advise, and two below them.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// The counters of one process. Cloning is cheap and shares them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    request_duration: Family<RouteLabels, Histogram, fn() -> Histogram>,
    upstream_duration: Histogram,
    decisions: Family<DecisionLabels, Counter>,
    token_failures: Family<ErrorLabels, Counter>,
}

/// Which part of the gateway answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// The FHIR base but its `metadata`.
    Fhir,
    /// The CapabilityStatement.
    Metadata,
    /// `.well-known` documents.
    Discovery,
    /// The JWK Set.
    Keys,
    /// The authorization endpoint and its pages: login, patient choice, consent.
    Authorize,
    /// The token endpoint.
    Token,
    /// What is told of a token: introspection and user info.
    Introspect,
    /// Revocation.
    Revoke,
    /// Registration of clients.
    Register,
    /// Logout, of the user and told by a provider.
    Logout,
    /// Launch contexts.
    Launch,
    /// What a user or an operator manages.
    Manage,
    /// The pages and the sample parts of the demo.
    Demo,
    /// Requests that could not be read.
    Unreadable,
    /// Everything else.
    Other,
}

impl Route {
    /// The label value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fhir => "fhir",
            Self::Metadata => "metadata",
            Self::Discovery => "discovery",
            Self::Keys => "keys",
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Register => "register",
            Self::Logout => "logout",
            Self::Launch => "launch",
            Self::Manage => "manage",
            Self::Demo => "demo",
            Self::Unreadable => "unreadable",
            Self::Other => "other",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    method: &'static str,
    code_class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    error: &'static str,
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.name())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Counters that stand at zero.
    #[must_use]
    pub fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let inner = Inner {
            registry: Mutex::new(Registry::with_prefix("firebreak")),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(histogram),
            upstream_duration: histogram(),
            decisions: Family::default(),
            token_failures: Family::default(),
        };
        let mut registry = inner.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register("requests", "Requests answered", inner.requests.clone());
        registry.register(
            "request_duration_seconds",
            "From the head of the request to the answer, in seconds",
            inner.request_duration.clone(),
        );
        registry.register(
            "upstream_duration_seconds",
            "Exchanges with the FHIR server, in seconds",
            inner.upstream_duration.clone(),
        );
        registry.register("authz_decisions", "Decisions of the request path by reason", inner.decisions.clone());
        registry.register("token_failures", "Refused token requests by OAuth error", inner.token_failures.clone());
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "What is running", Info::new(version));
        drop(registry);
        Self(Arc::new(inner))
    }

    /// A request was answered.
    pub fn request(&self, route: Route, method: Option<&Method>, status: StatusCode, took: Duration) {
        let labels = RequestLabels { route, method: method_name(method), code_class: class(status) };
        self.0.requests.get_or_create(&labels).inc();
        self.0.request_duration.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
    }

    /// The upstream was asked.
    pub fn upstream(&self, took: Duration) {
        self.0.upstream_duration.observe(took.as_secs_f64());
    }

    /// The request path permitted something.
    pub fn permitted(&self) {
        self.0.decisions.get_or_create(&DecisionLabels { decision: "permit", reason: "permitted" }).inc();
    }

    /// The request path refused something, for a reason with a stable id ([`Refusal::reason`](crate::error::Refusal::reason)).
    pub fn refused(&self, reason: &'static str) {
        self.0.decisions.get_or_create(&DecisionLabels { decision: "deny", reason }).inc();
    }

    /// The token endpoint refused, with this error of RFC 6749 section 5.2.
    pub fn token_failure(&self, error: &'static str) {
        self.0.token_failures.get_or_create(&ErrorLabels { error }).inc();
    }

    /// Adds the numbers that are read when a scraper asks.
    pub fn watch(&self, live: Live) {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(live));
    }

    /// All of it as `OpenMetrics` text.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.0.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(out)
    }
}

fn method_name(method: Option<&Method>) -> &'static str {
    match method {
        Some(&Method::GET) => "GET",
        Some(&Method::HEAD) => "HEAD",
        Some(&Method::POST) => "POST",
        Some(&Method::PUT) => "PUT",
        Some(&Method::PATCH) => "PATCH",
        Some(&Method::DELETE) => "DELETE",
        Some(&Method::OPTIONS) => "OPTIONS",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
