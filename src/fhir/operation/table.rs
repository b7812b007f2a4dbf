//! The operations that the program knows, with the inputs that are served (R4 operationslist.html, US Core 6.1, International
//! Patient Summary 1.1). An input that is not here is refused, so each can be relied on to mean what its definition says.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::{Kind, Level, Operation, Parameter, Returns, Type};
use crate::fhir::resource_type::ResourceType;

const CODE_SYSTEM: &[ResourceType] = &[ResourceType::CODE_SYSTEM];
const CONCEPT_MAP: &[ResourceType] = &[ResourceType::CONCEPT_MAP];
const VALUE_SET: &[ResourceType] = &[ResourceType::VALUE_SET];

const TYPE: &[Level] = &[Level::Type];
const INSTANCE: &[Level] = &[Level::Instance];
const TYPE_AND_INSTANCE: &[Level] = &[Level::Type, Level::Instance];
const ALL: &[Level] = &[Level::System, Level::Type, Level::Instance];

/// Name, type, and how often it must and may be there.
type Input = (&'static str, Type, u32, Option<u32>);

/// At most once.
const fn optional(name: &'static str, of: Type) -> Input {
    (name, of, 0, Some(1))
}

const fn required(name: &'static str, of: Type) -> Input {
    (name, of, 1, Some(1))
}

const fn repeating(name: &'static str, of: Type) -> Input {
    (name, of, 0, None)
}

const EVERYTHING: &[Input] = &[
    optional("start", Type::Date),
    optional("end", Type::Date),
    optional("_since", Type::Instant),
    repeating("_type", Type::Code),
    optional("_count", Type::Integer),
];

const META: &[Input] = &[required("meta", Type::Meta)];

/// What every question about a code has in one way or another.
const VALIDATE_CODE_IN_VALUE_SET: &[Input] = &[
    optional("url", Type::Uri),
    optional("valueSetVersion", Type::String),
    optional("code", Type::Code),
    optional("system", Type::Uri),
    optional("systemVersion", Type::String),
    optional("display", Type::String),
    optional("coding", Type::Coding),
    optional("codeableConcept", Type::CodeableConcept),
    optional("date", Type::DateTime),
    optional("abstract", Type::Boolean),
    optional("displayLanguage", Type::Code),
];

const VALIDATE_CODE_IN_CODE_SYSTEM: &[Input] = &[
    optional("url", Type::Uri),
    optional("version", Type::String),
    optional("code", Type::Code),
    optional("display", Type::String),
    optional("coding", Type::Coding),
    optional("codeableConcept", Type::CodeableConcept),
    optional("date", Type::DateTime),
    optional("abstract", Type::Boolean),
    optional("displayLanguage", Type::Code),
];

const LOOKUP: &[Input] = &[
    optional("code", Type::Code),
    optional("system", Type::Uri),
    optional("version", Type::String),
    optional("coding", Type::Coding),
    optional("date", Type::DateTime),
    optional("displayLanguage", Type::Code),
    repeating("property", Type::Code),
];

const SUBSUMES: &[Input] = &[
    optional("codeA", Type::Code),
    optional("codeB", Type::Code),
    optional("system", Type::Uri),
    optional("version", Type::String),
    optional("codingA", Type::Coding),
    optional("codingB", Type::Coding),
];

const EXPAND: &[Input] = &[
    optional("url", Type::Uri),
    optional("valueSetVersion", Type::String),
    optional("filter", Type::String),
    optional("date", Type::DateTime),
    optional("offset", Type::Integer),
    optional("count", Type::Integer),
    optional("includeDesignations", Type::Boolean),
    repeating("designation", Type::String),
    optional("includeDefinition", Type::Boolean),
    optional("activeOnly", Type::Boolean),
    optional("excludeNested", Type::Boolean),
    optional("excludeNotForUI", Type::Boolean),
    optional("excludePostCoordinated", Type::Boolean),
    optional("displayLanguage", Type::Code),
];

const TRANSLATE: &[Input] = &[
    optional("url", Type::Uri),
    optional("conceptMapVersion", Type::String),
    optional("code", Type::Code),
    optional("system", Type::Uri),
    optional("version", Type::String),
    optional("source", Type::Uri),
    optional("coding", Type::Coding),
    optional("codeableConcept", Type::CodeableConcept),
    optional("target", Type::Uri),
    optional("targetsystem", Type::Uri),
    optional("reverse", Type::Boolean),
];

fn values() -> Kind {
    Kind::Terminology(Returns::Parameters(Cow::Borrowed(&[])))
}

fn one(
    name: &'static str,
    definition: &'static str,
    (levels, resource_types): (&'static [Level], &'static [ResourceType]),
    inputs: &[Input],
    kind: Kind,
) -> Operation {
    Operation {
        name: Cow::Borrowed(name),
        definition: Cow::Borrowed(definition),
        levels: Cow::Borrowed(levels),
        resource_types: Cow::Borrowed(resource_types),
        affects_state: false,
        parameters: inputs.iter().map(parameter).collect(),
        kind,
    }
}

fn parameter((name, of, min, max): &Input) -> Parameter {
    Parameter { name: Cow::Borrowed(name), of: *of, min: *min, max: *max }
}

fn changing(name: &'static str, definition: &'static str) -> Operation {
    Operation { affects_state: true, ..one(name, definition, (INSTANCE, &[]), META, Kind::MetaChange) }
}

static KNOWN: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    vec![
        one(
            "everything",
            "http://hl7.org/fhir/OperationDefinition/Patient-everything",
            (TYPE_AND_INSTANCE, &[ResourceType::PATIENT]),
            EVERYTHING,
            Kind::Everything,
        ),
        one(
            "everything",
            "http://hl7.org/fhir/OperationDefinition/Encounter-everything",
            (INSTANCE, &[ResourceType::ENCOUNTER]),
            EVERYTHING,
            Kind::Everything,
        ),
        one(
            "lastn",
            "http://hl7.org/fhir/OperationDefinition/Observation-lastn",
            (TYPE, &[ResourceType::OBSERVATION]),
            &[optional("max", Type::Integer)],
            Kind::LastN,
        ),
        one(
            "docref",
            "http://hl7.org/fhir/us/core/OperationDefinition/docref",
            (TYPE, &[ResourceType::DOCUMENT_REFERENCE]),
            &[
                required("patient", Type::Id),
                optional("start", Type::DateTime),
                optional("end", Type::DateTime),
                optional("type", Type::CodeableConcept),
                optional("on-demand", Type::Boolean),
            ],
            Kind::DocRef,
        ),
        one(
            "document",
            "http://hl7.org/fhir/OperationDefinition/Composition-document",
            (INSTANCE, &[ResourceType::COMPOSITION]),
            &[optional("persist", Type::Boolean)],
            Kind::Document,
        ),
        one(
            "summary",
            "http://hl7.org/fhir/uv/ips/OperationDefinition/summary",
            (INSTANCE, &[ResourceType::PATIENT]),
            &[optional("persist", Type::Boolean)],
            Kind::Document,
        ),
        one(
            "validate",
            "http://hl7.org/fhir/OperationDefinition/Resource-validate",
            (TYPE_AND_INSTANCE, &[]),
            &[optional("resource", Type::Resource), optional("mode", Type::Code), optional("profile", Type::Uri)],
            Kind::Validate,
        ),
        one("meta", "http://hl7.org/fhir/OperationDefinition/Resource-meta", (ALL, &[]), &[], Kind::Meta),
        changing("meta-add", "http://hl7.org/fhir/OperationDefinition/Resource-meta-add"),
        changing("meta-delete", "http://hl7.org/fhir/OperationDefinition/Resource-meta-delete"),
        one(
            "expand",
            "http://hl7.org/fhir/OperationDefinition/ValueSet-expand",
            (TYPE_AND_INSTANCE, VALUE_SET),
            EXPAND,
            Kind::Terminology(Returns::Resource(Cow::Borrowed(VALUE_SET))),
        ),
        one(
            "validate-code",
            "http://hl7.org/fhir/OperationDefinition/ValueSet-validate-code",
            (TYPE_AND_INSTANCE, VALUE_SET),
            VALIDATE_CODE_IN_VALUE_SET,
            values(),
        ),
        one(
            "validate-code",
            "http://hl7.org/fhir/OperationDefinition/CodeSystem-validate-code",
            (TYPE_AND_INSTANCE, CODE_SYSTEM),
            VALIDATE_CODE_IN_CODE_SYSTEM,
            values(),
        ),
        one(
            "lookup",
            "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup",
            (TYPE, CODE_SYSTEM),
            LOOKUP,
            values(),
        ),
        one(
            "subsumes",
            "http://hl7.org/fhir/OperationDefinition/CodeSystem-subsumes",
            (TYPE_AND_INSTANCE, CODE_SYSTEM),
            SUBSUMES,
            values(),
        ),
        one(
            "translate",
            "http://hl7.org/fhir/OperationDefinition/ConceptMap-translate",
            (TYPE_AND_INSTANCE, CONCEPT_MAP),
            TRANSLATE,
            values(),
        ),
    ]
});

/// All of them.
pub(super) fn known() -> &'static [Operation] {
    &KNOWN
}
