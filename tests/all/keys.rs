//! No private key but those of the test PKI is in the repository.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// What no repository of ours holds: build results, other people's packages, version control; what `demo` and `init` write is in
/// `.gitignore`.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", ".cache", ".venv", "firebreak-demo", "firebreak"];

#[test]
fn no_private_key_lies_outside_the_test_pki() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    files(root, &mut |path| {
        let text = fs::read(&path).unwrap_or_default();
        if holds_private_key(&text) {
            found.push(path.strip_prefix(root).unwrap().to_owned());
        }
    });
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
    assert!(["/firebreak-demo", "/firebreak"].iter().all(|name| ignored.lines().any(|line| line == *name)));
    let (pki, stray): (Vec<PathBuf>, Vec<PathBuf>) = found.into_iter().partition(|path| path.starts_with("certs"));
    assert!(!pki.is_empty(), "the search finds the keys of the test PKI");
    assert!(stray.is_empty(), "private keys outside certs/: {stray:?}");
}

/// A PEM private key: the armour and, behind it, a line of base64. The words alone, as in a parser, are none.
fn holds_private_key(text: &[u8]) -> bool {
    let armour = ["PRIVATE", "KEY-----"].join(" ");
    let text = String::from_utf8_lossy(text);
    text.match_indices(&armour).any(|(at, _)| {
        let line = text.get(at + armour.len()..).unwrap_or_default().trim_start().lines().next().unwrap_or_default();
        line.len() >= 40 && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
    })
}

fn files(directory: &Path, found: &mut impl FnMut(PathBuf)) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
            files(&entry.path(), found);
        } else if kind.is_file() && entry.metadata().unwrap().len() < 1 << 20 {
            found(entry.path());
        }
    }
}
