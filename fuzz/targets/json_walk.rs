//! The strict JSON pass, against `serde_json`: what it takes reads the same there, what it refuses has a reason, and what is
//! spliced out of it is JSON that a DOM would have made.
#![no_main]

use firebreak::json::{Edits, ErrorKind, Json, Kind, Limits, Value};
use serde_json::Value as Dom;

/// What is taken is no deeper; what is added to the deepest value by two levels is.
const DEPTH: u32 = 64;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { depth: DEPTH, keys: 32, nodes: 4096 };
    match Json::parse(bytes.to_vec(), limits) {
        Ok(json) => {
            assert_eq!(Edits::new(&json).apply().as_deref(), Ok(bytes), "what is not edited stays as it came");
            let text = std::str::from_utf8(bytes).expect("what was taken is UTF-8");
            let raw: Result<&serde_json::value::RawValue, _> = serde_json::from_str(text);
            assert!(raw.is_ok(), "{text:?} was taken, and {raw:?}");
            // A number too large for a double is no error of the text, and nothing to compare.
            if let Ok(dom) = serde_json::from_str::<Dom>(text) {
                assert_eq!(rebuilt(json.root()), dom, "{text:?}");
                edited(&json);
            }
        }
        Err(error) => {
            assert!(error.offset() <= bytes.len());
            let stricter = matches!(
                error.kind(),
                ErrorKind::DuplicateKey | ErrorKind::TooDeep | ErrorKind::TooManyKeys | ErrorKind::TooManyNodes
            );
            let taken = serde_json::from_slice::<Dom>(bytes).is_ok();
            assert!(stricter || !taken, "{:?} was refused: {error}", String::from_utf8_lossy(bytes));
        }
    }
});

fn rebuilt(value: Value<'_>) -> Dom {
    match value.kind() {
        Kind::Object => {
            let members: Vec<_> =
                value.members().map(|member| (member.name().into_owned(), rebuilt(member.value))).collect();
            let count = members.len();
            let map: serde_json::Map<String, Dom> = members.into_iter().collect();
            assert_eq!(map.len(), count, "a key twice");
            Dom::Object(map)
        }
        Kind::Array => value.elements().map(rebuilt).collect(),
        Kind::String => Dom::String(value.string().expect("a string has a content").into_owned()),
        Kind::Number | Kind::True | Kind::False | Kind::Null => {
            serde_json::from_slice(value.raw()).expect("serde_json took it as part of the whole")
        }
    }
}

/// Removes, replaces and adds by what the text itself says, and compares with what a DOM would hold.
fn edited(json: &Json) {
    let mut edits = Edits::new(json);
    let expected = edit(json.root(), &mut edits, &mut json.bytes().iter().copied().cycle());
    let out = edits.apply().expect("edits made in one walk do not contradict each other");
    let again = Json::parse(out.clone(), Limits { depth: DEPTH + 2, ..Limits::default() });
    let again = again.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    assert_eq!(rebuilt(again.root()), expected, "{}", String::from_utf8_lossy(&out));
}

fn edit(value: Value<'_>, edits: &mut Edits<'_>, choices: &mut impl Iterator<Item = u8>) -> Dom {
    let mut choose = |of: u8| choices.next().is_some_and(|byte| byte.is_multiple_of(of));
    if value.is_string() && choose(3) {
        edits.replace_string(value, "re\"pl\u{e9}ced\n");
        return Dom::String("re\"pl\u{e9}ced\n".to_owned());
    }
    let removes = choose(2);
    let adds = choose(5);
    match value.kind() {
        Kind::Object => {
            let mut left = serde_json::Map::new();
            for (number, member) in value.members().enumerate() {
                let inner = edit(member.value, edits, choices);
                if removes && number % 2 == 0 {
                    edits.remove_member(value, &member);
                } else {
                    left.insert(member.name().into_owned(), inner);
                }
            }
            if adds && !left.contains_key("added") {
                edits.add_member(value, "added", b"[null]");
                left.insert("added".to_owned(), serde_json::json!([null]));
            }
            Dom::Object(left)
        }
        Kind::Array => {
            let mut left = Vec::new();
            for (number, element) in value.elements().enumerate() {
                let inner = edit(element, edits, choices);
                if removes && number % 2 == 1 {
                    edits.remove_element(value, element);
                } else {
                    left.push(inner);
                }
            }
            if adds {
                edits.add_element(value, b"{}");
                left.insert(0, serde_json::json!({}));
            }
            Dom::Array(left)
        }
        _ => rebuilt(value),
    }
}
