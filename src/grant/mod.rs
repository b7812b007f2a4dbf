//! The grant path: discovery, launch contexts, authorization endpoint, login, patient choice, consent, token endpoint. It
//! issues what the request path spends, one file per endpoint, and ends in the same `Recorded`.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::admit::{FailedCredentials, HourlyBudget};
use crate::clients::Clients;
use crate::clients::key_sets::KeySets;
use crate::clock::Clock;
use crate::config::Config;
use crate::federation::Providers;
use crate::keys::Keys;
use crate::outbound::Outbound;
use crate::store::Store;

pub mod authorization_endpoint;
pub mod back_channel_form;
pub mod client_authentication;
pub mod consent;
pub mod continuation;
pub mod discovery;
pub mod facts;
pub mod follower;
pub mod grants;
pub mod holdings;
pub mod introspection_endpoint;
pub mod launch_contexts;
pub mod login;
pub mod logout;
pub mod management;
pub mod pages;
pub mod password;
pub mod patient_choice;
pub mod patients;
pub mod provider_login;
pub mod pushed_authorization_request;
pub mod records;
pub mod registration;
pub mod respond;
pub mod revocation_endpoint;
pub mod revocations;
pub mod route;
pub mod token_endpoint;
pub mod under_way;
pub mod userinfo_endpoint;

mod authorization_details;
mod authorization_request;
mod authorization_response;
mod categories;
mod foreign;
mod form;
mod framing;
mod presented_token;
mod quality;
mod scope_negotiation;
mod scope_words;
mod sender_constraint;
mod session;
mod token_response;
mod transaction;

#[cfg(test)]
mod back_channel_testing;
#[cfg(test)]
mod testing;

use self::client_authentication::Authenticator;
use self::revocations::Revocations;

/// What every endpoint needs.
#[derive(Clone, Debug)]
pub struct Grants {
    /// The configuration: clients, users, lifetimes, origin, FHIR base.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// The state.
    pub store: Arc<dyn Store>,
    /// Where patients are looked up for the picker.
    pub patients: Arc<dyn PatientDirectory>,
    /// The OpenID providers that people may log in with.
    pub providers: Arc<Providers>,
    /// The limits on password checks.
    pub login: Arc<password::LoginGate>,
    /// What tokens are signed with.
    pub keys: Arc<Keys>,
    /// The registered clients, ready for lookup.
    pub clients: Arc<Clients>,
    /// Which grants were revoked.
    pub revocations: Arc<Revocations>,
    /// The budget of failed credentials per address.
    pub failures: Arc<FailedCredentials>,
    /// The budget of open registrations per address.
    pub registrations: Arc<HourlyBudget>,
    /// What has begun and must end, whoever hangs up.
    pub under_way: Arc<under_way::UnderWay>,
    /// How others are called: OpenID providers.
    pub outbound: Outbound,
    /// The keys of clients that publish them at a URL.
    pub key_sets: Arc<KeySets>,
}

impl Grants {
    /// What has to be heard from the store while the process runs.
    #[must_use]
    pub fn follower(&self) -> follower::Follower {
        follower::Follower {
            clock: self.clock.clone(),
            store: Arc::clone(&self.store),
            revocations: Arc::clone(&self.revocations),
            clients: Arc::clone(&self.clients),
        }
    }

    /// What clients are authenticated with at the endpoint whose path is `path`. Their assertions may be for that endpoint, for
    /// the token endpoint, as clients write it everywhere, or for the issuer.
    #[must_use]
    pub fn authenticator(&self, path: &str) -> Authenticator<'_> {
        let issuer = self.config.issuer();
        Authenticator {
            clients: &self.clients,
            store: &*self.store,
            key_sets: &self.key_sets,
            audiences: [format!("{issuer}{path}"), self.token_endpoint()],
            issuer,
            now: self.clock.unix_seconds(),
        }
    }

    /// The URL of the token endpoint, as discovery names it.
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}{}", self.config.issuer(), route::TOKEN)
    }
}

/// Stands in the extensions of a response whose request presented credentials or a grant that are not good: what the budget
/// for guessing counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialsFailed;

/// An endpoint's answer, before it is recorded. Only files of this module make one.
#[derive(Debug)]
pub struct Answer(pub(crate) Response<Bytes>);

/// Looks patients up for the picker, within what the user's policy allows. Implemented over the request path itself.
pub trait PatientDirectory: Send + Sync + std::fmt::Debug {
    /// Patients whose name or identifier matches `query` (empty: the first page), at most 20. `from` is the browser's
    /// address, for the record.
    fn search<'a>(
        &'a self,
        user: &'a records::User,
        from: IpAddr,
        query: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<PatientSummary>, DirectoryError>> + Send + 'a>>;
    /// One patient by id; `None` when the user may not see it or it does not exist.
    fn read<'a>(
        &'a self,
        user: &'a records::User,
        from: IpAddr,
        id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<PatientSummary>, DirectoryError>> + Send + 'a>>;
    /// Encounters of one patient, newest first, at most 20.
    fn encounters<'a>(
        &'a self,
        user: &'a records::User,
        from: IpAddr,
        patient: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<EncounterSummary>, DirectoryError>> + Send + 'a>>;
    /// The encounter `id` of `patient`; `None` when the user may not see it, it does not exist, or it is another patient's.
    fn encounter<'a>(
        &'a self,
        user: &'a records::User,
        from: IpAddr,
        patient: &'a str,
        id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<EncounterSummary>, DirectoryError>> + Send + 'a>>;
}

/// What the picker shows of a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatientSummary {
    /// Logical id.
    pub id: String,
    /// Display name.
    pub name: String,
    /// `birthDate`, as written.
    pub birth_date: Option<String>,
    /// `gender`
    pub gender: Option<String>,
    /// First identifier's value.
    pub identifier: Option<String>,
}

/// What the picker shows of an encounter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncounterSummary {
    /// Logical id.
    pub id: String,
    /// Type or class, for people.
    pub description: String,
    /// `period.start`, as written.
    pub start: Option<String>,
}

/// Why nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryError {
    /// The policies do not let the user look.
    Refused,
    /// The upstream could not be asked, or the look-up could not be recorded.
    Unavailable,
}
