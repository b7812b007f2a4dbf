//! The store of the tests' FHIR server: reads, versions, and searches that really choose by their parameters.

mod versions;
mod writes;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, PATH, Seen};

/// One resource with all its versions.
#[expect(clippy::struct_field_names, reason = "FHIR's own word")]
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) resource_type: String,
    pub(crate) id: String,
    /// The patient whose it is, as far as the tests are concerned.
    pub(crate) owner: Option<&'static str>,
    /// The versions from the first; `None`: deleted.
    pub(crate) versions: Vec<Option<String>>,
}

pub(crate) struct Store {
    base: String,
    resources: BTreeMap<(String, String), Resource>,
    /// What the cursors stand for: type and parameters that were used, the ids that matched and how many make a page.
    cursors: Vec<(String, Vec<String>, usize)>,
    /// The same of histories: the entries and how many make a page.
    histories: Vec<(Vec<String>, usize)>,
    /// Whether ids are found in another letter case as well, as in some databases.
    pub(crate) folds: bool,
    /// Parameters that are taken and ignored, as servers do that do not know them.
    pub(crate) ignored: Vec<&'static str>,
    /// Whether those are named all the same among what a search was made by.
    pub(crate) echoes: bool,
    /// Whether versions are told, in `ETag` and in the resource.
    pub(crate) tells_versions: bool,
    /// Parameters that it does not have, beside those of which it never heard.
    pub(crate) lacks: Vec<&'static str>,
    /// What its CapabilityStatement says it is, which it has none of if it does not say so.
    pub(crate) software: Option<&'static str>,
    /// The compartments that its CapabilityStatement lists.
    pub(crate) compartments: Vec<&'static str>,
    /// How many resources were created.
    created: usize,
}

impl Store {
    pub(super) fn new(base: String, resources: Vec<Resource>) -> Self {
        let resources = resources.into_iter().map(|one| ((one.resource_type.clone(), one.id.clone()), one)).collect();
        Self {
            base,
            resources,
            cursors: Vec::new(),
            histories: Vec::new(),
            folds: false,
            ignored: Vec::new(),
            echoes: false,
            tells_versions: true,
            lacks: Vec::new(),
            software: Some("CANARY-product"),
            compartments: Vec::new(),
            created: 0,
        }
    }

    pub(crate) fn put(&mut self, resource: Resource) {
        self.resources.insert((resource.resource_type.clone(), resource.id.clone()), resource);
    }

    /// Forgets all resources of a type.
    pub(crate) fn clear(&mut self, resource_type: &str) {
        self.resources.retain(|(of, _), _| of != resource_type);
    }

    pub(super) fn answer(&mut self, seen: &Seen) -> Answer {
        let (method, target) = seen.line.split_once(' ').unwrap();
        let Some(below) = target.strip_prefix(PATH) else { return absent("CANARY outside of the base") };
        let (path, query) = below.split_once('?').unwrap_or((below, ""));
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let mut pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        match (method, segments.as_slice()) {
            ("GET", []) => self.page(&pairs),
            ("GET", ["metadata"]) => self.metadata(),
            ("GET", ["_history"]) => self.history(None, None, &pairs),
            ("GET", [resource_type, "_history"]) => self.history(Some(resource_type), None, &pairs),
            ("GET", [resource_type, id, "_history"]) => self.history(Some(resource_type), Some(id), &pairs),
            ("GET", [resource_type]) => self.search(resource_type, &pairs),
            ("GET", ["Patient", id, resource_type]) if !resource_type.starts_with(['_', '$']) => {
                self.search_compartment(id, resource_type, &pairs)
            }
            ("POST", [resource_type, "_search"]) => {
                pairs.extend(form_urlencoded::parse(seen.body.as_bytes()).into_owned());
                self.search(resource_type, &pairs)
            }
            ("GET", ["Patient" | "Encounter", id, "$everything"]) => {
                self.everything(segments.first().unwrap(), id, &pairs)
            }
            ("GET", ["Observation", "$lastn"]) => {
                let pairs: Vec<_> = pairs.into_iter().filter(|(name, _)| name != "max").collect();
                self.search("Observation", &pairs)
            }
            ("GET", [resource_type, id, "$meta"]) => match self.read(resource_type, id, None) {
                Answer::Raw(_) => Answer::fhir(
                    r#"{"resourceType":"Parameters","parameter":[{"name":"return","valueMeta":{"versionId":"1"}}]}"#,
                ),
                absent => absent,
            },
            ("POST", [_, "$validate"] | [_, _, "$validate"]) => outcome(412, "required", "CANARY something is missing"),
            ("GET", [resource_type, id]) => self.read(resource_type, id, None),
            ("GET", [resource_type, id, "_history", version]) => self.read(resource_type, id, Some(version)),
            ("POST", []) => self.transaction(seen),
            ("POST", [resource_type]) => self.create(resource_type, seen),
            ("PUT", [resource_type, id]) => self.update(resource_type, id, seen),
            ("DELETE", [resource_type, id]) => self.delete(resource_type, id, seen),
            _ => outcome(400, "not-supported", "CANARY this server has no such interaction"),
        }
    }

    fn read(&self, resource_type: &str, id: &str, version: Option<&str>) -> Answer {
        let exactly = self.resources.get(&(resource_type.to_owned(), id.to_owned()));
        let folded = || {
            self.resources.values().find(|one| one.resource_type == resource_type && one.id.eq_ignore_ascii_case(id))
        };
        let Some(found) = exactly.or_else(|| folded().filter(|_| self.folds)) else {
            return absent(&format!("CANARY {resource_type}/{id} is not known"));
        };
        let number = match version {
            None => found.versions.len(),
            Some(version) => version.parse().unwrap_or(0),
        };
        match number.checked_sub(1).and_then(|index| found.versions.get(index)) {
            None => absent(&format!("CANARY {resource_type}/{id} has no such version")),
            Some(None) => outcome(410, "deleted", &format!("CANARY {resource_type}/{id} was deleted")),
            Some(Some(text)) => {
                let text = text.replace("{BASE}", &self.base);
                if !self.tells_versions {
                    return Answer::fhir(writes::without_version(&text));
                }
                Answer::Raw(
                    format!(
                        "HTTP/1.1 200 OK\r\nX-Keep: CANARY-header\r\nContent-Type: application/fhir+json;charset=UTF-8\r\n\
                         ETag: W/\"{number}\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:0{} GMT\r\n\
                         Content-Location: {}/{resource_type}/{id}/_history/{number}\r\nContent-Length: {}\r\n\r\n{text}",
                        number % 10,
                        self.base,
                        text.len()
                    )
                    .into_bytes(),
                )
            }
        }
    }

    fn search(&mut self, resource_type: &str, pairs: &[(String, String)]) -> Answer {
        let mut count = 10;
        let mut sort = None;
        let mut criteria = Vec::new();
        let mut filters = Vec::new();
        for (key, value) in pairs {
            match key.as_str() {
                "_count" => count = value.parse().unwrap_or(10),
                "_sort" => sort = Some(value.clone()),
                key if self.ignored.contains(&key) => {}
                "_filter" if !self.lacks.contains(&"_filter") => {
                    let Some(any) = value.split(" or ").map(comparison).collect::<Option<Vec<_>>>() else {
                        return outcome(400, "invalid", &format!("CANARY unknown filter {value}"));
                    };
                    filters.push(any);
                }
                key => {
                    let (name, modifier) = key.split_once(':').map_or((key, None), |(name, rest)| (name, Some(rest)));
                    let Some(places) = places(name) else {
                        return outcome(400, "invalid", &format!("CANARY unknown parameter {key} = {value}"));
                    };
                    criteria.push((name.to_owned(), places, modifier.map(str::to_owned), value.clone()));
                }
            }
        }
        let mut found: Vec<(String, Value)> = Vec::new();
        for ((of, id), resource) in &self.resources {
            let current = resource.versions.last().cloned().flatten();
            let (true, Some(text)) = (of == resource_type, current) else { continue };
            let value: Value = serde_json::from_str(&text.replace("{BASE}", &self.base)).unwrap();
            let all = criteria.iter().all(|(name, places, modifier, wanted)| {
                self.matches(&value, name, places, modifier.as_deref(), wanted)
            });
            let filtered = filters
                .iter()
                .all(|any| any.iter().any(|(name, places, wanted)| self.matches(&value, name, places, None, wanted)));
            if all && filtered {
                found.push((id.clone(), value));
            }
        }
        if let Some(sort) = sort {
            let name = sort.trim_start_matches('-');
            let Some(places) = places(name) else { return outcome(400, "invalid", "CANARY unknown sort") };
            found.sort_by_key(|(_, value)| at_all(value, places).into_iter().map(Value::to_string).collect::<Vec<_>>());
            if sort.starts_with('-') {
                found.reverse();
            }
        }
        let ids = found.into_iter().map(|(id, _)| id).collect();
        let mut used = form_urlencoded::Serializer::new(format!("{resource_type}?"));
        used.extend_pairs(pairs.iter().filter(|(name, _)| self.echoes || !self.ignored.contains(&name.as_str())));
        self.cursors.push((used.finish(), ids, count.max(1)));
        self.bundle(self.cursors.len() - 1, 0)
    }

    /// The members of a patient's compartment: `ignored` as `Patient/` is a server that takes the path for the type's alone.
    fn search_compartment(&mut self, id: &str, resource_type: &str, pairs: &[(String, String)]) -> Answer {
        let mut pairs = pairs.to_vec();
        if !self.ignored.contains(&"Patient/") {
            pairs.push(("-compartment".to_owned(), format!("Patient/{id}")));
        }
        self.search(resource_type, &pairs)
    }

    /// The resources that name the patient or encounter, and whatever these refer to.
    fn everything(&self, of: &str, id: &str, pairs: &[(String, String)]) -> Answer {
        let own = format!("{of}/{id}");
        let types: Vec<&str> =
            pairs.iter().filter(|(name, _)| name == "_type").flat_map(|(_, names)| names.split(',')).collect();
        let current = |one: &Resource| {
            let text = one.versions.last().cloned().flatten()?;
            Some((format!("{}/{}", one.resource_type, one.id), text.replace("{BASE}", &self.base)))
        };
        let all: Vec<(String, String)> = self.resources.values().filter_map(current).collect();
        let within = |name: &str, text: &str| name == own || text.contains(&format!("{own}\""));
        let record: Vec<&String> = all.iter().filter(|(name, text)| within(name, text)).map(|(_, text)| text).collect();
        if record.is_empty() {
            return absent("CANARY nobody");
        }
        let referred = |name: &str| record.iter().any(|text| text.contains(&format!("{name}\"")));
        let entries: Vec<String> = all
            .iter()
            .filter(|(name, text)| within(name, text) || referred(name))
            .filter(|(name, _)| types.is_empty() || types.contains(&name.split('/').next().unwrap()))
            .map(|(name, text)| {
                format!(r#"{{"fullUrl":"{}/{name}","resource":{text},"search":{{"mode":"match"}}}}"#, self.base)
            })
            .collect();
        let entry = if entries.is_empty() { String::new() } else { format!(r#","entry":[{}]"#, entries.join(",")) };
        Answer::fhir(format!(
            r#"{{"resourceType":"Bundle","id":"CANARY-everything","type":"searchset","total":{},"link":[{{"relation":"self","url":"{}?CANARY"}}]{entry}}}"#,
            entries.len(),
            self.base
        ))
    }

    fn page(&self, pairs: &[(String, String)]) -> Answer {
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.parse().ok());
        let of_versions = pairs.iter().any(|(name, value)| name == "_bundletype" && value == "history");
        match (value("_getpages"), value("_getpagesoffset")) {
            (Some(cursor), Some(offset)) if of_versions => self.versions(cursor, offset),
            (Some(cursor), Some(offset)) if cursor < self.cursors.len() => self.bundle(cursor, offset),
            _ => outcome(410, "expired", "CANARY no such page"),
        }
    }

    fn bundle(&self, cursor: usize, offset: usize) -> Answer {
        let Some((used, ids, count)) = self.cursors.get(cursor) else { return absent("CANARY") };
        let resource_type = used.split('?').next().unwrap();
        let base = &self.base;
        let mut entries = Vec::new();
        for id in ids.iter().skip(offset).take(*count) {
            let resource = self.resources.get(&(resource_type.to_owned(), id.clone()));
            let text = resource.and_then(|resource| resource.versions.last().cloned().flatten()).unwrap_or_default();
            let text = text.replace("{BASE}", base);
            entries.push(format!(
                r#"{{"fullUrl":"{base}/{resource_type}/{id}","resource":{text},"search":{{"mode":"match"}}}}"#
            ));
        }
        let link = |relation: &str, offset: usize| {
            format!(
                r#",{{"relation":"{relation}","url":"{base}?_getpages={cursor}&_getpagesoffset={offset}&_count={count}&_bundletype=searchset"}}"#
            )
        };
        let mut links = format!(r#"{{"relation":"self","url":"{base}/{used}&CANARY=self"}}"#);
        if offset + count < ids.len() {
            links.push_str(&link("next", offset + count));
        }
        if offset >= *count {
            links.push_str(&link("previous", offset - count));
        }
        let entry = if entries.is_empty() { String::new() } else { format!(r#","entry":[{}]"#, entries.join(",")) };
        Answer::fhir(format!(
            r#"{{"resourceType":"Bundle","id":"CANARY-bundle-{cursor}","meta":{{"lastUpdated":"2024-01-01T00:00:{:02}Z"}},"type":"searchset","total":{},"link":[{links}]{entry}}}"#,
            cursor % 60,
            ids.len()
        ))
    }

    fn matches(&self, resource: &Value, name: &str, places: &[&str], modifier: Option<&str>, wanted: &str) -> bool {
        let found = at_all(resource, places);
        let any =
            |value: &str| value.split(',').any(|one| found.iter().any(|found| self.is(found, name, modifier, one)));
        match modifier {
            Some("missing") => found.is_empty() == (wanted == "true"),
            Some("not") => !any(wanted),
            _ => any(wanted),
        }
    }

    fn is(&self, found: &Value, name: &str, modifier: Option<&str>, wanted: &str) -> bool {
        if let Some(reference) = found.get("reference").and_then(Value::as_str) {
            let reference = reference.strip_prefix(&format!("{}/", self.base)).unwrap_or(reference);
            let local = reference.split("/_history").next().unwrap();
            if name == "patient" && !local.starts_with("Patient/") {
                return false;
            }
            return match modifier {
                Some("identifier") => token(found.get("identifier"), wanted),
                _ => local == wanted || local.split_once('/').is_some_and(|(_, id)| id == wanted),
            };
        }
        if modifier == Some("identifier") {
            return token(found.get("identifier"), wanted);
        }
        match found {
            Value::String(text) => match modifier {
                Some("exact") => text == wanted,
                Some("contains") => text.to_lowercase().contains(&wanted.to_lowercase()),
                _ if name == "_id" => text == wanted,
                _ => text
                    .to_lowercase()
                    .starts_with(&wanted.trim_start_matches(['e', 'q', 'g', 'l', 't']).to_lowercase()),
            },
            other => token(Some(other), wanted),
        }
    }

    fn metadata(&self) -> Answer {
        let base = &self.base;
        let Some(software) = self.software else { return outcome(503, "transient", "CANARY not yet") };
        Answer::fhir(
            json!({
                "resourceType": "CapabilityStatement", "status": "active", "date": "2024-01-01", "kind": "instance",
                "fhirVersion": "4.0.1", "format": ["application/fhir+xml", "json"], "url": format!("{base}/metadata"),
                "software": {"name": software, "version": "CANARY-1.2.3"},
                "implementation": {"description": "CANARY", "url": base},
                "rest": [{"mode": "server", "compartment": self.compartments,
                    "security": {"description": "CANARY none"},
                    "operation": [{"name": "everything", "definition": format!("{base}/OperationDefinition/CANARY")}],
                    "interaction": [{"code": "transaction"}],
                    "resource": [
                        {"type": "Observation", "interaction": [{"code": "read"}, {"code": "update"}, {"code": "delete"}, {"code": "search-type"}],
                         "conditionalDelete": "multiple",
                         "searchParam": [{"name": "subject", "type": "reference"}, {"name": "_content", "type": "string"}]},
                        {"type": "Patient", "interaction": [{"code": "read"}, {"code": "create"}, {"code": "history-instance"}]},
                        {"type": "Subscription", "interaction": [{"code": "create"}]}
                    ]}]
            })
            .to_string(),
        )
    }
}

/// Where the values of a parameter stand; `None` for parameters that this server does not know.
fn places(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "_id" => &["id"],
        "_lastUpdated" => &["meta.lastUpdated"],
        "patient" | "subject" => &["subject", "patient", "beneficiary", "target"],
        "-compartment" => &["subject", "patient", "beneficiary", "participant.actor", "performer"],
        "actor" => &["participant.actor"],
        "performer" => &["performer"],
        "encounter" => &["encounter"],
        "member" => &["member.entity"],
        "target" => &["target"],
        "link" => &["link.other"],
        "category" => &["category"],
        "code" => &["code", "medicationCodeableConcept"],
        "status" => &["status"],
        "date" => &["effectiveDateTime", "start", "recordedDate"],
        "identifier" => &["identifier"],
        "name" | "family" => &["name.family"],
        "gender" => &["gender"],
        "birthdate" => &["birthDate"],
        "value-string" => &["valueString"],
        "general-practitioner" => &["generalPractitioner"],
        _ => return None,
    })
}

/// `subject eq "Patient/P1"`
fn comparison(text: &str) -> Option<(String, &'static [&'static str], String)> {
    let (name, value) = text.split_once(" eq ")?;
    let value = value.strip_prefix('"')?.strip_suffix('"')?;
    Some((name.to_owned(), places(name)?, value.to_owned()))
}

fn at_all<'a>(resource: &'a Value, places: &[&str]) -> Vec<&'a Value> {
    let mut found = Vec::new();
    for place in places {
        at(resource, &place.split('.').collect::<Vec<_>>(), &mut found);
    }
    found
}

fn at<'a>(value: &'a Value, path: &[&str], found: &mut Vec<&'a Value>) {
    if let Value::Array(values) = value {
        return values.iter().for_each(|value| at(value, path, found));
    }
    match path.split_first() {
        None => found.push(value),
        Some((name, rest)) => {
            if let Some(value) = value.get(name) {
                at(value, rest, found);
            }
        }
    }
}

/// `code`, `|code`, `system|code`, `system|` against a `Coding`, a `CodeableConcept` or an `Identifier`.
fn token(value: Option<&Value>, wanted: &str) -> bool {
    let Some(value) = value else { return false };
    if let Some(codings) = value.get("coding").and_then(Value::as_array) {
        return codings.iter().any(|coding| token(Some(coding), wanted));
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let code = text("code").or(text("value")).unwrap_or_default();
    match wanted.split_once('|') {
        None => code == wanted,
        Some(("", wanted)) => code == wanted,
        Some((system, "")) => text("system") == Some(system),
        Some((system, wanted)) => text("system") == Some(system) && code == wanted,
    }
}

fn absent(diagnostics: &str) -> Answer {
    outcome(404, "not-found", diagnostics)
}

fn outcome(status: u16, code: &str, diagnostics: &str) -> Answer {
    let body = json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": diagnostics}]});
    Answer::Given(status, "application/fhir+json", body.to_string())
}
