//! The sample SMART app "Vitals": static pages and small ES modules of our own. All of its work happens in the browser,
//! as a public client of the gateway (SMART App Launch 2.2, both launches, PKCE, refresh).

use askama::Template;
use http::Response;

use super::Settings;
use super::page::{self, Kind};
use crate::demo::page::Body;

#[derive(Debug, Template)]
#[template(path = "demo/pages/app.html")]
struct AppPage<'a> {
    fhir_base: &'a str,
    script: &'static str,
}

/// The answer for a path below `/app`, if there is one.
pub(super) fn respond(settings: &Settings, path: &str) -> Option<Response<Body>> {
    let show = |script| page::html(settings, Kind::App, &AppPage { fhir_base: &settings.fhir_base, script });
    match path {
        "/app" => page::see_other("/app/"),
        "/app/" => Some(show("vitals.js")),
        "/app/launch" => Some(show("launch.js")),
        "/app/vitals.js" => Some(page::script(include_str!("assets/vitals.js"))),
        "/app/launch.js" => Some(page::script(include_str!("assets/launch.js"))),
        "/app/smart.js" => Some(page::script(include_str!("assets/smart.js"))),
        "/app/page.js" => Some(page::script(include_str!("assets/page.js"))),
        "/app/chart.js" => Some(page::script(include_str!("assets/chart.js"))),
        _ => None,
    }
}
