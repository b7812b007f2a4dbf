//! The types of an operation's inputs, and how a value of each is written (R4 datatypes.html).

use url::{Host, Url};

use crate::fhir::reference::Id;

/// The type of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "FHIR's own words")]
pub enum Type {
    Boolean,
    Integer,
    String,
    Code,
    Id,
    Uri,
    Canonical,
    Date,
    DateTime,
    Instant,
    Coding,
    CodeableConcept,
    Identifier,
    Meta,
    Period,
    Quantity,
    Resource,
}

/// Longest value in a query, bytes.
const LONGEST: usize = 2048;

/// Endings of names that only mean something inside of somebody's network (RFC 6761, RFC 6762, RFC 8375).
const INTERNAL: [&str; 10] =
    ["localhost", "local", "localdomain", "internal", "intranet", "lan", "corp", "home", "arpa", "svc"];

impl Type {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Boolean,
        Self::Integer,
        Self::String,
        Self::Code,
        Self::Id,
        Self::Uri,
        Self::Canonical,
        Self::Date,
        Self::DateTime,
        Self::Instant,
        Self::Coding,
        Self::CodeableConcept,
        Self::Identifier,
        Self::Meta,
        Self::Period,
        Self::Quantity,
        Self::Resource,
    ];

    /// FHIR's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::String => "string",
            Self::Code => "code",
            Self::Id => "id",
            Self::Uri => "uri",
            Self::Canonical => "canonical",
            Self::Date => "date",
            Self::DateTime => "dateTime",
            Self::Instant => "instant",
            Self::Coding => "Coding",
            Self::CodeableConcept => "CodeableConcept",
            Self::Identifier => "Identifier",
            Self::Meta => "Meta",
            Self::Period => "Period",
            Self::Quantity => "Quantity",
            Self::Resource => "Resource",
        }
    }

    /// The member of `Parameters.parameter` that holds a value of it.
    #[must_use]
    pub fn element(self) -> String {
        if self == Self::Resource {
            return "resource".to_owned();
        }
        let (first, rest) = self.name().split_at(1);
        format!("value{}{rest}", first.to_ascii_uppercase())
    }

    /// Whether a value of it can stand in a query.
    #[must_use]
    pub const fn is_primitive(self) -> bool {
        !matches!(
            self,
            Self::Coding
                | Self::CodeableConcept
                | Self::Identifier
                | Self::Meta
                | Self::Period
                | Self::Quantity
                | Self::Resource
        )
    }

    /// Whether a value of it stands in JSON without quotes.
    #[must_use]
    pub const fn is_bare(self) -> bool {
        matches!(self, Self::Boolean | Self::Integer)
    }

    /// Whether the text is a value of it. Names (`uri`, `canonical`) must be of the kind that is given to what is published: one
    /// that leads into somebody's own network is none, for a server might follow it.
    #[must_use]
    pub fn admits(self, text: &str) -> bool {
        let plain = !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
        plain
            && match self {
                Self::Boolean => matches!(text, "true" | "false"),
                Self::Integer => text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit()),
                Self::String => true,
                Self::Code => text.trim() == text && !text.contains("  "),
                Self::Id => Id::parse(text).is_some(),
                Self::Uri | Self::Canonical => is_published_name(text),
                Self::Date => is_date(text),
                Self::DateTime => is_date_time(text),
                Self::Instant => text.contains('T') && is_date_time(text),
                _ => false,
            }
    }
}

/// `urn:…`, or an http(s) URL of a public host: by a name with a dot, without port and credentials.
fn is_published_name(text: &str) -> bool {
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'"' | b'<' | b'>')) {
        return false;
    }
    if text.starts_with("urn:") {
        return text.len() > 4;
    }
    let Ok(url) = Url::parse(text) else { return false };
    let is_public = match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name.contains('.') && name.rsplit('.').next().is_some_and(|last| !INTERNAL.contains(&last))
        }
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => false,
    };
    matches!(url.scheme(), "http" | "https")
        && is_public
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

/// `YYYY`, `YYYY-MM`, `YYYY-MM-DD`
fn is_date(text: &str) -> bool {
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    shape && matches!(text.len(), 4 | 7 | 10)
}

/// A date, or `YYYY-MM-DDThh:mm:ss[.sss](Z|±hh:mm)`.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return is_date(text) };
    let time = time.strip_suffix('Z').or_else(|| {
        let (time, zone) = time.split_at_checked(time.len().checked_sub(6)?)?;
        let sign = zone.starts_with(['+', '-']);
        (sign && is_clock(zone.get(1..)?, 2)).then_some(time)
    });
    let Some(time) = time else { return false };
    let (time, fraction) = time.split_once('.').map_or((time, "0"), |(time, fraction)| (time, fraction));
    let fraction = !fraction.is_empty() && fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    date.len() == 10 && is_date(date) && is_clock(time, 3) && fraction
}

/// So many numbers of two digits with `:` between them.
fn is_clock(text: &str, numbers: usize) -> bool {
    let mut parts = text.split(':');
    let two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.clone().count() == numbers && parts.all(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_is_published() {
        for name in [
            "http://hl7.org/fhir/ValueSet/administrative-gender",
            "http://hl7.org/fhir/ValueSet/x|4.0.1",
            "http://snomed.info/sct?fhir_vs=isa/73211009",
            "https://fhir.example.org/CodeSystem/a#fragment",
            "urn:oid:2.16.840.1.113883.6.1",
            "urn:uuid:0b9a7a0c-6c2f-4f0e-9b1d-7b1f3b7c0a55",
            "http://loinc.org",
        ] {
            assert!(Type::Uri.admits(name) && Type::Canonical.admits(name), "{name}");
        }
    }

    #[test]
    fn a_name_that_leads_somewhere_inside_is_none() {
        for name in [
            "",
            "http://internal/",
            "http://localhost/ValueSet/x",
            "http://a.localhost/x",
            "http://127.0.0.1/x",
            "http://2130706433/x",
            "http://0x7f.1/x",
            "http://[::1]/x",
            "http://169.254.169.254/latest/meta-data",
            "http://metadata.google.internal/computeMetadata",
            "http://metadata.google.internal./computeMetadata",
            "http://hapi.default.svc/fhir",
            "http://hl7.org:8080/x",
            "http://user@hl7.org/x",
            "http://user:pass@hl7.org/x",
            "ftp://hl7.org/x",
            "file:///etc/passwd",
            "jar:http://hl7.org!/x",
            "ValueSet/x",
            "//hl7.org/x",
            "urn:",
            "http://hl7.org/a b",
            "http://hl7.org\\@internal/x",
            " http://hl7.org/x",
        ] {
            assert!(!Type::Uri.admits(name), "{name}");
        }
    }

    #[test]
    fn dates_are_of_the_form_that_fhir_has() {
        for (text, date, date_time, instant) in [
            ("2026", true, true, false),
            ("2026-01", true, true, false),
            ("2026-01-31", true, true, false),
            ("2026-01-31T10:00:00Z", false, true, true),
            ("2026-01-31T10:00:00.123+01:00", false, true, true),
            ("2026-01-31T10:00Z", false, false, false),
            ("2026-01-31T10:00:00", false, false, false),
            ("2026-01T10:00:00Z", false, false, false),
            ("2026-01-31T10:00:00.+01:00", false, false, false),
            ("20260131", false, false, false),
            ("ge2026", false, false, false),
            ("é026", false, false, false),
        ] {
            let found = [Type::Date, Type::DateTime, Type::Instant].map(|of| of.admits(text));
            assert_eq!(found, [date, date_time, instant], "{text}");
        }
    }

    #[test]
    fn a_value_stands_in_the_member_of_its_type() {
        assert_eq!(Type::DateTime.element(), "valueDateTime");
        assert_eq!(Type::CodeableConcept.element(), "valueCodeableConcept");
        assert_eq!(Type::Resource.element(), "resource");
        assert!(Type::ALL.iter().all(|of| !of.is_bare() || of.is_primitive()));
    }

    #[test]
    fn whole_numbers_and_truth_have_one_form() {
        for (of, text, fits) in [
            (Type::Boolean, "true", true),
            (Type::Boolean, "True", false),
            (Type::Integer, "20", true),
            (Type::Integer, "-1", false),
            (Type::Integer, "1e3", false),
            (Type::Integer, "12345678901", false),
            (Type::Code, "a b", true),
            (Type::Code, " a", false),
            (Type::Id, "P1", true),
            (Type::Id, "Patient/P1", false),
            (Type::Meta, "x", false),
        ] {
            assert_eq!(of.admits(text), fits, "{of:?} {text}");
        }
    }
}
