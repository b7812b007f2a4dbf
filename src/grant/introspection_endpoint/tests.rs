#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use serde_json::{Value, json};

use crate::config::{Config, GrantType};
use crate::grant::back_channel_testing::{BASE, ISSUER, NOW, Reply, Site, basic, grant, inbound, reply};
use crate::grant::facts::Facts;
use crate::grant::grants::{revoke, revoke_stored};
use crate::grant::records::{Grant, LaunchContext};
use crate::jose::{AccessTokenClaims, Confirmation};
use crate::store::Kind;

mod signed;

/// The confidential client `server` and the client with a key, `machine`, may introspect.
fn introspecting(config: &mut Config) {
    for client in &mut config.clients {
        client.introspects = matches!(client.client_id.as_str(), "server" | "machine");
        client.scope.push_str(" introspect");
    }
}

fn site() -> Site {
    Site::with(introspecting)
}

async fn granted(site: &Site, grant: Grant) -> Reply {
    let code = site.code(grant).await;
    let reply = site.exchange(&code).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
    reply
}

async fn ask(site: &Site, token: &str) -> Reply {
    site.introspect(&[("authorization", &basic("server", "secret"))], &[("token", token)]).await
}

/// An access token with the scope `introspect` of the client `server`.
async fn bearer(site: &Site) -> String {
    bearer_with(site, "launch/patient introspect").await
}

async fn bearer_with(site: &Site, scope: &str) -> String {
    let scopes = scope.split(' ').map(str::to_owned).collect();
    let code = site.code(Grant { scopes, ..grant("server") }).await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://server.example.org/cb"),
        ("code_verifier", crate::grant::back_channel_testing::VERIFIER),
    ];
    let reply = site.token_with(&[("authorization", &basic("server", "secret"))], &fields).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
    format!("Bearer {}", reply.text("access_token"))
}

/// The claims of the `id_token` of a token response.
fn id_token(response: &Reply) -> Value {
    let payload = response.text("id_token").split('.').nth(1).unwrap();
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    serde_json::from_slice(&decoded).unwrap()
}

fn is_inactive(reply: &Reply) -> bool {
    (reply.status.as_u16(), &reply.json) == (200, &json!({"active": false}))
}

// I1, I2, I3, I4: Inferno 4.2.01, 4.3.01
#[tokio::test]
async fn a_good_access_token_is_active_with_all_that_its_token_response_had() {
    let site = site();
    let launch = LaunchContext {
        client_id: "app".to_owned(),
        fhir_context: vec![
            json!({"reference": "ImagingStudy/i1"}),
            json!({"canonical": "https://q.example/Questionnaire/1|2"}),
        ],
        intent: Some("reconcile".to_owned()),
        need_patient_banner: Some(false),
        smart_style_url: Some("https://ehr.example/style.json".to_owned()),
        tenant: Some("ward-3".to_owned()),
        ..LaunchContext::default()
    };
    let response = granted(&site, Grant { launch: Some(launch), ..grant("app") }).await;
    let reply = ask(&site, response.text("access_token")).await;
    assert_eq!((reply.header("content-type"), reply.header("cache-control")), ("application/json", "no-store"));
    assert_eq!(reply.json["active"], true);
    assert_eq!((reply.text("client_id"), reply.text("token_type")), ("app", "Bearer"));
    assert_eq!(reply.text("scope"), response.text("scope"));
    assert_eq!(reply.json["exp"], NOW + response.json["expires_in"].as_i64().unwrap());
    assert_eq!(reply.json["iat"], NOW);
    assert_eq!((reply.text("iss"), reply.text("aud")), (ISSUER, BASE));
    for member in ["patient", "encounter", "intent", "need_patient_banner", "fhirContext", "smart_style_url", "tenant"]
    {
        assert!(response.json.get(member).is_some(), "{member}");
        assert_eq!(reply.json.get(member), response.json.get(member), "{member}");
    }
    let id_token = id_token(&response);
    for member in ["iss", "sub", "fhirUser"] {
        assert_eq!(reply.json[member], id_token[member], "{member}");
    }
    for absent in ["roles", "username", "cnf", "gid"] {
        assert!(reply.json.get(absent).is_none(), "{absent}");
    }
    assert_eq!((reply.facts.client_id.as_deref(), reply.facts.patient.as_deref()), (Some("server"), Some("p1")));
}

// I2: a narrowed token has its own scope
#[tokio::test]
async fn a_token_of_a_narrower_refresh_is_told_with_its_own_scope() {
    let site = site();
    let response = granted(&site, grant("app")).await;
    let refresh = response.text("refresh_token");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("scope", "patient/Observation.rs")];
    let narrow = site.token(&fields).await;
    assert_eq!(ask(&site, narrow.text("access_token")).await.text("scope"), "patient/Observation.rs");
}

// I1, I2, I5
#[tokio::test]
async fn a_refresh_token_is_active_until_it_is_rotated() {
    let site = site();
    let response = granted(&site, grant("app")).await;
    let token = response.text("refresh_token");
    let reply = ask(&site, token).await;
    assert_eq!((reply.json["active"].as_bool(), reply.text("client_id")), (Some(true), "app"));
    assert_eq!(reply.json["exp"], NOW + 90 * 86_400);
    assert_eq!((reply.text("scope"), reply.text("patient")), (response.text("scope"), "p1"));
    assert!(reply.json.get("token_type").is_none());
    let successor = site.refresh(token).await;
    assert!(is_inactive(&ask(&site, token).await));
    assert_eq!(ask(&site, successor.text("refresh_token")).await.json["active"], true);
}

// I5: Inferno 4.2.02, 4.3.02
#[tokio::test]
async fn whatever_does_not_hold_gets_the_same_answer() {
    let mut site = site();
    let response = granted(&site, grant("app")).await;
    let (access, refresh) = (response.text("access_token"), response.text("refresh_token"));
    let claims = site.grants.keys.verify_access_token(access, ISSUER, BASE, &site.clock).unwrap();
    let foreign = site
        .grants
        .keys
        .sign_access_token(&AccessTokenClaims { iss: "https://other.example".into(), ..claims.clone() });
    let elsewhere =
        site.grants.keys.sign_access_token(&AccessTokenClaims { aud: "https://other.example/fhir".into(), ..claims });
    let id_token = response.text("id_token").to_owned();
    let assertion = site.assertion("machine", "https://gateway.example.org/token");
    for token in ["invalid_token_value", "a.b.c", &foreign.unwrap(), &elsewhere.unwrap(), &id_token, &assertion] {
        assert!(is_inactive(&ask(&site, token).await), "{token}");
    }
    // A hint that is wrong does not hide a token that is good.
    let hinted = [("token", access), ("token_type_hint", "refresh_token")];
    let reply = site.introspect(&[("authorization", &basic("server", "secret"))], &hinted).await;
    assert_eq!(reply.json["active"], true);

    let expiring = granted(&site, grant("app")).await;
    site.clock.advance(300);
    assert!(is_inactive(&ask(&site, expiring.text("access_token")).await), "expired");
    let revoked = granted(&site, grant("app")).await;
    let gid = revoked.facts.grant_id.clone().unwrap();
    revoke(&site.grants, &gid).await.unwrap();
    assert!(is_inactive(&ask(&site, revoked.text("access_token")).await), "revoked here");
    assert!(is_inactive(&ask(&site, revoked.text("refresh_token")).await), "revoked here");
    let elsewhere = granted(&site, grant("app")).await;
    let gid = elsewhere.facts.grant_id.clone().unwrap();
    revoke_stored(&*site.grants.store, &gid, site.clock.unix_seconds()).await.unwrap();
    assert!(is_inactive(&ask(&site, elsewhere.text("access_token")).await), "revoked by another process");

    let removed = granted(&site, grant("app")).await;
    site.configure(|config| {
        introspecting(config);
        config.users.clear();
    });
    assert!(is_inactive(&ask(&site, removed.text("access_token")).await), "the user was removed");
    assert!(is_inactive(&ask(&site, refresh).await), "the user was removed");
    site.configure(|config| {
        introspecting(config);
        config.clients.retain(|client| client.client_id != "app");
    });
    assert!(is_inactive(&ask(&site, removed.text("access_token")).await), "the client was removed");
    assert!(is_inactive(&ask(&site, removed.text("refresh_token")).await), "the client was removed");
}

// I6, B3 71: nobody asks without being allowed to
#[tokio::test]
async fn without_good_credentials_it_is_401_and_a_client_that_may_not_ask_gets_403() {
    let site = site();
    let response = granted(&site, grant("app")).await;
    let token = ("token", response.text("access_token"));
    let nobody = site.introspect(&[], &[token]).await;
    assert_eq!(nobody.refusal(), (401, "invalid_client"));
    assert_eq!(nobody.header("www-authenticate"), "Bearer realm=\"introspection\"");
    let wrong = site.introspect(&[("authorization", &basic("server", "wrong"))], &[token]).await;
    assert_eq!(wrong.refusal(), (401, "invalid_client"));
    assert!(wrong.header("www-authenticate").starts_with("Basic ") && wrong.credentials_failed);
    let public = site.introspect(&[], &[token, ("client_id", "app")]).await;
    assert_eq!(public.refusal(), (401, "invalid_client"));
    let plain = Site::new();
    let forbidden = plain.introspect(&[("authorization", &basic("server", "secret"))], &[token]).await;
    assert_eq!(forbidden.refusal(), (403, "unauthorized_client"));
    for bad in ["Bearer ", "Bearer nonsense", &format!("Bearer {}", response.text("refresh_token"))] {
        let reply = site.introspect(&[("authorization", bad)], &[token]).await;
        assert_eq!(reply.refusal(), (401, "invalid_token"), "{bad}");
        assert!(reply.header("www-authenticate").contains("error=\"invalid_token\"") && reply.credentials_failed);
    }
    let no_token = site.introspect(&[("authorization", &basic("server", "secret"))], &[]).await;
    assert_eq!(no_token.refusal(), (400, "invalid_request"));
    let mut facts = Facts::default();
    let get = inbound("GET", "/introspect", &[], bytes::Bytes::new());
    let get = reply(super::respond(&site.grants, &get, &mut facts).await, facts);
    assert_eq!((get.refusal(), get.header("allow")), ((405, "invalid_request"), "POST"));
}

// I6, B3 72
#[tokio::test]
async fn a_bearer_with_the_scope_may_ask_about_tokens_of_any_client() {
    let mut site = site();
    let response = granted(&site, grant("app")).await;
    let token = ("token", response.text("access_token"));
    let bearer = bearer(&site).await;
    let reply = site.introspect(&[("authorization", &bearer)], &[token]).await;
    assert_eq!((reply.json["active"].as_bool(), reply.text("client_id")), (Some(true), "app"));
    assert_eq!(reply.facts.client_id.as_deref(), Some("server"));
    assert_eq!(reply.facts.user.as_ref().unwrap().sub, "dr.smith");
    let both = [token, ("client_secret", "secret"), ("client_id", "server")];
    assert_eq!(site.introspect(&[("authorization", &bearer)], &both).await.refusal(), (400, "invalid_request"));

    let without = granted(&site, grant("app")).await;
    let without = format!("Bearer {}", without.text("access_token"));
    let refused = site.introspect(&[("authorization", &without)], &[token]).await;
    assert_eq!(refused.refusal(), (403, "insufficient_scope"));
    assert!(refused.header("www-authenticate").contains("scope=\"introspect\""));
    // A client that may ask, by a token that may not.
    let other = bearer_with(&site, "launch/patient patient/*.rs").await;
    let refused = site.introspect(&[("authorization", &other)], &[token]).await;
    assert_eq!(refused.refusal(), (403, "insufficient_scope"));
    // The client lost the right since.
    site.configure(|_| {});
    assert_eq!(site.introspect(&[("authorization", &bearer)], &[token]).await.refusal(), (403, "insufficient_scope"));
}

// I6: the token under test is not its own credential
#[tokio::test]
async fn a_token_never_vouches_for_itself() {
    let site = site();
    let bearer = bearer(&site).await;
    let token = bearer.strip_prefix("Bearer ").unwrap();
    assert_eq!(site.introspect(&[], &[("token", token)]).await.refusal(), (401, "invalid_client"));
    let itself = site.introspect(&[("authorization", &bearer)], &[("token", token)]).await;
    assert_eq!(itself.refusal(), (401, "invalid_token"));
}

// I6, C5: a client with a key
#[tokio::test]
async fn a_client_with_a_key_asks_with_an_assertion_for_this_endpoint_the_token_endpoint_or_the_issuer() {
    let site = site();
    let response = granted(&site, grant("app")).await;
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    for audience in ["https://gateway.example.org/introspect", "https://gateway.example.org/token", ISSUER] {
        let assertion = site.assertion("machine", audience);
        let fields = [
            ("token", response.text("access_token")),
            ("client_assertion_type", kind),
            ("client_assertion", &assertion),
        ];
        assert_eq!(site.introspect(&[], &fields).await.json["active"], true, "{audience}");
        assert_eq!(site.introspect(&[], &fields).await.refusal(), (401, "invalid_client"), "a copy");
    }
}

// N2: `cnf`
#[tokio::test]
async fn a_bound_token_is_told_with_its_key_and_is_no_bearer_credential() {
    let site = site();
    let bearer = bearer(&site).await;
    let claims = site
        .grants
        .keys
        .verify_access_token(bearer.strip_prefix("Bearer ").unwrap(), ISSUER, BASE, &site.clock)
        .unwrap();
    let cnf = Some(Confirmation { jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".to_owned() });
    let bound = site.grants.keys.sign_access_token(&AccessTokenClaims { cnf, ..claims }).unwrap();
    let reply = ask(&site, &bound).await;
    assert_eq!(reply.json["cnf"], json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}));
    assert_eq!(reply.text("token_type"), "DPoP");
    let header = format!("Bearer {bound}");
    let refused = site.introspect(&[("authorization", &header)], &[("token", "x")]).await;
    assert_eq!(refused.refusal(), (401, "invalid_token"));
}

// I2, I4: the EHR that launched an app says nothing about a user who logged in
#[tokio::test]
async fn a_token_of_a_user_of_a_provider_is_active_also_after_a_launch_from_an_ehr_that_does_not_vouch() {
    let provider = "[[provider]]\nid = \"idp\"\nissuer = \"https://idp.example.org\"\nclient_id = \"c\"\n\
                    user_types = [\"Practitioner\"]\nroles = [\"clinician\"]\n";
    let site = Site::with(|config| {
        introspecting(config);
        config.providers = crate::config::providers_for_test(provider);
        config.clients[3].ehr.as_mut().unwrap().vouches_for_users = false;
    });
    let mut launched = grant("app");
    launched.user.iss = "https://idp.example.org".to_owned();
    let launch =
        LaunchContext { client_id: "app".to_owned(), ehr_client_id: "ehr".to_owned(), ..LaunchContext::default() };
    let response = granted(&site, Grant { launch: Some(launch), ..launched }).await;
    for token in ["access_token", "refresh_token"] {
        let reply = ask(&site, response.text(token)).await;
        assert_eq!(reply.json["active"], true, "{token}");
        // I4: the user as in the id_token, not by the name at the provider.
        let id_token = id_token(&response);
        for member in ["iss", "sub", "fhirUser"] {
            assert_eq!(reply.json[member], id_token[member], "{member} of the {token}");
        }
        assert_eq!((reply.text("iss"), reply.text("sub") == "dr.smith"), (ISSUER, false), "{token}");
    }
}

/// A site whose client `machine` acts for itself.
fn site_with_service() -> Site {
    Site::with(|config| {
        introspecting(config);
        config.clients[4].grant_types = vec![GrantType::ClientCredentials];
        config.clients[4].scope = "system/*.rs".to_owned();
    })
}

/// What `machine` gets for itself.
async fn of_service(site: &Site, more: &[(&str, &str)]) -> Reply {
    let assertion = site.assertion("machine", "https://gateway.example.org/token");
    let fields = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion.as_str()),
    ];
    site.token(&[&fields, more].concat()).await
}

// T10
#[tokio::test]
async fn where_the_token_of_a_service_is_good_is_told_when_it_asked() {
    let site = site_with_service();
    let asked = of_service(&site, &[("authorization_details", r#"[{"type":"smart_on_fhir"}]"#)]).await;
    let told = ask(&site, asked.text("access_token")).await;
    assert_eq!(told.json.get("authorization_details"), asked.json.get("authorization_details"));
    assert_eq!(told.json.pointer("/authorization_details/0/scope"), Some(&json!("system/*.rs")), "{}", told.json);
    let unasked = ask(&site, of_service(&site, &[]).await.text("access_token")).await;
    assert_eq!((&unasked.json["active"], unasked.json.get("authorization_details")), (&json!(true), None));
}

// I5: a grant that no user stands behind ends like any other
#[tokio::test]
async fn a_revoked_token_of_a_client_that_acts_for_itself_is_inactive() {
    let site = site_with_service();
    let response = of_service(&site, &[]).await;
    assert_eq!(ask(&site, response.text("access_token")).await.json["active"], true, "{}", response.json);
    let gid = response.facts.grant_id.clone().unwrap();
    revoke_stored(&*site.grants.store, &gid, site.clock.unix_seconds()).await.unwrap();
    assert!(is_inactive(&ask(&site, response.text("access_token")).await), "revoked by another process");
    site.grants.revocations.refresh(&*site.grants.store).await.unwrap();
    assert!(is_inactive(&ask(&site, response.text("access_token")).await), "and heard of here");
}

// I2, I5, F7
#[tokio::test]
async fn tokens_of_a_login_that_is_over_are_inactive_and_asking_does_not_prolong_it() {
    let site = site();
    let (online, login) = site.online("app").await;
    let given = granted(&site, online).await;
    site.clock.advance(200);
    for token in [given.text("access_token"), given.text("refresh_token")] {
        assert_eq!(ask(&site, token).await.json["active"], true);
    }
    let ends = site.grants.store.read(Kind::Session, login, NOW).await.unwrap().unwrap().expires;
    assert_eq!(ends, NOW + 1_800, "who asks about a token is not the person");
    site.grants.store.remove(Kind::Session, login).await.unwrap();
    for token in [given.text("access_token"), given.text("refresh_token")] {
        assert!(is_inactive(&ask(&site, token).await));
    }
}

// I4
#[tokio::test]
async fn a_token_that_was_narrowed_tells_no_more_than_its_own_scopes() {
    let site = site();
    let response = granted(&site, grant("app")).await;
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", response.text("refresh_token")),
        ("client_id", "app"),
        ("scope", "patient/Observation.rs"),
    ];
    let narrow = site.token(&fields).await;
    let reply = ask(&site, narrow.text("access_token")).await;
    assert_eq!((&reply.json["active"], reply.text("scope")), (&json!(true), "patient/Observation.rs"));
    assert_eq!(reply.json.get("fhirUser"), None);
    let whole = ask(&site, response.text("access_token")).await;
    assert_eq!(whole.text("fhirUser"), format!("{BASE}/Practitioner/d1"));
}
