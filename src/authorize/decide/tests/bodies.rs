//! What may be stored, and what must be known for it first.

use serde_json::{Value, json};

use super::*;

/// A change, or another request that has a body where one is given: of FHIR JSON, or a JSON Patch.
pub(super) fn change(token: &Token, line: &str, body: &Value) -> Decision {
    change_if(token, line, &[], body)
}

/// The same, with these header fields.
pub(super) fn change_if(token: &Token, line: &str, fields: &[(&'static str, &str)], body: &Value) -> Decision {
    let (method, target) = line.split_once(' ').unwrap();
    let mut inbound = Inbound::for_test(method, &format!("/fhir/{target}"));
    if !body.is_null() {
        let media_type = if method == "PATCH" { "application/json-patch+json" } else { "application/fhir+json" };
        inbound.body = body.to_string().into();
        inbound.headers.insert("content-type", media_type.parse().unwrap());
    }
    for (name, value) in fields {
        inbound.headers.insert(*name, value.parse().unwrap());
    }
    let request = FhirRequest::parse(inbound, "/fhir").unwrap();
    AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &no_pages())
}

/// The reason of a denial, `reads …` for what must be read first, `permit`, or the status of another refusal.
pub(super) fn outcome(decision: &Decision) -> String {
    let read = |read: &UpstreamRequest| match read {
        UpstreamRequest::Read { resource_type, id } => format!("{resource_type}/{id}"),
        other => format!("{other:?}"),
    };
    match decision {
        Decision::Permit(_) => "permit".to_owned(),
        Decision::Inquire(inquiry) => {
            format!("reads {}", inquiry.reads().iter().map(read).collect::<Vec<_>>().join(" "))
        }
        Decision::Deny(denial) => denial.reason.id().to_owned(),
        Decision::Refuse(refusal) => refusal.status().as_u16().to_string(),
        Decision::Batch(_) => "batch".to_owned(),
    }
}

pub(super) fn told(decision: Decision, answers: &[Option<Value>]) -> Decision {
    let Decision::Inquire(inquiry) = decision else { panic!("it depends: {decision:?}") };
    assert_eq!(inquiry.reads().len(), answers.len());
    let evidence = |answer: &Option<Value>| {
        answer.as_ref().map_or_else(Evidence::absent, |json| Evidence::of(json.to_string().into(), None))
    };
    AUTHORIZER.resume(inquiry, &answers.iter().map(evidence).collect::<Vec<_>>())
}

pub(super) fn observation(more: &Value) -> Value {
    let mut body = json!({"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/P1"}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn what_a_server_might_read_as_its_own_is_not_written_for_one_patient() {
    let token = Token::launched("patient/*.cruds");
    for reference in [
        "patient/P1",
        " Patient/P1",
        "Patient/P1 ",
        "Patient/P1/",
        "/Patient/P1",
        "../Patient/P2",
        "Patient/P1/x",
        "https://GW.example/fhir/Patient/P2",
        "https://gw.example/other/Patient/P2",
        "http://up.internal/Patient/P2",
        "https://elsewhere.example\\\\@gw.example/fhir/Patient/P2",
        "urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55",
        "Patient?identifier=x",
        "",
        "x",
    ] {
        for place in [
            json!({"focus": [{"reference": reference}]}),
            json!({"extension": [{"url": "x", "valueReference": {"reference": reference}}]}),
        ] {
            let decision = change(&token, "POST Observation", &observation(&place));
            assert_eq!(outcome(&decision), "reference_not_permitted", "{reference:?}");
        }
    }
    for reference in ["#c", "https://elsewhere.example/fhir/Patient/P2", "Practitioner/d1", "Patient/P1"] {
        let decision = change(&token, "POST Observation", &observation(&json!({"focus": [{"reference": reference}]})));
        assert_eq!(outcome(&decision), "permit", "{reference}");
    }
    // Only of a Patient `link` is compared with what is there.
    let linked = observation(&json!({"link": [{"other": {"reference": "Patient/P2"}}]}));
    assert_eq!(outcome(&change(&token, "POST Observation", &linked)), "reference_not_permitted");
}

#[test]
fn an_address_that_a_server_might_read_as_its_own_is_not_written_for_one_patient() {
    let token = Token::launched("patient/*.cruds");
    let document = |url: &str| {
        json!({"resourceType": "DocumentReference", "status": "current", "subject": {"reference": "Patient/P1"},
            "content": [{"attachment": {"url": url}}]})
    };
    for url in [
        "/fhir/Binary/b2",
        "./Binary/b2",
        "../fhir/Binary/b2",
        "binary/b2",
        " Binary/b2",
        "Binary/b2/",
        "HTTPS://gw.example/fhir/Binary/b2",
        "https://GW.example/fhir/Binary/b2",
        "https://gw.example/fhir/Binary/b2?x=y",
    ] {
        assert_eq!(
            outcome(&change(&token, "POST DocumentReference", &document(url))),
            "reference_not_permitted",
            "{url}"
        );
    }
    for url in ["https://files.example/1.pdf", "urn:oid:1.2.3", "file.pdf", "ftp://files.example/1.pdf"] {
        assert_eq!(outcome(&change(&token, "POST DocumentReference", &document(url))), "permit", "{url}");
    }
    assert_eq!(outcome(&change(&token, "POST DocumentReference", &document("Binary/b2"))), "reads Binary/b2");
}

#[test]
fn beside_the_own_patient_the_primary_reference_names_resources_of_this_server_or_nothing() {
    let token = Token::launched("patient/*.cruds");
    let appointment = |actor: Value| {
        let participants =
            [json!({"reference": "Patient/P1"}), actor].map(|actor| json!({"actor": actor, "status": "accepted"}));
        let contained = [json!({"resourceType": "Practitioner", "id": "p"})];
        json!({"resourceType": "Appointment", "status": "booked", "participant": participants, "contained": contained})
    };
    for actor in [
        json!({"reference": "https://elsewhere.example/fhir/Patient/P2"}),
        json!({"reference": "#p"}),
        json!({"reference": "urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55"}),
        json!({"reference": 5}),
        json!({"reference": {"reference": "x"}}),
        json!({"reference": null}),
    ] {
        let decision = change(&token, "POST Appointment", &appointment(actor.clone()));
        assert_eq!(outcome(&decision), "body_outside_grant", "{actor}");
    }
    for actor in
        [json!({"reference": "Practitioner/d1"}), json!({"display": "Mum"}), json!({"identifier": {"value": "x"}})]
    {
        assert_eq!(outcome(&change(&token, "POST Appointment", &appointment(actor.clone()))), "permit", "{actor}");
    }
    for id in ["P2", "p1"] {
        let body = json!({"resourceType": "Patient", "id": id});
        assert_eq!(outcome(&change(&token, &format!("PUT Patient/{id}"), &body)), "body_outside_grant", "{id}");
    }
    assert_eq!(
        outcome(&change(&token, "PUT Patient/P1", &json!({"resourceType": "Patient", "id": "P1"}))),
        "reads Patient/P1"
    );
}

#[test]
fn under_conditions_whatever_is_referred_to_must_be_readable() {
    let body = observation(&json!({"encounter": {"reference": "Encounter/e1"}}));
    let write = "user/Observation.c?status=final user/Patient.r";
    let some = Token::clinician(&format!("{write} user/Encounter.r?status=finished"));
    let encounter = |status: &str| json!({"resourceType": "Encounter", "id": "e1", "status": status});
    let asked = || change(&some, "POST Observation", &body);
    assert_eq!(outcome(&asked()), "reads Encounter/e1");
    assert_eq!(outcome(&told(asked(), &[Some(encounter("finished"))])), "permit");
    for found in
        [None, Some(encounter("planned")), Some(json!({"resourceType": "Encounter", "id": "e2", "status": "finished"}))]
    {
        assert_eq!(outcome(&told(asked(), std::slice::from_ref(&found))), "reference_not_permitted", "{found:?}");
    }
    let all = Token::clinician(&format!("{write} user/Encounter.r"));
    assert_eq!(outcome(&change(&all, "POST Observation", &body)), "permit");
    for none in [write.to_owned(), format!("{write} user/Encounter.s")] {
        assert_eq!(
            outcome(&change(&Token::clinician(&none), "POST Observation", &body)),
            "reference_not_permitted",
            "{none}"
        );
    }
    let other = json!({"resourceType": "Observation", "status": "preliminary"});
    assert_eq!(outcome(&change(&some, "POST Observation", &other)), "body_outside_grant");
}

#[test]
fn the_address_of_a_binary_needs_somebody_who_vouches_for_it() {
    let document = |urls: &[String], more: Value| {
        let content: Vec<Value> = urls.iter().map(|url| json!({"attachment": {"url": url}})).collect();
        let mut body = json!({"resourceType": "DocumentReference", "id": "d1", "meta": {"versionId": "1"},
            "subject": {"reference": "Patient/P1"}, "content": content});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let binary = |id: &str, context: &str| json!({"resourceType": "Binary", "id": id, "securityContext": {"reference": context}});
    let url = ["Binary/b2".to_owned()];
    let with = document(&url, json!({}));
    // What nothing restricts but that it does not read every Binary, and a grant for one patient.
    for (token, contexts) in [
        (Token::clinician("user/DocumentReference.cruds"), &["DocumentReference/d1"][..]),
        (Token::launched("patient/DocumentReference.cruds"), &["DocumentReference/d1", "Patient/P1"]),
    ] {
        let put = |before: &Value| told(change(&token, "PUT DocumentReference/d1", &with), &[Some(before.clone())]);
        let new = document(&[], json!({}));
        assert_eq!(outcome(&put(&new)), "reads Binary/b2");
        for context in contexts {
            assert_eq!(outcome(&told(put(&new), &[Some(binary("b2", context))])), "permit", "{context}");
            assert_eq!(
                outcome(&told(put(&new), &[Some(binary("b3", context))])),
                "reference_not_permitted",
                "{context}"
            );
        }
        for found in [None, Some(binary("b2", "Patient/P2")), Some(json!({"resourceType": "Binary", "id": "b2"}))] {
            assert_eq!(outcome(&told(put(&new), std::slice::from_ref(&found))), "reference_not_permitted", "{found:?}");
        }
        // What stood there as an address is left; what was a reference was none.
        assert_eq!(outcome(&put(&with)), "permit");
        let referred = document(&[], json!({"context": {"related": [{"reference": "Binary/b2"}]}}));
        assert_eq!(outcome(&put(&referred)), "reads Binary/b2");
        // Of what cannot be read nothing is left.
        let writer = Token { scope: token.scope.replace("cruds", "cuds"), ..token.clone() };
        let unread = told(change(&writer, "PUT DocumentReference/d1", &with), &[Some(with.clone())]);
        assert_eq!(outcome(&unread), "reads Binary/b2");
        // Nobody vouches for what is in nothing that is there.
        assert_ne!(outcome(&told(change(&token, "PUT DocumentReference/d1", &with), &[None])), "permit");
        let many: Vec<String> = (0..=50).map(|number| format!("Binary/n{number}")).collect();
        for (count, expected) in [(50, "reads "), (51, "400")] {
            let body = document(many.get(..count).unwrap(), json!({}));
            let decision = change(&token, "POST DocumentReference", &body);
            assert!(outcome(&decision).starts_with(expected), "{count}: {}", outcome(&decision));
        }
    }
}

#[test]
fn nobody_vouches_for_a_binary_in_what_an_update_brings_into_being() {
    let token = Token::clinician("user/DocumentReference.cruds user/Observation.cruds");
    let put = |content: Value| {
        let body = json!({"resourceType": "DocumentReference", "id": "d1", "content": content});
        let mut inbound = Inbound::for_test("PUT", "/fhir/DocumentReference/d1");
        inbound.body = body.to_string().into();
        inbound.headers.insert("content-type", "application/fhir+json".parse().unwrap());
        inbound.headers.insert("if-none-match", "*".parse().unwrap());
        let request = FhirRequest::parse(inbound, "/fhir").unwrap();
        let decision = AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &no_pages());
        outcome(&told(decision, &[None]))
    };
    assert_eq!(put(json!([{"attachment": {"url": "Binary/b2"}}])), "reference_not_permitted");
    assert_eq!(put(json!([{"attachment": {"url": "https://files.example/1.pdf"}}])), "permit");
}

#[test]
fn what_changes_the_server_itself_is_written_by_nobody() {
    for name in [
        "CapabilityStatement",
        "CompartmentDefinition",
        "GraphDefinition",
        "ImplementationGuide",
        "MessageDefinition",
        "OperationDefinition",
        "SearchParameter",
        "StructureDefinition",
        "StructureMap",
        "Subscription",
    ] {
        for token in [Token::clinician("user/*.cruds"), Token::launched("patient/*.cruds")] {
            let body = json!({"resourceType": name, "id": "x"});
            for line in [format!("POST {name}"), format!("PUT {name}/x"), format!("PUT {name}?_id=x")] {
                assert_eq!(outcome(&change(&token, &line, &body)), "type_not_served", "{line}");
            }
        }
        permit(&Token::clinician("user/*.rs"), &format!("{name}/x"));
    }
}

#[test]
fn labels_and_tags_stay_one_by_one_and_a_new_resource_has_none() {
    let token = Token::launched("patient/*.cruds");
    let labelled = |name: &str, codes: &[&str]| {
        let codings: Vec<Value> = codes.iter().map(|code| json!({"system": "urn:x", "code": code})).collect();
        observation(&json!({"id": "o1", "meta": {"versionId": "1", name: codings}}))
    };
    for name in ["security", "tag"] {
        assert_eq!(outcome(&change(&token, "POST Observation", &labelled(name, &["a"]))), "labels_changed", "{name}");
        assert_eq!(outcome(&change(&token, "POST Observation", &labelled(name, &[]))), "permit", "{name}");
        let put = |before: &[&str], after: &[&str]| {
            let decision = change(&token, "PUT Observation/o1", &labelled(name, after));
            outcome(&told(decision, &[Some(labelled(name, before))]))
        };
        for (before, after) in [(&["a", "b"][..], &["a", "b"][..]), (&["a", "b"], &["b", "a"]), (&[], &[])] {
            assert_eq!(put(before, after), "permit", "{name} {before:?} {after:?}");
        }
        for (before, after) in [
            (&["a"][..], &[][..]),
            (&[], &["a"]),
            (&["a"], &["b"]),
            (&["a", "b"], &["a"]),
            (&["a", "b"], &["a", "a"]),
            (&["a", "a"], &["a", "b"]),
            (&["a", "b"], &["a", "b", "b"]),
        ] {
            assert_eq!(put(before, after), "labels_changed", "{name} {before:?} {after:?}");
        }
    }
    let all = Token::clinician("user/*.cruds");
    for system in [json!({}), json!({"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"})] {
        let mut tag = json!({"code": "SUBSETTED"});
        tag.as_object_mut().unwrap().extend(system.as_object().unwrap().clone());
        let part = observation(&json!({"meta": {"tag": [tag]}}));
        assert_eq!(outcome(&change(&all, "POST Observation", &part)), "partial_copy", "{system}");
    }
    let other = observation(&json!({"meta": {"tag": [{"system": "urn:x", "code": "SUBSETTED"}]}}));
    assert_eq!(outcome(&change(&all, "POST Observation", &other)), "permit");
}

#[test]
fn what_is_looked_up_for_one_body_is_bounded() {
    let token = Token::launched("patient/*.cruds");
    let referring = |count: usize| {
        let references: Vec<Value> =
            (0..count).map(|number| json!({"reference": format!("Observation/n{number}")})).collect();
        change(&token, "POST Observation", &observation(&json!({"derivedFrom": references})))
    };
    let Decision::Inquire(inquiry) = referring(200) else { panic!("it depends") };
    assert_eq!(inquiry.reads().len(), 4);
    assert!(inquiry.reads().iter().all(|read| matches!(read, UpstreamRequest::Search { parameters, .. }
        if parameters.last().unwrap() == &("_count".to_owned(), "50".to_owned()))));
    assert_eq!(outcome(&referring(201)), "400");
    // The same once more is none.
    let body = observation(&json!({"derivedFrom": vec![json!({"reference": "Observation/n1"}); 300]}));
    assert_eq!(outcome(&change(&token, "POST Observation", &body)), "reads Observation/n1");
}

#[test]
fn what_is_there_does_not_move_from_one_patient_to_another_whom_the_grant_reaches_as_well() {
    let token =
        Token { roles: vec!["clinician"], patient: Some("P3"), ..Token::patient("patient/*.cruds user/*.cruds") };
    let of = |patient: &str| json!({"resourceType": "Observation", "id": "o1", "meta": {"versionId": "1"}, "subject": {"reference": format!("Patient/{patient}")}});
    let patch = |patient: &str| {
        let mut inbound = Inbound::for_test("PATCH", "/fhir/Observation/o1");
        let operations =
            json!([{"op": "replace", "path": "/subject/reference", "value": format!("Patient/{patient}")}]);
        inbound.body = operations.to_string().into();
        inbound.headers.insert("content-type", "application/json-patch+json".parse().unwrap());
        let request = FhirRequest::parse(inbound, "/fhir").unwrap();
        AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &no_pages())
    };
    for (before, after, expected) in [
        ("P1", "P1", "permit"),
        ("P3", "P3", "permit"),
        ("P1", "P3", "body_outside_grant"),
        ("P3", "P1", "body_outside_grant"),
        ("P1", "P2", "body_outside_grant"),
        ("P2", "P1", "404"),
    ] {
        if after != "P2" {
            let put = told(change(&token, "PUT Observation/o1", &of(after)), &[Some(of(before))]);
            assert_eq!(outcome(&put), expected, "PUT {before} {after}");
        }
        assert_eq!(outcome(&told(patch(after), &[Some(of(before))])), expected, "PATCH {before} {after}");
    }
}

#[test]
fn nothing_comes_into_being_by_an_update_of_a_restricted_grant() {
    let body = observation(&json!({"id": "o9"}));
    for condition in [None, Some("*")] {
        for token in [Token::launched("patient/*.cruds"), Token::clinician("user/*.cruds?_tag=x user/Patient.r")] {
            let body = match token.patient {
                Some(_) => body.clone(),
                None => json!({"resourceType": "Observation", "id": "o9", "meta": {"tag": [{"code": "x"}]}}),
            };
            let mut inbound = Inbound::for_test("PUT", "/fhir/Observation/o9");
            inbound.body = body.to_string().into();
            inbound.headers.insert("content-type", "application/fhir+json".parse().unwrap());
            if let Some(value) = condition {
                inbound.headers.insert("if-none-match", value.parse().unwrap());
            }
            let request = FhirRequest::parse(inbound, "/fhir").unwrap();
            let decision = AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &no_pages());
            assert_eq!(outcome(&told(decision, &[None])), "404", "{condition:?}");
        }
    }
}
