//! References between resources, and resource ids (R4 references.html, datatypes.html#id).
//!
//! Takes the text of `Reference.reference`, gives what it names. A reference is local when it is `Type/id`, with or without
//! `/_history/version`, alone or after one of our [`Bases`], compared byte by byte. Everything else is something else: no
//! letter case is folded, nothing is unescaped, trimmed or resolved. Nothing is allocated.

use std::fmt;

use url::Url;

use super::resource_type::ResourceType;

/// The resource that `reference` names, if it is one of this server's.
#[must_use]
#[inline]
pub fn normalise<'a>(reference: &'a str, bases: &Bases) -> Option<LocalReference<'a>> {
    match Reference::parse(reference, bases) {
        Reference::Local(local) => Some(local),
        _ => None,
    }
}

/// What a reference is. Only [`Reference::Local`] names a resource of this server for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// `Patient/1`, `Patient/1/_history/2`, or the same below one of our bases.
    Local(LocalReference<'a>),
    /// `#x`: a contained resource, by its id. `#` alone is the container itself.
    Contained(&'a str),
    /// `urn:uuid:…`, `urn:oid:…`: another entry of the same bundle.
    Urn(&'a str),
    /// `Patient?identifier=1`: a search that a transaction would resolve.
    Conditional(&'a str),
    /// A well-formed absolute URL, http or https, whose origin is none of ours.
    Foreign(&'a str),
    /// Anything else, which some server may yet read as one of ours: wrong letter case, white space, a path below our origin that
    /// is no resource of ours. Refuse it in a write.
    Unclear(&'a str),
}

impl<'a> Reference<'a> {
    /// Tells what `reference` is. Never fails: what is not understood is [`Reference::Unclear`].
    #[must_use]
    pub fn parse(reference: &'a str, bases: &Bases) -> Self {
        if let Some(local) = LocalReference::parse_relative(reference) {
            return Self::Local(local);
        }
        if let Some(local) = bases.strip(reference).and_then(LocalReference::parse_relative) {
            return Self::Local(local);
        }
        if !reference.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Self::Unclear(reference);
        }
        if let Some(id) = reference.strip_prefix('#') {
            return if id.is_empty() || Id::parse(id).is_some() {
                Self::Contained(id)
            } else {
                Self::Unclear(reference)
            };
        }
        if reference.starts_with("urn:uuid:") || reference.starts_with("urn:oid:") {
            return Self::Urn(reference);
        }
        if reference.split_once('?').is_some_and(|(name, _)| ResourceType::parse(name).is_some()) {
            return Self::Conditional(reference);
        }
        if bases.is_foreign(reference) { Self::Foreign(reference) } else { Self::Unclear(reference) }
    }
}

/// A resource of this server, perhaps one version of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalReference<'a> {
    /// The type segment.
    pub resource_type: ResourceType,
    /// The id segment.
    pub id: Id<'a>,
    /// The version, when the reference names one.
    pub version: Option<Id<'a>>,
}

impl<'a> LocalReference<'a> {
    /// `Type/id` or `Type/id/_history/version`, exactly.
    #[must_use]
    #[inline]
    pub fn parse_relative(reference: &'a str) -> Option<Self> {
        let (name, rest) = reference.split_once('/')?;
        let resource_type = ResourceType::parse(name)?;
        let (id, version) = match rest.split_once('/') {
            None => (rest, None),
            Some((id, rest)) => (id, Some(Id::parse(rest.strip_prefix("_history/")?)?)),
        };
        Some(Self { resource_type, id: Id::parse(id)?, version })
    }

    /// Whether it names this resource, in whatever version.
    #[must_use]
    #[inline]
    pub fn names(&self, resource_type: ResourceType, id: Id<'_>) -> bool {
        self.resource_type == resource_type && self.id.as_str() == id.as_str()
    }
}

impl fmt::Display for LocalReference<'_> {
    /// The relative form.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.resource_type, self.id)?;
        self.version.map_or(Ok(()), |version| write!(formatter, "/_history/{version}"))
    }
}

/// A resource id or version id, borrowed: 1 to 64 of `A-Z a-z 0-9 - .` (R4 datatypes.html#id).
///
/// `.` and `..` fit that grammar and are refused all the same, since they mean something else in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id<'a>(&'a str);

impl<'a> Id<'a> {
    /// The text as an id, if it is one.
    #[must_use]
    #[inline]
    pub fn parse(text: &'a str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
            && !matches!(text, "." | "..");
        fits.then_some(Self(text))
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// A copy that owns its text.
    #[must_use]
    pub fn to_logical_id(self) -> LogicalId {
        LogicalId(self.0.into())
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// An [`Id`] that owns its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogicalId(Box<str>);

impl LogicalId {
    /// The text as an id, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Id::parse(text).map(Id::to_logical_id)
    }

    /// The id, borrowed.
    #[must_use]
    pub fn as_id(&self) -> Id<'_> {
        Id(&self.0)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogicalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The base URLs under which this server's resources are known: the gateway's, the upstream's, and their aliases. Made once,
/// from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    /// As written in references, each with its final `/`.
    prefixes: Vec<Box<str>>,
    origins: Vec<url::Origin>,
}

impl Bases {
    /// The bases, with or without a final `/`. A base is known in one spelling, that of the URL standard: lower-case host,
    /// no default port.
    #[must_use]
    pub fn new(gateway: &Url, upstream: &Url, aliases: &[Url]) -> Self {
        let mut bases = Self::default();
        for url in [gateway, upstream].into_iter().chain(aliases) {
            bases.add(url);
        }
        bases
    }

    /// Adds one more base. A URL that is not http or https, or has a user, query or fragment, adds nothing.
    fn add(&mut self, url: &Url) {
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !plain || !matches!(url.scheme(), "http" | "https") {
            return;
        }
        let prefix = format!("{}/", url.as_str().trim_end_matches('/')).into_boxed_str();
        if !self.prefixes.contains(&prefix) {
            self.prefixes.push(prefix);
        }
        if !self.origins.contains(&url.origin()) {
            self.origins.push(url.origin());
        }
    }

    /// What follows one of the bases and its `/`. The comparison ends at a segment's end, so `https://a/fhir2/…` is not
    /// below `https://a/fhir`.
    #[must_use]
    #[inline]
    pub fn strip<'a>(&self, reference: &'a str) -> Option<&'a str> {
        self.prefixes.iter().find_map(|prefix| reference.strip_prefix(&**prefix))
    }

    /// Whether this is an absolute URL of an origin that is none of ours. Not on the path of local references: it allocates.
    fn is_foreign(&self, reference: &str) -> bool {
        (reference.starts_with("http://") || reference.starts_with("https://"))
            && !reference.contains('\\')
            && Url::parse(reference).is_ok_and(|url| !self.origins.contains(&url.origin()))
    }
}

#[cfg(test)]
mod tests;
