//! Cross-origin requests of browser apps (Fetch standard; SMART App Launch 2.2, "considerations for cross-origin resource
//! sharing"): discovery is open to every origin, the token endpoint and FHIR to the origins of registered clients. Never with
//! credentials, since nothing here is authorised by a cookie.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use http::{Method, Response, StatusCode};

use crate::clients::Clients;
use crate::listen::Inbound;

/// What is shared, and with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Discovery documents, public keys and `/metadata`: with every origin.
    Open,
    /// The token endpoint: with registered origins.
    Token,
    /// FHIR: with registered origins.
    Fhir,
}

/// The answer to a preflight; `None` when `inbound` is none. It needs no credentials, and an origin that is not registered
/// learns nothing from it but that it may not.
#[must_use]
pub fn preflight(sharing: Sharing, inbound: &Inbound, clients: &Clients) -> Option<Response<Bytes>> {
    let asks = inbound.method == Method::OPTIONS
        && inbound.headers.contains_key(ORIGIN)
        && inbound.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks {
        return None;
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    decorate(headers, sharing, inbound, clients);
    if headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS).is_some() || headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(sharing.methods()));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(sharing.request_headers()));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    Some(response)
}

/// Adds what lets a browser hand the answer to the app, when its origin may have it. For every answer, errors too.
pub fn decorate(headers: &mut HeaderMap, sharing: Sharing, inbound: &Inbound, clients: &Clients) {
    let allowed = match sharing {
        Sharing::Open => Some(HeaderValue::from_static("*")),
        Sharing::Token | Sharing::Fhir => {
            headers.append(VARY, HeaderValue::from_static("Origin"));
            registered_origin(inbound, clients).cloned()
        }
    };
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if !sharing.response_headers().is_empty() {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(sharing.response_headers()));
        }
    }
}

fn registered_origin<'a>(inbound: &'a Inbound, clients: &Clients) -> Option<&'a HeaderValue> {
    let mut origins = inbound.headers.get_all(ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none())?;
    origin.to_str().is_ok_and(|text| clients.has_origin(text)).then_some(origin)
}

impl Sharing {
    const fn methods(self) -> &'static str {
        match self {
            Self::Open => "GET, HEAD",
            Self::Token => "POST",
            Self::Fhir => "GET, HEAD, POST, PUT, PATCH, DELETE",
        }
    }

    const fn request_headers(self) -> &'static str {
        match self {
            Self::Token => "Content-Type, Authorization, DPoP",
            // Clients send their token with whatever they ask of the FHIR base; nobody looks at it where it is not needed.
            Self::Open | Self::Fhir => {
                "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, DPoP, X-Request-Id"
            }
        }
    }

    const fn response_headers(self) -> &'static str {
        match self {
            Self::Open => "ETag",
            Self::Token => "WWW-Authenticate, Retry-After, DPoP-Nonce",
            Self::Fhir => {
                "Location, ETag, Last-Modified, Content-Location, WWW-Authenticate, Retry-After, X-Progress, X-Request-Id, DPoP-Nonce"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use super::*;
    use crate::clients::tests::client;
    use crate::config::ClientAuthentication;

    fn clients() -> Clients {
        Clients::new(&[client("app", ClientAuthentication::None)]).unwrap()
    }

    fn request(method: &str, origin: &'static str) -> Inbound {
        let mut inbound = Inbound::for_test(method, "/");
        inbound.headers.insert(ORIGIN, HeaderValue::from_static(origin));
        inbound.headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        inbound
    }

    fn header(headers: &HeaderMap, name: http::HeaderName) -> &str {
        headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    // T6, E12
    #[test]
    fn a_registered_origin_may_preflight_token_and_fhir() {
        for sharing in [Sharing::Token, Sharing::Fhir] {
            let answer = preflight(sharing, &request("OPTIONS", "https://app.example.org"), &clients()).unwrap();
            assert_eq!(answer.status(), 204);
            let headers = answer.headers();
            assert_eq!(header(headers, ACCESS_CONTROL_ALLOW_ORIGIN), "https://app.example.org");
            assert_eq!(header(headers, VARY), "Origin");
            assert!(header(headers, ACCESS_CONTROL_ALLOW_METHODS).contains("POST"));
            for name in ["Content-Type", "Authorization", "DPoP"] {
                assert!(header(headers, ACCESS_CONTROL_ALLOW_HEADERS).contains(name));
            }
            assert!(!headers.contains_key("access-control-allow-credentials"));
        }
        let fhir = preflight(Sharing::Fhir, &request("OPTIONS", "https://app.example.org"), &clients()).unwrap();
        for name in ["Prefer", "If-Match", "If-None-Match", "If-None-Exist"] {
            assert!(header(fhir.headers(), ACCESS_CONTROL_ALLOW_HEADERS).contains(name));
        }
    }

    // R5, T6, B3 76
    #[test]
    fn an_origin_that_is_not_registered_is_allowed_nothing_but_discovery() {
        for origin in ["https://evil.example", "null", "https://app.example.org.evil.example", "http://app.example.org"]
        {
            for sharing in [Sharing::Token, Sharing::Fhir] {
                let answer = preflight(sharing, &request("OPTIONS", origin), &clients()).unwrap();
                let names: Vec<_> = answer.headers().keys().map(http::HeaderName::as_str).collect();
                assert_eq!(names, ["vary"], "{origin}");
                let mut headers = HeaderMap::new();
                decorate(&mut headers, sharing, &request("POST", origin), &clients());
                assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
            }
            let answer = preflight(Sharing::Open, &request("OPTIONS", origin), &clients()).unwrap();
            assert_eq!(header(answer.headers(), ACCESS_CONTROL_ALLOW_ORIGIN), "*");
        }
        let mut twice = request("POST", "https://app.example.org");
        twice.headers.append(ORIGIN, HeaderValue::from_static("https://evil.example"));
        let mut headers = HeaderMap::new();
        decorate(&mut headers, Sharing::Token, &twice, &clients());
        assert!(!headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    // D9: fhirclient sends its token along with all that it asks of the FHIR base, `/metadata` too
    #[test]
    fn what_is_open_may_be_read_with_the_headers_of_fhir() {
        let answer = preflight(Sharing::Open, &request("OPTIONS", "https://app.example.org"), &clients()).unwrap();
        let allowed = header(answer.headers(), ACCESS_CONTROL_ALLOW_HEADERS);
        for name in ["Accept", "Content-Type", "Authorization", "If-None-Match", "X-Request-Id"] {
            assert!(allowed.contains(name), "{name}: {allowed}");
        }
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    }

    /// What browsers let apps do, to the letter: what is missing here, apps cannot do; what is too much, they need not.
    #[test]
    fn methods_and_header_fields_are_those_that_are_needed() {
        let fhir = "Authorization, Content-Type, Accept, Prefer, If-Match, If-None-Match, If-Modified-Since, If-None-Exist, DPoP, X-Request-Id";
        for (sharing, methods, sent, read) in [
            (Sharing::Open, "GET, HEAD", fhir, "ETag"),
            (Sharing::Token, "POST", "Content-Type, Authorization, DPoP", "WWW-Authenticate, Retry-After, DPoP-Nonce"),
            (
                Sharing::Fhir,
                "GET, HEAD, POST, PUT, PATCH, DELETE",
                fhir,
                "Location, ETag, Last-Modified, Content-Location, WWW-Authenticate, Retry-After, X-Progress, X-Request-Id, DPoP-Nonce",
            ),
        ] {
            let asked = request("OPTIONS", "https://app.example.org");
            let answer = preflight(sharing, &asked, &clients()).unwrap();
            assert_eq!(header(answer.headers(), ACCESS_CONTROL_ALLOW_METHODS), methods);
            assert_eq!(header(answer.headers(), ACCESS_CONTROL_ALLOW_HEADERS), sent);
            assert_eq!(header(answer.headers(), ACCESS_CONTROL_MAX_AGE), "600", "ten minutes");
            assert!(!answer.headers().contains_key(ACCESS_CONTROL_EXPOSE_HEADERS), "of no use there");
            let mut headers = HeaderMap::new();
            decorate(&mut headers, sharing, &request("GET", "https://app.example.org"), &clients());
            assert_eq!(header(&headers, ACCESS_CONTROL_EXPOSE_HEADERS), read);
        }
    }

    // O7, E12
    #[test]
    fn an_answer_exposes_what_fhir_clients_read() {
        let mut headers = HeaderMap::new();
        decorate(&mut headers, Sharing::Fhir, &request("GET", "https://app.example.org"), &clients());
        assert_eq!(header(&headers, ACCESS_CONTROL_ALLOW_ORIGIN), "https://app.example.org");
        for name in ["Location", "ETag", "Last-Modified", "Content-Location", "WWW-Authenticate", "Retry-After"] {
            assert!(header(&headers, ACCESS_CONTROL_EXPOSE_HEADERS).contains(name));
        }
    }

    #[test]
    fn what_is_no_preflight_is_left_to_the_endpoint() {
        assert!(preflight(Sharing::Token, &request("POST", "https://app.example.org"), &clients()).is_none());
        assert!(preflight(Sharing::Token, &Inbound::for_test("OPTIONS", "/token"), &clients()).is_none());
        for lacking in [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD] {
            let mut inbound = request("OPTIONS", "https://app.example.org");
            inbound.headers.remove(&lacking);
            assert!(preflight(Sharing::Open, &inbound, &clients()).is_none(), "without {lacking}");
        }
    }
}
