//! The operational log of everything in this process, so that tests can look through it.

use std::io::Write;
use std::sync::{Mutex, Once};

use tracing_subscriber::EnvFilter;

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static ONCE: Once = Once::new();

struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        TEXT.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps what is logged from now on.
pub(super) fn capture() {
    ONCE.call_once(|| {
        let filter = EnvFilter::new("firebreak=trace,hyper=info,warn");
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Kept).try_init();
    });
}

/// All that was logged so far.
pub(crate) fn taken() -> String {
    String::from_utf8_lossy(&TEXT.lock().unwrap()).into_owned()
}
