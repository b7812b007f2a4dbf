#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::keys::{Rotation, rotate};
use crate::store::{Entry, Kind, SqliteStore};
use crate::testing::told;

const HOUR: Duration = Duration::from_secs(3_600);

/// Keys whose rotation is due, and what follows them.
struct Site {
    directory: tempfile::TempDir,
    follower: Arc<KeyFollower>,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::fixed(1_800_000_000);
        let keys = Arc::new(Keys::open_at(&directory.path().join("keys"), clock.clone()).unwrap());
        clock.advance(3_600);
        let store = Arc::new(SqliteStore::open(directory.path()).unwrap());
        let follower = Arc::new(KeyFollower { keys, store, clock, rotate_after: Some(HOUR) });
        Self { directory, follower }
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// The rotations that wait to be recorded.
    async fn announced(&self) -> Vec<Entry> {
        let found = self.follower.store.list(Kind::AdministrationEvent, None, 0, 10).await.unwrap();
        found.into_iter().map(|(_, entry)| entry).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "pem"))
    {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn keys_that_are_due_are_made_told_and_taken_up_at_once() {
    let site = Site::new();
    let before = site.follower.keys.list().len();
    assert_eq!(site.follower.look().await, Ok(true));
    assert_eq!(site.follower.keys.list().len(), 2 * before, "published before they sign");
    let announced = site.announced().await;
    let event: AdministrationEvent = serde_json::from_slice(&announced.first().unwrap().value).unwrap();
    assert_eq!((event.action.as_str(), event.failed, event.at), ("keys_rotated", false, 1_800_003_600));
    assert_eq!(site.follower.look().await, Ok(false), "they are not due again");
    assert_eq!(site.announced().await.len(), 1);
}

#[tokio::test]
async fn a_rotation_that_failed_is_not_told_as_one_that_was_done() {
    let site = Site::new();
    fs::remove_file(site.keys().join("rotation.lock")).unwrap();
    fs::create_dir(site.keys().join("rotation.lock")).unwrap();
    for _ in 0..2 {
        assert!(matches!(site.follower.look().await, Err(Failed::Keys(_))));
    }
    assert_eq!(site.announced().await, []);
    fs::remove_dir(site.keys().join("rotation.lock")).unwrap();
    assert_eq!(site.follower.look().await, Ok(true));
    assert_eq!(site.announced().await.len(), 1);
}

#[tokio::test]
async fn a_rotation_that_another_process_does_meanwhile_is_taken_up_and_is_its_own() {
    let site = Site::new();
    let other = tempfile::tempdir().unwrap();
    copy(&site.keys(), other.path());
    rotate(other.path(), &site.follower.clock, Rotation::InTurn).unwrap();
    let lock = fs::File::open(site.keys().join("rotation.lock")).unwrap();
    lock.lock().unwrap();
    let follower = Arc::clone(&site.follower);
    let looking = tokio::spawn(async move { follower.look().await });
    while site.announced().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    copy(other.path(), &site.keys());
    drop(lock);
    assert_eq!(looking.await.unwrap(), Ok(true));
    assert_eq!(site.announced().await, [], "the other one tells of it");
    assert_eq!(site.follower.keys.list().len(), 6);
}

#[test]
fn what_hinders_is_told_once_and_again_when_it_comes_again() {
    let site = Site::new();
    let wrong = site.keys().join("access-0002.pem");
    let told = told(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            fs::write(&wrong, "no key").unwrap();
            let stop = CancellationToken::new();
            let Site { follower, .. } = &site;
            let KeyFollower { keys, store, clock, .. } = &**follower;
            let (keys, store) = (Arc::clone(keys), Arc::clone(store));
            let follower = KeyFollower { keys, store, clock: clock.clone(), rotate_after: None };
            let following = follower.follow(stop.clone());
            let meanwhile = async {
                tokio::time::sleep(POLL * 7 / 2).await;
                fs::remove_file(&wrong).unwrap();
                tokio::time::sleep(POLL * 3 / 2).await;
                fs::write(&wrong, "no key").unwrap();
                tokio::time::sleep(POLL * 5 / 2).await;
                stop.cancel();
            };
            tokio::join!(following, meanwhile);
        });
    });
    assert_eq!(told.matches("keys not taken up or not rotated; those in force stay").count(), 2, "{told}");
}
