#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use super::*;
use crate::json::{Json, Limits};

fn allowance(within: Within, conditions: &[(&str, &str)]) -> Allowance {
    let conditions = conditions
        .iter()
        .map(|(name, value)| Condition::parse(ResourceType::OBSERVATION, name, value).unwrap())
        .collect();
    Allowance { within, conditions, policies: Arc::default() }
}

fn patient(id: &str) -> Within {
    Within::Compartment(Id::parse(id).unwrap())
}

fn confines(allowances: Vec<Allowance>) -> Vec<String> {
    let print = |confines: &Confines| {
        let conditions: Vec<_> = confines.conditions.iter().map(ToString::to_string).collect();
        format!("{} {}", confines.patient.as_ref().map_or("*", |id| id.as_str()), conditions.join("&"))
    };
    Reach::new(ResourceType::OBSERVATION, allowances).unwrap().confines().iter().map(print).collect()
}

#[test]
fn a_reach_is_searched_in_as_few_pieces_as_say_all_of_it() {
    let whole = allowance(patient("P1"), &[]);
    let a = allowance(patient("P1"), &[("category", "a")]);
    let b = allowance(patient("P1"), &[("category", "b")]);
    let other = allowance(patient("P1"), &[("code", "c")]);
    let both = allowance(patient("P1"), &[("category", "a"), ("code", "c")]);
    assert_eq!(confines(vec![a.clone(), b.clone()]), ["P1 category=a,b"]);
    assert_eq!(confines(vec![a.clone(), whole.clone(), b.clone()]), ["P1 "]);
    assert_eq!(confines(vec![both.clone(), a.clone()]), ["P1 category=a"]);
    assert_eq!(confines(vec![a.clone(), other.clone(), b.clone()]), ["P1 category=a,b", "P1 code=c"]);
    assert_eq!(confines(vec![both, b]), ["P1 category=a&code=c", "P1 category=b"]);
    let of_another = allowance(patient("P2"), &[("category", "b")]);
    assert_eq!(confines(vec![a.clone(), of_another]), ["P1 category=a", "P2 category=b"]);
    assert_eq!(confines(vec![whole, allowance(patient("P2"), &[])]), ["P1 ", "P2 "]);
    assert_eq!(confines(vec![allowance(Within::Everything, &[]), a]), ["* "]);
    assert_eq!(confines(vec![allowance(Within::ReferenceType, &[])]), [""; 0]);
}

#[test]
fn a_reach_is_searched_in_each_way_that_the_site_chose_unless_these_are_too_many() {
    let reach = |search_by, allowances: Vec<Allowance>| {
        Reach::new(ResourceType::OBSERVATION, allowances).unwrap().searched_by(search_by)
    };
    let ways = |confines: Vec<Confines>| -> Vec<String> {
        let print = |confines: &Confines| {
            let patient = confines.patient.as_ref().map_or("*", |id| id.as_str());
            format!("{patient} {}", confines.way.map_or("-", Way::name))
        };
        confines.iter().map(print).collect()
    };
    let one = || vec![allowance(patient("P1"), &[])];
    let lone = || vec![allowance(Within::Everything, &[("category", "a")]), allowance(patient("P1"), &[("code", "c")])];
    let three = || ["a", "b", "c"].map(|id| allowance(patient(id), &[])).to_vec();
    for (search_by, allowances, confines, sorted) in [
        (SearchBy::Primary, one(), &["P1 subject"][..], &["P1 subject"][..]),
        (SearchBy::Compartment, one(), &["P1 compartment"], &["P1 compartment"]),
        (SearchBy::EveryParameter, one(), &["P1 subject", "P1 performer"], &["P1 subject"]),
        (SearchBy::EveryParameter, lone(), &["* -", "P1 subject", "P1 performer"], &["* -", "P1 subject"]),
        (
            SearchBy::EveryParameter,
            three(),
            &["a subject", "b subject", "c subject"],
            &["a subject", "b subject", "c subject"],
        ),
    ] {
        let reach = reach(search_by, allowances);
        assert_eq!(ways(reach.confines()), confines, "{search_by:?} {reach}");
        assert_eq!(ways(reach.confines_sorted()), sorted, "{search_by:?} {reach}");
    }
    // What each of them relies on.
    let relied =
        |search_by, allowances| -> Vec<&str> { reach(search_by, allowances).relies_on().map(Way::name).collect() };
    assert_eq!(relied(SearchBy::Primary, lone()), ["category", "subject", "code"]);
    assert_eq!(relied(SearchBy::EveryParameter, one()), ["subject", "performer"]);
    assert_eq!(relied(SearchBy::Compartment, one()), ["compartment"]);
    let unsearched = vec![allowance(Within::ReferenceType, &[]), allowance(Within::Own(Id::parse("x").unwrap()), &[])];
    assert_eq!(relied(SearchBy::Primary, unsearched), [""; 0]);
    assert_eq!(relied(SearchBy::Primary, vec![allowance(Within::Everything, &[])]), [""; 0]);
}

#[test]
fn only_everything_without_conditions_is_unrestricted() {
    for (restricted, within, conditions) in [
        (false, Within::Everything, &[][..]),
        (true, Within::Everything, &[("category", "a")]),
        (true, Within::ReferenceType, &[]),
        (true, Within::Own(Id::parse("x").unwrap()), &[]),
        (true, patient("P1"), &[]),
    ] {
        let reach = Reach::new(ResourceType::OBSERVATION, vec![allowance(within, conditions)]).unwrap();
        assert_eq!(!reach.is_unrestricted(), restricted, "{reach}");
    }
    assert_eq!(Reach::new(ResourceType::OBSERVATION, Vec::new()), None);
}

#[test]
fn continuations_of_several_searches_are_told_from_those_of_one() {
    let resource_type = ResourceType::OBSERVATION;
    let text = Part::write_all(&[(0, "?page=1:2".to_owned()), (2, "/Observation?x=y".to_owned())]);
    let parts = Part::read_all(resource_type, &text).unwrap();
    assert_eq!(parts.iter().map(|part| part.place).collect::<Vec<_>>(), [0, 2]);
    let path_and_query = "?page=1:2".to_owned();
    assert_eq!(parts.first().unwrap().request, UpstreamRequest::Page { resource_type, path_and_query });
    for one in ["?page=1:2", "/Observation?x=y", "", "?a"] {
        assert_eq!(Part::read_all(resource_type, one), None, "{one}");
    }
}

#[test]
fn a_reach_covers_another_when_each_of_its_places_is_in_one_under_no_further_condition() {
    let reach = |allowances: &[Allowance]| Reach::new(ResourceType::OBSERVATION, allowances.to_vec()).unwrap();
    let all = || allowance(Within::Everything, &[]);
    let own = |id: &str| allowance(patient(id), &[]);
    let laboratory = || allowance(patient("P1"), &[("category", "a")]);
    let both = || allowance(patient("P1"), &[("category", "a"), ("code", "c")]);
    for (ours, theirs, covered) in [
        (&[all()][..], &[own("P1"), own("P2")][..], true),
        (&[own("P1")], &[own("P1")], true),
        (&[own("P1")], &[laboratory(), both()], true),
        (&[laboratory()], &[both()], true),
        (&[own("P1"), own("P2")], &[own("P2")], true),
        (&[own("P1")], &[all()], false),
        (&[own("P1")], &[own("P2")], false),
        (&[own("P1")], &[own("P1"), own("P2")], false),
        (&[laboratory()], &[own("P1")], false),
        (&[both()], &[laboratory()], false),
        (&[allowance(Within::Everything, &[("category", "a")])], &[own("P1")], false),
        (&[allowance(Within::ReferenceType, &[])], &[own("P1")], false),
    ] {
        assert_eq!(reach(ours).covers(&reach(theirs)), covered, "{} {}", reach(ours), reach(theirs));
    }
    let of_patients = Reach::new(ResourceType::PATIENT, vec![all()]).unwrap();
    assert!(!of_patients.covers(&reach(&[own("P1")])));
}

#[test]
fn the_own_entry_is_the_one_resource_of_its_id() {
    let own = allowance(Within::Own(Id::parse("d1").unwrap()), &[]);
    let reach = Reach::new(ResourceType::PRACTITIONER, vec![own]).unwrap();
    for (resource, admitted) in [
        (r#"{"resourceType":"Practitioner","id":"d1"}"#, true),
        (r#"{"resourceType":"Practitioner","id":"D1"}"#, false),
        (r#"{"resourceType":"Practitioner","id":"d2"}"#, false),
        (r#"{"resourceType":"Practitioner"}"#, false),
        (r#"{"resourceType":"Patient","id":"d1"}"#, false),
    ] {
        let json = Json::parse(resource.as_bytes().to_vec(), Limits::default()).unwrap();
        let facts = Facts::of(json.root()).unwrap();
        assert_eq!(reach.admits(&facts, &Bases::default()).is_some(), admitted, "{resource}");
    }
}
