//! Refresh tokens: rotation, reuse, scope, expiry and revocation.

use super::*;

// T1, F1, C10, F5, T2: PyPI fhirclient sends client_id and Basic, and `state`
#[tokio::test]
async fn a_confidential_client_exchanges_and_refreshes_without_rotation() {
    let site = Site::new();
    let code = site.code(grant("server")).await;
    let authorization = basic("server", "secret");
    let headers = [("authorization", authorization.as_str())];
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", "https://server.example.org/cb"),
        ("client_id", "server"),
        ("state", "ignored"),
        ("code_verifier", VERIFIER),
    ];
    let first = site.token_with(&headers, &fields).await;
    let token = first.text("refresh_token");
    for _ in 0..3 {
        let again = site.token_with(&headers, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await;
        assert_eq!(again.status, 200);
        assert!(again.json.get("refresh_token").is_none());
        assert_ne!(again.text("access_token"), first.text("access_token"));
    }
    // B2 45: named or identified by its token, a confidential client authenticates
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(site.token(&fields).await.refusal(), (401, "invalid_client"));
    let named = [fields[0], fields[1], ("client_id", "server")];
    assert_eq!(site.token(&named).await.refusal(), (401, "invalid_client"));
}

// F1, F3, F5, T5: and npm fhirclient sends no client_id
#[tokio::test]
async fn a_public_clients_refresh_token_rotates_with_and_without_client_id() {
    let site = Site::new();
    let first = granted(&site).await;
    let second = site.refresh(first.text("refresh_token")).await;
    assert_eq!((second.header("cache-control"), second.header("pragma")), ("no-store", "no-cache"));
    assert_eq!(second.json["expires_in"], json!(300));
    assert_eq!(second.text("scope"), first.text("scope"));
    assert_ne!(second.text("refresh_token"), first.text("refresh_token"));
    assert_eq!(claims(&site, &second).gid, claims(&site, &first).gid);
    let unnamed = [("grant_type", "refresh_token"), ("refresh_token", second.text("refresh_token"))];
    let third = site.token(&unnamed).await;
    assert_eq!((third.status.as_u16(), third.facts.client_id.as_deref()), (200, Some("app")));
    assert_ne!(third.text("refresh_token"), second.text("refresh_token"));
}

// B2 44, E7, F5
#[tokio::test]
async fn a_refresh_token_used_twice_revokes_its_family() {
    let site = Site::new();
    let first = granted(&site).await;
    let second = site.refresh(first.text("refresh_token")).await;
    site.clock.advance(REUSE_GRACE + 1);
    let reuse = site.refresh(first.text("refresh_token")).await;
    assert_eq!(reuse.refusal(), (400, "invalid_grant"));
    assert_eq!(reuse.facts.reason, Some("refresh_token_reused"));
    assert!(site.grants.revocations.is_revoked(&claims(&site, &second).gid));
    assert_eq!(site.refresh(second.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
}

// F5, E7: two tabs
#[tokio::test]
async fn a_second_use_within_ten_seconds_is_refused_and_the_family_lives() {
    let site = Site::new();
    let first = granted(&site).await;
    let second = site.refresh(first.text("refresh_token")).await;
    site.clock.advance(REUSE_GRACE);
    assert_eq!(site.refresh(first.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
    assert!(!site.grants.revocations.is_revoked(&claims(&site, &second).gid));
    assert_eq!(site.refresh(second.text("refresh_token")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_concurrent_uses_of_one_refresh_token_one_wins_and_its_successor_works() {
    let site = Arc::new(Site::new());
    let first = granted(&site).await;
    let token = first.text("refresh_token").to_owned();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (site, token) = (Arc::clone(&site), token.clone());
        tasks.spawn(async move { site.refresh(&token).await });
    }
    let replies = tasks.join_all().await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(site.grants.store.list(Kind::RefreshToken, None, NOW, 100).await.unwrap().len(), 1, "no orphans");
    assert_eq!(site.refresh(won[0].text("refresh_token")).await.status, 200);
}

// F3, F4, F2, B2 43
#[tokio::test]
async fn a_refresh_may_ask_for_the_same_or_less_scope_in_any_order_and_never_for_more() {
    let site = Site::new();
    let mut token = granted(&site).await.text("refresh_token").to_owned();
    for scope in [
        "openid fhirUser offline_access launch/patient patient/*.rs",
        "patient/*.rs offline_access launch/patient fhirUser openid",
        "patient/Observation.rs",
        "patient/Observation.r?category=laboratory patient/Patient.read",
    ] {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("scope", scope)];
        let reply = site.token(&fields).await;
        assert_eq!((reply.status.as_u16(), reply.text("scope")), (200, scope));
        assert_eq!(claims(&site, &reply).scope, scope);
        token = reply.text("refresh_token").to_owned();
    }
    for scope in ["patient/*.cruds", "patient/*.rs user/*.rs", "system/*.rs", "launch", "patient/*.rs unknown", " "] {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("scope", scope)];
        let reply = site.token(&fields).await;
        assert_eq!(reply.refusal(), (400, "invalid_scope"), "{scope}");
    }
    let whole = site.refresh(&token).await;
    assert_eq!(whole.text("scope"), "openid fhirUser offline_access launch/patient patient/*.rs", "nothing was lost");
}

// B2 42, F4
#[tokio::test]
async fn random_foreign_and_access_tokens_are_no_refresh_tokens() {
    let site = Site::new();
    let first = granted(&site).await;
    for token in ["garbage", first.text("access_token"), first.text("id_token")] {
        let reply = site.refresh(token).await;
        assert_eq!(reply.refusal(), (400, "invalid_grant"));
        assert!(reply.credentials_failed);
        let unnamed = site.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await;
        assert_eq!(unnamed.refusal(), (400, "invalid_grant"));
    }
    let other =
        [("grant_type", "refresh_token"), ("refresh_token", first.text("refresh_token")), ("client_id", "other")];
    assert_eq!(site.token(&other).await.refusal(), (400, "invalid_grant"));
    assert_eq!(site.token(&other[..1]).await.refusal(), (400, "invalid_request"));
    assert_eq!(site.refresh(first.text("refresh_token")).await.status, 200, "it is not the other client's to spend");
}

// E8, F6, B2 42: at least three months, and no longer however often it is refreshed
#[tokio::test]
async fn refreshing_does_not_prolong_the_grant() {
    let site = Site::new();
    let mut token = granted(&site).await.text("refresh_token").to_owned();
    for _ in 0..89 {
        site.clock.advance(86_400);
        token = site.refresh(&token).await.text("refresh_token").to_owned();
    }
    site.clock.advance(86_400);
    assert_eq!(site.refresh(&token).await.refusal(), (400, "invalid_grant"));
}

// F7
#[tokio::test]
async fn a_revoked_grant_and_a_removed_client_or_user_end_the_refresh_token() {
    let mut site = Site::new();
    let first = granted(&site).await;
    let token = first.text("refresh_token");
    site.configure(|config| config.users.clear());
    assert_eq!(site.refresh(token).await.refusal(), (400, "invalid_grant"));
    site.configure(|config| config.users[0].fhir_user = Some("Practitioner/other".to_owned()));
    assert_eq!(site.refresh(token).await.refusal(), (400, "invalid_grant"));
    site.configure(|config| drop(config.clients.remove(0)));
    assert_eq!(site.refresh(token).await.refusal(), (401, "invalid_client"));
    let unnamed = [("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(site.token(&unnamed).await.refusal(), (401, "invalid_client"));
    site.configure(|_| {});
    revoke(&site.grants, &claims(&site, &first).gid).await.unwrap();
    assert_eq!(site.refresh(token).await.refusal(), (400, "invalid_grant"));
}

// F7, V2: whichever comes first
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_at_the_moment_of_revocation_leaves_nothing_that_can_be_refreshed() {
    let site = Arc::new(Site::new());
    for _ in 0..40 {
        let first = granted(&site).await;
        let grant_id = claims(&site, &first).gid;
        let refreshing = {
            let (site, token) = (Arc::clone(&site), first.text("refresh_token").to_owned());
            tokio::spawn(async move { site.refresh(&token).await })
        };
        let revoking = {
            let (site, grant_id) = (Arc::clone(&site), grant_id.clone());
            tokio::spawn(async move { revoke(&site.grants, &grant_id).await })
        };
        let refreshed = refreshing.await.unwrap();
        revoking.await.unwrap().unwrap();
        assert!(refreshed.status == 200 || refreshed.refusal() == (400, "invalid_grant"));
        assert!(site.grants.revocations.is_revoked(&grant_id));
        assert!(site.grants.store.list(Kind::RefreshToken, None, NOW, 10).await.unwrap().is_empty());
    }
}

// F4, F7
#[tokio::test]
async fn a_refresh_gives_no_role_or_scope_that_was_taken_away_or_added_since() {
    let mut site = Site::new();
    let first = granted(&site).await;
    assert_eq!(claims(&site, &first).roles, ["clinician"], "not the `researcher` that was not granted");
    site.configure(|config| {
        config.users[0].roles = vec!["researcher".to_owned()];
        config.clients[0].scope = "openid fhirUser offline_access launch/patient".to_owned();
    });
    let second = site.refresh(first.text("refresh_token")).await;
    assert!(claims(&site, &second).roles.is_empty());
    assert_eq!(second.text("scope"), "openid fhirUser offline_access launch/patient");
}

// F7
#[tokio::test]
async fn a_user_of_an_ehr_that_no_longer_vouches_ends() {
    let mut site = Site::new();
    let first = site.exchange(&site.code(vouched()).await).await;
    site.configure(|config| config.clients[3].ehr.as_mut().unwrap().vouches_for_users = false);
    assert_eq!(site.refresh(first.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
}

// F7
#[tokio::test]
async fn a_user_of_a_provider_that_may_no_longer_assert_the_role_ends() {
    let provider = "[[provider]]\nid = \"idp\"\nissuer = \"https://idp.example.org\"\nclient_id = \"c\"\n\
                    user_types = [\"Practitioner\"]\nroles = [\"clinician\"]\n";
    let mut site = Site::new();
    site.configure(|config| config.providers = crate::config::providers_for_test(provider));
    let mut federated = grant("app");
    federated.user = User { iss: "https://idp.example.org".to_owned(), ..federated.user };
    let first = site.exchange(&site.code(federated).await).await;
    let second = site.refresh(first.text("refresh_token")).await;
    assert_eq!(claims(&site, &second).roles, ["clinician"]);
    let provider = provider.replace("clinician", "auditor");
    site.configure(|config| config.providers = crate::config::providers_for_test(&provider));
    assert_eq!(site.refresh(second.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
}

/// A grant of our `dr.smith`, whom the EHR logged in.
fn vouched_as_ours() -> Grant {
    let grant = grant("app");
    let launch = LaunchContext { user: Some(grant.user.clone()), vouches: true, ..ehr_launch() };
    Grant { launch: Some(launch), ..grant }
}

// F7
#[tokio::test]
async fn a_user_of_ours_whom_an_ehr_logged_in_ends_with_what_the_ehr_may_do() {
    let mut site = Site::new();
    let first = site.exchange(&site.code(vouched_as_ours()).await).await;
    let second = site.refresh(first.text("refresh_token")).await;
    assert_eq!(claims(&site, &second).roles, ["clinician"]);
    site.configure(|config| config.clients[3].ehr.as_mut().unwrap().roles = vec!["researcher".to_owned()]);
    let third = site.refresh(second.text("refresh_token")).await;
    assert!(claims(&site, &third).roles.is_empty(), "the EHR may not give it any more");
    site.configure(|config| config.clients[3].ehr.as_mut().unwrap().vouches_for_users = false);
    assert_eq!(site.refresh(third.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
}

// F7
#[tokio::test]
async fn whom_an_ehr_logged_in_ends_when_the_ehr_is_disabled() {
    let site = Site::new();
    for grant in [vouched(), vouched_as_ours()] {
        let first = site.exchange(&site.code(grant).await).await;
        registry::disable(&*site.grants.store, "ehr", NOW).await.unwrap();
        site.grants.clients.refresh(&*site.grants.store, NOW).await.unwrap();
        assert_eq!(site.refresh(first.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
        registry::enable(&*site.grants.store, "ehr").await.unwrap();
        site.grants.clients.refresh(&*site.grants.store, NOW).await.unwrap();
    }
}

// F7
#[tokio::test]
async fn a_patient_whom_the_user_may_not_have_in_context_any_more_ends_the_grant() {
    let acts_for = |patients: &[&str]| {
        let patients: Vec<String> = patients.iter().map(|id| (*id).to_owned()).collect();
        move |config: &mut crate::config::Config| {
            config.users[0].fhir_user = Some("RelatedPerson/m1".to_owned());
            config.users[0].patients = patients;
        }
    };
    let mut site = Site::with(acts_for(&["p1", "p2"]));
    let mut of_mum = grant("app");
    of_mum.user.fhir_user = Some("RelatedPerson/m1".to_owned());
    of_mum.user.patients = vec!["p1".to_owned(), "p2".to_owned()];
    let first = site.exchange(&site.code(of_mum).await).await;
    site.configure(acts_for(&["p1"]));
    let second = site.refresh(first.text("refresh_token")).await;
    assert_eq!(second.status, 200, "the grant is for p1: {}", second.json);
    site.configure(acts_for(&["p2"]));
    assert_eq!(site.refresh(second.text("refresh_token")).await.refusal(), (400, "invalid_grant"));
}

// T12: named, not cut
#[tokio::test]
async fn scopes_that_do_not_fit_a_token_are_invalid_scope() {
    let site = Site::with(|config| config.clients[0].scope = "patient/*.cruds".to_owned());
    let mut large = grant("app");
    large.scopes = vec!["patient/MedicationAdministration.rs?status=completed".to_owned(); 80];
    assert_eq!(site.exchange(&site.code(large).await).await.refusal(), (400, "invalid_scope"));
}

#[tokio::test]
async fn what_is_stored_holds_no_code_and_no_token() {
    let site = Site::new();
    let code = site.code(grant("app")).await;
    let first = site.exchange(&code).await;
    let second = site.refresh(first.text("refresh_token")).await;
    let kinds = [Kind::Code, Kind::SpentCode, Kind::RefreshToken, Kind::SpentRefreshToken, Kind::Grant];
    let mut stored = Vec::new();
    for kind in kinds {
        for (_, entry) in site.grants.store.list(kind, None, NOW, 100).await.unwrap() {
            stored.push(String::from_utf8(entry.value).unwrap());
        }
    }
    assert_eq!(stored.len(), 4, "{stored:?}");
    for secret in [&code, first.text("refresh_token"), second.text("refresh_token"), second.text("access_token")] {
        assert!(stored.iter().all(|value| !value.contains(secret)));
    }
}

// F7, T7, T11: nobody notices the end of a login that ends by itself
#[tokio::test]
async fn an_access_token_of_a_login_does_not_outlive_it() {
    let site = Site::with(|config| config.tokens.access = std::time::Duration::from_secs(3_600));
    let (online, _) = site.online("app").await;
    let first = site.exchange(&site.code(online).await).await;
    assert_eq!((&first.json["expires_in"], claims(&site, &first).exp), (&json!(1_800), NOW + 1_800));
    assert_eq!(payload(first.text("id_token"))["exp"], NOW + 3_600, "it is no access");
    site.clock.advance(600);
    let second = site.refresh(first.text("refresh_token")).await;
    assert_eq!(second.json["expires_in"], json!(1_200));
    site.clock.advance(600);
    let used = site.refresh(second.text("refresh_token")).await;
    assert_eq!(used.json["expires_in"], json!(1_800), "use keeps the login");
    let (mut launched, _) = site.online("app").await;
    launched.online = Some(crate::grant::records::Online { session: None, ends: site.clock.unix_seconds() + 700 });
    let of_a_launch = site.exchange(&site.code(launched).await).await;
    assert_eq!(of_a_launch.json["expires_in"], json!(700));
}
