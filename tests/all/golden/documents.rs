//! What is said without a token: the discovery documents and the CapabilityStatement.

use super::{answer, compare};
use crate::flows::story;
use crate::world::{World, run};

#[test]
fn the_discovery_documents_are_as_apps_know_them() {
    run(async {
        let world = World::with(story::settings()).await;
        for (name, target) in [
            ("smart-configuration.txt", "/fhir/.well-known/smart-configuration"),
            ("openid-configuration.txt", "/.well-known/openid-configuration"),
            ("oauth-authorization-server.txt", "/.well-known/oauth-authorization-server"),
        ] {
            compare(name, &answer(&world.get(target, "").await));
        }
        world.finish().await;
    });
}

#[test]
fn the_capability_statement_is_as_clients_know_it() {
    run(async {
        let world = World::with(story::settings()).await;
        let statement = answer(&world.get("/fhir/metadata", "").await);
        compare("metadata.txt", &statement.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
        world.finish().await;
    });
}
