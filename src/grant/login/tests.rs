#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
use crate::grant::session;
use crate::grant::testing::{Browser, PASSWORD, changed, config, request};

const SCOPE: &str = "launch/patient patient/*.rs openid";
const SESSION: &str = "__Host-firebreak-session";

#[tokio::test]
async fn unknown_users_and_wrong_passwords_read_the_same() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let transaction = page.field("transaction");
    let mut texts = Vec::new();
    for (username, password) in [("pat", "wrong"), ("ghost", "wrong"), ("ghost", PASSWORD)] {
        let fields = [("transaction", transaction.as_str()), ("username", username), ("password", password)];
        let page = browser.post("/login", &fields).await;
        assert_eq!(page.status, 403);
        assert_eq!(browser.facts.reason, Some("credentials_wrong"));
        assert!(page.text.contains("role=\"alert\""));
        assert!(!page.text.contains(PASSWORD));
        texts.push(page.text.replace(&format!("value=\"{username}\""), ""));
    }
    assert_eq!(texts.first(), texts.get(1));
    assert_eq!(texts.first(), texts.get(2));
    assert!(!browser.jar.contains_key(SESSION));
}

#[tokio::test]
async fn too_many_tries_are_answered_429_with_retry_after() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let transaction = page.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("username", "pat"), ("password", "wrong")];
    for _ in 0..5 {
        assert_eq!(browser.post("/login", &fields).await.status, 403);
    }
    let page = browser.post("/login", &fields).await;
    assert_eq!(page.status, 429);
    assert!((1..=13).contains(&page.header("retry-after").parse::<u64>().unwrap()));
    assert!(page.text.contains("Too many tries"));
}

// A14
#[tokio::test]
async fn e17_the_session_id_is_new_at_each_login_and_the_old_one_is_dead() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    browser.log_in(&page, "pat").await;
    let first = browser.jar.get(SESSION).unwrap().clone();
    let page = browser.authorize(&changed(SCOPE, &[("prompt", Some("login"))])).await;
    assert!(page.text.contains("<h1>Sign in</h1>"));
    browser.log_in(&page, "pat").await;
    let second = browser.jar.get(SESSION).unwrap().clone();
    assert_ne!(first, second);
    let mut thief = browser.stranger();
    thief.jar.insert(SESSION.to_owned(), first);
    assert!(thief.authorize(&request(SCOPE)).await.text.contains("<h1>Sign in</h1>"));
}

#[tokio::test]
async fn e17_cookies_are_bound_to_this_host_and_out_of_reach_of_scripts() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let transaction = page.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("username", "pat"), ("password", PASSWORD)];
    let page = browser.post("/login", &fields).await;
    let cookie = page.header("set-cookie");
    assert!(cookie.starts_with("__Host-firebreak-session="));
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let mut plain = config();
    plain.server.danger_plain_http = true;
    let cookie = session::set_cookie(&plain, &session::cookie_name(&plain, "session"), "x", None);
    assert_eq!(cookie, "firebreak-session=x; Path=/; HttpOnly; SameSite=Lax");
}

#[tokio::test]
async fn e17_a_session_ends_when_idle_and_at_its_absolute_end() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    browser.log_in(&page, "pat").await;
    // 16 times 29 minutes are within 8 hours; each visit keeps it alive.
    for _ in 0..16 {
        browser.grants.clock.advance(29 * 60);
        let page = browser.authorize(&request(SCOPE)).await;
        assert!(page.text.contains("asks for access"));
    }
    browser.grants.clock.advance(29 * 60);
    assert!(browser.authorize(&request(SCOPE)).await.text.contains("<h1>Sign in</h1>"), "absolute");

    let page = browser.authorize(&request(SCOPE)).await;
    browser.log_in(&page, "pat").await;
    browser.grants.clock.advance(31 * 60);
    assert!(browser.authorize(&request(SCOPE)).await.text.contains("<h1>Sign in</h1>"), "idle");
}

#[tokio::test]
async fn a_user_who_was_removed_has_no_session_any_more() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    browser.log_in(&page, "pat").await;
    let mut config = config();
    config.users.retain(|user| user.username != "pat");
    browser.grants.config = std::sync::Arc::new(config);
    assert!(browser.authorize(&request(SCOPE)).await.text.contains("<h1>Sign in</h1>"));
}

#[tokio::test]
async fn a14_max_age_asks_again_for_an_old_login() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    browser.log_in(&page, "pat").await;
    browser.grants.clock.advance(100);
    let young = changed(SCOPE, &[("max_age", Some("100"))]);
    assert!(browser.authorize(&young).await.text.contains("asks for access"));
    let old = changed(SCOPE, &[("max_age", Some("99"))]);
    let page = browser.authorize(&old).await;
    assert!(page.text.contains("<h1>Sign in</h1>"));
    let page = browser.log_in(&page, "pat").await;
    let page = browser.allow(&page, &["patient/*.rs"]).await;
    assert_eq!(browser.code(&page).await.grant.auth_time, 1_800_000_100);
}

#[tokio::test]
async fn a14_login_hint_fills_in_the_user_name() {
    let mut browser = Browser::new();
    let page = browser.authorize(&changed(SCOPE, &[("login_hint", Some("p\"at"))])).await;
    assert!(page.text.contains("value=\"p&#34;at\""), "{}", page.text);
}

#[tokio::test]
async fn a_login_form_of_another_site_or_browser_is_refused() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let transaction = page.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("username", "pat"), ("password", PASSWORD)];
    assert_eq!(browser.post_from_elsewhere("/login", &fields).await.status, 403);
    assert_eq!(browser.stranger().post("/login", &fields).await.status, 403);
    assert_eq!(browser.post("/login", &[("username", "pat"), ("password", PASSWORD)]).await.status, 400);
    assert_eq!(browser.get("/login").await.status, 405);
}

#[tokio::test]
async fn b1_13_cancelling_the_login_is_access_denied() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request(SCOPE)).await;
    let transaction = page.field("transaction");
    let page = browser.post("/login", &[("transaction", &transaction), ("decision", "deny")]).await;
    assert_eq!(page.refusal(), "access_denied");
    assert_eq!(page.returned("state").as_deref(), Some("st4te"));
}

#[tokio::test]
async fn a_site_that_opens_apps_over_and_over_does_not_fill_the_browser_with_cookies() {
    let mut browser = Browser::new();
    for _ in 0..40 {
        let posted = browser.post_from_elsewhere("/authorize", &request(SCOPE)).await;
        browser.follow(posted).await;
        assert!(browser.jar.len() <= 17, "{}", browser.jar.len());
    }
    let page = browser.authorize(&request(SCOPE)).await;
    assert!(browser.log_in(&page, "pat").await.text.contains("asks for access"));
}

#[tokio::test]
async fn two_tabs_do_not_disturb_each_other() {
    let mut browser = Browser::new();
    let one = browser.authorize(&request(SCOPE)).await;
    let two = browser.authorize(&request("openid patient/Patient.r")).await;
    let one = browser.log_in(&one, "pat").await;
    // The second tab still shows the login form; logging in there as somebody else does not change the first tab's user.
    let two = browser.log_in(&two, "mum").await;
    assert!(two.text.contains("Choose a patient"));
    let page = browser.allow(&one, &["patient/*.rs"]).await;
    assert_eq!(page.status, 403);
}
