//! `/patient`: which patient, and which encounter, the app gets in its context.
//!
//! Takes the posted form (`query` to search, `patient` or `encounter` to choose, `transaction`, `decision`); gives the picker
//! or the way on. Promises: what is chosen was on the page this browser was shown last; searching is by POST, so no name
//! stands in a URL; the patient of an EHR launch is one the user may see, and its encounter is one of that patient's. Whom a user may find is the business of the
//! [`PatientDirectory`](super::PatientDirectory). SMART App Launch 2.2 "launch context".

use std::net::IpAddr;

use futures_util::future::try_join_all;
use http::StatusCode;

use super::authorization_response::AuthorizationError;
use super::continuation::{self, Halt, Who, give_up, halted, onward, posted_for, problem};
use super::facts::Facts;
use super::form::Form;
use super::pages::{EncounterPage, Frame, PatientPage, Problem, Text, render};
use super::records::{Transaction, User};
use super::scope_negotiation::needs_patient;
use super::transaction::OpenTransaction;
use super::{Answer, Grants, PatientSummary};
use crate::config::Client;
use crate::listen::Inbound;
use crate::smart::scope::Scope;

/// Entries on one page of what was found.
const SHOWN: usize = 20;
/// Patients of a person who acts for several: there is no search among them.
const OWN: usize = 200;
/// Own patients that are read at the same time.
const AT_ONCE: usize = 10;
/// Characters of a search.
const MAX_QUERY: usize = 100;

const NO_PATIENT: Halt = Halt::Return(AuthorizationError::AccessDenied, "no patient is available to the user");

/// Settles what can be settled without asking; gives the page that asks for the rest, with `problem` on it.
pub(super) async fn settle(
    grants: &Grants,
    client: &Client,
    open: &mut OpenTransaction,
    user: &User,
    problem: Option<Text>,
) -> Result<Option<Answer>, Halt> {
    if open.state.patient.is_none() {
        if let Some(id) = open.state.launch.as_ref().and_then(|launch| launch.patient.clone()) {
            let found = grants.patients.read(user, open.from, &id).await?;
            found.ok_or(Halt::Return(
                AuthorizationError::AccessDenied,
                "the user may not see the patient of the launch",
            ))?;
            open.state.patient = Some(id);
        } else if needs_patient(&open.state.scopes)
            && let Some(page) = settle_patient(grants, client, open, user, problem).await?
        {
            return Ok(Some(page));
        }
    }
    if open.state.encounter.is_none() {
        open.state.encounter = launch_encounter(grants, open, user).await?;
    }
    if open.state.encounter.is_none() && wants_encounter(&open.state) {
        return settle_encounter(grants, client, open, user, problem).await;
    }
    Ok(None)
}

/// The encounter of an EHR launch, once it is certain that it is one of the launch patient's.
async fn launch_encounter(grants: &Grants, open: &OpenTransaction, user: &User) -> Result<Option<String>, Halt> {
    const FOREIGN: Halt = Halt::Return(
        AuthorizationError::InvalidRequest,
        "the encounter of the launch is expected to be one of the patient of the launch that the user may see",
    );
    let Some(launch) = &open.state.launch else { return Ok(None) };
    let Some(id) = &launch.encounter else { return Ok(None) };
    let Some(patient) = &launch.patient else { return Err(FOREIGN) };
    let found = grants.patients.encounter(user, open.from, patient, id).await?;
    found.map(|encounter| Some(encounter.id)).ok_or(FOREIGN)
}

/// Answers `POST /patient`.
pub async fn respond(grants: &Grants, inbound: &Inbound, facts: &mut Facts) -> Answer {
    facts.action = Some("patient_chosen");
    let (form, mut open, session) = match posted_for(grants, inbound).await {
        Ok(found) => found,
        Err(found) => return problem(grants, inbound, facts, found),
    };
    facts.transaction(&open.state);
    let Who::Known(known) = continuation::who(&open.state, session.as_ref(), grants.clock.unix_seconds()) else {
        // The session ended meanwhile: the way on begins with a login. Nobody is known, and nothing was chosen.
        facts.user = None;
        facts.action = Some("authorization_continued");
        return onward(&open);
    };
    if form.only("decision") == Some("deny") {
        let denial = (AuthorizationError::AccessDenied, "the user chose no patient");
        return give_up(grants, inbound, facts, &open, denial).await;
    }
    if matches!(Choice::of(&form), Choice::Search(_) | Choice::Nothing) {
        facts.action = Some("authorization_continued");
    }
    let result = choose(grants, &mut open, &known.user, &form).await;
    facts.transaction(&open.state);
    match result {
        Ok(answer) => answer,
        Err(halt) => halted(grants, inbound, facts, &open, halt).await,
    }
}

async fn choose(grants: &Grants, open: &mut OpenTransaction, user: &User, form: &Form) -> Result<Answer, Halt> {
    let client = continuation::client(grants, &open.state).map_err(Halt::Page)?;
    let client = &client.config;
    let page = match Choice::of(form) {
        Choice::Patient(id) => take_patient(&mut open.state, id)?,
        Choice::Encounter(id) => take_encounter(&mut open.state, id)?,
        Choice::Search(query) => Some(search(grants, client, open, user, query).await?),
        Choice::Nothing => settle(grants, client, open, user, Some(open.language.words().pages.choose_one)).await?,
    };
    open.save(grants).await.map_err(Halt::Page)?;
    Ok(page.unwrap_or_else(|| onward(open)))
}

/// What a posted form says.
#[derive(Debug)]
enum Choice<'a> {
    Patient(&'a str),
    Encounter(&'a str),
    Search(&'a str),
    Nothing,
}

impl<'a> Choice<'a> {
    fn of(form: &'a Form) -> Self {
        match (form.only("patient"), form.only("encounter"), form.only("query")) {
            (Some(id), _, _) => Self::Patient(id),
            (None, Some(id), _) => Self::Encounter(id),
            (None, None, Some(query)) => Self::Search(query),
            (None, None, None) => Self::Nothing,
        }
    }
}

fn take_patient(state: &mut Transaction, id: &str) -> Result<Option<Answer>, Halt> {
    if !state.offered_patients.iter().any(|offered| offered == id) {
        return Err(Halt::Page(Problem::NotOffered));
    }
    if state.patient.as_deref() != Some(id) {
        // What was chosen for another patient does not hold for this one.
        state.encounter = None;
        state.offered_encounters.clear();
        state.offered_scopes.clear();
        state.patient = Some(id.to_owned());
    }
    Ok(None)
}

/// An empty `id` is the choice of no encounter: the app does not get `launch/encounter` then.
fn take_encounter(state: &mut Transaction, id: &str) -> Result<Option<Answer>, Halt> {
    let offered = state.offered_encounters.iter().any(|offered| offered == id);
    match (id.is_empty(), state.offered_encounters.is_empty()) {
        (true, false) => drop_encounter(state),
        (false, _) if offered => state.encounter = Some(id.to_owned()),
        (true, true) | (false, _) => return Err(Halt::Page(Problem::NotOffered)),
    }
    Ok(None)
}

fn drop_encounter(state: &mut Transaction) {
    state.encounter = None;
    state.scopes.retain(|scope| Scope::parse(scope) != Scope::LaunchEncounter);
}

async fn settle_patient(
    grants: &Grants,
    client: &Client,
    open: &mut OpenTransaction,
    user: &User,
    problem: Option<Text>,
) -> Result<Option<Answer>, Halt> {
    if !searches(user)
        && let [only] = own_ids(user).as_slice()
    {
        open.state.patient = Some((*only).to_owned());
        return Ok(None);
    }
    if open.state.prompt_none {
        return Err(Halt::Return(AuthorizationError::InteractionRequired, "the user has to choose a patient"));
    }
    let patients = if searches(user) {
        grants.patients.search(user, open.from, "").await?
    } else {
        own_patients(grants, user, open.from).await?
    };
    if patients.is_empty() {
        return Err(NO_PATIENT);
    }
    Ok(Some(patients_page(grants, client, open, user, Picker { query: "", patients, problem })))
}

/// Somebody who works here searches; a patient, or who acts for some, has a short list.
fn searches(user: &User) -> bool {
    match user.fhir_user.as_deref().and_then(|reference| reference.split_once('/')) {
        Some(("Practitioner" | "PractitionerRole", _)) => true,
        Some(_) => false,
        None => user.patients.is_empty(),
    }
}

/// The patients a person has without a search: the one that the person is, and those of the login.
fn own_ids(user: &User) -> Vec<&str> {
    let own = user.fhir_user.as_deref().and_then(|reference| reference.strip_prefix("Patient/"));
    let others = user.patients.iter().map(String::as_str).filter(|id| Some(*id) != own);
    own.into_iter().chain(others).collect()
}

async fn own_patients(grants: &Grants, user: &User, from: IpAddr) -> Result<Vec<PatientSummary>, Halt> {
    let mut patients = Vec::new();
    for some in own_ids(user).chunks(AT_ONCE).take(OWN / AT_ONCE) {
        let reads: Vec<_> = some.iter().map(|id| grants.patients.read(user, from, id)).collect();
        patients.extend(try_join_all(reads).await?.into_iter().flatten());
    }
    Ok(patients)
}

async fn search(
    grants: &Grants,
    client: &Client,
    open: &mut OpenTransaction,
    user: &User,
    query: &str,
) -> Result<Answer, Halt> {
    let from_launch = open.state.launch.as_ref().is_some_and(|launch| launch.patient.is_some());
    if from_launch || !needs_patient(&open.state.scopes) || !searches(user) {
        return Err(Halt::Page(Problem::NotOffered));
    }
    let query: String = query.trim().chars().take(MAX_QUERY).collect();
    let patients = grants.patients.search(user, open.from, &query).await?;
    Ok(patients_page(grants, client, open, user, Picker { query: &query, patients, problem: None }))
}

/// What the picker shows.
struct Picker<'a> {
    query: &'a str,
    patients: Vec<PatientSummary>,
    problem: Option<Text>,
}

fn patients_page(
    grants: &Grants,
    client: &Client,
    open: &mut OpenTransaction,
    user: &User,
    mut picker: Picker<'_>,
) -> Answer {
    picker.patients.truncate(if searches(user) { SHOWN } else { OWN });
    open.state.offered_patients = picker.patients.iter().map(|patient| patient.id.clone()).collect();
    let page = PatientPage {
        frame: Frame::new(&grants.config, open.language),
        app: &client.client_name,
        user: &user.display_name,
        transaction: &open.handle,
        searchable: searches(user),
        query: picker.query,
        patients: &picker.patients,
        problem: picker.problem,
    };
    render(&page, StatusCode::OK, Some(&open.state.redirect_uri))
}

fn wants_encounter(state: &Transaction) -> bool {
    state.scopes.iter().any(|scope| Scope::parse(scope) == Scope::LaunchEncounter)
}

async fn settle_encounter(
    grants: &Grants,
    client: &Client,
    open: &mut OpenTransaction,
    user: &User,
    problem: Option<Text>,
) -> Result<Option<Answer>, Halt> {
    let Some(patient) = open.state.patient.clone() else { return Err(NO_PATIENT) };
    if open.state.prompt_none {
        return Err(Halt::Return(AuthorizationError::InteractionRequired, "the user has to choose an encounter"));
    }
    let mut encounters = grants.patients.encounters(user, open.from, &patient).await?;
    encounters.truncate(SHOWN);
    if encounters.is_empty() {
        drop_encounter(&mut open.state);
        return Ok(None);
    }
    open.state.offered_encounters = encounters.iter().map(|encounter| encounter.id.clone()).collect();
    let page = EncounterPage {
        frame: Frame::new(&grants.config, open.language),
        app: &client.client_name,
        user: &user.display_name,
        transaction: &open.handle,
        encounters: &encounters,
        problem,
    };
    Ok(Some(render(&page, StatusCode::OK, Some(&open.state.redirect_uri))))
}

#[cfg(test)]
mod tests;
