//! What every backend of [`Store`] must do, as functions over `dyn Store`, so that each backend runs the same suite.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]

use std::sync::Arc;

use super::{Entry, Kind, Spent, Store};
use crate::secret::Digest;

/// Runs the whole suite; `store` must be empty.
pub(crate) async fn run(store: Arc<dyn Store>) {
    an_entry_is_read_until_it_expires(&*store).await;
    kinds_do_not_collide(&*store).await;
    a_put_replaces(&*store).await;
    a_live_entry_is_not_overwritten_by_put_if_absent(&*store).await;
    of_two_that_replace_the_same_value_one_does(&*store).await;
    an_expired_entry_is_absent_for_every_operation(&*store).await;
    of_a_hundred_concurrent_takers_one_gets_the_entry(&store).await;
    of_a_hundred_concurrent_spenders_one_spends_and_the_marker_stays(&store).await;
    of_a_hundred_concurrent_writers_one_is_first(&store).await;
    of_a_hundred_concurrent_rotations_one_gives_what_it_gives(&store).await;
    spending_what_is_not_there_leaves_no_marker(&*store).await;
    owned_entries_are_listed_and_removed_together(&*store).await;
    a_sweep_removes_what_expired_and_nothing_else(&*store).await;
}

fn entry(value: &str, expires: i64) -> Entry {
    Entry { value: value.as_bytes().to_vec(), expires, owner: None }
}

async fn an_entry_is_read_until_it_expires(store: &dyn Store) {
    let key = Digest::of("an_entry_is_read_until_it_expires");
    store.put(Kind::Session, key, entry("a", 100)).await.unwrap();
    assert_eq!(store.read(Kind::Session, key, 99).await.unwrap(), Some(entry("a", 100)));
    assert_eq!(store.read(Kind::Session, key, 100).await.unwrap(), None);
    assert!(store.remove(Kind::Session, key).await.unwrap());
    assert!(!store.remove(Kind::Session, key).await.unwrap());
    assert_eq!(store.read(Kind::Session, key, 99).await.unwrap(), None);
}

async fn kinds_do_not_collide(store: &dyn Store) {
    let key = Digest::of("kinds_do_not_collide");
    store.put(Kind::Code, key, entry("code", 100)).await.unwrap();
    store.put(Kind::Launch, key, entry("launch", 100)).await.unwrap();
    assert_eq!(store.take_once(Kind::Code, key, 1).await.unwrap(), Some(entry("code", 100)));
    assert_eq!(store.take_once(Kind::Launch, key, 1).await.unwrap(), Some(entry("launch", 100)));
}

async fn a_put_replaces(store: &dyn Store) {
    let key = Digest::of("a_put_replaces");
    let owned = Entry { owner: Some(Digest::of("owner")), ..entry("a", 100) };
    store.put(Kind::Consent, key, owned).await.unwrap();
    store.put(Kind::Consent, key, entry("b", 200)).await.unwrap();
    assert_eq!(store.take_once(Kind::Consent, key, 1).await.unwrap(), Some(entry("b", 200)));
}

async fn a_live_entry_is_not_overwritten_by_put_if_absent(store: &dyn Store) {
    let key = Digest::of("a_live_entry_is_not_overwritten_by_put_if_absent");
    assert!(store.put_if_absent(Kind::AssertionId, key, entry("a", 100), 1).await.unwrap());
    assert!(!store.put_if_absent(Kind::AssertionId, key, entry("b", 100), 99).await.unwrap());
    assert!(store.put_if_absent(Kind::AssertionId, key, entry("c", 200), 100).await.unwrap());
    assert_eq!(store.take_once(Kind::AssertionId, key, 101).await.unwrap(), Some(entry("c", 200)));
}

async fn of_two_that_replace_the_same_value_one_does(store: &dyn Store) {
    let key = Digest::of("of_two_that_replace_the_same_value_one_does");
    let replace = |expected: &str, value: &str| {
        let (expected, entry) = (expected.as_bytes().to_vec(), entry(value, 100));
        async move { store.replace(Kind::Client, key, expected, entry, 1).await.unwrap() }
    };
    assert!(!replace("", "never").await, "there is nothing to replace");
    store.put(Kind::Client, key, entry("a", 100)).await.unwrap();
    assert!(replace("a", "b").await);
    assert!(!replace("a", "c").await, "it is `b` now");
    assert_eq!(store.take_once(Kind::Client, key, 1).await.unwrap(), Some(entry("b", 100)));
    assert!(!replace("b", "c").await, "it was removed");
    store.put(Kind::Client, key, entry("old", 1)).await.unwrap();
    assert!(!replace("old", "new").await, "it has expired");
}

async fn an_expired_entry_is_absent_for_every_operation(store: &dyn Store) {
    let key = Digest::of("an_expired_entry_is_absent_for_every_operation");
    store.put(Kind::Code, key, entry("a", 100)).await.unwrap();
    assert_eq!(store.take_once(Kind::Code, key, 100).await.unwrap(), None);
    assert_eq!(store.spend(Kind::Code, Kind::SpentCode, key, entry("m", 900), 100).await.unwrap(), None);
    assert_eq!(store.read(Kind::SpentCode, key, 100).await.unwrap(), None);
    assert!(store.list(Kind::Code, None, 100, 10).await.unwrap().is_empty());
    let owner = Digest::of("owner");
    store.put(Kind::Code, key, Entry { owner: Some(owner), ..entry("a", 100) }).await.unwrap();
    assert!(store.list(Kind::Code, Some(owner), 100, 10).await.unwrap().is_empty());
    assert_eq!(store.list(Kind::Code, Some(owner), 99, 10).await.unwrap().len(), 1);
    store.remove(Kind::Code, key).await.unwrap();
}

async fn of_a_hundred_concurrent_takers_one_gets_the_entry(store: &Arc<dyn Store>) {
    let key = Digest::of("of_a_hundred_concurrent_takers_one_gets_the_entry");
    store.put(Kind::Launch, key, entry("a", 100)).await.unwrap();
    let taken =
        concurrently(store, move |store| async move { store.take_once(Kind::Launch, key, 1).await.unwrap() }).await;
    assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [entry("a", 100)]);
}

async fn of_a_hundred_concurrent_spenders_one_spends_and_the_marker_stays(store: &Arc<dyn Store>) {
    let key = Digest::of("of_a_hundred_concurrent_spenders_one_spends_and_the_marker_stays");
    store.put(Kind::Code, key, entry("a", 100)).await.unwrap();
    let spent = concurrently(store, move |store| async move {
        let spent = store.spend(Kind::Code, Kind::SpentCode, key, entry("marker", 900), 1).await.unwrap();
        let marker = store.read(Kind::SpentCode, key, 1).await.unwrap();
        assert_eq!(marker, Some(entry("marker", 900)), "who did not spend it sees that it was spent");
        spent
    })
    .await;
    assert_eq!(spent.into_iter().flatten().collect::<Vec<_>>(), [entry("a", 100)]);
    assert_eq!(store.read(Kind::Code, key, 1).await.unwrap(), None);
}

async fn of_a_hundred_concurrent_writers_one_is_first(store: &Arc<dyn Store>) {
    let key = Digest::of("of_a_hundred_concurrent_writers_one_is_first");
    let wrote = concurrently(store, move |store| async move {
        store.put_if_absent(Kind::AssertionId, key, entry("a", 100), 1).await.unwrap()
    })
    .await;
    assert_eq!(wrote.into_iter().filter(|wrote| *wrote).count(), 1);
}

async fn of_a_hundred_concurrent_rotations_one_gives_what_it_gives(store: &Arc<dyn Store>) {
    let key = Digest::of("of_a_hundred_concurrent_rotations_one_gives_what_it_gives");
    store.put(Kind::RefreshToken, key, entry("old", 100)).await.unwrap();
    let mut rotations = tokio::task::JoinSet::new();
    for number in 0..100 {
        let store = Arc::clone(store);
        rotations.spawn(async move {
            let marker = entry(&format!("spent by {number}"), 900);
            let spent = Spent { from: Kind::RefreshToken, to: Kind::SpentRefreshToken, key, marker };
            let own = |what: &str| Digest::of(&format!("{what} of rotation {number}"));
            let gives = vec![
                (Kind::RefreshToken, own("successor"), entry("new", 100)),
                (Kind::Grant, own("grant"), entry("grant", 100)),
            ];
            let rotated = store.rotate(spent, gives, 1).await.unwrap();
            let (successor, grant) =
                (store.read(Kind::RefreshToken, own("successor"), 1), store.read(Kind::Grant, own("grant"), 1));
            let written = (successor.await.unwrap().is_some(), grant.await.unwrap().is_some());
            assert_eq!(written, (rotated.is_some(), rotated.is_some()), "all of it or nothing");
            rotated.map(|old| (old, number))
        });
    }
    let rotated: Vec<_> = rotations.join_all().await.into_iter().flatten().collect();
    let [(old, number)] = rotated.as_slice() else { panic!("{} rotated", rotated.len()) };
    assert_eq!(old, &entry("old", 100));
    let marker = store.read(Kind::SpentRefreshToken, key, 1).await.unwrap();
    assert_eq!(marker, Some(entry(&format!("spent by {number}"), 900)));
    store.sweep(900).await.unwrap();
}

async fn spending_what_is_not_there_leaves_no_marker(store: &dyn Store) {
    let key = Digest::of("spending_what_is_not_there_leaves_no_marker");
    assert_eq!(store.spend(Kind::Code, Kind::SpentCode, key, entry("m", 900), 1).await.unwrap(), None);
    assert_eq!(store.read(Kind::SpentCode, key, 1).await.unwrap(), None);
}

async fn owned_entries_are_listed_and_removed_together(store: &dyn Store) {
    let (mine, theirs) = (Digest::of("mine"), Digest::of("theirs"));
    for number in 0..5 {
        let owner = if number < 3 { mine } else { theirs };
        let token = Entry { owner: Some(owner), ..entry("a", 100) };
        store.put(Kind::RefreshToken, Digest::of(&format!("owned {number}")), token).await.unwrap();
    }
    assert_eq!(store.list(Kind::RefreshToken, Some(mine), 1, 10).await.unwrap().len(), 3);
    assert_eq!(store.list(Kind::RefreshToken, Some(mine), 1, 2).await.unwrap().len(), 2);
    assert_eq!(store.list(Kind::RefreshToken, None, 1, 10).await.unwrap().len(), 5);
    let (key, listed) = store.list(Kind::RefreshToken, Some(theirs), 1, 1).await.unwrap().remove(0);
    assert_eq!(listed.owner, Some(theirs));
    assert_eq!(store.read(Kind::RefreshToken, key, 1).await.unwrap(), Some(listed));
    assert_eq!(store.remove_owned(Kind::Grant, mine).await.unwrap(), 0);
    assert_eq!(store.remove_owned(Kind::RefreshToken, mine).await.unwrap(), 3);
    assert_eq!(store.list(Kind::RefreshToken, None, 1, 10).await.unwrap().len(), 2);
    assert_eq!(store.remove_owned(Kind::RefreshToken, theirs).await.unwrap(), 2);
}

async fn a_sweep_removes_what_expired_and_nothing_else(store: &dyn Store) {
    store.sweep(i64::MAX).await.unwrap();
    for number in 0..20 {
        let key = Digest::of(&format!("sweep {number}"));
        store.put(Kind::Transaction, key, entry("a", number)).await.unwrap();
    }
    assert_eq!(store.sweep(14).await.unwrap(), 15);
    assert_eq!(store.list(Kind::Transaction, None, 0, 100).await.unwrap().len(), 5);
    assert_eq!(store.sweep(14).await.unwrap(), 0);
    assert_eq!(store.sweep(1_000).await.unwrap(), 5);
}

async fn concurrently<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    store: &Arc<dyn Store>,
    operation: impl Fn(Arc<dyn Store>) -> F,
) -> Vec<T> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        tasks.spawn(operation(Arc::clone(store)));
    }
    tasks.join_all().await
}
