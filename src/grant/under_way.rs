//! Exchanges that change state, on tasks of their own: a login, a code or a token that came to be is recorded with its
//! outcome, also when the client hung up meanwhile.
//!
//! Promises that no more than a fixed number run at the same time, however many connections are opened and dropped, that those
//! of one address are a quarter of them at most, so that who makes them slow holds up nobody else, and that a process that
//! ends can wait for them ([`UnderWay::finished`]).

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::admit::block;

/// Exchanges that run at the same time; more wait for their turn, and are given up when their client goes before it comes.
const AT_ONCE: usize = 1024;
/// Those of one address, as [`block`] counts them.
const OF_ONE: usize = AT_ONCE / 4;

/// The exchanges of one process that have begun and not ended.
#[derive(Debug)]
pub struct UnderWay {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
    shares: Arc<Shares>,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { tasks: TaskTracker::new(), room: Arc::new(Semaphore::new(AT_ONCE)), shares: Arc::default() }
    }
}

/// What the addresses have of the room. Who has nothing under way and waits for nothing is not remembered.
#[derive(Debug, Default)]
struct Shares(Mutex<HashMap<IpAddr, Share>>);

#[derive(Debug)]
struct Share {
    turns: Arc<Semaphore>,
    /// Exchanges that run or wait.
    exchanges: usize,
}

/// One exchange of an address; counts until it is dropped.
struct Counted {
    shares: Arc<Shares>,
    block: IpAddr,
}

impl Shares {
    /// A turn of this address, once it has one.
    async fn turn(self: &Arc<Self>, from: IpAddr) -> (Counted, Option<OwnedSemaphorePermit>) {
        let block = block(from);
        let turns = {
            let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let share =
                shares.entry(block).or_insert_with(|| Share { turns: Arc::new(Semaphore::new(OF_ONE)), exchanges: 0 });
            share.exchanges += 1;
            Arc::clone(&share.turns)
        };
        let counted = Counted { shares: Arc::clone(self), block };
        (counted, turns.acquire_owned().await.ok())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut shares = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get_mut(&self.block) {
            share.exchanges -= 1;
            if share.exchanges == 0 {
                shares.remove(&self.block);
            }
        }
    }
}

impl UnderWay {
    /// Runs an `exchange` with `from` to its end, whether or not this future is dropped after it began.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        from: IpAddr,
        exchange: impl Future<Output = T> + Send + 'static,
    ) -> T {
        // What waits for a turn of its own address holds no room.
        let turn = self.shares.turn(from).await;
        let room = Arc::clone(&self.room).acquire_owned().await;
        let task = self.tasks.spawn(async move {
            let _held = (turn, room);
            exchange.await
        });
        match task.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(ended) => ended,
            Err(Ok(panicked)) => resume_unwind(panicked),
            // The runtime is being shut down, and this future with it.
            Err(Err(_cancelled)) => std::future::pending().await,
        }
    }

    /// Ends when everything that began has ended. To be called when no request comes any more.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test]
    async fn what_began_ends_also_when_nobody_waits_for_it() {
        let under_way = UnderWay::default();
        let (go, started) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel::<()>();
        let mut exchange = Box::pin(under_way.run(HERE, async move {
            started.await.unwrap();
            done.send(()).unwrap();
        }));
        assert!(tokio::time::timeout(Duration::ZERO, &mut exchange).await.is_err());
        drop(exchange);
        go.send(()).unwrap();
        ended.await.unwrap();
        under_way.finished().await;
    }

    #[tokio::test]
    async fn what_waits_for_its_turn_is_given_up_with_its_client() {
        let under_way = UnderWay { room: Arc::new(Semaphore::new(0)), ..UnderWay::default() };
        let (done, ended) = oneshot::channel::<()>();
        let exchange = under_way.run(HERE, async move { done.send(()).unwrap() });
        assert!(tokio::time::timeout(Duration::ZERO, exchange).await.is_err());
        assert!(ended.await.is_err(), "it never began");
        under_way.finished().await;
    }

    #[tokio::test]
    async fn one_address_leaves_room_for_the_others() {
        let under_way = Arc::new(UnderWay::default());
        for _ in 0..2 * AT_ONCE {
            let under_way = Arc::clone(&under_way);
            tokio::spawn(async move { under_way.run(HERE, std::future::pending::<()>()).await });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = tokio::time::timeout(Duration::from_secs(5), under_way.run(THERE, async { 7 })).await;
        assert_eq!(answer.unwrap(), 7);
    }

    #[tokio::test]
    async fn who_has_nothing_under_way_is_not_remembered() {
        let under_way = UnderWay { room: Arc::new(Semaphore::new(1)), ..UnderWay::default() };
        under_way.run(HERE, async {}).await;
        let never = tokio::time::timeout(Duration::ZERO, under_way.run(HERE, std::future::pending::<()>())).await;
        assert!(never.is_err(), "it goes on");
        let waits = tokio::time::timeout(Duration::ZERO, under_way.run(THERE, async {})).await;
        assert!(waits.is_err(), "there is no room");
        let known: Vec<_> = under_way.shares.0.lock().unwrap().keys().copied().collect();
        assert_eq!(known, [HERE]);
    }
}
