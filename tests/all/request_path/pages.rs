//! Sealed continuations.

use std::collections::BTreeSet;

use super::{asked, b};
use crate::upstream::Answer;
use crate::world::{Grant, Settings, World, run};
use firebreak::clock::Clock;
use firebreak::keys::{PUBLISHED_BEFORE, Rotation, rotate};

const PAGED: &str = "/fhir/Observation?code=1234-5&_count=10";

#[test]
fn pages_are_followed_to_the_end_and_never_name_the_upstream() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let (mut target, mut ids, mut pages) = (PAGED.to_owned(), BTreeSet::new(), 0);
        loop {
            let reply = world.get(&target, &a).await;
            assert_eq!(reply.status, 200, "{}", reply.all());
            ids.extend(reply.ids());
            pages += 1;
            assert!(!reply.text().contains("_getpages"), "{}", reply.text());
            match reply.link("next") {
                Some(next) if pages < 10 => {
                    assert!(next.starts_with("/fhir/Observation?_page="), "{next}");
                    target = next;
                }
                _ => break,
            }
        }
        assert_eq!((pages, ids.len()), (3, 23));
        assert!(ids.iter().all(|id| id.starts_with('x')));
        let seen = asked(&world);
        assert_eq!(seen.len(), 3);
        assert!(seen[1].contains("&_getpagesoffset=10"), "{seen:?}");
        world.finish().await;
    });
}

// A link lives as long as it is valid, whatever is rotated meanwhile.
#[test]
fn a_link_is_followed_for_an_hour_while_the_keys_rotate() {
    run(async {
        let start = 1_790_000_000;
        let world = World::with(Settings { clock: Clock::fixed(start), ..Default::default() }).await;
        let a = world.token(&Grant::patient("patient/*.rs", "P1").with(|claims| {
            (claims.iat, claims.exp) = (start, start + 100_000);
        }));
        let first = world.get(PAGED, &a).await.link("next").unwrap();
        rotate(&world.state.path().join("state/keys"), &world.clock, Rotation::InTurn).unwrap();
        world.advance(PUBLISHED_BEFORE - 1).await;
        let last = world.get(PAGED, &a).await.link("next").unwrap();
        for later in [0, 1, 1_000, 2_599] {
            world.advance(later).await;
            world.grants.keys.reload().unwrap();
            assert_eq!(world.get(&last, &a).await.status, 200, "sealed by the key that is rotated away");
            let sealed_now = world.get(PAGED, &a).await.link("next").unwrap();
            assert_eq!(world.get(&sealed_now, &a).await.status, 200);
        }
        assert_eq!(world.get(&first, &a).await.status, 410, "its hour is over");
        world.finish().await;
    });
}

#[test]
fn cases_92_and_94_raw_flipped_and_old_links() {
    run(async {
        let world = World::with(Settings { clock: Clock::fixed(1_790_000_000), ..Default::default() }).await;
        let a = world.token(&Grant::patient("patient/*.rs", "P1").with(|claims| {
            (claims.iat, claims.exp) = (1_790_000_000, 1_790_100_000);
        }));
        let next = world.get(PAGED, &a).await.link("next").unwrap();
        asked(&world);
        for raw in ["_getpages=0&_getpagesoffset=10", "ct=abc", "_offset=10", "page=2", "_cursor=x", "_page_token=x"] {
            for target in [format!("/fhir/Observation?{raw}"), format!("/fhir?{raw}")] {
                assert_eq!(world.get(&target, &a).await.status, 400, "{target}");
            }
        }
        let sealed = next.split_once("_page=").unwrap().1;
        for at in (0..sealed.len()).step_by(7) {
            let mut bent = sealed.as_bytes().to_vec();
            bent[at] = if bent[at] == b'A' { b'B' } else { b'A' };
            let target = format!("/fhir/Observation?_page={}", String::from_utf8(bent).unwrap());
            assert_eq!(world.get(&target, &a).await.status, 400, "{target}");
        }
        for target in [
            format!("{next}&_count=1000"),
            format!("{next}&subject=Patient/P2"),
            format!("/fhir/Observation?_count=1&_page={sealed}"),
            format!("/fhir/Condition?_page={sealed}"),
            format!("/fhir/Observation?_page={sealed}&_page={sealed}"),
            "/fhir/Observation?_page=".to_owned(),
            "/fhir/Observation?_page=AAAA".to_owned(),
        ] {
            assert_eq!(world.get(&target, &a).await.status, 400, "{target}");
        }
        assert_eq!(world.upstream.seen(), 0, "nothing of all this reaches the upstream");
        world.advance(3_500).await;
        assert_eq!(world.get(&next, &a).await.status, 200);
        world.advance(101).await;
        asked(&world);
        assert_eq!(world.get(&next, &a).await.status, 410);
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn case_95_a_link_is_worth_what_the_token_that_brings_it_is() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let next = world.get(PAGED, &a).await.link("next").unwrap();
        asked(&world);
        let grant = |scope: &str, patient: &str| Grant::patient(scope, patient);
        let cases = [
            ("narrower, Observation still in it", b(), 200),
            ("Observation gone", grant("patient/Condition.rs patient/Patient.r", "P1"), 403),
            ("search gone", grant("patient/Observation.r", "P1"), 403),
            ("no scope", grant("openid", "P1"), 403),
            ("another patient", grant("patient/*.rs", "P2"), 400),
            ("another user", grant("patient/*.rs", "P1").with(|claims| claims.sub = "else".to_owned()), 400),
            ("another client", grant("patient/*.rs", "P1").with(|claims| claims.client_id = "app2".to_owned()), 400),
            (
                "a role that may not",
                grant("patient/*.rs", "P1").with(|claims| claims.roles = vec!["reception".to_owned()]),
                403,
            ),
        ];
        for (what, grant, status) in cases {
            let token = world.token(&grant);
            let reply = world.get(&next, &token).await;
            assert_eq!(reply.status, status, "{what}: {}", reply.all());
            assert_eq!(world.upstream.take_seen().len(), usize::from(status == 200), "{what}");
        }
        world.finish().await;
    });
}

/// A link from an unrestricted search, brought by a token for one patient, would show whether the page holds others' data.
#[test]
fn case_95_a_link_of_an_unrestricted_search_is_not_one_for_a_patient() {
    run(async {
        let mut resources = Settings::default().resources;
        for version in resources.iter_mut().flat_map(|one| &mut one.versions).flatten() {
            *version = version.replace("CANARY", "data");
        }
        let world = World::with(Settings { resources, ..Default::default() }).await;
        let wide = world.token(&Grant::patient("user/*.rs patient/*.rs", "P1"));
        let narrow = world.token(&Grant::patient("patient/*.rs", "P1"));
        let next = world.get("/fhir/Observation?_count=2", &wide).await.link("next").unwrap();
        assert_eq!(world.get(&next, &wide).await.status, 200);
        asked(&world);
        assert_eq!(world.get(&next, &narrow).await.status, 400);
        assert_eq!(world.upstream.seen(), 0);
        world.finish().await;
    });
}

#[test]
fn links_to_elsewhere_are_not_followed_and_not_shown() {
    let urls = [
        "http://evil.example/fhir?_getpages=1",
        "//evil.example/fhir?_getpages=1",
        "{BASE}.evil.example/?_getpages=1",
        "{BASE}2?_getpages=1",
        "{BASE}/../admin?x=1",
        "{BASE}/%2e%2e/admin",
        "{BASE}/Observation#x",
        "{BASE}\\\\@evil.example/",
        "{BASE} /x",
        "javascript:alert(1)",
        "/relative?_getpages=1",
        "?_getpages=1",
        "http://user:secret@evil.example/",
        "",
    ];
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        for url in urls {
            let url = url.replace("{BASE}", &world.upstream.base());
            let links = format!(
                r#"{{"relation":"next","url":"{url}"}},{{"relation":"self","url":"{url}CANARY"}},{{"relation":"alternate","url":"{url}CANARY"}},{{"url":"{url}CANARY"}}"#
            );
            let body = format!(r#"{{"resourceType":"Bundle","type":"searchset","link":[{links}]}}"#);
            world.upstream.answer(move |_| Answer::fhir(body.clone()));
            let reply = world.get("/fhir/Observation", &a).await;
            assert_eq!(reply.status, 200, "{url}: {}", reply.all());
            assert_eq!(reply.link("next"), None, "{url}");
            assert!(!reply.all().contains("evil"), "{}", reply.all());
        }
        // Below the base, but not a search: it is asked, and what comes is tested as a searchset.
        let url = format!("{}/Patient/P2", world.upstream.base());
        let body =
            format!(r#"{{"resourceType":"Bundle","type":"searchset","link":[{{"relation":"next","url":"{url}"}}]}}"#);
        world
            .upstream
            .answer(move |seen| if seen.line.contains("P2") { Answer::Honest } else { Answer::fhir(body.clone()) });
        let next = world.get("/fhir/Observation", &a).await.link("next").unwrap();
        assert_eq!(world.get(&next, &a).await.status, 502);
        world.finish().await;
    });
}
