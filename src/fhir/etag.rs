//! Entity tags as FHIR uses them: the version of a resource (R4 http.html section 3.1.0.2 and 3.1.0.5, RFC 9110 section 8.8.3).
//!
//! Takes one tag as it stands in a header field, gives what it says. FHIR's tags are weak; servers that send strong ones mean
//! the same version by them, so both are compared weakly. A list of tags, `*` and anything else is no tag.

use std::fmt;

/// Longest tag that is looked at, bytes.
const LONGEST: usize = 256;

/// One entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    weak: bool,
    opaque: Box<str>,
}

impl EntityTag {
    /// Reads `"…"` or `W/"…"` with at least one visible character between the quotes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |quoted| (true, quoted));
        let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let plain =
            (1..=LONGEST).contains(&opaque.len()) && opaque.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        plain.then(|| Self { weak, opaque: opaque.into() })
    }

    /// The weak tag of a version.
    #[must_use]
    pub fn of_version(version: &str) -> Option<Self> {
        Self::parse(&format!("W/\"{version}\""))
    }

    /// What stands between the quotes: the version id.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.opaque
    }

    /// Weak comparison (RFC 9110 section 8.8.3.2).
    #[must_use]
    pub fn names(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn weak_and_strong_tags_of_one_version_are_the_same() {
        let weak = EntityTag::parse("W/\"3141\"").unwrap();
        let strong = EntityTag::parse(" \"3141\"").unwrap();
        assert!(weak.names(&strong) && strong.names(&weak));
        assert_eq!((weak.to_string(), strong.to_string()), ("W/\"3141\"".to_owned(), "\"3141\"".to_owned()));
        assert_eq!(EntityTag::of_version("3141"), Some(weak));
    }

    #[test]
    fn what_is_no_single_tag_is_none() {
        for text in ["", "*", "1", "\"\"", "\"1", "w/\"1\"", "W/1", "\"1\", \"2\"", "\"1\"\"2\"", "\"a b\"", "W/ \"1\""]
        {
            assert_eq!(EntityTag::parse(text), None, "{text}");
        }
        assert_eq!(EntityTag::of_version("a\"b"), None);
        assert_eq!(EntityTag::parse(&format!("\"{}\"", "1".repeat(257))), None);
    }
}
