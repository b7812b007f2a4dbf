//! Signing out, and what ends with it.

use super::*;
use crate::world::{Reply, World, run};
use firebreak::audit::EventKind;
use firebreak::clock::Clock;

const ONLINE: &str = "openid launch/patient patient/Patient.rs online_access";

async fn refresh(world: &World, token: &str) -> Reply {
    super::token(world, &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "spa")], &[]).await
}

/// The token response for what `browser`'s user allowed `spa`.
async fn allowed(browser: &mut Browser<'_>, scope: &str) -> serde_json::Value {
    let world = browser.world;
    let page = browser.authorize(&request_of("spa", "https://spa.example.org/cb", scope)).await;
    let page = if page.asks_for_login() { browser.log_in(&page, "pat").await } else { page };
    let page = browser.pick_if_asked(&page, "P1").await;
    let page = browser.allow_all(&page).await;
    let code = page.returned("code").unwrap_or_else(|| panic!("{}", page.reply.all()));
    world.secret(&code);
    let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", "https://spa.example.org/cb");
    let reply = token(world, &fields, &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.all());
    reply.json()
}

/// Moves the clock, and lets the gateway hear the store meanwhile.
async fn pass(world: &World, clock: &Clock, seconds: i64) {
    for _ in 0..seconds / 25 {
        clock.advance(25);
        world.grants.revocations.refresh(&*world.grants.store).await.unwrap();
    }
    clock.advance(seconds % 25);
    world.grants.revocations.refresh(&*world.grants.store).await.unwrap();
}

// F7, T11, E15: RP-initiated logout
#[test]
fn online_access_ends_with_the_logout_and_offline_access_does_not() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let online = allowed(&mut browser, ONLINE).await;
        assert_eq!(text(&online, "scope"), ONLINE);
        let offline = allowed(&mut browser, "openid launch/patient patient/Patient.rs offline_access").await;
        let online = refresh(&world, text(&online, "refresh_token")).await.json();
        assert_eq!(text(&online, "scope"), ONLINE);

        let hint = text(&online, "access_token").to_owned();
        assert_eq!(world.get("/fhir/Patient/P1", &hint).await.status, 200);
        let asked =
            [("client_id", "spa"), ("post_logout_redirect_uri", "https://spa.example.org/bye"), ("state", "a b&c")];
        let page = browser.get(&format!("/logout?{}", encoded(&asked))).await;
        assert!(page.text().contains("Sign out?") && page.text().contains("The spa asks to sign you out"));
        assert!(page.reply.header("content-security-policy").contains("form-action 'self' https://spa.example.org;"));
        assert_eq!(world.get("/fhir/Patient/P1", &hint).await.status, 200, "a GET signs nobody out");
        let csrf = page.field("csrf");
        let mut fields = asked.to_vec();
        fields.push(("csrf", &csrf));
        // From elsewhere, or forged: nothing.
        browser.post_from_elsewhere("/logout", &fields).await;
        let forged = with(fields.clone(), "csrf", "forged");
        assert_eq!(browser.post("/logout", &forged).await.status(), 403);
        assert!(browser.session().is_some());
        assert_eq!(world.get("/fhir/Patient/P1", &hint).await.status, 200);

        let gone = browser.post("/logout", &fields).await;
        assert_eq!(gone.location().as_deref(), Some("https://spa.example.org/bye?state=a+b%26c"));
        assert!(browser.session().is_none());
        assert_eq!(world.get("/fhir/Patient/P1", &hint).await.status, 401);
        assert_eq!(refusal(&refresh(&world, text(&online, "refresh_token")).await), refused(400, "invalid_grant"));
        assert_eq!(world.get("/fhir/Patient/P1", text(&offline, "access_token")).await.status, 200);
        assert_eq!(refresh(&world, text(&offline, "refresh_token")).await.status, 200);
        assert!(browser.get("/manage").await.asks_for_login());
        let entries = world.finish().await;
        let out: Vec<_> = entries.iter().filter(|entry| entry.record.kind == EventKind::Logout).collect();
        assert!(out.iter().any(|entry| entry.record.action.as_deref() == Some("logged_out")), "{out:?}");
    });
}

// E15: OpenID Connect RP-Initiated Logout 1.0 section 2 lets apps post; a browser leaves our cookie out of what another site posts
#[test]
fn an_app_that_posts_its_logout_has_its_person_asked_too() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let given = allowed(&mut browser, "openid launch/patient patient/Patient.rs").await;
        let back = ("post_logout_redirect_uri", "https://spa.example.org/bye");
        for named in [("client_id", "spa"), ("id_token_hint", text(&given, "id_token"))] {
            let asked = [named, back, ("state", "a b&c"), ("ui_locales", "de")];
            let page = browser.post_from_elsewhere("/logout", &asked).await;
            assert_eq!(page.status(), 303);
            assert!(page.location().unwrap().starts_with("/logout?"), "not as if it were done: {:?}", page.location());
            let page = browser.follow(page).await;
            assert!(page.text().contains("Abmelden") && page.text().contains("lang=\"de\""), "{}", page.reply.all());
            let csrf = page.field("csrf");
            assert_eq!((page.field("state"), page.field("client_id")), ("a b&c".to_owned(), "spa".to_owned()));
            assert!(browser.session().is_some() && !csrf.is_empty());
        }
        let nowhere = [("client_id", "spa"), ("post_logout_redirect_uri", "https://evil.example/")];
        let page = browser.post_from_elsewhere("/logout", &nowhere).await;
        assert_eq!(page.location().as_deref(), Some("/logout?client_id=spa&ui_locales=en"));
        // Where nobody is signed in, nothing is left to ask.
        let mut stranger = Browser::new(&world);
        let page = stranger.post_from_elsewhere("/logout", &[("client_id", "spa"), back]).await;
        let page = stranger.follow(page).await;
        assert_eq!(page.location().as_deref(), Some("https://spa.example.org/bye"));
        world.finish().await;
    });
}

// E15: no open redirect
#[test]
fn after_the_logout_the_browser_goes_nowhere_but_where_the_app_registered() {
    run(async {
        let world = world().await;
        for uri in [
            "https://evil.example/",
            "https://spa.example.org/bye/",
            "https://spa.example.org/bye?x",
            "https://spa.example.org/cb",
            "HTTPS://spa.example.org/bye",
            "//evil.example",
        ] {
            let asked = encoded(&[("client_id", "spa"), ("post_logout_redirect_uri", uri)]);
            let page = Browser::new(&world).get(&format!("/logout?{asked}")).await;
            assert_eq!((page.status(), page.location()), (200, None), "{uri}");
        }
        let other = encoded(&[("client_id", "app"), ("post_logout_redirect_uri", "https://spa.example.org/bye")]);
        assert_eq!(Browser::new(&world).get(&format!("/logout?{other}")).await.location(), None, "another client's");
        let given = tokens(&world, "pat", SCOPE).await;
        let hint = text(&given, "id_token");
        let uri = ("post_logout_redirect_uri", "https://spa.example.org/bye?keep=1");
        let differ = encoded(&[("client_id", "spa"), ("id_token_hint", hint), uri]);
        assert_eq!(Browser::new(&world).get(&format!("/logout?{differ}")).await.location(), None, "they differ");
        let good = encoded(&[("client_id", "spa"), uri, ("state", "s")]);
        let page = Browser::new(&world).get(&format!("/logout?{good}")).await;
        assert_eq!(page.location().as_deref(), Some("https://spa.example.org/bye?keep=1&state=s"));
        world.finish().await;
    });
}

// F7, T11: half an hour without use, or eight hours in all
#[test]
fn online_access_ends_with_the_session_by_itself_and_using_it_keeps_the_session() {
    run(async {
        let clock = Clock::fixed(1_900_000_000);
        let world = world_at(&clock).await;
        let mut browser = Browser::new(&world);
        let unused = allowed(&mut browser, ONLINE).await;
        pass(&world, &clock, 30 * 60).await;
        assert_eq!(refusal(&refresh(&world, text(&unused, "refresh_token")).await), refused(400, "invalid_grant"));

        let mut browser = Browser::new(&world);
        let used = allowed(&mut browser, ONLINE).await;
        let mut held = text(&used, "refresh_token").to_owned();
        // The session ends after 8 hours at the latest.
        for turn in 0..24 {
            pass(&world, &clock, 20 * 60 - i64::from(turn == 23)).await;
            let reply = refresh(&world, &held).await;
            assert_eq!(reply.status, 200, "{turn}: {}", reply.all());
            held = text(&reply.json(), "refresh_token").to_owned();
        }
        pass(&world, &clock, 1).await;
        assert_eq!(refusal(&refresh(&world, &held).await), refused(400, "invalid_grant"));
        world.finish().await;
    });
}

// F7: a login by another user in the same browser is the end of the first one's session
#[test]
fn online_access_ends_when_somebody_else_signs_in_in_the_same_browser() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let first = allowed(&mut browser, ONLINE).await;
        let mut asked = request_of("spa", "https://spa.example.org/cb", ONLINE);
        asked.push(("prompt", "login"));
        let page = browser.authorize(&asked).await;
        browser.log_in(&page, "mum").await;
        assert_eq!(world.get("/fhir/Patient/P1", text(&first, "access_token")).await.status, 401);
        assert_eq!(refusal(&refresh(&world, text(&first, "refresh_token")).await), refused(400, "invalid_grant"));
        world.finish().await;
    });
}
