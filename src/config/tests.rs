#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use super::*;
use crate::fhir::software::TABLE;

pub(super) const GOOD: &str = r#"
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

pub(super) fn mistakes(text: &str) -> Vec<Mistake> {
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
fn an_audit_log_has_a_name_that_no_other_has_and_its_key_may_lie_elsewhere() {
    let audit =
        |sections: &str| Config::parse(&format!("{GOOD}{sections}"), Path::new("/etc/firebreak")).unwrap().audit;
    let alone = audit("");
    assert_eq!((alone.name.as_str(), alone.key_file), ("localhost", None));
    let shared = "\n[state]\ndirectory = \"s\"\nshared = true\n[audit]\ndirectory = ";
    assert_eq!(audit(&format!("{shared}\"logs/one\"")).name, "localhost/one");
    assert_eq!(audit(&format!("{shared}\"logs/two\"")).name, "localhost/two");
    assert_eq!(audit(&format!("{shared}\"logs/two\"\nname = \"gw.example/b\"")).name, "gw.example/b");
    let elsewhere = audit("\n[audit]\nkey_file = \"keys/log.key\"").key_file;
    assert_eq!(elsewhere.as_deref(), Some(Path::new("/etc/firebreak/keys/log.key")));
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
crl = true

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

[[user]]
username = "app"
password_hash = "secret"

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
        (7, "`crl` in [tls] is for client certificates"),
        (13, "`upstream` in [fhir] must be an absolute"),
        (14, "a whole number from 1 to 10000"),
        (18, "wildcards are not served"),
        (18, "must be https without a user, or http on loopback"),
        (20, "occurs twice"),
        (22, "must have no fragment"),
        (26, "argon2id"),
        (27, "must be `Type/id`"),
        (29, "`app` is a client_id too"),
        (33, "unknown key `extra`"),
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

// E14
#[test]
fn the_pages_that_may_frame_us_are_origins_written_out() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jwks.json"), "{\"keys\": []}").unwrap();
    let with = |more: &str| {
        let ehr = "[[client]]\nclient_id = \"ehr\"\njwks_file = \"jwks.json\"\n[client.ehr]\n";
        Config::parse(&format!("{GOOD}\n{ehr}{more}\n"), directory.path())
    };
    let ehr = |more: &str| with(more).unwrap().clients.into_iter().find_map(|client| client.ehr).unwrap();
    assert_eq!((ehr("").frame_ancestors.len(), ehr("").partitioned_cookies), (0, false));
    let listed = "frame_ancestors = [\"https://EHR.example\", \"https://ehr.example:8443\", \"http://127.0.0.1:9000\"]";
    let good = ehr(&format!("{listed}\npartitioned_cookies = true"));
    assert_eq!(good.frame_ancestors, ["https://ehr.example", "https://ehr.example:8443", "http://127.0.0.1:9000"]);
    assert!(good.partitioned_cookies);
    for bad in [
        "frame_ancestors = [\"*\"]",
        "frame_ancestors = [\"https://*.ehr.example\"]",
        "frame_ancestors = [\"https:\"]",
        "frame_ancestors = [\"http://ehr.example\"]",
        "frame_ancestors = [\"https://ehr.example/page\"]",
        "frame_ancestors = [\"https://ehr.example; script-src *\"]",
        "frame_ancestors = [\"'self'\"]",
        "partitioned_cookies = true",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_app_reads_fhir_context_as_objects_unless_it_is_older() {
    let form = |more: &str| {
        let text = GOOD.replace("scope = \"launch", &format!("{more}\nscope = \"launch"));
        Config::parse(&text, Path::new(".")).map(|config| config.clients.first().unwrap().fhir_context_form)
    };
    assert_eq!(form(""), Ok(FhirContextForm::Objects));
    assert_eq!(form("fhir_context_form = \"strings\""), Ok(FhirContextForm::Strings));
    assert!(form("fhir_context_form = \"xml\"").is_err());
}

// R1
#[test]
fn a_launch_url_is_written_out() {
    let with = |url: &str| {
        let text = GOOD.replace("scope = \"launch", &format!("launch_urls = [\"{url}\"]\nscope = \"launch"));
        Config::parse(&text, Path::new(".")).map(|config| config.clients.first().unwrap().launch_urls.clone())
    };
    let good = "https://app.example/launch?theme=dark";
    assert_eq!(with(good).unwrap().first().map(Url::as_str), Some(good));
    for bad in [
        "https://app.example/launch#x",
        "https://app.example/launch#",
        "https://app.example/*",
        "https://*.app.example/launch",
        "https://user@app.example/launch",
        "https://:password@app.example/launch",
        "/launch",
        "org.example.app:/launch",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_user_is_not_called_like_a_client() {
    let client_id = Config::parse(GOOD, Path::new(".")).unwrap().clients.first().unwrap().client_id.clone();
    let with = |username: &str| {
        let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        format!("{GOOD}\n[[user]]\nusername = \"{username}\"\npassword_hash = \"{hash}\"\n")
    };
    assert!(Config::parse(&with(&format!("{client_id}.")), Path::new(".")).is_ok());
    let found: Vec<String> = mistakes(&with(&client_id)).into_iter().map(|mistake| mistake.message).collect();
    let [message] = found.as_slice() else { panic!("{found:?}") };
    assert!(message.contains(&format!("username `{client_id}` is a client_id")), "{message}");
}

// R2, C11
#[test]
fn a_client_has_a_secret_or_keys_in_a_file_or_at_a_url_and_never_two_of_them() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jwks.json"), "{\"keys\": []}").unwrap();
    let with = |credentials: &[&str]| {
        let lines = credentials.join("\n");
        Config::parse(&GOOD.replace("scope = \"launch", &format!("{lines}\nscope = \"launch")), directory.path())
    };
    let secret = format!("client_secret_sha256 = \"{}\"", "0".repeat(64));
    let all = [secret.as_str(), "jwks_file = \"jwks.json\"", "jwks_uri = \"https://app.example/jwks\""];
    for (number, one) in all.into_iter().enumerate() {
        assert!(with(&[one]).is_ok(), "{one}");
        for other in all.into_iter().skip(number + 1) {
            assert!(with(&[one, other]).is_err(), "{one} {other}");
        }
    }
    assert!(with(&["jwks_uri = \"http://app.example/jwks\""]).is_err());
}

// C11
#[test]
fn a_client_says_where_it_sends_its_secret_or_sends_it_either_way() {
    let sent = |more: &str| {
        let secret = format!("client_secret_sha256 = \"{}\"", "0".repeat(64));
        let text = GOOD.replace("scope = \"launch", &format!("{}\nscope = \"launch", more.replace("SECRET", &secret)));
        Config::parse(&text, Path::new(".")).map(|config| config.clients.first().unwrap().secret_sent)
    };
    assert_eq!(sent("SECRET"), Ok(SecretSent::Either));
    assert_eq!(sent("SECRET\ntoken_endpoint_auth_method = \"client_secret_basic\""), Ok(SecretSent::Basic));
    assert_eq!(sent("SECRET\ntoken_endpoint_auth_method = \"client_secret_post\""), Ok(SecretSent::Post));
    assert!(sent("SECRET\ntoken_endpoint_auth_method = \"none\"").is_err());
    assert!(sent("token_endpoint_auth_method = \"client_secret_post\"").is_err(), "it has no secret");
}

// F6
#[test]
fn refresh_tokens_live_three_months_and_longer_where_it_is_configured() {
    let refresh = |lines: &str| Config::parse(&format!("{GOOD}{lines}"), Path::new(".")).map(|it| it.tokens.refresh);
    let days = |number: u64| Duration::from_secs(number * 86_400);
    assert!(refresh("").unwrap() >= days(90));
    assert_eq!(refresh("[tokens]\nrefresh = \"366d\""), Ok(days(366)));
    assert!(refresh("[tokens]\nrefresh = \"367d\"").is_err());
}

/// The providers of these sections, for tests of other modules.
pub(crate) fn providers(sections: &str) -> Vec<Provider> {
    Config::parse(&format!("{GOOD}{sections}"), Path::new("/etc/firebreak")).unwrap().providers
}

#[test]
fn searches_are_narrowed_by_parameters_that_find_members_alone() {
    let with = |lines: &str| GOOD.replace("[fhir]\n", &format!("[fhir]\n{lines}\n"));
    let fhir =
        Config::parse(&with("search_by = \"every-parameter\"\nnarrow_by = [\"Condition.subject\"]"), Path::new("/"));
    let fhir = fhir.unwrap().fhir;
    assert_eq!(fhir.search_by, SearchBy::EveryParameter);
    let named: Vec<_> = fhir.narrow_by.iter().map(|(of, parameter)| format!("{of}.{}", parameter.name)).collect();
    assert_eq!(named, ["Condition.subject"]);
    for wrong in
        ["Condition", "Condition.code", "Observation.focus", "Nothing.subject", "Patient.link", "Organization.name"]
    {
        let mistakes = mistakes(&with(&format!("narrow_by = [\"{wrong}\"]")));
        assert!(
            mistakes.iter().any(|mistake| mistake.message.contains("must be a type and one of its")),
            "{wrong}: {mistakes:?}"
        );
    }
    assert!(matches!(fhir.software, Named::Auto));
    for row in &TABLE {
        let software =
            Config::parse(&with(&format!("software = \"{}\"", row.word)), Path::new("/")).unwrap().fhir.software;
        assert!(matches!(software, Named::Software(named) if named.word == row.word), "{}", row.word);
    }
    let unknown = mistakes(&with("software = \"HAPI\""));
    assert!(unknown.iter().any(|mistake| mistake.message.contains("\"medplum\", \"other\"")), "{unknown:?}");
    let twice = mistakes(&with("narrow_by = [\"Condition.subject\", \"Condition.asserter\"]"));
    assert!(twice.iter().any(|mistake| mistake.message.contains("names Condition twice")), "{twice:?}");
}
