//! Patients and encounters for the picker, looked up over the request path itself: the same canonicaliser, policies,
//! narrowing and filter as for an app, with a grant that lasts for one look-up. What is shown is recorded like any other read.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use super::records::User;
use super::{DirectoryError, EncounterSummary, PatientDirectory, PatientSummary};
use crate::fhir::resource_type::ResourceType;
use crate::gateway::Gateway;

/// [`PatientDirectory`] over a [`Gateway`].
#[derive(Debug)]
pub struct Patients(pub Arc<Gateway>);

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, DirectoryError>> + Send + 'a>>;

impl PatientDirectory for Patients {
    fn search<'a>(&'a self, user: &'a User, from: IpAddr, query: &'a str) -> Pending<'a, Vec<PatientSummary>> {
        Box::pin(async move {
            let query = query.trim();
            let parameter = match query {
                "" => None,
                // A number is a record number or another identifier; names have none.
                text if text.bytes().any(|byte| byte.is_ascii_digit()) => Some(("identifier", text)),
                text => Some(("name", text)),
            };
            let escaped = parameter.map(|(name, value)| (name, escape(value)));
            let mut pairs = vec![("_count", "20")];
            pairs.extend(escaped.as_ref().map(|(name, value)| (*name, value.as_str())));
            let bundle = self.0.look_up(user, from, (ResourceType::PATIENT, &form(&pairs)), None).await?;
            Ok(resources(&bundle).filter_map(patient).collect())
        })
    }

    fn read<'a>(&'a self, user: &'a User, from: IpAddr, id: &'a str) -> Pending<'a, Option<PatientSummary>> {
        Box::pin(async move {
            let bundle = self.0.look_up(user, from, (ResourceType::PATIENT, &form(&[("_id", id)])), Some(id)).await?;
            Ok(resources(&bundle).find_map(patient).filter(|patient| patient.id == id))
        })
    }

    fn encounters<'a>(&'a self, user: &'a User, from: IpAddr, patient: &'a str) -> Pending<'a, Vec<EncounterSummary>> {
        Box::pin(async move {
            let reference = format!("Patient/{patient}");
            let form = form(&[("patient", reference.as_str()), ("_sort", "-date"), ("_count", "20")]);
            let bundle = self.0.look_up(user, from, (ResourceType::ENCOUNTER, &form), Some(patient)).await?;
            let own = resources(&bundle).filter(|encounter| self.is_of(encounter, patient));
            Ok(own.filter_map(encounter).collect())
        })
    }

    fn encounter<'a>(
        &'a self,
        user: &'a User,
        from: IpAddr,
        patient: &'a str,
        id: &'a str,
    ) -> Pending<'a, Option<EncounterSummary>> {
        Box::pin(async move {
            let reference = format!("Patient/{patient}");
            let form = form(&[("_id", id), ("patient", reference.as_str())]);
            let bundle = self.0.look_up(user, from, (ResourceType::ENCOUNTER, &form), Some(patient)).await?;
            let own = resources(&bundle).filter(|encounter| self.is_of(encounter, patient));
            Ok(own.filter_map(encounter).find(|encounter| encounter.id == id))
        })
    }
}

impl Patients {
    /// Whether the subject of an encounter is the patient; the upstream may have taken no notice of the parameter.
    fn is_of(&self, encounter: &Value, patient: &str) -> bool {
        let Some(subject) = encounter.pointer("/subject/reference").and_then(Value::as_str) else { return false };
        let relative = subject.strip_prefix(&self.0.base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(subject);
        let id = relative.strip_prefix("Patient/");
        id.is_some_and(|id| id.split_once("/_history/").map_or(id, |(id, _)| id) == patient)
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// FHIR's escapes (R4 search.html section 3.1.1.4.1.1): what a person typed is one value.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, char| {
        if matches!(char, '\\' | ',' | '$' | '|') {
            escaped.push('\\');
        }
        escaped.push(char);
        escaped
    })
}

fn resources(bundle: &Value) -> impl Iterator<Item = &Value> {
    elements(bundle, "/entry").filter_map(|entry| entry.get("resource"))
}

/// The string at a JSON pointer (RFC 6901).
fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

/// The elements of the array at a JSON pointer.
fn elements<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn patient(resource: &Value) -> Option<PatientSummary> {
    let id = text(resource, "/id")?;
    let mut names = elements(resource, "/name");
    let official = elements(resource, "/name").find(|name| name.get("use").is_some_and(|used| used == "official"));
    Some(PatientSummary {
        name: official.or_else(|| names.next()).and_then(name).unwrap_or_else(|| format!("Patient {id}")),
        birth_date: text(resource, "/birthDate"),
        gender: text(resource, "/gender"),
        identifier: elements(resource, "/identifier").find_map(|found| text(found, "/value")),
        id,
    })
}

fn name(name: &Value) -> Option<String> {
    if let Some(text) = text(name, "/text") {
        return Some(text);
    }
    let family = name.get("family").and_then(Value::as_str);
    let parts: Vec<&str> = elements(name, "/given").filter_map(Value::as_str).chain(family).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn encounter(resource: &Value) -> Option<EncounterSummary> {
    let description = ["/type/0/text", "/type/0/coding/0/display", "/class/display", "/class/code"];
    Some(EncounterSummary {
        id: text(resource, "/id")?,
        description: description
            .into_iter()
            .find_map(|pointer| text(resource, pointer))
            .unwrap_or_else(|| "Encounter".to_owned()),
        start: text(resource, "/period/start"),
    })
}
