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
    assert_eq!(destination("https://app.example.org/cb"), "app.example.org");
    assert_eq!(destination("com.example.app:/cb"), "the app (com.example.app:)");
}

#[test]
fn every_problem_has_a_page_with_its_status() {
    let config = config();
    for problem in [
        Problem::UnknownClient,
        Problem::UnknownRedirectUri,
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
        let Answer(response) = problem.page(&config, "r-1");
        assert_eq!(response.status(), problem.status());
        assert!(String::from_utf8(response.body().to_vec()).unwrap().contains("r-1"));
    }
}
