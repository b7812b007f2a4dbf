//! Whether two JSON numbers have the same value, however they are written: `1.10` and `11E-1` do. No digit is rounded.

/// Both are numbers by the grammar of RFC 8259 section 6.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    one == other || Decimal::of(one).is_some_and(|one| Decimal::of(other) == Some(one))
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    power: i128,
}

impl Decimal {
    /// `None` when the exponent is out of all bounds: then only the same text is the same number.
    fn of(text: &[u8]) -> Option<Self> {
        let (negative, text) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?),
            None => (text, &b"0"[..]),
        };
        let exponent = exponent.strip_prefix(b"+").unwrap_or(exponent);
        let exponent: i64 = std::str::from_utf8(exponent).ok()?.parse().ok()?;
        let fraction = mantissa.iter().position(|byte| *byte == b'.').map_or(0, |at| mantissa.len() - at - 1);
        let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
        let mut power = i128::from(exponent) - i128::try_from(fraction).ok()?;
        while digits.last() == Some(&b'0') {
            digits.pop();
            power += 1;
        }
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        if digits.is_empty() {
            return Some(Self { negative: false, digits, power: 0 });
        }
        Some(Self { negative, digits, power })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        for (one, other) in [
            ("1.10", "1.1"),
            ("1.10", "11e-1"),
            ("0", "-0.0E+5"),
            ("100", "1E2"),
            ("12345678901234567890.10", "12345678901234567890.1"),
            ("-0.05", "-5e-2"),
            ("1e400", "10e399"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert!(equal(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
        for (one, other) in [
            ("1", "-1"),
            ("1", "10"),
            ("12345678901234567890", "12345678901234567891"),
            ("0.1", "0.10000000000000000001"),
            ("1e400", "1e401"),
        ] {
            assert!(!equal(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
    }
}
