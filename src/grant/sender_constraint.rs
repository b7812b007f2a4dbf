//! The key that what is given at the token endpoint is bound to (RFC 9449 section 5).
//!
//! Takes a request with its client; gives the key that its `DPoP` header proves, or none. Promises: only a proof that was
//! checked and never seen before makes a [`SenderConstraint`] with a key, also on another replica or in the same
//! millisecond; a client for which binding is required gets none without, and one of which nonces are asked none without a nonce of ours. No token is made without one.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response};

use super::Grants;
use crate::clients::RegisteredClient;
use crate::config::Dpop;
use crate::jose::Confirmation;
use crate::jose::dpop::{Expected, Nonces, Proof, ProofProblem, Thumbprint};
use crate::listen::Inbound;
use crate::oauth::error::{OAuthError, OAuthErrorKind};
use crate::secret::Digest;
use crate::store::{Entry, Kind};

/// The header field of RFC 9449 section 8.1.
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What tokens are bound to. Only [`SenderConstraint::prove`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SenderConstraint {
    key: Option<Thumbprint>,
    /// Whether the client's next proof must have a nonce.
    asks_nonce: bool,
}

impl SenderConstraint {
    /// Checks the proof that came with `inbound`, and remembers it, so that no copy is accepted.
    ///
    /// # Errors
    /// 400 `invalid_dpop_proof`: a proof is missing that is required, it is not good for this request, or it was used
    /// before; 503.
    pub(super) async fn prove(
        grants: &Grants,
        inbound: &Inbound,
        client: &RegisteredClient,
    ) -> Result<Self, OAuthError> {
        let offered = Self::offered(grants, inbound, client).await?;
        if client.config.dpop == Dpop::Required && offered.key.is_none() { Err(missing()) } else { Ok(offered) }
    }

    /// As [`Self::prove`], where no client must.
    ///
    /// # Errors
    /// As there, for a proof that came.
    pub(super) async fn offered(
        grants: &Grants,
        inbound: &Inbound,
        client: &RegisteredClient,
    ) -> Result<Self, OAuthError> {
        Self::checked(grants, inbound, client, None).await
    }

    /// As [`Self::offered`], for a proof that comes with the access token whose SHA-256 is `token`.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn with_token(
        grants: &Grants,
        inbound: &Inbound,
        client: &RegisteredClient,
        token: &Digest,
    ) -> Result<Self, OAuthError> {
        Self::checked(grants, inbound, client, Some(token)).await
    }

    async fn checked(
        grants: &Grants,
        inbound: &Inbound,
        client: &RegisteredClient,
        access_token: Option<&Digest>,
    ) -> Result<Self, OAuthError> {
        if client.config.dpop == Dpop::Off {
            return Ok(Self { key: None, asks_nonce: false });
        }
        let asks_nonce = client.config.dpop_nonces || grants.config.tokens.dpop_nonces;
        let Some(proof) = inbound.single_header("dpop").map_err(|_| refused(ProofProblem::Invalid))? else {
            return Ok(Self { key: None, asks_nonce });
        };
        let expected = Expected {
            method: &inbound.method,
            origin: &grants.config.server.origin,
            path: &inbound.path,
            access_token,
            key: None,
            nonces: asks_nonce.then_some(&*grants.keys as &dyn Nonces),
            now: grants.clock.unix_seconds(),
        };
        let proof = Proof::verify(proof, &expected).map_err(refused)?;
        let seen = Entry { value: Vec::new(), expires: proof.expires(), owner: None };
        match grants.store.put_if_absent(Kind::ProofId, proof.id, seen, expected.now).await {
            Ok(true) => Ok(Self { key: Some(proof.key), asks_nonce }),
            Ok(false) => Err(refused(ProofProblem::Replayed)),
            Err(_) => Err(OAuthError::unavailable()),
        }
    }

    /// Asks for the key that a code or token was bound to before; `None`: it was bound to none.
    ///
    /// # Errors
    /// 400 `invalid_dpop_proof`: no proof came, or one by another key.
    pub(super) fn must_be(self, jkt: Option<&str>) -> Result<(), OAuthError> {
        match (jkt, self.key) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(missing()),
            (Some(jkt), Some(key)) if Thumbprint::parse(jkt) == Some(key) => Ok(()),
            (Some(_), Some(_)) => Err(refused(ProofProblem::Invalid)),
        }
    }

    /// The key's thumbprint.
    pub(super) fn jkt(self) -> Option<String> {
        self.key.map(|key| key.to_string())
    }

    /// `cnf` of an access token.
    pub(super) fn confirmation(self) -> Option<Confirmation> {
        self.jkt().map(|jkt| Confirmation { jkt })
    }

    /// `token_type` of an access token.
    pub(super) fn token_type(self) -> &'static str {
        if self.key.is_some() { "DPoP" } else { "Bearer" }
    }

    /// The nonce for the client's next proof, where it must have one.
    pub(super) fn next_nonce(self, grants: &Grants) -> Option<HeaderValue> {
        if self.asks_nonce && self.key.is_some() { nonce(grants) } else { None }
    }
}

/// The answer to an error, with the nonce that it asks for (RFC 9449 section 8).
pub(super) fn response(grants: &Grants, error: &OAuthError) -> Response<Bytes> {
    let mut response = error.response();
    if error.kind == OAuthErrorKind::UseDpopNonce
        && let Some(nonce) = nonce(grants)
    {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

fn nonce(grants: &Grants) -> Option<HeaderValue> {
    HeaderValue::from_str(&grants.keys.nonce()?).ok()
}

fn missing() -> OAuthError {
    OAuthError::new(
        OAuthErrorKind::InvalidDpopProof,
        "a DPoP proof is expected: the client or the grant is bound to a key",
    )
}

fn refused(problem: ProofProblem) -> OAuthError {
    let description = match problem {
        ProofProblem::Nonce => {
            let expected = "a DPoP proof with the nonce that DPoP-Nonce names is expected";
            return OAuthError::new(OAuthErrorKind::UseDpopNonce, expected);
        }
        ProofProblem::Invalid => {
            "one DPoP proof is expected: for this method and URL, by a key that is listed, and the one used before"
        }
        ProofProblem::Untimely => "a DPoP proof of the last minute is expected: compare the clocks",
        ProofProblem::Replayed => "a new DPoP proof is expected with each request",
    };
    OAuthError::new(OAuthErrorKind::InvalidDpopProof, description)
}
