//! How searches for one patient are made is the site's choice: by one parameter, by the server's own search of the compartment,
//! or by every parameter. Whatever it is, each resource is tested and given once.

use super::{asked, b};
use crate::upstream::{Answer, Resource};
use crate::world::{Grant, Reply, Settings, World, run};

fn observation(id: &str, subject: &str, performer: &str) -> Resource {
    let text = format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"code":"mine"}}]}},"subject":{{"reference":"{subject}"}},"performer":[{{"reference":"{performer}"}}]}}"#
    );
    Resource {
        resource_type: "Observation".to_owned(),
        id: id.to_owned(),
        owner: Some("P1"),
        versions: vec![Some(text)],
    }
}

/// Observations of `P1` by either element or by both, and one that is none of theirs.
async fn world(search_by: &str) -> World {
    let mut resources = Settings::default().resources;
    resources.extend([
        observation("s1", "Patient/P1", "Practitioner/d1"),
        observation("s2", "Patient/P1", "Patient/P1"),
        observation("s3", "Patient/P7", "Patient/P1"),
        observation("s4", "Patient/P7", "Patient/P7"),
    ]);
    World::with(Settings { resources, fhir: format!("search_by = \"{search_by}\""), ..Settings::default() }).await
}

/// Every id on every page, in order.
async fn all_pages(world: &World, token: &str, target: &str) -> Vec<String> {
    let (mut ids, mut next) = (Vec::new(), Some(target.to_owned()));
    while let Some(target) = next {
        let reply = world.get(&target, token).await;
        assert_eq!(reply.status, 200, "{target}: {}", reply.all());
        ids.extend(reply.ids());
        next = reply.link("next");
        assert!(ids.len() < 20, "{target} has no end: {ids:?}");
    }
    ids.sort();
    ids
}

async fn mine(world: &World, token: &str, more: &str) -> Reply {
    world.get(&format!("/fhir/Observation?code=mine{more}"), token).await
}

#[test]
fn the_primary_parameter_finds_a_part() {
    run(async {
        let world = world("primary").await;
        let token = world.token(&b());
        assert_eq!(mine(&world, &token, "").await.ids(), ["s1", "s2"]);
        assert_eq!(asked(&world), ["GET Observation?subject=Patient/P1&code=mine"]);
        // By its id it is there.
        assert_eq!(world.get("/fhir/Observation/s3", &token).await.status, 200);
        world.finish().await;
    });
}

#[test]
fn every_parameter_finds_each_once() {
    run(async {
        let world = world("every-parameter").await;
        let token = world.token(&b());
        let reply = mine(&world, &token, "").await;
        assert_eq!(reply.ids(), ["s1", "s2", "s3"], "{}", reply.all());
        let mut lines = asked(&world);
        lines.sort();
        assert_eq!(
            lines,
            ["GET Observation?performer=Patient/P1&code=mine", "GET Observation?subject=Patient/P1&code=mine"]
        );
        assert_eq!(world.upstream.take_probes().len(), 2, "each parameter is probed");
        for count in 1..4 {
            let target = format!("/fhir/Observation?code=mine&_count={count}");
            assert_eq!(all_pages(&world, &token, &target).await, ["s1", "s2", "s3"], "{count}");
        }
        let in_compartment = all_pages(&world, &token, "/fhir/Patient/P1/Observation?code=mine&_count=1").await;
        assert_eq!(in_compartment, ["s1", "s2", "s3"]);
        let several = all_pages(&world, &token, "/fhir/Patient/P1/*?_type=Observation&_count=1&_id=s1,s2,s3,s4").await;
        assert_eq!(several, ["s1", "s2", "s3"]);
        asked(&world);
        // One order cannot be made of two searches, and one entry of a transaction is one search.
        assert_eq!(mine(&world, &token, "&_sort=date").await.ids(), ["s1", "s2"]);
        assert_eq!(asked(&world), ["GET Observation?subject=Patient/P1&code=mine&_sort=date"]);
        let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"GET","url":"Observation?code=mine"}}]}"#;
        let reply = world.send("POST /fhir", &token, &["Content-Type: application/fhir+json"], bundle).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert!(!reply.text().contains("\"s3\""), "{}", reply.all());
        // One parameter of a type that is not honoured is enough.
        let other = world.token(&Grant::patient("patient/*.rs", "P1"));
        world.upstream.change(|store| store.ignored = vec!["asserter"]);
        assert_eq!(world.get("/fhir/Condition", &other).await.status, 502);
        world.finish().await;
    });
}

#[test]
fn the_compartment_is_searched_by_its_path() {
    run(async {
        let world = world("compartment").await;
        let token = world.token_a();
        assert_eq!(mine(&world, &token, "").await.ids(), ["s1", "s2", "s3"]);
        assert_eq!(asked(&world), ["GET Patient/P1/Observation?code=mine"]);
        let probes = world.upstream.take_probes();
        let [probe] = probes.as_slice() else { panic!("one probe: {probes:?}") };
        let line = probe.below_base();
        assert!(line.starts_with("GET Patient/") && line.ends_with("/Observation?_count=1"), "{line}");
        assert!(!line.contains("P1"), "{line}");
        // What the client asks for is asked as well, and narrows what the path gives.
        assert_eq!(mine(&world, &token, "&subject=Patient/P7&_total=accurate").await.ids(), ["s3"]);
        assert_eq!(asked(&world), ["GET Patient/P1/Observation?code=mine&subject=Patient/P7"]);
        assert_eq!(all_pages(&world, &token, "/fhir/Observation?code=mine&_count=1").await, ["s1", "s2", "s3"]);
        asked(&world);
        for (target, line) in [("Patient", "GET Patient?_id=P1"), ("Device", "GET Device?patient=Patient/P1")] {
            assert_eq!(world.get(&format!("/fhir/{target}"), &token).await.status, 200, "{target}");
            assert_eq!(asked(&world), [line]);
        }
        world.finish().await;
    });
}

#[test]
fn another_parameter_takes_the_place_of_one_that_the_server_ignores() {
    run(async {
        for (fhir, status, lines) in [
            ("", 502, &[][..]),
            ("narrow_by = [\"Condition.subject\"]", 200, &["GET Condition?subject=Patient/P1"][..]),
        ] {
            let world = World::with(Settings { fhir: fhir.to_owned(), ..Settings::default() }).await;
            world.upstream.change(|store| store.ignored = vec!["patient"]);
            let token = world.token_a();
            let reply = world.get("/fhir/Condition", &token).await;
            assert_eq!(reply.status, status, "{fhir}: {}", reply.all());
            assert_eq!(asked(&world), lines, "{fhir}");
            // The client's own condition on the same element is met here.
            let theirs = world.get("/fhir/Condition?patient=P2", &token).await;
            assert_eq!((theirs.status, theirs.ids()), (200, Vec::new()), "{fhir}");
            // What the server stops to honour is found out as for any other.
            world.upstream.change(|store| store.ignored = vec!["patient", "subject"]);
            assert_eq!(world.get("/fhir/Condition", &token).await.status, 502, "{fhir}");
            asked(&world);
            assert_eq!(world.get("/fhir/Condition", &token).await.status, 502, "{fhir}");
            assert_eq!(asked(&world), [""; 0], "{fhir}");
            world.finish().await;
        }
    });
}

#[test]
fn a_server_that_takes_the_path_of_a_compartment_for_the_types_own_is_not_asked() {
    run(async {
        let world = world("compartment").await;
        world.upstream.change(|store| store.ignored = vec!["Patient/"]);
        let token = world.token(&b());
        assert_eq!(mine(&world, &token, "").await.status, 502);
        assert_eq!(asked(&world), [""; 0]);
        world.finish().await;
    });
}

#[test]
fn a_filter_finds_all_in_one_search() {
    const FILTER: &str = "_filter=subject%20eq%20%22Patient/P1%22%20or%20performer%20eq%20%22Patient/P1%22";
    run(async {
        let world = world("filter").await;
        let token = world.token_a();
        assert_eq!(mine(&world, &token, "").await.ids(), ["s1", "s2", "s3"]);
        assert_eq!(asked(&world), [format!("GET Observation?{FILTER}&code=mine")]);
        let probes = world.upstream.take_probes();
        let [probe] = probes.as_slice() else { panic!("one probe: {probes:?}") };
        let line = probe.below_base();
        assert!(line.starts_with("GET Observation?_filter=subject%20eq%20%22Patient/"), "{line}");
        assert!(line.contains("%22%20or%20performer%20eq%20%22Patient/") && line.ends_with("%22&_count=1"), "{line}");
        assert!(!line.contains("P1"), "{line}");
        // What the client asks for is asked as well, and narrows what the filter gives; a filter of its own is refused.
        assert_eq!(mine(&world, &token, "&subject=Patient/P7&_sort=date").await.ids(), ["s3"]);
        assert_eq!(asked(&world), [format!("GET Observation?{FILTER}&code=mine&subject=Patient/P7&_sort=date")]);
        assert_eq!(mine(&world, &token, "&_filter=subject%20eq%20%22Patient/P7%22").await.status, 403);
        assert_eq!(asked(&world), [""; 0]);
        assert_eq!(all_pages(&world, &token, "/fhir/Observation?code=mine&_count=1").await, ["s1", "s2", "s3"]);
        let in_compartment = all_pages(&world, &token, "/fhir/Patient/P1/Observation?code=mine&_count=1").await;
        assert_eq!(in_compartment, ["s1", "s2", "s3"]);
        asked(&world);
        // One parameter needs no filter.
        for (target, line) in [("Patient", "GET Patient?_id=P1"), ("Device", "GET Device?patient=Patient/P1")] {
            assert_eq!(world.get(&format!("/fhir/{target}"), &token).await.status, 200, "{target}");
            assert_eq!(asked(&world), [line]);
        }
        let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"GET","url":"Observation?code=mine"}}]}"#;
        let reply = world.send("POST /fhir", &token, &["Content-Type: application/fhir+json"], bundle).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        assert!(!reply.text().contains("\"s3\""), "{}", reply.all());
        world.finish().await;
    });
}

#[test]
fn a_server_without_filters_or_that_ignores_them_is_not_asked() {
    run(async {
        for (ignored, lacks) in [(vec!["_filter"], Vec::new()), (Vec::new(), vec!["_filter"])] {
            let world = world("filter").await;
            world.upstream.change(|store| {
                store.ignored = ignored;
                store.lacks = lacks;
            });
            let token = world.token(&b());
            assert_eq!(mine(&world, &token, "").await.status, 502);
            assert_eq!(asked(&world), [""; 0]);
            world.finish().await;
        }
    });
}

/// The first search for conditions that the upstream is asked once it said what it is.
async fn conditions(settings: Settings, expected: &str) {
    let automatic = !settings.fhir.contains("software");
    let (fhir, software) = (settings.fhir.clone(), settings.software);
    let world = World::with(settings).await;
    let token = world.token_a();
    let search = async || {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(world.get("/fhir/Condition", &token).await.status, 200, "{fhir} {software:?}");
        asked(&world)
    };
    // What it is is learned a moment after it was said.
    for _ in 0..200 {
        let lines = search().await;
        if !automatic || world.upstream.identified() > 0 && lines == [expected] {
            break;
        }
    }
    assert_eq!(search().await, [expected], "{fhir} {software:?}");
    assert_eq!(world.upstream.identified(), usize::from(automatic), "{fhir} {software:?}");
    world.finish().await;
}

#[test]
fn the_software_that_the_upstream_is_says_by_which_parameter_it_is_narrowed() {
    const OWN: &str = "GET Condition?subject=Patient/P1";
    const PRIMARY: &str = "GET Condition?patient=Patient/P1";
    run(async {
        for (fhir, software, line) in [
            ("", Some("FHIR Server for Azure"), OWN),
            ("software = \"microsoft\"", None, OWN),
            ("software = \"microsoft\"", Some("HAPI FHIR Server"), OWN),
            // Nothing is known of it, it does not say what it is, or it has no habits of the kind.
            ("", Some("CANARY-product"), PRIMARY),
            ("", None, PRIMARY),
            ("", Some("HAPI FHIR Server"), PRIMARY),
            ("software = \"other\"", Some("FHIR Server for Azure"), PRIMARY),
            // What the site names goes first.
            ("narrow_by = [\"Condition.patient\"]", Some("FHIR Server for Azure"), PRIMARY),
            ("software = \"hapi\"\nnarrow_by = [\"Condition.subject\"]", None, OWN),
        ] {
            conditions(Settings { fhir: fhir.to_owned(), software, ..Settings::default() }, line).await;
        }
    });
}

#[test]
fn what_is_said_of_a_software_is_probed_as_anything_is() {
    run(async {
        let fhir = "software = \"microsoft\"".to_owned();
        let world = World::with(Settings { fhir, ..Settings::default() }).await;
        world.upstream.change(|store| store.ignored = vec!["subject"]);
        let token = world.token_a();
        assert_eq!(world.get("/fhir/Condition", &token).await.status, 502);
        assert_eq!(asked(&world), [""; 0]);
        let probes: Vec<String> = world.upstream.take_probes().iter().map(crate::upstream::Seen::below_base).collect();
        assert!(probes.iter().all(|line| line.starts_with("GET Condition?subject=Patient/")), "{probes:?}");
        assert_eq!(probes.len(), 1);
        world.finish().await;
    });
}

#[test]
fn what_the_server_takes_for_the_compartment_is_tested_all_the_same() {
    let theirs = r#"{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"Observation","id":"s4","subject":{"reference":"Patient/P7"}}}]}"#;
    run(async {
        for search_by in ["primary", "compartment", "filter", "every-parameter"] {
            let world = world(search_by).await;
            let token = world.token(&b());
            world.upstream.answer(move |_| Answer::fhir(theirs));
            let reply = mine(&world, &token, "").await;
            assert_eq!(reply.status, 502, "{search_by}: {}", reply.all());
            world.finish().await;
        }
    });
}
