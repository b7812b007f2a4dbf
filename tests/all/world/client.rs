//! A small HTTP/1.1 client that sends bytes as they are given and reads answers strictly.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The header fields that the gateway may answer with.
pub(crate) const EXPECTED_HEADERS: [&str; 27] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-length",
    "content-location",
    "content-security-policy",
    "content-type",
    "date",
    "dpop-nonce",
    "etag",
    "last-modified",
    "location",
    "pragma",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
    "x-request-id",
];

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// In the order sent, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Head and body, to be searched.
    pub(crate) fn all(&self) -> String {
        let mut all = format!("{}", self.status);
        for (name, value) in &self.headers {
            write!(all, "\n{name}: {value}").unwrap();
        }
        all + "\n\n" + &String::from_utf8_lossy(&self.body)
    }

    /// The ids of the entries of a searchset.
    pub(crate) fn ids(&self) -> Vec<String> {
        let bundle = self.json();
        assert_eq!(bundle["type"], "searchset", "{bundle}");
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The target of a link of a searchset, below the origin.
    pub(crate) fn link(&self, relation: &str) -> Option<String> {
        let bundle = self.json();
        let links = bundle["link"].as_array()?;
        let link = links.iter().find(|link| link["relation"] == relation)?;
        let url = link["url"].as_str()?;
        Some(url.strip_prefix("https://gw.example.org").unwrap_or(url).to_owned())
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    again: (SocketAddr, Option<Arc<rustls::ClientConfig>>),
    closed: bool,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let again = (address, tls.clone());
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let name = ServerName::try_from("gw.example.org").unwrap();
                Box::new(TlsConnector::from(config).connect(name, stream).await.unwrap())
            }
        };
        Self { stream, buffer: Vec::new(), again, closed: false }
    }

    /// Sends `request` and reads the one answer; connects anew when the gateway closed after the last one.
    pub(crate) async fn exchange(&mut self, request: &[u8], head: bool) -> Reply {
        if self.closed {
            *self = Self::open(self.again.0, self.again.1.clone()).await;
        }
        self.send(request).await;
        let reply = tokio::time::timeout(Duration::from_secs(20), self.reply(head)).await;
        let reply = reply.unwrap_or_else(|_| panic!("no answer to {}", String::from_utf8_lossy(request)));
        self.closed = reply.header("connection") == "close";
        let (rest, asked) = (String::from_utf8_lossy(&self.buffer), String::from_utf8_lossy(request));
        assert!(self.buffer.is_empty(), "{rest:?} comes after the answer {reply:?} to {asked:?}");
        reply
    }

    /// Sends bytes. That the other end refuses to read them all is for the answer to tell.
    pub(crate) async fn send(&mut self, request: &[u8]) {
        let _ = self.stream.write_all(request).await;
        let _ = self.stream.flush().await;
    }

    async fn reply(&mut self, to_head: bool) -> Reply {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            assert!(self.more().await, "the connection was closed without an answer");
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| line.split_once(':').unwrap()))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        assert!(headers.iter().all(|(name, _)| name != "transfer-encoding"), "every answer has a known length");
        let length =
            headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
        let length = if to_head || status == 204 || status == 304 { 0 } else { length };
        while self.buffer.len() < length {
            assert!(self.more().await, "the connection was closed in the middle of the body");
        }
        Reply { status, headers, body: self.buffer.drain(..length).collect() }
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|count| count > 0)
    }
}
