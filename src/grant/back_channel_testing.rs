//! A site for the tests of the back-channel endpoints: an app of each kind, an EHR, a user, a clock that stands still.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed assumption fails the test")]

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::facts::Facts;
use super::grants::{issue_code, new_grant_id};
use super::records::{Code, Details, Grant, Online, User};
use super::revocations::Revocations;
use super::token_endpoint::Commit;
use super::{Answer, DirectoryError, EncounterSummary, Grants, PatientDirectory, PatientSummary};
use crate::admit::{FailedCredentials, HourlyBudget};
use crate::clients::Clients;
use crate::clients::key_sets::KeySets;
use crate::clients::tests::client;
use crate::clock::Clock;
use crate::config::{self, ClientAuthentication, Config};
use crate::jose::assertion::tests::TestKeys;
use crate::keys::Keys;
use crate::listen::Inbound;
use crate::outbound::Outbound;
use crate::secret::Digest;
use crate::store::{Entry, Kind, SqliteStore};

pub(super) const NOW: i64 = 1_900_000_000;
pub(super) const ISSUER: &str = "https://gateway.example.org";
pub(super) const BASE: &str = "https://gateway.example.org/fhir";

/// RFC 7636 appendix B
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Generating RSA keys is slow: one pair for all tests.
pub(super) static KEYS: LazyLock<(Arc<Keys>, TestKeys)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    (Arc::new(Keys::open(directory.path()).unwrap()), TestKeys::generate())
});

/// Everything the endpoints need, over a store of its own.
pub(super) struct Site {
    pub(super) grants: Grants,
    pub(super) clock: Clock,
    _directory: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
    pub(super) body: Bytes,
    pub(super) credentials_failed: bool,
    pub(super) facts: Facts,
}

impl Site {
    /// Clients `app` (public), `server` (secret `secret`), `ehr` (vouches for practitioners of `https://idp.example.org` and
    /// of ours), `machine` (a key, no EHR); user `dr.smith`.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// As [`Site::new`], with a changed configuration.
    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(NOW);
        let grants = Grants {
            config: Arc::new(configuration()),
            clock: clock.clone(),
            store: Arc::new(SqliteStore::open(directory.path()).unwrap()),
            patients: Arc::new(Nobody),
            keys: Arc::clone(&KEYS.0),
            login: Arc::default(),
            providers: Arc::default(),
            clients: Arc::default(),
            failures: Arc::new(FailedCredentials::new(u32::MAX)),
            revocations: Arc::new(Revocations::new(clock.clone())),
            registrations: Arc::new(HourlyBudget::new(1_000)),
            under_way: Arc::default(),
            outbound: Outbound::new(None).unwrap(),
            key_sets: Arc::new(KeySets::new(Outbound::new(None).unwrap())),
        };
        let mut site = Self { grants, clock, _directory: directory };
        site.configure(change);
        site
    }

    /// As after a reload: the default configuration, changed.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = configuration();
        change(&mut config);
        self.grants.clients = Arc::new(Clients::new(&config.clients).unwrap());
        self.grants.config = Arc::new(config);
    }

    /// A code for `grant`, as the authorization endpoint issues it.
    pub(super) async fn code(&self, grant: Grant) -> String {
        let redirect_uri = format!("https://{}.example.org/cb", grant.client_id);
        let nonce = Some("n-0S6_WzA2Mj".to_owned());
        let code = Code { grant, redirect_uri, code_challenge: CHALLENGE.to_owned(), nonce, ..Code::default() };
        issue_code(&self.grants, code).await.unwrap()
    }

    /// Posts a form to the token endpoint.
    pub(super) async fn token(&self, fields: &[(&str, &str)]) -> Reply {
        self.token_with(&[], fields).await
    }

    /// Posts a form to the introspection endpoint, with header fields.
    pub(super) async fn introspect(&self, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Reply {
        let mut facts = Facts::default();
        let inbound = form("/introspect", headers, fields);
        let answer = super::introspection_endpoint::respond(&self.grants, &inbound, &mut facts).await;
        reply(answer, facts)
    }

    /// Posts a form to the revocation endpoint, with header fields.
    pub(super) async fn revoke(&self, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Reply {
        let mut facts = Facts::default();
        let inbound = form("/revoke", headers, fields);
        let answer = super::revocation_endpoint::respond(&self.grants, &inbound, &mut facts).await;
        reply(answer, facts)
    }

    /// Posts a form to the token endpoint, with header fields.
    pub(super) async fn token_with(&self, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Reply {
        let (answer, commit, mut facts) = self.prepare(headers, fields).await;
        let Some(commit) = commit else { return reply(answer, facts) };
        match commit.run(&self.grants, &mut facts).await {
            Ok(()) => reply(answer, facts),
            Err(error) => reply(super::token_endpoint::refused(&self.grants, &error, &mut facts), facts),
        }
    }

    /// A token request up to its record.
    pub(super) async fn prepare(
        &self,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> (Answer, Option<Commit>, Facts) {
        let inbound = form("/token", headers, fields);
        let mut facts = Facts::default();
        let (answer, commit) = super::token_endpoint::respond(&self.grants, &inbound, &mut facts).await;
        (answer, commit, facts)
    }

    /// A grant with `online_access` of a login that goes on, and under what that is stored.
    pub(super) async fn online(&self, client_id: &str) -> (Grant, Digest) {
        let login = Digest::of(&crate::random::handle());
        let now = self.clock.unix_seconds();
        let entry = Entry { value: b"{}".to_vec(), expires: now + 1_800, owner: None };
        self.grants.store.put(Kind::Session, login, entry).await.unwrap();
        let mut grant = grant(client_id);
        grant.scopes.retain(|scope| scope != "offline_access");
        grant.scopes.push("online_access".to_owned());
        grant.online = Some(Online { session: Some(login.to_hex()), ends: now + 28_800 });
        (grant, login)
    }

    /// Exchanges a code of `app`, as fhirclient does it.
    pub(super) async fn exchange(&self, code: &str) -> Reply {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", "https://app.example.org/cb"),
            ("client_id", "app"),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    /// Refreshes as `app`.
    pub(super) async fn refresh(&self, token: &str) -> Reply {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")]).await
    }

    /// An assertion of `client_id` for `audience`.
    pub(super) fn assertion(&self, client_id: &str, audience: &str) -> String {
        KEYS.1.assertion(client_id, audience, self.clock.unix_seconds())
    }
}

impl Reply {
    /// Status and `error`.
    pub(super) fn refusal(&self) -> (u16, &str) {
        (self.status.as_u16(), self.json["error"].as_str().unwrap_or_default())
    }

    /// A member that is a string.
    pub(super) fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {}", self.json))
    }

    /// A header field, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn form(path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Inbound {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut inbound = inbound("POST", path, headers, body.into());
    inbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    inbound
}

/// HTTP Basic credentials.
pub(super) fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
}

pub(super) fn inbound(method: &str, target: &str, headers: &[(&str, &str)], body: Bytes) -> Inbound {
    let mut inbound = Inbound::for_test(method, target);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        inbound.headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    inbound.body = body;
    inbound
}

pub(super) fn reply(answer: Answer, facts: Facts) -> Reply {
    let (parts, body) = answer.0.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
        body,
        credentials_failed: parts.extensions.get::<super::CredentialsFailed>().is_some(),
        facts,
    }
}

/// A grant of Dr. Smith to `client_id`: standalone, with patient and encounter.
pub(super) fn grant(client_id: &str) -> Grant {
    let scopes = "openid fhirUser offline_access launch/patient patient/*.rs";
    Grant {
        grant_id: new_grant_id(),
        client_id: client_id.to_owned(),
        user: User {
            iss: ISSUER.to_owned(),
            sub: "dr.smith".to_owned(),
            display_name: "Dr. Smith".to_owned(),
            fhir_user: Some("Practitioner/d1".to_owned()),
            roles: vec!["clinician".to_owned()],
            patients: Vec::new(),
        },
        scopes: scopes.split(' ').map(str::to_owned).collect(),
        patient: Some("p1".to_owned()),
        encounter: Some("e1".to_owned()),
        launch: None,
        auth_time: NOW - 60,
        granted_at: NOW,
        online: None,
        details: Details::Unasked,
    }
}

fn configuration() -> Config {
    let seconds = Duration::from_secs;
    let mut app = client("app", ClientAuthentication::None);
    app.launch_urls = vec!["https://app.example.org/launch?theme=dark".parse().unwrap()];
    let mut ehr = client("ehr", ClientAuthentication::PrivateKeyJwt { jwks: KEYS.1.jwks() });
    ehr.redirect_uris.clear();
    ehr.ehr = Some(config::Ehr {
        vouches_for_users: true,
        user_issuers: vec!["https://idp.example.org".to_owned(), ISSUER.to_owned()],
        user_types: vec!["Practitioner".to_owned()],
        roles: vec!["clinician".to_owned()],
        ..config::Ehr::default()
    });
    let plain = super::testing::config();
    Config {
        server: config::Server { origin: ISSUER.parse().unwrap(), ..plain.server },
        tokens: config::Tokens {
            access: seconds(300),
            refresh: seconds(90 * 86_400),
            session: seconds(28_800),
            ..config::Tokens::default()
        },
        clients: vec![
            app,
            client("server", ClientAuthentication::Secret(Digest::of("secret"))),
            client("other", ClientAuthentication::None),
            ehr,
            client("machine", ClientAuthentication::PrivateKeyJwt { jwks: KEYS.1.jwks() }),
        ],
        users: vec![config::User {
            username: "dr.smith".to_owned(),
            display_name: "Dr. Smith".to_owned(),
            password_hash: String::new(),
            fhir_user: Some("Practitioner/d1".to_owned()),
            roles: vec!["clinician".to_owned(), "researcher".to_owned()],
            patients: Vec::new(),
        }],
        ..plain
    }
}

#[derive(Debug)]
struct Nobody;

type Found<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, DirectoryError>> + Send + 'a>>;

impl PatientDirectory for Nobody {
    fn search<'a>(&'a self, _: &'a User, _: IpAddr, _: &'a str) -> Found<'a, Vec<PatientSummary>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn read<'a>(&'a self, _: &'a User, _: IpAddr, _: &'a str) -> Found<'a, Option<PatientSummary>> {
        Box::pin(async { Ok(None) })
    }
    fn encounters<'a>(&'a self, _: &'a User, _: IpAddr, _: &'a str) -> Found<'a, Vec<EncounterSummary>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn encounter<'a>(&'a self, _: &'a User, _: IpAddr, _: &'a str, _: &'a str) -> Found<'a, Option<EncounterSummary>> {
        Box::pin(async { Ok(None) })
    }
}
