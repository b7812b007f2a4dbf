//! What the strict pass and the review of a searchset cost: 100 Observations, about 140 KB, on one core.
//!
//! `cargo bench --bench json` prints the best and the median of many passes in microseconds.
#![expect(clippy::print_stdout, reason = "a benchmark reports on its standard output")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use firebreak::fhir::reference::{Bases, Id};
use firebreak::filter::bundle::{self, BundleKind, Entry, Frame, Relation, Review, Total, Verdict};
use firebreak::filter::urls::Rebase;
use firebreak::json::{Json, Limits};

fn main() {
    let bytes = Bytes::from(searchset(100));
    println!("searchset of 100 Observations: {} bytes", bytes.len());
    measure("strict pass with index", || Json::parse(bytes.clone(), Limits::default()).is_ok());
    if let (Ok(json), Some(mut patient)) = (Json::parse(bytes.clone(), Limits::default()), Patient::new()) {
        let rebase = Rebase::new("https://gateway.example/fhir", &["http://store.internal:8080/fhir"]);
        let self_link = "https://gateway.example/fhir/Observation";
        let frame = Frame { kind: BundleKind::Searchset, rebase: &rebase, self_link, total: Total::Remove };
        let mut review =
            |json: &Json| bundle::review(json, &frame, &mut patient).is_ok_and(|answer| answer.kept == 100);
        measure("membership, addresses and splicing", || review(&json));
        measure("all of it", || Json::parse(bytes.clone(), Limits::default()).is_ok_and(|json| review(&json)));
    }
    measure("serde_json, validity only", || serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
    measure("serde_json, DOM", || serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
}

struct Patient(Bases);

impl Patient {
    fn new() -> Option<Self> {
        let gateway = "https://gateway.example/fhir".parse().ok()?;
        let upstream = "http://store.internal:8080/fhir".parse().ok()?;
        Some(Self(Bases::new(&gateway, &upstream, &[])))
    }
}

impl Review for Patient {
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict {
        let member = Id::parse("p1").is_some_and(|patient| entry.facts.member(patient, &self.0));
        if member { Verdict::Keep } else { Verdict::Violation("compartment") }
    }

    fn seal(&mut self, _: Relation, _: &str) -> Option<String> {
        None
    }
}

fn measure(what: &str, mut pass: impl FnMut() -> bool) {
    let mut times: Vec<_> = (0..2_000)
        .map(|_| {
            let start = Instant::now();
            assert!(black_box(pass()), "the searchset is well-formed");
            start.elapsed()
        })
        .collect();
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).map_or(0.0, |time| time.as_secs_f64() * 1e6);
    println!("{what}: best {:.0} µs, median {:.0} µs", at(0), at(50));
}

/// Observations with the elements that US Core asks for, as a FHIR server would print them without indentation.
fn searchset(entries: usize) -> String {
    let entry = |number: usize| {
        format!(
            r##"{{"fullUrl":"http://store.internal:8080/fhir/Observation/o{number}","resource":{{"resourceType":"Observation","id":"o{number}","meta":{{"versionId":"1","lastUpdated":"2026-03-04T05:06:07.890+00:00","source":"#kQ2rVt8n3xWm","profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"],"security":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"N"}}]}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"Laboratory"}}],"text":"Laboratory"}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"2339-0","display":"Glucose [Mass/volume] in Blood"}}],"text":"Glucose"}},"subject":{{"reference":"Patient/p1","display":"Amy V. Shaw"}},"encounter":{{"reference":"Encounter/e{number}"}},"effectiveDateTime":"2026-03-03T08:30:00+00:00","issued":"2026-03-03T09:15:27.123+00:00","performer":[{{"reference":"Practitioner/d1","display":"Ronald Bone, MD"}},{{"reference":"Organization/lab"}}],"valueQuantity":{{"value":76.{number:03}0,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}},"interpretation":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","code":"N","display":"Normal"}}]}}],"referenceRange":[{{"low":{{"value":70.0,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}},"high":{{"value":99.0,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}}}}]}},"search":{{"mode":"match"}}}}"##
        )
    };
    let entries: Vec<String> = (0..entries).map(entry).collect();
    format!(
        r#"{{"resourceType":"Bundle","id":"b1","type":"searchset","total":100,"link":[{{"relation":"self","url":"http://store.internal:8080/fhir/Observation?subject=Patient%2Fp1"}}],"entry":[{}]}}"#,
        entries.join(",")
    )
}
