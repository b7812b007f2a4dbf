//! What a provider does that it should not: wrong answers, other answers, none at all.

use super::*;

// M3, E10
#[test]
fn iss_of_the_response_must_be_there_and_be_the_providers() {
    run(async {
        let clinic = Clinic::new().await;
        for iss in ["", "https://other.invalid", "https://gw.example.org"] {
            clinic.idp.change(|manner| manner.iss = Some(iss.to_owned()));
            let page = clinic.attempt().await;
            assert!(page.status() == 400 && page.text().contains("mixed up"), "{iss}: {}", page.reply.all());
        }
        assert_eq!(clinic.idp.take_asked("/token").len(), 0, "no code was sent anywhere");
        clinic.world.finish().await;
    });
}

// M3
#[test]
fn an_error_response_is_a_page_with_a_way_back_and_without_the_providers_words() {
    run(async {
        let clinic = Clinic::new().await;
        for error in ["access_denied", "login_required", "server_error", "<script>"] {
            clinic.idp.change(|manner| manner.error = Some(error));
            let mut browser = Browser::new(&clinic.world);
            let page = browser.authorize(&request(SCOPE)).await;
            let page = clinic.log_in_at_provider(&mut browser, &page).await;
            assert_eq!(page.status(), 403);
            assert!(!page.text().contains("script") && page.text().contains("Back to the app"), "{}", page.text());
            clinic.idp.change(|manner| manner.error = None);
            let transaction = page.field("transaction");
            let page = browser.get(&format!("/authorize/continue?transaction={transaction}")).await;
            assert!(page.asks_for_login());
            assert_eq!(clinic.log_in_at_provider(&mut browser, &page).await.status(), 303);
        }
        // An error beside a code is an error.
        clinic.idp.take_asked("/token");
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let url = clinic.press(&mut browser, &page).await;
        let back = clinic.visit(&url).await;
        let page = browser.get(&format!("{back}&error=access_denied")).await;
        assert_eq!((page.status(), browser.session(), clinic.idp.take_asked("/token").len()), (403, None, 0));
        clinic.world.finish().await;
    });
}

// M1, M3
#[test]
fn a_code_that_the_provider_refuses_logs_nobody_in() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let url = clinic.press(&mut browser, &page).await;
        let first = clinic.visit(&url).await;
        let page = browser.get(&first).await;
        assert_eq!(page.status(), 303);
        // The same code once more, with the state of another login: the provider knows it as used.
        let mut other = Browser::new(&clinic.world);
        let page = other.authorize(&request(SCOPE)).await;
        let url = clinic.press(&mut other, &page).await;
        let second = clinic.visit(&url).await;
        let code = |back: &str| back.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
        let page = other.get(&second.replace(&code(&second), &code(&first))).await;
        assert_eq!((page.status(), other.session()), (502, None));
        // A code of another login that is still good: PKCE stands against it.
        let mut third = Browser::new(&clinic.world);
        let page = third.authorize(&request(SCOPE)).await;
        let url = clinic.press(&mut third, &page).await;
        let injected = clinic.visit(&url).await;
        let page = third.get(&injected.replace(&code(&injected), &code(&second))).await;
        assert_eq!((page.status(), third.session()), (502, None));
        clinic.world.finish().await;
    });
}

#[test]
fn a_provider_that_is_another_one_huge_or_redirects_is_not_used() {
    run(async {
        let changes: [fn(&mut idp::Manner); 7] = [
            |manner| drop(manner.metadata.insert("issuer".to_owned(), json!("https://other.invalid"))),
            |manner| drop(manner.metadata.insert("token_endpoint".to_owned(), json!("http://10.0.0.1/token"))),
            |manner| drop(manner.metadata.insert("jwks_uri".to_owned(), json!("file:///etc/passwd"))),
            |manner| manner.redirect = Some("/openid-configuration"),
            |manner| manner.huge = Some("/jwks"),
            |manner| manner.redirect = Some("/token"),
            |manner| manner.published = Vec::new(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let clinic = Clinic::new().await;
            clinic.idp.change(change);
            let mut browser = Browser::new(&clinic.world);
            let page = browser.authorize(&request(SCOPE)).await;
            let fields = [("transaction", &*page.field("transaction")), ("provider", "hospital")];
            let mut page = browser.post("/login/provider", &fields).await;
            if page.status() == 200 {
                page = browser.get(&clinic.visit(&sent_to(&page)).await).await;
            }
            assert_eq!((page.status(), browser.session()), (502, None), "{number}: {}", page.reply.all());
            assert!(page.text().contains("cannot be reached now"), "{}", page.text());
            assert_eq!(clinic.idp.take_asked("/elsewhere").len(), 0, "no redirect is followed");
            clinic.world.finish().await;
        }
    });
}

#[test]
fn a_provider_that_hangs_is_given_up_after_seconds_and_not_asked_again_at_once() {
    run(async {
        let clinic = Clinic::new().await;
        clinic.idp.change(|manner| manner.hang = Some("/openid-configuration"));
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let fields = [("transaction", &*page.field("transaction")), ("provider", "hospital")];
        let began = std::time::Instant::now();
        assert_eq!(browser.post("/login/provider", &fields).await.status(), 502);
        assert!(began.elapsed().as_secs() < 15);
        assert_eq!(browser.post("/login/provider", &fields).await.status(), 503);
        assert_eq!(clinic.idp.take_asked("/openid-configuration").len(), 1);
        // A password still does.
        assert_eq!(browser.authorize(&request(SCOPE)).await.status(), 200);
        clinic.idp.change(|manner| manner.hang = None);
        clinic.world.advance(5).await;
        assert_eq!(clinic.attempt().await.status(), 303);
        clinic.world.finish().await;
    });
}

// E22, E23
#[test]
fn a_new_key_of_the_provider_is_found_and_unknown_names_do_not_make_us_ask_again_and_again() {
    run(async {
        let clinic = Clinic::new().await;
        assert_eq!(clinic.attempt().await.status(), 303);
        assert_eq!(clinic.idp.take_asked("/jwks").len(), 1);
        clinic.idp.change(|manner| {
            manner.published = vec![1];
            manner.signature = Signature::Key(1);
        });
        for _ in 0..3 {
            assert_eq!(clinic.attempt().await.status(), 403, "within half a minute of the last look");
        }
        assert_eq!(clinic.idp.take_asked("/jwks").len(), 0);
        clinic.world.advance(30).await;
        assert_eq!(clinic.attempt().await.status(), 303);
        clinic.idp.change(|manner| manner.signature = Signature::Key(0));
        assert_eq!(clinic.attempt().await.status(), 403, "the old key is gone");
        assert_eq!(clinic.idp.take_asked("/jwks").len(), 1);
        clinic.world.finish().await;
    });
}

#[test]
fn the_record_of_a_login_that_fails_names_nobody_who_was_known_before() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = clinic.log_in_at_provider(&mut browser, &page).await;
        let page = browser.follow(page).await;
        assert!(page.text().contains("Ada"), "{}", page.text());
        // The session ended meanwhile.
        browser.jar.retain(|name, _| !name.contains("session"));
        let transaction = page.field("transaction");
        let page = browser.get(&format!("/authorize/continue?transaction={transaction}")).await;
        assert!(page.asks_for_login());
        clinic.idp.claim("nonce", json!("another-login"));
        assert_eq!(clinic.log_in_at_provider(&mut browser, &page).await.status(), 403);
        let entries = clinic.world.finish().await;
        let denied = logins(&entries, Ending::Denied);
        assert_eq!(denied.len(), 1);
        assert!(denied.iter().all(|entry| entry.record.sub.is_none()));
    });
}
