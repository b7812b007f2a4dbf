#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use super::*;
use crate::audit::{self, Entry as Line};
use crate::store::{Access, SqliteStore};

fn event(target: &str) -> AdministrationEvent {
    AdministrationEvent {
        action: "grant_revoked".to_owned(),
        target: Some(target.to_owned()),
        client_id: Some("app".to_owned()),
        user: Some(("https://gw.example".to_owned(), "ada".to_owned())),
        failed: false,
        by: Operator { uid: 1_000, name: Some("ops".to_owned()), sudo: None, host: "gw1".to_owned() },
        because: None,
        at: 1_795_395_723,
    }
}

fn log(directory: &std::path::Path) -> Audit {
    let mut options = audit::Options::new(directory, "test.example/audit");
    options.floor_bytes = 0;
    options.reserve_bytes = 0;
    Audit::start(options, Clock::fixed(1_795_395_723)).unwrap()
}

fn targets(directory: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            let text = std::fs::read_to_string(file).unwrap();
            let records = text.lines().map(|line| Line::parse(line).unwrap().record);
            found.extend(records.filter(|record| record.kind == EventKind::Administration).map(|record| {
                assert_eq!(record.action.as_deref(), Some("grant_revoked"));
                let about = (record.client_id.as_deref(), record.iss.as_deref(), record.sub.as_deref());
                assert_eq!(about, (Some("app"), Some("https://gw.example"), Some("ada")));
                assert_eq!(
                    record.detail.as_deref(),
                    Some("by the user `ops` (uid 1000) of `gw1` at 2026-11-23T01:02:03Z")
                );
                let outcome = serde_json::to_string(&record.outcome).unwrap();
                format!("{} {}", record.target.unwrap(), outcome.trim_matches('"'))
            }));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn an_act_is_recorded_once_with_who_did_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    announce(&store, &event("one")).await.unwrap();
    let path = directory.path().join("audit");
    let audit = log(&path);
    assert_eq!(record_pending(&store, &audit, 1_000).await.unwrap(), 1);
    assert_eq!(record_pending(&store, &audit, 1_000).await.unwrap(), 0);
    assert_eq!(record_pending(&store, &audit, 1_000 + ABANDONED).await.unwrap(), 0, "nothing of it is left");
    audit.shutdown().await;
    assert_eq!(targets(&path), ["one released"]);
}

// Whatever the operator wants of answers: an act is kept until its record is durable.
#[tokio::test]
async fn an_act_waits_too_where_answers_leave_without_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    announce(&store, &event("one")).await.unwrap();
    let mut options = audit::Options::new(directory.path().join("closed"), "test.example/audit");
    options.on_failure = audit::OnFailure::DangerAllowAndAlarm;
    options.floor_bytes = 0;
    let closed = Audit::start(options, Clock::fixed(1_795_395_723)).unwrap();
    closed.shutdown().await;
    assert!(record_pending(&store, &closed, 1_000).await.is_err());
    let path = directory.path().join("audit");
    let audit = log(&path);
    assert_eq!(record_pending(&store, &audit, 1_000).await.unwrap(), 1);
    audit.shutdown().await;
}

#[tokio::test]
async fn what_waits_when_the_process_is_asked_to_end_is_recorded_before_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
    let path = directory.path().join("audit");
    let audit = log(&path);
    let clock = Clock::fixed(1_795_395_723);
    // Which of two things that are ready comes first is left to chance.
    for number in 0..16 {
        announce(&*store, &event(&number.to_string())).await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        follow(Arc::clone(&store), audit.clone(), clock.clone(), stop).await;
        assert!(store.list(Kind::AdministrationEvent, None, 0, 1).await.unwrap().is_empty(), "round {number}");
    }
    audit.shutdown().await;
    assert_eq!(targets(&path).len(), 16);
}

#[test]
fn who_did_it_is_told_by_every_name_there_is_and_names_cannot_pretend_to_be_something_else() {
    let mut told = event("one");
    told.by.sudo = Some("mallory".to_owned());
    assert_eq!(told.detail(), "by the user `ops` (uid 1000, sudo by `mallory`) of `gw1` at 2026-11-23T01:02:03Z");
    told.because = Some("it was time".to_owned());
    assert_eq!(
        told.detail(),
        "by the server itself, because it was time: as `ops` (uid 1000) of `gw1` at 2026-11-23T01:02:03Z"
    );
    assert_eq!(short("a`b\"c\\d\ne\u{1b}[31mf g"), "abcde[31mfg");
    assert_eq!(short(&"x".repeat(1_000)).len(), 64);
    assert_eq!(user_name(0).as_deref(), Some("root"));
    assert_eq!(user_name(u32::MAX - 7), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_processes_that_share_the_store_one_records_each_act() {
    let directory = tempfile::tempdir().unwrap();
    let store = || Arc::new(SqliteStore::open_as(directory.path(), Access::Shared).unwrap());
    let (first, second) = (store(), store());
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    let logs = [log(&a), log(&b)];
    for number in 0..50 {
        announce(&*first, &event(&number.to_string())).await.unwrap();
    }
    let [one, other] = &logs;
    let (left, right) = tokio::join!(record_pending(&*first, one, 1_000), record_pending(&*second, other, 1_000));
    assert_eq!(left.unwrap() + right.unwrap(), 50);
    for log in &logs {
        log.shutdown().await;
    }
    let mut all = [targets(&a), targets(&b)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 50);
    assert_eq!(targets(&a).len() + targets(&b).len(), 50);
}

#[tokio::test]
async fn an_act_that_cannot_be_recorded_waits_until_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    announce(&store, &event("one")).await.unwrap();
    let closed = log(&directory.path().join("closed"));
    closed.shutdown().await;
    assert!(record_pending(&store, &closed, 1_000).await.is_err());
    let path = directory.path().join("audit");
    let audit = log(&path);
    assert_eq!(record_pending(&store, &audit, 1_000).await.unwrap(), 1);
    audit.shutdown().await;
    assert_eq!(targets(&path), ["one released"]);
}

#[tokio::test]
async fn an_act_whose_recording_process_died_is_recorded_by_another() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let key = announce(&store, &event("one")).await.unwrap();
    let taken = keep(&Taken { event: event("one"), at: 1_000 }).unwrap();
    store.spend(Kind::AdministrationEvent, Kind::AdministrationEventTaken, key, taken, 1_000).await.unwrap().unwrap();
    let path = directory.path().join("audit");
    let audit = log(&path);
    assert_eq!(record_pending(&store, &audit, 1_000 + ABANDONED - 1).await.unwrap(), 0);
    assert_eq!(record_pending(&store, &audit, 1_000 + ABANDONED).await.unwrap(), 1);
    audit.shutdown().await;
    assert_eq!(targets(&path), ["one released"]);
}

#[tokio::test]
async fn an_act_that_was_not_done_is_taken_back_or_told_as_failed() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let path = directory.path().join("audit");
    let audit = log(&path);
    let key = announce(&store, &event("early")).await.unwrap();
    withdraw(&store, key, &event("early")).await.unwrap();
    let key = announce(&store, &event("late")).await.unwrap();
    assert_eq!(record_pending(&store, &audit, 1_000).await.unwrap(), 1);
    withdraw(&store, key, &event("late")).await.unwrap();
    assert_eq!(record_pending(&store, &audit, 1_000).await.unwrap(), 1);
    audit.shutdown().await;
    assert_eq!(targets(&path), ["late failed", "late released"]);
}
