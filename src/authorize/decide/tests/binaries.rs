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
    let evidence = |answer: &Option<&str>| {
        answer.map_or_else(Evidence::absent, |text| Evidence::of(text.as_bytes().to_vec().into(), None))
    };
    AUTHORIZER.resume(inquiry, &answers.iter().map(evidence).collect::<Vec<_>>())
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
