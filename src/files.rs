//! Files that are one process's own: keys that nobody else may use, and locks.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

/// Refuses the file of a key that others than this process may use: what it owns is for it alone (0600); what another user owns, as
/// in a mounted secret, its group may read besides (0440).
///
/// # Errors
/// The mode that it has and what was expected, to be put behind the file's name.
pub fn refuse_shared(metadata: &Metadata) -> Result<(), String> {
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    match forbidden(owner == rustix::process::geteuid().as_raw()) & mode {
        0 => Ok(()),
        _ => Err(format!(
            "has mode {mode:04o}, expected 0600, or 0440 where another user owns it: others than its owner may use it"
        )),
    }
}

/// The bits that the mode of a key must not have.
fn forbidden(owned: bool) -> u32 {
    if owned { 0o077 } else { 0o037 }
}

/// A file that is locked as long as this lives. The lock is given up, and not only the file closed: a process that is being started
/// at that moment has a copy of the descriptor until it runs, and with it the lock.
#[derive(Debug)]
pub struct Held(File);

impl Held {
    /// Keeps the lock that `file` has.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self(file)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it is next, which does the same where nobody has a copy.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn a_key_is_for_its_owner_alone_or_mounted_for_a_group_to_read() {
        let refused = |owned, mode| forbidden(owned) & mode != 0;
        for good in [0o400, 0o600, 0o700] {
            assert!(!refused(true, good) && !refused(false, good), "{good:o}");
        }
        for mounted in [0o440, 0o640] {
            assert!(refused(true, mounted) && !refused(false, mounted), "{mounted:o}");
        }
        for bad in [0o460, 0o450, 0o444, 0o604, 0o602, 0o601] {
            assert!(refused(true, bad) && refused(false, bad), "{bad:o}");
        }
    }

    #[test]
    fn a_file_of_this_process_must_be_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = |mode| {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
            refuse_shared(&file.as_file().metadata().unwrap())
        };
        assert_eq!(told(0o600), Ok(()));
        assert!(
            told(0o440).unwrap_err().starts_with("has mode 0440, expected 0600, or 0440 where another user owns it")
        );
    }

    #[test]
    fn a_lock_ends_with_what_holds_it_whoever_has_a_copy_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (first, second) = (File::open(file.path()).unwrap(), File::open(file.path()).unwrap());
        first.try_lock().unwrap();
        let copy = first.try_clone().unwrap();
        let held = Held::new(first);
        assert!(second.try_lock().is_err());
        drop(held);
        assert!(second.try_lock().is_ok());
        drop(copy);
    }
}
