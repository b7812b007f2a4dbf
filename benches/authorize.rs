//! Whether they may: what it costs to read a search, to confine it to a patient and to write it anew, and what the number of a
//! site's policies adds to a request, through the whole gateway.
//!
//! `cargo bench --bench authorize`. The requests are refused by the decision, so that no upstream is asked.
#![expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

mod site;
#[path = "site/timing.rs"]
mod timing;

use firebreak::fhir::compartment::patient_compartment;
use firebreak::fhir::narrow::{Confinement, Narrowed, narrow};
use firebreak::fhir::reference::{Bases, Id};
use firebreak::fhir::resource_type::ResourceType;
use firebreak::fhir::search::SearchQuery;
use firebreak::smart::scope::{Letter, Level, Scopes};
use site::{Problem, Site};
use timing::measure;

fn main() -> Result<(), Problem> {
    alone()?;
    for policies in [0, 100, 1_000] {
        let site = Site::start(policies)?;
        let token = vec![site.token("patient/*.rs", 0)?; 5_000];
        for (what, target) in [
            ("of the interaction", "/fhir/Observation/o1/$validate"),
            ("of the parameters", "/fhir/Observation?code=2339-0&patient.name=x"),
        ] {
            site.measure(target, token.iter().take(50), 403)?;
            let cost = site.measure(target, &token, 403)?;
            println!("{policies:>5} policies besides, refused because {what:<19} {cost}");
        }
    }
    Ok(())
}

fn alone() -> Result<(), Problem> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(
        b"code=http://loinc.org|2339-0&date=ge2026-01-01&encounter=Encounter/e1&_sort=-date&_count=20",
    )
    .into_owned()
    .collect();
    let observation = ResourceType::parse("Observation").ok_or("a type")?;
    let bases = Bases::new(&"https://gw.example/fhir".parse()?, &"http://up.internal/fhir".parse()?, &[]);
    let (patient, compartment) =
        (Id::parse("p1").ok_or("an id")?, patient_compartment(observation).ok_or("a compartment")?);
    let (query, projection) = SearchQuery::parse(observation, &pairs).map_err(|problem| format!("{problem:?}"))?;
    let scopes = Scopes::compile("openid patient/Condition.rs patient/Patient.rs patient/Observation.rs");
    measure("a scope for type and letter", || scopes.covers(Level::Patient, observation, Letter::Search));
    measure("a search of five parameters is read", || SearchQuery::parse(observation, &pairs).is_ok());
    measure("… confined to a patient", || {
        let confinement = Some(Confinement { patient, compartment });
        matches!(narrow(&query, confinement, &[], &bases, 200), Some(Narrowed::Search(parameters)) if parameters.len() == 6)
    });
    measure("… written as the self link", || query.self_link("Observation", &projection).len() > 50);
    Ok(())
}
