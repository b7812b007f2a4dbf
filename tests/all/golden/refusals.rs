//! What every refusal of the request path looks like: status, header fields, OperationOutcome.

use std::fmt::Write as _;

use bytes::Bytes;
use firebreak::audit::Outcome;
use firebreak::authorize::DenialReason;
use firebreak::error::{
    Challenge, ChangeProblem, Malformed, MalformedKind, Refusal, Scheme, SenderProblem, TokenProblem, UpstreamFault,
};
use firebreak::fhir::resource_type::ResourceType;
use firebreak::jose::dpop::ProofProblem;
use firebreak::json::patch::PatchError;
use http::StatusCode;

use super::{answer, compare, lined};
use crate::world::{BASE, Grant, Settings, World, run};

/// One of each kind, but those of the decision. The match that follows does not compile without a new one.
fn every_kind() -> Vec<Refusal> {
    let malformed = |kind| Refusal::Malformed(Malformed { kind, expected: "what was expected".to_owned() });
    let kinds = [
        MalformedKind::BadRequest,
        MalformedKind::UnknownPath,
        MalformedKind::MethodNotAllowed,
        MalformedKind::NotAcceptable,
        MalformedKind::Gone,
        MalformedKind::TooLarge,
        MalformedKind::TargetTooLong,
        MalformedKind::UnsupportedMediaType,
    ];
    let tokens = [
        TokenProblem::Missing,
        TokenProblem::WrongScheme,
        TokenProblem::Ambiguous,
        TokenProblem::Invalid,
        TokenProblem::Expired,
        TokenProblem::Revoked,
    ];
    let senders = [
        SenderProblem::Token(TokenProblem::Expired),
        SenderProblem::Binding,
        SenderProblem::Proof(ProofProblem::Invalid),
        SenderProblem::Proof(ProofProblem::Untimely),
        SenderProblem::Proof(ProofProblem::Replayed),
        SenderProblem::Proof(ProofProblem::Nonce),
    ];
    let faults = [
        UpstreamFault::Unreachable,
        UpstreamFault::Timeout,
        UpstreamFault::Busy,
        UpstreamFault::Status(500),
        UpstreamFault::Unusable("why"),
        UpstreamFault::Foreign(ResourceType::PATIENT),
    ];
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"invalid"}]}"#;
    let mut all: Vec<Refusal> = kinds.map(malformed).into();
    all.extend(tokens.map(Refusal::Unauthenticated));
    all.extend(senders.map(Refusal::UnprovenSender));
    all.push(Refusal::NotFound);
    all.extend(faults.map(Refusal::Upstream));
    all.push(Refusal::UpstreamRefused { outcome: Bytes::from_static(outcome.as_bytes()) });
    all.push(Refusal::Throttled { retry_after: 7 });
    all.push(Refusal::Unavailable("audit_unavailable"));
    all.push(Refusal::Change(ChangeProblem::PreconditionFailed));
    all.push(Refusal::Change(ChangeProblem::MultipleMatches));
    all.push(Refusal::Change(ChangeProblem::PatchInapplicable(PatchError::Inapplicable)));
    let outcome = Bytes::from_static(outcome.as_bytes());
    all.push(Refusal::UpstreamDeclined { status: StatusCode::UNPROCESSABLE_ENTITY, outcome });
    all.push(Refusal::Upstream(UpstreamFault::NotConfined));
    all
}

/// Where a refusal stands among its like, from 0 without a gap. A new variant does not compile until it is counted here, and is
/// missed below until it is one of [`every_kind`].
fn number(refusal: &Refusal) -> usize {
    let token = |problem: TokenProblem| match problem {
        TokenProblem::Missing => 0,
        TokenProblem::WrongScheme => 1,
        TokenProblem::Ambiguous => 2,
        TokenProblem::Invalid => 3,
        TokenProblem::Expired => 4,
        TokenProblem::Revoked => 5,
    };
    match refusal {
        Refusal::Malformed(malformed) => match malformed.kind {
            MalformedKind::BadRequest => 0,
            MalformedKind::UnknownPath => 1,
            MalformedKind::MethodNotAllowed => 2,
            MalformedKind::NotAcceptable => 3,
            MalformedKind::Gone => 4,
            MalformedKind::TooLarge => 5,
            MalformedKind::TargetTooLong => 6,
            MalformedKind::UnsupportedMediaType => 7,
        },
        Refusal::Unauthenticated(problem) => 8 + token(*problem),
        Refusal::UnprovenSender(problem) => match problem {
            SenderProblem::Token(problem) => 14 + token(*problem) / 6,
            SenderProblem::Binding => 15,
            SenderProblem::Proof(ProofProblem::Invalid) => 16,
            SenderProblem::Proof(ProofProblem::Untimely) => 17,
            SenderProblem::Proof(ProofProblem::Replayed) => 18,
            SenderProblem::Proof(ProofProblem::Nonce) => 19,
        },
        Refusal::NotFound => 20,
        Refusal::Upstream(fault) => match fault {
            UpstreamFault::Unreachable => 21,
            UpstreamFault::Timeout => 22,
            UpstreamFault::Busy => 23,
            UpstreamFault::Status(_) => 24,
            UpstreamFault::Unusable(_) => 25,
            UpstreamFault::Foreign(_) => 26,
            UpstreamFault::NotConfined => 34,
        },
        Refusal::UpstreamRefused { .. } => 27,
        Refusal::Throttled { .. } => 28,
        Refusal::Unavailable(_) => 29,
        Refusal::Change(ChangeProblem::PreconditionFailed) => 30,
        Refusal::Change(ChangeProblem::MultipleMatches) => 31,
        Refusal::Change(ChangeProblem::PatchInapplicable(_)) => 32,
        Refusal::UpstreamDeclined { .. } => 33,
        Refusal::Denied(denial) => match denial.reason {
            DenialReason::ScopeInsufficient => 35,
            DenialReason::ContextMissing => 36,
            DenialReason::PolicyDenied => 37,
            DenialReason::PolicyError => 38,
            DenialReason::InteractionNotServed => 39,
            DenialReason::ParameterNotServed => 40,
            DenialReason::TypeNotServed => 41,
            DenialReason::BodyOutsideGrant => 42,
            DenialReason::ReferenceNotPermitted => 43,
            DenialReason::LabelsChanged => 44,
            DenialReason::PartialCopy => 45,
            DenialReason::VersionUnknown => 46,
            DenialReason::DocumentOutsideGrant => 47,
        },
    }
}

#[test]
fn every_refusal_answers_as_clients_know_it() {
    let all = every_kind();
    let numbers: Vec<usize> = all.iter().map(number).collect();
    assert_eq!(numbers, (0..35).collect::<Vec<_>>(), "every kind is there once");
    let mut text = String::new();
    for refusal in all {
        let reason = refusal.reason();
        let response = refusal.into_response(&Challenge { realm: BASE, scheme: Scheme::Bearer });
        writeln!(text, "## {reason}\n{}", response.status().as_u16()).unwrap();
        for (name, value) in response.headers() {
            writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
        writeln!(text, "\n{}\n", lined(std::str::from_utf8(response.body()).unwrap())).unwrap();
    }
    compare("refusals.txt", &text);
}

/// A policy that validates and cannot be evaluated, for one role.
const BROKEN: &str = r#"@id("overflows")
@description("Cannot be evaluated.")
forbid (principal is User in Role::"auditor", action, resource)
when { 9223372036854775807 + 1 == 0 };"#;

#[test]
fn what_is_not_the_clients_doing_is_recorded_as_failed() {
    for refusal in every_kind() {
        let ours = refusal.status().is_server_error();
        match refusal.outcome() {
            Outcome::Failed(reason) => assert!(ours && reason == refusal.reason(), "{refusal:?}"),
            Outcome::Denied(reason) => assert!(!ours && reason == refusal.reason(), "{refusal:?}"),
            other => panic!("{other:?} of {refusal:?}"),
        }
    }
}

#[test]
fn every_denial_answers_as_clients_know_it() {
    run(async {
        let policies = tempfile::tempdir().unwrap();
        std::fs::write(policies.path().join("broken.cedar"), BROKEN).unwrap();
        let world = World::with(Settings { policies: policies.path().to_owned(), ..Settings::default() }).await;
        let app = Grant::patient("patient/*.rs", "P1");
        let cases = [
            ("scope_insufficient", Grant::patient("patient/Patient.rs", "P1"), "Observation/o1"),
            ("context_missing", app.clone().with(|claims| claims.patient = None), "Observation/o1"),
            ("policy_denied", Grant::user("user/*.rs", "Practitioner/d1", &[]), "Observation/o1"),
            ("policy_error", Grant::user("user/*.rs", "Practitioner/d1", &["clinician", "auditor"]), "Observation/o1"),
            ("interaction_not_served", app.clone(), "Patient/$match"),
            ("parameter_not_served", app.clone(), "Observation?encounter.status=x"),
            ("type_not_served", app, "Group/g1"),
        ];
        let writer = Grant::patient("patient/*.cruds", "P1");
        let bodies = [
            ("body_outside_grant", r#""subject":{"reference":"Patient/P2"}"#),
            (
                "reference_not_permitted",
                r#""subject":{"reference":"Patient/P1"},"encounter":{"reference":"Encounter/e2"}"#,
            ),
            ("labels_changed", r#""subject":{"reference":"Patient/P1"},"meta":{"security":[{"code":"R"}]}"#),
            ("partial_copy", r#""subject":{"reference":"Patient/P1"},"meta":{"tag":[{"code":"SUBSETTED"}]}"#),
        ];
        let mut text = String::new();
        for (reason, grant, target) in cases {
            let reply = world.get(&format!("/fhir/{target}"), &world.token(&grant)).await;
            assert_eq!(reply.status, 403, "{reason}: {}", reply.all());
            writeln!(text, "## {reason}\n{}", answer(&reply)).unwrap();
        }
        for (reason, rest) in bodies {
            let body = format!(r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{rest}}}"#);
            let headers = ["Content-Type: application/fhir+json"];
            let reply = world.send("POST /fhir/Observation", &world.token(&writer), &headers, &body).await;
            writeln!(text, "## {reason}\n{}", answer(&reply)).unwrap();
        }
        compare("denials.txt", &text);
        let denied: Vec<String> =
            world.finish().await.iter().filter_map(|entry| entry.record.reason.as_deref().map(str::to_owned)).collect();
        assert_eq!(denied, cases_in_order(&text), "each is what it is called");
    });
}

fn cases_in_order(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("## ")).collect()
}
