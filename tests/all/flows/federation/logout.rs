//! Signing out at the provider, too, and hearing from it who signed out there.

use super::browser::Page;
use super::*;

const CALLBACK_PATH: &str = "/logout/callback/hospital";

/// A browser in which Ada is signed in, and her page.
async fn signed_in(clinic: &Clinic) -> Browser<'_> {
    let mut browser = Browser::new(&clinic.world);
    let page = browser.authorize(&request(SCOPE)).await;
    let page = clinic.log_in_at_provider(&mut browser, &page).await;
    assert_eq!(page.status(), 303);
    assert!(browser.session().is_some());
    browser
}

/// Answers the logout page; gives the query of the address that the browser is sent to.
async fn sign_out(clinic: &Clinic, browser: &mut Browser<'_>, page: &Page) -> HashMap<String, String> {
    let csrf = page.field("csrf");
    let mut fields = vec![("csrf", csrf), ("where", "provider".to_owned())];
    for name in ["client_id", "post_logout_redirect_uri", "state"] {
        fields.extend(page.fields(name).into_iter().map(|value| (name, value)));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let url = sent_to(&browser.post("/logout", &fields).await);
    let (endpoint, query) = url.split_once('?').unwrap();
    assert_eq!(endpoint, format!("{}/logout", clinic.idp.issuer()));
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

#[test]
fn a_logout_goes_on_at_the_provider_and_comes_back_to_the_app() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = signed_in(&clinic).await;
        let asked = encoded(&[
            ("client_id", "spa"),
            ("post_logout_redirect_uri", "https://spa.example.org/bye?keep=1"),
            ("state", "a b&c"),
        ]);
        let page = browser.get(&format!("/logout?{asked}")).await;
        assert!(page.text().contains("Sign out here and at The hospital &#38; Sons"), "{}", page.text());
        let sent = sign_out(&clinic, &mut browser, &page).await;
        let mut names: Vec<&str> = sent.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["client_id", "post_logout_redirect_uri", "state"]);
        assert_eq!(sent["client_id"], CLIENT_ID);
        assert_eq!(sent["post_logout_redirect_uri"], format!("https://gw.example.org{CALLBACK_PATH}"));
        assert!(browser.session().is_none(), "signed out here before the browser leaves");
        let back = format!("{CALLBACK_PATH}?state={}", sent["state"]);
        // Another browser, another provider, another state: nobody is sent anywhere, and nothing is spent.
        for target in [
            format!("{CALLBACK_PATH}?state={}x", sent["state"]),
            format!("{CALLBACK_PATH}?state="),
            CALLBACK_PATH.to_owned(),
            back.replace("hospital", "other"),
        ] {
            let mut same = Browser { world: browser.world, jar: browser.jar.clone() };
            let page = same.get(&target).await;
            assert!(page.status() == 200 && page.text().contains("You are signed out"), "{target}");
        }
        let page = Browser::new(&clinic.world).get(&back).await;
        assert_eq!((page.status(), page.location()), (200, None));
        assert_eq!(browser.get(&format!("{back}&state=x")).await.status(), 400);
        assert_eq!(browser.post(&back, &[]).await.status(), 405);
        let page = browser.get(&back).await;
        assert_eq!(page.location().as_deref(), Some("https://spa.example.org/bye?keep=1&state=a+b%26c"));
        let page = browser.get(&back).await;
        assert!(page.text().contains("You are signed out"), "once");
        clinic.world.finish().await;
    });
}

#[test]
fn signing_out_here_alone_stays_possible_and_the_configuration_can_leave_the_provider_out() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = signed_in(&clinic).await;
        let page = browser.get("/manage").await;
        assert!(page.text().contains("Sign out here and at The hospital"), "{}", page.text());
        let page = browser.get("/logout").await;
        let csrf = page.field("csrf");
        let page = browser.post("/logout", &[("csrf", &csrf), ("where", "here")]).await;
        assert!(page.text().contains("You are signed out") && browser.session().is_none());
        // Whoever signs in again while the logout goes on elsewhere is asked, and not told that it is done.
        let mut browser = signed_in(&clinic).await;
        let page = browser.get(&format!("{CALLBACK_PATH}?state=x")).await;
        assert_eq!(page.location().as_deref(), Some("/logout"));
        // A person with a password here has nowhere else to sign out.
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        browser.log_in(&page, "dr").await;
        let page = browser.get("/logout").await;
        assert!(page.text().contains("<button class=\"primary\" type=\"submit\">Sign out</button>"), "{}", page.text());
        clinic.world.finish().await;

        let clinic = Clinic::with(Clock::fixed(NOW), |settings| {
            let hospital = settings.sections.find("id = \"hospital\"").unwrap();
            let (before, rest) = settings.sections.split_at(hospital);
            settings.sections =
                format!("{before}{}", rest.replacen("user_types", "rp_initiated_logout = false\nuser_types", 1));
        })
        .await;
        let mut browser = signed_in(&clinic).await;
        assert!(!browser.get("/logout").await.text().contains("hospital"));
        clinic.world.finish().await;
    });
}

async fn told(clinic: &Clinic, changes: &Value) -> crate::world::Reply {
    let token = clinic.idp.logout_token(changes);
    clinic.world.secret(&token);
    clinic.world.post("/logout/back-channel/hospital", "", &encoded(&[("logout_token", &token)])).await
}

// T11: a grant with `online_access` ends with the login at the provider
#[test]
fn who_signs_out_at_the_provider_is_signed_out_here() {
    run(async {
        let clinic = Clinic::new().await;
        let mut others = Browser::new(&clinic.world);
        let page = others.authorize(&request(SCOPE)).await;
        others.log_in(&page, "dr").await;
        clinic.idp.claim("sid", json!("one"));
        let mut one = signed_in(&clinic).await;
        clinic.idp.claim("sid", json!("two"));
        let mut two = signed_in(&clinic).await;
        let in_session = async |browser: &mut Browser<'_>| !browser.get("/manage").await.asks_for_login();
        assert!(in_session(&mut one).await && in_session(&mut two).await);
        // A grant that ends with the login.
        let online = SCOPE.replace("offline_access", "online_access");
        let page = one.authorize(&request_of("spa", "https://spa.example.org/cb", &online)).await;
        let page = one.pick_if_asked(&page, "P1").await;
        let code = one.allow_all(&page).await.returned("code").unwrap();
        clinic.world.secret(&code);
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", "https://spa.example.org/cb");
        let given = token(&clinic.world, &fields, &[]).await.json();
        let access = text(&given, "access_token");
        assert_eq!(clinic.world.get("/fhir/Patient/P1", access).await.status, 200);

        for (changes, why) in [
            (json!({"iss": "https://other.invalid"}), "issuer"),
            (json!({"aud": "somebody-else"}), "audience"),
            (json!({"events": {}}), "event"),
            (json!({"nonce": "n"}), "an ID token"),
            (json!({"iat": NOW - 700}), "old"),
            (json!({"sub": null, "sid": null}), "nobody"),
        ] {
            let reply = told(&clinic, &changes).await;
            assert_eq!((reply.status, reply.header("cache-control")), (400, "no-store"), "{why}");
        }
        clinic.idp.change(|manner| manner.signature = Signature::Stolen);
        assert_eq!(told(&clinic, &json!({"sid": "one"})).await.status, 400);
        clinic.idp.change(|manner| manner.signature = Signature::Key(0));
        assert!(in_session(&mut one).await && in_session(&mut two).await, "nothing happened");

        let done = told(&clinic, &json!({"sid": "one", "jti": "first"})).await;
        assert_eq!((done.status, done.header("cache-control")), (200, "no-store"), "{}", done.all());
        assert!(!in_session(&mut one).await, "the session that was named");
        assert!(in_session(&mut two).await && in_session(&mut others).await);
        assert_eq!(clinic.world.get("/fhir/Patient/P1", access).await.status, 401);
        assert_eq!(told(&clinic, &json!({"sid": "one", "jti": "first"})).await.status, 400, "sent again");
        assert_eq!(told(&clinic, &json!({"sid": null})).await.status, 200);
        assert!(!in_session(&mut two).await && in_session(&mut others).await, "all of hers, and of nobody else");
        for target in ["/logout/back-channel/other", "/logout/back-channel/nobody", "/logout/back-channel/"] {
            let token = clinic.idp.logout_token(&json!({}));
            let reply = clinic.world.post(target, "", &encoded(&[("logout_token", &token)])).await;
            assert!(matches!(reply.status, 400 | 503), "{target}: {}", reply.all());
        }
        assert_eq!(clinic.world.post("/logout/back-channel/hospital", "", "").await.status, 400);
        assert_eq!(clinic.world.get("/logout/back-channel/hospital", "").await.status, 405);
        let issuer = clinic.idp.issuer().to_owned();
        let entries = clinic.world.finish().await;
        let ended: Vec<_> = entries
            .iter()
            .filter(|entry| entry.record.action.as_deref() == Some("logged_out_at_provider"))
            .map(|entry| (entry.record.kind, entry.record.iss.as_deref(), entry.record.sub.as_deref()))
            .collect();
        assert_eq!(ended, [(EventKind::Logout, Some(issuer.as_str()), Some("ada")); 2]);
    });
}
