//! Documents that others rely on, byte for byte: `tests/golden/` holds them as they were when somebody last looked.
//!
//! After a change that is meant, `FIREBREAK_REGENERATE=1 cargo test --test all golden` writes them anew; the diff is what changes
//! for those who rely on them. What varies from run to run is left out or replaced before it is compared.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed assumption fails the test")]

mod configuration;
mod documents;
mod records;
mod refusals;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::world::Reply;

/// Compares `made` with the document `name`, or writes it where that is asked for.
fn compare(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("FIREBREAK_REGENERATE").is_some() {
        fs::write(&path, made).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept == made {
        return;
    }
    let (mut old, mut new) = (kept.lines(), made.lines());
    for number in 1.. {
        let (was, is) = (old.next(), new.next());
        assert!(
            was == is,
            "tests/golden/{name} has another line {number}:\nwas: {}\nis:  {}\nwhere that is meant: FIREBREAK_REGENERATE=1 cargo test --test all golden",
            was.unwrap_or("(the end)"),
            is.unwrap_or("(the end)"),
        );
        assert!(was.is_some(), "tests/golden/{name} differs in its line ends");
    }
}

/// Status, header fields and body. When it was sent, its id and its length are left out.
fn answer(reply: &Reply) -> String {
    let mut text = format!("{}\n", reply.status);
    for (name, value) in &reply.headers {
        if !["date", "x-request-id", "content-length"].contains(&name.as_str()) {
            writeln!(text, "{name}: {value}").unwrap();
        }
    }
    format!("{text}\n{}\n", lined(reply.text()))
}

/// JSON with line ends where its structure has joints, and no byte of it changed: neither the order of members nor how a value is
/// written.
fn lined(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0_usize, false, false);
    let mut characters = json.chars().peekable();
    while let Some(character) = characters.next() {
        if quoted {
            out.push(character);
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        let closes = matches!(characters.peek(), Some('}' | ']'));
        match character {
            '{' | '[' if !closes => depth += 1,
            '}' | ']' if !out.ends_with(['{', '[']) => {
                depth -= 1;
                out.push('\n');
                out.push_str(&"  ".repeat(depth));
            }
            '"' => quoted = true,
            _ => {}
        }
        out.push(character);
        if character == ',' || matches!(character, '{' | '[') && !closes {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
    }
    out
}

#[test]
fn a_text_that_is_lined_is_the_same_text() {
    let json = r#"{"a":[],"b":{},"c":[1.10,"x,{\"[\\",{"d":[[]]}],"e":"}"}"#;
    let text = lined(json);
    let unlined: String = text.lines().map(|line| line.trim_start_matches(' ')).collect();
    assert_eq!(unlined, json);
    assert_eq!(text.lines().count(), 14, "{text}");
}
