//! The upstream's CapabilityStatement as ours, served without a token and remembered for ten minutes.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::error::{Refusal, UpstreamFault};
use crate::fhir::definitions::search_parameter;
use crate::fhir::resource_type::ResourceType;
use crate::filter::capabilities::{Endpoints, Offer, capability_statement};
use crate::filter::urls::Rebase;
use crate::forward::Upstream;

/// How long a statement is taken for current.
const CURRENT: Duration = Duration::from_secs(600);
/// How long the upstream is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(2);

/// The statement and when it was fetched. One fetch at a time.
#[derive(Debug)]
pub struct Capabilities {
    rebase: Rebase,
    authorize: String,
    token: String,
    /// Stands in where the upstream's statement has no date.
    date: String,
    known: Mutex<Known>,
}

/// What the request path serves: reads and type searches by the parameters of the definitions.
struct Served;

impl Offer for Served {
    fn interaction(&self, _: ResourceType, code: &str) -> bool {
        matches!(code, "read" | "vread" | "search-type")
    }

    fn search_parameter(&self, resource_type: ResourceType, name: &str) -> bool {
        !matches!(name, "_text" | "_content" | "_query") && search_parameter(resource_type, name).is_some()
    }
}

#[derive(Debug, Default)]
struct Known {
    body: Option<(Bytes, Instant)>,
    failed: Option<(UpstreamFault, Instant)>,
}

impl Capabilities {
    /// States what is served below `rebase`'s base, with the endpoints of `issuer`; `date` is when this process started.
    #[must_use]
    pub fn new(rebase: Rebase, issuer: &str, date: String) -> Self {
        let (authorize, token) = (format!("{issuer}/authorize"), format!("{issuer}/token"));
        Self { rebase, authorize, token, date, known: Mutex::new(Known::default()) }
    }

    /// Our CapabilityStatement. One that is past its time still serves while the upstream cannot be asked.
    ///
    /// # Errors
    /// When the upstream cannot be asked and nothing is known, or what it states is no CapabilityStatement of R4.
    pub async fn body(&self, upstream: &Upstream) -> Result<Bytes, Refusal> {
        let mut known = self.known.lock().await;
        if let Some((body, since)) = &known.body
            && since.elapsed() < CURRENT
        {
            return Ok(body.clone());
        }
        let fault = match known.failed {
            Some((fault, since)) if since.elapsed() < PAUSE => fault,
            _ => match self.fetch(upstream).await {
                Ok(body) => {
                    *known = Known { body: Some((body.clone(), Instant::now())), failed: None };
                    return Ok(body);
                }
                Err(fault) => {
                    known.failed = Some((fault, Instant::now()));
                    fault
                }
            },
        };
        known.body.as_ref().map(|(body, _)| body.clone()).ok_or(Refusal::Upstream(fault))
    }

    async fn fetch(&self, upstream: &Upstream) -> Result<Bytes, UpstreamFault> {
        let evidence = upstream.capabilities().await?;
        let body = evidence.body.ok_or(UpstreamFault::Unusable("no CapabilityStatement"))?;
        let endpoints = Endpoints {
            rebase: &self.rebase,
            date: &self.date,
            description: "FHIR R4 through a SMART on FHIR gateway",
            authorize: &self.authorize,
            token: &self.token,
            introspect: None,
            manage: None,
            register: None,
            revoke: None,
        };
        capability_statement(body, &endpoints, &Served)
            .map(Into::into)
            .map_err(|_| UpstreamFault::Unusable("no CapabilityStatement of R4"))
    }
}
