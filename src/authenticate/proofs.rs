//! Which DPoP proofs were seen by the request path, so that each is accepted once (RFC 9449 section 11.1).
//!
//! One process alone keeps them in memory: a durable write with every request would cost as much as the request. What the
//! process before it saw is not known, so proofs that were made before this one started are refused; clients make a new one
//! with every request anyway. (A proof dated ahead by a client's fast clock, [`AHEAD`] seconds at most, can outlive a restart
//! by that long.) When the memory is full nothing is accepted: a proof is never forgotten while it is good. Processes that
//! share a store ask the store.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::jose::dpop::{AHEAD, LIFETIME, Proof};
use crate::secret::Digest;
use crate::store::{Entry, Kind, Store};

/// Seconds from the first moment at which a proof is accepted to the first at which it is not.
const SPAN: i64 = AHEAD + LIFETIME + 1;

/// Parts with a lock of their own.
const PARTS: usize = 16;

/// Proofs that one part keeps in a generation: 14,000 a second in all, and at most some 150 MiB.
const MOST: usize = 65_536;

/// Where proofs are remembered.
#[derive(Debug)]
pub(super) enum Proofs {
    /// By this process, which is the only one.
    Memory(Box<Memory>),
    /// By the store, for all processes that share it.
    Store(Arc<dyn Store>),
}

impl Proofs {
    /// Knows no proofs but those of `shared`, when there is one; `now` is seconds since the epoch.
    pub(super) fn new(shared: Option<Arc<dyn Store>>, now: i64) -> Self {
        shared.map_or_else(|| Self::Memory(Box::new(Memory::new(now))), Self::Store)
    }

    /// Notes a proof that was checked. Of any number of copies one is the first.
    pub(super) async fn note(&self, proof: &Proof, now: i64) -> Seen {
        match self {
            Self::Memory(memory) => memory.note(proof, now),
            Self::Store(store) => {
                let seen = Entry { value: Vec::new(), expires: proof.expires(), owner: None };
                match store.put_if_absent(Kind::ProofId, proof.id, seen, now).await {
                    Ok(true) => Seen::First,
                    Ok(false) => Seen::Before,
                    Err(_) => Seen::Unknown,
                }
            }
        }
    }
}

/// The proofs of the last minutes.
#[derive(Debug)]
pub(super) struct Memory {
    started: i64,
    parts: [Mutex<Part>; PARTS],
}

/// What became of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is new, and noted.
    First,
    /// It was used, or may have been before this process started.
    Before,
    /// There is no room to note it.
    Full,
    /// The store could not be asked.
    Unknown,
}

/// Two generations, each of [`SPAN`] seconds: what is in the older one has ended when it is dropped.
#[derive(Debug, Default)]
struct Part {
    since: i64,
    current: HashSet<Digest>,
    older: HashSet<Digest>,
}

impl Memory {
    fn new(now: i64) -> Self {
        Self { started: now, parts: Default::default() }
    }

    fn note(&self, proof: &Proof, now: i64) -> Seen {
        if proof.issued < self.started {
            return Seen::Before;
        }
        let [first, ..] = proof.id.0;
        let Some(part) = self.parts.get(usize::from(first) % PARTS) else { return Seen::Full };
        part.lock().unwrap_or_else(PoisonError::into_inner).note(proof.id, now)
    }
}

impl Part {
    fn note(&mut self, id: Digest, now: i64) -> Seen {
        self.age(now);
        if self.current.contains(&id) || self.older.contains(&id) {
            return Seen::Before;
        }
        if self.current.len() >= MOST {
            return Seen::Full;
        }
        self.current.insert(id);
        Seen::First
    }

    fn age(&mut self, now: i64) {
        if now < self.since {
            // The clock was set back: what is kept is kept for longer.
            self.since = now;
        }
        if now - self.since >= SPAN {
            self.older = std::mem::take(&mut self.current);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;
    use crate::jose::dpop::Thumbprint;

    const NOW: i64 = 1_900_000_000;

    fn proof(name: &str, issued: i64) -> Proof {
        let key = Thumbprint::parse("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
        Proof { key, id: Digest::of(name), issued }
    }

    fn note(proofs: &Memory, name: &str, issued: i64, now: i64) -> Seen {
        proofs.note(&proof(name, issued), now)
    }

    // N2, B2 46
    #[test]
    fn a_proof_is_first_once_as_long_as_any_copy_could_be_accepted() {
        for start in [0, 1, SPAN / 2, SPAN - 1, SPAN, SPAN + 1] {
            let proofs = Memory::new(NOW);
            assert_eq!(note(&proofs, "other", NOW, NOW), Seen::First);
            // First seen as early as can be: dated ahead.
            let issued = NOW + start + AHEAD;
            assert_eq!(note(&proofs, "proof", issued, NOW + start), Seen::First);
            for later in 0..=AHEAD + LIFETIME {
                assert_eq!(note(&proofs, "proof", issued, NOW + start + later), Seen::Before, "{start} {later}");
            }
        }
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let proofs = Memory::new(NOW);
        for second in 0..10 * SPAN {
            assert_eq!(note(&proofs, &second.to_string(), NOW + second, NOW + second), Seen::First);
        }
        let kept: usize = proofs
            .parts
            .iter()
            .map(|part| part.lock().unwrap())
            .map(|part| part.current.len() + part.older.len())
            .sum();
        // A part that is asked seldom keeps what it has until it is asked again: there is a bound on that.
        assert!(kept < 4 * usize::try_from(SPAN).unwrap(), "{kept}");
    }

    #[test]
    fn what_may_have_been_used_before_the_start_is_refused() {
        let proofs = Memory::new(NOW);
        assert_eq!(note(&proofs, "before", NOW - 1, NOW), Seen::Before);
        assert_eq!(note(&proofs, "since", NOW, NOW), Seen::First);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_new() {
        let proofs = Memory::new(NOW);
        assert_eq!(note(&proofs, "proof", NOW + 100, NOW + 100), Seen::First);
        for now in [NOW + 40, NOW + 40 + SPAN - 1, NOW + 100] {
            assert_eq!(note(&proofs, "proof", NOW + 100, now), Seen::Before);
        }
    }

    #[test]
    fn when_there_is_no_room_nothing_is_accepted_until_there_is() {
        let mut part = Part::default();
        part.age(NOW);
        for number in 0..MOST {
            assert_eq!(part.note(Digest::of(&number.to_string()), NOW), Seen::First);
        }
        let more = Digest::of("more");
        assert_eq!(part.note(more, NOW), Seen::Full);
        assert_eq!(part.note(Digest::of("0"), NOW), Seen::Before);
        assert_eq!(part.note(more, NOW + SPAN), Seen::First);
    }

    // B2 46, B3 69: on another replica
    #[tokio::test]
    async fn processes_that_share_a_store_accept_a_proof_once_among_them() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(crate::store::SqliteStore::open(directory.path()).unwrap());
        let (one, other) = (Proofs::new(Some(Arc::clone(&store)), NOW), Proofs::new(Some(store), NOW));
        let proof = proof("proof", NOW - 1);
        assert_eq!(one.note(&proof, NOW).await, Seen::First);
        for later in 0..LIFETIME {
            assert_eq!(other.note(&proof, NOW + later).await, Seen::Before);
        }
    }

    #[test]
    fn of_many_threads_with_one_proof_one_is_first() {
        let proofs = Memory::new(NOW);
        let first: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| usize::from(note(&proofs, "proof", NOW, NOW) == Seen::First))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(100)).sum()
        });
        assert_eq!(first, 1);
    }
}
