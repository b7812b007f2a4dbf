//! TLS at the socket: versions, protocols, client certificates, reload, and certificates that do not load.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use firebreak::config::{ClientCertificates, Limits, Tls};
use firebreak::listen::Certificates;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::harness::{Raw, Served, client_config, handshake, limits, patient, pki};

#[tokio::test]
async fn the_protocol_is_agreed_by_alpn_and_http1_is_the_rest() {
    let served = Served::tls(patient()).await;
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let raw = served.connect_tls(offered).await;
        assert_eq!(raw.0.get_ref().1.alpn_protocol(), agreed, "{offered:?}");
    }
    for offered in [&["http/1.1"][..], &[]] {
        let mut raw = served.connect_tls(offered).await;
        raw.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(raw.response().await.1, "GET /a 0");
    }
    assert!(handshake(served.address, client_config(&["h3"], None)).await.is_err(), "no common protocol");
}

// Z1
#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken() {
    let served = Served::tls(patient()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::pem::PemObject::from_pem_file(pki("ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let stream = handshake(served.address, config).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut raw = Raw::new(stream);
        raw.send("GET /tls HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let noted = if version.version == rustls::ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" };
        assert_eq!(raw.response().await.1, noted);
    }
}

// Z1, B3 79
#[tokio::test]
async fn tls_1_1_is_refused_with_the_alert_protocol_version() {
    // RFC 4346 section 7.4.1.2: version 3.2, and suites of that time.
    let suites = [0xc0, 0x13, 0xc0, 0x14, 0x00, 0x2f, 0x00, 0x35];
    let hello = [&[3, 2][..], &[7; 32], &[0], &[0, 8], &suites, &[1, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let wire = [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    let served = Served::tls(patient()).await;
    let mut client = served.connect().await;
    client.send(wire).await;
    let mut alert = Vec::new();
    client.0.read_to_end(&mut alert).await.unwrap();
    let [0x15, 3, _, 0, 2, 2, description] = alert[..] else { panic!("no fatal alert: {alert:?}") };
    // protocol_version; rustls says handshake_failure where the hello could not be of TLS 1.2 at all.
    assert!(matches!(description, 70 | 40), "{description}");
}

/// What TLS 1.2 may be spoken with: forward secrecy and authenticated encryption alone (E34).
#[tokio::test]
async fn tls_1_2_with_a_suite_of_another_kind_is_refused() {
    let extensions: &[u8] = &[
        0, 10, 0, 6, 0, 4, 0, 29, 0, 23, // groups: x25519, secp256r1
        0, 11, 0, 2, 1, 0, // points: uncompressed
        0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1, // signatures: ECDSA and RSA with SHA-256
    ];
    for (suites, spoken) in [
        (&[0xc0, 0x2b, 0xc0, 0x2f][..], true),
        (&[0xc0, 0x09, 0xc0, 0x13, 0xc0, 0x0a, 0xc0, 0x14, 0xc0, 0x23, 0xc0, 0x27], false), // CBC
        (&[0x00, 0x9c, 0x00, 0x9d, 0x00, 0x2f, 0x00, 0x35, 0x00, 0x0a, 0x00, 0x05], false), // RSA key exchange
    ] {
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let hello =
            [&[3, 3][..], &[7; 32], &[0], &[0, length(suites)], suites, &[1, 0, 0, length(extensions)], extensions]
                .concat();
        let wire = [&[0x16, 3, 1, 0, length(&hello) + 4, 1, 0, 0, length(&hello)][..], &hello].concat();
        let served = Served::tls(patient()).await;
        let mut client = served.connect().await;
        client.send(wire).await;
        let mut answer = [0; 7];
        client.0.read_exact(&mut answer).await.unwrap();
        // A handshake record, or the alert handshake_failure.
        assert_eq!(answer[0] == 0x16, spoken, "{suites:x?}: {answer:?}");
        assert!(spoken || answer == [0x15, 3, 3, 0, 2, 2, 40], "{suites:x?}: {answer:?}");
    }
}

/// Early data can be replayed by whoever sees it (RFC 8446 section 8).
#[tokio::test]
async fn no_ticket_lets_a_client_send_early_data() {
    let served = Served::tls(patient()).await;
    let mut config = client_config(&["http/1.1"], None);
    config.enable_early_data = true;
    let mut raw = Raw::new(handshake(served.address, config.clone()).await.unwrap());
    raw.send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    raw.rest().await;
    let mut again = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    assert!(again.early_data().is_none());
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_ends_within_the_head_timeout() {
    let served = Served::tls(limits()).await;
    let mut hello = Vec::new();
    let config = Arc::new(client_config(&["h2"], None));
    let mut session = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    session.write_tls(&mut hello).unwrap();
    for part in [0, 1, 5, hello.len() / 2, hello.len()] {
        let mut client = served.connect().await;
        let begun = Instant::now();
        client.send(&hello[..part]).await;
        client.rest().await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{part} bytes: {:?}", begun.elapsed());
    }
    served.all_closed().await;
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_not_served() {
    let served = Served::tls(patient()).await;
    let mut client = served.connect().await;
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!client.rest().await.contains("HTTP/1.1"));
    assert!(served.seen().is_empty());
}

pub(super) fn copy(from: &str, to: &Path) {
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        let from = pki(from).join(file);
        if from.exists() {
            fs::copy(from, to.join(file)).unwrap();
        }
    }
}

fn load(directory: &Path, client_certificates: ClientCertificates) -> Result<Certificates, String> {
    let settings = Tls { directory: directory.to_owned(), client_certificates, crl: false };
    Certificates::load(&settings).map_err(|error| error.to_string())
}

#[test]
fn a_certificate_that_does_not_load_refuses_the_start_and_names_the_file() {
    for (directory, file, because) in [
        ("key-mismatch", "tls.key", "does not belong to"),
        ("expired", "tls.crt", "ended on 2021-01-01"),
        ("not-yet-valid", "tls.crt", "not valid before 2120-01-01"),
        ("nowhere", "tls.crt", "cannot be read"),
    ] {
        let error = load(&pki(directory), ClientCertificates::Off).unwrap_err();
        assert!(error.contains(file) && error.contains(because) && error.contains(directory), "{directory}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let spoiled: &[(&str, &[u8])] = &[
        ("tls.crt", b""),
        ("tls.crt", b"no certificate"),
        ("tls.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("tls.crt", b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"),
        ("tls.crt", &[0xff; 100]),
        ("tls.key", b""),
        ("tls.key", b"no key"),
        ("tls.key", &[0; 100]),
        ("ca.crt", b""),
        ("ca.crt", b"no certificate"),
        ("ca.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ];
    for (file, content) in spoiled {
        let directory = tempfile::tempdir().unwrap();
        copy("server", directory.path());
        fs::write(directory.path().join(file), content).unwrap();
        let error = load(directory.path(), ClientCertificates::Required).unwrap_err();
        assert!(error.contains(file), "{file} {content:?}: {error}");
    }
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        let directory = tempfile::tempdir().unwrap();
        copy("server", directory.path());
        fs::remove_file(directory.path().join(file)).unwrap();
        let error = load(directory.path(), ClientCertificates::Required).unwrap_err();
        assert!(error.contains(file) && error.contains("cannot be read"), "{error}");
    }
}

#[tokio::test]
async fn a_bad_pair_at_a_reload_leaves_the_old_one_in_force() {
    let directory = tempfile::tempdir().unwrap();
    copy("server", directory.path());
    let served = Served::tls_at(patient(), directory.path(), ClientCertificates::Off).await;
    let certificates = served.certificates.clone().unwrap();
    for bad in ["key-mismatch", "expired", "not-yet-valid"] {
        copy(bad, directory.path());
        assert!(certificates.reload().is_err(), "{bad}");
        served.connect_tls(&[]).await;
    }
    fs::remove_file(directory.path().join("tls.key")).unwrap();
    assert!(certificates.reload().is_err());
    served.connect_tls(&[]).await;
    assert_eq!(certificates.failures.load(Ordering::Relaxed), 4);
    copy("server-renewed", directory.path());
    assert_eq!(certificates.reload(), Ok(true));
    assert_eq!(certificates.reload(), Ok(false), "nothing changed");
    served.connect_tls(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_no_handshake_and_cut_no_connection() {
    let directory = tempfile::tempdir().unwrap();
    copy("server", directory.path());
    let served = Arc::new(Served::tls_at(patient(), directory.path(), ClientCertificates::Off).await);
    let certificates = served.certificates.clone().unwrap();
    let mut kept = served.connect_tls(&["http/1.1"]).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (served, stop, done) = (Arc::clone(&served), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut leaves = std::collections::HashSet::new();
                // One configuration, so that tickets of the certificate before are offered to the one after.
                let config = client_config(&["http/1.1"], None);
                while !stop.load(Ordering::Relaxed) {
                    let stream = handshake(served.address, config.clone()).await.unwrap();
                    leaves.insert(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec());
                    let mut raw = Raw::new(stream);
                    raw.send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
                    assert!(raw.rest().await.ends_with("GET /a 0"));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                leaves.len()
            })
        })
        .collect();
    for round in 0..40_usize {
        copy(["server-renewed", "server"][round % 2], directory.path());
        assert_eq!(certificates.reload(), Ok(true));
        let before = done.load(Ordering::Relaxed);
        served.until("handshakes", || done.load(Ordering::Relaxed) >= before + 2).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.await.unwrap(), 2, "both certificates were seen");
    }
    kept.send("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(kept.response().await.1, "GET /kept 0");
}

/// As orchestrators do it: the files are links through a directory link that is swapped.
#[tokio::test]
async fn a_swapped_link_is_noticed_and_the_new_certificate_served() {
    let directory = tempfile::tempdir().unwrap();
    let link = |to: &str| {
        let temporary = directory.path().join("..data_tmp");
        std::os::unix::fs::symlink(to, &temporary).unwrap();
        fs::rename(temporary, directory.path().join("..data")).unwrap();
    };
    for (version, from) in [("1", "server"), ("2", "server-renewed")] {
        fs::create_dir(directory.path().join(version)).unwrap();
        copy(from, &directory.path().join(version));
    }
    link("1");
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), directory.path().join(file)).unwrap();
    }
    let served = Served::tls_at(patient(), directory.path(), ClientCertificates::Off).await;
    let certificates = served.certificates.clone().unwrap();
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&certificates).watch(stop.clone()));
    // The watch begins in its own time: swap until it notices, each time to the other pair.
    let swapped = Instant::now();
    for version in ["2", "1"].into_iter().cycle() {
        link(version);
        let noticed = async {
            while certificates.reloads.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(3), noticed).await.is_ok() {
            break;
        }
        assert!(swapped.elapsed() < Duration::from_secs(15), "the swap was not noticed");
    }
    served.connect_tls(&[]).await;
    stop.cancel();
    watching.await.unwrap();
}

/// A served certificate that is watched, after the watch has begun.
async fn watched(directory: &Path) -> (Served, Arc<Certificates>) {
    copy("server", directory);
    let served = Served::tls_at(patient(), directory, ClientCertificates::Off).await;
    let certificates = served.certificates.clone().unwrap();
    tokio::spawn(Arc::clone(&certificates).watch(CancellationToken::new()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    (served, certificates)
}

#[tokio::test]
async fn a_pair_that_is_half_written_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let (served, certificates) = watched(directory.path()).await;
    for file in ["tls.crt", "tls.key"] {
        fs::copy(pki("server-renewed").join(file), directory.path().join(file)).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    served.until("reload", || certificates.reloads.load(Ordering::Relaxed) == 1).await;
    assert_eq!(certificates.failures.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_directory_that_is_never_quiet_is_read_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (_served, certificates) = watched(directory.path()).await;
    copy("server-renewed", directory.path());
    let begun = Instant::now();
    while certificates.reloads.load(Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(12), "not read");
        fs::write(directory.path().join("other"), "x").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_served_and_clients_refuse_it() {
    let served = Served::tls_at(Limits { ..patient() }, &pki("wrong-name"), ClientCertificates::Off).await;
    assert!(handshake(served.address, client_config(&[], None)).await.is_err());
}
