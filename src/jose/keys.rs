//! Our signing keys: ES256 for access tokens, RS256 for `id_token`s, in PKCS#8 PEM files of mode 0600.
//!
//! `access-NNNN.pem` and `id-NNNN.pem`: the highest number signs, all of them verify and are published. A key is rotated by
//! adding the next number, and retired by removing its file when its last token has expired. What is missing at start is
//! generated.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use zeroize::Zeroizing;

use super::jwk::{ec_thumbprint, rsa_thumbprint};
use super::jws::{Jws, encode, name};

/// The keys cannot be used; the text names the file and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysError(String);

/// A token was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// The access token would be longer than [`super::MAX_ACCESS_TOKEN_BYTES`].
    TooLarge {
        /// How long it would be.
        bytes: usize,
    },
    /// The key or the serialiser failed.
    Failed,
}

/// The signing keys of the gateway.
pub struct Keys {
    access: Vec<AccessKey>,
    id: Vec<IdKey>,
    jwks: Bytes,
}

struct AccessKey {
    kid: String,
    pair: EcdsaKeyPair,
    public: DecodingKey,
}

struct IdKey {
    kid: String,
    pair: RsaKeyPair,
}

impl Keys {
    /// Reads the keys below `directory` and generates what is missing; creates the directory with mode 0700. Slow the first
    /// time (an RSA key is generated).
    ///
    /// # Errors
    /// The directory or a file cannot be read or written, a file is no PKCS#8 PEM key of the expected kind, or others than its
    /// owner may read it.
    pub fn open(directory: &Path) -> Result<Self, KeysError> {
        super::install_provider();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| KeysError(format!("`{}` cannot be created: {error}", directory.display())))?;
        let mut published = Vec::new();
        let access = load(directory, "access", generate_ec)?
            .iter()
            .map(|file| AccessKey::read(file, &mut published))
            .collect::<Result<Vec<_>, _>>()?;
        let id = load(directory, "id", generate_rsa)?
            .iter()
            .map(|file| IdKey::read(file, &mut published))
            .collect::<Result<Vec<_>, _>>()?;
        let jwks = serde_json::to_vec(&serde_json::json!({ "keys": published }))
            .map_err(|error| KeysError(format!("the public keys cannot be written as JSON: {error}")))?;
        Ok(Self { access, id, jwks: Bytes::from(jwks) })
    }

    /// The public keys as a JWK Set (RFC 7517 section 5).
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }

    pub(super) fn sign_es256(&self, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
        let key = self.access.last().ok_or(SignError::Failed)?;
        let signed = signed_part(Algorithm::ES256, typ, &key.kid, claims)?;
        let signature = key.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| SignError::Failed)?;
        Ok(format!("{signed}.{}", encode(signature)))
    }

    pub(super) fn sign_rs256(&self, typ: &str, claims: &impl Serialize) -> Result<String, SignError> {
        let key = self.id.last().ok_or(SignError::Failed)?;
        let signed = signed_part(Algorithm::RS256, typ, &key.kid, claims)?;
        let mut signature = vec![0; key.pair.public_modulus_len()];
        key.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| SignError::Failed)?;
        Ok(format!("{signed}.{}", encode(signature)))
    }

    /// Whether the key of access tokens that `kid` names signed it, by ES256.
    pub(super) fn signed_es256(&self, jws: &Jws<'_>) -> bool {
        let Some(kid) = jws.header.kid.as_deref() else { return false };
        self.access.iter().find(|key| key.kid == kid).is_some_and(|key| jws.is_signed_by(&key.public, Algorithm::ES256))
    }
}

impl AccessKey {
    fn read(file: &KeyFile, published: &mut Vec<serde_json::Value>) -> Result<Self, KeysError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, file.der.secret_pkcs8_der())
            .map_err(|_| file.error("is no PKCS#8 key on the curve P-256"))?;
        let point = pair.public_key().as_ref();
        let (x, y) = match point.split_first() {
            Some((4, coordinates)) if coordinates.len() == 64 => coordinates.split_at(32),
            _ => return Err(file.error("has no uncompressed public point")),
        };
        let (x, y) = (encode(x), encode(y));
        let kid = ec_thumbprint("P-256", &x, &y);
        published.push(serde_json::json!({
            "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256", "x": x, "y": y,
        }));
        let public = DecodingKey::from_ec_der(point);
        Ok(Self { kid, pair, public })
    }
}

impl IdKey {
    fn read(file: &KeyFile, published: &mut Vec<serde_json::Value>) -> Result<Self, KeysError> {
        let pair = RsaKeyPair::from_pkcs8(file.der.secret_pkcs8_der())
            .map_err(|_| file.error("is no PKCS#8 RSA key of 2048 bits or more"))?;
        let components = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let (n, e) = (encode(&components.n), encode(&components.e));
        let kid = rsa_thumbprint(&n, &e);
        published.push(serde_json::json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e,
        }));
        Ok(Self { kid, pair })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access: Vec<_> = self.access.iter().map(|key| &key.kid).collect();
        let id: Vec<_> = self.id.iter().map(|key| &key.kid).collect();
        f.debug_struct("Keys").field("access", &access).field("id", &id).finish_non_exhaustive()
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeysError {}

/// `base64url(header) . base64url(claims)`
fn signed_part(algorithm: Algorithm, typ: &str, kid: &str, claims: &impl Serialize) -> Result<String, SignError> {
    let header = serde_json::json!({ "alg": name(algorithm), "typ": typ, "kid": kid });
    let claims = serde_json::to_vec(claims).map_err(|_| SignError::Failed)?;
    Ok(format!("{}.{}", encode(header.to_string()), encode(claims)))
}

struct KeyFile {
    path: PathBuf,
    der: PrivatePkcs8KeyDer<'static>,
}

impl KeyFile {
    fn error(&self, what: &str) -> KeysError {
        KeysError(format!("`{}` {what}", self.path.display()))
    }
}

/// The keys `<use>-NNNN.pem` in ascending order; generates the first one when there is none.
fn load(directory: &Path, name: &str, generate: fn() -> Option<Vec<u8>>) -> Result<Vec<KeyFile>, KeysError> {
    let mut paths = find(directory, name)
        .map_err(|error| KeysError(format!("`{}` cannot be read: {error}", directory.display())))?;
    if paths.is_empty() {
        let path = directory.join(format!("{name}-0001.pem"));
        let der = Zeroizing::new(generate().ok_or_else(|| KeysError("no signing key could be generated".to_owned()))?);
        write(&path, &der).map_err(|error| KeysError(format!("`{}` cannot be written: {error}", path.display())))?;
        paths.push(path);
    }
    paths.into_iter().map(read).collect()
}

fn find(directory: &Path, name: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut numbered = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        let number = path
            .file_name()
            .and_then(|file| file.to_str())
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".pem")?.parse::<u32>().ok());
        if let Some(number) = number {
            numbered.push((number, path));
        }
    }
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, path)| path).collect())
}

fn read(path: PathBuf) -> Result<KeyFile, KeysError> {
    let failed = |what: String| KeysError(format!("`{}` {what}", path.display()));
    let mode = path.metadata().map_err(|error| failed(format!("cannot be read: {error}")))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(failed(format!("has mode {:04o}, expected 0600: others than its owner may use it", mode & 0o7777)));
    }
    let der = PrivatePkcs8KeyDer::from_pem_file(&path)
        .map_err(|_| failed("is no PEM file with a PKCS#8 `PRIVATE KEY`".to_owned()))?;
    Ok(KeyFile { path, der })
}

/// Writes a key so that it is either there as a whole or not at all.
fn write(path: &Path, der: &[u8]) -> std::io::Result<()> {
    let mut pem = Zeroizing::new(String::from("-----BEGIN PRIVATE KEY-----\n"));
    let encoded = Zeroizing::new(STANDARD.encode(der));
    for line in encoded.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn generate_ec() -> Option<Vec<u8>> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
    Some(pair.to_pkcs8v1().ok()?.as_ref().to_vec())
}

fn generate_rsa() -> Option<Vec<u8>> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
    Some(AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'static>>::as_der(&pair).ok()?.as_ref().to_vec())
}

#[cfg(test)]
mod tests;
