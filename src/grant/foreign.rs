//! What a browser sends from a page that is none of ours and of no app that is registered here.
//!
//! Takes what the browser says of a request (Fetch Metadata, `Origin`); tells whether an endpoint that takes credentials is to look
//! at it at all: a page of an app may try where it can read the answer ([`sharing`]). Such a request is no try of anybody: no app sends it, and a page that is shown to the people behind one address
//! could otherwise spend the budget for failed credentials of them all. It is refused before anything of it is checked, so
//! it can neither guess nor cost. What is no browser says nothing, and is treated as before.

use http::HeaderMap;
use http::header::ORIGIN;

use super::respond::sharing;
use super::route::Endpoint;
use crate::admit::Presenter;
use crate::clients::Clients;
use crate::cors::Sharing;
use crate::listen::Inbound;

/// Whether `inbound` comes from such a page.
pub(super) fn is_of_foreign_page(endpoint: Endpoint, inbound: &Inbound, clients: &Clients) -> bool {
    let headers = &inbound.headers;
    match endpoint {
        // A provider sends the person here, and not a picture or a frame of some page.
        Endpoint::ProviderCallback => said(headers, "sec-fetch-dest").is_some_and(|place| place != "document"),
        // Apps send browsers here, and load nothing from here.
        Endpoint::Authorize => said(headers, "sec-fetch-mode").is_some_and(|mode| mode != "navigate"),
        _ => match said(headers, "sec-fetch-site") {
            None | Some("same-origin" | "none") => false,
            Some(_) => {
                let shared = sharing(endpoint) == Some(Sharing::Token);
                !(shared && said(headers, "sec-fetch-mode") == Some("cors") && is_registered(headers, clients))
            }
        },
    }
}

/// Who presents the credentials in `inbound`.
pub(super) fn presenter(inbound: &Inbound, clients: &Clients) -> Presenter {
    let unverified = said(&inbound.headers, ORIGIN.as_str()).is_some_and(|origin| clients.is_unverified_origin(origin));
    Presenter::new(inbound.peer.ip(), unverified)
}

/// Whether the browser says that a page of another site sent it here.
pub(super) fn is_sent_by_a_page(headers: &HeaderMap) -> bool {
    matches!(said(headers, "sec-fetch-site"), Some("cross-site" | "same-site"))
}

fn is_registered(headers: &HeaderMap, clients: &Clients) -> bool {
    said(headers, ORIGIN.as_str()).is_some_and(|origin| clients.has_origin(origin))
}

/// The value of a header; where it is sent twice, one that nobody means.
fn said<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return Some("");
    }
    Some(value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::clients::tests::client;
    use crate::config::ClientAuthentication;

    fn foreign(endpoint: Endpoint, headers: &[(&str, &str)]) -> bool {
        let clients = Clients::new(&[client("app", ClientAuthentication::None)]).unwrap();
        let mut inbound = Inbound::for_test("POST", "/token");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            inbound.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        is_of_foreign_page(endpoint, &inbound, &clients)
    }

    #[test]
    fn programs_our_pages_and_registered_apps_may_try() {
        let cors = ("sec-fetch-mode", "cors");
        for fine in [
            &[][..],
            &[("origin", "https://evil.example")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate")],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            &[("sec-fetch-site", "cross-site"), cors, ("origin", "https://app.example.org")],
            &[("sec-fetch-site", "same-site"), cors, ("origin", "https://app.example.org")],
        ] {
            assert!(!foreign(Endpoint::Token, fine), "{fine:?}");
        }
    }

    #[test]
    fn other_pages_may_not_whatever_way_they_take() {
        for site in ["cross-site", "same-site", "odd"] {
            let site = ("sec-fetch-site", site);
            for more in [
                &[("sec-fetch-mode", "navigate"), ("origin", "https://evil.example")][..],
                &[("sec-fetch-mode", "navigate"), ("origin", "https://app.example.org")],
                &[("sec-fetch-mode", "no-cors"), ("origin", "https://app.example.org")],
                &[("sec-fetch-mode", "cors"), ("origin", "https://evil.example")],
                &[("sec-fetch-mode", "cors"), ("origin", "null")],
                &[("sec-fetch-mode", "cors")],
                &[
                    ("sec-fetch-mode", "cors"),
                    ("origin", "https://app.example.org"),
                    ("origin", "https://evil.example"),
                ],
                &[],
            ] {
                assert!(foreign(Endpoint::Token, &[&[site], more].concat()), "{site:?} {more:?}");
            }
        }
        assert!(foreign(Endpoint::Token, &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn an_apps_page_tries_where_an_app_can_read_the_answer_and_nowhere_else() {
        let app = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors"), ("origin", "https://app.example.org")];
        for endpoint in [Endpoint::Token, Endpoint::PushedAuthorizationRequest, Endpoint::Revoke, Endpoint::UserInfo] {
            assert!(!foreign(endpoint, &app), "{endpoint:?}");
        }
        for endpoint in [
            Endpoint::Login,
            Endpoint::ManageLogin,
            Endpoint::LaunchContexts,
            Endpoint::Introspect,
            Endpoint::BackChannelLogout,
            Endpoint::Register,
            Endpoint::Registered,
        ] {
            assert!(foreign(endpoint, &app), "{endpoint:?}");
            assert!(!foreign(endpoint, &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")]));
        }
    }

    #[test]
    fn an_app_sends_people_and_loads_nothing() {
        for (mode, refused) in [("navigate", false), ("no-cors", true), ("cors", true), ("same-origin", true)] {
            let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode)];
            assert_eq!(foreign(Endpoint::Authorize, &headers), refused, "{mode}");
        }
        assert!(!foreign(Endpoint::Authorize, &[]));
    }

    #[test]
    fn a_provider_sends_people_and_no_pictures() {
        let callback = Endpoint::ProviderCallback;
        assert!(!foreign(callback, &[]));
        assert!(!foreign(callback, &[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")]));
        for place in ["image", "iframe", "empty", "script", "object"] {
            assert!(foreign(callback, &[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", place)]), "{place}");
        }
    }
}
