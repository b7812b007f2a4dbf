//! Tokens that are worth something only together with a key (RFC 9449): given, used, stolen and replayed.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::*;
use crate::world::{Reply, World, run};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firebreak::clock::Clock;
use firebreak::secret::Digest;
use serde_json::{Value, json};

const NOW: i64 = 1_900_000_000;

/// A browser app's key.
pub(super) struct ProvingKey {
    private: EncodingKey,
    jwk: Value,
}

impl ProvingKey {
    pub(super) fn generate() -> Self {
        firebreak::jose::install_provider();
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)});
        Self { private: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(), jwk }
    }

    pub(super) fn jkt(&self) -> String {
        firebreak::jose::ec_thumbprint("P-256", text(&self.jwk, "x"), text(&self.jwk, "y"))
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header {
            typ: Some("dpop+jwt".to_owned()),
            jwk: Some(serde_json::from_value(self.jwk.clone()).unwrap()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &self.private).unwrap()
    }

    /// The header line with a proof for `METHOD path`.
    pub(super) fn proof(&self, world: &World, line: &str) -> String {
        self.proof_at(&world.clock, line)
    }

    pub(super) fn proof_at(&self, clock: &Clock, line: &str) -> String {
        format!("DPoP: {}", self.sign(&claims_for(clock, line)))
    }

    /// The header lines of a request with a token.
    pub(super) fn with(&self, world: &World, line: &str, token: &str) -> [String; 2] {
        self.with_at(&world.clock, line, token)
    }

    pub(super) fn with_at(&self, clock: &Clock, line: &str, token: &str) -> [String; 2] {
        let mut claims = claims_for(clock, line);
        claims["ath"] = json!(URL_SAFE_NO_PAD.encode(Digest::of(token).0));
        [format!("Authorization: DPoP {token}"), format!("DPoP: {}", self.sign(&claims))]
    }
}

fn claims_for(clock: &Clock, line: &str) -> Value {
    let (method, target) = line.split_once(' ').unwrap();
    let path = target.split('?').next().unwrap();
    json!({
        "jti": firebreak::random::handle(), "htm": method, "htu": format!("{ISSUER}{path}"),
        "iat": clock.unix_seconds(),
    })
}

pub(super) async fn fetch(world: &World, line: &str, headers: &[String]) -> Reply {
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    world.send(line, "", &headers, "").await
}

fn challenge(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.header("www-authenticate"))
}

/// The token response that `pat` allowed `app`, bound to `key`.
pub(super) async fn bound(world: &World, key: &ProvingKey) -> Value {
    let code = code(world, "pat", &with(request(SCOPE), "dpop_jkt", &key.jkt())).await;
    let reply = token(world, &exchange(&code), &[&key.proof(world, "POST /token")]).await;
    assert_eq!((reply.status, text(&reply.json(), "token_type")), (200, "DPoP"), "{}", reply.all());
    reply.json()
}

const REALM: &str = "realm=\"https://gw.example.org/fhir\"";
const ALGS: &str = "algs=\"ES256 ES384 RS256\"";
const READ: &str = "GET /fhir/Patient/P1";

// N2
#[test]
fn a_bound_token_reads_and_searches_with_a_new_proof_each_time_and_is_refreshed_by_its_key() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let given = bound(&world, &key).await;
        let access = text(&given, "access_token");
        assert_eq!(claims(access)["cnf"], json!({"jkt": key.jkt()}));
        for line in [READ, READ, "GET /fhir/Observation?patient=P1&_count=2", "HEAD /fhir/Patient/P1"] {
            let reply = fetch(&world, line, &key.with(&world, line, access)).await;
            assert_eq!(reply.status, 200, "{line}: {}", reply.all());
        }
        let fields =
            [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token")), ("client_id", "app")];
        assert_eq!(refusal(&token(&world, &fields, &[]).await), refused(400, "invalid_dpop_proof"));
        let thief = ProvingKey::generate().proof(&world, "POST /token");
        assert_eq!(refusal(&token(&world, &fields, &[&thief]).await), refused(400, "invalid_dpop_proof"));
        let again = token(&world, &fields, &[&key.proof(&world, "POST /token")]).await;
        assert_eq!(again.status, 200, "{}", again.all());
        let access = text(&again.json(), "access_token").to_owned();
        assert_eq!(fetch(&world, READ, &key.with(&world, READ, &access)).await.status, 200);
        world.finish().await;
    });
}

// N2, B3 69
#[test]
fn a_stolen_bound_token_is_worth_nothing() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let given = bound(&world, &key).await;
        let access = text(&given, "access_token");
        // Known to the cache of verified tokens: the proof is asked for all the same.
        assert_eq!(fetch(&world, READ, &key.with(&world, READ, access)).await.status, 200);
        let as_bearer = world.get("/fhir/Patient/P1", access).await;
        let expected = format!("DPoP {REALM}, error=\"invalid_token\", {ALGS}");
        assert_eq!(challenge(&as_bearer), (401, &*expected));
        assert_eq!(as_bearer.json()["resourceType"], "OperationOutcome");

        let expected = format!("DPoP {REALM}, error=\"invalid_dpop_proof\", {ALGS}");
        let authorization = format!("Authorization: DPoP {access}");
        let good = key.with(&world, READ, access);
        let mut forged = vec![
            vec![authorization.clone()],
            vec![authorization.clone(), "DPoP: garbage".to_owned()],
            ProvingKey::generate().with(&world, READ, access).to_vec(),
            // For another method, path or token, or for none.
            vec![authorization.clone(), key.with(&world, "POST /fhir/Patient/P1", access)[1].clone()],
            vec![authorization.clone(), key.with(&world, "GET /fhir/Patient/P2", access)[1].clone()],
            vec![authorization.clone(), key.with(&world, "GET /fhir/Patient/P1/", access)[1].clone()],
            vec![authorization.clone(), key.with(&world, READ, "another")[1].clone()],
            vec![authorization.clone(), key.proof(&world, READ)],
            vec![authorization.clone(), good[1].clone(), key.with(&world, READ, access)[1].clone()],
        ];
        forged.push(vec![authorization, format!("{}x", good[1])]);
        for headers in forged {
            let reply = fetch(&world, READ, &headers).await;
            assert_eq!(challenge(&reply), (401, &*expected), "{headers:?}");
        }
        assert_eq!(fetch(&world, READ, &good).await.status, 200, "none of these used it up");
        world.finish().await;
    });
}

// N2, B3 69
#[test]
fn a_bearer_token_is_refused_with_the_scheme_dpop() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let access = world.token_a();
        let expected = format!("DPoP {REALM}, error=\"invalid_token\", {ALGS}");
        let reply = fetch(&world, READ, &key.with(&world, READ, &access)).await;
        assert_eq!(challenge(&reply), (401, &*expected));
        // As a bearer token it is good, whatever proof comes along.
        let proof = key.proof(&world, READ);
        assert_eq!(world.send(READ, &access, &[&proof], "").await.status, 200);
        // A token that is not ours, presented with the scheme DPoP.
        let reply = fetch(&world, READ, &key.with(&world, READ, "not.a.token")).await;
        assert_eq!(challenge(&reply), (401, &*expected));
        world.finish().await;
    });
}

// N2, B3 60
#[test]
fn a_request_without_a_token_is_told_of_both_schemes() {
    run(async {
        let world = world().await;
        let reply = fetch(&world, READ, &[]).await;
        assert_eq!(reply.status, 401);
        let challenges: Vec<&str> =
            reply.headers.iter().filter(|(name, _)| name == "www-authenticate").map(|(_, value)| &**value).collect();
        assert_eq!(challenges, [format!("Bearer {REALM}"), format!("DPoP {REALM}, {ALGS}")]);
        world.finish().await;
    });
}

// N2, B3 63: RFC 9449 section 7.1
#[test]
fn a_bound_token_that_goes_beyond_its_scope_is_told_so_in_its_own_scheme() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let given = bound(&world, &key).await;
        let (line, access) = ("GET /fhir/Condition?patient=P1", text(&given, "access_token"));
        let reply = fetch(&world, line, &key.with(&world, line, access)).await;
        let insufficient = "error=\"insufficient_scope\", scope=\"patient/Condition.s\"";
        let expected = format!("DPoP {REALM}, {insufficient}, {ALGS}");
        assert_eq!(challenge(&reply), (403, expected.as_str()), "{}", reply.all());
        let challenges = reply.headers.iter().filter(|(name, _)| name == "www-authenticate").count();
        assert_eq!(challenges, 1, "{}", reply.all());
        // The same with a bearer token.
        let bearer = tokens(&world, "pat", SCOPE).await;
        let reply = world.get("/fhir/Condition?patient=P1", text(&bearer, "access_token")).await;
        let expected = format!("Bearer {REALM}, {insufficient}");
        assert_eq!(challenge(&reply), (403, expected.as_str()), "{}", reply.all());
        world.finish().await;
    });
}

// N2, B2 46, B3 69: jti replay and old iat at the FHIR base
#[test]
fn a_proof_is_accepted_once_and_for_a_minute() {
    run(async {
        let clock = Clock::fixed(NOW);
        let (world, key) = (Arc::new(world_at(&clock).await), ProvingKey::generate());
        let given = bound(&world, &key).await;
        let access = text(&given, "access_token").to_owned();
        let headers = Arc::new(key.with(&world, READ, &access));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (world, headers) = (Arc::clone(&world), Arc::clone(&headers));
            tasks.spawn(async move { fetch(&world, READ, &*headers).await.status });
        }
        let statuses = tasks.join_all().await;
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 19, "{statuses:?}");
        let late = key.with(&world, READ, &access);
        world.advance(60).await;
        assert_eq!(fetch(&world, READ, &*headers).await.status, 401);
        assert_eq!(fetch(&world, READ, &late).await.status, 200, "a minute old");
        let late = key.with(&world, READ, &access);
        world.advance(61).await;
        assert_eq!(fetch(&world, READ, &late).await.status, 401, "more than a minute old");
        world.advance(-300).await;
        let ahead = key.with(&world, READ, &access);
        assert_eq!(fetch(&world, READ, &ahead).await.status, 401, "before this process started");
        Arc::into_inner(world).unwrap().finish().await;
    });
}

// N2: revoked and expired, in the terms of the scheme
#[test]
fn a_bound_token_ends_as_others_do() {
    run(async {
        let clock = Clock::fixed(NOW);
        let (world, key) = (world_at(&clock).await, ProvingKey::generate());
        let given = bound(&world, &key).await;
        let access = text(&given, "access_token");
        world.advance(900).await;
        let reply = fetch(&world, READ, &key.with(&world, READ, access)).await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), format!("DPoP {REALM}, error=\"invalid_token\", {ALGS}"));
        world.finish().await;
    });
}

// A10, N2: RFC 9449 section 10
#[test]
fn a_code_is_bound_to_the_key_that_was_named_with_the_request() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let jkt = key.jkt();
        let parameters = with(request(SCOPE), "dpop_jkt", &jkt);
        let stolen = code(&world, "pat", &parameters).await;
        assert_eq!(refusal(&token(&world, &exchange(&stolen), &[]).await), refused(400, "invalid_dpop_proof"));
        let stolen = code(&world, "pat", &parameters).await;
        let thief = ProvingKey::generate().proof(&world, "POST /token");
        assert_eq!(refusal(&token(&world, &exchange(&stolen), &[&thief]).await), refused(400, "invalid_dpop_proof"));
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&with(request(SCOPE), "dpop_jkt", "not a thumbprint")).await;
        assert_eq!(page.returned("error").as_deref(), Some("invalid_request"));
        world.finish().await;
    });
}

// N2, D12
#[test]
fn discovery_names_the_algorithms_of_proofs() {
    run(async {
        let world = world().await;
        for path in ["/.well-known/oauth-authorization-server", "/fhir/.well-known/smart-configuration"] {
            let document = world.get(path, "").await.json();
            assert_eq!(document["dpop_signing_alg_values_supported"], json!(["ES256", "ES384", "RS256"]), "{path}");
        }
        world.finish().await;
    });
}

/// The nonce that an answer gives for the next proof.
fn nonce_of(reply: &Reply) -> String {
    let nonce = reply.header("dpop-nonce").to_owned();
    assert!(nonce.len() >= 40, "{}", reply.all());
    nonce
}

impl ProvingKey {
    fn proof_with_nonce(&self, world: &World, line: &str, nonce: &str) -> String {
        let mut claims = claims_for(&world.clock, line);
        claims["nonce"] = json!(nonce);
        format!("DPoP: {}", self.sign(&claims))
    }

    fn with_nonce(&self, world: &World, line: &str, token: &str, nonce: &str) -> [String; 2] {
        let mut claims = claims_for(&world.clock, line);
        claims["ath"] = json!(URL_SAFE_NO_PAD.encode(Digest::of(token).0));
        claims["nonce"] = json!(nonce);
        [format!("Authorization: DPoP {token}"), format!("DPoP: {}", self.sign(&claims))]
    }
}

// N2, B2 46: RFC 9449 sections 8 and 9
#[test]
fn where_nonces_are_asked_for_every_proof_has_one_that_was_given_lately() {
    for (tokens, client) in [("dpop_nonces = true\n", ""), ("", "dpop_nonces = true\n")] {
        run(async {
            let clock = Clock::fixed(NOW);
            let mut settings = settings();
            settings.clock = clock.clone();
            settings.sections += &*format!(
                "[[client]]\nclient_id = \"nonces\"\nredirect_uris = [\"https://nonces.example.org/cb\"]\n\
                 scope = \"{SCOPE}\"\n{client}[tokens]\naccess = \"1h\"\n{tokens}"
            );
            let (world, key) = (World::with(settings).await, ProvingKey::generate());
            let callback = "https://nonces.example.org/cb";
            let code = code(&world, "pat", &request_of("nonces", callback, SCOPE)).await;
            let fields = with(with(exchange(&code), "client_id", "nonces"), "redirect_uri", callback);
            let asked = token(&world, &fields, &[&key.proof(&world, "POST /token")]).await;
            assert_eq!(refusal(&asked), refused(400, "use_dpop_nonce"));
            let nonce = nonce_of(&asked);
            for wrong in ["", "x", nonce.get(1..).unwrap(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
                let proof = key.proof_with_nonce(&world, "POST /token", wrong);
                let asked = token(&world, &fields, &[&proof]).await;
                assert_eq!(refusal(&asked), refused(400, "use_dpop_nonce"), "{wrong}");
                nonce_of(&asked);
            }
            // The code is not spent by all this.
            let given = token(&world, &fields, &[&key.proof_with_nonce(&world, "POST /token", &nonce)]).await;
            assert_eq!((given.status, text(&given.json(), "token_type")), (200, "DPoP"), "{}", given.all());
            let nonce = nonce_of(&given);
            let given = given.json();
            let access = text(&given, "access_token");

            let asked = fetch(&world, READ, &key.with(&world, READ, access)).await;
            let expected = format!("DPoP {REALM}, error=\"use_dpop_nonce\", {ALGS}");
            assert_eq!(challenge(&asked), (401, expected.as_str()), "{}", asked.all());
            nonce_of(&asked);
            let read = fetch(&world, READ, &key.with_nonce(&world, READ, access, &nonce)).await;
            assert_eq!(read.status, 200, "{}", read.all());
            let nonce = nonce_of(&read);
            let line = "GET /fhir/Condition?patient=P1";
            let beyond = fetch(&world, line, &key.with_nonce(&world, line, access, &nonce)).await;
            assert_eq!(beyond.status, 403);
            nonce_of(&beyond);

            // For some minutes.
            world.advance(300).await;
            assert_eq!(fetch(&world, READ, &key.with_nonce(&world, READ, access, &nonce)).await.status, 200);
            world.advance(1).await;
            let late = fetch(&world, READ, &key.with_nonce(&world, READ, access, &nonce)).await;
            assert_eq!(challenge(&late), (401, expected.as_str()), "{}", late.all());
            let refresh = [("grant_type", "refresh_token"), ("refresh_token", text(&given, "refresh_token"))];
            let asked = token(&world, &refresh, &[&key.proof_with_nonce(&world, "POST /token", &nonce)]).await;
            assert_eq!(refusal(&asked), refused(400, "use_dpop_nonce"));
            let proof = key.proof_with_nonce(&world, "POST /token", &nonce_of(&late));
            let again = token(&world, &refresh, &[&proof]).await;
            assert_eq!(again.status, 200, "{}", again.all());

            // Pushed requests that bring a proof, and other clients as it is said for them.
            let parameters = encoded(&request_of("nonces", callback, SCOPE));
            let form = "Content-Type: application/x-www-form-urlencoded";
            let push = async |proof: &str| world.send("POST /par", "", &[form, proof], &parameters).await;
            let asked = push(&key.proof(&world, "POST /par")).await;
            assert_eq!(refusal(&asked), refused(400, "use_dpop_nonce"));
            let pushed = push(&key.proof_with_nonce(&world, "POST /par", &nonce_of(&asked))).await;
            assert_eq!(pushed.status, 201, "{}", pushed.all());
            nonce_of(&pushed);
            let bare = request(SCOPE);
            let another = setting::code(&world, "pat", &bare).await;
            let other = token(&world, &exchange(&another), &[&key.proof(&world, "POST /token")]).await;
            assert_eq!(other.status, if tokens.is_empty() { 200 } else { 400 }, "{}", other.all());
            world.finish().await;
        });
    }
}

// N2
#[test]
fn where_no_nonces_are_asked_for_none_are_given_and_one_that_comes_is_not_looked_at() {
    run(async {
        let (world, key) = (world().await, ProvingKey::generate());
        let given = bound(&world, &key).await;
        let read = fetch(&world, READ, &key.with_nonce(&world, READ, text(&given, "access_token"), "anything")).await;
        assert_eq!((read.status, read.header("dpop-nonce")), (200, ""), "{}", read.all());
        world.finish().await;
    });
}
