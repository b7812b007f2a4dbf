//! What stands in a transaction, as far as token and request tell.

use super::*;
use crate::authorize::Prospect;

/// A transaction of these entries.
fn ask(authorizer: &Authorizer, token: &Token, entries: &[&str]) -> Decision {
    let mut inbound = Inbound::for_test("POST", "/fhir");
    let entries = entries.join(",");
    inbound.body = format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{entries}]}}"#).into();
    inbound.headers.insert("content-type", "application/fhir+json".parse().unwrap());
    let request = FhirRequest::parse(inbound, "/fhir").unwrap();
    authorizer.decide(Authenticated::for_test(request, token.principal()), &no_pages())
}

fn get(url: &str) -> String {
    format!(r#"{{"request":{{"method":"GET","url":"{url}"}}}}"#)
}

fn denied(token: &Token, entries: &[&str]) -> (&'static str, String) {
    match ask(&AUTHORIZER, token, entries) {
        Decision::Deny(denial) => (denial.reason.id(), denial.diagnostics),
        other => panic!("{entries:?}: {other:?}"),
    }
}

#[test]
fn a_transaction_reads_and_searches_what_is_one_request() {
    let all = Token::clinician("user/*.cruds");
    let some = Token::clinician("user/Binary.cruds user/Observation.cruds user/Patient.cruds");
    let one = Token::launched("patient/*.cruds");
    let good = get("Observation/o1");
    for (token, url) in [
        (&all, "?_type=Observation,Patient"),
        (&all, "Patient/P1/*"),
        (&all, "Binary/b1?gw=abc"),
        (&all, "Observation/$lastn?patient=P1"),
        (&all, "Observation/o1/_history/1"),
        (&all, "Patient/P1/Observation"),
        (&some, "Binary/b1"),
        (&one, "Provenance/p1"),
        (&one, "Provenance?target=Observation/o1"),
        (&one, "Observation/o1/_history/1"),
    ] {
        let (reason, diagnostics) = denied(token, &[&good, &get(url)]);
        assert_eq!(reason, "interaction_not_served", "{url}");
        assert!(diagnostics.starts_with("Bundle.entry[1]: a transaction serves "), "{url}: {diagnostics}");
    }
    for (token, url) in [(&all, "Binary/b1"), (&all, "Provenance/p1"), (&some, "Patient/P1")] {
        assert!(matches!(ask(&AUTHORIZER, token, &[&good, &get(url)]), Decision::Permit(_)), "{url}");
    }
    // What is read must be there.
    assert!(matches!(ask(&AUTHORIZER, &one, &[&good, &get("Observation?code=x")]), Decision::Inquire(_)));
    assert!(matches!(ask(&AUTHORIZER, &one, &[&get("Observation?code=x")]), Decision::Permit(_)));
}

#[test]
fn parts_of_a_reach_are_not_searched_within_a_transaction() {
    let token = Token::launched("patient/Observation.rs?category=a patient/Observation.rs?code=b");
    assert_eq!(denied(&token, &[&get("Observation")]).0, "interaction_not_served");
    assert!(matches!(ask(&AUTHORIZER, &token, &[&get("Observation/o1")]), Decision::Inquire(_)));
}

#[test]
fn a_search_within_a_transaction_is_by_the_primary_parameter_whatever_the_site_chose() {
    for search_by in [SearchBy::Primary, SearchBy::Compartment, SearchBy::Filter, SearchBy::EveryParameter] {
        let authorizer = Authorizer::new(None, bases(), 50, Vec::new()).unwrap().with_search_by(search_by, &[]);
        let decision = ask(&authorizer, &Token::launched("patient/*.rs"), &[&get("Observation?code=x")]);
        let Decision::Permit(permit) = decision else { panic!("{search_by:?}: {decision:?}") };
        let UpstreamRequest::Transaction(transaction) = permit.upstream else { panic!("a transaction") };
        let parameters = [("subject", "Patient/P1"), ("code", "x")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let search = UpstreamRequest::Search { resource_type: ResourceType::OBSERVATION, parameters };
        assert_eq!(transaction.entries.first().unwrap().request, search, "{search_by:?}");
    }
}

#[test]
fn an_entry_that_is_refused_is_named_before_anything_is_read_and_not_after() {
    let token = Token::launched("patient/Observation.cruds");
    let delete = |id: &str| format!(r#"{{"request":{{"method":"DELETE","url":"Observation/{id}"}}}}"#);
    let (reason, diagnostics) = denied(&token, &[&delete("o1"), &get("Condition/c1")]);
    assert_eq!(reason, "scope_insufficient");
    assert!(diagnostics.starts_with("Bundle.entry[1]: expected a scope"), "{diagnostics}");
    let malformed = r#"{"request":{"method":"GET","url":"Observation/o1?nosuch=1"}}"#;
    let Decision::Refuse(Refusal::Malformed(told)) = ask(&AUTHORIZER, &token, &[&delete("o1"), malformed]) else {
        panic!("malformed")
    };
    assert!(told.expected.starts_with("Bundle.entry[1]: expected no parameters"), "{}", told.expected);
    // Which of two is out of reach would tell of what is there.
    let Decision::Inquire(inquiry) = ask(&AUTHORIZER, &token, &[&delete("o1"), &delete("o2")]) else {
        panic!("it depends on what is there")
    };
    let found = |id: &str, patient: &str| {
        let text = format!(
            r#"{{"resourceType":"Observation","id":"{id}","meta":{{"versionId":"1"}},"subject":{{"reference":"Patient/{patient}"}}}}"#
        );
        Evidence::of(text.into(), None)
    };
    let decision = AUTHORIZER.resume(inquiry, &[found("o1", "P1"), found("o2", "P2")]);
    assert!(matches!(decision, Decision::Refuse(Refusal::NotFound)), "{decision:?}");
    let unreadable = Token::launched("patient/Observation.u");
    let put = |id: &str, code: &str| {
        let resource = format!(
            r#"{{"resourceType":"Observation","id":"{id}","code":{{"text":"{code}"}},"subject":{{"reference":"Patient/P1"}},"encounter":{{"reference":"Encounter/{code}"}}}}"#
        );
        format!(r#"{{"resource":{resource},"request":{{"method":"PUT","url":"Observation/{id}"}}}}"#)
    };
    let Decision::Inquire(inquiry) = ask(&AUTHORIZER, &unreadable, &[&put("o1", "e1"), &put("o2", "e2")]) else {
        panic!("it depends on what is there")
    };
    let evidence: Vec<Evidence> = inquiry
        .reads()
        .iter()
        .map(|read| match read {
            UpstreamRequest::Read { id, .. } if id.as_str().starts_with('o') => found(id.as_str(), "P1"),
            _ => Evidence::absent(),
        })
        .collect();
    let Decision::Deny(denial) = AUTHORIZER.resume(inquiry, &evidence) else { panic!("a reference to what is absent") };
    assert_eq!(denial.reason, DenialReason::ReferenceNotPermitted);
    assert!(denial.diagnostics.starts_with("expected references"), "{}", denial.diagnostics);
}

#[test]
fn entries_are_explained_as_they_are_judged() {
    let explained = |kind: &str| {
        let mut inbound = Inbound::for_test("POST", "/fhir");
        let entries = [get("Observation/o1"), get("Provenance/p1"), get("Observation?code=x")].join(",");
        inbound.body = format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#).into();
        inbound.headers.insert("content-type", "application/fhir+json".parse().unwrap());
        let request = FhirRequest::parse(inbound, "/fhir").unwrap();
        let look = |prospect: Prospect<'_>| matches!(prospect, Prospect::Permit(_));
        let principal = Arc::new(Token::launched("patient/*.rs").principal());
        let each = AUTHORIZER.consider_entries(&request, &principal, &no_pages(), look);
        each.into_iter().map(|one| one.map_err(|refusal| refusal.status().as_u16())).collect::<Vec<_>>()
    };
    assert_eq!(explained("batch"), [Ok(true), Ok(false), Ok(true)]);
    assert_eq!(
        explained("transaction"),
        [Ok(true), Err(403), Ok(true)],
        "nothing is looked up for what a transaction reads"
    );
}
