//! What the tests of the grant path share: a configuration, a directory of patients, and a browser that keeps cookies.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::{Argon2, Params, PasswordHasher};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Response};

use super::back_channel_testing::KEYS;
use super::facts::Facts;
use super::records::{Code, LaunchContext, User};
use super::revocations::Revocations;
use super::{
    Answer, DirectoryError, EncounterSummary, Grants, PatientDirectory, PatientSummary, authorization_endpoint,
    consent, continuation, login, patient_choice, provider_login,
};
use crate::admit::{FailedCredentials, HourlyBudget};
use crate::clients::Clients;
use crate::clients::key_sets::KeySets;
use crate::clock::Clock;
use crate::config::{self, Client, ClientAuthentication, Config, GrantType};
use crate::federation::Providers;
use crate::listen::Inbound;
use crate::outbound::Outbound;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, SqliteStore};

/// The password of every user here.
pub(super) const PASSWORD: &str = "correct horse battery staple";

/// Cheap parameters: the tests are about what happens around the hash.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let argon2 = Argon2::from(Params::new(8, 1, 1, None).unwrap());
    argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"saltsaltsaltsalt").unwrap().to_string()
});

/// Clients `app` (public), `approved`, `native`; users `amy` (clinician), `pat` (a patient), `mum` (acts for two), `home` (acts for
/// 25), `nil`.
pub(super) fn config() -> Config {
    let seconds = Duration::from_secs;
    Config {
        server: config::Server {
            listen: ([127, 0, 0, 1], 0).into(),
            admin: None,
            origin: "https://gw.example.org".parse().unwrap(),
            danger_plain_http: false,
            drain_delay: seconds(0),
            drain_grace: seconds(1),
        },
        tls: None,
        limits: config::Limits {
            connections: 10,
            connections_per_address: 10,
            header_timeout: seconds(1),
            body_timeout: seconds(1),
            header_bytes: 1 << 14,
            body_bytes: 1 << 16,
            failed_credentials_per_minute: 10,
        },
        fhir: config::Fhir {
            path: "/fhir".to_owned(),
            upstream: "http://127.0.0.1:1/fhir".parse().unwrap(),
            upstream_ca: None,
            upstream_authorization: None,
            aliases: Vec::new(),
            connect_timeout: seconds(1),
            timeout: seconds(1),
            concurrency: 1,
            response_bytes: 1 << 20,
            max_count: 100,
            max_entries: 100,
            software: crate::fhir::software::Named::Other,
            search_by: crate::fhir::way::SearchBy::Primary,
            narrow_by: Vec::new(),
            operations: Vec::new(),
        },
        state_directory: "/nonexistent".into(),
        state_shared: false,
        audit: config::Audit {
            directory: "/nonexistent".into(),
            name: "localhost".to_owned(),
            key_file: None,
            on_failure: config::OnAuditFailure::Deny,
        },
        policies: None,
        outbound_ca: None,
        tokens: config::Tokens {
            access: seconds(3600),
            refresh: seconds(1 << 20),
            session: seconds(8 * 3600),
            ..config::Tokens::default()
        },
        registration: None,
        brands: None,
        clients: vec![
            app(),
            Client { client_id: "approved".to_owned(), approved: true, ..app() },
            Client { client_id: "native".to_owned(), redirect_uris: vec!["com.example.app:/cb".to_owned()], ..app() },
            Client { client_id: "ehr".to_owned(), ehr: Some(ehr()), ..app() },
        ],
        users: vec![
            user("amy", Some("Practitioner/amy"), &[]),
            user("pat", Some("Patient/p1"), &["p1"]),
            user("mum", Some("RelatedPerson/m1"), &["p1", "p2"]),
            config::User { patients: residents(), ..user("home", Some("RelatedPerson/h1"), &[]) },
            user("nil", None, &[]),
        ],
        providers: Vec::new(),
    }
}

/// Logs clinicians in, of its own issuer and of ours.
pub(super) fn ehr() -> config::Ehr {
    config::Ehr {
        vouches_for_users: true,
        user_issuers: vec!["https://ehr.example.org".to_owned(), "https://gw.example.org".to_owned()],
        user_types: vec!["Practitioner".to_owned()],
        roles: vec!["clinician".to_owned()],
        ..config::Ehr::default()
    }
}

/// The public client `app`.
pub(super) fn app() -> Client {
    Client {
        client_id: "app".to_owned(),
        client_name: "Growth <Chart>".to_owned(),
        authentication: ClientAuthentication::None,
        redirect_uris: vec!["https://app.example.org/cb".to_owned()],
        launch_urls: vec!["https://app.example.org/launch".parse().unwrap()],
        scope: "openid fhirUser offline_access launch/patient launch/encounter patient/*.cruds user/*.rs".to_owned(),
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        ..Client::default()
    }
}

fn user(username: &str, fhir_user: Option<&str>, patients: &[&str]) -> config::User {
    config::User {
        username: username.to_owned(),
        display_name: format!("Display of {username}"),
        password_hash: HASH.clone(),
        fhir_user: fhir_user.map(str::to_owned),
        roles: Vec::new(),
        patients: patients.iter().map(|id| (*id).to_owned()).collect(),
    }
}

/// The patients of the user `home`.
pub(super) fn residents() -> Vec<String> {
    (1..=25).map(|number| format!("r{number}")).collect()
}

/// Patients p1 to p3, and those of `home`; p2 has no encounters; `nil` sees nobody.
#[derive(Debug, Default)]
pub(super) struct FakeDirectory {
    /// Whether every call fails.
    pub(super) down: AtomicBool,
}

type Found<'a, T> = Pin<Box<dyn Future<Output = Result<T, DirectoryError>> + Send + 'a>>;

impl FakeDirectory {
    fn visible(&self, user: &User) -> Result<Vec<PatientSummary>, DirectoryError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(DirectoryError::Unavailable);
        }
        let patient = |id: &str, name: &str| PatientSummary {
            id: id.to_owned(),
            name: name.to_owned(),
            birth_date: Some("1974-05-03".to_owned()),
            gender: Some("female".to_owned()),
            identifier: Some(format!("MRN-{id}")),
        };
        if user.sub == "home" {
            return Ok(residents().iter().map(|id| patient(id, "Resident")).collect());
        }
        let all = vec![patient("p1", "Ada \"A\" <Lovelace>"), patient("p2", "Bea Bloom"), patient("p3", "Cy Cole")];
        Ok(if user.sub == "nil" { Vec::new() } else { all })
    }
}

impl PatientDirectory for FakeDirectory {
    fn search<'a>(&'a self, user: &'a User, _: IpAddr, query: &'a str) -> Found<'a, Vec<PatientSummary>> {
        let found = self.visible(user).map(|all| all.into_iter().filter(|p| p.name.contains(query)).collect());
        Box::pin(async move { found })
    }

    fn read<'a>(&'a self, user: &'a User, _: IpAddr, id: &'a str) -> Found<'a, Option<PatientSummary>> {
        let found = self.visible(user).map(|all| all.into_iter().find(|p| p.id == id));
        Box::pin(async move { found })
    }

    fn encounters<'a>(&'a self, user: &'a User, _: IpAddr, patient: &'a str) -> Found<'a, Vec<EncounterSummary>> {
        let encounter = |id: &str| EncounterSummary {
            id: id.to_owned(),
            description: "Check-up".to_owned(),
            start: Some("2026-11-14T09:00:00Z".to_owned()),
        };
        let found = self.visible(user).map(|_| match patient {
            "p1" => vec![encounter("e1"), encounter("e2")],
            _ => Vec::new(),
        });
        Box::pin(async move { found })
    }

    fn encounter<'a>(
        &'a self,
        user: &'a User,
        from: IpAddr,
        patient: &'a str,
        id: &'a str,
    ) -> Found<'a, Option<EncounterSummary>> {
        Box::pin(async move {
            let all = self.encounters(user, from, patient).await?;
            Ok(all.into_iter().find(|encounter| encounter.id == id))
        })
    }
}

/// A gateway's grant path and one browser in front of it.
#[derive(Debug)]
pub(super) struct Browser {
    pub(super) grants: Grants,
    pub(super) directory: Arc<FakeDirectory>,
    pub(super) jar: BTreeMap<String, String>,
    /// What was noted of the last exchange.
    pub(super) facts: Facts,
    state_directory: Arc<tempfile::TempDir>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) response: Response<Bytes>,
    pub(super) text: String,
}

impl Browser {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: Config) -> Self {
        let state = tempfile::tempdir().unwrap();
        let directory = Arc::new(FakeDirectory::default());
        let clock = Clock::fixed(1_800_000_000);
        let clients = Arc::new(Clients::new(&config.clients).unwrap());
        let providers = Arc::new(Providers::new(&config, &clock).unwrap());
        let grants = Grants {
            config: Arc::new(config),
            clock: clock.clone(),
            store: Arc::new(SqliteStore::open(state.path()).unwrap()),
            patients: Arc::<FakeDirectory>::clone(&directory),
            login: Arc::default(),
            providers,
            keys: Arc::clone(&KEYS.0),
            clients,
            revocations: Arc::new(Revocations::new(clock.clone())),
            failures: Arc::new(FailedCredentials::new(u32::MAX)),
            registrations: Arc::new(HourlyBudget::new(1_000)),
            under_way: Arc::default(),
            outbound: Outbound::new(None).unwrap(),
            key_sets: Arc::new(KeySets::new(Outbound::new(None).unwrap())),
        };
        Self { grants, directory, jar: BTreeMap::new(), facts: Facts::default(), state_directory: Arc::new(state) }
    }

    /// Another browser in front of the same gateway.
    pub(super) fn stranger(&self) -> Self {
        Self {
            grants: self.grants.clone(),
            directory: Arc::clone(&self.directory),
            jar: BTreeMap::new(),
            facts: Facts::default(),
            state_directory: Arc::clone(&self.state_directory),
        }
    }

    pub(super) async fn get(&mut self, target: &str) -> Page {
        let inbound = self.with_cookies(Inbound::for_test("GET", target));
        self.send(inbound).await
    }

    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let inbound = self.with_cookies(form(path, fields));
        self.send(inbound).await
    }

    /// As a browser posts a form from another site: without `SameSite=Lax` cookies.
    pub(super) async fn post_from_elsewhere(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(form(path, fields)).await
    }

    pub(super) async fn send(&mut self, inbound: Inbound) -> Page {
        let mut facts = Facts::default();
        let Answer(response) = match inbound.path.as_str() {
            "/authorize" => authorization_endpoint::respond(&self.grants, &inbound, &mut facts).await,
            "/authorize/continue" => continuation::respond(&self.grants, &inbound, &mut facts).await,
            "/login/provider" => provider_login::start(&self.grants, &inbound, &mut facts).await,
            path if path.starts_with("/login/callback/") => {
                provider_login::callback(&self.grants, &inbound, &mut facts).await
            }
            "/login" => login::respond(&self.grants, &inbound, &mut facts).await,
            "/patient" => patient_choice::respond(&self.grants, &inbound, &mut facts).await,
            "/consent" => consent::respond(&self.grants, &inbound, &mut facts).await,
            "/manage" => super::management::respond(&self.grants, &inbound, &mut facts).await,
            "/manage/login" => super::management::log_in(&self.grants, &inbound, &mut facts).await,
            "/manage/provider" => super::management::log_in_with_provider(&self.grants, &inbound, &mut facts).await,
            path if path.starts_with("/logout/callback/") => {
                super::logout::at_provider::callback(&self.grants, &inbound, &mut facts).await
            }
            "/logout" => super::logout::respond(&self.grants, &inbound, &mut facts).await,
            other => super::pages::stylesheet(other).unwrap(),
        };
        let mut response = response;
        super::framing::permit(&self.grants, &facts, &mut response);
        self.facts = facts;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        Page { status: response.status().as_u16(), response, text }
    }

    /// Follows redirects while they stay here.
    pub(super) async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..5 {
            match page.location() {
                Some(target) if target.starts_with('/') => page = self.get(&target).await,
                _ => break,
            }
        }
        page
    }

    /// Opens `/authorize` with `parameters` and follows.
    pub(super) async fn authorize(&mut self, parameters: &[(&str, &str)]) -> Page {
        let target = format!("/authorize?{}", encoded(parameters));
        let page = self.get(&target).await;
        self.follow(page).await
    }

    /// Sends the login form of `page` and follows.
    pub(super) async fn log_in(&mut self, page: &Page, username: &str) -> Page {
        let transaction = page.field("transaction");
        let fields = [("transaction", transaction.as_str()), ("username", username), ("password", PASSWORD)];
        let page = self.post("/login", &fields).await;
        self.follow(page).await
    }

    /// Sends the picker of `page` and follows.
    pub(super) async fn pick(&mut self, page: &Page, patient: &str) -> Page {
        let transaction = page.field("transaction");
        let page = self.post("/patient", &[("transaction", transaction.as_str()), ("patient", patient)]).await;
        self.follow(page).await
    }

    /// Sends the consent form of `page` with these boxes ticked.
    pub(super) async fn allow(&mut self, page: &Page, scopes: &[&str]) -> Page {
        let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
        let mut fields = vec![("transaction", transaction.as_str()), ("csrf", csrf.as_str()), ("decision", "allow")];
        fields.extend(scopes.iter().map(|scope| ("scope", *scope)));
        self.post("/consent", &fields).await
    }

    /// A launch handle as the back channel stores it.
    pub(super) async fn launch(&self, context: LaunchContext) -> String {
        let handle = random::handle();
        let now = self.grants.clock.unix_seconds();
        let context = LaunchContext { created: now, ..context };
        let entry = Entry { value: serde_json::to_vec(&context).unwrap(), expires: now + 1000, owner: None };
        self.grants.store.put(Kind::Launch, Digest::of(&handle), entry).await.unwrap();
        handle
    }

    /// What the code in the redirect stands for.
    pub(super) async fn code(&self, page: &Page) -> Code {
        let code = page.returned("code").unwrap();
        let now = self.grants.clock.unix_seconds();
        let entry = self.grants.store.take_once(Kind::Code, Digest::of(&code), now).await.unwrap().unwrap();
        serde_json::from_slice(&entry.value).unwrap()
    }

    fn with_cookies(&self, mut inbound: Inbound) -> Inbound {
        // One field per cookie, as HTTP/2 clients send them.
        for (name, value) in &self.jar {
            inbound.headers.append(COOKIE, HeaderValue::from_str(&format!("{name}={value}")).unwrap());
        }
        inbound
    }
}

impl Page {
    pub(super) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(super) fn location(&self) -> Option<String> {
        self.response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned())
    }

    /// A parameter of the redirect to the app.
    pub(super) fn returned(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(&self.location()?).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Whether a code goes back to the app.
    pub(super) fn returned_code(&self) -> bool {
        self.location().is_some_and(|location| location.contains("code="))
    }

    /// Values of the inputs called `name`.
    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        let marker = format!("name=\"{name}\" value=\"");
        self.text.split(&marker).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    }

    pub(super) fn field(&self, name: &str) -> String {
        self.fields(name).into_iter().next().unwrap()
    }

    /// The error that the app is told, or the status of a page.
    pub(super) fn refusal(&self) -> String {
        assert_eq!(self.returned("code"), None);
        match self.returned("error") {
            Some(error) => error,
            None => self.status.to_string(),
        }
    }
}

/// A posted form.
pub(super) fn form(path: &str, fields: &[(&str, &str)]) -> Inbound {
    let mut inbound = Inbound::for_test("POST", path);
    inbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    inbound.body = encoded(fields).into();
    inbound
}

/// `a=b&c=d`
pub(super) fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// A request of `app` that nothing is wrong with. The challenge is that of RFC 7636 appendix B.
pub(super) fn request(scope: &str) -> Vec<(&str, &str)> {
    vec![
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", "https://app.example.org/cb"),
        ("scope", scope),
        ("state", "st4te"),
        ("aud", "https://gw.example.org/fhir"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ]
}

/// The same with some parameters replaced; `None` leaves one out.
pub(super) fn changed<'a>(scope: &'a str, changes: &[(&'a str, Option<&'a str>)]) -> Vec<(&'a str, &'a str)> {
    let mut parameters = request(scope);
    for (name, value) in changes {
        parameters.retain(|(known, _)| known != name);
        parameters.extend(value.map(|value| (*name, value)));
    }
    parameters
}
