//! The audit log cannot grow any more: nothing is released, readiness says so, and when it can again all is well. The file size
//! limit is the whole process's, so the gateway runs in a child: this executable, started again.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::world::client::Connection;
use crate::world::{Settings, World, run};

const CHILD: &str = "faults::audit::child";
const VARIABLE: &str = "FIREBREAK_TEST_FILE_SIZE_LIMIT";

#[test]
fn a_log_that_cannot_be_written_stops_every_release_until_it_can() {
    // SIGXFSZ is ignored, so that the write fails instead of the process.
    let output = Command::new("sh")
        .args(["-c", r#"trap '' 25; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("1 passed") && out.contains("stopped, told and healed"), "{out}{err}");
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
        let ready = async || {
            let mut connection = Connection::open(world.admin.unwrap(), None).await;
            connection.exchange(b"GET /readyz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n", false).await
        };
        assert_eq!(ready().await.status, 200);
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        let longest =
            fs::read_dir(world.audit_directory()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).max();
        limit(&(longest.unwrap() + 3_000).to_string());
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
        let unready = ready().await;
        assert_eq!(unready.status, 503, "{}", unready.all());
        assert!(unready.text().contains("audit"), "{}", unready.text());
        assert_eq!(world.get("/fhir/metadata", "").await.status, 200, "what needs no record is still served");
        limit("unlimited");
        let healed = tokio::time::timeout(Duration::from_secs(20), async {
            while ready().await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        healed.await.expect("readiness comes back");
        assert_eq!(world.get("/fhir/Observation/o1", &a).await.status, 200);
        // This compares every release with its record.
        world.finish().await;
    });
    std::io::stdout().write_all(b"stopped, told and healed\n").unwrap();
}
