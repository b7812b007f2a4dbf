#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed assumption fails the test"
)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jose::assertion::tests::TestKeys;

const TERMS: Terms<'static> = Terms {
    allowed_scope: ALLOWED,
    is_jwks_uri: |text| crate::config::JwksUri::parse(text, crate::outbound::Guard::Registered).is_some(),
};
const ALLOWED: &str = "openid fhirUser launch/patient offline_access patient/*.rs";

fn checked(sent: &Value) -> Result<ClientMetadata, MetadataProblem> {
    SentMetadata::read(sent.to_string().as_bytes())?.checked(TERMS)
}

/// What is registered of a public client with these members besides.
fn with(members: &Value) -> Result<ClientMetadata, MetadataProblem> {
    let mut sent = json!({
        "redirect_uris": ["https://app.example.org/cb"],
        "token_endpoint_auth_method": "none",
        "scope": "launch/patient patient/Observation.rs",
    });
    sent.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    checked(&sent)
}

fn problem(members: &Value) -> ProblemKind {
    with(members).expect_err(&members.to_string()).kind
}

// R1, R6
#[test]
fn what_is_left_out_has_the_defaults_of_the_rfc() {
    let registered = checked(&json!({"redirect_uris": ["https://app.example.org/cb"]})).unwrap();
    assert_eq!(registered.token_endpoint_auth_method, AuthenticationMethod::ClientSecretBasic);
    assert_eq!(
        (registered.grant_types, registered.response_types),
        (vec!["authorization_code".into()], vec!["code".into()])
    );
    assert_eq!(
        registered.scope, "openid fhirUser launch/patient patient/*.rs",
        "and no offline_access without refresh"
    );
}

// R1, B3 74
#[test]
fn redirect_uris_are_written_out_and_there_is_one() {
    let kind = |uris: Value| problem(&json!({ "redirect_uris": uris }));
    for bad in [
        json!([]),
        json!(["https://app.example.org/*"]),
        json!(["https://app.example.org/cb#x"]),
        json!(["http://app.example.org/cb"]),
        json!(["https://app.example.org/cb", "https://app.example.org/cb"]),
        json!(["https://app.example.org/cb", 7]),
        json!("https://app.example.org/cb"),
        json!(["javascript:alert(1)"]),
        json!([format!("https://app.example.org/{}", "x".repeat(2_000))]),
        json!((0..21).map(|n| format!("https://app.example.org/{n}")).collect::<Vec<_>>()),
        Value::Null,
    ] {
        assert_eq!(kind(bad.clone()), ProblemKind::RedirectUri, "{bad}");
    }
    assert!(with(&json!({"redirect_uris": ["org.example.app:/cb", "http://127.0.0.1/cb"]})).is_ok());
}

// R1, B3 74
#[test]
fn what_does_not_work_here_is_not_registered() {
    for bad in [
        json!({"token_endpoint_auth_method": "client_secret_jwt"}),
        json!({"token_endpoint_auth_method": "tls_client_auth"}),
        json!({"token_endpoint_auth_method": ["none"]}),
        json!({"grant_types": ["implicit"]}),
        json!({"grant_types": ["authorization_code", "password"]}),
        json!({"grant_types": ["refresh_token"]}),
        json!({"grant_types": ["client_credentials"]}),
        json!({"grant_types": "authorization_code"}),
        json!({"grant_types": []}),
        json!({"response_types": ["token"]}),
        json!({"response_types": ["code", "id_token"]}),
        json!({"response_types": []}),
        json!({"scope": "user/*.rs system/*.rs nonsense"}),
        json!({"scope": ""}),
        json!({"scope": ["openid"]}),
        json!({"client_name": ""}),
        json!({"client_name": "a\u{202e}b"}),
        json!({"client_name": "\u{3164}"}),
        json!({"client_name": "\u{115f}\u{1160}"}),
        json!({"client_name": "\u{2800}"}),
        json!({"client_name": "\u{fe0f}"}),
        json!({"client_name": "a\u{e0100}b"}),
        json!({"client_name": "a\nb"}),
        json!({"client_name": "x".repeat(201)}),
        json!({"client_name": 7}),
        json!({"logo_uri": "data:image/png;base64,AAAA"}),
        json!({"logo_uri": "http://app.example.org/logo.png"}),
        json!({"client_uri": "javascript:alert(1)"}),
        json!({"tos_uri": "https://user@app.example.org/"}),
        json!({"policy_uri": "/privacy"}),
        json!({"contacts": "me@example.org"}),
        json!({"contacts": ["a\u{0}"]}),
        json!({"software_id": {}}),
        json!({"initiate_login_uri": "http://app.example.org/launch"}),
        json!({"initiate_login_uri": "https://app.example.org/launch#x"}),
        json!({"initiate_login_uri": "https://*.example.org/launch"}),
        json!({"initiate_login_uri": "org.example.app:/launch"}),
    ] {
        assert_eq!(problem(&bad), ProblemKind::Metadata, "{bad}");
    }
    assert_eq!(problem(&json!({"software_statement": "eyJ"})), ProblemKind::SoftwareStatement);
    for bad in ["", "[]", "null", "\"x\"", "{", r#"{"scope":"openid","scope":"patient/*.rs"}"#] {
        assert_eq!(SentMetadata::read(bad.as_bytes()).unwrap_err().kind, ProblemKind::Metadata, "{bad}");
    }
}

#[test]
fn what_is_not_known_is_ignored_and_null_is_nothing() {
    let registered = with(&json!({
        "application_type": "web", "client_name": null, "software_statement": null, "jwks": null, "post_logout_redirect_uris": [1],
        "response_types": "code",
    }));
    assert_eq!(registered, with(&json!({})));
}

// R1
#[test]
fn everything_that_is_known_is_registered() {
    let members = json!({
        "client_name": "Growth chart", "client_uri": "https://app.example.org/", "logo_uri": "https://app.example.org/logo.png",
        "tos_uri": "https://app.example.org/tos", "policy_uri": "https://app.example.org/privacy",
        "contacts": ["ada@example.org"], "software_id": "growth", "software_version": "1.0",
        "initiate_login_uri": "https://app.example.org/launch?theme=dark",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "dpop_bound_access_tokens": true, "require_pushed_authorization_requests": true,
    });
    let registered = serde_json::to_value(with(&members).unwrap()).unwrap();
    for (name, value) in members.as_object().unwrap() {
        assert_eq!(registered.get(name), Some(value), "{name}");
    }
}

// R2, R3
#[test]
fn keys_are_public_by_value_or_by_url_and_there_for_who_needs_them() {
    let jwks: Value = serde_json::from_str(&TestKeys::generate().jwks()).unwrap();
    let private = |members: &Value| {
        let mut sent = members.clone();
        sent.as_object_mut().unwrap().insert("token_endpoint_auth_method".to_owned(), "private_key_jwt".into());
        with(&sent)
    };
    assert_eq!(private(&json!({ "jwks": jwks })).unwrap().jwks, Some(jwks.clone()));
    let first = jwks["keys"].get(0).unwrap();
    for bad in [
        json!({}),
        json!({"jwks": jwks, "jwks_uri": "https://app.example.org/jwks"}),
        json!({"jwks": {"keys": []}}),
        json!({"jwks": {"keys": [first, first]}}),
        json!({"jwks": {"keys": [{"kty": "oct", "kid": "a", "k": "AQAB"}]}}),
        json!({"jwks": {"keys": [{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}]}}),
        json!({"jwks": jwks.to_string()}),
        json!({"jwks_uri": "http://app.example.org/jwks"}),
        json!({"jwks_uri": "http://127.0.0.1/jwks"}),
        json!({"jwks_uri": "https://127.0.0.1/jwks"}),
        json!({"jwks_uri": "https://10.1.2.3/jwks"}),
        json!({"jwks_uri": "https://[fd12:3456::1]/jwks"}),
        json!({"jwks_uri": "https://169.254.169.254/latest/meta-data"}),
        json!({"jwks_uri": "https://localhost/jwks"}),
        json!({"jwks_uri": "https://user@app.example.org/jwks"}),
        json!({"jwks_uri": "https://app.example.org/jwks#x"}),
        json!({"jwks_uri": ["https://app.example.org/jwks"]}),
    ] {
        assert_eq!(private(&bad).unwrap_err().kind, ProblemKind::Metadata, "{bad}");
    }
    let by_url = private(&json!({"jwks_uri": "https://app.example.org/jwks"})).unwrap();
    assert_eq!((by_url.jwks, by_url.jwks_uri.as_deref()), (None, Some("https://app.example.org/jwks")));
    // Not only from those who need them.
    assert!(with(&json!({"jwks": {"keys": [{"kty": "EC", "kid": "a", "d": "AQAB"}]}})).is_err());
}

#[test]
fn scopes_beyond_what_is_allowed_are_left_out() {
    let scope = |asked: &str| with(&json!({ "scope": asked })).unwrap().scope;
    assert_eq!(scope("openid user/*.rs patient/*.read patient/*.cruds openid"), "openid patient/*.read");
    assert_eq!(scope("openid offline_access"), "openid", "without refresh_token");
    let both = json!({"grant_types": ["refresh_token", "authorization_code"], "scope": "openid offline_access"});
    assert_eq!(with(&both).unwrap().scope, "openid offline_access");
}

// B4
#[test]
fn a_client_acts_for_itself_with_a_key_and_system_scopes_alone() {
    let backend = |more: &Value, allowed_scope: &str| {
        let mut sent = json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example.org/jwks",
            "grant_types": ["client_credentials"], "scope": "system/Patient.rs openid",
        });
        sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        SentMetadata::read(sent.to_string().as_bytes()).unwrap().checked(Terms { allowed_scope, ..TERMS })
    };
    let registered = backend(&json!({}), "openid system/*.rs").unwrap();
    assert_eq!(registered.scope, "system/Patient.rs");
    assert!(registered.redirect_uris.is_empty() && registered.response_types.is_empty());
    assert!(backend(&json!({}), ALLOWED).is_err(), "not where no system/ scope is allowed");
    for bad in [
        json!({"token_endpoint_auth_method": "client_secret_basic"}),
        json!({"grant_types": ["client_credentials", "refresh_token"]}),
        json!({"scope": "openid"}),
    ] {
        assert!(backend(&bad, "openid system/*.rs").is_err(), "{bad}");
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        proptest::sample::select(vec!["none", "code", "authorization_code", "https://a.example/cb", "patient/*.rs"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z]{1,8}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_sent_is_registered_within_the_terms_or_refused(
        names in proptest::collection::vec(proptest::sample::select(vec![
            "redirect_uris", "scope", "grant_types", "response_types", "client_name", "jwks", "jwks_uri", "contacts",
            "logo_uri", "token_endpoint_auth_method", "initiate_login_uri",
        ]), 0..6),
        values in proptest::collection::vec(anything(), 6),
    ) {
        let sent: serde_json::Map<String, Value> = names.into_iter().map(str::to_owned).zip(values).collect();
        if let Ok(registered) = checked(&Value::Object(sent)) {
            let allowed: Vec<Scope> = ALLOWED.split(' ').map(Scope::parse).collect();
            prop_assert!(registered.scope.split(' ').all(|scope| Scope::parse(scope).is_covered_by(&allowed)));
            prop_assert!(registered.redirect_uris.iter().all(|uri| redirect_uri::acceptable(uri).is_ok()));
            let text = serde_json::to_string(&registered).unwrap();
            prop_assert_eq!(serde_json::from_str::<ClientMetadata>(&text).unwrap(), registered);
        }
    }

    #[test]
    fn whatever_arrives_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(SentMetadata::read(&bytes).map(|sent| sent.checked(TERMS)));
    }
}

// E29
#[test]
fn more_scopes_than_can_be_compared_are_not_registered() {
    let granular = |count: usize| {
        (0..count).map(|code| format!("patient/Observation.rs?code={code}")).collect::<Vec<_>>().join(" ")
    };
    assert!(with(&json!({"scope": granular(400)})).is_ok());
    assert_eq!(problem(&json!({"scope": granular(401)})), ProblemKind::Metadata);
}
