//! Which endpoint of the grant path a request is for. Paths are compared as they are on the wire: nothing is decoded,
//! normalised or shortened, so every endpoint has one spelling.

/// Path of the authorization endpoint below the origin.
pub const AUTHORIZE: &str = "/authorize";
/// Path of the token endpoint below the origin.
pub const TOKEN: &str = "/token";
/// Path of the User-access Brands bundle below the origin.
pub const BRANDS: &str = "/brands";
/// Path of the pushed authorization request endpoint below the origin.
pub const PAR: &str = "/par";
/// Path of the public keys below the origin.
pub const JWKS: &str = "/jwks";
/// Path of the back channel for launch contexts below the origin.
pub const LAUNCH_CONTEXTS: &str = "/launch-contexts";

/// Path of the introspection endpoint below the origin.
pub const INTROSPECT: &str = "/introspect";
/// Path of the revocation endpoint below the origin.
pub const REVOKE: &str = "/revoke";
/// Path of the userinfo endpoint below the origin.
pub const USERINFO: &str = "/userinfo";
/// Path of the registration endpoint below the origin.
pub const REGISTER: &str = "/register";
/// What stands in front of a client's id in the path of its client configuration endpoint.
pub const REGISTERED: &str = "/register/";
/// Path of the start of a login with an OpenID provider.
pub const LOGIN_PROVIDER: &str = "/login/provider";
/// What the paths begin with to which OpenID providers send people back; the provider's id follows.
pub const LOGIN_CALLBACK: &str = "/login/callback/";
/// Path of the management page below the origin.
pub const MANAGE: &str = "/manage";
/// Path of the logout page below the origin.
pub const LOGOUT: &str = "/logout";
/// What the paths begin with to which OpenID providers send people back after a logout; the provider's id follows.
pub const LOGOUT_CALLBACK: &str = "/logout/callback/";
/// What the paths begin with at which OpenID providers say that somebody logged out; the provider's id follows.
pub const BACK_CHANNEL_LOGOUT: &str = "/logout/back-channel/";

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
    /// `GET /brands`: the User-access Brands bundle (SMART App Launch 2.2)
    Brands,
    /// `POST /launch-contexts`
    LaunchContexts,
    /// `POST /par` (RFC 9126)
    PushedAuthorizationRequest,
    /// `GET` and `POST /authorize` (RFC 6749 section 3.1)
    Authorize,
    /// `GET /authorize/continue`: the browser's own next step, which carries its cookies
    Continue,
    /// `/login`
    Login,
    /// `POST /login/provider`: to an OpenID provider
    ProviderLogin,
    /// `GET /login/callback/ID`: back from it
    ProviderCallback,
    /// `/patient`: choice of patient and encounter
    PatientChoice,
    /// `/consent`
    Consent,
    /// `POST /token` (RFC 6749 section 3.2)
    Token,
    /// `POST /introspect` (RFC 7662)
    Introspect,
    /// `POST /revoke` (RFC 7009)
    Revoke,
    /// `GET` and `POST /userinfo` (OpenID Connect Core section 5.3)
    UserInfo,
    /// `POST /register` (RFC 7591)
    Register,
    /// `/register/<client_id>` (RFC 7592)
    Registered,
    /// `/manage`: what the user has allowed, to be withdrawn
    Manage,
    /// `POST /manage/login`: user name and password, without an app
    ManageLogin,
    /// `POST /manage/provider`: to an OpenID provider, without an app
    ManageProvider,
    /// `/logout` (OpenID Connect RP-Initiated Logout 1.0)
    Logout,
    /// `GET /logout/callback/ID`: back from a logout at an OpenID provider
    LogoutCallback,
    /// `POST /logout/back-channel/ID` (OpenID Connect Back-Channel Logout 1.0)
    BackChannelLogout,
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
        BRANDS => Some(Endpoint::Brands),
        LAUNCH_CONTEXTS => Some(Endpoint::LaunchContexts),
        PAR => Some(Endpoint::PushedAuthorizationRequest),
        AUTHORIZE => Some(Endpoint::Authorize),
        "/authorize/continue" => Some(Endpoint::Continue),
        "/login" => Some(Endpoint::Login),
        LOGIN_PROVIDER => Some(Endpoint::ProviderLogin),
        "/patient" => Some(Endpoint::PatientChoice),
        "/consent" => Some(Endpoint::Consent),
        TOKEN => Some(Endpoint::Token),
        INTROSPECT => Some(Endpoint::Introspect),
        REVOKE => Some(Endpoint::Revoke),
        USERINFO => Some(Endpoint::UserInfo),
        REGISTER => Some(Endpoint::Register),
        registered if registered.starts_with(REGISTERED) => Some(Endpoint::Registered),
        MANAGE => Some(Endpoint::Manage),
        "/manage/login" => Some(Endpoint::ManageLogin),
        "/manage/provider" => Some(Endpoint::ManageProvider),
        LOGOUT => Some(Endpoint::Logout),
        other if other.strip_prefix(fhir_path) == Some("/.well-known/smart-configuration") => {
            Some(Endpoint::SmartConfiguration)
        }
        other if other.starts_with(LOGIN_CALLBACK) => Some(Endpoint::ProviderCallback),
        other if other.starts_with(LOGOUT_CALLBACK) => Some(Endpoint::LogoutCallback),
        other if other.starts_with(BACK_CHANNEL_LOGOUT) => Some(Endpoint::BackChannelLogout),
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
            "/registers",
            "/Register",
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
