#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
use super::*;
use crate::grant::testing::{Browser, changed, config, request};

const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self' https://app.example.org; frame-ancestors \
                      'none'; base-uri 'none'";

#[tokio::test]
async fn a13_every_page_is_hardened() {
    let mut browser = Browser::new();
    let login = browser.authorize(&request("launch/patient patient/*.rs")).await;
    let picker = browser.log_in(&login, "mum").await;
    let consent = browser.pick(&picker, "p1").await;
    for page in [&login, &picker, &consent] {
        assert_eq!(page.header("content-security-policy"), POLICY);
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        for forbidden in ["<script", " style=", " onclick", "http://", "https://"] {
            assert!(!page.text.contains(forbidden), "{forbidden}");
        }
    }
    let error = browser.authorize(&changed("openid", &[("client_id", None)])).await;
    assert!(error.header("content-security-policy").contains("form-action 'self';"));
    assert!(error.text.contains("test-request"));
    let redirect = browser.allow(&consent, &["patient/*.rs"]).await;
    assert_eq!((redirect.header("cache-control"), redirect.header("referrer-policy")), ("no-store", "no-referrer"));
}

#[tokio::test]
async fn the_style_sheet_is_served_under_the_name_that_pages_use() {
    let mut browser = Browser::new();
    let page = browser.authorize(&request("patient/*.rs")).await;
    let path = page.text.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let sheet = browser.get(&path).await;
    assert_eq!((sheet.status, sheet.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(sheet.header("cache-control").contains("immutable"));
    assert!(!sheet.text.contains("url(") && !sheet.text.contains("@import"));
    assert!(stylesheet("/assets/other.css").is_none());
}

#[test]
fn form_action_names_the_origin_or_scheme_that_the_redirect_leads_to() {
    assert_eq!(form_action_source("https://a.example:8443/cb?x='; *").as_deref(), Some("https://a.example:8443"));
    assert_eq!(form_action_source("http://127.0.0.1:5000/cb").as_deref(), Some("http://127.0.0.1:5000"));
    assert_eq!(form_action_source("http://[::1]:5000/cb").as_deref(), Some("http://[::1]:5000"));
    assert_eq!(form_action_source("com.example.app:/cb").as_deref(), Some("com.example.app:"));
    assert_eq!(form_action_source("nonsense"), None);
}

#[test]
fn people_read_the_host_they_return_to() {
    assert_eq!(destination("https://app.example.org/cb", Language::English), "app.example.org");
    assert_eq!(destination("com.example.app:/cb", Language::English), "the app (com.example.app:)");
}

#[test]
fn every_problem_has_a_page_with_its_status() {
    let config = config();
    for problem in [
        Problem::UnknownClient,
        Problem::UnknownRedirectUri,
        Problem::RequestUriUnusable,
        Problem::RequestDiffers,
        Problem::NotAForm,
        Problem::MethodNotAllowed("POST"),
        Problem::NoTransaction,
        Problem::OtherBrowser,
        Problem::Forged,
        Problem::NotOffered,
        Problem::DirectoryUnavailable("/authorize/continue?transaction=x"),
        Problem::TooMany(7),
        Problem::StoreUnavailable,
        Problem::Internal,
    ] {
        let Answer(response) = problem.page(&config, Language::English, "r-1");
        assert_eq!(response.status(), problem.status());
        assert!(String::from_utf8(response.body().to_vec()).unwrap().contains("r-1"));
    }
}

#[tokio::test]
async fn pages_are_in_the_language_of_the_app_or_else_of_the_browser() {
    let mut browser = Browser::new();
    let english = browser.authorize(&request("launch/patient patient/*.rs")).await;
    assert!(english.text.contains("<html lang=\"en\">") && english.text.contains("<h1>Sign in</h1>"));
    // What the app asked for holds on every page of its transaction, errors too.
    let asked = changed("launch/patient patient/*.rs offline_access", &[("ui_locales", Some("fr de-AT"))]);
    let login = browser.authorize(&asked).await;
    assert!(login.text.contains("weiter zu <strong>Growth &#60;Chart&#62;</strong>"), "{}", login.text);
    let transaction = login.field("transaction");
    let wrong = [("transaction", transaction.as_str()), ("username", "mum"), ("password", "wrong")];
    let again = browser.post("/login", &wrong).await;
    assert!(again.text.contains("Der Benutzername oder das Passwort stimmt nicht."));
    let picker = browser.log_in(&login, "mum").await;
    assert!(picker.text.contains("geboren am 3. Mai 1974 · weiblich · Nr.\u{a0}MRN-p1"), "{}", picker.text);
    let none = browser.post("/patient", &[("transaction", &transaction), ("decision", "allow")]).await;
    assert!(none.text.contains("Wählen Sie etwas aus"), "{}", none.text);
    let consent = browser.pick(&picker, "p1").await;
    for part in
        ["bittet um Zugriff", "Alles in der Akte dieses Patienten sehen", "Den Zugriff behalten", "app.example.org"]
    {
        assert!(consent.text.contains(part), "{part}: {}", consent.text);
    }
    let forged = [("transaction", transaction.as_str()), ("csrf", "x"), ("decision", "allow")];
    let forged = browser.post("/consent", &forged).await;
    assert!(forged.status == 403 && forged.text.contains("Diese Antwort kam nicht von der Seite"), "{}", forged.text);
    for page in [&login, &again, &picker, &none, &consent, &forged] {
        assert!(page.text.contains("<html lang=\"de\">"));
        for english in ["Sign in", "Cancel", "Continue", "Signed in as", "Protected", "access", "born"] {
            assert!(!page.text.contains(&format!(">{english}")), "{english}: {}", page.text);
        }
    }
    // Without a word of the app the browser's counts.
    let mut inbound = crate::listen::Inbound::for_test("GET", "/manage");
    inbound.headers.insert("accept-language", HeaderValue::from_static("de-DE,de;q=0.9,en;q=0.8"));
    let page = browser.stranger().send(inbound).await;
    assert!(page.text.contains("welche Apps auf Ihre Akten zugreifen dürfen"), "{}", page.text);
}
