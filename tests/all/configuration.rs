//! The files of `tests/configuration/`: every mistake in them is told at its line, with the fix, all at once, and nothing else is.
//! Behind `#!` stands what is to be told of the line.

use std::fs;
use std::path::{Path, PathBuf};

use firebreak::config::{Config, ConfigError};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configuration")
}

/// What is told of a text: line and message.
fn told(text: &str) -> Vec<(usize, String)> {
    match Config::parse(text, &directory()) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Mistakes(mistakes)) => mistakes.into_iter().map(|it| (it.line, it.message)).collect(),
        Err(other) => panic!("{other}"),
    }
}

/// What is wrong with what is told: each mistake that is marked in the text is told at its line, and no other.
fn compare(text: &str) -> Vec<String> {
    let mut told = told(text);
    assert!(told.is_sorted_by_key(|(line, _)| *line), "in the order of the lines");
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for expected in line.split(" #! ").skip(1).map(str::trim).filter(|_| !line.starts_with('#')) {
            match told.iter().position(|(at, message)| *at == number && message.contains(expected)) {
                Some(found) => drop(told.remove(found)),
                None => wrong.push(format!("line {number}: `{expected}` is not told")),
            }
        }
    }
    wrong.extend(told.into_iter().map(|(line, message)| format!("line {line} is told, and is right: {message}")));
    wrong
}

#[test]
fn every_mistake_is_told_at_its_line_with_the_fix_and_nothing_else_is() {
    for file in ["server", "clients", "people", "operations"] {
        let text = fs::read_to_string(directory().join(file).with_extension("toml")).unwrap();
        let wrong = compare(&text);
        assert!(wrong.is_empty(), "{file}.toml:\n{}", wrong.join("\n"));
    }
}
