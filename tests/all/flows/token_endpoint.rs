//! The token endpoint under attack (B2 20 to 35): each request is a good one with one thing wrong.

use super::*;
use crate::world::{World, run};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

#[test]
fn b2_20_only_a_posted_form_with_each_parameter_once_is_read() {
    run(async {
        let world = world().await;
        let code = code(&world, "pat", &request(SCOPE)).await;
        let good = encoded(&exchange(&code));
        for method in ["GET", "PUT", "DELETE", "HEAD"] {
            let reply = world.send(&format!("{method} /token"), "", &[], "").await;
            assert_eq!((reply.status, reply.header("allow")), (405, "POST"), "{method}");
        }
        let long = format!("{good}&x={}", "x".repeat(64 * 1024));
        let many = format!("{good}{}", "&x1=1".repeat(3));
        for (what, content_type, body) in [
            ("JSON", "Content-Type: application/json", good.as_str()),
            ("no type", "X-Nothing: here", &good),
            ("two types", "Content-Type: application/x-www-form-urlencoded\r\nContent-Type: text/plain", &good),
            ("multipart", "Content-Type: multipart/form-data; boundary=x", &good),
            ("too long", FORM, &long),
            ("repeated", FORM, &many),
            ("grant type twice", FORM, &format!("{good}&grant_type=authorization_code")),
            ("code twice", FORM, &format!("{good}&code={code}")),
            ("not UTF-8", FORM, &format!("{good}&x=%ff")),
        ] {
            let reply = world.send("POST /token", "", &[content_type], body).await;
            assert_eq!(refusal(&reply), refused(400, "invalid_request"), "{what}");
            assert!(reply.header("cache-control").contains("no-store"));
        }
        // Credentials in the query are disclosed; other parameters there mean nothing.
        for query in [
            "code=x",
            "client_secret=x",
            "code_verifier=x",
            "refresh_token=x",
            "client_assertion=x",
            "a=1&access_token=x",
        ] {
            let reply = world.send(&format!("POST /token?{query}"), "", &[FORM], &good).await;
            assert_eq!(refusal(&reply), refused(400, "invalid_request"), "{query}");
        }
        let all_in_query =
            world.send("POST /token?grant_type=authorization_code&client_id=app", "", &[FORM], "a=1").await;
        assert_eq!(refusal(&all_in_query), refused(400, "invalid_request"));
        let reply = world.send("POST /token?grant_type=password&client_id=evil&state=1", "", &[FORM], &good).await;
        assert_eq!(reply.status, 200, "none of these spent the code: {}", reply.all());
        world.finish().await;
    });
}

#[test]
fn b2_21_an_unknown_grant_type_is_refused_before_anything_else() {
    run(async {
        let world = world().await;
        for grant_type in ["not_a_grant_type", "password", "implicit", "Client_Credentials", "Authorization_Code"] {
            let reply = token(&world, &[("grant_type", grant_type), ("client_id", "app")], &[]).await;
            assert_eq!(refusal(&reply), refused(400, "unsupported_grant_type"), "{grant_type}");
        }
        for fields in [vec![("client_id", "app")], vec![("grant_type", ""), ("client_id", "app")]] {
            assert_eq!(refusal(&token(&world, &fields, &[]).await), refused(400, "invalid_request"));
        }
        world.finish().await;
    });
}

/// One wrong thing: the code is refused, and gone afterwards also for who does everything right.
async fn assert_burnt(
    world: &World,
    what: &str,
    change: impl for<'a> Fn(Vec<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)>,
) {
    let code = code(world, "pat", &request(SCOPE)).await;
    let reply = token(world, &change(exchange(&code)), &[]).await;
    assert_eq!(refusal(&reply), refused(400, "invalid_grant"), "{what}");
    assert_eq!(refusal(&token(world, &exchange(&code), &[]).await), refused(400, "invalid_grant"), "{what}: burnt");
}

#[test]
fn b2_23_to_29_a_code_is_for_its_client_redirect_uri_and_verifier() {
    run(async {
        let world = world().await;
        assert_burnt(&world, "another client with the same redirect URI", |fields| with(fields, "client_id", "other"))
            .await;
        assert_burnt(&world, "another redirect URI", |fields| {
            with(fields, "redirect_uri", "https://app.example.org/cb/")
        })
        .await;
        assert_burnt(&world, "redirect URI in another case", |fields| {
            with(fields, "redirect_uri", "https://app.example.org/CB")
        })
        .await;
        assert_burnt(&world, "no verifier", |fields| without(fields, "code_verifier")).await;
        assert_burnt(&world, "empty verifier", |fields| with(fields, "code_verifier", "")).await;
        assert_burnt(&world, "the challenge as verifier", |fields| with(fields, "code_verifier", CHALLENGE)).await;
        assert_burnt(&world, "a short verifier", |fields| with(fields, "code_verifier", "short")).await;
        assert_burnt(&world, "plain", |fields| {
            with(with(fields, "code_verifier", CHALLENGE), "code_challenge_method", "plain")
        })
        .await;
        for bad in ["BAD_CODE", &"x".repeat(43)] {
            assert_eq!(refusal(&token(&world, &exchange(bad), &[]).await), refused(400, "invalid_grant"));
        }
        let code = code(&world, "pat", &request(SCOPE)).await;
        for missing in ["code", "redirect_uri"] {
            let reply = token(&world, &without(exchange(&code), missing), &[]).await;
            assert_eq!(refusal(&reply), refused(400, "invalid_request"), "{missing}");
        }
        assert_eq!(token(&world, &exchange(&code), &[]).await.status, 200, "what was not presented is not burnt");
        world.finish().await;
    });
}

#[test]
fn b2_24_a_code_is_good_for_a_minute() {
    run(async {
        let clock = firebreak::clock::Clock::fixed(1_900_000_000);
        let world = world_at(&clock).await;
        let late = code(&world, "pat", &request(SCOPE)).await;
        let timely = code(&world, "pat", &request(SCOPE)).await;
        clock.advance(59);
        assert_eq!(token(&world, &exchange(&timely), &[]).await.status, 200);
        clock.advance(1);
        assert_eq!(refusal(&token(&world, &exchange(&late), &[]).await), refused(400, "invalid_grant"));
        world.finish().await;
    });
}

#[test]
fn b2_30_to_35_a_client_authenticates_as_registered_and_in_one_way() {
    run(async {
        let world = world().await;
        world.secret(SECRET);
        let redirect = "https://server.example.org/cb";
        let code = code(&world, "pat", &request_of("server", redirect, SCOPE)).await;
        let fields = with(without(exchange(&code), "client_id"), "redirect_uri", redirect);
        let id = |fields: &[(&'static str, &'static str)]| fields.to_vec();
        let good = basic("server", SECRET);
        for (what, headers, more, expected) in [
            ("unknown by Basic", vec![basic("BAD_CLIENT_ID", "x-x-x-x")], id(&[]), (401, "invalid_client")),
            ("wrong secret by Basic", vec![basic("server", "x-x-x-x")], id(&[]), (401, "invalid_client")),
            ("no secret by Basic", vec![basic("server", "")], id(&[]), (401, "invalid_client")),
            ("public by Basic", vec![basic("app", "")], id(&[]), (401, "invalid_client")),
            ("no base64", vec!["Authorization: Basic !!".to_owned()], id(&[]), (401, "invalid_client")),
            ("no colon", vec!["Authorization: Basic c2VydmVy".to_owned()], id(&[]), (401, "invalid_client")),
            (
                "wrong secret in the body",
                vec![],
                id(&[("client_id", "server"), ("client_secret", "x-x-x-x")]),
                (401, "invalid_client"),
            ),
            ("confidential as public", vec![], id(&[("client_id", "server")]), (401, "invalid_client")),
            ("unknown in the body", vec![], id(&[("client_id", "BAD_CLIENT_ID")]), (401, "invalid_client")),
            ("an EHR as public", vec![], id(&[("client_id", "ehr")]), (401, "invalid_client")),
            ("nobody", vec![], id(&[]), (401, "invalid_client")),
            ("Basic and body", vec![good.clone()], id(&[("client_secret", SECRET)]), (400, "invalid_request")),
            ("Basic and another client_id", vec![good.clone()], id(&[("client_id", "app")]), (400, "invalid_request")),
            ("Basic twice", vec![good.clone(), good.clone()], id(&[]), (400, "invalid_request")),
            ("Bearer", vec!["Authorization: Bearer x".to_owned()], id(&[]), (400, "invalid_request")),
            ("a secret alone", vec![], id(&[("client_secret", SECRET)]), (400, "invalid_request")),
            (
                "assertion of another kind",
                vec![],
                id(&[("client_assertion_type", "urn:x"), ("client_assertion", "x")]),
                (400, "invalid_client"),
            ),
            ("assertion without its kind", vec![], id(&[("client_assertion", "x")]), (400, "invalid_client")),
            ("Basic and assertion", vec![good.clone()], id(&[("client_assertion", "x")]), (400, "invalid_request")),
        ] {
            let mut all = fields.clone();
            all.extend(more);
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let reply = token(&world, &all, &headers).await;
            assert_eq!(refusal(&reply), refused(expected.0, expected.1), "{what}");
            let challenged = reply.header("www-authenticate").starts_with("Basic ");
            assert_eq!(challenged, expected.0 == 401 && !headers.is_empty(), "{what}");
        }
        assert_eq!(token(&world, &fields, &[&good]).await.status, 200, "none of these spent the code");
        world.finish().await;
    });
}

#[test]
fn an_unknown_client_and_a_wrong_secret_read_the_same() {
    run(async {
        let world = world().await;
        let body = |reply: crate::world::Reply| (reply.status, reply.text().to_owned());
        let ask = async |headers: &[&str], more: &[(&str, &str)]| {
            let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", "x")];
            fields.extend(more);
            body(token(&world, &fields, headers).await)
        };
        let (known, unknown) = (basic("server", "x-x-x-x"), basic("nobody", "x-x-x-x"));
        assert_eq!(ask(&[&known], &[]).await, ask(&[&unknown], &[]).await);
        let secret = ("client_secret", "x-x-x-x");
        let (known, unknown) = ([("client_id", "server"), secret], [("client_id", "nobody"), secret]);
        assert_eq!(ask(&[], &known).await, ask(&[], &unknown).await);
        world.finish().await;
    });
}
