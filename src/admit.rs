//! What one address may cost before anything it says is believed: open connections, and failed credentials per minute.
//!
//! Takes the peer's address, gives leave or a time to wait. IPv6 addresses are counted by /64, the smallest block that one
//! host is given. The maps are bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock, QuantaInstant, Reference as _};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Blocks whose budgets are kept at the same time; when there are so many, those that recovered are forgotten.
const ADDRESSES: usize = 100_000;
/// How long one waits for whom there is no room.
const PAUSE: Duration = Duration::from_secs(1);

/// The block that is counted as one: the address itself, or its /64.
#[must_use]
pub fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

/// Open connections per block.
#[derive(Debug)]
pub struct Connections {
    open: Mutex<HashMap<IpAddr, usize>>,
    per_address: usize,
}

/// One open connection; counts until it is dropped.
#[derive(Debug)]
pub struct Connection {
    connections: Arc<Connections>,
    block: IpAddr,
}

impl Connections {
    /// At most `per_address` connections from one block.
    #[must_use]
    pub fn new(per_address: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::new(HashMap::new()), per_address })
    }

    /// Counts one more connection, or refuses it.
    #[must_use]
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Connection> {
        let block = block(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(block).or_insert(0);
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Connection { connections: Arc::clone(self), block })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.block) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.block);
            }
        }
    }
}

/// Who sends what is counted: a block, and apart from it the pages of strangers, such as those of apps that nobody of this site
/// has looked at. Anybody may have such a page, and what it sends from the browsers behind an address is no try of these people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Presenter {
    block: IpAddr,
    strangers_page: bool,
}

impl Presenter {
    /// Whoever is at `address`; `strangers_page`: it is such a page.
    #[must_use]
    pub fn new(address: IpAddr, strangers_page: bool) -> Self {
        Self { block: block(address), strangers_page }
    }
}

/// A budget for each presenter or block, of which at most [`ADDRESSES`] are kept.
#[derive(Debug)]
struct Budgets<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    /// When those that recovered were forgotten last.
    swept: Mutex<Option<QuantaInstant>>,
}

impl<K: Hash + Eq + Clone> Budgets<K> {
    fn new(quota: Quota) -> Self {
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default(), swept: Mutex::new(None) }
    }

    /// Spends one of its budget. While no more blocks can be kept nobody can be counted, and everybody waits.
    ///
    /// # Errors
    /// The instant from which another try makes sense.
    fn spend(&self, key: &K) -> Result<(), QuantaInstant> {
        if self.limiter.len() >= ADDRESSES && !self.make_room() {
            return Err(self.clock.now() + PAUSE.into());
        }
        self.limiter.check_key(key).map_err(|not_until| not_until.earliest_possible())
    }

    /// Forgets the blocks that recovered, once a [`PAUSE`] at most: all are looked at. Whether there is room for one more.
    fn make_room(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if swept.is_none_or(|swept| now >= swept + PAUSE.into()) {
            *swept = Some(now);
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.len() < ADDRESSES
    }

    /// The whole seconds until then, at least one.
    fn wait(&self, until: QuantaInstant) -> u32 {
        let wait = Duration::from(until.duration_since(self.clock.now()));
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
    }
}

/// The budget of failed credentials per [`Presenter`]. Who spent it is refused before any signature or password is checked,
/// until the budget has recovered.
#[derive(Debug)]
pub struct FailedCredentials {
    budgets: Budgets<Presenter>,
    refused: moka::sync::Cache<Presenter, QuantaInstant>,
}

impl FailedCredentials {
    /// `per_minute` failures are forgiven in a minute; zero is taken for one.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            budgets: Budgets::new(Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN))),
            refused: moka::sync::Cache::builder()
                .max_capacity(ADDRESSES as u64)
                .time_to_live(Duration::from_secs(60))
                .build(),
        }
    }

    /// Leave to present credentials, or the whole seconds to wait.
    ///
    /// # Errors
    /// The seconds until the budget has recovered, at least one.
    pub fn admit(&self, presenter: Presenter) -> Result<(), u32> {
        match self.refused.get(&presenter) {
            Some(until) if self.budgets.clock.now() < until => Err(self.budgets.wait(until)),
            _ => Ok(()),
        }
    }

    /// Notes a failure.
    pub fn failed(&self, presenter: Presenter) {
        if let Err(until) = self.budgets.spend(&presenter) {
            self.refused.insert(presenter, until);
        }
    }
}

/// How often one block may do something in an hour.
#[derive(Debug)]
pub struct HourlyBudget(Budgets<IpAddr>);

impl HourlyBudget {
    /// `per_hour` times; zero is taken for one.
    #[must_use]
    pub fn new(per_hour: u32) -> Self {
        Self(Budgets::new(Quota::per_hour(NonZeroU32::new(per_hour).unwrap_or(NonZeroU32::MIN))))
    }

    /// Counts one more time.
    ///
    /// # Errors
    /// The seconds to wait, at least one, when the block has spent its budget.
    pub fn spend(&self, address: IpAddr) -> Result<(), u32> {
        self.0.spend(&block(address)).map_err(|until| self.0.wait(until))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    #[test]
    fn an_hourly_budget_is_that_of_one_address() {
        let budget = HourlyBudget::new(2);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(budget.spend(one).is_ok() && budget.spend(one).is_ok());
        let wait = budget.spend(one).unwrap_err();
        assert!((1..=1_801).contains(&wait), "{wait}");
        assert!(budget.spend(other).is_ok());
        for (host, good) in [("1", true), ("2", true), ("3", false)] {
            assert_eq!(
                budget.spend(format!("2001:db8::{host}").parse().unwrap()).is_ok(),
                good,
                "of a network of 64 bits"
            );
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_not_one_more() {
        let budgets = Budgets::<IpAddr>::new(Quota::per_hour(NonZeroU32::MIN));
        let until = |milliseconds| budgets.wait(budgets.clock.now() + Duration::from_millis(milliseconds).into());
        assert_eq!((until(0), until(100)), (1, 1));
        // Exactly five seconds may be left, or a little less: both are told as five.
        assert_eq!((until(5_000), until(5_900)), (5, 6));
    }

    #[test]
    fn who_recovered_is_let_in_at_once_and_who_waits_is_told_a_second_at_least() {
        let failures = FailedCredentials::new(600);
        let here = Presenter::new("192.0.2.1".parse().unwrap(), false);
        let wait = loop {
            failures.failed(here);
            if let Err(wait) = failures.admit(here) {
                break wait;
            }
        };
        assert_eq!(wait, 1, "a tenth of a second, in whole ones");
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while failures.admit(here).is_err() {
            assert!(std::time::Instant::now() < until, "a tenth of a second has long passed");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn addresses_that_recovered_are_forgotten_when_there_are_many() {
        let (failures, hourly) = (FailedCredentials::new(u32::MAX), HourlyBudget::new(u32::MAX));
        for number in 0..u32::try_from(ADDRESSES).unwrap() + 1_000 {
            let address = IpAddr::V4(number.into());
            failures.failed(Presenter::new(address, false));
            assert!(hourly.spend(address).is_ok());
        }
        assert!(failures.budgets.limiter.len() <= ADDRESSES && hourly.0.limiter.len() <= ADDRESSES);
    }

    #[test]
    fn who_comes_when_nobody_more_can_be_counted_waits_and_no_more_is_kept() {
        let (failures, hourly) = (FailedCredentials::new(1), HourlyBudget::new(1));
        let address = |number: usize| IpAddr::V4(u32::try_from(number).unwrap().into());
        let presenter = |number| Presenter::new(address(number), false);
        for number in 0..ADDRESSES {
            failures.failed(presenter(number));
            assert_eq!(hourly.spend(address(number)), Ok(()));
        }
        for number in ADDRESSES..ADDRESSES + 1_000 {
            failures.failed(presenter(number));
            let (failed, spent) = (failures.admit(presenter(number)), hourly.spend(address(number)));
            // Two, where the processor that is asked last is behind the first by nanoseconds.
            assert!(matches!((failed, spent), (Err(1 | 2), Err(1 | 2))), "{failed:?} {spent:?}");
        }
        assert_eq!((failures.budgets.limiter.len(), hourly.0.limiter.len()), (ADDRESSES, ADDRESSES));
        assert_eq!(failures.admit(presenter(ADDRESSES + 2_000)), Ok(()), "who did not fail is let in");
    }

    #[test]
    fn an_address_has_a_bounded_number_of_connections_and_gets_them_back() {
        let connections = Connections::new(2);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let first = connections.admit(here).unwrap();
        let second = connections.admit(here).unwrap();
        assert!(connections.admit(here).is_none());
        assert!(connections.admit("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        let third = connections.admit(here).unwrap();
        drop((third, second));
        assert!(connections.open.lock().unwrap().is_empty(), "who has none is not remembered");
    }

    #[test]
    fn a_network_of_64_bits_counts_as_one_address() {
        let connections = Connections::new(1);
        let _first = connections.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(connections.admit("2001:db8::ffff:2".parse().unwrap()).is_none());
        assert!(connections.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
        assert_eq!(block("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn failed_credentials_exhaust_the_budget_of_their_address_alone() {
        let failures = FailedCredentials::new(3);
        let [bad, good] = ["192.0.2.1", "192.0.2.2"].map(|address| Presenter::new(address.parse().unwrap(), false));
        for _ in 0..3 {
            assert!(failures.admit(bad).is_ok());
            failures.failed(bad);
        }
        assert!(failures.admit(bad).is_ok());
        failures.failed(bad);
        assert!(failures.admit(bad).unwrap_err() >= 1);
        assert!(failures.admit(good).is_ok());
        let page = Presenter::new("192.0.2.2".parse().unwrap(), true);
        (0..4).for_each(|_| failures.failed(page));
        assert!(failures.admit(page).is_err() && failures.admit(good).is_ok(), "each has its own");
    }
}
