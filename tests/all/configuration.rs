//! The files of `tests/configuration/`: every mistake in them is told at its line, with the fix, all at once, and nothing else is.
//! Behind `#!` stands what is to be told of the line.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use firebreak::config::{AssertionAudience, Config, ConfigError, Dpop, GrantType};
use firebreak::jose::AssertionAlgorithm;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configuration")
}

/// What is told of a text: line and message.
fn told(text: &str) -> Vec<(usize, String)> {
    match Config::parse(text, &directory()) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Mistakes(mistakes)) => mistakes.into_iter().map(|it| (it.line, it.message)).collect(),
        Err(other) => panic!("{other}"),
    }
}

/// What is wrong with what is told: each mistake that is marked in the text is told at its line, and no other.
fn compare(text: &str) -> Vec<String> {
    let mut told = told(text);
    assert!(told.is_sorted_by_key(|(line, _)| *line), "in the order of the lines");
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for expected in line.split(" #! ").skip(1).map(str::trim).filter(|_| !line.starts_with('#')) {
            match told.iter().position(|(at, message)| *at == number && message.contains(expected)) {
                Some(found) => drop(told.remove(found)),
                None => wrong.push(format!("line {number}: `{expected}` is not told")),
            }
        }
    }
    wrong.extend(told.into_iter().map(|(line, message)| format!("line {line} is told, and is right: {message}")));
    wrong
}

#[test]
fn every_mistake_is_told_at_its_line_with_the_fix_and_nothing_else_is() {
    for file in ["server", "clients", "people", "operations"] {
        let text = fs::read_to_string(directory().join(file).with_extension("toml")).unwrap();
        let wrong = compare(&text);
        assert!(wrong.is_empty(), "{file}.toml:\n{}", wrong.join("\n"));
    }
}

#[test]
fn what_is_written_is_what_is_used_and_paths_begin_at_the_file() {
    let config = Config::load(&directory().join("everything.toml")).unwrap();
    let server = &config.server;
    assert_eq!((server.listen, server.admin), ("[::1]:8443".parse().unwrap(), "127.0.0.1:9090".parse().ok()));
    assert_eq!((server.drain_delay, server.drain_grace), (Duration::from_millis(250), Duration::from_secs(120)));
    assert_eq!(config.limits.body_timeout, Duration::from_secs(60));
    assert_eq!(config.fhir_base(), "http://gw.example.org/base/r4-b_1.0");
    assert_eq!((config.limits.header_bytes, config.limits.body_bytes), (16_384, 2_000_000));
    let here = |name: &str| directory().join(name);
    assert_eq!(config.fhir.upstream_ca, Some(here("up.pem")));
    assert_eq!(config.fhir.upstream_authorization.as_ref().unwrap().expose(), "Basic YTpi", "without the line end");
    assert_eq!((&config.state_directory, config.state_shared), (&here("var"), true));
    assert_eq!((config.audit.directory, config.policies), (here("log"), Some(here("own"))));
    assert_eq!(config.outbound_ca, Some(here("others.pem")));
    assert_eq!(config.tokens.rotate_keys_after, None);
    let [app, old, backend, resource_server, ehr] = config.clients.as_slice() else { panic!("five clients") };
    assert_eq!((app.dpop, app.origins.as_slice()), (Dpop::Required, &["https://a.example".to_owned()][..]));
    assert_eq!(app.grant_types, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
    assert_eq!((old.dpop, &old.grant_types[1..]), (Dpop::Off, &[GrantType::TokenExchange][..]));
    assert_eq!(backend.token_endpoint_auth_signing_alg, Some(AssertionAlgorithm::Rs384));
    assert_eq!(backend.assertion_audience, AssertionAudience::Issuer);
    assert_eq!(backend.access_token_lifetime, Some(Duration::from_secs(120)));
    assert!(resource_server.introspects && resource_server.redirect_uris.is_empty());
    assert_eq!(ehr.ehr.as_ref().unwrap().user_issuers, ["https://login.example.org"]);
    assert_eq!(config.users[0].display_name, "ada");
    let provider = &config.providers[0];
    assert_eq!((provider.scopes.join(" ").as_str(), provider.ca.clone()), ("openid email", Some(here("provider.pem"))));
    assert_eq!(provider.claims.patients.as_deref(), Some("mrn"));
}

#[test]
fn a_client_id_and_a_scope_have_a_longest_form() {
    let client = |id: &str, scope: &str| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"https://gw.example.org\"\n[tls]\ndirectory = \"tls\"\n\
             [fhir]\nupstream = \"http://up/fhir\"\n[[client]]\nclient_id = \"{id}\"\nredirect_uris = []\nscope = \"{scope}\"\n"
        )
    };
    assert_eq!(told(&client(&"x".repeat(200), &"openid ".repeat(400))), []);
    let wrong = told(&client(&"x".repeat(201), &"openid ".repeat(401)));
    assert_eq!(wrong.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [9, 11], "{wrong:?}");
    assert!(wrong[1].1.contains("`scope` may hold at most 400 scopes, not 401"), "{wrong:?}");
}

#[test]
fn sections_that_are_needed_or_are_none_are_told() {
    for (text, expected) in [
        (
            "",
            &[
                "1 [server] is missing; it needs at least `listen` and `origin`",
                "1 [tls] is missing",
                "1 [fhir] is missing",
            ][..],
        ),
        (
            "server = 1\n\n[fhir]\n",
            &[
                "1 `server` must be a table, written as [server]",
                "1 [server] is missing",
                "1 [tls] is missing",
                "3 [fhir] lacks `upstream`; for instance",
            ],
        ),
        (
            "client = 1\nuser = [1]\n",
            &[
                "1 `client` must be a list of tables, each written as [[client]]",
                "2 `user` must be a list of tables, each written as [[user]]",
            ],
        ),
        (
            "[state]\ndirectory = \"state\"\nshared = true\n",
            &["1 `shared = true` in [state] needs `directory` in [audit]: each process writes an audit log of its own"],
        ),
        ("[server]\nlisten = \n", &["2 this is not TOML: "]),
        ("[server]\nlisten = \"a\"\nlisten = \"b\"\n", &["3 this is not TOML: "]),
    ] {
        let told = told(text);
        for expected in expected {
            let (line, part) = expected.split_once(' ').unwrap();
            assert!(
                told.iter().any(|(at, message)| at.to_string() == line && message.contains(part)),
                "{expected}: {told:?}"
            );
        }
        assert!(told.iter().all(|(_, message)| !message.contains('\n')), "one line each: {told:?}");
    }
    assert_eq!(told("[fhir]\nupstream = 1\n").iter().filter(|(_, message)| message.contains("upstream")).count(), 1);
    // With `danger_plain_http`, [tls] may be missing; a path is made of plain segments.
    for (path, good) in [
        ("/fhir", true),
        ("fhir", false),
        ("/fhir//r4", false),
        ("/.fhir", false),
        ("/fhir/..", false),
        ("/a b", false),
    ] {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"https://gw.example.org\"\ndanger_plain_http = true\n\
             [fhir]\nupstream = \"http://up/fhir\"\npath = \"{path}\"\n"
        );
        assert_eq!(told(&text).is_empty(), good, "{path}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_mistakes_are_a_line_each() {
    let error = Config::load(&directory().join("none.toml")).unwrap_err().to_string();
    assert!(error.starts_with('`') && error.contains("/tests/configuration/none.toml` cannot be read: "), "{error}");
    let error = Config::load(&directory().join("server.toml")).unwrap_err().to_string();
    assert!(error.lines().count() > 30 && error.lines().all(|line| line.starts_with("line ")), "{error}");
}
