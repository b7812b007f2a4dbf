//! A whole gateway in this process, between a client that sends one request after the other and an upstream that answers from
//! memory, and what of the CPU is the gateway's: that of every thread but the client's and the upstream's. State and audit log
//! lie in memory where there is such a place, so that it is the CPU that is measured and not the disk.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use firebreak::clock::Clock;
use firebreak::config::Config;
use firebreak::jose::AccessTokenClaims;
use firebreak::keys::Keys;
use firebreak::listen::Drain;
use firebreak::origin::build;
use tempfile::TempDir;

mod searchset;
use searchset::searchset;

/// What goes wrong in a benchmark ends it.
pub(crate) type Problem = Box<dyn Error + Send + Sync>;

const ORIGIN: &str = "https://gw.example.org";

/// A gateway that runs until the process ends.
pub(crate) struct Site {
    address: SocketAddr,
    keys: Keys,
    _state: TempDir,
}

impl Site {
    /// Starts one with the shipped policies and `policies` more, none of which is about the role that asks.
    pub(crate) fn start(policies: usize) -> Result<Self, Problem> {
        let memory = Path::new("/dev/shm");
        let state = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let directory = state.path().join("policies");
        fs::create_dir(&directory)?;
        let policy = |number: usize| {
            format!(
                "@id(\"more-{number}\")\n@description(\"Of another role.\")\npermit (principal is User in Role::\"role{number}\", \
                 action in [Action::\"read\"], resource);\n"
            )
        };
        fs::write(directory.join("more.cedar"), (0..policies).map(policy).collect::<String>())?;
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"{ORIGIN}\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"http://{}/fhir\"\n[policies]\ndirectory = \"policies\"\n\
             [limits]\nfailed_credentials_per_minute = 100000\n\
             [[client]]\nclient_id = \"app\"\nredirect_uris = [\"https://app.example.org/cb\"]\n\
             [[user]]\nusername = \"dr\"\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
             Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI\"\n",
            upstream()?
        );
        let config = Arc::new(Config::parse(&text, state.path())?);
        let (started, address) = mpsc::channel();
        thread::Builder::new().name("gateway".to_owned()).spawn(move || serve(&config, &started))?;
        let address = address.recv()??;
        let keys = Keys::open(&state.path().join("state/keys"))?;
        Ok(Self { address, keys, _state: state })
    }

    /// An access token of a clinician with the patient `p1` in context; another one for each `number`.
    pub(crate) fn token(&self, scope: &str, number: usize) -> Result<String, Problem> {
        let now = Clock::system().unix_seconds();
        let claims = AccessTokenClaims {
            iss: ORIGIN.to_owned(),
            sub: "dr".to_owned(),
            aud: format!("{ORIGIN}/fhir"),
            client_id: "app".to_owned(),
            iat: now,
            exp: now + 3600,
            jti: format!("token {number}"),
            gid: "grant".to_owned(),
            scope: scope.to_owned(),
            patient: Some("p1".to_owned()),
            fhir_user: Some("Practitioner/d1".to_owned()),
            roles: vec!["clinician".to_owned()],
            ..AccessTokenClaims::default()
        };
        self.keys.sign_access_token(&claims).map_err(|error| format!("{error:?}").into())
    }

    /// Sends `GET target` with each of the tokens, one after the other, and says what that cost on average.
    pub(crate) fn measure<'t>(
        &self,
        target: &str,
        tokens: impl IntoIterator<Item = &'t String>,
        status: u16,
    ) -> Result<Cost, Problem> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        let mut answers = BufReader::new(stream.try_clone()?);
        let (began, before, mut requests) = (Instant::now(), gateway_cpu()?, 0_u32);
        for token in tokens {
            let request =
                format!("GET {target} HTTP/1.1\r\nHost: gw.example.org\r\nAuthorization: Bearer {token}\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let (found, _) = message(&mut answers)?;
            if found.split(' ').nth(1) != Some(&status.to_string()) {
                return Err(format!("{target} was answered {found:?}, expected {status}").into());
            }
            requests += 1;
        }
        let (wall, cpu) = (began.elapsed(), gateway_cpu()?.saturating_sub(before));
        Ok(Cost { cpu: cpu / requests.max(1), wall: wall / requests.max(1) })
    }
}

/// What one request cost.
pub(crate) struct Cost {
    /// CPU of the gateway: of all its threads, the one that writes the audit log included.
    pub(crate) cpu: Duration,
    /// Until the answer was there.
    pub(crate) wall: Duration,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        write!(f, "{:>7.1} µs of CPU, {:>7.1} µs until it was answered", micros(self.cpu), micros(self.wall))
    }
}

fn serve(config: &Arc<Config>, started: &mpsc::Sender<Result<SocketAddr, Problem>>) {
    let serving = async {
        let drain = Drain::default();
        let running = build(Arc::clone(config), Clock::system(), None).await?.bind(config, &drain).await?;
        let _ = started.send(running.address().map_err(Into::into));
        running.run(drain).await;
        Ok::<_, Problem>(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Err(problem) = runtime.map_err(Problem::from).and_then(|runtime| runtime.block_on(serving)) {
        let _ = started.send(Err(problem));
    }
}

/// Nanoseconds on the CPU of every thread that is neither the client's, which is the first, nor the upstream's.
fn gateway_cpu() -> Result<Duration, Problem> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let is_client = task.ends_with(std::process::id().to_string());
        // One that ended in between counts for nothing.
        let (Ok(name), Ok(spent)) = (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        if !is_client && name.trim() != "upstream" {
            sum += spent.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(sum))
}

/// Answers a Patient to a read, twenty Observations to a search, and a CapabilityStatement.
fn upstream() -> Result<SocketAddr, Problem> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("upstream".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // Its threads inherit nothing but what they are given, so each is named too.
            let _ = thread::Builder::new().name("upstream".to_owned()).spawn(move || answer(stream, address));
        }
    })?;
    Ok(address)
}

fn answer(mut stream: TcpStream, address: SocketAddr) -> Result<(), Problem> {
    stream.set_nodelay(true)?;
    let mut requests = BufReader::new(stream.try_clone()?);
    let searchset = searchset(20, &format!("http://{address}/fhir"));
    loop {
        let (line, _) = message(&mut requests)?;
        let body = match line.split(' ').nth(1).unwrap_or_default() {
            target if target.ends_with("/metadata") => {
                r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#.to_owned()
            }
            target if target.contains("/Patient/p1/_history/") || target.ends_with("/Patient/p1") => patient(),
            // The question whether searches are confined at all: for a patient that nobody is.
            target if target.contains("=Patient/") && !target.contains("=Patient/p1") => {
                r#"{"resourceType":"Bundle","type":"searchset"}"#.to_owned()
            }
            _ => searchset.clone(),
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n";
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
    }
}

/// The first line and the body of a message with a known length.
fn message(from: &mut impl BufRead) -> Result<(String, Vec<u8>), Problem> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Err("the connection was closed".into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(("content-length", value)) = line.to_ascii_lowercase().split_once(": ") {
            length = value.parse()?;
        }
        if first.is_empty() {
            line.clone_into(&mut first);
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok((first, body))
}

/// About 1 KB.
fn patient() -> String {
    let padding = "x".repeat(600);
    format!(
        r#"{{"resourceType":"Patient","id":"p1","meta":{{"versionId":"1","lastUpdated":"2026-03-04T05:06:07.890+00:00"}},"text":{{"status":"generated","div":"<div>{padding}</div>"}},"identifier":[{{"system":"urn:mrn","value":"1"}}],"name":[{{"family":"Shaw","given":["Amy","V."]}}],"gender":"female","birthDate":"1987-02-20","generalPractitioner":[{{"reference":"Practitioner/d1"}}]}}"#
    )
}
