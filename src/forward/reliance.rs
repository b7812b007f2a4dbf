//! Relies on the upstream to confine a search, and probes whether it does (`authorize` narrows, but a server may ignore what it is
//! asked).
//!
//! A probe is a search that nothing can match: for the resources of a patient that nobody has. A server that honours the
//! parameter answers with an empty searchset, and echoes the parameter in the `self` link, if it gives one (R4 search.html, "the
//! self link"). Anything else it answers makes the way unusable. One that does not answer is asked again by whoever comes next.

use std::fmt::Write as _;

use bytes::Bytes;

use super::narrowing::{Boarding, Ended, Standing, Ticket, Wait, Which};
use super::target::target;
use super::{Answered, Upstream};
use crate::authorize::UpstreamRequest::Operation;
use crate::authorize::{Invocation, Judged, Obligations, UpstreamRequest};
use crate::error::UpstreamFault;
use crate::fhir::compartment::patient_compartment;
use crate::fhir::definitions::ParameterKind;
use crate::fhir::interaction::Interaction;
use crate::fhir::narrow::by_filter;
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::fhir::way::Way;
use crate::json::{Json, Limits, Value};
use crate::random;

/// The `X-Request-Id` of probes.
const PROBE: &str = "search-probe";

impl Upstream {
    /// Makes sure that the upstream honours everything that these searches are confined by.
    ///
    /// # Errors
    /// [`UpstreamFault::NotConfined`] when it does not, another fault when that cannot be found out.
    pub(super) async fn rely(
        &self,
        upstream: &UpstreamRequest,
        obligations: &Obligations,
    ) -> Result<(), UpstreamFault> {
        let mut waits = Vec::new();
        for (resource_type, way) in relied_on(upstream, obligations) {
            waits.extend(self.consult(resource_type, way)?);
        }
        // All of them are under way by now.
        landed(waits).await
    }

    /// What is known of the way; a probe to wait for when nothing is.
    fn consult(&self, resource_type: ResourceType, way: Way) -> Result<Option<Flight>, UpstreamFault> {
        match self.narrowing.standing(resource_type, way) {
            Standing::Honoured { ageing: false } => Ok(None),
            Standing::Honoured { ageing: true } => {
                self.fly(resource_type, way, Which::InTheBackground);
                Ok(None)
            }
            Standing::Unusable => {
                self.fly(resource_type, way, Which::InTheBackground);
                Err(UpstreamFault::NotConfined)
            }
            Standing::Unknown => Ok(Some(self.fly(resource_type, way, Which::Any))),
        }
    }

    /// Asks again at once whether searches on the type are confined, because one was not. Returns when that is known.
    pub async fn doubt(&self, resource_type: ResourceType) {
        let ways = self.narrowing.confining(resource_type).into_iter();
        let doubted: Vec<_> = ways.map(|way| (way, self.narrowing.started(resource_type, way))).collect();
        for (way, started) in doubted {
            // The first may have started before the doubt.
            for _ in 0..2 {
                let _ = self.fly(resource_type, way, Which::After(started)).ended().await;
            }
        }
    }

    /// Whether the upstream confines searches on the type so.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub async fn probe_way(&self, resource_type: ResourceType, way: Way) -> Result<bool, UpstreamFault> {
        self.fly(resource_type, way, Which::Any).ended().await
    }

    /// How many probes ended so: honoured, unusable, failed.
    #[must_use]
    pub fn probes(&self) -> [u64; 3] {
        self.narrowing.counts()
    }

    /// The types on which searches were probed, each with in how many ways they are not confined.
    #[must_use]
    pub fn unconfined(&self) -> Vec<(ResourceType, usize)> {
        self.narrowing.unusable()
    }

    /// Takes part in a probe, which goes on when nobody waits for it.
    fn fly(&self, resource_type: ResourceType, way: Way, which: Which) -> Flight {
        match self.narrowing.board(resource_type, way, which) {
            Boarding::Make(ticket, wait) => {
                let upstream = self.clone();
                tokio::spawn(async move { upstream.make(ticket).await });
                Flight::UnderWay(wait)
            }
            Boarding::Wait(wait) => Flight::UnderWay(wait),
            Boarding::Known(honoured) => Flight::Landed(honoured),
            Boarding::Nothing => Flight::Landed(false),
        }
    }

    async fn make(&self, ticket: Ticket) {
        let nobody = nobody();
        let ended = match probe(ticket.resource_type, ticket.way, &nobody) {
            None => Err(UpstreamFault::Unusable("a probe that cannot be written")),
            Some(request) => {
                let as_form = target(&self.base, &request).is_some_and(|target| target.form.is_some());
                match self.call(&request, PROBE).await {
                    Ok(Answered::Resource { body, .. }) => Ok(is_confined(body, ticket.way, &nobody, as_form)),
                    // What a server says that does not have the type, the search or the parameter.
                    Ok(_) | Err(UpstreamFault::Status(405 | 501)) => Ok(false),
                    Err(fault) => Err(fault),
                }
            }
        };
        ticket.end(ended);
    }
}

/// What the upstream must honour for these searches to be confined: of which type in which way.
pub(super) fn relied_on(upstream: &UpstreamRequest, obligations: &Obligations) -> Vec<(ResourceType, Way)> {
    match upstream {
        UpstreamRequest::Transaction(_) => {
            obligations.each.iter().filter(|each| searches(each)).flat_map(of_reaches).collect()
        }
        UpstreamRequest::Nothing { .. } => Vec::new(),
        UpstreamRequest::PerType { .. } => of_reaches(obligations).collect(),
        // A page of a history or of a record is of no search; an operation may be one by another name.
        one if searches(obligations) && (one.searched_type().is_some() || matches!(one, Operation(_))) => {
            let last_n = matches!(one, Operation(invocation) if invocation.name == "lastn");
            let last_n = last_n && !obligations.reach.is_unrestricted();
            of_reaches(obligations).chain(last_n.then_some((ResourceType::OBSERVATION, Way::LastN))).collect()
        }
        _ => Vec::new(),
    }
}

fn of_reaches(obligations: &Obligations) -> impl Iterator<Item = (ResourceType, Way)> {
    let reaches = std::iter::once(&obligations.reach).chain(obligations.beside.also());
    reaches.flat_map(|reach| reach.relies_on().map(|way| (reach.resource_type(), way)))
}

/// Waits for all of them; one that says no is enough.
async fn landed(flights: Vec<Flight>) -> Result<(), UpstreamFault> {
    for flight in flights {
        if !flight.ended().await? {
            return Err(UpstreamFault::NotConfined);
        }
    }
    Ok(())
}

/// A probe that somebody may wait for.
enum Flight {
    UnderWay(Wait),
    Landed(bool),
}

impl Flight {
    async fn ended(self) -> Ended {
        match self {
            Self::UnderWay(wait) => wait.ended().await,
            Self::Landed(honoured) => Ok(honoured),
        }
    }
}

fn searches(obligations: &Obligations) -> bool {
    match obligations.interaction {
        Interaction::SearchType { .. } | Interaction::SearchCompartment { .. } => true,
        Interaction::Operation { .. } => obligations.beside.judged() == Some(&Judged::Matches),
        _ => false,
    }
}

/// An id that no resource has: a UUID of version 4 (RFC 9562 section 5.4).
fn nobody() -> String {
    let mut bytes = random::bytes::<16>();
    for (at, byte) in bytes.iter_mut().enumerate() {
        match at {
            6 => *byte = *byte & 0x0f | 0x40,
            8 => *byte = *byte & 0x3f | 0x80,
            _ => {}
        }
    }
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        let _ = write!(text, "{dash}{byte:02x}");
    }
    text
}

/// The search that nothing can match.
fn probe(resource_type: ResourceType, way: Way, nobody: &str) -> Option<UpstreamRequest> {
    let count = ("_count".to_owned(), "1".to_owned());
    let parameter = match way {
        Way::Compartment => {
            let id = LogicalId::parse(nobody)?;
            let parameters = vec![count];
            return Some(UpstreamRequest::SearchCompartment {
                compartment: ResourceType::PATIENT,
                id,
                resource_type,
                parameters,
            });
        }
        Way::Filter => {
            let id = LogicalId::parse(nobody)?;
            let parameters = vec![by_filter(patient_compartment(resource_type)?, id.as_id()), count];
            return Some(UpstreamRequest::Search { resource_type, parameters });
        }
        Way::LastN => {
            let parameters =
                vec![("subject".to_owned(), format!("Patient/{nobody}")), ("max".to_owned(), "1".to_owned())];
            let name = "lastn".to_owned();
            let (id, body, affects_state) = (None, None, false);
            let resource_type = Some(resource_type);
            let invocation = Invocation { resource_type, id, name, parameters, body, affects_state };
            return Some(Operation(Box::new(invocation)));
        }
        Way::Parameter(parameter) => parameter,
    };
    let value = match parameter.kind {
        ParameterKind::Reference => {
            let patient = parameter.may_target(ResourceType::PATIENT).then_some(ResourceType::PATIENT);
            format!("{}/{nobody}", patient.or(parameter.targets.first().copied())?)
        }
        ParameterKind::Uri => format!("urn:uuid:{nobody}"),
        _ => nobody.to_owned(),
    };
    Some(UpstreamRequest::Search { resource_type, parameters: vec![(parameter.name.to_owned(), value), count] })
}

/// Whether a server that says this confined the probe: nothing was found, and the parameter is not missing where the server
/// says what it searched by. A search that came in a form need not be said.
fn is_confined(body: Bytes, way: Way, nobody: &str, as_form: bool) -> bool {
    let Ok(json) = Json::parse(body, Limits::default()) else { return false };
    let bundle = json.root();
    let is = |name: &str, text: &str| bundle.member(name).is_some_and(|value| value.is(text));
    let entries = bundle.member("entry").into_iter().flat_map(Value::elements);
    let mut modes = entries.map(|entry| entry.member("search").and_then(|search| search.member("mode")));
    let found = modes.any(|mode| !mode.is_some_and(|mode| mode.is("outcome")));
    let counted = bundle.member("total").is_some_and(|total| total.raw() != b"0");
    let mut links = bundle.member("link").into_iter().flat_map(Value::elements);
    let own = links.find(|link| link.member("relation").is_some_and(|relation| relation.is("self")));
    let said = own.and_then(|link| link.text("url")).is_none_or(|url| says(&url, way, nobody, as_form));
    is("resourceType", "Bundle") && is("type", "searchset") && !found && !counted && said
}

/// Whether a `self` link names what the search was confined by.
fn says(url: &str, way: Way, nobody: &str, as_form: bool) -> bool {
    let Way::Parameter(parameter) = way else { return url.contains(nobody) };
    let Some((_, query)) = url.split_once('?') else { return as_form };
    form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name.split(':').next() == Some(parameter.name) && value.contains(nobody))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]
    use super::*;
    use crate::fhir::definitions::search_parameter;

    // A parameter without a value, or with one that somebody has, asks for everything or for somebody.
    #[test]
    fn a_probe_asks_for_nobody_in_every_way() {
        let of = ResourceType::OBSERVATION;
        for (name, value) in [
            ("subject", "Patient/NOBODY"),
            ("performer", "Patient/NOBODY"),
            ("encounter", "Encounter/NOBODY"),
            ("category", "NOBODY"),
            ("_id", "NOBODY"),
            ("_profile", "urn:uuid:NOBODY"),
        ] {
            let way = Way::Parameter(search_parameter(of, name).unwrap());
            let Some(UpstreamRequest::Search { parameters, .. }) = probe(of, way, "NOBODY") else { panic!("{name}") };
            let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            assert_eq!(parameters, [pair(name, value), pair("_count", "1")], "{name}");
        }
        assert!(probe(of, Way::Compartment, "no id").is_none() && probe(of, Way::Filter, "no id").is_none());
        let (one, other) = (nobody(), nobody());
        assert!(one != other && LogicalId::parse(&one).is_some(), "{one} {other}");
    }
}
