//! A decider that is slow, plain and written from the text of the rules alone: strings and lists, no tables of the real one, no
//! Cedar. It knows the shipped policies by heart. Only for comparison.

use super::{Outcome, Token};

/// What a request line asks, in strings.
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of a line")]
pub(super) struct Asked<'a> {
    pub(super) type_name: &'a str,
    pub(super) letter: char,
    pub(super) id: &'a str,
    /// A read of the current version by id: what `fhirUser` allows.
    pub(super) is_read: bool,
    pub(super) by_id: bool,
    /// The compartment that is searched.
    pub(super) compartment: Option<(&'a str, &'a str)>,
    /// Whether the path names no type.
    pub(super) system: bool,
    /// Whether a history is asked for.
    pub(super) history: bool,
    pub(super) query: &'a str,
}

pub(super) fn decide(token: &Token, line: &str) -> Outcome {
    let Some(asked) = asked(line) else { return Outcome::Refused };
    let mut within = Vec::new();
    if own_entry(token, &asked) {
        within.push(format!("own {}", asked.id));
    }
    let by_client = token.roles.contains(&"backend") && token.subject == "app";
    for (level, place) in [
        ("system", by_client.then(|| "*".to_owned())),
        ("user", user(token, &asked)),
        ("patient", launch(token).and_then(|patient| bound_to(token, &asked, patient))),
    ] {
        let Some(place) = place else { continue };
        let granted = granted(token, level, &asked);
        if granted.iter().any(String::is_empty) {
            within.push(place);
        } else {
            within.extend(granted.iter().map(|conditions| format!("{place}{conditions}")));
        }
    }
    beyond(token, &asked, &mut within);
    if within.iter().any(|place| place == "*") {
        return Outcome::Within(vec!["*".to_owned()]);
    }
    within.sort();
    within.dedup();
    // What a restricted grant would delete, or see the history of, is looked at first: there is no permit yet.
    if asked.letter == 'd' || asked.history {
        return Outcome::Refused;
    }
    if within.is_empty() { Outcome::Refused } else { Outcome::Within(within) }
}

/// What of the places remains for what the search asks beyond the content of its type.
fn beyond(token: &Token, asked: &Asked<'_>, within: &mut Vec<String>) {
    let all = |within: &[String]| within.iter().any(|place| place == "*");
    let places = |line: &str| match decide(token, line) {
        Outcome::Within(places) => places,
        Outcome::Refused => Vec::new(),
    };
    if let Some((compartment, id)) = asked.compartment
        && !all(within)
    {
        let own = format!("Patient/{id}");
        let lies = |place: &String| place.starts_with('*') || place.split(' ').next() == Some(&own);
        within.retain(|place| compartment == "Patient" && lies(place));
    }
    let (name, value) = asked.query.split_once('=').unwrap_or((asked.query, ""));
    let allowed = match (name, value) {
        _ if asked.system => all(within),
        ("_summary", "count") | ("_text", _) => all(within),
        ("_has:Observation:subject:code", _) => all(within) && all(&places("GET Observation")),
        ("_sort", "patient.birthdate") => all(within) && all(&places("GET Patient")),
        ("patient.name", _) => {
            let patients = places("GET Patient");
            let everywhere = all(within) && all(&patients);
            let of_patient = |place: &String| {
                let patient = place.split(' ').next().unwrap();
                patients.iter().any(|one| one == "*" || one == patient)
            };
            within.retain(|place| everywhere || place.starts_with("Patient/") && of_patient(place));
            true
        }
        ("_include", "*") => all(within) && reads_everything(token),
        ("_include", "Observation:subject:Patient") => !places("GET Patient/anyone").is_empty(),
        ("_include", "Observation:performer:Practitioner") => !places("GET Practitioner/anyone").is_empty(),
        ("_revinclude", "Observation:subject") => {
            !places("GET Observation/any").is_empty() && !places("GET Observation").is_empty()
        }
        _ => true,
    };
    if !allowed {
        within.clear();
    }
}

/// Whether a scope for `*` reads everything of every type.
fn reads_everything(token: &Token) -> bool {
    let any = Asked {
        type_name: "no type that a scope would name",
        letter: 'r',
        id: "",
        is_read: false,
        by_id: true,
        compartment: None,
        system: false,
        history: false,
        query: "",
    };
    let by_user = user(token, &any).as_deref() == Some("*") && granted(token, "user", &any).contains(&String::new());
    let by_client = token.roles.contains(&"backend") && token.subject == "app";
    by_user || by_client && granted(token, "system", &any).contains(&String::new())
}

/// `None`: not served to anybody.
fn asked(line: &str) -> Option<Asked<'_>> {
    let (method, target) = line.split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.split('/').collect();
    let (mut compartment, mut system) = (None, false);
    let (type_name, letter, id, is_read) = match (method, segments.as_slice()) {
        ("GET", [""]) => {
            system = true;
            (query.strip_prefix("_type=")?, 's', "", false)
        }
        ("GET", [of, id, name]) if name.starts_with(char::is_uppercase) => {
            compartment = Some((*of, *id));
            (*name, 's', "", false)
        }
        ("GET", [name] | [name, "_history"]) | ("POST", [name, "_search"]) => (*name, 's', "", false),
        ("GET" | "HEAD", [name, id]) if !id.starts_with(['_', '$']) => (*name, 'r', *id, true),
        ("GET", [name, id, "_history"] | [name, id, "_history", _]) => (*name, 'r', *id, false),
        ("DELETE", [name, id]) => (*name, 'd', *id, false),
        _ => return None,
    };
    let history = segments.last() == Some(&"_history");
    let served = !matches!(type_name, "Bundle" | "Parameters");
    served.then_some(Asked {
        type_name,
        letter,
        id,
        is_read,
        by_id: letter == 'r',
        compartment,
        system,
        history,
        query,
    })
}

/// The scope `fhirUser` reads the resource that the user is.
fn own_entry(token: &Token, asked: &Asked<'_>) -> bool {
    let is_user = token.fhir_user == Some((asked.type_name, asked.id));
    let role = ["clinician", "patient", "related_person"].iter().any(|role| token.roles.contains(role));
    asked.is_read && is_user && role && token.scope.split(' ').any(|scope| scope == "fhirUser")
}

/// Where `user/` scopes reach.
pub(super) fn user(token: &Token, asked: &Asked<'_>) -> Option<String> {
    match token.fhir_user {
        Some(("Practitioner" | "PractitionerRole", _)) if token.roles.contains(&"clinician") => Some("*".to_owned()),
        Some(("Patient", patient)) => bound_to(token, asked, patient),
        Some(("RelatedPerson", _)) => bound_to(token, asked, launch(token)?),
        _ => None,
    }
}

/// The conditions of every scope of this level that covers type and letter, in words; empty for none.
pub(super) fn granted(token: &Token, level: &str, asked: &Asked<'_>) -> Vec<String> {
    let mut granted = Vec::new();
    for scope in token.scope.split(' ') {
        let Some(rest) = scope.strip_prefix(level).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let Some((resource, rest)) = rest.split_once('.') else { continue };
        let (permissions, constraint) =
            rest.split_once('?').map_or((rest, None), |(before, after)| (before, Some(after)));
        let letters = match permissions {
            // Version 1 has no conditions.
            "read" | "write" | "*" if constraint.is_some() => continue,
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            letters @ ("r" | "s" | "rs" | "u" | "cud" | "cruds") => letters,
            _ => continue,
        };
        if !letters.contains(asked.letter) || (resource != "*" && resource != asked.type_name) {
            continue;
        }
        match constraint {
            None => granted.push(String::new()),
            Some(_) if resource == "*" => {}
            Some(constraint) => {
                let pairs: Vec<&str> = constraint.split('&').collect();
                if pairs.iter().all(|pair| checkable(asked.type_name, pair)) {
                    granted.push(format!(" {}", pairs.join(" ")));
                }
            }
        }
    }
    granted
}

/// Whether a condition can be checked on a resource of this type.
fn checkable(type_name: &str, pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let known: &[&str] = match type_name {
        "Observation" | "Condition" => &["category", "code"],
        "Group" => &["code"],
        _ => &[],
    };
    known.contains(&name) && !value.is_empty()
}

pub(super) fn launch(token: &Token) -> Option<&'static str> {
    token.patient.filter(|patient| matches!(*patient, "P1" | "P2"))
}

/// Where a grant for one patient reaches.
fn bound_to(token: &Token, asked: &Asked<'_>, patient: &str) -> Option<String> {
    let by_role = ["clinician", "patient", "related_person"].iter().any(|role| token.roles.contains(role));
    match asked.type_name {
        _ if !by_role => None,
        "Observation" | "Condition" | "Patient" | "Device" | "RelatedPerson" => Some(format!("Patient/{patient}")),
        "Practitioner" | "Organization" if asked.by_id => Some("referenced".to_owned()),
        _ => None,
    }
}
