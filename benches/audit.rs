//! How fast records become durable: one fdatasync a group, 1, 64 and 256 exchanges at the same time.
//!
//! `cargo bench --bench audit` prints records per second for the disk of the temporary directory.
#![expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

use std::error::Error;
use std::time::Instant;

use firebreak::audit::{Audit, EventKind, Options, Outcome};
use firebreak::clock::Clock;
use tokio::task::JoinSet;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    for tasks in [1_u32, 64, 256] {
        let directory = tempfile::tempdir()?;
        let audit = Audit::start(Options::new(directory.path(), "bench.example/audit"), Clock::system())?;
        let each = 20_000 / tasks.max(16);
        let began = Instant::now();
        runtime.block_on(async {
            let mut recording = JoinSet::new();
            for _ in 0..tasks {
                let audit = audit.clone();
                recording.spawn(async move {
                    for _ in 0..each {
                        record(&audit).await;
                    }
                });
            }
            recording.join_all().await;
        });
        let rate = f64::from(tasks * each) / began.elapsed().as_secs_f64();
        println!("{tasks:>4} at the same time: {rate:>8.0} records/s");
        runtime.block_on(audit.shutdown());
    }
    Ok(())
}

async fn record(audit: &Audit) {
    let mut open = audit.open(EventKind::Fhir, "0123456789abcdef", [203, 0, 113, 7].into(), "public");
    let record = open.record();
    record.client_id = Some("my-app".to_owned());
    record.interaction = Some("read".into());
    record.resource_type = Some("Observation".into());
    record.patients = vec!["p1".to_owned()];
    let _ = open.close(Outcome::Released, ()).await;
}
