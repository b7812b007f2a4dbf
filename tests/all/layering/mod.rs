//! The layers of the crate: which module may import which, how long a file may be, and that each says what it is.
//!
//! The rule is data. A change that needs another line here changes the layers, and says so in its commit.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

mod sources;

use std::collections::{BTreeMap, BTreeSet};

use self::sources::{Read, Source, all};

/// The modules in the order of `lib.rs`, each with all that it imports of the crate.
const LAYERS: [(&str, &str); 32] = [
    // The two pipelines and what puts them together.
    ("gateway", "listen canonicalise authenticate authorize forward filter audit grant clients cors fhir error admin"),
    (
        "origin",
        "gateway listen admit authenticate authorize forward outbound filter audit grant federation keys clients cors fhir \
         oauth error config store admin clock",
    ),
    // The request path.
    ("listen", "admit audit config clock random"),
    ("admit", ""),
    ("canonicalise", "listen fhir json error"),
    ("authenticate", "listen admit canonicalise grant keys clients fhir smart jose error store clock secret"),
    ("authorize", "canonicalise authenticate fhir smart json error"),
    ("forward", "authorize fhir json error config clock random"),
    ("outbound", ""),
    ("filter", "listen authenticate authorize forward keys fhir json error clock"),
    ("audit", "clock files random secret"),
    // The grant path.
    (
        "grant",
        "gateway listen admit outbound audit federation keys clients cors fhir smart oauth jose config store clock random \
         secret",
    ),
    ("federation", "outbound grant fhir jose config clock random"),
    // What both paths know.
    ("keys", "jose clock files random"),
    ("clients", "outbound oauth jose config store random secret"),
    ("cors", "listen clients"),
    // The vocabularies.
    ("fhir", "json"),
    ("smart", "fhir"),
    ("oauth", "smart jose secret"),
    ("jose", "secret"),
    ("json", ""),
    // What carries them.
    ("error", "authorize audit fhir jose json"),
    ("config", "outbound fhir smart oauth jose clock secret"),
    ("store", "clock files secret"),
    ("admin", "listen audit keys store clock random secret"),
    (
        "command",
        "gateway origin listen admit canonicalise authenticate authorize forward filter audit grant federation keys clients fhir \
         smart oauth error config store admin demo clock random secret",
    ),
    ("demo", "clock random"),
    ("clock", ""),
    ("random", ""),
    ("secret", ""),
    ("files", ""),
    // Only there in builds for fuzzing.
    ("fuzzing", "listen canonicalise authenticate authorize forward filter fhir smart error clock"),
];

/// Words that could be a library of their own: they import each other and `secret`, nothing else.
const VOCABULARIES: [&str; 5] = ["fhir", "smart", "oauth", "jose", "json"];

/// The request path in order: a stage imports none that comes after it, and nothing of the grant path.
const STAGES: [&str; 8] =
    ["listen", "admit", "canonicalise", "authenticate", "authorize", "forward", "filter", "audit"];

/// What stages import all the same: file, what, why.
const EXCEPTIONS: [(&str, &str, &str); 5] = [
    ("listen/server.rs", "admit::Connections", "connections are admitted before anything is read from them"),
    ("listen/room.rs", "admit::block", "memory for bodies is counted by address as connections are"),
    ("listen/mod.rs", "audit::Recorded", "the listener writes nothing but what was recorded"),
    (
        "authenticate/mod.rs",
        "grant::revocations::Revocations",
        "asked on every request; the grant path notes what it revokes",
    ),
    (
        "authenticate/mod.rs",
        "grant::records::User",
        "a user who chooses a patient searches by the request path, without a token",
    ),
];

/// Lines of a file without its tests.
const HARD_LIMIT: usize = 600;

/// Files beyond the hard limit: which, why.
const LARGE: [(&str, &str); 0] = [];

/// The median of all files. The aim is 150.
const MEDIAN: usize = 180;

/// The module at the root that a path begins with.
fn first(path: &str) -> &str {
    path.split("::").next().unwrap()
}

/// Each import of another module: the file, its module, the path.
fn imports(sources: &[Source]) -> Vec<(&str, &str, &str)> {
    let mut imports = Vec::new();
    for source in sources {
        let Some(module) = source.module() else { continue };
        let paths = source.imports.iter().map(String::as_str).filter(|path| first(path) != module);
        imports.extend(paths.map(|path| (source.file.as_str(), module, path)));
    }
    imports
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn each_module_imports_what_its_layer_says_and_no_more() {
    let sources = all();
    let layers: BTreeMap<&str, BTreeSet<&str>> =
        LAYERS.iter().map(|(module, imports)| (*module, imports.split_whitespace().collect())).collect();
    let mut unused = layers.clone();
    let mut broken = Vec::new();
    for (file, module, path) in imports(&sources) {
        let imported = first(path);
        if !layers.get(module).is_some_and(|layer| layer.contains(imported)) {
            broken.push(format!("src/{file} imports `{path}`, and the layer of `{module}` does not say so"));
        }
        if let Some(unused) = unused.get_mut(module) {
            unused.remove(imported);
        }
    }
    for (module, imports) in unused {
        broken.extend(imports.iter().map(|import| format!("`{module}` may import `{import}`, and does not")));
    }
    assert_none(&broken, "each import stands in LAYERS, and each of those is needed");
}

#[test]
fn lib_rs_lists_the_modules_in_the_order_of_the_layers() {
    let lib = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    let listed: Vec<&str> = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(listed, LAYERS.map(|(module, _)| module));
}

#[test]
fn vocabularies_import_each_other_and_secret_alone() {
    let sources = all();
    let broken: Vec<String> = imports(&sources)
        .into_iter()
        .filter(|(_, module, path)| {
            VOCABULARIES.contains(module) && !VOCABULARIES.contains(&first(path)) && first(path) != "secret"
        })
        .map(|(file, _, path)| format!("src/{file} imports `{path}`"))
        .collect();
    assert_none(&broken, "smart, fhir, oauth, jose and json import each other and secret, nothing else");
}

#[test]
fn the_demonstration_is_known_to_the_command_line_alone() {
    let sources = all();
    let broken: Vec<String> = imports(&sources)
        .into_iter()
        .filter(|(_, module, path)| first(path) == "demo" && *module != "command")
        .map(|(file, _, path)| format!("src/{file} imports `{path}`"))
        .collect();
    assert_none(&broken, "only src/command imports demo");
}

#[test]
fn no_stage_imports_a_later_one_or_the_grant_path() {
    let sources = all();
    let place = |module: &str| STAGES.iter().position(|stage| *stage == module);
    let mut unused: BTreeSet<(&str, &str)> = EXCEPTIONS.iter().map(|(file, path, _)| (*file, *path)).collect();
    let mut broken = Vec::new();
    for (file, module, path) in imports(&sources) {
        let Some(stage) = place(module) else { continue };
        let is_later = place(first(path)).is_some_and(|other| other > stage);
        if (is_later || first(path) == "grant") && !unused.remove(&(file, path)) {
            broken.push(format!("src/{file} imports `{path}`"));
        }
    }
    broken.extend(unused.iter().map(|(file, path)| format!("src/{file} does not import `{path}` any more")));
    assert_none(&broken, "a stage imports neither a later stage nor the grant path, but for EXCEPTIONS");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let sources = all();
    let broken: Vec<String> = sources
        .iter()
        .filter(|source| source.lines > HARD_LIMIT && !LARGE.iter().any(|(file, _)| *file == source.file))
        .map(|source| format!("src/{} has {} lines", source.file, source.lines))
        .collect();
    assert_none(&broken, "a file has at most 600 lines without its tests, but for LARGE");
    let mut lines: Vec<usize> = sources.iter().map(|source| source.lines).collect();
    lines.sort_unstable();
    let median = lines.get(lines.len() / 2).copied().unwrap();
    assert!(median <= MEDIAN, "the median is {median} lines, at most {MEDIAN} are expected");
}

#[test]
fn each_file_says_what_it_is() {
    let broken: Vec<String> =
        all().iter().filter(|source| !source.is_documented).map(|source| format!("src/{}", source.file)).collect();
    assert_none(&broken, "a file opens with `//!`");
}

#[test]
fn the_sources_are_all_seen() {
    let sources = all();
    let modules: BTreeSet<&str> = sources.iter().filter_map(Source::module).collect();
    assert_eq!(modules, LAYERS.iter().map(|(module, _)| *module).collect());
    assert!(sources.len() > 200 && imports(&sources).len() > 500, "{} files", sources.len());
    assert!(!sources.iter().any(|source| source.file.ends_with("tests.rs") || source.file.contains("/testing")));
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = r#"
        //! Words. [`crate::comment`]
        use crate::listen::{Body, inbound::{Inbound as In}};
        use crate::{random, store::*};
        pub(crate) use super::super::root::Thing;
        use super::sibling;
        #[cfg(test)]
        use crate::only_for_tests;
        /// [`crate::comment`]
        fn f() -> crate::typed::Type { let text = "crate::text"; g::<crate::turbofish::T>(crate::called::f(text)) }
        #[cfg(test)]
        pub(crate) mod conformance;
        #[cfg(test)]
        #[expect(dead_code)]
        mod tests {
            use crate::only_for_tests;
        }
        mod inner { use super::super::super::also_root; use super::super::sibling; }
    "#;
    let read = Read::of(text, "fhir/search.rs");
    let found: Vec<&str> = read.imports.iter().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "also_root",
            "called::f",
            "listen::Body",
            "listen::inbound::Inbound",
            "random",
            "root::Thing",
            "store",
            "turbofish::T",
            "typed::Type"
        ]
    );
    assert_eq!(read.test_modules, BTreeSet::from(["fhir/search/conformance".to_owned()]));
    assert_eq!(read.lines, text.lines().count() - 2 - 2 - 5);
}
