//! What other browsers, other sites and other users try on the authorization endpoint and the pages behind it.

use super::*;
use crate::world::{Settings, World, run};

// A1
#[test]
fn an_app_posts_its_request_from_its_own_page() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        assert!(browser.allow_all(&page).await.returned("code").is_some());
        // No cookie comes along, and the session counts all the same after the redirect.
        let posted = browser.post_from_elsewhere("/authorize", &request(SCOPE)).await;
        assert_eq!(posted.status(), 303);
        let page = browser.follow(posted).await;
        assert!(page.returned("code").is_some(), "{}", page.reply.all());
        world.finish().await;
    });
}

/// B1 1, 2
#[test]
fn nothing_is_sent_to_an_address_that_is_not_registered_to_the_letter() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        for bad in [
            "",
            "https://evil.example/cb",
            "https://app.example.org/CB",
            "https://APP.example.org/cb",
            "https://app.example.org:443/cb",
            "https://app.example.org/cb/",
            "https://app.example.org//cb",
            "https://app.example.org/cb?x=1",
            "https://app.example.org/cb#x",
            "https://app.example.org/a/../cb",
            "https://app.example.org/cb%2f",
            "https://app.example.org/%63b",
            "http://app.example.org/cb",
            "https://user@app.example.org/cb",
            "https://app.example.org@evil.example/cb",
            "https://app.example.org.evil.example/cb",
            "https://app.example.org\\@evil.example/cb",
            "//app.example.org/cb",
            "/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://app.example.org/cb\r\nSet-Cookie: a=b",
            "https://app.example.org/cb ",
            " https://app.example.org/cb",
            "https://spa.example.org/cb",
        ] {
            // With another flaw beside it: the error is not sent there either.
            for parameters in [request(SCOPE), without(request(SCOPE), "state"), with(request(SCOPE), "prompt", "none")]
            {
                let page = browser.authorize(&with(parameters, "redirect_uri", bad)).await;
                assert_eq!((page.status(), page.location()), (400, None), "{bad}");
                assert!(!page.text().contains("evil.example"));
            }
        }
        for bad in [
            without(request(SCOPE), "redirect_uri"),
            without(request(SCOPE), "client_id"),
            with(request(SCOPE), "client_id", "nobody"),
            with(request(SCOPE), "client_id", "APP"),
            with(request(SCOPE), "client_id", "ehr"),
            with(request(SCOPE), "client_id", ""),
        ] {
            let page = browser.authorize(&bad).await;
            assert_eq!((page.status(), page.location()), (400, None), "{bad:?}");
        }
        for doubled in [
            ("redirect_uri", "https://evil.example/cb"),
            ("redirect_uri", CALLBACK),
            ("client_id", "other"),
            ("client_id", "app"),
        ] {
            for first in [true, false] {
                let mut parameters = request(SCOPE);
                parameters.insert(if first { 0 } else { parameters.len() }, doubled);
                let page = browser.authorize(&parameters).await;
                assert_eq!((page.status(), page.location()), (400, None), "{doubled:?}");
            }
        }
        world.finish().await;
    });
}

/// B1 3 to 8, 11, 12, 15 to 17
// A6
#[test]
fn a_flawed_request_goes_back_with_its_error_and_its_state() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let good = || request(SCOPE);
        let plain = "patient/Observation.rs?category:in=vital-signs";
        for (parameters, error) in [
            (without(good(), "response_type"), "invalid_request"),
            (with(good(), "response_type", "token"), "unsupported_response_type"),
            (with(good(), "response_type", "code id_token"), "unsupported_response_type"),
            (with(good(), "response_mode", "fragment"), "invalid_request"),
            (without(good(), "aud"), "invalid_request"),
            (with(good(), "aud", "https://inferno.healthit.gov/invalid_aud"), "invalid_request"),
            (with(good(), "aud", "https://gw.example.org/fhir//"), "invalid_request"),
            (with(good(), "aud", "https://gw.example.org/fhir2"), "invalid_request"),
            (with(good(), "aud", "https://gw.example.org/FHIR"), "invalid_request"),
            (with(good(), "aud", "https://gw.example.org/fhir?x"), "invalid_request"),
            (with(good(), "resource", "https://other.example/fhir"), "invalid_target"),
            (without(good(), "code_challenge"), "invalid_request"),
            (without(good(), "code_challenge_method"), "invalid_request"),
            (with(good(), "code_challenge_method", "plain"), "invalid_request"),
            (with(good(), "code_challenge_method", "s256"), "invalid_request"),
            (with(good(), "code_challenge", "short"), "invalid_request"),
            (with(good(), "scope", ""), "invalid_scope"),
            (with(good(), "scope", "nonsense patient/Obs.dus"), "invalid_scope"),
            (with(good(), "scope", "openid system/*.rs"), "invalid_scope"),
            (with(good(), "scope", plain), "invalid_scope"),
            (with(good(), "request", "x.y.z"), "request_not_supported"),
            (with(good(), "request_uri", "urn:x"), "request_uri_not_supported"),
            ([good(), vec![("scope", "openid")]].concat(), "invalid_request"),
            ([good(), vec![("aud", BASE)]].concat(), "invalid_request"),
            ([good(), vec![("x", "1"), ("x", "2")]].concat(), "invalid_request"),
        ] {
            let page = browser.authorize(&parameters).await;
            assert_eq!((page.status(), page.refusal().as_str()), (303, error), "{parameters:?}");
            assert_eq!(page.returned("state").as_deref(), Some("st4te"), "{parameters:?}");
            assert_eq!(page.returned("iss").as_deref(), Some(ISSUER));
            assert!(page.location().unwrap().starts_with("https://app.example.org/cb?"));
            let posted = browser.post_from_elsewhere("/authorize", &parameters).await;
            assert_eq!(posted.location(), page.location(), "GET and POST mean the same");
        }
        for parameters in
            [without(good(), "state"), with(good(), "state", ""), [good(), vec![("state", "two")]].concat()]
        {
            let page = browser.authorize(&parameters).await;
            assert_eq!((page.refusal().as_str(), page.returned("state")), ("invalid_request", None));
        }
        for (line, headers, status) in [
            ("PUT /authorize", "X-Nothing: here", 405),
            ("DELETE /authorize", "X-Nothing: here", 405),
            ("POST /authorize", "Content-Type: application/json", 400),
            ("POST /authorize", "X-Nothing: here", 400),
        ] {
            assert_eq!(world.send(line, "", &[headers], "").await.status, status, "{line} {headers}");
        }
        let stuffed = "a=1&".repeat(500_000);
        let headers = ["Content-Type: application/x-www-form-urlencoded"];
        assert_eq!(world.send("POST /authorize", "", &headers, &stuffed).await.status, 400);
        assert!(
            browser.authorize(&with(good(), "aud", "https://gw.example.org/fhir/")).await.asks_for_login(),
            "one slash"
        );
        world.finish().await;
    });
}

// A5
#[test]
fn a_state_comes_back_byte_for_byte_and_makes_no_header() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        browser.allow_all(&page).await;
        let printable: String = (0x20..0x7f_u8).map(char::from).collect();
        let control: String = (0..0x20_u8).map(char::from).collect();
        let injected = "x\r\nSet-Cookie: injected=1\r\n\r\n<script>";
        for state in [
            printable.as_str(),
            &control,
            injected,
            "a+b%20c&code=evil&iss=evil#frag",
            "ü…\u{1f600}",
            "%0d%0a",
            &"s".repeat(4096),
        ] {
            for (asked, callback) in [
                (request(SCOPE), "https://app.example.org/cb?code="),
                (without(request(SCOPE), "aud"), "https://app.example.org/cb?error="),
            ] {
                let page = browser.authorize(&with(asked, "state", state)).await;
                assert_eq!(page.status(), 303, "{}", page.reply.all());
                let location = page.location().unwrap();
                assert!(location.starts_with(callback) && !location.contains('#'), "{location}");
                assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
                assert_eq!(page.returned("state").as_deref(), Some(state));
                assert_eq!(page.returned("iss").as_deref(), Some(ISSUER));
                assert!(
                    !page.reply.headers.iter().any(|(name, value)| name == "set-cookie" && value.contains("injected"))
                );
            }
        }
        // What the redirect URI has of its own stays.
        let page = browser.authorize(&request_of("query", "https://query.example.org/cb?keep=a%20b", SCOPE)).await;
        let location = browser.allow_all(&page).await.location().unwrap();
        assert!(location.starts_with("https://query.example.org/cb?keep=a%20b&code="), "{location}");
        world.finish().await;
    });
}

#[test]
fn what_a_stranger_sends_appears_on_no_page_unescaped() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let script = "\"><script>alert(1)</script><x y='";
        let page = browser.authorize(&with(request(SCOPE), "login_hint", script)).await;
        assert!(page.asks_for_login() && !page.text().contains("<script"), "{}", page.text());
        let wrong = browser.log_in_with(&page, script, "not-the-password-9").await;
        assert_eq!(wrong.status(), 403);
        assert!(!wrong.text().contains("<script") && !wrong.text().contains("not-the-password-9"));
        for page in [&page, &wrong] {
            let policy = page.reply.header("content-security-policy");
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
            assert_eq!(page.reply.header("cache-control"), "no-store");
            assert_eq!(page.reply.header("referrer-policy"), "no-referrer");
        }
        let picker = browser.log_in(&page, "dr").await;
        let transaction = picker.field("transaction");
        let found = browser.post("/patient", &[("transaction", &transaction), ("query", script)]).await;
        assert!(found.status() == 200 && !found.text().contains("<script"), "{}", found.reply.all());
        world.finish().await;
    });
}

#[test]
fn a_session_is_new_at_each_login_and_one_that_an_attacker_knew_is_worth_nothing() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        // Fixed by somebody: a cookie of the right form that we never gave.
        browser.jar.insert("firebreak-session".to_owned(), "A".repeat(43));
        let page = browser.authorize(&request(SCOPE)).await;
        assert!(page.asks_for_login());
        browser.log_in(&page, "pat").await;
        let first = browser.session().unwrap().to_owned();
        assert_ne!(first, "A".repeat(43));
        let page = browser.authorize(&with(request(SCOPE), "prompt", "login")).await;
        browser.log_in(&page, "pat").await;
        assert_ne!(browser.session().unwrap(), first);
        for dead in [first, "A".repeat(43)] {
            let mut thief = Browser::new(&world);
            thief.jar.insert("firebreak-session".to_owned(), dead);
            assert!(thief.authorize(&request(SCOPE)).await.asks_for_login());
        }
        world.finish().await;
    });
}

#[test]
fn over_tls_the_cookies_are_bound_to_this_host() {
    run(async {
        let world = World::with(Settings { tls: true, ..settings() }).await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        assert!(page.asks_for_consent(), "{}", page.reply.all());
        assert!(
            browser.jar.len() == 2 && browser.jar.keys().all(|name| name.starts_with("__Host-firebreak-")),
            "{:?}",
            browser.jar
        );
        // Names without the prefix, as a neighbour's page can set them, count for nothing.
        let mut fixed = Browser::new(&world);
        fixed.jar.insert("firebreak-session".to_owned(), browser.session().unwrap().to_owned());
        assert!(fixed.authorize(&request(SCOPE)).await.asks_for_login());
        world.finish().await;
    });
}

/// B1 18
#[test]
fn a_transaction_belongs_to_one_browser_at_every_step() {
    run(async {
        let world = world().await;
        let (mut victim, mut attacker) = (Browser::new(&world), Browser::new(&world));
        // The attacker's own transaction, and a session of their own.
        let theirs = attacker.authorize(&request(SCOPE)).await;
        attacker.log_in(&theirs, "dr2").await;
        let login = victim.authorize(&request(SCOPE)).await;
        let transaction = login.field("transaction");
        let fields = [("transaction", transaction.as_str()), ("username", "dr2"), ("password", PASSWORD)];
        assert_eq!(attacker.post("/login", &fields).await.status(), 403);
        // The name of the binding cookie follows from the handle; its value does not.
        let binding = |browser: &Browser<'_>| {
            let (name, value) = browser.jar.iter().find(|(name, _)| name.contains("-transaction-")).unwrap();
            (name.clone(), value.clone())
        };
        let (name, own) = (binding(&victim).0, binding(&attacker).1);
        attacker.jar.insert(name, own);
        assert_eq!(attacker.post("/login", &fields).await.status(), 403);
        // A forged login form: the victim's browser sends no cookies from another site, and not those of another transaction.
        assert_eq!(victim.post_from_elsewhere("/login", &fields).await.status(), 403);
        let of_attacker = theirs.field("transaction");
        assert_eq!(
            victim
                .post("/login", &[("transaction", &of_attacker), ("username", "dr2"), ("password", PASSWORD)])
                .await
                .status(),
            403
        );
        let picker = victim.log_in(&login, "dr").await;
        let choice = [("transaction", transaction.as_str()), ("patient", "P1")];
        assert_eq!(attacker.post("/patient", &choice).await.status(), 403);
        assert_eq!(victim.post_from_elsewhere("/patient", &choice).await.status(), 403);
        let consent = victim.pick(&picker, "P1").await;
        let csrf = consent.field("csrf");
        let allow = [
            ("transaction", transaction.as_str()),
            ("csrf", csrf.as_str()),
            ("decision", "allow"),
            ("scope", "patient/Patient.rs"),
        ];
        assert_eq!(attacker.post("/consent", &allow).await.status(), 403, "with the token and without the cookie");
        assert_eq!(victim.post_from_elsewhere("/consent", &allow).await.status(), 403);
        assert_eq!(attacker.get(&format!("/authorize/continue?transaction={transaction}")).await.status(), 403);
        for bad in ["", "0", &"0".repeat(64)] {
            let forged = with(allow.to_vec(), "csrf", bad);
            assert_eq!(victim.post("/consent", &forged).await.status(), 403, "{bad}");
        }
        assert_eq!(victim.post("/consent", &without(allow.to_vec(), "csrf")).await.status(), 403);
        // The binding cookie alone, without the session that the page was shown to.
        let mut without_session = Browser::new(&world);
        without_session.jar = victim.jar.clone();
        without_session.jar.retain(|name, _| !name.ends_with("session"));
        assert_eq!(without_session.post("/consent", &allow).await.status(), 403);
        assert!(victim.post("/consent", &allow).await.returned("code").is_some(), "none of this spoilt it");
        world.finish().await;
    });
}

#[test]
fn a_scope_that_was_not_offered_is_refused_and_spoils_nothing() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request("openid launch/patient patient/Patient.rs")).await;
        let page = browser.log_in(&page, "pat").await;
        for more in [
            "patient/*.rs",
            "patient/Patient.cruds",
            "user/*.rs",
            "system/*.rs",
            "offline_access",
            "fhirUser",
            "PATIENT/Patient.rs",
            "",
        ] {
            let refused = browser.decide(&page, "allow", &["patient/Patient.rs", more]).await;
            assert_eq!((refused.status(), refused.location()), (403, None), "{more}");
        }
        let page = browser.decide(&page, "allow", &["patient/Patient.rs"]).await;
        let code = page.returned("code").unwrap();
        let given = token(&world, &exchange(&code), &[]).await.json();
        assert_eq!(text(&given, "scope"), "openid launch/patient patient/Patient.rs");
        world.finish().await;
    });
}

#[test]
fn two_tabs_give_two_codes_and_each_answer_counts_once() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let one = browser.authorize(&with(request(SCOPE), "state", "one")).await;
        let two = browser.authorize(&with(request(SCOPE), "state", "two")).await;
        let one = browser.log_in(&one, "pat").await;
        // The other tab still shows the login form; the session is there already.
        let two = browser.get(&format!("/authorize/continue?transaction={}", two.field("transaction"))).await;
        assert!(one.asks_for_consent() && two.asks_for_consent());
        let jar = browser.jar.clone();
        let second = browser.allow_all(&two).await;
        let first = browser.allow_all(&one).await;
        assert_eq!(
            (first.returned("state").as_deref(), second.returned("state").as_deref()),
            (Some("one"), Some("two"))
        );
        assert_ne!(first.returned("code"), second.returned("code"));
        for page in [&one, &two] {
            // From a browser that keeps its cookies whatever we say.
            browser.jar.clone_from(&jar);
            let again = browser.allow_all(page).await;
            assert!(matches!(again.status(), 400 | 403) && again.location().is_none(), "{}", again.reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn a_consent_page_counts_for_the_session_that_it_was_shown_to() {
    run(async {
        let world = world().await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        // The same person logs in again in another tab.
        let other = browser.authorize(&with(request(SCOPE), "prompt", "login")).await;
        browser.log_in(&other, "pat").await;
        let stale = browser.allow_all(&page).await;
        assert_eq!((stale.status(), stale.location()), (403, None));
        let again = browser.get(&format!("/authorize/continue?transaction={}", page.field("transaction"))).await;
        assert!(browser.allow_all(&again).await.returned("code").is_some(), "it spoilt nothing");
        world.finish().await;
    });
}
