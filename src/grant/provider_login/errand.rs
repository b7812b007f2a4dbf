//! What a person logs in for at a provider: an app's request, or the management page. What proves that the browser is the same
//! afterwards, and where it goes on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;

use super::super::management;
use super::super::pages::{Frame, Language, Pages, ProviderProblemPage, Text, render};
use super::super::session::cookie;
use super::super::transaction::OpenTransaction;
use super::super::{Answer, Grants, route};
use crate::federation::RelyingParty;
use crate::listen::Inbound;
use crate::random;
use crate::secret::Digest;

/// What a `state` begins with that is for the management page. No handle of a transaction is so short.
const MANAGE: &str = "manage";

/// Whether `state` is of a login for the management page.
pub(super) fn is_of_page(state: &str) -> bool {
    state.split_once('.').is_some_and(|(name, _)| name == MANAGE)
}

/// What somebody logs in for.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Errand<'a> {
    /// An app's request.
    App(&'a OpenTransaction),
    /// The management page.
    Manage(&'a ManageBrowser),
}

/// A browser that was shown the login form of the management page.
#[derive(Debug)]
pub(in super::super) struct ManageBrowser {
    cookie: String,
    language: Language,
}

impl ManageBrowser {
    /// The one that sent `inbound`, by its cookie.
    pub(in super::super) fn of(grants: &Grants, inbound: &Inbound) -> Option<Self> {
        cookie(&inbound.headers, &management::login_cookie(grants))
            .map(|cookie| Self { cookie, language: Language::accepted(&inbound.headers) })
    }

    /// The anti-CSRF token of its login forms.
    pub(in super::super) fn csrf(&self) -> String {
        management::login_csrf(&self.cookie)
    }
}

impl Errand<'_> {
    /// A new `state`: it names the errand, and nobody can guess it.
    pub(super) fn state(self) -> String {
        let name = match self {
            Self::App(open) => open.public(),
            Self::Manage(_) => MANAGE,
        };
        format!("{name}.{}", random::handle())
    }

    /// 43 characters that only this browser's errand and this state give.
    pub(super) fn bound(self, use_: &str, state: &str) -> String {
        let purpose = format!("provider {use_}\n{state}");
        let secret = match self {
            Self::App(open) => open.bound_secret(&purpose),
            Self::Manage(browser) => Digest::of(&format!("{purpose}\n{MANAGE}\n{}", browser.cookie)),
        };
        URL_SAFE_NO_PAD.encode(secret.0)
    }

    /// In which its pages are written.
    pub(super) fn language(self) -> Language {
        match self {
            Self::App(open) => open.language,
            Self::Manage(browser) => browser.language,
        }
    }

    /// The texts in that language.
    pub(super) fn t(self) -> &'static Pages {
        &self.language().words().pages
    }

    /// What the record of the login says of the browser; an app's transaction binds it by itself.
    pub(super) fn browser(self) -> Option<String> {
        match self {
            Self::App(_) => None,
            Self::Manage(browser) => Some(Digest::of(&browser.cookie).to_hex()),
        }
    }

    /// Where the browser goes on.
    pub(super) fn path(self) -> String {
        match self {
            Self::App(open) => open.path(),
            Self::Manage(_) => route::MANAGE.to_owned(),
        }
    }

    /// The page for a login that did not come about, with the ways back.
    pub(super) fn problem_page(
        self,
        grants: &Grants,
        provider: &RelyingParty,
        (status, message): (StatusCode, Text),
    ) -> Answer {
        self.page(grants, provider, (status, message), &self.path())
    }

    /// The same for a person who may not come in: another try is for another account.
    pub(super) fn other_account_page(
        self,
        grants: &Grants,
        provider: &RelyingParty,
        (status, message): (StatusCode, Text),
    ) -> Answer {
        let again = match self {
            // The transaction says it.
            Self::App(open) => open.path(),
            Self::Manage(_) => format!("{}?{}", route::MANAGE, management::OTHER_ACCOUNT),
        };
        self.page(grants, provider, (status, message), &again)
    }

    fn page(
        self,
        grants: &Grants,
        provider: &RelyingParty,
        (status, message): (StatusCode, Text),
        again: &str,
    ) -> Answer {
        let app = match self {
            Self::App(open) => Some(open),
            Self::Manage(_) => None,
        };
        let page = ProviderProblemPage {
            frame: Frame::new(&grants.config, self.language()),
            provider: &provider.config.name,
            message,
            again,
            transaction: app.map(|open| open.handle.as_str()),
        };
        render(&page, status, app.map(|open| open.state.redirect_uri.as_str()))
    }
}
