//! The accept loop and the graceful drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Pace, Shared, serve_plain, serve_tls};
use super::room::Room;
use super::{Certificates, Site};
use crate::admit::Connections;
use crate::config::Limits;

/// A bound socket that is not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    certificates: Option<Arc<Certificates>>,
    limits: Limits,
    tasks: TaskTracker,
}

/// How a process comes to its end: readiness goes first, then no new connections, then what is under way finishes.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    leaving: Arc<AtomicBool>,
    stop: CancellationToken,
}

/// Open connections at this moment, for the metrics.
#[derive(Clone, Debug, Default)]
pub struct Open(TaskTracker);

impl Open {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Drain {
    /// Whether the process is on its way out: `/readyz` answers 503 from then on.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Cancelled when no new connections shall be accepted.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Reports itself leaving, goes on accepting for `delay` (until every balancer has noticed), then stops accepting.
    pub async fn begin(&self, delay: Duration) {
        self.leaving.store(true, Ordering::Relaxed);
        tokio::time::sleep(delay).await;
        self.stop.cancel();
    }
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// When the address is taken or not allowed.
    pub async fn bind(
        address: SocketAddr,
        certificates: Option<Arc<Certificates>>,
        limits: Limits,
    ) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, certificates, limits, tasks: TaskTracker::new() })
    }

    /// The connections that are open, for the metrics.
    #[must_use]
    pub fn open(&self) -> Open {
        Open(self.tasks.clone())
    }

    /// The bound address, with the port that the system chose.
    ///
    /// # Errors
    /// When the socket has none.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `drain` stops it, then lets every connection finish its requests, at most for `grace`.
    pub async fn serve<S: Site>(self, site: S, drain: Drain, grace: Duration) {
        let shared = Arc::new(Shared {
            site,
            limits: self.limits.clone(),
            pace: Pace::default(),
            room: Room::new(self.limits.body_bytes),
            closing: CancellationToken::new(),
        });
        let cut = CancellationToken::new();
        let per_address = Connections::new(self.limits.connections_per_address);
        let open = Arc::new(Semaphore::new(self.limits.connections));
        let tasks = self.tasks;
        let stop = drain.stop();
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&open).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let (stream, address) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of file descriptors, or the client was gone already: wait a moment instead of spinning.
                        tracing::warn!(%error, "connection not accepted");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            let Some(admitted) = per_address.admit(address.ip()) else { continue };
            let _ = stream.set_nodelay(true);
            let shared = Arc::clone(&shared);
            let config = self.certificates.as_ref().map(|certificates| certificates.server_config());
            // On the heap: below, room is kept for three of it, for as long as the connection is open.
            let connection = Box::pin(async move {
                match config {
                    Some(config) => serve_tls(shared, stream, address, config).await,
                    None => serve_plain(shared, stream, address).await,
                }
            });
            let cut = cut.clone();
            tasks.spawn(async move {
                let _ = cut.run_until_cancelled_owned(connection).await;
                drop((permit, admitted));
            });
        }
        drop(self.socket);
        shared.closing.cancel();
        tasks.close();
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            tracing::warn!(
                connections = tasks.len(),
                "connections were still open at the end of the grace period and are cut"
            );
            cut.cancel();
            tasks.wait().await;
        }
    }
}
