//! Login with an OpenID provider, end to end: the provider is real on the wire, and lies when it is told to.

use std::collections::HashMap;
use std::fs;

use firebreak::audit::{Ending, Entry, EventKind};
use firebreak::clock::Clock;
use serde_json::{Value, json};

use super::*;
use crate::world::{Settings, World, run};
use idp::{CLIENT_ID, CLIENT_SECRET, Idp, Signature, ada};

mod faults;
mod idp;
mod logout;
mod manage;

const NOW: i64 = 1_900_000_000;

/// A gateway whose people log in at `idp`, with one more provider that is never there.
struct Clinic {
    idp: Idp,
    world: World,
    _files: tempfile::TempDir,
}

/// Below `[[provider]]`, what the provider may say.
const MAPPING: &str = "user_types = [\"Practitioner\", \"Patient\"]\nroles = [\"clinician\", \"patient\"]\n\
    [provider.claims]\nfhir_user = \"fhirUser\"\nroles = \"realm_access.roles\"\nrole_map = { doctor = \"clinician\" }\n\
    patients = \"patients\"\n";

fn provider(id: &str, issuer: &str, more: &str) -> String {
    format!(
        "[[provider]]\nid = \"{id}\"\nname = \"The {id} & Sons\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n{more}\n{MAPPING}"
    )
}

impl Clinic {
    async fn new() -> Self {
        Self::with(Clock::fixed(NOW), |_| {}).await
    }

    async fn with(clock: Clock, change: impl FnOnce(&mut Settings)) -> Self {
        let idp = Idp::start(&clock).await;
        let files = tempfile::tempdir().unwrap();
        let secret = files.path().join("client.secret");
        fs::write(&secret, CLIENT_SECRET).unwrap();
        let mut settings = Settings { clock, ..settings() };
        let authentication = format!("client_secret_file = \"{}\"", secret.display());
        settings.sections += &provider("hospital", idp.issuer(), &authentication);
        settings.sections += &provider("other", "https://other.invalid", "");
        settings.sections = settings.sections.replace("https://idp.example.org", idp.issuer());
        change(&mut settings);
        let world = World::with(settings).await;
        world.secret(CLIENT_SECRET);
        world.plant("CANARY-access-token");
        world.plant("CANARY-refresh-token");
        world.plant("CANARY-description");
        Self { idp, world, _files: files }
    }

    /// Presses the provider's button on the login page; gives the address that the browser is sent to.
    async fn press(&self, browser: &mut Browser<'_>, page: &Page) -> String {
        assert!(page.text().contains("Sign in with The hospital &#38; Sons"), "{}", page.reply.all());
        let transaction = page.field("transaction");
        let fields = [("transaction", transaction.as_str()), ("provider", "hospital")];
        sent_to(&browser.post("/login/provider", &fields).await)
    }

    /// Through the provider and back; follows nothing.
    async fn log_in_at_provider(&self, browser: &mut Browser<'_>, page: &Page) -> Page {
        let url = self.press(browser, page).await;
        let back = self.visit(&url).await;
        browser.get(&back).await
    }

    async fn visit(&self, url: &str) -> String {
        let back = self.idp.visit(url).await;
        if let Some((_, code)) = back.split_once("code=") {
            self.world.secret(code.split('&').next().unwrap());
        }
        back
    }

    /// What a browser that has nothing yet sees after the provider sent it back.
    async fn attempt(&self) -> Page {
        let mut browser = Browser::new(&self.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = self.log_in_at_provider(&mut browser, &page).await;
        assert!(page.status() == 303 || browser.session().is_none(), "a session without a login");
        page
    }

    async fn tokens(&self) -> Value {
        let mut browser = Browser::new(&self.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = self.log_in_at_provider(&mut browser, &page).await;
        let page = browser.follow(page).await;
        let page = browser.pick_if_asked(&page, "P1").await;
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        self.world.secret(&code);
        token(&self.world, &exchange(&code), &[]).await.json()
    }
}

/// Where the page that leaves the gateway goes on to.
fn sent_to(page: &Page) -> String {
    assert_eq!(page.status(), 200, "{}", page.reply.all());
    let (_, rest) = page.text().split_once("http-equiv=\"refresh\" content=\"0;url=").unwrap();
    rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

fn logins(entries: &[Entry], ending: Ending) -> Vec<&Entry> {
    let of_kind = |entry: &&Entry| entry.record.kind == EventKind::Login && entry.record.outcome == Some(ending);
    entries.iter().filter(of_kind).collect()
}

// M1, M3, E10, E17
#[test]
fn a_person_logs_in_with_a_provider_and_the_app_reads_and_refreshes() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        assert!(page.asks_for_login() && page.text().contains("or with a password"));
        let url = clinic.press(&mut browser, &page).await;
        assert!(url.starts_with(&format!("{}/authorize?", clinic.idp.issuer())), "{url}");
        let page = browser.get(&clinic.visit(&url).await).await;
        assert_eq!(page.status(), 303);
        assert_eq!(clinic.idp.take_asked("/authorize").len(), 1);
        let page = browser.follow(page).await;
        let page = browser.pick_if_asked(&page, "P1").await;
        assert!(page.asks_for_consent() && page.text().contains("Dr. Ada Quill"), "{}", page.reply.all());
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        clinic.world.secret(&code);
        let given = token(&clinic.world, &exchange(&code), &[]).await.json();
        let access = claims(text(&given, "access_token"));
        assert_eq!((text(&access, "user_iss"), text(&access, "user_sub")), (clinic.idp.issuer(), "ada"));
        assert_eq!(access["roles"], json!(["clinician"]));
        let identity = claims(text(&given, "id_token"));
        assert_eq!(text(&identity, "fhirUser"), format!("{BASE}/Practitioner/d1"));
        assert_eq!(text(&identity, "sub").len(), 64, "nobody of ours");
        assert_eq!(clinic.world.get("/fhir/Patient/P1", text(&given, "access_token")).await.status, 200);
        assert_eq!(clinic.world.get("/fhir/Patient/P2", text(&given, "access_token")).await.status, 404);
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token")), ("client_id", "app")];
        let second = token(&clinic.world, &fields, &[]).await.json();
        assert_eq!(clinic.world.get("/fhir/Patient/P1", text(&second, "access_token")).await.status, 200);
        // The session is good for the next app.
        let page = browser.authorize(&request_of("spa", "https://spa.example.org/cb", SCOPE)).await;
        assert!(!page.asks_for_login(), "{}", page.reply.all());
        let issuer = clinic.idp.issuer().to_owned();
        let entries = clinic.world.finish().await;
        let [login] = logins(&entries, Ending::Released)[..] else { panic!("{entries:#?}") };
        assert_eq!((login.record.iss.as_deref(), login.record.sub.as_deref()), (Some(&*issuer), Some("ada")));
    });
}

#[test]
fn where_nobody_has_a_password_one_provider_is_gone_to_directly() {
    run(async {
        let clinic = Clinic::with(Clock::fixed(NOW), |settings| {
            settings.strangers = false;
            let users = settings.sections.find("[[user]]").unwrap();
            let providers = settings.sections.find("[[provider]]").unwrap();
            let other = settings.sections.rfind("[[provider]]").unwrap();
            settings.sections.truncate(other);
            settings.sections.replace_range(users..providers, "");
        })
        .await;
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let url = page.location().unwrap();
        assert!(page.status() == 303 && url.starts_with(clinic.idp.issuer()), "{url}");
        let page = browser.get(&clinic.visit(&url).await).await;
        let page = browser.follow(page).await;
        assert!(!page.fields("patient").is_empty(), "{}", page.reply.all());
        // Refused: a page, with ways on and back, instead of going there again and again.
        clinic.idp.change(|manner| manner.error = Some("access_denied"));
        let mut stranger = Browser::new(&clinic.world);
        let page = stranger.authorize(&request(SCOPE)).await;
        let page = stranger.get(&clinic.visit(&page.location().unwrap()).await).await;
        assert_eq!(page.status(), 403);
        let transaction = page.field("transaction");
        let page = stranger.post("/login", &[("transaction", &transaction), ("decision", "deny")]).await;
        assert_eq!(page.refusal(), "access_denied");
        clinic.world.finish().await;
    });
}

// A14, B1 14
#[test]
fn prompt_max_age_and_login_hint_are_passed_on_and_a_new_login_must_be_shown() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&with(request(SCOPE), "prompt", "none")).await;
        assert_eq!(page.refusal(), "login_required");
        let hinted = with(with(request(SCOPE), "max_age", "600"), "login_hint", "ada@hospital");
        let page = browser.authorize(&hinted).await;
        let url = clinic.press(&mut browser, &page).await;
        let back = clinic.visit(&url).await;
        let asked = clinic.idp.take_asked("/authorize");
        assert_eq!(asked.len(), 1, "prompt=none goes nowhere");
        assert_eq!((asked[0]["max_age"].as_str(), asked[0]["login_hint"].as_str()), ("600", "ada@hospital"));
        assert!(!asked[0].contains_key("prompt"));
        clinic.idp.claim("auth_time", json!(NOW - 631));
        assert_eq!(browser.get(&back).await.status(), 403, "too long ago");
        clinic.idp.claim("auth_time", json!(NOW - 600));
        let page = browser.authorize(&hinted).await;
        assert_eq!(clinic.log_in_at_provider(&mut browser, &page).await.status(), 303);
        // The session is ten minutes old now: it does for an hour, and not for a minute.
        assert!(!browser.authorize(&with(request(SCOPE), "max_age", "3600")).await.asks_for_login());
        assert!(browser.authorize(&with(request(SCOPE), "max_age", "60")).await.asks_for_login());
        let anew = with(request(SCOPE), "prompt", "login");
        clinic.idp.take_asked("/authorize");
        for (auth_time, status) in [(json!(NOW - 31), 403), (Value::Null, 403), (json!(NOW), 303)] {
            clinic.idp.claim("auth_time", auth_time.clone());
            let page = browser.authorize(&anew).await;
            assert!(page.asks_for_login());
            assert_eq!(clinic.log_in_at_provider(&mut browser, &page).await.status(), status, "{auth_time}");
            let asked = clinic.idp.take_asked("/authorize");
            assert_eq!((asked[0]["prompt"].as_str(), asked[0]["max_age"].as_str()), ("login", "0"));
        }
        clinic.world.finish().await;
    });
}

// M3, E23
#[test]
fn an_id_token_with_any_defect_logs_nobody_in() {
    run(async {
        let clinic = Clinic::new().await;
        let attempts = [
            ("iss", json!("https://other.invalid")),
            ("aud", json!("somebody-else")),
            ("aud", json!([CLIENT_ID, "somebody-else"])),
            ("azp", json!("somebody-else")),
            ("exp", json!(NOW - 60)),
            ("nbf", json!(NOW + 60)),
            ("iat", json!(NOW - 3_600)),
            ("nonce", json!("another-login")),
            ("nonce", Value::Null),
            ("at_hash", json!("AAAA")),
            ("sub", json!("")),
        ];
        for (name, value) in &attempts {
            clinic.idp.claim(name, value.clone());
            if *name == "aud" && value.is_array() {
                clinic.idp.claim("azp", Value::Null);
            }
            let page = clinic.attempt().await;
            assert_eq!(page.status(), 403, "{name} {value}: {}", page.reply.all());
            assert!(page.text().contains("could not be verified"), "{}", page.text());
            clinic.idp.change(|manner| manner.claims = ada());
        }
        let lies = [Signature::None, Signature::Hs256, Signature::Stolen, Signature::OwnJwk, Signature::Missing];
        for lie in lies {
            clinic.idp.change(|manner| manner.signature = lie);
            assert_eq!(clinic.attempt().await.status(), 403, "{lie:?}");
        }
        clinic.idp.change(|manner| manner.signature = Signature::Key(0));
        assert_eq!(clinic.attempt().await.status(), 303, "nothing else was in the way");
        let entries = clinic.world.finish().await;
        let denied = logins(&entries, Ending::Denied);
        assert_eq!(denied.len(), attempts.len() + lies.len());
        assert!(denied.iter().all(|entry| entry.record.reason.as_deref() == Some("id_token_invalid")));
        assert!(denied.iter().all(|entry| entry.record.sub.is_none()), "nobody is known");
    });
}

#[test]
fn who_may_not_come_in_is_refused_by_name() {
    run(async {
        let clinic = Clinic::new().await;
        for (name, value, reason) in [
            ("realm_access", json!({"roles": ["auditor", "offline_access"]}), "no_role_allowed"),
            ("fhirUser", json!("RelatedPerson/r1"), "fhir_user_type_not_allowed"),
            ("fhirUser", json!("https://elsewhere.example/fhir/Practitioner/d1"), "fhir_user_malformed"),
            ("patients", json!("Patient/../x"), "patients_malformed"),
        ] {
            clinic.idp.claim(name, value);
            let mut browser = Browser::new(&clinic.world);
            let page = browser.authorize(&request(SCOPE)).await;
            let page = clinic.log_in_at_provider(&mut browser, &page).await;
            assert!(page.status() == 403 && page.text().contains("may not be used here"), "{reason}: {}", page.text());
            assert!(browser.session().is_none());
            // Another try is for another account.
            clinic.idp.take_asked("/authorize");
            clinic.idp.change(|manner| manner.claims = ada());
            let again =
                page.text().split_once("href=\"/authorize/continue").unwrap().1.split('"').next().unwrap().to_owned();
            let page = browser.get(&format!("/authorize/continue{again}")).await;
            assert_eq!(clinic.log_in_at_provider(&mut browser, &page).await.status(), 303, "{reason}");
            assert_eq!(clinic.idp.take_asked("/authorize")[0]["prompt"], "login");
        }
        let entries = clinic.world.finish().await;
        let denied = logins(&entries, Ending::Denied);
        assert_eq!(denied.len(), 4);
        assert!(denied.iter().all(|entry| entry.record.sub.as_deref() == Some("ada") && entry.record.roles.is_empty()));
    });
}

// M1, M3: state is single use, of this browser, and of this provider
#[test]
fn a_state_that_is_used_forged_of_another_browser_or_provider_logs_nobody_in() {
    run(async {
        let clinic = Clinic::new().await;
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&request(SCOPE)).await;
        let url = clinic.press(&mut browser, &page).await;
        let back = clinic.visit(&url).await;
        // The callback of somebody else's login, in a browser that has a transaction of its own: login CSRF.
        let mut stranger = Browser::new(&clinic.world);
        stranger.authorize(&request(SCOPE)).await;
        let page = stranger.get(&back).await;
        assert_eq!((page.status(), stranger.session()), (403, None));
        // The code went nowhere, the state is not spent by it, and other forms of it are nothing.
        let (_, state) = back.split_once("state=").unwrap();
        let state = state.split('&').next().unwrap();
        for forged in ["", "x", ".", &"x".repeat(5_000), &format!("{state}x"), state.split('.').next().unwrap()] {
            let page = browser.get(&back.replace(state, forged)).await;
            assert!([303, 400].contains(&page.status()), "{forged}: {}", page.reply.all());
            assert_ne!(page.location().as_deref(), Some("/"), "{forged}");
            assert!(browser.session().is_none(), "{forged}");
        }
        assert_eq!(browser.get(&back.replace("&code=", "&state=x&code=")).await.status(), 400, "twice");
        assert_eq!(clinic.idp.take_asked("/token").len(), 0);
        // For another provider.
        let page = browser.get(&back.replace("/callback/hospital", "/callback/other")).await;
        assert!(page.status() == 400 && page.text().contains("mixed up"), "{}", page.reply.all());
        assert_eq!((clinic.idp.take_asked("/token").len(), browser.session()), (0, None));
        // Used up by that: the person starts again, and nobody is logged in by coming back once more.
        let page = browser.get(&back).await;
        assert!(page.location().unwrap().starts_with("/authorize/continue?"));
        assert!(browser.follow(page).await.asks_for_login());
        assert_eq!(clinic.idp.take_asked("/token").len(), 0);
        // Ten minutes.
        let page = browser.authorize(&request(SCOPE)).await;
        let url = clinic.press(&mut browser, &page).await;
        let back = clinic.visit(&url).await;
        clinic.world.advance(600).await;
        let page = browser.get(&back).await;
        assert!(browser.follow(page).await.asks_for_login());
        clinic.world.finish().await;
    });
}

// E13: an EHR launch is bound to its user
#[test]
fn a_launch_that_names_a_user_is_for_that_user_of_the_provider() {
    run(async {
        let clinic = Clinic::with(Clock::fixed(NOW), |settings| {
            // This one only names users, of the provider's issuer.
            let mut parts = settings.sections.split("[[client]]\nclient_id = \"plain-ehr\"");
            let (before, after) = (parts.next().unwrap(), parts.next().unwrap());
            let issuer = before.split("user_issuers = [\"https://gw.example.org\", \"").nth(1).unwrap();
            let issuer = issuer.split('"').next().unwrap();
            let after = after.replacen("https://gw.example.org", issuer, 1);
            settings.sections = format!("{before}[[client]]\nclient_id = \"plain-ehr\"{after}");
        })
        .await;
        let scope = "launch openid fhirUser offline_access patient/Patient.rs";
        let launch = |sub: &str| {
            json!({"client_id": "spa", "patient": "P1",
                "user": {"iss": clinic.idp.issuer(), "sub": sub, "fhirUser": "Practitioner/d1"}})
        };
        let spa = "https://spa.example.org/cb";
        let own = handle(&clinic.world, "plain-ehr", &launch("ada")).await;
        let mut browser = Browser::new(&clinic.world);
        let page = browser.authorize(&with(request_of("spa", spa, scope), "launch", &own)).await;
        assert!(page.asks_for_login());
        let page = clinic.log_in_at_provider(&mut browser, &page).await;
        let page = browser.follow(page).await;
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        clinic.world.secret(&code);
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", spa);
        let given = token(&clinic.world, &fields, &[]).await.json();
        assert_eq!(claims(text(&given, "access_token"))["roles"], json!(["clinician"]), "as the provider says");
        let refreshed =
            [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token")), ("client_id", "spa")];
        assert_eq!(token(&clinic.world, &refreshed, &[]).await.status, 200);
        // Ada is still logged in, and the next launch is Grace's: the provider is asked for a new login.
        clinic.idp.take_asked("/authorize");
        let others = handle(&clinic.world, "plain-ehr", &launch("grace")).await;
        let page = browser.authorize(&with(request_of("spa", spa, scope), "launch", &others)).await;
        assert!(page.asks_for_login() && page.text().contains("opened for another user"), "{}", page.text());
        let page = clinic.log_in_at_provider(&mut browser, &page).await;
        assert_eq!(page.refusal(), "access_denied", "Ada again");
        assert_eq!(clinic.idp.take_asked("/authorize")[0]["prompt"], "login");
        clinic.world.finish().await;
    });
}

// E21
#[test]
fn guessed_callbacks_are_counted_against_their_address() {
    run(async {
        let clinic = Clinic::with(Clock::fixed(NOW), |settings| settings.failed_credentials = 5).await;
        let mut browser = Browser::new(&clinic.world);
        let statuses: Vec<u16> = {
            let mut statuses = Vec::new();
            for number in 0..8 {
                let target = format!("/login/callback/hospital?state={}.{number}&code=x", "x".repeat(43));
                statuses.push(browser.get(&target).await.status());
            }
            statuses
        };
        assert_eq!(statuses.first(), Some(&400));
        assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
        clinic.world.finish().await;
    });
}

#[test]
fn a_user_of_a_removed_provider_is_refused_with_every_token() {
    run(async {
        let clinic = Clinic::new().await;
        let given = clinic.tokens().await;
        let access = text(&given, "access_token");
        assert_eq!(clinic.world.get("/fhir/Patient/P1", access).await.status, 200);
        clinic.world.finish().await;
        // The same keys sign in every world; this one knows no provider.
        let world = world_at(&Clock::fixed(NOW)).await;
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 401);
        world.finish().await;
        // And this one an EHR that speaks of such users and does not vouch for them.
        let mut settings = Settings { clock: Clock::fixed(NOW), ..settings() };
        settings.sections = settings.sections.replace("https://idp.example.org", clinic.idp.issuer());
        let world = World::with(without_vouching(settings)).await;
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 401);
        world.finish().await;
    });
}

fn without_vouching(mut settings: Settings) -> Settings {
    settings.sections = settings.sections.replace("vouches_for_users = true\n", "");
    settings
}

#[test]
fn a_user_of_a_provider_is_known_though_no_ehr_vouches_for_them() {
    run(async {
        let vouching = |settings: &mut Settings| *settings = without_vouching(std::mem::take(settings));
        let clinic = Clinic::with(Clock::fixed(NOW), vouching).await;
        let given = clinic.tokens().await;
        assert_eq!(clinic.world.get("/fhir/Patient/P1", text(&given, "access_token")).await.status, 200);
        clinic.world.finish().await;
    });
}

#[test]
fn the_gateway_proves_itself_to_the_provider_by_key_or_in_the_body_where_that_is_wanted() {
    run(async {
        let clinic = Clinic::new().await;
        clinic.idp.change(|manner| {
            drop(
                manner
                    .metadata
                    .insert("token_endpoint_auth_methods_supported".to_owned(), json!(["client_secret_post"])),
            );
        });
        assert_eq!(clinic.attempt().await.status(), 303);
        assert_eq!(clinic.idp.take_asked("/token")[0]["client_secret"], CLIENT_SECRET);
        clinic.world.finish().await;

        let files = tempfile::tempdir().unwrap();
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        fs::write(files.path().join("key.pem"), pair.serialize_pem()).unwrap();
        let key = format!("private_key_file = \"{}\"", files.path().join("key.pem").display());
        let clinic = Clinic::with(Clock::fixed(NOW), |settings| {
            let (before, rest) = settings.sections.split_once("client_secret_file").unwrap();
            let (_, after) = rest.split_once('\n').unwrap();
            settings.sections = format!("{before}{key}\n{after}");
        })
        .await;
        assert_eq!(clinic.attempt().await.status(), 303);
        let asked = clinic.idp.take_asked("/token");
        assert!(!asked[0].contains_key("client_secret"));
        assert_eq!(asked[0]["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let assertion = &asked[0]["client_assertion"];
        clinic.world.secret(assertion);
        let said = claims(assertion);
        let audience = format!("{}/token", clinic.idp.issuer());
        assert_eq!((text(&said, "iss"), text(&said, "sub"), text(&said, "aud")), (CLIENT_ID, CLIENT_ID, &*audience));
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let public = jsonwebtoken::DecodingKey::from_ec_der(pair.public_key_raw());
        let good = jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &public, jsonwebtoken::Algorithm::ES384);
        assert!(good.unwrap());
        clinic.world.finish().await;
    });
}
