#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use proptest::prelude::*;
use serde_json::{Value as Oracle, json};

use super::*;
use crate::json::Limits;

const LONGEST: usize = 64 * 1024;

fn parsed(text: &str) -> Json {
    Json::parse(text.as_bytes().to_vec(), Limits::default()).unwrap()
}

fn patched(document: &str, patch: &str) -> Result<String, PatchError> {
    let (document, patch) = (parsed(document), parsed(patch));
    let text = Patch::parse(patch.root())?.apply(&document, LONGEST)?;
    Ok(String::from_utf8(text).unwrap())
}

/// RFC 6902 appendix A, the examples that have a result: title, document, patch, result.
const EXAMPLES: [(&str, &str, &str, &str); 14] = [
    ("A.1", r#"{"foo":"bar"}"#, r#"[{"op":"add","path":"/baz","value":"qux"}]"#, r#"{"baz":"qux","foo":"bar"}"#),
    (
        "A.2",
        r#"{"foo":["bar","baz"]}"#,
        r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
        r#"{"foo":["bar","qux","baz"]}"#,
    ),
    ("A.3", r#"{"baz":"qux","foo":"bar"}"#, r#"[{"op":"remove","path":"/baz"}]"#, r#"{"foo":"bar"}"#),
    ("A.4", r#"{"foo":["bar","qux","baz"]}"#, r#"[{"op":"remove","path":"/foo/1"}]"#, r#"{"foo":["bar","baz"]}"#),
    (
        "A.5",
        r#"{"baz":"qux","foo":"bar"}"#,
        r#"[{"op":"replace","path":"/baz","value":"boo"}]"#,
        r#"{"baz":"boo","foo":"bar"}"#,
    ),
    (
        "A.6",
        r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
        r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
        r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#,
    ),
    (
        "A.7",
        r#"{"foo":["all","grass","cows","eat"]}"#,
        r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
        r#"{"foo":["all","cows","eat","grass"]}"#,
    ),
    (
        "A.8",
        r#"{"baz":"qux","foo":["a",2,"c"]}"#,
        r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
        r#"{"baz":"qux","foo":["a",2,"c"]}"#,
    ),
    (
        "A.10",
        r#"{"foo":"bar"}"#,
        r#"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
        r#"{"foo":"bar","child":{"grandchild":{}}}"#,
    ),
    (
        "A.11",
        r#"{"foo":"bar"}"#,
        r#"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
        r#"{"foo":"bar","baz":"qux"}"#,
    ),
    ("A.14", r#"{"/":9,"~1":10}"#, r#"[{"op":"test","path":"/~01","value":10}]"#, r#"{"/":9,"~1":10}"#),
    (
        "A.16",
        r#"{"foo":["bar"]}"#,
        r#"[{"op":"add","path":"/foo/-","value":["abc","def"]}]"#,
        r#"{"foo":["bar",["abc","def"]]}"#,
    ),
    ("whole document", r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"b":2}}]"#, r#"{"b":2}"#),
    ("add replaces", r#"{"a":1}"#, r#"[{"op":"add","path":"/a","value":null}]"#, r#"{"a":null}"#),
];

#[test]
fn the_examples_of_the_rfc_give_their_results() {
    for (title, document, patch, expected) in EXAMPLES {
        let result: Oracle = serde_json::from_str(&patched(document, patch).unwrap()).unwrap();
        assert_eq!(result, serde_json::from_str::<Oracle>(expected).unwrap(), "{title}");
    }
}

#[test]
fn the_examples_of_the_rfc_that_must_fail_do() {
    let one = |op: &str| format!("[{op}]");
    for (title, document, patch, error) in [
        ("A.9", r#"{"baz":"qux"}"#, r#"{"op":"test","path":"/baz","value":"bar"}"#, PatchError::TestFailed),
        ("A.12", r#"{"foo":"bar"}"#, r#"{"op":"add","path":"/baz/bat","value":"qux"}"#, PatchError::Inapplicable),
        ("A.15", r#"{"/":9,"~1":10}"#, r#"{"op":"test","path":"/~01","value":"10"}"#, PatchError::TestFailed),
        ("gone", r#"{"a":1}"#, r#"{"op":"remove","path":"/b"}"#, PatchError::Inapplicable),
        ("replace", r#"{"a":1}"#, r#"{"op":"replace","path":"/b","value":1}"#, PatchError::Inapplicable),
        ("after the end", r#"{"a":[]}"#, r#"{"op":"add","path":"/a/1","value":1}"#, PatchError::Inapplicable),
        ("leading zero", r#"{"a":[1,2]}"#, r#"{"op":"remove","path":"/a/01"}"#, PatchError::Inapplicable),
        ("no such element", r#"{"a":[1]}"#, r#"{"op":"replace","path":"/a/-","value":1}"#, PatchError::Inapplicable),
        ("into itself", r#"{"a":{"b":1}}"#, r#"{"op":"move","from":"/a","path":"/a/b"}"#, PatchError::Inapplicable),
        ("the root", r#"{"a":1}"#, r#"{"op":"remove","path":""}"#, PatchError::Inapplicable),
        ("an empty token", r#"{"a":{}}"#, r#"{"op":"remove","path":"/a/"}"#, PatchError::Inapplicable),
        ("unknown op", "{}", r#"{"op":"merge","path":"/a","value":1}"#, PatchError::Malformed),
        ("no value", "{}", r#"{"op":"add","path":"/a"}"#, PatchError::Malformed),
        ("no path", "{}", r#"{"op":"add","value":1}"#, PatchError::Malformed),
        ("no pointer", "{}", r#"{"op":"add","path":"a","value":1}"#, PatchError::Malformed),
        ("bad escape", "{}", r#"{"op":"add","path":"/a~2","value":1}"#, PatchError::Malformed),
        ("no object", "{}", "1", PatchError::Malformed),
    ] {
        assert_eq!(patched(document, &one(patch)).unwrap_err(), error, "{title}");
    }
    assert_eq!(patched("{}", "{}").unwrap_err(), PatchError::Malformed);
    let many = format!("[{}]", vec![r#"{"op":"test","path":"","value":{}}"#; 513].join(","));
    assert_eq!(patched("{}", &many).unwrap_err(), PatchError::Malformed);
}

#[test]
fn what_is_not_touched_keeps_its_bytes() {
    let document = r#"{ "value": 1.10, "deep": { "big" : [1e400, 12345678901234567890.10] }, "text": "\u0041\/" }"#;
    let result = patched(document, r#"[{"op":"add","path":"/new","value":0.50}]"#).unwrap();
    assert_eq!(
        result,
        r#"{"value":1.10,"deep":{ "big" : [1e400, 12345678901234567890.10] },"text":"\u0041\/","new":0.50}"#
    );
    let copied = patched(document, r#"[{"op":"copy","from":"/deep/big/1","path":"/value"}]"#).unwrap();
    assert!(copied.starts_with(r#"{"value":12345678901234567890.10,"#), "{copied}");
}

#[test]
fn a_test_compares_numbers_by_value_and_objects_without_order() {
    let document = r#"{"a":{"x":1.10,"y":[1e2]}}"#;
    patched(document, r#"[{"op":"test","path":"/a","value":{"y":[100],"x":1.1}}]"#).unwrap();
    let other = patched(document, r#"[{"op":"test","path":"/a","value":{"y":[100],"x":1.1,"z":null}}]"#);
    assert_eq!(other.unwrap_err(), PatchError::TestFailed);
}

#[test]
fn a_document_that_is_copied_into_itself_does_not_grow_without_end() {
    let copy = |at: usize| format!(r#"{{"op":"copy","from":"","path":"/c{at}"}}"#);
    let doubling: Vec<String> = (0..64).map(copy).collect();
    assert_eq!(patched(r#"{"a":1}"#, &format!("[{}]", doubling.join(","))).unwrap_err(), PatchError::TooLarge);
    let deeper = vec![r#"{"op":"copy","from":"","path":"/a"}"#; 400].join(",");
    assert_eq!(patched(r#"{"a":1}"#, &format!("[{deeper}]")).unwrap_err(), PatchError::TooLarge);
}

/// Small documents of few names, so that operations hit.
fn document() -> impl Strategy<Value = Oracle> {
    let leaf = prop_oneof![Just(Oracle::Null), any::<bool>().prop_map(Oracle::from), (0..4i32).prop_map(Oracle::from)];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Oracle::from),
            prop::collection::btree_map("[ab~/]", inner, 0..3)
                .prop_map(|members| Oracle::Object(members.into_iter().collect())),
        ]
    })
}

fn pointer() -> impl Strategy<Value = String> {
    let token = prop_oneof!["[ab0123]", Just("~0".to_owned()), Just("~1".to_owned()), Just("-".to_owned())];
    prop::collection::vec(token, 0..4)
        .prop_map(|tokens| tokens.iter().fold(String::new(), |text, token| format!("{text}/{token}")))
}

fn operations() -> impl Strategy<Value = Oracle> {
    let one = (0..6usize, pointer(), pointer(), document()).prop_map(|(op, path, from, value)| {
        match ["add", "remove", "replace", "move", "copy", "test"].get(op).copied().unwrap() {
            op @ ("move" | "copy") => json!({"op": op, "from": from, "path": path}),
            "remove" => json!({"op": "remove", "path": path}),
            op => json!({"op": op, "path": path, "value": value}),
        }
    });
    prop::collection::vec(one, 0..5).prop_map(Oracle::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn what_an_independent_implementation_gives_is_what_we_give(before in document(), patch in operations()) {
        // Removing or moving the whole document leaves nothing that could be stored; the other implementation leaves `null`.
        let whole = patch.as_array().unwrap().iter().any(|operation| {
            operation["op"] == "remove" && operation["path"] == "" || operation["op"] == "move" && operation["from"] == ""
        });
        prop_assume!(!whole);
        let ours = patched(&before.to_string(), &patch.to_string()).map(|text| serde_json::from_str::<Oracle>(&text).unwrap());
        let operations: json_patch::Patch = serde_json::from_value(patch).unwrap();
        let mut after = before.clone();
        match json_patch::patch_unsafe(&mut after, &operations) {
            Ok(()) => prop_assert_eq!(ours.unwrap(), after),
            Err(_) => prop_assert!(ours.is_err(), "{:?}", ours),
        }
    }

    #[test]
    fn no_patch_makes_it_panic(before in document(), text in "\\PC{0,40}") {
        if let Ok(patch) = Json::parse(text.into_bytes(), Limits::default()) {
            let _ = Patch::parse(patch.root()).map(|patch| patch.apply(&parsed(&before.to_string()), LONGEST));
        }
    }
}

/// A patch that makes lists of lists, each the one before twice, and then so many further changes.
fn doubled(times: usize, further: usize) -> String {
    let mut operations = vec![json!({"op": "add", "path": "/l0", "value": [[], []]})];
    for at in 1..=times {
        let (before, list) = (format!("/l{}", at - 1), format!("/l{at}"));
        let twice = json!({"op": "copy", "from": before, "path": format!("{list}/-")});
        operations.push(json!({"op": "add", "path": list, "value": []}));
        operations.extend([twice.clone(), twice, json!({"op": "remove", "path": before})]);
    }
    operations.extend(std::iter::repeat_n(json!({"op": "add", "path": "/a", "value": 1}), further));
    Oracle::from(operations).to_string()
}

#[test]
fn what_a_small_patch_costs_is_bounded() {
    let apply = |times, further| {
        let (document, patch) = (parsed("{}"), parsed(&doubled(times, further)));
        Patch::parse(patch.root()).unwrap().apply(&document, 16 * 1024 * 1024).map(|text| text.len())
    };
    assert!(apply(10, 400).is_ok());
    assert_eq!(apply(18, 0), Err(PatchError::TooLarge), "one that is held in too many parts");
    assert_eq!(apply(15, 400), Err(PatchError::TooLarge), "one that is counted too often");
}
