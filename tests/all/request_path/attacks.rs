//! Attacks on operations, histories and Provenance, each of which went through once.

use serde_json::{Value, json};

use super::{asked, assert_absent};
use crate::upstream::{Answer, data};
use crate::world::{Grant, Settings, World, run};

const JSON: &str = "Content-Type: application/fhir+json";

/// Scopes of a clinician's token that has a patient in context too.
fn both(scopes: &str) -> Grant {
    Grant::patient(scopes, "P1")
}

#[test]
fn attack_whom_a_record_names_is_of_the_record() {
    run(async {
        let world = World::new().await;
        let performer = r#","performer":[{"reference":"Practitioner/d2"}]"#;
        world.upstream.change(|store| store.put(data::observation("seen", "P2", r#""category":[]"#, "1", performer)));
        // Who may read every Practitioner learns by it neither who treats somebody nor whether there is such a patient.
        let token = world.token(&both("patient/*.rs user/Practitioner.rs"));
        for of in ["P2", "P9"] {
            assert_absent(&world, &token, &format!("/fhir/Patient/{of}/$everything")).await;
            assert_eq!(asked(&world), ["GET Observation/never-existed"], "{of}");
        }
        for scopes in ["user/Practitioner.rs", "user/Observation.rs", "user/Practitioner.rs user/Encounter.rs"] {
            let token = world.token(&both(scopes));
            for of in ["P2", "P9"] {
                let reply = world.get(&format!("/fhir/Patient/{of}/$everything"), &token).await;
                assert!(matches!(reply.status, 403 | 404), "{scopes}: {}", reply.all());
                assert_eq!(world.upstream.seen(), 0, "{scopes}");
            }
        }
        let token = world.token(&both("patient/Patient.r user/Observation.rs"));
        assert_absent(&world, &token, "/fhir/Patient/P2/$everything").await;
        assert_absent(&world, &token, "/fhir/Patient/P9/$everything").await;
        let token = world.token(&both("user/Patient.rs user/Encounter.rs user/Practitioner.rs"));
        let reply = world.get("/fhir/Patient/P2/$everything", &token).await;
        assert_eq!(
            (reply.status, reply.ids()),
            (200, vec!["e2".to_owned(), "P1".to_owned(), "P2".to_owned()]),
            "{}",
            reply.all()
        );
        // What may be read and refers to it has it come along.
        let token = world.token(&both("user/Patient.rs user/Observation.rs user/Practitioner.rs"));
        let reply = world.get("/fhir/Patient/P2/$everything", &token).await;
        assert!(reply.ids().contains(&"d2".to_owned()), "{}", reply.all());
        let reply = world.get("/fhir/Encounter/e2/$everything", &token).await;
        assert_eq!(reply.status, 403, "{}", reply.all());
        let token = world.token(&both("user/*.rs"));
        for types in ["", "?_type=Practitioner"] {
            let reply = world.get(&format!("/fhir/Patient/P2/$everything{types}"), &token).await;
            assert!(reply.ids().contains(&"d2".to_owned()), "{types}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn attack_what_would_be_deleted_tells_what_refers_to_it() {
    run(async {
        let world = World::new().await;
        for scopes in ["patient/*.cruds", "user/Observation.cruds"] {
            let token = world.token(&both(scopes));
            for mode in ["delete", "Delete", "other"] {
                let reply = world.get(&format!("/fhir/Observation/o1/$validate?mode={mode}"), &token).await;
                assert_eq!((reply.status, world.upstream.seen()), (403, 0), "{scopes} {mode}: {}", reply.all());
            }
            let reply = world.get("/fhir/Observation/o1/$validate?mode=update", &token).await;
            assert_eq!(reply.status, 200, "{}", reply.all());
            asked(&world);
        }
        let token = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let reply = world.get("/fhir/Observation/o1/$validate?mode=delete", &token).await;
        assert_eq!(reply.status, 200, "{}", reply.all());
        world.finish().await;
    });
}

#[test]
fn attack_names_inside_of_a_body_lead_nowhere() {
    run(async {
        let world = World::new().await;
        let token = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let parameters = |name: &str, value: Value| json!({"resourceType": "Parameters", "parameter": [{"name": name, (if name == "coding" { "valueCoding" } else { "valueCodeableConcept" }): value}]});
        let observation = |profile: &str| json!({"resourceType": "Observation", "meta": {"profile": [profile]}, "subject": {"reference": "Patient/P1"}});
        let inside = json!({"resourceType": "Observation", "contained": [{"resourceType": "Device", "meta": {"profile": ["http://169.254.169.254/x"]}}]});
        for (target, body) in [
            ("CodeSystem/$lookup", parameters("coding", json!({"system": "http://169.254.169.254/x", "code": "1"}))),
            (
                "ValueSet/$validate-code",
                parameters("codeableConcept", json!({"coding": [{"system": "http://localhost/x", "code": "1"}]})),
            ),
            ("ValueSet/$validate-code", parameters("coding", json!({"system": ["http://localhost/x"], "code": "1"}))),
            ("Observation/$validate", observation("http://169.254.169.254/x")),
            ("Observation/$validate", inside),
        ] {
            let reply = world.send(&format!("POST /fhir/{target}"), &token, &[JSON], &body.to_string()).await;
            assert_eq!((reply.status, world.upstream.seen()), (400, 0), "{body}: {}", reply.all());
        }
        let profile = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab|6.1.0";
        for (target, body) in [
            ("CodeSystem/$lookup", parameters("coding", json!({"system": "http://loinc.org", "code": "1"}))),
            ("Observation/$validate", observation(profile)),
        ] {
            world.send(&format!("POST /fhir/{target}"), &token, &[JSON], &body.to_string()).await;
            assert_eq!(asked(&world).len(), 1, "{body}");
        }
        world.finish().await;
    });
}

#[test]
fn attack_a_question_about_codes_passes_no_condition_by() {
    run(async {
        let world = World::new().await;
        world.upstream.answer(|_| {
            Answer::fhir(r#"{"resourceType":"Parameters","parameter":[{"name":"result","valueBoolean":true}]}"#)
        });
        for scopes in
            ["user/ValueSet.rs?_tag=public", "patient/ValueSet.rs?_tag=public", "user/ValueSet.rs?status=active"]
        {
            let token = world.token(&both(scopes));
            for target in
                ["ValueSet/hidden/$validate-code?code=x", "ValueSet/$validate-code?url=http://a.example.org/x&code=x"]
            {
                let reply = world.get(&format!("/fhir/{target}"), &token).await;
                assert_eq!((reply.status, world.upstream.seen()), (403, 0), "{scopes} {target}: {}", reply.all());
            }
        }
        for scopes in ["user/ValueSet.rs", "patient/ValueSet.r", "patient/ValueSet.r user/ValueSet.r?_tag=public"] {
            let token = world.token(&both(scopes));
            let reply = world.get("/fhir/ValueSet/any/$validate-code?code=x", &token).await;
            assert_eq!(reply.status, 200, "{scopes}: {}", reply.all());
        }
        world.finish().await;
    });
}

#[test]
fn attack_a_condition_of_an_operation_is_not_dropped() {
    run(async {
        let world = World::new().await;
        let token = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        let meta = json!({"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]});
        for header in ["If-Match: W/\"99\"", "If-None-Exist: identifier=1"] {
            let reply =
                world.send("POST /fhir/Observation/o1/$meta-add", &token, &[JSON, header], &meta.to_string()).await;
            assert_eq!((reply.status, world.upstream.seen()), (400, 0), "{header}: {}", reply.all());
        }
        let request = json!({"method": "POST", "url": "Observation/o1/$meta-add", "ifMatch": "W/\"99\""});
        let body =
            json!({"resourceType": "Bundle", "type": "batch", "entry": [{"resource": meta, "request": request}]});
        let reply = world.send("POST /fhir", &token, &[JSON], &body.to_string()).await;
        let status = reply.json()["entry"][0]["response"]["status"].as_str().unwrap().to_owned();
        assert!(status.starts_with("400") && world.upstream.seen() == 0, "{}", reply.all());
        world.finish().await;
    });
}

const FIND: &str = r#"
[[fhir.operation]]
name = "find"
definition = "http://example.org/OperationDefinition/find"
levels = ["type"]
resource_types = ["Patient"]
needs = ["Patient.rs"]
returns = "searchset"
returned_types = ["Patient"]
"#;

#[test]
fn attack_pages_are_for_operations_that_have_some() {
    run(async {
        let world = World::with(Settings { fhir: FIND.to_owned(), ..Default::default() }).await;
        let token = world.token(&Grant::user("user/*.cruds", "Practitioner/d1", &["clinician"]));
        for target in ["Observation/o1/$meta", "Observation/o1/$validate", "CodeSystem/$lookup", "Patient/P1/$summary"]
        {
            let reply = world.get(&format!("/fhir/{target}?_page=x"), &token).await;
            assert_eq!((reply.status, world.upstream.seen()), (400, 0), "{target}: {}", reply.all());
        }
        let base = world.upstream.base();
        world.upstream.answer(move |_| {
            Answer::fhir(format!(
                r#"{{"resourceType":"Bundle","type":"searchset","link":[{{"relation":"next","url":"{base}?_getpages=1"}}],"entry":[{{"resource":{{"resourceType":"Patient","id":"P2"}}}}]}}"#
            ))
        });
        let next = world.get("/fhir/Patient/$find", &token).await.link("next").unwrap();
        asked(&world);
        let reply = world.get(&next, &token).await;
        assert_eq!((reply.status, reply.ids().len()), (200, 1), "{}", reply.all());
        assert_eq!(world.upstream.take_seen()[0].line, "GET /upstream/r4?_getpages=1");
        let sealed = next.split_once('?').unwrap().1;
        for other in ["Patient", "Patient/$everything", "Observation/$lastn"] {
            let reply = world.get(&format!("/fhir/{other}?{sealed}"), &token).await;
            assert_eq!((reply.status, world.upstream.seen()), (400, 0), "{other}: {}", reply.all());
        }
        let narrow = world.token(&Grant::user("user/Patient.r", "Practitioner/d1", &["clinician"]));
        assert_eq!(world.get(&next, &narrow).await.status, 403);
        world.finish().await;
    });
}

#[test]
fn attack_no_provenance_is_lost_for_the_number_of_targets() {
    run(async {
        let world = World::new().await;
        let token = world.token_a();
        let put = |id: &str, targets: &[String]| {
            let targets: Vec<String> = targets.iter().map(|one| format!(r#"{{"reference":"{one}"}}"#)).collect();
            let rest = format!(r#""target":[{}],"recorded":"2024-01-01T00:00:00Z""#, targets.join(","));
            world.upstream.change(|store| store.put(data::resource("Provenance", id, Some("P1"), &rest)));
        };
        let mut all = Vec::new();
        for number in 0..120 {
            let own = ["l", "r"].map(|half| format!("{half}{number:03}"));
            world.upstream.change(|store| {
                for id in &own {
                    store.put(data::observation(id, "P1", r#""category":[]"#, "1", ""));
                }
            });
            let own = own.map(|id| format!("Observation/{id}"));
            put(&format!("many{number:03}"), &[&["Patient/P1".to_owned()], &own[..]].concat());
            all.extend(own);
        }
        let reply = world.get("/fhir/Provenance?_count=200", &token).await;
        assert_eq!((reply.status, reply.ids().len()), (200, 120), "{}", reply.all());
        put("big", &all);
        assert_eq!(world.get("/fhir/Provenance/big", &token).await.status, 200);
        // More than are looked up: said of a search, and no page that lacks something.
        let more: Vec<String> = (0..1001).map(|number| format!("Observation/n{number}")).collect();
        put("bigger", &[vec!["Patient/P1".to_owned()], more].concat());
        assert_absent(&world, &token, "/fhir/Provenance/bigger").await;
        assert_eq!(world.get("/fhir/Provenance", &token).await.status, 400);
        world.finish().await;
    });
}

// What a patch does not name is kept: one who writes further than they read could move a resource to where it is read.
#[test]
fn attack_a_patch_brings_nothing_into_reach() {
    run(async {
        let world = World::new().await;
        let into = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]).to_string();
        let own = into("/subject", json!({"reference": "Patient/P1"}));
        let laboratory = into(
            "/category",
            json!([{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}]),
        );
        let status = into("/status", json!("amended"));
        for (scopes, id, patch, expected) in [
            ("user/Observation.u patient/Observation.rs", "o2", &own, 403),
            ("user/Observation.u patient/Observation.rs", "o1", &status, 200),
            ("user/Observation.u", "o2", &own, 403),
            ("user/Observation.ru", "o2", &own, 200),
            ("patient/Observation.u patient/Observation.rs?category=laboratory", "v1", &laboratory, 403),
            ("patient/Observation.u patient/Observation.rs?category=laboratory", "v1", &status, 403),
            ("patient/Observation.u patient/Observation.rs?category=laboratory", "o1", &status, 200),
            ("patient/Observation.u", "o1", &status, 403),
        ] {
            let token = world.token(&both(scopes));
            let line = format!("PATCH /fhir/Observation/{id}");
            let reply = world.send(&line, &token, &["Content-Type: application/json-patch+json"], patch).await;
            assert_eq!(reply.status, expected, "{scopes} {id}: {}", reply.all());
            assert!(
                expected == 200 || !asked(&world).iter().any(|request| request.starts_with("PUT")),
                "{scopes} {id}"
            );
            asked(&world);
        }
        world.finish().await;
    });
}
