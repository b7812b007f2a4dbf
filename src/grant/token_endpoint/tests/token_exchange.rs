//! Token exchange (RFC 8693): less of what a client has, and never more.

use super::*;
use crate::jose::dpop::tests::ProvingKey;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn site() -> Site {
    Site::with(|config| {
        for client in &mut config.clients {
            client.grant_types.push(GrantType::TokenExchange);
        }
    })
}

fn fields<'a>(token: &'a str, scope: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "app"),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("scope", scope),
    ]
}

fn with<'a>(mut fields: Vec<(&'a str, &'a str)>, name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    fields.retain(|(known, _)| *known != name);
    fields.push((name, value));
    fields
}

// N8
#[tokio::test]
async fn a_token_is_exchanged_for_one_that_may_do_less_for_as_long() {
    let site = site();
    let first = granted(&site).await;
    let wide = claims(&site, &first);
    site.clock.advance(100);
    let reply = site.token(&fields(first.text("access_token"), "patient/Observation.r")).await;
    assert_eq!(reply.status, 200, "{}", reply.json);
    assert_eq!((reply.text("token_type"), reply.text("issued_token_type")), ("Bearer", ACCESS_TOKEN));
    assert_eq!((reply.text("scope"), &reply.json["expires_in"]), ("patient/Observation.r", &json!(200)));
    assert_eq!((reply.text("patient"), reply.text("encounter")), ("p1", "e1"));
    assert!(reply.json.get("refresh_token").is_none() && reply.json.get("id_token").is_none());
    assert_eq!(reply.header("cache-control"), "no-store");
    let narrow = claims(&site, &reply);
    assert_eq!((narrow.scope.as_str(), narrow.exp, narrow.iat), ("patient/Observation.r", wide.exp, NOW + 100));
    assert_ne!(narrow.jti, wide.jti);
    let same = AccessTokenClaims { scope: wide.scope.clone(), iat: wide.iat, jti: wide.jti.clone(), ..narrow.clone() };
    assert_eq!(same, wide, "user, patient, client, grant, roles and audience");
    assert_eq!(reply.facts.action, Some("token_exchanged"));
    assert_eq!(reply.facts.grant_id.as_deref(), Some(wide.gid.as_str()));
    // Back up again there is no way.
    let wider = site.token(&fields(reply.text("access_token"), "patient/*.rs")).await;
    assert_eq!(wider.refusal(), (400, "invalid_scope"));
    let narrower = site.token(&fields(reply.text("access_token"), "patient/Observation.r")).await;
    assert_eq!(narrower.status, 200);
}

// N8, B2 47
#[tokio::test]
async fn more_than_the_subject_token_has_is_invalid_scope() {
    let site = site();
    let token = granted(&site).await.text("access_token").to_owned();
    for scope in [
        "patient/*.cruds",
        "patient/Observation.u",
        "patient/*.rs patient/Observation.c",
        "user/*.rs",
        "user/Observation.r",
        "system/*.rs",
        "launch",
        "unknown",
        "patient/Obs.dus",
        " ",
    ] {
        let reply = site.token(&fields(&token, scope)).await;
        assert_eq!(reply.refusal(), (400, "invalid_scope"), "{scope}");
    }
    let without: Vec<_> = fields(&token, "x").into_iter().filter(|(name, _)| *name != "scope").collect();
    assert_eq!(site.token(&without).await.refusal(), (400, "invalid_request"));
}

// N8, B2 47
#[tokio::test]
async fn other_tokens_types_actors_and_audiences_are_refused() {
    let site = site();
    let first = granted(&site).await;
    let token = first.text("access_token");
    let good = || fields(token, "patient/Observation.r");
    for (name, value, error) in [
        ("subject_token", "", "invalid_request"),
        ("subject_token", "garbage", "invalid_grant"),
        ("subject_token", first.text("refresh_token"), "invalid_grant"),
        ("subject_token", first.text("id_token"), "invalid_grant"),
        ("subject_token_type", "", "invalid_request"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt", "invalid_request"),
        ("subject_token_type", "https://smarthealthit.org/token-type/permission-ticket", "invalid_request"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token", "invalid_request"),
        ("actor_token", token, "invalid_request"),
        ("actor_token_type", ACCESS_TOKEN, "invalid_request"),
        ("audience", "https://other.example.org/fhir", "invalid_target"),
        ("audience", "other", "invalid_target"),
        ("resource", "https://other.example.org/fhir", "invalid_target"),
        ("client_id", "other", "invalid_grant"),
    ] {
        assert_eq!(site.token(&with(good(), name, value)).await.refusal(), (400, error), "{name}={value}");
    }
    assert_eq!(site.token(&with(good(), "client_id", "nobody")).await.refusal(), (401, "invalid_client"));
    assert_eq!(site.token(&with(good(), "client_id", "")).await.refusal(), (401, "invalid_client"));
    let slash = format!("{BASE}/");
    for (name, value) in
        [("audience", BASE), ("audience", &*slash), ("resource", BASE), ("requested_token_type", ACCESS_TOKEN)]
    {
        assert_eq!(site.token(&with(good(), name, value)).await.status, 200, "{name}={value}");
    }
    let foreign = site.token(&with(good(), "client_id", "other")).await;
    assert_eq!(foreign.facts.reason, Some("subject_token_of_other_client"));
    assert!(foreign.credentials_failed);
    assert_eq!(foreign.facts.client_id, None, "a public client's name is a claim");
}

// N8, B2 22, 47
#[tokio::test]
async fn an_expired_or_revoked_token_or_one_of_a_client_that_may_not_is_refused() {
    let mut site = site();
    let token = granted(&site).await;
    let gid = claims(&site, &token).gid;
    let exchange = async |site: &Site| site.token(&fields(token.text("access_token"), "patient/*.r")).await;
    assert_eq!(exchange(&site).await.status, 200);
    site.configure(|_| {});
    assert_eq!(exchange(&site).await.refusal(), (400, "unauthorized_client"));
    site.configure(|config| {
        config.clients[0].grant_types.push(GrantType::TokenExchange);
        config.clients[0].scope = "launch/patient patient/Patient.r".to_owned();
    });
    assert_eq!(exchange(&site).await.refusal(), (400, "invalid_scope"), "registered for less by now");
    site.configure(|config| {
        config.clients[0].grant_types.push(GrantType::TokenExchange);
        config.users[0].roles = vec!["researcher".to_owned()];
    });
    let reply = exchange(&site).await;
    assert_eq!(claims(&site, &reply).roles, Vec::<String>::new(), "no role that was taken away");
    site.configure(|config| {
        config.clients[0].grant_types.push(GrantType::TokenExchange);
        config.users.clear();
    });
    assert_eq!(exchange(&site).await.refusal(), (400, "invalid_grant"));
    site.configure(|config| config.clients[0].grant_types.push(GrantType::TokenExchange));
    assert_eq!(exchange(&site).await.status, 200);
    revoke(&site.grants, &gid).await.unwrap();
    let revoked = exchange(&site).await;
    assert_eq!((revoked.refusal(), revoked.facts.reason), ((400, "invalid_grant"), Some("grant_revoked")));
    let token = granted(&site).await;
    site.clock.advance(300);
    let expired = site.token(&fields(token.text("access_token"), "patient/*.r")).await;
    assert_eq!((expired.refusal(), expired.facts.reason), ((400, "invalid_grant"), Some("subject_token_expired")));
}

// N8, N2
#[tokio::test]
async fn a_bound_token_is_exchanged_by_its_key_alone_and_stays_bound() {
    let (site, key) = (site(), ProvingKey::generate());
    let proof = |key: &ProvingKey| key.proof("POST", "https://gateway.example.org/token", site.clock.unix_seconds());
    let code = site.code(grant("app")).await;
    let request = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://app.example.org/cb"),
        ("client_id", "app"),
        ("code_verifier", VERIFIER),
    ];
    let bound = site.token_with(&[("dpop", &proof(&key))], &request).await;
    let fields = fields(bound.text("access_token"), "patient/*.r");
    assert_eq!(site.token(&fields).await.refusal(), (400, "invalid_dpop_proof"));
    let thief = ProvingKey::generate();
    assert_eq!(site.token_with(&[("dpop", &proof(&thief))], &fields).await.refusal(), (400, "invalid_dpop_proof"));
    let reply = site.token_with(&[("dpop", &proof(&key))], &fields).await;
    assert_eq!(reply.text("token_type"), "DPoP");
    assert_eq!(claims(&site, &reply).cnf.map(|cnf| cnf.jkt), Some(key.jkt()));
}

// N5: RFC 8707 section 2.2, for every grant type
#[tokio::test]
async fn another_resource_is_refused_at_the_token_endpoint_and_spends_nothing() {
    let site = site();
    let code = site.code(grant("app")).await;
    let request = vec![
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://app.example.org/cb"),
        ("client_id", "app"),
        ("code_verifier", VERIFIER),
    ];
    for other in ["https://other.example.org/fhir", "fhir", "https://gateway.example.org/fhir#x"] {
        let mut request = with(request.clone(), "resource", other);
        assert_eq!(site.token(&request).await.refusal(), (400, "invalid_target"), "{other}");
        request.push(("resource", BASE));
        assert_eq!(site.token(&request).await.refusal(), (400, "invalid_target"), "{other} and ours");
        request.rotate_right(1);
        assert_eq!(site.token(&request).await.refusal(), (400, "invalid_target"), "ours and {other}");
    }
    let mut twice = with(request, "resource", BASE);
    twice.push(("resource", BASE));
    let given = site.token(&twice).await;
    assert_eq!(given.status, 200, "{}", given.json);
    let refresh =
        [("grant_type", "refresh_token"), ("refresh_token", given.text("refresh_token")), ("client_id", "app")];
    let refresh = with(refresh.to_vec(), "resource", "https://other.example.org/fhir");
    assert_eq!(site.token(&refresh).await.refusal(), (400, "invalid_target"));
    assert_eq!(site.refresh(given.text("refresh_token")).await.status, 200);
}

// N8, F7, T11
#[tokio::test]
async fn a_token_of_a_login_that_is_over_is_not_exchanged() {
    let site = site();
    let (online, login) = site.online("app").await;
    let first = site.exchange(&site.code(online).await).await;
    let narrow = fields(first.text("access_token"), "patient/Observation.r");
    assert_eq!(site.token(&narrow).await.status, 200);
    site.grants.store.remove(Kind::Session, login).await.unwrap();
    let refused = site.token(&narrow).await;
    assert_eq!((refused.refusal(), refused.facts.reason), ((400, "invalid_grant"), Some("session_ended")));
    assert!(site.grants.revocations.is_revoked(&claims(&site, &first).gid), "and its other tokens end, too");
}

async fn asked(site: &Site, fields: Vec<(&'static str, String)>) -> Reply {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    site.token(&fields).await
}

// N8: a backend service hands less of what it has to a part of itself
#[tokio::test]
async fn a_backend_service_exchanges_its_own_token_for_one_that_may_do_less() {
    let mut site = site();
    site.configure(|config| machine(config, &["etl", "auditor"], true));
    let with_assertion = |site: &Site, fields: &[(&'static str, String)]| {
        let mut fields = fields.to_vec();
        fields.retain(|(name, _)| *name != "client_id");
        let assertion = site.assertion("machine", &format!("{ISSUER}/token"));
        fields.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()));
        fields.push(("client_assertion", assertion));
        fields
    };
    let own = [("grant_type", "client_credentials".to_owned()), ("scope", "system/*.rs".to_owned())];
    let first = asked(&site, with_assertion(&site, &own)).await;
    assert_eq!(first.status, 200, "{}", first.json);
    let wide = claims(&site, &first);
    let narrow = |scope: &str| -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange".to_owned()),
            ("subject_token", first.text("access_token").to_owned()),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
            ("scope", scope.to_owned()),
        ]
    };
    let reply = asked(&site, with_assertion(&site, &narrow("system/Patient.r"))).await;
    assert_eq!((reply.status.as_u16(), reply.text("scope")), (200, "system/Patient.r"), "{}", reply.json);
    let given = claims(&site, &reply);
    assert_eq!((given.gid.as_str(), given.exp, &given.sub), (wide.gid.as_str(), wide.exp, &wide.sub));
    assert_eq!((&given.user_iss, given.roles.len()), (&None, 2));
    for more in ["system/*.cruds", "patient/Patient.r", "user/Patient.r", "openid"] {
        let reply = asked(&site, with_assertion(&site, &narrow(more))).await;
        assert_eq!(reply.refusal(), (400, "invalid_scope"), "{more}");
    }
    // What the site took from it since, the new token lacks, too.
    site.configure(|config| machine(config, &["etl"], true));
    let reply = asked(&site, with_assertion(&site, &narrow("system/Patient.r"))).await;
    assert_eq!(claims(&site, &reply).roles, ["etl"]);
    site.configure(|config| machine(config, &["etl"], false));
    let reply = asked(&site, with_assertion(&site, &narrow("system/Patient.r"))).await;
    assert_eq!(reply.refusal(), (400, "invalid_grant"), "it may not act for itself any more");
}

/// The backend service `machine`, in these roles; `acts`: for itself.
fn machine(config: &mut crate::config::Config, roles: &[&str], acts: bool) {
    let machine = config.clients.iter_mut().find(|client| client.client_id == "machine").unwrap();
    machine.scope = "system/*.rs".to_owned();
    machine.roles = roles.iter().map(|role| (*role).to_owned()).collect();
    machine.grant_types.push(GrantType::TokenExchange);
    if acts {
        machine.grant_types.push(GrantType::ClientCredentials);
    }
}
