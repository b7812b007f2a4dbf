#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::refresh_token::REUSE_GRACE;
use super::*;
use crate::clients::registry;
use crate::grant::back_channel_testing::{BASE, ISSUER, NOW, Reply, Site, VERIFIER, grant, inbound, reply};
use crate::grant::grants::revoke;
use crate::grant::records::{LaunchContext, User};
use crate::jose::AccessTokenClaims;
use crate::secret::Digest;
use crate::store::{Entry, Kind, Pending, Placed, Spent, Store};

mod commit;
mod dpop;
mod refresh;
mod token_exchange;

fn claims(site: &Site, reply: &Reply) -> AccessTokenClaims {
    site.grants.keys.verify_access_token(reply.text("access_token"), ISSUER, BASE, &site.clock).unwrap()
}

fn payload(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

async fn granted(site: &Site) -> Reply {
    let code = site.code(grant("app")).await;
    let reply = site.exchange(&code).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
    reply
}

// T11, T4, T5, T7, T8
#[tokio::test]
async fn a_code_gives_a_bearer_token_with_scope_lifetime_and_context() {
    let site = Site::new();
    let reply = granted(&site).await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    assert_eq!(reply.text("token_type"), "Bearer");
    assert_eq!(reply.json["expires_in"], json!(300));
    assert_eq!(reply.text("scope"), "openid fhirUser offline_access launch/patient patient/*.rs");
    assert_eq!((reply.text("patient"), reply.text("encounter")), ("p1", "e1"));
    assert_eq!(reply.text("refresh_token").len(), 43);
    for absent in ["need_patient_banner", "smart_style_url", "intent", "tenant", "fhirContext"] {
        assert!(reply.json.get(absent).is_none(), "{absent}");
    }
    let claims = claims(&site, &reply);
    assert_eq!((claims.sub.as_str(), claims.client_id.as_str()), ("dr.smith", "app"));
    assert_eq!((claims.patient.as_deref(), claims.encounter.as_deref()), (Some("p1"), Some("e1")));
    assert_eq!((claims.fhir_user.as_deref(), claims.exp), (Some("Practitioner/d1"), NOW + 300));
    assert_eq!(claims.user(), (ISSUER, "dr.smith"));
    assert_eq!(reply.facts.client_id.as_deref(), Some("app"));
    assert_eq!(reply.facts.grant_id.as_deref(), Some(claims.gid.as_str()));
    assert_eq!(reply.facts.reason, None);
}

// T7: an hour at most, whatever is configured
#[tokio::test]
async fn an_access_token_lives_an_hour_at_most() {
    let site = Site::with(|config| config.tokens.access = std::time::Duration::from_secs(86_400));
    assert_eq!(granted(&site).await.json["expires_in"], json!(3_600));
}

// O1, O2, O5, O6
#[tokio::test]
async fn openid_gives_an_rs256_id_token_with_nonce_at_hash_and_fhir_user() {
    let site = Site::new();
    let reply = granted(&site).await;
    let id_token = reply.text("id_token");
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&site.grants.keys.jwks()).unwrap();
    let header = jsonwebtoken::decode_header(id_token).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (jsonwebtoken::Algorithm::RS256, Some("JWT")));
    let key = jsonwebtoken::DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&["app"]);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false;
    let claims = jsonwebtoken::decode::<Value>(id_token, &key, &validation).unwrap().claims;
    assert_eq!(claims["sub"], "dr.smith");
    assert_eq!(claims["nonce"], "n-0S6_WzA2Mj");
    assert_eq!(claims["auth_time"], NOW - 60);
    assert_eq!(claims["at_hash"], crate::jose::at_hash(reply.text("access_token")));
    assert_eq!(claims["fhirUser"], format!("{BASE}/Practitioner/d1"));
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(NOW), &json!(NOW + 300)));
}

// O1, O6, T11
#[tokio::test]
async fn without_openid_fhir_user_or_offline_access_there_is_none_of_them() {
    let site = Site::new();
    let mut without = grant("app");
    without.scopes = vec!["launch/patient".to_owned(), "patient/*.rs".to_owned()];
    let reply = site.exchange(&site.code(without).await).await;
    assert!(reply.json.get("id_token").is_none());
    assert!(reply.json.get("refresh_token").is_none());
    let mut openid = grant("app");
    openid.scopes = vec!["openid".to_owned()];
    let reply = site.exchange(&site.code(openid).await).await;
    assert!(payload(reply.text("id_token")).get("fhirUser").is_none());
    let mut site = site;
    site.configure(|config| config.clients[0].grant_types = vec![GrantType::AuthorizationCode]);
    assert!(granted(&site).await.json.get("refresh_token").is_none(), "not registered for refresh_token");
}

/// A grant of a user whom the EHR logged in.
fn vouched() -> Grant {
    let grant = grant("app");
    let user = User { iss: "https://idp.example.org".to_owned(), ..grant.user.clone() };
    let launch = LaunchContext { user: Some(user.clone()), vouches: true, ..ehr_launch() };
    Grant { user, launch: Some(launch), ..grant }
}

fn ehr_launch() -> LaunchContext {
    LaunchContext {
        client_id: "app".to_owned(),
        ehr_client_id: "ehr".to_owned(),
        fhir_context: vec![json!({"reference": "ImagingStudy/123"}), json!({"identifier": {"value": "7"}})],
        intent: Some("reconcile-medications".to_owned()),
        need_patient_banner: Some(false),
        smart_style_url: Some("https://ehr.example.org/style/v1.json".to_owned()),
        tenant: Some("ward 7".to_owned()),
        ..LaunchContext::default()
    }
}

// T8, T9, F3
#[tokio::test]
async fn the_context_of_an_ehr_launch_comes_with_the_code_and_with_each_refresh() {
    let site = Site::new();
    let launched = Grant { launch: Some(ehr_launch()), ..grant("app") };
    let first = site.exchange(&site.code(launched).await).await;
    let second = site.refresh(first.text("refresh_token")).await;
    for reply in [&first, &second] {
        assert_eq!(reply.json["need_patient_banner"], json!(false));
        assert_eq!(reply.text("intent"), "reconcile-medications");
        assert_eq!(reply.text("smart_style_url"), "https://ehr.example.org/style/v1.json");
        assert_eq!(reply.text("tenant"), "ward 7");
        assert_eq!(
            reply.json["fhirContext"],
            json!([{"reference": "ImagingStudy/123"}, {"identifier": {"value": "7"}}])
        );
        assert_eq!((reply.text("patient"), reply.text("encounter")), ("p1", "e1"));
    }
}

// O5
#[tokio::test]
async fn a_user_of_another_issuer_gets_a_subject_that_is_nobody_elses() {
    let site = Site::new();
    let foreign = vouched();
    let reply = site.exchange(&site.code(foreign).await).await;
    let claims = claims(&site, &reply);
    assert_eq!(claims.sub.len(), 64, "a digest, not `dr.smith`");
    assert_eq!(claims.user(), ("https://idp.example.org", "dr.smith"));
    assert_eq!(payload(reply.text("id_token"))["sub"], claims.sub.as_str());
}

// T5, B2 20, T1, E20
#[tokio::test]
async fn get_other_content_types_and_repeated_parameters_are_refused() {
    let site = Site::new();
    for (method, status) in [("GET", 405), ("PUT", 405), ("OPTIONS", 405), ("POST", 400)] {
        let mut facts = Facts::default();
        let json = inbound(method, "/token", &[("content-type", "application/json")], "{}".into());
        let reply = reply(respond(&site.grants, &json, &mut facts).await.0, facts);
        assert_eq!(reply.refusal(), (status, "invalid_request"));
        assert_eq!(reply.header("allow"), if status == 405 { "POST" } else { "" });
        assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
        assert!(!reply.credentials_failed);
    }
    let twice = site.token(&[("grant_type", "refresh_token"), ("grant_type", "refresh_token")]).await;
    assert_eq!(twice.refusal(), (400, "invalid_request"));
}

// B2 21, B5
#[tokio::test]
async fn an_unknown_grant_type_is_refused_with_400_before_the_client_is_looked_at() {
    let site = Site::new();
    assert_eq!(site.token(&[("client_id", "app")]).await.refusal(), (400, "invalid_request"));
    for grant_type in ["not_a_grant_type", "password", "implicit", "Client_Credentials"] {
        for client in ["app", "unknown"] {
            let reply = site.token(&[("grant_type", grant_type), ("client_id", client)]).await;
            assert_eq!(reply.refusal(), (400, "unsupported_grant_type"));
            assert!(reply.json["error_description"].is_string());
        }
    }
}

// B2 22
#[tokio::test]
async fn a_grant_type_the_client_is_not_registered_for_is_unauthorized_client() {
    let mut site = Site::new();
    site.configure(|config| config.clients[0].grant_types = vec![GrantType::RefreshToken]);
    let code = site.code(grant("app")).await;
    assert_eq!(site.exchange(&code).await.refusal(), (400, "unauthorized_client"));
    site.configure(|config| config.clients[0].grant_types = vec![GrantType::AuthorizationCode]);
    assert_eq!(site.refresh("anything").await.refusal(), (400, "unauthorized_client"));
}

// B2 41: whatever it was registered for
#[tokio::test]
async fn a_client_without_a_key_gets_no_token_for_itself() {
    let site = Site::with(|config| {
        for client in &mut config.clients {
            client.grant_types.push(GrantType::ClientCredentials);
            client.scope = "system/*.rs".to_owned();
        }
    });
    let fields = [("grant_type", "client_credentials"), ("scope", "system/*.rs")];
    let with_secret = site.token_with(&[("authorization", &basic("server", "secret"))], &fields).await;
    assert_eq!(with_secret.refusal(), (400, "unauthorized_client"));
    let public = site.token(&[fields[0], fields[1], ("client_id", "app")]).await;
    assert_eq!(public.refusal(), (401, "invalid_client"));
}

// B2 23, 24, A10
#[tokio::test]
async fn a_code_that_is_garbage_or_60_seconds_old_is_invalid_grant() {
    let site = Site::new();
    let garbage = site.exchange("BAD_CODE").await;
    assert_eq!(garbage.refusal(), (400, "invalid_grant"));
    assert!(garbage.credentials_failed);
    let code = site.code(grant("app")).await;
    site.clock.advance(60);
    assert_eq!(site.exchange(&code).await.refusal(), (400, "invalid_grant"));
}

// B2 24, T3, E3
#[tokio::test]
async fn a_code_used_twice_revokes_what_its_first_use_gave() {
    let site = Site::new();
    let code = site.code(grant("app")).await;
    let first = site.exchange(&code).await;
    let grant_id = claims(&site, &first).gid;
    assert!(!site.grants.revocations.is_revoked(&grant_id));
    let second = site.exchange(&code).await;
    assert_eq!(second.refusal(), (400, "invalid_grant"));
    assert_eq!(second.facts.reason, Some("code_replayed"));
    assert!(site.grants.revocations.is_revoked(&grant_id));
    assert_eq!(site.refresh(first.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
}

// E3: the same millisecond
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_concurrent_uses_of_one_code_none_is_worth_anything_afterwards() {
    let site = Arc::new(Site::new());
    let given = grant("app");
    let grant_id = given.grant_id.clone();
    let code = site.code(given).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (site, code) = (Arc::clone(&site), code.clone());
        tasks.spawn(async move { site.exchange(&code).await });
    }
    let replies = tasks.join_all().await;
    let accepted: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert!(accepted.len() <= 1, "{}", accepted.len());
    assert!(replies.iter().all(|reply| reply.status == 200 || reply.refusal() == (400, "invalid_grant")));
    assert!(site.grants.revocations.is_revoked(&grant_id));
    for reply in accepted {
        assert_eq!(site.refresh(reply.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
    }
    let left = site.grants.store.list(Kind::RefreshToken, None, NOW, 10).await.unwrap();
    assert!(left.is_empty(), "a refresh token outlived the revocation");
    assert!(site.grants.store.list(Kind::Grant, None, NOW, 10).await.unwrap().is_empty());
}

// E3: the replay comes between the spending of the code and the writing of what it gives
#[tokio::test]
async fn a_replay_before_the_first_use_is_finished_leaves_nothing_of_it() {
    let mut site = Site::new();
    let given = grant("app");
    let (grant_id, code) = (given.grant_id.clone(), site.code(given).await);
    let inner = Arc::clone(&site.grants.store);
    let replayed = Grants { store: Arc::clone(&inner), ..site.grants.clone() };
    let revoked = grant_id.clone();
    site.grants.store = Arc::new(Interrupted {
        inner,
        before_grant: Box::new(move || {
            let (grants, grant_id) = (replayed.clone(), revoked.clone());
            Box::pin(async move { revoke(&grants, &grant_id).await })
        }),
    });
    assert_eq!(site.exchange(&code).await.refusal(), (400, "invalid_grant"));
    assert!(site.grants.revocations.is_revoked(&grant_id));
    for kind in [Kind::RefreshToken, Kind::Grant] {
        assert!(site.grants.store.list(kind, None, NOW, 10).await.unwrap().is_empty());
    }
}

// T3, F7, E3: revoking writes the mark first and removes second; the code is used in between
#[tokio::test]
async fn a_code_whose_grant_is_being_revoked_gives_nothing() {
    let site = Site::new();
    let given = grant("app");
    let (grant_id, code) = (given.grant_id.clone(), site.code(given).await);
    let mark = Entry { value: serde_json::to_vec(&grant_id).unwrap(), expires: NOW + 1_000, owner: None };
    site.grants.store.put(Kind::RevokedGrant, Digest::of(&grant_id), mark).await.unwrap();
    assert_eq!(site.exchange(&code).await.refusal(), (400, "invalid_grant"));
    for kind in [Kind::RefreshToken, Kind::Grant] {
        assert!(site.grants.store.list(kind, None, NOW, 10).await.unwrap().is_empty());
    }
}

// B2 48: 503 and nothing spent: the store cannot write
#[tokio::test]
async fn when_what_is_given_cannot_be_written_nothing_is_given() {
    let mut site = Site::new();
    let code = site.code(grant("app")).await;
    let store = Arc::clone(&site.grants.store);
    site.grants.store = Arc::new(Interrupted {
        inner: Arc::clone(&store),
        before_grant: Box::new(|| Box::pin(async { Err(StoreError("the disk is full".to_owned())) })),
    });
    let reply = site.exchange(&code).await;
    assert_eq!(reply.refusal(), (503, "temporarily_unavailable"));
    assert_eq!((reply.header("retry-after"), reply.header("cache-control")), ("1", "no-store"));
    assert!(!reply.credentials_failed);
    assert!(!reply.json.to_string().contains("disk"), "the reason is for the log");
    site.grants.store = store;
    assert_eq!(site.exchange(&code).await.status, 200, "and nothing was spent");
}

// B2 25, 26, 27, 28, 29, T2, T3: each failure burns the code
#[tokio::test]
async fn a_code_with_another_client_redirect_or_verifier_is_refused_and_burnt() {
    let site = Site::new();
    let good = [
        ("grant_type", "authorization_code"),
        ("redirect_uri", "https://app.example.org/cb"),
        ("client_id", "app"),
        ("code_verifier", VERIFIER),
    ];
    let short = "a".repeat(42);
    for (name, value) in [
        ("client_id", "other"),
        ("redirect_uri", "https://app.example.org/cb/"),
        ("redirect_uri", "https://app.example.org/CB"),
        ("code_verifier", ""),
        ("code_verifier", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_verifier", short.as_str()),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"),
    ] {
        let code = site.code(grant("app")).await;
        let mut fields = good.map(|(key, given)| (key, if key == name { value } else { given })).to_vec();
        fields.push(("code", &code));
        let reply = site.token(&fields).await;
        assert_eq!(reply.refusal(), (400, "invalid_grant"), "{name}={value}");
        assert!(reply.credentials_failed);
        assert_eq!(site.exchange(&code).await.refusal(), (400, "invalid_grant"), "burnt after {name}={value}");
    }
}

// T2, B2 26
#[tokio::test]
async fn a_missing_code_or_redirect_uri_is_an_invalid_request_and_burns_nothing() {
    let site = Site::new();
    let code = site.code(grant("app")).await;
    let without = [("grant_type", "authorization_code"), ("client_id", "app"), ("code", code.as_str())];
    assert_eq!(site.token(&without).await.refusal(), (400, "invalid_request"));
    assert_eq!(site.token(&without[..2]).await.refusal(), (400, "invalid_request"));
    assert_eq!(site.exchange(&code).await.status, 200);
}

// T2, B2 30, 31
#[tokio::test]
async fn an_unknown_or_missing_client_is_invalid_client() {
    let site = Site::new();
    let code = site.code(grant("app")).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://app.example.org/cb"),
        ("code_verifier", VERIFIER),
    ];
    let nobody = site.token(&fields).await;
    assert_eq!((nobody.refusal(), nobody.header("www-authenticate")), ((401, "invalid_client"), ""));
    let unknown = site.token_with(&[("authorization", &basic("BAD_CLIENT_ID", "x"))], &fields).await;
    assert_eq!(unknown.refusal(), (401, "invalid_client"));
    assert!(unknown.header("www-authenticate").starts_with("Basic "));
    assert!(unknown.credentials_failed);
    assert_eq!(site.exchange(&code).await.status, 200, "the code was not touched");
}

/// A store before whose writing of a grant something else happens.
struct Interrupted {
    inner: Arc<dyn Store>,
    before_grant: Box<dyn Fn() -> Pending<'static, ()> + Send + Sync>,
}

impl std::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interrupted")
    }
}

impl Store for Interrupted {
    fn put_if_absent(&self, kind: Kind, key: Digest, entry: Entry, now: i64) -> Pending<'_, bool> {
        self.inner.put_if_absent(kind, key, entry, now)
    }
    fn replace(&self, kind: Kind, key: Digest, expected: Vec<u8>, entry: Entry, now: i64) -> Pending<'_, bool> {
        self.inner.replace(kind, key, expected, entry, now)
    }
    fn put(&self, kind: Kind, key: Digest, entry: Entry) -> Pending<'_, ()> {
        self.inner.put(kind, key, entry)
    }
    fn read(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>> {
        self.inner.read(kind, key, now)
    }
    fn take_once(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>> {
        self.inner.take_once(kind, key, now)
    }
    fn rotate(&self, spent: Spent, gives: Vec<Placed>, now: i64) -> Pending<'_, Option<Entry>> {
        Box::pin(async move {
            if gives.iter().any(|(kind, _, _)| *kind == Kind::Grant) {
                (self.before_grant)().await?;
            }
            self.inner.rotate(spent, gives, now).await
        })
    }
    fn remove(&self, kind: Kind, key: Digest) -> Pending<'_, bool> {
        self.inner.remove(kind, key)
    }
    fn remove_owned(&self, kind: Kind, owner: Digest) -> Pending<'_, u64> {
        self.inner.remove_owned(kind, owner)
    }
    fn list(&self, kind: Kind, owner: Option<Digest>, now: i64, limit: usize) -> Pending<'_, Vec<(Digest, Entry)>> {
        self.inner.list(kind, owner, now, limit)
    }
    fn sweep(&self, now: i64) -> Pending<'_, u64> {
        self.inner.sweep(now)
    }
}
