//! How people and dates are written on the pages.

use crate::grant::{EncounterSummary, PatientSummary};

impl PatientSummary {
    /// `born 3 May 1974 · female · no. 4711`, of what is known.
    pub(super) fn about(&self) -> String {
        let mut line = self.about_briefly();
        if let Some(identifier) = &self.identifier {
            if !line.is_empty() {
                line.push_str(" · ");
            }
            line.push_str("no.\u{a0}");
            line.push_str(identifier);
        }
        line
    }

    /// The same without the identifier.
    pub(super) fn about_briefly(&self) -> String {
        match (&self.birth_date, &self.gender) {
            (Some(date), Some(gender)) => format!("born {} · {gender}", written_date(date)),
            (Some(date), None) => format!("born {}", written_date(date)),
            (None, Some(gender)) => gender.clone(),
            (None, None) => String::new(),
        }
    }
}

impl EncounterSummary {
    /// The day it began; empty when that is not known.
    pub(super) fn day(&self) -> String {
        self.start.as_deref().map(written_date).unwrap_or_default()
    }
}

/// `14 November 2026` for a FHIR date or dateTime; what is not a whole date stays as written.
fn written_date(text: &str) -> String {
    let date = text.split('T').next().unwrap_or(text);
    date.parse::<jiff::civil::Date>().map_or_else(|_| text.to_owned(), |date| date.strftime("%-d %B %Y").to_string())
}
