//! `firebreak demo` as a process: loopback alone, what it tells, whose directory it takes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;

use crate::commands::{free, run};

/// A demonstration that runs, and what it printed; it ends with the test.
struct Demo {
    child: Child,
    json: Value,
    text: String,
    directory: TempDir,
}

impl Demo {
    fn start(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(["demo", "--print-json", "--directory", directory.path().to_str().unwrap()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (mut json, mut text) = (String::new(), String::new());
        out.read_line(&mut json).unwrap();
        while !text.contains("Ctrl-C ends it.") && out.read_line(&mut text).unwrap() > 0 {}
        Self { child, json: serde_json::from_str(&json).unwrap(), text, directory }
    }

    fn told(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap()
    }

    fn port(&self) -> u16 {
        self.told("origin").rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Answers to `GET`s of these paths, over TLS that trusts the authority that was told.
    fn get(&self, paths: &[&str]) -> Vec<String> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.told("ca_file")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        let answer = |path: &str| {
            let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
            let mut tls = rustls::ClientConnection::new(Arc::clone(&tls), name).unwrap();
            let mut socket = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut socket);
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", self.port());
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        paths.iter().map(|path| answer(path)).collect()
    }

    /// The addresses that the process listens on, as the kernel tells them: address in hex, port.
    fn listens(&self) -> BTreeSet<(String, u16)> {
        let process = Path::new("/proc").join(self.child.id().to_string());
        let sockets: BTreeSet<String> = fs::read_dir(process.join("fd"))
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()?.to_str().map(str::to_owned))
            .collect();
        let mut found = BTreeSet::new();
        for table in ["net/tcp", "net/tcp6"] {
            for line in fs::read_to_string(process.join(table)).unwrap_or_default().lines().skip(1) {
                let columns: Vec<&str> = line.split_whitespace().collect();
                if columns[3] == "0A" && sockets.contains(&format!("socket:[{}]", columns[9])) {
                    let (address, port) = columns[1].split_once(':').unwrap();
                    found.insert((address.to_owned(), u16::from_str_radix(port, 16).unwrap()));
                }
            }
        }
        found
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_demonstration_is_one_origin_on_loopback_with_two_logins_and_tells_its_addresses() {
    let port = free().port();
    let demo = Demo::start(&[
        "--port",
        &port.to_string(),
        "--app",
        "http://localhost:3000/",
        "--app",
        "http://localhost:4000",
    ]);
    assert_eq!(demo.port(), port, "the port that was named");
    let listens = demo.listens();
    assert!(listens.iter().all(|(address, _)| address == "0100007F"), "127.0.0.1 alone: {listens:?}");
    assert!(
        listens.len() == 2 && listens.iter().any(|(_, port)| *port == demo.port()),
        "gateway and store: {listens:?}"
    );
    let origin = demo.told("origin").to_owned();
    assert_eq!(origin, format!("https://localhost:{}", demo.port()));
    for (name, path) in
        [("start_page", "/"), ("ehr", "/ehr"), ("console", "/console"), ("fhir_base", "/fhir"), ("issuer", "")]
    {
        assert_eq!(demo.told(name), format!("{origin}{path}"), "{name}");
        assert!(demo.text.contains(demo.told(name)), "{name}: {}", demo.text);
    }
    for told in [&format!("{origin}/app/\n"), demo.told("ca_file")] {
        assert!(demo.text.contains(told), "{told}: {}", demo.text);
    }
    for login in demo.json["logins"].as_array().unwrap() {
        let told = format!("{} / {}", login["username"].as_str().unwrap(), login["password"].as_str().unwrap());
        assert!(demo.text.contains(&told), "{told}: {}", demo.text);
    }
    let logins = demo.json["logins"].as_array().unwrap().iter();
    let logins: Vec<_> =
        logins.map(|login| (login["role"].as_str().unwrap(), login["fhir_user"].as_str().unwrap())).collect();
    assert_eq!(logins, [("clinician", "Practitioner/elena-rivera"), ("patient", "Patient/amina-diallo")]);
    let apps = demo.json["apps"].as_array().unwrap().iter();
    let apps: Vec<_> =
        apps.map(|app| (app["client_id"].as_str().unwrap(), app["launch_url"].as_str().unwrap())).collect();
    let launch = format!("{origin}/app/launch");
    assert_eq!(
        apps,
        [
            ("vitals-app", launch.as_str()),
            ("my-app", "http://localhost:3000/launch"),
            ("my-app-2", "http://localhost:4000/launch")
        ]
    );
    assert!(demo.text.contains("your app      my-app-2: redirect URI http://localhost:4000/\n"), "{}", demo.text);
    assert!(!demo.text.contains("your app      vitals-app"), "{}", demo.text);

    let paths = ["/", "/ehr", "/app/", "/console", "/fhir/metadata", "/fhir/Patient/amina-diallo"];
    let replies = demo.get(&paths);
    let statuses: Vec<&str> = replies.iter().map(|reply| reply.split(' ').nth(1).unwrap()).collect();
    assert_eq!(statuses, ["200", "200", "200", "200", "200", "401"], "the pages, and the gateway beside them");
    assert!(replies[0].contains("24 invented patients"), "{}", replies[0]);

    let mode = |name: &str| fs::metadata(demo.directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("tls/tls.key"), mode("state")), (0o600, 0o700));
}

#[test]
fn a_demonstration_takes_another_port_but_no_directory_of_others() {
    let _taken = TcpListener::bind(("127.0.0.1", 8443));
    let demo = Demo::start(&[]);
    assert_ne!(demo.port(), 8443);
    let directory = demo.directory.path().to_str().unwrap();
    let (code, _, told) = run(&["demo", "--directory", directory]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("a demonstration is running in") && told.contains("name another --directory"), "{told}");
    assert!(demo.get(&["/ehr"])[0].starts_with("HTTP/1.1 200 "), "it goes on");

    let others = tempfile::tempdir().unwrap();
    fs::create_dir(others.path().join("state")).unwrap();
    for name in ["thesis.txt", "state/mine"] {
        fs::write(others.path().join(name), "mine").unwrap();
    }
    let (code, _, told) = run(&["demo", "--directory", others.path().to_str().unwrap()]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("holds `thesis.txt`, which is not of a demonstration"), "{told}");
    assert!(
        others.path().join("thesis.txt").exists() && others.path().join("state/mine").exists(),
        "nothing was removed"
    );
}

#[test]
fn a_demonstration_ends_in_order_and_the_next_begins_anew() {
    let mut demo = Demo::start(&["--port", "0"]);
    let first = fs::read(demo.told("ca_file")).unwrap();
    let signal = Command::new("kill").args(["-INT", &demo.child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
    let mark = demo.directory.path().join("state/of-before");
    fs::write(&mark, "").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_firebreak"))
        .args(["demo", "--port", "0", "--directory", demo.directory.path().to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = [0; 24];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    let second = fs::read(demo.told("ca_file")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.starts_with(b"Firebreak demonstration") && first != second && !mark.exists());
}
