//! JSON Patch on the text, against an independent implementation on a DOM: a document, a line feed, a patch. What is applied gives
//! what the other gives, what is not applied the other does not apply either, and a patch of nothing changes no byte of the value.
#![no_main]

use firebreak::json::patch::{Operation, Patch, PatchError};
use firebreak::json::{Json, Kind, Limits, Value};
use serde_json::Value as Dom;

/// Of the result, in bytes.
const LONGEST: usize = 64 * 1024;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { depth: 64, keys: 64, nodes: 4096 };
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (Ok(document), Ok(text)) =
        (Json::parse(bytes[..at].to_vec(), limits), Json::parse(bytes[at + 1..].to_vec(), limits))
    else {
        return;
    };
    let Ok(patch) = Patch::parse(text.root()) else {
        return;
    };
    let after = patch.apply(&document, LONGEST);
    if let Ok(after) = &after {
        assert!(after.len() <= LONGEST);
        assert!(!patch.operations().is_empty() || after == document.root().raw(), "nothing was to be changed");
    }
    // What fits into a double, since nothing else can be compared.
    let (Ok(mut dom), Ok(operations)) =
        (serde_json::from_slice::<Dom>(document.bytes()), serde_json::from_slice::<json_patch::Patch>(text.bytes()))
    else {
        return;
    };
    if patch.operations().iter().any(reads_otherwise) {
        return;
    }
    match (json_patch::patch_unsafe(&mut dom, &operations), after) {
        (_, Err(PatchError::TooLarge)) | (Err(_), Err(_)) => {}
        (Ok(()), Ok(after)) => {
            let ours: Result<Dom, _> = serde_json::from_slice(&after);
            assert_eq!(ours.ok(), Some(dom), "{}", String::from_utf8_lossy(&after));
        }
        (theirs, ours) => panic!("{theirs:?}, and {:?}", ours.map(|text| String::from_utf8_lossy(&text).into_owned())),
    }
});

/// Where the two differ on purpose: numbers are the same by value here (RFC 6902 section 4.6) and by their kind there; without the whole
/// document nothing is left that could be stored, where the other leaves `null`.
fn reads_otherwise(operation: &Operation<'_>) -> bool {
    match operation {
        Operation::Test { value, .. } => has_number(*value),
        Operation::Remove { path } | Operation::Move { from: path, .. } => path.tokens().is_empty(),
        Operation::Add { .. } | Operation::Replace { .. } | Operation::Copy { .. } => false,
    }
}

fn has_number(value: Value<'_>) -> bool {
    value.kind() == Kind::Number
        || value.elements().any(has_number)
        || value.members().any(|member| has_number(member.value))
}
