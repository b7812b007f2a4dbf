//! When which key signs, and how the next one comes.
//!
//! A key is published [`PUBLISHED_BEFORE`] its first token, so that whoever keeps `/jwks` for as long as its `Cache-Control`
//! allows, and every process on this directory, knows it by then. It stays published and goes on verifying until the last
//! token that it signed has expired, and is retired after that.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;

use super::KeysError;
use super::file::{self, KeyFile, KeyUse};
use crate::clock::Clock;
use crate::files::Held;

/// Seconds between the publication of a key and its first token. Longer than `max-age` of `/jwks`.
pub const PUBLISHED_BEFORE: i64 = 600;
/// Seconds for which a key goes on verifying when the next one signs: the longest life of a token, and a minute for clocks
/// that differ.
pub const VERIFIES_AFTER: i64 = 3600 + 60;

/// Where a key is in its life. Times are seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Published; signs from then on.
    Next {
        /// When it begins.
        from: i64,
    },
    /// Signs.
    Signing,
    /// Signs no more; its tokens are good until then.
    Verifying {
        /// When its last token has expired.
        until: i64,
    },
    /// Its last token has expired: neither published nor trusted.
    Retired,
}

/// The phases at `now` of keys that sign from these times on, in the order of their numbers: the highest number that has begun
/// signs, and the lowest when none has.
pub(super) fn phases(signs_from: &[i64], now: i64) -> Vec<Phase> {
    let signing = signs_from.iter().rposition(|from| *from <= now).unwrap_or(0);
    let phase = |(index, from): (usize, &i64)| match index.cmp(&signing) {
        std::cmp::Ordering::Greater => Phase::Next { from: *from },
        std::cmp::Ordering::Equal => Phase::Signing,
        std::cmp::Ordering::Less => {
            let ended = signs_from.iter().skip(index + 1).min().copied().unwrap_or(i64::MAX);
            let until = ended.saturating_add(VERIFIES_AFTER);
            if until <= now { Phase::Retired } else { Phase::Verifying { until } }
        }
    };
    signs_from.iter().enumerate().map(phase).collect()
}

/// Why keys are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It is time: nothing that was issued ends early.
    InTurn,
    /// Somebody else may have the keys: all of them are removed, and every token that they signed is refused.
    Compromised,
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Names of the files that were made.
    pub made: Vec<String>,
    /// Names of the files that were removed.
    pub removed: Vec<String>,
    /// When the new keys begin to sign, seconds since the epoch.
    pub signs_from: i64,
}

/// One key, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is for.
    pub key_use: KeyUse,
    /// Name of its file.
    pub file: String,
    /// Its RFC 7638 thumbprint.
    pub kid: String,
    /// Where it is in its life.
    pub phase: Phase,
}

/// Makes the first keys in `directory`, of each use that has none. Of processes that start at the same moment one makes them,
/// and the others find them.
///
/// # Errors
/// The directory or a file cannot be read or written.
pub(super) fn begin(directory: &Path, clock: &Clock) -> Result<(), KeysError> {
    if is_begun(directory)? {
        return Ok(());
    }
    let _lock = locked(directory)?;
    for key_use in KeyUse::ALL {
        // Looked at again: another process may have made it while this one waited.
        if lacks(directory, key_use)? {
            file::generate(directory, key_use, 1, clock.unix_seconds())?;
        }
    }
    Ok(())
}

/// Whether there is a key for each use.
pub(super) fn is_begun(directory: &Path) -> Result<bool, KeysError> {
    KeyUse::ALL.iter().try_fold(true, |begun, key_use| Ok(begun && !lacks(directory, *key_use)?))
}

fn lacks(directory: &Path, key_use: KeyUse) -> Result<bool, KeysError> {
    file::find(directory, key_use).map(|files| files.is_empty())
}

/// Makes the next keys in `directory` and removes those that are retired. Processes that run take it up within a second.
///
/// # Errors
/// The directory or a file cannot be read or written, or the next keys are waiting already.
pub fn rotate(directory: &Path, clock: &Clock, why: Rotation) -> Result<Rotated, KeysError> {
    let _lock = locked(directory)?;
    let now = clock.unix_seconds();
    let mut present = Vec::new();
    for key_use in KeyUse::ALL {
        let files = file::load(directory, key_use)?;
        if why == Rotation::InTurn
            && let Some(from) = waiting(&files, now)
        {
            let from = Timestamp::from_second(from).unwrap_or(Timestamp::UNIX_EPOCH);
            return Err(KeysError(format!("a rotation is under way already: the next keys sign from {from} on")));
        }
        present.push((key_use, files));
    }
    let signs_from = match why {
        Rotation::InTurn => now + PUBLISHED_BEFORE,
        Rotation::Compromised => now,
    };
    let mut rotated = Rotated { made: Vec::new(), removed: Vec::new(), signs_from };
    for (key_use, files) in &present {
        let number = files.last().map_or(0, |file| file.number) + 1;
        let path = file::generate(directory, *key_use, number, signs_from)?;
        rotated.made.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    for file in present.iter().flat_map(|(_, files)| gone(files, now, why)) {
        std::fs::remove_file(&file.path).map_err(|error| file.error(&format!("cannot be removed: {error}")))?;
        rotated.removed.push(file.name());
    }
    Ok(rotated)
}

/// When the key begins that does not sign yet.
fn waiting(files: &[KeyFile], now: i64) -> Option<i64> {
    let from: Vec<i64> = files.iter().map(|file| file.signs_from).collect();
    phases(&from, now).into_iter().find_map(|phase| match phase {
        Phase::Next { from } => Some(from),
        Phase::Signing | Phase::Verifying { .. } | Phase::Retired => None,
    })
}

fn gone(files: &[KeyFile], now: i64, why: Rotation) -> impl Iterator<Item = &KeyFile> {
    let from: Vec<i64> = files.iter().map(|file| file.signs_from).collect();
    files.iter().zip(phases(&from, now)).filter_map(move |(file, phase)| {
        let goes = match why {
            Rotation::InTurn => phase == Phase::Retired,
            Rotation::Compromised => true,
        };
        goes.then_some(file)
    })
}

/// Held while files are made and removed: two at once would make two keys.
fn locked(directory: &Path) -> Result<Held, KeysError> {
    let path = directory.join("rotation.lock");
    let lock = || {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        Ok(Held::new(file))
    };
    lock().map_err(|error: std::io::Error| KeysError(format!("`{}` cannot be locked: {error}", directory.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    // O9, E22
    #[test]
    fn one_key_signs_at_any_time_and_the_one_before_verifies_until_its_last_token_expired() {
        let from = [1_000, 5_000];
        let until = 5_000 + VERIFIES_AFTER;
        assert_eq!(phases(&from, 4_999), [Phase::Signing, Phase::Next { from: 5_000 }]);
        assert_eq!(phases(&from, 5_000), [Phase::Verifying { until }, Phase::Signing]);
        assert_eq!(phases(&from, until - 1), [Phase::Verifying { until }, Phase::Signing]);
        assert_eq!(phases(&from, until), [Phase::Retired, Phase::Signing]);
    }

    #[test]
    fn the_first_key_signs_although_its_time_is_to_come() {
        assert_eq!(phases(&[9_000], 1), [Phase::Signing]);
        assert_eq!(phases(&[9_000, 9_500], 1), [Phase::Signing, Phase::Next { from: 9_500 }]);
        assert_eq!(phases(&[], 1), []);
    }

    #[test]
    fn a_key_that_was_overtaken_before_it_signed_is_counted_from_the_first_that_replaced_it() {
        // The third began before the second: the first was replaced by the third.
        let from = [0, 8_000, 5_000];
        let until = 5_000 + VERIFIES_AFTER;
        assert_eq!(
            phases(&from, 6_000),
            [Phase::Verifying { until }, Phase::Verifying { until: 5_000 + VERIFIES_AFTER }, Phase::Signing]
        );
    }
}
