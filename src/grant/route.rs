//! Which endpoint of the grant path a request is for. Paths are compared as they are on the wire: nothing is decoded,
//! normalised or shortened, so every endpoint has one spelling.

/// Path of the authorization endpoint below the origin.
pub const AUTHORIZE: &str = "/authorize";
/// Path of the token endpoint below the origin.
pub const TOKEN: &str = "/token";
/// Path of the public keys below the origin.
pub const JWKS: &str = "/jwks";
/// Path of the back channel for launch contexts below the origin.
pub const LAUNCH_CONTEXTS: &str = "/launch-contexts";

/// The endpoints of the grant path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `GET BASE/.well-known/smart-configuration` (SMART App Launch 2.2)
    SmartConfiguration,
    /// `GET /.well-known/openid-configuration` (OpenID Connect Discovery)
    OpenIdConfiguration,
    /// `GET /.well-known/oauth-authorization-server` (RFC 8414)
    AuthorizationServerMetadata,
    /// `GET /jwks` (RFC 7517)
    Jwks,
    /// `POST /launch-contexts`
    LaunchContexts,
    /// `GET` and `POST /authorize` (RFC 6749 section 3.1)
    Authorize,
    /// `GET /authorize/continue`: the browser's own next step, which carries its cookies
    Continue,
    /// `/login`
    Login,
    /// `/patient`: choice of patient and encounter
    PatientChoice,
    /// `/consent`
    Consent,
    /// `POST /token` (RFC 6749 section 3.2)
    Token,
    /// `GET /assets/...`: what the pages load
    Asset,
}

/// The endpoint at `path`; `None` when the path is none of ours. `fhir_path` is the configured path of the FHIR base.
#[must_use]
pub fn endpoint(path: &str, fhir_path: &str) -> Option<Endpoint> {
    match path {
        "/.well-known/openid-configuration" => Some(Endpoint::OpenIdConfiguration),
        "/.well-known/oauth-authorization-server" => Some(Endpoint::AuthorizationServerMetadata),
        JWKS => Some(Endpoint::Jwks),
        LAUNCH_CONTEXTS => Some(Endpoint::LaunchContexts),
        AUTHORIZE => Some(Endpoint::Authorize),
        "/authorize/continue" => Some(Endpoint::Continue),
        "/login" => Some(Endpoint::Login),
        "/patient" => Some(Endpoint::PatientChoice),
        "/consent" => Some(Endpoint::Consent),
        TOKEN => Some(Endpoint::Token),
        other if other.strip_prefix(fhir_path) == Some("/.well-known/smart-configuration") => {
            Some(Endpoint::SmartConfiguration)
        }
        other if other.starts_with("/assets/") => Some(Endpoint::Asset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_one_spelling() {
        assert_eq!(endpoint("/fhir/.well-known/smart-configuration", "/fhir"), Some(Endpoint::SmartConfiguration));
        assert_eq!(endpoint("/a/b/.well-known/smart-configuration", "/a/b"), Some(Endpoint::SmartConfiguration));
        assert_eq!(endpoint("/token", "/fhir"), Some(Endpoint::Token));
        for other in [
            "",
            "/",
            "/token/",
            "//token",
            "/Token",
            "/%74oken",
            "/fhir/token",
            "/fhir/../token",
            "/.well-known/smart-configuration",
            "/fhir/.well-known/openid-configuration",
            "/fhir//.well-known/smart-configuration",
        ] {
            assert_eq!(endpoint(other, "/fhir"), None, "{other}");
        }
    }
}
