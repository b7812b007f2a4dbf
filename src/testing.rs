//! What tests of several modules need.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::sync::{Arc, Mutex};

/// What `test` says in the operational log, as far as its own thread does.
pub(crate) fn told(test: impl FnOnce()) -> String {
    let said = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&said);
    let writer = move || Kept(Arc::clone(&kept));
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    tracing::subscriber::with_default(subscriber, test);
    let said = said.lock().unwrap();
    String::from_utf8_lossy(&said).into_owned()
}

struct Kept(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
