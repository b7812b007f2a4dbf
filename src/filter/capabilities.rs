//! The upstream's CapabilityStatement becomes ours (R4 capabilitystatement.html, SMART App Launch 2.2 conformance.html).
//!
//! Takes the upstream's `metadata`, an [`Offer`] of what the gateway serves and its endpoints; gives the statement to
//! publish. It is built anew from the parts that are known here, so what the gateway refuses, and what the upstream says of
//! itself (`software`, `publisher`, `contact`, documentation, its own URLs), does not appear: clients must
//! not be told to try what is refused.
//!
//! Read on a cold path, once per refresh, so this one uses a DOM; the strict pass comes first all the same.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::urls::Rebase;
use crate::fhir::resource_type::ResourceType;
use crate::json::{Json, Limits};

/// What the gateway serves of what the upstream can do.
pub trait Offer {
    /// Whether `code` of `type-restful-interaction`, such as `read` or `search-type`, is served for the type.
    fn interaction(&self, resource_type: ResourceType, code: &str) -> bool;

    /// Whether `code` of `system-restful-interaction`, such as `transaction`, is served. Never, unless overridden.
    fn of_the_system(&self, code: &str) -> bool {
        let _ = code;
        false
    }

    /// Whether a search of the type may use the parameter.
    fn search_parameter(&self, resource_type: ResourceType, name: &str) -> bool;

    /// The canonical URL of the operation of this name, where it is served on the type, or on the system. None, unless overridden.
    fn operation(&self, resource_type: Option<ResourceType>, name: &str) -> Option<String> {
        let _ = (resource_type, name);
        None
    }

    /// Those that the gateway answers itself, whatever the upstream has. None, unless overridden.
    fn own_operations(&self, resource_type: ResourceType) -> Vec<&'static str> {
        let _ = resource_type;
        Vec::new()
    }

    /// Whether a search of the type may include `path`, such as `Observation:subject`. Never, unless overridden.
    fn include(&self, resource_type: ResourceType, path: &str) -> bool {
        let _ = (resource_type, path);
        false
    }

    /// The same for reverse includes.
    fn reverse_include(&self, resource_type: ResourceType, path: &str) -> bool {
        let _ = (resource_type, path);
        false
    }
}

/// Where clients find the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints<'e> {
    /// Our FHIR base and the upstream's.
    pub rebase: &'e Rebase,
    /// The date of the statement where the upstream's has none: a FHIR `dateTime`.
    pub date: &'e str,
    /// What the server is called, for `implementation.description`.
    pub description: &'e str,
    /// `authorize` of the `oauth-uris` extension.
    pub authorize: &'e str,
    /// `token`
    pub token: &'e str,
    /// `introspect`
    pub introspect: Option<&'e str>,
    /// `manage`
    pub manage: Option<&'e str>,
    /// `register`
    pub register: Option<&'e str>,
    /// `revoke`
    pub revoke: Option<&'e str>,
}

/// Why there is no statement to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStatement {
    /// Not JSON as the strict pass wants it.
    Malformed,
    /// Not a CapabilityStatement of a server.
    NotAStatement,
    /// `fhirVersion` is not 4.0.x: another release has other types, parameters and compartments.
    Version,
}

/// The statement to publish, as JSON.
///
/// # Errors
/// [`NoStatement`] when the upstream's is malformed or not of FHIR R4.
pub fn capability_statement(
    upstream: impl Into<Bytes>,
    endpoints: &Endpoints<'_>,
    offer: &impl Offer,
) -> Result<Vec<u8>, NoStatement> {
    let strict = Json::parse(upstream, Limits::default()).map_err(|_| NoStatement::Malformed)?;
    let theirs: Value = serde_json::from_slice(strict.bytes()).map_err(|_| NoStatement::Malformed)?;
    if text(&theirs, "resourceType") != Some("CapabilityStatement") {
        return Err(NoStatement::NotAStatement);
    }
    let fhir_version = text(&theirs, "fhirVersion").filter(|version| is_r4(version)).ok_or(NoStatement::Version)?;
    let mut servers = array(&theirs, "rest").iter().filter(|rest| text(rest, "mode") == Some("server"));
    let server = servers.next().ok_or(NoStatement::NotAStatement)?;
    let known_status = |status: &&str| matches!(*status, "draft" | "active" | "retired" | "unknown");
    let base = endpoints.rebase.ours();
    let mut statement = json!({
        "resourceType": "CapabilityStatement",
        "url": format!("{base}/metadata"),
        "status": text(&theirs, "status").filter(known_status).unwrap_or("active"),
        "date": text(&theirs, "date").unwrap_or(endpoints.date),
        "kind": "instance",
        "implementation": { "description": endpoints.description, "url": base },
        "fhirVersion": fhir_version,
        "format": ["application/fhir+json", "json"],
    });
    let mut rest = json!({ "mode": "server", "security": security(endpoints) });
    let theirs_too = |code: &str| array(server, "interaction").iter().any(|one| text(one, "code") == Some(code));
    // The gateway takes a batch apart itself.
    let ours = ["transaction", "batch", "history-system"].into_iter().filter(|code| offer.of_the_system(code));
    let ours = ours.filter(|code| *code == "batch" || theirs_too(code)).map(|code| json!({ "code": code }));
    set(&mut rest, "interaction", ours.collect());
    let of_all = names_of(server);
    let resources =
        array(server, "resource").iter().filter_map(|resource| self::resource(resource, &of_all, endpoints, offer));
    let resources: Vec<Value> = resources.collect();
    let interactions = resources.iter().flat_map(|resource| array(resource, "interaction"));
    if interactions.filter_map(|one| text(one, "code")).any(|code| code == "patch") {
        set_one(&mut statement, "patchFormat", json!(["application/json-patch+json"]));
    }
    set(&mut rest, "resource", resources);
    set(&mut rest, "operation", operations(&of_all, &[], None, offer));
    for name in ["instantiates", "implementationGuide"] {
        set(&mut statement, name, names(&theirs, name, endpoints));
    }
    set(&mut statement, "rest", vec![rest]);
    serde_json::to_vec(&statement).map_err(|_| NoStatement::Malformed)
}

fn is_r4(version: &str) -> bool {
    let digits = |patch: &str| !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
    version.strip_prefix("4.0.").is_some_and(digits)
}

/// `CapabilityStatement.rest.security` as SMART wants it.
fn security(endpoints: &Endpoints<'_>) -> Value {
    let uris: Vec<Value> = [
        ("authorize", Some(endpoints.authorize)),
        ("token", Some(endpoints.token)),
        ("introspect", endpoints.introspect),
        ("manage", endpoints.manage),
        ("register", endpoints.register),
        ("revoke", endpoints.revoke),
    ]
    .into_iter()
    .filter_map(|(name, uri)| Some(json!({ "url": name, "valueUri": uri? })))
    .collect();
    json!({
        "extension": [{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": uris,
        }],
        "cors": true,
        "service": [{
            "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
                "display": "SMART-on-FHIR",
            }],
            "text": "OAuth2 using SMART-on-FHIR profile (see http://docs.smarthealthit.org)",
        }],
    })
}

/// One resource type, or nothing when no interaction of it is served.
fn resource(theirs: &Value, of_all: &[&str], endpoints: &Endpoints<'_>, offer: &impl Offer) -> Option<Value> {
    let resource_type = ResourceType::parse(text(theirs, "type")?)?;
    let codes = array(theirs, "interaction").iter().filter_map(|interaction| text(interaction, "code"));
    let mut codes: Vec<&str> = codes.filter(|code| INTERACTIONS.contains(code) && *code != "patch").collect();
    // The gateway applies a patch itself, and sends an update.
    if codes.contains(&"update") {
        codes.push("patch");
    }
    codes.retain(|code| offer.interaction(resource_type, code));
    let served: Vec<Value> = codes.iter().map(|code| json!({ "code": code })).collect();
    if served.is_empty() {
        return None;
    }
    let mut ours = json!({ "type": resource_type.name() });
    if let Some(profile) = text(theirs, "profile").filter(|profile| endpoints.rebase.below(profile).is_none()) {
        set_one(&mut ours, "profile", profile.into());
    }
    set(&mut ours, "supportedProfile", names(theirs, "supportedProfile", endpoints));
    let offered = |code: &str| codes.contains(&code);
    let searchable = offered("search-type");
    set(&mut ours, "interaction", served);
    // Conditions are resolved by the gateway, with a search.
    for (name, code) in [("conditionalCreate", "create"), ("conditionalUpdate", "update")] {
        if searchable && offered(code) {
            set_one(&mut ours, name, true.into());
        }
    }
    if searchable && offered("delete") {
        set_one(&mut ours, "conditionalDelete", "single".into());
    }
    if let Some(true) = theirs.get("updateCreate").and_then(Value::as_bool).filter(|_| offered("update")) {
        set_one(&mut ours, "updateCreate", true.into());
    }
    if let Some(versioning @ ("no-version" | "versioned" | "versioned-update")) = text(theirs, "versioning") {
        set_one(&mut ours, "versioning", versioning.into());
    }
    if searchable {
        let paths = |name: &str, serves: &dyn Fn(&str) -> bool| -> Vec<Value> {
            array(theirs, name).iter().filter(|path| path.as_str().is_some_and(serves)).cloned().collect()
        };
        set(&mut ours, "searchInclude", paths("searchInclude", &|path| offer.include(resource_type, path)));
        let reverse = |path: &str| offer.reverse_include(resource_type, path);
        set(&mut ours, "searchRevInclude", paths("searchRevInclude", &reverse));
        let parameters = array(theirs, "searchParam").iter();
        let served = parameters.filter_map(|parameter| search_parameter(parameter, resource_type, endpoints, offer));
        set(&mut ours, "searchParam", served.collect());
    }
    let own = if searchable { offer.own_operations(resource_type) } else { Vec::new() };
    let mut known = names_of(theirs);
    known.extend(of_all);
    set(&mut ours, "operation", operations(&known, &own, Some(resource_type), offer));
    Some(ours)
}

/// The names of the operations that the upstream has here.
fn names_of(theirs: &Value) -> Vec<&str> {
    let names = array(theirs, "operation").iter().filter_map(|operation| text(operation, "name"));
    names.map(|name| name.trim_start_matches('$')).collect()
}

/// Those of these that are served, and our own; each once.
fn operations(theirs: &[&str], own: &[&str], of: Option<ResourceType>, offer: &impl Offer) -> Vec<Value> {
    let mut names: Vec<&str> = theirs.iter().chain(own).copied().collect();
    names.sort_unstable();
    names.dedup();
    let served = names.into_iter().filter_map(|name| Some((name, offer.operation(of, name)?)));
    served.map(|(name, definition)| json!({ "name": name, "definition": definition })).collect()
}

fn search_parameter(
    theirs: &Value,
    resource_type: ResourceType,
    endpoints: &Endpoints<'_>,
    offer: &impl Offer,
) -> Option<Value> {
    let name = text(theirs, "name").filter(|name| offer.search_parameter(resource_type, name))?;
    let kind = text(theirs, "type").filter(|kind| PARAMETER_TYPES.contains(kind))?;
    let mut ours = json!({ "name": name });
    if let Some(definition) = text(theirs, "definition").filter(|name| endpoints.rebase.below(name).is_none()) {
        set_one(&mut ours, "definition", definition.into());
    }
    set_one(&mut ours, "type", kind.into());
    Some(ours)
}

/// R4 valueset-type-restful-interaction.html.
const INTERACTIONS: [&str; 9] =
    ["read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type"];

/// R4 valueset-search-param-type.html.
const PARAMETER_TYPES: [&str; 9] =
    ["number", "date", "string", "token", "reference", "composite", "quantity", "uri", "special"];

/// The canonical names in the array `name`, without those that the upstream defines itself.
fn names(theirs: &Value, name: &str, endpoints: &Endpoints<'_>) -> Vec<Value> {
    let foreign = |value: &&Value| value.as_str().is_some_and(|name| endpoints.rebase.below(name).is_none());
    array(theirs, name).iter().filter(foreign).cloned().collect()
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str()
}

fn array<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// JSON in FHIR has no empty arrays.
fn set(object: &mut Value, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        set_one(object, name, Value::Array(values));
    }
}

fn set_one(object: &mut Value, name: &str, value: Value) {
    object.as_object_mut().map(|object: &mut Map<String, Value>| object.insert(name.to_owned(), value));
}

impl fmt::Display for NoStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the capability statement of the upstream is malformed json",
            Self::NotAStatement => "expected a capability statement of a server from the upstream",
            Self::Version => "expected `fhirVersion` 4.0.x from the upstream",
        })
    }
}

impl std::error::Error for NoStatement {}

#[cfg(test)]
mod tests;
