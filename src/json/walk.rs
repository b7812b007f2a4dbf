//! The strict pass: bytes in, index of values out.
//!
//! Recursive descent over RFC 8259, bounded by [`Limits::depth`]; UTF-8 is checked for the whole text first, so that the
//! descent only looks at ASCII. A key costs one index node, then its value follows.

use std::borrow::Cow;
use std::collections::HashSet;

use super::text::unescape;
use super::{Error, ErrorKind, Kind, Limits};

/// One key or value: its bytes (quotes included) and where the next sibling's node is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) next: u32,
    pub(super) kind: Kind,
    /// A string with at least one escape sequence.
    pub(super) escaped: bool,
}

/// Checks `bytes` and returns the nodes in text order; the first is the text's one value.
pub(super) fn walk(bytes: &[u8], limits: Limits) -> Result<Vec<Node>, Error> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(Error { kind: ErrorKind::TooLong, offset: 0 });
    }
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        return Err(Error { kind: ErrorKind::ByteOrderMark, offset: 0 });
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(Error { kind: ErrorKind::Utf8, offset: error.valid_up_to() });
    }
    let capacity = (bytes.len() / 10).min(limits.nodes) + 1;
    let mut walker = Walker { bytes, at: 0, nodes: Vec::with_capacity(capacity), keys: Vec::new(), limits };
    walker.whitespace();
    walker.value(0)?;
    walker.whitespace();
    if walker.at == bytes.len() { Ok(walker.nodes) } else { Err(walker.error(ErrorKind::TrailingData)) }
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The keys of all objects that are open, innermost last.
    keys: Vec<Key>,
    limits: Limits,
}

/// A key as compared. Its first eight bytes tell most keys apart without looking at the text.
#[derive(Clone, Copy)]
struct Key {
    head: u64,
    start: u32,
    end: u32,
    escaped: bool,
}

/// Up to this many keys are compared one by one; more are hashed.
const LINEAR: usize = 16;

impl<'a> Walker<'a> {
    fn value(&mut self, depth: u32) -> Result<(), Error> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true", Kind::True),
            Some(b'f') => self.literal(b"false", Kind::False),
            Some(b'n') => self.literal(b"null", Kind::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn object(&mut self, depth: u32) -> Result<(), Error> {
        let index = self.open(Kind::Object, depth)?;
        let first = self.keys.len();
        let mut hashed = None;
        self.whitespace();
        if self.peek() == Some(b'}') {
            return self.close(index);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let key = self.string()?;
            self.distinct(first, key, &mut hashed)?;
            self.whitespace();
            self.expect(b':')?;
            self.whitespace();
            self.value(depth + 1)?;
            self.whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.unexpected()),
            }
            self.whitespace();
        }
        self.keys.truncate(first);
        self.close(index)
    }

    fn array(&mut self, depth: u32) -> Result<(), Error> {
        let index = self.open(Kind::Array, depth)?;
        self.whitespace();
        if self.peek() == Some(b']') {
            return self.close(index);
        }
        loop {
            self.value(depth + 1)?;
            self.whitespace();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => return self.close(index),
                _ => return Err(self.unexpected()),
            }
            self.whitespace();
        }
    }

    /// Consumes the opening bracket and reserves the container's node, which [`Walker::close`] completes.
    fn open(&mut self, kind: Kind, depth: u32) -> Result<usize, Error> {
        if depth >= self.limits.depth {
            return Err(self.error(ErrorKind::TooDeep));
        }
        let index = self.nodes.len();
        let start = self.at;
        self.at += 1;
        self.push(start, kind, false)?;
        Ok(index)
    }

    fn close(&mut self, index: usize) -> Result<(), Error> {
        self.at += 1;
        let (end, next) = (self.offset(self.at)?, self.offset(self.nodes.len())?);
        if let Some(node) = self.nodes.get_mut(index) {
            node.end = end;
            node.next = next;
        }
        Ok(())
    }

    /// Consumes a string and pushes its node, which is also returned.
    fn string(&mut self) -> Result<Node, Error> {
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return self.push(start, Kind::String, escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.error(ErrorKind::Control)),
                None => return Err(self.error(ErrorKind::Truncated)),
            }
        }
    }

    /// Skips to the next quote, backslash, control character or the end: eight bytes a step, then one.
    fn plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        // The lowest marked byte is exact: a borrow can only mark bytes above one that is marked itself.
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            let marks = below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5C), 1);
            if marks != 0 {
                self.at += marks.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), Error> {
        let start = self.at;
        match self.bytes.get(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at = start + 2,
            Some(b'u') => match self.code_unit(start)? {
                0xD800..=0xDBFF => match self.code_unit(start + 6) {
                    Ok(0xDC00..=0xDFFF) => self.at = start + 12,
                    _ => return Err(self.error(ErrorKind::LoneSurrogate)),
                },
                0xDC00..=0xDFFF => return Err(self.error(ErrorKind::LoneSurrogate)),
                _ => self.at = start + 6,
            },
            Some(_) => return Err(self.error(ErrorKind::Escape)),
            None => return Err(Error { kind: ErrorKind::Truncated, offset: self.bytes.len() }),
        }
        Ok(())
    }

    /// The value of the `\uXXXX` at `start`.
    fn code_unit(&self, start: usize) -> Result<u32, Error> {
        let escape = self.bytes.get(start..start + 6).and_then(|escape| escape.strip_prefix(b"\\u"));
        let digits = escape.ok_or_else(|| self.error(ErrorKind::Escape))?;
        digits.iter().try_fold(0, |value, digit| match char::from(*digit).to_digit(16) {
            Some(digit) => Ok(value * 16 + digit),
            None => Err(self.error(ErrorKind::Escape)),
        })
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        if let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = self.peek() {
            return Err(self.error(ErrorKind::Number));
        }
        self.push(start, Kind::Number, false).map(|_| ())
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.error(ErrorKind::Number)) } else { Ok(()) }
    }

    fn literal(&mut self, text: &[u8], kind: Kind) -> Result<(), Error> {
        let start = self.at;
        if !self.bytes.get(start..).is_some_and(|rest| rest.starts_with(text)) {
            return Err(self.unexpected());
        }
        self.at += text.len();
        self.push(start, kind, false).map(|_| ())
    }

    /// Refuses a key that its object already has: compared one by one up to [`LINEAR`] keys, by a keyed hash above.
    fn distinct(&mut self, first: usize, node: Node, hashed: &mut Option<HashSet<Cow<'a, [u8]>>>) -> Result<(), Error> {
        let key = self.key(node);
        let siblings = self.keys.get(first..).unwrap_or_default();
        if siblings.len() >= self.limits.keys {
            return Err(Error { kind: ErrorKind::TooManyKeys, offset: node.start as usize });
        }
        let fresh = if siblings.len() < LINEAR {
            !siblings.iter().any(|other| self.same(*other, key))
        } else {
            let seen = hashed.get_or_insert_with(|| siblings.iter().map(|other| self.content(*other)).collect());
            seen.insert(self.content(key))
        };
        if !fresh {
            return Err(Error { kind: ErrorKind::DuplicateKey, offset: node.start as usize });
        }
        self.keys.push(key);
        Ok(())
    }

    fn key(&self, node: Node) -> Key {
        let mut key = Key { head: 0, start: node.start + 1, end: node.end - 1, escaped: node.escaped };
        let start = key.start as usize;
        let word = self.bytes.get(start..).and_then(<[u8]>::first_chunk::<8>).filter(|_| !key.escaped);
        key.head = match word {
            // What follows the key is shifted out.
            Some(word) => u64::from_be_bytes(*word) >> (8 * 8_u32.saturating_sub(key.end - key.start)).min(63),
            None => self.content(key).iter().take(8).fold(0, |head, byte| head << 8 | u64::from(*byte)),
        };
        key
    }

    fn same(&self, one: Key, other: Key) -> bool {
        one.head == other.head && self.content(one) == self.content(other)
    }

    /// The key's text without quotes, unescaped.
    fn content(&self, key: Key) -> Cow<'a, [u8]> {
        let raw = self.bytes.get(key.start as usize..key.end as usize).unwrap_or_default();
        if key.escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }

    /// Pushes the node of a value that starts at `start` and ends here.
    fn push(&mut self, start: usize, kind: Kind, escaped: bool) -> Result<Node, Error> {
        if self.nodes.len() >= self.limits.nodes {
            return Err(Error { kind: ErrorKind::TooManyNodes, offset: start });
        }
        let next = self.offset(self.nodes.len() + 1)?;
        let node = Node { start: self.offset(start)?, end: self.offset(self.at)?, next, kind, escaped };
        self.nodes.push(node);
        Ok(node)
    }

    /// INVARIANT: the text is shorter than 4 GiB and has no more nodes than bytes, so this does not fail.
    fn offset(&self, offset: usize) -> Result<u32, Error> {
        u32::try_from(offset).map_err(|_| self.error(ErrorKind::TooLong))
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn unexpected(&self) -> Error {
        self.error(if self.at < self.bytes.len() { ErrorKind::Unexpected } else { ErrorKind::Truncated })
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, offset: self.at }
    }
}
