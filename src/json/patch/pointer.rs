//! JSON Pointer (RFC 6901): where in a document.

/// The unescaped tokens of a pointer; none: the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer: nothing, or tokens each after a `/`, in which `~0` is `~` and `~1` is `/`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        text.strip_prefix('/')?.split('/').map(token).collect::<Option<_>>().map(Self)
    }

    /// The tokens.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.0
    }
}

fn token(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('~');
    let mut token = parts.next()?.to_owned();
    for part in parts {
        let mut rest = part.chars();
        token.push(match rest.next()? {
            '0' => '~',
            '1' => '/',
            _ => return None,
        });
        token.push_str(rest.as_str());
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn the_examples_of_rfc_6901_section_5_name_what_they_say() {
        let tokens = |text| Pointer::parse(text).unwrap().0;
        assert_eq!(tokens(""), Vec::<String>::new());
        for (text, expected) in [
            ("/foo", vec!["foo"]),
            ("/foo/0", vec!["foo", "0"]),
            ("/", vec![""]),
            ("/a~1b", vec!["a/b"]),
            ("/c%d", vec!["c%d"]),
            ("/e^f", vec!["e^f"]),
            ("/g|h", vec!["g|h"]),
            ("/i\\j", vec!["i\\j"]),
            ("/k\"l", vec!["k\"l"]),
            ("/ ", vec![" "]),
            ("/m~0n", vec!["m~n"]),
            ("/~01", vec!["~1"]),
            ("/subject/", vec!["subject", ""]),
        ] {
            assert_eq!(tokens(text), expected, "{text}");
        }
        for text in ["foo", "~", "/~", "/~2", "/a~", "#/foo"] {
            assert_eq!(Pointer::parse(text), None, "{text}");
        }
    }
}
