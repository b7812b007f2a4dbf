#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failed assumption fails the test")]

use super::*;
use crate::grant::back_channel_testing::{BASE, ISSUER, Reply, Site, inbound, reply};
use crate::grant::route::{Endpoint, endpoint};

const SMART: &str = "/fhir/.well-known/smart-configuration";

fn fetch(site: &Site, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let document = match endpoint(path, &site.grants.config.fhir.path).unwrap() {
        Endpoint::SmartConfiguration => Document::SmartConfiguration,
        Endpoint::OpenIdConfiguration => Document::OpenIdConfiguration,
        Endpoint::AuthorizationServerMetadata => Document::AuthorizationServerMetadata,
        Endpoint::Jwks => Document::Jwks,
        Endpoint::Brands => Document::Brands,
        other => panic!("{other:?} is no document"),
    };
    let mut facts = Facts::default();
    let answer = respond(&site.grants, document, &inbound(method, path, headers, Bytes::new()), &mut facts);
    reply(answer, facts)
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

// D1
#[tokio::test]
async fn smart_configuration_is_json_without_a_token_whatever_accept_says() {
    let site = Site::new();
    for accept in ["", "*/*", "application/fhir+xml", "text/html"] {
        let reply = fetch(&site, "GET", SMART, &[("accept", accept)]);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.text("token_endpoint"), "https://gateway.example.org/token");
    }
    let deep = Site::with(|config| config.fhir.path = "/apis/fhir".to_owned());
    assert_eq!(fetch(&deep, "GET", "/apis/fhir/.well-known/smart-configuration", &[]).status, 200);
}

// D2, D3, D4, D5, D6
#[tokio::test]
async fn smart_configuration_has_the_required_members_with_absolute_urls() {
    let site = Site::new();
    let document = fetch(&site, "GET", SMART, &[]).json;
    assert_eq!(document["issuer"], ISSUER);
    let is_absolute = |value: &Value| value.as_str().is_some_and(|url| url.starts_with("https://gateway.example.org/"));
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "introspection_endpoint",
        "revocation_endpoint",
        "management_endpoint",
    ] {
        assert!(is_absolute(&document[name]), "{name}");
    }
    for (name, value) in document.as_object().unwrap() {
        let is_address = name.ends_with("_endpoint") || name.ends_with("_uri");
        assert!(!is_address || is_absolute(value), "{name}: {value}");
    }
    assert!(strings(&document["token_endpoint_auth_methods_supported"]).contains(&"private_key_jwt"));
    assert_eq!(strings(&document["token_endpoint_auth_signing_alg_values_supported"]), ["RS384", "ES384"]);
    assert!(strings(&document["scopes_supported"]).contains(&"system/*.rs"));
    assert_eq!(strings(&document["code_challenge_methods_supported"]), ["S256"]);
    assert_eq!(
        strings(&document["grant_types_supported"]),
        [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:token-exchange"
        ]
    );
    assert_eq!(strings(&document["response_types_supported"]), ["code"]);
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
}

// D7, D8, D11
#[tokio::test]
async fn capabilities_are_those_that_work_and_all_known_to_smart() {
    let document = fetch(&Site::new(), "GET", SMART, &[]).json;
    let capabilities = strings(&document["capabilities"]);
    let of_both = "client-public client-confidential-symmetric client-confidential-asymmetric sso-openid-connect \
                   permission-offline permission-patient permission-user authorize-post permission-v1 permission-v2";
    let standalone = "launch-standalone context-standalone-patient";
    let ehr = "launch-ehr context-banner context-style context-ehr-patient context-ehr-encounter";
    for name in [of_both, standalone, ehr].into_iter().flat_map(str::split_whitespace) {
        assert!(capabilities.contains(&name), "{name}");
    }
    assert!(!capabilities.contains(&"smart-app-state"));
}

// D6: each scope that is listed is one we understand
#[tokio::test]
async fn every_scope_that_is_listed_is_understood() {
    let document = fetch(&Site::new(), "GET", SMART, &[]).json;
    for scope in strings(&document["scopes_supported"]) {
        let parsed = crate::smart::scope::Scope::parse(scope);
        assert!(!matches!(parsed, crate::smart::scope::Scope::Unknown(_)), "{scope}");
    }
}

// O3, D12, E6, N6
#[tokio::test]
async fn openid_and_oauth_metadata_have_what_strict_clients_require_and_agree() {
    let site = Site::new();
    let openid = fetch(&site, "GET", "/.well-known/openid-configuration", &[]).json;
    let oauth = fetch(&site, "GET", "/.well-known/oauth-authorization-server", &[]).json;
    let smart = fetch(&site, "GET", SMART, &[]).json;
    assert_eq!(oauth["authorization_response_iss_parameter_supported"], true);
    assert!(strings(&oauth["revocation_endpoint_auth_methods_supported"]).contains(&"none"));
    assert!(strings(&oauth["introspection_endpoint_auth_methods_supported"]).contains(&"client_secret_basic"));
    assert_eq!(oauth["pushed_authorization_request_endpoint"], format!("{ISSUER}/par"));
    assert!(strings(&oauth["dpop_signing_alg_values_supported"]).contains(&"ES256"));
    assert_eq!(strings(&openid["id_token_signing_alg_values_supported"]), ["RS256"]);
    assert_eq!(strings(&openid["subject_types_supported"]), ["public"]);
    for (name, value) in oauth.as_object().unwrap() {
        assert_eq!(openid[name], *value, "{name}");
        assert!(smart.get(name).is_none_or(|other| other == value), "{name}");
    }
    assert!(!oauth.to_string().contains("implicit"));
    assert!(!oauth.to_string().contains("\"password\""));
    assert!(!smart.to_string().contains(BASE), "no endpoint lies below the FHIR base");
}

// O4, E22
#[tokio::test]
async fn the_public_keys_are_served_with_cache_headers() {
    let reply = fetch(&Site::new(), "GET", "/jwks", &[]);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json["keys"].as_array().unwrap().len(), 2);
    let kept = reply.header("cache-control").strip_prefix("public, max-age=").unwrap().parse::<i64>().unwrap();
    assert!(kept > 0 && kept <= crate::keys::PUBLISHED_BEFORE, "{kept}: a new key signs when every copy has it");
}

#[tokio::test]
async fn head_and_a_matching_etag_give_no_body_and_other_methods_405() {
    let site = Site::new();
    let tag = fetch(&site, "GET", SMART, &[]).header("etag").to_owned();
    let head = fetch(&site, "HEAD", SMART, &[]);
    assert_eq!((head.status.as_u16(), head.header("etag"), &head.json), (200, tag.as_str(), &Value::Null));
    let unchanged = fetch(&site, "GET", SMART, &[("if-none-match", &format!("\"x\", W/{tag}"))]);
    assert_eq!((unchanged.status.as_u16(), &unchanged.json), (304, &Value::Null));
    assert_eq!(fetch(&site, "GET", SMART, &[("if-none-match", "\"x\"")]).status, 200);
    let post = fetch(&site, "POST", SMART, &[]);
    assert_eq!((post.status.as_u16(), post.header("allow")), (405, "GET, HEAD, OPTIONS"));
}

// W1, D6
#[tokio::test]
async fn the_brands_are_public_have_a_weak_tag_and_are_discovered_where_they_are_configured() {
    let without = Site::new();
    assert_eq!(fetch(&without, "GET", "/brands", &[]).status, 404);
    assert!(fetch(&without, "GET", SMART, &[]).json.get("user_access_brand_bundle").is_none());
    let site = Site::with(|config| {
        config.brands = Some(crate::config::Brands {
            bundle: Bytes::from_static(b"{\"resourceType\":\"Bundle\"}"),
            system: "urn:ietf:rfc:3986".to_owned(),
            value: "https://larkspur.example".to_owned(),
        });
    });
    let reply = fetch(&site, "GET", "/brands", &[("accept", "text/html")]);
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/fhir+json"));
    let tag = reply.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    for again in [tag.as_str(), tag.trim_start_matches("W/"), "*"] {
        assert_eq!(fetch(&site, "GET", "/brands", &[("if-none-match", again)]).status, 304);
    }
    let document = fetch(&site, "GET", SMART, &[]).json;
    assert_eq!(document["user_access_brand_bundle"], "https://gateway.example.org/brands");
    assert_eq!(document["user_access_brand_identifier"]["value"], "https://larkspur.example");
}
