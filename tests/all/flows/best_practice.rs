//! What RFC 9700 (best current practice) and RFC 9207 (issuer in the response) ask of the authorization server, claim by
//! claim, where no other story shows it.

use super::*;
use crate::world::run;

// N4, E10: on success and on error, and the metadata say so
#[test]
fn every_authorization_response_names_the_issuer() {
    run(async {
        let world = world().await;
        let metadata = world.get("/.well-known/oauth-authorization-server", "").await.json();
        assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
        assert_eq!(metadata["issuer"], ISSUER);
        let mut browser = Browser::new(&world);
        let page = browser.authorize(&request(SCOPE)).await;
        let page = browser.log_in(&page, "pat").await;
        let page = browser.pick_if_asked(&page, "P1").await;
        let page = browser.allow_all(&page).await;
        assert!(page.returned("code").is_some());
        assert_eq!(page.reply.status, 303, "never 307, which would post the password on");
        assert_eq!(page.returned("iss").as_deref(), Some(ISSUER));
        for flawed in [
            with(request(SCOPE), "response_type", "token"),
            with(request(SCOPE), "scope", "system/*.rs"),
            with(request(SCOPE), "aud", "https://evil.example/fhir"),
            with(request(SCOPE), "prompt", "none"),
        ] {
            let page = Browser::new(&world).authorize(&flawed).await;
            assert!(page.returned("error").is_some(), "{}", page.reply.all());
            assert_eq!((page.reply.status, page.returned("iss").as_deref()), (303, Some(ISSUER)));
        }
        world.finish().await;
    });
}

// A7, N6, B2 28, E5: RFC 9700 section 2.1.1: no request without a challenge, so no code for which a verifier would not be asked
#[test]
fn pkce_cannot_be_left_out_by_anybody_nor_downgraded() {
    run(async {
        let world = world().await;
        for (client_id, redirect_uri) in [("app", CALLBACK), ("server", "https://server.example.org/cb")] {
            let good = request_of(client_id, redirect_uri, SCOPE);
            for flawed in [
                without(good.clone(), "code_challenge"),
                without(good.clone(), "code_challenge_method"),
                without(without(good.clone(), "code_challenge"), "code_challenge_method"),
                with(good.clone(), "code_challenge_method", "plain"),
                with(good.clone(), "code_challenge", ""),
            ] {
                let page = Browser::new(&world).authorize(&flawed).await;
                assert_eq!(page.returned("error").as_deref(), Some("invalid_request"), "{flawed:?}");
                assert_eq!(page.returned("code"), None);
            }
        }
        let code = code(&world, "pat", &request(SCOPE)).await;
        let reply = token(&world, &without(exchange(&code), "code_verifier"), &[]).await;
        assert_eq!(refusal(&reply), refused(400, "invalid_grant"));
        world.finish().await;
    });
}

// N6, E6: RFC 9700 sections 2.1.2 and 2.4
#[test]
fn there_is_no_implicit_grant_no_password_grant_and_no_token_in_a_url() {
    run(async {
        let world = world().await;
        let metadata = world.get("/.well-known/oauth-authorization-server", "").await.json();
        assert_eq!(metadata["response_types_supported"], serde_json::json!(["code"]));
        let grants = metadata["grant_types_supported"].as_array().unwrap();
        assert!(grants.iter().all(|grant| grant != "password" && grant != "implicit"), "{grants:?}");
        for response_type in ["token", "id_token", "code token", "code id_token"] {
            let page = Browser::new(&world).authorize(&with(request(SCOPE), "response_type", response_type)).await;
            assert_eq!(page.returned("error").as_deref(), Some("unsupported_response_type"), "{response_type}");
        }
        let password = [("grant_type", "password"), ("username", "pat"), ("password", "x"), ("client_id", "app")];
        assert_eq!(refusal(&token(&world, &password, &[]).await), refused(400, "unsupported_grant_type"));
        let access = world.token_a();
        let reply = world.get(&format!("/fhir/Patient/P1?access_token={access}"), "").await;
        assert_eq!(reply.status, 400, "{}", reply.all());
        world.finish().await;
    });
}
