//! Launches from an EHR: the context comes over the back channel, the browser carries an opaque handle once.

use firebreak::clock::Clock;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::world::run;

const EHR_SCOPE: &str = "launch openid fhirUser offline_access patient/Observation.rs patient/Patient.rs";
const SPA: &str = "https://spa.example.org/cb";
const NOW: i64 = 1_900_000_000;

fn context() -> Value {
    json!({
        "client_id": "spa", "patient": "P1", "encounter": "e1", "intent": "reconcile-medications", "tenant": "ward 7",
        "appContext": "{\"task\":\"a b\"}", "need_patient_banner": false, "smart_style_url": "https://ehr.example.org/style.json",
        "fhirContext": [{"reference": "Observation/o1", "role": "https://example.org/why"}],
        "user": {"iss": "https://idp.example.org", "sub": "nurse-joy", "fhirUser": "Practitioner/d1"},
    })
}

fn launching(launch: &str) -> Vec<(&str, &str)> {
    with(request_of("spa", SPA, EHR_SCOPE), "launch", launch)
}

// L5: the profiles hand over the patient, encounter and context of a Task
#[test]
fn an_ehr_that_vouches_launches_without_a_login_and_its_context_comes_with_every_token() {
    run(async {
        let world = world().await;
        let created = hand_over(&world, "ehr", &context()).await;
        assert_eq!(created.status, 201, "{}", created.all());
        let created = created.json();
        let url = Url::parse(text(&created, "launch_url")).unwrap();
        let given: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let launch = text(&created, "launch");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(given, [pair("theme", "dark"), pair("iss", BASE), pair("launch", launch)]);
        assert_eq!(created["expires_in"], 60);
        world.secret(launch);
        // A clinician is logged in in this browser: the launch is not theirs, and they stay who they are.
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request_of("spa", SPA, "user/Patient.rs")).await;
        browser.log_in(&page, "dr").await;
        let session = browser.session().unwrap().to_owned();
        let page = browser.authorize(&launching(launch)).await;
        assert!(page.asks_for_consent() && page.text().contains("nurse-joy"), "{}", page.reply.all());
        let page = browser.allow_all(&page).await;
        assert_eq!(browser.session(), Some(session.as_str()));
        let code = page.returned("code").unwrap();
        world.secret(&code);
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", SPA);
        let first = token(&world, &fields, &[]).await.json();
        let refreshed =
            [("grant_type", "refresh_token"), ("refresh_token", text(&first, "refresh_token")), ("client_id", "spa")];
        let second = token(&world, &refreshed, &[]).await.json();
        for given in [&first, &second] {
            for name in ["patient", "encounter", "intent", "tenant", "need_patient_banner", "smart_style_url"] {
                assert_eq!(given[name], context()[name], "{name}");
            }
            for name in ["fhirContext", "appContext"] {
                assert_eq!(given[name], context()[name], "{name}");
            }
            assert_eq!(text(given, "scope"), EHR_SCOPE);
            let access = text(given, "access_token");
            assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
            assert_eq!(world.get("/fhir/Patient/P2", access).await.status, 404);
        }
        let identity = claims(text(&first, "id_token"));
        assert_eq!(text(&identity, "fhirUser"), format!("{BASE}/Practitioner/d1"));
        assert!(!text(&identity, "sub").contains("nurse"), "a user of another issuer is nobody of ours");
        let entries = world.finish().await;
        let launched = entries.iter().find(|entry| entry.record.kind == firebreak::audit::EventKind::Launch).unwrap();
        assert_eq!(launched.record.client_id.as_deref(), Some("ehr"));
        assert_eq!(launched.record.sub.as_deref(), Some("nurse-joy"));
        assert_eq!(launched.record.iss.as_deref(), Some("https://idp.example.org"));
    });
}

#[test]
fn b1_9_a_handle_is_good_once_for_its_client_and_for_a_minute_or_five() {
    run(async {
        let clock = Clock::fixed(NOW);
        let world = world_at(&clock).await;
        let mut browser = Browser::new(&world);
        let plain = json!({"client_id": "spa", "patient": "P1"});
        let used = handle(&world, "ehr", &plain).await;
        assert!(browser.authorize(&launching(&used)).await.asks_for_login());
        assert_eq!(browser.authorize(&launching(&used)).await.refusal(), "invalid_request", "used");
        let foreign = handle(&world, "ehr", &plain).await;
        let other = with(request_of("server", "https://server.example.org/cb", EHR_SCOPE), "launch", &foreign);
        assert_eq!(browser.authorize(&other).await.refusal(), "invalid_request", "of another client");
        for (context, life) in [(plain.clone(), 300), (context(), 60)] {
            let handle = handle(&world, "ehr", &context).await;
            clock.advance(life);
            assert_eq!(browser.authorize(&launching(&handle)).await.refusal(), "invalid_request", "expired");
        }
        for bad in ["unknown", "", "..", &"x".repeat(43)] {
            assert_eq!(browser.authorize(&launching(bad)).await.refusal(), "invalid_request", "{bad}");
        }
        // Two browsers at the same moment: one gets it.
        let twice = handle(&world, "ehr", &plain).await;
        let (mut one, mut two) = (Browser::new(&world), Browser::new(&world));
        let parameters = launching(&twice);
        let (one, two) = tokio::join!(one.authorize(&parameters), two.authorize(&parameters));
        assert_eq!([&one, &two].iter().filter(|page| page.asks_for_login()).count(), 1);
        // A request that is refused for another reason spends nothing.
        let kept = handle(&world, "ehr", &plain).await;
        let flawed = without(launching(&kept), "code_challenge");
        assert_eq!(browser.authorize(&flawed).await.refusal(), "invalid_request");
        assert!(browser.authorize(&launching(&kept)).await.asks_for_login());
        let unregistered = with(request(EHR_SCOPE), "launch", "anything");
        assert_eq!(browser.authorize(&unregistered).await.refusal(), "unauthorized_client");
        world.finish().await;
    });
}

#[test]
fn a_launch_for_one_user_is_not_for_the_one_who_is_logged_in() {
    run(async {
        let world = world().await;
        let named = json!({"client_id": "spa", "patient": "P1", "user": {"iss": ISSUER, "sub": "dr2"}});
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        browser.log_in(&page, "dr").await;
        let launch = handle(&world, "plain-ehr", &named).await;
        let page = browser.authorize(&launching(&launch)).await;
        assert!(page.asks_for_login(), "{}", page.reply.all());
        assert_eq!(browser.log_in(&page, "dr").await.refusal(), "access_denied");
        let launch = handle(&world, "plain-ehr", &named).await;
        let silent = with(launching(&launch), "prompt", "none");
        assert_eq!(browser.authorize(&silent).await.refusal(), "login_required");
        let launch = handle(&world, "plain-ehr", &named).await;
        let page = browser.authorize(&launching(&launch)).await;
        let page = browser.log_in(&page, "dr2").await;
        assert!(page.asks_for_consent(), "{}", page.reply.all());
        assert!(!page.text().contains("Use another account"));
        // The other one cannot take it over from another tab: a new login makes the page void.
        let elsewhere = browser.authorize(&with(request(SCOPE), "prompt", "login")).await;
        browser.log_in(&elsewhere, "dr").await;
        assert_eq!(browser.allow_all(&page).await.status(), 403);
        world.finish().await;
    });
}

#[test]
fn a_vouched_for_user_of_ours_has_no_more_roles_than_the_ehr_may_give() {
    run(async {
        let world = world().await;
        let context = json!({"client_id": "spa", "patient": "P1", "user": {"iss": ISSUER, "sub": "dr2"}});
        let launch = handle(&world, "ehr", &context).await;
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&launching(&launch)).await;
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", SPA);
        let given = token(&world, &fields, &[]).await.json();
        assert_eq!(claims(text(&given, "access_token"))["roles"], json!(["clinician"]));
        assert_eq!(browser.session(), None, "it is logged in for this launch alone");
        world.finish().await;
    });
}

#[test]
fn what_cannot_be_a_launch_context_is_refused_by_name() {
    run(async {
        let world = world().await;
        let user = |iss: &str, sub: &str, fhir_user: &str| json!({"client_id": "spa", "user": {"iss": iss, "sub": sub, "fhirUser": fhir_user}});
        for (ehr, body, expected) in [
            ("ehr", user("https://other.example.org", "u", "Practitioner/d1"), (403, "access_denied")),
            ("ehr", user("https://idp.example.org", "u", "Patient/P1"), (403, "access_denied")),
            ("plain-ehr", user("https://idp.example.org", "u", "Practitioner/d1"), (403, "access_denied")),
            ("ehr", user(ISSUER, "dr", "Practitioner/d2"), (422, "invalid_launch_context")),
            ("ehr", user(ISSUER, "nobody", "Practitioner/d1"), (422, "invalid_launch_context")),
            (
                "ehr",
                user("https://idp.example.org", "u", "https://evil.example/fhir/Practitioner/d1"),
                (422, "invalid_launch_context"),
            ),
            ("ehr", user("https://idp.example.org", "", "Practitioner/d1"), (422, "invalid_launch_context")),
            (
                "ehr",
                json!({"client_id": "spa", "user": {"iss": ISSUER, "sub": "dr", "roles": ["admin"]}}),
                (422, "invalid_launch_context"),
            ),
            ("ehr", json!({"client_id": "spa", "roles": ["admin"]}), (422, "invalid_launch_context")),
            ("ehr", json!({"client_id": "nobody"}), (422, "invalid_launch_context")),
            ("ehr", json!({"client_id": "other"}), (422, "invalid_launch_context")),
            ("ehr", json!({"client_id": "ehr"}), (422, "invalid_launch_context")),
            ("ehr", json!({"client_id": "spa", "patient": "Patient/P1"}), (422, "invalid_launch_context")),
            ("ehr", json!({"client_id": "spa", "patient": "P1?x"}), (422, "invalid_launch_context")),
            (
                "ehr",
                json!({"client_id": "spa", "fhirContext": [{"reference": "Patient/P2"}]}),
                (422, "invalid_launch_context"),
            ),
            (
                "ehr",
                json!({"client_id": "spa", "smart_style_url": "javascript:alert(1)"}),
                (422, "invalid_launch_context"),
            ),
            ("ehr", json!(["spa"]), (422, "invalid_launch_context")),
        ] {
            let reply = hand_over(&world, ehr, &body).await;
            assert_eq!(refusal(&reply), refused(expected.0, expected.1), "{ehr} {body}");
        }
        let assertion = || sign(&header(), &assertion_claims("ehr", world.clock.unix_seconds()));
        let twice = post_launch(&world, &assertion(), r#"{"client_id":"spa","client_id":"server"}"#).await;
        assert_eq!(refusal(&twice), refused(422, "invalid_launch_context"));
        assert_eq!(refusal(&post_launch(&world, &assertion(), "{").await), refused(400, "invalid_request"));
        let long = format!("{{\"client_id\":\"spa\",\"intent\":\"{}\"}}", "x".repeat(70_000));
        assert_eq!(refusal(&post_launch(&world, &assertion(), &long).await), refused(400, "invalid_request"));
        for content_type in ["text/json", "application/x-www-form-urlencoded", "application/jsonx"] {
            let headers = [format!("Authorization: Bearer {}", assertion()), format!("Content-Type: {content_type}")];
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let reply = world.send("POST /launch-contexts", "", &headers, r#"{"client_id":"spa"}"#).await;
            assert_eq!(refusal(&reply), refused(400, "invalid_request"), "{content_type}");
        }
        assert_eq!(world.get("/launch-contexts", "").await.status, 405);
        world.finish().await;
    });
}

/// B2 35 to 38
#[test]
fn an_assertion_that_is_not_exactly_right_proves_nothing() {
    run(async {
        let world = world().await;
        let body = r#"{"client_id":"spa"}"#;
        let now = world.clock.unix_seconds();
        let good = || assertion_claims("ehr", now);
        let changed = |name: &str, value: Value| {
            let mut claims = good();
            claims[name] = value;
            claims
        };
        let lacking = |name: &str| {
            let mut claims = good();
            claims.as_object_mut().unwrap().remove(name);
            claims
        };
        let mut bad = vec![
            ("aud of another", sign(&header(), &changed("aud", json!("https://evil.example/launch-contexts")))),
            ("aud longer", sign(&header(), &changed("aud", json!(format!("{ISSUER}/launch-contexts/"))))),
            ("aud array", sign(&header(), &changed("aud", json!([format!("{ISSUER}/launch-contexts")])))),
            ("aud of the base", sign(&header(), &changed("aud", json!(BASE)))),
            ("exp far", sign(&header(), &changed("exp", json!(now + 400)))),
            ("exp past", sign(&header(), &changed("exp", json!(now - 1)))),
            ("exp text", sign(&header(), &changed("exp", json!((now + 60).to_string())))),
            ("nbf ahead", sign(&header(), &changed("nbf", json!(now + 100)))),
            ("other sub", sign(&header(), &changed("sub", json!("spa")))),
            ("other iss", sign(&header(), &changed("iss", json!("plain-ehr")))),
            ("unknown", sign(&header(), &assertion_claims("nobody", now))),
            ("blank jti", sign(&header(), &changed("jti", json!(" ")))),
            ("a client without keys", sign(&header(), &assertion_claims("spa", now))),
            ("no kid", sign(&Header { kid: None, ..header() }, &good())),
            ("unknown kid", sign(&Header { kid: Some("x".to_owned()), ..header() }, &good())),
            ("typ", sign(&Header { typ: Some("at+jwt".to_owned()), ..header() }, &good())),
            ("jku", sign(&Header { jku: Some("https://evil.example/jwks".to_owned()), ..header() }, &good())),
        ];
        for name in ["iss", "sub", "aud", "exp", "jti"] {
            bad.push((name, sign(&header(), &lacking(name))));
        }
        let symmetric = Header { kid: Some("ehr-key".to_owned()), ..Header::new(Algorithm::HS256) };
        let public = EncodingKey::from_secret(&EHR.point);
        bad.push(("HS256 with the public key", jsonwebtoken::encode(&symmetric, &good(), &public).unwrap()));
        let signed = sign(&header(), &good());
        let (content, signature) = signed.rsplit_once('.').unwrap();
        let payload = content.split_once('.').unwrap().1;
        for unsigned in [r#"{"alg":"none","typ":"JWT","kid":"ehr-key"}"#, r#"{"alg":"None","typ":"JWT"}"#] {
            use base64::Engine;
            let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(unsigned);
            bad.push(("none", format!("{head}.{payload}.")));
            bad.push(("none with a signature", format!("{head}.{payload}.{signature}")));
        }
        bad.push(("cut", signed.get(..signed.len() - 4).unwrap().to_owned()));
        bad.push(("empty", String::new()));
        for (what, assertion) in &bad {
            let authorization = format!("Authorization: Bearer {assertion}");
            let headers = [authorization.as_str(), "Content-Type: application/json"];
            let reply = world.send("POST /launch-contexts", "", &headers, body).await;
            assert_eq!(refusal(&reply), refused(401, "invalid_client"), "{what}");
            assert!(reply.header("www-authenticate").starts_with("Bearer "), "{what}");
        }
        let with_app_secret = [basic("server", SECRET), "Content-Type: application/json".to_owned()];
        let with_app_secret: Vec<&str> = with_app_secret.iter().map(String::as_str).collect();
        let reply = world.send("POST /launch-contexts", "", &with_app_secret, body).await;
        assert_eq!(refusal(&reply), refused(401, "invalid_client"), "an app is no EHR");
        assert_eq!(post_launch(&world, &signed, body).await.status, 201, "the one that they were made from is good");
        world.finish().await;
    });
}

/// B2 38
#[test]
fn of_many_copies_of_one_assertion_at_the_same_time_one_is_accepted() {
    run(async {
        let world = world().await;
        let signed = sign(&header(), &assertion_claims("ehr", world.clock.unix_seconds()));
        let post = async || post_launch(&world, &signed, r#"{"client_id":"spa"}"#).await.status;
        let (one, two, three, four) = tokio::join!(post(), post(), post(), post());
        let mut statuses = [one, two, three, four];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 401, 401, 401]);
        assert_eq!(post().await, 401, "nor later");
        world.finish().await;
    });
}

// L3, T8, B1 9: the encounter of a launch is looked up, whoever vouches for it
#[test]
fn an_encounter_of_another_patient_does_not_launch_and_is_never_told() {
    run(async {
        let world = world().await;
        for (ehr, encounter) in [("ehr", "e2"), ("ehr", "no-such-encounter"), ("plain-ehr", "e2")] {
            let mut body = json!({"client_id": "spa", "patient": "P1", "encounter": encounter});
            if ehr == "ehr" {
                body["user"] = context()["user"].clone();
            }
            let launch = handle(&world, ehr, &body).await;
            let mut browser = Browser::new(&world);
            let page = browser.authorize(&launching(&launch)).await;
            let page = if ehr == "ehr" { page } else { browser.log_in(&page, "dr").await };
            assert_eq!(
                (page.refusal().as_str(), page.returned("state").as_deref()),
                ("invalid_request", Some("st4te"))
            );
        }
        let alone = hand_over(&world, "ehr", &json!({"client_id": "spa", "encounter": "e1"})).await;
        assert_eq!(refusal(&alone), refused(422, "invalid_launch_context"));
        world.finish().await;
    });
}
