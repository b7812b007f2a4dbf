//! The vocabulary of policies, as Rust types, and the Cedar schema that is printed from them. The print is kept in
//! `policies/schema/`, and a test compares.

use std::fmt::Write;

use cedar_policy::{EntityId, EntityUid};

use crate::fhir::compartment::{
    extension_compartment, is_reference_type, is_terminology, patient_compartment, unsafe_by_default,
};
use crate::fhir::resource_type::ResourceType;

/// What policies call interactions: FHIR's own codes (R4 valueset-restful-interaction.html).
///
/// What comes back beside what was asked for (includes, the resources of `$everything`) is asked about as `read`. `operation` is
/// for those that a site lists by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Read,
    Vread,
    HistoryInstance,
    HistoryType,
    HistorySystem,
    SearchType,
    SearchSystem,
    Create,
    Update,
    Patch,
    Delete,
    Operation,
}

impl Action {
    pub(crate) const ALL: [Self; 12] = [
        Self::Read,
        Self::Vread,
        Self::HistoryInstance,
        Self::HistoryType,
        Self::HistorySystem,
        Self::SearchType,
        Self::SearchSystem,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::Operation,
    ];

    /// Whether it changes what is stored.
    pub(crate) const fn changes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch | Self::Delete)
    }

    /// The code.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Vread => "vread",
            Self::HistoryInstance => "history-instance",
            Self::HistoryType => "history-type",
            Self::HistorySystem => "history-system",
            Self::SearchType => "search-type",
            Self::SearchSystem => "search-system",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Operation => "operation",
        }
    }
}

/// Groups of types that policies can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeGroup {
    /// Types with resources that belong to a patient.
    PatientCompartment,
    /// Types of the compartment whose resources also name other people.
    NamesOthers,
    /// Who, where and what care is given with.
    ReferenceType,
    /// What codes mean.
    Terminology,
}

impl TypeGroup {
    pub(super) const ALL: [Self; 4] =
        [Self::PatientCompartment, Self::NamesOthers, Self::ReferenceType, Self::Terminology];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PatientCompartment => "patient_compartment",
            Self::NamesOthers => "names_others",
            Self::ReferenceType => "reference_type",
            Self::Terminology => "terminology",
        }
    }

    pub(super) fn contains(self, resource_type: ResourceType) -> bool {
        match self {
            Self::PatientCompartment => {
                patient_compartment(resource_type).is_some() || extension_compartment(resource_type).is_some()
            }
            Self::NamesOthers => unsafe_by_default(resource_type),
            Self::ReferenceType => is_reference_type(resource_type),
            Self::Terminology => is_terminology(resource_type),
        }
    }
}

/// The entity that stands for any resource of this type.
pub(super) fn resource(resource_type: ResourceType) -> Option<EntityUid> {
    uid("Resource", resource_type.name())
}

/// What that entity is in: its type and its groups.
pub(super) fn parents(resource_type: ResourceType) -> Option<Vec<EntityUid>> {
    let groups = TypeGroup::ALL.into_iter().filter(|group| group.contains(resource_type));
    let groups = groups.map(|group| uid("TypeGroup", group.name()));
    groups.chain([uid("ResourceType", resource_type.name())]).collect()
}

/// An entity of one of the schema's types. Never `None` for those, and `None` always denies.
pub(super) fn uid(type_name: &'static str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(type_name.parse().ok()?, EntityId::new(id)))
}

/// The Cedar schema that policies are validated against.
#[must_use]
pub fn schema_text() -> String {
    let mut text = String::from(
        "// Generated from the types of the program; do not edit. What policies can talk about.\n\n\
         // Roles come from verified claims and from the configuration.\nentity Role;\n\n\
         // Somebody who logged in: the principal under `patient/` and `user/` scopes.\nentity User in [Role];\n\n\
         // An app or service: the principal under `system/` scopes.\nentity Client in [Role];\n\n",
    );
    enumeration(&mut text, "// The types of FHIR R4.", "ResourceType", ResourceType::all().map(ResourceType::name));
    enumeration(&mut text, "// Groups of types.", "TypeGroup", TypeGroup::ALL.map(TypeGroup::name));
    text.push_str(
        "// What is read or searched.\nentity Resource in [ResourceType, TypeGroup];\n\n\
         type Circumstances = {\n    // The app.\n    client: Client,\n    // The scope's: `patient`, `user` or `system`.\n    \
         level: String,\n    // Whether the request is confined to one patient's compartment.\n    compartment: Bool,\n    \
         // Whether a grant for one patient reads by id what patient data refer to.\n    referenced: Bool,\n    \
         // Whether it reads the user's own entry (`fhirUser`).\n    fhir_user: Bool,\n    \
         // The operation that asks, without the `$`; empty for FHIR's own interactions.\n    operation: String,\n};\n\n",
    );
    let actions: Vec<String> = Action::ALL.iter().map(|action| format!("\"{}\"", action.name())).collect();
    let _ = writeln!(
        text,
        "action {} appliesTo {{\n    principal: [User, Client],\n    resource: [Resource],\n    context: Circumstances,\n}};",
        actions.join(", ")
    );
    text
}

fn enumeration(text: &mut String, comment: &str, name: &str, members: impl IntoIterator<Item = &'static str>) {
    let members: Vec<String> = members.into_iter().map(|member| format!("    \"{member}\"")).collect();
    let _ = writeln!(text, "{comment}\nentity {name} enum [\n{}\n];\n", members.join(",\n"));
}
