//! Properties, against `serde_json` as the oracle.

use proptest::prelude::*;

use super::*;

fn any_json() -> impl Strategy<Value = Oracle> {
    let leaf = prop_oneof![
        Just(Oracle::Null),
        any::<bool>().prop_map(Oracle::Bool),
        any::<i64>().prop_map(Oracle::from),
        any::<f64>().prop_map(Oracle::from),
        any::<String>().prop_map(Oracle::String),
    ];
    leaf.prop_recursive(6, 120, 24, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..24).prop_map(Oracle::Array),
            prop::collection::hash_map(any::<String>(), inner, 0..24).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Text that is nearly JSON: pieces of it in any order.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"\\u0061\"",
        "\"\\ud800\"",
        "\"\\",
        "1",
        "-",
        "0",
        ".5",
        "e3",
        "true",
        "null",
        " ",
        "\n",
        "\"",
        "\\u00e9",
        "é",
        "nul",
        "\u{1}",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_serde_json_writes_reads_back_the_same(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let json = parse(&text).unwrap();
        prop_assert_eq!(rebuilt(json.root()), serde_json::from_str::<Oracle>(&text).unwrap());
        prop_assert_eq!(Edits::new(&json).apply().unwrap(), text.into_bytes());
    }

    #[test]
    fn what_we_accept_serde_json_reads_the_same(text in nearly_json()) {
        let oracle = serde_json::from_str::<Oracle>(&text);
        match parse(&text) {
            Ok(json) => prop_assert_eq!(rebuilt(json.root()), oracle.unwrap()),
            Err(error) => prop_assert!(oracle.is_err() || error.kind() == ErrorKind::DuplicateKey, "{}: {}", text, error),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_pass_where_serde_json_fails(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if Json::parse(bytes.clone(), Limits::default()).is_ok() {
            // A number too large for a double is no error of the text; `RawValue` does not convert.
            prop_assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok());
        }
    }

    #[test]
    fn one_changed_byte_never_panics(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        *text.get_mut(at).unwrap() = byte;
        let _ = Json::parse(text, Limits::default()).map(|json| rebuilt_or_large(json.root()));
    }

    #[test]
    fn strings_survive_quoting_and_every_escape(text in any::<String>()) {
        let quoted = Json::parse(quote(&text), Limits::default()).unwrap();
        prop_assert_eq!(quoted.root().string().unwrap(), text.as_str());
        let escaped: String = text.encode_utf16().fold(String::new(), |text, unit| text + &format!("\\u{unit:04X}"));
        let json = parse(&format!("\"{escaped}\"")).unwrap();
        prop_assert_eq!(json.root().string().unwrap(), text.as_str());
        prop_assert!(json.root().is(&text));
    }

    #[test]
    fn edits_are_what_a_dom_would_do(value in any_json(), choices in prop::collection::vec(0..12_u8, 40), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let json = parse(&text).unwrap();
        let mut edits = Edits::new(&json);
        let mut choices = choices.into_iter().cycle();
        let expected = edited(json.root(), &mut edits, &mut choices);
        let out = edits.apply().unwrap();
        prop_assert_eq!(rebuilt(Json::parse(out, Limits::default()).unwrap().root()), expected);
    }

    #[test]
    fn retaining_members_is_what_a_map_would_retain(value in any_json(), choice in any::<u64>(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let json = parse(&text).unwrap();
        let mut edits = Edits::new(&json);
        let mut bit = 0;
        let mut keep = || { bit += 1; choice >> (bit % 64) & 1 == 1 };
        edits.retain_members(json.root(), |_| keep());
        edits.retain_elements(json.root(), |_| keep());
        let out: Oracle = serde_json::from_slice(&edits.apply().unwrap()).unwrap();
        bit_reset_and_compare(&json, choice, &out)?;
    }
}

/// Edits `value` by `choices`, also inside of what is removed or replaced, and returns what should come out.
fn edited(value: Value<'_>, edits: &mut Edits<'_>, choices: &mut impl Iterator<Item = u8>) -> Oracle {
    let choice = choices.next().unwrap();
    let out = match value.kind() {
        Kind::Object => {
            let mut out = serde_json::Map::new();
            if choice < 4 {
                edits.add_member(value, "\u{0}added", b"[]");
                out.insert("\u{0}added".into(), Oracle::Array(Vec::new()));
            }
            for member in value.members() {
                let inner = edited(member.value, edits, choices);
                if choices.next().unwrap() < 4 {
                    edits.remove_member(value, &member);
                } else {
                    out.insert(member.name().into_owned(), inner);
                }
            }
            Oracle::Object(out)
        }
        Kind::Array => {
            let mut out = Vec::new();
            if choice < 4 {
                edits.add_element(value, b"\"added\"");
                out.push("added".into());
            }
            for element in value.elements() {
                let inner = edited(element, edits, choices);
                if choices.next().unwrap() < 4 {
                    edits.remove_element(value, element);
                } else {
                    out.push(inner);
                }
            }
            Oracle::Array(out)
        }
        _ => rebuilt(value),
    };
    if choices.next().unwrap() < 2 {
        edits.replace_string(value, "replaced");
        return "replaced".into();
    }
    out
}

fn rebuilt_or_large(value: Value<'_>) -> usize {
    value.members().map(|member| rebuilt_or_large(member.value)).sum::<usize>()
        + value.elements().map(rebuilt_or_large).sum::<usize>()
        + value.string().map_or(1, |text| text.len())
}

fn bit_reset_and_compare(json: &Json, choice: u64, out: &Oracle) -> Result<(), TestCaseError> {
    let kept = |index: usize| choice >> ((index + 1) % 64) & 1 == 1;
    let expected = match json.root().kind() {
        Kind::Object => {
            let members = json.root().members().enumerate().filter(|(index, _)| kept(*index));
            members.map(|(_, member)| (member.name().into_owned(), rebuilt(member.value))).collect()
        }
        Kind::Array => {
            let elements = json.root().elements().enumerate().filter(|(index, _)| kept(*index));
            elements.map(|(_, element)| rebuilt(element)).collect()
        }
        _ => rebuilt(json.root()),
    };
    prop_assert_eq!(out, &expected);
    Ok(())
}
