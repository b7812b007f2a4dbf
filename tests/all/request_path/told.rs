//! A record says who asked for what and what came of it, as the client and the upstream know it.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use firebreak::audit::{Decision, Ending, EventKind, Record, Upstream};
use firebreak::secret::Digest;

use crate::world::{Grant, Settings, World, run};

const SCOPE: &str = "launch/encounter patient/*.rs";

/// What every record of `token` says.
fn expected(token: &str, request_id: &str) -> Record {
    let text = |text: &str| Some(text.to_owned());
    let mut record = Record::new(EventKind::Fhir);
    record.request_id = text(request_id);
    record.listener = Some("public".into());
    record.client_ip = Some([127, 0, 0, 1].into());
    record.tls = Some("TLSv1.3".into());
    (record.client_id, record.iss, record.sub) = (text("app"), text("https://gw.example.org"), text("somebody"));
    (record.fhir_user, record.roles) = (text("Practitioner/d1"), vec!["clinician".to_owned()]);
    // docs/audit.md: the first 128 bits of the SHA-256 of the token.
    record.jti = Digest::of(token).to_hex().get(..32).map(str::to_owned);
    (record.scopes, record.patient, record.encounter) = (text(SCOPE), text("P1"), text("e1"));
    record.method = Some("GET".into());
    record
}

#[test]
fn a_record_says_who_asked_for_what_and_what_came_of_it() {
    run(async {
        let world = World::with(Settings { tls: true, ..Settings::default() }).await;
        let grant = Grant::patient(SCOPE, "P1").with(|claims| claims.encounter = Some("e1".to_owned()));
        let token = world.token(&grant);
        let began = Instant::now();
        let read = world.send("GET /fhir/Observation/o1/_history/1", &token, &["X-Request-Id: read"], "").await;
        let target = "/fhir/Observation?_id=o1,o2&_sort=-date";
        let search = world.send(&format!("GET {target}"), &token, &["X-Request-Id: search"], "").await;
        let denied = world.send("DELETE /fhir/Observation/o1", &token, &["X-Request-Id: denied"], "").await;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
        assert_eq!((read.status, search.status, denied.status), (200, 200, 403));
        // docs/audit.md: in hexadecimal, as `openssl x509 -fingerprint -sha256` has it.
        let certificate = std::fs::read(world.state.path().join("tls/client.der")).unwrap();
        let certificate = Digest::of_bytes(&certificate).to_hex();
        let records = world.finish().await;
        let of = |request_id: &str| {
            let found = records.iter().find(|entry| entry.record.request_id.as_deref() == Some(request_id));
            found.unwrap_or_else(|| panic!("{request_id}")).record.clone()
        };
        for (request_id, reply) in [("read", &read), ("search", &search), ("denied", &denied)] {
            let record = of(request_id);
            let mut expected = expected(&token, request_id);
            expected.client_cert = Some(certificate.clone());
            expected.resource_type = Some("Observation".into());
            expected.resource_ids = vec!["Observation/o1".to_owned()];
            (expected.status, expected.bytes) = (Some(reply.status), Some(reply.body.len() as u64));
            if request_id == "denied" {
                (expected.interaction, expected.method) = (Some("delete".into()), Some("DELETE".into()));
                (expected.decision, expected.outcome) = (Some(Decision::Deny), Some(Ending::Denied));
                expected.reason = Some("scope_insufficient".into());
                assert_eq!(record.explanation.first().unwrap(), "refused: scope_insufficient (403)");
            } else {
                (expected.decision, expected.outcome) = (Some(Decision::Permit), Some(Ending::Released));
                expected.patients = vec!["P1".to_owned()];
                let upstream = record.upstream.clone().unwrap();
                assert!(upstream.ms <= record.duration_ms.unwrap(), "{record:?}");
                expected.upstream = Some(Upstream { name: "fhir".to_owned(), ms: upstream.ms });
                assert!(record.explanation.first().unwrap().starts_with("allowed"), "{record:?}");
                assert!(!record.policies.is_empty());
                expected.policies.clone_from(&record.policies);
            }
            match request_id {
                "read" => (expected.interaction, expected.version_id) = (Some("vread".into()), Some("1".to_owned())),
                "search" => {
                    expected.interaction = Some("search-type".into());
                    expected.query_names = vec!["_id".to_owned(), "_sort".to_owned()];
                    expected.query_raw = Some(STANDARD.encode("_id=o1,o2&_sort=-date"));
                }
                _ => {}
            }
            assert!(record.duration_ms.unwrap() <= took, "{record:?}");
            expected.duration_ms = record.duration_ms;
            expected.explanation.clone_from(&record.explanation);
            assert_eq!(record, expected);
        }
    });
}
