//! Apps that start by themselves: a public one, a confidential one, a native one, driven by an OAuth client that knows nothing
//! of this gateway.

use std::collections::HashMap;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, ExtraTokenFields, HttpRequest,
    HttpResponse, PkceCodeChallenge, RedirectUrl, RefreshToken, Scope, StandardRevocableToken, StandardTokenResponse,
    TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;

use super::*;
use crate::world::{World, run};

/// What SMART adds to a token response.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Smart {
    patient: Option<String>,
    id_token: Option<String>,
}

impl ExtraTokenFields for Smart {}

type Tokens = StandardTokenResponse<Smart, BasicTokenType>;
type SmartClient = Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// Sends a request over a connection of its own.
async fn http(world: &World, request: HttpRequest) -> Result<HttpResponse, std::io::Error> {
    let stream = TcpStream::connect(world.address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    assert_eq!(head.uri.host(), Some("gw.example.org"), "{}", head.uri);
    head.headers.insert("host", "gw.example.org".parse().unwrap());
    head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
    let response =
        sender.send_request(http::Request::from_parts(head, Full::<bytes::Bytes>::from(body))).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    drop(sender);
    driving.await.unwrap().unwrap();
    Ok(http::Response::from_parts(head, body))
}

/// A launch from the discovery document to the tokens, as `user`; `nonce` goes into the `id_token`.
async fn launch(
    world: &World,
    client_id: &str,
    secret: Option<AuthType>,
    redirect_uri: &str,
    user: &str,
) -> (Tokens, String) {
    let discovered = world.get("/fhir/.well-known/smart-configuration", "").await.json();
    let url = |name: &str| text(&discovered, name).to_owned();
    let base = SmartClient::new(ClientId::new(client_id.to_owned()))
        .set_auth_uri(AuthUrl::new(url("authorization_endpoint")).unwrap())
        .set_token_uri(TokenUrl::new(url("token_endpoint")).unwrap())
        .set_redirect_uri(RedirectUrl::new(redirect_uri.to_owned()).unwrap());
    let client = match secret {
        None => base,
        Some(way) => base.set_client_secret(ClientSecret::new(SECRET.to_owned())).set_auth_type(way),
    };
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    world.secret(verifier.secret());
    let (url, state) = client
        .authorize_url(CsrfToken::new_random)
        .set_pkce_challenge(challenge)
        .add_scopes(SCOPE.split(' ').map(|scope| Scope::new(scope.to_owned())))
        .add_extra_param("aud", BASE)
        .add_extra_param("nonce", "n0nce")
        .url();
    let mut browser = Browser::new(world);
    let page = browser.get(&format!("{}?{}", url.path(), url.query().unwrap())).await;
    let page = browser.follow(page).await;
    let page = browser.log_in(&page, user).await;
    let page = browser.pick_if_asked(&page, "P1").await;
    let page = browser.allow_all(&page).await;
    assert!(page.location().unwrap().starts_with(redirect_uri), "{}", page.reply.all());
    assert_eq!(page.returned("state").as_ref(), Some(state.secret()));
    assert_eq!(page.returned("iss").as_deref(), Some(ISSUER));
    let code = page.returned("code").unwrap();
    world.secret(&code);
    let sending = |request| http(world, request);
    let tokens = client
        .exchange_code(AuthorizationCode::new(code))
        .set_pkce_verifier(verifier)
        .request_async(&sending)
        .await
        .unwrap();
    let refreshed = client
        .exchange_refresh_token(&RefreshToken::new(tokens.refresh_token().unwrap().secret().clone()))
        .request_async(&sending)
        .await
        .unwrap();
    world.secret(refreshed.access_token().secret());
    assert_eq!(refreshed.extra_fields().patient, tokens.extra_fields().patient, "the context comes with each token");
    let rotated = refreshed.refresh_token().map_or("", |token| token.secret().as_str()).to_owned();
    (tokens, rotated)
}

/// What every launch of these must have given.
async fn assert_worth(world: &World, tokens: &Tokens, client_id: &str) {
    let access = tokens.access_token().secret();
    world.secret(access);
    world.secret(tokens.refresh_token().unwrap().secret());
    assert_eq!(tokens.extra_fields().patient.as_deref(), Some("P1"));
    assert!(tokens.expires_in().is_some_and(|life| life.as_secs() <= 3600));
    let granted: Vec<&str> = tokens.scopes().unwrap().iter().map(|scope| scope.as_str()).collect();
    assert_eq!(granted.join(" "), SCOPE);
    assert_eq!(world.get("/fhir/Patient/P1", access).await.status, 200);
    assert_eq!(world.get("/fhir/Patient/P2", access).await.status, 404);
    assert_eq!(world.get("/fhir/Condition/c1", access).await.status, 403);
    let identity = verified(world, tokens.extra_fields().id_token.as_deref().unwrap(), client_id).await;
    assert_eq!((text(&identity, "nonce"), text(&identity, "iss")), ("n0nce", ISSUER));
    assert_eq!(text(&identity, "at_hash"), firebreak::jose::at_hash(access));
    assert_eq!(text(&identity, "sub"), text(&claims(access), "sub"));
    // What `fhirUser` names can be read with the token.
    let own = text(&identity, "fhirUser").strip_prefix(ISSUER).unwrap().to_owned();
    assert_eq!(world.get(&own, access).await.status, 200, "{own}");
}

/// The claims of an `id_token`, checked as OpenID Connect Core section 3.1.3.7 tells a client to.
async fn verified(world: &World, id_token: &str, client_id: &str) -> Value {
    world.secret(id_token);
    let configuration = world.get("/.well-known/openid-configuration", "").await.json();
    let keys = text(&configuration, "jwks_uri").strip_prefix(ISSUER).unwrap().to_owned();
    let keys: JwkSet = serde_json::from_value(world.get(&keys, "").await.json()).unwrap();
    let header = jsonwebtoken::decode_header(id_token).unwrap();
    assert_eq!(header.alg, Algorithm::RS256);
    let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[client_id]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    let claims: HashMap<String, Value> = jsonwebtoken::decode(id_token, &key, &validation).unwrap().claims;
    let other = {
        let mut other = validation;
        other.set_audience(&["other"]);
        other
    };
    assert!(jsonwebtoken::decode::<Value>(id_token, &key, &other).is_err());
    serde_json::to_value(claims).unwrap()
}

#[test]
fn a_public_app_launches_reads_and_refreshes() {
    run(async {
        let world = world().await;
        let (tokens, rotated) = launch(&world, "app", None, CALLBACK, "dr").await;
        assert_worth(&world, &tokens, "app").await;
        world.secret(&rotated);
        assert_ne!(&rotated, tokens.refresh_token().unwrap().secret(), "a public client's token is rotated");
        world.finish().await;
    });
}

#[test]
fn a_confidential_app_launches_with_basic_and_with_its_secret_in_the_body() {
    run(async {
        let world = world().await;
        world.secret(SECRET);
        for way in [AuthType::BasicAuth, AuthType::RequestBody] {
            let (tokens, rotated) = launch(&world, "server", Some(way), "https://server.example.org/cb", "pat").await;
            world.secret(tokens.access_token().secret());
            assert_eq!(tokens.extra_fields().patient.as_deref(), Some("P1"));
            assert_eq!(world.get("/fhir/Patient/P1", tokens.access_token().secret()).await.status, 200);
            assert_eq!(rotated, "", "a confidential client keeps its token");
        }
        world.finish().await;
    });
}

#[test]
fn a_native_app_comes_back_to_whichever_port_it_got_and_only_to_that() {
    run(async {
        let world = world().await;
        for redirect_uri in ["http://127.0.0.1:51004/cb", "http://[::1]:9/cb", "http://127.0.0.1/cb"] {
            let code = code(&world, "pat", &request_of("native", redirect_uri, SCOPE)).await;
            let fields = with(with(exchange(&code), "client_id", "native"), "redirect_uri", redirect_uri);
            assert_eq!(token(&world, &fields, &[]).await.status, 200, "{redirect_uri}");
        }
        // The code is bound to the port that was sent, not to what is registered.
        for other in ["http://127.0.0.1:51005/cb", "http://127.0.0.1/cb", "http://[::1]:51004/cb"] {
            let code = code(&world, "pat", &request_of("native", "http://127.0.0.1:51004/cb", SCOPE)).await;
            let fields = with(with(exchange(&code), "client_id", "native"), "redirect_uri", other);
            assert_eq!(refusal(&token(&world, &fields, &[]).await), refused(400, "invalid_grant"), "{other}");
        }
        let mut browser = Browser::new(&world);
        for bad in [
            "http://localhost:51004/cb",
            "https://127.0.0.1:51004/cb",
            "http://127.0.0.1:51004/cb2",
            "http://127.0.0.1:51004/cb?x=1",
            "http://127.0.0.1:51004@evil.example/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.2:51004/cb",
        ] {
            let page = browser.authorize(&request_of("native", bad, SCOPE)).await;
            assert_eq!((page.status(), page.location()), (400, None), "{bad}");
        }
        // Any program of the machine can listen there: the person is asked each time.
        let page = browser.authorize(&request_of("native", "http://127.0.0.1:1/cb", SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        assert!(browser.allow_all(&page).await.returned("code").is_some());
        let page = browser.authorize(&request_of("native", "http://127.0.0.1:2/cb", SCOPE)).await;
        assert!(page.asks_for_consent(), "{}", page.reply.all());
        world.finish().await;
    });
}
