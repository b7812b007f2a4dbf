#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use proptest::prelude::*;
use serde_json::Value as Oracle;

use super::*;
use crate::json::{Json, Limits};

fn rebase() -> Rebase {
    Rebase::new("https://gw.example/fhir/", &["http://store/fhir", "https://store.example:8443/r4/"])
}

fn rewritten(text: &str) -> String {
    let json = Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap();
    let mut edits = Edits::new(&json);
    let rebase = rebase();
    rewrite(json.root(), &mut edits, &mut |_, url| rebase.outward(url));
    String::from_utf8(edits.apply().unwrap()).unwrap()
}

#[test]
fn the_upstreams_base_becomes_ours() {
    for (theirs, ours) in [
        ("http://store/fhir", "https://gw.example/fhir"),
        ("http://store/fhir/", "https://gw.example/fhir/"),
        ("http://store/fhir/Patient/p1/_history/2", "https://gw.example/fhir/Patient/p1/_history/2"),
        ("http://store/fhir?_count=1", "https://gw.example/fhir?_count=1"),
        ("http://store:80/fhir/Patient/p1#x", "https://gw.example/fhir/Patient/p1#x"),
        ("http://store:/fhir/Patient/p1", "https://gw.example/fhir/Patient/p1"),
        ("HTTP://STORE/fhir/Patient/p1", "https://gw.example/fhir/Patient/p1"),
        ("https://store.example:8443/r4/Binary/b", "https://gw.example/fhir/Binary/b"),
    ] {
        assert_eq!(rebase().outward(theirs).as_deref(), Some(ours), "{theirs}");
    }
}

#[test]
fn what_only_looks_like_the_upstreams_base_stays() {
    for url in [
        "hhttp://store/fhir/Patient/p1",
        "http://store/fhirX/Patient/p1",
        "http://store/FHIR/Patient/p1",
        "http://store/Patient/p1",
        "http://store",
        "https://store/fhir/Patient/p1",
        "http://store:8080/fhir/Patient/p1",
        "http://store::80/fhir/Patient/p1",
        "http://store::/fhir/Patient/p1",
        "https://store.example:8443:/r4/Patient/p1",
        "http://store.evil/fhir/x",
        "http://evil@store/fhir/x",
        "http://store@evil/fhir/x",
        "//store/fhir/x",
        "Patient/p1",
        "/fhir/Patient/p1",
        " http://store/fhir/x",
        "http://store/fhir/../admin",
        "http://store/fhir/./x",
        "http://store/fhir/%2E%2e/admin",
        "http://store/fhir/.%2e",
        "http://store\\fhir/x",
        "http://store/fhir/x\\y",
        "http:/store/fhir/x",
        "http:///fhir/x",
        "ftp://store/fhir/x",
        "urn:uuid:http://store/fhir",
        "",
        "http://store/fhi",
        "http://store/fhir%2FPatient",
        "http://é/fhir",
    ] {
        assert_eq!(rebase().outward(url), None, "{url}");
    }
    assert!(Rebase::new("https://gw", &["http://store/fhir?x", "store/fhir"]).outward("http://store/fhir?x").is_none());
}

#[test]
fn known_places_are_rewritten_and_everything_else_is_left_byte_for_byte() {
    let text = r#"{ "resourceType":"DocumentReference", "id":"d",
  "meta":{"profile":["http://store/fhir/StructureDefinition/x"],"source":"http://store/fhir"},
  "url":"http://store/fhir/DocumentReference/canonical",
  "text":{"div":"<div>see http://store/fhir/Patient/p1</div>"},
  "extension":[{"url":"http://store/fhir/StructureDefinition/e","valueUrl":"http://store/fhir/Patient/p1"},
    {"url":"x","extension":[{"url":"http://store/fhir","valueUri":"http:\/\/store\/fhir\/Patient\/p2"}]}],
  "identifier":[{"system":"http://store/fhir/mrn","value":"http://store/fhir"}],
  "contained":[{"resourceType":"Library","url":"http://store/fhir/Library/l","content":[{"url":"http://store/fhir/Binary/c"}]}],
  "subject":{"reference":"\u0068ttp://store/fhir/Patient/p1","display":"http://store/fhir/Patient/p1"},
  "author":[{"reference":"Practitioner/d"},{"reference":"hhttp://store/fhir/Practitioner/d"}],
  "content":[{"attachment":{"url":"http://store/fhir/Binary/b","title":"http://store/fhir/Binary/b","size":12345678901234567890}}] }"#;
    let expected = text
        .replace(r#""valueUrl":"http://store/"#, r#""valueUrl":"https://gw.example/"#)
        .replace(
            r#""valueUri":"http:\/\/store\/fhir\/Patient\/p2""#,
            r#""valueUri":"https://gw.example/fhir/Patient/p2""#,
        )
        .replace(r#""url":"http://store/fhir/Binary/"#, r#""url":"https://gw.example/fhir/Binary/"#)
        .replace(r#""reference":"\u0068ttp://store/"#, r#""reference":"https://gw.example/"#);
    assert_eq!(rewritten(text), expected);
}

#[test]
fn addresses_of_nested_bundles_are_rewritten() {
    let text = r#"{"resourceType":"Bundle","link":[{"relation":"self","url":"http://store/fhir/x"}],"entry":[{"fullUrl":"http://store/fhir/Patient/p",
        "resource":{"resourceType":"StructureDefinition","url":"http://store/fhir/keep"},"response":{"location":"http://store/fhir/Patient/p/_history/1"}}]}"#;
    let expected = text
        .replace("http://store/", "https://gw.example/")
        .replace("https://gw.example/fhir/keep", "http://store/fhir/keep");
    assert_eq!(rewritten(text), expected);
}

#[test]
fn a_place_that_holds_no_string_is_walked() {
    let text = r#"{"reference":{"reference":"http://store/fhir/A"},"location":[{"url":["http://store/fhir/B",{"url":"http://store/fhir/C"}]}]}"#;
    let expected = text
        .replace(r#"reference":"http://store"#, r#"reference":"https://gw.example"#)
        .replace("http://store/fhir/C", "https://gw.example/fhir/C");
    assert_eq!(rewritten(text), expected);
}

#[test]
fn a_base_at_the_root_of_its_host_is_rewritten() {
    let rebase = Rebase::new("https://gw.example", &["http://store/"]);
    assert_eq!(rebase.outward("http://store/Patient/p").as_deref(), Some("https://gw.example/Patient/p"));
    assert_eq!(rebase.outward("http://store").as_deref(), Some("https://gw.example"));
    assert_eq!(rebase.outward("http://storeX/Patient/p"), None);
}

/// The same rules on a DOM, with the URL standard's parser instead of ours.
fn naive(value: &mut Oracle, context: Context) {
    match value {
        Oracle::Array(elements) => elements.iter_mut().for_each(|element| match element {
            Oracle::String(_) => {}
            element => naive(element, context),
        }),
        Oracle::Object(members) => {
            for (name, value) in members.iter_mut() {
                if let Oracle::String(text) = value {
                    let place = matches!(&**name, "reference" | "fullUrl" | "location" | "valueUrl" | "valueUri")
                        || name == "url" && context == Context::Element;
                    if let (true, Some(ours)) = (place, naive_outward(text)) {
                        *text = ours;
                    }
                } else {
                    let context = match &**name {
                        "extension" => Context::Extension,
                        "contained" | "resource" => Context::Resource,
                        _ => Context::Element,
                    };
                    naive(value, context);
                }
            }
        }
        _ => {}
    }
}

fn naive_outward(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    // The standard repairs what it reads; whatever it would repair beyond letter case and port is not ours to rewrite.
    let repaired = !text.to_lowercase().starts_with("http://store")
        || text.contains(['\\', ' ', '\n', '\t', '@'])
        || text.contains("/.")
        || !text.contains("://")
        || text.contains(":///");
    let below = url.path() == "/fhir" || url.path().starts_with("/fhir/");
    let ours = url.origin().ascii_serialization() == "http://store" && below && !repaired;
    ours.then(|| text.split_once("/fhir").map(|(_, rest)| format!("https://gw.example/fhir{rest}"))).flatten()
}

fn any_url() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec!["http://", "hhttp://", "HTTP://", "https://", "http:/", ""]);
    let host = prop::sample::select(vec!["store", "Store", "store:80", "store:8080", "x@store", "store.evil", ""]);
    let path = prop::sample::select(vec!["/fhir", "/fhirX", "/FHIR", "", "/fhir/..", "/a/fhir"]);
    let rest =
        prop::sample::select(vec!["", "/", "/Patient/p1", "?x=1", "#x", "/é\"\n", "/http://store/fhir/Patient/1"]);
    (scheme, host, path, rest).prop_map(|(scheme, host, path, rest)| format!("{scheme}{host}{path}{rest}"))
}

fn any_resource() -> impl Strategy<Value = Oracle> {
    let key = || {
        prop::sample::select(vec![
            "reference",
            "url",
            "fullUrl",
            "valueUrl",
            "valueUri",
            "location",
            "display",
            "extension",
            "contained",
            "resource",
            "a",
            "urls",
        ])
    };
    any_url().prop_map(Oracle::String).prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Oracle::Array),
            prop::collection::hash_map(key().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// JSON with every string written the long way, for what a server may send.
fn escaped(text: &str, style: u8) -> String {
    match style {
        0 => text.to_owned(),
        1 => text.replace('/', "\\/"),
        _ => text.replace('t', "\\u0074").replace('/', "\\u002f"),
    }
}

proptest! {
    #[test]
    fn rewriting_is_what_a_naive_rewriter_would_do(resource in any_resource(), style in 0..3_u8) {
        let text = escaped(&serde_json::to_string(&resource).unwrap(), style);
        let ours: Oracle = serde_json::from_str(&rewritten(&text)).unwrap();
        let mut expected = resource;
        naive(&mut expected, Context::Resource);
        prop_assert_eq!(ours, expected);
    }

    #[test]
    fn a_text_without_addresses_of_the_upstream_is_left_byte_for_byte(resource in any_resource(), style in 0..3_u8) {
        let text = escaped(&serde_json::to_string(&resource).unwrap().replace("tore", "hop"), style);
        prop_assert_eq!(rewritten(&text), text);
    }
}
