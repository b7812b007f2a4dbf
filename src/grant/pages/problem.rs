//! The page for requests that cannot go back to the app: why, in words for the person, and what to do about it.
//!
//! Takes a [`Problem`]; gives its page, its status and its stable id. Nothing of the request is shown but its id.

use askama::Template;
use http::StatusCode;
use http::header::{ALLOW, HeaderValue, RETRY_AFTER};

use super::super::Answer;
use super::words::{Problems, Text};
use super::{Frame, Language, render};
use crate::config::Config;

/// A page that ends here, because there is no app that could safely be sent the error.
#[derive(Debug, Template)]
#[template(path = "grant/pages/error.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    title: Text,
    message: Text,
    /// For the makers of the app.
    detail: Option<&'a str>,
    advice: Text,
    again: Option<&'a str>,
    request_id: &'a str,
}

/// Why a request ends on a page of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::grant) enum Problem<'a> {
    /// 400: `client_id` unknown, missing or doubled.
    UnknownClient,
    /// 400: `redirect_uri` missing, doubled or not registered.
    UnknownRedirectUri,
    /// 400: what is wrong with the request of an app that nobody here has looked at.
    UnverifiedApp(&'a str),
    /// 400: a `request_uri` of a pushed request that is used, expired, of another client, or never was.
    RequestUriUnusable,
    /// 400: a parameter beside `request_uri` that is not as it was pushed.
    RequestDiffers,
    /// 400: the body is not a form, or a form that cannot be read.
    NotAForm,
    /// 405 with `Allow`.
    MethodNotAllowed(&'static str),
    /// 400: the transaction is over, expired or never was.
    NoTransaction,
    /// 403: the browser did not send the cookie that belongs to the transaction.
    OtherBrowser,
    /// 400: an OpenID provider answered for another one.
    MixedUp,
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
    pub(in crate::grant) fn reason(self) -> &'static str {
        match self {
            Self::UnknownClient => "client_unknown",
            Self::UnknownRedirectUri => "redirect_uri_unknown",
            Self::UnverifiedApp(_) => "request_of_unverified_app",
            Self::RequestUriUnusable => "invalid_request_uri",
            Self::RequestDiffers => "invalid_request",
            Self::NotAForm => "form_malformed",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NoTransaction => "transaction_unknown",
            Self::OtherBrowser => "transaction_of_other_browser",
            Self::MixedUp => "provider_mixed_up",
            Self::Forged => "csrf_token_invalid",
            Self::NotOffered => "choice_not_offered",
            Self::DirectoryUnavailable(_) => "patient_directory_unavailable",
            Self::TooMany(_) => "throttled",
            Self::StoreUnavailable => "store_unavailable",
            Self::Internal => "page_not_rendered",
        }
    }

    /// The HTTP status.
    pub(in crate::grant) fn status(self) -> StatusCode {
        match self {
            Self::UnknownClient
            | Self::UnknownRedirectUri
            | Self::UnverifiedApp(_)
            | Self::RequestUriUnusable
            | Self::RequestDiffers
            | Self::NotAForm
            | Self::NoTransaction
            | Self::MixedUp => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::OtherBrowser | Self::Forged | Self::NotOffered => StatusCode::FORBIDDEN,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::DirectoryUnavailable(_) | Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn words(self, t: &Problems) -> (Text, Text, Text) {
        match self {
            Self::UnknownClient => (t.unknown_app, t.unknown_app_message, t.tell),
            Self::UnknownRedirectUri => (t.untrusted_return, t.untrusted_return_message, t.tell),
            Self::UnverifiedApp(_) => (t.unverified_app, t.unverified_app_message, t.unverified_app_advice),
            Self::RequestUriUnusable => (t.used_request, t.used_request_message, t.nothing_shared_go_back),
            Self::RequestDiffers => (t.changed_request, t.changed_request_message, t.tell),
            Self::NotAForm => (t.unreadable, t.not_a_form, t.tell),
            Self::MethodNotAllowed(_) => (t.unreadable, t.wrong_method, t.tell),
            Self::NoTransaction => (t.over, t.over_message, t.over_advice),
            Self::OtherBrowser => (t.other_browser, t.other_browser_message, t.other_browser_advice),
            Self::MixedUp => (t.mixed_up, t.mixed_up_message, t.go_back),
            Self::Forged => (t.forged, t.forged_message, t.forged_advice),
            Self::NotOffered => (t.not_offered, t.not_offered_message, t.go_back),
            Self::DirectoryUnavailable(_) => (t.no_directory, t.no_directory_message, t.wait_and_try),
            Self::TooMany(_) => (t.too_many, t.too_many_message, t.go_back),
            Self::StoreUnavailable => (t.not_now, t.not_now_message, t.wait_and_reload),
            Self::Internal => (t.internal, t.internal_message, t.go_back),
        }
    }

    /// The page.
    pub(in crate::grant) fn page(self, config: &Config, language: Language, request_id: &str) -> Answer {
        let (title, message, advice) = self.words(&language.words().problems);
        let (again, header) = match self {
            Self::DirectoryUnavailable(again) => (Some(again), Some((RETRY_AFTER, HeaderValue::from_static("5")))),
            Self::StoreUnavailable => (None, Some((RETRY_AFTER, HeaderValue::from_static("5")))),
            Self::TooMany(seconds) => (None, Some((RETRY_AFTER, HeaderValue::from(seconds)))),
            Self::MethodNotAllowed(methods) => (None, Some((ALLOW, HeaderValue::from_static(methods)))),
            Self::UnknownClient
            | Self::UnknownRedirectUri
            | Self::UnverifiedApp(_)
            | Self::RequestUriUnusable
            | Self::RequestDiffers
            | Self::NotAForm
            | Self::NoTransaction
            | Self::OtherBrowser
            | Self::MixedUp
            | Self::Forged
            | Self::NotOffered
            | Self::Internal => (None, None),
        };
        let detail = if let Self::UnverifiedApp(detail) = self { Some(detail) } else { None };
        let page = ErrorPage { frame: Frame::new(config, language), title, message, detail, advice, again, request_id };
        let mut answer = render(&page, self.status(), None);
        answer.0.headers_mut().extend(header);
        answer
    }
}
