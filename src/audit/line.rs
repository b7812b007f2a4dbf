//! One line of the log: what the writer puts in front of a record, and how a line is read again.
//!
//! `{"v":1,"seq":17,"time":"2026-11-23T01:02:03.456Z","prev":"<base64>",<the record's fields>}` and a newline. `seq`
//! starts at 1 and has no gaps; `time` is when the line was written; `prev` is the RFC 6962 leaf hash of the line before
//! (of the first line: 32 zero bytes), so each line names all that came before it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::merkle::Hash;
use super::record::Record;

/// The `prev` of the first line.
pub(super) const GENESIS: Hash = [0; 32];

/// The version of the lines' schema.
const VERSION: u32 = 1;

/// A record with its place in the log, as read from a line.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Its number; the first is 1.
    pub seq: u64,
    /// When it was written (RFC 3339, UTC, milliseconds).
    pub time: String,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
}

impl Entry {
    /// Reads a line. This does not verify anything: see [`verify()`](super::verify()).
    ///
    /// # Errors
    /// The reason, when the line is not a record of this schema version.
    pub fn parse(line: &str) -> Result<Self, String> {
        let head = Head::parse(line.as_bytes()).ok_or("the line is not a record of schema version 1")?;
        let entry: Self = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", head.seq))?;
        Ok(entry)
    }
}

/// What chains a line to the one before.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    v: u32,
    pub(super) seq: u64,
    pub(super) time: &'a str,
    #[serde(deserialize_with = "hash_of_base64")]
    pub(super) prev: Hash,
    pub(super) kind: &'a str,
}

impl<'a> Head<'a> {
    /// Reads the head of a line; the rest must be JSON. `None` when it is not, or of another version.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let head: Self = serde_json::from_slice(line).ok()?;
        (head.v == VERSION).then_some(head)
    }
}

/// The time as it stands in a line.
pub(super) fn time_text(now: Timestamp) -> String {
    format!("{now:.3}")
}

/// Appends a line without its newline: the head, and the fields of `body`, which is the JSON object of a record.
pub(super) fn write(into: &mut Vec<u8>, seq: u64, time: &str, prev: &Hash, body: &[u8]) {
    use std::io::Write;
    let mut encoded = [0; 44];
    let length = STANDARD.encode_slice(prev, &mut encoded).unwrap_or_default();
    let prev = encoded.get(..length).unwrap_or_default();
    // Writing to a vector does not fail.
    let _ = write!(into, "{{\"v\":{VERSION},\"seq\":{seq},\"time\":\"{time}\",\"prev\":\"");
    into.extend_from_slice(prev);
    into.extend_from_slice(b"\",");
    // INVARIANT: a record is never the empty object, its kind is always there.
    into.extend_from_slice(body.get(1..).unwrap_or_default());
}

fn hash_of_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let mut hash = [0; 32];
    match STANDARD.decode_slice(text.as_bytes(), &mut hash) {
        Ok(32) => Ok(hash),
        _ => Err(serde::de::Error::custom("expected 32 bytes in base64")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use crate::audit::record::EventKind;

    #[test]
    fn what_was_written_is_read_again() {
        let mut record = Record::new(EventKind::Login);
        record.sub = Some("u\"1".to_owned());
        record.client_ip = Some("2001:db8::1".parse().unwrap());
        let mut line = Vec::new();
        let time = time_text(Timestamp::from_millisecond(1_795_395_723_456).unwrap());
        write(&mut line, 7, &time, &[0xab; 32], &serde_json::to_vec(&record).unwrap());
        let text = String::from_utf8(line).unwrap();
        assert!(text.starts_with(r#"{"v":1,"seq":7,"time":"2026-11-23T01:02:03.456Z","prev":"q6urq6ur"#), "{text}");
        let entry = Entry::parse(&text).unwrap();
        assert_eq!((entry.seq, entry.record), (7, record));
        let head = Head::parse(text.as_bytes()).unwrap();
        assert_eq!((head.seq, head.prev), (7, [0xab; 32]));
    }

    #[test]
    fn another_version_is_not_read() {
        let line = format!(r#"{{"v":2,"seq":1,"time":"","prev":"{}","kind":"start"}}"#, STANDARD.encode(GENESIS));
        assert!(Head::parse(line.as_bytes()).is_none());
        assert!(Head::parse(line.replace("\"v\":2", "\"v\":1").as_bytes()).is_some());
    }
}
