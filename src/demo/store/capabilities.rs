//! `/metadata` of the sample store: a CapabilityStatement made from the same table that the search uses.

use bytes::Bytes;
use serde_json::{Value, json};

use super::definitions::DEFINITIONS;
use super::seed;

/// The CapabilityStatement of the store at `base`.
pub(super) fn statement(base: &str) -> Bytes {
    let resources: Vec<Value> = DEFINITIONS
        .iter()
        .map(|definition| {
            let parameters: Vec<Value> = definition
                .parameters
                .iter()
                .map(|parameter| json!({ "name": parameter.name, "type": parameter.kind.as_str() }))
                .collect();
            json!({
                "type": definition.name,
                "interaction": [{ "code": "read" }, { "code": "vread" }, { "code": "search-type" }],
                "versioning": "versioned",
                "searchParam": parameters,
            })
        })
        .collect();
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": seed::TODAY.to_string(),
        "kind": "instance",
        "software": { "name": "Firebreak sample store", "version": env!("CARGO_PKG_VERSION") },
        "implementation": { "description": "Invented patients for the demonstration", "url": base },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{ "mode": "server", "resource": resources }],
    });
    Bytes::from(statement.to_string())
}
