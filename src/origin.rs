//! Everything below the public origin: which of the two pipelines a request belongs to, and what is answered outside of both.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Method, Response, StatusCode};
use tokio::time::Instant;

use crate::admin::{Metrics, Route};
use crate::audit::{Audit, Recorded, Unaudited};
use crate::cors::{self, Sharing};
use crate::error::{Challenge, Malformed, MalformedKind, Refusal, Scheme};
use crate::gateway::Gateway;
use crate::grant::route::Endpoint;
use crate::grant::{Grants, respond, route};
use crate::listen::{Body, Inbound, Problem, Site, Unreadable, full};
use crate::oauth::error::ErrorCode;

mod build;

pub use build::{Parts, Running, StartError, audit_options, build};
pub(crate) use build::{bases, here};

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
    pub demo: Option<Box<dyn Beside>>,
    /// What is counted.
    pub metrics: Metrics,
}

/// Pages beside the gateway, at paths that are not its own.
pub trait Beside: Send + Sync + fmt::Debug {
    /// The answer; `None` when the path is not theirs either.
    fn respond<'a>(&'a self, inbound: &'a Inbound)
    -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + 'a>>;
}

impl Site for Origin {
    async fn respond(&self, inbound: Result<Inbound, Unreadable>) -> Recorded<Response<Body>> {
        let started = Instant::now();
        let (route, method, recorded) = match inbound {
            Ok(inbound) => {
                let (route, method) = (self.name(&inbound.path), Some(inbound.method.clone()));
                (route, method, self.route(inbound).await)
            }
            Err(unreadable) => (Route::Unreadable, None, self.refuse_unreadable(unreadable).await),
        };
        if route == Route::Token
            && let Some(ErrorCode(error)) = recorded.peek().extensions().get()
        {
            self.metrics.token_failure(error);
        }
        self.metrics.request(route, method.as_ref(), recorded.peek().status(), started.elapsed());
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
            if !may_change(&inbound) {
                return self.gateway.serve(inbound).await;
            }
            // What was forwarded runs to its recorded outcome, also when the client hangs up meanwhile.
            let (gateway, from) = (Arc::clone(&self.gateway), inbound.peer.ip());
            let exchange = Box::pin(async move { gateway.serve(inbound).await });
            return self.grants.under_way.run(from, exchange).await;
        }
        if let Some(demo) = &self.demo
            && let Some(page) = demo.respond(&inbound).await
        {
            return self.audit.unaudited(Unaudited::StaticPage, page);
        }
        let nothing = Refusal::Malformed(Malformed {
            kind: MalformedKind::UnknownPath,
            expected: format!("nothing is served here; the FHIR base is `{}`", self.gateway.base),
        });
        let response =
            nothing.into_response(&Challenge { realm: &self.gateway.base, scheme: Scheme::Bearer }).map(full);
        self.audit.refused_unauthenticated(inbound.peer.ip(), "path_unknown", response)
    }

    /// What the metrics call the part that answers.
    fn name(&self, path: &str) -> Route {
        match route::endpoint(path, &self.gateway.path) {
            Some(Endpoint::Jwks) => Route::Keys,
            Some(Endpoint::Token) => Route::Token,
            Some(Endpoint::Introspect | Endpoint::UserInfo) => Route::Introspect,
            Some(Endpoint::Revoke) => Route::Revoke,
            Some(Endpoint::Register | Endpoint::Registered) => Route::Register,
            Some(Endpoint::Logout | Endpoint::LogoutCallback | Endpoint::BackChannelLogout) => Route::Logout,
            Some(Endpoint::Manage | Endpoint::ManageLogin | Endpoint::ManageProvider) => Route::Manage,
            Some(Endpoint::LaunchContexts) => Route::Launch,
            Some(
                Endpoint::SmartConfiguration
                | Endpoint::OpenIdConfiguration
                | Endpoint::AuthorizationServerMetadata
                | Endpoint::Brands,
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

    async fn refuse_unreadable(&self, unreadable: Unreadable) -> Recorded<Response<Body>> {
        let malformed = |kind, expected: &str| Refusal::Malformed(Malformed { kind, expected: expected.to_owned() });
        let (reason, refusal) = match unreadable.problem {
            Problem::Head => {
                ("head_unclear", Refusal::bad_request("the head must be HTTP/1.1 that every reader reads alike"))
            }
            Problem::HeadTooLarge => {
                ("head_too_large", malformed(MalformedKind::TooLarge, "the head is longer than this server accepts"))
            }
            Problem::Target => (
                "target_not_ours",
                Refusal::bad_request("the request target must be a path, with one `Host` that agrees with it"),
            ),
            Problem::BodyTooLarge => {
                ("request_too_large", malformed(MalformedKind::TooLarge, "the body is larger than this server accepts"))
            }
            Problem::NoRoom => ("no_room_for_body", Refusal::Unavailable("no_room_for_body")),
            Problem::BodyTimeout => ("body_timeout", Refusal::bad_request("the whole body must arrive in time")),
            Problem::BodyBroken => {
                ("body_broken", Refusal::bad_request("the body must be complete and framed by HTTP"))
            }
        };
        let mut response =
            refusal.into_response(&Challenge { realm: &self.gateway.base, scheme: Scheme::Bearer }).map(full);
        match unreadable.problem {
            Problem::BodyTimeout => *response.status_mut() = StatusCode::REQUEST_TIMEOUT,
            Problem::HeadTooLarge => *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Problem::Head | Problem::Target | Problem::BodyTooLarge | Problem::NoRoom | Problem::BodyBroken => {}
        }
        if self.is_fhir(&unreadable.head.path) {
            return self.gateway.refuse_unread(&unreadable.head, reason, response).await;
        }
        self.audit.refused_unauthenticated(unreadable.head.peer.ip(), reason, response)
    }
}

/// Whether a request below the FHIR base may change something, by its face: every method but those that read, and a search by
/// POST.
fn may_change(inbound: &Inbound) -> bool {
    let reads = matches!(inbound.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let searches = inbound.method == Method::POST && inbound.path.ends_with("/_search");
    !(reads || searches)
}
