//! The sample FHIR R4 store: what `firebreak demo` puts behind the gateway.
//!
//! Takes HTTP requests over a real socket ([`serve()`]) or calls from the EHR simulator, whose database it is; gives reads,
//! version 1 of reads, and searches of the [`seed`]ed resources, which are serialised once at the start. It promises the
//! FHIR R4 behaviour of what it announces in `/metadata`. It does NOT write, authorize or log: nothing but the gateway
//! should reach it, and it listens on loopback only.

mod answer;
mod capabilities;
mod criterion;
mod definitions;
mod facts;
mod outcome;
mod pages;
mod search;
pub mod seed;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use self::definitions::{Definition, definition};
use self::facts::Fact;
use self::pages::Pages;
use self::search::{Handling, Search};

pub use self::serve::serve;

/// All sample resources, serialised, with an index.
#[derive(Debug)]
pub struct Store {
    /// `http://127.0.0.1:4711/fhir`, without a slash at the end.
    base: String,
    stored: Vec<Stored>,
    types: HashMap<&'static str, Slice>,
    pages: Pages,
    capabilities: Bytes,
}

/// One resource.
#[derive(Debug)]
struct Stored {
    definition: &'static Definition,
    id: String,
    json: Bytes,
    updated: Timestamp,
    facts: Vec<Fact>,
}

/// The resources of one type, as positions in `Store::stored`.
#[derive(Debug, Default)]
struct Slice {
    all: Vec<usize>,
    by_id: HashMap<String, usize>,
    by_patient: HashMap<String, Vec<usize>>,
}

impl Store {
    /// The sample data, to be served at `base`, an absolute URL without a slash at the end.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let mut store = Self {
            base: base.to_owned(),
            stored: Vec::new(),
            types: HashMap::new(),
            pages: Pages::default(),
            capabilities: capabilities::statement(base),
        };
        for resource in seed::resources() {
            store.insert(resource);
        }
        store
    }

    /// The URL the store calls itself.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// How many resources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Whether there is nothing; never so after [`Store::new`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// One resource, serialised.
    #[must_use]
    pub fn read(&self, resource_type: &str, id: &str) -> Option<Bytes> {
        self.find(resource_type, id).map(|stored| stored.json.clone())
    }

    /// The resources of a type that match, with FHIR's own parameters: `[("patient", "x"), ("_sort", "-date")]`. Nothing
    /// when the type or a parameter is not supported.
    #[must_use]
    pub fn search(&self, resource_type: &str, parameters: &[(&str, &str)]) -> Vec<Bytes> {
        let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let Some(search) = definition(resource_type)
            .and_then(|found| Some((found, Search::parse(found, pairs, Handling::Strict).ok()?)))
        else {
            return Vec::new();
        };
        let matches = self.matches(search.0, &search.1);
        matches.iter().filter_map(|position| self.stored.get(*position)).map(|stored| stored.json.clone()).collect()
    }

    fn find(&self, resource_type: &str, id: &str) -> Option<&Stored> {
        let position = self.types.get(resource_type)?.by_id.get(id)?;
        self.stored.get(*position)
    }

    /// The positions of all resources that `search` wants, in its order.
    fn matches(&self, definition: &Definition, search: &Search) -> Vec<usize> {
        let Some(slice) = self.types.get(definition.name) else { return Vec::new() };
        let candidates = match search.patient(definition) {
            Some(id) => slice.by_patient.get(id).map_or(&[][..], Vec::as_slice),
            None => slice.all.as_slice(),
        };
        let facts = |position: &usize| self.stored.get(*position).map_or(&[][..], |stored| stored.facts.as_slice());
        let mut matches: Vec<usize> =
            candidates.iter().copied().filter(|position| search.matches(facts(position))).collect();
        if search.sorts() {
            matches.sort_by(|left, right| search.compare(facts(left), facts(right)));
        }
        matches
    }

    /// Takes in one seeded resource. A type without a definition or a second resource of the same id is left out; the
    /// tests count that none is.
    fn insert(&mut self, resource: Value) {
        let text = |pointer: &str| resource.pointer(pointer).and_then(Value::as_str);
        let (Some(definition), Some(id)) = (text("/resourceType").and_then(definition), text("/id")) else { return };
        let updated = text("/meta/lastUpdated").and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        let position = self.stored.len();
        let facts = facts::facts(definition, &resource);
        let slice = self.types.entry(definition.name).or_default();
        match slice.by_id.entry(id.to_owned()) {
            Entry::Occupied(_) => return,
            Entry::Vacant(vacant) => vacant.insert(position),
        };
        slice.all.push(position);
        let patient = ["/subject/reference", "/patient/reference"].into_iter().find_map(text);
        if let Some(patient) = patient.and_then(|reference| reference.strip_prefix("Patient/")) {
            slice.by_patient.entry(patient.to_owned()).or_default().push(position);
        }
        self.stored.push(Stored { definition, id: id.to_owned(), updated, facts, json: serialise(resource) });
    }
}

/// The resource as JSON text that begins, as people expect, with its type and id.
fn serialise(mut resource: Value) -> Bytes {
    let mut text = String::with_capacity(1024);
    if let Some(fields) = resource.as_object_mut() {
        for first in ["resourceType", "id", "meta"] {
            if let Some(value) = fields.remove(first) {
                text.push(if text.is_empty() { '{' } else { ',' });
                text.push('"');
                text.push_str(first);
                text.push_str("\":");
                text.push_str(&value.to_string());
            }
        }
        text.push(',');
    }
    let rest = resource.to_string();
    text.push_str(rest.strip_prefix('{').unwrap_or(&rest));
    Bytes::from(text)
}
