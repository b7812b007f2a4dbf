//! The pages a person sees between an app's authorization request and the way back to it: login, patient choice, consent,
//! and the page for requests that cannot go back to the app.
//!
//! Takes what a page shows; gives an [`Answer`]. Every value is escaped at compile time by askama. No page has a script, an
//! inline style or a foreign resource: plain forms with stable field names, and one style sheet served from the binary.
//! The headers follow RFC 9700 sections 4.2.4 and 4.16. Does not decide anything.

use std::sync::LazyLock;

use askama::Template;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use url::Url;

use super::{Answer, EncounterSummary, PatientSummary};
use crate::config::Config;
use crate::secret::Digest;

mod filters;

static CSS: &str = include_str!("pages.css");

/// `/assets/<digest>.css`: the name changes with the content, so that it may be cached for ever.
static CSS_PATH: LazyLock<String> = LazyLock::new(|| {
    let mut name = Digest::of(CSS).to_hex();
    name.truncate(16);
    format!("/assets/{name}.css")
});

/// The style sheet, when `path` is its path.
#[must_use]
pub fn stylesheet(path: &str) -> Option<Answer> {
    (path == CSS_PATH.as_str()).then(|| {
        let mut response = Response::new(Bytes::from_static(CSS.as_bytes()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Answer(response)
    })
}

/// What the frame around every page shows.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// Host of the gateway: who is speaking.
    host: &'a str,
    stylesheet: &'static str,
}

impl<'a> Frame<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self { host: config.server.origin.host_str().unwrap_or_default(), stylesheet: &CSS_PATH }
    }
}

/// User name and password.
#[derive(Debug, Template)]
#[template(path = "grant/pages/login.html")]
pub(super) struct LoginPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) app: &'a str,
    pub(super) transaction: &'a str,
    pub(super) username: &'a str,
    pub(super) problem: Option<&'a str>,
    pub(super) notice: Option<&'a str>,
}

/// The picker of patients, with a search box where the user may search.
#[derive(Debug, Template)]
#[template(path = "grant/pages/patient.html")]
pub(super) struct PatientPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) app: &'a str,
    pub(super) user: &'a str,
    pub(super) transaction: &'a str,
    pub(super) searchable: bool,
    pub(super) query: &'a str,
    pub(super) patients: &'a [PatientSummary],
    pub(super) problem: Option<&'a str>,
}

/// The picker of encounters of the chosen patient.
#[derive(Debug, Template)]
#[template(path = "grant/pages/encounter.html")]
pub(super) struct EncounterPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) app: &'a str,
    pub(super) user: &'a str,
    pub(super) transaction: &'a str,
    pub(super) encounters: &'a [EncounterSummary],
    pub(super) problem: Option<&'a str>,
}

/// What the app asks for, to allow in whole, in part, or not at all.
#[derive(Debug, Template)]
#[template(path = "grant/pages/consent.html")]
pub(super) struct ConsentPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) app: &'a str,
    pub(super) user: &'a str,
    pub(super) patient: Option<&'a PatientSummary>,
    pub(super) transaction: &'a str,
    pub(super) csrf: &'a str,
    /// Scopes that give access to records; each can be dropped.
    pub(super) records: &'a [Item],
    /// `offline_access`, when asked for; can be dropped.
    pub(super) offline: &'a [Item],
    /// Identity and launch context; come with the rest.
    pub(super) context: &'a [Item],
    /// Scopes that would not fit into one access token.
    pub(super) too_many: &'a [String],
    /// Host, or scheme of a native app, that the person goes back to.
    pub(super) destination: &'a str,
    pub(super) may_switch: bool,
}

/// One scope as the consent page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// The scope as the app wrote it.
    pub(super) scope: String,
    /// In plain language.
    pub(super) title: String,
    /// What a person should know besides.
    pub(super) detail: Option<String>,
    /// Whether `detail` is to be noticed: a wildcard, or changes to the record.
    pub(super) broad: bool,
    /// Whether its box is ticked.
    pub(super) chosen: bool,
}

/// A page that ends here, because there is no app that could safely be sent the error.
#[derive(Debug, Template)]
#[template(path = "grant/pages/error.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    title: &'a str,
    message: &'a str,
    advice: &'a str,
    again: Option<&'a str>,
    request_id: &'a str,
}

/// Why a request ends on a page of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem<'a> {
    /// 400: `client_id` unknown, missing or doubled.
    UnknownClient,
    /// 400: `redirect_uri` missing, doubled or not registered.
    UnknownRedirectUri,
    /// 400: the body is not a form, or a form that cannot be read.
    NotAForm,
    /// 405 with `Allow`.
    MethodNotAllowed(&'static str),
    /// 400: the transaction is over, expired or never was.
    NoTransaction,
    /// 403: the browser did not send the cookie that belongs to the transaction.
    OtherBrowser,
    /// 403: the anti-CSRF token is missing or of another session.
    Forged,
    /// 403: a patient, encounter or scope that was not on the page.
    NotOffered,
    /// 503: patients cannot be looked up. Holds where to try again.
    DirectoryUnavailable(&'a str),
    /// 429: too many requests of one address; whole seconds to wait.
    TooMany(u64),
    /// 503: the store cannot be used.
    StoreUnavailable,
    /// 500: a page could not be made.
    Internal,
}

impl Problem<'_> {
    /// The stable id for the audit log and the metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::UnknownClient => "client_unknown",
            Self::UnknownRedirectUri => "redirect_uri_unknown",
            Self::NotAForm => "form_malformed",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NoTransaction => "transaction_unknown",
            Self::OtherBrowser => "transaction_of_other_browser",
            Self::Forged => "csrf_token_invalid",
            Self::NotOffered => "choice_not_offered",
            Self::DirectoryUnavailable(_) => "patient_directory_unavailable",
            Self::TooMany(_) => "throttled",
            Self::StoreUnavailable => "store_unavailable",
            Self::Internal => "page_not_rendered",
        }
    }

    /// The HTTP status.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::UnknownClient | Self::UnknownRedirectUri | Self::NotAForm | Self::NoTransaction => {
                StatusCode::BAD_REQUEST
            }
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::OtherBrowser | Self::Forged | Self::NotOffered => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::DirectoryUnavailable(_) | Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn words(self) -> (&'static str, &'static str, &'static str) {
        const BACK: &str = "Go back to the app and start again.";
        const TELL: &str = "Nothing was shared. Please tell the makers of the app, or the people who run it.";
        match self {
            Self::UnknownClient => {
                ("This app is not known here", "The app that sent you here is not registered.", TELL)
            }
            Self::UnknownRedirectUri => (
                "This app cannot be trusted with the way back",
                "The address the app wants you to return to is not the one it registered.",
                TELL,
            ),
            Self::NotAForm => {
                ("This request cannot be read", "The app or page sent something that is not a form.", TELL)
            }
            Self::MethodNotAllowed(_) => {
                ("This request cannot be read", "The page is opened or posted to, nothing else.", TELL)
            }
            Self::NoTransaction => (
                "This sign-in is over",
                "It was finished already, or it took longer than 15 minutes.",
                "Nothing was shared just now. Go back to the app and start again.",
            ),
            Self::OtherBrowser => (
                "This sign-in was started in another browser",
                "Your browser did not send the cookie that was set when the sign-in began.",
                "Allow cookies for this site, then go back to the app and start again.",
            ),
            Self::Forged => (
                "This answer did not come from the page we showed you",
                "Nothing was allowed.",
                "If you were asked for your consent and answered, your session ended meanwhile: go back to the app and start again.",
            ),
            Self::NotOffered => {
                ("This choice was not offered", "What was sent is not on the page we showed you.", BACK)
            }
            Self::DirectoryUnavailable(_) => (
                "Patients cannot be looked up now",
                "The health record server does not answer.",
                "Wait a moment, then try again.",
            ),
            Self::TooMany(_) => {
                ("Too many requests", "Too many apps were opened from your network in a short time.", BACK)
            }
            Self::StoreUnavailable => (
                "This is not possible now",
                "The service cannot save its state.",
                "Wait a moment, then reload this page.",
            ),
            Self::Internal => ("Something went wrong", "The page could not be made.", BACK),
        }
    }

    /// The page.
    pub(super) fn page(self, config: &Config, request_id: &str) -> Answer {
        let (title, message, advice) = self.words();
        let again = match self {
            Self::DirectoryUnavailable(again) => Some(again),
            Self::UnknownClient
            | Self::UnknownRedirectUri
            | Self::NotAForm
            | Self::MethodNotAllowed(_)
            | Self::NoTransaction
            | Self::OtherBrowser
            | Self::Forged
            | Self::NotOffered
            | Self::TooMany(_)
            | Self::StoreUnavailable
            | Self::Internal => None,
        };
        let page = ErrorPage { frame: Frame::new(config), title, message, advice, again, request_id };
        let mut answer = render(&page, self.status(), None);
        let headers = answer.0.headers_mut();
        match self {
            Self::MethodNotAllowed(methods) => {
                headers.insert(ALLOW, HeaderValue::from_static(methods));
            }
            Self::DirectoryUnavailable(_) | Self::StoreUnavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::TooMany(seconds) => {
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::UnknownClient
            | Self::UnknownRedirectUri
            | Self::NotAForm
            | Self::NoTransaction
            | Self::OtherBrowser
            | Self::Forged
            | Self::NotOffered
            | Self::Internal => {}
        }
        answer
    }
}

/// Turns a template into an answer with the headers that every page has. `leads_to` is the verified redirect URI that a
/// form on the page may end at: Chromium applies `form-action` to the whole chain of redirects after a form is sent.
pub(super) fn render(page: &impl Template, status: StatusCode, leads_to: Option<&str>) -> Answer {
    let (body, status) = match page.render() {
        Ok(body) => (body, status),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (String::new(), StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, content_security_policy(leads_to));
    harden(&mut response);
    Answer(response)
}

/// The headers of everything a browser receives from the grant path, redirects included.
pub(super) fn harden(response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
}

fn content_security_policy(leads_to: Option<&str>) -> HeaderValue {
    const STRICT: &str =
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    leads_to
        .and_then(form_action_source)
        .and_then(|source| {
            HeaderValue::from_str(&STRICT.replace("form-action 'self'", &format!("form-action 'self' {source}"))).ok()
        })
        .unwrap_or(HeaderValue::from_static(STRICT))
}

/// The origin of an http(s) URI, otherwise its scheme (`com.example.app:`), as CSP Level 3 writes a source; `None` when it
/// would not be one.
fn form_action_source(redirect_uri: &str) -> Option<String> {
    let url = Url::parse(redirect_uri).ok()?;
    let source = match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization(),
        scheme => format!("{scheme}:"),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'/' | b'.' | b'-' | b'+' | b'[' | b']');
    source.bytes().all(plain).then_some(source)
}

/// Where a redirect URI leads, for people: its host, or the scheme of a native app.
pub(super) fn destination(redirect_uri: &str) -> String {
    match Url::parse(redirect_uri) {
        Ok(url) => url.host_str().map_or_else(|| format!("the app ({}:)", url.scheme()), str::to_owned),
        Err(_) => "the app".to_owned(),
    }
}

#[cfg(test)]
mod tests;
