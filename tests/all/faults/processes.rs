//! Two processes on the same files.

use std::sync::Arc;

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
