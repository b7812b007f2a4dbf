//! Which language a person reads: `ui_locales` of the app (OpenID Connect Core section 3.1.2.1), else what the browser says it
//! prefers (`Accept-Language`, RFC 9110 section 12.5.4), else English. Nothing of it is uncertain enough to be refused: what cannot
//! be read is passed over.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;
use serde::{Deserialize, Serialize};

use super::words::{ENGLISH, GERMAN, Words};
use crate::grant::quality::{MOST, weight};

/// A language in which the pages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// `en`
    #[default]
    #[serde(rename = "en")]
    English,
    /// `de`
    #[serde(rename = "de")]
    German,
}

impl Language {
    /// All of them, as discovery lists them (`ui_locales_supported`).
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// The BCP 47 tag.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// The first of the tags in `ui_locales`, which are in the order of preference and divided by spaces, that there is.
    #[must_use]
    pub fn of_ui_locales(ui_locales: &str) -> Option<Self> {
        ui_locales.split(' ').take(MOST).find_map(Self::of_tag)
    }

    /// What the browser prefers.
    #[must_use]
    pub fn accepted(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|field| field.to_str().ok());
        let mut best: Option<(u16, Self)> = None;
        for range in fields.flat_map(|field| field.split(',')).take(MOST) {
            let (tag, weight) = range.split_once(';').map_or((range, Some(1_000)), |(tag, q)| (tag, weight(q)));
            let (Some(language), Some(weight)) = (Self::of_tag(tag.trim()), weight) else { continue };
            // Of two that are wanted alike the first counts.
            if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language).unwrap_or_default()
    }

    /// `de`, `de-CH`; case does not matter (RFC 5646 section 2.1.1).
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next()?;
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    pub(in crate::grant) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepted(value: &'static str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(value));
        Language::accepted(&headers)
    }

    #[test]
    fn the_browser_says_what_is_preferred_and_english_is_the_last_resort() {
        for german in
            ["de", "de-CH", "DE-at,en;q=0.9", "fr,de;q=0.5", "en;q=0.4, de;q=0.7", "nl;q=1.0,de;q=0.1", "de;q=1.000,en"]
        {
            assert_eq!(accepted(german), Language::German, "{german}");
        }
        for english in [
            "",
            "en",
            "fr",
            "*",
            "en,de",
            "de;q=0",
            "de;q=0.000,fr",
            "de;q=2",
            "de;q=x",
            "de;q=0.1234",
            "deu",
            ";;,",
            "de;level=1",
        ] {
            assert_eq!(accepted(english), Language::English, "{english}");
        }
        assert_eq!(Language::accepted(&HeaderMap::new()), Language::English);
    }

    #[test]
    fn the_app_may_name_languages_in_its_own_order() {
        assert_eq!(Language::of_ui_locales("fr-CA de-CH en"), Some(Language::German));
        assert_eq!(Language::of_ui_locales("en de"), Some(Language::English));
        for none in ["", "fr", "german", "de_DE"] {
            assert_eq!(Language::of_ui_locales(none), None, "{none}");
        }
    }
}
