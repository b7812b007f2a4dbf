//! Why a request was let through or refused, in sentences: what the record of an exchange keeps, and what `firebreak explain`
//! prints.
//!
//! Takes what `authorize` decided; gives an [`Explanation`]. Promises that the sentences of both are the same, since both are
//! made here, and that they name the upstream request as it is sent, byte for byte. Decides nothing. The upstream request may hold
//! search values, which is why the sentences go into the audit log alone.

use serde::Serialize;

use crate::authorize::{Allowance, Judged, Obligations, Permit, Prospect, Reach, UpstreamRequest, Within};
use crate::error::Refusal;
use crate::fhir::interaction::Interaction;
use crate::fhir::resource_type::ResourceType;
use crate::forward::{RequestLine, request_lines};

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Explanation {
    /// One upstream request may be made.
    Permit(Permitted),
    /// It depends on what the upstream has.
    Depend(Depending),
    /// Nothing is asked of the upstream.
    Deny(Refused),
}

/// What is permitted, and what its answer must still meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permitted {
    /// FHIR's code of the interaction.
    pub interaction: std::borrow::Cow<'static, str>,
    /// The type that the path names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<&'static str>,
    /// Where a resource must lie, in any one of these places.
    pub reach: Vec<String>,
    /// Where what is included must lie, in one place of each list that is about its type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub included: Vec<Vec<String>>,
    /// The policies that permitted it, by id.
    pub policies: Vec<String>,
    /// What is asked of the upstream, below its base; nothing where the answer is known to be empty.
    pub upstream: Vec<RequestLine>,
    /// What the gateway reads besides, to decide.
    pub evidence: Vec<RequestLine>,
    /// What becomes of an answer that is not within reach.
    pub filter: &'static str,
    /// The part of each resource that was asked for, as a parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<String>,
}

/// What is allowed as far as token, request and policies tell, and decided by what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Depending {
    /// What it depends on.
    pub on: &'static str,
    /// What the gateway reads first, to decide.
    pub evidence: Vec<RequestLine>,
}

/// Why nothing is permitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// HTTP status of the answer.
    pub status: u16,
    /// Stable id of the reason (docs/audit.md).
    pub reason: &'static str,
    /// What was expected, as the client is told.
    pub diagnostics: String,
    /// A scope that the request would need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_scope: Option<String>,
    /// The policies that forbid it, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

/// Longest sentence in a record, in bytes; what is cut ends in `…`.
const LONGEST: usize = 2048;

impl Explanation {
    /// Of what may be done.
    #[must_use]
    pub fn of_permit(permit: &Permit) -> Self {
        let Permit { upstream, obligations, .. } = permit;
        let Obligations { interaction, beside, projection, .. } = obligations;
        let entries = || parts(obligations).iter();
        let reaches = || entries().flat_map(|one| std::iter::once(&one.reach).chain(one.beside.also()));
        Self::Permit(Permitted {
            interaction: match interaction {
                Interaction::Operation { name, .. } => format!("${name}").into(),
                other => other.code().into(),
            },
            resource_type: interaction.resource_type().map(ResourceType::name),
            reach: match interaction {
                Interaction::HistorySystem => vec!["every resource of every type that is served".to_owned()],
                _ => once_each(reaches().flat_map(places)),
            },
            included: entries().flat_map(|one| one.beside.included()).map(places).collect(),
            policies: policies(obligations),
            upstream: request_lines(upstream),
            evidence: evidence(upstream),
            filter: filter(interaction, beside.judged(), reaches().all(Reach::is_unrestricted)),
            projection: projection.parameter(),
        })
    }

    /// Of what would come of a request that nobody made.
    #[must_use]
    pub fn of_prospect(prospect: Prospect<'_>) -> Self {
        match prospect {
            Prospect::Permit(permit) => Self::of_permit(permit),
            Prospect::Inquiry(inquiry) => Self::Depend(Depending {
                on: inquiry.depends_on(),
                evidence: inquiry.reads().iter().flat_map(request_lines).collect(),
            }),
            Prospect::Batch => Self::Depend(Depending {
                on: "the entries: each is decided by itself, as if it had been sent alone",
                evidence: Vec::new(),
            }),
        }
    }

    /// Of why not.
    #[must_use]
    pub fn of_refusal(refusal: &Refusal) -> Self {
        let (diagnostics, missing_scope, policies) = match refusal {
            Refusal::Denied(denial) => {
                (denial.diagnostics.clone(), denial.missing_scope.clone(), denial.policies.clone())
            }
            other => (other.sentence().to_owned(), None, Vec::new()),
        };
        let (status, reason) = (refusal.status().as_u16(), refusal.reason());
        Self::Deny(Refused { status, reason, diagnostics, missing_scope, policies })
    }

    /// Whether it is allowed, as far as token, request and policies tell.
    #[must_use]
    pub fn is_permit(&self) -> bool {
        matches!(self, Self::Permit(_) | Self::Depend(_))
    }

    /// In words, one sentence a line.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        match self {
            Self::Permit(permitted) => permitted.sentences(),
            Self::Depend(depending) => depending.sentences(),
            Self::Deny(refused) => refused.sentences(),
        }
    }

    /// The same for the record, where a sentence has a bound.
    #[must_use]
    pub fn recorded(&self) -> Vec<String> {
        let mut sentences = self.sentences();
        for sentence in sentences.iter_mut().filter(|sentence| sentence.len() > LONGEST) {
            let end = (0..=LONGEST).rev().find(|end| sentence.is_char_boundary(*end)).unwrap_or_default();
            sentence.truncate(end);
            sentence.push('…');
        }
        sentences
    }
}

impl Permitted {
    fn sentences(&self) -> Vec<String> {
        let of = self.resource_type.map(|name| format!(" of {name}")).unwrap_or_default();
        let mut sentences = vec![
            format!("allowed: {}{of}", self.interaction),
            format!("reach: {}", self.reach.join("; or ")),
            format!("policies: {}", self.policies.join(", ")),
        ];
        sentences.extend(self.included.iter().map(|places| format!("included: {}", places.join("; or "))));
        match self.upstream.as_slice() {
            [] => sentences.push("upstream: nothing is asked; the answer is an empty searchset".to_owned()),
            lines => sentences.extend(lines.iter().map(|line| format!("upstream: {line}"))),
        }
        sentences.extend(self.evidence.iter().map(|line| format!("evidence: {line}; it must be within reach too")));
        sentences.push(format!("filter: {}", self.filter));
        sentences.extend(self.projection.iter().map(|parameter| format!("projection: {parameter}")));
        sentences
    }
}

impl Depending {
    fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![format!("depends on {}", self.on)];
        sentences.extend(self.evidence.iter().map(|line| format!("evidence: {line}; it must be within reach too")));
        sentences
    }
}

impl Refused {
    fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![format!("refused: {} ({})", self.reason, self.status)];
        match self.policies.as_slice() {
            [] => sentences.push(format!("because: {}", self.diagnostics)),
            policies => {
                sentences.push(format!("because: forbidden by {}", policies.join(", ")));
                sentences.push(format!("the client is told: {}", self.diagnostics));
            }
        }
        sentences.extend(self.missing_scope.iter().map(|scope| format!("missing scope: {scope}")));
        sentences
    }
}

/// Every policy that permitted anything of it, by id.
pub(super) fn policies(obligations: &Obligations) -> Vec<String> {
    let reaches = parts(obligations).iter().flat_map(|Obligations { reach, beside, .. }| {
        std::iter::once(reach).chain(beside.also()).chain(beside.included())
    });
    once_each(reaches.flat_map(Reach::policies))
}

/// The entries of a transaction; of another request the one that it is.
fn parts(obligations: &Obligations) -> &[Obligations] {
    if obligations.each.is_empty() { std::slice::from_ref(obligations) } else { &obligations.each }
}

fn once_each(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn places(reach: &Reach) -> Vec<String> {
    reach.allowances().iter().map(|allowance| place(reach, allowance)).collect()
}

/// One place of a reach.
fn place(reach: &Reach, allowance: &Allowance) -> String {
    let resource_type = reach.resource_type();
    let mut text = match &allowance.within {
        Within::Everything => format!("every {resource_type}"),
        Within::Compartment(patient) => format!("{resource_type} in the compartment of Patient/{patient}"),
        Within::ReferenceType => format!("{resource_type} by id, as patient data refer to it"),
        Within::Own(id) => format!("{resource_type}/{id}, the user's own entry"),
        Within::Attached(access) => access.to_string(),
    };
    for (at, condition) in allowance.conditions.iter().enumerate() {
        text.push_str(if at == 0 { " where " } else { " and " });
        text.push_str(&condition.to_string());
    }
    text
}

/// What is read beside the request, as `forward` does.
fn evidence(upstream: &UpstreamRequest) -> Vec<RequestLine> {
    let UpstreamRequest::Vread { resource_type, id, .. } = upstream else { return Vec::new() };
    request_lines(&UpstreamRequest::Read { resource_type: *resource_type, id: id.clone() })
}

/// What becomes of what is not within reach.
fn filter(interaction: &Interaction, judged: Option<&Judged>, unrestricted: bool) -> &'static str {
    match judged {
        Some(Judged::Record { .. }) => return "what lies outside of reach is left out",
        Some(Judged::Document(_)) => return "one resource outside of reach withholds the document",
        Some(Judged::Returned(_) | Judged::Outcome { .. }) => {
            return "what the operation does not return withholds the answer";
        }
        Some(Judged::Matches) | None => {}
    }
    match (interaction, unrestricted) {
        (Interaction::Transaction, _) => "each entry is answered as if it had been sent alone",
        (Interaction::Read { .. } | Interaction::Vread { .. }, _) => {
            "a resource outside of reach is answered like one that is absent"
        }
        (Interaction::HistoryInstance { .. }, false) => {
            "versions outside of reach and deletions are left out, and so are totals"
        }
        (Interaction::HistoryInstance { .. } | Interaction::HistoryType { .. } | Interaction::HistorySystem, true) => {
            "versions of other types are left out"
        }
        (_, true) => "a match of another type withholds the answer",
        (_, false) => "a match outside of reach withholds the answer; totals are left out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_in_a_record_has_a_bound() {
        let long = Explanation::Deny(Refused {
            status: 400,
            reason: "request_malformed",
            diagnostics: "ä".repeat(5_000),
            missing_scope: None,
            policies: Vec::new(),
        });
        assert!(long.recorded().iter().all(|sentence| sentence.len() <= LONGEST + '…'.len_utf8()));
        assert!(long.sentences().iter().any(|sentence| sentence.len() > 10_000));
    }
}
