//! One authorization request on its way through login, patient choice and consent.
//!
//! Takes the `transaction` handle of a form or of `/authorize/continue`; gives the stored [`Transaction`] when the browser
//! also sent the cookie that was set when it began. Promises: a transaction belongs to one browser, lives 15 minutes, and is
//! finished once ([`OpenTransaction::finish`] takes it out of the store). The handle is opaque: it may stand in a URL of ours,
//! nothing about a person does. Each transaction has a cookie of its own, so that two tabs do not disturb each other.

use std::net::IpAddr;

use http::HeaderMap;

use super::Grants;
use super::pages::Problem;
use super::records::Transaction;
use super::session::{LiveSession, cookie, cookie_name, cookie_names, is_handle, set_cookie};
use crate::config::Config;
use crate::listen::Inbound;
use crate::random;
use crate::secret::Digest;
use crate::store::{Entry, Kind, StoreError};

/// What the names of binding cookies begin with.
const BINDING: &str = "transaction-";

/// Transactions that one browser may have under way at the same time.
const MAX_BINDINGS: usize = 16;

/// Seconds a person has from the app's request to the way back.
const LIFETIME: u32 = 15 * 60;

/// A transaction together with what proves it.
#[derive(Debug)]
pub(super) struct OpenTransaction {
    /// What travels in forms.
    pub(super) handle: String,
    pub(super) state: Transaction,
    /// The browser's address.
    pub(super) from: IpAddr,
    browser: String,
    expires: i64,
}

impl OpenTransaction {
    /// Stores a new one. `state.browser` is filled in here.
    pub(super) async fn begin(grants: &Grants, mut state: Transaction, from: IpAddr) -> Result<Self, StoreError> {
        let browser = random::handle();
        state.browser = Digest::of(&browser).to_hex();
        let expires = grants.clock.unix_seconds().saturating_add(i64::from(LIFETIME));
        let open = Self { handle: random::handle(), state, from, browser, expires };
        grants.store.put(Kind::Transaction, Digest::of(&open.handle), open.entry()?).await?;
        Ok(open)
    }

    /// The one that `handle` names, for the browser that sent `inbound`.
    pub(super) async fn resume(
        grants: &Grants,
        handle: Option<&str>,
        inbound: &Inbound,
    ) -> Result<Self, Problem<'static>> {
        let handle = handle.filter(|handle| is_handle(handle)).ok_or(Problem::NoTransaction)?;
        let now = grants.clock.unix_seconds();
        let entry = grants
            .store
            .read(Kind::Transaction, Digest::of(handle), now)
            .await
            .map_err(|_| Problem::StoreUnavailable)?
            .ok_or(Problem::NoTransaction)?;
        let state: Transaction = serde_json::from_slice(&entry.value).map_err(|_| Problem::NoTransaction)?;
        let browser = cookie(&inbound.headers, &binding_name(&grants.config, handle)).ok_or(Problem::OtherBrowser)?;
        if Digest::of(&browser).to_hex() != state.browser {
            return Err(Problem::OtherBrowser);
        }
        Ok(Self { handle: handle.to_owned(), state, from: inbound.peer.ip(), browser, expires: entry.expires })
    }

    /// Writes the changed state back, with the same end. One that was finished meanwhile stays finished.
    pub(super) async fn save(&self, grants: &Grants) -> Result<(), Problem<'static>> {
        let (key, now) = (Digest::of(&self.handle), grants.clock.unix_seconds());
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
        match grants.store.take_once(Kind::Transaction, Digest::of(&self.handle), now).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Problem::NoTransaction),
            Err(_) => Err(Problem::StoreUnavailable),
        }
    }

    /// The `Set-Cookie` value that binds it to the browser.
    pub(super) fn binding(&self, config: &Config) -> String {
        set_cookie(config, &binding_name(config, &self.handle), &self.browser, Some(LIFETIME))
    }

    /// The `Set-Cookie` value that removes the binding.
    pub(super) fn unbinding(&self, config: &Config) -> String {
        set_cookie(config, &binding_name(config, &self.handle), "", Some(0))
    }

    /// `Set-Cookie` values that remove the bindings of other transactions, once a browser has gathered so many of them that
    /// its requests would outgrow what a server reads: a site that opens apps over and over locks nobody out.
    pub(super) fn unbinding_others(&self, config: &Config, headers: &HeaderMap) -> Vec<String> {
        let own = binding_name(config, &self.handle);
        let prefix = cookie_name(config, BINDING);
        let others: Vec<String> =
            cookie_names(headers).filter(|name| name.starts_with(&prefix) && *name != own).collect();
        if others.len() < MAX_BINDINGS {
            return Vec::new();
        }
        others.into_iter().map(|name| set_cookie(config, &name, "", Some(0))).collect()
    }

    /// Where the browser goes on: a page of ours that may be reloaded.
    pub(super) fn path(&self) -> String {
        format!("/authorize/continue?transaction={}", self.handle)
    }

    /// The anti-CSRF token of the consent form, bound to the transaction, the browser, the session, and the user and patient
    /// that the page shows.
    pub(super) fn csrf(&self, session: Option<&LiveSession>) -> String {
        let session = session.map(|session| session.cookie.as_str()).unwrap_or_default();
        let user = self.state.user.as_ref().map(|user| user.sub.as_str()).unwrap_or_default();
        let patient = self.state.patient.as_deref().unwrap_or_default();
        Digest::of(&format!("csrf\n{}\n{}\n{session}\n{patient}\n{user}", self.handle, self.browser)).to_hex()
    }

    /// Whether `token` is [`Self::csrf`], in constant time.
    pub(super) fn csrf_matches(&self, session: Option<&LiveSession>, token: &str) -> bool {
        Digest::of(&self.csrf(session)).matches(&Digest::of(token))
    }
}

/// The cookie's name carries a piece of the handle's digest: it tells tabs apart and gives nothing away.
fn binding_name(config: &Config, handle: &str) -> String {
    let mut tag = Digest::of(handle).to_hex();
    tag.truncate(16);
    cookie_name(config, &format!("{BINDING}{tag}"))
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
