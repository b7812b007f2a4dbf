//! Launches that an EHR shows inside its own page.

use serde_json::json;

use super::browser::Page;
use super::*;
use crate::world::{Reply, run};

const SPA: &str = "https://spa.example.org/cb";
const ANCESTORS: &str = "frame-ancestors https://ehr.example.org https://portal.example.org";
const FRAMED: [&str; 2] = ["Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: same-origin"];

fn launching(launch: &str) -> String {
    let scope = "launch openid patient/Patient.rs";
    format!("/authorize?{}", encoded(&with(request_of("spa", SPA, scope), "launch", launch)))
}

fn cookies(reply: &Reply) -> Vec<&str> {
    let set = reply.headers.iter().filter(|(name, _)| name == "set-cookie");
    set.map(|(_, cookie)| cookie.as_str()).collect()
}

// A13, E14
#[test]
fn a_launch_in_a_frame_ends_there_and_only_the_ehr_may_show_it() {
    run(async {
        let world = world().await;
        let user = json!({"iss": "https://idp.example.org", "sub": "nurse-joy", "fhirUser": "Practitioner/d1"});
        let launch = handle(
            &world,
            "framing-ehr",
            &json!({"client_id": "spa", "patient": "P1", "encounter": "e1", "user": user}),
        )
        .await;
        let begun = world.send(&format!("GET {}", launching(&launch)), "", &FRAMED, "").await;
        assert_eq!((begun.status, begun.header("x-frame-options")), (303, ""), "{}", begun.all());
        let [cookie] = cookies(&begun)[..] else { panic!("one cookie is expected: {}", begun.all()) };
        assert!(cookie.ends_with("; SameSite=None; Secure; Partitioned; Max-Age=900"), "{cookie}");
        let (pair, _) = cookie.split_once(';').unwrap();
        let (_, secret) = pair.split_once('=').unwrap();
        world.secret(secret);
        let cookie = format!("Cookie: {pair}");
        let framed = [FRAMED[0], FRAMED[1], cookie.as_str()];
        let target = begun.header("location").to_owned();
        let page = Page { reply: world.send(&format!("GET {target}"), "", &framed, "").await };
        assert!(page.asks_for_consent() && page.text().contains("nurse-joy"), "{}", page.reply.all());
        let policy = page.reply.header("content-security-policy");
        assert!(
            policy.contains(&format!("{ANCESTORS};")) && page.reply.header("x-frame-options").is_empty(),
            "{policy}"
        );
        let stranger = world.send(&format!("GET {target}"), "", &FRAMED, "").await;
        assert_eq!((stranger.status, stranger.header("x-frame-options")), (403, "DENY"));
        assert!(stranger.header("content-security-policy").contains("frame-ancestors 'none'"));

        let (transaction, csrf) = (page.field("transaction"), page.field("csrf"));
        let body = encoded(&[
            ("transaction", transaction.as_str()),
            ("csrf", csrf.as_str()),
            ("decision", "allow"),
            ("scope", "patient/Patient.rs"),
        ]);
        let form = "Content-Type: application/x-www-form-urlencoded";
        // Another frame of the same page: the browser sends the cookie, and says where the form came from.
        let forged = ["Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: cross-site", cookie.as_str(), form];
        assert_eq!(world.send("POST /consent", "", &forged, &body).await.status, 403);
        let own = [FRAMED[0], FRAMED[1], cookie.as_str(), form];
        let done = Page { reply: world.send("POST /consent", "", &own, &body).await };
        let code = done.returned("code").unwrap_or_else(|| panic!("no code: {}", done.reply.all()));
        world.secret(&code);
        assert!(cookies(&done.reply).iter().all(|cookie| cookie.contains("; Partitioned; Max-Age=0")));
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", SPA);
        let given = token(&world, &fields, &[]).await.json();
        assert_eq!((text(&given, "patient"), text(&given, "encounter")), ("P1", "e1"));
        world.finish().await;
    });
}

// A13
#[test]
fn a_launch_of_an_ehr_that_lists_no_pages_is_framed_by_nobody() {
    run(async {
        let world = world().await;
        let launch = handle(&world, "plain-ehr", &json!({"client_id": "spa", "patient": "P1"})).await;
        let mut browser = Browser::new(&world);
        let begun = world.send(&format!("GET {}", launching(&launch)), "", &FRAMED, "").await;
        for cookie in cookies(&begun) {
            assert!(cookie.contains("SameSite=Lax") && !cookie.contains("Partitioned"), "{cookie}");
            let (name, value) = cookie.split_once(';').unwrap().0.split_once('=').unwrap();
            browser.jar.insert(name.to_owned(), value.to_owned());
        }
        let page = browser.get(begun.header("location")).await;
        assert!(page.asks_for_login());
        assert!(page.reply.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(page.reply.header("x-frame-options"), "DENY");
        world.finish().await;
    });
}
