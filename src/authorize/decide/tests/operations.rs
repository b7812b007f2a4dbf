//! Who may call an operation, and with what.

use serde_json::{Value, json};

use super::bodies::{change as call, outcome};
use super::*;
use crate::fhir::operation::{Kind, Level, Listed, Operation, Parameter, Returns, Type};

#[test]
fn an_operation_on_what_holds_other_resources_or_alters_the_server_is_not_served() {
    let labels =
        json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]});
    let with = |line: &str| if line.starts_with("POST") { &labels } else { &Value::Null };
    let tokens =
        [Token::clinician("user/*.cruds"), Token::backend("system/*.cruds"), Token::launched("patient/*.cruds")];
    for token in &tokens {
        for name in ["Bundle", "Parameters"] {
            for line in
                ["GET N/$meta", "GET N/x/$meta", "GET N/x/$validate", "POST N/x/$meta-add", "POST N/x/$meta-delete"]
            {
                let line = line.replace('N', name);
                assert_eq!(outcome(&call(token, &line, with(&line))), "type_not_served", "{line}");
            }
            let body = json!({"resourceType": "Parameters",
                "parameter": [{"name": "resource", "resource": {"resourceType": name}}]});
            let line = format!("POST {name}/$validate");
            assert_eq!(outcome(&call(token, &line, &body)), "type_not_served", "{line}");
        }
        for line in ["POST Subscription/x/$meta-add", "POST SearchParameter/x/$meta-delete"] {
            assert_eq!(outcome(&call(token, line, &labels)), "type_not_served", "{line}");
        }
    }
    let all = Token::clinician("user/*.cruds");
    for line in ["GET Subscription/x/$meta", "POST Observation/x/$meta-add"] {
        assert_eq!(outcome(&call(&all, line, with(line))), "permit", "{line}");
    }
}

#[test]
fn labels_are_changed_by_who_may_update_everything_of_the_type() {
    let labels =
        json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]});
    for line in ["POST Observation/o1/$meta-add", "POST Observation/o1/$meta-delete"] {
        for (scope, expected) in [
            ("user/Observation.u", "permit"),
            ("user/Observation.crds", "scope_insufficient"),
            ("user/Observation.u?category=a user/Observation.rs", "interaction_not_served"),
        ] {
            assert_eq!(outcome(&call(&Token::clinician(scope), line, &labels)), expected, "{scope}");
        }
        let launched = Token::launched("patient/*.cruds");
        assert_eq!(outcome(&call(&launched, line, &labels)), "interaction_not_served");
    }
}

#[test]
fn what_is_told_of_every_type_is_told_to_who_reads_all_of_each() {
    // One that reaches every type, and of each only some.
    let some = Token::clinician("user/*.cruds?_tag=x");
    let all = Token::clinician("user/*.cruds");
    for line in ["GET $meta", "GET Observation/o1/$validate?mode=delete"] {
        assert_eq!(outcome(&call(&some, line, &Value::Null)), "interaction_not_served", "{line}");
        assert_eq!(outcome(&call(&all, line, &Value::Null)), "permit", "{line}");
    }
}

#[test]
fn the_record_of_all_patients_has_the_types_that_are_wholly_within_reach() {
    let types = |scope: &str| {
        let permit = permit(&Token::clinician(scope), "Patient/$everything");
        let UpstreamRequest::Operation(invocation) = permit.upstream else { panic!("an operation") };
        invocation.parameters
    };
    let names = |names: &str| vec![("_type".to_owned(), names.to_owned())];
    let some = "user/Patient.rs user/Encounter.rs";
    assert_eq!(types(some), names("Patient,Encounter"));
    assert_eq!(types(&format!("{some} user/Observation.rs?category=a")), names("Patient,Encounter"));
    let all = Token::clinician("user/*.rs");
    for name in ["Binary", "Bundle", "Parameters"] {
        assert_eq!(reason(&all, &format!("Patient/P1/$everything?_type={name}")), "type_not_served");
    }
    let parts = Token::clinician("user/Patient.rs?_tag=x user/Encounter.rs");
    assert_eq!(reason(&parts, "Patient/$everything"), "interaction_not_served");
}

/// One that a site lists on Observation.
fn listed(affects_state: bool, needs: &[(ResourceType, &str)], returns: Returns) -> Authorizer {
    let operation = Operation {
        name: "own".into(),
        definition: "https://example.org/own".into(),
        levels: vec![Level::Type].into(),
        resource_types: vec![ResourceType::OBSERVATION].into(),
        affects_state,
        parameters: vec![Parameter { name: "code".into(), of: Type::Code, min: 0, max: Some(1) }],
        kind: Kind::Listed(Listed {
            needs: needs.iter().map(|(of, letters)| (*of, (*letters).to_owned())).collect(),
            returns,
        }),
    };
    Authorizer::new(None, bases(), 50, vec![operation]).unwrap()
}

fn call_own(authorizer: &Authorizer, method: &str, scope: &str) -> Decision {
    let mut inbound = Inbound::for_test(method, "/fhir/Observation/$own?code=a");
    if method == "POST" {
        inbound = Inbound::for_test(method, "/fhir/Observation/$own");
        let body = json!({"resourceType": "Parameters", "parameter": [{"name": "code", "valueCode": "a"}]});
        inbound.body = body.to_string().into();
        inbound.headers.insert("content-type", "application/fhir+json".parse().unwrap());
    }
    let request = FhirRequest::parse(inbound, "/fhir").unwrap();
    authorizer.decide(Authenticated::for_test(request, Token::clinician(scope).principal()), &no_pages())
}

#[test]
fn an_operation_that_a_site_lists_needs_all_of_what_it_touches() {
    let patients = Returns::Searchset(vec![ResourceType::PATIENT].into());
    for (affects_state, method, own) in [(false, "GET", "r"), (true, "POST", "u")] {
        let needs = [(ResourceType::ENCOUNTER, "rs")];
        let authorizer = listed(affects_state, &needs, patients.clone());
        let whole = format!("user/Observation.{own} user/Encounter.rs user/Patient.r");
        let Decision::Permit(permit) = call_own(&authorizer, method, &whole) else { panic!("{whole}") };
        let UpstreamRequest::Operation(invocation) = permit.upstream else { panic!("an operation") };
        // What changes something is sent as a body, whatever could stand in a query.
        assert_eq!((invocation.body.is_some(), invocation.parameters.is_empty()), (affects_state, affects_state));
        let other = if affects_state { "crds" } else { "cuds" };
        for (lacking, expected) in [
            (whole.replace(&format!("Observation.{own}"), &format!("Observation.{other}")), "scope_insufficient"),
            (whole.replace("Encounter.rs", "Encounter.r"), "scope_insufficient"),
            (whole.replace("Encounter.rs", "Encounter.s"), "scope_insufficient"),
            (whole.replace("user/Patient.r", ""), "scope_insufficient"),
            (
                whole.replace(&format!("Observation.{own}"), &format!("Observation.{own}?category=a")),
                "interaction_not_served",
            ),
            (whole.replace("Encounter.rs", "Encounter.rs?_tag=x"), "interaction_not_served"),
            (whole.replace("Patient.r", "Patient.r?_tag=x"), "interaction_not_served"),
        ] {
            assert_eq!(outcome(&call_own(&authorizer, method, &lacking)), expected, "{lacking}");
        }
    }
}

#[test]
fn the_last_observations_are_of_one_search_that_the_scopes_have() {
    let parts = Token::launched("patient/Observation.rs?category=a patient/Observation.rs?code=b");
    assert_eq!(reason(&parts, "Observation/$lastn"), "interaction_not_served");
    let part = Token::launched("patient/Observation.rs?category=a");
    let UpstreamRequest::Operation(invocation) = permit(&part, "Observation/$lastn?max=2").upstream else {
        panic!("an operation")
    };
    let sent = [("subject", "Patient/P1"), ("category", "a"), ("max", "2")];
    assert_eq!(invocation.parameters, sent.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn what_is_sent_with_a_search_by_another_name_is_read_for_who_may_search() {
    let foreign = json!({"resourceType": "Parameters", "parameter": [{"name": "nosuch", "valueString": "x"}]});
    for (line, name) in
        [("POST Observation/$lastn", "Observation"), ("POST DocumentReference/$docref", "DocumentReference")]
    {
        let by = |letters: &str| outcome(&call(&Token::launched(&format!("patient/{name}.{letters}")), line, &foreign));
        assert_eq!(by("crud"), "scope_insufficient", "{line}");
        assert_eq!(by("rs"), "400", "{line}");
    }
}

#[test]
fn operations_tell_of_a_binary_to_who_reads_everything() {
    for line in ["GET Binary/b1/$meta", "GET Binary/$meta", "GET Binary/b1/$validate"] {
        for token in [Token::clinician("user/Binary.rs user/Observation.rs"), Token::launched("patient/*.rs")] {
            assert_eq!(outcome(&call(&token, line, &Value::Null)), "type_not_served", "{line}");
        }
        assert_eq!(outcome(&call(&Token::clinician("user/*.rs"), line, &Value::Null)), "permit", "{line}");
    }
}

#[test]
fn what_would_replace_what_is_there_is_validated_for_who_may_update() {
    let body = json!({"resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": {"resourceType": "Observation", "id": "o1", "status": "final"}}]});
    for (scope, of_type, of_one) in [
        ("user/Observation.c", "permit", "scope_insufficient"),
        ("user/Observation.u", "permit", "permit"),
        ("user/Observation.rs", "scope_insufficient", "scope_insufficient"),
    ] {
        let token = Token::clinician(scope);
        assert_eq!(outcome(&call(&token, "POST Observation/$validate", &body)), of_type, "{scope}");
        assert_eq!(outcome(&call(&token, "POST Observation/o1/$validate", &body)), of_one, "{scope}");
    }
}

#[test]
fn a_summary_is_of_a_patient_whose_composition_may_be_read() {
    let of = |scope: &str| Token { patient: Some("P3"), ..Token::patient(scope) };
    let summary = "Patient/P1/$summary";
    assert_eq!(reason(&of("patient/Composition.rs user/Patient.rs"), summary), "type_not_served");
    permit(&of("user/Composition.rs user/Patient.rs"), summary);
}
