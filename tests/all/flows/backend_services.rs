//! Backend services, and apps that authenticate by their key: real keys of both kinds, a JWK Set that is published on this
//! machine, and what is refused (A7, A8, B2 20 to 41; the assertions of Inferno's backend services groups).

mod refusals;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use firebreak::audit::{Ending, EventKind};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::world::{Reply, Settings, World, run};

const TOKEN: &str = "https://gw.example.org/token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const REDIRECT: &str = "https://keyed.example.org/cb";

/// A pair of keys, as Inferno has it: P-384 and RSA, published with members that servers ignore.
struct Keys {
    es384: EncodingKey,
    rs384: EncodingKey,
    directory: TempDir,
}

static KEYS: LazyLock<Keys> = LazyLock::new(Keys::generate);

/// Of somebody else.
static OTHERS: LazyLock<Keys> = LazyLock::new(Keys::generate);

impl Keys {
    fn generate() -> Self {
        firebreak::jose::install_provider();
        let pem = |algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        let es384 = EncodingKey::from_ec_pem(pem(&rcgen::PKCS_ECDSA_P384_SHA384).as_bytes()).unwrap();
        let rs384 = EncodingKey::from_rsa_pem(pem(&rcgen::PKCS_RSA_SHA384).as_bytes()).unwrap();
        let keys = Self { es384, rs384, directory: tempfile::tempdir().unwrap() };
        std::fs::write(keys.directory.path().join("jwks.json"), keys.jwks()).unwrap();
        keys
    }

    fn jwks(&self) -> String {
        let jwk = |key: &EncodingKey, algorithm, kid: &str| {
            let mut jwk = serde_json::to_value(Jwk::from_encoding_key(key, algorithm).unwrap()).unwrap();
            for (member, value) in [("kid", json!(kid)), ("use", json!("sig")), ("ext", json!(true))] {
                jwk[member] = value;
            }
            jwk["key_ops"] = json!(["verify"]);
            jwk
        };
        let keys = [jwk(&self.es384, Algorithm::ES384, "ec"), jwk(&self.rs384, Algorithm::RS384, "rsa")];
        json!({ "keys": keys }).to_string()
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        let key = if header.alg == Algorithm::ES384 { &self.es384 } else { &self.rs384 };
        jsonwebtoken::encode(header, claims, key).unwrap()
    }

    /// An assertion as Inferno builds it.
    fn assertion(&self, world: &World, client_id: &str, algorithm: Algorithm) -> String {
        let assertion = self.sign(&header_of(algorithm), &claims_of(client_id, world.clock.unix_seconds()));
        world.secret(&assertion);
        assertion
    }
}

fn header_of(algorithm: Algorithm) -> Header {
    let kid = if algorithm == Algorithm::ES384 { "ec" } else { "rsa" };
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

fn claims_of(client_id: &str, now: i64) -> Value {
    json!({"iss": client_id, "sub": client_id, "aud": TOKEN, "exp": now + 300, "jti": firebreak::random::handle()})
}

/// Publishes a JWK Set on this machine and counts who asks.
struct Published {
    port: u16,
    says: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    heads: Arc<Mutex<String>>,
}

impl Published {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let published = Self {
            port: listener.local_addr().unwrap().port(),
            says: Arc::new(Mutex::new(ok(&KEYS.jwks()))),
            asked: Arc::default(),
            heads: Arc::default(),
        };
        let (says, asked, heads) = (published.says.clone(), published.asked.clone(), published.heads.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let read = stream.read(&mut head).await.unwrap_or_default();
                asked.fetch_add(1, Ordering::SeqCst);
                heads.lock().unwrap().push_str(&String::from_utf8_lossy(head.get(..read).unwrap_or_default()));
                let answer = says.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        published
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn says(&self, answer: impl Into<String>) {
        *self.says.lock().unwrap() = answer.into();
    }
}

fn ok(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=300\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// The services of these stories; those with `published` have their keys at that port.
async fn world_with(published: &Published, clock: &firebreak::clock::Clock) -> World {
    let inline = format!("jwks_file = \"{}\"", KEYS.directory.path().join("jwks.json").display());
    let url = format!("jwks_uri = \"http://127.0.0.1:{}/jwks.json\"", published.port);
    let service = |id: &str, keys: &str, scope: &str, more: &str| {
        format!(
            "[[client]]\nclient_id = \"{id}\"\n{keys}\nscope = \"{scope}\"\n\
             grant_types = [\"client_credentials\"]\n{more}\n"
        )
    };
    let backend = "roles = [\"backend\"]";
    let more = [
        service("service", &inline, "system/*.rs", backend),
        service("published", &url, "system/*.rs", backend),
        service("modest", &inline, "system/Observation.rs system/Patient.r", backend),
        service("roleless", &inline, "system/*.rs", ""),
        service("long", &inline, "system/*.rs", "roles = [\"backend\"]\naccess_token_lifetime = \"1h\""),
        service("strict", &inline, "system/*.rs", "assertion_audience = \"issuer\""),
        service("rsa-only", &inline, "system/*.rs", "token_endpoint_auth_signing_alg = \"RS384\""),
        format!(
            "[[client]]\nclient_id = \"keyed\"\n{url}\nredirect_uris = [\"{REDIRECT}\"]\n\
             scope = \"openid fhirUser offline_access launch/patient patient/*.rs system/*.rs\"\n"
        ),
    ];
    let sections = sections() + &more.concat();
    World::with(Settings { sections, clock: clock.clone(), ..settings() }).await
}

/// The fields of a token request of a service, with `assertion`.
fn request_with<'a>(scope: &'a str, assertion: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "client_credentials"),
        ("scope", scope),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
    ]
}

/// What `client_id` is told when it asks for `scope`.
async fn ask(world: &World, client_id: &str, scope: &str) -> Reply {
    let assertion = KEYS.assertion(world, client_id, Algorithm::ES384);
    token(world, &request_with(scope, &assertion), &[]).await
}

async fn given(world: &World, client_id: &str, scope: &str) -> Value {
    let reply = ask(world, client_id, scope).await;
    assert_eq!(reply.status, 200, "{}", reply.all());
    reply.json()
}

// T10
#[test]
fn a_service_is_told_where_its_token_is_good_when_it_asks() {
    run(async {
        let published = Published::new().await;
        let world = world_with(&published, &firebreak::clock::Clock::system()).await;
        let assertion = KEYS.assertion(&world, "service", Algorithm::ES384);
        let asked = request_with("system/Patient.rs system/Patient.u", &assertion);
        let details = r#"[{"type":"smart_on_fhir","fhirVersions":["4.0.1"]}]"#;
        let given = token(&world, &with(asked, "authorization_details", details), &[]).await.json();
        let told = json!([{
            "type": "smart_on_fhir", "locations": [BASE], "fhirVersions": ["4.0.1"], "scope": text(&given, "scope"),
        }]);
        assert_eq!(given["authorization_details"], told, "{given}");
        assert_eq!(self::given(&world, "service", "system/Patient.rs").await.get("authorization_details"), None);
        world.finish().await;
    });
}

// B1, B2, B3, C1-C5, D5: inf: smart_backend_services_auth_request_success, smart_backend_services_auth_response_body
#[test]
fn a_service_gets_a_token_with_a_key_of_either_kind_and_reads_with_it() {
    run(async {
        let published = Published::new().await;
        let world = world_with(&published, &firebreak::clock::Clock::system()).await;
        let discovery = world.get("/fhir/.well-known/smart-configuration", "").await.json();
        for (member, value) in [
            ("grant_types_supported", "client_credentials"),
            ("token_endpoint_auth_methods_supported", "private_key_jwt"),
            ("token_endpoint_auth_signing_alg_values_supported", "RS384"),
            ("token_endpoint_auth_signing_alg_values_supported", "ES384"),
            ("capabilities", "client-confidential-asymmetric"),
            ("scopes_supported", "system/*.rs"),
        ] {
            assert!(discovery[member].as_array().unwrap().contains(&json!(value)), "{member} {value}");
        }
        for client_id in ["service", "published"] {
            for (algorithm, scope) in [(Algorithm::ES384, "system/*.rs"), (Algorithm::RS384, "system/*.read")] {
                let assertion = KEYS.assertion(&world, client_id, algorithm);
                let reply = token(&world, &request_with(scope, &assertion), &[]).await;
                assert_eq!(reply.status, 200, "{}", reply.all());
                let body = reply.json();
                assert_eq!(text(&body, "token_type").to_ascii_lowercase(), "bearer");
                assert_eq!((text(&body, "scope"), body["expires_in"].as_i64()), (scope, Some(300)));
                let members: Vec<&String> = body.as_object().unwrap().keys().collect();
                assert_eq!(members, ["access_token", "token_type", "expires_in", "scope"]);
                let access = text(&body, "access_token");
                let claims = claims(access);
                assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(client_id), &json!(client_id)));
                for path in ["/fhir/Observation/o1", "/fhir/Observation/o2", "/fhir/Observation", "/fhir/Patient/P1"] {
                    assert_eq!(world.get(path, access).await.status, 200, "{client_id} {path}");
                }
            }
        }
        assert_eq!(published.asked(), 1, "the set is kept");
        let head = published.heads.lock().unwrap().to_ascii_lowercase();
        assert!(
            head.starts_with("get /jwks.json http/1.1\r\n") && head.contains("accept: application/json\r\n"),
            "{head}"
        );
        world.finish().await;
    });
}

// B4, B8, B2 40
#[test]
fn a_service_is_granted_what_it_was_registered_for_and_no_more() {
    run(async {
        let published = Published::new().await;
        let world = world_with(&published, &firebreak::clock::Clock::system()).await;
        for (asked, granted) in [
            ("system/*.rs", "system/Observation.rs system/Patient.r"),
            ("system/Observation.rs", "system/Observation.rs"),
            ("system/Observation.cruds system/Condition.rs", "system/Observation.rs"),
            ("system/Patient.read patient/*.rs openid", "system/Patient.r"),
        ] {
            let body = given(&world, "modest", asked).await;
            assert_eq!(text(&body, "scope"), granted, "{asked}");
        }
        let body = given(&world, "modest", "system/*.rs").await;
        let access = text(&body, "access_token");
        assert_eq!(world.get("/fhir/Observation", access).await.status, 200);
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        for beyond in ["/fhir/Patient", "/fhir/Condition", "/fhir/Encounter/e1"] {
            assert_eq!(world.get(beyond, access).await.status, 403, "{beyond}");
        }
        // Whatever its scopes, what the policies permit is by role.
        let body = given(&world, "roleless", "system/*.rs").await;
        let reply = world.get("/fhir/Observation", text(&body, "access_token")).await;
        assert_eq!((reply.status, reply.text().contains("no policy of this site")), (403, true), "{}", reply.all());
        let refused = refused(400, "invalid_scope");
        for scope in [
            "system/Condition.rs",
            "patient/*.rs",
            "user/Observation.rs",
            "system/Observation.d",
            "system/Observation.sr",
            "system/Nothing.rs",
            "openid fhirUser offline_access launch",
            "system",
        ] {
            assert_eq!(refusal(&ask(&world, "modest", scope).await), refused, "{scope}");
        }
        world.finish().await;
    });
}

// B3, B3 61
#[test]
fn a_token_of_a_service_ends_in_five_minutes_or_as_configured() {
    run(async {
        let clock = firebreak::clock::Clock::fixed(1_900_000_000);
        let published = Published::new().await;
        let world = world_with(&published, &clock).await;
        let (short, long) = (given(&world, "service", "system/*.rs").await, given(&world, "long", "system/*.rs").await);
        assert_eq!((short["expires_in"].as_i64(), long["expires_in"].as_i64()), (Some(300), Some(3600)));
        let (short, long) = (text(&short, "access_token").to_owned(), text(&long, "access_token").to_owned());
        world.advance(299).await;
        assert_eq!(world.get("/fhir/Patient/P1", &short).await.status, 200);
        world.advance(1).await;
        assert_eq!(world.get("/fhir/Patient/P1", &short).await.status, 401);
        assert_eq!(world.get("/fhir/Patient/P1", &long).await.status, 200);
        world.advance(3300).await;
        assert_eq!(world.get("/fhir/Patient/P1", &long).await.status, 401);
        world.finish().await;
    });
}

// The grant of a service is one that can be revoked, and each token has its record.
#[test]
fn a_token_of_a_service_is_recorded_and_can_be_revoked() {
    run(async {
        let published = Published::new().await;
        let world = world_with(&published, &firebreak::clock::Clock::system()).await;
        let body = given(&world, "service", "system/*.rs").await;
        let access = text(&body, "access_token");
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
        let grant = text(&claims(access), "gid").to_owned();
        firebreak::grant::grants::revoke(&world.grants, &grant).await.unwrap();
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 401);
        assert_eq!(refusal(&ask(&world, "modest", "system/Condition.rs").await), refused(400, "invalid_scope"));
        let entries = world.finish().await;
        let tokens: Vec<_> = entries.iter().filter(|entry| entry.record.kind == EventKind::Token).collect();
        let [released, denied] = &tokens[..] else { panic!("two records are expected: {tokens:#?}") };
        for entry in [released, denied] {
            assert_eq!(entry.record.action.as_deref(), Some("client_credentials"));
        }
        let record = &released.record;
        assert_eq!((record.outcome, record.target.as_deref()), (Some(Ending::Released), Some(&*grant)));
        assert_eq!((record.client_id.as_deref(), record.sub.as_deref()), (Some("service"), Some("service")));
        assert_eq!(record.scopes.as_deref(), Some("system/*.rs"));
        assert_eq!((denied.record.client_id.as_deref(), denied.record.outcome), (Some("modest"), Some(Ending::Denied)));
        assert_eq!(denied.record.reason.as_deref(), Some("invalid_scope"));
    });
}

// F1, T2, C1, C8: client-confidential-asymmetric
#[test]
fn an_asymmetric_app_exchanges_its_code_and_refreshes_with_fresh_assertions() {
    run(async {
        let published = Published::new().await;
        let world = world_with(&published, &firebreak::clock::Clock::system()).await;
        let code = code(&world, "pat", &request_of("keyed", REDIRECT, SCOPE)).await;
        let asserted = |fields: &[(&'static str, String)], assertion: &str| {
            let mut fields: Vec<(&'static str, String)> = fields.to_vec();
            fields.push(("client_assertion_type", JWT_BEARER.to_owned()));
            fields.push(("client_assertion", assertion.to_owned()));
            fields
        };
        let own = |fields: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let send = async |fields: &[(&'static str, String)]| {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            token(&world, &fields, &[]).await
        };
        let bare = own(&[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ]);
        // B2 31, C11: without its assertion it is nobody.
        let unproven = [&bare[..], &own(&[("client_id", "keyed")])].concat();
        assert_eq!(refusal(&send(&unproven).await), refused(401, "invalid_client"));
        let first = KEYS.assertion(&world, "keyed", Algorithm::RS384);
        let reply = send(&asserted(&bare, &first)).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        let body = reply.json();
        assert_eq!(world.get("/fhir/Observation/o1", text(&body, "access_token")).await.status, 200);
        let refresh = own(&[("grant_type", "refresh_token"), ("refresh_token", text(&body, "refresh_token"))]);
        // B2 45, and C6: the assertion of before is used up.
        assert_eq!(refusal(&send(&refresh).await), refused(401, "invalid_client"));
        let named = [&refresh[..], &own(&[("client_id", "keyed")])].concat();
        assert_eq!(refusal(&send(&named).await), refused(401, "invalid_client"));
        assert_eq!(refusal(&send(&asserted(&refresh, &first)).await), refused(401, "invalid_client"));
        for algorithm in [Algorithm::ES384, Algorithm::RS384] {
            let fresh = KEYS.assertion(&world, "keyed", algorithm);
            let reply = send(&asserted(&refresh, &fresh)).await;
            assert_eq!(reply.status, 200, "{}", reply.all());
            assert_eq!(world.get("/fhir/Observation/o1", text(&reply.json(), "access_token")).await.status, 200);
        }
        // B2 42: another client's refresh token.
        let other = KEYS.assertion(&world, "service", Algorithm::ES384);
        let reply = send(&asserted(&refresh, &other)).await;
        assert_eq!(refusal(&reply), refused(400, "unauthorized_client"), "{}", reply.all());
        // B2 22: registered for a scope of the system, not for the grant type.
        assert_eq!(refusal(&ask(&world, "keyed", "system/*.rs").await), refused(400, "unauthorized_client"));
        world.finish().await;
    });
}
