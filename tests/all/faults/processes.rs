//! Two processes on the same files.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firebreak::clock::Clock;
use firebreak::listen::{Body, Drain, Inbound, full};
use firebreak::origin::{Beside, build};
use firebreak::secret::Digest;
use firebreak::store::{Access, Entry, Kind, SqliteStore, Store};
use http::Response;

use crate::world::client::Connection;
use crate::world::{Settings, World, configuration, directory, run};

#[test]
fn a_second_process_on_the_same_state_directory_does_not_start() {
    run(async {
        let world = World::new().await;
        let error = world.second().await.expect_err("the state is in use").to_string();
        assert!(error.contains("is locked") && error.contains("another firebreak process"), "{error}");
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200, "the first goes on");
        world.finish().await;
    });
}

#[test]
fn a_second_process_on_the_same_audit_directory_does_not_start() {
    run(async {
        let world = World::new().await;
        let other = directory();
        let sections = format!("[audit]\ndirectory = \"{}\"", world.audit_directory().display());
        let config = configuration(other.path(), &world.upstream.base(), &Settings { sections, ..Default::default() });
        let error = build(Arc::new(config), Clock::system(), None).await.expect_err("the log is in use").to_string();
        assert!(error.starts_with("audit: ") && error.contains("another"), "{error}");
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200, "the first goes on");
        world.finish().await;
    });
}

#[test]
fn out_of_files_connections_wait_without_a_flood_of_words_and_are_served_afterwards() {
    run(async {
        let world = World::process(Settings::default()).await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.spare_files(8);
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(world.connect().await);
        }
        let complaints = || world.told().matches("connection not accepted").count();
        let until = Instant::now() + Duration::from_secs(20);
        while complaints() == 0 {
            assert!(Instant::now() < until, "20 connections with 8 files");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let said = complaints();
        assert!(said < 100, "{said} complaints in a second");
        drop(held);
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn a_certificate_that_does_not_load_any_more_is_told_in_the_log() {
    run(async {
        let world = World::process(Settings { tls: true, ..Default::default() }).await;
        let file = world.state.path().join("tls/tls.key");
        let key = std::fs::read_to_string(&file).unwrap();
        for (content, told) in [("no key", "certificate not reloaded"), (&*format!("{key}\n"), "certificate reloaded")]
        {
            let until = Instant::now() + Duration::from_secs(20);
            // Again and again: the watch begins in its own time, and waits for quiet.
            while !world.told().contains(told) {
                assert!(Instant::now() < until, "{}", world.told());
                std::fs::write(&file, content).unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        world.finish().await;
    });
}

#[test]
fn authorities_that_do_not_load_refuse_the_start() {
    run(async {
        let (world, other) = (World::new().await, directory());
        std::fs::write(other.path().join("authorities.pem"), "no certificate").unwrap();
        let sections = "[outbound]\nca = \"authorities.pem\"\n".to_owned();
        let config = configuration(other.path(), &world.upstream.base(), &Settings { sections, ..Default::default() });
        let error = build(Arc::new(config), Clock::system(), None).await.expect_err("no authority").to_string();
        assert!(error.contains("authorities.pem"), "{error}");
        world.finish().await;
    });
}

#[test]
fn a_process_that_ended_leaves_its_files_to_the_next() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        let state = tempfile::tempdir().unwrap();
        let config = configuration(state.path(), &world.upstream.base(), &Settings::default());
        world.finish().await;
        build(Arc::new(config.clone()), Clock::system(), None).await.unwrap().origin.audit.shutdown().await;
        // A process that another test starts at this moment has what is locked here for as long as it takes to start.
        let until = Instant::now() + Duration::from_secs(10);
        let next = loop {
            match build(Arc::new(config.clone()), Clock::system(), None).await {
                Ok(next) => break next,
                Err(error) => assert!(Instant::now() < until, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        next.origin.audit.shutdown().await;
    });
}

/// A page at `/beside`.
#[derive(Debug)]
struct Page;

impl Beside for Page {
    fn respond<'a>(
        &'a self,
        inbound: &'a Inbound,
    ) -> Pin<Box<dyn Future<Output = Option<Response<Body>>> + Send + 'a>> {
        let page = (inbound.path() == "/beside").then(|| Response::new(full("a page")));
        Box::pin(std::future::ready(page))
    }
}

#[test]
fn a_process_removes_what_has_expired_and_serves_pages_beside_its_own() {
    run(async {
        let (world, state) = (World::new().await, directory());
        let config = Arc::new(configuration(state.path(), &world.upstream.base(), &Settings::default()));
        let parts = build(Arc::clone(&config), Clock::system(), Some(Box::new(Page))).await.unwrap();
        let store = SqliteStore::open_as(&state.path().join("state"), Access::Beside).unwrap();
        let expired = Entry { value: Vec::new(), expires: 100, owner: None };
        store.put(Kind::Code, Digest::of("old"), expired).await.unwrap();
        let drain = Drain::default();
        let running = parts.bind(&config, &drain).await.unwrap();
        let address = running.address().unwrap();
        let serving = tokio::spawn(running.run(drain.clone()));
        let until = Instant::now() + Duration::from_secs(10);
        // At time 0 nothing has expired: what is listed is what is there.
        while !store.list(Kind::Code, None, 0, 10).await.unwrap().is_empty() {
            assert!(Instant::now() < until, "it is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (path, status) in [("/beside", 200), ("/elsewhere", 404)] {
            let asked = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let reply = Connection::open(address, None).await.exchange(asked.as_bytes(), false).await;
            assert_eq!(reply.status, status, "{path}");
        }
        drain.begin(Duration::ZERO).await;
        serving.await.unwrap();
        world.finish().await;
    });
}
