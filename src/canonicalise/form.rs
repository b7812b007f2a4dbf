//! Names and values from a query or a form body (URL standard, `application/x-www-form-urlencoded`), decoded once and strictly:
//! what does not decode to UTF-8, or hides a control character, is refused instead of repaired.

use crate::error::{Malformed, MalformedKind, Refusal};

/// Most parameters of one request, query and body together.
const MAX_PARAMETERS: usize = 64;
/// Most bytes of a query, and of a form body.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// Decoded names and values in the order sent.
pub(super) type Pairs = Vec<(String, String)>;

/// Appends the pairs of `raw` to `pairs`. Empty pieces between two `&` are dropped.
///
/// # Errors
/// 414 when there are more than 64 parameters; 400 when the text is not strictly well-formed, or a name is not of the
/// characters that names of FHIR parameters have.
pub(super) fn decode(raw: &str, pairs: &mut Pairs) -> Result<(), Refusal> {
    for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
        if pairs.len() == MAX_PARAMETERS {
            return Err(Refusal::Malformed(Malformed {
                kind: MalformedKind::TargetTooLong,
                expected: format!("expected at most {MAX_PARAMETERS} parameters"),
            }));
        }
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = text(name).filter(|name| is_name(name));
        let name =
            name.ok_or_else(|| Refusal::bad_request("expected parameter names of letters, digits and `-_.:*$`"))?;
        let value = text(value).ok_or_else(|| {
            Refusal::bad_request("expected parameter values in percent-encoded UTF-8 without control characters")
        })?;
        pairs.push((name, value));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:*$".contains(&byte))
}

/// One name or value: `+` is a space, `%` must begin two hexadecimal digits.
fn text(raw: &str) -> Option<String> {
    let decoded = if raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        String::from_utf8(bytes(raw)?).ok()?
    } else {
        raw.to_owned()
    };
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

fn bytes(raw: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hexadecimal(rest.next()?)? << 4 | hexadecimal(rest.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use proptest::prelude::*;

    use super::*;

    fn pairs(raw: &str) -> Result<Pairs, Refusal> {
        let mut pairs = Pairs::new();
        decode(raw, &mut pairs).map(|()| pairs)
    }

    #[test]
    fn values_are_decoded_once() {
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(pairs("code=a%2Bb+c").unwrap(), one("code", "a+b c"));
        assert_eq!(pairs("code=%2541").unwrap(), one("code", "%41"));
        assert_eq!(pairs("&&code=x;patient=P2&").unwrap(), one("code", "x;patient=P2"));
        assert_eq!(pairs("subject%3Amissing=true").unwrap(), one("subject:missing", "true"));
        assert_eq!(pairs("flag").unwrap(), one("flag", ""));
        assert_eq!(pairs("name=M%C3%BCller").unwrap(), one("name", "Müller"));
    }

    #[test]
    fn what_does_not_decode_strictly_is_refused() {
        for raw in [
            "a=%FF",
            "a=%C0%AF",
            "a=%",
            "a=%4",
            "a=%zz",
            "a=%00",
            "a=%0d%0a",
            "=x",
            "a%20b=x",
            "pati\u{1}ent=x",
            "a=%ED%A0%80",
        ] {
            assert_eq!(pairs(raw).unwrap_err().reason(), "request_malformed", "{raw}");
        }
    }

    #[test]
    fn the_sixty_fifth_parameter_is_one_too_many() {
        assert_eq!(pairs(&"a=1&".repeat(64)).unwrap().len(), 64);
        assert_eq!(pairs(&"a=1&".repeat(65)).unwrap_err().status(), 414);
    }

    proptest! {
        #[test]
        fn what_the_form_serializer_writes_is_read_back(name in "[a-z_:.-]{1,12}", value in "[^\\p{Cc}]{0,40}") {
            let raw = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            prop_assert_eq!(pairs(&raw).unwrap(), vec![(name, value)]);
        }

        #[test]
        fn no_text_makes_it_panic(raw in "\\PC*") {
            let _ = pairs(&raw);
        }
    }
}
