//! Our keys: ES256 for access tokens, RS256 for `id_token`s and signed answers about tokens, AES-256-GCM-SIV for what only we read, in files of mode 0600.
//!
//! `access-NNNN.pem`, `id-NNNN.pem` and `seal-NNNN.pem`: the highest number that has begun signs and seals, all that are not
//! retired verify and open; the public halves are published. What is missing at start is generated, by one of however many
//! processes start at once. A running process looks at the directory every second and takes up what changed ([`Keys::reload`]);
//! what does not load leaves the keys in force.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::clock::Clock;
use crate::jose::{
    AccessTokenClaims, AccessTokenKey, AccessTokenProblem, IdTokenClaims, IdTokenKey, IntrospectionClaims, SignError,
    install_provider,
};

mod file;
mod nonces;
mod rotation;
mod sealing;

pub use file::KeyUse;
pub use rotation::{Listed, PUBLISHED_BEFORE, Phase, Rotated, Rotation, VERIFIES_AFTER, rotate};
pub use sealing::SealingKey;

/// The keys cannot be used; the text names the file and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysError(String);

/// The signing keys of the gateway.
pub struct Keys {
    directory: PathBuf,
    clock: Clock,
    current: ArcSwap<Loaded>,
    generation: AtomicU64,
}

/// The keys that are not retired, as the directory held them.
struct Loaded {
    access: Vec<Scheduled<AccessTokenKey>>,
    id: Vec<Scheduled<IdTokenKey>>,
    seal: Vec<Scheduled<SealingKey>>,
    jwks: Bytes,
    listed: Vec<Listed>,
    /// When the next of them is retired.
    until: i64,
    files: Vec<Stamp>,
}

/// What tells whether a file is another one: name, size, time of modification, inode.
type Stamp = (PathBuf, u64, (i64, i64), u64);

struct Scheduled<K> {
    key: K,
    signs_from: i64,
}

impl Keys {
    /// Reads the keys below `directory` and generates what is missing; creates the directory with mode 0700. Slow the first
    /// time (an RSA key is generated).
    ///
    /// # Errors
    /// The directory or a file cannot be read or written, a file is no PKCS#8 PEM key of the expected kind, or others than its
    /// owner may read it.
    pub fn open(directory: &Path) -> Result<Self, KeysError> {
        Self::open_at(directory, Clock::system())
    }

    /// [`Keys::open`] with a clock to tell which key signs.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn open_at(directory: &Path, clock: Clock) -> Result<Self, KeysError> {
        install_provider();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| KeysError(format!("`{}` cannot be created: {error}", directory.display())))?;
        rotation::begin(directory, &clock)?;
        Self::read_at(directory, clock)
    }

    /// Reads the keys below `directory` and writes nothing.
    ///
    /// # Errors
    /// As [`Keys::open`], and when there are none.
    pub fn read_at(directory: &Path, clock: Clock) -> Result<Self, KeysError> {
        install_provider();
        let loaded = Loaded::read(directory, &clock)?;
        Ok(Self {
            directory: directory.to_owned(),
            clock,
            current: ArcSwap::from_pointee(loaded),
            generation: AtomicU64::new(0),
        })
    }

    /// Looks at the keys below `directory` and writes nothing: how many there are. None is no mistake, they will be made.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn count_at(directory: &Path, clock: Clock) -> Result<usize, KeysError> {
        if !directory.exists() {
            return Ok(0);
        }
        if rotation::is_begun(directory)? {
            return Ok(Self::read_at(directory, clock)?.list().len());
        }
        KeyUse::ALL.iter().try_fold(0, |count, key_use| Ok(count + file::load(directory, *key_use)?.len()))
    }

    /// Takes up what changed in the directory; tells whether anything did.
    ///
    /// # Errors
    /// As [`Keys::open`]; the keys in force stay.
    pub fn reload(&self) -> Result<bool, KeysError> {
        let current = self.current.load();
        if current.until > self.clock.unix_seconds() && stamps(&self.directory)? == current.files {
            return Ok(false);
        }
        let loaded = Loaded::read(&self.directory, &self.clock)?;
        let changed = loaded.jwks != current.jwks;
        self.current.store(Arc::new(loaded));
        if changed {
            self.generation.fetch_add(1, Ordering::Release);
        }
        Ok(changed)
    }

    /// Makes the next keys, in turn.
    ///
    /// # Errors
    /// As [`rotate`].
    pub fn rotate(&self) -> Result<Rotated, KeysError> {
        rotate(&self.directory, &self.clock, Rotation::InTurn)
    }

    /// Whether the newest keys began `after` ago, less the time for which their successors are published before.
    #[must_use]
    pub fn is_due(&self, after: Duration) -> bool {
        let after = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
        let current = self.current.load();
        let newest = current.access.last().map_or(i64::MAX, |key| key.signs_from);
        newest.saturating_add(after).saturating_sub(PUBLISHED_BEFORE) <= self.clock.unix_seconds()
    }

    /// `text` under the key that seals now, to be opened with the same `purpose` alone. `None`: that failed.
    #[must_use]
    pub fn seal(&self, purpose: &[u8], text: Vec<u8>) -> Option<Vec<u8>> {
        signing(&self.current.load().seal, &self.clock)?.seal(purpose, text)
    }

    /// What was sealed for `purpose` under a key that is not retired: for an hour, whatever is rotated meanwhile.
    #[must_use]
    pub fn unseal(&self, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.current.load().seal.iter().rev().find_map(|scheduled| scheduled.key.unseal(purpose, sealed))
    }

    /// The public keys as a JWK Set (RFC 7517 section 5).
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        self.current.load().jwks.clone()
    }

    /// Every key in the directory with its phase.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        self.current.load().listed.clone()
    }

    /// Changes whenever a key came or went: what was verified under another number has to be verified again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Signs an access token.
    ///
    /// # Errors
    /// As [`AccessTokenClaims::sign`].
    pub fn sign_access_token(&self, claims: &AccessTokenClaims) -> Result<String, SignError> {
        let current = self.current.load();
        claims.sign(signing(&current.access, &self.clock).ok_or(SignError::Failed)?)
    }

    /// Signs an `id_token`.
    ///
    /// # Errors
    /// As [`IdTokenClaims::sign`].
    pub fn sign_id_token(&self, claims: &IdTokenClaims) -> Result<String, SignError> {
        let current = self.current.load();
        claims.sign(signing(&current.id, &self.clock).ok_or(SignError::Failed)?)
    }

    /// Signs an answer about a token.
    ///
    /// # Errors
    /// As [`IntrospectionClaims::sign`].
    pub fn sign_introspection(&self, claims: &IntrospectionClaims<'_>) -> Result<String, SignError> {
        let current = self.current.load();
        claims.sign(signing(&current.id, &self.clock).ok_or(SignError::Failed)?)
    }

    /// [`AccessTokenClaims::verify`] with the keys that are not retired.
    ///
    /// # Errors
    /// As [`AccessTokenClaims::verify`].
    pub fn verify_access_token(
        &self,
        token: &str,
        issuer: &str,
        audience: &str,
        clock: &Clock,
    ) -> Result<AccessTokenClaims, AccessTokenProblem> {
        let current = self.current.load();
        let keys = current.access.iter().map(|scheduled| &scheduled.key);
        AccessTokenClaims::verify(token, keys, (issuer, audience), clock.unix_seconds())
    }
}

/// The key that signs now.
fn signing<'k, K>(keys: &'k [Scheduled<K>], clock: &Clock) -> Option<&'k K> {
    let now = clock.unix_seconds();
    keys.iter().rfind(|key| key.signs_from <= now).or(keys.first()).map(|scheduled| &scheduled.key)
}

impl Loaded {
    fn read(directory: &Path, clock: &Clock) -> Result<Self, KeysError> {
        let files = stamps(directory)?;
        let now = clock.unix_seconds();
        let (mut published, mut listed, mut until) = (Vec::new(), Vec::new(), i64::MAX);
        let (mut access, mut id, mut seal) = (Vec::new(), Vec::new(), Vec::new());
        for key_use in KeyUse::ALL {
            let read = file::load(directory, key_use)?;
            let from: Vec<i64> = read.iter().map(|file| file.signs_from).collect();
            for (file, phase) in read.iter().zip(rotation::phases(&from, now)) {
                let secret = file.secret.as_slice();
                let signs_from = file.signs_from;
                let (kid, public) = match key_use {
                    KeyUse::Access => {
                        let key = AccessTokenKey::from_pkcs8(secret)
                            .ok_or_else(|| file.error("is no PKCS#8 key on the curve P-256"))?;
                        let named = (key.kid().to_owned(), Some(key.jwk().clone()));
                        if phase != Phase::Retired {
                            access.push(Scheduled { key, signs_from });
                        }
                        named
                    }
                    KeyUse::Id => {
                        let key = IdTokenKey::from_pkcs8(secret)
                            .ok_or_else(|| file.error("is no PKCS#8 RSA key of 2048 bits or more"))?;
                        let named = (key.kid().to_owned(), Some(key.jwk().clone()));
                        if phase != Phase::Retired {
                            id.push(Scheduled { key, signs_from });
                        }
                        named
                    }
                    KeyUse::Seal => {
                        let key = SealingKey::new(secret).ok_or_else(|| file.error("is no sealing key"))?;
                        if phase != Phase::Retired {
                            seal.push(Scheduled { key, signs_from });
                        }
                        ("-".to_owned(), None)
                    }
                };
                match phase {
                    Phase::Next { .. } => until = until.min(signs_from),
                    Phase::Verifying { until: last } => until = until.min(last),
                    Phase::Signing | Phase::Retired => {}
                }
                if phase != Phase::Retired {
                    published.extend(public);
                }
                listed.push(Listed { key_use, file: file.name(), kid, phase });
            }
        }
        if access.is_empty() || id.is_empty() || seal.is_empty() {
            return Err(KeysError(format!("`{}` holds no keys for some use", directory.display())));
        }
        let jwks = serde_json::to_vec(&serde_json::json!({ "keys": published }))
            .map_err(|error| KeysError(format!("the public keys cannot be written as JSON: {error}")))?;
        Ok(Self { access, id, seal, jwks: Bytes::from(jwks), listed, until, files })
    }
}

/// The files of the keys as they lie there now.
fn stamps(directory: &Path) -> Result<Vec<Stamp>, KeysError> {
    let mut stamps = Vec::new();
    for key_use in KeyUse::ALL {
        for (_, path) in file::find(directory, key_use)? {
            // One that went away in between is not there.
            if let Ok(metadata) = path.metadata() {
                stamps.push((path, metadata.len(), (metadata.mtime(), metadata.mtime_nsec()), metadata.ino()));
            }
        }
    }
    Ok(stamps)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        let access: Vec<_> = current.access.iter().map(|scheduled| scheduled.key.kid()).collect();
        let id: Vec<_> = current.id.iter().map(|scheduled| scheduled.key.kid()).collect();
        f.debug_struct("Keys").field("access", &access).field("id", &id).finish_non_exhaustive()
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeysError {}

#[cfg(test)]
mod tests;
