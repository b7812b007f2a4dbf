//! The management page for people who log in with a provider.

use super::browser::Page;
use super::*;

/// The login page of the management page.
async fn opened(browser: &mut Browser<'_>) -> Page {
    let page = browser.get("/manage").await;
    assert_eq!(page.status(), 200);
    page
}

/// Presses the button of `hospital`; gives the address that the browser is sent to.
async fn press(browser: &mut Browser<'_>, page: &Page) -> String {
    let csrf = page.field("csrf");
    let mut fields = vec![("csrf", csrf.as_str()), ("provider", "hospital")];
    let account = page.fields("account");
    fields.extend(account.first().map(|account| ("account", account.as_str())));
    sent_to(&browser.post("/manage/provider", &fields).await)
}

// V3, M1, M3: the page that a person of a provider manages their apps on
#[test]
fn a_person_of_a_provider_signs_in_on_the_page_and_withdraws_what_they_gave() {
    run(async {
        let clinic = Clinic::new().await;
        let given = clinic.tokens().await;
        let access = text(&given, "access_token");
        let mut browser = Browser::new(&clinic.world);
        let page = opened(&mut browser).await;
        for part in ["Sign in with The hospital &#38; Sons", "Sign in with The other", "or with a password"] {
            assert!(page.text().contains(part), "{part}: {}", page.text());
        }
        clinic.idp.take_asked("/authorize");
        let url = press(&mut browser, &page).await;
        let back = clinic.visit(&url).await;
        let asked = clinic.idp.take_asked("/authorize");
        assert!(!asked[0].contains_key("prompt") && asked[0]["state"].starts_with("manage."));
        let page = browser.get(&back).await;
        assert_eq!((page.status(), page.location().as_deref()), (303, Some("/manage")));
        let page = browser.follow(page).await;
        assert!(page.text().contains("Dr. Ada Quill") && page.fields("client_id") == ["app"], "{}", page.text());
        assert_eq!(clinic.world.get("/fhir/Patient/P1", access).await.status, 200);
        let csrf = page.field("csrf");
        let fields = [("csrf", csrf.as_str()), ("client_id", "app"), ("decision", "withdraw")];
        let page = browser.post("/manage", &fields).await;
        assert_eq!(page.location().as_deref(), Some("/manage?done=withdrawn"));
        assert_eq!(clinic.world.get("/fhir/Patient/P1", access).await.status, 401);
        // The state is spent: whoever comes back again is signed in and sees the page, and nobody else does.
        assert_eq!(browser.get(&back).await.location().as_deref(), Some("/manage"));
        let issuer = clinic.idp.issuer().to_owned();
        let entries = clinic.world.finish().await;
        let signed_in = logins(&entries, Ending::Released);
        assert_eq!(signed_in.len(), 2);
        assert!(signed_in.iter().all(|entry| entry.record.iss.as_deref() == Some(issuer.as_str())));
    });
}

// M1, M3, E17: no login CSRF, no mix-up
#[test]
fn what_began_in_one_browser_for_the_page_ends_in_no_other_and_at_no_other_provider() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = Browser::new(&clinic.world);
        let page = opened(&mut browser).await;
        let csrf = page.field("csrf");
        let fields = [("csrf", csrf.as_str()), ("provider", "hospital")];
        assert_eq!(browser.post_from_elsewhere("/manage/provider", &fields).await.status(), 403);
        assert_eq!(Browser::new(&clinic.world).post("/manage/provider", &fields).await.status(), 403);
        let zeros = "0".repeat(64);
        assert_eq!(browser.post("/manage/provider", &[("csrf", &zeros), fields[1]]).await.status(), 403);
        assert_eq!(browser.post("/manage/provider", &[fields[0], ("provider", "nobody")]).await.status(), 403);
        assert_eq!(browser.post("/manage/provider", &[fields[0]]).await.status(), 403);
        assert_eq!(browser.get("/manage/provider").await.status(), 405);
        assert_eq!(clinic.idp.take_asked("/authorize").len(), 0);

        // An attacker's answer in another browser, which was shown the form, too: the state stays what it is.
        let back = clinic.visit(&press(&mut browser, &page).await).await;
        let mut victim = Browser::new(&clinic.world);
        assert_eq!(victim.get(&back).await.status(), 403);
        opened(&mut victim).await;
        assert_eq!(victim.get(&back).await.status(), 403);
        assert!(victim.session().is_none());
        assert_eq!(browser.get(&back).await.status(), 303, "the browser that began it");

        // At the address of another provider, and with the name of another one.
        let mut browser = Browser::new(&clinic.world);
        let page = opened(&mut browser).await;
        let back = clinic.visit(&press(&mut browser, &page).await).await;
        let mixed = browser.get(&back.replace("/callback/hospital", "/callback/other")).await;
        assert!(mixed.status() == 400 && mixed.text().contains("mixed up"), "{}", mixed.reply.all());
        for iss in ["", "https://other.invalid"] {
            clinic.idp.change(|manner| manner.iss = Some(iss.to_owned()));
            let page = opened(&mut browser).await;
            let back = clinic.visit(&press(&mut browser, &page).await).await;
            let page = browser.get(&back).await;
            assert!(page.status() == 400 && browser.session().is_none(), "{iss}: {}", page.reply.all());
        }
        clinic.idp.change(|manner| manner.iss = None);
        // The state of an app's login opens no page, and the other way round.
        let page = browser.authorize(&request(SCOPE)).await;
        let url = clinic.press(&mut browser, &page).await;
        let back = clinic.visit(&url).await;
        let (path, rest) = back.split_once("state=").unwrap();
        let (_, rest) = rest.split_once('.').unwrap();
        assert_eq!(browser.get(&format!("{path}state=manage.{rest}")).await.location().as_deref(), Some("/manage"));
        assert!(browser.session().is_none(), "nothing is known of such a state");
        // Too late.
        let page = opened(&mut browser).await;
        let back = clinic.visit(&press(&mut browser, &page).await).await;
        clinic.world.advance(600).await;
        assert_eq!(browser.get(&back).await.location().as_deref(), Some("/manage"));
        assert!(browser.session().is_none());
        clinic.world.finish().await;
    });
}

#[test]
fn two_tabs_of_the_page_do_not_disturb_each_other() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = Browser::new(&clinic.world);
        let first = opened(&mut browser).await;
        let back = clinic.visit(&press(&mut browser, &first).await).await;
        let second = opened(&mut browser).await;
        assert_eq!(first.field("csrf"), second.field("csrf"));
        assert_eq!(browser.get(&back).await.location().as_deref(), Some("/manage"));
        assert!(browser.session().is_some());
        clinic.world.finish().await;
    });
}

#[test]
fn who_is_refused_on_the_page_may_try_with_another_account() {
    run(async {
        let clinic = Clinic::new().await;
        clinic.idp.claim("realm_access", json!({"roles": ["auditor"]}));
        let mut browser = Browser::new(&clinic.world);
        let page = opened(&mut browser).await;
        let back = clinic.visit(&press(&mut browser, &page).await).await;
        let page = browser.get(&back).await;
        assert_eq!((page.status(), browser.session()), (403, None));
        assert!(page.text().contains("may not be used here") && !page.text().contains("Back to the app"));
        assert!(page.text().contains("href=\"/manage?account=other\""), "{}", page.text());
        clinic.idp.change(|manner| manner.claims = ada());
        clinic.idp.take_asked("/authorize");
        let page = browser.get("/manage?account=other").await;
        let back = clinic.visit(&press(&mut browser, &page).await).await;
        assert_eq!(clinic.idp.take_asked("/authorize")[0]["prompt"], "login");
        assert_eq!(browser.get(&back).await.location().as_deref(), Some("/manage"));
        assert!(browser.session().is_some());
        // The provider says no: a page with a way on, without its words.
        clinic.idp.change(|manner| manner.error = Some("access_denied"));
        let mut stranger = Browser::new(&clinic.world);
        let page = opened(&mut stranger).await;
        let back = clinic.visit(&press(&mut stranger, &page).await).await;
        let page = stranger.get(&back).await;
        assert!(page.status() == 403 && page.text().contains("href=\"/manage\""), "{}", page.text());
        clinic.world.finish().await;
    });
}
