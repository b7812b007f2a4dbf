//! Whether a head is one that every reader reads alike (RFC 9112 sections 2.2, 3, 5, 6): takes its bytes up to the empty line,
//! tells how long the body behind it is.
//!
//! Promises that a head which passes is one that hyper accepts, so that refusals have one place. Does not look at what the
//! request wants.

use http::uri::PathAndQuery;

use super::super::Problem;

/// Fields that a head may have.
pub(in crate::listen) const MOST_FIELDS: usize = 100;
/// Longest request target: what `http::Uri` can hold.
const LONGEST_TARGET: usize = 65_534;

/// How long the body behind a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// Reads the request line and the framing fields of a head that ends in CR LF CR LF.
///
/// # Errors
/// Why it is refused.
pub(super) fn judge(head: &[u8]) -> Result<Framing, Problem> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let version = request_line(lines.next().unwrap_or_default())?;
    let (mut length, mut chunked, mut hosts, mut fields) = (None, false, 0, 0);
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Problem::Head)?;
        let (name, value) = line.split_at(colon);
        // Also refuses obs-fold and white space before the colon (RFC 9112 sections 5.1 and 5.2).
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) || !value.iter().all(|byte| is_text(*byte)) {
            return Err(Problem::Head);
        }
        fields += 1;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(Problem::Head);
            }
            length = Some(content_length(value).ok_or(Problem::Head)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // HTTP/1.0 has no transfer codings (RFC 9112 section 6.1).
            if chunked || version == Version::Ten || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Problem::Head);
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"upgrade") && names_h2c(value) {
            return Err(Problem::Head);
        }
    }
    match (chunked, length) {
        _ if fields > MOST_FIELDS => Err(Problem::HeadTooLarge),
        (true, Some(_)) => Err(Problem::Head),
        _ if hosts > 1 => Err(Problem::Head),
        (true, None) => Ok(Framing::Chunked),
        (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Ten,
    Eleven,
}

/// Method, target and version with one space between (RFC 9112 section 3).
fn request_line(line: &[u8]) -> Result<Version, Problem> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Problem::Head);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Eleven,
        b"HTTP/1.0" => Version::Ten,
        _ => return Err(Problem::Head),
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Problem::Head);
    }
    if target.len() > LONGEST_TARGET {
        return Err(Problem::HeadTooLarge);
    }
    if !target.starts_with(b"/") {
        return Err(Problem::Target);
    }
    if is_plain(target) || is_odd_but_good(target) { Ok(version) } else { Err(Problem::Head) }
}

/// Whether the target has only what targets commonly have.
fn is_plain(target: &[u8]) -> bool {
    target.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/?&=.-_~%:,+|$@!*;()'".contains(byte))
}

/// A fragment is no part of a request target (RFC 9112 section 3.2), and some readers cut it off.
fn is_odd_but_good(target: &[u8]) -> bool {
    !target.iter().any(|byte| matches!(byte, b'#' | 0..=b' ' | 0x7f)) && PathAndQuery::try_from(target).is_ok()
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 section 5.5: visible characters, space, tab, and what is beyond ASCII.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Digits alone, of a number that leaves room for what is counted on top of it.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (length <= u64::MAX / 2).then_some(length)
}

/// Whether one of the protocols of an `Upgrade` field is HTTP/2 over cleartext (RFC 9110 section 7.8).
fn names_h2c(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}
