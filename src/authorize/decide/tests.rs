#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use url::Url;

use super::*;
use crate::authenticate::Context;
use crate::authorize::Attachment;
use crate::fhir::reference::LogicalId as Id;
use crate::listen::Inbound;
use crate::smart::scope::Scopes;

mod binaries;
mod bodies;
mod bundles;
mod conditional;
mod current;
mod operations;
mod outgoing;
mod policies;
mod properties;
mod provenance;
mod searches;

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(|| Authorizer::new(None, bases(), 50, Vec::new()).unwrap());

fn bases() -> Bases {
    let url = |text| Url::parse(text).unwrap();
    Bases::new(&url("https://gw.example/fhir"), &url("http://up.internal/fhir"), &[])
}

/// Continuations in clear text: `Type path`.
struct ClearPages(HashMap<&'static str, (ResourceType, String)>);

impl OpenPage for ClearPages {
    fn open_page(&self, token: &str, _: &Principal, _: &str) -> Result<(ResourceType, String), Refusal> {
        self.0.get(token).cloned().ok_or_else(|| Refusal::bad_request("expected a link of ours"))
    }

    fn open_attachment(&self, _: &str, _: &Principal, _: &Id) -> Result<Attachment, Refusal> {
        Err(Refusal::bad_request("expected a link of ours"))
    }
}

fn no_pages() -> ClearPages {
    ClearPages(HashMap::new())
}

fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

/// A token: scopes, launch patient, fhirUser, roles.
#[derive(Clone, Debug)]
struct Token {
    scope: String,
    patient: Option<&'static str>,
    fhir_user: Option<(&'static str, &'static str)>,
    roles: Vec<&'static str>,
    subject: &'static str,
}

impl Token {
    fn clinician(scope: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            patient: None,
            fhir_user: Some(("Practitioner", "d1")),
            roles: vec!["clinician"],
            subject: "dr",
        }
    }

    fn launched(scope: &str) -> Self {
        Self { patient: Some("P1"), ..Self::clinician(scope) }
    }

    fn patient(scope: &str) -> Self {
        Self { fhir_user: Some(("Patient", "P1")), roles: vec!["patient"], ..Self::launched(scope) }
    }

    fn backend(scope: &str) -> Self {
        Self { scope: scope.to_owned(), patient: None, fhir_user: None, roles: vec!["backend"], subject: "app" }
    }

    fn principal(&self) -> Principal {
        Principal {
            issuer: "https://gw.example".to_owned(),
            subject: self.subject.to_owned(),
            client_id: "app".to_owned(),
            grant_id: "g1".to_owned(),
            token_handle: "t1".to_owned(),
            scopes: Arc::new(Scopes::compile(&self.scope)),
            scope_text: self.scope.clone(),
            patient: self
                .patient
                .map_or(Context::Absent, |text| Id::parse(text).map_or(Context::Unusable, Context::Patient)),
            encounter: None,
            fhir_user: self.fhir_user.map(|(name, text)| (ResourceType::parse(name).unwrap(), id(text))),
            roles: self.roles.iter().map(|role| (*role).to_owned()).collect(),
            expires: i64::MAX,
        }
    }
}

fn decide(token: &Token, target: &str) -> Decision {
    let request = FhirRequest::parse(Inbound::for_test("GET", &format!("/fhir/{target}")), "/fhir").unwrap();
    AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &no_pages())
}

fn permit(token: &Token, target: &str) -> Permit {
    match decide(token, target) {
        Decision::Permit(permit) => permit,
        other => panic!("{target}: {other:?}"),
    }
}

fn reason(token: &Token, target: &str) -> &'static str {
    match decide(token, target) {
        Decision::Deny(denial) => denial.reason.id(),
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn a_patient_scope_reads_and_searches_one_compartment() {
    for token in [Token::launched("patient/*.rs"), Token::patient("patient/Observation.read")] {
        let read = permit(&token, "Observation/o1");
        assert_eq!(read.upstream, UpstreamRequest::Read { resource_type: ResourceType::OBSERVATION, id: id("o1") });
        assert_eq!(read.obligations.reach.to_string(), "Observation Patient/P1");
        let search = permit(&token, "Observation?code=8867-4&_count=1000");
        let parameters = [("subject", "Patient/P1"), ("code", "8867-4"), ("_count", "50")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(search.upstream, UpstreamRequest::Search { resource_type: ResourceType::OBSERVATION, parameters });
        assert_eq!(search.obligations.self_link, "Observation?code=8867-4&_count=1000");
    }
}

#[test]
fn each_letter_allows_what_it_stands_for_and_no_more() {
    assert_eq!(reason(&Token::launched("patient/Observation.r"), "Observation"), "scope_insufficient");
    assert_eq!(reason(&Token::launched("patient/Observation.s"), "Observation/o1"), "scope_insufficient");
    assert_eq!(reason(&Token::launched("patient/Observation.cud"), "Observation/o1"), "scope_insufficient");
    permit(&Token::launched("patient/Observation.r"), "Observation/o1/_history/2");
    permit(&Token::launched("patient/Observation.r patient/Observation.s"), "Observation");
    let Decision::Deny(denial) = decide(&Token::launched("patient/Patient.rs"), "Observation/o1") else { panic!() };
    assert_eq!(denial.missing_scope.as_deref(), Some("patient/Observation.r"));
}

#[test]
fn a_patient_scope_without_a_usable_patient_reaches_nothing() {
    for patient in [
        None,
        Some(""),
        Some("../P2"),
        Some("P1,P2"),
        Some("P1?x"),
        Some("P1%2CP2"),
        Some("https://other/fhir/Patient/P1"),
    ] {
        let token = Token { patient, ..Token::launched("patient/*.cruds") };
        assert_eq!(reason(&token, "Observation"), "context_missing", "{patient:?}");
        assert_eq!(reason(&token, "Patient/P1"), "context_missing", "{patient:?}");
    }
}

#[test]
fn types_that_name_others_or_belong_to_nobody_are_not_served_to_one_patients_grant() {
    for name in ["Group", "List", "Person", "AuditEvent", "Schedule", "MeasureReport", "Task", "Binary"] {
        assert_eq!(reason(&Token::launched("patient/*.rs"), name), "type_not_served", "{name}");
        // One Binary may be in the patient's security context.
        let by_id = if name == "Binary" { "Binary/x/_history/1".to_owned() } else { format!("{name}/x") };
        assert_eq!(reason(&Token::patient("user/*.rs"), &by_id), "type_not_served", "{name}");
    }
    for name in ["Practitioner", "PractitionerRole", "Organization", "Location", "Medication"] {
        assert_eq!(reason(&Token::launched("patient/*.rs"), name), "type_not_served", "{name}");
        assert_eq!(reason(&Token::patient("user/*.rs"), &format!("{name}?identifier=x")), "type_not_served", "{name}");
        for token in [Token::launched("patient/*.rs"), Token::patient("patient/*.rs"), Token::patient("user/*.rs")] {
            let read = permit(&token, &format!("{name}/x"));
            assert_eq!(read.obligations.reach.to_string(), format!("{name} referenced"));
            assert!(!read.obligations.reach.is_unrestricted());
        }
        assert_eq!(reason(&Token::launched("patient/Observation.rs"), &format!("{name}/x")), "scope_insufficient");
    }
    for name in ["Device", "RelatedPerson", "Condition"] {
        permit(&Token::launched("patient/*.rs"), name);
    }
}

#[test]
fn a_clinicians_user_scope_is_not_narrowed_by_the_launch() {
    for token in [Token::clinician("user/*.rs"), Token::launched("patient/*.rs user/*.rs")] {
        let search = permit(&token, "Observation?patient=P2");
        assert!(search.obligations.reach.is_unrestricted());
        let parameters = vec![("patient".to_owned(), "Patient/P2".to_owned())];
        assert_eq!(search.upstream, UpstreamRequest::Search { resource_type: ResourceType::OBSERVATION, parameters });
        permit(&token, "Organization/x");
        assert_eq!(search.obligations.reach.policies(), ["clinician-reads-everything"]);
    }
}

#[test]
fn a_user_who_is_a_patient_is_bound_to_that_patient() {
    let own = permit(&Token { patient: None, ..Token::patient("user/*.cruds") }, "Observation");
    assert_eq!(own.obligations.reach.to_string(), "Observation Patient/P1");
    let related = Token {
        fhir_user: Some(("RelatedPerson", "r1")),
        roles: vec!["related_person"],
        ..Token::launched("user/*.rs")
    };
    assert_eq!(permit(&related, "Observation").obligations.reach.to_string(), "Observation Patient/P1");
    assert_eq!(reason(&Token { patient: None, ..related }, "Observation"), "context_missing");
    let child = Token { patient: Some("P3"), ..Token::patient("patient/*.rs user/*.rs") };
    // Each scope in its own context; the launch goes first.
    assert_eq!(permit(&child, "Observation").obligations.reach.to_string(), "Observation Patient/P3, Patient/P1");
}

#[test]
fn a_user_scope_needs_to_know_the_user() {
    for fhir_user in [None, Some(("Person", "x")), Some(("Device", "x")), Some(("Organization", "x"))] {
        let token = Token { fhir_user, ..Token::clinician("user/*.rs") };
        assert_eq!(reason(&token, "Observation"), "context_missing", "{fhir_user:?}");
    }
}

#[test]
fn without_a_role_there_is_nothing() {
    for token in [Token::clinician("user/*.rs"), Token::launched("patient/*.rs"), Token::backend("system/*.rs")] {
        assert_eq!(reason(&Token { roles: vec![], ..token }, "Observation"), "policy_denied");
    }
}

#[test]
fn a_system_scope_needs_a_policy_for_the_client_itself() {
    assert!(permit(&Token::backend("system/Observation.rs"), "Observation").obligations.reach.is_unrestricted());
    // A person's roles do not become the app's, whatever they are called.
    let person = Token { subject: "dr", ..Token::backend("system/Observation.rs") };
    assert_eq!(reason(&person, "Observation"), "policy_denied");
    assert_eq!(reason(&Token::clinician("system/Observation.rs"), "Observation"), "policy_denied");
}

#[test]
fn the_scope_fhir_user_reads_exactly_the_users_own_entry() {
    let token = Token::launched("openid fhirUser launch/patient");
    let own = permit(&token, "Practitioner/d1");
    assert_eq!(own.upstream, UpstreamRequest::Read { resource_type: ResourceType::PRACTITIONER, id: id("d1") });
    for target in [
        "Practitioner/d2",
        "Patient/P1",
        "Practitioner",
        "Practitioner?_id=d1",
        "Practitioner/d1/_history/1",
        "Patient/d1",
    ] {
        assert_eq!(reason(&token, target), "scope_insufficient", "{target}");
    }
    assert_eq!(reason(&Token::launched("openid"), "Practitioner/d1"), "scope_insufficient");
    // Under `patient/` alone a Practitioner is not served, and the own entry still is.
    permit(&Token::launched("fhirUser patient/*.rs"), "Practitioner/d1");
    permit(&Token::patient("fhirUser"), "Patient/P1");
    let related = Token {
        fhir_user: Some(("RelatedPerson", "r1")),
        roles: vec!["related_person"],
        ..Token::launched("fhirUser")
    };
    permit(&related, "RelatedPerson/r1");
}

#[test]
fn interactions_that_are_not_served_are_refused_for_every_grant() {
    for token in
        [Token::clinician("user/*.cruds"), Token::backend("system/*.cruds"), Token::launched("patient/*.cruds")]
    {
        for target in ["$graphql", "$export", "Patient/$match", "$foo"] {
            assert_eq!(reason(&token, target), "interaction_not_served", "{target}");
        }
    }
}

#[test]
fn histories_need_the_letter_of_what_they_are_about_and_to_reach_what_nothing_narrows() {
    let launched = Token::launched("patient/*.cruds");
    for target in ["Observation/_history", "_history"] {
        assert_eq!(reason(&launched, target), "interaction_not_served", "{target}");
    }
    let Decision::Inquire(inquiry) = decide(&launched, "Observation/o1/_history") else { panic!("it depends") };
    let read = UpstreamRequest::Read { resource_type: ResourceType::OBSERVATION, id: id("o1") };
    assert_eq!(inquiry.reads(), [read], "on what is there now");
    for token in [Token::clinician("user/*.rs"), Token::backend("system/*.rs")] {
        for target in ["Observation/o1/_history", "Observation/_history", "_history"] {
            let UpstreamRequest::History { path, .. } = permit(&token, target).upstream else { panic!("{target}") };
            assert_eq!(path, target);
        }
        assert_eq!(reason(&token, "Bundle/_history"), "type_not_served");
    }
    assert_eq!(reason(&Token::clinician("user/*.s"), "Observation/o1/_history"), "scope_insufficient");
    for target in ["Observation/_history", "_history"] {
        assert_eq!(reason(&Token::clinician("user/*.r"), target), "scope_insufficient", "{target}");
    }
    assert_eq!(reason(&Token::clinician("user/Observation.rs"), "_history"), "scope_insufficient");
    assert_eq!(reason(&Token::launched("patient/Observation.s"), "Observation/o1/_history"), "scope_insufficient");
}

const LABORATORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory";

fn searched(token: &Token, target: &str) -> Vec<String> {
    match permit(token, target).upstream {
        UpstreamRequest::Search { parameters, .. } => {
            parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        }
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn a_granular_scope_narrows_and_is_an_obligation() {
    let token = Token::launched(&format!("patient/Observation.rs?category={LABORATORY}"));
    let reach = permit(&token, "Observation/o1").obligations.reach;
    assert_eq!(reach.to_string(), format!("Observation Patient/P1 category={LABORATORY}"));
    let asked = searched(&token, "Observation?category=vital-signs");
    assert_eq!(asked, ["subject=Patient/P1", &format!("category={LABORATORY}"), "category=vital-signs"]);
    assert_eq!(reason(&token, "Condition"), "scope_insufficient");
}

#[test]
fn granular_scopes_add_up_and_are_never_mixed() {
    let two = Token::launched("patient/Observation.rs?category=a patient/Observation.rs?category=b");
    assert_eq!(searched(&two, "Observation"), ["subject=Patient/P1", "category=a,b"]);
    let wide = Token::launched("patient/Observation.rs?category=a patient/Observation.rs");
    assert_eq!(searched(&wide, "Observation"), ["subject=Patient/P1"]);
    // Two parameters are no one search, but two.
    let other = Token::launched("patient/Observation.rs?category=a patient/Observation.rs?code=b");
    let UpstreamRequest::Each { parts, .. } = permit(&other, "Observation?status=final").upstream else { panic!() };
    let search = |name: &str, value: &str| {
        let parameters = [("subject", "Patient/P1"), (name, value), ("status", "final")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        UpstreamRequest::Search { resource_type: ResourceType::OBSERVATION, parameters }
    };
    let asked: Vec<_> = parts.into_iter().map(|part| (part.place, part.request)).collect();
    assert_eq!(asked, [(0, search("category", "a")), (1, search("code", "b"))]);
    assert_eq!(reason(&other, "Observation?_sort=date"), "parameter_not_served");
    let in_parts = |names: &[&str]| {
        let scopes = names.iter().map(|name| format!("patient/Observation.rs?{name}=x"));
        Token::launched(&scopes.collect::<Vec<_>>().join(" "))
    };
    permit(&in_parts(&["category", "code", "status", "method"]), "Observation");
    let five = in_parts(&["category", "code", "status", "method", "_tag"]);
    assert_eq!(reason(&five, "Observation"), "parameter_not_served");
    permit(&five, "Observation/o1");
    assert_eq!(
        permit(&other, "Observation/o1").obligations.reach.to_string(),
        "Observation Patient/P1 category=a, Patient/P1 code=b"
    );
    // The letter of one scope does not come with the condition of another.
    let mixed = Token::launched("patient/Observation.r patient/Observation.s?category=a");
    assert_eq!(permit(&mixed, "Observation/o1").obligations.reach.to_string(), "Observation Patient/P1");
    assert_eq!(searched(&mixed, "Observation"), ["subject=Patient/P1", "category=a"]);
    let clinician = Token::launched("user/Observation.rs?category=a patient/Observation.rs");
    assert_eq!(
        permit(&clinician, "Observation/o1").obligations.reach.to_string(),
        "Observation * category=a, Patient/P1"
    );
}

// I5, B 16, 17
#[test]
fn a_condition_that_cannot_be_kept_grants_nothing() {
    for scope in [
        "patient/Observation.rs?category=",
        "patient/Observation.rs?nosuch=x",
        "patient/Observation.rs?date=2026",
        "patient/*.rs?category=laboratory",
        "patient/Observation.read?category=laboratory",
        "patient/Observation.rs?subject.name=x",
    ] {
        assert_eq!(reason(&Token::launched(scope), "Observation"), "scope_insufficient", "{scope}");
    }
}

#[test]
fn a_search_for_somebody_else_is_answered_without_asking_the_upstream() {
    let token = Token::launched("patient/*.rs");
    let expected = UpstreamRequest::Nothing { resource_type: ResourceType::OBSERVATION };
    assert_eq!(permit(&token, "Observation?patient=P2").upstream, expected);
    assert_eq!(permit(&token, "Observation?patient=P1&patient=P2").upstream, expected);
}

#[test]
fn a_continuation_is_authorised_as_a_search_before_it_is_opened() {
    let opened = (ResourceType::OBSERVATION, "?_getpages=1".to_owned());
    let pages = ClearPages(HashMap::from([("abc", opened)]));
    let ask = |token: &Token, target: &str| {
        let request = FhirRequest::parse(Inbound::for_test("GET", target), "/fhir").unwrap();
        AUTHORIZER.decide(Authenticated::for_test(request, token.principal()), &pages)
    };
    let token = Token::launched("patient/Observation.rs patient/Condition.rs");
    let Decision::Permit(permit) = ask(&token, "/fhir/Observation?_page=abc") else { panic!("expected a permit") };
    let path_and_query = "?_getpages=1".to_owned();
    assert_eq!(permit.upstream, UpstreamRequest::Page { resource_type: ResourceType::OBSERVATION, path_and_query });
    assert_eq!(permit.obligations.reach.to_string(), "Observation Patient/P1");
    for target in ["/fhir/Condition?_page=abc", "/fhir/Observation?_page=nope"] {
        assert!(matches!(ask(&token, target), Decision::Refuse(refusal) if refusal.status() == 400), "{target}");
    }
    let downgraded = Token::launched("patient/Condition.rs");
    assert!(matches!(ask(&downgraded, "/fhir/Observation?_page=abc"), Decision::Deny(_)));
}

#[test]
fn head_and_if_none_match_and_projection_become_obligations() {
    let mut inbound = Inbound::for_test("HEAD", "/fhir/Observation/o1?_elements=code");
    inbound.headers.insert("if-none-match", "W/\"3\"".parse().unwrap());
    let request = FhirRequest::parse(inbound, "/fhir").unwrap();
    let who = Authenticated::for_test(request, Token::clinician("user/*.rs").principal());
    let Decision::Permit(permit) = AUTHORIZER.decide(who, &no_pages()) else { panic!("expected a permit") };
    assert!(permit.obligations.head);
    assert!(permit.obligations.projection.is_partial());
    assert_eq!(permit.obligations.if_none_match.as_deref(), Some("W/\"3\""));
}
