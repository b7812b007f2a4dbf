//! Firebreak as a relying party: people log in with an OpenID provider (OpenID Connect Core 1.0, authorization code with PKCE).
//!
//! Takes the providers of the configuration; gives the URL to send a browser to, and, for the code that comes back, the user.
//! Promises: the discovery document, the keys and the token endpoint are those of the configured issuer and no other (RFC 9700
//! section 4.4); every ID token is checked in full ([`id_token`]); what it says about the person is taken only as far as the
//! configuration lets this provider assert it ([`claims`]). Documents are kept as long as the provider says, within bounds,
//! and an unknown key is asked for at most every half minute. No redirect is followed. Knows nothing of browsers, cookies and
//! transactions: that is `grant::provider_login`.

use std::sync::Arc;
use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, ExtraTokenFields, HttpRequest,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, StandardRevocableToken,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use url::Url;

use crate::clock::Clock;
use crate::config::{Config, Provider, ProviderAuthentication};
use crate::grant::records::User;
use crate::jose::{AssertionClaims, AssertionKey, ProviderKeys, SignatureProblem, Signed};
use crate::outbound::{Allowance, Guard, Outbound, OutboundError};
use crate::random;

pub mod claims;
mod documents;
mod error;
pub mod id_token;
pub mod logout_token;
pub mod metadata;
mod providers;

use documents::Kept;
pub use error::FederationError;
use id_token::{Expected, Freshness, IdTokenProblem};
use logout_token::{LoggedOut, LogoutTokenProblem};
use metadata::{Metadata, MetadataProblem};
pub use providers::Providers;

/// What one call to a provider may cost: an ID token lists every group of some people.
const ALLOWANCE: Allowance = Allowance { time: Duration::from_secs(5), bytes: 192 * 1024 };
/// Codes that are exchanged with one provider at the same time; more are turned away.
const AT_ONCE: usize = 64;
/// `typ` of ID tokens, where they have one.
const JWT: &[&str] = &["JWT"];
/// `typ` of logout tokens: the one that is recommended, and what providers sent before it was.
const LOGOUT_JWT: &[&str] = &["logout+jwt", "JWT"];
/// Seconds that a client assertion lives.
const ASSERTION_LIFETIME: i64 = 60;

/// We, as one provider knows us.
#[derive(Debug)]
pub struct RelyingParty {
    /// As configured.
    pub config: Provider,
    redirect_uri: String,
    post_logout_redirect_uri: String,
    fhir_base: String,
    outbound: Outbound,
    clock: Clock,
    key: Option<AssertionKey>,
    metadata: Kept<Metadata>,
    keys: Kept<ProviderKeys>,
    turns: Semaphore,
}

/// What a login at the provider is started with. All of it must come back, or be known when the code does.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Opaque, single use, bound to the browser.
    pub state: &'a str,
    /// Bound to the ID token.
    pub nonce: &'a str,
    /// PKCE (RFC 7636), 43 characters or more.
    pub verifier: &'a str,
    /// The person must log in anew.
    pub anew: bool,
    /// `max_age` of the app's request.
    pub max_age: Option<i64>,
    /// `login_hint` of the app's request.
    pub login_hint: Option<&'a str>,
}

/// What comes back, and what it is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Return<'a> {
    /// The code.
    pub code: &'a str,
    /// As started.
    pub nonce: &'a str,
    /// As started.
    pub verifier: &'a str,
    /// How lately the person must have logged in.
    pub freshness: Freshness,
}

/// A person who logged in at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// When, seconds since the epoch.
    pub auth_time: i64,
    /// `sid`, where the provider says it: its session with the person (OpenID Connect Back-Channel Logout 1.0 section 2.1).
    pub provider_session: Option<String>,
}

/// The user as far as the provider of its issuer may assert it today; `None` when there is none, or it may not.
#[must_use]
pub fn standing(config: &Config, user: &User) -> Option<User> {
    config.providers.iter().find(|provider| provider.issuer == user.iss).and_then(|found| claims::standing(found, user))
}

impl RelyingParty {
    fn new(config: &Config, provider: &Provider, clock: &Clock) -> Result<Self, String> {
        let outbound = Outbound::new(provider.ca.as_deref().or(config.outbound_ca.as_deref()))
            .map_err(|error| error.to_string())?;
        let key = match &provider.authentication {
            ProviderAuthentication::PrivateKey(pem) => {
                Some(AssertionKey::parse(pem).ok_or("`private_key_file` cannot be used")?)
            }
            ProviderAuthentication::None | ProviderAuthentication::Secret(_) => None,
        };
        Ok(Self {
            redirect_uri: format!("{}{}{}", config.issuer(), crate::grant::route::LOGIN_CALLBACK, provider.id),
            post_logout_redirect_uri: format!(
                "{}{}{}",
                config.issuer(),
                crate::grant::route::LOGOUT_CALLBACK,
                provider.id
            ),
            fhir_base: config.fhir_base(),
            outbound: outbound.with(ALLOWANCE),
            clock: clock.clone(),
            key,
            config: provider.clone(),
            metadata: Kept::default(),
            keys: Kept::default(),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// What must be registered at the provider.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// What must be registered there as a post-logout redirect URI.
    #[must_use]
    pub fn post_logout_redirect_uri(&self) -> &str {
        &self.post_logout_redirect_uri
    }

    /// The thumbprint of the key by which we authenticate there, when it is one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key.as_ref().map(AssertionKey::kid)
    }

    /// The discovery document.
    ///
    /// # Errors
    /// [`FederationError`], when there is none that may still be used.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, FederationError> {
        self.metadata.current(&self.clock, || self.fetch_metadata()).await
    }

    /// The keys that sign ID tokens now.
    ///
    /// # Errors
    /// [`FederationError`], when there are none that may still be used.
    pub async fn keys(&self) -> Result<Arc<ProviderKeys>, FederationError> {
        let metadata = self.metadata().await?;
        self.keys.current(&self.clock, || self.fetch_keys(&metadata)).await
    }

    async fn fetch_metadata(&self) -> Result<(Metadata, Option<i64>), FederationError> {
        let location =
            metadata::location(&self.config.issuer).ok_or(FederationError::Metadata(MetadataProblem::Issuer))?;
        let (body, max_age) = documents::fetch(&self.outbound, &location, "discovery document").await?;
        let metadata = Metadata::parse(&body, &self.config.issuer).map_err(FederationError::Metadata)?;
        Ok((metadata, max_age))
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<(ProviderKeys, Option<i64>), FederationError> {
        let (body, max_age) = documents::fetch(&self.outbound, &metadata.jwks_uri, "jwks_uri").await?;
        let keys = ProviderKeys::parse(&body).filter(|keys| !keys.is_empty()).ok_or(FederationError::Keys)?;
        Ok((keys, max_age))
    }

    /// Where the browser goes to log in (OpenID Connect Core section 3.1.2.1).
    ///
    /// # Errors
    /// [`FederationError`]: the provider's endpoints are not known.
    pub async fn authorization_url(&self, start: &Start<'_>) -> Result<Url, FederationError> {
        let metadata = self.metadata().await?;
        let client = self.client(&metadata)?;
        let verifier = PkceCodeVerifier::new(start.verifier.to_owned());
        let scopes = self.config.scopes.iter().cloned().map(Scope::new);
        let mut request = client
            .authorize_url(|| CsrfToken::new(start.state.to_owned()))
            .add_scopes(scopes)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_extra_param("nonce", start.nonce);
        if start.anew {
            // `max_age` besides, for with it the provider must say when the person logged in.
            request = request.add_extra_param("prompt", "login").add_extra_param("max_age", "0");
        } else if let Some(max_age) = start.max_age {
            request = request.add_extra_param("max_age", max_age.to_string());
        }
        if let Some(hint) = start.login_hint {
            request = request.add_extra_param("login_hint", hint);
        }
        Ok(request.url().0)
    }

    /// Whether `iss` of the authorization response is as it must be (RFC 9207 section 2.4).
    ///
    /// # Errors
    /// [`FederationError`]: it is not known whether the provider names itself.
    pub async fn is_response_of(&self, iss: Option<&str>) -> Result<bool, FederationError> {
        match iss {
            Some(iss) => Ok(iss == self.config.issuer),
            None => Ok(!self.metadata().await?.names_issuer),
        }
    }

    /// Where the browser is sent after a logout here, to log out there too (OpenID Connect RP-Initiated Logout 1.0 section 2);
    /// `None` when the provider has no such place, cannot say so now, or is configured not to be asked. It knows us by
    /// `client_id`: ID tokens are not kept, so the person is asked there before anything ends.
    pub async fn end_session_endpoint(&self) -> Option<Url> {
        let wanted = self.config.rp_initiated_logout;
        self.metadata().await.ok().filter(|_| wanted)?.end_session_endpoint.clone()
    }

    /// `endpoint` with what it is told. `state` comes back with the person.
    #[must_use]
    pub fn end_session_url(&self, endpoint: &Url, state: &str) -> Url {
        let mut url = endpoint.clone();
        url.query_pairs_mut()
            .append_pair("client_id", &self.config.client_id)
            .append_pair("post_logout_redirect_uri", &self.post_logout_redirect_uri)
            .append_pair("state", state);
        url
    }

    /// Whom the provider logged out (OpenID Connect Back-Channel Logout 1.0 section 2.6).
    ///
    /// # Errors
    /// [`FederationError`]
    pub async fn logged_out(&self, token: &str) -> Result<LoggedOut, FederationError> {
        let _turn = self.turns.try_acquire().map_err(|_| FederationError::Busy)?;
        let metadata = self.metadata().await?;
        let signed = self.signed(&metadata, token, LOGOUT_JWT).await.map_err(|error| match error {
            FederationError::IdToken(_) => FederationError::LogoutToken(LogoutTokenProblem::Signature),
            other => other,
        })?;
        let now = self.clock.unix_seconds();
        logout_token::check(&signed.claims, &self.config.issuer, &self.config.client_id, now)
            .map_err(FederationError::LogoutToken)
    }

    /// Exchanges the code and checks what comes for it.
    ///
    /// # Errors
    /// [`FederationError`]
    pub async fn log_in(&self, back: &Return<'_>) -> Result<LoggedIn, FederationError> {
        let _turn = self.turns.try_acquire().map_err(|_| FederationError::Busy)?;
        let metadata = self.metadata().await?;
        let tokens = self.exchange(&metadata, back.code, back.verifier).await?;
        let id_token = &tokens.extra_fields().id_token;
        let id_token = id_token.as_deref().ok_or(FederationError::IdToken(IdTokenProblem::Missing))?;
        let signed = self.signed(&metadata, id_token, JWT).await?;
        let expected = Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce: back.nonce,
            access_token: tokens.access_token().secret(),
            freshness: back.freshness,
            now: self.clock.unix_seconds(),
        };
        let subject = id_token::check(&signed, &expected).map_err(FederationError::IdToken)?;
        let user = claims::user(&self.config, &self.fhir_base, &subject.sub, &signed.claims)
            .map_err(FederationError::NotAllowed)?;
        let provider_session = logout_token::session(&signed.claims);
        Ok(LoggedIn { user, auth_time: subject.auth_time, provider_session })
    }

    /// The claims of a token that the provider signed; its keys are asked for anew, once in a while, when it names an unknown one.
    async fn signed(&self, metadata: &Metadata, token: &str, types: &[&str]) -> Result<Signed, FederationError> {
        let invalid = |problem| FederationError::IdToken(IdTokenProblem::Signature(problem));
        match self.keys().await?.verify(token, types) {
            Err(SignatureProblem::UnknownKey) => {
                let renewed = self.keys.renewed(&self.clock, || self.fetch_keys(metadata)).await?;
                renewed.verify(token, types).map_err(invalid)
            }
            verified => verified.map_err(invalid),
        }
    }

    async fn exchange(&self, metadata: &Metadata, code: &str, verifier: &str) -> Result<Tokens, FederationError> {
        let client = self.client(metadata)?;
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
        if let Some(key) = &self.key {
            let claims = AssertionClaims {
                client_id: &self.config.client_id,
                audience: metadata.token_endpoint.as_str(),
                now: self.clock.unix_seconds(),
                lifetime: ASSERTION_LIFETIME,
                id: &random::handle(),
            };
            let assertion = key.sign(claims).ok_or(FederationError::Refused)?;
            request = request
                .add_extra_param("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                .add_extra_param("client_assertion", assertion);
        }
        let http = |request: HttpRequest| {
            let outbound = self.outbound.clone();
            async move {
                let answer = outbound.send(request.map(Into::into), Guard::Operator).await?;
                Ok::<_, OutboundError>(answer.map(Into::into))
            }
        };
        // What a failed exchange says may hold what was sent: nothing of it is passed on.
        request.request_async(&http).await.map_err(|error| match error {
            RequestTokenError::Request(error) => FederationError::Unreachable("token endpoint", error),
            RequestTokenError::ServerResponse(_) => FederationError::Refused,
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => FederationError::TokenResponse,
        })
    }

    fn client(&self, metadata: &Metadata) -> Result<Client, FederationError> {
        let endpoint = |name| FederationError::Metadata(MetadataProblem::Endpoint(name));
        let authorization = AuthUrl::new(metadata.authorization_endpoint.to_string());
        let token = TokenUrl::new(metadata.token_endpoint.to_string());
        let redirect = RedirectUrl::new(self.redirect_uri.clone());
        let client = oauth2::Client::new(ClientId::new(self.config.client_id.clone()))
            .set_auth_uri(authorization.map_err(|_| endpoint("authorization_endpoint"))?)
            .set_token_uri(token.map_err(|_| endpoint("token_endpoint"))?)
            .set_redirect_uri(redirect.map_err(|_| endpoint("redirect_uri"))?);
        Ok(match &self.config.authentication {
            ProviderAuthentication::None | ProviderAuthentication::PrivateKey(_) => client,
            ProviderAuthentication::Secret(secret) => {
                let place = if metadata.secret_in_body { AuthType::RequestBody } else { AuthType::BasicAuth };
                client.set_client_secret(ClientSecret::new(secret.expose().to_owned())).set_auth_type(place)
            }
        })
    }
}

/// The member that OpenID Connect adds to the token response.
#[derive(Deserialize, Serialize)]
struct IdTokenField {
    id_token: Option<String>,
}

impl std::fmt::Debug for IdTokenField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdTokenField(..)")
    }
}

impl ExtraTokenFields for IdTokenField {}

type Tokens = StandardTokenResponse<IdTokenField, BasicTokenType>;

type Client = oauth2::Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    oauth2::EndpointSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;
