//! A decider that is slow, plain and written from the text of the rules alone: strings and lists, no tables of the real one, no
//! Cedar. It knows the shipped policies by heart. Only for comparison.

use super::{Outcome, Token};

pub(super) fn decide(token: &Token, target: &str) -> Outcome {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.split('/').collect();
    let (type_name, letter, id, is_read) = match segments.as_slice() {
        [""] | [_, "_history"] => return Outcome::Refused,
        [name] => (*name, 's', "", false),
        [_, _, operation] if operation.starts_with('$') => return Outcome::Refused,
        [name, id] => (*name, 'r', *id, true),
        [name, id, "_history", _] => (*name, 'r', *id, false),
        _ => return Outcome::Refused,
    };
    if query.contains("patient.name") || query.contains("_summary=count") {
        return Outcome::Refused;
    }
    let names_user = token.fhir_user.is_some_and(|(name, own)| (name, own) == (type_name, id));
    let own_entry = is_read && names_user && token.scope.split(' ').any(|scope| scope == "fhirUser");
    if covers(token, "system", type_name, letter) && token.roles.contains(&"backend") && token.subject == "app" {
        return Outcome::Everything;
    }
    if own_entry && (permits_all(token) || permits_own(token)) {
        return Outcome::Everything;
    }
    let mut by_user = None;
    if covers(token, "user", type_name, letter) {
        match token.fhir_user {
            Some(("Practitioner", _)) if permits_all(token) => return Outcome::Everything,
            Some(("Patient", patient)) => by_user = bound_to(token, type_name, patient),
            Some(("RelatedPerson", _)) => {
                by_user = launch(token).and_then(|patient| bound_to(token, type_name, patient));
            }
            _ => {}
        }
    }
    let mut by_launch = None;
    if covers(token, "patient", type_name, letter) {
        by_launch = launch(token).and_then(|patient| bound_to(token, type_name, patient));
    }
    // The launch goes before what a patient is as a user.
    by_launch.or(by_user).map_or(Outcome::Refused, Outcome::OnePatient)
}

fn covers(token: &Token, level: &str, type_name: &str, letter: char) -> bool {
    token.scope.split(' ').any(|scope| {
        let Some(rest) = scope.strip_prefix(level).and_then(|rest| rest.strip_prefix('/')) else { return false };
        let Some((resource, permissions)) = rest.split_once('.') else { return false };
        let letters = match permissions {
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            "r" | "s" | "rs" | "cruds" => permissions,
            // Neither granular scopes nor letters out of order.
            _ => return false,
        };
        (resource == "*" || resource == type_name) && letters.contains(letter)
    })
}

fn launch(token: &Token) -> Option<&'static str> {
    token.patient.filter(|patient| matches!(*patient, "P1" | "P2"))
}

fn bound_to(token: &Token, type_name: &str, patient: &str) -> Option<String> {
    let in_compartment = matches!(type_name, "Observation" | "Patient" | "Device" | "RelatedPerson");
    let by_role = ["clinician", "patient", "related_person"].iter().any(|role| token.roles.contains(role));
    (in_compartment && by_role).then(|| patient.to_owned())
}

fn permits_all(token: &Token) -> bool {
    token.roles.contains(&"clinician")
}

fn permits_own(token: &Token) -> bool {
    token.roles.contains(&"patient") || token.roles.contains(&"related_person")
}
