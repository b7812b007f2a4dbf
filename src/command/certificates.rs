//! Certificates that `init` and `demo` make for themselves: one authority of our own and one server certificate below it.
//!
//! For trying out, and for sites that distribute the authority. The key of the authority is not kept: nobody can issue
//! another certificate with it.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::clock::Clock;

/// How long the server certificate is valid, days; browsers refuse more than 825.
const DAYS: i64 = 800;

/// What [`make`] made, as PEM.
#[derive(Debug)]
pub struct SelfMade {
    /// The certificate of the authority: what clients are told to trust.
    pub authority: String,
    /// The server certificate and the authority's: `tls.crt`.
    pub chain: String,
    /// The private key of the server certificate: `tls.key`.
    pub key: crate::secret::Secret,
}

/// Makes an authority that is constrained to these names and addresses, and a server certificate for them.
///
/// # Errors
/// When a name cannot stand in a certificate.
pub fn make(names: &[String], clock: &Clock) -> Result<SelfMade, rcgen::Error> {
    let today = clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let midnight = |days: i64| {
        let date = today.saturating_add(jiff::Span::new().days(days));
        date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let (from, until) = (midnight(-1), midnight(DAYS));
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "Firebreak self-made authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: names.iter().map(|name| subtree(name)).collect(),
        excluded_subtrees: Vec::new(),
    });
    (authority.not_before, authority.not_after) = (from, until);
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut server = CertificateParams::new(names.to_vec())?;
    server.distinguished_name.push(DnType::CommonName, "Firebreak");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = (from, until);
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?.pem();
    Ok(SelfMade { chain: certificate + &authority_pem, authority: authority_pem, key: key.serialize_pem().into() })
}

fn subtree(name: &str) -> GeneralSubtree {
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => GeneralSubtree::IpAddress(rcgen::CidrSubnet::V4(address.octets(), [255; 4])),
        Ok(IpAddr::V6(address)) => GeneralSubtree::IpAddress(rcgen::CidrSubnet::V6(address.octets(), [255; 16])),
        Err(_) => GeneralSubtree::DnsName(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use std::fs;

    use super::*;
    use crate::config::{ClientCertificates, Tls};
    use crate::listen::Certificates;

    #[test]
    fn what_was_made_loads_now_and_not_after_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(1_795_000_000);
        let made = make(&["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()], &clock).unwrap();
        fs::write(directory.path().join("tls.crt"), made.chain).unwrap();
        fs::write(directory.path().join("tls.key"), made.key.expose()).unwrap();
        let client_certificates = ClientCertificates::Off;
        let tls = Tls { directory: directory.path().to_owned(), client_certificates, crl: false };
        assert!(Certificates::load_at(&tls, clock.clone()).is_ok());
        clock.advance((DAYS + 1) * 86_400);
        assert!(Certificates::load_at(&tls, clock).unwrap_err().to_string().contains("ended on"));
    }

    #[test]
    fn an_authority_vouches_for_its_server_alone() {
        use rustls::client::danger::ServerCertVerifier;
        use rustls_pki_types::pem::PemObject;
        use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
        let clock = Clock::fixed(1_795_000_000);
        let made = make(&["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()], &clock).unwrap();
        let authority = CertificateDer::from_pem_slice(made.authority.as_bytes()).unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(made.chain.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(chain.get(1), Some(&authority), "the chain is whole");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.clone()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_795_000_000));
        let is_good = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            verifier.verify_server_cert(chain.first().unwrap(), &[], &name, &[], now).is_ok()
        };
        assert!(is_good("localhost") && is_good("127.0.0.1") && is_good("::1") && !is_good("fhir.example"));
        let holds = |part: &[u8]| authority.windows(part.len()).any(|window| window == part);
        // basicConstraints: an authority, none below it; nameConstraints is there (RFC 5280 sections 4.2.1.9 and 4.2.1.10).
        assert!(holds(&[0x30, 6, 1, 1, 0xff, 2, 1, 0]) && holds(&[6, 3, 0x55, 0x1d, 0x1e]));
        const { assert!(DAYS <= 825, "browsers refuse more") };
    }
}
