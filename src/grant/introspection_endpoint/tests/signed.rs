//! The answer as a JWT (RFC 9701).

use super::*;

const SIGNED: &str = "application/token-introspection+jwt";

/// What `server` is told of `token` when it sends this `Accept`.
async fn told(site: &Site, accept: &str, token: &str) -> Reply {
    let headers = [("authorization", basic("server", "secret")), ("accept", accept.to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    site.introspect(&headers, &[("token", token)]).await
}

/// The claims of a signed answer, verified with the published keys.
fn verified(site: &Site, reply: &Reply, audience: &str) -> Value {
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, SIGNED), "{}", reply.json);
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    let jwt = std::str::from_utf8(&reply.body).unwrap();
    let header = jsonwebtoken::decode_header(jwt).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (jsonwebtoken::Algorithm::RS256, Some("token-introspection+jwt")));
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&site.grants.keys.jwks()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[ISSUER]);
    rules.set_required_spec_claims(&["iss", "aud"]);
    let claims = jsonwebtoken::decode::<Value>(jwt, &key, &rules).unwrap().claims;
    let names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["iss", "aud", "iat", "token_introspection"], "no `sub` or `exp`: it is no token");
    assert_eq!(claims["iat"], NOW);
    claims["token_introspection"].clone()
}

// I7, I1, I5
#[tokio::test]
async fn the_signed_answer_says_what_the_plain_one_says_and_is_for_the_client_that_asked() {
    let site = site();
    let response = granted(&site, grant("app")).await;
    let (access, refresh) = (response.text("access_token"), response.text("refresh_token"));
    for token in [access, refresh, "invalid_token_value"] {
        let plain = ask(&site, token).await;
        let signed = told(&site, SIGNED, token).await;
        assert_eq!(verified(&site, &signed, "server"), plain.json, "{token}");
    }
    assert_eq!(verified(&site, &told(&site, SIGNED, "x").await, "server"), json!({"active": false}));
    let bearer = bearer(&site).await;
    let asked = [("authorization", bearer.as_str()), ("accept", SIGNED)];
    let signed = site.introspect(&asked, &[("token", access)]).await;
    assert_eq!(verified(&site, &signed, "server")["client_id"], "app", "the client whose token asked");
    let assertion = site.assertion("machine", ISSUER);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let fields = [("token", access), ("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
    let signed = site.introspect(&[("accept", SIGNED)], &fields).await;
    assert_eq!(verified(&site, &signed, "machine")["active"], true);
}

// I7
#[tokio::test]
async fn the_answer_is_signed_where_that_is_named_and_wanted_more_than_json() {
    let site = site();
    for signed in [
        SIGNED,
        "Application/Token-Introspection+JWT",
        "application/token-introspection+jwt, */*",
        "text/html, application/*, application/token-introspection+jwt;q=1.0",
        "application/json;q=0.9, application/token-introspection+jwt",
        "application/token-introspection+jwt;q=0.2, application/json;q=0.1, */*",
        "application/token-introspection+jwt;q=0.2, application/json;q=0",
        "application/token-introspection+jwt;v=1;q=0.8, */*;q=0.8",
    ] {
        assert_eq!(told(&site, signed, "x").await.header("content-type"), SIGNED, "{signed}");
    }
    for plain in [
        "",
        "*/*",
        "application/*",
        "application/json",
        "application/jwt",
        "text/html",
        "application/token-introspection+jwt;q=0",
        "application/token-introspection+jwt;q=0.000, text/html",
        "application/token-introspection+jwt;q=x",
        "application/token-introspection+jwt, application/json",
        "application/json;q=0.5, application/token-introspection+jwt;q=0.4",
        "application/token-introspection+jwt;q=0.9, */*",
        "application/token-introspection+jwt;q=0.9, application/*, */*;q=0.1",
    ] {
        let reply = told(&site, plain, "x").await;
        assert!(is_inactive(&reply) && reply.header("content-type") == "application/json", "{plain}");
    }
}

// I7, I6
#[tokio::test]
async fn who_may_ask_stays_as_it_is_and_refusals_are_json() {
    let site = site();
    let nobody = site.introspect(&[("accept", SIGNED)], &[("token", "x")]).await;
    assert_eq!((nobody.refusal(), nobody.header("content-type")), ((401, "invalid_client"), "application/json"));
    let wrong = [("authorization", basic("server", "wrong")), ("accept", SIGNED.to_owned())];
    let wrong: Vec<_> = wrong.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(site.introspect(&wrong, &[("token", "x")]).await.refusal(), (401, "invalid_client"));
    let plain = Site::new();
    assert_eq!(told(&plain, SIGNED, "x").await.refusal(), (403, "unauthorized_client"));
}
