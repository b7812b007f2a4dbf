//! `firebreak init` as a process: a gateway that is ready, and what is told of it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::io::{Read, Write};
use std::net::TcpListener;

use argon2::password_hash::PasswordVerifier;
use argon2::{Argon2, PasswordHash};
use firebreak::config::Config;
use serde_json::Value;

use crate::commands::{Serving, free, run, upstream};

#[test]
fn what_init_writes_passes_check_and_serves_and_it_tells_how() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a gateway");
    let (port, server) = (free().port().to_string(), format!("http://{}/fhir", upstream()));
    let arguments =
        ["init", "--upstream", &server, "--directory", directory.to_str().unwrap(), "--port", &port, "--print-json"];
    let (code, told, errors) = run(&arguments);
    assert_eq!((code, errors.as_str()), (0, ""), "{told}");
    let (text, json) = told.trim_end().rsplit_once('\n').unwrap();
    let json: Value = serde_json::from_str(json).unwrap();
    let file = directory.join("firebreak.toml");
    let (file, origin) = (file.to_str().unwrap(), format!("https://localhost:{port}"));
    for expected in [
        &format!("{server} speaks FHIR 4.0.1"),
        &format!("Written to {}: configuration, certificates, a user and the client `my-app`.", directory.display()),
        "Logins (shown this once; the file holds hashes)",
        "(the server has no Patient yet, so there is no patient login)",
        "the server has no Practitioner yet: `clinician` has no `fhir_user`",
        &format!("firebreak serve --config '{file}'\n"),
        &format!("curl --cacert '{}/tls/ca.crt' {origin}/fhir/.well-known/smart-configuration", directory.display()),
        &format!("FHIR base for apps:  {origin}/fhir\nIssuer:              {origin}\n"),
        "my-app (public, PKCE), redirecting to http://localhost:3000/callback or http://127.0.0.1:3000/",
        "Whoever can reach your server directly passes by the gateway: let it listen to the gateway alone.",
    ] {
        assert!(text.contains(expected), "lacks `{expected}`: {text}");
    }
    assert!(!text.contains("not encrypted"), "it is this machine: {text}");
    assert_eq!((&json["config"], &json["fhir_base"]), (&file.into(), &format!("{origin}/fhir").into()));
    assert_eq!(json["apps"][0]["client_id"], "my-app");
    let password = json["logins"][0]["password"].as_str().unwrap();
    assert!(text.contains(&format!("clinician   {password}\n")), "{text}");
    let user = &Config::load(file.as_ref()).unwrap().users[0];
    let hash = PasswordHash::new(&user.password_hash).unwrap();
    assert!(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(), "the login works");
    assert_eq!((user.username.as_str(), user.roles.as_slice()), ("clinician", &["clinician".to_owned()][..]));
    let (code, told, _) = run(&["check", "--config", file]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("ends in 799 days\n") || told.contains("ends in 800 days\n"), "{told}");
    let serving = Serving::start(file);
    serving.signal("TERM");
    assert_eq!(serving.code(), 0);
    assert!(directory.join("state/firebreak.db").exists(), "below the directory that was named");
    let before = std::fs::read(file).unwrap();
    let (code, _, told) = run(&arguments);
    assert_eq!(code, 2);
    assert!(told.contains("is there already; name another --directory, or overwrite with --force"), "{told}");
    assert_eq!(std::fs::read(file).unwrap(), before);
}

#[test]
fn an_upstream_that_is_reached_over_the_network_without_tls_is_warned_of() {
    let parent = tempfile::tempdir().unwrap();
    // Whoever connects to this address comes to this machine; that it is loopback, it does not say.
    let server = format!("http://0.0.0.0:{}/fhir", upstream().port());
    let directory = parent.path().join("gateway");
    let (code, told, errors) = run(&["init", "--upstream", &server, "--directory", directory.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert!(told.contains("not encrypted: see that only the gateway can use it."), "{told}");
    assert!(!told.contains("{\""), "JSON only when it is asked for");
    assert_eq!(
        Config::load(&directory.join("firebreak.toml")).unwrap().server.listen,
        "127.0.0.1:8443".parse().unwrap()
    );
}

#[test]
fn a_server_that_is_not_there_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let (server, directory) = (format!("http://{}/fhir", free()), parent.path().join("gateway"));
    let (code, _, told) = run(&["init", "--upstream", &server, "--directory", directory.to_str().unwrap()]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("cannot be reached") && !directory.exists(), "{told}");
    for bad in
        ["127.0.0.1:8080", "ftp://a/fhir", "http://u@a/fhir", "http://:p@a/fhir", "http://a/fhir?b", "http://a/fhir#b"]
    {
        let (code, _, told) = run(&["init", "--upstream", bad, "--directory", directory.to_str().unwrap()]);
        assert_eq!(code, 2, "{bad}");
        assert!(told.contains("must be an absolute http or https URL without user, query and fragment"), "{told}");
    }
}

/// A server of a software that says what it is, with a patient and a practitioner.
fn peopled() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let base = format!("http://{}/fhir", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or_default();
            let asked = String::from_utf8_lossy(&head[..read]).into_owned();
            let body = if asked.starts_with("GET /fhir/metadata") {
                r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"Larkspur Server"}}"#
                    .to_owned()
            } else {
                let of = if asked.starts_with("GET /fhir/Patient") { "Patient" } else { "Practitioner" };
                format!(
                    r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{{"resourceType":"{of}","id":"x1"}}}}]}}"#
                )
            };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nConnection: close\r\n";
            let _ = stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    base
}

#[test]
fn the_first_users_are_people_of_the_server() {
    let parent = tempfile::tempdir().unwrap();
    let (server, directory) = (peopled(), parent.path().join("gateway"));
    let arguments = ["init", "--upstream", &server, "--directory", directory.to_str().unwrap()];
    let (code, told, errors) = run(&arguments);
    assert_eq!(code, 0, "{errors}");
    for expected in
        ["speaks FHIR 4.0.1 (Larkspur Server)\n", "two users and the client", "   Practitioner/x1\n", "   Patient/x1\n"]
    {
        assert!(told.contains(expected), "lacks `{expected}`: {told}");
    }
    assert!(!told.contains("the server has no"), "{told}");
    let config = Config::load(&directory.join("firebreak.toml")).unwrap();
    let roles: Vec<_> =
        config.users.iter().map(|user| (user.roles.concat(), user.fhir_user.clone().unwrap())).collect();
    let expected = [("clinician", "Practitioner/x1"), ("patient", "Patient/x1")];
    assert_eq!(roles, expected.map(|(role, user)| (role.to_owned(), user.to_owned())));
    let file = parent.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("gateway");
    let (code, _, told) = run(&["init", "--upstream", &server, "--directory", below.to_str().unwrap()]);
    assert!(code == 1 && told.contains("/file/gateway/firebreak.toml` cannot be written: "), "{told}");
}
