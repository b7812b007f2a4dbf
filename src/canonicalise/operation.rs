//! The request for an operation: the query is kept as decoded names and values, and read against the operation's definition when it
//! is known which one is meant, and that whoever asks may.

use http::Method;

use super::content::strict;
use super::{FhirRequest, form, path};
use crate::error::{Malformed, MalformedKind, Refusal};
use crate::fhir::interaction::Interaction;
use crate::fhir::operation::{Arguments, Operation};

/// The query of an operation: a sealed continuation, or names and values.
pub(super) fn query(
    verb: path::Verb,
    interaction: &Interaction,
    pairs: &mut form::Pairs,
) -> Result<(Option<String>, form::Pairs), Refusal> {
    if !matches!(interaction, Interaction::Operation { .. }) {
        return Ok((None, form::Pairs::new()));
    }
    let (mut pages, others): (form::Pairs, form::Pairs) =
        std::mem::take(pairs).into_iter().partition(|(name, _)| name == "_page");
    match (pages.pop(), pages.is_empty()) {
        (None, _) => Ok((None, others)),
        (Some((_, page)), true) if verb == path::Verb::Get && others.is_empty() => Ok((Some(page), others)),
        _ => Err(Refusal::bad_request("expected `_page` as in the link that was given")),
    }
}

impl FhirRequest {
    /// What is given to `operation`.
    ///
    /// # Errors
    /// 405 for a GET of what changes something; 400 when the body is not strict JSON, or for whatever `operation` does not take.
    pub(crate) fn arguments(&self, operation: &Operation) -> Result<Arguments, Refusal> {
        let reads = matches!(self.inbound.method, Method::GET | Method::HEAD);
        if reads && operation.affects_state {
            let expected = "expected POST for an operation that changes something".to_owned();
            return Err(Refusal::Malformed(Malformed { kind: MalformedKind::MethodNotAllowed, expected }));
        }
        let body = if self.inbound.body.is_empty() { None } else { Some(strict(&self.inbound.body)?) };
        let root = body.as_ref().map(crate::json::Json::root);
        Arguments::read(operation, &self.arguments, root).map_err(|problem| Refusal::bad_request(problem.0))
    }

    /// Whether there is a body.
    pub(crate) fn has_body(&self) -> bool {
        !self.inbound.body.is_empty()
    }
}
