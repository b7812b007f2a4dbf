//! A FHIR server for the tests: it records every request as it came on the socket, answers honestly from a small store in
//! memory, and lies or fails on demand.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

pub(crate) mod data;
mod store;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::server::{Server, Socket};

pub(crate) use crate::world::server::Seen;
pub(crate) use store::{Resource, Store};

/// The path of the FHIR base.
pub(crate) const PATH: &str = "/upstream/r4";

impl Seen {
    /// The request line with the base taken off, and the body: `GET Patient/P1`, `POST Patient/_search name=x`.
    pub(crate) fn below_base(&self) -> String {
        let line = self.line.replacen(&format!("{PATH}/"), "", 1);
        if self.body.is_empty() { line } else { format!("{line} {}", self.body) }
    }
}

/// What is answered to one request.
pub(crate) enum Answer {
    /// What the store says.
    Honest,
    /// This status, media type and body.
    Given(u16, &'static str, String),
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, then the connection is reset.
    Reset(Vec<u8>),
    /// Nothing, ever.
    Hang,
    /// What the store says, when as many requests wait as the barrier is for.
    Held(Arc<tokio::sync::Barrier>),
    /// What was asked is done, and then the connection is reset.
    DoneThenReset,
    /// What was asked is done, and nothing is said of it.
    DoneThenHang,
    /// Head, then one byte of the body at a time.
    Drip(String, Duration),
}

impl Answer {
    /// 200 with FHIR JSON.
    pub(crate) fn fhir(body: impl Into<String>) -> Self {
        Self::Given(200, "application/fhir+json", body.into())
    }

    /// 200 with these header lines and this body.
    pub(crate) fn with(headers: &str, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(body);
        Self::Raw(bytes)
    }
}

/// The answer says that the connection is closed after it: else the gateway might use it for its next request, and find it closed.
fn announced(answer: &[u8]) -> Vec<u8> {
    let line = answer.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    let (first, rest) = answer.split_at(if line.ends_with(b"\r\n") { line.len() } else { 0 });
    let told: &[u8] = if first.is_empty() || first.starts_with(b"HTTP/1.1 1") { b"" } else { b"Connection: close\r\n" };
    [first, told, rest].concat()
}

type Behaviour = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

struct State {
    seen: Mutex<Vec<Seen>>,
    store: Mutex<Store>,
    behaviour: Mutex<Behaviour>,
    /// The gateway's probes, and what answers them: kept apart, for a test is rarely about them.
    probes: Mutex<Vec<Seen>>,
    probed: Mutex<Behaviour>,
    /// How often the gateway asked what software this is.
    identified: AtomicUsize,
}

/// A running server. It ends when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    _server: Server,
}

impl Upstream {
    /// Serves `resources`.
    pub(crate) async fn start(resources: Vec<Resource>) -> Self {
        let socket = Socket::bind().await;
        let address = socket.address();
        let store = Store::new(format!("http://{address}{PATH}"), resources);
        let state = Arc::new(State {
            seen: Mutex::default(),
            store: Mutex::new(store),
            behaviour: Mutex::new(Arc::new(|_| Answer::Honest)),
            probes: Mutex::default(),
            probed: Mutex::new(Arc::new(|_| Answer::Honest)),
            identified: AtomicUsize::default(),
        });
        let shared = Arc::clone(&state);
        let server = socket.serve(move |stream| serve(stream, Arc::clone(&shared)));
        Self { address, state, _server: server }
    }

    /// Host and port, which nobody behind the gateway may learn.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// From now on `behaviour` answers.
    pub(crate) fn answer(&self, behaviour: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        *self.state.behaviour.lock().unwrap() = Arc::new(behaviour);
    }

    /// From now on `behaviour` answers the gateway's probes of how searches are confined. Otherwise the store does.
    pub(crate) fn answer_probes(&self, behaviour: impl Fn(&Seen) -> Answer + Send + Sync + 'static) {
        *self.state.probed.lock().unwrap() = Arc::new(behaviour);
    }

    /// The probes since this was called last.
    pub(crate) fn take_probes(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.probes.lock().unwrap())
    }

    /// How often the gateway asked what software this is, and was answered.
    pub(crate) fn identified(&self) -> usize {
        self.state.identified.load(Ordering::Acquire)
    }

    /// Changes what is stored.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Store)) {
        change(&mut self.state.store.lock().unwrap());
    }

    /// What was asked since this was called last.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }

    /// Whether such a request came since the last were taken.
    pub(crate) fn saw(&self, such: impl Fn(&Seen) -> bool) -> bool {
        self.state.seen.lock().unwrap().iter().any(such)
    }

    /// How many requests are waiting to be taken.
    pub(crate) fn seen(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(seen) = Seen::read(&mut stream, &mut buffer).await {
        let identifies = seen.line.ends_with("/metadata")
            && seen.headers.iter().any(|(name, value)| name == "x-request-id" && value == "probe");
        let probe = seen.headers.iter().any(|(name, value)| name == "x-request-id" && value == "search-probe");
        let (kept, behaviour) = if probe { (&state.probes, &state.probed) } else { (&state.seen, &state.behaviour) };
        let answer = if identifies {
            Answer::Honest
        } else {
            kept.lock().unwrap().push(seen.clone());
            let behaviour = Arc::clone(&behaviour.lock().unwrap());
            behaviour(&seen)
        };
        let answer = match answer {
            Answer::Honest => state.store.lock().unwrap().answer(&seen),
            Answer::Held(barrier) => {
                barrier.wait().await;
                state.store.lock().unwrap().answer(&seen)
            }
            Answer::DoneThenReset => {
                state.store.lock().unwrap().answer(&seen);
                Answer::Reset(Vec::new())
            }
            Answer::DoneThenHang => {
                state.store.lock().unwrap().answer(&seen);
                Answer::Hang
            }
            other => other,
        };
        match answer {
            Answer::Honest | Answer::Held(_) | Answer::DoneThenReset | Answer::DoneThenHang => return,
            Answer::Given(status, media_type, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nX-Powered-By: CANARY-server\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                    return;
                }
                state.identified.fetch_add(usize::from(identifies), Ordering::AcqRel);
            }
            Answer::Raw(bytes) => {
                let kept = bytes.split(|byte| *byte == b'\n').nth(1).is_some_and(|line| line.starts_with(b"X-Keep"));
                let bytes = if kept { bytes } else { announced(&bytes) };
                if stream.write_all(&bytes).await.is_err() || !kept {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
            Answer::Reset(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.set_zero_linger();
                return;
            }
            Answer::Hang => {
                // Until the other end gives up.
                let _ = stream.read(&mut [0; 16]).await;
                return;
            }
            Answer::Drip(body, pause) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
                for byte in body.bytes() {
                    tokio::time::sleep(pause).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
