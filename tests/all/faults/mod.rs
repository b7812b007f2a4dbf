//! What goes wrong around the request path: the audit log, the store, other processes, clients that leave, grants that end.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assumption fails the test"
)]

mod audit;
mod grants;
mod processes;

use std::time::Duration;

use firebreak::audit::Entry as Line;
use firebreak::clock::Clock;
use firebreak::store::{Entry, Kind};

use crate::upstream::Answer;
use crate::world::{Settings, World, request, run};

/// The lines of the audit log that come from now on.
struct Arriving(tokio::sync::broadcast::Receiver<std::sync::Arc<str>>);

impl Arriving {
    fn at(world: &World) -> Self {
        Self(world.audit.subscribe())
    }

    async fn next(&mut self) -> Line {
        let line = tokio::time::timeout(Duration::from_secs(10), self.0.recv()).await;
        Line::parse(&line.expect("a record arrives").unwrap()).unwrap()
    }
}

#[test]
fn a_client_that_hangs_up_leaves_an_aborted_record() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        world.upstream.answer(|_| Answer::Hang);
        let mut arriving = Arriving::at(&world);
        let mut connection = world.connect().await;
        connection.send(request("GET /fhir/Observation/o1", &a, &[], "", "hung-up").as_bytes()).await;
        while world.upstream.seen() == 0 {
            tokio::task::yield_now().await;
        }
        drop(connection);
        let record = arriving.next().await.record;
        assert_eq!(record.request_id.as_deref(), Some("hung-up"));
        assert_eq!(record.outcome, Some(firebreak::audit::Ending::Aborted));
        assert_eq!(
            (record.client_id.as_deref(), record.patients.as_slice()),
            (Some("app"), ["P1".to_owned()].as_slice())
        );
        assert_eq!(record.resource_ids, ["Observation/o1"]);
        let records = world.finish().await;
        let of_it = records.iter().filter(|entry| entry.record.request_id.as_deref() == Some("hung-up"));
        assert_eq!(of_it.count(), 1);
    });
}

#[test]
fn a_store_that_fails_says_why_in_the_operational_log_and_goes_on_when_it_can() {
    run(async {
        let world = World::new().await;
        let store = world.grants.store.clone();
        let other = rusqlite::Connection::open(world.state.path().join("state/firebreak.db")).unwrap();
        let key = firebreak::secret::Digest::of("key");
        let entry = Entry { value: b"{}".to_vec(), expires: i64::MAX, owner: None };
        other.execute_batch("ALTER TABLE entry RENAME TO gone").unwrap();
        let refused = store.put(Kind::Grant, key, entry.clone()).await.unwrap_err().to_string();
        assert!(refused.contains("the operational log says why"), "{refused}");
        assert!(store.read(Kind::Grant, key, 0).await.is_err());
        other.execute_batch("ALTER TABLE gone RENAME TO entry").unwrap();
        store.put(Kind::Grant, key, entry.clone()).await.unwrap();
        assert_eq!(store.read(Kind::Grant, key, 0).await.unwrap(), Some(entry));
        let told = world.end().await.told;
        for said in ["the store could not commit", "the store could not read", "no such table"] {
            assert!(told.contains(said), "{said} in the operational log");
        }
    });
}

#[test]
fn a_store_that_was_not_heard_for_more_than_30_seconds_lets_nobody_in() {
    run(async {
        let world =
            World::with(Settings { clock: Clock::fixed(1_790_000_000), deaf: true, ..Default::default() }).await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.clock.advance(30);
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.upstream.take_seen();
        world.clock.advance(1);
        for target in ["Observation/o1", "Observation", "Patient/P1"] {
            let reply = world.get(&format!("/fhir/{target}"), &a).await;
            assert_eq!(reply.status, 503, "{}", reply.all());
            assert_eq!(reply.json()["resourceType"], "OperationOutcome");
            assert!(!reply.header("retry-after").is_empty());
        }
        assert_eq!(world.upstream.seen(), 0);
        world.advance(0).await;
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn a_revoked_grant_is_refused_at_once_and_no_other() {
    run(async {
        let world = World::new().await;
        let grant = crate::world::Grant::patient("patient/*.rs", "P1");
        let revoked = world.token(&grant);
        let same_grant = world.token(&grant.clone().with(|claims| claims.jti = "another".to_owned()));
        let other = world.token_a();
        for token in [&revoked, &same_grant, &other] {
            assert_eq!(world.get("/fhir/Observation/o1", token).await.status, 200);
        }
        let next = world.get("/fhir/Observation?_count=2", &revoked).await.link("next").unwrap();
        firebreak::grant::grants::revoke(&world.grants, &grant.0.gid).await.unwrap();
        world.upstream.take_seen();
        for target in ["/fhir/Observation/o1", "/fhir/Observation", &next] {
            for token in [&revoked, &same_grant] {
                let reply = world.get(target, token).await;
                assert_eq!(reply.status, 401, "{}", reply.all());
                assert!(reply.header("www-authenticate").contains("error=\"invalid_token\""));
            }
        }
        assert_eq!(world.upstream.seen(), 0);
        assert_eq!(world.get("/fhir/Observation/o1", &other).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn every_release_is_in_the_log_with_its_resources_and_patients() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        let b = world.token(&crate::world::Grant::patient("patient/Observation.rs", "P1"));
        let mut wanted = Vec::new();
        for (target, token, ids) in [
            ("Observation/o1", &a, vec!["Observation/o1"]),
            ("Observation/v1?_elements=code", &b, vec!["Observation/v1"]),
            ("Observation?_id=o1,v1,o2", &b, vec!["Observation/o1", "Observation/v1"]),
            ("Patient", &a, vec!["Patient/P1"]),
            ("Appointment/a1", &a, vec!["Appointment/a1"]),
            ("Observation/mixed/_history/1", &a, vec!["Observation/mixed"]),
            ("Observation?subject=Patient/P2", &a, vec![]),
        ] {
            let request_id = format!("release-{}", wanted.len());
            let header = format!("X-Request-Id: {request_id}");
            let reply = world.send(&format!("GET /fhir/{target}"), token, &[&header], "").await;
            assert_eq!((reply.status, reply.header("x-request-id")), (200, &*request_id), "{target}");
            wanted.push((request_id, ids, reply.body.len() as u64));
        }
        let records = world.finish().await;
        for (request_id, ids, bytes) in wanted {
            let of_it: Vec<_> =
                records.iter().filter(|entry| entry.record.request_id.as_ref() == Some(&request_id)).collect();
            let [entry] = of_it.as_slice() else { panic!("{} records of {request_id}", of_it.len()) };
            let record = &entry.record;
            assert_eq!(record.outcome, Some(firebreak::audit::Ending::Released), "{request_id}");
            assert_eq!(record.resource_ids, ids, "{request_id}");
            assert_eq!(record.patients, ["P1"], "{request_id}: whose compartment it was");
            assert_eq!((record.status, record.bytes), (Some(200), Some(bytes)), "{request_id}");
            assert_eq!((record.client_id.as_deref(), record.sub.as_deref()), (Some("app"), Some("somebody")));
            assert_eq!(record.fhir_user.as_deref(), Some("Practitioner/d1"));
            assert!(record.scopes.is_some() && record.jti.is_some() && !record.policies.is_empty(), "{record:?}");
        }
    });
}

#[test]
fn a_process_that_does_not_hear_its_store_is_not_ready_and_says_so() {
    run(async {
        let clock = Clock::fixed(1_795_395_723);
        let server = "admin = \"127.0.0.1:0\"".to_owned();
        let world = World::with(Settings { clock, server, ..Default::default() }).await;
        assert_eq!(world.operator("/readyz").await.status, 200);
        // Whatever is asked of the store from now on fails.
        let store = rusqlite::Connection::open(world.state.path().join("state/firebreak.db")).unwrap();
        store.execute_batch("ALTER TABLE entry RENAME TO gone").unwrap();
        world.clock.advance(30);
        assert_eq!(world.operator("/readyz").await.status, 200, "a silence of 30 seconds is borne");
        world.clock.advance(1);
        let unready = world.operator("/readyz").await;
        assert_eq!((unready.status, unready.text()), (503, "not ready\nstore: the store was not heard\n"));
        assert_eq!(world.operator("/livez").await.status, 200);
        // The next look, within a second, finds nothing that waits to be recorded either.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        store.execute_batch("ALTER TABLE gone RENAME TO entry").unwrap();
        let ready = tokio::time::timeout(Duration::from_secs(10), async {
            while world.operator("/readyz").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        ready.await.expect("ready again when the store is heard");
        let told = world.end().await.told;
        assert!(told.contains("acts of administration are not in the audit log yet"));
    });
}
