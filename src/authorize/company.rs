//! What a resource may be in the company of: resources that were found to be within reach, by which others are judged.
//!
//! A Provenance says who did what to its targets (R4 provenance.html). R4 counts it to a patient whom it names among them; a grant
//! for one patient has it only when every target is that patient or something that was found to be within reach, and one at
//! least is that patient's own. A target that names a version is judged as that version is: it and the version that is current
//! must both be within reach. What nobody looked at is not in the company.

use std::collections::HashMap;

use crate::fhir::facts::Facts;
use crate::fhir::reference::{Bases, Id, LocalReference, LogicalId};
use crate::fhir::resource_type::ResourceType;

/// A resource as it is now, or one version of it.
type Known = (ResourceType, LogicalId, Option<LogicalId>);

/// Resources within reach, and versions of them, each with the patients whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Company(HashMap<Known, Vec<LogicalId>>);

impl Company {
    /// Adds a resource that was found to be within reach, as it is now, and so the version that it says to be.
    pub(crate) fn add(&mut self, facts: &Facts<'_>, bases: &Bases) {
        let Some(id) = facts.id() else { return };
        let patients = facts.patients(bases);
        if let Some(version) = facts.version_id() {
            self.0.insert((facts.resource_type(), id.to_logical_id(), Some(version)), patients.clone());
        }
        self.0.insert((facts.resource_type(), id.to_logical_id(), None), patients);
    }

    /// Adds a version that was found to be within reach.
    pub(super) fn add_version(&mut self, facts: &Facts<'_>, version: &LogicalId, bases: &Bases) {
        if let Some(id) = facts.id() {
            let known = (facts.resource_type(), id.to_logical_id(), Some(version.clone()));
            self.0.insert(known, facts.patients(bases));
        }
    }

    /// Whether the resource, as it is now, is in the company.
    pub(super) fn has_current(&self, local: &LocalReference<'_>) -> bool {
        self.patients_of(local, None).is_some()
    }

    /// Whether what the reference names is in the company: the resource as it is now and the version, if it names one.
    pub(super) fn has(&self, local: &LocalReference<'_>) -> bool {
        self.has_current(local) && (local.version.is_none() || self.patients_of(local, local.version).is_some())
    }

    /// Whether the Provenance is about this patient's own, and about nothing that is not known to be within reach.
    pub(super) fn admits_provenance(&self, facts: &Facts<'_>, patient: Id<'_>, bases: &Bases) -> bool {
        let (mut own, mut all) = (false, true);
        facts.references(&["target"], bases, |local| {
            let known = local.as_ref().and_then(|local| self.is_of(local, patient));
            own |= known == Some(true);
            all &= known.is_some();
        });
        own && all
    }

    /// Whether what the reference names is this patient's own; `None` when it is not in the company.
    fn is_of(&self, local: &LocalReference<'_>, patient: Id<'_>) -> Option<bool> {
        if local.names(ResourceType::PATIENT, patient) {
            return Some(true);
        }
        let theirs = |patients: &Vec<LogicalId>| patients.iter().any(|known| known.as_id() == patient);
        let now = theirs(self.patients_of(local, None)?);
        match local.version {
            None => Some(now),
            Some(version) => Some(theirs(self.patients_of(local, Some(version))?) && now),
        }
    }

    fn patients_of(&self, local: &LocalReference<'_>, version: Option<Id<'_>>) -> Option<&Vec<LogicalId>> {
        self.0.get(&(local.resource_type, local.id.to_logical_id(), version.map(Id::to_logical_id)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use url::Url;

    use super::*;
    use crate::json::{Json, Limits};

    fn parsed(text: &str) -> Json {
        Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap()
    }

    #[test]
    fn a_provenance_is_admitted_when_all_it_is_about_is_known_and_something_is_the_patients() {
        let url = |text| Url::parse(text).unwrap();
        let bases = Bases::new(&url("http://gw/fhir"), &url("http://up/fhir"), &[]);
        let mut company = Company::default();
        for text in [
            r#"{"resourceType":"Observation","id":"o1","meta":{"versionId":"2"},"subject":{"reference":"Patient/P1"}}"#,
            r#"{"resourceType":"Observation","id":"o2","subject":{"reference":"Patient/P2"}}"#,
            r#"{"resourceType":"Practitioner","id":"d1"}"#,
        ] {
            company.add(&Facts::of(parsed(text).root()).unwrap(), &bases);
        }
        let version = |text, version| (parsed(text), LogicalId::parse(version).unwrap());
        for (json, version) in [
            version(r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P1"}}"#, "1"),
            version(r#"{"resourceType":"Observation","id":"o4","subject":{"reference":"Patient/P1"}}"#, "1"),
        ] {
            company.add_version(&Facts::of(json.root()).unwrap(), &version, &bases);
        }
        let admitted = |targets: &[&str]| {
            let targets: Vec<String> = targets.iter().map(|one| format!(r#"{{"reference":"{one}"}}"#)).collect();
            let text = format!(r#"{{"resourceType":"Provenance","id":"p","target":[{}]}}"#, targets.join(","));
            let json = parsed(&text);
            company.admits_provenance(&Facts::of(json.root()).unwrap(), Id::parse("P1").unwrap(), &bases)
        };
        for good in [
            &["Patient/P1"][..],
            &["Observation/o1"],
            &["http://up/fhir/Observation/o1/_history/2", "Patient/P1"],
            &["Observation/o1/_history/1", "Patient/P1/_history/7"],
            &["Observation/o1", "Practitioner/d1"],
            &["Observation/o1", "Observation/o2"],
        ] {
            assert!(admitted(good), "{good:?}");
        }
        for bad in [
            &[][..],
            &["Observation/o2"],
            &["Practitioner/d1"],
            &["Observation/o1", "Observation/o3"],
            &["Observation/o1", "Observation/o1/_history/3"],
            &["Observation/o4/_history/1"],
            &["Observation/o1", "#c"],
            &["Observation/o1", "http://elsewhere/fhir/Observation/o1"],
            &["Patient/P1", "Patient/P2"],
            &["observation/o1"],
        ] {
            assert!(!admitted(bad), "{bad:?}");
        }
    }
}
