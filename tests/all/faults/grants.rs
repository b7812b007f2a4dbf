//! A whole standalone launch by the forms that a browser would post, and what its tokens are good for.

use argon2::{Argon2, Params, PasswordHasher};
use serde_json::Value;

use crate::world::client::{Connection, Reply};
use crate::world::{Settings, World, request, run};

const PASSWORD: &str = "CANARY correct horse battery staple";
// RFC 7636 appendix B
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// A browser: keeps cookies and posts forms.
pub(super) struct Browser<'w> {
    world: &'w World,
    connection: Connection,
    cookies: Vec<(String, String)>,
}

impl<'w> Browser<'w> {
    pub(super) async fn before(world: &'w World) -> Self {
        Self { world, connection: world.connect().await, cookies: Vec::new() }
    }

    async fn send(&mut self, line: &str, fields: &[(&str, String)]) -> Reply {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = format!("Cookie: {}", cookies.join("; "));
        let mut headers = vec!["Origin: https://gw.example.org", "Sec-Fetch-Site: same-origin"];
        if !self.cookies.is_empty() {
            headers.push(&cookies);
        }
        if !body.is_empty() {
            headers.push(FORM);
        }
        let reply = self.world.send_on(&mut self.connection, line, "", &headers, &body).await;
        for (name, value) in &reply.headers {
            if name == "set-cookie" {
                let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.retain(|(known, _)| known != name);
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        reply
    }

    /// Goes on until the app's redirect URI is reached; gives the code.
    pub(super) async fn authorize(&mut self, scope: &str, username: &str) -> String {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", "app"),
                ("redirect_uri", "https://app.example.org/cb"),
                ("scope", scope),
                ("state", "state-of-the-app-0123456789"),
                ("aud", crate::world::BASE),
                ("code_challenge", CHALLENGE),
                ("code_challenge_method", "S256"),
            ])
            .finish();
        let mut reply = self.send(&format!("GET /authorize?{query}"), &[]).await;
        for _ in 0..12 {
            let location = reply.header("location").to_owned();
            if let Some(returned) = location.strip_prefix("https://app.example.org/cb?") {
                let pairs: Vec<(String, String)> = form_urlencoded::parse(returned.as_bytes()).into_owned().collect();
                return pairs.into_iter().find(|(name, _)| name == "code").unwrap_or_else(|| panic!("{location}")).1;
            }
            if !location.is_empty() {
                let target = location.strip_prefix("https://gw.example.org").unwrap_or(&location);
                reply = self.send(&format!("GET {target}"), &[]).await;
                continue;
            }
            let page = reply.text().to_owned();
            assert_eq!(reply.status, 200, "{page}");
            let transaction = ("transaction", field(&page, "transaction"));
            reply = if page.contains("name=\"password\"") {
                let fields = [
                    transaction,
                    ("username", username.to_owned()),
                    ("password", PASSWORD.to_owned()),
                    ("decision", "allow".to_owned()),
                ];
                self.send("POST /login", &fields).await
            } else if page.contains("name=\"csrf\"") {
                let mut fields = vec![transaction, ("csrf", field(&page, "csrf")), ("decision", "allow".to_owned())];
                fields.extend(
                    scope
                        .split(' ')
                        .filter(|scope| page.contains(&format!("value=\"{scope}\"")))
                        .map(|scope| ("scope", scope.to_owned())),
                );
                self.send("POST /consent", &fields).await
            } else {
                let fields = [transaction, ("patient", "P1".to_owned()), ("decision", "allow".to_owned())];
                self.send("POST /patient", &fields).await
            };
        }
        panic!("no end: {}", reply.all());
    }

    pub(super) async fn exchange(&mut self, code: &str) -> Reply {
        let fields = [
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", "https://app.example.org/cb".to_owned()),
            ("client_id", "app".to_owned()),
            ("code_verifier", VERIFIER.to_owned()),
        ];
        self.send("POST /token", &fields).await
    }

    pub(super) async fn refresh(&mut self, token: &str) -> Reply {
        let fields = [("grant_type", "refresh_token".to_owned()), ("refresh_token", token.to_owned())];
        self.send("POST /token", &fields).await
    }
}

fn field(page: &str, name: &str) -> String {
    let input = page
        .split("<input")
        .find(|input| input.contains(&format!("name=\"{name}\"")))
        .unwrap_or_else(|| panic!("{name}: {page}"));
    input.split_once("value=\"").unwrap().1.split('"').next().unwrap().to_owned()
}

pub(super) async fn world() -> World {
    let argon2 = Argon2::from(Params::new(8, 1, 1, None).unwrap());
    let hash = argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"saltsaltsaltsalt").unwrap().to_string();
    let sections = format!(
        "[[user]]\nusername = \"amy\"\npassword_hash = \"{hash}\"\nfhir_user = \"Practitioner/d1\"\nroles = [\"clinician\"]\n\
         [[user]]\nusername = \"pat\"\npassword_hash = \"{hash}\"\nfhir_user = \"Patient/P1\"\nroles = [\"patient\"]\npatients = [\"P1\"]\n"
    );
    World::with(Settings { sections, ..Default::default() }).await
}

pub(super) const SCOPE: &str =
    "openid fhirUser offline_access launch/patient patient/Observation.rs patient/Patient.rs";

#[test]
fn a_launch_ends_in_a_token_for_one_patient_and_no_other_token_opens_fhir() {
    run(async {
        let world = world().await;
        world.plant(PASSWORD);
        let mut browser = Browser::before(&world).await;
        let code = browser.authorize(SCOPE, "pat").await;
        let tokens = browser.exchange(&code).await;
        assert_eq!(tokens.status, 200, "{}", tokens.all());
        let tokens = tokens.json();
        assert_eq!(tokens["patient"], "P1");
        let text = |name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("{name}: {tokens}")).to_owned();
        let access = text("access_token");
        assert_eq!(world.get("/fhir/Observation/o1", &access).await.status, 200);
        assert_eq!(world.get("/fhir/Observation?_id=o1,o2", &access).await.ids(), ["o1"]);
        assert_eq!(world.get("/fhir/Observation/o2", &access).await.status, 404);
        assert_eq!(world.get("/fhir/Patient/P2", &access).await.status, 404);
        assert_eq!(world.get("/fhir/Condition/c1", &access).await.status, 403);
        world.upstream.take_seen();
        let session = browser.cookies.iter().map(|(_, value)| value.clone());
        for wrong in [text("id_token"), text("refresh_token"), code.clone()].into_iter().chain(session) {
            let reply = world.get("/fhir/Observation/o1", &wrong).await;
            assert_eq!(reply.status, 401, "{}", reply.all());
        }
        assert_eq!(world.upstream.seen(), 0);
        for secret in [access, text("id_token"), text("refresh_token"), code] {
            world.plant(&secret);
        }
        let records = world.finish().await;
        assert!(records.iter().any(|entry| entry.record.kind == firebreak::audit::EventKind::Token));
    });
}

#[test]
fn a_code_used_twice_ends_the_token_that_it_gave() {
    run(async {
        let world = world().await;
        let mut browser = Browser::before(&world).await;
        let code = browser.authorize(SCOPE, "pat").await;
        let tokens: Value = browser.exchange(&code).await.json();
        let access = tokens["access_token"].as_str().unwrap().to_owned();
        assert_eq!(world.get("/fhir/Observation/o1", &access).await.status, 200);
        let again = browser.exchange(&code).await;
        assert_eq!((again.status, &again.json()["error"]), (400, &"invalid_grant".into()));
        let reply = world.get("/fhir/Observation/o1", &access).await;
        assert_eq!(reply.status, 401, "{}", reply.all());
        world.finish().await;
    });
}

// E3, E7, F5
#[test]
fn of_many_refreshes_at_once_one_is_given_and_the_log_says_which() {
    run(async {
        let world = world().await;
        let mut browser = Browser::before(&world).await;
        let code = browser.authorize(SCOPE, "pat").await;
        let token = browser.exchange(&code).await.json()["refresh_token"].as_str().unwrap().to_owned();
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        let mut refreshes = tokio::task::JoinSet::new();
        for number in 0..24 {
            let mut connection = world.connect().await;
            let request = request("POST /token", "", &[FORM], &form, &format!("refresh-{number}"));
            refreshes.spawn(async move { connection.exchange(request.as_bytes(), false).await });
        }
        let replies = refreshes.join_all().await;
        let given: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 200).collect();
        let [given] = given.as_slice() else { panic!("{} were given a token", given.len()) };
        assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 400 | 429)), "{}", replies[0].all());
        let request_id = given.header("x-request-id").to_owned();
        let records = world.finish().await;
        let unreleased: Vec<u64> = records.iter().flat_map(|entry| entry.record.refers.clone()).collect();
        let released: Vec<&str> = records
            .iter()
            .filter(|entry| entry.record.action.as_deref() == Some("token_refreshed"))
            .filter(|entry| entry.record.outcome == Some(firebreak::audit::Ending::Released))
            .filter(|entry| !unreleased.contains(&entry.seq))
            .map(|entry| entry.record.request_id.as_deref().unwrap())
            .collect();
        assert_eq!(released, [request_id]);
        let denied = records.iter().filter(|entry| entry.record.status == Some(400));
        assert_eq!(denied.count(), replies.iter().filter(|reply| reply.status == 400).count());
    });
}
