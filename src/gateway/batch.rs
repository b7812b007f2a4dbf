//! A batch: every entry takes the whole path by itself, with a decision, a permit and a record of its own.

use futures_util::StreamExt;
use futures_util::stream::iter;

use http::Method;

use super::Gateway;
use crate::audit::{EventKind, Open, Outcome};
use crate::authenticate::Authenticated;
use crate::authorize::Batch;
use crate::canonicalise::FhirRequest;
use crate::error::Refusal;
use crate::fhir::interaction::Interaction;
use crate::filter::Releasable;

/// Reads of one batch that are under way at the same time.
const AT_ONCE: usize = 8;

/// Whether it may change something: of an operation its list says it, and one by GET never does.
fn may_change(request: &FhirRequest) -> bool {
    let operates = matches!(request.interaction(), Interaction::Operation { .. });
    request.interaction().changes() || operates && request.inbound.method == Method::POST
}

impl Gateway {
    /// Answers every entry, in their order. What one entry is refused, the others do not feel. Where something is changed, one is
    /// done after the other: what comes of two changes of one resource is not left to chance.
    pub(super) async fn each(&self, batch: Batch, open: &mut Open) -> Releasable {
        let whole = open.record();
        // Each entry's record has a decision of its own.
        whole.decision = None;
        let request_id = whole.request_id.clone().unwrap_or_default();
        let entries = batch.into_entries();
        let changes = |entry: &Result<Authenticated<FhirRequest>, Refusal>| {
            entry.as_ref().is_ok_and(|who| may_change(&who.request))
        };
        let at_once = if entries.iter().any(changes) { 1 } else { AT_ONCE };
        let entries = entries.into_iter().enumerate().map(|(number, entry)| {
            let request_id = format!("{request_id}.{}", number + 1);
            async move {
                match entry {
                    Ok(who) => self.entry(who, request_id).await,
                    Err(refusal) => Err(refusal),
                }
            }
        });
        let ended = iter(entries).buffered(at_once).collect().await;
        self.filter.batch(ended)
    }

    async fn entry(&self, mut who: Authenticated<FhirRequest>, request_id: String) -> Result<Releasable, Refusal> {
        who.request.inbound.request_id.clone_from(&request_id);
        let from = who.request.inbound.peer.ip();
        let mut open = self.audit.open(EventKind::Fhir, &request_id, from, "public");
        open.record().inbound(&who.request.inbound);
        open.record().requested(&who.request);
        // On the heap: an entry is no batch, but its type does not say so.
        let result = Box::pin(self.finish(who, &mut open)).await;
        match &result {
            Ok(_) => self.metrics.permitted(),
            Err(refusal) => self.metrics.refused(refusal.reason()),
        }
        open.record().status = Some(result.as_ref().map_or_else(Refusal::status, Releasable::status).as_u16());
        let outcome = result.as_ref().map_or_else(Refusal::outcome, |_| Outcome::Released);
        match open.close(outcome, result).await {
            Ok(recorded) => recorded.into_inner(),
            Err(_) => Err(Refusal::Unavailable("audit_unavailable")),
        }
    }
}
