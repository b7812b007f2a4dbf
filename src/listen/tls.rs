//! TLS of the public listener: certificate, key, client authorities and their revocation lists from one directory, watched and
//! swapped under running connections (RFC 8446, RFC 5246; TLS 1.2 and 1.3 with aws-lc-rs).
//!
//! A certificate that does not load refuses the start; at a reload the old one stays and the failure is said. The directory
//! is watched, not the files: orchestrators swap a link. Watches can miss, so it is also polled.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{ClientCertificates, Tls};

mod clients;

/// How long after the last change in the directory a reload waits, so that a half-written pair is not read.
const QUIET: Duration = Duration::from_millis(500);
/// How many times it is waited for: a directory that never is quiet is read all the same.
const MOST_QUIET: u32 = 20;
/// How often the directory is looked at even when nothing was announced.
const POLL: Duration = Duration::from_secs(30);

/// The TLS configuration in force.
#[derive(Debug)]
pub struct Certificates {
    settings: Tls,
    clock: Clock,
    current: ArcSwap<Loaded>,
    /// Seconds since the epoch at which the leaf certificate ends.
    pub not_after: AtomicI64,
    /// Seconds since the epoch at which the first of the revocation lists must be replaced; 0 without `crl`.
    pub crl_next_update: AtomicI64,
    /// Reloads that succeeded.
    pub reloads: AtomicU64,
    /// Reloads that failed.
    pub failures: AtomicU64,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    files: Files,
}

#[derive(Debug, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
    revocations: Option<Vec<u8>>,
}

/// What the files give.
struct Built {
    config: ServerConfig,
    not_after: i64,
    crl_next_update: i64,
}

/// Why a certificate directory cannot be used; says which file and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateError(pub String);

impl std::fmt::Display for CertificateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CertificateError {}

impl Certificates {
    /// Loads the directory.
    ///
    /// # Errors
    /// When a file is missing or unreadable, the PEM is none, the key does not belong to the certificate, the certificate is
    /// not valid now, or client certificates are wanted and `ca.crt` has no authority, or `crl.pem` no list that is current.
    pub fn load(settings: &Tls) -> Result<Self, CertificateError> {
        Self::load_at(settings, Clock::system())
    }

    /// [`Certificates::load`] with a clock to judge the validity by.
    ///
    /// # Errors
    /// As [`Certificates::load`].
    pub fn load_at(settings: &Tls, clock: Clock) -> Result<Self, CertificateError> {
        let files = Files::read(settings)?;
        let built = build(&files, settings, &clock)?;
        Ok(Self {
            settings: settings.clone(),
            clock,
            current: ArcSwap::from_pointee(Loaded { config: Arc::new(built.config), files }),
            not_after: AtomicI64::new(built.not_after),
            crl_next_update: AtomicI64::new(built.crl_next_update),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// The configuration for the next handshake.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Looks at the files again and swaps when they changed and load; otherwise the old ones stay in force.
    ///
    /// # Errors
    /// As [`Certificates::load`].
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let outcome = Files::read(&self.settings).and_then(|files| {
            if files == self.current.load().files {
                return Ok(false);
            }
            let built = build(&files, &self.settings, &self.clock)?;
            self.current.store(Arc::new(Loaded { config: Arc::new(built.config), files }));
            self.not_after.store(built.not_after, Ordering::Relaxed);
            self.crl_next_update.store(built.crl_next_update, Ordering::Relaxed);
            Ok(true)
        });
        match &outcome {
            Ok(true) => self.reloads.fetch_add(1, Ordering::Relaxed),
            Ok(false) => 0,
            Err(_) => self.failures.fetch_add(1, Ordering::Relaxed),
        };
        outcome
    }

    /// Reloads on every change of the directory until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        self.watch_every(POLL, stop).await;
    }

    async fn watch_every(self: Arc<Self>, poll: Duration, stop: CancellationToken) {
        let (announce, mut changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            let _ = announce.try_send(());
        })
        .and_then(|mut watcher| {
            watcher.watch(&self.settings.directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "the certificate directory cannot be watched; it is polled instead");
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(poll) => {}
                Some(()) = changes.recv() => {
                    // The first event may come before the new content: wait until the directory is quiet.
                    for _ in 0..MOST_QUIET {
                        if tokio::time::timeout(QUIET, changes.recv()).await.is_err() {
                            break;
                        }
                    }
                }
            }
            match self.reload() {
                Ok(true) => tracing::info!("certificate reloaded"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "certificate not reloaded; the old one stays in force"),
            }
        }
    }
}

impl Files {
    fn read(settings: &Tls) -> Result<Self, CertificateError> {
        let read = |name: &str| {
            let path = settings.directory.join(name);
            std::fs::read(&path)
                .map_err(|error| CertificateError(format!("`{}` cannot be read: {error}", path.display())))
        };
        Ok(Self {
            certificate: read("tls.crt")?,
            key: read("tls.key")?,
            authorities: match settings.client_certificates {
                ClientCertificates::Off => None,
                ClientCertificates::Optional | ClientCertificates::Required => Some(read("ca.crt")?),
            },
            revocations: settings.crl.then(|| read("crl.pem")).transpose()?,
        })
    }
}

fn build(files: &Files, settings: &Tls, clock: &Clock) -> Result<Built, CertificateError> {
    let wrong = |text: String| CertificateError(format!("in `{}`: {text}", settings.directory.display()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates(&files.certificate).map_err(|text| wrong(format!("`tls.crt` {text}")))?;
    let not_after = valid_until(&chain, clock).map_err(|text| wrong(format!("`tls.crt` {text}")))?;
    let key = PrivateKeyDer::from_pem_slice(&files.key)
        .map_err(|error| wrong(format!("`tls.key` is no private key in PEM: {error}")))?;
    let certified = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| wrong(format!("`tls.key` does not belong to `tls.crt`: {error}")))?;
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(clients::Time(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| wrong(format!("TLS cannot be set up: {error}")))?;
    let (builder, crl_next_update) = match clients::verifier(files, settings, clock, provider).map_err(wrong)? {
        None => (builder.with_no_client_auth(), 0),
        Some(clients) => (builder.with_client_cert_verifier(clients.verifier), clients.next_update),
    };
    let mut config = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Tickets die with the configuration, so a reload ends resumption of sessions made with the old certificate.
    config.ticketer =
        aws_lc_rs::Ticketer::new().map_err(|error| wrong(format!("session tickets cannot be set up: {error}")))?;
    Ok(Built { config, not_after, crl_next_update })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is not PEM: {error}"))?;
    if chain.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(chain) }
}

/// When the leaf certificate ends, in seconds since the epoch; an error when it is not valid now, which every client would
/// refuse.
fn valid_until(chain: &[CertificateDer<'_>], clock: &Clock) -> Result<i64, String> {
    let leaf = chain.first().ok_or("holds no certificate in PEM")?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|_| "begins with what is no X.509 certificate")?;
    let (first, last) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    let now = clock.unix_seconds();
    if now < first {
        return Err(format!("is not valid before {}; look at the clock, or use another certificate", day(first)));
    }
    if now > last {
        return Err(format!("ended on {}; renew it", day(last)));
    }
    Ok(last)
}

fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use std::fs;
    use std::path::Path;

    use super::*;

    /// What is announced of the directory is not what happens behind its links.
    #[tokio::test]
    async fn a_change_that_is_not_announced_is_found_all_the_same() {
        let (directory, behind) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |from: &str| {
            for file in ["tls.crt", "tls.key"] {
                let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs").join(from).join(file);
                fs::write(behind.path().join(file), fs::read(from).unwrap()).unwrap();
            }
        };
        write("server");
        for file in ["tls.crt", "tls.key"] {
            std::os::unix::fs::symlink(behind.path().join(file), directory.path().join(file)).unwrap();
        }
        let settings =
            Tls { directory: directory.path().to_owned(), client_certificates: ClientCertificates::Off, crl: false };
        let certificates = Arc::new(Certificates::load(&settings).unwrap());
        let (poll, stop) = (Duration::from_millis(20), CancellationToken::new());
        let watching = tokio::spawn(Arc::clone(&certificates).watch_every(poll, stop.clone()));
        write("server-renewed");
        let found = async {
            while certificates.reloads.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(poll).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), found).await.is_ok());
        stop.cancel();
        watching.await.unwrap();
    }
}
