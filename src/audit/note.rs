//! Signed checkpoints: C2SP `tlog-checkpoint` and `signed-note`, Ed25519.
//!
//! Takes a tree's size and root; gives a text that anybody can keep and check later:
//!
//! ```text
//! gw.example/audit
//! 1234
//! <base64 of the root>
//!
//! — gw.example/audit <base64 of the key id and the signature>
//! ```
//!
//! The signature covers the three lines. The public key travels as the `vkey` of C2SP: `<name>+<key id>+<base64>`.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::merkle::{Hash, hash};

/// The algorithm byte of Ed25519 in C2SP `signed-note`.
const ED25519_NOTE: u8 = 0x01;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name; two replicas have two.
    pub origin: String,
    /// How many lines it covers: the lines 1 to `size`.
    pub size: u64,
    /// The RFC 6962 root over them.
    pub root: [u8; 32],
}

impl Checkpoint {
    /// The text that is signed.
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

/// A checkpoint with its signature lines, not yet verified.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) checkpoint: Checkpoint,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Note {
    /// Reads one note. Extension lines, and numbers that are not in their shortest form, are refused: this log writes
    /// none, and what is not checked must not be accepted.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (body, signatures) = text.split_once("\n\n")?;
        let mut lines = body.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let number: u64 = size.parse().ok()?;
        let root: Hash = STANDARD.decode(root).ok()?.try_into().ok()?;
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: number, root };
        if origin.is_empty() || lines.next().is_some() || checkpoint.text().strip_suffix('\n') != Some(body) {
            return None;
        }
        let signatures = signatures
            .strip_suffix('\n')?
            .split('\n')
            .map(|line| {
                let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
                Some((name.to_owned(), STANDARD.decode(signature).ok()?))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { checkpoint, signatures })
    }

    /// The checkpoint, if one of `keys` signed it.
    pub(super) fn verify(self, keys: &[PublicKey]) -> Option<Checkpoint> {
        let text = self.checkpoint.text();
        let signed =
            self.signatures.iter().any(|(name, signature)| keys.iter().any(|key| key.verifies(name, &text, signature)));
        signed.then_some(self.checkpoint)
    }
}

/// The public half of a checkpoint key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: [u8; 4],
    point: [u8; 32],
}

impl PublicKey {
    fn new(name: &str, point: [u8; 32]) -> Self {
        let [a, b, c, d, ..] = hash(&[name.as_bytes(), b"\n", &[ED25519_NOTE], &point]);
        Self { name: name.to_owned(), id: [a, b, c, d], point }
    }

    /// Reads a C2SP `vkey`. `None` when it is not an Ed25519 one, or its key id does not fit.
    #[must_use]
    pub fn parse(vkey: &str) -> Option<Self> {
        let mut parts = vkey.splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let decoded = STANDARD.decode(key).ok()?;
        let (&ED25519_NOTE, point) = decoded.split_first()? else { return None };
        let key = Self::new(name, point.try_into().ok()?);
        (key.id_hex() == id && is_name(name)).then_some(key)
    }

    fn id_hex(&self) -> String {
        let [a, b, c, d] = self.id;
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }

    fn verifies(&self, name: &str, text: &str, signature: &[u8]) -> bool {
        let Some((id, signature)) = signature.split_first_chunk::<4>() else { return false };
        name == self.name
            && *id == self.id
            && UnparsedPublicKey::new(&ED25519, self.point).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_NOTE];
        key.extend_from_slice(&self.point);
        write!(f, "{}+{}+{}", self.name, self.id_hex(), STANDARD.encode(key))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The private half.
pub(super) struct Signer {
    public: PublicKey,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// A key from its seed, under the log's name.
    pub(super) fn from_seed(name: &str, seed: &[u8; 32]) -> Option<Self> {
        if !is_name(name) {
            return None;
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let point = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { public: PublicKey::new(name, point), pair })
    }

    /// Reads what [`Signer::encode`] wrote. The name in the file is not used: `name` counts.
    pub(super) fn decode(name: &str, text: &str) -> Option<Self> {
        let mut parts = text.trim_end().strip_prefix("PRIVATE+KEY+")?.splitn(3, '+');
        let key = parts.nth(2)?;
        let mut decoded = Zeroizing::new([0; 33]);
        let length = STANDARD.decode_slice(key, decoded.as_mut_slice()).ok()?;
        let (&ED25519_NOTE, seed) = decoded.get(..length)?.split_first()? else { return None };
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.try_into().ok()?);
        Self::from_seed(name, &seed)
    }

    /// The key file's text: the private key form of C2SP `signed-note`.
    pub(super) fn encode(name: &str, seed: &[u8; 32]) -> Option<Zeroizing<String>> {
        let public = Self::from_seed(name, seed)?.public;
        let mut key = Zeroizing::new([0; 33]);
        let (first, rest) = key.split_first_mut()?;
        *first = ED25519_NOTE;
        rest.copy_from_slice(seed);
        let encoded = Zeroizing::new(STANDARD.encode(key.as_slice()));
        Some(Zeroizing::new(format!("PRIVATE+KEY+{name}+{}+{}\n", public.id_hex(), encoded.as_str())))
    }

    pub(super) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signed note that says: the first `size` lines have this root.
    pub(super) fn sign(&self, size: u64, root: Hash) -> String {
        let checkpoint = Checkpoint { origin: self.public.name.clone(), size, root };
        let text = checkpoint.text();
        let mut signature = self.public.id.to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n— {} {}\n", self.public.name, STANDARD.encode(signature))
    }
}

/// Whether C2SP `signed-note` allows `name` as the name of a key.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    fn signer() -> Signer {
        Signer::from_seed("gw.example/audit", &[7; 32]).unwrap()
    }

    #[test]
    fn a_signed_note_verifies_and_says_what_was_signed() {
        let note = signer().sign(42, [9; 32]);
        assert!(note.starts_with("gw.example/audit\n42\nCQkJ"), "{note}");
        let checkpoint = Note::parse(&note).unwrap().verify(&[signer().public().clone()]).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (42, [9; 32]));
    }

    #[test]
    fn a_changed_note_does_not_verify() {
        let keys = [signer().public().clone()];
        let note = signer().sign(42, [9; 32]);
        let mut noticed = 0;
        for place in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            *bytes.get_mut(place).unwrap() ^= 0x01;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(Note::parse(&text).and_then(|note| note.verify(&keys)).is_none(), "byte {place}");
                noticed += 1;
            }
        }
        assert!(noticed > 100);
    }

    #[test]
    fn a_note_that_this_log_would_not_write_is_not_read() {
        let note = signer().sign(42, [9; 32]);
        let root = STANDARD.encode([9; 32]);
        assert!(Note::parse(&note).is_some());
        for (old, new) in [
            ("gw.example/audit\n42", "\n42"),
            ("\n42\n", "\n042\n"),
            ("\n42\n", "\n+42\n"),
            ("\n42\n", "\n-42\n"),
            (&*root, &*format!("{root}\nan extension")),
            (&root, &STANDARD.encode([9; 31])),
            ("— ", "- "),
        ] {
            assert!(Note::parse(&note.replacen(old, new, 1)).is_none(), "{new}");
        }
    }

    #[test]
    fn what_cannot_be_the_name_of_a_key_names_none() {
        let point = signer().public().point;
        let long = "x".repeat(256);
        for name in ["", "a b", "a\tb", "a\u{7}b", "a+b", &long] {
            assert!(Signer::from_seed(name, &[7; 32]).is_none(), "{name:?}");
            assert!(PublicKey::parse(&PublicKey::new(name, point).to_string()).is_none(), "{name:?}");
        }
        assert!(Signer::from_seed(long.split_at(1).1, &[7; 32]).is_some());
    }

    #[test]
    fn a_key_of_another_algorithm_or_without_its_armour_is_not_read() {
        let other = |bytes: &[u8]| STANDARD.encode([&[0x02], bytes].concat());
        let public = signer().public().clone();
        assert!(PublicKey::parse(&format!("{}+{}+{}", public.name, public.id_hex(), other(&public.point))).is_none());
        let text = Signer::encode("gw.example/audit", &[7; 32]).unwrap();
        let (head, _) = text.rsplit_once('+').unwrap();
        assert!(Signer::decode("gw.example/audit", &format!("{head}+{}\n", other(&[7; 32]))).is_none());
        assert!(Signer::decode("gw.example/audit", text.strip_prefix("PRIVATE+KEY+").unwrap()).is_none());
    }

    #[test]
    fn another_key_of_the_same_name_does_not_verify() {
        let other = Signer::from_seed("gw.example/audit", &[8; 32]).unwrap();
        let note = other.sign(42, [9; 32]);
        assert!(Note::parse(&note).unwrap().verify(&[signer().public().clone()]).is_none());
    }

    #[test]
    fn keys_survive_their_files() {
        let text = Signer::encode("gw.example/audit", &[7; 32]).unwrap();
        assert_eq!(Signer::decode("gw.example/audit", &text).unwrap().public(), signer().public());
        let vkey = signer().public().to_string();
        assert_eq!(PublicKey::parse(&vkey).as_ref(), Some(signer().public()));
        assert!(PublicKey::parse(&vkey.replace("gw.", "gx.")).is_none(), "the key id covers the name");
    }

    #[test]
    fn the_example_of_the_go_package_verifies() {
        // https://pkg.go.dev/golang.org/x/mod/sumdb/note
        let key = PublicKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        assert!(key.verifies("PeterNeumann", text, &STANDARD.decode(signature).unwrap()));
    }
}
