#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use http::HeaderMap;
use http::header::{COOKIE, SET_COOKIE};

use super::*;
use crate::config::Config;
use crate::grant::records::User;
use crate::grant::testing::{Browser, PASSWORD, Page, changed, config, encoded, form};

const EHR: &str = "https://ehr.example.org";
const SCOPE: &str = "launch openid patient/Patient.rs";

/// The EHR shows apps in its pages, of two origins; `cookies`: launches go on there.
fn framing(cookies: bool) -> Config {
    let mut config = config();
    for ehr in config.clients.iter_mut().filter_map(|client| client.ehr.as_mut()) {
        ehr.frame_ancestors = vec![EHR.to_owned(), "https://portal.example.org:8443".to_owned()];
        ehr.partitioned_cookies = cookies;
    }
    config
}

fn launch(user: Option<User>, vouches: bool) -> LaunchContext {
    LaunchContext {
        client_id: "app".to_owned(),
        ehr_client_id: "ehr".to_owned(),
        patient: Some("p1".to_owned()),
        user,
        vouches,
        ..LaunchContext::default()
    }
}

fn vouched() -> User {
    User { iss: EHR.to_owned(), sub: "dr".to_owned(), display_name: "Dr. Dee".to_owned(), ..User::default() }
}

/// A browser that shows the gateway in a frame of another site: it keeps partitioned cookies alone.
struct Framed<'a> {
    browser: &'a mut Browser,
    cookies: Vec<String>,
}

impl Framed<'_> {
    fn inbound(&self, mut inbound: Inbound, site: &'static str) -> Inbound {
        inbound.headers.insert("sec-fetch-dest", HeaderValue::from_static("iframe"));
        inbound.headers.insert("sec-fetch-site", HeaderValue::from_static(site));
        for cookie in &self.cookies {
            inbound.headers.append(COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        inbound
    }

    async fn send(&mut self, inbound: Inbound) -> Page {
        let page = self.browser.send(inbound).await;
        for cookie in page.response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (pair, attributes) = cookie.split_once(';').unwrap();
            assert!(pair.starts_with("__Host-firebreak-framed-transaction-"), "{cookie}");
            for attribute in ["; Secure", "; SameSite=None", "; Partitioned", "; HttpOnly", " Path=/"] {
                assert!(attributes.contains(attribute) || format!(";{attributes}").contains(attribute), "{cookie}");
            }
            if attributes.contains("Max-Age=0") { self.cookies.clear() } else { self.cookies.push(pair.to_owned()) }
        }
        page
    }

    async fn get(&mut self, target: &str) -> Page {
        let inbound = self.inbound(Inbound::for_test("GET", target), "cross-site");
        self.send(inbound).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.send(self.inbound(form(path, fields), "same-origin")).await;
        self.follow(page).await
    }

    async fn follow(&mut self, mut page: Page) -> Page {
        while let Some(target) = page.location().filter(|target| target.starts_with('/')) {
            page = self.get(&target).await;
        }
        page
    }

    async fn authorize(&mut self, handle: &str) -> Page {
        let page = self.get(&format!("/authorize?{}", encoded(&changed(SCOPE, &[("launch", Some(handle))])))).await;
        self.follow(page).await
    }
}

fn policy(page: &Page) -> (String, String) {
    let policy = page.header("content-security-policy");
    let ancestors = policy.split(';').find_map(|part| part.trim().strip_prefix("frame-ancestors ")).unwrap_or_default();
    (ancestors.to_owned(), page.header("x-frame-options").to_owned())
}

fn nobody() -> (String, String) {
    ("'none'".to_owned(), "DENY".to_owned())
}

fn the_ehr() -> (String, String) {
    (format!("{EHR} https://portal.example.org:8443"), String::new())
}

// A13, E14
#[tokio::test]
async fn a_launch_in_a_frame_goes_on_there_by_a_partitioned_cookie_and_its_forms() {
    let mut browser = Browser::with(framing(true));
    let handle = browser.launch(launch(Some(vouched()), true)).await;
    let mut framed = Framed { browser: &mut browser, cookies: Vec::new() };
    let consent = framed.authorize(&handle).await;
    assert!(consent.text.contains("asks for access"), "{}", consent.text);
    assert_eq!(policy(&consent), the_ehr());
    let (transaction, csrf) = (consent.field("transaction"), consent.field("csrf"));
    let fields = [
        ("transaction", transaction.as_str()),
        ("csrf", csrf.as_str()),
        ("decision", "allow"),
        ("scope", "patient/Patient.rs"),
    ];
    let done = framed.post("/consent", &fields).await;
    assert!(done.returned_code(), "{:?}", done.location());
    assert_eq!(done.header("x-frame-options"), "", "a redirect that Chromium would stop");
    assert!(framed.cookies.is_empty(), "the binding is gone");
}

// E14, E17
#[tokio::test]
async fn a_login_in_a_frame_makes_no_session_and_uses_none() {
    let mut browser = Browser::with(framing(true));
    // The same person has a session in a window of this browser.
    let page = browser.authorize(&changed("openid", &[])).await;
    browser.log_in(&page, "amy").await;
    let session = browser.jar.iter().find(|(name, _)| name.ends_with("session")).unwrap();
    let session = format!("{}={}", session.0, session.1);
    let handle = browser.launch(launch(None, false)).await;
    // A frame of the same site: the browser sends the session along.
    let mut framed = Framed { browser: &mut browser, cookies: vec![session] };
    let login = framed.authorize(&handle).await;
    assert!(login.text.contains("name=\"password\""), "{}", login.text);
    assert_eq!(policy(&login), the_ehr());
    let transaction = login.field("transaction");
    let wrong = [("transaction", transaction.as_str()), ("username", "amy"), ("password", "wrong")];
    assert_eq!(policy(&framed.post("/login", &wrong).await), the_ehr(), "so that the person can try again");
    let right = [("transaction", transaction.as_str()), ("username", "amy"), ("password", PASSWORD)];
    let consent = framed.post("/login", &right).await;
    assert!(consent.text.contains("asks for access") && consent.text.contains("Display of amy"), "{}", consent.text);
    assert_eq!(framed.cookies.len(), 2, "no session was set: {:?}", framed.cookies);
    // The next launch asks again.
    let handle = framed.browser.launch(launch(None, false)).await;
    assert!(framed.authorize(&handle).await.text.contains("name=\"password\""));
}

// B1 18, E14
#[tokio::test]
async fn in_a_frame_only_the_page_that_was_shown_can_answer() {
    let mut browser = Browser::with(framing(true));
    let handle = browser.launch(launch(None, false)).await;
    let mut framed = Framed { browser: &mut browser, cookies: Vec::new() };
    let login = framed.authorize(&handle).await;
    let field = login.field("transaction");
    let (key, half) = field.split_once('.').unwrap();
    let other_half = format!("{key}.{}", half.chars().rev().collect::<String>());
    let fields = |transaction| [("transaction", transaction), ("username", "amy"), ("password", PASSWORD)];
    // Without the half that stands in no URL.
    let no_half = format!("{key}.");
    for transaction in [key, &other_half, &no_half] {
        let page = framed.post("/login", &fields(transaction)).await;
        assert_eq!((page.status, framed.browser.facts.reason), (403, Some("csrf_token_invalid")), "{transaction}");
        assert_eq!(policy(&page), nobody());
    }
    // From another page, which the browser says or does not say.
    for site in ["cross-site", "same-site", "none", ""] {
        let inbound = framed.inbound(form("/login", &fields(&field)), site);
        assert_eq!(framed.send(inbound).await.status, 403, "{site}");
    }
    // In another browser, in another partition of this one, or in a window of it.
    let cookies = std::mem::take(&mut framed.cookies);
    let target = format!("/authorize/continue?transaction={key}");
    assert_eq!(framed.get(&target).await.status, 403);
    assert_eq!(framed.post("/login", &fields(&field)).await.status, 403);
    // The cookie of a window's transaction does not count in its place.
    framed.cookies = cookies.iter().map(|cookie| cookie.replace("framed-", "")).collect();
    assert_eq!(framed.get(&target).await.status, 403);
    framed.cookies = cookies;
    assert_eq!(framed.get(&target).await.status, 200);
    assert!(framed.post("/login", &fields(&field)).await.text.contains("asks for access"));
}

// A13, E14
#[tokio::test]
async fn a_frame_without_partitioned_cookies_shows_a_way_out_and_spends_nothing() {
    let mut browser = Browser::with(framing(false));
    let handle = browser.launch(launch(Some(vouched()), true)).await;
    let mut framed = Framed { browser: &mut browser, cookies: Vec::new() };
    let page = framed.authorize(&handle).await;
    assert_eq!((page.status, policy(&page)), (200, the_ehr()));
    let link = page.text.split("<a class=\"button primary\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let link = link.replace("&#38;", "&");
    assert_eq!(link, format!("https://app.example.org/launch?iss=https%3A%2F%2Fgw.example.org%2Ffhir&launch={handle}"));
    assert!(page.text.contains("target=\"_blank\"") && !page.text.contains("<form"));
    assert!(framed.cookies.is_empty() && framed.browser.jar.is_empty());
    // For another app, or too late, there is no way out to show.
    let other = framed.browser.launch(LaunchContext { client_id: "approved".to_owned(), ..launch(None, false) }).await;
    assert_eq!(framed.authorize(&other).await.refusal(), "invalid_request");
    // Twice the same, and then in a window of its own.
    assert_eq!(framed.authorize(&handle).await.text, page.text);
    let page = browser.authorize(&changed(SCOPE, &[("launch", Some(&handle))])).await;
    assert!(page.text.contains("asks for access"));
    assert_eq!(policy(&page), nobody(), "a window stays one");
}

// A13
#[tokio::test]
async fn nobody_frames_anything_else() {
    // An EHR that lists no pages; an app that was not launched; a launch that began in a window.
    let mut browser = Browser::new();
    let handle = browser.launch(launch(Some(vouched()), true)).await;
    let framed = Framed { browser: &mut browser, cookies: Vec::new() };
    let mut inbound = framed.inbound(Inbound::for_test("GET", &target(Some(&handle))), "cross-site");
    let begun = framed.browser.send(inbound).await;
    assert!(begun.location().is_some_and(|location| location.starts_with("/authorize/continue")));
    let page = browser.follow(begun).await;
    assert_eq!(policy(&page), nobody());

    let mut browser = Browser::with(framing(true));
    inbound = Inbound::for_test("GET", &target(None));
    inbound.headers.insert("sec-fetch-dest", HeaderValue::from_static("iframe"));
    let begun = browser.send(inbound).await;
    let page = browser.follow(begun).await;
    assert_eq!((page.status, policy(&page)), (200, nobody()));

    let handle = browser.launch(launch(None, false)).await;
    let page = browser.authorize(&changed(SCOPE, &[("launch", Some(&handle))])).await;
    assert_eq!(policy(&page), nobody());
    let page = browser.log_in(&page, "amy").await;
    assert_eq!(policy(&page), nobody());
    let error = browser.get("/authorize?client_id=nobody").await;
    assert_eq!((error.status, policy(&error)), (400, nobody()));
}

fn target(launch: Option<&str>) -> String {
    let scope = if launch.is_some() { SCOPE } else { "openid" };
    format!("/authorize?{}", encoded(&changed(scope, &[("launch", launch)])))
}

#[test]
fn a_browser_says_where_it_shows_an_answer_once_and_in_these_words() {
    let headers = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("sec-fetch-dest", HeaderValue::from_static(value));
        }
        headers
    };
    for framed in ["iframe", "frame", "embed", "object"] {
        assert!(is_framed(&headers(&[framed])), "{framed}");
    }
    for values in [&["document"][..], &[], &["IFRAME"], &["iframe", "document"], &["iframe, document"]] {
        assert!(!is_framed(&headers(values)), "{values:?}");
    }
}

// A13, M1: providers let nobody frame their pages
#[tokio::test]
async fn who_logs_in_with_a_provider_leaves_the_frame_and_the_launch_begins_anew_in_a_window() {
    let mut config = framing(true);
    config.providers = vec![provider("hospital")];
    let mut browser = Browser::with(config);
    let handle = browser.launch(launch(None, false)).await;
    let mut framed = Framed { browser: &mut browser, cookies: Vec::new() };
    let login = framed.authorize(&handle).await;
    let transaction = login.field("transaction");
    let fields = [("transaction", transaction.as_str()), ("provider", "hospital")];
    let page = framed.post("/login/provider", &fields).await;
    assert_eq!((page.status, policy(&page)), (200, the_ehr()), "{}", page.text);
    assert!(page.text.contains("target=\"_blank\"") && !page.text.contains("<form"));
    assert!(framed.cookies.is_empty(), "the transaction of the frame is over: {:?}", framed.cookies);
    let again = page.text.split("launch=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_ne!(again, handle);
    // Once: neither the transaction nor the first handle gives another one.
    assert_eq!(framed.post("/login/provider", &fields).await.status, 400);
    assert_eq!(framed.authorize(&handle).await.refusal(), "invalid_request");
    let page = browser.authorize(&changed(SCOPE, &[("launch", Some(&again))])).await;
    assert_eq!((page.status, policy(&page)), (200, nobody()));
    assert!(page.text.contains("name=\"password\""), "nobody is logged in by it: {}", page.text);
    let page = browser.log_in(&page, "amy").await;
    let code = browser.allow(&page, &["patient/Patient.rs"]).await;
    assert_eq!(browser.code(&code).await.grant.patient.as_deref(), Some("p1"), "the same context");
    assert_eq!(browser.authorize(&changed(SCOPE, &[("launch", Some(&again))])).await.refusal(), "invalid_request");

    // Where nobody has a password, nothing is asked first.
    let mut config = framing(true);
    config.providers = vec![provider("hospital")];
    config.users.clear();
    let mut browser = Browser::with(config);
    let handle = browser.launch(launch(None, false)).await;
    let mut framed = Framed { browser: &mut browser, cookies: Vec::new() };
    let page = framed.authorize(&handle).await;
    assert_eq!((page.status, policy(&page)), (200, the_ehr()));
    assert!(page.text.contains("target=\"_blank\""), "{}", page.text);
}

fn provider(id: &str) -> crate::config::Provider {
    crate::config::Provider {
        id: id.to_owned(),
        name: "St. Elsewhere".to_owned(),
        issuer: "https://idp.invalid".to_owned(),
        client_id: "firebreak".to_owned(),
        authentication: crate::config::ProviderAuthentication::None,
        scopes: vec!["openid".to_owned()],
        ca: None,
        claims: crate::config::ClaimMapping::default(),
        user_types: Vec::new(),
        rp_initiated_logout: true,
        roles: Vec::new(),
    }
}
