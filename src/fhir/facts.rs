//! What is decided upon, read from one resource: what it is, its labels, and whose compartment it is in.
//!
//! Takes a resource's place in a parsed text and gives [`Facts`]; they borrow from it and cost one look at the resource's
//! own members. Membership follows the definitions of the patient compartment (`crate::fhir::compartment`) on the whole
//! resource as the upstream sent it: it must be asked before anything is projected or redacted.
//!
//! Promises: a reference confers membership only when it is a string called `reference`, in the object at the end of a
//! compartment path, that names `Patient/id` of a known base. An identifier, a type, a display, an extension, another
//! letter case or a white space confer nothing, and whatever is not understood is no member. Nothing is resolved, nothing
//! asked of the upstream. What is contained belongs to its container.
//!
//! Does not decide which types a grant may see at all (`crate::authorize` does).

use std::borrow::Cow;
use std::fmt;

use crate::fhir::compartment::{self, Membership};
use crate::fhir::reference::{Bases, Id, LocalReference, LogicalId, normalise};
use crate::fhir::resource_type::ResourceType;
use crate::json::Value;

/// What is known of one resource.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    resource: Value<'a>,
    resource_type: ResourceType,
    id: Option<Cow<'a, str>>,
    meta: Option<Value<'a>>,
}

impl<'a> Facts<'a> {
    /// Reads the facts of `resource`. `resourceType` may come anywhere in it.
    ///
    /// # Errors
    /// [`NotAResource`] when it is no object, names no resource type of FHIR R4, or has an id that is none.
    pub fn of(resource: Value<'a>) -> Result<Self, NotAResource> {
        let (mut resource_type, mut id, mut meta) = (None, None, None);
        for member in resource.members() {
            match &*member.name_bytes() {
                b"resourceType" => {
                    resource_type = member.value.string().and_then(|name| ResourceType::parse(&name));
                }
                b"id" => {
                    let text = member.value.string().filter(|text| Id::parse(text).is_some());
                    id = Some(text.ok_or(NotAResource(()))?);
                }
                b"meta" => meta = Some(member.value),
                _ => {}
            }
        }
        Ok(Self { resource, resource_type: resource_type.ok_or(NotAResource(()))?, id, meta })
    }

    /// Where the resource stands.
    #[must_use]
    pub fn resource(&self) -> Value<'a> {
        self.resource
    }

    /// `resourceType`.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// `id`, which only resources that were not stored lack.
    #[must_use]
    pub fn id(&self) -> Option<Id<'_>> {
        self.id.as_deref().and_then(Id::parse)
    }

    /// `meta.versionId`, when it can stand in an `ETag` and a URL.
    #[must_use]
    pub fn version_id(&self) -> Option<LogicalId> {
        LogicalId::parse(&self.meta?.text("versionId")?)
    }

    /// `meta.lastUpdated`, as written.
    #[must_use]
    pub fn last_updated(&self) -> Option<Cow<'a, str>> {
        self.meta?.text("lastUpdated")
    }

    /// `meta.security`: the labels (R4 security-labels.html).
    pub fn security(&self) -> impl Iterator<Item = Coding<'a>> + use<'a> {
        self.codings("security")
    }

    /// `meta.tag`.
    pub fn tags(&self) -> impl Iterator<Item = Coding<'a>> + use<'a> {
        self.codings("tag")
    }

    /// Whether the resource is in the compartment of the patient with the id `patient`.
    ///
    /// A Patient is in its own compartment only, whoever it links to. A Provenance is in it when every target is that
    /// patient; one with other targets takes what only the caller knows, see [`Facts::references`].
    #[must_use]
    pub fn member(&self, patient: Id<'_>, bases: &Bases) -> bool {
        let is_patient = |local: &LocalReference<'_>| local.names(ResourceType::PATIENT, patient);
        match self.rule() {
            Rule::Never => false,
            Rule::OwnId => self.id() == Some(patient),
            Rule::Any(compartment) => {
                let mut found = false;
                for path in compartment.reference_paths() {
                    self.references(&path.elements, bases, |local| found |= local.as_ref().is_some_and(is_patient));
                }
                found
            }
            Rule::Every(path) => {
                let (mut some, mut other) = (false, false);
                self.references(path, bases, |local| {
                    if local.as_ref().is_some_and(is_patient) { some = true } else { other = true }
                });
                some && !other
            }
        }
    }

    /// The patients in whose compartments the resource is, each once: whom an audit record names.
    #[must_use]
    pub fn patients(&self, bases: &Bases) -> Vec<LogicalId> {
        let mut patients: Vec<LogicalId> = Vec::new();
        let mut add = |id: Id<'_>| {
            if !patients.iter().any(|known| known.as_str() == id.as_str()) {
                patients.push(id.to_logical_id());
            }
        };
        let mut add_patient = |local: Option<LocalReference<'_>>| {
            if let Some(local) = local.filter(|local| local.resource_type == ResourceType::PATIENT) {
                add(local.id);
            }
        };
        match self.rule() {
            Rule::Never => {}
            Rule::OwnId => self.id().into_iter().for_each(add),
            Rule::Any(compartment) => {
                let paths = compartment.reference_paths();
                paths.for_each(|path| self.references(&path.elements, bases, &mut add_patient));
            }
            Rule::Every(path) => {
                self.references(path, bases, &mut add_patient);
                patients.retain(|patient| self.member(patient.as_id(), bases));
            }
        }
        patients
    }

    /// Calls `visit` for every value at the end of `path`, with the resource of ours that it refers to or `None` when it
    /// refers to none: a logical, contained, foreign or malformed reference, or no reference at all.
    pub fn references(&self, path: &[&str], bases: &Bases, mut visit: impl FnMut(Option<LocalReference<'_>>)) {
        self.resource.visit(path, &mut |value| {
            let reference = value.text("reference");
            visit(reference.as_deref().and_then(|reference| normalise(reference, bases)));
        });
    }

    fn rule(&self) -> Rule {
        if self.resource_type == ResourceType::PROVENANCE {
            return Rule::Every(&["target"]);
        }
        let known = compartment::patient_compartment(self.resource_type);
        match known.or_else(|| compartment::extension_compartment(self.resource_type)) {
            None => Rule::Never,
            Some(compartment) if compartment.membership == Membership::OwnId => Rule::OwnId,
            Some(compartment) => Rule::Any(compartment),
        }
    }

    fn codings(&self, name: &'static str) -> impl Iterator<Item = Coding<'a>> + use<'a> {
        let values = self.meta.and_then(|meta| meta.member(name));
        values
            .into_iter()
            .flat_map(Value::flatten)
            .map(|value| Coding { system: value.text("system"), code: value.text("code") })
    }
}

/// How membership is decided for a type.
enum Rule {
    Never,
    OwnId,
    /// One reference on one path is enough.
    Any(&'static compartment::PatientCompartment),
    /// All references on the path, and at least one.
    Every(&'static [&'static str]),
}

/// A label or tag: one with neither part still is one, so that what is not understood can be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding<'a> {
    /// `Coding.system`.
    pub system: Option<Cow<'a, str>>,
    /// `Coding.code`.
    pub code: Option<Cow<'a, str>>,
}

/// The value is no FHIR R4 resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAResource(());

impl fmt::Display for NotAResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a resource with a `resourceType` of fhir r4 and a well-formed `id`")
    }
}

impl std::error::Error for NotAResource {}

#[cfg(test)]
mod tests;
