//! The answer to an operation, judged as its permit says (`authorize::Judged`).
//!
//! Takes what the upstream says, gives what may leave of it. Every resource in it is tested, whole, wherever it stands: as the
//! answer itself, as an entry, as a part of Parameters. What an operation does not return is not released: another type, another
//! Bundle, a resource among values.

mod document;
mod record;
mod returned;

use bytes::Bytes;
use http::StatusCode;

use super::written::declined;
use super::{Filter, Releasable, outcome, strict, unusable};
use crate::authorize::{Allowance, Judged, Obligations, Reach};
use crate::error::Refusal;
use crate::fhir::facts::Facts;
use crate::fhir::interaction::Interaction;
use crate::fhir::outcome::{IssueType, OperationOutcome, Severity};
use crate::forward::Answered;

impl Filter {
    /// Reviews what an operation gave.
    pub(super) fn release_operation(
        &self,
        answer: Answered,
        obligations: &Obligations,
        judged: &Judged,
    ) -> Result<Releasable, Refusal> {
        let answer = said(answer, obligations, judged)?;
        match judged {
            Judged::Matches => self.release_searchset(answer, obligations),
            Judged::Record { whole } => self.release_record(body(answer)?, obligations, None, *whole),
            Judged::Document(composition) => self.release_document(body(answer)?, obligations, composition.as_ref()),
            Judged::Outcome { .. } | Judged::Returned(_) if matches!(answer, Answered::Nothing) => {
                Ok(Releasable::nothing())
            }
            Judged::Outcome { in_words } => self.release_outcome(body(answer)?, obligations, *in_words),
            Judged::Returned(returns) => self.release_returned(body(answer)?, obligations, returns),
        }
    }

    /// The allowance that has a resource of an operation's answer within reach.
    fn within<'o>(&self, facts: &Facts<'_>, obligations: &'o Obligations) -> Option<&'o Allowance> {
        let mut reaches = [&obligations.reach].into_iter().chain(obligations.beside.also());
        let reach: Option<&Reach> = reaches.find(|reach| reach.resource_type() == facts.resource_type());
        reach?.admits(facts, &self.bases)
    }
}

/// What the upstream says, if it is an answer. That it has no such operation is told as such.
fn said(answer: Answered, obligations: &Obligations, judged: &Judged) -> Result<Answered, Refusal> {
    let says_what_is_wrong = matches!(judged, Judged::Outcome { .. });
    match answer {
        // What is found wrong with a body may come with the status of an error (R4 resource-operation-validate.html).
        Answered::Refused { body } | Answered::Declined { body, .. } if says_what_is_wrong && is_outcome(&body) => {
            Ok(Answered::Resource { body, etag: None, last_modified: None })
        }
        Answered::Refused { body } => {
            let json = strict(body)?;
            Err(Refusal::UpstreamRefused { outcome: outcome::sanitise(json.root()).into() })
        }
        Answered::Declined { status, body } => Err(declined(status, body)),
        Answered::Absent if has_id(&obligations.interaction) => Err(Refusal::NotFound),
        Answered::Absent => {
            let text = "the FHIR server has no such operation";
            let outcome = OperationOutcome::new(Severity::Error, IssueType::NotSupported, text).to_bytes();
            Err(Refusal::UpstreamDeclined { status: StatusCode::NOT_IMPLEMENTED, outcome })
        }
        answer @ (Answered::Resource { .. } | Answered::Nothing) => Ok(answer),
        Answered::Each(_) | Answered::PerType(_) | Answered::Written(_) => Err(unusable("no answer to an operation")),
    }
}

fn has_id(interaction: &Interaction) -> bool {
    matches!(interaction, Interaction::Operation { id: Some(_), .. })
}

fn is_outcome(body: &Bytes) -> bool {
    strict(body.clone())
        .is_ok_and(|json| json.root().member("resourceType").is_some_and(|name| name.is("OperationOutcome")))
}

fn body(answer: Answered) -> Result<Bytes, Refusal> {
    match answer {
        Answered::Resource { body, .. } => Ok(body),
        _ => Err(unusable("no answer to an operation")),
    }
}

#[cfg(test)]
mod tests;
