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
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use url::Url;

use super::{Answer, EncounterSummary, PatientSummary};
use crate::config::{Config, Provider};
use crate::secret::Digest;

mod filters;
mod language;
mod problem;
mod words;

pub(super) use self::filters::day;
pub use self::language::Language;
pub(super) use self::problem::Problem;
pub(super) use self::words::{Pages, Scopes, Text};

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
    lang: &'static str,
    /// The texts.
    pub(super) t: &'static Pages,
}

impl<'a> Frame<'a> {
    pub(super) fn new(config: &'a Config, language: Language) -> Self {
        Self {
            host: config.server.origin.host_str().unwrap_or_default(),
            stylesheet: &CSS_PATH,
            lang: language.tag(),
            t: &language.words().pages,
        }
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
    /// Whether there are users with a password.
    pub(super) built_in: bool,
    pub(super) providers: &'a [Provider],
    pub(super) problem: Option<Text>,
    pub(super) notice: Option<Text>,
}

/// The way to an OpenID provider: goes on by itself, without a script.
#[derive(Debug, Template)]
#[template(path = "grant/pages/provider.html")]
pub(super) struct ProviderPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) provider: &'a str,
    pub(super) url: &'a str,
    /// To sign out there, instead of in.
    pub(super) out: bool,
}

/// A login with an OpenID provider that did not come about, with the ways back.
#[derive(Debug, Template)]
#[template(path = "grant/pages/provider_problem.html")]
pub(super) struct ProviderProblemPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) provider: &'a str,
    pub(super) message: Text,
    pub(super) again: &'a str,
    /// Of the app that may be gone back to; `None` for the management page.
    pub(super) transaction: Option<&'a str>,
}

/// The login to see what was allowed.
#[derive(Debug, Template)]
#[template(path = "grant/pages/manage_login.html")]
pub(super) struct ManageLoginPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) csrf: &'a str,
    pub(super) username: &'a str,
    /// Whether anybody has a password here.
    pub(super) built_in: bool,
    pub(super) providers: &'a [Provider],
    /// Whether the provider is to ask for an account, whoever is signed in there.
    pub(super) other_account: bool,
    pub(super) problem: Option<Text>,
}

/// The apps that have access.
#[derive(Debug, Template)]
#[template(path = "grant/pages/manage.html")]
pub(super) struct ManagePage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) user: &'a str,
    pub(super) csrf: &'a str,
    pub(super) logout_csrf: &'a str,
    /// The OpenID provider that the person may sign out of, too.
    pub(super) provider: Option<&'a str>,
    pub(super) apps: &'a [AppAccess],
    pub(super) others: usize,
    pub(super) notice: Option<Text>,
}

/// What one app has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AppAccess {
    pub(super) client_id: String,
    pub(super) name: String,
    /// Each access it was given; none when only a consent is remembered.
    pub(super) accesses: Vec<Access>,
}

/// One access of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    /// Whose records, where it is one patient's.
    pub(super) patient: Option<String>,
    /// What it may do, in plain words.
    pub(super) what: Vec<String>,
    /// How long it lasts.
    pub(super) how_long: Option<Text>,
    /// Days, for people.
    pub(super) since: String,
    pub(super) last_used: Option<String>,
    pub(super) until: String,
}

/// Asks whether to sign out.
#[derive(Debug, Template)]
#[template(path = "grant/pages/logout.html")]
pub(super) struct LogoutPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) user: &'a str,
    pub(super) csrf: &'a str,
    /// The app that asked.
    pub(super) app: Option<&'a str>,
    /// The OpenID provider that the person may sign out of, too.
    pub(super) provider: Option<&'a str>,
    /// Sent back with the form: parameters of the request.
    pub(super) parameters: &'a [(&'static str, &'a str)],
}

/// Nobody is signed in any more.
#[derive(Debug, Template)]
#[template(path = "grant/pages/logged_out.html")]
pub(super) struct LoggedOutPage<'a> {
    pub(super) frame: Frame<'a>,
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
    pub(super) problem: Option<Text>,
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
    pub(super) problem: Option<Text>,
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
    /// The app registered itself, and nobody of the site has looked at it.
    pub(super) unverified: bool,
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
    /// What may be allowed instead of the whole.
    pub(super) parts: Vec<Item>,
}

impl Item {
    /// The code of the category that a granular scope is about; the scope itself when there is none.
    fn code(&self) -> &str {
        self.scope.rsplit_once('|').map_or(self.scope.as_str(), |(_, code)| code)
    }
}

/// The way out of a frame in which nobody can sign in.
#[derive(Debug, Template)]
#[template(path = "grant/pages/window.html")]
pub(super) struct WindowPage<'a> {
    pub(super) frame: Frame<'a>,
    pub(super) app: &'a str,
    /// The app's launch URL with a handle that is not spent yet.
    pub(super) launch_url: &'a str,
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
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    harden(&mut response);
    Answer(response)
}

/// The headers of everything a browser receives from the grant path, redirects included. A redirect shows nothing, so it says
/// nothing about frames: Chromium would take its word for the whole navigation.
pub(super) fn harden(response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
pub(super) fn destination(redirect_uri: &str, language: Language) -> String {
    let t = &language.words().pages;
    match Url::parse(redirect_uri) {
        Ok(url) => url.host_str().map_or_else(|| t.the_app_of_scheme.with(url.scheme()), str::to_owned),
        Err(_) => t.the_app.to_string(),
    }
}

#[cfg(test)]
mod tests;
