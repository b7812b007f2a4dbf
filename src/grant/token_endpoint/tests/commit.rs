//! What was prepared and is not given: because its record could not be written, the process died, or another was faster.

use super::*;

fn code_fields(code: &str) -> [(&str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", "https://app.example.org/cb"),
        ("client_id", "app"),
        ("code_verifier", VERIFIER),
    ]
}

fn refresh_fields(token: &str) -> [(&str, &str); 3] {
    [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")]
}

const KINDS: [Kind; 7] = [
    Kind::Code,
    Kind::SpentCode,
    Kind::RefreshToken,
    Kind::SpentRefreshToken,
    Kind::Grant,
    Kind::GrantUse,
    Kind::RevokedGrant,
];

async fn stored(site: &Site) -> Vec<(Kind, Digest, Entry)> {
    let mut all = Vec::new();
    for kind in KINDS {
        let listed = site.grants.store.list(kind, None, NOW, 100).await.unwrap();
        all.extend(listed.into_iter().map(|(key, entry)| (kind, key, entry)));
    }
    all
}

// F5, T3
#[tokio::test]
async fn what_was_prepared_and_not_recorded_is_as_if_nobody_had_asked() {
    let site = Site::new();
    let code = site.code(grant("app")).await;
    let before = stored(&site).await;
    let (answer, commit, facts) = site.prepare(&[], &code_fields(&code)).await;
    assert_eq!((reply(answer, facts).status.as_u16(), commit.is_some()), (200, true));
    drop(commit);
    assert_eq!(stored(&site).await, before);
    let first = site.exchange(&code).await;
    assert_eq!(first.status, 200, "{}", first.json);

    let token = first.text("refresh_token");
    let before = stored(&site).await;
    let (answer, commit, facts) = site.prepare(&[], &refresh_fields(token)).await;
    assert_eq!((reply(answer, facts).status.as_u16(), commit.is_some()), (200, true));
    drop(commit);
    assert_eq!(stored(&site).await, before);
    // However long the log could not be written.
    site.clock.advance(1_000 * REUSE_GRACE);
    let second = site.refresh(token).await;
    assert_eq!(second.status, 200, "{}", second.json);
    assert_eq!(site.refresh(second.text("refresh_token")).await.status, 200);
    let machine = site.assertion("machine", &format!("{ISSUER}/token"));
    let before = stored(&site).await;
    let fields = [
        ("grant_type", "client_credentials"),
        ("scope", "system/*.rs"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", machine.as_str()),
    ];
    drop(site.prepare(&[], &fields).await);
    assert_eq!(stored(&site).await, before, "no grant that no record tells of");
}

// E3, E7, B2 24, B2 44
#[tokio::test]
async fn of_two_answers_that_were_prepared_for_one_code_or_token_one_is_given() {
    let site = Site::new();
    let code = site.code(grant("app")).await;
    let (one, other) = (site.prepare(&[], &code_fields(&code)).await.1, site.prepare(&[], &code_fields(&code)).await.1);
    let mut facts = Facts::default();
    one.unwrap().run(&site.grants, &mut facts).await.unwrap();
    assert_eq!(stored(&site).await.iter().filter(|(kind, _, _)| *kind == Kind::RefreshToken).count(), 1);
    let refused = other.unwrap().run(&site.grants, &mut facts).await.unwrap_err();
    assert_eq!((refused.code(), facts.reason), ("invalid_grant", Some("code_replayed")));
    let left = stored(&site).await;
    assert!(left.iter().all(|(kind, _, _)| matches!(kind, Kind::SpentCode | Kind::RevokedGrant)), "{left:?}");

    let first = granted(&site).await;
    let token = first.text("refresh_token");
    let (one, other) =
        (site.prepare(&[], &refresh_fields(token)).await.1, site.prepare(&[], &refresh_fields(token)).await.1);
    let mut facts = Facts::default();
    one.unwrap().run(&site.grants, &mut facts).await.unwrap();
    let refused = other.unwrap().run(&site.grants, &mut facts).await.unwrap_err();
    assert_eq!((refused.code(), facts.reason), ("invalid_grant", Some("refresh_token_used_twice_at_once")));
    let live = stored(&site).await.iter().filter(|(kind, _, _)| *kind == Kind::RefreshToken).count();
    assert_eq!(live, 1, "the successor of the one that was given");
}

// F7, V2
#[tokio::test]
async fn what_was_prepared_before_a_revocation_is_not_given_after_it() {
    let site = Site::new();
    let first = granted(&site).await;
    let (_, commit, mut facts) = site.prepare(&[], &refresh_fields(first.text("refresh_token"))).await;
    revoke(&site.grants, &claims(&site, &first).gid).await.unwrap();
    let refused = commit.unwrap().run(&site.grants, &mut facts).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_grant");
    assert!(!stored(&site).await.iter().any(|(kind, _, _)| matches!(kind, Kind::RefreshToken | Kind::Grant)));
}
