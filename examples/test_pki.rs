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
const PAST: Years = (2020, 2021);
const FUTURE: Years = (2120, 2126);
const HERE: &[&str] = &["localhost", "127.0.0.1", "::1"];
/// Serial number of the certificate in `revoked/`.
const REVOKED: u64 = 6;

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
    server(REVOKED, HERE, LONG)?.write_directory("revoked")?;
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

    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(LONG.0, 1, 1),
        next_update: date_time_ymd(LONG.1, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: date_time_ymd(LONG.0, 2, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    write("revoked.crl", &list.signed_by(&intermediate.issuer)?.pem()?)
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
        let (params, key) = (Self::params(name)?, KeyPair::generate()?);
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
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
