//! The reference of the configuration: every key that the program asks for, what it takes, and what `docs/configuration.md` says of
//! it. The program is asked by mistakes: a key that is none is answered with those that are, a value of the wrong kind with
//! what is expected. So the document cannot forget a key, keep one that is gone, or name a default that is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use firebreak::config::{Config, ConfigError};

use super::compare;

/// Far from every key there is, so that it is no typing error.
const NO_KEY: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

/// What each section needs so that it can be read, in the order of the file.
const NEEDED: &[(&str, &str)] = &[
    ("server", "listen = \"127.0.0.1:0\"\norigin = \"https://gw.example.org\"\ndanger_plain_http = true"),
    ("tls", "directory = \"tls\""),
    ("fhir", "upstream = \"http://127.0.0.1:1/fhir\""),
    (
        "fhir.operation",
        "name = \"apply\"\ndefinition = \"http://a.example/apply\"\nlevels = [\"instance\"]\nresource_types = [\"PlanDefinition\"]\nreturns = \"outcome\"",
    ),
    ("fhir.operation.input", "name = \"a\"\ntype = \"string\""),
    ("state", "directory = \"state\""),
    ("audit", ""),
    ("policies", "directory = \"policies\""),
    ("tokens", ""),
    ("outbound", ""),
    ("brands", "name = \"A\"\nwebsite = \"https://a.example\""),
    ("limits", ""),
    ("registration", ""),
    ("client", "client_id = \"a\"\nredirect_uris = [\"https://a.example/cb\"]\njwks_file = \"jwks.json\""),
    ("client.ehr", ""),
    ("provider", "id = \"a\"\nissuer = \"https://idp.example\"\nclient_id = \"c\""),
    ("provider.claims", ""),
    (
        "user",
        "username = \"a\"\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Mz4WoyOJXvPyNmIoUQn0IbFWyMwlDuPHJcyeGkvMKkI\"",
    ),
];

/// Documented defaults that stand for what the program does without the key, and are not the same as writing them.
const NOT_AS_WRITTEN: &[(&str, &str, &str)] = &[
    ("client", "access_token_lifetime", "may be written for backend services alone"),
    ("brands", "aliases", "the bundle says when it was made"),
    ("server", "danger_plain_http", "without it this test would need a certificate"),
];

fn shown(section: &str) -> String {
    if ["client", "provider", "user", "fhir.operation", "fhir.operation.input"].contains(&section) {
        format!("[[{section}]]")
    } else {
        format!("[{section}]")
    }
}

/// A file with everything that `of` needs, and `more` in that section, in the place of what it needs of the same key.
fn file(of: &str, more: &str) -> String {
    let mut text = String::new();
    let key = more.split(" = ").next().unwrap_or_default();
    for (section, needed) in NEEDED {
        let parent = of.split('.').next().unwrap_or_default();
        let above = of.starts_with(&format!("{section}."));
        if above || ["server", "fhir", parent, of].contains(section) {
            writeln!(text, "{}", shown(section)).unwrap();
            let replaced = |line: &&str| *section != of || line.split(" = ").next() != Some(key);
            needed.lines().filter(replaced).for_each(|line| writeln!(text, "{line}").unwrap());
            writeln!(text, "{}", if *section == of { more } else { "" }).unwrap();
        }
    }
    text
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("jwks.json"), "{\"keys\":[]}").unwrap();
    // A directory of its own each time stands in no message.
    match Config::parse(text, directory.path()) {
        Ok(config) => Ok(config),
        Err(ConfigError::Mistakes(mistakes)) => Err(mistakes.into_iter().map(|mistake| mistake.message).collect()),
        Err(other) => panic!("{other}"),
    }
}

/// The keys that a section asks for, as the answer to one that it does not.
fn keys(section: &str) -> Vec<String> {
    let mistakes = parse(&file(section, &format!("{NO_KEY} = 1"))).unwrap_err();
    let known =
        mistakes.iter().find_map(|mistake| mistake.split_once("known here: ")).map(|(_, known)| known.to_owned());
    known.unwrap_or_else(|| panic!("{section}: {mistakes:?}")).split(", ").map(str::to_owned).collect()
}

/// What a key takes, as the answer to a value of the wrong kind. `None`: a table of its own.
fn takes(section: &str, key: &str) -> Option<String> {
    let mistakes = parse(&file(section, &format!("{key} = 1979-05-27"))).unwrap_err();
    let told = mistakes.iter().find(|mistake| mistake.contains(&format!("`{key}`")) && mistake.contains(" must be "));
    let told = told.unwrap_or_else(|| panic!("[{section}] {key}: {mistakes:?}"));
    let (_, expected) = told.split_once(" must be ").unwrap();
    let tables = expected.starts_with("a table") || expected.starts_with("a list of tables");
    (!tables).then(|| expected.to_owned())
}

/// A row of a table of the document.
struct Row {
    default: String,
    meaning: String,
}

/// The rows of the document by section and key.
fn documented() -> BTreeMap<(String, String), Row> {
    let (mut rows, mut sections) = (BTreeMap::new(), Vec::new());
    for line in include_str!("../../../docs/configuration.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            sections = heading.split(", ").map(|name| name.trim_matches(['[', ']']).to_owned()).collect();
        } else if !line.starts_with('|') {
            // `[client.ehr]` and `[provider.claims]` are told of below the section that they belong to.
            let below = line.split('`').find(|word| {
                let is = |section: &str| {
                    [format!("[{section}]"), format!("[[{section}]]")].iter().any(|known| known == word)
                };
                NEEDED.iter().any(|(section, _)| section.contains('.') && is(section))
            });
            if let Some(below) = below {
                sections = vec![below.trim_matches(['[', ']']).to_owned()];
            }
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if !line.starts_with("| `") || cells.len() != 3 {
            assert!(!line.starts_with("| `"), "a row of three cells: {line}");
            continue;
        }
        let keys: Vec<&str> = cells[0].split(", ").map(|key| key.trim_matches('`')).collect();
        let defaults: Vec<&str> = cells[1].split(", ").collect();
        for (number, key) in keys.iter().enumerate() {
            let (section, key) = match key.split_once('.') {
                Some((section, key)) if sections.iter().any(|known| known == section) => (section, key),
                _ => (sections.first().unwrap().as_str(), *key),
            };
            let default = if defaults.len() == keys.len() { defaults[number] } else { cells[1] };
            let row = Row { default: default.to_owned(), meaning: cells[2].to_owned() };
            rows.entry((section.to_owned(), key.to_owned())).or_insert(row);
        }
    }
    rows
}

#[test]
fn the_document_tells_of_every_key_and_of_no_other() {
    let documented = documented();
    let mut text = String::new();
    let mut known = BTreeSet::new();
    let mut top: BTreeSet<String> = NEEDED.iter().map(|(section, _)| (*section).to_owned()).collect();
    for (section, _) in NEEDED {
        writeln!(text, "{}", shown(section)).unwrap();
        for key in keys(section) {
            let Some(takes) = takes(section, &key) else {
                // `role_map` has the site's own words for keys.
                if key != "role_map" {
                    assert!(top.remove(&format!("{section}.{key}")), "[{section}.{key}] is not looked at");
                    continue;
                }
                known.insert(((*section).to_owned(), key.clone()));
                writeln!(text, "{key}: a table of strings").unwrap();
                continue;
            };
            let row = documented.get(&((*section).to_owned(), key.clone()));
            let row = row.unwrap_or_else(|| panic!("docs/configuration.md does not tell of `{key}` in [{section}]"));
            writeln!(text, "{key}: {takes}\n  default: {}\n  {}", row.default, row.meaning).unwrap();
            known.insert(((*section).to_owned(), key));
        }
        writeln!(text).unwrap();
    }
    let gone: Vec<_> = documented.keys().filter(|key| !known.contains(key)).collect();
    assert!(gone.is_empty(), "docs/configuration.md tells of what is no key: {gone:?}");
    let mistakes = Config::parse(&format!("{NO_KEY} = 1"), Path::new(".")).unwrap_err().to_string();
    let sections = mistakes.split_once("known here: ").unwrap().1.lines().next().unwrap();
    let sections: BTreeSet<&str> = sections.split(", ").collect();
    assert_eq!(sections, NEEDED.iter().map(|(section, _)| *section).filter(|section| !section.contains('.')).collect());
    compare("configuration.txt", &text);
}

#[test]
fn a_default_that_the_document_names_is_the_one_that_is_used() {
    let told = |config: &Config| format!("{config:?}");
    let mut checked = 0;
    for ((section, key), row) in documented() {
        let written = row.default.trim_matches('`');
        let is_value = row.default.starts_with('`') && row.default.ends_with('`') && !written.contains('`');
        let value = written.replace("\\|", "|");
        let is_toml = toml::from_str::<toml::Table>(&format!("x = {value}")).is_ok();
        if !is_value || !is_toml || NOT_AS_WRITTEN.iter().any(|(of, name, _)| *of == section && *name == key) {
            continue;
        }
        let directory = Path::new("/etc/firebreak-of-this-test");
        let jwks = format!("{}/tests/golden/jwks.json", env!("CARGO_MANIFEST_DIR"));
        let with = |more: &str| {
            let text = file(&section, more).replace("jwks.json", &jwks);
            Config::parse(&text, directory).unwrap_or_else(|error| panic!("[{section}] {key}: {error}"))
        };
        assert_eq!(told(&with(&format!("{key} = {value}"))), told(&with("")), "[{section}] {key} = {value}");
        checked += 1;
    }
    assert!(checked > 40, "only {checked} defaults were found in the document");
}
