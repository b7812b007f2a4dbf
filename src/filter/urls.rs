//! The upstream's base URL in a resource becomes ours.
//!
//! Takes a resource's place in a parsed text and collects edits. Only whole strings at known places are looked at, unescaped
//! and parsed; nothing is searched and replaced in text. The places ([`Position`]) are where FHIR R4 puts an address that a
//! client would follow:
//!
//! | place | position |
//! |---|---|
//! | `Reference.reference` | [`Position::Reference`] |
//! | `Bundle.entry.fullUrl`, `Bundle.entry.response.location` | [`Position::Location`] |
//! | `Attachment.url`, `Bundle.link.url` and any other `url` of an element | [`Position::Url`] |
//! | `valueUrl` and `valueUri`, in extensions, Parameters and elsewhere | [`Position::Value`] |
//!
//! An upstream's base stays as it is everywhere else, on purpose: in narrative and other free text, which is not ours to
//! edit; in names, which a client compares and does not follow (canonical URLs such as `StructureDefinition.url` and
//! `meta.profile`, `Extension.url`, `Identifier.system`, `Coding.system`, `meta.source`); and in base64. It tells the host name
//! of the upstream and nothing about a patient.
//!
//! There is no search for the host name first: a base may be written with escapes, and the walk over the index costs less
//! than half a microsecond per Observation.

use crate::fhir::links::Context;
use crate::json::{Edits, Value};

/// Where in a resource an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// `Reference.reference`
    Reference,
    /// `fullUrl` and `location` of an entry
    Location,
    /// `url` of an element that is no extension
    Url,
    /// `valueUrl`, `valueUri`
    Value,
}

/// Calls `address` with the unescaped content of every address in `resource`, and puts what it returns in its place.
pub fn rewrite(resource: Value<'_>, edits: &mut Edits<'_>, address: &mut impl FnMut(Position, &str) -> Option<String>) {
    visit(resource, Context::Resource, &mut |position, value| {
        let Some(text) = value.string() else { return };
        if let Some(ours) = address(position, &text) {
            edits.replace_string(value, &ours);
        }
    });
}

/// The translation of the upstream's base into ours.
#[derive(Clone, Debug)]
pub struct Rebase {
    /// Ours, without a final `/`.
    ours: String,
    theirs: Vec<Base>,
}

impl Rebase {
    /// `theirs` are the bases under which the upstream names itself, with or without a final `/`. One that is no http or
    /// https URL, or that has a query or fragment, is never found.
    #[must_use]
    pub fn new(ours: &str, theirs: &[&str]) -> Self {
        let theirs = theirs.iter().filter_map(|base| Base::parse(base)).collect();
        Self { ours: ours.trim_end_matches('/').to_owned(), theirs }
    }

    /// Our base, without a final `/`.
    #[must_use]
    pub fn ours(&self) -> &str {
        &self.ours
    }

    /// Whether the text names a host of the upstream.
    #[must_use]
    pub fn names_theirs(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        self.theirs.iter().any(|base| text.contains(&base.authority))
    }

    /// `url` below our base, if it is the upstream's base or below it.
    #[must_use]
    pub fn outward(&self, url: &str) -> Option<String> {
        self.below(url).map(|rest| format!("{}{rest}", self.ours))
    }

    /// What follows the upstream's base in `url`: nothing, or something that begins with `/`, `?` or `#`.
    ///
    /// Scheme and host are compared without letter case and a default port is none (RFC 3986 section 6.2.2.1 and 6.2.3); the
    /// path is compared segment by segment. A URL that could be read in two ways, with dot segments, a backslash or white space,
    /// is not below any base.
    #[must_use]
    pub fn below<'u>(&self, url: &'u str) -> Option<&'u str> {
        let parts = Parts::split(url)?;
        let rest = self.theirs.iter().find_map(|base| base.rest(&parts))?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let ambiguous = path.split('/').any(is_dots) || rest.bytes().any(|byte| byte <= b' ' || byte == b'\\');
        (!ambiguous).then_some(rest)
    }

    /// The same of a link to a further page, which is asked for as it stands: without a fragment, and one line where several
    /// are sealed together.
    #[must_use]
    pub fn continuation<'u>(&self, url: &'u str) -> Option<&'u str> {
        self.below(url).filter(|rest| !rest.contains(['#', '\n']))
    }
}

#[derive(Clone, Debug)]
struct Base {
    https: bool,
    authority: String,
    path: String,
}

impl Base {
    fn parse(url: &str) -> Option<Self> {
        let Parts { https, authority, rest } = Parts::split(url)?;
        let path = rest.trim_end_matches('/');
        let plain = !path.contains(['?', '#', '\\']);
        plain.then(|| Self { https, authority: authority.to_ascii_lowercase(), path: path.to_owned() })
    }

    fn rest<'u>(&self, url: &Parts<'u>) -> Option<&'u str> {
        let same_origin = self.https == url.https && self.authority.eq_ignore_ascii_case(url.authority);
        let rest = url.rest.strip_prefix(&self.path).filter(|_| same_origin)?;
        (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
    }
}

/// An http or https URL, cut in three.
struct Parts<'u> {
    https: bool,
    /// Host and port, without the scheme's default port.
    authority: &'u str,
    /// Path, query and fragment.
    rest: &'u str,
}

impl<'u> Parts<'u> {
    fn split(url: &'u str) -> Option<Self> {
        let after = |scheme: &str| {
            let (start, rest) = url.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let (https, rest) = match after("http://") {
            Some(rest) => (false, rest),
            None => (true, after("https://")?),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end)?;
        let authority = without_default_port(authority, if https { "443" } else { "80" });
        (!authority.is_empty()).then_some(Self { https, authority, rest })
    }
}

/// Without the scheme's default port, or a `:` that no port follows. What has more than one port is left as it is: it is no
/// authority, and equals none.
fn without_default_port<'u>(authority: &'u str, default: &str) -> &'u str {
    match authority.rsplit_once(':') {
        Some((host, port)) if (port.is_empty() || port == default) && (!host.contains(':') || host.ends_with(']')) => {
            host
        }
        _ => authority,
    }
}

/// `.` and `..`, also percent-encoded.
fn is_dots(segment: &str) -> bool {
    segment.contains(['.', '%']) && matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..")
}

fn visit<'a>(value: Value<'a>, context: Context, found: &mut impl FnMut(Position, Value<'a>)) {
    value.elements().filter(|element| element.is_container()).for_each(|element| visit(element, context, found));
    for member in value.members() {
        if member.value.is_string() {
            if let Some(position) = position(&member.name_bytes(), context) {
                found(position, member.value);
            }
        } else if member.value.is_container() {
            visit(member.value, Context::below(&member.name_bytes()), found);
        }
    }
}

fn position(name: &[u8], context: Context) -> Option<Position> {
    match name {
        b"url" if context == Context::Element => Some(Position::Url),
        b"reference" => Some(Position::Reference),
        b"fullUrl" | b"location" => Some(Position::Location),
        b"valueUrl" | b"valueUri" => Some(Position::Value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
