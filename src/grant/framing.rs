//! Our pages in a frame: an EHR that shows apps inside its own page, and whose app launches therefore end up there.
//!
//! Takes what a browser says of a request (Fetch Metadata, `Sec-Fetch-Dest`) and the EHR's registration; gives the way the launch
//! goes on, and the headers of what is shown. Promises: a page may be framed only in a transaction that began in a frame, by a
//! launch of an EHR that lists its origins in `frame_ancestors`, and only by these; every other page by nobody. Browsers keep no
//! ordinary cookie of ours in a foreign page. So where the EHR is not registered with `partitioned_cookies`, the frame shows one
//! page with a link that launches the app again in a window of its own, and nothing is spent. The same page ends a launch in a frame
//! whose person wants to log in with an OpenID provider: providers let nobody frame them. RFC 9700 section 4.16;
//! SECURITY.md, "Launches in a frame", says what binds what.

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, SET_COOKIE, X_FRAME_OPTIONS};
use http::{HeaderMap, Response, StatusCode};

use super::facts::Facts;
use super::launch_contexts::{self, with_launch};
use super::pages::{Frame, Language, Problem, WindowPage, render};
use super::records::LaunchContext;
use super::transaction::OpenTransaction;
use super::{Answer, Grants};
use crate::config::{Client, Ehr};
use crate::listen::Inbound;

/// How a launch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// As everywhere else. In a frame the browser will refuse to show our pages.
    Window,
    /// In the frame, bound by a partitioned cookie.
    Frame,
    /// In another window, by a link.
    NewWindow,
}

/// Where the launch by this context goes on, for the browser that sent `inbound`.
pub(super) fn place(grants: &Grants, inbound: &Inbound, launch: &LaunchContext) -> Place {
    if !is_framed(&inbound.headers) {
        return Place::Window;
    }
    with_ehr(grants, &launch.ehr_client_id, |ehr| match (ehr.frame_ancestors.is_empty(), ehr.partitioned_cookies) {
        (true, _) => Place::Window,
        (false, true) => Place::Frame,
        (false, false) => Place::NewWindow,
    })
    .unwrap_or(Place::Window)
}

/// The page in the frame that leads out of it.
pub(super) fn way_out(grants: &Grants, language: Language, client: &Client, launch_url: &str) -> Answer {
    let page = WindowPage { frame: Frame::new(&grants.config, language), app: &client.client_name, launch_url };
    render(&page, StatusCode::OK, None)
}

/// The same for a launch that began in the frame and cannot go on there, because its person logs in with an OpenID provider.
/// The transaction ends; a new handle with the same context launches the app in the window, where the login is not done yet.
pub(super) async fn way_out_of(grants: &Grants, open: &OpenTransaction) -> Result<Answer, Problem<'static>> {
    let client = grants.clients.find(&open.state.client_id).ok_or(Problem::UnknownClient)?;
    let (Some(launch), Some(launch_url)) = (&open.state.launch, client.config.launch_urls.first()) else {
        return Err(Problem::NoTransaction);
    };
    // INVARIANT: one of any number of requests gets past this, so one transaction gives one handle.
    open.finish(grants).await?;
    let handle = launch_contexts::hand_over_again(grants, launch).await.map_err(|_| Problem::StoreUnavailable)?;
    let launch_url = with_launch(launch_url.clone(), grants, &handle);
    let mut answer = way_out(grants, open.language, &client.config, &launch_url);
    if let Ok(cookie) = HeaderValue::from_str(&open.unbinding(&grants.config)) {
        answer.0.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// Lets the EHR's pages frame the answer, where the facts say that it is for a frame.
pub(super) fn permit(grants: &Grants, facts: &Facts, response: &mut Response<Bytes>) {
    const NOBODY: &str = "frame-ancestors 'none'";
    let Some(ehr) = &facts.framed_by else { return };
    let ancestors = with_ehr(grants, ehr, |ehr| ehr.frame_ancestors.join(" ")).filter(|list| !list.is_empty());
    let headers = response.headers_mut();
    let strict = headers.get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
    if let (Some(ancestors), Some(strict)) = (ancestors, strict)
        && let Ok(policy) = HeaderValue::from_str(&strict.replace(NOBODY, &format!("frame-ancestors {ancestors}")))
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.remove(X_FRAME_OPTIONS);
    }
}

/// Whether the browser says that a page of ours posted this.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    says(headers, "sec-fetch-site", &["same-origin"])
}

/// Whether the browser says that it will show the answer inside another page.
pub(super) fn is_framed(headers: &HeaderMap) -> bool {
    says(headers, "sec-fetch-dest", &["iframe", "frame", "embed", "object"])
}

fn says(headers: &HeaderMap, name: &str, words: &[&str]) -> bool {
    let mut values = headers.get_all(name).iter();
    let said = values.next().is_some_and(|value| words.iter().any(|word| value.as_bytes() == word.as_bytes()));
    said && values.next().is_none()
}

fn with_ehr<T>(grants: &Grants, client_id: &str, read: impl FnOnce(&Ehr) -> T) -> Option<T> {
    let client = grants.clients.find(client_id)?;
    client.config.ehr.as_ref().map(read)
}

#[cfg(test)]
mod tests;
