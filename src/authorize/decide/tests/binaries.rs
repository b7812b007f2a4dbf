//! Who reads a Binary, by what is read first; what an upstream may say to that.

use super::*;
use crate::authorize::Inquiry;

fn inquiry(token: &Token, target: &str) -> Inquiry {
    match decide(token, target) {
        Decision::Inquire(inquiry) => inquiry,
        other => panic!("{target}: {other:?}"),
    }
}

/// What comes of the decision when the upstream says this to each read; `None`: absent.
fn told(inquiry: Inquiry, answers: &[Option<&str>]) -> Decision {
    assert_eq!(inquiry.reads().len(), answers.len());
    let evidence = |answer: Option<&str>| {
        answer.map_or_else(Evidence::absent, |text| Evidence::of(text.as_bytes().to_vec().into(), None))
    };
    AUTHORIZER.resume(inquiry, &answers.iter().copied().map(evidence).collect::<Vec<_>>())
}

fn binary(members: &str) -> String {
    format!(r#"{{"resourceType":"Binary","id":"b1","contentType":"text/plain"{members}}}"#)
}

fn is_absent(decision: &Decision) -> bool {
    matches!(decision, Decision::Refuse(Refusal::NotFound))
}

#[test]
fn a_security_context_that_names_no_resource_of_this_server_hides_the_binary() {
    let tokens = [Token::launched("patient/*.rs"), Token::clinician("user/Binary.rs user/Observation.rs")];
    for token in &tokens {
        for context in [
            r#"{"reference":"https://elsewhere.example/fhir/Observation/o1"}"#,
            r#"{"reference":"urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55"}"#,
            r##"{"reference":"#o1"}"##,
            r#"{"reference":["Observation/o1"]}"#,
            r#"{"identifier":{"value":"o1"}}"#,
            r#""Observation/o1""#,
            "null",
            "[]",
        ] {
            let text = binary(&format!(r#","securityContext":{context}"#));
            assert!(is_absent(&told(inquiry(token, "Binary/b1"), &[Some(&text)])), "{context}");
        }
    }
}

#[test]
fn a_security_context_is_read_and_must_be_within_reach() {
    let token = Token::launched("patient/*.rs");
    let context = |reference: &str| binary(&format!(r#","securityContext":{{"reference":"{reference}"}}"#));
    let next = |reference: &str| told(inquiry(&token, "Binary/b1"), &[Some(&context(reference))]);
    let Decision::Inquire(waiting) = next("Observation/o1") else { panic!("it depends on the context") };
    let read = UpstreamRequest::Read { resource_type: ResourceType::OBSERVATION, id: id("o1") };
    assert_eq!(waiting.reads(), [read]);
    let own = r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P1"}}"#;
    assert!(matches!(told(waiting, &[Some(own)]), Decision::Permit(_)));
    for (found, what) in [
        (None, "absent"),
        (Some(r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P2"}}"#), "another's"),
        (Some(r#"{"resourceType":"Observation","id":"o2","subject":{"reference":"Patient/P1"}}"#), "another one"),
        (Some(r#"{"resourceType":"Condition","id":"o1","subject":{"reference":"Patient/P1"}}"#), "another type"),
    ] {
        let Decision::Inquire(waiting) = next("Observation/o1") else { panic!("it depends on the context") };
        assert!(is_absent(&told(waiting, &[found])), "{what}");
    }
    // Of these nothing is read: they give nobody a Binary.
    for reference in ["Provenance/p1", "Group/g1", "Practitioner/d1", "Bundle/x", "Binary/b2", "Subscription/s1"] {
        assert!(is_absent(&next(reference)), "{reference}");
    }
}

#[test]
fn the_binary_that_is_judged_is_the_one_that_was_asked_for() {
    let own = r#","securityContext":{"reference":"Observation/o1"}"#;
    for token in [Token::launched("patient/*.rs"), Token::clinician("user/Binary.rs user/Observation.rs")] {
        for other in [
            binary(own).replace("\"b1\"", "\"B1\""),
            binary(own).replace("\"b1\"", "\"b2\""),
            binary(own).replace("\"id\":\"b1\",", ""),
            binary(own).replace("\"Binary\"", "\"Observation\""),
        ] {
            assert!(is_absent(&told(inquiry(&token, "Binary/b1"), &[Some(&other)])), "{other}");
        }
        assert!(is_absent(&told(inquiry(&token, "Binary/b1"), &[None])));
    }
}

#[test]
fn a_condition_on_binary_holds_for_the_binary_that_is_there() {
    let token = Token::clinician("user/Binary.rs?_tag=open user/Observation.rs");
    let tagged = |code: &str| binary(&format!(r#","meta":{{"tag":[{{"code":"{code}"}}]}}"#));
    assert!(matches!(told(inquiry(&token, "Binary/b1"), &[Some(&tagged("open"))]), Decision::Permit(_)));
    assert!(is_absent(&told(inquiry(&token, "Binary/b1"), &[Some(&tagged("closed"))])));
    // A context that is out of reach hides it all the same.
    let within = r#","meta":{"tag":[{"code":"open"}]},"securityContext":{"reference":"Condition/c1"}"#;
    assert!(is_absent(&told(inquiry(&token, "Binary/b1"), &[Some(&binary(within))])));
}

/// Opens every link as one in `DocumentReference/d1`.
struct InDocument;

impl OpenPage for InDocument {
    fn open_page(&self, _: &str, _: &Principal, _: &str) -> Result<(ResourceType, String), Refusal> {
        Err(Refusal::bad_request("expected a link of ours"))
    }

    fn open_attachment(&self, _: &str, _: &Principal, _: &Id) -> Result<Attachment, Refusal> {
        Ok(Attachment { parent: (ResourceType::DOCUMENT_REFERENCE, id("d1")), past: false })
    }
}

fn by_link(token: &Token) -> Inquiry {
    let request = FhirRequest::parse(Inbound::for_test("GET", "/fhir/Binary/b1?gw=abc"), "/fhir").unwrap();
    match AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &InDocument) {
        Decision::Inquire(inquiry) => inquiry,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_refers_to_a_binary_has_its_address_and_not_a_reference_or_a_version() {
    let token = Token::launched("patient/DocumentReference.r");
    let document = |members: &str| {
        format!(r#"{{"resourceType":"DocumentReference","id":"d1","subject":{{"reference":"Patient/P1"}}{members}}}"#)
    };
    let plain = binary("");
    let at = |url: &str| document(&format!(r#","content":[{{"attachment":{{"url":"{url}"}}}}]"#));
    for url in ["Binary/b1", "https://gw.example/fhir/Binary/b1", "http://up.internal/fhir/Binary/b1"] {
        assert!(matches!(told(by_link(&token), &[Some(&at(url)), Some(&plain)]), Decision::Permit(_)), "{url}");
    }
    for document in [
        at("Binary/b1/_history/1"),
        at("Binary/b2"),
        at("Binary/B1"),
        at("https://elsewhere.example/fhir/Binary/b1"),
        document(r#","context":{"related":[{"reference":"Binary/b1"}]}"#),
        document(r#","text":{"div":"Binary/b1"}"#),
        at("Binary/b1").replace("\"d1\"", "\"d2\""),
        at("Binary/b1").replace("Patient/P1", "Patient/P2"),
    ] {
        assert!(is_absent(&told(by_link(&token), &[Some(&document), Some(&plain)])), "{document}");
    }
    // A security context beside it must be within reach as well.
    let context = binary(r#","securityContext":{"reference":"Observation/o1"}"#);
    assert!(is_absent(&told(by_link(&token), &[Some(&at("Binary/b1")), Some(&context)])));
}

#[test]
fn the_patients_whose_a_binary_is_are_known_to_the_record() {
    let patients = |decision: Decision| -> Vec<String> {
        let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
        let mut allowances = permit.obligations.reach.allowances().iter();
        let Some(crate::authorize::Within::Attached(access)) = allowances.next().map(|it| &it.within) else { panic!() };
        access.patients().iter().map(ToString::to_string).collect()
    };
    let context = binary(r#","securityContext":{"reference":"Observation/o1"}"#);
    let observation = r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/P1"}}"#;
    let Decision::Inquire(waiting) = told(inquiry(&Token::launched("patient/*.rs"), "Binary/b1"), &[Some(&context)])
    else {
        panic!("it depends on the context")
    };
    assert_eq!(patients(told(waiting, &[Some(observation)])), ["P1"]);
    // Of the document and of the security context, each once.
    let clinician = Token::clinician("user/DocumentReference.r user/Observation.r");
    let document = r#"{"resourceType":"DocumentReference","id":"d1","subject":{"reference":"Patient/P2"},"content":[{"attachment":{"url":"Binary/b1"}}]}"#;
    let Decision::Inquire(waiting) = told(by_link(&clinician), &[Some(document), Some(&context)]) else {
        panic!("it depends on the context")
    };
    assert_eq!(patients(told(waiting, &[Some(observation)])), ["P1", "P2"]);
}

#[test]
fn provenance_is_judged_in_as_many_rounds_as_it_takes() {
    let world = |read: &UpstreamRequest| -> Option<String> {
        let resource = |of: &str, id: &str, version: &str| {
            format!(
                r#"{{"resourceType":"{of}","id":"{id}","meta":{{"versionId":"{version}"}},"subject":{{"reference":"Patient/P1"}}}}"#
            )
        };
        match read {
            UpstreamRequest::Read { resource_type, id } => Some(resource(resource_type.name(), id.as_str(), "2")),
            UpstreamRequest::Vread { resource_type, id, version } => {
                Some(resource(resource_type.name(), id.as_str(), version.as_str()))
            }
            UpstreamRequest::Search { .. } => {
                let targets = ["Condition/c1", "Observation/o1/_history/1", "Observation/o3"];
                let targets = targets.map(|target| format!(r#"{{"reference":"{target}"}}"#)).join(",");
                Some(format!(
                    r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{{"resourceType":"Provenance","id":"p1","target":[{targets}]}}}}]}}"#
                ))
            }
            _ => None,
        }
    };
    let token = Token::launched("patient/*.rs");
    let mut rounds = 0;
    let mut decision = decide(&token, "Provenance?target=Observation/o3&_id=p1");
    let permit = loop {
        decision = match decision {
            Decision::Inquire(inquiry) => {
                rounds += 1;
                let evidence = |read| world(read).map_or_else(Evidence::absent, |text| Evidence::of(text.into(), None));
                let evidence: Vec<Evidence> = inquiry.reads().iter().map(evidence).collect();
                AUTHORIZER.resume(inquiry, &evidence)
            }
            Decision::Permit(permit) => break permit,
            other => panic!("{rounds}: {other:?}"),
        };
    };
    let parameters = vec![("_id".to_owned(), "p1".to_owned())];
    let search = UpstreamRequest::Search { resource_type: ResourceType::PROVENANCE, parameters };
    assert_eq!((rounds, permit.upstream), (5, search));
}
