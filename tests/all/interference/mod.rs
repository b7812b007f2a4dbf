//! Non-interference: two gateways before two upstreams that differ only in what a token may not see give equal answers to
//! every request, but for dates, sealed links and `meta.lastUpdated` of a searchset.
//!
//! Requests come from `corpus.jsonl`, where each that once told the worlds apart stays, and from a grammar over the whole FHIR
//! REST surface. One that tells the worlds apart is made smaller, and told as a line for the corpus.
//! `FIREBREAK_INTERFERENCE_REQUESTS` and `FIREBREAK_INTERFERENCE_SEED` make longer and other runs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

mod bodies;
mod changes;
mod grammar;
mod shrink;
mod vocabulary;

use std::sync::Arc;

use grammar::{Ask, Dice};

use crate::upstream::{Resource, data};
use crate::world::{Grant, Reply, Settings, World, run};

const LABORATORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory";

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
    // The own record, and by id whom it refers to.
    let own: fn(&Resource) -> bool = |one| one.owner == Some("P1") || one.resource_type == "Practitioner";
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
            name: "the laboratory results of one patient",
            grants: vec![
                Grant::patient(&format!("patient/Observation.rs?category={LABORATORY}"), "P1"),
                Grant::patient(
                    "patient/Observation.rs?category=laboratory&code=1234-5 patient/Observation.rs?category=laboratory&code=2093-3",
                    "P1",
                ),
            ],
            sees: |one| {
                let text = one.versions.iter().flatten().all(|text| text.contains(r#""laboratory""#));
                one.owner == Some("P1") && one.resource_type == "Observation" && text
            },
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
    for (number, mut resource) in data::sample().into_iter().chain(data::attachments()).enumerate() {
        if (viewer.sees)(&resource) {
            // Of one patient's own resource an old version may be somebody else's.
            let mixed = viewer.one_patient
                && resource.owner.is_some()
                && resource.versions.iter().flatten().any(|text| text.contains("CANARY"));
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
        let told = match self.compare(connections, ask, token).await {
            Ok(links) => return links,
            Err(told) => told,
        };
        let mut shrinking = shrink::Shrinking::of(ask.clone(), 600);
        while let Some(candidate) = shrinking.candidate() {
            if self.compare(connections, &candidate, token).await.is_err() {
                shrinking.shown(candidate);
            }
        }
        panic!(
            "the worlds differ for `{}`, scope `{}`; a line for corpus.jsonl:\n{}\nfirst seen with\n{}\n{told}",
            self.viewer.name,
            self.viewer.grants[token].0.scope,
            serde_json::to_string(&shrinking.smallest).unwrap(),
            serde_json::to_string(ask).unwrap(),
        );
    }

    /// Links to follow, or how the answers differ, or what in them nobody may see.
    async fn compare(
        &self,
        connections: &mut Connections,
        ask: &Ask,
        token: usize,
    ) -> Result<Option<(String, String)>, String> {
        let (one_token, other_token) = &self.tokens[token];
        let headers: Vec<&str> = ask.headers.iter().map(String::as_str).collect();
        let lines = [ask.line(0), ask.line(1)];
        let (one, other) = tokio::join!(
            self.one.try_on(&mut connections.0, &lines[0], one_token, &headers, &ask.body),
            self.other.try_on(&mut connections.1, &lines[1], other_token, &headers, &ask.body),
        );
        let (one, other) = (one?, other?);
        if normal(&one) != normal(&other) {
            return Err(format!("--- one\n{}\n--- other\n{}", one.all(), other.all()));
        }
        let leads = one.status == 200;
        Ok(leads.then(|| Some((onward(&one)?, onward(&other)?))).flatten())
    }
}

type Connections = (crate::world::client::Connection, crate::world::client::Connection);

/// What must be equal.
fn normal(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let mut headers = reply.headers.clone();
    headers.retain(|(name, _)| !matches!(name.as_str(), "date" | "content-length" | "x-request-id"));
    let mut text = reply.text().to_owned();
    for seal in ["_page=", "gw="] {
        text = without_seals(&text, seal);
    }
    text = without_new_ids(&text);
    if text.contains(r#""type":"searchset""#) {
        let mut bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
        without_dates_of_bundles(&mut bundle);
        text = bundle.to_string();
    } else {
        headers.extend(reply.headers.iter().filter(|(name, _)| name == "content-length").cloned());
    }
    (reply.status, headers, text)
}

/// The next page, or the first attachment.
fn onward(reply: &Reply) -> Option<String> {
    let text = reply.text();
    if text.contains("_page=") {
        return reply.link("next");
    }
    let (before, after) = text.split_once("?gw=")?;
    let path = before.rsplit_once("https://gw.example.org")?.1;
    Some(format!("{path}?gw={}", after.split('"').next()?))
}

/// With `…` in the place of what stands after each `name`: a seal never looks the same twice.
fn without_seals(mut rest: &str, name: &str) -> String {
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once(name) {
        text.push_str(before);
        text.push_str(name);
        text.push('…');
        rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    }
    text + rest
}

/// When an upstream put a searchset together is of no interest, wherever the searchset stands.
fn without_dates_of_bundles(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(members) => {
            if members.get("resourceType").is_some_and(|name| name == "Bundle") {
                members.remove("meta");
            }
            members.values_mut().for_each(without_dates_of_bundles);
        }
        serde_json::Value::Array(elements) => elements.iter_mut().for_each(without_dates_of_bundles),
        _ => {}
    }
}

/// The text with the ids that the upstream chose left out: entries of a batch come to it in any order.
fn without_new_ids(text: &str) -> String {
    let mut pieces = text.split("/fhir/Observation/n");
    let mut plain = pieces.next().unwrap().to_owned();
    for piece in pieces {
        plain.push_str("/fhir/Observation/n");
        plain.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    plain
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

/// The same before servers that take parameters and ignore them, and that say so in their links or do not.
#[test]
fn what_a_token_may_not_see_changes_no_answer_of_a_server_that_ignores_parameters() {
    let requests = number("FIREBREAK_INTERFERENCE_REQUESTS", 3_000) / 5;
    let seed = number("FIREBREAK_INTERFERENCE_SEED", 20_261_123);
    let (patients, others) = (["subject", "patient"], ["category", "code", "actor"]);
    let servers = [(&patients[..], false), (&patients, true), (&others, true)];
    run(async {
        let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
        for (index, viewer) in viewers().into_iter().filter(|viewer| viewer.one_patient).enumerate() {
            let (ignored, echoes) = servers[index];
            let pair = Pair::of(viewer).await;
            for world in [&pair.one, &pair.other] {
                world.upstream.change(|store| {
                    store.ignored = ignored.to_vec();
                    store.echoes = echoes;
                });
            }
            let mut dice = Dice::new(seed + 2_000 + index as u64);
            let mut connections = (pair.one.connect().await, pair.other.connect().await);
            for _ in 0..requests / servers.len() as u64 {
                let token = dice.below(pair.tokens.len());
                pair.ask(&mut connections, &Ask::any(&mut dice), token).await;
            }
            for world in [pair.one, pair.other] {
                for status in world.statuses() {
                    *statuses.entry(status).or_default() += 1;
                }
                world.finish().await;
            }
        }
        assert!(statuses.get(&502).is_some_and(|count| count * 50 > requests), "nothing was refused: {statuses:?}");
        assert!(statuses.get(&200).is_some_and(|count| count * 50 > requests), "nothing was given: {statuses:?}");
    });
}

/// Changes are made one after the other, so that both worlds see them in the same order; after each, what can be seen of it is
/// asked for.
#[test]
fn what_a_token_may_not_see_changes_no_answer_to_a_change() {
    let requests = number("FIREBREAK_INTERFERENCE_CHANGES", 3_000);
    let seed = number("FIREBREAK_INTERFERENCE_SEED", 20_261_123);
    let own: fn(&Resource) -> bool = |one| one.owner == Some("P1") || one.resource_type == "Practitioner";
    let viewers = [
        Viewer {
            name: "one patient, with every letter",
            grants: vec![
                Grant::patient("patient/*.cruds", "P1"),
                Grant::patient("patient/*.cruds", "P1"),
                Grant::patient("patient/*.cud", "P1"),
                Grant::user("user/*.cruds", "Patient/P1", &["patient"]),
            ],
            sees: own,
            one_patient: true,
        },
        Viewer {
            name: "the laboratory results of one patient, to be written",
            grants: vec![
                Grant::patient("patient/Observation.cruds?category=laboratory", "P1"),
                Grant::patient("patient/Observation.u?category=laboratory patient/Observation.c", "P1"),
            ],
            // What a new resource refers to must be the patient's; whether it meets a condition does not matter.
            sees: own,
            one_patient: true,
        },
    ];
    run(async {
        let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
        let each = requests / viewers.len() as u64;
        for (index, viewer) in viewers.into_iter().enumerate() {
            let pair = Pair::of(viewer).await;
            let mut dice = Dice::new(seed + 1_000 + index as u64);
            let mut connections = (pair.one.connect().await, pair.other.connect().await);
            for _ in 0..each {
                let token = dice.below(pair.tokens.len());
                let ask = if dice.one_in(5) { Ask::any(&mut dice) } else { changes::any(&mut dice) };
                pair.ask(&mut connections, &ask, token).await;
            }
            for world in [pair.one, pair.other] {
                for status in world.statuses() {
                    *statuses.entry(status).or_default() += 1;
                }
                world.finish().await;
            }
        }
        // The grammar must reach what it is for: changes that are made, and every way in which they are not.
        for status in [200, 201, 204, 400, 403, 404, 412, 422] {
            assert!(
                statuses.get(&status).is_some_and(|count| matches!(status, 412 | 422) || count * 200 > requests),
                "{status} is rare: {statuses:?}"
            );
        }
    });
}
