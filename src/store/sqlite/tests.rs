#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::*;

fn entry(value: &str) -> Entry {
    Entry { value: value.as_bytes().to_vec(), expires: 100, owner: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_does_what_every_store_must_do() {
    let directory = tempfile::tempdir().unwrap();
    crate::store::conformance::run(Arc::new(SqliteStore::open(directory.path()).unwrap())).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let key = Digest::of("key");
    {
        let store = SqliteStore::open(directory.path()).unwrap();
        store.put(Kind::Grant, key, entry("kept")).await.unwrap();
    }
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.read(Kind::Grant, key, 1).await.unwrap(), Some(entry("kept")));
}

#[tokio::test]
async fn a_second_handle_on_the_same_directory_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(directory.path()).unwrap();
    let StoreError(text) = SqliteStore::open(directory.path()).unwrap_err();
    assert!(text.contains("another firebreak process has this state directory open"), "{text}");
    drop(first);
    SqliteStore::open(directory.path()).unwrap();
}

#[tokio::test]
async fn processes_that_share_the_directory_open_it_together_and_none_has_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let key = Digest::of("key");
    let first = SqliteStore::open_as(directory.path(), Access::Shared).unwrap();
    let second = SqliteStore::open_as(directory.path(), Access::Shared).unwrap();
    let StoreError(text) = SqliteStore::open(directory.path()).unwrap_err();
    assert!(text.contains("let all of them say `shared = true`"), "{text}");
    first.put(Kind::Grant, key, entry("a")).await.unwrap();
    assert_eq!(second.take_once(Kind::Grant, key, 1).await.unwrap(), Some(entry("a")));
    assert_eq!(first.read(Kind::Grant, key, 1).await.unwrap(), None);
    drop((first, second));
    let sole = SqliteStore::open(directory.path()).unwrap();
    assert!(SqliteStore::open_as(directory.path(), Access::Shared).is_err());
    drop(sole);
}

#[tokio::test]
async fn a_command_works_beside_the_process_that_serves() {
    let directory = tempfile::tempdir().unwrap();
    let serving = SqliteStore::open(directory.path()).unwrap();
    let (theirs, ours) = (Digest::of("theirs"), Digest::of("ours"));
    serving.put(Kind::Grant, theirs, entry("a")).await.unwrap();
    let beside = SqliteStore::open_as(directory.path(), Access::Beside).unwrap();
    assert_eq!(beside.read(Kind::Grant, theirs, 1).await.unwrap(), Some(entry("a")));
    beside.put(Kind::Grant, ours, entry("b")).await.unwrap();
    drop(beside);
    assert_eq!(serving.read(Kind::Grant, ours, 1).await.unwrap(), Some(entry("b")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_share_a_new_directory_at_the_same_moment_both_open_it() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let open = |access| {
            let path = directory.path().to_owned();
            tokio::task::spawn_blocking(move || SqliteStore::open_as(&path, access))
        };
        let (first, second, third) = tokio::join!(open(Access::Shared), open(Access::Shared), open(Access::Beside));
        for opened in [first, second, third] {
            opened.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn the_files_are_private_even_in_a_directory_that_was_not() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
    for name in [FILE_NAME, "firebreak.lock", "firebreak.prepare.lock"] {
        std::fs::write(state.join(name), b"").unwrap();
        std::fs::set_permissions(state.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    let store = SqliteStore::open(&state).unwrap();
    store.put(Kind::Grant, Digest::of("key"), entry("a")).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let files: Vec<_> = std::fs::read_dir(&state).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_at_start_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    {
        let store = SqliteStore::open(directory.path()).unwrap();
        for number in 0..200 {
            store.put(Kind::Grant, Digest::of(&number.to_string()), entry(&"x".repeat(500))).await.unwrap();
        }
    }
    let sound = std::fs::read(&path).unwrap();
    let mut broken = sound.clone();
    for byte in broken.iter_mut().skip(4_096).take(8_192) {
        *byte = 0xa5;
    }
    for bytes in [&b"this is no database at all, it is a text of some length....."[..], &broken] {
        std::fs::write(&path, bytes).unwrap();
        let StoreError(text) = SqliteStore::open(directory.path()).unwrap_err();
        assert!(text.contains("firebreak.db` is damaged"), "{text}");
    }
    std::fs::write(&path, sound).unwrap();
    SqliteStore::open(directory.path()).unwrap();
}

#[tokio::test]
async fn a_database_of_another_program_or_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let StoreError(text) = SqliteStore::open(directory.path()).unwrap_err();
    assert!(text.contains("of another program"), "{text}");
    std::fs::remove_file(&path).unwrap();
    drop(SqliteStore::open(directory.path()).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    let StoreError(text) = SqliteStore::open(directory.path()).unwrap_err();
    assert!(text.contains("layout 7, expected 1"), "{text}");
}

#[tokio::test]
async fn an_operation_that_fails_writes_nothing_of_its_group_and_the_next_works() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let key = Digest::of("key");
    let failed = store.writer.run(move |connection| {
        write(connection, Kind::Grant, key, &entry("half"))?;
        connection.execute("INSERT INTO nowhere VALUES (1)", [])
    });
    assert!(failed.await.is_err());
    assert_eq!(store.read(Kind::Grant, key, 1).await.unwrap(), None);
    store.put(Kind::Grant, key, entry("whole")).await.unwrap();
    assert_eq!(store.read(Kind::Grant, key, 1).await.unwrap(), Some(entry("whole")));
}

#[tokio::test]
async fn a_sweep_removes_everything_that_expired_in_however_many_steps() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let all = 2 * SWEEP_STEP + 1;
    let fill = store.writer.run(move |connection| {
        (0..all).try_for_each(|number| write(connection, Kind::Code, Digest::of(&number.to_string()), &entry("a")))
    });
    fill.await.unwrap();
    store.put(Kind::Code, Digest::of("lives"), Entry { expires: 101, ..entry("a") }).await.unwrap();
    assert_eq!(store.sweep(100).await.unwrap(), u64::from(all));
    assert_eq!(store.list(Kind::Code, None, 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_commit_is_synced_before_it_is_acknowledged_and_no_schema_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let pragma = |name: &'static str| {
        store.writer.run(move |connection| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)))
    };
    // https://www.sqlite.org/pragma.html#pragma_synchronous: with WAL, 2 (FULL) syncs the log after each transaction.
    assert_eq!(pragma("synchronous").await.unwrap(), 2);
    assert_eq!(pragma("trusted_schema").await.unwrap(), 0);
    let mode = store
        .reader
        .run(|connection| connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0)));
    assert_eq!(mode.await.unwrap(), "wal");
}

#[tokio::test]
async fn writes_that_queue_during_a_commit_share_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let wal = directory.path().join("firebreak.db-wal");
    let (begun, running) = mpsc::channel();
    let (go_on, held) = mpsc::channel::<()>();
    let holding = store.writer.run(move |_| {
        let _ = begun.send(());
        let _ = held.recv();
        Ok(())
    });
    running.recv().unwrap();
    let before = wal.metadata().unwrap().len();
    let puts: Vec<_> =
        (0..200).map(|number| store.put(Kind::Grant, Digest::of(&number.to_string()), entry("a"))).collect();
    go_on.send(()).unwrap();
    holding.await.unwrap();
    for put in puts {
        put.await.unwrap();
    }
    // Each commit writes a frame of 4120 bytes or more for each page that it changes.
    let written = wal.metadata().unwrap().len() - before;
    assert!(written < 100 * 4_120, "{written} bytes for 200 writes");
}

#[tokio::test]
async fn a_write_waits_for_that_of_another_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let other = Connection::open(directory.path().join(FILE_NAME)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM entry").unwrap();
    let put = store.put(Kind::Grant, Digest::of("key"), entry("a"));
    std::thread::sleep(Duration::from_millis(200));
    other.execute_batch("COMMIT").unwrap();
    put.await.unwrap();
    // One that looks first, too: what it saw is not past when it writes.
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM entry").unwrap();
    let put = store.put_if_absent(Kind::Grant, Digest::of("key"), entry("b"), 0);
    std::thread::sleep(Duration::from_millis(200));
    other.execute_batch("COMMIT").unwrap();
    assert!(put.await.unwrap());
}
