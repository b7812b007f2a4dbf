//! Client authentication at the back channel (RFC 6749 section 2.3, RFC 7523, SMART App Launch 2.2).
//!
//! Takes a request, gives the registered client that made it, by exactly one method, the one that is registered. An unknown
//! client costs the same work and gets the same answer as a wrong secret, and a secret that comes by another way than it is
//! registered for is as good as none. The keys of a client that has them at a URL are
//! fetched only for an assertion that is good in all but its signature.

use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::header::AUTHORIZATION;

use super::back_channel_form::Form;
use crate::clients::key_sets::KeySets;
use crate::clients::{Clients, RegisteredClient};
use crate::config::{AssertionAudience, ClientAuthentication, SecretSent};
use crate::jose::ClientKeys;
use crate::jose::assertion::{Expected, SKEW, Unverified};
use crate::listen::Inbound;
use crate::oauth::error::{Challenge, OAuthError, OAuthErrorKind};
use crate::secret::{Digest, Secret};
use crate::store::{Entry, Kind, Store};

/// `client_assertion_type` of RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Base64 as the clients in use write it: with or without padding.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is needed to authenticate a client.
#[derive(Clone, Debug)]
pub struct Authenticator<'a> {
    /// Who is registered.
    pub clients: &'a Clients,
    /// Where assertions are remembered.
    pub store: &'a dyn Store,
    /// The keys of clients that have them at a URL.
    pub key_sets: &'a KeySets,
    /// What an assertion's `aud` may be besides `issuer`: the URL of this endpoint, the token endpoint. Not asked for clients
    /// whose assertions are for the issuer alone.
    pub audiences: [String; 2],
    /// Our issuer, always an audience.
    pub issuer: String,
    /// Seconds since the epoch.
    pub now: i64,
}

/// Who made the request.
#[derive(Clone, Debug)]
pub enum Requester {
    /// A client that authenticated as registered; a public one by its `client_id` alone.
    Client(Arc<RegisteredClient>),
    /// Neither a `client_id` nor any credentials were sent.
    Unnamed,
}

/// Credentials as sent.
enum Credentials<'a> {
    /// The two halves as they stand, then form-decoded: clients in use do not encode them (RFC 6749 section 2.3.1 does).
    Basic {
        raw: (String, Secret),
        decoded: (String, Secret),
    },
    Post {
        client_id: &'a str,
        secret: &'a str,
    },
    Assertion(&'a str),
    Public {
        client_id: &'a str,
    },
    Absent,
}

impl Authenticator<'_> {
    /// Authenticates the client of a form request.
    ///
    /// # Errors
    /// 401 `invalid_client`; 400 `invalid_request` for more than one method or two client ids; 400 `invalid_client` for an
    /// unknown `client_assertion_type`; 503.
    pub async fn authenticate(&self, inbound: &Inbound, form: &Form) -> Result<Requester, OAuthError> {
        let credentials = Credentials::of(inbound, form)?;
        let client = match credentials {
            Credentials::Absent => return Ok(Requester::Unnamed),
            Credentials::Public { client_id } => self.public(client_id)?,
            Credentials::Post { client_id, secret } => self.secret(client_id, secret, SecretSent::Post)?,
            Credentials::Basic { raw, decoded } => self
                .secret(&raw.0, raw.1.expose(), SecretSent::Basic)
                .or_else(|_| self.secret(&decoded.0, decoded.1.expose(), SecretSent::Basic))?,
            Credentials::Assertion(assertion) => self.assertion(assertion, Challenge::None).await?,
        };
        match form.value("client_id") {
            Some(named) if named != client.config.client_id => {
                Err(OAuthError::invalid_request("client_id and the credentials are expected to name the same client"))
            }
            _ => Ok(Requester::Client(client)),
        }
    }

    /// Authenticates the client that made `assertion`, and remembers it so that no copy is accepted.
    ///
    /// # Errors
    /// 401 `invalid_client` with `challenge`, or 503.
    pub async fn assertion(&self, assertion: &str, challenge: Challenge) -> Result<Arc<RegisteredClient>, OAuthError> {
        let refused = OAuthError::invalid_client(challenge);
        let unverified = Unverified::parse(assertion).map_err(|_| refused.clone())?;
        let own = [self.issuer.as_str()];
        let [endpoint, token_endpoint] = &self.audiences;
        let audiences = [endpoint, token_endpoint, self.issuer.as_str()];
        let found = self.clients.find(unverified.client_id());
        let Some(client) = found.filter(|client| client.config.authentication.is_private_key_jwt()) else {
            let _ = unverified.refuse(&Expected { audiences: &audiences, ..Expected::default() }, self.now);
            return Err(refused);
        };
        let authentication = &client.config.authentication;
        let expected = Expected {
            audiences: match client.config.assertion_audience {
                AssertionAudience::Endpoint => &audiences,
                AssertionAudience::Issuer => &own,
            },
            jwks_uri: authentication.jwks_uri(),
            algorithm: client.config.token_endpoint_auth_signing_alg,
        };
        unverified.check(&expected, self.now).map_err(|_| refused.clone())?;
        let fetched: Arc<ClientKeys>;
        let keys = match (authentication, &client.keys) {
            (ClientAuthentication::PrivateKeyJwt { .. }, Some(keys)) => keys,
            (ClientAuthentication::PrivateKeyJwtByUrl { jwks_uri, guard }, _) => {
                let kid = unverified.kid().map_err(|_| refused.clone())?;
                let keys = self.key_sets.with_key(&jwks_uri.url, *guard, kid, self.now).await;
                fetched = keys.map_err(|_| refused.clone())?;
                &fetched
            }
            _ => return Err(refused),
        };
        let assertion = unverified.verify(keys, &expected, self.now).map_err(|_| refused.clone())?;
        let (client_id, jti) = (&assertion.client_id, &assertion.jti);
        let key = Digest::of(&format!("{}:{client_id}{jti}", client_id.len()));
        let seen = Entry { value: Vec::new(), expires: assertion.expires + SKEW, owner: None };
        match self.store.put_if_absent(Kind::AssertionId, key, seen, self.now).await {
            Ok(true) => Ok(client),
            Ok(false) => Err(refused),
            Err(_) => Err(OAuthError::unavailable()),
        }
    }

    fn public(&self, client_id: &str) -> Result<Arc<RegisteredClient>, OAuthError> {
        self.clients
            .find(client_id)
            .filter(|client| matches!(client.config.authentication, ClientAuthentication::None))
            .ok_or(OAuthError::invalid_client(Challenge::None))
    }

    /// The client with this secret, when it is registered to send it so.
    fn secret(&self, client_id: &str, secret: &str, sent: SecretSent) -> Result<Arc<RegisteredClient>, OAuthError> {
        let client = self.clients.find(client_id);
        let (expected, may) = match client.as_ref().map(|client| &client.config) {
            Some(config) => match &config.authentication {
                ClientAuthentication::Secret(digest) => (*digest, config.secret_sent.covers(sent)),
                ClientAuthentication::None
                | ClientAuthentication::PrivateKeyJwt { .. }
                | ClientAuthentication::PrivateKeyJwtByUrl { .. } => (Digest([0; 32]), false),
            },
            None => (Digest([0; 32]), false),
        };
        let matches = Digest::of(secret).matches(&expected);
        let challenge = if sent == SecretSent::Basic { Challenge::Basic } else { Challenge::None };
        match client {
            Some(client) if may & matches => Ok(client),
            _ => Err(OAuthError::invalid_client(challenge)),
        }
    }
}

impl<'a> Credentials<'a> {
    fn of(inbound: &Inbound, form: &'a Form) -> Result<Self, OAuthError> {
        let basic = basic(inbound)?;
        let secret = form.value("client_secret");
        let assertion = form.value("client_assertion");
        let assertion_type = form.value("client_assertion_type");
        let asserts = assertion.is_some() || assertion_type.is_some();
        let methods = [basic.is_some(), secret.is_some(), asserts].into_iter().filter(|used| *used).count();
        if methods > 1 {
            return Err(OAuthError::invalid_request("exactly one way of client authentication is expected"));
        }
        if asserts {
            return match (assertion_type, assertion) {
                (Some(JWT_BEARER), Some(assertion)) => Ok(Self::Assertion(assertion)),
                _ => Err(OAuthError::new(
                    OAuthErrorKind::UnknownAssertionType,
                    "a client_assertion of the type urn:ietf:params:oauth:client-assertion-type:jwt-bearer is expected",
                )),
            };
        }
        if let Some(basic) = basic {
            return Ok(basic);
        }
        match (form.value("client_id"), secret) {
            (Some(client_id), Some(secret)) => Ok(Self::Post { client_id, secret }),
            (Some(client_id), None) => Ok(Self::Public { client_id }),
            (None, Some(_)) => Err(OAuthError::invalid_request("client_secret is expected together with client_id")),
            (None, None) => Ok(Self::Absent),
        }
    }
}

fn basic<'a>(inbound: &Inbound) -> Result<Option<Credentials<'a>>, OAuthError> {
    let header = inbound
        .single_header(AUTHORIZATION.as_str())
        .map_err(|_| OAuthError::invalid_request("at most one Authorization header is expected"))?;
    let Some(header) = header else { return Ok(None) };
    let encoded = match header.split_once(' ') {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("Basic") => encoded.trim(),
        _ => return Err(OAuthError::invalid_request("the scheme Basic is expected in the Authorization header")),
    };
    let refused = || OAuthError::invalid_client(Challenge::Basic);
    let bytes = zeroize::Zeroizing::new(BASIC.decode(encoded).map_err(|_| refused())?);
    let text = std::str::from_utf8(&bytes).map_err(|_| refused())?;
    let (client_id, secret) = text.split_once(':').ok_or_else(refused)?;
    Ok(Some(Credentials::Basic {
        raw: (client_id.to_owned(), Secret::new(secret)),
        decoded: (form_decoded(client_id), Secret::new(form_decoded(secret))),
    }))
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
