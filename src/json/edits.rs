//! Writing: what to change in a text, everything else copied byte for byte.
//!
//! Edits may be collected by several rules that do not know each other: removing a member twice removes it once, and what
//! was edited inside a removed member goes with it. Only edits that contradict each other are an error, found when they
//! are applied, before anything is written.

use std::borrow::Cow;
use std::fmt;

use super::{Json, Member, Span, Value, quote_into};

/// Changes to be made in one text.
#[derive(Debug)]
pub struct Edits<'a> {
    json: &'a Json,
    replaced: Vec<(Span, Cow<'a, [u8]>)>,
    /// Container's node and child's offset.
    removed: Vec<(u32, usize)>,
    /// Container's node and the child's text.
    added: Vec<(u32, Vec<u8>)>,
    foreign: bool,
}

impl<'a> Edits<'a> {
    /// No changes to `json` yet.
    #[must_use]
    pub fn new(json: &'a Json) -> Self {
        Self { json, replaced: Vec::new(), removed: Vec::new(), added: Vec::new(), foreign: false }
    }

    /// Puts `with`, which must be JSON, in the place of `value`.
    pub fn replace(&mut self, value: Value<'_>, with: impl Into<Cow<'a, [u8]>>) {
        self.own(value);
        self.replaced.push((value.span(), with.into()));
    }

    /// Puts a string with the content `text` in the place of `value`.
    pub fn replace_string(&mut self, value: Value<'_>, text: &str) {
        self.replace(value, super::quote(text));
    }

    /// Removes `member`, which is one of `object`.
    pub fn remove_member(&mut self, object: Value<'_>, member: &Member<'_>) {
        self.own(object);
        self.removed.push((object.index(), member.key.span().start));
    }

    /// Removes `element`, which is one of `array`.
    pub fn remove_element(&mut self, array: Value<'_>, element: Value<'_>) {
        self.own(array);
        self.removed.push((array.index(), element.span().start));
    }

    /// Removes the members of `object` that `keep` does not want.
    pub fn retain_members<'v>(&mut self, object: Value<'v>, mut keep: impl FnMut(&Member<'v>) -> bool) {
        object.members().filter(|member| !keep(member)).for_each(|member| self.remove_member(object, &member));
    }

    /// Removes the elements of `array` that `keep` does not want.
    pub fn retain_elements<'v>(&mut self, array: Value<'v>, mut keep: impl FnMut(Value<'v>) -> bool) {
        array.elements().filter(|element| !keep(*element)).for_each(|element| self.remove_element(array, element));
    }

    /// Adds a member at the front of `object`, after those added before. `value` must be JSON, and `object` must have no member of that name that
    /// stays.
    pub fn add_member(&mut self, object: Value<'_>, name: &str, value: &[u8]) {
        let mut text = Vec::with_capacity(name.len() + value.len() + 3);
        quote_into(name, &mut text);
        text.push(b':');
        text.extend_from_slice(value);
        self.own(object);
        self.added.push((object.index(), text));
    }

    /// Adds an element, which must be JSON, at the front of `array`, after those added before.
    pub fn add_element(&mut self, array: Value<'_>, element: &[u8]) {
        self.own(array);
        self.added.push((array.index(), element.to_vec()));
    }

    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.removed.is_empty() && self.added.is_empty()
    }

    /// The whole text with all changes made.
    ///
    /// # Errors
    /// [`Contradiction`] when two edits touch the same bytes, or one was meant for another text.
    pub fn apply(self) -> Result<Vec<u8>, Contradiction> {
        let whole = 0..self.json.bytes().len();
        self.apply_to(whole)
    }

    /// The text of `value` alone with all changes made, which must lie in it.
    ///
    /// # Errors
    /// [`Contradiction`] as for [`Edits::apply`].
    pub fn apply_within(mut self, value: Value<'_>) -> Result<Vec<u8>, Contradiction> {
        self.own(value);
        self.apply_to(value.span())
    }

    fn apply_to(mut self, within: Span) -> Result<Vec<u8>, Contradiction> {
        if self.foreign {
            return Err(Contradiction(()));
        }
        self.resolve();
        // At one place insertions come first, of two spans the outer one, and of equal ones the removal.
        let order = |span: &Span, text: &[u8]| (span.start, !span.is_empty(), usize::MAX - span.end, !text.is_empty());
        self.replaced.sort_by_key(|(span, text)| order(span, text));
        let added: usize = self.replaced.iter().map(|(_, text)| text.len()).sum();
        let mut out = Vec::with_capacity(within.len() + added);
        let mut at = within.start;
        let mut last = None;
        for (span, text) in &self.replaced {
            if last.as_ref().is_some_and(|(outer, removed)| covers(outer, *removed, span)) {
                continue;
            }
            if span.start < at || span.end > within.end {
                return Err(Contradiction(()));
            }
            out.extend_from_slice(self.json.bytes().get(at..span.start).ok_or(Contradiction(()))?);
            out.extend_from_slice(text);
            at = span.end;
            last = Some((span.clone(), text.is_empty()));
        }
        out.extend_from_slice(self.json.bytes().get(at..within.end).ok_or(Contradiction(()))?);
        Ok(out)
    }

    /// Turns additions and removals into spans. A removed child goes with everything up to its right neighbour; a removed
    /// tail goes with everything from the last kept child on. So commas stay right and indentation stays as it was.
    fn resolve(&mut self) {
        self.removed.sort_unstable();
        self.removed.dedup();
        let removed = std::mem::take(&mut self.removed);
        for of_one in removed.chunk_by(|one, other| one.0 == other.0) {
            let Some((index, _)) = of_one.first() else { continue };
            let gone = |span: &Span| of_one.binary_search(&(*index, span.start)).is_ok();
            self.remove(children(Value::at(self.json, *index)).map(|span| (!gone(&span), span)));
        }
        self.added.sort_by_key(|(index, _)| *index);
        let added = std::mem::take(&mut self.added);
        for to_one in added.chunk_by(|one, other| one.0 == other.0) {
            let Some((index, _)) = to_one.first() else { continue };
            let container = Value::at(self.json, *index);
            let mut text = to_one.iter().map(|(_, text)| text.as_slice()).collect::<Vec<_>>().join(&b","[..]);
            if children(container).any(|span| removed.binary_search(&(*index, span.start)).is_err()) {
                text.push(b',');
            }
            let start = container.span().start + 1;
            self.replaced.push((start..start, text.into()));
        }
    }

    fn remove(&mut self, children: impl Iterator<Item = (bool, Span)>) {
        let mut kept_end = None;
        let mut removed: Option<Span> = None;
        let nothing = || Cow::Borrowed(&b""[..]);
        for (keep, span) in children {
            match (keep, removed.take()) {
                (true, gone) => {
                    kept_end = Some(span.end);
                    self.replaced.extend(gone.map(|gone| (gone.start..span.start, nothing())));
                }
                (false, Some(gone)) => removed = Some(gone.start..span.end),
                (false, None) => removed = Some(span),
            }
        }
        self.replaced.extend(removed.map(|gone| (kept_end.unwrap_or(gone.start)..gone.end, nothing())));
    }

    fn own(&mut self, value: Value<'_>) {
        self.foreign |= !std::ptr::eq(value.document(), self.json);
    }
}

/// Whether an edit at `inner` is lost in the edit at `outer`: it lies inside, or it is the same and `outer` is removed.
fn covers(outer: &Span, removed: bool, inner: &Span) -> bool {
    let lies_inside = outer.start <= inner.start && inner.end <= outer.end;
    lies_inside && (removed || inner != outer)
}

fn children(container: Value<'_>) -> impl Iterator<Item = Span> {
    container.members().map(|member| member.span()).chain(container.elements().map(Value::span))
}

/// Two edits touch the same bytes, or an edit was meant for another text: a fault of ours, never of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction(());

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("edits of one json text contradict each other")
    }
}

impl std::error::Error for Contradiction {}
