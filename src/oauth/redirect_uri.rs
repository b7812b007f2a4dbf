//! Redirect URIs are compared as strings (RFC 9700 section 2.1); the port of a loopback address may differ for native
//! clients (RFC 8252 section 7.3).

use url::Url;

/// Whether `text` can be registered (SMART App Launch 2.2 "register app with EHR"): absolute, written out, no fragment, no
/// user; https, or http on loopback, or a private scheme of a native app (RFC 8252 section 7).
///
/// # Errors
/// What is expected of it, to be read after "a redirect URI".
pub fn acceptable(text: &str) -> Result<(), &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>']) {
        return Err("must be written in ASCII, without spaces, quotes and angle brackets");
    }
    let url = Url::parse(text).map_err(|_| "must be an absolute URI")?;
    if url.fragment().is_some() {
        return Err("must have no fragment");
    }
    if text.contains('*') {
        return Err("must be written out: wildcards are not served");
    }
    // `https:app.example` is absolute here, and relative to our own origin in the browser that is sent there.
    let scheme = url.scheme();
    let written_out = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    if matches!(scheme, "http" | "https") && written_out.is_none_or(|rest| rest.starts_with('/')) {
        return Err("must be written out: `https://` in lower case, then the host");
    }
    let no_user = url.username().is_empty() && url.password().is_none();
    match scheme {
        "https" if no_user => Ok(()),
        "http" if matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) && no_user => Ok(()),
        "http" | "https" => Err("must be https without a user, or http on loopback"),
        scheme if scheme.contains('.') => Ok(()),
        _ => Err("must be https, http on loopback, or a private scheme with a dot, as `org.example.app:/callback`"),
    }
}

/// Whether `sent` is `registered` with a port: where that is `http://127.0.0.1/...` or `http://[::1]/...` without one.
#[must_use]
pub fn differs_in_port(registered: &str, sent: &str) -> bool {
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

    // R1
    #[test]
    fn only_a_uri_that_is_written_out_can_be_registered() {
        for good in [
            "https://app.example.org/cb?x=1",
            "http://127.0.0.1/cb",
            "http://[::1]:7000/cb",
            "http://localhost:3000/",
            "org.example.app:/callback",
        ] {
            assert_eq!(acceptable(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/cb",
            "app.example.org/cb",
            "https://app.example.org/cb#",
            "https://app.example.org/*",
            "https://*.example.org/cb",
            "https://user@app.example.org/cb",
            "https://:pass@app.example.org/cb",
            "http://app.example.org/cb",
            "http://127.0.0.1.example.org/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "myapp:/cb",
            " https://app.example.org/cb",
            "https://app.example.org/\n",
            "https://app.example.org\\@evil.example/",
            "https:app.example.org/cb",
            "https:/app.example.org/cb",
            "https:///app.example.org/cb",
            "HTTPS://app.example.org/cb",
        ] {
            assert!(acceptable(bad).is_err(), "{bad}");
        }
    }

    // A3
    #[test]
    fn only_the_port_of_a_loopback_address_may_differ() {
        let fits = |sent: &str| ["http://127.0.0.1/cb", "http://[::1]/cb"].iter().any(|own| differs_in_port(own, sent));
        for good in ["http://127.0.0.1:51004/cb", "http://[::1]:1/cb"] {
            assert!(fits(good), "{good}");
        }
        for bad in [
            "http://127.0.0.1/cb",
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
            assert!(!fits(bad), "{bad}");
        }
        assert!(!differs_in_port("http://127.0.0.1:9000/cb", "http://127.0.0.1:9001/cb"), "registered with a port");
        assert!(!differs_in_port("http://localhost/cb", "http://localhost:1/cb"));
    }
}
