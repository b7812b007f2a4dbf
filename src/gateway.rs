//! The request path in order. Read this first.
//!
//! `listen → admit → canonicalise → authenticate → authorize → forward → filter → audit → respond`. Each stage consumes what
//! the stage before it made, and every constructor is private to its stage: nothing is sent upstream without a
//! [`Permit`](crate::authorize::Permit), nothing leaves without being [`Recorded`].

mod batch;
mod capabilities;
mod explanation;
mod notes;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::Value;

use crate::admin::Metrics;
use crate::audit::{Audit, EventKind, Open, Outcome, Record, Recorded, Unaudited};
use crate::authenticate::{Authenticated, Authenticator, Presented};
use crate::authorize::{Authorizer, Decision};
use crate::canonicalise::FhirRequest;
use crate::clients::Clients;
use crate::cors::{self, Sharing};
use crate::error::{Challenge, Refusal, Scheme, UpstreamFault};
use crate::fhir::resource_type::ResourceType;
use crate::filter::{Filter, Releasable};
use crate::forward::Upstream;
use crate::grant::DirectoryError;
use crate::grant::records::User;
use crate::listen::{Body, Inbound, full};

pub use capabilities::Capabilities;
pub use explanation::{Depending, Explanation, Permitted, Refused};

/// The header field of RFC 9449 section 8.1.
fn dpop_nonce(nonce: HeaderValue) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static("dpop-nonce"), nonce)
}

/// The stages of one FHIR base.
#[derive(Debug)]
pub struct Gateway {
    /// Path of the base below the origin.
    pub path: String,
    /// The public base URL.
    pub base: String,
    /// Which origins may read answers in a browser.
    pub clients: Arc<Clients>,
    /// Who asks.
    pub authenticator: Authenticator,
    /// Whether they may.
    pub authorizer: Authorizer,
    /// Where it is asked.
    pub upstream: Upstream,
    /// What of the answer they get.
    pub filter: Filter,
    /// What is kept of it.
    pub audit: Audit,
    /// What is counted of it.
    pub metrics: Metrics,
    /// What is said about it all without a token.
    pub capabilities: Capabilities,
}

impl Gateway {
    /// Opens one record, runs the path, closes the record with what came of it, and only then lets the answer go. When this
    /// future is dropped (the client is gone), the record closes itself as aborted.
    pub async fn serve(&self, inbound: Inbound) -> Recorded<Response<Body>> {
        let mut open = self.audit.open(EventKind::Fhir, &inbound.request_id, inbound.peer.ip(), "public");
        let mut shared = HeaderMap::new();
        cors::decorate(&mut shared, Sharing::Fhir, &inbound, &self.clients);
        shared.append(VARY, HeaderValue::from_static("Authorization"));
        let presented = Presented::with(&inbound);
        let result = self.run(inbound, &presented, &mut open, &mut shared).await;
        let (outcome, mut response) = match result {
            Ok(releasable) => {
                self.metrics.permitted();
                (Outcome::Released, releasable.into_response())
            }
            Err(refusal) => {
                self.metrics.refused(refusal.reason());
                open.record().refused(&refusal);
                (refusal.outcome(), self.refuse_in_terms_of(presented.scheme(), refusal))
            }
        };
        response.headers_mut().extend(shared);
        self.conclude(open, outcome, response).await
    }

    /// Refuses a request whose head names this base and whose rest could not be read.
    pub async fn refuse_unread(
        &self,
        head: &Inbound,
        reason: &'static str,
        response: Response<Body>,
    ) -> Recorded<Response<Body>> {
        let mut open = self.audit.open(EventKind::Fhir, &head.request_id, head.peer.ip(), "public");
        open.record().inbound(head);
        self.attribute(&Presented::with(head), open.record());
        self.conclude(open, Outcome::Denied(reason), response).await
    }

    /// Closes the record of somebody who is known; a stranger's refusal is counted.
    async fn conclude(&self, mut open: Open, outcome: Outcome, response: Response<Body>) -> Recorded<Response<Body>> {
        let record = open.record();
        record.answered(&response);
        if let Outcome::Denied(reason) | Outcome::Failed(reason) = outcome
            && record.client_id.is_none()
        {
            return open.abandon_as_refused_unauthenticated(reason, response);
        }
        let closed = open.close(outcome, response).await;
        closed.unwrap_or_else(|unrecorded| unrecorded.answer(self.refuse(Refusal::Unavailable("audit_unavailable"))))
    }

    /// The whole request path, in order.
    async fn run(
        &self,
        inbound: Inbound,
        presented: &Presented,
        open: &mut Open,
        shared: &mut HeaderMap,
    ) -> Result<Releasable, Refusal> {
        let record = open.record();
        record.inbound(&inbound);
        let parsed = FhirRequest::parse(inbound, &self.path);
        if let Err(Refusal::Malformed(_)) = &parsed {
            self.attribute(presented, record);
        }
        let request = parsed?;
        record.requested(&request);
        let mut who = match self.authenticator.authenticate(request).await {
            Ok(who) => who,
            Err(refusal) => {
                shared.extend(refusal.asks_nonce().then(|| self.authenticator.nonce()).flatten().map(dpop_nonce));
                return Err(refusal);
            }
        };
        shared.extend(who.next_nonce.take().map(dpop_nonce));
        self.finish(who, open).await
    }

    /// Notes whose request it is that is refused before anybody is let in: a good token is enough for that.
    fn attribute(&self, presented: &Presented, record: &mut Record) {
        if let Some(principal) = self.authenticator.recognise(presented) {
            record.principal(&principal);
        }
    }

    /// From the decision on: what depends on what is there is decided anew when that was read.
    async fn finish(&self, who: Authenticated<FhirRequest>, open: &mut Open) -> Result<Releasable, Refusal> {
        open.record().principal(&who.principal);
        open.record().bundled(&who.request);
        let request_id = who.request.inbound.request_id.clone();
        let mut decision = self.authorizer.decide(who, self.filter.sealer());
        let permit = loop {
            decision = match decision {
                Decision::Permit(permit) => break permit,
                Decision::Inquire(inquiry) => {
                    let evidence = self.upstream.inquire(&inquiry, &request_id).await.map_err(Refusal::Upstream)?;
                    self.authorizer.resume(inquiry, &evidence)
                }
                Decision::Batch(batch) => return Ok(Box::pin(self.each(batch, open)).await),
                Decision::Deny(denial) => return Err(Refusal::Denied(denial)),
                Decision::Refuse(refusal) => return Err(refusal),
            };
        };
        open.record().permitted(&permit);
        if permit.changes() {
            open.intend().await.map_err(|_| Refusal::Unavailable("audit_unavailable"))?;
        }
        let unfiltered = self.upstream.send(permit, &request_id).await.map_err(Refusal::Upstream)?;
        open.record().forwarded(&unfiltered);
        unfiltered.spent.iter().for_each(|spent| self.metrics.upstream(*spent));
        let released = self.filter.release(unfiltered);
        if let Err(Refusal::Upstream(UpstreamFault::Foreign(resource_type))) = released {
            self.upstream.doubt(resource_type).await;
        }
        let releasable = released?;
        open.record().released(&releasable);
        Ok(releasable)
    }

    /// The CapabilityStatement (R4 http.html#capabilities), which needs no token. `None`: the request is for something else.
    pub async fn describe(&self, inbound: &Inbound) -> Option<Recorded<Response<Body>>> {
        if inbound.path.strip_prefix(&self.path)? != "/metadata" {
            return None;
        }
        let mut shared = HeaderMap::new();
        cors::decorate(&mut shared, Sharing::Open, inbound, &self.clients);
        let answered = match FhirRequest::parse(inbound.clone(), &self.path) {
            Ok(request) => self.capabilities.body(&self.upstream).await.map(|body| (request.head, body)),
            Err(refusal) => Err(refusal),
        };
        let mut response = match answered {
            Ok((head, body)) => {
                let mut response = Response::new(full(if head { Bytes::new() } else { body }));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
                response
            }
            Err(refusal) => self.refuse(refusal),
        };
        response.headers_mut().extend(shared);
        Some(self.audit.unaudited(Unaudited::Discovery, response))
    }

    /// A search of our own for a user who chooses a patient: the path from `authorize` on, with a record of its own. With
    /// `patient`, one of the user's own, in the context of that patient.
    ///
    /// # Errors
    /// When it was refused, failed or could not be recorded.
    pub async fn look_up(
        &self,
        user: &User,
        from: IpAddr,
        (resource_type, form): (ResourceType, &str),
        patient: Option<&str>,
    ) -> Result<Value, DirectoryError> {
        let inbound = Inbound::own_search(format!("{}/{resource_type}/_search", self.path), form, from);
        let mut open = self.audit.open(EventKind::Fhir, &inbound.request_id, from, "patient-choice");
        let result = async {
            open.record().inbound(&inbound);
            let request = FhirRequest::parse(inbound, &self.path)?;
            open.record().requested(&request);
            self.finish(self.authenticator.choosing_user(request, user, patient), &mut open).await
        };
        let result = result.await;
        result.as_ref().err().into_iter().for_each(|refusal| open.record().refused(refusal));
        let outcome = result.as_ref().map_or_else(Refusal::outcome, |_| Outcome::Released);
        let _ = open.close(outcome, ()).await.map_err(|_| DirectoryError::Unavailable)?;
        match result {
            Ok(releasable) => serde_json::from_slice(releasable.body()).map_err(|_| DirectoryError::Unavailable),
            Err(Refusal::Denied(_)) => Err(DirectoryError::Refused),
            Err(_) => Err(DirectoryError::Unavailable),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        self.refuse_in_terms_of(Scheme::Bearer, refusal)
    }

    fn refuse_in_terms_of(&self, scheme: Scheme, refusal: Refusal) -> Response<Body> {
        refusal.into_response(&Challenge { realm: &self.base, scheme }).map(full)
    }
}
