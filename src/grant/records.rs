//! What the grant path keeps between its steps. Serialised as JSON into the store, under digests of the handles that
//! travel; a handle, code or token itself is never stored.

use serde::{Deserialize, Serialize};

/// A user as the login, or an EHR's launch context, established it. A user is (iss, sub).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who vouches for the user: our own issuer for built-in users.
    pub iss: String,
    /// Subject, unique per `iss`.
    pub sub: String,
    /// For pages.
    pub display_name: String,
    /// `Type/id`
    pub fhir_user: Option<String>,
    /// Roles of the policies.
    pub roles: Vec<String>,
    /// Patients the user may have in context without a search; see [`crate::config::User::patients`].
    pub patients: Vec<String>,
}

/// A browser session after login. Key: digest of the session cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Who logged in.
    pub user: User,
    /// When, seconds since the epoch (`auth_time` of OpenID Connect Core section 2).
    pub auth_time: i64,
    /// Seconds since the epoch.
    pub expires: i64,
}

/// An authorization request whose parameters were all checked, waiting for login, patient choice and consent. Key: digest of
/// the `transaction` form field; bound to the browser by a cookie whose digest is inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// Digest (hex) of the browser-binding cookie.
    pub browser: String,
    /// `client_id`
    pub client_id: String,
    /// The registered `redirect_uri` as sent.
    pub redirect_uri: String,
    /// `state`, returned byte-exact.
    pub state: String,
    /// Requested scopes that may be offered, in the order asked.
    pub scopes: Vec<String>,
    /// `code_challenge` (S256).
    pub code_challenge: String,
    /// OpenID Connect `nonce`.
    pub nonce: Option<String>,
    /// `prompt=none`: no page may be shown.
    pub prompt_none: bool,
    /// `prompt=consent`: the consent page is shown whatever is remembered.
    pub prompt_consent: bool,
    /// `prompt=login`: a session that exists is not enough.
    pub prompt_login: bool,
    /// `max_age` in seconds.
    pub max_age: Option<i64>,
    /// `login_hint`
    pub login_hint: Option<String>,
    /// What the EHR handed over, for an EHR launch.
    pub launch: Option<LaunchContext>,
    /// Once logged in.
    pub user: Option<User>,
    /// When the login happened.
    pub auth_time: Option<i64>,
    /// Patients that were offered on the picker page; a posted patient must be one of them.
    pub offered_patients: Vec<String>,
    /// Once chosen.
    pub patient: Option<String>,
    /// Once chosen.
    pub encounter: Option<String>,
    /// Encounters that were offered.
    pub offered_encounters: Vec<String>,
    /// Scopes that were offered on the consent page; a posted scope must be one of them.
    pub offered_scopes: Vec<String>,
}

/// The context of one EHR launch (SMART App Launch 2.2 "launch context arrives with your `access_token`"). Key: digest of the
/// `launch` handle; taken once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchContext {
    /// The app it is for.
    pub client_id: String,
    /// The EHR client that posted it.
    pub ehr_client_id: String,
    /// Patient id.
    pub patient: Option<String>,
    /// Encounter id.
    pub encounter: Option<String>,
    /// `fhirContext` entries as JSON objects.
    pub fhir_context: Vec<serde_json::Value>,
    /// `intent`
    pub intent: Option<String>,
    /// `need_patient_banner`
    pub need_patient_banner: Option<bool>,
    /// `smart_style_url`
    pub smart_style_url: Option<String>,
    /// `tenant`
    pub tenant: Option<String>,
    /// The user the EHR vouches for, or who must be the one logged in.
    pub user: Option<User>,
    /// Whether that EHR may log the user in by this handle.
    pub vouches: bool,
    /// When it was made, seconds since the epoch.
    pub created: i64,
}

/// What an authorization code or a refresh token stands for: one grant of one user to one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// The unit of revocation; 128 random bits or more.
    pub grant_id: String,
    /// `client_id`
    pub client_id: String,
    /// Who granted.
    pub user: User,
    /// Granted scopes, in the order asked.
    pub scopes: Vec<String>,
    /// Launch patient.
    pub patient: Option<String>,
    /// Launch encounter.
    pub encounter: Option<String>,
    /// The other launch context members, returned with each token.
    pub launch: Option<LaunchContext>,
    /// `auth_time`
    pub auth_time: i64,
    /// When the user granted, seconds since the epoch.
    pub granted_at: i64,
}

/// An authorization code (RFC 6749 section 4.1.2). Key: digest of the code; spent once, at most 60 seconds old.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Code {
    /// What it is exchanged for.
    pub grant: Grant,
    /// Must be repeated at the token endpoint.
    pub redirect_uri: String,
    /// S256 challenge (RFC 7636 section 4.2).
    pub code_challenge: String,
    /// For the `id_token`.
    pub nonce: Option<String>,
}

/// A consent that the user gave to a client and that is not asked again while it covers what is asked. Key: digest of
/// (`client_id`, iss, sub, patient).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Consent {
    /// Scopes the user left on.
    pub granted: Vec<String>,
    /// Scopes that were offered then (so that a declined one is not asked for again and again).
    pub offered: Vec<String>,
    /// Seconds since the epoch.
    pub given_at: i64,
}
