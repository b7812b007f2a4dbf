//! The EHR simulator: a clinician's patient list, a chart summary from the EHR's own database (the sample store, read
//! directly), and the launch of an app on a patient through the gateway's back channel. Nobody signs in here: it stands
//! for a program that has its own users already.

mod assertion;
mod back_channel;
mod launch;
mod summary;

use askama::Template;
use http::{Response, StatusCode};

use self::summary::{Line, Measurement, Patient, Visit, Waiting};
use super::page::{self, Kind};
use super::store::seed;
use super::{App, Settings};
use crate::demo::page::Body;

pub use self::assertion::EhrKey;
pub use self::back_channel::{BackChannel, BackChannelError, Reply, TlsBackChannel};
pub(super) use self::launch::launch;

#[derive(Debug, Template)]
#[template(path = "demo/pages/worklist.html")]
struct Worklist<'a> {
    clinician: &'a str,
    today: String,
    query: &'a str,
    in_clinic: Vec<Waiting>,
    patients: Vec<Patient>,
}

#[derive(Debug, Template)]
#[template(path = "demo/pages/chart.html")]
struct ChartPage<'a> {
    clinician: &'a str,
    patient: Patient,
    apps: &'a [App],
    encounters: Vec<Visit>,
    problems: Vec<Line>,
    allergies: Vec<Line>,
    medications: Vec<Line>,
    immunizations: Vec<Line>,
    vitals: Vec<Measurement>,
    labs: Vec<Measurement>,
}

#[derive(Debug, Template)]
#[template(path = "demo/pages/problem.html")]
struct ProblemPage<'a> {
    title: &'a str,
    text: &'a str,
}

/// The patient list, narrowed by the name in `q`.
pub(super) fn worklist(settings: &Settings, query: &str) -> Response<Body> {
    let name = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "q").map(|(_, value)| value);
    let name = name.as_deref().unwrap_or_default().trim();
    let in_clinic = if name.is_empty() { summary::in_clinic(&settings.store) } else { Vec::new() };
    let template = Worklist {
        clinician: &settings.ehr.display_name,
        today: seed::TODAY.strftime("%A, %-d %B %Y").to_string(),
        query: name,
        in_clinic,
        patients: summary::patients(&settings.store, name),
    };
    page::html(settings, Kind::Page, &template)
}

/// One patient's chart.
pub(super) fn chart(settings: &Settings, id: &str) -> Response<Body> {
    let store = &settings.store;
    let Some(patient) = summary::patient(store, id) else {
        return problem(settings, StatusCode::NOT_FOUND, "No such patient", "There is no chart under this address.");
    };
    let template = ChartPage {
        clinician: &settings.ehr.display_name,
        apps: &settings.apps,
        encounters: summary::visits(store, id),
        problems: summary::problems(store, id),
        allergies: summary::allergies(store, id),
        medications: summary::medications(store, id),
        immunizations: summary::immunizations(store, id),
        vitals: summary::latest(store, id, "vital-signs"),
        labs: summary::latest(store, id, "laboratory"),
        patient,
    };
    page::html(settings, Kind::Page, &template)
}

/// A page that says what went wrong.
fn problem(settings: &Settings, status: StatusCode, title: &str, text: &str) -> Response<Body> {
    let mut response = page::html(settings, Kind::Page, &ProblemPage { title, text });
    *response.status_mut() = status;
    response
}
