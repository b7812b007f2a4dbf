//! The upstream's base in a resource becomes ours, against a rewriter on a DOM that reads URLs with the parser of the URL
//! standard: the same addresses are rewritten, in the same places, and nothing else is touched.
#![no_main]

use firebreak::filter::urls::{Rebase, rewrite};
use firebreak::json::{Edits, Json, Limits};
use serde_json::Value as Dom;
use url::Url;

const OURS: &str = "https://gw.example/fhir";
const THEIRS: [&str; 2] = ["http://store/fhir", "https://up.internal:8443/r4"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(json) = Json::parse(bytes.to_vec(), Limits::default()) else { return };
    let Ok(mut expected) = serde_json::from_slice::<Dom>(bytes) else { return };
    let rebase = Rebase::new(OURS, &THEIRS);
    let mut edits = Edits::new(&json);
    rewrite(json.root(), &mut edits, &mut |_, url| rebase.outward(url));
    let untouched = edits.is_empty();
    let out = edits.apply().expect("rewriting does not contradict itself");
    assert!(!untouched || out == bytes, "what has no address of the upstream stays as it came");
    naive(&mut expected, "resource", "resource");
    let rewritten: Dom = serde_json::from_slice(&out).expect("what was rewritten is JSON");
    assert_eq!(rewritten, expected, "{}", String::from_utf8_lossy(bytes));
    // Rewriting what was rewritten finds nothing any more.
    let json = Json::parse(out.clone(), Limits::default()).expect("what was rewritten is strict JSON");
    let mut again = Edits::new(&json);
    rewrite(json.root(), &mut again, &mut |_, url| rebase.outward(url));
    assert!(again.is_empty(), "{}", String::from_utf8_lossy(&out));
});

/// Rewrites `value`, which is the member `name` of an object that is the member `of` of another one.
fn naive(value: &mut Dom, name: &str, of: &str) {
    match value {
        Dom::String(text) => {
            let extension = matches!(of, "extension" | "modifierExtension");
            let resource = matches!(of, "contained" | "resource");
            let address = match name {
                "reference" | "fullUrl" | "location" | "valueUrl" | "valueUri" => true,
                "url" => !extension && !resource,
                _ => false,
            };
            if let Some(ours) = naive_outward(text).filter(|_| address) {
                *text = ours;
            }
        }
        // An array stands for each of its objects; a string in it is no address.
        Dom::Array(elements) => elements.iter_mut().filter(|element| !element.is_string()).for_each(|element| {
            naive(element, name, of);
        }),
        Dom::Object(members) => {
            members.iter_mut().for_each(|(inner, value)| naive(value, inner, name));
        }
        Dom::Null | Dom::Bool(_) | Dom::Number(_) => {}
    }
}

fn naive_outward(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let base = THEIRS.iter().filter_map(|base| Url::parse(base).ok()).find(|base| {
        let below = url.path().strip_prefix(base.path());
        url.origin() == base.origin() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })?;
    // The parser repairs what it reads. What it had to repair beyond the letter case of scheme and host and a default port can
    // be read in two ways, and stays.
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = base.host_str()?;
    let port = base.port().map_or_else(String::new, |port| format!(":{port}"));
    let default = if base.scheme() == "https" { ":443" } else { ":80" };
    let mut written = vec![format!("{host}{port}")];
    if port.is_empty() {
        written.extend([format!("{host}:"), format!("{host}{default}"), format!("{host}:{default}")]);
    }
    let path = rest.split(['?', '#']).next()?;
    let dots = path.split('/').any(|segment| matches!(&*segment.to_lowercase().replace("%2e", "."), "." | ".."));
    let plain = scheme.eq_ignore_ascii_case(base.scheme())
        && written.iter().any(|written| written.eq_ignore_ascii_case(authority))
        && !dots
        && !rest.bytes().any(|byte| byte <= b' ' || byte == b'\\');
    let rest = rest.strip_prefix(base.path().trim_end_matches('/')).filter(|_| plain)?;
    Some(format!("{OURS}{rest}"))
}
