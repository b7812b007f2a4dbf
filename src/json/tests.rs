#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use serde_json::Value as Oracle;

use super::*;

mod properties;

fn parse(text: &str) -> Result<Json, Error> {
    Json::parse(text.as_bytes().to_vec(), Limits::default())
}

fn refused(text: impl Into<Vec<u8>>) -> ErrorKind {
    Json::parse(text.into(), Limits::default()).unwrap_err().kind()
}

/// The value as `serde_json` would have it, read through our cursor only.
fn rebuilt(value: Value<'_>) -> Oracle {
    match value.kind() {
        Kind::Object => value.members().map(|member| (member.name().into_owned(), rebuilt(member.value))).collect(),
        Kind::Array => value.elements().map(rebuilt).collect(),
        Kind::String => Oracle::String(value.string().unwrap().into_owned()),
        Kind::Number | Kind::True | Kind::False | Kind::Null => serde_json::from_slice(value.raw()).unwrap(),
    }
}

#[test]
fn members_and_elements_are_found_with_their_spans() {
    let json = parse(r#" {"a": [1, {"b":"x\u0041"}], "c":null} "#).unwrap();
    let root = json.root();
    assert_eq!(root.span(), 1..json.bytes().len() - 1);
    let second = root.member("a").unwrap().elements().nth(1).unwrap();
    assert_eq!(second.raw(), br#"{"b":"x\u0041"}"#);
    assert!(second.member("b").unwrap().is("xA"));
    assert_eq!(second.text("b").unwrap(), "xA");
    assert_eq!(root.member("c").unwrap().kind(), Kind::Null);
    assert!(root.member("b").is_none());
    assert_eq!(root.members().map(|member| member.name().into_owned()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(root.member("c").unwrap().flatten().count(), 1);
    assert_eq!(root.member("a").unwrap().flatten().count(), 2);
}

#[test]
fn numbers_keep_their_text() {
    for number in ["1.10", "1e400", "12345678901234567890", "-0", "0.0", "1E+2", "-1.5e-7", "0"] {
        let json = parse(&format!("[{number}]")).unwrap();
        assert_eq!(json.root().elements().next().unwrap().raw(), number.as_bytes());
    }
}

#[test]
fn malformed_numbers_are_refused() {
    for number in ["01", "1.", "-", "1e", "1e+", "--1", "1.2.3", "-01", "1-", "0e"] {
        assert_eq!(refused(format!("[{number}]")), ErrorKind::Number, "{number}");
    }
    for number in ["+1", ".5", "NaN", "Infinity", "0x1", "1_000"] {
        assert_eq!(refused(format!("[{number}]")), ErrorKind::Unexpected, "{number}");
    }
}

#[test]
fn a_byte_order_mark_trailing_data_and_invalid_utf8_are_refused() {
    assert_eq!(refused("\u{FEFF}{}"), ErrorKind::ByteOrderMark);
    assert_eq!(refused("{} {}"), ErrorKind::TrailingData);
    assert_eq!(refused("{}\0"), ErrorKind::TrailingData);
    assert_eq!(refused(b"\"\xFF\"".to_vec()), ErrorKind::Utf8);
    assert_eq!(refused(b"\"\xC0\xAF\"".to_vec()), ErrorKind::Utf8);
    assert_eq!(refused(b"\"\xED\xA0\x80\"".to_vec()), ErrorKind::Utf8);
    assert_eq!(refused(b"{\0}".to_vec()), ErrorKind::Unexpected);
    assert_eq!(refused(""), ErrorKind::Truncated);
    assert_eq!(refused("  "), ErrorKind::Truncated);
}

#[test]
fn every_truncation_of_a_resource_is_refused() {
    let text = r#"{"resourceType":"Observation","value":[1.5e3,true,false,null,"\ud83d\ude00\n"]}"#;
    for end in 0..text.len() {
        assert!(Json::parse(text.as_bytes().get(..end).unwrap().to_vec(), Limits::default()).is_err(), "{end}");
    }
    assert!(parse(text).is_ok());
}

#[test]
fn a_lone_surrogate_is_refused_wherever_it_stands() {
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\ud800\n""#, r#"{"\udfff":1}"#]
    {
        assert_eq!(refused(text), ErrorKind::LoneSurrogate, "{text}");
    }
    assert_eq!(parse(r#""\ud83d\uDE00""#).unwrap().root().string().unwrap(), "\u{1F600}");
}

#[test]
fn malformed_strings_are_refused() {
    for text in [r#""\x""#, r#""\u12""#, r#""\u12g4""#, r#""\U0041""#] {
        assert_eq!(refused(text), ErrorKind::Escape, "{text}");
    }
    for control in 0..0x20_u8 {
        assert_eq!(refused([b'"', b'1', control, b'"']), ErrorKind::Control);
        let long = [b"\"1234567890123".as_slice(), &[control], b"4567890123456\""].concat();
        assert_eq!(refused(long), ErrorKind::Control);
    }
    assert!(parse("\"\u{7f}\u{80}é\"").is_ok());
}

#[test]
fn a_duplicate_key_is_refused_at_every_level_and_in_every_spelling() {
    for text in [
        r#"{"subject":1,"subject":2}"#,
        r#"{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#,
        r#"{"subject":1,"sub\u006aect":2}"#,
        r#"{"sub\u006aect":1,"subject":2}"#,
        r#"{"":1,"":2}"#,
        r#"{"longer-than-eight":1,"longer-than-eight":2}"#,
        r#"{"a\/b":1,"a/b":2}"#,
    ] {
        assert_eq!(refused(text), ErrorKind::DuplicateKey, "{text}");
    }
    assert!(parse(r#"{"a":{"a":{"a":1}},"b":{"a":1},"A":2,"a ":3}"#).is_ok());
    assert!(parse(r#"{"longer-than-eight":1,"longer-than-eighT":2,"longer-than":3}"#).is_ok());
}

#[test]
fn a_duplicate_among_many_keys_is_refused_wherever_it_stands() {
    for count in [15, 16, 17, 18, 40, 255] {
        let keys: Vec<String> = (0..count).map(|index| format!("\"key-number-{index}\":0")).collect();
        assert!(parse(&format!("{{{}}}", keys.join(","))).is_ok(), "{count}");
        for again in [0, count / 2, count - 1] {
            let text = format!("{{{},\"key-num\\u0062er-{again}\":1}}", keys.join(","));
            assert_eq!(refused(text), ErrorKind::DuplicateKey, "{again} of {count}");
        }
    }
}

#[test]
fn depth_keys_and_nodes_are_limited() {
    assert!(parse(&format!("{}{}", "[".repeat(64), "]".repeat(64))).is_ok());
    assert_eq!(refused(format!("{}{}", "[".repeat(65), "]".repeat(65))), ErrorKind::TooDeep);
    assert_eq!(refused("[".repeat(100_000)), ErrorKind::TooDeep);
    assert_eq!(refused("{\"a\":".repeat(100_000)), ErrorKind::TooDeep);
    let object =
        |keys: usize| format!("{{{}}}", (0..keys).map(|index| format!("\"{index}\":0")).collect::<Vec<_>>().join(","));
    assert!(parse(&object(256)).is_ok());
    assert_eq!(refused(object(257)), ErrorKind::TooManyKeys);
    let limits = Limits { nodes: 4, ..Limits::default() };
    assert!(Json::parse("[1,2,3]", limits).is_ok());
    assert_eq!(Json::parse("[1,2,3,4]", limits).unwrap_err().kind(), ErrorKind::TooManyNodes);
}

#[test]
fn an_error_tells_where_and_nothing_of_the_text() {
    let error = parse(r#"{"name":"Chalmers","name":1}"#).unwrap_err();
    assert_eq!(error.to_string(), "malformed json at byte 19: duplicate key");
}

#[test]
fn edits_leave_all_other_bytes_alone() {
    let json = parse("{ \"a\" : 1.10,\n  \"b\": [1, 2 ,3], \"c\": {} }").unwrap();
    let root = json.root();
    let mut edits = Edits::new(&json);
    assert!(edits.is_empty());
    edits.replace(root.member("a").unwrap(), &b"9"[..]);
    edits.retain_elements(root.member("b").unwrap(), |element| element.raw() == b"2");
    edits.add_member(root.member("c").unwrap(), "x", b"true");
    edits.add_member(root.member("c").unwrap(), "y", b"false");
    edits.add_member(root, "z\"", b"[]");
    edits.add_element(root.member("b").unwrap(), b"0");
    assert_eq!(
        String::from_utf8(edits.apply().unwrap()).unwrap(),
        "{\"z\\\"\":[], \"a\" : 9,\n  \"b\": [0,2], \"c\": {\"x\":true,\"y\":false} }"
    );
}

#[test]
fn rules_that_remove_the_same_do_not_contradict_each_other() {
    let json = parse(r#"{"a":[1,{"b":2}],"c":3,"d":{"e":4}}"#).unwrap();
    let root = json.root();
    let mut edits = Edits::new(&json);
    edits.retain_members(root, |member| member.name() == "c" || member.name() == "d");
    edits.retain_members(root, |member| member.name() != "a" && member.name() != "d");
    let (a, d) = (root.member("a").unwrap(), root.member("d").unwrap());
    edits.replace_string(a.elements().nth(1).unwrap().member("b").unwrap(), "gone");
    edits.retain_elements(a, |_| false);
    edits.add_element(a, b"5");
    edits.retain_members(d, |_| false);
    assert_eq!(edits.apply().unwrap(), br#"{"c":3}"#);
}

#[test]
fn all_children_may_be_removed_and_others_added() {
    let json = parse(r#"[{"a":1,"b":2}, [1, 2]]"#).unwrap();
    let mut edits = Edits::new(&json);
    for child in json.root().elements() {
        edits.retain_members(child, |_| false);
        edits.retain_elements(child, |_| false);
    }
    let object = json.root().elements().next().unwrap();
    edits.add_member(object, "c", b"3");
    assert_eq!(edits.apply().unwrap(), br#"[{"c":3}, []]"#);
    let mut edits = Edits::new(&json);
    edits.remove_member(object, &object.members().next().unwrap());
    assert_eq!(edits.apply_within(object).unwrap(), br#"{"b":2}"#);
}

#[test]
fn a_removal_wins_over_edits_of_the_same_value() {
    let json = parse(r#"[["a"],["b","c"]]"#).unwrap();
    for array in json.root().elements() {
        let mut edits = Edits::new(&json);
        edits.replace_string(array.elements().next().unwrap(), "x");
        edits.retain_elements(array, |_| false);
        assert_eq!(edits.apply_within(array).unwrap(), b"[]");
    }
}

#[test]
fn contradicting_edits_are_an_error() {
    let json = parse("[1,[2],3]").unwrap();
    let one = json.root().elements().next().unwrap();
    let mut edits = Edits::new(&json);
    edits.replace(one, &b"5"[..]);
    edits.replace(one, &b"6"[..]);
    assert!(edits.apply().is_err());
    let mut edits = Edits::new(&json);
    edits.replace(one, &b"5"[..]);
    assert!(edits.apply_within(json.root().elements().nth(1).unwrap()).is_err());
    let other = parse("[1,[2],3]").unwrap();
    let mut edits = Edits::new(&other);
    edits.replace(one, &b"5"[..]);
    assert!(edits.apply().is_err());
}

#[test]
fn paths_walk_arrays_on_the_way_and_at_the_end() {
    let json = parse(r#"{"a":[{"b":{"c":1}},{"b":[{"c":[2,3]},{"c":4},5]},[{"b":{"c":6}}]],"b":7}"#).unwrap();
    let mut found = Vec::new();
    json.root().visit(&["a", "b", "c"], &mut |value| found.push(value.raw()));
    assert_eq!(found, [b"1", b"2", b"3", b"4"]);
}
