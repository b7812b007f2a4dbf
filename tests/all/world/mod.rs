//! The complete gateway in this process, in front of the recording upstream, with a client that distrusts what it gets.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

pub(crate) mod client;
mod files;
mod log;
mod process;
pub(crate) mod server;
mod tokens;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firebreak::audit::{Ending, Entry, EventKind, VerifyOptions, verify};
use firebreak::clock::Clock;
use firebreak::config::Config;
use firebreak::keys::Keys;
use firebreak::listen::{Drain, Listener};
use firebreak::origin::{Parts, StartError, build};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::upstream::Upstream;
use client::Connection;
pub(crate) use client::Reply;
pub(crate) use files::{Settings, UPSTREAM_CREDENTIAL, configuration, directory};
use files::{certificate, configuration_text};
pub(crate) use log::taken as told;
use process::{Inside, Process};
pub(crate) use tokens::Grant;

/// The public FHIR base of every world.
pub(crate) const BASE: &str = "https://gw.example.org/fhir";
/// A running gateway and its upstream.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) clock: Clock,
    pub(crate) address: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) state: TempDir,
    keys: Keys,
    trusted: Option<Arc<rustls::ClientConfig>>,
    running: Running,
    /// What the client may never see, beside the upstream's address.
    planted: Mutex<Vec<String>>,
    /// What no log may hold.
    secrets: Mutex<Vec<String>>,
    tokens: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<Exchange>>,
    number: Mutex<u64>,
    pub(crate) grants: Inside<firebreak::grant::Grants>,
    pub(crate) audit: Inside<firebreak::audit::Audit>,
    /// Every answer with its request line, where the settings ask for them.
    kept: Option<Mutex<Vec<(String, Reply)>>>,
}

/// Where the gateway runs.
enum Running {
    Here(Drain, JoinHandle<()>),
    There(Process),
}

/// What the client saw of one request below the FHIR base.
struct Exchange {
    request_id: String,
    line: String,
    status: u16,
    /// Whether a valid token came with a request that the canonicaliser took.
    judged: bool,
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    log::capture();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let (upstream, state, trusted) = Self::surroundings(&settings).await;
        let config = Arc::new(configuration(state.path(), &upstream.base(), &settings));
        let parts = build(Arc::clone(&config), settings.clock.clone(), None).await.unwrap();
        let (grants, audit) = (parts.origin.grants.clone(), parts.origin.audit.clone());
        let drain = Drain::default();
        let (address, admin, running) =
            if settings.deaf { serve_deaf(parts, &config, &drain).await } else { serve(parts, &config, &drain).await };
        let world =
            Self::new_with(settings, (upstream, state, trusted), (address, admin), Running::Here(drain, running));
        Self { grants: Inside(Some(grants)), audit: Inside(Some(audit)), ..world }
    }

    /// With the gateway as a process of its own, whose log is kept at its finest level. It has an admin listener.
    pub(crate) async fn process(settings: Settings) -> Self {
        let (upstream, state, trusted) = Self::surroundings(&settings).await;
        let settings = Settings { server: "admin = \"127.0.0.1:0\"".to_owned(), ..settings };
        let text = configuration_text(state.path(), &upstream.base(), &settings);
        let process = Process::start(state.path(), &text);
        let addresses = (process.address, Some(process.admin));
        Self::new_with(settings, (upstream, state, trusted), addresses, Running::There(process))
    }

    async fn surroundings(settings: &Settings) -> Surroundings {
        let upstream = Upstream::start(settings.resources.clone()).await;
        upstream.change(|store| store.software = settings.software);
        let state = directory();
        let trusted = settings.tls.then(|| certificate(&state.path().join("tls")));
        (upstream, state, trusted)
    }

    fn new_with(
        settings: Settings,
        (upstream, state, trusted): Surroundings,
        (address, admin): (SocketAddr, Option<SocketAddr>),
        running: Running,
    ) -> Self {
        let keys = Keys::open(&state.path().join("state/keys")).unwrap();
        Self {
            upstream,
            clock: settings.clock,
            address,
            admin,
            state,
            keys,
            trusted,
            running,
            planted: Mutex::new(vec![UPSTREAM_CREDENTIAL.to_owned()]),
            secrets: Mutex::default(),
            tokens: Mutex::default(),
            exchanges: Mutex::default(),
            number: Mutex::new(0),
            grants: Inside(None),
            audit: Inside(None),
            kept: settings.keeps.then(Mutex::default),
        }
    }

    /// A second process on this world's files, as far as it comes.
    pub(crate) async fn second(&self) -> Result<Parts, StartError> {
        let config = configuration(self.state.path(), &self.upstream.base(), &Settings::default());
        build(Arc::new(config), Clock::system(), None).await
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address, self.trusted.clone()).await
    }

    /// Sends `METHOD target`, with `token` and the header lines, on a connection of its own.
    pub(crate) async fn send(&self, line: &str, token: &str, headers: &[&str], body: &str) -> Reply {
        let mut connection = self.connect().await;
        self.send_on(&mut connection, line, token, headers, body).await
    }

    pub(crate) async fn get(&self, target: &str, token: &str) -> Reply {
        self.send(&format!("GET {target}"), token, &[], "").await
    }

    /// `POST target` with a form.
    pub(crate) async fn post(&self, target: &str, token: &str, form: &str) -> Reply {
        self.send(&format!("POST {target}"), token, &["Content-Type: application/x-www-form-urlencoded"], form).await
    }

    pub(crate) async fn send_on(
        &self,
        connection: &mut Connection,
        line: &str,
        token: &str,
        headers: &[&str],
        body: &str,
    ) -> Reply {
        match self.try_on(connection, line, token, headers, body).await {
            Ok(reply) => reply,
            Err(told) => panic!("{told}"),
        }
    }

    /// As [`Self::send_on`]; an answer that holds what it must not is an error that says so.
    pub(crate) async fn try_on(
        &self,
        connection: &mut Connection,
        line: &str,
        token: &str,
        headers: &[&str],
        body: &str,
    ) -> Result<Reply, String> {
        let request_id = self.request_id();
        let request = request(line, token, headers, body, &request_id);
        let reply = connection.exchange(request.as_bytes(), line.starts_with("HEAD ")).await;
        self.distrust(&reply, token, line)?;
        self.keep(line, &reply);
        if request.contains(&format!("X-Request-Id: {request_id}\r\n")) {
            self.note(line, token, &request_id, &reply);
        }
        Ok(reply)
    }

    /// Keeps an answer, where answers are kept.
    pub(crate) fn keep(&self, line: &str, reply: &Reply) {
        if let Some(kept) = &self.kept {
            kept.lock().unwrap().push((line.to_owned(), reply.clone()));
        }
    }

    /// The answers that were kept.
    pub(crate) fn kept(&self) -> Vec<(String, Reply)> {
        self.kept.as_ref().unwrap().lock().unwrap().clone()
    }

    /// What the admin listener answers to a GET.
    pub(crate) async fn operator(&self, target: &str) -> Reply {
        let mut connection = Connection::open(self.admin.unwrap(), None).await;
        let request = format!("GET {target} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        connection.exchange(request.as_bytes(), false).await
    }

    /// Moves a fixed clock, and lets the gateway hear from its store at the new time.
    pub(crate) async fn advance(&self, seconds: i64) {
        self.clock.advance(seconds);
        self.grants.revocations.refresh(&*self.grants.store).await.unwrap();
    }

    pub(crate) fn request_id(&self) -> String {
        let mut number = self.number.lock().unwrap();
        *number += 1;
        format!("request-{number}")
    }

    /// Nothing of what is planted may be in `reply`, and no header that nobody expects.
    fn distrust(&self, reply: &Reply, token: &str, line: &str) -> Result<(), String> {
        let all = reply.all();
        let contains = |secret: &str| !secret.is_empty() && all.contains(secret);
        if contains(&self.upstream.authority()) {
            return Err(format!("the upstream's address in the answer to {line}: {all}"));
        }
        if contains(token) {
            return Err(format!("the token in the answer to {line}: {all}"));
        }
        if let Some(planted) = self.planted.lock().unwrap().iter().find(|planted| contains(planted)) {
            return Err(format!("{planted} in the answer to {line}: {all}"));
        }
        match reply.headers.iter().find(|(name, _)| !client::EXPECTED_HEADERS.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("the header `{name}` in the answer to {line}")),
            None => Ok(()),
        }
    }

    fn note(&self, line: &str, token: &str, request_id: &str, reply: &Reply) {
        let fhir = line.split(' ').nth(1).is_some_and(|target| {
            target.starts_with("/fhir")
                && !target.starts_with("/fhir/metadata")
                && !target.starts_with("/fhir/.well-known")
        });
        if fhir && !token.is_empty() {
            let judged = match reply.status {
                200 | 201 | 204 | 304 | 403 | 412 | 422 | 502 | 504 => true,
                404 => reply.text().contains("no such resource is available"),
                _ => false,
            };
            self.exchanges.lock().unwrap().push(Exchange {
                request_id: request_id.to_owned(),
                line: line.to_owned(),
                status: reply.status,
                judged: judged && !line.starts_with("HEAD "),
            });
        }
    }

    /// From now on `text` may not be in any answer.
    pub(crate) fn plant(&self, text: &str) {
        self.planted.lock().unwrap().push(text.to_owned());
    }

    /// From now on `text` may not be in any log.
    pub(crate) fn secret(&self, text: &str) {
        self.secrets.lock().unwrap().push(text.to_owned());
    }

    /// The statuses of the answers below the FHIR base.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.exchanges.lock().unwrap().iter().map(|exchange| exchange.status).collect()
    }

    pub(crate) fn audit_directory(&self) -> PathBuf {
        self.state.path().join("state/audit")
    }

    /// Ends the gateway in order and gives the records, after looking through all of them.
    pub(crate) async fn finish(self) -> Vec<Entry> {
        self.end().await.entries
    }

    /// The same, and everything else that it leaves.
    pub(crate) async fn end(self) -> Left {
        let told = match self.running {
            Running::Here(drain, running) => {
                drain.begin(std::time::Duration::ZERO).await;
                tokio::time::timeout(std::time::Duration::from_secs(10), running).await.unwrap().unwrap();
                log::taken()
            }
            Running::There(process) => process.end(),
        };
        let directory = self.state.path().join("state/audit");
        let report = verify(&directory, &VerifyOptions::default()).unwrap();
        assert!(report.is_good(), "{report}");
        let lines = audit_lines(&directory);
        let entries: Vec<Entry> = lines.iter().map(|line| Entry::parse(line).unwrap()).collect();
        let unreleased: Vec<u64> = entries
            .iter()
            .filter(|entry| entry.record.kind == EventKind::Unreleased)
            .flat_map(|entry| entry.record.refers.clone())
            .collect();
        let mut by_id: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &entries {
            by_id.entry(entry.record.request_id.as_deref().unwrap_or_default()).or_default().push(entry);
        }
        for exchange in &*self.exchanges.lock().unwrap() {
            let mut of_it = by_id.remove(&*exchange.request_id).unwrap_or_default();
            // Before a change is forwarded, a record of its own says so.
            let intended = of_it.extract_if(.., |entry| entry.record.outcome == Some(Ending::Intended)).count();
            assert!(
                intended <= 1 && (intended == 0 || of_it.len() == 1),
                "{} was intended and has no end",
                exchange.line
            );
            let Exchange { line, status, .. } = exchange;
            assert!(of_it.len() <= 1, "{line} has {} records", of_it.len());
            assert!(!exchange.judged || of_it.len() == 1, "{line} was answered {status} and has no record");
            if let [entry] = of_it.as_slice() {
                // What could not be recorded in time was not released, and the log says so when it can again.
                let withheld = *status == 503 && unreleased.contains(&entry.seq);
                assert!(withheld || entry.record.status == Some(*status), "{line} was answered {status}: {entry:?}");
                assert!(!withheld || entry.record.outcome == Some(Ending::Released));
                assert_eq!(entry.record.kind, EventKind::Fhir);
                assert!(entry.record.client_id.is_some() && entry.record.sub.is_some(), "{line}: {entry:?}");
            }
        }
        for planted in &*self.planted.lock().unwrap() {
            assert!(lines.iter().all(|line| !line.contains(planted)), "{planted} in the audit log");
            assert!(!told.contains(planted), "{planted} in the operational log");
        }
        let queries = entries.iter().filter_map(|entry| entry.record.query_raw.as_deref());
        let queries: Vec<String> =
            queries.map(|query| String::from_utf8(STANDARD.decode(query).unwrap()).unwrap()).collect();
        for secret in &*self.secrets.lock().unwrap() {
            assert!(!lines.iter().chain(&queries).any(|line| line.contains(secret)), "{secret} in the audit log");
            assert!(!told.contains(secret), "{secret} in the operational log");
        }
        for secret in ["CANARY", "Bearer ", "Patient/", "Observation/", "patient=", "subject="] {
            assert!(!told.contains(secret), "{secret} in the operational log: {told}");
        }
        for token in &*self.tokens.lock().unwrap() {
            let signature = token.rsplit('.').next().unwrap();
            assert!(lines.iter().all(|line| !line.contains(signature)), "a token in the audit log");
            assert!(!told.contains(signature), "a token in the operational log");
        }
        Left { entries, lines, told }
    }
}

/// What a gateway leaves that ended in order.
pub(crate) struct Left {
    /// The records of its audit log.
    pub(crate) entries: Vec<Entry>,
    /// The same as they are written.
    pub(crate) lines: Vec<String>,
    /// Its operational log.
    pub(crate) told: String,
}

/// The raw lines of the audit log.
pub(crate) fn audit_lines(directory: &Path) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths
        .iter()
        .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The bytes of a request.
pub(crate) fn request(line: &str, token: &str, headers: &[&str], body: &str, request_id: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nHost: gw.example.org\r\n");
    if !request_id.is_empty() && !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("x-request-id")) {
        write!(text, "X-Request-Id: {request_id}\r\n").unwrap();
    }
    if !token.is_empty() {
        write!(text, "Authorization: Bearer {token}\r\n").unwrap();
    }
    for header in headers {
        write!(text, "{header}\r\n").unwrap();
    }
    if !body.is_empty() {
        write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

type Surroundings = (Upstream, TempDir, Option<Arc<rustls::ClientConfig>>);
type Served = (SocketAddr, Option<SocketAddr>, JoinHandle<()>);

async fn serve(parts: Parts, config: &Config, drain: &Drain) -> Served {
    let running = parts.bind(config, drain).await.unwrap();
    let (address, admin) = (running.address().unwrap(), running.admin_address());
    (address, admin, tokio::spawn(running.run(drain.clone())))
}

/// Without the task that goes on asking the store for revocations.
async fn serve_deaf(parts: Parts, config: &Config, drain: &Drain) -> Served {
    let listener = Listener::bind(config.server.listen, None, config.limits.clone()).await.unwrap();
    let address = listener.address().unwrap();
    let (audit, drain, grace) = (parts.origin.audit.clone(), drain.clone(), config.server.drain_grace);
    let running = tokio::spawn(async move {
        listener.serve(parts.origin, drain, grace).await;
        audit.shutdown().await;
    });
    (address, None, running)
}
