//! A person looks at which apps have access, and withdraws it.

use super::browser::Page;
use super::*;
use crate::world::{World, run};
use firebreak::audit::EventKind;

/// The management page of `user`, after the login there.
async fn signed_in<'w>(world: &'w World, user: &str) -> (Browser<'w>, Page) {
    let mut browser = Browser::new(world);
    let page = browser.get("/manage").await;
    let page = sign_in(&mut browser, &page, user, PASSWORD).await;
    let page = browser.follow(page).await;
    assert!(page.text().contains("Apps with access"), "{}", page.reply.all());
    (browser, page)
}

async fn sign_in(browser: &mut Browser<'_>, page: &Page, user: &str, password: &str) -> Page {
    let csrf = page.field("csrf");
    browser.post("/manage/login", &[("csrf", &csrf), ("username", user), ("password", password)]).await
}

async fn refresh(world: &World, token: &str) -> crate::world::Reply {
    super::token(world, &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")], &[]).await
}

// V2, V3, F7: patient-directed revocation, at once (g10 asks for an hour)
#[test]
fn what_a_person_withdraws_is_over_at_once_and_the_app_has_to_ask_again() {
    run(async {
        let world = world().await;
        let given = tokens(&world, "pat", SCOPE).await;
        let kept = tokens(&world, "mum", SCOPE).await;
        let (access, held) = (text(&given, "access_token"), text(&given, "refresh_token"));
        let (mut browser, page) = signed_in(&world, "pat").await;
        for part in ["Display of pat", "<li>See", "also while you are away", "Withdraw access"] {
            assert!(page.text().contains(part), "{part}: {}", page.text());
        }
        assert_eq!(page.fields("client_id"), ["app"]);
        assert!(!page.text().contains("<script") && !page.text().contains(" style="));
        assert_eq!(page.reply.header("cache-control"), "no-store");
        assert!(page.reply.header("content-security-policy").starts_with("default-src 'none'; style-src 'self';"));

        let csrf = page.field("csrf");
        let fields = [("csrf", csrf.as_str()), ("client_id", "app"), ("decision", "withdraw")];
        // CSRF: from another site, and with a token that is none.
        assert_eq!(browser.post_from_elsewhere("/manage", &fields).await.location().as_deref(), Some("/manage"));
        let zeros = "0".repeat(64);
        let forged = [("csrf", zeros.as_str()), fields[1], fields[2]];
        assert_eq!(browser.post("/manage", &forged).await.status(), 403);
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200, "nothing happened");

        let done = browser.post("/manage", &fields).await;
        assert_eq!((done.status(), done.location().as_deref()), (303, Some("/manage?done=withdrawn")));
        let page = browser.follow(done).await;
        assert!(page.text().contains("Access was withdrawn.") && page.text().contains("No app has access"));
        let ended = world.get("/fhir/Patient/P1", access).await;
        assert_eq!(ended.status, 401);
        assert!(ended.header("www-authenticate").contains("invalid_token"));
        assert_eq!(refusal(&refresh(&world, held).await), refused(400, "invalid_grant"));
        // Somebody else's access of the same app goes on.
        assert_eq!(world.get("/fhir/Patient/P1", text(&kept, "access_token")).await.status, 200);
        // The consent was forgotten, too: the person is asked.
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.pick_if_asked(&page, "P1").await;
        assert!(page.asks_for_consent(), "{}", page.reply.all());
        // Not on the page: not this person's.
        let strange = [fields[0], ("client_id", "server"), fields[2]];
        assert_eq!(browser.post("/manage", &strange).await.status(), 403);
        // E29: nor does what is posted there go into the log.
        let long = "x".repeat(60_000);
        let filling = [fields[0], ("client_id", long.as_str()), fields[2]];
        assert_eq!(browser.post("/manage", &filling).await.status(), 403);
        let entries = world.finish().await;
        let withdrawn: Vec<_> =
            entries.iter().filter(|entry| entry.record.action.as_deref() == Some("access_withdrawn")).collect();
        assert!(withdrawn.iter().any(|entry| entry.record.client_id.as_deref() == Some("app")
            && entry.record.sub.as_deref() == Some("pat")
            && entry.record.reason.is_none()));
        assert!(withdrawn.iter().all(|entry| entry.record.kind == EventKind::Consent));
        assert_eq!(withdrawn.len(), 3);
        assert!(withdrawn.iter().all(|entry| entry.record.client_id.as_deref().is_none_or(|client| client == "app")));
    });
}

// V2, V3: a code that was not exchanged yet, and that of nobody else
#[test]
fn a_code_that_the_app_has_not_exchanged_is_worth_nothing_after_the_withdrawal() {
    run(async {
        let world = world().await;
        let others = code(&world, "mum", &request(SCOPE)).await;
        let code = code(&world, "pat", &request(SCOPE)).await;
        let (mut browser, page) = signed_in(&world, "pat").await;
        let csrf = page.field("csrf");
        assert!(page.text().contains("Has no access now"), "only a consent is remembered: {}", page.text());
        browser.post("/manage", &[("csrf", &csrf), ("client_id", "app"), ("decision", "withdraw")]).await;
        assert_eq!(refusal(&token(&world, &exchange(&code), &[]).await), refused(400, "invalid_grant"));
        assert_eq!(token(&world, &exchange(&others), &[]).await.status, 200);
        world.finish().await;
    });
}

// E17, B1 18
#[test]
fn the_login_of_the_page_is_bound_to_the_browser_and_a_new_session_begins_with_it() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.get("/manage").await;
        assert!(page.asks_for_login());
        let wrong = sign_in(&mut browser, &page, "pat", "wrong").await;
        assert_eq!(wrong.status(), 403);
        assert!(wrong.text().contains("is not right") && browser.session().is_none());
        let csrf = wrong.field("csrf");
        let fields = [("csrf", csrf.as_str()), ("username", "pat"), ("password", PASSWORD)];
        assert_eq!(browser.post_from_elsewhere("/manage/login", &fields).await.status(), 403, "no login CSRF");
        let stranger = Browser::new(&world).post("/manage/login", &fields).await;
        assert_eq!(stranger.status(), 403, "another browser");
        // What was set by the answer to the forged form is thrown away with it.
        let page = browser.get("/manage").await;
        let page = sign_in(&mut browser, &page, "pat", PASSWORD).await;
        assert_eq!(page.location().as_deref(), Some("/manage"));
        let first = browser.session().unwrap().to_owned();
        let page = browser.follow(page).await;
        assert!(page.text().contains("No app has access"));
        // Another browser, another session: ended from here.
        let (mut second, page) = signed_in(&world, "pat").await;
        assert_ne!(second.session().unwrap(), first);
        assert!(page.text().contains("in one other browser"), "{}", page.text());
        let csrf = page.field("csrf");
        let page = second.post("/manage", &[("csrf", &csrf), ("decision", "end-others")]).await;
        let page = second.follow(page).await;
        assert!(page.text().contains("You are signed out everywhere else.") && page.text().contains("Only here."));
        assert!(browser.get("/manage").await.asks_for_login(), "the first one is signed out");
        assert_eq!(second.post("/manage", &[("csrf", &csrf), ("decision", "nonsense")]).await.status(), 400);
        world.finish().await;
    });
}
