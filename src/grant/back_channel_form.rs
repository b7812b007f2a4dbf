//! Requests to the back-channel endpoints: POST, `application/x-www-form-urlencoded`, each parameter at most once
//! (RFC 6749 section 3.2) but `resource` (RFC 8707 section 2). Parameters of the query are never read.

use http::Method;
use http::header::CONTENT_TYPE;

use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind};
use crate::secret::Secret;

/// Longest body that is read, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Most parameters that are read.
const MAX_PARAMETERS: usize = 64;

/// Parameters that are credentials: sent in the query they are disclosed already, so the request is refused.
const CREDENTIALS: [&str; 7] =
    ["client_secret", "client_assertion", "code", "code_verifier", "refresh_token", "access_token", "subject_token"];

/// The decoded parameters of a request. `Debug` shows their names alone.
pub struct Form(Vec<(String, Secret)>);

impl Form {
    /// Reads the form that was posted.
    ///
    /// # Errors
    /// 405 for another method; 400 `invalid_request` for another content type, a body of more than 64 KiB, text that is not
    /// UTF-8, a parameter that is repeated, or credentials in the query.
    pub fn posted(inbound: &Inbound) -> Result<Self, OAuthError> {
        if inbound.method != Method::POST {
            return Err(OAuthError::new(OAuthErrorKind::MethodNotAllowed, "the method POST is expected"));
        }
        if !is_form(inbound) {
            return Err(OAuthError::invalid_request("the content type application/x-www-form-urlencoded is expected"));
        }
        if inbound.body.len() > MAX_BYTES {
            return Err(OAuthError::invalid_request("a body of at most 64 KiB is expected"));
        }
        let query = inbound.query.as_deref().unwrap_or_default();
        if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| CREDENTIALS.contains(&&*name)) {
            return Err(OAuthError::invalid_request("parameters are expected in the body, never in the query"));
        }
        Self::parse(&inbound.body)
    }

    /// The value of a parameter; one without a value is as if it had been omitted (RFC 6749 section 3.2).
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.expose()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter that may be repeated.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.expose())
            .filter(|value| !value.is_empty())
    }

    fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        let mut parameters: Vec<(String, Secret)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(OAuthError::invalid_request("parameters in UTF-8 are expected"));
            }
            if name != "resource" && parameters.iter().any(|(key, _)| *key == name) {
                return Err(OAuthError::invalid_request("each parameter is expected once"));
            }
            if parameters.len() == MAX_PARAMETERS {
                return Err(OAuthError::invalid_request("fewer parameters are expected"));
            }
            parameters.push((name.into_owned(), Secret::new(value)));
        }
        Ok(Self(parameters))
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn is_form(inbound: &Inbound) -> bool {
    let content_type = inbound.single_header(CONTENT_TYPE.as_str()).ok().flatten().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use bytes::Bytes;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn post(content_type: &'static str, body: &str) -> Inbound {
        let mut inbound = Inbound::for_test("POST", "/token");
        inbound.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        inbound.body = Bytes::copy_from_slice(body.as_bytes());
        inbound
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    // T1
    #[test]
    fn a_posted_form_is_decoded() {
        let form = Form::posted(&post("Application/X-WWW-form-urlencoded; charset=UTF-8", "a=1+2%2B&b=&c")).unwrap();
        assert_eq!(form.value("a"), Some("1 2+"));
        assert_eq!((form.value("b"), form.value("c"), form.value("d")), (None, None, None));
        assert_eq!(format!("{form:?}"), r#"["a", "b", "c"]"#);
    }

    // B2 20, T1
    #[test]
    fn a_get_another_content_type_a_large_body_and_a_repeated_parameter_are_refused() {
        assert_eq!(Form::posted(&Inbound::for_test("GET", "/token")).unwrap_err().status(), 405);
        for bad in [
            post("application/json", "{}"),
            post("multipart/form-data", "a=1"),
            post(FORM, "grant_type=a&grant_type=a"),
            post(FORM, "state=a&state=b"),
            post(FORM, "a=%ff"),
            post(FORM, &format!("a={}", "x".repeat(MAX_BYTES))),
            post(FORM, &"a&".repeat(100)),
        ] {
            let error = Form::posted(&bad).unwrap_err();
            assert_eq!((error.status().as_u16(), error.code()), (400, "invalid_request"));
        }
        let mut bare = post(FORM, "a=1");
        bare.headers.clear();
        assert_eq!(Form::posted(&bare).unwrap_err().code(), "invalid_request");
    }

    // B2 32, T1
    #[test]
    fn parameters_of_the_query_are_not_read_and_credentials_there_are_refused() {
        let mut inbound = post(FORM, "a=1");
        inbound.query = Some("grant_type=x&state=1".to_owned());
        assert_eq!(Form::posted(&inbound).unwrap().value("grant_type"), None);
        inbound.query = Some("client_secret=s".to_owned());
        assert_eq!(Form::posted(&inbound).unwrap_err().code(), "invalid_request");
    }

    proptest! {
        #[test]
        fn no_body_makes_the_parser_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(&body);
        }
    }
}
