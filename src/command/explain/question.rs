//! The request on the command line, as it would come in.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Options, contents};
use crate::listen::Inbound;

/// The request below the FHIR base at `path`, whose URL is `base`; what is wrong goes to `mistakes`.
pub(super) fn read(options: &Options, path: &str, base: &str, mistakes: &mut Vec<String>) -> Option<Inbound> {
    let line = line(&options.request, path, base, mistakes);
    let mut headers = HeaderMap::new();
    for text in &options.header {
        match header(text) {
            Some((name, value)) => drop(headers.append(name, value)),
            None => {
                mistakes
                    .push(format!("--header must be a name and a value, such as `If-Match: W/\"1\"`, not `{text}`"));
            }
        }
    }
    let body = options.body.as_deref().map(|file| {
        contents(file).map_err(|error| mistakes.push(format!("the body `{}` cannot be read: {error}", file.display())))
    });
    let body = body.and_then(Result::ok).unwrap_or_default();
    let (method, target) = line?;
    if options.body.is_none() && matches!(method, Method::PUT | Method::PATCH) {
        mistakes.push(format!("a {method} has a body: give --body FILE, or `--body -` for standard input"));
    }
    if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(&method, &target)));
    }
    Some(Inbound::supposed(method, &target, headers, Bytes::from(body)))
}

/// Method and target with the base's path.
fn line(request: &str, path: &str, base: &str, mistakes: &mut Vec<String>) -> Option<(Method, String)> {
    let expected = "expected the request as method and target, such as `GET /Observation?code=8867-4`";
    let Some((method, target)) = request.trim().split_once(' ') else {
        mistakes.push(format!("{expected}, not `{request}`"));
        return None;
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        mistakes.push(format!("{expected}: `{method}` is no method"));
        return None;
    };
    let target = target.trim();
    let below = match target.strip_prefix(base).filter(|_| !base.is_empty()) {
        Some(below) => below,
        None if target.contains("://") => {
            mistakes.push(format!("expected a target below the FHIR base `{base}`, not `{target}`"));
            return None;
        }
        None => target
            .strip_prefix(path)
            .filter(|below| below.is_empty() || below.starts_with(['/', '?']))
            .unwrap_or(target),
    };
    if !below.bytes().all(|byte| byte.is_ascii_graphic()) {
        mistakes.push("expected the target as it is sent: visible ASCII, everything else percent-encoded".to_owned());
        return None;
    }
    let slash = if below.is_empty() || below.starts_with(['/', '?']) { "" } else { "/" };
    Some((method, format!("{path}{slash}{below}")))
}

fn header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?))
}

/// What a body of this request is when nothing else is said.
fn media_type(method: &Method, target: &str) -> &'static str {
    let path = target.split('?').next().unwrap_or_default();
    match method.as_str() {
        "PATCH" => "application/json-patch+json",
        "POST" if path.ends_with("/_search") => "application/x-www-form-urlencoded",
        _ => "application/fhir+json",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use super::*;

    fn target(request: &str) -> Result<String, String> {
        let mut mistakes = Vec::new();
        let line = line(request, "/fhir", "https://gw.example/fhir", &mut mistakes);
        line.map(|(_, target)| target).ok_or_else(|| mistakes.concat())
    }

    #[test]
    fn a_target_may_be_written_with_or_without_the_base() {
        for written in
            ["/Patient/1?a=b", "Patient/1?a=b", "/fhir/Patient/1?a=b", "https://gw.example/fhir/Patient/1?a=b"]
        {
            assert_eq!(target(&format!("GET {written}")).unwrap(), "/fhir/Patient/1?a=b", "{written}");
        }
        assert_eq!(target("POST /").unwrap(), "/fhir/");
        assert_eq!(target("POST https://gw.example/fhir").unwrap(), "/fhir");
        assert_eq!(target("GET ?_type=Patient").unwrap(), "/fhir?_type=Patient");
        assert_eq!(target("GET /fhirs").unwrap(), "/fhir/fhirs");
    }

    #[test]
    fn what_is_no_request_says_what_was_expected() {
        for (written, expected) in [
            ("Patient/1", "method and target"),
            ("G@T /Patient", "is no method"),
            ("GET https://else.example/fhir/Patient", "below the FHIR base"),
            ("GET /Patient?name=Bj\u{f6}rn", "percent-encoded"),
        ] {
            assert!(target(written).unwrap_err().contains(expected), "{written}");
        }
    }
}
