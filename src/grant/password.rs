//! Checking a password without telling who exists, and without letting guesses cost much.
//!
//! Takes a user name, a password and the address it came from; gives a verdict. Promises: an unknown user costs the same
//! argon2id work and gets the same answer as a wrong password; five tries per user name and address, then one in twelve
//! seconds, counted from new after a right password; never more than a few hashes at the same time, off the threads that
//! serve requests, and those of one address never all that wait; everything that is remembered is bounded. A budget per address for all user names together is the
//! business of `admit`. NIST SP 800-63B section 5.2.2.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use argon2::{Argon2, PasswordVerifier};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::admit::{Connections, Presenter, block};
use crate::config::{Config, User};
use crate::secret::{Digest, Secret};

/// Tries per user name and address and minute.
const TRIES: NonZeroU32 = match NonZeroU32::new(5) {
    Some(tries) => tries,
    None => NonZeroU32::MIN,
};
/// Authorization requests per address and minute, and those in frames as many again: each of them is written to the store before anybody is known.
const REQUESTS: NonZeroU32 = match NonZeroU32::new(600) {
    Some(requests) => requests,
    None => NonZeroU32::MIN,
};
/// Hashes that are computed at the same time.
const AT_WORK: usize = 2;
/// Logins that wait for their turn; more are turned away.
const WAITING: usize = 64;
/// Those of one address: so no address can keep the others from logging in, nor guess much beyond its budget by guessing at once.
const WAITING_OF_ONE: usize = WAITING / 4;
/// Addresses, and pairs of user name and address, that are remembered.
const REMEMBERED: u64 = 20_000;
/// Characters of a password that are looked at.
const MAX_PASSWORD: usize = 1024;
/// What is checked when no user is configured at all.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI";

/// The limits of one process on what strangers may ask of it: password checks and authorization requests.
#[derive(Debug)]
pub struct LoginGate {
    requests: Cache<Presenter, Arc<DefaultDirectRateLimiter>>,
    tries: Cache<Digest, Arc<DefaultDirectRateLimiter>>,
    at_work: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    places: Arc<Connections>,
}

impl Default for LoginGate {
    fn default() -> Self {
        Self {
            requests: Cache::builder().max_capacity(REMEMBERED).time_to_idle(Duration::from_secs(2 * 60)).build(),
            tries: Cache::builder().max_capacity(REMEMBERED).time_to_idle(Duration::from_secs(15 * 60)).build(),
            at_work: Arc::new(Semaphore::new(AT_WORK)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            places: Connections::new(WAITING_OF_ONE),
        }
    }
}

/// What came of a check.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The password is right.
    Right(User),
    /// No such user, or not the password.
    Wrong,
    /// Too many tries; whole seconds until the next one.
    Throttled(u64),
    /// Too many people log in at the same time.
    Busy,
}

impl LoginGate {
    /// Leave for one authorization request, or whole seconds to wait.
    pub(super) fn admit_request(&self, from: Presenter) -> Result<(), u64> {
        let requests = self.requests.get_with(from, || Arc::new(RateLimiter::direct(Quota::per_minute(REQUESTS))));
        requests.check().map_err(|refused| whole_seconds(refused.wait_time_from(DefaultClock::default().now())))
    }

    /// Checks one pair of user name and password.
    pub(super) async fn check(&self, config: &Config, username: &str, password: Secret, from: IpAddr) -> Verdict {
        let key = Digest::of(&format!("{}\n{username}", block(from)));
        let tries = self.tries.get_with(key, || Arc::new(RateLimiter::direct(Quota::per_minute(TRIES))));
        if let Err(refused) = tries.check() {
            return Verdict::Throttled(whole_seconds(refused.wait_time_from(DefaultClock::default().now())));
        }
        let user = config.users.iter().find(|user| user.username == username);
        // The work for a user who does not exist is that for the first one who does.
        let hash = user.or(config.users.first()).map_or(NOBODY, |user| &user.password_hash).to_owned();
        let Some(_place) = self.places.admit(from) else { return Verdict::Busy };
        let Ok(_waiting) = Arc::clone(&self.waiting).try_acquire_owned() else { return Verdict::Busy };
        let Ok(at_work) = Arc::clone(&self.at_work).acquire_owned().await else { return Verdict::Busy };
        let matches = tokio::task::spawn_blocking(move || {
            let matches = verify(&hash, &password);
            drop(at_work);
            matches
        })
        .await
        .unwrap_or(false);
        match user {
            Some(user) if matches => {
                self.tries.invalidate(&key);
                Verdict::Right(user.clone())
            }
            Some(_) | None => Verdict::Wrong,
        }
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(1)
}

/// Whether `password` has this argon2id hash in PHC string form. An unreadable hash matches nothing.
fn verify(hash: &str, password: &Secret) -> bool {
    let password = password.expose().as_bytes();
    hash.starts_with("$argon2id$")
        && password.len() <= MAX_PASSWORD
        && Argon2::default().verify_password(password, hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::testing::{PASSWORD, config};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    async fn try_once(gate: &LoginGate, username: &str, password: &str, from: IpAddr) -> Verdict {
        gate.check(&config(), username, Secret::new(password), from).await
    }

    #[tokio::test]
    async fn the_right_password_is_right_and_nothing_else_is() {
        let gate = LoginGate::default();
        assert!(matches!(try_once(&gate, "amy", PASSWORD, HERE).await, Verdict::Right(user) if user.username == "amy"));
        assert!(matches!(try_once(&gate, "amy", "wrong", HERE).await, Verdict::Wrong));
        assert!(matches!(try_once(&gate, "AMY", PASSWORD, HERE).await, Verdict::Wrong));
    }

    #[tokio::test]
    async fn a_stranger_with_the_first_users_password_is_wrong() {
        let gate = LoginGate::default();
        assert!(matches!(try_once(&gate, "nobody", PASSWORD, HERE).await, Verdict::Wrong));
    }

    #[tokio::test]
    async fn the_sixth_wrong_try_is_throttled_even_with_the_right_password_but_not_from_elsewhere() {
        let gate = LoginGate::default();
        for _ in 0..5 {
            assert!(matches!(try_once(&gate, "amy", "wrong", HERE).await, Verdict::Wrong));
        }
        assert!(matches!(try_once(&gate, "amy", PASSWORD, HERE).await, Verdict::Throttled(1..=13)));
        assert!(matches!(try_once(&gate, "amy", PASSWORD, THERE).await, Verdict::Right(_)));
    }

    #[tokio::test]
    async fn unknown_users_are_throttled_like_known_ones() {
        let gate = LoginGate::default();
        for _ in 0..5 {
            assert!(matches!(try_once(&gate, "nobody", "wrong", HERE).await, Verdict::Wrong));
        }
        assert!(matches!(try_once(&gate, "nobody", "wrong", HERE).await, Verdict::Throttled(_)));
    }

    #[tokio::test]
    async fn a_right_password_starts_the_count_anew() {
        let gate = LoginGate::default();
        for _ in 0..8 {
            assert!(matches!(try_once(&gate, "amy", PASSWORD, HERE).await, Verdict::Right(_)));
        }
    }

    #[tokio::test]
    async fn when_too_many_wait_the_next_is_turned_away() {
        let gate = LoginGate { waiting: Arc::new(Semaphore::new(0)), ..LoginGate::default() };
        assert!(matches!(try_once(&gate, "amy", PASSWORD, HERE).await, Verdict::Busy));
    }

    #[tokio::test]
    async fn one_address_leaves_others_a_place_to_wait() {
        let gate = Arc::new(LoginGate { at_work: Arc::new(Semaphore::new(0)), ..LoginGate::default() });
        for number in 0..2 * WAITING {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { try_once(&gate, &format!("user-{number}"), "wrong", HERE).await });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let waits = tokio::time::timeout(Duration::from_millis(50), try_once(&gate, "amy", PASSWORD, THERE)).await;
        assert!(waits.is_err(), "turned away: {waits:?}");
    }

    #[test]
    fn e21_authorization_requests_of_one_address_are_limited() {
        let gate = LoginGate::default();
        let admitted = (0..700).take_while(|_| gate.admit_request(Presenter::new(HERE, false)).is_ok()).count();
        // A few more come back while the loop runs.
        assert!((600..700).contains(&admitted), "{admitted}");
        assert!(gate.admit_request(Presenter::new(THERE, false)).is_ok());
        assert!(gate.admit_request(Presenter::new(HERE, true)).is_ok(), "in a frame");
    }

    #[test]
    fn the_stand_in_hash_can_be_computed() {
        assert!(argon2::PasswordHash::new(NOBODY).is_ok());
        assert!(!verify(NOBODY, &Secret::new("")));
    }

    #[test]
    fn only_argon2id_is_a_password_hash() {
        assert!(!verify(
            "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI",
            &Secret::new("x")
        ));
        assert!(!verify("", &Secret::new("")));
    }
}
