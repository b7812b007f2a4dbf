//! A small OpenID provider: discovery, keys, authorization endpoint, token endpoint. Strict with the one who asks, and able to
//! lie in every way that a test wants.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use firebreak::clock::Clock;

use crate::world::server::{Seen, Server, Socket};

/// What the gateway is called there, and proves it with.
pub(super) const CLIENT_ID: &str = "firebreak at home";
pub(super) const CLIENT_SECRET: &str = "s3cret:/+% of the gateway";

/// Its signing keys; making them takes a moment.
pub(super) static KEYS: LazyLock<[SigningKey; 3]> = LazyLock::new(|| ["k1", "k2", "stolen"].map(SigningKey::new));

pub(super) struct SigningKey {
    kid: &'static str,
    pem: String,
    jwk: Value,
}

impl SigningKey {
    fn new(kid: &'static str) -> Self {
        firebreak::jose::install_provider();
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw().get(1..).unwrap().split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": encode(x), "y": encode(y),
        });
        Self { kid, pem: pair.serialize_pem(), jwk }
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_pem(self.pem.as_bytes()).unwrap()).unwrap()
    }
}

/// How the ID token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// By the key of this number.
    Key(usize),
    /// `alg: none`
    None,
    /// HS256 with the public key as the secret.
    Hs256,
    /// By another key that takes the name of ours.
    Stolen,
    /// With its own key in the header.
    OwnJwk,
    /// There is no ID token.
    Missing,
}

/// What it does, and how it lies.
#[derive(Clone)]
pub(super) struct Manner {
    /// Claims of the person, and what replaces the true ones. `null` leaves a claim out.
    pub(super) claims: Map<String, Value>,
    pub(super) signature: Signature,
    /// The keys that it publishes, by number.
    pub(super) published: Vec<usize>,
    /// Members of the discovery document that are other than they should be.
    pub(super) metadata: Map<String, Value>,
    /// `error` of the authorization response.
    pub(super) error: Option<&'static str>,
    /// `iss` of the authorization response, when it is not the true one; empty leaves it out.
    pub(super) iss: Option<String>,
    /// The path that is never answered.
    pub(super) hang: Option<&'static str>,
    /// The path that is answered with a redirect.
    pub(super) redirect: Option<&'static str>,
    /// The path that is answered with a megabyte.
    pub(super) huge: Option<&'static str>,
}

struct Pending {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

struct State {
    issuer: String,
    clock: Clock,
    manner: Mutex<Manner>,
    codes: Mutex<HashMap<String, Pending>>,
    /// Paths with the query or the form that was sent.
    asked: Mutex<Vec<(String, String)>>,
}

pub(super) struct Idp {
    state: Arc<State>,
    _server: Server,
}

/// `Dr. Ada`, a clinician.
pub(super) fn ada() -> Map<String, Value> {
    let claims = json!({
        "sub": "ada", "name": "Dr. Ada Quill", "fhirUser": "Practitioner/d1",
        "realm_access": {"roles": ["doctor", "offline_access"]},
    });
    claims.as_object().unwrap().clone()
}

impl Idp {
    pub(super) async fn start(clock: &Clock) -> Self {
        let socket = Socket::bind().await;
        let issuer = format!("http://{}/realms/hospital", socket.address());
        let manner = Manner {
            claims: ada(),
            signature: Signature::Key(0),
            published: vec![0],
            metadata: Map::new(),
            error: None,
            iss: None,
            hang: None,
            redirect: None,
            huge: None,
        };
        let state = Arc::new(State {
            issuer,
            clock: clock.clone(),
            manner: Mutex::new(manner),
            codes: Mutex::default(),
            asked: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let server = socket.serve(move |stream| serve(stream, Arc::clone(&shared)));
        Self { state, _server: server }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// Changes what it does from now on.
    pub(super) fn change(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.state.manner.lock().unwrap());
    }

    /// Replaces one claim.
    pub(super) fn claim(&self, name: &str, value: Value) {
        self.change(|manner| drop(manner.claims.insert(name.to_owned(), value)));
    }

    /// What was asked at `path` since this was called last: queries and forms.
    pub(super) fn take_asked(&self, path: &str) -> Vec<HashMap<String, String>> {
        let mut asked = self.state.asked.lock().unwrap();
        let (found, others): (Vec<_>, Vec<_>) = asked.drain(..).partition(|(at, _)| at.ends_with(path));
        *asked = others;
        let decode = |text: &str| form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        found.iter().map(|(_, text)| decode(text)).collect()
    }

    /// What it sends when somebody logs out there, with some claims replaced; `null` leaves one out.
    pub(super) fn logout_token(&self, changes: &Value) -> String {
        let now = self.state.clock.unix_seconds();
        let mut claims = json!({
            "iss": self.state.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 120, "jti": firebreak::random::handle(),
            "sub": "ada", "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        });
        let object = claims.as_object_mut().unwrap();
        object.extend(changes.as_object().unwrap().clone());
        object.retain(|_, value| !value.is_null());
        let signature = self.state.manner.lock().unwrap().signature;
        let key = if signature == Signature::Stolen { 2 } else { 0 };
        let header =
            Header { typ: Some("logout+jwt".to_owned()), kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_pem(KEYS[key].pem.as_bytes()).unwrap()).unwrap()
    }

    /// What a person's browser does with the URL that the gateway sent it to: they log in at once. Gives where they are sent
    /// back to, below the gateway's origin.
    pub(super) async fn visit(&self, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        let target = format!("{}?{}", url.path(), url.query().unwrap());
        let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: idp\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        let location = location.unwrap_or_else(|| panic!("the provider refused: {answer}")).trim();
        location.strip_prefix("https://gw.example.org").unwrap().to_owned()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    let Some(Seen { line, headers, body }) = Seen::read(&mut stream, &mut buffer).await else { return };
    let (_, target) = line.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let text = if body.is_empty() { query.to_owned() } else { body.clone() };
    state.asked.lock().unwrap().push((path.to_owned(), text));
    let manner = state.manner.lock().unwrap().clone();
    let is = |named: Option<&str>| named.is_some_and(|named| path.ends_with(named));
    let answer = if is(manner.hang) {
        // Until the other end gives up.
        let _ = stream.read(&mut [0; 16]).await;
        return;
    } else if is(manner.redirect) {
        format!("HTTP/1.1 307 X\r\nLocation: {}/elsewhere\r\nContent-Length: 0\r\n\r\n", state.issuer)
    } else if is(manner.huge) {
        json_answer("200", &json!({"keys": [KEYS[0].jwk], "padding": "x".repeat(1 << 20)}))
    } else if path.ends_with("/.well-known/openid-configuration") {
        json_answer("200", &state.discovery(&manner))
    } else if path.ends_with("/jwks") {
        let keys: Vec<&Value> = manner.published.iter().map(|number| &KEYS[*number].jwk).collect();
        json_answer("200", &json!({"keys": keys}))
    } else if path.ends_with("/authorize") {
        state.authorize(&manner, query)
    } else if path.ends_with("/token") {
        state.token(&manner, &headers, &body)
    } else {
        json_answer("404", &json!({}))
    };
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn json_answer(status: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

impl State {
    fn discovery(&self, manner: &Manner) -> Value {
        let issuer = &self.issuer;
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "end_session_endpoint": format!("{issuer}/logout"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        document.as_object_mut().unwrap().extend(manner.metadata.clone());
        document
    }

    fn authorize(&self, manner: &Manner, query: &str) -> String {
        let sent: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let is = |name: &str, value: &str| assert_eq!(sent[name], value, "{name} of {query}");
        is("response_type", "code");
        is("client_id", CLIENT_ID);
        is("code_challenge_method", "S256");
        assert!(sent["scope"].split(' ').any(|scope| scope == "openid"), "{query}");
        assert!(sent["state"].len() >= 43 && sent["nonce"].len() >= 43 && sent["code_challenge"].len() == 43);
        let redirect_uri = &sent["redirect_uri"];
        assert!(redirect_uri.starts_with("https://gw.example.org/login/callback/"), "{query}");
        let mut back = Url::parse(redirect_uri).unwrap();
        let mut pairs = back.query_pairs_mut();
        pairs.append_pair("state", &sent["state"]);
        if let Some(error) = manner.error {
            pairs.append_pair("error", error).append_pair("error_description", "<b>CANARY-description</b>");
        } else {
            let code = firebreak::random::handle();
            pairs.append_pair("code", &code);
            let pending = Pending {
                nonce: sent["nonce"].clone(),
                challenge: sent["code_challenge"].clone(),
                redirect_uri: redirect_uri.clone(),
            };
            self.codes.lock().unwrap().insert(code, pending);
        }
        let iss = manner.iss.as_ref().unwrap_or(&self.issuer);
        if !iss.is_empty() {
            pairs.append_pair("iss", iss);
        }
        drop(pairs);
        format!("HTTP/1.1 302 X\r\nLocation: {back}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }

    fn token(&self, manner: &Manner, headers: &[(String, String)], body: &str) -> String {
        let sent: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", encoded(CLIENT_ID), encoded(CLIENT_SECRET)));
        let authorization = headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.clone());
        let in_body = sent.get("client_id").is_some_and(|id| id == CLIENT_ID)
            && (sent.get("client_secret").is_some_and(|secret| secret == CLIENT_SECRET)
                || sent.contains_key("client_assertion"));
        if authorization != Some(format!("Basic {basic}")) && !in_body {
            return json_answer("401", &json!({"error": "invalid_client"}));
        }
        let refused = json_answer("400", &json!({"error": "invalid_grant", "error_description": "CANARY-description"}));
        let Some(pending) = self.codes.lock().unwrap().remove(&sent["code"]) else { return refused };
        let digest = firebreak::secret::Digest::of(&sent["code_verifier"]);
        if sent["grant_type"] != "authorization_code"
            || sent["redirect_uri"] != pending.redirect_uri
            || URL_SAFE_NO_PAD.encode(digest.0) != pending.challenge
        {
            return refused;
        }
        let mut response = json!({
            "access_token": "CANARY-access-token", "token_type": "Bearer", "expires_in": 60, "scope": "openid",
            "refresh_token": "CANARY-refresh-token",
        });
        if let Some(token) = self.id_token(manner, &pending.nonce) {
            response["id_token"] = token.into();
        }
        json_answer("200", &response)
    }

    fn id_token(&self, manner: &Manner, nonce: &str) -> Option<String> {
        let now = self.clock.unix_seconds();
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT_ID, "azp": CLIENT_ID, "exp": now + 60, "iat": now, "nonce": nonce,
            "auth_time": now, "typ": "ID",
        });
        let object = claims.as_object_mut().unwrap();
        object.extend(manner.claims.clone());
        object.retain(|_, value| !value.is_null());
        let unsigned = |header: &Value| {
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.", encode(header), encode(&claims))
        };
        Some(match manner.signature {
            Signature::Key(number) => KEYS[number].sign(KEYS[number].kid, &claims),
            Signature::Stolen => KEYS[2].sign("k1", &claims),
            Signature::None => unsigned(&json!({"alg": "none", "kid": "k1"})),
            Signature::Hs256 => {
                let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
                let secret = EncodingKey::from_secret(KEYS[0].jwk.to_string().as_bytes());
                jsonwebtoken::encode(&header, &claims, &secret).unwrap()
            }
            Signature::OwnJwk => {
                let signed = KEYS[2].sign("k1", &claims);
                let (_, signature) = signed.rsplit_once('.').unwrap();
                unsigned(&json!({"alg": "ES256", "kid": "k1", "jwk": KEYS[2].jwk})) + signature
            }
            Signature::Missing => return None,
        })
    }
}
