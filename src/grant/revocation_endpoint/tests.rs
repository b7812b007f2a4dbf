#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use crate::grant::back_channel_testing::{Reply, Site, VERIFIER, basic, grant, inbound, reply};
use crate::grant::facts::Facts;
use crate::store::Kind;

async fn granted(site: &Site) -> Reply {
    let code = site.code(grant("app")).await;
    site.exchange(&code).await
}

fn is_revoked(site: &Site, response: &Reply) -> bool {
    site.grants.revocations.is_revoked(response.facts.grant_id.as_ref().unwrap())
}

/// 200 and nothing.
fn is_done(reply: &Reply) -> bool {
    reply.status == 200 && reply.json.is_null() && reply.header("cache-control") == "no-store"
}

// V1, E8, B2 42
#[tokio::test]
async fn a_public_client_gives_back_a_refresh_token_and_all_its_access_tokens_die() {
    let site = Site::new();
    let response = granted(&site).await;
    let second = site.refresh(response.text("refresh_token")).await;
    let fields = [("token", second.text("refresh_token")), ("client_id", "app")];
    let done = site.revoke(&[], &fields).await;
    assert!(is_done(&done), "{done:?}");
    assert!(is_revoked(&site, &response));
    assert_eq!((done.facts.action, done.facts.client_id.as_deref()), (Some("token_revoked"), Some("app")));
    assert_eq!(done.facts.grant_id, response.facts.grant_id);
    assert_eq!(site.refresh(second.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
    assert!(site.grants.store.list(Kind::RefreshToken, None, 0, 10).await.unwrap().is_empty());
    assert!(is_done(&site.revoke(&[], &fields).await), "once more");
}

// V1, B3 73
#[tokio::test]
async fn an_access_token_that_is_given_back_ends_its_grant_with_the_refresh_token() {
    let site = Site::new();
    let response = granted(&site).await;
    // A hint that is wrong is ignored, and so is one that nobody knows.
    for hint in ["refresh_token", "urn:example:unknown"] {
        let fields = [("token", response.text("access_token")), ("client_id", "app"), ("token_type_hint", hint)];
        assert!(is_done(&site.revoke(&[], &fields).await), "{hint}");
    }
    assert!(is_revoked(&site, &response));
    assert_eq!(site.refresh(response.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
}

// V1: a token that was rotated away still names its family
#[tokio::test]
async fn a_refresh_token_that_was_used_before_ends_its_grant_too() {
    let site = Site::new();
    let response = granted(&site).await;
    site.refresh(response.text("refresh_token")).await;
    let fields = [("token", response.text("refresh_token")), ("client_id", "app")];
    assert!(is_done(&site.revoke(&[], &fields).await));
    assert!(is_revoked(&site, &response));
}

// V1: another client's token
#[tokio::test]
async fn a_token_of_another_client_is_not_revoked_and_answered_like_one_that_is_unknown() {
    let site = Site::new();
    let response = granted(&site).await;
    for token in [response.text("access_token"), response.text("refresh_token"), "unknown", "a.b.c"] {
        let done = site.revoke(&[], &[("token", token), ("client_id", "other")]).await;
        assert!(is_done(&done));
        assert_eq!((done.facts.client_id.as_deref(), done.facts.grant_id.as_deref()), (None, None));
        let server = [("authorization", basic("server", "secret"))];
        let server = [("authorization", server[0].1.as_str())];
        let done = site.revoke(&server, &[("token", token)]).await;
        assert!(is_done(&done));
        assert_eq!((done.facts.client_id.as_deref(), done.facts.action), (Some("server"), Some("token_not_revoked")));
    }
    assert!(!is_revoked(&site, &response));
    assert_eq!(site.refresh(response.text("refresh_token")).await.status, 200);
}

// V1, B3 73
#[tokio::test]
async fn the_client_authenticates_as_it_is_registered() {
    let site = Site::new();
    let code = site.code(grant("server")).await;
    let authorization = basic("server", "secret");
    let headers = [("authorization", authorization.as_str())];
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://server.example.org/cb"),
        ("code_verifier", VERIFIER),
    ];
    let response = site.token_with(&headers, &fields).await;
    let token = ("token", response.text("refresh_token"));
    for fields in [vec![token], vec![token, ("client_id", "server")], vec![token, ("client_id", "nobody")]] {
        let refused = site.revoke(&[], &fields).await;
        assert_eq!(refused.refusal(), (401, "invalid_client"), "{fields:?}");
        assert!(refused.credentials_failed);
    }
    let wrong = basic("server", "wrong");
    assert_eq!(site.revoke(&[("authorization", &wrong)], &[token]).await.refusal(), (401, "invalid_client"));
    assert!(!is_revoked(&site, &response));
    assert_eq!(site.revoke(&headers, &[]).await.refusal(), (400, "invalid_request"));
    let mut facts = Facts::default();
    let get = inbound("GET", "/revoke", &[], bytes::Bytes::new());
    let get = reply(super::respond(&site.grants, &get, &mut facts).await, facts);
    assert_eq!((get.refusal(), get.header("allow")), ((405, "invalid_request"), "POST"));
    assert!(is_done(&site.revoke(&headers, &[token]).await));
    assert!(is_revoked(&site, &response));
}
