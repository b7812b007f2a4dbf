//! Everything below the public origin: which of the two pipelines a request belongs to, and what is answered outside of both.

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::admin::{Metrics, Route};
use crate::audit::{Audit, Recorded, Unaudited};
use crate::demo::DemoSite;
use crate::error::{Challenge, Malformed, MalformedKind, Refusal};
use crate::gateway::Gateway;
use crate::grant::route::Endpoint;
use crate::grant::{Grants, respond, route};
use crate::listen::{Body, Inbound, Problem, Site, Unreadable, full};
use crate::oauth::cors::{self, Sharing};

mod build;

pub use build::{Parts, Running, StartError, build};

/// The site behind the public listener.
#[derive(Debug)]
pub struct Origin {
    /// Spends tokens.
    pub gateway: Arc<Gateway>,
    /// Issues them.
    pub grants: Grants,
    /// Keeps the records.
    pub audit: Audit,
    /// The pages of `firebreak demo`.
    pub demo: Option<DemoSite>,
    /// What is counted.
    pub metrics: Metrics,
}

impl Site for Origin {
    async fn respond(&self, inbound: Result<Inbound, Unreadable>) -> Recorded<Response<Body>> {
        let started = Instant::now();
        let (route, method, recorded) = match inbound {
            Ok(inbound) => {
                let (route, method) = (self.name(&inbound.path), inbound.method.clone());
                (route, method, self.route(inbound).await)
            }
            Err(unreadable) => (Route::Unreadable, Method::OPTIONS, self.refuse_unreadable(&unreadable)),
        };
        self.metrics.request(route, &method, recorded.peek().status(), started.elapsed());
        recorded
    }
}

impl Origin {
    async fn route(&self, inbound: Inbound) -> Recorded<Response<Body>> {
        if let Some(endpoint) = route::endpoint(&inbound.path, &self.gateway.path) {
            return respond::respond(&self.grants, &self.audit, endpoint, inbound).await;
        }
        if self.is_fhir(&inbound.path) {
            let sharing = if self.is_metadata(&inbound.path) { Sharing::Open } else { Sharing::Fhir };
            if let Some(preflight) = cors::preflight(sharing, &inbound, &self.grants.clients) {
                return self.audit.unaudited(Unaudited::Preflight, preflight.map(full));
            }
            if let Some(described) = self.gateway.describe(&inbound).await {
                return described;
            }
            return self.gateway.serve(inbound).await;
        }
        if let Some(demo) = &self.demo {
            let (method, query, headers) = (&inbound.method, inbound.query.as_deref(), &inbound.headers);
            if let Some(page) = demo.respond(method, &inbound.path, query, headers, &inbound.body).await {
                return self.audit.unaudited(Unaudited::StaticPage, page);
            }
        }
        let nothing = Refusal::Malformed(Malformed {
            kind: MalformedKind::UnknownPath,
            expected: format!("nothing is served here; the FHIR base is `{}`", self.gateway.base),
        });
        let response = nothing.into_response(&Challenge { realm: &self.gateway.base }).map(full);
        self.audit.refused_unauthenticated(inbound.peer.ip(), "path_unknown", response)
    }

    /// What the metrics call the part that answers.
    fn name(&self, path: &str) -> Route {
        match route::endpoint(path, &self.gateway.path) {
            Some(Endpoint::Jwks) => Route::Keys,
            Some(Endpoint::Token) => Route::Token,
            Some(Endpoint::LaunchContexts) => Route::Launch,
            Some(
                Endpoint::SmartConfiguration | Endpoint::OpenIdConfiguration | Endpoint::AuthorizationServerMetadata,
            ) => Route::Discovery,
            Some(_) => Route::Authorize,
            None if self.is_fhir(path) => {
                if self.is_metadata(path) {
                    Route::Metadata
                } else {
                    Route::Fhir
                }
            }
            None if self.demo.is_some() => Route::Demo,
            None => Route::Other,
        }
    }

    /// The base itself or a path below it; compared by whole segments.
    fn is_fhir(&self, path: &str) -> bool {
        path.strip_prefix(&self.gateway.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn is_metadata(&self, path: &str) -> bool {
        path.strip_prefix(&self.gateway.path) == Some("/metadata")
    }

    fn refuse_unreadable(&self, unreadable: &Unreadable) -> Recorded<Response<Body>> {
        let malformed = |kind, expected: &str| Refusal::Malformed(Malformed { kind, expected: expected.to_owned() });
        let (reason, refusal) = match unreadable.problem {
            Problem::Target => (
                "target_not_ours",
                Refusal::bad_request("the request target must be a path, with one `Host` that agrees with it"),
            ),
            Problem::BodyTooLarge => {
                ("request_too_large", malformed(MalformedKind::TooLarge, "the body is larger than this server accepts"))
            }
            Problem::BodyTimeout => ("body_timeout", Refusal::bad_request("the whole body must arrive in time")),
            Problem::BodyBroken => {
                ("body_broken", Refusal::bad_request("the body must be complete and framed by HTTP"))
            }
        };
        let mut response = refusal.into_response(&Challenge { realm: &self.gateway.base }).map(full);
        if unreadable.problem == Problem::BodyTimeout {
            *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
        }
        self.audit.refused_unauthenticated(unreadable.peer.ip(), reason, response)
    }
}
