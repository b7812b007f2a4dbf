//! Runs the public decision cases of `tests/decisions/`: data, each with its number, what is asked with which token, and what must
//! come of it. A case goes through the canonicaliser, the decision and the filter; what the upstream would answer comes from
//! `world.json`, or stands in the case.
//!
//! A part with a `stage` is for something that is not built yet: it is counted and listed, never run. When it is built, the part
//! loses its `stage`. A part that only a socket can show names the integration test that does (`shown_by`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

mod case;
mod shown;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use url::Url;

use self::case::{Case, Claims, Part, Said};
use self::shown::{entry_statuses, print, released_entries, sent};
use super::{Allowance, Authorizer, Decision, Evidence, Permit, Reach, UpstreamRequest, Verb, Within, Write};
use crate::authenticate::{Authenticated, Context, Principal};
use crate::canonicalise::FhirRequest;
use crate::clock::Clock;
use crate::error::{Challenge, Refusal, Scheme};
use crate::fhir::reference::{Bases, Id, LogicalId};
use crate::fhir::resource_type::ResourceType;
use crate::filter::Filter;
use crate::filter::Releasable;
use crate::filter::seal::{Continuation, Sealer};
use crate::filter::urls::Rebase;
use crate::forward::{Answered, Unfiltered, Written};
use crate::listen::Inbound;
use crate::smart::scope::Scopes;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decisions");
const GATEWAY: &str = "https://gw.example/fhir";
const UPSTREAM: &str = "http://up/fhir";
const KEY: [u8; 32] = [7; 32];
const NOW: i64 = 1_700_000_000;
/// Stands in every resource of `world.json` that is not P1's.
const CANARY: &str = "CANARY";

/// How many numbered cases there are.
const CASES: usize = 136;
/// At least so many parts are run; the number only grows.
const RUN: usize = 543;

struct Bench {
    authorizer: Authorizer,
    filter: Filter,
    tokens: HashMap<String, Value>,
    world: HashMap<String, Value>,
}

/// What came of one part.
#[derive(Debug, Default)]
struct Outcome {
    status: u16,
    reason: Option<&'static str>,
    upstream: Option<String>,
    /// The body that was sent.
    sent: String,
    reads: Vec<String>,
    headers: BTreeMap<String, String>,
    body: String,
}

// B3 63, 64, 66, 67, 68: the cases of tests/decisions
#[test]
#[expect(clippy::print_stdout, reason = "pending cases are listed and counted, never silently skipped")]
fn the_public_cases_are_decided_as_they_must_be() {
    let bench = Bench::new();
    let mut ids = BTreeSet::new();
    let (mut run, mut shown, mut failures) = (0, 0, Vec::new());
    let elsewhere = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/all")));
    let mut pending: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in cases() {
        assert!(ids.insert(case.id), "case {} twice", case.id);
        assert!(!case.parts.is_empty(), "case {} is empty", case.id);
        for part in case.parts {
            if let Some(stage) = &part.stage {
                pending.entry(stage.clone()).or_default().push(format!("{:>3} {}", case.id, part.description));
                continue;
            }
            if let Some(test) = &part.shown_by {
                assert!(elsewhere.contains(&format!("fn {test}(")), "case {} names no test: {test}", case.id);
                shown += 1;
                continue;
            }
            run += 1;
            let what = format!("case {} ({}, {})", case.id, part.description, part.request);
            failures.extend(bench.failures(&part).into_iter().map(|why| format!("{what}: {why}")));
        }
    }
    let waiting: usize = pending.values().map(Vec::len).sum();
    println!("decisions: {} cases, {run} parts run, {shown} shown over sockets, {waiting} parts pending", ids.len());
    for (stage, parts) in &pending {
        println!("pending until `{stage}` is built: {}", parts.len());
        for part in parts {
            println!("  {part}");
        }
    }
    assert!(failures.is_empty(), "{} of {run} parts failed:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(ids.len(), CASES);
    assert!(run >= RUN, "{run} parts were run, {RUN} must be");
}

/// The text of all files below a directory.
fn sources(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { sources(&path) } else { fs::read_to_string(path).unwrap_or_default() })
        .collect()
}

fn cases() -> Vec<Case> {
    let mut files: Vec<_> =
        fs::read_dir(format!("{DIRECTORY}/cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| read::<Vec<Case>>(file)).collect()
}

fn read<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

impl Bench {
    fn new() -> Self {
        let url = |text| Url::parse(text).unwrap();
        let bases = Bases::new(&url(GATEWAY), &url(UPSTREAM), &[]);
        let sealer = Sealer::new(&KEY, Clock::fixed(NOW)).unwrap();
        let policies = format!("{DIRECTORY}/policies");
        Self {
            authorizer: Authorizer::new(Some(Path::new(&policies)), bases.clone(), 50, Vec::new()).unwrap(),
            filter: Filter::new(bases, Rebase::new(GATEWAY, &[UPSTREAM]), sealer),
            tokens: read(Path::new(&format!("{DIRECTORY}/tokens.json"))),
            world: read(Path::new(&format!("{DIRECTORY}/world.json"))),
        }
    }

    fn principal(&self, token: &str, claims: &serde_json::Map<String, Value>) -> Principal {
        let mut merged = self.tokens.get(token).unwrap_or_else(|| panic!("token `{token}`")).clone();
        merged.as_object_mut().unwrap().extend(claims.clone());
        let claims: Claims = serde_json::from_value(merged).unwrap();
        let fhir_user = claims.fhir_user.as_deref().and_then(|user| user.split_once('/'));
        Principal {
            issuer: "https://gw.example".to_owned(),
            subject: claims.sub,
            client_id: claims.client_id,
            grant_id: "g1".to_owned(),
            token_handle: "t1".to_owned(),
            scopes: Arc::new(Scopes::compile(&claims.scope)),
            scope_text: claims.scope,
            patient: match &claims.patient {
                Value::Null => Context::Absent,
                Value::String(id) => LogicalId::parse(id).map_or(Context::Unusable, Context::Patient),
                _ => Context::Unusable,
            },
            encounter: None,
            fhir_user: fhir_user.and_then(|(name, id)| Some((ResourceType::parse(name)?, LogicalId::parse(id)?))),
            roles: claims.roles,
            expires: i64::MAX,
        }
    }

    fn failures(&self, part: &Part) -> Vec<String> {
        let outcome = self.run(part);
        let expect = &part.expect;
        let mut failures = Vec::new();
        if outcome.status != expect.status {
            failures.push(format!("status {} ({:?}) instead of {}", outcome.status, outcome.reason, expect.status));
        }
        if expect.reason.is_some() && expect.reason.as_deref() != outcome.reason {
            failures.push(format!("reason {:?} instead of {:?}", outcome.reason, expect.reason));
        }
        if expect.upstream.is_some() && expect.upstream != outcome.upstream {
            failures.push(format!("upstream {:?} instead of {:?}", outcome.upstream, expect.upstream));
        }
        if let Some(expected) = &expect.entries {
            let released = released_entries(&outcome.body);
            if released != *expected {
                failures.push(format!("entries {released:?} instead of {expected:?}"));
            }
        }
        if expect.reads.as_ref().is_some_and(|expected| *expected != outcome.reads) {
            failures.push(format!("reads {:?} instead of {:?}", outcome.reads, expect.reads));
        }
        if let Some(expected) = &expect.statuses {
            let statuses = entry_statuses(&outcome.body);
            if statuses != *expected {
                failures.push(format!("statuses {statuses:?} instead of {expected:?}"));
            }
        }
        let sent = &outcome.sent;
        failures.extend(
            expect
                .sent_has
                .iter()
                .filter(|text| !sent.contains(*text))
                .map(|text| format!("sent lacks `{text}`: {sent}")),
        );
        failures.extend(
            expect
                .sent_lacks
                .iter()
                .filter(|text| sent.contains(*text))
                .map(|text| format!("sent has `{text}`: {sent}")),
        );
        for (name, value) in &expect.headers {
            if outcome.headers.get(name).map_or("", String::as_str) != value {
                failures.push(format!("header `{name}` of {:?} instead of `{value}`", outcome.headers));
            }
        }
        let body = &outcome.body;
        failures.extend(
            expect.has.iter().filter(|text| !body.contains(*text)).map(|text| format!("lacks `{text}`: {body}")),
        );
        let one_patient = self.tokens.get(&part.token).is_some_and(|claims| claims.get("patient").is_some());
        let canary = one_patient.then(|| CANARY.to_owned());
        let unwanted = expect.lacks.iter().chain(&canary).filter(|text| body.contains(*text));
        failures.extend(unwanted.map(|text| format!("has `{text}`: {body}")));
        failures
    }

    fn run(&self, part: &Part) -> Outcome {
        let principal = if part.token.is_empty() { None } else { Some(self.principal(&part.token, &part.claims)) };
        let request = match FhirRequest::parse(self.inbound(part), "/fhir") {
            Ok(request) => request,
            Err(refusal) => return Outcome::refused(refusal),
        };
        let principal = principal.unwrap_or_else(|| panic!("{}: a token is needed", part.description));
        let mut told = Told::default();
        match self.finish(part, Authenticated::for_test(request, principal), &mut told) {
            Ok(releasable) => {
                let body = String::from_utf8(releasable.body().to_vec()).unwrap();
                let response = releasable.into_response();
                let header = |value: &HeaderValue| value.to_str().unwrap().to_owned();
                let headers =
                    response.headers().iter().map(|(name, value)| (name.to_string(), header(value))).collect();
                let Told { upstream, sent, reads } = told;
                Outcome { status: response.status().as_u16(), upstream, sent, reads, headers, body, reason: None }
            }
            Err(refusal) => {
                let Told { upstream, sent, reads } = told;
                Outcome { upstream, sent, reads, ..Outcome::refused(refusal) }
            }
        }
    }

    /// The request path from the decision on, as `gateway` has it.
    fn finish(&self, part: &Part, who: Authenticated<FhirRequest>, told: &mut Told) -> Result<Releasable, Refusal> {
        let mut decision = self.authorizer.decide(who, self.filter.sealer());
        let permit: Permit = loop {
            decision = match decision {
                Decision::Permit(permit) => break permit,
                Decision::Inquire(inquiry) => {
                    told.reads.extend(inquiry.reads().iter().map(print));
                    let evidence: Vec<Evidence> =
                        inquiry.reads().iter().map(|read| self.evidence(part, read)).collect();
                    self.authorizer.resume(inquiry, &evidence)
                }
                Decision::Batch(batch) => {
                    let entries = batch.into_entries().into_iter();
                    let ended = entries.map(|entry| entry.and_then(|who| self.finish(part, who, told))).collect();
                    return Ok(self.filter.batch(ended));
                }
                Decision::Deny(denial) => return Err(Refusal::Denied(denial)),
                Decision::Refuse(refusal) => return Err(refusal),
            };
        };
        let printed = print(&permit.upstream);
        told.upstream = Some(told.upstream.take().map_or(printed.clone(), |before| format!("{before}; {printed}")));
        told.sent.push_str(&sent(&permit.upstream));
        let (answer, current) = self.answer(part, &permit.upstream);
        self.filter.release(Unfiltered::for_test(permit, answer, current))
    }

    fn evidence(&self, part: &Part, read: &UpstreamRequest) -> Evidence {
        let etag = (!part.etag.is_empty()).then(|| part.etag.clone());
        match read {
            UpstreamRequest::Search { resource_type, parameters } => {
                let ids = parameters.iter().find(|(name, _)| name == "_id").map(|(_, ids)| ids.split(','));
                let found: Vec<String> = match ids {
                    Some(ids) => ids.map(|id| format!("{resource_type}/{id}")).collect(),
                    None => part.entries.clone(),
                };
                let found: Vec<String> = found.into_iter().filter(|key| self.world.contains_key(key)).collect();
                Evidence::of(self.bundle(&found), None)
            }
            // What a document is made from is there; the case has the document.
            UpstreamRequest::Read { resource_type: ResourceType::COMPOSITION, id } => {
                let found = self.world.get(&format!("Composition/{id}"));
                found.map_or_else(Evidence::absent, |found| Evidence::of(found.to_string().into(), etag))
            }
            other => match self.answer(part, other).0 {
                Answered::Resource { body, .. } => Evidence::of(body, etag),
                _ => Evidence::absent(),
            },
        }
    }

    fn inbound(&self, part: &Part) -> Inbound {
        let (method, target) = part.request.split_once(' ').unwrap();
        let mut target = target.to_owned();
        if let Some(page) = &part.page {
            let resource_type = target.rsplit('/').next().and_then(ResourceType::parse).unwrap();
            let continuation = Continuation { resource_type, path_and_query: page.path.clone() };
            let for_whom = self.principal(&page.token, &serde_json::Map::new());
            target.push_str("?_page=");
            let sealer = Sealer::new(&KEY, Clock::fixed(NOW - page.age)).unwrap();
            let within = match &for_whom.patient {
                Context::Patient(id) => Within::Compartment(id.clone()),
                Context::Absent | Context::Unusable => Within::Everything,
            };
            let allowance = Allowance { within, conditions: Arc::default(), policies: Arc::default() };
            let reach = Reach::for_test(resource_type, vec![allowance]);
            target.push_str(&sealer.seal(&continuation, &for_whom, &reach).unwrap());
        }
        if let Some(link) = &part.link {
            let for_whom = self.principal(&link.token, &serde_json::Map::new());
            let (resource_type, id) = link.parent.split_once('/').unwrap();
            let parent = (ResourceType::parse(resource_type).unwrap(), Id::parse(id).unwrap());
            let binary = Id::parse(target.rsplit('/').next().unwrap()).unwrap();
            let sealer = Sealer::new(&KEY, Clock::fixed(NOW - link.age)).unwrap();
            let seal = sealer.seal_attachment(binary, parent, &for_whom).unwrap();
            write!(target, "?gw={seal}").unwrap();
        }
        let mut inbound = Inbound::for_test(method, &target);
        for (name, value) in &part.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            inbound.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let body = part.body.as_ref().map(Value::to_string).or_else(|| part.body_text.clone());
        let body = body.or_else(|| part.nested.map(|depth| "[".repeat(depth)));
        if let Some(body) = body {
            inbound.body = Bytes::from(body);
            if !inbound.headers.contains_key("content-type") {
                let patch = method == "PATCH";
                let media_type = if patch { "application/json-patch+json" } else { "application/fhir+json" };
                inbound.headers.insert("content-type", HeaderValue::from_static(media_type));
            }
        }
        if let Some(form) = &part.form {
            inbound.body = Bytes::from(form.clone());
            if !inbound.headers.contains_key("content-type") {
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                inbound.headers.insert("content-type", form);
            }
        }
        inbound
    }

    /// What the upstream says, and for a vread also its current version.
    fn answer(&self, part: &Part, upstream: &UpstreamRequest) -> (Answered, Option<Bytes>) {
        let found = |key: &str| self.world.get(key).map(|resource| Bytes::from(resource.to_string()));
        let resource = |body: Option<Bytes>| match body {
            Some(body) => Answered::Resource { body, etag: Some("W/\"1\"".to_owned()), last_modified: None },
            None => Answered::Absent,
        };
        match upstream {
            UpstreamRequest::Read { resource_type, id } => {
                let stated =
                    part.answer.as_ref().map(Value::to_string).or_else(|| part.answer_text.clone()).map(Bytes::from);
                (resource(stated.or_else(|| found(&format!("{resource_type}/{id}")))), None)
            }
            UpstreamRequest::Vread { resource_type, id, version } => {
                let version = found(&format!("{resource_type}/{id}/_history/{version}"));
                (resource(version), found(&format!("{resource_type}/{id}")))
            }
            UpstreamRequest::History { path, .. } => {
                let stated = part.history.as_ref().map(Value::to_string).map(Bytes::from);
                (resource(Some(stated.unwrap_or_else(|| self.versions(part, path)))), None)
            }
            UpstreamRequest::Nothing { .. } => (Answered::Nothing, None),
            UpstreamRequest::PerType { searches } => {
                let answers = searches.iter().map(|one| {
                    let of_type = one.searched_type();
                    let ours = |entry: &&String| {
                        let name = entry.rsplit(' ').next().and_then(|key| key.split('/').next());
                        name.and_then(ResourceType::parse) == of_type
                    };
                    let entries: Vec<String> = part.entries.iter().filter(ours).cloned().collect();
                    let answer = match one {
                        UpstreamRequest::Nothing { .. } => Answered::Nothing,
                        _ => resource(Some(self.bundle(&entries))),
                    };
                    (of_type, answer)
                });
                (Answered::PerType(answers.collect()), None)
            }
            UpstreamRequest::Search { .. } | UpstreamRequest::Operation(_) if part.refusal.is_some() => {
                let body = Bytes::from(part.refusal.as_ref().unwrap().to_string());
                (Answered::Refused { body }, None)
            }
            UpstreamRequest::Search { .. }
            | UpstreamRequest::SearchCompartment { .. }
            | UpstreamRequest::Page { .. } => (resource(Some(self.bundle(&part.entries))), None),
            UpstreamRequest::Each { parts, .. } => {
                let answers = parts.iter().map(|one| (one.place, self.answer(part, &one.request).0)).collect();
                (Answered::Each(answers), None)
            }
            UpstreamRequest::Write(write) => (written(part, write), None),
            UpstreamRequest::Operation(_) => {
                let given = part.answer.as_ref().map(|answer| Bytes::from(answer.to_string()));
                let given = given.or_else(|| part.answer_text.clone().map(Bytes::from));
                (resource(Some(given.unwrap_or_else(|| self.bundle(&part.entries)))), None)
            }
            UpstreamRequest::Transaction(transaction) => {
                let entries: Vec<Value> = transaction
                    .entries
                    .iter()
                    .map(|entry| match &entry.request {
                        UpstreamRequest::Write(write) => match written(part, write) {
                            Answered::Written(Written { status, location, etag, body, .. }) => {
                                let mut entry = json!({"response": {"status": status.to_string(), "location": location, "etag": etag}});
                                if !body.is_empty() {
                                    let resource: Value = serde_json::from_slice(&body).unwrap();
                                    entry.as_object_mut().unwrap().insert("resource".to_owned(), resource);
                                }
                                entry
                            }
                            other => panic!("{other:?}"),
                        },
                        read => match self.answer(part, read).0 {
                            Answered::Resource { body, .. } => {
                                let resource: Value = serde_json::from_slice(&body).unwrap();
                                json!({"response": {"status": "200 OK"}, "resource": resource})
                            }
                            _ => json!({"response": {"status": "404 Not Found"}}),
                        },
                    })
                    .collect();
                let bundle = json!({"resourceType": "Bundle", "type": "transaction-response", "entry": entries});
                let (etag, last_modified) = (None, None);
                (Answered::Resource { body: Bytes::from(bundle.to_string()), etag, last_modified }, None)
            }
        }
    }

    /// A history of what the part lists as its entries, the last one first; `gone Type/id` is a deletion.
    fn versions(&self, part: &Part, path: &str) -> Bytes {
        let entries = part.entries.iter().map(|entry| {
            if let Some(key) = entry.strip_prefix("gone ") {
                return json!({
                    "fullUrl": format!("{UPSTREAM}/{key}"),
                    "request": { "method": "DELETE", "url": format!("{key}/_history/9") },
                    "response": { "status": "204", "location": format!("{UPSTREAM}/{key}") }
                });
            }
            let resource = self.world.get(entry).unwrap_or_else(|| panic!("`{entry}` is not in the world"));
            json!({
                "fullUrl": format!("{UPSTREAM}/{entry}"),
                "resource": resource,
                "request": { "method": "PUT", "url": entry },
                "response": { "status": "200", "etag": "W/\"1\"" }
            })
        });
        let entries: Vec<Value> = entries.collect();
        let next = format!("{UPSTREAM}?_getpages=1&_bundletype=history");
        let link = json!([
            { "relation": "self", "url": format!("{UPSTREAM}/{path}") },
            { "relation": "next", "url": next }
        ]);
        let bundle =
            json!({ "resourceType": "Bundle", "type": "history", "total": 4711, "link": link, "entry": entries });
        Bytes::from(bundle.to_string())
    }

    fn bundle(&self, entries: &[String]) -> Bytes {
        let entries = entries.iter().map(|entry| {
            let (mode, key) = entry.split_once(' ').unwrap_or(("match", entry));
            let resource = self.world.get(key).unwrap_or_else(|| panic!("`{key}` is not in the world"));
            let mut entry = json!({ "fullUrl": format!("{UPSTREAM}/{key}"), "resource": resource });
            if mode != "unmarked" {
                entry.as_object_mut().unwrap().insert("search".to_owned(), json!({ "mode": mode }));
            }
            entry
        });
        let entries: Vec<Value> = entries.collect();
        let link = json!([{ "relation": "self", "url": format!("{UPSTREAM}/whatever?x=y") }]);
        let bundle =
            json!({ "resourceType": "Bundle", "type": "searchset", "total": 4711, "link": link, "entry": entries });
        Bytes::from(bundle.to_string())
    }
}

impl Outcome {
    fn refused(refusal: Refusal) -> Self {
        let reason = Some(refusal.reason());
        let (head, body) = refusal.into_response(&Challenge { realm: GATEWAY, scheme: Scheme::Bearer }).into_parts();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Self { status: head.status.as_u16(), reason, body, ..Self::default() }
    }
}

/// What was asked of the upstream on the way.
#[derive(Default)]
struct Told {
    upstream: Option<String>,
    sent: String,
    reads: Vec<String>,
}

/// What an honest server says to a change, or what the part has it say.
fn written(part: &Part, write: &Write) -> Answered {
    let Write { resource_type, body, representation, .. } = write;
    let (status, location) = match (&write.verb, &write.id) {
        (Verb::Create, _) => (201, Some(format!("{UPSTREAM}/{resource_type}/new/_history/1"))),
        (Verb::Update, Some(id)) => (200, Some(format!("{UPSTREAM}/{resource_type}/{id}/_history/2"))),
        _ => (204, None),
    };
    let version = if write.verb == Verb::Create { "1" } else { "2" };
    let etag = location.as_ref().map(|_| format!("W/\"{version}\""));
    if let Some(Said { status, location, body }) = &part.written {
        let status = StatusCode::from_u16(*status).unwrap();
        let body = Bytes::from(body.to_string());
        if status.is_success() {
            let location = location.clone();
            return Answered::Written(Written { status, location, etag, last_modified: None, body });
        }
        return if status == 404 { Answered::Absent } else { Answered::Declined { status, body } };
    }
    let stored = body.as_ref().filter(|_| *representation).map(|body| {
        let mut resource: Value = serde_json::from_slice(body).unwrap();
        let id = write.id.as_ref().map_or("new", LogicalId::as_str);
        resource.as_object_mut().unwrap().insert("id".to_owned(), id.into());
        Bytes::from(resource.to_string())
    });
    let status = StatusCode::from_u16(status).unwrap();
    Answered::Written(Written { status, location, etag, last_modified: None, body: stored.unwrap_or_default() })
}
