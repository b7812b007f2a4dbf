//! The pages, the EHR launch over a back channel that is watched, and the console.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

mod console;
mod launch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http_body_util::BodyExt;

use super::*;

const ORIGIN: &str = "https://localhost:8443";

/// Keeps what was posted and gives the prepared answer.
#[derive(Debug)]
struct Watched {
    posted: Mutex<Vec<(String, String, String)>>,
    reply: Result<Reply, BackChannelError>,
}

impl Watched {
    fn answering(status: u16, body: &str) -> Arc<Self> {
        let reply =
            Reply { status: StatusCode::from_u16(status).unwrap(), body: Bytes::copy_from_slice(body.as_bytes()) };
        Arc::new(Self { posted: Mutex::default(), reply: Ok(reply) })
    }
}

impl BackChannel for Watched {
    fn post<'a>(
        &'a self,
        url: &'a str,
        assertion: &'a str,
        json: String,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, BackChannelError>> + Send + 'a>> {
        self.posted.lock().unwrap().push((url.to_owned(), assertion.to_owned(), json));
        Box::pin(std::future::ready(self.reply.clone()))
    }
}

fn site(back_channel: Arc<dyn BackChannel>) -> (DemoSite, broadcast::Sender<Arc<str>>) {
    let (audit, _) = broadcast::channel(8);
    let subscribe = audit.clone();
    let app = |client_id: &str, name: &str, url: &str| App {
        client_id: client_id.to_owned(),
        name: name.to_owned(),
        launch_url: url.parse().unwrap(),
    };
    let settings = Settings {
        origin: ORIGIN.to_owned(),
        fhir_base: format!("{ORIGIN}/fhir"),
        issuer: ORIGIN.to_owned(),
        ca_file: "/tmp/firebreak-demo/ca.crt".to_owned(),
        store: store(),
        ehr: EhrClient {
            client_id: "larkspur-ehr".to_owned(),
            key: EhrKey::generate().unwrap(),
            user_issuer: ORIGIN.to_owned(),
            user_subject: "dr.rivera".to_owned(),
            fhir_user: "Practitioner/elena-rivera".to_owned(),
            display_name: "Dr. Elena Rivera".to_owned(),
        },
        apps: vec![
            app(DemoSite::APP_CLIENT_ID, "Vitals", "https://localhost:8443/app/launch"),
            app("own-app", "<My> app", "http://localhost:3000/launch?a=b"),
        ],
        logins: vec![
            Login {
                username: "dr.rivera".to_owned(),
                password: Some("x<y".to_owned()),
                display_name: "Dr. Elena Rivera".to_owned(),
            },
            Login { username: "amina.diallo".to_owned(), password: None, display_name: "Amina Diallo".to_owned() },
        ],
        back_channel,
        audit: Box::new(move || subscribe.subscribe()),
        clock: Clock::fixed(1_795_395_723),
        stop: CancellationToken::new(),
    };
    (DemoSite::new(settings), audit)
}

/// One store for all tests: it does not change.
fn store() -> Arc<Store> {
    static STORE: std::sync::OnceLock<Arc<Store>> = std::sync::OnceLock::new();
    Arc::clone(STORE.get_or_init(|| Arc::new(Store::new("http://127.0.0.1:1/fhir"))))
}

fn plain_site() -> DemoSite {
    site(Watched::answering(500, "")).0
}

async fn get(site: &DemoSite, target: &str) -> Option<(Response<()>, String)> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let response = site.respond(&Method::GET, path, query, &HeaderMap::new(), b"").await?;
    let (head, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Some((Response::from_parts(head, ()), text))
}

/// The values of an attribute, wherever it stands in the page.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

const PAGES: &[&str] = &[
    "/",
    "/ehr",
    "/ehr?q=dia",
    "/ehr/patients/amina-diallo",
    "/ehr/patients/nobody",
    "/app/",
    "/app/launch?iss=x",
    "/console",
];

#[tokio::test]
async fn every_page_keeps_to_its_content_security_policy() {
    let (site, audit) = site(Watched::answering(500, ""));
    audit.send(Arc::from(r#"{"seq":1,"time":"2026-11-16T14:30:00.000Z","kind":"login"}"#)).unwrap();
    for target in PAGES {
        let (head, html) = get(&site, target).await.unwrap();
        let policy = head.headers().get(CONTENT_SECURITY_POLICY).unwrap();
        let expected = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                        base-uri 'none'; frame-ancestors 'none'; form-action 'self' http://localhost:3000";
        assert_eq!(policy, expected, "{target}");
        let referrer = if target.starts_with("/app") { "no-referrer" } else { "same-origin" };
        for (name, value) in [
            ("referrer-policy", referrer),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(head.headers().get(name).unwrap(), value, "{name} of {target}");
        }
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script type=\"module\" src=\"/").count(),
            "{target}"
        );
        let lower = html.to_lowercase();
        for forbidden in ["<style", " style=", "javascript:", " onclick", " onload", " onsubmit", "<iframe"] {
            assert!(!lower.contains(forbidden), "{forbidden} in {target}");
        }
        for place in
            attributes(&html, "href").into_iter().chain(attributes(&html, "src")).chain(attributes(&html, "action"))
        {
            assert!(
                place.starts_with('/') || place.starts_with('#') || place.starts_with(ORIGIN),
                "{place} in {target}"
            );
        }
    }
}

#[tokio::test]
async fn every_page_has_a_title_a_language_a_heading_and_labelled_fields() {
    let site = plain_site();
    for target in PAGES {
        let (_, html) = get(&site, target).await.unwrap();
        assert!(html.contains("<html lang=\"en\">") && html.contains("<title>") && html.contains("name=\"viewport\""));
        // The app makes its heading when it knows what to show.
        assert!(html.contains("<h1>") || target.starts_with("/app"), "{target}");
        let ids = attributes(&html, "id");
        for labelled in attributes(&html, "for").into_iter().chain(attributes(&html, "aria-labelledby")) {
            assert!(ids.contains(&labelled), "{labelled} in {target}");
        }
        assert_eq!(
            html.matches("<select").count() + html.matches("type=\"search\"").count(),
            html.matches("<label").count()
        );
        assert!(html.contains("href=\"#main\"") && ids.contains(&"main"));
    }
}

#[tokio::test]
async fn everything_that_the_pages_load_is_there() {
    let site = plain_site();
    let mut wanted: Vec<String> = ["/app/page.js", "/app/smart.js", "/app/chart.js"].map(str::to_owned).into();
    for target in PAGES {
        let (_, html) = get(&site, target).await.unwrap();
        wanted.extend(attributes(&html, "src").into_iter().map(str::to_owned));
        wanted.extend(
            attributes(&html, "href")
                .into_iter()
                .filter(|place| place.starts_with('/') && !place.contains("?iss="))
                .map(str::to_owned),
        );
    }
    for place in wanted {
        let (head, body) = get(&site, &place).await.unwrap_or_else(|| panic!("{place} is not there"));
        assert_eq!(head.status(), StatusCode::OK, "{place}");
        assert!(!body.is_empty());
        if place.rsplit_once('.').is_some_and(|(_, extension)| extension == "js") {
            assert_eq!(head.headers().get(CONTENT_TYPE).unwrap(), "text/javascript; charset=utf-8");
        }
    }
}

#[tokio::test]
async fn the_app_is_at_its_redirect_uri_and_begins_at_its_launch_url() {
    let site = plain_site();
    let (head, _) = get(&site, "/app").await.unwrap();
    assert_eq!(
        (head.status(), head.headers().get("location").unwrap().to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/app/")
    );
    for (target, script) in [("/app/", "/app/vitals.js"), ("/app/launch?iss=x", "/app/launch.js")] {
        assert_eq!(attributes(&get(&site, target).await.unwrap().1, "src").last(), Some(&script), "{target}");
    }
}

#[tokio::test]
async fn paths_of_the_gateway_are_left_to_it() {
    let site = plain_site();
    for path in [
        "/fhir/Patient/amina-diallo",
        "/token",
        "/authorize",
        "/launch-contexts",
        "/app/../x",
        "/ehrs",
        "/console/",
        "//",
    ] {
        assert!(get(&site, path).await.is_none(), "{path}");
    }
}

#[tokio::test]
async fn a_page_is_read_and_not_written() {
    let site = plain_site();
    for (method, path, allowed) in [
        (Method::POST, "/", "GET, HEAD"),
        (Method::DELETE, "/ehr", "GET, HEAD"),
        (Method::GET, "/ehr/launch", "POST"),
        (Method::POST, "/console/events", "GET, HEAD"),
    ] {
        let response = site.respond(&method, path, None, &HeaderMap::new(), b"").await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers().get(ALLOW).unwrap(), allowed);
    }
}

#[tokio::test]
async fn the_start_page_tells_the_logins_and_the_addresses() {
    let (_, html) = get(&plain_site(), "/").await.unwrap();
    assert!(html.contains("<code>dr.rivera</code>") && html.contains("x&#60;y") && !html.contains("x<y"));
    assert!(html.contains("printed in the terminal at start"));
    assert!(html.contains("href=\"/app/launch?iss=https%3A%2F%2Flocalhost%3A8443%2Ffhir\""), "{html}");
    assert!(html.contains("curl --cacert /tmp/firebreak-demo/ca.crt https://localhost:8443/fhir/metadata"));
}

#[tokio::test]
async fn the_patient_list_finds_by_name_and_escapes_what_was_typed() {
    let site = plain_site();
    let (_, html) = get(&site, "/ehr").await.unwrap();
    assert_eq!(html.matches("href=\"/ehr/patients/").count(), 24 + 5);
    let all = html.split("id=\"all\"").nth(1).unwrap();
    let families = ["Al-Farsi", "Castillo", "Diallo", "Eze"].map(|family| all.find(family).unwrap());
    assert!(families.is_sorted(), "by family name: {all}");
    let (_, html) = get(&site, "/ehr?q=dial").await.unwrap();
    assert_eq!(html.matches("href=\"/ehr/patients/").count(), 1);
    for nobody in ["iallo", "dial%2Cnguyen"] {
        let (_, html) = get(&site, &format!("/ehr?q={nobody}")).await.unwrap();
        assert_eq!(html.matches("href=\"/ehr/patients/").count(), 0, "{nobody}");
    }
    let (_, html) = get(&site, "/ehr?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").await.unwrap();
    assert!(!html.contains("<script>") && html.contains("No patient has a name"));
}

#[tokio::test]
async fn the_chart_summarises_what_the_store_has() {
    let (_, html) = get(&plain_site(), "/ehr/patients/amina-diallo").await.unwrap();
    for text in [
        "<h1>Amina Fatou Diallo</h1>",
        "58 years",
        "Diabetes mellitus type 2",
        "metformin hydrochloride 1000 MG Oral Tablet",
        "Penicillin",
        "Blood pressure",
        "mmHg",
        "Hemoglobin A1c",
        "<option value=\"amina-diallo-visit-12\" selected>",
        "value=\"vitals-app\">Launch Vitals app",
        "Launch &#60;My&#62; app app",
        "Speaks French",
    ] {
        assert!(html.contains(text), "{text}");
    }
    let pressure = "<th scope=\"row\">Blood pressure</th>";
    let latest = html.split(pressure).nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(html.matches(pressure).count() == 1 && latest.contains("16 Nov 2026"), "the latest alone: {latest}");
    assert_eq!(html.matches("<option").count(), 1 + 8, "the latest visits, and none");
    let (head, _) = get(&plain_site(), "/ehr/patients/nobody").await.unwrap();
    assert_eq!(head.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn units_are_as_people_write_them() {
    let found = store().search("Patient", &[]);
    for patient in found.iter().map(|patient| serde_json::from_slice::<serde_json::Value>(patient).unwrap()) {
        let id = patient.pointer("/id").unwrap().as_str().unwrap().to_owned();
        let (_, html) = get(&plain_site(), &format!("/ehr/patients/{id}")).await.unwrap();
        assert!(!html.contains(['{', '}']), "{id}");
    }
}

#[tokio::test]
async fn what_a_visit_was_for_is_no_problem() {
    let found = store().search("Condition", &[("category", "encounter-diagnosis")]);
    let diagnosis: serde_json::Value = serde_json::from_slice(found.first().unwrap()).unwrap();
    let told = |pointer: &str| diagnosis.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let patient = told("/subject/reference").replace("Patient/", "/ehr/patients/");
    let (_, html) = get(&plain_site(), &patient).await.unwrap();
    let problems = html.split("id=\"problems\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(!problems.contains(&told("/code/text")), "{problems}");
}
