//! The tree over the lines: RFC 6962 section 2.1, with SHA-256.
//!
//! Takes leaves in order; gives the root over all of them. It keeps only the roots of the complete subtrees (at most 64
//! hashes), so that memory does not grow with the log. It does not keep leaves and makes no inclusion proofs.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// The hash of a leaf: SHA-256 of `0x00` and the line (without its newline).
pub(super) fn leaf(line: &[u8]) -> Hash {
    hash(&[&[0x00], line])
}

/// The tree over the first `size` lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    size: u64,
    /// The roots of the complete subtrees from left to right: one for each bit that is set in `size`.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Takes up a tree where another left it. `None` when the number of peaks does not fit the size.
    pub(super) fn resume(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (usize::try_from(size.count_ones()).ok()? == peaks.len()).then_some(Self { size, peaks })
    }

    /// The number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf, by its hash. Two complete subtrees of equal size become one.
    pub(super) fn push(&mut self, leaf: Hash) {
        let mut subtree = leaf;
        for _ in 0..self.size.trailing_ones() {
            // INVARIANT: each trailing one bit of `size` has its peak, from the right end.
            if let Some(left) = self.peaks.pop() {
                subtree = node(&left, &subtree);
            }
        }
        self.peaks.push(subtree);
        self.size += 1;
    }

    /// The root: MTH of RFC 6962 section 2.1. That of the empty tree is the hash of nothing.
    pub(super) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => hash(&[]),
            Some(last) => peaks.fold(*last, |right, left| node(left, &right)),
        }
    }
}

/// Plain SHA-256 of the concatenation of `parts`.
pub(super) fn hash(parts: &[&[u8]]) -> Hash {
    let mut out = [0; 32];
    if let [one] = parts {
        out.copy_from_slice(digest(&SHA256, one).as_ref());
    } else {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        out.copy_from_slice(context.finish().as_ref());
    }
    out
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[0x01], left, right])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;

    fn hex(hash: Hash) -> String {
        crate::secret::Digest(hash).to_hex()
    }

    #[test]
    fn the_empty_tree_is_the_hash_of_nothing() {
        let root = hex(Frontier::default().root());
        assert_eq!(root, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn roots_agree_with_an_independent_tree_at_every_size() {
        let mut ours = Frontier::default();
        let mut oracle = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
        for number in 0..300_u32 {
            let line = format!("line {number}").into_bytes();
            ours.push(leaf(&line));
            oracle.push(line);
            assert_eq!(&ours.root()[..], &oracle.root().as_bytes()[..], "at size {}", number + 1);
            assert_eq!(ours.size(), oracle.len());
        }
    }

    #[test]
    fn a_frontier_with_the_wrong_number_of_peaks_is_refused() {
        assert!(Frontier::resume(3, vec![[0; 32]]).is_none());
        assert!(Frontier::resume(4, vec![[0; 32]]).is_some());
    }

    proptest! {
        #[test]
        fn a_resumed_tree_goes_on_like_the_one_that_was_not_interrupted(before in 0..200_u64, after in 0..50_u64) {
            let mut whole = Frontier::default();
            (0..before).for_each(|n| whole.push(leaf(&n.to_be_bytes())));
            let mut resumed = Frontier::resume(whole.size(), whole.peaks().to_vec()).unwrap();
            for n in before..before + after {
                whole.push(leaf(&n.to_be_bytes()));
                resumed.push(leaf(&n.to_be_bytes()));
            }
            prop_assert_eq!(whole.root(), resumed.root());
        }
    }
}
