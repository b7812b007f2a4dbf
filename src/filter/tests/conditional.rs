//! What is told of a create that the upstream makes only where nothing matches, when it found one instead.

use super::*;

/// The permit for a change of an Observation of P1 that nothing matched.
fn unmatched(method: &str, target: &str, headers: &[(&'static str, &str)]) -> Permit {
    let authorizer = Authorizer::new(None, bases(), 50, Vec::new()).unwrap();
    let mut inbound = Inbound::for_test(method, &format!("/fhir/{target}"));
    let mut body = observation("o1", "P1", "1");
    body.as_object_mut().unwrap().remove("id");
    inbound.body = body.to_string().into();
    for (name, value) in headers.iter().chain(&[("content-type", "application/fhir+json")]) {
        inbound.headers.insert(*name, value.parse().unwrap());
    }
    let request = FhirRequest::parse(inbound, "/fhir").unwrap();
    let who = Authenticated::for_test(request, principal("user/Observation.cruds"));
    let Decision::Inquire(inquiry) = authorizer.decide(who, &NoPages) else { panic!("it depends on what matches") };
    let nothing = json!({"resourceType": "Bundle", "type": "searchset"}).to_string();
    match authorizer.resume(inquiry, &[Evidence::of(nothing.into(), None)]) {
        Decision::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// The upstream has `o7`, about P2.
fn told(permit: Permit, status: StatusCode) -> Result<Releasable, u16> {
    let written = crate::forward::Written {
        status,
        location: Some("Observation/o7/_history/3".to_owned()),
        etag: None,
        last_modified: None,
        body: observation("o7", "P2", "3").to_string().into(),
    };
    release(permit, Answered::Written(written))
}

#[test]
fn an_update_that_somebody_was_faster_than_is_not_told_as_made() {
    let update = || unmatched("PUT", "Observation?identifier=x|1", &[]);
    assert_eq!(told(update(), StatusCode::CREATED).unwrap().status(), StatusCode::CREATED);
    assert_eq!(told(update(), StatusCode::OK).err(), Some(412));
    let create = unmatched("POST", "Observation", &[("if-none-exist", "identifier=x|1")]);
    assert_eq!(told(create, StatusCode::OK).unwrap().status(), StatusCode::OK);
}

#[test]
fn whose_the_one_is_that_was_found_is_recorded() {
    let found = told(unmatched("POST", "Observation", &[("if-none-exist", "identifier=x|1")]), StatusCode::OK).unwrap();
    assert_eq!(body(&found), observation("o7", "P2", "3"));
    assert!(found.told.patients.contains("P2"), "{:?}", found.told);
}
