//! `[brands]`: the organization that patients look for in their app, as a User-access Brands bundle (SMART App Launch 2.2,
//! "user-access brands and endpoints").
//!
//! Takes a few keys and writes the bundle, or a bundle that the operator wrote and checks it. What an app relies on is
//! looked at, not every rule of FHIR. Fetches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::raw::values;
use super::reader::{At, Reader, Section, plain_url};
use crate::clock::Clock;

const PROFILES: &str = "http://hl7.org/fhir/smart-app-launch/StructureDefinition";
const PORTAL: &str = "http://hl7.org/fhir/StructureDefinition/organization-portal";
const BRAND: &str = "http://hl7.org/fhir/StructureDefinition/organization-brand";
const FHIR_VERSION: &str = "http://hl7.org/fhir/StructureDefinition/endpoint-fhir-version";
const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
/// The system of identifiers that are URLs.
const URI: &str = "urn:ietf:rfc:3986";

/// The bundle that is published, and which of its organizations this gateway belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brands {
    /// The Bundle as JSON.
    pub bundle: Bytes,
    /// `system` of the identifier of our organization.
    pub system: String,
    /// `value` of it.
    pub value: String,
}

/// Reads the section; `base` is the public FHIR base.
pub(super) fn brands<'t>(
    reader: &mut Reader<'t>,
    mut section: Section<'t>,
    directory: &Path,
    base: &str,
) -> Option<Brands> {
    let line = section.line();
    let file = section.string(reader, "bundle");
    let identifier = section.string(reader, "identifier");
    let brands = if let Some(file) = file {
        written(reader, &file, identifier.as_ref(), directory, base)
    } else {
        let described = described(reader, &mut section);
        described.and_then(|described| {
            let identifier = identifier.map_or_else(|| format!("{URI}|{}", described.website), |text| text.value);
            let (system, value) = split(&identifier).or_else(|| {
                reader.mistake(line, "`identifier` in [brands] must be `system|value`");
                None
            })?;
            let bundle = described.bundle(&system, &value, base);
            Some(Brands { bundle: Bytes::from(bundle.to_string()), system, value })
        })
    };
    reader.close(&section);
    brands
}

fn split(identifier: &str) -> Option<(String, String)> {
    let (system, value) = identifier.split_once('|')?;
    (!system.is_empty() && !value.is_empty()).then(|| (system.to_owned(), value.to_owned()))
}

/// A bundle in a file of the operator.
fn written(
    reader: &mut Reader<'_>,
    file: &At<String>,
    identifier: Option<&At<String>>,
    directory: &Path,
    base: &str,
) -> Option<Brands> {
    let path = directory.join(&file.value);
    let shown = path.display().to_string();
    let identifier = identifier.and_then(|text| split(&text.value)).or_else(|| {
        reader.mistake(
            file.line,
            "[brands] with `bundle` needs `identifier = \"system|value\"`, that of your organization in it",
        );
        None
    });
    let text = std::fs::read(&path)
        .map_err(|error| reader.mistake(file.line, format!("`{shown}` cannot be read: {error}")))
        .ok()?;
    let bundle: Value = serde_json::from_slice(&text)
        .map_err(|error| reader.mistake(file.line, format!("`{shown}` is not JSON: {error}")))
        .ok()?;
    let (system, value) = identifier?;
    let mistakes = mistakes(&bundle, (&system, &value), base);
    let good = mistakes.is_empty();
    for mistake in mistakes {
        reader.mistake(file.line, format!("`{shown}`: {mistake}"));
    }
    good.then(|| Brands { bundle: Bytes::from(text), system, value })
}

/// What the keys of the section say about the organization.
struct Described {
    name: String,
    website: String,
    aliases: Vec<String>,
    logo: Option<String>,
    portal: Option<String>,
    portal_name: Option<String>,
    address: Map<String, Value>,
}

fn described<'t>(reader: &mut Reader<'t>, section: &mut Section<'t>) -> Option<Described> {
    let name = section.required(reader, "name", "\"Larkspur Hospital\"");
    let website = section.required(reader, "website", "\"https://larkspur.example\"");
    let aliases = values(section.strings(reader, "aliases"));
    let mut url = |key: &'static str, section: &mut Section<'t>| {
        let text = section.string(reader, key)?;
        if plain_url(&text.value).is_none() {
            reader.mistake(text.line, format!("`{key}` in [brands] must be an absolute http or https URL"));
        }
        Some(text.value)
    };
    let (logo, portal) = (url("logo", section), url("portal", section));
    let portal_name = section.string(reader, "portal_name").map(|text| text.value);
    let mut address = Map::new();
    let lines = values(section.strings(reader, "address_lines"));
    if !lines.is_empty() {
        address.insert("line".to_owned(), lines.into());
    }
    for (key, member) in [("city", "city"), ("state", "state"), ("postal_code", "postalCode"), ("country", "country")] {
        if let Some(text) = section.string(reader, key) {
            address.insert(member.to_owned(), text.value.into());
        }
    }
    if !website.value.is_empty() && plain_url(&website.value).is_none() {
        reader.mistake(website.line, "`website` in [brands] must be an absolute http or https URL");
    }
    let there = !name.value.is_empty() && !website.value.is_empty();
    there.then(|| Described { name: name.value, website: website.value, aliases, logo, portal, portal_name, address })
}

impl Described {
    fn bundle(&self, system: &str, value: &str, base: &str) -> Value {
        let endpoint = json!({ "reference": "Endpoint/fhir", "display": "FHIR R4" });
        let mut portal = vec![json!({ "url": "portalEndpoint", "valueReference": endpoint })];
        if let Some(url) = &self.portal {
            portal.insert(0, json!({ "url": "portalUrl", "valueUrl": url }));
        }
        let portal_name = self.portal_name.as_ref().unwrap_or(&self.name);
        portal.insert(0, json!({ "url": "portalName", "valueString": portal_name }));
        let mut extensions = vec![json!({ "url": PORTAL, "extension": portal })];
        if let Some(logo) = &self.logo {
            extensions.push(json!({ "url": BRAND, "extension": [{ "url": "brandLogo", "valueUrl": logo }] }));
        }
        let mut organization = json!({
            "resourceType": "Organization",
            "id": "organization",
            "meta": { "profile": [format!("{PROFILES}/user-access-brand")] },
            "extension": extensions,
            "identifier": [{ "system": system, "value": value }],
            "active": true,
            "name": self.name,
            "telecom": [{ "system": "url", "value": self.website }],
            "endpoint": [endpoint],
        });
        if let Value::Object(members) = &mut organization {
            if !self.aliases.is_empty() {
                members.insert("alias".to_owned(), self.aliases.clone().into());
            }
            if !self.address.is_empty() {
                members.insert("address".to_owned(), json!([self.address]));
            }
        }
        let address = json!({
            "resourceType": "Endpoint",
            "id": "fhir",
            "meta": { "profile": [format!("{PROFILES}/user-access-endpoint")] },
            "extension": [{ "url": FHIR_VERSION, "valueCode": crate::fhir::VERSION }],
            "status": "active",
            "connectionType": {
                "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "hl7-fhir-rest",
            },
            "name": format!("FHIR R4 of {}", self.name),
            "contact": [{ "system": "url", "value": self.website }],
            "payloadType": [{ "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "none",
            }]}],
            "address": base,
        });
        json!({
            "resourceType": "Bundle",
            "id": "user-access-brands",
            "meta": { "profile": [format!("{PROFILES}/user-access-brands-bundle")] },
            "type": "collection",
            "timestamp": Clock::system().now().to_string(),
            "entry": [
                { "fullUrl": format!("{base}/Organization/organization"), "resource": organization },
                { "fullUrl": format!("{base}/Endpoint/fhir"), "resource": address },
            ],
        })
    }
}

/// Everything that is wrong with a bundle, in which our organization is the one with this identifier.
fn mistakes(bundle: &Value, (system, value): (&str, &str), base: &str) -> Vec<String> {
    let mut found = Vec::new();
    let text = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text(bundle, "resourceType") != "Bundle" || text(bundle, "type") != "collection" {
        found.push("it must be a Bundle of `type` `collection`".to_owned());
    }
    if text(bundle, "timestamp").parse::<jiff::Timestamp>().is_err() {
        found.push("`timestamp` must be an instant such as `2026-01-31T12:00:00Z`".to_owned());
    }
    let entries: Vec<&Value> = list(bundle, "entry").iter().filter_map(|entry| entry.get("resource")).collect();
    if entries.is_empty() {
        found.push("it has no `entry` with a `resource`".to_owned());
    }
    let mut endpoints = BTreeMap::new();
    for resource in &entries {
        match text(resource, "resourceType").as_str() {
            "Endpoint" => _ = endpoints.insert(format!("Endpoint/{}", text(resource, "id")), *resource),
            "Organization" => {}
            other => found.push(format!("`{other}` is neither Organization nor Endpoint")),
        }
    }
    let mut referenced = BTreeSet::new();
    let mut ours = 0;
    for organization in entries.iter().filter(|resource| text(resource, "resourceType") == "Organization") {
        let id = text(organization, "id");
        if text(organization, "name").is_empty() && organization.get("_name").is_none() {
            found.push(format!("Organization `{id}` has no `name`"));
        }
        let named: BTreeSet<String> = list(organization, "endpoint").iter().map(|one| text(one, "reference")).collect();
        for reference in named.iter().filter(|reference| !endpoints.contains_key(local(reference))) {
            found.push(format!("Organization `{id}` names `{reference}`, which is not in the bundle"));
        }
        for reference in portal_endpoints(organization).iter().filter(|reference| !named.contains(*reference)) {
            found.push(format!("the portal of Organization `{id}` names `{reference}`, which its `endpoint` does not"));
        }
        referenced.extend(named.iter().map(|reference| local(reference).to_owned()));
        ours += list(organization, "identifier")
            .iter()
            .filter(|identifier| text(identifier, "system") == system && text(identifier, "value") == value)
            .count();
    }
    for (name, endpoint) in &endpoints {
        let address = text(endpoint, "address");
        if plain_url(&address).is_none() {
            found.push(format!("`address` of `{name}` must be an absolute http or https URL"));
        }
        if endpoint.pointer("/connectionType/code").and_then(Value::as_str) != Some("hl7-fhir-rest") {
            found.push(format!("`connectionType` of `{name}` must be `hl7-fhir-rest`"));
        }
        if !referenced.contains(name.as_str()) {
            found.push(format!("no Organization names `{name}`"));
        }
    }
    let here = |endpoint: &&Value| text(endpoint, "address").trim_end_matches('/') == base;
    if !endpoints.values().any(here) {
        found.push(format!("no Endpoint has this gateway's `address`, `{base}`"));
    }
    if ours != 1 {
        found.push(format!("`{system}|{value}` must be the identifier of exactly one Organization, and is of {ours}"));
    }
    absent(bundle, &mut found);
    found
}

fn list<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value.get(member).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// `Endpoint/id` of a reference, also of an absolute one.
fn local(reference: &str) -> &str {
    reference.rfind("Endpoint/").and_then(|at| reference.get(at..)).unwrap_or(reference)
}

fn portal_endpoints(organization: &Value) -> Vec<String> {
    let portals = list(organization, "extension").iter().filter(|extension| extension["url"] == PORTAL);
    let parts = portals.flat_map(|portal| list(portal, "extension")).filter(|part| part["url"] == "portalEndpoint");
    parts.filter_map(|part| part.pointer("/valueReference/reference")?.as_str().map(str::to_owned)).collect()
}

/// Only `asked-declined` and `asked-unknown` say why something is absent.
fn absent(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(members) => members.iter().for_each(|member| absent(member, found)),
        Value::Object(members) => {
            if members.get("url").and_then(Value::as_str) == Some(ABSENT) {
                let code = members.get("valueCode").and_then(Value::as_str).unwrap_or_default();
                if !["asked-declined", "asked-unknown"].contains(&code) {
                    found.push(format!("data-absent-reason `{code}` must be `asked-declined` or `asked-unknown`"));
                }
            }
            members.values().for_each(|member| absent(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests;
