//! Reads TOML tables key by key and collects every mistake with its line, instead of stopping at the first.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

/// One thing that is wrong in the file, with what was expected instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Collects mistakes while tables are read.
#[derive(Debug)]
pub(super) struct Reader<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
}

/// One table of the file while it is read. Keys that nobody asked for are mistakes.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// As a person writes it: `[server]`, `[[client]]`.
    pub(super) name: String,
    entries: Vec<(&'t str, Range<usize>, &'t Spanned<DeValue<'t>>)>,
    asked: Vec<&'static str>,
    line: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, mistakes: Vec::new() }
    }

    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    pub(super) fn mistake(&mut self, line: usize, message: impl Into<String>) {
        self.mistakes.push(Mistake { line, message: message.into() });
    }

    /// How many mistakes were told of so far.
    pub(super) fn told(&self) -> usize {
        self.mistakes.len()
    }

    pub(super) fn finish(mut self) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|mistake| mistake.line);
        self.mistakes
    }

    pub(super) fn section(&self, name: impl Into<String>, table: &'t DeTable<'t>, at: usize) -> Section<'t> {
        let entries = table.iter().map(|(key, value)| (&**key.get_ref(), key.span(), value)).collect();
        Section { name: name.into(), entries, asked: Vec::new(), line: self.line_at(at) }
    }

    /// Every key of `section` that was not asked for is a mistake, with the nearest known key.
    pub(super) fn close(&mut self, section: &Section<'t>) {
        for (key, span, _) in &section.entries {
            if section.asked.contains(key) {
                continue;
            }
            let nearest = section.asked.iter().min_by_key(|known| distance(known, key));
            let hint = match nearest {
                Some(known) if distance(known, key) <= 3 => format!("did you mean `{known}`?"),
                _ => format!("known here: {}", section.asked.join(", ")),
            };
            let line = self.line_at(span.start);
            self.mistake(line, format!("unknown key `{key}` in {}: {hint}", section.name));
        }
    }
}

/// A value with its line.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

impl<'t> Section<'t> {
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Whether the key is written, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| *name == key)
    }

    /// Whether the key is written and is no empty list.
    pub(super) fn has_some(&self, key: &str) -> bool {
        let empty = |found: &DeValue<'_>| found.as_array().is_some_and(|list| list.is_empty());
        self.entries.iter().any(|(name, .., value)| *name == key && !empty(value.get_ref()))
    }

    fn find(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.entries.iter().find(|(name, ..)| *name == key).map(|(.., value)| *value)
    }

    fn typed<T>(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let found = self.find(key)?;
        let line = reader.line_at(found.span().start);
        let value = read(found.get_ref());
        if value.is_none() {
            reader.mistake(line, format!("`{key}` in {} must be {expected}", self.name));
        }
        value.map(|value| At { value, line })
    }

    pub(super) fn table(&mut self, reader: &mut Reader<'t>, key: &'static str) -> Option<Section<'t>> {
        let found = self.find(key)?;
        if let DeValue::Table(table) = found.get_ref() {
            return Some(reader.section(format!("[{key}]"), table, found.span().start));
        }
        let line = reader.line_at(found.span().start);
        reader.mistake(line, format!("`{key}` must be a table, written as [{key}]"));
        None
    }

    pub(super) fn tables(&mut self, reader: &mut Reader<'t>, key: &'static str) -> Vec<Section<'t>> {
        let Some(found) = self.find(key) else { return Vec::new() };
        let line = reader.line_at(found.span().start);
        let DeValue::Array(array) = found.get_ref() else {
            reader.mistake(line, format!("`{key}` must be a list of tables, each written as [[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for element in array {
            match element.get_ref() {
                DeValue::Table(table) => {
                    sections.push(reader.section(format!("[[{key}]]"), table, element.span().start));
                }
                _ => reader.mistake(line, format!("`{key}` must be a list of tables, each written as [[{key}]]")),
            }
        }
        sections
    }

    /// All keys with their strings, for a table whose keys are the site's own words.
    pub(super) fn pairs(self, reader: &mut Reader<'t>) -> Vec<(String, At<String>)> {
        let mut pairs = Vec::new();
        for (key, _, value) in self.entries {
            let line = reader.line_at(value.span().start);
            match value.get_ref() {
                DeValue::String(text) => pairs.push((key.to_owned(), At { value: text.to_string(), line })),
                _ => reader.mistake(line, format!("`{key}` in {} must be a string in quotes", self.name)),
            }
        }
        pairs
    }

    pub(super) fn string(&mut self, reader: &mut Reader<'t>, key: &'static str) -> Option<At<String>> {
        self.typed(reader, key, "a string in quotes", |value| match value {
            DeValue::String(text) => Some(text.to_string()),
            _ => None,
        })
    }

    /// A string that must be there.
    pub(super) fn required(&mut self, reader: &mut Reader<'t>, key: &'static str, example: &str) -> At<String> {
        let known = self.has(key);
        let found = self.string(reader, key);
        if !known {
            reader.mistake(self.line, format!("{} lacks `{key}`; for instance `{key} = {example}`", self.name));
        }
        found.unwrap_or(At { value: String::new(), line: self.line })
    }

    pub(super) fn flag(&mut self, reader: &mut Reader<'t>, key: &'static str) -> Option<bool> {
        self.typed(reader, key, "true or false", |value| match value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => None,
        })
        .map(|at| at.value)
    }

    pub(super) fn integer(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        range: Range<u64>,
        otherwise: u64,
    ) -> u64 {
        let expected = format!("a whole number from {} to {}", range.start, range.end - 1);
        self.typed(reader, key, &expected, |value| match value {
            DeValue::Integer(number) => {
                let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
                range.contains(&number).then_some(number)
            }
            _ => None,
        })
        .map_or(otherwise, |at| at.value)
    }

    /// A length of time: `"250ms"`, `"30s"`, `"5m"`, `"8h"`, `"90d"`.
    pub(super) fn duration(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        range: (Duration, Duration),
        otherwise: Duration,
    ) -> Duration {
        let expected = format!(
            "a length of time from {} to {}, for instance \"{}\"",
            written(range.0),
            written(range.1),
            written(otherwise)
        );
        self.typed(reader, key, &expected, |value| match value {
            DeValue::String(text) => parse_duration(text).filter(|time| *time >= range.0 && *time <= range.1),
            _ => None,
        })
        .map_or(otherwise, |at| at.value)
    }

    pub(super) fn strings(&mut self, reader: &mut Reader<'t>, key: &'static str) -> Vec<At<String>> {
        let Some(found) = self.find(key) else { return Vec::new() };
        let line = reader.line_at(found.span().start);
        let mut list = Vec::new();
        let mut wrong = true;
        if let DeValue::Array(array) = found.get_ref() {
            wrong = false;
            for element in array {
                match element.get_ref() {
                    DeValue::String(text) => {
                        list.push(At { value: text.to_string(), line: reader.line_at(element.span().start) });
                    }
                    _ => wrong = true,
                }
            }
        }
        if wrong {
            reader.mistake(
                line,
                format!("`{key}` in {} must be a list of strings, for instance [\"a\", \"b\"]", self.name),
            );
        }
        list
    }

    /// One of a closed set of words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        reader: &mut Reader<'t>,
        key: &'static str,
        choices: &[(&str, T)],
        otherwise: T,
    ) -> T {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let expected = format!("one of {}", words.join(", "));
        self.typed(reader, key, &expected, |value| match value {
            DeValue::String(text) => choices.iter().find(|(word, _)| *word == &**text).map(|(_, choice)| *choice),
            _ => None,
        })
        .map_or(otherwise, |at| at.value)
    }
}

/// An absolute http or https URL without user, query and fragment.
pub(super) fn plain_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

/// A length of time as the configuration writes it: `250ms`, `30s`, `5m`, `8h`, `90d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        "d" => Duration::from_secs(number.checked_mul(86_400)?),
        _ => return None,
    })
}

fn written(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Edit distance, for "did you mean".
pub(super) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut next = vec![i + 1];
        for (right, above) in b.bytes().zip(row.iter().skip(1)) {
            let cost = diagonal + usize::from(left != right);
            diagonal = *above;
            next.push(cost.min(above + 1).min(next.last().map_or(usize::MAX, |left| left + 1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("90d"), Some(Duration::from_secs(90 * 86_400)));
        for bad in ["", "5", "s", "-5s", "5 s", "1e3s", "5y"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(written(Duration::from_secs(7200)), "2h");
    }

    #[test]
    fn the_nearest_key_is_found() {
        assert_eq!(distance("listen", "lisen"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
