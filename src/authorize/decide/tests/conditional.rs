//! Changes that say by a search what they are about: who may ask, and what a match is.

use serde_json::{Value, json};

use super::bodies::{change, change_if, observation, outcome, told};
use super::*;

/// One of those below.
type Ask = fn(&Token) -> Decision;

fn create(token: &Token) -> Decision {
    change_if(token, "POST Observation", &[("if-none-exist", "identifier=x|1")], &labelled())
}

fn update(token: &Token) -> Decision {
    change(token, "PUT Observation?identifier=x|1", &labelled())
}

fn patch(token: &Token) -> Decision {
    let operations = json!([{"op": "replace", "path": "/status", "value": "amended"}]);
    change(token, "PATCH Observation?identifier=x|1", &operations)
}

fn delete(token: &Token) -> Decision {
    change(token, "DELETE Observation?identifier=x|1", &Value::Null)
}

/// Meets the conditions of each scope below.
fn labelled() -> Value {
    observation(&json!({"category": [{"coding": [{"code": "a"}]}]}))
}

fn found(id: &str) -> Value {
    let mut resource = labelled();
    let own = json!({"id": id, "meta": {"versionId": "1"}});
    resource.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    resource
}

fn searchset(entries: &[Value]) -> Value {
    let entries: Vec<Value> = entries.iter().map(|resource| json!({"resource": resource})).collect();
    json!({"resourceType": "Bundle", "type": "searchset", "entry": entries})
}

#[test]
fn conditional_changes_are_for_who_may_change_find_and_read_everything_of_the_type() {
    let asks = |decision: &Decision| matches!(decision, Decision::Inquire(inquiry) if inquiry.reads().len() == 1);
    let all = Token::clinician("user/Observation.cruds");
    for decision in [create(&all), update(&all), patch(&all), delete(&all)] {
        assert!(asks(&decision), "{decision:?}");
    }
    // Nobody looks to see, or the number of matches would tell of what is out of reach.
    for scope in [
        "user/Observation.cud?category=a user/Observation.rs",
        "user/Observation.crud user/Observation.s?category=a",
        "user/Observation.cruds?category=a",
    ] {
        let some = Token::clinician(scope);
        for decision in [create(&some), update(&some), patch(&some), delete(&some)] {
            assert_eq!(outcome(&decision), "interaction_not_served", "{scope}");
        }
    }
    // A create that finds one shows it.
    for scope in ["user/Observation.cs user/Observation.r?category=a", "user/Observation.cs"] {
        assert_eq!(outcome(&create(&Token::clinician(scope))), "interaction_not_served", "{scope}");
    }
    assert!(asks(&update(&Token::clinician("user/Observation.us user/Observation.r?category=a"))));
    let launched = Token::launched("patient/Observation.cud user/Observation.rs");
    for decision in [create(&launched), update(&launched), patch(&launched), delete(&launched)] {
        assert_eq!(outcome(&decision), "interaction_not_served");
    }
}

#[test]
fn what_matches_is_one_resource_of_the_type_in_a_searchset_that_ends() {
    let all = Token::clinician("user/Observation.cruds");
    let (stored, absent) = ("permit", "404");
    for (ask, none) in [(create as Ask, stored), (update, stored), (patch, absent), (delete, absent)] {
        let answer = |searchset: Value| outcome(&told(ask(&all), &[Some(searchset)]));
        let more = |mut searchset: Value| {
            let link = json!([{"relation": "self", "url": "x"}, {"relation": "next", "url": "x"}]);
            searchset.as_object_mut().unwrap().insert("link".to_owned(), link);
            searchset
        };
        let of_type = |name: &str, kind: &str| {
            let mut searchset = searchset(&[found("o1")]);
            let changed = json!({"resourceType": name, "type": kind});
            searchset.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
            searchset
        };
        assert_eq!(answer(searchset(&[])), none);
        assert_eq!(answer(searchset(&[found("o1")])), "permit");
        assert_eq!(answer(searchset(&[found("o1"), found("o2")])), "412");
        assert_eq!(answer(more(searchset(&[found("o1")]))), "412");
        // Whether there is one stands on the next page.
        assert_eq!(answer(more(searchset(&[]))), "502");
        for (name, kind) in [("Bundle", "collection"), ("Bundle", "history"), ("Parameters", "searchset")] {
            assert_eq!(answer(of_type(name, kind)), "502", "{name} {kind}");
        }
        let other = json!({"resourceType": "Condition", "id": "c1", "meta": {"versionId": "1"}});
        assert_eq!(answer(searchset(&[other])), "502");
        // What is beside a match is none.
        let entry = |id: &str, mode: &str| json!({"resource": found(id), "search": {"mode": mode}});
        let entries = [entry("o1", "include"), entry("o2", "match")];
        let beside = json!({"resourceType": "Bundle", "type": "searchset", "entry": entries});
        assert_eq!(answer(beside), "permit");
    }
}

#[test]
fn what_matches_nothing_comes_into_being_once_where_it_may() {
    let put = |token: &Token, fields: &[(&'static str, &str)], body: &Value| {
        told(change_if(token, "PUT Observation?identifier=x|1", fields, body), &[Some(searchset(&[]))])
    };
    let all = Token::clinician("user/Observation.cruds");
    let Decision::Permit(permit) = put(&all, &[], &labelled()) else { panic!("it may be created") };
    assert!(permit.obligations.changed.is_some_and(|changed| changed.conditional), "the upstream tells which it is");
    let UpstreamRequest::Write(write) = permit.upstream else { panic!("a write") };
    let nothing_else = Some(vec![("identifier".to_owned(), "x|1".to_owned())]);
    assert_eq!((write.verb, write.id, write.if_none_exist), (crate::authorize::Verb::Create, None, nothing_else));
    let Decision::Permit(plain) = change(&all, "POST Observation", &labelled()) else { panic!("it may be created") };
    assert!(plain.obligations.changed.is_some_and(|changed| !changed.conditional));
    // An update of a version that is nowhere makes none.
    assert_eq!(outcome(&put(&all, &[("if-match", "W/\"1\"")], &labelled())), "404");
    assert_eq!(outcome(&put(&Token::clinician("user/Observation.us"), &[], &labelled())), "404");
    // Under which id it would come into being nobody has decided.
    assert_eq!(outcome(&put(&all, &[], &found("o1"))), "400");
}

#[test]
fn a_condition_that_the_upstream_does_not_know_is_the_clients_mistake() {
    let all = Token::clinician("user/Observation.cruds");
    for decision in [create(&all), update(&all), patch(&all), delete(&all)] {
        let Decision::Inquire(inquiry) = decision else { panic!("it depends") };
        assert_eq!(outcome(&AUTHORIZER.resume(inquiry, &[Evidence::refused()])), "400");
    }
}

#[test]
fn what_matched_is_changed_by_its_id_in_its_version() {
    let all = Token::clinician("user/Observation.cruds");
    let versioned = |version: Value| {
        let mut one = found("o1");
        one.as_object_mut().unwrap().insert("meta".to_owned(), version);
        searchset(&[one])
    };
    for ask in [update, patch, delete] {
        let Decision::Permit(permit) = told(ask(&all), &[Some(versioned(json!({"versionId": "7"})))]) else {
            panic!("one matches")
        };
        let UpstreamRequest::Write(write) = permit.upstream else { panic!("a write") };
        assert_eq!(write.id, Some(id("o1")));
        assert_eq!(write.if_match.map(|tag| tag.to_string()), Some("W/\"7\"".to_owned()));
        assert_eq!(outcome(&told(ask(&all), &[Some(versioned(json!({})))])), "version_unknown");
    }
    let named = |given: &str| {
        let decision = change(&all, "PUT Observation?identifier=x|1", &found(given));
        outcome(&told(decision, &[Some(searchset(&[found("o1")]))]))
    };
    assert_eq!(named("o1"), "permit");
    assert_eq!(named("o2"), "400");
}
