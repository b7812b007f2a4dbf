#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::*;
use crate::jose::assertion::tests::TestKeys;
use crate::oauth::clients::tests::client;
use crate::store::SqliteStore;

const NOW: i64 = 1_900_000_000;
const TOKEN_URL: &str = "https://gateway.example.org/token";

/// A secret with every character that the encodings disagree about (operations H: `s:/+%`).
const ODD: &str = "s:/+% 20é%41";

struct Fixture {
    clients: Clients,
    keys: TestKeys,
    store: SqliteStore,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let keys = TestKeys::generate();
        let clients = Clients::new(&[
            client("public", ClientAuthentication::None),
            client("server", ClientAuthentication::Secret(Digest::of("secret"))),
            client("odd", ClientAuthentication::Secret(Digest::of(ODD))),
            client("zero", ClientAuthentication::Secret(Digest([0; 32]))),
            client("ehr", ClientAuthentication::PrivateKeyJwt { jwks: keys.jwks() }),
        ])
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self { clients, keys, store: SqliteStore::open(directory.path()).unwrap(), _directory: directory }
    }

    async fn authenticate(&self, authorization: Option<&str>, body: &str) -> Result<Option<String>, OAuthError> {
        let mut inbound = Inbound::for_test("POST", "/token");
        inbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(authorization) = authorization {
            inbound.headers.append(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        }
        inbound.body = Bytes::copy_from_slice(body.as_bytes());
        let authenticator =
            Authenticator { clients: &self.clients, store: &self.store, audiences: &[TOKEN_URL], now: NOW };
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

// B2 30, 31, 32, C11
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

// B2 33, C11
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

// B2 34, C9
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
    for _ in 0..20 {
        let (fixture, body) = (Arc::clone(&fixture), body.clone());
        tasks.spawn(async move { fixture.authenticate(None, &body).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|accepted| *accepted).count(), 1);
    assert_eq!(fixture.refusal(None, &body).await, (401, "invalid_client"));
}

// B2 37
#[tokio::test]
async fn an_assertion_of_an_unknown_client_or_one_without_keys_is_invalid_client() {
    let fixture = Fixture::new();
    for client_id in ["unknown", "server", "public"] {
        let assertion = fixture.keys.assertion(client_id, TOKEN_URL, NOW);
        let body = format!("client_assertion_type={}&client_assertion={assertion}", encoded(JWT_BEARER));
        assert_eq!(fixture.refusal(None, &body).await, (401, "invalid_client"));
    }
}
