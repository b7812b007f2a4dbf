//! Makes the test PKI in `certs/` anew: `cargo run --example test_pki`. See `certs/README.md` for what each file is for.
//!
//! All of it is for tests. Nothing here is used by the gateway when it runs.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// First year, last year.
type Years = (i32, i32);

const LONG: Years = (2026, 2126);
/// Of revocation lists: shorter than the certificates, so that it can be told which of them ended.
const LISTED: Years = (2026, 2100);
const PAST: Years = (2020, 2021);
const FUTURE: Years = (2120, 2126);
const HERE: &[&str] = &["localhost", "127.0.0.1", "::1"];
/// Serial number of `clients/revoked`.
const REVOKED: u64 = 14;
/// Serial number of the intermediate authority.
const INTERMEDIATE: u64 = 100;

fn main() -> Outcome<()> {
    let root = Authority::root("Firebreak test root, never trust")?;
    let other = Authority::root("Firebreak test root of somebody else, never trust")?;
    let intermediate = root.subordinate("Firebreak test intermediate, never trust")?;

    write("ca.crt", &root.pem)?;
    write("other-ca.crt", &other.pem)?;
    write("intermediate.crt", &intermediate.pem)?;

    let server =
        |serial, names: &[&str], years| leaf(&intermediate, serial, names, years, ExtendedKeyUsagePurpose::ServerAuth);
    let good = server(1, HERE, LONG)?;
    let renewed = server(2, HERE, LONG)?;
    good.write_directory("server")?;
    renewed.write_directory("server-renewed")?;
    server(3, HERE, PAST)?.write_directory("expired")?;
    server(4, HERE, FUTURE)?.write_directory("not-yet-valid")?;
    server(5, &["wrong.example"], LONG)?.write_directory("wrong-name")?;
    Pair { chain: good.chain, key: renewed.key }.write_directory("key-mismatch")?;
    for directory in ["server", "server-renewed"] {
        write(&format!("{directory}/ca.crt"), &root.pem)?;
    }

    let client = |authority: &Authority, serial, name, years| {
        leaf(authority, serial, &[name], years, ExtendedKeyUsagePurpose::ClientAuth)
    };
    client(&intermediate, 11, "client.example", LONG)?.write_client("good")?;
    client(&intermediate, 12, "client.example", PAST)?.write_client("expired")?;
    client(&other, 13, "client.example", LONG)?.write_client("of-other-ca")?;
    client(&intermediate, REVOKED, "client.example", LONG)?.write_client("revoked")?;

    write("crl/root.pem", &root.revokes(None, LISTED)?)?;
    write("crl/root-later.pem", &root.revokes(Some(INTERMEDIATE), LISTED)?)?;
    write("crl/intermediate.pem", &intermediate.revokes(None, LISTED)?)?;
    write("crl/intermediate-later.pem", &intermediate.revokes(Some(REVOKED), LISTED)?)?;
    write("crl/intermediate-overdue.pem", &intermediate.revokes(None, PAST)?)
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn root(name: &str) -> Outcome<Self> {
        let (params, key) = (Self::params(name)?, KeyPair::generate()?);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    fn subordinate(&self, name: &str) -> Outcome<Self> {
        let (mut params, key) = (Self::params(name)?, KeyPair::generate()?);
        params.serial_number = Some(SerialNumber::from(INTERMEDIATE));
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its revocation list with at most one serial number, as PEM: from the first of `years` to the last.
    fn revokes(&self, serial: Option<u64>, years: Years) -> Outcome<String> {
        let (this_update, next_update) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let revoked = |serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: this_update,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serial.map(revoked).into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }

    fn params(name: &str) -> Outcome<CertificateParams> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(PAST.0, 1, 1), date_time_ymd(LONG.1, 1, 1));
        Ok(params)
    }
}

/// A certificate with its chain, and a key.
struct Pair {
    chain: String,
    key: String,
}

fn leaf(
    authority: &Authority,
    serial: u64,
    names: &[&str],
    (first, last): Years,
    usage: ExtendedKeyUsagePurpose,
) -> Outcome<Pair> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.serial_number = Some(SerialNumber::from(serial));
    params.distinguished_name.push(DnType::CommonName, "Firebreak test certificate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
    let certificate = params.signed_by(&key, &authority.issuer)?.pem();
    Ok(Pair { chain: certificate + &authority.pem, key: key.serialize_pem() })
}

impl Pair {
    fn write_directory(&self, directory: &str) -> Outcome<()> {
        write(&format!("{directory}/tls.crt"), &self.chain)?;
        write(&format!("{directory}/tls.key"), &self.key)
    }

    fn write_client(&self, name: &str) -> Outcome<()> {
        write(&format!("clients/{name}.crt"), &self.chain)?;
        write(&format!("clients/{name}.key"), &self.key)
    }
}

fn write(name: &str, text: &str) -> Outcome<()> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs").join(name);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    Ok(fs::write(path, text)?)
}
