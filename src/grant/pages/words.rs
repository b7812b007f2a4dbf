//! All texts of the pages, in each language. A text is added in a table of this folder, in all languages at once: without one of
//! them the crate does not compile. Which language a person reads is the business of [`super::language`].

use std::fmt;

mod pages;
mod problems;
mod scopes;

pub(in crate::grant) use self::pages::Pages;
pub(in crate::grant) use self::problems::Problems;
pub(in crate::grant) use self::scopes::Scopes;

/// One text. `{}` stands where something is said that is not known beforehand; there is one such place at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::grant) struct Text(&'static str);

/// The texts of one language.
#[derive(Debug)]
pub(in crate::grant) struct Words {
    /// On the pages.
    pub(in crate::grant) pages: Pages,
    /// On the page for a request that cannot go back to the app.
    pub(in crate::grant) problems: Problems,
    /// About scopes.
    pub(in crate::grant) scopes: Scopes,
}

pub(super) static ENGLISH: Words =
    Words { pages: Pages::ENGLISH, problems: Problems::ENGLISH, scopes: Scopes::ENGLISH };
pub(super) static GERMAN: Words = Words { pages: Pages::GERMAN, problems: Problems::GERMAN, scopes: Scopes::GERMAN };

impl Text {
    /// The whole, without a gap.
    pub(in crate::grant) const fn text(self) -> &'static str {
        self.0
    }

    /// With `value` in its gap. Not for HTML: templates escape what this gives.
    pub(in crate::grant) fn with(self, value: impl fmt::Display) -> String {
        let (before, after) = self.around();
        format!("{before}{value}{after}")
    }

    /// What stands before the gap, for templates that mark what is in it.
    pub(in crate::grant) fn before(self) -> &'static str {
        self.around().0
    }

    /// What stands behind the gap.
    pub(in crate::grant) fn after(self) -> &'static str {
        self.around().1
    }

    fn around(self) -> (&'static str, &'static str) {
        self.0.split_once("{}").unwrap_or((self.0, ""))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A table: one field per key, and its text in every language.
macro_rules! table {
    ($(#[$about:meta])* $name:ident { $($key:ident: $english:literal, $german:literal;)+ }) => {
        $(#[$about])*
        #[derive(Debug)]
        pub(in crate::grant) struct $name {
            $(pub(in crate::grant) $key: $crate::grant::pages::words::Text,)+
        }

        impl $name {
            pub(super) const ENGLISH: Self = Self { $($key: $crate::grant::pages::words::Text($english),)+ };
            pub(super) const GERMAN: Self = Self { $($key: $crate::grant::pages::words::Text($german),)+ };
            #[cfg(test)]
            pub(super) const ALL: &[(&str, &str, &str)] = &[$((stringify!($key), $english, $german),)+];
        }
    };
}
use table;

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that are the same in both languages.
    const SAME: [&str; 2] = ["patient_label", "patients"];

    #[test]
    fn no_key_lacks_a_translation_and_both_say_the_same_thing_in_the_same_place() {
        let all = [Pages::ALL, Problems::ALL, Scopes::ALL].concat();
        assert!(all.len() > 150, "{}", all.len());
        for (key, english, german) in all {
            assert!(!english.is_empty() && !german.is_empty(), "{key}");
            assert!(english != german || SAME.contains(&key), "{key} is not translated: {english}");
            let gaps = |text: &str| text.matches("{}").count();
            assert!(gaps(english) == gaps(german) && gaps(english) <= 1, "{key}");
            for text in [english, german] {
                assert!(!text.contains(['"', '\'', '<', '>']), "typographic marks, and no markup: {key}");
            }
            let full_stop = |text: &str| text.ends_with('.');
            assert_eq!(full_stop(english), full_stop(german), "{key}");
        }
    }

    #[test]
    fn what_is_said_stands_in_the_gap() {
        assert_eq!(Text("to {} now").with("x"), "to x now");
        assert_eq!((Text("to {} now").before(), Text("to {} now").after()), ("to ", " now"));
        assert_eq!((Text("plain").with("x"), Text("plain").before()), ("plainx".to_owned(), "plain"));
    }
}
