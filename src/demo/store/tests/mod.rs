//! What the sample store promises, and that its data is whole.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

mod data;

use http::header::{ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::Value;

use super::answer::Asked;
use super::*;

const BASE: &str = "http://127.0.0.1:1/fhir";

/// One store for all tests: it does not change.
fn store() -> &'static Store {
    static STORE: std::sync::OnceLock<Store> = std::sync::OnceLock::new();
    STORE.get_or_init(|| Store::new(BASE))
}

fn ask(
    store: &Store,
    method: &Method,
    target: &str,
    headers: &[(&'static str, &'static str)],
    body: &str,
) -> Response<Bytes> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
    store.answer(Asked { method, path, query, headers: &headers, body: body.as_bytes() })
}

fn get(store: &Store, target: &str) -> (StatusCode, Value) {
    let response = ask(store, &Method::GET, target, &[], "");
    (response.status(), serde_json::from_slice(response.body()).unwrap())
}

/// The ids in a searchset, and that it is one.
fn ids(store: &Store, target: &str) -> Vec<String> {
    let (status, bundle) = get(store, target);
    assert_eq!(status, StatusCode::OK, "{target}: {bundle}");
    assert_eq!(bundle["type"], "searchset");
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
}

fn total(store: &Store, target: &str) -> u64 {
    get(store, target).1["total"].as_u64().unwrap()
}

#[test]
fn a_read_has_an_etag_and_is_not_modified_afterwards() {
    let store = store();
    let response = ask(store, &Method::GET, "Patient/amina-diallo", &[], "");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[ETAG], "W/\"1\"");
    assert_eq!(response.headers()[LAST_MODIFIED], "Mon, 16 Nov 2026 14:20:00 GMT");
    assert!(response.body().starts_with(br#"{"resourceType":"Patient","id":"amina-diallo","meta":"#));
    let again = ask(store, &Method::GET, "Patient/amina-diallo", &[(IF_NONE_MATCH.as_str(), "W/\"1\"")], "");
    assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0));
    let head = ask(store, &Method::HEAD, "Patient/amina-diallo", &[], "");
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
}

#[test]
fn a_version_other_than_the_first_is_not_found() {
    let store = store();
    assert_eq!(get(store, "Patient/amina-diallo/_history/1").0, StatusCode::OK);
    for target in ["Patient/amina-diallo/_history/2", "Patient/nobody", "Device/x", "Patient/nobody/_history/1"] {
        let (status, outcome) = get(store, target);
        assert_eq!((status, &outcome["resourceType"]), (StatusCode::NOT_FOUND, &Value::from("OperationOutcome")));
    }
}

#[test]
fn a_write_is_refused() {
    let store = store();
    for (method, target) in [
        (Method::POST, "Patient"),
        (Method::PUT, "Patient/amina-diallo"),
        (Method::DELETE, "Patient/amina-diallo"),
        (Method::PATCH, "Patient/amina-diallo"),
        (Method::POST, ""),
    ] {
        let response = ask(store, &method, target, &[], "{}");
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "GET, HEAD, POST");
        assert!(response.body().starts_with(br#"{"resourceType":"OperationOutcome""#));
    }
}

#[test]
fn a_searchset_names_its_own_url_its_total_and_full_urls() {
    let (_, bundle) = get(store(), "Condition?patient=Patient/amina-diallo&bogus=1&_sort=onset-date");
    assert_eq!(bundle["total"], 3);
    assert_eq!(bundle["link"][0]["relation"], "self");
    let expected = format!("{BASE}/Condition?patient=Patient%2Famina-diallo&_sort=onset-date");
    assert_eq!(bundle["link"][0]["url"], expected.as_str());
    let entry = &bundle["entry"][0];
    assert_eq!(entry["fullUrl"], format!("{BASE}/Condition/amina-diallo-hypertension").as_str());
    assert_eq!(entry["search"]["mode"], "match");
}

#[test]
fn a_search_by_post_finds_what_a_search_by_get_finds() {
    let store = store();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let response = ask(store, &Method::POST, "Observation/_search", &form, "patient=amina-diallo&category=laboratory");
    let bundle: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(bundle["total"].as_u64().unwrap(), total(store, "Observation?patient=amina-diallo&category=laboratory"));
    let both = ask(store, &Method::POST, "Observation/_search?category=laboratory", &form, "patient=amina-diallo");
    let both: Value = serde_json::from_slice(both.body()).unwrap();
    assert_eq!(both["total"], bundle["total"], "what stands in the URL counts too");
    assert_eq!(ask(store, &Method::POST, "Observation/_search", &[], "{}").status(), StatusCode::BAD_REQUEST);
}

#[test]
fn references_match_by_type_and_id_or_by_id_alone() {
    let store = store();
    let all = total(store, "Observation?patient=amina-diallo");
    assert!(all > 70);
    for target in [
        "Observation?patient=Patient/amina-diallo",
        "Observation?subject=Patient/amina-diallo",
        "Observation?subject:Patient=amina-diallo",
        "Observation?subject=amina-diallo",
    ] {
        assert_eq!(total(store, target), all, "{target}");
    }
    assert_eq!(total(store, "Observation?subject=Group/amina-diallo"), 0);
    assert_eq!(total(store, "Observation?patient=nobody"), 0);
    let two = total(store, "Observation?patient=amina-diallo,aiko-tanaka");
    assert_eq!(two, all + total(store, "Observation?patient=aiko-tanaka"));
    // Two parameters are both required, whichever one narrows the index.
    assert_eq!(total(store, "Observation?patient=amina-diallo&subject=aiko-tanaka"), 0);
    assert_eq!(
        total(store, "Encounter?location=larkspur-heart"),
        total(store, "Encounter?location=Location/larkspur-heart")
    );
}

#[test]
fn tokens_match_with_and_without_their_system() {
    let store = store();
    let pressures = total(store, "Observation?patient=amina-diallo&code=http://loinc.org|85354-9");
    assert_eq!(pressures, 12);
    assert_eq!(total(store, "Observation?patient=amina-diallo&code=85354-9"), pressures);
    assert_eq!(total(store, "Observation?patient=amina-diallo&code=http://snomed.info/sct|85354-9"), 0);
    assert_eq!(total(store, "Observation?patient=amina-diallo&code=|85354-9"), 0);
    assert_eq!(total(store, "Observation?patient=amina-diallo&code=85354-9,8867-4"), 2 * pressures);
    assert_eq!(
        total(store, "Condition?code=http://hl7.org/fhir/sid/icd-10-cm|I10"),
        total(store, "Condition?code=59621000")
    );
    let vital = total(store, "Observation?patient=amina-diallo&category=vital-signs");
    let other = total(store, "Observation?patient=amina-diallo&category:not=vital-signs");
    assert_eq!(vital + other, total(store, "Observation?patient=amina-diallo"));
    assert_eq!(
        total(store, "Observation?category=http://terminology.hl7.org/CodeSystem/observation-category|"),
        total(store, "Observation")
    );
    assert_eq!(total(store, "Encounter?status=in-progress"), 5);
    assert_eq!(
        total(store, "Condition?clinical-status=resolved"),
        total(store, "Condition?category=encounter-diagnosis")
    );
}

#[test]
fn dates_compare_as_ranges() {
    let store = store();
    let count = |date: &str| total(store, &format!("Observation?patient=amina-diallo&code=85354-9&date={date}"));
    assert_eq!(count("2026-11-16"), 1);
    assert_eq!(count("eq2026-11"), 1);
    assert_eq!(count("gt2026-11-16"), 0);
    assert_eq!(count("ge2026-11-16"), 1);
    assert_eq!(count("lt2026-11-16") + count("ge2026-11-16"), 12);
    assert_eq!(count("le2026-11-16"), 12);
    assert_eq!(count("ne2026") + count("2026"), 12);
    assert_eq!(count("ge2025-01-01&date=lt2026-01-01"), count("2025"));
    assert_eq!(count("2026-11-16T14:20:00Z"), 1);
    assert_eq!(count("2026-11-16T08:20:00-06:00"), 1);
    assert_eq!(count("sa2026-11-15"), 1);
    assert_eq!(count("sa2026-11-16"), 0);
    // A visit that goes on overlaps a month to come, and is not within it.
    let open = |date: &str| total(store, &format!("Encounter?patient=amina-diallo&date={date}"));
    assert_eq!((open("ap2026-12"), open("2026-12")), (1, 0));
    assert_eq!(count("eb2026-11-16"), 11);
    // A visit that is not over has no end: it is after every date.
    assert_eq!(total(store, "Encounter?patient=amina-diallo&date=gt2030"), 1);
    assert_eq!(get(store, "Observation?date=yesterday").0, StatusCode::BAD_REQUEST);
    assert_eq!(get(store, "Observation?date=2026-13-01").0, StatusCode::BAD_REQUEST);
}

#[test]
fn names_match_from_their_start_without_case_and_accents() {
    let store = store();
    assert_eq!(ids(store, "Patient?family=jimenez"), ["rosa-jimenez"]);
    assert_eq!(ids(store, "Patient?name=NGU"), ["tuan-nguyen"]);
    assert_eq!(ids(store, "Patient?given=tuan&birthdate=1966-07-07&gender=male"), ["tuan-nguyen"]);
    assert_eq!(ids(store, "Patient?given=Fatou"), ["amina-diallo"]);
    assert_eq!(ids(store, "Patient?family=iallo"), Vec::<String>::new());
    assert_eq!(ids(store, "Patient?family:contains=iallo"), ["amina-diallo"]);
    assert_eq!(ids(store, "Patient?family:exact=dial"), Vec::<String>::new());
    assert_eq!(total(store, "Patient?given=amina,aiko"), 2);
    assert_eq!(total(store, "Patient?given=amina\\,aiko"), 0, "an escaped comma is part of the name");
    assert_eq!(total(store, "Patient?family="), 24, "an empty value asks nothing");
    assert_eq!(ids(store, "Patient?identifier=https://larkspur.example/mrn|LK-100138"), ["amina-diallo"]);
    assert_eq!(ids(store, "Patient?_id=amina-diallo,aiko-tanaka,nobody&_sort=-_id"), ["amina-diallo", "aiko-tanaka"]);
}

#[test]
fn sorting_goes_both_ways() {
    let store = store();
    let up = ids(store, "Encounter?patient=amina-diallo&_sort=date");
    let mut down = ids(store, "Encounter?patient=amina-diallo&_sort=-date");
    assert_eq!(up.first().unwrap(), "amina-diallo-visit-01");
    down.reverse();
    assert_eq!(up, down);
    assert_eq!(ids(store, "Patient?_sort=family&_count=2"), ["hassan-al-farsi", "lucas-andersen"]);
    assert_eq!(get(store, "Patient?_sort=shoe-size").0, StatusCode::BAD_REQUEST);
}

#[test]
fn pages_lead_through_all_matches_once() {
    let store = store();
    let (_, mut bundle) = get(store, "Observation?patient=amina-diallo&_count=20");
    let total = bundle["total"].as_u64().unwrap();
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.extend(bundle["entry"].as_array().unwrap().iter().map(|entry| entry["fullUrl"].to_string()));
        let next = bundle["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next").cloned();
        let Some(next) = next else { break };
        let target = next["url"].as_str().unwrap().strip_prefix(BASE).unwrap().to_owned();
        assert!(target.starts_with("?_getpages="));
        bundle = get(store, &target).1;
    }
    assert_eq!(seen.len() as u64, total);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len() as u64, total);
    assert_eq!(get(store, "?_getpages=none&_offset=20").0, StatusCode::GONE);
    assert_eq!(get(store, "").0, StatusCode::NOT_FOUND);
}

#[test]
fn a_page_and_the_searches_that_are_kept_are_bounded() {
    let store = Store::new(BASE);
    let entries = |target: &str| get(&store, target).1["entry"].as_array().unwrap().len();
    assert_eq!((entries("Observation"), entries("Observation?_count=5000")), (50, 1000));
    let next = |bundle: &Value| bundle["link"][1]["url"].as_str().unwrap().strip_prefix(BASE).unwrap().to_owned();
    let first = next(&get(&store, "Patient?_count=1").1);
    assert_eq!(get(&store, &first).0, StatusCode::OK);
    for _ in 0..256 {
        get(&store, "Patient?_count=1");
    }
    assert_eq!(get(&store, &first).0, StatusCode::GONE);
}

#[test]
fn what_is_missing_is_asked_for_by_its_modifier() {
    let store = store();
    let (with, without) = ("Encounter?location:missing=false", "Encounter?location:missing=true");
    assert!(total(store, with) > 0);
    assert_eq!(total(store, with) + total(store, without), total(store, "Encounter"));
    assert_eq!(total(store, "Patient?family:missing=true"), 0);
    assert_eq!(get(store, "Patient?family:missing=maybe").0, StatusCode::BAD_REQUEST);
}

#[test]
fn a_count_of_zero_gives_the_total_alone() {
    let store = store();
    for target in ["Patient?_count=0", "Patient?_summary=count", "Patient?_summary=count&_count=5"] {
        let (_, bundle) = get(store, target);
        assert_eq!((bundle["total"].as_u64(), bundle.get("entry")), (Some(24), None), "{target}");
        assert_eq!(bundle["link"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn included_resources_are_marked_and_come_once() {
    let (_, bundle) = get(store(), "MedicationRequest?patient=amina-diallo&_include=MedicationRequest:requester");
    assert_eq!(bundle["total"], 3);
    let included: Vec<_> =
        bundle["entry"].as_array().unwrap().iter().filter(|entry| entry["search"]["mode"] == "include").collect();
    assert_eq!(included.len(), 1);
    assert_eq!(included[0]["resource"]["id"], "elena-rivera");
}

#[test]
fn unknown_parameters_are_refused_when_handling_is_strict_and_chains_always() {
    let store = store();
    assert_eq!(total(store, "Patient?shoe-size=44"), 24);
    assert_eq!(total(store, "Patient?birthdate="), 24, "nothing is asked for");
    let strict = [("prefer", "return=minimal; handling=strict")];
    assert_eq!(ask(store, &Method::GET, "Patient?shoe-size=44", &strict, "").status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(store, &Method::GET, "Patient?gender=male", &strict, "").status(), StatusCode::OK);
    for target in [
        "Observation?subject.name=diallo",
        "Patient?_has:Observation:patient:code=1",
        "Patient?gender:in=x",
        "Patient?name:text=x",
        "Patient?_count=ten",
        "MedicationRequest?_include=Patient:organization",
        "MedicationRequest?_include=Patient:requester",
        "MedicationRequest?_include=MedicationRequest:status",
    ] {
        assert_eq!(get(store, target).0, StatusCode::BAD_REQUEST, "{target}");
    }
}

#[test]
fn only_json_is_given() {
    let store = store();
    assert_eq!(get(store, "Patient?_format=xml").0, StatusCode::NOT_ACCEPTABLE);
    let xml = ask(store, &Method::GET, "Patient", &[("accept", "application/fhir+xml")], "");
    assert_eq!(xml.status(), StatusCode::NOT_ACCEPTABLE);
    let json = ask(store, &Method::GET, "Patient", &[("accept", "application/fhir+json, */*;q=0.1")], "");
    assert_eq!(json.status(), StatusCode::OK);
}

#[test]
fn the_capability_statement_lists_what_can_be_searched() {
    let (_, statement) = get(store(), "metadata");
    assert_eq!(statement["fhirVersion"], "4.0.1");
    assert_eq!(statement["implementation"]["url"], BASE);
    for member in ["status", "date", "kind", "format"] {
        assert!(statement.get(member).is_some(), "{member}");
    }
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let observation = resources.iter().find(|resource| resource["type"] == "Observation").unwrap();
    let names: Vec<_> =
        observation["searchParam"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"patient") && names.contains(&"date"));
}

#[test]
fn the_ehr_reads_its_own_database() {
    let store = store();
    assert_eq!(store.search("Patient", &[("_sort", "family")]).len(), 24);
    assert!(store.search("Patient", &[("bogus", "1")]).is_empty());
    assert!(store.read("Patient", "amina-diallo").is_some());
}

#[tokio::test]
async fn the_store_answers_over_a_socket_until_it_is_stopped() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let store = std::sync::Arc::new(Store::new(&format!("http://{address}/fhir")));
    let server = tokio::spawn(serve(listener, store, stop.clone()));
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http::<Full<Bytes>>();
    let uri = |path: &str| format!("http://{address}{path}").parse().unwrap();
    let response = client.get(uri("/fhir/Patient/amina-diallo")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/fhir+json;charset=utf-8");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["id"], "amina-diallo");
    let search = http::Request::post(uri("/fhir/Patient/_search"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::from("name=diallo"))
        .unwrap();
    let body = client.request(search).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["total"], 1);
    assert_eq!(client.get(uri("/elsewhere")).await.unwrap().status(), StatusCode::NOT_FOUND);
    let form = http::Request::post(uri("/fhir/Patient/_search")).body(Full::from(vec![b'a'; 70_000])).unwrap();
    assert_eq!(client.request(form).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    stop.cancel();
    // The client keeps its connections: they are closed by the store.
    tokio::time::timeout(std::time::Duration::from_secs(5), server).await.unwrap().unwrap();
}

proptest! {
    #[test]
    fn no_query_makes_the_store_panic(name in "[a-zA-Z_:.-]{0,12}|date|code|patient|name|_count|_sort|_include|_getpages", value in "\\PC{0,24}|[0-9TZ:+-]{0,30}") {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
        let response = ask(store(), &Method::GET, &format!("Observation?{query}"), &[], "");
        prop_assert!(serde_json::from_slice::<Value>(response.body()).is_ok());
    }
}
