//! The lines of the audit log: every field in its order, and for each kind of event what its records have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use firebreak::admin::events::{AdministrationEvent, Operator, announce};
use firebreak::audit::{Decision, Ending, EventKind, Record, Upstream};
use serde_json::Value;

use super::compare;
use crate::flows::story::{self, Story};
use crate::world::{World, run};

/// All kinds. [`number`] does not compile without a new one, which is missed below until it is here.
const KINDS: [EventKind; 18] = [
    EventKind::Fhir,
    EventKind::Authorization,
    EventKind::Login,
    EventKind::Logout,
    EventKind::Consent,
    EventKind::Token,
    EventKind::Introspection,
    EventKind::Revocation,
    EventKind::Registration,
    EventKind::Launch,
    EventKind::Administration,
    EventKind::AuditAccess,
    EventKind::Refusals,
    EventKind::Unaudited,
    EventKind::Start,
    EventKind::Stop,
    EventKind::Repair,
    EventKind::Unreleased,
];

fn number(kind: EventKind) -> usize {
    match kind {
        EventKind::Fhir => 0,
        EventKind::Authorization => 1,
        EventKind::Login => 2,
        EventKind::Logout => 3,
        EventKind::Consent => 4,
        EventKind::Token => 5,
        EventKind::Introspection => 6,
        EventKind::Revocation => 7,
        EventKind::Registration => 8,
        EventKind::Launch => 9,
        EventKind::Administration => 10,
        EventKind::AuditAccess => 11,
        EventKind::Refusals => 12,
        EventKind::Unaudited => 13,
        EventKind::Start => 14,
        EventKind::Stop => 15,
        EventKind::Repair => 16,
        EventKind::Unreleased => 17,
    }
}

/// A record that says everything. Written out: a field that is new does not compile until it is here.
fn everything() -> Record {
    let text = |text: &str| Some(text.to_owned());
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    Record {
        kind: EventKind::Fhir,
        request_id: text("r"),
        listener: Some("public".into()),
        client_ip: Some([192, 0, 2, 1].into()),
        tls: Some("1.3".into()),
        client_cert: text("c"),
        client_id: text("app"),
        iss: text("https://gw.example.org"),
        sub: text("dr"),
        fhir_user: text("Practitioner/d1"),
        roles: words(&["clinician"]),
        jti: text("j"),
        scopes: text("patient/*.rs"),
        patient: text("P1"),
        encounter: text("e1"),
        interaction: Some("read".into()),
        method: Some("GET".into()),
        resource_type: Some("Patient".into()),
        resource_ids: words(&["Patient/P1"]),
        version_id: text("1"),
        query_names: words(&["_id"]),
        query_raw: text("X2lkPTE="),
        patients: words(&["P1"]),
        withheld: Some(1),
        decision: Some(Decision::Permit),
        reason: Some("not_found_or_hidden".into()),
        policies: words(&["clinician-reads-everything"]),
        explanation: words(&["allowed: read of Patient"]),
        upstream: Some(Upstream { name: "fhir".to_owned(), ms: 1 }),
        status: Some(200),
        bytes: Some(1),
        duration_ms: Some(1),
        outcome: Some(Ending::Released),
        action: Some("token_refreshed".into()),
        target: text("grant"),
        count: Some(1),
        first: text("2026-01-01T00:00:00Z"),
        last: text("2026-01-01T00:00:00Z"),
        counts: BTreeMap::from([("preflight".into(), 1)]),
        refers: vec![1],
        detail: text("a sentence"),
    }
}

#[test]
fn every_field_of_a_record_stands_where_readers_of_the_log_know_it() {
    let line = serde_json::to_string(&everything()).unwrap();
    compare("audit-fields.txt", &format!("{}\n", super::lined(&line)));
    let documented = include_str!("../../../docs/audit.md");
    let fields: Value = serde_json::from_str(&line).unwrap();
    let missing: Vec<&String> =
        fields.as_object().unwrap().keys().filter(|field| !documented.contains(&format!("`{field}`"))).collect();
    assert!(missing.is_empty(), "docs/audit.md does not tell of {missing:?}");
}

/// The line with what varies left out: words of closed sets stay.
fn masked(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    // Not from the value: it has forgotten the order.
    let mut fields: Vec<(usize, String)> = Vec::new();
    for (name, value) in value.as_object().unwrap() {
        let kept = matches!(
            name.as_str(),
            "v" | "kind"
                | "interaction"
                | "method"
                | "resource_type"
                | "decision"
                | "reason"
                | "policies"
                | "status"
                | "outcome"
                | "action"
                | "query_names"
                | "listener"
        );
        let at = line.find(&format!("\"{name}\":")).unwrap();
        fields.push((at, format!("{name}={}", if kept { value.to_string() } else { shape(value) })));
    }
    fields.sort();
    fields.into_iter().map(|(_, field)| field).collect::<Vec<_>>().join(" ")
}

fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
    }
}

#[test]
fn each_kind_of_record_has_the_fields_that_readers_of_the_log_know() {
    assert_eq!(KINDS.map(number).to_vec(), (0..18).collect::<Vec<_>>());
    run(async {
        let world = World::with(story::settings()).await;
        Story::told(&world).await;
        let by = Operator { uid: 0, name: Some("root".to_owned()), sudo: None, host: "here".to_owned() };
        let event = AdministrationEvent {
            action: "client_disabled".to_owned(),
            target: Some("app".to_owned()),
            client_id: Some("app".to_owned()),
            user: None,
            failed: false,
            because: None,
            by,
            at: world.clock.unix_seconds(),
        };
        announce(&*world.grants.store, &event).await.unwrap();
        let lines = world.end().await.lines;
        let mut kinds: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for line in &lines {
            let kind: EventKind =
                serde_json::from_value(serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).unwrap();
            kinds.entry(number(kind)).or_default().insert(masked(line));
        }
        let mut text = String::new();
        for kind in KINDS {
            let name = serde_json::to_value(kind).unwrap();
            writeln!(text, "## {}", name.as_str().unwrap()).unwrap();
            match kinds.get(&number(kind)) {
                Some(lines) => lines.iter().for_each(|line| writeln!(text, "{line}").unwrap()),
                None => writeln!(text, "(not in this story)").unwrap(),
            }
        }
        compare("audit-records.txt", &text);
        let untold: Vec<EventKind> = KINDS.into_iter().filter(|kind| !kinds.contains_key(&number(*kind))).collect();
        let expected = [EventKind::AuditAccess, EventKind::Repair, EventKind::Unreleased];
        assert_eq!(untold, expected, "the story tells of every other kind");
    });
}
