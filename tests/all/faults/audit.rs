//! The audit log cannot grow any more: nothing is released, readiness says so, and when it can again all is well. The file size
//! limit is the whole process's, so the gateway runs in a child: this executable, started again.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use firebreak::audit::{EventKind, OnFailure};

use super::grants::{Browser, SCOPE};
use crate::world::client::Reply;
use crate::world::{Settings, World, run};

const CHILD: &str = "faults::audit::child";
const REFRESHING_CHILD: &str = "faults::audit::refreshing_child";
const VARIABLE: &str = "FIREBREAK_TEST_FILE_SIZE_LIMIT";

#[test]
fn a_log_that_cannot_be_written_stops_every_release_until_it_can() {
    succeeds(CHILD, "stopped, told and healed");
}

// F5
#[test]
fn a_code_and_a_refresh_token_whose_use_could_not_be_recorded_are_not_spent() {
    succeeds(REFRESHING_CHILD, "tried again and given");
}

fn succeeds(child: &str, said: &str) {
    // SIGXFSZ is ignored, so that the write fails instead of the process.
    let output = Command::new("sh")
        .args(["-c", r#"trap '' 25; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", child, "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("1 passed") && out.contains(said), "{out}{err}");
}

/// Sets the soft limit of the size of files that this process writes.
fn limit(bytes: &str) {
    let pid = std::process::id().to_string();
    let done =
        Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().expect("util-linux");
    assert!(done.success());
}

/// Not a test by itself: the child.
#[test]
fn child() {
    if std::env::var(VARIABLE).is_err() {
        return;
    }
    run(async {
        let world = World::with(Settings { server: "admin = \"127.0.0.1:0\"".to_owned(), ..Default::default() }).await;
        let a = world.token_a();
        let healthy = async |value: u8| {
            let metrics = world.operator("/metrics").await;
            metrics.text().lines().any(|line| line == format!("firebreak_audit_healthy {value}"))
        };
        assert!(world.operator("/readyz").await.status == 200 && healthy(1).await);
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        limit(&(longest(&world.audit_directory()) + 3_000).to_string());
        let (mut released, mut refused) = (0, Vec::new());
        for number in 0..60 {
            let target = if number % 2 == 0 { "/fhir/Observation/o1" } else { "/fhir/Observation?_id=o1" };
            let reply = world.get(target, &a).await;
            match reply.status {
                200 => {
                    assert!(refused.is_empty(), "released after the log had failed");
                    released += 1;
                }
                503 => refused.push(reply),
                other => panic!("{other}: {}", reply.all()),
            }
            if refused.len() == 4 {
                break;
            }
        }
        assert!(released > 0 && refused.len() == 4, "{released} released, {} refused", refused.len());
        for reply in &refused {
            assert_eq!(reply.body, refused[0].body, "one fixed answer");
            assert!(!reply.text().contains("o1") && !reply.text().contains("Observation"), "{}", reply.all());
            assert_eq!((reply.header("etag"), reply.header("last-modified")), ("", ""), "{}", reply.all());
            assert!(!reply.header("retry-after").is_empty());
        }
        let unready = world.operator("/readyz").await;
        assert_eq!(unready.status, 503, "{}", unready.all());
        assert!(unready.text().contains("audit"), "{}", unready.text());
        assert!(healthy(0).await);
        assert_eq!(world.get("/fhir/metadata", "").await.status, 200, "what needs no record is still served");
        limit("unlimited");
        healed(&world).await;
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        // This compares every release with its record.
        let told = world.end().await.told;
        for said in ["the audit log cannot be written", "the audit log can be written again", "audit checkpoint"] {
            assert!(told.contains(said), "{said} in the operational log");
        }
    });
    std::io::stdout().write_all(b"stopped, told and healed\n").unwrap();
}

#[test]
fn what_is_configured_for_a_log_that_fails_is_what_happens() {
    let directory = crate::world::directory();
    let upstream = url::Url::parse("http://127.0.0.1:9/fhir").unwrap();
    for (configured, expected) in [
        ("", OnFailure::Deny),
        ("[audit]\non_failure = \"deny\"\n", OnFailure::Deny),
        ("[audit]\non_failure = \"danger_allow_and_alarm\"\n", OnFailure::DangerAllowAndAlarm),
    ] {
        let settings = Settings { sections: configured.to_owned(), ..Default::default() };
        let config = crate::world::configuration(directory.path(), upstream.as_str(), &settings);
        assert_eq!(firebreak::origin::audit_options(&config).on_failure, expected, "{configured}");
    }
}

#[test]
fn the_name_and_the_key_of_a_log_are_those_that_are_configured() {
    run(async {
        let elsewhere = tempfile::tempdir().unwrap();
        let key = elsewhere.path().join("log.key");
        let sections = format!("[audit]\nname = \"gw.example/b\"\nkey_file = \"{}\"", key.display());
        let world = World::with(Settings { sections, ..Default::default() }).await;
        let a = world.token_a();
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        let directory = world.audit_directory();
        assert!(fs::read_to_string(directory.join("checkpoints")).unwrap().starts_with("gw.example/b\n0\n"));
        assert!(key.exists() && !directory.join("checkpoint.key").exists());
        world.finish().await;
    });
}

fn longest(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
    files.filter(fs::Metadata::is_file).map(|file| file.len()).max().unwrap()
}

async fn healed(world: &World) {
    let healed = tokio::time::timeout(Duration::from_secs(20), async {
        while !world.audit.healthy() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    healed.await.expect("the log can be written again");
}

/// Not a test by itself: the child.
#[test]
fn refreshing_child() {
    if std::env::var(VARIABLE).is_err() {
        return;
    }
    run(async {
        let world = super::grants::world().await;
        let a = world.token_a();
        let mut browser = Browser::before(&world).await;
        let code = browser.authorize(SCOPE, "pat").await;
        let token = |reply: &Reply| reply.json()["refresh_token"].as_str().unwrap().to_owned();
        let refresh = token(&browser.exchange(&code).await);
        let unused = browser.authorize(SCOPE, "pat").await;
        // The log outgrows the store, so that the limit of the one leaves room for the other.
        let store = world.audit_directory().parent().unwrap().to_owned();
        while longest(&world.audit_directory()) < longest(&store) + 200_000 {
            assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        }
        limit(&longest(&world.audit_directory()).to_string());
        for _ in 0..2 {
            let refused = browser.refresh(&refresh).await;
            assert_eq!((refused.status, &refused.json()["error"]), (503, &"temporarily_unavailable".into()));
            let refused = browser.exchange(&unused).await;
            assert_eq!((refused.status, &refused.json()["error"]), (503, &"temporarily_unavailable".into()));
        }
        limit("unlimited");
        healed(&world).await;
        let next = browser.refresh(&refresh).await;
        assert_eq!(next.status, 200, "{}", next.all());
        let exchanged = browser.exchange(&unused).await;
        assert_eq!(exchanged.status, 200, "{}", exchanged.all());
        // Given once: what was used now is used.
        assert_eq!(browser.refresh(&refresh).await.status, 400);
        assert_eq!(browser.refresh(&token(&next)).await.status, 200);
        assert_eq!(browser.exchange(&unused).await.status, 400);
        assert_eq!(
            browser.refresh(&token(&exchanged)).await.status,
            400,
            "a code that is used twice ends what it gave"
        );
        let records = world.finish().await;
        let unreleased: Vec<u64> = records.iter().flat_map(|entry| entry.record.refers.clone()).collect();
        let withheld = records.iter().filter(|entry| unreleased.contains(&entry.seq));
        assert_eq!(withheld.filter(|entry| entry.record.kind == EventKind::Token).count(), 4);
    });
    std::io::stdout().write_all(b"tried again and given\n").unwrap();
}
