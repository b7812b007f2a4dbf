//! Strict HTTP/1 framing: what stands between the TLS session and hyper on an HTTP/1 connection.
//!
//! hyper repairs what RFC 9112 section 6 allows a server to repair: it drops `Content-Length` beside `Transfer-Encoding`,
//! joins equal lengths, takes a bare LF for a line end. Another proxy in front of us may read the same bytes differently, and
//! that difference is a smuggled request. So every head is looked at here first ([`head`]). One that is refused never reaches
//! hyper: it gets a head of ours in its place, by which the service knows what to answer ([`refused`]), and nothing after it.
//! In the middle of a body it gets an invalid byte, and the body counts as broken. No head that passes is one that hyper would
//! refuse by itself, without an OperationOutcome and without being counted. Where the client is refused in the middle of its
//! message, the connection lingers a moment so that the answer arrives.

mod head;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Problem;
use head::Framing;
pub(super) use head::MOST_FIELDS;

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
    /// Refused: hyper was given our head or an invalid byte, nothing more is read.
    Refused,
}

/// The targets of the heads that stand for refused ones. Who sends one is refused as it says.
const REFUSED: [(&str, Problem); 3] =
    [("/REFUSED-HEAD", Problem::Head), ("/REFUSED-TARGET", Problem::Target), ("/REFUSED-SIZE", Problem::HeadTooLarge)];

/// Why the head was refused in whose place one with this target came.
pub(super) fn refused(target: &http::Uri) -> Option<Problem> {
    REFUSED.iter().find(|(name, _)| target == *name).map(|(_, problem)| *problem)
}

/// The head that stands for the refused one in `bytes`: to a HEAD request no body is owed (RFC 9110 section 9.3.2), and a
/// client would take one for its next answer.
fn in_place_of(bytes: &[u8], problem: Problem) -> Vec<u8> {
    let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "REFUSED" };
    let target = REFUSED.iter().find(|(_, of)| *of == problem).map_or("/REFUSED-HEAD", |(name, _)| name);
    format!("{method} {target} HTTP/1.1\r\nHost: -\r\nConnection: close\r\n\r\n").into_bytes()
}

impl<T> StrictFraming<T> {
    /// Guards `inner`; a head longer than `limit` bytes is refused.
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
                State::Head | State::ChunkSize | State::ChunkEnd | State::Trailer => self.line(bytes),
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

    /// Collects up to the end of the line and judges it; in a head, lines are collected until it ends.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.pending.extend_from_slice(bytes);
            match self.state {
                State::Head if self.pending.len() > self.limit => self.refuse_head(Problem::HeadTooLarge),
                State::ChunkSize | State::ChunkEnd | State::Trailer if self.pending.len() > LONGEST_CHUNK_LINE => {
                    self.refuse_body();
                }
                _ => {}
            }
            return &[];
        };
        let (line, rest) = bytes.split_at(end + 1);
        self.pending.extend_from_slice(line);
        if self.state == State::Head {
            if self.pending.len() > self.limit {
                self.refuse_head(Problem::HeadTooLarge);
                return &[];
            }
            if !self.pending.ends_with(b"\r\n") {
                self.refuse_head(Problem::Head);
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
            match head::judge(&self.pending) {
                Ok(Framing::Length(0)) => {}
                Ok(Framing::Length(length)) => self.state = State::Body(length),
                Ok(Framing::Chunked) => self.state = State::ChunkSize,
                Err(problem) => {
                    self.refuse_head(problem);
                    return &[];
                }
            }
            self.release();
            return rest;
        }
        self.state = after(self.state, &self.pending);
        if self.state == State::Refused {
            self.refuse_body();
            return &[];
        }
        self.release();
        rest
    }

    fn release(&mut self) {
        self.ready.append(&mut self.pending);
    }

    fn refuse_head(&mut self, problem: Problem) {
        let head = in_place_of(&self.pending, problem);
        self.pending.clear();
        self.ready.extend_from_slice(&head);
        self.state = State::Refused;
    }

    fn refuse_body(&mut self) {
        self.pending.clear();
        self.ready.extend_from_slice(b"\0\r\n\r\n");
        self.state = State::Refused;
    }
}

/// What comes after this line of a chunked body.
fn after(state: State, line: &[u8]) -> State {
    match state {
        State::ChunkSize => match chunk_size(line) {
            Some(0) => State::Trailer,
            Some(size) => State::ChunkData(size),
            None => State::Refused,
        },
        State::ChunkEnd if line == b"\r\n" => State::ChunkSize,
        // Trailers are not served: nothing in them could be meant for us.
        State::Trailer if line == b"\r\n" => State::Head,
        _ => State::Refused,
    }
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
                // Not the end of the stream: hyper would take it for a client that is gone, and drop the answer.
                return Poll::Pending;
            }
            let mut buffer = [0; 8192];
            let mut read = ReadBuf::new(&mut buffer);
            match Pin::new(&mut this.inner).poll_read(context, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                // A head that the client did not finish was never a request.
                Poll::Ready(Ok(())) if read.filled().is_empty() => return Poll::Ready(Ok(())),
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
mod tests;
