//! One authorization request on its way through login, patient choice and consent.
//!
//! Takes the `transaction` handle of a form or of `/authorize/continue`; gives the stored [`Transaction`] when the browser
//! also sent the cookie that was set when it began. Promises: a transaction belongs to one browser, lives 15 minutes, and is
//! finished once ([`OpenTransaction::finish`] takes it out of the store). The handle is opaque: it may stand in a URL of ours,
//! nothing about a person does. Each transaction has a cookie of its own, so that two tabs do not disturb each other.
//!
//! A transaction that began in a frame of an EHR has a partitioned cookie (CHIPS), which a browser keeps apart for each site
//! that shows the frame. `SameSite` cannot help there: so its forms carry a second half after the handle, which stands in no
//! URL, and the browser must say that a page of ours posted them.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use super::pages::{Language, Problem};
use super::records::Transaction;
use super::session::{LiveSession, cookie, cookie_name, cookie_names, is_handle, set_cookie};
use super::{Grants, framing};
use crate::config::Config;
use crate::listen::Inbound;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

/// What the names of binding cookies begin with.
const BINDING: &str = "transaction-";

/// The same for those of transactions in a frame.
const FRAMED_BINDING: &str = "framed-transaction-";

/// Transactions that one browser may have under way at the same time.
const MAX_BINDINGS: usize = 16;

/// Seconds a person has from the app's request to the way back.
const LIFETIME: u32 = 15 * 60;

/// A transaction together with what proves it.
#[derive(Debug)]
pub(super) struct OpenTransaction {
    /// What travels in forms.
    pub(super) handle: String,
    /// What stands in URLs, and what it is stored under.
    key: String,
    pub(super) state: Transaction,
    /// The browser's address.
    pub(super) from: IpAddr,
    /// In which its pages are written: as the app asked, or as the browser prefers.
    pub(super) language: Language,
    browser: String,
    expires: i64,
}

impl OpenTransaction {
    /// Stores a new one. `state.browser` is filled in here.
    pub(super) async fn begin(grants: &Grants, mut state: Transaction, from: IpAddr) -> Result<Self, StoreError> {
        let browser = random::handle();
        state.browser = Digest::of(&browser).to_hex();
        let expires = grants.clock.unix_seconds().saturating_add(i64::from(LIFETIME));
        // The first page comes with the next request.
        let language = state.language.unwrap_or_default();
        let open = Self::of(random::handle(), state, (from, language), browser, expires);
        grants.store.put(Kind::Transaction, Digest::of(&open.key), open.entry()?).await?;
        Ok(open)
    }

    /// The one that `handle` names, for the browser that sent `inbound`.
    pub(super) async fn resume(
        grants: &Grants,
        handle: Option<&str>,
        inbound: &Inbound,
    ) -> Result<Self, Problem<'static>> {
        let (handle, half) = halves(handle.unwrap_or_default());
        if !is_handle(handle) {
            return Err(Problem::NoTransaction);
        }
        let now = grants.clock.unix_seconds();
        let entry = grants
            .store
            .read(Kind::Transaction, Digest::of(handle), now)
            .await
            .map_err(|_| Problem::StoreUnavailable)?
            .ok_or(Problem::NoTransaction)?;
        let state: Transaction = serde_json::from_slice(&entry.value).map_err(|_| Problem::NoTransaction)?;
        let name = binding_name(&grants.config, handle, state.embedded());
        let browser = cookie(&inbound.headers, &name).ok_or(Problem::OtherBrowser)?;
        if Digest::of(&browser).to_hex() != state.browser {
            return Err(Problem::OtherBrowser);
        }
        let language = state.language.unwrap_or_else(|| Language::accepted(&inbound.headers));
        let from = (inbound.peer.ip(), language);
        let open = Self::of(handle.to_owned(), state, from, browser, entry.expires);
        if open.state.embedded() && inbound.method == Method::POST {
            let ours = half.is_some_and(|half| Digest::of(half).matches(&Digest::of(&open.second_half())));
            if !ours || !framing::is_same_origin(&inbound.headers) {
                return Err(Problem::Forged);
            }
        }
        Ok(open)
    }

    fn of(
        key: String,
        state: Transaction,
        (from, language): (IpAddr, Language),
        browser: String,
        expires: i64,
    ) -> Self {
        let mut open = Self { handle: key.clone(), key, state, from, language, browser, expires };
        if open.state.embedded() {
            open.handle = format!("{}.{}", open.key, open.second_half());
        }
        open
    }

    /// What names it to others, who need not know what stands in our forms.
    pub(super) fn public(&self) -> &str {
        &self.key
    }

    /// What only a page of ours in this browser knows.
    fn second_half(&self) -> String {
        Digest::of(&format!("form\n{}\n{}", self.key, self.browser)).to_hex()
    }

    /// Writes the changed state back, with the same end. One that was finished meanwhile stays finished.
    pub(super) async fn save(&self, grants: &Grants) -> Result<(), Problem<'static>> {
        let (key, now) = (Digest::of(&self.key), grants.clock.unix_seconds());
        let entry = self.entry().map_err(|_| Problem::StoreUnavailable)?;
        // INVARIANT: the old state is taken and the new one written in one step, or nothing is.
        match grants.store.spend(Kind::Transaction, Kind::Transaction, key, entry, now).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Problem::NoTransaction),
            Err(_) => Err(Problem::StoreUnavailable),
        }
    }

    fn entry(&self) -> Result<Entry, StoreError> {
        let value = serde_json::to_vec(&self.state).map_err(|error| StoreError(error.to_string()))?;
        Ok(Entry { value, expires: self.expires, owner: None })
    }

    /// Takes it out of the store: of any number of answers one ends the transaction, for the others it is over.
    pub(super) async fn finish(&self, grants: &Grants) -> Result<(), Problem<'static>> {
        let now = grants.clock.unix_seconds();
        match grants.store.take_once(Kind::Transaction, Digest::of(&self.key), now).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Problem::NoTransaction),
            Err(_) => Err(Problem::StoreUnavailable),
        }
    }

    /// The `Set-Cookie` value that binds it to the browser.
    pub(super) fn binding(&self, config: &Config) -> String {
        self.cookie(config, &self.binding_name(config), &self.browser, LIFETIME)
    }

    /// The `Set-Cookie` value that removes the binding.
    pub(super) fn unbinding(&self, config: &Config) -> String {
        self.cookie(config, &self.binding_name(config), "", 0)
    }

    /// `Set-Cookie` values that remove the bindings of other transactions, once a browser has gathered so many of them that
    /// its requests would outgrow what a server reads: a site that opens apps over and over locks nobody out.
    pub(super) fn unbinding_others(&self, config: &Config, headers: &HeaderMap) -> Vec<String> {
        let own = self.binding_name(config);
        let prefix = cookie_name(config, if self.state.embedded() { FRAMED_BINDING } else { BINDING });
        let others: Vec<String> =
            cookie_names(headers).filter(|name| name.starts_with(&prefix) && *name != own).collect();
        if others.len() < MAX_BINDINGS {
            return Vec::new();
        }
        others.into_iter().map(|name| self.cookie(config, &name, "", 0)).collect()
    }

    fn binding_name(&self, config: &Config) -> String {
        binding_name(config, &self.key, self.state.embedded())
    }

    /// A `Set-Cookie` value. In a frame the cookie has to be one that a foreign page may cause to be sent, and is kept for
    /// this embedding site alone; always `Secure`, without which browsers take no such cookie.
    fn cookie(&self, config: &Config, name: &str, value: &str, max_age: u32) -> String {
        if self.state.embedded() {
            return format!("{name}={value}; Path=/; HttpOnly; SameSite=None; Secure; Partitioned; Max-Age={max_age}");
        }
        set_cookie(config, name, value, Some(max_age))
    }

    /// Where the browser goes on: a page of ours that may be reloaded.
    pub(super) fn path(&self) -> String {
        format!("/authorize/continue?transaction={}", self.key)
    }

    /// A value that nobody has without the cookie of this browser, another one for each `purpose`.
    pub(super) fn bound_secret(&self, purpose: &str) -> Digest {
        Digest::of(&format!("{purpose}\n{}\n{}", self.key, self.browser))
    }

    /// The anti-CSRF token of the consent form, bound to the transaction, the browser, the session, and the user and patient
    /// that the page shows.
    pub(super) fn csrf(&self, session: Option<&LiveSession>) -> String {
        let session = session.map(|session| session.cookie.as_str()).unwrap_or_default();
        let user = self.state.user.as_ref().map(|user| user.sub.as_str()).unwrap_or_default();
        let patient = self.state.patient.as_deref().unwrap_or_default();
        Digest::of(&format!("csrf\n{}\n{}\n{session}\n{patient}\n{user}", self.key, self.browser)).to_hex()
    }

    /// Whether `token` is [`Self::csrf`], in constant time.
    pub(super) fn csrf_matches(&self, session: Option<&LiveSession>, token: &str) -> bool {
        Digest::of(&self.csrf(session)).matches(&Digest::of(token))
    }
}

/// The cookie's name carries a piece of the handle's digest: it tells tabs apart and gives nothing away.
fn binding_name(config: &Config, key: &str, embedded: bool) -> String {
    let mut tag = Digest::of(key).to_hex();
    tag.truncate(16);
    let binding = if embedded { FRAMED_BINDING } else { BINDING };
    cookie_name(config, &format!("{binding}{tag}"))
}

/// The handle, and what follows it in the forms of a transaction in a frame.
fn halves(field: &str) -> (&str, Option<&str>) {
    field.split_once('.').map_or((field, None), |(handle, half)| (handle, Some(half)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use http::HeaderValue;
    use http::header::COOKIE;

    use super::*;
    use crate::grant::testing::{Browser, form, request};

    #[tokio::test]
    async fn what_is_finished_is_not_brought_back_by_a_request_that_read_it_before() {
        let mut browser = Browser::new();
        let page = browser.authorize(&request("openid launch/patient patient/Patient.rs")).await;
        let handle = page.field("transaction");
        let mut inbound = form("/consent", &[]);
        for (name, value) in &browser.jar {
            inbound.headers.append(COOKIE, HeaderValue::from_str(&format!("{name}={value}")).unwrap());
        }
        let grants = &browser.grants;
        let one = OpenTransaction::resume(grants, Some(&handle), &inbound).await.unwrap();
        let other = OpenTransaction::resume(grants, Some(&handle), &inbound).await.unwrap();
        one.save(grants).await.unwrap();
        one.finish(grants).await.unwrap();
        assert_eq!(other.save(grants).await.unwrap_err(), Problem::NoTransaction);
        assert_eq!(other.finish(grants).await.unwrap_err(), Problem::NoTransaction);
    }
}
