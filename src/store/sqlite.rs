//! The embedded store: one SQLite file on a local disk, for the gateway processes of one host.
//!
//! Takes the operations of [`Store`], gives them durability: `journal_mode=WAL`, `synchronous=FULL`, one thread that writes.
//! Writes are committed in groups, and a group is what queued while the group before it was being synced: no timer, one
//! `fsync` for many callers, and nobody is answered before the commit that holds their write. Reads go over connections of
//! their own and see everything that was acknowledged.
//!
//! The file has mode 0600 in a directory of mode 0700. Who opens it says how it is shared ([`Access`]): a gateway locks it
//! against others unless they all say that they share it, and a command works beside whoever runs. Every write takes the
//! file's write lock first (`BEGIN IMMEDIATE`), so operations are atomic across processes too. It does not encrypt.

mod files;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use tokio::sync::oneshot;

use self::files::{lock, private_database, private_directory, private_file};
use super::{Entry, Kind, Pending, Placed, Spent, Store, StoreError};
use crate::files::Held;
use crate::secret::Digest;

/// Name of the database below the state directory.
const FILE_NAME: &str = "firebreak.db";

/// `PRAGMA application_id`: "FRBK", so that another program's file is not taken for ours.
const APPLICATION_ID: i64 = 0x4652_424b;

/// `PRAGMA user_version`: the layout below.
const LAYOUT: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE entry (
        kind    INTEGER NOT NULL,
        key     BLOB    NOT NULL,
        value   BLOB    NOT NULL,
        expires INTEGER NOT NULL,
        owner   BLOB,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entry_owner ON entry (kind, owner) WHERE owner IS NOT NULL;
    CREATE INDEX entry_expires ON entry (expires);
";

/// Most writes that share one commit.
const GROUP: usize = 512;

/// How long a write waits for another process's.
const PATIENCE: Duration = Duration::from_secs(5);

/// Rows that one transaction of a sweep removes, so that a sweep does not hold up the writers behind it.
const SWEEP_STEP: u32 = 2_000;

/// How the file is shared between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// One process serves; another one that wants to is refused.
    Sole,
    /// Several processes of one host serve; one that wants it for itself is refused.
    Shared,
    /// A command that does one thing and ends, whoever serves.
    Beside,
}

/// [`Store`] over one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Worker,
    reader: Worker,
    /// Listings have a connection of their own: they are long, and no request waits for one.
    lister: Worker,
    /// Held as long as the store is open; the lock ends with it.
    _lock: Option<Held>,
}

impl SqliteStore {
    /// Opens or creates the store in `directory`, which is created when absent and set to mode 0700.
    ///
    /// # Errors
    /// The directory or a file in it cannot be used, another process has the store open, the file is damaged, or it was
    /// written by another program or a later version. The text names the file and what to do.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_as(directory, Access::Sole)
    }

    /// As [`Self::open`], shared with other processes as `access` says.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn open_as(directory: &Path, access: Access) -> Result<Self, StoreError> {
        private_directory(directory)?;
        let lock = lock(&directory.join("firebreak.lock"), access)?;
        let path = directory.join(FILE_NAME);
        private_database(&path)?;
        let write = connect(&path)?;
        {
            // One process at a time lays the file out and looks at it.
            let preparing = private_file(&directory.join("firebreak.prepare.lock"))?;
            preparing.lock().map_err(|error| StoreError(format!("the store cannot be prepared: {error}")))?;
            let _preparing = Held::new(preparing);
            prepare(&write, &path, access)?;
        }
        let reader = Worker::start("store-read", connect(&path)?, read_loop)?;
        let lister = Worker::start("store-list", connect(&path)?, read_loop)?;
        let writer = Worker::start("store-write", write, write_loop)?;
        Ok(Self { writer, reader, lister, _lock: lock })
    }
}

impl Store for SqliteStore {
    fn put_if_absent(&self, kind: Kind, key: Digest, entry: Entry, now: i64) -> Pending<'_, bool> {
        self.writer.run(move |connection| {
            if find(connection, kind, key, now)?.is_some() {
                return Ok(false);
            }
            write(connection, kind, key, &entry)?;
            Ok(true)
        })
    }

    fn replace(&self, kind: Kind, key: Digest, expected: Vec<u8>, entry: Entry, now: i64) -> Pending<'_, bool> {
        self.writer.run(move |connection| {
            if find(connection, kind, key, now)?.is_none_or(|live| live.value != expected) {
                return Ok(false);
            }
            write(connection, kind, key, &entry)?;
            Ok(true)
        })
    }

    fn put(&self, kind: Kind, key: Digest, entry: Entry) -> Pending<'_, ()> {
        self.writer.run(move |connection| write(connection, kind, key, &entry))
    }

    fn read(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>> {
        self.reader.run(move |connection| find(connection, kind, key, now))
    }

    fn take_once(&self, kind: Kind, key: Digest, now: i64) -> Pending<'_, Option<Entry>> {
        self.writer.run(move |connection| take(connection, kind, key, now))
    }

    fn rotate(&self, spent: Spent, gives: Vec<Placed>, now: i64) -> Pending<'_, Option<Entry>> {
        self.writer.run(move |connection| {
            let Spent { from, to, key, marker } = spent;
            let taken = take(connection, from, key, now)?;
            if taken.is_some() {
                write(connection, to, key, &marker)?;
                for (kind, key, entry) in &gives {
                    write(connection, *kind, *key, entry)?;
                }
            }
            Ok(taken)
        })
    }

    fn remove(&self, kind: Kind, key: Digest) -> Pending<'_, bool> {
        self.writer.run(move |connection| {
            let mut statement = connection.prepare_cached("DELETE FROM entry WHERE kind = ?1 AND key = ?2")?;
            Ok(statement.execute(params![code(kind), key.0])? > 0)
        })
    }

    fn remove_owned(&self, kind: Kind, owner: Digest) -> Pending<'_, u64> {
        self.writer.run(move |connection| {
            let mut statement = connection.prepare_cached("DELETE FROM entry WHERE kind = ?1 AND owner = ?2")?;
            Ok(statement.execute(params![code(kind), owner.0])? as u64)
        })
    }

    fn list(&self, kind: Kind, owner: Option<Digest>, now: i64, limit: usize) -> Pending<'_, Vec<(Digest, Entry)>> {
        self.lister.run(move |connection| {
            let sql = match owner {
                Some(_) => {
                    "SELECT value, expires, owner, key FROM entry
                     WHERE kind = ?1 AND expires > ?2 AND owner = ?4 ORDER BY key LIMIT ?3"
                }
                None => {
                    "SELECT value, expires, owner, key FROM entry
                     WHERE kind = ?1 AND expires > ?2 AND ?4 IS NULL ORDER BY key LIMIT ?3"
                }
            };
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![code(kind), now, limit, owner.map(|owner| owner.0)], |row| {
                Ok((Digest(row.get(3)?), entry(row)?))
            })?;
            rows.collect()
        })
    }

    fn sweep(&self, now: i64) -> Pending<'_, u64> {
        Box::pin(async move {
            let mut removed = 0;
            loop {
                let step = self
                    .writer
                    .run(move |connection| {
                        let mut statement = connection.prepare_cached(
                            "DELETE FROM entry WHERE (kind, key) IN
                             (SELECT kind, key FROM entry WHERE expires <= ?1 LIMIT ?2)",
                        )?;
                        statement.execute(params![now, SWEEP_STEP]).map(|removed| removed as u64)
                    })
                    .await?;
                removed += step;
                if step < u64::from(SWEEP_STEP) {
                    return Ok(removed);
                }
            }
        })
    }
}

/// One operation: runs on the worker's thread, gives what tells the caller. The caller is told only after the commit; when
/// it is dropped untold, the caller sees an error.
type Job = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Acknowledge> + Send>;
type Acknowledge = Box<dyn FnOnce() + Send>;

/// A thread that owns a connection.
#[derive(Debug)]
struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(
        name: &str,
        connection: Connection,
        work: fn(&Connection, &mpsc::Receiver<Job>),
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&connection, &queue))
            .map_err(|error| StoreError(format!("the store's thread `{name}` cannot be started: {error}")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<'_, T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let value = operation(connection)?;
            Ok(Box::new(move || drop(sender.send(value))))
        });
        let queued = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        Box::pin(async move {
            if !queued {
                return Err(StoreError("the store is closed".to_owned()));
            }
            receiver.await.map_err(|_| StoreError("the store could not do it; the operational log says why".to_owned()))
        })
    }
}

impl Drop for Worker {
    /// Ends the thread after what is queued, so that the file is closed before its lock is given up.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn write_loop(connection: &Connection, queue: &mpsc::Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let group: Vec<Job> = std::iter::once(first).chain(queue.try_iter().take(GROUP - 1)).collect();
        match commit(connection, group) {
            Ok(acknowledgements) => acknowledgements.into_iter().for_each(|acknowledge| acknowledge()),
            Err(error) => {
                tracing::error!(%error, "the store could not commit; nothing of the group was written");
                if !connection.is_autocommit()
                    && let Err(error) = connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "the store could not roll back");
                }
            }
        }
    }
}

fn commit(connection: &Connection, group: Vec<Job>) -> rusqlite::Result<Vec<Acknowledge>> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let acknowledgements = group.into_iter().map(|job| job(connection)).collect::<rusqlite::Result<Vec<_>>>()?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(acknowledgements)
}

fn read_loop(connection: &Connection, queue: &mpsc::Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        match job(connection) {
            Ok(acknowledge) => acknowledge(),
            Err(error) => tracing::error!(%error, "the store could not read"),
        }
    }
}

fn find(connection: &Connection, kind: Kind, key: Digest, now: i64) -> rusqlite::Result<Option<Entry>> {
    let mut statement = connection
        .prepare_cached("SELECT value, expires, owner FROM entry WHERE kind = ?1 AND key = ?2 AND expires > ?3")?;
    statement.query_row(params![code(kind), key.0, now], entry).optional()
}

fn take(connection: &Connection, kind: Kind, key: Digest, now: i64) -> rusqlite::Result<Option<Entry>> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM entry WHERE kind = ?1 AND key = ?2 AND expires > ?3 RETURNING value, expires, owner",
    )?;
    statement.query_row(params![code(kind), key.0, now], entry).optional()
}

fn write(connection: &Connection, kind: Kind, key: Digest, entry: &Entry) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO entry (kind, key, value, expires, owner) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires, owner = excluded.owner",
    )?;
    let owner = entry.owner.map(|owner| owner.0);
    statement.execute(params![code(kind), key.0, entry.value, entry.expires, owner]).map(drop)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let owner: Option<[u8; 32]> = row.get(2)?;
    Ok(Entry { value: row.get(0)?, expires: row.get(1)?, owner: owner.map(Digest) })
}

/// What stands for a kind in the file. Never change the number of a kind that was released.
const fn code(kind: Kind) -> i64 {
    kind as i64
}

fn connect(path: &PathBuf) -> Result<Connection, StoreError> {
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(connection)
    };
    open().map_err(|error| unusable(path, &error))
}

/// Checks that the file is sound and ours, or lays it out when it is new.
fn prepare(connection: &Connection, path: &Path, access: Access) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| unusable(path, &error);
    // Reads the whole file: a command that does one thing leaves that to those who serve.
    if access != Access::Beside {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(damaged(path, &verdict));
        }
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError(format!(
            "`{}` must be on a local disk that supports WAL, not `{mode}`",
            path.display()
        )));
    }
    let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(failed)?;
    let layout = number("user_version").map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    match (application, layout, tables) {
        (APPLICATION_ID, LAYOUT, _) => Ok(()),
        (0, 0, 0) => {
            let layout = format!(
                "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {LAYOUT}; {SCHEMA} COMMIT;"
            );
            connection.execute_batch(&layout).map_err(failed)
        }
        (APPLICATION_ID, other, _) => Err(StoreError(format!(
            "`{}` has layout {other}, expected {LAYOUT}: it was written by another version of firebreak",
            path.display()
        ))),
        _ => Err(StoreError(format!("`{}` is a database of another program", path.display()))),
    }
}

fn unusable(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => damaged(path, &error.to_string()),
        _ => StoreError(format!("`{}` cannot be used: {error}", path.display())),
    }
}

fn damaged(path: &Path, verdict: &str) -> StoreError {
    StoreError(format!(
        "`{}` is damaged ({verdict}): restore it from a backup, or move it away to start empty (all logins and grants end)",
        path.display()
    ))
}

#[cfg(test)]
mod tests;
