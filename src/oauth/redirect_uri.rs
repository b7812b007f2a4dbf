//! Redirect URIs are compared as strings (RFC 9700 section 2.1); the port of a loopback address may differ for native
//! clients (RFC 8252 section 7.3).

use crate::config::{Client, ClientAuthentication};

/// Whether `sent` is a redirect URI of `client`: byte by byte one that is registered, or, for a public client, one that is
/// registered as `http://127.0.0.1/...` or `http://[::1]/...` without a port, sent with any port.
#[must_use]
pub fn is_registered(client: &Client, sent: &str) -> bool {
    let native = matches!(client.authentication, ClientAuthentication::None);
    client.redirect_uris.iter().any(|registered| registered == sent || (native && differs_in_port(registered, sent)))
}

fn differs_in_port(registered: &str, sent: &str) -> bool {
    ["http://127.0.0.1", "http://[::1]"].into_iter().any(|loopback| {
        let (Some(path), Some(rest)) = (registered.strip_prefix(loopback), sent.strip_prefix(loopback)) else {
            return false;
        };
        let Some((port, sent_path)) = rest.strip_prefix(':').and_then(|rest| rest.split_once('/')) else {
            return false;
        };
        let is_port = !port.starts_with(['+', '0']) && port.parse::<u16>().is_ok();
        is_port && path.strip_prefix('/') == Some(sent_path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::clients::tests::client;

    // A3, B1 2, E1
    #[test]
    fn a_redirect_uri_that_differs_in_anything_is_not_registered() {
        let mut app = client("app", ClientAuthentication::None);
        app.redirect_uris = vec!["https://app.example.org/cb?x=1".to_owned()];
        assert!(is_registered(&app, "https://app.example.org/cb?x=1"));
        for other in [
            "",
            "https://app.example.org/cb",
            "https://app.example.org/cb?x=1&y=2",
            "https://app.example.org/cb?x=1#",
            "https://app.example.org/CB?x=1",
            "https://APP.example.org/cb?x=1",
            "https://app.example.org:443/cb?x=1",
            "https://app.example.org/cb/?x=1",
            "https://app.example.org/a/../cb?x=1",
            "https://user@app.example.org/cb?x=1",
            "http://app.example.org/cb?x=1",
            "https://app.example.org.evil.example/cb?x=1",
        ] {
            assert!(!is_registered(&app, other), "{other}");
        }
    }

    #[test]
    fn only_the_port_of_a_native_clients_loopback_address_may_differ() {
        let mut app = client("app", ClientAuthentication::None);
        app.redirect_uris = vec!["http://127.0.0.1/cb".to_owned(), "http://[::1]/cb".to_owned()];
        for good in ["http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://[::1]:1/cb"] {
            assert!(is_registered(&app, good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:51004/cb/",
            "http://127.0.0.1:51004/cb?x",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:+1/cb",
            "http://127.0.0.1:1@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost:51004/cb",
            "https://127.0.0.1:51004/cb",
        ] {
            assert!(!is_registered(&app, bad), "{bad}");
        }
        app.redirect_uris = vec!["http://127.0.0.1:9000/cb".to_owned()];
        assert!(!is_registered(&app, "http://127.0.0.1:9001/cb"), "registered with a port");
        let mut confidential = client("app", ClientAuthentication::Secret(crate::secret::Digest::of("s")));
        confidential.redirect_uris = vec!["http://127.0.0.1/cb".to_owned()];
        assert!(!is_registered(&confidential, "http://127.0.0.1:9001/cb"));
    }
}
