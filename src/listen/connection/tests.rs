//! Clients that keep every deadline but the one that takes minutes: on a stream in memory, which buffers next to nothing.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::audit::{Audit, Options, Recorded, Unaudited};
use crate::clock::Clock;
use crate::listen::{Body, full};

/// Longer than any connection of these tests may last.
const LONG: Duration = Duration::from_secs(10);
/// More than hyper buffers of an answer.
const BIG: usize = 1024 * 1024;

/// Answers `/never` never, and everything else with [`BIG`] bytes.
struct Given(Audit);

impl Site for Given {
    async fn respond(&self, inbound: Result<Inbound, Unreadable>) -> Recorded<Response<Body>> {
        if inbound.is_ok_and(|inbound| inbound.path == "/never") {
            std::future::pending::<()>().await;
        }
        let mut response = Response::new(full(vec![b'x'; BIG]));
        *response.status_mut() = StatusCode::OK;
        self.0.unaudited(Unaudited::StaticPage, response)
    }
}

/// A connection that is served, and the client's end of it.
struct Served {
    client: DuplexStream,
    shared: Arc<Shared<Given>>,
    ended: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Served {
    fn start(version: Version, pace: Pace) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let audit = Audit::start(Options::new(directory.path(), "connections"), Clock::system()).unwrap();
        let limits = Limits {
            connections: 1,
            connections_per_address: 1,
            header_timeout: LONG,
            body_timeout: Duration::from_millis(300),
            header_bytes: 8 * 1024,
            body_bytes: 1024,
            failed_credentials_per_minute: 1,
        };
        let (site, room, closing) = (Given(audit), Room::new(1024), CancellationToken::new());
        let shared = Arc::new(Shared { site, limits, pace, room, closing });
        let (client, stream) = duplex(1024);
        let peer = Peer { address: SocketAddr::from(([192, 0, 2, 1], 4711)), tls: None, client_certificate: None };
        let ended = match version {
            Version::HTTP_2 => tokio::spawn(serve_http2(Arc::clone(&shared), stream, peer)),
            _ => tokio::spawn(serve_http1(Arc::clone(&shared), stream, peer)),
        };
        Self { client, shared, ended, _directory: directory }
    }
}

#[tokio::test]
async fn an_answer_that_is_taken_too_slowly_is_cut_off_also_at_the_drain() {
    for draining in [false, true] {
        let mut served = Served::start(Version::HTTP_11, Pace { slowest: u64::MAX, ..Pace::default() });
        served.client.write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        // Takes something all the time, and 50 KiB a second.
        let (mut taken, mut piece) = (0, [0; 1024]);
        let taking = async {
            while let Ok(1..) = served.client.read(&mut piece).await {
                taken += piece.len();
                if draining {
                    served.shared.closing.cancel();
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(LONG, taking).await.is_ok(), "still served, draining: {draining}");
        assert!(taken < BIG / 2, "{taken} bytes, draining: {draining}");
        assert!(timeout(LONG, served.ended).await.is_ok());
    }
}

/// RFC 9113 section 6.7
#[tokio::test]
async fn a_client_that_is_gone_while_its_request_runs_is_found_out_by_a_ping() {
    let mut served = Served::start(Version::HTTP_2, Pace { ping: Duration::from_millis(100), ..Pace::default() });
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // GET https://a/never (RFC 7541 section 6): two fields of the static table, a path and an authority.
    let block = [&[0x82, 0x87, 0x04, 6][..], b"/never", &[0x41, 1, b'a']].concat();
    let head = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    served.client.write_all(&[&preface[..], &head, &block].concat()).await.unwrap();
    let mut told = Vec::new();
    assert!(timeout(LONG, served.client.read_to_end(&mut told)).await.is_ok(), "still open");
    let mut kinds = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = &*std::mem::take(&mut told) {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        told = rest.get(length..).unwrap().to_vec();
    }
    assert!(kinds.contains(&6), "frames of these types: {kinds:?}");
    assert!(timeout(LONG, served.ended).await.is_ok());
}
