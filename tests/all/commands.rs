//! The program as a process: exit codes, what it says, how it ends.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use argon2::password_hash::PasswordVerifier;
use argon2::{Argon2, PasswordHash};
use firebreak::secret::Digest;
use tempfile::TempDir;

use crate::world::{Settings, World};

const PATIENCE: Duration = Duration::from_secs(20);

fn firebreak(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = firebreak(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A directory with a configuration in front of a FHIR server that says it is R4 and nothing else.
pub(crate) struct Site {
    directory: TempDir,
    listen: SocketAddr,
    admin: SocketAddr,
}

/// An address that nobody listens on.
pub(crate) fn free() -> SocketAddr {
    // Below the ports that connections get by themselves: one of those could be taken before it is listened on.
    let ports = std::iter::repeat_with(|| 10_000 + u16::from_le_bytes(firebreak::random::bytes::<2>()) % 20_000);
    let mut bound = ports.take(1_000).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    bound.next().unwrap().local_addr().unwrap()
}

/// Answers `/metadata` and nothing else, until the test ends.
pub(crate) fn upstream() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n";
            let _ = stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    address
}

impl Site {
    pub(crate) fn new(drain_delay: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (listen, admin) = (free(), free());
        let pki = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/server");
        fs::create_dir(directory.path().join("tls")).unwrap();
        for file in ["tls.crt", "tls.key"] {
            fs::copy(pki.join(file), directory.path().join("tls").join(file)).unwrap();
        }
        let text = format!(
            "[server]\nlisten = \"{listen}\"\nadmin = \"{admin}\"\norigin = \"https://localhost:{}\"\ndrain_delay = \"{drain_delay}\"\n\
             [tls]\ndirectory = \"tls\"\n[fhir]\nupstream = \"http://{}/fhir\"\n",
            listen.port(),
            upstream()
        );
        fs::write(directory.path().join("firebreak.toml"), text).unwrap();
        Self { directory, listen, admin }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn config(&self) -> String {
        self.path("firebreak.toml").to_str().unwrap().to_owned()
    }

    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from));
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }

    /// `serve`, once it says that it serves.
    pub(crate) fn serve(&self) -> Serving {
        Serving::start(&self.config())
    }

    /// Status line and body of an admin page.
    fn admin(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// A process that is ended with the test.
pub(crate) struct Serving(Child);

impl Serving {
    /// `serve` with this configuration, once it says that it serves.
    pub(crate) fn start(config: &str) -> Self {
        let mut child = firebreak(&["serve", "--config", config]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            let serving = line.contains("\"serving\"");
            seen.push(line);
            if serving {
                // Keeps the pipe from filling up.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Self(child);
            }
        }
        let status = child.wait();
        panic!("it did not serve: {status:?} {seen:?}");
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The exit code; fails when it does not end.
    pub(crate) fn code(mut self) -> i32 {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_is_asked_to_end_says_so_and_ends_with_0() {
    let site = Site::new("1s");
    let serving = site.serve();
    assert!(site.admin("/readyz").starts_with("HTTP/1.1 200"));
    let metrics = site.admin("/metrics");
    for name in [
        "firebreak_build_info",
        "firebreak_audit_healthy 1",
        "firebreak_tls_not_after_seconds",
        "firebreak_connections_open 0",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    serving.signal("TERM");
    let begun = std::time::Instant::now();
    let leaving = loop {
        let answer = site.admin("/readyz");
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    assert!(leaving.contains("leaving"), "{leaving}");
    assert!(site.admin("/livez").starts_with("HTTP/1.1 200"), "it is alive to the end");
    assert!(TcpStream::connect(site.listen).is_ok(), "it goes on accepting for the delay");
    assert_eq!(serving.code(), 0);
    let (code, told, _) = run(&["audit", "verify", site.path("state/audit").to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
}

#[test]
fn a_second_signal_ends_at_once_with_1() {
    let site = Site::new("100s");
    let serving = site.serve();
    serving.signal("INT");
    until(|| site.admin("/readyz").starts_with("HTTP/1.1 503"));
    serving.signal("INT");
    assert_eq!(serving.code(), 1);
    let records = crate::world::audit_lines(&site.path("state/audit")).len();
    let checkpoints = fs::read_to_string(site.path("state/audit/checkpoints")).unwrap();
    assert!(checkpoints.contains(&format!("\n{records}\n")), "a checkpoint holds the last of them: {checkpoints}");
    let (code, told, _) = run(&["audit", "verify", site.path("state/audit").to_str().unwrap()]);
    assert_eq!(code, 0, "the log is closed in order: {told}");
}

#[test]
fn a_second_signal_cuts_what_the_grace_would_wait_for() {
    let site = Site::new("0s");
    site.edit("[tls]\ndirectory = \"tls\"\n", "");
    site.edit("[server]\n", "[server]\ndanger_plain_http = true\n");
    let serving = site.serve();
    let mut busy = TcpStream::connect(site.listen).unwrap();
    let head = format!("POST /token HTTP/1.1\r\nHost: localhost:{}\r\n", site.listen.port());
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\n";
    busy.write_all(format!("{head}{form}").as_bytes()).unwrap();
    until(|| site.admin("/metrics").contains("firebreak_connections_open 1"));
    serving.signal("TERM");
    until(|| TcpStream::connect(site.listen).is_err());
    serving.signal("TERM");
    assert_eq!(serving.code(), 1);
}

/// Waits for it; fails when it does not come.
fn until(is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_second_process_on_the_same_files_refuses_to_start() {
    let site = Site::new("0s");
    let serving = site.serve();
    let (code, _, told) = run(&["serve", "--config", &site.config()]);
    assert_eq!(code, 1);
    assert!(told.contains("another firebreak process"), "{told}");
    let (code, checks, _) = run(&["check", "--config", &site.config()]);
    // The check is run on the files of a running service, too, before it is restarted.
    assert_eq!(code, 0);
    assert_eq!(checks.matches("in use by a running process").count(), 2, "{checks}");
    serving.signal("TERM");
    assert_eq!(serving.code(), 0);
}

#[test]
fn check_says_ok_for_each_thing_and_changes_nothing() {
    let site = Site::new("0s");
    let (code, told, _) = run(&["check", "--config", &site.config()]);
    assert_eq!(code, 0, "{told}");
    for name in [
        "configuration",
        "clients",
        "certificate",
        "policies",
        "state directory",
        "keys",
        "audit directory",
        "upstream",
    ] {
        assert!(told.contains(&format!("ok      {name}: ")), "{name}: {told}");
    }
    assert!(!site.path("state").exists());
}

#[test]
fn check_names_everything_that_fails_at_once() {
    let site = Site::new("0s");
    fs::write(site.path("tls/tls.key"), "no key").unwrap();
    fs::write(site.path("state"), "a file").unwrap();
    site.edit("upstream = \"http://127.0.0.1:", "upstream = \"http://127.0.0.2:");
    let (code, told, summary) = run(&["check", "--config", &site.config()]);
    assert_eq!(code, 1);
    for part in [
        "FAILED  certificate",
        "tls.key",
        "FAILED  state directory",
        "FAILED  audit directory",
        "FAILED  upstream",
        "cannot be reached",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(summary.contains("4 checks failed"), "{summary}");
}

#[test]
fn a_policy_that_never_applies_and_a_role_that_none_speaks_of_are_told() {
    let site = Site::new("0s");
    fs::create_dir(site.path("policies")).unwrap();
    let text = fs::read_to_string(site.config()).unwrap();
    let user = "[[user]]\nusername = \"amy\"\nroles = [\"clinican\"]\npassword_hash = \"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"";
    fs::write(site.config(), format!("{text}\n[policies]\ndirectory = \"policies\"\n\n{user}\n")).unwrap();
    let (code, told, _) = run(&["check", "--config", &site.config()]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("no policy speaks of the role `clinican` of user `amy`"), "{told}");
    let own = "@id(\"no-obs\") forbid (principal, action, resource == ResourceType::\"Observation\");";
    fs::write(site.path("policies/own.cedar"), own).unwrap();
    let (code, told, _) = run(&["check", "--config", &site.config()]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("FAILED  policies: 1 mistake\n"), "{told}");
    let expected = "policy file `own.cedar`: `no-obs`: it never applies";
    assert!(told.contains(expected), "{told}");
    let (code, _, told) = run(&["serve", "--config", &site.config()]);
    assert!(code != 0 && told.contains(expected), "{code} {told}");
}

#[test]
fn scopes_of_a_client_that_are_none_are_mistakes_of_the_configuration() {
    let site = Site::new("0s");
    let text = fs::read_to_string(site.config()).unwrap();
    let client = "[[client]]\nclient_id = \"typing\"\nredirect_uris = [\"https://a.example/cb\"]\n";
    let scope = "scope = \"patient/*.sr bogus patient/Observaton.rs\"\n";
    fs::write(site.config(), format!("{text}\n{client}{scope}")).unwrap();
    let line = text.lines().count() + 5;
    let (code, told, _) = run(&["check", "--config", &site.config()]);
    assert_eq!(code, 2, "{told}");
    for expected in [
        "scope `patient/*.sr` is not known: did you mean `patient/*.rs`?",
        "scope `bogus` is not known: scopes are written as",
        "scope `patient/Observaton.rs` is not known: did you mean `patient/Observation.rs`?",
    ] {
        assert!(told.contains(&format!("line {line}: {expected}")), "lacks `{expected}`: {told}");
    }
}

#[test]
fn a_configuration_with_mistakes_ends_serve_with_2_and_all_of_them_named() {
    let site = Site::new("0s");
    site.edit("[tls]", "[tlss]");
    site.edit("listen", "lisen");
    let (code, _, told) = run(&["serve", "--config", &site.config()]);
    assert_eq!(code, 2);
    for part in ["line 2", "did you mean `listen`", "[tls] is missing", "tlss"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (code, told, _) = run(&["check", "--config", &site.config()]);
    assert_eq!(code, 2);
    assert!(told.starts_with("FAILED  configuration") && told.contains("did you mean `listen`"), "{told}");
    assert_eq!(run(&["serve", "--config", "/nowhere/firebreak.toml"]).0, 2);
    assert_eq!(run(&["serve", "--bogus"]).0, 2);
}

#[test]
fn a_certificate_that_does_not_load_refuses_the_start_before_anything_listens() {
    let site = Site::new("0s");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/key-mismatch/tls.key");
    fs::copy(other, site.path("tls/tls.key")).unwrap();
    let (code, _, told) = run(&["serve", "--config", &site.config()]);
    assert_eq!(code, 1);
    assert!(told.contains("tls.key") && told.contains("does not belong to"), "{told}");
    assert!(!site.path("state").exists(), "nothing was made");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let site = Site::new("0s");
    let _taken = TcpListener::bind(site.listen).unwrap();
    let (code, _, told) = run(&["serve", "--config", &site.config()]);
    assert_eq!(code, 1);
    assert!(told.contains(&site.listen.to_string()) && told.contains("in use"), "{told}");
}

#[test]
fn a_password_is_read_from_standard_input_and_only_its_hash_is_printed() {
    for typed in ["correct horse\n", "correct horse\r\n", "correct horse"] {
        let mut child = firebreak(&["password"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        let hash = String::from_utf8(output.stdout).unwrap();
        assert!(hash.starts_with("$argon2id$") && !hash.contains("correct"), "{hash}");
        let hash = PasswordHash::new(hash.trim_end()).unwrap();
        assert!(Argon2::default().verify_password(b"correct horse", &hash).is_ok(), "without its line end");
    }
    assert_eq!(run(&["password"]).0, 2, "no password");
}

#[test]
fn a_secret_is_printed_with_the_digest_that_the_configuration_takes() {
    let (code, told, _) = run(&["secret"]);
    let value = |name: &str| told.split(&format!("{name} = \"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let secret = value("client_secret       ");
    assert_eq!((code, Digest::of(&secret).to_hex()), (0, value("client_secret_sha256")));
}

#[test]
fn what_the_log_tells_goes_to_standard_error_as_json_at_the_level_that_is_asked_for() {
    let site = Site::new("0s");
    let list = |level: Option<&str>| {
        let mut command = firebreak(&["client", "list", "--config", &site.config()]);
        command.envs(level.map(|level| ("FIREBREAK_LOG", level)));
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "no clients\n");
        String::from_utf8(output.stderr).unwrap()
    };
    let told = list(None);
    assert!(!told.is_empty() && told.lines().all(|line| line.starts_with('{') && line.contains("\"INFO\"")), "{told}");
    assert_eq!(list(Some("off")), "");
    let log = site.path("state/audit");
    let (code, told, _) = run(&["audit", "verify", log.to_str().unwrap()]);
    assert!(code == 0 && !told.trim().is_empty(), "what was verified is told: {told}");
    fs::write(site.path("anchor"), "no checkpoint\n").unwrap();
    let anchor = site.path("anchor");
    let (code, _, told) = run(&["audit", "verify", log.to_str().unwrap(), "--anchor", anchor.to_str().unwrap()]);
    assert_eq!(code, 1, "{told}");
}

// O9
#[test]
fn the_keys_of_a_running_service_are_listed_and_rotated_from_another_process() {
    let site = Site::new("0s");
    let (code, _, told) = run(&["keys", "list", "--config", &site.config()]);
    assert_eq!(code, 1);
    assert!(told.contains("`firebreak serve` makes it"), "{told}");
    let serving = site.serve();
    let lines = |told: &str| told.lines().map(str::to_owned).collect::<Vec<_>>();
    let (code, told, _) = run(&["keys", "list", "--config", &site.config()]);
    assert_eq!(code, 0);
    assert!(lines(&told).iter().all(|line| line.ends_with("  signs")) && lines(&told).len() == 3, "{told}");
    let (code, told, _) = run(&["keys", "rotate", "--config", &site.config()]);
    assert_eq!(code, 0);
    assert!(told.contains("made     access-0002.pem") && told.contains("in 10 minutes"), "{told}");
    assert!(told.contains("the old keys verify for 61 minutes after that"), "{told}");
    let (_, told, _) = run(&["keys", "list", "--config", &site.config()]);
    let next = lines(&told).into_iter().find(|line| line.starts_with("access-0002.pem")).unwrap();
    assert!(
        next.contains("  signs from 2") && next.split_whitespace().nth(1).unwrap().len() > 8,
        "its kid, and when: {next}"
    );
    let (code, _, told) = run(&["keys", "rotate", "--config", &site.config()]);
    assert_eq!(code, 1);
    assert!(told.contains("a rotation is under way already"), "{told}");
    let next = site.path("state/keys/access-0002.pem");
    let text = fs::read_to_string(&next).unwrap();
    let a_minute_ago = firebreak::clock::Clock::system().unix_seconds() - 60;
    let begun = jiff::Timestamp::from_second(a_minute_ago).unwrap().to_string();
    let from = text.lines().next().unwrap().rsplit_once(' ').unwrap().1;
    fs::write(&next, text.replacen(from, &begun, 1)).unwrap();
    let (code, told, _) = run(&["keys", "list", "--config", &site.config()]);
    let verifies = lines(&told).into_iter().find(|line| line.starts_with("access-0001.pem")).unwrap();
    assert!(code == 0 && verifies.contains("  verifies until 2"), "an hour after the next began: {verifies}");
    let (code, told, _) = run(&["keys", "rotate", "--compromised", "--config", &site.config()]);
    assert_eq!(code, 0);
    assert_eq!((told.matches("made ").count(), told.matches("removed  ").count()), (3, 6), "{told}");
    assert!(told.contains("signs now; what the removed keys signed is refused within a second"), "{told}");
    let (_, told, _) = run(&["keys", "list", "--config", &site.config()]);
    assert!(told.starts_with("access-0003.pem  ") && lines(&told).len() == 3, "{told}");
    for line in lines(&told) {
        let name = line.split_whitespace().next().unwrap().to_owned();
        let mode = fs::metadata(site.path("state/keys").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let recorded = |action: &str| {
        let lines = crate::world::audit_lines(&site.path("state/audit"));
        lines.iter().filter(|line| line.contains(&format!("\"{action}\""))).count()
    };
    let begun = std::time::Instant::now();
    while recorded("keys_rotated") == 0 || recorded("keys_withdrawn") == 0 {
        assert!(begun.elapsed() < PATIENCE, "the running service records what was done");
        std::thread::sleep(Duration::from_millis(20));
    }
    serving.signal("TERM");
    assert_eq!(serving.code(), 0);
    fs::write(site.path("state/keys/id-0003.pem"), "no key").unwrap();
    let (code, _, told) = run(&["keys", "list", "--config", &site.config()]);
    assert!(code == 1 && told.contains("id-0003.pem` is no PEM file"), "{told}");
    let lines = crate::world::audit_lines(&site.path("state/audit"));
    let ended =
        |outcome: &str| lines.iter().filter(|line| line.contains("\"keys_rotated\"") && line.contains(outcome)).count();
    assert_eq!(ended("\"released\"") - ended("\"failed\""), 1, "what was refused is not told as done: {lines:?}");
}

#[test]
fn check_probes_what_searches_rely_on() {
    let scope = "patient/*.rs patient/Observation.rs?category=laboratory patient/Condition.rs?category=problem-list-item \
         user/Observation.rs?category=vital-signs";
    let narrow = format!(
        "[[client]]\nclient_id = \"narrow\"\nredirect_uris = [\"https://narrow.example.org/cb\"]\nscope = \"{scope}\"\n"
    );
    crate::world::run(async {
        let world = World::with(Settings { sections: narrow, ..Settings::default() }).await;
        let config = world.state.path().join("firebreak.toml");
        let check = || tokio::task::block_in_place(|| run(&["check", "--config", config.to_str().unwrap()]));
        let row = |told: &str, resource_type: &str, way: &str| {
            let mut rows = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let row =
                rows.find(|row| row.starts_with(&[resource_type, way])).unwrap_or_else(|| panic!("{way}: {told}"));
            row[2..].join(" ")
        };
        let (code, told, _) = check();
        assert_eq!(code, 0, "{told}");
        let first = told.lines().find(|line| line.starts_with("ok      searches: 2 of ")).unwrap();
        assert!(first.ends_with(" are confined as they are asked to, the others are not offered"), "{first}");
        assert_eq!(row(&told, "Observation", "subject"), "honoured");
        assert_eq!(row(&told, "Observation", "category"), "honoured");
        for (resource_type, way) in [("Condition", "patient"), ("Condition", "category"), ("Device", "patient")] {
            let found = row(&told, resource_type, way);
            assert!(found.starts_with("not probed: the server does not say"), "{resource_type}: {found}");
        }
        // What no grant for one patient searches is not asked about.
        let unasked = |line: &str| ["Group ", "Organization "].iter().any(|name| line.trim().starts_with(name));
        assert!(!told.lines().any(unasked), "{told}");
        let probes = world.upstream.take_probes();
        assert_eq!(probes.len(), 2, "each way once: {probes:?}");
        world.upstream.change(|store| store.ignored = vec!["subject"]);
        let (code, told, summary) = check();
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("FAILED  searches: 1 unusable and 0 without an answer"), "{told}");
        assert!(row(&told, "Observation", "subject").starts_with("unusable"), "{told}");
        assert!(summary.contains("1 check failed"), "{summary}");
        world.upstream.answer_probes(|_| crate::upstream::Answer::Reset(Vec::new()));
        let (code, told, _) = check();
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("0 unusable and 2 without an answer"), "{told}");
        world.finish().await;
    });
}

#[test]
fn check_says_what_the_server_is_and_what_follows() {
    let told_with = async |fhir: &str, software: &'static str, listed: bool| {
        let world =
            World::with(Settings { fhir: fhir.to_owned(), software: Some(software), ..Settings::default() }).await;
        let compartments = if listed { vec!["http://hl7.org/fhir/CompartmentDefinition/patient"] } else { Vec::new() };
        world.upstream.change(|store| store.compartments = compartments);
        let config = world.state.path().join("firebreak.toml");
        let (code, told, _) = tokio::task::block_in_place(|| run(&["check", "--config", config.to_str().unwrap()]));
        assert_eq!(code, 0, "{told}");
        world.finish().await;
        told
    };
    crate::world::run(async {
        let line = |told: &str, name: &str| {
            let start = format!("ok      {name}: ");
            told.lines()
                .find_map(|line| line.strip_prefix(&start))
                .unwrap_or_else(|| panic!("{name}: {told}"))
                .to_owned()
        };
        let told = told_with("", "CANARY-product", false).await;
        assert_eq!(line(&told, "software"), "none with habits that are known here");
        let told = told_with("narrow_by = [\"Goal.patient\"]", "FHIR Server for Azure", false).await;
        let software = line(&told, "software");
        assert!(
            software.starts_with("Microsoft FHIR Server, as it says of itself; narrowed by CarePlan.subject,"),
            "{told}"
        );
        assert!(software.contains(" Condition.subject,") && !software.contains("Goal"), "{told}");
        assert!(told.lines().any(|row| row.split_whitespace().take(2).eq(["Condition", "subject"])), "{told}");
        assert!(told.lines().any(|row| row.split_whitespace().take(2).eq(["Goal", "patient"])), "{told}");
        let told = told_with("software = \"hapi\"", "HAPI FHIR Server", false).await;
        assert_eq!(line(&told, "software"), "HAPI FHIR, as configured and as it says of itself");
        let told = told_with("software = \"other\"", "FHIR Server for Azure", false).await;
        assert_eq!(line(&told, "software"), "none with habits that are known here, as configured");
        let told = told_with("software = \"aidbox\"\nsearch_by = \"filter\"", "HAPI FHIR Server", false).await;
        let expected =
            "Aidbox, as configured; it does not say so; `search_by = \"filter\"`: its `_filter` takes no references";
        assert_eq!(line(&told, "software"), expected);
        for (listed, ends) in [(false, "(`rest.compartment`): the probes decide"), (true, "known here")] {
            let told = told_with("search_by = \"compartment\"", "CANARY-product", listed).await;
            assert!(line(&told, "software").ends_with(ends), "{told}");
            // Listed or not, it is probed.
            assert!(told.contains("ok      searches: 1 of "), "{told}");
        }
    });
}

#[test]
fn check_says_which_other_way_the_server_honours() {
    crate::world::run(async {
        for (search_by, ignored, advice) in [
            ("primary", &["subject"][..], Some("compartment")),
            ("compartment", &["Patient/"], Some("filter")),
            ("compartment", &["Patient/", "_filter"], Some("every-parameter")),
            ("compartment", &["Patient/", "_filter", "performer"], Some("primary")),
            ("primary", &["Patient/", "_filter", "subject"], None),
        ] {
            let fhir = format!("search_by = \"{search_by}\"");
            let world = World::with(Settings { fhir, ..Settings::default() }).await;
            world.upstream.change(|store| store.ignored = ignored.to_vec());
            let config = world.state.path().join("firebreak.toml");
            let (code, told, logged) =
                tokio::task::block_in_place(|| run(&["check", "--config", config.to_str().unwrap()]));
            assert_eq!((code, logged.contains("WARN")), (1, false), "{told}{logged}");
            let said =
                told.lines().find(|line| line.starts_with("FAILED  searches")).unwrap_or_else(|| panic!("{told}"));
            match advice {
                Some(other) => {
                    let ends = format!("; all are honoured with `search_by = \"{other}\"`");
                    assert!(said.ends_with(&ends), "{told}");
                }
                None => assert!(said.ends_with("see docs/searching.md"), "{told}"),
            }
            world.finish().await;
        }
    });
}
