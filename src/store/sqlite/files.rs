//! The files of the store: private to the user, and locked against a second process that does not share them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::Access;
use crate::files::Held;
use crate::store::StoreError;

/// Makes the directory, or sees to it that it has mode 0700.
pub(super) fn private_directory(directory: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| {
        StoreError(format!("the state directory `{}` cannot be made private (mode 0700): {error}", directory.display()))
    };
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let mode = directory.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Creates the database with mode 0600 before SQLite does with another; SQLite gives its `-wal` and `-shm` the same mode. One
/// that exists is not opened: closing it would give up the locks that SQLite has on it in this process.
pub(super) fn private_database(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError(format!("`{}` cannot be opened: {error}", path.display()));
    if !path.exists() {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if let Err(error) = created
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(failed(error));
        }
    }
    if path.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

/// Opens the file, made with mode 0600 where there is none.
pub(super) fn private_file(path: &Path) -> Result<File, StoreError> {
    let failed = |error: std::io::Error| StoreError(format!("`{}` cannot be opened: {error}", path.display()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(file)
}

/// Locks the file as `access` says; `None` where that needs no lock.
pub(super) fn lock(path: &Path, access: Access) -> Result<Option<Held>, StoreError> {
    let file = private_file(path)?;
    let locked = match access {
        Access::Sole => file.try_lock(),
        Access::Shared => file.try_lock_shared(),
        Access::Beside => return Ok(None),
    };
    match locked {
        Ok(()) => Ok(Some(Held::new(file))),
        Err(TryLockError::WouldBlock) => Err(StoreError(format!(
            "`{}` is locked: another firebreak process has this state directory open; stop it or give this one its own, \
             or let all of them say `shared = true` in [state]",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(StoreError(format!("`{}` cannot be locked: {error}", path.display()))),
    }
}
