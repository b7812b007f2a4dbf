//! Client certificates: verified up to an authority of `ca.crt` (RFC 5280 section 6), and looked up in the revocation lists of
//! `crl.pem` when they are wanted (RFC 5280 section 6.3).
//!
//! Default deny: every certificate of the chain but the authority's own must be told of by a list of its issuer. A chain whose
//! issuer has no list is refused, and so is every chain of a list whose next update is overdue. Nothing is fetched.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};

use super::{Files, certificates, day};
use crate::clock::Clock;
use crate::config::{ClientCertificates, Tls};

/// The time by which certificates and lists are judged in a handshake.
#[derive(Debug)]
pub(super) struct Time(pub(super) Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.unix_seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// What judges client certificates.
pub(super) struct Verifier {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// When the first of its lists must be replaced, seconds since the epoch; 0 without lists.
    pub(super) next_update: i64,
}

/// What judges client certificates; `None` when none are asked for.
pub(super) fn verifier(
    files: &Files,
    settings: &Tls,
    clock: &Clock,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Verifier>, String> {
    let Some(authorities) = &files.authorities else { return Ok(None) };
    let mut roots = rustls::RootCertStore::empty();
    for authority in certificates(authorities).map_err(|text| format!("`ca.crt` {text}"))? {
        roots.add(authority).map_err(|error| format!("`ca.crt` is no authority: {error}"))?;
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let mut first = 0;
    if let Some(pem) = &files.revocations {
        let lists = lists(pem).map_err(|text| format!("`crl.pem` {text}"))?;
        first = next_update(&lists, clock).map_err(|text| format!("`crl.pem` {text}"))?;
        verifier = verifier.with_crls(lists).enforce_revocation_expiration();
    }
    verifier = match settings.client_certificates {
        ClientCertificates::Required => verifier,
        ClientCertificates::Off | ClientCertificates::Optional => verifier.allow_unauthenticated(),
    };
    let verifier =
        verifier.build().map_err(|error| format!("`ca.crt` or `crl.pem` cannot be used to verify clients: {error}"))?;
    Ok(Some(Verifier { verifier, next_update: first }))
}

fn lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is not PEM: {error}"))?;
    if lists.is_empty() { Err("holds no revocation list in PEM".to_owned()) } else { Ok(lists) }
}

/// When the first of the lists must be replaced, in seconds since the epoch; an error when one is overdue, which would refuse
/// every client.
fn next_update(lists: &[CertificateRevocationListDer<'_>], clock: &Clock) -> Result<i64, String> {
    let mut first = i64::MAX;
    for list in lists {
        let (_, list) = x509_parser::parse_x509_crl(list).map_err(|_| "holds what is no X.509 revocation list")?;
        let next =
            list.next_update().ok_or_else(|| format!("holds a list of `{}` without a next update", list.issuer()))?;
        let next = next.timestamp();
        if next <= clock.unix_seconds() {
            return Err(format!(
                "holds a list of `{}` that was to be replaced by {}; fetch the new one",
                list.issuer(),
                day(next)
            ));
        }
        first = first.min(next);
    }
    Ok(first)
}
