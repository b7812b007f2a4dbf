//! Every login, consent, token and launch leaves its record, and strangers cannot fill the log.

use firebreak::audit::{Ending, Entry, EventKind};
use firebreak::store::Kind;
use serde_json::json;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};

use super::*;
use crate::world::{World, run};

fn only(entries: &[Entry], kind: EventKind, ending: Ending) -> &Entry {
    let mut found = entries.iter().filter(|entry| entry.record.kind == kind && entry.record.outcome == Some(ending));
    let entry = found.next().unwrap_or_else(|| panic!("no {kind:?} {ending:?} in {entries:#?}"));
    assert!(found.next().is_none(), "more than one {kind:?} {ending:?}");
    entry
}

#[test]
fn each_step_of_a_launch_has_one_record_that_names_client_user_and_grant() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        browser.log_in_with(&page, "pat", "not-the-password-9").await;
        let page = browser.log_in(&page, "pat").await;
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        world.secret(&code);
        let wrong = with(exchange("BAD_CODE"), "client_id", "app");
        assert_eq!(token(&world, &wrong, &[]).await.status, 400);
        let given = token(&world, &exchange(&code), &[]).await.json();
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token")), ("client_id", "app")];
        let refreshed = token(&world, &fields, &[]).await.json();
        let grant = text(&claims(text(&refreshed, "access_token")), "gid").to_owned();
        hand_over(&world, "ehr", &json!({"client_id": "spa", "patient": "P1"})).await;
        world.secret(VERIFIER);
        world.secret(&page.field("csrf"));
        let entries = world.finish().await;
        let failed = only(&entries, EventKind::Login, Ending::Denied);
        assert_eq!(failed.record.reason.as_deref(), Some("credentials_wrong"));
        assert_eq!(failed.record.sub.as_deref(), Some("pat"), "whose password was guessed");
        let login = only(&entries, EventKind::Login, Ending::Released);
        let consent = only(&entries, EventKind::Consent, Ending::Released);
        for entry in [failed, login, consent] {
            assert_eq!(entry.record.client_id.as_deref(), Some("app"), "{entry:?}");
            assert_eq!((entry.record.sub.as_deref(), entry.record.iss.as_deref()), (Some("pat"), Some(ISSUER)));
            assert!(entry.record.client_ip.is_some() && entry.record.status.is_some());
        }
        assert_eq!((consent.record.target.as_deref(), consent.record.patient.as_deref()), (Some(&*grant), Some("P1")));
        assert_eq!(consent.record.scopes.as_deref(), Some(SCOPE));
        let tokens: Vec<_> = entries.iter().filter(|entry| entry.record.kind == EventKind::Token).collect();
        let actions: Vec<_> = tokens.iter().map(|entry| entry.record.action.as_deref().unwrap()).collect();
        assert_eq!(actions, ["code_exchanged", "token_refreshed"]);
        for entry in tokens {
            assert_eq!((entry.record.client_id.as_deref(), entry.record.sub.as_deref()), (Some("app"), Some("pat")));
            assert_eq!((entry.record.target.as_deref(), entry.record.patient.as_deref()), (Some(&*grant), Some("P1")));
        }
        let launch = only(&entries, EventKind::Launch, Ending::Released);
        assert_eq!((launch.record.client_id.as_deref(), launch.record.patient.as_deref()), (Some("ehr"), Some("P1")));
    });
}

#[test]
fn whoever_proves_nothing_is_counted_and_does_not_fill_the_log() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let transaction = page.field("transaction");
        for round in 0..10 {
            let bad = format!("BAD_CODE_{round}");
            // The name of a public client is no secret.
            token(&world, &exchange(&bad), &[]).await;
            token(&world, &without(exchange(&bad), "code"), &[]).await;
            token(&world, &[("grant_type", "refresh_token"), ("refresh_token", &bad), ("client_id", "app")], &[]).await;
            token(&world, &[("grant_type", "authorization_code"), ("client_id", "nobody")], &[]).await;
            browser.post("/login", &[("username", "dr")]).await;
            browser
                .post(
                    "/login",
                    &[("transaction", &transaction), ("username", "nobody"), ("password", "not-the-password-9")],
                )
                .await;
            post_launch(&world, "no.assertion.at-all", "{}").await;
            browser.authorize(&with(request(SCOPE), "aud", "https://elsewhere.example")).await;
            browser.get("/authorize/continue?transaction=x").await;
        }
        let entries = world.finish().await;
        let mut kinds: Vec<_> = entries.iter().map(|entry| entry.record.kind).collect();
        kinds.retain(|kind| {
            !matches!(kind, EventKind::Start | EventKind::Stop | EventKind::Refusals | EventKind::Unaudited)
        });
        // Five passwords were checked; after that the user name had to wait.
        assert_eq!(kinds, [EventKind::Login; 5], "{entries:#?}");
        let counted = entries.iter().filter(|entry| entry.record.kind == EventKind::Refusals).count();
        assert!((1..20).contains(&counted), "{counted}");
        let login = entries.iter().find(|entry| entry.record.kind == EventKind::Login).unwrap();
        assert_eq!(login.record.sub, None, "what nobody is called may be a password");
    });
}

/// Sends `POST path` and hangs up after `patience`.
async fn hang_up_after(world: &World, patience: Duration, path: &str, headers: &[&str], body: &str) {
    let mut all = vec!["Content-Type: application/x-www-form-urlencoded"];
    all.extend(headers);
    let request = crate::world::request(&format!("POST {path}"), "", &all, body, "");
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let began = Instant::now();
    stream.write_all(request.as_bytes()).await.unwrap();
    while began.elapsed() < patience {
        tokio::task::yield_now().await;
    }
    stream.set_zero_linger().unwrap();
}

/// Moments all over the time that an exchange takes, which was `whole` once.
fn moments(whole: Duration) -> impl Iterator<Item = Duration> {
    (0..60_u32).map(move |number| whole * number / 50)
}

/// Whatever the moment at which the client goes: a session that came to be has its record.
#[test]
fn a_login_whose_client_hangs_up_is_recorded_when_it_succeeded() {
    run(async {
        let world = world().await;
        let store = Arc::clone(&world.grants.store);
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let transaction = page.field("transaction");
        let began = Instant::now();
        browser.post("/login", &[("transaction", &transaction), ("username", "pat"), ("password", PASSWORD)]).await;
        for moment in moments(began.elapsed()) {
            let mut browser = Browser::new(&world);
            let page = browser.authorize(&request(SCOPE)).await;
            let (name, value) = browser.jar.first_key_value().unwrap();
            let cookie = format!("Cookie: {name}={value}");
            let transaction = page.field("transaction");
            let body = encoded(&[("transaction", &transaction), ("username", "pat"), ("password", PASSWORD)]);
            hang_up_after(&world, moment, "/login", &[&cookie], &body).await;
        }
        let now = world.clock.unix_seconds();
        let entries = world.finish().await;
        let sessions = store.list(Kind::Session, None, now, 100).await.unwrap().len();
        let recorded =
            entries.iter().filter(|entry| entry.record.kind == EventKind::Login && entry.record.sub.is_some()).count();
        assert_eq!(recorded, sessions);
        assert!(sessions > 1, "none of those that hung up got as far as a session");
    });
}

#[test]
fn a_token_whose_client_hangs_up_is_recorded_when_it_came_to_be() {
    run(async {
        let world = world().await;
        let store = Arc::clone(&world.grants.store);
        let one = code(&world, "pat", &request(SCOPE)).await;
        let began = Instant::now();
        token(&world, &exchange(&one), &[]).await;
        for moment in moments(began.elapsed()) {
            let code = code(&world, "pat", &request(SCOPE)).await;
            hang_up_after(&world, moment, "/token", &[], &encoded(&exchange(&code))).await;
        }
        let now = world.clock.unix_seconds();
        let entries = world.finish().await;
        let families = store.list(Kind::RefreshToken, None, now, 100).await.unwrap().len();
        let recorded = entries.iter().filter(|entry| entry.record.kind == EventKind::Token).count();
        assert_eq!(recorded, families);
        assert!(families > 1, "none of those that hung up got as far as a token");
    });
}
