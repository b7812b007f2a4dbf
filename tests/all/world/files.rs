//! The files that a world runs on: its configuration, its keys, its certificate.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use firebreak::clock::Clock;
use firebreak::config::Config;
use firebreak::keys::Keys;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;

use crate::upstream::{Resource, data};

/// The credential that the upstream wants; nobody but the upstream may see it.
pub(crate) const UPSTREAM_CREDENTIAL: &str = "Basic CANARY-credential";

/// The signing and sealing keys of the tests: making RSA keys takes long.
static KEYS: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    Keys::open(&directory.path().join("keys")).unwrap();
    directory
});

/// How a world differs from the ordinary one.
#[expect(clippy::struct_excessive_bools, reason = "each is a difference of its own")]
pub(crate) struct Settings {
    pub(crate) resources: Vec<Resource>,
    /// What the upstream says it is; `None`: it has no CapabilityStatement for the time being.
    pub(crate) software: Option<&'static str>,
    pub(crate) clock: Clock,
    /// More lines of configuration, below `[fhir]`.
    pub(crate) fhir: String,
    /// More sections of configuration.
    pub(crate) sections: String,
    /// Where the site's own policies are.
    pub(crate) policies: PathBuf,
    /// Lines below `[server]`.
    pub(crate) server: String,
    pub(crate) tls: bool,
    /// Failed credentials that an address is forgiven per minute.
    pub(crate) failed_credentials: u32,
    /// Whether the users are there whose tokens the tests sign themselves.
    pub(crate) strangers: bool,
    /// Whether the store is never asked again after the start.
    pub(crate) deaf: bool,
    /// Whether every answer is kept, for somebody who looks through all of them.
    pub(crate) keeps: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resources: data::sample(),
            software: Some("CANARY-product"),
            clock: Clock::system(),
            fhir: String::new(),
            sections: String::new(),
            policies: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions/policies"),
            server: String::new(),
            tls: false,
            failed_credentials: 10_000,
            strangers: true,
            deaf: false,
            keeps: false,
        }
    }
}

/// The hash of a password that nobody knows: for the user whose tokens the tests sign themselves.
const NOT_A_PASSWORD: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI";

fn other_client(client_id: &str) -> String {
    format!("[[client]]\nclient_id = \"{client_id}\"\nredirect_uris = [\"https://{client_id}.example.org/cb\"]\n")
}

fn other_user(username: &str) -> String {
    format!("[[user]]\nusername = \"{username}\"\npassword_hash = \"{NOT_A_PASSWORD}\"\n")
}

/// The configuration of a world whose files are below `directory`; it is written there too, for commands.
pub(crate) fn configuration(directory: &Path, upstream: &str, settings: &Settings) -> Config {
    let text = configuration_text(directory, upstream, settings);
    fs::write(directory.join("firebreak.toml"), &text).unwrap();
    match Config::parse(&text, directory) {
        Ok(config) => config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// The same as its file has it.
pub(super) fn configuration_text(directory: &Path, upstream: &str, settings: &Settings) -> String {
    let tls = if settings.tls { "[tls]\ndirectory = \"tls\"\nclient_certificates = \"optional\"" } else { "" };
    let credential = directory.join("upstream.secret");
    fs::write(&credential, UPSTREAM_CREDENTIAL).unwrap();
    fs::set_permissions(&credential, fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\norigin = \"https://gw.example.org\"\ndanger_plain_http = {}\n\
         drain_delay = \"0ms\"\ndrain_grace = \"500ms\"\n{}\n{tls}\n\
         [fhir]\nupstream = \"{upstream}\"\nupstream_authorization_file = \"upstream.secret\"\n{}\n\
         [state]\ndirectory = \"state\"\n[policies]\ndirectory = \"{}\"\n\
         [limits]\nfailed_credentials_per_minute = {}\n{}\n\
         [[client]]\nclient_id = \"app\"\nredirect_uris = [\"https://app.example.org/cb\"]\n\
         scope = \"openid fhirUser offline_access launch/patient patient/*.rs\"\n\
         grant_types = [\"authorization_code\", \"refresh_token\"]\n\
         {}{}",
        !settings.tls,
        settings.server,
        settings.fhir,
        settings.policies.display(),
        settings.failed_credentials,
        settings.sections,
        ["app2", "bulk1", "backend", "nobody"].map(other_client).concat(),
        if settings.strangers { ["somebody", "else"].map(other_user).concat() } else { String::new() },
    )
}

/// A directory for a gateway's files, in memory where there is such a place, with the keys of the tests.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let from = KEYS.path().join("keys");
    copy(&from, &directory.path().join("state/keys"));
    directory
}

fn copy(from: &Path, to: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes a certification authority and certificates of it; gives a client's configuration that trusts it alone, and has a
/// certificate of it, which lies in `client.der`.
pub(super) fn certificate(directory: &Path) -> Arc<rustls::ClientConfig> {
    fs::create_dir_all(directory).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server =
        CertificateParams::new(vec!["gw.example.org".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    fs::write(directory.join("tls.crt"), server.pem()).unwrap();
    fs::write(directory.join("ca.crt"), authority.pem()).unwrap();
    let client_key = KeyPair::generate().unwrap();
    let mut client = CertificateParams::new(Vec::new()).unwrap();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.signed_by(&client_key, &authority).unwrap();
    fs::write(directory.join("client.der"), client.der()).unwrap();
    fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(directory.join("tls.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![client.der().clone()], PrivateKeyDer::try_from(client_key.serialize_der()).unwrap())
        .unwrap();
    Arc::new(config)
}
