//! What the tests of the filter begin with: a gateway, an upstream, somebody with a token.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::sync::Arc;

use url::Url;

use super::Filter;
use super::seal::Sealer;
use super::urls::Rebase;
use crate::authenticate::{Context, Principal};
use crate::authorize::{Attachment, OpenPage};
use crate::clock::Clock;
use crate::error::Refusal;
use crate::fhir::reference::{Bases, LogicalId};
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::Scopes;

pub(super) const GATEWAY: &str = "https://gw.example/fhir";
pub(super) const UPSTREAM: &str = "http://up.internal/fhir";

pub(super) struct NoPages;

impl OpenPage for NoPages {
    fn open_page(&self, _: &str, _: &Principal, _: &str) -> Result<(ResourceType, String), Refusal> {
        Err(Refusal::NotFound)
    }

    fn open_attachment(&self, _: &str, _: &Principal, _: &LogicalId) -> Result<Attachment, Refusal> {
        Err(Refusal::NotFound)
    }
}

pub(super) fn bases() -> Bases {
    Bases::new(&Url::parse(GATEWAY).unwrap(), &Url::parse(UPSTREAM).unwrap(), &[])
}

pub(super) fn filter() -> Filter {
    Filter::new(bases(), Rebase::new(GATEWAY, &[UPSTREAM]), Sealer::new(&[7; 32], Clock::fixed(1_000)).unwrap())
}

/// A clinician's token; one of the level `patient/` is launched with P1.
pub(super) fn principal(scope: &str) -> Principal {
    let patient = LogicalId::parse("P1").filter(|_| scope.starts_with("patient/"));
    Principal {
        issuer: "https://gw.example".to_owned(),
        subject: "dr".to_owned(),
        client_id: "app".to_owned(),
        grant_id: "g1".to_owned(),
        token_handle: "t1".to_owned(),
        scopes: Arc::new(Scopes::compile(scope)),
        scope_text: scope.to_owned(),
        patient: patient.map_or(Context::Absent, Context::Patient),
        encounter: None,
        fhir_user: Some((ResourceType::PRACTITIONER, LogicalId::parse("d1").unwrap())),
        roles: vec!["clinician".to_owned()],
        expires: i64::MAX,
    }
}
