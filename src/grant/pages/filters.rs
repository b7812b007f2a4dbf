//! How people and dates are written on the pages.

use jiff::civil::Date;

use super::words::Pages;
use crate::grant::{EncounterSummary, PatientSummary};

impl PatientSummary {
    /// `born 3 May 1974 · female · no. 4711`, of what is known.
    pub(super) fn about(&self, t: &Pages) -> String {
        let mut line = self.about_briefly(t);
        if let Some(identifier) = &self.identifier {
            if !line.is_empty() {
                line.push_str(" · ");
            }
            // The number stays beside its word.
            line.push_str(&t.numbered.with(identifier).replacen(' ', "\u{a0}", 1));
        }
        line
    }

    /// The same without the identifier.
    pub(super) fn about_briefly(&self, t: &Pages) -> String {
        let born = self.birth_date.as_deref().map(|date| t.born.with(written_date(date, t)));
        let gender = self.gender.as_deref().map(|gender| written_gender(gender, t));
        born.into_iter().chain(gender).collect::<Vec<_>>().join(" · ")
    }
}

impl EncounterSummary {
    /// The day it began; empty when that is not known.
    pub(super) fn day(&self, t: &Pages) -> String {
        self.start.as_deref().map(|start| written_date(start, t)).unwrap_or_default()
    }
}

/// A code of FHIR's `administrative-gender`; what is none stays as written.
fn written_gender(code: &str, t: &Pages) -> String {
    match code {
        "female" => t.female.to_string(),
        "male" => t.male.to_string(),
        "other" => t.other_gender.to_string(),
        "unknown" => t.unknown_gender.to_string(),
        other => other.to_owned(),
    }
}

/// `14 November 2026` for a FHIR date or dateTime; what is not a whole date stays as written.
fn written_date(text: &str, t: &Pages) -> String {
    let date = text.split('T').next().unwrap_or(text);
    date.parse::<Date>().map_or_else(|_| text.to_owned(), |date| day(date, t))
}

/// `14 November 2026`, `14. November 2026`
pub(in crate::grant) fn day(date: Date, t: &Pages) -> String {
    let month = usize::try_from(date.month() - 1).ok().and_then(|month| t.months.text().split(' ').nth(month));
    format!("{}{}{} {}", date.day(), t.day_dot.text(), month.unwrap_or_default(), date.year())
}
