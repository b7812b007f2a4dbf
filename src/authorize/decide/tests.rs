#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use url::Url;

use super::*;
use crate::listen::Inbound;
use crate::smart::scope::Scopes;

mod reference;

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(|| Authorizer::new(None, bases(), 50).unwrap());

fn bases() -> Bases {
    let url = |text| Url::parse(text).unwrap();
    Bases::new(&url("https://gw.example/fhir"), &url("http://up.internal/fhir"), &[])
}

/// Continuations in clear text: `Type path`.
struct ClearPages(HashMap<&'static str, (ResourceType, String)>);

impl OpenPage for ClearPages {
    fn open_page(
        &self,
        token: &str,
        _: &Principal,
        _: Option<&crate::fhir::reference::LogicalId>,
    ) -> Result<(ResourceType, String), Refusal> {
        self.0.get(token).cloned().ok_or_else(|| Refusal::bad_request("expected a link of ours"))
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
        assert_eq!(read.obligations.compartment, Some(id("P1")));
        assert_eq!(read.obligations.types, [ResourceType::OBSERVATION]);
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
    for name in [
        "Group",
        "List",
        "Person",
        "AuditEvent",
        "Provenance",
        "Schedule",
        "MeasureReport",
        "Practitioner",
        "Organization",
        "Task",
        "Binary",
    ] {
        assert_eq!(reason(&Token::launched("patient/*.rs"), name), "type_not_served", "{name}");
        assert_eq!(reason(&Token::patient("user/*.rs"), &format!("{name}/x")), "type_not_served", "{name}");
    }
    for name in ["Device", "RelatedPerson", "Condition"] {
        permit(&Token::launched("patient/*.rs"), name);
    }
}

#[test]
fn a_clinicians_user_scope_is_not_narrowed_by_the_launch() {
    for token in [Token::clinician("user/*.rs"), Token::launched("patient/*.rs user/*.rs")] {
        let search = permit(&token, "Observation?patient=P2");
        assert_eq!(search.obligations.compartment, None);
        let parameters = vec![("patient".to_owned(), "Patient/P2".to_owned())];
        assert_eq!(search.upstream, UpstreamRequest::Search { resource_type: ResourceType::OBSERVATION, parameters });
        permit(&token, "Organization/x");
        assert_eq!(search.obligations.policies, ["clinician-reads-everything"]);
    }
}

#[test]
fn a_user_who_is_a_patient_is_bound_to_that_patient() {
    let own = permit(&Token { patient: None, ..Token::patient("user/*.cruds") }, "Observation");
    assert_eq!(own.obligations.compartment, Some(id("P1")));
    let related = Token {
        fhir_user: Some(("RelatedPerson", "r1")),
        roles: vec!["related_person"],
        ..Token::launched("user/*.rs")
    };
    assert_eq!(permit(&related, "Observation").obligations.compartment, Some(id("P1")));
    assert_eq!(reason(&Token { patient: None, ..related }, "Observation"), "context_missing");
    let child = Token { patient: Some("P3"), ..Token::patient("patient/*.rs user/*.rs") };
    assert_eq!(permit(&child, "Observation").obligations.compartment, Some(id("P3")));
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
    assert_eq!(permit(&Token::backend("system/Observation.rs"), "Observation").obligations.compartment, None);
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
        for target in [
            "Observation/_history",
            "_history",
            "",
            "Patient/P1/Observation",
            "Patient/P1/*",
            "Patient/P1/$everything",
            "$export",
            "Observation/o1/_history",
        ] {
            assert_eq!(reason(&token, target), "interaction_not_served", "{target}");
        }
    }
}

#[test]
fn parameters_beyond_the_resources_own_are_refused_for_every_grant() {
    for token in [Token::clinician("user/*.rs"), Token::backend("system/*.rs"), Token::launched("patient/*.rs")] {
        for query in [
            "patient.name=x",
            "_has:Observation:patient:code=x",
            "_include=Observation:performer",
            "_text=x",
            "_contained=true",
            "_summary=count",
            "_count=0",
            "_sort=patient.birthdate",
        ] {
            assert_eq!(reason(&token, &format!("Observation?{query}")), "parameter_not_served", "{query}");
        }
    }
}

#[test]
fn granular_scopes_grant_nothing_yet() {
    let scope = "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
    assert_eq!(reason(&Token::launched(scope), "Observation"), "scope_insufficient");
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
    assert_eq!(permit.obligations.compartment, Some(id("P1")));
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

const SCOPES: [&str; 22] = [
    "patient/*.rs",
    "patient/*.read",
    "patient/*.cruds",
    "patient/Observation.r",
    "patient/Observation.s",
    "patient/Patient.rs",
    "patient/observation.rs",
    "patient/Observation.sr",
    "patient/Observation.rs?category=x",
    "user/*.rs",
    "user/Practitioner.r",
    "user/Observation.write",
    "user/Patient.*",
    "system/*.rs",
    "system/Observation.r",
    "openid",
    "fhirUser",
    "launch/patient",
    "patient/Device.rs",
    "user/Group.rs",
    "patient/Group.rs",
    "offline_access",
];
const TARGETS: [&str; 20] = [
    "Observation/o1",
    "Observation",
    "Observation?code=x",
    "Observation?patient=P2",
    "Observation?patient.name=x",
    "Patient/P1",
    "Patient/P2",
    "Patient",
    "Patient/P1/_history/2",
    "Practitioner/d1",
    "Practitioner",
    "Group/g1",
    "Group",
    "Device/v1",
    "Device?patient=P1",
    "RelatedPerson/r1",
    "Observation/_history",
    "Patient/P1/$everything",
    "",
    "Task?_summary=count",
];

fn any_token() -> impl Strategy<Value = Token> {
    (
        prop::sample::subsequence(SCOPES.to_vec(), 0..=5),
        prop::sample::select(vec![None, Some("P1"), Some("P2"), Some("P1,P2")]),
        prop::sample::select(vec![
            None,
            Some(("Practitioner", "d1")),
            Some(("Patient", "P1")),
            Some(("RelatedPerson", "r1")),
            Some(("Person", "x")),
        ]),
        prop::sample::subsequence(vec!["clinician", "patient", "related_person", "backend"], 0..=2),
        prop::sample::select(vec!["dr", "app"]),
    )
        .prop_map(|(scopes, patient, fhir_user, roles, subject)| Token {
            scope: scopes.join(" "),
            patient,
            fhir_user,
            roles,
            subject,
        })
}

/// What came of it, as far as the reference decider knows.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    /// Permitted in one patient's compartment.
    OnePatient(String),
    /// Permitted without a compartment.
    Everything,
}

fn outcome(token: &Token, target: &str) -> Outcome {
    match decide(token, target) {
        Decision::Permit(permit) => {
            permit.obligations.compartment.map_or(Outcome::Everything, |id| Outcome::OnePatient(id.to_string()))
        }
        Decision::Deny(_) | Decision::Refuse(_) => Outcome::Refused,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_reference_decider_agrees(token in any_token(), target in prop::sample::select(TARGETS.to_vec())) {
        prop_assert_eq!(outcome(&token, target), reference::decide(&token, target), "{:?} {}", token, target);
    }

    #[test]
    fn removing_a_scope_never_turns_a_refusal_into_a_permit(token in any_token(), target in prop::sample::select(TARGETS.to_vec())) {
        if outcome(&token, target) == Outcome::Refused {
            let scopes: Vec<&str> = token.scope.split(' ').collect();
            for left_out in 0..scopes.len() {
                let fewer: Vec<&str> = scopes.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, scope)| *scope).collect();
                let fewer = Token { scope: fewer.join(" "), ..token.clone() };
                prop_assert_eq!(outcome(&fewer, target), Outcome::Refused, "{:?} {}", fewer, target);
            }
        }
    }

    #[test]
    fn removing_a_scope_never_widens_what_is_permitted(token in any_token(), target in prop::sample::select(TARGETS.to_vec())) {
        if let Outcome::OnePatient(_) = outcome(&token, target) {
            for left_out in 0..token.scope.split(' ').count() {
                let fewer: Vec<&str> = token.scope.split(' ').enumerate().filter(|(at, _)| *at != left_out).map(|(_, scope)| scope).collect();
                let fewer = Token { scope: fewer.join(" "), ..token.clone() };
                prop_assert_ne!(outcome(&fewer, target), Outcome::Everything, "{:?} {}", fewer, target);
            }
        }
    }
}
