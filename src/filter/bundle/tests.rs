#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

use proptest::prelude::*;
use serde_json::{Value as Oracle, json};

use super::*;
use crate::fhir::reference::{Bases, Id};
use crate::json::Limits;

/// Judges by membership in the compartment of P1, as the filter does for a `patient/` scope.
struct Compartment {
    bases: Bases,
    sealed: Vec<String>,
    elements: Option<&'static [&'static str]>,
}

impl Review for Compartment {
    fn judge(&mut self, entry: &Entry<'_>) -> Verdict {
        let granular = entry.facts.tags().any(|tag| tag.code.as_deref() == Some("other-category"));
        match entry.facts.member(Id::parse("P1").unwrap(), &self.bases) {
            true if granular => Verdict::Drop,
            true => Verdict::Keep,
            false => Verdict::Violation("compartment"),
        }
    }

    fn shape(&mut self, entry: &Entry<'_>, edits: &mut Edits<'_>) {
        if let Some(elements) = self.elements {
            super::super::projection::project(entry.facts.resource(), edits, |name| elements.contains(&name));
        }
    }

    fn address(&mut self, entry: &Entry<'_>, position: Position, url: &str) -> Option<String> {
        let binary = url.strip_prefix("http://up/fhir/").filter(|url| url.starts_with("Binary/"))?;
        (position == Position::Url).then(|| format!("https://gw/fhir/{binary}?gw={}", entry.facts.id().unwrap()))
    }

    fn seal(&mut self, relation: Relation, url: &str) -> Option<String> {
        self.sealed.push(format!("{} {url}", relation.name()));
        url.contains("_getpages").then(|| format!("https://gw/fhir?page={}", relation.name()))
    }
}

fn reviewed_as(
    text: &str,
    kind: BundleKind,
    total: Total,
    elements: Option<&'static [&'static str]>,
) -> Result<Reviewed, Fault> {
    let json = Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap();
    let rebase = Rebase::new("https://gw/fhir", &["http://up/fhir"]);
    let frame = Frame { kind, rebase: &rebase, self_link: "https://gw/fhir/Observation?code=1\"", total };
    let bases = Bases::new(&"https://gw/fhir".parse().unwrap(), &"http://up/fhir".parse().unwrap(), &[]);
    review(&json, &frame, &mut Compartment { bases, sealed: Vec::new(), elements })
}

fn reviewed(bundle: &Oracle) -> Result<(Oracle, usize, usize), Fault> {
    let answer = reviewed_as(&bundle.to_string(), BundleKind::Searchset, Total::Remove, None)?;
    // Whatever leaves must pass our own strict pass again.
    Json::parse(answer.body.clone(), Limits::default()).unwrap();
    Ok((serde_json::from_slice(&answer.body).unwrap(), answer.kept, answer.dropped))
}

fn searchset(entries: &[Oracle]) -> Oracle {
    json!({"resourceType": "Bundle", "type": "searchset", "entry": entries})
}

fn observation(id: &str, patient: &str) -> Oracle {
    json!({"resourceType": "Observation", "id": id, "subject": {"reference": format!("Patient/{patient}")}})
}

fn entry(resource: &Oracle, mode: &str) -> Oracle {
    json!({"fullUrl": "http://up/fhir/whatever", "resource": resource, "search": {"mode": mode}})
}

#[test]
fn a_searchset_is_rebuilt_around_resources_that_stay_byte_for_byte() {
    let text = r##"{ "resourceType":"Bundle", "id":"0f6b-cursor", "meta":{"lastUpdated":"2026-03-04T05:06:07.890Z","source":"#x"},
  "type":"searchset", "total":2, "timestamp":"2026-03-04T05:06:07Z", "identifier":{"value":"i"}, "implicitRules":"http://x",
  "link":[ {"relation":"self","url":"http://up/fhir/Observation?subject=Patient%2FP1"},
    {"relation":"next","url":"http:\/\/up/fhir?_getpages=0f6b"}, {"relation":"next","url":"http://up/fhir?_getpages=2"},
    {"relation":"prev","url":"http://up/fhir?_getpages=3"}, {"relation":"last","url":"http://up/fhir?other"}, {"relation":"hub","url":"http://up"} ],
  "entry":[ { "fullUrl":"http://up/fhir/Observation/o1", "link":[{"relation":"x","url":"http://up/"}],
      "resource":{ "resourceType":"Observation","id":"o1",  "valueQuantity":{"value": 1.10}, "x":[1e400,12345678901234567890],
        "subject":{"reference":"http://up/fhir/Patient/P1"}, "text":{"div":"<p>http://up/fhir/\u00e9</p>"} },
      "search":{"mode":"match","score":0.50,"extension":[]}, "request":{"method":"GET","url":"x"}, "response":{"status":"200"} } ],
  "signature":{} }"##;
    let expected = r#"{"link":[{"relation":"self","url":"https://gw/fhir/Observation?code=1\""},{"relation":"next","url":"https://gw/fhir?page=next"},{"relation":"previous","url":"https://gw/fhir?page=previous"}], "resourceType":"Bundle", "meta":{"lastUpdated":"2026-03-04T05:06:07.890Z"},
  "type":"searchset", "timestamp":"2026-03-04T05:06:07Z", "entry":[ { "fullUrl":"https://gw/fhir/Observation/o1", "resource":{ "resourceType":"Observation","id":"o1",  "valueQuantity":{"value": 1.10}, "x":[1e400,12345678901234567890],
        "subject":{"reference":"https://gw/fhir/Patient/P1"}, "text":{"div":"<p>http://up/fhir/\u00e9</p>"} },
      "search":{"mode":"match","score":0.50} } ] }"#;
    let answer = reviewed_as(text, BundleKind::Searchset, Total::Remove, None).unwrap();
    assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
    assert_eq!((answer.kept, answer.dropped), (1, 0));
    let answer = reviewed_as(text, BundleKind::Searchset, Total::Keep, None).unwrap();
    assert!(String::from_utf8(answer.body).unwrap().contains(r#""total":2"#));
}

/// Case 85.
#[test]
fn a_foreign_match_is_a_violation_whether_its_mode_says_so_or_not() {
    let foreign = observation("o2", "P2");
    let entries = [
        entry(&foreign, "match"),
        entry(&foreign, "Include"),
        entry(&foreign, "unknown"),
        json!({"resource": foreign}),
        json!({"resource": foreign, "search": {"mode": ["include"]}}),
        json!({"resource": foreign, "search": "include"}),
    ];
    for bad in entries {
        let bundle = searchset(&[entry(&observation("o1", "P1"), "match"), bad]);
        assert_eq!(reviewed(&bundle).unwrap_err(), Fault::Violation("compartment"), "{bundle}");
    }
}

#[test]
fn a_foreign_include_is_left_out() {
    let bundle = searchset(&[
        entry(&observation("o2", "P2"), "include"),
        entry(&observation("o1", "P1"), "match"),
        entry(&observation("o3", "P1"), "include"),
        entry(&json!({"resourceType": "Nonsense", "id": "P2"}), "include"),
    ]);
    let (answer, kept, dropped) = reviewed(&bundle).unwrap();
    assert_eq!((kept, dropped), (2, 2));
    assert_eq!(answer["entry"][0]["resource"]["id"], "o1");
    assert_eq!(answer["entry"][1]["resource"]["id"], "o3");
    assert_eq!(answer["entry"].as_array().unwrap().len(), 2);
    assert!(!answer.to_string().contains("P2"));
}

#[test]
fn a_match_outside_the_granular_filter_is_left_out_and_the_total_with_it() {
    let mut filtered = observation("o2", "P1");
    filtered["meta"] = json!({"tag": [{"code": "other-category"}]});
    let mut bundle = searchset(&[entry(&filtered, "match")]);
    bundle["total"] = json!(1);
    let answer = reviewed_as(&bundle.to_string(), BundleKind::Searchset, Total::Keep, None).unwrap();
    let expected = json!({"resourceType": "Bundle", "type": "searchset",
        "link": [{"relation": "self", "url": "https://gw/fhir/Observation?code=1\""}]});
    assert_eq!(serde_json::from_slice::<Oracle>(&answer.body).unwrap(), expected);
    assert_eq!((answer.kept, answer.dropped), (0, 1));
}

#[test]
fn outcomes_are_sanitised() {
    let outcome = json!({"resourceType": "OperationOutcome", "id": "P2",
        "issue": [{"severity": "warning", "code": "not-found", "diagnostics": "Patient/P2"}]});
    let bundle = searchset(&[entry(&outcome, "outcome"), entry(&observation("o2", "P2"), "outcome")]);
    let (answer, kept, dropped) = reviewed(&bundle).unwrap();
    let expected = json!([{"resource": {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "not-found"}]},
        "search": {"mode": "outcome"}}]);
    assert_eq!(answer["entry"], expected);
    assert_eq!((kept, dropped), (0, 1));
    assert_eq!(reviewed(&searchset(&[entry(&outcome, "match")])).unwrap_err(), Fault::Violation("compartment"));
}

#[test]
fn full_urls_are_ours_and_entries_without_a_resource_are_left_out() {
    let bundle = searchset(&[
        json!({"fullUrl": "http://up/fhir/Observation/secret"}),
        json!({"resource": observation("o1", "P1"), "search": {"mode": 5}}),
        json!({"resource": observation("o2", "P1"), "fullUrl": {"x": ["http://up"]}}),
    ]);
    let (answer, kept, dropped) = reviewed(&bundle).unwrap();
    assert_eq!((kept, dropped), (2, 1));
    let expected = json!([
        {"fullUrl": "https://gw/fhir/Observation/o1", "resource": observation("o1", "P1")},
        {"fullUrl": "https://gw/fhir/Observation/o2", "resource": observation("o2", "P1")},
    ]);
    assert_eq!(answer["entry"], expected);
}

#[test]
fn what_is_no_searchset_is_refused() {
    for (bundle, fault) in [
        (json!({"resourceType": "Bundle", "type": "history"}), Fault::NotTheBundle),
        (json!({"resourceType": "Bundle"}), Fault::NotTheBundle),
        (json!({"resourceType": "Patient", "type": "searchset"}), Fault::NotTheBundle),
        (json!([{"resourceType": "Bundle", "type": "searchset"}]), Fault::NotTheBundle),
        (json!({"resourceType": "Bundle", "type": ["searchset"]}), Fault::NotTheBundle),
        (json!({"resourceType": "Bundle", "type": "searchset", "entry": {}}), Fault::Malformed("entry")),
        (json!({"resourceType": "Bundle", "type": "searchset", "entry": [null]}), Fault::Malformed("entry")),
        (searchset(&[entry(&json!({"resourceType": "Observation"}), "match")]), Fault::NotAResource),
        (searchset(&[entry(&json!([]), "match")]), Fault::NotAResource),
        (searchset(&[entry(&json!({"resourceType": "Observation", "id": "../P2"}), "match")]), Fault::NotAResource),
    ] {
        assert_eq!(reviewed(&bundle).unwrap_err(), fault, "{bundle}");
    }
}

#[test]
fn an_empty_searchset_stays_one() {
    let (answer, kept, dropped) = reviewed(&searchset(&[])).unwrap();
    assert!(answer.get("entry").is_none());
    assert_eq!((kept, dropped), (0, 0));
}

#[test]
fn links_into_a_resource_are_sealed_to_it() {
    let mut document = observation("o1", "P1");
    document["content"] =
        json!([{"attachment": {"url": "http://up/fhir/Binary/b1"}}, {"attachment": {"url": "http://up/fhir/x"}}]);
    let (answer, ..) = reviewed(&searchset(&[entry(&document, "match")])).unwrap();
    let content = &answer["entry"][0]["resource"]["content"];
    assert_eq!(content[0]["attachment"]["url"], "https://gw/fhir/Binary/b1?gw=o1");
    assert_eq!(content[1]["attachment"]["url"], "https://gw/fhir/x");
}

/// Case 88: the judge sees the subject that the projection removes, and edits inside what is removed are no conflict.
#[test]
fn a_projection_is_applied_after_the_decision() {
    let mut resource = observation("o1", "P1");
    resource["subject"]["reference"] = json!("http://up/fhir/Patient/P1");
    resource["status"] = json!("final");
    let text = searchset(&[entry(&resource, "match")]).to_string();
    let answer = reviewed_as(&text, BundleKind::Searchset, Total::Remove, Some(&["status"])).unwrap();
    let answer: Oracle = serde_json::from_slice(&answer.body).unwrap();
    let tag = json!({"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"});
    let expected = json!({"resourceType": "Observation", "id": "o1", "status": "final", "meta": {"tag": [tag]}});
    assert_eq!(answer["entry"][0]["resource"], expected);
}

#[test]
fn a_history_keeps_the_versions_that_may_be_seen() {
    let version = |resource: Oracle, method: &str, url: &str| {
        json!({"fullUrl": "http://up/fhir/Observation/o1", "resource": resource, "search": {"mode": "include"},
            "request": {"method": method, "url": url, "ifNoneExist": "identifier=P2"},
            "response": {"status": "201", "etag": "W/\"1\"", "location": "http://up/fhir/x", "outcome": {"P2": 1}}})
    };
    let bundle = json!({"resourceType": "Bundle", "type": "history", "total": 4, "entry": [
        version(observation("o1", "P1"), "PUT", "Observation?identifier=P2"),
        version(observation("o1", "P2"), "PUT", "Observation/o1"),
        {"fullUrl": "http://up/fhir/Observation/o1", "request": {"method": "DELETE", "url": "Observation/o1"}},
        version(observation("o1", "P1"), "LINK", "Observation/o1"),
    ]});
    let answer = reviewed_as(&bundle.to_string(), BundleKind::History, Total::Keep, None).unwrap();
    assert_eq!((answer.kept, answer.dropped), (2, 2));
    let answer: Oracle = serde_json::from_slice(&answer.body).unwrap();
    let response = json!({"status": "201", "etag": "W/\"1\""});
    let expected = json!([
        {"fullUrl": "https://gw/fhir/Observation/o1", "resource": observation("o1", "P1"),
            "request": {"method": "PUT", "url": "Observation/o1"}, "response": response},
        {"fullUrl": "https://gw/fhir/Observation/o1", "resource": observation("o1", "P1"), "response": response},
    ]);
    assert_eq!(answer["entry"], expected);
    assert!(answer.get("total").is_none());
}

/// An entry of any kind; what must not leave is marked.
fn any_entry() -> impl Strategy<Value = (Oracle, bool)> {
    let mode = prop::sample::select(vec!["match", "include", "outcome", "Match", ""]);
    let patient = prop::sample::select(vec!["P1", "P2", "P2-canary", "Group/P1", "#P1"]);
    let extra = prop::sample::select(vec!["link", "request", "response", "extension", "fullUrl", "_resource", "x"]);
    (0..6_u8, mode, patient, extra).prop_map(|(kind, mode, patient, extra)| {
        let own = patient == "P1";
        let mark = if own { "own" } else { "canary" };
        let resource = match kind {
            0 => json!({"resourceType": "Patient", "id": patient.replace(['/', '#'], "-"), "name": [{"family": mark}]}),
            1 => json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "canary", "diagnostics": "canary"}]}),
            2 => json!({"resourceType": "Practitioner", "id": "d", "name": [{"family": "canary"}]}),
            3 => json!(["canary"]),
            _ => json!({"note": [{"text": mark}], "id": "o1", "subject": {"reference": format!("Patient/{patient}")}, "resourceType": "Observation"}),
        };
        let released = own && !matches!(kind, 1..=3) && mode != "outcome";
        (json!({extra: {"canary": "canary"}, "resource": resource, "search": {"mode": mode, "canary": 1}}), released)
    })
}

proptest! {
    /// Invariant I3: whatever the upstream sends, nothing of another patient leaves, and all of the patient's own does.
    #[test]
    fn nothing_of_another_patient_leaves(entries in prop::collection::vec(any_entry(), 0..6), pretty in any::<bool>()) {
        let own = entries.iter().filter(|(_, released)| *released).count();
        let entries: Vec<Oracle> = entries.into_iter().map(|(entry, _)| entry).collect();
        let foreign = |entry: &&Oracle| !entry["resource"].to_string().contains("own");
        let strict = |entry: &&Oracle| !matches!(entry["search"]["mode"].as_str().unwrap(), "include" | "outcome");
        let bundle = json!({"resourceType": "Bundle", "type": "searchset", "id": "canary", "total": 7, "canary": "canary",
            "meta": {"source": "canary"}, "link": [{"relation": "canary", "url": "canary"}], "entry": entries});
        let text = if pretty { serde_json::to_string_pretty(&bundle) } else { serde_json::to_string(&bundle) }.unwrap();
        match reviewed_as(&text, BundleKind::Searchset, Total::Remove, None) {
            Ok(answer) => {
                let body = String::from_utf8(answer.body).unwrap();
                prop_assert!(!body.contains("canary") && !body.contains("P2"), "{}", body);
                prop_assert_eq!(answer.kept, own);
                prop_assert!(Json::parse(body, Limits::default()).is_ok());
                prop_assert!(!entries.iter().filter(strict).any(|entry| foreign(&entry)));
            }
            Err(fault) => {
                prop_assert!(matches!(fault, Fault::Violation(_) | Fault::NotAResource), "{}", fault);
                prop_assert!(entries.iter().filter(strict).any(|entry| foreign(&entry)));
            }
        }
    }
}
