//! What a client may be configured to, by the names of RFC 7591 section 2 where it has them.

use std::time::Duration;

use url::Url;

use crate::jose::AssertionAlgorithm;
use crate::outbound::Guard;
use crate::secret::Digest;

/// A registered client (RFC 7591 section 2 names). The default has no name and may do nothing.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct Client {
    /// `client_id`
    pub client_id: String,
    /// `client_name`, shown at consent.
    pub client_name: String,
    /// How it authenticates.
    pub authentication: ClientAuthentication,
    /// Where it sends its secret, when it has one.
    pub secret_sent: SecretSent,
    /// Exact redirect URIs.
    pub redirect_uris: Vec<String>,
    /// Launch URLs; empty: not registered for EHR launch.
    pub launch_urls: Vec<Url>,
    /// Origins for CORS; derived from the redirect URIs when empty.
    pub origins: Vec<String>,
    /// The most this client can be granted, as scope text (`launch/patient patient/*.rs openid fhirUser offline_access`).
    pub scope: String,
    /// What it may present at the token endpoint.
    pub grant_types: Vec<GrantType>,
    /// Approved by the site: the consent page is skipped.
    pub approved: bool,
    /// Registered itself, and nobody of this site has looked at it: said at consent, which is asked for each time.
    pub unverified: bool,
    /// An EHR that may post launch contexts.
    pub ehr: Option<Ehr>,
    /// How it reads `fhirContext`.
    pub fhir_context_form: FhirContextForm,
    /// May look up whether tokens of any client are good (RFC 7662).
    pub introspects: bool,
    /// Where a browser may be sent after its logout (OpenID Connect RP-Initiated Logout 1.0 section 3.1); compared exactly.
    pub post_logout_redirect_uris: Vec<String>,
    /// Whether its tokens are bound to a key of its own (RFC 9449).
    pub dpop: Dpop,
    /// Its proofs must have a nonce of ours (RFC 9449 section 8).
    pub dpop_nonces: bool,
    /// Its authorization requests must be pushed (RFC 9126 section 6).
    pub require_pushed_authorization_requests: bool,
    /// The one algorithm that it signs its assertions with (RFC 7591 registry); `None`: any that is served.
    pub token_endpoint_auth_signing_alg: Option<AssertionAlgorithm>,
    /// Whom its assertions must be addressed to.
    pub assertion_audience: AssertionAudience,
    /// Lifetime of the access tokens that it gets for itself (`client_credentials`); `None`: five minutes.
    pub access_token_lifetime: Option<Duration>,
    /// Roles of the policies in which it acts for itself.
    pub roles: Vec<String>,
}

/// Whom a client's assertions must be addressed to by `aud`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The URL of the endpoint or the token endpoint (SMART App Launch 2.2), or the issuer.
    #[default]
    Endpoint,
    /// The issuer alone (the revision of RFC 7523, FAPI 2.0).
    Issuer,
}

/// How an app reads `fhirContext`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FhirContextForm {
    /// Objects (SMART App Launch 2.1 and later).
    #[default]
    Objects,
    /// Relative references as strings (2.0 and earlier).
    Strings,
}

/// Whether a client's tokens are bound to a key that the client proves with each request (RFC 9449).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dpop {
    /// Proofs are ignored: all its tokens are bearer tokens.
    Off,
    /// A token that is asked for with a proof is bound to its key.
    #[default]
    Optional,
    /// Without a proof no token is given (`dpop_bound_access_tokens` of RFC 9449 section 5.2).
    Required,
}

/// OAuth grant types that a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// RFC 6749 section 4.1
    AuthorizationCode,
    /// RFC 6749 section 6
    RefreshToken,
    /// RFC 6749 section 4.4, for the client itself (SMART App Launch 2.2, "backend services")
    ClientCredentials,
    /// RFC 8693, of the client's own access tokens for narrower ones
    TokenExchange,
}

/// How a client authenticates at the back channel (RFC 7591 `token_endpoint_auth_method`).
#[derive(Clone, Debug, Default)]
pub enum ClientAuthentication {
    /// `none`: a public client.
    #[default]
    None,
    /// `client_secret_basic` or `client_secret_post`: the digest of a high-entropy secret.
    Secret(Digest),
    /// `private_key_jwt`: an inline JWK Set (RFC 7517) as JSON text.
    PrivateKeyJwt {
        /// The client's public keys.
        jwks: String,
    },
    /// `private_key_jwt`: the URL of a JWK Set (`jwks_uri`, RFC 7591 section 2).
    PrivateKeyJwtByUrl {
        /// Where the client publishes its keys.
        jwks_uri: JwksUri,
        /// How far the URL is trusted: by who wrote it down.
        guard: Guard,
    },
}

/// Where a client sends its secret (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretSent {
    /// Nobody said: one place of the two with each request.
    #[default]
    Either,
    /// `client_secret_basic`: the `Authorization` header.
    Basic,
    /// `client_secret_post`: the form.
    Post,
}

impl SecretSent {
    /// Whether a secret that came in `place` came where it should.
    #[must_use]
    pub fn covers(self, place: Self) -> bool {
        self == Self::Either || self == place
    }
}

/// A `jwks_uri`, and its text as registered, which is what a `jku` is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUri {
    /// As written.
    pub text: String,
    /// As called.
    pub url: Url,
}

impl JwksUri {
    /// Reads the URL; `None`: it is none, or one that `guard` would not let be called whatever its name resolves to.
    #[must_use]
    pub fn parse(text: &str, guard: Guard) -> Option<Self> {
        let url = Url::parse(text).ok().filter(|url| guard.allows(url) && url.fragment().is_none())?;
        Some(Self { text: text.to_owned(), url })
    }
}

impl ClientAuthentication {
    /// Whether the client proves the possession of a private key.
    #[must_use]
    pub fn is_private_key_jwt(&self) -> bool {
        matches!(self, Self::PrivateKeyJwt { .. } | Self::PrivateKeyJwtByUrl { .. })
    }

    /// Where the client publishes its keys, as it registered it.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        match self {
            Self::PrivateKeyJwtByUrl { jwks_uri, .. } => Some(&jwks_uri.text),
            Self::None | Self::Secret(_) | Self::PrivateKeyJwt { .. } => None,
        }
    }
}

/// What an EHR client may do.
#[derive(Clone, Debug, Default)]
pub struct Ehr {
    /// Its launch contexts may log their user in.
    pub vouches_for_users: bool,
    /// Issuers of users that it may name; empty: only our own.
    pub user_issuers: Vec<String>,
    /// fhirUser resource types that it may assert. A user of ours whom it logs in is of one of them, too, unless it is empty.
    pub user_types: Vec<String>,
    /// Roles that users it vouches for receive.
    pub roles: Vec<String>,
    /// Origins of its pages that may show our pages in a frame, in launches of this EHR.
    pub frame_ancestors: Vec<String>,
    /// A launch in a frame is bound by a partitioned cookie (CHIPS) and goes on there; otherwise it leads to a new window.
    pub partitioned_cookies: bool,
}

impl Ehr {
    /// Whether it may name users of this issuer; `ours`: it is our own.
    #[must_use]
    pub fn names_users_of(&self, issuer: &str, ours: bool) -> bool {
        if self.user_issuers.is_empty() { ours } else { self.user_issuers.iter().any(|known| known == issuer) }
    }

    /// Whether it may assert a user of this type.
    #[must_use]
    pub fn asserts_type(&self, resource_type: &str) -> bool {
        self.user_types.iter().any(|allowed| allowed == resource_type)
    }
}
