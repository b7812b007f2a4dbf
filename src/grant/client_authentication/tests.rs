#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::*;
use crate::clients::key_sets::tests::{Published, json};
use crate::clients::tests::client;
use crate::config::{Client, JwksUri, SecretSent};
use crate::jose::AssertionAlgorithm;
use crate::jose::assertion::tests::{TestKeys, claims, header};
use crate::outbound::{Guard, Outbound};
use crate::store::SqliteStore;

const NOW: i64 = 1_900_000_000;
const TOKEN_URL: &str = "https://gateway.example.org/token";
const ISSUER: &str = "https://gateway.example.org";

/// A secret with every character that the encodings disagree about (operations H: `s:/+%`).
const ODD: &str = "s:/+% 20é%41";

struct Fixture {
    clients: Clients,
    keys: TestKeys,
    store: SqliteStore,
    key_sets: KeySets,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with_jwks_at(TestKeys::generate(), 1)
    }

    /// The client `published` has its keys at this port of this machine.
    fn with_jwks_at(keys: TestKeys, port: u16) -> Self {
        let clients = Clients::new(&[
            client("public", ClientAuthentication::None),
            client("server", ClientAuthentication::Secret(Digest::of("secret"))),
            Client {
                secret_sent: SecretSent::Basic,
                ..client("by-basic", ClientAuthentication::Secret(Digest::of("secret")))
            },
            Client {
                secret_sent: SecretSent::Post,
                ..client("by-post", ClientAuthentication::Secret(Digest::of("secret")))
            },
            client("odd", ClientAuthentication::Secret(Digest::of(ODD))),
            client("zero", ClientAuthentication::Secret(Digest([0; 32]))),
            client("ehr", ClientAuthentication::PrivateKeyJwt { jwks: keys.jwks() }),
            Client {
                assertion_audience: AssertionAudience::Issuer,
                ..client("strict", ClientAuthentication::PrivateKeyJwt { jwks: keys.jwks() })
            },
            Client {
                token_endpoint_auth_signing_alg: Some(AssertionAlgorithm::Rs384),
                ..client("rsa-only", ClientAuthentication::PrivateKeyJwt { jwks: keys.jwks() })
            },
            client("published", published(&format!("http://127.0.0.1:{port}/jwks"))),
        ])
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let key_sets = KeySets::new(Outbound::new(None).unwrap());
        Self { clients, keys, store: SqliteStore::open(directory.path()).unwrap(), key_sets, _directory: directory }
    }

    async fn authenticate(&self, authorization: Option<&str>, body: &str) -> Result<Option<String>, OAuthError> {
        self.authenticate_at(NOW, authorization, body).await
    }

    async fn authenticate_at(
        &self,
        now: i64,
        authorization: Option<&str>,
        body: &str,
    ) -> Result<Option<String>, OAuthError> {
        let mut inbound = Inbound::for_test("POST", "/token");
        inbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(authorization) = authorization {
            inbound.headers.append(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        }
        inbound.body = Bytes::copy_from_slice(body.as_bytes());
        let authenticator = Authenticator {
            clients: &self.clients,
            store: &self.store,
            key_sets: &self.key_sets,
            audiences: [TOKEN_URL.to_owned(), TOKEN_URL.to_owned()],
            issuer: ISSUER.to_owned(),
            now,
        };
        let form = Form::posted(&inbound).unwrap();
        match authenticator.authenticate(&inbound, &form).await? {
            Requester::Client(client) => Ok(Some(client.config.client_id.clone())),
            Requester::Unnamed => Ok(None),
        }
    }

    async fn refusal(&self, authorization: Option<&str>, body: &str) -> (u16, &'static str) {
        let error = self.authenticate(authorization, body).await.unwrap_err();
        (error.status().as_u16(), error.code())
    }
}

fn published(url: &str) -> ClientAuthentication {
    let jwks_uri = JwksUri::parse(url, Guard::Operator).unwrap();
    ClientAuthentication::PrivateKeyJwtByUrl { jwks_uri, guard: Guard::Operator }
}

fn asserted(assertion: &str) -> String {
    format!("client_assertion_type={}&client_assertion={assertion}", encoded(JWT_BEARER))
}

// C11, B2 32
#[tokio::test]
async fn a_client_that_is_registered_for_one_place_of_its_secret_is_refused_with_the_other() {
    let fixture = Fixture::new();
    let basic = |client_id: &str| format!("Basic {}", STANDARD.encode(format!("{client_id}:secret")));
    let post = |client_id: &str| format!("client_id={client_id}&client_secret=secret");
    let accepted = |client_id: &str| Ok(Some(client_id.to_owned()));
    for client_id in ["server", "by-basic"] {
        assert_eq!(fixture.authenticate(Some(&basic(client_id)), "").await, accepted(client_id));
        // PyPI fhirclient: still one credential
        let named = format!("client_id={client_id}");
        assert_eq!(fixture.authenticate(Some(&basic(client_id)), &named).await, accepted(client_id));
    }
    for client_id in ["server", "by-post"] {
        assert_eq!(fixture.authenticate(None, &post(client_id)).await, accepted(client_id));
    }
    assert_eq!(fixture.refusal(None, &post("by-basic")).await, (401, "invalid_client"));
    assert_eq!(fixture.refusal(Some(&basic("by-post")), "").await, (401, "invalid_client"));
    assert_eq!(fixture.refusal(Some(&basic("server")), &post("server")).await, (400, "invalid_request"));
}

// C7, C8, R2
#[tokio::test]
async fn a_client_with_its_keys_at_a_url_authenticates_by_them() {
    let keys = TestKeys::generate();
    let server = Published::new(json(&keys.jwks())).await;
    let fixture = Fixture::with_jwks_at(keys, server.port);
    let url = format!("http://127.0.0.1:{}/jwks", server.port);
    for jku in [None, Some(url.as_str())] {
        let mut header = header("ES384", "ec");
        if let Some(jku) = jku {
            header["jku"] = jku.into();
        }
        let assertion = fixture.keys.es384(&header, &claims("published", TOKEN_URL, NOW));
        let authenticated = fixture.authenticate(None, &asserted(&assertion)).await;
        assert_eq!(authenticated.unwrap().as_deref(), Some("published"));
    }
    assert_eq!(server.asked(), 1);
}

// C7, C8, B2 36, B2 37: nothing is fetched for an assertion that is no good anyway, nor from where it says
#[tokio::test]
async fn keys_are_fetched_only_for_an_assertion_that_is_good_in_all_but_its_signature() {
    let keys = TestKeys::generate();
    let (server, elsewhere) = (Published::new(json(&keys.jwks())).await, Published::new(json(&keys.jwks())).await);
    let fixture = Fixture::with_jwks_at(keys, server.port);
    let (header, claims) = (header("ES384", "ec"), claims("published", TOKEN_URL, NOW));
    let with = |value: &serde_json::Value, member: &str, replaced: serde_json::Value| {
        let mut value = value.clone();
        value[member] = replaced;
        value
    };
    for (header, claims) in [
        (with(&header, "alg", "ES256".into()), claims.clone()),
        (with(&header, "typ", "at+jwt".into()), claims.clone()),
        (with(&header, "kid", serde_json::Value::Null), claims.clone()),
        (with(&header, "kid", "".into()), claims.clone()),
        (with(&header, "jku", format!("http://127.0.0.1:{}/jwks", elsewhere.port).into()), claims.clone()),
        (header.clone(), with(&claims, "aud", "https://evil.example.org".into())),
        (header.clone(), with(&claims, "exp", NOW.into())),
        (header.clone(), with(&claims, "exp", (NOW + 3600).into())),
        (header.clone(), with(&claims, "jti", "".into())),
        (header.clone(), with(&claims, "sub", "other".into())),
    ] {
        let assertion = fixture.keys.es384(&header, &claims);
        let refusal = fixture.refusal(None, &asserted(&assertion)).await;
        assert_eq!(refusal, (401, "invalid_client"), "{header} {claims}");
    }
    assert_eq!((server.asked(), elsewhere.asked()), (0, 0));
}

// C5
#[tokio::test]
async fn a_client_may_be_held_to_the_issuer_as_its_audience() {
    let fixture = Fixture::new();
    for (client_id, audience, good) in
        [("strict", ISSUER, true), ("strict", TOKEN_URL, false), ("ehr", ISSUER, true), ("ehr", TOKEN_URL, true)]
    {
        let assertion = fixture.keys.assertion(client_id, audience, NOW);
        let authenticated = fixture.authenticate(None, &asserted(&assertion)).await;
        assert_eq!(authenticated.is_ok(), good, "{client_id} {audience}");
    }
}

// C3
#[tokio::test]
async fn a_client_may_be_held_to_one_algorithm() {
    let fixture = Fixture::new();
    let claims = || claims("rsa-only", TOKEN_URL, NOW);
    let rs384 = fixture.keys.rsa(&header("RS384", "rsa"), &claims());
    assert!(fixture.authenticate(None, &asserted(&rs384)).await.is_ok());
    let es384 = fixture.keys.es384(&header("ES384", "ec"), &claims());
    assert_eq!(fixture.refusal(None, &asserted(&es384)).await, (401, "invalid_client"));
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

// C10
#[tokio::test]
async fn basic_is_compared_raw_first_and_then_form_decoded() {
    let fixture = Fixture::new();
    for authorization in [basic("odd", ODD), basic("odd", &encoded(ODD)), basic("odd", ODD).replace("Basic", "bAsIc")] {
        assert_eq!(fixture.authenticate(Some(&authorization), "").await.unwrap().as_deref(), Some("odd"));
    }
    let unpadded = basic("server", "secret").trim_end_matches('=').to_owned();
    assert_eq!(fixture.authenticate(Some(&unpadded), "").await.unwrap().as_deref(), Some("server"));
}

// C10, and PyPI fhirclient, which sends client_id beside Basic
#[tokio::test]
async fn a_secret_in_the_body_and_a_client_id_beside_basic_are_accepted() {
    let fixture = Fixture::new();
    let posted = format!("client_id=odd&client_secret={}", encoded(ODD));
    assert_eq!(fixture.authenticate(None, &posted).await.unwrap().as_deref(), Some("odd"));
    let beside = fixture.authenticate(Some(&basic("server", "secret")), "client_id=server&state=x").await;
    assert_eq!(beside.unwrap().as_deref(), Some("server"));
    assert_eq!(fixture.authenticate(None, "client_id=public").await.unwrap().as_deref(), Some("public"));
    assert_eq!(fixture.authenticate(None, "grant_type=refresh_token").await.unwrap(), None);
}

// C10, B2 30, 31, 32, C11
#[tokio::test]
async fn wrong_missing_and_unregistered_credentials_are_invalid_client() {
    let fixture = Fixture::new();
    for authorization in [
        basic("BAD_CLIENT_ID", "secret"),
        basic("server", "wrong"),
        basic("server", ""),
        basic("server", "secret "),
        basic("public", ""),
        basic("public", "secret"),
        basic("ehr", "secret"),
        basic("zero", ""),
        "Basic ".to_owned(),
        "Basic !!!".to_owned(),
        format!("Basic {}", STANDARD.encode("no colon")),
        format!("Basic {}", STANDARD.encode([0xff, b':', 0xff])),
    ] {
        let error = fixture.authenticate(Some(&authorization), "").await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (401, "invalid_client"), "{authorization}");
        assert!(error.response().headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    }
    for body in [
        "client_id=BAD_CLIENT_ID",
        "client_id=server",
        "client_id=ehr",
        "client_id=server&client_secret=wrong",
        "client_id=public&client_secret=secret",
        "client_id=BAD_CLIENT_ID&client_secret=secret",
    ] {
        let error = fixture.authenticate(None, body).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (401, "invalid_client"), "{body}");
        assert!(!error.response().headers().contains_key("www-authenticate"));
    }
}

// C1, B2 33, C11
#[tokio::test]
async fn two_methods_two_headers_or_two_client_ids_are_invalid_requests() {
    let fixture = Fixture::new();
    let good = basic("server", "secret");
    let assertion = fixture.keys.assertion("ehr", TOKEN_URL, NOW);
    let asserted = format!("client_assertion_type={}&client_assertion={assertion}", encoded(JWT_BEARER));
    for (authorization, body) in [
        (Some(good.as_str()), "client_id=server&client_secret=secret".to_owned()),
        (Some(good.as_str()), asserted.clone()),
        (Some(good.as_str()), "client_id=other".to_owned()),
        (None, format!("client_id=server&client_secret=secret&{asserted}")),
        (None, format!("client_id=public&{asserted}")),
        (None, "client_secret=secret".to_owned()),
        (Some("Bearer abc"), String::new()),
        (Some("Basic"), String::new()),
    ] {
        assert_eq!(fixture.refusal(authorization, &body).await, (400, "invalid_request"), "{body}");
    }
    let mut inbound = Inbound::for_test("POST", "/token");
    inbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    for _ in 0..2 {
        inbound.headers.append(AUTHORIZATION, HeaderValue::from_str(&good).unwrap());
    }
    assert!(Credentials::of(&inbound, &Form::posted(&inbound).unwrap()).is_err());
}

// C1, B2 34, C9
#[tokio::test]
async fn an_unknown_or_missing_assertion_type_is_invalid_client_with_status_400() {
    let fixture = Fixture::new();
    let assertion = fixture.keys.assertion("ehr", TOKEN_URL, NOW);
    for body in [
        format!("client_assertion={assertion}"),
        format!("client_assertion_type=not_an_assertion_type&client_assertion={assertion}"),
        format!("client_assertion_type={}", encoded(JWT_BEARER)),
    ] {
        assert_eq!(fixture.refusal(None, &body).await, (400, "invalid_client"), "{body}");
    }
}

// B2 38, C1, C6, E9
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_concurrent_uses_of_one_assertion_one_is_accepted() {
    let fixture = Arc::new(Fixture::new());
    let assertion = fixture.keys.assertion("ehr", TOKEN_URL, NOW);
    let body = format!("client_assertion_type={}&client_assertion={assertion}", encoded(JWT_BEARER));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (fixture, body) = (Arc::clone(&fixture), body.clone());
        tasks.spawn(async move { fixture.authenticate(None, &body).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|accepted| *accepted).count(), 1);
    assert_eq!(fixture.refusal(None, &body).await, (401, "invalid_client"));
}

// B2 38, C6: until its own end
#[tokio::test]
async fn an_assertion_is_remembered_for_as_long_as_a_copy_would_be_good() {
    let fixture = Fixture::new();
    for client_id in ["ehr", "strict"] {
        let body = asserted(&fixture.keys.assertion(client_id, ISSUER, NOW));
        assert!(fixture.authenticate(None, &body).await.is_ok());
        for later in [0, 11, 60, 61, 299] {
            let again = fixture.authenticate_at(NOW + later, None, &body).await;
            assert_eq!(again, Err(OAuthError::invalid_client(Challenge::None)), "{client_id} after {later} seconds");
        }
    }
}

// B2 38, C6: two clients may think of the same
#[tokio::test]
async fn a_jti_is_used_up_for_its_own_client_alone() {
    let fixture = Fixture::new();
    for client_id in ["ehr", "strict"] {
        let mut claims = claims(client_id, ISSUER, NOW);
        claims["jti"] = "one".into();
        let body = asserted(&fixture.keys.es384(&header("ES384", "ec"), &claims));
        assert_eq!(fixture.authenticate(None, &body).await.unwrap().as_deref(), Some(client_id));
    }
}

// C1
#[tokio::test]
async fn a_client_id_beside_an_assertion_may_name_the_same_client() {
    let fixture = Fixture::new();
    let body = format!("client_id=ehr&{}", asserted(&fixture.keys.assertion("ehr", TOKEN_URL, NOW)));
    assert_eq!(fixture.authenticate(None, &body).await.unwrap().as_deref(), Some("ehr"));
}

// C9, B2 37
#[tokio::test]
async fn an_assertion_of_an_unknown_client_or_one_without_keys_is_invalid_client() {
    let fixture = Fixture::new();
    for client_id in ["unknown", "server", "public"] {
        let assertion = fixture.keys.assertion(client_id, TOKEN_URL, NOW);
        let body = format!("client_assertion_type={}&client_assertion={assertion}", encoded(JWT_BEARER));
        assert_eq!(fixture.refusal(None, &body).await, (401, "invalid_client"));
    }
}
