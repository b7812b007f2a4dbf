//! What the upstream is known to honour: for each type and each [`Way`] of confining a search on it, whether a probe showed that
//! the server does what it is asked.
//!
//! Takes what probes found; gives whether to rely on a way. Promises: nothing counts as honoured that no probe of the last ten
//! minutes showed; however many ask at the same time, one probe is under way; a probe that could not be made is told to those
//! who wait for it and remembered by nobody. Costs a request an array index, a short scan and one atomic load. Makes no probe
//! itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::UpstreamFault;
use crate::fhir::definitions::{ParameterKind, search_parameters};
use crate::fhir::resource_type::ResourceType;
use crate::fhir::way::{SearchBy, Way, confining, ways};

/// How long a probe that was honoured is relied on, seconds.
const LIFE: u64 = 600;
/// From what age on it is made again while it is still relied on, seconds.
const AGEING: u64 = 300;
/// How long a way is left alone in the background after a probe, seconds.
const PAUSE: u64 = 30;

/// What came of a probe: whether the way is honoured, or why that could not be found out.
pub(super) type Ended = Result<bool, UpstreamFault>;

/// All types and ways.
#[derive(Debug)]
pub(super) struct Narrowing {
    clock: Clock,
    types: Box<[OnceLock<Box<[Slot]>>]>,
    honoured: AtomicU64,
    unusable: AtomicU64,
    failed: AtomicU64,
}

/// One type and one way.
#[derive(Debug)]
struct Slot {
    way: Way,
    /// 0: nothing; else the second of the last probe that told something, and in the lowest bit what it told.
    known: AtomicU64,
    flights: Mutex<Flights>,
}

#[derive(Debug, Default)]
struct Flights {
    /// How many probes were started.
    started: u64,
    /// The second in which the last one was.
    last: u64,
    /// The one that is under way.
    under_way: Option<watch::Receiver<Option<Ended>>>,
}

/// What is known of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing that still holds: a probe must be waited for.
    Unknown,
    /// It is honoured. Long ago, if `ageing`: then it is time for another probe.
    Honoured {
        /// A probe may be made in the background.
        ageing: bool,
    },
    /// It is not.
    Unusable,
}

/// Which probe somebody wants.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// The one that is under way, or a new one.
    Any,
    /// The one that is under way, or a new one unless there was one a moment ago: nobody waits for it.
    InTheBackground,
    /// One that started after so many others.
    After(u64),
}

/// What becomes of who wants a probe.
pub(super) enum Boarding {
    /// It is to be made, by whoever has the ticket.
    Make(Ticket, Wait),
    /// It is under way.
    Wait(Wait),
    /// It is known by now whether the way is honoured.
    Known(bool),
    /// It is not needed (any more).
    Nothing,
}

/// The result of a probe that is under way.
pub(super) struct Wait(watch::Receiver<Option<Ended>>);

/// The duty to make one probe and to tell what came of it. One that is lost tells that there is no result.
pub(super) struct Ticket {
    narrowing: Arc<Narrowing>,
    pub(super) resource_type: ResourceType,
    pub(super) way: Way,
    told: watch::Sender<Option<Ended>>,
}

impl Narrowing {
    pub(super) fn new(clock: Clock) -> Self {
        let types = std::iter::repeat_with(OnceLock::new).take(ResourceType::COUNT).collect();
        let none = AtomicU64::default;
        Self { clock, types, honoured: none(), unusable: none(), failed: none() }
    }

    /// What is known of the way now.
    pub(super) fn standing(&self, resource_type: ResourceType, way: Way) -> Standing {
        self.slot(resource_type, way).map_or(Standing::Unknown, |slot| slot.standing(self.now()))
    }

    /// How many probes of the way were started so far.
    pub(super) fn started(&self, resource_type: ResourceType, way: Way) -> u64 {
        self.slot(resource_type, way).map_or(0, |slot| slot.flights().started)
    }

    /// Takes part in a probe of the way, or gets it to make.
    pub(super) fn board(self: &Arc<Self>, resource_type: ResourceType, way: Way, which: Which) -> Boarding {
        let Some(slot) = self.slot(resource_type, way) else { return Boarding::Nothing };
        let now = self.now();
        let mut flights = slot.flights();
        if let Some(under_way) = &flights.under_way {
            return Boarding::Wait(Wait(under_way.clone()));
        }
        let rested = now.checked_sub(flights.last).is_none_or(|since| since >= PAUSE);
        match (which, slot.standing(now)) {
            // It may have ended since this was asked for.
            (Which::Any, Standing::Honoured { .. }) => return Boarding::Known(true),
            (Which::Any, Standing::Unusable) => return Boarding::Known(false),
            (Which::InTheBackground, _) if !rested => return Boarding::Nothing,
            (Which::After(started), _) if flights.started > started => return Boarding::Nothing,
            (Which::Any | Which::InTheBackground | Which::After(_), _) => {}
        }
        let (told, wait) = watch::channel(None);
        flights.started += 1;
        flights.last = now;
        flights.under_way = Some(wait.clone());
        let ticket = Ticket { narrowing: Arc::clone(self), resource_type, way, told };
        Boarding::Make(ticket, Wait(wait))
    }

    /// The ways of confining a search on the type to a patient that count as honoured.
    pub(super) fn confining(&self, resource_type: ResourceType) -> Vec<Way> {
        let slots = self.types.get(resource_type.index()).and_then(OnceLock::get);
        let honoured = slots.into_iter().flatten().filter(|slot| slot.known.load(Ordering::Acquire) & 1 == 1);
        honoured.map(|slot| slot.way).filter(|way| confines(resource_type, *way)).collect()
    }

    /// How many probes ended so: honoured, unusable, failed.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.honoured, &self.unusable, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }

    /// The types of which something is known, each with how many of its ways are unusable.
    pub(super) fn unusable(&self) -> Vec<(ResourceType, usize)> {
        let known = |(resource_type, slots): (ResourceType, &OnceLock<Box<[Slot]>>)| {
            let known = slots.get()?.iter().map(|slot| slot.known.load(Ordering::Acquire));
            let known: Vec<u64> = known.filter(|known| *known != 0).collect();
            let unusable = known.iter().filter(|known| **known & 1 == 0).count();
            (!known.is_empty()).then_some((resource_type, unusable))
        };
        ResourceType::all().zip(&self.types).filter_map(known).collect()
    }

    fn slot(&self, resource_type: ResourceType, way: Way) -> Option<&Slot> {
        let slots = self.types.get(resource_type.index())?.get_or_init(|| slots(resource_type));
        slots.iter().find(|slot| slot.way == way)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.unix_seconds()).unwrap_or(1).max(1)
    }

    /// Remembers what came of a probe, before anybody is told.
    fn note(&self, ticket: &Ticket, ended: Ended) {
        let Some(slot) = self.slot(ticket.resource_type, ticket.way) else { return };
        let (resource_type, way) = (ticket.resource_type.name(), ticket.way.name());
        let count = match ended {
            Ok(honoured) => {
                let known = slot.known.swap(self.now() << 1 | u64::from(honoured), Ordering::AcqRel);
                match (known != 0 && known & 1 == 0, honoured) {
                    (false, false) => tracing::warn!(
                        resource_type,
                        way,
                        "the upstream does not confine searches so: those that rely on it are refused"
                    ),
                    (true, true) => tracing::info!(resource_type, way, "the upstream confines searches so again"),
                    (false, true) | (true, false) => {}
                }
                if honoured { &self.honoured } else { &self.unusable }
            }
            Err(_) => &self.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        slot.flights().under_way = None;
    }
}

impl Slot {
    fn standing(&self, now: u64) -> Standing {
        let known = self.known.load(Ordering::Acquire);
        if known == 0 {
            return Standing::Unknown;
        }
        if known & 1 == 0 {
            return Standing::Unusable;
        }
        match now.checked_sub(known >> 1) {
            Some(age) if age < LIFE => Standing::Honoured { ageing: age >= AGEING },
            // Past its time, or from the future: a clock was set.
            _ => Standing::Unknown,
        }
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// What came of it.
    pub(super) async fn ended(mut self) -> Ended {
        let lost = Err(UpstreamFault::Unusable("a probe without a result"));
        self.0.wait_for(Option::is_some).await.map_or(lost, |ended| ended.unwrap_or(lost))
    }
}

impl Ticket {
    /// Tells what came of it.
    pub(super) fn end(self, ended: Ended) {
        self.narrowing.note(&self, ended);
        self.told.send_replace(Some(ended));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.told.borrow().is_none() {
            self.narrowing.note(self, Err(UpstreamFault::Unusable("a probe without a result")));
        }
    }
}

/// Whether the way confines a search on the type to a patient.
fn confines(resource_type: ResourceType, way: Way) -> bool {
    SearchBy::ALL.into_iter().any(|(_, search_by)| ways(resource_type, search_by, None).any(|one| one == way))
        || way == Way::LastN
        || matches!(way, Way::Parameter(parameter) if confining(resource_type, parameter.name).is_some())
}

/// Every way that a search on the type may rely on, those to a patient first.
fn slots(resource_type: ResourceType) -> Box<[Slot]> {
    let mut found: Vec<Way> = Vec::new();
    let conditions = search_parameters(resource_type).iter().filter(|parameter| {
        let tested = matches!(parameter.kind, ParameterKind::Token | ParameterKind::Reference | ParameterKind::Uri);
        tested && !parameter.paths.is_empty()
    });
    let by_choice = SearchBy::ALL.into_iter().flat_map(|(_, search_by)| ways(resource_type, search_by, None));
    let last_n = (resource_type == ResourceType::OBSERVATION).then_some(Way::LastN);
    for way in by_choice.chain(last_n).chain(conditions.map(Way::Parameter)) {
        if !found.contains(&way) {
            found.push(way);
        }
    }
    let slot = |way| Slot { way, known: AtomicU64::default(), flights: Mutex::default() };
    found.into_iter().map(slot).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a failed assumption fails the test")]
    use super::*;

    const OBSERVATION: ResourceType = ResourceType::OBSERVATION;

    fn subject() -> Way {
        ways(OBSERVATION, SearchBy::Primary, None).next().unwrap()
    }

    fn narrowing() -> (Arc<Narrowing>, Clock) {
        let clock = Clock::fixed(1_000_000);
        (Arc::new(Narrowing::new(clock.clone())), clock)
    }

    fn make(narrowing: &Arc<Narrowing>, which: Which) -> (Ticket, Wait) {
        match narrowing.board(OBSERVATION, subject(), which) {
            Boarding::Make(ticket, wait) => (ticket, wait),
            _ => panic!("a probe to make"),
        }
    }

    #[tokio::test]
    async fn one_probe_tells_all_who_wait_for_it() {
        let (narrowing, _) = narrowing();
        assert_eq!(narrowing.standing(OBSERVATION, subject()), Standing::Unknown);
        let (ticket, first) = make(&narrowing, Which::Any);
        for which in [Which::Any, Which::InTheBackground, Which::After(1)] {
            assert!(matches!(narrowing.board(OBSERVATION, subject(), which), Boarding::Wait(_)), "{which:?}");
        }
        let Boarding::Wait(second) = narrowing.board(OBSERVATION, subject(), Which::Any) else { panic!("under way") };
        ticket.end(Ok(true));
        assert_eq!((first.ended().await, second.ended().await), (Ok(true), Ok(true)));
        assert!(matches!(narrowing.board(OBSERVATION, subject(), Which::Any), Boarding::Known(true)));
        assert_eq!(narrowing.standing(OBSERVATION, subject()), Standing::Honoured { ageing: false });
        // Of another parameter and of another type nothing is known.
        for (resource_type, way) in [
            (OBSERVATION, ways(OBSERVATION, SearchBy::EveryParameter, None).nth(1).unwrap()),
            (OBSERVATION, Way::Compartment),
            (ResourceType::PATIENT, ways(ResourceType::PATIENT, SearchBy::Primary, None).next().unwrap()),
        ] {
            assert_eq!(narrowing.standing(resource_type, way), Standing::Unknown, "{resource_type} {way}");
        }
    }

    #[tokio::test]
    async fn a_probe_that_fails_or_is_lost_is_told_and_leaves_all_as_it_was() {
        let (narrowing, clock) = narrowing();
        let (ticket, wait) = make(&narrowing, Which::Any);
        ticket.end(Err(UpstreamFault::Timeout));
        assert_eq!(wait.ended().await, Err(UpstreamFault::Timeout));
        let (ticket, wait) = make(&narrowing, Which::Any);
        drop(ticket);
        assert!(wait.ended().await.is_err());
        assert_eq!(narrowing.standing(OBSERVATION, subject()), Standing::Unknown);
        make(&narrowing, Which::Any).0.end(Ok(true));
        clock.advance(i64::try_from(LIFE).unwrap() - 1);
        make(&narrowing, Which::InTheBackground).0.end(Err(UpstreamFault::Unreachable));
        assert_eq!(narrowing.standing(OBSERVATION, subject()), Standing::Honoured { ageing: true });
        clock.advance(1);
        assert_eq!(narrowing.standing(OBSERVATION, subject()), Standing::Unknown);
        assert_eq!(narrowing.counts(), [1, 0, 3]);
    }

    #[test]
    fn a_doubt_is_answered_by_a_probe_that_started_after_it() {
        let (narrowing, _) = narrowing();
        make(&narrowing, Which::Any).0.end(Ok(true));
        assert_eq!(narrowing.confining(OBSERVATION), [subject()]);
        let doubted = narrowing.started(OBSERVATION, subject());
        make(&narrowing, Which::After(doubted)).0.end(Ok(false));
        assert!(matches!(narrowing.board(OBSERVATION, subject(), Which::After(doubted)), Boarding::Nothing));
        assert_eq!(narrowing.standing(OBSERVATION, subject()), Standing::Unusable);
        assert_eq!((narrowing.unusable(), narrowing.confining(OBSERVATION)), (vec![(OBSERVATION, 1)], Vec::new()));
    }

    #[test]
    fn in_the_background_a_way_is_left_alone_for_half_a_minute() {
        let (narrowing, clock) = narrowing();
        make(&narrowing, Which::Any).0.end(Ok(false));
        clock.advance(i64::try_from(PAUSE).unwrap() - 1);
        assert!(matches!(narrowing.board(OBSERVATION, subject(), Which::InTheBackground), Boarding::Nothing));
        clock.advance(1);
        make(&narrowing, Which::InTheBackground).0.end(Ok(true));
        assert_eq!(narrowing.standing(OBSERVATION, subject()), Standing::Honoured { ageing: false });
    }
}
