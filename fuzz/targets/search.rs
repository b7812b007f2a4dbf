//! The parameters of a search on one type: whatever is asked under a patient's token, the upstream is asked about that patient
//! alone; what is understood prints as a query that means the same.
#![no_main]

use firebreak::canonicalise::FhirRequest;
use firebreak::fhir::interaction::Interaction;
use firebreak::fhir::resource_type::ResourceType;
use firebreak::fhir::search::{SearchQuery, escape, split_alternatives, unescape};
use firebreak::fuzzing::inbound;
use firebreak_fuzz::confined::decided;

/// The types that the input's first byte chooses from.
const TYPES: [&str; 12] = [
    "Observation",
    "Patient",
    "Condition",
    "Encounter",
    "MedicationRequest",
    "AllergyIntolerance",
    "Appointment",
    "Device",
    "Provenance",
    "Practitioner",
    "Bundle",
    "Group",
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((choice, query)) = bytes.split_first() else { return };
    let name = TYPES[usize::from(*choice) % TYPES.len()];
    let (Ok(query), Some(resource_type)) = (std::str::from_utf8(query), ResourceType::parse(name)) else { return };
    // What the listener would not let through is no query.
    if query.bytes().any(|byte| matches!(byte, 0..=b' ' | b'#' | 0x7f)) {
        return;
    }
    values_are_split_and_joined(query);
    prints_what_it_means(resource_type, query);
    let Ok(request) = FhirRequest::parse(inbound("GET", &format!("/fhir/{name}?{query}")), "/fhir") else { return };
    assert_eq!(request.interaction(), &Interaction::SearchType { resource_type });
    let permitted = decided(request).is_some();
    // Compared as FHIR writes them, by the name before the modifier.
    let beyond = form_urlencoded::parse(query.as_bytes()).any(|(key, _)| {
        let name = key.split(':').next().unwrap_or_default();
        ["_has", "_list", "_filter", "_query", "_text", "_content", "_contained"].contains(&name)
    });
    assert!(!(permitted && beyond), "{query}");
});

fn values_are_split_and_joined(query: &str) {
    for (_, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(alternatives) = split_alternatives(&value) else { continue };
        assert_eq!(alternatives.join(","), value);
        for alternative in &alternatives {
            let text = unescape(alternative);
            assert_eq!(unescape(&escape(&text)), text);
            // One value stays one value once it is escaped, whatever it holds.
            assert!(text.is_empty() || split_alternatives(&escape(&text)).is_some_and(|again| again.len() == 1));
        }
    }
}

/// The `self` link is the query again: read anew, it prints the same.
fn prints_what_it_means(resource_type: ResourceType, query: &str) {
    let Ok((parsed, projection)) = SearchQuery::parse(resource_type, &pairs(query)) else { return };
    let link = parsed.self_link(resource_type.name(), &projection);
    assert!(link.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'"'), "{link}");
    let printed = link.split_once('?').map_or("", |(_, query)| query);
    let (again, projected) =
        SearchQuery::parse(resource_type, &pairs(printed)).unwrap_or_else(|refusal| panic!("{link}: {refusal:?}"));
    assert_eq!(again.self_link(resource_type.name(), &projected), link, "{query}");
    assert_eq!(projected, projection, "{query}");
}

fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
