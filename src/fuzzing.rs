//! Where fuzz targets enter: the stages behind their private constructors, on bytes that a target made up. Only there in builds
//! with `--cfg fuzzing` (`fuzz/run`); in every other build nothing passes the constructors.
//!
//! Takes bytes, gives what the stages make of them: the real listener's reading, the real decision, the real filter. Decides
//! nothing of its own, and what a target asserts stands in the target.

use std::sync::Arc;

use bytes::Bytes;
use url::Url;

use crate::authenticate::{Authenticated, Context, Principal};
use crate::authorize::{Authorizer, Decision, Permit, UpstreamRequest};
use crate::canonicalise::FhirRequest;
use crate::clock::Clock;
use crate::error::Refusal;
use crate::fhir::reference::{Bases, LogicalId};
use crate::fhir::resource_type::ResourceType;
use crate::filter::Filter;
use crate::filter::seal::Sealer;
use crate::filter::urls::Rebase;
use crate::forward::{Answered, Unfiltered};
use crate::listen::Inbound;
use crate::smart::scope::Scopes;

pub use crate::listen::fuzzing::read_connection;

/// The public base of [`Enforcement`].
pub const OURS: &str = "https://gw.example/fhir";
/// The upstream's base of [`Enforcement`].
pub const THEIRS: &str = "http://up.internal/fhir";

/// A request without a body as the listener would hand it on.
#[must_use]
pub fn inbound(method: &str, target: &str) -> Inbound {
    Inbound::for_test(method, target)
}

/// The query as on the wire.
#[must_use]
pub fn query(inbound: &Inbound) -> Option<&str> {
    inbound.query.as_deref()
}

/// Decision and filter between two bases, for one token of a clinician with a patient in context.
#[derive(Debug)]
pub struct Enforcement {
    authorizer: Authorizer,
    filter: Filter,
    scope: String,
    patient: LogicalId,
}

impl Enforcement {
    /// For `scope` in the context of `patient`. `None`: that is no id.
    #[must_use]
    pub fn new(scope: &str, patient: &str) -> Option<Self> {
        let (ours, theirs) = (Url::parse(OURS).ok()?, Url::parse(THEIRS).ok()?);
        let bases = Bases::new(&ours, &theirs, &[]);
        let sealer = Sealer::new(&[7; 32], Clock::fixed(1_000)).ok()?;
        Some(Self {
            authorizer: Authorizer::new(None, bases.clone(), 200, Vec::new()).ok()?,
            filter: Filter::new(bases, Rebase::new(OURS, &[THEIRS]), sealer),
            scope: scope.to_owned(),
            patient: LogicalId::parse(patient)?,
        })
    }

    /// What `authorize` says to `request`.
    #[must_use]
    pub fn decide(&self, request: FhirRequest) -> Decision {
        let principal = Principal {
            issuer: "https://gw.example".to_owned(),
            subject: "dr".to_owned(),
            client_id: "app".to_owned(),
            grant_id: "grant".to_owned(),
            token_handle: String::new(),
            scopes: Arc::new(Scopes::compile(&self.scope)),
            scope_text: self.scope.clone(),
            patient: Context::Patient(self.patient.clone()),
            encounter: None,
            fhir_user: LogicalId::parse("d1").map(|id| (ResourceType::PRACTITIONER, id)),
            roles: vec!["clinician".to_owned()],
            expires: i64::MAX,
        };
        self.authorizer.decide(Authenticated::for_test(request, principal), self.filter.sealer())
    }

    /// What `filter` makes of the upstream's 200 with the body `answer`.
    ///
    /// # Errors
    /// What it withholds it with.
    pub fn release(&self, permit: Permit, answer: &[u8]) -> Result<Bytes, Refusal> {
        let body = Bytes::copy_from_slice(answer);
        let answer = Answered::Resource { body, etag: None, last_modified: None };
        self.filter.release(Unfiltered::for_test(permit, answer, None)).map(|releasable| releasable.body().clone())
    }
}

/// What the upstream would be asked, each request of it.
#[must_use]
pub fn upstream(permit: &Permit) -> Vec<&UpstreamRequest> {
    let mut single = Vec::new();
    flatten(&permit.upstream, &mut single);
    single
}

fn flatten<'r>(request: &'r UpstreamRequest, single: &mut Vec<&'r UpstreamRequest>) {
    match request {
        UpstreamRequest::Each { parts, .. } => parts.iter().for_each(|part| flatten(&part.request, single)),
        UpstreamRequest::PerType { searches } => searches.iter().for_each(|search| flatten(search, single)),
        UpstreamRequest::Read { .. }
        | UpstreamRequest::Vread { .. }
        | UpstreamRequest::History { .. }
        | UpstreamRequest::Search { .. }
        | UpstreamRequest::SearchCompartment { .. }
        | UpstreamRequest::Page { .. }
        | UpstreamRequest::Write(_)
        | UpstreamRequest::Transaction(_)
        | UpstreamRequest::Operation(_)
        | UpstreamRequest::Nothing { .. } => single.push(request),
    }
}

/// URL and form of one of these requests; `None` when none would be sent.
#[must_use]
pub fn upstream_target(request: &UpstreamRequest) -> Option<(String, Option<String>)> {
    crate::forward::target_for_fuzzing(THEIRS, request)
}
