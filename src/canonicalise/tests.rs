#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::fhir::reference::LogicalId as Id;
use crate::fhir::search::Class;

fn inbound(method: &str, target: &str, headers: &[(&'static str, &str)], body: &str) -> Inbound {
    let mut inbound = Inbound::for_test(method, target);
    for (name, value) in headers {
        inbound.headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    inbound.body = Bytes::copy_from_slice(body.as_bytes());
    inbound
}

fn parse(method: &str, target: &str) -> Result<FhirRequest, Refusal> {
    FhirRequest::parse(Inbound::for_test(method, target), "/fhir")
}

fn status(method: &str, target: &str) -> u16 {
    parse(method, target).map_or_else(|refusal| refusal.status().as_u16(), |_| 200)
}

fn with(headers: &[(&'static str, &str)]) -> Result<FhirRequest, Refusal> {
    FhirRequest::parse(inbound("GET", "/fhir/Observation", headers, ""), "/fhir")
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn search_by_post(target: &str, headers: &[(&'static str, &str)], body: &str) -> Result<FhirRequest, Refusal> {
    FhirRequest::parse(inbound("POST", target, headers, body), "/fhir")
}

#[test]
fn each_path_of_the_grammar_names_one_interaction() {
    for (method, target, code) in [
        ("GET", "/fhir/Patient/1", "read"),
        ("HEAD", "/fhir/Patient/1", "read"),
        ("GET", "/fhir/Patient/1/_history/2", "vread"),
        ("GET", "/fhir/Patient/1/_history", "history-instance"),
        ("GET", "/fhir/Patient/_history", "history-type"),
        ("GET", "/fhir/_history", "history-system"),
        ("GET", "/fhir/Patient", "search-type"),
        ("POST", "/fhir/Patient/_search", "search-type"),
        ("GET", "/fhir", "search-system"),
        ("GET", "/fhir/", "search-system"),
        ("GET", "/fhir?_type=Patient", "search-system"),
        ("POST", "/fhir/_search", "search-system"),
        ("GET", "/fhir/Patient/1/Observation", "search-type"),
        ("POST", "/fhir/Patient/1/Observation/_search", "search-type"),
        ("GET", "/fhir/Patient/1/*", "search-type"),
        ("DELETE", "/fhir/Patient/1", "delete"),
        ("DELETE", "/fhir/Patient?identifier=1", "delete"),
        ("GET", "/fhir/$export", "operation"),
        ("GET", "/fhir/%24export", "operation"),
        ("GET", "/fhir/Patient/1/$everything", "operation"),
        ("POST", "/fhir/Patient/$match", "operation"),
        ("GET", "/fhir/metadata", "capabilities"),
    ] {
        assert_eq!(parse(method, target).unwrap().interaction.code(), code, "{method} {target}");
    }
    for (method, target, code) in [
        ("POST", "/fhir/Patient", "create"),
        ("PUT", "/fhir/Patient/1", "update"),
        ("PUT", "/fhir/Patient?identifier=1", "update"),
        ("POST", "/fhir", "batch"),
    ] {
        let json = [("content-type", "application/fhir+json; charset=UTF-8")];
        let request = FhirRequest::parse(inbound(method, target, &json, "{}"), "/fhir").unwrap();
        assert_eq!(request.interaction.code(), code, "{method} {target}");
    }
    assert!(parse("HEAD", "/fhir/Patient/1").unwrap().head);
}

#[test]
fn a_path_with_a_second_reading_is_refused_and_not_repaired() {
    for path in [
        "/fhir/Observation%2Fo2",
        "/fhir/Patient%2fP2",
        "/fhir/Patient/P1/../P2",
        "/fhir/Patient/./P1",
        "/fhir//Observation",
        "/fhir/Observation//o1",
        "/fhir\\Observation",
        "/fhir/Observation;v=1/o1",
        "/..;/actuator",
        "/fhir/../admin",
        "/fhir/Patient/%50",
        "/fhir/Patient/P1%00",
        "/fhir/%C0%AF",
        "/fhir/\u{ff30}atient/P2",
        "/fhir/Patient/P1//",
        "/fhir/Patient/%2e%2e",
        "/fhir/.",
        "/.well-known/../Patient",
        "//fhir/Patient",
    ] {
        assert_eq!(status("GET", path), 400, "{path}");
    }
}

#[test]
fn a_path_outside_the_grammar_is_unknown() {
    for path in [
        "/fhir/observation/o2",
        "/fhir/PATIENT/P2",
        "/fhirX/Observation",
        "/fhirObservation/o1",
        "/fhirmetadata",
        "/r5/Observation",
        "/fhir/TENANT-B/Observation",
        "/fhir/Patient/P_1",
        "/fhir/Patient/1/_history/2/3",
        "/fhir/Observation/1/Patient",
        "/fhir/Patient/1/Nope",
        "/fhir/Observation/1/*",
        "/fhir/actuator",
        "/fhir/$",
        "/Patient/1",
        "/",
        "/fhir/Patient/1/Observation/2",
        "/fhir/_search/x",
    ] {
        assert_eq!(status("GET", path), 404, "{path}");
    }
    assert_eq!(status("GET", &format!("/fhir/Patient/{}", "1".repeat(65))), 404);
    assert_eq!(status("GET", &format!("/fhir/Patient/{}", "1".repeat(2000))), 414);
}

#[test]
fn a_trailing_slash_changes_nothing() {
    let with = parse("GET", "/fhir/Patient/P2/").unwrap();
    assert_eq!(with.interaction, parse("GET", "/fhir/Patient/P2").unwrap().interaction);
}

#[test]
fn methods_are_a_closed_case_sensitive_set() {
    for method in ["get", "PROPFIND", "TRACE", "CONNECT", "OPTIONS", "Head"] {
        assert_eq!(status(method, "/fhir/Observation"), 405, "{method}");
    }
    for (method, path) in [
        ("POST", "/fhir/Patient/1"),
        ("DELETE", "/fhir"),
        ("PUT", "/fhir/metadata"),
        ("GET", "/fhir/Patient/_search"),
        ("POST", "/fhir/Patient/1/_history"),
        ("DELETE", "/fhir/Patient/1/_history/2"),
        ("PATCH", "/fhir/Patient/$match"),
    ] {
        assert_eq!(status(method, path), 405, "{method} {path}");
    }
}

#[test]
fn two_credentials_are_refused_wherever_they_stand() {
    let twice = with(&[("authorization", "Bearer a"), ("authorization", "Bearer a")]).unwrap_err();
    let in_query = parse("GET", "/fhir/Observation?access_token=x").unwrap_err();
    let in_read = parse("GET", "/fhir/Observation/o1?access_token=x").unwrap_err();
    let in_form = search_by_post("/fhir/Observation/_search", &[FORM], "access_token=x").unwrap_err();
    for refusal in [twice, in_query, in_read, in_form] {
        assert_eq!((refusal.reason(), refusal.status().as_u16()), ("token_ambiguous", 400));
    }
}

#[test]
fn url_and_form_are_merged_before_anything_is_decided() {
    let request = search_by_post("/fhir/Observation/_search?patient=P1", &[FORM], "patient=P2&_count=3").unwrap();
    let values: Vec<_> = request.search.criteria.iter().map(|criterion| criterion.alternatives.clone()).collect();
    assert_eq!(values, [["P1"], ["P2"]]);
    assert_eq!(request.search.count, Some(3));
    assert!(search_by_post("/fhir/Observation/_search?patient=P1", &[], "").is_ok());
}

#[test]
fn a_search_form_is_a_form_in_utf_8_and_nothing_else() {
    for content_type in [
        "application/json",
        "application/fhir+json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=utf-7",
        "application/x-www-form-urlencodedx",
        "application/x-www-form-urlencoded, application/json",
        "",
    ] {
        let refusal =
            search_by_post("/fhir/Observation/_search", &[("content-type", content_type)], "code=x").unwrap_err();
        assert_eq!(refusal.status(), 415, "{content_type}");
    }
    assert_eq!(search_by_post("/fhir/Observation/_search", &[], "code=x").unwrap_err().status(), 415);
    assert_eq!(search_by_post("/fhir/Observation/_search", &[FORM, FORM], "code=x").unwrap_err().status(), 415);
    let compressed = search_by_post("/fhir/Observation/_search", &[FORM, ("content-encoding", "gzip")], "code=x");
    assert_eq!(compressed.unwrap_err().status(), 415);
    let utf8 = ("content-type", "Application/X-WWW-Form-URLEncoded;charset=\"UTF-8\"");
    assert!(search_by_post("/fhir/Observation/_search", &[utf8], "code=x").is_ok());
}

#[test]
fn bodies_of_other_media_types_are_refused_before_they_are_read() {
    for (method, target) in [("POST", "/fhir/Observation"), ("PUT", "/fhir/Observation/1"), ("POST", "/fhir")] {
        for headers in [&[][..], &[("content-type", "application/fhir+xml")], &[("content-type", "text/json")]] {
            let refusal = FhirRequest::parse(inbound(method, target, headers, "{}"), "/fhir").unwrap_err();
            assert_eq!(refusal.status(), 415, "{method} {target} {headers:?}");
        }
    }
    for content_type in ["application/fhir+json", "application/merge-patch+json", "application/xml-patch+xml"] {
        let patch = inbound("PATCH", "/fhir/Observation/1", &[("content-type", content_type)], "[]");
        assert_eq!(FhirRequest::parse(patch, "/fhir").unwrap_err().status(), 415, "{content_type}");
    }
    assert_eq!(FhirRequest::parse(inbound("GET", "/fhir/Observation", &[], "{}"), "/fhir").unwrap_err().status(), 400);
}

#[test]
fn only_json_is_spoken() {
    for accept in [
        "application/fhir+json",
        "application/json",
        "*/*",
        "application/*;q=0.1",
        "text/html, */*;q=0.8",
        "application/fhir+xml, application/fhir+json;q=0.5",
        "application/fhir+json; fhirVersion=4.0",
    ] {
        assert!(with(&[("accept", accept)]).is_ok(), "{accept}");
    }
    for accept in [
        "application/fhir+xml",
        "text/html",
        "text/turtle",
        "application/fhir+json;q=0",
        "application/fhir+json; fhirVersion=5.0",
        "application/fhir+ndjson",
        "",
    ] {
        assert_eq!(with(&[("accept", accept)]).unwrap_err().status(), 406, "{accept}");
    }
    for format in ["json", "application/fhir%2Bjson", "application/fhir+json", "application/json"] {
        let target = format!("/fhir/Observation?_format={format}");
        let request = FhirRequest::parse(inbound("GET", &target, &[("accept", "text/html")], ""), "/fhir").unwrap();
        assert!(request.search.criteria.is_empty());
    }
    for format in ["xml", "application/fhir%2Bxml", "ttl", "html", ""] {
        assert_eq!(status("GET", &format!("/fhir/metadata?_format={format}")), 406, "{format}");
    }
    assert_eq!(status("GET", "/fhir/Observation?_format=json&_format=json"), 400);
    assert_eq!(status("GET", "/fhir/Observation?_pretty=true"), 200);
    assert_eq!(status("GET", "/fhir/Observation?_pretty=maybe"), 400);
}

#[test]
fn asynchronous_answers_are_refused_and_other_preferences_are_not() {
    assert_eq!(with(&[("prefer", "respond-async")]).unwrap_err().status(), 400);
    assert_eq!(with(&[("prefer", "return=minimal, Respond-Async;wait=10")]).unwrap_err().status(), 400);
    assert!(with(&[("prefer", "handling=lenient")]).is_ok());
}

#[test]
fn headers_that_servers_obey_mean_nothing() {
    let headers = [
        ("x-http-method-override", "DELETE"),
        ("range", "bytes=0-1"),
        ("upgrade", "h2c"),
        ("x-patient-id", "P2"),
        ("if-modified-since", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("x-cascade", "delete"),
        ("if-none-match", "W/\"1\""),
    ];
    let request = with(&headers).unwrap();
    assert_eq!(request.interaction, with(&[]).unwrap().interaction);
    assert_eq!(request.search, with(&[]).unwrap().search);
    assert_eq!(request.if_none_match.as_deref(), Some("W/\"1\""));
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(status("GET", &format!("/fhir/Observation?code={}", "x".repeat(8192))), 414);
    assert_eq!(status("GET", &format!("/fhir/Observation?{}", "code=x&".repeat(65))), 414);
    assert_eq!(status("GET", &format!("/fhir/Observation?{}", "code=x&".repeat(64))), 200);
    let large = search_by_post("/fhir/Observation/_search", &[FORM], &"code=x&".repeat(2000)).unwrap_err();
    assert_eq!(large.status(), 413);
    let both =
        search_by_post(&format!("/fhir/Observation/_search?{}", "code=x&".repeat(40)), &[FORM], &"code=y&".repeat(40));
    assert_eq!(both.unwrap_err().status(), 414);
}

#[test]
fn parameters_of_a_read_only_choose_its_representation() {
    for query in [
        "_revinclude=Observation:subject",
        "_include=*",
        "_count=1",
        "code=x",
        "_summary=count",
        "_page=x",
        "_has:x=y",
        "patient=",
    ] {
        assert_eq!(status("GET", &format!("/fhir/Patient/P1?{query}")), 400, "{query}");
    }
    let request = parse("GET", "/fhir/Patient/P1?_summary=true&_format=json").unwrap();
    assert_eq!(request.projection, Projection::SummaryTrue);
    let version = parse("GET", "/fhir/Patient/P1/_history/2?_elements=name,birthDate").unwrap();
    assert!(version.projection.is_partial());
}

#[test]
fn a_search_that_the_type_does_not_have_says_what_was_expected() {
    for query in ["nosuch=x", "_sort=nosuch", "_count=ten", "code="] {
        let refusal = parse("GET", &format!("/fhir/Observation?{query}")).unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.reason()), (400, "request_malformed"), "{query}");
        assert!(matches!(refusal, Refusal::Malformed(said) if said.expected.starts_with("expected ")), "{query}");
    }
}

#[test]
fn switches_of_server_products_are_refused_on_every_interaction() {
    for target in [
        "/fhir/Observation?_getpages=1",
        "/fhir?_getpages=1",
        "/fhir/Observation?ct=1",
        "/fhir/Observation/$includes?includesCt=x",
        "/fhir/Patient/1?_cascade=delete",
        "/fhir/Observation?_offset=5",
        "/fhir/Observation?_expunge:x=1",
        "/fhir/Observation?_method=DELETE",
    ] {
        assert_eq!(status("GET", target), 400, "{target}");
    }
    assert_eq!(status("DELETE", "/fhir/Observation?_cascade=delete"), 400);
}

#[test]
fn a_continuation_stands_alone_on_a_type_search() {
    assert_eq!(parse("GET", "/fhir/Observation?_page=abc&_format=json").unwrap().page.as_deref(), Some("abc"));
    let projected = parse("GET", "/fhir/Observation?_page=abc&_elements=code,status").unwrap();
    assert_eq!(projected.page.as_deref(), Some("abc"));
    assert_eq!(projected.projection.parameter().as_deref(), Some("_elements=code,status"));
    for target in [
        "/fhir/Observation?_page=abc&_include=Observation:subject",
        "/fhir/Patient/P1/Observation?_page=abc",
        "/fhir/Patient/P1/*?_page=abc&_type=Observation",
        "/fhir?_page=abc&_type=Observation",
    ] {
        assert_eq!(parse("GET", target).unwrap().page.as_deref(), Some("abc"), "{target}");
    }
    for target in [
        "/fhir/Observation?_page=abc&patient.name=x",
        "/fhir?_page=abc&_id=x",
        "/fhir/Observation?_page=abc&_count=1",
        "/fhir/Observation?_page=a&_page=b",
    ] {
        assert_eq!(status("GET", target), 400, "{target}");
    }
    assert_eq!(search_by_post("/fhir/Observation/_search", &[FORM], "_page=abc").unwrap_err().status(), 400);
}

#[test]
fn a_history_is_asked_what_a_history_has_and_its_page_nothing_more() {
    for path in ["Observation/o1/_history", "Observation/_history", "_history"] {
        for query in ["_count=5&_since=2026-01-01", "_page=abc", "_page=abc&_format=json", "_elements=code"] {
            assert_eq!(status("GET", &format!("/fhir/{path}?{query}")), 200, "{path}?{query}");
        }
        for query in [
            "_tag=x",
            "_sort=_lastUpdated",
            "_total=none",
            "_summary=count",
            "_page=abc&_count=5",
            "_page=abc&_since=2026-01-01",
            "_page=abc&_page=abc",
        ] {
            assert_eq!(status("GET", &format!("/fhir/{path}?{query}")), 400, "{path}?{query}");
        }
    }
}

#[test]
fn what_was_sealed_stands_alone() {
    let everything = "/fhir/Patient/P1/$everything";
    assert_eq!(parse("GET", &format!("{everything}?_page=abc")).unwrap().page.as_deref(), Some("abc"));
    for query in ["_page=abc&_count=5", "_page=abc&_page=abc", "_page=abc&x=y"] {
        assert_eq!(status("GET", &format!("{everything}?{query}")), 400, "{query}");
    }
    assert_eq!(status("POST", &format!("{everything}?_page=abc")), 400);
    assert_eq!(parse("GET", "/fhir/Binary/b?gw=abc").unwrap().page.as_deref(), Some("abc"));
    assert_eq!(status("GET", "/fhir/Binary/b?gw=abc&gw=def"), 400);
    assert_eq!(status("GET", "/fhir/Patient/P1?gw=abc"), 400, "links are of Binaries");
}

#[test]
fn the_name_is_classified_and_not_the_raw_key() {
    let request = parse("GET", "/fhir/Patient?_has:Observation:patient:code=x").unwrap();
    assert_eq!(request.search.beyond, [Class::Traverse]);
}

proptest! {
    #[test]
    fn no_target_makes_it_panic(method in "GET|POST|PUT|[A-Za-z]{1,8}", target in "(/fhir)?(/[A-Za-z0-9$_*%.;-]{0,12}){0,5}(\\?\\PC{0,60})?") {
        let _ = parse(&method, &target);
    }

    #[test]
    fn what_a_path_names_is_what_was_written(resource_type in 0..ResourceType::COUNT, id in "[A-Za-z0-9-][A-Za-z0-9.-]{0,63}") {
        let resource_type = ResourceType::from_index(resource_type).unwrap();
        let request = parse("GET", &format!("/fhir/{resource_type}/{id}")).unwrap();
        prop_assert_eq!(request.interaction, Interaction::Read { resource_type, id: Id::parse(&id).unwrap() });
    }
}
