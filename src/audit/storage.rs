//! Where the log's bytes go: a trait as small as its promise, and its implementation with files.
//!
//! The promise: what [`Storage::append`] took is there after a crash if [`Storage::sync`] returned `Ok` afterwards, and
//! not before. The tests have an implementation that takes this word for word and loses everything else.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::files::Held;

/// A directory of append-only files. Names are those this module's siblings make, never from outside.
pub(super) trait Storage: Send {
    /// The names of all files.
    fn names(&mut self) -> io::Result<Vec<String>>;

    /// The file's size; `None` when there is no such file.
    fn size(&mut self, name: &str) -> io::Result<Option<u64>>;

    /// Makes an empty file whose name survives a crash. One that is there already and empty will do.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Appends to a file. After an error, an unknown part of `bytes` may have been appended.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes durable what was appended to a file. After an error nothing is known of what was appended since the last
    /// success, and a second attempt proves nothing: the kernel may have dropped the pages that it could not write.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Cuts a file to `size` bytes, durably. It is an error when the file is shorter.
    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()>;

    /// Puts a whole file in place of another. It may be lost in a crash, but never be half there.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Reads a file from `offset` on.
    fn reader(&mut self, name: &str, offset: u64) -> io::Result<Box<dyn BufRead + '_>>;

    /// The bytes that are still free for this log.
    fn available(&mut self) -> io::Result<u64>;
}

/// A directory, mode 0700, with files of mode 0600.
pub(super) struct Directory {
    path: PathBuf,
    /// The files that are being appended to: the last segment and the checkpoints.
    open: Vec<(String, File)>,
    /// Held as long as the log is open, so that no second process appends.
    _lock: Held,
}

/// The name of the file that is locked.
const LOCK: &str = "audit.lock";

impl Directory {
    /// Opens the directory, makes it if need be, and locks it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path: path.to_owned(), open: Vec::new(), _lock: Held::new(lock) })
    }

    fn appender(&mut self, name: &str) -> io::Result<&mut File> {
        if !self.open.iter().any(|(open, _)| open == name) {
            let file = OpenOptions::new().append(true).open(self.path.join(name))?;
            self.open.push((name.to_owned(), file));
        }
        let file = self.open.iter_mut().find(|(open, _)| open == name).map(|(_, file)| file);
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Storage for Directory {
    fn names(&mut self) -> io::Result<Vec<String>> {
        names(&self.path)
    }

    fn size(&mut self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.path.join(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        // A new segment ends the appending to the one before.
        self.open.clear();
        let path = self.path.join(name);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        if file.metadata()?.len() > 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        file.sync_all()?;
        File::open(&self.path)?.sync_all()?;
        self.open.push((name.to_owned(), file));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.appender(name)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.appender(name)?.sync_data()
    }

    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()> {
        // A new descriptor, so that an error which the old one has not reported yet cannot hide behind it.
        self.open.retain(|(open, _)| open != name);
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        if file.metadata()?.len() < size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than what was synced"));
        }
        file.set_len(size)?;
        file.sync_all()
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let scratch = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&scratch)?;
        file.write_all(bytes)?;
        fs::rename(scratch, self.path.join(name))
    }

    fn reader(&mut self, name: &str, offset: u64) -> io::Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(reader(&self.path, name, offset)?))
    }

    fn available(&mut self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The names of the files in a directory.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// A file of a directory from `offset` on.
pub(super) fn reader(directory: &Path, name: &str, offset: u64) -> io::Result<BufReader<File>> {
    let mut file = File::open(directory.join(name))?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(BufReader::with_capacity(256 * 1024, file))
}

/// What [`read_line`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole line, without its newline.
    Line,
    /// Bytes without a newline: a line that was not finished, or one longer than any line of this log.
    Torn,
    /// The end of the file.
    End,
}

/// No line is longer.
pub(super) const MAX_LINE: u64 = 4 * 1024 * 1024;

/// Reads the next line into `line`.
pub(super) fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<Found> {
    line.clear();
    reader.take(MAX_LINE).read_until(b'\n', line)?;
    Ok(match line.pop() {
        None => Found::End,
        Some(b'\n') => Found::Line,
        Some(other) => {
            line.push(other);
            Found::Torn
        }
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_second_process_cannot_have_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = Directory::open(directory.path()).unwrap();
        let second = Directory::open(directory.path()).map(drop).map_err(|error| error.kind());
        assert_eq!(second, Err(io::ErrorKind::WouldBlock));
        drop(first);
        assert!(Directory::open(directory.path()).is_ok());
    }

    #[test]
    fn nobody_else_may_read_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut storage = Directory::open(&path).unwrap();
        storage.create("a").unwrap();
        storage.replace("b", b"x").unwrap();
        for name in storage.names().unwrap() {
            assert_eq!(fs::metadata(path.join(&name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    /// A device that knows no sync says so when it is asked for one.
    #[test]
    fn a_sync_reaches_the_disk_and_a_new_file_is_synced() {
        let directory = tempfile::tempdir().unwrap();
        let mut storage = Directory::open(directory.path()).unwrap();
        for name in ["synced", "new"] {
            std::os::unix::fs::symlink("/dev/null", directory.path().join(name)).unwrap();
        }
        storage.append("synced", b"one\n").unwrap();
        assert_eq!(storage.sync("synced").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(storage.create("new").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn whoever_reads_a_file_that_is_replaced_has_all_of_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut storage = Directory::open(directory.path()).unwrap();
        storage.replace("a", b"old").unwrap();
        let mut old = File::open(directory.path().join("a")).unwrap();
        storage.replace("a", b"new").unwrap();
        let mut read = String::new();
        old.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), fs::read(directory.path().join("a")).unwrap()), ("old", b"new".to_vec()));
    }

    #[test]
    fn a_line_is_never_longer_than_the_longest() {
        let mut line = Vec::new();
        let long = [vec![b'x'; usize::try_from(MAX_LINE).unwrap()], b"\n".to_vec()].concat();
        assert_eq!(read_line(&mut long.as_slice(), &mut line).unwrap(), Found::Torn);
        assert_eq!(line.len() as u64, MAX_LINE);
        let (_, shorter) = long.split_at(1);
        assert_eq!(read_line(&mut &*shorter, &mut line).unwrap(), Found::Line);
    }

    #[test]
    fn a_file_is_cut_only_to_what_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let mut storage = Directory::open(directory.path()).unwrap();
        storage.create("a").unwrap();
        storage.append("a", b"one\ntwo\n").unwrap();
        storage.truncate("a", 4).unwrap();
        storage.append("a", b"three\n").unwrap();
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"one\nthree\n");
        assert!(storage.truncate("a", 100).is_err());
        assert!(storage.create("a").is_err(), "it is not empty");
        assert!(storage.available().unwrap() > 0);
    }
}
