//! A whole story: people and apps of every kind, their errors and their attackers, an upstream that fails. Told for those who
//! look through everything that comes of it. What is secret or about a person in it is planted, and named by what it is.

use serde_json::json;

use super::browser::Page;
use super::dpop::ProvingKey;
use super::*;
use crate::upstream::Answer;
use crate::world::{Settings, World};

/// What a planted text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Planted {
    AccessToken,
    RefreshToken,
    IdToken,
    Code,
    Verifier,
    ClientSecret,
    Password,
    Assertion,
    Proof,
    Cookie,
    AntiForgeryToken,
    LaunchHandle,
    SealedPage,
    RegistrationToken,
    /// The upstream's own credential.
    UpstreamCredential,
    /// Host and port of the upstream.
    UpstreamHost,
    /// What the upstream says of itself, its faults and its cursors.
    UpstreamWord,
    /// Name, identifiers, telephone number of the patient whom all of it is about.
    Person,
    /// Where a patient lives of whom nobody here may see more than the name.
    Stranger,
    /// What somebody searched for, below the FHIR base.
    SearchValue,
    /// What somebody typed into the search for a patient.
    PickerValue,
    /// What was in the URL or a header of a request that was refused.
    Rubbish,
    /// What was in its body.
    Body,
}

/// The story with everything that was planted in it.
#[derive(Debug)]
pub(crate) struct Story(pub(crate) Vec<(Planted, String)>);

const NAME: &str = "Zephyrine-Quartermain";
const MRN: &str = "MRN-8841-ZQX";
const SSN: &str = "078-05-1120";
const PHONE: &str = "555-0177-2204";
const STRANGER: &str = "Ottoline-Vandersloot";
const SEARCHED: &str = "9911-7-mood-disorder";
const TYPED: &str = "Zephyr";
const WRONG_PASSWORD: &str = "tr0ub4dor-and-3-wrong";
const RUBBISH: &str = "Bartholomew-Incognito";
const BODY: &str = "Peregrine-Anonymous";

/// Everybody of these stories, with a backend service and open registration, and patients whose names can be told from all else.
pub(crate) fn settings() -> Settings {
    let mut settings = super::settings();
    for resource in &mut settings.resources {
        let about = format!(
            r#""identifier":[{{"system":"urn:mrn","value":"{MRN}"}},{{"system":"http://hl7.org/fhir/sid/us-ssn","value":"{SSN}"}}],"telecom":[{{"value":"{PHONE}"}}]"#
        );
        for version in resource.versions.iter_mut().flatten() {
            *version = version
                .replace(r#""identifier":[{"system":"urn:mrn","value":"1"}]"#, &about)
                .replace("Chalmers", NAME)
                .replace("\"marked-Bob\"}]", &format!("\"Bob\"}}],\"address\":[{{\"text\":\"{STRANGER}\"}}]"));
        }
    }
    let jwks = EHR.jwks_file();
    let more = format!(
        "[registration]\nopen = true\n[[client]]\nclient_id = \"bulk\"\njwks_file = \"{jwks}\"\nscope = \"system/Patient.rs\"\n\
         grant_types = [\"client_credentials\"]\nroles = [\"backend\"]\n"
    );
    settings.sections.push_str(&more);
    settings.fhir += "timeout = \"500ms\"\n";
    Settings { keeps: true, ..settings }
}

impl Story {
    fn plant(&mut self, what: Planted, text: &str) {
        assert!(text.len() > 4, "{what:?} {text:?} is too short to be found");
        self.0.push((what, text.to_owned()));
    }

    fn plant_tokens(&mut self, response: &serde_json::Value) {
        let kinds = [
            ("access_token", Planted::AccessToken),
            ("refresh_token", Planted::RefreshToken),
            ("id_token", Planted::IdToken),
        ];
        for (name, what) in kinds {
            if let Some(token) = response[name].as_str() {
                self.plant(what, token);
            }
        }
    }

    fn plant_browser(&mut self, browser: &Browser<'_>) {
        browser.jar.values().for_each(|cookie| self.plant(Planted::Cookie, cookie));
    }

    fn plant_forms(&mut self, page: &Page) {
        page.fields("csrf").iter().for_each(|token| self.plant(Planted::AntiForgeryToken, token));
    }

    /// Tells it.
    pub(crate) async fn told(world: &World) -> Self {
        let mut story = Self(Vec::new());
        for (what, texts) in [
            (Planted::Verifier, [VERIFIER].as_slice()),
            (Planted::ClientSecret, &[SECRET]),
            (Planted::Password, &[PASSWORD, WRONG_PASSWORD]),
            (Planted::UpstreamCredential, &[crate::world::UPSTREAM_CREDENTIAL]),
            (Planted::UpstreamWord, &["CANARY"]),
            (Planted::Person, &[NAME, MRN, SSN, PHONE]),
            (Planted::Stranger, &[STRANGER]),
            (Planted::SearchValue, &[SEARCHED]),
            (Planted::PickerValue, &[TYPED]),
            (Planted::Rubbish, &[RUBBISH]),
            (Planted::Body, &[BODY]),
        ] {
            for text in texts {
                story.plant(what, text);
            }
        }
        story.plant(Planted::UpstreamHost, &world.upstream.authority());
        story.discovery(world).await;
        let access = story.a_patient_and_a_public_app(world).await;
        story.a_clinician_chooses(world).await;
        story.an_ehr_launches(world).await;
        story.apps_that_prove_who_they_are(world).await;
        story.what_is_refused(world, &access).await;
        story.an_upstream_that_fails(world, &access).await;
        story.what_a_person_takes_back(world, &access).await;
        story
    }

    async fn discovery(&mut self, world: &World) {
        for target in [
            "/fhir/.well-known/smart-configuration",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
            "/jwks",
            "/fhir/metadata",
        ] {
            assert_eq!(world.get(target, "").await.status, 200, "{target}");
        }
        let preflight = ["Origin: https://app.example.org", "Access-Control-Request-Method: POST"];
        assert_eq!(world.send("OPTIONS /token", "", &preflight, "").await.status, 204);
    }

    /// A wrong password, the right one, consent, code, token, reads, searches, pages, a refresh.
    async fn a_patient_and_a_public_app(&mut self, world: &World) -> String {
        let mut browser = Browser::new(world);
        let page = browser.authorize(&request(SCOPE)).await;
        self.plant_browser(&browser);
        let wrong = browser.log_in_with(&page, "pat", WRONG_PASSWORD).await;
        assert_eq!(wrong.status(), 403, "{}", wrong.reply.all());
        let page = browser.log_in(&page, "pat").await;
        self.plant_browser(&browser);
        self.plant_forms(&page);
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        self.plant(Planted::Code, &code);
        let mangled = with(exchange(&code), "code_verifier", "A-verifier-of-another-challenge-0123456789-abc");
        self.plant(Planted::Verifier, "A-verifier-of-another-challenge-0123456789-abc");
        assert_eq!(token(world, &mangled, &[]).await.status, 400);
        let given = tokens(world, "pat", SCOPE).await;
        self.plant_tokens(&given);
        let access = text(&given, "access_token").to_owned();
        for target in ["Patient/P1", "Observation/o1", "Observation/o1/_history/1", "Patient/P1?_elements=name"] {
            assert_eq!(world.get(&format!("/fhir/{target}"), &access).await.status, 200, "{target}");
        }
        let found = world.get(&format!("/fhir/Observation?code={SEARCHED}"), &access).await;
        assert_eq!(found.ids().len(), 0);
        let posted = world.post("/fhir/Patient/_search", &access, &format!("identifier=urn:mrn|{MRN}")).await;
        assert_eq!(posted.ids(), ["P1"]);
        let first = world.get("/fhir/Observation?_count=3", &access).await;
        let next = first.link("next").unwrap();
        self.plant(Planted::SealedPage, next.split("_page=").nth(1).unwrap());
        assert_eq!(world.get(&next, &access).await.status, 200);
        assert_eq!(world.get(next.strip_suffix(next.chars().last().unwrap()).unwrap(), &access).await.status, 400);
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token")), ("client_id", "app")];
        let refreshed = token(world, &fields, &[]).await.json();
        self.plant_tokens(&refreshed);
        let narrower = with(fields.to_vec(), "refresh_token", text(&refreshed, "refresh_token"));
        let wider = with(narrower, "scope", "patient/*.cruds");
        assert_eq!(token(world, &wider, &[]).await.status, 400);
        access
    }

    /// A search in the patient picker, and a denial.
    async fn a_clinician_chooses(&mut self, world: &World) {
        let mut browser = Browser::new(world);
        let page = browser.authorize(&with(request(SCOPE), "prompt", "consent")).await;
        let picker = browser.log_in(&page, "dr").await;
        let transaction = picker.field("transaction");
        let found = browser.post("/patient", &[("transaction", &transaction), ("query", TYPED)]).await;
        assert_eq!(found.fields("patient"), ["P1"], "{}", found.reply.all());
        let page = browser.pick(&found, "P1").await;
        self.plant_forms(&page);
        self.plant_browser(&browser);
        let denied = browser.decide(&page, "deny", &[]).await;
        assert_eq!(denied.returned("error").as_deref(), Some("access_denied"));
        let flawed = browser.authorize(&with(request(SCOPE), "aud", "https://elsewhere.example")).await;
        assert!(flawed.returned("code").is_none());
        let unknown = browser.authorize(&with(request(SCOPE), "redirect_uri", "https://evil.example/cb")).await;
        assert_eq!((unknown.status(), unknown.location()), (400, None));
    }

    async fn an_ehr_launches(&mut self, world: &World) {
        let assertion = sign(&header(), &assertion_claims("ehr", world.clock.unix_seconds()));
        self.plant(Planted::Assertion, &assertion);
        let context =
            json!({"client_id": "spa", "patient": "P1", "encounter": "e1", "intent": "reconcile-medications"});
        let created = post_launch(world, &assertion, &context.to_string()).await;
        assert_eq!(created.status, 201, "{}", created.all());
        assert_eq!(post_launch(world, &assertion, &context.to_string()).await.status, 401, "a copy");
        let launch = text(&created.json(), "launch").to_owned();
        self.plant(Planted::LaunchHandle, &launch);
        let parameters = request_of(
            "spa",
            "https://spa.example.org/cb",
            "launch openid fhirUser patient/Observation.rs patient/Patient.rs",
        );
        let mut browser = Browser::new(world);
        let page = browser.authorize(&with(parameters.clone(), "launch", &launch)).await;
        let page = browser.log_in(&page, "dr").await;
        self.plant_forms(&page);
        self.plant_browser(&browser);
        let code = browser.allow_all(&page).await.returned("code").unwrap();
        self.plant(Planted::Code, &code);
        let fields = with(with(exchange(&code), "client_id", "spa"), "redirect_uri", "https://spa.example.org/cb");
        let given = token(world, &fields, &[]).await;
        assert_eq!(text(&given.json(), "patient"), "P1", "{}", given.all());
        self.plant_tokens(&given.json());
        let again = browser.authorize(&with(parameters, "launch", &launch)).await;
        assert!(again.returned("code").is_none(), "a handle is good once");
        assert_eq!(token(world, &fields, &[]).await.status, 400, "a replayed code");
    }

    /// A secret in two ways, a key, a proof of possession, a request that was pushed, a registration.
    async fn apps_that_prove_who_they_are(&mut self, world: &World) {
        let callback = "https://server.example.org/cb";
        let server = basic("server", SECRET);
        let form = "Content-Type: application/x-www-form-urlencoded";
        let parameters = encoded(&request_of("server", callback, SCOPE));
        let pushed = world.send("POST /par", "", &[form, &server], &parameters).await;
        let request_uri = text(&pushed.json(), "request_uri").to_owned();
        let code = code(world, "pat", &[("client_id", "server"), ("request_uri", &request_uri)]).await;
        self.plant(Planted::Code, &code);
        let fields = without(with(exchange(&code), "redirect_uri", callback), "client_id");
        let given = token(world, &fields, &[&server]).await;
        assert_eq!(given.status, 200, "{}", given.all());
        self.plant_tokens(&given.json());
        let in_the_body =
            [("token", text(&given.json(), "access_token")), ("client_id", "server"), ("client_secret", SECRET)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let in_the_body: Vec<(&str, &str)> =
            in_the_body.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let asked = world.send("POST /introspect", "", &[form], &encoded(&in_the_body)).await;
        assert_eq!(asked.json()["active"], true, "{}", asked.all());
        let wrong = basic("server", "a-wrong-secret-of-somebody");
        self.plant(Planted::ClientSecret, "a-wrong-secret-of-somebody");
        assert_eq!(world.send("POST /introspect", "", &[form, &wrong], "token=x").await.status, 401);

        let mut claims = assertion_claims("bulk", world.clock.unix_seconds());
        claims["aud"] = json!(format!("{ISSUER}/token"));
        let assertion = sign(&header(), &claims);
        self.plant(Planted::Assertion, &assertion);
        let fields = [
            ("grant_type", "client_credentials"),
            ("scope", "system/Patient.rs"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        let given = token(world, &fields, &[]).await;
        assert_eq!(given.status, 200, "{}", given.all());
        self.plant_tokens(&given.json());
        assert_eq!(token(world, &fields, &[]).await.status, 401, "a copy");

        let key = ProvingKey::generate();
        let code = super::code(world, "pat", &request(SCOPE)).await;
        self.plant(Planted::Code, &code);
        let proof = key.proof(world, "POST /token");
        self.plant(Planted::Proof, proof.strip_prefix("DPoP: ").unwrap());
        let bound = token(world, &exchange(&code), &[&proof]).await.json();
        assert_eq!(text(&bound, "token_type"), "DPoP");
        self.plant_tokens(&bound);
        let line = "GET /fhir/Patient/P1";
        let lines = key.with(world, line, text(&bound, "access_token"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.plant(Planted::Proof, lines[1].strip_prefix("DPoP: ").unwrap());
        assert_eq!(world.send(line, "", &lines, "").await.status, 200);
        assert_eq!(world.send(line, "", &lines, "").await.status, 401, "a copy");

        let metadata = json!({
            "client_name": "Somebody's app", "redirect_uris": ["https://new.example.org/cb"], "scope": SCOPE,
            "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"],
        });
        let registered =
            world.send("POST /register", "", &["Content-Type: application/json"], &metadata.to_string()).await;
        assert_eq!(registered.status, 201, "{}", registered.all());
        self.plant(Planted::RegistrationToken, text(&registered.json(), "registration_access_token"));
    }

    /// Tokens, requests and bodies that are refused, with a person's name wherever one can stand.
    async fn what_is_refused(&mut self, world: &World, access: &str) {
        let garbage = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJnYXJiYWdlIn0.garbage-signature-0123";
        self.plant(Planted::AccessToken, garbage);
        let bearer = format!("Authorization: Bearer {access}");
        let json = "Content-Type: application/fhir+json";
        let form = "Content-Type: application/x-www-form-urlencoded";
        let body = format!(r#"{{"resourceType":"Patient","name":[{{"family":"{BODY}"}}]}}"#);
        for (line, token, headers, body, status) in [
            ("GET /fhir/Patient/P1".to_owned(), "", [].as_slice(), "", 401),
            ("GET /fhir/Patient/P1".to_owned(), garbage, &[], "", 401),
            (format!("GET /fhir/Patient/P1?access_token={access}"), "", &[], "", 400),
            ("GET /fhir/Patient/P1".to_owned(), access, &[bearer.as_str()], "", 400),
            ("GET /fhir/Patient/P2".to_owned(), access, &[], "", 404),
            ("GET /fhir/Condition/c1".to_owned(), access, &[], "", 403),
            (format!("GET /fhir/Patient?name={RUBBISH}&nonsense=1"), access, &[], "", 400),
            (format!("GET /fhir/Observation?encounter.status={RUBBISH}"), access, &[], "", 403),
            (format!("GET /fhir/Patient/{RUBBISH}%2F..%2Fx"), access, &[], "", 400),
            (format!("GET /fhir/{RUBBISH}/1"), access, &[], "", 404),
            (format!("GET /{RUBBISH}?name={RUBBISH}"), access, &[], "", 404),
            ("POST /fhir/Patient".to_owned(), access, &[json], &body, 403),
            ("POST /fhir".to_owned(), access, &[json], &body, 400),
            ("POST /fhir/Patient/$match".to_owned(), access, &[json], &body, 403),
            ("POST /fhir/Patient/P1/_history".to_owned(), access, &[json], &body, 405),
            (format!("PUT /fhir/Patient?identifier={RUBBISH}"), access, &[json], &body, 403),
            ("POST /fhir/Patient/_search".to_owned(), access, &[form, "Content-Encoding: gzip"], "name=x", 415),
            (format!("BREW /fhir/Patient?name={RUBBISH}"), access, &[], "", 405),
            ("POST /token".to_owned(), "", &[json], &body, 400),
        ] {
            let reply = world.send(&line, token, headers, body).await;
            assert_eq!(reply.status, status, "{line}: {}", reply.all());
        }
        // What is no HTTP that every reader reads alike.
        for wire in [
            format!(
                "GET /fhir/Patient?name={RUBBISH} HTTP/1.1\r\nHost: a\r\n{bearer}\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            format!("GET http://{RUBBISH}/fhir/Patient HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n"),
            format!("GET /fhir/Patient HTTP/1.1\r\nHost: a\r\n{bearer}\r\nX-{RUBBISH} : {RUBBISH}\r\n\r\n"),
        ] {
            let reply = world.connect().await.exchange(wire.as_bytes(), false).await;
            assert_eq!(reply.status, 400, "{wire}");
            world.keep(wire.lines().next().unwrap(), &reply);
        }
    }

    /// What the upstream says of a patient while it fails is nobody's business.
    async fn an_upstream_that_fails(&mut self, world: &World, access: &str) {
        let diagnostics = format!(
            r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"exception","diagnostics":"CANARY {STRANGER} at {}"}}]}}"#,
            world.upstream.base()
        );
        let foreign = format!(
            r#"{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{{"resourceType":"Observation","id":"o2","subject":{{"reference":"Patient/P2","display":"{STRANGER}"}}}}}}]}}"#
        );
        let moved = format!(
            "HTTP/1.1 302 Found\r\nLocation: {}/Patient/P1?name={STRANGER}\r\nSet-Cookie: CANARY=1\r\nContent-Length: 0\r\n\r\n",
            world.upstream.base()
        );
        let given = |status, body: &str| {
            let body = body.to_owned();
            move || Answer::Given(status, "application/fhir+json", body.clone())
        };
        let answers: [(Box<dyn Fn() -> Answer + Send + Sync>, u16); 9] = [
            (Box::new(given(500, &diagnostics)), 502),
            (Box::new(given(401, &diagnostics)), 502),
            (Box::new(given(400, &diagnostics)), 400),
            (Box::new(given(200, &foreign)), 502),
            (Box::new(given(200, &format!("{{\"x\":\"{STRANGER}\""))), 502),
            (Box::new(given(200, &diagnostics)), 502),
            (Box::new(move || Answer::Raw(moved.clone().into_bytes())), 502),
            (Box::new(|| Answer::Reset(b"HTTP/1.1 200 OK\r\nX-CANARY: 1\r\n".to_vec())), 502),
            (Box::new(|| Answer::Hang), 504),
        ];
        for (answer, status) in answers {
            world.upstream.answer(move |_| answer());
            let reply = world.get(&format!("/fhir/Observation?code={SEARCHED}"), access).await;
            assert_eq!(reply.status, status, "{}", reply.all());
        }
        world.upstream.answer(|_| Answer::Honest);
    }

    /// Withdrawal on our page, a logout, a token that the app gives back, and what is worth nothing then.
    async fn what_a_person_takes_back(&mut self, world: &World, access: &str) {
        let again = tokens(world, "mum", SCOPE).await;
        self.plant_tokens(&again);
        let form = "Content-Type: application/x-www-form-urlencoded";
        let back = encoded(&[("token", text(&again, "refresh_token")), ("client_id", "app")]);
        assert_eq!(world.send("POST /revoke", "", &[form], &back).await.status, 200);
        let mut browser = Browser::new(world);
        let page = browser.get("/manage").await;
        let csrf = page.field("csrf");
        let page = browser.post("/manage/login", &[("csrf", &csrf), ("username", "pat"), ("password", PASSWORD)]).await;
        let page = browser.follow(page).await;
        self.plant_forms(&page);
        self.plant_browser(&browser);
        let csrf = page.field("csrf");
        let withdrawn =
            browser.post("/manage", &[("csrf", &csrf), ("client_id", "app"), ("decision", "withdraw")]).await;
        assert_eq!(withdrawn.status(), 303, "{}", withdrawn.reply.all());
        assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 401);
        let hint = encoded(&[("id_token_hint", text(&again, "id_token")), ("client_id", "app")]);
        let page = browser.get(&format!("/logout?{hint}")).await;
        self.plant_forms(&page);
        let csrf = page.field("csrf");
        let out = browser.post("/logout", &[("csrf", &csrf), ("client_id", "app")]).await;
        assert_eq!(out.status(), 200, "{}", out.reply.all());
        assert!(browser.session().is_none());
    }
}
