//! The patient compartment: which resources belong to a patient, and by which search parameters (R4 compartmentdefinition-patient.html).
//!
//! Takes a resource type; gives how membership is decided, primary parameter first. The list is HL7's 66 types. What is not
//! on it has no compartment and is denied to a grant for one patient, unless [`extension_compartment`] or a site's own table
//! adds it. It does not decide: [`unsafe_by_default`] says which members name other people too and need a decision
//! of their own.

use std::sync::LazyLock;

use super::definitions::{ElementPath, SearchParameter, patient_compartment_rows, search_parameter};
use super::resource_type::ResourceType;

static MEMBERS: LazyLock<Vec<Option<PatientCompartment>>> = LazyLock::new(read);

static EXTENSIONS: LazyLock<Vec<(ResourceType, PatientCompartment)>> = LazyLock::new(read_extensions);

/// Types outside HL7's compartment that the gateway adds, with the parameter that makes a resource a member.
///
/// `Device.patient`: the implanted or dispensed device of US Core. R4 left it out.
const EXTENSION_TABLE: [(ResourceType, &str); 1] = [(ResourceType::DEVICE, "patient")];

/// How a resource of this type becomes part of a patient's compartment; `None` for a type that never is.
#[must_use]
pub fn patient_compartment(resource_type: ResourceType) -> Option<&'static PatientCompartment> {
    MEMBERS.get(resource_type.index())?.as_ref()
}

/// The same for the types that the gateway adds to HL7's list. Never a type that [`patient_compartment`] knows.
#[must_use]
pub fn extension_compartment(resource_type: ResourceType) -> Option<&'static PatientCompartment> {
    EXTENSIONS.iter().find(|(known, _)| *known == resource_type).map(|(_, compartment)| compartment)
}

/// Whether members of this type name people other than the patient, or are members in a wider sense than a grant for the
/// patient should cover: refused to such a grant unless a rule of its own says otherwise.
///
/// `Patient.link` is not here because it never makes a member ([`Membership::OwnId`]).
#[must_use]
pub fn unsafe_by_default(resource_type: ResourceType) -> bool {
    matches!(
        resource_type,
        ResourceType::AUDIT_EVENT
            | ResourceType::GROUP
            | ResourceType::LIST
            | ResourceType::MEASURE_REPORT
            | ResourceType::PERSON
            | ResourceType::PROVENANCE
            | ResourceType::SCHEDULE
    )
}

/// Whether the type says what codes mean.
#[must_use]
pub fn is_terminology(resource_type: ResourceType) -> bool {
    matches!(resource_type, ResourceType::CODE_SYSTEM | ResourceType::CONCEPT_MAP | ResourceType::VALUE_SET)
}

/// Whether the type describes who, where and what care is given with, rather than a patient: what patient data refer to.
#[must_use]
pub fn is_reference_type(resource_type: ResourceType) -> bool {
    matches!(
        resource_type,
        ResourceType::LOCATION
            | ResourceType::MEDICATION
            | ResourceType::ORGANIZATION
            | ResourceType::PRACTITIONER
            | ResourceType::PRACTITIONER_ROLE
    )
}

/// How resources of one type belong to a patient.
#[derive(Debug)]
pub struct PatientCompartment {
    /// What is compared with the patient.
    pub membership: Membership,
    /// The search parameters that narrow a search to the patient, the primary one first; at least one. A search by the
    /// primary one alone finds a subset of the members.
    pub parameters: Vec<&'static SearchParameter>,
}

/// What is compared with the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The resource's own id: for `Patient` itself. `Patient.link` points to other people and makes no member.
    OwnId,
    /// Any reference on the paths of any of the parameters.
    Reference,
}

impl PatientCompartment {
    /// The parameter that narrows a search and that a write must set.
    #[must_use]
    pub fn primary(&self) -> Option<&'static SearchParameter> {
        self.parameters.first().copied()
    }

    /// Where references that make a member stand. Nothing for [`Membership::OwnId`].
    pub fn reference_paths(&self) -> impl Iterator<Item = &'static ElementPath> {
        let by_reference = self.membership == Membership::Reference;
        self.parameters.iter().filter(move |_| by_reference).flat_map(|parameter| &parameter.paths)
    }
}

fn read() -> Vec<Option<PatientCompartment>> {
    let mut members: Vec<Option<PatientCompartment>> = ResourceType::all().map(|_| None).collect();
    for (resource_type, names) in patient_compartment_rows() {
        let compartment = if resource_type == ResourceType::PATIENT {
            by_parameters(resource_type, Membership::OwnId, ["_id"])
        } else {
            by_parameters(resource_type, Membership::Reference, names)
        };
        if let Some(member) = members.get_mut(resource_type.index()) {
            *member = compartment;
        }
    }
    members
}

fn read_extensions() -> Vec<(ResourceType, PatientCompartment)> {
    EXTENSION_TABLE
        .into_iter()
        .filter_map(|(known, name)| Some((known, by_parameters(known, Membership::Reference, [name])?)))
        .collect()
}

/// `None`, which denies, unless every parameter is known and has a path.
fn by_parameters<'a>(
    resource_type: ResourceType,
    membership: Membership,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<PatientCompartment> {
    let parameters: Vec<_> = names
        .into_iter()
        .map(|name| search_parameter(resource_type, name).filter(|parameter| !parameter.paths.is_empty()))
        .collect::<Option<_>>()?;
    Some(PatientCompartment { membership, parameters })
}

#[cfg(test)]
mod tests;
