//! A FHIR server for the tests: it records every request as it came on the socket, answers honestly from a small store in
//! memory, and lies or fails on demand. HTTP/1.1 is written by hand here, so that every fault of a server can be acted.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

pub(crate) mod data;
mod store;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(crate) use store::{Resource, Store};

/// The path of the FHIR base.
pub(crate) const PATH: &str = "/upstream/r4";

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The request line without the version, such as `GET /upstream/r4/Patient/P1`.
    pub(crate) line: String,
    /// All header fields, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

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

type Behaviour = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

struct State {
    seen: Mutex<Vec<Seen>>,
    store: Mutex<Store>,
    behaviour: Mutex<Behaviour>,
}

/// A running server. It ends when it is dropped.
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Upstream {
    /// Serves `resources`.
    pub(crate) async fn start(resources: Vec<Resource>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let store = Store::new(format!("http://{address}{PATH}"), resources);
        let state = Arc::new(State {
            seen: Mutex::default(),
            store: Mutex::new(store),
            behaviour: Mutex::new(Arc::new(|_| Answer::Honest)),
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            // Dropped with the task, and with it every connection.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = socket.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, accepting }
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

    /// Changes what is stored.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Store)) {
        change(&mut self.state.store.lock().unwrap());
    }

    /// What was asked since this was called last.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.state.seen.lock().unwrap())
    }

    /// How many requests are waiting to be taken.
    pub(crate) fn seen(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(seen) = read(&mut stream, &mut buffer).await {
        state.seen.lock().unwrap().push(seen.clone());
        let behaviour = Arc::clone(&state.behaviour.lock().unwrap());
        let answer = match behaviour(&seen) {
            Answer::Honest => state.store.lock().unwrap().answer(&seen),
            other => other,
        };
        match answer {
            Answer::Honest => return,
            Answer::Given(status, media_type, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nX-Powered-By: CANARY-server\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::Raw(bytes) => {
                if stream.write_all(&bytes).await.is_err() || !bytes.starts_with(b"HTTP/1.1 200 OK\r\nX-Keep") {
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

/// Reads one request; `None` at the end of the connection.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(buffer.drain(..length).collect()).unwrap();
    Some(Seen { line, headers, body })
}
