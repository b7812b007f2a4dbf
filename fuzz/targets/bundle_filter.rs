//! What the upstream answers to a search for one patient's Observations and what is around them, through the filter: every resource
//! that comes out was in the answer and, by a naive look, that patient's, or of those who treat; of the Bundle itself nothing comes out but what is ours to say; the
//! upstream's base is gone; and what comes out is strict JSON again.
#![no_main]

use firebreak::canonicalise::FhirRequest;
use firebreak::fuzzing::{OURS, THEIRS, inbound};
use firebreak::json::{Json, Limits};
use firebreak_fuzz::confined::{P1, decided};
use serde_json::Value;

/// Beside the matches come those who performed, and what tells of the matches.
const SEARCH: &str = "/fhir/Observation?code=1&_include=Observation:performer&_revinclude=DiagnosticReport:result";

/// Stands in everything that the seeds hold of others.
const CANARY: &str = "CANARY";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let request = FhirRequest::parse(inbound("GET", SEARCH), "/fhir").expect("a search");
    let permit = decided(request).expect("a search under the patient's token is permitted");
    let Ok(released) = P1.release(permit, bytes) else { return };
    Json::parse(released.clone(), Limits::default()).expect("what is released is strict JSON");
    let (Ok(released), Ok(answer)) = (serde_json::from_slice(&released), serde_json::from_slice(bytes)) else {
        return; // A number that is too large for a double: nothing to compare with.
    };
    let (released, answer): (Value, Value) = (released, answer);
    bundle(&released);
    let visible: Vec<&Value> = resources(&answer).filter(|resource| is_visible(resource)).collect();
    for entry in entries(&released).filter(|entry| !is_outcome(&entry["resource"])) {
        let resource = &entry["resource"];
        let sent = visible.iter().any(|visible| rebased(visible, "resource", "resource") == *resource);
        assert!(sent, "{resource} is no visible resource of {answer}");
        let is_match = resource["resourceType"] == "Observation";
        assert!(is_match || entry["search"]["mode"] == "include", "{entry}");
    }
    // With a match that is not the patient's, nothing would have come; without one, all of them come.
    let matches = entries(&answer).filter(|entry| entry.get("resource").is_some() && !is_extra(entry)).count();
    let kept = entries(&released).filter(|entry| !is_outcome(&entry["resource"]) && !is_extra(entry)).count();
    assert_eq!(kept, matches, "{answer}");
    let hidden = resources(&answer).filter(|resource| !is_visible(resource));
    if hidden.clone().any(|resource| resource.to_string().contains(CANARY)) {
        let elsewhere = visible.iter().any(|resource| resource.to_string().contains(CANARY))
            || answer["meta"].to_string().contains(CANARY)
            || answer["timestamp"].to_string().contains(CANARY);
        assert!(elsewhere || !released.to_string().contains(CANARY), "{released}");
    }
});

fn entries(bundle: &Value) -> impl Iterator<Item = &Value> + Clone {
    bundle["entry"].as_array().into_iter().flatten()
}

fn resources(bundle: &Value) -> impl Iterator<Item = &Value> + Clone {
    entries(bundle).filter_map(|entry| entry.get("resource"))
}

fn is_extra(entry: &Value) -> bool {
    ["include", "outcome"].iter().any(|mode| entry["search"]["mode"] == *mode)
}

fn is_outcome(resource: &Value) -> bool {
    resource["resourceType"] == "OperationOutcome"
}

/// Whether it is of those who treat, or some place of it where whose it is could stand names P1; read as generously as a server
/// might.
fn is_visible(resource: &Value) -> bool {
    match resource["resourceType"].as_str().unwrap_or_default() {
        "Practitioner" | "PractitionerRole" | "Organization" => true,
        "Patient" => resource["id"] == "P1",
        "Observation" => names_p1(resource, &["subject", "performer"]),
        "CareTeam" => names_p1(resource, &["subject", "participant"]),
        "RelatedPerson" => names_p1(resource, &["patient"]),
        "DiagnosticReport" => names_p1(resource, &["subject"]),
        _ => false,
    }
}

fn names_p1(resource: &Value, places: &[&str]) -> bool {
    places.iter().any(|name| {
        let values = match &resource[*name] {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        let references = values.iter().flat_map(|value| [&value["reference"], &value["member"]["reference"]]);
        references.filter_map(Value::as_str).any(|reference| {
            let local = [THEIRS, OURS].iter().find_map(|base| reference.strip_prefix(&format!("{base}/")));
            let local = local.unwrap_or(reference);
            local == "Patient/P1" || local.starts_with("Patient/P1/_history/")
        })
    })
}

/// Members that the gateway passes on or writes, and no other.
fn bundle(released: &Value) {
    members(released, &["resourceType", "type", "timestamp", "meta", "link", "entry"]);
    assert_eq!((&released["resourceType"], &released["type"]), (&"Bundle".into(), &"searchset".into()));
    members(&released["meta"], &["lastUpdated", "security", "tag"]);
    for link in released["link"].as_array().expect("a self link at least") {
        members(link, &["relation", "url"]);
        assert!(link["url"].as_str().is_some_and(|url| url.starts_with(&format!("{OURS}/Observation?"))), "{link}");
    }
    assert!(released.get("entry").is_none() || entries(released).count() > 0, "JSON in FHIR has no empty lists");
    for entry in entries(released) {
        members(&entry["search"], &["mode", "score"]);
        if is_outcome(&entry["resource"]) {
            members(entry, &["resource", "search"]);
            members(&entry["resource"], &["resourceType", "issue"]);
            let issues = entry["resource"]["issue"].as_array().expect("an outcome has issues");
            for issue in issues {
                members(issue, &["severity", "code"]);
            }
            continue;
        }
        members(entry, &["fullUrl", "resource", "search"]);
        let text = |name: &str| entry["resource"][name].as_str().expect("what is released has a type and an id");
        let full_url = format!("{OURS}/{}/{}", text("resourceType"), text("id"));
        assert_eq!(entry["fullUrl"], *full_url);
    }
}

fn members(value: &Value, known: &[&str]) {
    let unknown = value.as_object().into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str()));
    assert!(unknown.is_none(), "{unknown:?}");
}

/// The resource with our base for the upstream's where a client follows an address. URLs that can be read in two ways are not
/// what this target is about: `link_rewrite` is.
fn rebased(value: &Value, name: &str, of: &str) -> Value {
    match value {
        Value::String(text) => {
            let nameless = matches!(of, "extension" | "modifierExtension" | "contained" | "resource");
            let address = matches!(name, "reference" | "fullUrl" | "location" | "valueUrl" | "valueUri");
            let ours = firebreak::filter::urls::Rebase::new(OURS, &[THEIRS]).outward(text);
            match ours.filter(|_| address || (name == "url" && !nameless)) {
                Some(ours) => Value::String(ours),
                None => value.clone(),
            }
        }
        Value::Array(elements) => elements
            .iter()
            .map(|element| if element.is_string() { element.clone() } else { rebased(element, name, of) })
            .collect(),
        Value::Object(members) => {
            members.iter().map(|(inner, value)| (inner.clone(), rebased(value, inner, name))).collect()
        }
        other => other.clone(),
    }
}
