//! The EHR launch (SMART App Launch 2.2, step 2): tells the gateway over the back channel who the launch is about, then
//! sends the browser to the app with the handle that the gateway gave.
//!
//! A plain form: `patient`, `encounter` (may be empty) and `app` (a client id).

use http::header::ORIGIN;
use http::{HeaderMap, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::problem;
use crate::demo::page;
use crate::demo::page::Body;
use crate::demo::{App, Settings};

/// The body of `POST {issuer}/launch-contexts`.
#[derive(Debug, Serialize)]
struct LaunchContext<'a> {
    client_id: &'a str,
    patient: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    encounter: Option<&'a str>,
    /// The app replaces the EHR's page in the browser, so nobody else shows who the patient is.
    need_patient_banner: bool,
    user: LaunchUser<'a>,
}

#[derive(Debug, Serialize)]
struct LaunchUser<'a> {
    iss: &'a str,
    sub: &'a str,
    #[serde(rename = "fhirUser")]
    fhir_user: &'a str,
}

/// The part of the gateway's answer that is needed.
#[derive(Debug, Deserialize)]
struct Launched {
    launch_url: String,
}

/// Why there is no launch.
#[derive(Debug)]
enum Failure {
    /// The form came from another site.
    Foreign,
    /// The form names no patient, encounter or app that there is.
    Form(&'static str),
    /// The gateway refused, with this error.
    Refused(String),
    /// The gateway could not be asked or made no sense.
    Unanswered,
}

/// Answers the form with 303 to the app, or a page that says why not.
pub(in crate::demo) async fn launch(settings: &Settings, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
    let failure = match try_launch(settings, headers, body).await {
        Ok(location) => match page::see_other(location.as_str()) {
            Some(response) => return response,
            None => Failure::Unanswered,
        },
        Err(failure) => failure,
    };
    let (status, text) = match &failure {
        Failure::Foreign => (StatusCode::FORBIDDEN, "The request came from another site."),
        Failure::Form(text) => (StatusCode::BAD_REQUEST, *text),
        Failure::Refused(text) => (StatusCode::BAD_GATEWAY, text.as_str()),
        Failure::Unanswered => (StatusCode::BAD_GATEWAY, "The gateway did not answer the EHR. Try again in a moment."),
    };
    problem(settings, status, "The app was not launched", text)
}

async fn try_launch(settings: &Settings, headers: &HeaderMap, body: &[u8]) -> Result<Url, Failure> {
    if is_foreign(settings, headers) {
        return Err(Failure::Foreign);
    }
    let form = Form::parse(settings, body)?;
    let ehr = &settings.ehr;
    let assertion = ehr.key.assertion(&ehr.client_id, &settings.issuer, &settings.clock).ok_or(Failure::Unanswered)?;
    let context = LaunchContext {
        client_id: &form.app.client_id,
        patient: &form.patient,
        encounter: form.encounter.as_deref(),
        need_patient_banner: true,
        user: LaunchUser { iss: &ehr.user_issuer, sub: &ehr.user_subject, fhir_user: &ehr.fhir_user },
    };
    let json = serde_json::to_string(&context).map_err(|_| Failure::Unanswered)?;
    let url = format!("{}/launch-contexts", settings.issuer.trim_end_matches('/'));
    let reply = settings.back_channel.post(&url, &assertion, json).await.map_err(|error| {
        tracing::warn!(error = %error.0, "the back channel of the EHR simulator failed");
        Failure::Unanswered
    })?;
    if reply.status != StatusCode::CREATED {
        let error = serde_json::from_slice::<Value>(&reply.body).ok();
        let error =
            error.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str).unwrap_or("no reason given");
        return Err(Failure::Refused(format!(
            "The gateway refused the launch with {}: {error}.",
            reply.status.as_u16()
        )));
    }
    let launched: Launched = serde_json::from_slice(&reply.body).map_err(|_| Failure::Unanswered)?;
    let location = Url::parse(&launched.launch_url).map_err(|_| Failure::Unanswered)?;
    let registered = &form.app.launch_url;
    let same_place = location.origin() == registered.origin() && location.path() == registered.path();
    if same_place { Ok(location) } else { Err(Failure::Unanswered) }
}

/// A checked form.
#[derive(Debug)]
struct Form<'a> {
    app: &'a App,
    patient: String,
    encounter: Option<String>,
}

impl<'a> Form<'a> {
    fn parse(settings: &'a Settings, body: &[u8]) -> Result<Self, Failure> {
        let value = |wanted: &str| {
            let mut found = form_urlencoded::parse(body).filter(|(name, _)| name == wanted);
            found.next().map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
        };
        let app = value("app").and_then(|id| settings.apps.iter().find(|app| app.client_id == id));
        let app = app.ok_or(Failure::Form("There is no app of that name."))?;
        let patient = value("patient").filter(|id| settings.store.read("Patient", id).is_some());
        let patient = patient.ok_or(Failure::Form("There is no such patient."))?;
        let encounter = value("encounter");
        if let Some(id) = &encounter {
            let stored = settings.store.read("Encounter", id);
            let stored = stored.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
            let subject = stored.as_ref().and_then(|found| found.pointer("/subject/reference")).and_then(Value::as_str);
            if subject.and_then(|reference| reference.strip_prefix("Patient/")) != Some(patient.as_str()) {
                return Err(Failure::Form("The patient has no such encounter."));
            }
        }
        Ok(Self { app, patient, encounter })
    }
}

/// Whether a browser says that another site made it send this.
fn is_foreign(settings: &Settings, headers: &HeaderMap) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    match header("sec-fetch-site") {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None => header(ORIGIN.as_str()).is_some_and(|origin| origin != settings.origin),
    }
}
