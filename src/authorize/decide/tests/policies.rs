//! What a site's own policies make of a decision.

use std::fs;

use super::*;
use crate::authorize::Denial;

/// Decides with these policies beside the shipped ones.
fn with(policies: &str) -> Authorizer {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("own.cedar"), policies).unwrap();
    Authorizer::new(Some(directory.path()), bases(), 50, Vec::new()).unwrap()
}

fn decide_by(authorizer: &Authorizer, token: &Token, target: &str) -> Decision {
    let request = FhirRequest::parse(Inbound::for_test("GET", &format!("/fhir/{target}")), "/fhir").unwrap();
    authorizer.decide(Authenticated::for_test(request, token.principal()), &no_pages())
}

fn denial(authorizer: &Authorizer, token: &Token, target: &str) -> Denial {
    match decide_by(authorizer, token, target) {
        Decision::Deny(denial) => denial,
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn a_policy_about_an_operation_decides_whether_it_is_served() {
    let authorizer = with(
        r#"
        @id("no-last") forbid (principal, action, resource) when { context.operation == "lastn" };
        @id("no-lookup") forbid (principal, action, resource) when { context.operation == "lookup" };
    "#,
    );
    let token = Token::launched("patient/*.rs");
    let lookup = "CodeSystem/$lookup?system=http://loinc.org&code=8867-4";
    for (target, policy) in [("Observation/$lastn", "no-last"), (lookup, "no-lookup")] {
        let denial = denial(&authorizer, &token, target);
        assert_eq!((denial.reason, denial.policies), (DenialReason::PolicyDenied, vec![policy.to_owned()]), "{target}");
        assert!(matches!(decide(&token, target), Decision::Permit(_)), "{target}");
    }
    for target in ["Observation", "CodeSystem/$subsumes?system=http://loinc.org&codeA=a&codeB=b"] {
        assert!(matches!(decide_by(&authorizer, &token, target), Decision::Permit(_)), "{target}");
    }
}

#[test]
fn a_policy_that_fails_denies_and_says_so() {
    let authorizer =
        with(r#"@id("overflow") permit (principal, action, resource) when { 9223372036854775807 + 1 < 0 };"#);
    for token in [Token::launched("patient/*.rs"), Token::clinician("user/*.rs fhirUser")] {
        for target in ["Observation/o1", "Practitioner/d1"] {
            let denial = denial(&authorizer, &token, target);
            assert_eq!((denial.reason, denial.policies), (DenialReason::PolicyError, Vec::new()), "{target}");
        }
    }
}

#[test]
fn each_forbid_of_a_context_that_would_have_sufficed_is_named_once() {
    let authorizer = with(
        r#"
        @id("for-one") forbid (principal, action, resource) when { context.level == "patient" };
        @id("for-users") forbid (principal, action, resource) when { context.level == "user" };
        @id("for-all") forbid (principal, action == Action::"read", resource);
    "#,
    );
    let both = Token::launched("patient/Observation.rs user/Observation.rs");
    let told = denial(&authorizer, &both, "Observation/o1");
    let mut policies = told.policies;
    policies.sort_unstable();
    assert_eq!(
        (told.reason, policies.as_slice()),
        (DenialReason::PolicyDenied, ["for-all", "for-one", "for-users"].map(str::to_owned).as_slice())
    );
    let one = denial(&authorizer, &Token::launched("patient/Observation.rs"), "Observation");
    assert_eq!(one.policies, ["for-one"]);
    // Nobody forbids what no scope covers.
    let none = denial(&authorizer, &both, "Condition/c1");
    assert_eq!((none.reason, none.policies), (DenialReason::ScopeInsufficient, Vec::new()));
}

#[test]
fn what_codes_mean_is_asked_and_not_read() {
    let token = Token::launched("patient/*.rs");
    for name in ["CodeSystem", "ConceptMap", "ValueSet"] {
        for target in [format!("{name}/x"), format!("{name}/x/_history/1"), name.to_owned()] {
            assert_eq!(reason(&token, &target), "type_not_served", "{target}");
        }
    }
    let asked = permit(&token, "CodeSystem/$lookup?system=http://loinc.org&code=8867-4");
    assert_eq!(asked.obligations.reach.to_string(), "CodeSystem referenced");
}

#[test]
fn of_several_reasons_the_one_that_came_nearest_is_told() {
    let token = Token { roles: vec![], ..Token::launched("patient/*.rs user/*.rs") };
    // For one patient it is not served, whatever the policies say; for the user the policies do not let.
    assert_eq!(reason(&token, "Group/x"), "policy_denied");
    let for_one = Token { roles: vec![], ..Token::launched("patient/*.rs") };
    assert_eq!(reason(&for_one, "Group/x"), "type_not_served");
}

#[test]
fn who_may_change_and_not_create_brings_nothing_into_being_by_an_update() {
    let authorizer = with(r#"@id("no-new") forbid (principal, action == Action::"create", resource);"#);
    let token = Token::clinician("user/*.cruds");
    let put = |authorizer: &Authorizer, condition: Option<&'static str>| {
        let mut inbound = Inbound::for_test("PUT", "/fhir/Observation/o9");
        inbound.body = r#"{"resourceType":"Observation","id":"o9"}"#.into();
        inbound.headers.insert("content-type", "application/fhir+json".parse().unwrap());
        if let Some(value) = condition {
            inbound.headers.insert("if-none-match", value.parse().unwrap());
        }
        let request = FhirRequest::parse(inbound, "/fhir").unwrap();
        authorizer.decide(Authenticated::for_test(request, token.principal()), &no_pages())
    };
    let Decision::Deny(denial) = put(&authorizer, Some("*")) else { panic!("it would create") };
    assert_eq!((denial.reason, denial.policies), (DenialReason::PolicyDenied, vec!["no-new".to_owned()]));
    // Without a condition it is read first: an update of what is absent would create it.
    let Decision::Inquire(inquiry) = put(&authorizer, None) else { panic!("it depends on what is there") };
    let absent = authorizer.resume(inquiry, &[Evidence::absent()]);
    assert!(matches!(absent, Decision::Refuse(Refusal::NotFound)), "{absent:?}");
    let Decision::Permit(permit) = put(&AUTHORIZER, None) else { panic!("who may create may create so") };
    assert!(permit.changes());
    // With the condition it is read all the same, and sent with it.
    let Decision::Inquire(inquiry) = put(&AUTHORIZER, Some("*")) else { panic!("it depends on what is there") };
    let Decision::Permit(permit) = AUTHORIZER.resume(inquiry, &[Evidence::absent()]) else {
        panic!("nothing is there")
    };
    let UpstreamRequest::Write(write) = permit.upstream else { panic!("a write") };
    assert!(write.if_none_match);
}

#[test]
fn a_policy_about_a_group_of_types_is_about_each_of_it_and_no_other() {
    let groups = [
        ("patient_compartment", &["Observation", "Patient", "Condition"][..]),
        ("names_others", &["AuditEvent", "Group", "List", "Person", "Schedule"]),
        ("reference_type", &["Practitioner", "Organization", "Location", "Medication"]),
        ("terminology", &["CodeSystem", "ValueSet", "ConceptMap"]),
    ];
    let token = Token::clinician("user/*.rs");
    for (group, members) in groups {
        let forbids =
            format!(r#"@id("no") forbid (principal, action == Action::"read", resource in TypeGroup::"{group}");"#);
        let authorizer = with(&forbids);
        for name in members {
            assert_eq!(denial(&authorizer, &token, &format!("{name}/x")).policies, ["no"], "{group} {name}");
        }
        let other = if group == "terminology" { "Practitioner/x" } else { "CodeSystem/x" };
        assert!(matches!(decide_by(&authorizer, &token, other), Decision::Permit(_)), "{group}");
    }
}
