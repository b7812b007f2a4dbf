//! Takes a canonical request with its `Authorization` header and gives an [`Authenticated`] request: who asks, through
//! which client, with which scopes and context (RFC 6750, RFC 9068, RFC 9449).
//!
//! Promises: the credential comes from exactly one `Authorization` header; signature, type, issuer, audience and lifetime
//! were checked; the grant is not revoked and the client not disabled, and when the store was not heard for too long nobody
//! is let in. A verified token is remembered by its SHA-256 until it expires; lifetime, client and revocation are looked at
//! on every request. A token that is bound to a key comes with the scheme `DPoP` and a proof by that key, for this request,
//! never seen before; a token that is not bound comes with the scheme `Bearer`. Does not decide what the principal may do.

mod presented;
mod proofs;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::HeaderValue;
use url::Url;

pub use self::presented::Presented;
use self::presented::Token;
use self::proofs::{Proofs, Seen};
use crate::admit::{FailedCredentials, Presenter};
use crate::canonicalise::FhirRequest;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::error::{Refusal, Scheme, SenderProblem, TokenProblem};
use crate::fhir::reference::LogicalId;
use crate::fhir::resource_type::ResourceType;
use crate::grant::records::User;
use crate::grant::revocations::Revocations;
use crate::jose::dpop::{Expected, Nonces, Proof, ProofProblem, Thumbprint};
use crate::jose::{AccessTokenClaims, AccessTokenProblem};
use crate::keys::Keys;
use crate::listen::Inbound;
use crate::secret::Digest;
use crate::smart::scope::Scopes;
use crate::store::Store;

/// Verified tokens and compiled scope texts that are remembered.
const REMEMBERED: u64 = 50_000;

/// Proof that credentials were checked. Only this module makes one.
///
/// ```compile_fail,E0603
/// let proof = firebreak::authenticate::Verified(());
/// ```
/// ```
/// fn hand_on(proof: firebreak::authenticate::Verified) -> firebreak::authenticate::Verified {
///     proof
/// }
/// ```
#[derive(Debug)]
pub struct Verified(());

/// Who asks. A user is (iss, sub).
#[derive(Debug)]
pub struct Principal {
    /// `iss`: who vouches for the subject.
    pub issuer: String,
    /// `sub`
    pub subject: String,
    /// `client_id` (RFC 9068 section 2.2)
    pub client_id: String,
    /// Our grant, the unit of revocation.
    pub grant_id: String,
    /// See [`Digest::handle`]; empty where there is no token.
    pub token_handle: String,
    /// The scopes, compiled once per distinct scope text.
    pub scopes: Arc<Scopes>,
    /// The scopes as granted, for the record.
    pub scope_text: String,
    /// Launch patient.
    pub patient: Context,
    /// Launch encounter.
    pub encounter: Option<LogicalId>,
    /// `fhirUser` as type and id, when it is local.
    pub fhir_user: Option<(ResourceType, LogicalId)>,
    /// Roles for the policies, from verified claims.
    pub roles: Vec<String>,
    /// `exp`, seconds since the epoch.
    pub expires: i64,
}

/// The launch patient as the token states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// No `patient` claim.
    Absent,
    /// One well-formed local patient.
    Patient(LogicalId),
    /// There is a claim, and it is not one local id: everything that needs a patient is refused.
    Unusable,
}

/// A request together with the verified principal.
#[derive(Debug)]
pub struct Authenticated<R> {
    pub(crate) request: R,
    pub(crate) principal: Arc<Principal>,
    /// The nonce for the next proof, where it must have one.
    pub(crate) next_nonce: Option<HeaderValue>,
    proof: Arc<Verified>,
}

impl<R> Authenticated<R> {
    /// A request that came as a part of this one: whoever sent the whole sent the part.
    pub(crate) fn part(&self, request: R) -> Self {
        Self { request, principal: Arc::clone(&self.principal), next_nonce: None, proof: Arc::clone(&self.proof) }
    }
}

#[derive(Clone, Debug)]
struct Known {
    principal: Arc<Principal>,
    proof: Arc<Verified>,
    /// The key that it is bound to.
    key: Option<Thumbprint>,
    /// The generation of keys that it was verified with: a key that was withdrawn vouches for nothing.
    keys: u64,
}

/// Whose tokens are good, and for whom.
#[derive(Debug)]
pub struct Here {
    /// Our issuer.
    pub issuer: String,
    /// The public FHIR base.
    pub audience: String,
    /// The registered clients: a token of one that was removed is no longer good.
    pub clients: Arc<Clients>,
    /// The built-in users, likewise.
    pub users: HashSet<String>,
    /// Whether every proof must have a nonce, whatever is said for its client.
    pub dpop_nonces: bool,
    /// Scheme, host and port that proofs name.
    pub origin: Url,
    /// The store, when other processes that serve this base share it: what one has seen of proofs, all must know.
    pub shared: Option<Arc<dyn Store>>,
    /// The other issuers whose users may come: OpenID providers, and those that an EHR vouches for.
    pub issuers: HashSet<String>,
}

impl Here {
    fn asks_nonce(&self, client_id: &str) -> bool {
        self.dpop_nonces || self.clients.find(client_id).is_some_and(|client| client.config.dpop_nonces)
    }

    /// Whether the client, and the user or whoever vouches for the user, are still registered.
    fn knows(&self, claims: &AccessTokenClaims) -> bool {
        // A client that acts for itself is its own subject (RFC 9068 section 2.2).
        let user = match &claims.user_iss {
            Some(issuer) => self.issuers.contains(issuer),
            None => claims.sub == claims.client_id || self.users.contains(&claims.sub),
        };
        self.clients.find(&claims.client_id).is_some() && user
    }
}

/// Checks access tokens.
#[derive(Debug)]
pub struct Authenticator {
    keys: Arc<Keys>,
    revocations: Arc<Revocations>,
    failures: Arc<FailedCredentials>,
    clock: Clock,
    here: Here,
    known: moka::sync::Cache<Digest, Known>,
    compiled: moka::sync::Cache<String, Arc<Scopes>>,
    proofs: Proofs,
}

impl Authenticator {
    /// Checks the tokens that `here` issued for itself.
    #[must_use]
    pub fn new(
        keys: Arc<Keys>,
        revocations: Arc<Revocations>,
        failures: Arc<FailedCredentials>,
        clock: Clock,
        here: Here,
    ) -> Self {
        Self {
            proofs: Proofs::new(here.shared.clone(), clock.unix_seconds()),
            keys,
            revocations,
            failures,
            clock,
            here,
            known: moka::sync::Cache::new(REMEMBERED),
            compiled: moka::sync::Cache::new(REMEMBERED),
        }
    }

    /// Checks the credentials of `request`.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] or [`Refusal::UnprovenSender`] with what was wrong, [`Refusal::Throttled`] when the
    /// address spent its budget of failed credentials, [`Refusal::Unavailable`] when revocations are not known.
    pub async fn authenticate(&self, request: FhirRequest) -> Result<Authenticated<FhirRequest>, Refusal> {
        let presented = Presented::with(&request.inbound);
        let token = presented.token().map_err(Refusal::Unauthenticated)?;
        let from = self.presenter(&presented);
        let known = self.check(token, from)?;
        let mut next_nonce = None;
        match (token.scheme, known.key) {
            (Scheme::Bearer, None) => {}
            (Scheme::Dpop, Some(key)) => {
                let asks_nonce = self.here.asks_nonce(&known.principal.client_id);
                self.prove(&request.inbound, token, key, (asks_nonce, from)).await?;
                next_nonce = if asks_nonce { self.nonce() } else { None };
            }
            (Scheme::Bearer, Some(_)) | (Scheme::Dpop, None) => {
                return Err(Refusal::UnprovenSender(SenderProblem::Binding));
            }
        }
        Ok(Authenticated { request, principal: known.principal, next_nonce, proof: known.proof })
    }

    /// A nonce for the next proof (RFC 9449 section 9).
    #[must_use]
    pub fn nonce(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.keys.nonce()?).ok()
    }

    /// Whose token came with a request that is refused for another reason, for its record alone. Nobody's, when it is bound
    /// to a key: a request that is not read proves none.
    #[must_use]
    pub fn recognise(&self, presented: &Presented) -> Option<Arc<Principal>> {
        let token = presented.token().ok().filter(|token| token.scheme == Scheme::Bearer)?;
        let known = self.check(token, self.presenter(presented)).ok().filter(|known| known.key.is_none())?;
        Some(known.principal)
    }

    /// Whose token this is, and whether it is bound to a key, which nothing proves here: for explanations alone.
    ///
    /// # Errors
    /// As of [`Self::authenticate`], but for what has to do with proofs.
    pub fn examine(&self, token: &str) -> Result<(Arc<Principal>, bool), Refusal> {
        let known = self.live(token, Presenter::new(IpAddr::V4(Ipv4Addr::LOCALHOST), false))?;
        Ok((known.principal, known.key.is_some()))
    }

    /// Who presents it, as failures are counted.
    fn presenter(&self, presented: &Presented) -> Presenter {
        let origin = presented.origin.as_ref().and_then(|origin| origin.to_str().ok());
        let unverified = origin.is_some_and(|origin| self.here.clients.is_unverified_origin(origin));
        Presenter::new(presented.address, unverified)
    }

    /// Looks at the token alone; a refusal is told in the terms of the scheme that was used.
    fn check(&self, token: Token<'_>, presenter: Presenter) -> Result<Known, Refusal> {
        self.live(token.text, presenter).map_err(|refusal| match (token.scheme, refusal) {
            (Scheme::Dpop, Refusal::Unauthenticated(problem)) => Refusal::UnprovenSender(SenderProblem::Token(problem)),
            (_, refusal) => refusal,
        })
    }

    fn live(&self, token: &str, presenter: Presenter) -> Result<Known, Refusal> {
        let known = self.known(token, presenter)?;
        if !self.revocations.heard_recently() {
            return Err(Refusal::Unavailable("revocations_unknown"));
        }
        // A token that was verified earlier too: the client may have been disabled since.
        let has_client = self.here.clients.is_registered(&known.principal.client_id);
        if !has_client || self.revocations.is_revoked(&known.principal.grant_id) {
            return Err(Refusal::Unauthenticated(TokenProblem::Revoked));
        }
        Ok(known)
    }

    /// Checks the proof that comes with a token bound to `key`.
    async fn prove(
        &self,
        inbound: &Inbound,
        token: Token<'_>,
        key: Thumbprint,
        (asks_nonce, presenter): (bool, Presenter),
    ) -> Result<(), Refusal> {
        let refused = |problem| Refusal::UnprovenSender(SenderProblem::Proof(problem));
        self.failures.admit(presenter).map_err(|retry_after| Refusal::Throttled { retry_after })?;
        let now = self.clock.unix_seconds();
        let expected = Expected {
            method: &inbound.method,
            origin: &self.here.origin,
            path: &inbound.path,
            access_token: Some(&Digest::of(token.text)),
            key: Some(key),
            nonces: asks_nonce.then_some(&*self.keys as &dyn Nonces),
            now,
        };
        let text = inbound.single_header("dpop").ok().flatten().ok_or(refused(ProofProblem::Invalid))?;
        let proof = Proof::verify(text, &expected).map_err(|problem| {
            // A clock that is wrong is no guess.
            if problem == ProofProblem::Invalid {
                self.failures.failed(presenter);
            }
            refused(problem)
        })?;
        match self.proofs.note(&proof, now).await {
            Seen::First => Ok(()),
            Seen::Before => Err(refused(ProofProblem::Replayed)),
            Seen::Full => Err(Refusal::Unavailable("dpopproofs_full")),
            Seen::Unknown => Err(Refusal::Unavailable("dpopproofs_unknown")),
        }
    }

    fn known(&self, token: &str, presenter: Presenter) -> Result<Known, Refusal> {
        let digest = Digest::of(token);
        let now = self.clock.unix_seconds();
        let keys = self.keys.generation();
        if let Some(known) = self.known.get(&digest).filter(|known| known.keys == keys) {
            if known.principal.expires > now {
                return Ok(known);
            }
            self.known.invalidate(&digest);
            return Err(Refusal::Unauthenticated(TokenProblem::Expired));
        }
        self.failures.admit(presenter).map_err(|retry_after| Refusal::Throttled { retry_after })?;
        let claims = self
            .keys
            .verify_access_token(token, &self.here.issuer, &self.here.audience, &self.clock)
            .map_err(|problem| {
                // An expired token is no guess: clients find out this way that it is time to refresh.
                if problem != AccessTokenProblem::Expired {
                    self.failures.failed(presenter);
                }
                Refusal::Unauthenticated(problem.into())
            })?;
        if !self.here.knows(&claims) {
            return Err(Refusal::Unauthenticated(TokenProblem::Revoked));
        }
        let key = match &claims.cnf {
            None => None,
            Some(cnf) => Some(Thumbprint::parse(&cnf.jkt).ok_or(Refusal::Unauthenticated(TokenProblem::Invalid))?),
        };
        let known = Known {
            principal: Arc::new(self.principal(claims, digest.handle())),
            proof: Arc::new(Verified(())),
            key,
            keys,
        };
        self.known.insert(digest, known.clone());
        Ok(known)
    }

    fn principal(&self, claims: AccessTokenClaims, token_handle: String) -> Principal {
        let scopes = self.compiled.get_with(claims.scope.clone(), || Arc::new(Scopes::compile(&claims.scope)));
        Principal {
            patient: match claims.patient {
                None => Context::Absent,
                Some(patient) => LogicalId::parse(&patient).map_or(Context::Unusable, Context::Patient),
            },
            encounter: claims.encounter.as_deref().and_then(LogicalId::parse),
            fhir_user: claims.fhir_user.as_deref().and_then(|user| self.local_user(user)),
            issuer: claims.user_iss.unwrap_or(claims.iss),
            subject: claims.user_sub.unwrap_or(claims.sub),
            client_id: claims.client_id,
            grant_id: claims.gid,
            token_handle,
            scopes,
            scope_text: claims.scope,
            roles: claims.roles,
            expires: claims.exp,
        }
    }

    /// `Type/id`, or the same below our base.
    fn local_user(&self, user: &str) -> Option<(ResourceType, LogicalId)> {
        let relative = user.strip_prefix(&self.here.audience).and_then(|rest| rest.strip_prefix('/')).unwrap_or(user);
        let (resource_type, id) = relative.split_once('/')?;
        Some((ResourceType::parse(resource_type)?, LogicalId::parse(id)?))
    }

    /// A user who logged in just now and chooses a patient: may search patients and encounters as far as the policies let
    /// the user, and nothing else. With `patient`, one of the user's own ([`User::patients`]), it is that patient's context.
    #[must_use]
    pub fn choosing_user(
        &self,
        request: FhirRequest,
        user: &User,
        patient: Option<&str>,
    ) -> Authenticated<FhirRequest> {
        let patient = patient.filter(|id| user.patients.iter().any(|own| own == id));
        let scope = match patient {
            Some(_) => "patient/Patient.rs patient/Encounter.rs",
            None => "user/Patient.rs user/Encounter.rs",
        };
        let claims = AccessTokenClaims {
            iss: user.iss.clone(),
            sub: user.sub.clone(),
            aud: self.here.audience.clone(),
            client_id: "urn:firebreak:patient-choice".to_owned(),
            iat: self.clock.unix_seconds(),
            exp: self.clock.unix_seconds(),
            jti: String::new(),
            scope: scope.to_owned(),
            gid: String::new(),
            patient: patient.map(str::to_owned),
            encounter: None,
            fhir_user: user.fhir_user.clone(),
            roles: user.roles.clone(),
            ..AccessTokenClaims::default()
        };
        let mut principal = self.principal(claims, String::new());
        // `user/` scopes ask who the user is in FHIR. On our own pages that is nobody's business: the login knows the person
        // and the roles, and a person without an entry in the FHIR server must be able to choose a patient.
        if user.fhir_user.is_none() {
            principal.fhir_user = LogicalId::parse("none").map(|nobody| (ResourceType::PRACTITIONER, nobody));
        }
        Authenticated { request, principal: Arc::new(principal), next_nonce: None, proof: Arc::new(Verified(())) }
    }
}

impl<R> Authenticated<R> {
    /// As if `principal` had sent the request. For `Authorizer::consider` alone, which gives no permit away.
    pub(crate) fn supposed(request: R, principal: Arc<Principal>) -> Self {
        Self { request, principal, next_nonce: None, proof: Arc::new(Verified(())) }
    }
}

#[cfg(any(test, fuzzing))]
impl<R> Authenticated<R> {
    /// For tests of the stages behind this one.
    pub(crate) fn for_test(request: R, principal: Principal) -> Self {
        Self { request, principal: Arc::new(principal), next_nonce: None, proof: Arc::new(Verified(())) }
    }
}
