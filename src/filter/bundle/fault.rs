//! Why nothing of an answer may be released, with its stable id.

use std::fmt;

use crate::json::Contradiction;

/// Why nothing of an answer may be released. All are faults of the upstream except [`Fault::Contradiction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not a Bundle of the expected type.
    NotTheBundle,
    /// A member of the Bundle has the wrong shape.
    Malformed(&'static str),
    /// A match is no resource with an id.
    NotAResource,
    /// A match should not have come, for the reason that the review gave.
    Violation(&'static str),
    /// Our own edits contradict each other.
    Contradiction,
}

impl Fault {
    /// A stable id for the record.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::NotTheBundle => "not_the_bundle",
            Self::Malformed(_) => "malformed_bundle",
            Self::NotAResource => "not_a_resource",
            Self::Violation(reason) => reason,
            Self::Contradiction => "edits_contradict",
        }
    }
}

impl From<Contradiction> for Fault {
    fn from(_: Contradiction) -> Self {
        Self::Contradiction
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTheBundle => f.write_str("expected a bundle of the type that was asked for"),
            Self::Malformed(member) => write!(f, "malformed bundle at `{member}`"),
            Self::NotAResource => f.write_str("a match is no fhir r4 resource with an id"),
            Self::Violation(reason) => write!(f, "the answer has a match that was not asked for: {reason}"),
            Self::Contradiction => f.write_str("edits of the answer contradict each other"),
        }
    }
}

impl std::error::Error for Fault {}
