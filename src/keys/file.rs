//! One key in one file of mode 0600: `access-NNNN.pem` or `id-NNNN.pem`, PKCS#8 in PEM (RFC 7468), or `seal-NNNN.pem`, 32 bytes
//! in the same armour under a name of ours. A line before the armour says from when on the key is used; a file without one is
//! used from its time of modification on.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::KeysError;
use crate::files::refuse_shared;
use crate::random;

const SIGNS_FROM: &str = "signs from ";

/// Bytes of a sealing key.
const SEAL_KEY_LEN: usize = 32;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Access tokens, ES256.
    Access,
    /// `id_token`s, RS256.
    Id,
    /// What only this gateway reads: links to further pages.
    Seal,
}

impl KeyUse {
    /// All uses.
    pub const ALL: [Self; 3] = [Self::Access, Self::Id, Self::Seal];

    /// How the files and the list call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Id => "id",
            Self::Seal => "seal",
        }
    }

    /// What the armour says.
    fn label(self) -> &'static str {
        match self {
            Self::Access | Self::Id => "PRIVATE KEY",
            Self::Seal => "SEALING KEY",
        }
    }

    fn generate(self) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let der = match self {
            Self::Access => generate_ec(),
            Self::Id => generate_rsa(),
            Self::Seal => Some(random::bytes::<SEAL_KEY_LEN>().to_vec()),
        };
        der.map(Zeroizing::new).ok_or_else(|| KeysError("no signing key could be generated".to_owned()))
    }
}

/// A key as it lies in its file.
pub(super) struct KeyFile {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    /// Seconds since the epoch.
    pub(super) signs_from: i64,
    /// PKCS#8 of a signing key, the bytes of a sealing key.
    pub(super) secret: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    pub(super) fn error(&self, what: &str) -> KeysError {
        KeysError(format!("`{}` {what}", self.path.display()))
    }

    /// The file's name without its directory.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// The files of one use in the order of their numbers.
pub(super) fn find(directory: &Path, key_use: KeyUse) -> Result<Vec<(u32, PathBuf)>, KeysError> {
    let failed = |error| KeysError(format!("`{}` cannot be read: {error}", directory.display()));
    let mut numbered = Vec::new();
    for file in std::fs::read_dir(directory).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let number = path.file_name().and_then(|file| file.to_str()).and_then(|file| {
            file.strip_prefix(key_use.name())?.strip_prefix('-')?.strip_suffix(".pem")?.parse::<u32>().ok()
        });
        if let Some(number) = number {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered)
}

/// The keys of one use in the order of their numbers. One that a rotation removes in this moment is not there.
pub(super) fn load(directory: &Path, key_use: KeyUse) -> Result<Vec<KeyFile>, KeysError> {
    let files = find(directory, key_use)?.into_iter();
    let read = files.map(|(number, path)| (path.clone(), read(key_use, number, path)));
    read.filter(|(path, read)| read.is_ok() || path.exists()).map(|(_, read)| read).collect()
}

fn read(key_use: KeyUse, number: u32, path: PathBuf) -> Result<KeyFile, KeysError> {
    let failed = |what: String| KeysError(format!("`{}` {what}", path.display()));
    let unreadable = |error: std::io::Error| failed(format!("cannot be read: {error}"));
    let metadata = path.metadata().map_err(unreadable)?;
    refuse_shared(&metadata).map_err(failed)?;
    let text = Zeroizing::new(std::fs::read(&path).map_err(unreadable)?);
    let signs_from = match explained(&text) {
        None => metadata.mtime(),
        Some(time) => time
            .parse::<Timestamp>()
            .map_err(|_| failed("has `signs from` without a time such as `2026-01-31T12:00:00Z`".to_owned()))?
            .as_second(),
    };
    let secret = match key_use {
        KeyUse::Access | KeyUse::Id => PrivatePkcs8KeyDer::from_pem_slice(&text)
            .map(|der| Zeroizing::new(der.secret_pkcs8_der().to_vec()))
            .map_err(|_| failed("is no PEM file with a PKCS#8 `PRIVATE KEY`".to_owned()))?,
        KeyUse::Seal => sealing_key(&text)
            .ok_or_else(|| failed(format!("is no PEM file with a `SEALING KEY` of {SEAL_KEY_LEN} bytes")))?,
    };
    Ok(KeyFile { number, path, signs_from, secret })
}

/// The bytes between the armour of a sealing key, which is no kind that RFC 7468 knows.
fn sealing_key(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("-----BEGIN SEALING KEY-----\n")?;
    let (encoded, _) = rest.split_once("-----END SEALING KEY-----")?;
    let key = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    (key.len() == SEAL_KEY_LEN).then_some(key)
}

/// What the line before the armour says.
fn explained(text: &[u8]) -> Option<&str> {
    let lines = text.split(|byte| *byte == b'\n').map(|line| std::str::from_utf8(line).unwrap_or_default());
    lines.take_while(|line| !line.starts_with("-----")).find_map(|line| line.strip_prefix(SIGNS_FROM)).map(str::trim)
}

/// Generates the key with this number. It is either there as a whole or not at all.
pub(super) fn generate(directory: &Path, key_use: KeyUse, number: u32, signs_from: i64) -> Result<PathBuf, KeysError> {
    let path = directory.join(format!("{}-{number:04}.pem", key_use.name()));
    let der = key_use.generate()?;
    let from = Timestamp::from_second(signs_from).unwrap_or(Timestamp::UNIX_EPOCH);
    let label = key_use.label();
    let mut pem = Zeroizing::new(format!("{SIGNS_FROM}{from}\n-----BEGIN {label}-----\n"));
    let encoded = Zeroizing::new(STANDARD.encode(&*der));
    for line in encoded.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    let _ = writeln!(pem, "-----END {label}-----");
    write(&path, pem.as_bytes())
        .map_err(|error| KeysError(format!("`{}` cannot be written: {error}", path.display())))?;
    Ok(path)
}

fn write(path: &Path, pem: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(pem)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

fn generate_ec() -> Option<Vec<u8>> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
    Some(pair.to_pkcs8v1().ok()?.as_ref().to_vec())
}

fn generate_rsa() -> Option<Vec<u8>> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
    Some(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'static>>::as_der(&pair).ok()?.as_ref().to_vec())
}
