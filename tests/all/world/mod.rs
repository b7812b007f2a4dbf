//! The complete gateway in this process, in front of the recording upstream, with a client that distrusts what it gets.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

pub(crate) mod client;
mod log;
mod tokens;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firebreak::audit::{Ending, Entry, EventKind, VerifyOptions, verify};
use firebreak::clock::Clock;
use firebreak::config::Config;
use firebreak::jose::Keys;
use firebreak::listen::{Drain, Listener};
use firebreak::origin::{Parts, StartError, build};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::upstream::{Resource, Upstream, data};
use client::Connection;
pub(crate) use client::Reply;
pub(crate) use tokens::Grant;

/// The public FHIR base of every world.
pub(crate) const BASE: &str = "https://gw.example.org/fhir";
/// The credential that the upstream wants; nobody but the upstream may see it.
pub(crate) const UPSTREAM_CREDENTIAL: &str = "Basic CANARY-credential";

/// The signing and sealing keys of the tests: making RSA keys takes long.
static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    Keys::open(&directory.path().join("keys")).unwrap();
    directory
});

/// How a world differs from the ordinary one.
pub(crate) struct Settings {
    pub(crate) resources: Vec<Resource>,
    pub(crate) clock: Clock,
    /// More lines of configuration, below `[fhir]`.
    pub(crate) fhir: String,
    /// More sections of configuration.
    pub(crate) sections: String,
    /// Lines below `[server]`.
    pub(crate) server: String,
    pub(crate) tls: bool,
    /// Failed credentials that an address is forgiven per minute.
    pub(crate) failed_credentials: u32,
    /// Whether the store is never asked again after the start.
    pub(crate) deaf: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resources: data::sample(),
            clock: Clock::system(),
            fhir: String::new(),
            sections: String::new(),
            server: String::new(),
            tls: false,
            failed_credentials: 10_000,
            deaf: false,
        }
    }
}

/// A running gateway and its upstream.
pub(crate) struct World {
    pub(crate) upstream: Upstream,
    pub(crate) clock: Clock,
    pub(crate) address: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) state: TempDir,
    keys: Keys,
    trusted: Option<Arc<rustls::ClientConfig>>,
    drain: Drain,
    running: JoinHandle<()>,
    /// What the client may never see, beside the upstream's address.
    planted: Mutex<Vec<String>>,
    /// What no log may hold.
    secrets: Mutex<Vec<String>>,
    tokens: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<Exchange>>,
    number: Mutex<u64>,
    pub(crate) grants: firebreak::grant::Grants,
    pub(crate) audit: firebreak::audit::Audit,
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

/// The hash of a password that nobody knows: for the user whose tokens the tests sign themselves.
const NOT_A_PASSWORD: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI";

fn other_client(client_id: &str) -> String {
    format!("[[client]]\nclient_id = \"{client_id}\"\nredirect_uris = [\"https://{client_id}.example.org/cb\"]\n")
}

fn other_user(username: &str) -> String {
    format!("[[user]]\nusername = \"{username}\"\npassword_hash = \"{NOT_A_PASSWORD}\"\n")
}

/// The configuration of a world whose files are below `directory`.
pub(crate) fn configuration(directory: &Path, upstream: &str, settings: &Settings) -> Config {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions/policies");
    let tls = if settings.tls { "[tls]\ndirectory = \"tls\"" } else { "" };
    let credential = directory.join("upstream.secret");
    fs::write(&credential, UPSTREAM_CREDENTIAL).unwrap();
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"https://gw.example.org\"\ndanger_plain_http = {}\n\
         drain_delay = \"0ms\"\ndrain_grace = \"500ms\"\n{}\n{tls}\n\
         [fhir]\nupstream = \"{upstream}\"\nupstream_authorization_file = \"upstream.secret\"\n{}\n\
         [state]\ndirectory = \"state\"\n[policies]\ndirectory = \"{}\"\n\
         [limits]\nfailed_credentials_per_minute = {}\n{}\n\
         [[client]]\nclient_id = \"app\"\nredirect_uris = [\"https://app.example.org/cb\"]\n\
         scope = \"openid fhirUser offline_access launch/patient patient/*.rs\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n\
         {}{}",
        !settings.tls,
        settings.server,
        settings.fhir,
        policies.display(),
        settings.failed_credentials,
        settings.sections,
        ["app2", "bulk1", "backend", "nobody"].map(other_client).concat(),
        ["somebody", "else"].map(other_user).concat(),
    );
    match Config::parse(&text, directory) {
        Ok(config) => config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// A directory for a gateway's files, in memory where there is such a place, with the keys of the tests.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let from = KEYS.path().join("keys");
    copy(&from, &directory.path().join("state/keys"));
    directory
}

fn copy(from: &Path, to: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let upstream = Upstream::start(settings.resources.clone()).await;
        let state = directory();
        let trusted = settings.tls.then(|| certificate(&state.path().join("tls")));
        let config = Arc::new(configuration(state.path(), &upstream.base(), &settings));
        let parts = build(Arc::clone(&config), settings.clock.clone(), None).await.unwrap();
        let (grants, audit) = (parts.origin.grants.clone(), parts.origin.audit.clone());
        let drain = Drain::default();
        let (address, admin, running) =
            if settings.deaf { serve_deaf(parts, &config, &drain).await } else { serve(parts, &config, &drain).await };
        let keys = Keys::open(&state.path().join("state/keys")).unwrap();
        Self {
            upstream,
            clock: settings.clock,
            address,
            admin,
            state,
            keys,
            trusted,
            drain,
            running,
            planted: Mutex::new(vec![UPSTREAM_CREDENTIAL.to_owned()]),
            secrets: Mutex::default(),
            tokens: Mutex::default(),
            exchanges: Mutex::default(),
            number: Mutex::new(0),
            grants,
            audit,
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
        let request_id = self.request_id();
        let request = request(line, token, headers, body, &request_id);
        let reply = connection.exchange(request.as_bytes(), line.starts_with("HEAD ")).await;
        self.distrust(&reply, token, line);
        if request.contains(&format!("X-Request-Id: {request_id}\r\n")) {
            self.note(line, token, &request_id, &reply);
        }
        reply
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
    fn distrust(&self, reply: &Reply, token: &str, line: &str) {
        let all = reply.all();
        let contains = |secret: &str| !secret.is_empty() && all.contains(secret);
        assert!(!contains(&self.upstream.authority()), "the upstream's address in the answer to {line}: {all}");
        assert!(!contains(token), "the token in the answer to {line}: {all}");
        for planted in &*self.planted.lock().unwrap() {
            assert!(!contains(planted), "{planted} in the answer to {line}: {all}");
        }
        for (name, _) in &reply.headers {
            assert!(client::EXPECTED_HEADERS.contains(&name.as_str()), "the header `{name}` in the answer to {line}");
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
                200 | 304 | 403 | 502 | 504 => true,
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
        self.drain.begin(std::time::Duration::ZERO).await;
        tokio::time::timeout(std::time::Duration::from_secs(10), self.running).await.unwrap().unwrap();
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
            let of_it = by_id.remove(&*exchange.request_id).unwrap_or_default();
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
        let told = log::taken();
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
        entries
    }
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

/// Makes a certification authority and a certificate of it; gives a client's configuration that trusts it alone.
fn certificate(directory: &Path) -> Arc<rustls::ClientConfig> {
    fs::create_dir_all(directory).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(vec!["gw.example.org".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(directory.join("tls.crt"), server.pem()).unwrap();
    fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(directory.join("tls.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
