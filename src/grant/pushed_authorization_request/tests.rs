#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use serde_json::json;

use super::*;
use crate::config::{Dpop, GrantType};
use crate::grant::authorization_endpoint;
use crate::grant::back_channel_testing::{BASE, CHALLENGE, ISSUER, Reply, Site, inbound, reply};
use crate::grant::records::Transaction;
use crate::jose::dpop::tests::ProvingKey;

const URL: &str = "https://gateway.example.org/par";

fn request(client_id: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("response_type", "code".to_owned()),
        ("client_id", client_id.to_owned()),
        ("redirect_uri", format!("https://{client_id}.example.org/cb")),
        ("scope", "launch/patient patient/*.rs".to_owned()),
        ("state", "st4te".to_owned()),
        ("aud", BASE.to_owned()),
        ("code_challenge", CHALLENGE.to_owned()),
        ("code_challenge_method", "S256".to_owned()),
    ]
}

fn with(mut fields: Vec<(&'static str, String)>, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value.to_owned()));
    fields
}

async fn push(site: &Site, headers: &[(&str, &str)], fields: &[(&str, String)]) -> Reply {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut inbound = inbound("POST", "/par", headers, body.into());
    inbound.headers.insert(CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
    let mut facts = Facts::default();
    let answer = respond(&site.grants, &inbound, &mut facts).await;
    reply(answer, facts)
}

async fn pushed(site: &Site) -> String {
    let reply = push(site, &[], &request("app")).await;
    assert_eq!(reply.status, 201, "{}", reply.json);
    reply.text("request_uri").to_owned()
}

/// What `/authorize` answers: its reply, and what it returned to the app.
async fn authorize(site: &Site, fields: &[(&str, &str)]) -> Reply {
    let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let mut facts = Facts::default();
    let inbound = inbound("GET", &format!("/authorize?{query}"), &[], Bytes::new());
    let answer = authorization_endpoint::respond(&site.grants, &inbound, &mut facts).await;
    reply(answer, facts)
}

async fn started(site: &Site) -> Vec<Transaction> {
    let now = site.clock.unix_seconds();
    let listed = site.grants.store.list(Kind::Transaction, None, now, 10).await.unwrap();
    listed.iter().map(|(_, entry)| from_json(&entry.value).unwrap()).collect()
}

// N1
#[tokio::test]
async fn a_pushed_request_is_started_by_its_name_alone() {
    let site = Site::new();
    let reply = push(&site, &[], &with(request("app"), "nonce", "n-1")).await;
    assert_eq!((reply.status.as_u16(), &reply.json["expires_in"]), (201, &json!(60)));
    assert_eq!((reply.header("cache-control"), reply.header("content-type")), ("no-store", "application/json"));
    let request_uri = reply.text("request_uri");
    assert_eq!(request_uri.strip_prefix("urn:ietf:params:oauth:request_uri:").unwrap().len(), 43);
    let answer = authorize(&site, &[("client_id", "app"), ("request_uri", request_uri)]).await;
    assert!(answer.header("location").starts_with("/authorize/continue?"), "{}", answer.header("location"));
    let transactions = started(&site).await;
    assert_eq!(transactions.len(), 1);
    let transaction = &transactions[0];
    assert_eq!((transaction.state.as_str(), transaction.nonce.as_deref()), ("st4te", Some("n-1")));
    assert_eq!(transaction.redirect_uri, "https://app.example.org/cb");
}

// N1, B1 16
#[tokio::test]
async fn a_request_uri_is_used_once_within_a_minute_by_its_client() {
    let site = Site::new();
    let first = pushed(&site).await;
    let used = [("client_id", "app"), ("request_uri", first.as_str())];
    assert_eq!(authorize(&site, &used).await.status, 303);
    let foreign = pushed(&site).await;
    let late = pushed(&site).await;
    let refused = |answer: Reply| {
        assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""));
        assert_eq!(answer.facts.reason, Some("invalid_request_uri"));
    };
    refused(authorize(&site, &used).await);
    refused(authorize(&site, &[("client_id", "other"), ("request_uri", &foreign)]).await);
    refused(authorize(&site, &[("client_id", "app"), ("request_uri", &foreign)]).await);
    let unknown = format!("{URN}{}", random::handle());
    refused(authorize(&site, &[("client_id", "app"), ("request_uri", &unknown)]).await);
    refused(authorize(&site, &[("client_id", "app"), ("request_uri", URN)]).await);
    site.clock.advance(60);
    refused(authorize(&site, &[("client_id", "app"), ("request_uri", &late)]).await);
    let nameless = authorize(&site, &[("request_uri", &late)]).await;
    assert_eq!((nameless.status.as_u16(), nameless.facts.reason), (400, Some("client_unknown")));
}

// N1: in the same millisecond
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_browsers_with_one_request_uri_one_starts() {
    let site = Arc::new(Site::new());
    let request_uri = pushed(&site).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (site, request_uri) = (Arc::clone(&site), request_uri.clone());
        tasks.spawn(
            async move { authorize(&site, &[("client_id", "app"), ("request_uri", &request_uri)]).await.status },
        );
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 1);
    assert_eq!(started(&site).await.len(), 1);
}

// N1, B1 16
#[tokio::test]
async fn what_the_browser_adds_or_changes_is_refused_and_what_it_repeats_is_not() {
    let site = Site::new();
    for (name, value) in [
        ("scope", "patient/*.cruds"),
        ("redirect_uri", "https://other.example.org/cb"),
        ("state", "other"),
        ("prompt", "none"),
    ] {
        let request_uri = pushed(&site).await;
        let answer = authorize(&site, &[("client_id", "app"), ("request_uri", &request_uri), (name, value)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""), "{name}");
        assert_eq!(answer.facts.reason, Some("invalid_request"));
    }
    let request_uri = pushed(&site).await;
    let repeated = [("client_id", "app"), ("request_uri", &request_uri), ("state", "st4te"), ("response_type", "code")];
    assert_eq!(authorize(&site, &repeated).await.status, 303);
}

// B1 16: a request_uri of another form
#[tokio::test]
async fn another_request_uri_is_not_supported_and_goes_back_to_the_app() {
    let site = Site::new();
    for other in ["https://app.example.org/request.jwt", "urn:example:request:1"] {
        let mut fields: Vec<(&str, String)> = request("app");
        fields.push(("request_uri", other.to_owned()));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = authorize(&site, &fields).await;
        let location = answer.header("location");
        assert!(location.starts_with("https://app.example.org/cb?error=request_uri_not_supported&"), "{location}");
        assert!(location.contains("state=st4te") && location.contains("iss="), "{location}");
    }
}

// N1: per client and for all
#[tokio::test]
async fn a_client_that_must_push_is_refused_without() {
    let mut site = Site::new();
    let plain = request("app");
    let fields: Vec<(&str, &str)> = plain.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(authorize(&site, &fields).await.header("location").split('?').next(), Some("/authorize/continue"));
    for everybody in [false, true] {
        site.configure(|config| {
            config.tokens.require_pushed_authorization_requests = everybody;
            config.clients[0].require_pushed_authorization_requests = !everybody;
        });
        let refused = authorize(&site, &fields).await;
        let location = refused.header("location");
        assert!(location.starts_with("https://app.example.org/cb?error=invalid_request&"), "{location}");
        let request_uri = pushed(&site).await;
        let answer = authorize(&site, &[("client_id", "app"), ("request_uri", &request_uri)]).await;
        assert!(answer.header("location").starts_with("/authorize/continue?"));
    }
}

// N1: authenticated as at the token endpoint, and by an assertion for any of three audiences (C5)
#[tokio::test]
async fn a_confidential_client_authenticates() {
    let site = Site::new();
    assert_eq!(push(&site, &[], &request("server")).await.refusal(), (401, "invalid_client"));
    let wrong = with(request("server"), "client_secret", "wrong");
    let wrong = push(&site, &[], &wrong).await;
    assert_eq!((wrong.refusal(), wrong.credentials_failed), ((401, "invalid_client"), true));
    let good = push(&site, &[], &with(request("server"), "client_secret", "secret")).await;
    assert_eq!((good.status.as_u16(), good.facts.client_id.as_deref()), (201, Some("server")));
    for audience in [URL, "https://gateway.example.org/token", ISSUER] {
        let mut fields = request("machine");
        fields.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()));
        fields.push(("client_assertion", site.assertion("machine", audience)));
        let good = push(&site, &[], &fields).await;
        assert_eq!(good.status, 201, "{audience}: {}", good.json);
        assert_eq!(push(&site, &[], &fields).await.refusal(), (401, "invalid_client"), "replayed");
    }
    let nobody: Vec<_> = request("app").into_iter().filter(|(name, _)| *name != "client_id").collect();
    assert_eq!(push(&site, &[], &nobody).await.refusal(), (401, "invalid_client"));
    // A secret is not kept with what was pushed.
    let now = site.clock.unix_seconds();
    for (_, entry) in site.grants.store.list(Kind::PushedRequest, None, now, 10).await.unwrap() {
        let kept = String::from_utf8(entry.value).unwrap();
        assert!(!kept.contains("secret") && !kept.contains("assertion"), "{kept}");
    }
}

// N1: RFC 9126 section 2.3; B1 3, 4, 5, 6, 7, 8, 11, 15
#[tokio::test]
async fn what_the_authorization_endpoint_would_refuse_is_refused_with_400() {
    let site = Site::new();
    for (name, value, error) in [
        ("redirect_uri", "https://app.example.org/CB", "invalid_request"),
        ("redirect_uri", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("state", "", "invalid_request"),
        ("aud", "", "invalid_request"),
        ("aud", "https://evil.example/fhir", "invalid_request"),
        ("resource", "https://evil.example/fhir", "invalid_target"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "patient/Obs.dus", "invalid_scope"),
        ("scope", "system/*.rs", "invalid_scope"),
        ("request", "eyJ", "request_not_supported"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request"),
        ("dpop_jkt", "x", "invalid_request"),
    ] {
        let reply = push(&site, &[], &with(request("app"), name, value)).await;
        assert_eq!(reply.refusal(), (400, error), "{name}={value}");
        assert!(!reply.text("error_description").is_empty());
        assert_eq!((reply.header("cache-control"), reply.header("location")), ("no-store", ""));
    }
    let mut twice = request("app");
    twice.push(("state", "again".to_owned()));
    assert_eq!(push(&site, &[], &twice).await.refusal(), (400, "invalid_request"));
    let mut facts = Facts::default();
    let get = respond(&site.grants, &inbound("GET", "/par", &[], Bytes::new()), &mut facts).await;
    let get = reply(get, facts);
    assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    let mut site = site;
    site.configure(|config| config.clients[0].grant_types = vec![GrantType::RefreshToken]);
    assert_eq!(push(&site, &[], &request("app")).await.refusal(), (400, "unauthorized_client"));
}

// N1, N2: RFC 9449 section 10.1
#[tokio::test]
async fn a_proof_with_a_pushed_request_binds_the_code() {
    let (mut site, key) = (Site::new(), ProvingKey::generate());
    let now = site.clock.unix_seconds();
    let jkt = key.jkt();
    for (fields, headers) in [
        (request("app"), vec![key.proof("POST", URL, now)]),
        (with(request("app"), "dpop_jkt", &jkt), vec![key.proof("POST", URL, now)]),
        (with(request("app"), "dpop_jkt", &jkt), vec![]),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|proof| ("dpop", proof.as_str())).collect();
        let reply = push(&site, &headers, &fields).await;
        assert_eq!(reply.status, 201, "{}", reply.json);
        let started_before = started(&site).await.len();
        authorize(&site, &[("client_id", "app"), ("request_uri", reply.text("request_uri"))]).await;
        let transactions = started(&site).await;
        assert_eq!(transactions.len(), started_before + 1);
        assert!(transactions.iter().all(|transaction| transaction.dpop_jkt.as_deref() == Some(&jkt)));
    }
    let other = ProvingKey::generate().proof("POST", URL, now);
    let differs = push(&site, &[("dpop", &other)], &with(request("app"), "dpop_jkt", &jkt)).await;
    assert_eq!(differs.refusal(), (400, "invalid_dpop_proof"));
    let elsewhere = key.proof("POST", "https://gateway.example.org/token", now);
    assert_eq!(push(&site, &[("dpop", &elsewhere)], &request("app")).await.refusal(), (400, "invalid_dpop_proof"));
    // Whoever must prove a key does so at the token endpoint.
    site.configure(|config| config.clients[0].dpop = Dpop::Required);
    assert_eq!(push(&site, &[], &request("app")).await.status, 201);
}

// B2 48: whoever is nobody yet writes only so much
#[tokio::test]
async fn pushing_is_limited_by_address_for_public_clients() {
    let site = Site::new();
    let mut last = None;
    for _ in 0..700 {
        let reply = push(&site, &[], &request("app")).await;
        if reply.status != 201 {
            last = Some(reply);
            break;
        }
    }
    let refused = last.unwrap();
    assert_eq!(refused.refusal(), (429, "temporarily_unavailable"));
    assert_ne!(refused.header("retry-after"), "");
    assert_eq!(push(&site, &[], &with(request("server"), "client_secret", "secret")).await.status, 201);
}

// N5, B1 6, 7: RFC 8707 section 2
#[tokio::test]
async fn resource_may_be_repeated_and_names_this_server_each_time() {
    let site = Site::new();
    let slash = format!("{BASE}/");
    let other = "https://other.example.org/fhir";
    for (aud, resources, expected) in [
        (Some(BASE), vec![BASE, BASE], (201, "")),
        (None, vec![BASE, &slash], (201, "")),
        (Some(&*slash), vec![BASE], (201, "")),
        (None, vec![BASE, other], (400, "invalid_target")),
        (Some(BASE), vec![BASE, other], (400, "invalid_target")),
        (Some(BASE), vec![other], (400, "invalid_target")),
        (None, vec!["fhir"], (400, "invalid_target")),
        (None, vec!["https://gateway.example.org/fhir#x"], (400, "invalid_target")),
        (None, vec!["https://gateway.example.org/fhir//"], (400, "invalid_target")),
        (None, vec!["https://gateway.example.org"], (400, "invalid_target")),
        (None, vec![], (400, "invalid_request")),
    ] {
        let mut fields: Vec<_> = request("app").into_iter().filter(|(name, _)| *name != "aud").collect();
        fields.extend(aud.map(|aud| ("aud", aud.to_owned())));
        fields.extend(resources.iter().map(|resource| ("resource", (*resource).to_owned())));
        let pushed = push(&site, &[], &fields).await;
        assert_eq!(pushed.refusal(), expected, "{aud:?} {resources:?}");
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let direct = authorize(&site, &fields).await;
        let location = direct.header("location");
        if expected.1.is_empty() {
            assert!(location.starts_with("/authorize/continue?"), "{location}");
        } else {
            assert!(location.contains(&format!("?error={}&", expected.1)), "{location}");
        }
    }
}
