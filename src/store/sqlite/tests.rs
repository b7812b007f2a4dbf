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
    std::fs::write(state.join(FILE_NAME), b"").unwrap();
    std::fs::set_permissions(state.join(FILE_NAME), Permissions::from_mode(0o644)).unwrap();
    let store = SqliteStore::open(&state).unwrap();
    store.put(Kind::Grant, Digest::of("key"), entry("a")).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let files: Vec<_> = std::fs::read_dir(&state).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
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
