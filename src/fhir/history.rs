//! What may be asked about a history: how many versions at a time, and of which time (R4 http.html section 3.1.0.10).
//!
//! Takes decoded names and values, gives a [`HistoryQuery`]; what R4 does not define there, and what would choose by other
//! resources (`_list`), is refused. It looks at nothing but when versions were made. Does not decide who may see them.

use super::search::SearchProblem;

/// `_count`, `_since` and `_at`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    count: Option<u32>,
    since: Option<String>,
    at: Option<String>,
}

impl HistoryQuery {
    /// Takes the parameters of a history out of `pairs`; what remains is for others to understand.
    ///
    /// # Errors
    /// When one of them is malformed or stands there twice.
    pub fn take(pairs: &mut Vec<(String, String)>) -> Result<Self, SearchProblem> {
        let mut query = Self::default();
        let mut problem = None;
        pairs.retain(|(name, value)| match query.read(name, value) {
            Ok(taken) => !taken,
            Err(wrong) => {
                problem.get_or_insert(wrong);
                false
            }
        });
        problem.map_or(Ok(query), Err)
    }

    fn read(&mut self, name: &str, value: &str) -> Result<bool, SearchProblem> {
        let twice = match name {
            "_count" => self.count.replace(count(value)?).is_some(),
            "_since" => self.since.replace(moment(value, false)?).is_some(),
            "_at" => self.at.replace(moment(value, true)?).is_some(),
            _ => return Ok(false),
        };
        if twice { Err(SearchProblem::new("expected `_count`, `_since` and `_at` once each")) } else { Ok(true) }
    }

    /// Whether nothing is asked in particular.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The parameters that the upstream is asked with, `_count` within `most`.
    #[must_use]
    pub fn parameters(&self, most: u32) -> Vec<(String, String)> {
        self.pairs(|count| count.clamp(1, most.max(1)))
    }

    /// Names and values as the client means them, for the `self` link.
    #[must_use]
    pub fn told(&self) -> Vec<(String, String)> {
        self.pairs(|count| count)
    }

    fn pairs(&self, count: impl Fn(u32) -> u32) -> Vec<(String, String)> {
        let count = self.count.map(|asked| ("_count", count(asked).to_string()));
        let since = self.since.clone().map(|since| ("_since", since));
        let at = self.at.clone().map(|at| ("_at", at));
        [count, since, at].into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn count(value: &str) -> Result<u32, SearchProblem> {
    let digits = (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    let count = if digits { value.parse().unwrap_or(u32::MAX) } else { 0 };
    if count == 0 {
        return Err(SearchProblem::new("expected `_count` of a history to be a whole number above zero"));
    }
    Ok(count)
}

/// A `dateTime` or `instant` (R4 datatypes.html), with one of the prefixes of R4 search.html section 3.1.1.4.6 where `prefixed`.
fn moment(value: &str, prefixed: bool) -> Result<String, SearchProblem> {
    // An unescaped `+` of an offset arrives as a space.
    let value = value.replace(' ', "+");
    let prefix = ["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"].into_iter().find(|one| value.starts_with(one));
    let text = prefix.filter(|_| prefixed).and_then(|prefix| value.strip_prefix(prefix)).unwrap_or(&value);
    if is_date_time(text) {
        return Ok(value);
    }
    Err(SearchProblem::new(
        "expected `_since` and `_at` of a history to be a date and time, such as 2026-03-01T08:00:00Z",
    ))
}

/// `2026`, `2026-03`, `2026-03-01`, `2026-03-01T08:00:00.000+01:00`; seconds may be left out, an offset may not.
fn is_date_time(text: &str) -> bool {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let dated = fits(date, "0000-00-00");
    match time {
        None => dated || fits(date, "0000-00") || fits(date, "0000"),
        Some(time) => dated && is_time(time),
    }
}

fn is_time(text: &str) -> bool {
    let at = text.find(['Z', '+', '-']).unwrap_or(text.len());
    let Some((time, offset)) = text.split_at_checked(at) else { return false };
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let fraction = fraction.is_none_or(|digits| {
        (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && time.len() == 8
    });
    let offset = offset == "Z" || fits(offset, "+00:00") || fits(offset, "-00:00");
    fraction && offset && (fits(time, "00:00:00") || fits(time, "00:00"))
}

/// Whether `text` is `shape` with any digits in the place of its zeros.
fn fits(text: &str, shape: &str) -> bool {
    let alike = |(byte, of): (u8, u8)| if of == b'0' { byte.is_ascii_digit() } else { byte == of };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(alike)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_asked_about_a_history_is_taken_and_the_rest_is_left() {
        let mut all = pairs(&[("_since", "2026-03-01T08:00:00 01:00"), ("_elements", "code"), ("_count", "1000")]);
        let query = HistoryQuery::take(&mut all).unwrap();
        assert_eq!(all, pairs(&[("_elements", "code")]));
        assert_eq!(query.parameters(50), pairs(&[("_count", "50"), ("_since", "2026-03-01T08:00:00+01:00")]));
        assert_eq!(query.told(), pairs(&[("_count", "1000"), ("_since", "2026-03-01T08:00:00+01:00")]));
        assert!(!query.is_plain() && HistoryQuery::take(&mut all).unwrap().is_plain());
    }

    #[test]
    fn moments_are_those_of_fhir() {
        for good in ["2026", "2026-03", "2026-03-01", "2026-03-01T08:00Z", "2026-03-01T08:00:00.123-05:00"] {
            for name in ["_since", "_at"] {
                assert!(HistoryQuery::take(&mut pairs(&[(name, good)])).is_ok(), "{name}={good}");
            }
        }
        assert!(HistoryQuery::take(&mut pairs(&[("_at", "ge2026-03-01")])).is_ok());
        for (name, bad) in [
            ("_since", "ge2026"),
            ("_since", ""),
            ("_since", "26"),
            ("_since", "2026-3-1"),
            ("_since", "2026-03-01T08:00:00"),
            ("_since", "2026-03-01T08:00.5Z"),
            ("_since", "2026-03-01&patient=P2"),
            ("_since", "now"),
            ("_at", "xx2026"),
            ("_at", "gege2026"),
            ("_count", "0"),
            ("_count", "-1"),
            ("_count", ""),
        ] {
            assert!(HistoryQuery::take(&mut pairs(&[(name, bad)])).is_err(), "{name}={bad}");
        }
        assert!(HistoryQuery::take(&mut pairs(&[("_count", "1"), ("_count", "1")])).is_err());
    }
}
