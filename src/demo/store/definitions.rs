//! Which resource types the sample store has and by what they can be searched: a table of search parameters as FHIR R4
//! defines them, each with the elements it looks at. The index, the search and the CapabilityStatement all read it.

/// The type of a search parameter (R4, 3.1.1.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Token,
    Reference,
    Date,
    Text,
}

/// One search parameter: its name and the paths to its elements, as member names joined by dots.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) paths: &'static [&'static str],
}

/// One resource type and its parameters.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
}

/// The definition of a type that the store has.
pub(super) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.iter().find(|definition| definition.name == name)
}

impl Definition {
    /// The position of a parameter, by which facts are found.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == name)
    }
}

impl Kind {
    /// The word of the CapabilityStatement.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Reference => "reference",
            Self::Date => "date",
            Self::Text => "string",
        }
    }
}

const fn token(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Token, paths }
}

const fn reference(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Reference, paths }
}

const fn date(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Date, paths }
}

const fn text(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Text, paths }
}

const ID: Parameter = token("_id", &["id"]);
const LAST_UPDATED: Parameter = date("_lastUpdated", &["meta.lastUpdated"]);
const SUBJECT: Parameter = reference("subject", &["subject"]);
const PATIENT: Parameter = reference("patient", &["subject"]);
const ENCOUNTER: Parameter = reference("encounter", &["encounter"]);

/// All types, in alphabetical order.
#[rustfmt::skip]
pub(super) const DEFINITIONS: &[Definition] = &[
    Definition { name: "AllergyIntolerance", parameters: &[
        ID, LAST_UPDATED, reference("patient", &["patient"]), token("clinical-status", &["clinicalStatus"]),
        token("verification-status", &["verificationStatus"]), token("code", &["code"]), token("category", &["category"]),
        token("criticality", &["criticality"]), date("date", &["recordedDate"]),
    ] },
    Definition { name: "Condition", parameters: &[
        ID, LAST_UPDATED, PATIENT, SUBJECT, ENCOUNTER, token("category", &["category"]), token("code", &["code"]),
        token("clinical-status", &["clinicalStatus"]), token("verification-status", &["verificationStatus"]),
        date("onset-date", &["onsetDateTime"]), date("recorded-date", &["recordedDate"]),
    ] },
    Definition { name: "Encounter", parameters: &[
        ID, LAST_UPDATED, PATIENT, SUBJECT, token("status", &["status"]), token("class", &["class"]), token("type", &["type"]),
        date("date", &["period"]), token("reason-code", &["reasonCode"]), reference("participant", &["participant.individual"]),
        reference("location", &["location.location"]), reference("service-provider", &["serviceProvider"]),
    ] },
    Definition { name: "Immunization", parameters: &[
        ID, LAST_UPDATED, reference("patient", &["patient"]), token("status", &["status"]),
        token("vaccine-code", &["vaccineCode"]), date("date", &["occurrenceDateTime"]), reference("location", &["location"]),
    ] },
    Definition { name: "Location", parameters: &[
        ID, LAST_UPDATED, text("name", &["name"]), token("status", &["status"]), reference("organization", &["managingOrganization"]),
    ] },
    Definition { name: "MedicationRequest", parameters: &[
        ID, LAST_UPDATED, PATIENT, SUBJECT, ENCOUNTER, token("status", &["status"]), token("intent", &["intent"]),
        token("category", &["category"]), token("code", &["medicationCodeableConcept"]), date("authoredon", &["authoredOn"]),
        reference("requester", &["requester"]),
    ] },
    Definition { name: "Observation", parameters: &[
        ID, LAST_UPDATED, PATIENT, SUBJECT, ENCOUNTER, token("category", &["category"]), token("code", &["code"]),
        date("date", &["effectiveDateTime"]), token("status", &["status"]), reference("performer", &["performer"]),
    ] },
    Definition { name: "Organization", parameters: &[
        ID, LAST_UPDATED, text("name", &["name"]), token("identifier", &["identifier"]), token("active", &["active"]),
    ] },
    Definition { name: "Patient", parameters: &[
        ID, LAST_UPDATED, text("name", &["name.family", "name.given", "name.prefix"]), text("family", &["name.family"]),
        text("given", &["name.given"]), date("birthdate", &["birthDate"]), token("identifier", &["identifier"]),
        token("gender", &["gender"]), token("active", &["active"]), reference("general-practitioner", &["generalPractitioner"]),
        reference("organization", &["managingOrganization"]),
    ] },
    Definition { name: "Practitioner", parameters: &[
        ID, LAST_UPDATED, text("name", &["name.family", "name.given", "name.prefix"]), text("family", &["name.family"]),
        text("given", &["name.given"]), token("identifier", &["identifier"]), token("active", &["active"]), token("gender", &["gender"]),
    ] },
    Definition { name: "PractitionerRole", parameters: &[
        ID, LAST_UPDATED, reference("practitioner", &["practitioner"]), reference("organization", &["organization"]),
        reference("location", &["location"]), token("role", &["code"]), token("specialty", &["specialty"]), token("active", &["active"]),
    ] },
];
