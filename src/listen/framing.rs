//! Strict HTTP/1 framing: what stands between the TLS session and hyper on an HTTP/1 connection.
//!
//! hyper repairs what RFC 9112 section 6 allows a server to repair: it drops `Content-Length` beside `Transfer-Encoding`,
//! joins equal lengths, takes a bare LF for a line end. Another proxy in front of us may read the same bytes differently, and
//! that difference is a smuggled request. So every head is looked at here first, and one that two readers could frame
//! differently never reaches hyper: it sees an invalid byte instead, answers 400 and closes. Where the client is refused
//! in the middle of its message, the connection lingers a moment so that the answer arrives.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Wraps the byte stream of one HTTP/1 connection.
#[derive(Debug)]
pub(super) struct StrictFraming<T> {
    inner: T,
    state: State,
    /// The head (or chunk line) so far.
    pending: Vec<u8>,
    /// Bytes that hyper may read now.
    ready: Vec<u8>,
    ready_from: usize,
    limit: usize,
    /// Set when our side is closed and what the client still sends is thrown away.
    lingering: Option<Pin<Box<Sleep>>>,
}

/// How long a client that was refused in the middle of its message may go on sending before the connection is reset: the
/// answer would be lost with it.
const LINGER: Duration = Duration::from_secs(2);

/// A chunk-size line is at most eight digits and CR LF.
const LONGEST_CHUNK_LINE: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    /// Refused: hyper was given an invalid byte or a head above its limit, nothing more is read.
    Refused,
}

impl<T> StrictFraming<T> {
    /// Guards `inner`; a head longer than `limit` bytes is left to hyper's own limit.
    pub(super) fn new(inner: T, limit: usize) -> Self {
        Self {
            inner,
            state: State::Head,
            pending: Vec::new(),
            ready: Vec::new(),
            ready_from: 0,
            limit,
            lingering: None,
        }
    }

    /// Takes bytes from the wire, moves those that are framed unambiguously to `ready`.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.line(bytes, Self::head_line),
                State::ChunkSize => self.line(bytes, Self::chunk_size_line),
                State::ChunkEnd => self.line(bytes, |guard, line| {
                    guard.state = if line == b"\r\n" { State::ChunkSize } else { State::Refused };
                }),
                State::Trailer => self.line(bytes, |guard, line| {
                    // Trailers are not served: nothing in them could be meant for us.
                    guard.state = if line == b"\r\n" { State::Head } else { State::Refused };
                }),
                State::Body(left) => self.pass(bytes, left, State::Body, State::Head),
                State::ChunkData(left) => self.pass(bytes, left, State::ChunkData, State::ChunkEnd),
                State::Refused => return,
            };
        }
    }

    fn pass<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> State, then: State) -> &'a [u8] {
        let size = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (now, rest) = bytes.split_at(size);
        self.ready.extend_from_slice(now);
        let left = left - size as u64;
        self.state = if left == 0 { then } else { more(left) };
        rest
    }

    /// Collects up to the end of the line and hands the line to `judge`; in a head, lines are collected until it ends.
    fn line<'a>(&mut self, bytes: &'a [u8], judge: fn(&mut Self, &[u8])) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.pending.extend_from_slice(bytes);
            match self.state {
                State::Head if self.pending.len() > self.limit => self.too_large(),
                State::ChunkSize | State::ChunkEnd | State::Trailer if self.pending.len() > LONGEST_CHUNK_LINE => {
                    self.refuse();
                }
                _ => {}
            }
            return &[];
        };
        let (line, rest) = bytes.split_at(end + 1);
        self.pending.extend_from_slice(line);
        if self.state == State::Head {
            if self.pending.len() > self.limit {
                self.too_large();
                return &[];
            }
            if !self.pending.ends_with(b"\r\n") {
                self.refuse();
                return &[];
            }
            // Empty lines before a request line are skipped (RFC 9112 section 2.2).
            if self.pending == b"\r\n" {
                self.pending.clear();
                return rest;
            }
            if !self.pending.ends_with(b"\r\n\r\n") {
                return rest;
            }
        }
        let line = std::mem::take(&mut self.pending);
        judge(self, &line);
        self.pending = line;
        if self.state == State::Refused {
            self.refuse();
            return &[];
        }
        self.release();
        rest
    }

    fn release(&mut self) {
        self.ready.append(&mut self.pending);
    }

    /// hyper's own limit answers this with 431 and closes; nothing behind it is framed any more.
    fn too_large(&mut self) {
        self.release();
        self.state = State::Refused;
    }

    fn refuse(&mut self) {
        self.pending.clear();
        self.ready.extend_from_slice(b"\0\r\n\r\n");
        self.state = State::Refused;
    }

    fn head_line(&mut self, head: &[u8]) {
        self.state = match body_of(head) {
            Ok(Framing::Length(0)) => State::Head,
            Ok(Framing::Length(length)) => State::Body(length),
            Ok(Framing::Chunked) => State::ChunkSize,
            Err(Ambiguous) => State::Refused,
        };
    }

    fn chunk_size_line(&mut self, line: &[u8]) {
        self.state = match chunk_size(line) {
            Some(0) => State::Trailer,
            Some(size) => State::ChunkData(size),
            None => State::Refused,
        };
    }
}

/// How long the body behind a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// Two readers could frame the message differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ambiguous;

/// Reads the framing fields of a head that ends in CR LF CR LF.
fn body_of(head: &[u8]) -> Result<Framing, Ambiguous> {
    let mut length = None;
    let mut chunked = false;
    let mut host = 0;
    let mut lines = head.split(|byte| *byte == b'\n');
    // A fragment is no part of a request target (RFC 9112 section 3.2), and some readers cut it off.
    if lines.next().is_some_and(|line| line.contains(&b'#')) {
        return Err(Ambiguous);
    }
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        // obs-fold (RFC 9112 section 5.2), CR or NUL inside a line
        if line.first().is_some_and(u8::is_ascii_whitespace) || line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err(Ambiguous);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Ambiguous)?;
        let (name, value) = line.split_at(colon);
        // white space before the colon (RFC 9112 section 5.1)
        if name.last().is_none_or(u8::is_ascii_whitespace) {
            return Err(Ambiguous);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return Err(Ambiguous);
            }
            length = Some(std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Ambiguous)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            host += 1;
        } else if name.eq_ignore_ascii_case(b"upgrade") && names_h2c(value) {
            return Err(Ambiguous);
        }
    }
    match (chunked, length) {
        (true, Some(_)) => Err(Ambiguous),
        _ if host > 1 => Err(Ambiguous),
        (true, None) => Ok(Framing::Chunked),
        (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

/// Whether one of the protocols of an `Upgrade` field is HTTP/2 over cleartext (RFC 9110 section 7.8).
fn names_h2c(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

/// A chunk-size line: hexadecimal digits and CR LF. Extensions are refused: nobody needs them, and readers differ on them.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.strip_suffix(b"\r\n")?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

impl<T: AsyncRead + Unpin> AsyncRead for StrictFraming<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(ready) = this.ready.get(this.ready_from..).filter(|ready| !ready.is_empty()) {
                let size = ready.len().min(out.remaining());
                out.put_slice(ready.get(..size).unwrap_or_default());
                this.ready_from += size;
                if this.ready_from == this.ready.len() {
                    this.ready.clear();
                    this.ready_from = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if this.state == State::Refused {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = [0; 8192];
            let mut read = ReadBuf::new(&mut buffer);
            match Pin::new(&mut this.inner).poll_read(context, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    // End of the stream inside a head or chunk line: hyper sees the torn bytes and ends the connection.
                    if this.pending.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    this.release();
                }
                Poll::Ready(Ok(())) => this.feed(read.filled()),
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictFraming<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    /// Closes our side. When the client was still sending, what comes is thrown away for a while: closing with unread bytes
    /// would reset the connection, and the answer with it (RFC 9112 section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
            if this.state == State::Head && this.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        let end = this.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut buffer = [0; 8192];
        loop {
            if end.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut read = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut this.inner).poll_read(context, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn through(wire: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        StrictFraming::new(wire, 16 * 1024).read_to_end(&mut out).await.unwrap();
        out
    }

    #[tokio::test]
    async fn unambiguous_messages_pass_byte_for_byte() {
        for wire in [
            &b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(through(wire).await, wire);
        }
    }

    #[tokio::test]
    async fn every_split_of_the_bytes_gives_the_same_result() {
        let wire = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for at in 0..wire.len() {
            let (head, tail) = wire.split_at(at);
            let mut guard = StrictFraming::new(tokio::io::empty(), 16 * 1024);
            guard.feed(head);
            guard.feed(tail);
            assert_eq!(guard.ready, wire);
        }
    }

    #[tokio::test]
    async fn what_two_readers_could_frame_differently_is_refused() {
        let bad = [
            ("both lengths", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (
                "both lengths, other order",
                "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            ),
            ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("equal lengths twice", "POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
            ("a list of lengths", "POST /a HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n"),
            ("a signed length", "POST /a HTTP/1.1\r\nContent-Length: +5\r\n\r\n"),
            ("an obscured coding", "POST /a HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n"),
            ("two codings", "POST /a HTTP/1.1\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("space before the colon", "POST /a HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n"),
            ("obs-fold", "GET /a HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
            ("bare LF", "GET /a HTTP/1.1\nHost: a\r\n\r\n"),
            ("bare CR", "GET /a HTTP/1.1\r\nX: a\rb\r\n\r\n"),
            ("two hosts", "GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
            ("h2c upgrade", "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n"),
            ("h2c among upgrades", "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket, H2C\r\n\r\n"),
        ];
        for (name, wire) in bad {
            assert_eq!(through(wire.as_bytes()).await, b"\0\r\n\r\n", "{name}");
        }
    }

    #[tokio::test]
    async fn a_chunk_size_line_without_end_is_refused_at_once() {
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut guard = StrictFraming::new(tokio::io::empty(), 16 * 1024);
        guard.feed(head.as_bytes());
        guard.feed(b"00000000005");
        assert_eq!(guard.state, State::Refused);
        assert!(guard.ready.ends_with(b"\0\r\n\r\n"));
    }

    #[tokio::test]
    async fn nothing_behind_a_head_above_the_limit_is_framed() {
        for line in ["x".repeat(100), format!("X: {}\r\n", "x".repeat(100))] {
            let mut guard = StrictFraming::new(tokio::io::empty(), 64);
            guard.feed(line.as_bytes());
            guard.feed(b"\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(guard.ready, line.as_bytes());
        }
    }

    #[tokio::test]
    async fn chunk_extensions_trailers_and_bare_line_feeds_in_chunks_are_refused() {
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in [
            "5;x=y\r\nhello\r\n0\r\n\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n0\r\nX: y\r\n\r\n",
            "5\r\nhelloo\r\n",
        ] {
            let out = through(format!("{head}{body}").as_bytes()).await;
            assert!(out.ends_with(b"\0\r\n\r\n"), "{body:?}");
        }
    }
}
