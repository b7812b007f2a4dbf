//! What a search is sent as, what comes along with it, and which pages it has.

use super::searches::{asked, included, written};
use super::*;

#[test]
fn conditions_of_scopes_are_asked_of_the_upstream_whichever_way_it_is_searched() {
    let launched = Token::launched("patient/Observation.rs?category=a");
    let filter = "_filter=subject eq \"Patient/P1\" or performer eq \"Patient/P1\"";
    for (token, search_by, expected) in [
        (
            Token::clinician("user/Observation.rs?category=a"),
            SearchBy::Primary,
            "Observation?category=a&code=x".to_owned(),
        ),
        (launched.clone(), SearchBy::Primary, "Observation?subject=Patient/P1&category=a&code=x".to_owned()),
        (launched.clone(), SearchBy::Compartment, "Patient/P1/Observation?category=a&code=x".to_owned()),
        (launched.clone(), SearchBy::Filter, format!("Observation?{filter}&category=a&code=x")),
    ] {
        let authorizer = Authorizer::new(None, bases(), 50, Vec::new()).unwrap().with_search_by(search_by, &[]);
        let request = FhirRequest::parse(Inbound::for_test("GET", "/fhir/Observation?code=x"), "/fhir").unwrap();
        let decision = authorizer.decide(Authenticated::for_test(request, token.principal()), &no_pages());
        let Decision::Permit(permit) = decision else { panic!("{search_by:?}: {decision:?}") };
        assert_eq!(written(permit.upstream), expected, "{search_by:?}");
    }
}

/// Opens what was sealed to these bounds.
struct Sealed(String);

impl OpenPage for Sealed {
    fn open_page(&self, _: &str, _: &Principal, bounds: &str) -> Result<(ResourceType, String), Refusal> {
        let opened = (ResourceType::OBSERVATION, "?_getpages=1".to_owned());
        Some(opened).filter(|_| self.0 == bounds).ok_or_else(|| Refusal::bad_request("expected a link of ours"))
    }

    fn open_attachment(&self, _: &str, _: &Principal, _: &Id) -> Result<Attachment, Refusal> {
        Err(Refusal::bad_request("expected a link of ours"))
    }
}

#[test]
fn a_page_is_opened_for_the_path_the_reach_and_the_includes_that_it_was_sealed_for() {
    let all = Token::clinician("user/*.rs");
    let one = Token::launched("patient/*.rs");
    let paths = [
        "Observation?",
        "Observation?_include=Observation:subject:Patient&",
        "Observation?_include=Observation:encounter&",
        "Observation?_revinclude=DiagnosticReport:result&",
        "Patient/P1/Observation?",
        "Patient/P2/Observation?",
    ];
    for token in [&all, &one] {
        let paths = paths.iter().filter(|path| token.patient.is_none() || !path.contains("P2"));
        let paths: Vec<_> = paths.collect();
        for searched in &paths {
            let sealed = Sealed(permit(token, &format!("{searched}code=x")).obligations.beside.bounds().to_owned());
            for asked in &paths {
                let target = format!("/fhir/{asked}_page=abc");
                let request = FhirRequest::parse(Inbound::for_test("GET", &target), "/fhir").unwrap();
                let decision = AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &sealed);
                assert_eq!(
                    matches!(decision, Decision::Permit(_)),
                    searched == asked,
                    "{searched} {asked}: {decision:?}"
                );
            }
        }
    }
}

#[test]
fn a_number_comes_without_what_would_be_included() {
    let all = Token::clinician("user/*.rs");
    for number in ["_summary=count", "_count=0"] {
        for include in ["_include=Observation:subject", "_revinclude=DiagnosticReport:result"] {
            assert_eq!(reason(&all, &format!("Observation?{number}&{include}")), "parameter_not_served", "{number}");
        }
        permit(&all, &format!("Observation?{number}"));
    }
}

#[test]
fn a_look_at_the_patient_is_at_the_one_whom_the_search_is_confined_to() {
    let of = |patient: &'static str, scope: &str| Token { patient: Some(patient), ..Token::patient(scope) };
    let query = "Observation?patient.name=x";
    assert_eq!(reason(&of("P3", "patient/Observation.rs user/Patient.rs"), query), "parameter_not_served");
    assert_eq!(reason(&of("P3", "user/Observation.rs patient/Patient.rs"), query), "parameter_not_served");
    let same = "Observation?subject=Patient/P1&patient:Patient.name=x";
    assert_eq!(asked(&of("P1", "patient/Observation.rs user/Patient.rs"), query), same);
    // Of two patients the one remains who may be looked at.
    let reach =
        permit(&of("P3", "patient/Observation.rs user/Observation.rs user/Patient.rs"), query).obligations.reach;
    assert_eq!(reach.to_string(), "Observation Patient/P1");
}

#[test]
fn what_holds_others_or_bytes_is_never_brought_along() {
    let all = Token::clinician("user/*.rs");
    for query in ["_include=Composition:entry", "_include=*", "_include:iterate=Composition:entry"] {
        let included = included(&all, &format!("Composition?{query}"));
        assert!(included.iter().any(|reach| reach == "Observation *"), "{query}: {included:?}");
        for name in ["Binary", "Bundle", "Parameters"] {
            let brought = included.iter().find(|reach| reach.starts_with(&format!("{name} ")));
            assert_eq!(brought, None, "{query}");
        }
    }
}

#[test]
fn several_types_have_a_bound_no_number_and_pages_of_their_own() {
    let all = Token::clinician("user/*.rs");
    let types: Vec<&str> =
        ResourceType::all().map(ResourceType::name).filter(|name| name.starts_with(['C', 'M'])).collect();
    let of = |count: usize| format!("?_type={}", types.get(..count).unwrap().join(","));
    permit(&all, &of(16));
    assert_eq!(reason(&all, &of(17)), "parameter_not_served");
    // Before any of them is judged.
    assert_eq!(reason(&Token::clinician("user/Observation.rs"), &of(17)), "parameter_not_served");
    let UpstreamRequest::PerType { searches } = permit(&all, "?_type=Observation,Patient&_total=accurate").upstream
    else {
        panic!("several")
    };
    let sent: Vec<String> = searches.into_iter().map(written).collect();
    assert_eq!(sent, ["Observation?", "Patient?"]);
    let page = |first: ResourceType| {
        let pages = ClearPages(HashMap::from([("abc", (first, "Observation ?_getpages=1".to_owned()))]));
        let target = "/fhir/?_type=Observation,Patient&_page=abc";
        let request = FhirRequest::parse(Inbound::for_test("GET", target), "/fhir").unwrap();
        AUTHORIZER.decide(Authenticated::for_test(request, all.principal()), &pages)
    };
    assert!(matches!(page(ResourceType::OBSERVATION), Decision::Permit(_)));
    assert!(matches!(page(ResourceType::PATIENT), Decision::Refuse(refusal) if refusal.status() == 400));
}

#[test]
fn all_of_a_compartment_is_what_can_be_in_it() {
    let token = Token::clinician("user/Patient.rs user/Organization.rs user/Observation.rs");
    let UpstreamRequest::PerType { searches } = permit(&token, "Patient/P1/*").upstream else { panic!("several") };
    let sent: Vec<String> = searches.into_iter().map(written).collect();
    assert_eq!(sent, ["Patient/P1/Observation?", "Patient?_id=P1"]);
}
