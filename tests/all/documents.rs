//! What documents claim about this tree: tests and files that they name exist, every decision record is in their list, and the
//! sidecar's configuration is one.
#![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use firebreak::config::Config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `directory`.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The names of all tests: functions below an attribute that makes them one, or in `proptest!`.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("tests"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim_start) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            if let Some(function) = function {
                let name = function.split(['(', '<']).next().unwrap_or_default();
                if std::mem::take(&mut is_test) {
                    names.insert(name.to_owned());
                }
            }
        }
    }
    names
}

/// The paragraphs of `document` that begin with `Shown by:`, each with the heading that it stands under.
fn shown_by(document: &str) -> Vec<(String, String)> {
    let mut heading = String::new();
    let mut shown = Vec::new();
    for paragraph in document.split("\n\n") {
        let paragraph = paragraph.trim();
        if let Some(title) = paragraph.strip_prefix("### ") {
            title.clone_into(&mut heading);
        } else if let Some(names) = paragraph.strip_prefix("Shown by:") {
            shown.push((heading.clone(), names.to_owned()));
        }
    }
    shown
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_that_a_document_names_exists() {
    let document = fs::read_to_string(root().join("docs/past-vulnerabilities.md")).unwrap();
    let tests = tests();
    assert!(tests.len() > 900, "only {} tests were found", tests.len());
    let shown = shown_by(&document);
    let mut problems = Vec::new();
    for (heading, names) in &shown {
        assert!(quoted(names).next().is_some(), "nothing shows that `{heading}` is stopped");
        for name in quoted(names) {
            let there = if name.contains('/') { root().join(name).is_file() } else { tests.contains(name) };
            if !there {
                problems.push(format!("{heading}: `{name}`"));
            }
        }
    }
    let headings: Vec<&str> = document.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let covered: Vec<&str> = shown.iter().map(|(heading, _)| heading.as_str()).collect();
    assert_eq!(headings, covered, "each kind says once what shows it");
    assert!(headings.len() > 25, "{headings:?}");
    assert!(problems.is_empty(), "docs/past-vulnerabilities.md names what there is not:\n{}", problems.join("\n"));
}

#[test]
fn every_decision_is_in_the_list_and_says_context_decision_and_consequences() {
    let directory = root().join("docs/decisions");
    let list = fs::read_to_string(directory.join("README.md")).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "README.md");
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    for (number, name) in names.iter().enumerate() {
        let text = fs::read_to_string(directory.join(name)).unwrap();
        let (id, title) = text.strip_prefix("# ").and_then(|text| text.lines().next()?.split_once(". ")).unwrap();
        assert_eq!(id, format!("{:04}", number + 1), "{name} is numbered without a gap");
        assert!(name.starts_with(id), "{name}");
        assert!(list.contains(&format!("| {id} | [{title}]({name}) |")), "{name} is not in the list by its title");
        let parts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts, ["Context", "Decision", "Consequences"], "{name}");
        assert!(text.lines().count() <= 40, "{name} is longer than a page");
    }
}

/// The root of a volume belongs to root; what is below it the gateway can make its own.
#[test]
fn the_sidecar_has_a_configuration_that_loads_and_its_state_below_the_root_of_its_volume() {
    let manifest = fs::read_to_string(root().join("deploy/kubernetes/sidecar.yaml")).unwrap();
    let (_, rest) = manifest.split_once("  firebreak.toml: |\n").unwrap();
    let (text, _) = rest.split_once("\n---\n").unwrap();
    let config = Config::parse(&text.replace("\n    ", "\n"), Path::new("/etc/firebreak")).unwrap();
    let (_, mount) = manifest.split_once("{name: state, mountPath: ").unwrap();
    let below = config.state_directory.strip_prefix(mount.split('}').next().unwrap()).unwrap();
    assert_ne!(below, Path::new(""));
    assert!(manifest.contains("fsGroupChangePolicy: OnRootMismatch"), "the modes of keys are left as they are");
}
