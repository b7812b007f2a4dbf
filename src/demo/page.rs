//! Pages and files with the headers they need: a strict content security policy, no sniffing, no caching.

use askama::Template;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};

use super::{App, Login, Settings};

/// A response body, the same type as the listener's: bytes, or the stream of the console.
pub type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, std::io::Error>>;

/// A body of bytes.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// The start page.
#[derive(Debug, Template)]
#[template(path = "demo/pages/start.html")]
pub(super) struct Start<'a> {
    pub(super) patients: usize,
    pub(super) fhir_base: &'a str,
    pub(super) issuer: &'a str,
    pub(super) ca_file: &'a str,
    pub(super) apps: &'a [App],
    pub(super) logins: &'a [Login],
}

/// What kind of page it is, which decides what its links tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An ordinary page: its own origin learns where a request comes from, so that forms carry an `Origin`.
    Page,
    /// A page whose URL carries a launch handle or a code: nobody learns it.
    App,
}

/// A page with status 200.
pub(super) fn html(settings: &Settings, kind: Kind, template: &impl Template) -> Response<Body> {
    let Ok(text) = template.render() else {
        let mut failed = Response::new(full("the page could not be made"));
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return failed;
    };
    let mut response = file("text/html; charset=utf-8", full(text));
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(content_security_policy(settings)) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    let referrer = match kind {
        Kind::Page => "same-origin",
        Kind::App => "no-referrer",
    };
    headers.insert(REFERRER_POLICY, HeaderValue::from_static(referrer));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    response
}

/// A file of ours.
pub(super) fn asset(content_type: &'static str, text: &'static str) -> Response<Body> {
    file(content_type, full(text))
}

/// An ES module of ours.
pub(super) fn script(text: &'static str) -> Response<Body> {
    asset("text/javascript; charset=utf-8", text)
}

/// 303 to `location`; `None` when it cannot be a header.
pub(super) fn see_other(location: &str) -> Option<Response<Body>> {
    let mut response = file("text/plain; charset=utf-8", full(""));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).ok()?);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

/// A response that is neither cached nor sniffed.
pub(super) fn file(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Everything from our own origin, and forms that may end, by redirect, at an app that the EHR launches.
fn content_security_policy(settings: &Settings) -> String {
    let mut policy = String::from(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    );
    for app in &settings.apps {
        let origin = app.launch_url.origin().ascii_serialization();
        if origin != settings.origin && origin != "null" {
            policy.push(' ');
            policy.push_str(&origin);
        }
    }
    policy
}
