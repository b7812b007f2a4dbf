//! What the grant path keeps between its steps. Serialised as JSON into the store, under digests of the handles that
//! travel; a handle, code or token itself is never stored.

use serde::{Deserialize, Serialize};

use super::pages::Language;
use crate::fhir::resource_type::ResourceType;

/// A user as the login, or an EHR's launch context, established it. A user is (iss, sub).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// `sid`: what the OpenID provider calls its session with the person, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_session: Option<String>,
}

/// A logout that goes on at an OpenID provider. Key: digest of its `state`; taken once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProviderLogout {
    /// Id of the provider.
    pub provider: String,
    /// Digest (hex) of the cookie that binds it to the browser.
    pub browser: String,
    /// Where the app that asked is gone back to: registered for it, compared before.
    pub redirect_uri: Option<String>,
    /// `state` of that app.
    pub state: Option<String>,
}

/// A login that began at an OpenID provider. Key: digest of its `state`; taken once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProviderLogin {
    /// Id of the provider.
    pub provider: String,
    /// A new login was asked for then, seconds since the epoch.
    pub since: Option<i64>,
    /// `max_age` that was asked for.
    pub max_age: Option<i64>,
    /// Digest (hex) of the cookie that binds it to the browser, when it is for the management page; otherwise the transaction of
    /// an app does, which `state` names.
    #[serde(default)]
    pub browser: Option<String>,
}

/// An authorization request whose parameters were all checked, waiting for login, patient choice and consent. Key: digest of
/// the `transaction` form field; bound to the browser by a cookie whose digest is inside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// `dpop_jkt` (RFC 9449 section 10): the key that the code is bound to.
    #[serde(default)]
    pub dpop_jkt: Option<String>,
    /// Where its pages are shown.
    #[serde(default)]
    pub shown_in: ShownIn,
    /// The language that the app asked for (`ui_locales`), when there are pages in it.
    #[serde(default)]
    pub language: Option<Language>,
    /// Scopes for parts of those that were offered beside them, to be allowed instead of the whole.
    #[serde(default)]
    pub offered_parts: Vec<String>,
    /// Whether `authorization_details` were asked for.
    #[serde(default)]
    pub details: Details,
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
    /// `fhirContext` entries as JSON objects; in a grant to an app that reads the older form, as strings.
    pub fhir_context: Vec<serde_json::Value>,
    /// `intent`
    pub intent: Option<String>,
    /// `need_patient_banner`
    pub need_patient_banner: Option<bool>,
    /// `smart_style_url`
    pub smart_style_url: Option<String>,
    /// `tenant`
    pub tenant: Option<String>,
    /// `appContext`: what a Task (SMART App Launch 2.2 "task profile for requesting a SMART launch") or a link of CDS Hooks 2.0 has for
    /// the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_context: Option<String>,
    /// The user the EHR vouches for, or who must be the one logged in.
    pub user: Option<User>,
    /// Whether that EHR may log the user in by this handle.
    pub vouches: bool,
    /// When it was made, seconds since the epoch.
    pub created: i64,
}

/// What an authorization code or a refresh token stands for: one grant of one user to one client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// Of a grant with `online_access`: the login that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<Online>,
    /// Whether `authorization_details` come with its tokens (RFC 9396 section 7).
    #[serde(default)]
    pub details: Details,
}

/// The login that a grant with `online_access` ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Online {
    /// Digest (hex) of the session cookie; `None` for a user whom an EHR logged in for one launch.
    pub session: Option<String>,
    /// When it is over at the latest, seconds since the epoch.
    pub ends: i64,
}

impl Grant {
    /// Whether no user is involved: the client acts for itself, and is its own subject (RFC 9068 section 2.2).
    #[must_use]
    pub fn is_of_client_itself(&self, issuer: &str) -> bool {
        self.user.iss == issuer && self.user.sub == self.client_id
    }

    /// The EHR client that logged the user in, when one did.
    #[must_use]
    pub fn vouching(&self) -> Option<&str> {
        let launch = self.launch.as_ref().filter(|launch| launch.vouches && launch.user.is_some())?;
        Some(&launch.ehr_client_id)
    }
}

/// An authorization code (RFC 6749 section 4.1.2). Key: digest of the code; spent once, at most 60 seconds old.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Code {
    /// What it is exchanged for.
    pub grant: Grant,
    /// Must be repeated at the token endpoint.
    pub redirect_uri: String,
    /// S256 challenge (RFC 7636 section 4.2).
    pub code_challenge: String,
    /// For the `id_token`.
    pub nonce: Option<String>,
    /// The key that must be proven when it is exchanged (RFC 9449 section 10).
    #[serde(default)]
    pub dpop_jkt: Option<String>,
}

/// A consent that the user gave to a client and that is not asked again while it covers what is asked. Key: digest of
/// (`client_id`, iss, sub, patient).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Consent {
    /// The app it was given to; empty in entries of older versions.
    #[serde(default)]
    pub client_id: String,
    /// Scopes the user left on.
    pub granted: Vec<String>,
    /// Scopes that were offered then (so that a declined one is not asked for again and again).
    pub offered: Vec<String>,
    /// Seconds since the epoch.
    pub given_at: i64,
}

/// Whether a request asks for `authorization_details` (RFC 9396).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Details {
    /// Nobody is told more than SMART apps know.
    #[default]
    Unasked,
    /// Of the one type and the one server that there is.
    Asked,
}

/// Where a browser shows the pages of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShownIn {
    /// A window or tab of their own.
    #[default]
    Window,
    /// A frame of the EHR that launched the app. The transaction is bound to the browser by a partitioned cookie; no session
    /// of the browser counts in it, and none comes of it.
    Frame,
}

impl Transaction {
    /// Whether its pages are shown in a frame.
    #[must_use]
    pub fn embedded(&self) -> bool {
        self.shown_in == ShownIn::Frame
    }
}

impl LaunchContext {
    /// The resource types that there is a context of.
    pub fn context_types(&self) -> impl Iterator<Item = ResourceType> {
        let patient = self.patient.is_some().then_some(ResourceType::PATIENT);
        let encounter = self.encounter.is_some().then_some(ResourceType::ENCOUNTER);
        patient.into_iter().chain(encounter).chain(self.fhir_context.iter().filter_map(context_type))
    }
}

/// The type of one `fhirContext` entry: that of its relative reference, or else as it says, or that of its canonical URL.
fn context_type(entry: &serde_json::Value) -> Option<ResourceType> {
    let text = |name: &str| entry.get(name).and_then(serde_json::Value::as_str);
    let of_reference = || text("reference")?.split('/').next();
    let of_canonical = || text("canonical")?.rsplit('/').nth(1);
    ResourceType::parse(of_reference().or_else(|| text("type")).or_else(of_canonical)?)
}
