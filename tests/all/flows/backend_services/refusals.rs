//! What a backend service is refused (B2 20 to 41): a table, a key server that fails, and one assertion sent many times.

use super::*;

/// One request, as it differs from a good one.
struct Row {
    id: &'static str,
    what: &'static str,
    expected: (u16, &'static str),
    fields: Vec<(&'static str, String)>,
    headers: Vec<String>,
}

fn row(
    id: &'static str,
    what: &'static str,
    expected: (u16, &'static str),
    good: &[(&str, &str)],
    change: Change,
) -> Row {
    let leak = |name: &str| -> &'static str {
        ["grant_type", "scope", "client_assertion_type", "client_assertion"].into_iter().find(|n| *n == name).unwrap()
    };
    let mut fields: Vec<(&'static str, String)> = good.iter().map(|(n, v)| (leak(n), (*v).to_owned())).collect();
    let mut headers = Vec::new();
    match change {
        Change::Set(more) => {
            for (name, value) in more {
                fields.retain(|(known, _)| *known != name);
                fields.push((name, value));
            }
        }
        Change::Without(names) => fields.retain(|(known, _)| !names.contains(known)),
        Change::Also(name, value) => fields.push((name, value)),
        Change::Header(header) => headers.push(header),
        Change::Instead(instead, header) => {
            fields = instead;
            headers.extend(header);
        }
    }
    Row { id, what, expected, fields, headers }
}

enum Change {
    Set(Vec<(&'static str, String)>),
    Without(Vec<&'static str>),
    Also(&'static str, String),
    Header(String),
    Instead(Vec<(&'static str, String)>, Option<String>),
}

// B2 20-23, 30-38, 40, 41, B5, B6, B7, C1-C6, C9, C11: inf: smart_backend_services_invalid_grant_type,
// smart_backend_services_invalid_client_assertion, smart_backend_services_invalid_jwt. What needs a code of a person is in
// `token_endpoint` (B2 24 to 29), what needs a key server that fails below (B2 39).
#[test]
fn b2_20_to_41_each_request_with_one_thing_wrong_is_refused_as_the_table_says() {
    use Change::{Also, Header as With, Instead, Set, Without};
    run(async {
        let published = Published::new().await;
        let world = world_with(&published, &firebreak::clock::Clock::system()).await;
        world.secret(SECRET);
        let now = world.clock.unix_seconds();
        let es = || header_of(Algorithm::ES384);
        let claims = || claims_of("service", now);
        let member = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            claims
        };
        let lacking = |name: &str| {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            claims
        };
        let signed = |header: &Header, claims: &Value| vec![("client_assertion", KEYS.sign(header, claims))];
        let raw = |header: Value, claims: Value| {
            use base64::Engine;
            let encode = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &KEYS.es384, Algorithm::ES384).unwrap();
            vec![("client_assertion", format!("{signed}.{signature}"))]
        };
        let header = |name: &str, value: Value| {
            let mut header = json!({"alg": "ES384", "kid": "ec", "typ": "JWT"});
            header[name] = value;
            header
        };
        let own = |fields: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let hs256 = {
            let key = EncodingKey::from_secret(KEYS.jwks().as_bytes());
            let header = Header { kid: Some("ec".to_owned()), ..Header::new(Algorithm::HS256) };
            vec![("client_assertion", jsonwebtoken::encode(&header, &claims(), &key).unwrap())]
        };
        let used = KEYS.sign(&es(), &claims());
        assert_eq!(token(&world, &request_with("system/*.rs", &used), &[]).await.status, 200);
        let alien = OTHERS.sign(&es(), &claims());
        let of = |client_id: &str| signed(&es(), &claims_of(client_id, now));
        let (bad, client, scope) = ((400, "invalid_request"), (401, "invalid_client"), (400, "invalid_scope"));
        let fresh = || KEYS.sign(&es(), &claims());
        let table = |good: &[(&str, &str)]| {
            let row = |id, what, expected, change| row(id, what, expected, good, change);
            vec![
                row("20", "a parameter twice", bad, Also("scope", "system/*.rs".to_owned())),
                row("21", "no grant type", bad, Without(vec!["grant_type"])),
                row(
                    "21, B5",
                    "a grant type that is none",
                    (400, "unsupported_grant_type"),
                    Set(own(&[("grant_type", "not_a_grant_type")])),
                ),
                row("21", "password", (400, "unsupported_grant_type"), Set(own(&[("grant_type", "password")]))),
                row(
                    "22",
                    "a grant type of other clients",
                    (400, "unauthorized_client"),
                    Set(own(&[("grant_type", "refresh_token")])),
                ),
                row(
                    "30",
                    "an unknown client by Basic",
                    client,
                    Instead(
                        own(&[("grant_type", "client_credentials"), ("scope", "system/*.rs")]),
                        Some(basic("BAD_CLIENT_ID", "x-x-x")),
                    ),
                ),
                row(
                    "31",
                    "an unknown client by name",
                    client,
                    Instead(
                        own(&[
                            ("grant_type", "client_credentials"),
                            ("scope", "system/*.rs"),
                            ("client_id", "BAD_CLIENT_ID"),
                        ]),
                        None,
                    ),
                ),
                row(
                    "31",
                    "a confidential client by name",
                    client,
                    Instead(
                        own(&[
                            ("grant_type", "client_credentials"),
                            ("scope", "system/*.rs"),
                            ("client_id", "service"),
                        ]),
                        None,
                    ),
                ),
                row("31", "nobody", client, Without(vec!["client_assertion", "client_assertion_type"])),
                row(
                    "32",
                    "a wrong secret",
                    client,
                    Instead(
                        own(&[("grant_type", "client_credentials"), ("scope", "system/*.rs")]),
                        Some(basic("server", "x-x-x")),
                    ),
                ),
                row("33", "Basic and an assertion", bad, With(basic("service", "x-x-x"))),
                row("33", "a secret and an assertion", bad, Also("client_secret", "x-x-x".to_owned())),
                row("33", "two assertions", bad, Also("client_assertion", fresh())),
                row("33, C1", "another client_id", bad, Also("client_id", "modest".to_owned())),
                row(
                    "34, B6",
                    "another assertion type",
                    (400, "invalid_client"),
                    Set(own(&[("client_assertion_type", "not_an_assertion_type")])),
                ),
                row("34", "no assertion type", (400, "invalid_client"), Without(vec!["client_assertion_type"])),
                row("34", "no assertion", (400, "invalid_client"), Without(vec!["client_assertion"])),
                row("35", "no JWT", client, Set(own(&[("client_assertion", "not_a_jwt")]))),
                row("35", "unsigned", client, Set(vec![("client_assertion", unsigned(&fresh()))])),
                row("35", "HS256 by the public keys", client, Set(hs256.clone())),
                row("35", "another's signature", client, Set(vec![("client_assertion", alien.clone())])),
                row("35", "an algorithm that is not served", client, Set(raw(header("alg", json!("ES256")), claims()))),
                row("35", "an embedded key", client, Set(raw(header("jwk", json!({})), claims()))),
                row("35", "x5u", client, Set(raw(header("x5u", json!("https://evil.example.org")), claims()))),
                row("35", "crit", client, Set(raw(header("crit", json!(["exp"])), claims()))),
                row("35, C3", "an algorithm of other clients", client, Set(of("rsa-only"))),
                row("36", "no kid", client, Set(raw(header("kid", Value::Null), claims()))),
                row("36", "an unknown kid", client, Set(raw(header("kid", json!("other")), claims()))),
                row(
                    "36, C7",
                    "an unregistered jku",
                    client,
                    Set(raw(header("jku", json!(format!("http://127.0.0.1:{}/jwks.json", published.port))), claims())),
                ),
                row("36", "another typ", client, Set(raw(header("typ", json!("at+jwt")), claims()))),
                row("37", "iss is not sub", client, Set(signed(&es(), &member("sub", json!("modest"))))),
                row("37, B6", "an unknown iss", client, Set(of("not_a_valid_iss"))),
                row("37", "iss of a client without keys", client, Set(of("server"))),
                row(
                    "37",
                    "a foreign aud",
                    client,
                    Set(signed(&es(), &member("aud", json!("https://evil.example.org/token")))),
                ),
                row(
                    "37",
                    "aud with a slash more",
                    client,
                    Set(signed(&es(), &member("aud", json!("https://gw.example.org/token/")))),
                ),
                row(
                    "37",
                    "aud as an array",
                    client,
                    Set(signed(&es(), &member("aud", json!([TOKEN, "https://evil.example.org"])))),
                ),
                row("37, C5", "aud of a client held to the issuer", client, Set(of("strict"))),
                row("37", "expired", client, Set(signed(&es(), &member("exp", json!(now - 1))))),
                row("37, C4", "too long", client, Set(signed(&es(), &member("exp", json!(now + 300 + 90))))),
                row("37", "exp in words", client, Set(signed(&es(), &member("exp", json!("soon"))))),
                row("37", "no exp", client, Set(signed(&es(), &lacking("exp")))),
                row("37", "no jti", client, Set(signed(&es(), &lacking("jti")))),
                row("37", "a blank jti", client, Set(signed(&es(), &member("jti", json!(" "))))),
                row("38, C6", "used before", client, Set(vec![("client_assertion", used.clone())])),
                row("40", "no scope", bad, Without(vec!["scope"])),
                row("40", "an empty scope", bad, Set(own(&[("scope", "")]))),
                row(
                    "40",
                    "beyond what is registered",
                    scope,
                    Set([own(&[("scope", "system/Condition.rs")]), of("modest")].concat()),
                ),
                row("40", "a patient's scope", scope, Set(own(&[("scope", "patient/*.rs")]))),
                row(
                    "41",
                    "a client with a secret",
                    (400, "unauthorized_client"),
                    Instead(
                        own(&[("grant_type", "client_credentials"), ("scope", "system/*.rs")]),
                        Some(basic("server", SECRET)),
                    ),
                ),
                row(
                    "41",
                    "a public client",
                    client,
                    Instead(
                        own(&[("grant_type", "client_credentials"), ("scope", "system/*.rs"), ("client_id", "app")]),
                        None,
                    ),
                ),
            ]
        };
        let count = table(&request_with("system/*.rs", &fresh())).len();
        for index in 0..count {
            // A fresh assertion for each, so that only the one thing is wrong.
            let assertion = fresh();
            let good = request_with("system/*.rs", &assertion);
            let Row { id, what, expected, fields, headers } = table(&good).into_iter().nth(index).unwrap();
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let reply = token(&world, &fields, &headers).await;
            assert_eq!(refusal(&reply), refused(expected.0, expected.1), "B2 {id}: {what}");
            let challenged = reply.header("www-authenticate").starts_with("Basic ");
            assert_eq!(challenged, expected.0 == 401 && !headers.is_empty(), "B2 {id}: {what}");
        }
        assert_eq!(published.asked(), 0, "nothing was fetched for any of these");
        world.finish().await;
    });
}

fn unsigned(assertion: &str) -> String {
    use base64::Engine;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"ec","typ":"JWT"}"#);
    format!("{header}.{}.", assertion.split('.').nth(1).unwrap())
}

// B2 39, C8
#[test]
fn b2_39_a_key_server_that_fails_is_an_unknown_client_at_once() {
    run(async {
        let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(70_000));
        let redirect =
            String::from("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
        for answer in [String::new(), ok("<html>"), ok(&huge), ok("{}"), redirect, "HTTP/1.1 503 No\r\n\r\n".to_owned()]
        {
            let published = Published::new().await;
            published.says(answer.clone());
            let world = world_with(&published, &firebreak::clock::Clock::system()).await;
            for _ in 0..2 {
                let reply = ask(&world, "published", "system/*.rs").await;
                assert_eq!(refusal(&reply), refused(401, "invalid_client"), "{}", answer.len());
            }
            assert_eq!(published.asked(), 1);
            assert_eq!(ask(&world, "service", "system/*.rs").await.status, 200, "others are not held up");
            world.finish().await;
        }
    });
}

// B2 38, C6, E9
#[test]
fn of_a_thousand_concurrent_uses_of_one_assertion_one_gets_a_token() {
    run(async {
        let published = Published::new().await;
        let world = Arc::new(world_with(&published, &firebreak::clock::Clock::system()).await);
        let assertion = KEYS.assertion(&world, "published", Algorithm::ES384);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (world, assertion) = (Arc::clone(&world), assertion.clone());
            tasks.spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..50 {
                    statuses.push(token(&world, &request_with("system/*.rs", &assertion), &[]).await.status);
                }
                statuses
            });
        }
        let statuses = tasks.join_all().await.concat();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1);
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 999);
        assert_eq!(published.asked(), 1);
        Arc::into_inner(world).unwrap().finish().await;
    });
}
