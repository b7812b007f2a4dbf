//! Reading: a cursor over the index of a parsed text.

use std::borrow::Cow;

use super::text::unescape;
use super::walk::Node;
use super::{Json, Span};

/// What a value is. Booleans are told apart here, because nothing else is to be known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number, whose text is [`Value::raw`].
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// One value of a parsed text. Copying it is free; every question that does not fit its kind has an empty answer.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    json: &'a Json,
    index: u32,
    node: Node,
}

impl<'a> Value<'a> {
    /// The value at `index`, `null` of no length when there is none (which the iterators below never ask for).
    #[inline]
    pub(super) fn at(json: &'a Json, index: u32) -> Self {
        let none = Node { start: 0, end: 0, next: index + 1, kind: Kind::Null, escaped: false };
        Self { json, index, node: json.nodes.get(index as usize).copied().unwrap_or(none) }
    }

    /// What the value is.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.node.kind
    }

    /// Whether the value is a string.
    #[must_use]
    pub fn is_string(self) -> bool {
        self.node.kind == Kind::String
    }

    /// Whether the value is an object or an array.
    #[must_use]
    pub fn is_container(self) -> bool {
        matches!(self.node.kind, Kind::Object | Kind::Array)
    }

    /// Where the value stands in the text, brackets and quotes included.
    #[must_use]
    pub fn span(self) -> Span {
        self.node.start as usize..self.node.end as usize
    }

    /// The value's bytes as they came, brackets and quotes included.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.json.bytes.get(self.span()).unwrap_or_default()
    }

    /// The text that the value is part of.
    #[must_use]
    pub fn document(self) -> &'a Json {
        self.json
    }

    /// The content of a string, unescaped; `None` for any other kind.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        match self.content()? {
            Cow::Borrowed(content) => std::str::from_utf8(content).ok().map(Cow::Borrowed),
            Cow::Owned(content) => String::from_utf8(content).ok().map(Cow::Owned),
        }
    }

    /// Whether the value is a string whose content, unescaped, is `text`.
    #[must_use]
    #[inline]
    pub fn is(self, text: &str) -> bool {
        // Without escapes the content is as long as it is written, which settles most questions.
        let may_be = self.node.escaped || (self.node.end - self.node.start) as usize == text.len() + 2;
        may_be && self.content().is_some_and(|content| *content == *text.as_bytes())
    }

    /// The members of an object in text order; none for any other kind.
    #[must_use]
    pub fn members(self) -> Members<'a> {
        Members(self.children(Kind::Object))
    }

    /// The elements of an array in text order; none for any other kind.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        self.children(Kind::Array)
    }

    /// The elements of an array, or the value itself when it is no array: how FHIR paths are walked.
    #[must_use]
    pub fn flatten(self) -> Elements<'a> {
        match self.node.kind {
            Kind::Array => self.elements(),
            _ => Elements { json: self.json, next: self.index, end: self.node.next },
        }
    }

    /// The value of the member called `name`; there is at most one.
    #[must_use]
    pub fn member(self, name: &str) -> Option<Value<'a>> {
        self.members().find(|member| member.key.is(name)).map(|member| member.value)
    }

    /// The unescaped content of the string member called `name`.
    #[must_use]
    pub fn text(self, name: &str) -> Option<Cow<'a, str>> {
        self.member(name)?.string()
    }

    /// Calls `visit` for every value at the end of `path`, where an array on the way, or at the end, stands for each of its
    /// elements: FHIR's paths.
    pub fn visit(self, path: &[&str], visit: &mut impl FnMut(Value<'a>)) {
        for value in self.flatten() {
            match path {
                [] => visit(value),
                [name, rest @ ..] => value.member(name).into_iter().for_each(|value| value.visit(rest, visit)),
            }
        }
    }

    pub(super) fn index(self) -> u32 {
        self.index
    }

    /// The content of a string as bytes, unescaped; `None` for any other kind.
    #[must_use]
    #[inline]
    pub fn content(self) -> Option<Cow<'a, [u8]>> {
        let Kind::String = self.node.kind else { return None };
        let raw = self.json.bytes.get(self.node.start as usize + 1..(self.node.end as usize).saturating_sub(1))?;
        Some(if self.node.escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    fn children(self, kind: Kind) -> Elements<'a> {
        let next = self.index + 1;
        let end = if self.node.kind == kind { self.node.next } else { next };
        Elements { json: self.json, next, end }
    }
}

/// A key and its value.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The key, a string.
    pub key: Value<'a>,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Member<'a> {
    /// The key's content, unescaped.
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        self.key.string().unwrap_or_default()
    }

    /// The key's content as bytes, unescaped: what to match on where it has to be quick.
    #[must_use]
    #[inline]
    pub fn name_bytes(&self) -> Cow<'a, [u8]> {
        self.key.content().unwrap_or_default()
    }

    /// From the key's opening quote to the value's end.
    #[must_use]
    pub fn span(&self) -> Span {
        self.key.span().start..self.value.span().end
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    json: &'a Json,
    next: u32,
    end: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        if self.next >= self.end {
            return None;
        }
        let value = Value::at(self.json, self.next);
        self.next = value.node.next;
        Some(value)
    }
}

/// The members of an object.
#[derive(Clone, Debug)]
pub struct Members<'a>(Elements<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        Some(Member { key: self.0.next()?, value: self.0.next()? })
    }
}
