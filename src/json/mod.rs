//! JSON without losing a digit: one strict pass over the bytes, spans to read from, splices to write with.
//!
//! Takes the bytes of a FHIR body (RFC 8259), gives a [`Json`]: the same bytes plus a flat index of where every value
//! starts and ends. From it facts are read through [`Value`] and output is made with [`Edits`], which copies everything
//! that is not edited byte for byte, so `1.10`, `1e400` and twenty-digit numbers leave as they came.
//!
//! Promises: what [`Json::parse`] accepts is well-formed UTF-8 and JSON with one meaning: no byte order mark, no trailing
//! data, no duplicate key in any object (compared after unescaping), no lone surrogate, bounded depth, keys per object
//! and number of values. Arbitrary bytes never panic. The reader reads what the pass has seen, so there is no second
//! parser to disagree with.
//!
//! Does not: build a DOM, convert numbers, know FHIR, limit the size of the input (the caller does, before buffering).

mod edits;
pub mod patch;
mod text;
mod value;
mod walk;

#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

pub use edits::{Contradiction, Edits};
pub use text::{quote, quote_into};
pub use value::{Elements, Kind, Member, Members, Value};

/// A range of byte offsets in the parsed text.
pub type Span = std::ops::Range<usize>;

/// What one strict pass accepts, in counts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nesting of objects and arrays.
    pub depth: u32,
    /// Keys in one object.
    pub keys: usize,
    /// Keys and values in the whole text; each costs 16 bytes of index.
    pub nodes: usize,
}

impl Default for Limits {
    /// Depth 64, 256 keys per object, 2²¹ keys and values: far above any FHIR resource.
    fn default() -> Self {
        Self { depth: 64, keys: 256, nodes: 1 << 21 }
    }
}

/// A JSON text that passed the strict pass, with the index of its values.
#[derive(Clone, Debug)]
pub struct Json {
    bytes: Bytes,
    nodes: Vec<walk::Node>,
}

impl Json {
    /// Checks `bytes` in one strict pass and indexes it.
    ///
    /// # Errors
    /// The first violation of RFC 8259 or of the stricter rules in the module's description, with its offset.
    pub fn parse(bytes: impl Into<Bytes>, limits: Limits) -> Result<Self, Error> {
        let bytes = bytes.into();
        let nodes = walk::walk(&bytes, limits)?;
        Ok(Self { bytes, nodes })
    }

    /// The text as it came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The one value of the text.
    #[must_use]
    pub fn root(&self) -> Value<'_> {
        Value::at(self, 0)
    }

    /// Bytes of memory held, for caches that are bounded by bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.nodes.len() * size_of::<walk::Node>()
    }
}

/// Why a text was refused, and where. Carries no piece of the text, which may name a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    offset: usize,
}

/// The rule that a refused text violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 4 GiB or more.
    TooLong,
    /// A byte order mark (RFC 8259 section 8.1).
    ByteOrderMark,
    /// A byte sequence that is not UTF-8.
    Utf8,
    /// The text ends inside a value.
    Truncated,
    /// A byte that no rule of the grammar allows here.
    Unexpected,
    /// A number outside the grammar of RFC 8259 section 6.
    Number,
    /// A control character inside a string.
    Control,
    /// An escape sequence outside the grammar of RFC 8259 section 7.
    Escape,
    /// A `\u` escape that names half of a surrogate pair.
    LoneSurrogate,
    /// Something follows the value.
    TrailingData,
    /// The same key twice in one object.
    DuplicateKey,
    /// More nesting than [`Limits::depth`].
    TooDeep,
    /// More keys in one object than [`Limits::keys`].
    TooManyKeys,
    /// More keys and values than [`Limits::nodes`].
    TooManyNodes,
}

impl Error {
    /// The violated rule.
    #[must_use]
    pub fn kind(self) -> ErrorKind {
        self.kind
    }

    /// The byte offset of the violation.
    #[must_use]
    pub fn offset(self) -> usize {
        self.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::TooLong => "the text is longer than 4 GiB",
            ErrorKind::ByteOrderMark => "a byte order mark is not allowed",
            ErrorKind::Utf8 => "not valid utf-8",
            ErrorKind::Truncated => "the text ends inside a value",
            ErrorKind::Unexpected => "unexpected byte",
            ErrorKind::Number => "malformed number",
            ErrorKind::Control => "control character in a string",
            ErrorKind::Escape => "malformed escape sequence",
            ErrorKind::LoneSurrogate => "half of a surrogate pair",
            ErrorKind::TrailingData => "expected the end after the value",
            ErrorKind::DuplicateKey => "duplicate key",
            ErrorKind::TooDeep => "nested too deeply",
            ErrorKind::TooManyKeys => "too many keys in one object",
            ErrorKind::TooManyNodes => "too many values",
        };
        write!(f, "malformed json at byte {}: {what}", self.offset)
    }
}

impl std::error::Error for Error {}
