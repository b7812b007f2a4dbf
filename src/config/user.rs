//! `[[user]]`: the built-in users.

use argon2::PasswordHash;

use super::User;
use super::raw::values;
use super::reader::{Reader, Section};
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;

pub(super) fn user<'t>(reader: &mut Reader<'t>, mut section: Section<'t>) -> User {
    let username = section.required(reader, "username", "\"dr.rivera\"");
    let display_name = section.string(reader, "display_name").map_or_else(|| username.value.clone(), |name| name.value);
    let hash = section.required(reader, "password_hash", "\"$argon2id$...\", made by `firebreak password`");
    if !hash.value.is_empty() && !is_argon2id(&hash.value) {
        reader.mistake(hash.line, "`password_hash` must be an argon2id hash in PHC form, made by `firebreak password`");
    }
    let fhir_user = section.string(reader, "fhir_user").and_then(|text| {
        let allowed = ["Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person"];
        let fits = text.value.split_once('/').is_some_and(|(resource_type, id)| {
            allowed.contains(&resource_type)
                && ResourceType::parse(resource_type).is_some()
                && LogicalId::parse(id).is_some()
        });
        if !fits {
            reader.mistake(text.line, format!("`fhir_user` must be `Type/id` with a type of {}", allowed.join(", ")));
        }
        fits.then_some(text.value)
    });
    let roles = values(section.strings(reader, "roles"));
    let patients = section
        .strings(reader, "patients")
        .into_iter()
        .filter_map(|text| {
            if LogicalId::parse(&text.value).is_none() {
                reader.mistake(text.line, "each of `patients` must be the id of a Patient, without `Patient/`");
                return None;
            }
            Some(text.value)
        })
        .collect();
    reader.close(&section);
    User { username: username.value, display_name, password_hash: hash.value, fhir_user, roles, patients }
}

/// Whether the text is an argon2id hash that a password can be compared with (PHC string format).
fn is_argon2id(text: &str) -> bool {
    text.starts_with("$argon2id$")
        && PasswordHash::new(text).is_ok_and(|hash| hash.hash.is_some() && hash.salt.is_some())
}
