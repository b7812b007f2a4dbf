//! What of an answer is released: the permit is a real one, the answer made up.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

mod conditional;

use serde_json::{Value, json};

use super::given::{GATEWAY, NoPages, UPSTREAM, bases, filter, principal};
use super::*;
use crate::authenticate::Authenticated;
use crate::authorize::{Authorizer, Decision, Permit};
use crate::canonicalise::FhirRequest;
use crate::listen::Inbound;

/// The permit for a read; what must be read first is as the evidence says, one piece a round.
fn permit_with(scope: &str, target: &str, headers: &[(&'static str, &str)], evidence: &[Value]) -> Permit {
    let authorizer = Authorizer::new(None, bases(), 50, Vec::new()).unwrap();
    let mut inbound = Inbound::for_test("GET", &format!("/fhir/{target}"));
    for (name, value) in headers {
        inbound.headers.insert(*name, value.parse().unwrap());
    }
    let request = FhirRequest::parse(inbound, "/fhir").unwrap();
    let mut decision = authorizer.decide(Authenticated::for_test(request, principal(scope)), &NoPages);
    for found in evidence {
        let Decision::Inquire(inquiry) = decision else { panic!("{target}: {decision:?}") };
        decision = authorizer.resume(inquiry, &[Evidence::of(found.to_string().into(), None)]);
    }
    match decision {
        Decision::Permit(permit) => permit,
        other => panic!("{target}: {other:?}"),
    }
}

fn permit(scope: &str, target: &str) -> Permit {
    permit_with(scope, target, &[], &[])
}

fn resource(value: &Value) -> Answered {
    Answered::Resource { body: value.to_string().into(), etag: Some("W/\"1\"".to_owned()), last_modified: None }
}

fn release(permit: Permit, answer: Answered) -> Result<Releasable, u16> {
    filter().release(Unfiltered::for_test(permit, answer, None)).map_err(|refusal| refusal.status().as_u16())
}

fn body(released: &Releasable) -> Value {
    serde_json::from_slice(released.body()).unwrap()
}

fn observation(id: &str, patient: &str, version: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "meta": {"versionId": version}, "subject": {"reference": format!("Patient/{patient}")}})
}

#[test]
fn a_version_is_released_while_it_and_the_one_that_is_current_may_be_seen() {
    let asked = |version: &Value, current: Option<Evidence>| {
        let permit = permit("patient/*.rs", "Observation/o1/_history/1");
        let mut unfiltered = Unfiltered::for_test(permit, resource(version), None);
        unfiltered.current = current;
        filter().release(unfiltered).map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
    };
    let now = |value: Value| Some(Evidence::of(value.to_string().into(), None));
    let own = observation("o1", "P1", "1");
    assert_eq!(asked(&own, now(observation("o1", "P1", "2"))), 200);
    assert_eq!(asked(&own, None), 404);
    assert_eq!(asked(&own, Some(Evidence::absent())), 404);
    assert_eq!(asked(&own, now(observation("o1", "P2", "2"))), 404);
    assert_eq!(asked(&own, now(observation("o2", "P1", "2"))), 502);
    assert_eq!(asked(&observation("o1", "P2", "1"), now(observation("o1", "P1", "2"))), 404);
    // Another version than was asked for; one that does not say which it is.
    assert_eq!(asked(&observation("o1", "P1", "3"), now(observation("o1", "P1", "3"))), 502);
    let unnamed = json!({"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/P1"}});
    assert_eq!(asked(&unnamed, now(observation("o1", "P1", "2"))), 200);
}

#[test]
fn what_comes_is_of_the_type_and_id_that_were_asked_for() {
    let condition = json!({"resourceType": "Condition", "id": "o1", "subject": {"reference": "Patient/P1"}});
    for scope in ["patient/*.rs", "user/*.rs"] {
        let read = |value: &Value| release(permit(scope, "Observation/o1"), resource(value)).err();
        assert_eq!(read(&observation("o1", "P1", "1")), None);
        assert_eq!(read(&condition), Some(502), "{scope}");
        assert_eq!(read(&observation("O1", "P1", "1")), Some(502), "{scope}");
        assert_eq!(read(&json!({"resourceType": "Observation", "subject": {"reference": "Patient/P1"}})), Some(502));
    }
    let hidden = release(permit("patient/*.rs", "Observation/o1"), resource(&observation("O1", "P2", "1")));
    assert_eq!(hidden.err(), Some(404));
}

#[test]
fn what_is_unchanged_is_answered_by_its_tag_alone() {
    let binary = json!({"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": "aGk="});
    let read = |target: &str, tag: &str, of: &Value| {
        let permit = permit_with("user/*.rs", target, &[("if-none-match", tag)], &[]);
        release(permit, resource(of)).unwrap().into_response()
    };
    for (target, of) in [("Binary/b1", &binary), ("Observation/o1", &observation("o1", "P1", "1"))] {
        for tag in ["W/\"1\"", "\"1\"", "\"7\", W/\"1\"", "*"] {
            let response = read(target, tag, of);
            let mut names: Vec<&str> = response.headers().keys().map(http::HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!((response.status().as_u16(), names), (304, vec!["cache-control", "etag"]), "{target} {tag}");
        }
        assert_eq!(read(target, "W/\"2\"", of).status().as_u16(), 200, "{target}");
    }
    // A part of a resource has no tag that anybody could send back.
    let part = read("Observation/o1?_elements=code", "W/\"1\"", &observation("o1", "P1", "1"));
    assert_eq!((part.status().as_u16(), part.headers().get("etag")), (200, None));
}

#[test]
fn a_history_tells_no_number_of_what_is_not_all_within_reach() {
    let own = observation("o1", "P1", "1");
    let history = json!({"resourceType": "Bundle", "type": "history", "total": 5, "entry": [{"resource": own}]});
    let restricted = permit_with("patient/*.rs", "Observation/o1/_history", &[], &[own]);
    assert_eq!(body(&release(restricted, resource(&history)).unwrap()).get("total"), None);
    let all = permit("user/*.rs", "Observation/o1/_history");
    assert_eq!(body(&release(all, resource(&history)).unwrap()).get("total"), Some(&json!(5)));
}

#[test]
fn a_deletion_is_one_that_says_so_and_names_one_resource() {
    let told = |entry: Value| {
        let history = json!({"resourceType": "Bundle", "type": "history", "entry": [entry]});
        let released = release(permit("user/*.rs", "Observation/o1/_history"), resource(&history)).unwrap();
        body(&released).pointer("/entry/0").cloned()
    };
    let gone = |method: &str, url: Value, full_url: Value| {
        told(json!({"fullUrl": full_url, "request": {"method": method, "url": url}}))
    };
    let expected = json!({"fullUrl": format!("{GATEWAY}/Observation/o1"), "request": {"method": "DELETE", "url": "Observation/o1"}});
    let there = format!("{UPSTREAM}/Observation/o1");
    for url in [json!("Observation/o1"), json!(there), json!("/Observation/o1")] {
        assert_eq!(gone("DELETE", url.clone(), json!(there)), Some(expected.clone()), "{url}");
    }
    assert_eq!(gone("DELETE", Value::Null, json!(there)), Some(expected));
    for (method, url, full_url) in [
        ("PUT", json!("Observation/o1"), json!(there)),
        ("delete", json!("Observation/o1"), json!(there)),
        ("DELETE", json!("Observation/o1"), json!(format!("{UPSTREAM}/Observation/o2"))),
        ("DELETE", json!("Observation/o1"), json!(format!("{UPSTREAM}/Condition/o1"))),
        ("DELETE", json!("Observation/o1"), json!("urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55")),
        ("DELETE", json!("Observation?identifier=x"), json!(there)),
        ("DELETE", Value::Null, Value::Null),
    ] {
        assert_eq!(gone(method, url.clone(), full_url.clone()), None, "{method} {url} {full_url}");
    }
}

#[test]
fn a_binary_is_released_in_the_security_context_that_was_judged_and_tells_whose_it_is() {
    let binary = |context: Value| json!({"resourceType": "Binary", "id": "b1", "securityContext": context});
    let judged = binary(json!({"reference": "Observation/o1"}));
    let read = |released: &Value| {
        let evidence = [judged.clone(), observation("o1", "P1", "1")];
        let permit = permit_with("patient/*.rs", "Binary/b1", &[("accept", "application/fhir+json")], &evidence);
        release(permit, resource(released))
    };
    let told = read(&judged).unwrap().told;
    assert_eq!(told.patients, BTreeSet::from(["P1".to_owned()]));
    assert_eq!(told.resources, ["Binary/b1"]);
    for other in [
        binary(json!({"reference": "Observation/o2"})),
        binary(json!({"reference": "Patient/P1"})),
        binary(json!({"identifier": {"value": "o1"}})),
        json!({"resourceType": "Binary", "id": "b1"}),
        json!({"resourceType": "Binary", "id": "b2", "securityContext": {"reference": "Observation/o1"}}),
    ] {
        assert_eq!(read(&other).err(), Some(404), "{other}");
    }
}

#[test]
fn what_comes_along_with_several_parts_of_a_search_comes_once() {
    let scopes = "patient/Observation.rs?category=a patient/Observation.rs?status=final patient/Encounter.rs";
    let permit = permit(scopes, "Observation?_include=Observation:encounter:Encounter");
    let found = |id: &str, more: Value| {
        let mut match_ = observation(id, "P1", "1");
        match_.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        match_.as_object_mut().unwrap().insert("encounter".to_owned(), json!({"reference": "Encounter/e1"}));
        let encounter = json!({"resourceType": "Encounter", "id": "e1", "subject": {"reference": "Patient/P1"}});
        resource(&json!({"resourceType": "Bundle", "type": "searchset", "entry": [
            {"resource": match_, "search": {"mode": "match"}}, {"resource": encounter, "search": {"mode": "include"}},
        ]}))
    };
    let category = json!({"category": [{"coding": [{"code": "a"}]}]});
    let answer = Answered::Each(vec![(0, found("o1", category)), (1, found("o2", json!({"status": "final"})))]);
    let released = body(&release(permit, answer).unwrap());
    let ids: Vec<&Value> = released
        .pointer("/entry")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry.pointer("/resource/id"))
        .collect();
    assert_eq!(ids, ["o1", "e1", "o2"]);
}

/// A searchset of these, each with its mode.
fn searchset(entries: &[(&Value, &str)], more: &Value) -> Value {
    let entries: Vec<Value> =
        entries.iter().map(|(resource, mode)| json!({"resource": resource, "search": {"mode": mode}})).collect();
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "entry": entries});
    bundle.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    bundle
}

#[test]
fn elements_are_chosen_of_matches_and_a_summary_is_of_all() {
    let mut one = observation("o1", "P1", "1");
    one.as_object_mut().unwrap().extend([("encounter".to_owned(), json!({"reference": "Encounter/e1"}))]);
    let encounter =
        json!({"resourceType": "Encounter", "id": "e1", "subject": {"reference": "Patient/P1"}, "text": {"div": "x"}});
    let answer = searchset(&[(&one, "match"), (&encounter, "include")], &json!({}));
    for (query, whole) in [("_elements=code", true), ("_summary=data", false)] {
        let permit = permit("patient/*.rs", &format!("Observation?_include=Observation:encounter&{query}"));
        let released = body(&release(permit, resource(&answer)).unwrap());
        let included = released.pointer("/entry/1/resource").unwrap();
        assert_eq!(included.get("text").is_some(), whole, "{query}");
        let matched = released.pointer("/entry/0/resource").unwrap();
        assert_eq!(matched.get("encounter").is_none(), whole, "{query}");
        assert_eq!(matched.pointer("/meta/tag/0/code"), Some(&json!("SUBSETTED")), "{query}");
    }
}

#[test]
fn what_the_gateway_applies_itself_goes_from_page_to_page() {
    let next = json!({"link": [{"relation": "next", "url": format!("{UPSTREAM}?_getpages=1")}]});
    let answer = searchset(&[(&observation("o1", "P1", "1"), "match")], &next);
    for (query, carried) in
        [("code=x", ""), ("_elements=code&_count=5", "&_elements=code"), ("_summary=text", "&_summary=text")]
    {
        let released = release(permit("patient/*.rs", &format!("Observation?{query}")), resource(&answer)).unwrap();
        let url = body(&released).pointer("/link/1/url").unwrap().as_str().unwrap().to_owned();
        let sealed = url.strip_prefix(&format!("{GATEWAY}/Observation?_page=")).unwrap();
        assert_eq!(sealed.find('&').map_or("", |at| sealed.get(at..).unwrap()), carried, "{url}");
        assert!(!url.contains("_getpages"), "{url}");
    }
}

#[test]
fn provenance_that_comes_along_is_about_nothing_but_what_leaves() {
    let provenance = |id: &str, targets: &[&str]| {
        let targets: Vec<Value> = targets.iter().map(|target| json!({"reference": target})).collect();
        json!({"resourceType": "Provenance", "id": id, "target": targets})
    };
    let (own, hidden) = (observation("o1", "P1", "1"), observation("o2", "P2", "1"));
    let good = provenance("p1", &["Observation/o1"]);
    let bad = provenance("p2", &["Observation/o1", "Observation/o2"]);
    let answer = searchset(&[(&own, "match"), (&hidden, "include"), (&good, "include"), (&bad, "include")], &json!({}));
    let permit = permit("patient/*.rs", "Observation?_revinclude=Provenance:target");
    let released = body(&release(permit, resource(&answer)).unwrap());
    let entries = released.pointer("/entry").unwrap().as_array().unwrap();
    let ids: Vec<&Value> = entries.iter().filter_map(|entry| entry.pointer("/resource/id")).collect();
    assert_eq!(ids, ["o1", "p1"]);
}

#[test]
fn each_address_of_a_binary_is_a_link_and_what_provenance_names_is_none() {
    let at = |resource_type: &str, url: &str| {
        json!({"resourceType": resource_type, "id": "o1", "subject": {"reference": "Patient/P1"},
            "target": [{"reference": "Observation/o1"}], "extension": [{"url": "http://example.org/a", "valueUrl": url},
            {"url": "http://example.org/b", "valueUri": url}, {"url": "http://example.org/c", "valueAttachment": {"url": url}}]})
    };
    let answer = searchset(
        &[
            (&at("Observation", &format!("{UPSTREAM}/Binary/b1")), "match"),
            (&at("Provenance", &format!("{UPSTREAM}/Binary/b1")), "include"),
        ],
        &json!({}),
    );
    let permit = permit("patient/*.rs", "Observation?_revinclude=Provenance:target");
    let released = body(&release(permit, resource(&answer)).unwrap());
    let linked = |entry: usize| {
        let places = ["0/valueUrl", "1/valueUri", "2/valueAttachment/url"];
        places.map(|place| {
            let url =
                released.pointer(&format!("/entry/{entry}/resource/extension/{place}")).unwrap().as_str().unwrap();
            assert!(url.starts_with(&format!("{GATEWAY}/Binary/b1")), "{url}");
            url.contains("?gw=")
        })
    };
    assert_eq!(linked(0), [true; 3]);
    assert_eq!(linked(1), [false; 3], "Provenance gives nobody a Binary");
}

#[test]
fn what_was_written_is_shown_when_it_is_that_resource_and_may_be_read() {
    let permit = || {
        let authorizer = Authorizer::new(None, bases(), 50, Vec::new()).unwrap();
        let mut inbound = Inbound::for_test("PUT", "/fhir/Observation/o1");
        let mut body = observation("o1", "P1", "1");
        body.as_object_mut().unwrap().insert("status".to_owned(), json!("final"));
        inbound.body = body.to_string().into();
        inbound.headers.insert("content-type", "application/fhir+json".parse().unwrap());
        let request = FhirRequest::parse(inbound, "/fhir").unwrap();
        let who = Authenticated::for_test(request, principal("user/Observation.cud user/Observation.r?status=final"));
        let Decision::Permit(permit) = authorizer.decide(who, &NoPages) else { panic!("a permit") };
        permit
    };
    let answered = |body: &Value, location: Option<&str>| {
        let written = crate::forward::Written {
            status: StatusCode::OK,
            location: location.map(str::to_owned),
            etag: Some("W/\"2\"".to_owned()),
            last_modified: Some("yesterday".to_owned()),
            body: body.to_string().into(),
        };
        release(permit(), Answered::Written(written)).map(Releasable::into_response)
    };
    let final_ = |id: &str| json!({"resourceType": "Observation", "id": id, "status": "final"});
    let header = |response: &Response<Body>, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let shown = answered(&final_("o1"), None).unwrap();
    assert_eq!(header(&shown, "content-type").as_deref(), Some("application/fhir+json"));
    assert_eq!(header(&shown, "content-location"), Some(format!("{GATEWAY}/Observation/o1/_history/2")));
    assert_eq!((header(&shown, "location"), header(&shown, "last-modified")), (None, None));
    for other in [
        final_("o2"),
        json!({"resourceType": "Observation", "id": "o1", "status": "draft"}),
        json!({"resourceType": "Patient", "id": "o1"}),
    ] {
        let silent = answered(&other, None).unwrap();
        assert_eq!(
            (header(&silent, "content-type"), header(&silent, "etag").as_deref()),
            (None, Some("W/\"2\"")),
            "{other}"
        );
    }
    for location in ["Observation/o2/_history/2", "Patient/o1", "https://elsewhere.example/fhir/Observation/o1", "o1"] {
        assert_eq!(answered(&final_("o1"), Some(location)).err(), Some(502), "{location}");
    }
}
