//! Takes a canonical request with its `Authorization` header and gives an [`Authenticated`] request: who asks, through
//! which client, with which scopes and context (RFC 6750, RFC 9068).
//!
//! Promises: the credential comes from exactly one `Authorization` header; signature, type, issuer, audience and lifetime
//! were checked; the grant is not revoked, and when the store was not heard for too long nobody is let in. A verified token
//! is remembered by its SHA-256 until it expires; lifetime and revocation are looked at on every request. Does not decide
//! what the principal may do.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::AUTHORIZATION;

use crate::admit::FailedCredentials;
use crate::clock::Clock;
use crate::error::{Refusal, TokenProblem};
use crate::fhir::reference::LogicalId;
use crate::fhir::request::FhirRequest;
use crate::fhir::resource_type::ResourceType;
use crate::grant::records::User;
use crate::grant::revocations::Revocations;
use crate::jose::{AccessTokenClaims, Keys};
use crate::oauth::clients::Clients;
use crate::secret::Digest;
use crate::smart::scope::Scopes;

/// Longest `Authorization` header that is looked at, bytes.
const LONGEST_HEADER: usize = 8 * 1024;
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
    /// SHA-256 of `jti` in hex, shortened: names the token in records without being it.
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
    _proof: Arc<Verified>,
}

#[derive(Clone, Debug)]
struct Known {
    principal: Arc<Principal>,
    proof: Arc<Verified>,
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
}

impl Here {
    /// Whether the client, and a user of our own, are still registered.
    fn knows(&self, claims: &AccessTokenClaims) -> bool {
        // A client that acts for itself is its own subject (RFC 9068 section 2.2), and other issuers' users are theirs.
        let no_user_of_ours = claims.user_iss.is_some() || claims.sub == claims.client_id;
        self.clients.find(&claims.client_id).is_some() && (no_user_of_ours || self.users.contains(&claims.sub))
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
    /// [`Refusal::Unauthenticated`] with what was wrong, [`Refusal::Throttled`] when the address spent its budget of failed
    /// credentials, [`Refusal::Unavailable`] when revocations are not known.
    pub fn authenticate(&self, request: FhirRequest) -> Result<Authenticated<FhirRequest>, Refusal> {
        let address = request.inbound.peer.ip();
        let known = self.known(&request, address)?;
        if !self.revocations.heard_recently() {
            return Err(Refusal::Unavailable("revocations_unknown"));
        }
        if self.revocations.is_revoked(&known.principal.grant_id) {
            return Err(Refusal::Unauthenticated(TokenProblem::Revoked));
        }
        Ok(Authenticated { request, principal: known.principal, _proof: known.proof })
    }

    fn known(&self, request: &FhirRequest, address: IpAddr) -> Result<Known, Refusal> {
        let token = bearer(request).map_err(Refusal::Unauthenticated)?;
        let digest = Digest::of(token);
        let now = self.clock.unix_seconds();
        if let Some(known) = self.known.get(&digest) {
            if known.principal.expires > now {
                return Ok(known);
            }
            self.known.invalidate(&digest);
            return Err(Refusal::Unauthenticated(TokenProblem::Expired));
        }
        self.failures.admit(address).map_err(|retry_after| Refusal::Throttled { retry_after })?;
        let claims = self
            .keys
            .verify_access_token(token, &self.here.issuer, &self.here.audience, &self.clock)
            .map_err(|problem| {
                // An expired token is no guess: clients find out this way that it is time to refresh.
                if problem != TokenProblem::Expired {
                    self.failures.failed(address);
                }
                Refusal::Unauthenticated(problem)
            })?;
        if !self.here.knows(&claims) {
            return Err(Refusal::Unauthenticated(TokenProblem::Revoked));
        }
        let known = Known { principal: Arc::new(self.principal(claims)), proof: Arc::new(Verified(())) };
        self.known.insert(digest, known.clone());
        Ok(known)
    }

    fn principal(&self, claims: AccessTokenClaims) -> Principal {
        let scopes = self.compiled.get_with(claims.scope.clone(), || Arc::new(Scopes::compile(&claims.scope)));
        let mut token_handle = Digest::of(&claims.jti).to_hex();
        token_handle.truncate(24);
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
        let mut principal = self.principal(AccessTokenClaims {
            iss: user.iss.clone(),
            sub: user.sub.clone(),
            aud: self.here.audience.clone(),
            client_id: "urn:firebreak:patient-choice".to_owned(),
            iat: self.clock.unix_seconds(),
            exp: self.clock.unix_seconds(),
            nbf: None,
            jti: String::new(),
            scope: scope.to_owned(),
            gid: String::new(),
            patient: patient.map(str::to_owned),
            encounter: None,
            fhir_user: user.fhir_user.clone(),
            roles: user.roles.clone(),
            user_iss: None,
            user_sub: None,
        });
        // `user/` scopes ask who the user is in FHIR. On our own pages that is nobody's business: the login knows the person
        // and the roles, and a person without an entry in the FHIR server must be able to choose a patient.
        if user.fhir_user.is_none() {
            principal.fhir_user = LogicalId::parse("none").map(|nobody| (ResourceType::PRACTITIONER, nobody));
        }
        Authenticated { request, principal: Arc::new(principal), _proof: Arc::new(Verified(())) }
    }
}

/// The token of the one `Authorization` header (RFC 6750 section 2.1; the other two ways of section 2 are refused).
fn bearer(request: &FhirRequest) -> Result<&str, TokenProblem> {
    let header =
        request.inbound.single_header(AUTHORIZATION.as_str()).map_err(|_| TokenProblem::Ambiguous)?.unwrap_or_default();
    if header.is_empty() {
        return Err(TokenProblem::Missing);
    }
    if header.len() > LONGEST_HEADER {
        return Err(TokenProblem::Invalid);
    }
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_matches(' ');
            if token.is_empty() || token.contains([' ', ',']) { Err(TokenProblem::Invalid) } else { Ok(token) }
        }
        _ => Err(TokenProblem::WrongScheme),
    }
}

#[cfg(test)]
impl<R> Authenticated<R> {
    /// For tests of the stages behind this one.
    pub(crate) fn for_test(request: R, principal: Principal) -> Self {
        Self { request, principal: Arc::new(principal), _proof: Arc::new(Verified(())) }
    }
}
