//! Non-interference: two gateways before two upstreams that differ only in what a token may not see give equal answers to
//! every request, but for dates, sealed links and `meta.lastUpdated` of a searchset.
//!
//! Requests come from `corpus.jsonl`, where each that once told the worlds apart stays, and from a grammar over the whole FHIR
//! REST surface. `FIREBREAK_INTERFERENCE_REQUESTS` and `FIREBREAK_INTERFERENCE_SEED` make longer and other runs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

mod grammar;

use std::sync::Arc;

use grammar::{Ask, Dice};

use crate::upstream::{Resource, data};
use crate::world::{Grant, Reply, Settings, World, run};

/// Connections that ask at the same time, for each pair of worlds.
const TASKS: u64 = 4;

/// Whom two worlds must look the same to.
struct Viewer {
    name: &'static str,
    grants: Vec<Grant>,
    sees: fn(&Resource) -> bool,
    /// Whether old versions that belonged to somebody else are hidden too.
    one_patient: bool,
}

fn viewers() -> Vec<Viewer> {
    let own: fn(&Resource) -> bool = |one| one.owner == Some("P1");
    vec![
        Viewer {
            name: "one patient",
            grants: vec![Grant::patient("patient/*.rs", "P1"), Grant::user("user/*.cruds", "Patient/P1", &["patient"])],
            sees: own,
            one_patient: true,
        },
        Viewer {
            name: "two types of one patient",
            grants: vec![
                Grant::patient("patient/Patient.r patient/Observation.rs", "P1"),
                Grant::patient("patient/Patient.read patient/Observation.read launch/patient openid", "P1"),
            ],
            sees: |one| one.owner == Some("P1") && matches!(&*one.resource_type, "Patient" | "Observation"),
            one_patient: true,
        },
        Viewer {
            name: "all Observations",
            grants: vec![
                Grant::user("user/Observation.rs", "Practitioner/d1", &["clinician"]),
                Grant::system("system/Observation.rs", "bulk1"),
            ],
            sees: |one| one.resource_type == "Observation",
            one_patient: false,
        },
        Viewer {
            name: "reception",
            grants: vec![Grant::user("user/*.rs", "Practitioner/d9", &["reception"])],
            sees: |one| matches!(&*one.resource_type, "Patient" | "Appointment"),
            one_patient: false,
        },
    ]
}

/// Two stores with the same visible resources. What is hidden is in one as in the sample, and in the other partly gone, deleted,
/// different or more.
fn twins(viewer: &Viewer) -> (Vec<Resource>, Vec<Resource>) {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for (number, mut resource) in data::sample().into_iter().enumerate() {
        if (viewer.sees)(&resource) {
            // Of one patient's own resource an old version may be somebody else's.
            let mixed = viewer.one_patient && resource.versions.iter().flatten().any(|text| text.contains("CANARY"));
            if !mixed {
                resource.versions.iter_mut().flatten().for_each(|text| *text = text.replace("CANARY", "data"));
            }
            one.push(resource.clone());
            if mixed {
                resource.versions.iter_mut().flatten().filter(|text| text.contains("CANARY")).for_each(|text| {
                    *text = text.replace("CANARY", "CANARY-other").replace("Patient/P2", "Patient/P3");
                });
            }
            other.push(resource);
            continue;
        }
        one.push(resource.clone());
        let mut more = resource.clone();
        more.id = format!("z{number}");
        more.versions.iter_mut().flatten().for_each(|text| {
            *text = text.replacen(&format!("\"id\":\"{}\"", resource.id), &format!("\"id\":\"z{number}\""), 1);
        });
        other.push(more);
        match number % 4 {
            0 => {}
            1 => {
                resource.versions.push(None);
                other.push(resource);
            }
            2 => {
                let changed =
                    resource.versions.last().unwrap().clone().unwrap_or_else(|| resource.versions[0].clone().unwrap());
                let changed = changed.replace("final", "amended").replace("P2", "P3").replace("1234-5", "9999-9");
                resource.versions.push(Some(changed));
                other.push(resource);
            }
            _ => other.push(resource),
        }
    }
    (one, other)
}

struct Pair {
    viewer: Viewer,
    one: World,
    other: World,
    tokens: Vec<(String, String)>,
}

impl Pair {
    async fn of(viewer: Viewer) -> Self {
        let (one, other) = twins(&viewer);
        let one = World::with(Settings { resources: one, ..Default::default() }).await;
        let other = World::with(Settings { resources: other, ..Default::default() }).await;
        for world in [&one, &other] {
            world.plant("CANARY");
            world.upstream.change(|store| store.folds = true);
        }
        let tokens = viewer.grants.iter().map(|grant| (one.token(grant), other.token(grant))).collect();
        Self { viewer, one, other, tokens }
    }

    /// Asks both and compares; gives links to follow, one for each world.
    async fn ask(&self, connections: &mut Connections, ask: &Ask, token: usize) -> Option<(String, String)> {
        let (one_token, other_token) = &self.tokens[token];
        let headers: Vec<&str> = ask.headers.iter().map(String::as_str).collect();
        let lines = [ask.line(0), ask.line(1)];
        let (one, other) = tokio::join!(
            self.one.send_on(&mut connections.0, &lines[0], one_token, &headers, &ask.body),
            self.other.send_on(&mut connections.1, &lines[1], other_token, &headers, &ask.body),
        );
        assert!(
            normal(&one) == normal(&other),
            "the worlds differ for `{}`, scope `{}`, by\n{}\n--- one\n{}\n--- other\n{}",
            self.viewer.name,
            self.viewer.grants[token].0.scope,
            serde_json::to_string(ask).unwrap(),
            one.all(),
            other.all()
        );
        let searchset = one.status == 200 && one.text().contains("_page=");
        searchset.then(|| Some((one.link("next")?, other.link("next")?))).flatten()
    }
}

type Connections = (crate::world::client::Connection, crate::world::client::Connection);

/// What must be equal.
fn normal(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let mut headers = reply.headers.clone();
    headers.retain(|(name, _)| !matches!(name.as_str(), "date" | "content-length" | "x-request-id"));
    let mut text = String::new();
    let mut rest = reply.text();
    while let Some((before, after)) = rest.split_once("_page=") {
        text.push_str(before);
        text.push_str("_page=…");
        rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    }
    text.push_str(rest);
    if text.contains(r#""type":"searchset""#) {
        let mut bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
        bundle.as_object_mut().unwrap().remove("meta");
        text = bundle.to_string();
    } else {
        headers.extend(reply.headers.iter().filter(|(name, _)| name == "content-length").cloned());
    }
    (reply.status, headers, text)
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn what_a_token_may_not_see_changes_no_answer() {
    let requests = number("FIREBREAK_INTERFERENCE_REQUESTS", 3_000);
    let seed = number("FIREBREAK_INTERFERENCE_SEED", 20_261_123);
    run(async {
        let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
        let viewers = viewers();
        let each = requests / viewers.len() as u64 / TASKS;
        let mut running = tokio::task::JoinSet::new();
        let mut pairs = Vec::new();
        for (index, viewer) in viewers.into_iter().enumerate() {
            let pair = Arc::new(Pair::of(viewer).await);
            for task in 0..TASKS {
                let pair = Arc::clone(&pair);
                running.spawn(async move {
                    let mut dice = Dice::new(seed + index as u64 * TASKS + task);
                    let mut connections = (pair.one.connect().await, pair.other.connect().await);
                    if task == 0 {
                        for ask in grammar::corpus() {
                            for token in 0..pair.tokens.len() {
                                pair.ask(&mut connections, &ask, token).await;
                            }
                        }
                    }
                    let mut links = None;
                    let mut token = 0;
                    for _ in 0..each {
                        let ask = match links.take() {
                            Some((one, other)) if dice.one_in(2) => Ask::follow(one, other),
                            _ => {
                                token = dice.below(pair.tokens.len());
                                Ask::any(&mut dice)
                            }
                        };
                        links = pair.ask(&mut connections, &ask, token).await;
                    }
                });
            }
            pairs.push(pair);
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        for pair in pairs {
            let Ok(Pair { one, other, .. }) = Arc::try_unwrap(pair) else { panic!("all tasks have ended") };
            for world in [one, other] {
                for status in world.statuses() {
                    *statuses.entry(status).or_default() += 1;
                }
                world.finish().await;
            }
        }
        // The grammar must reach what it is for: releases, absences, refusals of every kind.
        for status in [200, 400, 403, 404] {
            assert!(
                statuses.get(&status).is_some_and(|count| count * 100 > requests),
                "{status} is rare: {statuses:?}"
            );
        }
    });
}
