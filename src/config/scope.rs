//! Scopes that somebody wrote for a client: those that are none, each with what may have been meant.

use super::reader::distance;
use crate::fhir::resource_type::ResourceType;
use crate::smart::scope::{INTROSPECT, Letter, Level, Scope};

/// Scopes that do not speak of resources.
const WORDS: [&str; 8] = [
    "launch",
    "launch/patient",
    "launch/encounter",
    "openid",
    "fhirUser",
    "profile",
    "offline_access",
    "online_access",
];

/// Most letters that differ between what was written and what was meant.
const NEAR: usize = 3;

/// What is said of each of `scopes` that grants nothing because it is no scope; `introspects`: the client may be one that
/// looks up tokens.
#[must_use]
pub fn unknown_scopes(scopes: &str, introspects: bool) -> Vec<String> {
    let unknown =
        |text: &&str| matches!(Scope::parse(text), Scope::Unknown(_)) && !(introspects && *text == INTROSPECT);
    let mut found: Vec<String> = Vec::new();
    for text in scopes.split_whitespace().filter(unknown) {
        let hint = meant(text).map_or_else(
            || "scopes are written as in \"launch/patient openid patient/*.rs\"".to_owned(),
            |meant| format!("did you mean `{meant}`?"),
        );
        let problem = format!("scope `{text}` is not known: {hint}");
        if !found.contains(&problem) {
            found.push(problem);
        }
    }
    found
}

/// `scopes` with each unknown one as it was meant, or with `otherwise` in its place where nobody knows.
#[must_use]
pub fn meant_scopes(scopes: &str, otherwise: &str) -> String {
    let as_meant = |text: &str| match Scope::parse(text) {
        Scope::Unknown(_) => meant(text).unwrap_or_else(|| otherwise.to_owned()),
        _ => text.to_owned(),
    };
    scopes.split_whitespace().map(as_meant).collect::<Vec<_>>().join(" ")
}

/// The scope that comes nearest, when one comes near.
fn meant(text: &str) -> Option<String> {
    let of_resource = resource(text);
    let nearest = || nearest(text, WORDS.into_iter()).map(str::to_owned);
    of_resource.or_else(nearest).filter(|meant| !matches!(Scope::parse(meant), Scope::Unknown(_)))
}

fn resource(text: &str) -> Option<String> {
    let (level, rest) = text.split_once('/')?;
    let (name, permissions) = rest.split_once('.')?;
    let (permissions, constraint) = permissions.split_at(permissions.find('?').unwrap_or(permissions.len()));
    let level = nearest(level, Level::ALL.into_iter().map(Level::as_str))?;
    let name = if name == "*" { name } else { nearest(name, ResourceType::all().map(ResourceType::name))? };
    let known = Letter::ALL.map(Letter::as_char);
    let permissions = if !permissions.is_empty() && permissions.chars().all(|letter| known.contains(&letter)) {
        known.into_iter().filter(|letter| permissions.contains(*letter)).collect()
    } else {
        nearest(permissions, ["read", "write", "*", "rs", "cruds"].into_iter())?.to_owned()
    };
    Some(format!("{level}/{name}.{permissions}{constraint}"))
}

/// The nearest of some words, when it is near and not wholly another one.
fn nearest<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = words.map(|word| (distance(word, text), word)).min()?;
    (near.0 <= NEAR && near.0 < near.1.len()).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unknown_scope_is_told_with_what_was_meant() {
        for (written, meant) in [
            ("patient/Observaton.rs", "patient/Observation.rs"),
            ("patiente/*.rs", "patient/*.rs"),
            ("patient/*.sr", "patient/*.rs"),
            ("user/observation.dus?code=1", "user/Observation.uds?code=1"),
            ("user/Patient.raed", "user/Patient.read"),
            ("fhiruser", "fhirUser"),
            ("offline", "offline"),
            ("bogus", "bogus"),
        ] {
            let found = unknown_scopes(&format!("openid {written} patient/*.rs"), false);
            assert_eq!(found.len(), 1, "{written}: {found:?}");
            let hint = if meant == written { "scopes are written as" } else { &*format!("did you mean `{meant}`?") };
            assert!(found.concat().contains(hint), "{written}: {found:?}");
        }
        assert_eq!(unknown_scopes("patient/*.sr bogus introspect", false).len(), 3);
        let all = "openid launch/imagingstudy?role=x patient/*.read user/Patient.cruds system/*.* introspect";
        assert_eq!(unknown_scopes(all, true), [""; 0]);
    }
}
