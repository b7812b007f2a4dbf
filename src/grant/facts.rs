//! What an endpoint learnt about an exchange, for its audit record.

use super::pages::Language;
use super::records::{Transaction, User};

/// Filled in as it becomes known; what stays `None` is not known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `client_id`, once the client is known.
    pub client_id: Option<String>,
    /// Who acts.
    pub user: Option<User>,
    /// Scopes asked for, or granted.
    pub scopes: Option<String>,
    /// Patient in context.
    pub patient: Option<String>,
    /// Encounter in context.
    pub encounter: Option<String>,
    /// Our grant, once there is one.
    pub grant_id: Option<String>,
    /// What was done, as a stable word.
    pub action: Option<&'static str>,
    /// More about it, as a sentence for a person, without anything about a patient.
    pub detail: Option<String>,
    /// Why it was refused, as a stable id.
    pub reason: Option<&'static str>,
    /// The EHR client whose pages may show the answer in a frame. Nothing for the record.
    pub framed_by: Option<String>,
    /// The language that the app asked for. Nothing for the record.
    pub language: Option<Language>,
}

impl Facts {
    /// Notes what a transaction knows.
    pub(super) fn transaction(&mut self, state: &Transaction) {
        self.client_id = Some(state.client_id.clone());
        self.user.clone_from(&state.user);
        self.patient.clone_from(&state.patient);
        self.encounter.clone_from(&state.encounter);
        self.scopes = Some(state.scopes.join(" "));
        self.language = state.language;
        let launch = state.launch.as_ref().filter(|_| state.embedded());
        self.framed_by = launch.map(|launch| launch.ehr_client_id.clone());
    }
}
