#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{ClaimMapping, ProviderAuthentication};

const BASE: &str = "https://gw.example.org/fhir";

fn provider() -> Provider {
    Provider {
        id: "hospital".to_owned(),
        name: "The hospital".to_owned(),
        issuer: "https://login.example.org/realms/hospital".to_owned(),
        client_id: "firebreak".to_owned(),
        authentication: ProviderAuthentication::None,
        scopes: vec!["openid".to_owned()],
        ca: None,
        claims: ClaimMapping {
            fhir_user: Some(FhirUserClaim::Reference("fhirUser".to_owned())),
            roles: Some("realm_access.roles".to_owned()),
            role_map: [("doctor".to_owned(), "clinician".to_owned())].into(),
            display_name: "name".to_owned(),
            patients: Some("patients".to_owned()),
        },
        user_types: vec!["Practitioner".to_owned(), "Patient".to_owned()],
        rp_initiated_logout: true,
        roles: vec!["clinician".to_owned(), "patient".to_owned()],
    }
}

fn read(provider: &Provider, claims: &Value) -> Result<User, NotAllowedBecause> {
    user(provider, BASE, "s1", claims.as_object().unwrap()).map_err(|refused| {
        assert!(refused.user.roles.is_empty() && refused.user.sub == "s1");
        refused.why
    })
}

/// A clinician, with other claims besides.
fn with(more: &Value) -> Value {
    let mut claims = json!({"realm_access": {"roles": ["doctor"]}, "name": "Dr. Ada"});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

#[test]
fn roles_are_mapped_and_what_the_provider_may_not_assert_is_dropped() {
    let claims = with(&json!({"realm_access": {"roles": ["doctor", "auditor", "clinician", "offline_access"]}}));
    let user = read(&provider(), &claims).unwrap();
    assert_eq!(user.roles, ["clinician"]);
    assert_eq!(
        (user.display_name.as_str(), user.iss.as_str()),
        ("Dr. Ada", "https://login.example.org/realms/hospital")
    );
}

#[test]
fn a_user_without_an_allowed_role_is_refused() {
    for roles in
        [json!([]), json!(["auditor"]), json!("auditor"), json!({"doctor": true}), json!([["doctor"]]), json!(7)]
    {
        let claims = json!({"realm_access": {"roles": roles}});
        assert_eq!(read(&provider(), &claims).unwrap_err(), NotAllowedBecause::NoRole, "{claims}");
    }
    assert_eq!(read(&provider(), &json!({})).unwrap_err(), NotAllowedBecause::NoRole);
    // The default: nothing may be asserted.
    let nothing = Provider { roles: Vec::new(), ..provider() };
    assert_eq!(read(&nothing, &with(&json!({}))).unwrap_err(), NotAllowedBecause::NoRole);
}

#[test]
fn a_claim_whose_name_has_dots_is_found_before_a_path_is_followed() {
    let mut provider = provider();
    provider.claims.roles = Some("https://example.org/roles".to_owned());
    let claims = json!({"https://example.org/roles": "clinician", "https://example": {"org/roles": ["patient"]}});
    assert_eq!(read(&provider, &claims).unwrap().roles, ["clinician"]);
}

#[test]
fn the_fhir_user_is_relative_or_below_our_base() {
    for said in ["Practitioner/d1", "https://gw.example.org/fhir/Practitioner/d1"] {
        let user = read(&provider(), &with(&json!({"fhirUser": said}))).unwrap();
        assert_eq!(user.fhir_user.as_deref(), Some("Practitioner/d1"), "{said}");
    }
    assert_eq!(read(&provider(), &with(&json!({}))).unwrap().fhir_user, None);
}

#[test]
fn a_fhir_user_that_is_not_ours_or_not_allowed_refuses_the_login() {
    for said in [
        json!("https://elsewhere.example/fhir/Practitioner/d1"),
        json!("https://gw.example.org/fhirX/Practitioner/d1"),
        json!("Practitioner"),
        json!("Practitioner/"),
        json!("Practitioner/a/b"),
        json!("Practitioner/../x"),
        json!("Dragon/1"),
        json!(["Practitioner/d1"]),
        json!(""),
    ] {
        let found = read(&provider(), &with(&json!({"fhirUser": said}))).unwrap_err();
        assert_eq!(found, NotAllowedBecause::FhirUserMalformed, "{said}");
    }
    let found = read(&provider(), &with(&json!({"fhirUser": "RelatedPerson/r1"}))).unwrap_err();
    assert_eq!(found, NotAllowedBecause::FhirUserType);
}

#[test]
fn a_template_makes_the_fhir_user_of_an_id() {
    let mut provider = provider();
    let claim = "employee.number".to_owned();
    provider.claims.fhir_user = Some(FhirUserClaim::Id { resource_type: "Practitioner".to_owned(), claim });
    let user = |number: Value| read(&provider, &with(&json!({"employee": {"number": number}})));
    assert_eq!(user(json!("e-7")).unwrap().fhir_user.as_deref(), Some("Practitioner/e-7"));
    assert_eq!(user(json!(4711)).unwrap().fhir_user.as_deref(), Some("Practitioner/4711"));
    assert_eq!(user(json!("a/../../Patient/p1")).unwrap_err(), NotAllowedBecause::FhirUserMalformed);
}

#[test]
fn patients_are_the_users_own_and_those_of_the_claim() {
    let claims = with(&json!({"fhirUser": "Patient/p1", "patients": ["p2", "Patient/p3", "p1"]}));
    assert_eq!(read(&provider(), &claims).unwrap().patients, ["p1", "p2", "p3"]);
    for bad in [json!(["p 2"]), json!([7]), json!({}), json!(["Group/g1"])] {
        let found = read(&provider(), &with(&json!({"patients": bad}))).unwrap_err();
        assert_eq!(found, NotAllowedBecause::PatientsMalformed, "{bad}");
    }
    let mut silent = provider();
    silent.claims.patients = None;
    assert_eq!(read(&silent, &claims).unwrap().patients, ["p1"]);
}

#[test]
fn what_is_shown_of_a_name_is_short_and_plain() {
    let claims = with(&json!({"name": format!("A\u{7}{}", "x".repeat(500)), "preferred_username": "ada"}));
    assert_eq!(read(&provider(), &claims).unwrap().display_name.chars().count(), 100);
    assert_eq!(
        read(&provider(), &with(&json!({"name": " ", "preferred_username": "ada"}))).unwrap().display_name,
        "ada"
    );
}

#[test]
fn a_user_stands_as_far_as_the_provider_may_assert_it_today() {
    let user = read(&provider(), &with(&json!({"fhirUser": "Patient/p1", "patients": ["p2"]}))).unwrap();
    assert_eq!(standing(&provider(), &user), Some(user.clone()));
    assert_eq!(standing(&Provider { roles: vec!["patient".to_owned()], ..provider() }, &user), None);
    assert_eq!(standing(&Provider { user_types: vec!["Practitioner".to_owned()], ..provider() }, &user), None);
    assert_eq!(standing(&Provider { issuer: "https://other.example".to_owned(), ..provider() }, &user), None);
    let mut silent = provider();
    silent.claims.patients = None;
    assert_eq!(standing(&silent, &user).unwrap().patients, ["p1"]);
    // A role that it may assert now is not one that it asserted then.
    let more = Provider { roles: vec!["clinician".to_owned(), "auditor".to_owned()], ..provider() };
    assert_eq!(standing(&more, &user).unwrap().roles, ["clinician"]);
}

proptest! {
    #[test]
    fn nobody_gets_a_role_or_a_type_that_is_not_allowed(roles in proptest::collection::vec(".{0,12}", 0..6), who in ".{0,40}") {
        let claims = json!({"realm_access": {"roles": roles}, "fhirUser": who});
        if let Ok(user) = read(&provider(), &claims) {
            prop_assert!(user.roles.iter().all(|role| provider().roles.contains(role)));
            prop_assert!(user.fhir_user.is_none_or(|user| user.starts_with("Practitioner/") || user.starts_with("Patient/")));
        }
    }
}
