//! The text inside JSON strings: unescaping what the strict pass has checked, quoting what we write.

/// The content of a string without its quotes, escapes resolved. `raw` has passed the strict pass.
pub(super) fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match escape.get(1) {
            Some(b'u') => unicode(escape, &mut out),
            Some(letter) => {
                out.push(match letter {
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    itself => *itself,
                });
                escape.get(2..).unwrap_or_default()
            }
            None => &[],
        };
    }
    out.extend_from_slice(rest);
    out
}

/// Writes `text` as a JSON string, quotes included.
pub fn quote_into(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match special.split_first() {
            Some((byte @ (b'"' | b'\\'), rest)) => {
                out.extend_from_slice(&[b'\\', *byte]);
                rest
            }
            Some((byte, rest)) => {
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xF)]);
                rest
            }
            None => &[],
        };
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// `text` as a JSON string, quotes included.
#[must_use]
pub fn quote(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    quote_into(text, &mut out);
    out
}

/// Resolves the `\uXXXX` (or the pair of them) that `escape` starts with; returns what follows it.
fn unicode<'a>(escape: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let unit = |from: usize| {
        let digits = std::str::from_utf8(escape.get(from..from + 4).unwrap_or_default()).unwrap_or_default();
        u32::from_str_radix(digits, 16).unwrap_or(0)
    };
    let (code, length) = match unit(2) {
        high @ 0xD800..=0xDBFF => (0x1_0000 + ((high - 0xD800) << 10) + unit(8).saturating_sub(0xDC00), 12),
        code => (code, 6),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    escape.get(length..).unwrap_or_default()
}
