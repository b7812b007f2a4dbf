#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::admin::Metrics;
use crate::audit::{EventKind, OnFailure, Options, Outcome, Record};
use crate::clock::Clock;
use crate::config::{ClientCertificates, Tls};

fn pki(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("certs").join(name)
}

fn live(audit: Audit, certificates: Option<Arc<Certificates>>) -> Live {
    let searches = || Searches { probes: [("ok", 0), ("unconfined", 0), ("failed", 0)], unconfined: Vec::new() };
    Live { open: Open::default(), certificates, audit, searches: Box::new(searches) }
}

/// What is scraped has this line.
fn has(metrics: &Metrics, line: &str) -> bool {
    metrics.text().unwrap().lines().any(|one| one == line)
}

#[test]
fn the_certificate_its_list_and_its_reloads_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let tls = directory.path().join("tls");
    fs::create_dir(&tls).unwrap();
    for file in ["ca.crt", "tls.crt", "tls.key"] {
        fs::copy(pki("server").join(file), tls.join(file)).unwrap();
    }
    let list = |name: &str| fs::read_to_string(pki("crl").join(name)).unwrap();
    fs::write(tls.join("crl.pem"), list("root.pem") + &list("intermediate.pem")).unwrap();
    let settings = Tls { directory: tls.clone(), client_certificates: ClientCertificates::Optional, crl: true };
    // In the year 2026.
    let certificates = Arc::new(Certificates::load_at(&settings, Clock::fixed(1_790_000_000)).unwrap());
    let mut options = Options::new(directory.path().join("audit"), "test.example/audit");
    options.floor_bytes = 0;
    let metrics = Metrics::new();
    metrics.watch(live(Audit::start(options, Clock::system()).unwrap(), Some(Arc::clone(&certificates))));
    let told = metrics.text().unwrap();
    for line in ["firebreak_tls_not_after_seconds 4922899200", "firebreak_tls_crl_next_update_seconds 4102444800"] {
        assert!(has(&metrics, line), "{line}: {told}");
    }
    let reloads = |ok: u64, failed: u64| {
        has(&metrics, &format!("firebreak_tls_reload_total{{result=\"ok\"}} {ok}"))
            && has(&metrics, &format!("firebreak_tls_reload_total{{result=\"failed\"}} {failed}"))
    };
    assert!(reloads(0, 0), "{told}");
    for _ in 0..2 {
        fs::write(tls.join("crl.pem"), "no list").unwrap();
        assert!(certificates.reload().is_err());
    }
    assert!(reloads(0, 2), "{}", metrics.text().unwrap());
    fs::write(tls.join("crl.pem"), list("root.pem") + &list("intermediate-later.pem")).unwrap();
    assert_eq!(certificates.reload(), Ok(true));
    assert!(reloads(1, 2), "{}", metrics.text().unwrap());
}

#[tokio::test]
async fn answers_without_a_durable_record_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path(), "test.example/audit");
    options.floor_bytes = 0;
    options.on_failure = OnFailure::DangerAllowAndAlarm;
    let audit = Audit::start(options, Clock::system()).unwrap();
    let metrics = Metrics::new();
    metrics.watch(live(audit.clone(), None));
    let release = async || audit.event(Record::new(EventKind::Fhir), Outcome::Released).await.unwrap().seq();
    assert!(release().await.is_some());
    assert!(has(&metrics, "firebreak_audit_unrecorded_total 0"), "{}", metrics.text().unwrap());
    audit.shutdown().await;
    assert_eq!((release().await, release().await), (None, None));
    assert!(has(&metrics, "firebreak_audit_unrecorded_total 2"), "{}", metrics.text().unwrap());
}
