//! Who there is in these stories: apps of every kind, two EHRs, and the people who log in.

use std::fs;
use std::sync::LazyLock;

use argon2::{Argon2, Params, PasswordHasher};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use firebreak::clock::Clock;
use firebreak::secret::Digest;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Browser;
use crate::world::{Reply, Settings, World};

pub(super) const ISSUER: &str = "https://gw.example.org";
pub(super) const BASE: &str = crate::world::BASE;
pub(super) const PASSWORD: &str = "correct horse battery staple";
pub(super) const SECRET: &str = "s3cret:/+% of the server";
pub(super) const CALLBACK: &str = "https://app.example.org/cb";
pub(super) const SCOPE: &str =
    "openid fhirUser offline_access launch/patient patient/Observation.rs patient/Patient.rs";

/// RFC 7636 appendix B
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

/// The key of the EHRs, and the file that registers its public half.
pub(super) static EHR: LazyLock<EhrKey> = LazyLock::new(EhrKey::generate);

pub(super) struct EhrKey {
    pub(super) private: EncodingKey,
    /// As in the JWK Set.
    pub(super) point: Vec<u8>,
    directory: TempDir,
}

impl EhrKey {
    fn generate() -> Self {
        firebreak::jose::install_provider();
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let point = pair.public_key_raw().to_vec();
        let (x, y) = point.get(1..).unwrap().split_at(48);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwks = json!({"keys": [{
            "kty": "EC", "kid": "ehr-key", "crv": "P-384", "alg": "ES384", "use": "sig", "x": encode(x), "y": encode(y),
        }]});
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("jwks.json"), jwks.to_string()).unwrap();
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { private, point, directory }
    }
}

impl EhrKey {
    /// Where the public half is registered from.
    pub(super) fn jwks_file(&self) -> String {
        self.directory.path().join("jwks.json").display().to_string()
    }
}

/// Cheap parameters: these tests are about what happens around the hash.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let argon2 = Argon2::from(Params::new(8, 1, 1, None).unwrap());
    argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"saltsaltsaltsalt").unwrap().to_string()
});

/// The sections of everybody in these stories; `app`, a public client, is in every world.
pub(super) fn sections() -> String {
    let secret = Digest::of(SECRET).to_hex();
    let scope = "openid fhirUser offline_access online_access launch/patient launch/encounter patient/*.rs user/*.rs introspect";
    let client = |id: &str, more: &str| {
        let redirect = if more.starts_with("redirect_uris") {
            String::new()
        } else {
            format!("redirect_uris = [\"https://{id}.example.org/cb\"]\n")
        };
        format!("[[client]]\nclient_id = \"{id}\"\nclient_name = \"The {id}\"\nscope = \"{scope}\"\n{redirect}{more}\n")
    };
    let ehr = |id: &str, more: &str| {
        let jwks = EHR.directory.path().join("jwks.json");
        format!("[[client]]\nclient_id = \"{id}\"\njwks_file = \"{}\"\n[client.ehr]\n{more}\n", jwks.display())
    };
    let user = |name: &str, more: &str| {
        format!(
            "[[user]]\nusername = \"{name}\"\ndisplay_name = \"Display of {name}\"\npassword_hash = \"{}\"\n{more}\n",
            *HASH
        )
    };
    [
        client(
            "spa",
            "launch_urls = [\"https://spa.example.org/launch?theme=dark\"]\n\
             post_logout_redirect_uris = [\"https://spa.example.org/bye\", \"https://spa.example.org/bye?keep=1\"]",
        ),
        client(
            "server",
            &format!(
                "client_secret_sha256 = \"{secret}\"\nintrospects = true\n\
                 launch_urls = [\"https://server.example.org/launch\"]"
            ),
        ),
        client("approved", "approved = true\nlaunch_urls = [\"https://approved.example.org/launch\"]"),
        client("native", "redirect_uris = [\"http://127.0.0.1/cb\", \"http://[::1]/cb\"]"),
        client("other", "redirect_uris = [\"https://app.example.org/cb\"]"),
        client("query", "redirect_uris = [\"https://query.example.org/cb?keep=a%20b\"]"),
        ehr(
            "ehr",
            "vouches_for_users = true\nuser_issuers = [\"https://gw.example.org\", \"https://idp.example.org\"]\n\
             user_types = [\"Practitioner\"]\nroles = [\"clinician\"]",
        ),
        ehr(
            "framing-ehr",
            "vouches_for_users = true\nuser_issuers = [\"https://idp.example.org\"]\nuser_types = [\"Practitioner\"]\n\
             roles = [\"clinician\"]\npartitioned_cookies = true\n\
             frame_ancestors = [\"https://ehr.example.org\", \"https://portal.example.org\"]",
        ),
        ehr("plain-ehr", "user_issuers = [\"https://gw.example.org\"]\nuser_types = [\"Practitioner\"]"),
        user("dr", "fhir_user = \"Practitioner/d1\"\nroles = [\"clinician\"]"),
        user("dr2", "fhir_user = \"Practitioner/d2\"\nroles = [\"clinician\", \"auditor\"]"),
        user("pat", "fhir_user = \"Patient/P1\"\nroles = [\"patient\"]\npatients = [\"P1\"]"),
        user("mum", "fhir_user = \"RelatedPerson/r1\"\nroles = [\"related_person\"]\npatients = [\"P1\", \"P2\"]"),
    ]
    .concat()
}

/// Data without canaries, since a person may see all of it in these stories: whom a token may not see is seen to by ids.
pub(super) fn settings() -> Settings {
    let mut settings = Settings { sections: sections(), ..Settings::default() };
    for resource in &mut settings.resources {
        for version in resource.versions.iter_mut().flatten() {
            *version = version.replace("CANARY", "marked");
        }
    }
    settings
}

pub(super) async fn world() -> World {
    World::with(settings()).await
}

pub(super) async fn world_at(clock: &Clock) -> World {
    World::with(Settings { clock: clock.clone(), ..settings() }).await
}

/// An authorization request of `app` that nothing is wrong with.
pub(super) fn request(scope: &str) -> Vec<(&str, &str)> {
    request_of("app", CALLBACK, scope)
}

pub(super) fn request_of<'a>(client_id: &'a str, redirect_uri: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", redirect_uri),
        ("scope", scope),
        ("state", "st4te"),
        ("aud", BASE),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

/// The same with one parameter replaced, or added.
pub(super) fn with<'a>(
    mut parameters: Vec<(&'a str, &'a str)>,
    name: &'a str,
    value: &'a str,
) -> Vec<(&'a str, &'a str)> {
    parameters.retain(|(known, _)| *known != name);
    parameters.push((name, value));
    parameters
}

pub(super) fn without<'a>(mut parameters: Vec<(&'a str, &'a str)>, name: &str) -> Vec<(&'a str, &'a str)> {
    parameters.retain(|(known, _)| *known != name);
    parameters
}

pub(super) fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The code that `user` gets for `parameters`, allowing everything, for patient P1.
pub(super) async fn code(world: &World, user: &str, parameters: &[(&str, &str)]) -> String {
    let mut browser = Browser::new(world);
    let page = browser.authorize(parameters).await;
    let page = browser.log_in(&page, user).await;
    let page = browser.pick_if_asked(&page, "P1").await;
    let page = browser.allow_all(&page).await;
    let code = page.returned("code").unwrap_or_else(|| panic!("no code: {}", page.reply.all()));
    world.secret(&code);
    code
}

/// `POST /token`, whatever comes of it. What is given is a secret from now on.
pub(super) async fn token(world: &World, fields: &[(&str, &str)], headers: &[&str]) -> Reply {
    let mut all = vec![FORM];
    all.extend(headers);
    let reply = world.send("POST /token", "", &all, &encoded(fields)).await;
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"), "{}", reply.all());
    assert_eq!(reply.header("content-type"), "application/json");
    for name in ["access_token", "refresh_token", "id_token"] {
        if let Some(secret) = reply.json()[name].as_str() {
            world.secret(secret);
        }
    }
    reply
}

/// The fields that exchange `code` for `app`.
pub(super) fn exchange(code: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("client_id", "app"),
        ("code_verifier", VERIFIER),
    ]
}

/// The token response for what `user` allowed `app`.
pub(super) async fn tokens(world: &World, user: &str, scope: &str) -> Value {
    let code = code(world, user, &request(scope)).await;
    let reply = token(world, &exchange(&code), &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.all());
    reply.json()
}

/// Status and `error` of an answer of the token endpoint or the back channel.
pub(super) fn refusal(reply: &Reply) -> (u16, String) {
    let body = reply.json();
    assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    (reply.status, body["error"].as_str().unwrap().to_owned())
}

pub(super) fn refused(status: u16, error: &str) -> (u16, String) {
    (status, error.to_owned())
}

pub(super) fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}"))
}

/// The claims of a JWT, unverified.
pub(super) fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

pub(super) fn basic(client_id: &str, secret: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{client_id}:{secret}")))
}

/// A good assertion of `client_id` for the back channel.
pub(super) fn assertion_claims(client_id: &str, now: i64) -> Value {
    json!({
        "iss": client_id, "sub": client_id, "aud": format!("{ISSUER}/launch-contexts"),
        "exp": now + 300, "jti": firebreak::random::handle(),
    })
}

pub(super) fn header() -> Header {
    Header { kid: Some("ehr-key".to_owned()), ..Header::new(Algorithm::ES384) }
}

pub(super) fn sign(header: &Header, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EHR.private).unwrap()
}

/// `POST /launch-contexts` with this assertion.
pub(super) async fn post_launch(world: &World, assertion: &str, body: &str) -> Reply {
    world.secret(assertion);
    let authorization = format!("Authorization: Bearer {assertion}");
    world.send("POST /launch-contexts", "", &[&authorization, "Content-Type: application/json"], body).await
}

/// A launch context that `ehr` hands over.
pub(super) async fn hand_over(world: &World, ehr: &str, context: &Value) -> Reply {
    let assertion = sign(&header(), &assertion_claims(ehr, world.clock.unix_seconds()));
    post_launch(world, &assertion, &context.to_string()).await
}

/// The handle of a launch context that `ehr` hands over.
pub(super) async fn handle(world: &World, ehr: &str, context: &Value) -> String {
    let reply = hand_over(world, ehr, context).await;
    assert_eq!(reply.status, 201, "{}", reply.all());
    let handle = text(&reply.json(), "launch").to_owned();
    world.secret(&handle);
    handle
}
