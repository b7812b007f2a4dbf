//! What a transaction creates, by the names that its other entries refer to it by.
//!
//! Takes the entries that create something; tells whether a name is one of theirs, and whether what it names may be referred to for
//! the sake of a patient. Promises that each resource is read once for a patient, however many references there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::super::Authorizer;
use crate::fhir::compartment::{is_reference_type, unsafe_by_default};
use crate::fhir::facts::Facts;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Json, Limits};

/// The resources that a transaction creates, by the `urn:uuid:` names that others refer to them by; nothing outside of one.
#[derive(Clone, Debug, Default)]
pub(in crate::authorize) struct Graph(Option<Arc<HashMap<String, Created>>>);

/// What an entry of a transaction creates.
#[derive(Debug)]
pub(in crate::authorize) struct Created {
    resource_type: ResourceType,
    /// The resource, as it was sent.
    body: Bytes,
    /// Something that is there may take its place (`ifNoneExist`).
    conditional: bool,
    /// Whether it is of a patient.
    judged: Mutex<HashMap<Id, bool>>,
}

impl Graph {
    pub(in crate::authorize) fn of(created: HashMap<String, Created>) -> Self {
        Self(Some(Arc::new(created)))
    }

    pub(super) fn is_transaction(&self) -> bool {
        self.0.is_some()
    }

    /// `None`: there is no transaction in which it could be created.
    pub(super) fn has(&self, urn: &str) -> Option<bool> {
        self.0.as_ref().map(|created| created.contains_key(urn))
    }

    pub(super) fn get(&self, urn: &str) -> Option<&Created> {
        self.0.as_ref()?.get(urn)
    }
}

impl Created {
    /// `conditional`: something that is there may take its place (`ifNoneExist`).
    pub(in crate::authorize) fn new(resource_type: ResourceType, body: Bytes, conditional: bool) -> Self {
        Self { resource_type, body, conditional, judged: Mutex::default() }
    }

    /// What `judge` says of the resource and this patient, or has said before.
    fn is_of(&self, patient: &Id, judge: impl FnOnce(&Facts<'_>) -> bool) -> bool {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        *judged.entry(patient.clone()).or_insert_with(|| {
            let body = Json::parse(self.body.clone(), Limits::default()).ok();
            body.is_some_and(|body| Facts::of(body.root()).is_ok_and(|facts| judge(&facts)))
        })
    }
}

impl Authorizer {
    /// Whether what another entry creates, perhaps by another scope, may be referred to as what is there may: it is of this patient,
    /// and nothing else can take its place, or it describes who, where and what care is given with.
    pub(super) fn is_created_for(&self, created: &Created, patient: &Id) -> bool {
        let resource_type = created.resource_type;
        if is_reference_type(resource_type) {
            return true;
        }
        // One that is created is never this patient.
        if created.conditional || resource_type == ResourceType::PATIENT || unsafe_by_default(resource_type) {
            return false;
        }
        created.is_of(patient, |facts| self.is_primarily_of(facts, patient))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn what_is_created_is_read_once_for_each_patient_however_often_it_is_referred_to() {
        let created =
            Created::new(ResourceType::OBSERVATION, Bytes::from_static(br#"{"resourceType":"Observation"}"#), false);
        let mut read = 0;
        for _ in 0..3 {
            for (patient, expected) in [("P1", true), ("P2", false)] {
                let judge = |_: &Facts<'_>| {
                    read += 1;
                    expected
                };
                assert_eq!(created.is_of(&Id::parse(patient).unwrap(), judge), expected);
            }
        }
        assert_eq!(read, 2);
    }
}
