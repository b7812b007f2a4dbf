#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::ClientAuthentication;
use crate::listen::Certificates;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn options(arguments: &[&str]) -> Options {
    Line::try_parse_from([&["init"], arguments].concat()).unwrap().options
}

/// A server that answers `/metadata` as R4 and has one patient, `P1`, and no practitioner; gives its base URL.
async fn server(version: &'static str) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}/fhir", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let size = stream.read(&mut request).await.unwrap_or(0);
            let request = String::from_utf8_lossy(request.get(..size).unwrap()).into_owned();
            let body = if request.starts_with("GET /fhir/metadata") {
                format!(r#"{{"resourceType":"CapabilityStatement","fhirVersion":"{version}"}}"#)
            } else if request.starts_with("GET /fhir/Patient?") {
                r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","id":"P1"}}]}"#.to_owned()
            } else {
                r#"{"resourceType":"Bundle"}"#.to_owned()
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    base
}

#[tokio::test]
async fn what_it_writes_loads_and_serves() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("gateway");
    let upstream = server("4.0.1").await;
    let arguments = ["--upstream", &upstream, "--directory", directory.to_str().unwrap(), "--port", "9443"];
    init(&options(&arguments)).await.unwrap();

    let config = Config::load(&directory.join("firebreak.toml")).unwrap();
    assert_eq!(config.fhir_base(), "https://localhost:9443/fhir");
    assert_eq!(config.fhir.upstream.as_str(), upstream);
    let client = config.clients.first().unwrap();
    assert!(matches!(client.authentication, ClientAuthentication::None));
    assert_eq!(client.redirect_uris, ["http://localhost:3000/callback", "http://127.0.0.1:3000/"]);
    let users: Vec<_> = config.users.iter().map(|user| (user.username.as_str(), user.fhir_user.as_deref())).collect();
    assert_eq!(users, [("clinician", None), ("patient", Some("Patient/P1"))]);
    assert!(Certificates::load(config.tls.as_ref().unwrap()).is_ok());
    for (file, mode) in [
        ("firebreak.toml", 0o600),
        ("tls/tls.key", 0o600),
        ("tls/tls.crt", 0o644),
        ("tls/ca.crt", 0o644),
        ("tls", 0o700),
    ] {
        let found = fs::metadata(directory.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}");
    }
}

#[tokio::test]
async fn what_is_there_is_not_overwritten_unless_told() {
    let parent = tempfile::tempdir().unwrap();
    let upstream = server("4.0.1").await;
    let mine = parent.path().join("tls/tls.key");
    fs::create_dir(parent.path().join("tls")).unwrap();
    fs::write(&mine, "mine").unwrap();
    let arguments = ["--upstream", &upstream, "--directory", parent.path().to_str().unwrap()];
    let Err(Failure::Usage(told)) = init(&options(&arguments)).await else { panic!("overwritten") };
    assert!(told.contains("tls.key") && told.contains("--force"), "{told}");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert!(!parent.path().join("firebreak.toml").exists(), "nothing else was written");
    init(&options(&[&arguments[..], &["--force"]].concat())).await.unwrap();
    assert_ne!(fs::read_to_string(&mine).unwrap(), "mine");
    assert_eq!(fs::metadata(&mine).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_was_there_is_replaced_whole_and_a_link_is_not_followed() {
    let parent = tempfile::tempdir().unwrap();
    let upstream = server("4.0.1").await;
    let (file, elsewhere) = (parent.path().join("firebreak.toml"), parent.path().join("elsewhere"));
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let arguments = ["--upstream", &upstream, "--directory", parent.path().to_str().unwrap()];
    let Err(Failure::Usage(told)) = init(&options(&arguments)).await else { panic!("overwritten") };
    assert!(told.contains("firebreak.toml") && !elsewhere.exists(), "{told}");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "x".repeat(20_000)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    init(&options(&[&arguments[..], &["--force"]].concat())).await.unwrap();
    assert!(Config::load(&file).is_ok(), "nothing of what was there is left");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_the_options_say_is_in_the_configuration() {
    let here = std::env::current_dir().unwrap();
    let options = options(&[
        "--upstream",
        "http://127.0.0.1:9/fhir/",
        "--origin",
        "https://[2001:db8::1]:8443",
        "--listen",
        "0.0.0.0:9443",
        "--redirect-uri",
        "https://app.example/cb",
        "--launch-url",
        "https://app.example/launch",
        "--ehr-jwks",
        "tests/golden/jwks.json",
        "--upstream-ca",
        "up.pem",
        "--upstream-authorization-file",
        "Cargo.toml",
    ]);
    let text = Template::new(&options).unwrap().text(&[]).unwrap();
    let config = Config::parse(&text, Path::new("/elsewhere")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (config.issuer().as_str(), config.server.listen),
        ("https://[2001:db8::1]:8443", "0.0.0.0:9443".parse().unwrap())
    );
    assert_eq!(config.fhir.upstream.as_str(), "http://127.0.0.1:9/fhir");
    assert_eq!(config.fhir.upstream_ca, Some(here.join("up.pem")), "from where the command runs");
    assert!(config.fhir.upstream_authorization.as_ref().unwrap().expose().contains("[package]"));
    assert_eq!(config.state_directory, Path::new("/elsewhere/state"));
    let [app, ehr] = config.clients.as_slice() else { panic!("an app and the EHR") };
    assert_eq!(app.redirect_uris, ["https://app.example/cb"]);
    assert_eq!(app.launch_urls.first().map(Url::as_str), Some("https://app.example/launch"));
    assert!(app.scope.contains("launch/patient") && app.scope.contains("patient/*.rs user/*.rs"), "{}", app.scope);
    assert!(ehr.authentication.is_private_key_jwt() && !ehr.ehr.as_ref().unwrap().vouches_for_users);
    assert_eq!(names(&config), ["localhost", "127.0.0.1", "::1", "2001:db8::1"]);
    let logins = logins(Some("p1".to_owned()), Some("d1".to_owned())).unwrap();
    let of: Vec<_> = logins.iter().map(|login| (login.username, login.role, login.fhir_user.as_deref())).collect();
    assert_eq!(of, [("clinician", "clinician", Some("Practitioner/d1")), ("patient", "patient", Some("Patient/p1"))]);
}

#[tokio::test]
async fn a_server_that_is_not_r4_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("gateway");
    let upstream = server("5.0.0").await;
    let arguments = ["--upstream", &upstream, "--directory", directory.to_str().unwrap()];
    let Err(Failure::Failed(told)) = init(&options(&arguments)).await else { panic!("accepted") };
    assert!(told.contains("5.0.0"), "{told}");
    assert!(!directory.exists());
}

#[tokio::test]
async fn options_that_make_no_configuration_are_told_before_anything_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("gateway");
    let base = ["--upstream", "http://127.0.0.1:9/fhir", "--directory", directory.to_str().unwrap()];
    for (extra, part) in [
        (&["--redirect-uri", "https://app.example/*"][..], "wildcards"),
        (&["--redirect-uri", "http://app.example/"], "https"),
        (&["--origin", "http://fhir.example"], "https"),
        (&["--origin", "https://fhir.example/base"], "scheme, host and port"),
        (&["--port", "0"], "port"),
        (&["--ehr-jwks", "/nowhere"], "JWK Set"),
    ] {
        let Err(Failure::Usage(told)) = init(&options(&[&base[..], extra].concat())).await else { panic!("{extra:?}") };
        assert!(told.contains(part), "{extra:?}: {told}");
    }
    assert!(!directory.exists());
}

#[test]
fn values_cannot_break_out_of_their_strings() {
    let template = Template::new(&options(&[
        "--upstream",
        "http://127.0.0.1:9/fhir",
        "--redirect-uri",
        "https://app.example/a\"]\n[audit]\non_failure = \"danger_allow_and_alarm",
    ]))
    .unwrap();
    let text = template.text(&[]).unwrap();
    let table: toml::Table = text.parse().unwrap();
    assert!(!table.contains_key("audit"), "{text}");
    assert_eq!(table.get("client").unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_path_is_quoted_for_the_shell_where_it_must_be() {
    assert_eq!(quoted(Path::new("/a/b.toml")), "/a/b.toml");
    assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
}
