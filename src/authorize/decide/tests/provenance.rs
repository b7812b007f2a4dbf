//! What a Provenance of a patient is about, before it is shown.

use serde_json::{Value, json};

use super::bodies::outcome;
use super::*;

/// The Provenance and everything that it can be about: Observations in their second version, of P2 where the id starts with `x`,
/// of P1 otherwise.
struct World(Value);

impl World {
    fn about(id: &str, targets: &[String]) -> Self {
        let targets: Vec<Value> = targets.iter().map(|target| json!({"reference": target})).collect();
        Self(json!({"resourceType": "Provenance", "id": id, "target": targets}))
    }

    fn answer(&self, read: &UpstreamRequest) -> Evidence {
        let observation = |id: &str, version: &str| {
            let patient = if id.starts_with('x') { "Patient/P2" } else { "Patient/P1" };
            json!({"resourceType": "Observation", "id": id, "meta": {"versionId": version},
                "subject": {"reference": patient}})
        };
        let searchset = |found: Vec<Value>| {
            let entries: Vec<Value> = found.iter().map(|one| json!({"resource": one})).collect();
            json!({"resourceType": "Bundle", "type": "searchset", "entry": entries})
        };
        let found = match read {
            UpstreamRequest::Read { resource_type: ResourceType::PROVENANCE, .. } => self.0.clone(),
            UpstreamRequest::Search { resource_type: ResourceType::PROVENANCE, .. } => searchset(vec![self.0.clone()]),
            UpstreamRequest::Read { id, .. } => observation(id.as_str(), "2"),
            UpstreamRequest::Vread { id, version, .. } => observation(id.as_str(), version.as_str()),
            UpstreamRequest::Search { parameters, .. } => {
                let ids = &parameters.iter().find(|(name, _)| name == "_id").unwrap().1;
                searchset(ids.split(',').map(|id| observation(id, "2")).collect())
            }
            other => panic!("{other:?}"),
        };
        Evidence::of(found.to_string().into(), None)
    }

    /// What comes of it, and the most that was read at once.
    fn decide(&self, target: &str) -> (String, usize) {
        let mut decision = decide(&Token::launched("patient/*.rs"), target);
        let mut most = 0;
        while let Decision::Inquire(inquiry) = decision {
            most = most.max(inquiry.reads().len());
            let evidence: Vec<Evidence> = inquiry.reads().iter().map(|read| self.answer(read)).collect();
            decision = AUTHORIZER.resume(inquiry, &evidence);
        }
        (outcome(&decision), most)
    }
}

#[test]
fn the_provenance_that_is_judged_is_the_one_that_was_asked_for() {
    let own = ["Patient/P1".to_owned()];
    assert_eq!(World::about("p1", &own).decide("Provenance/p1").0, "permit");
    assert_eq!(World::about("p2", &own).decide("Provenance/p1").0, "502");
    assert_eq!(World::about("p1", &["Patient/P2".to_owned()]).decide("Provenance/p1").0, "404");
}

#[test]
fn earlier_versions_that_are_looked_up_are_bounded() {
    let about = |count: usize| {
        let targets = (0..count).map(|number| format!("Observation/o{number}/_history/1"));
        World::about("p1", &targets.collect::<Vec<_>>())
    };
    for (target, refused) in [("Provenance/p1", "404"), ("Provenance?target=Observation/o0", "400")] {
        assert_eq!(about(100).decide(target), ("permit".to_owned(), 100), "{target}");
        let (outcome, most) = about(101).decide(target);
        assert_eq!(outcome, refused, "{target}");
        assert!(most < 100, "{target}: {most} reads at once");
    }
}

#[test]
fn no_version_is_looked_up_for_what_is_about_something_hidden() {
    let token = Token::launched("patient/*.rs");
    let versions = |targets: &[&str]| {
        let world = World::about("p1", &targets.iter().map(|target| (*target).to_owned()).collect::<Vec<_>>());
        let mut decision = decide(&token, "Provenance?target=Observation/o0");
        let mut versions = 0;
        while let Decision::Inquire(inquiry) = decision {
            let read = inquiry.reads().iter();
            versions += read.filter(|read| matches!(read, UpstreamRequest::Vread { .. })).count();
            let evidence: Vec<Evidence> = inquiry.reads().iter().map(|read| world.answer(read)).collect();
            decision = AUTHORIZER.resume(inquiry, &evidence);
        }
        versions
    };
    assert_eq!(versions(&["Observation/o0/_history/1", "Observation/o1/_history/1"]), 2);
    assert_eq!(versions(&["Observation/o0/_history/1", "Observation/x1"]), 0);
    assert_eq!(versions(&["Observation/o0", "Observation/x1/_history/1"]), 0);
}

#[test]
fn a_search_for_provenance_that_the_upstream_does_not_know_is_the_clients_mistake() {
    let token = Token::launched("patient/*.rs");
    let Decision::Inquire(named) = decide(&token, "Provenance?target=Observation/o0") else { panic!("it depends") };
    let evidence: Vec<Evidence> = named.reads().iter().map(|read| World(Value::Null).answer(read)).collect();
    let Decision::Inquire(sought) = AUTHORIZER.resume(named, &evidence) else { panic!("it depends") };
    assert_eq!(outcome(&AUTHORIZER.resume(sought, &[Evidence::refused()])), "400");
}

#[test]
fn a_search_that_names_no_provenance_is_confined_to_the_patient() {
    let token = Token::launched("patient/*.rs");
    for query in ["target:missing=false", "recorded=ge2020"] {
        let Decision::Inquire(inquiry) = decide(&token, &format!("Provenance?{query}")) else { panic!("it depends") };
        let reads = format!("{:?}", inquiry.reads());
        assert!(reads.contains("Patient/P1"), "{query}: {reads}");
    }
}
