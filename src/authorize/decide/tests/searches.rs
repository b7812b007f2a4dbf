//! What searches ask beyond the searched type's own content.

use super::*;

fn diagnostics(token: &Token, target: &str) -> String {
    match decide(token, target) {
        Decision::Deny(denial) => denial.diagnostics,
        other => panic!("{target}: {other:?}"),
    }
}

/// The upstream's parameters, of whatever kind of search on one type.
pub(super) fn asked(token: &Token, target: &str) -> String {
    written(permit(token, target).upstream)
}

pub(super) fn written(request: UpstreamRequest) -> String {
    match request {
        UpstreamRequest::Search { resource_type, parameters } => print(resource_type.name(), &parameters),
        UpstreamRequest::SearchCompartment { compartment, id, resource_type, parameters } => {
            print(&format!("{compartment}/{id}/{resource_type}"), &parameters)
        }
        UpstreamRequest::Nothing { .. } => "nothing".to_owned(),
        other => panic!("{other:?}"),
    }
}

fn print(path: &str, parameters: &[(String, String)]) -> String {
    let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{path}?{}", parameters.join("&"))
}

pub(super) fn included(token: &Token, target: &str) -> Vec<String> {
    permit(token, target).obligations.beside.included().iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_restricted_grant_never_asks() {
    let granular = Token::clinician("user/Observation.rs?category=x user/Patient.rs user/Encounter.rs");
    for token in [Token::launched("patient/*.rs"), Token::patient("user/*.rs"), granular] {
        for query in [
            "encounter.status=x",
            "encounter.participant.name=x",
            "subject:Patient.link.name=x",
            "subject:Patient._has:Encounter:patient:status=x",
            "_has:Observation:has-member:code=x",
            "_list=42",
            "code:in=ValueSet/1",
            "code:below=x",
            "_text=x",
            "_content=x",
            "_summary=count",
            "_count=0",
            "_sort=patient.birthdate",
        ] {
            assert_eq!(reason(&token, &format!("Observation?{query}")), "parameter_not_served", "{query}");
        }
        for query in
            ["_include=*", "_include=Observation:*", "_include:iterate=Observation:has-member", "_revinclude=*"]
        {
            let reason = reason(&token, &format!("Observation?{query}"));
            assert!(matches!(reason, "parameter_not_served" | "scope_insufficient"), "{query}: {reason}");
        }
    }
}

#[test]
fn what_nobody_asks() {
    for token in [Token::clinician("user/*.rs"), Token::backend("system/*.rs"), Token::launched("patient/*.rs")] {
        for query in [
            "_filter=x",
            "_query=x",
            "_in=x",
            "_list=$current-problems",
            "_contained=true",
            "_containedType=contained",
            "code:in=http://evil.example/ValueSet/1",
            "code:not-in=ValueSet/1,https://evil.example/fhir/ValueSet/2",
        ] {
            assert_eq!(reason(&token, &format!("Observation?{query}")), "parameter_not_served", "{query}");
        }
    }
}

#[test]
fn an_unrestricted_grant_looks_at_types_that_it_searches_wholly() {
    let all = Token::clinician("user/*.rs");
    for (query, sent) in [
        ("patient.name=x", "patient:Patient.name=x"),
        ("subject:Patient.name:exact=x", "subject:Patient.name:exact=x"),
        ("encounter.participant.name=x", "encounter:Encounter.participant.name=x"),
        ("subject.general-practitioner.name=x", "subject:Patient.general-practitioner.name=x"),
        ("patient.organization.name=x", "patient:Patient.organization:Organization.name=x"),
        ("_has:Observation:has-member:code=x", "_has:Observation:has-member:code=x"),
        (
            "subject:Patient.general-practitioner=https://gw.example/fhir/Practitioner/1",
            "subject:Patient.general-practitioner=Practitioner/1",
        ),
        ("_list=42", "_list=42"),
        ("code:in=ValueSet/1", "code:in=ValueSet/1"),
        ("code:below=a|b", "code:below=a|b"),
        ("_source:below=http://x", "_source:below=http://x"),
        ("_text=x", "_text=x"),
        ("_sort=-patient.birthdate,date", "_sort=-patient:Patient.birthdate,date"),
        ("_total=accurate", "_total=accurate"),
        ("_count=0", "_summary=count"),
        ("_summary=count", "_summary=count"),
    ] {
        assert_eq!(asked(&all, &format!("Observation?{query}")), format!("Observation?{sent}"), "{query}");
    }
    let some = Token::clinician("user/Observation.rs user/Encounter.r");
    for query in [
        "patient.name=x",
        "encounter.status=x",
        "_has:Encounter:diagnosis:status=x",
        "_list=42",
        "code:in=ValueSet/1",
        "code:below=x",
        "_sort=patient.name",
    ] {
        let resource_type = if query.starts_with("_has") { "Condition" } else { "Observation" };
        let token = Token::clinician(&format!("{} user/Condition.rs", some.scope));
        assert_eq!(reason(&token, &format!("{resource_type}?{query}")), "scope_insufficient", "{query}");
    }
    assert!(diagnostics(&some, "Observation?encounter.status=x").contains("looks at Encounter"));
    // Search within one patient is not search.
    let mixed = Token { scope: "user/Encounter.rs patient/Condition.rs".to_owned(), ..Token::launched("") };
    assert_eq!(reason(&mixed, "Encounter?_has:Condition:encounter:code=x"), "parameter_not_served");
}

#[test]
fn one_hop_to_the_patients_own_content_is_no_oracle() {
    let token =
        Token::launched("patient/Observation.rs patient/Patient.rs patient/Appointment.rs patient/Encounter.rs");
    for (query, sent) in [
        ("patient.name=x", "subject=Patient/P1&patient:Patient.name=x"),
        ("subject:Patient.birthdate=lt2000", "subject=Patient/P1&subject:Patient.birthdate=lt2000"),
        ("patient.gender:not=male", "subject=Patient/P1&patient:Patient.gender:not=male"),
    ] {
        assert_eq!(asked(&token, &format!("Observation?{query}")), format!("Observation?{sent}"), "{query}");
    }
    for target in [
        "Appointment?actor:Patient.name=x",
        "Appointment?patient.name=x",
        "Observation?performer:Patient.name=x",
        "Observation?subject.name=x",
        "Observation?subject:Device.device-name=x",
        "Observation?patient.name=x&encounter.status=x",
        "Observation?patient.general-practitioner.name=x",
        "Patient?link:Patient.name=x",
    ] {
        assert_eq!(reason(&token, target), "parameter_not_served", "{target}");
    }
    // Read is not search, and a filter on Patient would tell of what it hides.
    for scope in [
        "patient/Observation.rs patient/Patient.r",
        "patient/Observation.rs patient/Patient.rs?active=true",
        "patient/Observation.rs",
    ] {
        assert!(matches!(decide(&Token::launched(scope), "Observation?patient.name=x"), Decision::Deny(_)), "{scope}");
    }
}

#[test]
fn a_wider_scope_takes_nothing_away() {
    // All Observations, but one Patient: the chain goes as far as the patient does.
    let token = Token {
        scope: "user/Observation.rs patient/Observation.rs patient/Patient.rs".to_owned(),
        ..Token::launched("")
    };
    let permit = permit(&token, "Observation?patient.name=x&_total=accurate");
    assert_eq!(permit.obligations.reach.to_string(), "Observation Patient/P1");
    assert_eq!(permit.obligations.beside.bounds(), "Observation *");
    assert_eq!(
        asked(&token, "Observation?patient.name=x&_total=accurate"),
        "Observation?subject=Patient/P1&patient:Patient.name=x"
    );
    assert_eq!(asked(&token, "Observation?_total=accurate"), "Observation?_total=accurate");
    assert_eq!(reason(&token, "Observation?patient.name=x&_text=y"), "parameter_not_served");
}

#[test]
fn every_type_that_an_include_brings_needs_a_reach() {
    let all = Token::launched("patient/*.rs");
    assert_eq!(
        included(&all, "Observation?_include=Observation:performer"),
        [
            "CareTeam Patient/P1",
            "Organization referenced",
            "Patient Patient/P1",
            "Practitioner referenced",
            "PractitionerRole referenced",
            "RelatedPerson Patient/P1"
        ]
    );
    // A Group names others: it does not come, and what else the reference may be to does.
    assert_eq!(
        included(&all, "Observation?_include=Observation:subject"),
        ["Device Patient/P1", "Location referenced", "Patient Patient/P1"]
    );
    assert_eq!(included(&all, "Patient?_revinclude=Observation:subject"), ["Observation Patient/P1"]);
    let b = Token::launched("patient/Patient.r patient/Observation.rs patient/Condition.r");
    for (target, reason_id) in [
        ("Observation?_include=Observation:performer", "scope_insufficient"),
        ("Observation?_include=Observation:subject", "scope_insufficient"),
        ("Patient?_revinclude=Condition:subject", "scope_insufficient"),
        ("Observation?_revinclude=AuditEvent:entity", "scope_insufficient"),
    ] {
        assert_eq!(reason(&b, target), reason_id, "{target}");
    }
    assert!(diagnostics(&b, "Observation?_include=Observation:subject").contains("`Observation:subject:Patient`"));
    assert_eq!(included(&b, "Observation?_include=Observation:subject:Patient"), ["Patient Patient/P1"]);
    for target in [
        "Observation?_revinclude=AuditEvent:entity",
        "Patient?_revinclude=Group:member",
        "Observation?_revinclude=List:item",
        "Practitioner?_include=Practitioner:nosuch",
    ] {
        if target.starts_with("Practitioner") {
            continue;
        }
        assert_eq!(reason(&all, target), "type_not_served", "{target}");
    }
    // In reverse the type is searched: reference types are not, for one patient.
    assert_eq!(reason(&all, "Location?_revinclude=PractitionerRole:location"), "type_not_served");
}

#[test]
fn wildcards_and_repetition_need_all_of_every_type_they_bring() {
    let all = Token::clinician("user/*.rs");
    assert_eq!(
        asked(&all, "Observation?_include:recurse=Observation:has-member"),
        "Observation?_include:iterate=Observation:has-member"
    );
    assert!(included(&all, "Observation?_include=*").len() > 100);
    let of_this = included(&all, "Encounter?_include=Encounter:*");
    assert!(of_this.contains(&"Condition *".to_owned()) && !of_this.contains(&"Bundle *".to_owned()), "{of_this:?}");
    let some = Token::clinician("user/Observation.rs");
    assert_eq!(reason(&some, "Observation?_include=*"), "scope_insufficient");
    let mixed = Token { scope: "user/Observation.rs patient/*.rs".to_owned(), ..Token::launched("") };
    assert_eq!(reason(&mixed, "Observation?_include:iterate=Observation:subject:Patient"), "parameter_not_served");
    assert_eq!(included(&mixed, "Observation?_include=Observation:subject:Patient"), ["Patient Patient/P1"]);
    for never in [
        "_include=Observation:nosuch",
        "_include=Observation",
        "_include=Observation:code",
        "_include:x=Observation:subject",
        "_include=Condition:subject",
        "_revinclude=Group:member",
        "_include=Observation:subject:Practitioner",
        "_include=",
    ] {
        let request = FhirRequest::parse(Inbound::for_test("GET", &format!("/fhir/Observation?{never}")), "/fhir");
        assert_eq!(request.unwrap_err().status(), 400, "{never}");
    }
}

#[test]
fn a_compartment_is_searched_by_whom_it_is_for() {
    let a = Token::launched("patient/*.rs");
    assert_eq!(asked(&a, "Patient/P1/Observation?code=x"), "Observation?subject=Patient/P1&code=x");
    assert_eq!(asked(&a, "Patient/P1/Observation?patient=P2"), "nothing");
    assert!(matches!(decide(&a, "Patient/P2/Observation"), Decision::Refuse(Refusal::NotFound)));
    assert!(matches!(decide(&a, "Patient/P2/*?_type=Observation"), Decision::Refuse(Refusal::NotFound)));
    assert_eq!(reason(&a, "Encounter/e1/Observation"), "interaction_not_served");
    assert_eq!(reason(&Token::launched("patient/Patient.rs"), "Patient/P1/Observation"), "scope_insufficient");
    let all = Token::clinician("user/*.rs");
    assert_eq!(asked(&all, "Patient/P2/Observation?code=x"), "Patient/P2/Observation?code=x");
    assert_eq!(asked(&all, "Encounter/e1/Observation"), "Encounter/e1/Observation?");
    assert_eq!(asked(&all, "Patient/P2/Patient"), "Patient?_id=P2");
    let granular = Token::clinician("user/Observation.rs?category=x");
    assert_eq!(asked(&granular, "Patient/P2/Observation"), "Observation?subject=Patient/P2&category=x");
    // The user's own patient and the launch's: each in its own compartment.
    let both = Token { patient: Some("P2"), ..Token::patient("user/Observation.rs patient/Observation.rs?category=x") };
    assert_eq!(asked(&both, "Patient/P2/Observation"), "Observation?subject=Patient/P2&category=x");
    assert_eq!(asked(&both, "Patient/P1/Observation"), "Observation?subject=Patient/P1");
}

#[test]
fn several_types_are_several_searches() {
    let types = |token: &Token, target: &str| match permit(token, target).upstream {
        UpstreamRequest::PerType { searches } => {
            searches.iter().filter_map(UpstreamRequest::searched_type).map(ResourceType::name).collect::<Vec<_>>()
        }
        other => panic!("{target}: {other:?}"),
    };
    assert_eq!(types(&Token::launched("patient/Patient.r patient/Observation.rs"), "Patient/P1/*"), ["Observation"]);
    let a = Token::launched("patient/*.rs");
    assert_eq!(types(&a, "Patient/P1/*?_type=Condition,Observation"), ["Condition", "Observation"]);
    assert_eq!(reason(&a, "Patient/P1/*"), "parameter_not_served");
    assert_eq!(reason(&a, "Patient/P1/*?_type=Group"), "type_not_served");
    assert_eq!(reason(&a, "Patient/P1/*?_type=Observation&code=x"), "parameter_not_served");
    for target in ["?_type=Observation", "?_type=Observation,Patient&_id=x"] {
        assert_eq!(reason(&a, target), "interaction_not_served", "{target}");
    }
    let all = Token::clinician("user/*.rs");
    assert_eq!(types(&all, "?_type=Patient,Observation&_lastUpdated=gt2020"), ["Patient", "Observation"]);
    for (target, reason_id) in [
        ("", "parameter_not_served"),
        ("?_type=Bundle", "type_not_served"),
        ("?_type=Patient&_summary=count", "parameter_not_served"),
        ("?_type=Patient&name=x", "parameter_not_served"),
    ] {
        assert_eq!(reason(&all, target), reason_id, "{target}");
    }
    assert_eq!(reason(&Token::clinician("user/Observation.rs"), "?_type=Observation,Patient"), "scope_insufficient");
}

#[test]
fn a_page_is_asked_again_what_its_search_looked_at() {
    let page = |text: &str, token: &Token| {
        let pages = ClearPages(HashMap::from([("abc", (ResourceType::OBSERVATION, text.to_owned()))]));
        let request = FhirRequest::parse(Inbound::for_test("GET", "/fhir/Observation?_page=abc"), "/fhir").unwrap();
        AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &pages)
    };
    let all = permit(&Token::clinician("user/*.rs"), "Observation?patient.name=x")
        .obligations
        .beside
        .write_page("?_getpages=1");
    let own = permit(&Token::launched("patient/*.rs"), "Observation?patient.name=x")
        .obligations
        .beside
        .write_page("?_getpages=1");
    for (text, token, permitted) in [
        (&all, Token::clinician("user/*.rs"), true),
        (&all, Token::clinician("user/Observation.rs"), false),
        (&all, Token { scope: "user/Observation.rs patient/Patient.rs".to_owned(), ..Token::launched("") }, false),
        (&own, Token::launched("patient/*.rs"), true),
        (&own, Token::launched("patient/Observation.rs"), false),
        (&own, Token::launched("patient/Observation.rs patient/Patient.r"), false),
    ] {
        let decision = page(text, &token);
        assert_eq!(matches!(decision, Decision::Permit(_)), permitted, "{text} {} {decision:?}", token.scope);
        if let Decision::Permit(permit) = decision {
            let path_and_query = "?_getpages=1".to_owned();
            assert_eq!(
                permit.upstream,
                UpstreamRequest::Page { resource_type: ResourceType::OBSERVATION, path_and_query }
            );
        }
    }
}
