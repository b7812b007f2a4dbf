#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::net::Ipv4Addr;
use std::sync::Mutex as Locked;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::jose::assertion::tests::TestKeys;
use crate::outbound::Allowance;

const NOW: i64 = 1_900_000_000;

/// A server that publishes a JWK Set on this machine, and counts how often it is asked.
pub(crate) struct Published {
    pub(crate) port: u16,
    answer: Arc<Locked<String>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Published {
    pub(crate) async fn new(answer: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, asked) = (Arc::new(Locked::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (says, count) = (Arc::clone(&answer), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    let answer = says.lock().unwrap().clone();
                    if answer == SILENT {
                        std::future::pending::<()>().await;
                    }
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        Self { port, answer, asked, task }
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn says(&self, answer: impl Into<String>) {
        *self.answer.lock().unwrap() = answer.into();
    }

    fn url(&self) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}/jwks", self.port)).unwrap()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Of a server that accepts and says nothing.
const SILENT: &str = "SILENT";

/// An answer with a JSON body that may be kept a minute.
pub(crate) fn json(body: &str) -> String {
    kept(body, "max-age=60")
}

fn kept(body: &str, cache_control: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: {cache_control}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn sets() -> KeySets {
    let allowance = Allowance { time: Duration::from_millis(500), ..Allowance::default() };
    KeySets::new(Outbound::new(None).unwrap().with(allowance))
}

/// A set with other names for its keys.
fn renamed(jwks: &str, suffix: &str) -> String {
    jwks.replace("\"kid\":\"ec\"", &format!("\"kid\":\"ec{suffix}\""))
}

async fn found(sets: &KeySets, server: &Published, kid: &str, now: i64) -> bool {
    sets.with_key(&server.url(), Guard::Operator, kid, now).await.is_ok()
}

// C8
#[tokio::test]
async fn each_url_has_a_set_of_its_own() {
    let jwks = TestKeys::generate().jwks();
    let server = Published::new(json(&jwks)).await;
    let sets = sets();
    assert!(found(&sets, &server, "ec", NOW).await);
    server.says(json(&renamed(&jwks, "2")));
    let other = server.url().join("/other").unwrap();
    assert!(sets.with_key(&other, Guard::Operator, "ec2", NOW).await.is_ok());
    assert!(sets.with_key(&other, Guard::Operator, "ec", NOW).await.is_err(), "that is another client's");
    assert!(found(&sets, &server, "ec", NOW).await);
}

// C8
#[tokio::test]
async fn a_set_is_kept_as_long_as_its_cache_control_says() {
    let server = Published::new(json(&TestKeys::generate().jwks())).await;
    let sets = sets();
    for now in [NOW, NOW + 1, NOW + 59] {
        assert!(found(&sets, &server, "ec", now).await);
        assert_eq!(server.asked(), 1);
    }
    assert!(found(&sets, &server, "ec", NOW + 60).await);
    assert_eq!(server.asked(), 2);
}

// C8: a key that was taken out of the set no longer works once the set is fetched again
#[tokio::test]
async fn a_key_that_was_withdrawn_ends_with_the_set() {
    let jwks = TestKeys::generate().jwks();
    let server = Published::new(json(&jwks)).await;
    let sets = sets();
    assert!(found(&sets, &server, "ec", NOW).await);
    server.says(json(&renamed(&jwks, "2")));
    assert!(found(&sets, &server, "ec", NOW + 59).await);
    assert!(!found(&sets, &server, "ec", NOW + 60).await);
    assert!(found(&sets, &server, "ec2", NOW + 60).await);
    assert_eq!(server.asked(), 2);
}

// C8
#[tokio::test]
async fn an_unknown_kid_makes_the_set_be_fetched_once_in_ten_seconds() {
    let jwks = TestKeys::generate().jwks();
    let server = Published::new(json(&jwks)).await;
    let sets = sets();
    assert!(found(&sets, &server, "ec", NOW).await);
    for _ in 0..50 {
        assert!(!found(&sets, &server, "new", NOW + 9).await);
    }
    assert_eq!(server.asked(), 1, "it was fetched a moment ago");
    server.says(json(&renamed(&jwks, "-new")));
    for _ in 0..50 {
        assert!(found(&sets, &server, "ec-new", NOW + 10).await);
        assert!(!found(&sets, &server, "newer", NOW + 10).await);
    }
    assert_eq!(server.asked(), 2);
}

// C8
#[tokio::test]
async fn of_many_who_ask_at_once_one_fetches() {
    let server = Published::new(json(&TestKeys::generate().jwks())).await;
    let sets = Arc::new(sets());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (sets, url) = (Arc::clone(&sets), server.url());
        tasks.spawn(async move { sets.with_key(&url, Guard::Operator, "ec", NOW).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|found| found));
    assert_eq!(server.asked(), 1);
}

// C8, B2 39
#[tokio::test]
async fn what_is_no_set_is_an_error_at_once_and_not_asked_for_again_at_once() {
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(70_000));
    let private = r#"{"keys":[{"kty":"EC","kid":"ec","d":"AQAB"}]}"#;
    for answer in [
        SILENT.to_owned(),
        json(&huge),
        json("<html>"),
        json("{}"),
        json(r#"{"keys":[]}"#),
        json(private),
        json(&TestKeys::generate().jwks()).replace("200 OK", "404 Not Found"),
        json(&TestKeys::generate().jwks()).replace("200 OK", "500 Oh"),
        "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "garbage".to_owned(),
    ] {
        let shown: String = answer.chars().take(90).collect();
        let server = Published::new(answer).await;
        let sets = sets();
        for _ in 0..3 {
            assert!(!found(&sets, &server, "ec", NOW).await, "{shown}");
        }
        assert_eq!(server.asked(), 1, "{shown}");
    }
    let gone = Url::parse("http://127.0.0.1:1/jwks").unwrap();
    assert_eq!(sets().with_key(&gone, Guard::Operator, "ec", NOW).await.unwrap_err(), NoSuchKey);
}

// B2 39, E18: what a registration names is not fetched from this machine
#[tokio::test]
async fn a_registered_url_on_a_private_address_is_not_asked() {
    let server = Published::new(json(&TestKeys::generate().jwks())).await;
    let sets = sets();
    for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1"] {
        for scheme in ["https", "http"] {
            let url = Url::parse(&format!("{scheme}://{host}:{}/jwks", server.port)).unwrap();
            assert_eq!(sets.with_key(&url, Guard::Registered, "ec", NOW).await.unwrap_err(), NoSuchKey, "{url}");
        }
    }
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn the_last_good_set_serves_until_its_end_while_fetches_fail() {
    let server = Published::new(json(&TestKeys::generate().jwks())).await;
    let sets = sets();
    assert!(found(&sets, &server, "ec", NOW).await);
    server.says(json("<html>"));
    assert!(!found(&sets, &server, "new", NOW + 20).await);
    assert_eq!(server.asked(), 2);
    assert!(found(&sets, &server, "ec", NOW + 21).await);
    assert!(!found(&sets, &server, "ec", NOW + 61).await);
    // A clock that was set back does not make it younger.
    assert!(!found(&sets, &server, "ec", NOW - 1).await);
}

// C8
#[test]
fn how_long_a_set_is_kept_follows_cache_control_within_bounds() {
    let of = |values: &[&str], age: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(value).unwrap());
        }
        if let Some(age) = age {
            headers.insert(AGE, HeaderValue::from_static(age));
        }
        lifetime(&headers)
    };
    assert_eq!(of(&[], None), UNSAID);
    assert_eq!(of(&["public, max-age=120"], None), 120);
    assert_eq!(of(&["Max-Age=\"120\"", "max-age=60"], None), 60);
    assert_eq!(of(&["max-age=120"], Some("50")), 70);
    assert_eq!(of(&["max-age=120"], Some("500")), AT_LEAST);
    assert_eq!(of(&["max-age=120"], Some("-5")), 120);
    assert_eq!(of(&["max-age=31536000, s-maxage=9"], None), AT_MOST);
    for short in [
        "no-store",
        "no-cache",
        "max-age=0",
        "max-age=3",
        "max-age=x",
        "max-age",
        "max-age=-1",
        "max-age=600, no-store",
    ] {
        assert_eq!(of(&[short], None), AT_LEAST, "{short}");
    }
}
