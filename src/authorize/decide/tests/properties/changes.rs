//! Changes over generated tokens, bodies and a small world, with a naive decider of their own as the oracle.
#![expect(clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::reference::{Asked, granted, launch, user};
use super::*;
use crate::authorize::Evidence;

/// What an Observation is about, as far as scopes look.
#[derive(Clone, Copy, Debug)]
struct Facts {
    subject: Option<&'static str>,
    category: &'static str,
    code: &'static str,
    performer: Option<&'static str>,
}

/// What the upstream holds, by id.
const WORLD: [(&str, Facts); 4] = [
    ("o1", Facts { subject: Some("P1"), category: "x", code: "y", performer: None }),
    ("o2", Facts { subject: Some("P2"), category: "x", code: "y", performer: None }),
    ("o3", Facts { subject: Some("P1"), category: "z", code: "z", performer: Some("P1") }),
    // In the record of one patient, and by another in both compartments.
    ("o4", Facts { subject: Some("P2"), category: "x", code: "y", performer: Some("P1") }),
];
const IDS: [&str; 5] = ["o1", "o2", "o3", "o4", "absent"];

#[derive(Clone, Debug)]
enum Change {
    Create(Facts),
    Update(&'static str, Facts),
    /// Replaces category and code.
    Patch(&'static str, &'static str, &'static str),
    Delete(&'static str),
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (
        prop::sample::select(vec![Some("P1"), Some("P1"), Some("P2"), None]),
        prop::sample::select(vec!["x", "z"]),
        prop::sample::select(vec!["y", "z"]),
        prop::sample::select(vec![None, None, Some("P1"), Some("P2")]),
    )
        .prop_map(|(subject, category, code, performer)| Facts { subject, category, code, performer })
}

fn any_change() -> impl Strategy<Value = Change> {
    let id = || prop::sample::select(IDS.to_vec());
    prop_oneof![
        any_facts().prop_map(Change::Create),
        (id(), any_facts()).prop_map(|(id, facts)| Change::Update(id, facts)),
        (id(), prop::sample::select(vec!["x", "z"]), prop::sample::select(vec!["y", "z"]))
            .prop_map(|(id, category, code)| Change::Patch(id, category, code)),
        id().prop_map(Change::Delete),
    ]
}

/// Tokens that say something about changes more often than [`any_token`] does.
fn any_writer() -> impl Strategy<Value = Token> {
    let scope = (
        prop::sample::select(vec!["patient", "patient", "user", "system"]),
        prop::sample::select(vec!["*", "Observation", "Observation", "Observation", "Patient"]),
        prop::sample::select(vec!["cruds", "cud", "u", "write", "*", "r"]),
        prop::sample::select(vec!["", "", "?category=x", "?code=y", "?category=x&code=y", "?code=z&category=x"]),
    )
        .prop_map(|(level, name, permissions, constraint)| format!("{level}/{name}.{permissions}{constraint}"));
    (any_token(), prop::collection::vec(scope, 1..=3))
        .prop_map(|(token, scopes)| Token { scope: scopes.join(" "), ..token })
}

fn body(id: Option<&str>, facts: Facts) -> serde_json::Value {
    let mut body = serde_json::json!({
        "resourceType": "Observation", "status": "final",
        "category": [{"coding": [{"code": facts.category}]}], "code": {"coding": [{"code": facts.code}]},
    });
    for (name, value) in [("subject", facts.subject), ("performer", facts.performer)] {
        if let Some(patient) = value {
            let reference = serde_json::json!({"reference": format!("Patient/{patient}")});
            body[name] = if name == "performer" { serde_json::json!([reference]) } else { reference };
        }
    }
    if let Some(id) = id {
        body["id"] = id.into();
        body["meta"] = serde_json::json!({"versionId": "1"});
    }
    body
}

fn stored(id: &str) -> Option<Facts> {
    WORLD.iter().find(|(held, _)| *held == id).map(|(_, facts)| *facts)
}

/// What the world says to one read of the gateway's own.
fn evidence(read: &UpstreamRequest) -> Evidence {
    let found = match read {
        UpstreamRequest::Read { resource_type, id } if *resource_type == ResourceType::OBSERVATION => {
            stored(id.as_str()).map(|facts| body(Some(id.as_str()), facts))
        }
        UpstreamRequest::Read { resource_type, id } if *resource_type == ResourceType::PATIENT => ["P1", "P2"]
            .contains(&id.as_str())
            .then(|| serde_json::json!({"resourceType": "Patient", "id": id.as_str()})),
        UpstreamRequest::Search { resource_type, parameters } if *resource_type == ResourceType::PATIENT => {
            let ids =
                parameters.iter().find(|(name, _)| name == "_id").map(|(_, ids)| ids.as_str()).unwrap_or_default();
            let patient = |id| serde_json::json!({"resource": {"resourceType": "Patient", "id": id}, "search": {"mode": "match"}});
            let entry: Vec<_> = ids.split(',').filter(|id| ["P1", "P2"].contains(id)).map(patient).collect();
            Some(serde_json::json!({"resourceType": "Bundle", "type": "searchset", "entry": entry}))
        }
        other => panic!("nobody expected {other:?} to be read"),
    };
    found
        .map_or_else(Evidence::absent, |found| Evidence::of(Bytes::from(found.to_string()), Some("W/\"1\"".to_owned())))
}

/// Whether the real one lets it happen.
fn is_permitted(token: &Token, change: &Change) -> bool {
    let (method, target, content) = match change {
        Change::Create(facts) => ("POST", "Observation".to_owned(), Some(body(None, *facts))),
        Change::Update(id, facts) => {
            let mut body = body(Some(id), *facts);
            body.as_object_mut().unwrap().remove("meta");
            ("PUT", format!("Observation/{id}"), Some(body))
        }
        Change::Patch(id, category, code) => {
            let patch = serde_json::json!([
                {"op": "replace", "path": "/category/0/coding/0/code", "value": category},
                {"op": "replace", "path": "/code/coding/0/code", "value": code},
            ]);
            ("PATCH", format!("Observation/{id}"), Some(patch))
        }
        Change::Delete(id) => ("DELETE", format!("Observation/{id}"), None),
    };
    let mut inbound = Inbound::for_test(method, &format!("/fhir/{target}"));
    if let Some(content) = content {
        let media_type = if method == "PATCH" { "application/json-patch+json" } else { "application/fhir+json" };
        inbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        inbound.body = Bytes::from(content.to_string());
    }
    let request = FhirRequest::parse(inbound, "/fhir").unwrap();
    let mut decision = AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &no_pages());
    loop {
        decision = match decision {
            Decision::Inquire(inquiry) => {
                let evidence: Vec<_> = inquiry.reads().iter().map(evidence).collect();
                AUTHORIZER.resume(inquiry, &evidence)
            }
            Decision::Permit(_) => return true,
            Decision::Deny(_) | Decision::Refuse(_) => return false,
            Decision::Batch(_) => panic!("no batch was sent"),
        }
    }
}

/// Whether the naive one does: every scope by itself.
fn should_be(token: &Token, change: &Change) -> bool {
    let (letter, id, after) = match change {
        Change::Create(facts) => ('c', None, Some(*facts)),
        Change::Update(id, facts) => ('u', Some(*id), Some(*facts)),
        Change::Patch(id, category, code) => {
            let Some(before) = stored(id) else { return false };
            // What is patched is kept as far as it is not named, so it must be readable.
            if !places(token, 'r').iter().any(|place| lies(place, before)) {
                return false;
            }
            ('u', Some(*id), Some(Facts { category, code, ..before }))
        }
        Change::Delete(id) => ('d', Some(*id), None),
    };
    let places = places(token, letter);
    if places.iter().any(|(place, conditions)| place == "*" && conditions.is_empty()) {
        return true;
    }
    // What is not there, and what is another's, is not found; and what is there stays where it is.
    let before = match id {
        None => None,
        Some(id) => match stored(id) {
            None => return false,
            found => found,
        },
    };
    let holds_before =
        |here: &str| before.is_none_or(|before| places.iter().any(|place| place.0 == here && holds(place, before)));
    places.iter().filter(|(place, _)| holds_before(place)).any(|place| {
        after.is_none_or(|after| {
            let patients: Vec<_> = after.subject.into_iter().chain(after.performer).collect();
            let refers = match place.0.as_str() {
                "*" => patients.iter().all(|patient| reads(token, patient)),
                own => patients.iter().all(|patient| format!("Patient/{patient}") == own),
            };
            holds(place, after) && refers
        })
    })
}

/// Where the scopes with this letter reach, each with its conditions.
fn places(token: &Token, letter: char) -> Vec<(String, Vec<String>)> {
    let asked = Asked {
        type_name: "Observation",
        letter,
        id: "",
        is_read: false,
        by_id: false,
        compartment: None,
        system: false,
        history: false,
        query: "",
    };
    // The site's policies: who reads one's own record, or adds to it, does not change it.
    let adds = ["clinician", "patient", "related_person"].iter().any(|role| token.roles.contains(role));
    let writes = token.roles.contains(&"clinician") || matches!(letter, 'c' | 'r') && adds;
    let by_client = token.roles.contains(&"backend") && token.subject == "app";
    let mut places = Vec::new();
    for (level, place) in [
        ("system", by_client.then(|| "*".to_owned())),
        ("user", user(token, &asked).filter(|_| writes)),
        ("patient", launch(token).filter(|_| writes).map(|patient| format!("Patient/{patient}"))),
    ] {
        let Some(place) = place else { continue };
        for conditions in granted(token, level, &asked) {
            places.push((
                place.clone(),
                conditions.split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect(),
            ));
        }
    }
    places
}

/// Whether it may be changed there: it lies in that record.
fn holds(place: &(String, Vec<String>), facts: Facts) -> bool {
    lies(place, Facts { performer: None, ..facts })
}

/// Whether it may be read there: R4 has it in the compartment.
fn lies((place, conditions): &(String, Vec<String>), facts: Facts) -> bool {
    let mut patients = facts.subject.into_iter().chain(facts.performer);
    (place == "*" || patients.any(|patient| *place == format!("Patient/{patient}")))
        && conditions.iter().all(|condition| match condition.split_once('=') {
            Some(("category", value)) => facts.category == value,
            Some(("code", value)) => facts.code == value,
            _ => panic!("{condition}"),
        })
}

/// Whether the token reads this patient by its id.
fn reads(token: &Token, patient: &str) -> bool {
    let line = format!("GET Patient/{patient}");
    match reference::decide(token, &line) {
        Outcome::Within(places) => places.iter().any(|place| *place == "*" || *place == format!("Patient/{patient}")),
        Outcome::Refused => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn the_reference_decider_agrees_about_changes(token in any_writer(), change in any_change()) {
        prop_assert_eq!(is_permitted(&token, &change), should_be(&token, &change), "{:?} {:?}", token, change);
    }

    #[test]
    fn removing_a_scope_never_lets_a_change_happen(token in any_writer(), change in any_change()) {
        if !is_permitted(&token, &change) {
            for fewer in with_one_scope_less(&token) {
                prop_assert!(!is_permitted(&fewer, &change), "{:?} {:?}", fewer, change);
            }
        }
    }
}

// A resource that a scope for the patient reaches stays in reach, whatever a scope of the user has on conditions.
#[test]
fn a_scope_that_suffices_alone_suffices_beside_another() {
    let token = Token::launched("user/Observation.cruds?category=x patient/*.cruds");
    let into_the_other = Facts { subject: Some("P1"), category: "x", code: "y", performer: None };
    assert!(is_permitted(&token, &Change::Update("o3", into_the_other)));
    assert!(is_permitted(&token, &Change::Patch("o3", "x", "y")));
    assert!(is_permitted(&token, &Change::Update("o1", into_the_other)));
    // Out of the patient's record and into that of another, each by another scope: that is no change of one resource.
    let elsewhere = Facts { subject: Some("P2"), ..into_the_other };
    assert!(!is_permitted(&token, &Change::Update("o3", elsewhere)));
}
