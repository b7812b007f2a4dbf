//! Runs the public decision cases of `tests/decisions/`: data, each with its number, what is asked with which token, and what must
//! come of it. A case goes through the canonicaliser, the decision and the filter; what the upstream would answer comes from
//! `world.json`, or stands in the case.
//!
//! A part with a `stage` is for something that is not built yet: it is counted and listed, never run. When it is built, the part
//! loses its `stage`. A part that only a socket can show names the integration test that does (`shown_by`).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Authorizer, Decision, UpstreamRequest};
use crate::authenticate::{Authenticated, Context, Principal};
use crate::clock::Clock;
use crate::error::{Challenge, Refusal};
use crate::fhir::reference::{Bases, LogicalId};
use crate::fhir::request::FhirRequest;
use crate::fhir::resource_type::ResourceType;
use crate::filter::Filter;
use crate::filter::seal::{Continuation, Sealer};
use crate::filter::urls::Rebase;
use crate::forward::{Answered, Unfiltered};
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
const CASES: usize = 135;
/// At least so many parts are run; the number only grows.
const RUN: usize = 232;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: u32,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    description: String,
    /// A name of `tokens.json`.
    #[serde(default)]
    token: String,
    /// Claims in place of the token's own.
    #[serde(default)]
    claims: serde_json::Map<String, Value>,
    /// Method and target.
    request: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// An `application/x-www-form-urlencoded` body.
    form: Option<String>,
    /// `_page` with a continuation of ours, sealed for this token's claims (of the token named here), to this upstream path.
    page: Option<Page>,
    /// The upstream's answer to a search: `Type/id` of `world.json`, with or without a search mode before it.
    #[serde(default)]
    entries: Vec<String>,
    /// The upstream's answer to a read, instead of what `world.json` has.
    answer: Option<Value>,
    /// The same, byte for byte.
    answer_text: Option<String>,
    /// The upstream refuses the search, with this OperationOutcome.
    refusal: Option<Value>,
    expect: Expect,
    /// What has to be built first.
    stage: Option<String>,
    /// The integration test that shows it, for what only a socket can show.
    #[serde(default)]
    shown_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    token: String,
    path: String,
    /// How long ago it was sealed, in seconds.
    #[serde(default)]
    age: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: u16,
    /// The reason's id.
    reason: Option<String>,
    /// The upstream request: `GET Observation/o1`, `POST Observation/_search subject=Patient/P1`, or `none`.
    upstream: Option<String>,
    /// `Type/id` of the entries that are released.
    entries: Option<Vec<String>>,
    /// Texts that the released body has.
    #[serde(default)]
    has: Vec<String>,
    /// Texts that it has not.
    #[serde(default)]
    lacks: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    scope: String,
    #[serde(default)]
    patient: Value,
    #[serde(rename = "fhirUser")]
    fhir_user: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default = "user")]
    sub: String,
    #[serde(default = "app")]
    client_id: String,
}

fn user() -> String {
    "u1".to_owned()
}

fn app() -> String {
    "app".to_owned()
}

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
    body: String,
}

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
            authorizer: Authorizer::new(Some(Path::new(&policies)), bases.clone(), 50).unwrap(),
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
        let permit = match self.authorizer.decide(Authenticated::for_test(request, principal), self.filter.sealer()) {
            Decision::Permit(permit) => permit,
            Decision::Deny(denial) => return Outcome::refused(Refusal::Denied(denial)),
            Decision::Refuse(refusal) => return Outcome::refused(refusal),
        };
        let upstream = Some(print(&permit.upstream));
        let (answer, current) = self.answer(part, &permit.upstream);
        match self.filter.release(Unfiltered::for_test(permit, answer, current)) {
            Ok(releasable) => {
                let body = String::from_utf8(releasable.body().to_vec()).unwrap();
                let status = releasable.into_response().status().as_u16();
                Outcome { status, upstream, body, reason: None }
            }
            Err(refusal) => Outcome { upstream, ..Outcome::refused(refusal) },
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
            let reach = match &for_whom.patient {
                Context::Patient(id) => Some(id),
                Context::Absent | Context::Unusable => None,
            };
            target.push_str(&sealer.seal(&continuation, &for_whom, reach).unwrap());
        }
        let mut inbound = Inbound::for_test(method, &target);
        for (name, value) in &part.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            inbound.headers.append(name, HeaderValue::from_str(value).unwrap());
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
            UpstreamRequest::Nothing { .. } => (Answered::Nothing, None),
            UpstreamRequest::Search { .. } if part.refusal.is_some() => {
                let body = Bytes::from(part.refusal.as_ref().unwrap().to_string());
                (Answered::Refused { body }, None)
            }
            UpstreamRequest::Search { .. } | UpstreamRequest::Page { .. } => {
                (resource(Some(self.bundle(&part.entries))), None)
            }
        }
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
        let (head, body) = refusal.into_response(&Challenge { realm: GATEWAY }).into_parts();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Self { status: head.status.as_u16(), reason, body, upstream: None }
    }
}

fn print(upstream: &UpstreamRequest) -> String {
    match upstream {
        UpstreamRequest::Read { resource_type, id } => format!("GET {resource_type}/{id}"),
        UpstreamRequest::Vread { resource_type, id, version } => format!("GET {resource_type}/{id}/_history/{version}"),
        UpstreamRequest::Search { resource_type, parameters } => {
            let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("POST {resource_type}/_search {}", parameters.join("&")).trim_end().to_owned()
        }
        UpstreamRequest::Page { path_and_query, .. } => format!("GET {path_and_query}"),
        UpstreamRequest::Nothing { .. } => "none".to_owned(),
    }
}

fn released_entries(body: &str) -> Vec<String> {
    let Ok(bundle) = serde_json::from_str::<Value>(body) else { return vec!["no bundle".to_owned()] };
    let entries = bundle.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    let name = |entry: &Value| {
        let resource = entry.get("resource");
        let member = |name| text(resource.and_then(|resource| resource.get(name)));
        format!("{}/{}", member("resourceType"), member("id"))
    };
    entries.iter().map(name).collect()
}
