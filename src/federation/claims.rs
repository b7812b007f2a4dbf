//! What the claims of a verified ID token make of a person here, as far as the site lets the provider say so.
//!
//! Takes the claims and the provider's entry of the configuration; gives the user, or why there is none. Promises: nothing is
//! asserted that the entry does not allow: a role outside its `roles` is dropped, a `fhirUser` outside its `user_types` refuses
//! the login, and so does a user who is left without a role. What is not of the form that is expected is refused, never
//! guessed at.

use serde_json::{Map, Value};

use crate::config::{FhirUserClaim, Provider};
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::grant::records::User;

/// Most roles and patients that are taken from one token.
const MAX_VALUES: usize = 1_000;
/// Characters of a display name.
const MAX_NAME: usize = 100;

/// A person whom the provider knows, and who may not come in.
#[derive(Debug)]
pub struct NotAllowed {
    /// Who it is, for the audit record; without roles.
    pub user: User,
    /// Why.
    pub why: NotAllowedBecause,
}

/// Why a person may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAllowedBecause {
    /// The claim for `fhirUser` is there and is no reference to a resource here.
    FhirUserMalformed,
    /// The provider may not assert users of this type.
    FhirUserType,
    /// The claim for patients is there and is no list of ids.
    PatientsMalformed,
    /// None of the roles is one that the provider may assert.
    NoRole,
}

impl NotAllowedBecause {
    /// In the audit log and the operational log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::FhirUserMalformed => "fhir_user_malformed",
            Self::FhirUserType => "fhir_user_type_not_allowed",
            Self::PatientsMalformed => "patients_malformed",
            Self::NoRole => "no_role_allowed",
        }
    }
}

/// The user whom `claims`, verified, describe. `fhir_base` is our public FHIR base.
///
/// # Errors
/// [`NotAllowed`]
pub fn user(
    provider: &Provider,
    fhir_base: &str,
    sub: &str,
    claims: &Map<String, Value>,
) -> Result<User, Box<NotAllowed>> {
    let mut user = User {
        iss: provider.issuer.clone(),
        sub: sub.to_owned(),
        display_name: display_name(provider, sub, claims),
        fhir_user: None,
        roles: Vec::new(),
        patients: Vec::new(),
    };
    let filled = fhir_user(provider, fhir_base, claims).and_then(|fhir_user| {
        let patients = patients(provider, fhir_base, claims, fhir_user.as_deref())?;
        Ok((fhir_user, patients))
    });
    match filled {
        Ok((fhir_user, patients)) => (user.fhir_user, user.patients) = (fhir_user, patients),
        Err(why) => return Err(Box::new(NotAllowed { user, why })),
    }
    let roles = roles(provider, claims);
    if roles.is_empty() {
        return Err(Box::new(NotAllowed { user, why: NotAllowedBecause::NoRole }));
    }
    Ok(User { roles, ..user })
}

/// The user as far as the provider may assert it today, never with more than `user` had; `None` when it may not assert
/// anything of it any more.
#[must_use]
pub fn standing(provider: &Provider, user: &User) -> Option<User> {
    if provider.issuer != user.iss {
        return None;
    }
    let resource_type = user.fhir_user.as_deref().and_then(|user| user.split_once('/')).map(|(name, _)| name);
    if resource_type.is_some_and(|name| !provider.user_types.iter().any(|allowed| allowed == name)) {
        return None;
    }
    let roles: Vec<String> = user.roles.iter().filter(|role| provider.roles.contains(role)).cloned().collect();
    let own = user.fhir_user.as_deref().and_then(|user| user.strip_prefix("Patient/"));
    let mut patients = user.patients.clone();
    if provider.claims.patients.is_none() {
        patients.retain(|patient| Some(patient.as_str()) == own);
    }
    (!roles.is_empty()).then(|| User { roles, patients, ..user.clone() })
}

/// The claim called `name`; else the one that the dots in `name` lead to.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let mut parts = name.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_object()?.get(part))
    })
}

/// A string, or the strings of a list; `None` for everything else.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) if list.len() <= MAX_VALUES => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn display_name(provider: &Provider, sub: &str, claims: &Map<String, Value>) -> String {
    let names = [provider.claims.display_name.as_str(), "name", "preferred_username"];
    let found = names.iter().find_map(|name| claim(claims, name)?.as_str().filter(|text| !text.trim().is_empty()));
    let shown = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect() };
    shown(found.unwrap_or(sub))
}

fn roles(provider: &Provider, claims: &Map<String, Value>) -> Vec<String> {
    let said = provider.claims.roles.as_deref().and_then(|name| claim(claims, name)).and_then(strings);
    let mut roles: Vec<String> = Vec::new();
    for word in said.unwrap_or_default() {
        let role = provider.claims.role_map.get(word).map_or(word, String::as_str);
        if provider.roles.iter().any(|allowed| allowed == role) && !roles.iter().any(|known| known == role) {
            roles.push(role.to_owned());
        }
    }
    roles
}

fn fhir_user(
    provider: &Provider,
    fhir_base: &str,
    claims: &Map<String, Value>,
) -> Result<Option<String>, NotAllowedBecause> {
    let malformed = NotAllowedBecause::FhirUserMalformed;
    let said = |name: &str| match claim(claims, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        // An id may be a number to the provider.
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(malformed),
    };
    let reference = match &provider.claims.fhir_user {
        None => None,
        Some(FhirUserClaim::Reference(name)) => said(name)?.map(|text| local(fhir_base, &text).to_owned()),
        Some(FhirUserClaim::Id { resource_type, claim }) => said(claim)?.map(|id| format!("{resource_type}/{id}")),
    };
    let Some(reference) = reference else { return Ok(None) };
    let (name, id) = reference.split_once('/').ok_or(malformed)?;
    if ResourceType::parse(name).is_none() || LogicalId::parse(id).is_none() {
        return Err(malformed);
    }
    if !provider.user_types.iter().any(|allowed| allowed == name) {
        return Err(NotAllowedBecause::FhirUserType);
    }
    Ok(Some(reference))
}

/// Those that the claim names, and the user's own where the user is a patient.
fn patients(
    provider: &Provider,
    fhir_base: &str,
    claims: &Map<String, Value>,
    fhir_user: Option<&str>,
) -> Result<Vec<String>, NotAllowedBecause> {
    let own = fhir_user.and_then(|user| user.strip_prefix("Patient/"));
    let mut patients: Vec<String> = own.iter().map(|id| (*id).to_owned()).collect();
    let said = provider.claims.patients.as_deref().and_then(|name| claim(claims, name));
    let said = said.map_or(Some(Vec::new()), strings).ok_or(NotAllowedBecause::PatientsMalformed)?;
    for text in said {
        let reference = local(fhir_base, text);
        let id = reference.strip_prefix("Patient/").unwrap_or(reference);
        LogicalId::parse(id).ok_or(NotAllowedBecause::PatientsMalformed)?;
        if !patients.iter().any(|known| known == id) {
            patients.push(id.to_owned());
        }
    }
    Ok(patients)
}

/// Below our base, relative.
fn local<'a>(fhir_base: &str, reference: &'a str) -> &'a str {
    reference.strip_prefix(fhir_base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(reference)
}

#[cfg(test)]
mod tests;
