//! Exchanges that change state, on tasks of their own: a login, a code or a token that came to be is recorded with its
//! outcome, also when the client hung up meanwhile.
//!
//! Promises that no more than a fixed number run at the same time, however many connections are opened and dropped, and that a
//! process that ends can wait for them ([`UnderWay::finished`]).

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Exchanges that run at the same time; more wait for their turn, and are given up when their client goes before it comes.
const AT_ONCE: usize = 1024;

/// The exchanges of one process that have begun and not ended.
#[derive(Debug)]
pub struct UnderWay {
    tasks: TaskTracker,
    room: Arc<Semaphore>,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { tasks: TaskTracker::new(), room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl UnderWay {
    /// Runs `exchange` to its end, whether or not this future is dropped after it began.
    pub(crate) async fn run<T: Send + 'static>(&self, exchange: impl Future<Output = T> + Send + 'static) -> T {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let task = self.tasks.spawn(async move {
            let _room = room;
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

    #[tokio::test]
    async fn what_began_ends_also_when_nobody_waits_for_it() {
        let under_way = UnderWay::default();
        let (go, started) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel::<()>();
        let mut exchange = Box::pin(under_way.run(async move {
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
        let exchange = under_way.run(async move { done.send(()).unwrap() });
        assert!(tokio::time::timeout(Duration::ZERO, exchange).await.is_err());
        assert!(ended.await.is_err(), "it never began");
        under_way.finished().await;
    }
}
