#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use super::stored::{NEVER, RegisteredBy};
use super::*;
use crate::config::GrantType;
use crate::oauth::metadata::{AuthenticationMethod, ClientMetadata};
use crate::store::SqliteStore;

/// A client for tests: one redirect URI `https://<id>.example.org/cb`, both grant types.
pub(crate) fn client(client_id: &str, authentication: ClientAuthentication) -> Client {
    Client {
        client_id: client_id.to_owned(),
        client_name: client_id.to_owned(),
        authentication,
        redirect_uris: vec![format!("https://{client_id}.example.org/cb")],
        scope: "openid fhirUser offline_access launch launch/patient patient/*.rs".to_owned(),
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        ..Client::default()
    }
}

// R5
#[test]
fn origins_are_those_configured_or_those_of_a_public_clients_redirect_uris() {
    let mut custom = client("native", ClientAuthentication::None);
    custom.redirect_uris = vec!["org.example.app:/cb".to_owned()];
    let mut named = client("named", ClientAuthentication::Secret(Digest::of("s")));
    named.origins = vec!["https://spa.example.org".to_owned()];
    let clients = Clients::new(&[
        client("public", ClientAuthentication::None),
        client("server", ClientAuthentication::Secret(Digest::of("s"))),
        custom,
        named,
    ])
    .unwrap();
    assert!(clients.has_origin("https://public.example.org"));
    assert!(clients.has_origin("https://spa.example.org"));
    for other in ["https://server.example.org", "https://named.example.org", "null", "", "https://public.example.org/"]
    {
        assert!(!clients.has_origin(other), "{other}");
    }
}

/// Whether a client that registered `uris` may send people to `sent`.
fn may_return_to(authentication: ClientAuthentication, uris: &[&str], sent: &str) -> bool {
    let mut app = client("app", authentication);
    app.redirect_uris = uris.iter().map(|&uri| uri.to_owned()).collect();
    RegisteredClient::new(app, None).unwrap().has_redirect_uri(sent)
}

// A3, B1 2, E1
#[test]
fn a_redirect_uri_that_differs_in_anything_is_not_registered() {
    let registered = |sent: &str| may_return_to(ClientAuthentication::None, &["https://app.example.org/cb?x=1"], sent);
    assert!(registered("https://app.example.org/cb?x=1"));
    for other in [
        "",
        "https://app.example.org/cb",
        "https://app.example.org/cb?x=1&y=2",
        "https://app.example.org/cb?x=1#",
        "https://app.example.org/CB?x=1",
        "https://APP.example.org/cb?x=1",
        "https://app.example.org:443/cb?x=1",
        "https://app.example.org/cb/?x=1",
        "https://app.example.org/a/../cb?x=1",
        "https://user@app.example.org/cb?x=1",
        "http://app.example.org/cb?x=1",
        "https://app.example.org.evil.example/cb?x=1",
    ] {
        assert!(!registered(other), "{other}");
    }
}

// A3, B1 2
#[test]
fn only_a_public_clients_loopback_address_may_have_another_port() {
    let loopback = ["http://127.0.0.1/cb"];
    for sent in ["http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"] {
        assert!(may_return_to(ClientAuthentication::None, &loopback, sent), "{sent}");
    }
    let confidential = || ClientAuthentication::Secret(Digest::of("s"));
    assert!(may_return_to(confidential(), &loopback, "http://127.0.0.1/cb"));
    assert!(!may_return_to(confidential(), &loopback, "http://127.0.0.1:51004/cb"));
}

// R4
#[test]
fn two_clients_of_one_id_and_unusable_keys_are_all_reported() {
    let bad = ClientAuthentication::PrivateKeyJwt { jwks: "{}".to_owned() };
    let twice = client("twice", ClientAuthentication::None);
    let problems = Clients::new(&[twice.clone(), twice, client("bad", bad)]).unwrap_err();
    let ids: Vec<_> = problems.iter().map(|problem| (problem.client_id.as_str(), problem.jwks)).collect();
    assert_eq!(ids, [("twice", None), ("bad", Some(JwksProblem::NotAJwkSet))]);
}

const NOW: i64 = 1_900_000_000;

/// A public client of the store, as an administrator adds it.
pub(crate) fn stored(client_id: &str) -> StoredClient {
    StoredClient {
        client_id: client_id.to_owned(),
        registered_at: NOW,
        registered_by: RegisteredBy::Administrator,
        allowed_scope: "patient/*.rs".to_owned(),
        metadata: ClientMetadata {
            redirect_uris: vec![format!("https://{client_id}.example.org/cb")],
            token_endpoint_auth_method: AuthenticationMethod::None,
            grant_types: vec!["authorization_code".to_owned()],
            scope: "patient/*.rs".to_owned(),
            ..ClientMetadata::default()
        },
        either_secret_method: false,
        client_secret: None,
        registration_access_token: None,
        approved: false,
        roles: Vec::new(),
    }
}

/// Two processes over one store, each with the configured client `configured`.
struct Processes {
    store: SqliteStore,
    here: Clients,
    elsewhere: Clients,
    _directory: tempfile::TempDir,
}

impl Processes {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
        let clients = || Clients::new(&[client("configured", ClientAuthentication::None)]).unwrap();
        let processes = Self { store, here: clients(), elsewhere: clients(), _directory: directory };
        processes.both_refresh(NOW).await;
        processes
    }

    async fn both_refresh(&self, now: i64) {
        self.here.refresh(&self.store, now).await.unwrap();
        self.elsewhere.refresh(&self.store, now).await.unwrap();
    }
}

// R4, R5
#[tokio::test]
async fn a_client_of_the_store_is_known_here_at_once_and_elsewhere_after_a_refresh() {
    let Processes { store, here, elsewhere, .. } = Processes::new().await;
    assert!(registry::add(&store, &stored("new"), NEVER, NOW).await.unwrap());
    assert!(!registry::add(&store, &stored("new"), NEVER, NOW).await.unwrap(), "an id is given once");
    here.refresh(&store, NOW).await.unwrap();
    assert_eq!(here.find("new").unwrap().config.redirect_uris, ["https://new.example.org/cb"]);
    assert!(here.has_origin("https://new.example.org"));
    assert_eq!(here.of_the_store(), (1, 0));
    assert!(elsewhere.find("new").is_none());
    elsewhere.refresh(&store, NOW + 1).await.unwrap();
    assert!(elsewhere.is_registered("new"));
}

// F7, B1 1
#[tokio::test]
async fn a_client_that_is_disabled_or_removed_is_not_known_and_one_that_is_enabled_is() {
    let processes = Processes::new().await;
    let store = &processes.store;
    registry::add(store, &stored("new"), NEVER, NOW).await.unwrap();
    for id in ["new", "configured"] {
        let origin = format!("https://{id}.example.org");
        processes.both_refresh(NOW).await;
        assert!(processes.here.is_registered(id) && processes.here.has_origin(&origin), "{id}");
        assert!(registry::disable(store, id, NOW).await.unwrap());
        assert!(!registry::disable(store, id, NOW).await.unwrap(), "it was already");
        assert_eq!(registry::disabled(store, NOW).await.unwrap(), [id]);
        processes.both_refresh(NOW).await;
        for clients in [&processes.here, &processes.elsewhere] {
            assert!(clients.find(id).is_none() && !clients.has_origin(&origin), "{id}");
        }
        assert!(registry::enable(store, id).await.unwrap());
        processes.both_refresh(NOW).await;
        assert!(processes.elsewhere.is_registered(id), "{id}");
    }
    registry::disable(store, "new", NOW).await.unwrap();
    assert!(registry::remove(store, "new").await.unwrap());
    assert!(!registry::remove(store, "new").await.unwrap());
    processes.both_refresh(NOW).await;
    assert!(!processes.here.is_registered("new"));
    assert!(registry::disabled(store, NOW).await.unwrap().is_empty(), "nothing of it is left");
}

#[tokio::test]
async fn a_client_that_was_changed_is_the_changed_one_and_of_two_changes_one_counts() {
    let processes = Processes::new().await;
    let store = &processes.store;
    registry::add(store, &stored("new"), NEVER, NOW).await.unwrap();
    processes.both_refresh(NOW).await;
    let found = registry::find(store, "new", NOW).await.unwrap().unwrap();
    let mut changed = found.client.clone();
    changed.metadata.redirect_uris = vec!["https://elsewhere.example.org/cb".to_owned()];
    assert!(registry::replace(store, &found, &changed, NEVER, NOW).await.unwrap());
    assert!(!registry::replace(store, &found, &found.client, NEVER, NOW).await.unwrap(), "it was changed since");
    processes.both_refresh(NOW).await;
    assert_eq!(processes.here.find("new").unwrap().config.redirect_uris, changed.metadata.redirect_uris);
    assert!(!processes.here.has_origin("https://new.example.org"));
    let found = registry::find(store, "new", NOW).await.unwrap().unwrap();
    registry::remove(store, "new").await.unwrap();
    assert!(!registry::replace(store, &found, &changed, NEVER, NOW).await.unwrap(), "what was removed stays removed");
}

// R4
#[tokio::test]
async fn the_configuration_wins_over_the_store_and_a_record_that_cannot_be_read_is_no_client() {
    let processes = Processes::new().await;
    let store = &processes.store;
    let mut impostor = stored("configured");
    impostor.metadata.redirect_uris = vec!["https://evil.example/cb".to_owned()];
    registry::add(store, &impostor, NEVER, NOW).await.unwrap();
    let mut keyless = stored("keyless");
    keyless.metadata.token_endpoint_auth_method = AuthenticationMethod::PrivateKeyJwt;
    registry::add(store, &keyless, NEVER, NOW).await.unwrap();
    let mut secretless = stored("secretless");
    secretless.metadata.token_endpoint_auth_method = AuthenticationMethod::ClientSecretBasic;
    registry::add(store, &secretless, NEVER, NOW).await.unwrap();
    let misplaced = Entry { value: serde_json::to_vec(&stored("b")).unwrap(), expires: NEVER, owner: None };
    store.put(Kind::Client, registry::key("a"), misplaced).await.unwrap();
    let broken = Entry { value: b"{}".to_vec(), expires: NEVER, owner: None };
    store.put(Kind::Client, registry::key("broken"), broken).await.unwrap();
    registry::add(store, &stored("good"), NEVER, NOW).await.unwrap();
    processes.both_refresh(NOW).await;
    let here = &processes.here;
    assert_eq!(here.find("configured").unwrap().config.redirect_uris, ["https://configured.example.org/cb"]);
    assert!(!here.has_origin("https://evil.example"));
    for none in ["keyless", "secretless", "a", "b", "broken"] {
        assert!(!here.is_registered(none), "{none}");
    }
    assert!(here.is_registered("good"));
    assert_eq!(here.of_the_store(), (1, 0));
}

#[tokio::test]
async fn a_client_that_expired_is_forgotten_though_nobody_says_so() {
    let processes = Processes::new().await;
    let store = &processes.store;
    let passing = StoredClient { registered_by: RegisteredBy::Anybody, ..stored("passing") };
    registry::add(store, &passing, NOW + 10, NOW).await.unwrap();
    processes.both_refresh(NOW).await;
    assert_eq!(processes.here.of_the_store(), (1, 1));
    assert!(processes.here.find("passing").unwrap().is_unverified());
    processes.both_refresh(NOW + UNASKED).await;
    assert!(!processes.here.is_registered("passing"));
}

#[tokio::test]
async fn a_client_of_the_store_that_is_called_like_a_user_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    for client_id in ["amy", "growth"] {
        assert!(registry::add(&store, &stored(client_id), NEVER, NOW).await.unwrap());
    }
    let clients = Clients::default().beside(["amy".to_owned()]);
    clients.refresh(&store, NOW).await.unwrap();
    assert!(clients.find("amy").is_none());
    assert!(clients.find("growth").is_some());
    assert!(!clients.may_be_called("amy") && clients.may_be_called("bob"));
}
