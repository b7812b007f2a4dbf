#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use super::*;

const GOOD: &str = r#"
[server]
listen = "127.0.0.1:8443"
origin = "https://localhost:8443"

[tls]
directory = "tls"

[fhir]
upstream = "http://127.0.0.1:8080/fhir"

[[client]]
client_id = "app"
redirect_uris = ["https://app.example/cb"]
scope = "launch/patient patient/*.rs"

[[user]]
username = "dr"
password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI"
fhir_user = "Practitioner/dr"
roles = ["clinician"]
"#;

fn mistakes(text: &str) -> Vec<Mistake> {
    match Config::parse(text, Path::new("/etc/firebreak")) {
        Err(ConfigError::Mistakes(mistakes)) => mistakes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_small_file_is_enough_and_the_rest_has_defaults() {
    let config = Config::parse(GOOD, Path::new("/etc/firebreak")).unwrap();
    assert_eq!(config.issuer(), "https://localhost:8443");
    assert_eq!(config.fhir_base(), "https://localhost:8443/fhir");
    assert_eq!(config.tls.unwrap().directory, Path::new("/etc/firebreak/tls"));
    assert_eq!(config.audit.directory, Path::new("/etc/firebreak/state/audit"));
    assert_eq!(config.audit.on_failure, OnAuditFailure::Deny);
    assert_eq!(config.tokens.access, Duration::from_secs(900));
    assert_eq!(config.clients.first().unwrap().client_name, "app");
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_line() {
    let text = r#"
[server]
lisen = "127.0.0.1:8443"
origin = "https://localhost:8443/fhir"
drain_delay = 5

[tls]
directory = "tls"
client_certificates = "maybe"

[fhir]
upstream = "localhost:8080"
max_count = 0

[[client]]
client_id = "app"
redirect_uris = ["https://app.example/*", "http://app.example/cb"]

[[client]]
client_id = "app"
redirect_uris = ["https://app.example/cb#x"]

[[user]]
username = "dr"
password_hash = "secret"
fhir_user = "Practitioner"

[extra]
"#;
    let found: Vec<(usize, String)> =
        mistakes(text).into_iter().map(|mistake| (mistake.line, mistake.message)).collect();
    let expected = [
        (2, "lacks `listen`"),
        (3, "did you mean `listen`?"),
        (4, "`origin` in [server] must be scheme, host and port alone"),
        (5, "must be a length of time"),
        (9, "one of \"off\", \"optional\", \"required\""),
        (12, "`upstream` in [fhir] must be an absolute"),
        (13, "a whole number from 1 to 10000"),
        (17, "wildcards are not served"),
        (17, "must be https without a user, or http on loopback"),
        (19, "occurs twice"),
        (21, "must have no fragment"),
        (25, "argon2id"),
        (26, "must be `Type/id`"),
        (28, "unknown key `extra`"),
    ];
    for (line, part) in expected {
        assert!(found.iter().any(|(at, text)| *at == line && text.contains(part)), "{line} {part}: {found:#?}");
    }
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    let found = mistakes("[server]\nlisten = \n");
    assert_eq!(found.len(), 1);
    assert_eq!(found.first().unwrap().line, 2);
}

#[test]
fn an_empty_file_names_every_section_that_is_needed() {
    let found: Vec<String> = mistakes("").into_iter().map(|mistake| mistake.message).collect();
    for section in ["[server]", "[tls]", "[fhir]"] {
        assert!(found.iter().any(|text| text.contains(section)), "{section}: {found:?}");
    }
}

#[test]
fn plain_http_must_be_asked_for_by_its_dangerous_name() {
    let without_tls = GOOD.replace("[tls]\ndirectory = \"tls\"\n", "");
    assert!(mistakes(&without_tls).iter().any(|mistake| mistake.message.contains("danger_plain_http")));
    let plain = without_tls.replace("origin = \"https:", "danger_plain_http = true\norigin = \"http:");
    assert!(Config::parse(&plain, Path::new(".")).unwrap().tls.is_none());
}
