//! Two processes on the same files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firebreak::clock::Clock;
use firebreak::origin::build;

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
fn a_process_that_ended_leaves_its_files_to_the_next() {
    run(async {
        let world = World::new().await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        let state = tempfile::tempdir().unwrap();
        let config = configuration(state.path(), &world.upstream.base(), &Settings::default());
        world.finish().await;
        build(Arc::new(config.clone()), Clock::system(), None).await.unwrap().origin.audit.shutdown().await;
        build(Arc::new(config), Clock::system(), None).await.unwrap().origin.audit.shutdown().await;
    });
}
