//! What of it they get: the review of a searchset of 20 entries, step by step.
//!
//! `cargo bench --bench filter` prints the best and the median of many passes. `json` measures the strict pass beside other
//! parsers.
#![expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

#[path = "site/searchset.rs"]
mod searchset;
#[path = "site/timing.rs"]
mod timing;

use std::error::Error;

use firebreak::fhir::facts::Facts;
use firebreak::fhir::projection::{Projection, kept_elements};
use firebreak::fhir::reference::{Bases, Id};
use firebreak::filter::bundle::{self, BundleKind, Entry, Frame, Relation, Review, Total, Verdict};
use firebreak::filter::projection::project;
use firebreak::filter::urls::{Rebase, rewrite};
use firebreak::json::{Edits, Json, Limits};
use searchset::searchset;
use timing::measure;

const OURS: &str = "https://gw.example/fhir";
const THEIRS: &str = "http://store.internal:8080/fhir";

fn main() -> Result<(), Box<dyn Error>> {
    let bytes = bytes::Bytes::from(searchset(20, THEIRS));
    println!("searchset of 20 Observations: {} bytes", bytes.len());
    let json = Json::parse(bytes.clone(), Limits::default())?;
    let rebase = Rebase::new(OURS, &[THEIRS]);
    let bases = Bases::new(&OURS.parse()?, &THEIRS.parse()?, &[]);
    let elements = Projection::Elements(vec!["code".into(), "valueQuantity".into()]);
    let self_link = format!("{OURS}/Observation?code=2339-0");
    let frame = Frame { kind: BundleKind::Searchset, rebase: &rebase, self_link: &self_link, total: Total::Remove };
    let review = |json: &Json, projection: &Projection| {
        let mut review = Patient { bases: &bases, projection };
        bundle::review(json, &frame, &mut review).is_ok_and(|answer| answer.kept == 20)
    };
    let patient = Id::parse("p1").ok_or("an id")?;
    let entries = || json.root().member("entry").into_iter().flat_map(firebreak::json::Value::elements);
    let resources = || entries().filter_map(|entry| entry.member("resource"));
    measure("strict pass with index", || Json::parse(bytes.clone(), Limits::default()).is_ok());
    measure("membership of each entry", || {
        resources().all(|resource| Facts::of(resource).is_ok_and(|facts| facts.member(patient, &bases)))
    });
    measure("addresses of the upstream", || {
        let mut edits = Edits::new(&json);
        resources().for_each(|resource| rewrite(resource, &mut edits, &mut |_, url| rebase.outward(url)));
        !edits.is_empty()
    });
    measure("review, everything of each", || review(&json, &Projection::Full));
    measure("review, two elements of each", || review(&json, &elements));
    measure("strict pass and review", || {
        Json::parse(bytes.clone(), Limits::default()).is_ok_and(|json| review(&json, &Projection::Full))
    });
    Ok(())
}

/// As the filter judges for a `patient/` scope.
struct Patient<'b> {
    bases: &'b Bases,
    projection: &'b Projection,
}

impl Review for Patient<'_> {
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict {
        let member = Id::parse("p1").is_some_and(|patient| entry.facts.member(patient, self.bases));
        if member { Verdict::Keep } else { Verdict::Violation("compartment") }
    }

    fn shape(&mut self, entry: &Entry<'_>, edits: &mut Edits<'_>) {
        if self.projection.is_partial() {
            let kept = kept_elements(entry.facts.resource_type(), self.projection);
            project(entry.facts.resource(), edits, |element| kept.keeps(element));
        }
    }

    fn seal(&mut self, _: Relation, _: &str) -> Option<String> {
        None
    }
}
