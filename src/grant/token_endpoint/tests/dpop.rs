//! Tokens bound to a key (RFC 9449): what a proof gives, and what is refused without.

use super::*;
use crate::config::Dpop;
use crate::grant::token_response::fits;
use crate::jose::dpop::tests::ProvingKey;
use crate::jose::dpop::{AHEAD, LIFETIME};

const URL: &str = "https://gateway.example.org/token";

fn proof(site: &Site, key: &ProvingKey) -> String {
    key.proof("POST", URL, site.clock.unix_seconds())
}

fn code_fields(code: &str) -> [(&str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", "https://app.example.org/cb"),
        ("client_id", "app"),
        ("code_verifier", VERIFIER),
    ]
}

async fn exchange_with(site: &Site, code: &str, proof: &str) -> Reply {
    site.token_with(&[("dpop", proof)], &code_fields(code)).await
}

async fn refresh_with(site: &Site, token: &str, proof: &str) -> Reply {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")];
    site.token_with(&[("dpop", proof)], &fields).await
}

// N2
#[tokio::test]
async fn a_proof_binds_the_access_token_and_a_public_clients_refresh_token() {
    let (site, key) = (Site::new(), ProvingKey::generate());
    let code = site.code(grant("app")).await;
    let first = exchange_with(&site, &code, &proof(&site, &key)).await;
    assert_eq!((first.status.as_u16(), first.text("token_type")), (200, "DPoP"), "{}", first.json);
    assert_eq!(claims(&site, &first).cnf.map(|cnf| cnf.jkt), Some(key.jkt()));
    let refresh_token = first.text("refresh_token");
    // B2 46: missing where bound, and by another key
    let without = site.refresh(refresh_token).await;
    assert_eq!(without.refusal(), (400, "invalid_dpop_proof"));
    assert!(without.credentials_failed);
    let other = refresh_with(&site, refresh_token, &proof(&site, &ProvingKey::generate())).await;
    assert_eq!(other.refusal(), (400, "invalid_dpop_proof"));
    let second = refresh_with(&site, refresh_token, &proof(&site, &key)).await;
    assert_eq!((second.status.as_u16(), second.text("token_type")), (200, "DPoP"), "{}", second.json);
    assert_eq!(claims(&site, &second).cnf.map(|cnf| cnf.jkt), Some(key.jkt()));
    assert_eq!(site.refresh(second.text("refresh_token")).await.refusal(), (400, "invalid_dpop_proof"));
}

// T12: whether an app brings a key is not known when its scopes are granted
#[tokio::test]
async fn the_longest_scopes_that_fit_leave_room_for_a_key() {
    let (site, key) = (Site::new(), ProvingKey::generate());
    let with = |length: usize| {
        let mut granted = grant("app");
        granted.scopes.push(format!("patient/Observation.rs?code={}", "x".repeat(length)));
        granted
    };
    let longest = (1_000..4_000).take_while(|length| fits(&site.grants, &with(*length)).is_ok()).last().unwrap();
    let code = site.code(with(longest)).await;
    let reply = exchange_with(&site, &code, &proof(&site, &key)).await;
    assert_eq!((reply.status.as_u16(), &reply.json["token_type"]), (200, &json!("DPoP")), "{}", reply.json);
}

// N2: a refresh token that was not bound becomes so
#[tokio::test]
async fn a_proof_at_a_refresh_binds_what_is_given_from_then_on() {
    let (site, key) = (Site::new(), ProvingKey::generate());
    let first = granted(&site).await;
    let second = refresh_with(&site, first.text("refresh_token"), &proof(&site, &key)).await;
    assert_eq!(second.text("token_type"), "DPoP");
    assert_eq!(site.refresh(second.text("refresh_token")).await.refusal(), (400, "invalid_dpop_proof"));
}

// N2: RFC 9449 section 5: the client's credentials protect the refresh token
#[tokio::test]
async fn a_confidential_client_refreshes_with_any_key_or_none() {
    let (site, key, other) = (Site::new(), ProvingKey::generate(), ProvingKey::generate());
    let code = site.code(grant("server")).await;
    let authorization = basic("server", "secret");
    let mut fields = code_fields(&code).to_vec();
    fields[2].1 = "https://server.example.org/cb";
    fields[3].1 = "server";
    let first = proof(&site, &key);
    let first = site.token_with(&[("authorization", &authorization), ("dpop", &first)], &fields).await;
    assert_eq!((first.status.as_u16(), first.text("token_type")), (200, "DPoP"), "{}", first.json);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", first.text("refresh_token"))];
    let second = proof(&site, &other);
    let second = site.token_with(&[("authorization", &authorization), ("dpop", &second)], &fields).await;
    assert_eq!(claims(&site, &second).cnf.map(|cnf| cnf.jkt), Some(other.jkt()));
    let third = site.token_with(&[("authorization", &authorization)], &fields).await;
    assert_eq!((third.text("token_type"), claims(&site, &third).cnf), ("Bearer", None));
}

// N2: per client
#[tokio::test]
async fn a_client_may_be_made_to_prove_its_key_or_have_proofs_ignored() {
    let (mut site, key) = (Site::new(), ProvingKey::generate());
    site.configure(|config| config.clients[0].dpop = Dpop::Required);
    let code = site.code(grant("app")).await;
    let refused = site.exchange(&code).await;
    assert_eq!(refused.refusal(), (400, "invalid_dpop_proof"));
    let given = exchange_with(&site, &code, &proof(&site, &key)).await;
    assert_eq!(given.text("token_type"), "DPoP", "the code was not burnt");
    site.configure(|config| config.clients[0].dpop = Dpop::Off);
    let code = site.code(grant("app")).await;
    for useless in [proof(&site, &key), "garbage".to_owned()] {
        let reply = exchange_with(&site, &code, &useless).await;
        if reply.status == 200 {
            assert_eq!((reply.text("token_type"), claims(&site, &reply).cnf), ("Bearer", None));
        } else {
            assert_eq!(reply.refusal(), (400, "invalid_grant"), "the code, not the proof");
        }
    }
    // What was bound before stays bound.
    assert_eq!(
        refresh_with(&site, given.text("refresh_token"), &proof(&site, &key)).await.refusal(),
        (400, "invalid_dpop_proof")
    );
}

// B2 46
#[tokio::test]
async fn a_proof_that_is_not_for_this_request_is_refused_and_burns_nothing() {
    let (site, key) = (Site::new(), ProvingKey::generate());
    let now = site.clock.unix_seconds();
    let code = site.code(grant("app")).await;
    let mut private = key.header();
    private["jwk"]["d"] = json!("AAAA");
    let claims = crate::jose::dpop::tests::claims("POST", URL, now);
    for bad in [
        String::new(),
        "garbage".to_owned(),
        key.proof("GET", URL, now),
        key.proof("POST", "https://gateway.example.org/par", now),
        key.proof("POST", "https://other.example.org/token", now),
        key.proof("POST", URL, now - LIFETIME - 1),
        key.proof("POST", URL, now + AHEAD + 1),
        key.sign(&private, &claims),
        site.assertion("app", URL),
    ] {
        let reply = exchange_with(&site, &code, &bad).await;
        assert_eq!(reply.refusal(), (400, "invalid_dpop_proof"), "{bad}");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.facts.reason, Some("invalid_dpop_proof"));
    }
    let (one, two) = (proof(&site, &key), proof(&site, &key));
    let twice = site.token_with(&[("dpop", &one), ("dpop", &two)], &code_fields(&code)).await;
    assert_eq!(twice.refusal(), (400, "invalid_dpop_proof"));
    assert_eq!(exchange_with(&site, &code, &one).await.status, 200);
}

// B2 46: jti replay
#[tokio::test]
async fn a_proof_is_accepted_once() {
    let (site, key) = (Site::new(), ProvingKey::generate());
    let proof = proof(&site, &key);
    let code = site.code(grant("app")).await;
    assert_eq!(exchange_with(&site, &code, &proof).await.status, 200);
    let code = site.code(grant("app")).await;
    for _ in 0..LIFETIME {
        assert_eq!(exchange_with(&site, &code, &proof).await.refusal(), (400, "invalid_dpop_proof"));
        site.clock.advance(1);
    }
    // A `jti` is of its key: two apps may think of the same.
    let claims = crate::jose::dpop::tests::claims("POST", URL, site.clock.unix_seconds());
    for key in [key, ProvingKey::generate()] {
        let code = site.code(grant("app")).await;
        assert_eq!(exchange_with(&site, &code, &key.sign(&key.header(), &claims)).await.status, 200);
    }
}

// B2 46: in the same millisecond
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_concurrent_uses_of_one_proof_one_is_accepted() {
    let (site, key) = (Arc::new(Site::new()), ProvingKey::generate());
    let proof = proof(&site, &key);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (site, proof) = (Arc::clone(&site), proof.clone());
        let code = site.code(grant("app")).await;
        tasks.spawn(async move { exchange_with(&site, &code, &proof).await });
    }
    let replies = tasks.join_all().await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.refusal() == (400, "invalid_dpop_proof")).count(), 19);
}

// N2: RFC 9449 section 10
#[tokio::test]
async fn a_code_that_is_bound_to_a_key_is_burnt_by_a_request_without_it() {
    let (site, key) = (Site::new(), ProvingKey::generate());
    let bound = || async {
        let code = crate::grant::records::Code {
            grant: grant("app"),
            redirect_uri: "https://app.example.org/cb".to_owned(),
            code_challenge: crate::grant::back_channel_testing::CHALLENGE.to_owned(),
            dpop_jkt: Some(key.jkt()),
            ..Default::default()
        };
        crate::grant::grants::issue_code(&site.grants, code).await.unwrap()
    };
    let code = bound().await;
    assert_eq!(site.exchange(&code).await.refusal(), (400, "invalid_dpop_proof"));
    assert_eq!(exchange_with(&site, &code, &proof(&site, &key)).await.refusal(), (400, "invalid_grant"));
    let code = bound().await;
    let stranger = ProvingKey::generate();
    assert_eq!(exchange_with(&site, &code, &proof(&site, &stranger)).await.refusal(), (400, "invalid_dpop_proof"));
    let code = bound().await;
    assert_eq!(exchange_with(&site, &code, &proof(&site, &key)).await.text("token_type"), "DPoP");
}
