//! JSON Patch on the text (RFC 6902, with the pointers of RFC 6901): what an operation does not touch is copied byte for byte, so
//! numbers keep their digits.
//!
//! Takes a patch document and the text to change, both of which passed the strict pass; gives the new text. Promises: operations
//! are applied in order and all of them or none; a location that is not there is an error, never a guess; the result is
//! bounded in size and depth, also when a document is copied into itself. What comes out is to be parsed again: whether it
//! is still JSON with one meaning is for the strict pass to say.

mod number;
mod pointer;

use std::borrow::Cow;
use std::fmt;

pub use pointer::Pointer;

use super::{Json, Kind, Value};

/// Operations of one patch at most.
const MOST_OPERATIONS: usize = 512;
/// Levels that are taken apart at most; more would need a pointer as long.
const DEEPEST: usize = 128;
/// Parts that a document is taken into at most: a list that is copied into itself doubles with every operation.
const MOST_PARTS: usize = 250_000;
/// Parts that are counted for all operations of one patch at most.
const MOST_COUNTED: usize = 16_000_000;

/// A patch document whose operations are well-formed.
#[derive(Debug)]
pub struct Patch<'p> {
    operations: Vec<Operation<'p>>,
}

/// One operation (RFC 6902 section 4).
#[derive(Debug)]
#[expect(missing_docs, reason = "the RFC's own words")]
pub enum Operation<'p> {
    Add { path: Pointer, value: Value<'p> },
    Remove { path: Pointer },
    Replace { path: Pointer, value: Value<'p> },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: Value<'p> },
}

/// Why a patch was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchError {
    /// It is no patch document (RFC 6902 section 3 and 4).
    Malformed,
    /// A location is not there, or nothing can be put there.
    Inapplicable,
    /// A `test` found another value.
    TestFailed,
    /// The result would be larger or deeper than it may be.
    TooLarge,
}

impl<'p> Patch<'p> {
    /// Reads a patch document: an array of operations. Members that the RFC does not define are ignored, as it says.
    ///
    /// # Errors
    /// [`PatchError::Malformed`] when it is none, or has more than 512 operations.
    pub fn parse(document: Value<'p>) -> Result<Self, PatchError> {
        if document.kind() != Kind::Array || document.elements().nth(MOST_OPERATIONS).is_some() {
            return Err(PatchError::Malformed);
        }
        let operations = document.elements().map(operation).collect::<Option<Vec<_>>>();
        operations.map(|operations| Self { operations }).ok_or(PatchError::Malformed)
    }

    /// The operations, in order.
    #[must_use]
    pub fn operations(&self) -> &[Operation<'p>] {
        &self.operations
    }

    /// Whether an operation asks what is there.
    #[must_use]
    pub fn tests(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation, Operation::Test { .. }))
    }

    /// The text of `document` after all operations, at most `longest` bytes.
    ///
    /// # Errors
    /// When one of the operations cannot be applied; then none is.
    pub fn apply(&self, document: &Json, longest: usize) -> Result<Vec<u8>, PatchError> {
        let mut root = Node::Whole(document.root());
        let mut counted = 0_usize;
        for operation in &self.operations {
            root.change(operation)?;
            let Measure { size, depth, parts } = root.measure();
            counted = counted.saturating_add(parts);
            if size > longest || depth > DEEPEST || parts > MOST_PARTS || counted > MOST_COUNTED {
                return Err(PatchError::TooLarge);
            }
        }
        let mut text = Vec::with_capacity(document.bytes().len());
        root.write(&mut text);
        Ok(text)
    }
}

/// Whether two values are the same, however they are written: numbers by value, objects in any order (RFC 6902 section 4.6).
#[must_use]
pub fn same(one: Value<'_>, other: Value<'_>) -> bool {
    Node::Whole(one).equals(&mut Node::Whole(other))
}

fn operation(value: Value<'_>) -> Option<Operation<'_>> {
    let pointer = |name: &str| Pointer::parse(&value.text(name)?);
    let path = pointer("path")?;
    Some(match &*value.text("op")? {
        "add" => Operation::Add { path, value: value.member("value")? },
        "remove" => Operation::Remove { path },
        "replace" => Operation::Replace { path, value: value.member("value")? },
        "move" => Operation::Move { from: pointer("from")?, path },
        "copy" => Operation::Copy { from: pointer("from")?, path },
        "test" => Operation::Test { path, value: value.member("value")? },
        _ => return None,
    })
}

/// A value, taken apart as far as an operation reached into it.
#[derive(Clone, Debug)]
enum Node<'a> {
    /// As it stands in a text.
    Whole(Value<'a>),
    /// Keys as written, quotes included.
    Object(Vec<(Cow<'a, [u8]>, Cow<'a, str>, Node<'a>)>),
    Array(Vec<Node<'a>>),
}

/// How large a document is that is taken apart.
struct Measure {
    /// Bytes it takes at least.
    size: usize,
    /// Levels of it that are taken apart.
    depth: usize,
    /// Into how many parts.
    parts: usize,
}

impl<'a> Node<'a> {
    fn change(&mut self, operation: &Operation<'a>) -> Result<(), PatchError> {
        match operation {
            Operation::Add { path, value } => self.add(path, Node::Whole(*value)),
            Operation::Remove { path } => self.remove(path).map(drop),
            Operation::Replace { path, value } => {
                *self.find(path.tokens())? = Node::Whole(*value);
                Ok(())
            }
            Operation::Move { from, path } if from.tokens() == path.tokens() => self.find(path.tokens()).map(drop),
            // A location cannot be moved into one of its own children (RFC 6902 section 4.4).
            Operation::Move { from, path } if path.tokens().starts_with(from.tokens()) => Err(PatchError::Inapplicable),
            Operation::Move { from, path } => {
                let moved = self.remove(from)?;
                self.add(path, moved)
            }
            Operation::Copy { from, path } => {
                let copied = self.find(from.tokens())?.clone();
                self.add(path, copied)
            }
            Operation::Test { path, value } => {
                let (mut found, mut wanted) = (self.find(path.tokens())?.clone(), Node::Whole(*value));
                if found.equals(&mut wanted) { Ok(()) } else { Err(PatchError::TestFailed) }
            }
        }
    }

    fn add(&mut self, path: &Pointer, new: Self) -> Result<(), PatchError> {
        let Some((last, parents)) = path.tokens().split_last() else {
            *self = new;
            return Ok(());
        };
        match self.find(parents)?.apart() {
            Node::Object(members) => match members.iter_mut().find(|(_, name, _)| name == last) {
                Some((_, _, value)) => *value = new,
                None => members.push((super::quote(last).into(), last.clone().into(), new)),
            },
            Node::Array(elements) => {
                let at = if last == "-" { elements.len() } else { index(last)? };
                if at > elements.len() {
                    return Err(PatchError::Inapplicable);
                }
                elements.insert(at, new);
            }
            Node::Whole(_) => return Err(PatchError::Inapplicable),
        }
        Ok(())
    }

    fn remove(&mut self, path: &Pointer) -> Result<Self, PatchError> {
        let (last, parents) = path.tokens().split_last().ok_or(PatchError::Inapplicable)?;
        match self.find(parents)?.apart() {
            Node::Object(members) => {
                let at = members.iter().position(|(_, name, _)| name == last).ok_or(PatchError::Inapplicable)?;
                Ok(members.remove(at).2)
            }
            Node::Array(elements) => {
                let at = index(last)?;
                if at < elements.len() { Ok(elements.remove(at)) } else { Err(PatchError::Inapplicable) }
            }
            Node::Whole(_) => Err(PatchError::Inapplicable),
        }
    }

    fn find(&mut self, tokens: &[String]) -> Result<&mut Self, PatchError> {
        let mut node = self;
        for token in tokens {
            node = match node.apart() {
                Node::Object(members) => {
                    let found = members.iter_mut().find(|(_, name, _)| name == token);
                    found.map(|(_, _, value)| value).ok_or(PatchError::Inapplicable)?
                }
                Node::Array(elements) => elements.get_mut(index(token)?).ok_or(PatchError::Inapplicable)?,
                Node::Whole(_) => return Err(PatchError::Inapplicable),
            };
        }
        Ok(node)
    }

    /// The same value, its outermost level taken apart when it is an object or array.
    fn apart(&mut self) -> &mut Self {
        if let Node::Whole(value) = self {
            let value = *value;
            match value.kind() {
                Kind::Object => {
                    let members = value.members();
                    let members =
                        members.map(|member| (member.key.raw().into(), member.name(), Node::Whole(member.value)));
                    *self = Node::Object(members.collect());
                }
                Kind::Array => *self = Node::Array(value.elements().map(Node::Whole).collect()),
                Kind::String | Kind::Number | Kind::True | Kind::False | Kind::Null => {}
            }
        }
        self
    }

    /// Equal as RFC 6902 section 4.6 has it: numbers by value, objects in any order.
    fn equals(&mut self, other: &mut Self) -> bool {
        match (self.apart(), other.apart()) {
            (Node::Object(ours), Node::Object(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter_mut().all(|(_, name, value)| {
                        let same = theirs.iter_mut().find(|(_, known, _)| known == name);
                        same.is_some_and(|(_, _, theirs)| value.equals(theirs))
                    })
            }
            (Node::Array(ours), Node::Array(theirs)) => {
                ours.len() == theirs.len() && ours.iter_mut().zip(theirs).all(|(one, other)| one.equals(other))
            }
            (Node::Whole(ours), Node::Whole(theirs)) => match (ours.kind(), theirs.kind()) {
                (Kind::Number, Kind::Number) => number::equal(ours.raw(), theirs.raw()),
                (Kind::String, Kind::String) => ours.content() == theirs.content(),
                (one, other) => one == other,
            },
            _ => false,
        }
    }

    fn measure(&self) -> Measure {
        let within = |children: &mut dyn Iterator<Item = &Self>| {
            let none = Measure { size: 2, depth: 0, parts: 1 };
            children.fold(none, |all, child| {
                let one = child.measure();
                Measure {
                    size: all.size.saturating_add(one.size).saturating_add(1),
                    depth: all.depth.max(one.depth),
                    parts: all.parts.saturating_add(one.parts),
                }
            })
        };
        match self {
            Node::Whole(value) => Measure { size: value.raw().len(), depth: 0, parts: 1 },
            Node::Object(members) => {
                let keys: usize = members.iter().map(|(key, _, _)| key.len() + 1).sum();
                let all = within(&mut members.iter().map(|(_, _, value)| value));
                Measure { size: all.size.saturating_add(keys), depth: all.depth + 1, ..all }
            }
            Node::Array(elements) => {
                let all = within(&mut elements.iter());
                Measure { depth: all.depth + 1, ..all }
            }
        }
    }

    fn write(&self, text: &mut Vec<u8>) {
        match self {
            Node::Whole(value) => text.extend_from_slice(value.raw()),
            Node::Object(members) => {
                text.push(b'{');
                for (at, (key, _, value)) in members.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(key);
                    text.push(b':');
                    value.write(text);
                }
                text.push(b'}');
            }
            Node::Array(elements) => {
                text.push(b'[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    element.write(text);
                }
                text.push(b']');
            }
        }
    }
}

/// An array index: digits without a leading zero (RFC 6901 section 4).
fn index(token: &str) -> Result<usize, PatchError> {
    let plain = token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| plain).ok_or(PatchError::Inapplicable)
}

impl PatchError {
    /// What was expected.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "expected an array of operations as RFC 6902 has them",
            Self::Inapplicable => "expected every location of the patch to be there",
            Self::TestFailed => "expected the value that the patch tests for",
            Self::TooLarge => "expected the result of the patch to be smaller",
        }
    }
}

impl fmt::Display for PatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for PatchError {}

#[cfg(test)]
mod tests;
