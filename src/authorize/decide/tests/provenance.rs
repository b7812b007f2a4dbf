//! What a Provenance of a patient is about, before it is shown.

use serde_json::{Value, json};

use super::bodies::outcome;
use super::*;

/// The Provenance and everything that it can be about: Observations of P1 in their second version.
struct World(Value);

impl World {
    fn about(id: &str, targets: &[String]) -> Self {
        let targets: Vec<Value> = targets.iter().map(|target| json!({"reference": target})).collect();
        Self(json!({"resourceType": "Provenance", "id": id, "target": targets}))
    }

    fn answer(&self, read: &UpstreamRequest) -> Evidence {
        let observation = |id: &str, version: &str| {
            json!({"resourceType": "Observation", "id": id, "meta": {"versionId": version},
                "subject": {"reference": "Patient/P1"}})
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
