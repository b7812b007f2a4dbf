//! What `firebreak demo` shows beside the gateway: a start page, an EHR simulator, a sample SMART app and the audit
//! console, on the gateway's own loopback origin, and the sample FHIR [`store`] behind it.
//!
//! Takes requests for paths that are not the gateway's; gives pages, or nothing when the path is not the demonstration's.
//! The pages use no inline script or style and nothing from elsewhere, and work without JavaScript except the app. It does
//! NOT authorize anybody: it belongs on loopback only. The EHR reads the store as its own database; the app and the
//! launch go through the gateway like anybody else's.

mod app;
mod console;
mod ehr;
mod page;
pub mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::console::Console;
use self::page::{Kind, Start, full};
use self::store::Store;
use crate::clock::Clock;

pub use self::page::Body;

pub use self::ehr::{BackChannel, BackChannelError, EhrKey, Reply, TlsBackChannel};

/// Everything the demonstration needs from the one who starts it.
pub struct Settings {
    /// The origin that all parts share: `https://localhost:8443`, without a slash at the end.
    pub origin: String,
    /// The gateway's FHIR base, below the origin, without a slash at the end.
    pub fhir_base: String,
    /// The gateway's issuer; `{issuer}/launch-contexts` is the back channel.
    pub issuer: String,
    /// The certificate authority's file, as the start page shows it in commands.
    pub ca_file: String,
    /// The sample store, the same one that the gateway has as its upstream.
    pub store: Arc<Store>,
    /// The EHR as a registered client.
    pub ehr: EhrClient,
    /// The apps that the EHR can launch, the sample app first.
    pub apps: Vec<App>,
    /// Who can sign in, as the start page tells.
    pub logins: Vec<Login>,
    /// How the EHR calls the gateway.
    pub back_channel: Arc<dyn BackChannel>,
    /// Subscribes to the lines of the audit log.
    pub audit: Box<dyn Fn() -> broadcast::Receiver<Arc<str>> + Send + Sync>,
    /// The time, for client assertions.
    pub clock: Clock,
    /// Cancelled when the program ends: open streams end then.
    pub stop: CancellationToken,
}

/// The EHR simulator as a client of the gateway (`private_key_jwt`), and the person who sits before it.
#[derive(Debug)]
pub struct EhrClient {
    /// `client_id`
    pub client_id: String,
    /// The key it signs assertions with.
    pub key: EhrKey,
    /// Issuer of `sub`, as a user is (iss, sub).
    pub user_issuer: String,
    /// The clinician's subject, for instance `dr.rivera`.
    pub user_subject: String,
    /// The clinician's resource, `Practitioner/elena-rivera`.
    pub fhir_user: String,
    /// The clinician's name as the EHR shows it.
    pub display_name: String,
}

/// An app that can be launched.
#[derive(Clone, Debug)]
pub struct App {
    /// `client_id`
    pub client_id: String,
    /// What the EHR's button says.
    pub name: String,
    /// The registered launch URL.
    pub launch_url: Url,
}

/// Somebody who can sign in.
#[derive(Clone, Debug)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Shown on the start page when given. It is for a demonstration on loopback; no real password belongs here.
    pub password: Option<String>,
    /// Name and role, for people.
    pub display_name: String,
}

/// The pages of the demonstration.
#[derive(Debug)]
pub struct DemoSite {
    settings: Settings,
    console: Console,
}

impl DemoSite {
    /// The client id of the sample app, a public client with the redirect URI `{origin}/app/` and the launch URL
    /// `{origin}/app/launch`.
    pub const APP_CLIENT_ID: &str = "vitals-app";

    /// The most the sample app asks for, as its registered scope.
    pub const APP_SCOPE: &str = "launch launch/patient openid fhirUser offline_access patient/Patient.r \
        patient/Observation.rs patient/Condition.rs patient/MedicationRequest.rs patient/Encounter.rs";

    /// Starts to keep audit records from now on.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let console = Console::new((settings.audit)());
        Self { settings, console }
    }

    /// The answer to a request; `None` when `path` is not one of the demonstration's.
    pub async fn respond(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Response<Body>> {
        let query = query.unwrap_or_default();
        let reading = matches!(*method, Method::GET | Method::HEAD);
        if path == "/ehr/launch" {
            return Some(match *method {
                Method::POST => ehr::launch(&self.settings, headers, body).await,
                _ => not_allowed("POST"),
            });
        }
        let answer = match path {
            "/" => self.start(),
            "/demo/style.css" => page::asset("text/css; charset=utf-8", include_str!("assets/style.css")),
            "/demo/icon.svg" => page::asset("image/svg+xml", include_str!("assets/icon.svg")),
            "/ehr" => ehr::worklist(&self.settings, query),
            "/console" => self.console.page(&self.settings),
            "/console/events" => self.console.events(&self.settings, query, headers),
            "/console/console.js" => page::script(include_str!("assets/console.js")),
            _ => match path.strip_prefix("/ehr/patients/") {
                Some(id) => ehr::chart(&self.settings, id),
                None => app::respond(&self.settings, path)?,
            },
        };
        Some(if reading { answer } else { not_allowed("GET, HEAD") })
    }

    fn start(&self) -> Response<Body> {
        let Settings { fhir_base, issuer, ca_file, apps, logins, store, .. } = &self.settings;
        let patients = store.search("Patient", &[]).len();
        page::html(&self.settings, Kind::Page, &Start { patients, fhir_base, issuer, ca_file, apps, logins })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("origin", &self.origin).field("ehr", &self.ehr).finish_non_exhaustive()
    }
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
