//! Client certificates in the handshake: asked for or not, verified, and looked up in revocation lists (RFC 5280 section 6.3).

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use firebreak::clock::Clock;
use firebreak::config::{ClientCertificates, Tls};
use firebreak::listen::Certificates;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    date_time_ymd,
};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::harness::{Raw, Served, client_config, handshake, patient, pki};
use super::tls::copy;

/// What a client of this configuration is served: the fingerprint that the site saw, or that the handshake failed.
async fn identify(served: &Served, config: ClientConfig) -> Result<String, ()> {
    let before = served.seen().len();
    let stream = handshake(served.address, config).await.map_err(|_| ())?;
    let mut raw = Raw::new(stream);
    // In TLS 1.3 the client learns of a refused certificate when it reads.
    raw.send("GET /certificate HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    let answer = raw.rest().await;
    assert_eq!(served.seen().len() == before, answer.is_empty());
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).ok_or(())
}

#[tokio::test]
async fn client_certificates_are_off_optional_or_required() {
    use ClientCertificates::{Off, Optional, Required};
    let identify = async |mode, certificate| {
        let served = Served::tls_at(patient(), &pki("server"), mode).await;
        identify(&served, client_config(&[], certificate)).await
    };
    let nobody = Ok(String::new());
    assert_eq!(identify(Off, None).await, nobody);
    assert_eq!(identify(Off, Some("good")).await, nobody, "not asked for");
    assert_eq!(identify(Optional, None).await, nobody);
    assert_eq!(identify(Required, None).await, Err(()));
    let own = CertificateDer::from_pem_file(pki("clients/good.crt")).unwrap();
    let own: String = Sha256::digest(&own).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    for mode in [Optional, Required] {
        assert_eq!(identify(mode, Some("good")).await.as_deref(), Ok(&*own), "{mode:?}: of the client, no issuer");
        assert_eq!(identify(mode, Some("of-other-ca")).await, Err(()), "{mode:?}");
        assert_eq!(identify(mode, Some("expired")).await, Err(()), "{mode:?}");
    }
}

/// The server's directory with a `crl.pem` of these lists.
fn directory(lists: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy("server", directory.path());
    write_lists(directory.path(), lists);
    directory
}

fn write_lists(directory: &Path, lists: &[&str]) {
    let text: String = lists.iter().map(|name| fs::read_to_string(pki(&format!("crl/{name}.pem"))).unwrap()).collect();
    fs::write(directory.join("crl.pem"), text).unwrap();
}

fn load(directory: &Path, clock: &Clock) -> Result<Certificates, String> {
    let settings =
        Tls { directory: directory.to_owned(), client_certificates: ClientCertificates::Optional, crl: true };
    Certificates::load_at(&settings, clock.clone()).map_err(|error| error.to_string())
}

/// Seconds since the epoch in the year 2026, in which the lists and certificates are good.
const NOW: i64 = 1_790_000_000;
/// From then into the year 2101, in which the lists are overdue and the certificates are good.
const OVERDUE: i64 = 75 * 365 * 86_400;

#[tokio::test]
async fn a_revoked_client_certificate_is_refused_from_the_reload_on_and_no_ticket_helps() {
    let directory = directory(&["root", "intermediate"]);
    let served = Served::tls_of(patient(), load(directory.path(), &Clock::fixed(NOW)).unwrap()).await;
    // One configuration each, so that the tickets of the first handshakes are offered in the second.
    let (good, revoked) = (client_config(&[], Some("good")), client_config(&[], Some("revoked")));
    for config in [&good, &revoked] {
        assert_eq!(identify(&served, config.clone()).await.unwrap().len(), 64);
    }
    write_lists(directory.path(), &["root", "intermediate-later"]);
    assert_eq!(served.certificates.as_ref().unwrap().reload(), Ok(true));
    assert_eq!(identify(&served, revoked).await, Err(()));
    assert_eq!(identify(&served, good).await.unwrap().len(), 64);
    assert_eq!(identify(&served, client_config(&[], None)).await, Ok(String::new()), "it is optional");
}

#[tokio::test]
async fn a_chain_that_the_lists_do_not_tell_of_wholly_is_refused() {
    for (lists, why) in [
        (&["intermediate"][..], "nothing of the intermediate"),
        (&["root"], "nothing of the client"),
        (&["root-later", "intermediate"], "the intermediate is revoked"),
    ] {
        let directory = directory(lists);
        let served = Served::tls_of(patient(), load(directory.path(), &Clock::fixed(NOW)).unwrap()).await;
        assert_eq!(identify(&served, client_config(&[], Some("good"))).await, Err(()), "{why}");
    }
}

#[tokio::test]
async fn a_list_that_is_overdue_is_refused_at_the_start_at_a_reload_and_in_the_handshake() {
    let clock = Clock::fixed(NOW);
    let overdue = directory(&["root", "intermediate-overdue"]);
    let error = load(overdue.path(), &clock).unwrap_err();
    assert!(error.contains("`crl.pem`") && error.contains("test intermediate") && error.contains("2021"), "{error}");

    let directory = directory(&["root", "intermediate"]);
    let served = Served::tls_of(patient(), load(directory.path(), &clock).unwrap()).await;
    write_lists(directory.path(), &["root", "intermediate-overdue"]);
    assert!(served.certificates.as_ref().unwrap().reload().is_err());
    let good = async || identify(&served, client_config(&[], Some("good"))).await;
    assert_eq!(good().await.unwrap().len(), 64, "the lists before are in force");
    clock.advance(OVERDUE);
    assert_eq!(good().await, Err(()));
}

#[test]
fn lists_that_do_not_load_are_told_with_the_file() {
    let lacking = directory(&[]);
    fs::remove_file(lacking.path().join("crl.pem")).unwrap();
    assert!(load(lacking.path(), &Clock::fixed(NOW)).unwrap_err().contains("crl.pem` cannot be read"));
    for content in [
        "",
        "no list",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        "-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n",
    ] {
        fs::write(lacking.path().join("crl.pem"), content).unwrap();
        let error = load(lacking.path(), &Clock::fixed(NOW)).unwrap_err();
        assert!(error.contains("`crl.pem`") && !error.contains('\n'), "{content:?}: {error}");
    }
}

/// What the metrics and `check` tell.
#[test]
fn the_ends_that_are_told_are_those_of_the_files_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let write = |until: i32, lists: [i32; 2]| {
        let key = KeyPair::generate().unwrap();
        let mut server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        server.not_after = date_time_ymd(until, 1, 1);
        let list = |until: &i32| {
            let list = CertificateRevocationListParams {
                this_update: date_time_ymd(2026, 1, 1),
                next_update: date_time_ymd(*until, 1, 1),
                crl_number: 1.into(),
                issuing_distribution_point: None,
                revoked_certs: Vec::new(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            list.signed_by(&authority).unwrap().pem().unwrap()
        };
        for (file, text) in [
            ("tls.crt", server.signed_by(&key, &authority).unwrap().pem()),
            ("tls.key", key.serialize_pem()),
            ("ca.crt", authority.pem()),
            ("crl.pem", lists.iter().map(list).collect()),
        ] {
            fs::write(directory.path().join(file), text).unwrap();
        }
    };
    let at = |year: i32| date_time_ymd(year, 1, 1).unix_timestamp();
    write(2090, [2080, 2085]);
    let certificates = load(directory.path(), &Clock::fixed(NOW)).unwrap();
    let ends = || {
        let Certificates { not_after, crl_next_update, .. } = &certificates;
        [not_after, crl_next_update].map(|end| end.load(Ordering::Relaxed))
    };
    assert_eq!(ends(), [at(2090), at(2080)]);
    write(2091, [2086, 2081]);
    assert_eq!(certificates.reload(), Ok(true));
    assert_eq!(ends(), [at(2091), at(2081)]);
}
