//! The further pages of searches: what a search found, kept under an unguessable name until newer searches push it out.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::random;

/// How many searches are kept.
const KEPT: usize = 256;

/// What a search found and how it goes on.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) matches: Vec<usize>,
    pub(super) include: Vec<usize>,
    pub(super) count: usize,
}

/// The searches that have further pages.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<VecDeque<(String, Arc<Found>)>>);

impl Pages {
    /// Keeps a search; gives its name, a UUID.
    pub(super) fn keep(&self, found: Arc<Found>) -> String {
        let name = uuid();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((name.clone(), found));
        name
    }

    /// The search of that name, if it is still kept.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Found>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(kept, _)| kept == name).map(|(_, found)| Arc::clone(found))
    }
}

/// A random UUID (RFC 9562, version 4).
pub(super) fn uuid() -> String {
    let mut bytes = random::bytes::<16>();
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}
