//! Other readers of HTTP/1, as lenient as they come: what one of them reads differently could be smuggled past us to it, or past
//! it to us.

/// A request as a lenient reader sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub body: Vec<u8>,
}

/// What a reader believes of the length of a body when both fields are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Believes {
    /// `Transfer-Encoding`, wherever it says `chunked`.
    Coding,
    /// `Content-Length`, the last one.
    Length,
}

/// Every whole request in `bytes`. Takes a bare line feed for a line end, ignores white space around names and values, and reads
/// numbers as far as they are digits.
#[must_use]
pub fn read(mut bytes: &[u8], believes: Believes) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some((request, rest)) = one(bytes, believes) {
        seen.push(request);
        bytes = rest;
    }
    seen
}

fn one(mut bytes: &[u8], believes: Believes) -> Option<(Seen, &[u8])> {
    let mut first = line(&mut bytes)?;
    while first.is_empty() {
        first = line(&mut bytes)?;
    }
    let mut words = first.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (method, target) = (words.next()?.to_vec(), words.next()?.to_vec());
    let (mut length, mut chunked) = (None, false);
    loop {
        let field = line(&mut bytes)?;
        if field.is_empty() {
            break;
        }
        let Some(colon) = field.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (field[..colon].trim_ascii(), &field[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-length") {
            length = Some(digits(value.trim_ascii(), 10));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            chunked |= value.to_ascii_lowercase().windows(7).any(|word| word == b"chunked");
        }
    }
    let by_length = !chunked || (believes == Believes::Length && length.is_some());
    let body = if by_length { take(&mut bytes, length.unwrap_or(0))? } else { chunks(&mut bytes)? };
    Some((Seen { method, target, body }, bytes))
}

fn line<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    *bytes = &bytes[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

fn take(bytes: &mut &[u8], length: u64) -> Option<Vec<u8>> {
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len())?;
    let (body, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(body.to_vec())
}

fn chunks(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = digits(line(bytes)?.trim_ascii(), 16);
        if size == 0 {
            while !line(bytes)?.is_empty() {}
            return Some(body);
        }
        body.extend(take(bytes, size)?);
        line(bytes)?;
    }
}

fn digits(text: &[u8], radix: u32) -> u64 {
    let digits = text.iter().map_while(|byte| char::from(*byte).to_digit(radix));
    digits.fold(0_u64, |number, digit| number.saturating_mul(u64::from(radix)).saturating_add(u64::from(digit)))
}
